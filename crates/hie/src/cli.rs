//! The command line: every subcommand with its options and the help that teaches it.
//!
//! Owns names, options and examples. What a command does stands in its file under `commands/`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::commands::{
    check::Check, completions::Completions, demo::Demo, item::ItemCommand, journal::Journal,
    messages::Messages, new::New, purge::Purge, queues::Queues, reference::Reference,
    reload::Reload, resend::Resend, run::Run, schema::Schema, send::Send, show::Show,
    status::StatusArgs, trace::Trace, worker::Worker,
};

/// HIE: a healthcare integration engine.
///
/// Takes HL7 v2 messages in over MLLP and files, routes them by rules and hands them on. What was
/// acknowledged is never lost, and what fails is never silent.
#[derive(Parser)]
#[command(
    version,
    max_term_width = 100,
    after_help = "\
First steps:
  hie demo                                  watch messages flow
  hie check examples/nhs-acute-trust.yaml   is the configuration right?
  hie run examples/nhs-acute-trust.yaml     start it; one screen says what listens where
  hie send --to 127.0.0.1:2575 FILE         send it a message
  hie messages                              see what happened to it

Exit codes are listed in docs/reference/exit-codes.md."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Everything that `hie` can do.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Start a production and run it until it is stopped
    Run(Run),
    /// Watch messages flow between simulated senders and receivers
    Demo(Demo),
    /// Check a configuration and list every error at once
    Check(Check),
    /// Send messages from files over MLLP and count the answers
    Send(Send),
    /// Search messages by time, item, state, type, patient or text
    Messages(Messages),
    /// Show one message: header, segments, bytes
    Show(Show),
    /// Follow the session of a message from hop to hop
    Trace(Trace),
    /// Send stored messages again
    Resend(Resend),
    /// See what waits for each item
    Queues(Queues),
    /// Pause, resume, stop, start, disable, enable or restart single items
    #[command(subcommand)]
    Item(ItemCommand),
    /// Take the changed configuration file over while the engine runs
    Reload(Reload),
    /// See how the engine and its items are
    Status(StatusArgs),
    /// Look after the journal on the disk
    #[command(subcommand)]
    Journal(Journal),
    /// Let go of finished messages made before a time
    Purge(Purge),
    /// Begin a host of your own
    #[command(subcommand)]
    New(New),
    /// Print the JSON schema of the configuration, for editors
    Schema(Schema),
    /// Print a reference page in Markdown
    Reference(Reference),
    /// Run hosts for an engine (started by the engine, not by hand)
    #[command(hide = true)]
    Worker(Worker),
    /// Print completions for a shell
    Completions(Completions),
}

/// Which data folder is meant.
#[derive(Args, Clone, Debug)]
pub(crate) struct DataArgs {
    /// The data folder (DataPath of the configuration)
    #[arg(long, value_name = "DIR", default_value = "hie-data", env = "HIE_DATA")]
    pub(crate) data: PathBuf,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_says_what_it_does_and_shows_an_example() {
        for command in Cli::command().get_subcommands() {
            let name = command.get_name();
            assert!(
                command.get_about().is_some(),
                "{name} says nothing about itself"
            );
            let nested = command.get_subcommands().count() > 0;
            let taught = command
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            assert!(
                nested || taught.contains(&format!("hie {name}")),
                "{name} has no example"
            );
        }
    }
}
