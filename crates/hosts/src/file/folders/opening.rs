//! Taking the folders at the start: what must be possible is tried, what is missing is said.
//!
//! Owns the errors that keep a file service from starting.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::Path,
};

use hie_engine::HostError;

use super::{super::disk::why, Folders};

impl Folders {
    /// Makes sure that every step will be possible, and that no other engine works in the same
    /// work folder. Held as long as the returned file is open.
    pub(crate) fn open(&self) -> Result<File, HostError> {
        self.check_folder()?;
        let given = self.errors_given.then_some(&self.errors);
        for made in [Some(&self.work), self.archive.as_ref(), given]
            .into_iter()
            .flatten()
        {
            fs::create_dir_all(made).map_err(|error| {
                HostError::new(
                    "path-not-writable",
                    format!(
                        "{}; make the folder, or let the user of the engine make it",
                        why("make the folder", made, &error)
                    ),
                )
            })?;
        }
        self.check_apart()?;
        let lock = self.lock()?;
        self.probe()?;
        Ok(lock)
    }

    fn check_folder(&self) -> Result<(), HostError> {
        let folder = self.folder.display();
        let wrong = |code, text: String| Err(HostError::new(code, text));
        match fs::metadata(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return wrong(
                    "path-missing",
                    format!(
                        "FilePath {folder} does not exist; make the folder, or correct FilePath"
                    ),
                );
            }
            Err(error) => {
                return wrong(
                    "path-not-readable",
                    why("look at FilePath", &self.folder, &error),
                );
            }
            Ok(found) if !found.is_dir() => {
                return wrong(
                    "not-a-folder",
                    format!(
                        "FilePath {folder} is not a folder; name the folder, and the files with FileSpec"
                    ),
                );
            }
            Ok(_) => {}
        }
        match fs::read_dir(&self.folder) {
            Ok(_) => Ok(()),
            Err(error) => wrong(
                "path-not-readable",
                format!(
                    "{}; let the user of the engine read the folder",
                    why("list FilePath", &self.folder, &error)
                ),
            ),
        }
    }

    /// Through links, two names may be one folder: the configuration reader cannot know.
    fn check_apart(&self) -> Result<(), HostError> {
        let real = |path: &Path| fs::canonicalize(path).ok();
        let folder = real(&self.folder);
        let same = [self.archive.as_ref(), Some(&self.errors)]
            .into_iter()
            .flatten()
            .find(|other| folder.is_some() && real(other) == folder);
        match same {
            None => Ok(()),
            Some(other) => {
                let message = format!(
                    "{} is the same folder as FilePath: every file would be taken again and again; name another",
                    other.display()
                );
                Err(HostError::new("same-folder", message))
            }
        }
    }

    fn lock(&self) -> Result<File, HostError> {
        let path = self.work.join(".lock");
        let failed = |error: &io::Error| {
            HostError::new("path-not-writable", why("open the lock", &path, error))
        };
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path);
        let file = file.map_err(|error| failed(&error))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => {
                let message = format!(
                    "the work folder {} is in use by another engine; stop it, or give this item another WorkPath",
                    self.work.display()
                );
                Err(HostError::new("folder-in-use", message))
            }
            // No locks on this file system: it is used as if nobody else were there.
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
                Ok(file)
            }
            Err(TryLockError::Error(error)) => Err(failed(&error)),
        }
    }

    /// Takes a file of ours the way that those of senders go.
    fn probe(&self) -> Result<(), HostError> {
        const NAME: &str = ".hie-probe";
        let (from, to) = (
            self.folder.join(format!("{NAME}-{}", std::process::id())),
            self.work.join(NAME),
        );
        let made = File::create(&from).map(drop);
        made.map_err(|error| {
            let message = why("write to FilePath", &self.folder, &error);
            HostError::new("path-not-writable", format!("{message}; taking a file means moving it out of the folder: let the user of the engine write to it"))
        })?;
        let moved = fs::rename(&from, &to);
        let _ = fs::remove_file(if moved.is_ok() { &to } else { &from });
        moved.map_err(|error| match error.kind() {
            io::ErrorKind::CrossesDevices => HostError::new("cross-device", self.cross_device()),
            _ => HostError::new(
                "path-not-writable",
                why("move a file into WorkPath", &self.work, &error),
            ),
        })
    }

    pub(super) fn cross_device(&self) -> String {
        let (work, folder) = (self.work_root.display(), self.folder.display());
        format!(
            "WorkPath {work} is on another file system than FilePath {folder}: a file cannot be claimed by one rename; put WorkPath on the same one, or leave it out"
        )
    }
}
