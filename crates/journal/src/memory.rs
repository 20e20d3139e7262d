//! A log in memory: for tests of what stands above, and the proof that the seam is one.
//!
//! Keeps what a [`Log`] promises, fence and trim included, but survives nothing. Its knobs hold
//! back durability, fail it or fill the disk, so that tests can see what their code does then.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::{Epoch, Extent, Log, LogError, Position, Record, Ticket, Urgency, ticket::Commit};

/// Bytes that a record takes besides its content, so that positions are not dense.
const RECORD_ROOM: u64 = 8;
const FIRST: u64 = 64;

struct State {
    epoch: u64,
    records: BTreeMap<u64, Bytes>,
    first: u64,
    durable: u64,
    end: u64,
    held: bool,
    /// Shared by all that wait since the last release.
    waiting: Arc<Commit>,
    /// Where the trim points stand, the first at `first`.
    points: Vec<u64>,
    poison: Option<LogError>,
    full: Option<LogError>,
    closed: bool,
}

/// A [`Log`] that lives in memory.
pub struct MemoryLog {
    state: Mutex<State>,
    segment_bytes: u64,
    record_limit: usize,
}

impl Default for MemoryLog {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryLog {
    /// An empty log whose records are durable at once.
    pub fn new() -> Self {
        Self::with_limits(64 << 10, 256 << 20)
    }

    /// The same with a grain for trimming and a longest record, in bytes.
    pub fn with_limits(segment_bytes: u64, record_limit: usize) -> Self {
        let state = State {
            epoch: 0,
            records: BTreeMap::new(),
            first: FIRST,
            durable: FIRST,
            end: FIRST,
            held: false,
            waiting: Commit::new(),
            points: vec![FIRST],
            poison: None,
            full: None,
            closed: false,
        };
        Self {
            state: Mutex::new(state),
            segment_bytes,
            record_limit,
        }
    }

    /// Holds durability back: appends are taken, tickets stay pending until [`release`](Self::release).
    pub fn hold(&self) {
        self.state.lock().held = true;
    }

    /// Makes everything appended so far durable, and what follows at once.
    pub fn release(&self) {
        let mut state = self.state.lock();
        state.held = false;
        state.settle(Ok(()));
    }

    /// Fails like a disk: what waits is not durable, nothing more is taken.
    pub fn poison(&self, reason: &str) {
        let mut state = self.state.lock();
        let error = LogError::Poisoned(reason.into());
        state.poison = Some(error.clone());
        state.settle(Err(error));
    }

    /// Refuses intake as if the disk's reserve were reached, or takes it again.
    pub fn set_disk_full(&self, full: bool) {
        self.state.lock().full = full.then_some(LogError::DiskFull {
            available: 0,
            reserve: 64 << 20,
        });
    }
}

impl State {
    fn settle(&mut self, result: Result<(), LogError>) {
        match result {
            Ok(()) => self.durable = self.end,
            Err(_) => {
                self.records.split_off(&self.durable);
                self.end = self.durable;
            }
        }
        std::mem::replace(&mut self.waiting, Commit::new()).complete(result);
    }

    fn admit(&self, epoch: Epoch, urgency: Urgency) -> Result<(), LogError> {
        if self.closed {
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
        match &self.full {
            Some(error) if urgency == Urgency::Intake => Err(error.clone()),
            _ => Ok(()),
        }
    }
}

impl Log for MemoryLog {
    fn append_with(
        &self,
        epoch: Epoch,
        urgency: Urgency,
        len: usize,
        fill: &mut dyn FnMut(Position, &mut [u8]),
    ) -> Result<Ticket, LogError> {
        if len > self.record_limit {
            return Err(LogError::TooLarge {
                size: len,
                limit: self.record_limit,
            });
        }
        let mut state = self.state.lock();
        state.admit(epoch, urgency)?;
        let position = state.end;
        let mut bytes = vec![0; len];
        fill(Position(position), &mut bytes);
        state.records.insert(position, bytes.into());
        state.end += RECORD_ROOM + len as u64;
        if state
            .points
            .last()
            .is_some_and(|last| state.end - last >= self.segment_bytes)
        {
            let end = state.end;
            state.points.push(end);
        }
        let ticket = Ticket::new(Position(position), state.waiting.clone());
        if !state.held {
            state.settle(Ok(()));
        }
        Ok(ticket)
    }

    fn read(&self, position: Position) -> Result<Bytes, LogError> {
        self.state
            .lock()
            .records
            .get(&position.0)
            .cloned()
            .ok_or(LogError::NotFound(position))
    }

    fn scan(
        &self,
        from: Position,
        max_bytes: usize,
        into: &mut Vec<Record>,
    ) -> Result<Position, LogError> {
        let state = self.state.lock();
        let (mut next, mut taken) = (from.0.max(state.first), 0);
        for (position, bytes) in state
            .records
            .range(next..)
            .take_while(|(p, _)| **p < state.durable)
        {
            if taken > 0 && taken + bytes.len() > max_bytes {
                break;
            }
            into.push(Record {
                position: Position(*position),
                bytes: bytes.clone(),
            });
            taken += bytes.len().max(1);
            next = position + RECORD_ROOM + bytes.len() as u64;
        }
        Ok(Position(next))
    }

    fn trim(&self, keep_from: Position) -> Result<(), LogError> {
        let mut state = self.state.lock();
        let cut = keep_from.0.min(state.durable);
        let keep = state.points.iter().rposition(|p| *p <= cut).unwrap_or(0);
        state.points.drain(..keep);
        state.first = state.points.first().copied().unwrap_or(state.first);
        let first = state.first;
        state.records = state.records.split_off(&first);
        Ok(())
    }

    fn fence(&self) -> Result<Epoch, LogError> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(LogError::Closed);
        }
        state.epoch += 1;
        Ok(Epoch(state.epoch))
    }

    fn flush(&self) -> Result<(), LogError> {
        let ticket = {
            let state = self.state.lock();
            if let Some(error) = &state.poison {
                return Err(error.clone());
            }
            if state.durable == state.end {
                return Ok(());
            }
            Ticket::new(Position(state.end), state.waiting.clone())
        };
        ticket.wait_durable().map(drop)
    }

    fn extent(&self) -> Extent {
        let state = self.state.lock();
        Extent {
            first: Position(state.first),
            durable: Position(state.durable),
            end: Position(state.end),
            bytes: state.end - state.first,
        }
    }

    fn trim_points(&self) -> Vec<(Position, u64)> {
        let state = self.state.lock();
        let ends = state.points.iter().skip(1).copied().chain([state.end]);
        state
            .points
            .iter()
            .zip(ends)
            .map(|(from, to)| (Position(*from), to - from))
            .collect()
    }

    fn trouble(&self) -> Option<LogError> {
        let state = self.state.lock();
        state.poison.clone().or_else(|| state.full.clone())
    }

    fn close(&self) -> Result<(), LogError> {
        let mut state = self.state.lock();
        state.closed = true;
        state.held = false;
        match state.poison.clone() {
            Some(error) => Err(error),
            None => {
                state.settle(Ok(()));
                Ok(())
            }
        }
    }
}
