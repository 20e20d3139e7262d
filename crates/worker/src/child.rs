//! The other end: a worker process that runs hosts of built-in classes.
//!
//! Two threads of control that never wait for each other: this one reads and writes the socket
//! (so heartbeats are answered whatever the hosts do), a runtime of its own runs the hosts.

mod far;
mod hosts;

use std::{
    collections::HashMap,
    io,
    os::{fd::AsFd, unix::net::UnixStream as StdUnixStream},
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::BytesMut;
use hie_engine::{
    class::{Build, Registry},
    config::{self, ItemConfig, ProductionConfig},
    stats::ItemStats,
};
use rustix::process::{Signal, set_parent_process_death_signal};
use tokio::{io::AsyncReadExt, net::UnixStream, runtime, sync::mpsc};
use tokio_util::sync::CancellationToken;

use crate::{
    outbox::Outbox,
    python,
    wire::{self, FRAME_MAX, FromWorker, PROTOCOL, ToWorker, settings::Init, to_worker::Msg},
};
use far::Far;

/// What a worker that was started by hand says of itself.
pub const BY_HAND: &str = "`hie worker` is started by the engine, for items with ExecutionMode: multiprocess; \
     descriptor 0 must be the socket of the worker protocol, and here it is not";

/// Threads that the hosts of a worker share at most.
const THREADS_MAX: usize = 4;

/// Why a worker ended otherwise than asked.
#[derive(Debug)]
pub enum ChildError {
    /// Nobody's worker: descriptor 0 is no socket.
    ByHand,
    /// The engine is gone, or says what cannot be understood.
    Engine(String),
    /// The hosts cannot start; the engine was told.
    Failed(String),
}

/// Lines for the engine's log, from whatever this process logs with.
#[derive(Clone, Default)]
pub struct LogLines(Arc<OnceLock<Arc<Outbox>>>);

impl LogLines {
    /// Sends one line; `level` is `error`, `warn`, `info` or `debug`. Lines before the handshake
    /// are lost.
    pub fn line(&self, level: &str, text: &str) {
        if let Some(outbox) = self.0.get() {
            let (level, text) = (level.to_owned(), text.trim_end().to_owned());
            outbox.push(|out| FromWorker::Log { level, text }.write(out));
        }
    }
}

/// What the parts of a worker share.
struct Shared {
    outbox: Arc<Outbox>,
    far: Arc<Far>,
    stats: Arc<ItemStats>,
    stopping: CancellationToken,
}

/// Runs the worker on descriptor 0 until the engine ends it. `logging` is told the level that the
/// engine logs.
///
/// # Errors
/// Why it ended.
pub fn run(
    registry: Registry,
    lines: &LogLines,
    logging: impl FnOnce(&str),
) -> Result<(), ChildError> {
    let socket = io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .map(StdUnixStream::from)
        .map_err(|_| ChildError::ByHand)?;
    if socket.peer_addr().is_err() || std::env::var_os("HIE_WORKER").is_none() {
        return Err(ChildError::ByHand);
    }
    // Where the system cannot do it, the end of the socket must be enough.
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    let engine = |error: io::Error| ChildError::Engine(error.to_string());
    socket.set_nonblocking(true).map_err(engine)?;
    runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(engine)?
        .block_on(converse(socket, registry, lines, logging))
}

async fn converse(
    socket: StdUnixStream,
    registry: Registry,
    lines: &LogLines,
    logging: impl FnOnce(&str),
) -> Result<(), ChildError> {
    let socket =
        UnixStream::from_std(socket).map_err(|error| ChildError::Engine(error.to_string()))?;
    let (mut socket, writer) = socket.into_split();
    let outbox = Arc::new(Outbox::default());
    let written = tokio::spawn({
        let outbox = outbox.clone();
        async move { outbox.run(writer).await }
    });
    let hello = FromWorker::Hello {
        protocol: PROTOCOL.into(),
        implementation: format!("hie {}", env!("CARGO_PKG_VERSION")),
    };
    outbox.push(|out| hello.write(out));
    let mut buffer = BytesMut::with_capacity(64 << 10);
    let init = match next(&mut socket, &mut buffer).await? {
        ToWorker::Init(init) => init,
        _ => {
            return Err(ChildError::Engine(
                "the engine did not begin with INIT".into(),
            ));
        }
    };
    logging(&init.log_level);
    let _ = lines.0.set(outbox.clone());
    let stopping = CancellationToken::new();
    let shared = Arc::new(Shared {
        far: Arc::new(Far::new(outbox.clone(), stopping.clone())),
        outbox,
        stats: Arc::default(),
        stopping,
    });
    let ended = serve(*init, registry, &shared, &mut socket, &mut buffer).await;
    if let Err(ChildError::Failed(message)) = &ended {
        let failed = FromWorker::Failed {
            code: "start".into(),
            message: message.clone(),
        };
        shared.outbox.push(|out| failed.write(out));
    }
    shared.outbox.close();
    let _ = tokio::time::timeout(Duration::from_secs(1), written).await; // an engine that reads no more
    ended
}

/// From INIT to BYE.
async fn serve(
    init: Init,
    registry: Registry,
    shared: &Arc<Shared>,
    socket: &mut (impl AsyncReadExt + Unpin),
    buffer: &mut BytesMut,
) -> Result<(), ChildError> {
    let jobs = init.jobs.max(1);
    let (production, item) = configuration(init, registry).map_err(ChildError::Failed)?;
    let threads = usize::from(jobs).min(THREADS_MAX);
    let service = matches!(item.class.build, Build::Service(_));
    let hosts = runtime::Builder::new_multi_thread()
        .worker_threads(if service { 2 } else { threads })
        .thread_name(&item.name)
        .enable_all()
        .build()
        .map_err(|error| ChildError::Failed(format!("cannot start threads: {error}")))?;
    let (ended, mut all_ended) = mpsc::channel::<()>(1);
    let (told, mut started) = mpsc::unbounded_channel();
    let mut inboxes = HashMap::new();
    for job in 0..jobs {
        let (inbox, messages) = mpsc::unbounded_channel::<Msg>();
        inboxes.insert(job, inbox);
        let seat = hosts::Seat {
            production: production.clone(),
            item: item.clone(),
            shared: shared.clone(),
            told: told.clone(),
            _ended: ended.clone(),
        };
        match service {
            true => drop(hosts.spawn(hosts::service(seat))),
            false => drop(hosts.spawn(hosts::job(seat, messages))),
        }
        if service {
            break;
        }
    }
    drop((ended, told));
    let mut report = tokio::time::interval(Duration::from_millis(500));
    let mut reported = hosts::Reported::default();
    let mut waiting = if service { 1 } else { usize::from(jobs) };
    let result = loop {
        tokio::select! {
            frame = next(socket, buffer) => match frame? {
                ToWorker::Msg(msg) => match inboxes.get(&msg.job) {
                    Some(inbox) => drop(inbox.send(msg)),
                    None => break Err(ChildError::Engine("a message is for no job of this worker".into())),
                },
                ToWorker::Called(called) => shared.far.called(called),
                ToWorker::Accepted(accepted) => shared.far.accepted(accepted),
                ToWorker::Response(response) => shared.far.response(response),
                ToWorker::Ping(n) => shared.outbox.push(|out| FromWorker::Pong(n).write(out)),
                ToWorker::Drain => {
                    shared.stopping.cancel();
                    inboxes.clear(); // the jobs end when they have done what is in there
                }
                ToWorker::State { .. } | ToWorker::Unknown(_) => {}
                ToWorker::Init(_) => break Err(ChildError::Engine("a second INIT".into())),
            },
            start = started.recv(), if waiting > 0 => match start {
                Some(Ok(())) => {
                    waiting -= 1;
                    if waiting == 0 {
                        reported.tell(shared);
                        let ready = FromWorker::Ready { credit: jobs.into() };
                        shared.outbox.push(|out| ready.write(out));
                    }
                }
                Some(Err(message)) => break Err(ChildError::Failed(message)),
                None => break Err(ChildError::Failed("a host ended while it started".into())),
            },
            _ = report.tick() => reported.tell(shared),
            _ = all_ended.recv() => {
                reported.tell(shared);
                if shared.stopping.is_cancelled() {
                    shared.outbox.push(|out| FromWorker::Bye.write(out));
                    break Ok(());
                }
                let message = "a host ended although it was not stopped".to_owned();
                break Err(ChildError::Failed(shared.stats.last_error().unwrap_or(message)));
            }
        }
    };
    hosts.shutdown_background();
    result
}

/// The configuration as the engine read it, and the item that is served.
fn configuration(
    init: Init,
    registry: Registry,
) -> Result<(Arc<ProductionConfig>, Arc<ItemConfig>), String> {
    python::know(init.foreign);
    let env = |name: &str| std::env::var(name).ok();
    let production =
        config::parse(&init.config_text, &init.config_file, &registry, &env).map_err(|errors| {
            let first = errors.first().map_or("no reason", |error| &error.message);
            format!(
                "the configuration that the engine runs with does not read the same here: {first}"
            )
        })?;
    let item = production.item(&init.item).cloned();
    let item = item.filter(|item| item.class.name == init.class);
    let item = item.ok_or_else(|| format!("there is no item {} here", init.item))?;
    Ok((Arc::new(production), item))
}

async fn next(
    socket: &mut (impl AsyncReadExt + Unpin),
    buffer: &mut BytesMut,
) -> Result<ToWorker, ChildError> {
    let broken = |error: wire::Malformed| ChildError::Engine(error.to_string());
    loop {
        if let Some(frame) = wire::take(buffer, FRAME_MAX).map_err(broken)? {
            return ToWorker::read(frame).map_err(broken);
        }
        buffer.reserve(16 << 10);
        match socket.read_buf(buffer).await {
            Ok(read) if read > 0 => {}
            _ => return Err(ChildError::Engine("the engine is gone".into())),
        }
    }
}
