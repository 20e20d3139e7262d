//! Modules: each says at its head what it owns, and fits into a reader's head. A file over the limit
//! is two ideas, or it has a reason; then its first comment says the reason.

use crate::{
    finding::{self, Finding},
    rust_source::RustSource,
    tree,
};

/// Lines that a file may have without a reason.
const LINE_LIMIT: usize = 500;

/// What the head of a long file must contain, to be found and argued with.
const REASONS: &[&str] = &["length:", "over 500 lines because"];

fn undocumented(source: &RustSource) -> Option<Finding> {
    let remedy = "the file does not begin with `//!`; say in one paragraph what this module owns and what it does not";
    source
        .module_doc()
        .is_empty()
        .then(|| Finding::new(&source.path, 1, remedy))
}

fn too_long(source: &RustSource) -> Option<Finding> {
    let lines = source.text.lines().count();
    let head: String = source
        .text
        .lines()
        .take_while(|line| line.is_empty() || line.starts_with("//") || line.starts_with("#!"))
        .collect();
    let argued = REASONS
        .iter()
        .any(|reason| head.to_lowercase().contains(reason));
    let remedy = format!(
        "{lines} lines (limit {LINE_LIMIT}); split it by idea, or say the reason in the first comment (`length: …`)"
    );
    (lines > LINE_LIMIT && !argued).then(|| Finding::new(&source.path, LINE_LIMIT + 1, remedy))
}

#[test]
fn every_module_says_what_it_owns() {
    let sources = tree::rust_sources("crates").chain(tree::rust_sources("tests"));
    finding::none(
        "Every Rust file begins with its module documentation.",
        sources.filter_map(undocumented).collect(),
    );
}

#[test]
fn files_are_short_or_say_why() {
    let sources = ["crates", "tests", "benches"]
        .into_iter()
        .flat_map(tree::rust_sources);
    finding::none(
        "No file is over the limit without a reason.",
        sources.filter_map(too_long).collect(),
    );
}

#[test]
fn a_bare_and_a_long_file_are_found() {
    let source = |head: &str, lines: usize| {
        RustSource::new("a.rs", &format!("{head}\n{}", "x();\n".repeat(lines)))
    };
    assert!(undocumented(&source("use x;", 1)).is_some());
    assert!(undocumented(&source("//! Owns x.", 1)).is_none());
    assert!(too_long(&source("//! Owns x.", 500)).is_some());
    assert!(too_long(&source("//! Owns x.\n//! Length: one table.", 500)).is_none());
    assert!(too_long(&source("//! Owns x.", 499)).is_none());
}
