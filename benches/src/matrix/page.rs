//! The page of the matrix: two tables and the words of `benches/concurrency.md`.

use std::{fmt::Write as _, path::Path};

use super::{
    cell::{Cell, Load},
    drain::Figure,
};
use crate::{Fault, machine::Machine};

/// The tables.
pub(crate) fn page(machine: &Machine, cells: &[Cell], figures: &[Figure]) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{}\n", machine.table());
    let _ = writeln!(
        text,
        "| pattern | mode | in flight: messages/s | p50 ms | p95 ms | p99 ms | cores | largest process MiB | processes | at documented rate: p50 ms | p95 ms | p99 ms | cores | documented | verdict |"
    );
    let _ = writeln!(text, "|{}", "---|".repeat(15));
    for cell in cells {
        let _ = writeln!(text, "{}", row(cell));
    }
    let _ = writeln!(
        text,
        "\n| figure | must | measured | verdict | made of |\n|---|---|---|---|---|"
    );
    for figure in figures {
        let (value, verdict) = match &figure.value {
            Ok(value) => (
                format!("{value:.1} {}", figure.unit),
                if (*value >= figure.must) != figure.at_most {
                    "met"
                } else {
                    "MISSED"
                },
            ),
            Err(error) => (format!("failed: {error}"), "VOID"),
        };
        let _ = writeln!(
            text,
            "| {} | {} {} | {value} | {verdict} | {} |",
            figure.title, figure.must, figure.unit, figure.parts
        );
    }
    text
}

fn row(cell: &Cell) -> String {
    let target = &cell.pattern;
    let documented = format!(
        "{:.0}/s, {:.0}/{:.0} ms",
        target.rate, target.p50_ms, target.p99_ms
    );
    let times = |load: &Load| {
        let us = load.sent.latency_us;
        format!(
            "{:.2} | {:.2} | {:.2}",
            us.p50 / 1e3,
            us.p95 / 1e3,
            us.p99 / 1e3
        )
    };
    let full = match &cell.full {
        Ok(load) => format!(
            "{:.0} | {} | {:.2} | {:.0} | {}",
            load.sent.per_second,
            times(load),
            load.cores,
            load.largest_mib,
            load.processes
        ),
        Err(fault) => format!("{fault} | | | | | |"),
    };
    let paced = match &cell.paced {
        Ok(load) => format!("{} | {:.2}", times(load), load.cores),
        Err(fault) => format!("{fault} | | |"),
    };
    let verdict = if cell.met() { "met" } else { "MISSED" };
    format!(
        "| {} | {} | {full} | {paced} | {documented} | {verdict} |",
        target.name, cell.mode
    )
}

/// The page as it is committed: the words, and the tables in their place.
pub(crate) fn whole(
    root: &Path,
    machine: &Machine,
    cells: &[Cell],
    figures: &[Figure],
) -> Result<String, Fault> {
    let words = std::fs::read_to_string(root.join("benches/concurrency.md"))?;
    let (before, after) = words
        .split_once("<!-- figures -->")
        .ok_or("benches/concurrency.md has no place for the figures")?;
    let command = crate::command();
    Ok(format!(
        "<!-- Written by `hie-bench matrix --page`; the words come from benches/concurrency.md. -->\n{before}    {command}\n\n{}{after}",
        page(machine, cells, figures)
    ))
}
