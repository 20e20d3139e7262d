//! The schema and the reference page say all that is declared.

use serde_json::Value as Json;

use super::REGISTRY;
use crate::config::{ITEM, PRODUCTION, common, reference, schema};

/// Every `$ref` of a schema.
fn references<'j>(json: &'j Json, found: &mut Vec<&'j str>) {
    match json {
        Json::Object(map) => {
            found.extend(map.get("$ref").and_then(Json::as_str));
            map.values().for_each(|value| references(value, found));
        }
        Json::Array(list) => list.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[test]
fn every_reference_of_the_schema_leads_somewhere() {
    let schema = schema(&REGISTRY);
    let mut found = Vec::new();
    references(&schema, &mut found);
    assert!(found.len() > 10);
    for reference in found {
        let pointer = reference.strip_prefix('#').expect("within the schema");
        assert!(schema.pointer(pointer).is_some(), "{reference}");
    }
}

#[test]
fn every_setting_stands_in_the_schema_in_both_shapes() {
    let schema = schema(&REGISTRY);
    for class in REGISTRY.classes() {
        let properties = &schema["$defs"][class.name]["properties"];
        let entries = properties["settings"]["items"]["anyOf"]
            .as_array()
            .expect("entries");
        for def in common::settings_of(class) {
            let half = def.target.name().to_lowercase();
            let short = &properties[&half]["properties"][def.name];
            assert!(
                short["description"]
                    .as_str()
                    .is_some_and(|doc| doc.starts_with(def.doc))
            );
            assert_eq!(short["default"].as_str(), def.default, "{}", def.name);
            let long = entries.iter().filter(|entry| {
                let names = entry["properties"]["name"]["enum"].as_array();
                names.is_some_and(|names| names.iter().any(|name| name == def.name))
            });
            assert_eq!(long.count(), 1, "{}", def.name);
        }
    }
    let item = &schema["$defs"]["item"]["properties"];
    for name in ITEM
        .iter()
        .flat_map(|def| [def.name].into_iter().chain(def.aliases.iter().copied()))
    {
        assert!(item[name].is_object(), "{name}");
    }
}

#[test]
fn hooks_stand_in_the_schema_with_all_their_keys() {
    let schema = schema(&REGISTRY);
    let hooks = &schema["$defs"]["hooks"]["properties"];
    let keys = |hook: &str| {
        let entry = hooks[hook]["items"]["properties"].as_object();
        entry.expect(hook).keys().cloned().collect::<Vec<_>>()
    };
    assert_eq!(keys("on_before_process"), ["reject", "set", "tag", "when"]);
    assert_eq!(keys("on_after_process"), ["tag", "when"]);
    let error = ["reason", "reply", "tag", "then", "when"];
    assert_eq!(keys("on_process_error"), error);
    let item = &schema["$defs"]["item"]["properties"]["hooks"];
    assert_eq!(item["$ref"], "#/$defs/hooks");
}

#[test]
fn classes_are_offered_by_all_their_names() {
    let schema = schema(&REGISTRY);
    let offered = schema["$defs"]["item"]["properties"]["class"]["anyOf"][0]["enum"].as_array();
    let offered = offered.expect("an enum");
    for class in REGISTRY.classes() {
        for name in [class.name]
            .into_iter()
            .chain(class.aliases.iter().copied())
        {
            assert!(offered.iter().any(|offer| offer == name), "{name}");
        }
    }
}

#[test]
fn the_reference_names_every_setting_and_class() {
    let page = reference(&REGISTRY);
    let own = REGISTRY.classes().iter().flat_map(|class| class.settings());
    let tables = [
        PRODUCTION,
        ITEM,
        common::SERVICE,
        common::PROCESS,
        common::OPERATION,
    ];
    for def in own.chain(tables.into_iter().flatten()) {
        assert!(
            page.contains(&format!("\n| `{}`", def.name)),
            "{}",
            def.name
        );
    }
    for class in REGISTRY.classes() {
        assert!(page.contains(&format!("\n### {}\n", class.name)));
        assert!(
            class
                .aliases
                .iter()
                .all(|alias| page.contains(&format!("`{alias}`")))
        );
    }
    let cells = |line: &str| line.replace("\\|", "").matches('|').count();
    assert!(
        page.lines()
            .filter(|line| line.starts_with("| "))
            .all(|line| matches!(cells(line), 3 | 5))
    );
}
