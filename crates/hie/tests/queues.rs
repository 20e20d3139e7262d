//! Queues with a limit through the real binary, over MLLP: what the sender sees, what is on record,
//! what is counted, and what a reload does to messages that wait.

#![allow(clippy::unwrap_used)] // a test may end so

mod common;

use std::{
    io::ErrorKind,
    net::{SocketAddr, TcpStream},
    thread::{self, JoinHandle},
};

use common::{Engine, Mllp, Place, Receiver, eventually, message};
use serde_json::Value;

/// A feed that sends to one operation whose queue is as these settings say.
fn production(queue: &str, epr: &Receiver) -> String {
    format!(
        r#"
production: {{name: Queues, DataPath: @/data, MetricsAddress: none, ShutdownTimeout: 5}}
items:
  - name: In
    class: HL7TCPService
    adapter: {{Port: 0, IPAddress: 127.0.0.1}}
    host: {{TargetConfigNames: EPR}}
  - name: EPR
    class: HL7TCPOperation
    adapter: {{IPAddress: 127.0.0.1, Port: {}}}
    host: {{RetryInterval: 0.05, FailureTimeout: -1, {queue}}}
"#,
        epr.addr().port()
    )
}

/// A receiver that is down and will remember what comes. Its port stays its own: nobody else gets
/// what is sent there meanwhile.
fn receiver() -> Receiver {
    eventually("a receiver has its port reserved", || {
        let mut epr = Receiver::start();
        epr.inner.keep_log();
        epr.runtime.block_on(epr.inner.down()).ok()?;
        Some(epr)
    })
}

fn adt(control_id: &str) -> Vec<u8> {
    message("ADT^A01", control_id, "P1", "QUEUES")
}

fn sent_by(mllp: &mut Mllp, control_id: &str) -> String {
    String::from_utf8_lossy(&mllp.send(&adt(control_id))).into_owned()
}

/// Waits until so many are left, one of them tried again and again (it counts as queued).
fn wait_until_left(engine: &Engine<'_>, count: u64) {
    let mut before = Value::Null;
    eventually("one is tried, the others wait", || {
        let item = engine.item("EPR");
        if item != before {
            eprintln!("{item}"); // seen where the test fails
            before.clone_from(&item);
        }
        let trying = item["queue"]["in_hand"] == 1 && item["trying"].is_string();
        (trying && item["queued"] == count).then_some(())
    });
}

/// Sends these over one connection, one after the other, each accepted.
fn fill(engine: &Engine<'_>, control_ids: std::ops::Range<usize>) -> Mllp {
    let mut sender = Mllp::connect(engine.address("In"));
    for n in control_ids {
        sender.accepted(&adt(&n.to_string()));
        if n == 0 {
            wait_until_left(engine, 1); // in hand before the others wait
        }
    }
    sender
}

/// A sender of its own for each of these, and what it is told: nothing, if the engine closes.
fn crowd(engine: &Engine<'_>, control_ids: &[&'static str]) -> Vec<JoinHandle<Option<String>>> {
    let address = engine.address("In");
    let sender = |control_id: &&'static str| {
        let adt = adt(control_id);
        let mut connection = Mllp::connect(address);
        thread::spawn(move || {
            let answer = connection.try_send(&adt).ok()?;
            Some(String::from_utf8_lossy(&answer).into_owned())
        })
    };
    control_ids.iter().map(sender).collect()
}

fn told(senders: Vec<JoinHandle<Option<String>>>) -> Vec<Option<String>> {
    let told = senders.into_iter().map(|sender| sender.join().unwrap());
    told.collect()
}

/// Waits until a sender has come to a full queue; others wait behind it.
fn wait_until_blocked(engine: &Engine<'_>) {
    eventually("a sender waits for room", || {
        (engine.item("EPR")["queue"]["blocked"].as_u64()? > 0).then_some(())
    });
}

/// What `hie messages` has, by the order of coming.
fn recorded(place: &Place, arguments: &[&str]) -> Vec<Value> {
    let all = ["messages", "--json", "--limit", "1000"];
    let mut rows = place.hie(all.iter().chain(arguments)).ok().rows();
    rows.sort_by_key(|row| row["id"].as_u64());
    rows
}

/// The line of `hie queues` for the operation.
fn queue_row(place: &Place) -> Value {
    let rows = place.hie(["queues", "--json"]).ok().rows();
    rows.into_iter().find(|row| row["item"] == "EPR").unwrap()
}

fn column<'a>(rows: &'a [Value], name: &str) -> Vec<&'a str> {
    rows.iter().map(|row| row[name].as_str().unwrap()).collect()
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

/// Whether nothing has come to this connection.
fn is_silent(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let peeked = stream.peek(&mut [0]);
    stream.set_nonblocking(false).unwrap();
    peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

/// A connection with messages on it whose answers nobody has read.
struct Pipeline(TcpStream);

impl Pipeline {
    fn send(address: SocketAddr, control_ids: std::ops::Range<usize>) -> Self {
        use std::io::Write;

        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(common::PATIENCE)).unwrap();
        for n in control_ids {
            let adt = adt(&n.to_string());
            let frame = [&[0x0b], &adt[..], &[0x1c, 0x0d]].concat();
            stream.write_all(&frame).unwrap();
        }
        Self(stream)
    }

    /// Reads as many answers as there were messages.
    fn answers(&mut self, count: usize) -> Vec<String> {
        use std::io::Read;

        let one = |_| {
            let (mut answer, mut byte) = (Vec::new(), [0]);
            while !answer.ends_with(&[0x1c, 0x0d]) {
                self.0.read_exact(&mut byte).unwrap();
                answer.push(byte[0]);
            }
            String::from_utf8_lossy(&answer).into_owned()
        };
        (0..count).map(one).collect()
    }
}

#[test]
fn block_is_back_pressure_to_the_socket_and_nothing_is_lost_or_overtakes() {
    let place = Place::new();
    let mut epr = receiver();
    let engine = place.start(&production("QueueSize: 5, OverflowStrategy: block", &epr));
    // One in hand and five that wait have room.
    fill(&engine, 0..6);
    let mut pipeline = Pipeline::send(engine.address("In"), 6..12);
    wait_until_blocked(&engine);
    let others = crowd(&engine, &["A", "B", "C"]);
    assert!(is_silent(&pipeline.0), "no answer beyond what fits");
    assert_eq!(
        recorded(&place, &[]).len(),
        6,
        "what has no answer is not stored"
    );
    wait_until_left(&engine, 6);
    assert_eq!(queue_row(&place)["limit"], 5);
    assert!(others.iter().all(|other| !other.is_finished()));
    epr.up();
    for (nth, answer) in pipeline.answers(6).iter().enumerate() {
        assert!(answer.contains(&format!("MSA|AA|{}", nth + 6)), "{answer}");
    }
    for answer in told(others) {
        assert!(
            answer.as_ref().is_some_and(|told| told.contains("MSA|AA|")),
            "{answer:?}"
        );
    }
    epr.wait_for(15);
    engine.wait_for("EPR", "completed", 15);
    let log = epr.inner.log();
    assert_eq!(log.len(), 15, "each once: {log:?}");
    let of_lines = |id: &&String| id.parse::<usize>().is_ok();
    let in_order: Vec<String> = log.iter().filter(of_lines).cloned().collect();
    assert_eq!(in_order, numbers(0..12));
    assert_eq!(log[..6], numbers(0..6), "what came first");
    let row = queue_row(&place);
    assert_eq!(
        (&row["high_water"], &row["dropped"], &row["rejected"]),
        (&5.into(), &0.into(), &0.into())
    );
    assert_eq!(engine.stop(), 0, "{}", engine.log());
}

#[test]
fn who_waits_for_room_when_the_engine_ends_is_not_acknowledged_and_the_rest_is_there() {
    let place = Place::new();
    let mut epr = receiver();
    let config = production("QueueSize: 5, OverflowStrategy: block", &epr);
    for kills in [true, false] {
        let engine = place.start(&config);
        let waiting = if kills {
            fill(&engine, 0..6);
            crowd(&engine, &["A", "B"])
        } else {
            // All six are back: one in hand, five wait.
            wait_until_left(&engine, 6);
            crowd(&engine, &["C", "D"])
        };
        wait_until_blocked(&engine);
        if kills {
            engine.kill();
        } else {
            assert_eq!(engine.stop(), 0, "{}", engine.log());
        }
        assert_eq!(told(waiting), [None, None], "kill: {kills}");
    }
    let engine = place.start(&config);
    epr.up();
    engine.wait_for("EPR", "completed", 6);
    assert_eq!(epr.inner.log(), numbers(0..6));
    assert_eq!(recorded(&place, &[]).len(), 6);
    assert_eq!(engine.stop(), 0, "{}", engine.log());
}

#[test]
fn reject_tells_the_sender_whose_queue_is_full_and_stores_nothing() {
    for (nack, code) in [("ContentE", "AR"), ("AllE", "AE")] {
        let place = Place::new();
        let mut epr = receiver();
        let config = production("QueueSize: 5, OverflowStrategy: reject", &epr).replace(
            "TargetConfigNames: EPR",
            &format!("TargetConfigNames: EPR, NackErrorCode: {nack}"),
        );
        let engine = place.start(&config);
        let mut sender = fill(&engine, 0..6);
        for id in ["6", "7"] {
            let answer = sent_by(&mut sender, id);
            let expected = format!("MSA|{code}|{id}|the queue of EPR is full: 5 messages wait");
            assert!(answer.contains(&expected), "{answer}");
        }
        let ids = recorded(&place, &[]);
        assert_eq!(column(&ids, "control_id"), numbers(0..6));
        let row = queue_row(&place);
        assert_eq!((&row["rejected"], &row["dropped"]), (&2.into(), &0.into()));
        let feed = engine.item("In");
        assert_eq!(
            (&feed["received"], &feed["rejected"]),
            (&8.into(), &2.into())
        );
        assert!(engine.log().contains("queue-full"), "{}", engine.log());
        let shown = place.hie(["queues"]).ok().stdout;
        assert!(shown.contains("rejected"), "{shown}");
        // The same connection goes on when there is room.
        epr.up();
        engine.wait_for("EPR", "completed", 6);
        sender.accepted(&adt("6"));
        engine.wait_for("EPR", "completed", 7);
        assert_eq!(epr.inner.log(), numbers(0..7));
        assert_eq!(engine.stop(), 0, "{}", engine.log());
    }
}

/// Sends ten to a queue of five behind a receiver that is down; then restarts, and lets it up.
fn drops(strategy: &str, dropped: &[&str], delivered: &[&str]) {
    let place = Place::new();
    let mut epr = receiver();
    let config = production(&format!("QueueSize: 5, OverflowStrategy: {strategy}"), &epr);
    let engine = place.start(&config);
    fill(&engine, 0..10); // AA for each
    let rows = eventually("what was dropped is on record", || {
        let rows = recorded(&place, &["--state", "Discarded"]);
        (rows.len() == dropped.len()).then_some(rows)
    });
    assert_eq!(column(&rows, "control_id"), dropped);
    for reason in column(&rows, "reason") {
        assert!(
            reason.contains("the queue of EPR is full: 5 messages wait (QueueSize)")
                && reason.contains(strategy),
            "{reason}"
        );
    }
    wait_until_left(&engine, 6);
    let row = queue_row(&place);
    let count = dropped.len();
    assert_eq!(
        (&row["dropped"], &row["rejected"], &row["limit"]),
        (&count.into(), &0.into(), &5.into())
    );
    assert_eq!(engine.item("In")["received"], 10);
    // Dropped is dropped, also after a crash.
    engine.kill();
    let engine = place.start(&config);
    epr.up();
    engine.wait_for("EPR", "completed", delivered.len() as u64);
    assert_eq!(epr.inner.log(), delivered);
    let rows = recorded(&place, &["--state", "Discarded"]);
    assert_eq!(column(&rows, "control_id"), dropped);
    assert_eq!(engine.stop(), 0, "{}", engine.log());
}

#[test]
fn drop_newest_acknowledges_discards_and_counts_what_does_not_fit() {
    drops(
        "drop_newest",
        &["6", "7", "8", "9"],
        &["0", "1", "2", "3", "4", "5"],
    );
}

#[test]
fn drop_oldest_discards_what_has_waited_longest_and_counts_it() {
    // The first is in hand: that is never dropped.
    drops(
        "drop_oldest",
        &["1", "2", "3", "4"],
        &["0", "5", "6", "7", "8", "9"],
    );
}

#[test]
fn a_reload_changes_order_and_limit_under_messages_that_wait() {
    let place = Place::new();
    let mut epr = receiver();
    let engine = place.start(&production("QueueType: fifo", &epr));
    let reload = |queue: &str| {
        place.write("production.yaml", &production(queue, &epr));
        let plan = place.hie(["reload", "--json"]).ok().json();
        let changed = &plan["plan"]["changed"];
        assert_eq!(changed.as_array().unwrap().len(), 1, "{plan}");
        assert_eq!(changed[0]["item"], "EPR");
    };
    let mut sender = fill(&engine, 0..6);
    // Smaller than what waits: nothing goes, and nothing more comes in.
    reload("QueueType: lifo, QueueSize: 3, OverflowStrategy: reject");
    let answer = sent_by(&mut sender, "no");
    assert!(
        answer.contains("MSA|AR|no|the queue of EPR is full: 3 messages wait"),
        "{answer}"
    );
    let status = engine.item("EPR");
    assert_eq!(
        (&status["queue"]["kind"], &status["queue"]["limit"]),
        (&"lifo".into(), &3.into())
    );
    // Larger: the same connection sends on.
    reload("QueueType: lifo, QueueSize: 6, OverflowStrategy: reject");
    wait_until_left(&engine, 6); // the restarted item has taken one in hand
    sender.accepted(&adt("6"));
    // Its senders wait now; room that a reload makes lets them in while the receiver is still down.
    reload("QueueType: lifo, QueueSize: 3");
    let waiting = crowd(&engine, &["A", "B"]);
    wait_until_blocked(&engine);
    reload("QueueType: lifo, QueueSize: 20");
    for answer in told(waiting) {
        assert!(
            answer.as_ref().is_some_and(|told| told.contains("MSA|AA|")),
            "{answer:?}"
        );
    }
    assert!(recorded(&place, &["--state", "Discarded"]).is_empty());
    assert_eq!(queue_row(&place)["rejected"], 1);
    wait_until_left(&engine, 9);
    epr.up();
    engine.wait_for("EPR", "completed", 9);
    let log = epr.inner.log();
    let older: Vec<&String> = log.iter().filter(|id| id.parse::<u8>().is_ok()).collect();
    // Whichever was in hand when the last ones came leads; the rest is last in, first out.
    assert_eq!(older, ["6", "5", "4", "3", "2", "1", "0"], "{log:?}");
    assert_eq!(log.len(), 9, "each once: {log:?}");
    assert_eq!(log[3..], ["5", "4", "3", "2", "1", "0"], "{log:?}");
    assert_eq!(engine.stop(), 0, "{}", engine.log());
}
