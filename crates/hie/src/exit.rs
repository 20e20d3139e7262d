//! Exit codes and the one sentence that goes with them.
//!
//! Owns the table that scripts rely on (docs/reference/exit-codes.md is written from it) and the
//! mapping from the stable codes of the libraries to it.

use std::{fmt::Write as _, io, process::ExitCode};

use hie_engine::production::StartError;
use hie_journal::OpenError;
use hie_store::StoreError;

/// How a command ended, for scripts. 0 is success and has no variant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Exit {
    Failure = 1,
    Usage = 2,
    Config = 3,
    Start = 4,
    Locked = 5,
    Disk = 6,
    Damaged = 7,
    NotRunning = 8,
    NotFound = 9,
    Refused = 10,
    Cut = 11,
}

/// Every code with its meaning; the reference page is made from it.
pub(crate) const TABLE: &[(u8, &str)] = &[
    (0, "Done."),
    (
        Exit::Failure as u8,
        "It failed for a reason that has no code of its own; the message says which.",
    ),
    (
        Exit::Usage as u8,
        "The command line is wrong: an unknown option, a missing or impossible value.",
    ),
    (
        Exit::Config as u8,
        "The configuration has errors; all of them were listed. `reload`: or it changes what only a restart can change.",
    ),
    (
        Exit::Start as u8,
        "An item or the metrics page cannot start, most often because its port is in use. `run`: no service at all could start, or one item could not with `--strict`. `reload`: all of the change was taken back.",
    ),
    (Exit::Locked as u8, "Another engine holds this data folder."),
    (
        Exit::Disk as u8,
        "The disk: full, read-only, no permission, or it failed.",
    ),
    (
        Exit::Damaged as u8,
        "The journal is damaged, incomplete, or of a newer format. Nothing was changed.",
    ),
    (
        Exit::NotRunning as u8,
        "The command needs a running engine and there is none; or the folder holds no data at all.",
    ),
    (
        Exit::NotFound as u8,
        "There is no such message, session or item.",
    ),
    (
        Exit::Refused as u8,
        "`send`: at least one message was not accepted (AE, AR, no answer, no connection).",
    ),
    (
        Exit::Cut as u8,
        "`run`: stopped at once by a second signal. Nothing acknowledged is lost; what was in hand comes again at the next start.",
    ),
];

/// The reference page of the exit codes, in Markdown.
pub(crate) fn reference() -> String {
    let mut page = String::from(
        "# Exit codes\n\nEvery command of `hie` ends with one of these. They are stable: scripts may rely on them.\n\n| code | meaning |\n|---:|---|\n",
    );
    for (code, meaning) in TABLE {
        let _ = writeln!(page, "| {code} | {meaning} |");
    }
    page
}

/// Why a command did not do what was asked: one sentence for a person, one code for a script.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    /// The stable short name, as in `journal-locked`.
    pub(crate) code: String,
    /// What failed and why. Empty where all was said already.
    pub(crate) message: String,
    /// What to do, where the message does not say it.
    pub(crate) help: Option<String>,
}

impl Failure {
    /// A failure with its code, exit as the code says.
    pub(crate) fn new(code: &str, message: impl Into<String>) -> Self {
        Self {
            exit: exit_of(code),
            code: code.to_owned(),
            message: message.into(),
            help: None,
        }
    }

    /// The same with another exit code.
    pub(crate) fn exit(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    /// The same with a remedy.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// A failure about which everything has been printed already.
    pub(crate) fn said(exit: Exit) -> Self {
        Self {
            exit,
            code: String::new(),
            message: String::new(),
            help: None,
        }
    }

    /// Says it on stderr and gives the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        if !self.message.is_empty() {
            eprintln!("error: {}", self.message);
        }
        if let Some(help) = &self.help {
            eprintln!("  help: {help}");
        }
        ExitCode::from(self.exit as u8)
    }
}

/// What a stable code of a library means for the process.
fn exit_of(code: &str) -> Exit {
    match code {
        "usage" => Exit::Usage,
        "config" | "reload-refused" => Exit::Config,
        "reload-rolled-back" | "port-in-use" | "port-denied" | "address-unknown"
        | "cannot-listen" => Exit::Start,
        "journal-locked" | "journal-fenced" => Exit::Locked,
        "disk-full" | "journal-io" | "journal-poisoned" | "store-io" | "folder" => Exit::Disk,
        "journal-damaged" | "journal-newer" | "journal-cut-off" | "record-unreadable" => {
            Exit::Damaged
        }
        "not-running" | "journal-missing" => Exit::NotRunning,
        "no-such-message" | "no-such-session" | "no-such-item" => Exit::NotFound,
        _ => Exit::Failure,
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Open(error) => error.into(),
            error => Self::new(error.code(), error.to_string()),
        }
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        let failure = Self::new(error.code(), error.to_string());
        match error {
            OpenError::NoJournal(_) => failure.help(
                "name the data folder with --data DIR (DataPath in the configuration), or start an engine with `hie run`",
            ),
            OpenError::Io { .. } => {
                failure.help("check that the folder exists, and that this user may write in it")
            }
            _ => failure,
        }
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Store(error) => error.into(),
            StartError::Item { item, error } => {
                Self::new(error.code, format!("item {item} cannot start: {error}"))
                    .exit(Exit::Start)
            }
        }
    }
}

impl From<io::Error> for Failure {
    /// For writing to stdout. A reader that went away (`hie messages | head`) is no failure worth
    /// a word.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::said(Exit::Failure),
            _ => Self::new("output", format!("cannot write the output: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_knows_every_code_once_and_in_order() {
        let codes: Vec<u8> = TABLE.iter().map(|(code, _)| *code).collect();
        assert_eq!(codes, (0..=Exit::Cut as u8).collect::<Vec<_>>());
    }

    #[test]
    fn the_reference_page_is_up_to_date() {
        let page = include_str!("../../../docs/reference/exit-codes.md");
        assert_eq!(
            page,
            reference(),
            "write it anew: hie reference exit-codes > docs/reference/exit-codes.md"
        );
    }

    #[test]
    fn codes_of_the_libraries_lead_to_their_exit() {
        for (code, exit) in [
            ("journal-locked", Exit::Locked),
            ("disk-full", Exit::Disk),
            ("journal-damaged", Exit::Damaged),
            ("no-such-message", Exit::NotFound),
            ("anything-else", Exit::Failure),
        ] {
            assert_eq!(Failure::new(code, "").exit, exit, "{code}");
        }
    }
}
