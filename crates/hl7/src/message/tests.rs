//! Messages as data: what is found, and what is said when nothing can be.

use super::*;

const ADT: &[u8] =
    b"MSH|^~\\&|LAB|HOSP|EPR|TRUST|20260102||ADT^A01^ADT_A01|42|P|2.5|||AL|NE||UNICODE UTF-8\r\
EVN|A01\r\
PID|1||77^^^H&1.2&ISO^MR~88^^^NHS||D\xC3\xB8e^J\\T\\K||19800101|M\r\
OBX|1|ST|A||one\r\
\r\
OBX|2|ST|B||two~three\r\
OBX|3\r";

fn get(message: &[u8], path: &str) -> Option<String> {
    let message = Message::parse(message).unwrap();
    let found = message.get(&Path::parse(path).unwrap())?;
    Some(String::from_utf8_lossy(found).into_owned())
}

#[test]
fn paths_find_what_hl7_means() {
    let table = [
        ("MSH-1", Some("|")),
        ("MSH-2", Some("^~\\&")),
        ("MSH-2.1", Some("^~\\&")),
        ("MSH-2.2", None),
        ("MSH-9.2", Some("A01")),
        ("MSH-18", Some("UNICODE UTF-8")),
        ("MSH-19", None),
        ("EVN", Some("EVN|A01")),
        ("PID-3", Some("77^^^H&1.2&ISO^MR")),
        ("PID-3.1", Some("77")),
        ("PID-3.2", Some("")),
        ("PID-3.4.2", Some("1.2")),
        ("PID-3.4.4", None),
        ("PID-3[2].1", Some("88")),
        ("PID-3[2].4", Some("NHS")),
        ("PID-3[3]", None),
        ("PID-4", Some("")),
        ("PID-4.1", Some("")),
        ("PID-4.2", None),
        ("PID-9", None),
        ("OBX-5", Some("one")),
        ("OBX[2]-5", Some("two")),
        ("OBX[2]-5[2]", Some("three")),
        ("OBX[3]-5", None),
        ("OBX[4]-1", None),
        ("OBX[*]-5[2]", Some("three")),
        ("ZZZ-1", None),
    ];
    for (path, want) in table {
        assert_eq!(get(ADT, path).as_deref(), want, "{path}");
    }
}

#[test]
fn get_all_gives_each_that_is_there_in_order() {
    let message = Message::parse(ADT).unwrap();
    let table: &[(&str, &[&str])] = &[
        ("OBX[*]-5", &["one", "two"]),
        ("OBX[*]-5[*]", &["one", "two", "three"]),
        ("OBX[*]-1", &["1", "2", "3"]),
        (
            "OBX[*]",
            &["OBX|1|ST|A||one", "OBX|2|ST|B||two~three", "OBX|3"],
        ),
        ("PID-3[*].1", &["77", "88"]),
        ("PID-3[*].5", &["MR"]),
        ("PID-3.1", &["77"]),
        ("PID-3[2].1", &["88"]),
        ("OBX[2]-5[*]", &["two", "three"]),
        ("ZZZ[*]-1", &[]),
    ];
    for (path, want) in table {
        let path = Path::parse(path).unwrap();
        let got: Vec<_> = message
            .get_all(&path)
            .map(String::from_utf8_lossy)
            .collect();
        assert_eq!(&got, want, "{path}");
    }
}

#[test]
fn text_is_unescaped_and_decoded() {
    let message = Message::parse(ADT).unwrap();
    let text = |path| message.text(&Path::parse(path).unwrap());
    assert_eq!(text("PID-5.1").as_deref(), Some("Døe"));
    assert_eq!(text("PID-5.2").as_deref(), Some("J&K"));
    assert_eq!(text("PID-5.3"), None);
}

#[test]
fn the_header_is_read_in_one_pass() {
    let header = Message::parse(ADT).unwrap().header();
    let table = [
        (header.sending_application, "LAB"),
        (header.sending_facility, "HOSP"),
        (header.receiving_application, "EPR"),
        (header.receiving_facility, "TRUST"),
        (header.date_time, "20260102"),
        (header.message_type, "ADT^A01^ADT_A01"),
        (header.message_code, "ADT"),
        (header.trigger_event, "A01"),
        (header.structure, "ADT_A01"),
        (header.control_id, "42"),
        (header.processing_id, "P"),
        (header.version, "2.5"),
        (header.accept_ack, "AL"),
        (header.application_ack, "NE"),
        (header.charset, "UNICODE UTF-8"),
    ];
    for (got, want) in table {
        assert_eq!(got, want.as_bytes());
    }
    assert_eq!(header.version_number(), Some(crate::Version::new(2, 5)));
    assert_eq!(header.message_type().to_string(), "ADT_A01");
    assert_eq!(Message::parse(b"MSH|").unwrap().header().control_id, b"");
}

#[test]
fn the_first_line_end_says_what_ends_a_segment() {
    // Message, its line end, the segments it has.
    let table: &[(&[u8], LineEnd, &[&str])] = &[
        (
            b"MSH|1\rPID|a\nb\rZ",
            LineEnd::Cr,
            &["MSH|1", "PID|a\nb", "Z"],
        ),
        (b"MSH|1\r\nPID|a\r\n", LineEnd::CrLf, &["MSH|1", "PID|a"]),
        (
            b"MSH|1\nPID|a\nPV1\n",
            LineEnd::Lf,
            &["MSH|1", "PID|a", "PV1"],
        ),
        (
            b"MSH|1\nPID|a\rPV1\r\nZ",
            LineEnd::Lf,
            &["MSH|1", "PID|a", "PV1", "Z"],
        ),
        (b"MSH|1", LineEnd::Cr, &["MSH|1"]),
        (b"MSH|1\r\rPID\r", LineEnd::Cr, &["MSH|1", "", "PID"]),
        (b"MSH|1\r\n\r\nPID", LineEnd::CrLf, &["MSH|1", "", "PID"]),
        (b"MSH|1\rPID\r\n\n", LineEnd::Cr, &["MSH|1", "PID"]),
        (b"MSH|1\n\nPID", LineEnd::Lf, &["MSH|1", "", "PID"]),
    ];
    for (raw, line_end, want) in table {
        let message = Message::parse(raw).unwrap();
        assert_eq!(message.line_end(), *line_end);
        let got: Vec<_> = message
            .segments()
            .map(|s| String::from_utf8_lossy(s.raw()))
            .collect();
        assert_eq!(&got, want);
    }
}

#[test]
fn msh_is_found_behind_what_files_put_before_it() {
    for prefix in ["", "\u{FEFF}", "\r\n", "  \t\n", "\u{FEFF}\r\n "] {
        let raw = format!("{prefix}MSH|^~\\&|A\r");
        let message = Message::parse(raw.as_bytes()).unwrap();
        assert_eq!(message.prefix(), prefix.as_bytes());
        assert_eq!(message.header().sending_application, b"A");
        assert_eq!(message.raw(), raw.as_bytes());
    }
}

#[test]
fn what_is_no_message_says_why() {
    let table: &[(&[u8], ParseError)] = &[
        (b"", ParseError::Empty { bytes: 0 }),
        (b" \r\n", ParseError::Empty { bytes: 3 }),
        (b"MSH", ParseError::MshTooShort { offset: 0 }),
        (b"\rMSH\rPID|1", ParseError::MshTooShort { offset: 1 }),
        (
            b"PID|1",
            ParseError::NoMsh {
                offset: 0,
                bytes: 5,
            },
        ),
        (
            b" msh|^~\\&|",
            ParseError::NoMsh {
                offset: 1,
                bytes: 10,
            },
        ),
        (b"FHS|^~\\&|\rMSH|^~\\&|", ParseError::Batch { offset: 0 }),
        (
            b"MS",
            ParseError::NoMsh {
                offset: 0,
                bytes: 2,
            },
        ),
    ];
    for (raw, want) in table {
        assert_eq!(Message::parse(raw).unwrap_err(), *want);
    }
}

#[test]
fn parts_count_from_one_and_end_where_they_end() {
    let message = Message::parse(ADT).unwrap();
    let pid = message.segment(b"PID", 1).unwrap();
    assert_eq!(pid.name(), b"PID");
    assert!(pid.field(0).is_none());
    assert_eq!(pid.fields().count(), 8);
    assert!(pid.field(9).is_none());
    let id = pid.field(3).unwrap();
    assert_eq!(id.repetitions().count(), 2);
    assert!(id.repetition(0).is_none());
    let first = id.repetition(1).unwrap();
    assert_eq!(first.components().count(), 5);
    let parts: Vec<_> = first
        .component(4)
        .unwrap()
        .subcomponents()
        .map(|s| s.raw())
        .collect();
    assert_eq!(parts, [&b"H"[..], b"1.2", b"ISO"]);
    let msh = message.segment(b"MSH", 1).unwrap();
    let fields: Vec<_> = msh.fields().take(3).map(|f| f.raw()).collect();
    assert_eq!(fields, [&b"|"[..], b"^~\\&", b"LAB"]);
    assert!(message.segment(b"PID", 0).is_none() && message.segment(b"PID", 2).is_none());
}

#[test]
fn nothing_shows_content_in_debug() {
    let message = Message::parse(ADT).unwrap();
    let pid = message.segment(b"PID", 1).unwrap();
    let field = pid.field(3).unwrap();
    let shown = format!(
        "{message:?} {pid:?} {field:?} {:?} {:?}",
        field.repetition(1),
        message.header()
    );
    assert!(
        !shown.contains("77") && !shown.contains("42") && !shown.contains("LAB"),
        "{shown}"
    );
}
