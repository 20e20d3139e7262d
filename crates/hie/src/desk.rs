//! The desk of a running engine: what the control socket and the metrics page ask.
//!
//! Owns the facts of the process (where its data and metrics are, whether it is starting or
//! stopping) beside the production. Changes nothing.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use hie_engine::Production;
use serde_json::Value;

use crate::{
    control::protocol::{QueueRow, Status, value},
    exit::Failure,
    query,
};

/// See the module.
pub(crate) struct Desk {
    /// The data folder, absolute.
    pub(crate) data: PathBuf,
    /// Where metrics are served.
    pub(crate) metrics: Option<SocketAddr>,
    production: OnceLock<Arc<Production>>,
    stopping: AtomicBool,
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk")
            .field("data", &self.data)
            .finish_non_exhaustive()
    }
}

impl Desk {
    pub(crate) fn new(data: PathBuf, metrics: Option<SocketAddr>) -> Arc<Self> {
        Arc::new(Self {
            data,
            metrics,
            production: OnceLock::new(),
            stopping: AtomicBool::new(false),
        })
    }

    /// The production has started.
    pub(crate) fn open(&self, production: &Arc<Production>) {
        let _ = self.production.set(production.clone()); // once a process
    }

    /// A stop began.
    pub(crate) fn closing(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// The production; none while it starts.
    pub(crate) fn production(&self) -> Option<&Arc<Production>> {
        self.production.get()
    }

    /// Whether messages can come in and go out, and if not, why.
    pub(crate) fn ready(&self) -> Result<(), Vec<String>> {
        if self.stopping.load(Ordering::Acquire) {
            return Err(vec!["the engine is stopping".into()]);
        }
        match self.production() {
            Some(production) => production.ready(),
            None => Err(vec![
                "the engine is starting: it recovers its queues from the journal".into(),
            ]),
        }
    }

    /// All that is known now: the production's own status and the facts of the process.
    pub(crate) fn status(&self) -> Result<Value, Failure> {
        let reasons = self.ready().err().unwrap_or_default();
        let facts = Status {
            running: true,
            version: env!("CARGO_PKG_VERSION").into(),
            pid: Some(std::process::id()),
            data: self.data.display().to_string(),
            metrics: self
                .metrics
                .map(|address| format!("http://{address}/metrics")),
            ready: reasons.is_empty(),
            reasons,
            ..Status::default()
        };
        let mut facts = value(&facts)?;
        let Some(production) = self.production() else {
            return Ok(facts);
        };
        let own = value(&production.status())?;
        if let (Value::Object(facts), Value::Object(own)) = (&mut facts, own) {
            facts.extend(own);
        }
        Ok(facts)
    }

    /// What waits, one row an item that can have a queue (blocking).
    pub(crate) fn queues(&self) -> Result<Vec<QueueRow>, Failure> {
        let Some(production) = self.production() else {
            return Ok(Vec::new());
        };
        let status = production.status();
        // The index may be in trouble; the queues do not need it.
        let states = query::states_by_item(&production.broker.store).unwrap_or_default();
        let kept = |item: &str, names: &[&str]| {
            let of_item = states.get(item);
            names
                .iter()
                .filter_map(|name| of_item?.get(name))
                .sum::<u64>()
        };
        let row = |item: &str| QueueRow {
            item: item.to_owned(),
            suspended: kept(item, &["Suspended", "Deferred"]),
            errors: kept(item, &["Error"]),
            ..QueueRow::default()
        };
        let with_queue = status.items.iter().map(|item| QueueRow {
            state: item.state.name().to_owned(),
            queued: item.queued as u64,
            oldest_s: item.oldest_s,
            high_water: item.queue_high_water as u64,
            limit: item.queue.limit as u64,
            dropped: item.queue.stats.dropped,
            rejected: item.queue.stats.rejected,
            wait_p99_ms: item.queue.stats.wait_p99_ms,
            trying: item.trying.clone(),
            ..row(&item.name)
        });
        let with_queue = with_queue.zip(&status.items).filter(|(row, item)| {
            item.kind != "Service" || row.queued + row.suspended + row.errors > 0
        });
        let mut rows: Vec<QueueRow> = with_queue.map(|(row, _)| row).collect();
        rows.extend(status.orphans.iter().map(|(item, queued)| QueueRow {
            queued: *queued as u64,
            orphaned: true,
            ..row(item)
        }));
        Ok(rows)
    }
}
