//! The credit of a worker: how many messages it takes, and which job may hand over the next one.
//!
//! Owns that never more messages are in flight than the worker granted, that the jobs get their
//! turn in the order in which they asked, and that nobody waits for a worker that is gone. Knows
//! neither frames nor processes nor a runtime, so that `tests/loom` can try every order of events
//! on this very file.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use crate::sync::Mutex;

/// The most that a worker may grant in all. What is more is a mistake of the worker.
pub(crate) const CREDIT_MAX: usize = 1 << 20;

/// The worker is gone: it takes nothing any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Closed;

/// A worker granted more than [`CREDIT_MAX`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TooMuch;

/// See the module.
#[derive(Debug)]
pub(crate) struct Credit(Mutex<Account>);

#[derive(Debug)]
struct Account {
    granted: usize,
    in_flight: usize,
    closed: bool,
    /// Who waits, by number, the one whose turn is next in front.
    line: VecDeque<(u64, Waker)>,
    next: u64,
}

impl Account {
    fn free(&self) -> bool {
        self.in_flight < self.granted
    }

    /// Who is to look again because it may go on.
    fn front(&self) -> Option<Waker> {
        let (_, waker) = self.line.front().filter(|_| self.free())?;
        Some(waker.clone())
    }
}

impl Credit {
    /// None is granted yet.
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Account {
            granted: 0,
            in_flight: 0,
            closed: false,
            line: VecDeque::new(),
            next: 0,
        }))
    }

    /// Changes the account, and wakes who may go on after that. Wakes without the lock: whoever is
    /// woken wants it.
    fn change<T>(&self, change: impl FnOnce(&mut Account) -> T) -> T {
        let mut account = self.0.lock();
        let result = change(&mut account);
        let front = account.front();
        drop(account);
        if let Some(front) = front {
            front.wake();
        }
        result
    }

    /// The worker takes so many more messages at once.
    pub(crate) fn grant(&self, more: usize) -> Result<(), TooMuch> {
        self.change(|account| {
            let granted = account.granted.saturating_add(more);
            if granted > CREDIT_MAX {
                return Err(TooMuch);
            }
            account.granted = granted;
            Ok(())
        })
    }

    /// Waits for the turn to hand one message over. Whoever has had it owes a
    /// [`give_back`](Self::give_back). Cancel-safe: a wait that is dropped takes nothing.
    pub(crate) fn take(&self) -> Take<'_> {
        Take {
            credit: self,
            place: None,
        }
    }

    /// A message that was handed over is finished.
    pub(crate) fn give_back(&self) {
        self.change(|account| account.in_flight = account.in_flight.saturating_sub(1));
    }

    /// Messages handed over and not finished.
    pub(crate) fn in_flight(&self) -> usize {
        self.0.lock().in_flight
    }

    /// The worker is gone: whoever waits, or comes later, is told.
    pub(crate) fn close(&self) {
        let mut account = self.0.lock();
        account.closed = true;
        let line = std::mem::take(&mut account.line);
        drop(account);
        for (_, waker) in line {
            waker.wake();
        }
    }
}

/// A wait for the turn.
#[derive(Debug)]
#[must_use = "nothing is taken until it is awaited"]
pub(crate) struct Take<'a> {
    credit: &'a Credit,
    /// Its number in the line.
    place: Option<u64>,
}

impl Future for Take<'_> {
    type Output = Result<(), Closed>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let (credit, place) = (self.credit, self.place);
        let (place, polled) = credit.change(|account| {
            if account.closed {
                return (None, Poll::Ready(Err(Closed)));
            }
            let front = account.line.front().map(|(number, _)| *number);
            if account.free() && (front.is_none() || front == place) {
                account.in_flight += 1;
                account.line.pop_front();
                return (None, Poll::Ready(Ok(())));
            }
            let number = place.unwrap_or(account.next);
            match account.line.iter_mut().find(|(known, _)| *known == number) {
                Some((_, waker)) => waker.clone_from(context.waker()),
                None => {
                    account.next += 1;
                    account.line.push_back((number, context.waker().clone()));
                }
            }
            (Some(number), Poll::Pending)
        });
        self.place = place;
        polled
    }
}

impl Drop for Take<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            // It may have been woken for its turn: `change` wakes the one behind it.
            self.credit
                .change(|account| account.line.retain(|(number, _)| *number != place));
        }
    }
}
