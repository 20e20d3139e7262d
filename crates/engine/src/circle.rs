//! Who waits for whom: the table that finds a wait which would never end.
//!
//! A job that waits is stuck when the request it waits for is in the hands of a stuck job, or stands
//! in a queue all of whose jobs are stuck. Owns that question and its words. Says no only when it is
//! sure: a job that works, or could, may still answer. Locks nothing itself: that is
//! [`calls`](crate::calls)'.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use hie_store::ItemId;
use smallvec::SmallVec;

/// A job in the table.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct JobKey {
    pub(crate) item: ItemId,
    number: u64,
}

/// A request that is awaited: its number once it is made (0 before), and who gets it.
type Request = (u64, ItemId);

/// One thing that a job waits for: the first response of any of these.
struct Want {
    number: u64,
    requests: SmallVec<[Request; 2]>,
}

struct Node {
    key: JobKey,
    /// The message in hand; 0 for none.
    in_hand: Arc<AtomicU64>,
    /// It waits for all of these.
    wants: SmallVec<[Want; 1]>,
}

#[derive(Default)]
struct Jobs {
    nodes: Vec<Node>,
    /// One message at a time, however many jobs stand by.
    one_at_a_time: bool,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Circle {
    items: HashMap<ItemId, Jobs>,
    next: u64,
}

impl Circle {
    /// A job begins; it says in the number that comes back what it has in hand.
    pub(crate) fn join(&mut self, item: ItemId, one_at_a_time: bool) -> (JobKey, Arc<AtomicU64>) {
        self.next += 1;
        let key = JobKey {
            item,
            number: self.next,
        };
        let in_hand = Arc::new(AtomicU64::new(0));
        let jobs = self.items.entry(item).or_default();
        jobs.one_at_a_time = one_at_a_time;
        jobs.nodes.push(Node {
            key,
            in_hand: in_hand.clone(),
            wants: SmallVec::new(),
        });
        (key, in_hand)
    }

    /// A job ends.
    pub(crate) fn leave(&mut self, key: JobKey) {
        if let Some(jobs) = self.items.get_mut(&key.item) {
            jobs.nodes.retain(|node| node.key != key);
        }
    }

    /// A job is about to wait for an item; the number names the wait. If that could never end: the
    /// items that wait for each other, the first of them again at the end, and it does not wait.
    pub(crate) fn want(&mut self, job: JobKey, item: ItemId) -> Result<u64, Vec<ItemId>> {
        self.next += 1;
        let number = self.next;
        let requests = SmallVec::from_slice(&[(0, item)]);
        let Some(node) = self.node_mut(job) else {
            return Ok(number);
        };
        node.wants.push(Want { number, requests });
        let stuck = self.stuck();
        if !stuck.contains(&job) {
            return Ok(number);
        }
        let round = self.round(job, &stuck);
        self.end(job, number);
        Err(round)
    }

    /// What is wanted is now these requests.
    pub(crate) fn set(&mut self, job: JobKey, want: u64, requests: &[Request]) {
        let wants = self.node_mut(job).map(|node| &mut node.wants);
        let mut wants = wants.into_iter().flatten();
        if let Some(want) = wants.find(|known| known.number == want) {
            want.requests = SmallVec::from_slice(requests);
        }
    }

    /// The wait is over.
    pub(crate) fn end(&mut self, job: JobKey, want: u64) {
        if let Some(node) = self.node_mut(job) {
            node.wants.retain(|known| known.number != want);
        }
    }

    /// For whom this wait waits, and for whom that one waits, as far as it goes.
    pub(crate) fn chain(&self, job: JobKey, want: u64) -> Vec<ItemId> {
        let wants = self.node(job).map(|node| &node.wants);
        let first = wants
            .into_iter()
            .flatten()
            .find(|known| known.number == want);
        let mut next = first.and_then(|want| want.requests.first()).copied();
        let mut chain = Vec::new();
        while let Some((request, item)) = next {
            if chain.contains(&item) {
                break;
            }
            chain.push(item);
            let handler = self.handler(request, item);
            let deeper = handler.and_then(|node| node.wants.first());
            next = deeper.and_then(|want| want.requests.first()).copied();
        }
        chain
    }

    fn node(&self, key: JobKey) -> Option<&Node> {
        let jobs = self.items.get(&key.item)?;
        jobs.nodes.iter().find(|node| node.key == key)
    }

    fn node_mut(&mut self, key: JobKey) -> Option<&mut Node> {
        let jobs = self.items.get_mut(&key.item)?;
        jobs.nodes.iter_mut().find(|node| node.key == key)
    }

    /// The job that has this request in hand.
    fn handler(&self, request: u64, item: ItemId) -> Option<&Node> {
        let nodes = &self.items.get(&item)?.nodes;
        let has = |node: &&Node| request != 0 && node.in_hand.load(Ordering::Acquire) == request;
        nodes.iter().find(has)
    }

    /// All jobs that wait for what will not come. The largest set in which each waits for another
    /// of the set: start with all that wait, take out whoever may be answered, until none is left
    /// to take out.
    fn stuck(&self) -> HashSet<JobKey> {
        let nodes = || self.items.values().flat_map(|jobs| &jobs.nodes);
        let mut stuck: HashSet<JobKey> = nodes()
            .filter(|node| !node.wants.is_empty())
            .map(|node| node.key)
            .collect();
        loop {
            let hopeful = |node: &&Node| {
                let comes = |want: &Want| {
                    let mut any = want.requests.iter();
                    any.any(|request| self.may_be_answered(*request, &stuck))
                };
                stuck.contains(&node.key) && node.wants.iter().all(comes)
            };
            let free: Vec<JobKey> = nodes().filter(hopeful).map(|node| node.key).collect();
            if free.is_empty() {
                return stuck;
            }
            for key in free {
                stuck.remove(&key);
            }
        }
    }

    fn may_be_answered(&self, (request, item): Request, stuck: &HashSet<JobKey>) -> bool {
        if let Some(node) = self.handler(request, item) {
            return !stuck.contains(&node.key);
        }
        let Some(jobs) = self.items.get(&item) else {
            return true;
        };
        let busy = |node: &&Node| node.in_hand.load(Ordering::Acquire) != 0;
        if jobs.one_at_a_time
            && let Some(at_work) = jobs.nodes.iter().find(busy)
        {
            return !stuck.contains(&at_work.key);
        }
        // An item without jobs is stopped or disabled: it may come back.
        jobs.nodes.is_empty() || jobs.nodes.iter().any(|node| !stuck.contains(&node.key))
    }

    /// From a stuck job along the stuck ones until an item comes again.
    fn round(&self, from: JobKey, stuck: &HashSet<JobKey>) -> Vec<ItemId> {
        let mut way = vec![from.item];
        let mut at = self.node(from);
        while let Some(node) = at {
            // The latest want closed the round, where there are several.
            let wants = node.wants.iter().rev();
            let mut hopeless = wants.filter_map(|want| want.requests.first());
            let Some((request, item)) =
                hopeless.find(|request| !self.may_be_answered(**request, stuck))
            else {
                break;
            };
            let seen = way.iter().position(|known| known == item);
            way.push(*item);
            if let Some(seen) = seen {
                return way.split_off(seen);
            }
            let stuck_there = || {
                let nodes = self.items.get(item).map(|jobs| &jobs.nodes);
                let mut nodes = nodes.into_iter().flatten();
                nodes.find(|node| stuck.contains(&node.key))
            };
            at = self.handler(*request, *item).or_else(stuck_there);
        }
        way
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ItemId = ItemId(1);
    const B: ItemId = ItemId(2);
    const C: ItemId = ItemId(3);

    fn job(circle: &mut Circle, item: ItemId, in_hand: u64) -> JobKey {
        let (key, slot) = circle.join(item, false);
        slot.store(in_hand, Ordering::Release);
        key
    }

    #[test]
    fn a_round_over_three_items_is_found_when_it_closes() {
        let mut circle = Circle::default();
        let (a, b, c) = (
            job(&mut circle, A, 1),
            job(&mut circle, B, 2),
            job(&mut circle, C, 3),
        );
        assert!(circle.want(a, B).is_ok());
        assert!(circle.want(b, C).is_ok());
        assert_eq!(circle.want(c, A), Err(vec![C, A, B, C]));
        // The one that would have closed it does not wait, so the others still may be answered.
        assert!(circle.stuck().is_empty());
    }

    #[test]
    fn an_item_that_calls_itself_needs_a_second_job() {
        let mut circle = Circle::default();
        let first = job(&mut circle, A, 1);
        assert_eq!(circle.want(first, A), Err(vec![A, A]));
        let second = job(&mut circle, A, 0);
        let want = circle.want(first, A).unwrap();
        assert_eq!(circle.want(second, A), Err(vec![A, A]));
        circle.end(first, want);
        assert!(circle.want(second, A).is_ok());
    }

    #[test]
    fn a_free_job_helps_only_where_the_request_still_stands_in_the_queue() {
        let mut circle = Circle::default();
        let a = job(&mut circle, A, 1);
        let b = job(&mut circle, B, 7);
        let _free = job(&mut circle, B, 0);
        let want = circle.want(a, B).unwrap();
        // B's first job, which has the request of A in hand, calls A, whose only job waits for it.
        circle.set(a, want, &[(7, B)]);
        assert_eq!(circle.want(b, A), Err(vec![B, A, B]));
        circle.set(a, want, &[(8, B)]);
        assert!(circle.want(b, A).is_ok(), "8 can be taken by the free job");
    }

    #[test]
    fn jobs_that_stand_by_are_no_help_where_one_works_at_a_time() {
        for one_at_a_time in [false, true] {
            let mut circle = Circle::default();
            let (a, in_hand) = circle.join(A, one_at_a_time);
            in_hand.store(1, Ordering::Release);
            circle.join(A, one_at_a_time);
            let b = job(&mut circle, B, 2);
            circle.want(a, B).unwrap();
            assert_eq!(circle.want(b, A).is_err(), one_at_a_time);
        }
    }

    #[test]
    fn a_stopped_item_is_no_deadlock_and_the_chain_is_told() {
        let mut circle = Circle::default();
        let (a, b) = (job(&mut circle, A, 1), job(&mut circle, B, 5));
        let want = circle.want(a, B).unwrap();
        circle.set(a, want, &[(5, B)]);
        assert!(circle.want(b, C).is_ok());
        assert_eq!(circle.chain(a, want), [B, C]);
        circle.leave(b);
        assert!(circle.want(a, B).is_ok());
    }
}
