//! What is sent: a template with holes, and control IDs from which a receiver can tell stream and
//! order. Owns no patients (see `patient`) and no connection.

use thiserror::Error;

use crate::patient::{Field, Patient};

/// Digits of the sequence number in a control ID.
const SEQUENCE_DIGITS: usize = 9;
/// One more than the highest sequence number of a stream.
pub const MAX_SEQUENCE: u64 = 10u64.pow(SEQUENCE_DIGITS as u32);

/// Why a message cannot be sent as a template.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TemplateError {
    /// It is no HL7 v2 message.
    #[error("the message does not begin with MSH and a field separator")]
    NoMsh,
    /// There is no place for a control ID.
    #[error("the MSH of the message ends before MSH-10, where the control ID belongs")]
    NoControlId,
    /// A kind that is not built in.
    #[error("there is no built-in message {0:?}: adt, oru or orm")]
    UnknownKind(String),
}

/// The built-in messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// ADT^A01, an admission.
    Adt,
    /// ORU^R01, a blood count with as many analytes as fit.
    Oru,
    /// ORM^O01, an order.
    Orm,
}

impl std::str::FromStr for Kind {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        match text.to_ascii_lowercase().as_str() {
            "adt" => Ok(Kind::Adt),
            "oru" => Ok(Kind::Oru),
            "orm" => Ok(Kind::Orm),
            _ => Err(TemplateError::UnknownKind(text.to_owned())),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Bytes(Vec<u8>),
    ControlId,
    Patient(Field),
}

/// A message with holes: the control ID, and where wanted the patient.
#[derive(Clone, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
    /// Seed of the patients, when they vary.
    patients: Option<u64>,
    /// How many patients there are; none: another for each message.
    among: Option<u64>,
}

impl std::fmt::Debug for Template {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Template({} parts)", self.parts.len())
    }
}

impl Template {
    /// Any message with an MSH-10, which is replaced; LF and CRLF become CR.
    ///
    /// # Errors
    /// [`TemplateError::NoMsh`], [`TemplateError::NoControlId`].
    pub fn parse(message: &[u8]) -> Result<Self, TemplateError> {
        let text = with_cr(message);
        let separator = match text.strip_prefix(b"MSH").and_then(|rest| rest.first()) {
            Some(&separator) if separator != b'\r' => separator,
            _ => return Err(TemplateError::NoMsh),
        };
        let msh_len = text
            .iter()
            .position(|&byte| byte == b'\r')
            .unwrap_or(text.len());
        // MSH-1 is the separator itself, so MSH-10 stands after the ninth.
        let msh = text.get(..msh_len).unwrap_or_default();
        let mut separators = memchr::memchr_iter(separator, msh);
        let from = separators.nth(8).ok_or(TemplateError::NoControlId)? + 1;
        let to = separators.next().unwrap_or(msh_len);
        let (before, after) = (
            text.get(..from).unwrap_or_default(),
            text.get(to..).unwrap_or_default(),
        );
        let parts = vec![
            Part::Bytes(before.to_vec()),
            Part::ControlId,
            Part::Bytes(after.to_vec()),
        ];
        Ok(Self {
            parts,
            patients: None,
            among: None,
        })
    }

    /// A built-in message of `size_bytes` (shorter than its least, 450 to 600 bytes, is not possible).
    /// Every message is the same but for its control ID.
    #[must_use]
    pub fn fixed(kind: Kind, size_bytes: usize) -> Self {
        let mut template = Self::built_in(kind, size_bytes);
        let patient = Patient::of(0, 0);
        for part in &mut template.parts {
            if let Part::Patient(field) = part {
                *part = Part::Bytes(patient.field(*field));
            }
        }
        template.merged()
    }

    /// A built-in message of about `size_bytes` with another patient, ward, patient class and sending
    /// facility each time, so that routing rules have something to route. The same seed, stream and
    /// sequence give the same bytes.
    #[must_use]
    pub fn varied(kind: Kind, size_bytes: usize, seed: u64) -> Self {
        Self {
            patients: Some(seed),
            ..Self::built_in(kind, size_bytes).merged()
        }
    }

    /// The same with so many patients, who come again and again.
    #[must_use]
    pub fn among(self, patients: u64) -> Self {
        Self {
            among: Some(patients.max(1)),
            ..self
        }
    }

    fn built_in(kind: Kind, size_bytes: usize) -> Self {
        let text = crate::patient::text(kind, size_bytes);
        let mut parts = Vec::new();
        // `{` and `}` occur in no built-in message but around the name of a hole.
        for piece in text.split('{') {
            let (hole, rest) = piece.split_once('}').unwrap_or(("", piece));
            match hole {
                "" => {}
                "id" => parts.push(Part::ControlId),
                name => parts.extend(Field::named(name).map(Part::Patient)),
            }
            parts.push(Part::Bytes(rest.as_bytes().to_vec()));
        }
        Self {
            parts,
            patients: None,
            among: None,
        }
    }

    /// Neighbouring bytes as one part.
    fn merged(mut self) -> Self {
        let mut parts: Vec<Part> = Vec::new();
        for part in self.parts {
            match (parts.last_mut(), part) {
                (Some(Part::Bytes(last)), Part::Bytes(more)) => last.extend(more),
                (_, part) => parts.push(part),
            }
        }
        self.parts = parts;
        self
    }

    /// Appends the message called `control_id`, unframed. `number` chooses the patient.
    pub fn write(&self, out: &mut Vec<u8>, control_id: &[u8], number: u64) {
        let nth = self.among.map_or(number, |patients| number % patients);
        let patient = self.patients.map(|seed| Patient::of(seed, nth));
        for part in &self.parts {
            match part {
                Part::Bytes(bytes) => out.extend_from_slice(bytes),
                Part::ControlId => out.extend_from_slice(control_id),
                Part::Patient(field) => {
                    if let Some(patient) = &patient {
                        patient.write(*field, out);
                    }
                }
            }
        }
    }

    /// Bytes of the first message of a run, unframed.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        let mut out = Vec::new();
        self.write(&mut out, ControlIds::new("0000", 0).at(0), 0);
        out.len()
    }
}

fn with_cr(message: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(message.len() + 1);
    let mut bytes = message.trim_ascii_end().iter().peekable();
    while let Some(&byte) = bytes.next() {
        match byte {
            b'\r' => {
                bytes.next_if_eq(&&b'\n');
                text.push(b'\r');
            }
            b'\n' => text.push(b'\r'),
            byte => text.push(byte),
        }
    }
    text.push(b'\r');
    text
}

/// The control IDs of one stream: `<run><connection, 4 digits>N<sequence, 9 digits>`, at most 20
/// characters for a run of six (MSH-10 holds 20 up to HL7 2.6).
#[derive(Clone, Debug)]
pub struct ControlIds {
    text: Vec<u8>,
}

impl ControlIds {
    /// The stream of `connection` in `run`.
    #[must_use]
    pub fn new(run: &str, connection: usize) -> Self {
        let text = format!(
            "{run}{connection:04}N{:0width$}",
            0,
            width = SEQUENCE_DIGITS
        );
        Self {
            text: text.into_bytes(),
        }
    }

    /// The control ID of `sequence`, which must be below [`MAX_SEQUENCE`] (it wraps).
    pub fn at(&mut self, sequence: u64) -> &[u8] {
        let mut rest = sequence;
        for digit in self.text.iter_mut().rev().take(SEQUENCE_DIGITS) {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        &self.text
    }
}

/// The stream and the sequence number of a control ID made by [`ControlIds`], or by any tool that
/// writes `<stream>N<digits>`.
#[must_use]
pub fn split_control_id(id: &[u8]) -> Option<(&[u8], u64)> {
    let at = memchr::memrchr(b'N', id)?;
    let digits = id.get(at + 1..)?;
    if digits.is_empty() || digits.len() > SEQUENCE_DIGITS || !digits.iter().all(u8::is_ascii_digit)
    {
        return None;
    }
    let sequence = digits
        .iter()
        .fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    Some((id.get(..at)?, sequence))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::msh_field;

    fn written(template: &Template, number: u64) -> Vec<u8> {
        let mut out = Vec::new();
        template.write(&mut out, b"RUN10003N000000042", number);
        out
    }

    #[test]
    fn a_fixed_message_has_the_size_it_was_asked_for() {
        for (kind, event) in [
            (Kind::Adt, "ADT^A01"),
            (Kind::Oru, "ORU^R01"),
            (Kind::Orm, "ORM^O01"),
        ] {
            for size in [700, 1000, 13_000, 200_000] {
                let template = Template::fixed(kind, size);
                assert_eq!(template.size_bytes(), size, "{kind:?}");
                assert_eq!(template.parts.len(), 3);
            }
            let message = written(&Template::fixed(kind, 700), 5);
            assert!(
                msh_field(&message, 9)
                    .unwrap()
                    .starts_with(event.as_bytes())
            );
            assert_eq!(msh_field(&message, 10), Some(&b"RUN10003N000000042"[..]));
            assert!(!message.iter().any(|byte| b"{}\n".contains(byte)) && message.ends_with(b"\r"));
        }
    }

    #[test]
    fn varied_messages_differ_by_number_and_agree_by_seed() {
        let template = Template::varied(Kind::Adt, 700, 7);
        let messages: Vec<_> = (0..50).map(|number| written(&template, number)).collect();
        assert_eq!(
            messages[3],
            written(&Template::varied(Kind::Adt, 700, 7), 3)
        );
        let distinct = |field| {
            let values: std::collections::BTreeSet<_> = messages
                .iter()
                .map(|m| msh_field(m, field).unwrap())
                .collect();
            values.len()
        };
        assert!(distinct(4) > 1);
        let unique: std::collections::BTreeSet<_> = messages.iter().collect();
        assert_eq!(unique.len(), 50);
        assert!(
            messages
                .iter()
                .all(|message| message.len().abs_diff(700) < 60)
        );
    }

    #[test]
    fn takes_your_own_message() {
        let template =
            Template::parse(b"MSH|^~\\&|A|B|C|D|2026||ADT^A01|old|P|2.5\r\nPID|1\nPV1|1\n\n")
                .unwrap();
        let expected = b"MSH|^~\\&|A|B|C|D|2026||ADT^A01|RUN10003N000000042|P|2.5\rPID|1\rPV1|1\r";
        assert_eq!(written(&template, 0), expected);
        assert_eq!(
            written(&Template::parse(b"MSH|^~\\&|||||||ACK|").unwrap(), 0),
            b"MSH|^~\\&|||||||ACK|RUN10003N000000042\r"
        );
        assert_eq!(Template::parse(b"PID|1").unwrap_err(), TemplateError::NoMsh);
        assert_eq!(Template::parse(b"MSH\r").unwrap_err(), TemplateError::NoMsh);
        assert_eq!(
            Template::parse(b"MSH|^~\\&|A\rPID|1|2|3|4|5|6|7|8|9").unwrap_err(),
            TemplateError::NoControlId
        );
    }

    #[test]
    fn patients_come_again() {
        let template = Template::varied(Kind::Adt, 700, 7).among(3);
        let pid = |number| {
            let text = String::from_utf8(written(&template, number)).unwrap();
            text.split('\r')
                .find(|segment| segment.starts_with("PID"))
                .map(str::to_owned)
        };
        assert!(pid(0).is_some() && pid(0) != pid(1));
        assert_eq!((pid(0), pid(1)), (pid(3), pid(4)));
    }

    #[test]
    fn control_ids_go_round() {
        let mut ids = ControlIds::new("RUN1", 3);
        assert_eq!(ids.at(42), b"RUN10003N000000042");
        assert_eq!(
            split_control_id(ids.at(999_999_999)),
            Some((&b"RUN10003"[..], 999_999_999))
        );
        assert_eq!(
            split_control_id(b"0001C003N0000042"),
            Some((&b"0001C003"[..], 42))
        );
        for other in [&b""[..], b"N", b"42", b"XN4Y", b"N0000000000"] {
            assert_eq!(split_control_id(other), None);
        }
    }
}
