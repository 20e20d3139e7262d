//! The reference page of the configuration, from the declarations.

use std::fmt::{self, Write};

use super::{common, hook_keys, keys};
use crate::{
    class::{Class, Registry},
    setting::{SettingDef, SettingType, Target},
};

const HEAD: &str = "\
# Configuration reference

<!-- Generated from the declarations in the code. Do not edit: a test compares it. -->

One YAML file describes a production. Every key is checked: one that is not known is an error, with \
its line and the nearest known name, and all errors of a file are reported at once.

```yaml
production: {name: Ward-Feed}
items:
  - name: From-Lab
    class: HL7TCPService
    adapter: {Port: 2575}
    host: {TargetConfigNames: To-EPR}
```

The same item in the long shape, as IRIS writes it; both shapes may be mixed, but a setting is given once:

```yaml
  - name: From-Lab
    class: EnsLib.HL7.Service.TCPService
    settings:
      - {target: Adapter, name: Port, value: 2575}
      - {target: Host, name: TargetConfigNames, value: To-EPR}
```

## Values

The type of a value is that of its declaration below and never guessed: in a text, `2.30` stays `2.30`, \
`007` stays `007` and `yes` stays `yes`.

- **Times** are seconds, or carry a unit: `500ms`, `30s`, `5m`, `12h`, `30d`.
- **Sizes** are bytes, or carry a unit: `16 MiB` (1024) or `16 MB` (1000).
- **Choices** are read in any case. Names of keys, settings and classes are not.
- **Relative paths** start from the folder of the configuration file.
- **An empty value** of a setting without a default is the same as leaving the line out.

From outside, in any value (not in keys), and put in after the file is read, so that it cannot change its structure:

| written | stands for |
|---|---|
| `${NAME}` | the environment variable; an error if it is not set |
| `${NAME:-default}` | the environment variable, or the default if it is not set or empty |
| `${file:/run/secrets/x}` | the content of the file without its final line end |
| `${DataPath}` | the absolute path of the production's data folder |
| `$${` | a plain `${` |

What comes from the environment or a file is never repeated in an error or a log.
";

/// The reference page for the classes of a registry, in Markdown.
pub fn reference(registry: &Registry) -> String {
    let mut out = String::from(HEAD);
    // Writing to a string cannot fail.
    let _ = page(&mut out, registry);
    out
}

fn page(out: &mut String, registry: &Registry) -> fmt::Result {
    section(out, "production", "What belongs to the engine as a whole.")?;
    table(out, keys::PRODUCTION.iter())?;
    section(
        out,
        "items",
        "A list. Every item has these, and the settings of its class.",
    )?;
    table(out, keys::ITEM.iter())?;
    hooks(out)?;
    rules(out)?;
    let kinds = [
        ("Services", "Service", common::SERVICE),
        ("Processes", "Process", common::PROCESS),
        ("Operations", "Operation", common::OPERATION),
    ];
    for (title, kind, common) in kinds {
        let every = kind.to_lowercase();
        writeln!(out, "\n## {title}\n\nHost settings of every {every}:\n")?;
        table(out, common.iter())?;
        for class in registry
            .classes()
            .iter()
            .filter(|class| class.build.kind() == kind)
        {
            self::class(out, class)?;
        }
    }
    Ok(())
}

fn section(out: &mut String, key: &str, what: &str) -> fmt::Result {
    writeln!(out, "\n## `{key}:`\n\n{what}\n")
}

fn hooks(out: &mut String) -> fmt::Result {
    section(
        out,
        "hooks",
        "Part of an item: what is done with each message before it is processed, after it, and \
         when that fails. Three lists, each in the order of the file; conditions are those of \
         [rules](rules.md). The [guide](../guides/hooks.md) shows them at work.",
    )?;
    writeln!(
        out,
        "An entry of `on_before_process:`; at least one of `reject`, `set` and `tag`, and not \
         `reject` with `set`. `set:` is a mapping from places to values, such as \
         `{{PID-3.4: NHS, ZHI-1: '{{MSH-4}}'}}`: a value in braces is had from the message.\n"
    )?;
    table(out, hook_keys::BEFORE_HOOK_SHAPE.values.iter())?;
    writeln!(out, "\nAn entry of `on_after_process:`\n")?;
    table(out, hook_keys::AFTER_HOOK_SHAPE.values.iter())?;
    writeln!(
        out,
        "\nAn entry of `on_process_error:`; at least one besides `when`. The first whose condition \
         holds decides; those with nothing but a `tag` leave that to the ones behind them:\n"
    )?;
    table(out, hook_keys::ERROR_HOOK_SHAPE.values.iter())
}

fn rules(out: &mut String) -> fmt::Result {
    section(
        out,
        "rules",
        "Rule sets: a list, or a mapping from name to rule set. Beside the keys of the table a \
         rule set has `rules:` (a list) and may have `default:` (what happens when no rule \
         applies).",
    )?;
    table(out, keys::RULE_SET_SHAPE.values.iter())?;
    writeln!(
        out,
        "\nA rule; exactly one of `send` and `delete` says what it does:\n"
    )?;
    table(out, keys::RULE_SHAPE.values.iter())?;
    writeln!(out, "\n`default:`\n")?;
    table(out, keys::DEFAULT_SHAPE.values.iter())
}

fn class(out: &mut String, class: &Class) -> fmt::Result {
    writeln!(out, "\n### {}\n\n{}", class.name, class.summary)?;
    if !class.aliases.is_empty() {
        let aliases: Vec<String> = class
            .aliases
            .iter()
            .map(|name| format!("`{name}`"))
            .collect();
        writeln!(out, "\nAlso known as {}.", aliases.join(", "))?;
    }
    for target in [Target::Adapter, Target::Host] {
        let defs: Vec<&SettingDef> = class
            .settings()
            .filter(|def| def.target == target)
            .collect();
        if !defs.is_empty() {
            writeln!(out, "\n{} settings:\n", target.name())?;
            table(out, defs.into_iter())?;
        }
    }
    Ok(())
}

fn table<'a>(out: &mut String, defs: impl Iterator<Item = &'a SettingDef>) -> fmt::Result {
    writeln!(
        out,
        "| name | values | default | meaning |\n|---|---|---|---|"
    )?;
    for def in defs {
        let mut name = format!("`{}`", def.name);
        if !def.aliases.is_empty() {
            let aliases: Vec<String> = def.aliases.iter().map(|name| format!("`{name}`")).collect();
            name = format!("{name} (also {})", aliases.join(", "));
        }
        let default = match def.default {
            _ if def.required => "required".into(),
            None => "not set".into(),
            Some("") => "empty".into(),
            Some(default) => format!("`{default}`"),
        };
        let default = match def.env {
            Some(variable) => format!("`${variable}`, or {default}"),
            None => default,
        };
        let cells = [name, values(def.kind), default, def.doc.to_owned()];
        writeln!(
            out,
            "| {} |",
            cells.map(|cell| cell.replace('|', "\\|")).join(" | ")
        )?;
    }
    Ok(())
}

/// The allowed values in a cell; all names of a choice.
fn values(kind: SettingType) -> String {
    match kind {
        SettingType::Choice(choices) => {
            let names: Vec<String> = choices.iter().map(|names| one_choice(names)).collect();
            names.join(", ")
        }
        SettingType::Seconds { .. } => kind
            .expected()
            .replace(" in seconds or with one of the units ms, s, m, h, d", ""),
        SettingType::Bytes { .. } => kind
            .expected()
            .replace(", in bytes or with a unit such as MB or MiB", ""),
        SettingType::Items => "names of items".into(),
        SettingType::RuleSet => "name of a rule set".into(),
        SettingType::Checked(_) => "text, as described".into(),
        _ => kind.expected(),
    }
}

fn one_choice(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [only] => format!("`{only}`"),
        [first, rest @ ..] => format!("`{first}` ({})", rest.join(", ")),
    }
}
