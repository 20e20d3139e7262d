//! The sending side of a run: options, live counters, and the report at the end. Each connection is
//! classic MLLP: one message, its ACK, the next.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hie_mllp::Framing;
use thiserror::Error;

use crate::feed::{Run, Tally};
use crate::ledger::Sent;
use crate::message::Template;
use crate::report::{Report, Schedule, Times, round};
use crate::{closed, open};

/// A run may end so much later than planned beyond 1 %: its last answers are on their way.
const GRACE_SECONDS: f64 = 0.05;

/// Who decides when a message goes out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// The engine: the next message follows its predecessor's ACK. Tells saturation, no latency claim.
    Closed,
    /// A schedule fixed beforehand; each connection is a feed of its own and queues at the sender when
    /// its engine is slow. Tells latency, counted from the planned time.
    Open {
        /// Messages a second over all connections.
        per_second: f64,
        /// How they are spread.
        arrivals: Arrivals,
    },
}

/// How an open loop spreads its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrivals {
    /// At equal distances.
    Constant,
    /// Independently of each other (exponential gaps), from this seed.
    Poisson(u64),
}

/// What to do when a connection is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reconnect {
    /// Time between attempts.
    pub every: Duration,
    /// A connection that got no answer for so long stops. Until then a message without answer is sent
    /// again, with the same control ID and bytes, even when the run is over otherwise.
    pub give_up_after: Duration,
}

/// A run to be.
#[derive(Clone, Debug)]
pub struct Load {
    /// Where the engine listens, `host:port`.
    pub addr: String,
    /// Framing bytes.
    pub framing: Framing,
    /// What is sent.
    pub template: Arc<Template>,
    /// Connections, each a stream of control IDs.
    pub connections: usize,
    /// When messages go out.
    pub pace: Pace,
    /// Stop after so many messages over all connections.
    pub messages: Option<u64>,
    /// Stop so long after the warm-up. Without both the run lasts until [`Progress::stop`].
    pub duration: Option<Duration>,
    /// Time at the start that is not measured.
    pub warmup: Duration,
    /// Opens each control ID; another for each run, so that receivers can tell runs apart.
    pub run: String,
    /// A connection that waits longer for an ACK is lost.
    pub ack_timeout: Duration,
    /// `None`: a lost connection stays lost.
    pub reconnect: Option<Reconnect>,
    /// Keep what was sent and acknowledged (16 bytes a message) for [`Outcome::sent`].
    pub keep_ledger: bool,
}

impl Load {
    /// One connection, closed loop, 30 s for an ACK, until stopped.
    #[must_use]
    pub fn new(addr: impl Into<String>, template: Template) -> Self {
        Self {
            addr: addr.into(),
            framing: Framing::MLLP,
            template: Arc::new(template),
            connections: 1,
            pace: Pace::Closed,
            messages: None,
            duration: None,
            warmup: Duration::ZERO,
            run: "0001".to_owned(),
            ack_timeout: Duration::from_secs(30),
            reconnect: None,
            keep_ledger: false,
        }
    }

    fn check(&self) -> Result<(), LoadError> {
        let no = |what| Err(LoadError::Options(what));
        let run_ok = (1..=6).contains(&self.run.len())
            && self.run.bytes().all(|byte| byte.is_ascii_alphanumeric());
        match self.pace {
            _ if !(1..=10_000).contains(&self.connections) => no("connections must be 1 to 10,000"),
            _ if !run_ok => no("the run must be 1 to 6 letters and digits"),
            _ if self.ack_timeout.is_zero() => no("the ACK timeout must be above 0"),
            Pace::Open { per_second, .. } if !(per_second.is_finite() && per_second > 0.0) => {
                no("the rate must be above 0 messages a second")
            }
            _ => Ok(()),
        }
    }
}

/// Why a run or a connection of it failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LoadError {
    /// The run cannot be started.
    #[error("{0}")]
    Options(&'static str),
    /// The connection failed.
    #[error("{doing}: {kind}")]
    Io {
        /// At what.
        doing: &'static str,
        /// How, in the words of the system.
        kind: io::ErrorKind,
    },
    /// What came is no MLLP.
    #[error("waiting for the ACK: {0}")]
    Framing(&'static str),
    /// A task or thread of the run died.
    #[error("a connection of the generator died: {0}")]
    Died(String),
}

impl LoadError {
    pub(crate) fn io(doing: &'static str) -> impl Fn(io::Error) -> Self {
        move |error| LoadError::Io {
            doing,
            kind: error.kind(),
        }
    }
}

/// Live counters of a run, and its stop switch.
#[derive(Debug, Default)]
pub struct Progress {
    /// Answers AA or CA.
    pub acked: AtomicU64,
    /// Other answers.
    pub refused: AtomicU64,
    /// Messages sent again.
    pub resent: AtomicU64,
    /// Lost connections and failed attempts.
    pub errors: AtomicU64,
    /// Connections that stand now.
    pub connected: AtomicUsize,
    stop: AtomicBool,
}

impl Progress {
    /// No message begins from now on; what is under way may still be answered.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Whether [`stop`](Self::stop) was called.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// What a run leaves.
#[derive(Debug)]
pub struct Outcome {
    /// The figures.
    pub report: Report,
    /// What was sent and acknowledged; empty unless [`Load::keep_ledger`].
    pub sent: Sent,
    /// Some connection gave up reconnecting.
    pub gave_up: bool,
}

/// Runs to the end.
///
/// # Errors
/// [`LoadError::Options`]. Connections that fail are no error of the run: they are in its report.
pub async fn run(load: Load) -> Result<Outcome, LoadError> {
    run_with(load, Arc::new(Progress::default())).await
}

/// As [`run`], observed and stopped through `progress`.
///
/// # Errors
/// As [`run`].
pub async fn run_with(load: Load, progress: Arc<Progress>) -> Result<Outcome, LoadError> {
    load.check()?;
    let run = Arc::new(Run::new(load, progress));
    let tallies = match run.load.pace {
        Pace::Closed => closed::run(&run).await?,
        Pace::Open {
            per_second,
            arrivals,
        } => open::run(&run, per_second, arrivals).await?,
    };
    Ok(sum_up(&run, tallies))
}

fn sum_up(run: &Run, tallies: Vec<Tally>) -> Outcome {
    let seconds = Instant::now()
        .saturating_duration_since(run.measured_from)
        .as_secs_f64();
    let (mut latency, mut pacing, mut sent) = (Times::default(), Times::default(), Sent::default());
    let (mut ack_codes, mut errors) = (BTreeMap::new(), BTreeMap::new());
    let mut last_planned = Duration::ZERO;
    let (mut wrong_id, mut unanswered, mut resent, mut planned, mut abandoned) = (0, 0, 0, 0, 0);
    for tally in tallies {
        latency.merge(&tally.latency);
        pacing.merge(&tally.pacing);
        sent.merge(tally.ledger);
        for (code, count) in tally.codes {
            *ack_codes
                .entry(String::from_utf8_lossy(&code).into_owned())
                .or_insert(0) += count;
        }
        tally
            .errors
            .into_iter()
            .for_each(|(error, count)| *errors.entry(error).or_insert(0) += count);
        wrong_id += tally.wrong_id;
        unanswered += tally.unanswered;
        resent += tally.resent;
        planned += tally.planned;
        last_planned = last_planned.max(tally.last_planned);
        abandoned += tally.abandoned;
    }
    let per_second = if seconds > 0.0 {
        latency.count() as f64 / seconds
    } else {
        0.0
    };
    let load = &run.load;
    let (pace, schedule) = match load.pace {
        Pace::Closed => ("closed", None),
        Pace::Open { per_second, .. } => {
            let window = load
                .duration
                .unwrap_or(last_planned.saturating_sub(load.warmup))
                .as_secs_f64();
            let overrun = seconds > window * 1.01 + GRACE_SECONDS;
            (
                "open",
                Some(schedule(per_second, planned, abandoned, overrun, &pacing)),
            )
        }
    };
    let report = Report {
        pace,
        connections: load.connections,
        message_bytes: load.template.size_bytes(),
        seconds: round(seconds, 2),
        acks: latency.count(),
        per_second: round(per_second, 1),
        latency_us: latency.quantiles(),
        ack_codes,
        wrong_id,
        unanswered,
        resent,
        errors,
        schedule,
    };
    Outcome {
        report,
        sent,
        gave_up: run.gave_up.load(Ordering::Relaxed),
    }
}

fn schedule(rate: f64, planned: u64, abandoned: u64, overrun: bool, pacing: &Times) -> Schedule {
    let late = pacing.count_above(Duration::from_millis(1));
    Schedule {
        planned_per_second: rate,
        planned,
        abandoned,
        pacing_us: pacing.quantiles(),
        late_generator: late * 100 > pacing.count(),
        overloaded: abandoned > 0 || overrun,
    }
}

#[cfg(test)]
mod tests;
