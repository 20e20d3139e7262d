//! `hie worker`: hosts of one item in a process of their own, at the other end of an engine's socket.
//!
//! Owns the command line and the logging of such a process; what it does is `hie-worker`'s.

use clap::Args;
use hie_worker::child::{self, ChildError, LogLines};

use crate::{
    classes::REGISTRY,
    exit::{Exit, Failure},
    logging,
};

/// Options of `hie worker`.
#[derive(Args)]
#[command(after_help = "\
The engine starts this for items with `ExecutionMode: multiprocess`:
  hie worker --item NAME --worker K    descriptor 0 is the socket of the worker protocol

It cannot do anything without an engine; started by hand it says so and exits with 2. How the two
speak stands in docs/reference/worker-protocol.md.")]
pub(crate) struct Worker {
    /// The item whose hosts run here (for `ps`; the engine says it again)
    #[arg(long, value_name = "NAME")]
    item: Option<String>,
    /// Which of the item's workers this is, from 0
    #[arg(long, value_name = "K")]
    worker: Option<u16>,
}

pub(crate) fn run(args: &Worker) -> Result<(), Failure> {
    let lines = LogLines::default();
    let logging = |level: &str| {
        let lines = lines.clone();
        logging::start_in_worker(level, move |level, text| lines.line(level, text));
    };
    match child::run(REGISTRY, &lines, logging) {
        Ok(()) => Ok(()),
        Err(ChildError::ByHand) => {
            Err(Failure::new("usage", child::BY_HAND).help("start a production with `hie run`"))
        }
        // The engine was told, and logs it.
        Err(ChildError::Failed(_)) => Err(Failure::said(Exit::Failure)),
        Err(ChildError::Engine(why)) => {
            let who = args.item.as_deref().unwrap_or("?");
            let number = args.worker.unwrap_or_default();
            let text = format!("worker {number} of {who} ends: {why}");
            Err(Failure::new("worker", text))
        }
    }
}
