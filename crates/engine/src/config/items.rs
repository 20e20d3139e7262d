//! The items of a production: their own keys and their class.
//!
//! Their settings are read in [`settings`](super::settings); what one item says of another is
//! checked in [`links`](super::links), when all are known.

use std::{collections::BTreeMap, time::Duration};

use super::{
    FOREVER, ItemConfig,
    error::{Problem, did_you_mean},
    keys,
    lines::Place,
    reader::{Fields, Named, Reader, quoted},
    yaml::{Kind, Node},
};
use crate::{
    class::{Build, Class, Unresolved},
    setting::Settings,
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
        let given = self.item_settings(class, &fields, node.at, item);
        let mut config = item_config(class, &fields, given.settings, node.at.line);
        let pool_size = keys::ITEM.iter().find(|def| def.name == "pool_size");
        if let Some(def) = pool_size.filter(|def| !fields.places.contains_key(def.name))
            && let Some(size) = self.pool_size_default(def, &class.build, &config.settings)
        {
            config.pool_size = size;
        }
        if let Some(node) = fields.nodes.get("hooks").copied() {
            let service = matches!(class.build, Build::Service(_));
            config.hooks = self.hooks(node, service, item);
        }
        let places = fields.places.into_iter().chain(given.places).collect();
        let names = given.names;
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

    /// A class that is not built in, asked for once however many items have it.
    fn foreign(&mut self, name: &str) -> Option<Result<&'static Class, Unresolved>> {
        if let Some(found) = self.foreign.get(name) {
            return Some(found.clone());
        }
        let found = self.registry.foreign(name, &self.python)?;
        self.foreign.insert(name.to_owned(), found.clone());
        Some(found)
    }

    fn class(&mut self, fields: &Fields<'_>, item: Option<&str>) -> Option<&'static Class> {
        let name = fields.values.text("class")?;
        if let Some(class) = self.registry.find(name) {
            return Some(class);
        }
        let at = fields.places.get("class").copied().unwrap_or(Place::START);
        if let Some(found) = self.foreign(name) {
            return match found {
                Ok(class) => Some(class),
                Err(Unresolved { message, help }) => {
                    let problem = Problem::new(at, message).maybe_help(help);
                    self.errors.add(problem.item(item).setting("class"));
                    None
                }
            };
        }
        let classes = self.registry.classes();
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
        hooks: None,
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
