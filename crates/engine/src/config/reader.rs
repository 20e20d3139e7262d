//! What all parts of the file are read with: scalars with substitution, typed values, mappings of
//! declared keys. Owns the wording of the errors that these share; knows no particular key.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use super::{
    PythonConfig,
    error::{Errors, Problem, did_you_mean, given_twice, nearest},
    keys::Shape,
    lines::{Lines, Place, shown},
    substitute::{self, Sources},
    value::split_list,
    yaml::{Key, Kind, Node},
};
use crate::{
    class::{Class, Registry, Unresolved},
    setting::{SettingDef, SettingType, Settings, Value},
};

/// A file while it is being read.
pub(crate) struct Reader<'a> {
    pub(crate) registry: Registry,
    pub(crate) env: &'a dyn Fn(&str) -> Option<String>,
    /// The whole text.
    pub(crate) source: &'a str,
    pub(crate) lines: Lines<'a>,
    /// The folder of the file: relative paths start here.
    pub(crate) folder: PathBuf,
    /// Known once `production:` is read.
    pub(crate) data_path: Option<String>,
    /// Names of items whose class is wrong, so that nothing more can be said of them.
    pub(crate) classless: Vec<String>,
    /// Where Python classes are found; known once `production:` is read.
    pub(crate) python: PythonConfig,
    /// Classes that are not built in, by name, as far as they were asked for.
    pub(crate) foreign: BTreeMap<String, Result<&'static Class, Unresolved>>,
    /// Variables whose error is told already.
    pub(crate) bad_variables: BTreeSet<&'static str>,
    pub(crate) errors: Errors,
}

/// A name in a list, with its place.
#[derive(Clone)]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) at: Place,
    pub(crate) secret: bool,
}

impl Named {
    /// The name as an error quotes it.
    pub(crate) fn quoted(&self) -> String {
        quoted(&self.name, self.secret)
    }
}

/// A value as an error quotes it; one from outside may be a secret and is not repeated.
pub(crate) fn quoted(text: &str, secret: bool) -> String {
    if secret {
        "(a value from outside)".into()
    } else {
        format!("`{}`", shown(text))
    }
}

/// A value as read.
pub(crate) struct Typed {
    pub(crate) value: Value,
    pub(crate) secret: bool,
    /// For a list: its entries with their places.
    pub(crate) names: Vec<Named>,
}

/// The text of a scalar with everything put in.
pub(crate) struct Text {
    pub(crate) text: String,
    pub(crate) secret: bool,
    moved: bool,
}

/// A mapping of declared keys as read: values with their places, sections as nodes.
#[derive(Default)]
pub(crate) struct Fields<'n> {
    pub(crate) values: Settings,
    pub(crate) places: BTreeMap<&'static str, Place>,
    pub(crate) nodes: BTreeMap<&'static str, &'n Node>,
    pub(crate) names: BTreeMap<&'static str, Vec<Named>>,
    /// Keys meant by an unknown one: to call them missing too would mislead.
    pub(crate) meant: BTreeSet<&'static str>,
}

impl Fields<'_> {
    /// A text value, or empty.
    pub(crate) fn text(&self, name: &str) -> String {
        self.values.text(name).unwrap_or("").to_owned()
    }
}

impl<'a> Reader<'a> {
    /// Puts in what `${…}` stands for.
    pub(crate) fn text(&mut self, node: &Node, item: Option<&str>, setting: &str) -> Option<Text> {
        let Kind::Scalar(raw, style) = &node.kind else {
            let message = format!("expected a single value, found {}", node.kind_name());
            self.errors
                .add(Problem::new(node.at, message).item(item).setting(setting));
            return None;
        };
        let sources = Sources {
            env: self.env,
            folder: &self.folder,
            data_path: self.data_path.as_deref(),
        };
        match substitute::expand(raw, &sources) {
            Ok(done) => Some(Text {
                text: done.text,
                secret: done.outside,
                moved: done.moved,
            }),
            Err(faults) => {
                for fault in faults {
                    let at = self.lines.place_in(node.at, raw, *style, fault.offset);
                    let problem = Problem::new(at, fault.message).maybe_help(fault.help);
                    self.errors.add(problem.item(item).setting(setting));
                }
                None
            }
        }
    }

    /// Reads a value by its declaration.
    pub(crate) fn value(
        &mut self,
        def: &SettingDef,
        node: &Node,
        item: Option<&str>,
    ) -> Option<Typed> {
        match (&node.kind, def.kind) {
            (Kind::Sequence(entries), SettingType::Items) => self.list(def, entries, item),
            // A grammar with commas may be written as a list too.
            (Kind::Sequence(entries), SettingType::Checked(_)) => {
                let parts: Vec<Text> = entries
                    .iter()
                    .filter_map(|e| self.text(e, item, def.name))
                    .collect();
                if parts.len() < entries.len() {
                    return None;
                }
                let text = parts
                    .iter()
                    .map(|t| t.text.as_str())
                    .collect::<Vec<_>>()
                    .join(",");
                let secret = parts.iter().any(|part| part.secret);
                self.typed(
                    def,
                    node,
                    "the list",
                    &Text {
                        text,
                        secret,
                        moved: true,
                    },
                    item,
                )
            }
            _ => {
                let text = self.text(node, item, def.name)?;
                let Kind::Scalar(raw, _) = &node.kind else {
                    return None;
                };
                self.typed(def, node, &format!("`{}`", shown(raw)), &text, item)
            }
        }
    }

    fn typed(
        &mut self,
        def: &SettingDef,
        node: &Node,
        written: &str,
        text: &Text,
        item: Option<&str>,
    ) -> Option<Typed> {
        match def.kind.parse(&text.text) {
            Ok(value) => {
                let value = self.at_home(def, value);
                let names = self.names(&value, node, text);
                Some(Typed {
                    value,
                    secret: text.secret,
                    names,
                })
            }
            Err(why) => {
                let problem = wrong_value(def, node.at, written, text, why);
                self.errors.add(problem.item(item).setting(def.name));
                None
            }
        }
    }

    /// A relative path starts from the folder of the file, wherever the engine is started.
    fn at_home(&self, def: &SettingDef, value: Value) -> Value {
        match (def.kind, value) {
            (SettingType::Path, Value::Text(text)) if !text.is_empty() => {
                let path = self.folder.join(Path::new(&text));
                Value::Text(path.to_string_lossy().into_owned())
            }
            (_, value) => value,
        }
    }

    /// The entries of a comma-separated list with their places.
    fn names(&self, value: &Value, node: &Node, text: &Text) -> Vec<Named> {
        let (Value::List(_), Kind::Scalar(raw, style)) = (value, &node.kind) else {
            return Vec::new();
        };
        split_list(&text.text)
            .map(|(offset, name)| {
                let offset = if text.moved { 0 } else { offset };
                let at = self.lines.place_in(node.at, raw, *style, offset);
                Named {
                    name: name.to_owned(),
                    at,
                    secret: text.secret,
                }
            })
            .collect()
    }

    fn list(&mut self, def: &SettingDef, entries: &[Node], item: Option<&str>) -> Option<Typed> {
        let (mut names, mut secret, mut sound) = (Vec::new(), false, true);
        for entry in entries {
            let Some(text) = self.text(entry, item, def.name) else {
                sound = false;
                continue;
            };
            secret |= text.secret;
            let name = text.text.trim().to_owned();
            if name.is_empty() || name.contains(',') {
                let message = "each entry of the list is the name of one item";
                self.errors
                    .add(Problem::new(entry.at, message).item(item).setting(def.name));
                sound = false;
            } else {
                names.push(Named {
                    name,
                    at: entry.at,
                    secret: text.secret,
                });
            }
        }
        let value = Value::List(names.iter().map(|named| named.name.clone()).collect());
        sound.then_some(Typed {
            value,
            secret,
            names,
        })
    }

    /// The entries of a mapping; anything else is an error and empty.
    pub(crate) fn entries<'n>(
        &mut self,
        node: &'n Node,
        what: &str,
        item: Option<&str>,
    ) -> &'n [(Key, Node)] {
        match &node.kind {
            Kind::Mapping(entries) => entries,
            _ if node.is_nothing() => &[],
            _ => {
                let found = node.kind_name();
                let message = format!("{what}: expected `key: value` lines, found {found}");
                self.errors.add(Problem::new(node.at, message).item(item));
                &[]
            }
        }
    }

    /// The entries of a list; anything else is an error and empty.
    pub(crate) fn sequence<'n>(
        &mut self,
        node: &'n Node,
        what: &str,
        item: Option<&str>,
    ) -> &'n [Node] {
        match &node.kind {
            Kind::Sequence(entries) => entries,
            _ if node.is_nothing() => &[],
            _ => {
                let found = node.kind_name();
                let message = format!("{what}: expected a list (lines with `- `), found {found}");
                self.errors.add(Problem::new(node.at, message).item(item));
                &[]
            }
        }
    }

    /// Reads a mapping of declared keys: unknown ones, ones given twice, wrong values and missing
    /// ones are errors; defaults are filled in.
    pub(crate) fn fields<'n>(
        &mut self,
        node: &'n Node,
        shape: &Shape,
        item: Option<&str>,
    ) -> Fields<'n> {
        let mut fields = Fields::default();
        for (key, node) in self.entries(node, shape.what, item) {
            self.field(&mut fields, shape, key, node, item);
        }
        for def in shape.values {
            self.settle(def, &mut fields, node.at, item);
        }
        fields
    }

    fn field<'n>(
        &mut self,
        fields: &mut Fields<'n>,
        shape: &Shape,
        key: &Key,
        node: &'n Node,
        item: Option<&str>,
    ) {
        let name = key.text.as_str();
        let def = shape
            .values
            .iter()
            .find(|def| def.name == name || def.aliases.contains(&name));
        let section = shape.sections.iter().find(|names| names.contains(&name));
        let canonical = match (def, section.and_then(|names| names.first())) {
            (Some(def), _) => def.name,
            (None, Some(name)) => name,
            (None, None) => {
                fields.meant.extend(self.unknown_key(shape, key, item));
                return;
            }
        };
        if let Some(first) = fields.places.insert(canonical, key.at) {
            let problem = given_twice(key.at, name, first);
            self.errors.add(problem.item(item).setting(canonical));
            return;
        }
        let Some(def) = def else {
            fields.nodes.insert(canonical, node);
            return;
        };
        // Lists are for names; only the settings of classes take them for other grammars too.
        let single =
            matches!(node.kind, Kind::Sequence(_)) && !matches!(def.kind, SettingType::Items);
        let typed = match single {
            true => self.text(node, item, def.name).and(None),
            false => self.value(def, node, item),
        };
        if let Some(typed) = typed {
            fields.names.insert(def.name, typed.names);
            fields.places.insert(def.name, node.at);
            fields.values.put(def.name, typed.value, typed.secret);
        }
    }

    /// The error for an unknown key, and the declared value that it probably means.
    fn unknown_key(
        &mut self,
        shape: &Shape,
        key: &Key,
        item: Option<&str>,
    ) -> Option<&'static str> {
        let name = shown(&key.text);
        if shape.later.contains(&key.text.as_str()) {
            let problem =
                Problem::new(key.at, format!("`{name}` is not supported by this version"));
            self.errors.add(problem.help("remove the line").item(item));
            return None;
        }
        let known: Vec<&str> = shape.names().collect();
        let help = format!("{} has: {}", shape.what, known.join(", "));
        let aliases = shape.values.iter().flat_map(|def| def.aliases).copied();
        let names: Vec<&'static str> = shape.names().chain(aliases).collect();
        let near = did_you_mean(&key.text, names.iter().copied());
        let problem = Problem::new(key.at, format!("unknown key `{name}` in {}", shape.what));
        self.errors
            .add(problem.help(help).maybe_help(near).item(item));
        let meant = nearest(&key.text, names)?;
        let def = shape.values.iter().find(|def| def.aliases.contains(&meant));
        Some(def.map_or(meant, |def| def.name))
    }

    /// The default where nothing was given, or the error that something must be.
    fn settle(&mut self, def: &SettingDef, fields: &mut Fields<'_>, at: Place, item: Option<&str>) {
        let given = fields.places.contains_key(def.name) || fields.meant.contains(def.name);
        if def.required && !given {
            self.errors.add(missing(def, at).item(item));
        }
        if fields.values.get(def.name).is_none()
            && let Some(value) = self.default(def)
        {
            fields.values.set(def.name, value);
        }
    }

    /// The value of a declaration's default.
    pub(crate) fn default(&self, def: &SettingDef) -> Option<Value> {
        let value = def.kind.parse(def.default?);
        let value = value.unwrap_or_else(|why| panic!("the default of {}: {why}", def.name));
        Some(self.at_home(def, value))
    }
}

/// The error for a setting that must be given.
pub(crate) fn missing(def: &SettingDef, at: Place) -> Problem {
    let help = match def.kind {
        SettingType::Checked(_) | SettingType::Text => def.doc.to_owned(),
        kind => format!("expected {}. {}", kind.expected(), def.doc),
    };
    Problem::new(at, format!("`{}` is missing", def.name))
        .setting(def.name)
        .help(help)
}

/// The error for a value that its declaration does not allow. What a check of its own says may
/// quote the value, so it is withheld where the value came from outside.
fn wrong_value(def: &SettingDef, at: Place, written: &str, text: &Text, why: String) -> Problem {
    let checked = matches!(def.kind, SettingType::Checked(_));
    let why = match (text.text.is_empty(), checked, text.secret) {
        (true, false, _) => format!("the value is empty; {why}"),
        (_, true, true) => "what this stands for is not a valid value".into(),
        (_, _, true) => format!("what this stands for is not valid; {why}"),
        _ => why,
    };
    let near = match def.kind {
        SettingType::Choice(choices) if !text.text.is_empty() => did_you_mean(
            &text.text,
            choices.iter().filter_map(|names| names.first()).copied(),
        ),
        _ => None,
    };
    // A check of its own often quotes the value itself.
    let quotes_it = checked && !text.secret && why.contains(&format!("{:?}", text.text));
    let says_it = text.text.is_empty() || quotes_it;
    let message = if says_it {
        why
    } else {
        format!("{written}: {why}")
    };
    Problem::new(at, message)
        .maybe_help(default_help(def))
        .maybe_help(near.filter(|_| !text.secret))
}

fn default_help(def: &SettingDef) -> Option<String> {
    let default = def.default.filter(|default| !default.is_empty())?;
    Some(format!("without the line it is `{default}`"))
}
