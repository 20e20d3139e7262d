//! Real messages from public test suites: what is well formed parses, rejoins,
//! can be shown, edited and answered; what is not harms nobody.
//!
//! The messages lie beside the repository, in `../shared/data/hl7`; without
//! them the test says so and passes.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // helpers of tests

use std::{fs, path::PathBuf};

use hie_hl7::{
    Edit, Message, ParseError, Path,
    ack::{self, AckCode, AckRequest},
    view,
};

struct Sample {
    name: String,
    well_formed: bool,
    bytes: Vec<u8>,
}

fn corpus() -> Vec<Sample> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/hl7");
    let Ok(manifest) = fs::read_to_string(root.join("MANIFEST.jsonl")) else {
        println!("SKIPPED: no corpus at ../shared/data/hl7 beside the repository");
        return Vec::new();
    };
    manifest.lines().map(|line| sample(&root, line)).collect()
}

/// One line of the manifest; it is written by a program, one object a line.
fn sample(root: &std::path::Path, line: &str) -> Sample {
    let name = line
        .split("\"file\": \"")
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .unwrap();
    Sample {
        name: name.to_owned(),
        well_formed: line.contains("\"wellformed\": true"),
        bytes: fs::read(root.join(name)).unwrap(),
    }
}

/// The messages of a file that may be a batch: one from each MSH line on. (The
/// batch reader is another's; this one only has to feed the test.)
fn messages(bytes: &[u8]) -> Vec<&[u8]> {
    let starts: Vec<usize> = (0..bytes.len())
        .filter(|&at| {
            let begins = bytes[at..].starts_with(b"MSH");
            let text_before = &bytes[..at];
            let line_start = text_before.trim_ascii_end().len() < at || at == 0 || at == 3;
            begins && line_start && bytes.get(at + 3).is_some_and(u8::is_ascii_punctuation)
        })
        .collect();
    let ends = starts.iter().skip(1).copied().chain([bytes.len()]);
    starts
        .iter()
        .zip(ends)
        .map(|(&start, end)| &bytes[start..end])
        .collect()
}

#[test]
fn every_file_is_a_message_or_says_why_not() {
    for Sample {
        name,
        well_formed,
        bytes,
    } in corpus()
    {
        match Message::parse(&bytes) {
            Ok(message) => check(&name, &message),
            Err(ParseError::Batch { .. }) => {}
            Err(error) => assert!(!well_formed, "{name}: {error}"),
        }
    }
}

#[test]
fn every_message_of_every_batch_is_one() {
    let mut count = 0;
    for Sample {
        name,
        well_formed,
        bytes,
    } in corpus()
    {
        let found = messages(&bytes);
        assert!(!well_formed || !found.is_empty(), "{name}");
        for raw in found {
            check(&name, &Message::parse(raw).unwrap());
            count += 1;
        }
    }
    println!("{count} messages");
}

fn check(name: &str, message: &Message<'_>) {
    let mut joined = message.prefix().to_vec();
    for segment in message.segments() {
        joined.extend_from_slice(segment.raw());
        joined.extend_from_slice(segment.terminator());
    }
    assert_eq!(joined, message.raw(), "{name}: rejoins");
    check_view(name, message);
    check_edit(name, message);
    check_ack(name, message);
}

fn check_view(name: &str, message: &Message<'_>) {
    for leaf in view::rows(message).flat_map(|row| row.leaves().collect::<Vec<_>>()) {
        message.decode(leaf.raw);
        if let Some(path) = leaf.path {
            assert_eq!(message.get(&path), Some(leaf.raw), "{name}: {path}");
        }
    }
}

/// A value set and set back is the message again.
fn check_edit(name: &str, message: &Message<'_>) {
    let id = Path::parse("MSH-10").unwrap();
    let Some(before) = message.get(&id).filter(|value| !value.is_empty()) else {
        return;
    };
    let mut edit = Edit::new(message);
    edit.set(&id, b"another").unwrap();
    assert_eq!(
        edit.set(&id, before)
            .map(|edit| edit.bytes() == message.raw()),
        Ok(true),
        "{name}"
    );
}

fn check_ack(name: &str, message: &Message<'_>) {
    let mut reply = Vec::new();
    AckRequest::to(message, AckCode::AA, "20260101000000", "R1").write(&mut reply);
    let ack = ack::read(&reply).unwrap();
    let (sent, got) = (message.header(), ack.message.header());
    assert_eq!(ack.code, Some(AckCode::AA), "{name}");
    assert_eq!(ack.control_id, sent.control_id, "{name}");
    let swapped = [
        (got.sending_application, sent.receiving_application),
        (got.sending_facility, sent.receiving_facility),
        (got.receiving_application, sent.sending_application),
        (got.receiving_facility, sent.sending_facility),
        (got.charset, sent.charset),
        (got.message_code, b"ACK"),
    ];
    for (got, want) in swapped {
        assert_eq!(got, want, "{name}");
    }
    if !sent.version.is_empty() {
        assert_eq!(got.version, sent.version, "{name}");
    }
    assert_eq!(ack.message.delimiters(), message.delimiters(), "{name}");
}
