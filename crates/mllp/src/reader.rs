//! Reads frames off an async stream. Owns the read buffer (small while a connection is idle, grown on
//! demand) and the timeouts against slow senders; finding frames is the decoder's work.

use std::fmt;
use std::io;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::decoder::{Decoder, Limits, Step};
use crate::framing::Framing;

mod buffer;
mod waits;

use buffer::ReadBuffer;
use waits::{Due, Waits};

/// How long a reader waits for what. `None` waits for ever.
///
/// Noise does not reset a timeout. Time that passes while nobody calls `next` does not count as idle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// Until the start byte of the first frame of a connection; `None` takes `idle`.
    pub first_byte: Option<Duration>,
    /// Between frames: from the wait for a frame to its start byte.
    pub idle: Option<Duration>,
    /// Between two reads inside a frame. Each byte that arrives starts it anew, so a slow sender that
    /// makes progress is never cut by it.
    pub read: Option<Duration>,
    /// From the start byte of a frame to its end byte: what bounds a sender of one byte a second.
    pub frame: Option<Duration>,
}

/// The first bytes of a message that passed the limit. They are message content: `Debug` hides them.
#[derive(Clone, PartialEq, Eq)]
pub struct Head(pub Bytes);

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Head({} bytes)", self.0.len())
    }
}

/// Why no frame could be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The stream failed between or inside frames.
    #[error("reading from the peer failed: {0}")]
    Io(#[source] io::Error),
    /// The peer closed or vanished inside a frame. What it had sent was not acknowledged.
    #[error("the peer closed the connection inside a message, after {received_bytes} bytes of it")]
    Truncated {
        /// Payload bytes that had arrived.
        received_bytes: usize,
    },
    /// A frame passed the limit. Reading on skips its remainder.
    #[error(
        "a message is longer than the limit of {limit_bytes} bytes; raise the limit if it is meant to be so long"
    )]
    TooLong {
        /// The limit.
        limit_bytes: usize,
        /// Its first bytes, from which a negative answer can be made.
        head: Head,
    },
    /// The peer sends bytes that are in no frame.
    #[error(
        "{noise_bytes} bytes arrived outside of MLLP frames; does the peer speak MLLP with these framing bytes (and TLS alike)?"
    )]
    Noise {
        /// Bytes since the last frame.
        noise_bytes: u64,
    },
    /// No frame began in time.
    #[error("no message began within {after:?}")]
    Idle {
        /// The time it was given.
        after: Duration,
    },
    /// Nothing more of a frame came in time.
    #[error("nothing came for {after:?} inside a message, after {received_bytes} bytes of it")]
    Stalled {
        /// The time it was given.
        after: Duration,
        /// Payload bytes that had arrived.
        received_bytes: usize,
    },
    /// A frame did not end in time.
    #[error("a message did not end within {after:?}; {received_bytes} bytes of it had arrived")]
    TooSlow {
        /// The time it was given.
        after: Duration,
        /// Payload bytes that had arrived.
        received_bytes: usize,
    },
}

impl ReadError {
    /// A stable code for logs and metrics.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            ReadError::Io(_) => "mllp.read_failed",
            ReadError::Truncated { .. } => "mllp.truncated",
            ReadError::TooLong { .. } => "mllp.too_long",
            ReadError::Noise { .. } => "mllp.noise",
            ReadError::Idle { .. } => "mllp.idle",
            ReadError::Stalled { .. } => "mllp.stalled",
            ReadError::TooSlow { .. } => "mllp.too_slow",
        }
    }

    /// Whether the same reader can go on: true only for [`ReadError::TooLong`].
    #[must_use]
    pub fn is_recoverable(&self) -> bool {
        matches!(self, ReadError::TooLong { .. })
    }
}

/// Reads frames from `R`.
///
/// All its futures may be dropped at any await and called again: no byte is lost. The read buffer is
/// allocated at the first call, holds at most 4 KiB once a connection has been quiet for a second, and
/// never grows past the message limit.
#[derive(Debug)]
pub struct FrameReader<R> {
    input: R,
    decoder: Decoder,
    limits: Limits,
    buffer: ReadBuffer,
    waits: Waits,
    /// `noise_bytes` of the decoder when the last frame was delivered.
    noise_before: u64,
    noise_taken: u64,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// A reader with the default [`Limits`] and no timeouts.
    pub fn new(input: R, framing: Framing) -> Self {
        Self::with(input, framing, Limits::default(), Timeouts::default())
    }

    /// A reader with its limits and timeouts.
    pub fn with(input: R, framing: Framing, limits: Limits, timeouts: Timeouts) -> Self {
        Self {
            input,
            decoder: Decoder::new(framing, limits.max_message_bytes),
            limits,
            buffer: ReadBuffer::default(),
            waits: Waits::new(timeouts),
            noise_before: 0,
            noise_taken: 0,
        }
    }

    /// The next payload, or `None` when the peer closed between two frames.
    ///
    /// One allocation of the payload's size; large payloads take the read buffer with them instead of
    /// being copied.
    ///
    /// # Errors
    /// See [`ReadError`]; after any but [`ReadError::TooLong`] the connection should be closed.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ReadError> {
        Ok(self
            .advance()
            .await?
            .map(|payload| self.buffer.take(payload)))
    }

    /// As [`next`](Self::next), lent from the read buffer until the next call: no allocation.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub async fn next_borrowed(&mut self) -> Result<Option<&[u8]>, ReadError> {
        match self.advance().await? {
            Some(payload) => Ok(Some(self.buffer.slice(payload))),
            None => Ok(None),
        }
    }

    /// Whether received bytes wait in the buffer: after a frame, what a pipelining peer has sent on.
    #[must_use]
    pub fn has_buffered(&self) -> bool {
        !self.buffer.unread().is_empty()
    }

    /// Bytes met outside of frames since this was last asked.
    pub fn take_noise_bytes(&mut self) -> u64 {
        let all = self.decoder.noise_bytes();
        all - std::mem::replace(&mut self.noise_taken, all)
    }

    /// Changes the timeouts from the next wait on.
    pub fn set_timeouts(&mut self, timeouts: Timeouts) {
        self.waits.set(timeouts);
    }

    /// Bytes that the read buffer holds of memory.
    #[must_use]
    pub fn capacity_bytes(&self) -> usize {
        self.buffer.capacity()
    }

    /// The stream itself.
    pub fn get_ref(&self) -> &R {
        &self.input
    }

    /// The stream itself, for writing; bytes read past the reader are lost to it.
    pub fn get_mut(&mut self) -> &mut R {
        &mut self.input
    }

    /// Gives the stream back; buffered bytes are dropped.
    pub fn into_inner(self) -> R {
        self.input
    }

    /// Where the next payload stands in the buffer; it stays there until the next call.
    async fn advance(&mut self) -> Result<Option<Range<usize>>, ReadError> {
        loop {
            match self.decoder.step(self.buffer.unread()) {
                Step::NeedMore { consume } => {
                    self.buffer.consume(consume);
                }
                Step::Frame { consume, payload } => {
                    self.frame_ended();
                    return Ok(Some(self.buffer.consume_around(consume, payload)));
                }
                Step::TooLong { consume, head } => {
                    self.frame_ended();
                    let head = self.buffer.consume_around(consume, head);
                    let head = Head(Bytes::copy_from_slice(self.buffer.slice(head)));
                    // What follows is skipped; it needs no buffer of the limit's size.
                    self.buffer.shrink();
                    return Err(ReadError::TooLong {
                        limit_bytes: self.limits.max_message_bytes,
                        head,
                    });
                }
            }
            self.check_noise()?;
            if !self.fill().await? {
                return self.at_end();
            }
        }
    }

    fn frame_ended(&mut self) {
        self.waits.frame_ended();
        self.noise_before = self.decoder.noise_bytes();
    }

    fn check_noise(&self) -> Result<(), ReadError> {
        let noise_bytes = self.decoder.noise_bytes() - self.noise_before;
        if self.decoder.partial_bytes().is_none() && noise_bytes > self.limits.max_noise_bytes {
            return Err(ReadError::Noise { noise_bytes });
        }
        Ok(())
    }

    fn at_end(&self) -> Result<Option<Range<usize>>, ReadError> {
        match self.decoder.partial_bytes() {
            Some(received_bytes) => Err(ReadError::Truncated { received_bytes }),
            None => Ok(None),
        }
    }

    /// Reads once; false at the end of the stream.
    async fn fill(&mut self) -> Result<bool, ReadError> {
        loop {
            let partial_bytes = self.decoder.partial_bytes();
            let may_release = partial_bytes.is_none() && self.buffer.unread().is_empty();
            let oversized = may_release.then(|| self.buffer.release_gain()).flatten();
            let due = self.waits.due(partial_bytes.is_some(), oversized);
            self.buffer.make_room(self.limits.max_message_bytes);
            let read = self.input.read_buf(self.buffer.spare());
            let read = match due.at() {
                None => read.await,
                Some(at) => match tokio::time::timeout_at(at, read).await {
                    Ok(read) => read,
                    Err(_) => {
                        self.waited_out(due, partial_bytes.unwrap_or(0))?;
                        continue;
                    }
                },
            };
            return self.received(read);
        }
    }

    fn received(&mut self, read: io::Result<usize>) -> Result<bool, ReadError> {
        self.waits.received();
        match read {
            Ok(count) => Ok(count > 0),
            // TLS peers that close without close_notify: the frame's end byte already tells whole from cut.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(ReadError::Io(error)),
        }
    }

    fn waited_out(&mut self, due: Due, received_bytes: usize) -> Result<(), ReadError> {
        match due {
            Due::Never => Ok(()),
            Due::Release(_) => {
                self.waits.released();
                self.buffer.release();
                Ok(())
            }
            Due::Idle(_, after) => Err(ReadError::Idle { after }),
            Due::Read(_, after) => Err(ReadError::Stalled {
                after,
                received_bytes,
            }),
            Due::Frame(_, after) => Err(ReadError::TooSlow {
                after,
                received_bytes,
            }),
        }
    }
}

#[cfg(test)]
mod tests;
