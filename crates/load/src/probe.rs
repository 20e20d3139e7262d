//! What the machine itself can do, measured in the same run as an engine, so that its figures can be
//! given as ratios: fdatasync of the log's disk, and the round trip of an echo.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::message::Template;
use crate::peers;
use crate::report::{Quantiles, Report, Times, round};
use crate::sender::{self, Load, LoadError};

/// Length of the file that is written round and round, zero-filled beforehand as a log's segment is.
const FILE_BYTES: u64 = 64 << 20;

/// What fdatasync costs.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct SyncReport {
    /// Bytes written before each sync.
    pub write_bytes: usize,
    /// Length of the run.
    pub seconds: f64,
    /// Syncs a second.
    pub per_second: f64,
    /// Of write and fdatasync together, from the planned time when paced.
    pub latency_us: Quantiles,
}

/// The file of a probe, removed with it.
struct Scratch {
    file: File,
    path: PathBuf,
}

impl Scratch {
    fn new(folder: &Path) -> io::Result<Self> {
        let path = folder.join(format!("fsync-probe-{}.tmp", std::process::id()));
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)?;
        let zeroes = vec![0; 1 << 20];
        let filled = (0..FILE_BYTES >> 20)
            .try_for_each(|_| file.write_all(&zeroes))
            .and_then(|()| file.sync_all());
        let scratch = Self { file, path };
        filled.map(|()| scratch)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Writes `write_bytes` and calls fdatasync, over and over for `duration`, on a file in `folder`; back to
/// back, or at `per_second`. Blocks its thread.
///
/// # Errors
/// What the file system says; `InvalidInput` for a write of nothing or of more than the file holds, and
/// for a rate that is not above 0.
pub fn fdatasync(
    folder: &Path,
    write_bytes: usize,
    per_second: Option<f64>,
    duration: Duration,
) -> io::Result<SyncReport> {
    let invalid = |what| Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    if write_bytes == 0 || write_bytes as u64 > FILE_BYTES {
        return invalid("a write must be 1 byte to 64 MiB long");
    }
    if per_second.is_some_and(|rate| !rate.is_finite() || rate <= 0.0) {
        return invalid("the rate must be above 0 syncs a second");
    }
    let scratch = Scratch::new(folder)?;
    let block = vec![b'x'; write_bytes];
    let (mut times, mut offset, start) = (Times::default(), 0, Instant::now());
    for n in 0u64.. {
        let planned = match per_second {
            None => Instant::now(),
            Some(rate) => start + Duration::from_secs_f64(n as f64 / rate),
        };
        if planned.duration_since(start) >= duration || start.elapsed() >= duration {
            break;
        }
        std::thread::sleep(planned.saturating_duration_since(Instant::now()));
        if offset + write_bytes as u64 > FILE_BYTES {
            offset = 0;
        }
        scratch.file.write_all_at(&block, offset)?;
        scratch.file.sync_data()?;
        offset += write_bytes as u64;
        times.record(planned.elapsed());
    }
    let seconds = start.elapsed().as_secs_f64();
    Ok(SyncReport {
        write_bytes,
        seconds: round(seconds, 2),
        per_second: round(times.count() as f64 / seconds, 1),
        latency_us: times.quantiles(),
    })
}

/// The round trip to a null echo in this process: `load` as it is, but for its address.
///
/// For the ratio of an engine in a process of its own, start the null echo in one too.
///
/// # Errors
/// As [`sender::run`], and when no port can be had.
pub async fn echo(load: Load) -> Result<Report, LoadError> {
    let peer = peers::null("127.0.0.1:0")
        .await
        .map_err(LoadError::io("listening"))?;
    let outcome = sender::run(Load {
        addr: peer.addr().to_string(),
        ..load
    })
    .await?;
    Ok(outcome.report)
}

/// The round trip of one connection, closed loop, for `duration`.
///
/// # Errors
/// As [`echo`].
pub async fn round_trip(template: Template, duration: Duration) -> Result<Report, LoadError> {
    echo(Load {
        duration: Some(duration),
        ..Load::new("", template)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Kind;

    #[test]
    fn fdatasync_is_counted_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let report = fdatasync(folder.path(), 4096, None, Duration::from_millis(50)).unwrap();
        assert!(report.latency_us.count > 0 && report.per_second > 0.0);
        let paced = fdatasync(folder.path(), 100, Some(1000.0), Duration::from_millis(20)).unwrap();
        assert!((1..=20).contains(&paced.latency_us.count));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(fdatasync(folder.path(), 0, None, Duration::ZERO).is_err());
        assert!(fdatasync(folder.path(), 1, Some(0.0), Duration::ZERO).is_err());
    }

    #[tokio::test]
    async fn a_round_trip_can_be_had_from_one_process() {
        let report = round_trip(Template::fixed(Kind::Adt, 700), Duration::from_millis(50))
            .await
            .unwrap();
        assert!(report.acks > 0 && report.errors.is_empty());
    }
}
