//! `FileService`: takes files of any kind, one message a file.
//!
//! Owns its settings, and nothing of how a file is taken: that is the [`watcher`](super::watcher)'s.

use hie_engine::{
    HostError,
    class::{Build, Class},
    config::{ItemConfig, ProductionConfig},
    host::BusinessService,
    setting::{SettingDef, SettingType},
};
use hie_store::Content;

use super::{
    inbound,
    names::check_file_spec,
    taking::{Part, Split},
    watcher::FileWatcher,
};

/// `FileService`.
pub static CLASS: Class = Class {
    name: "FileService",
    aliases: &[
        "EnsLib.File.PassthroughService",
        "li.hosts.file.FileService",
        "Engine.li.hosts.file.FileService",
    ],
    summary: "Takes files of any kind from a folder, one message a file, and sends them on unchanged.",
    settings: &[HOST, ADAPTER, inbound::SETTINGS],
    build: Build::Service(make),
    check: inbound::check,
};

const HOST: &[SettingDef] = &[TARGETS];

const ADAPTER: &[SettingDef] = &[SettingDef::adapter(
    "FileSpec",
    SettingType::Checked(check_file_spec),
    "*",
    inbound::FILE_SPEC_DOC,
)
.aliases(&["FileNamePattern"])];

/// Where a file service sends what it takes.
pub(crate) const TARGETS: SettingDef = SettingDef::host(
    "TargetConfigNames",
    SettingType::Items,
    "",
    "The items that get each message.",
)
.required();

fn make(
    item: &ItemConfig,
    production: &ProductionConfig,
) -> Result<Box<dyn BusinessService>, HostError> {
    let whole: Split = |file| {
        vec![Part {
            body: file.clone(),
            bad: None,
        }]
    };
    Ok(Box::new(FileWatcher::new(
        item,
        production,
        Content::Plain,
        whole,
    )?))
}
