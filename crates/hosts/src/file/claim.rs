//! A claimed file, as its name in the work folder tells of it.
//!
//! Owns the names in the work folder, which is all that a restart has. Touches no file system.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt,
};

use super::disk::Shape;

/// How far a claimed file is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Progress {
    /// So many of its messages are durable.
    Accepted(usize),
    /// All are.
    Done,
}

/// A claimed file.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    /// Orders the claims of an item.
    pub(crate) number: u64,
    /// The name that it came with.
    pub(crate) name: OsString,
    pub(crate) progress: Progress,
    /// The name that it has now; behind `progress` where a rename failed.
    pub(crate) on_disk: OsString,
    /// How it looked when it was read.
    pub(crate) read: Option<Shape>,
    /// It was there at the start, or accepting it failed once: some of it may be accepted already.
    pub(crate) possible_duplicate: bool,
    /// A message in state Error was made of it; what is left is to set it aside.
    pub(crate) recorded: bool,
}

impl Claim {
    pub(crate) fn new(number: u64, name: &OsStr) -> Self {
        let progress = Progress::Accepted(0);
        let on_disk = claim_name(number, progress, name);
        let (read, possible_duplicate, recorded) = (None, false, false);
        Self {
            number,
            name: name.to_owned(),
            progress,
            on_disk,
            read,
            possible_duplicate,
            recorded,
        }
    }

    /// From a name in the work folder; none if it is no claim.
    pub(crate) fn parse(on_disk: &OsStr) -> Option<Self> {
        let mut parts = on_disk.as_bytes().splitn(3, |byte| *byte == b'.');
        let number = std::str::from_utf8(parts.next()?).ok()?;
        let number = u64::from_str_radix(number, 16).ok()?;
        let progress = match std::str::from_utf8(parts.next()?).ok()? {
            "done" => Progress::Done,
            count => Progress::Accepted(count.parse().ok()?),
        };
        let name = OsStr::from_bytes(parts.next()?);
        let known = Self {
            progress,
            on_disk: on_disk.to_owned(),
            possible_duplicate: true,
            ..Self::new(number, name)
        };
        (!name.is_empty()).then_some(known)
    }

    /// Where one of its messages came from, for the trace.
    pub(crate) fn origin(&self, at: usize, of: usize) -> String {
        let name = self.shown();
        match (of > 1, self.possible_duplicate) {
            (false, false) => name,
            (false, true) => format!("{name} (possible duplicate)"),
            (true, false) => format!("{name} (message {} of {of})", at + 1),
            (true, true) => format!("{name} (message {} of {of}, possible duplicate)", at + 1),
        }
    }

    /// Its name as it can be shown.
    pub(crate) fn shown(&self) -> String {
        shown(&self.name)
    }
}

pub(crate) fn claim_name(number: u64, progress: Progress, name: &OsStr) -> OsString {
    let mut out = OsString::from(match progress {
        Progress::Accepted(count) => format!("{number:08x}.{count}."),
        Progress::Done => format!("{number:08x}.done."),
    });
    out.push(name);
    out
}

/// A name as it can be shown: senders choose it, and it must not drive a terminal.
pub(crate) fn shown(name: &OsStr) -> String {
    name.to_string_lossy()
        .chars()
        .map(|c| if c.is_control() { '\u{FFFD}' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_no_claims_are_told_from_claims() {
        for name in ["", "x", "1.2", "zz.0.a", "1.x.a", "1.0.", "1.-1.a", ".lock"] {
            assert!(Claim::parse(OsStr::new(name)).is_none(), "{name:?}");
        }
        let odd = OsStr::from_bytes(b"\xFF.\xFE");
        let claim = Claim::new(7, odd);
        let again = Claim::parse(&claim.on_disk).unwrap();
        assert_eq!((again.number, again.name.as_os_str()), (7, odd));
    }
}
