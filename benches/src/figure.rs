//! The rows of the table: what is measured, in what unit, what it must reach, and how a figure is
//! judged. Owns no measurement.

use std::{fmt::Write as _, time::Duration};

use serde::Serialize;

use crate::procfs::Threads;

/// Which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Better {
    Higher,
    Lower,
}

/// How a figure is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// A fraction, written as percent.
    Share,
    /// A plain ratio.
    Ratio,
    /// 10⁹ bytes a second.
    GigabytesPerSecond,
    /// 2²⁰ bytes.
    Mebibytes,
    Seconds,
    /// Allocations a message.
    EachMessage,
}

impl Unit {
    /// A figure for reading.
    pub(crate) fn show(self, value: f64) -> String {
        match self {
            Self::Share => format!("{:.*} %", if value < 0.05 { 2 } else { 1 }, value * 100.0),
            Self::Ratio => format!("{value:.2}"),
            Self::GigabytesPerSecond => format!("{value:.2} GB/s"),
            Self::Mebibytes => format!("{value:.1} MiB"),
            Self::Seconds => format!("{value:.3} s"),
            Self::EachMessage => format!("{value:.2}"),
        }
    }
}

/// One row.
#[derive(Debug)]
pub(crate) struct Row {
    /// What `--only` and `benches/limits.md` call it.
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    pub(crate) unit: Unit,
    pub(crate) better: Better,
    pub(crate) must: f64,
    pub(crate) goal: f64,
}

const fn row(
    id: &'static str,
    title: &'static str,
    (unit, better): (Unit, Better),
    must: f64,
    goal: f64,
) -> Row {
    Row {
        id,
        title,
        unit,
        better,
        must,
        goal,
    }
}

use Better::{Higher, Lower};
use Unit::{EachMessage, GigabytesPerSecond, Mebibytes, Ratio, Seconds, Share};

/// All rows in the order of the table.
pub(crate) const ROWS: &[Row] = &[
    row(
        "ack",
        "durable ACK rate ÷ echo rate, 64 connections",
        (Share, Higher),
        0.5,
        0.7,
    ),
    row(
        "route",
        "full route ÷ null proxy, 64 connections",
        (Share, Higher),
        0.3,
        0.5,
    ),
    row(
        "single",
        "one connection: rate ÷ 1/(round trip + fdatasync)",
        (Share, Higher),
        0.85,
        0.95,
    ),
    row(
        "p99",
        "p99 of the durable ACK at 2,000/s ÷ (p99 echo + p99 fdatasync)",
        (Ratio, Lower),
        4.0,
        2.5,
    ),
    row(
        "parse-adt",
        "parse + 3 fields, 700 B",
        (GigabytesPerSecond, Higher),
        1.0,
        2.0,
    ),
    row(
        "parse-oru",
        "parse + 3 fields, 13 KB",
        (GigabytesPerSecond, Higher),
        3.0,
        6.0,
    ),
    row("rss-idle", "RSS idle", (Mebibytes, Lower), 64.0, 32.0),
    row(
        "rss-queued",
        "RSS with 1 M messages queued",
        (Mebibytes, Lower),
        200.0,
        100.0,
    ),
    row(
        "start-empty",
        "start to first ACK, empty store",
        (Seconds, Lower),
        0.3,
        0.1,
    ),
    row(
        "start-stored",
        "start to first ACK, 10 M messages stored",
        (Seconds, Lower),
        2.0,
        0.3,
    ),
    row(
        "disk",
        "disk bytes ÷ message bytes, log and index",
        (Ratio, Lower),
        2.0,
        1.5,
    ),
    row(
        "allocations",
        "allocations a message on the ACK path",
        (EachMessage, Lower),
        3.0,
        1.0,
    ),
    row(
        "cpu-idle",
        "CPU idle, 100 items, no traffic (of a core)",
        (Share, Lower),
        0.01,
        0.002,
    ),
];

/// How a figure stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    Goal,
    Must,
    Missed,
    /// A message was lost, or the run says nothing for another reason.
    Void,
}

impl Verdict {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Goal => "goal met",
            Self::Must => "must met",
            Self::Missed => "MISSED",
            Self::Void => "VOID",
        }
    }
}

impl Row {
    /// Judges a figure against must and goal.
    pub(crate) fn judge(&self, value: f64) -> Verdict {
        let reaches = |bound| match self.better {
            Better::Higher => value >= bound,
            Better::Lower => value <= bound,
        };
        match (reaches(self.goal), reaches(self.must)) {
            (true, _) => Verdict::Goal,
            (_, true) => Verdict::Must,
            _ => Verdict::Missed,
        }
    }
}

/// What one run of a row gave.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Sample {
    /// The figure.
    pub(crate) value: f64,
    /// What it was made of, and what else was seen: name and number, the unit in the name.
    pub(crate) parts: Vec<(&'static str, f64)>,
    /// Why the figure does not count.
    pub(crate) void: Option<String>,
}

impl Sample {
    pub(crate) fn new(value: f64) -> Self {
        Self {
            value,
            ..Self::default()
        }
    }

    /// Adds something that was seen.
    pub(crate) fn with(mut self, name: &'static str, value: f64) -> Self {
        self.parts.push((name, value));
        self
    }

    /// Adds what a message cost an engine in processor time, by thread.
    pub(crate) fn with_cpu(self, used: &Threads, messages: u64) -> Self {
        let each = |time: Duration| time.as_secs_f64() * 1e6 / messages.max(1) as f64;
        self.with("engine CPU µs a message: workers", each(used.rest))
            .with("journal", each(used.journal))
            .with("index", each(used.index))
    }

    /// Voids the figure if something speaks against it.
    pub(crate) fn void_if(mut self, reason: Option<String>) -> Self {
        self.void = self.void.or(reason);
        self
    }

    /// The parts on one line.
    pub(crate) fn line(&self) -> String {
        let mut line = String::new();
        for (name, value) in &self.parts {
            let places = usize::from(value.fract() != 0.0) * if value.abs() < 10.0 { 3 } else { 1 };
            let separator = if line.is_empty() { "" } else { " · " };
            let _ = write!(line, "{separator}{name} {value:.places$}");
        }
        line
    }
}

/// A row with its runs.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figure {
    pub(crate) id: &'static str,
    /// The median of the runs that count.
    pub(crate) value: Option<f64>,
    pub(crate) verdict: Verdict,
    pub(crate) samples: Vec<Sample>,
    /// Of the run that gave the median.
    pub(crate) parts: String,
}

impl Figure {
    /// Any void run voids the figure: a lost message is no outlier.
    pub(crate) fn of(row: &Row, samples: Vec<Sample>) -> Self {
        let median = median(&samples);
        let void = median.is_none() || samples.iter().any(|sample| sample.void.is_some());
        let verdict = match median {
            Some(sample) if !void => row.judge(sample.value),
            _ => Verdict::Void,
        };
        Self {
            id: row.id,
            value: median.map(|sample| sample.value),
            verdict,
            parts: median.map(Sample::line).unwrap_or_default(),
            samples,
        }
    }
}

/// The run in the middle; the worse of two for an even number would hide nothing, the lower is taken.
fn median(samples: &[Sample]) -> Option<&Sample> {
    let mut sorted: Vec<&Sample> = samples.iter().collect();
    sorted.sort_by(|a, b| a.value.total_cmp(&b.value));
    sorted.get(sorted.len().saturating_sub(1) / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(id: &str) -> &'static Row {
        ROWS.iter().find(|row| row.id == id).unwrap()
    }

    #[test]
    fn figures_are_judged_by_their_direction() {
        let (ack, disk) = (named("ack"), named("disk"));
        assert_eq!(
            [0.71, 0.6, 0.4].map(|v| ack.judge(v)),
            [Verdict::Goal, Verdict::Must, Verdict::Missed]
        );
        assert_eq!(
            [1.5, 1.9, 2.1].map(|v| disk.judge(v)),
            [Verdict::Goal, Verdict::Must, Verdict::Missed]
        );
    }

    #[test]
    fn the_median_stands_and_a_lost_message_voids_it() {
        let samples = [0.9, 0.1, 0.6].map(Sample::new).to_vec();
        assert_eq!(Figure::of(named("ack"), samples.clone()).value, Some(0.6));
        let mut lost = samples;
        lost[0].void = Some("1 lost".into());
        assert_eq!(Figure::of(named("ack"), lost).verdict, Verdict::Void);
        assert_eq!(Figure::of(named("ack"), Vec::new()).verdict, Verdict::Void);
    }

    #[test]
    fn ids_are_unique() {
        let mut ids: Vec<_> = ROWS.iter().map(|row| row.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), ROWS.len());
    }
}
