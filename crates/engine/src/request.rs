//! Requests of a host to another item: synchronous and not, here and from a worker process.
//!
//! Owns what a host may ask of [`HostContext`] while it handles a message, and the errors it gets.
//! Who waits for whom is kept by [`calls`](crate::calls).

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use hie_store::{ItemId, MessageId, Priority, State, StoreError};
use tracing::error;

use crate::{
    HostContext, HostError,
    broker::{AcceptError, Admission, Broker, Finish, Leg, Response, Sender},
    calls::NoResponse,
    context::Gate,
    deferred,
    follow::{deadlock, no_response},
    pattern::{Conduct, Pattern, of_call},
    workers::{FarAnswer, FarEngine, FarRequest},
};

impl HostContext {
    /// Sends a message to another item at once, in the session of the message in hand, and returns
    /// its id (the correlation id of a response). Without `body` the message in hand is sent.
    /// `async_reliable` returns when the request is on disk, `concurrent_async` as soon as it is
    /// recorded (a crash before it is on disk repeats the message in hand, and so the request); none
    /// is what fits the item's own pattern.
    pub async fn send_request_async(
        &self,
        target: &str,
        body: Option<Bytes>,
        priority: Priority,
        pattern: Option<Pattern>,
    ) -> Result<MessageId, HostError> {
        let request = (target, body, priority);
        let broker = match &self.gate {
            Gate::Here(broker) => broker,
            Gate::Far(far, _) => match self.ask(far, request, None, pattern).await? {
                FarAnswer::Sent(id) => return Ok(id),
                FarAnswer::Answered(_) => return Err(misunderstood()),
            },
        };
        let pattern = of_call(pattern, self.pattern(), false)?;
        let appended = self
            .send(broker, request, |finish, admission| {
                broker.finish_admitted(finish, admission)
            })
            .await?;
        if pattern == Pattern::AsyncReliable {
            let durable = appended.ticket.durable().await;
            let _proof = durable.map_err(|error| refused(&error.into()))?;
        }
        Ok(appended.first_id)
    }

    /// Sends a message to another item and waits up to `timeout` (none: `MessageTimeout`) for its
    /// response. A response that comes later stays in the trace and reaches nobody else.
    /// `sync_reliable` calls of an item to the same target go one after another, `concurrent_sync`
    /// ones side by side; none is what fits the item's own pattern.
    ///
    /// # Errors
    /// `unknown-target`; `timeout`, which names who was waited for; `deadlock` at once, where the
    /// wait could never end.
    pub async fn send_request_sync(
        &self,
        target: &str,
        body: Option<Bytes>,
        timeout: Option<Duration>,
        priority: Priority,
        pattern: Option<Pattern>,
    ) -> Result<Response, HostError> {
        let request = (target, body, priority);
        let (broker, conduct) = match (&self.gate, &self.conduct) {
            (Gate::Here(broker), Some(conduct)) => (broker, conduct),
            (Gate::Here(_), None) => return Err(no_message()),
            (Gate::Far(far, _), _) => {
                let timeout = Some(timeout.unwrap_or(self.far_timeout));
                return match self.ask(far, request, timeout, pattern).await? {
                    FarAnswer::Answered(response) => Ok(response),
                    FarAnswer::Sent(_) => Err(misunderstood()),
                };
            }
        };
        let pattern = of_call(pattern, self.pattern(), true)?;
        let item = broker.known(target)?;
        let timeout = timeout.unwrap_or(conduct.manner.timeout);
        let intent = conduct.place.intend(item).map_err(|round| {
            self.stats.deadlocks.fetch_add(1, Ordering::Relaxed);
            let error = HostError::new("deadlock", deadlock(broker, &round));
            error!(item = self.name(), code = error.code, "{}", error.message);
            error
        })?;
        let began = tokio::time::Instant::now();
        let _line = match pattern.is_strict() {
            true => {
                let line = tokio::time::timeout(timeout, conduct.manner.line(item)).await;
                let nobody = NoResponse::TimedOut(Vec::new());
                line.map_err(|_| self.timed_out(broker, item, timeout, &nobody))?
            }
            false => None,
        };
        let sending = self.send(broker, request, |finish, admission| {
            broker.call(finish, vec![intent], admission)
        });
        // Room in the target's queue may take its time too.
        let left = timeout.saturating_sub(began.elapsed());
        let mut waiting = tokio::time::timeout(left, sending).await.map_err(|_| {
            self.timed_out(broker, item, timeout, &NoResponse::TimedOut(Vec::new()))
        })??;
        let Some(waiting) = waiting.first_mut() else {
            return Err(no_message());
        };
        let left = timeout.saturating_sub(began.elapsed());
        let response = waiting.within(Some(left)).await;
        response.map_err(|why| self.timed_out(broker, item, timeout, &why))
    }

    /// The message in hand will be answered later, by [`send_response`](Self::send_response) with the
    /// correlation id that this returns, from any host. When `on_message` ends with Completed (and
    /// without a response and requests of its own) the message is Deferred, on disk, until then, or
    /// until `MessageTimeout` is over: then it ends in Error. A strict item (`sync_reliable`) takes
    /// its next message only after that.
    ///
    /// # Errors
    /// Nothing is in hand, or the host lives in a worker process.
    pub fn defer_response(&self) -> Result<MessageId, HostError> {
        let (broker, conduct) = self.broker()?;
        let current = self.current.lock().clone().ok_or_else(no_message)?;
        let timeout = conduct.manner.timeout;
        broker
            .deferrals
            .defer(current.live, timeout, self.stats.clone());
        Ok(current.live.id)
    }

    /// Answers a request whose host deferred its response: who waits for it gets this, and the
    /// request is Completed, on disk when this returns. May come before its host is done with it.
    ///
    /// # Errors
    /// `not-deferred`: nobody deferred it, it is answered already, or its time was over.
    pub async fn send_response(
        &self,
        correlation_id: MessageId,
        response: Bytes,
    ) -> Result<(), HostError> {
        deferred::respond(self.broker()?.0, correlation_id, &response).await
    }

    fn broker(&self) -> Result<(&Broker, &Conduct), HostError> {
        match (&self.gate, &self.conduct) {
            (Gate::Here(broker), Some(conduct)) => Ok((broker, conduct)),
            _ => Err(HostError::new(
                "not-in-a-worker",
                "the worker protocol has no deferred responses; use another ExecutionMode",
            )),
        }
    }

    fn timed_out(
        &self,
        broker: &Broker,
        target: ItemId,
        timeout: Duration,
        why: &NoResponse,
    ) -> HostError {
        self.stats.timeouts.fetch_add(1, Ordering::Relaxed);
        HostError::new("timeout", no_response(broker, target, timeout, why))
    }

    async fn ask(
        &self,
        far: &Arc<dyn FarEngine>,
        (target, body, priority): (&str, Option<Bytes>, Priority),
        timeout: Option<Duration>,
        pattern: Option<Pattern>,
    ) -> Result<FarAnswer, HostError> {
        let current = self.current.lock().clone().ok_or_else(no_message)?;
        far.request(FarRequest {
            current: current.live.id,
            target,
            body: body.or_else(|| current.instead()),
            priority,
            timeout,
            pattern,
        })
        .await
    }

    /// Waits for a place in the target's queue, if the target wants that, and sends. A stop ends
    /// the wait: the message in hand is then not finished, whatever the host makes of it.
    async fn send<T>(
        &self,
        broker: &Broker,
        (target, body, priority): (&str, Option<Bytes>, Priority),
        how: impl FnOnce(&Finish<'_>, Admission) -> Result<T, StoreError>,
    ) -> Result<T, HostError> {
        let current = self.current.lock().clone().ok_or_else(no_message)?;
        let leg = Leg {
            target: broker.known(target)?,
            body: body.or_else(|| current.instead()),
            priority,
        };
        let from = Sender {
            item: current.live.target,
            message: Some(current.live.id),
        };
        let targets = [leg.target];
        let admitted = broker.admit(from, &targets, Some(&self.stopping)).await;
        let admission = admitted.map_err(|error| {
            if matches!(error, AcceptError::Stopping) {
                self.cut_off.store(true, Ordering::Release);
            }
            HostError::new(error.code(), error.to_string())
        })?;
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
        how(&finish, admission).map_err(|error| refused(&error))
    }
}

fn refused(error: &StoreError) -> HostError {
    HostError::new(error.code(), error.to_string())
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
