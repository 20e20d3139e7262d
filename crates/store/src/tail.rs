//! The tail thread: follows the log behind everybody else's back.
//!
//! Owns the difference to the last checkpoint, writes checkpoints, and feeds the index. It is the
//! only writer of both. It never holds what an append needs, so it may take its time.

use std::{path::PathBuf, sync::Arc, time::Duration};

use hie_journal::{LogError, Position, Record as LogRecord};

use crate::{
    Live, StoreError, StoreOptions,
    checkpoint::{Head, Place, Reader, Writer},
    index::Index,
    live::{Delta, merge},
    record,
    recover::{Found, SCAN_BYTES},
    shared::Shared,
};

/// How long to wait before looking again for records that were appended but not yet durable.
const NOT_YET_DURABLE: Duration = Duration::from_millis(10);

/// Scans that the index may do at the end of the engine; a rebuild goes on at the next start.
const LAST_SCANS: u32 = 16;

/// Rounds that a broken index rests before it is tried again, doubled each time.
const REST_MIN: u32 = 32;
const REST_MAX: u32 = 4096;

/// A checkpoint may cost this part of what the log costs: more often would write more, more seldom
/// would hold a larger difference in memory.
const CHECKPOINT_SHARE: u64 = 2;

/// So much in one look at the log is heavy traffic, and appends gather so many times longer.
const BUSY_BYTES: usize = 256 << 10;
const BUSY_GATHER: u32 = 5;

/// The tail thread works with what the messages leave of the processor.
const NICENESS: i32 = 5;

pub(crate) struct Tail {
    pub(crate) shared: Arc<Shared>,
    dir: PathBuf,
    place: Place,
    options: StoreOptions,
    delta: Delta,
    /// Records below are in the delta or the checkpoint.
    position: Position,
    /// What the checkpoint file covers, where one is in use.
    checkpoint: Option<Position>,
    /// Bytes of log since then.
    since_checkpoint: u64,
    checkpoint_bytes: u64,
    index: Option<Index>,
    /// Rounds until a broken index is opened again, and how long it rested last.
    index_rests: u32,
    index_rested: u32,
    records: Vec<LogRecord>,
    /// Bytes of records that the last look at the log found.
    last_read: usize,
    /// It met something that it cannot get past; said once.
    stuck: bool,
}

impl Tail {
    pub(crate) fn new(
        shared: Arc<Shared>,
        dir: PathBuf,
        place: Place,
        options: StoreOptions,
        found: Found,
        checkpoint: Option<Position>,
    ) -> Self {
        let checkpoint_bytes = place.bytes();
        Self {
            shared,
            dir,
            place,
            options,
            delta: found.delta,
            position: found.position,
            checkpoint: checkpoint.filter(|_| found.has_base),
            since_checkpoint: found.tail_bytes,
            checkpoint_bytes,
            index: None,
            index_rests: 0,
            index_rested: 0,
            records: Vec::new(),
            last_read: 0,
            stuck: false,
        }
    }

    /// The life of the thread: ends when the bell says so.
    pub(crate) fn run(mut self) {
        yield_to_others();
        self.open_index();
        let mut again = Some(Duration::ZERO);
        loop {
            self.shared.bell.wait(self.gather(), again);
            if !self.stuck {
                self.follow_or_say();
            }
            while let Some(job) = self.shared.bell.next_job() {
                job(&mut self);
            }
            if self.shared.bell.stopping() {
                return;
            }
            again = self.look_again();
        }
    }

    /// How long appends gather. A transaction costs the same few pages for ten rows as for a
    /// thousand, so in heavy traffic they gather longer; who asks for the index cuts it short.
    fn gather(&self) -> Duration {
        let busy = self.last_read > BUSY_BYTES;
        self.options.index_gather * if busy { BUSY_GATHER } else { 1 }
    }

    /// When to look for more without being called.
    fn look_again(&self) -> Option<Duration> {
        if self.stuck || self.poisoned() {
            return None;
        }
        if self
            .index
            .as_ref()
            .is_some_and(|index| index.watermark() < self.position)
        {
            return Some(Duration::ZERO);
        }
        (self.position <= self.shared.bell.newest()).then_some(NOT_YET_DURABLE)
    }

    fn follow_or_say(&mut self) {
        if let Err(error) = self.follow() {
            self.stuck = true;
            tracing::error!(code = error.code(), %error, "the store cannot follow its journal: messages flow on, but checkpoints and the index stand still until a restart");
        }
    }

    fn poisoned(&self) -> bool {
        matches!(
            self.shared.log.trouble(),
            Some(LogError::Poisoned(_) | LogError::Fenced { .. })
        )
    }

    /// Reads what is durable until little is left or somebody waits; writes a checkpoint when due.
    fn follow(&mut self) -> Result<(), StoreError> {
        loop {
            // What came while the last part was taken in may gather again.
            let live = self.follow_live()? && self.last_read > SCAN_BYTES / 2;
            let index = self.follow_index();
            let due = self
                .options
                .checkpoint_log_bytes
                .max(CHECKPOINT_SHARE * self.checkpoint_bytes);
            if self.since_checkpoint >= due {
                self.write_checkpoint_or_say();
            }
            if !live && (!index || self.shared.bell.somebody_waits()) {
                return Ok(());
            }
        }
    }

    /// A checkpoint that fails (a full disk) costs only time at the next start: it is tried again
    /// after as much log as before.
    fn write_checkpoint_or_say(&mut self) {
        if let Err(error) = self.write_checkpoint() {
            tracing::warn!(code = error.code(), %error, "no checkpoint could be written; nothing is lost, the next start reads more of the journal");
            self.since_checkpoint = 0;
        }
    }

    /// Reads all that is durable, the index included; an error if it has none or cannot.
    pub(crate) fn follow_all(&mut self) -> Result<(), StoreError> {
        while self.follow_live()? || self.follow_index() {
            if self.shared.bell.stopping() {
                return Err(StoreError::Closed);
            }
        }
        self.index().map(drop)
    }

    /// Takes the next records into the delta, and into the index if it is level.
    fn follow_live(&mut self) -> Result<bool, StoreError> {
        let mut records = std::mem::take(&mut self.records);
        records.clear();
        let next = self
            .shared
            .log
            .scan(self.position, SCAN_BYTES, &mut records)?;
        for found in &records {
            let record = record::decode(found.position, &found.bytes)
                .map_err(StoreError::unreadable(found.position))?;
            self.delta.apply(&record, &self.shared.names)?;
            self.since_checkpoint += found.bytes.len() as u64;
        }
        self.last_read = records.iter().map(|found| found.bytes.len()).sum();
        let any = !records.is_empty();
        if any {
            let level = self
                .index
                .as_ref()
                .is_some_and(|index| index.watermark() == self.position);
            self.position = next;
            if level {
                self.feed_index(&records, next);
            }
        }
        records.clear();
        self.records = records;
        Ok(any)
    }

    /// Lets an index that is behind take some records; whether it took any.
    fn follow_index(&mut self) -> bool {
        if self.index.is_none() && self.options.index {
            if self.index_rests > 0 {
                self.index_rests -= 1;
                return false;
            }
            self.open_index();
        }
        let Some(at) = self.index.as_ref().map(Index::watermark) else {
            return false;
        };
        if at >= self.position {
            return false;
        }
        let mut records = std::mem::take(&mut self.records);
        records.clear();
        match self.shared.log.scan(at, SCAN_BYTES, &mut records) {
            Ok(next) if !records.is_empty() => self.feed_index(&records, next),
            // Nothing between the two positions: level after all.
            Ok(_) => self.feed_index(&[], self.position),
            Err(error) => self.rest_index(error.into()),
        }
        records.clear();
        self.records = records;
        self.index.is_some() || self.index_rests == 0
    }

    fn open_index(&mut self) {
        if !self.options.index {
            return;
        }
        let extent = self.shared.log.extent();
        match Index::open(&*self.place.storage, &self.dir, &extent) {
            Ok(index) => {
                self.shared.pool.clear();
                self.shared.index.set_watermark(index.watermark());
                self.shared.index.set_trouble(None);
                self.index = Some(index);
            }
            Err(error) => self.rest_index(error),
        }
    }

    fn feed_index(&mut self, records: &[LogRecord], next: Position) {
        let Some(index) = &mut self.index else { return };
        match index.follow(records, next) {
            Ok(()) => {
                self.shared.index.set_watermark(index.watermark());
                self.index_rested = 0;
            }
            Err(error) => self.rest_index(error),
        }
    }

    /// Takes a broken index out of use for a while; the messages do not notice.
    fn rest_index(&mut self, error: StoreError) {
        tracing::warn!(code = error.code(), %error, "the index does not follow the journal; messages flow on, it is tried again");
        self.index = None;
        let damaged = matches!(error, StoreError::IndexDamaged(_));
        if damaged {
            Index::remove(&*self.place.storage, &self.dir);
        }
        // A damaged one is made anew at once, but not again and again.
        let at_once = damaged && self.index_rested == 0;
        self.index_rested = (self.index_rested * 2).clamp(REST_MIN, REST_MAX);
        self.index_rests = if at_once { 0 } else { self.index_rested };
        self.shared.index.set_trouble(Some(error));
    }

    /// The index, if it is there and level with what was read.
    pub(crate) fn index(&mut self) -> Result<&mut Index, StoreError> {
        let trouble = || StoreError::Index("this store keeps no index".into());
        match &mut self.index {
            Some(index) if index.watermark() >= self.position => Ok(index),
            Some(_) => Err(StoreError::IndexBehind {
                lag_bytes: self.shared.index_lag_bytes(),
            }),
            None => Err(self.shared.index.trouble().unwrap_or_else(trouble)),
        }
    }

    /// Whether there is an index to be asked at all.
    pub(crate) fn index_opened(&mut self) -> Result<(), StoreError> {
        match self.index() {
            Ok(_) | Err(StoreError::IndexBehind { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Shows every unfinished header in log order, streaming from the last checkpoint.
    pub(crate) fn each_live(
        &self,
        visit: impl FnMut(Live) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let base = match self.checkpoint {
            Some(_) => Reader::open(&self.place, &self.shared.names)?,
            None => None,
        };
        merge(base.into_iter().flatten(), &self.delta, visit).map(drop)
    }

    /// Writes all unfinished headers as of what was read, in one pass over the old checkpoint and
    /// the difference.
    pub(crate) fn write_checkpoint(&mut self) -> Result<(), StoreError> {
        let head = Head {
            position: self.position,
            next_id: self.delta.next_id,
            redirects: self.delta.redirects.clone(),
        };
        let mut writer = Writer::create(&self.place, &head, &self.shared.names.list())?;
        self.each_live(|live| writer.push(&live))?;
        writer.finish()?;
        // What moved before this opening is resolved in the checkpoint now; what moved since may
        // still be named by a record that was encoded just before.
        self.delta = Delta::over_base(head.next_id, self.shared.moved.all());
        self.checkpoint = Some(head.position);
        self.since_checkpoint = 0;
        self.checkpoint_bytes = self.place.bytes();
        Ok(())
    }

    /// The end of a graceful stop: everything is in the checkpoint, so the next start reads no log.
    pub(crate) fn finish(&mut self) -> Result<(), StoreError> {
        while self.follow_live()? {}
        for _ in 0..LAST_SCANS {
            if !self.follow_index() {
                break;
            }
        }
        if let Some(index) = &self.index
            && let Err(error) = index.close(&*self.place.storage, &self.dir)
        {
            tracing::warn!(code = error.code(), %error, "the index was not closed; it may be made anew at the next start");
        }
        if self.checkpoint != Some(self.position) {
            self.write_checkpoint()?;
        }
        Ok(())
    }
}

/// Where the system knows niceness by thread; elsewhere nothing is lost but a little fairness.
fn yield_to_others() {
    #[cfg(target_os = "linux")]
    let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICENESS);
}
