//! The durable log: records in, durable positions out.
//!
//! Owns segments, frames, group commit, recovery and the file layer. Knows nothing of messages:
//! a record is bytes.
//!
//! *Invariant:* only [`file`] touches the file system for the log.
//! *Invariant:* a [`Durable`] token exists only after the sync that covers its record returned.

pub mod file;
pub mod snapshot;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

mod committer;
mod forming;
mod frame;
mod log;
mod memory;
mod mend;
mod meta;
mod options;
mod preparer;
mod reader;
mod readonly;
mod recovery;
mod repair;
mod segment;
mod segment_log;
mod space;
mod sync;
mod table;
mod ticket;
mod verify;

#[cfg(test)]
mod tests;

pub use log::{Epoch, Extent, Log, LogError, Position, Record, Urgency};
pub use memory::MemoryLog;
pub use options::{OpenError, OpenHint, Options, RecoveryReport};
pub use readonly::ReadOnlyLog;
pub use repair::{RepairReport, repair, repair_on};
pub use segment_log::SegmentLog;
pub use ticket::{Durable, Ticket};
pub use verify::{Damage, LogStat, SegmentStat, VerifyReport, stat, stat_on, verify, verify_on};
