//! Stubs: nothing is called done that is not. No placeholder, no test switched off, no leftover
//! debugging, and `unsafe` only where the module's documentation argues its safety.

use crate::{
    finding::{self, Finding},
    rust_source::RustSource,
    tree,
};

/// What must not stand in code, and what to do instead.
const FORBIDDEN: &[(&str, &str)] = &[
    (
        "todo!",
        "write it, or leave out what needs it and say so in the documentation",
    ),
    (
        "unimplemented!",
        "write it, or return an error that says what is not supported",
    ),
    (
        "dbg!",
        "remove it; use `tracing` where the product should speak",
    ),
];

fn placeholders(source: &RustSource) -> Vec<Finding> {
    let found = |(word, remedy): &(&str, &str)| {
        let text = format!("`{word}` in code; {remedy}");
        source
            .lines_with(word)
            .into_iter()
            .map(|line| Finding::new(&source.path, line, text.clone()))
            .collect::<Vec<_>>()
    };
    let mut findings: Vec<_> = FORBIDDEN.iter().flat_map(found).collect();
    findings.extend(source.code.lines().enumerate().filter(|(_, line)| line.contains("#[ignore")).map(|(at, _)| {
        Finding::new(&source.path, at + 1, "a test that is switched off; mend it or remove it, a slow one takes its rounds from the environment")
    }));
    findings
}

fn unargued_unsafe(source: &RustSource) -> Vec<Finding> {
    if source.module_doc().contains("Safety") {
        return Vec::new();
    }
    let text = "`unsafe` in a module whose documentation has no `# Safety`; do without, or argue there why it is sound";
    source
        .lines_with("unsafe")
        .into_iter()
        .map(|line| Finding::new(&source.path, line, text))
        .collect()
}

#[test]
fn nothing_is_left_undone() {
    let sources = ["crates", "tests", "benches"]
        .into_iter()
        .flat_map(tree::rust_sources);
    finding::none(
        "No placeholders, no tests switched off.",
        sources.flat_map(placeholders).collect(),
    );
}

#[test]
fn unsafe_code_is_argued() {
    let sources = ["crates", "tests", "benches"]
        .into_iter()
        .flat_map(tree::rust_sources);
    finding::none(
        "`unsafe` stands only where its safety is argued.",
        sources.flat_map(unargued_unsafe).collect(),
    );
}

#[test]
fn a_stub_is_found_in_code_only() {
    let source = RustSource::new(
        "a.rs",
        "//! x\nfn a() { todo!() }\n// todo!()\n#[ignore]\nfn b() { \"dbg!\"; }\nunsafe fn c() {}\n",
    );
    let lines: Vec<usize> = placeholders(&source)
        .iter()
        .map(|finding| finding.line)
        .collect();
    assert_eq!(lines, [2, 4]);
    assert_eq!(unargued_unsafe(&source)[0].line, 6);
    assert_eq!(
        unargued_unsafe(&RustSource::new(
            "a.rs",
            "//! x\n//! # Safety\nunsafe fn c() {}\n"
        )),
        []
    );
}
