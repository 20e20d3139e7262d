//! Bytes that changed after they were durable: always seen, never silently cut.

use std::path::PathBuf;

use proptest::prelude::*;

use super::{
    crash::{DIR, open},
    suite::{scan_all, small},
};
use crate::{Log, OpenError, OpenHint, Position, Record, SegmentLog, Urgency, testing::SimStorage};

/// A stopped log of a few frames in one or more segments, and its records.
pub(super) fn stopped(records: usize, clean: bool) -> (SimStorage, Vec<Record>) {
    let disk = SimStorage::new(records as u64);
    let log = open(&disk);
    let epoch = log.fence().unwrap();
    for i in 0..records {
        let _ = log
            .append(
                epoch,
                Urgency::Intake,
                &vec![i as u8 | 1; (i * 131) % 1_500],
            )
            .unwrap();
        if i % 3 == 2 {
            log.flush().unwrap();
        }
    }
    log.flush().unwrap();
    if clean {
        log.close().unwrap();
    } else {
        disk.kill();
    }
    drop(log);
    let fork = disk.fork(1);
    let all = scan_all(&open(&fork), Position(0));
    assert_eq!(all.len(), records);
    (disk, all)
}

pub(super) fn segments(disk: &SimStorage) -> Vec<PathBuf> {
    disk.paths()
        .into_iter()
        .filter(|p| p.extension().is_some_and(|e| e == "seg"))
        .collect()
}

fn try_open(disk: &SimStorage, verify_from: Option<Position>) -> Result<SegmentLog, OpenError> {
    let storage = disk.process();
    SegmentLog::open_on(
        storage,
        std::path::Path::new(DIR),
        small(),
        OpenHint { verify_from },
    )
    .map(|(log, _)| log)
}

/// Opens and reads everything; the error's position, or all records.
fn read_back(disk: &SimStorage) -> Result<Vec<Record>, Position> {
    let log = match try_open(disk, Some(Position(0))) {
        Ok(log) => log,
        Err(OpenError::Damaged { position, .. }) => return Err(position),
        Err(other) => panic!("{other}"),
    };
    Ok(scan_all(&log, Position(0)))
}

#[test]
fn every_flipped_bit_of_the_durable_log_is_noticed() {
    let (disk, all) = stopped(9, true);
    let path = segments(&disk).remove(0);
    let end = all
        .last()
        .map(|r| r.position.0 as usize + r.bytes.len())
        .unwrap();
    // Every byte of the header and the frames, a bit each; the bits of a byte take turns.
    for at in 0..end {
        let fork = disk.fork(at as u64);
        fork.edit(&path, |bytes| bytes[at] ^= 1 << (at % 8));
        match read_back(&fork) {
            Err(_) => {}
            Ok(records) => panic!(
                "byte {at}: opened with {} of {} records",
                records.len(),
                all.len()
            ),
        }
    }
}

#[test]
fn a_damaged_log_is_left_as_it_is() {
    let (disk, all) = stopped(9, true);
    let path = segments(&disk).remove(0);
    disk.edit(&path, |bytes| bytes[all[3].position.0 as usize + 20] ^= 1);
    let before: Vec<_> = disk.paths().iter().map(|p| disk.content(p)).collect();
    assert!(read_back(&disk).is_err());
    let after: Vec<_> = disk.paths().iter().map(|p| disk.content(p)).collect();
    assert!(before == after, "nothing may be modified");
}

#[test]
fn damage_of_the_last_batch_shows_by_the_idle_mark() {
    // No clean close, so that the notes do not help: the mark after the batch must.
    let disk = SimStorage::new(2);
    let log = open(&disk);
    let epoch = log.fence().unwrap();
    let ticket = log.append(epoch, Urgency::Intake, b"acknowledged").unwrap();
    let _durable = ticket.wait_durable().unwrap();
    let end = log.extent().durable;
    while log.extent().durable == end {
        std::thread::yield_now();
    }
    disk.kill();
    drop(log);
    let path = segments(&disk).remove(0);
    disk.edit(&path, |bytes| bytes[ticket.position().0 as usize + 9] ^= 1);
    assert!(matches!(
        try_open(&disk, None),
        Err(OpenError::Damaged { .. })
    ));
}

#[test]
fn a_missing_or_foreign_segment_is_refused() {
    let (disk, _) = stopped(400, true);
    let files = segments(&disk);
    assert!(files.len() > 3);
    for path in &files[..files.len() - 1] {
        let fork = disk.fork(0);
        fork.lose(path);
        assert!(
            matches!(try_open(&fork, None), Err(OpenError::Damaged { .. })),
            "{}",
            path.display()
        );
    }
    let (other, _) = stopped(400, true);
    let fork = disk.fork(0);
    let strange = other.content(&files[1]);
    fork.edit(&files[1], |bytes| *bytes = strange);
    assert!(matches!(
        try_open(&fork, None),
        Err(OpenError::Damaged { .. })
    ));
    let fork = disk.fork(0);
    fork.lose(&PathBuf::from(DIR).join("meta"));
    assert!(matches!(
        try_open(&fork, None),
        Err(OpenError::Damaged { .. })
    ));
}

#[test]
fn an_old_copy_of_the_tail_is_refused_by_notes_or_hint() {
    let (disk, all) = stopped(30, false);
    let old = disk.fork(0);
    let log = open(&disk);
    let epoch = log.fence().unwrap();
    let _ = log.append(epoch, Urgency::Intake, &[1; 3_000]).unwrap();
    log.flush().unwrap();
    let seen = log.extent().durable;
    log.close().unwrap();
    for path in segments(&old) {
        let stale = old.content(&path);
        disk.edit(&path, |bytes| *bytes = stale);
    }
    assert!(
        matches!(try_open(&disk, None), Err(OpenError::Damaged { .. })),
        "the notes know better"
    );
    assert!(
        matches!(try_open(&old, Some(seen)), Err(OpenError::Damaged { .. })),
        "the checkpoint knows better"
    );
    assert_eq!(scan_all(&open(&old), Position(0)).len(), all.len());
}

#[test]
fn a_newer_format_is_refused_untouched() {
    let (disk, _) = stopped(3, true);
    let path = segments(&disk).remove(0);
    disk.edit(&path, |bytes| {
        bytes[8] = 9;
        let crc = crc32c::crc32c(&bytes[..4092]);
        bytes[4092..4096].copy_from_slice(&crc.to_le_bytes());
    });
    let before = disk.content(&path);
    let refused = try_open(&disk, None).err().unwrap();
    assert!(
        matches!(
            refused,
            OpenError::Newer {
                found: 9,
                known: 1,
                ..
            }
        ),
        "{refused}"
    );
    assert!(before == disk.content(&path));
}

#[derive(Clone, Debug)]
enum Mutation {
    Flip(prop::sample::Index, u8),
    Noise(prop::sample::Index, Vec<u8>),
    Truncate(prop::sample::Index),
    Extend(Vec<u8>),
    Zero(prop::sample::Index, usize),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let noise = || prop::collection::vec(any::<u8>(), 1..700);
    prop_oneof![
        (any::<prop::sample::Index>(), 0..8u8).prop_map(|(at, bit)| Mutation::Flip(at, bit)),
        (any::<prop::sample::Index>(), noise()).prop_map(|(at, bytes)| Mutation::Noise(at, bytes)),
        any::<prop::sample::Index>().prop_map(Mutation::Truncate),
        noise().prop_map(Mutation::Extend),
        (any::<prop::sample::Index>(), 1..5_000usize).prop_map(|(at, len)| Mutation::Zero(at, len)),
    ]
}

impl Mutation {
    /// Changes the bytes of a file from `from` on.
    fn apply(&self, from: usize, file: &mut Vec<u8>) {
        let room = file.len() - from;
        let start = |at: &prop::sample::Index| from + at.index(room);
        match self {
            Self::Flip(at, bit) => file[start(at)] ^= 1 << bit,
            Self::Noise(at, bytes) => {
                let at = start(at);
                let n = bytes.len().min(file.len() - at);
                file[at..at + n].copy_from_slice(&bytes[..n]);
            }
            Self::Truncate(at) => file.truncate(start(at)),
            Self::Extend(bytes) => file.extend_from_slice(bytes),
            Self::Zero(at, len) => {
                let at = start(at);
                let to = (at + len).min(file.len());
                file[at..to].fill(0);
            }
        }
    }
}

thread_local! {
    static SMALL_LOG: (SimStorage, Vec<Record>) = stopped(12, true);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, ..ProptestConfig::default() })]

    #[test]
    fn a_mutated_tail_opens_with_everything(mutations in prop::collection::vec(mutation(), 1..3)) {
        SMALL_LOG.with(|(disk, all)| {
            let fork = disk.fork(0);
            let path = segments(&fork).remove(0);
            let end = open(&disk.fork(0)).extent().durable.0 as usize;
            fork.edit(&path, |bytes| mutations.iter().for_each(|m| if bytes.len() > end { m.apply(end, bytes) }));
            let left = read_back(&fork).expect("bytes behind the end harm nothing");
            assert_eq!(left.len(), all.len());
        });
    }

    #[test]
    fn a_mutated_log_opens_whole_or_says_damaged(mutations in prop::collection::vec(mutation(), 1..3)) {
        SMALL_LOG.with(|(disk, all)| {
            let fork = disk.fork(0);
            let path = segments(&fork).remove(0);
            fork.edit(&path, |bytes| mutations.iter().for_each(|m| if bytes.len() > 1 { m.apply(0, bytes) }));
            if let Ok(left) = read_back(&fork) {
                assert!(left.iter().map(|r| (r.position, &r.bytes)).eq(all.iter().map(|r| (r.position, &r.bytes))));
            }
        });
    }
}
