//! Message hooks: what is done before a message is processed, after it, and when it fails.
//!
//! Owns the order of the hooks, what a failing hook means, and the two layers: those of the
//! configuration (the outer layer, [`Hooks`]) and those of the host's class (the inner one, methods
//! of the host traits and [`ServiceHooks`]). How a hook is written in the file is `config::hooks`';
//! what becomes of a message is decided and recorded by the job and the service context. ADR 023
//! says why they are as they are.

mod compiled;
mod defaults;
mod job;
mod own;
mod service;

#[cfg(test)]
mod tests;

pub(crate) use compiled::{AfterHook, BeforeHook, ErrorHook, REPLY_CODES};
pub use compiled::{Hooks, OUTCOME_WORDS};
pub(crate) use defaults::message_hooks;
#[doc(hidden)]
pub use defaults::{AsItIs, GoOn};
pub(crate) use job::Around;
pub use own::{Handled, Own, handle};
pub(crate) use service::{Door, Kept};
pub use service::{NotAccepted, Rejected, ServiceHooks};

/// What a hook decides before a message is processed. A changed body is changed in place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Before {
    /// Go on.
    Go,
    /// Go on, and note this word in the trace. Never message content.
    Tag(String),
    /// Do not process it: it ends in state Error with this reason, and a sender who waits is
    /// answered negatively with it. Never message content.
    Reject(String),
}

/// How the reason of a rejected message begins. Who answers its sender knows a rejection by this,
/// because the reason is all that the journal keeps of it.
const REJECTED: &str = "rejected by on_before_process: ";
/// The same of a host that rejects while it processes (`Reject` in Python).
const REJECTED_LATER: &str = "rejected: ";

/// The reason to give to the sender, if this is the reason of a message that was rejected.
pub fn rejection(reason: &str) -> Option<&str> {
    let later = || reason.strip_prefix(REJECTED_LATER);
    reason.strip_prefix(REJECTED).or_else(later)
}

/// The reason of a message that fails because this item rejected what it sent; none if that is not
/// why. Who waits for the message learns it too.
pub(crate) fn passed_on(reason: &str, by: &str) -> Option<String> {
    Some(rejected(&format!("{} (by {by})", rejection(reason)?)))
}

fn rejected(reason: &str) -> String {
    format!("{REJECTED}{reason}")
}

/// Adds a remark to a note.
fn remark(note: &mut String, text: &str) {
    if !note.is_empty() && !text.is_empty() {
        note.push_str("; ");
    }
    note.push_str(text);
}

/// Whether a body is the same as before: nearly always it is not only equal but the same bytes.
fn same(one: &bytes::Bytes, other: &bytes::Bytes) -> bool {
    (one.as_ptr() == other.as_ptr() && one.len() == other.len()) || one == other
}
