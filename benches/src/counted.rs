//! Counting allocations: the engine in this process, under an allocator that counts.
//!
//! What the index costs is taken apart afterwards: it is deleted and rebuilt from the log with
//! nothing else running, and what that allocates is the index's.

use std::{alloc::System, io::BufRead, path::Path, time::Duration};

use hie_engine::{Production, clock::Clock, config};
use hie_store::{Store, StoreOptions};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

use crate::{Fault, peer::say};

/// The system's allocator, not the engine's: what is asked for is the same, and only that is counted.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Allocations and enlargements so far, of all threads. SQLite's own are in C and not among them.
fn allocations() -> usize {
    let stats = ALLOCATOR.stats();
    stats.allocations + stats.reallocations
}

/// Runs a production; answers each line `count` with the allocations so far, and `index` by
/// stopping, rebuilding the index, and telling what that allocated.
pub(crate) fn run(runtime: &tokio::runtime::Runtime, file: &Path) -> Result<(), Fault> {
    let read = config::load(file, &hie_hosts::REGISTRY, &|_| None);
    let config = read.map_err(|errors| format!("{}: {errors:?}", file.display()))?;
    let data = config.engine.data_path.clone();
    let production = runtime.block_on(Production::start(config, Clock::system()))?;
    say("running")?;
    for line in std::io::stdin().lock().lines() {
        match line?.as_str() {
            "count" => say(&allocations().to_string())?,
            "index" => {
                runtime.block_on(production.stop());
                say(&rebuild(&data)?.to_string())?;
            }
            other => return Err(format!("no question of ours: {other}").into()),
        }
    }
    Ok(())
}

fn rebuild(data: &Path) -> Result<usize, Fault> {
    for name in ["index.db", "index.db-wal", "index.db-shm"] {
        let _ = std::fs::remove_file(data.join(name)); // SQLite may have removed it itself
    }
    let before = allocations();
    let (store, recovered) = Store::open(data, StoreOptions::default(), 0)?;
    drop(recovered);
    let opened = allocations();
    store.catch_up(Duration::from_secs(300))?;
    let after = allocations();
    store.close()?;
    // Opening allocates for the queues it recovers; that is no matter of the index. What the tail
    // thread did meanwhile is lost to it, which makes the ACK path look dearer, not cheaper.
    debug_assert!(opened >= before);
    Ok(after - opened)
}
