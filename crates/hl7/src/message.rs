//! The message: raw bytes, its delimiters and its line end, and the questions
//! one asks of it. Owns finding MSH and the errors when there is none; walking
//! is in `scan`, splitting in `parts`, path look-up in `resolve`.

use std::borrow::Cow;

use memchr::memchr;
use thiserror::Error;

use crate::{
    charset::{Charset, CharsetError},
    delimiters::Delimiters,
    escape,
    header::{Header, MessageType},
    parts::Segment,
    path::Path,
    resolve::{self, Matches},
    scan::{LineEnd, Segments},
};

/// Why bytes are not a message. Positions and sizes only, never content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ParseError {
    /// No bytes, or nothing but blanks and line ends.
    #[error("the input is empty: {bytes} bytes, none of them content")]
    Empty {
        /// Size of the input.
        bytes: usize,
    },
    /// The first content is not `MSH`.
    #[error(
        "no MSH segment at byte {offset} of {bytes}: an HL7 v2 message begins with MSH and its field separator"
    )]
    NoMsh {
        /// Where MSH was expected.
        offset: usize,
        /// Size of the input.
        bytes: usize,
    },
    /// The input is a batch or a file of messages (FHS, BHS), not one message.
    #[error("a batch begins at byte {offset}, not a message: split it into its messages first")]
    Batch {
        /// Where FHS or BHS stands.
        offset: usize,
    },
    /// `MSH` is there, its field separator (MSH-1) is not.
    #[error("the MSH segment at byte {offset} ends before its field separator")]
    MshTooShort {
        /// Where MSH stands.
        offset: usize,
    },
}

impl ParseError {
    /// Stable name for programs, rules and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Empty { .. } => "hl7.empty",
            Self::NoMsh { .. } => "hl7.no_msh",
            Self::Batch { .. } => "hl7.batch",
            Self::MshTooShort { .. } => "hl7.msh_too_short",
        }
    }
}

/// One HL7 v2 message over borrowed bytes. Cheap to make and to copy: parsing
/// finds MSH, its delimiters and its end; everything else is found on demand.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    raw: &'a [u8],
    start: usize,
    msh_len: usize,
    line_end: LineEnd,
    delimiters: Delimiters,
}

impl<'a> Message<'a> {
    /// Finds MSH behind an optional UTF-8 byte order mark, blanks and line
    /// ends, and reads MSH-1 and MSH-2.
    ///
    /// # Errors
    /// Only when there is no usable MSH; whatever follows it is accepted.
    pub fn parse(raw: &'a [u8]) -> Result<Self, ParseError> {
        let start = content_start(raw);
        let body = raw.get(start..).unwrap_or_default();
        let field = match *body {
            [b'M', b'S', b'H', field, ..] if is_separator(field) => field,
            [b'M', b'S', b'H'] | [b'M', b'S', b'H', b'\r' | b'\n', ..] => {
                return Err(ParseError::MshTooShort { offset: start });
            }
            [b'F' | b'B', b'H', b'S', ..] => return Err(ParseError::Batch { offset: start }),
            [] => return Err(ParseError::Empty { bytes: raw.len() }),
            _ => {
                return Err(ParseError::NoMsh {
                    offset: start,
                    bytes: raw.len(),
                });
            }
        };
        let (msh_len, line_end) = LineEnd::first(body);
        let behind = body.get(4..msh_len).unwrap_or_default();
        let end = memchr(field, behind).unwrap_or(behind.len());
        let delimiters = Delimiters::read(field, behind.get(..end).unwrap_or_default());
        Ok(Self {
            raw,
            start,
            msh_len,
            line_end,
            delimiters,
        })
    }

    /// All bytes as they were given to [`Message::parse`].
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// What stood before MSH: a byte order mark, blanks, line ends; mostly
    /// nothing. `prefix()` and all segments with their terminators are `raw()`.
    pub fn prefix(&self) -> &'a [u8] {
        self.raw.get(..self.start).unwrap_or_default()
    }

    /// The delimiters of MSH-1 and MSH-2.
    pub fn delimiters(&self) -> Delimiters {
        self.delimiters
    }

    /// What ends the segments of this message.
    pub fn line_end(&self) -> LineEnd {
        self.line_end
    }

    /// All segments in order, MSH first, empty ones included.
    pub fn segments(&self) -> Segments<'a> {
        Segments::new(
            self.raw.get(self.start..).unwrap_or_default(),
            self.line_end,
            self.delimiters,
        )
    }

    /// The `nth` (from 1) segment with this name.
    pub fn segment(&self, name: &[u8], nth: usize) -> Option<Segment<'a>> {
        self.segments().find_nth(name, nth)
    }

    /// What MSH says, read in one pass.
    pub fn header(&self) -> Header<'a> {
        let msh = self
            .raw
            .get(self.start..)
            .unwrap_or_default()
            .get(..self.msh_len);
        Header::read(msh.unwrap_or_default(), self.delimiters)
    }

    /// MSH-9 by its parts: `ADT`, `A01`, `ADT_A01`.
    pub fn type_name(&self) -> MessageType<'a> {
        self.header().message_type()
    }

    /// Raw bytes of the first match, escapes and all.
    ///
    /// `None` if the message has no such place, `Some(b"")` if it has it and it
    /// is empty: in `PID|1||A^|` component `PID-3.2` is there and empty,
    /// `PID-3.3` and `PID-9` are absent. HL7's explicit null comes as `""`,
    /// two quotes. Without an index the first segment and the first repetition
    /// are meant; `PID` alone is the whole segment without its terminator.
    #[inline]
    pub fn get(&self, path: &Path) -> Option<&'a [u8]> {
        resolve::first(self.segments(), path)
    }

    /// Raw bytes of every match of a path with `[*]`, in message order; places
    /// that are absent are passed over, empty ones are given.
    pub fn get_all(&self, path: &Path) -> Matches<'a> {
        Matches::new(self.segments(), path)
    }

    /// The first match as text: unescaped, then decoded by MSH-18. Bytes that
    /// are not in that character set (or in a set nobody knows) still come as
    /// some text; [`Message::charset`] tells whether the set is known.
    pub fn text(&self, path: &Path) -> Option<Cow<'a, str>> {
        self.get(path).map(|raw| self.decode(raw))
    }

    /// Any raw value in the escapes and character set of this message as text, as [`Message::text`] does.
    pub fn decode<'t>(&self, raw: &'t [u8]) -> Cow<'t, str> {
        let charset = self.charset().unwrap_or_default();
        match escape::unescape(raw, &self.delimiters) {
            Cow::Borrowed(bytes) => charset.decode(bytes).text,
            Cow::Owned(bytes) => Cow::Owned(charset.decode(&bytes).text.into_owned()),
        }
    }

    /// The character set of MSH-18.
    ///
    /// # Errors
    /// If MSH-18 names a set this build cannot decode.
    pub fn charset(&self) -> Result<Charset, CharsetError> {
        Charset::from_msh_18(self.header().charset, self.delimiters.repetition)
    }
}

impl std::fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Message({} bytes)", self.raw.len())
    }
}

/// Whether a byte can be MSH-1. A letter, digit or blank there means a longer
/// word than MSH; bytes above ASCII are half a character.
fn is_separator(byte: u8) -> bool {
    byte < 0x7F && !byte.is_ascii_alphanumeric() && !matches!(byte, b' ' | b'\r' | b'\n')
}

/// Where content begins behind a byte order mark, blanks and line ends.
#[inline]
fn content_start(raw: &[u8]) -> usize {
    if raw.first() == Some(&b'M') {
        return 0;
    }
    let bom = if raw.starts_with(b"\xEF\xBB\xBF") {
        3
    } else {
        0
    };
    let blanks = raw
        .iter()
        .skip(bom)
        .take_while(|b| b.is_ascii_whitespace())
        .count();
    bom + blanks
}

#[cfg(test)]
mod tests;
