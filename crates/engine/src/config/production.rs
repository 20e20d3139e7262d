//! The whole file: its three sections, the engine's own settings, and the order of reading.

use std::{path::Path, time::Duration};

use super::{
    EngineConfig, ProductionConfig, PythonConfig,
    error::Problem,
    items::{Draft, bytes},
    keys,
    lines::Place,
    links::Checked,
    reader::{Fields, Reader},
    value::split_list,
    yaml::{Kind, Node},
};

const BEGINNING: &str = "a file begins with `production: {name: …}` and `items:`";

impl Reader<'_> {
    /// Reads everything. The production is only to be used if there are no errors.
    pub(crate) fn file(&mut self, root: Option<&Node>, file: &Path) -> Option<ProductionConfig> {
        let Some(root) = root.filter(|node| !node.is_nothing()) else {
            self.errors
                .add(Problem::new(Place::START, "the file is empty").help(BEGINNING));
            return None;
        };
        if !matches!(root.kind, Kind::Mapping(_)) {
            let message = format!("expected a production, found {}", root.kind_name());
            self.errors
                .add(Problem::new(root.at, message).help(BEGINNING));
            return None;
        }
        let sections = self.fields(root, &keys::FILE, None);
        let fields = self.production(&sections, root.at);
        let rules = match sections.nodes.get("rules") {
            Some(node) => self.rules(node),
            None => Vec::new(),
        };
        let drafts = self.all_items(&sections, root.at);
        self.links(&drafts, &rules);
        let (items, places) = drafts
            .into_iter()
            .map(split)
            .unzip::<_, _, Vec<_>, Vec<_>>();
        let production = ProductionConfig {
            name: fields.text("name"),
            description: fields.text("description"),
            file: file.to_owned(),
            items: items.into_iter().map(std::sync::Arc::new).collect(),
            rules: rules
                .into_iter()
                .filter_map(|set| Some((set.name, set.compiled?)))
                .collect(),
            engine: engine_config(&fields),
            python: self.python.clone(),
            source: super::Source(self.source.into()),
        };
        self.class_checks(&production, &places);
        Some(production)
    }

    fn production<'n>(&mut self, sections: &Fields<'n>, at: Place) -> Fields<'n> {
        let fields = match sections.nodes.get("production").copied() {
            Some(node) => self.fields(node, &keys::PRODUCTION_SHAPE, None),
            None => {
                if !sections.meant.contains("production") {
                    let problem = Problem::new(at, "`production:` is missing");
                    self.errors
                        .add(problem.help("give it a name: `production: {name: Ward-Feed}`"));
                }
                self.defaults_of_production()
            }
        };
        // Absolute, so that it means the same in a path and in any other text.
        let data_path = Path::new(fields.values.text("DataPath").unwrap_or("."));
        let absolute = std::path::absolute(data_path).unwrap_or_else(|_| data_path.to_owned());
        self.data_path = Some(absolute.to_string_lossy().into_owned());
        self.python = self.python_config(&fields);
        fields
    }

    /// Where Python classes are found. A name without a folder is looked for on the PATH, a path
    /// starts from the folder of the file.
    fn python_config(&self, fields: &Fields<'_>) -> PythonConfig {
        let values = &fields.values;
        let home = |path: &str| {
            let path = self.folder.join(path);
            std::path::absolute(&path).unwrap_or(path)
        };
        let executable = values.text("PythonExecutable").unwrap_or("python3");
        let path = match values.text("PythonPath") {
            Some(path) => split_list(path).map(|(_, folder)| home(folder)).collect(),
            None => Vec::from_iter(Some(home("python")).filter(|folder| folder.is_dir())),
        };
        PythonConfig {
            executable: match executable.contains('/') {
                true => home(executable),
                false => executable.into(),
            },
            path,
        }
    }

    /// The settings of a production that says nothing, for going on after an error.
    fn defaults_of_production<'n>(&self) -> Fields<'n> {
        let mut fields = Fields::default();
        for def in keys::PRODUCTION {
            if let Some(value) = self.default(def) {
                fields.values.set(def.name, value);
            }
        }
        fields
    }

    fn all_items(&mut self, sections: &Fields<'_>, at: Place) -> Vec<Draft> {
        let Some(node) = sections.nodes.get("items").copied() else {
            if !sections.meant.contains("items") {
                self.errors
                    .add(Problem::new(at, "`items:` is missing").help(NO_ITEMS));
            }
            return Vec::new();
        };
        let empty = matches!(&node.kind, Kind::Sequence(entries) if entries.is_empty());
        if empty || node.is_nothing() {
            self.errors
                .add(Problem::new(node.at, "the production has no items").help(NO_ITEMS));
        }
        if let Kind::Sequence(entries) = &node.kind
            && entries.len() > MAX_ITEMS
        {
            let text = format!("{} items are more than one engine takes", entries.len());
            let help = format!("the limit is {MAX_ITEMS}; divide the production");
            self.errors.add(Problem::new(node.at, text).help(help));
            return Vec::new();
        }
        self.items(node)
    }
}

/// Far more than a hospital has; the store numbers items by 16 bits.
const MAX_ITEMS: usize = 10_000;

const NO_ITEMS: &str = "list at least one: `items: [{name: From-Lab, class: HL7TCPService, …}]`";

fn split(draft: Draft) -> (super::ItemConfig, Checked) {
    let Draft {
        config,
        at,
        places,
        sound,
        ..
    } = draft;
    (
        config,
        Checked {
            sound,
            at,
            settings: places,
        },
    )
}

fn engine_config(fields: &Fields<'_>) -> EngineConfig {
    let values = &fields.values;
    let size = |name| bytes(values, name).unwrap_or_default();
    EngineConfig {
        data_path: fields.text("DataPath").into(),
        metrics_address: values
            .text("MetricsAddress")
            .and_then(keys::metrics_address)
            .flatten(),
        auto_start_items: values.bool("auto_start_items"),
        watch_config: values.bool("WatchConfig"),
        shutdown_timeout: values.duration("ShutdownTimeout").unwrap_or(Duration::ZERO),
        journal_segment_bytes: size("JournalSegmentSize"),
        journal_reserve_bytes: size("JournalReserve"),
        retention_age: values.duration("RetentionAge"),
        retention_bytes: bytes(values, "RetentionSize"),
        body_cache_bytes: usize::try_from(size("BodyCacheSize")).unwrap_or(usize::MAX),
    }
}
