//! The demo on a pipe: one line a second, `key=value` throughout, so that `grep` and `awk` can read
//! it as well as a person.

use std::io::{self, Write};

use hie_engine::stats::ItemState;

use super::frame::{Frame, Row};
use crate::out::Out;

/// Prints the line of one moment.
pub(crate) fn print(out: &mut Out, frame: &Frame) -> io::Result<()> {
    writeln!(out, "{}", line(frame))?;
    out.flush()
}

fn line(frame: &Frame) -> String {
    let of_kind = |kind: &'static str| frame.rows.iter().filter(move |row| row.kind == kind);
    let coming: f64 = of_kind("Service").map(|row| row.in_rate).sum();
    let going: f64 = of_kind("Operation").map(|row| row.out_rate).sum();
    let totals = frame.totals;
    let mut parts = vec![
        format!(
            "t={:.1}s in={coming:.0}/s out={going:.0}/s",
            frame.elapsed.as_secs_f64()
        ),
        format!(
            "sent={} acked={} queued={}",
            totals.sent,
            totals.acked,
            frame.queued()
        ),
    ];
    if totals.refused > 0 {
        parts.push(format!("refused={}", totals.refused));
    }
    for row in of_kind("Operation") {
        operation(&mut parts, row);
        receiver(&mut parts, frame, &row.name);
    }
    if let Some(trouble) = &frame.trouble {
        parts.push(format!("trouble={trouble:?}"));
    }
    parts.join(" ")
}

/// Its queue, and what is not as it should be.
fn operation(parts: &mut Vec<String>, row: &Row) {
    let name = &row.name;
    parts.push(format!("{name}.queued={}", row.queued));
    if row.retrying {
        parts.push(format!("{name}.state=retrying"));
    } else if row.state != ItemState::Running {
        parts.push(format!("{name}.state={}", row.state.name()));
    }
    if row.suspended > 0 {
        parts.push(format!("{name}.suspended={}", row.suspended));
    }
    if row.failed > 0 {
        parts.push(format!("{name}.errors={}", row.failed));
    }
}

/// What arrived at the receiver behind it.
fn receiver(parts: &mut Vec<String>, frame: &Frame, name: &str) {
    for ((destination, verdict), (_, word)) in frame.verdicts.iter().zip(&frame.sites) {
        if destination.name() == name {
            parts.push(format!(
                "{name}.delivered={}",
                verdict.delivered.saturating_sub(verdict.unknown)
            ));
            if *word != "up" {
                parts.push(format!("{name}.receiver={word}"));
            }
        }
    }
}
