//! What is counted of a queue since the start of the engine.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::Serialize;

/// Steps of the histogram of waits in each doubling: a step is at most an eighth of its value.
const STEPS: usize = 8;
const BUCKETS: usize = STEPS * 40;

/// Counters of one queue.
#[derive(Debug)]
pub struct Counters {
    /// Entries that were taken in.
    pub(crate) enqueued: AtomicU64,
    /// Entries that a job took.
    pub(crate) dequeued: AtomicU64,
    /// Entries that a job gave back.
    pub(crate) returned: AtomicU64,
    /// Messages that ended Discarded because the queue was full.
    pub(crate) dropped: AtomicU64,
    /// Messages that were refused because the queue was full.
    pub(crate) rejected: AtomicU64,
    /// Messages whose sender had to wait for room.
    pub(crate) blocked: AtomicU64,
    /// Messages that were let past the limit, because waiting would never have ended.
    pub(crate) over_limit: AtomicU64,
    last_ms: AtomicU64,
    sum_ms: AtomicU64,
    max_ms: AtomicU64,
    waits: Box<[AtomicU64; BUCKETS]>,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            enqueued: AtomicU64::new(0),
            dequeued: AtomicU64::new(0),
            returned: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            blocked: AtomicU64::new(0),
            over_limit: AtomicU64::new(0),
            last_ms: AtomicU64::new(0),
            sum_ms: AtomicU64::new(0),
            max_ms: AtomicU64::new(0),
            waits: Box::new([const { AtomicU64::new(0) }; BUCKETS]),
        }
    }
}

impl Counters {
    /// Counts.
    pub(crate) fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Relaxed);
    }

    /// Counts an entry that leaves after this wait.
    pub(crate) fn left(&self, wait_ms: u64) {
        self.dequeued.fetch_add(1, Relaxed);
        self.last_ms.store(wait_ms, Relaxed);
        self.sum_ms.fetch_add(wait_ms, Relaxed);
        self.max_ms.fetch_max(wait_ms, Relaxed);
        self.waits[bucket(wait_ms)].fetch_add(1, Relaxed);
    }

    /// The figures as they are now.
    pub fn snapshot(&self) -> QueueStats {
        let waits: Vec<u64> = self.waits.iter().map(|count| count.load(Relaxed)).collect();
        let dequeued = self.dequeued.load(Relaxed);
        QueueStats {
            enqueued: self.enqueued.load(Relaxed),
            dequeued,
            returned: self.returned.load(Relaxed),
            dropped: self.dropped.load(Relaxed),
            rejected: self.rejected.load(Relaxed),
            blocked: self.blocked.load(Relaxed),
            over_limit: self.over_limit.load(Relaxed),
            wait_last_ms: self.last_ms.load(Relaxed),
            wait_mean_ms: self.sum_ms.load(Relaxed) / dequeued.max(1),
            wait_sum_ms: self.sum_ms.load(Relaxed),
            wait_max_ms: self.max_ms.load(Relaxed),
            wait_p50_ms: quantile(&waits, 50),
            wait_p99_ms: quantile(&waits, 99),
        }
    }
}

/// What is known of one queue. Times are from the making of a header until a job took it, in
/// milliseconds; they go on over a restart. Quantiles are upper bounds, at most an eighth too high.
#[derive(Clone, Debug, Default, Serialize)]
#[allow(missing_docs)] // as in Counters
pub struct QueueStats {
    pub enqueued: u64,
    pub dequeued: u64,
    pub returned: u64,
    pub dropped: u64,
    pub rejected: u64,
    pub blocked: u64,
    pub over_limit: u64,
    pub wait_last_ms: u64,
    pub wait_mean_ms: u64,
    pub wait_sum_ms: u64,
    pub wait_max_ms: u64,
    pub wait_p50_ms: u64,
    pub wait_p99_ms: u64,
}

/// Up to `2 * STEPS` each value has its own step, then every doubling has `STEPS` of them.
fn bucket(ms: u64) -> usize {
    let steps = STEPS as u64;
    if ms < 2 * steps {
        return ms as usize;
    }
    let shift = ms.ilog2() - steps.ilog2();
    let step = (ms >> shift) as usize - STEPS;
    ((shift as usize + 1) * STEPS + step).min(BUCKETS - 1)
}

/// The greatest value of a step.
fn upper(bucket: usize) -> u64 {
    if bucket < 2 * STEPS {
        return bucket as u64;
    }
    let shift = bucket / STEPS - 1;
    let step = (bucket % STEPS + STEPS) as u64;
    ((step + 1) << shift) - 1
}

fn quantile(waits: &[u64], percent: u64) -> u64 {
    let total: u64 = waits.iter().sum();
    let wanted = (total * percent).div_ceil(100);
    let mut seen = 0;
    let found = waits.iter().position(|count| {
        seen += count;
        wanted > 0 && seen >= wanted
    });
    found.map_or(0, upper)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_holds_its_values_and_is_narrow() {
        for ms in (0..5000).chain([1 << 20, (1 << 30) + 17, u64::MAX >> 26]) {
            let top = upper(bucket(ms));
            assert!(
                top >= ms && top - ms <= ms / 8,
                "{ms} in a step up to {top}"
            );
        }
    }

    #[test]
    fn quantiles_are_of_what_left() {
        let counters = Counters::default();
        (1..=100).for_each(|ms| counters.left(ms));
        let stats = counters.snapshot();
        assert_eq!(
            (stats.dequeued, stats.wait_last_ms, stats.wait_max_ms),
            (100, 100, 100)
        );
        assert_eq!(stats.wait_mean_ms, 50);
        assert!((50..=56).contains(&stats.wait_p50_ms), "{stats:?}");
        assert!((99..=112).contains(&stats.wait_p99_ms), "{stats:?}");
        assert_eq!(Counters::default().snapshot().wait_p99_ms, 0);
    }
}
