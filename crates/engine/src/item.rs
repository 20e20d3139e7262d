//! One item at work: its configuration, its counters, and what runs of it now.
//!
//! Owns starting and stopping of a single item, whatever its kind and mode. The order among items
//! is [`production`](crate::production)'s.

use std::{future::Future, sync::Arc};

use hie_store::ItemId;
use parking_lot::Mutex;
use tokio::{sync::oneshot, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{
    HostError,
    broker::Broker,
    class::Build,
    config::{ItemConfig, ProductionConfig},
    context::{Gate, HostContext, ServiceContext},
    hooks::Door,
    job::Job,
    mode::Mode,
    service::ServiceJob,
    stats::{ItemState, ItemStats},
    workers::{Seat, WorkerPool, WorkerStatus, Workers},
};

/// What an item needs of its production to run.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) config: Arc<ProductionConfig>,
    pub(crate) broker: Arc<Broker>,
    /// Who runs worker processes, if anybody does.
    pub(crate) workers: Option<Arc<dyn Workers>>,
}

/// One item of a production.
pub struct Item {
    /// What it was made from.
    pub config: Arc<ItemConfig>,
    /// Its name, interned.
    pub id: ItemId,
    /// Its counters and state.
    pub stats: Arc<ItemStats>,
    run: Mutex<Run>,
}

/// What runs of an item: replaced at each start.
#[derive(Default)]
struct Run {
    stopping: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
    pool: Option<Arc<dyn WorkerPool>>,
}

impl Item {
    /// An item that does not run yet.
    pub(crate) fn new(config: Arc<ItemConfig>, id: ItemId, stats: Arc<ItemStats>) -> Self {
        Self {
            config,
            id,
            stats,
            run: Mutex::default(),
        }
    }

    /// Whether it lets messages in (a service has no queue).
    pub fn is_service(&self) -> bool {
        matches!(self.config.class.build, Build::Service(_))
    }

    /// `Service`, `Process` or `Operation`.
    pub fn kind(&self) -> &'static str {
        self.config.class.build.kind()
    }

    /// Starts it, unless it is disabled. A service that cannot take its resources is an error;
    /// jobs try again by themselves.
    pub(crate) async fn start(&self, world: &World) -> Result<(), HostError> {
        if !self.config.enabled {
            self.stats.set_state(ItemState::Disabled);
            return Ok(());
        }
        self.stats.set_state(ItemState::Starting);
        *self.run.lock() = Run::default();
        let started = if self.is_service() {
            self.start_service(world).await
        } else {
            self.start_jobs(world)
        };
        if let Err(error) = &started {
            self.stats.set_state(ItemState::Error);
            self.stats.note_error(error.message.clone());
            self.stopping().cancel();
        }
        started
    }

    fn start_jobs(&self, world: &World) -> Result<(), HostError> {
        let mode = Mode::of(&self.config);
        let queue = world.broker.queue(self.id);
        let pool = self.pool(world)?;
        for job in 0..self.config.jobs() {
            let job = Job {
                production: world.config.clone(),
                item: self.config.clone(),
                ctx: HostContext {
                    name: self.config.name.as_str().into(),
                    gate: Gate::Here(world.broker.clone()),
                    stats: self.stats.clone(),
                    stopping: self.stopping(),
                    current: Mutex::default(),
                },
                queue: queue.clone(),
                broker: world.broker.clone(),
                workers: pool.clone().map(|pool| (pool, job)),
            };
            self.spawn(mode, 1, job.run())?;
        }
        Ok(())
    }

    /// The worker processes of the item, where its mode asks for them.
    fn pool(&self, world: &World) -> Result<Option<Arc<dyn WorkerPool>>, HostError> {
        if Mode::of(&self.config) != Mode::MultiProcess {
            return Ok(None);
        }
        let Some(workers) = &world.workers else {
            return Err(HostError::new(
                "no-workers",
                "ExecutionMode is multiprocess, and this engine was started without worker \
                 processes; start it as `hie run`",
            ));
        };
        let pool = workers.pool(Seat {
            production: world.config.clone(),
            item: self.config.clone(),
            stats: self.stats.clone(),
        })?;
        self.run.lock().pool = Some(pool.clone());
        Ok(Some(pool))
    }

    /// What an operator wants to know of its worker processes; empty in other modes.
    pub fn workers(&self) -> Vec<WorkerStatus> {
        let pool = self.run.lock().pool.clone();
        pool.map(|pool| pool.status()).unwrap_or_default()
    }

    async fn start_service(&self, world: &World) -> Result<(), HostError> {
        let targets = self.config.settings.list("TargetConfigNames");
        let job = ServiceJob {
            production: world.config.clone(),
            item: self.config.clone(),
            workers: self.pool(world)?,
            ctx: ServiceContext {
                name: self.config.name.as_str().into(),
                item: self.id,
                targets: targets
                    .iter()
                    .map(|name| world.broker.store.item(name))
                    .collect(),
                gate: Gate::Here(world.broker.clone()),
                stats: self.stats.clone(),
                stopping: self.stopping(),
                pool_size: self.config.pool_size,
                hooks: Door::new(self.config.hooks.clone()),
            },
        };
        let (told, started) = oneshot::channel();
        let threads = usize::from(self.config.pool_size);
        self.spawn(Mode::of(&self.config), threads, job.live(told))?;
        started.await.unwrap_or_else(|_| {
            Err(HostError::new(
                "panic",
                "the service ended before it had started",
            ))
        })
    }

    fn spawn(
        &self,
        mode: Mode,
        threads: usize,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), HostError> {
        let task = mode
            .spawn(&self.config.name, threads, work)
            .map_err(|error| {
                HostError::new("no-thread", format!("cannot start a thread: {error}"))
            })?;
        self.run.lock().tasks.push(task);
        Ok(())
    }

    fn stopping(&self) -> CancellationToken {
        self.run.lock().stopping.clone()
    }

    /// Tells it to finish what it has in hand and take nothing more.
    pub(crate) fn halt(&self) {
        if matches!(
            self.stats.state(),
            ItemState::Starting | ItemState::Running | ItemState::Error
        ) {
            self.stats.set_state(ItemState::Stopping);
        }
        self.run.lock().stopping.cancel();
    }

    /// Waits until it has stopped, at most until `deadline`; then cuts it off: what it had in hand
    /// is unfinished in the log and comes again. Whether it stopped by itself.
    pub(crate) async fn join(&self, deadline: tokio::time::Instant) -> bool {
        let tasks = std::mem::take(&mut self.run.lock().tasks);
        let aborts: Vec<_> = tasks.iter().map(JoinHandle::abort_handle).collect();
        let all = futures_util::future::join_all(tasks);
        let in_time = tokio::time::timeout_at(deadline, all).await.is_ok();
        if !in_time {
            warn!(
                item = self.config.name,
                "did not stop within ShutdownTimeout and is cut off; what it had in hand comes again"
            );
            aborts.iter().for_each(tokio::task::AbortHandle::abort);
        }
        if self.stats.state() == ItemState::Stopping {
            self.stats.set_state(ItemState::Stopped);
        }
        in_time
    }
}
