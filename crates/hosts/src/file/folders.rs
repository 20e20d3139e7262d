//! The folders of a file service, and what becomes of the files in them.
//!
//! Owns every step that a file takes from the watched folder to the archive. All steps block; who
//! calls puts them on a thread that may. Knows nothing of messages, and remembers nothing: all that
//! a restart needs is in the names of the files.
//!
//! # The way of a file, and what a crash leaves
//! 1. *Claimed*: renamed into a folder of this item under `WorkPath`, as `<number>.0.<name>`, and
//!    both folders are synced before anything is read. From here on the file is this item's; a
//!    crash leaves it there.
//! 2. *Accepted*: its messages are made durable in their order. The name keeps count, `<number>.3.<name>`
//!    says that three are durable; a restart goes on with the fourth.
//! 3. *Done*: `<number>.done.<name>` says that all are durable; a restart only does step 4.
//! 4. *Archived*: moved to `ArchivePath` under its own name (with the time behind it where that is
//!    taken), or deleted where no `ArchivePath` is given.
//!
//! A crash of the engine between the durable message and the new count makes at most the messages
//! of one step of acceptance come twice; after a power cut the file system may have forgotten more
//! counts. Nothing can be lost: a file leaves the work folder only when it is done. What a restart
//! finds in step 1 or 2 is therefore accepted with the mark *possible duplicate* in its origin.
//!
//! A file that cannot become a message (too large, not readable) is set aside in `ErrorPath` and a
//! message in state Error says so. No file is deleted unless all that it held is durable.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Read as _},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use hie_engine::{
    HostError,
    config::{ItemConfig, ProductionConfig},
};

use super::{
    claim::{Claim, claim_name},
    disk::{self, Shape, why},
    names::{self, FileSpec},
};

/// The folders of one item.
#[derive(Debug)]
pub struct Folders {
    folder: PathBuf,
    spec: FileSpec,
    /// Of all items that share it.
    work_root: PathBuf,
    /// Of this item.
    work: PathBuf,
    archive: Option<PathBuf>,
    errors: PathBuf,
    errors_given: bool,
    max_bytes: u64,
    /// The folders that other items of the production may have under `work_root`.
    neighbours: Vec<String>,
}

/// A file that could be taken.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) name: OsString,
    pub(crate) shape: Shape,
}

/// What came of reading a claimed file.
#[derive(Debug)]
pub(crate) enum Found {
    /// All of it.
    Whole(Bytes, Shape),
    /// Somebody wrote to it meanwhile.
    Changing,
    /// It cannot become a message; why.
    Unfit(String),
    /// It is not there any more.
    Gone,
}

/// What was found in the work folder at the start.
#[derive(Debug, Default)]
pub(crate) struct Leftovers {
    pub(crate) claims: Vec<Claim>,
    /// Names that are no claims.
    pub(crate) strange: usize,
    /// Folders with files of items that this production does not have.
    pub(crate) abandoned: Vec<PathBuf>,
}

impl Folders {
    /// From the settings of an item.
    ///
    /// # Errors
    /// A `FileSpec` that does not read; the configuration reader has refused it before.
    pub fn of(item: &ItemConfig, production: &ProductionConfig) -> Result<Self, HostError> {
        let path = |name| {
            item.settings
                .text(name)
                .filter(|text| !text.is_empty())
                .map(PathBuf::from)
        };
        let folder = path("FilePath").unwrap_or_default();
        let spec = FileSpec::parse(item.settings.text("FileSpec").unwrap_or("*"));
        let work_root = path("WorkPath").unwrap_or_else(|| folder.join(".hie-work"));
        let errors = path("ErrorPath");
        Ok(Self {
            spec: spec
                .map_err(|error| HostError::new("bad-setting", format!("FileSpec: {error}")))?,
            work: work_root.join(names::folder_of_item(&item.name)),
            work_root,
            archive: path("ArchivePath"),
            errors_given: errors.is_some(),
            errors: errors.unwrap_or_else(|| folder.join("error")),
            max_bytes: item
                .settings
                .int("MaxFileSize")
                .and_then(|max| u64::try_from(max).ok())
                .unwrap_or(u64::MAX),
            neighbours: production
                .items
                .iter()
                .map(|item| names::folder_of_item(&item.name))
                .collect(),
            folder,
        })
    }

    /// The watched folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What an earlier run left in the work folder, in the order in which it was claimed.
    pub(crate) fn leftovers(&self) -> io::Result<Leftovers> {
        let mut found = Leftovers::default();
        for entry in fs::read_dir(&self.work)? {
            let name = entry?.file_name();
            match Claim::parse(&name) {
                Some(claim) => found.claims.push(claim),
                None if name.as_bytes().starts_with(b".") => {}
                None => found.strange += 1,
            }
        }
        found.claims.sort_by_key(|claim| claim.number);
        for entry in fs::read_dir(&self.work_root)? {
            let entry = entry?;
            let ours = entry
                .file_name()
                .to_str()
                .is_some_and(|name| self.neighbours.iter().any(|item| item == name));
            if !ours && holds_claims(&entry.path()) {
                found.abandoned.push(entry.path());
            }
        }
        Ok(found)
    }

    /// All files that could be taken, oldest modified first.
    pub(crate) fn scan(&self) -> io::Result<Vec<Candidate>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name();
            if !self.spec.takes(&name.to_string_lossy()) {
                continue;
            }
            // Not followed if it is a link: it could lead to any file that the engine may read.
            match entry.metadata() {
                Ok(metadata) if metadata.is_file() => found.push(Candidate {
                    name,
                    shape: Shape::of(&metadata),
                }),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {} // taken away meanwhile
                Err(error) => return Err(error),
            }
        }
        found.sort_by(|a, b| (a.shape.modified, &a.name).cmp(&(b.shape.modified, &b.name)));
        Ok(found)
    }

    /// Claims files that still look as they did, and makes the claims survive a power cut. Gives
    /// back what was claimed and, for the rest, why not.
    pub(crate) fn claim(
        &self,
        files: &[Candidate],
        first_number: u64,
    ) -> (Vec<Claim>, Vec<String>) {
        let (mut claims, mut troubles) = (Vec::new(), Vec::new());
        for (file, number) in files.iter().zip(first_number..) {
            let from = self.folder.join(&file.name);
            let same = fs::symlink_metadata(&from)
                .is_ok_and(|now| now.is_file() && Shape::of(&now) == file.shape);
            if !same {
                continue; // taken away or written to: seen anew at the next look
            }
            let claim = Claim::new(number, &file.name);
            match fs::rename(&from, self.work.join(&claim.on_disk)) {
                Ok(()) => claims.push(claim),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                    troubles.push(self.cross_device())
                }
                Err(error) => troubles.push(why("claim", &from, &error)),
            }
        }
        if !claims.is_empty() {
            let synced =
                disk::sync_folder(&self.work).and_then(|()| disk::sync_folder(&self.folder));
            troubles.extend(synced.err().map(|error| why("sync", &self.work, &error)));
        }
        (claims, troubles)
    }

    /// Puts a claimed file back that nothing was done with.
    pub(crate) fn release(&self, claim: &Claim) -> io::Result<()> {
        disk::move_new(
            &self.work.join(&claim.on_disk),
            &self.folder.join(&claim.name),
        )
    }

    /// Reads a claimed file.
    ///
    /// # Errors
    /// Those that may pass by themselves; all others are in the answer.
    pub(crate) fn read(&self, claim: &Claim) -> io::Result<Found> {
        let path = self.work.join(&claim.on_disk);
        let look = || fs::symlink_metadata(&path);
        let before = match look() {
            Ok(before) if before.is_file() => Shape::of(&before),
            Ok(_) => return Ok(Found::Unfit("it is not a regular file".into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Gone),
            Err(error) => return Err(error),
        };
        if before.bytes > self.max_bytes {
            let (bytes, max) = (before.bytes, self.max_bytes);
            return Ok(Found::Unfit(format!(
                "it has {bytes} bytes, MaxFileSize allows {max}"
            )));
        }
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return Ok(Found::Unfit(format!("it cannot be read: {error}")));
            }
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::with_capacity(usize::try_from(before.bytes).unwrap_or(0));
        file.take(before.bytes.saturating_add(1))
            .read_to_end(&mut bytes)?;
        let same = Shape::of(&look()?) == before && bytes.len() as u64 == before.bytes;
        Ok(if same {
            Found::Whole(bytes.into(), before)
        } else {
            Found::Changing
        })
    }

    /// Keeps the count in the name.
    pub(crate) fn note_progress(&self, claim: &mut Claim) -> io::Result<()> {
        let name = claim_name(claim.number, claim.progress, &claim.name);
        if name != claim.on_disk {
            fs::rename(self.work.join(&claim.on_disk), self.work.join(&name))?;
            claim.on_disk = name;
        }
        Ok(())
    }

    /// Whether somebody wrote to the file after it was read.
    pub(crate) fn changed_since_read(&self, claim: &Claim) -> bool {
        let now = fs::symlink_metadata(self.work.join(&claim.on_disk)).ok();
        claim.read.is_some() && now.map(|now| Shape::of(&now)) != claim.read
    }

    /// Archives a file that is done, or deletes it where there is no archive.
    pub(crate) fn finish(&self, claim: &Claim, now_ms: u64) -> Result<(), String> {
        let path = self.work.join(&claim.on_disk);
        let (done, action) = match &self.archive {
            None => (fs::remove_file(&path), "delete the accepted file"),
            Some(archive) => (
                disk::move_into(&path, archive, &claim.name, now_ms).map(drop),
                "move to ArchivePath the accepted file",
            ),
        };
        match done {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !path.exists() => Ok(()), // somebody took it
            other => other.map_err(|error| why(action, &path, &error)),
        }
    }

    /// Moves a file aside that cannot become a message; gives back where to.
    pub(crate) fn set_aside(&self, claim: &Claim, now_ms: u64) -> Result<PathBuf, String> {
        let path = self.work.join(&claim.on_disk);
        let moved = fs::create_dir_all(&self.errors)
            .and_then(|()| disk::move_into(&path, &self.errors, &claim.name, now_ms));
        moved.map_err(|error| {
            format!(
                "{}; it is moved from {}",
                why("move a file into ErrorPath", &self.errors, &error),
                path.display()
            )
        })
    }

    /// The number for the next claim: above all that are there.
    pub(crate) fn next_number(claims: &[Claim]) -> u64 {
        claims
            .iter()
            .map(|claim| claim.number)
            .max()
            .map_or(0, |number| number.saturating_add(1))
    }
}

fn holds_claims(folder: &Path) -> bool {
    let Ok(entries) = fs::read_dir(folder) else {
        return false;
    };
    entries
        .flatten()
        .any(|entry| Claim::parse(&entry.file_name()).is_some())
}

mod opening;

#[cfg(test)]
mod tests;
