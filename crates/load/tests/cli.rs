//! The command: each role as a process, as scripts use it.

#![allow(clippy::unwrap_used)] // a failure here is a failure of the test

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

fn hie_load(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hie-load"));
    command
        .args(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs to the end; the JSON line, whether it succeeded, and what it complained of.
fn run(args: &[&str]) -> (serde_json::Value, bool, String) {
    let output = hie_load(args).output().unwrap();
    let json = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (
        json,
        output.status.success(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

/// A role that listens, ended with the test.
struct Listening {
    child: Child,
    addr: String,
}

impl Listening {
    fn start(args: &[&str]) -> Self {
        let mut child = hie_load(args).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stderr.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let addr = line
            .trim()
            .strip_prefix("listening on ")
            .unwrap_or_else(|| panic!("{line}"))
            .to_owned();
        Self { child, addr }
    }

    /// Waits for it to end by itself.
    fn report(mut self) -> serde_json::Value {
        let mut out = String::new();
        self.child
            .stdout
            .take()
            .unwrap()
            .read_to_string(&mut out)
            .unwrap();
        serde_json::from_str(&out).unwrap()
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn loads_a_sink_through_a_proxy_and_accounts_for_all() {
    let folder = tempfile::tempdir().unwrap();
    let (acked, received) = (folder.path().join("acked"), folder.path().join("received"));
    let log = received.to_str().unwrap();
    let sink = Listening::start(&[
        "sink",
        "--addr",
        "127.0.0.1:0",
        "--expect",
        "300",
        "--log",
        log,
    ]);
    let proxy = Listening::start(&["proxy", "--addr", "127.0.0.1:0", "--to", &sink.addr]);
    let acked_log = acked.to_str().unwrap();
    let load = [
        "load",
        "--addr",
        &proxy.addr,
        "--connections",
        "3",
        "--messages",
        "300",
        "--acked-log",
        acked_log,
    ];
    let (report, good, errors) = run(&load);
    assert!(good, "{errors}");
    assert_eq!(
        (&report["acks"], &report["ack_codes"]["AA"], &report["pace"]),
        (&300.into(), &300.into(), &"closed".into())
    );
    let summary = sink.report();
    assert_eq!(
        (
            &summary["distinct"],
            &summary["out_of_order"],
            &summary["gaps"]
        ),
        (&300.into(), &0.into(), &0.into())
    );
    let lines = |path: &std::path::Path| {
        let mut lines: Vec<String> = std::fs::read_to_string(path)
            .unwrap()
            .lines()
            .map(String::from)
            .collect();
        lines.sort();
        lines
    };
    assert_eq!(lines(&acked), lines(&received));
}

#[test]
fn opens_against_a_null_echo() {
    let null = Listening::start(&["null", "--addr", "127.0.0.1:0"]);
    let open = [
        "open",
        "--addr",
        &null.addr,
        "--rate",
        "1000",
        "--messages",
        "100",
        "--connections",
        "4",
    ];
    let (report, good, errors) = run(&open);
    assert!(good, "{errors}");
    assert_eq!(
        (&report["acks"], &report["schedule"]["planned"]),
        (&100.into(), &100.into())
    );
}

#[test]
fn times_fdatasync() {
    let folder = tempfile::tempdir().unwrap();
    let (report, good, errors) = run(&[
        "fsync",
        "--folder",
        folder.path().to_str().unwrap(),
        "--seconds",
        "0.05",
    ]);
    assert!(
        good && report["latency_us"]["count"].as_u64() > Some(0),
        "{errors}"
    );
}

#[test]
fn says_what_is_wrong_and_fails() {
    let null = Listening::start(&["null", "--addr", "127.0.0.1:0"]);
    let (_, good, errors) = run(&["sink", "--addr", &null.addr]);
    assert!(
        !good && errors.contains(&format!("cannot listen on {}", null.addr)),
        "{errors}"
    );
    // Nobody listens on the first privileged port, and no test can come to.
    let addr = "127.0.0.1:1";
    let (report, good, _) = run(&["load", "--addr", addr, "--messages", "1"]);
    assert!(!good && report["errors"]["connecting: connection refused"] == 1);
    let (_, good, errors) = run(&["load", "--addr", addr, "--template", "/nowhere.hl7"]);
    assert!(
        !good && errors.contains("cannot read /nowhere.hl7"),
        "{errors}"
    );
    let (_, good, errors) = run(&["load", "--addr", addr, "--run", "a|b", "--messages", "1"]);
    assert!(!good && errors.contains("letters and digits"), "{errors}");
}
