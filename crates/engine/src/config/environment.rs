//! Defaults from the environment: `EXECUTION_MODE`, `CONCURRENCY`, `MESSAGING_PATTERN`.
//!
//! Which setting has which variable is said by its declaration. What the file says always counts
//! more; a variable with a wrong value is an error, once, wherever its default would count.

use super::{error::Problem, lines::Place, reader::Reader};
use crate::{
    class::Build,
    setting::{SettingDef, Settings, Value},
};

impl Reader<'_> {
    /// What the environment gives as the default of a setting.
    pub(crate) fn environment_default(&mut self, def: &SettingDef) -> Option<Value> {
        let variable = def.env?;
        let text = (self.env)(variable)?;
        let text = text.trim();
        if text.is_empty() {
            return None;
        }
        match def.kind.parse(text) {
            Ok(value) => Some(value),
            Err(why) => {
                if self.bad_variables.insert(variable) {
                    let message = format!(
                        "the environment variable {variable}, the default of {}, has a wrong value: {why}",
                        def.name
                    );
                    let help = format!("correct {variable}, or unset it");
                    self.errors
                        .add(Problem::new(Place::START, message).help(help));
                }
                None
            }
        }
    }

    /// The pool size of an item that does not give one.
    pub(crate) fn pool_size_default(
        &mut self,
        def: &SettingDef,
        build: &Build,
        settings: &Settings,
    ) -> Option<u16> {
        let one_job = settings.text("ExecutionMode") == Some("single_process");
        if one_job || matches!(build, Build::Service(_)) {
            return None;
        }
        match self.environment_default(def)? {
            Value::Int(size) => u16::try_from(size).ok(),
            _ => None,
        }
    }
}
