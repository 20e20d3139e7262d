//! One item at work: its configuration, its counters, and what runs of it now.
//!
//! Owns starting and stopping of a single item, whatever its kind and mode, and what an operator
//! decided about it by hand. What becomes of a host that fails is the
//! [`supervisor`](crate::supervisor)'s; the order among items is [`production`](crate::production)'s.

use std::{
    future::Future,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use hie_store::ItemId;
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tracing::warn;

use crate::{
    HostError,
    broker::Broker,
    class::Build,
    config::{ItemConfig, ProductionConfig},
    context::{Gate, HostContext, ServiceContext},
    hold::Hold,
    hooks::Door,
    in_hand::InHand,
    job::Job,
    mode::Mode,
    pattern::{Conduct, Manner},
    service::ServiceJob,
    stats::{ItemState, ItemStats},
    supervisor::Supervisor,
    workers::{Seat, WorkerPool, WorkerStatus, Workers},
};

/// How long the start of an item is waited for; one that takes longer goes on by itself.
const START_PATIENCE: Duration = Duration::from_secs(30);

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
    life: Arc<Life>,
}

/// What outlives a change of the item's configuration.
#[derive(Default)]
struct Life {
    hold: Hold,
    /// Whether an operator disabled or enabled it by hand.
    disabled: Mutex<Option<bool>>,
    run: Mutex<Run>,
}

/// What runs of an item: replaced at each start.
#[derive(Default)]
struct Run {
    supervisor: Option<Arc<Supervisor>>,
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
            life: Arc::default(),
        }
    }

    /// The same item under another configuration, which counts from its next start on. What runs
    /// now goes on, and what an operator decided holds.
    pub(crate) fn with_config(&self, config: Arc<ItemConfig>) -> Self {
        Self {
            config,
            id: self.id,
            stats: self.stats.clone(),
            life: self.life.clone(),
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

    /// Whether it should not run: by its configuration or by an operator.
    pub fn is_disabled(&self) -> bool {
        let by_hand = *self.life.disabled.lock();
        by_hand.unwrap_or(!self.config.enabled)
    }

    /// Whether an operator holds it.
    pub fn is_paused(&self) -> bool {
        self.life.hold.is_on()
    }

    /// What supervises it, while it runs.
    pub fn supervisor(&self) -> Option<Arc<Supervisor>> {
        self.life.run.lock().supervisor.clone()
    }

    /// Starts it, unless it is disabled. What cannot start is the supervisor's from here on.
    pub(crate) fn start(&self, world: &World) {
        if self.is_disabled() {
            self.stats.set_state(ItemState::Disabled);
            return;
        }
        let posts = if self.is_service() {
            1
        } else {
            self.config.jobs()
        };
        let supervisor = Supervisor::new(
            &self.config,
            self.stats.clone(),
            world.broker.clock.clone(),
            self.life.hold.clone(),
            posts,
        );
        *self.life.run.lock() = Run {
            supervisor: Some(supervisor.clone()),
            ..Run::default()
        };
        let spawned = if self.is_service() {
            self.start_service(world, &supervisor)
        } else {
            self.start_jobs(world, &supervisor)
        };
        if let Err(error) = spawned {
            supervisor.give_up("it cannot run", &error);
        }
    }

    /// Waits until each of its hosts has started or failed once; the error of one that is not up.
    /// A start that takes very long counts as begun.
    pub(crate) async fn settled(&self) -> Result<(), HostError> {
        let Some(supervisor) = self.supervisor() else {
            return Ok(());
        };
        let settled = tokio::time::timeout(START_PATIENCE, supervisor.settled()).await;
        settled.unwrap_or_else(|_| {
            let seconds = START_PATIENCE.as_secs();
            let text = format!("it has not started within {seconds} s");
            Err(HostError::new("start-slow", text))
        })
    }

    fn start_jobs(&self, world: &World, supervisor: &Arc<Supervisor>) -> Result<(), HostError> {
        let mode = Mode::of(&self.config);
        let queue = world.broker.queue(self.id);
        let pool = self.pool(world)?;
        let delivers = matches!(self.config.class.build, Build::Operation(_));
        let manner = Manner::of_jobs(&self.config);
        for job in 0..self.config.jobs() {
            let job = Job {
                production: world.config.clone(),
                item: self.config.clone(),
                ctx: HostContext {
                    name: self.config.name.as_str().into(),
                    gate: Gate::Here(world.broker.clone()),
                    stats: self.stats.clone(),
                    stopping: supervisor.stopping().clone(),
                    current: Mutex::default(),
                    cut_off: AtomicBool::new(false),
                    conduct: Some(Conduct {
                        manner: manner.clone(),
                        place: (world.broker.calls).join(self.id, manner.pattern.is_strict()),
                    }),
                    far_timeout: manner.timeout,
                },
                queue: queue.clone(),
                broker: world.broker.clone(),
                workers: pool.clone().map(|pool| (pool, job)),
                post: supervisor.post(),
                hold: self.life.hold.clone(),
                in_hand: InHand::new(queue.clone(), self.stats.clone(), delivers),
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
        self.life.run.lock().pool = Some(pool.clone());
        Ok(Some(pool))
    }

    /// What an operator wants to know of its worker processes; empty in other modes.
    pub fn workers(&self) -> Vec<WorkerStatus> {
        let pool = self.life.run.lock().pool.clone();
        pool.map(|pool| pool.status()).unwrap_or_default()
    }

    fn start_service(&self, world: &World, supervisor: &Arc<Supervisor>) -> Result<(), HostError> {
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
                stopping: supervisor.stopping().clone(),
                pool_size: self.config.pool_size,
                hold: self.life.hold.clone(),
                hooks: Door::new(self.config.hooks.clone()),
                manner: Manner::of_service(&self.config),
            },
            post: supervisor.post(),
        };
        let threads = usize::from(self.config.pool_size);
        self.spawn(Mode::of(&self.config), threads, job.live())
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
        self.life.run.lock().tasks.push(task);
        Ok(())
    }

    /// Tells it to finish what it has in hand and take nothing more.
    pub(crate) fn halt(&self) {
        if let Some(supervisor) = self.supervisor() {
            supervisor.halt();
        }
    }

    /// Waits until it has stopped, at most until `deadline`; then cuts it off: what it had in hand
    /// goes back to its queue, unfinished in the log. Whether it stopped by itself.
    pub(crate) async fn join(&self, deadline: tokio::time::Instant) -> bool {
        let tasks = std::mem::take(&mut self.life.run.lock().tasks);
        let aborts: Vec<_> = tasks.iter().map(JoinHandle::abort_handle).collect();
        let mut all = std::pin::pin!(futures_util::future::join_all(tasks));
        let in_time = tokio::time::timeout_at(deadline, &mut all).await.is_ok();
        if !in_time {
            warn!(
                item = self.config.name,
                "did not stop within ShutdownTimeout and is cut off; what it had in hand comes again"
            );
            aborts.iter().for_each(tokio::task::AbortHandle::abort);
            // Each is dropped at its next point of rest, and puts back what it had.
            let _ = tokio::time::timeout(CUT_PATIENCE, all).await;
        }
        let state = if self.is_disabled() {
            ItemState::Disabled
        } else {
            ItemState::Stopped
        };
        match self.supervisor() {
            Some(supervisor) => supervisor.halted(state),
            None => self.stats.set_state(state),
        }
        in_time
    }

    /// Holds it, or lets it go on.
    pub(crate) fn set_paused(&self, paused: bool) {
        self.life.hold.set(paused);
        if let Some(supervisor) = self.supervisor() {
            supervisor.refresh();
        }
    }

    /// Notes that an operator disabled or enabled it; none: as the configuration says.
    pub(crate) fn set_disabled(&self, disabled: Option<bool>) {
        *self.life.disabled.lock() = disabled;
    }
}

/// How long the end of a job that is cut off is waited for. One that blocks its thread does not end.
const CUT_PATIENCE: Duration = Duration::from_millis(500);
