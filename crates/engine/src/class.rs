//! Classes: what a host can do, where it is built, and which settings it has.
//!
//! A class is one static value; the registry is the list of them that the binary was built with.
//! The engine knows this trait side only and never a concrete class.

use crate::{
    HostError,
    config::{Finding, ItemConfig, ProductionConfig, PythonConfig},
    host::{BusinessOperation, BusinessProcess, BusinessService},
    setting::{SettingDef, Target},
};

/// Makes a host from the settings of its item; called once for each job.
pub type Make<T> = fn(&ItemConfig, &ProductionConfig) -> Result<Box<T>, HostError>;

/// Which kind of host a class is, and how one is made.
#[derive(Clone, Copy)]
pub enum Build {
    /// Lets messages in.
    Service(Make<dyn BusinessService>),
    /// Routes, transforms, orchestrates.
    Process(Make<dyn BusinessProcess>),
    /// Lets messages out.
    Operation(Make<dyn BusinessOperation>),
}

impl Build {
    /// `Service`, `Process` or `Operation`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Service(_) => "Service",
            Self::Process(_) => "Process",
            Self::Operation(_) => "Operation",
        }
    }
}

/// A host class.
pub struct Class {
    /// Its canonical short name, e.g. `HL7TCPService`.
    pub name: &'static str,
    /// The IRIS and OpenLI dotted names under which it is also known.
    pub aliases: &'static [&'static str],
    /// What it does, in one sentence.
    pub summary: &'static str,
    /// Its settings: own and shared tables, in the order in which the reference shows them.
    pub settings: &'static [&'static [SettingDef]],
    /// How a host is made.
    pub build: Build,
    /// What the types of single settings cannot say: relations between settings.
    pub check: fn(&ItemConfig, &ProductionConfig) -> Vec<Finding>,
}

impl Class {
    /// All settings in order.
    pub fn settings(&self) -> impl Iterator<Item = &'static SettingDef> + use<> {
        self.settings.iter().flat_map(|table| table.iter())
    }

    /// The setting of this name or alias (exact case), for this target if one is given.
    pub fn setting(&self, name: &str, target: Option<Target>) -> Option<&'static SettingDef> {
        self.settings()
            .filter(|def| target.is_none_or(|target| target == def.target))
            .find(|def| def.name == name || def.aliases.contains(&name))
    }
}

impl std::fmt::Debug for Class {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// The classes that this binary knows, and who knows of more.
#[derive(Clone, Copy, Debug)]
pub struct Registry {
    classes: &'static [&'static Class],
    foreign: Option<Foreign>,
}

/// Finds a class that is not built in (a Python class) by its name; none where the name cannot be
/// that of one.
pub type Foreign =
    fn(name: &str, python: &PythonConfig) -> Option<Result<&'static Class, Unresolved>>;

/// Why a class that is not built in cannot be had.
#[derive(Clone, Debug)]
pub struct Unresolved {
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

impl Registry {
    /// The built-in classes alone.
    pub const fn new(classes: &'static [&'static Class]) -> Self {
        Self {
            classes,
            foreign: None,
        }
    }

    /// The same with somebody who knows of more.
    pub const fn with_foreign(mut self, foreign: Foreign) -> Self {
        self.foreign = Some(foreign);
        self
    }

    /// The built-in classes.
    pub fn classes(&self) -> &'static [&'static Class] {
        self.classes
    }

    /// A class that is not built in; none where there can be none of this name.
    pub fn foreign(
        &self,
        name: &str,
        python: &PythonConfig,
    ) -> Option<Result<&'static Class, Unresolved>> {
        self.foreign.and_then(|find| find(name, python))
    }

    /// By canonical name or alias, exact case.
    pub fn find(&self, name: &str) -> Option<&'static Class> {
        self.classes
            .iter()
            .copied()
            .find(|class| class.name == name || class.aliases.contains(&name))
    }
}
