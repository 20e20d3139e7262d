//! The engine under measurement: the release binary, `hie run` on a production in a fresh folder.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use hie_store::Reader;
use rustix::process::{Pid, Signal, kill_process};

use crate::{Fault, probe, procfs, production};

/// How long it may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(120);

/// A port that nobody listens on now. It may be taken before it is used; a run fails then, and says so.
pub(crate) fn free_port() -> Result<u16, Fault> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A folder with a production and its store; removed with the value.
pub(crate) struct Site {
    pub(crate) folder: PathBuf,
    binary: PathBuf,
    pub(crate) port: u16,
    keep: bool,
}

impl Site {
    /// Writes the production that `text` makes of a free port into a fresh folder.
    pub(crate) fn new(
        bench: &crate::Bench,
        name: &str,
        text: impl FnOnce(u16) -> String,
    ) -> Result<Self, Fault> {
        let (folder, port) = (bench.folder(name), free_port()?);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("production.yaml"), text(port))?;
        Ok(Self {
            folder,
            binary: bench.engine.clone(),
            port,
            keep: bench.keep,
        })
    }

    pub(crate) fn addr(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.folder.join("production.yaml")
    }

    /// The data folder of the store.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Starts the engine and does not wait for it.
    pub(crate) fn launch(&self) -> Result<Engine<'_>, Fault> {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.log())?;
        let child = Command::new(&self.binary)
            .args(["run", "production.yaml"])
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", self.binary.display()))?;
        Ok(Engine { site: self, child })
    }

    /// Starts the engine and waits until it takes connections.
    pub(crate) fn start(&self) -> Result<Engine<'_>, Fault> {
        let mut engine = self.launch()?;
        let start = Instant::now();
        while TcpStream::connect(self.addr()).is_err() {
            engine.check_alive()?;
            if start.elapsed() > PATIENCE {
                return Err(format!("the engine does not listen after {PATIENCE:?}").into());
            }
            sleep(Duration::from_millis(5));
        }
        Ok(engine)
    }

    /// Messages that the running engine has completed at the counted item.
    pub(crate) fn completed(&self) -> Option<u64> {
        let out = Command::new(&self.binary)
            .args(["status", "--json", "--data"])
            .arg(self.data())
            .output()
            .ok()?;
        let status: serde_json::Value = serde_json::from_slice(&out.stdout).ok()?;
        let items = status["items"].as_array()?;
        let item = items.iter().find(|item| item["name"] == COUNTED)?;
        Some(
            ["completed", "discarded"]
                .iter()
                .filter_map(|what| item[*what].as_u64())
                .sum(),
        )
    }

    fn log(&self) -> PathBuf {
        self.folder.join("engine.log")
    }

    /// Headers that the stopped engine's index has for the items called `target…`, in any state.
    pub(crate) fn stored(&self, target: &str) -> Result<u64, Fault> {
        let (reader, _) = Reader::open_read_only(&self.data())?;
        let lag = reader.index_lag_bytes();
        if lag > 0 {
            return Err(format!("the index of the stopped engine is {lag} bytes behind").into());
        }
        let counts = reader.counts()?;
        Ok(counts
            .iter()
            .filter(|count| count.item == target)
            .map(|count| count.headers)
            .sum())
    }

    /// What speaks against a run: fewer messages in the store than were acknowledged.
    pub(crate) fn lost(&self, target: &str, acked: u64) -> Result<Option<String>, Fault> {
        let stored = self.stored(target)?;
        let lost = || format!("{acked} acknowledged, {stored} in the store");
        Ok((stored < acked).then(lost))
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if !self.keep {
            let _ = fs::remove_dir_all(&self.folder); // what is left lies under target/
        }
    }
}

/// A running engine; killed with the value.
pub(crate) struct Engine<'a> {
    site: &'a Site,
    child: Child,
}

impl Engine<'_> {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn check_alive(&mut self) -> Result<(), Fault> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => {
                let log = fs::read_to_string(self.site.log()).unwrap_or_default();
                let from = log.len().saturating_sub(2000);
                let tail = log.get(from..).unwrap_or(&log);
                Err(format!("the engine ended ({status}):\n{tail}").into())
            }
        }
    }

    /// Waits until it has nothing left to do.
    pub(crate) fn settle(&self) -> Result<Duration, Fault> {
        procfs::settle(self.pid(), Duration::from_secs(900))
    }

    /// Stops it gracefully.
    pub(crate) fn stop(mut self) -> Result<(), Fault> {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        kill_process(pid.ok_or("a process without an id")?, Signal::TERM)?;
        let start = Instant::now();
        while self.child.try_wait()?.is_none() {
            if start.elapsed() > PATIENCE {
                return Err(format!("the engine did not stop within {PATIENCE:?}").into());
            }
            sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// From `began` until a one-shot sender that tries again and again has its ACK.
    pub(crate) fn first_ack(&mut self, began: Instant, frame: &[u8]) -> Result<Duration, Fault> {
        loop {
            if let Ok(mut stream) = probe::connect(&self.site.addr()) {
                probe::exchange(&mut stream, frame)?;
                return Ok(began.elapsed());
            }
            if began.elapsed() > PATIENCE {
                return Err(format!("no ACK within {PATIENCE:?}").into());
            }
            self.check_alive()?;
            sleep(Duration::from_micros(500));
        }
    }
}

impl Drop for Engine<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have stopped by itself
        let _ = self.child.wait();
    }
}

/// The binary to measure: built now, from this tree.
pub(crate) fn build(root: &Path) -> Result<PathBuf, Fault> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    eprintln!("building the engine: cargo build --release -p hie");
    let status = Command::new(cargo)
        .args(["build", "--release", "-p", "hie"])
        .current_dir(root)
        .status()
        .map_err(|error| {
            format!("cannot run cargo ({error}); build it yourself and name it with --engine")
        })?;
    if !status.success() {
        return Err(
            "the engine does not build; see above, or name a built one with --engine".into(),
        );
    }
    let beside = std::env::current_exe()?
        .parent()
        .map(|folder| folder.join("hie"));
    let binary = beside
        .filter(|path| path.is_file())
        .unwrap_or_else(|| root.join("target/release/hie"));
    if binary.is_file() {
        return Ok(binary);
    }
    Err(format!(
        "{} is not there though it was built; name the binary with --engine",
        binary.display()
    )
    .into())
}

/// The name of the item that is counted for the ledger.
pub(crate) const COUNTED: &str = production::TARGET;
