//! `hie-bench matrix`: the four execution modes times the four messaging patterns, and the four
//! figures that modes and queues have of their own. Its page is `docs/benchmarks-concurrency.md`.
//!
//! A cell is measured twice. With 10,000 messages in flight (as many connections that each wait for
//! their answer) the figure is the rate: what waits that long is told by the rate, not by a
//! percentile. At the documented rate of the pattern, over 64 connections at equal distances, the
//! figures are the percentiles. Beside both stand processor time and the memory of each process.

mod blocking;
mod cell;
mod drain;
mod page;
mod text;

use std::path::PathBuf;

use clap::Args;

use crate::{Bench, Fault, machine::Machine};

/// Options of `hie-bench matrix`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Matrix {
    /// Seconds of each rate with everything in flight
    #[arg(long = "cell-seconds", default_value_t = 60.0)]
    seconds: f64,
    /// Seconds of each latency at the documented rate
    #[arg(long, default_value_t = 15.0)]
    paced_seconds: f64,
    /// Messages in flight: connections that each wait for their answer
    #[arg(long, default_value_t = 10_000)]
    in_flight: usize,
    /// Messages that lie ready in the figures that drain a queue
    #[arg(long, default_value_t = 100_000)]
    drained: u64,
    /// Messages that wait in the figures of memory
    #[arg(long = "long-queue", default_value_t = 1_000_000)]
    queued: u64,
    /// Only these modes
    #[arg(long, value_delimiter = ',')]
    modes: Vec<String>,
    /// Only these patterns
    #[arg(long, value_delimiter = ',')]
    patterns: Vec<String>,
    /// Leave the cells out and take the figures of modes and queues only
    #[arg(long)]
    no_cells: bool,
    /// Write the page to this file
    #[arg(long = "page", value_name = "FILE")]
    write: Option<PathBuf>,
}

/// The execution modes, in the order of the page.
const MODES: &[&str] = &["async", "thread_pool", "multiprocess", "single_process"];

/// A messaging pattern with what the design documents of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pattern {
    pub(crate) name: &'static str,
    /// Jobs, as in the design's example.
    pub(crate) jobs: usize,
    /// Messages a second.
    pub(crate) rate: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

/// The patterns with their documented targets.
const PATTERNS: &[Pattern] = &[
    Pattern {
        name: "async_reliable",
        jobs: 8,
        rate: 5000.0,
        p50_ms: 10.0,
        p99_ms: 50.0,
    },
    Pattern {
        name: "sync_reliable",
        jobs: 4,
        rate: 1000.0,
        p50_ms: 100.0,
        p99_ms: 500.0,
    },
    Pattern {
        name: "concurrent_async",
        jobs: 16,
        rate: 10_000.0,
        p50_ms: 5.0,
        p99_ms: 20.0,
    },
    Pattern {
        name: "concurrent_sync",
        jobs: 32,
        rate: 3000.0,
        p50_ms: 50.0,
        p99_ms: 200.0,
    },
];

/// Documented for each process.
const MEMORY_MIB: f64 = 500.0;

/// Measures, prints and, if asked, writes.
pub(crate) fn run(bench: &Bench, root: &std::path::Path, args: &Matrix) -> Result<(), Fault> {
    let machine = Machine::here(root, &bench.work);
    let chosen = |names: &[String], name: &str| names.is_empty() || names.iter().any(|n| n == name);
    let mut cells = Vec::new();
    for pattern in PATTERNS.iter().filter(|p| chosen(&args.patterns, p.name)) {
        for mode in MODES.iter().filter(|m| chosen(&args.modes, m)) {
            if args.no_cells {
                continue;
            }
            let cell = cell::measure(bench, args, mode, pattern);
            eprintln!("{mode} × {}: {}", pattern.name, cell.line());
            cells.push(cell);
        }
    }
    let figures = drain::figures(bench, args);
    let text = page::page(&machine, &cells, &figures);
    crate::peer::say(&text)?;
    if let Some(path) = &args.write {
        std::fs::write(path, page::whole(root, &machine, &cells, &figures)?)?;
    }
    Ok(())
}
