//! The measurements, one function a run of a row. Each starts its own processes, baseline first and
//! engine second, so that runs alternate and drift of the machine meets both.

mod allocations;
mod disk;
mod flow;
mod idle;
mod memory;
mod parse;
mod start;

use crate::{
    Bench, Fault,
    figure::{Row, Sample},
};

pub(crate) use start::Stored;

/// Takes one run of a row.
pub(crate) fn run(bench: &mut Bench, row: &Row) -> Result<Sample, Fault> {
    match row.id {
        "ack" => flow::ack(bench),
        "route" => flow::route(bench),
        "single" => flow::single(bench),
        "p99" => flow::p99(bench),
        "parse-adt" => parse::run(700),
        "parse-oru" => parse::run(13_000),
        "rss-idle" => memory::idle(bench),
        "rss-queued" => memory::queued(bench),
        "start-empty" => start::empty(bench),
        "start-stored" => start::stored(bench),
        "disk" => disk::run(bench),
        "allocations" => allocations::run(bench),
        "cpu-idle" => idle::run(bench),
        other => Err(format!("row {other} has no measurement").into()),
    }
}
