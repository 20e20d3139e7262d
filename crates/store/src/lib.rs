//! What the journal means: messages, headers, sessions, queues to recover, index, search, retention.
//!
//! Owns the record layout, the set of unfinished headers, its checkpoints, and the derived SQLite
//! index. Knows nothing of hosts, of queues in memory, or of the clock (times are given).
//!
//! *Invariant:* every state change of a header is one log record.
//! *Invariant:* no code here assumes that the log is a local file or that positions are dense.

mod checkpoint;
mod error;
mod index;
mod live;
mod model;
mod names;
mod options;
mod reader;
mod record;
mod recover;
mod retention;
mod search;
mod shared;
mod store;
mod tail;

#[cfg(test)]
mod tests;

pub use error::StoreError;
pub use model::*;
pub use options::{Recovered, Report, StoreOptions};
pub use reader::Reader;
pub use retention::{Keep, PurgeReport, PurgeRequest, RetentionPolicy, RetentionReport};
pub use search::{Count, HeaderRow, Page, Query};
pub use store::Store;
