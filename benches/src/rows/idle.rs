//! What a large production costs when nothing comes.

use std::{thread::sleep, time::Instant};

use crate::{
    Bench, Fault,
    engine::{Site, free_port},
    figure::Sample,
    procfs, production,
};

const ITEMS: usize = 100;

/// Half of the items listen, half would send; nobody connects. Time of all threads on a processor.
pub(super) fn run(bench: &Bench) -> Result<Sample, Fault> {
    let closed = free_port()?;
    let site = Site::new(bench, "idle", |port| production::wide(port, ITEMS, closed))?;
    let engine = site.start()?;
    engine.settle()?;
    sleep(bench.warmup);
    let (before, ticks_before) = (
        procfs::Threads::of(engine.pid())?.all(),
        procfs::cpu(engine.pid())?,
    );
    let began = Instant::now();
    sleep(bench.idle);
    let used = procfs::Threads::of(engine.pid())?
        .all()
        .saturating_sub(before);
    let ticks = procfs::cpu(engine.pid())?.saturating_sub(ticks_before);
    let seconds = began.elapsed().as_secs_f64();
    engine.stop()?;
    Ok(Sample::new(used.as_secs_f64() / seconds)
        .with("CPU ms", used.as_secs_f64() * 1e3)
        .with("by ticks ms", ticks.as_secs_f64() * 1e3)
        .with("seconds", seconds))
}
