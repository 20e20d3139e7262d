//! The words of the store: ids, states, headers and what is asked of it.
//!
//! Owns the types that stand between the engine and the log. Knows nothing of hosts, queues in
//! memory, or how records are laid out.

use std::fmt;

use hie_journal::{Position, Ticket};
use smallvec::SmallVec;

/// The id of one message header (one hop: one source, one target). Never reused in a store.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct MessageId(pub u64);

/// The id of a session: the id of the first header in it, as in IRIS.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct SessionId(pub u64);

/// A name of an item, interned by the store: small to keep a million times.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct ItemId(pub u16);

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a body stands: bodies are written once, however many headers point at them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct BodyRef {
    /// The record that holds it.
    pub position: Position,
    /// Which of the record's bodies.
    pub index: u16,
    /// Its length in bytes.
    pub len: u32,
}

/// The state of a header, with the numbers that IRIS uses.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum State {
    /// Made, not yet on a queue.
    Created = 1,
    /// On the queue of its target, or in the hands of a job that retries it.
    Queued = 2,
    /// In the hands of a job (kept in memory only: a crash returns it to Queued).
    Delivered = 3,
    /// Dropped on purpose, with a reason.
    Discarded = 4,
    /// Set aside for a person; not finished.
    Suspended = 5,
    /// Its answer was postponed; not finished.
    Deferred = 6,
    /// Ended by an administrator.
    Aborted = 7,
    /// Failed for good, with a reason.
    Error = 8,
    /// Done.
    Completed = 9,
}

impl State {
    /// All states, in the order of their numbers.
    pub const ALL: [State; 9] = [
        State::Created,
        State::Queued,
        State::Delivered,
        State::Discarded,
        State::Suspended,
        State::Deferred,
        State::Aborted,
        State::Error,
        State::Completed,
    ];

    /// From its number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|state| *state as u8 == number)
    }

    /// Its name as operators read and write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "Created",
            Self::Queued => "Queued",
            Self::Delivered => "Delivered",
            Self::Discarded => "Discarded",
            Self::Suspended => "Suspended",
            Self::Deferred => "Deferred",
            Self::Aborted => "Aborted",
            Self::Error => "Error",
            Self::Completed => "Completed",
        }
    }

    /// Whether the engine still owes something for a header in this state: such headers survive
    /// retention and purge, and come back at recovery.
    pub fn is_unfinished(self) -> bool {
        matches!(
            self,
            Self::Created | Self::Queued | Self::Delivered | Self::Suspended | Self::Deferred
        )
    }
}

/// Five priorities; within one, first in first out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[repr(u8)]
#[allow(missing_docs)] // the names say it
pub enum Priority {
    Critical = 0,
    High = 1,
    #[default]
    Normal = 2,
    Low = 3,
    Bulk = 4,
}

impl Priority {
    /// From its number; anything beyond the five is `None`.
    pub fn from_number(number: u8) -> Option<Self> {
        [
            Self::Critical,
            Self::High,
            Self::Normal,
            Self::Low,
            Self::Bulk,
        ]
        .into_iter()
        .nth(number.into())
    }
}

/// What kind of document a body is: decides how it is indexed and shown.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(u8)]
pub enum Content {
    /// Bytes of which nothing is known.
    #[default]
    Plain = 0,
    /// HL7 v2 in its pipe-and-hat form.
    Hl7v2 = 1,
}

impl Content {
    /// From its number.
    pub fn from_number(number: u8) -> Option<Self> {
        [Self::Plain, Self::Hl7v2].into_iter().nth(number.into())
    }
}

/// An unfinished header, small enough to be queued by the million (about 64 bytes).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Live {
    /// Its id.
    pub id: MessageId,
    /// Its session.
    pub session: SessionId,
    /// Its body.
    pub body: BodyRef,
    /// When it was made, in milliseconds since 1970 (UTC).
    pub created_ms: u64,
    /// Who sent it.
    pub source: ItemId,
    /// Who gets it.
    pub target: ItemId,
    /// How often a job has tried it and failed.
    pub attempts: u16,
    /// How many items its message has passed since it entered: 0 for what a service let in, and
    /// one more for each item that sent it on. What goes round for ever is found by it.
    pub hops: u16,
    /// Its priority.
    pub priority: Priority,
    /// Queued, Suspended, Deferred or Created.
    pub state: State,
    /// What the body is.
    pub content: Content,
    /// It may have been delivered before the last crash: shown in the trace.
    pub possible_duplicate: bool,
}

/// Which body a new header points at.
#[derive(Clone, Copy, Debug)]
pub enum LegBody<'a> {
    /// That of the message or step it belongs to.
    Same,
    /// A new one (a transform made it).
    New(&'a [u8]),
}

/// One new header: a hop to one target.
#[derive(Clone, Copy, Debug)]
pub struct NewLeg<'a> {
    /// Who gets it. An empty target name is allowed for a message that reaches nobody.
    pub target: ItemId,
    /// Its priority.
    pub priority: Priority,
    /// Queued as a rule; Error, Discarded… for what is only recorded.
    pub state: State,
    /// Why, where the state needs a reason. Never message content.
    pub reason: &'a str,
    /// Its body.
    pub body: LegBody<'a>,
}

/// The body of a message that enters.
#[derive(Clone, Copy, Debug)]
pub enum NewBody<'a> {
    /// Bytes as they came in.
    Bytes(&'a [u8]),
    /// One that the store holds already (a resend).
    Stored(BodyRef),
}

/// A message that enters: one session, one body, one header for each leg, one log record.
#[derive(Clone, Copy, Debug)]
pub struct NewMessage<'a> {
    /// Now, in milliseconds since 1970 (UTC).
    pub time_ms: u64,
    /// The item that lets it in.
    pub source: ItemId,
    /// Where it came from: peer address or file name, for the trace.
    pub origin: &'a str,
    /// What the body is.
    pub content: Content,
    /// The body.
    pub body: NewBody<'a>,
    /// The header that this one repeats (resend), linked in the trace.
    pub resent_from: Option<MessageId>,
    /// At least one.
    pub legs: &'a [NewLeg<'a>],
}

/// What `accept` and `step` give back. Leg `i` has the id `first_id + i`.
#[derive(Clone)]
pub struct Appended {
    /// Tells when it is durable.
    pub ticket: Ticket,
    /// The session.
    pub session: SessionId,
    /// The id of the first leg.
    pub first_id: MessageId,
    /// The body of each leg, in order.
    pub bodies: SmallVec<[BodyRef; 4]>,
}

/// Whether the end of a request reached somebody who waited for it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(u8)]
pub enum Answered {
    /// Nobody ever waited.
    #[default]
    Nobody = 0,
    /// The caller got it as its response.
    Caller = 1,
    /// Somebody had waited and gave up before it came: it is kept and reached nobody.
    Late = 2,
}

impl Answered {
    /// From its number; an unknown one is nobody.
    pub fn from_number(number: u8) -> Self {
        match number {
            1 => Self::Caller,
            2 => Self::Late,
            _ => Self::Nobody,
        }
    }
}

/// A change of one header's state, with what it leads to: one log record.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// Now, in milliseconds since 1970 (UTC).
    pub time_ms: u64,
    /// The header.
    pub header: &'a Live,
    /// Its new state. An unfinished one (Queued, Suspended) records attempts and reason only.
    pub state: State,
    /// How often it was tried.
    pub attempts: u16,
    /// Why, for any state but Completed. Never message content.
    pub reason: &'a str,
    /// What was decided: the rule log entry, shown in the trace. Never message content.
    pub note: &'a str,
    /// The reply of the peer or the response of the target, stored as a response body.
    pub reply: Option<&'a [u8]>,
    /// Whether somebody waited for this end.
    pub answered: Answered,
    /// New headers that this step sends on.
    pub legs: &'a [NewLeg<'a>],
}
