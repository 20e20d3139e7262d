//! The log as it stands on disk, for reading only.
//!
//! For commands on a stopped engine: takes no lock, changes no byte, and ends where recovery
//! would let the log go on. Everything that would write answers that the log is closed.

use std::{path::Path, sync::Arc};

use bytes::Bytes;

use crate::{
    Epoch, Extent, Log, LogError, OpenError, OpenHint, Position, Record, RecoveryReport, Ticket,
    Urgency,
    file::Storage,
    reader::Reader,
    recovery::{Beside, Survey, load_meta},
    table::Table,
};

/// A [`Log`] that can only be read.
pub struct ReadOnlyLog {
    table: Table,
    log_id: u64,
    end: u64,
    report: RecoveryReport,
}

impl ReadOnlyLog {
    /// Opens the log in `dir` over any [`Storage`].
    pub fn open_on(storage: Arc<dyn Storage>, dir: &Path) -> Result<Self, OpenError> {
        let missing = || OpenError::NoJournal(dir.to_owned());
        let meta = load_meta(&*storage, dir)?.ok_or_else(missing)?;
        let mut survey = Survey::take(&*storage, dir, meta, OpenHint::default(), Beside::Writer)?;
        if survey.places.is_empty() {
            return Err(missing());
        }
        survey.places.truncate(survey.tail + 1);
        let (log_id, end, report) = (meta.log_id, survey.end(), survey.report);
        Ok(Self {
            table: Table::new(storage, dir.to_owned(), survey.places),
            log_id,
            end,
            report,
        })
    }

    /// What recovery would find (and, where it names a cut, do).
    pub fn report(&self) -> &RecoveryReport {
        &self.report
    }

    /// Where a scan that met damage can go on; see [`crate::SegmentLog::resume_after`].
    pub fn resume_after(&self, damaged: Position) -> Result<Position, LogError> {
        self.reader()
            .resume_after(damaged.0, self.end)
            .map(Position)
    }

    fn reader(&self) -> Reader<'_> {
        Reader {
            table: &self.table,
            log_id: self.log_id,
        }
    }
}

impl Log for ReadOnlyLog {
    fn append_with(
        &self,
        _epoch: Epoch,
        _urgency: Urgency,
        _len: usize,
        _fill: &mut dyn FnMut(Position, &mut [u8]),
    ) -> Result<Ticket, LogError> {
        Err(LogError::Closed)
    }

    fn read(&self, position: Position) -> Result<Bytes, LogError> {
        if position.0 >= self.end {
            return Err(LogError::NotFound(position));
        }
        self.reader().read(position.0)
    }

    fn scan(
        &self,
        from: Position,
        max_bytes: usize,
        into: &mut Vec<Record>,
    ) -> Result<Position, LogError> {
        self.reader()
            .scan(from.0, self.end, max_bytes, into)
            .map(Position)
    }

    fn trim(&self, _keep_from: Position) -> Result<(), LogError> {
        Err(LogError::Closed)
    }

    fn fence(&self) -> Result<Epoch, LogError> {
        Err(LogError::Closed)
    }

    fn flush(&self) -> Result<(), LogError> {
        Ok(())
    }

    fn extent(&self) -> Extent {
        Extent {
            first: Position(self.table.first()),
            durable: Position(self.end),
            end: Position(self.end),
            bytes: self.table.bytes(),
        }
    }

    fn trim_points(&self) -> Vec<(Position, u64)> {
        self.table
            .places()
            .iter()
            .map(|p| (Position(p.base), p.size))
            .collect()
    }

    fn trouble(&self) -> Option<LogError> {
        None
    }

    fn close(&self) -> Result<(), LogError> {
        Ok(())
    }
}
