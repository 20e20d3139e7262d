//! Contexts: all that a host sees of the engine.
//!
//! A service gets [`ServiceContext`] (let a message in), processes and operations get
//! [`HostContext`] (send a request to another item, know that they should stop).

use std::{
    future::Future,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::Either;
use hie_store::{ItemId, Live, MessageId, Priority, State, StoreError};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::{
    HostError,
    broker::{Accepted, Arrival, Broker, Finish, Leg, Response},
    clock::Clock,
    config::ItemConfig,
    hold::Hold,
    hooks::{Door, Kept, NotAccepted, Rejected},
    host::Origin,
    stats::ItemStats,
    workers::{Entrance, FarAnswer, FarArrival, FarEngine, FarRequest},
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
    /// rejects is kept, and is an error.
    pub async fn accept(&self, origin: Origin<'_>, body: &Bytes) -> Result<Accepted, NotAccepted> {
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

    /// Like [`request`](Self::request), and leaves the waiting to the caller.
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
        self.count(body);
        let ruled = self.hooks.judge(self, origin, body).await?;
        let arrival = self.ruled(origin, body, &ruled);
        let (accepted, response) = broker.request(arrival).await?;
        self.hooks.told(self, origin, body, &ruled, &accepted).await;
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
        &self,
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
    fn instead(&self) -> Option<Bytes> {
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

    /// Sends a message to another item at once, in the session of the message in hand, and returns
    /// its id (the correlation id of a response). Without `body` the message in hand is sent.
    pub async fn send_request_async(
        &self,
        target: &str,
        body: Option<Bytes>,
        priority: Priority,
    ) -> Result<MessageId, HostError> {
        match &self.gate {
            Gate::Here(broker) => self.send(broker, target, body, priority, |finish| {
                Ok(broker.finish(finish)?.first_id)
            }),
            Gate::Far(far, _) => match self.ask(far, target, body, priority, None).await? {
                FarAnswer::Sent(id) => Ok(id),
                FarAnswer::Answered(_) => Err(misunderstood()),
            },
        }
    }

    /// Sends a message to another item and waits up to `timeout` for its response. A response that
    /// comes later stays in the trace and reaches nobody else.
    pub async fn send_request_sync(
        &self,
        target: &str,
        body: Option<Bytes>,
        timeout: Duration,
    ) -> Result<Response, HostError> {
        let broker = match &self.gate {
            Gate::Here(broker) => broker,
            Gate::Far(far, _) => {
                let normal = Priority::Normal;
                return match self.ask(far, target, body, normal, Some(timeout)).await? {
                    FarAnswer::Answered(response) => Ok(response),
                    FarAnswer::Sent(_) => Err(misunderstood()),
                };
            }
        };
        let waiting = self.send(broker, target, body, Priority::Normal, |finish| {
            broker.call(finish)
        })?;
        waiting.within(Some(timeout)).await.map_err(|_| {
            HostError::new(
                "timeout",
                format!("{target} did not answer within {timeout:?}"),
            )
        })
    }

    async fn ask(
        &self,
        far: &Arc<dyn FarEngine>,
        target: &str,
        body: Option<Bytes>,
        priority: Priority,
        timeout: Option<Duration>,
    ) -> Result<FarAnswer, HostError> {
        let current = self.current.lock().clone().ok_or_else(no_message)?;
        far.request(FarRequest {
            current: current.live.id,
            target,
            body: body.or_else(|| current.instead()),
            priority,
            timeout,
        })
        .await
    }

    fn send<T>(
        &self,
        broker: &Broker,
        target: &str,
        body: Option<Bytes>,
        priority: Priority,
        how: impl FnOnce(&Finish<'_>) -> Result<T, StoreError>,
    ) -> Result<T, HostError> {
        let current = self.current.lock().clone().ok_or_else(no_message)?;
        let leg = Leg {
            target: known(broker, target)?,
            body: body.or_else(|| current.instead()),
            priority,
        };
        let finish = Finish {
            live: &current.live,
            state: State::Queued,
            attempts: current.live.attempts,
            reason: "",
            note: "",
            reply: None,
            body: &current.body,
            legs: &[leg],
            response_from: &[],
        };
        how(&finish).map_err(|error| HostError::new(error.code(), error.to_string()))
    }
}

fn no_message() -> HostError {
    HostError::new(
        "no-message",
        "a request can only be sent while a message is handled",
    )
}

fn misunderstood() -> HostError {
    HostError::new(
        "worker-protocol",
        "the engine's answer does not belong to the request",
    )
}

fn known(broker: &Broker, target: &str) -> Result<ItemId, HostError> {
    broker.target(target).ok_or_else(|| {
        HostError::new(
            "unknown-target",
            format!("there is no item called {target} in this production"),
        )
    })
}
