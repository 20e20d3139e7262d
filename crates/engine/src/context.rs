//! Contexts: all that a host sees of the engine.
//!
//! A service gets [`ServiceContext`] (let a message in), processes and operations get
//! [`HostContext`] (send a request to another item, know that they should stop).

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::Either;
use hie_store::{ItemId, Live, State, StoreError};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::{
    broker::{Accepted, Arrival, Broker, Response},
    clock::Clock,
    config::ItemConfig,
    hold::Hold,
    hooks::{Door, Kept, NotAccepted, Rejected},
    host::Origin,
    pattern::{Conduct, Manner, Pattern},
    stats::ItemStats,
    workers::{Entrance, FarArrival, FarEngine},
};

/// The way from a context to the engine: in this process, where it costs nothing, or in another.
#[derive(Clone)]
pub(crate) enum Gate {
    Here(Arc<Broker>),
    Far(Arc<dyn FarEngine>, Clock),
}

impl Gate {
    fn clock(&self) -> &Clock {
        match self {
            Self::Here(broker) => &broker.clock,
            Self::Far(_, clock) => clock,
        }
    }
}

/// The context of a service.
#[derive(Clone)]
pub struct ServiceContext {
    pub(crate) name: Arc<str>,
    pub(crate) item: ItemId,
    pub(crate) targets: Arc<[ItemId]>,
    pub(crate) gate: Gate,
    pub(crate) stats: Arc<ItemStats>,
    pub(crate) stopping: CancellationToken,
    pub(crate) pool_size: u16,
    pub(crate) hooks: Door,
    pub(crate) hold: Hold,
    pub(crate) manner: Arc<Manner>,
}

impl ServiceContext {
    /// The context of a service in a worker process.
    pub fn far(
        item: &ItemConfig,
        engine: Arc<dyn FarEngine>,
        stats: Arc<ItemStats>,
        stopping: CancellationToken,
    ) -> Self {
        Self {
            name: item.name.as_str().into(),
            item: ItemId::default(), // The engine knows who asks.
            targets: Arc::default(),
            gate: Gate::Far(engine, Clock::system()),
            stats,
            stopping,
            pool_size: item.pool_size,
            hooks: Door::default(), // Those of the configuration are asked by the engine.
            hold: Hold::default(),  // The engine's end of the way holds what comes.
            manner: Manner::of_service(item),
        }
    }

    /// The name of the item.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its counters.
    pub fn stats(&self) -> &ItemStats {
        &self.stats
    }

    /// Done when the service must take nothing more in.
    pub fn stopping(&self) -> &CancellationToken {
        &self.stopping
    }

    /// Wall time.
    pub fn clock(&self) -> &Clock {
        self.gate.clock()
    }

    /// How many jobs the item has; services read it as their limit of parallel work.
    pub fn pool_size(&self) -> u16 {
        self.pool_size
    }

    /// Lets a message in, to all of `TargetConfigNames`: durable when this returns. One that a hook
    /// rejects is kept, and is an error. Where the item's pattern waits, it returns when the message
    /// is answered, or after `MessageTimeout`.
    pub async fn accept(&self, origin: Origin<'_>, body: &Bytes) -> Result<Accepted, NotAccepted> {
        if self.manner.pattern.waits() && matches!(self.gate, Gate::Here(_)) {
            let (accepted, response) = self.begin_request(origin, body).await?;
            response.await;
            return Ok(accepted);
        }
        self.admitted().await?;
        let broker = match &self.gate {
            Gate::Here(broker) => broker,
            Gate::Far(far, _) => {
                let ruled = self.hooks.judge(self, origin, body).await?;
                let arrival = FarArrival::new(Entrance::Accept, origin, body);
                let accepted = far.arrive(arrival).await?.0;
                self.hooks.told(self, origin, body, &ruled, &accepted).await;
                return Ok(accepted);
            }
        };
        self.count(body);
        let ruled = self.hooks.judge(self, origin, body).await?;
        let accepted = broker.accept(self.ruled(origin, body, &ruled)).await?;
        self.hooks.told(self, origin, body, &ruled, &accepted).await;
        Ok(accepted)
    }

    /// Lets a message in and waits up to `timeout` for the response of the first target that
    /// answers. The response is none when it did not come in time; a late one stays in the trace.
    pub async fn request(
        &self,
        origin: Origin<'_>,
        body: &Bytes,
        timeout: Option<Duration>,
    ) -> Result<(Accepted, Option<Response>), NotAccepted> {
        let (accepted, response) = self.begin_request(origin, body).await?;
        let response = match timeout {
            Some(timeout) => tokio::time::timeout(timeout, response).await.ok().flatten(),
            None => response.await,
        };
        Ok((accepted, response))
    }

    /// Like [`request`](Self::request), and leaves the waiting to the caller. Where the item's
    /// pattern waits, the message takes its turn first, the next one has to wait until the response
    /// is here or dropped, and it comes within `MessageTimeout` or not at all.
    pub async fn begin_request(
        &self,
        origin: Origin<'_>,
        body: &Bytes,
    ) -> Result<
        (
            Accepted,
            impl Future<Output = Option<Response>> + Send + use<>,
        ),
        NotAccepted,
    > {
        self.admitted().await?;
        let broker = match &self.gate {
            Gate::Here(broker) => broker,
            Gate::Far(far, _) => {
                let arrival = FarArrival {
                    wait: true,
                    ..FarArrival::new(Entrance::Accept, origin, body)
                };
                let ruled = self.hooks.judge(self, origin, body).await?;
                let (accepted, response) = far.arrive(arrival).await?;
                self.hooks.told(self, origin, body, &ruled, &accepted).await;
                return Ok((accepted, Either::Right(response)));
            }
        };
        let turn = tokio::select! {
            biased;
            () = self.stopping.cancelled() => None,
            turn = self.manner.turn() => turn,
        };
        self.admitted().await?; // it may have been paused or stopped meanwhile
        self.count(body);
        let ruled = self.hooks.judge(self, origin, body).await?;
        let arrival = self.ruled(origin, body, &ruled);
        let (accepted, response) = broker.request(arrival).await?;
        self.hooks.told(self, origin, body, &ruled, &accepted).await;
        let manner = self.manner.clone();
        let stats = self.stats.clone();
        let response = async move {
            let _turn = turn;
            if !manner.pattern.waits() {
                return response.await;
            }
            let response = tokio::time::timeout(manner.timeout, response).await;
            if response.is_err() {
                stats.timeouts.fetch_add(1, Ordering::Relaxed);
            }
            response.ok().flatten()
        };
        Ok((accepted, Either::Left(response)))
    }

    /// Keeps a message that goes nowhere, in a state that says why.
    pub async fn keep(
        &self,
        origin: Origin<'_>,
        body: &Bytes,
        state: State,
        reason: &str,
    ) -> Result<Accepted, StoreError> {
        self.admitted().await?;
        let broker = match &self.gate {
            Gate::Here(broker) => broker,
            Gate::Far(far, _) => {
                let arrival = FarArrival {
                    state,
                    reason,
                    ..FarArrival::new(Entrance::Keep, origin, body)
                };
                return Ok(stored(far.arrive(arrival).await)?.0);
            }
        };
        self.count(body);
        if state == State::Error {
            self.stats.rejected.fetch_add(1, Ordering::Relaxed);
            self.stats.note_error(reason);
        }
        broker
            .accept(self.arrival(origin, body, &[], state, reason))
            .await
    }

    /// Keeps a message that cannot be processed, with its bytes and the reason, in state Error;
    /// if the item names a handler for bad messages, the handler gets it too.
    pub async fn accept_bad(
        &self,
        origin: Origin<'_>,
        body: &Bytes,
        reason: &str,
        handler: Option<&str>,
    ) -> Result<Accepted, StoreError> {
        self.admitted().await?;
        let broker = match &self.gate {
            Gate::Here(broker) => broker,
            Gate::Far(far, _) => {
                let arrival = FarArrival {
                    reason,
                    handler,
                    ..FarArrival::new(Entrance::Bad, origin, body)
                };
                return Ok(stored(far.arrive(arrival).await)?.0);
            }
        };
        self.count(body);
        self.stats.rejected.fetch_add(1, Ordering::Relaxed);
        self.stats.note_error(reason);
        if let Some(handler) = handler {
            let handler = [broker.store.item(handler)];
            return broker
                .accept(self.arrival(origin, body, &handler, State::Queued, ""))
                .await;
        }
        let kept = Kept {
            state: State::Error,
            reason: reason.to_owned(),
            note: String::new(),
        };
        let kept = self.hooks.bad(self, origin, body, kept).await;
        broker.accept(self.kept(origin, body, &kept)).await
    }

    pub(crate) fn arrival<'a>(
        &'a self,
        origin: Origin<'a>,
        body: &'a Bytes,
        targets: &'a [ItemId],
        state: State,
        reason: &'a str,
    ) -> Arrival<'a> {
        Arrival {
            source: self.item,
            origin: origin.from,
            content: origin.content,
            body,
            changed: None,
            targets,
            state,
            reason,
            note: "",
            stopping: Some(&self.stopping),
        }
    }

    fn count(&self, body: &Bytes) {
        self.stats.received.fetch_add(1, Ordering::Relaxed);
        self.stats
            .received_bytes
            .fetch_add(body.len() as u64, Ordering::Relaxed);
    }

    /// Waits while the item is paused; a service that looks for messages asks before it looks.
    pub async fn resumed(&self) {
        self.hold.pass(&self.stopping).await;
    }

    /// While the item is paused a message waits here, unanswered. After a stop began nothing is
    /// acknowledged any more: its sender keeps it and sends it again.
    async fn admitted(&self) -> Result<(), StoreError> {
        self.resumed().await;
        if self.stopping.is_cancelled() {
            Err(hie_journal::LogError::Closed.into())
        } else {
            Ok(())
        }
    }
}

/// What is kept in any case is not rejected.
fn stored<T>(result: Result<T, NotAccepted>) -> Result<T, StoreError> {
    result.map_err(|error| match error {
        NotAccepted::Store(error) => error,
        NotAccepted::Rejected(Rejected { reason, .. }) => {
            StoreError::elsewhere("rejected", &reason)
        }
    })
}

/// The context of a process or an operation; one for each job.
pub struct HostContext {
    pub(crate) name: Arc<str>,
    pub(crate) gate: Gate,
    pub(crate) stats: Arc<ItemStats>,
    pub(crate) stopping: CancellationToken,
    /// The message in hand: requests of the host belong to its session.
    pub(crate) current: Mutex<Option<InHand>>,
    /// How the item works; none in a worker process, where its job in the engine has it.
    pub(crate) conduct: Option<Conduct>,
    /// `MessageTimeout`, for a worker process.
    pub(crate) far_timeout: Duration,
    /// A stop ended a wait for room: the message in hand goes back, it has not failed.
    pub(crate) cut_off: AtomicBool,
}

/// The message that a host has in hand.
#[derive(Clone)]
pub(crate) struct InHand {
    pub(crate) live: Live,
    /// What is sent where nothing else is given.
    pub(crate) body: Bytes,
    /// Whether a hook changed the body, so that it is not the stored one.
    pub(crate) changed: bool,
}

impl InHand {
    /// What a request without a body of its own sends, where that is not the stored body.
    pub(crate) fn instead(&self) -> Option<Bytes> {
        self.changed.then(|| self.body.clone())
    }
}

impl HostContext {
    /// The context of a host in a worker process; one for each of its jobs.
    pub fn far(
        item: &ItemConfig,
        engine: Arc<dyn FarEngine>,
        stats: Arc<ItemStats>,
        stopping: CancellationToken,
    ) -> Self {
        Self {
            name: item.name.as_str().into(),
            gate: Gate::Far(engine, Clock::system()),
            stats,
            stopping,
            current: Mutex::default(),
            conduct: None,
            far_timeout: Manner::of_jobs(item).timeout,
            cut_off: AtomicBool::new(false),
        }
    }

    /// Says which message is in hand; for who drives a host in a worker process.
    pub fn set_current(&self, current: Option<(Live, Bytes)>) {
        *self.current.lock() = current.map(|(live, body)| InHand {
            live,
            body,
            changed: false,
        });
    }

    /// A hook changed the message in hand.
    pub(crate) fn now_sends(&self, body: &Bytes) {
        if let Some(in_hand) = &mut *self.current.lock() {
            in_hand.body = body.clone();
            in_hand.changed = true;
        }
    }

    /// The name of the item.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its counters.
    pub fn stats(&self) -> &ItemStats {
        &self.stats
    }

    /// Done when the job should finish what it has in hand.
    pub fn stopping(&self) -> &CancellationToken {
        &self.stopping
    }

    /// Wall time.
    pub fn clock(&self) -> &Clock {
        self.gate.clock()
    }

    /// The pattern of the item.
    pub fn pattern(&self) -> Pattern {
        let conduct = self.conduct.as_ref();
        conduct.map_or(Pattern::default(), |conduct| conduct.manner.pattern)
    }
}
