//! What a process uses, from `/proc`.

use std::fs;

use rustix::param::{clock_ticks_per_second, page_size};

/// Processor time and memory of a process; nothing when there is no such process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Usage {
    /// User and system time in milliseconds.
    pub(crate) cpu_ms: u64,
    /// Resident memory.
    pub(crate) resident_bytes: u64,
}

impl Usage {
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let ticks = cpu_ticks(&stat)?;
        Some(Self {
            cpu_ms: ticks * 1000 / clock_ticks_per_second().max(1),
            resident_bytes: resident_bytes(pid)?,
        })
    }
}

/// Resident memory alone.
pub(crate) fn resident_bytes(pid: u32) -> Option<u64> {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * page_size() as u64)
}

/// Fields 14 and 15, counted behind the name, which may hold blanks and parentheses (proc(5)).
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_move_the_fields() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 2 3 4 250 50 6 7 20 0 1 0 99 1000 10";
        assert_eq!(cpu_ticks(stat), Some(300));
        assert!(Usage::of(std::process::id()).unwrap().resident_bytes > 0);
    }
}
