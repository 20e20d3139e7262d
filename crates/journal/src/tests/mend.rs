//! Verification finds each damage and repair keeps everything else.

use std::path::{Path, PathBuf};

use super::{
    crash::{DIR, open},
    damage::{segments, stopped},
    suite::scan_all,
};
use crate::{
    Log, LogError, OpenError, Position, ReadOnlyLog, Record, Urgency, repair_on, stat_on,
    testing::SimStorage, verify_on,
};

fn file_of(disk: &SimStorage, position: Position) -> (PathBuf, usize) {
    let base_of = |p: &PathBuf| {
        p.file_stem()
            .and_then(|s| s.to_str()?.parse::<u64>().ok())
            .unwrap()
    };
    let path = segments(disk)
        .into_iter()
        .rfind(|p| base_of(p) <= position.0)
        .unwrap();
    let base = base_of(&path);
    (path, (position.0 - base) as usize)
}

/// Repairs and returns what is left, after checking that the log is fit for use again.
fn repaired(disk: &SimStorage) -> Vec<Record> {
    let report = repair_on(disk.process(), Path::new(DIR)).unwrap();
    assert!(!report.damages.is_empty());
    assert!(report.after.is_sound(), "{:?}", report.after);
    assert!(
        verify_on(disk.process(), Path::new(DIR))
            .unwrap()
            .is_sound()
    );
    let log = open(disk);
    let left = scan_all(&log, Position(0));
    let epoch = log.fence().unwrap();
    let ticket = log.append(epoch, Urgency::Intake, b"goes on").unwrap();
    let _durable = ticket.wait_durable().unwrap();
    assert!(left.iter().all(|r| r.position < ticket.position()));
    log.close().unwrap();
    left
}

fn without(all: &[Record], lost: &[usize]) -> Vec<Position> {
    all.iter()
        .enumerate()
        .filter(|(i, _)| !lost.contains(i))
        .map(|(_, r)| r.position)
        .collect()
}

#[test]
fn a_sound_log_verifies_stopped_or_running() {
    let (disk, all) = stopped(400, true);
    let report = verify_on(disk.process(), Path::new(DIR)).unwrap();
    assert!(report.is_sound() && report.torn.is_none());
    assert_eq!((report.records, report.skipped), (400, 0));
    assert!(report.end > all.last().unwrap().position);
    let stat = stat_on(&*disk.process(), Path::new(DIR)).unwrap();
    assert_eq!(
        (stat.epoch, stat.durable_floor, stat.segments.len()),
        (1, report.end, report.segments)
    );
    let log = open(&disk);
    let epoch = log.fence().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..200 {
                let _durable = log
                    .append(epoch, Urgency::Intake, &[3; 900])
                    .unwrap()
                    .wait_durable()
                    .unwrap();
            }
        });
        for _ in 0..5 {
            let report = verify_on(disk.process(), Path::new(DIR)).unwrap();
            assert!(report.is_sound(), "{:?}", report.damages);
        }
    });
    assert!(matches!(
        repair_on(disk.process(), Path::new(DIR)),
        Err(OpenError::Locked { .. })
    ));
}

#[test]
fn one_flipped_record_costs_that_record() {
    let (disk, all) = stopped(60, true);
    for lost in [0, 7, 8, 31, 59] {
        let fork = disk.fork(lost as u64);
        let (path, at) = file_of(&fork, all[lost].position);
        // In the content where there is one, else in the checksum.
        let inside = if all[lost].bytes.is_empty() {
            5
        } else {
            8 + all[lost].bytes.len() / 2
        };
        fork.edit(&path, |bytes| bytes[at + inside] ^= 0x10);
        let report = verify_on(fork.process(), Path::new(DIR)).unwrap();
        assert_eq!(report.damages.len(), 1, "{lost}");
        assert!(
            report.damages[0].position <= all[lost].position
                && all[lost].position < report.damages[0].until
        );
        assert_eq!(report.damages[0].file, path);
        let left = repaired(&fork);
        assert_eq!(
            left.iter().map(|r| r.position).collect::<Vec<_>>(),
            without(&all, &[lost])
        );
        assert!(left.iter().all(|r| {
            all.iter()
                .any(|a| a.position == r.position && a.bytes == r.bytes)
        }));
        assert!(matches!(
            open(&fork).read(all[lost].position),
            Err(LogError::Damaged { .. })
        ));
        let evidence = Path::new(DIR)
            .join("damaged")
            .join(path.file_name().unwrap())
            .with_extension("seg.0");
        assert_eq!(fork.content(&evidence).len(), disk.content(&path).len());
    }
}

#[test]
fn a_scan_goes_on_behind_damage_while_the_log_runs() {
    let disk = SimStorage::new(9);
    let log = open(&disk);
    let epoch = log.fence().unwrap();
    let positions: Vec<_> = (0..100u8)
        .map(|i| {
            let ticket = log.append(epoch, Urgency::Intake, &[i; 900]).unwrap();
            let _durable = ticket.wait_durable().unwrap();
            ticket.position()
        })
        .collect();
    for lost in [0, 40, 99] {
        let (path, at) = file_of(&disk, positions[lost]);
        disk.edit(&path, |bytes| bytes[at + 100] ^= 1);
    }
    let (mut at, mut left, mut met) = (Position(0), Vec::new(), Vec::new());
    while at < log.extent().durable {
        at = match log.scan(at, 10_000, &mut left) {
            Ok(next) => next,
            Err(LogError::Damaged { position, .. }) => {
                met.push(position);
                log.resume_after(position).unwrap()
            }
            Err(other) => panic!("{other}"),
        };
    }
    assert_eq!(met.len(), 3);
    assert_eq!(left.len(), 97);
    assert!(
        matches!(log.read(positions[40]), Err(LogError::Damaged { position, .. }) if position == positions[40])
    );
    assert_eq!(log.read(positions[41]).unwrap(), vec![41; 900]);
}

#[test]
fn a_reader_beside_a_writer_sees_no_damage() {
    let disk = SimStorage::new(10);
    let log = open(&disk);
    let epoch = log.fence().unwrap();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for _ in 0..300 {
                let _durable = log
                    .append(epoch, Urgency::Intake, &[3; 900])
                    .unwrap()
                    .wait_durable()
                    .unwrap();
            }
        });
        while !writer.is_finished() {
            let reader = ReadOnlyLog::open_on(disk.process(), Path::new(DIR)).unwrap();
            assert!(
                scan_all(&reader, Position(0))
                    .iter()
                    .all(|r| r.bytes == vec![3; 900])
            );
        }
    });
    assert!(matches!(
        ReadOnlyLog::open_on(disk.process(), Path::new("/elsewhere")),
        Err(OpenError::NoJournal(_))
    ));
}

#[test]
fn a_flipped_frame_header_costs_nothing() {
    let (disk, all) = stopped(60, true);
    let first_of_frame = all
        .iter()
        .position(|r| r.position.0 % 512 == 64 && r.position.0 > 10_000)
        .unwrap();
    let (path, at) = file_of(&disk, all[first_of_frame].position);
    disk.edit(&path, |bytes| bytes[at - 30] ^= 1);
    assert_eq!(repaired(&disk).len(), all.len());
}

#[test]
fn wide_damage_costs_what_it_covers() {
    let (disk, all) = stopped(200, true);
    let (path, at) = file_of(&disk, all[50].position);
    disk.edit(&path, |bytes| bytes[at..at + 5_000].fill(0xa5));
    let left = repaired(&disk);
    let end = all[50].position.0 + 5_000;
    let untouched = all.iter().filter(|r| {
        r.position.0 + 8 + r.bytes.len() as u64 <= all[50].position.0 || r.position.0 >= end
    });
    assert_eq!(
        left.iter().map(|r| r.position).collect::<Vec<_>>(),
        untouched.map(|r| r.position).collect::<Vec<_>>()
    );
}

#[test]
fn lost_segments_headers_and_notes_are_made_anew() {
    let (disk, all) = stopped(400, true);
    let files = segments(&disk);
    for (i, path) in files.iter().enumerate() {
        let fork = disk.fork(i as u64);
        fork.edit(path, |bytes| bytes[33] ^= 1);
        assert_eq!(repaired(&fork).len(), all.len(), "a header holds no record");
        let fork = disk.fork(i as u64);
        let inside = all
            .iter()
            .filter(|r| file_of(&fork, r.position).0 == *path)
            .count();
        fork.lose(path);
        if inside > 0 {
            let left = repaired(&fork);
            assert_eq!(left.len(), all.len() - inside, "{}", path.display());
        }
    }
    disk.lose(&Path::new(DIR).join("meta"));
    assert_eq!(repaired(&disk).len(), all.len());
}

#[test]
fn a_torn_tail_is_no_damage() {
    let (disk, all) = stopped(20, true);
    let end = stat_on(&*disk.process(), Path::new(DIR))
        .unwrap()
        .durable_floor;
    let (path, at) = file_of(&disk, end);
    disk.edit(&path, |bytes| bytes[at..at + 700].fill(0x5a));
    let report = verify_on(disk.process(), Path::new(DIR)).unwrap();
    assert!(report.is_sound());
    assert_eq!(report.torn.map(|t| t.0), Some(end));
    assert_eq!(scan_all(&open(&disk), Position(0)).len(), all.len());
}
