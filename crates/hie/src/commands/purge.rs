//! `hie purge`: lets go of finished messages; what is unfinished is kept whatever its age.

use std::io::Write;

use clap::Args;

use crate::{
    cli::DataArgs,
    control::{client::Client, protocol::Request},
    exit::Failure,
    out::{self, Out},
    times,
};

/// Options of `hie purge`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  hie purge --before -30d --dry-run             how much would go
  hie purge --before 2026-01-01 --item EPR

Needs a running engine. A session with an unfinished message is kept whole. Messages leave search
and trace at once; their bytes leave the disk when their whole journal segment may go.")]
pub(crate) struct Purge {
    /// Made before this time, e.g. -30d or 2026-01-01
    #[arg(long = "before", value_name = "TIME", value_parser = times::parse, allow_hyphen_values = true)]
    before_ms: u64,
    /// Only messages with this source or target (may be given more than once)
    #[arg(long = "item", value_name = "NAME")]
    items: Vec<String>,
    /// Only count
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataArgs,
}

pub(crate) fn run(args: &Purge) -> Result<(), Failure> {
    let mut client = Client::require(&args.data.data)?;
    let reply = client.ask(Request::Purge {
        before_ms: args.before_ms,
        items: args.items.clone(),
        dry_run: args.dry_run,
    })?;
    let mut out = Out::new();
    if args.json {
        out.json(&reply.done)?;
    } else {
        let figure = |name: &str| reply.done[name].as_u64().unwrap_or(0);
        let would = if args.dry_run { "would leave" } else { "left" };
        let (messages, bodies) = (out::count(figure("messages"), "message"), figure("bodies"));
        let freed = if args.dry_run {
            String::new()
        } else {
            format!("; {} of journal freed", out::bytes(figure("bytes")))
        };
        writeln!(
            out,
            "{messages} ({} bodies) {would}{freed}",
            out::number(bodies)
        )?;
    }
    Ok(out.flush()?)
}
