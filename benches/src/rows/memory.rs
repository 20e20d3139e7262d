//! Resident memory: at rest, and with a queue that cannot move because its receiver is down.

use crate::{
    Bench, Fault,
    child::send,
    engine::{Engine, Site, free_port},
    figure::Sample,
    peer::Sending,
    procfs, production,
};

const MIB: f64 = (1 << 20) as f64;

fn site(bench: &Bench) -> Result<Site, Fault> {
    let closed = free_port()?; // nobody listens there
    Site::new(bench, "memory", |port| {
        production::routed(port, closed, bench.router_pool, 1)
    })
}

/// The resident set now, in MiB, and what of it is heap and stacks.
fn resident(engine: &Engine<'_>) -> Result<Sample, Fault> {
    let of =
        |file, key| Ok::<_, Fault>(procfs::memory_bytes(engine.pid(), file, key)? as f64 / MIB);
    Ok(Sample::new(of("status", "VmRSS")?)
        .with("anonymous MiB", of("status", "RssAnon")?)
        .with("proportional (Pss) MiB", of("smaps_rollup", "Pss")?)
        .with("peak MiB", of("status", "VmHWM")?))
}

/// Service, router, operation; nothing has come yet.
pub(super) fn idle(bench: &Bench) -> Result<Sample, Fault> {
    let site = site(bench)?;
    let engine = site.start()?;
    engine.settle()?;
    let sample = resident(&engine)?;
    engine.stop()?;
    Ok(sample)
}

/// The same with messages of 700 bytes waiting at the operation.
pub(super) fn queued(bench: &Bench) -> Result<Sample, Fault> {
    let site = site(bench)?;
    let engine = site.start()?;
    let before = resident(&engine)?.value;
    let sent = send(&Sending::closed(&site.addr(), 64).counting(bench.queued))?;
    let settled = engine.settle()?;
    let sample = resident(&engine)?;
    engine.stop()?;
    let lost = site.lost(production::TARGET, sent.acked())?;
    Ok(sample
        .with("messages queued", sent.acked() as f64)
        .with("before MiB", before)
        .with("ACKs/s while filling", sent.per_second)
        .with("index level after s", settled.as_secs_f64())
        .void_if(sent.fault())
        .void_if(lost)
        .void_if(
            (bench.queued < 1_000_000).then(|| "a short run: fewer than 1 M messages".to_owned()),
        ))
}
