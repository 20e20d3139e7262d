//! Productions for the real binary, and the crowd that plays the outside world to them.

use std::{
    fmt::Write as _,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::common::{Mllp, Place, eventually, message};

/// A whole file around these items and what follows them.
pub(crate) fn production(items: &str) -> String {
    format!(
        "production:
  name: Mandatory
  DataPath: @/data
  MetricsAddress: 127.0.0.1:0
  JournalSegmentSize: 1 MiB
  JournalReserve: 1 MiB
  ShutdownTimeout: 10
items:
{items}"
    )
}

/// A feed for the router.
pub(crate) const IN: &str = "  - name: In
    class: HL7TCPService
    adapter: {Port: 0, IPAddress: 127.0.0.1}
    host: {TargetConfigNames: Router}
";

/// A router that sends all it gets to these, with more host settings.
pub(crate) fn router(settings: &str, targets: &str) -> String {
    format!(
        "  - name: Router
    class: PassthroughProcess
    host: {{TargetConfigNames: [{targets}]{settings}}}
"
    )
}

/// An operation of this name that sends to this address, with more keys and host settings. It waits
/// for a reply for ever.
pub(crate) fn sends(name: &str, to: SocketAddr, keys: &str, settings: &str) -> String {
    format!(
        "  - name: {name}
    class: HL7TCPOperation{keys}
    adapter: {{IPAddress: {}, Port: {}, ReplyTimeout: -1}}
    host: {{RetryInterval: 0.05{settings}}}
",
        to.ip(),
        to.port()
    )
}

/// Control ids of a series: sorting them is sorting by number.
pub(crate) fn id(nth: usize) -> String {
    format!("M{nth:05}")
}

/// The ids of the first so many.
pub(crate) fn ids(count: usize) -> Vec<String> {
    (0..count).map(id).collect()
}

/// The n-th admission.
pub(crate) fn admission(nth: usize) -> Vec<u8> {
    message("ADT^A01", &id(nth), "77", "DOE")
}

/// Sends so many admissions, from this number on, each of which must be accepted.
pub(crate) fn admit(feed: &mut Mllp, numbers: std::ops::Range<usize>) {
    for nth in numbers {
        feed.accepted(&admission(nth));
    }
}

/// Somebody who sends admissions over one connection until told to stop.
pub(crate) struct Load {
    enough: Arc<AtomicBool>,
    sending: JoinHandle<usize>,
}

impl Load {
    pub(crate) fn on(address: SocketAddr) -> Self {
        let enough = Arc::new(AtomicBool::new(false));
        let stop = enough.clone();
        let sending = thread::spawn(move || {
            let mut feed = Mllp::connect(address);
            let mut count = 0;
            while !stop.load(Ordering::Relaxed) {
                feed.accepted(&admission(count));
                count += 1;
            }
            count
        });
        Self { enough, sending }
    }

    /// The same from this number on, for as long as the connection lasts and all is accepted.
    pub(crate) fn while_it_lasts(address: SocketAddr, from: usize) -> Self {
        let sending = thread::spawn(move || {
            let mut feed = Mllp::connect(address);
            let accepted = |nth: &usize| {
                let answer = feed.try_send(&admission(*nth));
                answer.is_ok_and(|answer| String::from_utf8_lossy(&answer).contains("MSA|AA|"))
            };
            (from..).take_while(accepted).count()
        });
        Self {
            enough: Arc::default(),
            sending,
        }
    }

    /// Ends it; gives how many were accepted. Fails if the connection broke or one was refused.
    pub(crate) fn end(self) -> usize {
        self.enough.store(true, Ordering::Relaxed);
        self.sending
            .join()
            .expect("every message was accepted over one connection")
    }
}

/// Kills a process as the kernel would that has no memory left.
pub(crate) fn kill(pid: u32) {
    signal(pid, Signal::KILL);
}

pub(crate) fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid.cast_signed()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// All messages, oldest first, once this holds of them.
pub(crate) fn rows_when(place: &Place, what: &str, so: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    eventually(what, || {
        let mut rows = place
            .hie(["messages", "--json", "--limit", "10000"])
            .ok()
            .rows();
        rows.sort_by_key(|row| row["id"].as_u64());
        so(&rows).then_some(rows)
    })
}

/// Those of them for this item.
pub(crate) fn for_item<'r>(rows: &'r [Value], item: &str) -> Vec<&'r Value> {
    rows.iter().filter(|row| row["target"] == item).collect()
}

/// The same as a list of one of their columns.
pub(crate) fn column(rows: &[&Value], name: &str) -> Vec<String> {
    let text = |value: &Value| {
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    };
    rows.iter().map(|row| text(&row[name])).collect()
}

/// Whether Python hosts can run here; says so where they cannot.
#[allow(clippy::print_stdout)]
pub(crate) fn python() -> bool {
    let found = std::process::Command::new("python3")
        .arg("--version")
        .output();
    let found = found.is_ok_and(|ran| ran.status.success());
    if !found {
        println!("skipped: no python3 here, so nothing was seen of Python hosts");
    }
    found
}

/// Where the Python SDK stands in this repository.
pub(crate) fn python_path() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sdk/python/src");
    let mut path = String::new();
    let _ = write!(path, "{}", root.canonicalize().unwrap().display());
    path
}
