//! Housekeeping: what a production does beside its messages, so far retention.
//!
//! Owns when it runs and how the configuration becomes a policy; what may leave is decided by
//! `hie-store`.

use std::{sync::Arc, time::Duration};

use hie_store::{Keep, RetentionPolicy};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{broker::Broker, config::ProductionConfig, production::Current};

/// How often retention runs. It frees whole segments, so more often would find nothing.
const EVERY: Duration = Duration::from_secs(60);

/// Runs until the production stops.
pub(crate) async fn run(config: Current, broker: Arc<Broker>, stopping: CancellationToken) {
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        let policy = policy(&config.read());
        let (store, now_ms) = (broker.store.clone(), broker.clock.now_ms());
        let retained = tokio::task::spawn_blocking(move || store.retain(&policy, now_ms)).await;
        match retained {
            Ok(Ok(report)) if report.segments > 0 || report.headers > 0 => info!(
                segments = report.segments,
                bytes = report.bytes,
                headers = report.headers,
                moved = report.moved,
                "retention let old messages go"
            ),
            Ok(Ok(_)) => {}
            Ok(Err(error)) => warn!(code = error.code(), "retention did not run: {error}"),
            Err(_) => warn!("retention panicked; it runs again in a minute"),
        }
    }
}

/// What the configuration says of keeping, by item.
fn policy(config: &ProductionConfig) -> RetentionPolicy {
    let keep = |age: Option<Duration>, max_bytes| Keep {
        max_age_ms: age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
        max_bytes,
    };
    let own = config
        .items
        .iter()
        .filter(|item| item.retention_age.is_some() || item.retention_bytes.is_some());
    RetentionPolicy {
        default: keep(config.engine.retention_age, config.engine.retention_bytes),
        items: own
            .map(|item| {
                let age = item.retention_age.or(config.engine.retention_age);
                (item.name.clone(), keep(age, item.retention_bytes))
            })
            .collect(),
    }
}
