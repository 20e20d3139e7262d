//! The connection to one running worker: its handshake, the frames of all its jobs, its heartbeat,
//! and its end.
//!
//! One task lives as long as the process and owns both. Whatever ends the worker (its own death, a
//! frame against the rules, a missed heartbeat, too much memory, a wish of the engine), the process
//! is dead and reaped before [`Link::ended`] says so: a message that goes back to its place is in
//! nobody else's hands.

mod life;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::BytesMut;
use hie_engine::{HostError, stats::ItemStats};
use parking_lot::Mutex;
use tokio::{net::UnixStream, sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use life::Reader;

use crate::{
    credit::Credit,
    outbox::Outbox,
    pipes::{self, LastWords, Output},
    process::{self, Plan},
    wire::{
        self, FromWorker, HELLO_MAX, Malformed, ToWorker,
        from_worker::{Accept, Call, Stat, Verdicted},
        settings::Init,
        to_worker::Msg,
    },
};

/// What a worker is held to.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) item: Arc<str>,
    pub(crate) worker: u16,
    pub(crate) heartbeat: Duration,
    pub(crate) memory_max: Option<u64>,
}

/// What a job or a service hears from its worker.
pub(crate) enum Event {
    Result(Verdicted),
    Call(Call),
    Accept(Accept),
}

/// Who hears it.
type Ear = mpsc::UnboundedSender<Event>;

#[derive(Default)]
struct Routes {
    /// The job that has a message in flight.
    by_message: HashMap<u64, u16>,
    jobs: HashMap<u16, Ear>,
    service: Option<Ear>,
}

/// See the module.
pub(crate) struct Link {
    pub(crate) pid: u32,
    pub(crate) rules: Rules,
    pub(crate) outbox: Outbox,
    /// Messages that the worker takes now.
    pub(crate) credit: Credit,
    pub(crate) started: Instant,
    /// Cancelled when the process is gone.
    pub(crate) ended: CancellationToken,
    routes: Mutex<Routes>,
    stats: Arc<ItemStats>,
    /// Connections that the worker says it has.
    connections: AtomicU64,
    /// The last heartbeat that was sent, and the one that was heard of.
    beat: AtomicU64,
    heard: AtomicU64,
    /// The engine asked it to end, and how long it gives it.
    draining: CancellationToken,
    respite: Duration,
    /// The engine's wish to end it at once, and why.
    condemned: CancellationToken,
    reason: Mutex<Option<String>>,
    /// What it said last on standard error.
    last_words: LastWords,
    was_ready: AtomicBool,
}

/// Why the worker is to end, where the frames say so.
enum End {
    /// It said BYE.
    Bye,
    /// It, or what it said, is against the rules.
    Broken(String),
    /// Its socket or the process is closed: how the process ended says why.
    Closed,
}

impl From<Malformed> for End {
    fn from(malformed: Malformed) -> Self {
        Self::Broken(format!("broke the worker protocol: {malformed}"))
    }
}

impl Link {
    /// Starts a worker and waits until its hosts have started.
    pub(crate) async fn start(
        plan: &Plan,
        init: Init,
        rules: Rules,
        stats: Arc<ItemStats>,
        respite: Duration,
    ) -> Result<Arc<Self>, HostError> {
        let program = plan.program.display();
        let started = process::start(plan).await.map_err(|error| {
            HostError::new(
                "worker-start",
                format!("cannot start a worker process ({program}): {error}"),
            )
        })?;
        let name = rules.item.to_string();
        let last_words = LastWords::default();
        for (pipe, output) in [
            (started.stdout, Output::Stdout),
            (started.stderr, Output::Stderr),
        ] {
            if let Some(pipe) = pipe {
                pipes::log(pipe, output, name.clone(), rules.worker, last_words.clone());
            }
        }
        let socket = UnixStream::from_std(started.socket)
            .map_err(|error| HostError::new("worker-start", error.to_string()))?;
        let (reader, writer) = socket.into_split();
        let process = started.process;
        let link = Arc::new(Self {
            pid: process.pid,
            rules,
            outbox: Outbox::default(),
            credit: Credit::new(),
            started: Instant::now(),
            ended: CancellationToken::new(),
            routes: Mutex::default(),
            stats,
            connections: AtomicU64::new(0),
            beat: AtomicU64::new(0),
            heard: AtomicU64::new(0),
            draining: CancellationToken::new(),
            respite,
            condemned: CancellationToken::new(),
            reason: Mutex::default(),
            last_words,
            was_ready: AtomicBool::new(false),
        });
        let (ready, is_ready) = tokio::sync::oneshot::channel();
        let reader = Reader {
            socket: reader,
            buffer: BytesMut::with_capacity(64 << 10),
            max: HELLO_MAX,
        };
        tokio::spawn(link.clone().live(process, reader, writer, init, ready));
        match is_ready.await {
            Ok(Ok(())) => Ok(link),
            Ok(Err(error)) => {
                link.ended.cancelled().await;
                Err(error)
            }
            Err(_) => {
                link.ended.cancelled().await;
                Err(HostError::new("worker-died", link.why()))
            }
        }
    }

    /// Why the worker ended.
    pub(crate) fn why(&self) -> String {
        let reason = self.reason.lock().clone();
        reason.unwrap_or_else(|| {
            format!(
                "worker {} (process {}) has ended",
                self.rules.worker, self.pid
            )
        })
    }

    /// Ends it at once; `reason` continues "worker 0 (process 17) …".
    pub(crate) fn condemn(&self, reason: impl Into<String>) {
        self.reason.lock().get_or_insert_with(|| reason.into());
        self.condemned.cancel();
    }

    /// Asks it to finish what it has in hand, and waits until it has ended, which it does even if
    /// nobody waits any more.
    pub(crate) async fn drain(&self) {
        if !self.is_draining() {
            self.draining.cancel();
            self.outbox.push(|out| ToWorker::Drain.write(out));
        }
        self.ended.cancelled().await;
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Registers a job, or the service, as who hears of its worker.
    pub(crate) fn listen(&self, job: Option<u16>) -> (Ear, mpsc::UnboundedReceiver<Event>) {
        let (ear, events) = mpsc::unbounded_channel();
        let mut routes = self.routes.lock();
        match job {
            Some(job) => drop(routes.jobs.insert(job, ear.clone())),
            None => routes.service = Some(ear.clone()),
        }
        (ear, events)
    }

    /// Takes the registration back, unless somebody else has taken the place.
    pub(crate) fn leave(&self, job: Option<u16>, ear: &Ear) {
        let mut routes = self.routes.lock();
        let place = match job {
            Some(job) => routes.jobs.get(&job),
            None => routes.service.as_ref(),
        };
        if place.is_some_and(|theirs| theirs.same_channel(ear)) {
            match job {
                Some(job) => drop(routes.jobs.remove(&job)),
                None => routes.service = None,
            }
        }
    }

    /// Hands a message over. The caller has its credit.
    pub(crate) fn give(&self, msg: &Msg) {
        self.routes.lock().by_message.insert(msg.id, msg.job);
        self.outbox.push(|out| msg.write(out));
    }

    fn frame(&self, frame: &wire::Frame) -> Result<(), End> {
        match FromWorker::read(frame)? {
            FromWorker::Result(result) => self.result(result)?,
            FromWorker::Call(call) => {
                let routes = self.routes.lock();
                let job = routes.by_message.get(&call.id);
                match job.and_then(|job| routes.jobs.get(job)) {
                    Some(ear) => drop(ear.send(Event::Call(call))),
                    None => return Err(End::Broken(OF_NOBODY.into())),
                }
            }
            FromWorker::Accept(accept) => {
                let routes = self.routes.lock();
                match &routes.service {
                    Some(ear) => drop(ear.send(Event::Accept(accept))),
                    None => return Err(End::Broken("let a message in and is no service".into())),
                }
            }
            FromWorker::Credit(credit) => self.lend(credit)?,
            FromWorker::Log { level, text } => self.log(&level, &text),
            FromWorker::Stat(stat) => self.stat(stat),
            FromWorker::Pong(n) if n > self.beat.load(Ordering::Relaxed) => {
                return Err(End::Broken("answered a heartbeat that was not sent".into()));
            }
            FromWorker::Pong(n) => drop(self.heard.fetch_max(n, Ordering::Relaxed)),
            FromWorker::Failed { code, message } => {
                return Err(End::Broken(format!("failed: {}", said(&code, &message))));
            }
            FromWorker::Bye => return Err(End::Bye),
            FromWorker::Hello { .. } | FromWorker::Ready { .. } => {
                return Err(End::Broken("introduced itself twice".into()));
            }
        }
        Ok(())
    }

    fn result(&self, result: Verdicted) -> Result<(), End> {
        let mut routes = self.routes.lock();
        let Some(job) = routes.by_message.remove(&result.id) else {
            return Err(End::Broken(OF_NOBODY.into()));
        };
        self.credit.give_back();
        if let Some(ear) = routes.jobs.get(&job) {
            let _ = ear.send(Event::Result(result)); // a job that was cut off hears nothing
        }
        Ok(())
    }

    fn lend(&self, credit: u32) -> Result<(), End> {
        let granted = self
            .credit
            .grant(usize::try_from(credit).unwrap_or(usize::MAX));
        granted.map_err(|_| End::Broken("gave more credit than makes sense".into()))
    }

    fn log(&self, level: &str, text: &str) {
        let (item, worker) = (&*self.rules.item, self.rules.worker);
        match level {
            "error" => {
                error!(item, worker, "{text}");
                self.stats.note_error(text);
            }
            "warn" => warn!(item, worker, "{text}"),
            "debug" => debug!(item, worker, "{text}"),
            _ => info!(item, worker, "{text}"),
        }
    }

    fn stat(&self, stat: Stat) {
        let stats = &self.stats;
        if let Some(address) = stat.address {
            stats.note_address(address);
        }
        if let Some(error) = stat.last_error {
            stats.note_error(error);
        }
        if let Some(now) = stat.connections {
            let before = self.connections.swap(now, Ordering::Relaxed);
            let _ =
                stats
                    .connections
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |sum: u64| {
                        Some(sum.saturating_add(now).saturating_sub(before))
                    });
        }
        for (name, n) in stat.counters {
            match name.as_str() {
                "rejected" => stats.rejected.fetch_add(n, Ordering::Relaxed),
                "panics" => stats.panics.fetch_add(n, Ordering::Relaxed),
                _ => continue, // a counter of a later version
            };
        }
    }
}

const OF_NOBODY: &str = "spoke of a message that it does not have in hand";

fn said(code: &str, message: &str) -> String {
    match message {
        "" => code.to_owned(),
        message => message.to_owned(),
    }
}
