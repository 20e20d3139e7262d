//! The writer: how many write calls a frame takes, and what a half-written frame leaves behind.

use std::io::IoSlice;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncReadExt, duplex};

use super::*;
use crate::FrameReader;

/// Records each write call.
#[derive(Default)]
struct Calls(Vec<Vec<u8>>);

impl AsyncWrite for Calls {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.push(buf.to_vec());
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let all: Vec<u8> = bufs.iter().flat_map(|buf| buf.iter().copied()).collect();
        let count = all.len();
        self.0.push(all);
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn takes_one_call_a_frame_and_one_for_several() {
    let mut writer = FrameWriter::new(Calls::default(), Framing::MLLP);
    writer.send(b"one").await.unwrap();
    writer.push(b"two").unwrap();
    writer.push(b"three").unwrap();
    assert_eq!(writer.pending_bytes(), 6 + 8);
    writer.flush().await.unwrap();
    let calls = &writer.get_ref().0;
    assert_eq!(
        *calls,
        [&b"\x0bone\x1c\r"[..], b"\x0btwo\x1c\r\x0bthree\x1c\r"]
    );
}

#[tokio::test]
async fn takes_one_call_for_a_large_frame_after_what_was_pending() {
    let mut writer = FrameWriter::new(Calls::default(), Framing::MLLP);
    let large = vec![b'x'; 200_000];
    writer.push(b"first").unwrap();
    writer.send(&large).await.unwrap();
    let calls = &writer.get_ref().0;
    assert_eq!(calls.iter().map(Vec::len).collect::<Vec<_>>(), [8, 200_003]);
    assert!(calls[1].starts_with(b"\x0bx") && calls[1].ends_with(b"x\x1c\r"));
}

#[tokio::test]
async fn refuses_an_end_byte_and_stays_usable() {
    let mut writer = FrameWriter::new(Calls::default(), Framing::MLLP);
    let mut large = vec![b'x'; 200_000];
    large[199_999] = 0x1C;
    for payload in [&b"a\x1cb"[..], &large] {
        assert_eq!(
            writer.send(payload).await.unwrap_err().code(),
            "mllp.unframeable"
        );
    }
    writer.send(b"fine").await.unwrap();
    assert_eq!(writer.get_ref().0, [b"\x0bfine\x1c\r"]);
}

#[tokio::test(start_paused = true)]
async fn lets_nothing_follow_a_frame_that_went_out_in_part() {
    let (mut peer, ours) = duplex(4);
    let mut writer =
        FrameWriter::new(ours, Framing::MLLP).with_timeout(Some(Duration::from_secs(3)));
    assert!(matches!(
        writer.send(b"longer than the pipe").await,
        Err(WriteError::Timeout { .. })
    ));
    assert!(matches!(writer.send(b"x").await, Err(WriteError::Broken)));
    drop(writer);
    let mut seen = Vec::new();
    peer.read_to_end(&mut seen).await.unwrap();
    assert_eq!(seen, b"\x0blon");
}

#[tokio::test]
async fn a_dropped_write_breaks_the_stream() {
    let (_peer, ours) = duplex(4);
    let mut writer = FrameWriter::new(ours, Framing::MLLP);
    tokio::select! {
        biased;
        _ = writer.send(b"longer than the pipe") => panic!("cannot fit"),
        () = std::future::ready(()) => {}
    }
    assert!(matches!(writer.flush().await, Err(WriteError::Broken)));
}

#[tokio::test]
async fn goes_through_a_pipe_of_any_width() {
    for width in [1, 3, 1000] {
        let (peer, ours) = duplex(width);
        let sender = tokio::spawn(async move {
            let mut writer = FrameWriter::new(ours, Framing::MLLP);
            for size in [0, 1, 700, 70_000] {
                writer.send(&vec![b'x'; size]).await.unwrap();
            }
            writer.shutdown().await.unwrap();
        });
        let mut reader = FrameReader::new(peer, Framing::MLLP);
        for size in [0, 1, 700, 70_000] {
            assert_eq!(reader.next().await.unwrap().unwrap().len(), size);
        }
        assert!(reader.next().await.unwrap().is_none());
        sender.await.unwrap();
    }
}
