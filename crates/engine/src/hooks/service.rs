//! Hooks at a service: around a message that is let in.
//!
//! Owns what a rejection and a change mean at the door: a rejected message is kept in state Error
//! with its reason and goes nowhere; of a changed one the original is kept, and the targets get the
//! new bytes.

use std::{
    future::Future,
    panic::AssertUnwindSafe,
    sync::{Arc, atomic::Ordering},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt;
use hie_store::{MessageId, SessionId, State, StoreError};
use parking_lot::RwLock;
use tracing::{error, warn};

use super::{Before, Hooks, rejected, rejection, remark, same};
use crate::{
    HostError,
    broker::{Accepted, Arrival},
    context::{Gate, ServiceContext},
    host::{Origin, Outcome, Verdict},
};

/// The hooks of a service's class. They stand beside the service and not on it, because its `run`
/// holds it while messages come in; several may be called at once.
#[async_trait]
pub trait ServiceHooks: Send + Sync {
    /// Before a message is let in. May change the body: the targets get the changed one, the
    /// original is kept beside it. An error rejects the message.
    async fn on_before_process(
        &self,
        _ctx: &ServiceContext,
        _origin: Origin<'_>,
        _body: &mut Bytes,
    ) -> Result<Before, HostError> {
        Ok(Before::Go)
    }

    /// When a message is on disk and on its way. An error is logged and changes nothing.
    async fn on_after_process(
        &self,
        _ctx: &ServiceContext,
        _origin: Origin<'_>,
        _body: &Bytes,
        _accepted: &Accepted,
    ) -> Result<(), HostError> {
        Ok(())
    }

    /// When a message cannot be let in: the service could not read it, or a hook before it failed.
    /// `Discarded` and `Failed` outcomes with their reasons say how it is kept.
    async fn on_process_error(
        &self,
        _ctx: &ServiceContext,
        _origin: Origin<'_>,
        _body: &Bytes,
        _outcome: &Outcome,
    ) -> Result<Option<Outcome>, HostError> {
        Ok(None)
    }
}

/// Why a message was not let in.
#[derive(Debug, thiserror::Error)]
pub enum NotAccepted {
    /// Nothing of it is kept: the engine cannot store it now, or stops.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A hook refused it. It is kept, with the reason, and goes nowhere.
    #[error("{0}")]
    Rejected(Rejected),
}

/// A message that is kept because a hook refused it.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct Rejected {
    /// Why, for the sender.
    pub reason: String,
    /// Its session.
    pub session: SessionId,
    /// Its header.
    pub id: MessageId,
}

impl NotAccepted {
    /// A stable short name for logs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Store(error) => error.code(),
            Self::Rejected(_) => "rejected",
        }
    }
}

impl From<hie_journal::LogError> for NotAccepted {
    fn from(error: hie_journal::LogError) -> Self {
        Self::Store(error.into())
    }
}

/// What the hooks made of an arrival.
#[derive(Default)]
pub(crate) struct Ruled {
    /// The bytes that the targets get, where they differ.
    pub(crate) changed: Option<Bytes>,
    /// What is to be seen in the trace.
    pub(crate) note: String,
}

/// How a message is kept that was not let in.
pub(crate) struct Kept {
    pub(crate) state: State,
    pub(crate) reason: String,
    pub(crate) note: String,
}

/// A worker process hands over what came in, and nothing beside it.
const FAR_CHANGE: &str = "on_before_process failed: the class of a service cannot change messages \
    in a worker process; use the hooks of the configuration, or another ExecutionMode";

/// Both layers of hooks of one service.
#[derive(Clone, Default)]
pub(crate) struct Door {
    config: Option<Arc<Hooks>>,
    own: Arc<RwLock<Option<Arc<dyn ServiceHooks>>>>,
}

impl Door {
    pub(crate) fn new(config: Option<Arc<Hooks>>) -> Self {
        Self {
            config,
            own: Arc::default(),
        }
    }

    /// The hooks of the instance that runs now.
    pub(crate) fn set_own(&self, own: Option<Arc<dyn ServiceHooks>>) {
        *self.own.write() = own;
    }

    fn own(&self) -> Option<Arc<dyn ServiceHooks>> {
        self.own.read().clone()
    }

    /// Asks the hooks before a message is let in. A rejected one is kept by this, and is an error.
    pub(crate) async fn judge(
        &self,
        ctx: &ServiceContext,
        origin: Origin<'_>,
        body: &Bytes,
    ) -> Result<Ruled, NotAccepted> {
        let own = self.own();
        if self.config.is_none() && own.is_none() {
            return Ok(Ruled::default());
        }
        let mut ruled = Ruled::default();
        let mut now = body.clone();
        let mut end = None;
        if let Some(hooks) = &self.config {
            let judged = hooks.before(&now, ctx.name());
            (ruled.note, end) = (judged.note, judged.end);
            now = judged.body.unwrap_or(now);
        }
        if let (None, Some(own)) = (&end, &own) {
            let before = now.clone();
            end = match caught(ctx, own.on_before_process(ctx, origin, &mut now)).await {
                Ok(Before::Go) => None,
                Ok(Before::Tag(tag)) => {
                    remark(&mut ruled.note, &format!("on_before_process: tag {tag}"));
                    None
                }
                Ok(Before::Reject(reason)) => Some(rejected(&reason)),
                Err(why) => Some(format!("on_before_process failed: {why}")),
            };
            if end.is_none() && !same(&before, &now) {
                if ctx.is_far() {
                    // The engine would take the changed bytes for those that came in.
                    end = Some(FAR_CHANGE.into());
                }
                remark(&mut ruled.note, "on_before_process changed the message");
            }
        }
        if let Some(reason) = end {
            return Err(self.refuse(ctx, origin, body, reason, ruled.note).await);
        }
        if let Some(hooks) = &self.config {
            let after = hooks.after(&now, ctx.name(), &Outcome::completed(), 1);
            remark(&mut ruled.note, &after);
        }
        ruled.changed = (!same(body, &now)).then_some(now);
        Ok(ruled)
    }

    /// Keeps a message that a hook refused.
    async fn refuse(
        &self,
        ctx: &ServiceContext,
        origin: Origin<'_>,
        body: &Bytes,
        reason: String,
        note: String,
    ) -> NotAccepted {
        let mut kept = Kept {
            state: State::Error,
            reason,
            note,
        };
        let own_decision = rejection(&kept.reason).is_some();
        if !own_decision {
            kept = self.bad(ctx, origin, body, kept).await;
        }
        if let Some(hooks) = &self.config {
            let outcome = Outcome::failed(kept.reason.clone());
            let after = hooks.after(body, ctx.name(), &outcome, 1);
            remark(&mut kept.note, &after);
        }
        let told = rejection(&kept.reason).unwrap_or(&kept.reason).to_owned();
        warn!(item = ctx.name(), from = origin.from, "{}", kept.reason);
        match ctx.keep_refused(origin, body, &kept).await {
            Ok(accepted) => NotAccepted::Rejected(Rejected {
                reason: told,
                session: accepted.session,
                id: accepted.first_id,
            }),
            Err(error) => error.into(),
        }
    }

    /// Asks the error hooks how a message is kept that cannot be let in.
    pub(crate) async fn bad(
        &self,
        ctx: &ServiceContext,
        origin: Origin<'_>,
        body: &Bytes,
        mut kept: Kept,
    ) -> Kept {
        if let Some(own) = self.own() {
            let outcome = Outcome::failed(kept.reason.clone());
            match caught(ctx, own.on_process_error(ctx, origin, body, &outcome)).await {
                Ok(None) => {}
                Ok(Some(other)) => replace(&mut kept, Some(other.verdict), Some(other.reason)),
                Err(why) => {
                    let text = format!("on_process_error failed: {why}");
                    remark(&mut kept.note, &text);
                }
            }
        }
        let Some(hooks) = &self.config else {
            return kept;
        };
        let outcome = Outcome::failed(kept.reason.clone());
        let mut note = std::mem::take(&mut kept.note);
        let recovery = hooks.error(body, ctx.name(), &outcome, 1, &mut note);
        kept.note = note;
        if let Some(recovery) = recovery {
            replace(&mut kept, recovery.then, recovery.reason);
        }
        kept
    }

    /// Tells the service's own hooks that a message is on its way.
    pub(crate) async fn told(
        &self,
        ctx: &ServiceContext,
        origin: Origin<'_>,
        body: &Bytes,
        ruled: &Ruled,
        accepted: &Accepted,
    ) {
        let Some(own) = self.own() else { return };
        let body = ruled.changed.as_ref().unwrap_or(body);
        if let Err(why) = caught(ctx, own.on_after_process(ctx, origin, body, accepted)).await {
            let (item, id) = (ctx.name(), accepted.first_id.0);
            warn!(
                item,
                message = id,
                "on_after_process failed: {why}; the message goes on"
            );
        }
    }
}

impl ServiceContext {
    /// Uses these hooks of the service's class from now on; for who drives a service in a worker
    /// process.
    pub fn set_hooks(&self, own: Option<Arc<dyn ServiceHooks>>) {
        self.hooks.set_own(own);
    }

    /// Keeps a message that a hook refused.
    async fn keep_refused(
        &self,
        origin: Origin<'_>,
        body: &Bytes,
        kept: &Kept,
    ) -> Result<Accepted, StoreError> {
        let broker = match &self.gate {
            Gate::Here(broker) => broker,
            Gate::Far(..) => return self.keep(origin, body, kept.state, &kept.reason).await,
        };
        self.stats.rejected.fetch_add(1, Ordering::Relaxed);
        self.stats.note_error(kept.reason.clone());
        broker.accept(self.kept(origin, body, kept)).await
    }

    /// Whether it is in a worker process.
    fn is_far(&self) -> bool {
        matches!(self.gate, Gate::Far(..))
    }

    pub(crate) fn kept<'a>(
        &'a self,
        origin: Origin<'a>,
        body: &'a Bytes,
        kept: &'a Kept,
    ) -> Arrival<'a> {
        Arrival {
            note: &kept.note,
            ..self.arrival(origin, body, &[], kept.state, &kept.reason)
        }
    }

    /// An arrival as the hooks want it.
    pub(crate) fn ruled<'a>(
        &'a self,
        origin: Origin<'a>,
        body: &'a Bytes,
        ruled: &'a Ruled,
    ) -> Arrival<'a> {
        Arrival {
            changed: ruled.changed.as_ref(),
            note: &ruled.note,
            ..self.arrival(origin, body, &self.targets, State::Queued, "")
        }
    }
}

/// What a hook says in the place of what was; what it was stays in the note.
fn replace(kept: &mut Kept, then: Option<Verdict>, reason: Option<String>) {
    let text = format!("on_process_error instead of: {}", kept.reason);
    remark(&mut kept.note, &text);
    if then == Some(Verdict::Discarded) {
        kept.state = State::Discarded;
    }
    if let Some(reason) = reason.filter(|reason| !reason.is_empty()) {
        kept.reason = reason;
    }
}

/// What a hook gives, or why it failed. A panic is counted and goes no further.
async fn caught<T>(
    ctx: &ServiceContext,
    hook: impl Future<Output = Result<T, HostError>>,
) -> Result<T, String> {
    match AssertUnwindSafe(hook).catch_unwind().await {
        Ok(result) => result.map_err(|error| error.message),
        Err(_) => {
            ctx.stats().panics.fetch_add(1, Ordering::Relaxed);
            error!(item = ctx.name(), "a hook of the service panicked");
            Err("it panicked".into())
        }
    }
}
