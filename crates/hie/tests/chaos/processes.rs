//! Worker processes as the system shows them: found, killed, and seen to be gone.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

use crate::common::eventually;

/// A worker of an engine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Worker {
    pid: i32,
    /// When it started, so that another process with its number is not taken for it.
    started: String,
    /// Whose jobs it has.
    pub(crate) item: String,
}

impl Worker {
    /// The workers whose parent is this process.
    pub(crate) fn all_of(engine: u32) -> Vec<Self> {
        let processes = fs::read_dir("/proc").unwrap();
        let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let mut workers: Vec<_> = pids.filter_map(|pid| Self::read(pid, engine)).collect();
        workers.sort_by_key(|worker| worker.pid);
        workers
    }

    fn read(pid: i32, engine: u32) -> Option<Self> {
        let stat = Stat::of(pid)?;
        if stat.parent != engine || stat.is_dead {
            return None;
        }
        let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let words: Vec<_> = line
            .split(|&byte| byte == 0)
            .map(String::from_utf8_lossy)
            .collect();
        let is_worker = words
            .iter()
            .any(|word| word == "worker" || word == "hie.worker");
        let item = words.iter().position(|word| word == "--item")? + 1;
        is_worker.then(|| Self {
            pid,
            started: stat.started,
            item: words.get(item).map(ToString::to_string).unwrap_or_default(),
        })
    }

    /// Kills it; false if it was gone already.
    pub(crate) fn kill(&self) -> bool {
        let pid = Pid::from_raw(self.pid).unwrap();
        self.lives() && kill_process(pid, Signal::KILL).is_ok()
    }

    fn lives(&self) -> bool {
        Stat::of(self.pid).is_some_and(|stat| !stat.is_dead && stat.started == self.started)
    }

    /// Waits until none of them lives.
    pub(crate) fn all_gone(workers: &[Self], otherwise: &str) {
        eventually(&format!("workers end ({otherwise})"), || {
            (!workers.iter().any(Self::lives)).then_some(())
        });
    }
}

/// What the system says of a process.
struct Stat {
    parent: u32,
    started: String,
    /// It has ended and nobody has asked how.
    is_dead: bool,
}

impl Stat {
    fn of(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in brackets may hold anything; what follows are words.
        let words: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        Some(Self {
            is_dead: matches!(*words.first()?, "Z" | "X"),
            parent: words.get(1)?.parse().ok()?,
            started: (*words.get(19)?).to_owned(),
        })
    }
}
