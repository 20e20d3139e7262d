//! The engine as the hosts of this process reach it: calls over the socket, answers by number.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use hie_engine::{
    HostError,
    broker::{Accepted, Response},
    hooks::{NotAccepted, Rejected},
    workers::{Entrance, FarAnswer, FarArrival, FarEngine, FarRequest, FarResponse},
};
use hie_journal::{Durable, LogError};
use hie_store::{MessageId, SessionId, State, StoreError};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::{
    outbox::Outbox,
    wire::{
        FromWorker,
        from_worker::{Accept, AcceptKind, Call},
        to_worker,
    },
};

/// See the module.
pub(super) struct Far {
    outbox: Arc<Outbox>,
    stopping: CancellationToken,
    next: AtomicU64,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    calls: HashMap<u64, oneshot::Sender<to_worker::Called>>,
    accepts: HashMap<u64, oneshot::Sender<to_worker::Accepted>>,
    responses: HashMap<u64, oneshot::Sender<Option<Response>>>,
}

impl Far {
    pub(super) fn new(outbox: Arc<Outbox>, stopping: CancellationToken) -> Self {
        Self {
            outbox,
            stopping,
            next: AtomicU64::new(1),
            open: Mutex::default(),
        }
    }

    /// An answer to a call that nobody waits for any more is dropped.
    pub(super) fn called(&self, called: to_worker::Called) {
        if let Some(waiter) = self.open.lock().calls.remove(&called.call) {
            let _ = waiter.send(called);
        }
    }

    pub(super) fn accepted(&self, accepted: to_worker::Accepted) {
        if let Some(waiter) = self.open.lock().accepts.remove(&accepted.call) {
            let _ = waiter.send(accepted);
        }
    }

    pub(super) fn response(&self, response: to_worker::Response) {
        if let Some(waiter) = self.open.lock().responses.remove(&response.call) {
            let reply = response.reply;
            let reason = response.reason;
            let _ = waiter.send(response.state.map(|state| Response {
                state,
                reason,
                reply,
            }));
        }
    }
}

#[async_trait]
impl FarEngine for Far {
    async fn arrive(
        &self,
        arrival: FarArrival<'_>,
    ) -> Result<(Accepted, FarResponse), NotAccepted> {
        let call = self.next.fetch_add(1, Ordering::Relaxed);
        let (told, accepted) = oneshot::channel();
        let (answered, response) = oneshot::channel();
        {
            let mut open = self.open.lock();
            open.accepts.insert(call, told);
            if arrival.wait {
                open.responses.insert(call, answered);
            }
        }
        let frame = FromWorker::Accept(Accept {
            call,
            kind: match arrival.entrance {
                Entrance::Accept => AcceptKind::Accept,
                Entrance::Keep => AcceptKind::Keep,
                Entrance::Bad => AcceptKind::Bad,
            },
            origin: arrival.origin.to_owned(),
            content: arrival.content,
            state: arrival.state,
            reason: arrival.reason.to_owned(),
            handler: arrival.handler.map(str::to_owned),
            wait: arrival.wait,
            body: arrival.body.clone(),
        });
        self.outbox.push(|out| frame.write(out));
        let accepted = accepted.await.map_err(|_| LogError::Closed)?;
        if !accepted.code.is_empty() {
            self.open.lock().responses.remove(&call);
            if accepted.code == "rejected" {
                return Err(NotAccepted::Rejected(Rejected {
                    reason: accepted.reason,
                    session: SessionId(accepted.session),
                    id: MessageId(accepted.first_id),
                }));
            }
            let error = StoreError::elsewhere(&accepted.code, &accepted.reason);
            if error.code() == LogError::Closed.code() {
                // The engine stops, and DRAIN is on its way. Who is told no now must see that it
                // is a stop: its sender gets silence, not a refusal.
                self.stopping.cancel();
            }
            return Err(error.into());
        }
        let accepted = Accepted {
            // ACCEPTED without a code: the engine has the message on its disk.
            durable: Durable::told_by_owner(),
            session: SessionId(accepted.session),
            first_id: MessageId(accepted.first_id),
        };
        let response = async move { response.await.ok().flatten() };
        Ok((accepted, Box::pin(response)))
    }

    async fn request(&self, request: FarRequest<'_>) -> Result<FarAnswer, HostError> {
        let call = self.next.fetch_add(1, Ordering::Relaxed);
        let (told, called) = oneshot::channel();
        self.open.lock().calls.insert(call, told);
        let waits = request.timeout.is_some();
        let frame = FromWorker::Call(Call {
            call,
            id: request.current.0,
            target: request.target.to_owned(),
            timeout_ms: request
                .timeout
                .map(|limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)),
            priority: request.priority,
            pattern: request.pattern.map(|pattern| pattern.name().to_owned()),
            body: request.body,
        });
        self.outbox.push(|out| frame.write(out));
        let called = called
            .await
            .map_err(|_| HostError::new("worker-protocol", "the engine gave no answer"))?;
        if !called.code.is_empty() {
            return Err(HostError::new(known_code(&called.code), called.reason));
        }
        if !waits {
            return Ok(FarAnswer::Sent(MessageId(
                called.message.unwrap_or_default(),
            )));
        }
        Ok(FarAnswer::Answered(Response {
            state: called.state.unwrap_or(State::Completed),
            reason: called.reason,
            reply: called.reply,
        }))
    }
}

/// Codes are static names; one that is not known here keeps its sentence.
fn known_code(code: &str) -> &'static str {
    const KNOWN: &[&str] = &[
        "timeout",
        "unknown-target",
        "no-message",
        "deadlock",
        "queue-full",
        "disk-full",
        "journal-closed",
        "journal-poisoned",
    ];
    let known = KNOWN.iter().find(|known| **known == code);
    known.copied().unwrap_or("request-failed")
}
