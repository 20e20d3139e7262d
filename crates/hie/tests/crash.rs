//! The crash test: the real binary under load, killed at random moments, again and again.
//!
//! The ledger is kept here, outside the engine. After the last restart and a drain it must say:
//! nothing that was acknowledged is missing, bytes are equal, each connection's messages arrived
//! first in the order in which they were sent, and a destination saw at most one message twice for
//! each crash (beyond those that a sender itself sent again because its answer was lost).
//!
//! `HIE_CRASHES` sets the number of kills (default 50), `HIE_CRASH_SEED` repeats a run's moments.

// Helpers of tests fail as tests do.
#![allow(clippy::unwrap_used)]

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use hie_load::{
    message::{Kind, Template},
    receiver::Receiver,
    sender::{self, Load, Progress, Reconnect},
};

const CONNECTIONS: usize = 8;

/// The engine as a process of its own.
struct Engine {
    config: PathBuf,
    log: PathBuf,
    child: Child,
}

impl Engine {
    fn start(config: &Path, log: &Path) -> Self {
        let child = spawn(config, log);
        Self {
            config: config.into(),
            log: log.into(),
            child,
        }
    }

    /// Waits until it takes connections, which it does only when recovery is done.
    fn wait(&mut self, address: SocketAddr) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(address).is_err() {
            let ended = self.child.try_wait().unwrap();
            assert!(
                ended.is_none(),
                "the engine ended with {ended:?}:\n{}",
                self.tail()
            );
            assert!(
                Instant::now() < deadline,
                "the engine does not listen:\n{}",
                self.tail()
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn restart(&mut self) {
        self.child = spawn(&self.config, &self.log);
    }

    fn tail(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = text.lines().rev().take(40).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

fn spawn(config: &Path, log: &Path) -> Child {
    let out = std::fs::File::options()
        .create(true)
        .append(true)
        .open(log)
        .unwrap();
    Command::new(env!("CARGO_BIN_EXE_hie"))
        .arg("run")
        .arg(config)
        .stdin(Stdio::null())
        .stdout(out.try_clone().unwrap())
        .stderr(out)
        .spawn()
        .expect("the binary starts")
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A small, repeatable source of moments (SplitMix64).
struct Moments(u64);

impl Moments {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Between one and `most` milliseconds, short ones as likely as long ones.
    fn pause(&mut self, most: u64) -> Duration {
        let scale = self.next() % 4;
        Duration::from_millis(1 + self.next() % (most >> scale).max(1))
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

/// A port that was free a moment ago; the engine needs the same one after each restart.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

fn config(port: u16, epr: SocketAddr, ris: SocketAddr) -> String {
    format!(
        r#"
production: {{name: Crash, DataPath: data, MetricsAddress: none, JournalSegmentSize: 1 MiB, JournalReserve: 1 MiB}}
items:
  - name: In
    class: HL7TCPService
    adapter: {{Port: {port}, IPAddress: 127.0.0.1}}
    host: {{TargetConfigNames: Router}}
  - name: Router
    class: HL7RoutingEngine
    host: {{BusinessRuleName: Rules}}
  - name: EPR
    class: HL7TCPOperation
    adapter: {{IPAddress: 127.0.0.1, Port: {}}}
    host: {{RetryInterval: 0.05}}
  - name: RIS
    class: HL7TCPOperation
    adapter: {{IPAddress: 127.0.0.1, Port: {}}}
    host: {{RetryInterval: 0.05}}
rules:
  Rules:
    match: all
    rules:
      - {{name: everybody, when: 'MSH-9.1 = "ADT"', send: [EPR, RIS]}}
"#,
        epr.port(),
        ris.port()
    )
}

#[test]
fn nothing_acknowledged_is_lost_however_often_the_engine_is_killed() {
    let kills = number("HIE_CRASHES", 50);
    let seed = number("HIE_CRASH_SEED", u64::from(std::process::id()));
    println!("{kills} kills, HIE_CRASH_SEED={seed}");
    let mut moments = Moments(seed);
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let epr = runtime.block_on(Receiver::start("127.0.0.1:0")).unwrap();
    let ris = runtime.block_on(Receiver::start("127.0.0.1:0")).unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let file = folder.path().join("crash.yaml");
    std::fs::write(&file, config(address.port(), epr.addr(), ris.addr())).unwrap();
    let mut engine = Engine::start(&file, &folder.path().join("engine.log"));
    engine.wait(address);

    let progress = Arc::new(Progress::default());
    let load = Load {
        connections: CONNECTIONS,
        reconnect: Some(Reconnect {
            every: Duration::from_millis(5),
            give_up_after: Duration::from_secs(60),
        }),
        keep_ledger: true,
        ..Load::new(address.to_string(), Template::varied(Kind::Adt, 700, seed))
    };
    let sending = runtime.spawn(sender::run_with(load, progress.clone()));
    for kill in 0..kills {
        // Every fourth one is killed before it listens: in its recovery.
        if kill % 4 != 3 {
            engine.wait(address);
        }
        std::thread::sleep(moments.pause(240));
        engine.kill();
        engine.restart();
    }
    engine.wait(address);
    progress.stop();
    let outcome = runtime.block_on(sending).unwrap().unwrap();
    assert!(!outcome.gave_up, "a connection gave up:\n{}", engine.tail());

    let acked = outcome.sent.acked();
    let resent = outcome.report.resent;
    println!("{acked} acknowledged, {resent} sent again by their senders");
    assert!(acked > kills, "the load went on between the kills");
    for (name, receiver) in [("EPR", &epr), ("RIS", &ris)] {
        let sent = outcome.sent.count();
        let drained = runtime.block_on(
            receiver.wait_until(|summary| summary.distinct >= sent, Duration::from_secs(120)),
        );
        let verdict = receiver.verdict(&outcome.sent);
        println!("{name}: {verdict:?}");
        assert!(
            drained,
            "{name} does not drain: {verdict:?}\n{}",
            engine.tail()
        );
        assert!(verdict.is_clean(), "{name}: {verdict:?}");
        assert!(
            verdict.repeated_by_engine <= kills,
            "{name}: more than one duplicate a crash: {verdict:?}"
        );
    }
    engine.kill();
    let verify = Command::new(env!("CARGO_BIN_EXE_hie"))
        .args(["journal", "verify", "--data"])
        .arg(folder.path().join("data"))
        .output()
        .unwrap();
    assert!(
        verify.status.success(),
        "{}",
        String::from_utf8_lossy(&verify.stderr)
    );
}
