//! Queues in memory: views of what the log holds for an item.
//!
//! An entry is a header of a few dozen bytes; bodies stay beside it only while the byte budget
//! lasts and are read back from the log otherwise, so that a million waiting messages cost tens of
//! megabytes. The order is a trait ([`Order`]): FIFO is the first, others enter here.

use std::{
    collections::VecDeque,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use hie_store::Live;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// A waiting message: its header, and its body while that is kept in memory.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The header.
    pub live: Live,
    /// The body; none: read it from the log.
    pub body: Option<Bytes>,
}

/// The order in which entries leave.
pub trait Order: Send {
    /// Takes a new entry in.
    fn push(&mut self, entry: Entry);
    /// Takes an entry back to where it was taken from.
    fn put_back(&mut self, entry: Entry);
    /// The next entry.
    fn pop(&mut self) -> Option<Entry>;
    /// What would leave next.
    fn peek(&self) -> Option<&Live>;
    /// How many wait.
    fn len(&self) -> usize;
    /// Whether none waits.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Entries of one chunk: large enough to amortise its allocation, small enough to give memory back
/// soon while a long queue drains; just below 16 KiB, so that the allocator rounds nothing up.
const CHUNK: usize = (16 << 10) / size_of::<Live>();

/// One stretch of a FIFO. `bodies` is empty (nothing kept) or as long as `headers`; an empty
/// `Bytes` stands for a body that is not kept.
#[derive(Default)]
struct Chunk {
    headers: VecDeque<Live>,
    bodies: VecDeque<Bytes>,
}

impl Chunk {
    fn new() -> Self {
        Self {
            headers: VecDeque::with_capacity(CHUNK),
            bodies: VecDeque::new(),
        }
    }

    fn keep_bodies(&mut self) {
        if self.bodies.len() < self.headers.len() {
            self.bodies.resize(self.headers.len(), Bytes::new());
        }
    }

    fn push_back(&mut self, entry: Entry) {
        if let Some(body) = entry.body {
            self.keep_bodies();
            self.bodies.push_back(body);
        } else if !self.bodies.is_empty() {
            self.bodies.push_back(Bytes::new());
        }
        self.headers.push_back(entry.live);
    }

    fn push_front(&mut self, entry: Entry) {
        if let Some(body) = entry.body {
            self.keep_bodies();
            self.bodies.push_front(body);
        } else if !self.bodies.is_empty() {
            self.bodies.push_front(Bytes::new());
        }
        self.headers.push_front(entry.live);
    }

    fn pop_front(&mut self) -> Option<Entry> {
        let live = self.headers.pop_front()?;
        let body = self.bodies.pop_front().filter(|body| !body.is_empty());
        Some(Entry { live, body })
    }
}

/// First in, first out. A list of chunks rather than one ring: a ring of a million entries doubles
/// by copying (three times the memory at that moment) and never shrinks.
#[derive(Default)]
pub struct Fifo {
    chunks: VecDeque<Chunk>,
    len: usize,
}

impl Order for Fifo {
    fn push(&mut self, entry: Entry) {
        if self
            .chunks
            .back()
            .is_none_or(|chunk| chunk.headers.len() >= CHUNK)
        {
            self.chunks.push_back(Chunk::new());
        }
        if let Some(chunk) = self.chunks.back_mut() {
            chunk.push_back(entry);
            self.len += 1;
        }
    }

    fn put_back(&mut self, entry: Entry) {
        if self
            .chunks
            .front()
            .is_none_or(|chunk| chunk.headers.len() >= CHUNK)
        {
            self.chunks.push_front(Chunk::new());
        }
        if let Some(chunk) = self.chunks.front_mut() {
            chunk.push_front(entry);
            self.len += 1;
        }
    }

    fn pop(&mut self) -> Option<Entry> {
        let entry = self.chunks.front_mut()?.pop_front()?;
        self.len -= 1;
        // The last chunk stays for the next push; it would be allocated again at once.
        if self.chunks.len() > 1
            && self
                .chunks
                .front()
                .is_some_and(|chunk| chunk.headers.is_empty())
        {
            self.chunks.pop_front();
        }
        Some(entry)
    }

    fn peek(&self) -> Option<&Live> {
        self.chunks.front()?.headers.front()
    }

    fn len(&self) -> usize {
        self.len
    }
}

/// How many bytes of bodies all queues together may keep in memory.
#[derive(Debug)]
pub struct BodyBudget {
    used: AtomicUsize,
    limit: usize,
}

impl BodyBudget {
    /// A budget of `limit` bytes.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            used: AtomicUsize::new(0),
            limit,
        })
    }

    /// Takes `bytes` of it, or none. May overshoot by what runs at the same moment.
    fn take(&self, bytes: usize) -> bool {
        if self.used.load(Ordering::Relaxed) + bytes > self.limit {
            return false;
        }
        self.used.fetch_add(bytes, Ordering::Relaxed);
        true
    }

    fn give(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The queue of one item, shared by those who send to it and its jobs.
pub struct ItemQueue {
    order: Mutex<Box<dyn Order>>,
    arrived: Notify,
    len: AtomicUsize,
    high_water: AtomicUsize,
    budget: Arc<BodyBudget>,
}

impl ItemQueue {
    /// An empty queue with this order.
    pub fn new(order: Box<dyn Order>, budget: Arc<BodyBudget>) -> Self {
        Self {
            order: Mutex::new(order),
            arrived: Notify::new(),
            len: AtomicUsize::new(0),
            high_water: AtomicUsize::new(0),
            budget,
        }
    }

    /// Takes a new entry in and wakes a job.
    pub fn push(&self, live: Live, body: Option<Bytes>) {
        let body = body.filter(|body| self.budget.take(body.len()));
        self.change(|order| order.push(Entry { live, body }));
        self.arrived.notify_one();
    }

    /// Takes an entry back to its place.
    pub fn put_back(&self, live: Live) {
        self.change(|order| order.put_back(Entry { live, body: None }));
        self.arrived.notify_one();
    }

    /// Waits for the next entry. Cancel-safe: an entry is either returned or still queued.
    pub async fn take(&self) -> Entry {
        loop {
            let mut arrived = pin!(self.arrived.notified());
            // Registered before the look, so that a push in between is not missed.
            arrived.as_mut().enable();
            if let Some(entry) = self.try_take() {
                return entry;
            }
            arrived.await;
        }
    }

    /// The next entry if one waits.
    pub fn try_take(&self) -> Option<Entry> {
        let entry = self.change(|order| order.pop())?;
        if let Some(body) = &entry.body {
            self.budget.give(body.len());
        }
        Some(entry)
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The most that ever waited since the start.
    pub fn high_water(&self) -> usize {
        self.high_water.load(Ordering::Relaxed)
    }

    /// The header that would leave next.
    pub fn head(&self) -> Option<Live> {
        self.order.lock().peek().copied()
    }

    /// Marks what stands in the first `count` places as possibly delivered before a crash.
    pub fn mark_possible_duplicates(&self, count: usize) {
        let mut order = self.order.lock();
        let mut taken: Vec<Entry> = (0..count).map_while(|_| order.pop()).collect();
        while let Some(mut entry) = taken.pop() {
            entry.live.possible_duplicate = true;
            order.put_back(entry);
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut dyn Order) -> T) -> T {
        let mut order = self.order.lock();
        let result = change(order.as_mut());
        let len = order.len();
        self.len.store(len, Ordering::Relaxed);
        self.high_water.fetch_max(len, Ordering::Relaxed);
        result
    }
}

#[cfg(test)]
mod tests {
    use hie_store::{BodyRef, Content, ItemId, MessageId, Priority, SessionId, State};

    use super::*;

    fn live(id: u64) -> Live {
        Live {
            hops: 0,
            id: MessageId(id),
            session: SessionId(id),
            body: BodyRef::default(),
            created_ms: 0,
            source: ItemId(0),
            target: ItemId(1),
            attempts: 0,
            priority: Priority::Normal,
            state: State::Queued,
            content: Content::Plain,
            possible_duplicate: false,
        }
    }

    fn fifo(limit: usize) -> ItemQueue {
        ItemQueue::new(Box::<Fifo>::default(), BodyBudget::new(limit))
    }

    #[test]
    fn leaves_in_order_over_many_chunks_and_put_back_goes_first() {
        let queue = fifo(0);
        (0..1000).for_each(|id| queue.push(live(id), None));
        for id in 0..500 {
            assert_eq!(queue.try_take().map(|entry| entry.live.id.0), Some(id));
        }
        queue.put_back(live(499));
        assert_eq!(queue.len(), 501);
        for id in 499..1000 {
            assert_eq!(queue.try_take().map(|entry| entry.live.id.0), Some(id));
        }
        assert!(queue.try_take().is_none());
        assert_eq!(queue.high_water(), 1000);
    }

    #[test]
    fn bodies_stay_with_their_headers_while_the_budget_lasts() {
        let queue = fifo(10);
        queue.push(live(0), None);
        queue.push(live(1), Some(Bytes::from_static(b"123456")));
        queue.push(live(2), Some(Bytes::from_static(b"123456")));
        queue.push(live(3), Some(Bytes::from_static(b"1234")));
        let kept: Vec<_> = std::iter::from_fn(|| queue.try_take())
            .map(|e| e.body.map(|b| b.len()))
            .collect();
        assert_eq!(kept, [None, Some(6), None, Some(4)]);
        // All given back: the budget is whole again.
        queue.push(live(4), Some(Bytes::from_static(b"1234567890")));
        assert_eq!(
            queue
                .try_take()
                .and_then(|entry| entry.body)
                .map(|body| body.len()),
            Some(10)
        );
    }

    #[test]
    fn possible_duplicates_are_marked_at_the_head_only() {
        let queue = fifo(0);
        (0..5).for_each(|id| queue.push(live(id), None));
        queue.mark_possible_duplicates(2);
        let marks: Vec<_> = std::iter::from_fn(|| queue.try_take())
            .map(|e| (e.live.id.0, e.live.possible_duplicate))
            .collect();
        assert_eq!(
            marks,
            [(0, true), (1, true), (2, false), (3, false), (4, false)]
        );
    }

    #[tokio::test]
    async fn every_push_reaches_a_waiting_job() {
        let queue = Arc::new(fifo(0));
        let jobs: Vec<_> = (0..4)
            .map(|_| {
                let queue = queue.clone();
                tokio::spawn(async move {
                    let mut taken = 0;
                    while queue.take().await.live.id.0 != u64::MAX {
                        taken += 1;
                    }
                    taken
                })
            })
            .collect();
        for id in 0..200 {
            queue.push(live(id), None);
            if id % 7 == 0 {
                tokio::task::yield_now().await;
            }
        }
        (0..4).for_each(|_| queue.push(live(u64::MAX), None));
        let mut taken = 0;
        for job in jobs {
            taken += job.await.unwrap();
        }
        assert_eq!(taken, 200);
    }
}
