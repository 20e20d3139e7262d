//! Worker processes through the real binary: what dies is started anew, nothing is lost or
//! reordered, and whatever a worker does wrong stays its own.

#![allow(clippy::unwrap_used)] // a test may end so

mod common;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
};

use common::{Engine, Mllp, Place, Receiver, eventually, message};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// A feed, one process and one way out; every item has one job.
fn feed(port: u16) -> String {
    format!(
        r#"
production: {{name: Workers, DataPath: @/data, MetricsAddress: "127.0.0.1:0", ShutdownTimeout: 10}}
items:
  - name: In
    class: HL7TCPService
    adapter: {{Port: 0, IPAddress: 127.0.0.1}}
    host: {{TargetConfigNames: Pass}}
  - name: Pass
    class: PassthroughProcess
    host: {{TargetConfigNames: Out, ExecutionMode: multi_process, MaxAttempts: 1000, RestartDelay: 0}}
  - name: Out
    class: HL7TCPOperation
    adapter: {{IPAddress: 127.0.0.1, Port: {port}}}
    host: {{ExecutionMode: multiprocess, RetryInterval: 0.05, MaxAttempts: 1000, RestartDelay: 0}}
"#
    )
}

fn worker(engine: &Engine<'_>, item: &str) -> Value {
    engine.item(item)["workers"][0].clone()
}

fn pid(engine: &Engine<'_>, item: &str) -> u32 {
    eventually("the worker runs", || {
        worker(engine, item)["pid"].as_u64()?.try_into().ok()
    })
}

fn cmdline(pid: u32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

fn kill(pid: u32) {
    let _ = kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL);
}

fn is_gone(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.is_empty() || stat.contains(") Z")
}

#[test]
fn killed_workers_lose_nothing_and_reorder_nothing() {
    const MESSAGES: usize = 300;
    let place = Place::new();
    let receiver = Receiver::start();
    receiver.inner.keep_log();
    let engine = place.start(&feed(receiver.inner.addr().port()));
    for item in ["Pass", "Out"] {
        let line = cmdline(pid(&engine, item));
        assert!(
            line.contains(&format!("worker --item {item} --worker 0")),
            "{line}"
        );
    }
    let mut sender = Mllp::connect(engine.address("In"));
    for n in 0..MESSAGES {
        let body = message("ADT^A08", &format!("C{n:05}"), "P1", "KILL");
        sender.accepted(&body);
        if n % 30 == 15 {
            let item = if n % 60 == 15 { "Pass" } else { "Out" };
            kill(pid(&engine, item));
        }
    }
    engine.wait_for("Out", "completed", MESSAGES as u64);
    let mut log = receiver.inner.log();
    log.dedup(); // what was in a worker's hands comes twice, one after the other
    let sent: Vec<String> = (0..MESSAGES).map(|n| format!("C{n:05}")).collect();
    let seen: Vec<String> = log.iter().map(|entry| entry.to_string()).collect();
    assert_eq!(seen, sent, "each of them, in order");
    assert!(worker(&engine, "Pass")["restarts"].as_u64().unwrap() >= 5);
    let table = place.hie(["status"]).ok().stdout;
    assert!(table.contains("in hand"), "{table}");
    assert_eq!(engine.stop(), 0, "{}", engine.log());
}

#[test]
fn when_the_engine_is_killed_its_workers_are_gone() {
    let place = Place::new();
    let receiver = Receiver::start();
    let engine = place.start(&feed(receiver.inner.addr().port()));
    let workers = [pid(&engine, "Pass"), pid(&engine, "Out")];
    engine.kill();
    eventually("the workers are gone", || {
        workers.iter().all(|pid| is_gone(*pid)).then_some(())
    });
}

#[test]
fn a_service_in_a_worker_acknowledges_what_the_engine_has_on_disk() {
    let place = Place::new();
    let receiver = Receiver::start();
    let config = feed(receiver.inner.addr().port()).replace(
        "host: {TargetConfigNames: Pass}",
        "host: {TargetConfigNames: Pass, ExecutionMode: multiprocess}",
    );
    let engine = place.start(&config);
    let mut sender = Mllp::connect(engine.address("In"));
    let body = message("ADT^A01", "C1", "P1", "SERVICE");
    sender.accepted(&body);
    receiver.wait_for(1);
    // Its worker dies: the connection breaks, another worker takes the port.
    kill(pid(&engine, "In"));
    eventually("the service listens again", || {
        (worker(&engine, "In")["restarts"] == 1 && engine.item("In")["state"] == "running")
            .then_some(())
    });
    drop(sender);
    engine.kill();
    let engine = place.start(&config);
    eventually("what was acknowledged is there after a crash", || {
        let rows = place.hie(["messages", "--json"]).ok().rows();
        (!rows.is_empty()).then_some(())
    });
    assert_eq!(engine.stop(), 0, "{}", engine.log());
}

#[test]
fn started_by_hand_it_explains_itself() {
    let place = Place::new();
    let ran = place.hie(["worker", "--item", "A"]).exits(2);
    assert!(
        ran.stderr.contains("ExecutionMode: multiprocess"),
        "{}",
        ran.stderr
    );
}

/// A production with one Python process that is not Python at all: a script that answers
/// `hie.describe`, and then does what `body` says with the socket on its descriptor 0.
fn faulty(place: &Place, body: &str, settings: &str) -> String {
    const DESCRIPTION: &str =
        r#"{"class":"custom.a.b.C","kind":"Process","summary":"A fault.","settings":[]}"#;
    let python = find_python();
    let script = format!(
        r#"#!{python}
import os, sys, socket, struct, time
if sys.argv[2] == "hie.describe":
    print('{DESCRIPTION}')
    sys.exit(0)
s = socket.socket(fileno=0)
def frame(kind, header, body=b""):
    s.sendall(struct.pack(">IBI", 5 + len(header) + len(body), kind, len(header)) + header + body)
def read():
    def exactly(n):
        data = b""
        while len(data) < n:
            part = s.recv(n - len(data))
            if not part: sys.exit(0)
            data += part
        return data
    n, = struct.unpack(">I", exactly(4))
    return exactly(n)
HELLO = lambda version=1: frame(1, bytes([0x92, version]) + b"\xa1x")
READY = lambda: frame(3, b"\x91\x01")
def begin():
    HELLO(); read(); READY()
def until_message():
    while True:
        data = read()
        if data[0] == 10: return data
        if data[0] == 50: frame(51, data[5:])
{body}
"#
    );
    let path = place.write("fake-python", &script);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    format!(
        r#"
production: {{name: Faults, DataPath: @/data, MetricsAddress: none, ShutdownTimeout: 3, PythonExecutable: ./fake-python}}
items:
  - name: In
    class: HL7TCPService
    adapter: {{Port: 0, IPAddress: 127.0.0.1}}
    host: {{TargetConfigNames: Bad}}
  - name: Bad
    class: custom.a.b.C
    host: {{MaxAttempts: 1, RestartDelay: 0, {settings}}}
  - name: Good
    class: DiscardOperation
"#
    )
}

/// The interpreter itself, not what a version manager puts before it.
fn find_python() -> String {
    let asked = Command::new("python3")
        .args(["-c", "import sys; print(sys.executable)"])
        .stderr(Stdio::null())
        .output()
        .unwrap();
    String::from_utf8(asked.stdout).unwrap().trim().to_owned()
}

/// Runs a faulty worker until the item's last error says so; the engine stays well.
fn says(body: &str, settings: &str, message_first: bool, words: &str) {
    let place = Place::new();
    let config = faulty(&place, body, settings);
    let engine = place.launch(&config, &[]);
    eventually("the engine answers", || {
        let ran = place.hie(["status", "--json"]);
        (ran.code == 0 && ran.json()["running"] == true).then_some(())
    });
    if message_first {
        let mut sender = Mllp::connect(engine.address("In"));
        sender.accepted(&message("ADT^A01", "C1", "P1", "FAULT"));
        engine.wait_for("Bad", "suspended", 1);
    }
    eventually(words, || {
        let error = engine.item("Bad")["last_error"].as_str()?.to_owned();
        error.contains(words).then_some(())
    });
    assert_eq!(engine.item("In")["state"], "running");
    assert_eq!(engine.stop(), 0, "{}", engine.log());
}

#[test]
fn a_worker_that_speaks_another_version_is_ended() {
    says("HELLO(0); time.sleep(100)", "", false, "version 0");
}

#[test]
fn a_worker_that_never_says_hello_is_ended() {
    says("time.sleep(100)", "", false, "did not say hello within");
}

/// It hears nothing of its end, neither the drain nor SIGTERM: SIGKILL comes after both.
#[test]
fn a_worker_that_will_not_end_is_killed_at_the_stop() {
    let place = Place::new();
    let body = "import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
begin(); print('ready', flush=True); time.sleep(1000)";
    let engine = place.start(&faulty(&place, body, ""));
    eventually("it is ready", || {
        engine.log().contains("ready").then_some(())
    });
    let worker = pid(&engine, "Bad");
    assert_eq!(engine.stop(), 0, "{}", engine.log());
    eventually("it is gone", || is_gone(worker).then_some(()));
}

#[test]
fn a_worker_that_sends_garbage_is_ended() {
    let body = "s.sendall(b'GET / HTTP/1.1\\r\\n\\r\\n'); time.sleep(100)";
    says(body, "", false, "broke the worker protocol");
}

#[test]
fn a_worker_that_speaks_of_strange_messages_is_ended() {
    let body =
        "begin(); frame(11, b'\\x97\\x63\\xa9completed\\xa0\\xa0\\xc0\\x90\\x90'); time.sleep(100)";
    says(body, "", false, "a message that it does not have in hand");
}

#[test]
fn a_worker_that_exits_at_once_says_its_last_words() {
    let body = "print('no licence', file=sys.stderr); sys.exit(7)";
    says(body, "", false, "exited with code 7: no licence");
}

#[test]
fn a_worker_that_hangs_is_ended_by_its_timeout() {
    let body = "begin(); until_message(); time.sleep(100)";
    says(body, "WorkerTimeout: 0.3", true, "WorkerTimeout");
}

#[test]
fn a_worker_without_a_pulse_is_ended() {
    let body = "begin(); time.sleep(100)";
    says(body, "WorkerHeartbeat: 0.1", false, "did not answer for");
}

#[test]
fn a_worker_that_eats_memory_is_ended() {
    let body = "begin(); until_message(); x = bytearray(500_000_000); time.sleep(100)";
    // By the limit of its data (a MemoryError ends it) or by what it uses.
    says(body, "WorkerMemoryMax: 100MB", true, "worker 0 (process");
}

#[test]
fn what_a_worker_prints_is_logged_and_what_it_forks_dies_with_it() {
    let place = Place::new();
    let body = "begin(); print('a line on stdout', flush=True)
if os.fork() == 0:
    print('child', os.getpid(), flush=True); time.sleep(1000)
until_message(); os.abort()";
    let config = faulty(&place, body, "");
    let engine = place.start(&config);
    let child = eventually("the grandchild speaks", || {
        let log = engine.log();
        let at = log.find("child ")? + "child ".len();
        let digits: String = log[at..].chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<u32>().ok()
    });
    assert!(engine.log().contains("a line on stdout"));
    assert!(Path::new(&format!("/proc/{child}")).exists());
    let mut sender = Mllp::connect(engine.address("In"));
    sender.accepted(&message("ADT^A01", "C1", "P1", "FORK"));
    engine.wait_for("Bad", "suspended", 1);
    eventually("the grandchild is gone", || is_gone(child).then_some(()));
    assert_eq!(engine.stop(), 0, "{}", engine.log());
}
