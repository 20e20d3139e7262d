//! The inbound file adapter: a watched folder.
//!
//! Owns its settings, what contradicts itself in them, and when it is looked at. The folders
//! themselves, and the way of a file through them, are in [`folders`](super::folders).

use std::{path::Path, time::Duration};

use hie_engine::{
    config::{Finding, ItemConfig, ProductionConfig},
    setting::{SettingDef, SettingType, Settings},
};

/// The settings of a watched folder. `FileSpec` is declared by the classes: its default differs.
pub const SETTINGS: &[SettingDef] = &[
    SettingDef::adapter("FilePath", SettingType::Path, "",
        "The folder to watch. It must exist (below DataPath it is made), and files must be allowed to be moved out of it. Only the files \
         directly in it are taken, oldest first; links, hidden files, `.tmp` files and empty files are not.")
        .required(),
    SettingDef::adapter("WorkPath", SettingType::Path, "",
        "The folder where files lie while they are worked on, each item in a folder of its own in it. It must be on \
         the file system of FilePath. Not given: `.hie-work` in FilePath.")
        .optional(),
    SettingDef::adapter("ArchivePath", SettingType::Path, "",
        "The folder to which a file is moved when all its messages are accepted; a file of the same name there is \
         kept, and the new one gets the time behind its name. Not given: the file is deleted, which is safe because \
         its messages are on disk in the journal by then.")
        .optional(),
    SettingDef::adapter("ErrorPath", SettingType::Path, "",
        "The folder to which a file is moved that cannot be read or is too large. Not given: `error` in FilePath.")
        .optional(),
    SettingDef::adapter("CallInterval", SettingType::Seconds { min: 0.1, max: 86_400.0, unlimited: None }, "5",
        "The pause between two looks at the folder, in seconds.")
        .aliases(&["PollInterval", "PollingInterval"]),
    SettingDef::adapter("ConfirmComplete", SettingType::Choice(&[&["Size", "1"], &["None", "0"]]), "Size",
        "How it is known that a file is complete. `Size`: its size and time of modification are the same at two looks, \
         one CallInterval apart. `None`: it is taken when it is first seen (for senders that rename files into the \
         folder)."),
    SettingDef::adapter("MaxFileSize", SettingType::Bytes { min: 1, max: 1 << 30 }, "16 MiB",
        "The largest file taken, in bytes (units KiB, MiB, kB, MB). A larger one is moved to ErrorPath and a message \
         in state Error says so."),
];

/// The help of a `FileSpec`, which the classes declare.
pub const FILE_SPEC_DOC: &str = "Which files are taken: names with the wildcards `*` and `?`, several of them separated \
     by `;`. Upper and lower case count.";

/// What the types of single settings cannot say of a watched folder.
pub fn check(item: &ItemConfig, _production: &ProductionConfig) -> Vec<Finding> {
    let mut findings = Vec::new();
    let path = |name| {
        item.settings
            .text(name)
            .filter(|text| !text.is_empty())
            .map(Path::new)
    };
    for setting in ["ArchivePath", "ErrorPath"] {
        if path(setting).is_some() && path(setting) == path("FilePath") {
            findings.push(Finding {
                setting: Some(setting),
                message: "the same folder as FilePath: every file would be taken again and again"
                    .into(),
                help: Some("name another folder; one inside of FilePath is fine".into()),
            });
        }
    }
    if item.pool_size > 1 {
        findings.push(Finding {
            setting: None,
            message: "a file service takes one file after the other: it has no use for a pool_size above 1".into(),
            help: Some("leave pool_size out".into()),
        });
    }
    findings
}

/// How it is known that a file is complete.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Confirm {
    /// Size and time of modification stay the same between two looks.
    Size,
    /// It is, when it is there.
    None,
}

/// How often and how a folder is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Polling {
    /// The pause between two looks.
    pub every: Duration,
    /// When a file is taken.
    pub confirm: Confirm,
}

impl Polling {
    /// From the settings of an item.
    pub fn of(settings: &Settings) -> Self {
        Self {
            every: settings
                .duration("CallInterval")
                .unwrap_or(Duration::from_secs(5)),
            confirm: if settings.text("ConfirmComplete") == Some("None") {
                Confirm::None
            } else {
                Confirm::Size
            },
        }
    }
}

/// The checks of an HL7 file service: those of the folder, and one handler at most.
pub(crate) fn check_with_handler(item: &ItemConfig, production: &ProductionConfig) -> Vec<Finding> {
    let mut findings = check(item, production);
    if item.settings.list("BadMessageHandler").len() > 1 {
        findings.push(Finding {
            setting: Some("BadMessageHandler"),
            message: "more than one item".into(),
            help: Some("name the one item that gets what cannot be processed".into()),
        });
    }
    findings
}
