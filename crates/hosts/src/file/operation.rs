//! `FileOperation`, and what every file operation does with a message: name it, write it, judge.
//!
//! Owns the verdicts. How a file is written is in [`outbound`](super::outbound). The bytes are
//! those of the message, unchanged; only appended files get a terminator between messages.

use std::sync::Arc;

use async_trait::async_trait;
use hie_engine::{
    HostContext, HostError,
    class::{Build, Class},
    config::{ItemConfig, ProductionConfig},
    host::{BusinessOperation, GiveUp, Message, Outcome, Verdict},
    setting::{SettingDef, SettingType},
};

use super::{
    disk,
    names::{Facts, check_file_name},
    outbound::{self, Job, Outbound, TERMINATOR, Written},
};

/// `FileOperation`.
pub static CLASS: Class = Class {
    name: "FileOperation",
    aliases: &[
        "EnsLib.File.PassthroughOperation",
        "li.hosts.file.FileOperation",
        "Engine.li.hosts.file.FileOperation",
    ],
    summary: "Writes every message unchanged to a file of its own.",
    settings: &[outbound::SETTINGS, ADAPTER],
    build: Build::Operation(make),
    check: outbound::check,
};

const ADAPTER: &[SettingDef] = &[
    SettingDef::adapter(
        "Filename",
        SettingType::Checked(check_file_name),
        "msg_%timestamp%_%id%",
        outbound::FILENAME_DOC,
    ),
    SettingDef::adapter(
        "MessageTerminator",
        TERMINATOR,
        "",
        "What is written behind each message with `Overwrite: append`: `LF`, `CR`, `CRLF` or `none`. Not given: none.",
    )
    .optional(),
];

fn make(
    item: &ItemConfig,
    production: &ProductionConfig,
) -> Result<Box<dyn BusinessOperation>, HostError> {
    disk::make_own_folder(item, production)?;
    Ok(Box::new(FileWriter::new(item, b"")?))
}

/// A file operation: one of its kind for each job.
pub struct FileWriter {
    out: Arc<Outbound>,
}

impl FileWriter {
    /// From the settings of an item; `terminator` is the class's default for appended files.
    ///
    /// # Errors
    /// See [`Outbound::of`].
    pub fn new(item: &ItemConfig, terminator: &'static [u8]) -> Result<Self, HostError> {
        Ok(Self {
            out: Arc::new(Outbound::of(&item.settings, terminator)?),
        })
    }
}

#[async_trait]
impl BusinessOperation for FileWriter {
    async fn on_start(&mut self, ctx: &HostContext) -> Result<(), HostError> {
        ctx.stats()
            .note_address(self.out.folder().display().to_string());
        Ok(())
    }

    async fn on_message(
        &mut self,
        _ctx: &HostContext,
        message: &Message,
    ) -> Result<Outcome, HostError> {
        let live = &message.live;
        let kind =
            hie_hl7::Message::parse(&message.body).map(|message| message.type_name().to_string());
        let kind = kind.unwrap_or_default();
        let facts = Facts {
            id: live.id.0,
            kind: &kind,
            made_ms: live.created_ms,
        };
        let (out, body) = (self.out.clone(), message.body.0.clone());
        let (name, id) = (out.names().name(&facts), live.id.0);
        let again = live.possible_duplicate || live.attempts > 0;
        let written = tokio::task::spawn_blocking(move || {
            let written = out.write(
                Job {
                    name: &name,
                    id,
                    again,
                },
                &body,
            );
            (written, name)
        });
        let (written, name) = written.await.map_err(|error| {
            HostError::new("write-failed", format!("writing the file failed: {error}"))
        })?;
        Ok(match written {
            Written::Whole => Outcome::completed().with_note(format!("written to {name}")),
            Written::Already => Outcome::completed().with_note(format!(
                "{name} was there already with the same bytes, from an earlier try"
            )),
            Written::Never(why) => Outcome::failed(why),
            Written::NotNow(why) => Outcome::new(Verdict::Retry(GiveUp::Fail), why),
        })
    }
}
