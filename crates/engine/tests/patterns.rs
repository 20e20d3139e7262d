//! Messaging patterns: who waits, in which order, and what a timeout leads to.

// Helpers of tests fail as tests do.
#![allow(clippy::unwrap_used)]

#[allow(dead_code)] // each test binary uses a part of them
mod gated;
#[allow(dead_code)]
mod support;

use std::sync::Arc;

use hie_engine::{Production, pattern::Pattern};
use hie_store::{Answered, State};
use tempfile::TempDir;

use gated::*;
use support::{DOOR, door, item, put, start, until};

/// Sends `count` messages at once, in a known order, through a service whose target is gated.
async fn crowd(
    name: &'static str,
    with: Pattern,
    jobs: u16,
    count: usize,
) -> (
    TempDir,
    Arc<Production>,
    tokio::task::JoinHandle<Vec<String>>,
) {
    let folder = tempfile::tempdir().unwrap();
    let (service, out) = (format!("In{name}"), format!("Out{name}"));
    let production = start(
        folder.path(),
        vec![
            pool(jobs, item(&service, &DOOR, &[to(&[&out]), pattern(with)])),
            pool(8, item(&out, &GATED, &[])),
        ],
    )
    .await;
    // One task asks in this order; each gets as far as its turn before the next one asks.
    let asking = (0..count).map(|n| {
        let service = service.clone();
        async move { text(ask(&service, &format!("m{n}")).await) }
    });
    let senders = tokio::spawn(futures_util::future::join_all(asking));
    let at_once = if with.waits() { jobs.into() } else { count };
    until("their beginning", || begun(&out).len() == at_once).await;
    (folder, production, senders)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sync_reliable_service_takes_one_message_at_a_time_over_all_senders() {
    let (_folder, production, senders) = crowd("30", Pattern::SyncReliable, 1, 4).await;
    for n in 0..4 {
        until("the next", || begun("Out30").len() == n + 1).await;
        assert_eq!(
            begun("Out30")[n],
            format!("m{n}"),
            "in the order of arrival"
        );
        assert_eq!(
            status(&production, "In30").received,
            n as u64 + 1,
            "one at a time"
        );
        open("Out30", n + 1);
    }
    let told = senders.await.unwrap();
    assert_eq!(told, [0, 1, 2, 3].map(|n| format!("Out30 did m{n}")));
    production.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_concurrent_sync_service_takes_as_many_as_it_has_jobs() {
    let (_folder, production, senders) = crowd("31", Pattern::ConcurrentSync, 2, 4).await;
    assert_eq!(status(&production, "In31").received, 2, "two at a time");
    open("Out31", 1);
    until("the third", || begun("Out31").len() == 3).await;
    assert_eq!(status(&production, "In31").received, 3);
    open("Out31", 4);
    let told = senders.await.unwrap();
    assert_eq!(told, [0, 1, 2, 3].map(|n| format!("Out31 did m{n}")));
    assert!(nobody_waits(&production));
    production.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn asynchronous_services_take_everything_at_once() {
    for (name, with) in [
        ("32", Pattern::AsyncReliable),
        ("33", Pattern::ConcurrentAsync),
    ] {
        let (_folder, production, senders) = crowd(name, with, 1, 4).await;
        // Whoever only hands a message in is told as soon as it is on disk: the gate is shut.
        put(&door(&format!("In{name}")), "m4").await;
        open(&format!("Out{name}"), 5);
        assert_eq!(senders.await.unwrap().len(), 4);
        production.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_waits_gives_up_in_time_and_one_that_goes_away_leaves_no_trace() {
    let folder = tempfile::tempdir().unwrap();
    let waits = [to(&["Out34"]), pattern(Pattern::SyncReliable), within(30)];
    let production = start(
        folder.path(),
        vec![
            item("In34", &DOOR, &waits),
            pool(2, item("Out34", &GATED, &[])),
        ],
    )
    .await;
    assert!(ask("In34", "slow").await.is_none(), "nothing came in time");
    assert_eq!(status(&production, "In34").timeouts, 1);
    // The next has its turn although the first is still under way; its sender then goes away.
    let gone = tokio::spawn(ask("In34", "gone"));
    until("its beginning", || begun("Out34").len() == 2).await;
    gone.abort();
    let _ = gone.await;
    assert_eq!(production.broker.calls.waiting(), 0);
    open("Out34", 2);
    until("both ends", || status(&production, "Out34").completed == 2).await;
    let late = rows(&production, "Out34").await;
    assert!(late.iter().all(|row| row.answered == Answered::Late));
    assert!(nobody_waits(&production));
    production.stop().await;
}

/// A process of this pattern with four jobs before a gated operation with eight: how many messages
/// get through to it while the gate is shut, of five.
async fn through(name: &str, with: Pattern) -> (TempDir, Arc<Production>) {
    let folder = tempfile::tempdir().unwrap();
    let names = [
        format!("In{name}"),
        format!("P{name}"),
        format!("Out{name}"),
    ];
    let production = start(
        folder.path(),
        vec![
            item(&names[0], &DOOR, &[to(&[&names[1]])]),
            pool(
                4,
                item(&names[1], &SPREAD, &[to(&[&names[2]]), pattern(with)]),
            ),
            pool(8, item(&names[2], &GATED, &[])),
        ],
    )
    .await;
    for n in 0..5 {
        put(&door(&names[0]), &format!("m{n}")).await;
    }
    (folder, production)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_wait_as_their_pattern_says() {
    for (name, with, at_once) in [
        ("40", Pattern::AsyncReliable, 5),
        ("41", Pattern::ConcurrentAsync, 5),
        ("42", Pattern::ConcurrentSync, 4),
        ("43", Pattern::SyncReliable, 1),
    ] {
        let (_folder, production) = through(name, with).await;
        let (process, out) = (format!("P{name}"), format!("Out{name}"));
        until("those that may", || begun(&out).len() == at_once).await;
        let done = if with.waits() { 0 } else { 5 };
        until("the process", || {
            status(&production, &process).completed == done
        })
        .await;
        let waits = if with.waits() { at_once } else { 0 };
        until("who waits", || production.broker.calls.waiting() == waits).await;
        for n in 1..=5 {
            open(&out, n);
            let next = (n + at_once).min(5);
            until("the next", || begun(&out).len() == next).await;
        }
        until("all", || status(&production, &process).completed == 5).await;
        if with.is_strict() {
            assert_eq!(begun(&out), ["m0", "m1", "m2", "m3", "m4"]);
        }
        assert!(nobody_waits(&production));
        production.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_waits_answers_with_its_first_target_and_fails_with_any() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["First44", "Second44"];
    let sync = pattern(Pattern::SyncReliable);
    let production = start(
        folder.path(),
        vec![
            item("In44", &DOOR, &[to(&["P44"])]),
            item("P44", &SPREAD, &[to(&names), sync, within(10_000)]),
            item("First44", &GATED, &[]),
            item("Second44", &GATED, &[]),
        ],
    )
    .await;
    open("First44", 9);
    let asked = tokio::spawn(ask("In44", "good"));
    until("the second", || begun("Second44").len() == 1).await;
    assert_eq!(status(&production, "P44").completed, 0, "it waits for both");
    open("Second44", 9);
    assert_eq!(text(asked.await.unwrap()), "First44 did good");
    let response = ask("In44", "fail").await.unwrap();
    assert_eq!(response.state, State::Error);
    assert_eq!(
        response.reason,
        "First44 ended in state Error: as told; Second44 ended in state Error: as told"
    );
    production.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_waits_too_long_ends_in_error_and_the_next_message_begins() {
    let folder = tempfile::tempdir().unwrap();
    let sync = pattern(Pattern::SyncReliable);
    let production = start(
        folder.path(),
        vec![
            item("In45", &DOOR, &[to(&["P45"])]),
            item("P45", &SPREAD, &[to(&["Out45"]), sync, within(30)]),
            pool(2, item("Out45", &GATED, &[])),
        ],
    )
    .await;
    put(&door("In45"), "one").await;
    put(&door("In45"), "two").await;
    until("both to give up", || status(&production, "P45").failed == 2).await;
    open("Out45", 2);
    until("both ends", || status(&production, "Out45").completed == 2).await;
    let rows = rows(&production, "P45").await;
    assert!(rows.iter().all(|row| {
        row.state == State::Error && row.reason.starts_with("Out45 did not answer within 30ms")
    }));
    assert!(nobody_waits(&production));
    production.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_round_of_processes_that_wait_is_refused_before_anything_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let sync = pattern(Pattern::SyncReliable);
    let production = start(
        folder.path(),
        vec![
            item("In46", &DOOR, &[to(&["P46"])]),
            pool(3, item("P46", &SPREAD, &[to(&["Q46"]), sync.clone()])),
            pool(3, item("Q46", &SPREAD, &[to(&["P46"]), sync])),
        ],
    )
    .await;
    let response = ask("In46", "round").await.unwrap();
    assert!(
        response.reason.contains("deadlock: Q46 → P46 → Q46"),
        "jobs that stand by are no help: {}",
        response.reason
    );
    assert_eq!(rows(&production, "P46").await.len(), 1);
    production.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_stopped_process_waited_for_goes_on_once() {
    let folder = tempfile::tempdir().unwrap();
    let items = || {
        let sync = pattern(Pattern::ConcurrentSync);
        vec![
            item("In47", &DOOR, &[to(&["P47"])]),
            item("P47", &SPREAD, &[to(&["Out47"]), sync]),
            item("Out47", &GATED, &[]),
        ]
    };
    let production = start(folder.path(), items()).await;
    put(&door("In47"), "it").await;
    until("its beginning", || begun("Out47").len() == 1).await;
    production.stop().await;
    open("Out47", 9);
    let production = start(folder.path(), items()).await;
    until("its end", || status(&production, "Out47").completed == 1).await;
    let process = rows(&production, "P47").await;
    assert_eq!(process.len(), 1);
    assert!(process[0].state == State::Completed && process[0].note.contains("goes on"));
    assert_eq!(rows(&production, "Out47").await.len(), 1, "sent once");
    production.stop().await;
}
