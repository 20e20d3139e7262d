//! Durable appends of 1 KiB records: one waiting thread, 64 waiting threads, many at once without
//! waiting, and beside them the floor: one raw write and fdatasync a record, into zero-filled
//! space. Ratios of one run count, not the figures of one machine.

use std::{fs::File, os::unix::fs::FileExt, sync::Barrier, thread};

use divan::{Bencher, counter::ItemsCount};
use hie_journal::{Epoch, Log, OpenHint, Options, SegmentLog, Urgency};

const RECORD: [u8; 1024] = [b'x'; 1024];
const APPENDS: usize = 1_000;

fn main() {
    divan::main();
}

fn log() -> (tempfile::TempDir, SegmentLog, Epoch) {
    // Beside the sources, not in /tmp: that may be memory.
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder for the bench");
    let (log, _) =
        SegmentLog::open(dir.path(), Options::default(), OpenHint::default()).expect("a new log");
    let epoch = log.fence().expect("the right to write");
    (dir, log, epoch)
}

fn append_durable(log: &SegmentLog, epoch: Epoch) {
    let ticket = log.append(epoch, Urgency::Intake, &RECORD).expect("append");
    let _durable = ticket.wait_durable().expect("durable");
}

#[divan::bench(sample_count = 5, sample_size = 1)]
fn raw_write_and_fdatasync(bencher: Bencher<'_, '_>) {
    let file: File =
        tempfile::tempfile_in(env!("CARGO_TARGET_TMPDIR")).expect("a file for the bench");
    file.write_all_at(&vec![0; 4 << 20], 0).expect("zero-fill");
    file.sync_all().expect("sync");
    bencher.counter(ItemsCount::new(APPENDS)).bench_local(|| {
        for i in 0..APPENDS {
            file.write_all_at(&RECORD, (i as u64 % 4_000) * 1024)
                .expect("write");
            file.sync_data().expect("fdatasync");
        }
    });
}

#[divan::bench(sample_count = 5, sample_size = 1)]
fn one_thread_waits(bencher: Bencher<'_, '_>) {
    let (_dir, log, epoch) = log();
    bencher
        .counter(ItemsCount::new(APPENDS))
        .bench_local(|| (0..APPENDS).for_each(|_| append_durable(&log, epoch)));
}

#[divan::bench(sample_count = 5, sample_size = 1)]
fn sixty_four_threads_wait(bencher: Bencher<'_, '_>) {
    const THREADS: usize = 64;
    const EACH: usize = 400;
    let (_dir, log, epoch) = log();
    bencher
        .counter(ItemsCount::new(THREADS * EACH))
        .bench_local(|| {
            let start = Barrier::new(THREADS);
            thread::scope(|scope| {
                for _ in 0..THREADS {
                    scope.spawn(|| {
                        start.wait();
                        (0..EACH).for_each(|_| append_durable(&log, epoch));
                    });
                }
            });
        });
}

#[divan::bench(sample_count = 5, sample_size = 1)]
fn sixty_four_tasks_wait(bencher: Bencher<'_, '_>) {
    const TASKS: usize = 64;
    const EACH: usize = 400;
    let (_dir, log, epoch) = log();
    let log = std::sync::Arc::new(log);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .expect("a runtime");
    bencher
        .counter(ItemsCount::new(TASKS * EACH))
        .bench_local(|| {
            runtime.block_on(async {
                let task = |log: std::sync::Arc<SegmentLog>| async move {
                    for _ in 0..EACH {
                        let ticket = log.append(epoch, Urgency::Intake, &RECORD).expect("append");
                        let _durable = ticket.durable().await.expect("durable");
                    }
                };
                let tasks: Vec<_> = (0..TASKS)
                    .map(|_| tokio::spawn(task(log.clone())))
                    .collect();
                for task in tasks {
                    task.await.expect("a task");
                }
            });
        });
}

/// What an append costs its caller when nobody waits; the disk is far behind.
#[divan::bench(sample_count = 50, sample_size = 500)]
fn append_alone(bencher: Bencher<'_, '_>) {
    let (_dir, log, epoch) = log();
    bencher.counter(ItemsCount::new(1usize)).bench_local(|| {
        log.append(epoch, Urgency::Intake, &RECORD)
            .expect("append")
            .position()
    });
}

/// Opening a log of a quarter GiB after a clean stop: must not depend on its size.
#[divan::bench(sample_count = 5, sample_size = 1)]
fn open_large(bencher: Bencher<'_, '_>) {
    let (dir, log, epoch) = log();
    for _ in 0..256 << 10 {
        let _ = log.append(epoch, Urgency::Intake, &RECORD).expect("append");
    }
    log.close().expect("close");
    drop(log);
    bencher.bench_local(|| {
        SegmentLog::open(dir.path(), Options::default(), OpenHint::default()).expect("open")
    });
}

/// A new log, from nothing to the first durable record.
#[divan::bench(sample_count = 5, sample_size = 1)]
fn first_start(bencher: Bencher<'_, '_>) {
    bencher.bench_local(|| {
        let (dir, log, epoch) = log();
        append_durable(&log, epoch);
        (dir, log)
    });
}
