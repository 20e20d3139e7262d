//! What went wrong in the first implementation of the design, where no mandatory item shows it. The
//! list with all of them stands in `docs/reference/mandatory-items.md`.

use hie_load::receiver::{Answer, Behaviour};

use crate::{
    common::{Mllp, Place, Receiver, eventually},
    host::release,
    proc,
    scene::*,
};

/// A feed right into an operation.
fn straight(to: &Receiver, settings: &str) -> String {
    let feed = IN.replace("Router}", "EPR}");
    production(&format!("{feed}{}", sends("EPR", to.addr(), "", settings)))
}

/// Ten messages for a queue of two: each was refused, or is delivered, or was discarded with a
/// reason. There is nothing else.
#[test]
fn defect_messages_for_a_full_queue_are_acknowledged_and_lost() {
    for strategy in ["reject", "drop_newest", "drop_oldest"] {
        let (place, mut epr) = (Place::new(), Receiver::start());
        epr.inner.set(Behaviour::of(Answer::Silence));
        let settings = format!(", QueueSize: 2, OverflowStrategy: {strategy}");
        let engine = place.start(&straight(&epr, &settings));
        let mut feed = Mllp::connect(engine.address("In"));
        let answers: Vec<String> = (0..10)
            .map(|nth| String::from_utf8(feed.send(&admission(nth))).unwrap())
            .collect();
        let accepted = |nth: &usize| answers[*nth].contains(&format!("MSA|AA|{}", id(*nth)));
        release(&mut epr);
        let rows = rows_when(&place, "all have ended", |rows| {
            let ended = |row: &&serde_json::Value| {
                row["target"] == "EPR"
                    && (row["state"] == "Completed" || row["state"] == "Discarded")
            };
            rows.iter().filter(ended).count() == (0..10).filter(accepted).count()
        });
        for (nth, answer) in answers.iter().enumerate() {
            let row = rows
                .iter()
                .find(|row| row["control_id"] == id(nth) && row["target"] == "EPR");
            let state = row.map_or("", |row| row["state"].as_str().unwrap());
            let delivered = epr.inner.count_of(&id(nth)) > 0;
            match state {
                "Completed" => assert!(accepted(&nth) && delivered, "{strategy} {nth}"),
                "Discarded" => {
                    assert!(accepted(&nth) && !delivered, "{strategy} {nth}");
                    assert!(!row.unwrap()["reason"].as_str().unwrap().is_empty());
                }
                _ => assert!(
                    !accepted(&nth) && !delivered,
                    "{strategy} {nth}: {}",
                    answer
                ),
            }
        }
        let count = (0..10).filter(accepted).count();
        match strategy {
            "reject" => assert!((2..=4).contains(&count), "{count} accepted"),
            _ => assert_eq!(count, 10, "{strategy} takes all and says what it dropped"),
        }
        assert_eq!(engine.stop(), 0);
    }
}

/// `block` reaches the socket: the sender has no answer until there is room, and loses nothing.
#[test]
fn defect_a_full_queue_is_no_back_pressure() {
    let (place, mut epr) = (Place::new(), Receiver::start());
    epr.inner.keep_log();
    epr.inner.set(Behaviour::of(Answer::Silence));
    let engine = place.start(&straight(&epr, ", QueueSize: 2, OverflowStrategy: block"));
    let load = Load::while_it_lasts(engine.address("In"), 0);
    engine.wait_for("EPR", "queued", 2);
    epr.wait_for(1);
    // One in hand, two waiting, and one with its sender: nothing more is let in.
    let stored = eventually("nothing more comes in", || {
        let count = || place.hie(["messages", "--json"]).ok().rows().len();
        let before = count();
        std::thread::sleep(std::time::Duration::from_millis(100));
        (count() == before).then_some(before)
    });
    assert!(stored <= 4, "{stored} stored");
    release(&mut epr);
    engine.wait_for("EPR", "completed", 20);
    assert_eq!(engine.stop(), 0);
    let accepted = load.end();
    epr.up();
    let engine = place.start(&straight(&epr, ""));
    eventually("what was parked is delivered", || {
        (engine.item("EPR")["queued"] == 0).then_some(())
    });
    epr.wait_for(accepted as u64);
    let log = epr.inner.log();
    assert_eq!(log, ids(log.len()), "in order, and none is missing");
    assert_eq!(engine.stop(), 0);
}

/// `drop_oldest` of a stack drops what has waited longest, not what came last.
#[test]
fn defect_drop_oldest_drops_the_newest_of_a_lifo() {
    let (place, mut epr) = (Place::new(), Receiver::start());
    epr.inner.keep_log();
    epr.inner.set(Behaviour::of(Answer::Silence));
    let settings = ", QueueType: lifo, QueueSize: 3, OverflowStrategy: drop_oldest";
    let engine = place.start(&straight(&epr, settings));
    let mut feed = Mllp::connect(engine.address("In"));
    admit(&mut feed, 0..1);
    epr.wait_for(1);
    admit(&mut feed, 1..8);
    rows_when(&place, "four are discarded", |rows| {
        rows.iter()
            .filter(|row| row["state"] == "Discarded")
            .count()
            == 4
    });
    release(&mut epr);
    engine.wait_for("EPR", "completed", 4);
    assert_eq!(epr.inner.log(), [id(0), id(7), id(6), id(5)]);
    assert_eq!(engine.stop(), 0);
}

/// A reload that changes the pool changes how many work at once.
#[test]
fn defect_a_reload_never_resizes_the_pool() {
    let (place, mut epr) = (Place::new(), Receiver::start());
    epr.inner.set(Behaviour::of(Answer::Silence));
    // What waits for its reply for ever is cut off, and is in its queue again.
    let config = straight(&epr, "").replace("ShutdownTimeout: 10", "ShutdownTimeout: 1");
    let engine = place.start(&config);
    admit(&mut Mllp::connect(engine.address("In")), 0..12);
    epr.wait_for(1);
    assert_eq!(
        epr.inner.summary().distinct,
        1,
        "one job, one message in hand"
    );
    for size in [5, 2] {
        let pool = format!("class: HL7TCPOperation\n    pool_size: {size}");
        place.write(
            "production.yaml",
            &config.replace("class: HL7TCPOperation", &pool),
        );
        let before = epr.inner.connections();
        place.hie(["reload"]).ok();
        eventually("as many connections as jobs", || {
            (epr.inner.connections() >= before + size).then_some(())
        });
        assert_eq!(engine.item("EPR")["pool_size"], size);
    }
    assert_eq!(
        epr.inner.summary().distinct,
        5,
        "five in hand, and then the same again"
    );
    release(&mut epr);
    engine.wait_for("EPR", "completed", 12);
    assert_eq!(engine.stop(), 0);
}

/// An item that waits long for its next start keeps nobody else waiting.
#[test]
fn defect_one_restart_delay_holds_up_all() {
    let place = Place::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let service = |name: &str, delay: &str| {
        format!(
            "  - name: {name}
    class: HL7TCPService
    adapter: {{Port: {port}, IPAddress: 127.0.0.1}}
    host: {{TargetConfigNames: Sink, RestartDelay: {delay}}}
"
        )
    };
    let feed = IN.replace("Router}", "Sink}");
    let sink = "  - {name: Sink, class: DiscardOperation}\n";
    let items = [
        feed.as_str(),
        &service("Slow", "300"),
        &service("Quick", "0.02"),
        sink,
    ]
    .concat();
    let engine = place.launch(&production(&items), &[]);
    eventually("it runs", || {
        let ran = place.hie(["status", "--json"]);
        (ran.code == 0 && ran.json()["running"] == true).then_some(())
    });
    engine.wait_for("Quick", "restarts", 4);
    assert!(engine.item("Slow")["restarts"].as_u64().unwrap() <= 1);
    admit(&mut Mllp::connect(engine.address("In")), 0..3);
    engine.wait_for("Sink", "discarded", 3);
    assert_eq!(engine.stop(), 0);
}

/// Settings that nobody read, spellings that only one place knew, words that fell back to another:
/// each is read, or an error with its place.
#[test]
fn defect_settings_that_nobody_reads() {
    let (place, epr) = (Place::new(), Receiver::start());
    let check = |settings: &str| {
        let file = place.write("p.yaml", &straight(&epr, settings));
        place.hie([std::ffi::OsStr::new("check"), file.as_os_str()])
    };
    for good in [
        "ExecutionMode: multiprocess",
        "ExecutionMode: multi_process, WorkerCount: 4",
        "QueueType: unordered, QueueSize: 9, OverflowStrategy: reject",
        "MessagingPattern: concurrent_sync, MessageTimeout: 300",
        "RestartPolicy: always, MaxRestarts: 0, RestartDelay: 0",
    ] {
        check(&format!(", {good}")).ok();
    }
    for (bad, near) in [
        ("ExecutionMode: multi-process", "multiprocess"),
        ("ExecutionMode: async, WorkerCount: 4", "multiprocess"),
        ("QueueType: priorty", "priority"),
        ("OverflowStrategy: redirect", "reject"),
        ("OverflowStrategy: reject_new", "reject"),
        ("RestartPolicy: on-failure", "on_failure"),
        ("MessagingPattern: sync", "sync_reliable"),
        ("MaxRestart: 3", "MaxRestarts"),
        ("QueueSize: many", "QueueSize"),
        ("QueueSize: 0, OverflowStrategy: reject", "QueueSize"),
        ("MessagingPattern: sync_reliable, QueueType: lifo", "fifo"),
    ] {
        let told = check(&format!(", {bad}")).exits(3).stderr;
        assert!(
            told.contains(near) && told.contains("p.yaml:"),
            "{bad}: {told}"
        );
    }
}

/// The environment sets the defaults of items; what an item says itself counts more, and a wrong word
/// is an error.
#[test]
fn defect_variables_of_the_environment_that_nobody_reads() {
    let (mut place, mut epr) = (Place::new(), Receiver::start());
    place.env = vec![
        ("EXECUTION_MODE", "multi_process"),
        ("CONCURRENCY", "3"),
        ("MESSAGING_PATTERN", "concurrent_async"),
    ];
    epr.inner.set(Behaviour::of(Answer::Silence));
    let own = ", ExecutionMode: async";
    let items = [IN, &router(own, "EPR"), &sends("EPR", epr.addr(), "", "")].concat();
    let engine = place.start(&production(&items));
    let worker = proc::workers(engine.pid(), "EPR");
    assert_eq!(worker.len(), 1, "the mode of the environment");
    assert!(
        proc::workers(engine.pid(), "Router").is_empty(),
        "the item's own"
    );
    admit(&mut Mllp::connect(engine.address("In")), 0..9);
    epr.wait_for(3);
    assert_eq!(
        proc::connections(worker[0], epr.addr().port()),
        3,
        "three jobs"
    );
    release(&mut epr);
    engine.wait_for("EPR", "completed", 9);
    assert_eq!(engine.stop(), 0);
    drop(engine);

    place.env = vec![("EXECUTION_MODE", "parallel")];
    let file = place.path("production.yaml");
    let told = place
        .hie([std::ffi::OsStr::new("check"), file.as_os_str()])
        .exits(3);
    assert!(told.stderr.contains("EXECUTION_MODE"), "{}", told.stderr);
}

const RAISES: &str = "
from hie import BusinessProcess

class Lookup(BusinessProcess):
    \"\"\"Fails on what has no patient, as code does that was written in a hurry.\"\"\"

    def on_message(self, message):
        assert message['PID-3.1'].isdigit(), message.raw
        return message
";

/// An exception in a class of the user's own is a state with its place, a NACK for who waits, and
/// nothing for the messages behind it. The text of the exception, which may hold a patient, stays out.
#[test]
fn defect_an_exception_in_a_custom_class_goes_unseen() {
    if !python() {
        return;
    }
    let (place, epr) = (Place::new(), Receiver::start());
    std::fs::create_dir_all(place.path("python/custom/test")).unwrap();
    place.write("python/custom/test/lookup.py", RAISES);
    let items = format!(
        "{}
  - name: Lookup
    class: custom.test.lookup.Lookup
    host: {{ExecutionMode: multiprocess, TargetConfigNames: EPR}}
{}",
        IN.replace(
            "Router}",
            "Lookup, AckMode: Application, ResponseTimeout: 50}"
        ),
        sends("EPR", epr.addr(), "", "")
    );
    let path = format!("  PythonPath: @/python, {}\nitems:", python_path());
    let engine = place.start(&production(&items).replace("items:", &path));
    let mut feed = Mllp::connect(engine.address("In"));
    admit(&mut feed, 0..2);
    let bad = crate::common::message("ADT^A01", "BAD", "SECRET", "SECRETNAME");
    let answer = String::from_utf8(feed.send(&bad)).unwrap();
    assert!(
        answer.contains("MSA|AE|BAD") || answer.contains("MSA|AR|BAD"),
        "{answer}"
    );
    admit(&mut feed, 2..4);
    epr.wait_for(4);
    let rows = rows_when(&place, "the failed one", |rows| {
        rows.iter()
            .any(|row| row["control_id"] == "BAD" && row["state"] == "Error")
    });
    let failed = rows.iter().find(|row| row["control_id"] == "BAD").unwrap();
    let reason = failed["reason"].as_str().unwrap();
    assert!(
        reason.contains("AssertionError") && reason.contains("lookup.py"),
        "{reason}"
    );
    assert_eq!(epr.inner.count_of("BAD"), 0);
    assert!(
        engine.log().contains("lookup.py"),
        "the traceback is in the log"
    );
    assert!(!engine.log().contains("SECRET"), "{}", engine.log());
    assert_eq!(engine.item("Lookup")["state"], "running");
    assert_eq!(engine.stop(), 0);
}
