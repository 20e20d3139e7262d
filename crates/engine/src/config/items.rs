//! The items of a production: their own keys, their settings in both shapes, and their class.
//!
//! Owns everything that is wrong with one item alone. What one item says of another is checked in
//! [`links`](super::links), when all are known.

use std::{collections::BTreeMap, time::Duration};

use super::{
    FOREVER, ItemConfig, common,
    error::{Problem, did_you_mean},
    keys,
    lines::{Place, shown},
    reader::{Fields, Named, Reader, missing, quoted},
    yaml::{Kind, Node},
};
use crate::{
    class::Class,
    setting::{SettingDef, Settings, Target, Value},
};

/// An item with what later checks need to know of its places in the file.
pub(crate) struct Draft {
    pub(crate) config: ItemConfig,
    pub(crate) at: Place,
    /// Where each given setting has its value.
    pub(crate) places: BTreeMap<&'static str, Place>,
    /// The entries of each list of items.
    pub(crate) names: BTreeMap<&'static str, Vec<Named>>,
    /// Whether nothing was wrong with it: only then its class's own check is asked.
    pub(crate) sound: bool,
}

/// A setting as the file gives it, in either shape.
struct Given<'n> {
    def: &'static SettingDef,
    node: &'n Node,
    at: Place,
}

impl Reader<'_> {
    /// All items whose class is known.
    pub(crate) fn items(&mut self, node: &Node) -> Vec<Draft> {
        let mut drafts: Vec<Draft> = Vec::new();
        let mut names: BTreeMap<String, Place> = BTreeMap::new();
        for (index, node) in self.sequence(node, "`items:`", None).iter().enumerate() {
            if node.is_nothing() || !matches!(node.kind, Kind::Mapping(_)) {
                let message = format!("item {}: expected `name:`, `class:` and so on", index + 1);
                self.errors.add(Problem::new(node.at, message));
                continue;
            }
            let Some(draft) = self.item(node) else {
                continue;
            };
            let name = &draft.config.name;
            let at = draft.places.get("name").copied().unwrap_or(draft.at);
            if let Some(first) = names.get(name).filter(|_| !name.is_empty()) {
                let message = format!("another item has this name, at line {}", first.line);
                let problem = Problem::new(at, message).item(Some(name)).setting("name");
                self.errors
                    .add(problem.help("names of items are unique in a production"));
                continue;
            }
            names.insert(name.clone(), at);
            drafts.push(draft);
        }
        drafts
    }

    fn item(&mut self, node: &Node) -> Option<Draft> {
        let errors_before = self.errors.count();
        let label = self.label(node);
        let item = label.as_deref();
        let fields = self.fields(node, &keys::ITEM_SHAPE, item);
        let Some(class) = self.class(&fields, item) else {
            // Its name is known all the same: who sends to it must not be told otherwise.
            self.classless.push(fields.text("name"));
            return None;
        };
        let (settings, places, names) = self.item_settings(class, &fields, node.at, item);
        let config = item_config(class, &fields, settings, node.at.line);
        let places = fields.places.into_iter().chain(places).collect();
        let sound = self.errors.count() == errors_before;
        Some(Draft {
            config,
            at: node.at,
            places,
            names,
            sound,
        })
    }

    /// The name under which errors speak of an item, before the item is read.
    fn label(&self, node: &Node) -> Option<String> {
        let Kind::Mapping(entries) = &node.kind else {
            return None;
        };
        let (_, value) = entries
            .iter()
            .find(|(key, _)| matches!(&*key.text, "name" | "Name"))?;
        match &value.kind {
            Kind::Scalar(text, _) if !text.is_empty() => Some(text.clone()),
            _ => None,
        }
    }

    fn class(&mut self, fields: &Fields<'_>, item: Option<&str>) -> Option<&'static Class> {
        let name = fields.values.text("class")?;
        if let Some(class) = self.registry.find(name) {
            return Some(class);
        }
        let at = fields.places.get("class").copied().unwrap_or(Place::START);
        let classes = self.registry.0;
        let known = classes.iter().flat_map(|class| {
            [class.name]
                .into_iter()
                .chain(class.aliases.iter().copied())
        });
        let all: Vec<&str> = classes.iter().map(|class| class.name).collect();
        let help = did_you_mean(name, known)
            .unwrap_or_else(|| format!("the classes are: {}", all.join(", ")));
        let problem = Problem::new(
            at,
            format!(
                "unknown class {}",
                quoted(name, fields.values.is_secret("class"))
            ),
        )
        .help(help);
        self.errors.add(problem.item(item).setting("class"));
        None
    }

    fn item_settings(
        &mut self,
        class: &'static Class,
        fields: &Fields<'_>,
        at: Place,
        item: Option<&str>,
    ) -> (
        Settings,
        BTreeMap<&'static str, Place>,
        BTreeMap<&'static str, Vec<Named>>,
    ) {
        let defs = common::settings_of(class);
        let given = self.given(class, &defs, fields, item);
        let (mut settings, mut names) = (Settings::default(), BTreeMap::new());
        for (name, given) in &given {
            let Some(typed) = self.value(given.def, given.node, item) else {
                continue;
            };
            if is_empty(&typed.value) && given.def.default.is_none() {
                if given.def.required {
                    let problem = missing(given.def, given.node.at).item(item);
                    self.errors.add(problem);
                }
                continue; // As if the line were not there: what IRIS exports for "not set".
            }
            names.insert(*name, typed.names);
            settings.put(name, typed.value, typed.secret);
        }
        for def in &defs {
            if def.required && !given.contains_key(def.name) {
                self.errors.add(missing(def, at).item(item));
            }
            if settings.get(def.name).is_none()
                && let Some(value) = self.default(def)
            {
                settings.set(def.name, value);
            }
        }
        let places = given
            .into_iter()
            .map(|(name, given)| (name, given.node.at))
            .collect();
        (settings, places, names)
    }

    /// The settings of both shapes; one that is given twice counts once and is an error.
    fn given<'n>(
        &mut self,
        class: &'static Class,
        defs: &[&'static SettingDef],
        fields: &Fields<'n>,
        item: Option<&str>,
    ) -> BTreeMap<&'static str, Given<'n>> {
        let mut all = Vec::new();
        for (section, target) in [("adapter", Target::Adapter), ("host", Target::Host)] {
            let Some(node) = fields.nodes.get(section).copied() else {
                continue;
            };
            for (key, node) in self.entries(node, &format!("`{section}:`"), item) {
                let def = self.known(class, defs, &key.text, target, key.at, item);
                all.extend(def.map(|def| Given {
                    def,
                    node,
                    at: key.at,
                }));
            }
        }
        if let Some(node) = fields.nodes.get("settings").copied() {
            for entry in self.sequence(node, "`settings:`", item) {
                all.extend(self.entry(class, defs, entry, item));
            }
        }
        all.sort_by_key(|given| given.at);
        let mut given: BTreeMap<&'static str, Given<'n>> = BTreeMap::new();
        for one in all {
            if let Some(first) = given.get(one.def.name) {
                let message = format!("given twice: the first is at line {}", first.at.line);
                let problem = Problem::new(one.at, message)
                    .item(item)
                    .setting(one.def.name);
                self.errors.add(problem.help("keep one of the two lines"));
                continue;
            }
            given.insert(one.def.name, one);
        }
        given
    }

    /// One `{target, name, value}`.
    fn entry<'n>(
        &mut self,
        class: &'static Class,
        defs: &[&'static SettingDef],
        node: &'n Node,
        item: Option<&str>,
    ) -> Option<Given<'n>> {
        if !matches!(node.kind, Kind::Mapping(_)) {
            let message = format!(
                "expected target, name and value, found {}",
                node.kind_name()
            );
            let problem = Problem::new(node.at, message).item(item);
            self.errors
                .add(problem.help("write `- {target: Host, name: AckMode, value: Never}`"));
            return None;
        }
        let fields = self.fields(node, &keys::SETTING_SHAPE, item);
        let name = fields.values.text("name")?;
        let Some(value) = fields.nodes.get("value").copied() else {
            let problem = Problem::new(node.at, "`value` is missing")
                .item(item)
                .setting(name);
            self.errors.add(problem);
            return None;
        };
        let target = match fields.values.text("target")? {
            "Adapter" => Target::Adapter,
            _ => Target::Host,
        };
        let at = fields.places.get("name").copied().unwrap_or(node.at);
        let def = self.known(class, defs, name, target, at, item)?;
        Some(Given {
            def,
            node: value,
            at,
        })
    }

    /// The declaration of a setting, or the error that there is none.
    fn known(
        &mut self,
        class: &'static Class,
        defs: &[&'static SettingDef],
        name: &str,
        target: Target,
        at: Place,
        item: Option<&str>,
    ) -> Option<&'static SettingDef> {
        let def = common::find(defs, name, Some(target));
        if def.is_none() {
            let (message, help) = unknown_setting(class, defs, name, target);
            let problem = Problem::new(at, message).item(item).setting(name);
            self.errors.add(problem.help(help));
        }
        def
    }
}

/// What to say of a name that the class does not declare for this target.
fn unknown_setting(
    class: &Class,
    defs: &[&'static SettingDef],
    name: &str,
    target: Target,
) -> (String, String) {
    let name = &shown(name);
    if let Some(other) = common::find(defs, name, None) {
        let (right, section) = (other.target.name(), other.target.name().to_lowercase());
        let message = format!(
            "`{name}` is a setting of the {right}, not of the {}",
            target.name()
        );
        return (
            message,
            format!("write it under `{section}:` or with `target: {right}`"),
        );
    }
    let attribute = |def: &&SettingDef| def.name == name || def.aliases.contains(&name.as_str());
    if let Some(def) = keys::ITEM.iter().find(attribute) {
        let message = format!("`{name}` belongs to the item, not to its settings");
        return (
            message,
            format!("write `{}:` beside the item's `name:`", def.name),
        );
    }
    if common::LATER_SETTINGS.contains(&name.as_str()) {
        let message = format!("`{name}` is not supported by this version");
        return (message, "remove the line".into());
    }
    let of_target = || defs.iter().filter(|def| def.target == target);
    let names =
        || of_target().flat_map(|def| [def.name].into_iter().chain(def.aliases.iter().copied()));
    let others = defs.iter().map(|def| def.name);
    let help = did_you_mean(name, names())
        .or_else(|| did_you_mean(name, others))
        .unwrap_or_else(|| {
            match of_target()
                .map(|def| def.name)
                .collect::<Vec<_>>()
                .join(", ")
            {
                none if none.is_empty() => {
                    format!("{} has no {} settings", class.name, target.name())
                }
                all => format!("the {} settings of {}: {all}", target.name(), class.name),
            }
        });
    (
        format!("{} has no {} setting `{name}`", class.name, target.name()),
        help,
    )
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Text(text) => text.is_empty(),
        Value::List(list) => list.is_empty(),
        _ => false,
    }
}

fn item_config(
    class: &'static Class,
    fields: &Fields<'_>,
    settings: Settings,
    line: usize,
) -> ItemConfig {
    let pool_size = fields
        .values
        .int("pool_size")
        .and_then(|size| u16::try_from(size).ok());
    ItemConfig {
        name: fields.text("name"),
        class,
        enabled: fields.values.bool("enabled"),
        pool_size: pool_size.unwrap_or(1),
        category: fields.text("category"),
        comment: fields.text("comment"),
        settings,
        retention_age: retention_age(&fields.values),
        retention_bytes: bytes(&fields.values, "RetentionSize"),
        line,
    }
}

/// `-1` says for ever, which differs from not saying anything.
fn retention_age(values: &Settings) -> Option<Duration> {
    values
        .get("RetentionAge")
        .map(|_| values.duration("RetentionAge").unwrap_or(FOREVER))
}

/// A size in bytes, if one is given.
pub(crate) fn bytes(values: &Settings, name: &str) -> Option<u64> {
    values.int(name).and_then(|bytes| u64::try_from(bytes).ok())
}
