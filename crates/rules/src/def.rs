//! Rule sets as they are written down: plain data, read by serde or built by the configuration layer.
//! It owns the shape and the defaults; whether it makes sense is decided when it is compiled.

use serde::Deserialize;

/// Which of the rules that hold take part in a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MatchMode {
    /// Only the first rule that holds.
    First,
    /// Every rule that holds; their targets are joined.
    #[default]
    All,
}

/// What to do with a message. Exactly one of the two must be given.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActionDef {
    /// Names of the items that get the message.
    #[serde(default)]
    pub send: Vec<String>,
    /// Whether the message ends here on purpose.
    #[serde(default)]
    pub delete: bool,
}

/// One rule: a condition and what it does.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleDef {
    /// Name in logs and traces; unique in its set.
    pub name: String,
    /// A rule that is off is still checked, so that it can be switched on without surprise.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// The condition; absent or blank is always true.
    #[serde(default)]
    pub when: Option<String>,
    /// Names of the items that get the message.
    #[serde(default)]
    pub send: Vec<String>,
    /// Whether the message ends here on purpose: it does not go to the default. It takes nothing away
    /// from what other rules send.
    #[serde(default)]
    pub delete: bool,
}

/// A named set of rules.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleSetDef {
    /// Name that a routing engine's `BusinessRuleName` refers to.
    pub name: String,
    /// Which rules take part.
    #[serde(default, rename = "match")]
    pub match_mode: MatchMode,
    /// The rules, in the order they are asked.
    #[serde(default)]
    pub rules: Vec<RuleDef>,
    /// What happens to a message for which no rule holds.
    #[serde(default)]
    pub default: Option<ActionDef>,
}

fn yes() -> bool {
    true
}
