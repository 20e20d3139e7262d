//! The journal's watermark: a ticket learns that its batch is durable, whatever threads do.

use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
};

use loom::{future::block_on, thread};

use crate::{
    LogError, Position, explore,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    ticket::{Commit, Hurry, Ticket},
};

/// A committer that counts who hurried it.
struct Committer {
    hurried: AtomicUsize,
    told: loom::sync::Notify,
}

impl Hurry for Committer {
    fn hurry(&self) {
        self.hurried.fetch_add(1, Ordering::SeqCst);
        self.told.notify();
    }
}

fn ticket(commit: &Arc<Commit>, position: u64) -> Ticket {
    Ticket::new(Position(position), commit.clone())
}

#[test]
fn everyone_who_waits_is_woken_by_the_one_sync() {
    explore(|| {
        let commit = Commit::new();
        let blocking = ticket(&commit, 1);
        let sleeping = ticket(&commit, 2);
        let blocked = thread::spawn(move || blocking.wait_durable().is_ok());
        let slept = thread::spawn(move || block_on(sleeping.durable()).is_ok());
        commit.complete(Ok(()));
        assert!(blocked.join().unwrap() && slept.join().unwrap());
    });
}

#[test]
fn a_failed_sync_is_told_to_all_and_never_becomes_durable() {
    explore(|| {
        let commit = Commit::new();
        let early = ticket(&commit, 1);
        let waiting = thread::spawn(move || block_on(early.durable()).err());
        commit.complete(Err(LogError::Poisoned));
        commit.complete(Ok(())); // too late: only the first counts
        assert_eq!(waiting.join().unwrap(), Some(LogError::Poisoned));
        assert!(ticket(&commit, 2).wait_durable().is_err());
    });
}

#[test]
fn who_waits_hurries_the_committer_once() {
    explore(|| {
        let committer = Arc::new(Committer {
            hurried: AtomicUsize::new(0),
            told: loom::sync::Notify::new(),
        });
        let weak: std::sync::Weak<dyn Hurry> = Arc::downgrade(&(committer.clone() as _));
        let commit = Commit::patient(weak);
        let threads: Vec<_> = (0..2)
            .map(|position| {
                let ticket = ticket(&commit, position);
                thread::spawn(move || block_on(ticket.durable()).is_ok())
            })
            .collect();
        // A committer that is in no hurry would wait for ever if nobody told it.
        while committer.hurried.load(Ordering::SeqCst) == 0 {
            committer.told.wait(); // may wake for nothing
        }
        commit.complete(Ok(()));
        assert!(threads.into_iter().all(|thread| thread.join().unwrap()));
        assert_eq!(committer.hurried.load(Ordering::SeqCst), 1);
    });
}

/// A task that is polled by one thread, then moved to another: its last waker is the one that counts.
#[test]
fn a_wait_that_moves_to_another_task_is_still_woken() {
    explore(|| {
        let commit = Commit::new();
        let wait = ticket(&commit, 1).durable();
        let completing = {
            let commit = commit.clone();
            thread::spawn(move || commit.complete(Ok(())))
        };
        let mut wait = Box::pin(wait);
        let first = wait.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        let done = match first {
            Poll::Ready(result) => result.is_ok(),
            Poll::Pending => block_on(wait).is_ok(),
        };
        completing.join().unwrap();
        assert!(done);
    });
}

/// A wait that is dropped while the sync goes on harms nobody.
#[test]
fn a_wait_that_is_given_up_leaves_the_others_alone() {
    explore(|| {
        let commit = Commit::new();
        let (given_up, kept) = (ticket(&commit, 1), ticket(&commit, 2));
        let waiting = thread::spawn(move || block_on(kept.durable()).is_ok());
        {
            let mut wait = pin!(given_up.durable());
            let _ = wait.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        }
        commit.complete(Ok(()));
        assert!(waiting.join().unwrap());
    });
}
