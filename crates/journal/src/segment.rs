//! Segments: the files that carry the log, named by the address of their first byte.
//!
//! Owns the segment header, the names, and the making of a segment (reserve, zero-fill, sync,
//! rename, sync the directory). Knows nothing of what the frames in it mean.
//!
//! *Invariant:* a file with a segment's name is complete: header, full length, zeros. A half-made
//! one has another name and is swept at the next opening.
//! *Invariant:* `next.base == this.base + this.size`: the log is one address space without gaps.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    file::{OpenMode, Storage, StorageFile, read_full_at, write_all_at},
    frame::{put, u32_at, u64_at},
};

/// Bytes of the header block; the first frame follows it.
pub(crate) const SEGMENT_HEADER: u64 = 4096;
/// The newest format this build writes and reads.
pub(crate) const FORMAT_VERSION: u32 = 1;
/// The name of a segment that is still being made.
pub(crate) const UNFINISHED: &str = ".unfinished";

const MAGIC: &[u8; 8] = b"HIE-LOG\n";
const CRC_AT: usize = SEGMENT_HEADER as usize - 4;
const FILL_CHUNK: usize = 1 << 20;
/// Synced this often while filling, so that the disk never owes much to a commit that waits.
const FILL_SYNC_BYTES: u64 = 4 << 20;

/// Where a segment lies in the log's address space.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    /// The address of its first byte.
    pub(crate) base: u64,
    /// Its length in bytes, header included.
    pub(crate) size: u64,
}

impl Place {
    pub(crate) fn end(self) -> u64 {
        self.base.saturating_add(self.size)
    }

    /// The address of the first frame.
    pub(crate) fn first_frame(self) -> u64 {
        self.base.saturating_add(SEGMENT_HEADER)
    }

    pub(crate) fn contains(self, position: u64) -> bool {
        (self.base..self.end()).contains(&position)
    }

    pub(crate) fn path(self, dir: &Path) -> PathBuf {
        dir.join(file_name(self.base))
    }
}

/// The file name of the segment at `base`: twenty digits, so names sort as addresses do.
pub(crate) fn file_name(base: u64) -> String {
    format!("{base:020}.seg")
}

/// The base that a file name gives, if it is a segment's name.
pub(crate) fn parse_name(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".seg")?;
    (digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit()))
        .then(|| digits.parse().ok())?
}

/// What a segment says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SegmentHeader {
    pub(crate) log_id: u64,
    pub(crate) place: Place,
    /// The epoch that made it.
    pub(crate) epoch: u64,
}

/// Why a segment's header cannot be trusted.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum BadHeader {
    #[error("it has no segment header")]
    Magic,
    #[error("its header's checksum does not match")]
    Crc,
    #[error("it is of format version {0}, this build knows up to {FORMAT_VERSION}")]
    Newer(u32),
    #[error("its header belongs to the segment at {0}")]
    Misplaced(u64),
    #[error("it belongs to another journal")]
    Foreign,
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut block = vec![0; SEGMENT_HEADER as usize];
        put(&mut block, 0, MAGIC);
        put(&mut block, 8, &FORMAT_VERSION.to_le_bytes());
        put(&mut block, 12, &(SEGMENT_HEADER as u32).to_le_bytes());
        put(&mut block, 16, &self.log_id.to_le_bytes());
        put(&mut block, 24, &self.place.base.to_le_bytes());
        put(&mut block, 32, &self.place.size.to_le_bytes());
        put(&mut block, 40, &self.epoch.to_le_bytes());
        let crc = crc32c::crc32c(block.get(..CRC_AT).unwrap_or_default());
        put(&mut block, CRC_AT, &crc.to_le_bytes());
        block
    }

    /// Judges a header block read from the file that is named for `base`.
    pub(crate) fn decode(block: &[u8], base: u64, log_id: u64) -> Result<Self, BadHeader> {
        if block.get(..8) != Some(MAGIC) {
            return Err(BadHeader::Magic);
        }
        // The checksum's place is part of every format, so that "newer" and "damaged" differ.
        if block.len() != SEGMENT_HEADER as usize
            || u32_at(block, CRC_AT) != crc32c::crc32c(block.get(..CRC_AT).unwrap_or_default())
        {
            return Err(BadHeader::Crc);
        }
        let version = u32_at(block, 8);
        if version > FORMAT_VERSION {
            return Err(BadHeader::Newer(version));
        }
        let place = Place {
            base: u64_at(block, 24),
            size: u64_at(block, 32),
        };
        if place.base != base {
            return Err(BadHeader::Misplaced(place.base));
        }
        if u64_at(block, 16) != log_id {
            return Err(BadHeader::Foreign);
        }
        Ok(Self {
            log_id,
            place,
            epoch: u64_at(block, 40),
        })
    }
}

/// Reads the header of the segment file at `base`.
pub(crate) fn read_header(
    file: &dyn StorageFile,
    base: u64,
    log_id: u64,
) -> io::Result<Result<SegmentHeader, BadHeader>> {
    let mut block = vec![0; SEGMENT_HEADER as usize];
    let got = read_full_at(file, &mut block, 0)?;
    block.truncate(got);
    Ok(SegmentHeader::decode(&block, base, log_id))
}

/// Makes a segment, whole and durable, under its final name. `pause` is called between chunks and
/// may slow the filling down or end it (by `false`).
pub(crate) fn create(
    storage: &dyn Storage,
    dir: &Path,
    header: SegmentHeader,
    pause: &mut dyn FnMut() -> bool,
) -> io::Result<Arc<dyn StorageFile>> {
    let path = header.place.path(dir);
    let unfinished = path.with_extension(UNFINISHED.trim_start_matches('.'));
    let made = fill(storage, &unfinished, header, pause);
    if made.is_err() {
        // Half a segment only takes space; if even this fails the next opening sweeps it.
        let _ = storage.unlink(&unfinished);
    }
    let file = made?;
    storage.rename(&unfinished, &path)?;
    storage.sync_dir(dir)?;
    Ok(file)
}

fn fill(
    storage: &dyn Storage,
    path: &Path,
    header: SegmentHeader,
    pause: &mut dyn FnMut() -> bool,
) -> io::Result<Arc<dyn StorageFile>> {
    let size = header.place.size;
    let file = storage.open(path, OpenMode::Create)?;
    file.allocate(size)?;
    write_all_at(&*file, &header.encode(), 0)?;
    // Zeros are written, not only reserved: a first write into reserved blocks would make every
    // fdatasync of a batch carry metadata (measured: twice the time).
    zero(&*file, SEGMENT_HEADER, size, pause)?;
    file.fdatasync()?;
    Ok(file)
}

/// Writes zeros over `[from, to)` of a file, syncing now and then; the caller syncs the rest.
pub(crate) fn zero(
    file: &dyn StorageFile,
    from: u64,
    to: u64,
    pause: &mut dyn FnMut() -> bool,
) -> io::Result<()> {
    let zeros = vec![0; FILL_CHUNK.min(to.saturating_sub(from) as usize)];
    let (mut at, mut unsynced) = (from, 0);
    while at < to {
        let n = (zeros.len() as u64).min(to - at);
        write_all_at(file, zeros.get(..n as usize).unwrap_or_default(), at)?;
        (at, unsynced) = (at + n, unsynced + n);
        if unsynced >= FILL_SYNC_BYTES {
            file.fdatasync()?;
            unsynced = 0;
        }
        if !pause() {
            return Err(io::Error::new(
                io::ErrorKind::Interrupted,
                "the journal is closing",
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_strictly() {
        assert_eq!(parse_name(&file_name(4_194_304)), Some(4_194_304));
        for name in [
            "1.seg",
            "00000000000000000001.unfinished",
            "+0000000000000000001.seg",
            "99999999999999999999.seg",
        ] {
            assert_eq!(parse_name(name), None, "{name}");
        }
    }

    #[test]
    fn a_header_is_refused_for_the_right_reason() {
        let header = SegmentHeader {
            log_id: 5,
            place: Place {
                base: 8192,
                size: 65536,
            },
            epoch: 2,
        };
        let block = header.encode();
        assert_eq!(SegmentHeader::decode(&block, 8192, 5), Ok(header));
        assert_eq!(
            SegmentHeader::decode(&block, 0, 5),
            Err(BadHeader::Misplaced(8192))
        );
        assert_eq!(
            SegmentHeader::decode(&block, 8192, 6),
            Err(BadHeader::Foreign)
        );
        assert_eq!(
            SegmentHeader::decode(&block[..100], 8192, 5),
            Err(BadHeader::Crc)
        );
        let mut newer = block.clone();
        put(&mut newer, 8, &9u32.to_le_bytes());
        assert_eq!(SegmentHeader::decode(&newer, 8192, 5), Err(BadHeader::Crc));
        let crc = crc32c::crc32c(&newer[..CRC_AT]);
        put(&mut newer, CRC_AT, &crc.to_le_bytes());
        assert_eq!(
            SegmentHeader::decode(&newer, 8192, 5),
            Err(BadHeader::Newer(9))
        );
    }
}
