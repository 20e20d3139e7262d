//! Responses that come later than the end of `on_message`: answered from elsewhere, early, too late,
//! after a restart.

// Helpers of tests fail as tests do.
#![allow(clippy::unwrap_used)]

#[allow(dead_code)] // each test binary uses a part of them
mod gated;
#[allow(dead_code)]
mod support;

use async_trait::async_trait;
use bytes::Bytes;
use hie_engine::{
    HostContext, HostError,
    class::{Build, Class},
    host::{BusinessOperation, BusinessProcess, Message, Outcome},
    pattern::Pattern,
};
use hie_store::{Answered, MessageId, State};

use gated::*;
use support::{DOOR, door, item, put, start, until};

/// Defers each message; `early` is answered before the end all the same.
struct Later;

#[async_trait]
impl BusinessOperation for Later {
    async fn on_message(&mut self, ctx: &HostContext, m: &Message) -> Result<Outcome, HostError> {
        let id = ctx.defer_response()?;
        assert_eq!(id, m.live.id);
        if m.body.starts_with(b"early") {
            ctx.send_response(id, Bytes::from_static(b"early bird"))
                .await?;
        }
        Ok(Outcome::completed())
    }
}

/// Answers the deferred message whose id the body begins with.
struct Answerer;

#[async_trait]
impl BusinessProcess for Answerer {
    async fn on_message(&mut self, ctx: &HostContext, m: &Message) -> Result<Outcome, HostError> {
        let body = String::from_utf8_lossy(&m.body).into_owned();
        let (id, reply) = body.split_once(' ').unwrap();
        let id = MessageId(id.parse().unwrap());
        ctx.send_response(id, Bytes::from(reply.to_owned())).await?;
        Ok(Outcome::completed())
    }
}

static LATER: Class = support::class("Later", Build::Operation(|_, _| Ok(Box::new(Later))));
static ANSWERER: Class = support::class("Answerer", Build::Process(|_, _| Ok(Box::new(Answerer))));

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deferred_message_waits_on_disk_and_is_answered_once() {
    let folder = tempfile::tempdir().unwrap();
    let production = start(
        folder.path(),
        vec![
            item("In60", &DOOR, &[to(&["Later60"])]),
            item("Later60", &LATER, &[]),
            item("Ask60", &DOOR, &[to(&["Answerer60"])]),
            item("Answerer60", &ANSWERER, &[]),
        ],
    )
    .await;
    assert_eq!(text(ask("In60", "early").await), "early bird");
    let asked = tokio::spawn(ask("In60", "later"));
    until("it to be deferred", || {
        status(&production, "Later60").deferred == 2
    })
    .await;
    let id = rows(&production, "Later60").await[1].id;
    assert_eq!(rows(&production, "Later60").await[1].state, State::Deferred);
    let answer = ask("Ask60", &format!("{id} at last")).await.unwrap();
    assert_eq!(answer.state, State::Completed);
    assert_eq!(text(asked.await.unwrap()), "at last");
    let row = rows(&production, "Later60").await.remove(1);
    assert_eq!(
        (row.state, row.answered, row.reply.is_some()),
        (State::Completed, Answered::Caller, true)
    );
    let again = ask("Ask60", &format!("{id} once more")).await.unwrap();
    assert!(again.state == State::Error && again.reason.contains("does not wait for a response"));
    assert!(nobody_waits(&production));
    production.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_response_that_never_comes_ends_the_message_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let items = |millis| {
        vec![
            item("In61", &DOOR, &[to(&["Later61"])]),
            item("Later61", &LATER, &[within(millis)]),
        ]
    };
    let production = start(folder.path(), items(60_000)).await;
    put(&door("In61"), "never").await;
    until("it to be deferred", || {
        status(&production, "Later61").deferred == 1
    })
    .await;
    production.stop().await;
    let production = start(folder.path(), items(30)).await;
    assert_eq!(
        (production.recovered.queued, production.recovered.waiting),
        (0, 1)
    );
    let mut row = rows(&production, "Later61").await.remove(0);
    while row.state == State::Deferred {
        tokio::task::yield_now().await;
        row = rows(&production, "Later61").await.remove(0);
    }
    assert!(row.state == State::Error && row.reason.contains("none came within 30ms"));
    put(&door("In61"), "never").await;
    until("it to be given up", || {
        status(&production, "Later61").timeouts == 1
    })
    .await;
    production.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_strict_item_waits_for_the_deferred_response() {
    let folder = tempfile::tempdir().unwrap();
    let production = start(
        folder.path(),
        vec![
            item("In62", &DOOR, &[to(&["Later62"])]),
            item("Later62", &LATER, &[pattern(Pattern::SyncReliable)]),
            item("Ask62", &DOOR, &[to(&["Answerer62"])]),
            item("Answerer62", &ANSWERER, &[]),
        ],
    )
    .await;
    put(&door("In62"), "one").await;
    put(&door("In62"), "two").await;
    for n in 0..2 {
        until("the next", || {
            status(&production, "Later62").deferred == n + 1
        })
        .await;
        let found = rows(&production, "Later62").await;
        let deferred = found.iter().filter(|row| row.state == State::Deferred);
        let ids: Vec<_> = deferred.map(|row| row.id).collect();
        assert_eq!(ids.len(), 1, "one at a time");
        put(&door("Ask62"), &format!("{} done", ids[0])).await;
    }
    until("both", || status(&production, "Later62").completed == 2).await;
    production.stop().await;
}
