//! `hie-load`, the instrument as a command: one subcommand a role, one JSON object on one line at the
//! end. It owns no measurement; those are in the library.
#![allow(clippy::print_stdout)] // the JSON line is what this program is for

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use serde::Serialize;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use hie_load::ledger::{Fate, Summary};
use hie_load::message::{Kind, Template};
use hie_load::receiver::{Answer, Behaviour, Receiver};
use hie_load::sender::{self, Arrivals, Load, Pace, Progress, Reconnect};
use hie_load::{peers, probe};
use hie_mllp::Framing;

/// The JSON line, and whether the command did what it is for.
type Outcome = Result<(String, bool), Box<dyn std::error::Error>>;

#[derive(Parser)]
#[command(
    version,
    about = "Measures HL7 v2 engines over MLLP from both sides",
    max_term_width = 100
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Closed loop: N connections send, wait for the ACK, send; tells the rate an engine sustains
    Load(Sending),
    /// Open loop: messages go out at planned times; tells latency, counted from those times
    Open(Opening),
    /// Receive, answer and account for messages
    Sink(Sinking),
    /// Acknowledge everything and remember nothing: the upper bound of an ACK
    Null {
        /// Where to listen
        #[arg(long)]
        addr: SocketAddr,
    },
    /// Pass messages on and ACKs back without storing: the upper bound of a route
    Proxy {
        /// Where to listen
        #[arg(long)]
        addr: SocketAddr,
        /// Where to pass on to
        #[arg(long)]
        to: String,
    },
    /// Time fdatasync on a preallocated file: the lower bound of a durable ACK
    Fsync(Syncing),
}

#[derive(Args)]
struct Sending {
    /// Where the engine listens
    #[arg(long)]
    addr: String,
    /// Connections, each with its own stream of control IDs
    #[arg(long, default_value_t = 1)]
    connections: usize,
    /// Stop after this many messages in all
    #[arg(long)]
    messages: Option<u64>,
    /// Stop this many seconds after the warm-up [default: 20, or none with --messages]
    #[arg(long, value_parser = seconds)]
    seconds: Option<Duration>,
    /// Seconds at the start that are sent but not measured
    #[arg(long, default_value = "0", value_parser = seconds)]
    warmup: Duration,
    /// Built-in message: adt, oru or orm
    #[arg(long, default_value = "adt")]
    kind: Kind,
    /// Bytes of a built-in message
    #[arg(long, default_value_t = 700)]
    size: usize,
    /// Another made-up patient, ward and facility in each message, from this seed
    #[arg(long)]
    patients: Option<u64>,
    /// Send this file's message instead (its MSH-10 is replaced)
    #[arg(long, conflicts_with_all = ["kind", "size", "patients"])]
    template: Option<PathBuf>,
    /// One to six letters and digits that open each control ID; another for each run
    #[arg(long, default_value = "0001")]
    run: String,
    /// Seconds to wait for an ACK
    #[arg(long, default_value = "30", value_parser = seconds)]
    ack_timeout: Duration,
    /// Reconnect after a lost connection and send the unanswered message again, for so many seconds
    #[arg(long, value_parser = seconds)]
    reconnect: Option<Duration>,
    /// Write the control IDs that got AA or CA to this file, one a line
    #[arg(long)]
    acked_log: Option<PathBuf>,
}

#[derive(Args)]
struct Opening {
    /// Messages a second over all connections
    #[arg(long)]
    rate: f64,
    /// Spread them independently of each other (exponential gaps), from this seed, not at equal distances
    #[arg(long)]
    poisson: Option<u64>,
    #[command(flatten)]
    sending: Sending,
}

#[derive(Args)]
struct Sinking {
    /// Where to listen
    #[arg(long)]
    addr: SocketAddr,
    /// Answer with this code
    #[arg(long, default_value = "AA")]
    code: String,
    /// Answer this many milliseconds late
    #[arg(long, default_value_t = 0)]
    delay_ms: u64,
    /// Answer nothing
    #[arg(long)]
    silent: bool,
    /// Stop after this many distinct messages
    #[arg(long)]
    expect: Option<u64>,
    /// Stop this many seconds after the last message
    #[arg(long, value_parser = seconds)]
    idle: Option<Duration>,
    /// Write the control IDs of first deliveries to this file, in order of arrival
    #[arg(long)]
    log: Option<PathBuf>,
}

#[derive(Args)]
struct Syncing {
    /// Folder on the disk in question
    #[arg(long, default_value = ".")]
    folder: PathBuf,
    /// Bytes written before each sync
    #[arg(long, default_value_t = 4096)]
    write_bytes: usize,
    /// Syncs a second [default: back to back]
    #[arg(long)]
    rate: Option<f64>,
    /// Length of the run in seconds
    #[arg(long, default_value = "5", value_parser = seconds)]
    seconds: Duration,
}

#[tokio::main]
async fn main() -> std::process::ExitCode {
    let done = match Cli::parse().command {
        Command::Load(sending) => load(sending, Pace::Closed).await,
        Command::Open(Opening {
            rate,
            poisson,
            sending,
        }) => {
            let arrivals = poisson.map_or(Arrivals::Constant, Arrivals::Poisson);
            load(
                sending,
                Pace::Open {
                    per_second: rate,
                    arrivals,
                },
            )
            .await
        }
        Command::Sink(sinking) => sink(sinking).await,
        Command::Null { addr } => serve(peers::null(&addr.to_string()).await, addr).await,
        Command::Proxy { addr, to } => {
            serve(peers::proxy(&addr.to_string(), &to).await, addr).await
        }
        Command::Fsync(syncing) => fsync(syncing).await,
    };
    match done {
        Ok((report, good)) => {
            println!("{report}");
            if good {
                std::process::ExitCode::SUCCESS
            } else {
                std::process::ExitCode::FAILURE
            }
        }
        Err(error) => {
            eprintln!("hie-load: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}

async fn load(sending: Sending, pace: Pace) -> Outcome {
    let load = options(&sending, pace)?;
    let progress = Arc::new(Progress::default());
    let mut running = tokio::spawn(sender::run_with(load, progress.clone()));
    let outcome = tokio::select! {
        outcome = &mut running => outcome??,
        stopped = stopped() => {
            stopped?;
            progress.stop();
            running.await??
        }
    };
    if let Some(path) = &sending.acked_log {
        let lines: String = outcome.sent.ids(Fate::Acked).map(|id| id + "\n").collect();
        std::fs::write(path, lines)
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    // Without a single answer there is nothing to report but errors: scripts must see that.
    let answered = !outcome.report.ack_codes.is_empty();
    Ok((serde_json::to_string(&outcome.report)?, answered))
}

fn options(sending: &Sending, pace: Pace) -> Result<Load, Box<dyn std::error::Error>> {
    let template = match (&sending.template, sending.patients) {
        (Some(path), _) => {
            let bytes = std::fs::read(path)
                .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
            Template::parse(&bytes).map_err(|error| format!("{}: {error}", path.display()))?
        }
        (None, Some(seed)) => Template::varied(sending.kind, sending.size, seed),
        (None, None) => Template::fixed(sending.kind, sending.size),
    };
    let unbounded = sending
        .messages
        .is_none()
        .then_some(Duration::from_secs(20));
    let reconnect = |give_up_after| Reconnect {
        every: Duration::from_millis(100),
        give_up_after,
    };
    Ok(Load {
        connections: sending.connections,
        pace,
        messages: sending.messages,
        duration: sending.seconds.or(unbounded),
        warmup: sending.warmup,
        run: sending.run.clone(),
        ack_timeout: sending.ack_timeout,
        reconnect: sending.reconnect.map(reconnect),
        keep_ledger: sending.acked_log.is_some(),
        ..Load::new(sending.addr.clone(), template)
    })
}

async fn sink(options: Sinking) -> Outcome {
    let answer = if options.silent {
        Answer::Silence
    } else {
        Answer::Code(options.code.clone())
    };
    let behaviour = Behaviour::of(answer).after(Duration::from_millis(options.delay_ms));
    let receiver = Receiver::start_with(&options.addr.to_string(), behaviour, Framing::MLLP)
        .await
        .map_err(|error| format!("cannot listen on {}: {error}", options.addr))?;
    eprintln!("listening on {}", receiver.addr());
    if options.log.is_some() {
        receiver.keep_log();
    }
    let done = async {
        loop {
            let idle = options
                .idle
                .is_some_and(|idle| receiver.quiet_for().is_some_and(|quiet| quiet > idle));
            let all = options
                .expect
                .is_some_and(|count| receiver.summary().distinct >= count);
            if idle || all {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        () = done => {}
        stopped = stopped() => stopped?,
    }
    if let Some(path) = &options.log {
        let lines: String = receiver.log().into_iter().map(|id| id + "\n").collect();
        std::fs::write(path, lines)
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    let span = receiver.span().as_secs_f64();
    let summary = receiver.summary();
    let report = SinkReport {
        summary,
        connections: receiver.connections(),
        seconds: (span * 100.0).round() / 100.0,
        per_second: (summary.received as f64 / span.max(1e-9) * 10.0).round() / 10.0,
    };
    Ok((serde_json::to_string(&report)?, true))
}

#[derive(Serialize)]
struct SinkReport {
    #[serde(flatten)]
    summary: Summary,
    connections: u64,
    seconds: f64,
    per_second: f64,
}

async fn serve(peer: std::io::Result<peers::Peer>, at: SocketAddr) -> Outcome {
    let peer = peer.map_err(|error| format!("cannot listen on {at}: {error}"))?;
    let addr = peer.addr();
    eprintln!("listening on {addr}");
    tokio::select! {
        () = peer.run() => {}
        stopped = stopped() => stopped?,
    }
    Ok((json!({ "addr": addr.to_string() }).to_string(), true))
}

async fn fsync(options: Syncing) -> Outcome {
    let Syncing {
        folder,
        write_bytes,
        rate,
        seconds,
    } = options;
    let probe =
        tokio::task::spawn_blocking(move || probe::fdatasync(&folder, write_bytes, rate, seconds));
    Ok((serde_json::to_string(&probe.await??)?, true))
}

/// Resolves at SIGTERM or SIGINT.
async fn stopped() -> std::io::Result<()> {
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text
        .parse()
        .map_err(|_| format!("{text:?} is not a number of seconds"))?;
    Duration::try_from_secs_f64(number).map_err(|_| format!("{text:?} is not a length of time"))
}
