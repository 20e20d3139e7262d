//! Who waits for which request: the table at the heart of calls.
//!
//! A request is a number, a caller a sink that takes one response. Owns that a response reaches
//! exactly one caller or none: claiming it and giving up on it exclude each other. Knows nothing of
//! messages, tasks or time, so that `tests/loom` can try every order of events on this very file.

#[cfg(loom)]
use loom::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};
#[cfg(not(loom))]
use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};
use std::{collections::HashMap, sync::PoisonError};

/// How many requests are remembered whose caller gave up. Beyond it a late response is still kept,
/// only not marked as late.
const GAVE_UP_MAX: usize = 65_536;

/// What a response finds.
#[derive(Debug)]
pub enum Claim<S> {
    /// Nobody ever waited for it.
    Nobody,
    /// Somebody waited and gave up.
    Late,
    /// The one who waits. The claim has removed them from the table.
    Caller(S),
}

enum Entry {
    Awaited(u64),
    GaveUp,
}

struct Caller<S> {
    sink: S,
    requests: Vec<u64>,
}

struct Table<S> {
    requests: HashMap<u64, Entry>,
    callers: HashMap<u64, Caller<S>>,
    next: u64,
    gave_up: usize,
}

/// See the module.
pub struct Waiters<S> {
    table: Mutex<Table<S>>,
    /// The number of requests in the table, so that hops that nobody waits for take no lock.
    entries: AtomicUsize,
}

impl<S> Default for Waiters<S> {
    fn default() -> Self {
        Self {
            table: Mutex::new(Table {
                requests: HashMap::new(),
                callers: HashMap::new(),
                next: 1,
                gave_up: 0,
            }),
            entries: AtomicUsize::new(0),
        }
    }
}

impl<S> Waiters<S> {
    fn change<T>(&self, change: impl FnOnce(&mut Table<S>) -> T) -> T {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut table);
        self.entries.store(table.requests.len(), Ordering::Release);
        result
    }

    /// Registers a caller for the first response of any of these requests, and returns its number.
    /// Must come before anybody can answer them.
    pub fn register(&self, requests: impl IntoIterator<Item = u64>, sink: S) -> u64 {
        self.change(|table| {
            let number = table.next;
            table.next += 1;
            let requests: Vec<u64> = requests.into_iter().collect();
            for request in &requests {
                table.requests.insert(*request, Entry::Awaited(number));
            }
            table.callers.insert(number, Caller { sink, requests });
            number
        })
    }

    /// A request has its response: takes out who waits for it. The other requests of that caller
    /// are nobody's from now on.
    pub fn claim(&self, request: u64) -> Claim<S> {
        if self.is_empty() {
            return Claim::Nobody;
        }
        self.change(|table| {
            let number = match table.requests.remove(&request) {
                None => return Claim::Nobody,
                Some(Entry::GaveUp) => {
                    table.gave_up -= 1;
                    return Claim::Late;
                }
                Some(Entry::Awaited(number)) => number,
            };
            let Some(caller) = table.callers.remove(&number) else {
                return Claim::Nobody;
            };
            for other in &caller.requests {
                table.requests.remove(other);
            }
            Claim::Caller(caller.sink)
        })
    }

    /// The response of a request will be that of other requests: whoever waits for it waits for
    /// the first of those, and whoever gave up on it has given up on them. Shows who waits.
    pub fn hand_on<T>(&self, request: u64, to: &[u64], show: impl FnOnce(&S) -> T) -> Option<T> {
        self.change(|table| match table.requests.remove(&request)? {
            Entry::GaveUp => {
                table.gave_up += to.len();
                table.gave_up -= 1;
                for next in to {
                    table.requests.insert(*next, Entry::GaveUp);
                }
                None
            }
            Entry::Awaited(number) => {
                let caller = table.callers.get_mut(&number)?;
                caller.requests.retain(|known| *known != request);
                caller.requests.extend(to);
                for next in to {
                    table.requests.insert(*next, Entry::Awaited(number));
                }
                Some(show(&caller.sink))
            }
        })
    }

    /// The caller stops waiting. True: it gets nothing any more, and what comes is late. False: its
    /// response is claimed and on its way to the sink.
    pub fn give_up(&self, number: u64) -> bool {
        self.change(|table| {
            let Some(caller) = table.callers.remove(&number) else {
                return false;
            };
            for request in caller.requests {
                if table.gave_up < GAVE_UP_MAX {
                    table.requests.insert(request, Entry::GaveUp);
                    table.gave_up += 1;
                } else {
                    table.requests.remove(&request);
                }
            }
            true
        })
    }

    /// The requests of this caller were never made: it leaves no trace.
    pub fn forget(&self, number: u64) {
        self.change(|table| {
            if let Some(caller) = table.callers.remove(&number) {
                for request in caller.requests {
                    table.requests.remove(&request);
                }
            }
        });
    }

    /// Whether no request is awaited or remembered. Takes no lock.
    pub fn is_empty(&self) -> bool {
        self.entries.load(Ordering::Acquire) == 0
    }

    /// How many callers wait, and how many requests are remembered whose caller gave up.
    pub fn count(&self) -> (usize, usize) {
        self.change(|table| (table.callers.len(), table.gave_up))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_first_response_wins_and_the_others_are_nobodys() {
        let waiters = Waiters::default();
        waiters.register([1, 2], "caller");
        assert!(matches!(waiters.claim(2), Claim::Caller("caller")));
        assert!(matches!(waiters.claim(1), Claim::Nobody));
        assert_eq!(waiters.count(), (0, 0));
    }

    #[test]
    fn a_response_after_giving_up_is_late_once_and_then_forgotten() {
        let waiters = Waiters::default();
        let caller = waiters.register([1], ());
        assert!(waiters.give_up(caller));
        assert!(!waiters.give_up(caller));
        assert_eq!(waiters.count(), (0, 1));
        assert!(matches!(waiters.claim(1), Claim::Late));
        assert!(matches!(waiters.claim(1), Claim::Nobody));
        assert_eq!(waiters.count(), (0, 0));
    }

    #[test]
    fn a_claimed_response_cannot_be_given_up() {
        let waiters = Waiters::default();
        let caller = waiters.register([1], ());
        assert!(matches!(waiters.claim(1), Claim::Caller(())));
        assert!(!waiters.give_up(caller));
    }

    #[test]
    fn a_caller_follows_the_request_that_is_handed_on() {
        let waiters = Waiters::default();
        let caller = waiters.register([1], ());
        assert!(waiters.hand_on(1, &[5, 6], |_| ()).is_some());
        assert!(matches!(waiters.claim(1), Claim::Nobody));
        assert!(waiters.give_up(caller));
        assert!(waiters.hand_on(5, &[7], |_| ()).is_none());
        assert!(matches!(waiters.claim(5), Claim::Nobody));
        assert!(matches!(waiters.claim(7), Claim::Late));
        assert!(matches!(waiters.claim(6), Claim::Late));
        assert_eq!(waiters.count(), (0, 0));
    }

    #[test]
    fn what_was_never_asked_leaves_no_trace() {
        let waiters = Waiters::default();
        let caller = waiters.register([1, 2], ());
        waiters.forget(caller);
        assert_eq!(waiters.count(), (0, 0));
    }

    #[test]
    fn the_memory_of_those_who_gave_up_has_a_bound() {
        let waiters = Waiters::default();
        for request in 0..=GAVE_UP_MAX as u64 {
            let caller = waiters.register([request], ());
            waiters.give_up(caller);
        }
        assert_eq!(waiters.count(), (0, GAVE_UP_MAX));
        assert!(matches!(waiters.claim(0), Claim::Late));
        assert!(matches!(waiters.claim(GAVE_UP_MAX as u64), Claim::Nobody));
    }
}
