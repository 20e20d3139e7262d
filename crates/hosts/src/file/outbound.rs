//! The outbound file adapter: one message becomes one file, or the end of one.
//!
//! Owns the settings of the folder and the way a file is written so that nobody ever reads half a
//! message under its name. All of it blocks. Knows nothing of the engine's queue: it says what
//! came of one try, its caller makes a verdict of that.
//!
//! # The way of a file, and what a crash leaves
//! The bytes go to `<name>.<message id><TempFileSuffix>` in the same folder, are synced, the file
//! gets its name by one step that never replaces another file (unless `Overwrite` says so), and the
//! folder is synced; then the message counts as delivered. A message that was tried before, or may
//! have been before a crash, has the same name again: a file of that name with the same bytes is
//! its own delivery and is not written twice.
//!
//! Appending has no such step: a crash of the machine in the middle of it can leave the first part
//! of a message at the end of the file. The next message is then written behind a terminator, and
//! the message that was cut off is written again as a whole.

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use hie_engine::{
    HostError,
    config::{Finding, ItemConfig, ProductionConfig},
    setting::{SettingDef, SettingType, Settings},
};

use super::{
    disk::{self, why},
    names::NamePattern,
};

/// The settings of a folder that is written to. `Filename` and `MessageTerminator` are declared by
/// the classes: their defaults differ.
pub const SETTINGS: &[SettingDef] = &[
    SettingDef::adapter("FilePath", SettingType::Path, "",
        "The folder to write to. It is made only below DataPath; where another is missing (a share that is not mounted), \
         messages wait and are tried again.")
        .required(),
    SettingDef::adapter("Overwrite",
        SettingType::Choice(&[&["error"], &["number"], &["overwrite", "1", "true"], &["append", "0", "false"]]), "error",
        "What happens where a file of the name is there. `error`: the message fails, the file stays. `number`: the new \
         file gets `_2`, `_3`… behind its name. `overwrite` (IRIS: 1): the new file takes the place of the old. \
         `append` (IRIS: 0): the message is written to the end of the file."),
    SettingDef::adapter("TempFileSuffix", SettingType::Checked(check_suffix), ".tmp",
        "The end of the name of a file that is being written. Receivers must overlook such files."),
];

/// The help of a `Filename`, which the classes declare.
pub const FILENAME_DOC: &str = "How files are named. Codes: `%id%` or `%{MessageId}` (the message's id, which makes a \
     name unique), `%type%` (`ADT_A01`; `msg` where there is none), `%timestamp%` (YYYYMMDDHHMMSSmmm), `%date%`, \
     `%time%`; of IRIS `%Q` (2026-01-31_17.05.09.123), `%Y` `%m` `%d` `%H` `%M` `%S`, and `%f`, which is the message's \
     type, for the name of a source file does not come this far; `%%` is a percent sign. Times are local, those of the \
     message's arrival at this item, so a message that is delivered again has the same name.";

/// The choices of a `MessageTerminator`.
pub const TERMINATOR: SettingType = SettingType::Choice(&[
    &["LF", "AsciiLF"],
    &["CR", "AsciiCR"],
    &["CRLF", "AsciiCRLF"],
    &["none"],
]);

fn check_suffix(text: &str) -> Result<(), String> {
    const SUFFIX_MAX_BYTES: usize = 20;
    let harmless = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '~');
    if text.is_empty() || text.len() > SUFFIX_MAX_BYTES || !text.chars().all(harmless) {
        return Err(format!(
            "allowed are 1 to {SUFFIX_MAX_BYTES} letters, digits or `.-_~`, e.g. `.tmp`"
        ));
    }
    Ok(())
}

/// What the types of single settings cannot say of a folder that is written to.
pub fn check(item: &ItemConfig, _production: &ProductionConfig) -> Vec<Finding> {
    let given = item.settings.text("MessageTerminator").is_some();
    if !given || item.settings.text("Overwrite") == Some("append") {
        return Vec::new();
    }
    vec![Finding {
        setting: Some("MessageTerminator"),
        message:
            "only stands between messages of one file, and each message gets a file of its own here"
                .into(),
        help: Some("leave it out, or write `Overwrite: append`".into()),
    }]
}

/// What happens where a file of the name is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Taken {
    Error,
    Number,
    Overwrite,
    Append,
}

/// A folder that is written to.
#[derive(Debug)]
pub struct Outbound {
    folder: PathBuf,
    names: NamePattern,
    taken: Taken,
    suffix: String,
    terminator: &'static [u8],
}

/// What is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Job<'a> {
    /// The name of the file.
    pub(crate) name: &'a str,
    /// The id of the message.
    pub(crate) id: u64,
    /// It may have been written before.
    pub(crate) again: bool,
}

/// What came of one try.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Written {
    /// The file is there, synced.
    Whole,
    /// It was there already with the same bytes, from an earlier try.
    Already,
    /// It will never work; why.
    Never(String),
    /// It may work later; why not now.
    NotNow(String),
}

impl Outbound {
    /// From the settings of an item; `terminator` is the class's default for appended files.
    ///
    /// # Errors
    /// A `Filename` that does not read; the configuration reader has refused it before.
    pub fn of(settings: &Settings, terminator: &'static [u8]) -> Result<Self, HostError> {
        let names = NamePattern::parse(settings.text("Filename").unwrap_or_default());
        Ok(Self {
            folder: PathBuf::from(settings.text("FilePath").unwrap_or_default()),
            names: names
                .map_err(|error| HostError::new("bad-setting", format!("Filename: {error}")))?,
            taken: match settings.text("Overwrite") {
                Some("number") => Taken::Number,
                Some("overwrite") => Taken::Overwrite,
                Some("append") => Taken::Append,
                _ => Taken::Error,
            },
            suffix: settings.text("TempFileSuffix").unwrap_or(".tmp").to_owned(),
            terminator: match settings.text("MessageTerminator") {
                Some("LF") => b"\n",
                Some("CR") => b"\r",
                Some("CRLF") => b"\r\n",
                Some("none") => b"",
                _ => terminator,
            },
        })
    }

    /// Where files are written.
    pub(crate) fn folder(&self) -> &std::path::Path {
        &self.folder
    }

    /// How files are named.
    pub(crate) fn names(&self) -> &NamePattern {
        &self.names
    }

    /// Writes one message.
    pub(crate) fn write(&self, job: Job<'_>, body: &[u8]) -> Written {
        let tried = match self.taken {
            Taken::Append => self.append(job, body),
            _ => self.write_new(job, body),
        };
        tried.unwrap_or_else(|error| self.explain(&error))
    }

    fn explain(&self, error: &io::Error) -> Written {
        let text = why("write to FilePath", &self.folder, error);
        match error.kind() {
            io::ErrorKind::InvalidFilename => Written::Never(format!("{text}; shorten Filename")),
            io::ErrorKind::NotFound => {
                Written::NotNow(format!("{text}; make the folder or mount it"))
            }
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Written::NotNow(format!("{text}; let the user of the engine write there"))
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Written::NotNow(format!("{text}; free space there"))
            }
            _ => Written::NotNow(text),
        }
    }

    fn write_new(&self, job: Job<'_>, body: &[u8]) -> io::Result<Written> {
        if job.again && self.taken != Taken::Overwrite && self.find_own(job, body)? {
            disk::sync_folder(&self.folder)?;
            return Ok(Written::Already);
        }
        let temp = self
            .folder
            .join(format!("{}.{}{}", job.name, job.id, self.suffix));
        let written = write_synced(&temp, body).and_then(|()| self.name_it(&temp, job.name));
        if !matches!(written, Ok(Written::Whole)) {
            let _ = fs::remove_file(&temp);
        }
        if let Ok(Written::Whole) = written {
            disk::sync_folder(&self.folder)?;
        }
        written
    }

    /// Gives a whole file its name.
    fn name_it(&self, temp: &Path, name: &str) -> io::Result<Written> {
        if self.taken == Taken::Overwrite {
            fs::rename(temp, self.folder.join(name))?;
            return Ok(Written::Whole);
        }
        for free in self.candidates(name) {
            match disk::move_new(temp, &self.folder.join(free)) {
                Ok(()) => return Ok(Written::Whole),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Written::Never(format!(
            "a file {name} is in {} already and is not replaced (Overwrite); a Filename with %id% gives every message its own",
            self.folder.display()
        )))
    }

    /// The names that a message may get, in order.
    fn candidates<'a>(&self, name: &'a str) -> impl Iterator<Item = String> + use<'a> {
        const NUMBER_MAX: u32 = 9_999;
        let last = if self.taken == Taken::Number {
            NUMBER_MAX
        } else {
            1
        };
        (1..=last).map(move |nth| match (nth, name.rsplit_once('.')) {
            (1, _) => name.to_owned(),
            (_, Some((stem, end))) => format!("{stem}_{nth}.{end}"),
            (_, None) => format!("{name}_{nth}"),
        })
    }

    /// Whether an earlier try of this message has left its file.
    fn find_own(&self, job: Job<'_>, body: &[u8]) -> io::Result<bool> {
        for name in self.candidates(job.name) {
            match fs::metadata(self.folder.join(&name)) {
                Ok(found)
                    if found.len() == body.len() as u64
                        && fs::read(self.folder.join(&name))? == body =>
                {
                    return Ok(true);
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    fn append(&self, job: Job<'_>, body: &[u8]) -> io::Result<Written> {
        let path = self.folder.join(job.name);
        let fresh = !path.exists();
        let mut file = File::options()
            .create(true)
            .read(true)
            .append(true)
            .open(&path)?;
        // Other jobs of this item append too; where the file system has no locks, nobody can help.
        match file.lock() {
            Err(error) if error.kind() != io::ErrorKind::Unsupported => return Err(error),
            _ => {}
        }
        let before = file.metadata()?.len();
        let whole = [body, self.terminator].concat();
        if job.again && ends_with(&mut file, before, &whole)? {
            file.sync_all()?;
            return Ok(Written::Already);
        }
        let torn = before > 0 && !ends_with(&mut file, before, self.terminator)?;
        let gap: &[u8] = if torn { self.terminator } else { b"" };
        let written = file
            .write_all(&[gap, &whole].concat())
            .and_then(|()| file.sync_all());
        if let Err(error) = written {
            // Half a message must not stay at the end of a file that others read.
            let _ = file.set_len(before);
            return Err(error);
        }
        if fresh {
            disk::sync_folder(&self.folder)?;
        }
        Ok(Written::Whole)
    }
}

/// A file of an earlier try that was cut off is replaced; a link that somebody put there is not
/// followed.
fn write_synced(path: &Path, body: &[u8]) -> io::Result<()> {
    let mut open = File::options();
    open.write(true).create_new(true);
    let mut file = open.open(path).or_else(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => fs::remove_file(path).and_then(|()| open.open(path)),
        _ => Err(error),
    })?;
    file.write_all(body)?;
    file.sync_all()
}

/// Whether a file of `len` bytes ends with these.
fn ends_with(file: &mut File, len: u64, end: &[u8]) -> io::Result<bool> {
    let Some(at) = len.checked_sub(end.len() as u64) else {
        return Ok(false);
    };
    file.seek(SeekFrom::Start(at))?;
    let mut found = vec![0; end.len()];
    file.read_exact(&mut found)?;
    Ok(found == end)
}

#[cfg(test)]
mod tests;
