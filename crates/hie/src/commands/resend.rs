//! `hie resend`: stored messages once more, each in a new session that is linked to the old.

use std::io::Write;

use clap::Args;

use super::messages::search;
use crate::{
    cli::DataArgs,
    control::{
        client::Client,
        protocol::{Filter, Request, Resent, Row},
    },
    exit::{Exit, Failure},
    out::{self, Out, safe},
};

/// Options of `hie resend`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  hie resend 42 43                                   the same bytes to the same targets
  hie resend 42 --target EPR                         to another item
  hie resend --state Error --item EPR --from 10:30 --dry-run
                                                     what would be sent again; then without --dry-run

Needs a running engine. The old message keeps its state; the new one names it in `hie trace`.")]
pub(crate) struct Resend {
    /// Messages, as `hie messages` numbers them
    #[arg(value_name = "ID")]
    ids: Vec<u64>,
    /// Who gets them instead of their old target
    #[arg(long, value_name = "ITEM")]
    target: Option<String>,
    #[command(flatten)]
    filter: Filter,
    /// Only list what would be sent
    #[arg(long)]
    dry_run: bool,
    /// Print JSON, one object a message
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataArgs,
}

pub(crate) fn run(args: &Resend) -> Result<(), Failure> {
    let by_id = !args.ids.is_empty();
    if by_id != args.filter.is_open() {
        let message =
            "name messages by id or by a search (--state, --item, --from …), one of the two";
        return Err(Failure::new("usage", message).help("hie resend --help shows examples"));
    }
    let mut client = Client::require(&args.data.data)?;
    let ids = if by_id {
        args.ids.clone()
    } else {
        found(args, &mut client)?
    };
    if args.dry_run {
        return list(args, &mut client, &ids);
    }
    send(args, &mut client, ids)
}

/// The messages of the search, oldest first, so that they go out in their old order.
fn found(args: &Resend, client: &mut Client) -> Result<Vec<u64>, Failure> {
    let mut ids = Vec::new();
    let next = search(
        &args.filter,
        |filter| client.ask(Request::Messages(filter)),
        |reply| {
            ids.extend(reply.typed_rows::<Row>()?.iter().map(|row| row.id));
            Ok(())
        },
    )?;
    if let Some(next) = next {
        eprintln!(
            "note: there are more than --limit {}; the rest with --before {next}",
            args.filter.limit
        );
    }
    ids.reverse();
    Ok(ids)
}

fn list(args: &Resend, client: &mut Client, ids: &[u64]) -> Result<(), Failure> {
    let mut out = Out::new();
    for id in ids {
        let reply = client.ask(Request::Show { id: *id })?;
        let row = reply
            .typed_done::<crate::control::protocol::Shown>()?
            .header;
        let target = args.target.as_ref().unwrap_or(&row.target);
        if args.json {
            out.json(&serde_json::json!({ "id": id, "target": target, "dry_run": true }))?;
        } else {
            writeln!(
                out,
                "{id}  {} {}  would go to {}",
                safe(&row.message_type),
                safe(&row.control_id),
                safe(target)
            )?;
        }
    }
    if !args.json {
        writeln!(
            out,
            "{} would be sent again",
            out::count(ids.len() as u64, "message")
        )?;
    }
    Ok(out.flush()?)
}

/// Messages of one request: an answer comes soon, and an interrupt stops soon.
const AT_ONCE: usize = 100;

fn send(args: &Resend, client: &mut Client, ids: Vec<u64>) -> Result<(), Failure> {
    let mut out = Out::new();
    let (mut sent, mut first_error) = (0, None);
    for ids in ids.chunks(AT_ONCE) {
        let request = Request::Resend {
            ids: ids.to_vec(),
            target: args.target.clone(),
        };
        let reply = client.ask(request)?;
        if args.json {
            for row in &reply.rows {
                out.json(row)?;
            }
        }
        for row in reply.typed_rows::<Resent>()? {
            match (row.session, row.error) {
                (Some(session), _) => {
                    sent += 1;
                    if !args.json {
                        writeln!(out, "{} → {}  session {session}", row.id, safe(&row.target))?;
                    }
                }
                (None, error) => {
                    let error = error.map_or_else(|| Failure::said(Exit::Failure), Failure::from);
                    eprintln!("error: message {}: {}", row.id, error.message);
                    first_error.get_or_insert(error.exit);
                }
            }
        }
        out.flush()?;
    }
    if !args.json {
        writeln!(out, "{} sent again", out::count(sent, "message"))?;
    }
    out.flush()?;
    first_error.map_or(Ok(()), |exit| Err(Failure::said(exit)))
}
