//! The table of segments: which addresses lie in which file.
//!
//! Owns the list of live segments, a small set of open files and, a segment, a sparse list of
//! frame addresses by which a scan finds its place. Does not interpret frames.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    path::PathBuf,
    sync::Arc,
};

use parking_lot::{Mutex, RwLock};

use crate::{
    file::{OpenMode, Storage, StorageFile},
    segment::Place,
};

/// Open files kept for reading; a log may have more segments than a process may have files.
const OPEN_FILES: usize = 64;
/// Distance of remembered frame addresses, in bytes.
const MARK_EVERY: u64 = 1 << 20;

struct Entry {
    place: Place,
    marks: Mutex<Vec<u64>>,
}

pub(crate) struct Table {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) dir: PathBuf,
    entries: RwLock<BTreeMap<u64, Entry>>,
    open: Mutex<VecDeque<(u64, Arc<dyn StorageFile>)>>,
}

impl Table {
    pub(crate) fn new(
        storage: Arc<dyn Storage>,
        dir: PathBuf,
        places: impl IntoIterator<Item = Place>,
    ) -> Self {
        let entry = |place: Place| {
            (
                place.base,
                Entry {
                    place,
                    marks: Mutex::new(Vec::new()),
                },
            )
        };
        let entries = RwLock::new(places.into_iter().map(entry).collect());
        Self {
            storage,
            dir,
            entries,
            open: Mutex::new(VecDeque::new()),
        }
    }

    pub(crate) fn insert(&self, place: Place, file: &Arc<dyn StorageFile>) {
        self.entries.write().insert(
            place.base,
            Entry {
                place,
                marks: Mutex::new(Vec::new()),
            },
        );
        self.keep_open(place.base, file.clone());
    }

    pub(crate) fn remove(&self, base: u64) {
        self.entries.write().remove(&base);
        self.open.lock().retain(|(b, _)| *b != base);
    }

    pub(crate) fn places(&self) -> Vec<Place> {
        self.entries.read().values().map(|e| e.place).collect()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.entries.read().values().map(|e| e.place.size).sum()
    }

    /// The oldest address kept.
    pub(crate) fn first(&self) -> u64 {
        self.entries.read().keys().next().copied().unwrap_or(0)
    }

    pub(crate) fn containing(&self, position: u64) -> Option<Place> {
        let entries = self.entries.read();
        let (_, entry) = entries.range(..=position).next_back()?;
        entry.place.contains(position).then_some(entry.place)
    }

    pub(crate) fn file(&self, place: Place) -> io::Result<Arc<dyn StorageFile>> {
        if let Some((_, file)) = self.open.lock().iter().find(|(b, _)| *b == place.base) {
            return Ok(file.clone());
        }
        let file = self.storage.open(&place.path(&self.dir), OpenMode::Read)?;
        self.keep_open(place.base, file.clone());
        Ok(file)
    }

    fn keep_open(&self, base: u64, file: Arc<dyn StorageFile>) {
        let mut open = self.open.lock();
        open.push_back((base, file));
        if open.len() > OPEN_FILES {
            open.pop_front();
        }
    }

    /// Remembers that a frame starts at `frame`, if none near it is known.
    pub(crate) fn mark(&self, base: u64, frame: u64) {
        let entries = self.entries.read();
        let Some(entry) = entries.get(&base) else {
            return;
        };
        let mut marks = entry.marks.lock();
        let at = marks.partition_point(|m| *m <= frame);
        let before = at
            .checked_sub(1)
            .and_then(|i| marks.get(i))
            .copied()
            .unwrap_or(base);
        let after = marks.get(at).copied().unwrap_or(u64::MAX);
        if frame - before >= MARK_EVERY && after - frame >= MARK_EVERY {
            marks.insert(at, frame);
        }
    }

    /// A frame address at or below `position` in the segment, the nearest that is known.
    pub(crate) fn nearest(&self, place: Place, position: u64) -> u64 {
        let entries = self.entries.read();
        let known = entries.get(&place.base).and_then(|entry| {
            let marks = entry.marks.lock();
            let at = marks.partition_point(|m| *m <= position);
            at.checked_sub(1).and_then(|i| marks.get(i)).copied()
        });
        known.unwrap_or(place.first_frame())
    }
}
