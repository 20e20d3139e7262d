//! Named tests: a document that says which test holds which promise names tests that exist, in the
//! files that it links. So a promise cannot lose its test without losing its line.

use std::collections::BTreeSet;

use crate::{
    finding::{self, Finding},
    papers::{links, resolve},
    tree::{self, TextFile},
};

/// The documents whose tables name tests.
const DOCUMENTS: &[&str] = &[
    "docs/reference/defects.md",
    "docs/reference/mandatory-items.md",
];

/// The mandatory items of the design: so many in each of its four parts.
const MANDATORY: [u32; 4] = [7, 7, 7, 8];

/// Words in backticks that are written like the name of a test: at least three words.
fn names(text: &str) -> Vec<&str> {
    let quoted = text.split('`').skip(1).step_by(2);
    let snake = |word: &&str| {
        let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        word.chars().all(letters) && word.matches('_').count() > 1
    };
    quoted.filter(snake).collect()
}

/// The sources that a text links, from the root.
fn sources(document: &TextFile, text: &str) -> Vec<String> {
    let source = |link: &&str| link.ends_with(".rs") || link.ends_with(".py");
    let links = links(text).into_iter().filter(source);
    links
        .filter_map(|link| resolve(&document.path, link))
        .filter(|path| tree::exists(path))
        .collect()
}

/// Whether one of these files has a test of this name.
fn has(paths: &[String], name: &str) -> bool {
    let (rust, python) = (format!("fn {name}("), format!("def {name}("));
    paths.iter().any(|path| {
        let text = tree::read(path).text;
        text.contains(&rust) || text.contains(&python)
    })
}

/// Names in a row of a table: those of each part between semicolons are in the files that the part
/// links, or, where it links none, in those linked in the text above the tables.
fn ghosts(document: &TextFile) -> Vec<Finding> {
    let row = |line: &str| line.starts_with('|');
    let prose: String = document
        .lines()
        .filter(|(_, line)| !row(line))
        .flat_map(|(_, line)| [line, "\n"])
        .collect();
    let default = sources(document, &prose);
    let mut findings = Vec::new();
    for (number, line) in document.lines().filter(|(_, line)| row(line)) {
        let tests = line.trim_end_matches(['|', ' ']).rsplit(" | ").next();
        for part in tests.unwrap_or_default().split(';') {
            let own = sources(document, part);
            let files = if own.is_empty() { &default } else { &own };
            for name in names(part).into_iter().filter(|name| !has(files, name)) {
                let text = format!(
                    "no test `{name}` in {}; name the test that holds this now, or withdraw the promise",
                    files.join(", ")
                );
                findings.push(Finding::new(&document.path, number, text));
            }
        }
    }
    findings
}

#[test]
fn tests_that_documents_name_exist() {
    let documents = DOCUMENTS.iter().map(|path| tree::read(path));
    finding::none(
        "The tests that hold the promises of a document exist.",
        documents.flat_map(|document| ghosts(&document)).collect(),
    );
}

/// All 27, each with a test that carries its number.
#[test]
fn every_mandatory_item_has_a_row_and_a_test_of_its_number() {
    let page = tree::read("docs/reference/mandatory-items.md");
    let parts = (1..).zip(MANDATORY);
    let wanted: BTreeSet<String> = parts
        .flat_map(|(part, count)| (1..=count).map(move |item| format!("{part}.{item}")))
        .collect();
    let held: BTreeSet<String> = page
        .lines()
        .filter_map(|(_, line)| {
            let number = line.strip_prefix("| ")?.split(" |").next()?;
            let name = format!("item_{}_", number.replace('.', "_"));
            let held = names(line).iter().any(|test| test.starts_with(&name));
            held.then(|| number.to_owned())
        })
        .collect();
    let missing = wanted.difference(&held).map(|number| {
        let text = format!(
            "item {number} has no row with a test `item_{}_…`; write both",
            number.replace('.', "_")
        );
        Finding::new(&page.path, 1, text)
    });
    finding::none("Each mandatory item has its test.", missing.collect());
}

#[test]
fn names_of_tests_are_read() {
    assert_eq!(
        names("`a_b_c` and `item_1_1_x` of `send_request` with `PoolSize` in `a/b_c_d.rs`"),
        ["a_b_c", "item_1_1_x"]
    );
    let document = TextFile {
        path: "docs/reference/x.md".into(),
        text: "[all](../../tests/tidy/tests/tidy/named_tests.rs)\n| a | `names_of_tests_are_read` |\n\
               | b | `no_such_test`; `exists_not_here` in [x](../../tests/tidy/tests/tidy/tree.rs) |\n"
            .into(),
    };
    let found = ghosts(&document);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.iter().all(|finding| finding.line == 3));
}
