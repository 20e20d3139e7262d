//! A production: items built from a checked configuration, started, watched and stopped.
//!
//! Owns start order (operations, processes, services), recovery of the queues, the graceful stop,
//! and what an operator sees of it ([`Status`]). Restart policies and reload will enter here.

use std::sync::Arc;

use hie_store::{BodyRef, Content, MessageId, Recovered, State, Store, StoreError, StoreOptions};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    HostError,
    broker::{Accepted, Broker},
    clock::Clock,
    config::{ItemConfig, ProductionConfig},
    housekeeping,
    item::{Item, World},
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

/// A running production.
pub struct Production {
    config: Arc<ProductionConfig>,
    /// Its broker, and through it its store.
    pub broker: Arc<Broker>,
    items: Vec<Arc<Item>>,
    /// What recovery found.
    pub recovered: Recovery,
    pub(crate) started_ms: u64,
    housekeeping: CancellationToken,
    workers: Option<Arc<dyn Workers>>,
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
        Self::start_with(config, clock, None).await
    }

    /// The same with somebody who runs worker processes, for items in mode `multiprocess`.
    pub async fn start_with(
        config: ProductionConfig,
        clock: Clock,
        workers: Option<Arc<dyn Workers>>,
    ) -> Result<Arc<Self>, StartError> {
        let config = Arc::new(config);
        let (store, recovered) = open_store(&config, &clock).await?;
        let broker = Arc::new(Broker::new(
            store,
            clock.clone(),
            config.engine.body_cache_bytes,
        ));
        let recovered = requeue(&config, &broker, recovered);
        let item = |item: &Arc<ItemConfig>| {
            let id = broker.store.item(&item.name);
            Arc::new(Item::new(item.clone(), id, Arc::default()))
        };
        let items: Vec<Arc<Item>> = config.items.iter().map(item).collect();
        let production = Self {
            config,
            broker,
            items,
            recovered,
            started_ms: clock.now_ms(),
            housekeeping: CancellationToken::new(),
            workers,
        };
        production.tell_targets();
        tokio::spawn(housekeeping::run(
            production.config.clone(),
            production.broker.clone(),
            production.housekeeping.clone(),
        ));
        if let Err(error) = production.start_items().await {
            production.stop().await;
            return Err(error);
        }
        Ok(Arc::new(production))
    }

    /// What it was built from.
    pub fn config(&self) -> Arc<ProductionConfig> {
        self.config.clone()
    }

    /// Its items, in the order of the configuration.
    pub fn items(&self) -> Vec<Arc<Item>> {
        self.items.clone()
    }

    fn tell_targets(&self) {
        let receivers = self.items.iter().filter(|item| !item.is_service());
        let named = receivers.map(|item| (item.config.name.clone(), item.id));
        self.broker.set_targets(named.collect());
    }

    /// Operations, processes, then services: nothing comes in before it can go on.
    async fn start_items(&self) -> Result<(), StartError> {
        let world = World {
            config: self.config.clone(),
            broker: self.broker.clone(),
            workers: self.workers.clone(),
        };
        for kind in ["Operation", "Process", "Service"] {
            for item in self.items.iter().filter(|item| item.kind() == kind) {
                item.start(&world).await.map_err(|error| StartError::Item {
                    item: item.config.name.clone(),
                    error,
                })?;
            }
        }
        Ok(())
    }

    /// Stops gracefully: nothing more is accepted, what is in hand is finished or parked within
    /// `ShutdownTimeout`, the journal is closed. What is queued stays on disk for the next start.
    pub async fn stop(&self) {
        let (services, others): (Vec<_>, Vec<_>) =
            self.items().into_iter().partition(|item| item.is_service());
        self.stop_items(&services).await;
        self.housekeeping.cancel();
        self.stop_items(&others).await;
        self.close().await;
    }

    /// Stops items together, within `ShutdownTimeout`.
    async fn stop_items(&self, items: &[Arc<Item>]) {
        let deadline = Instant::now() + self.config.engine.shutdown_timeout;
        items.iter().for_each(|item| item.halt());
        futures_util::future::join_all(items.iter().map(|item| item.join(deadline))).await;
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
        items.map(|item| item.jobs()).sum::<usize>()
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
            Some(item) => queue.mark_possible_duplicates(item.jobs() + out_jobs),
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
