//! `HL7RoutingEngine`: sends each message where the rules say.
//!
//! Owns what happens around a decision: default targets, messages that cannot be read, the rule
//! log in the trace, and whose reply the caller gets. The rules themselves are `hie-rules`'.

use std::sync::Arc;

use async_trait::async_trait;
use hie_engine::{
    HostContext, HostError,
    class::{Build, Class},
    config::{Finding, ItemConfig, ProductionConfig},
    host::{BusinessProcess, Message, Outcome, Verdict},
    setting::{SettingDef, SettingType},
};
use hie_rules::{Context, RuleSet};

/// The class.
pub static CLASS: Class = Class {
    name: "HL7RoutingEngine",
    aliases: &[
        "EnsLib.HL7.MsgRouter.RoutingEngine",
        "EnsLib.MsgRouter.RoutingEngine",
        "li.hosts.routing.HL7RoutingEngine",
        "Engine.li.hosts.routing.HL7RoutingEngine",
    ],
    summary: "Routes HL7 v2 messages by the rules of a rule set.",
    settings: &[SETTINGS],
    build: Build::Process(make),
    check,
};

const SETTINGS: &[SettingDef] = &[
    SettingDef::host("BusinessRuleName", SettingType::RuleSet, "", "The rule set under `rules:` that decides.").required(),
    SettingDef::host("TargetConfigNames", SettingType::Items, "",
        "The items that get a message for which no rule holds and the rule set has no default.").optional(),
    SettingDef::host("BadMessageHandler", SettingType::Items, "",
        "The item that gets messages which are not HL7 v2. Without it they end in state Error.").optional(),
    SettingDef::host("ResponseFrom", SettingType::Items, "",
        "The targets whose reply goes back to a caller that waits (AckMode Application): the first that replies. \
         Empty: the caller learns only that the message was routed.").optional(),
];

fn check(item: &ItemConfig, _: &ProductionConfig) -> Vec<Finding> {
    let many = item.settings.list("BadMessageHandler").len() > 1;
    let finding = Finding {
        setting: Some("BadMessageHandler"),
        message: "more than one item is named".into(),
        help: Some("name one item".into()),
    };
    if many { vec![finding] } else { Vec::new() }
}

fn make(
    item: &ItemConfig,
    production: &ProductionConfig,
) -> Result<Box<dyn BusinessProcess>, HostError> {
    let name = item.settings.text("BusinessRuleName").unwrap_or_default();
    let rules = production.rules.get(name).cloned();
    let missing = || HostError::new("bad-setting", format!("there is no rule set called {name}"));
    Ok(Box::new(HL7RoutingEngine {
        rules: rules.ok_or_else(missing)?,
        defaults: item.settings.list("TargetConfigNames").to_vec(),
        bad_message_handler: item.settings.list("BadMessageHandler").first().cloned(),
        response_from: item.settings.list("ResponseFrom").to_vec(),
    }))
}

struct HL7RoutingEngine {
    rules: Arc<RuleSet>,
    defaults: Vec<String>,
    bad_message_handler: Option<String>,
    response_from: Vec<String>,
}

#[async_trait]
impl BusinessProcess for HL7RoutingEngine {
    async fn on_message(
        &mut self,
        _ctx: &HostContext,
        message: &Message,
    ) -> Result<Outcome, HostError> {
        Ok(self.route(message))
    }
}

impl HL7RoutingEngine {
    fn route(&self, message: &Message) -> Outcome {
        let document = match hie_hl7::Message::parse(&message.body) {
            Ok(document) => document,
            Err(error) => return self.bad(&error.to_string()),
        };
        let decision = self.rules.decide(&Context {
            document: &document,
            source: &message.source,
        });
        let mut outcome = Outcome::completed().with_note(decision.to_string());
        for target in &decision.sends {
            outcome = outcome.and_send(*target);
        }
        if decision.is_undecided() {
            for target in &self.defaults {
                outcome = outcome.and_send(target.clone());
            }
        }
        if outcome.sends.is_empty() {
            let reason = if decision.deleted {
                "a rule deleted it"
            } else {
                "no rule held and there is no default target"
            };
            outcome.verdict = Verdict::Discarded;
            outcome.reason = reason.into();
        }
        outcome.response_from.clone_from(&self.response_from);
        outcome
    }

    fn bad(&self, error: &str) -> Outcome {
        let reason = format!("not routed: {error}");
        match &self.bad_message_handler {
            Some(handler) => Outcome::completed()
                .with_note(reason)
                .and_send(handler.clone()),
            None => Outcome::failed(reason),
        }
    }
}
