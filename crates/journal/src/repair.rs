//! Repair: sets damage aside so that the rest of the log can be used again.
//!
//! Works on a stopped log under its lock. Every segment it is going to change is copied into the
//! folder `damaged/` first, and that copy is durable before the first byte changes. A damaged stretch then becomes one
//! frame: records in it whose own checksum is right stay where they are, everything between them
//! becomes skipped records. A position that was readable keeps its meaning.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    OpenError, Position,
    file::{LockOutcome, OpenMode, OsStorage, Storage, StorageFile, read_full_at, write_all_at},
    frame::{FRAME_HEADER, FrameHeader, RECORD_HEADER, RecordAt, Records, open_record, seal},
    meta::{META_NAME, Meta},
    recovery::{inventory, load_meta},
    segment::{SEGMENT_HEADER, SegmentHeader, create, file_name, parse_name},
    verify::{Damage, Inspection, VerifyReport, Wound},
};

const EVIDENCE: &str = "damaged";
const COPY_CHUNK: usize = 1 << 20;
/// The longest stretch that one skipped record stands for.
const SKIP_LIMIT: usize = 1 << 30;

/// What a repair did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RepairReport {
    /// The damages found, each set aside.
    pub damages: Vec<Damage>,
    /// Copies of every segment as it was before.
    pub evidence: Vec<PathBuf>,
    /// Records inside damaged stretches that were whole and stay readable.
    pub salvaged: u64,
    /// The log as it is now.
    pub after: VerifyReport,
}

/// Sets all damage of the log in `dir` aside. The log must not be open.
pub fn repair(dir: &Path) -> Result<RepairReport, OpenError> {
    repair_on(Arc::new(OsStorage), dir)
}

/// The same over any [`Storage`].
pub fn repair_on(storage: Arc<dyn Storage>, dir: &Path) -> Result<RepairReport, OpenError> {
    let path = dir.join("lock");
    let _lock = match storage
        .lock_exclusive(&path)
        .map_err(OpenError::io("lock", path))?
    {
        LockOutcome::Held(guard) => guard,
        LockOutcome::Taken(holder) => {
            return Err(OpenError::Locked {
                dir: dir.to_owned(),
                holder,
            });
        }
    };
    let mut job = Repair {
        storage: &storage,
        dir,
        report: RepairReport::default(),
    };
    let meta = job.meta()?;
    let found = Inspection::run(&*storage, dir, meta)?;
    job.report.damages.extend(found.report.damages.clone());
    job.keep_evidence(&found.wounds)?;
    for wound in &found.wounds {
        job.mend(meta, wound)?;
    }
    job.report.after = Inspection::run(&*storage, dir, meta)?.report;
    Ok(job.report)
}

struct Repair<'a> {
    storage: &'a Arc<dyn Storage>,
    dir: &'a Path,
    report: RepairReport,
}

impl Repair<'_> {
    /// The notes; lost ones are made anew from the segments' headers.
    fn meta(&mut self) -> Result<Meta, OpenError> {
        let path = self.dir.join(META_NAME);
        let reason = match load_meta(&**self.storage, self.dir) {
            Ok(Some(meta)) => return Ok(meta),
            Ok(None) => return Err(OpenError::NoJournal(self.dir.to_owned())),
            Err(OpenError::Damaged { reason, .. }) => reason,
            Err(other) => return Err(other),
        };
        let meta = self.meta_from_segments()?;
        let position = Position(meta.trimmed_to);
        if self.storage.open(&path, OpenMode::Read).is_ok() {
            self.copy_aside(META_NAME)?;
        }
        meta.save(self.storage, self.dir)
            .map_err(OpenError::io("write", &path))?;
        self.report.damages.push(Damage {
            position,
            until: position,
            file: path,
            reason: reason.to_string(),
            records_before: 0,
            records_after: 0,
        });
        Ok(meta)
    }

    fn meta_from_segments(&self) -> Result<Meta, OpenError> {
        let (bases, _) = inventory(&**self.storage, self.dir, 0)?;
        let mut meta: Option<Meta> = None;
        for base in bases {
            let path = self.dir.join(file_name(base));
            let file = self
                .storage
                .open(&path, OpenMode::Read)
                .map_err(OpenError::io("open", &path))?;
            let mut block = vec![0; SEGMENT_HEADER as usize];
            read_full_at(&*file, &mut block, 0).map_err(OpenError::io("read", &path))?;
            let log_id = crate::frame::u64_at(&block, 16);
            let Ok(header) = SegmentHeader::decode(&block, base, log_id) else {
                continue;
            };
            let meta = meta.get_or_insert(Meta {
                log_id,
                epoch: 0,
                trimmed_to: base,
                durable_floor: 0,
            });
            // Far above any epoch that may have been given since the segment was made.
            meta.epoch = meta.epoch.max(header.epoch + (1 << 20));
        }
        meta.ok_or_else(|| OpenError::NoJournal(self.dir.to_owned()))
    }

    /// Copies every file that will change, and makes the copies durable before anything changes.
    fn keep_evidence(&mut self, wounds: &[Wound]) -> Result<(), OpenError> {
        let mut names: Vec<_> = wounds.iter().map(|w| file_name(w.place.base)).collect();
        names.dedup();
        for name in names {
            if self
                .storage
                .open(&self.dir.join(&name), OpenMode::Read)
                .is_ok()
            {
                self.copy_aside(&name)?;
            }
        }
        Ok(())
    }

    fn copy_aside(&mut self, name: &str) -> Result<(), OpenError> {
        let folder = self.dir.join(EVIDENCE);
        self.storage
            .create_dir_all(&folder)
            .map_err(OpenError::io("make the folder", &folder))?;
        let taken = self
            .storage
            .list(&folder)
            .map_err(OpenError::io("list", &folder))?;
        // An earlier repair's evidence is never overwritten.
        let free = (0..)
            .map(|n| format!("{name}.{n}"))
            .find(|n| !taken.contains(n))
            .unwrap_or_default();
        let (from, to) = (self.dir.join(name), folder.join(free));
        copy(&**self.storage, &from, &to).map_err(OpenError::io("copy the evidence to", &to))?;
        self.storage
            .sync_dir(&folder)
            .map_err(OpenError::io("sync", &folder))?;
        self.storage
            .sync_dir(self.dir)
            .map_err(OpenError::io("sync", self.dir))?;
        self.report.evidence.push(to);
        Ok(())
    }

    fn mend(&mut self, meta: Meta, wound: &Wound) -> Result<(), OpenError> {
        let path = wound.place.path(self.dir);
        if wound.headless {
            self.restore_header(meta, wound)
                .map_err(OpenError::io("rewrite the header of", &path))?;
        }
        let from = wound.from.max(wound.place.first_frame());
        if from >= wound.to {
            return Ok(());
        }
        let file = self
            .storage
            .open(&path, OpenMode::ReadWrite)
            .map_err(OpenError::io("open", &path))?;
        let salvaged = skip(&*file, meta, wound, from).map_err(OpenError::io("rewrite", &path))?;
        self.report.salvaged += salvaged;
        Ok(())
    }

    fn restore_header(&self, meta: Meta, wound: &Wound) -> std::io::Result<()> {
        let header = SegmentHeader {
            log_id: meta.log_id,
            place: wound.place,
            epoch: wound.before.epoch,
        };
        let path = wound.place.path(self.dir);
        match self.storage.open(&path, OpenMode::ReadWrite) {
            Ok(file) => {
                write_all_at(&*file, &header.encode(), 0)?;
                file.fdatasync()
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                debug_assert!(parse_name(&file_name(wound.place.base)).is_some());
                create(&**self.storage, self.dir, header, &mut || true).map(drop)
            }
            Err(e) => Err(e),
        }
    }
}

fn copy(storage: &dyn Storage, from: &Path, to: &Path) -> std::io::Result<()> {
    let (source, target) = (
        storage.open(from, OpenMode::Read)?,
        storage.open(to, OpenMode::Create)?,
    );
    let (mut chunk, mut at) = (vec![0; COPY_CHUNK], 0);
    loop {
        let n = read_full_at(&*source, &mut chunk, at)?;
        if n == 0 {
            return target.fdatasync();
        }
        write_all_at(&*target, chunk.get(..n).unwrap_or_default(), at)?;
        at += n as u64;
    }
}

/// Rewrites `[from, wound.to)` as one frame of what is whole and of skipped records.
fn skip(file: &dyn StorageFile, meta: Meta, wound: &Wound, from: u64) -> std::io::Result<u64> {
    let mut bytes = vec![0; (wound.to - from) as usize];
    crate::file::read_zero_extended(file, &mut bytes, from - wound.place.base)?;
    let whole = salvage(&bytes, meta.log_id, from);
    let mut frame = vec![0; FRAME_HEADER];
    for record in &whole {
        pad_to(&mut frame, record.content.start - RECORD_HEADER);
        open_record(&mut frame, record.content.len(), record.skipped);
        frame.extend_from_slice(bytes.get(record.content.clone()).unwrap_or_default());
    }
    if bytes.len() - frame.len() >= RECORD_HEADER {
        pad_to(&mut frame, bytes.len());
    }
    let prev_end = if wound.before.epoch == 0 {
        from
    } else {
        wound.before.end()
    };
    let header = FrameHeader::new(wound.before.epoch, from, prev_end, prev_end);
    seal(&mut frame, meta.log_id, header);
    write_all_at(file, &frame, from - wound.place.base)?;
    file.fdatasync()?;
    Ok(whole.iter().filter(|r| !r.skipped).count() as u64)
}

/// Fills up to an offset with skipped records. The gap is none or has room for a header: see
/// [`salvage`].
fn pad_to(frame: &mut Vec<u8>, to: usize) {
    while frame.len() < to {
        let gap = (to - frame.len()).saturating_sub(RECORD_HEADER);
        // Never leave a rest that is too small for one more header.
        let len = if gap > SKIP_LIMIT {
            SKIP_LIMIT / 2
        } else {
            gap
        };
        open_record(frame, len, true);
        let end = frame.len() + len;
        frame.resize(end, 0);
    }
}

/// The records of a damaged stretch whose own checksum is right; content ranges count from the
/// stretch's start. Found by trying every address: lengths on the way may be what is damaged.
fn salvage(bytes: &[u8], log_id: u64, from: u64) -> Vec<RecordAt> {
    let mut whole = Vec::new();
    let (mut at, mut free_from) = (FRAME_HEADER, FRAME_HEADER);
    while at + RECORD_HEADER <= bytes.len() {
        let mut walk = Records::new(from + at as u64, bytes.get(at..).unwrap_or_default());
        let fits = |r: &RecordAt| {
            let gap_before = at - free_from;
            r.content.end <= bytes.len() && (gap_before == 0 || gap_before >= RECORD_HEADER)
        };
        let sound = |r: &RecordAt| r.is_intact(log_id, bytes.get(at..).unwrap_or_default());
        match walk.next().filter(|r| fits(r) && sound(r)) {
            Some(mut record) => {
                record.content = at + record.content.start..at + record.content.end;
                at = record.content.end;
                free_from = at;
                whole.push(record);
            }
            None => at += 1,
        }
    }
    whole
}
