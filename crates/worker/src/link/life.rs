//! The life of a worker process from its handshake to its burial, and what it must do to go on.
//!
//! Owns the order of these, and that the process is reaped before anybody is told of its end. What
//! its frames mean to the jobs is the [`link`](super)'s.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::BytesMut;
use hie_engine::HostError;
use parking_lot::Mutex;
use tokio::{
    io::AsyncReadExt,
    net::unix::{OwnedReadHalf, OwnedWriteHalf},
    sync::oneshot,
    time::{Instant, interval, timeout},
};
use tracing::{debug, error, warn};

use super::{End, Link, said};
use crate::{
    process::{self, Process},
    usage,
    wire::{self, FRAME_MAX, FromWorker, PROTOCOL, ToWorker, settings::Init},
};

/// A worker that has not said hello by then never will.
const HELLO_WITHIN: Duration = Duration::from_secs(10);

/// How long the hosts of a worker may take to start.
const READY_WITHIN: Duration = Duration::from_secs(120);

/// How long a worker that was asked to end by SIGTERM, or that closed its socket, may take.
const LAST_RESPITE: Duration = Duration::from_secs(2);

/// Heartbeats that may be missed.
const MISSED_MAX: u32 = 3;

impl Link {
    /// The whole life of the process.
    pub(super) async fn live(
        self: Arc<Self>,
        process: Process,
        mut reader: Reader,
        writer: OwnedWriteHalf,
        init: Init,
        ready: oneshot::Sender<Result<(), HostError>>,
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
        self.credit.close();
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

/// Frames off the socket.
pub(super) struct Reader {
    pub(super) socket: OwnedReadHalf,
    pub(super) buffer: BytesMut,
    pub(super) max: usize,
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
