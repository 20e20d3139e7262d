//! Requests between items: by name, in time or not, in rounds and in loops.

// Helpers of tests fail as tests do.
#![allow(clippy::unwrap_used)]

#[allow(dead_code)] // each test binary uses a part of them
mod gated;
#[allow(dead_code)]
mod support;

use hie_engine::setting::Value;
use hie_store::{Answered, State};

use gated::*;
use support::{DOOR, door, item, put, start, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn item_2_5_calls_go_by_name_nest_and_come_home() {
    let folder = tempfile::tempdir().unwrap();
    let production = start(
        folder.path(),
        vec![
            item("In20", &DOOR, &[to(&["A20"])]),
            item("A20", &CALLER, &[]),
            item("B20", &CALLER, &[]),
            item("C20", &CALLER, &[]),
        ],
    )
    .await;
    let response = ask("In20", "B20 C20 end it").await;
    assert_eq!(text(response), "A20(B20(C20 had it))");
    let [a, b, c] = [
        rows(&production, "A20").await.remove(0),
        rows(&production, "B20").await.remove(0),
        rows(&production, "C20").await.remove(0),
    ];
    assert_eq!((b.cause, c.cause), (Some(a.id), Some(b.id)));
    for row in [&a, &b, &c] {
        assert_eq!(
            (row.answered, row.state),
            (Answered::Caller, State::Completed)
        );
    }
    let unknown = ask("In20", "B02 x").await.unwrap();
    assert!(
        unknown.reason.contains("unknown-target") && unknown.reason.contains("`B20`"),
        "names the nearest: {}",
        unknown.reason
    );
    assert!(nobody_waits(&production));
    production.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn item_2_5_a_timeout_says_who_was_waited_for_and_a_late_response_reaches_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let production = start(
        folder.path(),
        vec![
            item("In21", &DOOR, &[to(&["A21"])]),
            item("A21", &CALLER, &[]),
            item("Out21", &GATED, &[]),
        ],
    )
    .await;
    let response = ask("In21", "quick:Out21 first").await.unwrap();
    assert_eq!(response.state, State::Error);
    assert!(
        response
            .reason
            .contains("timeout: Out21 did not answer within 20ms"),
        "{}",
        response.reason
    );
    assert_eq!(status(&production, "A21").timeouts, 1);
    assert_eq!(production.broker.calls.given_up(), 1);
    // The next call of the same job waits at the same item, and gets its own response.
    let next = tokio::spawn(ask("In21", "Out21 second"));
    until("the second call", || production.broker.calls.waiting() == 2).await;
    open("Out21", 2);
    assert_eq!(text(next.await.unwrap()), "A21(Out21 did second)");
    let answered = rows(&production, "Out21").await;
    let answered: Vec<_> = answered
        .iter()
        .map(|row| (row.state, row.answered, row.reply.is_some()))
        .collect();
    assert_eq!(
        answered,
        [
            (State::Completed, Answered::Late, true),
            (State::Completed, Answered::Caller, true)
        ]
    );
    assert!(nobody_waits(&production));
    production.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn item_2_6_asynchronous_requests_return_an_id_and_keep_their_priority() {
    let folder = tempfile::tempdir().unwrap();
    let production = start(
        folder.path(),
        vec![
            item("In22", &DOOR, &[to(&["A22"])]),
            item("A22", &CALLER, &[]),
            item("Out22", &GATED, &[]),
        ],
    )
    .await;
    let response = ask("In22", "send:Out22 it").await.unwrap();
    assert_eq!(
        response.state,
        State::Completed,
        "it did not wait: the gate is shut"
    );
    let sent = rows(&production, "Out22").await;
    let caller = rows(&production, "A22").await.remove(0).id;
    assert!(sent.iter().all(|row| row.cause == Some(caller)));
    assert_eq!(
        sent.iter()
            .map(|row| row.priority as u8)
            .collect::<Vec<_>>(),
        [0, 1, 2, 3, 4]
    );
    open("Out22", 5);
    until("all of them", || {
        status(&production, "Out22").completed == 5
    })
    .await;
    production.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_round_of_calls_fails_at_once_with_the_round_unless_a_job_is_free() {
    let folder = tempfile::tempdir().unwrap();
    let production = start(
        folder.path(),
        vec![
            item("In23", &DOOR, &[to(&["A23"])]),
            item("A23", &CALLER, &[]),
            item("B23", &CALLER, &[]),
            item("InWide23", &DOOR, &[to(&["Wide23"])]),
            pool(2, item("Wide23", &CALLER, &[])),
        ],
    )
    .await;
    for (body, round) in [
        ("B23 A23 end", "deadlock: B23 → A23 → B23"),
        ("A23 end", "deadlock: A23 → A23"),
    ] {
        let response = ask("In23", body).await.unwrap();
        assert!(response.reason.contains(round), "{}", response.reason);
    }
    assert_eq!(status(&production, "B23").deadlocks, 1);
    assert_eq!(status(&production, "A23").deadlocks, 1);
    let response = ask("InWide23", "Wide23 end it").await;
    assert_eq!(text(response), "Wide23(Wide23 had it)");
    assert!(nobody_waits(&production));
    production.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sent_round_for_ever_ends_in_error() {
    let folder = tempfile::tempdir().unwrap();
    let hops = ("MaxHops", Value::Int(7));
    let production = start(
        folder.path(),
        vec![
            item("In24", &DOOR, &[to(&["Ping24"])]),
            item("Ping24", &SPREAD, &[to(&["Pong24"]), hops.clone()]),
            item("Pong24", &SPREAD, &[to(&["Ping24"]), hops]),
        ],
    )
    .await;
    put(&door("In24"), "round").await;
    until("the loop to be found", || {
        status(&production, "Ping24").loops + status(&production, "Pong24").loops == 1
    })
    .await;
    let all = [
        rows(&production, "Ping24").await,
        rows(&production, "Pong24").await,
    ]
    .concat();
    assert_eq!(all.len(), 9, "7 hops more than the first, and one too many");
    let failed: Vec<_> = all.iter().filter(|row| row.state == State::Error).collect();
    assert!(
        failed.len() == 1
            && failed[0]
                .reason
                .starts_with("loop: the message has passed 7 items"),
        "{:?}",
        failed.iter().map(|row| &row.reason).collect::<Vec<_>>()
    );
    production.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strict_calls_of_one_item_go_one_after_another() {
    let folder = tempfile::tempdir().unwrap();
    let production = start(
        folder.path(),
        vec![
            item("In48", &DOOR, &[to(&["A48"])]),
            pool(3, item("A48", &CALLER, &[])),
            pool(8, item("Out48", &GATED, &[])),
            item("In49", &DOOR, &[to(&["A49"])]),
            pool(3, item("A49", &CALLER, &[])),
            pool(8, item("Out49", &GATED, &[])),
        ],
    )
    .await;
    for n in 0..3 {
        put(&door("In48"), &format!("strict:Out48 {n}")).await;
        put(&door("In49"), &format!("Out49 {n}")).await;
    }
    until("three side by side", || begun("Out49").len() == 3).await;
    open("Out49", 3);
    for n in 1..=3 {
        until("the next", || begun("Out48").len() == n).await;
        assert_eq!(
            production
                .broker
                .queue(production.broker.target("Out48").unwrap())
                .len(),
            0
        );
        assert_eq!(begun("Out48").len(), n, "one after another");
        open("Out48", n);
    }
    until("all", || status(&production, "A48").completed == 3).await;
    assert!(nobody_waits(&production));
    production.stop().await;
}
