//! Five levels, first in, first out inside each; with aging, what waited long rises.

use std::time::Duration;

use hie_store::Live;

use super::{Entry, Order, chunks::Chunks};

const LEVELS: usize = 5;

/// The most urgent level first.
#[derive(Default)]
pub struct Priority {
    levels: [Chunks; LEVELS],
    /// How long an entry waits for each level it rises; none: it stays where it is.
    aging: Option<Duration>,
}

impl Priority {
    /// With a period of aging (`PriorityAging`), or without.
    pub fn new(aging: Option<Duration>) -> Self {
        Self {
            levels: Default::default(),
            aging: aging.filter(|period| !period.is_zero()),
        }
    }

    /// The level whose head leaves next. Only heads are looked at: inside a level the oldest stands
    /// first, so no other has risen further. Among equals the older one leaves.
    fn next(&self, now_ms: u64) -> Option<usize> {
        let heads = self.levels.iter().enumerate();
        let heads = heads.filter_map(|(level, list)| Some((level, list.front()?)));
        let Some(period) = self.aging else {
            return heads.map(|(level, _)| level).next();
        };
        let period_ms = u64::try_from(period.as_millis()).unwrap_or(u64::MAX).max(1);
        let rank = |level: usize, live: &Live| {
            let risen = now_ms.saturating_sub(live.created_ms) / period_ms;
            let risen = usize::try_from(risen).unwrap_or(LEVELS);
            (level.saturating_sub(risen), live.id)
        };
        heads
            .min_by_key(|(level, live)| rank(*level, live))
            .map(|(level, _)| level)
    }

    fn level(&mut self, live: &Live) -> &mut Chunks {
        let level = usize::from(live.priority as u8).min(LEVELS - 1);
        &mut self.levels[level]
    }
}

impl Order for Priority {
    fn push(&mut self, entry: Entry, _: u64) {
        self.level(&entry.live).push_back(entry);
    }

    fn put_back(&mut self, entry: Entry, _: u64) {
        self.level(&entry.live).push_front(entry);
    }

    fn pop(&mut self, now_ms: u64) -> Option<(Entry, u64)> {
        let level = self.next(now_ms)?;
        Some((self.levels[level].pop_front()?, 0))
    }

    /// The oldest of the least urgent level that is there, whatever it has risen to: an urgent
    /// message is never dropped for one that is not.
    fn evict(&mut self) -> Option<Entry> {
        self.levels.iter_mut().rev().find_map(Chunks::pop_front)
    }

    fn oldest(&self) -> Option<Live> {
        let heads = self.levels.iter().filter_map(Chunks::front);
        heads.min_by_key(|live| live.id).copied()
    }

    fn len(&self) -> usize {
        self.levels.iter().map(Chunks::len).sum()
    }

    fn drain(&mut self) -> Vec<Entry> {
        self.levels.iter_mut().flat_map(Chunks::drain).collect()
    }
}
