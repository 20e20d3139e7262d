//! What every class declares is sound: the reader, the schema and the reference page rely on it.

use std::collections::BTreeSet;

use hie_engine::config::{self, common};
use hie_hosts::REGISTRY;

#[test]
fn names_of_classes_are_unique() {
    let mut seen = BTreeSet::new();
    for class in REGISTRY.classes() {
        for name in [class.name].iter().chain(class.aliases) {
            assert!(seen.insert(*name), "{name} is two classes");
        }
    }
}

#[test]
fn names_of_settings_are_unique_in_a_class() {
    for class in REGISTRY.classes() {
        let mut seen = BTreeSet::new();
        for def in common::settings_of(class) {
            for name in [def.name].iter().chain(def.aliases) {
                assert!(seen.insert(*name), "{}: {name} is two settings", class.name);
            }
        }
    }
}

#[test]
fn every_default_is_a_value_of_its_type_and_every_doc_a_sentence() {
    for class in REGISTRY.classes() {
        for def in common::settings_of(class) {
            let at = format!("{} {}", class.name, def.name);
            if let Some(default) = def.default {
                assert!(
                    def.kind.parse(default).is_ok(),
                    "{at}: the default `{default}`"
                );
            }
            assert!(def.doc.ends_with(['.', ')']), "{at}: {}", def.doc);
        }
        assert!(
            class.summary.ends_with('.'),
            "{}: {}",
            class.name,
            class.summary
        );
    }
}

#[test]
fn the_schema_and_the_reference_hold_every_class() {
    let (schema, page) = (config::schema(&REGISTRY), config::reference(&REGISTRY));
    for class in REGISTRY.classes() {
        assert!(
            schema["$defs"][class.name]["properties"]["settings"].is_object(),
            "{}",
            class.name
        );
        assert!(
            page.contains(&format!("### {}\n", class.name)),
            "{}",
            class.name
        );
    }
}
