//! `hie queues`: what waits for each item.

use std::io::Write;

use clap::Args;

use crate::{
    cli::DataArgs,
    control::{
        client::Link,
        protocol::{QueueRow, Request},
    },
    exit::Failure,
    out::{self, Out, Style, Table},
    times,
};

/// Options of `hie queues`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  hie queues                       lengths, oldest message, what is suspended or failed
  hie queues --json | jq .queued")]
pub(crate) struct Queues {
    /// Print JSON, one object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataArgs,
}

pub(crate) fn run(args: &Queues) -> Result<(), Failure> {
    let mut out = Out::new();
    let reply = Link::open(&args.data.data)?.ask(Request::Queues)?;
    if args.json {
        for row in &reply.rows {
            out.json(row)?;
        }
        return Ok(out.flush()?);
    }
    let rows: Vec<QueueRow> = reply.typed_rows()?;
    let mut table = Table::new(
        &[
            "item",
            "queued",
            "oldest",
            "most",
            "limit",
            "p99 wait",
            "dropped",
            "rejected",
            "suspended",
            "errors",
            "now",
        ],
        &[1, 2, 3, 4, 5, 6, 7, 8, 9],
    );
    for row in &rows {
        let oldest = row
            .oldest_s
            .filter(|_| row.queued > 0)
            .map(|seconds| times::span(seconds * 1000));
        let now = match &row.trying {
            Some(trying) => format!("tries again: {trying}"),
            None if row.orphaned => "not in the configuration: nothing takes these".into(),
            None if row.state.is_empty() || row.state == "running" => String::new(),
            None => row.state.clone(),
        };
        let marked = |count: u64, style| {
            (
                if count > 0 { style } else { Style::Plain },
                out::number(count),
            )
        };
        let limit = match row.limit {
            0 => String::new(),
            limit => out::number(limit),
        };
        table.styled([
            (Style::Plain, row.item.clone()),
            marked(row.queued, Style::Yellow),
            (Style::Plain, oldest.unwrap_or_default()),
            (Style::Plain, out::number(row.high_water)),
            (Style::Plain, limit),
            (Style::Plain, times::span(row.wait_p99_ms)),
            marked(row.dropped, Style::Red),
            marked(row.rejected, Style::Red),
            marked(row.suspended, Style::Yellow),
            marked(row.errors, Style::Red),
            (Style::Plain, now),
        ]);
    }
    if rows.is_empty() {
        writeln!(out, "nothing waits")?;
    } else {
        table.print(&mut out, "")?;
    }
    Ok(out.flush()?)
}
