//! A receiving system that does as it is told (answers well, badly, late, never, or half) and keeps
//! the account of what came. It can be taken down and brought back on its port while a run goes on.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hie_mllp::{FrameReader, Framing};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::ledger::{Received, Sent, Summary, Verdict};
use crate::wire::{first_of_field, msh_field, write_ack};

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;

/// What happens to a message once it is on the account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// An ACK with this code: AA, AE, AR, CA, CE, CR or what you like.
    Code(String),
    /// An ACK with this code for a control ID that nobody sent.
    WrongId(String),
    /// Nothing; the connection stays open.
    Silence,
    /// Half an ACK, then the connection closes.
    HalfThenClose,
    /// The connection closes at once.
    Close,
}

/// How a receiver behaves from the next message on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behaviour {
    /// What follows a message.
    pub answer: Answer,
    /// How long after it.
    pub delay: Duration,
}

impl Default for Behaviour {
    /// AA at once.
    fn default() -> Self {
        Self::code("AA")
    }
}

impl Behaviour {
    /// An ACK with `code` at once.
    #[must_use]
    pub fn code(code: &str) -> Self {
        Self::of(Answer::Code(code.to_owned()))
    }

    /// `answer` at once.
    #[must_use]
    pub fn of(answer: Answer) -> Self {
        Self {
            answer,
            delay: Duration::ZERO,
        }
    }

    /// The same, later.
    #[must_use]
    pub fn after(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }
}

#[derive(Default)]
struct Account {
    received: Received,
    /// Segment and field of the key in which the destination promises order, when it does.
    key: Option<(String, usize)>,
    /// Control IDs that wait for their answer, by key.
    in_hand: HashMap<Vec<u8>, Vec<Vec<u8>>>,
    overlaps: u64,
    /// Control IDs of first deliveries in order of arrival, when asked for.
    log: Option<Vec<String>>,
    first: Option<Instant>,
    last: Option<Instant>,
}

struct Shared {
    account: Mutex<Account>,
    arrived: Notify,
    behaviour: watch::Sender<Arc<Behaviour>>,
    connections: AtomicU64,
    framing: Framing,
}

impl Shared {
    fn account(&self) -> MutexGuard<'_, Account> {
        // A panic of another holder leaves figures that are still figures.
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running receiver. Dropping it closes its port and connections.
pub struct Receiver {
    shared: Arc<Shared>,
    addr: SocketAddr,
    server: Option<JoinHandle<()>>,
    /// Holds the port while the receiver is down: bound and not listening, it refuses all.
    reserved: Option<TcpSocket>,
}

impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receiver")
            .field("addr", &self.addr)
            .field("up", &self.is_up())
            .finish_non_exhaustive()
    }
}

impl Receiver {
    /// Listens on `addr` (port 0: any) and answers AA.
    ///
    /// # Errors
    /// When the port cannot be had.
    pub async fn start(addr: &str) -> io::Result<Self> {
        Self::start_with(addr, Behaviour::default(), Framing::MLLP).await
    }

    /// Listens on `addr` with a behaviour and framing.
    ///
    /// # Errors
    /// When the port cannot be had.
    pub async fn start_with(
        addr: &str,
        behaviour: Behaviour,
        framing: Framing,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(addr).await?;
        let shared = Arc::new(Shared {
            account: Mutex::default(),
            arrived: Notify::new(),
            behaviour: watch::Sender::new(Arc::new(behaviour)),
            connections: AtomicU64::new(0),
            framing,
        });
        let addr = listener.local_addr()?;
        let server = Some(tokio::spawn(serve(listener, shared.clone())));
        Ok(Self {
            shared,
            addr,
            server,
            reserved: None,
        })
    }

    /// Where it listens, or did before it was taken down.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Changes the behaviour from the next answer on.
    pub fn set(&self, behaviour: Behaviour) {
        self.shared.behaviour.send_replace(Arc::new(behaviour));
    }

    /// Compares, from now on, the order of messages with the same key too: the first component of
    /// field `number` of `segment`.
    pub fn order_by(&self, segment: &str, number: usize) {
        self.shared.account().key = Some((segment.to_owned(), number));
    }

    /// How often, since [`order_by`](Self::order_by), a message came while another one of its key had
    /// no answer yet.
    #[must_use]
    pub fn overlaps(&self) -> u64 {
        self.shared.account().overlaps
    }

    /// A copy of the account so far.
    #[must_use]
    pub fn received(&self) -> Received {
        self.shared.account().received.clone()
    }

    /// Keeps the control IDs of first deliveries in order of arrival, from now on.
    pub fn keep_log(&self) {
        self.shared.account().log.get_or_insert_default();
    }

    /// The control IDs kept since [`keep_log`](Self::keep_log).
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        self.shared.account().log.clone().unwrap_or_default()
    }

    /// Whether it listens.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.server.is_some()
    }

    /// Closes all connections and refuses new ones; the account stays, and the port stays ours.
    ///
    /// # Errors
    /// When somebody else took the port in the instant between closing and reserving it.
    pub async fn down(&mut self) -> io::Result<()> {
        if let Some(server) = self.server.take() {
            server.abort();
            let _ = server.await;
            self.reserved = Some(bound(self.addr)?);
        }
        Ok(())
    }

    /// Listens again on the same port.
    ///
    /// # Errors
    /// What the system says.
    pub async fn up(&mut self) -> io::Result<()> {
        if self.server.is_none() {
            let socket = self.reserved.take().map_or_else(|| bound(self.addr), Ok)?;
            self.server = Some(tokio::spawn(serve(
                socket.listen(BACKLOG)?,
                self.shared.clone(),
            )));
        }
        Ok(())
    }

    /// The figures so far.
    #[must_use]
    pub fn summary(&self) -> Summary {
        self.shared.account().received.summary()
    }

    /// Connections accepted so far.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// From the first to the last message.
    #[must_use]
    pub fn span(&self) -> Duration {
        let account = self.shared.account();
        account
            .first
            .zip(account.last)
            .map_or(Duration::ZERO, |(first, last)| last - first)
    }

    /// Since the last message; `None` before the first.
    #[must_use]
    pub fn quiet_for(&self) -> Option<Duration> {
        self.shared.account().last.map(|last| last.elapsed())
    }

    /// How often the message called `control_id` came.
    #[must_use]
    pub fn count_of(&self, control_id: &str) -> u32 {
        self.shared
            .account()
            .received
            .count_of(control_id.as_bytes())
    }

    /// Compares what came with what was sent.
    #[must_use]
    pub fn verdict(&self, sent: &Sent) -> Verdict {
        self.shared.account().received.verdict(sent)
    }

    /// Waits until `count` distinct messages have come; false when that took longer than `patience`.
    pub async fn wait_for(&self, count: u64, patience: Duration) -> bool {
        self.wait_until(|summary| summary.distinct >= count, patience)
            .await
    }

    /// Waits until `enough` says so; false when that took longer than `patience`.
    pub async fn wait_until(&self, enough: impl Fn(&Summary) -> bool, patience: Duration) -> bool {
        let waiting = async {
            loop {
                // Registered before looking: an arrival in between is not missed.
                let arrived = self.shared.arrived.notified();
                if enough(&self.summary()) {
                    return;
                }
                arrived.await;
            }
        };
        tokio::time::timeout(patience, waiting).await.is_ok()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if let Some(server) = &self.server {
            server.abort();
        }
    }
}

fn bound(addr: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if addr.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    Ok(socket)
}

/// Accepts until aborted; its connections end with it.
async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    shared.connections.fetch_add(1, Ordering::Relaxed);
                    connections.spawn(receive(stream, shared.clone()));
                }
                // Out of descriptors, most likely: those who wait get their turn when others leave.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Serves one connection. That it ends, how ever, is the peer's business and shows in its own account.
async fn receive(stream: TcpStream, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let (input, mut output) = stream.into_split();
    let mut messages = FrameReader::new(input, shared.framing);
    let behaviour = shared.behaviour.subscribe();
    let (mut ack, mut frame) = (Vec::new(), Vec::new());
    while let Ok(Some(message)) = messages.next_borrowed().await {
        let control_id = msh_field(message, 10).unwrap_or_default();
        let in_hand = enter(&shared, control_id, message);
        let behaviour = behaviour.borrow().clone();
        if !behaviour.delay.is_zero() {
            tokio::time::sleep(behaviour.delay).await;
        }
        drop(in_hand);
        let (code, control_id) = match &behaviour.answer {
            Answer::Code(code) => (code.as_str(), control_id),
            Answer::WrongId(code) => (code.as_str(), &b"NOBODY"[..]),
            Answer::HalfThenClose => ("AA", control_id),
            Answer::Silence => continue,
            Answer::Close => return,
        };
        ack.clear();
        frame.clear();
        write_ack(
            &mut ack,
            control_id,
            msh_field(message, 12).unwrap_or(b"2.5"),
            code,
        );
        if hie_mllp::encode(shared.framing, &ack, &mut frame).is_err() {
            return;
        }
        if behaviour.answer == Answer::HalfThenClose {
            frame.truncate(frame.len() / 2);
            let _ = output.write_all(&frame).await;
            return;
        }
        // A pipelining sender gets the ACKs of what it sent together one by one: this is no echo to be fast.
        if output.write_all(&frame).await.is_err() {
            return;
        }
    }
}

/// A message of a destination that promises order per key, from its arrival to its answer.
struct InHand {
    shared: Arc<Shared>,
    key: Vec<u8>,
    control_id: Vec<u8>,
}

impl Drop for InHand {
    fn drop(&mut self) {
        let mut account = self.shared.account();
        let Some(waiting) = account.in_hand.get_mut(&self.key) else {
            return;
        };
        if let Some(at) = waiting.iter().position(|id| *id == self.control_id) {
            waiting.swap_remove(at);
        }
    }
}

fn enter(shared: &Arc<Shared>, control_id: &[u8], message: &[u8]) -> Option<InHand> {
    let now = Instant::now();
    let in_hand = {
        let mut account = shared.account();
        let key = match &account.key {
            Some((segment, number)) => first_of_field(message, segment, *number),
            None => None,
        };
        let first = account.received.enter_keyed(control_id, key, message);
        account.first.get_or_insert(now);
        account.last = Some(now);
        if let (true, Some(log)) = (first, &mut account.log) {
            log.push(String::from_utf8_lossy(control_id).into_owned());
        }
        key.map(|key| {
            let waiting = account.in_hand.entry(key.to_vec()).or_default();
            let overlaps = waiting.iter().any(|other| other != control_id);
            waiting.push(control_id.to_vec());
            account.overlaps += u64::from(overlaps);
            InHand {
                shared: shared.clone(),
                key: key.to_vec(),
                control_id: control_id.to_vec(),
            }
        })
    };
    shared.arrived.notify_waiters();
    in_hand
}

#[cfg(test)]
mod tests;
