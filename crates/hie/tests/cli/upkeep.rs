//! `check`, `schema`, `reference`, `completions`, `journal`, and the control socket by hand.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::Path,
};

use serde_json::Value;

use crate::common::{Mllp, Place, Receiver, copy_folder, message, nobody, production};

/// Flips a byte of the journal in the middle of what was written, and takes the checkpoint away so
/// that the whole journal is read.
pub(crate) fn damage(data: &Path, at: usize) {
    let segments = fs::read_dir(data.join("journal"))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut segments: Vec<_> = segments
        .filter(|path| path.extension().is_some_and(|end| end == "seg"))
        .collect();
    segments.sort();
    let mut bytes = fs::read(&segments[0]).unwrap();
    bytes[at] ^= 0xff;
    fs::write(&segments[0], bytes).unwrap();
    let _ = fs::remove_file(data.join("checkpoint"));
}

#[test]
fn check_lists_every_error_with_its_place() {
    let place = Place::new();
    place.write("good.yaml", &production(nobody()));
    let ran = place.hie(["check", "good.yaml"]).ok();
    assert_eq!(ran.stdout, "ok: Test with 4 items and 1 rule set\n");
    assert_eq!(
        place.hie(["check", "good.yaml", "--json"]).ok().json()["items"],
        4
    );
    assert!(!place.data().exists(), "a check touches nothing");

    let bad = production(nobody())
        .replace("Port: 0", "Prot: 0")
        .replace("send: [Sink]", "send: [Sunk]");
    place.write("bad.yaml", &bad);
    let ran = place.hie(["check", "bad.yaml"]).exits(3);
    for part in [
        "bad.yaml:",
        "Prot",
        "did you mean `Port`",
        "Sunk",
        "did you mean `Sink`",
        "^",
        "2 errors",
    ] {
        assert!(
            ran.stderr.contains(part),
            "{part} is missing:\n{}",
            ran.stderr
        );
    }
    let json = place.hie(["check", "bad.yaml", "--json"]).exits(3).json();
    assert_eq!(json["ok"], false);
    assert!(
        json["errors"]
            .as_array()
            .unwrap()
            .iter()
            .all(|error| error["line"].as_u64() > Some(1))
    );
    let ran = place.hie(["check", "missing.yaml"]).exits(3);
    assert!(ran.stderr.contains("missing.yaml"), "{}", ran.stderr);
}

#[test]
fn the_examples_of_the_repository_are_right() {
    let place = Place::new();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut found = 0;
    for entry in fs::read_dir(examples).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "yaml") {
            found += 1;
            place.hie(["check".as_ref(), path.as_os_str()]).ok();
        }
    }
    assert!(found > 0);
}

#[test]
fn pages_for_machines_and_people_are_printed() {
    let place = Place::new();
    let schema = place.hie(["schema"]).ok().json();
    assert!(schema["$defs"]["HL7TCPService"].is_object());
    assert!(
        place
            .hie(["reference"])
            .ok()
            .stdout
            .contains("### HL7TCPService")
    );
    assert!(
        place
            .hie(["reference", "exit-codes"])
            .ok()
            .stdout
            .contains("| 5 |")
    );
    for shell in ["bash", "zsh", "fish"] {
        assert!(
            place
                .hie(["completions", shell])
                .ok()
                .stdout
                .contains("messages"),
            "{shell}"
        );
    }
    let help = place.hie(["--help"]).ok().stdout;
    assert!(
        help.contains("First steps") && help.contains("hie run"),
        "{help}"
    );
}

#[test]
fn verify_finds_damage_in_a_copy_and_repair_sets_it_aside() {
    let place = Place::new();
    let receiver = Receiver::start();
    let engine = place.start(&production(receiver.addr()));
    let mut feed = Mllp::connect(engine.address("In"));
    for id in 0..20 {
        feed.accepted(&message("ADT^A01", &id.to_string(), "7", "A"));
    }
    engine.wait_for("EPR", "completed", 20);
    assert_eq!(engine.stop(), 0);
    let ran = place.hie(["journal", "verify"]).ok();
    assert!(ran.stdout.starts_with("ok: 1 segment"), "{}", ran.stdout);
    let stat = place.hie(["journal", "stat", "--json"]).ok().json();
    assert_eq!(stat["segments"].as_array().unwrap().len(), 1);
    assert!(
        place
            .hie(["journal", "stat"])
            .ok()
            .stdout
            .contains("1 segment")
    );

    let copy = place.path("copy");
    copy_folder(&place.data(), &copy);
    damage(&copy, 4096);
    let on_copy = |command: &str| {
        [
            "journal".to_owned(),
            command.to_owned(),
            "--data".into(),
            copy.display().to_string(),
            "--json".into(),
        ]
    };
    let found = place.hie(on_copy("verify")).exits(7).json();
    assert_eq!(found["sound"], false);
    assert!(found["damages"][0]["reason"].is_string() && found["records"].as_u64() > Some(10));
    let words = place
        .hie(["journal", "verify", "--data", copy.to_str().unwrap()])
        .exits(7)
        .stdout;
    assert!(
        words.contains("DAMAGED") && words.contains("hie journal repair"),
        "{words}"
    );

    let repaired = place.hie(on_copy("repair")).ok().json();
    assert_eq!(repaired["after"]["sound"], true);
    let evidence = repaired["evidence"][0].as_str().unwrap();
    assert!(
        Path::new(evidence).exists(),
        "the files as they were are kept"
    );
    place.hie(on_copy("verify")).ok();
    place.hie(["journal", "verify"]).ok(); // the original was never touched
}

#[test]
fn the_journal_of_a_running_engine_is_not_repaired() {
    let place = Place::new();
    let _engine = place.start(&production(nobody()));
    let ran = place.hie(["journal", "repair"]).exits(5);
    assert!(ran.stderr.contains("locked"), "{}", ran.stderr);
    place.hie(["journal", "verify"]).ok();
}

/// One line to the socket, one line back.
fn ask(socket: &mut BufReader<UnixStream>, line: &str) -> Value {
    socket
        .get_mut()
        .write_all(format!("{line}\n").as_bytes())
        .unwrap();
    let mut answer = String::new();
    socket.read_line(&mut answer).unwrap();
    serde_json::from_str(&answer).unwrap()
}

#[test]
fn the_socket_can_be_used_by_hand_and_refuses_what_it_does_not_know() {
    let place = Place::new();
    let _engine = place.start(&production(nobody()));
    let mut socket =
        BufReader::new(UnixStream::connect(place.data().join("control.sock")).unwrap());
    let status = ask(&mut socket, r#"{"v":1,"request":"status"}"#);
    assert_eq!(status["done"]["production"], "Test");
    let other = ask(&mut socket, r#"{"v":2,"request":"status"}"#);
    assert_eq!(other["error"]["code"], "protocol");
    let unknown = ask(
        &mut socket,
        r#"{"v":1,"request":{"show":{"id":1,"patient":"SECRET"}}}"#,
    );
    let text = unknown["error"]["message"].as_str().unwrap();
    assert!(
        text.contains("no request") && !text.contains("SECRET"),
        "{text}"
    );
    assert_eq!(ask(&mut socket, "garbage")["error"]["code"], "protocol");
    let again = ask(&mut socket, r#"{"v":1,"request":{"show":{"id":1}}}"#);
    assert_eq!(
        again["error"]["code"], "no-such-message",
        "the connection goes on after an error"
    );
}

#[test]
fn an_endless_request_ends_its_connection_and_nothing_else() {
    let place = Place::new();
    let engine = place.start(&production(nobody()));
    let stream = UnixStream::connect(place.data().join("control.sock")).unwrap();
    let mut writer = stream.try_clone().unwrap();
    let flood = std::thread::spawn(move || {
        let chunk = vec![b'x'; 1 << 16];
        while writer.write_all(&chunk).is_ok() {}
    });
    let mut answer = String::new();
    let _ = BufReader::new(stream).read_line(&mut answer); // a reset may overtake the answer
    flood.join().unwrap();
    assert!(answer.is_empty() || answer.contains("protocol"), "{answer}");
    assert_eq!(engine.status()["ready"], true);
}
