//! What a bad file is told: the whole list, with places.

use proptest::prelude::*;

use super::{REGISTRY, bad, read};
use crate::config::{FILE_MAX_BYTES, load, parse, render};

/// The errors of a text against the lines expected.
fn expect(text: &str, expected: &[&str]) {
    assert_eq!(bad(text), expected);
}

#[test]
fn an_empty_file_or_one_without_sections_says_how_a_file_begins() {
    let help = "a file begins with `production: {name: …}` and `items:`";
    expect("", &[&format!("1:1: the file is empty | {help}")]);
    expect(
        "# only a remark\n",
        &[&format!("1:1: the file is empty | {help}")],
    );
    expect(
        "- 1\n",
        &[&format!(
            "1:1: expected a production, found a list | {help}"
        )],
    );
    expect(
        "rules: []\n",
        &[
            "1:1: `production:` is missing | give it a name: `production: {name: Ward-Feed}`",
            "1:1: `items:` is missing | list at least one: `items: [{name: From-Lab, class: \
             HL7TCPService, …}]`",
        ],
    );
}

#[test]
fn a_production_needs_items() {
    let help = "list at least one: `items: [{name: From-Lab, class: HL7TCPService, …}]`";
    for (items, place) in [("items:\n", "2:1"), ("items: []\n", "2:8")] {
        expect(
            &format!("production: {{name: W}}\n{items}"),
            &[&format!("{place}: the production has no items | {help}")],
        );
    }
}

#[test]
fn everything_that_is_wrong_is_said_at_once_and_in_order() {
    let text = "\
production: {nam: Ward, ShutdownTimeout: soon, MetricsAddress: here}
items:
  - name: In
    class: FeedServce
  - name: In2
    class: FeedService
    pol_size: 2
    adapter: {Prt: 1, AckMode: Never}
    host: {ackMode: Never, QueueSize: 5, PoolSize: 2, TargetConfigNames: 'In, Outt , In2'}
    settings:
      - {target: Adapter, name: Port, value: 70000}
      - {target: host, name: AckMode, value: Nevr}
      - {target: Foo, name: AckMode, value: Never}
      - {target: Host, name: Version}
item: 3
";
    expect(
        text,
        &[
            "1:14: unknown key `nam` in `production:` | did you mean `name`?",
            "1:42: setting ShutdownTimeout: `soon`: expected a time from 0 s to 3600 s in seconds \
             or with one of the units ms, s, m, h, d | without the line it is `30`",
            "1:64: setting MetricsAddress: `here`: expected an address and a port such as \
             127.0.0.1:9464, or none | without the line it is `127.0.0.1:9464`",
            "4:12: item In, setting class: unknown class `FeedServce` | did you mean \
             `FeedService`?",
            "7:5: item In2: unknown key `pol_size` in an item | did you mean `pool_size`?",
            "8:15: item In2, setting Prt: FeedService has no Adapter setting `Prt` | did you mean \
             `Port`?",
            "8:23: item In2, setting AckMode: `AckMode` is a setting of the Host, not of the \
             Adapter | write it under `host:` or with `target: Host`",
            "9:12: item In2, setting ackMode: FeedService has no Host setting `ackMode` | write \
             `AckMode`: upper and lower case count",
            "9:28: item In2, setting QueueSize: `QueueSize` is a setting of queues, and a service \
             has none | set it on the items that the service sends to: messages wait there",
            "9:42: item In2, setting PoolSize: `PoolSize` belongs to the item, not to its \
             settings | write `pool_size:` beside the item's `name:`",
            "9:79: item In2, setting TargetConfigNames: there is no item `Outt` | no item of this \
             production takes messages",
            "9:86: item In2, setting TargetConfigNames: `In2` is a service: it lets messages in \
             and takes none | name a process or an operation",
            "11:46: item In2, setting Port: `70000`: expected a whole number from 1 to 65535",
            "12:46: item In2, setting AckMode: `Nevr`: expected one of Immediate, Application, \
             Never | did you mean `Never`?",
            "13:18: item In2, setting target: `Foo`: expected one of Host, Adapter",
            "14:9: item In2, setting Version: `value` is missing",
            "15:1: unknown key `item` in the file | did you mean `items`?",
        ],
    );
}

#[test]
fn a_setting_given_twice_names_the_other_place() {
    let text = "\
production: {name: W, DataPath: a, data_path: b}
items:
  - name: Out
    class: FeedOperation
    settings: [{target: Adapter, name: FilePath, value: a}]
    adapter: {FilePath: b, FilePath: c}
  - {name: Out, class: FeedRouter}
";
    expect(
        text,
        &[
            "1:36: setting DataPath: `data_path` is given twice: the first is at line 1 | keep \
             one of the two",
            "6:15: item Out, setting FilePath: `FilePath` is given twice: the first is at line 5 \
             | keep one of the two",
            "6:28: `FilePath` is given twice: the first is at line 6 | keep one of the two",
            "7:12: item Out, setting name: another item has this name, at line 3 | names of items \
             are unique in a production",
        ],
    );
}

#[test]
fn values_that_are_missing_or_of_another_kind() {
    let text = "\
production: W
items:
  - name: In
    class: FeedService
    host: {Version: [1, 2], Charset: {a: b}, TargetConfigNames: [Out, '', 'a,b']}
  - class: FeedOperation
    adapter: {FilePath: }
  - FeedRouter
  - {name: 'a, b', class: FeedRouter, settings: {Version: 1}}
  - {name: R, class: FeedRouter, host: 7, adapter: {Port: 1}}
";
    expect(
        text,
        &[
            "1:13: `production:`: expected `key: value` lines, found a single value",
            "1:13: setting name: `name` is missing | The name of the production.",
            "3:5: item In, setting Port: `Port` is missing | expected a whole number from 1 to \
             65535. The port.",
            "5:21: item In, setting Version: expected a single value, found a list",
            "5:38: item In, setting Charset: expected a single value, found a group of `key: \
             value` lines",
            "5:71: item In, setting TargetConfigNames: each entry of the list is the name of one \
             item",
            "5:75: item In, setting TargetConfigNames: each entry of the list is the name of one \
             item",
            "6:5: setting name: `name` is missing | The name of the item, unique in the \
             production. Targets and logs use it.",
            "7:15: setting FilePath: `FilePath` is missing | expected a path. The folder.",
            "8:5: item 3: expected `name:`, `class:` and so on",
            "9:12: item a, b, setting name: `a, b`: a name cannot hold commas or control \
             characters",
            "9:49: item a, b: `settings:`: expected a list (lines with `- `), found a group of \
             `key: value` lines",
            "10:40: item R: `host:`: expected `key: value` lines, found a single value",
            "10:53: item R, setting Port: FeedRouter has no Adapter setting `Port` | FeedRouter \
             has no Adapter settings",
        ],
    );
}

#[test]
fn substitutions_that_cannot_be_made_point_at_themselves() {
    let text = "\
production: {name: W}
items:
  - name: In
    class: FeedService
    adapter:
      Port: ${NOPORT}
      AllowedIPAddresses: ${HUSH}
      ReadTimeout: ${HUSH}
    host:
      Version: a ${NOPE} b ${9} c ${file:/no/such/file}
      Charset: 'x ${PORT'
      AckMode: ${HUSH}
      TargetConfigNames: ${HUSH}
";
    expect(
        text,
        &[
            "6:13: item In, setting Port: the environment variable `NOPORT` is not set | set it, \
             or give a default: `${NOPORT:-value}`",
            "7:27: item In, setting AllowedIPAddresses: `${HUSH}`: what this stands for is not a \
             valid value | without the line it is `127.0.0.1`",
            "8:20: item In, setting ReadTimeout: `${HUSH}`: what this stands for is not valid; \
             expected a time from 0.1 s to 3600 s in seconds or with one of the units ms, s, m, h, \
             d, or -1 (no limit) | without the line it is `30`",
            "10:18: item In, setting Version: the environment variable `NOPE` is not set | set \
             it, or give a default: `${NOPE:-value}`",
            "10:28: item In, setting Version: `${…}` does not hold the name of a variable | write \
             `${NAME}`, `${NAME:-default}` or `${file:/path}`; `$${` is a plain `${`",
            "10:35: item In, setting Version: the secret file `/no/such/file` cannot be opened: \
             there is no such file",
            "11:19: item In, setting Charset: `${` is not closed by `}` | write `$${` for a plain \
             `${`",
            "12:16: item In, setting AckMode: `${HUSH}`: what this stands for is not valid; \
             expected one of Immediate, Application, Never | without the line it is `Immediate`",
            "13:26: item In, setting TargetConfigNames: there is no item (a value from outside) \
             | no item of this production takes messages",
        ],
    );
}

#[test]
fn rules_are_checked_with_places_inside_their_expressions() {
    let text = "\
production: {name: W}
items:
  - {name: In, class: FeedService, adapter: {Port: 1}, host: {TargetConfigNames: R}}
  - {name: R, class: FeedRouter, host: {BusinessRuleName: Labb}}
  - {name: Out, class: FeedOperation, adapter: {FilePath: x}}
rules:
  - name: Lab
    match: frist
    rules:
      - name: one
        when: 'MSH-9.1 = \"ADT'
        send: [Outt, In]
      - name: two
        when: |
          MSH-9.1 = \"ADT\"
            and PID-8 Inn (\"U\")
        send: Out
  - name: Adt
    rules:
      - {name: x, send: Out, delete: true}
      - {name: x, send: Out, priority: 3}
      - {name: y, when: '${HUSH}', send: Out}
  - name: Adt
    rules: [{name: z, delete: true}]
";
    let errors = bad(text);
    let starts = [
        "4:59: item R, setting BusinessRuleName: there is no rule set `Labb` | did you mean `Lab`?",
        "8:12: setting match: `frist`: expected one of all, first | did you mean `first`?",
        "11:2", // The exact wording and byte are the rules crate's.
        "12:16: setting send: there is no item `Outt` | did you mean `Out`?",
        "12:22: setting send: `In` is a service: it lets messages in and takes none",
        "16:23: setting when: rule set Lab, rule two: ", // The rest is the rules crate's.
        "20:38: setting delete: rule set Adt, rule x: send and delete contradict",
        "21:30: `priority` is not supported by this version",
        "22:26: setting when: rule set Adt, rule y: what this stands for is not a valid expression",
        "23:11: another rule set has the name `Adt`, at line 18",
    ];
    for start in starts {
        assert!(
            errors.iter().any(|error| error.starts_with(start)),
            "{start}\n{errors:#?}"
        );
    }
    assert!(!errors.concat().contains("hunter2"));
}

#[test]
fn a_class_is_asked_about_relations_and_points_at_its_setting() {
    let text = "\
production: {name: W}
items:
  - name: In
    class: FeedService
    adapter: {Port: 1}
    host:
      Version: 9
";
    expect(
        text,
        &["7:16: item In, setting Version: version 9 needs Charset | give Charset"],
    );
}

#[test]
fn syntax_limits_and_other_kinds_of_yaml_are_told_with_their_place() {
    for (text, start) in [
        ("production: {name: W\nitems: []\n", "2:6: not valid YAML"),
        ("production:\n\tname: W\n", "2:"),
        ("a: 1\n---\nb: 2\n", "2:1: a second document begins here"),
        (
            "a: &x [1]\nb: {<<: *x}\n",
            "2:5: merge keys (`<<`) are not supported",
        ),
        ("a: !secret x\n", "1:"),
        ("? [a]\n: b\n", "1:3: a key must be plain text"),
        ("a: *nobody\n", "1:"),
        ("a: x\0y\n", "1:5: control character U+0000 in the file"),
    ] {
        let errors = bad(text);
        assert!(
            errors.iter().any(|error| error.starts_with(start)),
            "{text:?} {errors:?}"
        );
    }
    let deep = format!("a: {}", "[".repeat(100_000));
    assert!(
        bad(&deep)[0].contains("nested deeper than 32 levels"),
        "{:?}",
        bad(&deep)
    );
    let bomb = (1..20).fold("a0: &a0 [x, x]\n".to_owned(), |text, n| {
        let alias = vec![format!("*a{}", n - 1); 9].join(", ");
        text + &format!("a{n}: &a{n} [{alias}]\n")
    });
    assert!(
        bad(&bomb)[0].contains("more than 500000 values"),
        "{:?}",
        bad(&bomb)[0]
    );
    let huge = "#".repeat(usize::try_from(FILE_MAX_BYTES).expect("fits") + 1);
    assert!(bad(&huge)[0].contains("larger than 16 MiB"));
}

#[test]
fn a_file_that_cannot_be_read_is_one_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let missing = folder.path().join("none.yaml");
    let errors = load(&missing, &REGISTRY, &|_| None)
        .map(|_| ())
        .expect_err("no such file");
    assert_eq!(errors.len(), 1);
    assert_eq!(
        errors[0].message,
        "cannot read the file: there is no such file"
    );
    let latin = folder.path().join("latin.yaml");
    std::fs::write(&latin, b"production:\n  name: \xe4\n").expect("written");
    let errors = load(&latin, &REGISTRY, &|_| None)
        .map(|_| ())
        .expect_err("not UTF-8");
    assert_eq!((errors[0].line, errors[0].column), (2, 9));
}

#[test]
fn many_errors_are_counted_and_not_all_listed() {
    let lines: String = (0..5000).map(|n| format!("k{n}: 1\n")).collect();
    let errors = bad(&lines);
    assert_eq!(errors.len(), 1001);
    assert!(
        errors[1000].ends_with("4002 more errors"),
        "{}",
        errors[1000]
    );
}

#[test]
fn errors_are_shown_with_their_line_and_a_caret() {
    let text = "production: {name: W}\nitems:\n  - {name: R, class: FedRouter}\n";
    let errors = read(text).map(|_| ()).expect_err("bad");
    let shown = render(&errors, Some(text));
    let expected = "\
error: item R, setting class: unknown class `FedRouter`
 --> etc/ward.yaml:3:22
  |
3 |   - {name: R, class: FedRouter}
  |                      ^
  = help: did you mean `FeedRouter`?

1 error in etc/ward.yaml
";
    assert_eq!(shown, expected);
    assert!(!render(&errors, None).contains('^'));
    let json = serde_json::to_value(&errors).expect("errors are plain data");
    assert_eq!(
        (json[0]["line"].as_u64(), json[0]["item"].as_str()),
        (Some(3), Some("R"))
    );
}

/// Pieces of files, so that random texts get past the syntax often.
fn piece() -> impl Strategy<Value = String> {
    let pieces = [
        "production:",
        "items:",
        "rules:",
        "name:",
        "class:",
        "settings:",
        "adapter:",
        "host:",
        "- ",
        "  ",
        "\n",
        "\r\n",
        "{",
        "}",
        "[",
        "]",
        ", ",
        ": ",
        "'",
        "\"",
        "|\n",
        ">\n",
        "&a ",
        "*a",
        "!x ",
        "${",
        "${PORT}",
        "${HUSH:-}",
        "$${",
        "}",
        "FeedService",
        "FeedRouter",
        "Port",
        "1",
        "-1",
        "when:",
        "MSH-9.1 = \"A\"",
        "send:",
        "default:",
        "# r\n",
        "---\n",
        "...\n",
        "? ",
        "ä",
        "\u{feff}",
        "\t",
        "\0",
        "%YAML 1.2\n",
        "<<",
        "~",
        "2.30",
        "TargetConfigNames",
        "match: first",
    ];
    prop_oneof![
        4 => proptest::sample::select(pieces.to_vec()).prop_map(str::to_owned),
        1 => any::<String>(),
    ]
}

/// A good file, to be damaged.
const GOOD: &str = super::values::WARD;

proptest! {
    #[test]
    fn no_text_brings_the_reader_down(pieces in proptest::collection::vec(piece(), 0..60)) {
        check(&pieces.concat());
    }

    #[test]
    fn no_damage_brings_the_reader_down(at in 0..GOOD.len(), cut in 0..40usize, put in piece()) {
        let end = (at + cut).min(GOOD.len());
        if let (Some(head), Some(tail)) = (GOOD.get(..at), GOOD.get(end..)) {
            check(&format!("{head}{put}{tail}"));
        }
    }
}

/// Whatever comes out, errors have a place within the file and are in order.
fn check(text: &str) {
    let Err(errors) = parse(text, "x.yaml", &REGISTRY, &|_| Some("x".into())) else {
        return;
    };
    let lines = text.split(['\n', '\r']).count();
    assert!(!errors.is_empty());
    assert!(
        errors
            .iter()
            .all(|e| (1..=lines + 1).contains(&e.line) && e.column >= 1),
        "{errors:?}"
    );
    assert!(errors.is_sorted_by_key(|error| (error.line, error.column)));
    let _ = render(&errors, Some(text));
}
