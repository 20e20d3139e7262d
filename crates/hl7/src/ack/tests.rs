//! Replies as data: message and request in, bytes out.

use super::*;
use crate::{Message, Path};

const TIME: &str = "20260102030405";

fn reply(message: &[u8], code: AckCode) -> String {
    let message = Message::parse(message).unwrap();
    written(AckRequest::to(&message, code, TIME, "R1"))
}

fn written(request: AckRequest<'_>) -> String {
    let mut out = Vec::new();
    request.write(&mut out);
    String::from_utf8(out).unwrap()
}

fn adt(version: &str) -> Vec<u8> {
    format!("MSH|^~\\&|LAB^1.2^ISO|HOSP|EPR|TRUST^9|202601||ADT^A01^ADT_A01|C\\T\\7|T|{version}|||AL|NE\rPID|1\r")
        .into_bytes()
}

#[test]
fn msh_9_is_right_for_each_version() {
    let table = [
        ("2.1", "ACK"),
        ("2.2", "ACK"),
        ("2.3", "ACK^A01"),
        ("2.3.1", "ACK^A01"),
        ("2.4", "ACK^A01^ACK"),
        ("2.5", "ACK^A01^ACK"),
        ("2.5.1^GBR", "ACK^A01^ACK"),
        ("2.8", "ACK^A01^ACK"),
        ("2.10", "ACK^A01^ACK"),
        ("P", "ACK^A01^ACK"),
    ];
    for (version, kind) in table {
        let want = format!(
            "MSH|^~\\&|EPR|TRUST^9|LAB^1.2^ISO|HOSP|{TIME}||{kind}|R1|T|{version}\rMSA|AA|C\\T\\7\r"
        );
        assert_eq!(reply(&adt(version), AckCode::AA), want);
    }
}

#[test]
fn a_message_without_event_or_version_gets_a_reply_all_understand() {
    let got = reply(b"MSH|^~\\&|A|B|C|D|||ADT|9\r", AckCode::AE);
    assert_eq!(
        got,
        format!("MSH|^~\\&|C|D|A|B|{TIME}||ACK|R1|P|2.4\rMSA|AE|9\r")
    );
}

#[test]
fn the_reply_speaks_the_delimiters_and_character_set_of_the_message() {
    let message = b"MSH#!@%*#A#B#C#D#1##ADT!A01#9#P#2.5######UNICODE UTF-8\r";
    let message = Message::parse(message).unwrap();
    let got = written(AckRequest::to(&message, AckCode::AE, TIME, "R1").text("50 % of #3: größer"));
    let want = format!(
        "MSH#!@%*#C#D#A#B#{TIME}##ACK!A01!ACK#R1#P#2.5######UNICODE UTF-8\r\
         MSA#AE#9#50 %E% of %F%3: größer\r"
    );
    assert_eq!(got, want);
}

#[test]
fn text_stands_where_the_version_has_it() {
    let table = [
        ("2.3", "MSA|AE|C\\T\\7|no room\r"),
        ("2.6", "MSA|AE|C\\T\\7|no room\r"),
        (
            "2.7",
            "MSA|AE|C\\T\\7\rERR|||207^Application internal error^HL70357|E||||no room\r",
        ),
    ];
    for (version, tail) in table {
        let raw = adt(version);
        let message = Message::parse(&raw).unwrap();
        let got = written(AckRequest::to(&message, AckCode::AE, TIME, "R1").text("no room"));
        assert!(got.ends_with(tail), "{version}: {got}");
    }
}

#[test]
fn err_has_the_shape_of_the_version() {
    let table = [
        ("2.2", "ERR|PID^1^3^101\r"),
        ("2.4", "ERR|PID^1^3^101&Required field missing&HL70357\r"),
        (
            "2.5",
            "ERR||PID^1^3^1^4^2|101^Required field missing^HL70357|E||||no id\r",
        ),
        (
            "2.8",
            "ERR||PID^1^3^1^4^2|101^Required field missing^HL70357|E||||no id\r",
        ),
    ];
    let error = AckError::new(101)
        .at(Path::parse("PID-3.4.2").unwrap())
        .saying("no id");
    for (version, tail) in table {
        let raw = adt(version);
        let message = Message::parse(&raw).unwrap();
        let got = written(AckRequest::to(&message, AckCode::AE, TIME, "R1").error(error));
        assert!(got.ends_with(tail), "{version}: {got}");
    }
}

#[test]
fn garbage_gets_a_whole_reply_too() {
    let got = written(AckRequest::to_garbage(AckCode::AR, TIME, "R1").from_local("HIE", "TRUST"));
    assert_eq!(
        got,
        format!("MSH|^~\\&|HIE|TRUST|||{TIME}||ACK|R1|P|2.4\rMSA|AR|\r")
    );
}

#[test]
fn reading_tells_no_msa_from_an_unknown_code() {
    let read_code = |msa: &str| {
        let raw = format!("MSH|^~\\&|||||||ACK|1|P|2.4\r{msa}");
        read(raw.as_bytes()).map(|ack| (ack.raw_code.to_vec(), ack.code))
    };
    assert_eq!(
        read_code("MSA|AA|7"),
        Ok((b"AA".to_vec(), Some(AckCode::AA)))
    );
    assert_eq!(
        read_code("MSA| CR |7"),
        Ok((b" CR ".to_vec(), Some(AckCode::CR)))
    );
    assert_eq!(read_code("MSA|OK|7"), Ok((b"OK".to_vec(), None)));
    assert_eq!(read_code("MSA"), Ok((b"".to_vec(), None)));
    assert_eq!(read_code("").unwrap_err().code(), "hl7.no_msa");
    assert_eq!(read(b"\x06").unwrap_err().code(), "hl7.no_msh");
    assert_eq!(read(b"").unwrap_err().code(), "hl7.empty");
}

#[test]
fn what_is_written_reads_back() {
    for version in ["2.1", "2.3", "2.4", "2.5", "2.7", "2.8"] {
        for code in AckCode::ALL {
            let raw = adt(version);
            let message = Message::parse(&raw).unwrap();
            let got = written(AckRequest::to(&message, code, TIME, "R1").text("why"));
            let ack = read(got.as_bytes()).unwrap();
            assert_eq!(
                (ack.code, ack.control_id, ack.text),
                (Some(code), &b"C\\T\\7"[..], &b"why"[..])
            );
        }
    }
}
