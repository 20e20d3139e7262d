//! Configuration: one YAML file in, a checked production out, or every error at once.
//!
//! Owns the reading of the file, environment substitution, and the positions of errors. What a
//! setting may be is declared by its class ([`crate::setting`]), never here.

pub mod common;
mod environment;
mod error;
mod hook_keys;
mod hooks;
mod items;
mod keys;
mod lines;
mod links;
mod load;
mod production;
mod reader;
mod reference;
mod rules;
mod schema;
mod settings;
mod substitute;
mod value;
mod yaml;

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use hie_rules::RuleSet;

pub(crate) use error::did_you_mean;
pub use error::render;
pub use keys::{ITEM, PRODUCTION};
pub use load::{FILE_MAX_BYTES, load, parse};
pub use reference::reference;
pub use schema::schema;

use crate::{class::Class, hooks::Hooks, setting::Settings};

/// What `-1` means for the retention of one item: longer than any archive, and small enough that
/// adding it to a time cannot overflow.
pub const FOREVER: Duration = Duration::from_secs(1000 * 366 * 86_400);

/// A production, read and checked: everything in it may be relied on.
#[derive(Debug)]
pub struct ProductionConfig {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// The file it was read from.
    pub file: PathBuf,
    /// Its items, in the order of the file; names are unique.
    pub items: Vec<Arc<ItemConfig>>,
    /// Its rule sets by name, compiled.
    pub rules: BTreeMap<String, Arc<RuleSet>>,
    /// What belongs to the engine as a whole.
    pub engine: EngineConfig,
    /// Where Python classes are found and what runs them.
    pub python: PythonConfig,
    /// The text that it was read from: a worker process reads the same, whatever became of the
    /// file since.
    pub source: Source,
}

/// Where Python classes are found and what runs them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PythonConfig {
    /// The interpreter (`PythonExecutable`).
    pub executable: PathBuf,
    /// Folders that are searched for modules first (`PythonPath`), absolute.
    pub path: Vec<PathBuf>,
}

impl Default for PythonConfig {
    fn default() -> Self {
        Self {
            executable: "python3".into(),
            path: Vec::new(),
        }
    }
}

/// The text of a configuration. It may hold secrets, so `Debug` shows its length only.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Source(pub Arc<str>);

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "<{} bytes>", self.0.len())
    }
}

impl ProductionConfig {
    /// The item of this name.
    pub fn item(&self, name: &str) -> Option<&Arc<ItemConfig>> {
        self.items.iter().find(|item| item.name == name)
    }
}

/// The settings under `production:` that belong to the engine as a whole.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Where the journal, the index and the control socket lie (`DataPath`).
    pub data_path: PathBuf,
    /// Where `/metrics` and `/health` listen (`MetricsAddress`, loopback unless said otherwise);
    /// none: nowhere.
    pub metrics_address: Option<std::net::SocketAddr>,
    /// Whether items start with the production (`AutoStartItems`).
    pub auto_start_items: bool,
    /// Whether a change of the file is taken over by itself (`WatchConfig`).
    pub watch_config: bool,
    /// How long a graceful stop may take before what is in hand is parked (`ShutdownTimeout`).
    pub shutdown_timeout: Duration,
    /// Size of a journal segment in bytes (`JournalSegmentSize`).
    pub journal_segment_bytes: u64,
    /// Bytes on the disk that are kept for finishing what is held (`JournalReserve`).
    pub journal_reserve_bytes: u64,
    /// How long finished messages are kept at least (`RetentionAge`); none: for ever.
    pub retention_age: Option<Duration>,
    /// How many bytes finished messages may take (`RetentionSize`); none: no limit.
    pub retention_bytes: Option<u64>,
    /// Bytes of bodies that queues keep in memory (`BodyCacheSize`).
    pub body_cache_bytes: usize,
}

/// One item, read and checked.
#[derive(Clone, Debug)]
pub struct ItemConfig {
    /// Its name, unique in the production.
    pub name: String,
    /// Its class.
    pub class: &'static Class,
    /// Whether its jobs run. A disabled item keeps its queue, and the queue still accepts.
    pub enabled: bool,
    /// How many jobs work off its queue.
    pub pool_size: u16,
    /// A word to group items by.
    pub category: String,
    /// A remark for people.
    pub comment: String,
    /// Its settings with defaults filled in.
    pub settings: Settings,
    /// How long its finished messages are kept, where it differs from the engine's;
    /// [`FOREVER`] for `-1`.
    pub retention_age: Option<Duration>,
    /// How many bytes its finished messages may take, where it differs from the engine's.
    pub retention_bytes: Option<u64>,
    /// Its message hooks; none: it has none.
    pub hooks: Option<Arc<Hooks>>,
    /// The line of the file where it begins, from 1.
    pub line: usize,
}

impl ItemConfig {
    /// How many worker processes it has; none unless its mode is `multiprocess`.
    pub fn worker_count(&self) -> Option<u16> {
        let multiprocess = self.settings.text("ExecutionMode") == Some("multiprocess");
        let count = self.settings.int("WorkerCount").unwrap_or(1);
        multiprocess.then(|| u16::try_from(count).unwrap_or(1).max(1))
    }

    /// How many jobs work off its queue in all: PoolSize, in each of its worker processes.
    pub fn jobs(&self) -> usize {
        usize::from(self.pool_size) * usize::from(self.worker_count().unwrap_or(1))
    }
}

/// What a class's own check found in an item: a wrong relation between settings.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The setting to point at; none points at the item.
    pub setting: Option<&'static str>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

/// One error of a configuration file, with its place.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ConfigError {
    /// The file as the user named it.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// The item it is in, if any.
    pub item: Option<String>,
    /// The setting it is in, if any.
    pub setting: Option<String>,
    /// What is wrong.
    pub message: String,
    /// What is allowed, or the nearest known name.
    pub help: Option<String>,
}
