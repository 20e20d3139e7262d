//! The floors: a crate imports lower floors only, never its own or a higher one. So there are no
//! circles, and whoever changes a crate knows who may feel it. The table here is the house.

use crate::{
    finding::{self, Finding},
    metadata::{self, Kind, Package},
    tree,
};

/// Every crate of ours and its floor. Crates that are planned stand here already.
const FLOORS: &[(&str, u8)] = &[
    ("hie-hl7", 1),
    ("hie-mllp", 1),
    ("hie-journal", 1),
    ("hie-rules", 2),
    ("hie-store", 2),
    ("hie-load", 2),
    ("hie-engine", 3),
    ("hie-hosts", 4),
    ("hie-worker", 4),
    ("hie-manager", 5),
    ("hie", 6),
    // No part of the product: it looks at the tree from outside.
    ("hie-tidy", 7),
    // Takes single modules by path and checks their threads.
    ("hie-loom", 7),
    // Drives the binary and its parts; nothing depends on it.
    ("hie-bench", 7),
];

fn floor(name: &str) -> Option<u8> {
    FLOORS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, floor)| *floor)
}

/// What is wrong with one crate's dependencies, as (name to point at, sentence).
fn broken(package: &Package) -> Vec<(String, String)> {
    let Some(own) = floor(&package.name) else {
        let text = format!(
            "crate `{}` has no floor; add it to FLOORS in tests/tidy/tests/tidy/floors.rs and to ARCHITECTURE.md",
            package.name
        );
        return vec![(package.name.clone(), text)];
    };
    let wrong = package
        .dependencies
        .iter()
        .filter_map(|dependency| Some((dependency, floor(&dependency.name)?)));
    let wrong = wrong.filter(|(_, theirs)| *theirs >= own);
    wrong
        .map(|(dependency, theirs)| {
            (
                dependency.name.clone(),
                sentence(package, own, &dependency.name, theirs, dependency.kind),
            )
        })
        .collect()
}

fn sentence(package: &Package, own: u8, name: &str, theirs: u8, kind: Kind) -> String {
    let how = match kind {
        Kind::Normal => "depends",
        Kind::Build => "build-depends",
        Kind::Dev => "dev-depends",
    };
    format!(
        "`{}` (floor {own}) {how} on `{name}` (floor {theirs}); depend on lower floors only: \
         move the shared part down, pass it in as a trait, or move the test up",
        package.name
    )
}

#[test]
fn crates_depend_on_lower_floors_only() {
    let mut findings = Vec::new();
    for package in metadata::ours() {
        let manifest = tree::read(&package.manifest);
        for (name, text) in broken(package) {
            let line = manifest.lines().find(|(_, line)| {
                line.starts_with(&name) || line.ends_with(&format!("\"{name}\""))
            });
            findings.push(Finding::new(
                &package.manifest,
                line.map_or(1, |(number, _)| number),
                text,
            ));
        }
    }
    finding::none(
        "Dependencies point down: never to the same floor, never up.",
        findings,
    );
}

#[test]
fn a_look_up_or_sideways_is_found() {
    let package = |name: &str, on: &str| Package {
        name: name.to_owned(),
        version: String::new(),
        license: None,
        source: None,
        manifest: String::new(),
        dependencies: vec![metadata::Dependency {
            name: on.to_owned(),
            kind: Kind::Dev,
            requirement: String::new(),
        }],
    };
    assert_eq!(broken(&package("hie-store", "hie-journal")), []);
    assert_eq!(broken(&package("hie-store", "hie-rules")).len(), 1);
    assert_eq!(broken(&package("hie-journal", "hie-engine")).len(), 1);
    assert_eq!(broken(&package("hie-new", "bytes")).len(), 1);
}
