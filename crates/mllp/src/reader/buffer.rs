//! The read buffer of one connection: a vector with a moving front. Owns how it grows, when it gives
//! memory back, and how a frame leaves it.

use std::fmt;
use std::ops::Range;

use bytes::{Buf, Bytes};

/// What a quiet connection keeps: enough to notice that a frame begins.
const IDLE_BYTES: usize = 512;
/// What a busy connection reads into at least: one ordinary ADT or ORU in one read.
const BUSY_BYTES: usize = 4 << 10;
/// Payloads from this size on take the buffer with them instead of being copied.
const MOVE_FROM_BYTES: usize = 64 << 10;

/// Received bytes: `[read][unread][spare]`. `Debug` shows sizes only.
#[derive(Default)]
pub(super) struct ReadBuffer {
    bytes: Vec<u8>,
    /// First unread byte.
    front: usize,
}

impl fmt::Debug for ReadBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "ReadBuffer({} unread of {} bytes)",
            self.unread().len(),
            self.capacity()
        )
    }
}

impl ReadBuffer {
    pub(super) fn unread(&self) -> &[u8] {
        self.bytes.get(self.front..).unwrap_or_default()
    }

    pub(super) fn slice(&self, range: Range<usize>) -> &[u8] {
        self.bytes.get(range).unwrap_or_default()
    }

    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    pub(super) fn consume(&mut self, count: usize) {
        self.front = (self.front + count).min(self.bytes.len());
    }

    /// Consumes `count` bytes and says where `range` of the unread bytes now stands in the buffer: it
    /// stays there until [`make_room`](Self::make_room).
    pub(super) fn consume_around(&mut self, count: usize, range: Range<usize>) -> Range<usize> {
        let range = self.front + range.start..self.front + range.end;
        self.consume(count);
        range
    }

    /// A consumed payload as bytes of its own.
    pub(super) fn take(&mut self, payload: Range<usize>) -> Bytes {
        // A payload that stands far behind the front would drag what is before it along.
        if payload.len() < MOVE_FROM_BYTES || payload.start > payload.len() / 4 {
            return Bytes::copy_from_slice(self.slice(payload));
        }
        let rest = self.unread().to_vec();
        let mut bytes = std::mem::replace(&mut self.bytes, rest);
        self.front = 0;
        bytes.truncate(payload.end);
        // At most a quarter may hang on to the message unused; shrinking large blocks is cheap.
        if bytes.capacity() - bytes.len() > bytes.len() / 4 {
            bytes.shrink_to_fit();
        }
        let mut bytes = Bytes::from(bytes);
        bytes.advance(payload.start);
        bytes
    }

    /// Makes sure that a read finds spare room, growing by doubling up to what one message may take.
    pub(super) fn make_room(&mut self, max_message_bytes: usize) {
        if self.front == self.bytes.len() {
            self.bytes.clear();
            self.front = 0;
        }
        let capacity = self.bytes.capacity();
        if capacity > 0 && capacity - self.bytes.len() > capacity / 8 {
            return;
        }
        if self.front > 0 {
            self.bytes.drain(..self.front);
            self.front = 0;
        }
        // After compaction, half a buffer of spare room is enough; growing moves each byte once on average.
        if self.bytes.len() > capacity / 2 || capacity == 0 {
            let most = max_message_bytes.saturating_add(BUSY_BYTES);
            let wanted = match capacity {
                0 => IDLE_BYTES,
                _ => capacity
                    .saturating_mul(2)
                    .clamp(BUSY_BYTES, most.max(BUSY_BYTES)),
            };
            let extra = wanted.saturating_sub(self.bytes.len()).max(IDLE_BYTES);
            self.bytes.reserve_exact(extra);
        }
    }

    /// Where a read may append.
    pub(super) fn spare(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Keeps the unread bytes and nothing else.
    pub(super) fn shrink(&mut self) {
        self.bytes = self.unread().to_vec();
        self.front = 0;
    }

    /// What could be given back while nothing is buffered: `Some(true)` when it is worth a timer,
    /// `Some(false)` when only if one runs anyway.
    pub(super) fn release_gain(&self) -> Option<bool> {
        let capacity = self.bytes.capacity();
        (capacity > IDLE_BYTES).then_some(capacity > BUSY_BYTES)
    }

    /// Gives memory back; nothing may be buffered.
    pub(super) fn release(&mut self) {
        if self.unread().is_empty() {
            self.bytes = Vec::new();
            self.front = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_by_doubling_and_stops_at_the_limit() {
        let mut buffer = ReadBuffer::default();
        let mut sizes = Vec::new();
        for _ in 0..12 {
            buffer.make_room(20_000);
            sizes.push(buffer.capacity());
            let spare = buffer.capacity() - buffer.bytes.len();
            buffer.spare().extend(std::iter::repeat_n(b'x', spare));
            if buffer.capacity() > 20_000 {
                break;
            }
        }
        assert_eq!(sizes, [512, 4096, 8192, 16384, 24096]);
    }

    #[test]
    fn moves_a_large_payload_and_keeps_what_follows() {
        let mut buffer = ReadBuffer::default();
        buffer.spare().extend(vec![b'x'; 100_000]);
        buffer.spare().extend(b"rest");
        let payload = buffer.consume_around(100_000, 1..100_000);
        assert_eq!(buffer.take(payload).len(), 99_999);
        assert_eq!(buffer.unread(), b"rest");
        assert!(buffer.capacity() < 100);
    }

    #[test]
    fn copies_a_large_payload_that_stands_far_behind_the_front() {
        let mut buffer = ReadBuffer::default();
        buffer.spare().extend(vec![b'x'; 200_000]);
        buffer.consume(100_000);
        let payload = buffer.consume_around(100_000, 1..100_000);
        assert_eq!(payload, 100_001..200_000);
        assert_eq!(buffer.take(payload).len(), 99_999);
        assert!(buffer.unread().is_empty() && buffer.capacity() >= 200_000);
    }

    #[test]
    fn releases_only_when_empty() {
        let mut buffer = ReadBuffer::default();
        buffer.spare().extend(vec![b'x'; 5000]);
        buffer.release();
        assert_eq!(buffer.unread().len(), 5000);
        buffer.consume(5000);
        assert_eq!(buffer.release_gain(), Some(true));
        buffer.release();
        assert_eq!(buffer.capacity(), 0);
    }
}
