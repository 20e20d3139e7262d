//! How much room a queue has: a counter of what waits and of what is promised a place.
//!
//! Plain atomics, no runtime and no bell of its own: whoever gives back brings what rings, whoever
//! waits what listens; who waits, and for how long, is [`admit`](crate::broker)'s. *Invariants:*
//! places that were asked for never go beyond the limit, however many ask at once; only what is
//! forced does. And nobody sleeps through a ring while there is room. `tests/loom` tries every
//! order of events on this very file.

use std::future::Future;

use crate::sync::atomic::{AtomicUsize, Ordering};

/// See the module.
#[derive(Debug)]
pub struct Room {
    taken: AtomicUsize,
    /// 0: no limit.
    limit: AtomicUsize,
}

impl Room {
    /// Room for `limit` entries; 0 is no limit.
    pub fn new(limit: usize) -> Self {
        Self {
            taken: AtomicUsize::new(0),
            limit: AtomicUsize::new(limit),
        }
    }

    /// The limit; 0 is none.
    pub fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// Sets another limit. What is taken stays taken.
    pub fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Release);
    }

    /// Places taken: what waits, and what is promised a place.
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Acquire)
    }

    /// Whether `count` more fit. More than the limit fit into an empty queue, because they would
    /// never fit otherwise.
    fn fits(&self, taken: usize, count: usize) -> bool {
        let limit = self.limit.load(Ordering::Acquire);
        limit == 0 || taken == 0 || taken.saturating_add(count) <= limit
    }

    /// Whether `count` places could be taken now.
    pub fn has(&self, count: usize) -> bool {
        self.fits(self.taken(), count)
    }

    /// Takes `count` places together or none.
    pub fn try_take(&self, count: usize) -> bool {
        let take = |taken: usize| self.fits(taken, count).then_some(taken + count);
        self.taken
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, take)
            .is_ok()
    }

    /// Takes places whether there is room or not.
    pub fn force(&self, count: usize) {
        self.taken.fetch_add(count, Ordering::AcqRel);
    }

    /// Gives places back, and rings once for each if there is room now for who waits.
    pub fn give(&self, count: usize, ring: impl Fn()) {
        let before = self.taken.fetch_sub(count, Ordering::AcqRel);
        let limit = self.limit.load(Ordering::Acquire);
        // Without a limit nobody waits.
        if before.saturating_sub(count) < limit {
            (0..count).for_each(|_| ring());
        }
    }

    /// Waits until there may be room for `count`. `listen` gives a future that hears every ring
    /// from then on, not from its first poll on.
    pub async fn wait<F: Future>(&self, count: usize, listen: impl FnOnce() -> F) {
        // Before the look, so that a place that is given back in between is not missed.
        let rung = listen();
        // Read as by one who writes: whoever gives a place back after this look then sees the same
        // limit (or a newer one), and rings by it. A mere load may cross with their look at a limit
        // that has just been set, and each would miss the other.
        let taken = self.taken.fetch_add(0, Ordering::AcqRel);
        if !self.fits(taken, count) {
            rung.await;
        }
    }
}
