//! The credit of a worker: never more in flight than granted, and nobody waits for ever.

use std::{
    future::Future,
    pin::pin,
    task::{Context, Waker},
};

use loom::{future::block_on, thread};

use crate::{
    credit::{Closed, Credit},
    explore,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

/// A worker that checks what it has in hand.
#[derive(Clone)]
struct Worker {
    credit: Arc<Credit>,
    in_hand: Arc<AtomicUsize>,
}

impl Worker {
    fn new() -> Self {
        Self {
            credit: Arc::new(Credit::new()),
            in_hand: Arc::new(AtomicUsize::new(0)),
        }
    }

    /// A job waits for its turn.
    fn hand_over(&self, granted: usize) -> Result<(), Closed> {
        block_on(self.credit.take())?;
        let before = self.in_hand.fetch_add(1, Ordering::SeqCst);
        assert!(before < granted, "more in flight than granted");
        Ok(())
    }

    fn finish(&self) {
        self.in_hand.fetch_sub(1, Ordering::SeqCst);
        self.credit.give_back();
    }

    /// Jobs that hand one message over each, and get it back.
    fn jobs(&self, count: usize, granted: usize) -> Vec<thread::JoinHandle<Result<(), Closed>>> {
        let job = |_| {
            let worker = self.clone();
            thread::spawn(move || {
                let taken = worker.hand_over(granted);
                if taken.is_ok() {
                    worker.finish();
                }
                taken
            })
        };
        (0..count).map(job).collect()
    }
}

/// Polls a wait once, as a job does that is then cut off.
fn look(take: &mut std::pin::Pin<&mut impl Future<Output = Result<(), Closed>>>) -> bool {
    let mut context = Context::from_waker(Waker::noop());
    take.as_mut().poll(&mut context).is_ready()
}

#[test]
fn no_more_are_in_flight_than_granted_and_all_get_their_turn() {
    explore(|| {
        let worker = Worker::new();
        worker.credit.grant(1).unwrap();
        let jobs = worker.jobs(2, 1);
        assert_eq!(worker.hand_over(1), Ok(()));
        worker.finish();
        for job in jobs {
            assert_eq!(job.join().unwrap(), Ok(()));
        }
        assert_eq!(worker.credit.in_flight(), 0);
    });
}

/// A sleeper that nobody wakes ends the model as a deadlock.
#[test]
fn a_grant_wakes_as_many_as_it_is_for() {
    explore(|| {
        let worker = Worker::new();
        // Neither gives back: each needs its own.
        let jobs: Vec<_> = (0..2)
            .map(|_| {
                let worker = worker.clone();
                thread::spawn(move || worker.hand_over(2))
            })
            .collect();
        worker.credit.grant(2).unwrap();
        for job in jobs {
            assert_eq!(job.join().unwrap(), Ok(()));
        }
        assert_eq!(worker.credit.in_flight(), 2);
    });
}

#[test]
fn a_wait_that_is_given_up_hands_its_turn_on() {
    explore(|| {
        let worker = Worker::new();
        let granting = {
            let worker = worker.clone();
            thread::spawn(move || worker.credit.grant(1).unwrap())
        };
        let jobs = {
            let mut given_up = pin!(worker.credit.take());
            let had = look(&mut given_up);
            let jobs = worker.jobs(1, 1);
            if had {
                worker.credit.give_back();
            }
            jobs
        };
        for job in jobs {
            assert_eq!(job.join().unwrap(), Ok(()));
        }
        granting.join().unwrap();
        assert_eq!(worker.credit.in_flight(), 0);
    });
}

#[test]
fn the_death_of_the_worker_wakes_everybody() {
    explore(|| {
        let worker = Worker::new();
        let jobs = worker.jobs(2, 0);
        worker.credit.close();
        for job in jobs {
            assert_eq!(job.join().unwrap(), Err(Closed));
        }
    });
}

/// The last frames of a worker are read while it dies: what they give back revives nobody's hopes.
#[test]
fn after_its_death_nothing_is_handed_over_whatever_it_still_said() {
    explore(|| {
        let worker = Worker::new();
        worker.credit.grant(1).unwrap();
        worker.hand_over(1).unwrap();
        let jobs = worker.jobs(1, 1);
        let last_words = {
            let worker = worker.clone();
            thread::spawn(move || worker.finish())
        };
        worker.credit.close();
        let before = worker.credit.in_flight();
        assert!(worker.hand_over(1).is_err());
        assert!(worker.credit.in_flight() <= before);
        last_words.join().unwrap();
        for job in jobs {
            let _ = job.join().unwrap(); // before the death or not at all, but it ends
        }
        assert_eq!(worker.credit.in_flight(), 0);
    });
}
