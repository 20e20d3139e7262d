//! The place of one worker in its item: which process fills it now, and when the next one may start.
//!
//! Owns the pacing of starts: the first after a death comes at once, then after pauses that double,
//! with jitter, so that the workers of an item do not all start in step. How often an item may
//! start anew at all is the engine's supervision.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use hie_engine::{HostError, stats::ItemStats, workers::WorkerStatus};
use parking_lot::Mutex;
use tokio::{sync::Mutex as AsyncMutex, time::Instant};

use crate::{
    link::{Link, Rules},
    process::Plan,
    usage::Usage,
    wire::settings::Init,
};

/// A worker that lived as long counts as sound.
const SOUND_AFTER: Duration = Duration::from_secs(60);

/// The first pause before a start that is paced.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);

/// The longest.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// See the module.
pub(crate) struct Slot {
    plan: Plan,
    init: Init,
    rules: Rules,
    stats: Arc<ItemStats>,
    /// How long a worker may take to finish what it has in hand.
    respite: Duration,
    current: AsyncMutex<Current>,
    view: Mutex<View>,
    starts: AtomicU64,
    leases: AtomicUsize,
}

#[derive(Default)]
struct Current {
    link: Option<Arc<Link>>,
    /// Deaths and failed starts in a row.
    failures: u32,
    /// How the last start went wrong, and which it was: for jobs that waited for the same one.
    failed: Option<(u64, HostError)>,
}

/// What an operator sees, without waiting for a start that goes on.
#[derive(Default)]
struct View {
    link: Option<Arc<Link>>,
    state: &'static str,
    restarts: u64,
    last_look: Option<(Instant, u32, u64, f64)>,
}

impl Slot {
    pub(crate) fn new(
        plan: Plan,
        init: Init,
        rules: Rules,
        stats: Arc<ItemStats>,
        respite: Duration,
    ) -> Self {
        Self {
            plan,
            init,
            rules,
            stats,
            respite,
            current: AsyncMutex::default(),
            view: Mutex::new(View {
                state: "stopped",
                ..View::default()
            }),
            starts: AtomicU64::new(0),
            leases: AtomicUsize::new(0),
        }
    }

    /// The worker that runs, or a new one. Cancel-safe: a start that nobody waits for any more
    /// ends its process.
    pub(crate) async fn link(self: &Arc<Self>) -> Result<Arc<Link>, HostError> {
        let seen = self.starts.load(Ordering::Acquire);
        let mut current = self.current.lock().await;
        if let Some(link) = &current.link
            && !link.ended.is_cancelled()
            && !link.is_draining()
        {
            return Ok(link.clone());
        }
        if let Some((start, error)) = &current.failed
            && *start > seen
        {
            return Err(error.clone());
        }
        if let Some(dead) = current.link.take() {
            dead.ended.cancelled().await;
            let sound = dead.started.elapsed() >= SOUND_AFTER;
            current.failures = if sound { 0 } else { current.failures + 1 };
            self.view.lock().restarts += 1;
        }
        self.show("waiting");
        tokio::time::sleep(pause(current.failures)).await;
        self.show("starting");
        let start = self.starts.fetch_add(1, Ordering::AcqRel) + 1;
        let (init, rules) = (self.init.clone(), self.rules.clone());
        match Link::start(&self.plan, init, rules, self.stats.clone(), self.respite).await {
            Ok(link) => {
                current.failed = None;
                current.link = Some(link.clone());
                let mut view = self.view.lock();
                view.state = "running";
                view.link = Some(link.clone());
                Ok(link)
            }
            Err(error) => {
                current.failures += 1;
                current.failed = Some((start, error.clone()));
                self.show("waiting");
                Err(error)
            }
        }
    }

    fn show(&self, state: &'static str) {
        self.view.lock().state = state;
    }

    /// One more job relies on the worker.
    pub(crate) fn hold(&self) {
        self.leases.fetch_add(1, Ordering::AcqRel);
    }

    /// A job lets go; true for the last one.
    pub(crate) fn release(&self) -> bool {
        self.leases.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// Lets the worker finish what it has in hand, and ends it.
    pub(crate) async fn end(&self, link: &Arc<Link>) {
        self.show("draining");
        link.drain().await;
        self.show("stopped");
    }

    /// What an operator wants to know.
    pub(crate) fn status(&self) -> WorkerStatus {
        let mut view = self.view.lock();
        let link = view.link.clone();
        let alive = link.as_ref().filter(|link| !link.ended.is_cancelled());
        let usage = alive.and_then(|link| Usage::of(link.pid));
        let pid = alive.map(|link| link.pid);
        let state = match (view.state, &pid) {
            ("running" | "draining", None) => "waiting",
            (state, _) => state,
        };
        let cpu_ms = usage.map_or(0, |usage| usage.cpu_ms);
        WorkerStatus {
            worker: self.rules.worker,
            pid,
            state,
            cpu_ms,
            cpu_percent: pid.map_or(0.0, |pid| view.cpu_percent(pid, cpu_ms)),
            resident_bytes: usage.map_or(0, |usage| usage.resident_bytes),
            restarts: view.restarts,
            in_flight: alive.map_or(0, |link| link.credit.in_flight() as u64),
            last_end: link
                .filter(|link| link.ended.is_cancelled() && !link.is_draining())
                .map(|link| link.why()),
        }
    }
}

impl View {
    /// The share of one processor since the last look; looks that follow too closely share one.
    fn cpu_percent(&mut self, pid: u32, cpu_ms: u64) -> f64 {
        const CLOSE: Duration = Duration::from_millis(500);
        let now = Instant::now();
        let since = match self.last_look {
            Some((at, same, _, percent)) if same == pid && now - at < CLOSE => return percent,
            Some((at, same, before, _)) if same == pid => Some((now - at, before)),
            _ => self.link.as_ref().map(|link| (link.started.elapsed(), 0)),
        };
        #[allow(clippy::cast_precision_loss)] // milliseconds of one process
        let percent = since.map_or(0.0, |(passed, before)| {
            let passed_ms = passed.as_secs_f64() * 1000.0;
            100.0 * cpu_ms.saturating_sub(before) as f64 / passed_ms.max(1.0)
        });
        self.last_look = Some((now, pid, cpu_ms, percent));
        percent
    }
}

/// None after the first failure, then doubling, each with up to half of it more.
fn pause(failures: u32) -> Duration {
    let Some(doublings) = failures.checked_sub(2) else {
        return Duration::ZERO;
    };
    let pause = SHORTEST_PAUSE
        .saturating_mul(1u32.checked_shl(doublings).unwrap_or(u32::MAX))
        .min(LONGEST_PAUSE);
    // Nobody must be able to guess it; it only must differ from worker to worker.
    let jitter = RandomState::new().hash_one(doublings) % 512;
    #[allow(clippy::cast_possible_truncation)] // below 512
    let jitter = pause.saturating_mul(jitter as u32) / 1024;
    pause + jitter
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit_and_carry_jitter() {
        assert_eq!(pause(0), Duration::ZERO);
        assert_eq!(pause(1), Duration::ZERO);
        let within = |failures, least: Duration| {
            let pause = pause(failures);
            least <= pause && pause <= least * 3 / 2
        };
        assert!(within(2, SHORTEST_PAUSE));
        assert!(within(5, SHORTEST_PAUSE * 8));
        assert!(within(40, LONGEST_PAUSE));
        assert!(within(u32::MAX, LONGEST_PAUSE));
    }
}
