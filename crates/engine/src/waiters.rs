//! Who waits for which request: the table at the heart of calls.
//!
//! A request is a number, a caller a sink that takes one response. Owns that a response reaches
//! exactly one caller or none: claiming it and giving up on it exclude each other. Knows nothing of
//! messages, tasks or time, so that `tests/loom` can try every order of events on this very file.

use std::collections::HashMap;

use crate::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

/// How many requests are remembered whose caller gave up. Beyond it a late response is still kept,
/// only not marked as late.
pub(crate) const GAVE_UP_MAX: usize = 65_536;

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
        let mut table = self.table.lock();
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
