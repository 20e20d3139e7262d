//! The few fields that a measuring peer reads, and the ACK it writes. No parser: positions only.

/// Field `number` of MSH, counted as HL7 does (MSH-1 is the separator), or `None` when `message` does
/// not begin with MSH or has no such field.
#[must_use]
pub fn msh_field(message: &[u8], number: usize) -> Option<&[u8]> {
    let after = message.strip_prefix(b"MSH")?;
    let (&separator, fields) = after.split_first()?;
    let segment = fields
        .split(|&byte| byte == b'\r' || byte == b'\n')
        .next()?;
    segment
        .split(|&byte| byte == separator)
        .nth(number.checked_sub(2)?)
}

/// The first component of the first repetition of field `number` of the first `segment` (any but MSH),
/// in the default encoding characters; `None` when there is no such segment or field.
#[must_use]
pub fn first_of_field<'a>(message: &'a [u8], segment: &str, number: usize) -> Option<&'a [u8]> {
    let separator = *message.get(3)?;
    let mut segments = message.split(|&byte| byte == b'\r' || byte == b'\n');
    let fields = segments.find_map(|text| {
        let rest = text.strip_prefix(segment.as_bytes())?;
        (rest.first() == Some(&separator)).then_some(rest)
    })?;
    let field = fields.split(|&byte| byte == separator).nth(number)?;
    field.split(|&byte| b"^~&".contains(&byte)).next()
}

/// What an ACK says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Ack<'a> {
    /// MSA-1: AA, AE, AR, CA, CE or CR.
    pub code: &'a [u8],
    /// MSA-2: the control ID of the message it answers.
    pub control_id: &'a [u8],
}

impl Ack<'_> {
    /// Whether it takes responsibility for the message (AA or CA).
    #[must_use]
    pub fn is_positive(&self) -> bool {
        matches!(self.code, b"AA" | b"CA")
    }
}

/// The MSA of an ACK, wherever it stands behind MSH.
#[must_use]
pub fn parse_ack(message: &[u8]) -> Option<Ack<'_>> {
    let separator = *message.get(3)?;
    let mut fields = memchr::memchr2_iter(b'\r', b'\n', message)
        .filter_map(|at| message.get(at + 1..)?.strip_prefix(b"MSA"))
        .find(|rest| rest.first() == Some(&separator))?
        .split(|&byte| byte == separator || byte == b'\r' || byte == b'\n')
        .skip(1);
    Some(Ack {
        code: fields.next()?,
        control_id: fields.next()?,
    })
}

/// Appends an ACK with `code` for the message called `control_id`, unframed.
pub fn write_ack(out: &mut Vec<u8>, control_id: &[u8], version: &[u8], code: &str) {
    out.extend_from_slice(b"MSH|^~\\&|SINK|SINK|LOADGEN|SITE_A|20260101120000||ACK|A");
    out.extend_from_slice(control_id);
    out.extend_from_slice(b"|P|");
    out.extend_from_slice(version);
    out.extend_from_slice(b"\rMSA|");
    out.extend_from_slice(code.as_bytes());
    out.push(b'|');
    out.extend_from_slice(control_id);
    out.push(b'\r');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_msh_as_hl7_counts_it() {
        let message = b"MSH|^~\\&|A|B|C|D|2026||ADT^A01|ID7|P|2.5\rPID|1";
        assert_eq!(msh_field(message, 2), Some(&b"^~\\&"[..]));
        assert_eq!(msh_field(message, 10), Some(&b"ID7"[..]));
        assert_eq!(msh_field(message, 12), Some(&b"2.5"[..]));
        assert_eq!(msh_field(message, 13), None);
        assert_eq!(msh_field(b"PID|1", 1), None);
        assert_eq!(msh_field(b"MSH", 10), None);
    }

    #[test]
    fn reads_the_first_of_a_field() {
        let message = b"MSH|^~\\&|A\rPIDX|9\rPID|1||77^^^NHS~88^^^MR||A^B\rPV1|1|I";
        assert_eq!(first_of_field(message, "PID", 3), Some(&b"77"[..]));
        assert_eq!(first_of_field(message, "PID", 2), Some(&b""[..]));
        assert_eq!(first_of_field(message, "PV1", 2), Some(&b"I"[..]));
        assert_eq!(first_of_field(message, "PV1", 3), None);
        assert_eq!(first_of_field(message, "OBX", 1), None);
        assert_eq!(first_of_field(b"", "PID", 3), None);
    }

    #[test]
    fn reads_the_ack_it_writes() {
        let mut ack = Vec::new();
        write_ack(&mut ack, b"ID7", b"2.5", "AE");
        let ack = parse_ack(&ack).unwrap();
        assert_eq!(
            (ack.code, ack.control_id, ack.is_positive()),
            (&b"AE"[..], &b"ID7"[..], false)
        );
    }

    #[test]
    fn reads_acks_of_other_makers() {
        let ack = parse_ack(b"MSH#^~\\&#X\r\nSFT#1\r\nMSA#CA#77\r\n").unwrap();
        assert!(ack.is_positive() && ack.control_id == b"77");
        assert!(parse_ack(b"MSH|^~\\&|MSA|AA|1\r").is_none());
        assert!(parse_ack(b"MSH|^~\\&|X\rMSA|AA").is_none());
        assert!(parse_ack(b"").is_none());
    }
}
