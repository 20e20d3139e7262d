//! Settings: declared once, in the table of a class.
//!
//! A [`SettingDef`] is the only place where a setting's name, type, default and meaning stand; the
//! parser, the validation, the JSON schema and the reference page are all read off it. Owns the
//! types of values. Does not read files (that is [`config`](crate::config)).

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

/// Which half of an item a setting belongs to, as in IRIS.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Target {
    /// The business host.
    Host,
    /// Its adapter (the transport).
    Adapter,
}

impl Target {
    /// `Host` or `Adapter`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Host => "Host",
            Self::Adapter => "Adapter",
        }
    }
}

/// The type of a value. It decides how the text of the file is read: `2.30` declared as
/// [`Text`](SettingType::Text) stays `2.30`.
#[derive(Clone, Copy, Debug)]
pub enum SettingType {
    /// Any text, as written.
    Text,
    /// `true`/`false`, `1`/`0`, `yes`/`no`.
    Bool,
    /// A whole number within bounds.
    Int {
        /// Least allowed.
        min: i64,
        /// Greatest allowed.
        max: i64,
    },
    /// A time in seconds, fractions allowed.
    Seconds {
        /// Least allowed, in seconds.
        min: f64,
        /// Greatest allowed, in seconds.
        max: f64,
        /// What `-1` means (e.g. "for ever"); where this is none, `-1` is an error.
        unlimited: Option<&'static str>,
    },
    /// A number of bytes, with an optional unit: `16777216`, `16 MiB`, `10MB`.
    Bytes {
        /// Least allowed.
        min: u64,
        /// Greatest allowed.
        max: u64,
    },
    /// One of these; each entry is the canonical name followed by its aliases, read without case.
    Choice(&'static [&'static [&'static str]]),
    /// A path of the file system. Relative ones are relative to the configuration file's folder…
    /// unless they start with the data folder's variable; see the reference.
    Path,
    /// A comma-separated list of items of this production (a YAML list is also read).
    Items,
    /// The name of a rule set of this production.
    RuleSet,
    /// Text with a grammar of its own: the function says what is wrong with a value.
    Checked(fn(&str) -> Result<(), String>),
}

/// One setting of a class.
#[derive(Clone, Copy, Debug)]
pub struct SettingDef {
    /// Its name, as in IRIS or the HIE design.
    pub name: &'static str,
    /// Other names under which it is known; read without a warning.
    pub aliases: &'static [&'static str],
    /// Host or adapter.
    pub target: Target,
    /// How its text is read.
    pub kind: SettingType,
    /// The value where the file gives none; none: the setting is absent unless given.
    pub default: Option<&'static str>,
    /// Whether the file must give it.
    pub required: bool,
    /// The variable of the environment that gives the default where the file says nothing.
    pub env: Option<&'static str>,
    /// What it means, in a sentence or two, with units. Shown in the reference and the schema.
    pub doc: &'static str,
}

impl SettingDef {
    /// A setting of the host with a default.
    pub const fn host(
        name: &'static str,
        kind: SettingType,
        default: &'static str,
        doc: &'static str,
    ) -> Self {
        Self {
            name,
            aliases: &[],
            target: Target::Host,
            kind,
            default: Some(default),
            required: false,
            env: None,
            doc,
        }
    }

    /// A setting of the adapter with a default.
    pub const fn adapter(
        name: &'static str,
        kind: SettingType,
        default: &'static str,
        doc: &'static str,
    ) -> Self {
        Self {
            name,
            aliases: &[],
            target: Target::Adapter,
            kind,
            default: Some(default),
            required: false,
            env: None,
            doc,
        }
    }

    /// The same without a default: absent unless given.
    pub const fn optional(mut self) -> Self {
        self.default = None;
        self
    }

    /// The same, and the file must give it.
    pub const fn required(mut self) -> Self {
        self.default = None;
        self.required = true;
        self
    }

    /// The same, with a default from the environment where that has this variable.
    pub const fn env(mut self, variable: &'static str) -> Self {
        self.env = Some(variable);
        self
    }

    /// The same, known under other names too.
    pub const fn aliases(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }
}

/// A value, read by its declared type.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Text, Path, RuleSet and Checked.
    Text(String),
    /// Bool.
    Bool(bool),
    /// Int and Bytes.
    Int(i64),
    /// Seconds; none is `-1`, unlimited.
    Seconds(Option<Duration>),
    /// Choice: the canonical name.
    Choice(&'static str),
    /// Items.
    List(Vec<String>),
}

impl Value {
    /// The name of its type, for an error that must not show the value.
    fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Seconds(_) => "seconds",
            Self::Choice(_) => "choice",
            Self::List(_) => "list",
        }
    }
}

/// The settings of one item, complete with defaults and valid by construction: only the
/// configuration reader makes them. Asking for a setting that the class does not declare is a
/// mistake in the class and panics in its first test.
#[derive(Clone, Default, PartialEq)]
pub struct Settings {
    values: BTreeMap<&'static str, Value>,
    secrets: BTreeSet<&'static str>,
    given: BTreeSet<&'static str>,
}

/// Values that came from the environment or a file may be secrets and are not shown.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        for (name, value) in &self.values {
            match self.is_secret(name) {
                true => map.entry(name, &format_args!("<from outside>")),
                false => map.entry(name, value),
            };
        }
        map.finish()
    }
}

impl Settings {
    /// Sets one value; for the configuration reader and for tests of hosts.
    pub fn set(&mut self, name: &'static str, value: Value) {
        self.values.insert(name, value);
    }

    /// Sets one value and says whether it came from the environment or a file, and so must not be
    /// shown; for the configuration reader.
    pub fn put(&mut self, name: &'static str, value: Value, secret: bool) {
        self.set(name, value);
        self.given.insert(name);
        if secret {
            self.secrets.insert(name);
        } else {
            self.secrets.remove(name);
        }
    }

    /// Whether the value came from the environment or a file: it must not be shown or logged.
    pub fn is_secret(&self, name: &str) -> bool {
        self.secrets.contains(name)
    }

    /// Whether the configuration says it, so that it is no default.
    pub fn is_given(&self, name: &str) -> bool {
        self.given.contains(name)
    }

    /// A setting, or none where it is neither given nor has a default.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    /// All settings by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        self.values.iter().map(|(name, value)| (*name, value))
    }

    /// The text of a Text, Path, RuleSet, Checked or Choice setting.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.get(name)? {
            Value::Text(text) => Some(text),
            Value::Choice(choice) => Some(choice),
            other => mistyped(name, "text", other),
        }
    }

    /// A Bool; absent is false.
    pub fn bool(&self, name: &str) -> bool {
        match self.get(name) {
            None => false,
            Some(Value::Bool(value)) => *value,
            Some(other) => mistyped(name, "bool", other),
        }
    }

    /// An Int or Bytes.
    pub fn int(&self, name: &str) -> Option<i64> {
        match self.get(name)? {
            Value::Int(value) => Some(*value),
            other => mistyped(name, "int", other),
        }
    }

    /// An Int or Bytes with declared bounds that fit `usize`; absent is 0.
    pub fn size(&self, name: &str) -> usize {
        self.int(name)
            .and_then(|value| usize::try_from(value).ok())
            .unwrap_or(0)
    }

    /// A Seconds setting: `Some(None)` never happens; none is unlimited or absent.
    pub fn duration(&self, name: &str) -> Option<Duration> {
        match self.get(name)? {
            Value::Seconds(value) => *value,
            other => mistyped(name, "seconds", other),
        }
    }

    /// An Items setting; absent is empty.
    pub fn list(&self, name: &str) -> &[String] {
        match self.get(name) {
            None => &[],
            Some(Value::List(list)) => list,
            Some(other) => mistyped(name, "list", other),
        }
    }
}

/// A class asked for a setting under another type than it declared: a mistake in the class.
fn mistyped(name: &str, asked: &str, found: &Value) -> ! {
    panic!(
        "setting {name} was asked for as {asked} and is declared as {}",
        found.kind()
    )
}
