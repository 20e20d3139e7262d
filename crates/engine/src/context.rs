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
use hie_store::{ItemId, Live, MessageId, Priority, State, StoreError};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::{
    HostError,
    broker::{Accepted, Arrival, Broker, Finish, Leg, Response},
    clock::Clock,
    host::Origin,
    stats::ItemStats,
};

/// The context of a service.
#[derive(Clone)]
pub struct ServiceContext {
    pub(crate) name: Arc<str>,
    pub(crate) item: ItemId,
    pub(crate) targets: Arc<[ItemId]>,
    pub(crate) broker: Arc<Broker>,
    pub(crate) stats: Arc<ItemStats>,
    pub(crate) stopping: CancellationToken,
    pub(crate) pool_size: u16,
}

impl ServiceContext {
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
        &self.broker.clock
    }

    /// How many jobs the item has; services read it as their limit of parallel work.
    pub fn pool_size(&self) -> u16 {
        self.pool_size
    }

    /// Lets a message in, to all of `TargetConfigNames`: durable when this returns.
    pub async fn accept(&self, origin: Origin<'_>, body: &Bytes) -> Result<Accepted, StoreError> {
        self.refuse_when_stopping()?;
        self.count(body);
        self.broker
            .accept(self.arrival(origin, body, &self.targets, State::Queued, ""))
            .await
    }

    /// Lets a message in and waits up to `timeout` for the response of the first target that
    /// answers. The response is none when it did not come in time; a late one stays in the trace.
    pub async fn request(
        &self,
        origin: Origin<'_>,
        body: &Bytes,
        timeout: Option<Duration>,
    ) -> Result<(Accepted, Option<Response>), StoreError> {
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
        StoreError,
    > {
        self.refuse_when_stopping()?;
        self.count(body);
        self.broker
            .request(self.arrival(origin, body, &self.targets, State::Queued, ""))
            .await
    }

    /// Keeps a message that goes nowhere, in a state that says why.
    pub async fn keep(
        &self,
        origin: Origin<'_>,
        body: &Bytes,
        state: State,
        reason: &str,
    ) -> Result<Accepted, StoreError> {
        self.refuse_when_stopping()?;
        self.count(body);
        self.broker
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
        self.refuse_when_stopping()?;
        self.count(body);
        self.stats.rejected.fetch_add(1, Ordering::Relaxed);
        self.stats.note_error(reason);
        if let Some(handler) = handler {
            let handler = [self.broker.store.item(handler)];
            return self
                .broker
                .accept(self.arrival(origin, body, &handler, State::Queued, ""))
                .await;
        }
        self.broker
            .accept(self.arrival(origin, body, &[], State::Error, reason))
            .await
    }

    fn arrival<'a>(
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
            targets,
            state,
            reason,
        }
    }

    fn count(&self, body: &Bytes) {
        self.stats.received.fetch_add(1, Ordering::Relaxed);
        self.stats
            .received_bytes
            .fetch_add(body.len() as u64, Ordering::Relaxed);
    }

    /// After a stop began nothing is acknowledged any more: its sender keeps it and sends it again.
    fn refuse_when_stopping(&self) -> Result<(), StoreError> {
        if self.stopping.is_cancelled() {
            Err(hie_journal::LogError::Closed.into())
        } else {
            Ok(())
        }
    }
}

/// The context of a process or an operation; one for each job.
pub struct HostContext {
    pub(crate) name: Arc<str>,
    pub(crate) broker: Arc<Broker>,
    pub(crate) stats: Arc<ItemStats>,
    pub(crate) stopping: CancellationToken,
    /// The message in hand and its body: requests of the host belong to its session.
    pub(crate) current: Mutex<Option<(Live, Bytes)>>,
}

impl HostContext {
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
        &self.broker.clock
    }

    /// Sends a message to another item at once, in the session of the message in hand, and returns
    /// its id (the correlation id of a response). Without `body` the message in hand is sent.
    pub fn send_request_async(
        &self,
        target: &str,
        body: Option<Bytes>,
    ) -> Result<MessageId, HostError> {
        self.send(target, body, |finish| {
            Ok(self.broker.finish(finish)?.first_id)
        })
    }

    /// Sends a message to another item and waits up to `timeout` for its response. A response that
    /// comes later stays in the trace and reaches nobody else.
    pub async fn send_request_sync(
        &self,
        target: &str,
        body: Option<Bytes>,
        timeout: Duration,
    ) -> Result<Response, HostError> {
        let waiting = self.send(target, body, |finish| self.broker.call(finish))?;
        waiting.within(Some(timeout)).await.map_err(|_| {
            HostError::new(
                "timeout",
                format!("{target} did not answer within {timeout:?}"),
            )
        })
    }

    fn send<T>(
        &self,
        target: &str,
        body: Option<Bytes>,
        how: impl FnOnce(&Finish<'_>) -> Result<T, StoreError>,
    ) -> Result<T, HostError> {
        let current = self.current.lock().clone();
        let Some((live, whole)) = current else {
            return Err(HostError::new(
                "no-message",
                "a request can only be sent while a message is handled",
            ));
        };
        let leg = Leg {
            target: self.known(target)?,
            body,
            priority: Priority::Normal,
        };
        let finish = Finish {
            live: &live,
            state: State::Queued,
            attempts: live.attempts,
            reason: "",
            note: "",
            reply: None,
            body: &whole,
            legs: &[leg],
            response_from: &[],
        };
        how(&finish).map_err(|error| HostError::new(error.code(), error.to_string()))
    }

    fn known(&self, target: &str) -> Result<ItemId, HostError> {
        self.broker.target(target).ok_or_else(|| {
            HostError::new(
                "unknown-target",
                format!("there is no item called {target} in this production"),
            )
        })
    }
}
