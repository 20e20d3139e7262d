//! Recovery: what stands on disk, and how far it may be trusted.
//!
//! Owns the judgement between a torn tail and damage. Looking ([`Survey`]) never changes a byte;
//! [`crate::mend`] does, once everything has been judged.
//!
//! *Invariant:* a tail is cut only if no later frame header of this log exists and nothing else
//! (notes, checkpoint) says that it was durable; otherwise the opening fails and changes nothing.

use std::{io, path::Path, sync::Arc};

use crate::{
    OpenError, OpenHint, Position, RecoveryReport,
    file::{OpenMode, Storage, StorageFile},
    frame::{Bad, FRAME_HEADER, FrameHeader, SECTOR, is_zero, parse_header},
    meta::{META_NAME, Meta},
    reader::SegmentReader,
    segment::{BadHeader, Place, UNFINISHED, file_name, parse_name, read_header},
    snapshot::SnapshotError,
};

const AHEAD: usize = 1 << 20;
/// After this many zero bytes in a row nothing more is looked for: a batch that vanished whole
/// is shorter, and the notes' floor covers what was durable at the last fence or close.
const SILENCE: u64 = 16 << 20;

/// What an opening found, before anything is changed.
pub(crate) struct Survey {
    pub(crate) meta: Meta,
    /// The live segments, oldest first, without gaps; those after `tail` are unused.
    pub(crate) places: Vec<Place>,
    /// Files that a crash left behind: trimmed segments, half-made ones.
    pub(crate) leftovers: Vec<String>,
    /// Index of the segment that takes the next frame.
    pub(crate) tail: usize,
    pub(crate) report: RecoveryReport,
    /// The last good frame, if one was seen.
    pub(crate) last: Option<(usize, FrameHeader)>,
    /// A segment and the end of the bytes in it that must become zero again.
    pub(crate) dirty: Vec<(usize, u64, u64)>,
    beside: Beside,
}

/// Who else may be at the log while it is surveyed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beside {
    /// The lock is held: what is read stays as it is.
    Nobody,
    /// An engine may be writing: a frame that was missing may stand there a moment later.
    Writer,
}

/// Reads the notes; `None` if there is no log at all.
pub(crate) fn load_meta(storage: &dyn Storage, dir: &Path) -> Result<Option<Meta>, OpenError> {
    let file = dir.join(META_NAME);
    match Meta::load(storage, dir) {
        Ok(meta) => Ok(Some(meta)),
        Err(SnapshotError::Missing) => {
            let names = list(storage, dir)?;
            match names.iter().filter_map(|n| parse_name(n)).min() {
                None => Ok(None),
                Some(base) => Err(damaged(
                    base,
                    &file,
                    "its notes are missing beside segments",
                )),
            }
        }
        Err(SnapshotError::Newer { found, known }) => Err(OpenError::Newer { file, found, known }),
        Err(SnapshotError::Damaged(what)) => Err(damaged(0, &file, what)),
        Err(SnapshotError::Io(e)) => Err(OpenError::io("read", file)(e)),
    }
}

fn list(storage: &dyn Storage, dir: &Path) -> Result<Vec<String>, OpenError> {
    match storage.list(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other.map_err(OpenError::io("list", dir)),
    }
}

pub(crate) fn damaged(position: u64, file: &Path, reason: &str) -> OpenError {
    OpenError::Damaged {
        position: Position(position),
        file: file.to_owned(),
        reason: reason.into(),
    }
}

/// Lists the segments: live bases in order, and the names of leftovers.
pub(crate) fn inventory(
    storage: &dyn Storage,
    dir: &Path,
    trimmed_to: u64,
) -> Result<(Vec<u64>, Vec<String>), OpenError> {
    let (mut bases, mut leftovers) = (Vec::new(), Vec::new());
    for name in list(storage, dir)? {
        match parse_name(&name) {
            Some(base) if base >= trimmed_to => bases.push(base),
            Some(_) => leftovers.push(name),
            None if name.ends_with(UNFINISHED) => leftovers.push(name),
            None => {}
        }
    }
    bases.sort_unstable();
    Ok((bases, leftovers))
}

impl Survey {
    /// Looks at everything that is needed to open the log and judges its tail.
    pub(crate) fn take(
        storage: &dyn Storage,
        dir: &Path,
        meta: Meta,
        hint: OpenHint,
        beside: Beside,
    ) -> Result<Self, OpenError> {
        let (bases, leftovers) = inventory(storage, dir, meta.trimmed_to)?;
        let places = chain(storage, dir, &meta, &bases)?;
        let mut survey = Self {
            meta,
            places,
            leftovers,
            tail: 0,
            report: RecoveryReport::default(),
            last: None,
            dirty: Vec::new(),
            beside,
        };
        if survey.places.is_empty() {
            return Ok(survey);
        }
        let files = Files { storage, dir };
        let start = survey.start(&files, hint)?;
        let (end, bad) = survey.walk(&files, start)?;
        survey.judge_tail(&files, end, bad, hint)?;
        Ok(survey)
    }

    pub(crate) fn end(&self) -> u64 {
        self.report.end.0
    }

    /// Where whole frames are verified from: the last segment whose first frame is good, or
    /// earlier if the hint says so.
    fn start(&self, files: &Files<'_>, hint: OpenHint) -> Result<usize, OpenError> {
        let mut start = 0;
        for (i, place) in self.places.iter().enumerate().rev() {
            if files.first_frame(*place, self.meta.log_id)?.is_ok() {
                start = i;
                break;
            }
        }
        let hinted = hint
            .verify_from
            .and_then(|p| self.places.iter().rposition(|place| place.base <= p.0));
        Ok(hinted.map_or(start, |h| h.min(start)))
    }

    /// Walks whole frames from a segment's start to the first address that holds none.
    fn walk(&mut self, files: &Files<'_>, start: usize) -> Result<(u64, Bad), OpenError> {
        let first = self.places.get(start).map_or(0, |p| p.first_frame());
        self.report.verified_from = Position(first);
        let (mut i, mut at) = (start, first);
        loop {
            let Some(place) = self.places.get(i).copied() else {
                return Ok((at, Bad::Empty));
            };
            let (end, bad) = self.walk_segment(files, i, at.max(place.first_frame()))?;
            self.tail = i;
            let Some(next) = self.places.get(i + 1).copied() else {
                return Ok((end, bad));
            };
            // A torn frame there is no reason to move: cut, it would leave nothing that says
            // where this segment ended.
            let follows = files
                .first_frame(next, self.meta.log_id)?
                .is_ok_and(|h| h.prev_end == end);
            if !follows {
                return Ok((end, bad));
            }
            (i, at) = (i + 1, next.first_frame());
        }
    }

    fn walk_segment(
        &mut self,
        files: &Files<'_>,
        i: usize,
        from: u64,
    ) -> Result<(u64, Bad), OpenError> {
        let Some(place) = self.places.get(i).copied() else {
            return Ok((from, Bad::Empty));
        };
        let file = files.open(place)?;
        let mut reader = SegmentReader::new(&*file, place, self.meta.log_id, AHEAD);
        let mut at = from;
        loop {
            let header = match reader.frame(at).map_err(files.cannot_read(place))? {
                Ok(header) => header,
                Err(bad) => return Ok((at, bad)),
            };
            if let Some((_, last)) = self.last {
                let wrong = if header.prev_end != last.end() {
                    Some(Bad::Chain)
                } else {
                    None
                };
                let wrong = wrong.or((header.epoch < last.epoch).then_some(Bad::Epoch));
                if let Some(bad) = wrong {
                    return Err(damaged(
                        last.end(),
                        &place.path(files.dir),
                        &bad.to_string(),
                    ));
                }
            }
            self.last = Some((i, header));
            self.report.frames += 1;
            self.report.records += u64::from(header.records);
            at = header.end();
        }
    }

    fn tail_place(&self) -> Place {
        self.places
            .get(self.tail)
            .copied()
            .unwrap_or(Place { base: 0, size: 0 })
    }

    /// Decides whether the log really ends at `end`, where `bad` stands instead of a frame.
    fn judge_tail(
        &mut self,
        files: &Files<'_>,
        end: u64,
        bad: Bad,
        hint: OpenHint,
    ) -> Result<(), OpenError> {
        let Some(place) = self.places.get(self.tail).copied() else {
            return Ok(());
        };
        let path = place.path(files.dir);
        let known = self
            .meta
            .durable_floor
            .max(hint.verify_from.map_or(0, |p| p.0));
        if known > end {
            let reason = format!("the log ends here ({bad}), but was durable up to {known}");
            return Err(damaged(end, &path, &reason));
        }
        let mut cut_end = end;
        for i in self.tail..self.places.len() {
            let Some(place) = self.places.get(i).copied() else {
                break;
            };
            let from = if i == self.tail {
                end
            } else {
                place.first_frame()
            };
            let mut rest = files.rest(place, self.meta.log_id, from)?;
            if i > self.tail && files.contradicts(place, self.meta.log_id, end)? {
                rest.later = Some(from);
            }
            if let Some(later) = rest.later {
                if self.beside == Beside::Writer
                    && files.frame_stands(self.tail_place(), self.meta.log_id, end)?
                {
                    break;
                }
                let reason =
                    format!("{bad}, but a later frame stands at {later}: this one was durable");
                return Err(damaged(end, &path, &reason));
            }
            if rest.dirty_to > from {
                self.dirty.push((i, from, rest.dirty_to));
                cut_end = rest.dirty_to;
            }
        }
        self.report.end = Position(end);
        if cut_end > end {
            self.report.cut_at = Some(Position(end));
            self.report.cut_bytes = cut_end - end;
            self.report.cut_reason = Some(bad.to_string());
        }
        Ok(())
    }
}

/// Checks that the segments follow each other without a gap, by names and headers.
fn chain(
    storage: &dyn Storage,
    dir: &Path,
    meta: &Meta,
    bases: &[u64],
) -> Result<Vec<Place>, OpenError> {
    let mut places: Vec<Place> = Vec::with_capacity(bases.len());
    for base in bases {
        let expected = places.last().map_or(meta.trimmed_to, |p| p.end());
        let path = dir.join(file_name(*base));
        if *base != expected {
            let reason = format!("the segment {} is missing", file_name(expected));
            return Err(damaged(expected, &path, &reason));
        }
        let file = storage
            .open(&path, OpenMode::Read)
            .map_err(OpenError::io("open", &path))?;
        let header =
            read_header(&*file, *base, meta.log_id).map_err(OpenError::io("read", &path))?;
        match header {
            Ok(header) => places.push(header.place),
            Err(BadHeader::Newer(found)) => {
                return Err(OpenError::Newer {
                    file: path,
                    found,
                    known: crate::segment::FORMAT_VERSION,
                });
            }
            Err(bad) => return Err(damaged(*base, &path, &bad.to_string())),
        }
    }
    if places.is_empty() && (meta.epoch > 0 || meta.durable_floor > 0 || meta.trimmed_to > 0) {
        return Err(damaged(
            meta.trimmed_to,
            &dir.join(file_name(meta.trimmed_to)),
            "all segments are missing",
        ));
    }
    Ok(places)
}

/// What lies behind an address in a segment.
struct Rest {
    /// A frame header of this log: proof that what stood before it was durable.
    later: Option<u64>,
    /// The end of the last sector that is not zero.
    dirty_to: u64,
}

struct Files<'a> {
    storage: &'a dyn Storage,
    dir: &'a Path,
}

impl Files<'_> {
    fn open(&self, place: Place) -> Result<Arc<dyn StorageFile>, OpenError> {
        let path = place.path(self.dir);
        self.storage
            .open(&path, OpenMode::Read)
            .map_err(OpenError::io("open", &path))
    }

    fn cannot_read(&self, place: Place) -> impl FnOnce(io::Error) -> OpenError {
        OpenError::io("read", place.path(self.dir))
    }

    /// A segment's first frame, verified as a whole.
    fn first_frame(
        &self,
        place: Place,
        log_id: u64,
    ) -> Result<Result<FrameHeader, Bad>, OpenError> {
        let file = self.open(place)?;
        let mut reader = SegmentReader::new(&*file, place, log_id, 64 << 10);
        reader
            .frame(place.first_frame())
            .map_err(self.cannot_read(place))
    }

    /// Whether a whole frame stands at an address by now.
    fn frame_stands(&self, place: Place, log_id: u64, at: u64) -> Result<bool, OpenError> {
        let file = self.open(place)?;
        let frame = SegmentReader::new(&*file, place, log_id, 0).frame(at);
        Ok(frame.map_err(self.cannot_read(place))?.is_ok())
    }

    /// Whether a segment's first frame, whole or torn, says that it follows something else than
    /// the frame that ended at `end`.
    fn contradicts(&self, place: Place, log_id: u64, end: u64) -> Result<bool, OpenError> {
        let file = self.open(place)?;
        let header = SegmentReader::new(&*file, place, log_id, 0).header(place.first_frame());
        Ok(header
            .map_err(self.cannot_read(place))?
            .is_ok_and(|h| h.prev_end != end))
    }

    fn rest(&self, place: Place, log_id: u64, from: u64) -> Result<Rest, OpenError> {
        let file = self.open(place)?;
        look_behind(&*file, place, log_id, from).map_err(self.cannot_read(place))
    }
}

fn look_behind(file: &dyn StorageFile, place: Place, log_id: u64, from: u64) -> io::Result<Rest> {
    let mut rest = Rest {
        later: None,
        dirty_to: from,
    };
    let mut reader = SegmentReader::new(file, place, log_id, AHEAD);
    let mut at = from;
    while at < place.end() && at - rest.dirty_to < SILENCE {
        let n = (place.end() - at).min(AHEAD as u64);
        let chunk = reader.bytes(at, n as usize)?;
        if !is_zero(chunk) {
            for (i, sector) in chunk
                .chunks(SECTOR as usize)
                .enumerate()
                .filter(|(_, s)| !is_zero(s))
            {
                let here = at + i as u64 * SECTOR;
                rest.dirty_to = here + sector.len() as u64;
                let head = sector.get(..FRAME_HEADER).unwrap_or_default();
                if here > from
                    && rest.later.is_none()
                    && parse_header(head, log_id, here, place.end() - here).is_ok()
                {
                    rest.later = Some(here);
                }
            }
        }
        at += n;
    }
    // The whole first sector is the tail's own; a later frame starts behind it.
    Ok(rest)
}

/// The next frame header of this log behind `from` in a segment, if there is one.
pub(crate) fn next_frame(
    file: &dyn StorageFile,
    place: Place,
    log_id: u64,
    from: u64,
) -> io::Result<Option<u64>> {
    Ok(look_behind(file, place, log_id, from)?.later)
}
