//! What an order of a queue must do. Owns no entry: the orders beside it do.

use bytes::Bytes;
use hie_store::Live;

/// A waiting message: its header, and its body while that is kept in memory.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The header.
    pub live: Live,
    /// The body; none: read it from the log.
    pub body: Option<Bytes>,
}

impl Entry {
    /// An entry without its body.
    pub fn bare(live: Live) -> Self {
        Self { live, body: None }
    }
}

/// The order in which entries leave. `key` is what `OrderBy` makes of a message; orders that know
/// no keys hand it back as it came or as 0. Every call is O(1), or bounded by a constant.
pub trait Order: Send {
    /// Takes a new entry in.
    fn push(&mut self, entry: Entry, key: u64);
    /// Takes an entry back to where it was taken from.
    fn put_back(&mut self, entry: Entry, key: u64);
    /// The next entry that may be worked off now, with its key.
    fn pop(&mut self, now_ms: u64) -> Option<(Entry, u64)>;
    /// Takes out what `drop_oldest` drops: of what waits, the entry that matters least.
    fn evict(&mut self) -> Option<Entry>;
    /// An entry with this key is no longer in hand. True if that lets another one leave.
    fn done(&mut self, _key: u64) -> bool {
        false
    }
    /// An entry with this key is in hand already (a queue that changes its order while it works).
    fn hold(&mut self, _key: u64) {}
    /// The entry that has waited longest.
    fn oldest(&self) -> Option<Live>;
    /// How many wait.
    fn len(&self) -> usize;
    /// Whether none waits.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Takes everything out, in no order.
    fn drain(&mut self) -> Vec<Entry>;
}
