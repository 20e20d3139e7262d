//! First in, first out; and the same without a promise.

use hie_store::Live;

use super::{Entry, Order, chunks::Chunks};

/// First in, first out.
#[derive(Default)]
pub struct Fifo(Chunks);

impl Order for Fifo {
    fn push(&mut self, entry: Entry, _: u64) {
        self.0.push_back(entry);
    }

    fn put_back(&mut self, entry: Entry, _: u64) {
        self.0.push_front(entry);
    }

    fn pop(&mut self, _: u64) -> Option<(Entry, u64)> {
        self.0.pop_front().map(|entry| (entry, 0))
    }

    fn evict(&mut self) -> Option<Entry> {
        self.0.pop_front()
    }

    fn oldest(&self) -> Option<Live> {
        self.0.front().copied()
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn drain(&mut self) -> Vec<Entry> {
        self.0.drain()
    }
}

/// No promise of order. What comes back goes behind the rest, so that a message which troubles its
/// job holds up nobody; apart from that it is first in, first out, which is kind to the disk.
#[derive(Default)]
pub struct Unordered(Fifo);

impl Order for Unordered {
    fn push(&mut self, entry: Entry, key: u64) {
        self.0.push(entry, key);
    }

    fn put_back(&mut self, entry: Entry, key: u64) {
        self.0.push(entry, key);
    }

    fn pop(&mut self, now_ms: u64) -> Option<(Entry, u64)> {
        self.0.pop(now_ms)
    }

    fn evict(&mut self) -> Option<Entry> {
        self.0.evict()
    }

    fn oldest(&self) -> Option<Live> {
        self.0.oldest()
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn drain(&mut self) -> Vec<Entry> {
        self.0.drain()
    }
}
