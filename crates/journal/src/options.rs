//! What an opening of the segment log may be told, and what it says when it cannot open.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use crate::{LogError, Position, frame::RECORD_LIMIT};

/// Sizes and limits of a segment log. The defaults suit a hospital's engine.
#[derive(Clone, Debug)]
pub struct Options {
    /// Bytes of a full-grown segment; also the grain of retention. Default 64 MiB.
    pub segment_bytes: u64,
    /// Bytes of the first segment of a new log, small so that the first start is quick; each
    /// next one is four times as large until `segment_bytes`. Default 4 MiB.
    pub first_segment_bytes: u64,
    /// A batch takes no further record beyond this. Default 4 MiB.
    pub batch_bytes: usize,
    /// Bytes that may wait for the disk; beyond it an append waits. Default 64 MiB.
    pub pending_bytes: usize,
    /// The longest record. Default 256 MiB, at most 1 GiB - 1.
    pub record_limit: usize,
    /// Bytes of the file system kept free for finishing what is held: below it appends of
    /// [`Intake`](crate::Urgency::Intake) are refused. Default: one segment, at least 64 MiB.
    pub reserve_bytes: Option<u64>,
    /// How long free space is believed before it is asked again. Default 1 s.
    pub space_check_interval: Duration,
    /// After this long without traffic an empty frame seals the last batch. Default 100 ms.
    pub idle_mark_after: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            first_segment_bytes: 4 << 20,
            batch_bytes: 4 << 20,
            pending_bytes: 64 << 20,
            record_limit: 256 << 20,
            reserve_bytes: None,
            space_check_interval: Duration::from_secs(1),
            idle_mark_after: Duration::from_millis(100),
        }
    }
}

impl Options {
    pub(crate) fn reserve(&self) -> u64 {
        self.reserve_bytes
            .unwrap_or(self.segment_bytes.max(64 << 20))
    }

    /// Rounds and bounds the sizes so that nothing below has to think of absurd ones.
    pub(crate) fn normalised(mut self) -> Self {
        self.segment_bytes = self.segment_bytes.max(16 << 10).next_multiple_of(4096);
        self.first_segment_bytes = self
            .first_segment_bytes
            .clamp(16 << 10, self.segment_bytes)
            .next_multiple_of(4096);
        self.batch_bytes = self.batch_bytes.clamp(1, 256 << 20);
        self.record_limit = self.record_limit.clamp(1, RECORD_LIMIT);
        self
    }
}

/// What the caller knows from elsewhere when it opens a log.
#[derive(Clone, Copy, Default, Debug)]
pub struct OpenHint {
    /// Everything below was seen durable (a checkpoint says so): recovery verifies from here on,
    /// and a log that ends before it is damaged. Without it the last used segment is verified.
    pub verify_from: Option<Position>,
}

/// What recovery found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Where the log ended, and goes on.
    pub end: Position,
    /// Where verification of whole frames began.
    pub verified_from: Position,
    /// Frames verified.
    pub frames: u64,
    /// Records in them.
    pub records: u64,
    /// Where a torn tail that was never acknowledged was cut off.
    pub cut_at: Option<Position>,
    /// Bytes from there to the last one that was not zero.
    pub cut_bytes: u64,
    /// What the first bad bytes of the tail were.
    pub cut_reason: Option<String>,
}

/// Why a log does not open. Each has a stable code for scripts.
#[derive(Clone, Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process (or opening) holds it.
    #[error("the journal in {dir} is locked by another engine{}; stop that one first, or use another data folder", holder_text(.holder))]
    Locked {
        /// The folder.
        dir: PathBuf,
        /// Its process, if known.
        holder: Option<u32>,
    },
    /// Durable bytes are not as they were written; nothing was changed.
    #[error("the journal is damaged at {position} ({}): {reason}; nothing was changed. `hie journal verify` lists the damage, `hie journal repair` sets it aside and keeps the rest", .file.display())]
    Damaged {
        /// Where.
        position: Position,
        /// The file that holds it.
        file: PathBuf,
        /// What was found.
        reason: Arc<str>,
    },
    /// A newer build wrote it; nothing was changed.
    #[error("{} is of format version {found}, this build knows up to {known}; run the newer engine, nothing was changed", .file.display())]
    Newer {
        /// The file.
        file: PathBuf,
        /// Its format version.
        found: u32,
        /// The newest that this build knows.
        known: u32,
    },
    /// There is no log here (only for openings that do not make one).
    #[error("there is no journal in {0}")]
    NoJournal(PathBuf),
    /// The disk has no room for the first segment.
    #[error(
        "the disk of {dir} is full: the journal needs {needed} bytes to start; free space on it and start again"
    )]
    DiskFull {
        /// The folder.
        dir: PathBuf,
        /// Bytes of the segment that was to be made.
        needed: u64,
    },
    /// The medium failed.
    #[error("cannot {action} {}: {reason}", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        reason: Arc<str>,
    },
}

fn holder_text(holder: &Option<u32>) -> String {
    holder.map_or_else(String::new, |pid| format!(" (process {pid})"))
}

impl OpenError {
    /// A stable short name for logs and exit codes.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Locked { .. } => "journal-locked",
            Self::Damaged { .. } => "journal-damaged",
            Self::Newer { .. } => "journal-newer",
            Self::NoJournal(_) => "journal-missing",
            Self::DiskFull { .. } => "disk-full",
            Self::Io { .. } => "journal-io",
        }
    }

    pub(crate) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |e| Self::Io {
            action,
            path,
            reason: e.to_string().into(),
        }
    }
}

pub(crate) fn poisoned(action: &str, error: &io::Error) -> LogError {
    LogError::Poisoned(format!("cannot {action}: {error}").into())
}
