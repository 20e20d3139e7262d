//! What the HL7 TCP operation does on which reply: `ReplyCodeActions`.

#![allow(clippy::unwrap_used)]

mod common;

use common::{
    PATIENCE, Place,
    peers::{Desk, field},
    sending::{let_in, receiver, sending_to, states, trace},
    until,
};
use hie_engine::stats::ItemState;
use hie_load::receiver::Behaviour;
use hie_store::State;

#[tokio::test(flavor = "multi_thread")]
async fn ae_is_set_aside_and_the_next_goes_on() {
    let place = Place::new();
    let receiver = receiver().await;
    receiver.set(Behaviour::code("AE"));
    let running = sending_to(&place, receiver.addr().port(), "", "").await;
    let_in(&running, &["M1"]).await;
    let rows = running.ended("Out", 1).await;
    assert_eq!(states(&rows), [State::Suspended]);
    assert!(rows[0].reason.contains("answered AE"), "{}", rows[0].reason);
    let reply = running.0.broker.store.body(rows[0].reply.unwrap()).unwrap();
    assert_eq!(
        field(std::str::from_utf8(&reply).unwrap(), "MSA", 1),
        "AE",
        "the reply is kept"
    );
    receiver.set(Behaviour::code("AA"));
    let_in(&running, &["M2"]).await;
    let rows = running.ended("Out", 2).await;
    assert_eq!(states(&rows), [State::Suspended, State::Completed]);
    assert_eq!(receiver.count_of("M1"), 1, "not tried again");
    let seen = trace(&running, &rows[0]);
    assert_eq!(seen.len(), 1);
    assert_eq!((seen[0].state, seen[0].attempts), (State::Suspended, 0));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ar_is_tried_again_until_the_failure_timeout_and_then_an_error() {
    let place = Place::new();
    let receiver = receiver().await;
    receiver.keep_log();
    receiver.set(Behaviour::code("AR"));
    let host = "FailureTimeout: 0.3";
    let running = sending_to(&place, receiver.addr().port(), "", host).await;
    let_in(&running, &["M1", "M2"]).await;
    let rows = running.ended("Out", 2).await;
    assert_eq!(states(&rows), [State::Error; 2]);
    for part in ["FailureTimeout", "answered AR"] {
        assert!(rows[0].reason.contains(part), "{}", rows[0].reason);
    }
    assert!(rows[0].attempts > 0 && receiver.count_of("M1") > 1);
    assert_eq!(receiver.log(), ["M1", "M2"], "nothing overtakes");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ar_is_done_when_the_receiver_takes_it_after_all() {
    let place = Place::new();
    let receiver = receiver().await;
    receiver.keep_log();
    receiver.set(Behaviour::code("AR"));
    let running = sending_to(&place, receiver.addr().port(), "", "").await;
    let_in(&running, &["M1", "M2"]).await;
    let refused = |summary: &hie_load::ledger::Summary| summary.duplicates >= 3;
    assert!(receiver.wait_until(refused, PATIENCE).await);
    receiver.set(Behaviour::default());
    let rows = running.ended("Out", 2).await;
    assert_eq!(states(&rows), [State::Completed; 2]);
    assert_eq!(receiver.log(), ["M1", "M2"]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_msa_sets_the_message_aside() {
    for reply in [
        "MSH|^~\\&|A|B|C|D|20260314||ADT^A01|1|P|2.5\rPID|1\r",
        "thanks",
    ] {
        let place = Place::new();
        let desk = Desk::open().await;
        let running = sending_to(&place, desk.port, "", "").await;
        let_in(&running, &["M1"]).await;
        let mut peer = desk.line().await;
        peer.hear().await;
        peer.say(reply).await;
        let rows = running.ended("Out", 1).await;
        assert_eq!(states(&rows), [State::Suspended]);
        assert!(rows[0].reason.contains("no MSA"), "{}", rows[0].reason);
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reply_code_actions_are_obeyed() {
    for (actions, code, state, note) in [
        (":?E=C,:?A=C", "AE", State::Completed, ""),
        (":?E=F,:?A=C", "CE", State::Error, ""),
        (":?E=W,:?A=C", "AE", State::Completed, "answered AE"),
        (":?R=S,:?A=C", "AR", State::Suspended, ""),
        (":ZZ=F,:*=C", "ZZ", State::Error, ""),
        (":ZZ=F,:*=C", "YY", State::Completed, ""),
        (":*=F", "AA", State::Error, ""),
    ] {
        let place = Place::new();
        let receiver = receiver().await;
        receiver.set(Behaviour::code(code));
        let host = format!("ReplyCodeActions: \"{actions}\"");
        let running = sending_to(&place, receiver.addr().port(), "", &host).await;
        let_in(&running, &["M1"]).await;
        let rows = running.ended("Out", 1).await;
        assert_eq!(states(&rows), [state], "{actions} {code}");
        assert!(rows[0].note.contains(note), "{actions}: {}", rows[0].note);
        assert_eq!(receiver.count_of("M1"), 1, "{actions} {code}");
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn retries_end_as_the_letter_behind_the_r_says() {
    for (letters, state) in [
        ("R", State::Completed),
        ("RC", State::Completed),
        ("RS", State::Suspended),
        ("RF", State::Error),
    ] {
        let place = Place::new();
        let receiver = receiver().await;
        receiver.set(Behaviour::code("AE"));
        let host = format!("ReplyCodeActions: \":?E={letters}\", FailureTimeout: 0.1");
        let running = sending_to(&place, receiver.addr().port(), "", &host).await;
        let_in(&running, &["M1"]).await;
        assert_eq!(states(&running.ended("Out", 1).await), [state], "{letters}");
        assert!(receiver.count_of("M1") > 1, "{letters}");
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_before_an_answer_have_their_own_codes() {
    for (actions, state) in [
        ("E*cannot connect=S,E=F", State::Suspended),
        ("E*nothing of the kind=S,E=F", State::Error),
        ("X=S", State::Suspended),
    ] {
        let place = Place::new();
        let mut receiver = receiver().await;
        let port = receiver.addr().port();
        receiver.down().await.unwrap();
        let host = format!("ReplyCodeActions: \"{actions}\"");
        let running = sending_to(&place, port, "", &host).await;
        let_in(&running, &["M1"]).await;
        assert_eq!(states(&running.ended("Out", 1).await), [state], "{actions}");
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn disabling_keeps_the_message_at_the_head_of_the_queue() {
    let place = Place::new();
    let receiver = receiver().await;
    receiver.keep_log();
    receiver.set(Behaviour::code("AR"));
    let host = "ReplyCodeActions: \":?R=D,:?A=C\"";
    let running = sending_to(&place, receiver.addr().port(), "", host).await;
    let_in(&running, &["M1", "M2"]).await;
    until("the item to be disabled", || {
        running.item("Out").stats.state() == ItemState::Disabled
    })
    .await;
    let rows = running.rows("Out").await;
    assert_eq!(states(&rows), [State::Queued; 2]);
    assert_eq!(receiver.log(), ["M1"]);
    let error = running.item("Out").stats.last_error().unwrap();
    assert!(error.contains("answered AR"), "{error}");
    running.stop().await;
    receiver.set(Behaviour::default());
    let running = sending_to(&place, receiver.addr().port(), "", host).await;
    running.ended("Out", 2).await;
    assert_eq!(receiver.log(), ["M1", "M2"]);
    running.stop().await;
}
