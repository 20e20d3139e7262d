//! Tests of the reader against a small registry: whole files in, configuration or errors out.

mod environment;
mod errors;
mod schema;
mod values;

use crate::{
    HostError,
    class::{Build, Class, Registry},
    config::{ConfigError, Finding, ItemConfig, ProductionConfig, parse},
    host::{BusinessOperation, BusinessProcess, BusinessService},
    setting::{SettingDef, SettingType},
};

fn no_service(_: &ItemConfig, _: &ProductionConfig) -> Result<Box<dyn BusinessService>, HostError> {
    unreachable!("the reader makes no hosts")
}

fn no_process(_: &ItemConfig, _: &ProductionConfig) -> Result<Box<dyn BusinessProcess>, HostError> {
    unreachable!("the reader makes no hosts")
}

fn no_operation(
    _: &ItemConfig,
    _: &ProductionConfig,
) -> Result<Box<dyn BusinessOperation>, HostError> {
    unreachable!("the reader makes no hosts")
}

fn nothing(_: &ItemConfig, _: &ProductionConfig) -> Vec<Finding> {
    Vec::new()
}

/// Two settings that contradict each other.
fn version_needs_charset(item: &ItemConfig, _: &ProductionConfig) -> Vec<Finding> {
    if item.settings.text("Version") == Some("9") && item.settings.text("Charset").is_none() {
        let help = Some("give Charset".to_owned());
        let message = "version 9 needs Charset".to_owned();
        return vec![Finding {
            setting: Some("Version"),
            message,
            help,
        }];
    }
    Vec::new()
}

fn only_addresses(text: &str) -> Result<(), String> {
    match text
        .split(',')
        .find(|part| part.trim().parse::<std::net::IpAddr>().is_err())
    {
        Some(part) => Err(format!("`{part}` is not an address")),
        None => Ok(()),
    }
}

const PORT: SettingDef = SettingDef::adapter(
    "Port",
    SettingType::Int {
        min: 1,
        max: 65_535,
    },
    "",
    "The port.",
)
.required();
const TARGETS: SettingDef = SettingDef::host(
    "TargetConfigNames",
    SettingType::Items,
    "",
    "Who gets the messages.",
);

static SERVICE: Class = Class {
    name: "FeedService",
    aliases: &["EnsLib.Feed.Service", "li.hosts.FeedService"],
    summary: "Lets a feed in.",
    settings: &[&[
        PORT,
        SettingDef::adapter(
            "AllowedIPAddresses",
            SettingType::Checked(only_addresses),
            "127.0.0.1",
            "Who may connect.",
        ),
        SettingDef::adapter(
            "ReadTimeout",
            SettingType::Seconds {
                min: 0.1,
                max: 3600.0,
                unlimited: Some("no limit"),
            },
            "30",
            "How long to wait.",
        ),
        SettingDef::adapter(
            "MaxMessageSize",
            SettingType::Bytes {
                min: 1024,
                max: 1 << 30,
            },
            "16 MiB",
            "The largest message.",
        ),
        SettingDef::host(
            "AckMode",
            SettingType::Choice(&[&["Immediate", "Immed"], &["Application", "App"], &["Never"]]),
            "Immediate",
            "When to answer.",
        ),
        SettingDef::host("Version", SettingType::Text, "2.4", "The version."),
        SettingDef::host("Charset", SettingType::Text, "", "The character set.").optional(),
        TARGETS,
    ]],
    build: Build::Service(no_service),
    check: version_needs_charset,
};

static ROUTER: Class = Class {
    name: "FeedRouter",
    aliases: &["EnsLib.Feed.Router"],
    summary: "Routes a feed.",
    settings: &[&[
        SettingDef::host("BusinessRuleName", SettingType::RuleSet, "", "The rules.").optional(),
        TARGETS,
    ]],
    build: Build::Process(no_process),
    check: nothing,
};

static OPERATION: Class = Class {
    name: "FeedOperation",
    aliases: &["EnsLib.Feed.Operation"],
    summary: "Lets a feed out.",
    settings: &[&[
        SettingDef::adapter("FilePath", SettingType::Path, "", "The folder.").required(),
        SettingDef::adapter(
            "Overwrite",
            SettingType::Bool,
            "false",
            "Whether to overwrite.",
        ),
        // Its own default, where the table of all operations says -1.
        SettingDef::host(
            "FailureTimeout",
            SettingType::Seconds {
                min: 0.0,
                max: 60.0,
                unlimited: None,
            },
            "15",
            "When to give up.",
        ),
    ]],
    build: Build::Operation(no_operation),
    check: nothing,
};

pub(super) static REGISTRY: Registry = Registry::new(&[&SERVICE, &ROUTER, &OPERATION]);

/// Reads a text with no environment but `PORT=2600` and `EMPTY=`.
fn read(text: &str) -> Result<ProductionConfig, Vec<ConfigError>> {
    parse(text, "etc/ward.yaml", &REGISTRY, &|name| match name {
        "PORT" => Some("2600".into()),
        "EMPTY" => Some(String::new()),
        "HUSH" => Some("hunter2".into()),
        _ => None,
    })
}

/// The production, or a panic that shows the errors.
fn good(text: &str) -> ProductionConfig {
    read(text).unwrap_or_else(|errors| {
        let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
        panic!("{}", lines.join("\n"))
    })
}

/// The errors, each on one line: `line:column: item, setting: message | help`.
fn bad(text: &str) -> Vec<String> {
    let errors = read(text).map(|_| ()).expect_err("the text has errors");
    let line = |error: &ConfigError| {
        error
            .to_string()
            .replacen("etc/ward.yaml:", "", 1)
            .replace("\n  help: ", " | ")
    };
    errors.iter().map(line).collect()
}
