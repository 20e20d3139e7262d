//! Single faults of the disk, each with what must come of it.

use std::{path::Path, time::Duration};

use super::{
    crash::{DIR, open},
    damage::segments,
    suite::{scan_all, small},
};
use crate::{
    Epoch, Log, LogError, OpenError, OpenHint, Options, Position, SegmentLog, Ticket, Urgency,
    frame::{FRAME_HEADER, FrameHeader, open_record, seal, u64_at},
    testing::{Faults, SimStorage},
};

/// A log whose only disk call to come is the next commit's: the spare segment is made, the idle
/// mark far off.
fn quiet(disk: &SimStorage) -> (SegmentLog, Epoch, Ticket) {
    let options = Options {
        idle_mark_after: Duration::from_secs(3_600),
        ..small()
    };
    let (log, _) =
        SegmentLog::open_on(disk.process(), Path::new(DIR), options, OpenHint::default()).unwrap();
    let epoch = log.fence().unwrap();
    let ticket = log.append(epoch, Urgency::Intake, b"acknowledged").unwrap();
    let _durable = ticket.wait_durable().unwrap();
    // Syncing its name is the preparer's last call.
    while segments(disk).len() < 2 || !disk.all_synced() {
        std::thread::yield_now();
    }
    (log, epoch, ticket)
}

#[test]
fn a_failed_sync_poisons_for_good() {
    for seed in 0..50 {
        let disk = SimStorage::new(seed);
        let (log, epoch, kept) = quiet(&disk);
        disk.set_faults(Faults {
            fail_sync_in: Some(0),
            ..Faults::default()
        });
        let lost = log.append(epoch, Urgency::Intake, &[1; 2_000]).unwrap();
        assert!(matches!(lost.wait_durable(), Err(LogError::Poisoned(_))));
        let syncs = disk.syncs();
        assert!(matches!(
            log.append(epoch, Urgency::Progress, b"x"),
            Err(LogError::Poisoned(_))
        ));
        assert!(matches!(log.flush(), Err(LogError::Poisoned(_))));
        assert!(matches!(log.trouble(), Some(LogError::Poisoned(_))));
        assert_eq!(
            log.read(kept.position()).unwrap(),
            "acknowledged",
            "reading goes on"
        );
        assert!(matches!(log.close(), Err(LogError::Poisoned(_))));
        assert_eq!(disk.syncs(), syncs, "no sync after the failed one");
        drop(log);
        // The process starts again, the machine does not: the kernel calls the lost pages clean.
        disk.kill();
        let log = open(&disk);
        let seen: Vec<_> = scan_all(&log, Position(0))
            .into_iter()
            .map(|r| r.position)
            .collect();
        assert_eq!(seen.first(), Some(&kept.position()));
        // What this opening showed must outlive a power cut.
        let epoch = log.fence().unwrap();
        let _durable = log
            .append(epoch, Urgency::Intake, b"after")
            .unwrap()
            .wait_durable()
            .unwrap();
        disk.crash();
        drop(log);
        let log = open(&disk);
        let again: Vec<_> = scan_all(&log, Position(0))
            .into_iter()
            .map(|r| r.position)
            .collect();
        assert_eq!(again[..seen.len()], seen);
        assert_eq!(again.len(), seen.len() + 1);
    }
}

#[test]
fn a_failed_write_poisons() {
    let disk = SimStorage::new(1);
    let (log, epoch, _) = quiet(&disk);
    disk.set_faults(Faults {
        fail_write_in: Some(0),
        ..Faults::default()
    });
    let ticket = log.append(epoch, Urgency::Intake, b"x").unwrap();
    let error = ticket.wait_durable().unwrap_err();
    assert_eq!(error.code(), "journal-poisoned");
    assert!(matches!(
        log.read(ticket.position()),
        Err(LogError::NotFound(_))
    ));
}

#[test]
fn a_full_disk_stops_intake_only_and_ends_by_itself() {
    let disk = SimStorage::new(3);
    let options = Options {
        reserve_bytes: Some(100_000),
        space_check_interval: Duration::ZERO,
        ..small()
    };
    let (log, _) =
        SegmentLog::open_on(disk.process(), Path::new(DIR), options, OpenHint::default()).unwrap();
    let epoch = log.fence().unwrap();
    disk.set_faults(Faults {
        capacity: Some(100_000),
        ..Faults::default()
    });
    let mut taken = 0;
    let refused = loop {
        match log.append(epoch, Urgency::Intake, &[7; 900]) {
            Ok(ticket) => drop(ticket.wait_durable().unwrap()),
            Err(error) => break error,
        }
        taken += 1;
        assert!(taken < 1_000, "intake is never refused");
    };
    assert!(matches!(
        refused,
        LogError::DiskFull {
            reserve: 100_000,
            ..
        }
    ));
    assert!(matches!(log.trouble(), Some(LogError::DiskFull { .. })));
    let _durable = log
        .append(epoch, Urgency::Progress, &[8; 900])
        .unwrap()
        .wait_durable()
        .unwrap();
    disk.set_faults(Faults::default());
    let _durable = log
        .append(epoch, Urgency::Intake, b"room again")
        .unwrap()
        .wait_durable()
        .unwrap();
    assert!(log.trouble().is_none());
}

#[test]
fn progress_waits_on_a_truly_full_disk_and_close_gives_up() {
    let disk = SimStorage::new(4);
    let options = Options {
        reserve_bytes: Some(0),
        space_check_interval: Duration::ZERO,
        ..small()
    };
    let (log, _) =
        SegmentLog::open_on(disk.process(), Path::new(DIR), options, OpenHint::default()).unwrap();
    let epoch = log.fence().unwrap();
    disk.set_faults(Faults {
        capacity: Some(20_000),
        ..Faults::default()
    });
    // Two batches: the second needs a segment for which there is no room.
    let first = log.append(epoch, Urgency::Progress, &[1; 7_000]).unwrap();
    let _durable = first.wait_durable().unwrap();
    let second = log.append(epoch, Urgency::Progress, &[2; 7_000]).unwrap();
    assert_eq!(
        log.read(second.position()).unwrap(),
        vec![2; 7_000],
        "it waits, readable"
    );
    disk.set_faults(Faults::default());
    let _durable = second.wait_durable().expect("goes on when there is room");
    disk.set_faults(Faults {
        capacity: Some(0),
        ..Faults::default()
    });
    let stuck: Vec<_> = (0..40)
        .map(|_| log.append(epoch, Urgency::Progress, &[3; 7_000]).unwrap())
        .collect();
    assert!(matches!(log.close(), Err(LogError::DiskFull { .. })));
    assert!(matches!(
        stuck.last().unwrap().wait_durable(),
        Err(LogError::DiskFull { .. })
    ));
    drop(log);
    disk.set_faults(Faults::default());
    assert!(scan_all(&open(&disk), Position(0)).len() >= 2);
}

#[test]
fn an_unreadable_sector_costs_one_record() {
    let disk = SimStorage::new(5);
    let log = open(&disk);
    let epoch = log.fence().unwrap();
    let positions: Vec<_> = (0..5)
        .map(|i| {
            let ticket = log.append(epoch, Urgency::Intake, &[i; 8_000]).unwrap();
            let _durable = ticket.wait_durable().unwrap();
            ticket.position()
        })
        .collect();
    let place = log
        .trim_points()
        .into_iter()
        .rfind(|(base, _)| *base <= positions[2])
        .unwrap();
    let path = Path::new(DIR).join(format!("{:020}.seg", place.0.0));
    let at = positions[2].0 - place.0.0 + 5_000;
    disk.set_faults(Faults {
        unreadable: Some((path, at..at + 512)),
        ..Faults::default()
    });
    for (i, position) in positions.iter().enumerate() {
        match log.read(*position) {
            Ok(bytes) => assert_eq!(bytes, vec![i as u8; 8_000]),
            Err(error) => assert!(i == 2 && matches!(error, LogError::Io(_)), "{i}: {error}"),
        }
    }
    assert!(log.trouble().is_none());
}

#[test]
fn two_openings_never_share_a_log() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = SegmentLog::open(dir.path(), small(), OpenHint::default()).unwrap();
    let refused = SegmentLog::open(dir.path(), small(), OpenHint::default())
        .err()
        .unwrap();
    assert!(
        matches!(refused, OpenError::Locked { holder: Some(pid), .. } if pid == std::process::id())
    );
    assert!(
        refused
            .to_string()
            .contains("locked by another engine (process")
    );
    SegmentLog::open_read_only(dir.path()).unwrap();
    drop(log);
    SegmentLog::open(dir.path(), small(), OpenHint::default()).unwrap();
}

#[test]
fn an_append_waits_when_too_much_waits() {
    let disk = SimStorage::new(6);
    let options = Options {
        pending_bytes: 10_000,
        ..small()
    };
    let (log, _) =
        SegmentLog::open_on(disk.process(), Path::new(DIR), options, OpenHint::default()).unwrap();
    let epoch = log.fence().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let ticket = log.append(epoch, Urgency::Intake, &[1; 4_000]).unwrap();
                    let extent = log.extent();
                    assert!(
                        extent.end.0 - extent.durable.0 < 200_000,
                        "far more waits than allowed"
                    );
                    drop(ticket);
                }
            });
        }
    });
    log.flush().unwrap();
    assert_eq!(scan_all(&log, Position(0)).len(), 400);
}

#[test]
fn a_trim_cut_short_is_finished_at_the_next_opening() {
    for calls in 0..12 {
        let disk = SimStorage::new(calls);
        let log = open(&disk);
        let epoch = log.fence().unwrap();
        for _ in 0..200 {
            let _ = log.append(epoch, Urgency::Intake, &[7; 1_000]).unwrap();
        }
        log.flush().unwrap();
        let durable = log.extent().durable;
        disk.set_faults(Faults {
            dies_in: Some(calls),
            ..Faults::default()
        });
        let trimmed = log.trim(durable);
        disk.crash();
        drop(log);
        let log = open(&disk);
        if trimmed.is_ok() {
            assert_eq!(log.trim_points().len(), 1);
        }
        let left = scan_all(&log, Position(0));
        assert!(left.iter().all(|r| r.bytes == vec![7; 1_000]));
        let segments = disk
            .paths()
            .iter()
            .filter(|p| p.extension().is_some_and(|e| e == "seg"))
            .count();
        assert!(
            segments <= log.trim_points().len() + 1,
            "trimmed segments are gone"
        );
    }
}

#[test]
fn a_cut_in_the_next_segment_stays_cut() {
    for seed in 0..20 {
        let disk = SimStorage::new(seed);
        let (log, epoch, kept) = quiet(&disk);
        let end = log.extent().durable.0;
        disk.kill();
        drop(log);
        // The batch that began the next segment was torn: its first sector is all that arrived.
        let spare = segments(&disk).remove(1);
        disk.edit(&spare, |bytes| {
            let (log_id, base) = (u64_at(bytes, 16), u64_at(bytes, 24));
            let mut torn = vec![0; FRAME_HEADER];
            open_record(&mut torn, 2_000, false);
            torn.resize(FRAME_HEADER + 2_008, b'x');
            seal(
                &mut torn,
                log_id,
                FrameHeader::new(epoch.0, base + 4096, end, end),
            );
            bytes[4096..4608].copy_from_slice(&torn[..512]);
        });
        let log = open(&disk);
        let epoch = log.fence().unwrap();
        let next = log
            .append(epoch, Urgency::Intake, b"in the old segment")
            .unwrap();
        let _durable = next.wait_durable().unwrap();
        disk.crash();
        drop(log);
        let left = scan_all(&open(&disk), Position(0));
        assert_eq!(
            left.iter().map(|r| r.position).collect::<Vec<_>>(),
            [kept.position(), next.position()]
        );
    }
}
