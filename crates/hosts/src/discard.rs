//! `DiscardOperation`: drops every message on purpose, visibly.
//!
//! Owns the reason that stands in the trace. Nothing leaves the engine here.

use async_trait::async_trait;
use hie_engine::{
    HostContext, HostError,
    class::{Build, Class},
    config::{ItemConfig, ProductionConfig},
    host::{BusinessOperation, Message, Outcome, Verdict},
    setting::{SettingDef, SettingType},
};

/// `DiscardOperation`.
pub static CLASS: Class = Class {
    name: "DiscardOperation",
    aliases: &[
        "li.hosts.discard.DiscardOperation",
        "Engine.li.hosts.discard.DiscardOperation",
    ],
    summary: "Drops every message on purpose: it ends in state Discarded, with a reason.",
    settings: &[SETTINGS],
    build: Build::Operation(make),
    check: |_, _| Vec::new(),
};

const SETTINGS: &[SettingDef] = &[SettingDef::host(
    "Reason",
    SettingType::Text,
    "discarded by configuration",
    "Why its messages are dropped, for the trace.",
)];

fn make(
    item: &ItemConfig,
    _production: &ProductionConfig,
) -> Result<Box<dyn BusinessOperation>, HostError> {
    Ok(Box::new(Discard {
        reason: item.settings.text("Reason").unwrap_or_default().to_owned(),
    }))
}

struct Discard {
    reason: String,
}

#[async_trait]
impl BusinessOperation for Discard {
    async fn on_message(
        &mut self,
        _ctx: &HostContext,
        _message: &Message,
    ) -> Result<Outcome, HostError> {
        Ok(Outcome::new(Verdict::Discarded, self.reason.clone()))
    }
}
