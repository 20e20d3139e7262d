//! INIT: what a worker must know to start, as one map.

use hie_engine::setting::{Settings, Value};

use super::{Frame, Malformed, Packer, Unpacker};

/// See the reference page. `Debug` leaves out the settings and the text, which may hold secrets.
#[derive(Clone, PartialEq, Default)]
pub struct Init {
    /// The version that is spoken from now on.
    pub protocol: u32,
    /// The name of the item.
    pub item: String,
    /// Its class.
    pub class: String,
    /// `Service`, `Process` or `Operation`.
    pub kind: String,
    /// The number of this worker, from 0.
    pub worker: u16,
    /// How many jobs it has.
    pub jobs: u16,
    /// The settings as checked.
    pub settings: Vec<(String, Plain)>,
    /// `TargetConfigNames`.
    pub targets: Vec<String>,
    /// The configuration file.
    pub config_file: String,
    /// Where Python looks for modules first.
    pub python_path: Vec<String>,
    /// The longest frame of either side.
    pub max_frame: usize,
    /// `error`, `warn`, `info` or `debug`.
    pub log_level: String,
    /// What is known of classes that are not built in: name and description. So that a worker can
    /// check the configuration without asking an interpreter.
    pub foreign: Vec<(String, String)>,
    /// The configuration text, for classes that are built in.
    pub config_text: String,
}

impl std::fmt::Debug for Init {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Init")
            .field("item", &self.item)
            .field("class", &self.class)
            .field("worker", &self.worker)
            .field("jobs", &self.jobs)
            .finish_non_exhaustive()
    }
}

/// A setting's value as it travels.
#[derive(Clone, PartialEq, Debug)]
#[allow(missing_docs)] // the names say it
pub enum Plain {
    Nil,
    Bool(bool),
    Int(i64),
    Seconds(f64),
    Text(String),
    List(Vec<String>),
}

impl Plain {
    fn of(value: &Value) -> Self {
        match value {
            Value::Text(text) => Self::Text(text.clone()),
            Value::Bool(value) => Self::Bool(*value),
            Value::Int(value) => Self::Int(*value),
            Value::Seconds(None) => Self::Nil,
            Value::Seconds(Some(time)) => Self::Seconds(time.as_secs_f64()),
            Value::Choice(name) => Self::Text((*name).to_owned()),
            Value::List(list) => Self::List(list.clone()),
        }
    }

    fn pack(&self, out: &mut Packer<'_>) {
        match self {
            Self::Nil => out.nil(),
            Self::Bool(value) => out.bool(*value),
            Self::Int(value) => out.int(*value),
            Self::Seconds(value) => out.float(*value),
            Self::Text(text) => out.str(text),
            Self::List(list) => out.strs(list.iter().map(String::as_str)),
        }
    }
}

/// The settings of an item as they travel.
pub fn plain(settings: &Settings) -> Vec<(String, Plain)> {
    settings
        .iter()
        .map(|(name, value)| (name.to_owned(), Plain::of(value)))
        .collect()
}

impl Init {
    pub(super) fn pack(&self, out: &mut Packer<'_>) {
        out.map(13);
        out.str("protocol");
        out.uint(self.protocol.into());
        for (key, text) in [
            ("item", &self.item),
            ("class", &self.class),
            ("kind", &self.kind),
            ("config_file", &self.config_file),
            ("log_level", &self.log_level),
        ] {
            out.str(key);
            out.str(text);
        }
        out.str("worker");
        out.uint(self.worker.into());
        out.str("jobs");
        out.uint(self.jobs.into());
        out.str("max_frame");
        out.uint(self.max_frame as u64);
        out.str("settings");
        out.map(self.settings.len());
        for (name, value) in &self.settings {
            out.str(name);
            value.pack(out);
        }
        for (key, list) in [
            ("targets", &self.targets),
            ("python_path", &self.python_path),
        ] {
            out.str(key);
            out.strs(list.iter().map(String::as_str));
        }
        out.str("foreign");
        out.map(self.foreign.len());
        for (name, description) in &self.foreign {
            out.str(name);
            out.str(description);
        }
    }

    /// Reads the frame. The settings are left out: a worker of ours reads the text itself.
    pub(super) fn read(frame: &Frame) -> Result<Self, Malformed> {
        let mut init = Self::default();
        let mut values = Unpacker::new(&frame.header);
        let number = |n: u64| u16::try_from(n).map_err(|_| Malformed("a number is too large"));
        for _ in 0..values.map()? {
            match values.str()? {
                "protocol" => {
                    init.protocol = values.uint()?.try_into().unwrap_or(u32::MAX);
                }
                "item" => init.item = values.str()?.to_owned(),
                "class" => init.class = values.str()?.to_owned(),
                "kind" => init.kind = values.str()?.to_owned(),
                "config_file" => init.config_file = values.str()?.to_owned(),
                "log_level" => init.log_level = values.str()?.to_owned(),
                "worker" => init.worker = number(values.uint()?)?,
                "jobs" => init.jobs = number(values.uint()?)?,
                "max_frame" => {
                    init.max_frame = values.uint()?.try_into().unwrap_or(usize::MAX);
                }
                "targets" => init.targets = values.strs()?,
                "python_path" => init.python_path = values.strs()?,
                "foreign" => {
                    for _ in 0..values.map()? {
                        let name = values.str()?.to_owned();
                        init.foreign.push((name, values.str()?.to_owned()));
                    }
                }
                _ => values.skip()?,
            }
        }
        init.config_text = std::str::from_utf8(&frame.body)
            .map_err(|_| Malformed("the configuration is not UTF-8"))?
            .to_owned();
        Ok(init)
    }
}
