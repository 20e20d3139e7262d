//! What holds for any bytes and any message: nothing panics, nothing is lost.
#![allow(clippy::unwrap_used)] // helpers of tests

use proptest::prelude::*;

use hie_hl7::{
    Delimiters, Edit, Message, Path,
    ack::{self, AckCode, AckError, AckRequest},
    escape::{escape, unescape},
    path::{FieldPath, Index},
    view,
};

/// Bytes in which delimiters, line ends and names are as common as text.
fn soup() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        6 => proptest::sample::select(b"|^~\\&#\r\n".to_vec()).prop_map(|b| vec![b]),
        3 => "[A-Za-z0-9 ]{0,4}".prop_map(String::into_bytes),
        1 => proptest::sample::select(vec!["PID", "OBX", "MSH", "BHS", "\\F\\", "\\X0D\\", "\\.br\\"])
            .prop_map(|s| s.as_bytes().to_vec()),
        1 => any::<u8>().prop_map(|b| vec![b]),
    ];
    proptest::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

/// An MSH of any kind, then mostly some segments, then soup.
fn messy() -> impl Strategy<Value = Vec<u8>> {
    let header = proptest::sample::select(vec![
        &b"MSH|^~\\&|A|B|C|D|1||ADT^A01|7|P|2.5\r"[..],
        b"MSH|^~\\&#|A||||||||||||||||UNICODE UTF-8\r",
        b"\xEF\xBB\xBF\r\nMSH|^~\\&|A\n",
        b"MSH#!@%*#A\r\n",
        b"MSH|^~|A\r",
        b"MSH|",
        b"MSH^~\\&|",
        b"MSH&^~\\&|A\r",
    ]);
    let line = proptest::sample::select(vec![
        "PID|1||7^^^H&1~8|x",
        "OBX|1||a~b^c",
        "OBX|2",
        "OBX",
        "ZZ1|",
        "BHS|^~\\&|A",
        "BHS",
        "",
    ]);
    let lines = proptest::collection::vec(line, 0..6);
    (header, lines, soup()).prop_map(|(header, lines, rest)| {
        let field = header
            .iter()
            .skip_while(|b| **b != b'H')
            .nth(1)
            .copied()
            .unwrap_or(b'|');
        let end = if header.ends_with(b"\n") {
            &b"\n"[..]
        } else {
            b"\r"
        };
        let mut raw = header.to_vec();
        for line in lines {
            raw.extend(line.bytes().map(|b| if b == b'|' { field } else { b }));
            raw.extend_from_slice(end);
        }
        raw.extend_from_slice(&rest);
        raw
    })
}

fn index() -> impl Strategy<Value = Index> {
    prop_oneof![
        4 => Just(Index::Default),
        2 => (1u32..4).prop_map(Index::Nth),
        2 => Just(Index::All),
    ]
}

fn place() -> impl Strategy<Value = FieldPath> {
    let parts = proptest::option::of((1u32..5, proptest::option::of(1u32..4)));
    (1u32..12, index(), parts).prop_map(|(field, repetition, parts)| FieldPath {
        field,
        repetition,
        component: parts.map(|(c, _)| c),
        subcomponent: parts.and_then(|(_, s)| s),
    })
}

fn path() -> impl Strategy<Value = Path> {
    let name = proptest::sample::select(vec![&b"PID"[..], b"OBX", b"MSH", b"BHS", b"ZZ1"]);
    (name, index(), proptest::option::weighted(0.9, place()))
        .prop_map(|(name, occurrence, field)| Path::from_parts(name, occurrence, field).unwrap())
}

/// All there is to ask of a message.
fn ask_everything(message: &Message<'_>) {
    let charset = message.charset().unwrap_or_default();
    for row in view::rows(message) {
        for leaf in row.leaves() {
            message.decode(leaf.raw);
            charset.decode(leaf.raw);
            if let Some(path) = leaf.path {
                assert_eq!(message.get(&path), Some(leaf.raw), "{path}");
            }
        }
        for field in row.segment.fields() {
            let rejoined: usize = field.repetitions().map(|r| r.raw().len() + 1).sum();
            assert_eq!(rejoined, field.raw().len() + 1);
        }
    }
    let _ = format!("{message:?} {:?} {}", message.header(), message.type_name());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(message) = Message::parse(&bytes) {
            ask_everything(&message);
        }
        let _ = ack::read(&bytes);
    }

    #[test]
    fn a_message_with_an_msh_parses_and_rejoins(raw in messy()) {
        let message = Message::parse(&raw).unwrap();
        let mut joined = message.prefix().to_vec();
        for segment in message.segments() {
            joined.extend_from_slice(segment.raw());
            joined.extend_from_slice(segment.terminator());
        }
        prop_assert_eq!(&joined, &raw);
        ask_everything(&message);
    }

    #[test]
    fn any_path_on_any_message_agrees_with_itself(raw in messy(), path in path()) {
        let message = Message::parse(&raw).unwrap();
        prop_assert_eq!(message.get(&path), message.get_all(&path).next());
        if !path.is_plural() {
            prop_assert!(message.get_all(&path).count() <= 1);
        }
        message.text(&path);
        prop_assert_eq!(Path::parse(&path.to_string()), Ok(path));
    }

    #[test]
    fn any_text_as_a_path_is_read_or_refused(text in "[A-Z0-9{}\\[\\]().:*-]{0,14}|.{0,10}") {
        if let Err(error) = Path::parse(&text) {
            prop_assert!(error.offset <= text.len());
        }
    }

    #[test]
    fn set_then_get_gives_the_value_and_keeps_the_rest(
        raw in messy(), path in path(), value in "[a-z0-9]{0,6}",
    ) {
        let message = Message::parse(&raw).unwrap();
        let mut edit = Edit::new(&message);
        if path.field().is_none() || edit.set(&path, value.as_bytes()).is_err() {
            return Ok(());
        }
        let edited = edit.finish();
        let after = Message::parse(&edited).unwrap();
        let values: Vec<_> = after.get_all(&path).collect();
        prop_assert!(!values.is_empty());
        prop_assert!(values.iter().all(|got| *got == value.as_bytes()));
        untouched_is_identical(&message, &after, &path)?;
    }

    #[test]
    fn set_text_then_text_gives_the_text(raw in messy(), path in path(), text in "\\PC{0,8}|[|^~\\\\&#\r\n]{0,4}") {
        let message = Message::parse(&raw).unwrap();
        let mut edit = Edit::new(&message);
        if path.field().is_none() || edit.set_text(&path, &text).is_err() {
            return Ok(());
        }
        let edited = edit.finish();
        let after = Message::parse(&edited).unwrap();
        // Setting MSH-18 itself changes how text is read.
        if after.charset() == message.charset() {
            let read = after.text(&path);
            prop_assert_eq!(read.as_deref(), Some(text.as_str()));
        }
    }

    #[test]
    fn delete_leaves_nothing_there_and_keeps_the_rest(raw in messy(), path in path()) {
        let message = Message::parse(&raw).unwrap();
        let mut edit = Edit::new(&message);
        if edit.delete(&path).is_err() {
            return Ok(());
        }
        let edited = edit.finish();
        let after = Message::parse(&edited).unwrap();
        prop_assert!(edited.len() <= raw.len());
        // A single segment or repetition that is removed lets the next one move up.
        let moves_up = path.field().is_none_or(|f| f.component.is_none())
            && (path.field().is_none() || matches!(path.field().unwrap().repetition, Index::Nth(_)));
        if !moves_up || path.is_plural() && path.field().is_none() {
            prop_assert!(after.get_all(&path).all(<[u8]>::is_empty));
        }
        if path.field().is_some() {
            untouched_is_identical(&message, &after, &path)?;
        }
    }

    #[test]
    fn escape_then_unescape_is_the_text(text in soup(), msh_2 in "\\PC{0,5}|[\\^~\\\\&#]{3,5}") {
        let d = Delimiters::read(b'|', msh_2.as_bytes());
        if let Ok(escaped) = escape(&text, &d) {
            prop_assert_eq!(&*unescape(&escaped, &d), &text[..]);
        }
    }

    #[test]
    fn every_message_gets_a_reply_that_reads(raw in messy(), error in proptest::option::of(path())) {
        let message = Message::parse(&raw).unwrap();
        let mut request = AckRequest::to(&message, AckCode::AE, "20260101", "R1").text("a|b\r\u{fc}");
        if let Some(path) = error {
            request = request.error(AckError::new(102).at(path).saying("c^d"));
        }
        let mut reply = Vec::new();
        request.write(&mut reply);
        let ack = ack::read(&reply).unwrap();
        prop_assert_eq!(ack.code, Some(AckCode::AE));
        prop_assert_eq!(ack.control_id, message.header().control_id);
        let (sent, got) = (message.header(), ack.message.header());
        prop_assert_eq!(got.receiving_application, sent.sending_application);
        prop_assert_eq!(got.sending_facility, sent.receiving_facility);
        prop_assert_eq!(got.control_id, b"R1");
    }
}

/// Every segment but those the path means is byte for byte what it was, and so
/// is every other field of those.
fn untouched_is_identical(
    before: &Message<'_>,
    after: &Message<'_>,
    path: &Path,
) -> Result<(), TestCaseError> {
    prop_assert_eq!(before.prefix(), after.prefix());
    let field = path.field().map(|f| f.field as usize);
    let (old, new): (Vec<_>, Vec<_>) = (before.segments().collect(), after.segments().collect());
    prop_assert_eq!(old.len(), new.len());
    for (old, new) in old.iter().zip(&new) {
        prop_assert_eq!(old.terminator(), new.terminator());
        if old.name() != path.segment() {
            prop_assert_eq!(old.raw(), new.raw());
            continue;
        }
        for (n, part) in (1..).zip(old.fields()).filter(|(n, _)| Some(*n) != field) {
            prop_assert_eq!(new.field(n).map(|f| f.raw()), Some(part.raw()));
        }
    }
    Ok(())
}
