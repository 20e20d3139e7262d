//! The chaos test: a production that uses every execution mode, messaging pattern and queue type,
//! under load, whose worker processes and whose engine are killed at random moments.
//!
//! The ledger is kept here, outside the engine, for each feed at each destination. After the last
//! restart and a drain it must say: nothing that was acknowledged is missing, bytes are equal, the
//! order is the one that each queue promises, and what came twice is explained by a kill and marked
//! in the trace. Between the kills each new engine must find a world without workers of the old one.
//!
//! `HIE_CHAOS_WORKERS` and `HIE_CHAOS_ENGINE` set the number of kills (12 and 6; the full run has 100
//! and 50), `HIE_CHAOS_SEED` repeats a run's choices, `HIE_CHAOS_RATE` is the load: messages a second of
//! the slowest feeds.

// A test may end so, and its figures are for who reads it.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[path = "../common/mod.rs"]
mod common;

mod account;
mod processes;
mod production;

use std::{
    collections::BTreeMap,
    net::{SocketAddr, TcpStream},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use common::{Engine, PATIENCE, Place, eventually};
use hie_load::{
    ledger::Sent,
    message::{Kind, Template},
    sender::{self, Arrivals, Load, Outcome, Pace, Progress, Reconnect},
};
use processes::Worker;
use production::{DESTINATIONS, FEEDS, Feed, Order, World};
use tokio::{runtime::Runtime, task::JoinHandle};

/// Milliseconds between two kills at most.
const LULL_MS: u64 = 700;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

/// A small, repeatable source of moments and choices (SplitMix64).
struct Moments(u64);

impl Moments {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Between one and `most` milliseconds, short ones as likely as long ones.
    fn pause(&mut self, most: u64) -> Duration {
        let scale = self.next() % 4;
        Duration::from_millis(1 + self.next() % (most >> scale).max(1))
    }

    /// Whom to kill next, of so many of each: true for the engine.
    fn is_engine(&mut self, workers_left: u64, engine_left: u64) -> bool {
        self.next() % (workers_left + engine_left) < engine_left
    }
}

/// The senders of all feeds, and what stops them.
struct Senders {
    progress: Vec<Arc<Progress>>,
    runs: Vec<JoinHandle<Result<Outcome, sender::LoadError>>>,
}

impl Senders {
    fn start(runtime: &Runtime, world: &World, seed: u64) -> Self {
        let (mut progress, mut runs) = (Vec::new(), Vec::new());
        let rate = f64::from(u32::try_from(number("HIE_CHAOS_RATE", 6)).unwrap());
        for (feed, port) in FEEDS.iter().zip(&world.ports) {
            let own = Arc::new(Progress::default());
            let address = SocketAddr::from(([127, 0, 0, 1], *port));
            let load = load(feed, address, rate * feed.share, seed);
            runs.push(runtime.spawn(sender::run_with(load, own.clone())));
            progress.push(own);
        }
        Self { progress, runs }
    }

    /// What each feed has had acknowledged so far.
    fn acked(&self) -> Vec<u64> {
        let acked = self.progress.iter();
        acked.map(|one| one.acked.load(Ordering::Relaxed)).collect()
    }

    fn stop(self, runtime: &Runtime) -> Vec<Outcome> {
        self.progress.iter().for_each(|one| one.stop());
        let runs = self.runs.into_iter();
        runs.map(|run| runtime.block_on(run).unwrap().unwrap())
            .collect()
    }
}

fn load(feed: &Feed, address: SocketAddr, per_second: f64, seed: u64) -> Load {
    Load {
        connections: feed.connections,
        pace: Pace::Open {
            per_second,
            arrivals: Arrivals::Poisson(seed),
        },
        run: feed.run.into(),
        reconnect: Some(Reconnect {
            every: Duration::from_millis(5),
            give_up_after: Duration::from_secs(120),
        }),
        keep_ledger: true,
        ..Load::new(
            address.to_string(),
            Template::varied(Kind::Adt, 700, seed).among(feed.patients),
        )
    }
}

/// What was killed.
#[derive(Default)]
pub(crate) struct Kills {
    pub(crate) engine: u64,
    /// By the name of the item.
    pub(crate) workers: BTreeMap<String, u64>,
}

/// Waits until the engine takes connections, which it does when recovery is done.
fn wait_until_open(engine: &Engine<'_>, port: u16) {
    eventually("the engine takes connections", || {
        let ended = engine.ended();
        assert!(
            ended.is_none(),
            "the engine ended with {ended:?}:\n{}",
            tail(engine)
        );
        TcpStream::connect(("127.0.0.1", port)).ok()
    });
}

fn tail(engine: &Engine<'_>) -> String {
    let log = engine.log();
    let lines: Vec<_> = log.lines().rev().take(60).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

/// Kills one worker of those that live, whichever it is; gives its item.
fn kill_a_worker(engine: &Engine<'_>, moments: &mut Moments) -> String {
    eventually("a worker that can be killed", || {
        let workers = Worker::all_of(engine.pid());
        let choice = moments.next() % (workers.len() as u64).max(1);
        let worker = workers.get(usize::try_from(choice).unwrap())?;
        worker.kill().then(|| worker.item.clone())
    })
}

#[test]
fn nothing_acknowledged_is_lost_whoever_is_killed() {
    let mut left = (
        number("HIE_CHAOS_WORKERS", 12),
        number("HIE_CHAOS_ENGINE", 6),
    );
    let seed = number("HIE_CHAOS_SEED", u64::from(std::process::id()));
    println!(
        "{} kills of workers, {} of the engine, HIE_CHAOS_SEED={seed}",
        left.0, left.1
    );
    let mut moments = Moments(seed);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let place = Place::new();
    let world = World::new(&place, &runtime);
    let config = world.config();
    let mut engine = place.start(&config);
    let senders = Senders::start(&runtime, &world, seed);
    let mut kills = Kills::default();
    while left != (0, 0) {
        if !moments.is_engine(left.0, left.1) {
            left.0 -= 1;
            wait_until_open(&engine, world.ports[0]);
            std::thread::sleep(moments.pause(LULL_MS));
            *kills
                .workers
                .entry(kill_a_worker(&engine, &mut moments))
                .or_default() += 1;
            continue;
        }
        left.1 -= 1;
        // Every fourth one is killed before it listens: in its recovery.
        if kills.engine % 4 != 3 {
            wait_until_open(&engine, world.ports[0]);
        }
        std::thread::sleep(moments.pause(LULL_MS));
        let orphans = Worker::all_of(engine.pid());
        engine.kill();
        kills.engine += 1;
        engine = place.launch(&config, &[]);
        Worker::all_gone(&orphans, "they outlive the engine that was killed");
    }
    engine.wait_until_ready();
    println!("killed workers: {:?}", kills.workers);
    // Every feed has come through since, before its senders stop.
    let before = senders.acked();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let now = senders.acked();
        if before.iter().zip(&now).all(|(before, now)| now > before) {
            break;
        }
        assert!(
            Instant::now() < deadline,
            "some feed does not go on after the last restart: {before:?}, {now:?}\n{}\n{}",
            place.hie(["queues"]).stdout,
            tail(&engine)
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    let outcomes = senders.stop(&runtime);
    let mut sent = Vec::new();
    for (feed, outcome) in FEEDS.iter().zip(outcomes) {
        let (acked, resent) = (outcome.sent.acked(), outcome.report.resent);
        println!(
            "{} ({}): {acked} acknowledged, {resent} sent again by their senders, answers {:?}",
            feed.name, feed.run, outcome.report.ack_codes
        );
        assert!(
            !outcome.gave_up,
            "{} gave up:\n{}",
            feed.name,
            tail(&engine)
        );
        assert!(acked > 0, "{} sends while all is killed", feed.name);
        sent.push(outcome.sent);
    }
    judge(&place, &world, &engine, &sent, &kills);
    let last = Worker::all_of(engine.pid());
    assert!(!last.is_empty(), "there are workers to end");
    assert_eq!(engine.stop(), 0, "{}", tail(&engine));
    Worker::all_gone(&last, "they outlive the engine that was stopped");
    place
        .hie([
            "journal".into(),
            "verify".into(),
            "--data".into(),
            place.data().into_os_string(),
        ])
        .ok();
}

fn judge(place: &Place, world: &World, engine: &Engine<'_>, sent: &[Sent], kills: &Kills) {
    let trace = account::drained(place, || tail(engine));
    for (destination, receiver) in DESTINATIONS.iter().zip(&world.receivers) {
        account::judge(destination, &receiver.received(), sent, kills, &trace);
        let one_at_a_time = destination
            .gets
            .iter()
            .all(|(_, order)| *order == Order::Key);
        assert!(
            !one_at_a_time || receiver.overlaps() == 0,
            "{}: {} times two messages of a key at once",
            destination.name,
            receiver.overlaps()
        );
    }
    let queues = place.hie(["queues", "--json"]).ok().rows();
    for queue in queues {
        assert_eq!(queue["queued"], 0, "{queue}");
    }
}
