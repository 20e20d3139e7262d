//! Order per key (`OrderBy`): entries with the same key leave one at a time and in order, entries
//! with different keys side by side.
//!
//! Each key has a list of what waits; keys that have something to give and nothing in hand stand in
//! line. Every operation is O(1) whatever the number of keys, and a hot key costs the others
//! nothing: it takes its turn like them.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use hie_store::{Live, MessageId};

use super::{
    Entry, Order,
    slab::{NONE, Plain, Slab},
};

/// What waits of one key. A key without a list, with nothing in hand and not in line is forgotten.
#[derive(Clone, Copy)]
struct Key {
    head: u32,
    tail: u32,
    /// One of its entries is in hand: no other may leave.
    busy: bool,
    /// It stands in `ready`, once.
    in_line: bool,
}

impl Key {
    const FRESH: Self = Self {
        head: NONE,
        tail: NONE,
        busy: false,
        in_line: false,
    };

    /// Whether it should stand in line and does not.
    fn may_line_up(&mut self) -> bool {
        let may = !self.busy && !self.in_line && self.head != NONE;
        self.in_line |= may;
        may
    }
}

/// See the module.
#[derive(Default)]
pub struct Keyed {
    keys: HashMap<u64, Key, Plain>,
    /// Keys that may give an entry now, each once, in the order of their turns.
    ready: VecDeque<u64>,
    slab: Slab,
    /// Bodies that are kept, by place in the slab.
    bodies: HashMap<u32, Bytes, Plain>,
    /// Who came when, for dropping the oldest; some have left meanwhile. Kept only if asked for:
    /// a queue without a limit never drops and saves the memory.
    ages: Option<VecDeque<(MessageId, u32, u64)>>,
}

impl Keyed {
    /// `evicts`: whether [`evict`](Order::evict) will be asked for.
    pub fn new(evicts: bool) -> Self {
        Self {
            ages: evicts.then(VecDeque::new),
            ..Self::default()
        }
    }

    fn store(&mut self, entry: Entry) -> u32 {
        let at = self.slab.insert(entry.live);
        if let Some(body) = entry.body {
            self.bodies.insert(at, body);
        }
        at
    }

    /// Takes the head of a key's list.
    fn unlink(&mut self, key: u64) -> Option<Entry> {
        let state = self.keys.get_mut(&key)?;
        let at = state.head;
        if at == NONE {
            return None;
        }
        let (live, next) = self.slab.remove(at)?;
        state.head = next;
        if next == NONE {
            state.tail = NONE;
        }
        Some(Entry {
            live,
            body: self.bodies.remove(&at),
        })
    }

    fn forget_if_idle(&mut self, key: u64) {
        let idle = |state: &Key| state.head == NONE && !state.busy && !state.in_line;
        if self.keys.get(&key).is_some_and(idle) {
            self.keys.remove(&key);
        }
        if self.slab.is_empty() {
            // A queue that was long gives its memory back when it is empty.
            const KEPT: usize = 4096;
            self.keys.shrink_to(KEPT);
            self.bodies.shrink_to(KEPT);
            self.ready.shrink_to(KEPT);
        }
    }

    /// Dropped entries leave keys in line that have nothing to give; where no job takes anything,
    /// nobody else would ever clear them away.
    fn tidy_line(&mut self) {
        if self.ready.len() <= 2 * self.slab.len() + 64 {
            return;
        }
        let keys = &mut self.keys;
        self.ready.retain(|key| match keys.get_mut(key) {
            Some(state) if state.head != NONE => true,
            Some(state) => {
                state.in_line = false;
                if !state.busy {
                    keys.remove(key);
                }
                false
            }
            None => false,
        });
    }

    fn note_age(&mut self, entry: (MessageId, u32, u64), first: bool) {
        let (slab, live) = (&self.slab, self.slab.len());
        let Some(ages) = &mut self.ages else { return };
        if ages.len() > 2 * live + 64 {
            ages.retain(|(id, at, _)| slab.get(*at).is_some_and(|live| live.id == *id));
        }
        if first {
            ages.push_front(entry);
        } else {
            ages.push_back(entry);
        }
    }
}

impl Order for Keyed {
    fn push(&mut self, entry: Entry, key: u64) {
        let id = entry.live.id;
        let at = self.store(entry);
        let state = self.keys.entry(key).or_insert(Key::FRESH);
        match state.tail {
            NONE => state.head = at,
            tail => self.slab.link(tail, at),
        }
        state.tail = at;
        if state.may_line_up() {
            self.ready.push_back(key);
        }
        self.note_age((id, at, key), false);
    }

    fn put_back(&mut self, entry: Entry, key: u64) {
        let id = entry.live.id;
        let at = self.store(entry);
        let state = self.keys.entry(key).or_insert(Key::FRESH);
        match state.head {
            NONE => state.tail = at,
            head => self.slab.link(at, head),
        }
        state.head = at;
        state.busy = false;
        if state.may_line_up() {
            self.ready.push_front(key);
        }
        self.note_age((id, at, key), true);
    }

    fn pop(&mut self, _: u64) -> Option<(Entry, u64)> {
        while let Some(key) = self.ready.pop_front() {
            let Some(state) = self.keys.get_mut(&key) else {
                continue;
            };
            state.in_line = false;
            if state.busy {
                continue; // `done` puts it in line again.
            }
            // A key whose only entry was dropped has nothing to give.
            let Some(entry) = self.unlink(key) else {
                self.forget_if_idle(key);
                continue;
            };
            if let Some(state) = self.keys.get_mut(&key) {
                state.busy = true;
            }
            return Some((entry, key));
        }
        None
    }

    /// The oldest that waits: it heads the list of its key, and what is in hand does not wait.
    fn evict(&mut self) -> Option<Entry> {
        loop {
            let (id, at, key) = self.ages.as_mut()?.pop_front()?;
            if self.slab.get(at).is_none_or(|live| live.id != id) {
                continue; // It has left, and another may stand in its place.
            }
            let entry = self.unlink(key);
            self.forget_if_idle(key);
            self.tidy_line();
            return entry;
        }
    }

    fn done(&mut self, key: u64) -> bool {
        let Some(state) = self.keys.get_mut(&key) else {
            return false;
        };
        if !std::mem::take(&mut state.busy) {
            return false;
        }
        if state.may_line_up() {
            self.ready.push_back(key);
            return true;
        }
        self.forget_if_idle(key);
        false
    }

    fn hold(&mut self, key: u64) {
        self.keys.entry(key).or_insert(Key::FRESH).busy = true;
    }

    /// The head of the key that waited longest. Looks at every key: for an operator's question,
    /// not for the way of a message.
    fn oldest(&self) -> Option<Live> {
        let heads = self.keys.values().filter_map(|key| self.slab.get(key.head));
        heads.min_by_key(|live| live.id).copied()
    }

    fn len(&self) -> usize {
        self.slab.len()
    }

    fn drain(&mut self) -> Vec<Entry> {
        let keys: Vec<u64> = self.keys.keys().copied().collect();
        let mut all = Vec::with_capacity(self.len());
        for key in keys {
            all.extend(std::iter::from_fn(|| self.unlink(key)));
        }
        *self = Self::new(self.ages.is_some());
        all
    }
}
