//! `send`, `resend`, `purge`: commands that change something.

use std::fs;

use crate::common::{Mllp, Place, Receiver, message, nobody, production};

#[test]
fn files_folders_and_stdin_are_sent_and_counted() {
    let place = Place::new();
    let receiver = Receiver::start();
    let engine = place.start(&production(receiver.addr()));
    let to = engine.address("In").to_string();
    let folder = place.path("messages");
    fs::create_dir(&folder).unwrap();
    fs::write(
        folder.join("a.hl7"),
        [
            message("ADT^A01", "1", "7", "A"),
            message("ADT^A01", "2", "7", "B"),
        ]
        .concat(),
    )
    .unwrap();
    fs::write(folder.join("b.hl7"), message("ADT^A01", "3", "7", "C")).unwrap();
    fs::write(folder.join(".hidden"), "nothing").unwrap();

    let sent = place
        .hie(["send", "messages", "--to", &to, "--json"])
        .ok()
        .json();
    assert_eq!(
        (&sent["messages"], &sent["accepted"], &sent["codes"]["AA"]),
        (&3.into(), &3.into(), &3.into())
    );
    let one = message("ADT^A01", "4", "7", "D");
    let words = place.hie_with(["send", "-", "--to", &to], &one).ok().stdout;
    assert!(
        words.contains("1 message to") && words.contains("AA"),
        "{words}"
    );
    let many = [
        "send",
        "messages",
        "--to",
        &to,
        "--repeat",
        "10",
        "--connections",
        "4",
        "--rate",
        "2000",
        "--json",
    ];
    assert_eq!(place.hie(many).ok().json()["accepted"], 30);

    receiver.wait_for(4);
    engine.wait_for("EPR", "completed", 34);
    let raw = place
        .hie(["messages", "--control-id", "4", "--item", "EPR", "--json"])
        .ok()
        .rows();
    let id = raw[0]["id"].to_string();
    assert_eq!(
        place.hie(["show", &id, "--raw"]).ok().stdout_bytes,
        one,
        "the bytes are the file's"
    );
}

#[test]
fn line_ends_are_changed_only_when_asked() {
    let place = Place::new();
    let engine = place.start(&production(nobody()));
    let to = engine.address("In").to_string();
    let unix = String::from_utf8(message("ADT^A01", "1", "7", "A"))
        .unwrap()
        .replace('\r', "\n");
    place.write_bytes("unix.hl7", unix.as_bytes());
    place.hie(["send", "unix.hl7", "--to", &to]).ok();
    place
        .hie(["send", "unix.hl7", "--to", &to, "--fix-line-ends"])
        .ok();
    let mut found = place
        .hie(["messages", "--item", "In", "--json"])
        .ok()
        .rows();
    found.reverse();
    let raw = |nth: usize| {
        place
            .hie(["show", &found[nth]["id"].to_string(), "--raw"])
            .ok()
            .stdout
    };
    assert_eq!((raw(0), raw(1)), (unix.clone(), unix.replace('\n', "\r")));
}

#[test]
fn what_is_not_accepted_is_exit_code_10() {
    let place = Place::new();
    let receiver = Receiver::start();
    place.write_bytes("m.hl7", &message("ADT^A01", "1", "7", "A"));
    let to = receiver.addr().to_string();
    receiver
        .inner
        .set(hie_load::receiver::Behaviour::code("AE"));
    let ran = place.hie(["send", "m.hl7", "--to", &to]).exits(10);
    assert!(
        ran.stdout.contains("AE") && ran.stderr.contains("1 of 1 message not accepted"),
        "{}{}",
        ran.stdout,
        ran.stderr
    );
    receiver.inner.set(hie_load::receiver::Behaviour::of(
        hie_load::receiver::Answer::WrongId("AA".into()),
    ));
    place.hie(["send", "m.hl7", "--to", &to]).exits(10);
    receiver.inner.set(hie_load::receiver::Behaviour::of(
        hie_load::receiver::Answer::Close,
    ));
    let ran = place.hie(["send", "m.hl7", "--to", &to]).exits(10);
    assert!(ran.stdout.contains("no answer"), "{}", ran.stdout);
    let ran = place
        .hie(["send", "m.hl7", "--to", &nobody().to_string()])
        .exits(10);
    assert!(
        ran.stdout.contains("refused") && ran.stdout.contains("1 not sent"),
        "{}",
        ran.stdout
    );

    place.write("empty.txt", "nothing here\n");
    let ran = place.hie(["send", "empty.txt", "--to", &to]).exits(1);
    assert!(ran.stderr.contains("holds no message"), "{}", ran.stderr);
    let ran = place.hie(["send", "missing.hl7", "--to", &to]).exits(1);
    assert!(
        ran.stderr.contains("cannot read missing.hl7"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_message_goes_out_again_in_a_session_that_names_the_old() {
    let place = Place::new();
    let receiver = Receiver::start();
    let engine = place.start(&production(receiver.addr()));
    Mllp::connect(engine.address("In")).accepted(&message("ADT^A01", "1", "7", "A"));
    engine.wait_for("EPR", "completed", 1);
    let sent = place.hie(["resend", "2", "--json"]).ok().rows();
    assert_eq!(
        (&sent[0]["id"], &sent[0]["target"]),
        (&2.into(), &"EPR".into())
    );
    engine.wait_for("EPR", "completed", 2);
    assert_eq!(receiver.inner.count_of("1"), 2, "the same message, twice");

    let session = sent[0]["session"].to_string();
    let again = place.hie(["trace", &session, "--json"]).ok().rows();
    assert_eq!(
        (&again[0]["resent_from"], &again[0]["state"]),
        (&2.into(), &"Completed".into())
    );
    let words = place.hie(["trace", &session]).ok().stdout;
    assert!(words.contains("repeats message 2"), "{words}");
    let old = place.hie(["trace", "2", "--json"]).ok().rows();
    assert!(
        old.iter().all(|row| row["resent_from"].is_null()),
        "the old session is as it was"
    );

    let other = place.hie(["resend", "1", "--target", "Sink"]).ok().stdout;
    assert!(
        other.contains("1 → Sink") && other.contains("1 message sent again"),
        "{other}"
    );
    engine.wait_for("Sink", "discarded", 1);
}

#[test]
fn resend_by_search_lists_first_and_keeps_the_order() {
    let place = Place::new();
    let receiver = Receiver::start();
    // AR fails for good after no time at all, so these end in Error.
    let config = production(receiver.addr()).replace(
        "FailureTimeout: -1}",
        "FailureTimeout: 0, ReplyCodeActions: ':?R=F,:?A=C'}",
    );
    receiver
        .inner
        .set(hie_load::receiver::Behaviour::code("AR"));
    let engine = place.start(&config);
    let mut feed = Mllp::connect(engine.address("In"));
    for id in ["1", "2", "3"] {
        feed.accepted(&message("ADT^A01", id, "7", "A"));
    }
    engine.wait_for("EPR", "failed", 3);
    let search = ["resend", "--state", "Error", "--item", "EPR"];
    let listed = place
        .hie([&search[..], &["--dry-run"]].concat())
        .ok()
        .stdout;
    assert!(
        listed.contains("3 messages would be sent again"),
        "{listed}"
    );
    assert_eq!(
        engine.item("EPR")["completed"],
        0,
        "a dry run sends nothing"
    );

    receiver.inner.set(hie_load::receiver::Behaviour::default());
    let sent = place.hie([&search[..], &["--json"]].concat()).ok().rows();
    let order: Vec<u64> = sent.iter().map(|row| row["id"].as_u64().unwrap()).collect();
    assert!(order.is_sorted(), "{order:?}");
    engine.wait_for("EPR", "completed", 3);
}

#[test]
fn resend_says_what_it_cannot_do() {
    let place = Place::new();
    let engine = place.start(&production(nobody()));
    Mllp::connect(engine.address("In")).accepted(&message("ORU^R01", "1", "7", "A"));
    engine.wait_for("Sink", "discarded", 1);
    let ran = place.hie(["resend", "99", "1"]).exits(9);
    assert!(ran.stderr.contains("message 99"), "{}", ran.stderr);
    assert!(
        ran.stdout.contains("1 message sent again"),
        "one failure does not keep the others"
    );
    let ran = place.hie(["resend", "1", "--target", "Nobody"]).exits(1);
    assert!(
        ran.stderr.contains("Nobody is no process or operation"),
        "{}",
        ran.stderr
    );
    place.hie(["resend", "1", "--target", "In"]).exits(1);
    let ran = place.hie(["resend"]).exits(2);
    assert!(
        ran.stderr.contains("by id or by a search"),
        "{}",
        ran.stderr
    );
    place.hie(["resend", "1", "--state", "Error"]).exits(2);
    assert_eq!(engine.stop(), 0);
    place.hie(["resend", "1"]).exits(8);
}

#[test]
fn purge_counts_first_and_keeps_what_is_unfinished() {
    let place = Place::new();
    let engine = place.start(&production(nobody()));
    let mut feed = Mllp::connect(engine.address("In"));
    feed.accepted(&message("ORU^R01", "done", "7", "A"));
    feed.accepted(&message("ADT^A01", "waits", "7", "A"));
    engine.wait_for("Sink", "discarded", 1);
    engine.wait_for("EPR", "retries", 1);
    // "now" is this very millisecond; the messages may be of it too.
    let soon = std::time::SystemTime::now() + std::time::Duration::from_secs(5);
    let soon = jiff::Timestamp::try_from(soon).unwrap().to_string();
    let counted = place
        .hie(["purge", "--before", &soon, "--dry-run", "--json"])
        .ok()
        .json();
    assert_eq!(
        (&counted["messages"], &counted["dry_run"]),
        (&2.into(), &true.into())
    );
    assert_eq!(
        place.hie(["messages", "--json"]).ok().rows().len(),
        4,
        "a dry run purges nothing"
    );
    let words = place.hie(["purge", "--before", &soon]).ok().stdout;
    assert!(
        words.contains("2 messages") && words.contains("left"),
        "{words}"
    );
    let kept = place.hie(["messages", "--json"]).ok().rows();
    assert!(
        kept.len() == 2 && kept.iter().all(|row| row["control_id"] == "waits"),
        "{kept:?}"
    );
    place.hie(["show", "1"]).exits(9);
}
