//! The hosts of a worker process: the same traits, contexts and classes as in the engine; what
//! they raise stops here and travels as a verdict.

use std::{
    future::pending,
    panic::AssertUnwindSafe,
    sync::{Arc, atomic::Ordering},
};

use futures_util::FutureExt;
use hie_engine::{
    HostContext, HostError, ServiceContext,
    class::Build,
    config::{ItemConfig, ProductionConfig},
    hooks::{self, Handled, Own},
    host::{Body, BusinessOperation, BusinessProcess, Message, Outcome, Verdict},
};
use hie_store::{BodyRef, ItemId, Live, MessageId, SessionId, State};
use tokio::sync::mpsc;

use super::Shared;
use crate::wire::{
    FromWorker,
    from_worker::{Stat, Verdicted},
    to_worker::Msg,
};

/// What a host needs to live.
pub(super) struct Seat {
    pub(super) production: Arc<ProductionConfig>,
    pub(super) item: Arc<ItemConfig>,
    pub(super) shared: Arc<Shared>,
    /// How its start went.
    pub(super) told: mpsc::UnboundedSender<Result<(), String>>,
    /// Dropped at its end.
    pub(super) _ended: mpsc::Sender<()>,
}

enum Host {
    Process(Box<dyn BusinessProcess>),
    Operation(Box<dyn BusinessOperation>),
}

impl Host {
    async fn start(seat: &Seat, ctx: &HostContext) -> Result<Self, HostError> {
        let starting = async {
            match seat.item.class.build {
                Build::Process(make) => {
                    let mut host = make(&seat.item, &seat.production)?;
                    host.on_init(ctx).await?;
                    host.on_start(ctx).await?;
                    Ok(Self::Process(host))
                }
                Build::Operation(make) => {
                    let mut host = make(&seat.item, &seat.production)?;
                    host.on_init(ctx).await?;
                    host.on_start(ctx).await?;
                    Ok(Self::Operation(host))
                }
                Build::Service(_) => Err(HostError::new("wrong-kind", "a service has no jobs")),
            }
        };
        let started = AssertUnwindSafe(starting).catch_unwind().await;
        started.unwrap_or_else(|_| {
            Err(HostError::new(
                "panic",
                "the host panicked while it started",
            ))
        })
    }

    /// One try, with the hooks of the class; those of the configuration are the engine's.
    async fn handle(&mut self, ctx: &HostContext, message: &mut Message) -> Handled {
        let own = match self {
            Self::Process(host) => Own::Process(&mut **host),
            Self::Operation(host) => Own::Operation(&mut **host),
        };
        hooks::handle(own, ctx, message).await
    }

    /// Never returns unless the host has something to do when idle; dropped by the next message.
    async fn idle(&mut self, ctx: &HostContext) {
        if let Self::Operation(host) = self
            && let Some(limit) = host.idle_limit()
        {
            tokio::time::sleep(limit).await;
            host.on_idle(ctx).await;
        }
        pending().await
    }

    async fn stop(&mut self, ctx: &HostContext) {
        match self {
            Self::Process(host) => {
                host.on_stop(ctx).await;
                host.on_teardown(ctx).await;
            }
            Self::Operation(host) => {
                host.on_stop(ctx).await;
                host.on_teardown(ctx).await;
            }
        }
    }
}

/// One job: messages in their order, one at a time, until the engine closes its inbox.
pub(super) async fn job(seat: Seat, mut inbox: mpsc::UnboundedReceiver<Msg>) {
    let shared = seat.shared.clone();
    let ctx = HostContext::far(
        &seat.item,
        shared.far.clone(),
        shared.stats.clone(),
        shared.stopping.clone(),
    );
    let mut host = match Host::start(&seat, &ctx).await {
        Ok(host) => host,
        Err(error) => {
            let _ = seat.told.send(Err(error.message)); // the worker is ending anyway
            return;
        }
    };
    let _ = seat.told.send(Ok(()));
    loop {
        let msg = tokio::select! {
            biased;
            msg = inbox.recv() => msg,
            () = host.idle(&ctx) => continue,
        };
        let Some(msg) = msg else { break };
        let (id, mut message) = (msg.id, message_of(msg));
        ctx.set_current(Some((message.live, message.body.0.clone())));
        let handled = host.handle(&ctx, &mut message).await;
        ctx.set_current(None);
        if handled.spoiled.is_some() {
            match Host::start(&seat, &ctx).await {
                Ok(fresh) => host = fresh,
                Err(error) => {
                    // Without a host the worker is of no use; the engine starts another.
                    shared.stats.note_error(error.message);
                    return;
                }
            }
        }
        let crashed = handled.outcome.is_none();
        let outcome = handled.outcome.unwrap_or_else(|| {
            let gone = handled.spoiled.map(|gone| gone.reason);
            let reason = gone.unwrap_or_else(|| "the host panicked".into());
            Outcome::new(Verdict::Failed, reason)
        });
        let result = Verdicted {
            id,
            crashed,
            outcome,
        };
        shared.outbox.push(|out| result.write(out));
    }
    host.stop(&ctx).await;
}

fn message_of(msg: Msg) -> Message {
    let len = u32::try_from(msg.body.len()).unwrap_or(u32::MAX);
    Message {
        live: Live {
            id: MessageId(msg.id),
            session: SessionId(msg.session),
            body: BodyRef {
                len,
                ..BodyRef::default()
            },
            created_ms: msg.created_ms,
            source: ItemId::default(),
            target: ItemId::default(),
            attempts: u16::try_from(msg.attempt.saturating_sub(1)).unwrap_or(u16::MAX),
            priority: msg.priority,
            state: State::Queued,
            content: msg.content,
            possible_duplicate: msg.possible_duplicate,
            hops: 0, // The engine counts them.
        },
        source: msg.source.into(),
        body: Body(msg.body),
    }
}

/// The service: started once; its end is the worker's.
pub(super) async fn service(seat: Seat) {
    let shared = seat.shared.clone();
    let ctx = ServiceContext::far(
        &seat.item,
        shared.far.clone(),
        shared.stats.clone(),
        shared.stopping.clone(),
    );
    let starting = async {
        let Build::Service(make) = seat.item.class.build else {
            return Err(HostError::new("wrong-kind", "this is no service"));
        };
        let mut service = make(&seat.item, &seat.production)?;
        service.on_init(&ctx).await?;
        ctx.set_hooks(service.hooks());
        service.on_start(&ctx).await?;
        Ok(service)
    };
    let started = AssertUnwindSafe(starting).catch_unwind().await;
    let started = started.unwrap_or_else(|_| {
        Err(HostError::new(
            "panic",
            "the service panicked while it started",
        ))
    });
    let mut service = match started {
        Ok(service) => service,
        Err(error) => {
            let _ = seat.told.send(Err(error.message));
            return;
        }
    };
    let _ = seat.told.send(Ok(()));
    let living = async {
        let ended = service.run(&ctx).await;
        service.on_stop(&ctx).await;
        service.on_teardown(&ctx).await;
        ended
    };
    match AssertUnwindSafe(living).catch_unwind().await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => shared.stats.note_error(error.message),
        Err(_) => shared.stats.note_error("the service panicked"),
    }
}

/// What the engine knows of this worker's counters.
#[derive(Default)]
pub(super) struct Reported {
    address: Option<String>,
    connections: u64,
    rejected: u64,
    last_error: Option<String>,
}

impl Reported {
    /// Tells what changed.
    pub(super) fn tell(&mut self, shared: &Shared) {
        let stats = &shared.stats;
        let connections = stats.connections.load(Ordering::Relaxed);
        let rejected = stats.rejected.load(Ordering::Relaxed);
        let (address, last_error) = (stats.address(), stats.last_error());
        let mut stat = Stat::default();
        if address != self.address {
            stat.address.clone_from(&address);
        }
        if last_error != self.last_error {
            stat.last_error.clone_from(&last_error);
        }
        if connections != self.connections {
            stat.connections = Some(connections);
        }
        if rejected > self.rejected {
            stat.counters
                .push(("rejected".into(), rejected - self.rejected));
        }
        if stat != Stat::default() {
            shared.outbox.push(|out| FromWorker::Stat(stat).write(out));
        }
        *self = Self {
            address,
            connections,
            rejected,
            last_error,
        };
    }
}
