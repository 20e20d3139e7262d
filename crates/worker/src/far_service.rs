//! The stand-in for a service in a worker: lets in what the worker's service lets in, and tells it
//! so when it is on disk, never before.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::{StreamExt, stream::FuturesUnordered};
use hie_engine::{
    HostError, ServiceContext,
    broker::Accepted,
    hooks::NotAccepted,
    host::{BusinessService, Origin},
};

use crate::{
    far_host::Lease,
    link::{Event, Link},
    slot::Slot,
    wire::{
        ToWorker,
        from_worker::{Accept, AcceptKind},
        to_worker,
    },
};

/// Messages that a worker may wait for at once; far more than it has connections.
const OPEN_MAX: usize = 10_000;

/// See the module.
pub(crate) struct ServiceStandin {
    slot: Arc<Slot>,
    lease: Option<Lease>,
}

impl ServiceStandin {
    pub(crate) fn new(slot: Arc<Slot>) -> Self {
        Self { slot, lease: None }
    }
}

#[async_trait]
impl BusinessService for ServiceStandin {
    async fn on_start(&mut self, _ctx: &ServiceContext) -> Result<(), HostError> {
        self.lease = Some(Lease::new(&self.slot, None).await?);
        Ok(())
    }

    async fn run(&mut self, ctx: &ServiceContext) -> Result<(), HostError> {
        let Some(mut lease) = self.lease.take() else {
            return Err(HostError::new("not-started", "the worker has not started"));
        };
        let link = lease.link.clone();
        let slot = self.slot.clone();
        let ending = async {
            ctx.stopping().cancelled().await;
            slot.end(&link).await; // What it has in hand is answered meanwhile.
        };
        tokio::pin!(ending);
        let mut open = FuturesUnordered::new();
        loop {
            tokio::select! {
                biased;
                event = lease.events.recv() => match event {
                    Some(Event::Accept(_)) if open.len() >= OPEN_MAX => {
                        link.condemn("waits for more than 10000 messages at once: killed");
                    }
                    Some(Event::Accept(accept)) => open.push(let_in(ctx, &link, accept)),
                    _ => {}
                },
                Some(()) = open.next(), if !open.is_empty() => {}
                () = link.ended.cancelled() => {
                    lease.end().await;
                    return match ctx.stopping().is_cancelled() {
                        true => Ok(()),
                        false => Err(HostError::new("worker-died", link.why())),
                    };
                }
                () = &mut ending => {}
            }
        }
    }
}

/// Lets one message in and tells the worker how it went.
async fn let_in(ctx: &ServiceContext, link: &Link, accept: Accept) {
    let call = accept.call;
    let origin = Origin {
        from: &accept.origin,
        content: accept.content,
    };
    if accept.wait && accept.kind == AcceptKind::Accept {
        match ctx.begin_request(origin, &accept.body).await {
            Err(error) => tell(link, call, Err(error)),
            Ok((accepted, response)) => {
                tell(link, call, Ok(accepted));
                let response = response.await;
                let frame = to_worker::Response {
                    call,
                    state: response.as_ref().map(|response| response.state),
                    reason: response
                        .as_ref()
                        .map(|response| response.reason.clone())
                        .unwrap_or_default(),
                    reply: response.and_then(|response| response.reply),
                };
                link.outbox.push(|out| ToWorker::Response(frame).write(out));
            }
        }
        return;
    }
    let result = match accept.kind {
        AcceptKind::Accept => ctx.accept(origin, &accept.body).await,
        AcceptKind::Keep => ctx
            .keep(origin, &accept.body, accept.state, &accept.reason)
            .await
            .map_err(NotAccepted::from),
        AcceptKind::Bad => {
            let handler = accept.handler.as_deref();
            ctx.accept_bad(origin, &accept.body, &accept.reason, handler)
                .await
                .map_err(NotAccepted::from)
        }
    };
    tell(link, call, result);
}

/// A positive answer takes the token that only the journal makes (invariant 2).
fn tell(link: &Link, call: u64, result: Result<Accepted, NotAccepted>) {
    let answer = match result {
        Ok(Accepted {
            durable: _proof,
            session,
            first_id,
        }) => to_worker::Accepted {
            call,
            code: String::new(),
            reason: String::new(),
            session: session.0,
            first_id: first_id.0,
        },
        Err(NotAccepted::Rejected(rejected)) => to_worker::Accepted {
            call,
            code: "rejected".into(),
            reason: rejected.reason,
            session: rejected.session.0,
            first_id: rejected.id.0,
        },
        Err(error) => to_worker::Accepted {
            call,
            code: error.code().to_owned(),
            reason: error.to_string(),
            session: 0,
            first_id: 0,
        },
    };
    link.outbox
        .push(|out| ToWorker::Accepted(answer).write(out));
}
