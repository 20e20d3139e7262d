//! Frames on the socket: a length, a type, a MessagePack header, raw bytes.
//!
//! Owns where a frame begins and ends, in a buffer that grows by reads of any size. What a type
//! and its header mean is [`message`](super::message)'s.

use bytes::{Buf, Bytes, BytesMut};

use super::pack::{Malformed, Packer};

/// The protocol version of this build.
pub const PROTOCOL: u32 = 1;

/// The longest first frame of a worker.
pub const HELLO_MAX: usize = 64 << 10;

/// The longest frame of either side after it: above the longest message with its replies.
pub const FRAME_MAX: usize = 512 << 20;

/// The bytes that stand before the length of a frame ends.
const LENGTH: usize = 4;

/// Type and length of the header.
const HEAD: usize = 5;

/// A frame as it came.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    /// What it is.
    pub kind: u8,
    /// Its MessagePack header.
    pub header: Bytes,
    /// Its raw bytes: message content.
    pub body: Bytes,
}

/// Appends a frame: the header is written in place, so that nothing is copied twice.
pub fn write(out: &mut Vec<u8>, kind: u8, header: impl FnOnce(&mut Packer<'_>), bodies: &[&[u8]]) {
    let start = out.len();
    out.extend_from_slice(&[0, 0, 0, 0, kind, 0, 0, 0, 0]);
    header(&mut Packer(out));
    let header_len = out.len() - start - LENGTH - HEAD;
    bodies.iter().for_each(|body| out.extend_from_slice(body));
    let length = out.len() - start - LENGTH;
    // Bodies are bounded by what the store takes, far below 4 GiB; a frame that were longer would
    // be refused by its reader, never misread.
    put(out, start, length);
    put(out, start + LENGTH + 1, header_len);
}

fn put(out: &mut [u8], at: usize, value: usize) {
    let bytes = u32::try_from(value).unwrap_or(u32::MAX).to_be_bytes();
    if let Some(place) = out.get_mut(at..at + LENGTH) {
        place.copy_from_slice(&bytes);
    }
}

/// Takes the next whole frame off the buffer; none when more must be read.
///
/// # Errors
/// A length beyond `max`, or one that contradicts the header's.
pub fn take(buffer: &mut BytesMut, max: usize) -> Result<Option<Frame>, Malformed> {
    let Some(length) = number(buffer, 0) else {
        return Ok(None);
    };
    if length < HEAD {
        return Err(Malformed("a frame is shorter than its own head"));
    }
    if length > max {
        return Err(Malformed("a frame is longer than allowed"));
    }
    if buffer.len() < LENGTH + length {
        // A length is only a claim: room comes as the bytes do.
        buffer.reserve((LENGTH + length - buffer.len()).min(1 << 20));
        return Ok(None);
    }
    let header_len = number(buffer, LENGTH + 1).unwrap_or(usize::MAX);
    if header_len > length - HEAD {
        return Err(Malformed("a header is longer than its frame"));
    }
    buffer.advance(LENGTH);
    let kind = buffer.get_u8();
    buffer.advance(LENGTH);
    let header = buffer.split_to(header_len).freeze();
    let body = buffer.split_to(length - HEAD - header_len).freeze();
    Ok(Some(Frame { kind, header, body }))
}

fn number(buffer: &BytesMut, at: usize) -> Option<usize> {
    let bytes: [u8; LENGTH] = buffer.get(at..at + LENGTH)?.try_into().ok()?;
    usize::try_from(u32::from_be_bytes(bytes)).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn frames_come_through_any_chunking(
            frames in proptest::collection::vec((any::<u8>(), ".{0,40}", any::<Vec<u8>>()), 1..20),
            chunk in 1usize..50,
        ) {
            let mut out = Vec::new();
            for (kind, text, body) in &frames {
                write(&mut out, *kind, |header| header.str(text), &[&body[..]]);
            }
            let (mut buffer, mut got) = (BytesMut::new(), Vec::new());
            for part in out.chunks(chunk) {
                buffer.extend_from_slice(part);
                while let Some(frame) = take(&mut buffer, FRAME_MAX).unwrap() {
                    let text = super::super::pack::Unpacker::new(&frame.header).str().unwrap().to_owned();
                    got.push((frame.kind, text, frame.body.to_vec()));
                }
            }
            prop_assert_eq!(got, frames);
            prop_assert!(buffer.is_empty());
        }

        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let mut buffer = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = take(&mut buffer, 1000) {}
        }
    }

    #[test]
    fn lengths_that_cannot_be_are_refused_before_anything_is_read() {
        let refused = |bytes: &[u8]| take(&mut BytesMut::from(bytes), HELLO_MAX).is_err();
        assert!(refused(b"GET / HTTP/1.1\r\n"));
        assert!(refused(&[0, 0, 0, 4, 1, 0, 0, 0, 0]));
        assert!(refused(&[0, 0, 0, 5, 1, 0, 0, 0, 1]));
        assert!(!refused(&[0, 0, 0, 5, 1, 0, 0, 0, 0]));
    }
}
