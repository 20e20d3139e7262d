//! TLS on both sides of the HL7 TCP classes: who is trusted, and what is said when trust fails.

#![allow(clippy::unwrap_used)]

mod common;

use common::{
    Place, Running,
    certs::{Authority, certificate},
    peers::{Desk, Line, SINK, ack, adt, id, operation, service},
    until,
};
use hie_mllp::{
    Framing,
    tls::{ClientFiles, ClientTls, Identity, ServerFiles, ServerTls},
};
use hie_store::State;
use tokio::net::TcpStream;

/// A TLS connection to a service of this machine.
async fn secure(address: &str, files: &ClientFiles) -> Result<Line, String> {
    let tls = ClientTls::from_files(files).unwrap();
    let tcp = TcpStream::connect(address).await.unwrap();
    let stream = tls.connect(tcp, "127.0.0.1").await;
    let stream = stream.map_err(|error| error.to_string())?;
    Ok(Line::over(stream, Framing::MLLP))
}

/// Whether a client with these files is served; a refusal shows at the handshake or, with TLS 1.3,
/// at the first read.
async fn served(address: &str, files: &ClientFiles) -> bool {
    let Ok(mut line) = secure(address, files).await else {
        return false;
    };
    let sent = line.try_raw(format!("\x0b{}\x1c\r", adt("M1"))).await;
    sent.is_ok() && line.hear_or_closed().await.is_some()
}

async fn secure_service(place: &Place, identity: &Identity, more: &str) -> Running {
    let adapter = format!("{}{more}", certificate(identity));
    place
        .start(&format!("{}{SINK}", service(&adapter, "")))
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_with_a_certificate_speaks_tls_and_nothing_else() {
    let place = Place::new();
    let authority = Authority::new();
    let running = secure_service(&place, &authority.issue("127.0.0.1"), "").await;
    let address = running.address("In");
    let mut sender = secure(&address, &authority.client(None)).await.unwrap();
    assert_eq!(sender.code(adt("M1")).await, "AA");

    let mut plain = Line::to(&address).await;
    let _ = plain.try_raw(format!("\x0b{}\x1c\r", adt("PLAIN"))).await;
    while plain.hear_or_closed().await.is_some() {}
    until("the reason to be shown", || {
        let error = running.item("In").stats.last_error();
        error.is_some_and(|error| error.contains("TLS handshake"))
    })
    .await;
    // A client that does not trust who issued the certificate goes away itself.
    assert!(!served(&address, &Authority::new().client(None)).await);

    assert_eq!(sender.code(adt("M2")).await, "AA", "harms nobody else");
    let rows = running.rows("In").await;
    let ids: Vec<_> = rows.iter().map(|row| row.control_id.as_str()).collect();
    assert_eq!(ids, ["M1", "M2"]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_asks_for_certificates_serves_only_their_owners() {
    let place = Place::new();
    let (ours, clients) = (Authority::new(), Authority::new());
    let more = format!(", TLSClientCAFile: {}", clients.ca_file().display());
    let running = secure_service(&place, &ours.issue("127.0.0.1"), &more).await;
    let address = running.address("In");
    assert!(
        !served(&address, &ours.client(None)).await,
        "no certificate"
    );
    let strangers = Authority::new();
    let stranger = Some(strangers.issue("stranger"));
    assert!(
        !served(&address, &ours.client(stranger)).await,
        "a stranger's"
    );
    assert!(running.rows("In").await.is_empty());
    let known = Some(clients.issue("pas.trust.example"));
    assert!(served(&address, &ours.client(known)).await);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_and_garbled_handshakes_harm_nobody_and_hold_up_no_stop() {
    let place = Place::new();
    let authority = Authority::new();
    let running = secure_service(&place, &authority.issue("127.0.0.1"), "").await;
    let address = running.address("In");
    let _silent = TcpStream::connect(&address).await.unwrap();
    let mut garbled = Line::to(&address).await;
    let _ = garbled.try_raw([0x16, 3, 1, 255, 255, 1, 2, 3]).await;
    let mut noise = Line::to(&address).await;
    let _ = noise.try_raw(vec![0xff; 4096]).await;
    while noise.hear_or_closed().await.is_some() {}
    let mut sender = secure(&address, &authority.client(None)).await.unwrap();
    assert_eq!(sender.code(adt("M1")).await, "AA");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_cannot_be_had_is_named_at_the_start() {
    let place = Place::new();
    let identity = Identity {
        cert_file: "/nowhere/cert.pem".into(),
        key_file: "/nowhere/key.pem".into(),
    };
    let items = format!("{}{SINK}", service(&certificate(&identity), ""));
    let error = place.try_start(&items).await.err().unwrap().to_string();
    assert!(
        error.contains("In") && error.contains("/nowhere/"),
        "{error}"
    );
}

/// A receiver that answers AA to one message over TLS.
async fn answer_one(desk: &Desk, files: &ServerFiles) {
    let tls = ServerTls::from_files(files).unwrap();
    let stream = loop {
        // A try that fails is the operation's to repeat.
        if let Ok(stream) = tls.accept(desk.tcp().await).await {
            break stream;
        }
    };
    let mut peer = Line::over(stream, Framing::MLLP);
    let name = id(&peer.hear().await);
    peer.say(ack("AA", &name)).await;
    peer.closed().await;
}

/// Sends one message through an operation with these TLS settings.
async fn sent(desk: &Desk, files: &ServerFiles, adapter: &str) {
    let place = Place::new();
    let items = service("", "") + &operation(desk.port, adapter, "");
    let running = place.start(&items).await;
    let mut sender = Line::to(&running.address("In")).await;
    assert_eq!(sender.code(adt("M1")).await, "AA");
    let ((), rows) = tokio::join!(answer_one(desk, files), async {
        let rows = running.ended("Out", 1).await;
        running.stop().await;
        rows
    });
    assert_eq!(rows[0].state, State::Completed);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_with_a_ca_sends_over_tls() {
    let authority = Authority::new();
    let desk = Desk::open().await;
    let adapter = format!("TLSCAFile: {}", authority.ca_file().display());
    sent(&desk, &authority.server(None), &adapter).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_shows_its_certificate_to_a_peer_that_asks() {
    let (authority, trust) = (Authority::new(), Authority::new());
    let desk = Desk::open().await;
    let adapter = format!(
        "TLSCAFile: {}, {}",
        authority.ca_file().display(),
        certificate(&trust.issue("hie.trust.example"))
    );
    sent(&desk, &authority.server(Some(trust.ca_file())), &adapter).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_checks_the_name_that_it_is_told() {
    let authority = Authority::new();
    let desk = Desk::open().await;
    let files = ServerFiles {
        identity: authority.issue("epr.trust.example"),
        ..authority.server(None)
    };
    let adapter = format!(
        "TLSCAFile: {}, TLSServerName: epr.trust.example",
        authority.ca_file().display()
    );
    sent(&desk, &files, &adapter).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_is_not_trusted_gets_no_byte_and_the_message_waits() {
    let (authority, strangers) = (Authority::new(), Authority::new());
    let wrong_name = ServerFiles {
        identity: authority.issue("other.trust.example"),
        ..authority.server(None)
    };
    for (files, ca) in [
        (wrong_name, authority.ca_file()),
        (authority.server(None), strangers.ca_file()),
    ] {
        let desk = Desk::open().await;
        let place = Place::new();
        let adapter = format!("TLSCAFile: {}", ca.display());
        let items = service("", "") + &operation(desk.port, &adapter, "");
        let running = place.start(&items).await;
        let mut sender = Line::to(&running.address("In")).await;
        assert_eq!(sender.code(adt("M1")).await, "AA");
        let tls = ServerTls::from_files(&files).unwrap();
        for _ in 0..2 {
            assert!(tls.accept(desk.tcp().await).await.is_err());
        }
        let rows = running
            .rows_when("Out", "the reason to be seen", |rows| {
                rows.first().is_some_and(|row| !row.reason.is_empty())
            })
            .await;
        assert_eq!(rows[0].state, State::Queued);
        let reason = &rows[0].reason;
        assert!(
            reason.contains("TLS") && reason.contains("certificate"),
            "{reason}"
        );
        drop(desk);
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ca_file_that_is_missing_is_told_and_mended_without_a_restart() {
    let authority = Authority::new();
    let desk = Desk::open().await;
    let place = Place::new();
    let items = service("", "") + &operation(desk.port, "TLSCAFile: @/late/ca.pem", "");
    let running = place.start(&items).await;
    let mut sender = Line::to(&running.address("In")).await;
    assert_eq!(sender.code(adt("M1")).await, "AA");
    until("the missing file to be told", || {
        let error = running.item("Out").stats.last_error();
        error.is_some_and(|error| error.contains("late/ca.pem"))
    })
    .await;
    let folder = place.folder("late");
    std::fs::copy(authority.ca_file(), folder.join("ca.pem")).unwrap();
    let files = authority.server(None);
    tokio::join!(answer_one(&desk, &files), async {
        running.ended("Out", 1).await;
        running.stop().await;
    });
}
