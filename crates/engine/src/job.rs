//! The job loop: one host instance working off its item's queue, for processes and operations.
//!
//! Owns what is the same for every class: panics stop here, retries keep their place in the
//! queue, every end is one record, and a job of an operation takes its next message only when the
//! end of the last one is on disk (so a crash repeats at most one message a job; see ADR 006).

mod ending;

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::FutureExt;
use hie_store::{ItemId, Live, State, StoreError};
use tracing::{debug, error, info, warn};

use crate::{
    HostError,
    broker::{AcceptError, Admission, Broker, Finish, Leg, Sender},
    class::Build,
    config::{ItemConfig, ProductionConfig},
    context::HostContext,
    follow::way,
    hold::Hold,
    hooks::{Around, Handled},
    host::{Body, Message, Outcome, Send, Verdict},
    in_hand::InHand,
    instance::Host,
    patience::{Patience, out_of_patience, poison},
    pattern::Turn,
    queue::{Entry, ItemQueue},
    supervisor::Post,
    workers::{Gone, WorkerPool},
};

/// What the loop does next.
pub(crate) enum Next {
    Go,
    Stop,
}

/// One job of an item.
pub(crate) struct Job {
    pub(crate) production: Arc<ProductionConfig>,
    pub(crate) item: Arc<ItemConfig>,
    pub(crate) ctx: HostContext,
    pub(crate) queue: Arc<ItemQueue>,
    pub(crate) broker: Arc<Broker>,
    /// Where its host lives, if not in this process, and which of the item's jobs it is.
    pub(crate) workers: Option<(Arc<dyn WorkerPool>, usize)>,
    pub(crate) post: Post,
    pub(crate) hold: Hold,
    pub(crate) in_hand: InHand,
}

impl Job {
    fn name(&self) -> &str {
        self.ctx.name()
    }

    /// Works until the item is stopped or disabled.
    pub(crate) async fn run(self) {
        let Some(mut host) = self.start().await else {
            return;
        };
        let patience = Patience::of(&self.item);
        loop {
            let (entry, _turn) = tokio::select! {
                biased;
                () = self.ctx.stopping.cancelled() => break,
                () = self.hold.taken() => {
                    self.hold.pass(&self.ctx.stopping).await;
                    continue;
                }
                taken = self.take() => taken,
                gone = self.idle(&mut host) => {
                    match self.replace(&gone, None).await {
                        Some(fresh) => host = fresh,
                        None => return,
                    }
                    continue;
                }
            };
            if let Next::Stop = self
                .handle(&mut host, &patience, entry.live, entry.body)
                .await
            {
                break;
            }
        }
        host.on_stop(&self.ctx).await;
    }

    /// The next message and its turn. Cancel-safe, as both parts are.
    async fn take(&self) -> (Entry, Turn) {
        let turn = match &self.ctx.conduct {
            Some(conduct) => conduct.manner.turn().await,
            None => None,
        };
        (self.queue.take().await, turn)
    }

    /// Lets the host do what it does when nothing comes; returns only when that brought it down.
    /// Cancelled by the next entry.
    async fn idle(&self, host: &mut Host) -> Gone {
        let idling = async {
            match host {
                Host::Operation(operation) => {
                    if let Some(limit) = operation.idle_limit() {
                        tokio::time::sleep(limit).await;
                        operation.on_idle(&self.ctx).await;
                    }
                }
                Host::Far(far) => return far.gone().await,
                Host::Process(_) => {}
            }
            std::future::pending().await
        };
        let idled = AssertUnwindSafe(idling).catch_unwind().await;
        idled.unwrap_or_else(|_| Gone::panicked())
    }

    /// A host is down: whatever brought it down stops here, and another one takes its post if the
    /// supervisor has it so. None: the job is over.
    async fn replace(&self, gone: &Gone, message: Option<u64>) -> Option<Host> {
        let error = HostError::new("host-down", gone.reason.clone());
        if let Some(message) = message {
            warn!(
                item = self.name(),
                message, "{}; the message goes back", gone.reason
            );
        }
        let next = if gone.by_message {
            self.ctx.stats.panics.fetch_add(1, Ordering::Relaxed);
            self.post.panicked(&error)
        } else {
            self.post.failed(&error)
        };
        if !self.post.wait(next).await {
            return None;
        }
        self.start().await
    }

    /// Makes and starts a host, again and again as the supervisor says; none: the job is over.
    async fn start(&self) -> Option<Host> {
        loop {
            match self.try_start().await {
                Ok(host) => {
                    self.post.up();
                    return Some(host);
                }
                Err(error) => {
                    if !self.post.recover(&error).await {
                        return None;
                    }
                }
            }
        }
    }

    async fn try_start(&self) -> Result<Host, HostError> {
        let starting = async {
            let mut host = match &self.workers {
                Some((pool, job)) => Host::Far(pool.host(*job)),
                None => Host::make(&self.item, &self.production)?,
            };
            match host.on_start(&self.ctx).await {
                Ok(()) => Ok(host),
                Err(error) => {
                    let tidying = AssertUnwindSafe(host.on_teardown(&self.ctx));
                    let _ = tidying.catch_unwind().await;
                    Err(error)
                }
            }
        };
        let started = AssertUnwindSafe(starting).catch_unwind().await;
        let panicked = || HostError::new("panic", "the host panicked while it started");
        started.unwrap_or_else(|_| Err(panicked()))
    }

    /// Works one message off, through as many tries as it takes.
    async fn handle(
        &self,
        host: &mut Host,
        patience: &Patience,
        mut live: Live,
        body: Option<Bytes>,
    ) -> Next {
        self.in_hand.hold(live);
        let body = match self.body(&live, body).await {
            Ok(body) => body,
            Err(error) => return self.unreadable(&live, &error).await,
        };
        let conduct = self.ctx.conduct.as_ref();
        let _in_hand = conduct.map(|conduct| conduct.place.holds(live.id));
        if let Some(conduct) = conduct
            && live.hops > conduct.manner.max_hops
        {
            return self.went_round(&live, &body, conduct.manner.max_hops).await;
        }
        let began = self.ctx.clock().instant();
        let mut falls = 0;
        let mut spoiled: Option<Gone> = None;
        let next = loop {
            if let Some(gone) = spoiled.take() {
                match self.replace(&gone, Some(live.id.0)).await {
                    Some(fresh) => *host = fresh,
                    None => break self.park(live),
                }
            }
            self.ctx.set_current(Some((live, body.clone())));
            let mut message = Message {
                live,
                source: self.broker.store.item_name(live.source),
                body: Body(body.clone()),
            };
            let tried = self.ctx.clock().instant();
            let mut around = Around::new(self.item.hooks.as_deref(), &self.ctx);
            let handled = match around.before(&mut message) {
                Some(ended) => Handled::of(Ok(ended)),
                None => host.handle(&self.ctx, &mut message).await,
            };
            spoiled.clone_from(&handled.spoiled);
            let fell = handled.outcome.is_none();
            let outcome = match (handled.outcome, handled.spoiled) {
                (Some(outcome), _) => outcome,
                // It never reached the host: this was no try.
                (None, Some(gone)) if !gone.by_message => continue,
                (None, gone) => {
                    falls += 1;
                    live.possible_duplicate |= self.in_hand.delivers; // it may have left before
                    let gone = gone.unwrap_or_else(Gone::panicked);
                    poison(falls, patience.max_attempts, &gone.reason)
                }
            };
            if self.ctx.cut_off.swap(false, Ordering::AcqRel) {
                break self.park(live);
            }
            let outcome = out_of_patience(outcome, began.elapsed(), patience);
            let outcome = match self.waits(&outcome) {
                true => around.fill(outcome),
                false => around.after(&message, outcome),
            };
            match outcome.verdict {
                Verdict::Retry(_) => {
                    live.attempts = live.attempts.saturating_add(1);
                    self.ctx.stats.count(State::Queued, tried.elapsed());
                    self.note_retry(&live, &outcome);
                    let pause = match fell {
                        true => Duration::ZERO,
                        false => patience.interval,
                    };
                    tokio::select! {
                        biased;
                        () = self.ctx.stopping.cancelled() => break self.park(live),
                        // Held: it waits at the head of its queue, and the peer is left alone.
                        () = self.hold.taken() => {
                            self.park(live);
                            break Next::Go;
                        }
                        () = tokio::time::sleep(pause) => {}
                    }
                }
                Verdict::Disable => {
                    self.note_retry(&live, &outcome);
                    warn!(
                        item = self.name(),
                        message = live.id.0,
                        reason = outcome.reason,
                        "the item is disabled"
                    );
                    self.post.supervisor().disable(&outcome.reason);
                    break self.park(live);
                }
                Verdict::Completed | Verdict::Discarded | Verdict::Failed | Verdict::Suspended => {
                    let late = (&around, &message);
                    break self.end(&live, &body, outcome, Some(late), tried).await;
                }
            }
        };
        self.ctx.set_current(None);
        self.ctx.stats.note_trying(None);
        if let (Some(gone), Next::Go) = (spoiled, &next) {
            match self.replace(&gone, Some(live.id.0)).await {
                Some(fresh) => *host = fresh,
                None => return Next::Stop,
            }
        }
        next
    }

    /// The body from memory, or from the log on a thread that may block.
    async fn body(&self, live: &Live, body: Option<Bytes>) -> Result<Bytes, StoreError> {
        if let Some(body) = body {
            return Ok(body);
        }
        let (store, at) = (self.broker.store.clone(), live.body);
        let read = tokio::task::spawn_blocking(move || store.body(at)).await;
        read.unwrap_or_else(|_| Err(hie_journal::LogError::Closed.into()))
    }

    /// A message whose bytes are damaged on disk: it ends in Error with the reason, others flow.
    async fn unreadable(&self, live: &Live, error: &StoreError) -> Next {
        error!(
            item = self.name(),
            message = live.id.0,
            code = error.code(),
            "the body cannot be read: {error}"
        );
        let outcome = Outcome::failed(format!("the body cannot be read: {error}"));
        let now = self.ctx.clock().instant();
        self.end(live, &Bytes::new(), outcome, None, now).await
    }

    /// A message that items send on to each other for ever ends here.
    async fn went_round(&self, live: &Live, body: &Bytes, max_hops: u16) -> Next {
        self.ctx.stats.loops.fetch_add(1, Ordering::Relaxed);
        let way = way(&self.broker, &[live.source, live.target]);
        let reason = format!(
            "loop: the message has passed {max_hops} items (MaxHops), the last of them {way}; \
             `hie trace {}` shows its way",
            live.id
        );
        let outcome = Outcome::failed(reason);
        let now = self.ctx.clock().instant();
        self.end(live, body, outcome, None, now).await
    }

    /// Puts the message back on its place: nothing is recorded, it was never off the log's queue.
    fn park(&self, live: Live) -> Next {
        self.broker.deferrals.forget(live.id);
        self.in_hand.let_go();
        self.queue.put_back(live);
        Next::Stop
    }
}
