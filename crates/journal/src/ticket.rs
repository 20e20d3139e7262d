//! Tickets: how an append learns that it is durable.
//!
//! All records that will be synced together share one [`Commit`]; a ticket is a reference to it
//! and the record's position. The committer completes a commit once and wakes all who wait on it.
//! No allocation a record: one commit serves the batch.
//!
//! A sync costs more than the few bytes that it may be for, so a batch that nobody waits for need
//! not have one of its own: the first who waits hurries it (ADR 013).

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use crate::{
    LogError, Position,
    sync::{
        Arc, Condvar, Mutex, Weak,
        atomic::{AtomicBool, Ordering},
        wait,
    },
};

/// Proof that a record is on disk. Only this crate can make one, so a positive acknowledgement
/// that asks for it cannot be sent too early.
#[derive(Debug)]
#[must_use]
pub struct Durable(());

impl Durable {
    /// The proof as it crosses a process boundary: the process that owns the log said, over a
    /// channel that only it holds, that the record is on its disk. Called in one place only, where
    /// a worker reads that answer of its engine; anywhere else it would be an early yes.
    pub fn told_by_owner() -> Self {
        Self(())
    }
}

enum State {
    Pending(Vec<Waker>),
    Durable,
    Failed(LogError),
}

/// Whom a commit tells that somebody waits for it.
pub(crate) trait Hurry: Send + Sync {
    /// Called once for a commit, under no lock of the commit's.
    fn hurry(&self);
}

/// The fate of one batch: pending, durable, or failed. Made and completed by log providers.
pub(crate) struct Commit {
    state: Mutex<State>,
    done: Condvar,
    /// Somebody waits for it, or will.
    hurried: AtomicBool,
    committer: Option<Weak<dyn Hurry>>,
}

impl Commit {
    /// One that its provider completes without being told that somebody waits.
    pub(crate) fn new() -> Arc<Self> {
        Self::with(None)
    }

    /// One whose committer may take its time until somebody waits.
    pub(crate) fn patient(committer: Weak<dyn Hurry>) -> Arc<Self> {
        Self::with(Some(committer))
    }

    fn with(committer: Option<Weak<dyn Hurry>>) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State::Pending(Vec::new())),
            done: Condvar::new(),
            hurried: AtomicBool::new(false),
            committer,
        })
    }

    /// Whether somebody waits for it.
    pub(crate) fn is_hurried(&self) -> bool {
        self.hurried.load(Ordering::Acquire)
    }

    /// Says that somebody will wait; true the first time. For a provider that wakes its committer
    /// itself.
    pub(crate) fn expect(&self) -> bool {
        !self.hurried.swap(true, Ordering::AcqRel)
    }

    /// Tells the committer, the first time, that somebody waits.
    fn hurry(&self) {
        if let Some(committer) = &self.committer
            && self.expect()
            && let Some(committer) = committer.upgrade()
        {
            committer.hurry();
        }
    }

    /// Settles the commit and wakes everyone; only the first call counts.
    pub(crate) fn complete(&self, result: Result<(), LogError>) {
        let mut state = self.state.lock();
        let State::Pending(wakers) = &mut *state else {
            return;
        };
        let wakers = std::mem::take(wakers);
        *state = match result {
            Ok(()) => State::Durable,
            Err(error) => State::Failed(error),
        };
        drop(state);
        self.done.notify_all();
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// Names the position of an appended record and waits for it to be durable.
#[must_use = "an append is not durable until its ticket says so"]
#[derive(Clone)]
pub struct Ticket {
    position: Position,
    commit: Arc<Commit>,
}

impl Ticket {
    pub(crate) fn new(position: Position, commit: Arc<Commit>) -> Self {
        Self { position, commit }
    }

    /// Where the record stands.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Waits until the record is durable; the error says why it will never be.
    pub fn durable(&self) -> impl Future<Output = Result<Durable, LogError>> + Send + use<> {
        Wait {
            commit: self.commit.clone(),
            slot: None,
        }
    }

    /// The same for a thread that may block.
    pub fn wait_durable(&self) -> Result<Durable, LogError> {
        self.commit.hurry();
        let mut state = self.commit.state.lock();
        loop {
            match &*state {
                State::Durable => return Ok(Durable(())),
                State::Failed(error) => return Err(error.clone()),
                State::Pending(_) => state = wait(&self.commit.done, state),
            }
        }
    }
}

struct Wait {
    commit: Arc<Commit>,
    /// Where our waker stands among the waiting, once it does: a batch may have thousands.
    slot: Option<usize>,
}

impl Future for Wait {
    type Output = Result<Durable, LogError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let commit = self.commit.clone();
        let mut state = commit.state.lock();
        let wakers = match &mut *state {
            State::Durable => return Poll::Ready(Ok(Durable(()))),
            State::Failed(error) => return Poll::Ready(Err(error.clone())),
            State::Pending(wakers) => wakers,
        };
        match self.slot.and_then(|slot| wakers.get_mut(slot)) {
            Some(waker) => waker.clone_from(cx.waker()),
            None => {
                self.slot = Some(wakers.len());
                wakers.push(cx.waker().clone());
            }
        }
        drop(state);
        commit.hurry();
        Poll::Pending
    }
}
