//! Worker processes as the control socket tells of them. Owns the shape of that part alone.

use serde::{Deserialize, Serialize};

/// One worker process.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Worker {
    pub(crate) worker: u16,
    pub(crate) pid: Option<u32>,
    pub(crate) state: String,
    pub(crate) cpu_ms: u64,
    pub(crate) cpu_percent: f64,
    pub(crate) resident_bytes: u64,
    pub(crate) restarts: u64,
    pub(crate) in_flight: u64,
    pub(crate) last_end: Option<String>,
}
