//! Child processes: the peers of a measurement and their questions. A child ends with the value that
//! stands for it.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde::Deserialize;

use crate::{Fault, peer::Sending};

/// A peer that runs.
pub(crate) struct Peer {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    /// The first line it said: where it listens, as a rule.
    pub(crate) said: String,
}

impl Peer {
    /// Starts this binary in a role and waits for its first line.
    pub(crate) fn start(args: &[&str]) -> Result<Self, Fault> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("peer")
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let output = BufReader::new(output.ok_or("the child has no standard output")?);
        let mut peer = Self {
            child,
            input,
            output,
            said: String::new(),
        };
        peer.said = peer.listen()?;
        Ok(peer)
    }

    /// The port it listens on.
    pub(crate) fn port(&self) -> Result<u16, Fault> {
        let port = self
            .said
            .rsplit(':')
            .next()
            .and_then(|port| port.parse().ok());
        port.ok_or_else(|| format!("no address: {}", self.said).into())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks and waits for the answer.
    pub(crate) fn ask(&mut self, question: &str) -> Result<String, Fault> {
        let input = self.input.as_mut().ok_or("the child takes no questions")?;
        writeln!(input, "{question}")?;
        self.listen()
    }

    /// The next line as a number.
    pub(crate) fn ask_number(&mut self, question: &str) -> Result<f64, Fault> {
        Ok(self.ask(question)?.parse()?)
    }

    fn listen(&mut self) -> Result<String, Fault> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            return Err(format!("a peer ended before it answered: {}", self.child.wait()?).into());
        }
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.kill(); // it may have ended by itself
        let _ = self.child.wait();
    }
}

/// What a sender reported; the fields that are used here.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Sent {
    pub(crate) per_second: f64,
    pub(crate) latency_us: Quantiles,
    pub(crate) ack_codes: BTreeMap<String, u64>,
    pub(crate) unanswered: u64,
    pub(crate) wrong_id: u64,
    pub(crate) errors: BTreeMap<String, u64>,
    pub(crate) schedule: Option<Schedule>,
}

/// Latencies in microseconds.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(crate) struct Quantiles {
    pub(crate) p50: f64,
    pub(crate) p95: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

/// How an open loop kept its plan.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(crate) struct Schedule {
    pub(crate) late_generator: bool,
    pub(crate) overloaded: bool,
}

impl Sent {
    /// Messages acknowledged, warm-up included.
    pub(crate) fn acked(&self) -> u64 {
        self.ack_codes.get("AA").copied().unwrap_or(0)
    }

    /// What speaks against a figure from this run.
    pub(crate) fn fault(&self) -> Option<String> {
        let other = self.ack_codes.keys().any(|code| code != "AA");
        let schedule = self.schedule.unwrap_or_default();
        if !self.errors.is_empty() || self.unanswered > 0 || self.wrong_id > 0 || other {
            let (codes, errors) = (&self.ack_codes, &self.errors);
            return Some(format!(
                "answers {codes:?}, {} unanswered, {} wrong, errors {errors:?}",
                self.unanswered, self.wrong_id
            ));
        }
        if schedule.overloaded {
            return Some("the rate is more than it carries".to_owned());
        }
        schedule
            .late_generator
            .then(|| "the generator was late".to_owned())
    }
}

/// Sends from a process of its own and waits for its report.
pub(crate) fn send(spec: &Sending) -> Result<Sent, Fault> {
    let peer = Peer::start(&["send", &serde_json::to_string(spec)?])?;
    Ok(serde_json::from_str(&peer.said)?)
}
