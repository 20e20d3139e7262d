//! Finds frames in bytes it is shown. A plain state machine: it owns no buffer and does no I/O, so the
//! same code serves sockets, files and tests. Each byte is looked at once, by `memchr`.

use std::ops::Range;

use crate::framing::Framing;

/// How much of an oversized message is shown with the error: enough for its MSH.
pub const HEAD_BYTES: usize = 1024;

/// What a peer may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest payload accepted, in bytes.
    pub max_message_bytes: usize,
    /// Most bytes accepted between two frames before the reader gives up on the peer.
    pub max_noise_bytes: u64,
}

impl Default for Limits {
    /// 16 MiB a message, 64 KiB of noise.
    fn default() -> Self {
        Self {
            max_message_bytes: 16 << 20,
            max_noise_bytes: 64 << 10,
        }
    }
}

/// What [`Decoder::step`] found. `consume` bytes must leave the front of the buffer before the next step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing whole: drop `consume` bytes, append what comes, ask again.
    NeedMore {
        /// Bytes to drop from the front.
        consume: usize,
    },
    /// A frame; its payload stands at `payload` in the bytes as they were shown.
    Frame {
        /// Bytes to drop from the front.
        consume: usize,
        /// Where the payload is, before dropping.
        payload: Range<usize>,
    },
    /// The frame in hand passed the limit. Its remainder will be skipped up to its end byte, so that
    /// a caller who wants to go on can.
    TooLong {
        /// Bytes to drop from the front.
        consume: usize,
        /// Where its first bytes (at most [`HEAD_BYTES`]) are, before dropping.
        head: Range<usize>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Outside a frame: everything up to a start byte is noise.
    Between,
    /// Right after an end byte: one trailer may follow and is no noise.
    AfterEnd,
    /// Inside a frame; this many bytes of its payload hold no end byte.
    Within { scanned: usize },
    /// Inside a frame that was given up: everything up to its end byte is dropped.
    Discarding,
}

/// Cuts frames out of a byte stream, whatever its packets.
///
/// A start byte inside a frame is payload: it occurs in clinical text, and a message that holds it
/// must come out as it went in.
#[derive(Clone, Debug)]
pub struct Decoder {
    framing: Framing,
    max_message_bytes: usize,
    state: State,
    noise_bytes: u64,
    discarded_bytes: u64,
}

impl Decoder {
    /// A decoder at the start of a stream.
    #[must_use]
    pub fn new(framing: Framing, max_message_bytes: usize) -> Self {
        Self {
            framing,
            max_message_bytes,
            state: State::Between,
            noise_bytes: 0,
            discarded_bytes: 0,
        }
    }

    /// Looks at `unread`: all bytes that were received and not consumed yet, oldest first.
    pub fn step(&mut self, unread: &[u8]) -> Step {
        let mut at = 0;
        loop {
            let rest = unread.get(at..).unwrap_or_default();
            match self.state {
                State::AfterEnd => match rest.first() {
                    None => return Step::NeedMore { consume: at },
                    Some(&byte) => {
                        at += usize::from(Some(byte) == self.framing.trailer());
                        self.state = State::Between;
                    }
                },
                State::Between => match memchr::memchr(self.framing.start(), rest) {
                    None => {
                        self.noise_bytes += rest.len() as u64;
                        return Step::NeedMore {
                            consume: unread.len(),
                        };
                    }
                    Some(noise) => {
                        self.noise_bytes += noise as u64;
                        self.state = State::Within { scanned: 0 };
                        at += noise + 1;
                    }
                },
                State::Within { scanned } => return self.within(at, rest, scanned),
                State::Discarding => match memchr::memchr(self.framing.end(), rest) {
                    None => {
                        self.discarded_bytes += rest.len() as u64;
                        return Step::NeedMore {
                            consume: unread.len(),
                        };
                    }
                    Some(end) => {
                        self.discarded_bytes += end as u64;
                        self.state = State::AfterEnd;
                        at += end + 1;
                    }
                },
            }
        }
    }

    /// `rest` is the payload so far and what may follow it; it stands at `at` in the caller's bytes.
    fn within(&mut self, at: usize, rest: &[u8], scanned: usize) -> Step {
        let window = rest.len().min(self.max_message_bytes.saturating_add(1));
        let fresh = rest.get(scanned..window).unwrap_or_default();
        if let Some(found) = memchr::memchr(self.framing.end(), fresh) {
            let end = scanned + found;
            let after = rest.get(end + 1).copied();
            self.state = if after.is_some() {
                State::Between
            } else {
                State::AfterEnd
            };
            let trailer = usize::from(after.is_some() && after == self.framing.trailer());
            return Step::Frame {
                consume: at + end + 1 + trailer,
                payload: at..at + end,
            };
        }
        if window > self.max_message_bytes {
            self.state = State::Discarding;
            self.discarded_bytes += window as u64;
            return Step::TooLong {
                consume: at + window,
                head: at..at + window.min(HEAD_BYTES),
            };
        }
        self.state = State::Within { scanned: window };
        Step::NeedMore { consume: at }
    }

    /// Bytes of the frame in hand, without its start byte, or `None` between frames.
    #[must_use]
    pub fn partial_bytes(&self) -> Option<usize> {
        match self.state {
            State::Within { scanned } => Some(scanned),
            State::Discarding => Some(0),
            State::Between | State::AfterEnd => None,
        }
    }

    /// Bytes met outside frames since the beginning; the trailer of a frame does not count.
    #[must_use]
    pub fn noise_bytes(&self) -> u64 {
        self.noise_bytes
    }

    /// Bytes of frames that passed the limit, since the beginning.
    #[must_use]
    pub fn discarded_bytes(&self) -> u64 {
        self.discarded_bytes
    }

    /// The framing in use.
    #[must_use]
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// The longest payload accepted, in bytes.
    #[must_use]
    pub fn max_message_bytes(&self) -> usize {
        self.max_message_bytes
    }
}

#[cfg(test)]
mod tests;
