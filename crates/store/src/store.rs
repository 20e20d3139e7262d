//! The store: what the engine asks, and how it becomes records.
//!
//! Owns the hot path: check, count, append. It does no I/O and waits for nothing but the log's
//! own lock; everything else happens on the tail thread.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use bytes::Bytes;
use hie_journal::{
    Extent, Log, LogError, OpenHint, Options, Position, SegmentLog, Ticket, Urgency,
    file::{OsStorage, Storage},
};
use parking_lot::Mutex;
use smallvec::SmallVec;

use crate::{
    Appended, BodyRef, ItemId, LegBody, MessageId, NewBody, NewLeg, NewMessage, Recovered, Report,
    SessionId, Step, StoreError, StoreOptions,
    checkpoint::Place,
    index::{self, Pool},
    names::Names,
    record::{AcceptOut, Encode, StartedOut, StepOut, body_range},
    recover::{checkpoint_position, recover},
    shared::Shared,
    tail::Tail,
};

/// Messages, headers, sessions and bodies on one log. Cheap to clone; all clones are one store.
///
/// Dropping the last clone without [`close`](Self::close) is safe and like a crash: the next
/// opening reads what came after the last checkpoint.
#[derive(Clone)]
pub struct Store {
    pub(crate) shared: Arc<Shared>,
    thread: Arc<TailThread>,
}

/// Stops the tail thread when the last clone of the store goes.
struct TailThread {
    shared: Arc<Shared>,
    handle: Mutex<Option<JoinHandle<()>>>,
}

impl TailThread {
    fn stop(&self) {
        self.shared.bell.stop();
        if let Some(handle) = self.handle.lock().take()
            && handle.join().is_err()
        {
            tracing::error!("the tail thread of the store ended by a panic");
        }
    }
}

impl Drop for TailThread {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Store {
    /// Opens the store in a folder, making it if it is empty, and recovers what is unfinished.
    /// `now_ms` is milliseconds since 1970 (UTC). Holds the folder's lock until it is dropped.
    pub fn open(
        dir: &Path,
        options: StoreOptions,
        now_ms: u64,
    ) -> Result<(Self, Recovered), StoreError> {
        Self::open_in(Arc::new(OsStorage), dir, options, now_ms)
    }

    /// The same through any file layer: tests stand a failing disk behind it. (The index is
    /// SQLite's own and stands on the real one.)
    pub fn open_in(
        storage: Arc<dyn Storage>,
        dir: &Path,
        options: StoreOptions,
        now_ms: u64,
    ) -> Result<(Self, Recovered), StoreError> {
        let hint = OpenHint {
            verify_from: checkpoint_position(&Place::new(storage.clone(), dir)),
        };
        let journal = Options {
            segment_bytes: options.segment_bytes,
            reserve_bytes: options.reserve_bytes,
            ..Options::default()
        };
        let (log, report) = SegmentLog::open_on(storage.clone(), &journal_dir(dir), journal, hint)?;
        let (store, mut recovered) = Self::open_on(Arc::new(log), storage, dir, options, now_ms)?;
        recovered.report.journal = Some(report);
        Ok((store, recovered))
    }

    /// The same over any log; checkpoint and index stand in `dir`. This is where another provider
    /// of the [`Log`] seam enters.
    pub fn open_on(
        log: Arc<dyn Log>,
        storage: Arc<dyn Storage>,
        dir: &Path,
        options: StoreOptions,
        now_ms: u64,
    ) -> Result<(Self, Recovered), StoreError> {
        storage
            .create_dir_all(dir)
            .map_err(StoreError::io("make the folder", dir))?;
        let place = Place::new(storage, dir);
        let epoch = log.fence()?;
        let names = Names::default();
        let mut report = Report::default();
        let mut found = recover(&*log, &place, &names, &mut report)?;
        let live = std::mem::take(&mut found.live);
        let pool = Pool::new(index::path(dir));
        let shared = Arc::new(Shared::new(log, epoch, names, found.delta.next_id, pool));
        let tail = Tail::new(
            shared.clone(),
            dir.to_owned(),
            place,
            options,
            found,
            report.checkpoint,
        );
        let handle = std::thread::Builder::new()
            .name("hie-store-tail".into())
            .spawn(move || tail.run())
            .map_err(StoreError::io("start a thread for", dir))?;
        let thread = TailThread {
            shared: shared.clone(),
            handle: Mutex::new(Some(handle)),
        };
        let store = Self {
            shared,
            thread: Arc::new(thread),
        };
        let _ = store.say_started(now_ms)?; // nobody waits for it
        let names = store.shared.names.list();
        Ok((
            store,
            Recovered {
                live,
                names,
                report,
            },
        ))
    }

    /// Keeps the counter of ids in the log, whatever else leaves it.
    fn say_started(&self, time_ms: u64) -> Result<Ticket, StoreError> {
        let next_id = self.shared.next_id.load(Ordering::Acquire);
        self.append_plain(&StartedOut { time_ms, next_id })
    }

    /// The small number of an item's name, for this opening of the store.
    ///
    /// # Panics
    /// After 65,535 different names, which no production has.
    pub fn item(&self, name: &str) -> ItemId {
        self.shared
            .names
            .intern(name)
            .expect("a production has fewer than 65,535 items")
    }

    /// The name of an item; empty for a number that this store never gave out.
    pub fn item_name(&self, item: ItemId) -> Arc<str> {
        self.shared.names.name(item)
    }

    /// Takes a message in: one record with its session, body and headers. It is not safe to say
    /// so to anybody before the ticket is durable.
    ///
    /// Refused with `disk-full` when the log's reserve is reached, and for good once the log is
    /// poisoned.
    pub fn accept(&self, message: &NewMessage<'_>) -> Result<Appended, StoreError> {
        if message.legs.is_empty() {
            return Err(StoreError::Invalid("a message needs at least one leg"));
        }
        check_len(match message.body {
            NewBody::Bytes(bytes) => bytes.len(),
            NewBody::Stored(_) => 0,
        })?;
        check_legs(message.legs)?;
        match message.body {
            NewBody::Bytes(_) => self.append_accept(message),
            NewBody::Stored(body) => self.accept_stored(message, body),
        }
    }

    /// A message whose body the store has: refers to it, or copies it if it may leave soon.
    fn accept_stored(
        &self,
        message: &NewMessage<'_>,
        body: BodyRef,
    ) -> Result<Appended, StoreError> {
        let floor = self.shared.floor.read(); // held until the append has its place
        let body = self.shared.moved.resolve(body);
        if body.position >= *floor {
            self.body(body)?; // it must exist before somebody is told that it will be sent
            return self.append_accept(&NewMessage {
                body: NewBody::Stored(body),
                ..*message
            });
        }
        let bytes = self.body(body)?;
        self.append_accept(&NewMessage {
            body: NewBody::Bytes(&bytes),
            ..*message
        })
    }

    fn append_accept(&self, message: &NewMessage<'_>) -> Result<Appended, StoreError> {
        let names = self.shared.names.table();
        let known = |item: ItemId| usize::from(item.0) < names.len();
        if !known(message.source) || !message.legs.iter().all(|leg| known(leg.target)) {
            return Err(StoreError::Invalid(
                "an item number that this store did not give out",
            ));
        }
        let mut record = AcceptOut {
            message,
            names: &names,
            first_id: 0,
        };
        let ids = message.legs.len() as u64;
        let ticket = self.append(Urgency::Intake, &mut record, ids, |record, id| {
            record.first_id = id
        })?;
        let first_id = record.first_id;
        self.shared.bell.ring(ticket.position());
        let (main, first_own) = match message.body {
            NewBody::Bytes(bytes) => (body_at(ticket.position(), 0, bytes.len()), 1),
            NewBody::Stored(body) => (body, 0),
        };
        Ok(Appended {
            session: SessionId(first_id),
            first_id: MessageId(first_id),
            bodies: leg_bodies(ticket.position(), message.legs, main, first_own),
            ticket,
        })
    }

    /// Changes the state of one header, with what that leads to: one record. Nobody need wait for
    /// its ticket unless something outside depends on it: a crash before it is durable undoes it,
    /// and the header is worked on again.
    ///
    /// Never refused for a full disk.
    pub fn step(&self, step: &Step<'_>) -> Result<Appended, StoreError> {
        check_len(step.reply.map_or(0, <[u8]>::len))?;
        check_legs(step.legs)?;
        let body = self.shared.moved.resolve(step.header.body);
        let names = self.shared.names.table();
        let known = |item: ItemId| usize::from(item.0) < names.len();
        if !known(step.header.target) || !step.legs.iter().all(|leg| known(leg.target)) {
            return Err(StoreError::Invalid(
                "an item number that this store did not give out",
            ));
        }
        let mut record = StepOut {
            step,
            body,
            names: &names,
            first_id: 0,
        };
        let ids = step.legs.len() as u64;
        let ticket = self.append(Urgency::Progress, &mut record, ids, |record, id| {
            record.first_id = id
        })?;
        let first_id = record.first_id;
        self.shared.bell.ring(ticket.position());
        let first_own = step.reply.is_some().into();
        Ok(Appended {
            session: step.header.session,
            first_id: MessageId(first_id),
            bodies: leg_bodies(ticket.position(), step.legs, body, first_own),
            ticket,
        })
    }

    /// Counts, then writes into the log's own slice. The ids are taken under the log's lock, so
    /// that their order is the order of the log.
    fn append<R: Encode>(
        &self,
        urgency: Urgency,
        record: &mut R,
        ids: u64,
        set_first_id: impl Fn(&mut R, u64),
    ) -> Result<Ticket, LogError> {
        let Shared {
            log,
            epoch,
            next_id,
            ..
        } = &*self.shared;
        let len = record.encoded_len();
        log.append_with(*epoch, urgency, len, &mut |_, slice| {
            set_first_id(record, next_id.fetch_add(ids, Ordering::AcqRel));
            record.fill(slice);
        })
    }

    pub(crate) fn append_plain(&self, record: &impl Encode) -> Result<Ticket, StoreError> {
        append_plain(&self.shared, record)
    }

    /// The bytes of a body, from memory or from the log. A body that was copied forward is found
    /// under its old reference too, as long as this store is open.
    pub fn body(&self, body: BodyRef) -> Result<Bytes, StoreError> {
        let at = self.shared.moved.resolve(body);
        match read_body(&*self.shared.log, at) {
            // It may have moved between the look-up and the read.
            Err(StoreError::Log(LogError::NotFound(_)))
                if self.shared.moved.resolve(body) != at =>
            {
                read_body(&*self.shared.log, self.shared.moved.resolve(body))
            }
            other => other,
        }
    }

    /// The error that poisoned the log, or the disk-full condition; none while all is well.
    pub fn log_trouble(&self) -> Option<LogError> {
        self.shared.log.trouble()
    }

    /// How much of the log is kept, and how far it is durable.
    pub fn extent(&self) -> Extent {
        self.shared.log.extent()
    }

    /// Waits (blocking) until everything appended so far is durable.
    pub fn flush(&self) -> Result<(), StoreError> {
        Ok(self.shared.log.flush()?)
    }

    /// Ends a graceful stop (blocking): everything durable, the index caught up, a checkpoint
    /// written, the log closed. Appends fail from now on; reading still works.
    pub fn close(&self) -> Result<(), StoreError> {
        let flushed = self.shared.log.flush();
        let finished = self.on_tail(Tail::finish).and_then(|done| done);
        self.thread.stop();
        self.shared.log.close()?;
        flushed?;
        match finished {
            Err(StoreError::Closed) => Ok(()), // the second call
            other => other,
        }
    }

    /// Runs a job on the tail thread, behind all that is durable by then, and waits for it.
    pub(crate) fn on_tail<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Tail) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        self.send_to_tail(job)
            .recv()
            .map_err(|_| StoreError::Closed)
    }

    /// The same for somebody who does not wait for ever.
    pub(crate) fn on_tail_within<T: Send + 'static>(
        &self,
        timeout: Duration,
        job: impl FnOnce(&mut Tail) -> T + Send + 'static,
    ) -> Result<T, mpsc::RecvTimeoutError> {
        self.send_to_tail(job).recv_timeout(timeout)
    }

    /// The answer never comes where the tail thread has stopped.
    fn send_to_tail<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Tail) -> T + Send + 'static,
    ) -> mpsc::Receiver<T> {
        let (answer, result) = mpsc::sync_channel(1);
        self.shared.bell.send(Box::new(move |tail| {
            let _ = answer.send(job(tail)); // the asker may have gone
        }));
        result
    }
}

/// Where the log stands in the folder of a store.
pub(crate) fn journal_dir(dir: &Path) -> PathBuf {
    dir.join("journal")
}

/// Appends a record that makes no headers.
pub(crate) fn append_plain(shared: &Shared, record: &impl Encode) -> Result<Ticket, StoreError> {
    let len = record.encoded_len();
    let ticket =
        shared
            .log
            .append_with(shared.epoch, Urgency::Progress, len, &mut |_, slice| {
                record.fill(slice)
            })?;
    shared.bell.ring(ticket.position());
    Ok(ticket)
}

/// Reads one body; the record's checksum was verified by the log.
pub(crate) fn read_body(log: &dyn Log, body: BodyRef) -> Result<Bytes, StoreError> {
    let record = log.read(body.position)?;
    let range = body_range(&record, body.index).map_err(StoreError::unreadable(body.position))?;
    if range.len() != body.len as usize {
        let reason = "the body is not as long as its reference says";
        return Err(StoreError::Unreadable {
            position: body.position,
            reason,
        });
    }
    Ok(record.slice(range))
}

fn check_len(len: usize) -> Result<(), StoreError> {
    let limit = u32::MAX as usize;
    if len > limit {
        Err(LogError::TooLarge { size: len, limit }.into())
    } else {
        Ok(())
    }
}

fn check_legs(legs: &[NewLeg<'_>]) -> Result<(), StoreError> {
    if legs.len() >= usize::from(u16::MAX) {
        return Err(StoreError::Invalid("more than 65,534 legs"));
    }
    legs.iter().try_for_each(|leg| match leg.body {
        LegBody::New(bytes) => check_len(bytes.len()),
        LegBody::Same => Ok(()),
    })
}

fn body_at(position: Position, index: u16, len: usize) -> BodyRef {
    BodyRef {
        position,
        index,
        len: len as u32,
    } // checked by check_len
}

fn leg_bodies(
    position: Position,
    legs: &[NewLeg<'_>],
    same: BodyRef,
    first_own: u16,
) -> SmallVec<[BodyRef; 4]> {
    let mut next = first_own;
    legs.iter()
        .map(|leg| match leg.body {
            LegBody::Same => same,
            LegBody::New(bytes) => {
                next += 1;
                body_at(position, next - 1, bytes.len())
            }
        })
        .collect()
}
