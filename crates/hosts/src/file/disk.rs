//! Moving files without losing any: nothing is ever overwritten unless it was asked for, and what
//! must survive a power cut is synced.
//!
//! Owns the steps on the file system that both directions share. All of them block. Knows nothing
//! of messages.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::MetadataExt,
    path::{Component, Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use hie_engine::{
    HostError,
    config::{ItemConfig, ProductionConfig},
};

use super::names;

/// Makes the `FilePath` of an item where it lies below the production's `DataPath`: what is in there
/// is the engine's own. Any other folder must exist: making it could hide a share that is not
/// mounted.
///
/// # Errors
/// `path-not-writable` where the folder cannot be made.
pub(crate) fn make_own_folder(
    item: &ItemConfig,
    production: &ProductionConfig,
) -> Result<(), HostError> {
    let folder = Path::new(item.settings.text("FilePath").unwrap_or_default());
    let own = folder.starts_with(&production.engine.data_path)
        && !folder.components().any(|part| part == Component::ParentDir);
    if !own {
        return Ok(());
    }
    fs::create_dir_all(folder).map_err(|error| {
        HostError::new("path-not-writable", why("make the folder", folder, &error))
    })
}

/// What one can see of a file from outside: as long as this stays the same, nobody wrote to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Shape {
    pub(crate) bytes: u64,
    /// Seconds and nanoseconds of the last modification.
    pub(crate) modified: (i64, i64),
}

impl Shape {
    pub(crate) fn of(metadata: &fs::Metadata) -> Self {
        Self {
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

/// What failed, on what and why, for the operator.
pub(crate) fn why(action: &str, path: &Path, error: &io::Error) -> String {
    format!("cannot {action} {}: {error}", path.display())
}

/// Makes renames in a folder survive a power cut. Some network file systems cannot sync a folder;
/// there is no more to do there.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder)?.sync_all() {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported
            ) =>
        {
            Ok(())
        }
        other => other,
    }
}

/// Moves a file to a name that must be free: `AlreadyExists` if it is not. Works across file
/// systems (by a synced copy).
pub(crate) fn move_new(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Ok(()) => fs::remove_file(from),
        Err(error) => match error.kind() {
            // An earlier try may have got as far as the link.
            io::ErrorKind::AlreadyExists if is_same_file(from, to) => fs::remove_file(from),
            io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound => Err(error),
            io::ErrorKind::CrossesDevices => copy_new(from, to),
            // No links here, or not of files of other owners.
            _ => rename_if_free(from, to),
        },
    }
}

fn is_same_file(a: &Path, b: &Path) -> bool {
    let (Ok(a), Ok(b)) = (fs::symlink_metadata(a), fs::symlink_metadata(b)) else {
        return false;
    };
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

fn rename_if_free(from: &Path, to: &Path) -> io::Result<()> {
    if fs::symlink_metadata(to).is_ok() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => copy_new(from, to),
        other => other,
    }
}

/// A copy is never seen under its name before it is whole.
fn copy_new(from: &Path, to: &Path) -> io::Result<()> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let nth = NEXT.fetch_add(1, Ordering::Relaxed);
    let part = to.with_file_name(format!(".hie-copy-{}-{nth}", std::process::id()));
    let copied = copy_synced(from, &part).and_then(|()| {
        fs::hard_link(&part, to).or_else(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Err(error),
            _ => rename_if_free(&part, to),
        })
    });
    // Gone already where it was renamed.
    let _ = fs::remove_file(&part);
    copied?;
    sync_folder(to.parent().unwrap_or(to))?;
    fs::remove_file(from)
}

fn copy_synced(from: &Path, to: &Path) -> io::Result<()> {
    let mut out = OpenOptions::new().write(true).create_new(true).open(to)?;
    io::copy(&mut File::open(from)?, &mut out)?;
    out.sync_all()
}

/// Moves a file into a folder under its name; where the name is taken, with the time behind it.
pub(crate) fn move_into(
    from: &Path,
    folder: &Path,
    name: &OsStr,
    now_ms: u64,
) -> io::Result<PathBuf> {
    const TRIES: u32 = 1000;
    let stamp = names::stamp(now_ms);
    for nth in 0..TRIES {
        let mut free = OsString::from(name);
        match nth {
            0 => {}
            1 => free.push(format!("_{stamp}")),
            _ => free.push(format!("_{stamp}_{nth}")),
        }
        let to = folder.join(free);
        match move_new(from, &to) {
            Ok(()) => return Ok(to),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::new(
        io::ErrorKind::AlreadyExists,
        "a thousand files of this name are there already",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_move_never_overwrites() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("a"), folder.path().join("b"));
        fs::write(&from, "new").unwrap();
        fs::write(&to, "old").unwrap();
        assert_eq!(
            move_new(&from, &to).unwrap_err().kind(),
            io::ErrorKind::AlreadyExists
        );
        assert_eq!(
            rename_if_free(&from, &to).unwrap_err().kind(),
            io::ErrorKind::AlreadyExists
        );
        assert_eq!(
            copy_new(&from, &to).unwrap_err().kind(),
            io::ErrorKind::AlreadyExists
        );
        assert_eq!(fs::read(&to).unwrap(), b"old");
        assert_eq!(fs::read(&from).unwrap(), b"new");
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            2,
            "no part of a copy is left"
        );
    }

    #[test]
    fn a_move_that_was_cut_off_behind_its_link_is_finished() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("a"), folder.path().join("b"));
        fs::write(&from, "x").unwrap();
        fs::hard_link(&from, &to).unwrap();
        move_new(&from, &to).unwrap();
        assert!(!from.exists() && to.exists());
    }

    #[test]
    fn every_way_of_moving_keeps_the_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("a"), folder.path().join("b"));
        for mover in [move_new, rename_if_free, copy_new] {
            fs::write(&from, "bytes").unwrap();
            mover(&from, &to).unwrap();
            assert_eq!(fs::read(&to).unwrap(), b"bytes");
            assert!(!from.exists());
            fs::remove_file(&to).unwrap();
        }
    }

    #[test]
    fn a_name_that_is_taken_gets_the_time_and_a_number() {
        let folder = tempfile::tempdir().unwrap();
        let from = folder.path().join("from");
        let mut names = Vec::new();
        for body in ["1", "2", "3"] {
            fs::write(&from, body).unwrap();
            let to =
                move_into(&from, folder.path(), OsStr::new("a.hl7"), 1_767_322_800_123).unwrap();
            assert_eq!(fs::read(&to).unwrap(), body.as_bytes());
            names.push(to.file_name().unwrap().to_owned());
        }
        let stamp = names::stamp(1_767_322_800_123);
        assert_eq!(names[0], "a.hl7");
        assert_eq!(names[1], *format!("a.hl7_{stamp}"));
        assert_eq!(names[2], *format!("a.hl7_{stamp}_2"));
    }

    #[test]
    fn another_file_system_is_reached_by_a_copy() {
        let here = tempfile::tempdir().unwrap();
        let Ok(there) = tempfile::tempdir_in("/dev/shm") else {
            println!("skipped: /dev/shm is not there");
            return;
        };
        let (from, to) = (here.path().join("a"), there.path().join("b"));
        fs::write(&from, "bytes").unwrap();
        move_new(&from, &to).unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"bytes");
        assert!(!from.exists());
        assert_eq!(fs::read_dir(there.path()).unwrap().count(), 1);
    }
}
