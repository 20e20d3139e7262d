//! `hie item`: starts, stops, pauses single items of a running production.

use std::io::Write;

use clap::{Args, Subcommand};

use crate::{
    cli::DataArgs,
    control::{
        client::Client,
        protocol::{Commanded, ItemVerb, Request},
    },
    exit::{Exit, Failure},
    out::{Out, safe},
};

/// What to do with an item.
#[derive(Subcommand)]
#[command(after_help = "\
What is decided here holds until the engine starts again; `enabled: false` in the configuration is the
form that lasts. Queues are never touched: they keep what they have and go on taking messages.")]
pub(crate) enum ItemCommand {
    /// Finish what is in hand and take nothing more; connections stay open and unanswered
    #[command(
        after_help = "Example:\n  hie item pause EPR     while its receiver is being worked on"
    )]
    Pause(Names),
    /// Go on after a pause
    #[command(after_help = "Example:\n  hie item resume EPR")]
    Resume(Names),
    /// Stop, until `start` or the next start of the engine
    #[command(after_help = "Example:\n  hie item stop From-Lab")]
    Stop(Names),
    /// Start what is stopped, in error or given up
    #[command(after_help = "Example:\n  hie item start From-Lab")]
    Start(Names),
    /// Stop and start: new hosts, new connections
    #[command(after_help = "Example:\n  hie item restart EPR     it reads its certificates again")]
    Restart(Names),
    /// Stop and count as disabled, as `enabled: false` would
    #[command(after_help = "Example:\n  hie item disable EPR")]
    Disable(Names),
    /// Start and count as enabled, whatever the configuration says
    #[command(after_help = "Example:\n  hie item enable EPR")]
    Enable(Names),
}

/// Which items.
#[derive(Args)]
pub(crate) struct Names {
    /// Items by name
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
    /// Print JSON, one object an item
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataArgs,
}

pub(crate) fn run(command: &ItemCommand) -> Result<(), Failure> {
    let (verb, args) = match command {
        ItemCommand::Pause(args) => (ItemVerb::Pause, args),
        ItemCommand::Resume(args) => (ItemVerb::Resume, args),
        ItemCommand::Stop(args) => (ItemVerb::Stop, args),
        ItemCommand::Start(args) => (ItemVerb::Start, args),
        ItemCommand::Restart(args) => (ItemVerb::Restart, args),
        ItemCommand::Disable(args) => (ItemVerb::Disable, args),
        ItemCommand::Enable(args) => (ItemVerb::Enable, args),
    };
    let mut client = Client::require(&args.data.data)?;
    let reply = client.ask(Request::Item {
        verb,
        names: args.names.clone(),
    })?;
    let mut out = Out::new();
    let mut first_error = None;
    for (row, done) in reply.rows.iter().zip(reply.typed_rows::<Commanded>()?) {
        if args.json {
            out.json(row)?;
        }
        if let Some(error) = done.error {
            let error = Failure::from(error);
            eprintln!("error: {}: {}", safe(&done.item), safe(&error.message));
            first_error.get_or_insert(error.exit);
        } else if !args.json {
            let note = match done.note.as_str() {
                "" => String::new(),
                note => format!(" ({})", safe(note)),
            };
            writeln!(out, "{}: {}{note}", safe(&done.item), done.state)?;
        }
    }
    out.flush()?;
    first_error.map_or(Ok(()), |exit: Exit| Err(Failure::said(exit)))
}
