//! Figures: what a run counted, and how it is shown. Latencies are kept in nanoseconds with three
//! significant digits (HdrHistogram) and shown in microseconds; histograms are merged, percentiles
//! never averaged.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Longest time kept apart; what is longer counts as this.
const MAX_NS: u64 = 600_000_000_000;

/// A distribution of times.
#[derive(Clone, Debug)]
pub struct Times(Histogram<u64>);

impl Default for Times {
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, MAX_NS, 3).expect("constant bounds are valid"))
    }
}

impl Times {
    /// Adds one.
    pub fn record(&mut self, time: Duration) {
        self.0
            .saturating_record(u64::try_from(time.as_nanos()).unwrap_or(MAX_NS));
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Times) {
        self.0.add(&other.0).expect("both have the same bounds");
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// Those above `limit`.
    #[must_use]
    pub fn count_above(&self, limit: Duration) -> u64 {
        let limit_ns = u64::try_from(limit.as_nanos()).unwrap_or(MAX_NS);
        self.0.len() - self.0.count_between(0, limit_ns)
    }

    /// The quantiles in microseconds.
    #[must_use]
    pub fn quantiles(&self) -> Quantiles {
        let at = |quantile| round(self.0.value_at_quantile(quantile) as f64 / 1000.0, 1);
        Quantiles {
            count: self.0.len(),
            p50: at(0.5),
            p90: at(0.9),
            p95: at(0.95),
            p99: at(0.99),
            p99_9: at(0.999),
            max: at(1.0),
        }
    }
}

/// Quantiles in microseconds. One means little unless a hundred samples lie above it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Quantiles {
    /// Samples.
    pub count: u64,
    /// Half are at most this.
    pub p50: f64,
    /// Nine of ten are at most this.
    pub p90: f64,
    /// 19 of 20.
    pub p95: f64,
    /// 99 of 100.
    pub p99: f64,
    /// 999 of 1000.
    #[serde(rename = "p99.9")]
    pub p99_9: f64,
    /// The longest.
    pub max: f64,
}

/// What a sender saw.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// `closed` (rate is what the engine takes) or `open` (rate is given, latency from the planned time).
    pub pace: &'static str,
    /// Connections, each with one message unacknowledged at most.
    pub connections: usize,
    /// Bytes of the first message, unframed.
    pub message_bytes: usize,
    /// Length of the measured window, without warm-up, until the last answer.
    pub seconds: f64,
    /// Answers to messages of the window.
    pub acks: u64,
    /// These by the length of the window.
    pub per_second: f64,
    /// Of these answers. Closed loop: from just before the write. Open loop: from the planned time.
    pub latency_us: Quantiles,
    /// MSA-1 of all answers, warm-up included.
    pub ack_codes: BTreeMap<String, u64>,
    /// Answers whose MSA-2 was not the message's control ID.
    pub wrong_id: u64,
    /// Messages that were sent, and never answered in the end.
    pub unanswered: u64,
    /// Attempts to send a message again after its connection was lost.
    pub resent: u64,
    /// What went wrong, by kind.
    pub errors: BTreeMap<String, u64>,
    /// Of the open loop only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
}

/// How well an open loop kept its schedule.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Schedule {
    /// Messages a second that were planned.
    pub planned_per_second: f64,
    /// Messages planned in all, warm-up included.
    pub planned: u64,
    /// Planned messages that were never sent, because the engine was too far behind at the end.
    pub abandoned: u64,
    /// How late a message went out whose connection was free at its planned time: the generator's own error.
    pub pacing_us: Quantiles,
    /// More than 1 % of those were more than a millisecond late: the run says nothing about the engine.
    pub late_generator: bool,
    /// The run ended more than 1 % (and 50 ms) after its planned end, or messages were abandoned: the
    /// engine does not carry this rate.
    pub overloaded: bool,
}

/// Rounded for reading.
#[must_use]
pub(crate) fn round(value: f64, places: i32) -> f64 {
    let scale = 10f64.powi(places);
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_in_microseconds() {
        let mut times = Times::default();
        (1..=1000).for_each(|us| times.record(Duration::from_micros(us)));
        let mut other = Times::default();
        other.record(Duration::from_secs(10_000));
        times.merge(&other);
        let quantiles = times.quantiles();
        assert_eq!(quantiles.count, 1001);
        assert!(
            (quantiles.p50 - 500.0).abs() < 2.0 && (quantiles.p99 - 991.0).abs() < 2.0,
            "{quantiles:?}"
        );
        assert!(quantiles.max >= 599_000_000.0);
        assert_eq!(times.count_above(Duration::from_secs(1)), 1);
    }
}
