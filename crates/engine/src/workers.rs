//! The seam to hosts in other processes: what the engine asks of whoever runs them, and what a host
//! that lives elsewhere asks of the engine.
//!
//! Owns the traits only. Processes, sockets and the protocol between the two sides are
//! `hie-worker`'s; the queue, the journal and every decision about retries stay here.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use hie_store::{Content, MessageId, Priority, State};

use crate::{
    HostContext, HostError,
    broker::{Accepted, Response},
    config::{ItemConfig, ProductionConfig},
    hooks::NotAccepted,
    host::{BusinessService, Message, Origin, Outcome},
    pattern::Pattern,
    stats::ItemStats,
};

/// Makes the worker processes of items. Without one, an item in mode `multiprocess` cannot start.
pub trait Workers: Send + Sync {
    /// The processes of one item; none is started before a host asks for it.
    ///
    /// # Errors
    /// The item cannot run in worker processes.
    fn pool(&self, seat: Seat) -> Result<Arc<dyn WorkerPool>, HostError>;
}

/// An item that is to run in worker processes.
#[derive(Clone)]
pub struct Seat {
    /// Its production.
    pub production: Arc<ProductionConfig>,
    /// Its configuration.
    pub item: Arc<ItemConfig>,
    /// Its counters, state and last error.
    pub stats: Arc<ItemStats>,
}

/// The worker processes of one item.
pub trait WorkerPool: Send + Sync {
    /// The host of one job, from 0: it lives in worker `job / PoolSize`.
    fn host(&self, job: usize) -> Box<dyn FarHost>;

    /// The service.
    fn service(&self) -> Box<dyn BusinessService>;

    /// What an operator wants to know of each process.
    fn status(&self) -> Vec<WorkerStatus>;
}

/// A process or an operation in another process, as its job sees it.
#[async_trait]
pub trait FarHost: Send {
    /// Sees to it that the worker runs and its hosts have started.
    async fn on_start(&mut self, ctx: &HostContext) -> Result<(), HostError>;

    /// Lets the worker handle one message. The only message in flight of this job.
    async fn on_message(&mut self, ctx: &HostContext, message: &Message) -> Result<Outcome, Gone>;

    /// Returns when the worker dies while the job has nothing in hand. Cancel-safe.
    async fn gone(&mut self) -> Gone;

    /// Lets go of the worker; the last of its jobs ends it.
    async fn on_stop(&mut self, ctx: &HostContext);
}

/// A worker died or its host raised.
#[derive(Clone, Debug)]
pub struct Gone {
    /// Why, for the operator. Never message content.
    pub reason: String,
    /// Whether the message may be the cause: it was in the worker's hands.
    pub by_message: bool,
}

impl Gone {
    pub(crate) fn panicked() -> Self {
        Self {
            reason: PANICKED.into(),
            by_message: true,
        }
    }
}

pub(crate) const PANICKED: &str = "the host panicked";

/// What an operator sees of one worker process.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct WorkerStatus {
    /// Its number in the item, from 0.
    pub worker: u16,
    /// Its process, while there is one.
    pub pid: Option<u32>,
    /// `starting`, `running`, `draining`, `waiting` (to be started again) or `stopped`.
    pub state: &'static str,
    /// Processor time that it has used since it started, in milliseconds.
    pub cpu_ms: u64,
    /// Share of one processor since the last look, in percent.
    pub cpu_percent: f64,
    /// Memory in use.
    pub resident_bytes: u64,
    /// How often it was started again.
    pub restarts: u64,
    /// Messages in its hands.
    pub in_flight: u64,
    /// Why it ended last.
    pub last_end: Option<String>,
}

/// The response of a request that was let in elsewhere.
pub type FarResponse = Pin<Box<dyn Future<Output = Option<Response>> + Send>>;

/// The engine, as hosts in a worker process reach it: the far end of their contexts.
#[async_trait]
pub trait FarEngine: Send + Sync {
    /// Lets a message in; returns when it is on disk.
    async fn arrive(&self, arrival: FarArrival<'_>)
    -> Result<(Accepted, FarResponse), NotAccepted>;

    /// Sends a request in the session of the message in hand.
    async fn request(&self, request: FarRequest<'_>) -> Result<FarAnswer, HostError>;
}

/// How a service lets a message in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entrance {
    /// To all of `TargetConfigNames`.
    Accept,
    /// It goes nowhere.
    Keep,
    /// It cannot be read.
    Bad,
}

/// A message that a service lets in.
pub struct FarArrival<'a> {
    /// How.
    pub entrance: Entrance,
    /// Peer address or file name.
    pub origin: &'a str,
    /// What the body is.
    pub content: Content,
    /// The bytes as they came.
    pub body: &'a Bytes,
    /// For `Keep`: the state that it is kept in.
    pub state: State,
    /// Why, for `Keep` and `Bad`.
    pub reason: &'a str,
    /// For `Bad`: the item that gets it.
    pub handler: Option<&'a str>,
    /// Whether the caller waits for a response.
    pub wait: bool,
}

impl<'a> FarArrival<'a> {
    /// One that goes to the targets and is not waited for. Its counters are the engine's: a
    /// worker's context counts nothing twice.
    pub(crate) fn new(entrance: Entrance, origin: Origin<'a>, body: &'a Bytes) -> Self {
        Self {
            entrance,
            origin: origin.from,
            content: origin.content,
            body,
            state: State::Queued,
            reason: "",
            handler: None,
            wait: false,
        }
    }
}

/// A request of a host.
pub struct FarRequest<'a> {
    /// The message in hand.
    pub current: MessageId,
    /// The item that gets the request.
    pub target: &'a str,
    /// What is sent; none: the message in hand.
    pub body: Option<Bytes>,
    /// Its priority.
    pub priority: Priority,
    /// How long its response is waited for; none: not at all.
    pub timeout: Option<Duration>,
    /// How; none: as the item's own pattern says.
    pub pattern: Option<Pattern>,
}

/// What a request led to.
#[derive(Debug)]
pub enum FarAnswer {
    /// It is recorded, and this is its id.
    Sent(MessageId),
    /// It was answered.
    Answered(Response),
}
