//! `HL7FileOperation`: writes HL7 v2 messages to files.
//!
//! Owns its defaults only: what it does is what every file operation does
//! ([`file::operation`](crate::file::operation)). The bytes of a message are never changed.

use hie_engine::{
    HostError,
    class::{Build, Class},
    config::{ItemConfig, ProductionConfig},
    host::BusinessOperation,
    setting::{SettingDef, SettingType},
};

use crate::file::{
    names::check_file_name,
    operation::FileWriter,
    outbound::{self, TERMINATOR},
};

/// `HL7FileOperation`.
pub static CLASS: Class = Class {
    name: "HL7FileOperation",
    aliases: &[
        "EnsLib.HL7.Operation.FileOperation",
        "li.hosts.hl7.HL7FileOperation",
        "Engine.li.hosts.hl7.HL7FileOperation",
    ],
    summary: "Writes every HL7 v2 message unchanged to a file.",
    settings: &[outbound::SETTINGS, ADAPTER],
    build: Build::Operation(make),
    check: outbound::check,
};

const ADAPTER: &[SettingDef] = &[
    SettingDef::adapter(
        "Filename",
        SettingType::Checked(check_file_name),
        "msg_%timestamp%_%id%.hl7",
        outbound::FILENAME_DOC,
    ),
    SettingDef::adapter(
        "MessageTerminator",
        TERMINATOR,
        "",
        "What is written behind each message with `Overwrite: append`: `LF`, `CR`, `CRLF` or `none`. Not given: LF, \
         as IRIS does. Files of one message get nothing.",
    )
    .optional(),
];

fn make(
    item: &ItemConfig,
    production: &ProductionConfig,
) -> Result<Box<dyn BusinessOperation>, HostError> {
    crate::file::disk::make_own_folder(item, production)?;
    Ok(Box::new(FileWriter::new(item, b"\n")?))
}
