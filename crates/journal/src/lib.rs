//! The durable log: records in, durable positions out.
//!
//! Owns segments, frames, group commit, recovery and the file layer. Knows nothing of messages:
//! a record is bytes.
//!
//! *Invariant:* only [`file`] touches the file system for the log.
//! *Invariant:* a [`Durable`] token exists only after the sync that covers its record returned.

mod log;
mod ticket;

pub use log::{Epoch, Extent, Log, LogError, Position, Record, Urgency};
pub use ticket::{Durable, Ticket};
