//! What a good file becomes.

use std::{io::Write, path::Path, time::Duration};

use super::{REGISTRY, good, read};
use crate::{
    config::{FOREVER, common, parse},
    setting::Value,
};

pub(super) const WARD: &str = r#"
production:
  name: Ward-Feed
  description: From the ward
  enabled: true
  auto_start_items: true
items:
  - name: Lab-In
    class_name: li.hosts.FeedService
    pool_size: 2
    settings:
      - {target: Adapter, name: Port, value: "10005"}
      - {target: Host, name: TargetConfigNames, value: "Lab-Router"}
      - {target: Host, name: Version, value: 2.30}
  - name: Lab-Router
    class: FeedRouter
    host: {BusinessRuleName: Lab, TargetConfigNames: [Lab-Out]}
  - Name: Lab-Out
    ClassName: EnsLib.Feed.Operation
    PoolSize: 1
    Enabled: 0
    adapter:
      FilePath: out
rules:
  - name: Lab
    match: first
    rules:
      - name: results
        when: MSH-9.1 = "ORU"
        send: Lab-Out
    default: {delete: true}
"#;

#[test]
fn both_shapes_and_the_names_of_iris_are_read() {
    let ward = good(WARD);
    assert_eq!(
        (ward.name.as_str(), ward.description.as_str()),
        ("Ward-Feed", "From the ward")
    );
    let [feed, router, out] = ward.items.as_slice() else {
        panic!("three items")
    };
    assert_eq!(
        (feed.class.name, feed.pool_size, feed.enabled, feed.line),
        ("FeedService", 2, true, 8)
    );
    assert_eq!(feed.settings.int("Port"), Some(10_005));
    assert_eq!(feed.settings.list("TargetConfigNames"), ["Lab-Router"]);
    assert_eq!(router.settings.text("BusinessRuleName"), Some("Lab"));
    assert_eq!((out.class.name, out.enabled), ("FeedOperation", false));
    let targets: Vec<&str> = ward.rules["Lab"].targets().collect();
    assert_eq!(targets, ["Lab-Out"]);
}

#[test]
fn defaults_are_filled_in_and_a_class_may_have_its_own() {
    let ward = good(WARD);
    let feed = &ward.items[0].settings;
    assert_eq!(feed.text("AckMode"), Some("Immediate"));
    assert_eq!(feed.duration("ReadTimeout"), Some(Duration::from_secs(30)));
    assert_eq!(feed.int("MaxMessageSize"), Some(16 << 20));
    assert_eq!(feed.get("Charset"), None);
    let out = &ward.items[2].settings;
    assert_eq!(
        out.duration("FailureTimeout"),
        Some(Duration::from_secs(15))
    );
    assert_eq!(out.duration("RetryInterval"), Some(Duration::from_secs(5)));
    assert_eq!(out.int("MaxAttempts"), Some(3));
    assert_eq!(ward.items[1].settings.text("QueueType"), Some("fifo"));
    assert_eq!(
        ward.engine.metrics_address,
        Some(([127, 0, 0, 1], 9464).into())
    );
    assert_eq!(ward.engine.data_path, Path::new("etc/hie-data"));
    assert_eq!(
        ward.engine.retention_age,
        Some(Duration::from_secs(30 * 86_400))
    );
    assert_eq!(ward.engine.retention_bytes, None);
    assert_eq!(ward.engine.journal_segment_bytes, 64 << 20);
}

/// A small file with one setting of the service and one key of its item.
fn service(setting: &str) -> String {
    format!(
        "production: {{name: W}}\nitems:\n  - name: In\n    class: FeedService\n    adapter: \
         {{Port: 1}}\n    host:\n      {setting}\n"
    )
}

#[test]
fn text_stays_as_it_is_written() {
    for (written, text) in [
        ("2.30", "2.30"),
        ("007", "007"),
        ("0x1F", "0x1F"),
        ("1e3", "1e3"),
        ("yes", "yes"),
        ("null", "null"),
        ("~", "~"),
        ("2024-01-01", "2024-01-01"),
        ("' 2.30 '", " 2.30 "),
        ("\"a\\tb\"", "a\tb"),
        ("!!float 2.30", "2.30"),
    ] {
        let ward = good(&service(&format!("Version: {written}")));
        assert_eq!(
            ward.items[0].settings.text("Version"),
            Some(text),
            "{written}"
        );
    }
}

#[test]
fn substitution_takes_the_environment_the_default_and_the_escape() {
    for (written, text) in [
        ("v${PORT}x", "v2600x"),
        ("${NOPE:-2.30}", "2.30"),
        ("${EMPTY:-full}", "full"),
        ("a$${PORT}b", "a${PORT}b"),
        ("$PORT", "$PORT"),
        ("${PORT}${PORT}", "26002600"),
    ] {
        let ward = good(&service(&format!("Version: {written}")));
        assert_eq!(
            ward.items[0].settings.text("Version"),
            Some(text),
            "{written}"
        );
    }
}

#[test]
fn what_comes_from_outside_cannot_change_the_structure() {
    let text = service("Version: ${EVIL}");
    let evil = |name: &str| (name == "EVIL").then(|| "x\n    Port: 2\nitems: []".to_owned());
    let ward = parse(&text, "w.yaml", &REGISTRY, &evil).expect("a value is a value");
    assert_eq!(
        ward.items[0].settings.text("Version"),
        Some("x\n    Port: 2\nitems: []")
    );
}

#[test]
fn secrets_are_read_and_not_shown() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("password");
    std::fs::File::create(&path)
        .and_then(|mut f| f.write_all(b"hunter2\n"))
        .expect("a secret");
    let text = service("Version: ${file:password}");
    let file = folder.path().join("ward.yaml").display().to_string();
    let ward = parse(&text, &file, &REGISTRY, &|_| None).expect("good");
    assert_eq!(ward.items[0].settings.text("Version"), Some("hunter2"));
    assert!(ward.items[0].settings.is_secret("Version"));
    assert!(!format!("{ward:?}").contains("hunter2"));
    for setting in [
        "AckMode: ${file:password}",
        "Version: ok\n    pool_size: ${file:password}",
    ] {
        let errors = parse(&service(setting), &file, &REGISTRY, &|_| None).expect_err("bad");
        assert_eq!(errors.len(), 1);
        assert!(!format!("{errors:?}").contains("hunter2"), "{errors:?}");
    }
}

#[test]
fn paths_start_from_the_folder_of_the_file() {
    let operation = |path: &str| {
        let text = format!(
            "production: {{name: W}}\nitems: [{{name: O, class: FeedOperation, adapter: \
             {{FilePath: \"{path}\"}}}}]"
        );
        good(&text).items[0]
            .settings
            .text("FilePath")
            .map(str::to_owned)
    };
    assert_eq!(operation("out").as_deref(), Some("etc/out"));
    assert_eq!(operation("/var/out").as_deref(), Some("/var/out"));
    let data = std::path::absolute("etc/hie-data/out").expect("a working folder");
    assert_eq!(operation("${DataPath}/out").as_deref(), data.to_str());
}

#[test]
fn an_empty_value_of_a_setting_without_default_is_no_value() {
    assert_eq!(
        good(&service("Charset: \"\"")).items[0]
            .settings
            .get("Charset"),
        None
    );
    let version = good(&service("Version: \"\"")).items[0]
        .settings
        .get("Version")
        .cloned();
    assert_eq!(version, Some(Value::Text(String::new())));
}

#[test]
fn a_list_may_be_written_where_commas_may() {
    let text = "production: {name: W}\nitems:\n  - name: In\n    class: FeedService\n    adapter:\n      \
                Port: 1\n      AllowedIPAddresses: [10.0.0.1, 10.0.0.2]\n";
    let ward = good(text);
    assert_eq!(
        ward.items[0].settings.text("AllowedIPAddresses"),
        Some("10.0.0.1,10.0.0.2")
    );
}

#[test]
fn anchors_bom_and_windows_line_ends_are_fine() {
    let text = "\u{feff}production: {name: W}\r\nitems:\r\n  - name: A\r\n    class: FeedOperation\r\n    \
                adapter: &shared\r\n      FilePath: out\r\n  - {name: B, class: FeedOperation, adapter: *shared}\r\n";
    let ward = good(text);
    assert_eq!(ward.items[1].settings.text("FilePath"), Some("etc/out"));
}

#[test]
fn retention_of_an_item_may_be_for_ever() {
    let keys = |keys: &str| {
        let text =
            format!("production: {{name: W}}\nitems: [{{name: R, class: FeedRouter, {keys}}}]");
        let ward = good(&text);
        (ward.items[0].retention_age, ward.items[0].retention_bytes)
    };
    assert_eq!(keys("RetentionAge: -1"), (Some(FOREVER), None));
    assert_eq!(
        keys("RetentionAge: 12h, RetentionSize: 2 GiB"),
        (Some(Duration::from_secs(43_200)), Some(2 << 30))
    );
    assert_eq!(keys("enabled: true"), (None, None));
}

#[test]
fn rule_sets_may_be_a_mapping_too() {
    let text = "production: {name: W}\nitems: [{name: R, class: FeedRouter, host: {BusinessRuleName: A}}, \
                {name: O, class: FeedOperation, adapter: {FilePath: x}}]\nrules:\n  A:\n    rules:\n      - \
                {name: all, send: [O]}\n";
    assert_eq!(good(text).rules["A"].name(), "A");
}

#[test]
fn every_declared_default_is_a_value_of_its_type() {
    let tables = [
        crate::config::PRODUCTION,
        crate::config::ITEM,
        common::SERVICE,
        common::PROCESS,
        common::OPERATION,
    ];
    for def in tables.into_iter().flatten() {
        if let Some(default) = def.default {
            assert!(def.kind.parse(default).is_ok(), "{}", def.name);
        }
        assert!(
            def.doc.ends_with('.'),
            "{}: the doc is a sentence",
            def.name
        );
    }
    assert!(read(WARD).is_ok());
}
