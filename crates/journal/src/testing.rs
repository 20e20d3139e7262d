//! A disk that forgets, tears and lies: [`SimStorage`], for tests of the log and of what stands
//! on it.
//!
//! Owns two states of every file and name: what programs see, and what a power cut leaves. Until
//! it is synced each 512-byte sector and each name is kept or lost on its own. All chance comes
//! from a seed, so the same seed is the same run.
//!
//! length: disk, process and file share one private state, and tests read better with one place to
//! look.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;

use crate::file::{LockOutcome, OpenMode, Storage, StorageFile};

const SECTOR: usize = 512;

/// Which faults the disk has; none by default.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Bytes that files may hold together; more is refused as on a full disk.
    pub capacity: Option<u64>,
    /// Reads and writes are cut short, and interrupted, at random.
    pub choppy: bool,
    /// The n-th sync of a file from now fails (0: the next), once.
    pub fail_sync_in: Option<u64>,
    /// The n-th write from now fails (0: the next), once.
    pub fail_write_in: Option<u64>,
    /// The n-th changing call from now does not return properly, nor does any later one: the
    /// moment of a power cut.
    pub dies_in: Option<u64>,
    /// Bytes of one file that cannot be read.
    pub unreadable: Option<(PathBuf, std::ops::Range<u64>)>,
}

#[derive(Default, Clone)]
struct Inode {
    seen: Vec<u8>,
    kept: Vec<u8>,
    dirty: BTreeSet<usize>,
}

#[derive(Default)]
struct Disk {
    inodes: Vec<Inode>,
    seen: BTreeMap<PathBuf, usize>,
    kept: BTreeMap<PathBuf, usize>,
    locks: BTreeSet<PathBuf>,
    faults: Faults,
    generation: u64,
    dead: bool,
    syncs: u64,
    calls: u64,
    random: u64,
}

/// A simulated disk; clones share it. A log gets the [`Storage`] of one simulated process from
/// [`process`](Self::process), which ends with the next [`crash`](Self::crash) or
/// [`kill`](Self::kill): threads that outlive it reach nothing.
#[derive(Clone)]
pub struct SimStorage(Arc<Mutex<Disk>>);

struct Process {
    disk: Arc<Mutex<Disk>>,
    generation: u64,
}

struct SimFile {
    disk: Arc<Mutex<Disk>>,
    inode: usize,
    generation: u64,
}

fn eio(what: &str) -> io::Error {
    io::Error::other(format!("simulated: {what}"))
}

fn full() -> io::Error {
    io::Error::new(
        io::ErrorKind::StorageFull,
        "simulated: no space left on device",
    )
}

impl Disk {
    /// xorshift64*: enough to vary tests, and no dependency.
    fn random(&mut self) -> u64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        self.random.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.random().is_multiple_of(n)
    }

    fn used(&self) -> u64 {
        self.seen
            .values()
            .filter_map(|i| self.inodes.get(*i))
            .map(|i| i.seen.len() as u64)
            .sum()
    }

    /// Counts a changing call; after the fatal one nothing answers.
    fn change(&mut self) -> io::Result<()> {
        self.calls += 1;
        self.dead |= due(&mut self.faults.dies_in);
        self.alive()
    }

    fn alive(&self) -> io::Result<()> {
        if self.dead {
            Err(eio("the power is off"))
        } else {
            Ok(())
        }
    }

    fn inode(&mut self, index: usize) -> io::Result<&mut Inode> {
        self.inodes
            .get_mut(index)
            .ok_or_else(|| eio("no such file"))
    }

    fn survive(&mut self) {
        for index in 0..self.inodes.len() {
            let Some(mut inode) = self.inodes.get(index).cloned() else {
                continue;
            };
            if inode.seen.len() > inode.kept.len() && self.one_in(2) {
                inode.kept.resize(inode.seen.len(), 0);
            }
            for sector in std::mem::take(&mut inode.dirty) {
                if self.one_in(2) {
                    inode.keep(sector);
                }
            }
            inode.seen = inode.kept.clone();
            if let Some(slot) = self.inodes.get_mut(index) {
                *slot = inode;
            }
        }
        let paths: BTreeSet<_> = self.seen.keys().chain(self.kept.keys()).cloned().collect();
        for path in paths {
            let (seen, kept) = (self.seen.get(&path).copied(), self.kept.get(&path).copied());
            let left = if self.one_in(2) { seen } else { kept };
            set(&mut self.seen, &path, left);
            set(&mut self.kept, &path, left);
        }
    }

    fn restart(&mut self) {
        self.generation += 1;
        self.dead = false;
        self.locks.clear();
        self.faults = Faults {
            capacity: self.faults.capacity,
            ..Faults::default()
        };
    }
}

fn set(names: &mut BTreeMap<PathBuf, usize>, path: &Path, to: Option<usize>) {
    match to {
        Some(inode) => names.insert(path.to_owned(), inode),
        None => names.remove(path),
    };
}

fn due(countdown: &mut Option<u64>) -> bool {
    match countdown {
        Some(0) => {
            *countdown = None;
            true
        }
        Some(n) => {
            *n -= 1;
            false
        }
        None => false,
    }
}

impl Inode {
    /// Makes one sector durable as it is seen, as far as the kept length reaches.
    fn keep(&mut self, sector: usize) {
        let from = sector * SECTOR;
        let to = (from + SECTOR).min(self.seen.len()).min(self.kept.len());
        if let (Some(kept), Some(seen)) = (self.kept.get_mut(from..to), self.seen.get(from..to)) {
            kept.copy_from_slice(seen);
        }
    }
}

impl SimStorage {
    /// An empty disk whose chances come from `seed`.
    pub fn new(seed: u64) -> Self {
        let random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        Self(Arc::new(Mutex::new(Disk {
            random,
            ..Disk::default()
        })))
    }

    /// The file system as a process sees it that starts now.
    pub fn process(&self) -> Arc<dyn Storage> {
        let generation = self.0.lock().generation;
        Arc::new(Process {
            disk: self.0.clone(),
            generation,
        })
    }

    /// Sets what goes wrong from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.0.lock().faults = faults;
    }

    /// A power cut: each unsynced sector and name is kept or lost at random; all handles and
    /// locks are gone, all faults but the capacity are cleared.
    pub fn crash(&self) {
        let mut disk = self.0.lock();
        disk.survive();
        disk.restart();
    }

    /// The end of the process alone: what was written is still seen, but no more durable.
    pub fn kill(&self) {
        self.0.lock().restart();
    }

    /// Syncs of files that were asked for.
    pub fn syncs(&self) -> u64 {
        self.0.lock().syncs
    }

    /// Whether a power cut now would lose nothing.
    pub fn all_synced(&self) -> bool {
        let disk = self.0.lock();
        let clean = |i: &usize| {
            disk.inodes
                .get(*i)
                .is_none_or(|inode| inode.dirty.is_empty())
        };
        disk.seen == disk.kept && disk.seen.values().all(clean)
    }

    /// Changing calls so far.
    pub fn calls(&self) -> u64 {
        self.0.lock().calls
    }

    /// The names on the disk.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.0.lock().seen.keys().cloned().collect()
    }

    /// Changes a file behind everybody's back, durably.
    pub fn edit(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut disk = self.0.lock();
        let Some(index) = disk.seen.get(path).copied() else {
            return;
        };
        if let Ok(inode) = disk.inode(index) {
            change(&mut inode.seen);
            inode.kept = inode.seen.clone();
            inode.dirty.clear();
        }
    }

    /// What a file holds now.
    pub fn content(&self, path: &Path) -> Vec<u8> {
        let disk = self.0.lock();
        disk.seen
            .get(path)
            .and_then(|i| disk.inodes.get(*i))
            .map_or_else(Vec::new, |i| i.seen.clone())
    }

    /// Removes a file behind everybody's back, durably.
    pub fn lose(&self, path: &Path) {
        let mut disk = self.0.lock();
        disk.seen.remove(path);
        disk.kept.remove(path);
    }

    /// An independent disk with the same content, all of it durable.
    pub fn fork(&self, seed: u64) -> Self {
        let disk = self.0.lock();
        let copy = Self::new(seed);
        {
            let mut other = copy.0.lock();
            other.inodes = disk.inodes.clone();
            for inode in &mut other.inodes {
                inode.kept = inode.seen.clone();
                inode.dirty.clear();
            }
            other.seen = disk.seen.clone();
            other.kept = disk.seen.clone();
        }
        copy
    }
}

struct LockGuard {
    disk: Arc<Mutex<Disk>>,
    path: PathBuf,
    generation: u64,
}

impl Drop for LockGuard {
    fn drop(&mut self) {
        let mut disk = self.disk.lock();
        if disk.generation == self.generation {
            disk.locks.remove(&self.path);
        }
    }
}

impl Process {
    /// The disk, if the power is on and this process lives.
    fn disk(&self) -> io::Result<parking_lot::MutexGuard<'_, Disk>> {
        let disk = self.disk.lock();
        disk.alive()?;
        if disk.generation == self.generation {
            Ok(disk)
        } else {
            Err(eio("the process is dead"))
        }
    }
}

impl Storage for Process {
    fn create_dir_all(&self, _dir: &Path) -> io::Result<()> {
        self.disk().map(drop)
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn StorageFile>> {
        let mut disk = self.disk()?;
        let inode = match (disk.seen.get(path).copied(), mode) {
            (Some(inode), OpenMode::Read | OpenMode::ReadWrite) => inode,
            (None, OpenMode::Read | OpenMode::ReadWrite) => {
                return Err(io::ErrorKind::NotFound.into());
            }
            (_, OpenMode::Create) => {
                disk.change()?;
                disk.inodes.push(Inode::default());
                let inode = disk.inodes.len() - 1;
                disk.seen.insert(path.to_owned(), inode);
                inode
            }
        };
        let generation = disk.generation;
        Ok(Arc::new(SimFile {
            disk: self.disk.clone(),
            inode,
            generation,
        }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let disk = self.disk()?;
        let here = disk.seen.keys().filter(|p| p.parent() == Some(dir));
        Ok(here
            .filter_map(|p| p.file_name()?.to_str().map(str::to_owned))
            .collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.disk()?;
        disk.change()?;
        let inode = disk.seen.remove(from).ok_or(io::ErrorKind::NotFound)?;
        disk.seen.insert(to.to_owned(), inode);
        Ok(())
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk()?;
        disk.change()?;
        disk.seen
            .remove(path)
            .map(drop)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut disk = self.disk()?;
        disk.change()?;
        let inside = |path: &PathBuf| path.parent() == Some(dir);
        disk.kept.retain(|path, _| !inside(path));
        let now: Vec<_> = disk
            .seen
            .iter()
            .filter(|(p, _)| inside(p))
            .map(|(p, i)| (p.clone(), *i))
            .collect();
        disk.kept.extend(now);
        Ok(())
    }

    fn available_bytes(&self, _dir: &Path) -> io::Result<u64> {
        let disk = self.disk()?;
        Ok(disk
            .faults
            .capacity
            .map_or(u64::MAX, |c| c.saturating_sub(disk.used())))
    }

    fn lock_exclusive(&self, path: &Path) -> io::Result<LockOutcome> {
        let mut disk = self.disk()?;
        if !disk.locks.insert(path.to_owned()) {
            return Ok(LockOutcome::Taken(None));
        }
        let generation = disk.generation;
        Ok(LockOutcome::Held(Box::new(LockGuard {
            disk: self.disk.clone(),
            path: path.to_owned(),
            generation,
        })))
    }
}

impl SimFile {
    /// Runs a call on this file unless its process has ended.
    fn on<T>(&self, call: impl FnOnce(&mut Disk) -> io::Result<T>) -> io::Result<T> {
        let mut disk = self.disk.lock();
        disk.alive()?;
        if disk.generation == self.generation {
            call(&mut disk)
        } else {
            Err(eio("a handle of a dead process"))
        }
    }

    fn chop(disk: &mut Disk, len: usize) -> io::Result<usize> {
        if !disk.faults.choppy || len < 2 {
            return Ok(len);
        }
        if disk.one_in(8) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        Ok(if disk.one_in(4) {
            1 + disk.random() as usize % (len - 1)
        } else {
            len
        })
    }
}

impl StorageFile for SimFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.on(|disk| {
            let len = Self::chop(disk, buf.len())?;
            if let Some((path, range)) = disk.faults.unreadable.clone()
                && disk.seen.get(&path) == Some(&self.inode)
                && offset < range.end
                && range.start < offset + len as u64
            {
                return Err(eio("unreadable sector"));
            }
            let seen = &disk.inode(self.inode)?.seen;
            let from = seen.get(offset as usize..).unwrap_or_default();
            let n = from.len().min(len);
            if let (Some(to), Some(from)) = (buf.get_mut(..n), from.get(..n)) {
                to.copy_from_slice(from);
            }
            Ok(n)
        })
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.on(|disk| {
            let dying = disk.change();
            if due(&mut disk.faults.fail_write_in) {
                return Err(eio("write failed"));
            }
            let len = Self::chop(disk, buf.len())?;
            let end = offset as usize + len;
            let free = disk
                .faults
                .capacity
                .map_or(u64::MAX, |c| c.saturating_sub(disk.used()));
            let inode = disk.inode(self.inode)?;
            if end > inode.seen.len() {
                if (end - inode.seen.len()) as u64 > free {
                    return Err(full());
                }
                inode.seen.resize(end, 0);
            }
            if let (Some(to), Some(from)) =
                (inode.seen.get_mut(offset as usize..end), buf.get(..len))
            {
                to.copy_from_slice(from);
            }
            inode
                .dirty
                .extend(offset as usize / SECTOR..end.div_ceil(SECTOR));
            // The last write before the power goes may reach the disk in part.
            dying.map(|()| len)
        })
    }

    fn fdatasync(&self) -> io::Result<()> {
        self.on(|disk| {
            disk.syncs += 1;
            disk.change()?;
            let fails = due(&mut disk.faults.fail_sync_in);
            let dirty = std::mem::take(&mut disk.inode(self.inode)?.dirty);
            if !fails {
                let inode = disk.inode(self.inode)?;
                inode.kept.resize(inode.seen.len(), 0);
            }
            for sector in dirty {
                // After a failed sync the pages are clean; what the disk holds is chance.
                if !fails || disk.one_in(2) {
                    disk.inode(self.inode)?.keep(sector);
                }
            }
            if fails {
                Err(eio("sync failed"))
            } else {
                Ok(())
            }
        })
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.on(|disk| {
            disk.change()?;
            let free = disk
                .faults
                .capacity
                .map_or(u64::MAX, |c| c.saturating_sub(disk.used()));
            let inode = disk.inode(self.inode)?;
            let more = len.saturating_sub(inode.seen.len() as u64);
            if more > free {
                return Err(full());
            }
            let len = inode.seen.len().max(len as usize);
            inode.seen.resize(len, 0);
            Ok(())
        })
    }

    fn size(&self) -> io::Result<u64> {
        self.on(|disk| Ok(disk.inode(self.inode)?.seen.len() as u64))
    }
}
