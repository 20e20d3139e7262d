//! Hosts for tests of who waits: an operation behind a gate, a process that calls, one that sends on.

use std::{collections::BTreeMap, sync::Mutex, time::Duration};

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
use hie_store::{HeaderRow, Priority, Query, State};
use tokio::sync::watch;

use crate::support::{self, door, origin, targets};

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

pub(crate) fn gate(item: &str) -> watch::Sender<usize> {
    let mut gates = GATES.lock().unwrap();
    let gate = gates
        .entry(item.into())
        .or_insert_with(|| watch::channel(0).0);
    gate.clone()
}

/// Lets the first `count` messages of an item through.
pub(crate) fn open(item: &str, count: usize) {
    gate(item).send_replace(count);
}

pub(crate) fn begun(item: &str) -> Vec<String> {
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

pub(crate) static GATED: Class =
    support::class("Gated", Build::Operation(|_, _| Ok(Box::new(Gated))));
pub(crate) static CALLER: Class =
    support::class("Caller", Build::Process(|_, _| Ok(Box::new(Caller))));
pub(crate) static SPREAD: Class = support::class(
    "Spread",
    Build::Process(|item, _| {
        let to = item.settings.list("TargetConfigNames").to_vec();
        Ok(Box::new(Spread(to)))
    }),
);

pub(crate) type Given = (&'static str, Value);

pub(crate) fn pattern(pattern: Pattern) -> Given {
    ("MessagingPattern", Value::Choice(pattern.name()))
}

pub(crate) fn to(names: &[&str]) -> Given {
    ("TargetConfigNames", targets(names))
}

pub(crate) fn within(millis: u64) -> Given {
    let limit = Duration::from_millis(millis);
    ("MessageTimeout", Value::Seconds(Some(limit)))
}

pub(crate) fn pool(jobs: u16, item: ItemConfig) -> ItemConfig {
    ItemConfig {
        pool_size: jobs,
        ..item
    }
}

/// Sends a message as the outside world and waits for what comes back.
pub(crate) async fn ask(service: &str, body: &str) -> Option<Response> {
    let (door, body) = (door(service), Bytes::from(body.to_owned()));
    let (_, response) = door.request(origin(), &body, None).await.unwrap();
    response
}

pub(crate) fn text(response: Option<Response>) -> String {
    let reply = response.and_then(|response| response.reply);
    String::from_utf8(reply.unwrap_or_default().to_vec()).unwrap()
}

pub(crate) fn status(production: &Production, item: &str) -> ItemStatus {
    let items = production.status().items;
    items.into_iter().find(|one| one.name == item).unwrap()
}

pub(crate) async fn rows(production: &Production, target: &str) -> Vec<HeaderRow> {
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

pub(crate) fn nobody_waits(production: &Production) -> bool {
    let calls = &production.broker.calls;
    (calls.waiting(), calls.given_up()) == (0, 0)
}
