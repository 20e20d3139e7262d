//! The segment log: the [`Log`] on the local disk.
//!
//! The face that ties the parts together: forming batches, committer, preparer, reader and
//! recovery each live in their own module and are told apart there.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64},
    },
    thread::{self, JoinHandle},
};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};

use crate::{
    Epoch, Extent, Log, LogError, OpenError, OpenHint, Options, Position, Record, RecoveryReport,
    Ticket, Urgency,
    committer::{Committer, Shared, io_error},
    file::{LockOutcome, OsStorage, Storage, is_full},
    forming::{Forming, Found, Limits},
    mend::{Mended, mend},
    meta::Meta,
    preparer::Preparer,
    reader::Reader,
    readonly::ReadOnlyLog,
    recovery::{Beside, Survey, load_meta},
    segment::{self, Place, SegmentHeader},
    space::Space,
    table::Table,
};

const LOCK_NAME: &str = "lock";

/// A log in a folder of this machine, held exclusively while it is open.
pub struct SegmentLog {
    shared: Arc<Shared>,
    storage: Arc<dyn Storage>,
    dir: PathBuf,
    meta: Mutex<Meta>,
    record_limit: usize,
    threads: Mutex<Option<Threads>>,
}

/// What a log holds while it is open, and gives back in this order.
struct Threads {
    committer: JoinHandle<()>,
    preparer: JoinHandle<()>,
    _lock: Box<dyn Send + Sync>,
}

impl SegmentLog {
    /// Opens the log in `dir`, or makes a new one, and recovers what a crash left.
    ///
    /// Nothing may be appended before [`Log::fence`] has given the right to write.
    pub fn open(
        dir: &Path,
        options: Options,
        hint: OpenHint,
    ) -> Result<(Self, RecoveryReport), OpenError> {
        Self::open_on(Arc::new(OsStorage), dir, options, hint)
    }

    /// Opens a log that no engine holds for reading; changes nothing on disk.
    pub fn open_read_only(dir: &Path) -> Result<ReadOnlyLog, OpenError> {
        ReadOnlyLog::open_on(Arc::new(OsStorage), dir)
    }

    /// The same as [`open`](Self::open) over any [`Storage`].
    pub fn open_on(
        storage: Arc<dyn Storage>,
        dir: &Path,
        options: Options,
        hint: OpenHint,
    ) -> Result<(Self, RecoveryReport), OpenError> {
        let options = options.normalised();
        storage
            .create_dir_all(dir)
            .map_err(OpenError::io("make the folder", dir))?;
        let lock = lock(&*storage, dir)?;
        let meta = match load_meta(&*storage, dir)? {
            Some(meta) => meta,
            None => found_new(&storage, dir)?,
        };
        let mut survey = Survey::take(&*storage, dir, meta, hint, Beside::Nobody)?;
        if survey.places.is_empty() {
            make_first(&*storage, dir, meta, &options)?;
            survey = Survey::take(&*storage, dir, meta, hint, Beside::Nobody)?;
        }
        let mended = mend(&*storage, dir, &mut survey)?;
        let report = survey.report.clone();
        let log = Self::start(storage, dir, &options, &survey, mended, lock)?;
        Ok((log, report))
    }

    fn start(
        storage: Arc<dyn Storage>,
        dir: &Path,
        options: &Options,
        survey: &Survey,
        mended: Mended,
        lock: Box<dyn Send + Sync>,
    ) -> Result<Self, OpenError> {
        let (meta, end) = (survey.meta, survey.end());
        let Some(place) = survey.places.last().copied() else {
            return Err(OpenError::NoJournal(dir.to_owned()));
        };
        let space = Arc::new(Space::new(
            storage.clone(),
            dir.to_owned(),
            options.reserve(),
            options.space_check_interval,
        ));
        let limits = Limits {
            segment_bytes: options.segment_bytes,
            batch_bytes: options.batch_bytes,
            pending_bytes: options.pending_bytes,
        };
        let spare = mended.spare.as_ref().map(|(place, _)| *place);
        let forming = |committer| Forming::new(limits, committer, place, end, spare);
        let shared = Arc::new_cyclic(|me: &Weak<Shared>| Shared {
            log_id: meta.log_id,
            forming: Mutex::new(forming(me.clone())),
            work: Condvar::new(),
            room: Condvar::new(),
            durable: AtomicU64::new(end),
            table: Table::new(
                storage.clone(),
                dir.to_owned(),
                survey.places.iter().copied(),
            ),
            preparer: Preparer::new(
                storage.clone(),
                dir.to_owned(),
                meta.log_id,
                space.clone(),
                mended.spare,
            ),
            space,
            idle_mark_after: options.idle_mark_after,
            ended: AtomicBool::new(false),
        });
        let committer = Committer {
            shared: shared.clone(),
            place,
            file: mended.file,
            last_end: end,
        };
        let threads = Threads::spawn(committer, &shared, lock)
            .map_err(OpenError::io("start the threads of", dir))?;
        Ok(Self {
            shared,
            storage,
            dir: dir.to_owned(),
            meta: Mutex::new(meta),
            record_limit: options.record_limit,
            threads: Mutex::new(Some(threads)),
        })
    }

    /// The folder of the log.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The file layer below the log, for snapshots that belong to it.
    pub fn storage(&self) -> Arc<dyn Storage> {
        self.storage.clone()
    }

    /// Where a scan that met damage at `damaged` can go on: the next good frame, or the durable
    /// end. For a caller that has noted and reported the damage; single records in between may
    /// still be whole, and [`Log::read`] gives them by their positions.
    pub fn resume_after(&self, damaged: Position) -> Result<Position, LogError> {
        let durable = self.shared.durable();
        self.reader().resume_after(damaged.0, durable).map(Position)
    }

    fn reader(&self) -> Reader<'_> {
        Reader {
            table: &self.shared.table,
            log_id: self.shared.log_id,
        }
    }

    /// Changes the notes and makes that durable; nothing changes if it fails.
    fn note(&self, change: impl FnOnce(&mut Meta)) -> Result<Meta, LogError> {
        let mut meta = self.meta.lock();
        let mut next = *meta;
        change(&mut next);
        next.durable_floor = next.durable_floor.max(self.shared.durable());
        next.save(&self.storage, &self.dir)
            .map_err(|e| io_error(&e))?;
        *meta = next;
        Ok(next)
    }
}

impl Threads {
    fn spawn(
        committer: Committer,
        shared: &Arc<Shared>,
        lock: Box<dyn Send + Sync>,
    ) -> std::io::Result<Self> {
        let prepared = shared.clone();
        let preparer = thread::Builder::new()
            .name("journal-prepare".into())
            .spawn(move || {
                let ended = || prepared.ended.load(std::sync::atomic::Ordering::Acquire);
                prepared.preparer.run(&ended);
            })?;
        let committer = thread::Builder::new()
            .name("journal-commit".into())
            .spawn(move || committer.run())?;
        Ok(Self {
            committer,
            preparer,
            _lock: lock,
        })
    }
}

fn lock(storage: &dyn Storage, dir: &Path) -> Result<Box<dyn Send + Sync>, OpenError> {
    let path = dir.join(LOCK_NAME);
    match storage
        .lock_exclusive(&path)
        .map_err(OpenError::io("lock", &path))?
    {
        LockOutcome::Held(guard) => Ok(guard),
        LockOutcome::Taken(holder) => Err(OpenError::Locked {
            dir: dir.to_owned(),
            holder,
        }),
    }
}

/// Draws the identity of a new log and makes it durable before anything refers to it.
fn found_new(storage: &Arc<dyn Storage>, dir: &Path) -> Result<Meta, OpenError> {
    let meta = Meta::new();
    meta.save(storage, dir)
        .map_err(OpenError::io("write the notes in", dir))?;
    if let Some(parent) = dir.parent().filter(|p| !p.as_os_str().is_empty()) {
        storage
            .sync_dir(parent)
            .map_err(OpenError::io("sync", parent))?;
    }
    Ok(meta)
}

fn make_first(
    storage: &dyn Storage,
    dir: &Path,
    meta: Meta,
    options: &Options,
) -> Result<(), OpenError> {
    let place = Place {
        base: 0,
        size: options.first_segment_bytes,
    };
    let header = SegmentHeader {
        log_id: meta.log_id,
        place,
        epoch: meta.epoch,
    };
    match segment::create(storage, dir, header, &mut || true) {
        Ok(_) => Ok(()),
        Err(e) if is_full(&e) => Err(OpenError::DiskFull {
            dir: dir.to_owned(),
            needed: place.size,
        }),
        Err(e) => Err(OpenError::io("make the first segment in", dir)(e)),
    }
}

impl Log for SegmentLog {
    fn append_with(
        &self,
        epoch: Epoch,
        urgency: Urgency,
        len: usize,
        fill: &mut dyn FnMut(Position, &mut [u8]),
    ) -> Result<Ticket, LogError> {
        if len > self.record_limit {
            return Err(LogError::TooLarge {
                size: len,
                limit: self.record_limit,
            });
        }
        if urgency == Urgency::Intake
            && let Some(full) = self.shared.space.trouble()
        {
            // Poison, fence and close come first: they do not pass by themselves.
            self.shared.forming.lock().admit(epoch)?;
            return Err(full);
        }
        let mut forming = self.shared.forming.lock();
        forming.admit(epoch)?;
        while !forming.has_room(len) {
            self.shared.room.wait(&mut forming);
            forming.admit(epoch)?;
        }
        let ticket = forming.append(len, fill);
        // Who lets something in waits for it; whoever else waits says so by waiting.
        let wake = forming.expect(urgency == Urgency::Intake);
        drop(forming);
        if wake {
            self.shared.work.notify_one();
        }
        Ok(ticket)
    }

    fn read(&self, position: Position) -> Result<Bytes, LogError> {
        if position.0 >= self.shared.durable() {
            let found = self
                .shared
                .forming
                .lock()
                .find(self.shared.log_id, position.0);
            let record = match found {
                Some(Found::Waiting(record)) => record,
                Some(Found::Flying(batch)) => batch.read().record(self.shared.log_id, position.0),
                // It may have become durable since we looked.
                None if position.0 < self.shared.durable() => {
                    return self.reader().read(position.0);
                }
                None => None,
            };
            return record.ok_or(LogError::NotFound(position));
        }
        self.reader().read(position.0)
    }

    fn scan(
        &self,
        from: Position,
        max_bytes: usize,
        into: &mut Vec<Record>,
    ) -> Result<Position, LogError> {
        self.reader()
            .scan(from.0, self.shared.durable(), max_bytes, into)
            .map(Position)
    }

    fn trim(&self, keep_from: Position) -> Result<(), LogError> {
        // The segment that holds the durable end stays, whatever is asked.
        let cut = keep_from.0.min(self.shared.durable());
        let places = self.shared.table.places();
        let Some(keep) = places
            .iter()
            .rposition(|p| p.base <= cut)
            .filter(|i| *i > 0)
        else {
            return Ok(());
        };
        let (gone, kept) = places.split_at(keep);
        let trimmed_to = kept.first().map_or(0, |p| p.base);
        // The watermark first: a segment that vanishes below it is no damage.
        self.note(|meta| meta.trimmed_to = meta.trimmed_to.max(trimmed_to))?;
        for place in gone {
            self.shared.table.remove(place.base);
            match self.storage.unlink(&place.path(&self.dir)) {
                // Another trim may have been here first.
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(io_error(&e)),
                _ => {}
            }
        }
        self.storage.sync_dir(&self.dir).map_err(|e| io_error(&e))?;
        self.shared.space.refresh();
        Ok(())
    }

    fn fence(&self) -> Result<Epoch, LogError> {
        if self.threads.lock().is_none() {
            return Err(LogError::Closed);
        }
        // Old and new epoch never share a frame: an append that finds another epoch in the
        // batch that forms begins a new one.
        let meta = self.note(|meta| meta.epoch += 1)?;
        let mut forming = self.shared.forming.lock();
        forming.epoch = forming.epoch.max(meta.epoch);
        Ok(Epoch(meta.epoch))
    }

    fn flush(&self) -> Result<(), LogError> {
        let commit = {
            let forming = self.shared.forming.lock();
            match (&forming.poison, forming.last_commit()) {
                (Some(error), _) => return Err(error.clone()),
                (None, None) => return Ok(()),
                (None, Some(commit)) => commit,
            }
        };
        Ticket::new(Position(0), commit).wait_durable().map(drop)
    }

    fn extent(&self) -> Extent {
        let forming = self.shared.forming.lock();
        Extent {
            first: Position(self.shared.table.first()),
            durable: Position(self.shared.durable()),
            end: Position(forming.end()),
            bytes: self.shared.table.bytes(),
        }
    }

    fn trim_points(&self) -> Vec<(Position, u64)> {
        self.shared
            .table
            .places()
            .iter()
            .map(|p| (Position(p.base), p.size))
            .collect()
    }

    fn trouble(&self) -> Option<LogError> {
        let poison = self.shared.forming.lock().poison.clone();
        poison.or_else(|| self.shared.space.trouble())
    }

    fn close(&self) -> Result<(), LogError> {
        let Some(threads) = self.threads.lock().take() else {
            return Ok(());
        };
        self.shared.forming.lock().closing = true;
        self.shared.work.notify_all();
        self.shared.room.notify_all();
        self.shared.preparer.closing();
        let panicked = threads.committer.join().is_err() | threads.preparer.join().is_err();
        let poison = self.shared.forming.lock().poison.clone();
        match poison {
            Some(error) => Err(error),
            None if panicked => Err(LogError::Poisoned(
                "a thread of it ended by a defect".into(),
            )),
            None => self.note(|_| {}).map(drop),
        }
    }
}

impl Drop for SegmentLog {
    fn drop(&mut self) {
        // Whoever wants to know calls `close`; what is not durable has said so to its tickets.
        let _ = self.close();
    }
}
