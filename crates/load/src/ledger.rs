//! The account of a run: what was sent and acknowledged against what was delivered. It is kept
//! outside the engine; its verdict on an engine is `lost`, which must be 0.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

use serde::Serialize;

use crate::message::split_control_id;

/// A stream's table grows by no more than this at a leap: a control ID from elsewhere that looks like
/// ours must not cost gigabytes.
const MAX_LEAP: usize = 1 << 20;
const EXAMPLES: usize = 10;

/// What became of a message on the sending side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fate {
    /// Not sent yet.
    #[default]
    Unsent,
    /// Sent; no answer, or one for another message.
    Unanswered,
    /// Answered AA or CA.
    Acked,
    /// Answered otherwise.
    Refused,
}

/// One message on the sending side.
#[derive(Clone, Copy, Debug, Default)]
struct SentEntry {
    hash: u64,
    fate: Fate,
    /// How often the sender repeated it because no answer came.
    repeats: u32,
}

/// What the senders sent, by stream and sequence.
#[derive(Debug, Default)]
pub struct Sent {
    streams: BTreeMap<Vec<u8>, Vec<SentEntry>>,
}

impl Sent {
    /// Notes that `control_id` goes out with these bytes. Control IDs that are not of the form
    /// `<stream>N<digits>` are not kept.
    pub fn sent(&mut self, control_id: &[u8], body: &[u8]) {
        if let Some(entry) = self.entry(control_id) {
            *entry = SentEntry {
                hash: hash(body),
                fate: Fate::Unanswered,
                repeats: 0,
            };
        }
    }

    /// Notes that the sender itself sends `control_id` once more.
    pub fn sent_again(&mut self, control_id: &[u8]) {
        if let Some(entry) = self.entry(control_id) {
            entry.repeats = entry.repeats.saturating_add(1);
        }
    }

    /// Notes the answer.
    pub fn answered(&mut self, control_id: &[u8], fate: Fate) {
        if let Some(entry) = self.entry(control_id) {
            entry.fate = fate;
        }
    }

    /// Takes over what another sender kept.
    pub fn merge(&mut self, other: Sent) {
        self.streams.extend(other.streams);
    }

    /// Messages sent, acknowledged or not.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.streams
            .values()
            .flatten()
            .filter(|entry| entry.fate != Fate::Unsent)
            .count() as u64
    }

    /// Messages acknowledged.
    #[must_use]
    pub fn acked(&self) -> u64 {
        self.streams
            .values()
            .flatten()
            .filter(|entry| entry.fate == Fate::Acked)
            .count() as u64
    }

    /// The control IDs of one fate, stream by stream in order.
    pub fn ids(&self, fate: Fate) -> impl Iterator<Item = String> {
        self.streams.iter().flat_map(move |(stream, entries)| {
            let of_fate = entries
                .iter()
                .enumerate()
                .filter(move |(_, entry)| entry.fate == fate);
            of_fate.map(move |(sequence, _)| id(stream, sequence))
        })
    }

    fn entry(&mut self, control_id: &[u8]) -> Option<&mut SentEntry> {
        let (stream, sequence) = split_control_id(control_id)?;
        if !self.streams.contains_key(stream) {
            self.streams.insert(stream.to_vec(), Vec::new());
        }
        at(self.streams.get_mut(stream)?, sequence)
    }
}

/// One message on the receiving side.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    hash: u64,
    count: u32,
    changed: bool,
}

impl Seen {
    /// Whether it is the first delivery.
    fn enter(&mut self, hash: u64) -> bool {
        self.count = self.count.saturating_add(1);
        if self.count == 1 {
            self.hash = hash;
        }
        self.changed |= self.hash != hash;
        self.count == 1
    }
}

#[derive(Clone, Debug, Default)]
struct Stream {
    seen: Vec<Seen>,
    highest: Option<u64>,
    /// The highest sequence number of each key, by the key's hash.
    highest_of_key: HashMap<u64, u64>,
    inversions: u64,
    key_inversions: u64,
}

impl Stream {
    /// Notes a first delivery, and whether something later of the stream or of its key came before.
    fn first(&mut self, sequence: u64, key: Option<&[u8]>) {
        self.inversions += u64::from(self.highest.is_some_and(|highest| highest > sequence));
        self.highest = self.highest.max(Some(sequence));
        if let Some(key) = key {
            let highest = self.highest_of_key.entry(hash(key)).or_insert(sequence);
            self.key_inversions += u64::from(*highest > sequence);
            *highest = sequence.max(*highest);
        }
    }

    fn distinct(&self) -> u64 {
        self.seen.iter().filter(|seen| seen.count > 0).count() as u64
    }

    fn deliveries(&self) -> u64 {
        self.seen.iter().map(|seen| u64::from(seen.count)).sum()
    }
}

/// What one destination received.
#[derive(Clone, Debug, Default)]
pub struct Received {
    streams: BTreeMap<Vec<u8>, Stream>,
    /// Control IDs that tell no stream.
    others: HashMap<Vec<u8>, Seen>,
    deliveries: u64,
    distinct: u64,
}

impl Received {
    /// Notes a delivery; says whether it was the first of its control ID.
    pub fn enter(&mut self, control_id: &[u8], body: &[u8]) -> bool {
        self.enter_keyed(control_id, None, body)
    }

    /// The same for a destination that promises order per key: first deliveries of one stream that
    /// share a key are compared with each other too.
    pub fn enter_keyed(&mut self, control_id: &[u8], key: Option<&[u8]>, body: &[u8]) -> bool {
        self.deliveries += 1;
        let hash = hash(body);
        let first = match split_control_id(control_id) {
            Some((stream, sequence)) => {
                self.enter_in_stream(control_id, (stream, sequence), key, hash)
            }
            None => self
                .others
                .entry(control_id.to_vec())
                .or_default()
                .enter(hash),
        };
        self.distinct += u64::from(first);
        first
    }

    fn enter_in_stream(
        &mut self,
        control_id: &[u8],
        (stream, sequence): (&[u8], u64),
        key: Option<&[u8]>,
        hash: u64,
    ) -> bool {
        if !self.streams.contains_key(stream) {
            self.streams.insert(stream.to_vec(), Stream::default());
        }
        let Some(stream) = self.streams.get_mut(stream) else {
            return false;
        };
        let Some(seen) = at(&mut stream.seen, sequence) else {
            return self
                .others
                .entry(control_id.to_vec())
                .or_default()
                .enter(hash);
        };
        let first = seen.enter(hash);
        if first {
            stream.first(sequence, key);
        }
        first
    }

    /// What came of one run: its streams, whose names begin with it.
    #[must_use]
    pub fn of_run(&self, run: &str) -> Received {
        let streams = self.streams.iter();
        let own = streams.filter(|(name, _)| name.starts_with(run.as_bytes()));
        let streams: BTreeMap<_, _> = own
            .map(|(name, stream)| (name.clone(), stream.clone()))
            .collect();
        Received {
            deliveries: streams.values().map(Stream::deliveries).sum(),
            distinct: streams.values().map(Stream::distinct).sum(),
            others: HashMap::new(),
            streams,
        }
    }

    /// The control IDs of streams that came more than once, and how often.
    pub fn repeated(&self) -> impl Iterator<Item = (String, u32)> {
        self.streams.iter().flat_map(|(stream, entries)| {
            let seen = entries.seen.iter().enumerate();
            let repeated = seen.filter(|(_, seen)| seen.count > 1);
            repeated.map(move |(sequence, seen)| (id(stream, sequence), seen.count))
        })
    }

    fn inversions(&self) -> u64 {
        self.streams.values().map(|stream| stream.inversions).sum()
    }

    /// The figures without a sending side.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let gaps = self
            .streams
            .values()
            .map(|stream| stream.seen.iter().filter(|seen| seen.count == 0).count() as u64);
        Summary {
            received: self.deliveries,
            distinct: self.distinct,
            duplicates: self.deliveries - self.distinct,
            gaps: gaps.sum(),
            out_of_order: self.inversions(),
            streams: self.streams.len(),
        }
    }

    /// How often `control_id` came.
    #[must_use]
    pub fn count_of(&self, control_id: &[u8]) -> u32 {
        self.find(control_id).map_or(0, |seen| seen.count)
    }

    fn find(&self, control_id: &[u8]) -> Option<Seen> {
        let in_stream = split_control_id(control_id).and_then(|(stream, sequence)| {
            self.streams
                .get(stream)?
                .seen
                .get(usize::try_from(sequence).ok()?)
        });
        in_stream
            .filter(|seen| seen.count > 0)
            .or_else(|| self.others.get(control_id))
            .copied()
    }

    /// Compares with what was sent. Every destination that is to get everything has its own verdict.
    #[must_use]
    pub fn verdict(&self, sent: &Sent) -> Verdict {
        let mut verdict = Verdict {
            delivered: self.distinct,
            extra_deliveries: self.deliveries - self.distinct,
            inversions: self.inversions(),
            key_inversions: self.streams.values().map(|s| s.key_inversions).sum(),
            ..Verdict::default()
        };
        let mut known = 0;
        for (stream, entries) in &sent.streams {
            for (sequence, entry) in entries
                .iter()
                .enumerate()
                .filter(|(_, entry)| entry.fate != Fate::Unsent)
            {
                let seen = self
                    .streams
                    .get(stream)
                    .and_then(|stream| stream.seen.get(sequence));
                let seen = seen.copied().unwrap_or_default();
                known += u64::from(seen.count > 0);
                verdict.enter(*entry, seen, || id(stream, sequence));
            }
        }
        verdict.unknown = self.distinct - known;
        verdict
    }
}

/// A receiver's figures by themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Deliveries, repeats included.
    pub received: u64,
    /// Distinct control IDs.
    pub distinct: u64,
    /// Deliveries beyond the first of each control ID.
    pub duplicates: u64,
    /// Sequence numbers missing below the highest of each stream.
    pub gaps: u64,
    /// First deliveries that came after a later one of their stream.
    pub out_of_order: u64,
    /// Streams seen.
    pub streams: usize,
}

/// Both sides compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Distinct messages sent.
    pub sent: u64,
    /// Of these acknowledged.
    pub acked: u64,
    /// Distinct messages that arrived.
    pub delivered: u64,
    /// Acknowledged and never delivered: the figure that must be 0.
    pub lost: u64,
    /// The first control IDs of those.
    pub lost_examples: Vec<String>,
    /// Messages delivered more than once; at-least-once delivery allows it after a crash.
    pub duplicated: u64,
    /// Deliveries beyond the first.
    pub extra_deliveries: u64,
    /// Of these, those beyond how often the sender itself sent the message: the engine's own.
    pub repeated_by_engine: u64,
    /// Delivered though the sender never saw a positive answer; at-least-once delivery allows it.
    pub unasked: u64,
    /// Delivered and never sent.
    pub unknown: u64,
    /// Delivered with other bytes than were sent, at least once.
    pub changed: u64,
    /// The first control IDs of those.
    pub changed_examples: Vec<String>,
    /// First deliveries that came after a later one of their stream.
    pub inversions: u64,
    /// First deliveries that came after a later one of their stream and key, where keys are known.
    pub key_inversions: u64,
}

impl Verdict {
    /// Nothing lost, changed, invented or out of order. Duplicates are judged apart.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.is_whole() && self.inversions == 0
    }

    /// Nothing lost, changed or invented, in whatever order.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        (self.lost, self.changed, self.unknown) == (0, 0, 0)
    }

    fn enter(&mut self, entry: SentEntry, seen: Seen, id: impl Fn() -> String) {
        let acked = entry.fate == Fate::Acked;
        self.sent += 1;
        self.acked += u64::from(acked);
        self.duplicated += u64::from(seen.count > 1);
        let sent = entry.repeats.saturating_add(1);
        self.repeated_by_engine += u64::from(seen.count.saturating_sub(sent));
        self.unasked += u64::from(seen.count > 0 && !acked);
        if seen.count == 0 && acked {
            self.lost += 1;
            example(&mut self.lost_examples, id);
        } else if seen.count > 0 && (seen.changed || seen.hash != entry.hash) {
            self.changed += 1;
            example(&mut self.changed_examples, id);
        }
    }
}

fn id(stream: &[u8], sequence: usize) -> String {
    format!("{}N{sequence:09}", String::from_utf8_lossy(stream))
}

fn example(examples: &mut Vec<String>, id: impl Fn() -> String) {
    if examples.len() < EXAMPLES {
        examples.push(id());
    }
}

/// The entry of `sequence`, growing the table to it unless that leaps too far.
fn at<T: Clone + Default>(table: &mut Vec<T>, sequence: u64) -> Option<&mut T> {
    let index = usize::try_from(sequence).ok()?;
    if index >= table.len() {
        if index - table.len() > MAX_LEAP {
            return None;
        }
        table.resize(index + 1, T::default());
    }
    table.get_mut(index)
}

fn hash(body: &[u8]) -> u64 {
    // Fixed keys: the same bytes give the same hash on both sides. Chance is the only enemy here.
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests;
