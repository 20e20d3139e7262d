//! One batch of records as rows to be.
//!
//! Owns what a record means for the index. A header that is made and finished within one batch is
//! written once, in its final state: under load that is most of them.

use std::collections::{BTreeMap, HashMap, HashSet};

use hie_journal::Position;
use rusqlite::{Connection, OptionalExtension};

use crate::{
    Answered, BodyRef, Content, State, StoreError,
    record::{Accepted, Leg, Moved, Record, Stepped},
};

use super::{
    BLOCK_SHIFT,
    dict::{Dict, Text},
    keys::{Keys, keys},
    row::{flags, priority},
    to_sql,
};

/// A row of `header`.
pub(super) struct HeaderOut {
    pub(super) session: Option<i64>,
    pub(super) route: i64,
    pub(super) state: i64,
    pub(super) created: i64,
    pub(super) took: Option<i64>,
    pub(super) attempts: u16,
    pub(super) flags: Option<i64>,
    pub(super) body: Option<i64>,
    pub(super) reason: Text,
    pub(super) note: Text,
    pub(super) reply: Option<i64>,
    pub(super) reply_len: Option<u32>,
    pub(super) cause: Option<i64>,
}

impl HeaderOut {
    /// The id of its body, for the header with this id.
    fn body_id(&self, id: i64) -> i64 {
        self.body.or(self.session).unwrap_or(id)
    }
}

/// The newest step of a header that is in the file already.
pub(super) struct ChangeOut {
    pub(super) state: State,
    pub(super) time_ms: i64,
    pub(super) attempts: u16,
    pub(super) duplicate: bool,
    pub(super) answered: Answered,
    pub(super) reason: Text,
    pub(super) note: Text,
    pub(super) reply: Option<i64>,
    pub(super) reply_len: Option<u32>,
}

/// A row of `body`.
pub(super) struct BodyOut {
    pub(super) id: i64,
    pub(super) session: Option<i64>,
    pub(super) place: BodyRef,
    pub(super) content: Content,
    pub(super) kind: Option<i64>,
    pub(super) keys: Keys,
    pub(super) origin: Text,
    pub(super) resent: Option<i64>,
}

/// What a block of ids gains.
pub(super) struct BlockOut {
    pub(super) min_ms: i64,
    pub(super) max_ms: i64,
    pub(super) position: i64,
}

#[derive(Default)]
pub(super) struct Batch {
    pub(super) headers: BTreeMap<i64, HeaderOut>,
    pub(super) changes: BTreeMap<i64, ChangeOut>,
    pub(super) bodies: Vec<BodyOut>,
    pub(super) blocks: BTreeMap<i64, BlockOut>,
    /// Headers and bytes of bodies by route and block.
    pub(super) block_routes: HashMap<(i64, i64), (i64, i64)>,
    pub(super) block_kinds: HashSet<(i64, i64)>,
    /// Bodies that moved: id, old place, new place.
    pub(super) moved: Vec<(i64, BodyRef, BodyRef)>,
    /// The type of each body in here.
    body_kinds: HashMap<i64, Option<i64>>,
}

/// What all legs of one record share.
struct Made<'a> {
    time_ms: i64,
    position: Position,
    session: i64,
    source: &'a str,
    content: Content,
    /// The header whose step made them.
    cause: Option<i64>,
    /// The body of legs that have none of their own, with its type; none if the index does not
    /// know it.
    same: Option<(i64, Option<i64>)>,
    /// What made them may have been done before a crash.
    duplicate: bool,
}

impl Batch {
    pub(super) fn apply(
        &mut self,
        conn: &Connection,
        dict: &mut Dict,
        position: Position,
        record: &Record<'_>,
    ) -> Result<(), StoreError> {
        match record {
            Record::Accept(accepted) => self.accept(conn, dict, position, accepted),
            Record::Step(stepped) => self.step(conn, dict, position, stepped),
            Record::Moved(moved) => self.moved(conn, dict, position, moved),
            Record::Started(_) | Record::Purged(_) => Ok(()),
        }
    }

    fn accept(
        &mut self,
        conn: &Connection,
        dict: &mut Dict,
        position: Position,
        accepted: &Accepted<'_>,
    ) -> Result<(), StoreError> {
        let first = to_sql(accepted.first_id.0);
        let origin = dict.text(conn, accepted.origin)?;
        let mut made = Made {
            time_ms: to_sql(accepted.time_ms),
            position,
            session: first,
            source: accepted.source,
            content: accepted.content,
            cause: None,
            same: None,
            duplicate: false,
        };
        let keys = match accepted.bytes {
            Some(bytes) => keys(accepted.content, bytes),
            None => self.stored_keys(conn, accepted)?,
        };
        let resent = accepted.resent_from.map(|id| to_sql(id.0));
        let bytes = accepted.bytes.map_or(0, <[u8]>::len);
        let kind = self.body(
            conn,
            dict,
            first,
            &made,
            accepted.body,
            keys,
            (origin, resent),
        )?;
        made.same = Some((first, kind));
        for (n, leg) in accepted.legs.iter().enumerate() {
            let body_id = if n == 0 { -first } else { to_sql(leg.id.0) };
            let bytes = if n == 0 { bytes } else { 0 };
            self.leg(conn, dict, leg, &made, body_id, bytes)?;
        }
        Ok(())
    }

    fn step(
        &mut self,
        conn: &Connection,
        dict: &mut Dict,
        position: Position,
        stepped: &Stepped<'_>,
    ) -> Result<(), StoreError> {
        let id = to_sql(stepped.id.0);
        let change = ChangeOut {
            state: stepped.state,
            time_ms: to_sql(stepped.time_ms),
            attempts: stepped.attempts,
            duplicate: stepped.possible_duplicate,
            answered: stepped.answered,
            reason: dict.text(conn, stepped.reason)?,
            note: dict.text(conn, stepped.note)?,
            reply: stepped.reply.map(|_| to_sql(position.0)),
            reply_len: stepped.reply.map(|body| body.len),
        };
        match self.headers.get_mut(&id) {
            Some(header) => change_new(header, change),
            None => self.change_old(id, change),
        }
        if stepped.legs.is_empty() {
            return Ok(());
        }
        let made = Made {
            time_ms: to_sql(stepped.time_ms),
            position,
            session: to_sql(stepped.session.0),
            source: stepped.source,
            content: stepped.content,
            cause: Some(id),
            same: self.body_of(conn, id)?,
            duplicate: stepped.possible_duplicate,
        };
        for leg in &stepped.legs {
            let bytes = leg.own.map_or(0, <[u8]>::len);
            self.leg(conn, dict, leg, &made, to_sql(leg.id.0), bytes)?;
        }
        Ok(())
    }

    fn change_old(&mut self, id: i64, change: ChangeOut) {
        match self.changes.get_mut(&id) {
            None => drop(self.changes.insert(id, change)),
            Some(before) => {
                let (reply, reply_len) = (before.reply, before.reply_len);
                *before = change;
                before.reply = before.reply.or(reply);
                before.reply_len = before.reply_len.or(reply_len);
            }
        }
    }

    fn leg(
        &mut self,
        conn: &Connection,
        dict: &mut Dict,
        leg: &Leg<'_>,
        made: &Made<'_>,
        own_id: i64,
        bytes: usize,
    ) -> Result<(), StoreError> {
        let id = to_sql(leg.id.0);
        let (body, kind) = match (leg.own, made.same) {
            (Some(own), _) => {
                let keys = keys(made.content, own);
                (
                    own_id,
                    self.body(conn, dict, own_id, made, leg.body, keys, (Text::None, None))?,
                )
            }
            (None, Some(same)) => same,
            (None, None) => {
                // Its row left with a trimmed segment, or was never in a rebuilt index.
                let keys = Keys::default();
                (
                    id,
                    self.body(conn, dict, id, made, leg.body, keys, (Text::None, None))?,
                )
            }
        };
        if let Some(kind) = kind {
            self.block_kinds.insert((kind, id >> BLOCK_SHIFT));
        }
        let header = HeaderOut {
            session: (made.session != id).then_some(made.session),
            route: dict.route(conn, made.source, leg.target)?,
            state: leg.state as i64,
            created: made.time_ms,
            took: (!leg.state.is_unfinished()).then_some(0),
            attempts: 0,
            flags: flags(leg.priority, made.duplicate, Answered::Nobody),
            body: (body != made.session).then_some(body),
            reason: dict.text(conn, leg.reason)?,
            note: Text::None,
            reply: None,
            reply_len: None,
            cause: made.cause.map(|cause| id - cause),
        };
        self.header(id, header, made.position, bytes as i64);
        Ok(())
    }

    fn header(&mut self, id: i64, header: HeaderOut, position: Position, bytes: i64) {
        let (block, time, position) = (id >> BLOCK_SHIFT, header.created, to_sql(position.0));
        let gained = BlockOut {
            min_ms: time,
            max_ms: time,
            position,
        };
        let entry = self.blocks.entry(block).or_insert(gained);
        entry.min_ms = entry.min_ms.min(time);
        entry.max_ms = entry.max_ms.max(time);
        let spot = self.block_routes.entry((header.route, block)).or_default();
        spot.0 += 1;
        spot.1 += bytes;
        self.headers.insert(id, header);
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "a row with its context; a struct would be told once"
    )]
    fn body(
        &mut self,
        conn: &Connection,
        dict: &mut Dict,
        id: i64,
        made: &Made<'_>,
        place: BodyRef,
        keys: Keys,
        (origin, resent): (Text, Option<i64>),
    ) -> Result<Option<i64>, StoreError> {
        let kind = match &keys.kind {
            Some(text) => Some(dict.kind(conn, text)?),
            None => None,
        };
        self.body_kinds.insert(id, kind);
        let session = (made.session != id).then_some(made.session);
        let content = made.content;
        self.bodies.push(BodyOut {
            id,
            session,
            place,
            content,
            kind,
            keys,
            origin,
            resent,
        });
        Ok(kind)
    }

    /// The body of a header that was told before, and its type.
    fn body_of(
        &self,
        conn: &Connection,
        header: i64,
    ) -> Result<Option<(i64, Option<i64>)>, StoreError> {
        let Some(body) = self.body_id(conn, header)? else {
            return Ok(None);
        };
        if let Some(&kind) = self.body_kinds.get(&body) {
            return Ok(Some((body, kind)));
        }
        let mut statement = conn.prepare_cached("SELECT kind FROM body WHERE id = ?1")?;
        let kind = statement.query_row([body], |row| row.get(0)).optional()?;
        Ok(Some((body, kind.flatten())))
    }

    /// The keys of a body that a resend refers to, as those of the message that it repeats.
    fn stored_keys(&self, conn: &Connection, accepted: &Accepted<'_>) -> Result<Keys, StoreError> {
        let Some(from) = accepted.resent_from else {
            return Ok(Keys::default());
        };
        let Some(body) = self.body_id(conn, to_sql(from.0))? else {
            return Ok(Keys::default());
        };
        if let Some(known) = self.bodies.iter().rev().find(|known| known.id == body) {
            return Ok(known.keys.clone());
        }
        let sql = "SELECT kind.text, control, patient FROM body
             LEFT JOIN kind ON kind.id = body.kind WHERE body.id = ?1";
        let row = conn.prepare_cached(sql)?.query_row([body], |row| {
            let patients = row.get::<_, Option<String>>(2)?.into_iter().collect();
            Ok(Keys {
                kind: row.get(0)?,
                control: row.get(1)?,
                patients,
            })
        });
        Ok(row.optional()?.unwrap_or_default())
    }

    /// The body of a header that was told before; none if the index does not know the header.
    fn body_id(&self, conn: &Connection, id: i64) -> Result<Option<i64>, StoreError> {
        if let Some(header) = self.headers.get(&id) {
            return Ok(Some(header.body_id(id)));
        }
        let sql = "SELECT coalesce(body, session, id) FROM header WHERE id = ?1";
        Ok(conn
            .prepare_cached(sql)?
            .query_row([id], |row| row.get(0))
            .optional()?)
    }

    fn moved(
        &mut self,
        conn: &Connection,
        dict: &mut Dict,
        position: Position,
        moved: &Moved<'_>,
    ) -> Result<(), StoreError> {
        for told in &moved.live {
            let id = to_sql(told.id.0);
            if let Some(body) = self.body_id(conn, id)? {
                self.moved.push((body, moved.old, moved.new));
                continue;
            }
            // A rebuilt index meets the header here first: its own record has left the log.
            let made = Made {
                time_ms: to_sql(told.created_ms),
                position,
                session: to_sql(told.session.0),
                source: told.source,
                content: told.content,
                cause: None,
                same: None,
                duplicate: told.possible_duplicate,
            };
            self.body(
                conn,
                dict,
                id,
                &made,
                moved.new,
                Keys::default(),
                (Text::None, None),
            )?;
            let header = HeaderOut {
                session: (made.session != id).then_some(made.session),
                route: dict.route(conn, told.source, told.target)?,
                state: told.state as i64,
                created: made.time_ms,
                took: None,
                attempts: told.attempts,
                flags: flags(told.priority, told.possible_duplicate, Answered::Nobody),
                body: (made.session != id).then_some(id),
                reason: Text::None,
                note: Text::None,
                reply: None,
                reply_len: None,
                cause: None,
            };
            self.header(id, header, position, i64::from(moved.new.len));
        }
        Ok(())
    }
}

fn change_new(header: &mut HeaderOut, change: ChangeOut) {
    header.state = change.state as i64;
    header.took = took(change.state, change.time_ms, header.created);
    header.attempts = change.attempts;
    let priority = priority(header.flags);
    header.flags = flags(priority, change.duplicate, change.answered);
    header.reason = change.reason;
    header.note = change.note.or(std::mem::take(&mut header.note));
    header.reply = change.reply.or(header.reply);
    header.reply_len = change.reply_len.or(header.reply_len);
}

fn took(state: State, time_ms: i64, created: i64) -> Option<i64> {
    (!state.is_unfinished()).then(|| time_ms.saturating_sub(created).max(0))
}
