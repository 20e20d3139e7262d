//! Reading records: strict, and never panicking, whatever the bytes.
//!
//! Owns what a well-formed record is. A record that is not is an error that says what is wrong
//! and quotes nothing of it.

use std::ops::Range;

use hie_journal::Position;
use smallvec::SmallVec;

use crate::{Answered, BodyRef, Content, MessageId, Priority, SessionId, State};

use super::{
    ACCEPT_RESENT, ACCEPT_STORED, KIND_ACCEPT, KIND_MOVED, KIND_PURGED, KIND_STARTED, KIND_STEP,
    LEG_SAME, STEP_ANSWERED, STEP_DUPLICATE, STEP_HOPS, STEP_LATE, STEP_REPLY, VERSION,
    WITH_DUPLICATE, WITH_HOPS, wire::In,
};

/// What is wrong with a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct DecodeError(pub(crate) &'static str);

/// One record, borrowed from its bytes.
#[derive(Debug)]
pub(crate) enum Record<'a> {
    Accept(Accepted<'a>),
    Step(Stepped<'a>),
    Moved(Moved<'a>),
    Started(Started),
    Purged(Purged<'a>),
}

/// A new header as a record tells it.
#[derive(Debug, PartialEq)]
pub(crate) struct Leg<'a> {
    pub(crate) id: MessageId,
    pub(crate) target: &'a str,
    pub(crate) priority: Priority,
    pub(crate) state: State,
    pub(crate) reason: &'a str,
    pub(crate) body: BodyRef,
    /// Its bytes, where the leg has a body of its own.
    pub(crate) own: Option<&'a [u8]>,
}

#[derive(Debug)]
pub(crate) struct Accepted<'a> {
    pub(crate) time_ms: u64,
    pub(crate) first_id: MessageId,
    pub(crate) source: &'a str,
    pub(crate) origin: &'a str,
    pub(crate) content: Content,
    pub(crate) resent_from: Option<MessageId>,
    pub(crate) body: BodyRef,
    /// None where the body stands elsewhere in the log.
    pub(crate) bytes: Option<&'a [u8]>,
    pub(crate) legs: SmallVec<[Leg<'a>; 4]>,
}

#[derive(Debug)]
pub(crate) struct Stepped<'a> {
    pub(crate) time_ms: u64,
    pub(crate) id: MessageId,
    pub(crate) session: SessionId,
    pub(crate) state: State,
    pub(crate) attempts: u16,
    pub(crate) possible_duplicate: bool,
    pub(crate) reason: &'a str,
    pub(crate) note: &'a str,
    pub(crate) reply: Option<BodyRef>,
    pub(crate) answered: Answered,
    /// The item that makes the legs: the target of the header.
    pub(crate) source: &'a str,
    pub(crate) content: Content,
    /// How many items the legs have passed.
    pub(crate) hops: u16,
    pub(crate) legs: SmallVec<[Leg<'a>; 4]>,
}

/// A header in a [`Moved`] record.
#[derive(Debug)]
pub(crate) struct MovedLive<'a> {
    pub(crate) id: MessageId,
    pub(crate) session: SessionId,
    pub(crate) created_ms: u64,
    pub(crate) source: &'a str,
    pub(crate) target: &'a str,
    pub(crate) attempts: u16,
    pub(crate) priority: Priority,
    pub(crate) state: State,
    pub(crate) content: Content,
    pub(crate) possible_duplicate: bool,
    pub(crate) hops: u16,
}

#[derive(Debug)]
pub(crate) struct Moved<'a> {
    pub(crate) old: BodyRef,
    pub(crate) new: BodyRef,
    pub(crate) live: Vec<MovedLive<'a>>,
}

#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) next_id: u64,
}

#[derive(Debug)]
pub(crate) struct Purged<'a> {
    pub(crate) before_ms: u64,
    pub(crate) whole_sessions: bool,
    pub(crate) items: Vec<&'a str>,
}

/// The bodies of a record: their lengths stand first, their bytes last.
struct Bodies<'a> {
    position: Position,
    lens: SmallVec<[u32; 4]>,
    bytes: &'a [u8],
}

impl<'a> Bodies<'a> {
    fn reference(&self, index: usize) -> Result<BodyRef, DecodeError> {
        let len = *self
            .lens
            .get(index)
            .ok_or(DecodeError("it names a body that it lacks"))?;
        let index = u16::try_from(index).map_err(|_| DecodeError("it has too many bodies"))?;
        Ok(BodyRef {
            position: self.position,
            index,
            len,
        })
    }

    fn bytes(&self, index: usize) -> Result<&'a [u8], DecodeError> {
        let lost = DecodeError("it names a body that it lacks");
        let range = range_in(&self.lens, self.bytes.len(), index).ok_or(lost)?;
        self.bytes.get(range).ok_or(lost)
    }
}

/// Where body `index` stands when the bodies fill the last bytes of `total`.
fn range_in(lens: &[u32], total: usize, index: usize) -> Option<Range<usize>> {
    let len = *lens.get(index)? as usize;
    let behind = lens
        .get(index + 1..)?
        .iter()
        .map(|&len| len as usize)
        .sum::<usize>();
    let end = total.checked_sub(behind)?;
    Some(end.checked_sub(len)?..end)
}

fn head(input: &mut In<'_>) -> Result<(u8, SmallVec<[u32; 4]>), DecodeError> {
    let kind = input.byte()?;
    if !(KIND_ACCEPT..=KIND_PURGED).contains(&kind) {
        return Err(DecodeError(
            "its kind is unknown: a newer version of HIE may have written it",
        ));
    }
    if input.byte()? != VERSION {
        return Err(DecodeError(
            "its layout is unknown: a newer version of HIE may have written it",
        ));
    }
    let count: usize = input.small()?;
    if count > usize::from(u16::MAX) || count > input.left() {
        return Err(DecodeError("it has too many bodies"));
    }
    let lens = (0..count)
        .map(|_| input.small())
        .collect::<Result<_, _>>()?;
    Ok((kind, lens))
}

/// Where body `index` stands in the bytes of a record; reads no more than the head.
pub(crate) fn body_range(record: &[u8], index: u16) -> Result<Range<usize>, DecodeError> {
    let mut input = In::new(record);
    let (_, lens) = head(&mut input)?;
    let total = lens
        .iter()
        .try_fold(0usize, |sum, &len| sum.checked_add(len as usize));
    if total.is_none_or(|total| total > input.left()) {
        return Err(DecodeError("its bodies are cut off"));
    }
    range_in(&lens, record.len(), index.into()).ok_or(DecodeError("it has no such body"))
}

/// Whether it is a purge: the index treats those apart.
pub(crate) fn is_purge(record: &[u8]) -> bool {
    record.first() == Some(&KIND_PURGED)
}

/// Reads a whole record that stands at `position`.
pub(crate) fn decode(position: Position, record: &[u8]) -> Result<Record<'_>, DecodeError> {
    let mut input = In::new(record);
    let (kind, lens) = head(&mut input)?;
    let total = lens.iter().map(|&len| len as usize).sum::<usize>();
    let fields = input
        .left()
        .checked_sub(total)
        .ok_or(DecodeError("its bodies are cut off"))?;
    let mut fields_in = In::new(input.bytes(fields)?);
    let bodies = Bodies {
        position,
        lens,
        bytes: input.bytes(total)?,
    };
    let fields = &mut fields_in;
    let record = match kind {
        KIND_ACCEPT => Record::Accept(accept(fields, &bodies)?),
        KIND_STEP => Record::Step(step(fields, &bodies)?),
        KIND_MOVED => Record::Moved(moved(fields, &bodies)?),
        KIND_STARTED => {
            fields.varint()?;
            Record::Started(Started {
                next_id: fields.fixed()?,
            })
        }
        _ => Record::Purged(purged(fields)?),
    };
    if fields.left() > 0 {
        return Err(DecodeError("it has bytes that mean nothing"));
    }
    Ok(record)
}

fn accept<'a>(input: &mut In<'a>, bodies: &Bodies<'a>) -> Result<Accepted<'a>, DecodeError> {
    let first_id = input.fixed()?;
    let time_ms = input.varint()?;
    let source = input.string()?;
    let origin = input.string()?;
    let content = content(input.byte()?)?;
    let flags = flags(input.byte()?, ACCEPT_RESENT | ACCEPT_STORED)?;
    let resent_from = match flags & ACCEPT_RESENT {
        0 => None,
        _ => Some(MessageId(input.varint()?)),
    };
    let (body, bytes) = match flags & ACCEPT_STORED {
        0 => (bodies.reference(0)?, Some(bodies.bytes(0)?)),
        _ => (reference(input)?, None),
    };
    let count = input.varint()?;
    let legs = legs(input, count, first_id, body, bodies)?;
    let first_id = MessageId(first_id);
    Ok(Accepted {
        time_ms,
        first_id,
        source,
        origin,
        content,
        resent_from,
        body,
        bytes,
        legs,
    })
}

fn step<'a>(input: &mut In<'a>, bodies: &Bodies<'a>) -> Result<Stepped<'a>, DecodeError> {
    let time_ms = input.varint()?;
    let id = MessageId(input.varint()?);
    let session = SessionId(input.varint()?);
    let state = state(input.byte()?)?;
    let known = STEP_REPLY | STEP_DUPLICATE | STEP_HOPS | STEP_ANSWERED | STEP_LATE;
    let flags = flags(input.byte()?, known)?;
    let attempts = input.small()?;
    let reason = input.string()?;
    let note = input.string()?;
    let reply = match flags & STEP_REPLY {
        0 => None,
        _ => Some(bodies.reference(0)?),
    };
    let possible_duplicate = flags & STEP_DUPLICATE != 0;
    let mut stepped = Stepped {
        time_ms,
        id,
        session,
        state,
        attempts,
        possible_duplicate,
        reason,
        note,
        reply,
        answered: match (flags & STEP_ANSWERED, flags & STEP_LATE) {
            (0, 0) => Answered::Nobody,
            (_, 0) => Answered::Caller,
            _ => Answered::Late,
        },
        source: "",
        content: Content::Plain,
        hops: 0,
        legs: SmallVec::new(),
    };
    let count = input.varint()?;
    if count > 0 {
        let first_id = input.fixed()?;
        stepped.source = input.string()?;
        stepped.content = content(input.byte()?)?;
        let same = reference(input)?;
        if flags & STEP_HOPS != 0 {
            stepped.hops = input.small()?;
        }
        stepped.legs = legs(input, count, first_id, same, bodies)?;
    }
    Ok(stepped)
}

fn legs<'a>(
    input: &mut In<'a>,
    count: u64,
    first_id: u64,
    same: BodyRef,
    bodies: &Bodies<'a>,
) -> Result<SmallVec<[Leg<'a>; 4]>, DecodeError> {
    let mut legs = SmallVec::new();
    // No room is reserved by a count that nobody has checked: each leg needs bytes of its own.
    for index in 0..count {
        let id = first_id
            .checked_add(index)
            .ok_or(DecodeError("a number is out of range"))?;
        let target = input.string()?;
        let (priority, state) = priority_and_state(input.byte()?)?;
        let reason = input.string()?;
        let (body, own) = match input.varint()? {
            LEG_SAME => (same, None),
            number => {
                let index = usize::try_from(number - 1)
                    .map_err(|_| DecodeError("it names a body that it lacks"))?;
                (bodies.reference(index)?, Some(bodies.bytes(index)?))
            }
        };
        legs.push(Leg {
            id: MessageId(id),
            target,
            priority,
            state,
            reason,
            body,
            own,
        });
    }
    Ok(legs)
}

fn moved<'a>(input: &mut In<'a>, bodies: &Bodies<'a>) -> Result<Moved<'a>, DecodeError> {
    input.varint()?;
    let old = reference(input)?;
    let new = bodies.reference(0)?;
    let mut live = Vec::new();
    for _ in 0..input.varint()? {
        let id = MessageId(input.varint()?);
        let session = SessionId(input.varint()?);
        let created_ms = input.varint()?;
        let source = input.string()?;
        let target = input.string()?;
        let attempts = input.small()?;
        let (priority, state) = priority_and_state(input.byte()?)?;
        let (content, possible_duplicate, hops) = marks(input)?;
        live.push(MovedLive {
            id,
            session,
            created_ms,
            source,
            target,
            attempts,
            priority,
            state,
            content,
            possible_duplicate,
            hops,
        });
    }
    Ok(Moved { old, new, live })
}

fn purged<'a>(input: &mut In<'a>) -> Result<Purged<'a>, DecodeError> {
    input.varint()?;
    let before_ms = input.varint()?;
    let whole_sessions = flags(input.byte()?, 1)? == 1;
    let mut items = Vec::new();
    for _ in 0..input.varint()? {
        items.push(input.string()?);
    }
    Ok(Purged {
        before_ms,
        whole_sessions,
        items,
    })
}

fn reference(input: &mut In<'_>) -> Result<BodyRef, DecodeError> {
    let position = Position(input.varint()?);
    Ok(BodyRef {
        position,
        index: input.small()?,
        len: input.small()?,
    })
}

fn flags(byte: u8, known: u8) -> Result<u8, DecodeError> {
    if byte & !known == 0 {
        Ok(byte)
    } else {
        Err(DecodeError("it has unknown flags"))
    }
}

/// What [`put_marks`](super::put_marks) wrote.
pub(crate) fn marks(input: &mut In<'_>) -> Result<(Content, bool, u16), DecodeError> {
    let byte = input.byte()?;
    let content = content(byte & !(WITH_DUPLICATE | WITH_HOPS))?;
    let hops = match byte & WITH_HOPS {
        0 => 0,
        _ => input.small()?,
    };
    Ok((content, byte & WITH_DUPLICATE != 0, hops))
}

pub(crate) fn priority_and_state(byte: u8) -> Result<(Priority, State), DecodeError> {
    let priority =
        Priority::from_number(byte >> 4).ok_or(DecodeError("its priority is unknown"))?;
    Ok((priority, state(byte & 0x0f)?))
}

fn state(number: u8) -> Result<State, DecodeError> {
    State::from_number(number).ok_or(DecodeError("its state is unknown"))
}

fn content(number: u8) -> Result<Content, DecodeError> {
    Content::from_number(number).ok_or(DecodeError("its content is unknown"))
}
