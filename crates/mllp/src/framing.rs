//! The bytes around a payload, and how a payload is put between them. Owns nothing of how frames are
//! found in a stream (see `decoder`).

use bytes::BufMut;
use thiserror::Error;

/// The bytes that open and close a frame: `<start> payload <end> [<trailer>]`.
///
/// The default is MLLP: `0B … 1C 0D`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Framing {
    start: u8,
    end: u8,
    trailer: Option<u8>,
}

impl Framing {
    /// The framing of HL7 v2 Transport, release 1: `0B … 1C 0D`.
    pub const MLLP: Framing = Framing {
        start: 0x0B,
        end: 0x1C,
        trailer: Some(0x0D),
    };

    /// Other framing bytes.
    ///
    /// # Errors
    /// The three bytes must differ from each other, or a reader could not tell them apart.
    pub fn new(start: u8, end: u8, trailer: Option<u8>) -> Result<Self, FramingError> {
        if start == end {
            return Err(FramingError::StartIsEnd { byte: start });
        }
        match trailer {
            Some(byte) if byte == start || byte == end => {
                Err(FramingError::TrailerIsFrame { byte })
            }
            _ => Ok(Self {
                start,
                end,
                trailer,
            }),
        }
    }

    /// The byte before the payload.
    #[must_use]
    pub fn start(&self) -> u8 {
        self.start
    }

    /// The byte after the payload.
    #[must_use]
    pub fn end(&self) -> u8 {
        self.end
    }

    /// The byte after `end`: written always, and on reading tolerated when missing.
    #[must_use]
    pub fn trailer(&self) -> Option<u8> {
        self.trailer
    }

    /// Bytes that a frame has beyond its payload.
    #[must_use]
    pub fn overhead_bytes(&self) -> usize {
        2 + usize::from(self.trailer.is_some())
    }

    /// Whether a reader would get `payload` back as it is.
    ///
    /// A start byte inside is harmless (clinical text pasted from word processors has vertical tabs);
    /// an end byte would cut the payload short at the receiver.
    ///
    /// # Errors
    /// [`EncodeError::EndInPayload`] with the position of the first end byte.
    pub fn check(&self, payload: &[u8]) -> Result<(), EncodeError> {
        match memchr::memchr(self.end, payload) {
            Some(at) => Err(EncodeError::EndInPayload { byte: self.end, at }),
            None => Ok(()),
        }
    }

    /// The bytes after the payload and how many of them count.
    pub(crate) fn tail(&self) -> ([u8; 2], usize) {
        match self.trailer {
            Some(trailer) => ([self.end, trailer], 2),
            None => ([self.end, 0], 1),
        }
    }
}

impl Default for Framing {
    fn default() -> Self {
        Self::MLLP
    }
}

/// Why three bytes cannot frame anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FramingError {
    /// Start and end are one byte.
    #[error("the start byte and the end byte of a frame are both {byte:#04x}; they must differ")]
    StartIsEnd {
        /// The byte in question.
        byte: u8,
    },
    /// The trailer is also the start or end byte.
    #[error(
        "the byte after the end of a frame, {byte:#04x}, is also its start or end byte; it must differ"
    )]
    TrailerIsFrame {
        /// The byte in question.
        byte: u8,
    },
}

/// Why a payload cannot be framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EncodeError {
    /// The receiver would take this byte for the end of the message and lose the rest.
    #[error(
        "the message holds the byte {byte:#04x} at position {at}, which ends an MLLP frame: \
         the receiver would lose what follows; remove it or use other framing bytes"
    )]
    EndInPayload {
        /// The end byte.
        byte: u8,
        /// Position of its first occurrence, from 0.
        at: usize,
    },
}

/// Appends `payload`, framed, to `out`. Nothing is appended on error.
///
/// # Errors
/// See [`Framing::check`].
pub fn encode(framing: Framing, payload: &[u8], out: &mut impl BufMut) -> Result<(), EncodeError> {
    framing.check(payload)?;
    out.put_u8(framing.start);
    out.put_slice(payload);
    let (tail, count) = framing.tail();
    out.put_slice(tail.get(..count).unwrap_or_default());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_what_the_standard_says() {
        let mut out = Vec::new();
        encode(Framing::MLLP, b"MSH|", &mut out).unwrap();
        assert_eq!(out, b"\x0bMSH|\x1c\r");
        let bare = Framing::new(2, 3, None).unwrap();
        let mut out = bytes::BytesMut::new();
        encode(bare, b"x", &mut out).unwrap();
        assert_eq!(&out[..], b"\x02x\x03");
        assert_eq!(bare.overhead_bytes(), 2);
    }

    #[test]
    fn refuses_what_a_receiver_would_cut() {
        let mut out = Vec::new();
        let refused = encode(Framing::MLLP, b"MSH|\x1cPID", &mut out);
        assert_eq!(
            refused,
            Err(EncodeError::EndInPayload { byte: 0x1C, at: 4 })
        );
        assert!(out.is_empty());
        assert!(encode(Framing::MLLP, b"a\x0bb", &mut out).is_ok());
    }

    #[test]
    fn refuses_bytes_that_cannot_be_told_apart() {
        assert_eq!(
            Framing::new(1, 1, None),
            Err(FramingError::StartIsEnd { byte: 1 })
        );
        assert_eq!(
            Framing::new(1, 2, Some(2)),
            Err(FramingError::TrailerIsFrame { byte: 2 })
        );
        assert_eq!(Framing::new(0x0B, 0x1C, Some(0x0D)), Ok(Framing::default()));
    }
}
