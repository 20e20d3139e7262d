//! The JSON schema of the file (draft 2020-12), from the declarations.
//!
//! Made for editors: it completes keys, choices and classes in both shapes and shows the docs. It
//! is a little wider than the reader (relations between settings, names of targets), and never
//! narrower: what the reader takes, the schema takes. Values of any YAML type are allowed where
//! the reader takes text, because an editor types `2.30` before any schema sees it.

use serde_json::{Map, Value as Json, json};

use super::{common, hook_keys, keys, keys::Shape};
use crate::{
    class::{Class, Registry},
    setting::{SettingDef, SettingType, Target},
};

/// The schema of a configuration file for the classes of a registry.
pub fn schema(registry: &Registry) -> Json {
    let mut defs = Map::new();
    defs.insert("outside".into(), outside());
    defs.insert("rule".into(), object(&keys::RULE_SHAPE, &[]));
    defs.insert("default".into(), object(&keys::DEFAULT_SHAPE, &[]));
    let parts = [
        ("rules", list_of("rule")),
        ("default", reference("default")),
    ];
    defs.insert("ruleSet".into(), object(&keys::RULE_SET_SHAPE, &parts));
    defs.insert(
        "namedRuleSet".into(),
        object(&keys::NAMED_RULE_SET_SHAPE, &parts),
    );
    defs.insert("hooks".into(), hooks());
    defs.insert("item".into(), item(registry));
    for class in registry.classes() {
        defs.insert(class.name.into(), class_schema(class));
    }
    let sections = [
        ("production", object(&keys::PRODUCTION_SHAPE, &[])),
        (
            "items",
            json!({"type": "array", "minItems": 1, "items": reference("item")}),
        ),
        (
            "rules",
            json!({"anyOf": [
                list_of("ruleSet"),
                {"type": "object", "additionalProperties": reference("namedRuleSet")},
                {"type": "null"},
            ]}),
        ),
    ];
    let mut schema = object(&keys::FILE, &sections);
    if let Some(root) = schema.as_object_mut() {
        root.insert(
            "$schema".into(),
            "https://json-schema.org/draft/2020-12/schema".into(),
        );
        root.insert("title".into(), "HIE production".into());
        root.insert("required".into(), json!(["production", "items"]));
        root.insert("$defs".into(), defs.into());
    }
    schema
}

fn reference(name: &str) -> Json {
    json!({"$ref": format!("#/$defs/{name}")})
}

fn list_of(name: &str) -> Json {
    json!({"type": ["array", "null"], "items": reference(name)})
}

/// A value that is put in when the file is read, and so has no type before.
fn outside() -> Json {
    json!({
        "type": "string",
        "pattern": "\\$\\{",
        "description": "`${NAME}`, `${NAME:-default}` or `${file:/run/secrets/x}`.",
    })
}

/// A mapping of declared keys under all their names.
fn object(shape: &Shape, sections: &[(&str, Json)]) -> Json {
    let mut properties = Map::new();
    for def in shape.values {
        for name in names(def) {
            properties.insert(name.into(), setting(def));
        }
    }
    for names in shape.sections {
        let part = names
            .first()
            .and_then(|name| sections.iter().find(|(part, _)| part == name));
        for name in names.iter() {
            let part = part.map_or(json!({}), |(_, schema)| schema.clone());
            properties.insert((*name).into(), part);
        }
    }
    let mut object = json!({
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    });
    let required: Vec<Json> = shape
        .values
        .iter()
        .filter(|def| def.required)
        .map(any_name_required)
        .collect();
    if let (false, Some(object)) = (required.is_empty(), object.as_object_mut()) {
        object.insert("allOf".into(), required.into());
    }
    object
}

fn names(def: &SettingDef) -> impl Iterator<Item = &'static str> + use<> {
    [def.name].into_iter().chain(def.aliases.iter().copied())
}

fn any_name_required(def: &SettingDef) -> Json {
    json!({"anyOf": names(def).map(|name| json!({"required": [name]})).collect::<Vec<_>>()})
}

/// One setting: its values, its doc, its default.
fn setting(def: &SettingDef) -> Json {
    let mut schema = Map::new();
    let required = if def.required { " Required." } else { "" };
    schema.insert(
        "description".into(),
        format!("{}{required}", def.doc).into(),
    );
    if let Some(default) = def.default {
        schema.insert("default".into(), default.into());
    }
    schema.insert("anyOf".into(), values(def.kind).into());
    schema.into()
}

/// What the file may hold for a type, as alternatives.
fn values(kind: SettingType) -> Vec<Json> {
    let text = json!({"type": ["string", "number", "boolean", "null"]});
    let texts = || json!({"type": "array", "items": {"type": ["string", "number", "boolean"]}});
    let mut any = match kind {
        // Their text may be anything, so nothing from outside need be told apart.
        SettingType::Text | SettingType::Path | SettingType::RuleSet => return vec![text],
        SettingType::Items | SettingType::Checked(_) => return vec![text, texts()],
        SettingType::Bool => vec![
            json!({"type": "boolean"}),
            json!({"enum": [0, 1]}),
            pattern(&format!(
                "^\\s*({})\\s*$",
                any_case(&["true", "false", "yes", "no", "0", "1"])
            )),
        ],
        SettingType::Int { min, max } => vec![
            json!({"type": "integer", "minimum": min, "maximum": max}),
            pattern("^\\s*-?[0-9]+\\s*$"),
        ],
        SettingType::Seconds {
            min,
            max,
            unlimited,
        } => {
            let mut any = vec![
                json!({"type": "number", "minimum": min, "maximum": max}),
                pattern("^\\s*[0-9]+(\\.[0-9]+)?\\s*(ms|s|m|min|h|d)?\\s*$"),
            ];
            if let Some(means) = unlimited {
                any.push(json!({"enum": [-1, "-1"], "description": means}));
            }
            any
        }
        SettingType::Bytes { min, max } => vec![
            json!({"type": "integer", "minimum": min, "maximum": max}),
            pattern("^\\s*[0-9]+\\s*([kKmMgGtT][iI]?)?[bB]?\\s*$"),
        ],
        SettingType::Choice(choices) => choice(choices),
    };
    any.push(reference("outside"));
    any
}

fn pattern(pattern: &str) -> Json {
    json!({"type": "string", "pattern": pattern})
}

/// The canonical names for completion, and all names in any case, as the reader takes them.
fn choice(choices: &[&[&str]]) -> Vec<Json> {
    let canonical: Vec<&str> = choices
        .iter()
        .filter_map(|names| names.first())
        .copied()
        .collect();
    let all: Vec<&str> = choices
        .iter()
        .flat_map(|names| names.iter())
        .copied()
        .collect();
    // A name such as `1` or `true` reaches the schema as a number or a boolean.
    let typed: Vec<Json> = all
        .iter()
        .filter_map(|name| serde_json::from_str::<Json>(name).ok())
        .filter(|json| json.is_number() || json.is_boolean())
        .collect();
    let mut any = vec![
        json!({"enum": canonical}),
        pattern(&format!("^\\s*({})\\s*$", any_case(&all))),
    ];
    if !typed.is_empty() {
        any.push(json!({"enum": typed}));
    }
    any
}

/// An ECMA pattern for these words in any case; it knows no flags within a pattern.
fn any_case(words: &[&str]) -> String {
    let letter = |c: char| match (c.to_ascii_lowercase(), c.to_ascii_uppercase()) {
        (low, up) if low != up => format!("[{up}{low}]"),
        (c, _) if c.is_ascii_alphanumeric() => c.to_string(),
        (c, _) if c.is_ascii() => format!("\\{c}"),
        (c, _) => c.to_string(),
    };
    let words: Vec<String> = words
        .iter()
        .map(|word| word.chars().map(letter).collect())
        .collect();
    words.join("|")
}

/// The hooks of an item.
fn hooks() -> Json {
    let value = json!({"type": ["string", "number", "boolean", "null"]});
    let set = [(
        "set",
        json!({
            "description": "Places and what is put there; `{PID-5.1}` in a value is had from the message.",
            "type": "object",
            "additionalProperties": value,
        }),
    )];
    let list = |entry: Json| json!({"type": ["array", "null"], "items": entry});
    let mut hooks = object(
        &hook_keys::HOOKS_SHAPE,
        &[
            (
                "on_before_process",
                list(object(&hook_keys::BEFORE_HOOK_SHAPE, &set)),
            ),
            (
                "on_after_process",
                list(object(&hook_keys::AFTER_HOOK_SHAPE, &[])),
            ),
            (
                "on_process_error",
                list(object(&hook_keys::ERROR_HOOK_SHAPE, &[])),
            ),
        ],
    );
    if let Some(kind) = hooks.get_mut("type") {
        *kind = json!(["object", "null"]);
    }
    hooks
}

/// An item: its own keys, and by its class what its settings are.
fn item(registry: &Registry) -> Json {
    let mut item = object(&keys::ITEM_SHAPE, &[("hooks", reference("hooks"))]);
    let class_names: Vec<&str> = registry
        .classes()
        .iter()
        .flat_map(|class| class_names(class))
        .collect();
    let class_keys: Vec<&str> = keys::ITEM
        .iter()
        .filter(|def| def.name == "class")
        .flat_map(names)
        .collect();
    for key in &class_keys {
        if let Some(class) = item.pointer_mut(&format!("/properties/{key}/anyOf")) {
            // Python classes: an editor cannot know them, `hie check` does.
            let python = json!({"type": "string", "pattern": r"^custom(\.[A-Za-z_]\w*){2,}$"});
            *class = json!([{"enum": class_names}, python, reference("outside")]);
        }
    }
    if let Some(all) = item.get_mut("allOf").and_then(Json::as_array_mut) {
        for class in registry.classes() {
            let of_class: Vec<Json> = class_keys
                .iter()
                .map(|key| {
                    json!({
                        "properties": {*key: {"enum": class_names_of(class)}},
                        "required": [key],
                    })
                })
                .collect();
            all.push(json!({"if": {"anyOf": of_class}, "then": reference(class.name)}));
        }
    }
    item
}

fn class_names(class: &'static Class) -> impl Iterator<Item = &'static str> {
    [class.name]
        .into_iter()
        .chain(class.aliases.iter().copied())
}

fn class_names_of(class: &'static Class) -> Vec<&'static str> {
    class_names(class).collect()
}

/// The settings of a class in both shapes.
fn class_schema(class: &'static Class) -> Json {
    let defs = common::settings_of(class);
    let half = |target: Target| {
        let mut properties = Map::new();
        for def in defs.iter().filter(|def| def.target == target) {
            properties.insert(def.name.into(), setting(def));
            for alias in def.aliases {
                properties.insert((*alias).into(), short(class, def));
            }
        }
        json!({
            "type": ["object", "null"],
            "properties": properties,
            "additionalProperties": false,
        })
    };
    let entries: Vec<Json> = defs.iter().map(|def| entry(class, def)).collect();
    let again = |half: &str| reference(&format!("{}/properties/{half}", class.name));
    json!({
        "description": class.summary,
        "properties": {
            "adapter": half(Target::Adapter), "Adapter": again("adapter"),
            "host": half(Target::Host), "Host": again("host"),
            "settings": {"type": ["array", "null"], "items": {"anyOf": entries}},
            "Settings": again("settings"),
        },
    })
}

/// A setting as the short shape has it: said once, or the schema would be three times as long.
fn short(class: &Class, def: &SettingDef) -> Json {
    let (class, half, name) = (class.name, def.target.name().to_lowercase(), def.name);
    reference(&format!("{class}/properties/{half}/properties/{name}"))
}

/// One `{target, name, value}`.
fn entry(class: &Class, def: &SettingDef) -> Json {
    let value = [("value", short(class, def))];
    let mut entry = object(&keys::SETTING_SHAPE, &value);
    let target = def.target.name();
    let targets =
        json!({"anyOf": [{"const": target}, pattern(&format!("^{}$", any_case(&[target])))]});
    let setting_names = json!({"enum": names(def).collect::<Vec<_>>()});
    for (key, schema) in [("target", targets), ("name", setting_names)] {
        for key in [key.to_owned(), capitalised(key)] {
            if let Some(slot) = entry.pointer_mut(&format!("/properties/{key}")) {
                *slot = schema.clone();
            }
        }
    }
    if let Some(all) = entry.get_mut("allOf").and_then(Json::as_array_mut) {
        all.push(json!({"anyOf": [{"required": ["value"]}, {"required": ["Value"]}]}));
    }
    entry
}

fn capitalised(key: &str) -> String {
    let mut chars = key.chars();
    chars
        .next()
        .map(|c| c.to_ascii_uppercase().to_string() + chars.as_str())
        .unwrap_or_default()
}
