//! What can go wrong in the store, with stable codes.
//!
//! Owns the error of every public function here. Never quotes message content.

use std::{path::PathBuf, sync::Arc};

use hie_journal::{LogError, OpenError, Position};

use crate::record::DecodeError;

/// Why the store cannot do what was asked. Each has a stable [`code`](Self::code).
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The log below refused.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The log does not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A record is whole by its checksum but does not read as a record of ours.
    #[error("the record at journal position {position} is not readable: {reason}")]
    Unreadable {
        /// Where.
        position: Position,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The checkpoint says that the log was longer than it is.
    #[error(
        "the journal ends at {end}, but the checkpoint was written at {checkpoint}: the newest part of the journal is missing; restore the journal folder as a whole"
    )]
    LogCutOff {
        /// Where the log ends.
        end: Position,
        /// What the checkpoint covers.
        checkpoint: Position,
    },
    /// A message or step that makes no sense.
    #[error("the store was asked for something impossible: {0}")]
    Invalid(&'static str),
    /// More item names than a store can hold.
    #[error("the store knows 65535 item names already; a new data folder starts anew")]
    TooManyItems,
    /// A file of the store beside the log failed.
    #[error("cannot {action} {}: {reason}", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        reason: Arc<str>,
    },
    /// The index failed; it is derived and can be rebuilt.
    #[error(
        "the index failed: {0}; it is derived from the journal: stop the engine, delete the index files, start again and it is rebuilt"
    )]
    Index(Arc<str>),
    /// The index is not as it was written; it is made anew from the log.
    #[error("the index is damaged: {0}; it is rebuilt from the journal")]
    IndexDamaged(Arc<str>),
    /// The index has not yet caught up with the log, or cannot.
    #[error("the index is behind the journal by {lag_bytes} bytes; wait until it has caught up")]
    IndexBehind {
        /// Bytes of log that it has not seen.
        lag_bytes: u64,
    },
    /// There is no such header.
    #[error("there is no message {0} (it may have left by retention or purge)")]
    NoSuchMessage(crate::MessageId),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// The process that owns the store refused; this one only asked it.
    #[error("{reason}")]
    Elsewhere {
        /// The owner's code.
        code: &'static str,
        /// What the owner said.
        reason: Arc<str>,
    },
}

impl StoreError {
    /// A stable short name for logs, metrics and exit codes.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Log(error) => error.code(),
            Self::Open(error) => error.code(),
            Self::Unreadable { .. } => "record-unreadable",
            Self::LogCutOff { .. } => "journal-cut-off",
            Self::Invalid(_) => "store-misused",
            Self::TooManyItems => "too-many-items",
            Self::Io { .. } => "store-io",
            Self::Index(_) => "index-failed",
            Self::IndexDamaged(_) => "index-damaged",
            Self::IndexBehind { .. } => "index-behind",
            Self::NoSuchMessage(_) => "no-such-message",
            Self::Closed => "store-closed",
            Self::Elsewhere { code, .. } => code,
        }
    }

    /// The log's refusal, where that is the cause.
    pub fn log_error(&self) -> Option<&LogError> {
        match self {
            Self::Log(error) => Some(error),
            _ => None,
        }
    }

    /// What the owner of the store said to a process that asked it.
    pub fn elsewhere(code: &str, reason: &str) -> Self {
        const KNOWN: &[&str] = &[
            "disk-full",
            "journal-closed",
            "item-stopping",
            "journal-poisoned",
            "queue-full",
            "record-too-large",
            "store-closed",
        ];
        let known = KNOWN.iter().find(|known| **known == code);
        Self::Elsewhere {
            code: known.copied().unwrap_or("refused-by-engine"),
            reason: reason.into(),
        }
    }

    pub(crate) fn unreadable(position: Position) -> impl FnOnce(DecodeError) -> Self {
        move |DecodeError(reason)| Self::Unreadable { position, reason }
    }

    pub(crate) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |error| Self::Io {
            action,
            path,
            reason: error.to_string().into(),
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    /// The text of SQLite's errors names tables and conditions, never values.
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode::{ConstraintViolation, DatabaseCorrupt, NotADatabase};
        let text = error.to_string().into();
        match error.sqlite_error_code() {
            // Ids are never used twice, so a violated constraint says that rows are not ours.
            Some(ConstraintViolation | DatabaseCorrupt | NotADatabase) => Self::IndexDamaged(text),
            _ => Self::Index(text),
        }
    }
}
