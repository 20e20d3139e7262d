//! Papers: what the documents say exists, exists. Decisions are numbered once and listed, links lead
//! somewhere, the README's commands name files of the tree, ARCHITECTURE.md names no ghost.

use std::collections::BTreeMap;

use crate::{
    finding::{self, Finding},
    tree::{self, TextFile},
};

/// Folder of the decisions.
const DECISIONS: &str = "docs/adr/";

/// Documents in which every backticked path of the tree must exist.
const MAPS: &[&str] = &["ARCHITECTURE.md", "README.md", "CONTRIBUTING.md"];

/// Folders that make a backticked word a path of the tree.
const TREE: &[&str] = &[
    "crates/",
    "docs/",
    "examples/",
    "tests/",
    "benches/",
    ".ci/",
];

/// Targets of markdown links, without those that leave the tree and without anchors.
pub(crate) fn links(line: &str) -> Vec<&str> {
    let targets = line
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next());
    let inner = targets.filter(|target| {
        !target.contains("://") && !target.starts_with(['#', '<']) && !target.starts_with("mailto:")
    });
    inner
        .filter_map(|target| target.split('#').next())
        .collect()
}

/// Backticked words of a line that name a place in the tree; patterns (`*`, `{a,b}`, `<x>`) are none.
fn named_paths(line: &str) -> Vec<&str> {
    let quoted = line.split('`').skip(1).step_by(2);
    let paths = quoted.filter(|word| TREE.iter().any(|folder| word.starts_with(folder)));
    paths
        .filter(|word| !word.contains(['*', '{', '<', ' ', '…']))
        .collect()
}

/// Words of a shell command that name files of the tree.
fn command_paths(command: &str) -> Vec<&str> {
    let command = command.split(" #").next().unwrap_or_default();
    let words = command
        .split_whitespace()
        .map(|word| word.trim_start_matches("./"));
    let paths =
        words.filter(|word| *word == "test" || TREE.iter().any(|folder| word.starts_with(folder)));
    paths
        .filter(|word| !word.contains(['*', '$', '<']))
        .collect()
}

fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// A relative link resolved against the folder of its document; none if it leaves the repository.
pub(crate) fn resolve(document: &str, link: &str) -> Option<String> {
    let mut parts: Vec<&str> = folder(document)
        .split('/')
        .filter(|part| !part.is_empty())
        .collect();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

fn broken_links(document: &TextFile) -> Vec<Finding> {
    let all = document
        .lines()
        .flat_map(|(number, line)| links(line).into_iter().map(move |link| (number, link)));
    let broken = all
        .filter(|(_, link)| !resolve(&document.path, link).is_some_and(|path| tree::exists(&path)));
    broken
        .map(|(number, link)| {
            Finding::new(
                &document.path,
                number,
                format!("the link `{link}` leads nowhere; mend it"),
            )
        })
        .collect()
}

#[test]
fn decisions_are_numbered_once_and_listed() {
    let index = tree::read("docs/adr/README.md");
    let mut findings = Vec::new();
    let mut taken: BTreeMap<&str, &str> = BTreeMap::new();
    let decisions = tree::text_files()
        .iter()
        .filter_map(|file| Some((file, file.path.strip_prefix(DECISIONS)?)));
    for (file, name) in decisions.filter(|(_, name)| !matches!(*name, "README.md" | "template.md"))
    {
        let number = name.split('-').next().unwrap_or_default();
        if number.len() != 3 || !number.chars().all(|c| c.is_ascii_digit()) {
            findings.push(Finding::new(
                &file.path,
                1,
                "the name has no number; call it `NNN-what-was-decided.md`",
            ));
        } else if let Some(other) = taken.insert(number, name) {
            findings.push(Finding::new(
                &file.path,
                1,
                format!("number {number} is taken by {other}; take the next free one"),
            ));
        }
        if !index.text.contains(&format!("({name})")) {
            findings.push(Finding::new(
                &index.path,
                1,
                format!("{name} is not listed; add its line"),
            ));
        }
    }
    finding::none(
        "Each decision has a number of its own and a line in the list.",
        findings,
    );
}

#[test]
fn links_lead_somewhere() {
    let documents = tree::text_files()
        .iter()
        .filter(|file| file.path.ends_with(".md"));
    finding::none(
        "Every link between documents leads somewhere.",
        documents.flat_map(broken_links).collect(),
    );
}

#[test]
fn maps_name_no_ghosts() {
    let mut findings = Vec::new();
    for document in MAPS.iter().map(|path| tree::read(path)) {
        for (number, line) in document.lines() {
            let ghosts = named_paths(line)
                .into_iter()
                .filter(|path| !tree::exists(path));
            findings.extend(ghosts.map(|path| {
                Finding::new(
                    &document.path,
                    number,
                    format!("`{path}` does not exist; name the file that took its place"),
                )
            }));
        }
    }
    finding::none("The files that the guides name exist.", findings);
}

#[test]
fn the_commands_of_the_readme_name_files_that_exist() {
    let readme = tree::read("README.md");
    let commands = readme
        .lines()
        .filter(|(_, line)| line.starts_with("    ") && !line.trim_start().starts_with('#'));
    let mut count = 0;
    let mut findings = Vec::new();
    for (number, command) in commands {
        count += 1;
        // The data folder of a run is made by the run.
        let ghosts = command_paths(command)
            .into_iter()
            .filter(|path| !path.ends_with("hie-data") && !tree::exists(path));
        findings.extend(ghosts.map(|path| {
            Finding::new(
                &readme.path,
                number,
                format!("the command names `{path}`, which does not exist"),
            )
        }));
    }
    assert!(
        count >= 2,
        "README.md: the command that runs it and the one that tests it are missing; indent them by four spaces"
    );
    finding::none("The README's commands name files that exist.", findings);
}

#[test]
fn links_and_paths_are_read() {
    assert_eq!(
        links("see [a](b/c.md#d) and [e](https://f.g) and [h](#i)"),
        ["b/c.md"]
    );
    assert_eq!(
        named_paths("`crates/hl7` and `crates/*/src` and `other`"),
        ["crates/hl7"]
    );
    assert_eq!(
        command_paths("cargo run --release -- run examples/a.yaml # b/c"),
        ["examples/a.yaml"]
    );
    assert_eq!(
        resolve("docs/adr/README.md", "../../ARCHITECTURE.md").as_deref(),
        Some("ARCHITECTURE.md")
    );
    assert_eq!(resolve("README.md", "../elsewhere"), None);
}
