//! The field names of the IRIS property form (`HL7.MSH:MessageType.TriggerEvent`) that need no schema.
//! It owns the table alone; all other fields are written by number until schemas name them.

use crate::error::{CompileError, nearest};

/// A field with a name.
#[derive(Debug)]
pub(crate) struct Field {
    segment: &'static str,
    name: &'static str,
    pub(crate) number: u32,
    /// The component the name means by itself; 0 for the whole field.
    pub(crate) component: u32,
    parts: &'static [(&'static str, u32)],
}

const fn plain(segment: &'static str, name: &'static str, number: u32) -> Field {
    Field {
        segment,
        name,
        number,
        component: 0,
        parts: &[],
    }
}

const MESSAGE_TYPE: &[(&str, u32)] = &[
    ("MessageCode", 1),
    ("TriggerEvent", 2),
    ("MessageStructure", 3),
];
const PATIENT_NAME: &[(&str, u32)] = &[("FamilyName", 1), ("GivenName", 2)];

/// HL7 2.5.1 chapter 2 (MSH) and 3 (PID, PV1, EVN). `PatientID` is PID-3.1 and not the withdrawn PID-2,
/// because that is what rules written with these names mean.
static FIELDS: &[Field] = &[
    plain("MSH", "SendingApplication", 3),
    plain("MSH", "SendingFacility", 4),
    plain("MSH", "ReceivingApplication", 5),
    plain("MSH", "ReceivingFacility", 6),
    Field {
        segment: "MSH",
        name: "MessageType",
        number: 9,
        component: 0,
        parts: MESSAGE_TYPE,
    },
    plain("MSH", "MessageControlID", 10),
    plain("MSH", "ProcessingID", 11),
    plain("MSH", "VersionID", 12),
    Field {
        segment: "PID",
        name: "PatientID",
        number: 3,
        component: 1,
        parts: &[],
    },
    Field {
        segment: "PID",
        name: "PatientName",
        number: 5,
        component: 0,
        parts: PATIENT_NAME,
    },
    plain("PID", "DateOfBirth", 7),
    plain("PID", "Sex", 8),
    plain("PV1", "PatientClass", 2),
    plain("PV1", "AssignedPatientLocation", 3),
    plain("PV1", "AdmissionType", 4),
    plain("PV1", "AttendingDoctor", 7),
    plain("EVN", "EventTypeCode", 1),
    plain("EVN", "RecordedDateTime", 2),
];

/// The field of that name, in any case.
pub(crate) fn field(segment: &str, name: &str) -> Option<&'static Field> {
    FIELDS
        .iter()
        .find(|f| f.segment == segment && f.name.eq_ignore_ascii_case(name))
}

/// The component of that name within the field, in any case.
pub(crate) fn part(field: &Field, name: &str) -> Option<u32> {
    field
        .parts
        .iter()
        .find(|(part, _)| part.eq_ignore_ascii_case(name))
        .map(|(_, number)| *number)
}

pub(crate) fn unknown_field(segment: &str, name: &str, offset: usize) -> CompileError {
    let error = CompileError::new(
        offset,
        name.len(),
        format!("{segment} has no field named {name:?} here"),
    );
    let known = || {
        FIELDS
            .iter()
            .filter(|f| f.segment == segment)
            .map(|f| f.name)
    };
    match nearest(name, known()) {
        Some(near) => error.help(format!(
            "did you mean {segment}:{near}? any field can be written by number"
        )),
        None => error.help(format!(
            "write the field by its number, such as {segment}-3"
        )),
    }
}

pub(crate) fn unknown_part(field: &Field, name: &str, offset: usize) -> CompileError {
    let (segment, parent) = (field.segment, field.name);
    let error = CompileError::new(
        offset,
        name.len(),
        format!("{parent} has no component named {name:?} here"),
    );
    match nearest(name, field.parts.iter().map(|(part, _)| *part)) {
        Some(near) => error.help(format!("did you mean {segment}:{parent}.{near}?")),
        None => error.help(format!(
            "write it by number, such as {segment}-{}.1",
            field.number
        )),
    }
}
