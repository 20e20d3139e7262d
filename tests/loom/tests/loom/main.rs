//! Every interleaving of small concurrent pieces, with `loom`.
//!
//! The pieces are taken by path, not as crates: each gets its locks and atomics from `crate::sync`,
//! which is the real one in its own crate and loom's here. So the code that is checked is the code
//! that runs, and nothing else (no runtime, no files) is compiled with it.

mod sync;

/// What [`ticket`] knows of the rest of the journal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Position(pub u64);

/// The same.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LogError {
    /// The log was poisoned.
    #[error("poisoned")]
    Poisoned,
}

#[path = "../../../../crates/journal/src/ticket.rs"]
#[allow(dead_code, unreachable_pub)] // public in its own crate; some of it no model uses
mod ticket;

#[path = "../../../../crates/engine/src/waiters.rs"]
#[allow(dead_code, unreachable_pub)]
mod waiters;

#[path = "../../../../crates/engine/src/queue/room.rs"]
#[allow(dead_code, unreachable_pub)]
mod room;

#[path = "../../../../crates/worker/src/credit.rs"]
#[allow(dead_code, unreachable_pub)]
mod credit;

mod calls;
mod credits;
mod places;
mod watermark;

/// Runs a model through all interleavings in which threads are interrupted at most three times:
/// more finds nothing new in pieces of this size, and takes for ever.
fn explore(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}
