//! A production of this crate's classes for one test: its configuration is text, its data lie in a
//! folder that goes away with it.

// Each test binary uses a part of this.
#![allow(dead_code)]
// A test may end and print so.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

pub(crate) mod certs;
pub(crate) mod peers;
pub(crate) mod sending;

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use hie_engine::{
    Production,
    clock::Clock,
    config::{self, ConfigError},
    item::Item,
    production::StartError,
};
use hie_store::{HeaderRow, Query, State};
use tempfile::TempDir;

/// A folder for a production and all that it touches. `@` in its configuration is the folder.
pub(crate) struct Place {
    folder: TempDir,
    /// Its `JournalReserve`: more than the disk has makes it refuse what comes in.
    pub(crate) reserve: &'static str,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            reserve: "0",
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes a folder in it.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(&path).unwrap();
        path
    }

    /// Reads a production of these items (the text under `items:`).
    pub(crate) fn config(&self, items: &str) -> Result<config::ProductionConfig, Vec<ConfigError>> {
        let text = format!(
            "production:\n  name: Test\n  DataPath: @/data\n  JournalSegmentSize: 1 MiB\n  JournalReserve: {}\n  \
             MetricsAddress: none\nitems:\n{items}\n",
            self.reserve
        );
        let path = self.path("production.yaml");
        fs::write(
            &path,
            text.replace('@', &self.folder.path().display().to_string()),
        )
        .unwrap();
        config::load(&path, &hie_hosts::REGISTRY, &|_| None)
    }

    /// Starts it, or gives back why not.
    pub(crate) async fn try_start(&self, items: &str) -> Result<Running, StartError> {
        let config = self
            .config(items)
            .unwrap_or_else(|errors| panic!("{}", all(&errors)));
        Production::start(config, Clock::system())
            .await
            .map(Running)
    }

    /// Starts it.
    pub(crate) async fn start(&self, items: &str) -> Running {
        self.try_start(items)
            .await
            .unwrap_or_else(|error| panic!("{error}"))
    }
}

fn all(errors: &[ConfigError]) -> String {
    errors.iter().fold(String::new(), |mut text, error| {
        let _ = writeln!(text, "{error}");
        text
    })
}

/// A running production.
pub(crate) struct Running(pub(crate) Arc<Production>);

impl Running {
    pub(crate) fn item(&self, name: &str) -> Arc<Item> {
        let items = self.0.items();
        items
            .into_iter()
            .find(|item| item.config.name == name)
            .unwrap()
    }

    /// All messages that came from or went to an item, oldest first, once the index has seen them.
    pub(crate) async fn rows(&self, item: &str) -> Vec<HeaderRow> {
        until("the index to catch up", || {
            self.0.broker.store.index_lag_bytes() == 0
        })
        .await;
        let query = Query {
            item: Some(item.into()),
            limit: 10_000,
            ..Query::default()
        };
        let mut rows = self.0.broker.store.search(&query).unwrap().rows;
        rows.sort_by_key(|row| row.id);
        rows
    }

    /// The messages for an item, oldest first, once so many of them have come to an end.
    pub(crate) async fn ended(&self, item: &str, count: usize) -> Vec<HeaderRow> {
        self.rows_when(
            item,
            &format!("{count} messages of {item} to end"),
            |rows| {
                let open = [State::Created, State::Queued, State::Delivered];
                rows.iter().filter(|row| !open.contains(&row.state)).count() >= count
            },
        )
        .await
    }

    /// The messages for an item, oldest first, once something is so of them.
    pub(crate) async fn rows_when(
        &self,
        item: &str,
        what: &str,
        so: impl Fn(&[HeaderRow]) -> bool,
    ) -> Vec<HeaderRow> {
        let waiting = async {
            loop {
                let mut rows = self.rows(item).await;
                rows.retain(|row| row.target == item);
                if so(&rows) {
                    return rows;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        match tokio::time::timeout(PATIENCE, waiting).await {
            Ok(rows) => rows,
            Err(_) => panic!("waited in vain for {what}"),
        }
    }

    /// Where an item listens.
    pub(crate) fn address(&self, item: &str) -> String {
        self.item(item).stats.address().unwrap()
    }

    /// The bytes of a message.
    pub(crate) fn body(&self, row: &HeaderRow) -> Vec<u8> {
        self.0.broker.store.body(row.body).unwrap().to_vec()
    }

    pub(crate) async fn stop(self) {
        self.0.stop().await;
    }
}

/// How long a test waits for what must happen: long, for a machine that has much else to do.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until something is so; fails the test when it never is.
pub(crate) async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(waited.await.is_ok(), "waited in vain for {what}");
}

/// The names of the files in a folder, sorted; folders and files that are being written left out.
pub(crate) fn files(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let entries = entries.flatten();
    let entries = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
    let mut names: Vec<String> = entries
        .map(|entry| entry.file_name().into_string().unwrap())
        .filter(|name| !name.ends_with(".tmp"))
        .collect();
    names.sort();
    names
}

/// The shared messages with their bytes, if the folder with them stands beside the repository.
/// Only those that its manifest calls well formed.
pub(crate) fn well_formed() -> Option<Vec<(String, Vec<u8>)>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/hl7");
    let Ok(manifest) = fs::read_to_string(root.join("MANIFEST.jsonl")) else {
        println!("skipped: the shared messages are not at {}", root.display());
        return None;
    };
    let entries = manifest
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let good = entries.filter(|entry| entry["wellformed"] == true);
    let files = good.map(|entry| {
        let name = entry["file"].as_str().unwrap().to_owned();
        let bytes = fs::read(root.join(&name)).unwrap();
        (name, bytes)
    });
    Some(files.collect())
}

/// From folder `in` through a process to folder `out`; `adapter` and `out` are further settings.
pub(crate) fn through(adapter: &str, out: &str) -> String {
    format!(
        "  - name: In
    class: HL7FileService
    adapter: {{ FilePath: @/in, CallInterval: 0.1, {adapter} }}
    host: {{ TargetConfigNames: Pass }}
  - name: Pass
    class: PassthroughProcess
    host: {{ TargetConfigNames: Out }}
  - name: Out
    class: HL7FileOperation
    host: {{ RetryInterval: 0.05 }}
    adapter: {{ FilePath: @/out, {out} }}
"
    )
}
