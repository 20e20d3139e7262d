//! What is looked up in a store, running or stopped.
//!
//! The one implementation of messages, show, trace and what waits: over the engine's own store or
//! over the read-only reader, so that a command shows the same either way.

use std::collections::BTreeMap;

use bytes::Bytes;
use hie_store::{
    BodyRef, Count, HeaderRow, MessageId, Page, Query, Reader, Recovered, SessionId, State, Store,
    StoreError,
};

use crate::{
    control::protocol::{self, Filter, PageEnd, Payload, QueueRow, Reply, Request, Row, Shown},
    exit::Failure,
    times,
};

/// What both kinds of store can do.
pub(crate) trait Stored {
    fn search(&self, query: &Query) -> Result<Page, StoreError>;
    fn header(&self, id: MessageId) -> Result<Option<HeaderRow>, StoreError>;
    fn session(&self, id: SessionId) -> Result<Vec<HeaderRow>, StoreError>;
    fn counts(&self) -> Result<Vec<Count>, StoreError>;
    fn body(&self, body: BodyRef) -> Result<Bytes, StoreError>;
}

macro_rules! stored {
    ($store:ty) => {
        impl Stored for $store {
            fn search(&self, query: &Query) -> Result<Page, StoreError> {
                Self::search(self, query)
            }

            fn header(&self, id: MessageId) -> Result<Option<HeaderRow>, StoreError> {
                Self::header(self, id)
            }

            fn session(&self, id: SessionId) -> Result<Vec<HeaderRow>, StoreError> {
                Self::session(self, id)
            }

            fn counts(&self) -> Result<Vec<Count>, StoreError> {
                Self::counts(self)
            }

            fn body(&self, body: BodyRef) -> Result<Bytes, StoreError> {
                Self::body(self, body)
            }
        }
    };
}

stored!(Store);
stored!(Reader);

/// Answers what any store can answer; none for requests that are not about it alone.
pub(crate) fn answer(stored: &dyn Stored, request: &Request) -> Option<Result<Reply, Failure>> {
    match request {
        Request::Messages(filter) => Some(messages(stored, filter)),
        Request::Show { id } => Some(show(stored, *id)),
        Request::Trace { id } => Some(trace(stored, *id)),
        _ => None,
    }
}

fn messages(stored: &dyn Stored, filter: &Filter) -> Result<Reply, Failure> {
    let page = stored.search(&query(filter)?)?;
    let end = PageEnd {
        next: page.next.map(|id| id.0),
    };
    Reply::rows(page.rows.iter().map(Row::from), &end)
}

fn query(filter: &Filter) -> Result<Query, Failure> {
    let filter = filter.clone();
    let state = |name: &String| {
        protocol::state(name)
            .ok_or_else(|| Failure::new("usage", format!("there is no state called {name}")))
    };
    Ok(Query {
        from_ms: filter.from_ms,
        to_ms: filter.to_ms,
        item: filter.item,
        states: filter.states.iter().map(state).collect::<Result<_, _>>()?,
        message_type: filter.message_type,
        control_id: filter.control_id,
        session: filter.session.map(SessionId),
        patient_id: filter.patient_id,
        text: filter.text,
        limit: usize::try_from(filter.limit).unwrap_or(usize::MAX),
        before: filter.before.map(MessageId),
    })
}

/// The header of this id, or the sentence that there is none.
pub(crate) fn header(stored: &dyn Stored, id: u64) -> Result<HeaderRow, Failure> {
    let found = stored.header(MessageId(id))?;
    found.ok_or_else(|| StoreError::NoSuchMessage(MessageId(id)).into())
}

fn show(stored: &dyn Stored, id: u64) -> Result<Reply, Failure> {
    let row = header(stored, id)?;
    let reply = row.reply.map(|reply| stored.body(reply)).transpose()?;
    Reply::one(&Shown {
        header: Row::from(&row),
        body: Payload::new(&stored.body(row.body)?),
        reply: reply.map(|reply| Payload::new(&reply)),
    })
}

fn trace(stored: &dyn Stored, id: u64) -> Result<Reply, Failure> {
    let session = header(stored, id)?.session;
    let rows = stored.session(session)?;
    Reply::rows(
        rows.iter().map(Row::from),
        &serde_json::json!({ "session": session.0 }),
    )
}

/// How many headers of each item are in which state, by the item's name.
pub(crate) fn states_by_item(
    stored: &dyn Stored,
) -> Result<BTreeMap<String, BTreeMap<StateName, u64>>, Failure> {
    let mut items: BTreeMap<String, BTreeMap<StateName, u64>> = BTreeMap::new();
    for count in stored.counts()? {
        *items
            .entry(count.item)
            .or_default()
            .entry(count.state.name())
            .or_default() += count.headers;
    }
    Ok(items)
}

/// The name of a state.
type StateName = &'static str;

/// What waits in a store that no engine holds: a row for each item that has anything.
pub(crate) fn queues_at_rest(
    reader: &Reader,
    recovered: &Recovered,
) -> Result<Vec<QueueRow>, Failure> {
    let mut rows: BTreeMap<String, QueueRow> = BTreeMap::new();
    let now_ms = times::now_ms();
    for live in &recovered.live {
        let name = reader.item_name(live.target).to_string();
        let row = rows.entry(name).or_default();
        match live.state {
            State::Suspended | State::Deferred => row.suspended += 1,
            _ => {
                row.queued += 1;
                let age_s = now_ms.saturating_sub(live.created_ms) / 1000;
                row.oldest_s = row.oldest_s.max(Some(age_s));
            }
        }
    }
    // The index may be missing; the queues are known from the journal without it.
    if let Ok(states) = states_by_item(reader) {
        for (item, states) in states {
            rows.entry(item).or_default().errors = states.get("Error").copied().unwrap_or(0);
        }
    }
    let named = rows.into_iter().map(|(item, row)| QueueRow { item, ..row });
    Ok(named
        .filter(|row| row.queued + row.suspended + row.errors > 0)
        .collect())
}
