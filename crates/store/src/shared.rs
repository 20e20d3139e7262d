//! What the callers' threads and the tail thread share.
//!
//! Owns the bell that wakes the tail thread, the counter of ids and the table of moved bodies.
//! Nothing here does I/O while it holds a lock.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use hie_journal::{Epoch, Log, Position};
use parking_lot::{Condvar, Mutex, RwLock};

use crate::{BodyRef, StoreError, index::Pool, live::Redirects, names::Names};

/// Work for the tail thread, run between two batches.
pub(crate) type Job = Box<dyn FnOnce(&mut crate::tail::Tail) + Send>;

pub(crate) struct Shared {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) epoch: Epoch,
    pub(crate) names: Names,
    pub(crate) next_id: AtomicU64,
    pub(crate) bell: Bell,
    pub(crate) moved: MovedBodies,
    /// Bodies below may leave at any time: whoever wants to refer to one copies it. Held for
    /// reading over such an append.
    pub(crate) floor: RwLock<Position>,
    pub(crate) index: IndexStatus,
    /// Connections that read the index.
    pub(crate) pool: Pool,
}

impl Shared {
    pub(crate) fn new(
        log: Arc<dyn Log>,
        epoch: Epoch,
        names: Names,
        next_id: u64,
        pool: Pool,
    ) -> Self {
        Self {
            log,
            epoch,
            names,
            next_id: AtomicU64::new(next_id),
            bell: Bell::default(),
            moved: MovedBodies::default(),
            floor: RwLock::new(Position(0)),
            index: IndexStatus::default(),
            pool,
        }
    }

    /// About how many bytes of log the index has not seen.
    pub(crate) fn index_lag_bytes(&self) -> u64 {
        bytes_between(&*self.log, self.index.watermark())
    }
}

/// About how many bytes of durable log lie at and behind a position. Positions need not be dense,
/// so a part of a stretch between two trim points is taken as the same part of its bytes.
pub(crate) fn bytes_between(log: &dyn Log, from: Position) -> u64 {
    let durable = log.extent().durable;
    let mut next = Vec::new();
    // A log may go on behind its last record (padding, seals): only records count.
    if from >= durable || log.scan(from, 1, &mut next).is_ok_and(|_| next.is_empty()) {
        return 0;
    }
    let points = log.trim_points();
    let ends = points.iter().skip(1).map(|(end, _)| *end).chain([durable]);
    let part = |(&(begin, bytes), end): (&(Position, u64), Position)| {
        let (whole, left) = (end.0.saturating_sub(begin.0), end.0.saturating_sub(from.0));
        let share = u128::from(left.min(whole)) * u128::from(bytes);
        u64::try_from(share / u128::from(whole.max(1))).unwrap_or(bytes)
    };
    points.iter().zip(ends).map(part).sum()
}

/// How far the index is.
#[derive(Default)]
pub(crate) struct IndexStatus {
    watermark: AtomicU64,
    trouble: RwLock<Option<StoreError>>,
}

impl IndexStatus {
    pub(crate) fn watermark(&self) -> Position {
        Position(self.watermark.load(Ordering::Acquire))
    }

    pub(crate) fn set_watermark(&self, position: Position) {
        self.watermark.store(position.0, Ordering::Release);
    }

    pub(crate) fn trouble(&self) -> Option<StoreError> {
        self.trouble.read().clone()
    }

    pub(crate) fn set_trouble(&self, trouble: Option<StoreError>) {
        *self.trouble.write() = trouble;
    }
}

/// Bodies that were copied forward since the store opened; empty nearly always, and then free.
#[derive(Default)]
pub(crate) struct MovedBodies {
    any: AtomicBool,
    table: RwLock<Redirects>,
}

impl MovedBodies {
    pub(crate) fn resolve(&self, body: BodyRef) -> BodyRef {
        if !self.any.load(Ordering::Acquire) {
            return body;
        }
        self.table.read().resolve(body)
    }

    pub(crate) fn all(&self) -> Redirects {
        self.table.read().clone()
    }

    pub(crate) fn insert(&self, old: BodyRef, new: BodyRef) {
        self.table.write().insert(old, new);
        self.any.store(true, Ordering::Release);
    }
}

#[derive(Default)]
struct Waiting {
    stop: bool,
    jobs: VecDeque<Job>,
}

/// Wakes the tail thread: once a batch, not once an append, and never while nothing happens.
#[derive(Default)]
pub(crate) struct Bell {
    rung: AtomicBool,
    /// The newest position that was appended.
    newest: AtomicU64,
    waiting: Mutex<Waiting>,
    woken: Condvar,
}

impl Bell {
    /// A record was appended at `position`.
    pub(crate) fn ring(&self, position: Position) {
        self.newest.fetch_max(position.0, Ordering::AcqRel);
        if !self.rung.swap(true, Ordering::AcqRel) {
            // Under the lock, or the sleeper could look just before and sleep just after.
            let _waiting = self.waiting.lock();
            self.woken.notify_one();
        }
    }

    pub(crate) fn newest(&self) -> Position {
        Position(self.newest.load(Ordering::Acquire))
    }

    /// Hands the tail thread a job; one that has stopped drops it.
    pub(crate) fn send(&self, job: Job) {
        let mut waiting = self.waiting.lock();
        if !waiting.stop {
            waiting.jobs.push_back(job);
            self.woken.notify_one();
        }
    }

    pub(crate) fn stop(&self) {
        let mut waiting = self.waiting.lock();
        waiting.stop = true;
        waiting.jobs.clear();
        self.woken.notify_one();
    }

    pub(crate) fn stopping(&self) -> bool {
        self.waiting.lock().stop
    }

    /// Whether a job or the end waits.
    pub(crate) fn somebody_waits(&self) -> bool {
        let waiting = self.waiting.lock();
        waiting.stop || !waiting.jobs.is_empty()
    }

    pub(crate) fn next_job(&self) -> Option<Job> {
        self.waiting.lock().jobs.pop_front()
    }

    /// Sleeps until something was appended, a job came, or the end; then lets appends gather for
    /// `gather` unless somebody waits. With `again` it sleeps no longer than that before it looks
    /// again by itself.
    pub(crate) fn wait(&self, gather: Duration, again: Option<Duration>) {
        let mut waiting = self.waiting.lock();
        let urgent = |waiting: &Waiting| waiting.stop || !waiting.jobs.is_empty();
        while !urgent(&waiting) && !self.rung.load(Ordering::Acquire) {
            match again {
                None => self.woken.wait(&mut waiting),
                Some(again) => {
                    if self.woken.wait_for(&mut waiting, again).timed_out() {
                        break;
                    }
                }
            }
        }
        while !urgent(&waiting) && !self.woken.wait_for(&mut waiting, gather).timed_out() {}
        self.rung.store(false, Ordering::Release);
    }
}
