//! What a worker prints: lines of its standard output and error, into the engine's log.
//!
//! Never part of the protocol. Lines are cut, so that a worker that prints without end costs the
//! engine no memory.

use std::{os::fd::OwnedFd, sync::Arc};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::unix::pipe::Receiver,
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Bytes of a line that are logged.
const LINE_MAX: usize = 8 << 10;

/// Characters of a last line that a state carries.
const LAST_WORDS_MAX: usize = 300;

/// Which of its two outputs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    Stdout,
    Stderr,
}

/// The last line of standard error, for a worker that dies before it could say anything else.
#[derive(Clone, Default)]
pub(crate) struct LastWords(Arc<Mutex<Option<String>>>, CancellationToken);

impl LastWords {
    pub(crate) fn get(&self) -> Option<String> {
        self.0.lock().clone()
    }

    /// Returns when the pipe is closed.
    pub(crate) async fn complete(&self) {
        self.1.cancelled().await;
    }
}

/// Logs everything until the pipe is closed. Must be called within a runtime.
pub(crate) fn log(pipe: OwnedFd, output: Output, item: String, worker: u16, last: LastWords) {
    let Ok(pipe) = Receiver::from_owned_fd(pipe) else {
        warn!(item, worker, "the worker's output cannot be read");
        return;
    };
    tokio::spawn(async move {
        each_line(BufReader::new(pipe), |line| match output {
            Output::Stdout => info!(item, worker, "{line}"),
            Output::Stderr => {
                warn!(item, worker, "{line}");
                *last.0.lock() = Some(line.chars().take(LAST_WORDS_MAX).collect());
            }
        })
        .await;
        if output == Output::Stderr {
            last.1.cancel();
        }
    });
}

async fn each_line(mut pipe: impl AsyncBufReadExt + Unpin, mut tell: impl FnMut(&str)) {
    let mut line = Vec::new();
    let mut say = |line: &mut Vec<u8>| {
        let text = String::from_utf8_lossy(line);
        let text = text.trim_end();
        if !text.is_empty() {
            // What a worker prints must not move the operator's cursor.
            tell(&text.replace(|c: char| c.is_control() && c != '\t', "�"));
        }
        line.clear();
    };
    while let Ok(chunk) = pipe.fill_buf().await {
        if chunk.is_empty() {
            break;
        }
        let end = chunk.iter().position(|byte| *byte == b'\n');
        let part = chunk.get(..end.unwrap_or(chunk.len())).unwrap_or_default();
        let room = LINE_MAX.saturating_sub(line.len());
        line.extend_from_slice(part.get(..room.min(part.len())).unwrap_or_default());
        let used = end.map_or(chunk.len(), |end| end + 1);
        pipe.consume(used);
        if end.is_some() {
            say(&mut line);
        }
    }
    say(&mut line);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_cut_and_the_last_needs_no_end() {
        let long = "x".repeat(20_000);
        let text = format!("one\n\n{long}\n\x1b[2Jlast");
        let mut lines = Vec::new();
        each_line(BufReader::with_capacity(7, text.as_bytes()), |line| {
            lines.push(line.to_owned());
        })
        .await;
        assert_eq!(lines.len(), 3);
        assert_eq!((lines[0].as_str(), lines[1].len()), ("one", LINE_MAX));
        assert_eq!(lines[2], "�[2Jlast");
    }
}
