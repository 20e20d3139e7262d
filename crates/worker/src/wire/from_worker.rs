//! What a worker says to the engine.

use bytes::Bytes;
use hie_engine::host::{GiveUp, Outcome, Send, Verdict};
use hie_store::{Content, Priority, State};

use super::{
    Fields, Frame, Malformed, frame, kind,
    to_worker::{content_name, content_of, priority_of, state_of},
};

/// A frame from a worker.
#[derive(Clone, Debug)]
pub enum FromWorker {
    /// The first frame.
    Hello {
        /// The highest version that it speaks.
        protocol: u64,
        /// What it is.
        implementation: String,
    },
    /// Its hosts have started.
    Ready {
        /// How many messages it takes at once.
        credit: u32,
    },
    /// Its hosts cannot start.
    Failed {
        /// A stable short name.
        code: String,
        /// For the operator.
        message: String,
    },
    /// What a host made of a message.
    Result(Verdicted),
    /// More messages than before.
    Credit(u32),
    /// A host sends a request.
    Call(Call),
    /// A service lets a message in.
    Accept(Accept),
    /// A line for the log.
    Log {
        /// `error`, `warn`, `info` or `debug`.
        level: String,
        /// Never message content.
        text: String,
    },
    /// What changed for the operator.
    Stat(Stat),
    /// It lives.
    Pong(u64),
    /// The last frame.
    Bye,
}

/// What the engine makes of a RESULT.
#[derive(Clone, Debug)]
pub struct Verdicted {
    /// The message.
    pub id: u64,
    /// None: the host raised, which counts like a panic. The outcome's reason says why.
    pub crashed: bool,
    /// The result.
    pub outcome: Outcome,
}

/// See [`FromWorker::Call`].
#[derive(Clone)]
pub struct Call {
    /// Any number that is not in use.
    pub call: u64,
    /// The message in hand.
    pub id: u64,
    /// The item that gets the request.
    pub target: String,
    /// How long its response is waited for; none: not at all.
    pub timeout_ms: Option<u64>,
    /// Its priority.
    pub priority: Priority,
    /// The messaging pattern, where it is not the item's.
    pub pattern: Option<String>,
    /// The message to send; none: the one in hand.
    pub body: Option<Bytes>,
}

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Call {{ call: {}, id: {}, target: {:?} }}",
            self.call, self.id, self.target
        )
    }
}

/// How a service lets a message in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AcceptKind {
    /// To all targets.
    Accept,
    /// Nowhere: it is kept in a state.
    Keep,
    /// It cannot be read.
    Bad,
}

/// See [`FromWorker::Accept`].
#[derive(Clone)]
pub struct Accept {
    /// Any number that is not in use.
    pub call: u64,
    /// How it is let in.
    pub kind: AcceptKind,
    /// Where it came from.
    pub origin: String,
    /// What the body is.
    pub content: Content,
    /// For `Keep`: the state that it is kept in.
    pub state: State,
    /// Why, for `Keep` and `Bad`.
    pub reason: String,
    /// For `Bad`: the item that gets it.
    pub handler: Option<String>,
    /// Whether the service waits for a response.
    pub wait: bool,
    /// Its bytes.
    pub body: Bytes,
}

impl std::fmt::Debug for Accept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Accept {{ call: {}, kind: {:?}, <{} bytes> }}",
            self.call,
            self.kind,
            self.body.len()
        )
    }
}

/// See [`FromWorker::Stat`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// Where the item listens, reads or sends.
    pub address: Option<String>,
    /// Connections that the worker has open now.
    pub connections: Option<u64>,
    /// Counters to add to.
    pub counters: Vec<(String, u64)>,
    /// The last error, for the operator.
    pub last_error: Option<String>,
}

fn verdict_name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Completed => "completed",
        Verdict::Discarded => "discarded",
        Verdict::Failed => "failed",
        Verdict::Suspended => "suspended",
        Verdict::Retry(_) => "retry",
        Verdict::Disable => "disable",
    }
}

fn give_up_name(verdict: Verdict) -> Option<&'static str> {
    match verdict {
        Verdict::Retry(GiveUp::Suspend) => Some("suspend"),
        Verdict::Retry(GiveUp::Disable) => Some("disable"),
        Verdict::Retry(GiveUp::Complete) => Some("complete"),
        _ => None,
    }
}

fn give_up_of(name: Option<&str>) -> GiveUp {
    match name {
        Some("suspend") => GiveUp::Suspend,
        Some("disable") => GiveUp::Disable,
        Some("complete") => GiveUp::Complete,
        _ => GiveUp::Fail,
    }
}

impl FromWorker {
    /// Appends it to a buffer.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Hello {
                protocol,
                implementation,
            } => frame::write(
                out,
                kind::HELLO,
                |header| {
                    header.array(2);
                    header.uint(*protocol);
                    header.str(implementation);
                },
                &[],
            ),
            Self::Ready { credit } => one_number(out, kind::READY, u64::from(*credit)),
            Self::Failed { code, message } => two_texts(out, kind::FAILED, code, message),
            Self::Result(result) => result.write(out),
            Self::Credit(n) => one_number(out, kind::CREDIT, u64::from(*n)),
            Self::Call(call) => frame::write(
                out,
                kind::CALL,
                |header| {
                    header.array(7);
                    header.uint(call.call);
                    header.uint(call.id);
                    header.str(&call.target);
                    header.opt_uint(call.timeout_ms);
                    header.uint(call.priority as u64);
                    header.bool(call.body.is_some());
                    header.opt_str(call.pattern.as_deref());
                },
                &[call.body.as_deref().unwrap_or_default()],
            ),
            Self::Accept(accept) => accept.write(out),
            Self::Log { level, text } => two_texts(out, kind::LOG, level, text),
            Self::Stat(stat) => stat.write(out),
            Self::Pong(n) => one_number(out, kind::PONG, *n),
            Self::Bye => frame::write(out, kind::BYE, |header| header.array(0), &[]),
        }
    }

    /// Reads a frame. What goes into queues is copied, so that a small message never keeps a large
    /// read buffer alive.
    ///
    /// # Errors
    /// What breaks the rules; a type that is not known does.
    pub fn read(frame: &Frame) -> Result<Self, Malformed> {
        let mut fields = Fields::of(&frame.header)?;
        let small = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        Ok(match frame.kind {
            kind::HELLO => Self::Hello {
                protocol: fields.next(|v| v.uint())?,
                implementation: fields.maybe(|v| v.str())?.unwrap_or("?").to_owned(),
            },
            kind::READY => Self::Ready {
                credit: small(fields.next(|v| v.uint())?),
            },
            kind::FAILED => Self::Failed {
                code: fields.next(|v| v.str())?.to_owned(),
                message: fields.next(|v| v.str())?.to_owned(),
            },
            kind::RESULT => Self::Result(Verdicted::read(&mut fields, &frame.body)?),
            kind::CREDIT => Self::Credit(small(fields.next(|v| v.uint())?)),
            kind::CALL => Self::Call(Call::read(&mut fields, &frame.body)?),
            kind::ACCEPT => Self::Accept(Accept::read(&mut fields, &frame.body)?),
            kind::LOG => Self::Log {
                level: fields.next(|v| v.str())?.to_owned(),
                text: fields.next(|v| v.str())?.to_owned(),
            },
            kind::STAT => Self::Stat(Stat::read(&mut fields)?),
            kind::PONG => Self::Pong(fields.next(|v| v.uint())?),
            kind::BYE => Self::Bye,
            _ => return Err(Malformed("a frame has a type that workers do not send")),
        })
    }
}

fn one_number(out: &mut Vec<u8>, kind: u8, n: u64) {
    let header = |header: &mut super::Packer<'_>| {
        header.array(1);
        header.uint(n);
    };
    frame::write(out, kind, header, &[]);
}

fn two_texts(out: &mut Vec<u8>, kind: u8, first: &str, second: &str) {
    let header = |header: &mut super::Packer<'_>| {
        header.array(2);
        header.str(first);
        header.str(second);
    };
    frame::write(out, kind, header, &[]);
}

impl Verdicted {
    /// Appends it to a buffer.
    pub fn write(&self, out: &mut Vec<u8>) {
        let outcome = &self.outcome;
        let verdict = match self.crashed {
            true => "crashed",
            false => verdict_name(outcome.verdict),
        };
        let bodies: Vec<&[u8]> = outcome
            .reply
            .iter()
            .chain(outcome.sends.iter().filter_map(|send| send.body.as_ref()))
            .map(|body| &body[..])
            .collect();
        let header = |header: &mut super::Packer<'_>| {
            let give_up = give_up_name(outcome.verdict);
            header.array(if give_up.is_some() { 8 } else { 7 });
            header.uint(self.id);
            header.str(verdict);
            header.str(&outcome.reason);
            header.str(&outcome.note);
            header.opt_uint(outcome.reply.as_ref().map(|reply| reply.len() as u64));
            header.array(outcome.sends.len());
            for send in &outcome.sends {
                header.array(3);
                header.str(&send.target);
                header.opt_uint(send.body.as_ref().map(|body| body.len() as u64));
                header.uint(send.priority as u64);
            }
            header.strs(outcome.response_from.iter().map(String::as_str));
            if let Some(give_up) = give_up {
                header.str(give_up);
            }
        };
        frame::write(out, kind::RESULT, header, &bodies);
    }

    fn read(fields: &mut Fields<'_>, body: &Bytes) -> Result<Self, Malformed> {
        let mut rest = &body[..];
        let mut part = |len: u64| {
            let len = usize::try_from(len).unwrap_or(usize::MAX);
            let (part, after) = rest
                .split_at_checked(len)
                .ok_or(Malformed("a part of a result goes beyond its frame"))?;
            rest = after;
            Ok(Bytes::copy_from_slice(part))
        };
        let id = fields.next(|v| v.uint())?;
        let verdict = fields.next(|v| v.str())?;
        let reason = fields.maybe(|v| v.str())?.unwrap_or_default().to_owned();
        let note = fields.maybe(|v| v.str())?.unwrap_or_default().to_owned();
        let reply = fields.maybe(|v| v.uint())?.map(&mut part).transpose()?;
        let sends = fields.maybe(|values| {
            let mut sends = Vec::new();
            for _ in 0..values.array()? {
                let elements = values.array()?;
                if elements < 2 {
                    return Err(Malformed("a send has too few elements"));
                }
                let target = values.str()?.to_owned();
                let body = values.opt_uint()?.map(&mut part).transpose()?;
                let priority = match elements > 2 {
                    true => priority_of(values.opt_uint()?.unwrap_or(Priority::Normal as u64))?,
                    false => Priority::Normal,
                };
                (3..elements).try_for_each(|_| values.skip())?;
                sends.push(Send {
                    target,
                    body,
                    priority,
                });
            }
            Ok(sends)
        })?;
        let response_from = fields.maybe(|v| v.strs())?.unwrap_or_default();
        let give_up = give_up_of(fields.maybe(|v| v.str())?);
        let crashed = verdict == "crashed";
        let verdict = match verdict {
            "completed" => Verdict::Completed,
            "discarded" => Verdict::Discarded,
            "failed" | "crashed" => Verdict::Failed,
            "suspended" => Verdict::Suspended,
            "retry" => Verdict::Retry(give_up),
            "disable" => Verdict::Disable,
            _ => return Err(Malformed("a result has a verdict that is not known")),
        };
        let outcome = Outcome {
            reason,
            note,
            reply,
            sends: sends.unwrap_or_default(),
            response_from,
            ..Outcome::new(verdict, "")
        };
        Ok(Self {
            id,
            crashed,
            outcome,
        })
    }
}

impl Call {
    fn read(fields: &mut Fields<'_>, body: &Bytes) -> Result<Self, Malformed> {
        let call = fields.next(|v| v.uint())?;
        let id = fields.next(|v| v.uint())?;
        let target = fields.next(|v| v.str())?.to_owned();
        let timeout_ms = fields.maybe(|v| v.uint())?;
        let priority = fields.maybe(|v| v.uint())?.map(priority_of).transpose()?;
        let has_body = fields.maybe(|v| v.bool())?.unwrap_or(false);
        let pattern = fields.maybe(|v| v.str())?.map(str::to_owned);
        Ok(Self {
            call,
            id,
            target,
            timeout_ms,
            priority: priority.unwrap_or_default(),
            pattern,
            body: has_body.then(|| Bytes::copy_from_slice(body)),
        })
    }
}

impl Accept {
    fn write(&self, out: &mut Vec<u8>) {
        let header = |header: &mut super::Packer<'_>| {
            header.array(8);
            header.uint(self.call);
            header.str(match self.kind {
                AcceptKind::Accept => "accept",
                AcceptKind::Keep => "keep",
                AcceptKind::Bad => "bad",
            });
            header.str(&self.origin);
            header.str(content_name(self.content));
            header.str(self.state.name());
            header.str(&self.reason);
            header.opt_str(self.handler.as_deref());
            header.bool(self.wait);
        };
        frame::write(out, kind::ACCEPT, header, &[&self.body]);
    }

    fn read(fields: &mut Fields<'_>, body: &Bytes) -> Result<Self, Malformed> {
        let call = fields.next(|v| v.uint())?;
        let kind = match fields.next(|v| v.str())? {
            "accept" => AcceptKind::Accept,
            "keep" => AcceptKind::Keep,
            "bad" => AcceptKind::Bad,
            _ => return Err(Malformed("a message is let in in a way that is not known")),
        };
        let origin = fields.maybe(|v| v.str())?.unwrap_or_default().to_owned();
        let content = fields
            .maybe(|v| v.str())?
            .map_or(Content::Plain, content_of);
        let state = fields.maybe(|v| v.str())?.unwrap_or_default();
        let reason = fields.maybe(|v| v.str())?.unwrap_or_default().to_owned();
        let handler = fields.maybe(|v| v.str())?.map(str::to_owned);
        let wait = fields.maybe(|v| v.bool())?.unwrap_or(false);
        let state = match (state_of(state), kind) {
            (Some(state), _) => state,
            (None, AcceptKind::Keep) => {
                return Err(Malformed("a message is kept in a state that is not known"));
            }
            (None, _) => State::Queued,
        };
        Ok(Self {
            call,
            kind,
            origin,
            content,
            state,
            reason,
            handler: handler.filter(|name| !name.is_empty()),
            wait,
            body: Bytes::copy_from_slice(body),
        })
    }
}

impl Stat {
    fn write(&self, out: &mut Vec<u8>) {
        let header = |header: &mut super::Packer<'_>| {
            header.array(4);
            header.opt_str(self.address.as_deref());
            header.opt_uint(self.connections);
            header.map(self.counters.len());
            for (name, n) in &self.counters {
                header.str(name);
                header.uint(*n);
            }
            header.opt_str(self.last_error.as_deref());
        };
        frame::write(out, kind::STAT, header, &[]);
    }

    fn read(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            address: fields.maybe(|v| v.str())?.map(str::to_owned),
            connections: fields.maybe(|v| v.uint())?,
            counters: fields
                .maybe(|values| {
                    let pairs = values.map()?;
                    (0..pairs)
                        .map(|_| Ok((values.str()?.to_owned(), values.uint()?)))
                        .collect()
                })?
                .unwrap_or_default(),
            last_error: fields.maybe(|v| v.str())?.map(str::to_owned),
        })
    }
}
