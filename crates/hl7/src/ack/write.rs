//! Writing a reply: MSH turned round, MSA, ERR where wanted. Owns the rules of
//! each version; reads no clock and makes no identifiers: both are given.

use bytes::BufMut;

use super::{
    AckCode,
    error::{AckError, Severity, put_text},
};
use crate::{
    charset::Charset, delimiters::Delimiters, header::Header, header::Version, message::Message,
};

/// Version assumed where MSH-12 is empty or no version: understood by all.
const FALLBACK_VERSION: Version = Version::new(2, 4);

/// What to answer. Make one with [`AckRequest::to`], add what is wanted, write
/// it with [`AckRequest::write`].
///
/// * MSH-1 and MSH-2 are the message's own; MSH-3/4 and MSH-5/6 change places
///   with all their components; MSH-11, MSH-12 and MSH-18 are copied.
/// * MSH-9 is `ACK` up to 2.2, `ACK^A01` for 2.3, `ACK^A01^ACK` from 2.4 on;
///   without a trigger event `ACK`.
/// * MSA-1 is the code, MSA-2 the message's MSH-10 as it stands.
/// * Text stands in MSA-3 up to 2.6; 2.7 withdrew that field, so there it
///   becomes ERR-8.
/// * ERR has one field up to 2.4, ERR-2 to ERR-8 from 2.5 on.
#[derive(Clone, Copy, Debug)]
pub struct AckRequest<'a> {
    code: AckCode,
    header: Option<Header<'a>>,
    delimiters: Delimiters,
    charset: Option<Charset>,
    timestamp: &'a str,
    control_id: &'a str,
    text: Option<&'a str>,
    error: Option<AckError<'a>>,
    local: Option<(&'a str, &'a str)>,
}

impl<'a> AckRequest<'a> {
    /// A reply to `message`. `timestamp` is MSH-7 (`YYYYMMDDHHMMSS[+ZZZZ]`),
    /// `control_id` the reply's own MSH-10.
    pub fn to(
        message: &Message<'a>,
        code: AckCode,
        timestamp: &'a str,
        control_id: &'a str,
    ) -> Self {
        Self {
            code,
            header: Some(message.header()),
            delimiters: message.delimiters(),
            charset: message.charset().ok(),
            timestamp,
            control_id,
            text: None,
            error: None,
            local: None,
        }
    }

    /// A reply to bytes that have no usable MSH: default delimiters, nobody
    /// addressed, processing id P, version 2.4, MSA-2 empty.
    pub fn to_garbage(code: AckCode, timestamp: &'a str, control_id: &'a str) -> Self {
        Self {
            code,
            header: None,
            delimiters: Delimiters::default(),
            charset: None,
            timestamp,
            control_id,
            text: None,
            error: None,
            local: None,
        }
    }

    /// With words for the sender's operator. No patient data.
    #[must_use]
    pub const fn text(mut self, text: &'a str) -> Self {
        self.text = Some(text);
        self
    }

    /// With an ERR segment.
    #[must_use]
    pub const fn error(mut self, error: AckError<'a>) -> Self {
        self.error = Some(error);
        self
    }

    /// MSH-3 and MSH-4 of the reply in place of the message's MSH-5 and MSH-6.
    #[must_use]
    pub const fn from_local(mut self, application: &'a str, facility: &'a str) -> Self {
        self.local = Some((application, facility));
        self
    }

    /// Writes the reply with CR behind each segment. Allocates nothing but what
    /// `out` needs to grow.
    pub fn write(&self, out: &mut impl BufMut) {
        let version = self.version();
        self.write_msh(out, version);
        self.write_msa(out, version);
        let d = &self.delimiters;
        let msa_has_text = version < Version::new(2, 7);
        match (self.error, self.text) {
            (Some(error), text) => {
                let spare = text.filter(|_| !msa_has_text);
                let user_message = error.user_message.or(spare);
                AckError {
                    user_message,
                    ..error
                }
                .write(out, d, version, self.utf8());
            }
            (None, Some(text)) if !msa_has_text => {
                self.verdict(text).write(out, d, version, self.utf8());
            }
            _ => {}
        }
    }

    /// The text alone as an ERR segment, for versions without MSA-3.
    fn verdict(&self, text: &'a str) -> AckError<'a> {
        let (code, severity) = match self.code.is_accept() {
            true => (0, Severity::Information),
            false => (207, Severity::Error),
        };
        AckError {
            severity,
            ..AckError::new(code).saying(text)
        }
    }

    fn version(&self) -> Version {
        self.header
            .and_then(|h| h.version_number())
            .unwrap_or(FALLBACK_VERSION)
    }

    fn utf8(&self) -> bool {
        matches!(self.charset, Some(Charset::Named(e)) if e == encoding_rs::UTF_8)
    }

    fn write_msh(&self, out: &mut impl BufMut, version: Version) {
        let d = &self.delimiters;
        let of =
            |get: fn(&Header<'a>) -> &'a [u8]| self.header.as_ref().map(get).unwrap_or_default();
        let or = |value: &'a [u8], default: &'static [u8]| {
            if value.is_empty() { default } else { value }
        };
        out.put_slice(b"MSH");
        out.put_u8(d.field);
        d.encoding_characters().for_each(|b| out.put_u8(b));
        out.put_u8(d.field);
        match self.local {
            Some((application, facility)) => {
                put_text(out, application, d, self.utf8());
                out.put_u8(d.field);
                put_text(out, facility, d, self.utf8());
            }
            None => {
                out.put_slice(of(|h| h.receiving_application));
                out.put_u8(d.field);
                out.put_slice(of(|h| h.receiving_facility));
            }
        }
        out.put_u8(d.field);
        out.put_slice(of(|h| h.sending_application));
        out.put_u8(d.field);
        out.put_slice(of(|h| h.sending_facility));
        out.put_u8(d.field);
        put_text(out, self.timestamp, d, self.utf8());
        out.put_bytes(d.field, 2);
        self.write_type(out, version);
        out.put_u8(d.field);
        put_text(out, self.control_id, d, self.utf8());
        out.put_u8(d.field);
        out.put_slice(or(of(|h| h.processing_id), b"P"));
        out.put_u8(d.field);
        out.put_slice(or(of(|h| h.version), b"2.4"));
        let charset = of(|h| h.charset);
        if !charset.is_empty() {
            out.put_bytes(d.field, 6);
            out.put_slice(charset);
        }
        out.put_u8(b'\r');
    }

    /// MSH-9. The structure came with 2.3.1 and is commonly sent from 2.4 on.
    fn write_type(&self, out: &mut impl BufMut, version: Version) {
        out.put_slice(b"ACK");
        let event = self.header.map(|h| h.trigger_event).unwrap_or_default();
        if event.is_empty() || version < Version::new(2, 3) {
            return;
        }
        out.put_u8(self.delimiters.component);
        out.put_slice(event);
        if version >= Version::new(2, 4) {
            out.put_u8(self.delimiters.component);
            out.put_slice(b"ACK");
        }
    }

    fn write_msa(&self, out: &mut impl BufMut, version: Version) {
        let d = &self.delimiters;
        out.put_slice(b"MSA");
        out.put_u8(d.field);
        out.put_slice(self.code.as_str().as_bytes());
        out.put_u8(d.field);
        out.put_slice(self.header.map(|h| h.control_id).unwrap_or_default());
        if let (Some(text), true) = (self.text, version < Version::new(2, 7)) {
            out.put_u8(d.field);
            put_text(out, text, d, self.utf8());
        }
        out.put_u8(b'\r');
    }
}
