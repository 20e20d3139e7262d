//! The ERR segment in its two shapes: one field up to 2.4, many from 2.5 on.
//! Owns table 0357 and how a place is written; when to complain is the caller's.

use bytes::BufMut;

use crate::{delimiters::Delimiters, escape, header::Version, path::Path};

/// One complaint about a message: becomes an ERR segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AckError<'a> {
    /// HL7 table 0357: 100 segment sequence, 101 required field missing, 102
    /// data type, 103 table value not found, 200 unsupported message type, 201
    /// event, 202 processing id, 203 version, 204 unknown key, 205 duplicate
    /// key, 206 record locked, 207 internal error.
    pub code: u16,
    /// How bad it is.
    pub severity: Severity,
    /// Where it is, if one place is to blame.
    pub location: Option<Path>,
    /// For the sender's operator (ERR-8, from 2.5 on). No patient data.
    pub user_message: Option<&'a str>,
    /// For the sender's support (ERR-7, from 2.5 on). No patient data.
    pub diagnostic: Option<&'a str>,
}

impl<'a> AckError<'a> {
    /// An error of this code, with nothing more to say.
    pub const fn new(code: u16) -> Self {
        Self {
            code,
            severity: Severity::Error,
            location: None,
            user_message: None,
            diagnostic: None,
        }
    }

    /// With the place to blame.
    #[must_use]
    pub const fn at(mut self, location: Path) -> Self {
        self.location = Some(location);
        self
    }

    /// With words for the sender's operator.
    #[must_use]
    pub const fn saying(mut self, user_message: &'a str) -> Self {
        self.user_message = Some(user_message);
        self
    }

    pub(super) fn write(
        &self,
        out: &mut impl BufMut,
        d: &Delimiters,
        version: Version,
        utf8: bool,
    ) {
        out.put_slice(b"ERR");
        out.put_u8(d.field);
        if version < Version::new(2, 5) {
            self.write_location_and_code(out, d, version);
        } else {
            self.write_fields(out, d, utf8);
        }
        out.put_u8(b'\r');
    }

    /// ERR-1 up to 2.4: segment, sequence, field, code; the code has parts of
    /// its own from 2.3 on.
    fn write_location_and_code(&self, out: &mut impl BufMut, d: &Delimiters, version: Version) {
        if let Some(path) = self.location {
            out.put_slice(path.segment());
            out.put_u8(d.component);
            put_number(out, path.occurrence().single().unwrap_or(1));
            out.put_u8(d.component);
            if let Some(place) = path.field() {
                put_number(out, place.field as usize);
            }
        } else {
            out.put_bytes(d.component, 2);
        }
        out.put_u8(d.component);
        put_number(out, usize::from(self.code));
        if let (Some(sub), true) = (d.subcomponent, version >= Version::new(2, 3)) {
            out.put_u8(sub);
            out.put_slice(meaning(self.code).as_bytes());
            out.put_u8(sub);
            out.put_slice(b"HL70357");
        }
    }

    /// ERR-2 to ERR-8 from 2.5 on.
    fn write_fields(&self, out: &mut impl BufMut, d: &Delimiters, utf8: bool) {
        out.put_u8(d.field);
        self.write_location(out, d);
        out.put_u8(d.field);
        put_number(out, usize::from(self.code));
        out.put_u8(d.component);
        out.put_slice(meaning(self.code).as_bytes());
        out.put_u8(d.component);
        out.put_slice(b"HL70357");
        out.put_u8(d.field);
        out.put_u8(self.severity.letter());
        if self.diagnostic.is_none() && self.user_message.is_none() {
            return;
        }
        out.put_bytes(d.field, 3);
        put_text(out, self.diagnostic.unwrap_or_default(), d, utf8);
        if let Some(text) = self.user_message {
            out.put_u8(d.field);
            put_text(out, text, d, utf8);
        }
    }

    /// ERL: segment, sequence, field, repetition, component, subcomponent.
    fn write_location(&self, out: &mut impl BufMut, d: &Delimiters) {
        let Some(path) = self.location else { return };
        out.put_slice(path.segment());
        out.put_u8(d.component);
        put_number(out, path.occurrence().single().unwrap_or(1));
        let Some(place) = path.field() else { return };
        out.put_u8(d.component);
        put_number(out, place.field as usize);
        out.put_u8(d.component);
        put_number(out, place.repetition.single().unwrap_or(1));
        for n in [place.component, place.subcomponent].into_iter().flatten() {
            out.put_u8(d.component);
            put_number(out, n as usize);
        }
    }
}

/// ERR-4 (HL7 table 0516).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Severity {
    /// E: the message was not processed.
    Error,
    /// F: not processed, and the application or system failed.
    Fatal,
    /// I: processed, with something to say.
    Information,
    /// W: processed, with a doubt.
    Warning,
}

impl Severity {
    /// As written in ERR-4.
    pub const fn letter(self) -> u8 {
        match self {
            Self::Error => b'E',
            Self::Fatal => b'F',
            Self::Information => b'I',
            Self::Warning => b'W',
        }
    }
}

/// HL7 table 0357, message error condition codes.
fn meaning(code: u16) -> &'static str {
    match code {
        0 => "Message accepted",
        100 => "Segment sequence error",
        101 => "Required field missing",
        102 => "Data type error",
        103 => "Table value not found",
        200 => "Unsupported message type",
        201 => "Unsupported event code",
        202 => "Unsupported processing id",
        203 => "Unsupported version id",
        204 => "Unknown key identifier",
        205 => "Duplicate key identifier",
        206 => "Application record locked",
        _ => "Application internal error",
    }
}

/// A number in decimal, without allocation.
fn put_number(out: &mut impl BufMut, n: usize) {
    if n >= 10 {
        put_number(out, n / 10);
    }
    out.put_u8(b'0' + (n % 10) as u8);
}

/// Our own words into a message of any character set: beyond ASCII only where
/// the message says UTF-8, `?` elsewhere.
pub(super) fn put_text(out: &mut impl BufMut, text: &str, d: &Delimiters, utf8: bool) {
    let mut buffer = [0u8; 4];
    for c in text.chars() {
        let c = if utf8 || c.is_ascii() { c } else { '?' };
        escape::escape_into(out, c.encode_utf8(&mut buffer).as_bytes(), d);
    }
}
