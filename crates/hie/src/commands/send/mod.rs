//! `hie send`: files of messages over MLLP, and an account of the answers.
//!
//! Owns the options and the summary. Reading files stands in `files.rs`, talking in `wire.rs`.

mod files;
mod wire;

use std::{
    io::{self, IsTerminal, Write},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use clap::Args;
use serde_json::json;

use self::wire::{Account, Plan, Progress};
use crate::{
    exit::{Exit, Failure},
    out::{self, Out},
    times,
};

/// Options of `hie send`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  hie send --to 127.0.0.1:2575 admission.hl7
  hie send --to 127.0.0.1:2575 messages/ --rate 50          every file of the folder, 50 a second
  hie send --to 127.0.0.1:2575 day.hl7 --connections 8 --repeat 100
  printf 'MSH|^~\\\\&|…' | hie send --to 127.0.0.1:2575 -

A file may hold several messages: each begins at a line with MSH. Bytes go out as they are, so use
--fix-line-ends for files that an editor saved with LF. Ends with exit code 10 unless every message
was answered AA or CA.")]
pub(crate) struct Send {
    /// Files, folders (their files in order of name, no subfolders), or - for stdin
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// Where to send to
    #[arg(long, value_name = "HOST:PORT", value_parser = address)]
    to: String,
    /// Connections side by side; with more than one, order is kept within each only
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    connections: u16,
    /// Messages a second at most, over all connections
    #[arg(long, value_name = "N", value_parser = rate)]
    rate: Option<f64>,
    /// Send everything so many times
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,
    /// Seconds to wait for an answer
    #[arg(long, value_name = "S", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    ack_timeout: u64,
    /// Send CR where a file has LF or CRLF between segments
    #[arg(long)]
    fix_line_ends: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Send) -> Result<(), Failure> {
    let messages = files::read(&args.paths, args.fix_line_ends)?;
    let plan = Plan {
        to: args.to.clone(),
        total: messages.len() as u64 * u64::from(args.repeat),
        messages,
        connections: args.connections,
        per_second: args.rate,
        ack_timeout: Duration::from_secs(args.ack_timeout),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::new("runtime", format!("cannot start the runtime: {error}")))?;
    let account = runtime.block_on(work(plan, !args.json && io::stderr().is_terminal()));
    report(&args, &account)
}

async fn work(plan: Plan, bar: bool) -> Account {
    let (total, progress) = (plan.total, Arc::new(Progress::default()));
    let sending = wire::send(plan, progress.clone());
    tokio::pin!(sending);
    let mut tick = tokio::time::interval(Duration::from_millis(200));
    loop {
        tokio::select! {
            account = &mut sending => {
                if bar {
                    draw(&progress, total);
                    eprintln!();
                }
                return account;
            }
            _ = tick.tick(), if bar => draw(&progress, total),
            // What is under way is still answered; what is left is counted as not sent.
            _ = tokio::signal::ctrl_c() => progress.stop(),
        }
    }
}

/// One line that redraws itself.
fn draw(progress: &Progress, total: u64) {
    const WIDTH: u64 = 30;
    let (done, rate) = (progress.done(), progress.per_second());
    let full = usize::try_from(done * WIDTH / total.max(1)).unwrap_or(0);
    let bar = format!("{:<30}", "█".repeat(full));
    let _ = write!(
        io::stderr(),
        "\r\x1b[K{bar} {} of {}  {rate:.0}/s",
        out::number(done),
        out::number(total)
    );
    let _ = io::stderr().flush();
}

fn report(args: &Send, account: &Account) -> Result<(), Failure> {
    let mut out = Out::new();
    let seconds = account.took.as_secs_f64();
    let rate = if seconds > 0.0 {
        account.answered as f64 / seconds
    } else {
        0.0
    };
    if args.json {
        out.json(&json!({
            "to": args.to, "messages": account.total, "answered": account.answered, "accepted": account.accepted,
            "codes": account.codes, "errors": account.errors, "not_sent": account.not_sent(),
            "seconds": seconds, "per_second": rate,
        }))?;
    } else {
        let took = times::span(u64::try_from(account.took.as_millis()).unwrap_or(u64::MAX));
        let messages = out::count(account.total, "message");
        writeln!(out, "{messages} to {} in {took} ({rate:.0}/s)", args.to)?;
        for (code, count) in &account.codes {
            writeln!(out, "  {:<4} {:>9}", out::safe(code), out::number(*count))?;
        }
        for (error, count) in &account.errors {
            writeln!(out, "  {:>9} × {error}", out::number(*count))?;
        }
        if account.not_sent() > 0 {
            writeln!(out, "  {} not sent", out::number(account.not_sent()))?;
        }
    }
    out.flush()?;
    if account.accepted == account.total {
        return Ok(());
    }
    let refused = account.total - account.accepted;
    let message = format!(
        "{} of {} not accepted",
        out::number(refused),
        out::count(account.total, "message")
    );
    Err(Failure::new("refused", message).exit(Exit::Refused))
}

fn address(text: &str) -> Result<String, String> {
    let port = text
        .rsplit_once(':')
        .and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
    match port {
        Some((host, port)) if !host.is_empty() && port > 0 => Ok(text.to_owned()),
        _ => Err("write it as host:port, for example 127.0.0.1:2575".into()),
    }
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text
        .parse::<f64>()
        .ok()
        .filter(|rate| rate.is_finite() && *rate > 0.0);
    rate.ok_or_else(|| "a number of messages a second above 0".into())
}
