//! Messaging patterns and requests between items: who waits, in which order, what a timeout, a
//! round of waits and a loop lead to.

// Helpers of tests fail as tests do.
#![allow(clippy::unwrap_used)]

#[allow(dead_code)] // each test binary uses a part of it
mod support;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use hie_engine::{
    HostContext, HostError, Production,
    broker::Response,
    class::{Build, Class},
    config::ItemConfig,
    host::{BusinessOperation, BusinessProcess, Message, Outcome},
    pattern::Pattern,
    setting::Value,
    status::ItemStatus,
};
use hie_store::{Answered, HeaderRow, Priority, Query, State};
use tempfile::TempDir;
use tokio::sync::watch;

use support::{DOOR, door, item, origin, put, start, targets, until};

/// What each gated item has begun, in order.
static BEGUN: Mutex<BTreeMap<String, Vec<String>>> = Mutex::new(BTreeMap::new());
/// How many messages each gated item may let through.
static GATES: Mutex<BTreeMap<String, watch::Sender<usize>>> = Mutex::new(BTreeMap::new());

/// An operation that begins its messages and ends each only when the test opens the gate for it.
struct Gated;

#[async_trait]
impl BusinessOperation for Gated {
    async fn on_message(&mut self, ctx: &HostContext, m: &Message) -> Result<Outcome, HostError> {
        let body = String::from_utf8_lossy(&m.body).into_owned();
        let mut gate = gate(ctx.name()).subscribe();
        let number = {
            let mut begun = BEGUN.lock().unwrap();
            let begun = begun.entry(ctx.name().into()).or_default();
            begun.push(body.clone());
            begun.len()
        };
        gate.wait_for(|open| *open >= number).await.unwrap();
        if body.starts_with("fail") {
            return Ok(Outcome::failed("as told"));
        }
        Ok(Outcome::completed().with_reply(Bytes::from(format!("{} did {body}", ctx.name()))))
    }
}

fn gate(item: &str) -> watch::Sender<usize> {
    let mut gates = GATES.lock().unwrap();
    let gate = gates
        .entry(item.into())
        .or_insert_with(|| watch::channel(0).0);
    gate.clone()
}

/// Lets the first `count` messages of an item through.
fn open(item: &str, count: usize) {
    gate(item).send_replace(count);
}

fn begun(item: &str) -> Vec<String> {
    BEGUN.lock().unwrap().get(item).cloned().unwrap_or_default()
}

/// A process that calls the first word of the body with the rest of it, and answers with its own
/// name around the reply. `MODE:Target`: strict, quick (a timeout of 20 ms), or no wait at all.
struct Caller;

#[async_trait]
impl BusinessProcess for Caller {
    async fn on_message(&mut self, ctx: &HostContext, m: &Message) -> Result<Outcome, HostError> {
        let body = String::from_utf8_lossy(&m.body).into_owned();
        let (word, rest) = body.split_once(' ').unwrap_or((&body, ""));
        if word == "end" {
            let reply = Bytes::from(format!("{} had {rest}", ctx.name()));
            return Ok(Outcome::completed().with_reply(reply));
        }
        let (mode, target) = word.split_once(':').unwrap_or(("", word));
        let (rest, normal) = (Some(Bytes::from(rest.to_owned())), Priority::Normal);
        if mode == "send" {
            for number in 0..5 {
                let priority = Priority::from_number(number).unwrap();
                let sent = ctx.send_request_async(target, rest.clone(), priority, None);
                let id = sent.await?;
                assert!(id > m.live.id, "a correlation id of its own");
            }
            return Ok(Outcome::completed());
        }
        let timeout = (mode == "quick").then_some(Duration::from_millis(20));
        let pattern = (mode == "strict").then_some(Pattern::SyncReliable);
        let called = ctx.send_request_sync(target, rest, timeout, normal, pattern);
        let response = called
            .await
            .map_err(|error| HostError::new(error.code, format!("{}: {error}", error.code)))?;
        if response.state != State::Completed {
            return Ok(Outcome::failed(response.reason));
        }
        let reply = response.reply.unwrap_or_default();
        let reply = format!("{}({})", ctx.name(), String::from_utf8_lossy(&reply));
        Ok(Outcome::completed().with_reply(Bytes::from(reply)))
    }
}

/// A process that sends on to its targets.
struct Spread(Vec<String>);

#[async_trait]
impl BusinessProcess for Spread {
    async fn on_message(&mut self, _: &HostContext, _: &Message) -> Result<Outcome, HostError> {
        let sent = self.0.iter().fold(Outcome::completed(), Outcome::and_send);
        Ok(sent)
    }
}

static GATED: Class = support::class("Gated", Build::Operation(|_, _| Ok(Box::new(Gated))));
static CALLER: Class = support::class("Caller", Build::Process(|_, _| Ok(Box::new(Caller))));
static SPREAD: Class = support::class(
    "Spread",
    Build::Process(|item, _| {
        let to = item.settings.list("TargetConfigNames").to_vec();
        Ok(Box::new(Spread(to)))
    }),
);

type Given = (&'static str, Value);

fn pattern(pattern: Pattern) -> Given {
    ("MessagingPattern", Value::Choice(pattern.name()))
}

fn to(names: &[&str]) -> Given {
    ("TargetConfigNames", targets(names))
}

fn within(millis: u64) -> Given {
    let limit = Duration::from_millis(millis);
    ("MessageTimeout", Value::Seconds(Some(limit)))
}

fn pool(jobs: u16, item: ItemConfig) -> ItemConfig {
    ItemConfig {
        pool_size: jobs,
        ..item
    }
}

/// Sends a message as the outside world and waits for what comes back.
async fn ask(service: &str, body: &str) -> Option<Response> {
    let (door, body) = (door(service), Bytes::from(body.to_owned()));
    let (_, response) = door.request(origin(), &body, None).await.unwrap();
    response
}

fn text(response: Option<Response>) -> String {
    let reply = response.and_then(|response| response.reply);
    String::from_utf8(reply.unwrap_or_default().to_vec()).unwrap()
}

fn status(production: &Production, item: &str) -> ItemStatus {
    let items = production.status().items;
    items.into_iter().find(|one| one.name == item).unwrap()
}

async fn rows(production: &Production, target: &str) -> Vec<HeaderRow> {
    let (store, target) = (production.broker.store.clone(), target.to_owned());
    let found = tokio::task::spawn_blocking(move || {
        store.catch_up(Duration::from_secs(20)).unwrap();
        let all = Query {
            limit: 1000,
            ..Query::default()
        };
        let mut rows = store.search(&all).unwrap().rows;
        rows.retain(|row| row.target == target);
        rows.reverse();
        rows
    });
    found.await.unwrap()
}

fn nobody_waits(production: &Production) -> bool {
    let calls = &production.broker.calls;
    (calls.waiting(), calls.given_up()) == (0, 0)
}

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
