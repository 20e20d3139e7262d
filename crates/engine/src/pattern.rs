//! Messaging patterns: who waits for whom at an item, and in which order.
//!
//! Owns the four patterns and the turns that messages take where a pattern is strict. What a job
//! does after an outcome is [`job`](crate::job)'s and [`follow`](crate::follow)'s, who gets which
//! response [`calls`](crate::calls)'. Every pattern is as durable as every other.

use std::{collections::HashMap, sync::Arc, time::Duration};

use hie_store::ItemId;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    HostError,
    calls::Place,
    config::{Finding, ItemConfig},
};

/// `MessagingPattern`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Pattern {
    /// Nobody waits; messages are taken in the order of the queue.
    #[default]
    AsyncReliable,
    /// One message at a time, each until what it sent is answered.
    SyncReliable,
    /// Nobody waits, no order is promised.
    ConcurrentAsync,
    /// As many messages at a time as there are jobs, each until what it sent is answered.
    ConcurrentSync,
}

impl Pattern {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::AsyncReliable,
        Self::SyncReliable,
        Self::ConcurrentAsync,
        Self::ConcurrentSync,
    ];

    /// As configurations and the worker protocol write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::AsyncReliable => "async_reliable",
            Self::SyncReliable => "sync_reliable",
            Self::ConcurrentAsync => "concurrent_async",
            Self::ConcurrentSync => "concurrent_sync",
        }
    }

    /// The pattern of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|pattern| pattern.name() == name)
    }

    /// What the item's `MessagingPattern` says.
    pub fn of(item: &ItemConfig) -> Self {
        let name = item.settings.text("MessagingPattern");
        name.and_then(Self::named).unwrap_or_default()
    }

    /// Whether a message waits for the responses of what it sent.
    pub fn waits(self) -> bool {
        matches!(self, Self::SyncReliable | Self::ConcurrentSync)
    }

    /// Whether one message is worked on at a time, whatever PoolSize says.
    pub fn is_strict(self) -> bool {
        self == Self::SyncReliable
    }
}

/// How an item works: its pattern with all that belongs to it, shared by its jobs.
pub(crate) struct Manner {
    pub(crate) pattern: Pattern,
    /// `MessageTimeout`.
    pub(crate) timeout: Duration,
    /// `MaxHops`.
    pub(crate) max_hops: u16,
    /// How many messages at once; none for as many as come.
    turns: Option<Arc<Semaphore>>,
    /// Strict calls to the same item go one after another.
    lines: Mutex<HashMap<ItemId, Arc<Semaphore>>>,
}

/// A message's turn; the next begins when this goes.
pub(crate) type Turn = Option<OwnedSemaphorePermit>;

impl Manner {
    /// Of a process or an operation: its jobs are its limit already, unless one waits for the next.
    pub(crate) fn of_jobs(item: &ItemConfig) -> Arc<Self> {
        let pattern = Pattern::of(item);
        Self::new(item, pattern.is_strict().then_some(1))
    }

    /// Of a service: where senders wait, so many at once.
    pub(crate) fn of_service(item: &ItemConfig) -> Arc<Self> {
        let turns = match Pattern::of(item) {
            Pattern::SyncReliable => Some(1),
            Pattern::ConcurrentSync => Some(usize::from(item.pool_size)),
            Pattern::AsyncReliable | Pattern::ConcurrentAsync => None,
        };
        Self::new(item, turns)
    }

    fn new(item: &ItemConfig, turns: Option<usize>) -> Arc<Self> {
        let settings = &item.settings;
        let max_hops = settings
            .int("MaxHops")
            .and_then(|hops| hops.try_into().ok());
        Arc::new(Self {
            pattern: Pattern::of(item),
            timeout: timeout(item),
            max_hops: max_hops.unwrap_or(MAX_HOPS),
            turns: turns.map(|turns| Arc::new(Semaphore::new(turns))),
            lines: Mutex::default(),
        })
    }

    /// Waits for a turn, in the order of asking.
    pub(crate) async fn turn(&self) -> Turn {
        take(self.turns.clone()?).await
    }

    /// Waits until no strict call of this item to that one is under way.
    pub(crate) async fn line(&self, target: ItemId) -> Turn {
        let one = || Arc::new(Semaphore::new(1));
        let line = self.lines.lock().entry(target).or_insert_with(one).clone();
        take(line).await
    }
}

async fn take(turns: Arc<Semaphore>) -> Turn {
    turns.acquire_owned().await.ok() // never closed
}

/// `MessageTimeout` of an item.
pub(crate) fn timeout(item: &ItemConfig) -> Duration {
    let timeout = item.settings.duration("MessageTimeout");
    timeout.unwrap_or(TIMEOUT)
}

/// The defaults of `MessageTimeout` and `MaxHops`, for items that are made without a configuration.
const TIMEOUT: Duration = Duration::from_secs(30);
const MAX_HOPS: u16 = 100;

/// How a job works, and its place among those who may wait for each other. A host in a worker
/// process has none: its job has it.
pub(crate) struct Conduct {
    pub(crate) manner: Arc<Manner>,
    pub(crate) place: Place,
}

/// The pattern of one call: what the caller asks for, or what fits the item's own.
pub(crate) fn of_call(
    asked: Option<Pattern>,
    own: Pattern,
    waits: bool,
) -> Result<Pattern, HostError> {
    let pattern = match (asked, waits) {
        (Some(asked), _) => asked,
        (None, true) if own.is_strict() => own,
        (None, true) => Pattern::ConcurrentSync,
        (None, false) if own == Pattern::ConcurrentAsync => own,
        (None, false) => Pattern::AsyncReliable,
    };
    if pattern.waits() == waits {
        return Ok(pattern);
    }
    let (call, others) = match waits {
        true => ("send_request_sync", "sync_reliable or concurrent_sync"),
        false => ("send_request_async", "async_reliable or concurrent_async"),
    };
    let name = pattern.name();
    let message = format!("{call} cannot send by {name}; use {others}");
    Err(HostError::new("pattern", message))
}

/// What does not go together with the item's pattern.
pub(crate) fn check(item: &ItemConfig) -> Vec<Finding> {
    let pattern = Pattern::of(item);
    let name = pattern.name();
    let mut findings = Vec::new();
    let mut find = |message: String, help: &str| {
        findings.push(Finding {
            setting: Some("MessagingPattern"),
            message,
            help: Some(help.into()),
        });
    };
    // Strings, not types: these are settings of every kind of item or of none.
    let text = |setting| match item.settings.get(setting) {
        Some(crate::setting::Value::Text(text)) => Some(text.as_str()),
        Some(crate::setting::Value::Choice(text)) => Some(*text),
        _ => None,
    };
    let queue = text("QueueType").unwrap_or("fifo");
    let keyed = text("OrderBy").is_some_and(|order| !order.is_empty());
    if pattern.is_strict() && queue != "fifo" {
        find(
            format!("{name} is strictly first in, first out, and QueueType is {queue}"),
            "set QueueType to fifo, or MessagingPattern to concurrent_sync",
        );
    }
    if keyed && (pattern.is_strict() || pattern == Pattern::ConcurrentAsync) {
        let why = match pattern.is_strict() {
            true => "takes one message at a time, so OrderBy orders nothing",
            false => "promises no order, and OrderBy asks for one",
        };
        find(
            format!("{name} {why}"),
            "remove OrderBy, or set MessagingPattern to async_reliable or concurrent_sync",
        );
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for pattern in Pattern::ALL {
            assert_eq!(Pattern::named(pattern.name()), Some(pattern));
        }
        assert_eq!(Pattern::named("async"), None);
    }

    #[test]
    fn a_call_takes_what_it_asks_for_or_what_fits() {
        use Pattern::*;
        for (asked, own, waits, is) in [
            (None, AsyncReliable, true, ConcurrentSync),
            (None, SyncReliable, true, SyncReliable),
            (None, SyncReliable, false, AsyncReliable),
            (None, ConcurrentAsync, false, ConcurrentAsync),
            (Some(SyncReliable), ConcurrentAsync, true, SyncReliable),
            (Some(ConcurrentAsync), SyncReliable, false, ConcurrentAsync),
        ] {
            assert_eq!(of_call(asked, own, waits).unwrap(), is);
        }
        let wrong = of_call(Some(AsyncReliable), SyncReliable, true).unwrap_err();
        assert_eq!(wrong.code, "pattern");
    }
}
