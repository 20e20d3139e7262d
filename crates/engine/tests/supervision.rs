//! Supervision through the engine's public face: hosts that cannot start, fall, and are given up,
//! beside others that go on; pause and change under load.

// Helpers of tests fail as tests do.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use async_trait::async_trait;
use hie_engine::{
    HostContext, HostError, Production, ServiceContext,
    class::{Build, Class},
    host::{BusinessOperation, BusinessService, Message, Outcome},
    item_command::Verb,
    setting::Value,
    stats::ItemState,
};

use support::*;

/// How often hosts of an item tried to start.
static STARTS: Mutex<BTreeMap<String, usize>> = Mutex::new(BTreeMap::new());

fn count_start(item: &str) -> usize {
    let mut starts = STARTS.lock().unwrap();
    let starts = starts.entry(item.into()).or_default();
    *starts += 1;
    *starts
}

fn starts(item: &str) -> usize {
    STARTS.lock().unwrap().get(item).copied().unwrap_or(0)
}

/// Fails its first starts, as many as `MaxAttempts` says.
struct Late {
    failures: usize,
}

#[async_trait]
impl BusinessOperation for Late {
    async fn on_start(&mut self, ctx: &HostContext) -> Result<(), HostError> {
        match count_start(ctx.name()) <= self.failures {
            true => Err(HostError::new("not-yet", "not yet")),
            false => Ok(()),
        }
    }

    async fn on_message(&mut self, _: &HostContext, _: &Message) -> Result<Outcome, HostError> {
        Ok(Outcome::completed())
    }
}

/// A service that ends by itself, at once.
struct Brief;

#[async_trait]
impl BusinessService for Brief {
    async fn on_start(&mut self, ctx: &ServiceContext) -> Result<(), HostError> {
        count_start(ctx.name());
        Ok(())
    }

    async fn run(&mut self, _: &ServiceContext) -> Result<(), HostError> {
        Ok(())
    }
}

static LATE: Class = class(
    "Late",
    Build::Operation(|item, _| {
        let failures = item.settings.size("MaxAttempts");
        Ok(Box::new(Late { failures }))
    }),
);
static BRIEF: Class = class("Brief", Build::Service(|_, _| Ok(Box::new(Brief))));

fn terms(policy: &'static str, most: i64) -> Vec<(&'static str, Value)> {
    vec![
        ("RestartPolicy", Value::Choice(policy)),
        ("MaxRestarts", Value::Int(most)),
        (
            "RestartDelay",
            Value::Seconds(Some(Duration::from_millis(1))),
        ),
    ]
}

fn with(
    mut terms: Vec<(&'static str, Value)>,
    more: (&'static str, Value),
) -> Vec<(&'static str, Value)> {
    terms.push(more);
    terms
}

fn state(production: &Arc<Production>, item: &str) -> ItemState {
    production.item(item).unwrap().stats.state()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_policy_starts_a_failing_host_exactly_as_often_as_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let failing = |times| ("MaxAttempts", Value::Int(times));
    let production = start(
        folder.path(),
        vec![
            item(
                "In",
                &DOOR,
                &[("TargetConfigNames", targets(&["Good", "Limited"]))],
            ),
            item("Good", &OBEDIENT, &[]),
            item("Never", &LATE, &with(terms("never", 3), failing(9))),
            item("Limited", &LATE, &with(terms("on_failure", 2), failing(9))),
            item("Enough", &LATE, &with(terms("on_failure", 2), failing(2))),
            item("Patient", &LATE, &with(terms("on_failure", -1), failing(6))),
        ],
    )
    .await;
    until("all are settled", || {
        state(&production, "Never") == ItemState::Failed
            && state(&production, "Limited") == ItemState::Failed
            && state(&production, "Enough") == ItemState::Running
            && state(&production, "Patient") == ItemState::Running
    })
    .await;
    let tried = ["Never", "Limited", "Enough", "Patient"].map(starts);
    assert_eq!(
        tried,
        [1, 3, 3, 7],
        "a limit of 2 is one start and 2 restarts"
    );
    // Who is given up hinders nobody, and its queue goes on taking.
    put(&door("In"), "ok k1").await;
    until("the message", || seen("Good") == ["ok k1"]).await;
    let limited = production.item("Limited").unwrap();
    assert_eq!(production.broker.queue(limited.id).len(), 1);
    let reasons = production.ready().unwrap_err();
    assert_eq!(reasons.len(), 2, "{reasons:?}");
    assert_eq!(limited.stats.give_ups.load(Ordering::Relaxed), 1);
    // A person may start it again: its restarts are forgotten.
    let again = production.command("Limited", Verb::Start, "a test").await;
    assert_eq!(again.unwrap_err().code, "not-yet");
    until("it is given up again", || starts("Limited") == 6).await;
    production.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_ends_by_itself_runs_again_only_under_always() {
    let folder = tempfile::tempdir().unwrap();
    let production = start(
        folder.path(),
        vec![
            item("Once", &BRIEF, &terms("on_failure", -1)),
            item("Ever", &BRIEF, &terms("always", -1)),
        ],
    )
    .await;
    until("it ran again and again", || starts("Ever") > 4).await;
    assert_eq!(starts("Once"), 1);
    assert_eq!(state(&production, "Once"), ItemState::Stopped);
    production.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_item_that_is_given_up_over_a_message_keeps_it_for_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let production = start(
        folder.path(),
        vec![
            item("In7", &DOOR, &[("TargetConfigNames", targets(&["Out7"]))]),
            item("Out7", &OBEDIENT, &terms("never", -1)),
        ],
    )
    .await;
    put(&door("In7"), "panic l1").await;
    until("it is given up", || {
        state(&production, "Out7") == ItemState::Failed
    })
    .await;
    let out = production.item("Out7").unwrap();
    until("the message is back", || {
        production.broker.queue(out.id).len() == 1
    })
    .await;
    assert_eq!(TRIES.lock().unwrap()["panic l1"], 1);
    production
        .command("Out7", Verb::Start, "a test")
        .await
        .unwrap();
    until("the next try", || TRIES.lock().unwrap()["panic l1"] == 2).await;
    production.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pauses_stops_and_restarts_under_load_lose_and_reorder_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let production = start(
        folder.path(),
        vec![
            item("In8", &DOOR, &[("TargetConfigNames", targets(&["Route8"]))]),
            item(
                "Route8",
                &ROUTER,
                &[("TargetConfigNames", targets(&["Out8"]))],
            ),
            item("Out8", &OBEDIENT, &[]),
        ],
    )
    .await;
    let door = door("In8");
    let feeding = tokio::spawn(async move {
        for n in 0..600 {
            put(&door, &format!("ok m{n}")).await;
        }
    });
    for round in 0..4 {
        for (item, off, on) in [
            ("Out8", Verb::Pause, Verb::Resume),
            ("Route8", Verb::Stop, Verb::Start),
            ("In8", Verb::Pause, Verb::Resume),
            ("Out8", Verb::Disable, Verb::Enable),
            ("Route8", Verb::Restart, Verb::Restart),
        ] {
            production.command(item, off, "a test").await.unwrap();
            if item == "In8" {
                let received = production.item("In8").unwrap();
                let received = || received.stats.received.load(Ordering::Relaxed);
                let before = received();
                tokio::task::yield_now().await;
                assert!(received() <= before + 1, "round {round}");
            }
            production.command(item, on, "a test").await.unwrap();
        }
    }
    feeding.await.unwrap();
    until("all of them", || seen("Out8").len() >= 600).await;
    let expected: Vec<_> = (0..600).map(|n| format!("ok m{n}")).collect();
    assert_eq!(seen("Out8"), expected);
    production.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_item_that_hangs_is_cut_off_by_a_stop_and_has_its_message_again() {
    let folder = tempfile::tempdir().unwrap();
    let production = start(
        folder.path(),
        vec![
            item("In9", &DOOR, &[("TargetConfigNames", targets(&["Out9"]))]),
            item("Out9", &OBEDIENT, &[]),
        ],
    )
    .await;
    put(&door("In9"), "hang n1").await;
    until("the try", || TRIES.lock().unwrap().contains_key("hang n1")).await;
    let done = production.command("Out9", Verb::Stop, "a test").await;
    assert!(done.unwrap().note.contains("cut off"));
    let out = production.item("Out9").unwrap();
    assert_eq!(production.broker.queue(out.id).len(), 1);
    assert_eq!(out.stats.in_hand.load(Ordering::Relaxed), 0);
    production
        .command("Out9", Verb::Start, "a test")
        .await
        .unwrap();
    until("the next try", || TRIES.lock().unwrap()["hang n1"] == 2).await;
    production.stop().await;
}
