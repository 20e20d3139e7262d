//! Character sets of MSH-18 (HL7 table 0211), applied only when text is asked
//! for. Owns the mapping from HL7's names to encodings and what happens to
//! bytes that are not in the set they claim; never changes a message.
//!
//! Bytes are split into fields before they are decoded, so sets whose later
//! bytes may look like delimiters ([`Charset::hides_delimiters`]) are right
//! only where no such byte occurs; UTF-16 and UTF-32 are not decodable here.

use std::borrow::Cow;

use encoding_rs::{self as enc, Encoding};
use thiserror::Error;

use crate::pieces::Pieces;

/// A character set a message may be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Charset {
    /// MSH-18 is empty or says ASCII. Senders put anything there: UTF-8 where
    /// the bytes are UTF-8, Windows-1252 (a superset of 8859/1) otherwise.
    #[default]
    Unstated,
    /// MSH-18 names this one.
    Named(&'static Encoding),
}

/// MSH-18 names a set this build cannot decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "MSH-18 names a character set that cannot be decoded ({len} bytes long; HL7 table 0211 has the names): bytes are kept, text is a guess"
)]
pub struct CharsetError {
    /// Length of the name; the name itself is message content.
    pub len: usize,
}

impl CharsetError {
    /// Stable name for programs.
    pub fn code(&self) -> &'static str {
        "hl7.charset_unknown"
    }
}

/// Text and how far it can be trusted.
#[derive(Clone, PartialEq, Eq)]
pub struct Decoded<'t> {
    /// The text.
    pub text: Cow<'t, str>,
    /// How it came about.
    pub fidelity: Fidelity,
}

impl std::fmt::Debug for Decoded<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Decoded({} bytes, {:?})", self.text.len(), self.fidelity)
    }
}

/// How far decoded text can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fidelity {
    /// The bytes are valid in the stated set (or ASCII).
    Exact,
    /// The set was not stated, or the bytes are not valid in it and were read
    /// as UTF-8, in which they are valid.
    Guessed,
    /// Some bytes became U+FFFD.
    Lossy,
}

impl Charset {
    /// Reads MSH-18. Its first repetition is the set of the message; when that
    /// is empty or ASCII and a later one is a Japanese set of ISO 2022, escape
    /// codes switch to it within the text.
    ///
    /// # Errors
    /// If the name that counts is not known.
    pub fn from_msh_18(raw: &[u8], repetition: u8) -> Result<Self, CharsetError> {
        let mut names = Pieces::new(raw, Some(repetition));
        let first = Self::from_name(names.next().unwrap_or_default())?;
        if first != Self::Unstated {
            return Ok(first);
        }
        let japanese = |name| Self::from_name(name) == Ok(Self::Named(enc::ISO_2022_JP));
        Ok(if names.any(japanese) {
            Self::Named(enc::ISO_2022_JP)
        } else {
            first
        })
    }

    /// One name of table 0211, or any label of the WHATWG encoding standard
    /// (`windows-1252`, `iso-8859-15`), which senders use as often.
    ///
    /// # Errors
    /// If the name is not known.
    pub fn from_name(name: &[u8]) -> Result<Self, CharsetError> {
        let name = name.trim_ascii();
        let error = CharsetError { len: name.len() };
        let mut upper = [0u8; 32]; // longer than any name; on the stack, for the ACK path asks
        let upper = upper.get_mut(..name.len()).ok_or(error)?;
        upper.copy_from_slice(name);
        upper.make_ascii_uppercase();
        let named = match &*upper {
            b"" | b"ASCII" | b"US-ASCII" | b"ISO IR6" | b"ISO IR 6" => return Ok(Self::Unstated),
            b"UNICODE" | b"UNICODE UTF-8" | b"UTF-8" | b"UTF8" => enc::UTF_8,
            b"ISO IR14" | b"ISO IR87" | b"ISO IR159" | b"ISOIR87" => enc::ISO_2022_JP,
            b"GB 18030-2000" | b"GB18030" => enc::GB18030,
            b"KS X 1001" => enc::EUC_KR,
            b"BIG-5" | b"BIG5" => enc::BIG5,
            [b'8', b'8', b'5', b'9', b'/', part @ ..] => iso_8859(part).ok_or(error)?,
            other => Encoding::for_label_no_replacement(other).ok_or(error)?,
        };
        if named == enc::UTF_16LE || named == enc::UTF_16BE {
            return Err(error);
        }
        Ok(Self::Named(named))
    }

    /// Bytes to text; never fails. See [`Fidelity`].
    pub fn decode<'t>(&self, bytes: &'t [u8]) -> Decoded<'t> {
        let encoding = match self {
            Self::Named(encoding) => *encoding,
            Self::Unstated => enc::UTF_8,
        };
        if let Some(text) = encoding.decode_without_bom_handling_and_without_replacement(bytes) {
            let guessed = *self == Self::Unstated && !bytes.is_ascii();
            let fidelity = if guessed {
                Fidelity::Guessed
            } else {
                Fidelity::Exact
            };
            return Decoded { text, fidelity };
        }
        if *self == Self::Unstated {
            let (text, _) = enc::WINDOWS_1252.decode_without_bom_handling(bytes);
            return Decoded {
                text,
                fidelity: Fidelity::Guessed,
            };
        }
        match std::str::from_utf8(bytes) {
            Ok(text) => Decoded {
                text: Cow::Borrowed(text),
                fidelity: Fidelity::Guessed,
            },
            Err(_) => {
                let (text, _) = encoding.decode_without_bom_handling(bytes);
                Decoded {
                    text,
                    fidelity: Fidelity::Lossy,
                }
            }
        }
    }

    /// Text to bytes of this set; an unstated set takes UTF-8. `None` if the
    /// set lacks one of the characters.
    pub fn encode<'t>(&self, text: &'t str) -> Option<Cow<'t, [u8]>> {
        let Self::Named(encoding) = self else {
            return Some(Cow::Borrowed(text.as_bytes()));
        };
        let (bytes, _, lossy) = encoding.encode(text);
        (!lossy).then_some(bytes)
    }

    /// Whether the later bytes of a character may equal a delimiter, so that a
    /// split by bytes can fall inside a character.
    pub fn hides_delimiters(&self) -> bool {
        let hiding = [
            enc::ISO_2022_JP,
            enc::SHIFT_JIS,
            enc::BIG5,
            enc::GBK,
            enc::GB18030,
        ];
        matches!(self, Self::Named(encoding) if hiding.contains(encoding))
    }
}

/// The parts of ISO 8859, as the superset that the web agreed on.
fn iso_8859(part: &[u8]) -> Option<&'static Encoding> {
    Some(match part {
        b"1" => enc::WINDOWS_1252,
        b"2" => enc::ISO_8859_2,
        b"3" => enc::ISO_8859_3,
        b"4" => enc::ISO_8859_4,
        b"5" => enc::ISO_8859_5,
        b"6" => enc::ISO_8859_6,
        b"7" => enc::ISO_8859_7,
        b"8" => enc::ISO_8859_8,
        b"9" => enc::WINDOWS_1254,
        b"10" => enc::ISO_8859_10,
        b"11" => enc::WINDOWS_874,
        b"13" => enc::ISO_8859_13,
        b"14" => enc::ISO_8859_14,
        b"15" => enc::ISO_8859_15,
        b"16" => enc::ISO_8859_16,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_table_0211_and_of_careless_senders() {
        let table: &[(&[u8], Charset)] = &[
            (b"", Charset::Unstated),
            (b"ASCII", Charset::Unstated),
            (b"8859/1", Charset::Named(enc::WINDOWS_1252)),
            (b"8859/15", Charset::Named(enc::ISO_8859_15)),
            (b"UNICODE UTF-8", Charset::Named(enc::UTF_8)),
            (b"unicode utf-8 ", Charset::Named(enc::UTF_8)),
            (b"UTF-8~UNICODE", Charset::Named(enc::UTF_8)),
            (b"ISO-8859-2", Charset::Named(enc::ISO_8859_2)),
            (b"windows-1252", Charset::Named(enc::WINDOWS_1252)),
            (b"~ISO IR87", Charset::Named(enc::ISO_2022_JP)),
            (b"ASCII~ISO IR87", Charset::Named(enc::ISO_2022_JP)),
            (b"GB 18030-2000", Charset::Named(enc::GB18030)),
        ];
        for (name, want) in table {
            assert_eq!(
                Charset::from_msh_18(name, b'~'),
                Ok(*want),
                "{}",
                name.escape_ascii()
            );
        }
        for unknown in [
            &b"ISO IR 999"[..],
            b"UNICODE UTF-16",
            b"UTF-16",
            b"CNS 11643-1992",
            b"8859/12",
        ] {
            let error = Charset::from_msh_18(unknown, b'~').unwrap_err();
            assert_eq!(error, CharsetError { len: unknown.len() });
        }
    }

    #[test]
    fn decoding_says_how_far_it_can_be_trusted() {
        let latin = Charset::Named(enc::WINDOWS_1252);
        let utf8 = Charset::Named(enc::UTF_8);
        let jis = Charset::Named(enc::ISO_2022_JP);
        let table: &[(Charset, &[u8], &str, Fidelity)] = &[
            (Charset::Unstated, b"plain", "plain", Fidelity::Exact),
            (
                Charset::Unstated,
                "Jürgen".as_bytes(),
                "Jürgen",
                Fidelity::Guessed,
            ),
            (Charset::Unstated, b"J\xFCrgen", "Jürgen", Fidelity::Guessed),
            (latin, b"J\xFCrgen", "Jürgen", Fidelity::Exact),
            (utf8, "Jürgen".as_bytes(), "Jürgen", Fidelity::Exact),
            (utf8, b"J\xFCrgen", "J\u{FFFD}rgen", Fidelity::Lossy),
            (jis, b"\x1B$B;3ED\x1B(B", "山田", Fidelity::Exact),
            (jis, "山田".as_bytes(), "山田", Fidelity::Guessed),
        ];
        for (charset, bytes, text, fidelity) in table {
            let decoded = charset.decode(bytes);
            assert_eq!((&*decoded.text, decoded.fidelity), (*text, *fidelity));
        }
    }

    #[test]
    fn encoding_refuses_what_the_set_lacks() {
        let latin = Charset::Named(enc::WINDOWS_1252);
        assert_eq!(latin.encode("Jürgen").as_deref(), Some(&b"J\xFCrgen"[..]));
        assert_eq!(latin.encode("山"), None);
        assert_eq!(
            Charset::Unstated.encode("ü").as_deref(),
            Some("ü".as_bytes())
        );
    }
}
