//! Edges: the file system and the clock are each touched in one place, so that a test can stand in
//! their stead. A second place would be one that the simulated power cut and the simulated time miss.

use crate::{
    finding::{self, Finding},
    rust_source::RustSource,
    tree,
};

/// Crates whose files go through the journal's file layer.
const DURABLE: &[&str] = &["crates/journal", "crates/store"];

/// The file layer itself: `file.rs`, `file_*.rs`, or the folder `file/`.
const FILE_LAYER: &str = "crates/journal/src/file";

/// Names that reach the file system directly.
const FILE_SYSTEM: &[&str] = &["fs::", "OpenOptions", "File::"];

/// Crates that take the time from the engine's clock.
const TIMED: &[&str] = &["crates/store", "crates/engine", "crates/hosts"];

/// The one place that asks the system for the time.
const CLOCK: &str = "crates/engine/src/clock.rs";

/// Calls that ask the system for the time.
const NOW: &[&str] = &[
    "SystemTime::now",
    "Instant::now",
    "Timestamp::now",
    "Zoned::now",
    "OffsetDateTime::now_utc",
    "Utc::now",
];

fn file_system_calls(source: &RustSource) -> Vec<Finding> {
    if source.path.starts_with(FILE_LAYER) {
        return Vec::new();
    }
    let imported = source
        .uses()
        .into_iter()
        .filter(|(_, words)| words.contains(&"fs"))
        .map(|(line, _)| line);
    let mut lines: Vec<usize> = FILE_SYSTEM
        .iter()
        .flat_map(|name| source.product_lines_with(name))
        .chain(imported)
        .collect();
    lines.retain(|line| !source.is_test_line(*line));
    let text = format!(
        "the file system is touched outside of the file layer; go through the trait in {FILE_LAYER}, which tests can break"
    );
    findings_at(source, lines, &text)
}

/// Tokio's instant may be asked anywhere: timers need it, and a test can pause and advance it.
fn asks_tokio(source: &RustSource, line: usize) -> bool {
    let code = source.code.lines().nth(line - 1).unwrap_or_default();
    let imported = |words: &[&str]| words.contains(&"tokio") && words.contains(&"Instant");
    code.contains("tokio::time::Instant::now")
        || source.uses().iter().any(|(_, words)| imported(words))
}

fn clock_readings(source: &RustSource) -> Vec<Finding> {
    if source.path == CLOCK {
        return Vec::new();
    }
    let mut lines = Vec::new();
    for call in NOW {
        let found = source.product_lines_with(call).into_iter();
        lines.extend(found.filter(|line| *call != "Instant::now" || !asks_tokio(source, *line)));
    }
    findings_at(
        source,
        lines,
        &format!(
            "the system's time is read here; take it from the clock in {CLOCK}, or as an argument"
        ),
    )
}

fn findings_at(source: &RustSource, mut lines: Vec<usize>, text: &str) -> Vec<Finding> {
    lines.sort_unstable();
    lines.dedup();
    lines
        .into_iter()
        .map(|line| Finding::new(&source.path, line, text))
        .collect()
}

#[test]
fn only_the_file_layer_touches_files() {
    let sources = DURABLE
        .iter()
        .flat_map(|crate_path| tree::rust_sources(crate_path));
    finding::none(
        "Journal and store reach the file system through the file layer.",
        sources.flat_map(file_system_calls).collect(),
    );
}

#[test]
fn only_the_clock_reads_the_time() {
    let sources = TIMED
        .iter()
        .flat_map(|crate_path| tree::rust_sources(crate_path));
    finding::none(
        "Store, engine and hosts take the time from one clock.",
        sources.flat_map(clock_readings).collect(),
    );
}

#[test]
fn an_edge_in_the_wrong_place_is_found() {
    let lines = |path, text| {
        file_system_calls(&RustSource::new(path, text))
            .iter()
            .map(|f| f.line)
            .collect::<Vec<_>>()
    };
    let text = "use std::{\n io, fs};\nfn a(fs: &dyn Files) { fs.sync(); }\nfn b() { std::fs::write(x); }\n";
    assert_eq!(lines("crates/journal/src/log.rs", text), [1, 4]);
    assert_eq!(
        lines("crates/journal/src/file/disk.rs", text),
        Vec::<usize>::new()
    );
    assert_eq!(
        lines("crates/journal/src/tests.rs", text),
        Vec::<usize>::new()
    );

    let timed = |path, text| clock_readings(&RustSource::new(path, text)).len();
    let text = "// Instant::now\nlet a = std::time::Instant::now();\n";
    assert_eq!(
        (timed("crates/engine/src/job.rs", text), timed(CLOCK, text)),
        (1, 0)
    );
    assert_eq!(
        timed(
            "crates/hosts/src/a.rs",
            "use tokio::time::{Instant, sleep_until};\nlet a = Instant::now();\n"
        ),
        0
    );
    assert_eq!(
        timed(
            "crates/hosts/src/a.rs",
            "let a = tokio::time::Instant::now();\n"
        ),
        0
    );
    assert_eq!(
        timed(
            "crates/hosts/src/a.rs",
            "use tokio::time::Instant;\nlet a = SystemTime::now();\n"
        ),
        1
    );
}
