//! Places for headers that are linked into lists: 64 bytes each, given back page by page.

use std::hash::{BuildHasherDefault, Hasher};

use hie_store::Live;

/// No place.
pub(crate) const NONE: u32 = u32::MAX;

/// Entries of one page.
const PAGE: usize = 256;

#[derive(Clone, Copy)]
struct Node {
    live: Live,
    /// The next of its list, or of the free ones of its page.
    next: u32,
    used: bool,
}

/// A page; without nodes while nothing stands in it.
#[derive(Default)]
struct Page {
    nodes: Vec<Node>,
    free: Option<u32>,
    used: usize,
    /// Whether it stands in `open`.
    open: bool,
}

/// The places.
#[derive(Default)]
pub(crate) struct Slab {
    pages: Vec<Page>,
    /// Pages with room.
    open: Vec<u32>,
    len: usize,
}

impl Slab {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn get(&self, at: u32) -> Option<&Live> {
        let (page, place) = split(at);
        let node = self.pages.get(page)?.nodes.get(place)?;
        node.used.then_some(&node.live)
    }

    /// Puts a header somewhere, with nothing behind it.
    pub(crate) fn insert(&mut self, live: Live) -> u32 {
        let node = Node {
            live,
            next: NONE,
            used: true,
        };
        let number = match self.open.last() {
            Some(number) => *number,
            None => {
                let number = u32::try_from(self.pages.len()).unwrap_or(NONE);
                self.pages.push(Page {
                    open: true,
                    ..Page::default()
                });
                self.open.push(number);
                number
            }
        };
        let page = &mut self.pages[number as usize];
        let place = match page.free {
            Some(place) => {
                let slot = &mut page.nodes[place as usize];
                page.free = (slot.next != NONE).then_some(slot.next);
                *slot = node;
                place as usize
            }
            None => {
                if page.nodes.capacity() == 0 {
                    page.nodes.reserve_exact(PAGE);
                }
                page.nodes.push(node);
                page.nodes.len() - 1
            }
        };
        page.used += 1;
        if page.used == PAGE {
            page.open = false;
            self.open.pop();
        }
        self.len += 1;
        number * PAGE as u32 + place as u32
    }

    /// Puts `after` behind `at`.
    pub(crate) fn link(&mut self, at: u32, after: u32) {
        let (page, place) = split(at);
        if let Some(node) = self
            .pages
            .get_mut(page)
            .and_then(|p| p.nodes.get_mut(place))
        {
            node.next = after;
        }
    }

    /// Takes a header out, and says what stood behind it.
    pub(crate) fn remove(&mut self, at: u32) -> Option<(Live, u32)> {
        let (number, place) = split(at);
        let only = self.pages.len() == 1;
        let page = self.pages.get_mut(number)?;
        let node = page.nodes.get_mut(place).filter(|node| node.used)?;
        let gone = (node.live, node.next);
        node.used = false;
        node.next = page.free.unwrap_or(NONE);
        page.free = Some(place as u32);
        page.used -= 1;
        self.len -= 1;
        if page.used == 0 {
            // A short queue comes and goes on one page: that one stays.
            match only {
                true => page.nodes.clear(),
                false => page.nodes = Vec::new(),
            }
            page.free = None;
        }
        if !page.open {
            page.open = true;
            self.open.push(number as u32);
        }
        if self.len == 0 && !only {
            *self = Self::default();
        }
        Some(gone)
    }
}

fn split(at: u32) -> (usize, usize) {
    (at as usize / PAGE, at as usize % PAGE)
}

/// For keys that are hashes or numbers already.
#[derive(Default)]
pub(crate) struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    /// Spread over all bits: the map takes its buckets from some and its tags from others.
    fn write_u64(&mut self, number: u64) {
        self.0 = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(26);
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(number.into());
    }
}

/// The hasher of such maps.
pub(crate) type Plain = BuildHasherDefault<Identity>;
