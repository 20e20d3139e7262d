//! What a figure was taken on: commit, compiler, kernel, processor, memory, disk. Owns no figure.

use std::{fs, path::Path, process::Command, time::SystemTime};

use serde::Serialize;

/// The environment of a run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    /// With `+changes` when the tree was not as committed.
    pub(crate) commit: String,
    pub(crate) rustc: String,
    pub(crate) kernel: String,
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) ram_mib: u64,
    /// Type of the file system of the measured store.
    pub(crate) file_system: String,
    /// Seconds since 1970 (UTC).
    pub(crate) time_s: u64,
    /// Processes that were ready to run beside the benchmark when it began (1 minute average).
    pub(crate) load_before: f64,
}

impl Machine {
    /// Looks around; what cannot be found out is `unknown`.
    pub(crate) fn here(root: &Path, data: &Path) -> Self {
        let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Self {
            commit: commit(root),
            rustc: said_by(Command::new("rustc").arg("-V")),
            kernel: read("/proc/sys/kernel/osrelease"),
            cpu: field("/proc/cpuinfo", "model name").unwrap_or_else(unknown),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            ram_mib: ram_mib().unwrap_or(0),
            file_system: file_system(data).unwrap_or_else(unknown),
            time_s: time.map_or(0, |time| time.as_secs()),
            load_before: read("/proc/loadavg")
                .split(' ')
                .next()
                .and_then(|n| n.parse().ok())
                .unwrap_or(0.0),
        }
    }

    /// The day of the run, `YYYY-MM-DD`.
    /// As a table of a page.
    pub(crate) fn table(&self) -> String {
        let rustc = self.rustc.split(' ').nth(1).unwrap_or("unknown");
        format!(
            "| commit | day | rustc | kernel | processor | memory | file system |\n\
             |---|---|---|---|---|---|---|\n\
             | `{}` | {} | {rustc} | {} | {} × {} | {:.0} GiB | {} |",
            self.commit,
            self.day(),
            self.kernel,
            self.cores,
            self.cpu,
            self.ram_mib as f64 / 1024.0,
            self.file_system
        )
    }

    pub(crate) fn day(&self) -> String {
        let (year, month, day) = civil(self.time_s / 86_400);
        format!("{year:04}-{month:02}-{day:02}")
    }
}

fn unknown() -> String {
    "unknown".to_owned()
}

fn commit(root: &Path) -> String {
    let git = |args: &[&str]| said_by(Command::new("git").arg("-C").arg(root).args(args));
    let id = git(&["rev-parse", "--short=12", "HEAD"]);
    let changed = Command::new("git")
        .arg("-C")
        .arg(root)
        .args(["diff", "--quiet", "HEAD"])
        .status();
    match changed {
        Ok(status) if !status.success() => id + "+changes",
        _ => id,
    }
}

fn said_by(command: &mut Command) -> String {
    let output = command
        .output()
        .ok()
        .filter(|output| output.status.success());
    output.map_or_else(unknown, |output| {
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    })
}

fn read(path: &str) -> String {
    fs::read_to_string(path).map_or_else(|_| unknown(), |text| text.trim().to_owned())
}

fn field(path: &str, key: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(key))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn ram_mib() -> Option<u64> {
    let total = field("/proc/meminfo", "MemTotal")?;
    Some(total.split_whitespace().next()?.parse::<u64>().ok()? >> 10)
}

/// The type of the file system whose mount point is the longest prefix.
fn file_system(folder: &Path) -> Option<String> {
    let folder = folder.canonicalize().ok()?;
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let parsed = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        Some((words.next()?, words.next()?))
    });
    let holding = parsed.filter(|(point, _)| folder.starts_with(point));
    holding
        .max_by_key(|(point, _)| point.len())
        .map(|(_, kind)| kind.to_owned())
}

/// Year, month and day of a day since 1970, by counting in 400-year eras that begin in March.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_dates() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(11_016), (2000, 2, 29));
        assert_eq!(civil(20_454), (2026, 1, 1));
    }

    #[test]
    fn the_root_has_a_file_system() {
        assert!(file_system(Path::new("/proc")).is_some());
    }
}
