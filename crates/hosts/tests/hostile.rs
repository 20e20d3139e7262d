//! Hostile and broken senders: each gets a clear end or a refusal, harms nobody else, and what it
//! said stands in no log.

#![allow(clippy::unwrap_used)]

mod common;

use std::{
    io::Write,
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use common::{
    Place, Running,
    peers::{Desk, Line, SINK, adt, field, operation, service},
    until,
};
use hie_store::State;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing_subscriber::fmt::MakeWriter;

async fn before_sink(place: &Place, adapter: &str, host: &str) -> Running {
    place
        .start(&format!("{}{SINK}", service(adapter, host)))
        .await
}

/// Waits until the service shows a reason with these words.
async fn told(running: &Running, words: &str) {
    until(words, || {
        let error = running.item("In").stats.last_error();
        error.is_some_and(|error| error.contains(words))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_noise_is_cut_off() {
    let place = Place::new();
    let running = before_sink(&place, "", "").await;
    let mut good = Line::to(&running.address("In")).await;
    let mut noisy = Line::to(&running.address("In")).await;
    while noisy.try_raw(vec![b'x'; 8192]).await.is_ok() {}
    told(&running, "outside of MLLP frames").await;
    assert_eq!(good.code(adt("M1")).await, "AA");
    assert_eq!(running.rows("In").await.len(), 1);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_message_is_refused_once_and_skipped() {
    let place = Place::new();
    let running = before_sink(&place, "MaxMessageSize: 64 KiB", "").await;
    let mut endless = Line::to(&running.address("In")).await;
    endless.raw(format!("\x0b{}", adt("ENDLESS"))).await;
    for _ in 0..1000 {
        endless.raw(vec![b'x'; 8192]).await;
    }
    let answer = endless.hear().await;
    assert_eq!(field(&answer, "MSA", 1), "AE");
    assert_eq!(field(&answer, "MSA", 2), "ENDLESS");
    let mut good = Line::to(&running.address("In")).await;
    assert_eq!(good.code(adt("M1")).await, "AA");
    endless.raw(b"\x1c\r").await;
    assert_eq!(endless.code(adt("M2")).await, "AA", "it may mend its ways");
    let rows = running.rows("In").await;
    let states: Vec<_> = rows.iter().map(|row| row.state).collect();
    assert_eq!(states.len(), 3);
    assert_eq!(states[0], State::Error);
    assert!(running.body(&rows[0]).len() <= 64 << 10);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_message_is_not_taken() {
    let place = Place::new();
    let running = before_sink(&place, "", "").await;
    for end in [5, 40, 90] {
        let mut sender = Line::to(&running.address("In")).await;
        let message = format!("\x0b{}", adt("HALF"));
        sender.raw(&message.as_bytes()[..end]).await;
        sender.hang_up().await;
        sender.closed().await;
        told(
            &running,
            &format!("inside a message, after {} bytes", end - 1),
        )
        .await;
    }
    let mut sender = Line::to(&running.address("In")).await;
    assert_eq!(sender.code(adt("M1")).await, "AA");
    assert_eq!(running.rows("In").await.len(), 1);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_sender_is_cut_off_with_the_reason() {
    let place = Place::new();
    let running = before_sink(&place, "ReadTimeout: 0.2", "").await;
    let mut idle = Line::to(&running.address("In")).await;
    let mut stalled = Line::to(&running.address("In")).await;
    stalled.raw(b"\x0bMSH|^~\\&|").await;
    stalled.closed().await;
    told(&running, "nothing came for 200ms inside a message").await;
    // Between messages a connection may be as quiet as it likes.
    assert_eq!(idle.code(adt("M1")).await, "AA");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_drips_for_ever_is_cut_off_by_the_frame_timeout() {
    let place = Place::new();
    let running = before_sink(&place, "FrameTimeout: 0.5", "").await;
    let mut dripping = Line::to(&running.address("In")).await;
    dripping.raw(b"\x0bMSH|^~\\&|").await;
    while dripping.try_raw(b"x").await.is_ok() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    told(&running, "did not end within 500ms").await;
    running.stop().await;
}

/// Raises the number of files that this process may open; what it may open then.
fn raise_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    let _ = setrlimit(Resource::Nofile, raised);
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_idle_connections_do_not_keep_an_active_one_from_being_served() {
    // Both ends are in this process, and the other tests of this binary need theirs.
    let idle = ((raise_files().saturating_sub(400)) / 2).min(2_000);
    println!("{idle} idle connections");
    let place = Place::new();
    let running = before_sink(&place, "MaxConnections: 5000", "").await;
    let address = running.address("In");
    let mut connections = Vec::new();
    for nth in 0..idle {
        let mut line = Line::to(&address).await;
        // Some have begun a message, which is within ReadTimeout.
        if nth % 10 == 0 {
            line.raw(b"\x0bMSH|").await;
        }
        connections.push(line);
    }
    let open = || running.item("In").stats.connections.load(Ordering::Relaxed);
    until("all to be served", || open() == idle).await;
    let mut active = Line::to(&address).await;
    for nth in 0..100 {
        assert_eq!(active.code(adt(&format!("M{nth}"))).await, "AA");
    }
    drop(connections);
    until("them to be forgotten", || open() == 1).await;
    running.stop().await;
}

/// Where the log lines of this process go.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

const CANARY: &str = "CANARY4711";

/// A message with the canary in every field that it has.
fn tainted() -> String {
    format!(
        "MSH|^~\\&|{CANARY}|{CANARY}|{CANARY}|{CANARY}|{CANARY}||{CANARY}^{CANARY}|{CANARY}|P|{CANARY}\r\
         PID|1||{CANARY}||{CANARY}\r"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn no_log_line_no_error_and_no_reason_holds_message_content() {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(lines.clone())
        .with_ansi(false)
        .finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();

    let place = Place::new();
    let desk = Desk::open().await;
    let adapter = "MaxMessageSize: 2 KiB, ReadTimeout: 1";
    let items = service(
        adapter,
        "AckMode: Application, ResponseTimeout: 0.3, AddNackERR: true",
    )
    .replace("Out", "Router")
        + "  - name: Router\n    class: HL7RoutingEngine\n    host: { BusinessRuleName: Any }\n"
        + &operation(desk.port, "", "")
        + "rules:\n  Any:\n    rules:\n      - { name: All, when: 'PID-5 != \"x\"', send: [Out] }\n";
    let running = place.start(&items).await;
    let address = running.address("In");
    let mut answers = Vec::new();

    let mut sender = Line::to(&address).await;
    for said in [
        tainted(),
        CANARY.into(),
        format!("MSH{CANARY}"),
        tainted() + &CANARY.repeat(1000),
        tainted().replace("MSH|^~\\&|", "BHS|^~\\&|"),
    ] {
        answers.push(sender.ask(said).await);
    }
    let mut noisy = Line::to(&address).await;
    while noisy.try_raw(CANARY.repeat(1000)).await.is_ok() {}
    for hang_up in [true, false] {
        let mut half = Line::to(&address).await;
        half.raw(format!("\x0b{}", tainted())).await;
        if hang_up {
            half.hang_up().await;
        }
        half.closed().await;
    }
    // What the receiver says is content, too.
    for reply in [
        format!("MSH|^~\\&|A|B|C|D|||ACK|1|P|2.5\rMSA|AR|{CANARY}X|{CANARY}\rERR|{CANARY}\r"),
        format!("MSH|^~\\&|A|B|C|D|||ACK|1|P|2.5\rMSA|{CANARY}|{CANARY}X|{CANARY}\r"),
    ] {
        // Each answers another message: the connection is made anew.
        let mut peer = desk.line().await;
        peer.hear().await;
        peer.say(reply).await;
    }
    let rows = running.ended("Out", 1).await;
    assert_eq!(rows[0].state, State::Suspended);

    for item in ["In", "Router", "Out"] {
        let stats = &running.item(item).stats;
        for shown in [stats.last_error(), stats.trying()].into_iter().flatten() {
            assert!(!shown.contains(CANARY), "shown of {item}: {shown}");
        }
        for row in running.rows(item).await {
            assert!(!row.reason.contains(CANARY), "reason: {}", row.reason);
            assert!(!row.note.contains(CANARY), "note: {}", row.note);
            assert!(!format!("{row:?}").contains("PID"));
        }
    }
    for answer in &answers {
        let text = field(answer, "MSA", 3);
        assert!(!text.contains(CANARY), "the reason in the answer: {text}");
    }
    running.stop().await;
    let logged = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    for line in [
        "unreadable message",
        "MaxMessageSize",
        "outside of MLLP frames",
        "inside a message",
        "will be tried again",
    ] {
        assert!(logged.contains(line), "{line:?} should have been logged");
    }
    let found = logged.lines().find(|line| line.contains(CANARY));
    assert!(found.is_none(), "logged: {found:?}");
}
