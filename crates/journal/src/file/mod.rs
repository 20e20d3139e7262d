//! The file layer: the only door from the log to a file system.
//!
//! Owns a small trait ([`Storage`], [`StorageFile`]), its implementation by the operating system
//! ([`OsStorage`]) and the retry loops for short and interrupted calls. Knows nothing of frames,
//! segments or records. It is a trait so that tests can stand a disk behind it that forgets,
//! tears and lies (`testing::SimStorage`).

use std::{io, path::Path, sync::Arc};

mod os;

pub use os::OsStorage;

/// How a file is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpenMode {
    /// For reading; it must be there.
    Read,
    /// For reading and writing; it must be there.
    ReadWrite,
    /// For reading and writing; made, or emptied if it is there.
    Create,
}

/// What came of asking for an exclusive lock.
pub enum LockOutcome {
    /// Held until the guard is dropped (or the process ends, however it ends).
    Held(Box<dyn Send + Sync>),
    /// Somebody else holds it; their process id if it could be learnt.
    Taken(Option<u32>),
}

/// The file system as the log needs it.
///
/// What a crash keeps: bytes of a file after its [`fdatasync`](StorageFile::fdatasync) returned
/// `Ok`, names in a directory after its [`sync_dir`](Self::sync_dir) returned `Ok`; nothing else.
pub trait Storage: Send + Sync + 'static {
    /// Makes a directory and its parents; content to find it there.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;
    /// Opens a file.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn StorageFile>>;
    /// The names of the files in a directory, unordered.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Renames within one file system, replacing the target.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file's name.
    fn unlink(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Bytes that a process without privileges may still write to the file system of `dir`.
    fn available_bytes(&self, dir: &Path) -> io::Result<u64>;
    /// Takes the exclusive lock at `path` without waiting, and notes our process id in it.
    fn lock_exclusive(&self, path: &Path) -> io::Result<LockOutcome>;
}

/// An open file. All calls take an offset: there is no cursor, so threads may share it.
pub trait StorageFile: Send + Sync {
    /// Reads into `buf`; may be short; 0 means the end of the file.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes from `buf`; may be short.
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize>;
    /// Makes the bytes written so far durable (and the length, if it changed).
    fn fdatasync(&self) -> io::Result<()>;
    /// Reserves blocks so that the file is at least `len` bytes long.
    fn allocate(&self, len: u64) -> io::Result<()>;
    /// The file's length in bytes.
    fn size(&self) -> io::Result<u64>;
}

/// Writes all of `buf`, going on after short and interrupted writes.
pub(crate) fn write_all_at(
    file: &dyn StorageFile,
    mut buf: &[u8],
    mut offset: u64,
) -> io::Result<()> {
    while !buf.is_empty() {
        match file.write_at(buf, offset) {
            Ok(0) => {
                return Err(io::Error::new(
                    io::ErrorKind::WriteZero,
                    "the file takes no more bytes",
                ));
            }
            Ok(n) => {
                buf = buf.get(n..).unwrap_or_default();
                offset += n as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Fills `buf` as far as the file reaches and returns how far that was.
pub(crate) fn read_full_at(
    file: &dyn StorageFile,
    buf: &mut [u8],
    offset: u64,
) -> io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}

/// Fills `buf`; what lies beyond the end of the file reads as zeros, as an unwritten segment does.
pub(crate) fn read_zero_extended(
    file: &dyn StorageFile,
    buf: &mut [u8],
    offset: u64,
) -> io::Result<()> {
    let done = read_full_at(file, buf, offset)?;
    if let Some(rest) = buf.get_mut(done..) {
        rest.fill(0);
    }
    Ok(())
}

/// Whether an error says that the disk (or a quota) is full.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}
