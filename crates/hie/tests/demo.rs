//! `hie demo` through the real binary, on a pipe: messages flow, a stopped receiver's queue grows
//! and drains, and the ledger kept outside the engine has lost nothing.

#![allow(clippy::unwrap_used)] // a test may panic

use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Command, Output, Stdio},
};

fn demo(options: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hie"))
        .arg("demo")
        .args(options)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The values of `key=` in the lines of figures, in order.
fn values(stdout: &str, key: &str) -> Vec<u64> {
    let of_line = |line: &str| {
        let value = line
            .split(' ')
            .find_map(|part| part.strip_prefix(key)?.strip_prefix('='))?;
        value.trim_end_matches("/s").parse().ok()
    };
    stdout
        .lines()
        .filter(|line| line.starts_with("t="))
        .filter_map(of_line)
        .collect()
}

/// The figure behind `word` in the last line of the verdict.
fn verdict(stdout: &str, word: &str) -> u64 {
    let line = stdout
        .lines()
        .find(|line| line.starts_with("verdict:"))
        .expect("a verdict at the end");
    let part = line
        .trim_start_matches("verdict:")
        .split(',')
        .find_map(|part| part.trim().strip_prefix(word));
    part.expect("the verdict has it").trim().parse().unwrap()
}

/// The folder that the demo says its data are in.
fn data_folder(stdout: &str) -> &Path {
    Path::new(
        stdout
            .lines()
            .find_map(|line| line.strip_prefix("# data "))
            .expect("it says where its data are"),
    )
}

#[test]
fn messages_flow_and_a_stopped_receivers_queue_grows_and_drains() {
    let ended = demo(&[
        "--seconds",
        "6",
        "--rate",
        "100",
        "--stop-receiver",
        "EPR@1..3",
    ]);
    let (stdout, stderr) = (text(&ended.stdout), text(&ended.stderr));
    assert!(ended.status.success(), "{stdout}{stderr}");

    assert!(
        values(&stdout, "in").iter().any(|&rate| rate > 0),
        "nothing flows: {stdout}"
    );
    let queue = values(&stdout, "EPR.queued");
    let highest = queue.iter().copied().max().unwrap();
    assert!(highest > 10, "the queue of EPR never grew: {stdout}");
    assert_eq!(
        queue.last(),
        Some(&0),
        "the queue of EPR did not drain: {stdout}"
    );
    assert!(
        stdout.contains("EPR.state=retrying") && stdout.contains("EPR.receiver=down"),
        "{stdout}"
    );
    // Who is down holds up nobody else.
    let others = values(&stdout, "Warehouse-Live.queued");
    assert!(others.iter().all(|&length| length < highest), "{stdout}");

    assert_eq!(
        (
            verdict(&stdout, "lost"),
            verdict(&stdout, "changed"),
            verdict(&stdout, "out of order")
        ),
        (0, 0, 0)
    );
    assert!(verdict(&stdout, "acked") > 100, "{stdout}");
    assert!(
        verdict(&stdout, "delivered") > verdict(&stdout, "acked"),
        "one message has several receivers: {stdout}"
    );
    assert!(
        !data_folder(&stdout).exists(),
        "the temporary folder is left behind"
    );
}

#[test]
fn the_other_commands_look_into_a_running_demo_and_its_data_are_kept_where_asked() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("kept");
    let mut running = Command::new(env!("CARGO_BIN_EXE_hie"))
        .args(["demo", "--seconds", "4", "--rate", "50", "--data"])
        .arg(&data)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(running.stdout.take().unwrap()).lines();
    let flows = |line: &String| line.starts_with("t=") && !line.contains(" acked=0 ");
    assert!(
        lines.by_ref().map(Result::unwrap).any(|line| flows(&line)),
        "nothing was acknowledged"
    );
    for command in ["queues", "messages", "status"] {
        let asked = Command::new(env!("CARGO_BIN_EXE_hie"))
            .arg(command)
            .arg("--data")
            .arg(&data)
            .output()
            .unwrap();
        let stdout = text(&asked.stdout);
        assert!(
            asked.status.success() && stdout.contains("EPR"),
            "{command}: {stdout}{}",
            text(&asked.stderr)
        );
    }
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    let ended = running.wait_with_output().unwrap();
    assert!(ended.status.success(), "{rest:?}{}", text(&ended.stderr));
    assert!(data.join("demo.log").exists());
    let mut log = String::new();
    std::fs::File::open(data.join("demo.log"))
        .unwrap()
        .read_to_string(&mut log)
        .unwrap();
    assert!(!log.contains("PID|"), "message content in the log");
}

#[test]
fn a_signal_ends_it_with_the_verdict() {
    let mut running = Command::new(env!("CARGO_BIN_EXE_hie"))
        .arg("demo")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(running.stdout.take().unwrap()).lines();
    assert!(
        lines.by_ref().any(|line| line.unwrap().starts_with("t=")),
        "no line of figures"
    );
    let id = running.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &id])
            .status()
            .unwrap()
            .success()
    );
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    assert_eq!(verdict(&rest.join("\n"), "lost"), 0);
    assert!(running.wait().unwrap().success());
}

#[test]
fn a_wrong_command_line_is_explained() {
    for (option, value, part) in [
        (
            "--stop-receiver",
            "PAS@1..2",
            "there are EPR, RIS, Warehouse-Live",
        ),
        ("--stop-receiver", "EPR@5..1", "end before it begins"),
        ("--rate", "0", "1..=2000"),
        ("--seconds", "-x", "no number of seconds"),
    ] {
        let asked = demo(&[&format!("{option}={value}")]);
        let stderr = text(&asked.stderr);
        assert!(
            asked.status.code() == Some(2) && stderr.contains(part),
            "{option} {value}: {stderr}"
        );
    }
}
