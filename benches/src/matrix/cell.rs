//! One cell: a mode and a pattern, at full flight and at the documented rate.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{MEMORY_MIB, Matrix, Pattern, text};
use crate::{
    Bench, Fault,
    child::{Sent, send},
    engine::Site,
    peer::Sending,
    procfs,
};

/// Connections of the latency figures.
const CONNECTIONS: usize = 64;

/// What one load on one production gave.
#[derive(Clone, Debug, Default)]
pub(crate) struct Load {
    pub(crate) sent: Sent,
    /// Processors in use, engine and workers together.
    pub(crate) cores: f64,
    /// Resident memory of the largest process in MiB, and how many there are.
    pub(crate) largest_mib: f64,
    pub(crate) processes: usize,
}

/// A mode and a pattern.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    pub(crate) mode: String,
    pub(crate) pattern: Pattern,
    pub(crate) full: Result<Load, String>,
    pub(crate) paced: Result<Load, String>,
}

impl Cell {
    /// Whether the documented targets hold: rate at full flight, percentiles at that rate, memory.
    pub(crate) fn met(&self) -> bool {
        let (Ok(full), Ok(paced)) = (&self.full, &self.paced) else {
            return false;
        };
        full.sent.per_second >= self.pattern.rate
            && paced.sent.latency_us.p50 / 1e3 < self.pattern.p50_ms
            && paced.sent.latency_us.p99 / 1e3 < self.pattern.p99_ms
            && full.largest_mib.max(paced.largest_mib) < MEMORY_MIB
    }

    /// For the one who waits for it.
    pub(crate) fn line(&self) -> String {
        let show = |load: &Result<Load, String>| match load {
            Ok(load) => format!(
                "{:.0}/s, p50 {:.2} p95 {:.2} p99 {:.2} ms, {:.2} cores, {:.0} MiB",
                load.sent.per_second,
                load.sent.latency_us.p50 / 1e3,
                load.sent.latency_us.p95 / 1e3,
                load.sent.latency_us.p99 / 1e3,
                load.cores,
                load.largest_mib
            ),
            Err(fault) => format!("FAILED: {fault}"),
        };
        format!(
            "in flight: {}; at {:.0}/s: {}",
            show(&self.full),
            self.pattern.rate,
            show(&self.paced)
        )
    }
}

pub(crate) fn measure(bench: &Bench, args: &Matrix, mode: &str, pattern: &Pattern) -> Cell {
    let full = |sending: Sending| sending.lasting(bench.warmup, seconds(args.seconds));
    let paced = |sending: Sending| {
        sending
            .lasting(bench.warmup, seconds(args.paced_seconds))
            .paced(pattern.rate)
    };
    let one = |connections, how: &dyn Fn(Sending) -> Sending| {
        load(bench, mode, pattern, connections, how).map_err(|error| error.to_string())
    };
    Cell {
        mode: mode.to_owned(),
        pattern: *pattern,
        full: one(args.in_flight, &full),
        paced: one(CONNECTIONS, &paced),
    }
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::from_secs(1))
}

fn load(
    bench: &Bench,
    mode: &str,
    pattern: &Pattern,
    connections: usize,
    how: &dyn Fn(Sending) -> Sending,
) -> Result<Load, Fault> {
    let site = Site::new(bench, "matrix", |port| {
        text::cell(port, mode, pattern.name, pattern.jobs)
    })?;
    let engine = site.start()?;
    let sending = how(Sending::closed(&site.addr(), connections));
    let sent = thread::scope(|scope| {
        let sender = scope.spawn(|| send(&sending));
        let used = watch(engine.pid(), || sender.is_finished());
        let sent = sender.join().map_err(|_| "the sender's thread died")?;
        Ok::<_, Fault>((sent?, used?))
    });
    let (sent, mut used) = sent?;
    engine.settle()?;
    engine.stop()?;
    let lost = site.lost(text::WORK, sent.acked())?;
    if let Some(fault) = lost.or_else(|| sent.fault().filter(|fault| !fault.contains("late"))) {
        return Err(fault.into());
    }
    used.sent = sent;
    Ok(used)
}

/// Looks at the engine and its children until `done`.
fn watch(pid: u32, done: impl Fn() -> bool) -> Result<Load, Fault> {
    let (began, before) = (Instant::now(), cpu_of_all(pid)?);
    let mut load = Load::default();
    while !done() {
        thread::sleep(Duration::from_millis(200));
        let family = procfs::family(pid);
        load.processes = load.processes.max(family.len());
        for member in family {
            // A worker that has just ended has no memory any more.
            let bytes = procfs::memory_bytes(member, "status", "VmRSS").unwrap_or(0);
            load.largest_mib = load.largest_mib.max(bytes as f64 / 1_048_576.0);
        }
    }
    let used = cpu_of_all(pid)?.saturating_sub(before);
    load.cores = used.as_secs_f64() / began.elapsed().as_secs_f64();
    Ok(load)
}

fn cpu_of_all(pid: u32) -> Result<Duration, Fault> {
    let own = procfs::cpu(pid)?;
    let children = procfs::family(pid).into_iter().filter(|&one| one != pid);
    Ok(own
        + children
            .filter_map(|child| procfs::cpu(child).ok())
            .sum::<Duration>())
}
