//! Manifests: versions, lints and the edition stand once, in the root `Cargo.toml`; a crate only says
//! what it uses. Two versions of one thing, or a crate without lints, begin as one careless line.

use crate::{
    finding::{self, Finding},
    metadata, tree,
    tree::TextFile,
};

/// Keys that every crate takes from the workspace.
const INHERITED: &[&str] = &["version", "edition", "rust-version", "license"];

fn check(manifest: &TextFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut section = "";
    for (number, line) in manifest.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.starts_with('[') {
            section = line.trim_matches(['[', ']']);
        } else if section.ends_with("dependencies")
            && !line.is_empty()
            && !line.contains("workspace = true")
        {
            findings.push(Finding::new(&manifest.path, number, format!("`{line}` names its own version; put it under [workspace.dependencies] in the root and write `.workspace = true`")));
        }
    }
    let wanted = INHERITED
        .iter()
        .map(|key| format!("{key}.workspace = true"))
        .chain(["[lints]\nworkspace = true".to_owned()]);
    let missing = wanted.filter(|line| !manifest.text.contains(line.as_str()));
    findings.extend(missing.map(|line| {
        Finding::new(
            &manifest.path,
            1,
            format!("`{}` is missing; add it", line.replace('\n', " ")),
        )
    }));
    findings
}

#[test]
fn versions_and_lints_stand_once() {
    let findings = metadata::ours()
        .flat_map(|package| check(&tree::read(&package.manifest)))
        .collect();
    finding::none(
        "Versions, lints and the edition come from the workspace.",
        findings,
    );
}

#[test]
fn an_own_version_is_found() {
    let head = "version.workspace = true\nedition.workspace = true\nrust-version.workspace = true\nlicense.workspace = true\n[lints]\nworkspace = true\n";
    let manifest = |tail: &str| TextFile {
        path: "Cargo.toml".to_owned(),
        text: format!("{head}{tail}"),
    };
    assert_eq!(
        check(&manifest("[dependencies]\nbytes.workspace = true # why\n")),
        []
    );
    assert_eq!(
        check(&manifest("[dev-dependencies]\nbytes = \"1\"\n"))[0].line,
        8
    );
    assert_eq!(
        check(&TextFile {
            path: String::new(),
            text: String::new()
        })
        .len(),
        5
    );
}
