//! `hie journal`: verify, repair and measure the log on the disk, without an engine.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use hie_journal::{LogStat, RepairReport, VerifyReport};
use serde_json::{Value, json};

use crate::{
    cli::DataArgs,
    exit::{Exit, Failure},
    out::{self, Out},
};

/// Subcommands of `hie journal`.
#[derive(Subcommand)]
pub(crate) enum Journal {
    /// Read every frame and list all damage; changes nothing; exit code 7 if there is any
    #[command(after_help = "\
Example:
  hie journal verify --data hie-data

Also on a copy of a data folder, and beside a running engine.")]
    Verify(Common),
    /// Set damage aside so that the engine starts again; copies the damaged files first
    #[command(after_help = "\
Example:
  hie journal repair --data hie-data

The engine must be stopped. What is lost is listed; the files as they were are kept as evidence.")]
    Repair(Common),
    /// Show the segments and sizes
    #[command(after_help = "\
Example:
  hie journal stat --data hie-data")]
    Stat(Common),
}

/// Options of all of them.
#[derive(Args)]
pub(crate) struct Common {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataArgs,
}

impl Common {
    fn journal(&self) -> PathBuf {
        self.data.data.join("journal")
    }
}

pub(crate) fn run(command: &Journal) -> Result<(), Failure> {
    match command {
        Journal::Verify(args) => verify(args),
        Journal::Repair(args) => repair(args),
        Journal::Stat(args) => stat(args),
    }
}

fn verify(args: &Common) -> Result<(), Failure> {
    let report = hie_journal::verify(&args.journal())?;
    let mut out = Out::new();
    if args.json {
        out.json(&verified(&report))?;
    } else {
        print_verified(&mut out, &report)?;
    }
    out.flush()?;
    if report.is_sound() {
        Ok(())
    } else {
        Err(Failure::said(Exit::Damaged))
    }
}

fn verified(report: &VerifyReport) -> Value {
    let damage = |damage: &hie_journal::Damage| {
        json!({
            "position": damage.position.0, "until": damage.until.0, "file": file(&damage.file),
            "reason": damage.reason, "good_records_before": damage.records_before, "good_records_after": damage.records_after,
        })
    };
    json!({
        "sound": report.is_sound(),
        "segments": report.segments, "frames": report.frames, "records": report.records,
        "set_aside_earlier": report.skipped, "end": report.end.0,
        "damages": report.damages.iter().map(damage).collect::<Vec<_>>(),
        "torn_tail": report.torn.as_ref().map(|(at, why)| json!({ "position": at.0, "reason": why })),
    })
}

fn print_verified(out: &mut Out, report: &VerifyReport) -> std::io::Result<()> {
    let segments = out::count(report.segments as u64, "segment");
    let (frames, records) = (
        out::count(report.frames, "frame"),
        out::count(report.records, "record"),
    );
    let sound = if report.is_sound() { "ok" } else { "DAMAGED" };
    writeln!(
        out,
        "{sound}: {segments}, {frames}, {records}, end at {}",
        report.end
    )?;
    if report.skipped > 0 {
        writeln!(
            out,
            "  {} set aside by an earlier repair",
            out::count(report.skipped, "record")
        )?;
    }
    if let Some((at, why)) = &report.torn {
        writeln!(
            out,
            "  a torn tail at {at} that was never acknowledged ({why}); the next start cuts it"
        )?;
    }
    for damage in &report.damages {
        let (from, until) = (damage.position, damage.until);
        writeln!(
            out,
            "  damage from {from} to {until} in {}: {}",
            file(&damage.file),
            damage.reason
        )?;
        writeln!(
            out,
            "    {} before it are good, {} after it",
            out::count(damage.records_before, "record"),
            out::number(damage.records_after)
        )?;
    }
    if !report.is_sound() {
        writeln!(
            out,
            "\nNothing was changed. `hie journal repair` sets the damage aside and keeps the rest; a backup of the data folder is better."
        )?;
    }
    Ok(())
}

fn repair(args: &Common) -> Result<(), Failure> {
    let report = hie_journal::repair(&args.journal())?;
    let mut out = Out::new();
    if args.json {
        out.json(&repaired(&report))?;
    } else if report.damages.is_empty() {
        writeln!(out, "ok: nothing is damaged, nothing was changed")?;
    } else {
        print_repaired(&mut out, &report)?;
    }
    Ok(out.flush()?)
}

fn repaired(report: &RepairReport) -> Value {
    let damage = |damage: &hie_journal::Damage| json!({ "position": damage.position.0, "until": damage.until.0, "file": file(&damage.file), "reason": damage.reason });
    json!({
        "damages": report.damages.iter().map(damage).collect::<Vec<_>>(),
        "evidence": report.evidence.iter().map(|path| file(path)).collect::<Vec<_>>(),
        "salvaged": report.salvaged,
        "after": verified(&report.after),
    })
}

fn print_repaired(out: &mut Out, report: &RepairReport) -> std::io::Result<()> {
    for damage in &report.damages {
        let (from, until) = (damage.position, damage.until);
        writeln!(
            out,
            "set aside: {from} to {until} in {}: {}",
            file(&damage.file),
            damage.reason
        )?;
    }
    writeln!(
        out,
        "{} inside were whole and stay readable",
        out::count(report.salvaged, "record")
    )?;
    for path in &report.evidence {
        writeln!(out, "kept as it was: {}", file(path))?;
    }
    print_verified(out, &report.after)
}

fn stat(args: &Common) -> Result<(), Failure> {
    let stat = hie_journal::stat(&args.journal())?;
    let mut out = Out::new();
    if args.json {
        out.json(&figures(&stat))?;
        return Ok(out.flush()?);
    }
    let bytes: u64 = stat.segments.iter().map(|segment| segment.bytes).sum();
    let segments = out::count(stat.segments.len() as u64, "segment");
    writeln!(
        out,
        "{segments}, {} on the disk, epoch {}, kept from {}",
        out::bytes(bytes),
        stat.epoch,
        stat.first
    )?;
    for segment in &stat.segments {
        writeln!(
            out,
            "  {:>20}  {:>10}  {}",
            segment.base,
            out::bytes(segment.bytes),
            file(&segment.file)
        )?;
    }
    Ok(out.flush()?)
}

fn figures(stat: &LogStat) -> Value {
    let segment = |segment: &hie_journal::SegmentStat| json!({ "base": segment.base.0, "bytes": segment.bytes, "file": file(&segment.file) });
    json!({
        "epoch": stat.epoch, "first": stat.first.0, "durable_floor": stat.durable_floor.0,
        "bytes": stat.segments.iter().map(|segment| segment.bytes).sum::<u64>(),
        "segments": stat.segments.iter().map(segment).collect::<Vec<_>>(),
    })
}

fn file(path: &Path) -> String {
    path.display().to_string()
}
