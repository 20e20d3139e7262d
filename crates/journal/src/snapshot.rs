//! Small files that are whole or absent: checkpoints, the log's own notes.
//!
//! Owns a checksummed container ([`SnapshotWriter`], [`SnapshotReader`]) and the order of steps
//! that makes replacing a file atomic: write aside, sync, rename, sync the directory. Knows
//! nothing of what is inside.
//!
//! Layout: a header block (magic, kind, version, checksum), then blocks `{length u32, crc32c u32,
//! bytes}`, then an end block of length 0 whose checksum covers the total length. A reader hands
//! out only bytes whose block has been verified, and fails if the end block is missing.

use std::{
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    file::{OpenMode, Storage, StorageFile, read_full_at, write_all_at},
    frame::{put, u32_at},
};

const MAGIC: &[u8; 8] = b"HIE-SNP\n";
const HEADER: usize = 32;
const KIND_LIMIT: usize = 16;
const BLOCK: usize = 64 << 10;

/// Why a snapshot cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// There is no such file.
    #[error("there is no snapshot")]
    Missing,
    /// The bytes are not what was written.
    #[error("the snapshot is damaged: {0}")]
    Damaged(&'static str),
    /// Written by a newer build.
    #[error("the snapshot is of version {found}, this build reads up to {known}")]
    Newer {
        /// Its version.
        found: u32,
        /// The newest version that the caller knows.
        known: u32,
    },
    /// The medium failed.
    #[error("cannot read the snapshot: {0}")]
    Io(#[from] io::Error),
}

/// Writes a file beside its final place and moves it there, whole and durable, at
/// [`finish`](Self::finish). Dropped before that, it leaves the old file as it was.
pub struct SnapshotWriter {
    storage: Arc<dyn Storage>,
    file: Arc<dyn StorageFile>,
    path: PathBuf,
    aside: PathBuf,
    block: Vec<u8>,
    at: u64,
    total: u64,
    finished: bool,
}

impl SnapshotWriter {
    /// Starts a snapshot that will stand at `path`. `kind` (at most 16 bytes) tells files apart,
    /// `version` the layouts of one kind.
    pub fn create(
        storage: Arc<dyn Storage>,
        path: &Path,
        kind: &str,
        version: u32,
    ) -> io::Result<Self> {
        if kind.len() > KIND_LIMIT {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a snapshot's kind has at most 16 bytes",
            ));
        }
        let mut aside = path.as_os_str().to_owned();
        aside.push(".tmp");
        let aside = PathBuf::from(aside);
        let file = storage.open(&aside, OpenMode::Create)?;
        let mut writer = Self {
            storage,
            file,
            path: path.to_owned(),
            aside,
            block: Vec::with_capacity(BLOCK),
            at: 0,
            total: 0,
            finished: false,
        };
        writer.put_at_end(&header(kind, version))?;
        Ok(writer)
    }

    fn put_at_end(&mut self, bytes: &[u8]) -> io::Result<()> {
        write_all_at(&*self.file, bytes, self.at)?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    fn put_block(&mut self) -> io::Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        let block = std::mem::take(&mut self.block);
        let mut head = [0; 8];
        put(&mut head, 0, &(block.len() as u32).to_le_bytes());
        put(&mut head, 4, &crc32c::crc32c(&block).to_le_bytes());
        self.put_at_end(&head)?;
        self.put_at_end(&block)?;
        self.total += block.len() as u64;
        self.block = block;
        self.block.clear();
        Ok(())
    }

    /// Ends the snapshot: when it returns `Ok` the file is in its place, whole and durable.
    pub fn finish(mut self) -> io::Result<()> {
        self.put_block()?;
        let mut end = [0; 8];
        put(
            &mut end,
            4,
            &crc32c::crc32c(&self.total.to_le_bytes()).to_le_bytes(),
        );
        self.put_at_end(&end)?;
        self.file.fdatasync()?;
        self.storage.rename(&self.aside, &self.path)?;
        self.finished = true;
        match self.path.parent() {
            Some(dir) => self.storage.sync_dir(dir),
            None => Ok(()),
        }
    }
}

impl Write for SnapshotWriter {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = buf.len().min(BLOCK - self.block.len());
        self.block
            .extend_from_slice(buf.get(..n).unwrap_or_default());
        if self.block.len() == BLOCK {
            self.put_block()?;
        }
        Ok(n)
    }

    /// Does nothing: only [`finish`](Self::finish) makes a snapshot, and it makes all of it.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for SnapshotWriter {
    fn drop(&mut self) {
        if !self.finished {
            // The old file still stands; what was written aside is only in the way.
            let _ = self.storage.unlink(&self.aside);
        }
    }
}

fn header(kind: &str, version: u32) -> [u8; HEADER] {
    let mut head = [0; HEADER];
    put(&mut head, 0, MAGIC);
    put(&mut head, 8, kind.as_bytes());
    put(&mut head, 24, &version.to_le_bytes());
    let crc = crc32c::crc32c(head.get(..28).unwrap_or_default());
    put(&mut head, 28, &crc.to_le_bytes());
    head
}

/// Reads a snapshot block by block; every byte it hands out is verified.
pub struct SnapshotReader {
    file: Arc<dyn StorageFile>,
    version: u32,
    at: u64,
    block: Vec<u8>,
    used: usize,
    total: u64,
    ended: bool,
}

impl SnapshotReader {
    /// Opens the snapshot at `path` and verifies that it is of `kind` and not newer than `known`.
    pub fn open(
        storage: &dyn Storage,
        path: &Path,
        kind: &str,
        known: u32,
    ) -> Result<Self, SnapshotError> {
        let file = storage
            .open(path, OpenMode::Read)
            .map_err(|e| match e.kind() {
                io::ErrorKind::NotFound => SnapshotError::Missing,
                _ => SnapshotError::Io(e),
            })?;
        let mut head = [0; HEADER];
        if read_full_at(&*file, &mut head, 0)? < HEADER {
            return Err(SnapshotError::Damaged("its header is cut off"));
        }
        let found = u32_at(&head, 24);
        if head != header(kind, found) {
            return Err(SnapshotError::Damaged(
                "its header is not what was written, or of another kind",
            ));
        }
        if found > known {
            return Err(SnapshotError::Newer { found, known });
        }
        Ok(Self {
            file,
            version: found,
            at: HEADER as u64,
            block: Vec::new(),
            used: 0,
            total: 0,
            ended: false,
        })
    }

    /// The layout version that the writer named.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Reads and verifies the next block; false at the proper end.
    fn next_block(&mut self) -> io::Result<bool> {
        if self.ended {
            return Ok(false);
        }
        let mut head = [0; 8];
        if read_full_at(&*self.file, &mut head, self.at)? < head.len() {
            return Err(damaged("the snapshot is cut off"));
        }
        let (len, crc) = (u32_at(&head, 0) as usize, u32_at(&head, 4));
        if len == 0 {
            self.ended = true;
            let right = crc == crc32c::crc32c(&self.total.to_le_bytes());
            return if right {
                Ok(false)
            } else {
                Err(damaged("the snapshot's length does not match"))
            };
        }
        if len > BLOCK {
            return Err(damaged("a block of the snapshot has no sane length"));
        }
        self.block.resize(len, 0);
        self.used = 0;
        if read_full_at(&*self.file, &mut self.block, self.at + 8)? < len
            || crc32c::crc32c(&self.block) != crc
        {
            self.block.clear();
            return Err(damaged(
                "a block of the snapshot does not match its checksum",
            ));
        }
        self.at += 8 + len as u64;
        self.total += len as u64;
        Ok(true)
    }
}

impl Read for SnapshotReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.used == self.block.len() && !self.next_block()? {
            return Ok(0);
        }
        let ready = self.block.get(self.used..).unwrap_or_default();
        let n = ready.len().min(buf.len());
        put(buf, 0, ready.get(..n).unwrap_or_default());
        self.used += n;
        Ok(n)
    }
}

fn damaged(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Replaces the file at `path` by a snapshot of `payload`, atomically and durably.
pub fn write_atomic(
    storage: &Arc<dyn Storage>,
    path: &Path,
    kind: &str,
    version: u32,
    payload: &[u8],
) -> io::Result<()> {
    let mut writer = SnapshotWriter::create(storage.clone(), path, kind, version)?;
    writer.write_all(payload)?;
    writer.finish()
}

/// Reads a whole snapshot: its version and payload.
pub fn read_all(
    storage: &dyn Storage,
    path: &Path,
    kind: &str,
    known: u32,
) -> Result<(u32, Vec<u8>), SnapshotError> {
    let mut reader = SnapshotReader::open(storage, path, kind, known)?;
    let mut payload = Vec::new();
    reader
        .read_to_end(&mut payload)
        .map_err(|e| match e.kind() {
            io::ErrorKind::InvalidData => {
                SnapshotError::Damaged("its content does not match its checksums")
            }
            _ => SnapshotError::Io(e),
        })?;
    Ok((reader.version(), payload))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::file::OsStorage;

    #[test]
    fn comes_back_and_notices_every_change() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("checkpoint");
        let storage: Arc<dyn Storage> = Arc::new(OsStorage);
        let payload: Vec<u8> = (0..200_000u32).map(|i| i as u8).collect();
        write_atomic(&storage, &path, "test", 3, &payload).unwrap();
        assert_eq!(read_all(&*storage, &path, "test", 3).unwrap(), (3, payload));
        assert!(matches!(
            read_all(&*storage, &path, "test", 2),
            Err(SnapshotError::Newer { found: 3, known: 2 })
        ));
        assert!(matches!(
            read_all(&*storage, &path, "other", 3),
            Err(SnapshotError::Damaged(_))
        ));
        let good = fs::read(&path).unwrap();
        for at in (0..good.len())
            .step_by(997)
            .chain(good.len() - 8..good.len())
        {
            let mut bad = good.clone();
            bad[at] ^= 4;
            fs::write(&path, &bad).unwrap();
            assert!(read_all(&*storage, &path, "test", 3).is_err(), "byte {at}");
            fs::write(&path, &good[..at]).unwrap();
            assert!(
                read_all(&*storage, &path, "test", 3).is_err(),
                "cut at {at}"
            );
        }
    }

    #[test]
    fn an_unfinished_one_leaves_the_old() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("checkpoint");
        let storage: Arc<dyn Storage> = Arc::new(OsStorage);
        write_atomic(&storage, &path, "test", 1, b"old").unwrap();
        let mut writer = SnapshotWriter::create(storage.clone(), &path, "test", 1).unwrap();
        writer.write_all(b"new").unwrap();
        drop(writer);
        assert_eq!(read_all(&*storage, &path, "test", 1).unwrap().1, b"old");
        assert_eq!(storage.list(dir.path()).unwrap(), ["checkpoint"]);
    }
}
