//! `hie reload`: takes the changed configuration file over while the engine runs.

use std::io::Write;

use clap::Args;

use crate::{
    cli::DataArgs,
    control::{
        client::Client,
        protocol::{Reloaded, Request},
    },
    exit::Failure,
    out::{Out, safe},
};

/// Options of `hie reload`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  hie reload --dry-run     what the changed file would stop and start
  hie reload               do it

The engine reads the file that it was started with. It is checked whole: after an error nothing has
changed (exit code 3). Only items that are different stop and start; queues stay, and connections of
other items stay open. If an item does not start, all of it is taken back (exit code 4). SIGHUP does
the same, and so does a change of the file with `hie run --watch` or `WatchConfig: true`.")]
pub(crate) struct Reload {
    /// Only say what it would change
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataArgs,
}

pub(crate) fn run(args: &Reload) -> Result<(), Failure> {
    let mut client = Client::require(&args.data.data)?;
    let reply = client.ask(Request::Reload {
        dry_run: args.dry_run,
    })?;
    let mut out = Out::new();
    if args.json {
        out.json(&reply.done)?;
        return Ok(out.flush()?);
    }
    let done: Reloaded = reply.typed_done()?;
    let would = if args.dry_run { "would be " } else { "" };
    let mut lines = Vec::new();
    let plain = |items: &[String], what: &str| -> Vec<String> {
        let line = |item: &String| format!("{} {would}{what}", safe(item));
        items.iter().map(line).collect()
    };
    lines.extend(plain(&done.plan.added, "added"));
    lines.extend(plain(&done.plan.removed, "removed"));
    for change in &done.plan.changed {
        let of = safe(&change.of.join(", ")).into_owned();
        lines.push(format!("{} {would}restarted: {of}", safe(&change.item)));
    }
    for change in &done.plan.noted {
        let of = safe(&change.of.join(", ")).into_owned();
        lines.push(format!("{} goes on: {of}", safe(&change.item)));
    }
    if !done.plan.production.is_empty() {
        let keys = done.plan.production.join(", ");
        lines.push(format!("of the production: {keys}"));
    }
    if lines.is_empty() {
        lines.push("nothing is different".into());
    }
    for line in lines {
        writeln!(out, "{line}")?;
    }
    if !args.dry_run {
        writeln!(out, "configuration {} is in force", done.generation)?;
    }
    Ok(out.flush()?)
}
