//! What is counted of an item: plain atomics, read by status, metrics and health.

use std::{
    sync::atomic::{AtomicU8, AtomicU64, Ordering},
    time::Duration,
};

use hie_store::State;
use parking_lot::Mutex;
use serde::Serialize;

use crate::clock::Clock;

/// The life of an item.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
#[allow(missing_docs)] // the names say it
pub enum ItemState {
    Stopped = 0,
    Starting = 1,
    Running = 2,
    Stopping = 3,
    Disabled = 4,
    Error = 5,
    /// Held by an operator: nothing is taken until it is resumed.
    Paused = 6,
    /// Given up by its supervisor.
    Failed = 7,
}

impl ItemState {
    /// As the operator reads it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Disabled => "disabled",
            Self::Error => "error",
            Self::Paused => "paused",
            Self::Failed => "failed",
        }
    }
}

/// An error and when it was noted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Noted {
    /// In milliseconds since 1970 (UTC).
    pub at_ms: u64,
    /// For the operator. Never message content.
    pub text: String,
}

/// Counters of one item since the start of the engine.
#[derive(Debug, Default)]
pub struct ItemStats {
    state: AtomicU8,
    /// Messages that came in from outside (services).
    pub received: AtomicU64,
    /// Bytes of those.
    pub received_bytes: AtomicU64,
    /// Messages answered negatively or recorded as bad (services).
    pub rejected: AtomicU64,
    /// Hops that ended Completed.
    pub completed: AtomicU64,
    /// Hops that ended in Error.
    pub failed: AtomicU64,
    /// Hops that were suspended.
    pub suspended: AtomicU64,
    /// Hops that were discarded.
    pub discarded: AtomicU64,
    /// Tries that were followed by another.
    pub retries: AtomicU64,
    /// Panics of the host that were contained.
    pub panics: AtomicU64,
    /// Messages whose response was deferred.
    pub deferred: AtomicU64,
    /// Requests that were not answered in time.
    pub timeouts: AtomicU64,
    /// Waits that were refused because they would never have ended.
    pub deadlocks: AtomicU64,
    /// Messages that went round until MaxHops.
    pub loops: AtomicU64,
    /// Connections open now (services and operations with connections).
    pub connections: AtomicU64,
    /// Time spent in the host, in microseconds.
    pub busy_us: AtomicU64,
    /// Messages that jobs have taken off the queue and not ended yet.
    pub in_hand: AtomicU64,
    /// Starts of a host after another one of the item had failed.
    pub restarts: AtomicU64,
    /// How often the supervisor gave the item up.
    pub give_ups: AtomicU64,
    clock: Clock,
    last_error: Mutex<Option<Noted>>,
    trying: Mutex<Option<String>>,
    address: Mutex<Option<String>>,
}

impl ItemStats {
    /// All at zero; times are read off this clock.
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            ..Self::default()
        }
    }

    /// Where the item stands.
    pub fn state(&self) -> ItemState {
        match self.state.load(Ordering::Relaxed) {
            1 => ItemState::Starting,
            2 => ItemState::Running,
            3 => ItemState::Stopping,
            4 => ItemState::Disabled,
            5 => ItemState::Error,
            6 => ItemState::Paused,
            7 => ItemState::Failed,
            _ => ItemState::Stopped,
        }
    }

    /// Moves the item.
    pub fn set_state(&self, state: ItemState) {
        self.state.store(state as u8, Ordering::Relaxed);
    }

    /// The last error, for the operator.
    pub fn last_error(&self) -> Option<String> {
        self.last_error
            .lock()
            .as_ref()
            .map(|noted| noted.text.clone())
    }

    /// The last error with its time.
    pub fn last_noted(&self) -> Option<Noted> {
        self.last_error.lock().clone()
    }

    /// Notes an error.
    pub fn note_error(&self, error: impl Into<String>) {
        *self.last_error.lock() = Some(Noted {
            at_ms: self.clock.now_ms(),
            text: error.into(),
        });
    }

    /// What a job of the item is retrying now, and why.
    pub fn trying(&self) -> Option<String> {
        self.trying.lock().clone()
    }

    /// Notes what is retried, or that nothing is.
    pub fn note_trying(&self, what: Option<String>) {
        *self.trying.lock() = what;
    }

    /// Where the item listens, reads or sends, for the operator.
    pub fn address(&self) -> Option<String> {
        self.address.lock().clone()
    }

    /// Notes where the item listens, reads or sends.
    pub fn note_address(&self, address: impl Into<String>) {
        *self.address.lock() = Some(address.into());
    }

    /// Counts the end of a hop.
    pub fn count(&self, state: State, busy: Duration) {
        let counter = match state {
            State::Completed => &self.completed,
            State::Error | State::Aborted => &self.failed,
            State::Suspended => &self.suspended,
            State::Deferred => &self.deferred,
            State::Discarded => &self.discarded,
            State::Created | State::Queued | State::Delivered => &self.retries,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        self.busy_us.fetch_add(
            u64::try_from(busy.as_micros()).unwrap_or(u64::MAX),
            Ordering::Relaxed,
        );
    }
}
