//! What is different between two configurations, and what has to stop and start for it.

use std::fmt;

use crate::{
    config::{EngineConfig, ItemConfig, ProductionConfig, common},
    setting::SettingType,
};

/// An item that is different.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct Change {
    /// Its name.
    pub item: String,
    /// What of it: names of settings and keys, never values, which may be secrets.
    pub of: Vec<String>,
}

/// The difference between the configuration in force and a new one.
#[derive(Clone, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub struct Plan {
    /// New items, which start.
    pub added: Vec<String>,
    /// Items that are gone, and stop. What is queued for them stays.
    pub removed: Vec<String>,
    /// Items that stop and start again.
    pub changed: Vec<Change>,
    /// Items of which only words for people, or retention, are different: they go on as they are.
    pub noted: Vec<Change>,
    /// Keys of the production that are different; they count at once.
    pub production: Vec<&'static str>,
}

impl Plan {
    /// The difference, or everything that cannot change while the engine runs.
    pub(super) fn between(
        old: &ProductionConfig,
        new: &ProductionConfig,
    ) -> Result<Self, Vec<String>> {
        let refused = fixed(&old.engine, &new.engine);
        if !refused.is_empty() {
            return Err(refused);
        }
        let mut plan = Self {
            production: of_production(old, new),
            ..Self::default()
        };
        for item in &new.items {
            let Some(before) = old.item(&item.name) else {
                plan.added.push(item.name.clone());
                continue;
            };
            let named = |of| Change {
                item: item.name.clone(),
                of,
            };
            let (hard, soft) = (at_work(before, item, old, new), on_paper(before, item));
            if !hard.is_empty() {
                plan.changed.push(named(hard));
            } else if !soft.is_empty() {
                plan.noted.push(named(soft));
            }
        }
        let gone = old
            .items
            .iter()
            .filter(|item| new.item(&item.name).is_none());
        plan.removed = gone.map(|item| item.name.clone()).collect();
        Ok(plan)
    }

    /// Whether nothing is different.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn stops(&self, name: &str) -> bool {
        self.removed.iter().any(|item| item == name) || self.changes(name)
    }

    pub(super) fn starts(&self, name: &str) -> bool {
        self.added.iter().any(|item| item == name) || self.changes(name)
    }

    fn changes(&self, name: &str) -> bool {
        self.changed.iter().any(|change| change.item == name)
    }
}

/// In one line for the operator.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let with_what = |changes: &[Change]| {
            let each = changes
                .iter()
                .map(|change| format!("{} ({})", change.item, change.of.join(", ")));
            each.collect::<Vec<_>>().join(", ")
        };
        let keys = self.production.join(", ");
        let parts = [
            ("added", self.added.join(", ")),
            ("removed", self.removed.join(", ")),
            ("changed", with_what(&self.changed)),
            ("noted", with_what(&self.noted)),
            ("of the production", keys),
        ];
        let said: Vec<String> = parts
            .iter()
            .filter(|(_, text)| !text.is_empty())
            .map(|(what, text)| format!("{what} {text}"))
            .collect();
        match said.is_empty() {
            true => f.write_str("nothing"),
            false => f.write_str(&said.join("; ")),
        }
    }
}

/// What only a restart can change, each with the reason.
fn fixed(old: &EngineConfig, new: &EngineConfig) -> Vec<String> {
    let (store, page) = ("the journal is open", "the page is served");
    let keys = [
        ("DataPath", old.data_path == new.data_path, store),
        (
            "JournalSegmentSize",
            old.journal_segment_bytes == new.journal_segment_bytes,
            store,
        ),
        (
            "JournalReserve",
            old.journal_reserve_bytes == new.journal_reserve_bytes,
            store,
        ),
        (
            "BodyCacheSize",
            old.body_cache_bytes == new.body_cache_bytes,
            "the queues are filled",
        ),
        (
            "MetricsAddress",
            old.metrics_address == new.metrics_address,
            page,
        ),
    ];
    let differ = keys.iter().filter(|(_, same, _)| !same);
    differ
        .map(|(key, _, why)| {
            format!("{key} cannot change while the engine runs ({why}): put it back, or restart the engine")
        })
        .collect()
}

/// Keys of the production that count as soon as they change.
fn of_production(old: &ProductionConfig, new: &ProductionConfig) -> Vec<&'static str> {
    let (was, is) = (&old.engine, &new.engine);
    let keys = [
        ("name", old.name == new.name),
        ("description", old.description == new.description),
        (
            "ShutdownTimeout",
            was.shutdown_timeout == is.shutdown_timeout,
        ),
        ("RetentionAge", was.retention_age == is.retention_age),
        ("RetentionSize", was.retention_bytes == is.retention_bytes),
        ("WatchConfig", was.watch_config == is.watch_config),
        (
            "auto_start_items",
            was.auto_start_items == is.auto_start_items,
        ),
    ];
    let differ = keys.into_iter().filter(|(_, same)| !same);
    differ.map(|(key, _)| key).collect()
}

/// What of an item its hosts depend on.
fn at_work(
    was: &ItemConfig,
    is: &ItemConfig,
    old: &ProductionConfig,
    new: &ProductionConfig,
) -> Vec<String> {
    let keys = [
        ("class", std::ptr::eq(was.class, is.class)),
        ("enabled", was.enabled == is.enabled),
        ("pool_size", was.pool_size == is.pool_size),
        ("hooks", was.hooks == is.hooks),
    ];
    let keys = keys.into_iter().filter(|(_, same)| !same);
    let mut of: Vec<String> = keys.map(|(key, _)| key.to_owned()).collect();
    for def in common::settings_of(is.class) {
        if was.settings.get(def.name) != is.settings.get(def.name) {
            of.push(def.name.to_owned());
        }
        // The rules are compiled into the host.
        if matches!(def.kind, SettingType::RuleSet)
            && let Some(rules) = is.settings.text(def.name)
            && old.rules.get(rules) != new.rules.get(rules)
        {
            of.push(format!("rules {rules}"));
        }
    }
    of
}

/// What of an item is for people and housekeeping.
fn on_paper(was: &ItemConfig, is: &ItemConfig) -> Vec<String> {
    let keys = [
        ("category", was.category == is.category),
        ("comment", was.comment == is.comment),
        ("RetentionAge", was.retention_age == is.retention_age),
        ("RetentionSize", was.retention_bytes == is.retention_bytes),
    ];
    let differ = keys.into_iter().filter(|(_, same)| !same);
    differ.map(|(key, _)| key.to_owned()).collect()
}
