//! The tail thread: follows the log behind everybody else's back.
//!
//! Owns the difference to the last checkpoint, writes checkpoints, and feeds the index. It is the
//! only writer of both. It never holds what an append needs, so it may take its time.

use std::{sync::Arc, time::Duration};

use hie_journal::{LogError, Position, Record as LogRecord};

use crate::{
    Live, StoreError, StoreOptions,
    checkpoint::{Head, Place, Reader, Writer},
    live::{Delta, merge},
    record,
    recover::{Found, SCAN_BYTES},
    shared::Shared,
};

/// How long to wait before looking again for records that were appended but not yet durable.
const NOT_YET_DURABLE: Duration = Duration::from_millis(10);

pub(crate) struct Tail {
    pub(crate) shared: Arc<Shared>,
    pub(crate) place: Place,
    options: StoreOptions,
    delta: Delta,
    /// Records below are in the delta or the checkpoint.
    position: Position,
    /// What the checkpoint file covers, where one is in use.
    checkpoint: Option<Position>,
    /// Bytes of log since then.
    since_checkpoint: u64,
    checkpoint_bytes: u64,
    records: Vec<LogRecord>,
    /// It met something that it cannot get past; said once.
    stuck: bool,
}

impl Tail {
    pub(crate) fn new(
        shared: Arc<Shared>,
        place: Place,
        options: StoreOptions,
        found: Found,
        checkpoint: Option<Position>,
    ) -> Self {
        let checkpoint_bytes = place.bytes();
        Self {
            shared,
            place,
            options,
            delta: found.delta,
            position: found.position,
            checkpoint: checkpoint.filter(|_| found.has_base),
            since_checkpoint: found.tail_bytes,
            checkpoint_bytes,
            records: Vec::new(),
            stuck: false,
        }
    }

    /// The life of the thread: ends when the bell says so.
    pub(crate) fn run(mut self) {
        let mut again = None;
        loop {
            self.shared.bell.wait(self.options.index_gather, again);
            if !self.stuck {
                self.follow_or_say();
            }
            let behind = self.position <= self.shared.bell.newest();
            let waiting = behind && !self.stuck && !self.poisoned();
            again = waiting.then_some(NOT_YET_DURABLE);
            while let Some(job) = self.shared.bell.next_job() {
                job(&mut self);
            }
            if self.shared.bell.stopping() {
                return;
            }
        }
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

    /// Reads all that is durable; writes a checkpoint when it is due.
    pub(crate) fn follow(&mut self) -> Result<(), StoreError> {
        while self.follow_some()? {
            let due = self
                .options
                .checkpoint_log_bytes
                .max(4 * self.checkpoint_bytes);
            if self.since_checkpoint >= due {
                self.write_checkpoint()?;
            }
        }
        Ok(())
    }

    fn follow_some(&mut self) -> Result<bool, StoreError> {
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
        let any = !records.is_empty();
        if any {
            self.position = next;
        }
        self.records = records;
        self.records.clear();
        Ok(any)
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

    /// Writes all unfinished headers as of [`position`](Self::position), in one pass over the old
    /// checkpoint and the difference.
    pub(crate) fn write_checkpoint(&mut self) -> Result<(), StoreError> {
        let head = Head {
            position: self.position,
            next_id: self.delta.next_id,
            redirects: self.delta.redirects.clone(),
        };
        let mut writer = Writer::create(&self.place, &head, &self.shared.names.list())?;
        self.each_live(|live| writer.push(&live))?;
        writer.finish()?;
        self.delta = Delta::over_base(head.next_id, head.redirects);
        self.checkpoint = Some(head.position);
        self.since_checkpoint = 0;
        self.checkpoint_bytes = self.place.bytes();
        Ok(())
    }

    /// The end of a graceful stop: everything is in the checkpoint, so the next start reads no log.
    pub(crate) fn finish(&mut self) -> Result<(), StoreError> {
        self.follow()?;
        if self.checkpoint != Some(self.position) {
            self.write_checkpoint()?;
        }
        Ok(())
    }
}
