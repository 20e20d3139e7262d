//! A host that blocks, on threads of its own: the engine in this process, with one class more.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread::sleep,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use hie_engine::{
    HostContext, HostError, Production,
    class::{Build, Class, Registry},
    clock::Clock,
    config,
    host::{BusinessOperation, Message, Outcome},
};

use super::text;
use crate::{Bench, Fault, child::send, engine::free_port, peer::Sending};

/// Threads, and how long each message blocks one.
const THREADS: usize = 32;
const BLOCKS: Duration = Duration::from_millis(10);

static DONE: AtomicU64 = AtomicU64::new(0);

static BLOCKING: Class = Class {
    name: "BlockingOperation",
    aliases: &[],
    summary: "Blocks its thread for 10 ms.",
    settings: &[],
    build: Build::Operation(|_, _| Ok(Box::new(Blocking))),
    check: |_, _| Vec::new(),
};

static REGISTRY: Registry = Registry::new(&[&hie_hosts::hl7::tcp_service::CLASS, &BLOCKING]);

struct Blocking;

#[async_trait]
impl BusinessOperation for Blocking {
    async fn on_message(&mut self, _: &HostContext, _: &Message) -> Result<Outcome, HostError> {
        sleep(BLOCKS);
        DONE.fetch_add(1, Ordering::Relaxed);
        Ok(Outcome::completed())
    }
}

/// The rate of 32 blocked threads as a percentage of what 32 threads can do.
pub(crate) fn share(bench: &Bench) -> Result<(f64, String), Fault> {
    let folder = bench.folder("blocking");
    std::fs::create_dir_all(&folder)?;
    let file = folder.join("production.yaml");
    let port = free_port()?;
    let host = "ExecutionMode: thread_pool";
    let yaml = text::standing(port, "BlockingOperation", THREADS, host, true).replace(
        "DataPath: data",
        &format!("DataPath: {}", folder.join("data").display()),
    );
    std::fs::write(&file, yaml)?;
    let read = config::load(&file, &REGISTRY, &|_| None);
    let config = read.map_err(|errors| format!("{errors:?}"))?;
    let runtime = tokio::runtime::Runtime::new()?;
    let production = runtime.block_on(Production::start(config, Clock::system()))?;
    let ideal = THREADS as f64 / BLOCKS.as_secs_f64();
    let enough = (ideal * 10.0) as u64;
    send(&Sending::closed(&format!("127.0.0.1:{port}"), 64).counting(enough))?;
    let (from, began) = (DONE.load(Ordering::Relaxed), Instant::now());
    sleep(Duration::from_secs(3));
    let rate = (DONE.load(Ordering::Relaxed) - from) as f64 / began.elapsed().as_secs_f64();
    runtime.block_on(production.stop());
    Ok((
        100.0 * rate / ideal,
        format!(
            "{rate:.0}/s · {THREADS} threads, {} ms each",
            BLOCKS.as_millis()
        ),
    ))
}
