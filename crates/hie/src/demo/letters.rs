//! What the demo's senders send: made-up admissions, results and orders, each with the list of
//! those who must get it.
//!
//! That list is worked out from what was put into the message, never by the engine's rules: the
//! ledger's verdict on the router must not be the router's own.

use hie_hl7::{Edit, Message, Path};
use hie_load::message::{ControlIds, Kind, Template};

/// Size of an admission and of an order.
const SHORT_BYTES: usize = 700;
/// Size of a report: a blood count with about a dozen analytes.
const REPORT_BYTES: usize = 1_800;
/// Seed of the made-up patients.
const PATIENTS: u64 = 999;
/// One admission message in so many is a merge of two records.
const MERGE_EVERY: u64 = 20;
/// One report in so many has a critical value.
const CRITICAL_EVERY: u64 = 8;
/// What happens to the patients, in turn.
const EVENTS: [&str; 6] = ["A01", "A08", "A02", "A08", "A31", "A03"];

/// Who receives messages in the example production.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Destination {
    Epr,
    Ris,
    WarehouseLive,
    WarehouseFile,
}

impl Destination {
    pub(crate) const ALL: [Self; 4] = [
        Self::Epr,
        Self::Ris,
        Self::WarehouseLive,
        Self::WarehouseFile,
    ];

    /// The name of its item.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Epr => "EPR",
            Self::Ris => "RIS",
            Self::WarehouseLive => "Warehouse-Live",
            Self::WarehouseFile => "Warehouse-File",
        }
    }
}

/// Who sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Source {
    /// The patient administration system.
    Admissions,
    /// The laboratory.
    Results,
    /// The maternity system, by file.
    Orders,
}

/// A message and who must get it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Letter {
    pub(crate) control_id: Vec<u8>,
    pub(crate) body: Vec<u8>,
    pub(crate) to: Vec<Destination>,
}

/// The endless post of one source. The same run and source give the same messages.
pub(crate) struct Letters {
    source: Source,
    template: Template,
    ids: ControlIds,
    next: u64,
}

impl Letters {
    /// The post of `source`; `run` (1 to 6 letters and digits) opens each control ID.
    pub(crate) fn new(source: Source, run: &str) -> Self {
        let (kind, size_bytes) = match source {
            Source::Admissions => (Kind::Adt, SHORT_BYTES),
            Source::Results => (Kind::Oru, REPORT_BYTES),
            Source::Orders => (Kind::Orm, SHORT_BYTES),
        };
        let template = Template::varied(kind, size_bytes, PATIENTS);
        Self {
            source,
            template,
            ids: ControlIds::new(run, source as usize),
            next: 0,
        }
    }

    /// The next one.
    pub(crate) fn next(&mut self) -> Letter {
        let number = self.next;
        self.next += 1;
        let control_id = self.ids.at(number).to_vec();
        let mut plain = Vec::new();
        self.template.write(&mut plain, &control_id, number);
        let (body, to) = match self.source {
            Source::Admissions => admission(&plain, number),
            Source::Results => report(&plain, number),
            Source::Orders => order(&plain),
        };
        Letter {
            control_id,
            body,
            to,
        }
    }
}

fn admission(plain: &[u8], number: u64) -> (Vec<u8>, Vec<Destination>) {
    use Destination::{Epr, Ris, WarehouseFile, WarehouseLive};
    if number % MERGE_EVERY == MERGE_EVERY - 1 {
        let merge = [("MSH-9.2", "A40"), ("MSH-9.3", "ADT_A39"), ("EVN-1", "A40")];
        return (
            edited(plain, &merge, Some(b"MRG|7654321^^^RH^MR")),
            vec![Epr, Ris, WarehouseLive, WarehouseFile],
        );
    }
    let turn = usize::try_from(number % EVENTS.len() as u64).unwrap_or(0);
    let event = EVENTS.get(turn).copied().unwrap_or("A01");
    let body = edited(plain, &[("MSH-9.2", event), ("EVN-1", event)], None);
    // Radiology is told who is here: no background updates (A31), no day cases (class D).
    let is_here = event != "A31" && ["I", "E", "O"].contains(&field(&body, "PV1-2").as_str());
    let to = if is_here {
        vec![Epr, Ris, WarehouseFile]
    } else {
        vec![Epr, WarehouseFile]
    };
    (body, to)
}

fn report(plain: &[u8], number: u64) -> (Vec<u8>, Vec<Destination>) {
    use Destination::{Epr, WarehouseFile, WarehouseLive};
    if number % CRITICAL_EVERY == CRITICAL_EVERY - 1 {
        return (
            edited(plain, &[("OBX(2)-8", "HH")], None),
            vec![Epr, WarehouseLive, WarehouseFile],
        );
    }
    (plain.to_vec(), vec![Epr, WarehouseFile])
}

fn order(plain: &[u8]) -> (Vec<u8>, Vec<Destination>) {
    (
        edited(plain, &[("OBR-24", "RUS")], None),
        vec![Destination::Ris],
    )
}

/// The message with other values at these places, and perhaps a segment more.
fn edited(plain: &[u8], values: &[(&str, &str)], segment: Option<&[u8]>) -> Vec<u8> {
    let message = Message::parse(plain).expect("the built-in messages begin with MSH");
    let mut edit = Edit::new(&message);
    for (place, value) in values {
        edit.set(&path(place), value.as_bytes())
            .expect("the built-in messages have these segments");
    }
    if let Some(segment) = segment {
        edit.append_segment(segment)
            .expect("a name and fields on one line");
    }
    edit.finish()
}

fn field(message: &[u8], place: &str) -> String {
    let message = Message::parse(message).expect("the built-in messages begin with MSH");
    message.text(&path(place)).unwrap_or_default().into_owned()
}

fn path(place: &str) -> Path {
    Path::parse(place).expect("the places of this file are paths")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(source: Source, count: usize) -> Vec<Letter> {
        let mut letters = Letters::new(source, "RUN1");
        (0..count).map(|_| letters.next()).collect()
    }

    fn share(letters: &[Letter], destination: Destination) -> usize {
        letters
            .iter()
            .filter(|letter| letter.to.contains(&destination))
            .count()
    }

    #[test]
    fn every_message_says_its_control_id_and_is_another() {
        for source in [Source::Admissions, Source::Results, Source::Orders] {
            let letters = first(source, 50);
            for letter in &letters {
                let message = Message::parse(&letter.body).unwrap();
                assert_eq!(message.header().control_id, letter.control_id);
                assert!(letter.body.ends_with(b"\r"));
            }
            let ids: std::collections::BTreeSet<_> =
                letters.iter().map(|letter| &letter.control_id).collect();
            assert_eq!(ids.len(), 50);
        }
    }

    #[test]
    fn everybody_gets_some_and_not_all() {
        let admissions = first(Source::Admissions, 200);
        let results = first(Source::Results, 200);
        assert_eq!(share(&admissions, Destination::Epr), 200);
        assert!((50..150).contains(&share(&admissions, Destination::Ris)));
        assert_eq!(share(&admissions, Destination::WarehouseLive), 10);
        assert_eq!(share(&results, Destination::WarehouseLive), 25);
        assert_eq!(share(&results, Destination::Ris), 0);
        assert_eq!(share(&first(Source::Orders, 5), Destination::Ris), 5);
    }
}
