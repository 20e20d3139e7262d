//! `hie messages`: search.
//!
//! Pages through the store until as many rows are there as were asked for, so that a search of
//! bodies never keeps the engine busy for long at a time.

use std::io::Write;

use clap::Args;

use crate::{
    cli::DataArgs,
    control::{
        client::Link,
        protocol::{Filter, PageEnd, Reply, Request, Row},
    },
    exit::Failure,
    out::{self, Out, Style, Table},
    times,
};

/// Options of `hie messages`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  hie messages                                    the newest
  hie messages --state Error,Suspended            what needs a person
  hie messages --from -2h --item EPR --type ADT
  hie messages --patient 9434765919 --json
  hie messages --from 10:30 --to 11:00 --text 'Potassium'

Newest first. Patients' data is matched, never printed here; `hie show ID` shows a message.")]
pub(crate) struct Messages {
    #[command(flatten)]
    filter: Filter,
    /// Print JSON, one object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataArgs,
}

pub(crate) fn run(args: &Messages) -> Result<(), Failure> {
    let mut link = Link::open(&args.data.data)?;
    let mut out = Out::new();
    let mut rows: Vec<Row> = Vec::new();
    let next = search(
        &args.filter,
        |filter| link.ask(Request::Messages(filter)),
        |reply| {
            if args.json {
                for row in &reply.rows {
                    out.json(row)?;
                }
            } else {
                rows.extend(reply.typed_rows::<Row>()?);
            }
            Ok(())
        },
    )?;
    if !args.json {
        print(&mut out, &rows)?;
        if let Some(next) = next {
            writeln!(out, "\nmore with --before {next}")?;
        }
    }
    Ok(out.flush()?)
}

/// Asks for pages until the limit is reached or all is seen; gives where the next page begins.
pub(super) fn search(
    filter: &Filter,
    mut ask: impl FnMut(Filter) -> Result<Reply, Failure>,
    mut take: impl FnMut(&Reply) -> Result<(), Failure>,
) -> Result<Option<u64>, Failure> {
    let mut filter = filter.clone();
    loop {
        let reply = ask(filter.clone())?;
        take(&reply)?;
        let PageEnd { next } = reply.typed_done()?;
        filter.limit = filter.limit.saturating_sub(reply.rows.len() as u64);
        filter.before = next;
        if filter.limit == 0 || next.is_none() {
            return Ok(next);
        }
    }
}

fn print(out: &mut Out, rows: &[Row]) -> std::io::Result<()> {
    if rows.is_empty() {
        return writeln!(out, "no messages match");
    }
    let head = [
        "id",
        "session",
        "time",
        "type",
        "control id",
        "from",
        "to",
        "state",
        "tries",
        "reason",
    ];
    let mut table = Table::new(&head, &[0, 1, 8]);
    for row in rows {
        let plain = |text: String| (Style::Plain, text);
        table.styled([
            plain(row.id.to_string()),
            plain(row.session.to_string()),
            plain(times::local(row.created_ms, true)),
            plain(row.message_type.clone()),
            plain(row.control_id.clone()),
            plain(row.source.clone()),
            plain(row.target.clone()),
            (state_style(&row.state), row.state.clone()),
            plain(out::number(row.attempts.into())),
            plain(row.reason.clone()),
        ]);
    }
    table.print(out, "")
}

/// Red for what failed, yellow for what waits, green for what is done.
pub(super) fn state_style(state: &str) -> Style {
    match state {
        "Completed" => Style::Green,
        "Error" | "Aborted" => Style::Red,
        "Suspended" | "Deferred" | "Queued" | "Created" | "Delivered" => Style::Yellow,
        _ => Style::Dim,
    }
}
