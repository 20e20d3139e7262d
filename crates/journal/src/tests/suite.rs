//! One suite over every provider of [`Log`].

use std::{sync::Arc, thread};

use crate::{
    Epoch, Log, LogError, MemoryLog, OpenHint, Options, Position, Record, SegmentLog, Urgency,
};

/// Small segments, so that a few hundred records turn many pages.
pub(super) fn small() -> Options {
    Options {
        segment_bytes: 64 << 10,
        first_segment_bytes: 16 << 10,
        batch_bytes: 8 << 10,
        reserve_bytes: Some(0),
        ..Options::default()
    }
}

fn suite(test: impl Fn(Arc<dyn Log>)) {
    test(Arc::new(MemoryLog::new()));
    let dir = tempfile::tempdir().unwrap();
    let (log, report) = SegmentLog::open(dir.path(), small(), OpenHint::default()).unwrap();
    assert_eq!(report.cut_at, None);
    test(Arc::new(log));
}

pub(super) fn scan_all(log: &dyn Log, from: Position) -> Vec<Record> {
    let (mut at, mut all) = (from, Vec::new());
    loop {
        let before = all.len();
        at = log.scan(at, 5_000, &mut all).unwrap();
        if all.len() == before {
            return all;
        }
    }
}

fn put(log: &dyn Log, epoch: Epoch, bytes: &[u8]) -> Position {
    let ticket = log.append(epoch, Urgency::Intake, bytes).unwrap();
    let _durable = ticket.wait_durable().unwrap();
    ticket.position()
}

fn body(i: usize) -> Vec<u8> {
    vec![i as u8; (i * 37) % 3_000]
}

#[test]
fn appended_records_come_back_in_order() {
    suite(|log| {
        let epoch = log.fence().unwrap();
        let positions: Vec<_> = (0..300)
            .map(|i| {
                log.append(epoch, Urgency::Intake, &body(i))
                    .unwrap()
                    .position()
            })
            .collect();
        assert!(positions.is_sorted_by(|a, b| a < b));
        for (i, p) in positions.iter().enumerate() {
            assert_eq!(log.read(*p).unwrap(), body(i), "durable or not");
        }
        log.flush().unwrap();
        let extent = log.extent();
        assert!(extent.durable > *positions.last().unwrap() && extent.end >= extent.durable);
        let all = scan_all(&*log, extent.first);
        assert_eq!(
            all.iter().map(|r| r.position).collect::<Vec<_>>(),
            positions
        );
        assert!(all.iter().enumerate().all(|(i, r)| r.bytes == body(i)));
        let from = scan_all(&*log, positions[123]);
        assert_eq!(from.first().map(|r| r.position), Some(positions[123]));
        let between = scan_all(&*log, Position(positions[200].0 + 1));
        assert_eq!(between.first().map(|r| r.position), Some(positions[201]));
        assert!(matches!(log.read(extent.end), Err(LogError::NotFound(_))));
    });
}

#[test]
fn fill_gets_the_position_and_exactly_its_zeroed_bytes() {
    suite(|log| {
        let epoch = log.fence().unwrap();
        let mut seen = None;
        let ticket = log
            .append_with(epoch, Urgency::Progress, 5, &mut |p, out| {
                assert_eq!(out, [0; 5]);
                out.copy_from_slice(b"hello");
                seen = Some(p);
            })
            .unwrap();
        assert_eq!(seen, Some(ticket.position()));
        assert_eq!(log.read(ticket.position()).unwrap(), "hello");
        log.flush().unwrap();
        assert_eq!(log.read(ticket.position()).unwrap(), "hello");
        let odd = Position(ticket.position().0 + 3);
        assert!(matches!(log.read(odd), Err(LogError::NotFound(_))));
    });
}

#[test]
fn a_panicking_fill_leaves_no_record() {
    suite(|log| {
        let epoch = log.fence().unwrap();
        let panics = std::panic::AssertUnwindSafe(|| {
            log.append_with(epoch, Urgency::Intake, 9, &mut |_, _| {
                panic!("defect above")
            })
        });
        assert!(std::panic::catch_unwind(panics).is_err());
        let at = put(&*log, epoch, b"next");
        let all = scan_all(&*log, log.extent().first);
        assert_eq!(
            all.iter()
                .map(|r| (r.position, &r.bytes[..]))
                .collect::<Vec<_>>(),
            [(at, &b"next"[..])]
        );
    });
}

#[test]
fn a_fence_ends_older_writers() {
    suite(|log| {
        assert!(
            matches!(
                log.append(Epoch(0), Urgency::Intake, b"x"),
                Err(LogError::Fenced { .. })
            ),
            "nobody writes before the first fence"
        );
        let old = log.fence().unwrap();
        put(&*log, old, b"old");
        let new = log.fence().unwrap();
        assert!(new > old);
        let refused = log.append(old, Urgency::Progress, b"late");
        assert!(
            matches!(refused, Err(LogError::Fenced { ours, current }) if ours == old && current == new)
        );
        put(&*log, new, b"new");
        assert_eq!(scan_all(&*log, log.extent().first).len(), 2);
    });
}

#[test]
fn trim_lets_whole_points_go() {
    suite(|log| {
        let epoch = log.fence().unwrap();
        let positions: Vec<_> = (0..400)
            .map(|_| {
                log.append(epoch, Urgency::Intake, &[7; 1000])
                    .unwrap()
                    .position()
            })
            .collect();
        log.flush().unwrap();
        let points = log.trim_points();
        assert!(points.len() > 3);
        assert!(
            points.windows(2).all(|w| w[0].0.0 + w[0].1 == w[1].0.0),
            "points chain"
        );
        let keep = positions[250];
        log.trim(keep).unwrap();
        let extent = log.extent();
        assert!(extent.first > positions[0] && extent.first <= keep);
        assert!(matches!(log.read(positions[0]), Err(LogError::NotFound(_))));
        assert_eq!(log.read(keep).unwrap(), vec![7; 1000]);
        let left = scan_all(&*log, Position(0));
        let expected: Vec<_> = positions
            .iter()
            .filter(|p| **p >= extent.first)
            .copied()
            .collect();
        assert_eq!(
            left.iter().map(|r| r.position).collect::<Vec<_>>(),
            expected
        );
        log.trim(Position(u64::MAX)).unwrap();
        assert_eq!(log.trim_points().len(), 1, "the last one never leaves");
        put(&*log, epoch, b"goes on");
    });
}

#[test]
fn a_closed_log_takes_nothing_and_keeps_everything() {
    suite(|log| {
        let epoch = log.fence().unwrap();
        let ticket = log.append(epoch, Urgency::Intake, b"last").unwrap();
        log.close().unwrap();
        let _durable = ticket.wait_durable().expect("close flushes");
        assert!(matches!(
            log.append(epoch, Urgency::Progress, b"x"),
            Err(LogError::Closed)
        ));
        assert!(matches!(log.fence(), Err(LogError::Closed)));
        assert_eq!(log.read(ticket.position()).unwrap(), "last");
        log.close().unwrap();
    });
}

#[test]
fn many_threads_get_what_they_wrote() {
    suite(|log| {
        let epoch = log.fence().unwrap();
        let workers: Vec<_> = (0..16u8)
            .map(|t| {
                let log = log.clone();
                thread::spawn(move || {
                    (0..50)
                        .map(|i| (put(&*log, epoch, &[t, i]), [t, i]))
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        for worker in workers {
            let mine = worker.join().unwrap();
            assert!(mine.is_sorted_by_key(|(p, _)| *p));
            assert!(
                mine.iter()
                    .all(|(p, bytes)| log.read(*p).unwrap() == bytes[..])
            );
        }
        assert_eq!(scan_all(&*log, Position(0)).len(), 16 * 50);
    });
}

#[test]
fn tokio_tasks_wake() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    suite(|log| {
        let epoch = log.fence().unwrap();
        runtime.block_on(async {
            let tasks: Vec<_> = (0..64u8)
                .map(|t| {
                    let log = log.clone();
                    tokio::spawn(async move {
                        for i in 0..20 {
                            let _durable = log
                                .append(epoch, Urgency::Intake, &[t, i])
                                .unwrap()
                                .durable()
                                .await
                                .unwrap();
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
        });
        assert_eq!(scan_all(&*log, Position(0)).len(), 64 * 20);
    });
}

#[test]
fn a_record_beyond_the_limit_is_refused() {
    let log = MemoryLog::with_limits(1 << 16, 10);
    let epoch = log.fence().unwrap();
    assert!(matches!(
        log.append(epoch, Urgency::Intake, &[0; 11]),
        Err(LogError::TooLarge {
            size: 11,
            limit: 10
        })
    ));
}

#[test]
fn a_record_larger_than_a_segment_gets_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = SegmentLog::open(dir.path(), small(), OpenHint::default()).unwrap();
    let epoch = log.fence().unwrap();
    let sizes = [10, 200_000, 10, 1 << 20, 30_000];
    let positions: Vec<_> = sizes
        .iter()
        .map(|n| put(&log, epoch, &vec![9; *n]))
        .collect();
    log.close().unwrap();
    drop(log);
    let (log, report) = SegmentLog::open(
        dir.path(),
        small(),
        OpenHint {
            verify_from: Some(Position(0)),
        },
    )
    .unwrap();
    assert_eq!((report.records, report.cut_at), (5, None));
    for (p, n) in positions.iter().zip(sizes) {
        assert_eq!(log.read(*p).unwrap(), vec![9; n]);
    }
}
