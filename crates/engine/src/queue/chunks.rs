//! A double-ended list of entries in chunks: what most orders are made of.
//!
//! A list of chunks rather than one ring: a ring of a million entries doubles by copying (three
//! times the memory at that moment) and never shrinks.

use std::collections::VecDeque;

use bytes::Bytes;
use hie_store::Live;

use super::Entry;

/// Entries of one chunk: large enough to amortise its allocation, small enough to give memory back
/// soon while a long queue drains; just below 16 KiB, so that the allocator rounds nothing up.
const CHUNK: usize = (16 << 10) / size_of::<Live>();

/// One stretch. `bodies` is empty (nothing kept) or as long as `headers`; an empty `Bytes` stands
/// for a body that is not kept.
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

    fn is_full(&self) -> bool {
        self.headers.len() >= CHUNK
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

    fn pop_back(&mut self) -> Option<Entry> {
        let live = self.headers.pop_back()?;
        let body = self.bodies.pop_back().filter(|body| !body.is_empty());
        Some(Entry { live, body })
    }
}

/// The list.
#[derive(Default)]
pub(crate) struct Chunks {
    chunks: VecDeque<Chunk>,
    len: usize,
}

impl Chunks {
    pub(crate) fn push_back(&mut self, entry: Entry) {
        if self.chunks.back().is_none_or(Chunk::is_full) {
            self.chunks.push_back(Chunk::new());
        }
        if let Some(chunk) = self.chunks.back_mut() {
            chunk.push_back(entry);
            self.len += 1;
        }
    }

    pub(crate) fn push_front(&mut self, entry: Entry) {
        if self.chunks.front().is_none_or(Chunk::is_full) {
            self.chunks.push_front(Chunk::new());
        }
        if let Some(chunk) = self.chunks.front_mut() {
            chunk.push_front(entry);
            self.len += 1;
        }
    }

    pub(crate) fn pop_front(&mut self) -> Option<Entry> {
        let entry = self.chunks.front_mut()?.pop_front()?;
        self.len -= 1;
        // The last chunk stays for the next push; it would be allocated again at once.
        let empty = |chunk: &Chunk| chunk.headers.is_empty();
        if self.chunks.len() > 1 && self.chunks.front().is_some_and(empty) {
            self.chunks.pop_front();
        }
        Some(entry)
    }

    pub(crate) fn pop_back(&mut self) -> Option<Entry> {
        let entry = self.chunks.back_mut()?.pop_back()?;
        self.len -= 1;
        let empty = |chunk: &Chunk| chunk.headers.is_empty();
        if self.chunks.len() > 1 && self.chunks.back().is_some_and(empty) {
            self.chunks.pop_back();
        }
        Some(entry)
    }

    pub(crate) fn front(&self) -> Option<&Live> {
        self.chunks.front()?.headers.front()
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn drain(&mut self) -> Vec<Entry> {
        std::iter::from_fn(|| self.pop_front()).collect()
    }
}
