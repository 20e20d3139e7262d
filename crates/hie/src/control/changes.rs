//! The words on the control socket that change something, items and configurations, and what the
//! status says of such changes.
//!
//! Owns their JSON form, as [`protocol`](super::protocol) does for the rest.

use hie_engine::item_command::Verb;
use serde::{Deserialize, Serialize};

use super::protocol::WireError;

/// What to do with an item.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ItemVerb {
    Start,
    Stop,
    Restart,
    Enable,
    Disable,
    Pause,
    Resume,
}

impl From<ItemVerb> for Verb {
    fn from(verb: ItemVerb) -> Self {
        match verb {
            ItemVerb::Start => Self::Start,
            ItemVerb::Stop => Self::Stop,
            ItemVerb::Restart => Self::Restart,
            ItemVerb::Enable => Self::Enable,
            ItemVerb::Disable => Self::Disable,
            ItemVerb::Pause => Self::Pause,
            ItemVerb::Resume => Self::Resume,
        }
    }
}

/// What became of one item of [`Request::Item`].
#[derive(Serialize, Deserialize)]
pub(crate) struct Commanded {
    pub(crate) item: String,
    /// The state it is in now; empty where there is no such item.
    pub(crate) state: String,
    pub(crate) note: String,
    pub(crate) error: Option<WireError>,
}

/// The answer to [`Request::Reload`].
#[derive(Serialize, Deserialize)]
pub(crate) struct Reloaded {
    pub(crate) dry_run: bool,
    /// Of the configuration that is in force now.
    pub(crate) generation: u64,
    pub(crate) plan: Plan,
}

/// What a reload changed, or would.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Plan {
    pub(crate) added: Vec<String>,
    pub(crate) removed: Vec<String>,
    /// Stopped and started again.
    pub(crate) changed: Vec<Change>,
    /// Different in words for people or in retention only: untouched.
    pub(crate) noted: Vec<Change>,
    /// Keys of the production.
    pub(crate) production: Vec<String>,
}

/// What is different of an item: names of settings and keys, no values.
#[derive(Serialize, Deserialize)]
pub(crate) struct Change {
    pub(crate) item: String,
    pub(crate) of: Vec<String>,
}

/// Which configuration is in force.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Configuration {
    /// 1 at the start; each change adds one.
    pub(crate) generation: u64,
    pub(crate) since_ms: u64,
    /// Who brought it.
    pub(crate) by: String,
    pub(crate) changes: String,
    /// The last attempt to change it, if it failed.
    pub(crate) refused: Option<RefusedChange>,
}

/// A change that did not happen.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct RefusedChange {
    pub(crate) at_ms: u64,
    pub(crate) by: String,
    pub(crate) reason: String,
}

/// How an item is: `ok`, `degraded` or `failed`, and why.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Health {
    pub(crate) level: String,
    pub(crate) reason: Option<String>,
}

/// What recovery found; of a stopped engine, what the next start would find.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Recovered {
    pub(crate) queued: u64,
    pub(crate) waiting: u64,
    pub(crate) orphaned: u64,
    pub(crate) report: String,
}
