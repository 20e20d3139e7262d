//! Allocations a message: all threads of an engine while messages come in, less the index's.

use crate::{
    Bench, Fault,
    child::{Peer, send},
    engine::{Site, free_port},
    figure::Sample,
    peer::Sending,
    procfs, production,
};

/// Messages at one connection, where each is a batch of its own.
const ALONE: u64 = 10_000;

/// Counted: reading, parsing, the record, the journal, the ACK and putting on the queue; the
/// receiver is down, so nothing is delivered. The rebuild of the index from the same log is counted
/// apart and taken off: that work is behind the ACK, on a thread of its own.
pub(super) fn run(bench: &Bench) -> Result<Sample, Fault> {
    let closed = free_port()?;
    let site = Site::new(bench, "allocations", |port| {
        production::direct(port, closed)
    })?;
    let config = site.config();
    let mut engine = Peer::start(&["counted", &config.to_string_lossy()])?;
    let mut all = 0;
    let mut take = |engine: &mut Peer, connections: usize, count: u64| {
        let before = engine.ask_number("count")?;
        let sent = send(&Sending::closed(&site.addr(), connections).counting(count))?;
        procfs::settle(engine.pid(), bench.patience)?;
        all += count;
        let each = (engine.ask_number("count")? - before) / count as f64;
        Ok::<_, Fault>((each, sent.fault()))
    };
    take(&mut engine, 64, ALONE)?; // buffers grow to their size
    let (alone, fault) = take(&mut engine, 1, ALONE)?;
    let (each, fault64) = take(&mut engine, 64, bench.counted)?;
    let index = engine.ask_number("index")? / all as f64;
    Ok(Sample::new((each - index).max(0.0))
        .with("all threads", each)
        .with("index", index)
        .with("one connection, less index", alone - index)
        .with("messages", bench.counted as f64)
        .void_if(fault)
        .void_if(fault64))
}
