//! The disk-full reserve: how much room is left, and whether new messages may come in.
//!
//! Owns the last answer of the file system and its age. Asks it seldom; an append costs one
//! atomic load while there is room.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::{LogError, file::Storage};

pub(crate) struct Space {
    storage: Arc<dyn Storage>,
    dir: PathBuf,
    reserve: u64,
    interval: Duration,
    available: AtomicU64,
    full: AtomicBool,
    asked: Mutex<Option<Instant>>,
}

impl Space {
    pub(crate) fn new(
        storage: Arc<dyn Storage>,
        dir: PathBuf,
        reserve: u64,
        interval: Duration,
    ) -> Self {
        let space = Self {
            storage,
            dir,
            reserve,
            interval,
            available: AtomicU64::new(u64::MAX),
            full: AtomicBool::new(false),
            asked: Mutex::new(None),
        };
        space.refresh();
        space
    }

    /// Asks the file system if the last answer is too old.
    pub(crate) fn refresh(&self) {
        // Whoever finds another asking need not ask too.
        let Some(mut asked) = self.asked.try_lock() else {
            return;
        };
        if asked.is_some_and(|at| at.elapsed() < self.interval) {
            return;
        }
        *asked = Some(Instant::now());
        // A file system that cannot say is believed to have room: a write that fails will tell.
        let Ok(available) = self.storage.available_bytes(&self.dir) else {
            return;
        };
        self.available.store(available, Ordering::Relaxed);
        self.full.store(available < self.reserve, Ordering::Relaxed);
    }

    /// The disk refused room: full whatever it says, until it is asked again.
    pub(crate) fn refused(&self) {
        *self.asked.lock() = Some(Instant::now());
        self.full.store(true, Ordering::Relaxed);
    }

    /// Whether intake must be refused now; asks again while it is, so that it ends by itself.
    pub(crate) fn trouble(&self) -> Option<LogError> {
        if !self.full.load(Ordering::Relaxed) {
            return None;
        }
        self.refresh();
        self.full.load(Ordering::Relaxed).then(|| self.error())
    }

    /// The disk-full condition, whatever the file system says of itself.
    pub(crate) fn error(&self) -> LogError {
        LogError::DiskFull {
            available: self.available.load(Ordering::Relaxed),
            reserve: self.reserve,
        }
    }
}
