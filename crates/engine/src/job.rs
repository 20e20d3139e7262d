//! The job loop: one host instance working off its item's queue, for processes and operations.
//!
//! Owns what is the same for every class: panics stop here, retries keep their place in the
//! queue, every end is one record, and a job of an operation takes its next message only when the
//! end of the last one is on disk (so a crash repeats at most one message a job; see ADR 006).

use std::{
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::FutureExt;
use hie_store::{ItemId, Live, State, StoreError};
use tracing::{debug, error, info, warn};

use crate::{
    HostError,
    broker::{Broker, Finish, Leg},
    class::Build,
    config::{ItemConfig, ProductionConfig},
    context::HostContext,
    hooks::{Around, Handled},
    host::{Body, Message, Outcome, Verdict},
    instance::Host,
    patience::{Patience, out_of_patience, poison},
    queue::ItemQueue,
    stats::ItemState,
    workers::{Gone, WorkerPool},
};

/// What the loop does next.
enum Next {
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
            let entry = tokio::select! {
                biased;
                () = self.ctx.stopping.cancelled() => break,
                entry = self.queue.take() => entry,
                () = self.idle(&mut host) => continue,
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

    /// Never returns unless the host has something to do when idle; cancelled by the next entry.
    async fn idle(&self, host: &mut Host) {
        match host {
            Host::Operation(operation) => {
                if let Some(limit) = operation.idle_limit() {
                    tokio::time::sleep(limit).await;
                    operation.on_idle(&self.ctx).await;
                }
            }
            Host::Far(far) => {
                let gone = far.gone().await;
                self.note_gone(&gone, None);
                if let Some(fresh) = self.start().await {
                    *host = fresh;
                    return;
                }
            }
            Host::Process(_) => {}
        }
        std::future::pending().await
    }

    /// A host is down: whatever brought it down stops here.
    fn note_gone(&self, gone: &Gone, message: Option<u64>) {
        if gone.by_message {
            let panics = &self.ctx.stats.panics;
            panics.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
        self.ctx.stats.note_error(gone.reason.clone());
        error!(
            item = self.name(),
            message, "{}; the host starts anew", gone.reason
        );
    }

    /// Makes and starts a host, again and again until it starts or the item is stopped: an item
    /// that cannot start must not hinder others, and must not stay dead when its cause is gone.
    async fn start(&self) -> Option<Host> {
        let mut pause = Duration::from_secs(1);
        loop {
            match self.try_start().await {
                Ok(host) => {
                    self.ctx.stats.set_state(ItemState::Running);
                    return Some(host);
                }
                Err(error) => {
                    error!(
                        item = self.name(),
                        code = error.code,
                        "the item cannot start: {}",
                        error.message
                    );
                    self.ctx.stats.set_state(ItemState::Error);
                    self.ctx.stats.note_error(error.message);
                }
            }
            tokio::select! {
                () = self.ctx.stopping.cancelled() => return None,
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(Duration::from_secs(60)),
            }
        }
    }

    async fn try_start(&self) -> Result<Host, HostError> {
        let mut host = match &self.workers {
            Some((pool, job)) => Host::Far(pool.host(*job)),
            None => Host::make(&self.item, &self.production)?,
        };
        let starting = AssertUnwindSafe(host.on_start(&self.ctx));
        match starting.catch_unwind().await {
            Ok(Ok(())) => Ok(host),
            Ok(Err(error)) => {
                let tidying = AssertUnwindSafe(host.on_teardown(&self.ctx));
                let _ = tidying.catch_unwind().await;
                Err(error)
            }
            Err(_) => Err(HostError::new(
                "panic",
                "the host panicked while it started",
            )),
        }
    }

    /// Works one message off, through as many tries as it takes.
    async fn handle(
        &self,
        host: &mut Host,
        patience: &Patience,
        mut live: Live,
        body: Option<Bytes>,
    ) -> Next {
        let body = match self.body(&live, body).await {
            Ok(body) => body,
            Err(error) => return self.unreadable(&live, &error).await,
        };
        let began = self.ctx.clock().instant();
        let mut falls = 0;
        let mut spoiled = false;
        let next = loop {
            if spoiled {
                match self.start().await {
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
            spoiled = handled.spoiled.is_some();
            if let Some(gone) = &handled.spoiled {
                self.note_gone(gone, Some(live.id.0));
            }
            let fell = handled.outcome.is_none();
            let outcome = match (handled.outcome, handled.spoiled) {
                (Some(outcome), _) => outcome,
                // It never reached the host: this was no try.
                (None, Some(gone)) if !gone.by_message => continue,
                (None, gone) => {
                    falls += 1;
                    let gone = gone.unwrap_or_else(Gone::panicked);
                    poison(falls, patience.max_attempts, &gone.reason)
                }
            };
            let outcome = out_of_patience(outcome, began.elapsed(), patience);
            let outcome = around.after(&message, outcome);
            match outcome.verdict {
                Verdict::Retry(_) => {
                    live.attempts = live.attempts.saturating_add(1);
                    self.ctx.stats.count(State::Queued, tried.elapsed());
                    self.note_retry(&live, &outcome);
                    let pause = if fell {
                        Duration::ZERO
                    } else {
                        patience.interval
                    };
                    tokio::select! {
                        biased;
                        () = self.ctx.stopping.cancelled() => break self.park(live),
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
                    self.ctx.stats.note_error(outcome.reason);
                    self.ctx.stats.set_state(ItemState::Disabled);
                    self.ctx.stopping.cancel();
                    break self.park(live);
                }
                Verdict::Completed => {
                    break self
                        .end(&live, &body, State::Completed, &outcome, tried)
                        .await;
                }
                Verdict::Discarded => {
                    break self
                        .end(&live, &body, State::Discarded, &outcome, tried)
                        .await;
                }
                Verdict::Failed => {
                    break self.end(&live, &body, State::Error, &outcome, tried).await;
                }
                Verdict::Suspended => {
                    break self
                        .end(&live, &body, State::Suspended, &outcome, tried)
                        .await;
                }
            }
        };
        self.ctx.set_current(None);
        self.ctx.stats.note_trying(None);
        if let (true, Next::Go) = (spoiled, &next) {
            match self.start().await {
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
        self.end(
            live,
            &Bytes::new(),
            State::Error,
            &outcome,
            self.ctx.clock().instant(),
        )
        .await
    }

    /// Puts the message back on its place: nothing is recorded, it was never off the log's queue.
    fn park(&self, live: Live) -> Next {
        self.queue.put_back(live);
        Next::Stop
    }

    /// Lets the operator see what is retried; recorded at the first try and then ever more rarely,
    /// so that a receiver that is down for a night does not fill the journal.
    fn note_retry(&self, live: &Live, outcome: &Outcome) {
        self.ctx.stats.note_trying(Some(format!(
            "message {} (try {}): {}",
            live.id, live.attempts, outcome.reason
        )));
        if !live.attempts.is_power_of_two() {
            return;
        }
        info!(
            item = self.name(),
            message = live.id.0,
            tries = live.attempts,
            "will be tried again: {}",
            outcome.reason
        );
        let _ =
            self.broker
                .finish(&self.finish(live, &Bytes::new(), State::Queued, outcome, &[], &[]));
    }

    /// Records how the message ended. A job of an operation waits until that is on disk.
    async fn end(
        &self,
        live: &Live,
        body: &Bytes,
        state: State,
        outcome: &Outcome,
        tried: Instant,
    ) -> Next {
        let (legs, unknown) = self.legs(outcome);
        if let Some(unknown) = unknown {
            let reason = format!("there is no item called {unknown} in this production");
            let refused = Outcome::failed(reason).with_note(outcome.note.clone());
            return self
                .record(live, body, State::Error, &refused, &[], tried)
                .await;
        }
        self.record(live, body, state, outcome, &legs, tried).await
    }

    async fn record(
        &self,
        live: &Live,
        body: &Bytes,
        state: State,
        outcome: &Outcome,
        legs: &[Leg],
        tried: Instant,
    ) -> Next {
        self.ctx.stats.count(state, tried.elapsed());
        match state {
            State::Completed => {}
            // Dropped by decision: the trace and the counter tell of it.
            State::Discarded => {
                debug!(
                    item = self.name(),
                    message = live.id.0,
                    "discarded: {}",
                    outcome.reason
                );
            }
            _ => {
                self.ctx.stats.note_error(outcome.reason.clone());
                warn!(
                    item = self.name(),
                    message = live.id.0,
                    state = state.name(),
                    "{}",
                    outcome.reason
                );
            }
        }
        let response_from: Vec<ItemId> = outcome
            .response_from
            .iter()
            .map(|name| self.broker.store.item(name))
            .collect();
        let recorded =
            self.broker
                .finish(&self.finish(live, body, state, outcome, legs, &response_from));
        let recorded = match recorded {
            // A discarded message left nothing outside: doing it again after a crash harms nobody.
            Ok(appended) if self.delivers() && state != State::Discarded => appended
                .ticket
                .durable()
                .await
                .map(|_| ())
                .map_err(StoreError::from),
            other => other.map(|_| ()),
        };
        match recorded {
            Ok(()) => Next::Go,
            Err(error) => {
                // The message stays unfinished in the log and comes again after a restart.
                error!(
                    item = self.name(),
                    message = live.id.0,
                    code = error.code(),
                    "cannot record its end: {error}"
                );
                self.ctx.stats.note_error(error.to_string());
                self.ctx.stats.set_state(ItemState::Error);
                Next::Stop
            }
        }
    }

    /// Whether the host leaves something outside that a crash could make it leave again.
    fn delivers(&self) -> bool {
        matches!(self.item.class.build, Build::Operation(_))
    }

    /// The hops that an outcome asks for, or the first target that does not exist.
    fn legs<'a>(&self, outcome: &'a Outcome) -> (Vec<Leg>, Option<&'a str>) {
        let mut legs = Vec::with_capacity(outcome.sends.len());
        for send in &outcome.sends {
            let Some(target) = self.broker.target(&send.target) else {
                return (legs, Some(&send.target));
            };
            legs.push(Leg {
                target,
                body: send.body.clone(),
                priority: send.priority,
            });
        }
        (legs, None)
    }

    fn finish<'a>(
        &self,
        live: &'a Live,
        body: &'a Bytes,
        state: State,
        outcome: &'a Outcome,
        legs: &'a [Leg],
        response_from: &'a [ItemId],
    ) -> Finish<'a> {
        Finish {
            live,
            state,
            attempts: live.attempts,
            reason: &outcome.reason,
            note: &outcome.note,
            reply: outcome.reply.as_ref(),
            body,
            legs,
            response_from,
        }
    }
}
