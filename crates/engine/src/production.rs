//! A production: items built from a checked configuration, started, watched and stopped.
//!
//! Owns start order (operations, processes, services), recovery of the queues, the graceful stop,
//! and what an operator sees of it ([`Status`]). Restart policies and reload will enter here.

use std::sync::Arc;

use hie_store::{
    BodyRef, Content, ItemId, MessageId, Recovered, State, Store, StoreError, StoreOptions,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    HostError,
    broker::{Accepted, Broker},
    class::Build,
    clock::Clock,
    config::{ItemConfig, ProductionConfig},
    context::{HostContext, ServiceContext},
    housekeeping,
    job::Job,
    service::ServiceJob,
    stats::{ItemState, ItemStats},
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

/// One item at work.
pub struct Item {
    /// Its place in the configuration.
    place: usize,
    /// Its name, interned.
    pub id: ItemId,
    /// Its counters and state.
    pub stats: Arc<ItemStats>,
    stopping: CancellationToken,
}

/// A running production.
pub struct Production {
    /// What it was built from.
    pub config: Arc<ProductionConfig>,
    /// Its broker, and through it its store.
    pub broker: Arc<Broker>,
    /// Its items in the order of the configuration.
    pub items: Vec<Item>,
    /// What recovery found.
    pub recovered: Recovery,
    services: parking_lot::Mutex<Vec<JoinHandle<()>>>,
    workers: parking_lot::Mutex<Vec<JoinHandle<()>>>,
    pub(crate) started_ms: u64,
    housekeeping: CancellationToken,
}

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

/// What recovery brought back.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Recovery {
    /// Unfinished messages that are queued again.
    pub queued: usize,
    /// Suspended and deferred messages that wait for a person.
    pub waiting: usize,
    /// Queued messages whose target is not in the configuration any more.
    pub orphaned: usize,
    /// What the store says of it.
    pub report: String,
}

impl Production {
    /// Starts it: opens the store, recovers the queues, starts operations, processes, then
    /// services. Fails as a whole when the store or a service cannot start: a feed that nobody
    /// listens to must not look like a running production.
    pub async fn start(config: ProductionConfig, clock: Clock) -> Result<Arc<Self>, StartError> {
        let config = Arc::new(config);
        let (store, recovered) = open_store(&config, &clock).await?;
        let broker = Arc::new(Broker::new(
            store,
            clock.clone(),
            config.engine.body_cache_bytes,
        ));
        let items = config.items.iter().enumerate().map(|(place, item)| Item {
            place,
            id: broker.store.item(&item.name),
            stats: Arc::default(),
            stopping: CancellationToken::new(),
        });
        let items: Vec<Item> = items.collect();
        let recovered = requeue(&config, &broker, recovered);
        let mut production = Self {
            config,
            broker,
            items,
            recovered,
            services: parking_lot::Mutex::default(),
            workers: parking_lot::Mutex::default(),
            started_ms: clock.now_ms(),
            housekeeping: CancellationToken::new(),
        };
        let housekeeping = housekeeping::run(
            production.config.clone(),
            production.broker.clone(),
            production.housekeeping.clone(),
        );
        production
            .workers
            .get_mut()
            .push(tokio::spawn(housekeeping));
        for pass in ["Operation", "Process"] {
            production.start_workers(pass);
        }
        if let Err(error) = production.start_services().await {
            production.stop().await;
            return Err(error);
        }
        Ok(Arc::new(production))
    }

    /// The configuration of an item.
    pub fn item_config(&self, item: &Item) -> &ItemConfig {
        &self.config.items[item.place]
    }

    fn start_workers(&mut self, kind: &str) {
        for item in &self.items {
            let config = &self.config.items[item.place];
            if config.class.build.kind() != kind {
                continue;
            }
            let queue = self.broker.queue(item.id);
            if !config.enabled {
                item.stats.set_state(ItemState::Disabled);
                continue;
            }
            item.stats.set_state(ItemState::Starting);
            for _ in 0..config.pool_size {
                let job = Job {
                    config: self.config.clone(),
                    item: item.place,
                    ctx: HostContext {
                        name: config.name.as_str().into(),
                        broker: self.broker.clone(),
                        stats: item.stats.clone(),
                        stopping: item.stopping.clone(),
                        current: parking_lot::Mutex::default(),
                    },
                    queue: queue.clone(),
                    broker: self.broker.clone(),
                };
                self.workers.get_mut().push(tokio::spawn(job.run()));
            }
        }
    }

    async fn start_services(&mut self) -> Result<(), StartError> {
        for item in &self.items {
            let config = &self.config.items[item.place];
            let Build::Service(_) = config.class.build else {
                continue;
            };
            if !config.enabled {
                item.stats.set_state(ItemState::Disabled);
                continue;
            }
            item.stats.set_state(ItemState::Starting);
            let targets = config.settings.list("TargetConfigNames");
            let job = ServiceJob {
                config: self.config.clone(),
                item: item.place,
                ctx: ServiceContext {
                    name: config.name.as_str().into(),
                    item: item.id,
                    targets: targets
                        .iter()
                        .map(|name| self.broker.store.item(name))
                        .collect(),
                    broker: self.broker.clone(),
                    stats: item.stats.clone(),
                    stopping: item.stopping.clone(),
                    pool_size: config.pool_size,
                },
            };
            let service = job.start().await.map_err(|error| {
                item.stats.set_state(ItemState::Error);
                StartError::Item {
                    item: config.name.clone(),
                    error,
                }
            })?;
            self.services.get_mut().push(tokio::spawn(job.run(service)));
        }
        Ok(())
    }

    /// Stops gracefully: nothing more is accepted, what is in hand is finished or parked within
    /// `ShutdownTimeout`, the journal is closed. What is queued stays on disk for the next start.
    pub async fn stop(&self) {
        let is_service =
            |item: &&Item| matches!(self.item_config(item).class.build, Build::Service(_));
        self.halt(is_service);
        self.join(&self.services, "service").await;
        self.housekeeping.cancel();
        self.halt(|item| !is_service(item));
        self.join(&self.workers, "job").await;
        for item in &self.items {
            if item.stats.state() == ItemState::Stopping {
                item.stats.set_state(ItemState::Stopped);
            }
        }
        self.close().await;
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

    fn halt(&self, which: impl Fn(&&Item) -> bool) {
        for item in self.items.iter().filter(which) {
            if matches!(
                item.stats.state(),
                ItemState::Starting | ItemState::Running | ItemState::Error
            ) {
                item.stats.set_state(ItemState::Stopping);
            }
            item.stopping.cancel();
        }
    }

    /// Waits for tasks until `ShutdownTimeout`, then drops them: what they had in hand is
    /// unfinished in the log and comes again.
    async fn join(&self, tasks: &parking_lot::Mutex<Vec<JoinHandle<()>>>, what: &str) {
        let tasks = std::mem::take(&mut *tasks.lock());
        let aborts: Vec<_> = tasks.iter().map(JoinHandle::abort_handle).collect();
        let all = futures_util::future::join_all(tasks);
        if tokio::time::timeout(self.config.engine.shutdown_timeout, all)
            .await
            .is_err()
        {
            warn!(
                "a {what} did not stop within ShutdownTimeout and is cut off; what it had in hand comes again"
            );
            aborts.iter().for_each(tokio::task::AbortHandle::abort);
        }
    }

    /// Sends a stored message again: same body, new session linked to the old.
    pub async fn resend(&self, again: &Resend) -> Result<Accepted, HostError> {
        let target = &again.target;
        if self
            .config
            .item(target)
            .is_none_or(|item| matches!(item.class.build, Build::Service(_)))
        {
            let message = format!(
                "{target} is no process or operation of this production; name one with --target"
            );
            return Err(HostError::new("unknown-target", message));
        }
        let store = &self.broker.store;
        let (source, target) = (store.item(&again.source), store.item(target));
        let sent = self
            .broker
            .resend(source, target, again.content, again.id, again.body)
            .await;
        sent.map_err(|error| HostError::new(error.code(), error.to_string()))
    }
}

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

/// Puts what recovery brought back on its queues, in log order, and marks what may have been
/// delivered before a crash: each job had at most one message in hand, and a step that was lost
/// with the crash can have fed any job of any operation.
fn requeue(config: &ProductionConfig, broker: &Broker, recovered: Recovered) -> Recovery {
    let jobs_of = |kind: &str| {
        let items = config
            .items
            .iter()
            .filter(move |item| item.class.build.kind() == kind);
        items.map(|item| usize::from(item.pool_size)).sum::<usize>()
    };
    let out_jobs = jobs_of("Operation");
    let mut report = Recovery {
        report: in_words(&recovered.report),
        ..Recovery::default()
    };
    for live in recovered.live {
        if live.state == State::Queued || live.state == State::Created {
            report.queued += 1;
            broker.push(live, None);
        } else {
            report.waiting += 1;
        }
    }
    for (id, queue) in broker.queues() {
        match config.item(&broker.store.item_name(id)) {
            Some(item) => queue.mark_possible_duplicates(usize::from(item.pool_size) + out_jobs),
            None => report.orphaned += queue.len(),
        }
    }
    if report.orphaned > 0 {
        warn!(
            messages = report.orphaned,
            "messages are queued for items that this configuration does not have"
        );
    }
    report
}

/// What recovery did, in a line for the operator.
fn in_words(report: &hie_store::Report) -> String {
    let from = match (&report.checkpoint, &report.checkpoint_refused) {
        (Some(at), _) => format!("checkpoint at {at}"),
        (None, Some(why)) => format!("no checkpoint ({why})"),
        (None, None) => "no checkpoint".into(),
    };
    let tail = format!(
        "{} records ({} bytes) read behind it",
        report.tail_records, report.tail_bytes
    );
    let cut = report
        .journal
        .as_ref()
        .filter(|journal| journal.cut_at.is_some());
    let cut = cut.map(|journal| {
        let bytes = journal.cut_bytes;
        format!("; a torn tail of {bytes} bytes that was never acknowledged was cut")
    });
    format!("{from}, {tail}{}", cut.unwrap_or_default())
}
