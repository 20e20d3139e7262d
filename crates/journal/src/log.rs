//! The seam: what the store may ask of any log.
//!
//! A [`Log`] is an append-only sequence of records. Positions are opaque, ordered and not dense;
//! nobody above may assume that the log is a local file, or that there is only one of it. The
//! segment log on the local disk is its first provider, the memory log its second (for tests);
//! one suite runs over both.

use std::{fmt, sync::Arc};

use bytes::Bytes;

use crate::Ticket;

/// A place in a log. Ordered as the records are; says nothing of how far two records are apart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Position(pub u64);

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The right to write: each opening of a log for writing makes a new, higher one, and every
/// writer with an older one fails with [`LogError::Fenced`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Epoch(pub u64);

/// One record as read back.
#[derive(Clone, Debug)]
pub struct Record {
    /// Where it stands.
    pub position: Position,
    /// Its bytes as they were appended.
    pub bytes: Bytes,
}

/// How much of the log is kept and where it ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extent {
    /// The oldest position that may still be read.
    pub first: Position,
    /// Every record below it is durable.
    pub durable: Position,
    /// Where the next record will stand, or later.
    pub end: Position,
    /// Bytes that the log holds on its medium.
    pub bytes: u64,
}

/// Why the log cannot do what was asked. Each has a stable code for scripts and metrics.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LogError {
    /// A write or sync failed once: no further append will ever be accepted by this opening.
    #[error(
        "the journal is poisoned: {0}; stop the engine, repair the disk, start again (every acknowledged message is kept)"
    )]
    Poisoned(Arc<str>),
    /// The reserve was reached: appends that let new messages in are refused, others go on.
    #[error(
        "the disk is full: {available} bytes left, the journal keeps {reserve} in reserve; free space on it, the engine resumes by itself"
    )]
    DiskFull {
        /// Bytes free on the file system.
        available: u64,
        /// Bytes that the journal keeps for finishing what it holds.
        reserve: u64,
    },
    /// Another opening of the same log has taken over.
    #[error("another engine has taken over this journal (epoch {current:?}, ours {ours:?})")]
    Fenced {
        /// The epoch of this writer.
        ours: Epoch,
        /// The epoch that holds the log now.
        current: Epoch,
    },
    /// A record that was durable cannot be read back as it was written.
    #[error(
        "the journal is damaged at {position}: {reason}; `hie journal verify` shows the extent, `hie journal repair` sets the damage aside"
    )]
    Damaged {
        /// Where.
        position: Position,
        /// What was found.
        reason: Arc<str>,
    },
    /// The position is below what is kept, or no record starts there.
    #[error("no record at journal position {0} (it may have left by retention)")]
    NotFound(Position),
    /// One record is larger than the log can hold.
    #[error("a record of {size} bytes is larger than the journal takes ({limit})")]
    TooLarge {
        /// Bytes asked for.
        size: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// The log was closed by a graceful stop.
    #[error("the journal is closed")]
    Closed,
    /// Reading failed in the medium.
    #[error("cannot read the journal: {0}")]
    Io(Arc<str>),
}

impl LogError {
    /// A stable short name for logs, metrics and exit codes.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Poisoned(_) => "journal-poisoned",
            Self::DiskFull { .. } => "disk-full",
            Self::Fenced { .. } => "journal-fenced",
            Self::Damaged { .. } => "journal-damaged",
            Self::NotFound(_) => "journal-not-found",
            Self::TooLarge { .. } => "record-too-large",
            Self::Closed => "journal-closed",
            Self::Io(_) => "journal-io",
        }
    }
}

/// What kind of append this is: only [`Intake`](Urgency::Intake) is refused when the disk runs
/// full, so that what is held can still be finished.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Urgency {
    /// Lets something new in.
    Intake,
    /// Finishes, moves or describes what is already held.
    Progress,
}

/// An append-only log of records with group commit.
///
/// `append` hands the record to the log, fixes its position and returns at once; the record is
/// written and synced with whatever else queued meanwhile. Only the [`Ticket`] tells when it is
/// durable, and only a durable ticket yields the [`Durable`](crate::Durable) token.
pub trait Log: Send + Sync + 'static {
    /// Appends one record of `len` bytes, which `fill` writes (it gets exactly `len` zeroed bytes).
    /// The closure runs under the log's lock: it must only copy. It gets the record's own position.
    fn append_with(
        &self,
        epoch: Epoch,
        urgency: Urgency,
        len: usize,
        fill: &mut dyn FnMut(Position, &mut [u8]),
    ) -> Result<Ticket, LogError>;

    /// Appends one record by copy.
    fn append(&self, epoch: Epoch, urgency: Urgency, record: &[u8]) -> Result<Ticket, LogError> {
        self.append_with(epoch, urgency, record.len(), &mut |_, out| {
            out.copy_from_slice(record)
        })
    }

    /// Reads the record at a position, durable or not, and verifies its checksum.
    fn read(&self, position: Position) -> Result<Bytes, LogError>;

    /// Reads durable records from `from` on (`from` may lie between records) until about
    /// `max_bytes` are collected; an empty answer means that the durable end is reached.
    /// Returns the position to go on from.
    fn scan(
        &self,
        from: Position,
        max_bytes: usize,
        into: &mut Vec<Record>,
    ) -> Result<Position, LogError>;

    /// Lets go of whole records below `keep_from`, as far as the provider can (a segment log:
    /// whole segments). Durable before it returns.
    fn trim(&self, keep_from: Position) -> Result<(), LogError>;

    /// Makes every older writer fail and returns the new right to write.
    fn fence(&self) -> Result<Epoch, LogError>;

    /// Waits (blocking) until everything appended so far is durable.
    fn flush(&self) -> Result<(), LogError>;

    /// What is kept, and how far it is durable.
    fn extent(&self) -> Extent;

    /// The positions at which trimming can cut, oldest first, each with the bytes up to the next
    /// (a segment log: its segments). The last one is still being written and never leaves.
    fn trim_points(&self) -> Vec<(Position, u64)>;

    /// The error that poisoned the log, or the disk-full condition; none while all is well.
    fn trouble(&self) -> Option<LogError>;

    /// Flushes, seals and closes; later appends fail with [`LogError::Closed`].
    fn close(&self) -> Result<(), LogError>;
}
