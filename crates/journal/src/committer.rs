//! The committer: the one thread that writes the log.
//!
//! Takes what queued while the last sync ran, writes it as one frame, syncs once, publishes how
//! far the log is durable and wakes all who wait. No timer: the sync itself is the batching
//! window. (Records that nobody waits for linger a little, to ride with those of others.) Owns the current segment's file; decides nothing about positions.
//!
//! *Invariant:* frame n+1 is written only after the sync of frame n returned, so a crash can tear
//! at most the last one, and a valid frame after a bad one proves damage.
//! *Invariant:* no sync is ever repeated: after an error the kernel may call lost pages clean.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::{Condvar, Mutex};

use crate::{
    LogError,
    file::{StorageFile, write_all_at},
    forming::{Forming, InFlight},
    frame::{FrameHeader, seal},
    options::poisoned,
    preparer::{NoSegment, Preparer},
    segment::Place,
    space::Space,
    table::Table,
    ticket::Hurry,
};

/// What the face of the log and its threads share.
pub(crate) struct Shared {
    pub(crate) log_id: u64,
    pub(crate) forming: Mutex<Forming>,
    /// Signalled when there is work for the committer.
    pub(crate) work: Condvar,
    /// Signalled when bytes that waited have left, or never will.
    pub(crate) room: Condvar,
    /// Every frame below it is durable and readable from its segment.
    pub(crate) durable: AtomicU64,
    pub(crate) table: Table,
    pub(crate) preparer: Preparer,
    pub(crate) space: Arc<Space>,
    pub(crate) idle_mark_after: Duration,
    pub(crate) ended: AtomicBool,
}

/// How long records that nobody waits for stay in memory before they are written all the same: not
/// so long that a crash would undo much work, and longer than most syncs take.
const LINGER: Duration = Duration::from_millis(5);

impl Hurry for Shared {
    fn hurry(&self) {
        // Under the lock the committer either sees the mark before it sleeps or hears the bell.
        drop(self.forming.lock());
        self.work.notify_one();
    }
}

impl Shared {
    pub(crate) fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    /// Ends the log for writing: nothing more is taken, all who wait are told.
    fn fail(&self, error: LogError) {
        let mut forming = self.forming.lock();
        forming.poison = Some(error.clone());
        let commits = forming.abandon();
        drop(forming);
        self.room.notify_all();
        commits.iter().for_each(|c| c.complete(Err(error.clone())));
    }
}

/// The committer's hand: the segment it writes and where the last frame ended.
pub(crate) struct Committer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) place: Place,
    pub(crate) file: Arc<dyn StorageFile>,
    /// Where the last frame ended, possibly in an earlier segment.
    pub(crate) last_end: u64,
}

impl Committer {
    /// The thread: ends when the log closes, or at the first error.
    pub(crate) fn run(self) {
        let shared = self.shared.clone();
        // A defect here must not leave anybody waiting for ever.
        if catch_unwind(AssertUnwindSafe(|| self.work())).is_err() {
            shared.fail(LogError::Poisoned("its committer ended by a defect".into()));
        }
        shared.ended.store(true, Ordering::Release);
        shared.preparer.closing();
    }

    fn work(mut self) {
        while let Some(flight) = self.next() {
            if let Err(error) = self.commit(&flight) {
                self.shared.fail(error);
                break;
            }
            self.publish(flight);
        }
    }

    /// Sleeps until there is something to write; after a pause in traffic that is a mark.
    fn next(&self) -> Option<Arc<InFlight>> {
        let mut forming = self.shared.forming.lock();
        loop {
            if forming.is_due() {
                return forming.take();
            }
            if !forming.queue.is_empty() {
                // Nobody waits for it: let it ride with what somebody will wait for.
                let late = self.shared.work.wait_for(&mut forming, LINGER).timed_out();
                if late && let Some(flight) = forming.take() {
                    return Some(flight);
                }
                continue;
            }
            if forming.closing && !forming.unmarked {
                return None;
            }
            if !forming.unmarked {
                forming.shed();
                self.shared.work.wait(&mut forming);
                continue;
            }
            let idle = forming.closing
                || self
                    .shared
                    .work
                    .wait_for(&mut forming, self.shared.idle_mark_after)
                    .timed_out();
            if idle && forming.queue.is_empty() {
                forming.mark();
            }
        }
    }

    fn commit(&mut self, flight: &InFlight) -> Result<(), LogError> {
        let (place, epoch) = {
            let batch = flight.batch.read();
            (batch.place, batch.epoch)
        };
        if place != self.place {
            self.turn_page(place, epoch)?;
        }
        let header = {
            let mut batch = flight.batch.write();
            let header = FrameHeader::new(
                batch.epoch,
                batch.position,
                self.last_end,
                self.shared.durable(),
            );
            seal(&mut batch.buf, self.shared.log_id, header)
        };
        let batch = flight.batch.read();
        write_all_at(&*self.file, &batch.buf, batch.position - place.base)
            .map_err(|e| poisoned("write to it", &e))?;
        self.file.fdatasync().map_err(|e| poisoned("sync it", &e))?;
        self.shared.table.mark(place.base, header.position);
        self.last_end = header.end();
        Ok(())
    }

    fn turn_page(&mut self, place: Place, epoch: u64) -> Result<(), LogError> {
        self.file = self
            .shared
            .preparer
            .take(place, epoch)
            .map_err(|no| match no {
                NoSegment::Full => self.shared.space.error(),
                NoSegment::Failed(e) => poisoned("make the next segment", &e),
            })?;
        self.shared.table.insert(place, &self.file);
        self.place = place;
        Ok(())
    }

    fn publish(&self, flight: Arc<InFlight>) {
        // Readers look at `durable` first and among the waiting second: in this order no record
        // is ever in neither place.
        self.shared.durable.store(self.last_end, Ordering::Release);
        let planned = {
            let mut forming = self.shared.forming.lock();
            forming.landed(&flight);
            forming.planned(self.place)
        };
        self.shared.room.notify_all();
        let commit = flight.commit.clone();
        commit.complete(Ok(()));
        self.recycle(flight);
        self.look_ahead(planned);
    }

    fn recycle(&self, flight: Arc<InFlight>) {
        let batch = Arc::try_unwrap(flight)
            .ok()
            .and_then(|f| Arc::try_unwrap(f.batch).ok());
        if let Some(batch) = batch {
            self.shared.forming.lock().recycle(batch.into_inner().buf);
        }
    }

    /// Asks for the next segment once a quarter of this one is used, and for free space.
    fn look_ahead(&self, planned: Option<Place>) {
        let used = self.last_end.saturating_sub(self.place.base);
        if let Some(place) = planned.filter(|_| used >= self.place.size / 4) {
            self.shared
                .preparer
                .want(place, self.shared.forming.lock().epoch);
        }
        self.shared.space.refresh();
    }
}

/// Keeps an I/O error's text for those who are told later.
pub(crate) fn io_error(error: &io::Error) -> LogError {
    LogError::Io(error.to_string().into())
}
