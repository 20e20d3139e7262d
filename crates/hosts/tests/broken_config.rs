//! Broken configuration files, each with the full list of errors it must give.
//!
//! `config/NN-name.yaml` stands beside `NN-name.expected`, one error on each line:
//! `line:column: item, setting: message | help`. After a deliberate change of words run the test
//! with `UPDATE_EXPECTED=1` and read the difference.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use hie_engine::config;
use hie_hosts::REGISTRY;

/// The environment that the files may count on.
fn env(name: &str) -> Option<String> {
    match name {
        "HIE_TEST_PORT" => Some("2575".into()),
        "HIE_TEST_SECRET" => Some("do-not-show-me".into()),
        _ => None,
    }
}

/// All files of the folder with this extension, by their stem.
fn files(extension: &str) -> BTreeMap<String, PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config");
    let entries = fs::read_dir(folder).expect("the folder of the test's files");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let stem = |path: &Path| {
        path.file_stem()
            .expect("a name")
            .to_string_lossy()
            .into_owned()
    };
    paths
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .map(|path| (stem(&path), path))
        .collect()
}

/// The errors of a file, one on a line.
fn errors(path: &Path) -> String {
    let Err(errors) = config::load(path, &REGISTRY, &env) else {
        return "no errors\n".into();
    };
    let prefix = format!("{}:", path.display());
    let lines = errors.iter().map(|error| {
        let line = error
            .to_string()
            .replacen(&prefix, "", 1)
            .replace("\n  help: ", " | ");
        assert!(!line.contains('\n'), "one line: {line}");
        assert!(!line.contains("do-not-show-me"), "a secret in an error");
        line + "\n"
    });
    lines.collect()
}

#[test]
fn each_broken_file_gives_its_full_list_of_errors() {
    let (files, mut expected) = (files("yaml"), files("expected"));
    assert!(files.len() >= 20, "{} files", files.len());
    let update = std::env::var_os("UPDATE_EXPECTED").is_some();
    let mut differences = Vec::new();
    for (stem, path) in files {
        let found = errors(&path);
        if update {
            fs::write(path.with_extension("expected"), &found).expect("written");
        }
        let wanted = expected
            .remove(&stem)
            .and_then(|path| fs::read_to_string(path).ok());
        if !update && wanted.as_deref() != Some(&found) {
            let wanted = wanted.unwrap_or_else(|| "no .expected file\n".into());
            differences.push(format!("== {stem}\n-- expected\n{wanted}-- found\n{found}"));
        }
    }
    assert!(
        update || expected.is_empty(),
        "without a file: {expected:?}"
    );
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
