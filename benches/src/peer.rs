//! The other ends of a measurement, each a process of its own: this binary again, under a hidden
//! subcommand. They are the roles of `hie-load`, from the same library; here they also answer
//! questions while they run, one line on standard input for one line on standard output.

use std::{
    io::{BufRead, Write},
    sync::Arc,
    time::Duration,
};

use hie_load::{
    ledger::Fate,
    message::{Kind, Template},
    peers,
    receiver::Receiver,
    sender::{self, Arrivals, Load, Pace},
};
use serde::{Deserialize, Serialize};

use crate::{Fault, counted};

/// A role of this binary.
#[derive(Clone, Debug, clap::Subcommand)]
pub(crate) enum Role {
    /// Answers AA to everything
    Null,
    /// Passes messages on
    Proxy {
        /// Where to
        to: String,
    },
    /// Receives, counts, and writes the control IDs it saw to a file when asked
    Sink {
        /// That file
        log: std::path::PathBuf,
    },
    /// Sends as the JSON says and prints the report
    Send {
        /// A [`Sending`]
        spec: String,
    },
    /// The engine in this binary, with every allocation counted
    Counted {
        /// Its configuration
        config: std::path::PathBuf,
    },
}

/// What a sender is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Sending {
    pub(crate) addr: String,
    pub(crate) connections: usize,
    /// Messages a second of an open loop; none: a closed loop.
    pub(crate) rate: Option<f64>,
    pub(crate) messages: Option<u64>,
    pub(crate) seconds: Option<f64>,
    pub(crate) warmup_seconds: f64,
    /// The message; none: the built-in admission of 700 bytes.
    pub(crate) template: Option<String>,
    pub(crate) run: String,
    pub(crate) acked_log: Option<std::path::PathBuf>,
    /// Messages of 10,000 patients instead of one.
    #[serde(default)]
    pub(crate) varied: bool,
}

/// The patients of varied messages.
const PATIENTS: u64 = 10_000;

impl Sending {
    /// So many connections to `addr`, closed loop.
    pub(crate) fn closed(addr: &str, connections: usize) -> Self {
        Self {
            addr: addr.to_owned(),
            connections,
            rate: None,
            messages: None,
            seconds: None,
            warmup_seconds: 0.0,
            template: None,
            run: "0001".to_owned(),
            acked_log: None,
            varied: false,
        }
    }

    /// For a measured time.
    pub(crate) fn lasting(self, warmup: Duration, measured: Duration) -> Self {
        Self {
            warmup_seconds: warmup.as_secs_f64(),
            seconds: Some(measured.as_secs_f64()),
            ..self
        }
    }

    /// So many messages in all.
    pub(crate) fn counting(self, messages: u64) -> Self {
        Self {
            messages: Some(messages),
            ..self
        }
    }

    /// At a planned rate.
    pub(crate) fn paced(self, rate: f64) -> Self {
        Self {
            rate: Some(rate),
            ..self
        }
    }

    fn load(&self) -> Result<Load, Fault> {
        let template = match &self.template {
            Some(text) => Template::parse(text.as_bytes())?,
            None if self.varied => Template::varied(Kind::Adt, 700, 1).among(PATIENTS),
            None => Template::fixed(Kind::Adt, 700),
        };
        let arrivals = Arrivals::Constant;
        Ok(Load {
            connections: self.connections,
            pace: self.rate.map_or(Pace::Closed, |per_second| Pace::Open {
                per_second,
                arrivals,
            }),
            messages: self.messages,
            duration: self.seconds.map(Duration::from_secs_f64),
            warmup: Duration::from_secs_f64(self.warmup_seconds),
            run: self.run.clone(),
            keep_ledger: self.acked_log.is_some(),
            ..Load::new(self.addr.clone(), template)
        })
    }
}

/// Plays a role until standard input ends.
pub(crate) fn play(role: &Role) -> Result<(), Fault> {
    let runtime = tokio::runtime::Runtime::new()?;
    match role {
        Role::Null => serve(&runtime, runtime.block_on(peers::null("127.0.0.1:0"))?),
        Role::Proxy { to } => serve(&runtime, runtime.block_on(peers::proxy("127.0.0.1:0", to))?),
        Role::Sink { log } => sink(&runtime, log),
        Role::Send { spec } => send(&runtime, &serde_json::from_str(spec)?),
        Role::Counted { config } => counted::run(&runtime, config),
    }
}

fn serve(runtime: &tokio::runtime::Runtime, peer: peers::Peer) -> Result<(), Fault> {
    say(&peer.addr().to_string())?;
    runtime.spawn(peer.run());
    std::io::stdin().lines().for_each(drop); // until our parent goes
    Ok(())
}

fn sink(runtime: &tokio::runtime::Runtime, log: &std::path::Path) -> Result<(), Fault> {
    let receiver = Arc::new(runtime.block_on(Receiver::start("127.0.0.1:0"))?);
    receiver.keep_log();
    say(&receiver.addr().to_string())?;
    for line in std::io::stdin().lock().lines() {
        if line? == "log" {
            let ids = receiver.log();
            std::fs::write(log, ids.join("\n"))?;
        }
        say(&serde_json::to_string(&receiver.summary())?)?;
    }
    Ok(())
}

fn send(runtime: &tokio::runtime::Runtime, spec: &Sending) -> Result<(), Fault> {
    let outcome = runtime.block_on(sender::run(spec.load()?))?;
    if let Some(path) = &spec.acked_log {
        let ids: Vec<String> = outcome.sent.ids(Fate::Acked).collect();
        std::fs::write(path, ids.join("\n"))?;
    }
    say(&serde_json::to_string(&outcome.report)?)
}

/// One line to the parent.
pub(crate) fn say(line: &str) -> Result<(), Fault> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
