//! Metrics: the engine's own counters in the OpenMetrics text format.
//!
//! Owns names, units and help texts. Counts nothing itself: each scrape reads what the engine
//! counted anyway.

use std::{
    fmt::{self, Error},
    fs,
    sync::Arc,
};

use hie_engine::{
    status::{ItemStatus, Status},
    workers::WorkerStatus,
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, NoLabelSet, text::encode},
    metrics::{MetricType, exemplar::Exemplar},
    registry::Registry,
};
use rustix::time::{ClockId, clock_gettime};

use crate::desk::Desk;

/// What the page is, for the HTTP header.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The page as it is now.
pub(crate) fn text(desk: &Arc<Desk>) -> Result<String, Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape(desk.clone())));
    let mut page = String::new();
    encode(&mut page, &registry)?;
    Ok(page)
}

#[derive(Debug)]
struct Scrape(Arc<Desk>);

/// A figure of an item: name, help, and where it is read.
type Figure = (&'static str, &'static str, fn(&ItemStatus) -> u64);

const COUNTERS: &[Figure] = &[
    (
        "hie_item_received_messages",
        "Messages that came in from outside",
        |item| item.received,
    ),
    (
        "hie_item_received_bytes",
        "Bytes of the messages that came in from outside",
        |item| item.received_bytes,
    ),
    (
        "hie_item_rejected_messages",
        "Messages answered negatively or recorded as bad",
        |item| item.rejected,
    ),
    (
        "hie_item_completed_messages",
        "Hops that ended Completed",
        |item| item.completed,
    ),
    (
        "hie_item_failed_messages",
        "Hops that ended in Error",
        |item| item.failed,
    ),
    (
        "hie_item_suspended_messages",
        "Hops that were set aside for a person",
        |item| item.suspended,
    ),
    (
        "hie_item_discarded_messages",
        "Hops that were discarded on purpose",
        |item| item.discarded,
    ),
    (
        "hie_item_retries",
        "Tries that were followed by another",
        |item| item.retries,
    ),
    (
        "hie_item_panics",
        "Panics of the host that were contained",
        |item| item.panics,
    ),
    (
        "hie_item_deferred_messages",
        "Messages whose response was deferred",
        |item| item.deferred,
    ),
    (
        "hie_item_timeouts",
        "Requests that were not answered in time",
        |item| item.timeouts,
    ),
    (
        "hie_item_deadlocks",
        "Waits that were refused because they would never have ended",
        |item| item.deadlocks,
    ),
    (
        "hie_item_loops",
        "Messages that went round until MaxHops",
        |item| item.loops,
    ),
    (
        "hie_item_restarts",
        "Starts of a host after another one of the item had failed",
        |item| item.restarts,
    ),
    (
        "hie_item_give_ups",
        "Times the item was given up after MaxRestarts",
        |item| item.give_ups,
    ),
    (
        "hie_item_queue_enqueued_messages",
        "Messages that came into the queue",
        |item| item.queue.stats.enqueued,
    ),
    (
        "hie_item_queue_dequeued_messages",
        "Messages that a job took from the queue",
        |item| item.queue.stats.dequeued,
    ),
    (
        "hie_item_queue_returned_messages",
        "Messages that a job gave back to the queue",
        |item| item.queue.stats.returned,
    ),
    (
        "hie_item_queue_dropped_messages",
        "Messages that were Discarded because the queue was full",
        |item| item.queue.stats.dropped,
    ),
    (
        "hie_item_queue_rejected_messages",
        "Messages that were refused because the queue was full",
        |item| item.queue.stats.rejected,
    ),
    (
        "hie_item_queue_blocked_messages",
        "Messages whose sender had to wait for room in the queue",
        |item| item.queue.stats.blocked,
    ),
    (
        "hie_item_queue_over_limit_messages",
        "Messages let past the limit because items waited for each other in a circle",
        |item| item.queue.stats.over_limit,
    ),
    (
        "hie_item_queue_wait_milliseconds",
        "Time that messages waited in the queue, summed up",
        |item| item.queue.stats.wait_sum_ms,
    ),
    (
        "hie_item_busy_microseconds",
        "Time spent in the host",
        |item| item.busy_us,
    ),
];

const GAUGES: &[Figure] = &[
    (
        "hie_item_queue_messages",
        "Messages that wait for the item",
        |item| item.queued as u64,
    ),
    (
        "hie_item_queue_high_water_messages",
        "Most messages that waited since the start",
        |item| item.queue_high_water as u64,
    ),
    (
        "hie_item_queue_oldest_seconds",
        "Age of the message at the head of the queue",
        |item| item.oldest_s.unwrap_or(0),
    ),
    (
        "hie_item_queue_limit_messages",
        "QueueSize; 0 is no limit",
        |item| item.queue.limit as u64,
    ),
    (
        "hie_item_queue_wait_p50_milliseconds",
        "Half of the messages waited no longer",
        |item| item.queue.stats.wait_p50_ms,
    ),
    (
        "hie_item_queue_wait_p99_milliseconds",
        "Of 100 messages 99 waited no longer",
        |item| item.queue.stats.wait_p99_ms,
    ),
    (
        "hie_item_queue_wait_max_milliseconds",
        "Longest wait of a message",
        |item| item.queue.stats.wait_max_ms,
    ),
    ("hie_item_connections", "Connections open now", |item| {
        item.connections
    }),
    (
        "hie_item_in_hand_messages",
        "Messages that jobs have taken and not ended yet",
        |item| item.in_hand,
    ),
    (
        "hie_item_last_error_timestamp_seconds",
        "When the last error was noted, in seconds since 1970; 0 for none",
        |item| item.last_error_ms.unwrap_or(0) / 1000,
    ),
    ("hie_item_health", "0 ok, 1 degraded, 2 failed", |item| {
        item.health.level as u64
    }),
    ("hie_item_jobs", "Configured jobs", |item| {
        u64::from(item.pool_size)
    }),
];

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let encoder = &mut encoder;
        process(encoder)?;
        gauge(
            encoder,
            "hie_ready",
            "1 if messages can come in and go out",
            u64::from(self.0.ready().is_ok()),
        )?;
        let Some(production) = self.0.production() else {
            return Ok(());
        };
        let status = production.status();
        let store = &production.broker.store;
        let trouble = store.log_trouble();
        let is = |code: &str| u64::from(trouble.as_ref().is_some_and(|error| error.code() == code));
        gauge(
            encoder,
            "hie_uptime_seconds",
            "Seconds since the start",
            status.uptime_s,
        )?;
        gauge(
            encoder,
            "hie_journal_bytes",
            "Bytes of the journal on the disk",
            status.journal_bytes,
        )?;
        gauge(
            encoder,
            "hie_journal_poisoned",
            "1 after a write or sync error: nothing is accepted until a restart",
            is("journal-poisoned"),
        )?;
        gauge(
            encoder,
            "hie_journal_disk_full",
            "1 while the disk's reserve is reached: nothing is accepted",
            is("disk-full"),
        )?;
        gauge(
            encoder,
            "hie_index_lag_bytes",
            "Bytes of the journal that the index has not read yet",
            status.index_lag_bytes,
        )?;
        gauge(
            encoder,
            "hie_index_in_trouble",
            "1 while search and trace do not work; messages flow all the same",
            u64::from(status.index_trouble.is_some()),
        )?;
        gauge(
            encoder,
            "hie_configuration_generation",
            "Which configuration is in force: 1 at the start, one more with each change",
            status.configuration.generation,
        )?;
        gauge(
            encoder,
            "hie_configuration_refused",
            "1 while the last attempt to change the configuration has failed",
            u64::from(status.configuration.refused.is_some()),
        )?;
        items(encoder, &status)
    }
}

/// The engine's process: its name and build, memory and processor time.
fn process(encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
    let labels = [("version", env!("CARGO_PKG_VERSION"))];
    let mut build = encoder.encode_descriptor(
        "hie_build_info",
        "The build of the engine",
        None,
        MetricType::Gauge,
    )?;
    build.encode_family(&labels)?.encode_gauge(&1u64)?;
    gauge(
        encoder,
        "process_resident_memory_bytes",
        "Memory in use",
        resident_bytes(),
    )?;
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = spent.tv_sec as f64 + spent.tv_nsec as f64 / 1e9;
    let mut cpu = encoder.encode_descriptor(
        "process_cpu_seconds",
        "Processor time spent",
        None,
        MetricType::Counter,
    )?;
    cpu.encode_counter(&seconds, NO_EXEMPLAR)
}

/// From `/proc`, where there is one; 0 elsewhere.
fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    amount: u64,
) -> Result<(), Error> {
    encoder
        .encode_descriptor(name, help, None, MetricType::Gauge)?
        .encode_gauge(&amount)
}

const NO_EXEMPLAR: Option<&Exemplar<NoLabelSet, u64>> = None;

fn items(encoder: &mut DescriptorEncoder<'_>, status: &Status) -> Result<(), Error> {
    for (figures, kind) in [(COUNTERS, MetricType::Counter), (GAUGES, MetricType::Gauge)] {
        for (name, help, read) in figures {
            let mut family = encoder.encode_descriptor(name, help, None, kind)?;
            for item in &status.items {
                let labels = [("item", item.name.as_str()), ("class", item.class)];
                let mut metric = family.encode_family(&labels)?;
                match kind {
                    MetricType::Counter => metric.encode_counter(&read(item), NO_EXEMPLAR)?,
                    _ => metric.encode_gauge(&read(item))?,
                }
            }
        }
    }
    workers(encoder, status)?;
    states(encoder, status)
}

/// A figure of a worker process: name, help, kind, and where it is read.
type WorkerFigure = (
    &'static str,
    &'static str,
    MetricType,
    fn(&WorkerStatus) -> f64,
);

#[allow(clippy::cast_precision_loss)] // counts and bytes of one process
const WORKER_FIGURES: &[WorkerFigure] = &[
    (
        "hie_worker_cpu_seconds",
        "Processor time that the worker process has used",
        MetricType::Counter,
        |worker| worker.cpu_ms as f64 / 1000.0,
    ),
    (
        "hie_worker_restarts",
        "Times that the worker was started again",
        MetricType::Counter,
        |worker| worker.restarts as f64,
    ),
    (
        "hie_worker_resident_bytes",
        "Memory in use by the worker process",
        MetricType::Gauge,
        |worker| worker.resident_bytes as f64,
    ),
    (
        "hie_worker_in_flight_messages",
        "Messages in the hands of the worker",
        MetricType::Gauge,
        |worker| worker.in_flight as f64,
    ),
    (
        "hie_worker_up",
        "1 while the worker process runs",
        MetricType::Gauge,
        |worker| f64::from(u8::from(worker.pid.is_some())),
    ),
];

fn workers(encoder: &mut DescriptorEncoder<'_>, status: &Status) -> fmt::Result {
    for (name, help, kind, read) in WORKER_FIGURES {
        let mut family = encoder.encode_descriptor(name, help, None, *kind)?;
        for item in &status.items {
            for worker in &item.workers {
                let number = worker.worker.to_string();
                let labels = [("item", item.name.as_str()), ("worker", number.as_str())];
                let mut metric = family.encode_family(&labels)?;
                match kind {
                    MetricType::Counter => metric.encode_counter(&read(worker), NO_EXEMPLAR)?,
                    _ => metric.encode_gauge(&read(worker))?,
                }
            }
        }
    }
    Ok(())
}

/// One series a state, 1 for the one the item is in: the form that alerts can be written on.
fn states(encoder: &mut DescriptorEncoder<'_>, status: &Status) -> fmt::Result {
    let mut family = encoder.encode_descriptor(
        "hie_item_state",
        "1 for the state the item is in",
        None,
        MetricType::Gauge,
    )?;
    for item in &status.items {
        let labels = [("item", item.name.as_str()), ("state", item.state.name())];
        family.encode_family(&labels)?.encode_gauge(&1u64)?;
    }
    Ok(())
}
