//! `hie status`: how the engine and its items are, once or again and again.

use std::{
    io::{self, Write},
    thread,
    time::Duration,
};

use clap::Args;

use crate::{
    cli::DataArgs,
    control::{
        client::Link,
        protocol::{Item, Request, Status},
    },
    exit::Failure,
    out::{self, Out, Style, Table},
    times,
};

/// Options of `hie status`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  hie status                 once
  hie status --watch         every second, until Ctrl-C
  hie status --json | jq '.items[] | select(.queued > 0)'")]
pub(crate) struct StatusArgs {
    /// Show it again and again
    #[arg(long)]
    watch: bool,
    /// Seconds between two looks
    #[arg(long, value_name = "S", default_value_t = 1, requires = "watch", value_parser = clap::value_parser!(u64).range(1..=3600))]
    every: u64,
    /// Print JSON, one object a look
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataArgs,
}

pub(crate) fn run(args: &StatusArgs) -> Result<(), Failure> {
    let mut out = Out::new();
    let mut link = Link::open(&args.data.data)?;
    loop {
        let reply = link.ask(Request::Status)?;
        if args.watch && out.tty && !args.json {
            write!(out, "\x1b[H\x1b[2J")?; // home, and an empty screen
        }
        if args.json {
            out.json(&reply.done)?;
        } else {
            print(&mut out, &reply.typed_done()?)?;
        }
        out.flush()?;
        if !args.watch || matches!(link, Link::AtRest(_)) {
            return Ok(());
        }
        thread::sleep(Duration::from_secs(args.every));
    }
}

fn print(out: &mut Out, status: &Status) -> io::Result<()> {
    if status.running {
        let ready = if status.ready {
            out.paint(Style::Green, "ready")
        } else {
            out.paint(Style::Red, "not ready")
        };
        let (name, up) = (&status.production, times::span(status.uptime_s * 1000));
        let pid = status.pid.unwrap_or_default();
        writeln!(
            out,
            "{name}: {ready}, up {up}, version {}, process {pid}",
            status.version
        )?;
        configuration(out, status)?;
        for reason in &status.reasons {
            writeln!(out, "  ! {}", out::safe(reason))?;
        }
    } else {
        writeln!(
            out,
            "stopped; the next start recovers {} and finds {} suspended",
            out::count(status.recovered.queued, "queued message"),
            out::number(status.recovered.waiting)
        )?;
    }
    let lag = if status.index_lag_bytes > 0 {
        format!(", index {} behind", out::bytes(status.index_lag_bytes))
    } else {
        String::new()
    };
    writeln!(
        out,
        "data {}, journal {}{lag}",
        status.data,
        out::bytes(status.journal_bytes)
    )?;
    if let Some(metrics) = &status.metrics {
        writeln!(out, "metrics {metrics}")?;
    }
    if let Some(trouble) = &status.index_trouble {
        writeln!(
            out,
            "! search and trace do not work: {}",
            out::safe(trouble)
        )?;
    }
    writeln!(out)?;
    if status.running {
        running(out, status)?
    } else {
        at_rest(out, status)?
    }
    for (name, queued) in &status.orphans {
        writeln!(
            out,
            "\n! {} for {}, which is not in the configuration",
            out::count(*queued, "message"),
            out::safe(name)
        )?;
    }
    Ok(())
}

/// Which configuration is in force, once it was changed, and what kept another from it.
fn configuration(out: &mut Out, status: &Status) -> io::Result<()> {
    let now = &status.configuration;
    if now.generation > 1 {
        let (since, by) = (times::rfc3339(now.since_ms), out::safe(&now.by));
        let changes = out::safe(&now.changes);
        writeln!(
            out,
            "configuration {} since {since}, by {by}: {changes}",
            now.generation
        )?;
    }
    if let Some(refused) = &now.refused {
        let (at, by) = (times::rfc3339(refused.at_ms), out::safe(&refused.by));
        let why = out::safe(&refused.reason);
        writeln!(out, "! a change was refused at {at}, by {by}: {why}")?;
    }
    Ok(())
}

fn running(out: &mut Out, status: &Status) -> io::Result<()> {
    let head = [
        "item", "class", "state", "where", "in", "done", "failed", "queued", "oldest", "retries",
    ];
    let mut table = Table::new(&head, &[4, 5, 6, 7, 8, 9]);
    for item in &status.items {
        let oldest = item
            .oldest_s
            .filter(|_| item.queued > 0)
            .map(|seconds| times::span(seconds * 1000));
        let plain = |text: String| (Style::Plain, text);
        let failed = item.failed + item.suspended;
        table.styled([
            plain(item.name.clone()),
            plain(item.class.clone()),
            (state_style(&item.state), item.state.clone()),
            plain(item.address.clone().unwrap_or_default()),
            plain(out::number(item.received)),
            plain(out::number(item.completed)),
            (
                if failed > 0 { Style::Red } else { Style::Plain },
                out::number(failed),
            ),
            (
                if item.queued > 0 {
                    Style::Yellow
                } else {
                    Style::Plain
                },
                out::number(item.queued),
            ),
            plain(oldest.unwrap_or_default()),
            plain(out::number(item.retries)),
        ]);
    }
    table.print(out, "")?;
    for item in &status.items {
        remarks(out, item)?;
    }
    workers(out, status)
}

/// The worker processes, where an item has some.
fn workers(out: &mut Out, status: &Status) -> io::Result<()> {
    let head = [
        "item", "worker", "process", "state", "CPU", "memory", "in hand", "restarts",
    ];
    let mut table = Table::new(&head, &[1, 2, 4, 5, 6, 7]);
    let mut any = false;
    for item in &status.items {
        for worker in &item.workers {
            any = true;
            let plain = |text: String| (Style::Plain, text);
            table.styled([
                plain(item.name.clone()),
                plain(worker.worker.to_string()),
                plain(worker.pid.map(|pid| pid.to_string()).unwrap_or_default()),
                (state_style(&worker.state), worker.state.clone()),
                plain(format!("{:.0} %", worker.cpu_percent)),
                plain(out::bytes(worker.resident_bytes)),
                plain(out::number(worker.in_flight)),
                plain(out::number(worker.restarts)),
            ]);
        }
    }
    if any {
        writeln!(out)?;
        table.print(out, "")?;
    }
    Ok(())
}

fn remarks(out: &mut Out, item: &Item) -> io::Result<()> {
    if let Some(trying) = &item.trying {
        writeln!(out, "  {} tries again: {}", item.name, out::safe(trying))?;
    } else if let Some(error) = &item.last_error {
        let at = item.last_error_ms.map(times::rfc3339).unwrap_or_default();
        writeln!(
            out,
            "  {} last error at {at}: {}",
            item.name,
            out::safe(error)
        )?;
    }
    if item.restarts > 0 {
        let times = out::count(item.restarts, "time");
        writeln!(out, "  {} was started again {times}", item.name)?;
    }
    if item.panics > 0 {
        writeln!(
            out,
            "  {} panicked {} and went on; the log says where",
            item.name,
            out::count(item.panics, "time")
        )?;
    }
    Ok(())
}

fn at_rest(out: &mut Out, status: &Status) -> io::Result<()> {
    let mut table = Table::new(&["item", "queued", "oldest", "kept messages"], &[1, 2]);
    for item in &status.items {
        let kept: Vec<String> = item
            .stored
            .iter()
            .map(|(state, count)| format!("{} {state}", out::number(*count)))
            .collect();
        let oldest = item
            .oldest_s
            .map(|seconds| times::span(seconds * 1000))
            .unwrap_or_default();
        table.row([
            item.name.clone(),
            out::number(item.queued),
            oldest,
            kept.join(", "),
        ]);
    }
    table.print(out, "")
}

/// Green for what works, red for what does not.
fn state_style(state: &str) -> Style {
    match state {
        "running" => Style::Green,
        "error" | "failed" => Style::Red,
        "starting" | "stopping" | "paused" => Style::Yellow,
        _ => Style::Dim,
    }
}
