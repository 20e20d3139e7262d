//! Supply: what we build on. Licences, banned crates and sources are held here from `cargo metadata`
//! and the lists in `deny.toml`, so that the check runs everywhere and offline; `cargo deny`, where it
//! is installed, reads the same file and adds the advisories.

use crate::{
    finding::{self, Finding},
    metadata::{self, Package},
    spdx, tree,
};

/// The list that both checks share.
const LIST: &str = "deny.toml";

/// The quoted words of one array of `deny.toml`: `[section]`, then `key = [ … ]`.
///
/// Not a TOML parser: the file is ours and keeps this shape; an empty answer fails the tests below.
fn words(section: &str, key: &str) -> Vec<String> {
    let text: String = tree::read(LIST)
        .lines()
        .map(|(_, line)| format!("{}\n", line.split('#').next().unwrap_or_default()))
        .collect();
    let body = text
        .split_once(&format!("[{section}]\n"))
        .map_or("", |(_, after)| after);
    let body = body.split("\n[").next().unwrap_or_default();
    let array = body
        .split_once(&format!("\n{key} = ["))
        .and_then(|(_, after)| after.split_once("\n]"))
        .map_or("", |(array, _)| array);
    array
        .lines()
        .filter_map(|line| line.split('"').nth(1))
        .map(str::to_owned)
        .collect()
}

fn line_in_lock(package: &Package) -> usize {
    let wanted = format!(
        "name = \"{}\"\nversion = \"{}\"",
        package.name, package.version
    );
    let lock = tree::read("Cargo.lock").text;
    lock.find(&wanted)
        .map_or(1, |at| lock[..at].matches('\n').count() + 1)
}

fn in_lock(package: &Package, text: String) -> Finding {
    Finding::new(
        "Cargo.lock",
        line_in_lock(package),
        format!("{} {}: {text}", package.name, package.version),
    )
}

fn bad_license(package: &Package, allowed: &[String]) -> Option<String> {
    let Some(license) = &package.license else {
        return Some(
            "names no licence; read its licence file, and use another crate if it is unclear"
                .to_owned(),
        );
    };
    match spdx::allows(license, allowed) {
        Some(true) => None,
        Some(false) => Some(format!(
            "`{license}` is not in the allow list; use another crate, or argue for the licence in {LIST}"
        )),
        None => Some(format!(
            "`{license}` is no licence expression; read its licence file"
        )),
    }
}

#[test]
fn licences_are_allowed() {
    let allowed = words("licenses", "allow");
    assert!(
        allowed.contains(&"Apache-2.0".to_owned()),
        "{LIST}: `allow` under [licenses] cannot be read; write one quoted licence a line"
    );
    let found = metadata::packages()
        .iter()
        .filter_map(|package| Some(in_lock(package, bad_license(package, &allowed)?)));
    finding::none(
        "Every dependency has a licence that we allow.",
        found.collect(),
    );
}

#[test]
fn banned_crates_stay_out() {
    let banned = words("bans", "deny");
    assert!(
        banned.contains(&"openssl-sys".to_owned()),
        "{LIST}: `deny` under [bans] cannot be read; write one crate a line"
    );
    let found = metadata::packages()
        .iter()
        .filter(|package| banned.contains(&package.name));
    let text = format!(
        "is banned, {LIST} says why; turn off the feature that brings it in (`cargo tree -i` shows it)"
    );
    finding::none(
        "No banned crate is in the tree.",
        found
            .map(|package| in_lock(package, text.clone()))
            .collect(),
    );
}

#[test]
fn sources_are_known() {
    let known: Vec<String> = words("sources", "allow-registry")
        .iter()
        .map(|url| format!("registry+{url}"))
        .collect();
    assert!(
        !known.is_empty(),
        "{LIST}: `allow-registry` under [sources] cannot be read"
    );
    let foreign = metadata::packages().iter().filter(|package| {
        package
            .source
            .as_ref()
            .is_some_and(|source| !known.contains(source))
    });
    finding::none(
        "Every dependency comes from a registry that we know.",
        foreign
            .map(|package| {
                in_lock(
                    package,
                    "comes from elsewhere; use a released version".to_owned(),
                )
            })
            .collect(),
    );
}

#[test]
fn versions_have_a_lower_bound() {
    let mut findings = Vec::new();
    for package in metadata::ours() {
        for dependency in package.dependencies.iter().filter(|dependency| {
            dependency.requirement == "*" && !dependency.name.starts_with("hie-")
        }) {
            findings.push(Finding::new(
                &package.manifest,
                1,
                format!(
                    "`{}` takes any version; name the lowest that works",
                    dependency.name
                ),
            ));
        }
    }
    finding::none("No dependency takes any version.", findings);
}

#[test]
fn a_foreign_licence_is_found() {
    let package = |license: Option<&str>| Package {
        name: "x".to_owned(),
        version: "1.0.0".to_owned(),
        license: license.map(str::to_owned),
        source: None,
        dependencies: Vec::new(),
        manifest: String::new(),
    };
    let allowed = ["MIT".to_owned()];
    assert!(bad_license(&package(Some("MIT")), &allowed).is_none());
    assert!(bad_license(&package(Some("AGPL-3.0")), &allowed).is_some());
    assert!(bad_license(&package(Some("see LICENSE")), &allowed).is_some());
    assert!(bad_license(&package(None), &allowed).is_some());
}
