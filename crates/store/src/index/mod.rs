//! The index: a SQLite file that follows the log, for search, trace and statistics.
//!
//! Owns the file, its schema and its one writer. Derived: it may lag, may be deleted, and is
//! rebuilt from the log whenever it is missing, damaged, of another layout, or does not fit the
//! log. It never sits on the way of a message.

mod batch;
mod clean;
mod dict;
mod keys;
mod plan;
mod pool;
mod read;
mod row;
mod write;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use hie_journal::{
    Extent, Position, Record as LogRecord,
    file::{OpenMode, Storage},
};
use rusqlite::{Connection, OpenFlags};

use crate::{StoreError, record};

pub(crate) use clean::Cleared;
pub(crate) use pool::Pool;
pub(crate) use read::View;

/// Raised whenever the schema or its meaning changes: an older file is rebuilt.
const SCHEMA_VERSION: i64 = 4;
const SCHEMA: &str = include_str!("schema.sql");

/// The oldest SQLite whose write-ahead log loses nothing when writers and checkpoints meet.
const SQLITE_MIN: i32 = 3_051_003;

/// Headers in a block, as a power of two.
const BLOCK_SHIFT: u32 = 12;

/// Ids in a stretch of the indexes of keys, as a power of two; the schema says it too.
const STRETCH_SHIFT: u32 = 16;

/// The writing end of the index. Only the tail thread has one.
pub(crate) struct Index {
    conn: Connection,
    dict: dict::Dict,
    watermark: Position,
    purged: Cleared,
}

/// The file of the index in the folder of a store.
pub(crate) fn path(dir: &Path) -> PathBuf {
    dir.join("index.db")
}

impl Index {
    /// Opens the index that belongs to the log, or starts a new one from the oldest record kept.
    pub(crate) fn open(
        storage: &dyn Storage,
        dir: &Path,
        extent: &Extent,
    ) -> Result<Self, StoreError> {
        if rusqlite::version_number() < SQLITE_MIN {
            let found = rusqlite::version();
            return Err(StoreError::Index(
                format!("SQLite {found} is older than 3.51.3").into(),
            ));
        }
        let path = path(dir);
        let boot = boot_id(storage);
        match Self::open_existing(&path, extent, &boot) {
            Ok(Some(index)) => return Ok(index),
            Ok(None) => {}
            Err(reason) => {
                tracing::warn!(%reason, "the index does not fit the journal and is rebuilt from it; messages flow meanwhile, search and trace are not complete until then");
            }
        }
        Self::remove(storage, dir);
        let conn = connect(&path)?;
        conn.execute_batch(SCHEMA)?;
        conn.execute(
            "INSERT INTO watermark VALUES (?1)",
            [to_sql(extent.first.0)],
        )?;
        conn.execute("INSERT INTO opened VALUES (?1, 0)", [&boot])?;
        conn.pragma_update(None, "user_version", SCHEMA_VERSION)?;
        conn.pragma_update(None, "synchronous", "OFF")?;
        Self::over(conn)
    }

    /// Ends its use: all of it on the disk, and then the mark that says so.
    pub(crate) fn close(&self, storage: &dyn Storage, dir: &Path) -> Result<(), StoreError> {
        to_file(&self.conn)?;
        // SQLite syncs only what this call moved; pages that were moved before are not known to it.
        storage
            .open(&path(dir), OpenMode::ReadWrite)
            .and_then(|file| file.fdatasync())
            .map_err(StoreError::io("sync the index in", dir))?;
        self.conn.pragma_update(None, "synchronous", "FULL")?;
        self.conn.execute("UPDATE opened SET clean = 1", [])?;
        to_file(&self.conn)
    }

    /// None for a new store; an error text for an index that must go.
    fn open_existing(path: &Path, extent: &Extent, boot: &str) -> Result<Option<Self>, String> {
        let text = |error: StoreError| error.to_string();
        let conn = connect(path).map_err(text)?;
        let sql = |error: rusqlite::Error| error.to_string();
        let tables = "SELECT count(*) FROM sqlite_schema";
        if conn
            .query_row(tables, [], |row| row.get::<_, i64>(0))
            .map_err(sql)?
            == 0
        {
            return Ok(None);
        }
        let version: i64 = conn
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .map_err(sql)?;
        if version != SCHEMA_VERSION {
            return Err(format!(
                "its layout is {version}, this build has {SCHEMA_VERSION}"
            ));
        }
        if !is_whole(&conn, boot).map_err(sql)? {
            return Err("the machine went down while it was written".into());
        }
        // On the disk before anything else is: from here on only a clean end vouches for the file.
        conn.pragma_update(None, "synchronous", "FULL")
            .map_err(sql)?;
        conn.execute("UPDATE opened SET boot = ?1, clean = 0", [boot])
            .map_err(sql)?;
        to_file(&conn).map_err(text)?;
        conn.pragma_update(None, "synchronous", "OFF")
            .map_err(sql)?;
        let index = Self::over(conn).map_err(text)?;
        if index.watermark < extent.first {
            return Err("records that it has not seen have left the journal".into());
        }
        if index.watermark > extent.end {
            return Err("it is ahead of the journal: they are not of one store".into());
        }
        Ok(Some(index))
    }

    fn over(conn: Connection) -> Result<Self, StoreError> {
        let watermark = conn.query_row("SELECT position FROM watermark", [], |row| {
            row.get::<_, i64>(0)
        })?;
        let dict = dict::Dict::load(&conn)?;
        let watermark = Position(from_sql(watermark));
        Ok(Self {
            conn,
            dict,
            watermark,
            purged: Cleared::default(),
        })
    }

    /// Every record below is in the index.
    pub(crate) fn watermark(&self) -> Position {
        self.watermark
    }

    /// Takes records in, each transaction with its own watermark. After an error the index must be
    /// opened anew.
    pub(crate) fn follow(
        &mut self,
        records: &[LogRecord],
        next: Position,
    ) -> Result<(), StoreError> {
        let mut rest = records;
        while let Some(purge) = rest.iter().position(|found| record::is_purge(&found.bytes)) {
            let (before, here) = rest.split_at(purge);
            let Some((found, behind)) = here.split_first() else {
                break;
            };
            // The watermark stays before the purge until it is done: it may be done twice.
            self.take_in(before, found.position)?;
            if let record::Record::Purged(purged) = decode(found)? {
                self.purged = self.purge(&purged)?;
            }
            rest = behind;
        }
        self.take_in(rest, next)
    }

    fn take_in(&mut self, records: &[LogRecord], next: Position) -> Result<(), StoreError> {
        self.conn.execute_batch("BEGIN IMMEDIATE")?;
        let mut batch = batch::Batch::default();
        for found in records {
            batch.apply(&self.conn, &mut self.dict, found.position, &decode(found)?)?;
        }
        batch.write(&self.conn)?;
        self.conn
            .prepare_cached("UPDATE watermark SET position = ?1")?
            .execute([to_sql(next.0)])?;
        self.conn.execute_batch("COMMIT")?;
        self.watermark = next;
        Ok(())
    }

    /// What the last purge let go.
    pub(crate) fn last_purge(&self) -> Cleared {
        self.purged
    }

    /// Removes the files; what cannot be removed is found when they are made anew.
    pub(crate) fn remove(storage: &dyn Storage, dir: &Path) {
        for suffix in ["", "-wal", "-shm"] {
            let mut name = path(dir).into_os_string();
            name.push(suffix);
            let _ = storage.unlink(Path::new(&name));
        }
    }

    /// Looks things up on the writer's own connection.
    pub(crate) fn view(&self) -> View<'_> {
        View::new(&self.conn)
    }
}

fn decode(found: &LogRecord) -> Result<record::Record<'_>, StoreError> {
    record::decode(found.position, &found.bytes).map_err(StoreError::unreadable(found.position))
}

/// For who only reads: an error where the file may be a mixture that only an engine can replace.
pub(crate) fn check_whole(storage: &dyn Storage, dir: &Path) -> Result<(), StoreError> {
    let Ok(conn) = connect_read_only(&path(dir)) else {
        return Ok(()); // there is none: each question says so
    };
    match is_whole(&conn, &boot_id(storage)) {
        Ok(false) => Err(StoreError::Index(
            "the machine went down while it was written; start the engine once and it is made anew"
                .into(),
        )),
        _ => Ok(()),
    }
}

/// Moves all of the write-ahead log into the file, and syncs both where `synchronous` says so.
fn to_file(conn: &Connection) -> Result<(), StoreError> {
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    Ok(())
}

/// Whether all that was written to the file is in it: it was closed, or only its process died, and
/// the system that had taken the pages is still the same.
fn is_whole(conn: &Connection, boot: &str) -> rusqlite::Result<bool> {
    conn.query_row("SELECT boot, clean FROM opened", [], |row| {
        let (then, clean): (String, bool) = (row.get(0)?, row.get(1)?);
        Ok(clean || (then == boot && !boot.is_empty()))
    })
}

/// What the system calls its present run; empty where it does not say, which never counts as the
/// same.
fn boot_id(storage: &dyn Storage) -> String {
    let mut text = [0; 36];
    let read = storage
        .open(Path::new("/proc/sys/kernel/random/boot_id"), OpenMode::Read)
        .and_then(|file| file.read_at(&mut text, 0));
    match read {
        Ok(36) => String::from_utf8_lossy(&text).into_owned(),
        _ => String::new(),
    }
}

/// Opens the file for its one writer.
///
/// The index is derived, so it never waits for the disk (`synchronous` is OFF while it is written;
/// its syncs were what the log's own had to wait for). A power cut can leave any mixture of its
/// pages: then it is made anew, which [`is_whole`] finds out.
fn connect(path: &Path) -> Result<Connection, StoreError> {
    let conn = Connection::open(path)?;
    conn.set_prepared_statement_cache_capacity(64);
    conn.execute_batch(
        "PRAGMA page_size = 4096;
         PRAGMA journal_mode = WAL;
         PRAGMA cache_size = -8192;
         PRAGMA mmap_size = 0;
         PRAGMA wal_autocheckpoint = 2000;
         PRAGMA journal_size_limit = 16777216;
         PRAGMA temp_store = MEMORY;",
    )?;
    Ok(conn)
}

/// Opens the file for reading only.
fn connect_read_only(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).map_err(|_| no_index())?;
    conn.set_prepared_statement_cache_capacity(32);
    conn.busy_timeout(std::time::Duration::from_secs(5))?;
    conn.execute_batch("PRAGMA cache_size = -2048; PRAGMA mmap_size = 0; PRAGMA query_only = 1;")?;
    Ok(conn)
}

fn no_index() -> StoreError {
    let text =
        "there is none yet; start the engine on this folder and it is built from the journal";
    StoreError::Index(text.into())
}

/// SQLite's integers are signed; ids, times and positions stay below 2^63.
fn to_sql(number: u64) -> i64 {
    number as i64
}

fn from_sql(number: i64) -> u64 {
    number as u64
}
