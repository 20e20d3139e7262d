//! Messaging patterns through the real binary, over MLLP: what the sender sees, and what the trace
//! says of responses in time and late.

#![allow(clippy::unwrap_used)] // a test may end so

mod common;

use std::thread;

use common::{Engine, Mllp, Place, Receiver, eventually, message};
use hie_load::receiver::Behaviour;

/// A feed with this setting of its host, a router that waits too where its feed does, and a way out.
fn production(feed: &str, router: &str, epr: &Receiver) -> String {
    format!(
        r#"
production: {{name: Patterns, DataPath: @/data, MetricsAddress: none, ShutdownTimeout: 5}}
items:
  - name: In
    class: HL7TCPService
    pool_size: 2
    adapter: {{Port: 0, IPAddress: 127.0.0.1}}
    host: {{TargetConfigNames: Router, {feed}}}
  - name: Router
    class: HL7RoutingEngine
    pool_size: 4
    host: {{BusinessRuleName: Rules, {router}}}
  - name: EPR
    class: HL7TCPOperation
    adapter: {{IPAddress: 127.0.0.1, Port: {}}}
    host: {{RetryInterval: 0.05, ReplyCodeActions: ":?E=W,:?A=C"}}
rules:
  Rules:
    match: all
    rules:
      - {{name: all, send: [EPR]}}
"#,
        epr.addr().port()
    )
}

fn adt(control_id: &str) -> Vec<u8> {
    message("ADT^A01", control_id, "P1", "PATTERNS")
}

fn text(answer: &[u8]) -> String {
    String::from_utf8_lossy(answer).into_owned()
}

/// Sends so many messages at once, each over a connection of its own, and counts what they are told.
fn crowd(engine: &Engine<'_>, count: usize) -> Vec<thread::JoinHandle<String>> {
    let address = engine.address("In");
    let sender = |n: usize| {
        thread::spawn(move || text(&Mllp::connect(address).send(&adt(&format!("C{n}")))))
    };
    (0..count).map(sender).collect()
}

#[test]
fn a_sync_reliable_feed_gives_its_senders_the_real_reply_one_after_another() {
    let place = Place::new();
    let mut epr = Receiver::start();
    epr.down();
    epr.inner.set(Behaviour::code("AE"));
    let feed = "MessagingPattern: sync_reliable";
    let engine = place.start(&production(feed, "MessagingPattern: concurrent_sync", &epr));
    let senders = crowd(&engine, 3);
    engine.wait_for("EPR", "retries", 3);
    assert_eq!(
        engine.item("In")["received"],
        1,
        "the others wait their turn"
    );
    epr.up();
    for sender in senders {
        let answer = sender.join().unwrap();
        assert!(answer.contains("MSA|AE|C"), "the receiver's own: {answer}");
    }
    // Each hop has its response, the other way round.
    let trace = place.hie(["trace", "1"]).ok().stdout;
    for way in ["↩", "EPR → Router", "Router → In", "Completed response"] {
        assert!(trace.contains(way), "{way} is not in\n{trace}");
    }
    assert_eq!(engine.stop(), 0, "{}", engine.log());
}

#[test]
fn a_concurrent_sync_feed_waits_for_as_many_as_it_has_jobs() {
    let place = Place::new();
    let mut epr = Receiver::start();
    epr.down();
    let feed = "MessagingPattern: concurrent_sync";
    let engine = place.start(&production(feed, "MessagingPattern: concurrent_sync", &epr));
    let senders = crowd(&engine, 3);
    engine.wait_for("In", "received", 2);
    engine.wait_for("EPR", "retries", 3);
    assert_eq!(engine.item("In")["received"], 2, "the third waits its turn");
    epr.up();
    for sender in senders {
        let answer = sender.join().unwrap();
        assert!(answer.contains("MSA|AA|C"), "{answer}");
    }
    assert_eq!(engine.stop(), 0, "{}", engine.log());
}

#[test]
fn asynchronous_feeds_answer_as_soon_as_the_message_is_on_disk() {
    for pattern in ["async_reliable", "concurrent_async"] {
        let place = Place::new();
        let mut epr = Receiver::start();
        epr.down();
        let set = format!("MessagingPattern: {pattern}");
        let engine = place.start(&production(&set, &set, &epr));
        let mut sender = Mllp::connect(engine.address("In"));
        for n in 0..5 {
            sender.accepted(&adt(&format!("C{n}")));
        }
        epr.up();
        epr.wait_for(5);
        assert_eq!(engine.stop(), 0, "{}", engine.log());
    }
}

#[test]
fn a_sender_that_waited_too_long_is_told_so_and_the_late_response_is_in_the_trace() {
    let place = Place::new();
    let mut epr = Receiver::start();
    epr.down();
    let feed = "MessagingPattern: sync_reliable, MessageTimeout: 0.1, NackErrorCode: AllE";
    let engine = place.start(&production(feed, "ResponseFrom: EPR", &epr));
    let mut sender = Mllp::connect(engine.address("In"));
    let answer = text(&sender.send(&adt("C1")));
    assert!(
        answer.contains("MSA|AE|C1|the target did not answer in time"),
        "{answer}"
    );
    epr.up();
    engine.wait_for("EPR", "completed", 1);
    let rows = eventually("the late response", || {
        let rows = place.hie(["trace", "1", "--json"]).ok().rows();
        let late = rows.iter().any(|row| row["response"]["late"] == true);
        late.then_some(rows)
    });
    let request = rows.iter().find(|row| row["target"] == "EPR").unwrap();
    let response = &request["response"];
    assert_eq!(
        (&response["source"], &response["target"], &response["state"]),
        (&"EPR".into(), &"Router".into(), &"Completed".into())
    );
    assert_eq!(response["correlation_id"], request["id"]);
    assert_eq!(request["causation_id"], 1);
    let trace = place.hie(["trace", "1"]).ok().stdout;
    assert!(trace.contains("late: nobody waited any more"), "{trace}");
    let id = request["id"].to_string();
    let reply = place.hie(["show", &id, "--reply", "--raw"]).ok().stdout;
    assert!(
        reply.contains("MSA|AA|C1"),
        "the reply itself is kept: {reply}"
    );
    // The next sender gets the answer to its own message.
    let answer = text(&sender.send(&adt("C2")));
    assert!(answer.contains("MSA|AA|C2"), "{answer}");
    assert_eq!(engine.stop(), 0, "{}", engine.log());
}
