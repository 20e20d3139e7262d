//! The host traits: what a class implements, and all that it sees of the engine.
//!
//! A host sees its context and its message, never the engine. An instance belongs to one job
//! (`&mut self`, no locks). A panic in a host is caught by its job.

use std::{future::Future, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use hie_store::{Content, Live, Priority, State};

use crate::{
    context::{HostContext, ServiceContext},
    hooks::{ServiceHooks, message_hooks},
};

/// Why a host could not start or run, in words for the operator.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct HostError {
    /// What failed, why, and what to do. Never message content.
    pub message: String,
    /// A stable short name for logs, metrics and exit codes, e.g. `port-in-use`.
    pub code: &'static str,
}

impl HostError {
    /// An error with its code.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            code,
        }
    }
}

/// A message as a host gets it.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its header.
    pub live: Live,
    /// The item that sent it.
    pub source: Arc<str>,
    /// Its bytes, as they came in or as a transform made them.
    pub body: Body,
}

/// Bytes of a message: patient data, so `Debug` shows the length only.
#[derive(Clone, PartialEq, Eq)]
pub struct Body(pub Bytes);

impl std::ops::Deref for Body {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "<{} bytes>", self.0.len())
    }
}

/// What becomes of a message when retrying it has used up `FailureTimeout`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GiveUp {
    /// It is in state Error, the next one is taken.
    Fail,
    /// It is suspended, the next one is taken.
    Suspend,
    /// It goes back to the head of the queue and the item is disabled.
    Disable,
    /// It counts as completed (a bare `R` in `ReplyCodeActions`).
    Complete,
}

/// What a host made of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Done.
    Completed,
    /// Dropped on purpose.
    Discarded,
    /// Failed for good; the next one is taken.
    Failed,
    /// Set aside for a person; the next one is taken.
    Suspended,
    /// To be tried again on the same place in the queue after `RetryInterval`, until
    /// `FailureTimeout` is used up.
    Retry(GiveUp),
    /// Back to the head of the queue, and the item is disabled.
    Disable,
}

impl Verdict {
    /// The state that a message ends in; none for a verdict that is no end.
    pub(crate) fn end(self) -> Option<State> {
        match self {
            Self::Completed => Some(State::Completed),
            Self::Discarded => Some(State::Discarded),
            Self::Failed => Some(State::Error),
            Self::Suspended => Some(State::Suspended),
            Self::Retry(_) | Self::Disable => None,
        }
    }
}

/// One message that a host sends on.
#[derive(Clone, Debug)]
pub struct Send {
    /// The item that gets it.
    pub target: String,
    /// A new body; none sends the same bytes on.
    pub body: Option<Bytes>,
    /// Its priority.
    pub priority: Priority,
}

/// The result of handling one message: one log record is made of it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What became of the message.
    pub verdict: Verdict,
    /// Why, for any verdict but Completed. Never message content.
    pub reason: String,
    /// What was decided (rule log) or warned of; shown in the trace. Never message content.
    pub note: String,
    /// The reply of the peer or the response for the caller.
    pub reply: Option<Bytes>,
    /// What is sent on.
    pub sends: Vec<Send>,
    /// The caller waits for the reply of the first of these targets that answers, not for
    /// this host's own (`ResponseFrom`). Empty: this host's own.
    pub response_from: Vec<String>,
}

impl Outcome {
    /// An outcome with nothing but a verdict and its reason.
    pub fn new(verdict: Verdict, reason: impl Into<String>) -> Self {
        Self {
            verdict,
            reason: reason.into(),
            note: String::new(),
            reply: None,
            sends: Vec::new(),
            response_from: Vec::new(),
        }
    }

    /// Done.
    pub fn completed() -> Self {
        Self::new(Verdict::Completed, "")
    }

    /// Failed for good.
    pub fn failed(reason: impl Into<String>) -> Self {
        Self::new(Verdict::Failed, reason)
    }

    /// The same with a reply.
    pub fn with_reply(mut self, reply: impl Into<Option<Bytes>>) -> Self {
        self.reply = reply.into();
        self
    }

    /// The same with a note.
    pub fn with_note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    /// The same, sending the unchanged body on to one more target.
    pub fn and_send(mut self, target: impl Into<String>) -> Self {
        self.sends.push(Send {
            target: target.into(),
            body: None,
            priority: Priority::Normal,
        });
        self
    }
}

/// What the result of a process's `on_message` means.
pub fn process_outcome(result: Result<Outcome, HostError>) -> Outcome {
    result.unwrap_or_else(|error| Outcome::failed(error.message))
}

/// What the result of an operation's `on_message` means.
pub fn operation_outcome(result: Result<Outcome, HostError>) -> Outcome {
    result.unwrap_or_else(|error| Outcome::new(Verdict::Retry(GiveUp::Fail), error.message))
}

/// Lets messages in.
#[async_trait]
pub trait BusinessService: std::marker::Send {
    /// Called once, before anything else.
    async fn on_init(&mut self, _ctx: &ServiceContext) -> Result<(), HostError> {
        Ok(())
    }

    /// The hooks around each message that comes in; asked once, before `on_start`.
    fn hooks(&self) -> Option<Arc<dyn ServiceHooks>> {
        None
    }

    /// Takes its resources (binds its port, opens its folder). A failure here fails the start of
    /// the production, or of the item when it is restarted.
    async fn on_start(&mut self, ctx: &ServiceContext) -> Result<(), HostError>;

    /// Works until `ctx.stopping()` and returns when what it had in hand is answered.
    async fn run(&mut self, ctx: &ServiceContext) -> Result<(), HostError>;

    /// Lets go of its resources, when `run` has returned.
    async fn on_stop(&mut self, _ctx: &ServiceContext) {}

    /// Called once, after anything else; also when it could not start. Not after a panic.
    async fn on_teardown(&mut self, _ctx: &ServiceContext) {}
}

/// Routes, transforms, orchestrates.
#[async_trait]
pub trait BusinessProcess: std::marker::Send {
    /// Called once, before anything else.
    async fn on_init(&mut self, _ctx: &HostContext) -> Result<(), HostError> {
        Ok(())
    }

    /// Takes its resources.
    async fn on_start(&mut self, _ctx: &HostContext) -> Result<(), HostError> {
        Ok(())
    }

    /// Handles one message. An error is a Failed outcome with its text.
    async fn on_message(
        &mut self,
        ctx: &HostContext,
        message: &Message,
    ) -> Result<Outcome, HostError>;

    /// Lets go of its resources.
    async fn on_stop(&mut self, _ctx: &HostContext) {}

    /// Called once, after anything else; also when it could not start. Not after a panic.
    async fn on_teardown(&mut self, _ctx: &HostContext) {}

    message_hooks!();
}

/// Lets messages out.
#[async_trait]
pub trait BusinessOperation: std::marker::Send {
    /// Called once, before anything else.
    async fn on_init(&mut self, _ctx: &HostContext) -> Result<(), HostError> {
        Ok(())
    }

    /// Takes its resources. Must not fail because the peer is down.
    async fn on_start(&mut self, _ctx: &HostContext) -> Result<(), HostError> {
        Ok(())
    }

    /// Delivers one message. An error is a Retry (then fail) outcome with its text.
    async fn on_message(
        &mut self,
        ctx: &HostContext,
        message: &Message,
    ) -> Result<Outcome, HostError>;

    /// How long the queue must be empty before [`on_idle`](Self::on_idle); none: it is not called.
    fn idle_limit(&self) -> Option<Duration> {
        None
    }

    /// The queue has been empty for [`idle_limit`](Self::idle_limit): close what need not stay
    /// open. Called once for each quiet spell; dropped half way when a message comes.
    async fn on_idle(&mut self, _ctx: &HostContext) {}

    /// Lets go of its resources.
    async fn on_stop(&mut self, _ctx: &HostContext) {}

    /// Called once, after anything else; also when it could not start. Not after a panic.
    async fn on_teardown(&mut self, _ctx: &HostContext) {}

    message_hooks!();
}

/// What an inbound adapter knows of a message that came in.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// Peer address or file name.
    pub from: &'a str,
    /// What the body is.
    pub content: Content,
}
