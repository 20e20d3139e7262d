//! Queues as the control socket tells of them. Owns the shape of that part alone.

use serde::{Deserialize, Serialize};

/// What waits for an item.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct QueueRow {
    pub(crate) item: String,
    /// The state of the item; empty where no engine runs.
    pub(crate) state: String,
    pub(crate) queued: u64,
    pub(crate) oldest_s: Option<u64>,
    pub(crate) high_water: u64,
    /// `QueueSize`; 0 is no limit.
    pub(crate) limit: u64,
    /// Discarded because the queue was full.
    pub(crate) dropped: u64,
    /// Refused because the queue was full.
    pub(crate) rejected: u64,
    /// Of 100 messages 99 waited no longer, in milliseconds.
    pub(crate) wait_p99_ms: u64,
    /// Set aside for a person.
    pub(crate) suspended: u64,
    /// Ended in Error and still kept.
    pub(crate) errors: u64,
    /// What is tried again now, and why.
    pub(crate) trying: Option<String>,
    /// The configuration does not have this item any more.
    pub(crate) orphaned: bool,
}
