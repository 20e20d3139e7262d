//! The tree: where the repository stands and which text files it has. Owns reading, not judging.
//!
//! It walks the folders instead of asking git, so that it works in an unpacked archive too.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use crate::rust_source::RustSource;

/// Folders that hold no source: built, fetched or run-time data.
const SKIPPED: &[&str] = &["target", ".git", "hie-data", "node_modules"];

/// Endings of the text files that people write here.
const TEXT: &[&str] = &[
    "rs", "toml", "md", "yaml", "yml", "sh", "py", "json", "ts", "tsx", "css", "html",
];

/// A text file of the repository.
#[derive(Debug)]
pub(crate) struct TextFile {
    /// Path from the root, with `/`.
    pub(crate) path: String,
    /// Its content.
    pub(crate) text: String,
}

impl TextFile {
    /// Its lines, numbered from 1.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text
            .lines()
            .enumerate()
            .map(|(at, line)| (at + 1, line))
    }
}

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors()
        .nth(2)
        .expect("this package stands two folders below the root")
        .to_path_buf()
}

/// Whether a path from the root exists.
pub(crate) fn exists(path: &str) -> bool {
    root().join(path).exists()
}

/// One file that must be there.
pub(crate) fn read(path: &str) -> TextFile {
    let text = fs::read_to_string(root().join(path))
        .unwrap_or_else(|error| panic!("cannot read {path}: {error}; the house needs this file"));
    TextFile {
        path: path.to_owned(),
        text,
    }
}

/// All text files, sorted by path; the two scripts without an ending among them.
pub(crate) fn text_files() -> &'static [TextFile] {
    static FILES: OnceLock<Vec<TextFile>> = OnceLock::new();
    FILES.get_or_init(|| {
        let mut paths = Vec::new();
        walk(&root(), &mut paths);
        paths.sort();
        paths.iter().filter_map(|path| load(path)).collect()
    })
}

/// The Rust sources below a folder (`crates/journal`).
pub(crate) fn rust_sources(under: &str) -> impl Iterator<Item = &'static RustSource> {
    static SOURCES: OnceLock<Vec<RustSource>> = OnceLock::new();
    let sources = SOURCES.get_or_init(|| {
        let rust = text_files()
            .iter()
            .filter(|file| file.path.ends_with(".rs"));
        let mut sources: Vec<_> = rust
            .map(|file| RustSource::new(&file.path, &file.text))
            .collect();
        RustSource::mark_test_modules(&mut sources);
        sources
    });
    let prefix = format!("{under}/");
    sources
        .iter()
        .filter(move |source| source.path.starts_with(&prefix))
}

fn walk(folder: &Path, into: &mut Vec<PathBuf>) {
    let entries =
        fs::read_dir(folder).unwrap_or_else(|e| panic!("cannot list {}: {e}", folder.display()));
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Ok(kind) = entry.file_type() else {
            continue;
        };
        if kind.is_dir() && !SKIPPED.contains(&name.as_str()) {
            walk(&entry.path(), into);
        } else if kind.is_file() && is_text(&name) {
            into.push(entry.path());
        }
    }
}

fn is_text(name: &str) -> bool {
    matches!(name, "test" | "run")
        || TEXT
            .iter()
            .any(|ending| name.ends_with(&format!(".{ending}")))
}

/// None for a file that went away since it was listed, or that is no UTF-8 (test data may be so).
fn load(path: &Path) -> Option<TextFile> {
    let text = fs::read_to_string(path).ok()?;
    let path = path
        .strip_prefix(root())
        .expect("walked from the root")
        .to_string_lossy()
        .replace('\\', "/");
    Some(TextFile { path, text })
}
