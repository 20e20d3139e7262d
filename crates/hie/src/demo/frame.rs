//! What the demo knows at one moment: counters, rates, queues, receivers, the ledger so far.
//!
//! Owns the figures; how they look is the business of the table and the lines.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use hie_engine::{
    stats::ItemState,
    status::{ItemStatus, Status},
};
use hie_load::ledger::Verdict;

use super::{books::Totals, letters::Destination};

/// Rates are taken over this long, so that they stand still for the eye.
const RATE_WINDOW: Duration = Duration::from_secs(2);
/// Lengths of a queue that are kept for its curve.
const HISTORY: usize = 24;

/// One moment.
pub(crate) struct Frame {
    /// Since the start of the demo.
    pub(crate) elapsed: Duration,
    pub(crate) production: String,
    /// What stops the engine from accepting, if anything does.
    pub(crate) trouble: Option<String>,
    /// The pace of the senders, messages a second; 0 once they have stopped.
    pub(crate) pace: u32,
    pub(crate) rows: Vec<Row>,
    /// Receivers with a word for each: `up`, `down`, `answers-AE`.
    pub(crate) sites: Vec<(Destination, &'static str)>,
    pub(crate) totals: Totals,
    pub(crate) verdicts: Vec<(Destination, Verdict)>,
    /// What happens now that is worth a line.
    pub(crate) news: String,
}

impl Frame {
    /// Messages in all queues.
    pub(crate) fn queued(&self) -> usize {
        self.rows.iter().map(|row| row.queued).sum()
    }
}

/// One item at one moment.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) kind: &'static str,
    pub(crate) state: ItemState,
    /// Whether it tries again and again to get rid of a message.
    pub(crate) retrying: bool,
    /// Messages a second.
    pub(crate) in_rate: f64,
    pub(crate) out_rate: f64,
    pub(crate) queued: usize,
    pub(crate) oldest_s: Option<u64>,
    pub(crate) failed: u64,
    pub(crate) suspended: u64,
    /// Lengths of its queue, oldest first.
    pub(crate) history: Vec<usize>,
    /// Where it listens or sends.
    pub(crate) address: String,
    /// What it tries again and why, or why it stands; empty when all is well.
    pub(crate) trouble: String,
}

/// Counters of one item at one time.
#[derive(Clone, Copy)]
struct Sample {
    at: Duration,
    came: u64,
    went: u64,
}

/// Turns statuses into rows: keeps what rates and curves need.
#[derive(Default)]
pub(crate) struct Watcher {
    items: BTreeMap<String, (VecDeque<Sample>, VecDeque<usize>)>,
}

impl Watcher {
    /// The rows of `status`, taken `elapsed` after the start.
    pub(crate) fn rows(&mut self, status: &Status, elapsed: Duration) -> Vec<Row> {
        status
            .items
            .iter()
            .map(|item| self.row(item, elapsed))
            .collect()
    }

    fn row(&mut self, item: &ItemStatus, at: Duration) -> Row {
        let (samples, history) = self.items.entry(item.name.clone()).or_default();
        let now = sample(item, at);
        samples.push_back(now);
        while samples.len() > 2
            && samples
                .get(1)
                .is_some_and(|second| second.at + RATE_WINDOW <= at)
        {
            samples.pop_front();
        }
        history.push_back(item.queued);
        if history.len() > HISTORY {
            history.pop_front();
        }
        let first = samples.front().copied().unwrap_or(now);
        let seconds = at.saturating_sub(first.at).as_secs_f64();
        let rate = |now: u64, then: u64| {
            if seconds > 0.0 {
                now.saturating_sub(then) as f64 / seconds
            } else {
                0.0
            }
        };
        Row {
            name: item.name.clone(),
            kind: item.kind,
            state: item.state,
            retrying: item.trying.is_some(),
            in_rate: rate(now.came, first.came),
            out_rate: rate(now.went, first.went),
            queued: item.queued,
            oldest_s: item.oldest_s,
            failed: item.failed + item.rejected,
            suspended: item.suspended,
            history: history.iter().copied().collect(),
            address: item.address.clone().unwrap_or_default(),
            trouble: trouble(item),
        }
    }
}

/// Services count what comes from outside; what came to the others is what they are done with and
/// what waits.
fn sample(item: &ItemStatus, at: Duration) -> Sample {
    if item.kind == "Service" {
        return Sample {
            at,
            came: item.received,
            went: item.received.saturating_sub(item.rejected),
        };
    }
    let went = item.completed + item.failed + item.suspended + item.discarded;
    Sample {
        at,
        came: went + item.queued as u64,
        went,
    }
}

fn trouble(item: &ItemStatus) -> String {
    let standing = || {
        item.last_error
            .clone()
            .filter(|_| item.state == ItemState::Error)
    };
    let tries = item
        .trying
        .as_ref()
        .map(|trying| format!("tries again: {trying}"));
    tries.or_else(standing).unwrap_or_default()
}
