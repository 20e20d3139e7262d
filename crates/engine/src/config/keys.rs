//! The keys of the file outside of classes: of the production, of an item, of a rule set.
//!
//! They are declared in the same kind of table as the settings of classes, so that the reader, the
//! schema and the reference page take them from one place.

use std::net::SocketAddr;

use crate::setting::{SettingDef, SettingType};

/// The keys of one kind of mapping.
pub(crate) struct Shape {
    /// What the mapping is, for errors: `an item`.
    pub(crate) what: &'static str,
    /// Keys with a single value (or a list of names).
    pub(crate) values: &'static [SettingDef],
    /// Keys that hold more keys: the canonical name followed by its aliases.
    pub(crate) sections: &'static [&'static [&'static str]],
    /// Keys that are known elsewhere and not supported here, or not yet.
    pub(crate) later: &'static [&'static str],
}

impl Shape {
    /// Every name that may be written, canonical ones only.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        let sections = self
            .sections
            .iter()
            .filter_map(|names| names.first())
            .copied();
        self.values.iter().map(|def| def.name).chain(sections)
    }
}

/// The whole file.
pub(crate) const FILE: Shape = Shape {
    what: "the file",
    values: &[],
    sections: &[&["production"], &["items"], &["rules"]],
    later: &[
        "lookups",
        "transforms",
        "schedules",
        "credentials",
        "connections",
        "include",
    ],
};

const MINUTE: f64 = 60.0;
const YEAR: f64 = 366.0 * 86_400.0;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

/// A setting that says `true` and can say nothing else yet.
const ONLY_TRUE: SettingType = SettingType::Choice(&[&["true", "yes", "1"]]);

const NAME: SettingType = SettingType::Checked(check_name);

const RETENTION_AGE: SettingType = SettingType::Seconds {
    min: 0.0,
    max: 100.0 * YEAR,
    unlimited: Some("keep for ever"),
};
const RETENTION_SIZE: SettingType = SettingType::Bytes {
    min: MIB,
    max: 1024 * TIB,
};

/// The settings under `production:`.
pub const PRODUCTION: &[SettingDef] = &[
    SettingDef::host("name", NAME, "", "The name of the production.")
        .required()
        .aliases(&["Name"]),
    SettingDef::host(
        "description",
        SettingType::Text,
        "",
        "What the production is for.",
    )
    .aliases(&["Description"]),
    SettingDef::host(
        "enabled",
        ONLY_TRUE,
        "true",
        "Whether the production runs. Only `true`: to keep it from running, do not start it.",
    )
    .aliases(&["Enabled"]),
    SettingDef::host(
        "auto_start_items",
        SettingType::Bool,
        "true",
        "Whether enabled items start with the production. With `false` the queues take up what they \
         held and `hie item start` starts one item after the other.",
    )
    .aliases(&["AutoStartItems"]),
    SettingDef::host(
        "DataPath",
        SettingType::Path,
        "hie-data",
        "The folder of the journal, the index and the control socket. One engine at a time may \
         use it. `${DataPath}` stands for it in the values of items.",
    )
    .aliases(&["data_path"]),
    SettingDef::host(
        "MetricsAddress",
        SettingType::Checked(check_metrics_address),
        "127.0.0.1:9464",
        "Address and port where `/metrics` and `/health` are served, or `none`. Loopback unless \
         you say otherwise: they carry no message content, but names of items.",
    )
    .aliases(&["metrics_address"]),
    SettingDef::host(
        "ShutdownTimeout",
        SettingType::Seconds {
            min: 0.0,
            max: 60.0 * MINUTE,
            unlimited: None,
        },
        "30",
        "How long a graceful stop may take, in seconds, before what is in hand is parked. Parked \
         messages are taken up at the next start.",
    )
    .aliases(&[
        "shutdown_timeout",
        "GracefulShutdownTimeout",
        "graceful_shutdown_timeout",
    ]),
    SettingDef::host(
        "WatchConfig",
        SettingType::Bool,
        "false",
        "Whether a change of this file is taken over by itself, as `hie reload` would. A file with \
         errors changes nothing; the log lists them.",
    )
    .aliases(&["watch_config"]),
    SettingDef::host(
        "JournalSegmentSize",
        SettingType::Bytes {
            min: MIB,
            max: 4 * GIB,
        },
        "64 MiB",
        "The size of one file of the journal. Space is given back in whole files.",
    )
    .aliases(&["journal_segment_size"]),
    SettingDef::host(
        "JournalReserve",
        SettingType::Bytes { min: 0, max: TIB },
        "128 MiB",
        "Space on the disk that is kept for finishing what was accepted: when less is left, \
         services stop accepting and operations go on.",
    )
    .aliases(&["journal_reserve"]),
    SettingDef::host(
        "RetentionAge",
        RETENTION_AGE,
        "30d",
        "How long finished messages are kept, e.g. `30d`, `12h`, or a number of seconds. \
         Unfinished ones are always kept. -1 keeps all for ever.",
    )
    .aliases(&["retention_age"]),
    SettingDef::host(
        "RetentionSize",
        RETENTION_SIZE,
        "",
        "How many bytes finished messages may take before the oldest leave early. Not given: no \
         limit.",
    )
    .optional()
    .aliases(&["retention_size"]),
    SettingDef::host(
        "BodyCacheSize",
        SettingType::Bytes {
            min: 0,
            max: 64 * GIB,
        },
        "8 MiB",
        "How many bytes of message bodies the queues keep in memory; others are read back from \
         the journal.",
    )
    .aliases(&["body_cache_size"]),
    SettingDef::host(
        "PythonPath",
        SettingType::Checked(check_folders),
        "",
        "Folders in which Python classes (`class: custom.<org>.<module>.<Class>`) are found, \
         separated by commas, relative to this file. Not given: the folder `python` beside this \
         file, if there is one.",
    )
    .optional()
    .aliases(&["python_path"]),
    SettingDef::host(
        "PythonExecutable",
        SettingType::Text,
        "python3",
        "The Python interpreter that runs Python classes: a name on the PATH, or a path relative \
         to this file, such as `venv/bin/python`.",
    )
    .aliases(&["python_executable"]),
];

fn check_folders(text: &str) -> Result<(), String> {
    match super::value::split_list(text).next() {
        Some(_) => Ok(()),
        None => Err("name a folder, or remove the line".into()),
    }
}

pub(crate) const PRODUCTION_SHAPE: Shape = Shape {
    what: "`production:`",
    values: PRODUCTION,
    sections: &[],
    later: &[
        "ActorPoolSize",
        "HealthCheckInterval",
        "LogGeneralTraceEvents",
        "MonitoringEnabled",
        "MonitoringInterval",
        "TestingEnabled",
        "UpdateTimeout",
        "actor_pool_size",
        "health_check_interval",
        "monitoring_enabled",
        "monitoring_interval",
        "testing_enabled",
    ],
};

/// What every item has besides its settings.
pub const ITEM: &[SettingDef] = &[
    SettingDef::host(
        "name",
        NAME,
        "",
        "The name of the item, unique in the production. Targets and logs use it.",
    )
    .required()
    .aliases(&["Name"]),
    SettingDef::host(
        "class",
        SettingType::Text,
        "",
        "What the item is: the name of a class, or one of its aliases.",
    )
    .required()
    .aliases(&["class_name", "ClassName"]),
    SettingDef::host(
        "enabled",
        SettingType::Bool,
        "true",
        "Whether the item's jobs run. A disabled item keeps its queue, and the queue still \
         accepts.",
    )
    .aliases(&["Enabled"]),
    SettingDef::host(
        "pool_size",
        SettingType::Int { min: 1, max: 1024 },
        "1",
        "How many jobs work off the item's queue. Order is only certain with 1. The variable gives the \
         default of processes and operations, not of services or of an item in mode \
         `single_process`.",
    )
    .env("CONCURRENCY")
    .aliases(&["PoolSize"]),
    SettingDef::host(
        "category",
        SettingType::Text,
        "",
        "A word to group items by.",
    )
    .aliases(&["Category"]),
    SettingDef::host("comment", SettingType::Text, "", "A remark for people.")
        .aliases(&["Comment"]),
    SettingDef::host(
        "RetentionAge",
        RETENTION_AGE,
        "",
        "How long the item's finished messages are kept, where that differs from the production's.",
    )
    .optional()
    .aliases(&["retention_age"]),
    SettingDef::host(
        "RetentionSize",
        RETENTION_SIZE,
        "",
        "How many bytes the item's finished messages may take, where that differs from the \
         production's.",
    )
    .optional()
    .aliases(&["retention_size"]),
];

pub(crate) const ITEM_SHAPE: Shape = Shape {
    what: "an item",
    values: ITEM,
    sections: &[
        &["adapter", "Adapter"],
        &["host", "Host"],
        &["settings", "Settings"],
        &["hooks"],
    ],
    later: &[
        "Foreground",
        "InactivityTimeout",
        "LogTraceEvents",
        "Schedule",
        "foreground",
        "inactivity_timeout",
        "log_trace_events",
        "schedule",
    ],
};

/// One entry of `settings:`.
pub(crate) const SETTING_SHAPE: Shape = Shape {
    what: "an entry of `settings:`",
    values: &[
        SettingDef::host(
            "target",
            SettingType::Choice(&[&["Host"], &["Adapter"]]),
            "",
            "Which half of the item the setting belongs to.",
        )
        .required()
        .aliases(&["Target"]),
        SettingDef::host("name", SettingType::Text, "", "The name of the setting.")
            .required()
            .aliases(&["Name"]),
    ],
    sections: &[&["value", "Value"]],
    later: &[],
};

const MATCH: SettingDef = SettingDef::host(
    "match",
    SettingType::Choice(&[&["all"], &["first"]]),
    "all",
    "`all`: every rule that applies acts. `first`: the first rule that applies decides.",
)
.aliases(&["match_mode"]);

/// A rule set in a list.
pub(crate) const RULE_SET_SHAPE: Shape = Shape {
    what: "a rule set",
    values: &[
        SettingDef::host(
            "name",
            NAME,
            "",
            "The name under which routers refer to the rule set (`BusinessRuleName`).",
        )
        .required()
        .aliases(&["Name"]),
        MATCH,
    ],
    sections: &[&["rules"], &["default"]],
    later: &["type", "effective", "variables"],
};

/// A rule set whose name is its key.
pub(crate) const NAMED_RULE_SET_SHAPE: Shape = Shape {
    values: &[MATCH],
    ..RULE_SET_SHAPE
};

/// One rule.
pub(crate) const RULE_SHAPE: Shape = Shape {
    what: "a rule",
    values: &[
        SettingDef::host("name", NAME, "", "The name of the rule in logs and traces.")
            .required()
            .aliases(&["Name"]),
        SettingDef::host(
            "enabled",
            SettingType::Bool,
            "true",
            "Whether the rule counts.",
        )
        .aliases(&["Enabled"]),
        SettingDef::host(
            "when",
            SettingType::Text,
            "",
            "The condition, an expression over the message; without one the rule always applies.",
        )
        .optional()
        .aliases(&["condition", "condition_expression"]),
        SettingDef::host(
            "send",
            SettingType::Items,
            "",
            "The items that get the message.",
        )
        .optional()
        .aliases(&["target_items"]),
        SettingDef::host(
            "delete",
            SettingType::Bool,
            "false",
            "Drop the message; `send` must not be given too.",
        ),
    ],
    sections: &[],
    later: &[
        "action",
        "priority",
        "stop",
        "transform",
        "transform_name",
        "return",
    ],
};

/// What happens when no rule applies.
pub(crate) const DEFAULT_SHAPE: Shape = Shape {
    what: "`default:`",
    values: &[
        SettingDef::host(
            "send",
            SettingType::Items,
            "",
            "The items that get the message.",
        )
        .optional()
        .aliases(&["target_items"]),
        SettingDef::host("delete", SettingType::Bool, "false", "Drop the message."),
    ],
    sections: &[],
    later: &["action", "transform"],
};

/// Commas separate names in lists, so a name cannot hold one.
fn check_name(text: &str) -> Result<(), String> {
    const NAME_MAX: usize = 128;
    if text.trim().is_empty() {
        Err("the name is empty".into())
    } else if text.trim() != text {
        Err("a name cannot begin or end with a blank".into())
    } else if text.chars().count() > NAME_MAX {
        Err(format!("a name has at most {NAME_MAX} characters"))
    } else if text.chars().any(|c| c == ',' || c.is_control()) {
        Err("a name cannot hold commas or control characters".into())
    } else {
        Ok(())
    }
}

fn check_metrics_address(text: &str) -> Result<(), String> {
    metrics_address(text)
        .map(|_| ())
        .ok_or_else(|| "expected an address and a port such as 127.0.0.1:9464, or none".into())
}

/// The address, `Some(None)` for `none`, or nothing where it is neither.
pub(crate) fn metrics_address(text: &str) -> Option<Option<SocketAddr>> {
    if text.eq_ignore_ascii_case("none") {
        return Some(None);
    }
    text.parse().ok().map(Some)
}
