//! Figures of modes and queues: how fast a queue that lies ready is worked off, and what a long one
//! keeps in memory.
//!
//! The messages are taken in while the operation is disabled; then the engine starts anew with the
//! operation enabled, and the time counts from its first completed message to its last. Senders and
//! acknowledgements have no part in it.

use std::{
    fs,
    thread::sleep,
    time::{Duration, Instant},
};

use super::{Matrix, blocking, text};
use crate::{
    Bench, Fault,
    child::send,
    engine::{COUNTED, Site},
    peer::Sending,
    procfs,
};

/// A figure, its bound, and what it was made of.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    pub(crate) title: &'static str,
    pub(crate) must: f64,
    /// Whether the bound is the most that is allowed.
    pub(crate) at_most: bool,
    pub(crate) value: Result<f64, String>,
    pub(crate) parts: String,
    /// `%` or `/s`.
    pub(crate) unit: &'static str,
}

/// All of them; one that fails says why and the others go on.
pub(crate) fn figures(bench: &Bench, args: &Matrix) -> Vec<Figure> {
    let make = |title, must, unit, measured: Result<(f64, String), Fault>| {
        let (value, parts) = match measured {
            Ok((value, parts)) => (Ok(value), parts),
            Err(error) => (Err(error.to_string()), String::new()),
        };
        let figure = Figure {
            title,
            must,
            at_most: unit == "MiB",
            value,
            parts,
            unit,
        };
        eprintln!("{title}: {:?} {}", figure.value, figure.parts);
        figure
    };
    let mut figures = vec![
        make(
            "a Rust host in a worker process ÷ the same as tasks, 64 in flight",
            60.0,
            "%",
            multiprocess(bench, args),
        ),
        make(
            "a Python host in one worker process, 64 in flight",
            10_000.0,
            "/s",
            python(bench, args),
        ),
        make(
            "32 threads blocking 10 ms a message ÷ 3,200/s",
            95.0,
            "%",
            blocking::share(bench),
        ),
        make(
            "OrderBy with many keys ÷ unordered, 64 jobs",
            80.0,
            "%",
            ordered(bench, args),
        ),
    ];
    for (title, host) in LONG {
        figures.push(make(title, 200.0, "MiB", long(bench, args, host)));
    }
    figures
}

/// Queues of every type, by the settings that make them.
const LONG: [(&str, &str); 5] = [
    ("RSS, a long fifo", "QueueType: fifo"),
    ("RSS, a long priority queue", "QueueType: priority"),
    ("RSS, a long lifo", "QueueType: lifo"),
    ("RSS, a long unordered queue", "QueueType: unordered"),
    ("RSS, a long queue with OrderBy", "OrderBy: '{PID:3.1}'"),
];

/// Resident memory of an engine with a queue on which nobody works.
fn long(bench: &Bench, args: &Matrix, host: &str) -> Result<(f64, String), Fault> {
    let site = Site::new(bench, "long", |port| {
        text::standing(port, "DiscardOperation", 1, host, false)
    })?;
    let engine = site.start()?;
    let mut sending = Sending::closed(&site.addr(), 64).counting(args.queued);
    sending.varied = true;
    let sent = send(&sending)?;
    engine.settle()?;
    let bytes = procfs::memory_bytes(engine.pid(), "status", "VmRSS")?;
    engine.stop()?;
    let mib = bytes as f64 / 1_048_576.0;
    Ok((mib, format!("{} messages waiting", sent.acked())))
}

fn multiprocess(bench: &Bench, args: &Matrix) -> Result<(f64, String), Fault> {
    let tasks = rate(bench, args, "DiscardOperation", "ExecutionMode: async")?;
    let processes = rate(
        bench,
        args,
        "DiscardOperation",
        "ExecutionMode: multiprocess",
    )?;
    Ok((
        100.0 * processes / tasks,
        format!("worker process {processes:.0}/s · tasks {tasks:.0}/s"),
    ))
}

fn ordered(bench: &Bench, args: &Matrix) -> Result<(f64, String), Fault> {
    let unordered = rate(bench, args, "DiscardOperation", "QueueType: unordered")?;
    let ordered = rate(bench, args, "DiscardOperation", "OrderBy: '{PID:3.1}'")?;
    Ok((
        100.0 * ordered / unordered,
        format!("by key {ordered:.0}/s · unordered {unordered:.0}/s"),
    ))
}

fn python(bench: &Bench, args: &Matrix) -> Result<(f64, String), Fault> {
    let rate = rate(bench, args, "custom.bench.trivial.Trivial", "")?;
    Ok((rate, format!("{rate:.0}/s")))
}

/// A Python operation that does nothing.
const TRIVIAL: &str = "from hie import BusinessOperation\n\n\nclass Trivial(BusinessOperation):\n    \"\"\"Takes every message and does nothing.\"\"\"\n\n    def on_message(self, message):\n        return None\n";

/// Messages a second of a 64-job operation over a queue that lies ready.
fn rate(bench: &Bench, args: &Matrix, class: &str, host: &str) -> Result<f64, Fault> {
    let with = |enabled| move |port| text::standing(port, class, 64, host, enabled);
    let site = Site::new(bench, "drain", with(false))?;
    let module = site.folder.join("python/custom/bench");
    fs::create_dir_all(&module)?;
    fs::write(module.join("trivial.py"), TRIVIAL)?;
    let engine = site.start()?;
    let mut sending = Sending::closed(&site.addr(), 64).counting(args.drained);
    sending.varied = true;
    let sent = send(&sending)?;
    engine.settle()?;
    engine.stop()?;
    fs::write(site.config(), with(true)(site.port))?;
    let engine = site.launch()?;
    let rate = drained(bench, &site, sent.acked());
    engine.settle()?;
    engine.stop()?;
    if let Some(lost) = site.lost(COUNTED, sent.acked())? {
        return Err(lost.into());
    }
    rate
}

/// Asks the engine until everything is completed. The first tenth and the last are not counted.
fn drained(bench: &Bench, site: &Site, all: u64) -> Result<f64, Fault> {
    let (first, last) = (all / 10, all - all / 10);
    let (mut begin, mut moved) = (None, Instant::now());
    loop {
        let done = site.completed().unwrap_or(0); // not started yet
        let now = Instant::now();
        match begin {
            None if done > first => begin = Some((done, now)),
            Some((from, at)) if done >= last => {
                return Ok((done - from) as f64 / (now - at).as_secs_f64());
            }
            _ => {}
        }
        if done > 0 {
            moved = now;
        }
        if moved.elapsed() > bench.patience {
            return Err("nothing was worked off".into());
        }
        sleep(Duration::from_millis(20));
    }
}
