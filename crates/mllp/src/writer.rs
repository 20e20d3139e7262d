//! Puts frames on a stream, one write call a frame or one for several. Owns the write timeout and the
//! rule that nothing follows a frame that went out in part.

use std::io;
use std::time::Duration;

use bytes::Buf;
use thiserror::Error;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::framing::{EncodeError, Framing, encode};

/// Payloads from this size on go out by a vectored write instead of a copy.
const VECTORED_FROM_BYTES: usize = 64 << 10;
/// What the buffer may keep between two writes.
const KEEP_BYTES: usize = 16 << 10;

/// Why a frame did not go out.
#[derive(Debug, Error)]
pub enum WriteError {
    /// The payload cannot be framed; nothing was written.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The connection failed; the peer may have got a part.
    #[error("writing to the peer failed: {0}")]
    Io(#[from] io::Error),
    /// The peer did not take the bytes in time; it may have got a part.
    #[error(
        "the peer did not take the message within {after:?}; it may have got a part of it, so the connection must be closed"
    )]
    Timeout {
        /// The time it was given.
        after: Duration,
    },
    /// An earlier write failed or was abandoned half way.
    #[error("an earlier message went out in part; the connection must be closed and opened again")]
    Broken,
}

impl WriteError {
    /// A stable code for logs and metrics.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            WriteError::Encode(_) => "mllp.unframeable",
            WriteError::Io(_) => "mllp.write_failed",
            WriteError::Timeout { .. } => "mllp.write_timeout",
            WriteError::Broken => "mllp.broken",
        }
    }
}

/// Writes frames to `W`.
#[derive(Debug)]
pub struct FrameWriter<W> {
    output: W,
    framing: Framing,
    timeout: Option<Duration>,
    /// Framed and not written.
    pending: Pending,
    /// Set while bytes are under way: a write that is dropped half way leaves it set.
    broken: bool,
}

/// A buffer whose `Debug` shows its size only.
struct Pending(Vec<u8>);

impl std::fmt::Debug for Pending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl<W: AsyncWrite + Unpin> FrameWriter<W> {
    /// A writer without timeout.
    pub fn new(output: W, framing: Framing) -> Self {
        Self {
            output,
            framing,
            timeout: None,
            pending: Pending(Vec::new()),
            broken: false,
        }
    }

    /// Bounds each [`send`](Self::send) and [`flush`](Self::flush): a peer that reads nothing must not
    /// hold its sender for ever.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.timeout = timeout;
        self
    }

    /// Frames `payload` behind what is pending, without writing.
    ///
    /// # Errors
    /// [`WriteError::Encode`] when the payload holds the end byte.
    pub fn push(&mut self, payload: &[u8]) -> Result<(), WriteError> {
        self.pending
            .0
            .reserve(payload.len() + self.framing.overhead_bytes());
        Ok(encode(self.framing, payload, &mut self.pending.0)?)
    }

    /// Bytes that wait for [`flush`](Self::flush).
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        self.pending.0.len()
    }

    /// Writes what is pending, in one call where the system takes it whole.
    ///
    /// # Errors
    /// After any error but [`WriteError::Encode`], and when the future is dropped before it ended, the
    /// stream is [`Broken`](WriteError::Broken): the peer may hold half a frame.
    pub async fn flush(&mut self) -> Result<(), WriteError> {
        self.begin()?;
        let pending = &self.pending.0;
        let output = &mut self.output;
        bounded(self.timeout, async {
            output.write_all(pending).await?;
            output.flush().await
        })
        .await?;
        self.pending.0.clear();
        self.pending.0.shrink_to(KEEP_BYTES);
        self.broken = false;
        Ok(())
    }

    /// Writes one frame, after what is pending.
    ///
    /// # Errors
    /// As [`flush`](Self::flush) and [`push`](Self::push).
    pub async fn send(&mut self, payload: &[u8]) -> Result<(), WriteError> {
        if payload.len() < VECTORED_FROM_BYTES {
            self.push(payload)?;
            return self.flush().await;
        }
        self.framing.check(payload)?;
        if !self.pending.0.is_empty() {
            self.flush().await?;
        }
        self.begin()?;
        let (tail, count) = self.framing.tail();
        let start = [self.framing.start()];
        let mut frame = start
            .as_slice()
            .chain(payload)
            .chain(tail.get(..count).unwrap_or_default());
        let output = &mut self.output;
        bounded(self.timeout, async {
            output.write_all_buf(&mut frame).await?;
            output.flush().await
        })
        .await?;
        self.broken = false;
        Ok(())
    }

    /// Says that nothing follows: a half-close in TCP, `close_notify` in TLS.
    ///
    /// # Errors
    /// What the stream says.
    pub async fn shutdown(&mut self) -> io::Result<()> {
        self.output.shutdown().await
    }

    /// The stream itself.
    pub fn get_ref(&self) -> &W {
        &self.output
    }

    /// The stream itself; bytes written past the writer must be whole frames.
    pub fn get_mut(&mut self) -> &mut W {
        &mut self.output
    }

    /// Gives the stream back; what is pending is dropped.
    pub fn into_inner(self) -> W {
        self.output
    }

    fn begin(&mut self) -> Result<(), WriteError> {
        if self.broken {
            return Err(WriteError::Broken);
        }
        self.broken = true;
        Ok(())
    }
}

async fn bounded(
    timeout: Option<Duration>,
    write: impl Future<Output = io::Result<()>>,
) -> Result<(), WriteError> {
    match timeout {
        None => Ok(write.await?),
        Some(after) => match tokio::time::timeout(after, write).await {
            Ok(done) => Ok(done?),
            Err(_) => Err(WriteError::Timeout { after }),
        },
    }
}

#[cfg(test)]
mod tests;
