//! The places of a queue: never more than the limit, and nobody sleeps while there is room.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use loom::{future::block_on, thread};

use crate::{
    explore,
    room::Room,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

/// What `tokio::sync::Notify` promises: a ring wakes the one that has listened longest, or else is
/// kept, once, for the next; a ring that its listener no longer wants goes to the next.
#[derive(Clone)]
struct Bell(Arc<Mutex<Listeners>>);

#[derive(Default)]
struct Listeners {
    kept: bool,
    next: u64,
    line: VecDeque<(u64, Option<Waker>)>,
    rung: Vec<u64>,
}

struct Listening {
    bell: Bell,
    number: u64,
}

impl Bell {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(Listeners::default())))
    }

    fn ring(&self) {
        let mut listeners = self.0.lock();
        let Some((number, waker)) = listeners.line.pop_front() else {
            listeners.kept = true;
            return;
        };
        listeners.rung.push(number);
        drop(listeners);
        waker.into_iter().for_each(Waker::wake);
    }

    /// `notify_waiters`: everybody who listens now, and it is kept for nobody.
    fn ring_for_all(&self) {
        let mut listeners = self.0.lock();
        let line = std::mem::take(&mut listeners.line);
        listeners.rung.extend(line.iter().map(|(number, _)| number));
        drop(listeners);
        let wakers = line.into_iter().filter_map(|(_, waker)| waker);
        wakers.for_each(Waker::wake);
    }

    fn listen(&self) -> Listening {
        let mut listeners = self.0.lock();
        let number = listeners.next;
        listeners.next += 1;
        if std::mem::take(&mut listeners.kept) {
            listeners.rung.push(number);
        } else {
            listeners.line.push_back((number, None));
        }
        drop(listeners);
        let bell = self.clone();
        Listening { bell, number }
    }
}

impl Future for Listening {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut listeners = self.bell.0.lock();
        if listeners.rung.contains(&self.number) {
            return Poll::Ready(());
        }
        for (number, waker) in &mut listeners.line {
            if *number == self.number {
                *waker = Some(context.waker().clone());
            }
        }
        Poll::Pending
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let number = self.number;
        self.bell
            .0
            .lock()
            .line
            .retain(|(known, _)| *known != number);
    }
}

/// A queue as its senders see it, and how many have a place of it.
#[derive(Clone)]
struct Queue {
    room: Arc<Room>,
    bell: Bell,
    inside: Arc<AtomicUsize>,
}

impl Queue {
    fn new(limit: usize) -> Self {
        Self {
            room: Arc::new(Room::new(limit)),
            bell: Bell::new(),
            inside: Arc::new(AtomicUsize::new(0)),
        }
    }

    fn try_enter(&self, limit: usize) -> bool {
        let taken = self.room.try_take(1);
        if taken {
            let before = self.inside.fetch_add(1, Ordering::SeqCst);
            assert!(before < limit, "{} are inside, and {limit} fit", before + 1);
        }
        taken
    }

    /// Gets a place, however long it takes.
    fn enter(&self, limit: usize) {
        while !self.try_enter(limit) {
            block_on(self.room.wait(1, || self.bell.listen()));
        }
    }

    fn leave(&self) {
        self.inside.fetch_sub(1, Ordering::SeqCst);
        self.room.give(1, || self.bell.ring());
    }
}

#[test]
fn reservations_never_pass_the_limit_and_what_is_given_back_is_there() {
    explore(|| {
        let queue = Queue::new(1);
        let others: Vec<_> = (0..2)
            .map(|_| {
                let queue = queue.clone();
                thread::spawn(move || queue.try_enter(1).then(|| queue.leave()).is_some())
            })
            .collect();
        let mine = queue.try_enter(1);
        if mine {
            queue.leave();
        }
        let theirs = others.into_iter().map(|thread| thread.join().unwrap());
        assert!(theirs.fold(mine, |any, got| any | got), "somebody is first");
        assert_eq!(queue.room.taken(), 0);
        assert!(queue.try_enter(1) && !queue.try_enter(1));
    });
}

/// Places for several targets are got together or not at all.
#[test]
fn several_places_are_got_together_or_not_at_all() {
    explore(|| {
        let room = Arc::new(Room::new(3));
        let other = {
            let room = room.clone();
            thread::spawn(move || room.try_take(2))
        };
        let mine = room.try_take(2);
        assert!(mine ^ other.join().unwrap(), "2 and 2 do not fit into 3");
        assert_eq!(room.taken(), 2);
    });
}

/// A sleeper that nobody wakes ends the model as a deadlock.
#[test]
fn who_waits_for_room_is_woken_by_who_leaves() {
    explore(|| {
        let queue = Queue::new(1);
        assert!(queue.try_enter(1));
        let waiting: Vec<_> = (0..2)
            .map(|_| {
                let queue = queue.clone();
                thread::spawn(move || {
                    queue.enter(1);
                    queue.leave();
                })
            })
            .collect();
        queue.leave();
        waiting
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        assert_eq!(queue.room.taken(), 0);
    });
}

/// Two places become free at once: that is two rings.
#[test]
fn as_many_are_woken_as_places_are_given_back() {
    explore(|| {
        let queue = Queue::new(2);
        assert!(queue.room.try_take(2));
        let waiting: Vec<_> = (0..2)
            .map(|_| {
                let queue = queue.clone();
                thread::spawn(move || queue.enter(2))
            })
            .collect();
        queue.room.give(2, || queue.bell.ring());
        waiting
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        assert_eq!(queue.room.taken(), 2);
    });
}

/// A reload sets a limit while a place is given back. Whoever then waits must not be missed by one
/// who still went by the old limit.
#[test]
fn a_new_limit_leaves_nobody_asleep() {
    for (before, after) in [(0, 1), (1, 2), (2, 1)] {
        explore(move || {
            let queue = Queue::new(before);
            queue.room.force(2);
            let leaving = {
                let queue = queue.clone();
                thread::spawn(move || {
                    queue.room.give(1, || queue.bell.ring());
                    queue.room.give(1, || queue.bell.ring());
                })
            };
            queue.room.set_limit(after);
            queue.bell.ring_for_all();
            queue.enter(2);
            leaving.join().unwrap();
            assert_eq!(queue.room.taken(), 1);
        });
    }
}
