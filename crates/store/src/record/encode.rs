//! Writing records: each kind describes itself once, for its length and for its bytes.
//!
//! Owns the order of the fields. Allocates nothing: the second pass writes into the log's slice.

use std::sync::Arc;

use crate::{Answered, BodyRef, ItemId, LegBody, Live, NewBody, NewLeg, NewMessage, Step};

use super::{
    ACCEPT_RESENT, ACCEPT_STORED, KIND_ACCEPT, KIND_MOVED, KIND_PURGED, KIND_STARTED, KIND_STEP,
    LEG_SAME, STEP_ANSWERED, STEP_DUPLICATE, STEP_HOPS, STEP_LATE, STEP_REPLY, VERSION,
    WITH_DUPLICATE, WITH_HOPS,
    wire::{Count, Fill, Out},
};

/// A record that can be counted and then written.
///
/// *Invariant:* the length depends on nothing that is known only once the record has its place
/// (its own ids are of fixed width for that reason).
pub(crate) trait Encode {
    fn put(&self, out: &mut impl Out);

    fn encoded_len(&self) -> usize {
        let mut count = Count::default();
        self.put(&mut count);
        count.0
    }

    fn fill(&self, slice: &mut [u8]) {
        let mut fill = Fill::new(slice);
        self.put(&mut fill);
        debug_assert!(
            fill.is_full(),
            "a record is exactly as long as it was counted"
        );
    }
}

/// The names of the items by their ids.
pub(crate) type NameTable = [Arc<str>];

fn name(names: &NameTable, item: ItemId) -> &str {
    names.get(usize::from(item.0)).map_or("", |name| name)
}

/// The start of every record: kind, version, how many bodies and how long each is. The bodies
/// themselves stand at the very end, so that one can be read without decoding the rest.
fn head<'a>(out: &mut impl Out, kind: u8, bodies: impl Iterator<Item = &'a [u8]> + Clone) {
    out.byte(kind);
    out.byte(VERSION);
    out.varint(bodies.clone().count() as u64);
    for body in bodies {
        out.varint(body.len() as u64);
    }
}

fn own_bodies<'a>(legs: &'a [NewLeg<'a>]) -> impl Iterator<Item = &'a [u8]> + Clone {
    legs.iter().filter_map(|leg| match leg.body {
        LegBody::New(bytes) => Some(bytes),
        LegBody::Same => None,
    })
}

fn put_ref(out: &mut impl Out, body: BodyRef) {
    out.varint(body.position.0);
    out.varint(body.index.into());
    out.varint(body.len.into());
}

/// `first_body` is the index in the record of the first body that a leg owns.
fn put_legs(out: &mut impl Out, names: &NameTable, legs: &[NewLeg<'_>], first_body: u64) {
    let mut next_body = first_body;
    for leg in legs {
        out.string(name(names, leg.target));
        out.byte((leg.priority as u8) << 4 | leg.state as u8);
        out.string(leg.reason);
        match leg.body {
            LegBody::Same => out.varint(LEG_SAME),
            LegBody::New(_) => {
                next_body += 1;
                out.varint(next_body); // index + 1, as 0 says "the same"
            }
        }
    }
}

/// A message that enters.
pub(crate) struct AcceptOut<'a> {
    pub(crate) message: &'a NewMessage<'a>,
    pub(crate) names: &'a NameTable,
    pub(crate) first_id: u64,
}

impl Encode for AcceptOut<'_> {
    fn put(&self, out: &mut impl Out) {
        let message = self.message;
        let (own, stored) = match message.body {
            NewBody::Bytes(bytes) => (Some(bytes), None),
            NewBody::Stored(body) => (None, Some(body)),
        };
        let bodies = own.into_iter().chain(own_bodies(message.legs));
        head(out, KIND_ACCEPT, bodies.clone());
        out.fixed(self.first_id);
        out.varint(message.time_ms);
        out.string(name(self.names, message.source));
        out.string(message.origin);
        out.byte(message.content as u8);
        let resent = if message.resent_from.is_some() {
            ACCEPT_RESENT
        } else {
            0
        };
        out.byte(resent | if stored.is_some() { ACCEPT_STORED } else { 0 });
        if let Some(id) = message.resent_from {
            out.varint(id.0);
        }
        if let Some(body) = stored {
            put_ref(out, body);
        }
        out.varint(message.legs.len() as u64);
        put_legs(out, self.names, message.legs, own.is_some().into());
        bodies.for_each(|body| out.bytes(body));
    }
}

/// A change of one header's state, with what it leads to.
pub(crate) struct StepOut<'a> {
    pub(crate) step: &'a Step<'a>,
    /// The body of the header as it stands now (it may have been moved).
    pub(crate) body: BodyRef,
    pub(crate) names: &'a NameTable,
    pub(crate) first_id: u64,
}

impl StepOut<'_> {
    /// How many items its legs have passed.
    fn hops(&self) -> u16 {
        self.step.header.hops.saturating_add(1)
    }

    fn flags(&self) -> u8 {
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        flag(self.step.reply.is_some(), STEP_REPLY)
            | flag(self.step.header.possible_duplicate, STEP_DUPLICATE)
            | flag(!self.step.legs.is_empty(), STEP_HOPS)
            | flag(self.step.answered == Answered::Caller, STEP_ANSWERED)
            | flag(self.step.answered == Answered::Late, STEP_LATE)
    }
}

/// What a header is beside its numbers: its content, whether it may be a duplicate, its hops.
pub(crate) fn put_marks(out: &mut impl Out, live: &Live) {
    let duplicate = if live.possible_duplicate {
        WITH_DUPLICATE
    } else {
        0
    };
    let hops = if live.hops > 0 { WITH_HOPS } else { 0 };
    out.byte(live.content as u8 | duplicate | hops);
    if live.hops > 0 {
        out.varint(live.hops.into());
    }
}

impl Encode for StepOut<'_> {
    fn put(&self, out: &mut impl Out) {
        let (step, header) = (self.step, self.step.header);
        let bodies = step.reply.into_iter().chain(own_bodies(step.legs));
        head(out, KIND_STEP, bodies.clone());
        out.varint(step.time_ms);
        out.varint(header.id.0);
        out.varint(header.session.0);
        out.byte(step.state as u8);
        out.byte(self.flags());
        out.varint(step.attempts.into());
        out.string(step.reason);
        out.string(step.note);
        out.varint(step.legs.len() as u64);
        if !step.legs.is_empty() {
            out.fixed(self.first_id);
            out.string(name(self.names, header.target));
            out.byte(header.content as u8);
            put_ref(out, self.body);
            out.varint(self.hops().into());
            put_legs(out, self.names, step.legs, step.reply.is_some().into());
        }
        bodies.for_each(|body| out.bytes(body));
    }
}

/// A body copied forward, out of a segment that is about to leave, with the headers that need it.
pub(crate) struct MovedOut<'a> {
    pub(crate) time_ms: u64,
    pub(crate) old: BodyRef,
    pub(crate) live: &'a [Live],
    pub(crate) names: &'a NameTable,
    pub(crate) body: &'a [u8],
}

impl Encode for MovedOut<'_> {
    fn put(&self, out: &mut impl Out) {
        head(out, KIND_MOVED, std::iter::once(self.body));
        out.varint(self.time_ms);
        put_ref(out, self.old);
        out.varint(self.live.len() as u64);
        for live in self.live {
            out.varint(live.id.0);
            out.varint(live.session.0);
            out.varint(live.created_ms);
            out.string(name(self.names, live.source));
            out.string(name(self.names, live.target));
            out.varint(live.attempts.into());
            out.byte((live.priority as u8) << 4 | live.state as u8);
            put_marks(out, live);
        }
        out.bytes(self.body);
    }
}

/// The engine opened the store, or is about to trim it: the counter of ids stands here, so that
/// it is never lost with the records that used it.
pub(crate) struct StartedOut {
    pub(crate) time_ms: u64,
    pub(crate) next_id: u64,
}

impl Encode for StartedOut {
    fn put(&self, out: &mut impl Out) {
        head(out, KIND_STARTED, std::iter::empty());
        out.varint(self.time_ms);
        out.fixed(self.next_id);
    }
}

/// An operator purged: kept in the log so that a rebuilt index does not bring the rows back.
pub(crate) struct PurgedOut<'a> {
    pub(crate) time_ms: u64,
    pub(crate) before_ms: u64,
    pub(crate) whole_sessions: bool,
    /// None means all.
    pub(crate) items: &'a [String],
}

impl Encode for PurgedOut<'_> {
    fn put(&self, out: &mut impl Out) {
        head(out, KIND_PURGED, std::iter::empty());
        out.varint(self.time_ms);
        out.varint(self.before_ms);
        out.byte(self.whole_sessions.into());
        out.varint(self.items.len() as u64);
        self.items.iter().for_each(|item| out.string(item));
    }
}
