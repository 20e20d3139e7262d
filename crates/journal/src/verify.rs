//! Verification: reads every byte that was ever durable and lists what is not as it was written.
//!
//! Read-only, without the lock: works beside a running engine as well as on a stopped one. Owns
//! the list of damages that [`crate::repair()`] works off, and the figures of [`stat`].

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    OpenError, Position,
    file::{OpenMode, OsStorage, Storage, StorageFile},
    frame::{Bad, FrameHeader},
    meta::Meta,
    reader::SegmentReader,
    recovery::{inventory, load_meta, next_frame},
    segment::{BadHeader, FORMAT_VERSION, Place, SEGMENT_HEADER, file_name, read_header},
};

const AHEAD: usize = 1 << 20;

/// One stretch of the log that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Where it begins.
    pub position: Position,
    /// Where the log can be read again.
    pub until: Position,
    /// The file it lies in.
    pub file: PathBuf,
    /// What was found.
    pub reason: String,
    /// Good records before it.
    pub records_before: u64,
    /// Good records after it.
    pub records_after: u64,
}

/// The result of a full verification.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Segments looked at.
    pub segments: usize,
    /// Frames that are as they were written.
    pub frames: u64,
    /// Records in them.
    pub records: u64,
    /// Records among them that an earlier repair set aside.
    pub skipped: u64,
    /// Where the log ends.
    pub end: Position,
    /// What is damaged, in the order it was found.
    pub damages: Vec<Damage>,
    /// A tail that was never acknowledged, which the next start will cut: where and why.
    pub torn: Option<(Position, String)>,
}

impl VerifyReport {
    /// Whether nothing durable is damaged.
    pub fn is_sound(&self) -> bool {
        self.damages.is_empty()
    }
}

/// Verifies the log in `dir` without changing it.
pub fn verify(dir: &Path) -> Result<VerifyReport, OpenError> {
    verify_on(Arc::new(OsStorage), dir)
}

/// The same over any [`Storage`].
pub fn verify_on(storage: Arc<dyn Storage>, dir: &Path) -> Result<VerifyReport, OpenError> {
    let meta = load_meta(&*storage, dir)?.ok_or_else(|| OpenError::NoJournal(dir.to_owned()))?;
    Inspection::run(&*storage, dir, meta).map(|done| done.report)
}

/// A damage as repair needs it: the address range, the segment, and what can be kept of it.
#[derive(Clone, Debug)]
pub(crate) struct Wound {
    pub(crate) place: Place,
    pub(crate) from: u64,
    pub(crate) to: u64,
    /// The frame before it.
    pub(crate) before: FrameHeader,
    /// The segment's own header is unusable, or its file is missing.
    pub(crate) headless: bool,
}

/// One walk over the whole log.
pub(crate) struct Inspection<'a> {
    storage: &'a dyn Storage,
    dir: &'a Path,
    meta: Meta,
    pub(crate) report: VerifyReport,
    pub(crate) wounds: Vec<Wound>,
    /// The last good frame, or a stand-in before the first.
    last: FrameHeader,
    /// Whether `last` stands for a frame whose end is known.
    anchored: bool,
}

impl<'a> Inspection<'a> {
    pub(crate) fn run(
        storage: &'a dyn Storage,
        dir: &'a Path,
        meta: Meta,
    ) -> Result<Self, OpenError> {
        let (bases, _) = inventory(storage, dir, meta.trimmed_to)?;
        let last = FrameHeader::new(0, meta.trimmed_to, meta.trimmed_to, 0);
        let report = VerifyReport::default();
        let mut this = Self {
            storage,
            dir,
            meta,
            report,
            wounds: Vec::new(),
            last,
            anchored: false,
        };
        let places = this.places(&bases)?;
        this.report.segments = places.len();
        for (i, place) in places.iter().enumerate() {
            this.segment(*place, places.get(i + 1..).unwrap_or_default())?;
        }
        this.settle_end(&places);
        Ok(this)
    }

    /// The segments as they should be: by headers, and by their neighbours where those fail.
    fn places(&mut self, bases: &[u64]) -> Result<Vec<Place>, OpenError> {
        let mut places: Vec<Place> = Vec::new();
        for (i, base) in bases.iter().enumerate() {
            let expected = places.last().map_or(self.meta.trimmed_to, |p| p.end());
            if *base > expected {
                let gap = Place {
                    base: expected,
                    size: base - expected,
                };
                self.headless(gap, "the segment's file is missing");
                places.push(gap);
            }
            if *base < expected {
                return Err(crate::recovery::damaged(
                    *base,
                    &self.dir.join(file_name(*base)),
                    "two segments overlap",
                ));
            }
            places.push(self.place(*base, bases.get(i + 1).copied())?);
        }
        let end = places.last().map_or(self.meta.trimmed_to, |p| p.end());
        if self.meta.durable_floor > end {
            // Restored in full length, so that no position is ever given twice.
            let lost = self.meta.durable_floor - end;
            let gap = Place {
                base: end,
                size: lost.next_multiple_of(SEGMENT_HEADER) + SEGMENT_HEADER,
            };
            self.headless(gap, "the segment's file is missing");
            places.push(gap);
        }
        Ok(places)
    }

    fn place(&mut self, base: u64, next: Option<u64>) -> Result<Place, OpenError> {
        let path = self.dir.join(file_name(base));
        let file = self.open(base)?;
        let read = |e| OpenError::io("read", &path)(e);
        match read_header(&*file, base, self.meta.log_id).map_err(read)? {
            Ok(header) => Ok(header.place),
            Err(BadHeader::Newer(found)) => Err(OpenError::Newer {
                file: path,
                found,
                known: FORMAT_VERSION,
            }),
            Err(bad) => {
                let length = file
                    .size()
                    .map_err(OpenError::io("read", &path))?
                    .max(SEGMENT_HEADER);
                let place = Place {
                    base,
                    size: next.map_or(length.next_multiple_of(SEGMENT_HEADER), |n| n - base),
                };
                self.headless(place, &bad.to_string());
                Ok(place)
            }
        }
    }

    fn headless(&mut self, place: Place, reason: &str) {
        self.wound(
            Wound {
                place,
                from: place.base,
                to: place.first_frame(),
                before: self.last,
                headless: true,
            },
            reason,
        );
    }

    fn wound(&mut self, wound: Wound, reason: &str) {
        let damage = Damage {
            position: Position(wound.from),
            until: Position(wound.to),
            file: wound.place.path(self.dir),
            reason: reason.to_owned(),
            records_before: self.report.records,
            records_after: 0,
        };
        self.report.damages.push(damage);
        self.wounds.push(wound);
    }

    fn open(&self, base: u64) -> Result<Arc<dyn StorageFile>, OpenError> {
        let path = self.dir.join(file_name(base));
        self.storage
            .open(&path, OpenMode::Read)
            .map_err(OpenError::io("open", path))
    }

    /// Walks one segment; `later` are those after it.
    fn segment(&mut self, place: Place, later: &[Place]) -> Result<(), OpenError> {
        let io = |e: io::Error| OpenError::io("read", place.path(self.dir))(e);
        let Ok(file) = self.open(place.base) else {
            // Reported as missing before; nothing of it is left to look at.
            let end = self
                .first_of(later)?
                .map_or(self.meta.durable_floor, |first| first.prev_end);
            let (from, to) = (place.first_frame(), end.min(place.end()));
            if from < to {
                self.wound(
                    Wound {
                        place,
                        from,
                        to,
                        before: self.last,
                        headless: false,
                    },
                    "lost with its file",
                );
                self.anchored = false;
                self.report.end = Position(to);
            }
            return Ok(());
        };
        let mut reader = SegmentReader::new(&*file, place, self.meta.log_id, AHEAD);
        let mut at = place.first_frame();
        while at < place.end() {
            let bad = match self.judge(&mut reader, at).map_err(io)? {
                Ok(header) => {
                    self.count(&mut reader, &header).map_err(io)?;
                    at = header.end();
                    continue;
                }
                Err(bad) => bad,
            };
            let resumes = match next_frame(&*file, place, self.meta.log_id, at).map_err(io)? {
                Some(next) => Some(next),
                // Beside a running engine the frame may have been written since.
                None => self
                    .first_of(later)?
                    .map(|h| h.prev_end)
                    .filter(|end| (at + 1..=place.end()).contains(end)),
            };
            let Some(next) = resumes else {
                self.tail(at, bad, later)?;
                return Ok(());
            };
            let mut again = SegmentReader::new(&*file, place, self.meta.log_id, 0);
            if let Ok(header) = self.judge(&mut again, at).map_err(io)? {
                reader = SegmentReader::new(&*file, place, self.meta.log_id, AHEAD);
                at = header.position;
                continue;
            }
            self.wound(
                Wound {
                    place,
                    from: at,
                    to: next,
                    before: self.last,
                    headless: false,
                },
                &bad.to_string(),
            );
            (self.anchored, at) = (false, next);
        }
        Ok(())
    }

    /// The frame at an address, if it is whole and follows the last one.
    fn judge(
        &self,
        reader: &mut SegmentReader<'_>,
        at: u64,
    ) -> io::Result<Result<FrameHeader, Bad>> {
        Ok(reader.frame(at)?.and_then(|header| {
            if self.anchored && header.prev_end != self.last.end() {
                return Err(Bad::Chain);
            }
            if header.epoch < self.last.epoch {
                Err(Bad::Epoch)
            } else {
                Ok(header)
            }
        }))
    }

    fn count(&mut self, reader: &mut SegmentReader<'_>, header: &FrameHeader) -> io::Result<()> {
        let payload = reader.payload(header)?;
        let skipped = crate::frame::Records::new(header.first_record(), payload)
            .filter(|r| r.skipped)
            .count() as u64;
        self.report.frames += 1;
        self.report.skipped += skipped;
        let records = u64::from(header.records) - skipped;
        self.report.records += records;
        for damage in &mut self.report.damages {
            damage.records_after += records;
        }
        (self.last, self.anchored) = (*header, true);
        self.report.end = Position(header.end());
        Ok(())
    }

    /// The header of the first frame in the later segments.
    fn first_of(&self, later: &[Place]) -> Result<Option<FrameHeader>, OpenError> {
        for place in later {
            let Ok(file) = self.open(place.base) else {
                continue;
            };
            let header =
                SegmentReader::new(&*file, *place, self.meta.log_id, 0).header(place.first_frame());
            if let Ok(header) = header.map_err(OpenError::io("read", place.path(self.dir)))? {
                return Ok(Some(header));
            }
        }
        Ok(None)
    }

    /// No frame follows in this segment: it was left here for the next one, or the log ends.
    fn tail(&mut self, at: u64, bad: Bad, later: &[Place]) -> Result<(), OpenError> {
        if bad != Bad::Empty && self.report.torn.is_none() && self.first_of(later)?.is_none() {
            self.report.torn = Some((Position(at), bad.to_string()));
        }
        Ok(())
    }

    /// The notes know how far the log was durable at the last fence, trim or close.
    fn settle_end(&mut self, places: &[Place]) {
        let (end, floor) = (self.report.end.0, self.meta.durable_floor);
        let holds_floor = |p: &&Place| p.first_frame() < floor && floor <= p.end();
        let Some(place) = places
            .iter()
            .find(holds_floor)
            .copied()
            .filter(|_| end < floor)
        else {
            return;
        };
        let from = if place.contains(end) {
            end.max(place.first_frame())
        } else {
            place.first_frame()
        };
        self.report.torn = None;
        let wound = Wound {
            place,
            from,
            to: floor,
            before: self.last,
            headless: false,
        };
        self.wound(wound, "the log ends before what was durable");
    }
}

/// One segment's figures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentStat {
    /// The address of its first byte.
    pub base: Position,
    /// Its size in bytes.
    pub bytes: u64,
    /// Its file.
    pub file: PathBuf,
}

/// A log's figures, as cheap as its notes and headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogStat {
    /// The newest epoch.
    pub epoch: u64,
    /// Everything below has left by retention.
    pub first: Position,
    /// Known to be durable at the last fence, trim or close.
    pub durable_floor: Position,
    /// The segments, oldest first; the last may be a spare.
    pub segments: Vec<SegmentStat>,
}

/// Figures of the log in `dir`; reads no records.
pub fn stat(dir: &Path) -> Result<LogStat, OpenError> {
    stat_on(&OsStorage, dir)
}

/// The same over any [`Storage`].
pub fn stat_on(storage: &dyn Storage, dir: &Path) -> Result<LogStat, OpenError> {
    let meta = load_meta(storage, dir)?.ok_or_else(|| OpenError::NoJournal(dir.to_owned()))?;
    let (bases, _) = inventory(storage, dir, meta.trimmed_to)?;
    let mut segments = Vec::new();
    for base in bases {
        let file = dir.join(file_name(base));
        let size = storage.open(&file, OpenMode::Read).and_then(|f| f.size());
        let bytes = size.map_err(OpenError::io("read", &file))?;
        segments.push(SegmentStat {
            base: Position(base),
            bytes,
            file,
        });
    }
    Ok(LogStat {
        epoch: meta.epoch,
        first: Position(meta.trimmed_to),
        durable_floor: Position(meta.durable_floor),
        segments,
    })
}
