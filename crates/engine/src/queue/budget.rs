//! Memory for bodies: one budget for all queues.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// How many bytes of bodies all queues together may keep in memory.
#[derive(Debug)]
pub struct BodyBudget {
    used: AtomicUsize,
    limit: usize,
}

impl BodyBudget {
    /// A budget of `limit` bytes.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            used: AtomicUsize::new(0),
            limit,
        })
    }

    /// Takes `bytes` of it, or none. May overshoot by what runs at the same moment.
    pub(crate) fn take(&self, bytes: usize) -> bool {
        if self.used.load(Ordering::Relaxed) + bytes > self.limit {
            return false;
        }
        self.used.fetch_add(bytes, Ordering::Relaxed);
        true
    }

    pub(crate) fn give(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}
