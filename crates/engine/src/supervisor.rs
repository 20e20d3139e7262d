//! The supervisor of one item: what becomes of it when a host of it fails.
//!
//! Owns the item's state while it runs, its restart policy (`RestartPolicy`, `MaxRestarts`,
//! `RestartDelay`, `RestartWindow`), the pauses between two starts, and giving up. One place for
//! all that can die: the jobs of processes and operations, services, worker processes. Each host
//! that runs has a [`Post`]; its owner reports to it and does what it says. Why the default never
//! gives up is told in ADR 024.

mod terms;
#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    HostError,
    clock::Clock,
    config::ItemConfig,
    hold::Hold,
    stats::{ItemState, ItemStats},
};

pub use terms::{RestartPolicy, Terms};

/// So many restarts after panics over messages go without a pause.
const FREE_PANICS: usize = 10;

/// The supervisor of one run of an item, from its start to its stop.
pub struct Supervisor {
    name: Arc<str>,
    terms: Terms,
    stats: Arc<ItemStats>,
    clock: Clock,
    hold: Hold,
    stopping: CancellationToken,
    book: Mutex<Book>,
    /// How many posts have started or failed once.
    settled: watch::Sender<usize>,
    posts: usize,
}

/// What is known of the item's hosts.
#[derive(Default)]
struct Book {
    up: usize,
    failing: Option<HostError>,
    /// The state in which this run ends, once it does.
    end: Option<ItemState>,
}

impl Supervisor {
    /// For an item that will have so many hosts.
    pub fn new(
        item: &ItemConfig,
        stats: Arc<ItemStats>,
        clock: Clock,
        hold: Hold,
        posts: usize,
    ) -> Arc<Self> {
        let supervisor = Self {
            name: item.name.as_str().into(),
            terms: Terms::of(&item.settings),
            stats,
            clock,
            hold,
            stopping: CancellationToken::new(),
            book: Mutex::default(),
            settled: watch::channel(0).0,
            posts,
        };
        supervisor.publish(&supervisor.book.lock());
        Arc::new(supervisor)
    }

    /// A place for one host.
    pub fn post(self: &Arc<Self>) -> Post {
        Post {
            supervisor: self.clone(),
            record: Mutex::default(),
        }
    }

    /// Done when the item should finish what it has in hand.
    pub fn stopping(&self) -> &CancellationToken {
        &self.stopping
    }

    /// Shows the state again, after the item was held or released.
    pub(crate) fn refresh(&self) {
        self.publish(&self.book.lock());
    }

    /// An operator, or the end of the production, stops the item.
    pub(crate) fn halt(&self) {
        let mut book = self.book.lock();
        book.end = Some(ItemState::Stopping);
        self.publish(&book);
        self.stopping.cancel();
    }

    /// All of it has ended.
    pub(crate) fn halted(&self, state: ItemState) {
        let mut book = self.book.lock();
        if book.end == Some(ItemState::Stopping) {
            book.end = Some(state);
        }
        self.publish(&book);
    }

    /// A host wants its item disabled (a reply code that says so).
    pub(crate) fn disable(&self, reason: &str) {
        self.finish(ItemState::Disabled, reason);
    }

    /// Gives the item up: a state, an alert, and the end of all its hosts. Its queue goes on
    /// taking messages.
    pub fn give_up(&self, why: &str, error: &HostError) {
        if !self.finish(
            ItemState::Failed,
            &format!("gave up, {why}: {}", error.message),
        ) {
            return;
        }
        self.stats.give_ups.fetch_add(1, Ordering::Relaxed);
        error!(
            alert = "item-gave-up",
            item = &*self.name,
            code = error.code,
            "the item is given up, {why}: {}; its queue goes on taking messages; \
             `hie item start {}` when the cause is gone",
            error.message,
            self.name
        );
    }

    /// Ends this run in a state; false if it had ended before.
    fn finish(&self, state: ItemState, reason: &str) -> bool {
        let mut book = self.book.lock();
        let first = book.end.is_none();
        if first {
            book.end = Some(state);
            self.stats.note_error(reason);
            self.publish(&book);
        }
        self.stopping.cancel();
        first
    }

    /// Waits until each host has started or failed once; the error of one that is not up.
    pub(crate) async fn settled(&self) -> Result<(), HostError> {
        let mut settled = self.settled.subscribe();
        // The sender lives as long as this; an error cannot come.
        let _ = settled.wait_for(|count| *count >= self.posts).await;
        let book = self.book.lock();
        match &book.failing {
            Some(error) if book.up < self.posts => Err(error.clone()),
            _ => Ok(()),
        }
    }

    /// How many hosts are up, of how many.
    pub fn hosts(&self) -> (usize, usize) {
        (self.book.lock().up, self.posts)
    }

    fn publish(&self, book: &Book) {
        self.stats.set_state(match book.end {
            Some(end) => end,
            None if book.up > 0 && self.hold.is_on() => ItemState::Paused,
            None if book.up > 0 => ItemState::Running,
            None if book.failing.is_some() => ItemState::Error,
            None => ItemState::Starting,
        });
    }
}

/// The place of one host: it is up or down, and when it falls this says what comes next.
pub struct Post {
    supervisor: Arc<Supervisor>,
    record: Mutex<Record>,
}

/// The history of one post.
#[derive(Default)]
struct Record {
    up_since: Option<Instant>,
    /// For how long a host ran here in all.
    ran: Duration,
    /// Each restart that still counts, by how long hosts had run before it. Only running counts:
    /// the pauses between failures must not make failures forgotten.
    restarts: VecDeque<Duration>,
    reported: bool,
    ended: bool,
}

/// What the owner of a post does when its host fell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// Starts another one after this pause.
    Again(Duration),
    /// Ends.
    End,
}

impl Post {
    /// The supervisor it belongs to.
    pub fn supervisor(&self) -> &Supervisor {
        &self.supervisor
    }

    /// Its host has started.
    pub fn up(&self) {
        let supervisor = &self.supervisor;
        let mut record = self.record.lock();
        if record.up_since.is_none() {
            record.up_since = Some(supervisor.clock.instant());
            let mut book = supervisor.book.lock();
            book.up += 1;
            if book.up == supervisor.posts {
                book.failing = None;
            }
            supervisor.publish(&book);
        }
        drop(record);
        self.report();
    }

    /// Its host could not start, ended with an error, panicked or died.
    pub fn failed(&self, error: &HostError) -> Next {
        self.fallen(error, 0)
    }

    /// Its host panicked over a message, or died with it. The next one starts at once:
    /// `MaxAttempts` of the message bounds how often, and its neighbours should not wait. A host
    /// that falls over one message after the other is slowed down all the same.
    pub fn panicked(&self, error: &HostError) -> Next {
        self.fallen(error, FREE_PANICS)
    }

    /// Its host (a service) ended by itself, without an error.
    pub fn ended(&self) -> Next {
        let supervisor = &self.supervisor;
        if supervisor.terms.policy == RestartPolicy::Always {
            let error = HostError::new("service-ended", "the service ended by itself");
            return self.fallen(&error, 0);
        }
        self.record.lock().ended = true;
        self.down(None);
        if supervisor.stopping.is_cancelled() {
            return Next::End;
        }
        warn!(
            item = &*supervisor.name,
            "the service ended by itself and is not started again (RestartPolicy is not always)"
        );
        supervisor.finish(ItemState::Stopped, "the service ended by itself");
        Next::End
    }

    /// Its host cannot go on and another one could not either (the journal takes nothing): the
    /// post stays empty.
    pub(crate) fn lost(&self, error: &HostError) {
        self.record.lock().ended = true;
        self.supervisor.stats.note_error(error.message.clone());
        self.down(Some(error));
    }

    /// [`failed`](Self::failed), and the pause that it asks for. Whether to start another host.
    pub async fn recover(&self, error: &HostError) -> bool {
        let next = self.failed(error);
        self.wait(next).await
    }

    /// The pause; false if the owner should end.
    pub async fn wait(&self, next: Next) -> bool {
        let Next::Again(pause) = next else {
            return false;
        };
        tokio::select! {
            biased;
            () = self.supervisor.stopping.cancelled() => false,
            () = tokio::time::sleep(pause) => true,
        }
    }

    /// `free`: how many restarts go without a pause. One that had run goes without one anyway: the
    /// supervisor reacts at once, and waits only where starting has failed before.
    fn fallen(&self, error: &HostError, free: usize) -> Next {
        let supervisor = &self.supervisor;
        let terms = &supervisor.terms;
        let free = free.max(usize::from(self.down(Some(error))));
        if supervisor.stopping.is_cancelled() {
            return Next::End;
        }
        if terms.policy == RestartPolicy::Never {
            supervisor.give_up("RestartPolicy is never", error);
            return Next::End;
        }
        let Some(nth) = self.count_restart() else {
            let most = terms.max_restarts.unwrap_or_default();
            let why = format!("after {most} restarts (MaxRestarts)");
            supervisor.give_up(&why, error);
            return Next::End;
        };
        let pause = terms.pause(nth.saturating_sub(free));
        supervisor.stats.restarts.fetch_add(1, Ordering::Relaxed);
        error!(
            item = &*supervisor.name,
            code = error.code,
            restart = nth,
            pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
            "the item failed and is started again: {}",
            error.message
        );
        Next::Again(pause)
    }

    /// The number of the restart that is due, among those that count; none where it would be one
    /// too many.
    fn count_restart(&self) -> Option<usize> {
        let terms = &self.supervisor.terms;
        let mut record = self.record.lock();
        let since = record.ran.saturating_sub(terms.window);
        while record.restarts.front().is_some_and(|at| *at < since) {
            record.restarts.pop_front();
        }
        let most = terms.max_restarts.map_or(usize::MAX, |most| most as usize);
        if record.restarts.len() >= most {
            return None;
        }
        // Far more than any limit: what is kept of an endless row of failures stays small.
        if record.restarts.len() > 2000 {
            record.restarts.pop_front();
        }
        let ran = record.ran;
        record.restarts.push_back(ran);
        Some(record.restarts.len())
    }

    /// Whether it was up.
    fn down(&self, error: Option<&HostError>) -> bool {
        let supervisor = &self.supervisor;
        let mut record = self.record.lock();
        let mut book = supervisor.book.lock();
        let was_up = record.up_since.is_some();
        if let Some(since) = record.up_since.take() {
            let ran = supervisor.clock.instant().saturating_duration_since(since);
            record.ran = record.ran.saturating_add(ran);
            book.up = book.up.saturating_sub(1);
        }
        if let Some(error) = error {
            // Before the state: who sees the state looks for the reason. A stop is no failure.
            if !supervisor.stopping.is_cancelled() {
                supervisor.stats.note_error(error.message.clone());
            }
            book.failing = Some(error.clone());
        }
        supervisor.publish(&book);
        drop(book);
        drop(record);
        self.report();
        was_up
    }

    /// Counts this post among those that have started or failed once.
    fn report(&self) {
        let first = !std::mem::replace(&mut self.record.lock().reported, true);
        if first {
            self.supervisor.settled.send_modify(|count| *count += 1);
        }
    }
}

/// However its owner ends, the books are right.
impl Drop for Post {
    fn drop(&mut self) {
        let expected = self.supervisor.stopping.is_cancelled() || self.record.lock().ended;
        let lost = || HostError::new("job-lost", "a job of the item ended unexpectedly");
        self.down((!expected).then(lost).as_ref());
        if !expected {
            self.supervisor.stats.note_error(lost().message);
            info!(item = &*self.supervisor.name, "a job of the item ended");
        }
    }
}
