//! Made-up patients and the built-in messages around them. NHS numbers are from the range 999 000 0000
//! to 999 999 9999, which is never issued, with a right check digit (NHS Data Dictionary, modulus 11).

use std::fmt::Write as _;

use crate::message::Kind;
use crate::random::Random;

const FAMILY: [&str; 16] = [
    "ADEYEMI",
    "BAKER",
    "CLARKE",
    "DAVIES",
    "EVANS",
    "FERNANDES",
    "GREEN",
    "HUSSAIN",
    "IQBAL",
    "JONES",
    "KOWALSKA",
    "LEWIS",
    "MURPHY",
    "NOWAK",
    "OKAFOR",
    "PATEL",
];
const GIVEN_F: [&str; 8] = [
    "AMINA", "BETH", "CHLOE", "DIANA", "EILEEN", "FATIMA", "GRACE", "HANNAH",
];
const GIVEN_M: [&str; 8] = [
    "ADAM", "BRIAN", "CALUM", "DAVID", "EDWARD", "FAISAL", "GEORGE", "HARRY",
];
const FACILITIES: [&str; 4] = ["RXA01", "RXA02", "RXB01", "RXC07"];
const CLASSES: [&str; 4] = ["I", "O", "E", "D"];
const WARDS: [&str; 6] = ["AMU", "WARD1", "WARD2", "ICU", "PAEDS", "ED"];

/// A hole that a patient fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    Facility,
    Nhs,
    Mrn,
    Name,
    Birth,
    Sex,
    Class,
    Ward,
}

impl Field {
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "facility" => Field::Facility,
            "nhs" => Field::Nhs,
            "mrn" => Field::Mrn,
            "name" => Field::Name,
            "birth" => Field::Birth,
            "sex" => Field::Sex,
            "class" => Field::Class,
            "ward" => Field::Ward,
            _ => return None,
        })
    }
}

/// Somebody who does not exist. Holds no text: fields are written where they are needed.
#[derive(Clone, Debug)]
pub(crate) struct Patient {
    facility: &'static str,
    /// Nine digits; the check digit is added on writing.
    nhs: u32,
    mrn: u32,
    family: &'static str,
    given: &'static str,
    birth: (u16, u8, u8),
    sex: u8,
    class: &'static str,
    ward: &'static str,
}

impl Patient {
    /// Patient `number` of `seed`.
    pub(crate) fn of(seed: u64, number: u64) -> Self {
        let mut random = Random::new(seed ^ number.wrapping_mul(0xD134_2543_DE82_EF95));
        let female = random.below(2) == 0;
        Self {
            facility: random.pick(&FACILITIES),
            nhs: nhs_base(&mut random),
            mrn: random.below(10_000_000) as u32,
            family: random.pick(&FAMILY),
            given: random.pick(if female { &GIVEN_F } else { &GIVEN_M }),
            birth: (
                1930 + random.below(90) as u16,
                1 + random.below(12) as u8,
                1 + random.below(28) as u8,
            ),
            sex: if female { b'F' } else { b'M' },
            class: random.pick(&CLASSES),
            ward: random.pick(&WARDS),
        }
    }

    pub(crate) fn field(&self, field: Field) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(field, &mut out);
        out
    }

    pub(crate) fn write(&self, field: Field, out: &mut Vec<u8>) {
        match field {
            Field::Facility => out.extend_from_slice(self.facility.as_bytes()),
            Field::Nhs => {
                digits(out, self.nhs, 9);
                digits(out, check_digit(self.nhs).unwrap_or(0), 1);
            }
            Field::Mrn => digits(out, self.mrn, 7),
            Field::Name => {
                out.extend_from_slice(self.family.as_bytes());
                out.push(b'^');
                out.extend_from_slice(self.given.as_bytes());
            }
            Field::Birth => {
                digits(out, self.birth.0.into(), 4);
                digits(out, self.birth.1.into(), 2);
                digits(out, self.birth.2.into(), 2);
            }
            Field::Sex => out.push(self.sex),
            Field::Class => out.extend_from_slice(self.class.as_bytes()),
            Field::Ward => out.extend_from_slice(self.ward.as_bytes()),
        }
    }
}

/// Nine digits from 999 000 000 on that have a check digit (one in eleven has none).
fn nhs_base(random: &mut Random) -> u32 {
    let mut base = 999_000_000 + random.below(1_000_000) as u32;
    while check_digit(base).is_none() {
        base = 999_000_000 + (base + 1) % 1_000_000;
    }
    base
}

/// The tenth digit of an NHS number, or `None` where no number begins so.
fn check_digit(base: u32) -> Option<u32> {
    let (mut rest, mut sum) = (base, 0);
    for weight in 2..=10 {
        sum += rest % 10 * weight;
        rest /= 10;
    }
    match 11 - sum % 11 {
        11 => Some(0),
        10 => None,
        digit => Some(digit),
    }
}

fn digits(out: &mut Vec<u8>, value: u32, width: u32) {
    for place in (0..width).rev() {
        out.push(b'0' + (value / 10u32.pow(place) % 10) as u8);
    }
}

/// A built-in message with its holes in braces, padded to `size_bytes` once the holes are filled.
pub(crate) fn text(kind: Kind, size_bytes: usize) -> String {
    let pid = "PID|1||{nhs}^^^NHS^NH~{mrn}^^^RH^MR||{name}^^^MR||{birth}|{sex}|||1 HIGH ST^^LEEDS^^LS1 1AA^GBR||01130000000|||M|C|A1234567";
    let pv1 = "PV1|1|{class}|{ward}^BAY2^BED3^RH||||C1234567^SMITH^JANE^^^DR";
    match kind {
        Kind::Adt => padded(
            "ADT^A01^ADT_A01",
            size_bytes,
            &["EVN|A01|20260101120000|||OPID^OPERATOR^ONE", pid, pv1],
        ),
        Kind::Orm => {
            let orc = "ORC|NW|ORD0001|||SC||1^^^20260101120000^^R||20260101120000|OPID^OPERATOR^ONE||C1234567^SMITH^JANE^^^DR";
            let obr = "OBR|1|ORD0001||FBC^Full blood count^L|R||20260101113000||||A|||||C1234567^SMITH^JANE^^^DR";
            padded("ORM^O01^ORM_O01", size_bytes, &[pid, pv1, orc, obr])
        }
        Kind::Oru => {
            let orc = "ORC|RE|ORD0001|LAB0001||CM||||20260101120000";
            let obr = "OBR|1|ORD0001|LAB0001|FBC^Full blood count^L|||20260101113000|||||||20260101114500||C1234567^SMITH^JANE^^^DR||||||20260101120000||HM|F";
            let fixed = [pid, pv1, orc, obr];
            let results = results(
                size_bytes.saturating_sub(150 + fixed.iter().map(|s| s.len()).sum::<usize>()),
            );
            let segments: Vec<&str> = fixed
                .into_iter()
                .chain(results.iter().map(String::as_str))
                .collect();
            padded("ORU^R01^ORU_R01", size_bytes, &segments)
        }
    }
}

/// As many OBX as fit into `room_bytes`.
fn results(room_bytes: usize) -> Vec<String> {
    let mut left = room_bytes;
    let mut results = Vec::new();
    for n in 1u32.. {
        let (code, check, whole, tenth) = (10_000 + n % 90_000, n % 10, n * 7 % 900, n % 10);
        let obx = format!(
            "OBX|{n}|NM|{code}-{check}^Analyte {n}^LN||{whole}.{tenth}|10*9/L^^UCUM|1.0-999.9|N|||F|||20260101120000"
        );
        match left.checked_sub(obx.len() + 1) {
            Some(rest) => left = rest,
            None => break,
        }
        results.push(obx);
    }
    results
}

fn padded(kind: &str, size_bytes: usize, segments: &[&str]) -> String {
    let mut text = format!(
        "MSH|^~\\&|LOADGEN|{{facility}}|ENGINE|SITE_B|20260101120000||{kind}|{{id}}|P|2.5.1|||AL|NE\r"
    );
    for segment in segments {
        let _ = write!(text, "{segment}\r");
    }
    let missing = size_bytes.saturating_sub(filled_bytes(&text) + "NTE|1|L|\r".len());
    if missing > 0 {
        text.push_str("NTE|1|L|");
        text.extend(
            "Lorem ipsum dolor sit amet "
                .chars()
                .cycle()
                .take(missing - 1),
        );
        text.push_str("x\r");
    }
    text
}

/// Length once patient 0 of seed 0 and a control ID of a four-letter run stand in the holes.
fn filled_bytes(text: &str) -> usize {
    let patient = Patient::of(0, 0);
    let hole = |piece: &str| match piece.split_once('}') {
        Some(("id", rest)) => 18 + rest.len(),
        Some((name, rest)) => {
            Field::named(name).map_or(0, |field| patient.field(field).len()) + rest.len()
        }
        None => piece.len(),
    };
    text.split('{').map(hole).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nhs_numbers_check() {
        // The example of the NHS Data Dictionary: 943 476 5919.
        assert_eq!(check_digit(943_476_591), Some(9));
        for number in 0..2000 {
            let nhs = String::from_utf8(Patient::of(1, number).field(Field::Nhs)).unwrap();
            assert!(nhs.len() == 10 && nhs.starts_with("999"));
            let sum: u32 = nhs
                .bytes()
                .zip((1..=10).rev())
                .map(|(digit, weight)| u32::from(digit - b'0') * weight)
                .sum();
            assert_eq!(sum % 11, 0, "{nhs}");
        }
    }
}
