//! 2.1 to 2.7: what a process does with messages, and how it asks others.

use std::time::Duration;

use bytes::Bytes;
use hie_engine::host::Outcome;
use hie_load::receiver::{Answer, Behaviour};
use hie_store::{Answered, Priority, State};
use tokio::task::JoinSet;

use crate::{
    actors::*,
    common::{Mllp, Place, Receiver, eventually, message},
    proc,
    scene::*,
};

/// It works on after every quiet spell, and at a stop ends by itself, with nothing in hand left.
#[test]
fn item_2_1_a_process_works_until_it_is_stopped_and_stops_cleanly() {
    let (place, epr) = (Place::new(), Receiver::start());
    let out = sends("EPR", epr.addr(), "", "");
    let config = production(&format!("{IN}{}{out}", router("", "EPR")));
    let engine = place.start(&config);
    let mut feed = Mllp::connect(engine.address("In"));
    for round in 1..=5 {
        admit(&mut feed, (round - 1) * 20..round * 20);
        engine.wait_for("EPR", "completed", round as u64 * 20); // nothing is left to do
    }
    assert_eq!(engine.item("Router")["completed"], 100);
    assert_eq!(engine.stop(), 0);
    assert!(!engine.log().contains("cut off"), "{}", engine.log());
    assert_eq!(
        place.hie(["status", "--json"]).ok().json()["recovered"]["queued"],
        0
    );
    assert_eq!(epr.inner.summary().duplicates, 0);
}

/// Forty jobs with nothing to do compute nothing, wake up for a message, and end at a stop although
/// they wait.
#[test]
fn item_2_2_a_process_waits_on_its_queue() {
    let (place, epr) = (Place::new(), Receiver::start());
    let router = router(", ExecutionMode: thread_pool", "EPR")
        .replace("    host:", "    pool_size: 40\n    host:");
    let out = sends("EPR", epr.addr(), "", "");
    let engine = place.start(&production(&format!("{IN}{router}{out}")));
    let mut feed = Mllp::connect(engine.address("In"));
    admit(&mut feed, 0..1);
    engine.wait_for("EPR", "completed", 1);
    // Forty loops that ask instead of waiting would use a whole core or two.
    let before = proc::ticks(engine.pid());
    std::thread::sleep(Duration::from_secs(1));
    let spent = proc::ticks(engine.pid()) - before;
    assert!(
        spent < 30,
        "{spent} hundredths of a second computed in one second of nothing to do"
    );
    admit(&mut feed, 1..2);
    engine.wait_for("EPR", "completed", 2);
    assert_eq!(engine.stop(), 0);
    assert!(!engine.log().contains("cut off"), "{}", engine.log());
}

/// From MLLP and from a folder, validated, enriched, transformed, routed by content, to MLLP and to
/// a folder.
#[test]
fn item_2_3_messages_are_validated_enriched_transformed_routed_and_change_protocol() {
    let (place, epr) = (Place::new(), Receiver::start());
    std::fs::create_dir(place.path("in")).unwrap();
    std::fs::create_dir(place.path("out")).unwrap();
    let items = format!(
        "{IN}
  - name: Folder
    class: HL7FileService
    adapter: {{FilePath: @/in, CallInterval: 0.1}}
    host: {{TargetConfigNames: Router}}
  - name: Router
    class: HL7RoutingEngine
    host: {{BusinessRuleName: Rules}}
    hooks:
      on_before_process:
        - {{when: 'not Exists(PID-3.1)', reject: no patient}}
        - {{when: 'PID-3.1 = \"77\"', set: {{PID-3.4: NHS, PV1-2: '{{ToLower(PV1-2)}}'}}}}
{}
  - name: Files
    class: HL7FileOperation
    adapter: {{FilePath: @/out, Filename: '%id%.hl7'}}
rules:
  Rules:
    match: all
    rules:
      - {{name: movements, when: 'MSH-9.1 = \"ADT\"', send: [EPR]}}
      - {{name: results, when: 'MSH-9.1 = \"ORU\"', send: [Files]}}
",
        sends("EPR", epr.addr(), "", "")
    );
    let engine = place.start(&production(&items));
    let mut feed = Mllp::connect(engine.address("In"));
    feed.accepted(&message("ORU^R01", "R1", "77", "DOE"));
    feed.accepted(&message("ADT^A01", "N1", "", "NOBODY"));
    place.write_bytes("in/a.hl7", &message("ADT^A01", "F1", "77", "DOE"));
    epr.wait_for(1);
    engine.wait_for("Files", "completed", 1);
    engine.wait_for("Router", "failed", 1);
    let changed = |id: &str, kind: &str| {
        let text = String::from_utf8(message(kind, id, "77", "DOE")).unwrap();
        text.replace("77^^^HOSP", "77^^^NHS")
            .replace("PV1|1|I", "PV1|1|i")
    };
    let written: Vec<_> = std::fs::read_dir(place.path("out"))
        .unwrap()
        .flatten()
        .collect();
    assert_eq!(
        written.len(),
        1,
        "by content: results to the folder, nothing else"
    );
    let bytes = std::fs::read_to_string(written[0].path()).unwrap();
    assert_eq!(bytes, changed("R1", "ORU^R01"), "from MLLP to a file");
    let rows = rows_when(&place, "all is told", |rows| rows.len() >= 5);
    let to_epr = for_item(&rows, "EPR");
    assert_eq!(column(&to_epr, "control_id"), ["F1"], "from a file to MLLP");
    let raw = place
        .hie(["show", &to_epr[0]["id"].to_string(), "--raw"])
        .ok()
        .stdout;
    assert_eq!(raw, changed("F1", "ADT^A01"));
    let rejected = rows
        .iter()
        .find(|row| row["control_id"] == "N1" && row["state"] == "Error");
    let reason = &rejected.expect("the message without a patient is kept")["reason"];
    assert_eq!(reason, "rejected by on_before_process: no patient");
    assert_eq!(engine.stop(), 0);
}

/// What a process makes goes to its targets; what they answer goes back to who asked, through two
/// processes.
#[test]
fn item_2_4_results_go_to_the_next_item_and_answers_to_the_caller() {
    let (place, epr) = (Place::new(), Receiver::start());
    epr.inner.set(Behaviour::code("AE"));
    let items = format!(
        "{}
  - name: First
    class: PassthroughProcess
    host: {{TargetConfigNames: Second, ResponseFrom: Second}}
    hooks: {{on_before_process: [{{set: {{PV1-2: O}}}}]}}
  - name: Second
    class: PassthroughProcess
    host: {{TargetConfigNames: [EPR, Sink], ResponseFrom: EPR}}
{}
  - {{name: Sink, class: DiscardOperation}}
",
        IN.replace(
            "Router}",
            "First, AckMode: Application, ResponseTimeout: 50}"
        ),
        sends("EPR", epr.addr(), "", ", ReplyCodeActions: ':*=C'")
    );
    let engine = place.start(&production(&items));
    let answer = Mllp::connect(engine.address("In")).send(&admission(0));
    let answer = String::from_utf8(answer).unwrap();
    assert!(
        answer.contains(&format!("MSA|AE|{}", id(0))),
        "the receiver's own answer: {answer}"
    );
    engine.wait_for("Sink", "discarded", 1);
    let rows = rows_when(&place, "four hops", |rows| rows.len() == 4);
    let hop = |target: &str| for_item(&rows, target)[0];
    assert_eq!(hop("Second")["source"], "First");
    for (next, before) in [("Second", "First"), ("EPR", "Second"), ("Sink", "Second")] {
        assert_eq!(
            hop(next)["causation_id"],
            hop(before)["id"],
            "{next} is of {before}"
        );
        assert_eq!(hop(next)["session"], hop("First")["session"]);
        let raw = place
            .hie(["show", &hop(next)["id"].to_string(), "--raw"])
            .ok()
            .stdout;
        assert!(raw.contains("PV1|1|O"), "{next} has what First made of it");
    }
    assert_eq!(engine.stop(), 0);
}

/// Twenty at once, answered in any order: each caller gets its own answer. One that is late is kept,
/// its caller told `timeout`, and it reaches nobody else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn item_2_5_send_request_sync_is_correlated_and_times_out() {
    let folder = tempfile::tempdir().unwrap();
    plays("Asker25", |ctx, message| {
        Box::pin(async move {
            let told = text(message);
            let words: Vec<&str> = told.split(' ').collect();
            let timeout = Duration::from_millis(words[1].parse().unwrap());
            let body = Some(Bytes::from(words[2].to_owned()));
            let answered =
                ctx.send_request_sync(words[0], body, Some(timeout), Priority::Normal, None);
            let reply = match answered.await {
                Ok(response) => response.reply.unwrap_or_default(),
                Err(error) => Bytes::from(format!("error {}", error.code)),
            };
            Ok(Outcome::completed().with_reply(reply))
        })
    });
    let (all, late) = (
        std::sync::Arc::new(tokio::sync::Barrier::new(20)),
        Gate::shut(),
    );
    let gate = late.clone();
    plays("Callee25", move |_, message| {
        let (all, gate, body) = (all.clone(), gate.clone(), text(message));
        Box::pin(async move {
            match body.parse::<u64>() {
                Ok(nth) => {
                    all.wait().await;
                    tokio::time::sleep(Duration::from_millis(20 - nth)).await; // in another order
                }
                Err(_) if body == "late" => gate.pass().await,
                Err(_) => {}
            }
            Ok(Outcome::completed().with_reply(Bytes::from(format!("reply to {body}"))))
        })
    });
    let production = stage(
        folder.path(),
        "  - {name: In25, class: Door, host: {TargetConfigNames: Asker25}}
  - {name: Asker25, class: Actor, pool_size: 20}
  - {name: Callee25, class: Player, pool_size: 21}",
    )
    .await;
    let mut asking = JoinSet::new();
    for nth in 0..20 {
        asking.spawn(async move { (nth, ask("In25", &format!("Callee25 50000 {nth}")).await) });
    }
    while let Some(asked) = asking.join_next().await {
        let (nth, reply) = asked.unwrap();
        assert_eq!(reply, format!("reply to {nth}"));
    }
    assert_eq!(ask("In25", "Callee25 30 late").await, "error timeout");
    late.open();
    until("the late answer", || {
        status(&production, "Callee25").completed == 21
    })
    .await;
    assert_eq!(ask("In25", "Callee25 50000 next").await, "reply to next");
    assert_eq!(
        ask("In25", "Nobody25 50000 x").await,
        "error unknown-target"
    );
    assert_eq!(status(&production, "Asker25").timeouts, 1);
    production.stop().await;
    let rows = left(folder.path());
    let (late, _) = rows
        .iter()
        .find(|(row, body)| row.target == "Callee25" && body == "late")
        .unwrap();
    assert_eq!(
        (late.answered, late.state),
        (Answered::Late, State::Completed)
    );
    assert!(late.reply.is_some(), "it is kept");
    let answered = rows
        .iter()
        .filter(|(row, _)| row.target == "Callee25" && row.answered == Answered::Caller);
    assert_eq!(answered.count(), 21);
}

const ASKER: &str = r#"
from hie import BusinessProcess, Reject, RequestTimeout, Result

class Asker(BusinessProcess):
    """Asks the receiver, and answers what it answered; about updates one that never answers."""

    def on_message(self, message):
        update = message["MSH-9.2"] == "A08"
        try:
            target, timeout = ("Silent", 0.05) if update else ("EPR", 50)
            reply = self.send_request_sync(target, message, timeout=timeout)
        except RequestTimeout as error:
            raise Reject(f"nobody answered: {error.code}")
        return Result.completed(reply=reply.raw)
"#;

/// The same from Python, over MLLP: eight senders at once, each with the answer to its own message;
/// a timeout is an exception that the host may make a NACK of.
#[test]
fn item_2_5_requests_of_python_hosts_are_correlated_and_time_out() {
    if !python() {
        return;
    }
    let (place, epr, silent) = (Place::new(), Receiver::start(), Receiver::start());
    epr.inner
        .set(Behaviour::default().after(Duration::from_millis(20)));
    silent.inner.set(Behaviour::of(Answer::Silence));
    std::fs::create_dir_all(place.path("python/custom/test")).unwrap();
    place.write("python/custom/test/asker.py", ASKER);
    let items = format!(
        "{}
  - name: Asker
    class: custom.test.asker.Asker
    pool_size: 8
    host: {{ExecutionMode: multiprocess}}
{}{}",
        IN.replace(
            "Router}",
            "Asker, AckMode: Application, ResponseTimeout: 50}"
        ),
        sends("EPR", epr.addr(), "\n    pool_size: 8", ""),
        sends("Silent", silent.addr(), "", "")
    );
    let path = format!(
        "  ShutdownTimeout: 1\n  PythonPath: @/python, {}",
        python_path()
    );
    let config = production(&items).replace("  ShutdownTimeout: 10", &path);
    let engine = place.start(&config);
    let address = engine.address("In");
    let senders: Vec<_> = (0..8)
        .map(|sender| {
            std::thread::spawn(move || {
                let mut feed = Mllp::connect(address);
                for nth in 0..10 {
                    let nth = sender * 10 + nth;
                    let answer = String::from_utf8(feed.send(&admission(nth))).unwrap();
                    assert!(answer.contains(&format!("MSA|AA|{}", id(nth))), "{answer}");
                }
            })
        })
        .collect();
    senders
        .into_iter()
        .for_each(|sender| sender.join().unwrap());
    let answer = Mllp::connect(address).send(&message("ADT^A08", "U1", "77", "DOE"));
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.contains("MSA|AE|U1|"), "{answer}");
    let rows = rows_when(&place, "the failed one", |rows| {
        rows.iter()
            .any(|row| row["control_id"] == "U1" && row["state"] == "Error")
    });
    let of_update =
        |row: &&serde_json::Value| row["control_id"] == "U1" && row["target"] == "Asker";
    let failed = rows.iter().find(of_update).unwrap();
    assert_eq!(failed["reason"], "rejected: nobody answered: timeout");
    assert_eq!(epr.inner.summary().duplicates, 0);
    assert_eq!(engine.stop(), 0);
}

/// The id comes back while the target does nothing; the request is on disk and survives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn item_2_6_send_request_async_returns_an_id_and_is_durable() {
    let folder = tempfile::tempdir().unwrap();
    const ITEMS: &str = "  - {name: In26, class: Door, host: {TargetConfigNames: Asker26}}
  - {name: Asker26, class: Actor}
  - {name: Out26, class: Player, host: {RetryInterval: 0.01}}";
    plays("Asker26", |ctx, message| {
        let body = Bytes::from(format!("{} from the asker", text(message)));
        Box::pin(async move {
            let id = ctx
                .send_request_async("Out26", Some(body), Priority::High, None)
                .await?;
            Ok(Outcome::completed().with_reply(Bytes::from(id.0.to_string())))
        })
    });
    let gate = Gate::shut();
    notes_behind("Out26", &gate);
    let production = stage(folder.path(), ITEMS).await;
    let mut given = Vec::new();
    for nth in 0..10 {
        given.push(ask("In26", &format!("n{nth}")).await); // answered: nobody waits for Out26
    }
    production.stop().await;
    let rows = left(folder.path());
    let sent: Vec<_> = rows
        .iter()
        .filter(|(row, _)| row.target == "Out26")
        .collect();
    let ids: Vec<String> = sent.iter().map(|(row, _)| row.id.0.to_string()).collect();
    assert_eq!(ids, given, "the ids that the callers were given");
    for (row, _) in &sent {
        let cause = rows
            .iter()
            .find(|(other, _)| Some(other.id) == row.cause)
            .unwrap();
        assert_eq!(
            (row.source.as_str(), cause.0.target.as_str()),
            ("Asker26", "Asker26")
        );
        assert_eq!(
            (row.session, row.priority),
            (cause.0.session, Priority::High)
        );
        assert!(row.state != State::Completed, "{:?}", row.state);
    }
    gate.open();
    let production = stage(folder.path(), ITEMS).await;
    until("all arrive", || noted("Out26").len() == 6 + 10).await;
    let expected: Vec<String> = (0..10)
        .map(|nth| format!("n{nth} from the asker"))
        .collect();
    assert_eq!(noted("Out26")[6..], expected);
    production.stop().await;
}

/// Paused under load: a process's queue fills and nothing is refused; a service answers nothing until
/// it goes on. All arrive, once, in order.
#[test]
fn item_2_7_pause_and_resume_lose_nothing() {
    let (place, epr) = (Place::new(), Receiver::start());
    epr.inner.keep_log();
    let out = sends("EPR", epr.addr(), "", "");
    let engine = place.start(&production(&format!("{IN}{}{out}", router("", "EPR"))));
    let load = Load::on(engine.address("In"));
    for round in 1..=3 {
        engine.wait_for("Router", "completed", round * 10);
        place.hie(["item", "pause", "Router"]).ok();
        assert_eq!(engine.item("Router")["state"], "paused");
        let (done, taken) = (
            engine.item("Router"),
            engine.item("In")["received"].as_u64().unwrap(),
        );
        engine.wait_for("In", "received", taken + 10);
        assert_eq!(
            engine.item("Router")["completed"],
            done["completed"],
            "it does nothing"
        );
        place.hie(["item", "resume", "Router"]).ok();
    }
    place.hie(["item", "pause", "In"]).ok();
    let taken = || engine.item("In")["received"].clone();
    // One message may have been on its way in; after that there are no more.
    let held = eventually("it takes nothing more in", || {
        let before = taken();
        std::thread::sleep(Duration::from_millis(50));
        (taken() == before).then_some(before)
    });
    assert!(held.as_u64().unwrap() >= 40);
    place.hie(["item", "resume", "In"]).ok();
    engine.wait_for("In", "received", held.as_u64().unwrap() + 10);
    let sent = load.end();
    epr.wait_for(sent as u64);
    engine.wait_for("EPR", "completed", sent as u64);
    assert_eq!(epr.inner.log(), ids(sent));
    assert_eq!(epr.inner.summary().duplicates, 0);
    assert_eq!(engine.stop(), 0);
}
