//! What the disk can do at the pace of a measurement: a write of a message's length and fdatasync,
//! on a file that is zero-filled beforehand as a log's segment is.
//!
//! Differs from `hie-load fsync` in two things that matter for ratios: a time begins with the write
//! and not with its planned moment, so that a late timer does not flatter the engine, and the pace
//! can be that of round trips to an echo.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Write},
    net::TcpStream,
    num::NonZeroU64,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    thread::sleep,
    time::{Duration, Instant},
};

use crate::Fault;

const FILE_BYTES: u64 = 64 << 20;
/// A message of 700 bytes with what a log adds to it.
const WRITE_BYTES: u64 = 900;

/// What set the pace.
pub(crate) enum Pace<'a> {
    /// So many a second.
    Rate(f64),
    /// One behind each round trip of these framed bytes to an echo.
    Echo { addr: &'a str, frame: &'a [u8] },
}

/// Times of write and fdatasync, sorted.
pub(crate) struct Syncs(Vec<Duration>);

impl Syncs {
    pub(crate) fn mean(&self) -> Duration {
        let count = u32::try_from(self.0.len()).unwrap_or(u32::MAX).max(1);
        self.0.iter().sum::<Duration>() / count
    }

    /// So many of a hundred were at most so long.
    pub(crate) fn percentile(&self, of_hundred: usize) -> Duration {
        let place = self.0.len().saturating_sub(1) * of_hundred / 100;
        self.0.get(place).copied().unwrap_or_default()
    }
}

struct Scratch {
    file: File,
    path: PathBuf,
}

impl Scratch {
    fn new(folder: &Path) -> std::io::Result<Self> {
        let path = folder.join(format!("probe-{}.tmp", std::process::id()));
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)?;
        let zeroes = vec![0; 1 << 20];
        let filled = (0..FILE_BYTES >> 20).try_for_each(|_| file.write_all(&zeroes));
        let filled = filled.and_then(|()| file.sync_all());
        let scratch = Self { file, path };
        filled.map(|()| scratch)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path); // a scratch file more harms nobody
    }
}

/// Syncs in `folder` at this pace for `duration`.
pub(crate) fn syncs(folder: &Path, pace: &Pace<'_>, duration: Duration) -> Result<Syncs, Fault> {
    // Refused by some sandboxes; then timers are late by some fifty microseconds.
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
    let scratch = Scratch::new(folder)?;
    let block = [b'x'; WRITE_BYTES as usize];
    let mut echo = match pace {
        Pace::Echo { addr, .. } => Some(connect(addr)?),
        Pace::Rate(_) => None,
    };
    let (start, mut times, mut at) = (Instant::now(), Vec::new(), 0);
    while start.elapsed() < duration {
        match (pace, &mut echo) {
            (Pace::Echo { frame, .. }, Some(echo)) => exchange(echo, frame)?,
            (Pace::Rate(rate), _) => {
                let due = start + Duration::from_secs_f64(times.len() as f64 / rate);
                sleep(due.saturating_duration_since(Instant::now()));
            }
            _ => {}
        }
        let began = Instant::now();
        scratch.file.write_all_at(&block, at)?;
        scratch.file.sync_data()?;
        times.push(began.elapsed());
        at = (at + WRITE_BYTES) % (FILE_BYTES - WRITE_BYTES);
    }
    times.sort_unstable();
    Ok(Syncs(times))
}

pub(crate) fn connect(addr: &str) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(addr)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    Ok(stream)
}

/// Sends a frame and reads to the end of the answer's.
pub(crate) fn exchange(stream: &mut TcpStream, frame: &[u8]) -> std::io::Result<()> {
    stream.write_all(frame)?;
    let mut buffer = [0; 4096];
    loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if buffer
            .get(..count)
            .is_some_and(|read| read.ends_with(b"\x1c\r"))
        {
            return Ok(());
        }
    }
}
