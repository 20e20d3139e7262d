//! Queues in memory: views of what the log holds for an item.
//!
//! An entry is a header of a few dozen bytes; bodies stay beside it only while the byte budget
//! lasts and are read back from the log otherwise, so that a million waiting messages cost tens of
//! megabytes. The order is a trait ([`Order`]) with one file for each kind. Owns what waits and
//! what is in hand; who may put something in, and who waits for room, is the broker's.

mod budget;
mod chunks;
mod fifo;
mod keyed;
mod lifo;
mod order;
pub(crate) mod plan;
mod priority;
mod room;
#[cfg(test)]
mod room_tests;
mod slab;
mod stats;

#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use hie_store::Live;
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;

pub use self::{
    budget::BodyBudget,
    fifo::{Fifo, Unordered},
    keyed::Keyed,
    lifo::Lifo,
    order::{Entry, Order},
    plan::{Kind, Overflow, Plan},
    priority::Priority,
    room::Room,
    stats::{Counters, QueueStats},
};

use crate::clock::Clock;
use plan::Hash;
use slab::Plain;

/// The queue of one item, shared by those who send to it and its jobs.
pub struct ItemQueue {
    line: Mutex<Line>,
    plan: RwLock<Arc<Plan>>,
    hash: Hash,
    /// What waits and what is promised a place.
    pub(crate) room: Room,
    /// Rings when there may be room.
    pub(crate) freed: Notify,
    /// Its figures.
    pub counters: Counters,
    arrived: Notify,
    len: AtomicUsize,
    high_water: AtomicUsize,
    clock: Clock,
    budget: Arc<BodyBudget>,
}

/// What waits, and what jobs have taken and not yet finished.
struct Line {
    order: Box<dyn Order>,
    in_hand: HashMap<u64, (Live, u64), Plain>,
}

impl ItemQueue {
    /// An empty queue.
    pub fn new(plan: Plan, clock: Clock, budget: Arc<BodyBudget>) -> Self {
        Self {
            line: Mutex::new(Line {
                order: plan.order(),
                in_hand: HashMap::default(),
            }),
            room: Room::new(plan.limit),
            plan: RwLock::new(Arc::new(plan)),
            hash: Hash::default(),
            freed: Notify::new(),
            counters: Counters::default(),
            arrived: Notify::new(),
            len: AtomicUsize::new(0),
            high_water: AtomicUsize::new(0),
            clock,
            budget,
        }
    }

    /// How it is worked off now.
    pub fn plan(&self) -> Arc<Plan> {
        self.plan.read().clone()
    }

    /// Works it off in another way from now on; what waits and what is in hand stays. `body` reads
    /// a body that is not in memory, and may block: an order per key asks for each.
    pub fn set_plan(&self, plan: Plan, body: impl Fn(&Live) -> Option<Bytes>) {
        let mut current = self.plan.write();
        let mut line = self.line.lock();
        let mut waiting = line.order.drain();
        waiting.sort_unstable_by_key(|entry| entry.live.id); // as the log has them
        line.order = plan.order();
        let key = |live: &Live, kept: Option<&Bytes>| match (&plan.order_by, kept) {
            (None, _) => 0,
            (Some(path), Some(kept)) => self.hash.key(path, kept),
            (Some(path), None) => self.hash.key(path, &body(live).unwrap_or_default()),
        };
        let Line { order, in_hand } = &mut *line;
        for (live, held) in in_hand.values_mut() {
            *held = key(live, None);
            order.hold(*held);
        }
        for entry in waiting {
            let key = key(&entry.live, entry.body.as_ref());
            order.push(entry, key);
        }
        self.room.set_limit(plan.limit);
        *current = Arc::new(plan);
        drop((line, current));
        // Whoever waits looks again: there may be room now, or another entry at the head.
        self.freed.notify_waiters();
        self.arrived.notify_waiters();
    }

    /// Whether it needs the body of each entry that comes in ([`push`](Self::push)).
    pub fn reads_bodies(&self) -> bool {
        self.plan.read().order_by.is_some()
    }

    /// Takes a new entry in, whether there is room or not. What it gives back had to go for it
    /// (`drop_oldest`): it is out of the queue, and the caller records its end.
    #[must_use]
    pub fn push(&self, live: Live, body: Option<Bytes>) -> Vec<Live> {
        self.room.force(1);
        self.push_promised(live, body)
    }

    /// The same for an entry whose body was read from the log and is not to be kept.
    #[must_use]
    pub fn push_read(&self, live: Live, body: &[u8]) -> Vec<Live> {
        self.room.force(1);
        self.enter(live, None, body, true)
    }

    /// The same for an entry that has its place already.
    #[must_use]
    pub(crate) fn push_promised(&self, live: Live, body: Option<Bytes>) -> Vec<Live> {
        let bytes = body.clone().unwrap_or_default();
        self.enter(live, body, &bytes, true)
    }

    /// Takes in what a restart brings back: nothing is dropped for it, whatever the limit.
    pub(crate) fn restore(&self, live: Live, body: &[u8]) {
        self.room.force(1);
        self.enter(live, None, body, false);
    }

    fn enter(&self, live: Live, kept: Option<Bytes>, body: &[u8], evicts: bool) -> Vec<Live> {
        // Held until the entry stands in its order: a change of plan comes before or after it.
        let plan = self.plan.read();
        let key = plan
            .order_by
            .as_ref()
            .map_or(0, |path| self.hash.key(path, body));
        let body = kept.filter(|body| self.budget.take(body.len()));
        let drops = evicts && plan.overflow == Overflow::DropOldest;
        let limit = plan.limit;
        let mut evicted = Vec::new();
        self.change(|line| {
            line.order.push(Entry { live, body }, key);
            while drops && limit > 0 && line.order.len() > limit {
                let Some(entry) = line.order.evict() else {
                    break;
                };
                evicted.push(entry);
            }
        });
        Counters::add(&self.counters.enqueued, 1);
        self.arrived.notify_one();
        if evicted.is_empty() {
            return Vec::new();
        }
        Counters::add(&self.counters.dropped, evicted.len() as u64);
        self.give_room(evicted.len());
        evicted
            .into_iter()
            .map(|entry| self.released(entry).live)
            .collect()
    }

    /// Takes an entry back to its place. Never refused: it was there before.
    pub fn put_back(&self, live: Live) {
        self.room.force(1);
        self.change(|line| {
            let held = line.in_hand.remove(&live.id.0);
            let key = held.map_or(0, |(_, key)| key);
            line.order.put_back(Entry::bare(live), key);
        });
        Counters::add(&self.counters.returned, 1);
        self.arrived.notify_one();
    }

    /// An entry is finished: in an order per key, the next one with its key may leave. Every entry
    /// that was taken is either done or put back.
    pub fn done(&self, live: &Live) {
        let next = self.change(|line| {
            let held = line.in_hand.remove(&live.id.0);
            held.is_some_and(|(_, key)| line.order.done(key))
        });
        if next {
            self.arrived.notify_one();
        }
    }

    /// Waits for the next entry. Cancel-safe: an entry is either returned or still queued.
    pub async fn take(&self) -> Entry {
        loop {
            let mut arrived = pin!(self.arrived.notified());
            // Registered before the look, so that a push in between is not missed.
            arrived.as_mut().enable();
            if let Some(entry) = self.try_take() {
                return entry;
            }
            arrived.await;
        }
    }

    /// The next entry if one may leave.
    pub fn try_take(&self) -> Option<Entry> {
        let now_ms = self.clock.now_ms();
        let entry = self.change(|line| {
            let (entry, key) = line.order.pop(now_ms)?;
            line.in_hand.insert(entry.live.id.0, (entry.live, key));
            Some(entry)
        })?;
        self.give_room(1);
        let wait_ms = now_ms.saturating_sub(entry.live.created_ms);
        self.counters.left(wait_ms);
        Some(self.released(entry))
    }

    /// Gives places back and rings for those who wait for one.
    pub(crate) fn give_room(&self, count: usize) {
        self.room.give(count, || self.freed.notify_one());
    }

    /// Waits until there may be room for so many.
    pub(crate) async fn wait_for_room(&self, count: usize) {
        let listen = || {
            let mut rung = Box::pin(self.freed.notified());
            rung.as_mut().enable(); // it hears from now on
            rung
        };
        self.room.wait(count, listen).await;
    }

    fn released(&self, entry: Entry) -> Entry {
        if let Some(body) = &entry.body {
            self.budget.give(body.len());
        }
        entry
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many jobs have in hand.
    pub fn in_hand(&self) -> usize {
        self.line.lock().in_hand.len()
    }

    /// The most that ever waited since the start.
    pub fn high_water(&self) -> usize {
        self.high_water.load(Ordering::Relaxed)
    }

    /// The header that has waited longest.
    pub fn oldest(&self) -> Option<Live> {
        self.line.lock().order.oldest()
    }

    fn change<T>(&self, change: impl FnOnce(&mut Line) -> T) -> T {
        let mut line = self.line.lock();
        let result = change(&mut line);
        let len = line.order.len();
        self.len.store(len, Ordering::Relaxed);
        self.high_water.fetch_max(len, Ordering::Relaxed);
        result
    }
}
