//! The log's own notes: a small file beside the segments, replaced atomically.
//!
//! Owns the log's identity, the epoch, the trim watermark and the durable floor. Written on
//! fencing, trimming and closing only, never on the append path.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    io,
    path::Path,
    sync::Arc,
};

use crate::{
    file::Storage,
    frame::u64_at,
    snapshot::{SnapshotError, read_all, write_atomic},
};

pub(crate) const META_NAME: &str = "meta";
const KIND: &str = "journal-meta";
const VERSION: u32 = 1;

/// What the log remembers of itself outside of its segments.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Meta {
    /// Drawn once: frames of other logs, and bytes that a sender made up, never pass for ours.
    pub(crate) log_id: u64,
    /// The newest right to write.
    pub(crate) epoch: u64,
    /// Segments wholly below may be gone.
    pub(crate) trimmed_to: u64,
    /// Everything below was durable when this was written: a log that ends before it is damaged.
    pub(crate) durable_floor: u64,
}

impl Meta {
    pub(crate) fn new() -> Self {
        // The only source of chance in the standard library; unpredictable is all that is asked.
        let log_id = RandomState::new().build_hasher().finish() | 1;
        Self {
            log_id,
            epoch: 0,
            trimmed_to: 0,
            durable_floor: 0,
        }
    }

    pub(crate) fn save(&self, storage: &Arc<dyn Storage>, dir: &Path) -> io::Result<()> {
        let mut payload = Vec::with_capacity(32);
        for value in [self.log_id, self.epoch, self.trimmed_to, self.durable_floor] {
            payload.extend_from_slice(&value.to_le_bytes());
        }
        write_atomic(storage, &dir.join(META_NAME), KIND, VERSION, &payload)
    }

    pub(crate) fn load(storage: &dyn Storage, dir: &Path) -> Result<Self, SnapshotError> {
        let (_, payload) = read_all(storage, &dir.join(META_NAME), KIND, VERSION)?;
        if payload.len() != 32 {
            return Err(SnapshotError::Damaged("it is not as long as it should be"));
        }
        Ok(Self {
            log_id: u64_at(&payload, 0),
            epoch: u64_at(&payload, 8),
            trimmed_to: u64_at(&payload, 16),
            durable_floor: u64_at(&payload, 24),
        })
    }
}
