//! The inner layer: a host and the hooks of its class around one message.
//!
//! Owns their order and that each panic and error stays where it happened. The same in every
//! execution mode: whoever holds the instance calls [`handle`].

use std::{future::Future, panic::AssertUnwindSafe};

use bytes::Bytes;
use futures_util::FutureExt;
use tracing::warn;

use super::{Before, rejected, rejection, remark, same};
use crate::{
    HostError,
    context::HostContext,
    host::{
        BusinessOperation, BusinessProcess, Message, Outcome, Verdict, operation_outcome,
        process_outcome,
    },
    workers::Gone,
};

/// A host that works off a queue, whatever its kind.
pub enum Own<'h> {
    /// A process.
    Process(&'h mut dyn BusinessProcess),
    /// An operation.
    Operation(&'h mut dyn BusinessOperation),
}

/// What one try came to.
#[derive(Debug)]
pub struct Handled {
    /// The outcome; none: the host went down while it had the message.
    pub outcome: Option<Outcome>,
    /// The host is down or one of its hooks panicked: this instance must not get another message.
    pub spoiled: Option<Gone>,
}

impl Handled {
    /// What a host without hooks came to.
    pub(crate) fn of(result: Result<Outcome, Gone>) -> Self {
        match result {
            Ok(outcome) => Self {
                outcome: Some(outcome),
                spoiled: None,
            },
            Err(gone) => Self {
                outcome: None,
                spoiled: Some(gone),
            },
        }
    }
}

/// A hook of the class panicked; it is the message that may be the cause.
fn hook_panicked() -> Gone {
    Gone {
        reason: "a hook of the host panicked".into(),
        by_message: true,
    }
}

impl Own<'_> {
    async fn before(
        &mut self,
        ctx: &HostContext,
        message: &mut Message,
    ) -> Result<Before, HostError> {
        match self {
            Self::Process(host) => host.on_before_process(ctx, message).await,
            Self::Operation(host) => host.on_before_process(ctx, message).await,
        }
    }

    async fn message(&mut self, ctx: &HostContext, message: &Message) -> Outcome {
        match self {
            Self::Process(host) => process_outcome(host.on_message(ctx, message).await),
            Self::Operation(host) => operation_outcome(host.on_message(ctx, message).await),
        }
    }

    async fn error(
        &mut self,
        ctx: &HostContext,
        message: &Message,
        outcome: &Outcome,
    ) -> Result<Option<Outcome>, HostError> {
        match self {
            Self::Process(host) => host.on_process_error(ctx, message, outcome).await,
            Self::Operation(host) => host.on_process_error(ctx, message, outcome).await,
        }
    }

    async fn after(
        &mut self,
        ctx: &HostContext,
        message: &Message,
        outcome: &Outcome,
    ) -> Result<Option<Outcome>, HostError> {
        match self {
            Self::Process(host) => host.on_after_process(ctx, message, outcome).await,
            Self::Operation(host) => host.on_after_process(ctx, message, outcome).await,
        }
    }
}

/// One try of one message: the class's `on_before_process`, the host, then its `on_process_error`
/// where it failed and its `on_after_process` where it came to an end.
pub async fn handle(mut host: Own<'_>, ctx: &HostContext, message: &mut Message) -> Handled {
    let given = message.body.0.clone();
    let mut note = String::new();
    let mut spoiled = false;
    let mut outcome = match judge(&mut host, ctx, message, &mut note, &mut spoiled).await {
        Some(ended) => {
            message.body.0 = given.clone();
            ended
        }
        None => {
            if !same(&given, &message.body.0) {
                remark(&mut note, "on_before_process changed the message");
                ctx.now_sends(&message.body.0);
            }
            match caught(host.message(ctx, message)).await {
                Some(outcome) => outcome,
                None => return Handled::of(Err(Gone::panicked())),
            }
        }
    };
    if !spoiled && failed(&outcome) {
        let asked = Asked("on_process_error", &mut note, &mut spoiled);
        if let Some(recovered) = asked
            .of(ctx, message, host.error(ctx, message, &outcome))
            .await
        {
            outcome = recovered;
        }
    }
    if !spoiled && is_end(outcome.verdict) {
        let asked = Asked("on_after_process", &mut note, &mut spoiled);
        let other = asked
            .of(ctx, message, host.after(ctx, message, &outcome))
            .await;
        match other {
            Some(other) if is_end(other.verdict) => outcome = other,
            Some(_) => remark(
                &mut note,
                "on_after_process cannot have a message tried again: the outcome stands",
            ),
            None => {}
        }
    }
    put_before(&mut outcome, &note);
    if !same(&given, &message.body.0) {
        sends_these(&mut outcome, &message.body.0);
    }
    Handled {
        outcome: Some(outcome),
        spoiled: spoiled.then(hook_panicked),
    }
}

/// Asks `on_before_process`; the outcome, if the message goes no further.
async fn judge(
    host: &mut Own<'_>,
    ctx: &HostContext,
    message: &mut Message,
    note: &mut String,
    spoiled: &mut bool,
) -> Option<Outcome> {
    match caught(host.before(ctx, message)).await {
        Some(Ok(Before::Go)) => None,
        Some(Ok(Before::Tag(tag))) => {
            remark(note, &format!("on_before_process: tag {tag}"));
            None
        }
        Some(Ok(Before::Reject(reason))) => Some(Outcome::failed(rejected(&reason))),
        Some(Err(error)) => {
            let why = error.message;
            Some(Outcome::failed(format!("on_before_process failed: {why}")))
        }
        None => {
            *spoiled = true;
            Some(Outcome::failed("on_before_process panicked"))
        }
    }
}

/// A hook that may replace the outcome: its name, the note to add to, and the flag to raise.
struct Asked<'a>(&'static str, &'a mut String, &'a mut bool);

impl Asked<'_> {
    /// Its answer; none where it has none, or failed.
    async fn of(
        self,
        ctx: &HostContext,
        message: &Message,
        hook: impl Future<Output = Result<Option<Outcome>, HostError>>,
    ) -> Option<Outcome> {
        let Self(name, note, spoiled) = self;
        let why = match caught(hook).await {
            Some(Ok(answer)) => return answer,
            Some(Err(error)) => format!("{name} failed: {}", error.message),
            None => {
                *spoiled = true;
                format!("{name} panicked")
            }
        };
        let (item, id) = (ctx.name(), message.live.id.0);
        warn!(item, message = id, "{why}; the outcome stands");
        remark(note, &why);
        None
    }
}

/// The result, or none where it panicked.
async fn caught<T>(work: impl Future<Output = T>) -> Option<T> {
    AssertUnwindSafe(work).catch_unwind().await.ok()
}

/// Whether error hooks are asked about it.
pub(super) fn failed(outcome: &Outcome) -> bool {
    !matches!(outcome.verdict, Verdict::Completed | Verdict::Discarded)
        && rejection(&outcome.reason).is_none()
}

/// Whether a message comes to an end with this verdict.
pub(super) fn is_end(verdict: Verdict) -> bool {
    !matches!(verdict, Verdict::Retry(_) | Verdict::Disable)
}

/// Adds remarks in front of what the host noted.
pub(super) fn put_before(outcome: &mut Outcome, note: &str) {
    if !note.is_empty() {
        let behind = std::mem::replace(&mut outcome.note, note.to_owned());
        remark(&mut outcome.note, &behind);
    }
}

/// What is sent on without a body of its own has the changed one: the stored one is the original.
pub(super) fn sends_these(outcome: &mut Outcome, body: &Bytes) {
    for send in &mut outcome.sends {
        send.body.get_or_insert_with(|| body.clone());
    }
}
