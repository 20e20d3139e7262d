//! One connection's share of a run, without I/O: which message is next, what it looks like, what its
//! answer was. The closed and the open loop drive it over their own sockets.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::ledger::{Fate, Sent};
use crate::message::{ControlIds, MAX_SEQUENCE};
use crate::report::Times;
use crate::sender::{Load, LoadError, Progress};
use crate::wire::parse_ack;

/// Distinct ACK codes kept apart; a peer that invents codes must not fill the memory.
const MAX_CODES: usize = 16;

/// What all connections of a run share.
pub(crate) struct Run {
    pub(crate) load: Load,
    pub(crate) progress: Arc<Progress>,
    pub(crate) start: Instant,
    pub(crate) measured_from: Instant,
    /// No message begins after this.
    pub(crate) until: Option<Instant>,
    left: Option<AtomicU64>,
    pub(crate) gave_up: AtomicBool,
}

impl Run {
    pub(crate) fn new(load: Load, progress: Arc<Progress>) -> Self {
        let start = Instant::now();
        let measured_from = start + load.warmup;
        let until = load.duration.map(|duration| measured_from + duration);
        let left = load.messages.map(AtomicU64::new);
        Self {
            load,
            progress,
            start,
            measured_from,
            until,
            left,
            gave_up: AtomicBool::new(false),
        }
    }

    /// Takes one message from what is left to send.
    fn take_one(&self) -> bool {
        let Some(left) = &self.left else { return true };
        left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            left.checked_sub(1)
        })
        .is_ok()
    }
}

/// What one connection counted.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) latency: Times,
    pub(crate) pacing: Times,
    pub(crate) codes: Vec<(Vec<u8>, u64)>,
    pub(crate) wrong_id: u64,
    pub(crate) unanswered: u64,
    pub(crate) resent: u64,
    pub(crate) planned: u64,
    /// Planned time of the last message, from the start of the run.
    pub(crate) last_planned: Duration,
    pub(crate) abandoned: u64,
    pub(crate) errors: BTreeMap<String, u64>,
    pub(crate) ledger: Sent,
}

/// The message in hand.
struct Pending {
    sequence: u64,
    /// From when its latency counts.
    since: Instant,
    sent_before: bool,
}

/// The state of one connection across reconnects.
pub(crate) struct Feed {
    pub(crate) run: Arc<Run>,
    pub(crate) tally: Tally,
    number: u64,
    ids: ControlIds,
    next_sequence: u64,
    pending: Option<Pending>,
    /// The pending message, framed.
    bytes: Vec<u8>,
    down_since: Option<Instant>,
}

impl Feed {
    pub(crate) fn new(run: Arc<Run>, connection: usize) -> Self {
        let ids = ControlIds::new(&run.load.run, connection);
        Self {
            run,
            tally: Tally::default(),
            number: (connection as u64) << 32,
            ids,
            next_sequence: 0,
            pending: None,
            bytes: Vec::new(),
            down_since: None,
        }
    }

    /// Whether a message that went out has no answer yet.
    pub(crate) fn is_pending(&self) -> bool {
        self.pending.is_some()
    }

    /// Whether new messages may begin.
    pub(crate) fn is_over(&self) -> bool {
        self.run.progress.is_stopped()
            || self.run.until.is_some_and(|until| Instant::now() >= until)
    }

    /// Makes the next message; false when the run has no more for this connection.
    pub(crate) fn prepare(&mut self, since: Instant) -> bool {
        if self.next_sequence >= MAX_SEQUENCE || !self.run.take_one() {
            return false;
        }
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let framing = self.run.load.framing;
        let id = self.ids.at(sequence);
        self.bytes.clear();
        self.bytes.push(framing.start());
        self.run
            .load
            .template
            .write(&mut self.bytes, id, self.number | sequence);
        if self.run.load.keep_ledger {
            self.tally
                .ledger
                .sent(id, self.bytes.get(1..).unwrap_or_default());
        }
        self.bytes.push(framing.end());
        self.bytes.extend(framing.trailer());
        self.pending = Some(Pending {
            sequence,
            since,
            sent_before: false,
        });
        true
    }

    /// The bytes to put on the wire now; counts when they go out again.
    pub(crate) fn outgoing(&mut self) -> &[u8] {
        if let Some(pending) = &mut self.pending
            && std::mem::replace(&mut pending.sent_before, true)
        {
            if self.run.load.keep_ledger {
                let id = self.ids.at(pending.sequence);
                self.tally.ledger.sent_again(id);
            }
            self.tally.resent += 1;
            self.run.progress.resent.fetch_add(1, Ordering::Relaxed);
        }
        &self.bytes
    }

    /// The latency of a message that was not sent before counts from here (closed loop).
    pub(crate) fn starts_now(&mut self) {
        if let Some(pending) = &mut self.pending {
            pending.since = Instant::now();
        }
    }

    /// Takes the answer to the pending message.
    pub(crate) fn answered(&mut self, answer: &[u8]) {
        let Some(pending) = self.pending.take() else {
            return;
        };
        self.down_since = None;
        let now = Instant::now();
        if pending.since >= self.run.measured_from {
            self.tally.latency.record(now - pending.since);
        }
        let id = self.ids.at(pending.sequence);
        let ack = parse_ack(answer);
        let fate = match ack {
            Some(ack) if ack.control_id != id => {
                self.tally.wrong_id += 1;
                Fate::Unanswered
            }
            Some(ack) if ack.is_positive() => Fate::Acked,
            Some(_) => Fate::Refused,
            None => Fate::Unanswered,
        };
        if self.run.load.keep_ledger {
            self.tally.ledger.answered(id, fate);
        }
        let progress = &self.run.progress;
        let counter = if fate == Fate::Acked {
            &progress.acked
        } else {
            &progress.refused
        };
        counter.fetch_add(1, Ordering::Relaxed);
        self.count_code(ack.map_or(b"none", |ack| ack.code));
    }

    fn count_code(&mut self, code: &[u8]) {
        if let Some((_, count)) = self.tally.codes.iter_mut().find(|(known, _)| known == code) {
            *count += 1;
        } else if self.tally.codes.len() < MAX_CODES {
            self.tally.codes.push((
                code.get(..code.len().min(8)).unwrap_or_default().to_vec(),
                1,
            ));
        } else if let Some((_, count)) = self.tally.codes.last_mut() {
            *count += 1;
        }
    }

    /// Counts a lost connection; says how long to wait before the next attempt, or `None` to give up.
    pub(crate) fn failed(&mut self, error: &LoadError) -> Option<Duration> {
        *self.tally.errors.entry(error.to_string()).or_insert(0) += 1;
        self.run.progress.errors.fetch_add(1, Ordering::Relaxed);
        let reconnect = self.run.load.reconnect?;
        let down_since = *self.down_since.get_or_insert_with(Instant::now);
        let done = self.run.progress.is_stopped() || (self.is_over() && !self.is_pending());
        if done {
            return None;
        }
        if down_since.elapsed() >= reconnect.give_up_after {
            self.run.gave_up.store(true, Ordering::Relaxed);
            return None;
        }
        Some(reconnect.every)
    }

    /// Closes the account of this connection.
    pub(crate) fn finish(mut self) -> Tally {
        self.tally.unanswered += u64::from(self.pending.is_some());
        self.tally
    }
}

/// What the peer did instead of answering.
pub(crate) fn closed_by_peer() -> LoadError {
    LoadError::Io {
        doing: "waiting for the ACK",
        kind: io::ErrorKind::UnexpectedEof,
    }
}
