//! The HL7 TCP operation before a receiver that is down, refuses, is silent, late or broken: what
//! becomes of the message, what the next one meets, and what an operator sees of it.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::{
    PATIENCE, Place,
    peers::{Desk, Line, ack, adt, id, operation, service},
    sending::{let_in, receiver, sending_to, states, trace},
};
use hie_load::receiver::{Answer, Behaviour};
use hie_store::State;

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_is_down_finds_all_in_order_when_it_is_back() {
    const COUNT: usize = 200;
    let place = Place::new();
    let mut receiver = receiver().await;
    receiver.keep_log();
    let port = receiver.addr().port();
    receiver.down().await.unwrap();
    let running = sending_to(&place, port, "", "").await;
    let names: Vec<_> = (0..COUNT).map(|nth| format!("M{nth:04}")).collect();
    let_in(
        &running,
        &names.iter().map(String::as_str).collect::<Vec<_>>(),
    )
    .await;
    // The head of the queue is tried again and again, and says why; the others wait behind it.
    let rows = running
        .rows_when("Out", "tries to be seen", |rows| {
            rows.first().is_some_and(|row| row.attempts >= 2)
        })
        .await;
    assert_eq!(states(&rows), [State::Queued; COUNT]);
    assert!(
        rows[0].reason.contains("cannot connect"),
        "{}",
        rows[0].reason
    );
    assert!(rows[1..].iter().all(|row| row.attempts == 0));
    let trying = running.item("Out").stats.trying().unwrap();
    assert!(trying.contains("cannot connect"), "{trying}");
    receiver.up().await.unwrap();
    assert!(receiver.wait_for(COUNT as u64, PATIENCE).await);
    let rows = running.ended("Out", COUNT).await;
    assert_eq!(states(&rows), [State::Completed; COUNT]);
    assert_eq!(receiver.log(), names);
    assert_eq!(receiver.summary().duplicates, 0);
    assert!(running.item("Out").stats.trying().is_none());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_receiver_survives_a_stop() {
    let place = Place::new();
    let mut receiver = receiver().await;
    receiver.keep_log();
    let port = receiver.addr().port();
    receiver.down().await.unwrap();
    let running = sending_to(&place, port, "", "").await;
    let_in(&running, &["M1", "M2", "M3"]).await;
    running.stop().await;
    let running = sending_to(&place, port, "", "").await;
    receiver.up().await.unwrap();
    let rows = running.ended("Out", 3).await;
    assert_eq!(states(&rows), [State::Completed; 3]);
    assert_eq!(receiver.log(), ["M1", "M2", "M3"]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_answer_is_never_taken_for_that_of_the_next_try_or_message() {
    let place = Place::new();
    let desk = Desk::open().await;
    let running = sending_to(&place, desk.port, "ReplyTimeout: 2", "").await;
    let_in(&running, &["M1", "M2"]).await;
    let mut first = desk.line().await;
    assert_eq!(id(&first.hear().await), "M1");
    // No answer in time: that connection is closed, the message comes again on another.
    first.closed().await;
    let mut second = desk.line().await;
    assert_eq!(id(&second.hear().await), "M1");
    // The late answer meets nobody; what counts is what is said on the second connection.
    let _ = first
        .try_raw(format!("\x0b{}\x1c\r", ack("AE", "M1")))
        .await;
    second.say(ack("AA", "M1")).await;
    assert_eq!(id(&second.hear().await), "M2");
    second.say(ack("AE", "M2")).await;
    let rows = running.ended("Out", 2).await;
    assert_eq!(states(&rows), [State::Completed, State::Suspended]);
    assert!(rows[0].attempts >= 1);
    let seen = &trace(&running, &rows[0])[0];
    assert_eq!((seen.state, seen.attempts), (State::Completed, 1));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_says_which_timeout_it_was() {
    let place = Place::new();
    let receiver = receiver().await;
    receiver.set(Behaviour::of(Answer::Silence));
    let adapter = "ReplyTimeout: 0.1";
    let running = sending_to(&place, receiver.addr().port(), adapter, "").await;
    let_in(&running, &["M1"]).await;
    let rows = running
        .rows_when("Out", "the reason to be seen", |rows| {
            rows.first().is_some_and(|row| !row.reason.is_empty())
        })
        .await;
    assert!(
        rows[0].reason.contains("ReplyTimeout"),
        "{}",
        rows[0].reason
    );
    let twice = |summary: &hie_load::ledger::Summary| summary.duplicates >= 2;
    assert!(receiver.wait_until(twice, PATIENCE).await);
    assert!(receiver.connections() >= 3, "each try on a connection anew");
    receiver.set(Behaviour::default());
    assert_eq!(states(&running.ended("Out", 1).await), [State::Completed]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_answer_within_the_timeout_is_waited_for() {
    let place = Place::new();
    let receiver = receiver().await;
    receiver.set(Behaviour::default().after(Duration::from_millis(300)));
    let running = sending_to(&place, receiver.addr().port(), "ReplyTimeout: -1", "").await;
    let_in(&running, &["M1", "M2"]).await;
    let rows = running.ended("Out", 2).await;
    assert_eq!(states(&rows), [State::Completed; 2]);
    assert_eq!(receiver.summary().duplicates, 0);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_hangs_up_in_the_middle_of_its_answer_gets_the_message_again() {
    for answer in [Answer::HalfThenClose, Answer::Close] {
        let place = Place::new();
        let receiver = receiver().await;
        receiver.keep_log();
        receiver.set(Behaviour::of(answer.clone()));
        let running = sending_to(&place, receiver.addr().port(), "", "").await;
        let_in(&running, &["M1", "M2"]).await;
        let again = |summary: &hie_load::ledger::Summary| summary.duplicates >= 1;
        assert!(receiver.wait_until(again, PATIENCE).await);
        receiver.set(Behaviour::default());
        let rows = running.ended("Out", 2).await;
        assert_eq!(states(&rows), [State::Completed; 2], "{answer:?}");
        assert!(rows[0].attempts >= 1);
        assert_eq!(receiver.log(), ["M1", "M2"]);
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_to_another_message_is_warned_of_and_the_connection_made_anew() {
    let place = Place::new();
    let desk = Desk::open().await;
    let running = sending_to(&place, desk.port, "", "").await;
    let_in(&running, &["M1", "M2"]).await;
    let mut first = desk.line().await;
    assert_eq!(id(&first.hear().await), "M1");
    first.say(ack("AA", "ELSE")).await;
    first.closed().await;
    let mut second = desk.line().await;
    assert_eq!(id(&second.hear().await), "M2");
    second.say(ack("AA", "M2")).await;
    let rows = running.ended("Out", 2).await;
    assert_eq!(states(&rows), [State::Completed; 2]);
    assert!(
        rows[0].note.contains("another control id"),
        "{}",
        rows[0].note
    );
    assert!(rows[1].note.is_empty(), "{}", rows[1].note);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stay_connected_0_takes_a_connection_for_each_message() {
    let place = Place::new();
    let receiver = receiver().await;
    let port = receiver.addr().port();
    let running = sending_to(&place, port, "StayConnected: 0", "").await;
    let_in(&running, &["M1", "M2", "M3"]).await;
    running.ended("Out", 3).await;
    assert_eq!(receiver.connections(), 3);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_serves_all_messages_by_default() {
    let place = Place::new();
    let receiver = receiver().await;
    let running = sending_to(&place, receiver.addr().port(), "", "").await;
    let_in(&running, &["M1", "M2", "M3"]).await;
    running.ended("Out", 3).await;
    assert_eq!(receiver.connections(), 1);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_idle_for_stay_connected_is_closed() {
    let place = Place::new();
    let desk = Desk::open().await;
    let running = sending_to(&place, desk.port, "StayConnected: 1.5", "").await;
    for name in ["M1", "M2"] {
        let_in(&running, &[name]).await;
        let mut peer = desk.line().await;
        assert_eq!(id(&peer.hear().await), name);
        peer.say(ack("AA", name)).await;
        peer.closed().await;
    }
    let rows = running.ended("Out", 2).await;
    assert_eq!(states(&rows), [State::Completed; 2]);
    assert_eq!(rows[1].attempts, 0);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reconnect_retry_makes_the_connection_anew_after_so_many_refusals() {
    let place = Place::new();
    let desk = Desk::open().await;
    let running = sending_to(&place, desk.port, "ReconnectRetry: 3", "").await;
    let_in(&running, &["M1"]).await;
    for _ in 0..2 {
        let mut peer = desk.line().await;
        for _ in 0..3 {
            assert_eq!(id(&peer.hear().await), "M1");
            peer.say(ack("AR", "M1")).await;
        }
        peer.closed().await;
    }
    let mut peer = desk.line().await;
    peer.hear().await;
    peer.say(ack("AA", "M1")).await;
    assert_eq!(states(&running.ended("Out", 1).await), [State::Completed]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_that_the_peer_closed_costs_no_try() {
    let place = Place::new();
    let desk = Desk::open().await;
    let running = sending_to(&place, desk.port, "", "").await;
    for name in ["M1", "M2", "M3"] {
        let_in(&running, &[name]).await;
        let mut peer = desk.line().await;
        assert_eq!(id(&peer.hear().await), name);
        peer.say(ack("AA", name)).await;
        running
            .rows_when("Out", name, |rows| {
                rows.iter()
                    .any(|row| row.control_id == name && row.state == State::Completed)
            })
            .await;
        drop(peer);
    }
    let rows = running.ended("Out", 3).await;
    assert!(rows.iter().all(|row| row.attempts == 0));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_nobody_asked_for_is_not_taken_for_the_next() {
    let place = Place::new();
    let desk = Desk::open().await;
    let running = sending_to(&place, desk.port, "", "").await;
    let_in(&running, &["M1"]).await;
    let mut first = desk.line().await;
    first.hear().await;
    // Both in one packet: the second is there before the next message is.
    let answer = format!("\x0b{}\x1c\r", ack("AA", "M1"));
    first.raw(format!("{answer}{answer}")).await;
    running.ended("Out", 1).await;
    let_in(&running, &["M2"]).await;
    let mut second = desk.line().await;
    assert_eq!(id(&second.hear().await), "M2");
    second.say(ack("AE", "M2")).await;
    let rows = running.ended("Out", 2).await;
    assert_eq!(states(&rows), [State::Completed, State::Suspended]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn get_reply_false_waits_for_none_and_reads_past_those_that_come() {
    let place = Place::new();
    let desk = Desk::open().await;
    let running = sending_to(&place, desk.port, "", "GetReply: false").await;
    let_in(&running, &["M1"]).await;
    let rows = running.ended("Out", 1).await;
    assert_eq!(states(&rows), [State::Completed]);
    assert!(rows[0].note.contains("GetReply"), "{}", rows[0].note);
    let mut peer = desk.line().await;
    for name in ["M1", "M2", "M3"] {
        if name != "M1" {
            let_in(&running, &[name]).await;
        }
        // Always the same connection, although each is refused.
        assert_eq!(id(&peer.hear().await), name);
        peer.say(ack("AR", name)).await;
    }
    assert_eq!(
        states(&running.ended("Out", 3).await),
        [State::Completed; 3]
    );
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_cannot_be_framed_is_an_error_and_holds_nobody_up() {
    let place = Place::new();
    let receiver = receiver().await;
    // Let in with other framing bytes, for which the end byte of MLLP is a byte as any other.
    let items = service("Framing: MLLP0x02/0x03", "") + &operation(receiver.addr().port(), "", "");
    let running = place.start(&items).await;
    let framing = hie_mllp::Framing::new(2, 3, Some(b'\r')).unwrap();
    let mut sender = Line::framed(&running.address("In"), framing).await;
    let bad = adt("M1").replace("PID|1", "PID|\x1c");
    assert_eq!(sender.code(bad).await, "AA");
    assert_eq!(sender.code(adt("M2")).await, "AA");
    let rows = running.ended("Out", 2).await;
    assert_eq!(states(&rows), [State::Error, State::Completed]);
    assert!(rows[0].reason.contains("framed"), "{}", rows[0].reason);
    assert_eq!(receiver.count_of("M1"), 0);
    running.stop().await;
}
