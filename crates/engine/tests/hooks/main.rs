//! Hooks of classes and of the configuration, through the public face of the engine: what they may
//! change, what a rejection and a recovery come to, and that no hook takes its job down.

// Helpers of tests fail as tests do.
#![allow(clippy::unwrap_used)]

mod hosts;
#[allow(dead_code)] // each test binary uses a part of it
#[path = "../support/mod.rs"]
mod support;

use std::{path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use hie_engine::{
    Production,
    class::{Class, Registry},
    config::{ItemConfig, parse},
    hooks::{Hooks, NotAccepted, rejection},
    mode::Mode,
    setting::Value,
};
use hie_store::{HeaderRow, Query, Reader, State};

use hosts::*;
use support::*;

static CLASSES: &[&Class] = &[&OBEDIENT];
static REGISTRY: Registry = Registry::new(CLASSES);

/// An item with what a file says under `hooks:`.
fn with_hooks(mut item: ItemConfig, yaml: &str) -> ItemConfig {
    let yaml = yaml.replace('\n', "\n      ");
    let file = format!(
        "production: {{name: T}}\nitems:\n  - name: A\n    class: Obedient\n    hooks:\n      {yaml}\n"
    );
    let read = parse(&file, "t.yaml", &REGISTRY, &|_| None);
    let hooks: Option<Arc<Hooks>> = read.unwrap().items[0].hooks.clone();
    item.hooks = Some(hooks.unwrap());
    item
}

fn to(names: &[&str]) -> [(&'static str, Value); 1] {
    [("TargetConfigNames", targets(names))]
}

/// `In → Mid → Out` with this number in their names; `Mid` has the hooks.
fn line(n: u32) -> Vec<ItemConfig> {
    let [door, mid, out] = ["In", "Mid", "Out"].map(|name| format!("{name}{n}"));
    vec![
        item(&door, &DOOR, &to(&[&mid])),
        item(&mid, &PROCESS, &to(&[&out])),
        item(&out, &OBEDIENT, &[]),
    ]
}

async fn ask(n: u32, body: &str) -> hie_engine::broker::Response {
    let asked = door(&format!("In{n}"));
    let wait = Some(Duration::from_secs(20));
    let body = Bytes::from(body.to_owned());
    let (_, response) = asked.request(origin(), &body, wait).await.unwrap();
    response.expect("a response in time")
}

/// All that a stopped production left, oldest first, each row with its body.
async fn left(production: &Production, folder: &Path) -> Vec<(HeaderRow, String)> {
    production.stop().await;
    let (reader, _) = Reader::open_read_only(folder).unwrap();
    let query = Query {
        limit: 1000,
        ..Query::default()
    };
    let mut rows = reader.search(&query).unwrap().rows;
    rows.sort_by_key(|row| row.id);
    let with_body = |row: HeaderRow| {
        let body = reader.body(row.body).unwrap();
        (row, String::from_utf8_lossy(&body).into_owned())
    };
    rows.into_iter().map(with_body).collect()
}

/// The only row of this source and target.
fn hop<'r>(rows: &'r [(HeaderRow, String)], source: &str, target: &str) -> &'r (HeaderRow, String) {
    let mut found = rows
        .iter()
        .filter(|(row, _)| row.source == source && row.target == target);
    let first = found.next().expect("such a hop");
    assert!(found.next().is_none(), "more than one {source} → {target}");
    first
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_message_is_processed_and_sent_on_and_the_stored_one_stays() {
    let folder = tempfile::tempdir().unwrap();
    let production = start(folder.path(), line(1)).await;
    put(&door("In1"), "ok b:change").await;
    until("it arrives", || seen("Out1").len() == 1).await;
    assert_eq!(seen("Out1"), ["ok b:change changed"]);
    assert_eq!(seen("Mid1"), ["ok b:change changed (1)"]);
    let rows = left(&production, folder.path()).await;
    let (into, original) = hop(&rows, "In1", "Mid1");
    assert_eq!(original, "ok b:change", "raw first");
    assert_eq!(
        into.note, "on_before_process changed the message; routed",
        "the trace says so"
    );
    assert_eq!(hop(&rows, "Mid1", "Out1").1, "ok b:change changed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn item_4_7_hooks_change_the_message_and_the_result() {
    let folder = tempfile::tempdir().unwrap();
    let production = start(folder.path(), line(47)).await;
    let response = ask(47, "ok b:change a:change").await;
    assert_eq!(response.state, State::Completed);
    assert_eq!(response.reply.as_deref(), Some(&b"from the hook"[..]));
    until("it is sent on", || seen("Out47").len() == 1).await;
    assert_eq!(seen("Out47"), ["ok b:change a:change changed"]);
    production.stop().await;
}

/// In the old design the recovery was thrown away, and a hook that raised killed its worker.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn item_4_8_a_recovery_is_used_and_a_hook_that_raises_kills_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let production = start(folder.path(), line(48)).await;
    let recovered = ask(48, "m:fail e:recover").await;
    assert_eq!(recovered.reply.as_deref(), Some(&b"NACK"[..]));
    for raising in ["m:fail e:fail", "m:fail e:panic"] {
        let response = ask(48, raising).await;
        let first = (State::Error, "it failed as told");
        assert_eq!((response.state, &*response.reason), first, "{raising}");
    }
    put(&door("In48"), "ok next").await;
    until("the job goes on", || seen("Out48").len() == 1).await;
    production.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_of_a_host_sends_the_changed_message() {
    let folder = tempfile::tempdir().unwrap();
    let production = start(folder.path(), line(2)).await;
    let response = ask(2, "ok b:change m:ask").await;
    let reply = response.reply.unwrap();
    assert_eq!(&reply[..], b"reply to ok b:change m:ask changed");
    production.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_try_starts_from_the_bytes_as_they_came() {
    for (n, mode) in [(30, "async"), (31, "thread_pool"), (32, "single_process")] {
        let folder = tempfile::tempdir().unwrap();
        let (inn, out) = (format!("In{n}"), format!("Out{n}"));
        let mode = ("ExecutionMode", Value::Choice(mode));
        let out_item = item(&out, &OPERATION, std::slice::from_ref(&mode));
        assert_eq!(Mode::of(&out_item) == Mode::Async, n == 30);
        let hooks = "on_before_process:\n- {tag: tried}";
        let items = vec![item(&inn, &DOOR, &to(&[&out])), with_hooks(out_item, hooks)];
        let production = start(folder.path(), items).await;
        put(&door(&inn), "b:change m:thrice").await;
        until("three tries", || seen(&out).len() == 3).await;
        let rows = left(&production, folder.path()).await;
        let once = |n| format!("b:change m:thrice changed ({n})");
        assert_eq!(seen(&out), [once(1), once(2), once(3)], "{mode:?}");
        let (row, _) = hop(&rows, &inn, &out);
        assert_eq!((row.state, row.attempts), (State::Completed, 2));
        assert!(
            row.note.starts_with("on_before_process: tag tried; "),
            "{}",
            row.note
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rejection_ends_in_error_and_its_reason_reaches_who_waits() {
    let folder = tempfile::tempdir().unwrap();
    let mut items = line(4);
    let rule = "on_before_process:\n- {when: 'Source = \"In4\"', tag: from the door}";
    items[1] = with_hooks(items[1].clone(), rule);
    let production = start(folder.path(), items).await;
    // An error hook is not asked about a decision.
    let response = ask(4, "b:reject e:recover b:change").await;
    assert_eq!(response.state, State::Error);
    assert_eq!(rejection(&response.reason), Some("not for us"));
    assert_eq!(seen("Mid4"), Vec::<String>::new(), "it was not processed");
    put(&door("In4"), "ok next").await;
    until("the next", || seen("Out4").len() == 1).await;
    let rows = left(&production, folder.path()).await;
    let (row, body) = &rows[0];
    assert_eq!(row.reason, "rejected by on_before_process: not for us");
    assert_eq!(row.note, "on_before_process: tag from the door");
    assert_eq!(body, "b:reject e:recover b:change");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hooks_of_the_configuration_are_outside_and_those_of_the_class_inside() {
    let folder = tempfile::tempdir().unwrap();
    let mut items = line(5);
    items[1] = with_hooks(
        items[1].clone(),
        "on_before_process:\n- {tag: first}\n\
         on_process_error:\n- {when: 'Reason = \"it failed as told\"', then: suspend, reason: config}\n\
         on_after_process:\n- {when: 'Verdict = \"completed\"', tag: done}\n\
         - {when: 'Verdict = \"suspended\" and Reason = \"config\"', tag: put aside}",
    );
    let production = start(folder.path(), items).await;
    // The class recovers, so that the configuration's error hook has nothing to recover.
    let response = ask(5, "m:fail e:recover b:tag").await;
    assert_eq!(response.state, State::Completed);
    assert_eq!(response.reply.as_deref(), Some(&b"NACK"[..]));
    // The class does not: the configuration does.
    let response = ask(5, "m:fail b:tag").await;
    assert_eq!(
        (response.state, &*response.reason),
        (State::Suspended, "config")
    );
    let rows = left(&production, folder.path()).await;
    assert_eq!(
        rows[0].0.note,
        "on_before_process: tag first; on_before_process: tag ward; on_after_process: tag done"
    );
    assert_eq!(
        rows[1].0.note,
        "on_before_process: tag first; on_before_process: tag ward; \
         on_process_error: suspended instead of failed: it failed as told; \
         on_after_process: tag put aside"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_failing_hook_takes_its_job_down_and_each_has_its_meaning() {
    let folder = tempfile::tempdir().unwrap();
    let production = start(folder.path(), line(6)).await;
    let rows = [
        (
            "b:fail",
            State::Error,
            "on_before_process failed: before failed as told",
        ),
        ("b:panic", State::Error, "on_before_process panicked"),
        ("m:fail", State::Error, "it failed as told"),
        ("m:fail e:fail", State::Error, "it failed as told"),
        ("m:fail e:panic", State::Error, "it failed as told"),
        ("ok a:fail", State::Completed, ""),
        ("ok a:panic", State::Completed, ""),
        ("ok a:retry", State::Completed, ""),
        ("b:fail e:recover", State::Completed, ""),
        ("ok a:change", State::Completed, ""),
    ];
    for (body, state, reason) in rows {
        let response = ask(6, body).await;
        assert_eq!(
            (response.state, &*response.reason),
            (state, reason),
            "{body}"
        );
    }
    // Every message after a panic had a fresh instance, and only those.
    assert_eq!(
        seen("Mid6"),
        [
            "m:fail (1)",
            "m:fail e:fail (2)",
            "m:fail e:panic (3)",
            "ok a:fail (1)",
            "ok a:panic (2)",
            "ok a:retry (1)",
            "ok a:change (2)",
        ]
    );
    until("what was completed is sent on", || seen("Out6").len() == 4).await;
    let status = production.status();
    let mid = status.items.iter().find(|i| i.name == "Mid6").unwrap();
    assert_eq!((mid.panics, mid.completed, mid.failed), (3, 5, 5));
    let rows = left(&production, folder.path()).await;
    let note = |body: &str| {
        let row = rows
            .iter()
            .find(|(row, b)| row.target == "Mid6" && b == body);
        row.unwrap().0.note.clone()
    };
    assert_eq!(
        note("ok a:fail"),
        "on_after_process failed: after failed as told; routed"
    );
    assert_eq!(note("ok a:panic"), "on_after_process panicked; routed");
    assert_eq!(note("m:fail e:panic"), "on_process_error panicked");
    assert!(note("ok a:retry").contains("the outcome stands"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_brings_the_host_down_can_be_recovered_by_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let mut items = line(7);
    items[1] = with_hooks(
        items[1].clone(),
        "on_process_error:\n- {when: 'Verdict = \"suspended\"', then: discard, reason: poison}",
    );
    let production = start(folder.path(), items).await;
    let response = ask(7, "m:panic").await;
    assert_eq!(
        (response.state, &*response.reason),
        (State::Discarded, "poison")
    );
    assert_eq!(seen("Mid7").len(), 2, "MaxAttempts tries come first");
    production.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_keeps_what_it_rejects_and_the_original_of_what_it_changes() {
    let folder = tempfile::tempdir().unwrap();
    let items = vec![
        item("In8", &GUARDED, &to(&["OutA8", "OutB8"])),
        item("OutA8", &OBEDIENT, &[]),
        item("OutB8", &OBEDIENT, &[]),
    ];
    let production = start(folder.path(), items).await;
    let at = door("In8");
    let enter = async |body: &str| at.accept(origin(), &Bytes::from(body.to_owned())).await;
    enter("ok b:change a:panic").await.unwrap();
    until("both", || seen("OutA8").len() + seen("OutB8").len() == 2).await;
    assert_eq!(seen("OutA8"), ["ok b:change a:panic changed"]);
    assert_eq!(seen("OutA8"), seen("OutB8"));
    let refused = async |body: &str| match enter(body).await {
        Err(NotAccepted::Rejected(rejected)) => rejected.reason,
        other => panic!("{body}: {other:?}"),
    };
    assert_eq!(refused("b:reject e:discard").await, "not for us");
    let failed = "on_before_process failed: before failed as told";
    assert_eq!(refused("b:fail").await, failed);
    assert!(refused("b:panic").await.contains("panicked"));
    assert_eq!(refused("b:fail e:discard").await, "of no use");
    let unreadable = Bytes::from("e:discard");
    let bad = at.accept_bad(origin(), &unreadable, "unreadable", None);
    bad.await.unwrap();
    enter("ok plain").await.unwrap();
    let rejected = production.status();
    let rejected = rejected.items.iter().find(|i| i.name == "In8").unwrap();
    assert_eq!((rejected.received, rejected.rejected), (7, 5));
    until("the plain one", || seen("OutA8").len() == 2).await;
    let rows = left(&production, folder.path()).await;
    let lived = seen("In8 lived");
    assert_eq!(lived[2..], ["stop", "teardown"]);
    let first = rows[0].0.id;
    assert_eq!(lived[0], format!("{first} ok b:change a:panic changed"));
    let shown: Vec<_> = rows
        .iter()
        .map(|(row, body)| (&*row.target, row.state, &*row.reason, &**body))
        .collect();
    let changed = "ok b:change a:panic changed";
    assert_eq!(
        shown[..3],
        [
            ("OutA8", State::Completed, "", changed),
            ("OutB8", State::Completed, "", changed),
            (
                "In8",
                State::Completed,
                "on_before_process changed the message",
                "ok b:change a:panic"
            ),
        ]
    );
    let kept: Vec<_> = shown[3..].iter().filter(|row| row.0 == "In8").collect();
    let states: Vec<_> = kept.iter().map(|row| (row.1, row.2)).collect();
    assert_eq!(
        states
            .iter()
            .filter(|(s, _)| *s == State::Discarded)
            .count(),
        2,
        "{states:?}"
    );
    assert!(states.contains(&(State::Error, "rejected by on_before_process: not for us")));
    assert!(states.contains(&(State::Error, failed)));
    assert!(
        shown
            .iter()
            .any(|row| row.0 == "OutA8" && row.3 == "ok plain"),
        "what no hook touched has no hop of its own: {shown:?}"
    );
    assert_eq!(kept.iter().filter(|row| row.3 == "ok plain").count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn item_4_6_a_host_lives_from_init_to_teardown() {
    let folder = tempfile::tempdir().unwrap();
    let production = start(folder.path(), line(9)).await;
    put(&door("In9"), "ok").await;
    until("it is done", || seen("Out9").len() == 1).await;
    production.stop().await;
    assert_eq!(seen("Mid9 lived"), ["init", "start", "stop", "teardown"]);
}

/// What a service changed is on disk as changed: a restart delivers that, and not the original.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_at_the_door_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let items = |enabled| {
        let mut out = item("Out10", &OBEDIENT, &[]);
        out.enabled = enabled;
        vec![item("In10", &GUARDED, &to(&["Out10"])), out]
    };
    let production = start(folder.path(), items(false)).await;
    put(&door("In10"), "ok b:change").await;
    production.stop().await;
    let production = start(folder.path(), items(true)).await;
    assert_eq!(production.recovered.queued, 1, "the note is not queued");
    until("it arrives", || seen("Out10").len() == 1).await;
    assert_eq!(seen("Out10"), ["ok b:change changed"]);
    production.stop().await;
}

/// That the end is decided by the engine and not by the class is no way round the hooks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sent_to_nobody_can_be_recovered_too() {
    let pattern = |name| ("MessagingPattern", Value::Choice(name));
    for (n, pattern) in [
        (110, pattern("async_reliable")),
        (111, pattern("sync_reliable")),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (inn, mid) = (format!("In{n}"), format!("Mid{n}"));
        let [nobody] = to(&["Nobody"]);
        let router = with_hooks(
            item(&mid, &PROCESS, &[nobody, pattern]),
            "on_process_error:\n- {when: 'Reason Contains \"Nobody\"', then: suspend}",
        );
        let items = vec![item(&inn, &DOOR, &to(&[&mid])), router];
        let production = start(folder.path(), items).await;
        let response = ask(n, "ok").await;
        assert_eq!(response.state, State::Suspended, "{}", response.reason);
        let rows = left(&production, folder.path()).await;
        let note = &hop(&rows, &inn, &mid).0.note;
        assert!(note.contains("suspended instead of failed"), "{note}");
    }
}
