//! Places: the tree speaks of no particular machine. A path that exists on one computer only makes a
//! clone that works for one person only.

use crate::{
    finding::{self, Finding},
    rust_source::RustSource,
    tree::{self, TextFile},
};

/// Roots that exist on somebody's machine; written in two parts, so that this file passes itself.
const MACHINE_ROOTS: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/Use", "rs/"),
];

/// The folder for temporary files, which tests get from `tempfile` and the product from its settings.
const TEMPORARY: &str = concat!("/t", "mp/");

/// Lines on which an absolute path begins with `root` (`in/work/out` and `./work/` do not).
fn lines_with_root(text: &str, root: &str) -> Vec<usize> {
    let begins = |at: usize| {
        !text[..at]
            .chars()
            .next_back()
            .is_some_and(|c| c.is_alphanumeric() || "._-/}>".contains(c))
    };
    text.match_indices(root)
        .filter(|(at, _)| begins(*at))
        .map(|(at, _)| text[..at].matches('\n').count() + 1)
        .collect()
}

fn machine_paths(file: &TextFile) -> Vec<Finding> {
    let found = MACHINE_ROOTS
        .iter()
        .flat_map(|root| lines_with_root(&file.text, root));
    let text = "a path of one machine; write it relative to the repository, or as a setting";
    found
        .map(|line| Finding::new(&file.path, line, text))
        .collect()
}

fn temporary_paths(source: &RustSource) -> Vec<Finding> {
    let found = lines_with_root(&source.text, TEMPORARY)
        .into_iter()
        .filter(|line| !source.is_test_line(*line));
    let text = "a fixed path for temporary files; take the folder from a setting, or put the file beside its target";
    found
        .map(|line| Finding::new(&source.path, line, text))
        .collect()
}

#[test]
fn no_path_of_one_machine() {
    finding::none(
        "The tree speaks of no particular machine.",
        tree::text_files().iter().flat_map(machine_paths).collect(),
    );
}

#[test]
fn no_fixed_temporary_path() {
    finding::none(
        "The product has no fixed temporary paths.",
        tree::rust_sources("crates")
            .flat_map(temporary_paths)
            .collect(),
    );
}

#[test]
fn a_machine_path_is_found() {
    let lines = |text: &str| lines_with_root(text, MACHINE_ROOTS[0]);
    let (root, inner) = (MACHINE_ROOTS[0], "/srv/in");
    assert_eq!(lines(&format!("ok\ncd {root}main")), [2]);
    assert_eq!(lines(&format!("\"{root}main\"")), [1]);
    assert!(lines(&format!("{inner}{root}x .{root}x")).is_empty());
}
