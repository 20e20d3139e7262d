//! Forming batches: where appends put their bytes while the disk is busy with earlier ones.
//!
//! Owns the assignment of positions, the queue of batches not yet durable and the pool of their
//! buffers. Everything here runs under one short lock and only copies; it does no I/O and knows
//! no thread.

use std::{
    collections::VecDeque,
    sync::{Arc, Weak},
};

use bytes::Bytes;
use parking_lot::RwLock;

use crate::{
    Epoch, LogError, Position, Ticket,
    frame::{
        FRAME_HEADER, RECORD_HEADER, align, open_record, parse_record_header, put, record_crc,
    },
    segment::{Place, SEGMENT_HEADER},
    ticket::{Commit, Hurry},
};

/// Buffers kept for the next batches; more would only hold memory.
const POOL: usize = 2;

/// Records that will be written and synced together, as they will stand on disk.
pub(crate) struct Batch {
    /// The segment that takes it.
    pub(crate) place: Place,
    /// The address of its frame.
    pub(crate) position: u64,
    pub(crate) epoch: u64,
    /// Header room, then records.
    pub(crate) buf: Vec<u8>,
    pub(crate) records: u32,
    pub(crate) commit: Arc<Commit>,
    /// Bytes that count as filled; more are there only after a `fill` that panicked.
    used: usize,
}

impl Batch {
    fn contains(&self, position: u64) -> bool {
        position >= self.position && position - self.position < self.used as u64
    }

    /// The record that was appended at a position, if one starts there.
    pub(crate) fn record(&self, log_id: u64, position: u64) -> Option<Bytes> {
        let at = usize::try_from(position.checked_sub(self.position)?).ok()?;
        let head = self.buf.get(at..at.checked_add(RECORD_HEADER)?)?;
        let (len, skipped, crc) = parse_record_header(head);
        let content = self.buf.get(at + RECORD_HEADER..)?.get(..len)?;
        let starts_here = crc == provisional_crc(position)
            || crc == record_crc(log_id, position, skipped, content);
        starts_here.then(|| Bytes::copy_from_slice(content))
    }

    /// Cuts off what a panicking `fill` may have left.
    pub(crate) fn settle(&mut self) {
        self.buf.truncate(self.used);
    }
}

/// Stands in a record's checksum field until the committer fills it in, so that a read at an
/// address where no record starts does not return garbage.
fn provisional_crc(position: u64) -> u32 {
    (position as u32) ^ 0x5bd1_e995
}

/// The batch that the committer writes now; readers may still look into it.
pub(crate) struct InFlight {
    range: std::ops::Range<u64>,
    pub(crate) bytes: usize,
    pub(crate) batch: Arc<RwLock<Batch>>,
    pub(crate) commit: Arc<Commit>,
}

/// Limits of batches and of what may wait.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) segment_bytes: u64,
    pub(crate) batch_bytes: usize,
    pub(crate) pending_bytes: usize,
}

/// What is appended and not yet durable, and why nothing more may be.
pub(crate) struct Forming {
    limits: Limits,
    /// Who is told when somebody waits for a batch.
    committer: Weak<dyn Hurry>,
    /// The epoch that may append; 0 before the first fence.
    pub(crate) epoch: u64,
    pub(crate) queue: VecDeque<Batch>,
    pub(crate) in_flight: Option<Arc<InFlight>>,
    /// The segment that takes the next frame.
    place: Place,
    /// The size planned for the segment after it.
    next_bytes: u64,
    /// The address of the next frame, if the segment holds it.
    end: u64,
    /// Bytes that wait or are being written.
    pub(crate) pending: usize,
    pool: Vec<Vec<u8>>,
    pub(crate) poison: Option<LogError>,
    pub(crate) closing: bool,
    /// Records were written since the last idle mark.
    pub(crate) unmarked: bool,
}

impl Forming {
    pub(crate) fn new(
        limits: Limits,
        committer: Weak<dyn Hurry>,
        place: Place,
        end: u64,
        spare: Option<Place>,
    ) -> Self {
        let next_bytes = spare.map_or(grown(place.size, limits), |s| s.size);
        Self {
            limits,
            committer,
            epoch: 0,
            queue: VecDeque::new(),
            in_flight: None,
            place,
            next_bytes,
            end,
            pending: 0,
            pool: Vec::new(),
            poison: None,
            closing: false,
            unmarked: false,
        }
    }

    /// Whether this writer may append at all.
    pub(crate) fn admit(&self, epoch: Epoch) -> Result<(), LogError> {
        if self.closing {
            return Err(LogError::Closed);
        }
        if let Some(error) = &self.poison {
            return Err(error.clone());
        }
        if epoch.0 != self.epoch || epoch.0 == 0 {
            return Err(LogError::Fenced {
                ours: epoch,
                current: Epoch(self.epoch),
            });
        }
        Ok(())
    }

    /// Whether a record of `len` bytes may wait too. A lone one always may, whatever its size.
    pub(crate) fn has_room(&self, len: usize) -> bool {
        self.pending == 0 || self.pending.saturating_add(len) <= self.limits.pending_bytes
    }

    /// Puts one record into the batch that forms.
    pub(crate) fn append(
        &mut self,
        len: usize,
        fill: &mut dyn FnMut(Position, &mut [u8]),
    ) -> Ticket {
        let need = RECORD_HEADER + len;
        if !self.fits(need) {
            self.begin(need);
        }
        let Some(batch) = self.queue.back_mut() else {
            unreachable!("a batch was just begun")
        };
        batch.settle();
        let position = batch.position + batch.used as u64;
        open_record(&mut batch.buf, len, false);
        put(
            &mut batch.buf,
            batch.used + 4,
            &provisional_crc(position).to_le_bytes(),
        );
        batch.buf.resize(batch.used + need, 0);
        let from = batch.used + RECORD_HEADER;
        fill(
            Position(position),
            batch.buf.get_mut(from..).unwrap_or_default(),
        );
        batch.used += need;
        batch.records += 1;
        self.end = batch.position + align(batch.used as u64);
        self.pending += need;
        Ticket::new(Position(position), batch.commit.clone())
    }

    fn fits(&self, need: usize) -> bool {
        self.queue.back().is_some_and(|batch| {
            batch.epoch == self.epoch
                && batch.used + need <= self.limits.batch_bytes
                && batch.position + align((batch.used + need) as u64) <= batch.place.end()
        })
    }

    /// Begins a batch that can hold a payload of `need` bytes, in the next segment if it must.
    fn begin(&mut self, need: usize) {
        let span = align((FRAME_HEADER + need) as u64);
        if self.end + span > self.place.end() {
            let size = self
                .next_bytes
                .max((SEGMENT_HEADER + span).next_multiple_of(SEGMENT_HEADER));
            self.place = Place {
                base: self.place.end(),
                size,
            };
            self.end = self.place.first_frame();
            self.next_bytes = grown(size, self.limits);
        }
        let mut buf = self.pool.pop().unwrap_or_default();
        buf.clear();
        buf.resize(FRAME_HEADER, 0);
        self.queue.push_back(Batch {
            place: self.place,
            position: self.end,
            epoch: self.epoch,
            buf,
            records: 0,
            commit: Commit::patient(self.committer.clone()),
            used: FRAME_HEADER,
        });
    }

    /// Says that somebody will wait for what was appended last; whether the committer must be
    /// woken for it: for the first who waits, and for the first record of a batch, whose time to
    /// linger begins.
    pub(crate) fn expect(&self, waits: bool) -> bool {
        let Some(batch) = self.queue.back() else {
            return false;
        };
        (waits && batch.commit.expect()) || batch.records == 1
    }

    /// Whether the oldest batch should be written now: somebody waits for it, or more wait behind
    /// it, or no more will come.
    pub(crate) fn is_due(&self) -> bool {
        let more = self.queue.len() > 1 || self.closing;
        let due = |batch: &Batch| more || batch.commit.is_hurried();
        self.queue.front().is_some_and(due)
    }

    /// An empty frame, which repeats how far the log is durable.
    pub(crate) fn mark(&mut self) {
        self.begin(0);
        if let Some(batch) = self.queue.back() {
            batch.commit.expect();
        }
        self.end += align(FRAME_HEADER as u64);
    }

    /// Hands the oldest batch to the committer; it stays readable until [`landed`](Self::landed).
    pub(crate) fn take(&mut self) -> Option<Arc<InFlight>> {
        let mut batch = self.queue.pop_front()?;
        batch.settle();
        let range = batch.position..batch.position + batch.used as u64;
        let commit = batch.commit.clone();
        let bytes = batch.used - FRAME_HEADER;
        let flight = Arc::new(InFlight {
            range,
            bytes,
            batch: Arc::new(RwLock::new(batch)),
            commit,
        });
        self.in_flight = Some(flight.clone());
        Some(flight)
    }

    /// The batch in flight is durable: its bytes are read from the segment from now on.
    pub(crate) fn landed(&mut self, flight: &InFlight) {
        self.in_flight = None;
        self.pending = self.pending.saturating_sub(flight.bytes);
        self.unmarked = flight.bytes > 0;
    }

    /// Keeps a buffer for a later batch, unless it grew beyond the common size.
    pub(crate) fn recycle(&mut self, buf: Vec<u8>) {
        if self.pool.len() < POOL && buf.capacity() <= 2 * self.limits.batch_bytes {
            self.pool.push(buf);
        }
    }

    /// Gives the pool's memory back; called when traffic pauses.
    pub(crate) fn shed(&mut self) {
        self.pool = Vec::new();
    }

    /// Gives up all that waits and returns whom to tell.
    pub(crate) fn abandon(&mut self) -> Vec<Arc<Commit>> {
        let flying = self.in_flight.take().map(|f| f.commit.clone());
        self.pending = 0;
        flying
            .into_iter()
            .chain(self.queue.drain(..).map(|b| b.commit))
            .collect()
    }

    /// The commit that covers everything appended so far, if something is not durable.
    pub(crate) fn last_commit(&self) -> Option<Arc<Commit>> {
        let flying = || self.in_flight.as_ref().map(|f| f.commit.clone());
        self.queue.back().map(|b| b.commit.clone()).or_else(flying)
    }

    /// Where the next record will stand, or later.
    pub(crate) fn end(&self) -> u64 {
        match self.queue.back() {
            Some(batch) => batch.position + batch.used as u64,
            None => self.end,
        }
    }

    /// Looks a record up among what waits. The outer `None`: it does not wait (any more).
    pub(crate) fn find(&self, log_id: u64, position: u64) -> Option<Found> {
        if let Some(flight) = self
            .in_flight
            .as_ref()
            .filter(|f| f.range.contains(&position))
        {
            return Some(Found::Flying(flight.batch.clone()));
        }
        let batch = self.queue.iter().find(|b| b.contains(position))?;
        Some(Found::Waiting(batch.record(log_id, position)))
    }

    /// The segment that will follow the one the committer writes, if appends have not decided
    /// on it yet.
    pub(crate) fn planned(&self, current: Place) -> Option<Place> {
        (self.place == current).then_some(Place {
            base: current.end(),
            size: self.next_bytes,
        })
    }
}

/// Where a record that is not known to be durable was found.
pub(crate) enum Found {
    /// In a batch that waits: the record, if one starts there.
    Waiting(Option<Bytes>),
    /// In the batch that is being written: look there without the log's lock.
    Flying(Arc<RwLock<Batch>>),
}

fn grown(size: u64, limits: Limits) -> u64 {
    size.saturating_mul(4).min(limits.segment_bytes)
}
