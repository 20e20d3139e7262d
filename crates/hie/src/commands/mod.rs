//! The subcommands, one file each: its options, what it does, what it prints.

pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod demo;
pub(crate) mod item;
pub(crate) mod journal;
pub(crate) mod messages;
pub(crate) mod new;
pub(crate) mod purge;
pub(crate) mod queues;
pub(crate) mod reference;
pub(crate) mod reload;
pub(crate) mod resend;
pub(crate) mod run;
pub(crate) mod schema;
mod screen;
pub(crate) mod send;
pub(crate) mod show;
pub(crate) mod status;
pub(crate) mod trace;
pub(crate) mod worker;

use crate::{
    cli::{Cli, Command},
    exit::Failure,
};

/// Does what the command line says.
pub(crate) fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Run(args) => run::run(&args),
        Command::Demo(args) => demo::run(args),
        Command::Check(args) => check::run(&args),
        Command::Send(args) => send::run(args),
        Command::Messages(args) => messages::run(&args),
        Command::Show(args) => show::run(&args),
        Command::Trace(args) => trace::run(&args),
        Command::Resend(args) => resend::run(&args),
        Command::Queues(args) => queues::run(&args),
        Command::Item(command) => item::run(&command),
        Command::Reload(args) => reload::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Journal(args) => journal::run(&args),
        Command::Purge(args) => purge::run(&args),
        Command::New(args) => new::run(&args),
        Command::Schema(args) => schema::run(&args),
        Command::Reference(args) => reference::run(&args),
        Command::Worker(args) => worker::run(&args),
        Command::Completions(args) => completions::run(&args),
    }
}
