//! The reader on in-memory pipes, with the clock paused: no test waits for real.

use std::time::Duration;

use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
use tokio::time::{advance, sleep};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn reader(timeouts: Timeouts) -> (DuplexStream, FrameReader<DuplexStream>) {
    let (peer, ours) = duplex(1 << 20);
    let limits = Limits {
        max_message_bytes: 1 << 20,
        max_noise_bytes: 100,
    };
    (
        peer,
        FrameReader::with(ours, Framing::MLLP, limits, timeouts),
    )
}

#[tokio::test]
async fn reads_frames_and_ends_between_them() {
    let (mut peer, mut reader) = reader(Timeouts::default());
    peer.write_all(b"xx\x0bone\x1c\r\x0btwo\x1c").await.unwrap();
    drop(peer);
    assert_eq!(reader.next().await.unwrap().unwrap(), "one");
    assert!(reader.has_buffered());
    assert_eq!(reader.next_borrowed().await.unwrap().unwrap(), b"two");
    assert!(reader.next().await.unwrap().is_none());
    assert!(reader.next().await.unwrap().is_none());
    assert_eq!(
        (reader.take_noise_bytes(), reader.take_noise_bytes()),
        (2, 0)
    );
}

#[tokio::test]
async fn tells_a_close_inside_a_frame() {
    let (mut peer, mut reader) = reader(Timeouts::default());
    peer.write_all(b"\x0bhalf").await.unwrap();
    drop(peer);
    assert!(matches!(
        reader.next().await,
        Err(ReadError::Truncated { received_bytes: 4 })
    ));
}

#[tokio::test]
async fn answers_a_peer_that_closed_its_writing_side() {
    let (mut peer, mut reader) = reader(Timeouts::default());
    peer.write_all(b"\x0bone\x1c\r").await.unwrap();
    peer.shutdown().await.unwrap();
    assert_eq!(reader.next().await.unwrap().unwrap(), "one");
    assert!(reader.next().await.unwrap().is_none());
    reader.get_mut().write_all(b"\x0back\x1c\r").await.unwrap();
    let mut answers = FrameReader::new(peer, Framing::MLLP);
    assert_eq!(answers.next().await.unwrap().unwrap(), "ack");
}

#[tokio::test]
async fn goes_on_after_a_message_that_is_too_long() {
    let (mut peer, ours) = duplex(1 << 20);
    let limits = Limits {
        max_message_bytes: 2000,
        ..Limits::default()
    };
    let mut reader = FrameReader::with(ours, Framing::MLLP, limits, Timeouts::default());
    let mut wire = b"\x0bMSH|secret".to_vec();
    wire.resize(50_000, b'x');
    wire.extend_from_slice(b"\x1c\r\x0bok\x1c\r");
    peer.write_all(&wire).await.unwrap();
    let error = reader.next().await.unwrap_err();
    assert!(error.is_recoverable());
    assert!(!format!("{error:?} {error}").contains("secret"));
    let ReadError::TooLong {
        limit_bytes: 2000,
        head,
    } = error
    else {
        panic!("{error}")
    };
    assert_eq!((head.0.len(), head.0.starts_with(b"MSH|")), (1024, true));
    assert!(reader.capacity_bytes() <= 4096);
    assert_eq!(reader.next().await.unwrap().unwrap(), "ok");
}

#[tokio::test]
async fn gives_up_on_a_peer_that_sends_no_frames() {
    let (mut peer, mut reader) = reader(Timeouts::default());
    peer.write_all(&[b'n'; 101]).await.unwrap();
    assert!(matches!(
        reader.next().await,
        Err(ReadError::Noise { noise_bytes: 101 })
    ));
}

#[tokio::test]
async fn counts_noise_anew_after_each_frame() {
    let (mut peer, mut reader) = reader(Timeouts::default());
    for _ in 0..5 {
        peer.write_all(&[b'n'; 90]).await.unwrap();
        peer.write_all(b"\x0bx\x1c\r").await.unwrap();
        assert_eq!(reader.next().await.unwrap().unwrap(), "x");
    }
}

#[tokio::test(start_paused = true)]
async fn waits_for_the_first_byte_and_then_for_idleness() {
    let timeouts = Timeouts {
        first_byte: Some(2 * SECOND),
        idle: Some(10 * SECOND),
        ..Timeouts::default()
    };
    let (mut peer, mut reader) = reader(timeouts);
    let start = tokio::time::Instant::now();
    peer.write_all(b"noise").await.unwrap();
    assert!(matches!(reader.next().await, Err(ReadError::Idle { after }) if after == 2 * SECOND));
    assert_eq!(start.elapsed(), 2 * SECOND);
    peer.write_all(b"\x0bone\x1c\r").await.unwrap();
    assert!(reader.next().await.unwrap().is_some());
    let start = tokio::time::Instant::now();
    assert!(matches!(reader.next().await, Err(ReadError::Idle { after }) if after == 10 * SECOND));
    assert_eq!(start.elapsed(), 10 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn does_not_count_the_time_of_the_caller_as_idle() {
    let (mut peer, mut reader) = reader(Timeouts {
        idle: Some(2 * SECOND),
        ..Timeouts::default()
    });
    peer.write_all(b"\x0bone\x1c\r").await.unwrap();
    assert!(reader.next().await.unwrap().is_some());
    advance(60 * SECOND).await;
    let start = tokio::time::Instant::now();
    assert!(matches!(reader.next().await, Err(ReadError::Idle { .. })));
    assert_eq!(start.elapsed(), 2 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn does_not_cut_a_slow_sender_that_makes_progress() {
    let (mut peer, mut reader) = reader(Timeouts {
        read: Some(5 * SECOND),
        idle: Some(SECOND),
        ..Timeouts::default()
    });
    let sender = tokio::spawn(async move {
        for byte in *b"\x0bslowly\x1c" {
            peer.write_all(&[byte]).await.unwrap();
            sleep(4 * SECOND).await;
        }
        peer
    });
    assert_eq!(reader.next().await.unwrap().unwrap(), "slowly");
    sender.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn cuts_a_sender_that_stalls() {
    let (mut peer, mut reader) = reader(Timeouts {
        read: Some(5 * SECOND),
        ..Timeouts::default()
    });
    peer.write_all(b"\x0bhalf").await.unwrap();
    assert!(matches!(
        reader.next().await,
        Err(ReadError::Stalled {
            received_bytes: 4,
            ..
        })
    ));
}

#[tokio::test(start_paused = true)]
async fn bounds_a_frame_that_trickles_in_for_ever() {
    let timeouts = Timeouts {
        read: Some(5 * SECOND),
        frame: Some(60 * SECOND),
        ..Timeouts::default()
    };
    let (mut peer, mut reader) = reader(timeouts);
    let sender = tokio::spawn(async move {
        peer.write_all(b"\x0b").await.unwrap();
        while peer.write_all(b"x").await.is_ok() {
            sleep(2 * SECOND).await;
        }
    });
    let start = tokio::time::Instant::now();
    let error = reader.next().await.unwrap_err();
    assert!(
        matches!(
            error,
            ReadError::TooSlow {
                received_bytes: 30 | 31,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(start.elapsed(), 60 * SECOND);
    drop(reader);
    sender.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn loses_nothing_and_no_deadline_when_dropped_and_called_again() {
    let (mut peer, mut reader) = reader(Timeouts {
        frame: Some(30 * SECOND),
        ..Timeouts::default()
    });
    let sender = tokio::spawn(async move {
        for byte in *b"\x0bpatience\x1c\r\x0bnext" {
            peer.write_all(&[byte]).await.unwrap();
            sleep(SECOND).await;
        }
        sleep(100 * SECOND).await;
    });
    let mut impatient = async || {
        loop {
            tokio::select! {
                frame = reader.next() => return frame,
                () = sleep(SECOND / 3) => {}
            }
        }
    };
    assert_eq!(impatient().await.unwrap().unwrap(), "patience");
    let error = impatient().await.unwrap_err();
    assert!(
        matches!(
            error,
            ReadError::TooSlow {
                received_bytes: 4,
                ..
            }
        ),
        "{error}"
    );
    sender.abort();
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_cheap_again_after_a_large_message() {
    let (mut peer, mut reader) = reader(Timeouts::default());
    assert_eq!(reader.capacity_bytes(), 0);
    let mut wire = vec![b'x'; 50_000];
    wire[0] = 0x0B;
    wire.extend_from_slice(b"\x1c\r");
    peer.write_all(&wire).await.unwrap();
    let frame = reader.next().await.unwrap().unwrap();
    assert_eq!(frame.len(), 49_999);
    assert!(reader.capacity_bytes() > 49_999);
    let waited = tokio::time::timeout(2 * SECOND, reader.next()).await;
    assert!(waited.is_err());
    assert!(
        reader.capacity_bytes() <= 4096,
        "{}",
        reader.capacity_bytes()
    );
    peer.write_all(b"\x0bstill there\x1c\r").await.unwrap();
    assert_eq!(reader.next().await.unwrap().unwrap(), "still there");
}

#[tokio::test]
async fn a_large_message_leaves_with_its_buffer() {
    let (mut peer, mut reader) = reader(Timeouts::default());
    let payload = vec![b'x'; 900_000];
    let sender = tokio::spawn(async move {
        peer.write_all(b"\x0b").await.unwrap();
        peer.write_all(&payload).await.unwrap();
        peer.write_all(b"\x1c\r\x0bnext\x1c\r").await.unwrap();
        peer
    });
    assert_eq!(reader.next().await.unwrap().unwrap().len(), 900_000);
    assert!(
        reader.capacity_bytes() < 4096,
        "{}",
        reader.capacity_bytes()
    );
    assert_eq!(reader.next().await.unwrap().unwrap(), "next");
    sender.await.unwrap();
}

#[tokio::test]
async fn a_connection_cut_without_farewell_between_frames_is_an_end() {
    let cut = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let input = tokio_test_io(vec![Ok(b"\x0bone\x1c".to_vec()), Err(cut())]);
    let mut reader = FrameReader::new(input, Framing::MLLP);
    assert!(reader.next().await.unwrap().is_some());
    assert!(reader.next().await.unwrap().is_none());
    let input = tokio_test_io(vec![Ok(b"\x0bone".to_vec()), Err(cut())]);
    let mut reader = FrameReader::new(input, Framing::MLLP);
    assert!(matches!(
        reader.next().await,
        Err(ReadError::Truncated { received_bytes: 3 })
    ));
}

/// A stream that plays back what each read gives.
fn tokio_test_io(reads: Vec<io::Result<Vec<u8>>>) -> impl AsyncRead + Unpin {
    struct Script(std::vec::IntoIter<io::Result<Vec<u8>>>);
    impl AsyncRead for Script {
        fn poll_read(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
            buf: &mut tokio::io::ReadBuf<'_>,
        ) -> std::task::Poll<io::Result<()>> {
            std::task::Poll::Ready(match self.0.next() {
                None => Ok(()),
                Some(Ok(bytes)) => {
                    buf.put_slice(&bytes);
                    Ok(())
                }
                Some(Err(error)) => Err(error),
            })
        }
    }
    Script(reads.into_iter())
}

#[test]
fn ten_thousand_idle_connections_cost_little() {
    assert!(size_of::<FrameReader<tokio::net::TcpStream>>() <= 320);
}
