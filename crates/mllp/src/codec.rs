//! The decoder as a `tokio_util` codec, for those who build on `Framed`. It owns no timeouts: use
//! [`FrameReader`](crate::FrameReader) towards peers that are not trusted.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use thiserror::Error;
use tokio_util::codec;

use crate::decoder::{Decoder, Step};
use crate::framing::{EncodeError, Framing, encode};

/// Frames for `tokio_util::codec::Framed`.
#[derive(Clone, Debug)]
pub struct MllpCodec {
    decoder: Decoder,
}

impl MllpCodec {
    /// A codec that refuses payloads above `max_message_bytes` on reading.
    #[must_use]
    pub fn new(framing: Framing, max_message_bytes: usize) -> Self {
        Self {
            decoder: Decoder::new(framing, max_message_bytes),
        }
    }

    /// Bytes met outside frames since the beginning.
    #[must_use]
    pub fn noise_bytes(&self) -> u64 {
        self.decoder.noise_bytes()
    }
}

/// What can fail on a framed stream.
#[derive(Debug, Error)]
pub enum CodecError {
    /// The stream failed.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    /// A frame passed the limit; the frames after it can still be read.
    #[error("a message is longer than the limit of {limit_bytes} bytes")]
    TooLong {
        /// The limit.
        limit_bytes: usize,
    },
    /// The stream ended inside a frame.
    #[error("the connection was closed inside a message, after {received_bytes} bytes of it")]
    Truncated {
        /// Payload bytes that had arrived.
        received_bytes: usize,
    },
    /// The payload cannot be framed.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

impl codec::Decoder for MllpCodec {
    type Item = Bytes;
    type Error = CodecError;

    fn decode(&mut self, source: &mut BytesMut) -> Result<Option<Bytes>, CodecError> {
        match self.decoder.step(source) {
            Step::NeedMore { consume } => {
                source.advance(consume.min(source.len()));
                Ok(None)
            }
            Step::Frame { consume, payload } => {
                // Copied: a slice would keep the whole read buffer alive for as long as the message.
                let frame = Bytes::copy_from_slice(source.get(payload).unwrap_or_default());
                source.advance(consume.min(source.len()));
                Ok(Some(frame))
            }
            Step::TooLong { consume, .. } => {
                source.advance(consume.min(source.len()));
                Err(CodecError::TooLong {
                    limit_bytes: self.decoder.max_message_bytes(),
                })
            }
        }
    }

    fn decode_eof(&mut self, source: &mut BytesMut) -> Result<Option<Bytes>, CodecError> {
        match (self.decode(source)?, self.decoder.partial_bytes()) {
            (None, Some(received_bytes)) => {
                source.clear();
                self.decoder =
                    Decoder::new(self.decoder.framing(), self.decoder.max_message_bytes());
                Err(CodecError::Truncated { received_bytes })
            }
            (frame, _) => Ok(frame),
        }
    }
}

impl<T: AsRef<[u8]>> codec::Encoder<T> for MllpCodec {
    type Error = CodecError;

    fn encode(&mut self, payload: T, out: &mut BytesMut) -> Result<(), CodecError> {
        let framing = self.decoder.framing();
        out.reserve(payload.as_ref().len() + framing.overhead_bytes());
        Ok(encode(framing, payload.as_ref(), out)?)
    }
}

#[cfg(test)]
mod tests {
    use tokio_util::codec::{Decoder as _, Encoder as _};

    use super::*;

    #[test]
    fn goes_round() {
        let mut codec = MllpCodec::new(Framing::MLLP, 100);
        let mut wire = BytesMut::new();
        codec.encode("one", &mut wire).unwrap();
        codec.encode(b"two".as_slice(), &mut wire).unwrap();
        assert_eq!(codec.decode(&mut wire).unwrap().unwrap(), "one");
        assert_eq!(codec.decode(&mut wire).unwrap().unwrap(), "two");
        assert!(codec.decode(&mut wire).unwrap().is_none());
        assert!(codec.decode_eof(&mut wire).unwrap().is_none());
    }

    #[test]
    fn tells_a_cut_and_an_oversized_frame() {
        let mut codec = MllpCodec::new(Framing::MLLP, 4);
        let mut wire = BytesMut::from(&b"\x0b12345\x1c\r\x0bok\x1c\x0bcu"[..]);
        assert!(matches!(
            codec.decode(&mut wire),
            Err(CodecError::TooLong { limit_bytes: 4 })
        ));
        assert_eq!(codec.decode(&mut wire).unwrap().unwrap(), "ok");
        assert!(matches!(
            codec.decode_eof(&mut wire),
            Err(CodecError::Truncated { received_bytes: 2 })
        ));
    }
}
