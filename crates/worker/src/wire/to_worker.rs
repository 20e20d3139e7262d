//! What the engine says to a worker.

use bytes::Bytes;
use hie_store::{Content, Priority, State};

use super::{Fields, Frame, Malformed, frame, kind, settings::Init};

/// A frame from the engine.
#[derive(Clone, PartialEq, Debug)]
pub enum ToWorker {
    /// Everything that the worker must know to start.
    Init(Box<Init>),
    /// A message to handle.
    Msg(Msg),
    /// What became of a CALL.
    Called(Called),
    /// What became of an ACCEPT.
    Accepted(Accepted),
    /// The response to a message that was let in.
    Response(Response),
    /// Whether a service may take something in.
    State {
        /// Take nothing in.
        paused: bool,
    },
    /// Prove that you live.
    Ping(u64),
    /// Finish what is in hand, then end.
    Drain,
    /// A type that this version does not know: passed over.
    Unknown(u8),
}

/// See [`ToWorker::Msg`].
#[derive(Clone, PartialEq, Eq)]
pub struct Msg {
    /// The engine's id of the message.
    pub id: u64,
    /// The job that gets it.
    pub job: u16,
    /// Which try this is, from 1.
    pub attempt: u32,
    /// How long this try may take.
    pub deadline_ms: Option<u64>,
    /// The item that sent it.
    pub source: String,
    /// What the body is.
    pub content: Content,
    /// Its priority.
    pub priority: Priority,
    /// Its session.
    pub session: u64,
    /// When it was made.
    pub created_ms: u64,
    /// Whether it may have been delivered before.
    pub possible_duplicate: bool,
    /// Its bytes.
    pub body: Bytes,
}

impl std::fmt::Debug for Msg {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Msg {{ id: {}, job: {}, <{} bytes> }}",
            self.id,
            self.job,
            self.body.len()
        )
    }
}

/// See [`ToWorker::Called`].
#[derive(Clone, PartialEq, Eq)]
pub struct Called {
    /// The call.
    pub call: u64,
    /// Empty where it went well.
    pub code: String,
    /// Why not.
    pub reason: String,
    /// The id of the request.
    pub message: Option<u64>,
    /// How the request ended, where its end was waited for.
    pub state: Option<State>,
    /// The reply.
    pub reply: Option<Bytes>,
}

impl std::fmt::Debug for Called {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Called {{ call: {}, code: {:?} }}", self.call, self.code)
    }
}

/// See [`ToWorker::Accepted`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Accepted {
    /// The call.
    pub call: u64,
    /// Empty when the message is on disk.
    pub code: String,
    /// Why not.
    pub reason: String,
    /// Its session.
    pub session: u64,
    /// Its first header.
    pub first_id: u64,
}

/// See [`ToWorker::Response`].
#[derive(Clone, PartialEq, Eq)]
pub struct Response {
    /// The call.
    pub call: u64,
    /// How the request ended; none: nobody is left who could answer.
    pub state: Option<State>,
    /// Why, for any state but Completed.
    pub reason: String,
    /// The reply.
    pub reply: Option<Bytes>,
}

impl std::fmt::Debug for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Response {{ call: {}, state: {:?} }}",
            self.call, self.state
        )
    }
}

/// The name of a content, as the store has it.
pub fn content_name(content: Content) -> &'static str {
    match content {
        Content::Plain => "plain",
        Content::Hl7v2 => "hl7v2",
    }
}

/// The content of this name; one that is not known here is bytes of which nothing is known.
pub fn content_of(name: &str) -> Content {
    match name {
        "hl7v2" => Content::Hl7v2,
        _ => Content::Plain,
    }
}

/// The state of this name, in any case.
pub fn state_of(name: &str) -> Option<State> {
    State::ALL
        .into_iter()
        .find(|state| state.name().eq_ignore_ascii_case(name))
}

/// The priority of this number.
pub fn priority_of(number: u64) -> Result<Priority, Malformed> {
    u8::try_from(number)
        .ok()
        .and_then(Priority::from_number)
        .ok_or(Malformed("a priority is not one of 0 to 4"))
}

impl ToWorker {
    /// Appends it to a buffer.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Init(init) => frame::write(
                out,
                kind::INIT,
                |header| init.pack(header),
                &[init.config_text.as_bytes()],
            ),
            Self::Msg(msg) => msg.write(out),
            Self::Called(called) => called.write(out),
            Self::Accepted(accepted) => frame::write(
                out,
                kind::ACCEPTED,
                |header| {
                    header.array(5);
                    header.uint(accepted.call);
                    header.str(&accepted.code);
                    header.str(&accepted.reason);
                    header.uint(accepted.session);
                    header.uint(accepted.first_id);
                },
                &[],
            ),
            Self::Response(response) => frame::write(
                out,
                kind::RESPONSE,
                |header| {
                    header.array(4);
                    header.uint(response.call);
                    header.str(response.state.map_or("", State::name));
                    header.str(&response.reason);
                    header.bool(response.reply.is_some());
                },
                &[response.reply.as_deref().unwrap_or_default()],
            ),
            Self::State { paused } => frame::write(
                out,
                kind::STATE,
                |header| {
                    header.array(1);
                    header.bool(*paused);
                },
                &[],
            ),
            Self::Ping(n) => frame::write(
                out,
                kind::PING,
                |header| {
                    header.array(1);
                    header.uint(*n);
                },
                &[],
            ),
            Self::Drain => frame::write(out, kind::DRAIN, |header| header.array(0), &[]),
            Self::Unknown(other) => frame::write(out, *other, |header| header.array(0), &[]),
        }
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// What breaks the rules.
    pub fn read(frame: Frame) -> Result<Self, Malformed> {
        if frame.kind == kind::INIT {
            return Init::read(&frame).map(|init| Self::Init(Box::new(init)));
        }
        let header = frame.header.clone();
        let mut fields = Fields::of(&header)?;
        Ok(match frame.kind {
            kind::MSG => Self::Msg(Msg::read(&mut fields, frame.body)?),
            kind::CALLED => Self::Called(Called::read(&mut fields, frame.body)?),
            kind::ACCEPTED => Self::Accepted(Accepted {
                call: fields.next(|v| v.uint())?,
                code: fields.next(|v| v.str())?.to_owned(),
                reason: fields.next(|v| v.str())?.to_owned(),
                session: fields.maybe(|v| v.uint())?.unwrap_or_default(),
                first_id: fields.maybe(|v| v.uint())?.unwrap_or_default(),
            }),
            kind::RESPONSE => Self::Response(Response {
                call: fields.next(|v| v.uint())?,
                state: fields.maybe(|v| v.str())?.and_then(state_of),
                reason: fields.maybe(|v| v.str())?.unwrap_or_default().to_owned(),
                reply: fields
                    .maybe(|v| v.bool())?
                    .unwrap_or(false)
                    .then_some(frame.body),
            }),
            kind::STATE => Self::State {
                paused: fields.next(|v| v.bool())?,
            },
            kind::PING => Self::Ping(fields.next(|v| v.uint())?),
            kind::DRAIN => Self::Drain,
            other => Self::Unknown(other),
        })
    }
}

impl Msg {
    /// Appends it to a buffer.
    pub fn write(&self, out: &mut Vec<u8>) {
        frame::write(
            out,
            kind::MSG,
            |header| {
                header.array(10);
                header.uint(self.id);
                header.uint(self.job.into());
                header.uint(self.attempt.into());
                header.opt_uint(self.deadline_ms);
                header.str(&self.source);
                header.str(content_name(self.content));
                header.uint(self.priority as u64);
                header.uint(self.session);
                header.uint(self.created_ms);
                header.bool(self.possible_duplicate);
            },
            &[&self.body],
        );
    }

    fn read(fields: &mut Fields<'_>, body: Bytes) -> Result<Self, Malformed> {
        Ok(Self {
            id: fields.next(|v| v.uint())?,
            job: fields
                .next(|v| v.uint())?
                .try_into()
                .map_err(|_| Malformed("a job number is too large"))?,
            attempt: fields.next(|v| v.uint())?.try_into().unwrap_or(u32::MAX),
            deadline_ms: fields.maybe(|v| v.uint())?,
            source: fields.next(|v| v.str())?.to_owned(),
            content: content_of(fields.next(|v| v.str())?),
            priority: priority_of(fields.next(|v| v.uint())?)?,
            session: fields.next(|v| v.uint())?,
            created_ms: fields.maybe(|v| v.uint())?.unwrap_or_default(),
            possible_duplicate: fields.maybe(|v| v.bool())?.unwrap_or(false),
            body,
        })
    }
}

impl Called {
    fn write(&self, out: &mut Vec<u8>) {
        frame::write(
            out,
            kind::CALLED,
            |header| {
                header.array(6);
                header.uint(self.call);
                header.str(&self.code);
                header.str(&self.reason);
                header.opt_uint(self.message);
                header.opt_str(self.state.map(State::name));
                header.bool(self.reply.is_some());
            },
            &[self.reply.as_deref().unwrap_or_default()],
        );
    }

    fn read(fields: &mut Fields<'_>, body: Bytes) -> Result<Self, Malformed> {
        Ok(Self {
            call: fields.next(|v| v.uint())?,
            code: fields.maybe(|v| v.str())?.unwrap_or_default().to_owned(),
            reason: fields.maybe(|v| v.str())?.unwrap_or_default().to_owned(),
            message: fields.maybe(|v| v.uint())?,
            state: fields.maybe(|v| v.str())?.and_then(state_of),
            reply: fields.maybe(|v| v.bool())?.unwrap_or(false).then_some(body),
        })
    }
}
