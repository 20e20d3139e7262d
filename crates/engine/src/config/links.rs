//! What the parts of a production say of each other: targets, rule sets, and the checks that
//! classes do themselves. Asked when everything is read.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{
    Finding, ItemConfig, ProductionConfig,
    error::{Problem, did_you_mean},
    items::Draft,
    lines::{Place, shown},
    reader::{Named, Reader, quoted},
    rules::Rules,
};
use crate::{
    class::Build,
    config::common,
    setting::{SettingType, Value},
};

impl Reader<'_> {
    /// Targets of items and of rules, and names of rule sets.
    pub(crate) fn links(&mut self, drafts: &[Draft], rules: &[Rules]) {
        let known: Known<'_> = drafts
            .iter()
            .map(|draft| (draft.config.name.as_str(), draft))
            .collect();
        for draft in drafts {
            for (setting, names) in &draft.names {
                self.targets(&known, names, Some(draft), setting);
            }
            self.rule_set_names(draft, rules);
        }
        for set in rules {
            // A rule set may name one target in many rules; only entries of one list are twins,
            // and those the rules crate joins.
            self.targets(&known, &set.targets, None, "send");
        }
    }

    fn targets(&mut self, known: &Known<'_>, names: &[Named], from: Option<&Draft>, setting: &str) {
        let item = from.map(|draft| draft.config.name.as_str());
        let mut seen = HashSet::new();
        for named in names {
            let twin = from.is_some() && !seen.insert(named.name.as_str());
            let wrong = if twin {
                Some((format!("{} is named twice", named.quoted()), None))
            } else if self.classless.contains(&named.name) {
                None
            } else {
                wrong_target(known, named, item)
            };
            if let Some((message, help)) = wrong {
                let problem = Problem::new(named.at, message).item(item).setting(setting);
                self.errors.add(problem.maybe_help(help));
            }
        }
    }

    fn rule_set_names(&mut self, draft: &Draft, rules: &[Rules]) {
        for def in common::settings_of(draft.config.class) {
            let (SettingType::RuleSet, Some(Value::Text(name))) =
                (def.kind, draft.config.settings.get(def.name))
            else {
                continue;
            };
            if name.is_empty() || rules.iter().any(|set| set.name == *name) {
                continue;
            }
            let at = draft.places.get(def.name).copied().unwrap_or(draft.at);
            let known = rules.iter().map(|set| set.name.as_str());
            let message = format!(
                "there is no rule set {}",
                quoted(name, draft.config.settings.is_secret(def.name))
            );
            let help = did_you_mean(name, known)
                .unwrap_or_else(|| "rule sets stand under `rules:` in this file".into());
            let problem = Problem::new(at, message).item(Some(&draft.config.name));
            self.errors.add(problem.setting(def.name).help(help));
        }
    }

    /// Asks each class about relations between settings of its items. Items that have errors are
    /// left out: a check may rely on what it sees.
    pub(crate) fn class_checks(&mut self, production: &ProductionConfig, places: &[Checked]) {
        for (item, places) in production.items.iter().zip(places).filter(|(_, p)| p.sound) {
            let own = (item.class.check)(item, production);
            for finding in own.into_iter().chain(common::check(item)) {
                let finding = without_secrets(finding, item);
                let at = finding
                    .setting
                    .and_then(|name| places.settings.get(name).copied());
                let problem = Problem::new(at.unwrap_or(places.at), finding.message);
                let problem = problem.item(Some(&item.name)).maybe_help(finding.help);
                self.errors.add(match finding.setting {
                    Some(name) => problem.setting(name),
                    None => problem,
                });
            }
        }
    }
}

/// What the class's own check needs to know of an item besides its configuration.
pub(crate) struct Checked {
    pub(crate) sound: bool,
    pub(crate) at: Place,
    pub(crate) settings: BTreeMap<&'static str, Place>,
}

/// A class may quote a value without knowing that it came from outside.
fn without_secrets(mut finding: Finding, item: &ItemConfig) -> Finding {
    const SECRET_MIN: usize = 4; // Shorter ones would tear ordinary words apart.
    for (name, value) in item
        .settings
        .iter()
        .filter(|(name, _)| item.settings.is_secret(name))
    {
        let Value::Text(text) = value else { continue };
        if text.len() >= SECRET_MIN {
            let hidden = format!("(the value of {name})");
            finding.message = finding.message.replace(text.as_str(), &hidden);
            finding.help = finding
                .help
                .map(|help| help.replace(text.as_str(), &hidden));
        }
    }
    finding
}

/// Items by name.
type Known<'a> = HashMap<&'a str, &'a Draft>;

fn takes_messages(draft: &Draft) -> bool {
    !matches!(draft.config.class.build, Build::Service(_))
}

/// What is wrong with a target, and the help.
fn wrong_target(
    known: &Known<'_>,
    named: &Named,
    from: Option<&str>,
) -> Option<(String, Option<String>)> {
    let name = named.name.as_str();
    let Some(target) = known.get(name) else {
        let help = nearest_target(known, name);
        return Some((format!("there is no item {}", named.quoted()), Some(help)));
    };
    if !takes_messages(target) {
        let what = "is a service: it lets messages in and takes none";
        let message = format!("`{}` {what}", shown(&target.config.name));
        return Some((message, Some("name a process or an operation".into())));
    }
    let itself = from == Some(name);
    itself.then(|| {
        (
            "the item sends to itself: messages would go round for ever".into(),
            None,
        )
    })
}

/// The nearest item, or which there are.
fn nearest_target(known: &Known<'_>, name: &str) -> String {
    const LISTED_MAX: usize = 8;
    let mut names: Vec<&str> = known
        .iter()
        .filter(|(_, draft)| takes_messages(draft))
        .map(|(name, _)| *name)
        .collect();
    names.sort_unstable(); // A map has no order, and an error must always be the same.
    if let Some(help) = did_you_mean(name, names.iter().copied()) {
        return help;
    }
    let more = if names.len() > LISTED_MAX {
        ", …"
    } else {
        ""
    };
    names.truncate(LISTED_MAX);
    match names.as_slice() {
        [] => "no item of this production takes messages".into(),
        names => format!("items that take messages: {}{more}", names.join(", ")),
    }
}
