//! `hie demo`: the example production with simulated senders and receivers, shown live.
//!
//! Owns the options, the data folder and the log of a demo; what it plays stands in `demo/`.

use std::{
    fs::{self, DirBuilder, File},
    io::ErrorKind,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Mutex,
    time::Duration,
};

use clap::Args;

use hie_engine::production::Manner;

use crate::{
    commands::run::{live, prepare_folder, runtime},
    control::server,
    demo::{self, Outage, Plan, RATES, Stage},
    exit::Failure,
};

/// Options of `hie demo`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  hie demo                                               keys: 1 2 3 stop a receiver, e, +, -, q
  hie demo --data demo-data                              keep what it stored, to look at afterwards
  hie demo --seconds 20 --stop-receiver EPR@3..8 | cat   without hands: a line a second

At the end the senders stop, the queues drain, and the ledger that senders and receivers kept says
what became of every message. Exit code 1 when one that was acknowledged is missing.")]
pub(crate) struct Demo {
    /// Messages a second at the start, both feeds together
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(i64::from(*RATES.start())..=i64::from(*RATES.end())))]
    rate: u32,
    /// End after so many seconds; otherwise q or Ctrl-C ends it
    #[arg(long, value_name = "N", value_parser = demo::seconds)]
    seconds: Option<Duration>,
    /// Stop a receiver (EPR, RIS or Warehouse-Live) from one second to another; may be repeated
    #[arg(long, value_name = "NAME@FROM..TO", value_parser = demo::outage)]
    stop_receiver: Vec<Outage>,
    /// Keep the data in this folder; otherwise they go to a temporary one, removed at the end
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// What goes to demo.log in the data folder: a level, or a list such as `info,hie_hosts=debug`
    #[arg(long, value_name = "FILTER", default_value = "info", env = "HIE_LOG")]
    log: String,
}

pub(crate) fn run(args: Demo) -> Result<(), Failure> {
    let folder = Folder::make(args.data.as_deref())?;
    let data = prepare_folder(&folder.path)?;
    server::check_path(&data)?;
    log_to(&data.join("demo.log"), &args.log)?;
    let plan = Plan {
        rate: args.rate,
        length: args.seconds,
        outages: args.stop_receiver,
    };
    let runtime = runtime()?;
    let ended = runtime.block_on(async {
        let stage = Stage::set(&data).await?;
        let config = stage.config()?;
        let play = async |desk: &_, production: &_, signals: &mut _| {
            demo::play(stage, &plan, desk, production, signals).await
        };
        Box::pin(live(config, Manner::default(), play)).await
    });
    runtime.shutdown_timeout(Duration::from_millis(200));
    if !folder.temporary {
        eprintln!("The data are kept: hie messages --data {}", data.display());
    }
    ended
}

/// The data folder of a demo.
struct Folder {
    path: PathBuf,
    /// Removed when this is dropped.
    temporary: bool,
}

impl Folder {
    fn make(wanted: Option<&Path>) -> Result<Self, Failure> {
        if let Some(path) = wanted {
            return Ok(Self {
                path: path.to_owned(),
                temporary: false,
            });
        }
        let parent = std::env::temp_dir();
        // Made, never found: a folder of that name may be somebody else's.
        for number in 0..100 {
            let path = parent.join(format!("hie-demo-{}-{number}", std::process::id()));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => {
                    return Ok(Self {
                        path,
                        temporary: true,
                    });
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => {
                    let message = format!(
                        "cannot make a temporary folder in {}: {error}",
                        parent.display()
                    );
                    return Err(
                        Failure::new("folder", message).help("name a folder with --data DIR")
                    );
                }
            }
        }
        let message = format!(
            "{} is full of old demo folders (hie-demo-*)",
            parent.display()
        );
        Err(Failure::new("folder", message).help("remove them, or name a folder with --data DIR"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.temporary
            && let Err(error) = fs::remove_dir_all(&self.path)
        {
            eprintln!(
                "warning: the temporary folder {} could not be removed: {error}",
                self.path.display()
            );
        }
    }
}

/// Logs go to a file: on the terminal they would run through the view.
fn log_to(path: &Path, filter: &str) -> Result<(), Failure> {
    let filter = tracing_subscriber::EnvFilter::try_new(filter)
        .map_err(|error| Failure::new("usage", format!("`{filter}` is no log filter: {error}")))?;
    let file = File::options()
        .create(true)
        .append(true)
        .open(path)
        .map_err(|error| {
            Failure::new(
                "folder",
                format!("cannot write {}: {error}", path.display()),
            )
        })?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(Mutex::new(file));
    lines
        .try_init()
        .map_err(|error| Failure::new("runtime", error.to_string()))
}
