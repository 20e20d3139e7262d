//! What the operating system says of a process: its children, threads, connections, time spent.

use std::fs;

/// A process as `/proc` shows it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) pid: u32,
    /// Its arguments, as `ps` prints them.
    pub(crate) command: String,
}

/// The fields of `/proc/<pid>/stat` from the state on: names may have blanks, but no later `)`.
fn stat(pid: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    Some(rest.split(' ').map(str::to_owned).collect())
}

/// The processes that run and whose parent this one is.
pub(crate) fn children(parent: u32) -> Vec<Seen> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let ours = pids.filter(|pid| {
        stat(*pid).is_some_and(|stat| stat[0] != "Z" && stat[1] == parent.to_string())
    });
    let seen = ours.filter_map(|pid| {
        let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        Some(Seen { pid, command })
    });
    seen.collect()
}

/// The children that show this item's name.
pub(crate) fn workers(engine: u32, item: &str) -> Vec<u32> {
    let mut all = children(engine);
    let word = |c: char| !c.is_alphanumeric() && c != '-' && c != '_';
    all.retain(|seen| seen.command.split(word).any(|part| part == item));
    all.into_iter().map(|seen| seen.pid).collect()
}

/// The names of its threads, sorted.
pub(crate) fn threads(pid: u32) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let names = tasks.filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
    let mut names: Vec<String> = names.map(|name| name.trim().to_owned()).collect();
    names.sort();
    names
}

/// How many of its threads have this name.
pub(crate) fn threads_named(pid: u32, name: &str) -> usize {
    threads(pid).iter().filter(|thread| *thread == name).count()
}

/// How many connections it has to this port.
pub(crate) fn connections(pid: u32, port: u16) -> usize {
    let table = fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap_or_default();
    let port = format!(":{port:04X}");
    let inodes: Vec<String> = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|line| line.len() > 9 && line[2].ends_with(&port) && line[3] == "01")
        .map(|line| format!("socket:[{}]", line[9]))
        .collect();
    let open = fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten();
    let links = open
        .flatten()
        .filter_map(|fd| fs::read_link(fd.path()).ok());
    let ours = links.filter(|link| {
        inodes
            .iter()
            .any(|inode| link.as_os_str() == inode.as_str())
    });
    ours.count()
}

/// The time it has computed, in clock ticks (hundredths of a second).
pub(crate) fn ticks(pid: u32) -> u64 {
    let stat = stat(pid).unwrap();
    stat[11].parse::<u64>().unwrap() + stat[12].parse::<u64>().unwrap()
}
