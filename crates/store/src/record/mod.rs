//! The records of the log: what is written, byte for byte (`docs/reference/store-records.md`).
//!
//! Owns the layout, its version, and reading it back without ever panicking. Knows nothing of
//! what follows from a record: that is `live` and `index`.
//!
//! *Invariant:* a record says all names in full, so the log can be read from any kept segment on.

mod decode;
mod encode;
mod wire;

#[cfg(test)]
mod tests;

pub(crate) use decode::{Accepted, DecodeError, Leg, Moved, Purged, Record, Stepped};
pub(crate) use decode::{body_range, decode, is_purge, marks, priority_and_state};
pub(crate) use encode::{AcceptOut, Encode, MovedOut, PurgedOut, StartedOut, StepOut, put_marks};
pub(crate) use wire::{In, Out};

/// The layout that this build writes.
const VERSION: u8 = 1;

const KIND_ACCEPT: u8 = 1;
const KIND_STEP: u8 = 2;
const KIND_MOVED: u8 = 3;
const KIND_STARTED: u8 = 4;
const KIND_PURGED: u8 = 5;

/// Accept: this message repeats another.
const ACCEPT_RESENT: u8 = 1;
/// Accept: its body stands elsewhere in the log.
const ACCEPT_STORED: u8 = 2;

/// Step: the first body is the reply.
const STEP_REPLY: u8 = 1;
/// Step: the header may have been delivered before a crash.
const STEP_DUPLICATE: u8 = 2;
/// Step: what it sends on has passed more than no item; the number follows the legs' common fields.
const STEP_HOPS: u8 = 4;
/// Step: its end reached the caller that waited.
const STEP_ANSWERED: u8 = 8;
/// Step: its end came when nobody waited any more.
const STEP_LATE: u8 = 16;

/// With the content of a header in a checkpoint or a Moved record: it has passed items, and how
/// many follows.
const WITH_HOPS: u8 = 0x40;
/// The same: it may have been delivered before a crash.
const WITH_DUPLICATE: u8 = 0x80;

/// A leg without a body of its own.
const LEG_SAME: u64 = 0;
