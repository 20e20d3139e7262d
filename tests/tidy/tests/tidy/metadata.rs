//! What cargo says of the workspace: packages, their licences and sources, and who depends on whom.
//! Owns asking cargo and reading its answer.

use std::{process::Command, sync::OnceLock};

use serde_json::Value;

use crate::tree;

/// How a package depends on another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Compiled into the product.
    Normal,
    /// Run while building it.
    Build,
    /// For its tests only.
    Dev,
}

/// One dependency as declared.
#[derive(Debug)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) requirement: String,
}

/// One package of the lock file, ours or foreign.
#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    /// The SPDX expression; none where the package names a file instead, or nothing.
    pub(crate) license: Option<String>,
    /// Where it comes from; none for a package of this repository.
    pub(crate) source: Option<String>,
    pub(crate) dependencies: Vec<Dependency>,
    /// Its manifest, from the root (meaningful for our own).
    pub(crate) manifest: String,
}

impl Package {
    /// Whether it is part of this workspace.
    pub(crate) fn is_ours(&self) -> bool {
        self.source.is_none()
    }
}

/// All packages that a build on this platform may use.
pub(crate) fn packages() -> &'static [Package] {
    static PACKAGES: OnceLock<Vec<Package>> = OnceLock::new();
    PACKAGES.get_or_init(|| list(&ask_cargo(), "packages").map(package).collect())
}

/// Our own packages.
pub(crate) fn ours() -> impl Iterator<Item = &'static Package> {
    packages().iter().filter(|package| package.is_ours())
}

/// Only this platform's packages: others need not be on this machine, and the network may be away.
fn ask_cargo() -> Value {
    let host = host_triple();
    let arguments = [
        "metadata",
        "--format-version=1",
        "--locked",
        "--filter-platform",
        &host,
    ];
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo)
        .args(arguments)
        .current_dir(tree::root())
        .output()
        .expect("cargo starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "cargo metadata failed (is Cargo.lock up to date?):\n{errors}"
    );
    serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON")
}

fn host_triple() -> String {
    let output = Command::new("rustc")
        .arg("-vV")
        .output()
        .expect("rustc starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.expect("rustc -vV names its host").to_owned()
}

fn package(value: &Value) -> Package {
    let root = format!("{}/", tree::root().display());
    Package {
        name: text(value, "name"),
        version: text(value, "version"),
        license: value["license"].as_str().map(str::to_owned),
        source: value["source"].as_str().map(str::to_owned),
        dependencies: list(value, "dependencies").map(dependency).collect(),
        manifest: text(value, "manifest_path")
            .trim_start_matches(&root)
            .to_owned(),
    }
}

fn dependency(value: &Value) -> Dependency {
    let kind = match value["kind"].as_str() {
        Some("dev") => Kind::Dev,
        Some("build") => Kind::Build,
        _ => Kind::Normal,
    };
    Dependency {
        name: text(value, "name"),
        kind,
        requirement: text(value, "req"),
    }
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value[key].as_array().into_iter().flatten()
}
