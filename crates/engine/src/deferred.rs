//! Responses that come later than the end of `on_message`.
//!
//! A host that cannot answer yet defers: its message is then in state Deferred, on disk, until
//! somebody answers it by its correlation id or `MessageTimeout` is over. Owns the table of such
//! messages and their deadlines. What a response does to who waits is the broker's.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use hie_store::{Live, MessageId, State, StoreError};
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, oneshot},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::{
    HostError,
    broker::{Broker, Finish},
    stats::ItemStats,
};

struct Entry {
    live: Live,
    timeout: Duration,
    /// None while its host has it in hand.
    deadline: Option<Instant>,
    /// The response, where it came before the end of `on_message`.
    early: Option<Bytes>,
    stats: Option<Arc<ItemStats>>,
    /// Dropped at its end, so that a strict item can wait for that.
    _done: Option<oneshot::Sender<()>>,
}

/// The deferred messages of a production.
#[derive(Default)]
pub(crate) struct Deferrals {
    table: Mutex<HashMap<MessageId, Entry>>,
    changed: Notify,
    /// Whether any host ever deferred, so that productions without such hosts take no lock.
    used: AtomicBool,
}

impl Deferrals {
    /// The host that has this message in hand will not answer it at the end.
    pub(crate) fn defer(&self, live: Live, timeout: Duration, stats: Arc<ItemStats>) {
        let entry = Entry {
            live,
            timeout,
            deadline: None,
            early: None,
            stats: Some(stats),
            _done: None,
        };
        self.used.store(true, Ordering::Release);
        self.table.lock().entry(live.id).or_insert(entry);
    }

    /// Whether the message in hand was deferred.
    pub(crate) fn has(&self, id: MessageId) -> bool {
        self.used.load(Ordering::Acquire) && self.table.lock().contains_key(&id)
    }

    /// The message ends in another way after all.
    pub(crate) fn forget(&self, id: MessageId) {
        if self.used.load(Ordering::Acquire) {
            self.table.lock().remove(&id);
        }
    }

    /// Its host is done with it, and that is recorded. The response if it is here already;
    /// otherwise what ends when it comes.
    pub(crate) fn settle(&self, id: MessageId) -> Result<Bytes, oneshot::Receiver<()>> {
        let (done, ended) = oneshot::channel();
        let mut table = self.table.lock();
        let Some(entry) = table.get_mut(&id) else {
            return Err(ended);
        };
        if let Some(reply) = entry.early.take() {
            table.remove(&id);
            return Ok(reply);
        }
        entry.deadline = Some(Instant::now() + entry.timeout);
        entry._done = Some(done);
        self.changed.notify_one();
        Err(ended)
    }

    /// A message that was deferred before the engine started.
    pub(crate) fn recovered(&self, live: Live, timeout: Duration) {
        let entry = Entry {
            live,
            timeout,
            deadline: Some(Instant::now() + timeout),
            early: None,
            stats: None,
            _done: None,
        };
        self.table.lock().insert(live.id, entry);
    }

    /// Takes a response. The entry where the message is to end now; none where its host has it.
    fn answer(&self, id: MessageId, reply: &Bytes) -> Result<Option<Entry>, HostError> {
        let mut table = self.table.lock();
        match table.get_mut(&id) {
            Some(entry) if entry.deadline.is_some() => Ok(table.remove(&id)),
            Some(entry) if entry.early.is_none() => {
                entry.early = Some(reply.clone());
                Ok(None)
            }
            _ => Err(HostError::new(
                "not-deferred",
                format!(
                    "message {id} does not wait for a response: nobody deferred it, it is answered, \
                     or MessageTimeout was over"
                ),
            )),
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let table = self.table.lock();
        table.values().filter_map(|entry| entry.deadline).min()
    }

    fn expired(&self, now: Instant) -> Vec<Entry> {
        let mut table = self.table.lock();
        let over = |entry: &mut Entry| entry.deadline.is_some_and(|deadline| deadline <= now);
        table
            .extract_if(|_, entry| over(entry))
            .map(|(_, entry)| entry)
            .collect()
    }
}

/// Answers a deferred message: it is Completed, on disk, and who waits has its response.
pub(crate) async fn respond(
    broker: &Broker,
    id: MessageId,
    reply: &Bytes,
) -> Result<(), HostError> {
    let Some(entry) = broker.deferrals.answer(id, reply)? else {
        return Ok(());
    };
    let refused = |error: StoreError| HostError::new(error.code(), error.to_string());
    let ended = end(broker, &entry, State::Completed, "", Some(reply)).map_err(refused)?;
    let _proof = ended
        .durable()
        .await
        .map_err(|error| refused(error.into()))?;
    Ok(())
}

fn end(
    broker: &Broker,
    entry: &Entry,
    state: State,
    reason: &str,
    reply: Option<&Bytes>,
) -> Result<hie_journal::Ticket, StoreError> {
    let live = Live {
        state: State::Deferred,
        ..entry.live
    };
    let appended = broker.finish(&Finish {
        live: &live,
        state,
        attempts: live.attempts,
        reason,
        note: "",
        reply,
        body: &Bytes::new(),
        legs: &[],
        response_from: &[],
    })?;
    if let Some(stats) = &entry.stats {
        stats.count(state, Duration::ZERO);
    }
    Ok(appended.ticket)
}

/// Ends what was not answered in time, until the engine stops.
pub(crate) async fn run(broker: Arc<Broker>, stopping: CancellationToken) {
    loop {
        let next = broker.deferrals.next_deadline();
        let due = async {
            match next {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = stopping.cancelled() => return,
            () = broker.deferrals.changed.notified() => {}
            () = due => give_up(&broker),
        }
    }
}

fn give_up(broker: &Broker) {
    for entry in broker.deferrals.expired(Instant::now()) {
        let item = broker.store.item_name(entry.live.target);
        let message = entry.live.id.0;
        let reason = format!(
            "its response was deferred, and none came within {:?} (MessageTimeout)",
            entry.timeout
        );
        warn!(item = &*item, message, "{reason}");
        if let Some(stats) = &entry.stats {
            stats.timeouts.fetch_add(1, Ordering::Relaxed);
            stats.note_error(reason.clone());
        }
        if let Err(error) = end(broker, &entry, State::Error, &reason, None) {
            // It stays Deferred in the log and gets a new deadline with the next start.
            error!(
                item = &*item,
                message,
                code = error.code(),
                "cannot record its end: {error}"
            );
        }
    }
}
