//! Laws of changes: whatever the message and whatever the texts, nothing panics, and a change changes
//! what it names and nothing else.

use hie_hl7::{Message, Path};
use hie_rules::{Change, apply, parse_path};
use proptest::prelude::*;

/// Bytes behind a good MSH, lines and delimiters more often than others.
fn messages() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        3 => proptest::sample::select(b"|^~\\&\rAPIDZ1".to_vec()),
        1 => any::<u8>(),
    ];
    proptest::collection::vec(byte, 0..120).prop_map(|tail| {
        let mut message = b"MSH|^~\\&|A|B|||2026||ADT^A01|1|P|2.4\rPID|1||7^^^R~8||D^J\r".to_vec();
        message.extend(tail);
        message
    })
}

/// Every value of the message but those within this field, by its path.
fn others(message: &Message<'_>, but: &Path) -> Vec<(String, Vec<u8>)> {
    let inside = |path: &Path| {
        path.segment() == but.segment()
            && path.field().map(|place| place.field) == but.field().map(|place| place.field)
    };
    let rows = hie_hl7::view::rows(message);
    let leaves = rows.flat_map(|row| row.leaves().collect::<Vec<_>>());
    let named = leaves.filter_map(|leaf| Some((leaf.path?, leaf.raw.to_vec())));
    named
        .filter(|(path, _)| !inside(path))
        .map(|(path, raw)| (path.to_string(), raw))
        .collect()
}

proptest! {
    #[test]
    fn any_texts_are_compiled_or_refused(place in ".{0,24}", value in ".{0,40}") {
        let _ = Change::compile(&place, &value);
    }

    #[test]
    fn a_fault_points_into_its_text(value in "[a-z{}\"'^ .0-9PID-]{0,24}") {
        if let Err(hie_rules::ChangeFault::Value(error)) = Change::compile("PID-5", &value) {
            prop_assert!(error.offset + error.len <= value.len(), "{}: {}", value, error);
            prop_assert!(value.is_char_boundary(error.offset));
        }
    }

    #[test]
    fn what_is_set_is_there_and_the_rest_is_as_it_was(
        raw in messages(),
        place in proptest::sample::select(vec!["PID-3.4", "PID-8", "PID-5.1", "ZHI-2", "PID-3(2).1.2"]),
        value in "[a-zA-Z0-9&\\\\ ]{1,12}",
    ) {
        let message = Message::parse(&raw).expect("an MSH");
        let path = parse_path(place).expect("a path");
        let change = Change::compile(place, &value).expect("a change");
        let Ok(bytes) = apply(&[change], &message, "In") else { return Ok(()) };
        let changed = Message::parse(&bytes).expect("still a message");
        let text = changed.text(&path).unwrap_or_default().into_owned();
        prop_assert_eq!(text, value);
        prop_assert_eq!(others(&changed, &path), others(&message, &path));
    }

    #[test]
    fn a_copy_is_the_same_bytes(raw in messages()) {
        let message = Message::parse(&raw).expect("an MSH");
        let change = Change::compile("ZHI-1", "{PID-3}").expect("a change");
        let Ok(bytes) = apply(&[change], &message, "In") else { return Ok(()) };
        let changed = Message::parse(&bytes).expect("still a message");
        let from = parse_path("PID-3").expect("a path");
        let to = parse_path("ZHI-1").expect("a path");
        prop_assert_eq!(changed.get(&to).unwrap_or_default(), message.get(&from).unwrap_or_default());
    }

    #[test]
    fn any_bytes_at_all_are_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let all = [("PID-3.4", "x"), ("ZHI-1", "{PID-5} {MSH-3}"), ("OBX(*)-5", "{PID-3.1}")];
        let all: Vec<Change> = all.iter().map(|(p, v)| Change::compile(p, v).expect("a change")).collect();
        let with_msh = [b"MSH", &bytes[..]].concat();
        for raw in [&bytes, &with_msh] {
            if let Ok(message) = Message::parse(raw) {
                let _ = apply(&all, &message, "In");
            }
        }
    }
}
