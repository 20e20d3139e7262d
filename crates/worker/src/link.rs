//! The connection to one running worker: its handshake, the frames of all its jobs, its heartbeat,
//! and its end.
//!
//! One task lives as long as the process and owns both. Whatever ends the worker (its own death, a
//! frame against the rules, a missed heartbeat, too much memory, a wish of the engine), the process
//! is dead and reaped before [`Link::ended`] says so: a message that goes back to its place is in
//! nobody else's hands.

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
use tokio::{
    io::AsyncReadExt,
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Semaphore, mpsc},
    time::{Instant, interval, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::{
    outbox::Outbox,
    pipes::{self, LastWords, Output},
    process::{self, Plan, Process},
    usage,
    wire::{
        self, FRAME_MAX, FromWorker, HELLO_MAX, Malformed, PROTOCOL, ToWorker,
        from_worker::{Accept, Call, Stat, Verdicted},
        settings::Init,
        to_worker::Msg,
    },
};

/// A worker that has not said hello by then never will.
const HELLO_WITHIN: Duration = Duration::from_secs(10);

/// How long the hosts of a worker may take to start.
const READY_WITHIN: Duration = Duration::from_secs(120);

/// How long a worker that was asked to end by SIGTERM, or that closed its socket, may take.
const LAST_RESPITE: Duration = Duration::from_secs(2);

/// Heartbeats that may be missed.
const MISSED_MAX: u32 = 3;

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
    pub(crate) credit: Semaphore,
    pub(crate) in_flight: AtomicU64,
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
            credit: Semaphore::new(0),
            in_flight: AtomicU64::new(0),
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

    /// The whole life of the process.
    async fn live(
        self: Arc<Self>,
        process: Process,
        mut reader: Reader,
        writer: OwnedWriteHalf,
        init: Init,
        ready: tokio::sync::oneshot::Sender<Result<(), HostError>>,
    ) {
        let failed = Mutex::new(None);
        let frames = async {
            let hello = timeout(HELLO_WITHIN, self.hello(&mut reader)).await;
            hello.unwrap_or_else(|_| {
                let within = HELLO_WITHIN.as_secs();
                Err(End::Broken(format!("did not say hello within {within} s")))
            })?;
            reader.max = FRAME_MAX;
            self.outbox
                .push(|out| ToWorker::Init(Box::new(init)).write(out));
            let starting = timeout(READY_WITHIN, self.readiness(&mut reader, &failed)).await;
            starting.unwrap_or_else(|_| {
                let within = READY_WITHIN.as_secs();
                Err(End::Broken(format!("was not ready within {within} s")))
            })?;
            self.was_ready.store(true, Ordering::Relaxed);
            let _ = ready.send(Ok(())); // nobody waits when the start was given up
            tokio::select! {
                end = self.each_frame(&mut reader) => end,
                end = self.watch() => Err(end),
            }
        };
        let end = tokio::select! {
            end = frames => end.err().unwrap_or(End::Closed),
            written = self.outbox.run(writer) => written.map_or(End::Closed, |()| End::Closed),
            () = process.ended() => End::Closed,
            () = self.condemned.cancelled() => End::Broken(String::new()),
            () = self.out_of_respite(&process) => End::Closed,
        };
        // What it said before it died still counts.
        if matches!(end, End::Closed) && self.was_ready.load(Ordering::Relaxed) {
            self.rest(&mut reader);
        }
        self.bury(process, end, failed.into_inner()).await;
    }

    /// Asked to end: time to do so, SIGTERM, a little more time, and then the end.
    async fn out_of_respite(&self, process: &Process) {
        self.draining.cancelled().await;
        tokio::time::sleep(self.respite).await;
        process.terminate();
        tokio::time::sleep(LAST_RESPITE).await;
    }

    /// Sees to it that the process is gone, then tells everybody.
    async fn bury(&self, process: Process, end: End, failed: Option<HostError>) {
        let by_itself = match end {
            End::Bye | End::Closed => timeout(LAST_RESPITE, process.ended()).await.is_ok(),
            End::Broken(_) => false,
        };
        if !by_itself {
            process.kill();
            process.ended().await;
        }
        let status = process.reap();
        let asked = self.is_draining();
        let words = match (&end, by_itself) {
            (End::Broken(why), _) if !why.is_empty() => Some(why.clone()),
            (End::Broken(_), _) => None, // The reason was given with the wish.
            (End::Bye, true) if asked => None,
            (End::Bye, true) => Some("said goodbye although nobody asked it to end".into()),
            (_, true) => Some(format!(
                "{}{}",
                process::in_words(status),
                self.famous_last_words().await
            )),
            (_, false) => Some("did not end in time and was killed".into()),
        };
        let (item, worker, pid) = (&*self.rules.item, self.rules.worker, self.pid);
        let reason = self.reason.lock().clone().or(words);
        let reason = match (failed, reason) {
            (Some(failed), _) => Some(failed.message),
            (None, Some(reason)) => Some(format!("worker {worker} (process {pid}) {reason}")),
            (None, None) => None,
        };
        match &reason {
            Some(reason) if asked => warn!(item, worker, pid, "while it was stopped: {reason}"),
            Some(reason) => {
                error!(item, worker, pid, "{reason}");
                self.stats.note_error(reason.clone());
            }
            None => debug!(item, worker, pid, "the worker has ended"),
        }
        *self.reason.lock() = reason;
        let connections = self.connections.swap(0, Ordering::Relaxed);
        let total = &self.stats.connections;
        let _ = total.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |sum| {
            Some(sum.saturating_sub(connections))
        });
        self.ended.cancel();
    }

    /// What a worker that never became ready said last: the import that failed, as a rule. Later it
    /// might be about a message, and stays in the log.
    async fn famous_last_words(&self) -> String {
        if self.was_ready.load(Ordering::Relaxed) {
            return String::new();
        }
        // The pipe is closed with the process; what is in it is read in no time.
        let _ = timeout(Duration::from_millis(200), self.last_words.complete()).await;
        self.last_words
            .get()
            .map_or_else(String::new, |line| format!(": {line}"))
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
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.outbox.push(|out| msg.write(out));
    }

    async fn hello(&self, reader: &mut Reader) -> Result<(), End> {
        match FromWorker::read(&reader.frame().await?)? {
            FromWorker::Hello { protocol, .. } if protocol < PROTOCOL.into() => {
                Err(End::Broken(format!(
                    "speaks version {protocol} of the worker protocol, and this engine speaks \
                     {PROTOCOL}; update it"
                )))
            }
            FromWorker::Hello { implementation, .. } => {
                let (item, worker) = (&*self.rules.item, self.rules.worker);
                debug!(item, worker, pid = self.pid, implementation, "hello");
                Ok(())
            }
            _ => Err(End::Broken("did not say hello first".into())),
        }
    }

    async fn readiness(
        &self,
        reader: &mut Reader,
        failed: &Mutex<Option<HostError>>,
    ) -> Result<(), End> {
        loop {
            match FromWorker::read(&reader.frame().await?)? {
                FromWorker::Ready { credit: 0 } => {
                    return Err(End::Broken("is ready for no message at all".into()));
                }
                FromWorker::Ready { credit } => {
                    self.lend(credit)?;
                    return Ok(());
                }
                FromWorker::Failed { code, message } => {
                    *failed.lock() = Some(HostError::new("worker-failed", said(&code, &message)));
                    return Err(End::Closed);
                }
                FromWorker::Log { level, text } => self.log(&level, &text),
                FromWorker::Stat(stat) => self.stat(stat),
                FromWorker::Pong(_) => {}
                _ => return Err(End::Broken("did not say that it is ready".into())),
            }
        }
    }

    async fn each_frame(&self, reader: &mut Reader) -> Result<(), End> {
        loop {
            while let Some(frame) = wire::take(&mut reader.buffer, reader.max)? {
                self.frame(&frame)?;
            }
            reader.more().await?;
        }
    }

    /// Everything that is left in the socket of a worker that died.
    fn rest(&self, reader: &mut Reader) {
        loop {
            while let Ok(Some(frame)) = wire::take(&mut reader.buffer, reader.max) {
                if self.frame(&frame).is_err() {
                    return;
                }
            }
            match reader.socket.try_read_buf(&mut reader.buffer) {
                Ok(read) if read > 0 => {}
                _ => return,
            }
        }
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
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.credit.add_permits(1);
        if let Some(ear) = routes.jobs.get(&job) {
            let _ = ear.send(Event::Result(result)); // a job that was cut off hears nothing
        }
        Ok(())
    }

    fn lend(&self, credit: u32) -> Result<(), End> {
        const CREDIT_MAX: usize = 1 << 20;
        let credit = usize::try_from(credit).unwrap_or(usize::MAX);
        if self.credit.available_permits().saturating_add(credit) > CREDIT_MAX {
            return Err(End::Broken("gave more credit than makes sense".into()));
        }
        self.credit.add_permits(credit);
        Ok(())
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

    /// Heartbeats and memory; returns when one of them is not as it must be.
    async fn watch(&self) -> End {
        const LOOK_EVERY: Duration = Duration::from_secs(1);
        let mut look = interval(LOOK_EVERY.min(self.rules.heartbeat));
        let mut next = Instant::now();
        loop {
            look.tick().await;
            if let Some(max) = self.rules.memory_max
                && let Some(used) = usage::resident_bytes(self.pid)
                && used > max
            {
                return End::Broken(format!(
                    "used {used} bytes of memory, and WorkerMemoryMax is {max}: killed"
                ));
            }
            if Instant::now() < next {
                continue;
            }
            next += self.rules.heartbeat;
            let sent = self.beat.load(Ordering::Relaxed);
            if sent - self.heard.load(Ordering::Relaxed) >= u64::from(MISSED_MAX) {
                let silent = self.rules.heartbeat * MISSED_MAX;
                return End::Broken(format!(
                    "did not answer for {} s: killed",
                    silent.as_secs_f64()
                ));
            }
            self.beat.store(sent + 1, Ordering::Relaxed);
            self.outbox.push(|out| ToWorker::Ping(sent + 1).write(out));
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

/// Frames off the socket.
struct Reader {
    socket: OwnedReadHalf,
    buffer: BytesMut,
    max: usize,
}

impl Reader {
    async fn more(&mut self) -> Result<(), End> {
        self.buffer.reserve(16 << 10);
        match self.socket.read_buf(&mut self.buffer).await {
            Ok(read) if read > 0 => Ok(()),
            _ => Err(End::Closed),
        }
    }

    async fn frame(&mut self) -> Result<wire::Frame, End> {
        loop {
            if let Some(frame) = wire::take(&mut self.buffer, self.max)? {
                return Ok(frame);
            }
            self.more().await?;
        }
    }
}
