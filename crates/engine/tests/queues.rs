//! Queues through a running production: each type and each strategy, with stops in between.
//!
//! Length: one subject, and one production for each case.

// Helpers of tests fail as tests do.
#![allow(clippy::unwrap_used)]

#[allow(dead_code)] // each test file uses its part
mod support;

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use hie_engine::{
    HostContext, HostError, Production, ServiceContext,
    class::{Build, Class},
    config::ItemConfig,
    hooks::NotAccepted,
    host::{BusinessOperation, BusinessProcess, Message, Outcome, Send as Hop},
    setting::Value,
    status::ItemStatus,
};
use hie_store::{Priority, State};
use tokio::sync::Semaphore;

use support::*;

/// A gate for each operation: it delivers one message for each permit. Closed at first.
static GATES: LazyLock<Mutex<BTreeMap<String, Arc<Semaphore>>>> = LazyLock::new(Mutex::default);

fn gate(item: &str) -> Arc<Semaphore> {
    let mut gates = GATES.lock().unwrap();
    let fresh = || Arc::new(Semaphore::new(0));
    gates.entry(item.into()).or_insert_with(fresh).clone()
}

/// Delivers a message when its gate lets it.
struct Gated;

#[async_trait]
impl BusinessOperation for Gated {
    async fn on_message(
        &mut self,
        ctx: &HostContext,
        message: &Message,
    ) -> Result<Outcome, HostError> {
        let body = String::from_utf8_lossy(&message.body).into_owned();
        let open = gate(ctx.name());
        tokio::select! {
            permit = open.acquire() => permit.unwrap().forget(),
            () = ctx.stopping().cancelled() => {
                // As a connection that breaks: it is tried again after the stop.
                let again = hie_engine::host::Verdict::Retry(hie_engine::host::GiveUp::Fail);
                return Ok(Outcome::new(again, "the gate is shut"));
            }
        }
        let mut seen = SEEN.lock().unwrap();
        let duplicate = if message.live.possible_duplicate {
            "?"
        } else {
            ""
        };
        let seen = seen.entry(ctx.name().into()).or_default();
        seen.push(format!("{}{duplicate}", body.trim_end()));
        Ok(Outcome::completed().with_reply(Bytes::from_static(b"done")))
    }
}

static GATED: Class = class("Gated", Build::Operation(|_, _| Ok(Box::new(Gated))));

/// Sends on with the priority that the first letter of the body says.
struct Sorter(Vec<String>);

#[async_trait]
impl BusinessProcess for Sorter {
    async fn on_message(
        &mut self,
        _: &HostContext,
        message: &Message,
    ) -> Result<Outcome, HostError> {
        let priority = match message.body.first() {
            Some(b'C') => Priority::Critical,
            Some(b'H') => Priority::High,
            Some(b'L') => Priority::Low,
            Some(b'B') => Priority::Bulk,
            _ => Priority::Normal,
        };
        let mut outcome = Outcome::completed();
        outcome.sends = self
            .0
            .iter()
            .map(|target| Hop {
                target: target.clone(),
                body: None,
                priority,
            })
            .collect();
        Ok(outcome)
    }
}

static SORTER: Class = class(
    "Sorter",
    Build::Process(|item, _| {
        let targets = item.settings.list("TargetConfigNames");
        Ok(Box::new(Sorter(targets.to_vec())))
    }),
);

fn choice(name: &'static str) -> Value {
    Value::Choice(name)
}

fn full(limit: i64, strategy: &'static str) -> [(&'static str, Value); 2] {
    [
        ("QueueSize", Value::Int(limit)),
        ("OverflowStrategy", choice(strategy)),
    ]
}

/// A service, a process that sorts and an operation with a gate: `In`, `Mid`, `Out` + `name`.
fn chain(name: &str, queue: &[(&'static str, Value)]) -> Vec<ItemConfig> {
    let (inn, mid, out) = (
        format!("In{name}"),
        format!("Mid{name}"),
        format!("Out{name}"),
    );
    vec![
        item(&inn, &DOOR, &[("TargetConfigNames", targets(&[&mid]))]),
        item(&mid, &SORTER, &[("TargetConfigNames", targets(&[&out]))]),
        item(&out, &GATED, queue),
    ]
}

fn pair(name: &str, queue: &[(&'static str, Value)]) -> Vec<ItemConfig> {
    let (inn, out) = (format!("In{name}"), format!("Out{name}"));
    vec![
        item(&inn, &DOOR, &[("TargetConfigNames", targets(&[&out]))]),
        item(&out, &GATED, queue),
    ]
}

fn status(production: &Production, item: &str) -> ItemStatus {
    let items = production.status().items;
    items.into_iter().find(|one| one.name == item).unwrap()
}

async fn queued(production: &Production, item: &str, count: usize) {
    until("the queue to fill", || {
        status(production, item).queued == count
    })
    .await;
}

async fn in_hand(production: &Production, item: &str) {
    until("a message in hand", || {
        status(production, item).queue.in_hand == 1
    })
    .await;
}

/// What is recorded of each message, by its number in the session order: its states.
fn states(folder: &Path) -> BTreeMap<String, usize> {
    let (_, recovered) =
        hie_store::Store::open(folder, hie_store::StoreOptions::default(), 0).unwrap();
    let mut states = BTreeMap::new();
    for live in recovered.live {
        *states.entry(live.state.name().to_owned()).or_default() += 1;
    }
    states
}

async fn offer(door: &ServiceContext, body: &str) -> Result<(), NotAccepted> {
    door.accept(origin(), &Bytes::from(body.to_owned()))
        .await
        .map(drop)
}

/// Each type gives out in its order, also after a stop with a full queue.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_type_comes_back_in_its_order() {
    let cases: [(&str, &'static str, &[&str]); 4] = [
        ("Qf", "fifo", &["N1", "B2", "C3", "N4", "C5"]),
        ("Qp", "priority", &["N1", "C3", "C5", "N4", "B2"]),
        ("Ql", "lifo", &["C5", "N4", "C3", "B2", "N1"]),
        ("Qu", "unordered", &["N1", "B2", "C3", "N4", "C5"]),
    ];
    for (name, kind, expected) in cases {
        let folder = tempfile::tempdir().unwrap();
        let queue = [("QueueType", choice(kind))];
        let (mid, out) = (format!("Mid{name}"), format!("Out{name}"));
        let production = start(folder.path(), chain(name, &queue)).await;
        let before = door(&format!("In{name}"));
        for (nth, body) in ["N1", "B2", "C3", "N4", "C5"].iter().enumerate() {
            put(&before, body).await;
            match nth {
                0 => in_hand(&production, &out).await,
                // One after the other, so that all enter the last queue in this order.
                _ => queued(&production, &out, nth).await,
            }
        }
        assert_eq!(status(&production, &mid).queued, 0);
        production.stop().await;
        let production = start(folder.path(), chain(name, &queue)).await;
        assert_eq!(production.recovered.queued, 5, "{kind}");
        gate(&out).add_permits(5);
        until("all of them", || seen(&out).len() == 5).await;
        let all = seen(&out);
        let bodies: Vec<&str> = all.iter().map(|body| body.trim_end_matches('?')).collect();
        match kind {
            "unordered" => {
                let mut bodies = bodies;
                bodies.sort_unstable();
                assert_eq!(bodies, ["B2", "C3", "C5", "N1", "N4"]);
            }
            // In hand at the stop, it takes its place in the order anew.
            "priority" => assert_eq!(bodies, ["C3", "C5", "N1", "N4", "B2"]),
            _ => assert_eq!(bodies, expected, "{kind}"),
        }
        let marked = all.iter().filter(|body| body.ends_with('?')).count();
        let expected = if kind == "fifo" { 1 } else { 5 };
        assert_eq!(marked, expected, "{kind}: {all:?}");
        production.stop().await;
    }
}

/// One message of this patient.
fn about(patient: &str, nth: usize) -> String {
    format!("MSH|^~\\&|A|B|C|D|||ADT^A01|{nth}|P|2.5\rPID|||{patient}^^^H\r")
}

fn control_ids(item: &str, patient: &str) -> Vec<usize> {
    let of_patient = |body: &&String| body.contains(&format!("|||{patient}^"));
    let id = |body: &String| body.split('|').nth(9).unwrap().parse().unwrap();
    seen(item).iter().filter(of_patient).map(id).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn order_per_key_holds_with_many_jobs_and_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let items = || {
        let key = [("OrderBy", Value::Text("{PID:3.1}".into()))];
        let mut items = pair("Qk", &key);
        items[1].pool_size = 4;
        items
    };
    let production = start(folder.path(), items()).await;
    let before = door("InQk");
    for nth in 0..30 {
        put(
            &before,
            &about(["hot", "hot", "a", "hot", "b"][nth % 5], nth),
        )
        .await;
    }
    until("one of each key in hand", || {
        status(&production, "OutQk").queue.in_hand == 3
    })
    .await;
    production.stop().await;
    let production = start(folder.path(), items()).await;
    until("one of each key in hand again", || {
        status(&production, "OutQk").queue.in_hand == 3
    })
    .await;
    // Three keys, so the fourth job has nothing to do although 27 wait.
    assert_eq!(status(&production, "OutQk").queued, 27);
    gate("OutQk").add_permits(30);
    until("all of them", || seen("OutQk").len() == 30).await;
    for (key, count) in [("hot", 18), ("a", 6), ("b", 6)] {
        let ids = control_ids("OutQk", key);
        assert!(ids.is_sorted() && ids.len() == count, "{key}: {ids:?}");
    }
    production.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn block_holds_the_sender_before_anything_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let production = start(folder.path(), pair("Qb", &full(2, "block"))).await;
    let before = door("InQb");
    put(&before, "one").await;
    in_hand(&production, "OutQb").await;
    put(&before, "two").await;
    put(&before, "three").await;
    // 64 connections at once: none gets past the limit.
    let late: Vec<_> = (0..64)
        .map(|nth| {
            let before = before.clone();
            tokio::spawn(async move { offer(&before, &format!("late {nth}")).await })
        })
        .collect();
    until("somebody to wait", || {
        status(&production, "OutQb").queue.stats.blocked > 0
    })
    .await;
    assert_eq!(status(&production, "OutQb").queued, 2);
    gate("OutQb").add_permits(2);
    until("two to leave", || seen("OutQb").len() == 2).await;
    queued(&production, "OutQb", 2).await;
    assert_eq!(status(&production, "OutQb").queue_high_water, 2);
    production.stop().await;
    let mut accepted = 0;
    for one in late {
        match one.await.unwrap() {
            Ok(()) => accepted += 1,
            Err(error) => assert_eq!(error.code(), "item-stopping"),
        }
    }
    assert_eq!(accepted, 2, "a stop ends the wait without a yes");
    let stored: usize = states(folder.path()).values().sum();
    assert_eq!(stored, 3, "what was not accepted is not stored");
}

/// The steps of a process are not waited for: a crash can lose any number of them, of which the last
/// one may have been delivered. What is behind an operation's jobs has not been.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_that_waits_for_a_process_comes_back_in_doubt() {
    let folder = tempfile::tempdir().unwrap();
    let items = || chain("Qy", &full(2, "block"));
    let production = start(folder.path(), items()).await;
    let before = door("InQy");
    for nth in 1..=9 {
        put(&before, &format!("N{nth}")).await;
    }
    until("the process to wait", || {
        let (mid, out) = (status(&production, "MidQy"), status(&production, "OutQy"));
        let rest = (mid.queued, mid.queue.in_hand, out.queued, out.queue.in_hand);
        rest == (5, 1, 2, 1)
    })
    .await;
    production.stop().await;
    let production = start(folder.path(), items()).await;
    gate("OutQy").add_permits(9);
    until("all of them", || seen("OutQy").len() == 9).await;
    let expected = ["N1?", "N2", "N3", "N4?", "N5?", "N6?", "N7?", "N8?", "N9?"];
    assert_eq!(seen("OutQy"), expected);
    production.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn block_holds_a_process_with_its_message() {
    let folder = tempfile::tempdir().unwrap();
    let items = || chain("Qc", &full(1, "block"));
    let production = start(folder.path(), items()).await;
    let before = door("InQc");
    for body in ["N1", "N2", "N3", "N4"] {
        put(&before, body).await;
    }
    until("the process to wait", || {
        let (mid, out) = (status(&production, "MidQc"), status(&production, "OutQc"));
        let rest = (mid.queued, mid.queue.in_hand, out.queued, out.queue.in_hand);
        out.queue.stats.blocked >= 1 && rest == (1, 1, 1, 1)
    })
    .await;
    production.stop().await;
    let production = start(folder.path(), items()).await;
    assert_eq!(production.recovered.queued, 4);
    gate("OutQc").add_permits(4);
    until("all of them", || seen("OutQc").len() == 4).await;
    let bodies: Vec<String> = seen("OutQc").iter().map(|b| b.replace('?', "")).collect();
    assert_eq!(bodies, ["N1", "N2", "N3", "N4"]);
    production.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reject_tells_the_sender_and_stores_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let production = start(folder.path(), pair("Qr", &full(1, "reject"))).await;
    let before = door("InQr");
    put(&before, "one").await;
    in_hand(&production, "OutQr").await;
    put(&before, "two").await;
    let error = offer(&before, "three").await.unwrap_err();
    assert_eq!(error.code(), "queue-full");
    assert!(
        error.to_string().contains("the queue of OutQr is full: 1 "),
        "{error}"
    );
    let out = status(&production, "OutQr");
    assert_eq!((out.queue.stats.rejected, out.queued), (1, 1));
    production.stop().await;
    let stored: usize = states(folder.path()).values().sum();
    assert_eq!(stored, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reject_ends_the_message_of_a_process_in_error() {
    let folder = tempfile::tempdir().unwrap();
    let production = start(folder.path(), chain("Qs", &full(1, "reject"))).await;
    let before = door("InQs");
    put(&before, "N1").await;
    in_hand(&production, "OutQs").await;
    put(&before, "N2").await;
    queued(&production, "OutQs", 1).await;
    let (_, response) = before
        .request(
            origin(),
            &Bytes::from_static(b"N3"),
            Some(Duration::from_secs(10)),
        )
        .await
        .unwrap();
    let response = response.unwrap();
    assert_eq!(response.state, State::Error);
    assert!(
        response.reason.contains("the queue of OutQs is full"),
        "{response:?}"
    );
    assert_eq!(status(&production, "MidQs").failed, 1);
    assert_eq!(status(&production, "OutQs").queue.stats.rejected, 1);
    production.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drop_newest_is_accepted_discarded_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let items = || pair("Qn", &full(1, "drop_newest"));
    let production = start(folder.path(), items()).await;
    let before = door("InQn");
    put(&before, "one").await;
    in_hand(&production, "OutQn").await;
    put(&before, "two").await;
    put(&before, "three").await;
    let (_, response) = before
        .request(
            origin(),
            &Bytes::from_static(b"four"),
            Some(Duration::from_secs(10)),
        )
        .await
        .unwrap();
    let response = response.unwrap();
    assert_eq!(response.state, State::Discarded);
    assert!(response.reason.contains("drop_newest"), "{response:?}");
    let out = status(&production, "OutQn");
    assert_eq!((out.queue.stats.dropped, out.queued), (2, 1));
    production.stop().await;
    let production = start(folder.path(), items()).await;
    assert_eq!(
        production.recovered.queued, 2,
        "what was dropped stays dropped"
    );
    production.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drop_oldest_spares_the_urgent_and_tells_who_waits() {
    let folder = tempfile::tempdir().unwrap();
    let [size, strategy] = full(2, "drop_oldest");
    let items = || {
        let queue = [
            size.clone(),
            strategy.clone(),
            ("QueueType", choice("priority")),
        ];
        chain("Qo", &queue)
    };
    let production = start(folder.path(), items()).await;
    let before = door("InQo");
    put(&before, "N0").await;
    in_hand(&production, "OutQo").await;
    put(&before, "C1").await;
    queued(&production, "OutQo", 1).await;
    // The sender of the bulk message waits for the response of the operation, and is told.
    let waiting = {
        let before = before.clone();
        tokio::spawn(async move {
            let wait = Some(Duration::from_secs(10));
            before
                .request(origin(), &Bytes::from_static(b"B2"), wait)
                .await
        })
    };
    queued(&production, "OutQo", 2).await;
    put(&before, "N3").await;
    until("a drop", || {
        status(&production, "OutQo").queue.stats.dropped == 1
    })
    .await;
    // The process answers for itself here: B2 was handed on.
    let (_, response) = waiting.await.unwrap().unwrap();
    assert_eq!(response.unwrap().state, State::Completed);
    // Less urgent than all that waits: the new one goes.
    put(&before, "L4").await;
    until("another drop", || {
        status(&production, "OutQo").queue.stats.dropped == 2
    })
    .await;
    production.stop().await;
    let production = start(folder.path(), items()).await;
    gate("OutQo").add_permits(9);
    until("the rest", || seen("OutQo").len() == 3).await;
    let bodies: Vec<String> = seen("OutQo").iter().map(|b| b.replace('?', "")).collect();
    assert_eq!(bodies, ["C1", "N0", "N3"]);
    production.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drop_oldest_tells_the_caller_of_the_dropped_one() {
    let folder = tempfile::tempdir().unwrap();
    let production = start(folder.path(), pair("Qd", &full(1, "drop_oldest"))).await;
    let before = door("InQd");
    put(&before, "one").await;
    in_hand(&production, "OutQd").await;
    let waiting = {
        let before = before.clone();
        tokio::spawn(async move {
            let wait = Some(Duration::from_secs(10));
            before
                .request(origin(), &Bytes::from_static(b"two"), wait)
                .await
        })
    };
    queued(&production, "OutQd", 1).await;
    put(&before, "three").await;
    let (_, response) = waiting.await.unwrap().unwrap();
    let response = response.unwrap();
    assert_eq!(response.state, State::Discarded);
    assert!(response.reason.contains("drop_oldest"), "{response:?}");
    gate("OutQd").add_permits(2);
    until("the others", || seen("OutQd") == ["one", "three"]).await;
    production.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn items_that_wait_for_each_other_in_a_circle_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let [size, strategy] = full(1, "block");
    let queue = [size, strategy];
    // Each sends everything to the other and to a third: their queues fill, and both wait.
    let to = |others: &[&str]| {
        let mut settings = queue.to_vec();
        settings.push(("TargetConfigNames", targets(others)));
        settings
    };
    let items = vec![
        item(
            "InQx",
            &DOOR,
            &[("TargetConfigNames", targets(&["PingQx"]))],
        ),
        item("PingQx", &BOUNCER, &to(&["PongQx"])),
        item("PongQx", &BOUNCER, &to(&["PingQx"])),
        item("SelfQx", &BOUNCER, &to(&["SelfQx"])),
        item(
            "InQx2",
            &DOOR,
            &[("TargetConfigNames", targets(&["SelfQx"]))],
        ),
    ];
    let production = start(folder.path(), items).await;
    let passed =
        || ["PingQx", "PongQx"].map(|item| status(&production, item).queue.stats.over_limit);
    for _ in 0..10 {
        // Each has eight hops to make, and doubles on the first four.
        put(&door("InQx"), "8").await;
        put(&door("InQx2"), "8").await;
    }
    until("all to come to rest", || {
        let items = production.status().items;
        let rest = |one: &&ItemStatus| one.queued + one.queue.in_hand == 0;
        items.iter().filter(rest).count() == items.len()
    })
    .await;
    assert!(passed().iter().sum::<u64>() > 0, "{:?}", passed());
    assert!(status(&production, "SelfQx").queue.stats.over_limit > 0);
    // 2 + 4 + 8 + 16 + 4 * 16 hops after the first.
    assert_eq!(status(&production, "SelfQx").completed, 10 * 95);
    assert_eq!(status(&production, "SelfQx").failed, 0);
    production.stop().await;
}

/// The body is the number of hops left; twice while there are more than four.
struct Bouncer(Vec<String>);

#[async_trait]
impl BusinessProcess for Bouncer {
    async fn on_message(
        &mut self,
        _: &HostContext,
        message: &Message,
    ) -> Result<Outcome, HostError> {
        let left: usize = String::from_utf8_lossy(&message.body).parse().unwrap();
        let mut outcome = Outcome::completed();
        for target in self.0.iter().filter(|_| left > 0) {
            for _ in 0..if left > 4 { 2 } else { 1 } {
                outcome.sends.push(Hop {
                    target: target.clone(),
                    body: Some(Bytes::from((left - 1).to_string())),
                    priority: Priority::Normal,
                });
            }
        }
        Ok(outcome)
    }
}

static BOUNCER: Class = class(
    "Bouncer",
    Build::Process(|item, _| {
        let targets = item.settings.list("TargetConfigNames");
        Ok(Box::new(Bouncer(targets.to_vec())))
    }),
);
