//! The open loop: one OS thread a connection, since a runtime's timers tick in milliseconds and would
//! be most of what is measured. A thread sleeps until its planned time with the least slack the system
//! gives, and does not spin: on two cores that would be paid by the engine.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use hie_mllp::{Decoder, Step};

use crate::feed::{Feed, Run, Tally, closed_by_peer};
use crate::random::Random;
use crate::sender::{Arrivals, LoadError};

pub(crate) async fn run(
    run: &Arc<Run>,
    per_second: f64,
    arrivals: Arrivals,
) -> Result<Vec<Tally>, LoadError> {
    let feeds: Vec<Feed> = (0..run.load.connections)
        .map(|connection| Feed::new(run.clone(), connection))
        .collect();
    let threads: Vec<_> = feeds
        .into_iter()
        .enumerate()
        .map(|(connection, feed)| {
            let plan = Plan::new(connection, feed.run.load.connections, per_second, arrivals);
            std::thread::Builder::new()
                .name(format!("load-{connection}"))
                .spawn(move || drive(feed, plan))
        })
        .collect();
    let joined = tokio::task::spawn_blocking(move || {
        let join = |thread: std::io::Result<std::thread::JoinHandle<Tally>>| {
            let thread = thread.map_err(|error| LoadError::Died(error.to_string()))?;
            thread
                .join()
                .map_err(|_| LoadError::Died("panic".to_owned()))
        };
        threads.into_iter().map(join).collect()
    });
    joined
        .await
        .map_err(|error| LoadError::Died(error.to_string()))?
}

/// When the messages of one connection are due, from the start of the run.
struct Plan {
    next: Duration,
    gap: Duration,
    random: Option<Random>,
}

impl Plan {
    /// Connections take turns: message `k` of the run belongs to connection `k mod connections`.
    fn new(connection: usize, connections: usize, per_second: f64, arrivals: Arrivals) -> Self {
        let gap = Duration::from_secs_f64(connections as f64 / per_second);
        let first = Duration::from_secs_f64(connection as f64 / per_second);
        let random = match arrivals {
            Arrivals::Constant => None,
            Arrivals::Poisson(seed) => Some(Random::new(seed ^ ((connection as u64 + 1) << 20))),
        };
        Self {
            next: first,
            gap,
            random,
        }
    }
}

impl Iterator for Plan {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let due = self.next;
        self.next += match &mut self.random {
            None => self.gap,
            Some(random) => self.gap.mul_f64(-random.unit().ln()),
        };
        Some(due)
    }
}

fn drive(mut feed: Feed, mut plan: Plan) -> Tally {
    // Refused by some sandboxes; the pacing error in the report tells what it costs then.
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
    while let Err(error) = session(&mut feed, &mut plan) {
        match feed.failed(&error) {
            Some(pause) => std::thread::sleep(pause),
            None => break,
        }
    }
    feed.finish()
}

fn session(feed: &mut Feed, plan: &mut Plan) -> Result<(), LoadError> {
    let connecting = LoadError::io("connecting");
    let stream = TcpStream::connect(&feed.run.load.addr).map_err(&connecting)?;
    stream.set_nodelay(true).map_err(&connecting)?;
    stream
        .set_read_timeout(Some(feed.run.load.ack_timeout))
        .map_err(&connecting)?;
    stream
        .set_write_timeout(Some(feed.run.load.ack_timeout))
        .map_err(connecting)?;
    feed.run.progress.connected.fetch_add(1, Ordering::Relaxed);
    let done = exchange(feed, plan, stream);
    feed.run.progress.connected.fetch_sub(1, Ordering::Relaxed);
    done
}

fn exchange(feed: &mut Feed, plan: &mut Plan, mut stream: TcpStream) -> Result<(), LoadError> {
    let mut answers = Answers::new(feed.run.load.framing);
    loop {
        if !feed.is_pending() && !await_turn(feed, plan) {
            return Ok(());
        }
        stream
            .write_all(feed.outgoing())
            .map_err(LoadError::io("sending"))?;
        feed.answered(answers.next(&mut stream)?);
    }
}

/// Sleeps until the next message is due and makes it; false when there is none.
fn await_turn(feed: &mut Feed, plan: &mut Plan) -> bool {
    let Some(due) = plan.next() else { return false };
    let planned = feed.run.start + due;
    if feed.run.progress.is_stopped() || feed.run.until.is_some_and(|until| planned >= until) {
        return false;
    }
    feed.tally.planned += 1;
    feed.tally.last_planned = due;
    let early = planned.saturating_duration_since(Instant::now());
    if early.is_zero() {
        if is_hopeless(feed) {
            feed.tally.abandoned += 1 + abandon(feed, plan);
            return false;
        }
    } else {
        std::thread::sleep(early);
        feed.tally.pacing.record(planned.elapsed());
    }
    let more = feed.prepare(planned);
    feed.tally.planned -= u64::from(!more);
    more
}

/// Whether the run was to end an ACK timeout ago: what is queued then is not sent any more.
fn is_hopeless(feed: &Feed) -> bool {
    feed.run
        .until
        .is_some_and(|until| until.elapsed() > feed.run.load.ack_timeout)
}

fn abandon(feed: &mut Feed, plan: &mut Plan) -> u64 {
    let (start, until) = (feed.run.start, feed.run.until);
    let left = plan
        .take_while(|due| until.is_some_and(|until| start + *due < until))
        .count() as u64;
    feed.tally.planned += left;
    left
}

/// Cuts ACKs out of a blocking socket.
struct Answers {
    decoder: Decoder,
    buffer: Vec<u8>,
    filled: usize,
    consumed: usize,
}

impl Answers {
    fn new(framing: hie_mllp::Framing) -> Self {
        Self {
            decoder: Decoder::new(framing, 64 << 10),
            buffer: vec![0; 128 << 10],
            filled: 0,
            consumed: 0,
        }
    }

    fn next(&mut self, stream: &mut TcpStream) -> Result<&[u8], LoadError> {
        self.buffer.copy_within(self.consumed..self.filled, 0);
        self.filled -= std::mem::take(&mut self.consumed);
        loop {
            match self
                .decoder
                .step(self.buffer.get(..self.filled).unwrap_or_default())
            {
                Step::Frame { consume, payload } => {
                    self.consumed = consume;
                    return Ok(self.buffer.get(payload).unwrap_or_default());
                }
                Step::TooLong { .. } => {
                    return Err(LoadError::Framing("the ACK is longer than 64 KiB"));
                }
                Step::NeedMore { consume } => {
                    self.buffer.copy_within(consume..self.filled, 0);
                    self.filled -= consume;
                }
            }
            let spare = self.buffer.get_mut(self.filled..).unwrap_or_default();
            match stream.read(spare) {
                Ok(0) => return Err(closed_by_peer()),
                Ok(count) => self.filled += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // What a read timeout is called depends on the system.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return Err(LoadError::Io {
                        doing: "waiting for the ACK",
                        kind: ErrorKind::TimedOut,
                    });
                }
                Err(error) => return Err(LoadError::io("waiting for the ACK")(error)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(plan: Plan, count: usize) -> Vec<f64> {
        plan.take(count).map(|due| due.as_secs_f64()).collect()
    }

    #[test]
    fn connections_take_turns_at_equal_distances() {
        let of = |connection| due(Plan::new(connection, 4, 1000.0, Arrivals::Constant), 3);
        assert_eq!(of(0), [0.0, 0.004, 0.008]);
        assert_eq!(of(3), [0.003, 0.007, 0.011]);
    }

    #[test]
    fn poisson_arrivals_have_the_rate_and_the_seed() {
        let plan = |seed| due(Plan::new(0, 1, 1000.0, Arrivals::Poisson(seed)), 100_000);
        let arrivals = plan(5);
        assert!(
            (arrivals[99_999] - 100.0).abs() < 2.0,
            "{}",
            arrivals[99_999]
        );
        assert_eq!(arrivals, plan(5));
        assert_ne!(arrivals, plan(6));
    }
}
