//! Escape sequences of text fields (HL7 v2 chapter 2, "Use of escape sequences
//! in text fields"), both ways. Owns bytes only: character sets are elsewhere.
//!
//! | sequence | text |
//! |---|---|
//! | `\F\` `\S\` `\T\` `\R\` `\E\` | field, component, subcomponent, repetition, escape character |
//! | `\P\` | truncation character, where the message has one (2.7) |
//! | `\Xhh…\` | the bytes with these hexadecimal codes |
//! | `\.br\` | line feed; `\.sp\`, `\.spN\` (up to 99) give N of them, `\.ce\` one |
//! | `\.skN\` | N blanks, up to 99 |
//! | `\H\` `\N\` `\.in…\` `\.ti…\` `\.fi\` `\.nf\` | nothing: highlighting, indents and filling have no plain text |
//! | all else (`\Cxxyy\`, `\Mxxyyzz\`, `\Z…\`, a lone `\`) | stays as it is |

use std::borrow::Cow;

use bytes::BufMut;
use memchr::memchr;
use thiserror::Error;

use crate::delimiters::Delimiters;

/// Text that a message cannot carry because it has no escape character.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "byte {offset} of the text needs an escape sequence, but the message declares no escape character in MSH-2"
)]
pub struct EscapeError {
    /// Offset of the first byte that cannot be written.
    pub offset: usize,
}

/// Text to field bytes: every delimiter of this message and every control
/// character but the tabulator becomes an escape sequence; a line feed becomes
/// `\.br\`. [`unescape`] gives the text back, byte for byte.
///
/// # Errors
/// If something must be escaped and the message has no escape character.
pub fn escape<'t>(text: &'t [u8], delimiters: &Delimiters) -> Result<Cow<'t, [u8]>, EscapeError> {
    let special = |&b: &u8| needs_escape(b, delimiters);
    let Some(offset) = text.iter().position(special) else {
        return Ok(Cow::Borrowed(text));
    };
    if delimiters.escape.is_none() {
        return Err(EscapeError { offset });
    }
    let mut out = Vec::with_capacity(text.len() + 16);
    escape_into(&mut out, text, delimiters);
    Ok(Cow::Owned(out))
}

/// As [`escape`], straight into a buffer. Without an escape character what
/// cannot be written becomes a blank: for the texts of our own ACKs only.
pub(crate) fn escape_into(out: &mut impl BufMut, text: &[u8], delimiters: &Delimiters) {
    for &byte in text {
        match delimiters.escape {
            _ if !needs_escape(byte, delimiters) => out.put_u8(byte),
            None => out.put_u8(b' '),
            Some(escape) => {
                out.put_u8(escape);
                put_name(out, byte, delimiters);
                out.put_u8(escape);
            }
        }
    }
}

fn needs_escape(byte: u8, d: &Delimiters) -> bool {
    let some = Some(byte);
    (byte < 0x20 && byte != b'\t')
        || byte == d.field
        || byte == d.component
        || byte == d.repetition
        || some == d.escape
        || some == d.subcomponent
        || some == d.truncation
}

/// What stands between the escape characters for `byte`.
fn put_name(out: &mut impl BufMut, byte: u8, d: &Delimiters) {
    let some = Some(byte);
    match byte {
        _ if byte == d.field => out.put_u8(b'F'),
        _ if byte == d.component => out.put_u8(b'S'),
        _ if byte == d.repetition => out.put_u8(b'R'),
        _ if some == d.escape => out.put_u8(b'E'),
        _ if some == d.subcomponent => out.put_u8(b'T'),
        _ if some == d.truncation => out.put_u8(b'P'),
        // (A message with `.` for a delimiter would take the command apart.)
        b'\n' if !needs_escape(b'.', d) => out.put_slice(b".br"),
        _ => {
            out.put_u8(b'X');
            out.put_u8(HEX[usize::from(byte >> 4)]);
            out.put_u8(HEX[usize::from(byte & 0xF)]);
        }
    }
}

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// Field bytes to text; sequences nobody knows stay as they are.
pub fn unescape<'t>(raw: &'t [u8], delimiters: &Delimiters) -> Cow<'t, [u8]> {
    let Some(escape) = delimiters.escape else {
        return Cow::Borrowed(raw);
    };
    if memchr(escape, raw).is_none() {
        return Cow::Borrowed(raw);
    }
    let mut out = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(start) = memchr(escape, rest) {
        let (plain, from_escape) = rest.split_at(start);
        out.extend_from_slice(plain);
        let taken = sequence(&mut out, from_escape, escape, delimiters);
        rest = from_escape.get(taken..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    Cow::Owned(out)
}

/// Handles what begins with an escape character: writes its meaning, or itself,
/// and says how many bytes that took (at least one).
fn sequence(out: &mut Vec<u8>, from_escape: &[u8], escape: u8, d: &Delimiters) -> usize {
    let inner = from_escape.get(1..).unwrap_or_default();
    let name = memchr(escape, inner).and_then(|end| inner.get(..end));
    let len = match name {
        Some(name) if decode(out, name, d) => return name.len() + 2,
        // Another's sequence (character sets, local ones): kept with both ends.
        Some(name @ [b'C' | b'M' | b'Z' | b'X' | b'.', ..]) => name.len() + 2,
        // A stray escape character: text, and the next one may open a sequence.
        _ => 1,
    };
    out.extend_from_slice(from_escape.get(..len).unwrap_or_default());
    len
}

/// Writes the meaning of one sequence; `false` if it has none here.
fn decode(out: &mut Vec<u8>, name: &[u8], d: &Delimiters) -> bool {
    match (name, d.escape, d.subcomponent, d.truncation) {
        (b"F", ..) => out.push(d.field),
        (b"S", ..) => out.push(d.component),
        (b"R", ..) => out.push(d.repetition),
        (b"E", Some(escape), ..) => out.push(escape),
        (b"T", _, Some(subcomponent), _) => out.push(subcomponent),
        (b"P", _, _, Some(truncation)) => out.push(truncation),
        (b"H" | b"N", ..) => {}
        ([b'X', hex @ ..], ..) => return decode_hex(out, hex),
        ([b'.', command @ ..], ..) => return decode_format(out, command),
        _ => return false,
    }
    true
}

/// Pairs of hexadecimal digits, at least one pair.
fn decode_hex(out: &mut Vec<u8>, hex: &[u8]) -> bool {
    let valid =
        !hex.is_empty() && hex.len().is_multiple_of(2) && hex.iter().all(u8::is_ascii_hexdigit);
    if valid {
        let digit = |&b: &u8| char::from(b).to_digit(16).unwrap_or(0) as u8;
        out.extend(
            hex.chunks_exact(2)
                .map(|pair| pair.iter().fold(0, |n, b| n << 4 | digit(b))),
        );
    }
    valid
}

/// Formatting commands of the FT data type.
fn decode_format(out: &mut Vec<u8>, command: &[u8]) -> bool {
    let (name, argument) = command.split_at(command.len().min(2));
    let (fill, times) = match name {
        b"br" | b"ce" if argument.is_empty() => (b'\n', Some(1)),
        b"sp" => (
            b'\n',
            if argument.is_empty() {
                Some(1)
            } else {
                count(argument)
            },
        ),
        b"sk" => (
            b' ',
            if argument.is_empty() {
                Some(1)
            } else {
                count(argument)
            },
        ),
        b"fi" | b"nf" if argument.is_empty() => (b' ', Some(0)),
        b"in" | b"ti" => (
            b' ',
            count(argument.strip_prefix(b"-").unwrap_or(argument)).map(|_| 0),
        ),
        _ => (b' ', None),
    };
    match times {
        Some(n) => out.extend(std::iter::repeat_n(fill, n)),
        None => return false,
    }
    true
}

/// One or two digits, with an optional `+`: more would let seven bytes grow
/// without bound.
fn count(digits: &[u8]) -> Option<usize> {
    let digits = digits.strip_prefix(b"+").unwrap_or(digits);
    let short = matches!(digits.len(), 1 | 2) && digits.iter().all(u8::is_ascii_digit);
    short.then(|| digits.iter().fold(0, |n, d| n * 10 + usize::from(d - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_mean_what_the_standard_says() {
        let d = Delimiters {
            truncation: Some(b'#'),
            ..Delimiters::default()
        };
        let table: &[(&str, &str)] = &[
            ("plain", "plain"),
            (r"\F\\S\\T\\R\\E\\P\", r"|^&~\#"),
            (r"a\.br\b", "a\nb"),
            (r"\.sp\\.sp2\\.sp+1\", "\n\n\n\n"),
            (r"a\.sk3\b\.ce\", "a   b\n"),
            (r"\H\loud\N\", "loud"),
            (r"\.in+4\\.ti-2\\.fi\\.nf\x", "x"),
            (r"\X41\\X4243\\X0d\", "ABC\r"),
            // Unknown or broken: kept.
            (r"\X4\ \XZZ\ \X\", r"\X4\ \XZZ\ \X\"),
            (r"\C2842\ \M242A\ \Zabc\", r"\C2842\ \M242A\ \Zabc\"),
            (r"\.zz\ \.sp999\ \.sp-1\", r"\.zz\ \.sp999\ \.sp-1\"),
            (r"C:\temp\file", r"C:\temp\file"),
            (r"50\ml \F\ x", r"50\ml | x"),
            (r"\", r"\"),
            (r"\\", r"\\"),
            (r"\f\", r"\f\"),
        ];
        for (raw, text) in table {
            let got = unescape(raw.as_bytes(), &d);
            assert_eq!(String::from_utf8_lossy(&got), *text, "{raw}");
        }
    }

    #[test]
    fn what_the_message_cannot_say_stays() {
        let d = Delimiters {
            subcomponent: None,
            ..Delimiters::default()
        };
        assert_eq!(&*unescape(br"\T\\P\", &d), br"\T\\P\");
        let none = Delimiters { escape: None, ..d };
        assert_eq!(&*unescape(br"\F\", &none), br"\F\");
        assert_eq!(escape(b"a|b", &none), Err(EscapeError { offset: 1 }));
        assert_eq!(escape(br"a\b", &none).as_deref(), Ok(&br"a\b"[..]));
    }

    #[test]
    fn text_becomes_sequences() {
        let d = Delimiters::default();
        let escaped = escape(b"|^~\\&\r\n\t\x1C#\xFF", &d).unwrap();
        assert_eq!(
            &*escaped,
            b"\\F\\\\S\\\\R\\\\E\\\\T\\\\X0D\\\\.br\\\t\\X1C\\#\xFF"
        );
        assert!(matches!(escape(b"plain", &d), Ok(Cow::Borrowed(_))));
    }
}
