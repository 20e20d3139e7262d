//! The receiver's behaviours, as a sender sees them.

use tokio::io::AsyncReadExt;

use super::*;

const PATIENCE: Duration = Duration::from_secs(30);

/// Sends one message on a new connection and reads until the receiver closes or answers.
async fn send(receiver: &Receiver, control_id: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(receiver.addr()).await.unwrap();
    let message = format!("\x0bMSH|^~\\&|A|B|C|D|2026||ADT^A01|{control_id}|P|2.4\rPID|1\r\x1c\r");
    stream.write_all(message.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn answers_as_told() {
    let receiver = Receiver::start("127.0.0.1:0").await.unwrap();
    receiver.keep_log();
    let whole = send(&receiver, "M1").await;
    assert!(whole.starts_with(b"\x0bMSH|") && whole.ends_with(b"|2.4\rMSA|AA|M1\r\x1c\r"));
    receiver.set(Behaviour::code("AR"));
    assert!(send(&receiver, "M2").await.ends_with(b"MSA|AR|M2\r\x1c\r"));
    receiver.set(Behaviour::of(Answer::WrongId("AA".into())));
    assert!(
        send(&receiver, "M3")
            .await
            .ends_with(b"MSA|AA|NOBODY\r\x1c\r")
    );
    receiver.set(Behaviour::of(Answer::HalfThenClose));
    assert_eq!(send(&receiver, "M4").await.len(), whole.len() / 2);
    for answer in [Answer::Close, Answer::Silence] {
        receiver.set(Behaviour::of(answer));
        assert!(send(&receiver, "M5").await.is_empty());
    }
    assert_eq!(receiver.log(), ["M1", "M2", "M3", "M4", "M5"]);
    assert_eq!((receiver.count_of("M5"), receiver.count_of("M6")), (2, 0));
    assert_eq!(receiver.summary().duplicates, 1);
}

#[tokio::test]
async fn goes_down_and_comes_back_on_its_port_with_its_account() {
    let mut receiver = Receiver::start("127.0.0.1:0").await.unwrap();
    send(&receiver, "M1").await;
    let mut open = TcpStream::connect(receiver.addr()).await.unwrap();
    assert!(receiver.wait_for(1, PATIENCE).await);
    receiver.down().await.unwrap();
    assert!(TcpStream::connect(receiver.addr()).await.is_err());
    assert!(!matches!(open.read(&mut [0; 8]).await, Ok(1..)));
    receiver.up().await.unwrap();
    send(&receiver, "M2").await;
    assert_eq!(receiver.summary().distinct, 2);
    assert!(!receiver.wait_for(3, Duration::from_millis(1)).await);
    assert!(receiver.quiet_for().is_some());
}

#[tokio::test]
async fn accounts_by_key() {
    let receiver = Receiver::start("127.0.0.1:0").await.unwrap();
    receiver.order_by("PID", 1);
    for id in ["T0001N000000002", "T0001N000000001"] {
        send(&receiver, id).await;
    }
    let verdict = receiver.received().of_run("T").verdict(&Sent::default());
    assert_eq!((verdict.inversions, verdict.key_inversions), (1, 1));
}

#[tokio::test]
async fn notices_two_of_a_key_at_a_time() {
    let receiver = Receiver::start("127.0.0.1:0").await.unwrap();
    receiver.order_by("PID", 1);
    send(&receiver, "M1").await;
    send(&receiver, "M2").await;
    assert_eq!(receiver.overlaps(), 0);
    // None of these is answered while the test lasts; the same one again is no other.
    receiver.set(Behaviour::code("AA").after(Duration::from_secs(3600)));
    let mut open = Vec::new();
    for (nth, id, overlaps) in [(3, "M3", 0), (4, "M3", 0), (5, "M4", 1)] {
        let mut stream = TcpStream::connect(receiver.addr()).await.unwrap();
        let message = format!("\x0bMSH|^~\\&|A|B|C|D|2026||ADT^A01|{id}|P|2.4\rPID|1\r\x1c\r");
        stream.write_all(message.as_bytes()).await.unwrap();
        open.push(stream);
        let came = receiver.wait_until(|summary| summary.received >= nth, PATIENCE);
        assert!(came.await);
        assert_eq!(receiver.overlaps(), overlaps, "{id}");
    }
}
