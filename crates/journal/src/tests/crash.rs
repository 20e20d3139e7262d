//! Random lives of a log on a disk that forgets and tears, against a simple model.

use std::{collections::BTreeMap, path::Path};

use proptest::prelude::*;

use super::suite::{scan_all, small};
use crate::{
    Epoch, Log, LogError, OpenHint, Position, SegmentLog, Ticket, Urgency,
    testing::{Faults, SimStorage},
};

pub(super) const DIR: &str = "/log";

pub(super) fn open(disk: &SimStorage) -> SegmentLog {
    open_at(disk, None)
}

fn open_at(disk: &SimStorage, verify_from: Option<Position>) -> SegmentLog {
    SegmentLog::open_on(
        disk.process(),
        Path::new(DIR),
        small(),
        OpenHint { verify_from },
    )
    .unwrap()
    .0
}

#[derive(Clone, Debug)]
enum Step {
    Append(usize),
    Wait,
    Flush,
    /// Power cut, after so many further disk calls during which appends go on.
    Crash(u64),
    Kill,
    Reopen,
    Trim(usize),
    Fence,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0..3_000usize).prop_map(Step::Append),
        1 => (60_000..90_000usize).prop_map(Step::Append),
        3 => Just(Step::Wait),
        2 => Just(Step::Flush),
        2 => (0..12u64).prop_map(Step::Crash),
        1 => Just(Step::Kill),
        1 => Just(Step::Reopen),
        1 => (0..100usize).prop_map(Step::Trim),
        1 => Just(Step::Fence),
    ]
}

/// What must be there: every record whose ticket said so, and of the others only what was appended.
#[derive(Default)]
struct Model {
    durable: BTreeMap<u64, Vec<u8>>,
    /// Appended in this life of the log, fate unknown.
    open: Vec<(Ticket, Vec<u8>)>,
    /// Appended when the log died: may have survived or not.
    maybe: BTreeMap<u64, Vec<u8>>,
    next: u8,
}

impl Model {
    fn body(&mut self, len: usize) -> Vec<u8> {
        self.next = self.next.wrapping_add(1);
        vec![self.next; len]
    }

    /// Asks every open ticket; what failed may have survived all the same.
    fn settle(&mut self) {
        for (ticket, body) in self.open.drain(..) {
            let kept = match ticket.wait_durable() {
                Ok(_durable) => &mut self.durable,
                Err(_) => &mut self.maybe,
            };
            kept.insert(ticket.position().0, body);
        }
    }

    /// Compares with a log that was just opened. What it holds is durable from now on.
    fn check(&mut self, log: &SegmentLog) {
        let first = log.extent().first.0;
        self.durable = self.durable.split_off(&first);
        self.maybe = self.maybe.split_off(&first);
        let found: BTreeMap<_, _> = scan_all(log, Position(0))
            .into_iter()
            .map(|r| (r.position.0, r.bytes))
            .collect();
        for (position, body) in &self.durable {
            assert_eq!(
                found.get(position).map(|b| &b[..]),
                Some(&body[..]),
                "acknowledged at {position}"
            );
            assert_eq!(log.read(Position(*position)).unwrap(), body[..]);
        }
        for (position, body) in &found {
            let expected = self
                .durable
                .get(position)
                .or_else(|| self.maybe.get(position));
            assert_eq!(
                expected.map(|b| &b[..]),
                Some(&body[..]),
                "nobody appended this at {position}"
            );
        }
        self.durable = found.into_iter().map(|(p, b)| (p, b.to_vec())).collect();
        self.maybe.clear();
    }
}

struct Life {
    disk: SimStorage,
    log: SegmentLog,
    epoch: Epoch,
    model: Model,
}

impl Life {
    fn begin(seed: u64) -> Self {
        let disk = SimStorage::new(seed);
        disk.set_faults(Faults {
            choppy: seed % 2 == 1,
            ..Faults::default()
        });
        let log = open(&disk);
        let epoch = log.fence().unwrap();
        Self {
            disk,
            log,
            epoch,
            model: Model::default(),
        }
    }

    fn append(&mut self, len: usize) -> Result<(), LogError> {
        let body = self.model.body(len);
        let ticket = self.log.append(self.epoch, Urgency::Intake, &body)?;
        self.model.open.push((ticket, body));
        Ok(())
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Append(len) => self.append(*len).unwrap(),
            Step::Wait => self.model.settle(),
            Step::Flush => self.log.flush().unwrap(),
            Step::Crash(calls) => self.crash(*calls),
            Step::Kill => {
                self.model.settle();
                self.disk.kill();
                self.rise();
            }
            Step::Reopen => {
                self.log.close().unwrap();
                self.rise();
            }
            Step::Trim(percent) => {
                let extent = self.log.extent();
                let span = extent.durable.0 - extent.first.0;
                self.log
                    .trim(Position(extent.first.0 + span * *percent as u64 / 100))
                    .unwrap();
            }
            Step::Fence => self.epoch = self.log.fence().unwrap(),
        }
    }

    /// Goes on appending while the power fails, then looks what is left.
    fn crash(&mut self, calls: u64) {
        self.disk.set_faults(Faults {
            dies_in: Some(calls),
            ..Faults::default()
        });
        for i in 0..20 {
            if self.append(i * 97).is_err() {
                break;
            }
            if i % 3 == 0 && self.log.flush().is_err() {
                break;
            }
        }
        self.disk.set_faults(Faults {
            dies_in: Some(0),
            ..Faults::default()
        });
        // A committer at rest has still to meet the dead disk.
        let _ = self.append(1);
        let _ = self.log.flush();
        self.model.settle();
        self.disk.crash();
        self.rise();
    }

    fn rise(&mut self) {
        let hint = self.model.durable.keys().next_back().map(|p| Position(*p));
        let log = open_at(
            &self.disk,
            hint.filter(|_| self.model.next.is_multiple_of(2)),
        );
        drop(std::mem::replace(&mut self.log, log));
        self.model.settle();
        self.model.check(&self.log);
        self.epoch = self.log.fence().unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn what_was_durable_survives_every_crash(seed in any::<u64>(), steps in prop::collection::vec(step(), 1..60)) {
        let mut life = Life::begin(seed);
        for step in &steps {
            life.take(step);
        }
        life.crash(seed % 7);
    }
}

#[test]
fn power_may_fail_at_every_single_call() {
    // One short life, cut at each disk call in turn, several times with other chances.
    for seed in 0..4 {
        for at in 0..60 {
            let disk = SimStorage::new(seed * 1_000 + at);
            disk.set_faults(Faults {
                dies_in: Some(at),
                ..Faults::default()
            });
            let mut model = Model::default();
            let opened =
                SegmentLog::open_on(disk.process(), Path::new(DIR), small(), OpenHint::default());
            if let Ok((log, _)) = opened {
                live(&log, &mut model);
                disk.crash();
                drop(log);
            }
            disk.crash();
            let log = open(&disk);
            model.check(&log);
            let mut again = Model {
                durable: model.durable,
                ..Model::default()
            };
            live(&log, &mut again);
            assert_eq!(again.maybe.len(), 0);
        }
    }
}

fn live(log: &SegmentLog, model: &mut Model) {
    let Ok(epoch) = log.fence() else { return };
    for len in [5, 700, 6_000, 0, 9_000, 700, 20_000, 1] {
        let body = model.body(len);
        match log.append(epoch, Urgency::Intake, &body) {
            Ok(ticket) => model.open.push((ticket, body)),
            Err(_) => break,
        }
        model.settle();
    }
    model.settle();
}
