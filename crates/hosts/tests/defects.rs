//! The defects that were found in the system whose design this engine re-makes: each has a test
//! here, or in the place that `docs/reference/defects.md` names, that shows ours does right.

#![allow(clippy::unwrap_used)]

mod common;

use std::{fs, path::Path, time::Duration};

use common::{
    PATIENCE, Place,
    peers::{Desk, Line, SINK, ack, adt, field, id, operation, service},
    sending::{let_in, receiver, sending_to, states},
    until,
};
use hie_engine::stats::ItemState;
use hie_load::receiver::Behaviour;
use hie_store::State;

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let (kind, target) = (entry.file_type().unwrap(), to.join(entry.file_name()));
        if kind.is_dir() {
            copy_folder(&entry.path(), &target);
        } else if kind.is_file() {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// There: messages were answered AA and lived in memory only. Here: what has been answered is in
/// the files as they stand at that instant, with nobody having closed anything.
#[tokio::test(flavor = "multi_thread")]
async fn defect_aa_for_a_message_that_is_later_lost() {
    let (place, after_the_crash) = (Place::new(), Place::new());
    let mut receiver = receiver().await;
    receiver.keep_log();
    let port = receiver.addr().port();
    receiver.down().await.unwrap();
    let running = sending_to(&place, port, "", "").await;
    let names: Vec<_> = (0..100).map(|nth| format!("M{nth:03}")).collect();
    let_in(
        &running,
        &names.iter().map(String::as_str).collect::<Vec<_>>(),
    )
    .await;
    copy_folder(&place.path("data"), &after_the_crash.path("data"));
    running.stop().await;
    let running = sending_to(&after_the_crash, port, "", "").await;
    assert_eq!(running.0.recovered.queued, names.len());
    receiver.up().await.unwrap();
    running.ended("Out", names.len()).await;
    assert_eq!(receiver.log(), names);
    running.stop().await;
}

/// There: an open connection went on being answered AA after the stop, and the message was lost.
#[tokio::test(flavor = "multi_thread")]
async fn defect_acks_after_stop() {
    let place = Place::new();
    let items = service("", "") + SINK;
    let running = place.start(&items).await;
    let address = running.address("In");
    let mut sender = Line::to(&address).await;
    assert_eq!(sender.code(adt("M1")).await, "AA");
    running.stop().await;
    let _ = sender.try_raw(format!("\x0b{}\x1c\r", adt("LATE"))).await;
    sender.closed().await;
    let running = place.start(&items).await;
    let rows = running.rows("In").await;
    assert_eq!((rows.len(), rows[0].control_id.as_str()), (1, "M1"));
    running.stop().await;
}

/// There: a graceful stop paused the workers and dropped what was queued. Here: whatever had been
/// answered when the stop came is delivered, once, in order, after the next start.
#[tokio::test(flavor = "multi_thread")]
async fn defect_loss_at_graceful_stop() {
    let place = Place::new();
    let receiver = receiver().await;
    receiver.keep_log();
    receiver.set(Behaviour::default().after(Duration::from_millis(1)));
    let port = receiver.addr().port();
    let running = sending_to(&place, port, "", "").await;
    let senders = (0..4).map(|sender| {
        let address = running.address("In");
        tokio::spawn(async move {
            let mut line = Line::to(&address).await;
            let mut answered = Vec::new();
            loop {
                let name = format!("{sender}-{:05}", answered.len());
                let sent = line.try_raw(format!("\x0b{}\x1c\r", adt(&name))).await;
                let answer = match sent {
                    Ok(()) => line.hear_or_closed().await,
                    Err(_) => None,
                };
                match answer {
                    Some(answer) if field(&answer, "MSA", 1) == "AA" => answered.push(name),
                    _ => return answered,
                }
            }
        })
    });
    let senders: Vec<_> = senders.collect();
    assert!(receiver.wait_for(100, PATIENCE).await);
    running.stop().await;
    let mut answered = Vec::new();
    for sender in senders {
        answered.push(sender.await.unwrap());
    }
    let running = sending_to(&place, port, "", "").await;
    let count: usize = answered.iter().map(Vec::len).sum();
    assert!(receiver.wait_for(count as u64, PATIENCE).await);
    running.ended("Out", count).await;
    assert_eq!(receiver.summary().duplicates, 0);
    let log = receiver.log();
    for (sender, names) in answered.iter().enumerate() {
        let its = log
            .iter()
            .filter(|name| name.starts_with(&format!("{sender}-")));
        assert!(its.eq(names), "what sender {sender} was told, in its order");
    }
    running.stop().await;
}

/// There: a pool of four senders shared one connection without a lock and took each other's
/// replies. Here: each job has its own, and each message gets the verdict that was meant for it.
#[tokio::test(flavor = "multi_thread")]
async fn defect_a_pool_of_senders_confuses_replies() {
    const COUNT: usize = 80;
    let place = Place::new();
    let desk = Desk::open().await;
    let port = desk.port;
    // Answers each message by what is in it, those of different connections in no order.
    let receiver = tokio::spawn(async move {
        loop {
            let mut peer = desk.line().await;
            tokio::spawn(async move {
                while let Some(message) = peer.hear_or_closed().await {
                    let name = id(&message);
                    let number: u64 = name[1..].parse().unwrap();
                    tokio::time::sleep(Duration::from_millis(number * 7 % 13)).await;
                    let code = ["AA", "AE", "CA"][(number % 3) as usize];
                    peer.say(ack(code, &name)).await;
                }
            });
        }
    });
    let items =
        service("", "") + &operation(port, "", "").replace("host:", "PoolSize: 4\n    host:");
    let running = place.start(&items).await;
    let names: Vec<_> = (0..COUNT).map(|nth| format!("M{nth}")).collect();
    let_in(
        &running,
        &names.iter().map(String::as_str).collect::<Vec<_>>(),
    )
    .await;
    let rows = running.ended("Out", COUNT).await;
    for row in &rows {
        let number: u64 = row.control_id[1..].parse().unwrap();
        let expected = if number % 3 == 1 {
            State::Suspended
        } else {
            State::Completed
        };
        assert_eq!(row.state, expected, "{}", row.control_id);
        assert_eq!((row.attempts, row.note.as_str()), (0, ""));
        let reply = running.0.broker.store.body(row.reply.unwrap()).unwrap();
        let reply = std::str::from_utf8(&reply).unwrap();
        assert_eq!(field(reply, "MSA", 2), row.control_id);
    }
    running.stop().await;
    receiver.abort();
}

/// There: a pause longer than the read timeout in the middle of a message lost it, and the timeout
/// ran for the whole message. Here: a sender that makes progress is heard to its end.
#[tokio::test(flavor = "multi_thread")]
async fn defect_slow_senders_cut_in_mid_frame() {
    let place = Place::new();
    let running = place.start(&(service("ReadTimeout: 3", "") + SINK)).await;
    let mut slow = Line::to(&running.address("In")).await;
    // One byte at a time, for longer than ReadTimeout: the pause is the sender's slowness.
    for byte in format!("\x0b{}\x1c\r", adt("SLOW")).bytes() {
        slow.raw([byte]).await;
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    assert_eq!(field(&slow.hear().await, "MSA", 2), "SLOW");
    let rows = running.ended("Out", 1).await;
    assert_eq!(running.body(&rows[0]), adt("SLOW").as_bytes());
    running.stop().await;
}

/// There: `None` acknowledged all the same, and `App` was `Immediate`. Every mode has its tests in
/// `ack_modes.rs`; this is the difference in one place.
#[tokio::test(flavor = "multi_thread")]
async fn defect_ack_mode_ignored() {
    for (mode, expected) in [("None", None), ("Immed", Some("AA")), ("App", Some("AE"))] {
        let place = Place::new();
        let receiver = receiver().await;
        receiver.set(Behaviour::code("AE"));
        let items =
            service("", &format!("AckMode: {mode}")) + &operation(receiver.addr().port(), "", "");
        let running = place.start(&items).await;
        let mut sender = Line::to(&running.address("In")).await;
        sender.say(adt("M1")).await;
        sender.hang_up().await;
        let answer = sender.hear_or_closed().await;
        let code = answer.map(|answer| field(&answer, "MSA", 1));
        assert_eq!(code.as_deref(), expected, "{mode}");
        assert_eq!(states(&running.ended("Out", 1).await), [State::Suspended]);
        running.stop().await;
    }
}

/// There: a message that was answered AE was routed on nevertheless, so that its sender repeated
/// what had arrived. Here: who is told no finds nothing delivered.
#[tokio::test(flavor = "multi_thread")]
async fn defect_an_ae_message_is_routed_on() {
    let place = Place::new();
    let receiver = receiver().await;
    receiver.keep_log();
    let running = sending_to(&place, receiver.addr().port(), "", "").await;
    let mut sender = Line::to(&running.address("In")).await;
    assert_eq!(sender.code("PID|1||4857773456").await, "AE");
    assert_eq!(sender.code(adt("M1")).await, "AA");
    running.ended("Out", 1).await;
    assert_eq!(receiver.log(), ["M1"]);
    assert_eq!(receiver.summary().distinct, 1);
    let kept = running.rows("In").await.remove(0);
    assert_eq!((kept.state, kept.target.as_str()), (State::Error, "In"));
    running.stop().await;
}

/// There: a misspelt setting, a wrong type and a name that does not exist each fell back to a
/// default without a word. Here: each is an error with its place.
#[test]
fn defect_silent_defaults() {
    let place = Place::new();
    for (items, words) in [
        (service("", "AckMod: Never") + SINK, "AckMode"),
        (service("", "AckMode: Sometimes") + SINK, "Immediate"),
        (service("ReadTimeout: soon", "") + SINK, "seconds"),
        (service("Prot: 2575", "") + SINK, "Port"),
        (service("Framing: LLP", "") + SINK, "MLLP"),
        (
            service("AllowedIPAddresses: ward-pc", "") + SINK,
            "10.1.2.3",
        ),
        (
            service("TLSCertificateFile: a.pem", "") + SINK,
            "TLSKeyFile",
        ),
        (service("", "BadMessageHandler: Nobody") + SINK, "Nobody"),
        (
            service("", "") + &operation(1, "", "ReplyCodeActions: \":?R=Q\""),
            "no action",
        ),
        (
            service("", "") + &operation(1, "StayConected: 0", ""),
            "StayConnected",
        ),
    ] {
        let errors = place.config(&items).unwrap_err();
        assert_eq!(errors.len(), 1, "{items}");
        let error = errors[0].to_string();
        assert!(error.contains(words), "{error}");
    }
}

/// There: three tries, then the message was dropped. Here: it is tried for as long as it takes.
#[tokio::test(flavor = "multi_thread")]
async fn defect_a_message_for_a_peer_that_is_down_is_dropped() {
    let place = Place::new();
    let mut receiver = receiver().await;
    let port = receiver.addr().port();
    receiver.down().await.unwrap();
    let running = sending_to(&place, port, "", "RetryInterval: 0.01").await;
    let_in(&running, &["M1"]).await;
    running
        .rows_when("Out", "many tries", |rows| {
            rows.first().is_some_and(|row| row.attempts >= 8)
        })
        .await;
    receiver.up().await.unwrap();
    assert_eq!(states(&running.ended("Out", 1).await), [State::Completed]);
    running.stop().await;
}

/// There: the drain paused the workers, then waited for queues that nobody worked off. Here: a stop
/// with a full queue and a receiver that is down ends, and what waits is kept.
#[tokio::test(flavor = "multi_thread")]
async fn defect_a_stop_waits_for_queues_that_cannot_drain() {
    let place = Place::new();
    let mut receiver = receiver().await;
    let port = receiver.addr().port();
    receiver.down().await.unwrap();
    // The next try is an hour away.
    let running = sending_to(&place, port, "", "RetryInterval: 3600").await;
    let_in(&running, &["M1", "M2", "M3"]).await;
    until("the first try", || {
        running.item("Out").stats.trying().is_some()
    })
    .await;
    let production = running.0.clone();
    running.stop().await;
    let items = production.items();
    let mut states = items.iter().map(|item| item.stats.state());
    assert!(states.all(|state| state == ItemState::Stopped));
    drop(production);
    let running = sending_to(&place, port, "", "").await;
    assert_eq!(running.0.recovered.queued, 3);
    receiver.up().await.unwrap();
    running.ended("Out", 3).await;
    running.stop().await;
}
