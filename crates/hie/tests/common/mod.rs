//! The real binary for tests: a folder, an engine in it, commands beside it, MLLP to it.
//!
//! Every engine of a test lives in a temporary folder of its own, listens on port 0, and is killed
//! when the test ends, however it ends.

// Each test binary uses a part of this.
#![allow(dead_code)]
// Helpers of tests fail as tests do.
#![allow(clippy::unwrap_used)]

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// How long anything may take before the test says that it does not happen. Long, because it is
/// only waited for in full when the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `there` gives something.
pub(crate) fn eventually<T>(what: &str, mut there: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = there() {
            return found;
        }
        assert!(
            Instant::now() < deadline,
            "this did not happen within {PATIENCE:?}: {what}"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A folder for a production and its data. `@` in a configuration stands for it.
pub(crate) struct Place {
    folder: TempDir,
    /// Variables for every process of the binary that is started in it.
    pub(crate) env: Vec<(&'static str, &'static str)>,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::Builder::new().prefix("hie").tempdir().unwrap(),
            env: Vec::new(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The data folder of productions made by [`write`](Self::write) and [`production`].
    pub(crate) fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// Writes a file, with `@` replaced by this folder; gives its path.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(
            &path,
            text.replace('@', &self.folder.path().display().to_string()),
        )
        .unwrap();
        path
    }

    /// Writes bytes as they are.
    pub(crate) fn write_bytes(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// Runs a command of the binary on this folder's data, to its end.
    pub(crate) fn hie<S: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Ran {
        self.hie_with(args, b"")
    }

    /// The same with something on stdin.
    pub(crate) fn hie_with<S: AsRef<std::ffi::OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
        stdin: &[u8],
    ) -> Ran {
        let mut child = self
            .command()
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that does not read its input closes it; that is no failure of the test.
        let _ = child.stdin.take().unwrap().write_all(stdin);
        let output = child.wait_with_output().unwrap();
        Ran {
            code: output.status.code().unwrap_or(-1),
            stdout_bytes: output.stdout.clone(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hie"));
        command
            .current_dir(self.folder.path())
            .env("HIE_DATA", self.data());
        let foreign = ["HIE_LOG", "HIE_LOG_FORMAT", "NO_COLOR"];
        let defaults = ["EXECUTION_MODE", "CONCURRENCY", "MESSAGING_PATTERN"];
        for name in foreign.iter().chain(&defaults) {
            command.env_remove(name);
        }
        command.envs(self.env.iter().copied());
        command
    }

    /// Starts an engine and waits until it is ready.
    pub(crate) fn start(&self, config: &str) -> Engine<'_> {
        let engine = self.launch(config, &[]);
        engine.wait_until_ready();
        engine
    }

    /// Starts an engine and does not wait.
    pub(crate) fn launch(&self, config: &str, options: &[&str]) -> Engine<'_> {
        let config = self.write("production.yaml", config);
        let log = self.path("engine.log");
        let errors = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .unwrap();
        let screen = self.path("screen.txt");
        let child = self
            .command()
            .arg("run")
            .arg(config)
            .args(options)
            .stdin(Stdio::null())
            .stdout(File::create(&screen).unwrap())
            .stderr(errors)
            .spawn()
            .unwrap();
        Engine {
            place: self,
            child: child.into(),
            log,
            screen,
        }
    }
}

/// A command that has ended.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stdout_bytes: Vec<u8>,
    pub(crate) stderr: String,
}

impl Ran {
    /// Asserts that it did what it was told.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        self.exits(0)
    }

    /// Asserts its exit code.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(
            self.code, code,
            "stdout:\n{}\nstderr:\n{}",
            self.stdout, self.stderr
        );
        self
    }

    /// Its output as one JSON value.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", self.stdout))
    }

    /// Its output as JSON lines.
    #[track_caller]
    pub(crate) fn rows(&self) -> Vec<Value> {
        let parse = |line: &str| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
        };
        self.stdout.lines().map(parse).collect()
    }
}

/// An engine in a process of its own; killed when dropped.
pub(crate) struct Engine<'p> {
    place: &'p Place,
    child: std::cell::RefCell<Child>,
    log: PathBuf,
    screen: PathBuf,
}

impl Engine<'_> {
    /// Waits until it says that it is ready; fails with its log if it ends before.
    #[track_caller]
    pub(crate) fn wait_until_ready(&self) {
        eventually("the engine is ready", || {
            if let Some(status) = self.ended() {
                panic!(
                    "the engine ended with {status} before it was ready:\n{}",
                    self.log()
                );
            }
            let ran = self.place.hie(["status", "--json"]);
            let status: Value = serde_json::from_str(&ran.stdout).ok()?;
            (status["running"] == true && status["ready"] == true).then_some(())
        });
    }

    /// What `hie status --json` says.
    #[track_caller]
    pub(crate) fn status(&self) -> Value {
        self.place.hie(["status", "--json"]).ok().json()
    }

    /// One item of the status.
    #[track_caller]
    pub(crate) fn item(&self, name: &str) -> Value {
        let status = self.status();
        let items = status["items"].as_array().unwrap();
        items
            .iter()
            .find(|item| item["name"] == name)
            .unwrap_or_else(|| panic!("no item {name}"))
            .clone()
    }

    /// Where an item listens.
    #[track_caller]
    pub(crate) fn address(&self, name: &str) -> SocketAddr {
        self.item(name)["address"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap()
    }

    /// Waits until a counter of an item has this value or more.
    #[track_caller]
    pub(crate) fn wait_for(&self, item: &str, counter: &str, at_least: u64) {
        eventually(&format!("{item} has {counter} ≥ {at_least}"), || {
            (self.item(item)[counter].as_u64().unwrap_or(0) >= at_least).then_some(())
        });
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.borrow().id()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child.borrow());
        kill_process(pid, signal).unwrap();
    }

    /// Its exit status, if it has ended.
    pub(crate) fn ended(&self) -> Option<ExitStatus> {
        self.child.borrow_mut().try_wait().unwrap()
    }

    /// Waits for its end; gives its exit code.
    #[track_caller]
    pub(crate) fn wait(&self) -> i32 {
        eventually("the engine ends", || self.ended())
            .code()
            .unwrap_or(-1)
    }

    /// Stops it gracefully; gives its exit code.
    #[track_caller]
    pub(crate) fn stop(&self) -> i32 {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Kills it as a power cut would.
    pub(crate) fn kill(&self) {
        let _ = self.child.borrow_mut().kill();
        let _ = self.child.borrow_mut().wait();
    }

    /// What it logged, and said when it failed.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The screen of its start.
    pub(crate) fn screen(&self) -> String {
        fs::read_to_string(&self.screen).unwrap_or_default()
    }
}

impl Drop for Engine<'_> {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A production with one feed (`In`), a router and two ways out: `EPR` over MLLP to this address,
/// and `Sink`, which discards. ADT goes to EPR, ORU to the sink, anything else nowhere.
pub(crate) fn production(epr: SocketAddr) -> String {
    format!(
        r#"
production:
  name: Test
  DataPath: @/data
  MetricsAddress: 127.0.0.1:0
  JournalSegmentSize: 1 MiB
  JournalReserve: 1 MiB
  ShutdownTimeout: 5
items:
  - name: In
    class: HL7TCPService
    adapter: {{Port: 0, IPAddress: 127.0.0.1}}
    host: {{TargetConfigNames: Router}}
  - name: Router
    class: HL7RoutingEngine
    host: {{BusinessRuleName: Rules}}
  - name: EPR
    class: HL7TCPOperation
    adapter: {{IPAddress: {}, Port: {}}}
    host: {{RetryInterval: 0.1, FailureTimeout: -1}}
  - name: Sink
    class: DiscardOperation
rules:
  Rules:
    match: all
    rules:
      - {{name: movements, when: 'MSH-9.1 = "ADT"', send: [EPR]}}
      - {{name: results, when: 'MSH-9.1 = "ORU"', send: [Sink]}}
"#,
        epr.ip(),
        epr.port()
    )
}

/// A small message of this type with this control id, patient and name.
pub(crate) fn message(kind: &str, control_id: &str, patient: &str, name: &str) -> Vec<u8> {
    format!(
        "MSH|^~\\&|PAS|HOSP|EPR|HOSP|20260102030405||{kind}|{control_id}|P|2.5\rPID|1||{patient}^^^HOSP||{name}^ANNA\rPV1|1|I\r"
    )
    .into_bytes()
}

/// A connection that speaks MLLP, blocking.
pub(crate) struct Mllp {
    stream: TcpStream,
}

impl Mllp {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream }
    }

    /// Sends a message and gives its answer.
    #[track_caller]
    pub(crate) fn send(&mut self, message: &[u8]) -> Vec<u8> {
        self.try_send(message).unwrap()
    }

    /// The same where the engine may close the connection before it has answered.
    pub(crate) fn try_send(&mut self, message: &[u8]) -> io::Result<Vec<u8>> {
        let frame = [&[0x0b], message, &[0x1c, 0x0d]].concat();
        self.stream.write_all(&frame)?;
        let (mut answer, mut byte) = (Vec::new(), [0]);
        while !answer.ends_with(&[0x1c, 0x0d]) {
            if self.stream.read(&mut byte)? == 0 {
                let message = format!("the engine closed it after {} bytes", answer.len());
                return Err(io::Error::other(message));
            }
            answer.push(byte[0]);
        }
        Ok(answer[1..answer.len() - 2].to_vec())
    }

    /// Sends a message that must be accepted.
    #[track_caller]
    pub(crate) fn accepted(&mut self, message: &[u8]) {
        let answer = self.send(message);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.contains("MSA|AA|"), "{answer}");
    }
}

/// A receiver that answers AA, for as long as the test lasts.
pub(crate) struct Receiver {
    pub(crate) runtime: tokio::runtime::Runtime,
    pub(crate) inner: hie_load::receiver::Receiver,
}

impl Receiver {
    pub(crate) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let inner = runtime
            .block_on(hie_load::receiver::Receiver::start("127.0.0.1:0"))
            .unwrap();
        Self { runtime, inner }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.inner.addr()
    }

    /// Closes its port.
    pub(crate) fn down(&mut self) {
        // A process that another test starts at this instant holds a copy of the listening socket
        // until it has become the binary; then the port cannot be reserved, and need not be.
        let _ = self.runtime.block_on(self.inner.down());
    }

    /// Listens again.
    pub(crate) fn up(&mut self) {
        eventually("the receiver has its port again", || {
            self.runtime.block_on(self.inner.up()).ok()
        });
    }

    /// Waits until so many different messages have come.
    #[track_caller]
    pub(crate) fn wait_for(&self, count: u64) {
        assert!(
            self.runtime.block_on(self.inner.wait_for(count, PATIENCE)),
            "{:?}",
            self.inner.summary()
        );
    }
}

/// An address where nobody listens: a low port that no test can be given.
pub(crate) fn nobody() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 1))
}

/// A plain HTTP GET; gives the status code and the body.
#[track_caller]
pub(crate) fn get(url: &str) -> (u16, String) {
    let rest = url.strip_prefix("http://").unwrap();
    let (host, path) = rest.split_once('/').unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        stream,
        "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let code = head.split(' ').nth(1).unwrap().parse().unwrap();
    (code, body.to_owned())
}

/// Copies a folder with everything in it, but for sockets.
pub(crate) fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (kind, target) = (entry.file_type().unwrap(), to.join(entry.file_name()));
        if kind.is_dir() {
            copy_folder(&entry.path(), &target);
        } else if kind.is_file() {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
