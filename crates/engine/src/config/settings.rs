//! The settings of an item, in both shapes: found in the table of its class, given once, complete.
//!
//! Owns the errors that speak of names of settings. What a value may be is said by its
//! declaration; what an item is besides its settings is read in [`items`](super::items).

use std::collections::{BTreeMap, BTreeSet};

use super::{
    common,
    error::{Problem, did_you_mean, given_twice, nearest},
    keys,
    lines::{Place, shown},
    reader::{Fields, Named, Reader, missing},
    yaml::{Kind, Node},
};
use crate::{
    class::Class,
    setting::{SettingDef, Settings, Target, Value},
};

/// The settings of an item with their places.
#[derive(Default)]
pub(crate) struct ItemSettings {
    pub(crate) settings: Settings,
    /// Where each given one has its value.
    pub(crate) places: BTreeMap<&'static str, Place>,
    /// The entries of each list of items.
    pub(crate) names: BTreeMap<&'static str, Vec<Named>>,
}

/// What the settings of one item are looked up in.
struct Scope<'i> {
    class: &'static Class,
    defs: Vec<&'static SettingDef>,
    item: Option<&'i str>,
    /// Settings that were meant by a line with an error: to call them missing too would mislead.
    meant: BTreeSet<&'static str>,
}

/// A setting as the file gives it, in either shape.
struct Given<'n> {
    def: &'static SettingDef,
    node: &'n Node,
    at: Place,
}

impl Reader<'_> {
    /// All settings of an item; those that are not given have their defaults.
    pub(crate) fn item_settings(
        &mut self,
        class: &'static Class,
        fields: &Fields<'_>,
        at: Place,
        item: Option<&str>,
    ) -> ItemSettings {
        let (defs, meant) = (common::settings_of(class), BTreeSet::new());
        let mut scope = Scope {
            class,
            defs,
            item,
            meant,
        };
        let given = self.given(&mut scope, fields);
        let mut out = ItemSettings::default();
        for (name, given) in &given {
            out.places.insert(*name, given.node.at);
            let Some(typed) = self.value(given.def, given.node, item) else {
                continue;
            };
            if is_empty(&typed.value) && given.def.default.is_none() {
                if given.def.required {
                    self.errors
                        .add(missing(given.def, given.node.at).item(item));
                }
                continue; // As if the line were not there: what IRIS exports for "not set".
            }
            out.names.insert(*name, typed.names);
            out.settings.put(name, typed.value, typed.secret);
        }
        for def in &scope.defs {
            if def.required && !given.contains_key(def.name) && !scope.meant.contains(def.name) {
                self.errors.add(missing(def, at).item(item));
            }
            if out.settings.get(def.name).is_none()
                && let Some(value) = self.environment_default(def).or_else(|| self.default(def))
            {
                out.settings.set(def.name, value);
            }
        }
        out
    }

    /// The settings of both shapes; one that is given twice counts once and is an error.
    fn given<'n>(
        &mut self,
        scope: &mut Scope<'_>,
        fields: &Fields<'n>,
    ) -> BTreeMap<&'static str, Given<'n>> {
        let mut all = Vec::new();
        for (section, target) in [("adapter", Target::Adapter), ("host", Target::Host)] {
            let Some(node) = fields.nodes.get(section).copied() else {
                continue;
            };
            for (key, node) in self.entries(node, &format!("`{section}:`"), scope.item) {
                let def = self.known(scope, &key.text, target, key.at);
                all.extend(def.map(|def| Given {
                    def,
                    node,
                    at: key.at,
                }));
            }
        }
        if let Some(node) = fields.nodes.get("settings").copied() {
            for entry in self.sequence(node, "`settings:`", scope.item) {
                all.extend(self.entry(scope, entry));
            }
        }
        all.sort_by_key(|given| given.at);
        let mut given: BTreeMap<&'static str, Given<'n>> = BTreeMap::new();
        for one in all {
            if let Some(first) = given.get(one.def.name) {
                let problem = given_twice(one.at, one.def.name, first.at);
                self.errors
                    .add(problem.item(scope.item).setting(one.def.name));
                continue;
            }
            given.insert(one.def.name, one);
        }
        given
    }

    /// One `{target, name, value}`.
    fn entry<'n>(&mut self, scope: &mut Scope<'_>, node: &'n Node) -> Option<Given<'n>> {
        if !matches!(node.kind, Kind::Mapping(_)) {
            let message = format!(
                "expected target, name and value, found {}",
                node.kind_name()
            );
            let problem = Problem::new(node.at, message).item(scope.item);
            self.errors
                .add(problem.help("write `- {target: Host, name: AckMode, value: Never}`"));
            return None;
        }
        let fields = self.fields(node, &keys::SETTING_SHAPE, scope.item);
        let name = fields.values.text("name")?;
        let meant = common::find(&scope.defs, name, None).map(|def| def.name);
        let Some(value) = fields.nodes.get("value").copied() else {
            scope.meant.extend(meant);
            let problem = Problem::new(node.at, "`value` is missing");
            self.errors.add(problem.item(scope.item).setting(name));
            return None;
        };
        let Some(target) = fields.values.text("target") else {
            scope.meant.extend(meant);
            return None;
        };
        let target = if target == "Adapter" {
            Target::Adapter
        } else {
            Target::Host
        };
        let at = fields.places.get("name").copied().unwrap_or(node.at);
        let def = self.known(scope, name, target, at)?;
        Some(Given {
            def,
            node: value,
            at,
        })
    }

    /// The declaration of a setting, or the error that there is none.
    fn known(
        &mut self,
        scope: &mut Scope<'_>,
        name: &str,
        target: Target,
        at: Place,
    ) -> Option<&'static SettingDef> {
        let def = common::find(&scope.defs, name, Some(target));
        if def.is_none() {
            let (message, help) = unknown_setting(scope, name, target);
            let problem = Problem::new(at, message).item(scope.item).setting(name);
            self.errors.add(problem.help(help));
        }
        def
    }
}

/// What to say of a name that the class does not declare for this target.
fn unknown_setting(scope: &mut Scope<'_>, name: &str, target: Target) -> (String, String) {
    let quoted = shown(name);
    if let Some(other) = common::find(&scope.defs, name, None) {
        scope.meant.insert(other.name);
        let right = other.target.name();
        let message = format!(
            "`{quoted}` is a setting of the {right}, not of the {}",
            target.name()
        );
        let section = right.to_lowercase();
        return (
            message,
            format!("write it under `{section}:` or with `target: {right}`"),
        );
    }
    let is_name = |def: &&SettingDef| def.name == name || def.aliases.contains(&name);
    if let Some(def) = keys::ITEM.iter().find(is_name) {
        let message = format!("`{quoted}` belongs to the item, not to its settings");
        return (
            message,
            format!("write `{}:` beside the item's `name:`", def.name),
        );
    }
    if let Some(said) = common::needs_a_queue(scope.class, name) {
        return said;
    }
    if common::LATER_SETTINGS.contains(&name) {
        return (
            format!("`{quoted}` is not supported by this version"),
            instead(scope, name),
        );
    }
    let names = scope
        .defs
        .iter()
        .flat_map(|def| [def.name].into_iter().chain(def.aliases.iter().copied()));
    let meant = nearest(name, names).and_then(|near| common::find(&scope.defs, near, None));
    scope.meant.extend(meant.map(|def| def.name));
    let message = format!(
        "{} has no {} setting `{quoted}`",
        scope.class.name,
        target.name()
    );
    (message, near_or_all(scope, name, target))
}

/// What to do about a setting that is known elsewhere.
fn instead(scope: &Scope<'_>, name: &str) -> String {
    let tls: Vec<&str> = scope
        .defs
        .iter()
        .map(|def| def.name)
        .filter(|name| name.starts_with("TLS"))
        .collect();
    if name == "SSLConfig" && !tls.is_empty() {
        return format!("give {} instead", tls.join(", "));
    }
    "remove the line".into()
}

/// The nearest setting, of this target first, or all of this target.
fn near_or_all(scope: &Scope<'_>, name: &str, target: Target) -> String {
    let of_target = || scope.defs.iter().filter(|def| def.target == target);
    let names =
        of_target().flat_map(|def| [def.name].into_iter().chain(def.aliases.iter().copied()));
    let others = scope.defs.iter().map(|def| def.name);
    if let Some(help) = did_you_mean(name, names).or_else(|| did_you_mean(name, others)) {
        return help;
    }
    let (class, target) = (scope.class.name, target.name());
    match of_target()
        .map(|def| def.name)
        .collect::<Vec<_>>()
        .join(", ")
    {
        none if none.is_empty() => format!("{class} has no {target} settings"),
        all => format!("the {target} settings of {class}: {all}"),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Text(text) => text.is_empty(),
        Value::List(list) => list.is_empty(),
        _ => false,
    }
}
