//! The HL7 TCP service: who is served, for how long, in what order, and what becomes of messages
//! that cannot be read.

#![allow(clippy::unwrap_used)]

mod common;

use std::sync::atomic::Ordering;

use common::{
    Place, Running,
    peers::{Desk, Line, SINK, ack, adt, field, id, operation, service},
    until, well_formed,
};
use hie_engine::stats::ItemState;
use hie_mllp::Framing;
use hie_store::State;

async fn before_sink(place: &Place, adapter: &str, host: &str) -> Running {
    place
        .start(&format!("{}{SINK}", service(adapter, host)))
        .await
}

fn connections(running: &Running) -> u64 {
    running.item("In").stats.connections.load(Ordering::Relaxed)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_kept_with_its_bytes_and_refused() {
    let place = Place::new();
    let running = before_sink(&place, "", "").await;
    let mut sender = Line::to(&running.address("In")).await;
    let unreadable: [&[u8]; 5] = [
        b"PID|1||4857773456",
        b"",
        b"MSH",
        b"\xff\xfe\x00\x01",
        b"<xml/>",
    ];
    for bytes in unreadable {
        assert_eq!(sender.code(bytes).await, "AE", "{}", bytes.len());
    }
    assert_eq!(sender.code(adt("M1")).await, "AA", "the connection goes on");
    let rows = running.rows("In").await;
    for (row, bytes) in rows.iter().zip(unreadable) {
        assert_eq!((row.state, running.body(row)), (State::Error, bytes.into()));
        assert!(!row.reason.is_empty());
    }
    assert_eq!(rows.len(), 6);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_gets_what_cannot_be_read() {
    let place = Place::new();
    let items = service("", "BadMessageHandler: Bad") + SINK + &SINK.replace("Out", "Bad");
    let running = place.start(&items).await;
    let mut sender = Line::to(&running.address("In")).await;
    assert_eq!(sender.code("PID|1").await, "AE");
    assert_eq!(sender.code(adt("M1")).await, "AA");
    let bad = running.ended("Bad", 1).await;
    assert_eq!((bad.len(), running.body(&bad[0])), (1, b"PID|1".to_vec()));
    assert_eq!(running.ended("Out", 1).await.len(), 1);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_over_the_limit_is_refused_by_its_name_and_the_next_is_taken() {
    let place = Place::new();
    let running = before_sink(&place, "MaxMessageSize: 2 KiB", "").await;
    let mut sender = Line::to(&running.address("In")).await;
    let long = adt("LONG") + &"OBX|1|TX|x\r".repeat(50_000);
    let answer = sender.ask(&long).await;
    assert_eq!(field(&answer, "MSA", 1), "AE");
    assert_eq!(field(&answer, "MSA", 2), "LONG");
    assert!(
        field(&answer, "MSA", 3).contains("MaxMessageSize"),
        "{answer}"
    );
    assert_eq!(sender.code(adt("M1")).await, "AA");
    let row = running.rows("In").await.remove(0);
    assert_eq!(row.state, State::Error);
    assert!(row.reason.contains("2048"), "{}", row.reason);
    assert!(long.as_bytes().starts_with(&running.body(&row)));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stay_connected_0_closes_after_each_message() {
    let place = Place::new();
    let running = before_sink(&place, "StayConnected: 0", "").await;
    for name in ["M1", "M2"] {
        let mut sender = Line::to(&running.address("In")).await;
        assert_eq!(sender.code(adt(name)).await, "AA");
        sender.closed().await;
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stay_connected_closes_what_is_idle() {
    let place = Place::new();
    let running = before_sink(&place, "StayConnected: 1", "").await;
    let mut silent = Line::to(&running.address("In")).await;
    silent.closed().await;
    let mut sender = Line::to(&running.address("In")).await;
    assert_eq!(sender.code(adt("M1")).await, "AA");
    sender.closed().await;
    assert!(
        running.item("In").stats.last_error().is_none(),
        "that is no error"
    );
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_jobs_per_connection_the_second_waits_for_the_first_to_leave() {
    let place = Place::new();
    let running = before_sink(&place, "JobPerConnection: false", "").await;
    let mut first = Line::to(&running.address("In")).await;
    assert_eq!(first.code(adt("A0")).await, "AA");
    let mut second = Line::to(&running.address("In")).await;
    second.say(adt("B0")).await;
    for nth in 1..20 {
        assert_eq!(first.code(adt(&format!("A{nth}"))).await, "AA");
    }
    assert_eq!(connections(&running), 1);
    drop(first);
    assert_eq!(field(&second.hear().await, "MSA", 2), "B0");
    let rows = running.rows("In").await;
    assert_eq!(rows.last().unwrap().control_id, "B0");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_over_the_limit_are_closed_and_seen() {
    let place = Place::new();
    let running = before_sink(&place, "MaxConnections: 2", "").await;
    let mut first = Line::to(&running.address("In")).await;
    let mut second = Line::to(&running.address("In")).await;
    assert_eq!(first.code(adt("A")).await, "AA");
    assert_eq!(second.code(adt("B")).await, "AA");
    Line::to(&running.address("In")).await.closed().await;
    let error = running.item("In").stats.last_error().unwrap();
    assert!(error.contains("MaxConnections"), "{error}");
    assert_eq!(second.code(adt("C")).await, "AA");
    // Many come and go: those that have left never count.
    for nth in 0..20 {
        drop(first);
        until("a place to be free", || connections(&running) == 1).await;
        first = Line::to(&running.address("In")).await;
        assert_eq!(first.code(adt(&format!("D{nth}"))).await, "AA");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_allowed_addresses_are_served() {
    for (allowed, served) in [("10.0.0.0/8", false), ("\"10.1.2.3, 127.0.0.0/8\"", true)] {
        let place = Place::new();
        let running = before_sink(&place, &format!("AllowedIPAddresses: {allowed}"), "").await;
        let mut sender = Line::to(&running.address("In")).await;
        if served {
            assert_eq!(sender.code(adt("M1")).await, "AA");
        } else {
            let _ = sender.try_raw(format!("\x0b{}\x1c\r", adt("M1"))).await;
            sender.closed().await;
            let error = running.item("In").stats.last_error().unwrap();
            assert!(error.contains("AllowedIPAddresses"), "{error}");
            assert!(running.rows("In").await.is_empty());
        }
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_framing_bytes_are_spoken_both_ways() {
    let place = Place::new();
    let running = before_sink(&place, "Framing: MLLP0x02/0x03", "").await;
    let framing = Framing::new(2, 3, Some(b'\r')).unwrap();
    let mut sender = Line::framed(&running.address("In"), framing).await;
    assert_eq!(sender.code(adt("M1")).await, "AA");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_arrive_together_are_answered_in_their_order() {
    let place = Place::new();
    let running = before_sink(&place, "", "").await;
    let mut sender = Line::to(&running.address("In")).await;
    let names: Vec<_> = (0..50).map(|nth| format!("M{nth}")).collect();
    let together = names
        .iter()
        .map(|name| format!("noise\x0b{}\x1c\r\n", adt(name)));
    sender.raw(together.collect::<String>()).await;
    for name in &names {
        assert_eq!(field(&sender.hear().await, "MSA", 2), *name);
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_has_said_all_still_hears_its_answer() {
    let place = Place::new();
    let running = before_sink(&place, "", "").await;
    let mut sender = Line::to(&running.address("In")).await;
    sender.say(adt("M1")).await;
    sender.hang_up().await;
    assert_eq!(field(&sender.hear().await, "MSA", 1), "AA");
    sender.closed().await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_answers_what_is_in_hand_and_takes_nothing_more() {
    let place = Place::new();
    let desk = Desk::open().await;
    let items = service("", "AckMode: Application") + &operation(desk.port, "", "");
    let running = place.start(&items).await;
    let address = running.address("In");
    let mut busy = Line::to(&address).await;
    let mut idle = Line::to(&address).await;
    busy.say(adt("M1")).await;
    let mut peer = desk.line().await;
    assert_eq!(id(&peer.hear().await), "M1");
    let production = running.0.clone();
    let stopping = tokio::spawn(async move { production.stop().await });
    until("the stop to begin", || {
        running.item("In").stats.state() == ItemState::Stopping
    })
    .await;
    // The idle one is let go at once; whatever it says now is not acknowledged.
    let _ = idle.try_raw(format!("\x0b{}\x1c\r", adt("LATE"))).await;
    idle.closed().await;
    peer.say(ack("AA", "M1")).await;
    assert_eq!(field(&busy.hear().await, "MSA", 1), "AA");
    busy.closed().await;
    stopping.await.unwrap();
    assert!(tokio::net::TcpStream::connect(&address).await.is_err());
    drop(running);
    let running = place.start(&items).await;
    let ids = running.rows("In").await.into_iter();
    assert_eq!(ids.map(|row| row.control_id).collect::<Vec<_>>(), ["M1"]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn order_holds_from_each_connection_to_the_receiver() {
    const EACH: usize = 100;
    let place = Place::new();
    let receiver = hie_load::receiver::Receiver::start("127.0.0.1:0")
        .await
        .unwrap();
    receiver.keep_log();
    let items = service("", "") + &operation(receiver.addr().port(), "", "");
    let running = place.start(&items).await;
    let senders = (0..4).map(|sender| {
        let address = running.address("In");
        tokio::spawn(async move {
            let mut line = Line::to(&address).await;
            for nth in 0..EACH {
                assert_eq!(line.code(adt(&format!("{sender}-{nth:04}"))).await, "AA");
            }
        })
    });
    for sender in senders.collect::<Vec<_>>() {
        sender.await.unwrap();
    }
    assert!(receiver.wait_for(4 * EACH as u64, common::PATIENCE).await);
    let log = receiver.log();
    for sender in 0..4 {
        let its = log
            .iter()
            .filter(|name| name.starts_with(&format!("{sender}-")));
        assert!(its.is_sorted(), "of sender {sender}");
    }
    running.stop().await;
}

/// The messages of a stored file: some were stored with the frame around them, some are batches.
fn messages_of(bytes: &[u8]) -> Vec<&[u8]> {
    let bytes = bytes.strip_prefix(b"\x0b").unwrap_or(bytes);
    let bytes = match bytes.trim_ascii_end().strip_suffix(b"\x1c") {
        Some(framed) => framed,
        None => bytes,
    };
    let line_starts =
        (0..bytes.len()).filter(|&at| at < 16 || matches!(bytes[at - 1], b'\r' | b'\n'));
    let heads: Vec<usize> = line_starts
        .filter(|&at| {
            [&b"MSH"[..], b"FHS", b"BHS", b"BTS", b"FTS"]
                .iter()
                .any(|name| bytes[at..].starts_with(name))
        })
        .collect();
    // The first may have blanks or a byte order mark before it.
    if heads.len() == 1 && bytes[heads[0]..].starts_with(b"MSH") {
        return vec![bytes];
    }
    let ends = heads.iter().skip(1).copied().chain([bytes.len()]);
    let parts = heads
        .iter()
        .zip(ends)
        .map(|(&start, end)| &bytes[start..end]);
    parts.filter(|part| part.starts_with(b"MSH")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_well_formed_message_comes_out_byte_for_byte() {
    let Some(messages) = well_formed() else {
        return;
    };
    let place = Place::new();
    let desk = Desk::open().await;
    let items = format!(
        "{}  - name: Pass\n    class: PassthroughProcess\n    host: {{ TargetConfigNames: Out }}\n{}",
        service("", "IgnoreInboundAck: false").replace("Out", "Pass"),
        operation(desk.port, "", "")
    );
    let running = place.start(&items).await;
    let mut sender = Line::to(&running.address("In")).await;
    let (mut peer, mut count) = (None, 0);
    for (name, bytes) in &messages {
        for payload in messages_of(bytes) {
            if payload.contains(&0x1c) {
                println!("not sent, it holds the end byte of MLLP: {name}");
                continue;
            }
            let answer = sender.ask(payload).await;
            assert!(answer.contains("AA"), "{name} was refused: {answer}");
            if peer.is_none() {
                peer = Some(desk.line().await);
            }
            let peer = peer.as_mut().unwrap();
            let out = peer.hear_bytes().await;
            assert!(out == payload, "{name} came out changed");
            let parsed = hie_hl7::Message::parse(&out).unwrap();
            let control_id = String::from_utf8_lossy(parsed.header().control_id).into_owned();
            peer.say(ack("AA", &control_id)).await;
            count += 1;
        }
    }
    println!("{count} messages of {} files", messages.len());
    assert!(count > 400, "{count} messages");
    running.ended("Out", count).await;
    running.stop().await;
}
