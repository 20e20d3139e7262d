//! The control socket: how commands talk to a running engine (docs/adr/009).
//!
//! A Unix socket in the data folder, for its owner alone; a request is one line of JSON, an answer
//! is rows and a last line. Owns both ends and the words between them.

mod changes;
pub(crate) mod client;
mod handle;
pub(crate) mod protocol;
pub(crate) mod server;
mod waiting;
pub(crate) mod workers;

use std::path::{Path, PathBuf};

/// Where the socket of a data folder stands.
pub(crate) fn socket_path(data: &Path) -> PathBuf {
    data.join("control.sock")
}
