//! What the system says of a process: memory and processor time. Linux only, like the figures.

use std::{
    fs,
    thread::sleep,
    time::{Duration, Instant},
};

use crate::Fault;

/// Length of a tick in `/proc/PID/stat`: the ABI says 100 Hz whatever the kernel's own clock.
const TICK: Duration = Duration::from_millis(10);

/// A figure of `/proc/PID/status` or `smaps_rollup`, in bytes.
pub(crate) fn memory_bytes(pid: u32, file: &str, key: &str) -> Result<u64, Fault> {
    let path = format!("/proc/{pid}/{file}");
    let text = fs::read_to_string(&path).map_err(|error| format!("cannot read {path}: {error}"))?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    let kib: Option<u64> = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    kib.map(|kib| kib << 10)
        .ok_or_else(|| format!("{path} has no {key}").into())
}

/// User and system time of a process, to the tick.
pub(crate) fn cpu(pid: u32) -> Result<Duration, Fault> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).map_err(|error| format!("cannot read {path}: {error}"))?;
    // The name in brackets may hold anything, so fields count from behind it: utime is the 12th.
    let rest = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u32 = rest
        .split_whitespace()
        .skip(11)
        .take(2)
        .flat_map(str::parse::<u32>)
        .sum();
    Ok(TICK * ticks)
}

/// A process and its children, and theirs.
pub(crate) fn family(pid: u32) -> Vec<u32> {
    let mut family = vec![pid];
    let mut next = 0;
    while let Some(&member) = family.get(next) {
        next += 1;
        let tasks = fs::read_dir(format!("/proc/{member}/task"));
        for task in tasks.into_iter().flatten().flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            family.extend(children.split_whitespace().flat_map(str::parse::<u32>));
        }
    }
    family
}

/// Time on a processor by thread, of those that live now, to the nanosecond.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Threads {
    /// The tail thread of the store: index and checkpoints.
    pub(crate) index: Duration,
    /// The threads of the log.
    pub(crate) journal: Duration,
    /// All others: the workers of the runtime, as good as.
    pub(crate) rest: Duration,
}

impl Threads {
    /// Of a process so far.
    pub(crate) fn of(pid: u32) -> Result<Self, Fault> {
        let folder = format!("/proc/{pid}/task");
        let tasks =
            fs::read_dir(&folder).map_err(|error| format!("cannot read {folder}: {error}"))?;
        let mut threads = Self::default();
        for task in tasks.flatten() {
            let read = |name| fs::read_to_string(task.path().join(name)).unwrap_or_default();
            let (name, times) = (read("comm"), read("schedstat"));
            // A thread that has just ended reads as nothing.
            let ns = times
                .split_whitespace()
                .next()
                .and_then(|ns| ns.parse().ok())
                .unwrap_or(0);
            let sum = match name.trim_end() {
                name if name.starts_with("hie-store") => &mut threads.index,
                name if name.starts_with("journal") => &mut threads.journal,
                _ => &mut threads.rest,
            };
            *sum += Duration::from_nanos(ns);
        }
        Ok(threads)
    }

    pub(crate) fn all(&self) -> Duration {
        self.index + self.journal + self.rest
    }
}

/// Waits until a process has used less than 1 % of a core for a second: its index has caught up,
/// its queues are empty or cannot move. Says how long that took; an error after `patience`.
pub(crate) fn settle(pid: u32, patience: Duration) -> Result<Duration, Fault> {
    let (start, window) = (Instant::now(), Duration::from_secs(1));
    loop {
        let (before, began) = (cpu(pid)?, Instant::now());
        sleep(window);
        if cpu(pid)?.saturating_sub(before) <= began.elapsed() / 50 {
            return Ok(start.elapsed().saturating_sub(window));
        }
        if start.elapsed() > patience {
            return Err(format!("process {pid} was still busy after {patience:?}").into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_time() {
        let pid = std::process::id();
        assert!(memory_bytes(pid, "status", "VmRSS").unwrap() > 1 << 18);
        assert!(memory_bytes(pid, "status", "VmNothing").is_err());
        let busy: u64 = (0..30_000_000u64).fold(0, |sum, n| std::hint::black_box(sum ^ n));
        std::hint::black_box(busy);
        assert!(Threads::of(pid).unwrap().all() > Duration::ZERO);
        assert!(cpu(pid).is_ok());
    }
}
