//! Connections that read the index, for any thread.
//!
//! Owns how many are kept. Knows nothing of what is asked on them.

use std::path::PathBuf;

use parking_lot::Mutex;
use rusqlite::Connection;

use crate::StoreError;

use super::{connect_read_only, read::View};

/// Connections for reading, made when needed and kept.
pub(crate) struct Pool {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl Pool {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            path,
            idle: Mutex::new(Vec::new()),
        }
    }

    pub(crate) fn with<T>(
        &self,
        ask: impl FnOnce(View<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let idle = self.idle.lock().pop();
        let conn = match idle {
            Some(conn) => conn,
            None => connect_read_only(&self.path)?,
        };
        let answer = ask(View::new(&conn));
        let mut idle = self.idle.lock();
        if answer.is_ok() && idle.len() < 4 {
            idle.push(conn); // one that failed may belong to a file that is gone
        }
        answer
    }

    /// Lets go of all connections: the file was made anew.
    pub(crate) fn clear(&self) {
        self.idle.lock().clear();
    }
}
