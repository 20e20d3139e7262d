//! The stand-in for a process or an operation in a worker: one for each job, with at most one
//! message in flight, so that order holds where there is one job, whoever dies.

use std::{future::pending, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::{StreamExt, stream::FuturesUnordered};
use hie_engine::{
    HostContext, HostError,
    host::{Message, Outcome},
    pattern::Pattern,
    workers::{FarHost, Gone},
};
use hie_store::MessageId;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use crate::{
    link::{Event, Link},
    slot::Slot,
    wire::{
        ToWorker,
        from_worker::Call,
        to_worker::{Called, Msg},
    },
};

/// Requests that one message may have open at once.
const CALLS_MAX: usize = 1000;

/// See the module.
pub(crate) struct Standin {
    slot: Arc<Slot>,
    /// Its number in the worker.
    job: u16,
    timeout: Option<Duration>,
    lease: Option<Lease>,
}

/// The place that a job, or the service (no job), has at its worker.
pub(crate) struct Lease {
    pub(crate) link: Arc<Link>,
    pub(crate) events: UnboundedReceiver<Event>,
    slot: Arc<Slot>,
    job: Option<u16>,
    ear: UnboundedSender<Event>,
    held: bool,
}

impl Lease {
    pub(crate) async fn new(slot: &Arc<Slot>, job: Option<u16>) -> Result<Self, HostError> {
        let link = slot.link().await?;
        let (ear, events) = link.listen(job);
        slot.hold();
        Ok(Self {
            link,
            events,
            slot: slot.clone(),
            job,
            ear,
            held: true,
        })
    }

    /// Lets go in an orderly way: the last one ends the worker, and waits until it has ended.
    pub(crate) async fn end(mut self) {
        self.held = false;
        if self.slot.release() {
            self.slot.end(&self.link).await;
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.link.leave(self.job, &self.ear);
        if self.held && self.slot.release() && !self.link.is_draining() {
            self.link.condemn("was cut off with its item");
        }
    }
}

impl Standin {
    pub(crate) fn new(slot: Arc<Slot>, job: u16, timeout: Option<Duration>) -> Self {
        Self {
            slot,
            job,
            timeout,
            lease: None,
        }
    }

    fn msg(&self, message: &Message) -> Msg {
        let live = &message.live;
        Msg {
            id: live.id.0,
            job: self.job,
            attempt: u32::from(live.attempts) + 1,
            deadline_ms: self
                .timeout
                .map(|limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)),
            source: message.source.to_string(),
            content: live.content,
            priority: live.priority,
            session: live.session.0,
            created_ms: live.created_ms,
            possible_duplicate: live.possible_duplicate,
            body: message.body.0.clone(),
        }
    }
}

#[async_trait]
impl FarHost for Standin {
    async fn on_start(&mut self, ctx: &HostContext) -> Result<(), HostError> {
        let lease = tokio::select! {
            lease = Lease::new(&self.slot, Some(self.job)) => lease?,
            () = ctx.stopping().cancelled() => {
                return Err(HostError::new("stopping", "the item was stopped while its worker started"));
            }
        };
        self.lease = Some(lease);
        Ok(())
    }

    async fn on_message(&mut self, ctx: &HostContext, message: &Message) -> Result<Outcome, Gone> {
        let msg = self.msg(message);
        let limit = self.timeout;
        let Some(lease) = &mut self.lease else {
            return Err(never_reached("the worker has not started".into()));
        };
        let link = lease.link.clone();
        // RESULT gives it back. Closed when the process is gone.
        if link.credit.take().await.is_err() {
            link.ended.cancelled().await;
            return Err(never_reached(link.why()));
        }
        link.give(&msg);
        let mut calls = FuturesUnordered::new();
        let deadline = async {
            match limit {
                Some(limit) => tokio::time::sleep(limit).await,
                None => pending().await,
            }
        };
        tokio::pin!(deadline);
        loop {
            tokio::select! {
                biased;
                event = lease.events.recv() => match event {
                    Some(Event::Result(result)) if result.id != msg.id => {} // of one that was cut off
                    Some(Event::Result(result)) if result.crashed => {
                        return Err(Gone { reason: result.outcome.reason, by_message: true });
                    }
                    Some(Event::Result(result)) => return Ok(result.outcome),
                    Some(Event::Call(_)) if calls.len() >= CALLS_MAX => {
                        link.condemn("has more than 1000 requests open for one message");
                    }
                    Some(Event::Call(call)) => calls.push(answer(ctx, &link, call)),
                    Some(Event::Accept(_)) | None => {}
                },
                Some(()) = calls.next(), if !calls.is_empty() => {}
                () = link.ended.cancelled() => {
                    return Err(Gone { reason: link.why(), by_message: true });
                }
                () = &mut deadline, if limit.is_some() => {
                    let seconds = limit.unwrap_or_default().as_secs_f64();
                    link.condemn(format!(
                        "had message {} for more than {seconds} s (WorkerTimeout): killed",
                        msg.id
                    ));
                    link.ended.cancelled().await;
                }
            }
        }
    }

    async fn gone(&mut self) -> Gone {
        match &self.lease {
            Some(lease) => {
                lease.link.ended.cancelled().await;
                never_reached(lease.link.why())
            }
            None => pending().await,
        }
    }

    async fn on_stop(&mut self, _ctx: &HostContext) {
        if let Some(lease) = self.lease.take() {
            lease.end().await;
        }
    }
}

fn never_reached(reason: String) -> Gone {
    Gone {
        reason,
        by_message: false,
    }
}

/// Does what a host asks for while it handles its message.
async fn answer(ctx: &HostContext, link: &Link, call: Call) {
    let mut called = Called {
        call: call.call,
        code: String::new(),
        reason: String::new(),
        message: None,
        state: None,
        reply: None,
    };
    let pattern = match call.pattern.as_deref().map(Pattern::named) {
        Some(None) => {
            called.code = "unknown-pattern".into();
            called.reason = "there is no messaging pattern of this name".into();
            return link.outbox.push(|out| ToWorker::Called(called).write(out));
        }
        pattern => pattern.flatten(),
    };
    let result = match call.timeout_ms {
        None => ctx
            .send_request_async(&call.target, call.body, call.priority, pattern)
            .await
            .map(|MessageId(id)| called.message = Some(id)),
        Some(limit) => ctx
            .send_request_sync(
                &call.target,
                call.body,
                Some(Duration::from_millis(limit)),
                call.priority,
                pattern,
            )
            .await
            .map(|response| {
                called.state = Some(response.state);
                called.reason = response.reason;
                called.reply = response.reply;
            }),
    };
    if let Err(error) = result {
        called.code = error.code.to_owned();
        called.reason = error.message;
    }
    link.outbox.push(|out| ToWorker::Called(called).write(out));
}
