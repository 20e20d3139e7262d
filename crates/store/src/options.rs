//! How a store is opened, and what the opening found.
//!
//! Owns the sizes and limits that an engine may set, and the report of a recovery.

use std::{sync::Arc, time::Duration};

use hie_journal::{Position, RecoveryReport};

use crate::Live;

/// Sizes and limits of a store. The defaults suit a hospital's engine.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Bytes of a full-grown segment of the log; also the grain of retention. Default 64 MiB.
    pub segment_bytes: u64,
    /// Bytes of the file system that the log keeps free for finishing what it holds. Default: as
    /// the journal says (one segment, at least 64 MiB).
    pub reserve_bytes: Option<u64>,
    /// A checkpoint is written after this many bytes of log, or twice the size of the last
    /// checkpoint if that is more. Default 64 MiB.
    pub checkpoint_log_bytes: u64,
    /// How long appends gather before the index follows. Default 30 ms.
    pub index_gather: Duration,
    /// Whether the index is kept. Without it search, trace, retention and purge answer with an
    /// error; the log and the queues do not need it. Default true.
    pub index: bool,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            reserve_bytes: None,
            checkpoint_log_bytes: 64 << 20,
            index_gather: Duration::from_millis(30),
            index: true,
        }
    }
}

/// What a store held when it was opened.
#[derive(Debug)]
pub struct Recovered {
    /// All unfinished headers in the order of the log, which is the FIFO order of each target.
    /// Each is Created, Queued, Suspended or Deferred.
    pub live: Vec<Live>,
    /// All item names that the store knows; an [`ItemId`](crate::ItemId) is the place in here.
    pub names: Vec<Arc<str>>,
    /// How the recovery went.
    pub report: Report,
}

/// How a recovery went, for the operator.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What the checkpoint covered; none where there was none to be used.
    pub checkpoint: Option<Position>,
    /// Why a checkpoint that exists was not used. The log was read from its start instead.
    pub checkpoint_refused: Option<String>,
    /// Records read behind the checkpoint.
    pub tail_records: u64,
    /// Bytes of them.
    pub tail_bytes: u64,
    /// Headers that later records speak of but none explains (only after damage was set aside).
    pub orphans: u64,
    /// What the log itself found, such as a torn tail; none for a log that does not say.
    pub journal: Option<RecoveryReport>,
}
