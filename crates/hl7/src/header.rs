//! What MSH says, in one pass: addresses, type, identifiers, version and
//! acknowledgement wishes. Owns the meaning of MSH fields; decides nothing.

use std::fmt;

use crate::{
    delimiters::Delimiters,
    pieces::{Pieces, nth_piece},
};

/// The fields of MSH that an engine routes and answers by (HL7 v2 chapter 2,
/// MSH). Raw bytes with all components; an absent field is empty.
#[derive(Clone, Copy)]
pub struct Header<'a> {
    /// MSH-3.
    pub sending_application: &'a [u8],
    /// MSH-4.
    pub sending_facility: &'a [u8],
    /// MSH-5.
    pub receiving_application: &'a [u8],
    /// MSH-6.
    pub receiving_facility: &'a [u8],
    /// MSH-7.
    pub date_time: &'a [u8],
    /// MSH-9 whole: `ADT^A01^ADT_A01`.
    pub message_type: &'a [u8],
    /// MSH-9.1: `ADT`.
    pub message_code: &'a [u8],
    /// MSH-9.2: `A01`.
    pub trigger_event: &'a [u8],
    /// MSH-9.3: `ADT_A01`.
    pub structure: &'a [u8],
    /// MSH-10.
    pub control_id: &'a [u8],
    /// MSH-11.
    pub processing_id: &'a [u8],
    /// MSH-12 whole; [`Header::version_number`] reads its first component.
    pub version: &'a [u8],
    /// MSH-15: AL, NE, ER, SU or empty.
    pub accept_ack: &'a [u8],
    /// MSH-16: AL, NE, ER, SU or empty.
    pub application_ack: &'a [u8],
    /// MSH-18 with its repetitions.
    pub charset: &'a [u8],
    component: u8,
}

impl<'a> Header<'a> {
    /// Reads the MSH segment (without its terminator).
    pub(crate) fn read(msh: &'a [u8], delimiters: Delimiters) -> Self {
        let mut fields = [&[] as &[u8]; 19];
        let pieces = Pieces::new(msh.get(4..).unwrap_or_default(), Some(delimiters.field));
        // Slot n is MSH-n; the first piece behind the separator is MSH-2.
        for (slot, piece) in fields.iter_mut().skip(2).zip(pieces) {
            *slot = piece;
        }
        let [
            _,
            _,
            _,
            sending_application,
            sending_facility,
            receiving_application,
            receiving_facility,
            date_time,
            _,
            message_type,
            control_id,
            processing_id,
            version,
            _,
            _,
            accept_ack,
            application_ack,
            _,
            charset,
        ] = fields;
        let mut parts = Pieces::new(message_type, Some(delimiters.component));
        let mut part = || parts.next().unwrap_or_default();
        let (message_code, trigger_event, structure) = (part(), part(), part());
        Self {
            sending_application,
            sending_facility,
            receiving_application,
            receiving_facility,
            date_time,
            message_type,
            message_code,
            trigger_event,
            structure,
            control_id,
            processing_id,
            version,
            accept_ack,
            application_ack,
            charset,
            component: delimiters.component,
        }
    }

    /// MSH-9 by its parts.
    pub fn message_type(&self) -> MessageType<'a> {
        MessageType {
            code: self.message_code,
            event: self.trigger_event,
            structure: self.structure,
        }
    }

    /// MSH-12.1 as a number one can compare; `None` if it is not one.
    pub fn version_number(&self) -> Option<Version> {
        nth_piece(self.version, Some(self.component), 1).and_then(Version::parse)
    }
}

impl fmt::Debug for Header<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Header({})", self.message_type())
    }
}

/// MSH-9 by its parts; `Display` gives `ADT_A01`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct MessageType<'a> {
    /// MSH-9.1, the message code: `ADT`.
    pub code: &'a [u8],
    /// MSH-9.2, the trigger event: `A04`.
    pub event: &'a [u8],
    /// MSH-9.3, the structure: `ADT_A01`; empty before 2.3.1 and often after.
    pub structure: &'a [u8],
}

impl fmt::Display for MessageType<'_> {
    /// `code_event`, or the code alone. Only letters, digits and `_` pass: a
    /// type is a name, and what a hostile sender puts there must not reach a
    /// log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_name(f, self.code)?;
        if !self.event.is_empty() {
            f.write_str("_")?;
            write_name(f, self.event)?;
        }
        Ok(())
    }
}

impl fmt::Debug for MessageType<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// At most 20 bytes of a name, `?` for what does not belong in one.
fn write_name(f: &mut fmt::Formatter<'_>, name: &[u8]) -> fmt::Result {
    use fmt::Write as _;
    name.iter().take(20).try_for_each(|&b| {
        f.write_char(if b.is_ascii_alphanumeric() || b == b'_' {
            char::from(b)
        } else {
            '?'
        })
    })
}

/// An HL7 version that compares as numbers do: 2.3 < 2.3.1 < 2.10.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// 2 in 2.5.1.
    pub major: u8,
    /// 5 in 2.5.1.
    pub minor: u8,
    /// 1 in 2.5.1; 0 if not given.
    pub patch: u8,
}

impl Version {
    /// A version without patch.
    pub const fn new(major: u8, minor: u8) -> Self {
        Self {
            major,
            minor,
            patch: 0,
        }
    }

    /// Reads `2.5` or `2.5.1`, blanks around it ignored; `None` for all else.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes.trim_ascii()).ok()?;
        let mut numbers = text.split('.');
        let major = numbers.next()?.parse().ok()?;
        let minor = numbers.next()?.parse().ok()?;
        let patch = numbers.next().map_or(Some(0), |n| n.parse().ok())?;
        numbers.next().is_none().then_some(Self {
            major,
            minor,
            patch,
        })
    }

    /// Whether the enhanced mode with CA, CE and CR exists (2.3 and later, as
    /// IRIS draws the line for its `UseAckCommitCodes`).
    pub fn has_commit_codes(self) -> bool {
        self >= Self::new(2, 3)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)?;
        if self.patch == 0 {
            Ok(())
        } else {
            write!(f, ".{}", self.patch)
        }
    }
}
