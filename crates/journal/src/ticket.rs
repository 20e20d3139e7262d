//! Tickets: how an append learns that it is durable.
//!
//! All records that will be synced together share one [`Commit`]; a ticket is a reference to it
//! and the record's position. The committer completes a commit once and wakes all who wait on it.
//! No allocation a record: one commit serves the batch.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use parking_lot::{Condvar, Mutex};

use crate::{LogError, Position};

/// Proof that a record is on disk. Only this crate can make one, so a positive acknowledgement
/// that asks for it cannot be sent too early.
#[derive(Debug)]
#[must_use]
pub struct Durable(());

enum State {
    Pending(Vec<Waker>),
    Durable,
    Failed(LogError),
}

/// The fate of one batch: pending, durable, or failed. Made and completed by log providers.
pub(crate) struct Commit {
    state: Mutex<State>,
    done: Condvar,
}

impl Commit {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State::Pending(Vec::new())),
            done: Condvar::new(),
        })
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
        let mut state = self.commit.state.lock();
        loop {
            match &*state {
                State::Durable => return Ok(Durable(())),
                State::Failed(error) => return Err(error.clone()),
                State::Pending(_) => self.commit.done.wait(&mut state),
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
        Poll::Pending
    }
}
