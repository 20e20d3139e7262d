//! The closed loop: one task a connection on the caller's runtime.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use hie_mllp::{FrameReader, Limits, ReadError, Timeouts};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::feed::{Feed, Run, Tally, closed_by_peer};
use crate::sender::LoadError;

pub(crate) async fn run(run: &Arc<Run>) -> Result<Vec<Tally>, LoadError> {
    let tasks: Vec<_> = (0..run.load.connections)
        .map(|connection| tokio::spawn(connect_and_reconnect(Feed::new(run.clone(), connection))))
        .collect();
    let mut tallies = Vec::with_capacity(tasks.len());
    for task in tasks {
        tallies.push(
            task.await
                .map_err(|error| LoadError::Died(error.to_string()))?,
        );
    }
    Ok(tallies)
}

async fn connect_and_reconnect(mut feed: Feed) -> Tally {
    while let Err(error) = session(&mut feed).await {
        match feed.failed(&error) {
            Some(pause) => tokio::time::sleep(pause).await,
            None => break,
        }
    }
    feed.finish()
}

async fn session(feed: &mut Feed) -> Result<(), LoadError> {
    let stream = TcpStream::connect(&feed.run.load.addr)
        .await
        .map_err(LoadError::io("connecting"))?;
    stream
        .set_nodelay(true)
        .map_err(LoadError::io("connecting"))?;
    feed.run.progress.connected.fetch_add(1, Ordering::Relaxed);
    let done = exchange(feed, stream).await;
    feed.run.progress.connected.fetch_sub(1, Ordering::Relaxed);
    done
}

async fn exchange(feed: &mut Feed, stream: TcpStream) -> Result<(), LoadError> {
    let wait = Some(feed.run.load.ack_timeout);
    let timeouts = Timeouts {
        idle: wait,
        frame: wait,
        ..Timeouts::default()
    };
    let mut stream = FrameReader::with(stream, feed.run.load.framing, Limits::default(), timeouts);
    loop {
        if !feed.is_pending() && (feed.is_over() || !feed.prepare(Instant::now())) {
            return Ok(());
        }
        feed.starts_now();
        let sending = LoadError::io("sending");
        stream
            .get_mut()
            .write_all(feed.outgoing())
            .await
            .map_err(sending)?;
        let answer = stream
            .next_borrowed()
            .await
            .map_err(read_error)?
            .ok_or_else(closed_by_peer)?;
        feed.answered(answer);
    }
}

fn read_error(error: ReadError) -> LoadError {
    use std::io::ErrorKind;
    let kind = match error {
        ReadError::Io(error) => error.kind(),
        ReadError::Idle { .. } | ReadError::Stalled { .. } | ReadError::TooSlow { .. } => {
            ErrorKind::TimedOut
        }
        ReadError::Truncated { .. } => return LoadError::Framing("closed within the ACK"),
        ReadError::Noise { .. } => return LoadError::Framing("bytes outside of frames"),
        ReadError::TooLong { .. } => return LoadError::Framing("the ACK is longer than 16 MiB"),
    };
    LoadError::Io {
        doing: "waiting for the ACK",
        kind,
    }
}
