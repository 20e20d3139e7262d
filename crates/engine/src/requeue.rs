//! The queues at the start: what recovery found goes back to where it stood.
//!
//! Owns the plans of the queues (from the settings), the order in which they are filled again, and
//! which messages are marked as possibly delivered before a crash.

use std::{collections::HashMap, sync::Arc};

use hie_store::{ItemId, Recovered, State};
use tracing::warn;

use crate::{
    broker::Broker,
    class::Build,
    config::{ItemConfig, ProductionConfig},
    pattern,
    queue::Plan,
};

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

/// Gives each queue its plan and puts back on it what recovery found. On a thread that may block:
/// an order per key reads every body that waits.
pub(crate) async fn requeue(
    config: &Arc<ProductionConfig>,
    broker: &Arc<Broker>,
    recovered: Recovered,
) -> Recovery {
    let (config, broker) = (config.clone(), broker.clone());
    let filled = tokio::task::spawn_blocking(move || fill(&config, &broker, recovered)).await;
    filled.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()))
}

fn fill(config: &ProductionConfig, broker: &Broker, recovered: Recovered) -> Recovery {
    let mut doubtful = doubtful(config, broker);
    let mut report = Recovery {
        report: in_words(&recovered.report),
        ..Recovery::default()
    };
    for mut live in recovered.live {
        if live.state != State::Queued && live.state != State::Created {
            report.waiting += 1;
            let item = config.item(&broker.store.item_name(live.target));
            if let Some(item) = item.filter(|_| live.state == State::Deferred) {
                broker.deferrals.recovered(live, pattern::timeout(item));
            }
            continue;
        }
        report.queued += 1;
        match doubtful.get_mut(&live.target) {
            Some(0) => {}
            Some(left) => {
                *left -= 1;
                live.possible_duplicate = true;
            }
            None => report.orphaned += 1,
        }
        broker.restore(live);
    }
    if report.orphaned > 0 {
        warn!(
            messages = report.orphaned,
            "messages are queued for items that this configuration does not have"
        );
    }
    report
}

/// How many of the first messages of each queue may have been delivered before a crash. A job of an
/// operation had at most one message whose end was not on the disk; where the order is not that of
/// the log, it can stand anywhere. A process does not wait for the disk (ADR 006): any number of its
/// steps can be lost, those between two deliveries by sending elsewhere or nowhere, so no place in
/// its queue is free of doubt.
fn doubtful(config: &ProductionConfig, broker: &Broker) -> HashMap<ItemId, usize> {
    let has_queue = |item: &&Arc<ItemConfig>| !matches!(item.class.build, Build::Service(_));
    let with_queue = config.items.iter().filter(has_queue);
    with_queue
        .map(|item| {
            let (id, plan) = (broker.store.item(&item.name), Plan::of(item));
            let is_out = matches!(item.class.build, Build::Operation(_));
            let doubtful = match is_out && plan.is_strictly_fifo() {
                true => item.jobs(),
                false => usize::MAX,
            };
            broker.set_plan(id, plan, item.jobs());
            (id, doubtful)
        })
        .collect()
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
