//! `HL7FileService`: takes files of HL7 v2 messages from a folder.
//!
//! Owns how a file is taken apart into messages. Where the file comes from and goes to is the file
//! adapter's ([`file::inbound`](crate::file::inbound)); a message's bytes are never changed here.
//!
//! * A file with one message is passed on as it is, to the last line end, with a byte order mark
//!   or blanks before MSH if it has them.
//! * In a file with several, each begins at its `MSH` at the start of a line and reaches to the
//!   next; what stands before the first belongs to the first.
//! * A file that begins with FHS or BHS is one document and is passed on whole, so that nothing of
//!   the batch's header and trailer is lost.
//! * What does not parse as HL7 v2 (no MSH, an MSH without a separator) is kept with its bytes, in
//!   state Error or for the `BadMessageHandler`.

use bytes::Bytes;
use hie_engine::{
    HostError,
    class::{Build, Class},
    config::{ItemConfig, ProductionConfig},
    host::BusinessService,
    setting::{SettingDef, SettingType},
};
use hie_hl7::{LineEnd, Message, ParseError};
use hie_store::Content;

use crate::file::{
    inbound, names::check_file_spec, service::TARGETS, taking::Part, watcher::FileWatcher,
};

/// `HL7FileService`.
pub static CLASS: Class = Class {
    name: "HL7FileService",
    aliases: &[
        "EnsLib.HL7.Service.FileService",
        "li.hosts.hl7.HL7FileService",
        "Engine.li.hosts.hl7.HL7FileService",
    ],
    summary: "Takes files of one or more HL7 v2 messages from a folder and sends each message on unchanged.",
    settings: &[HOST, ADAPTER, inbound::SETTINGS],
    build: Build::Service(make),
    check: inbound::check_with_handler,
};

const HOST: &[SettingDef] = &[
    TARGETS,
    SettingDef::host(
        "BadMessageHandler",
        SettingType::Items,
        "",
        "The item that gets what is not an HL7 v2 message. Not given: it is kept in state Error.",
    )
    .optional(),
];

const ADAPTER: &[SettingDef] = &[SettingDef::adapter(
    "FileSpec",
    SettingType::Checked(check_file_spec),
    "*.hl7;*.HL7",
    inbound::FILE_SPEC_DOC,
)
.aliases(&["FileNamePattern"])];

fn make(
    item: &ItemConfig,
    production: &ProductionConfig,
) -> Result<Box<dyn BusinessService>, HostError> {
    Ok(Box::new(FileWatcher::new(
        item,
        production,
        Content::Hl7v2,
        split,
    )?))
}

/// Takes a file apart into its messages; joined, they are the file.
fn split(file: &Bytes) -> Vec<Part> {
    let first = match Message::parse(file) {
        Ok(first) => first,
        Err(ParseError::Batch { .. }) => {
            return vec![Part {
                body: file.clone(),
                bad: None,
            }];
        }
        Err(error) => return split_bad(file, &error),
    };
    let begin = first.prefix().len();
    let mut parts = Vec::new();
    let mut rest = file.clone();
    while let Some(next) = next_message(&rest, if parts.is_empty() { begin } else { 0 }) {
        let body = rest.split_to(next);
        parts.push(part(body));
    }
    parts.push(part(rest));
    parts
}

fn part(body: Bytes) -> Part {
    let bad = Message::parse(&body).err().map(|error| error.to_string());
    Part { body, bad }
}

/// A file that does not begin with a message: what stands before its first one is bad, the
/// messages behind it are not.
fn split_bad(file: &Bytes, error: &ParseError) -> Vec<Part> {
    let mut rest = file.clone();
    let bad = |body| {
        vec![Part {
            body,
            bad: Some(error.to_string()),
        }]
    };
    match next_message(file, 0) {
        None => bad(rest),
        Some(next) => {
            let mut parts = bad(rest.split_to(next));
            parts.extend(split(&rest));
            parts
        }
    }
}

/// Where the next message begins behind the one whose MSH stands at `begin`.
///
/// An MSH behind the line end of this message always begins one. Behind the other line end (LF in
/// a message of CRs, where it may be text of a field) it does only if it looks like one, with
/// encoding characters: writers that put a bare LF between messages are common, such text is not.
fn next_message(bytes: &[u8], begin: usize) -> Option<usize> {
    let line_end = Message::parse(bytes).map_or(LineEnd::Lf, |message| message.line_end());
    let mut at = begin;
    loop {
        let line = bytes.get(at..)?;
        let end = at + memchr::memchr2(b'\r', b'\n', line)?;
        let certain = line_end == LineEnd::Lf
            || bytes.get(end) == Some(&b'\r')
            || bytes.get(end.wrapping_sub(1)) == Some(&b'\r');
        at = end + 1;
        if bytes
            .get(at..)
            .is_some_and(|line| begins_message(line, certain))
        {
            return Some(at);
        }
    }
}

/// Whether a line is an MSH segment. One that is cut off behind `MSH` is too: it is no part of the
/// message before it.
fn begins_message(line: &[u8], certain: bool) -> bool {
    let Some(behind) = line.strip_prefix(b"MSH") else {
        return false;
    };
    let mark = |byte: &u8| byte.is_ascii_punctuation();
    match behind {
        [separator, first, second, ..] if !certain => {
            [separator, first, second].into_iter().all(mark)
                && first != second
                && first != separator
        }
        [] | [b'\r' | b'\n', ..] => certain,
        [separator, ..] => certain && !separator.is_ascii_alphanumeric(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "MSH|^~\\&|A|||||ADT^A01|1|P|2.5\rPID|1||77\r";
    const B: &str = "MSH|^~\\&|B|||||ADT^A02|2|P|2.5\rPID|1||78\r";

    fn bodies(file: &str) -> Vec<(String, bool)> {
        let file = Bytes::copy_from_slice(file.as_bytes());
        let parts = split(&file);
        let joined: Vec<u8> = parts.iter().flat_map(|part| part.body.to_vec()).collect();
        assert_eq!(joined, file, "joined, the parts are the file");
        parts
            .iter()
            .map(|part| {
                (
                    String::from_utf8_lossy(&part.body).into_owned(),
                    part.bad.is_none(),
                )
            })
            .collect()
    }

    fn good(parts: &[&str]) -> Vec<(String, bool)> {
        parts
            .iter()
            .map(|part| ((*part).to_owned(), true))
            .collect()
    }

    #[test]
    fn a_file_with_one_message_is_that_message_to_the_byte() {
        for file in [
            A.to_owned(),
            A.trim_end().to_owned(),
            format!("\u{FEFF}{A}"),
            format!("\r\n  {A}\r\n\r\n"),
            A.replace('\r', "\n"),
            A.replace('\r', "\r\n"),
            A.replace('|', "#"),
        ] {
            assert_eq!(bodies(&file), good(&[&file]), "{file:?}");
        }
    }

    #[test]
    fn several_messages_part_at_their_msh() {
        for between in ["", "\n", "\r", "\r\n", "\n\n"] {
            let first = format!("{A}{between}");
            assert_eq!(
                bodies(&format!("{first}{B}")),
                good(&[&first, B]),
                "{between:?}"
            );
        }
        let (a, b) = (A.replace('\r', "\n"), B.replace('\r', "\n"));
        assert_eq!(bodies(&format!("{a}{b}{a}")), good(&[&a, &b, &a]));
        let crlf = A.replace('\r', "\r\n");
        assert_eq!(
            bodies(&format!("\u{FEFF}{crlf}{crlf}")),
            good(&[&format!("\u{FEFF}{crlf}"), &crlf])
        );
    }

    #[test]
    fn messages_that_lost_their_last_cr_part_at_a_bare_line_feed() {
        let first = format!("{}\n", A.trim_end());
        assert_eq!(bodies(&format!("{first}{B}")), good(&[&first, B]));
    }

    #[test]
    fn messages_of_different_separators_may_share_a_file() {
        let other = B.replace('|', "#");
        assert_eq!(bodies(&format!("{A}{other}{A}")), good(&[A, &other, A]));
    }

    #[test]
    fn msh_in_the_text_of_a_field_begins_no_message() {
        for text in [
            "NTE|1||see\nMSH is missing\r",
            "NTE|1||see\nMSH|nothing\r",
            "MSHX|1\r",
            "NTE|MSH|^~\\&|\r",
        ] {
            let file = format!("{A}{text}");
            assert_eq!(bodies(&file), good(&[&file]), "{text:?}");
        }
    }

    #[test]
    fn a_batch_stays_whole() {
        let file = format!("FHS|^~\\&\rBHS|^~\\&\r{A}{B}BTS|2\rFTS|1\r");
        assert_eq!(bodies(&file), good(&[&file]));
    }

    #[test]
    fn what_is_no_message_is_kept_and_harms_no_other() {
        let file = format!("GARBAGE|1\r{A}MSH\rPID|1\r{B}");
        let expected = [
            ("GARBAGE|1\r", false),
            (A, true),
            ("MSH\rPID|1\r", false),
            (B, true),
        ];
        let expected: Vec<(String, bool)> = expected
            .iter()
            .map(|(body, good)| ((*body).into(), *good))
            .collect();
        assert_eq!(bodies(&file), expected);
        for file in ["", "\r\n", "no message at all", "MSH"] {
            assert_eq!(bodies(file), [(file.to_owned(), false)]);
        }
    }

    #[test]
    fn the_reason_shows_no_content() {
        let file = Bytes::from_static(b"SECRET NAME\r");
        let reason = split(&file).remove(0).bad.unwrap();
        assert!(
            !reason.contains("SECRET") && reason.contains("MSH"),
            "{reason}"
        );
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_in_a_file_its_parts_are_the_file(
            pieces in proptest::collection::vec(
                proptest::prop_oneof![
                    proptest::strategy::Just(&b"MSH|^~\\&|A|B"[..]),
                    proptest::strategy::Just(&b"MSH"[..]),
                    proptest::strategy::Just(&b"FHS|"[..]),
                    proptest::strategy::Just(&b"\r"[..]),
                    proptest::strategy::Just(&b"\n"[..]),
                    proptest::strategy::Just(&b"|x"[..]),
                    proptest::strategy::Just(&b"\xFF\x00"[..]),
                    proptest::strategy::Just(&b"\xEF\xBB\xBF "[..]),
                ],
                0..40,
            ),
        ) {
            let file = Bytes::from(pieces.concat());
            let parts = split(&file);
            let joined: Vec<u8> = parts.iter().flat_map(|part| part.body.to_vec()).collect();
            proptest::prop_assert_eq!(&joined[..], &file[..]);
            proptest::prop_assert_eq!(&split(&file), &parts);
            let good = parts.iter().filter(|part| part.bad.is_none());
            for part in good {
                let begins = Message::parse(&part.body);
                let whole = begins.is_ok() || matches!(begins, Err(ParseError::Batch { .. }));
                proptest::prop_assert!(whole);
            }
        }
    }
}
