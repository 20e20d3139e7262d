//! What one may ask of the index, and what comes back.
//!
//! Owns the types of search and trace, which the running store and the read-only reader share.

use std::{fmt, sync::mpsc::RecvTimeoutError, time::Duration};

use hie_journal::Position;

use crate::{
    Answered, BodyRef, Content, MessageId, Priority, SessionId, State, Store, StoreError,
    index::View,
};

/// What to look for; everything that is set must hold. The default finds all, newest first.
#[derive(Clone, Default)]
pub struct Query {
    /// Made at or after, in milliseconds since 1970 (UTC).
    pub from_ms: Option<u64>,
    /// Made before.
    pub to_ms: Option<u64>,
    /// The name of its source or target.
    pub item: Option<String>,
    /// Any of these; empty means all.
    pub states: Vec<State>,
    /// MSH-9: `ADT_A01`, `ADT^A01`, or `ADT` for all of them.
    pub message_type: Option<String>,
    /// MSH-10, exactly.
    pub control_id: Option<String>,
    /// Its session.
    pub session: Option<SessionId>,
    /// PID-3.1 of any repetition, exactly.
    pub patient_id: Option<String>,
    /// Bytes that its body has, without regard to the case of ASCII letters. Bodies are read one
    /// by one, newest first, so set something else as well; see [`Page::next`].
    pub text: Option<String>,
    /// Rows at most; 0 means 50.
    pub limit: usize,
    /// Only headers with a smaller id: the [`next`](Page::next) of the page before.
    pub before: Option<MessageId>,
}

impl fmt::Debug for Query {
    /// Leaves out what identifies a patient.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Query")
            .field("from_ms", &self.from_ms)
            .field("to_ms", &self.to_ms)
            .field("item", &self.item)
            .field("states", &self.states)
            .field("message_type", &self.message_type)
            .field("session", &self.session)
            .field("limit", &self.limit)
            .field("before", &self.before)
            .finish_non_exhaustive()
    }
}

/// Rows of a search, newest first.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// What was found.
    pub rows: Vec<HeaderRow>,
    /// Where to go on; none when all has been seen. A page of a text search may be short, even
    /// empty, and have more behind it: it stops after a bounded number of bodies.
    pub next: Option<MessageId>,
}

/// One header as the index knows it.
#[derive(Clone, PartialEq)]
pub struct HeaderRow {
    /// Its id.
    pub id: MessageId,
    /// Its session.
    pub session: SessionId,
    /// Who sent it.
    pub source: String,
    /// Who gets it.
    pub target: String,
    /// Its state.
    pub state: State,
    /// When it was made, in milliseconds since 1970 (UTC).
    pub created_ms: u64,
    /// When it reached its final state.
    pub done_ms: Option<u64>,
    /// How often it was tried.
    pub attempts: u16,
    /// Its priority.
    pub priority: Priority,
    /// It may have been delivered before a crash.
    pub possible_duplicate: bool,
    /// Why it is in its state.
    pub reason: String,
    /// The rule log entry.
    pub note: String,
    /// Its body.
    pub body: BodyRef,
    /// What the body is.
    pub content: Content,
    /// The reply of the peer or response of the target.
    pub reply: Option<BodyRef>,
    /// MSH-9 as `ADT_A01`; empty if the body has none.
    pub message_type: String,
    /// MSH-10; empty if the body has none.
    pub control_id: String,
    /// PID-3.1; empty if the body has none.
    pub patient_id: String,
    /// Where its message came from: peer address or file name.
    pub origin: String,
    /// The header that its message repeats.
    pub resent_from: Option<MessageId>,
    /// The header whose handling led to this one; none for what a service let in.
    pub cause: Option<MessageId>,
    /// Whether its end reached somebody who waited for it.
    pub answered: Answered,
}

impl fmt::Debug for HeaderRow {
    /// Leaves out what identifies a patient.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeaderRow")
            .field("id", &self.id)
            .field("session", &self.session)
            .field("source", &self.source)
            .field("target", &self.target)
            .field("state", &self.state)
            .field("attempts", &self.attempts)
            .field("message_type", &self.message_type)
            .finish_non_exhaustive()
    }
}

/// How many headers with this target are in this state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Count {
    /// The target.
    pub item: String,
    /// The state.
    pub state: State,
    /// How many.
    pub headers: u64,
}

impl Store {
    /// Looks for headers, newest first (blocking). Sees what the index has seen: some ten
    /// milliseconds behind the log as a rule, see [`catch_up`](Self::catch_up).
    pub fn search(&self, query: &Query) -> Result<Page, StoreError> {
        self.view(|view| view.search(query, |body| self.body(body)))
    }

    /// One header; none if there is none, or it has left (blocking).
    pub fn header(&self, id: MessageId) -> Result<Option<HeaderRow>, StoreError> {
        self.view(|view| view.header(id))
    }

    /// All headers of a session, oldest first (blocking).
    pub fn session(&self, id: SessionId) -> Result<Vec<HeaderRow>, StoreError> {
        self.view(|view| view.session(id))
    }

    /// How many headers each target has in each state (blocking).
    pub fn counts(&self) -> Result<Vec<Count>, StoreError> {
        self.view(|view| view.counts())
    }

    /// Every record below is in the index.
    pub fn index_watermark(&self) -> Position {
        self.shared.index.watermark()
    }

    /// About how many bytes of log the index has not seen; large while it is rebuilt.
    pub fn index_lag_bytes(&self) -> u64 {
        self.shared.index_lag_bytes()
    }

    /// Why the index does not follow; none while all is well.
    pub fn index_trouble(&self) -> Option<StoreError> {
        self.shared.index.trouble()
    }

    /// Waits (blocking) until the index has seen everything appended so far.
    pub fn catch_up(&self, timeout: Duration) -> Result<(), StoreError> {
        self.shared.log.flush()?;
        let caught_up = self.on_tail_within(timeout, |tail| tail.follow_all());
        match caught_up {
            Err(RecvTimeoutError::Timeout) => Err(StoreError::IndexBehind {
                lag_bytes: self.index_lag_bytes(),
            }),
            Err(RecvTimeoutError::Disconnected) => Err(StoreError::Closed),
            Ok(result) => result,
        }
    }

    fn view<T>(
        &self,
        ask: impl FnOnce(View<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if self.shared.index.watermark() == Position(0) {
            // The tail thread has not opened it yet: its first job comes behind that.
            self.on_tail(|tail| tail.index_opened())??;
        }
        self.shared.pool.with(ask)
    }
}
