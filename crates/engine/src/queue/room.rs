//! How much room a queue has: a counter of what waits and of what is promised a place.
//!
//! Plain atomics, no runtime: whoever wants room either gets it at once or is told no; waiting for
//! it is [`admit`](crate::broker)'s. *Invariant:* places that were asked for never go beyond the
//! limit, however many ask at once; only what is forced does.

use std::sync::atomic::{AtomicUsize, Ordering};

/// See the module.
#[derive(Debug, Default)]
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

    /// Gives places back. True if there is room now.
    pub fn give(&self, count: usize) -> bool {
        let before = self.taken.fetch_sub(count, Ordering::AcqRel);
        let limit = self.limit.load(Ordering::Acquire);
        limit == 0 || before.saturating_sub(count) < limit
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, thread};

    use super::*;

    #[test]
    fn many_who_ask_at_once_never_go_beyond_the_limit() {
        let room = Arc::new(Room::new(10));
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let room = room.clone();
                thread::spawn(move || {
                    let mut had = 0;
                    for _ in 0..2000 {
                        if room.try_take(1) {
                            assert!(room.taken() <= 10);
                            had += 1;
                            room.give(1);
                        }
                    }
                    had
                })
            })
            .collect();
        let had: usize = threads.into_iter().map(|t| t.join().unwrap()).sum();
        assert!(had > 0);
        assert_eq!(room.taken(), 0);
    }

    #[test]
    fn more_than_the_limit_fits_into_an_empty_queue_only() {
        let room = Room::new(2);
        assert!(room.try_take(5));
        assert!(!room.try_take(1));
        room.give(4);
        assert!(room.try_take(1) && !room.try_take(1));
        room.force(1);
        assert!(!room.give(1) && room.give(1));
    }
}
