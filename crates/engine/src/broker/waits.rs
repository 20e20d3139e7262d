//! Who waits for whom: the table that finds waits which would never end.
//!
//! An item is stuck when each of its jobs waits for something that only a stuck item can give.
//! Plain data behind one lock; whoever is about to wait asks first.

use std::collections::{HashMap, HashSet};

use hie_store::{ItemId, MessageId};
use parking_lot::Mutex;

/// See the module.
#[derive(Debug, Default)]
pub struct Waits(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    /// How many messages an item can have in hand at once.
    jobs: HashMap<ItemId, usize>,
    waits: Vec<Wait>,
}

/// A job of `item` has this message in hand and waits for the item `on`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Wait {
    message: MessageId,
    item: ItemId,
    on: ItemId,
}

/// A wait in the table; it leaves with this.
#[derive(Debug)]
pub struct Waiting<'a> {
    waits: &'a Waits,
    wait: Wait,
}

impl Waits {
    /// Says how many jobs an item has.
    pub fn set_jobs(&self, item: ItemId, jobs: usize) {
        self.0.lock().jobs.insert(item, jobs);
    }

    /// A job of `item` that has this message in hand is about to wait for `on`. None if `on` can
    /// never do its part, because it waits, over however many others, for this very job.
    pub fn begin(&self, message: MessageId, item: ItemId, on: ItemId) -> Option<Waiting<'_>> {
        let wait = Wait { message, item, on };
        let mut table = self.0.lock();
        table.waits.push(wait);
        if table.stuck().contains(&on) {
            table.remove(wait);
            return None;
        }
        Some(Waiting { waits: self, wait })
    }
}

impl Waiting<'_> {
    /// Whether the wait has become one that never ends, because others have gone since it began.
    pub fn is_hopeless(&self) -> bool {
        self.waits.0.lock().stuck().contains(&self.wait.on)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.waits.0.lock().remove(self.wait);
    }
}

impl Table {
    fn remove(&mut self, wait: Wait) {
        if let Some(at) = self.waits.iter().position(|known| *known == wait) {
            self.waits.swap_remove(at);
        }
    }

    /// The items of which every job waits for an item in this same set. Starts from all whose jobs
    /// all wait and strikes those with a way out until none is left to strike.
    fn stuck(&self) -> HashSet<ItemId> {
        let mut waiting: HashMap<ItemId, HashSet<MessageId>> = HashMap::new();
        for wait in &self.waits {
            waiting.entry(wait.item).or_default().insert(wait.message);
        }
        let all_wait = |(item, messages): (&ItemId, &HashSet<MessageId>)| {
            let jobs = self.jobs.get(item).copied().unwrap_or(1);
            (messages.len() >= jobs).then_some(*item)
        };
        let mut stuck: HashSet<ItemId> = waiting.iter().filter_map(all_wait).collect();
        loop {
            let free: Vec<ItemId> = self
                .waits
                .iter()
                .filter(|wait| stuck.contains(&wait.item) && !stuck.contains(&wait.on))
                .map(|wait| wait.item)
                .collect();
            if free.is_empty() {
                return stuck;
            }
            for item in free {
                stuck.remove(&item);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ItemId = ItemId(1);
    const B: ItemId = ItemId(2);
    const C: ItemId = ItemId(3);

    fn begin(waits: &Waits, message: u64, item: ItemId, on: ItemId) -> Option<Waiting<'_>> {
        waits.begin(MessageId(message), item, on)
    }

    #[test]
    fn a_chain_is_no_circle_and_a_circle_is_found_by_who_closes_it() {
        let waits = Waits::default();
        let first = begin(&waits, 1, A, B);
        let second = begin(&waits, 2, B, C);
        assert!(first.is_some() && second.is_some());
        assert!(begin(&waits, 3, C, A).is_none());
        drop(second);
        assert!(begin(&waits, 3, C, A).is_some(), "B goes on");
    }

    #[test]
    fn an_item_with_a_free_job_is_not_stuck() {
        let waits = Waits::default();
        waits.set_jobs(A, 2);
        let first = begin(&waits, 1, A, A);
        assert!(first.is_some(), "the other job works its queue off");
        assert!(begin(&waits, 2, A, A).is_none());
        // The second waits for somebody who works: it will be back.
        let second = begin(&waits, 2, A, B);
        assert!(second.is_some());
        assert!(first.is_some_and(|wait| !wait.is_hopeless()));
    }

    #[test]
    fn a_wait_may_become_hopeless_later() {
        let waits = Waits::default();
        waits.set_jobs(B, 2);
        let first = begin(&waits, 1, A, B);
        let second = begin(&waits, 2, B, A);
        assert!(first.as_ref().is_some_and(|wait| !wait.is_hopeless()) && second.is_some());
        waits.set_jobs(B, 1);
        assert!(first.is_some_and(|wait| wait.is_hopeless()));
    }
}
