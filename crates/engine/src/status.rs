//! What an operator sees of a production: a snapshot of every item, and whether it is ready.
//!
//! Owns the shape of the status, which `hie status`, the metrics and the manager read. Counts
//! nothing itself: the counters are [`stats`](crate::stats)'s, the queues the broker's.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{
    item::Item,
    production::Production,
    queue::{ItemQueue, QueueStats},
    reload::InForce,
    requeue::Recovery,
    stats::ItemState,
    workers::WorkerStatus,
};

impl Production {
    /// What an operator wants to know of it now.
    pub fn status(&self) -> Status {
        let now_ms = self.broker.clock.now_ms();
        let extent = self.broker.store.extent();
        Status {
            production: self.config().name.clone(),
            uptime_s: now_ms.saturating_sub(self.started_ms) / 1000,
            trouble: self
                .broker
                .store
                .log_trouble()
                .map(|error| error.to_string()),
            journal_bytes: extent.bytes,
            index_lag_bytes: self.broker.store.index_lag_bytes(),
            index_trouble: self
                .broker
                .store
                .index_trouble()
                .map(|error| error.to_string()),
            recovered: self.recovered.clone(),
            configuration: self.in_force(),
            items: self
                .items()
                .iter()
                .map(|item| self.item_status(item, now_ms))
                .collect(),
            orphans: self.orphans(),
        }
    }

    fn item_status(&self, item: &Item, now_ms: u64) -> ItemStatus {
        let config = &item.config;
        let stats = &item.stats;
        let queue = self.broker.queue(item.id);
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ItemStatus {
            name: config.name.clone(),
            class: config.class.name,
            kind: config.class.build.kind(),
            state: stats.state(),
            pool_size: config.pool_size,
            // What is tried again keeps its place at the head of the queue: it waits like the rest.
            queued: queue.len() + usize::from(stats.trying().is_some()),
            queue_high_water: queue.high_water(),
            oldest_s: queue
                .oldest()
                .map(|live| now_ms.saturating_sub(live.created_ms) / 1000),
            received: load(&stats.received),
            received_bytes: load(&stats.received_bytes),
            rejected: load(&stats.rejected),
            completed: load(&stats.completed),
            failed: load(&stats.failed),
            suspended: load(&stats.suspended),
            discarded: load(&stats.discarded),
            retries: load(&stats.retries),
            panics: load(&stats.panics),
            deferred: load(&stats.deferred),
            timeouts: load(&stats.timeouts),
            deadlocks: load(&stats.deadlocks),
            loops: load(&stats.loops),
            connections: load(&stats.connections),
            busy_us: load(&stats.busy_us),
            address: stats.address(),
            queue: queue_status(&queue),
            trying: stats.trying(),
            in_hand: load(&stats.in_hand),
            restarts: load(&stats.restarts),
            give_ups: load(&stats.give_ups),
            health: health(item),
            last_error: stats.last_error(),
            last_error_ms: stats.last_noted().map(|noted| noted.at_ms),
            workers: item.workers(),
        }
    }

    /// Queues of items that the configuration does not know any more.
    fn orphans(&self) -> Vec<(String, usize)> {
        let queues = self.broker.queues().into_iter();
        let named =
            queues.map(|(id, queue)| (self.broker.store.item_name(id).to_string(), queue.len()));
        named
            .filter(|(name, len)| *len > 0 && self.broker.target(name).is_none())
            .collect()
    }

    /// Whether messages can come in and go out, and if not, why.
    pub fn ready(&self) -> Result<(), Vec<String>> {
        let mut reasons = Vec::new();
        if let Some(trouble) = self.broker.store.log_trouble() {
            reasons.push(trouble.to_string());
        }
        for item in &self.items() {
            let name = &item.config.name;
            match item.stats.state() {
                ItemState::Running => {}
                // What an operator decided is no trouble.
                ItemState::Paused => {}
                ItemState::Disabled if item.is_disabled() => {}
                state => {
                    let why = item
                        .stats
                        .last_error()
                        .map(|error| format!(": {error}"))
                        .unwrap_or_default();
                    reasons.push(format!("item {name} is {}{why}", state.name()));
                }
            }
        }
        if reasons.is_empty() {
            Ok(())
        } else {
            Err(reasons)
        }
    }
}

/// The state of a production, as `hie status` and the manager show it.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Status {
    /// Its name.
    pub production: String,
    /// Seconds since its start.
    pub uptime_s: u64,
    /// What stops it from accepting, if anything does.
    pub trouble: Option<String>,
    /// Bytes of the journal on disk.
    pub journal_bytes: u64,
    /// Bytes of the journal that the index has not read yet.
    pub index_lag_bytes: u64,
    /// Why search and trace do not work, if they do not. Messages flow all the same.
    pub index_trouble: Option<String>,
    /// What recovery found at its start.
    pub recovered: Recovery,
    /// Which configuration is in force.
    pub configuration: InForce,
    /// Its items.
    pub items: Vec<ItemStatus>,
    /// Queues of items that are not in the configuration, with their lengths.
    pub orphans: Vec<(String, usize)>,
}

/// The state of one item. Counters are since the start of the engine.
#[derive(Clone, Debug, serde::Serialize)]
#[allow(missing_docs)] // as in ItemStats
pub struct ItemStatus {
    pub name: String,
    pub class: &'static str,
    pub kind: &'static str,
    pub state: ItemState,
    pub pool_size: u16,
    pub queued: usize,
    pub queue_high_water: usize,
    pub oldest_s: Option<u64>,
    pub received: u64,
    pub received_bytes: u64,
    pub rejected: u64,
    pub completed: u64,
    pub failed: u64,
    pub suspended: u64,
    pub discarded: u64,
    pub retries: u64,
    pub panics: u64,
    pub deferred: u64,
    pub timeouts: u64,
    pub deadlocks: u64,
    pub loops: u64,
    pub connections: u64,
    pub busy_us: u64,
    pub address: Option<String>,
    pub queue: QueueStatus,
    pub trying: Option<String>,
    pub in_hand: u64,
    pub restarts: u64,
    pub give_ups: u64,
    pub health: Health,
    pub last_error: Option<String>,
    pub last_error_ms: Option<u64>,
    pub workers: Vec<WorkerStatus>,
}

/// How an item is, in one word, and why it is not well.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct Health {
    /// The word.
    pub level: HealthLevel,
    /// Why, unless it is ok.
    pub reason: Option<String>,
}

/// See [`Health`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthLevel {
    /// It works, or is off because it was told to be.
    Ok,
    /// It works in part, tries something again, or is held by an operator.
    Degraded,
    /// It does nothing although it should.
    Failed,
}

fn health(item: &Item) -> Health {
    let stats = &item.stats;
    let error = || stats.last_error().map(|error| format!(": {error}"));
    let because = |what: &str| Some(format!("{what}{}", error().unwrap_or_default()));
    let (up, of) = item
        .supervisor()
        .map_or((0, 0), |supervisor| supervisor.hosts());
    let (level, reason) = match stats.state() {
        ItemState::Disabled if item.is_disabled() => (HealthLevel::Ok, None),
        ItemState::Running if up < of => {
            let what = format!("{up} of {of} jobs run");
            (HealthLevel::Degraded, because(&what))
        }
        ItemState::Running => match stats.trying() {
            Some(trying) => (
                HealthLevel::Degraded,
                Some(format!("tries again: {trying}")),
            ),
            None => (HealthLevel::Ok, None),
        },
        ItemState::Paused => (
            HealthLevel::Degraded,
            Some("paused by an operator".to_owned()),
        ),
        ItemState::Starting | ItemState::Stopping => {
            (HealthLevel::Degraded, Some(stats.state().name().to_owned()))
        }
        state => (HealthLevel::Failed, because(state.name())),
    };
    Health { level, reason }
}

/// How a queue is worked off, and its figures. A service has none of its own.
#[derive(Clone, Debug, serde::Serialize)]
pub struct QueueStatus {
    /// `QueueType`.
    pub kind: &'static str,
    /// Whether messages are in order per key (`OrderBy`).
    pub ordered_by_key: bool,
    /// `QueueSize`; 0 is no limit.
    pub limit: usize,
    /// `OverflowStrategy`.
    pub overflow: &'static str,
    /// Messages that jobs have in hand.
    pub in_hand: usize,
    /// What was counted since the start.
    #[serde(flatten)]
    pub stats: QueueStats,
}

fn queue_status(queue: &ItemQueue) -> QueueStatus {
    let plan = queue.plan();
    QueueStatus {
        kind: plan.kind.name(),
        ordered_by_key: plan.order_by.is_some(),
        limit: plan.limit,
        overflow: plan.overflow.name(),
        in_hand: queue.in_hand(),
        stats: queue.counters.snapshot(),
    }
}
