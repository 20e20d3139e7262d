//! The production of the chaos test: who sends what to whom, and what order each may expect.

use std::{fmt::Write as _, net::TcpListener, process::Command, time::Duration};

use hie_load::receiver::{Behaviour, Receiver};
use tokio::runtime::Runtime;

use crate::common::Place;

/// How long a receiver takes for a message: long enough that a kill finds some in hand.
const SLOWNESS: Duration = Duration::from_millis(4);

/// A way in: a service and the process behind it.
pub(crate) struct Feed {
    pub(crate) name: &'static str,
    /// Settings of the service.
    host: &'static str,
    pub(crate) process: &'static str,
    /// The class of the process; empty for the one in Python.
    class: &'static str,
    process_host: &'static str,
    /// How many messages of the process wait for answers at once: a crash then sends again what
    /// they had sent.
    waiting: u64,
    /// Opens the control IDs of its messages.
    pub(crate) run: &'static str,
    pub(crate) connections: usize,
    /// Of how many its messages are: fewer than a destination has jobs meet each other there.
    pub(crate) patients: u64,
    /// Of the rate: how many messages a second, compared with the slowest feeds.
    pub(crate) share: f64,
}

/// All of them; between them every messaging pattern, and services and processes in every mode.
pub(crate) const FEEDS: [Feed; 5] = [
    Feed {
        name: "InAsync",
        host: "MessagingPattern: async_reliable, ExecutionMode: thread_pool",
        process: "Router",
        class: "HL7RoutingEngine",
        process_host: "BusinessRuleName: Everywhere, MessagingPattern: async_reliable, ExecutionMode: multiprocess",
        waiting: 0,
        run: "AR",
        connections: 3,
        patients: 2,
        share: 2.0,
    },
    Feed {
        name: "InSync",
        host: "MessagingPattern: sync_reliable, ExecutionMode: single_process",
        process: "PassSync",
        class: "PassthroughProcess",
        process_host: "TargetConfigNames: 'Fifo, FifoApart, Keyed', ResponseFrom: Fifo, MessagingPattern: sync_reliable, ExecutionMode: single_process",
        waiting: 1,
        run: "SR",
        connections: 2,
        patients: 2,
        share: 1.0,
    },
    Feed {
        name: "InLevels",
        host: "MessagingPattern: async_reliable",
        process: "Levels",
        class: "",
        process_host: "MessagingPattern: async_reliable, ExecutionMode: multiprocess",
        waiting: 0,
        run: "PY",
        connections: 2,
        patients: 23,
        share: 2.0,
    },
    Feed {
        name: "InConcurrent",
        host: "MessagingPattern: concurrent_async, ExecutionMode: multiprocess",
        process: "PassConcurrent",
        class: "PassthroughProcess",
        process_host: "TargetConfigNames: 'Fifo, Unordered, Lifo', MessagingPattern: concurrent_async, QueueType: unordered",
        waiting: 0,
        run: "CA",
        connections: 3,
        patients: 23,
        share: 2.0,
    },
    Feed {
        name: "InConcurrentSync",
        host: "MessagingPattern: concurrent_sync",
        process: "PassConcurrentSync",
        class: "PassthroughProcess",
        process_host: "TargetConfigNames: 'Single, Unordered, Lifo', ResponseFrom: Single, MessagingPattern: concurrent_sync, ExecutionMode: thread_pool",
        waiting: 4,
        run: "CS",
        connections: 3,
        patients: 23,
        share: 1.0,
    },
];

impl Feed {
    fn jobs(&self) -> u64 {
        if self.run.starts_with('C') { 4 } else { 1 }
    }
}

/// What the first deliveries of one feed promise at a destination.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Order {
    /// Those of each connection come in the order in which they were sent.
    Connection,
    /// Those of each connection with the same key do.
    Key,
    /// No promise.
    None,
}

/// A way out.
pub(crate) struct Destination {
    pub(crate) name: &'static str,
    host: &'static str,
    /// Jobs in one process, and how many processes of its own it has.
    jobs: (u64, u64),
    /// Segment and field of the key.
    key: Option<(&'static str, usize)>,
    /// What it gets, by the run of the feed.
    pub(crate) gets: &'static [(&'static str, Order)],
}

/// All of them; between them every queue type and mode.
pub(crate) const DESTINATIONS: [Destination; 7] = [
    Destination {
        name: "Fifo",
        host: "QueueType: fifo, ExecutionMode: async",
        jobs: (1, 0),
        key: None,
        gets: &[
            ("AR", Order::Connection),
            ("SR", Order::Connection),
            ("PY", Order::Connection),
            ("CA", Order::None),
        ],
    },
    Destination {
        name: "FifoApart",
        host: "QueueType: fifo, ExecutionMode: multiprocess",
        jobs: (1, 1),
        key: None,
        gets: &[("AR", Order::Connection), ("SR", Order::Connection)],
    },
    Destination {
        name: "Priority",
        host: "QueueType: priority, ExecutionMode: thread_pool",
        jobs: (1, 0),
        key: Some(("PV1", 2)), // from which the process in Python takes the level
        gets: &[("AR", Order::Connection), ("PY", Order::Key)],
    },
    Destination {
        name: "Lifo",
        host: "QueueType: lifo, ExecutionMode: async",
        jobs: (1, 0),
        key: None,
        gets: &[
            ("AR", Order::None),
            ("CA", Order::None),
            ("CS", Order::None),
        ],
    },
    Destination {
        name: "Unordered",
        host: "QueueType: unordered, ExecutionMode: multiprocess, WorkerCount: 2",
        jobs: (2, 2),
        key: None,
        gets: &[
            ("AR", Order::None),
            ("CA", Order::None),
            ("CS", Order::None),
        ],
    },
    Destination {
        name: "Keyed",
        host: "OrderBy: '{PID:3.1}', ExecutionMode: multiprocess, WorkerCount: 2",
        jobs: (2, 2),
        key: Some(("PID", 3)),
        gets: &[("AR", Order::Key), ("SR", Order::Key)],
    },
    Destination {
        name: "Single",
        host: "ExecutionMode: single_process",
        jobs: (1, 0),
        key: None,
        gets: &[("AR", Order::Connection), ("CS", Order::None)],
    },
];

impl Destination {
    /// How many messages may come twice for one kill of the engine: what its jobs had in hand, and
    /// what those had sent whose processes waited for answers. The end of such a wait is not yet on
    /// disk when the next message is taken, so each job of such a process counts twice.
    pub(crate) fn doubles_an_engine(&self) -> u64 {
        let (jobs, processes) = self.jobs;
        let feeds = FEEDS.iter();
        let sends_here = |feed: &&Feed| self.gets.iter().any(|(run, _)| *run == feed.run);
        let waiting: u64 = feeds.filter(sends_here).map(|feed| feed.waiting).sum();
        jobs * processes.max(1) + 2 * waiting
    }

    /// The same for one kill of one of its workers.
    pub(crate) fn doubles_a_worker(&self) -> u64 {
        self.jobs.0
    }
}

/// The feed of a run.
pub(crate) fn feed_of(run: &str) -> &'static Feed {
    FEEDS.iter().find(|feed| feed.run == run).unwrap()
}

/// What stands around the engine.
pub(crate) struct World {
    /// Of the feeds, the same after each restart.
    pub(crate) ports: Vec<u16>,
    /// Of the destinations.
    pub(crate) receivers: Vec<Receiver>,
    python: bool,
}

impl World {
    pub(crate) fn new(place: &Place, runtime: &Runtime) -> Self {
        let start = |destination: &Destination| {
            let receiver = runtime.block_on(Receiver::start("127.0.0.1:0")).unwrap();
            receiver.set(Behaviour::default().after(SLOWNESS));
            if let Some((segment, number)) = destination.key {
                receiver.order_by(segment, number);
            }
            receiver
        };
        let python = has_python();
        println!(
            "the process `Levels` is {}",
            if python {
                "in Python"
            } else {
                "in Rust: python3 (3.9 or newer) is not here"
            }
        );
        let folder = place.path("python/custom/chaos");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("levels.py"), LEVELS).unwrap();
        Self {
            ports: free_ports(FEEDS.len()),
            receivers: DESTINATIONS.iter().map(start).collect(),
            python,
        }
    }

    /// The configuration.
    pub(crate) fn config(&self) -> String {
        let mut text = String::from(
            "production: {name: Chaos, DataPath: @/data, MetricsAddress: none, \
             JournalSegmentSize: 1 MiB, JournalReserve: 1 MiB, ShutdownTimeout: 10, ",
        );
        let sdk = concat!(env!("CARGO_MANIFEST_DIR"), "/../../sdk/python/src");
        let _ = writeln!(text, "PythonPath: '{sdk}, @/python'}}\nitems:");
        for (feed, port) in FEEDS.iter().zip(&self.ports) {
            let jobs = feed.jobs();
            let (class, targets) = match feed.class {
                "" if self.python => (
                    "custom.chaos.levels.Levels",
                    ", TargetConfigNames: 'Fifo, Priority'",
                ),
                "" => (
                    "PassthroughProcess",
                    ", TargetConfigNames: 'Fifo, Priority'",
                ),
                class => (class, ""),
            };
            let _ = writeln!(
                text,
                "  - {{name: {}, class: HL7TCPService, pool_size: {jobs}, adapter: {{Port: {port}, IPAddress: 127.0.0.1}}, \
                 host: {{TargetConfigNames: {}, {}, {STEADY}}}}}\n  \
                 - {{name: {}, class: {class}, pool_size: {jobs}, host: {{{}{targets}, MaxAttempts: 1000, {STEADY}}}}}",
                feed.name, feed.process, feed.host, feed.process, feed.process_host
            );
        }
        for (destination, receiver) in DESTINATIONS.iter().zip(&self.receivers) {
            let _ = writeln!(
                text,
                "  - {{name: {}, class: HL7TCPOperation, pool_size: {}, adapter: {{IPAddress: 127.0.0.1, Port: {}}}, \
                 host: {{{}, RetryInterval: 0.05, FailureTimeout: -1, MaxAttempts: 1000, {STEADY}}}}}",
                destination.name,
                destination.jobs.0,
                receiver.addr().port(),
                destination.host
            );
        }
        let all: Vec<_> = DESTINATIONS.iter().map(|to| to.name).collect();
        let _ = writeln!(
            text,
            "rules:\n  Everywhere:\n    match: all\n    rules:\n      - {{name: all, when: 'MSH-9.1 = \"ADT\"', send: [{}]}}",
            all.join(", ")
        );
        text
    }
}

/// Nobody is given up, however often it is killed.
const STEADY: &str = "RestartDelay: 0.05, RestartWindow: 1";

/// Takes the level of a message from its patient class, and sends it on as it is.
const LEVELS: &str = r#"
from hie import BusinessProcess, Priority, Send

LEVELS = {
    "E": Priority.CRITICAL,
    "I": Priority.HIGH,
    "O": Priority.LOW,
    "D": Priority.BULK,
}


class Levels(BusinessProcess):
    """Sends each message on with the priority of its patient class."""

    def on_message(self, message):
        level = LEVELS[message["PV1-2"]]
        return [Send("Fifo", None, level), Send("Priority", None, level)]
"#;

fn has_python() -> bool {
    let recent = "import sys; sys.exit(sys.version_info < (3, 9))";
    let ran = Command::new("python3").args(["-c", recent]).status();
    ran.is_ok_and(|status| status.success())
}

/// Ports that were free a moment ago; the engine needs the same ones after each restart.
fn free_ports(count: usize) -> Vec<u16> {
    let listen = |_| TcpListener::bind("127.0.0.1:0").unwrap();
    let listeners: Vec<_> = (0..count).map(listen).collect();
    let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
    listeners.iter().map(port).collect()
}
