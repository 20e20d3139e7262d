//! MLLP: frames on a stream, in the clear or over TLS (HL7 v2 Transport: Minimal Lower Layer
//! Protocol, release 1). This crate owns the framing bytes, the limits and timeouts that keep a
//! hostile peer cheap, and the TLS set-up of both sides. It knows nothing of HL7: a payload is bytes.
//!
//! - [`Decoder`] finds frames in bytes it is shown and does no I/O.
//! - [`FrameReader`] and [`FrameWriter`] put it on any async stream.
//! - [`MllpCodec`] is the same for `tokio_util::codec::Framed`.
//! - [`tls`] makes a [`Stream`] from a `TcpStream`.
//!
//! ```
//! use hie_mllp::{FrameReader, FrameWriter, Framing};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (client, server) = tokio::io::duplex(1024);
//! FrameWriter::new(client, Framing::MLLP).send(b"MSH|^~\\&|LAB").await?;
//!
//! let mut reader = FrameReader::new(server, Framing::MLLP);
//! assert_eq!(reader.next().await?.as_deref(), Some(&b"MSH|^~\\&|LAB"[..]));
//! assert!(reader.next().await?.is_none());
//! # Ok(())
//! # }
//! ```
//!
//! Invariants: memory for a connection is bounded by its limits; no byte is scanned twice; a frame is
//! delivered when its end byte arrives, never later; no error or `Debug` output carries payload bytes.
#![forbid(unsafe_code)]

mod codec;
mod decoder;
mod framing;
mod reader;
mod stream;
pub mod tls;
mod writer;

pub use codec::{CodecError, MllpCodec};
pub use decoder::{Decoder, HEAD_BYTES, Limits, Step};
pub use framing::{EncodeError, Framing, FramingError, encode};
pub use reader::{FrameReader, Head, ReadError, Timeouts};
pub use stream::{ReadHalf, Stream, WriteHalf};
pub use writer::{FrameWriter, WriteError};
