//! `PassthroughProcess`: sends every message on as it is.
//!
//! Owns no rule and no transform; what decides anything about a message is another class.

use async_trait::async_trait;
use hie_engine::{
    HostContext, HostError,
    class::{Build, Class},
    config::{Finding, ItemConfig, ProductionConfig},
    host::{BusinessProcess, Message, Outcome},
    setting::{SettingDef, SettingType},
};

/// `PassthroughProcess`.
pub static CLASS: Class = Class {
    name: "PassthroughProcess",
    aliases: &[
        "li.hosts.passthrough.PassthroughProcess",
        "Engine.li.hosts.passthrough.PassthroughProcess",
    ],
    summary: "Sends every message unchanged to all of its targets.",
    settings: &[SETTINGS],
    build: Build::Process(make),
    check,
};

const SETTINGS: &[SettingDef] = &[
    SettingDef::host("TargetConfigNames", SettingType::Items, "", "The items that get each message.").required(),
    SettingDef::host(
        "ResponseFrom",
        SettingType::Items,
        "",
        "Of the targets, those whose response is this item's: a caller that waits gets that of the first of them that \
         answers. Not given: the caller's answer is that the message was sent on.",
    )
    .optional(),
];

fn make(
    item: &ItemConfig,
    _production: &ProductionConfig,
) -> Result<Box<dyn BusinessProcess>, HostError> {
    let list = |name| item.settings.list(name).to_vec();
    Ok(Box::new(Passthrough {
        targets: list("TargetConfigNames"),
        response_from: list("ResponseFrom"),
    }))
}

fn check(item: &ItemConfig, _production: &ProductionConfig) -> Vec<Finding> {
    let targets = item.settings.list("TargetConfigNames");
    let strangers = item
        .settings
        .list("ResponseFrom")
        .iter()
        .filter(|name| !targets.contains(name));
    strangers
        .map(|name| Finding {
            setting: Some("ResponseFrom"),
            message: format!("{name} is not among the TargetConfigNames, so it would never answer"),
            help: Some("name one of the targets, or add it to TargetConfigNames".into()),
        })
        .collect()
}

struct Passthrough {
    targets: Vec<String>,
    response_from: Vec<String>,
}

#[async_trait]
impl BusinessProcess for Passthrough {
    async fn on_message(
        &mut self,
        _ctx: &HostContext,
        _message: &Message,
    ) -> Result<Outcome, HostError> {
        let sent = self
            .targets
            .iter()
            .fold(Outcome::completed(), Outcome::and_send);
        Ok(Outcome {
            response_from: self.response_from.clone(),
            ..sent
        })
    }
}
