//! Last in, first out: the newest news first, for displays and polls that nobody wants late.

use hie_store::Live;

use super::{Entry, Order, chunks::Chunks};

/// Last in, first out.
#[derive(Default)]
pub struct Lifo(Chunks);

impl Order for Lifo {
    fn push(&mut self, entry: Entry, _: u64) {
        self.0.push_back(entry);
    }

    fn put_back(&mut self, entry: Entry, _: u64) {
        self.0.push_back(entry);
    }

    fn pop(&mut self, _: u64) -> Option<(Entry, u64)> {
        self.0.pop_back().map(|entry| (entry, 0))
    }

    /// The oldest lies at the bottom.
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
