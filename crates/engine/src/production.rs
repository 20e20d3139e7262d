//! A production: items built from a checked configuration, started, watched and stopped.
//!
//! Owns start order (operations, processes, services), recovery of the queues and the graceful
//! stop. What an operator does to single items is in [`item_command`](crate::item_command), a change
//! of the whole configuration in [`reload`](crate::reload), what is seen of it in
//! [`status`](crate::status).

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use hie_store::{BodyRef, Content, MessageId, Recovered, Store, StoreError, StoreOptions};
use parking_lot::{Mutex, RwLock};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::{
    HostError,
    broker::{Accepted, Broker},
    clock::Clock,
    config::{ItemConfig, ProductionConfig},
    deferred, housekeeping,
    item::{Item, World},
    queue::Plan,
    reload::InForce,
    requeue::{Recovery, requeue},
    stats::ItemStats,
    workers::Workers,
};

/// Why a production did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An item cannot take what it needs.
    #[error("item {item}: {error}")]
    Item {
        /// Its name.
        item: String,
        /// What failed.
        error: HostError,
    },
}

/// How a production starts.
#[derive(Clone, Default)]
pub struct Manner {
    /// Whether one item that cannot start fails the whole start.
    pub strict: bool,
    /// Who runs worker processes; none: an item in mode `multiprocess` cannot start.
    pub workers: Option<Arc<dyn Workers>>,
}

/// A running production.
pub struct Production {
    pub(crate) config: Current,
    /// Its broker, and through it its store.
    pub broker: Arc<Broker>,
    pub(crate) items: RwLock<Vec<Arc<Item>>>,
    /// What recovery found.
    pub recovered: Recovery,
    pub(crate) started_ms: u64,
    housekeeping: CancellationToken,
    workers: Option<Arc<dyn Workers>>,
    /// Held while items are started or stopped: one change at a time.
    pub(crate) change: tokio::sync::Mutex<()>,
    pub(crate) in_force: Mutex<InForce>,
}

/// The configuration as it is now.
pub(crate) type Current = Arc<RwLock<Arc<ProductionConfig>>>;

/// A stored message to send again.
#[derive(Clone, Debug)]
pub struct Resend {
    /// Its header.
    pub id: MessageId,
    /// Who sent it.
    pub source: String,
    /// Who gets it now.
    pub target: String,
    /// What its body is.
    pub content: Content,
    /// Its body.
    pub body: BodyRef,
}

impl Production {
    /// Starts it: opens the store, recovers the queues, starts operations, processes, then
    /// services. An item that cannot start does not hinder the others: its supervisor tries again,
    /// and status and health say so. Fails as a whole when the store cannot be opened or no service
    /// at all can start: a production that nothing can come into must not look like a running one.
    pub async fn start(config: ProductionConfig, clock: Clock) -> Result<Arc<Self>, StartError> {
        Self::start_in(config, clock, Manner::default()).await
    }

    /// The same, with somebody who runs worker processes.
    pub async fn start_with(
        config: ProductionConfig,
        clock: Clock,
        workers: Option<Arc<dyn Workers>>,
    ) -> Result<Arc<Self>, StartError> {
        let manner = Manner {
            workers,
            ..Manner::default()
        };
        Self::start_in(config, clock, manner).await
    }

    /// The same, in this manner.
    pub async fn start_in(
        config: ProductionConfig,
        clock: Clock,
        manner: Manner,
    ) -> Result<Arc<Self>, StartError> {
        let config = Arc::new(config);
        let (store, recovered) = open_store(&config, &clock).await?;
        let broker = Arc::new(Broker::new(
            store,
            clock.clone(),
            config.engine.body_cache_bytes,
        ));
        let recovered = requeue(&config, &broker, recovered).await;
        let production = Self {
            items: RwLock::default(),
            config: Arc::new(RwLock::new(config.clone())),
            broker,
            recovered,
            started_ms: clock.now_ms(),
            housekeeping: CancellationToken::new(),
            workers: manner.workers.clone(),
            change: tokio::sync::Mutex::default(),
            in_force: Mutex::new(InForce {
                generation: 1,
                since_ms: clock.now_ms(),
                by: "start".into(),
                ..InForce::default()
            }),
        };
        let items = config.items.iter().map(|item| production.new_item(item));
        *production.items.write() = items.collect();
        production.tell_targets();
        tokio::spawn(housekeeping::run(
            production.config.clone(),
            production.broker.clone(),
            production.housekeeping.clone(),
        ));
        tokio::spawn(deferred::run(
            production.broker.clone(),
            production.housekeeping.clone(),
        ));
        if config.engine.auto_start_items
            && let Err(error) = production.start_items(manner.strict).await
        {
            production.stop().await;
            return Err(error);
        }
        Ok(Arc::new(production))
    }

    pub(crate) fn new_item(&self, item: &Arc<ItemConfig>) -> Arc<Item> {
        let id = self.broker.store.item(&item.name);
        let stats = Arc::new(ItemStats::new(self.broker.clock.clone()));
        Arc::new(Item::new(item.clone(), id, stats))
    }

    /// What it is made from now.
    pub fn config(&self) -> Arc<ProductionConfig> {
        self.config.read().clone()
    }

    /// Its items, in the order of the configuration.
    pub fn items(&self) -> Vec<Arc<Item>> {
        self.items.read().clone()
    }

    /// The item of this name.
    pub fn item(&self, name: &str) -> Option<Arc<Item>> {
        let items = self.items.read();
        items.iter().find(|item| item.config.name == name).cloned()
    }

    /// Tells the broker who takes messages, and how their queues are worked off.
    pub(crate) fn tell_targets(&self) {
        let items = self.items();
        let receivers = items.iter().filter(|item| !item.is_service());
        let receivers: Vec<&Arc<Item>> = receivers.collect();
        for item in &receivers {
            let plan = Plan::of(&item.config);
            if *self.broker.queue(item.id).plan() != plan {
                self.broker.set_plan(item.id, plan, item.config.jobs());
            }
            self.broker.waits.set_jobs(item.id, item.config.jobs());
        }
        let named = receivers
            .iter()
            .map(|item| (item.config.name.clone(), item.id));
        self.broker.set_targets(named.collect());
    }

    pub(crate) fn world(&self) -> World {
        World {
            config: self.config(),
            broker: self.broker.clone(),
            workers: self.workers.clone(),
        }
    }

    /// Operations, processes, then services: nothing comes in before it can go on.
    async fn start_items(&self, strict: bool) -> Result<(), StartError> {
        let items = self.items();
        self.start_in_order(&items).await;
        let awaited = |item: &&Arc<Item>| strict || item.is_service();
        let awaited: Vec<_> = items
            .iter()
            .filter(|item| !item.is_disabled())
            .filter(awaited)
            .collect();
        let settled = awaited.iter().map(|item| item.settled());
        let settled = join_all(settled).await;
        let services = awaited.iter().filter(|item| item.is_service()).count();
        let failed = awaited.iter().zip(settled);
        let mut failed: Vec<_> = failed
            .filter_map(|(item, settled)| Some((item, settled.err()?)))
            .collect();
        let down = failed.iter().filter(|(item, _)| item.is_service()).count();
        if failed.is_empty() || !(strict || (services > 0 && down == services)) {
            return Ok(());
        }
        let (item, error) = failed.swap_remove(0);
        Err(StartError::Item {
            item: item.config.name.clone(),
            error,
        })
    }

    /// Starts items, each kind when the one before it is up: nobody sends before who gets it is
    /// there. One that fails, or takes long, hinders the others no longer than a moment.
    pub(crate) async fn start_in_order(&self, items: &[Arc<Item>]) {
        let world = self.world();
        for kind in START_ORDER {
            let of_kind: Vec<_> = items.iter().filter(|item| item.kind() == kind).collect();
            of_kind.iter().for_each(|item| item.start(&world));
            let settled = join_all(of_kind.iter().map(|item| item.settled()));
            let _ = tokio::time::timeout(ORDER_PATIENCE, settled).await; // told by who waits for all
        }
    }

    /// Whether its stop has begun.
    pub(crate) fn is_stopped(&self) -> bool {
        self.housekeeping.is_cancelled()
    }

    /// Stops gracefully: nothing more is accepted, what is in hand is finished or parked within
    /// `ShutdownTimeout`, the journal is closed. What is queued stays on disk for the next start.
    pub async fn stop(&self) {
        let _one = self.change.lock().await;
        self.housekeeping.cancel();
        self.stop_in_order(&self.items()).await;
        self.close().await;
    }

    /// Stops items, services first: nothing more comes in while the rest is worked off.
    pub(crate) async fn stop_in_order(&self, items: &[Arc<Item>]) {
        for kind in START_ORDER.into_iter().rev() {
            let of_kind = items.iter().filter(|item| item.kind() == kind);
            let of_kind: Vec<Arc<Item>> = of_kind.cloned().collect();
            if !of_kind.is_empty() {
                self.stop_items(&of_kind).await;
            }
        }
    }

    /// Stops items together, within `ShutdownTimeout`. Whether each stopped by itself.
    pub(crate) async fn stop_items(&self, items: &[Arc<Item>]) -> bool {
        let deadline = Instant::now() + self.config().engine.shutdown_timeout;
        items.iter().for_each(|item| item.halt());
        let joined = join_all(items.iter().map(|item| item.join(deadline)));
        joined.await.into_iter().all(|in_time| in_time)
    }

    /// Closes the journal: everything appended is on disk, nothing more is taken. Safe at any time.
    pub async fn close(&self) {
        let store = self.broker.store.clone();
        match tokio::task::spawn_blocking(move || store.close()).await {
            Ok(Ok(())) => info!("the journal is closed"),
            Ok(Err(error)) => error!(
                code = error.code(),
                "the journal did not close cleanly: {error}"
            ),
            Err(_) => error!("closing the journal panicked"),
        }
    }

    /// Sends a stored message again: same body, new session linked to the old.
    pub async fn resend(&self, again: &Resend) -> Result<Accepted, HostError> {
        let Some(target) = self.broker.target(&again.target) else {
            let message = format!(
                "{} is no process or operation of this production; name one with --target",
                again.target
            );
            return Err(HostError::new("unknown-target", message));
        };
        let source = self.broker.store.item(&again.source);
        let sent = self
            .broker
            .resend(source, target, again.content, again.id, again.body)
            .await;
        sent.map_err(|error| HostError::new(error.code(), error.to_string()))
    }
}

/// The kinds of items, who gets messages before who sends them.
const START_ORDER: [&str; 3] = ["Operation", "Process", "Service"];

/// How long the items of one kind may keep the next from starting.
const ORDER_PATIENCE: Duration = Duration::from_secs(5);

async fn open_store(
    config: &Arc<ProductionConfig>,
    clock: &Clock,
) -> Result<(Store, Recovered), StoreError> {
    let (config, now_ms) = (config.clone(), clock.now_ms());
    let opened = tokio::task::spawn_blocking(move || {
        Store::open(&config.engine.data_path, store_options(&config), now_ms)
    });
    opened
        .await
        .unwrap_or_else(|_| Err(hie_journal::LogError::Closed.into()))
}

fn store_options(config: &ProductionConfig) -> StoreOptions {
    let engine = &config.engine;
    StoreOptions {
        segment_bytes: engine.journal_segment_bytes,
        reserve_bytes: Some(engine.journal_reserve_bytes),
        ..StoreOptions::default()
    }
}
