//! What of a body is looked for: type, control id, patient identifiers.
//!
//! Owns which fields those are. Reads them raw, as the sender wrote them.

use hie_hl7::Message;

use crate::Content;

/// Longer keys are cut: nobody looks for more, and a hostile sender may not fill the index.
const KEY_LIMIT: usize = 64;
/// Patient identifiers of one body, the first included.
const PATIENT_LIMIT: usize = 8;

/// Not to be shown: these are patients' data.
#[derive(Clone, Default, PartialEq)]
#[cfg_attr(test, derive(Debug))]
pub(crate) struct Keys {
    /// MSH-9 as `ADT_A01`.
    pub(crate) kind: Option<String>,
    /// MSH-10.
    pub(crate) control: Option<String>,
    /// PID-3.1 of each repetition.
    pub(crate) patients: Vec<String>,
}

/// Reads the keys; a body that does not parse has none.
pub(crate) fn keys(content: Content, body: &[u8]) -> Keys {
    if content != Content::Hl7v2 {
        return Keys::default();
    }
    let Ok(message) = Message::parse(body) else {
        return Keys::default();
    };
    let header = message.header();
    let kind = (!header.message_code.is_empty()).then(|| header.message_type().to_string());
    let mut patients = Vec::new();
    if let Some(field) = message.segment(b"PID", 1).and_then(|pid| pid.field(3)) {
        let ids = field
            .repetitions()
            .filter_map(|repetition| key(repetition.component(1)?.raw()));
        for id in ids.take(PATIENT_LIMIT) {
            if !patients.contains(&id) {
                patients.push(id);
            }
        }
    }
    Keys {
        kind,
        control: key(header.control_id),
        patients,
    }
}

/// None for what is empty or HL7's explicit null.
fn key(raw: &[u8]) -> Option<String> {
    if raw.is_empty() || raw == b"\"\"" {
        return None;
    }
    let raw = raw.get(..KEY_LIMIT).unwrap_or(raw);
    Some(String::from_utf8_lossy(raw).into_owned())
}

/// The same cut for what somebody looks for.
pub(crate) fn as_key(asked: &str) -> String {
    let cut = asked
        .as_bytes()
        .get(..KEY_LIMIT)
        .unwrap_or(asked.as_bytes());
    String::from_utf8_lossy(cut).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_is_looked_for() {
        let body =
            b"MSH|^~\\&|A|B|C|D|2026||ADT^A01^ADT_A01|42|P|2.5\rPID|1||77^^^H~\"\"~88^^^N~77\r";
        let keys = keys(Content::Hl7v2, body);
        assert_eq!(keys.kind.as_deref(), Some("ADT_A01"));
        assert_eq!(keys.control.as_deref(), Some("42"));
        assert_eq!(keys.patients, ["77", "88"]);
    }

    #[test]
    fn what_is_no_message_has_no_keys() {
        assert_eq!(keys(Content::Hl7v2, b"not HL7"), Keys::default());
        assert_eq!(keys(Content::Plain, b"MSH|^~\\&|A"), Keys::default());
    }
}
