//! `hie check`: is a configuration right, and if not, everything that is wrong with it.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use clap::Args;
use hie_engine::config::{self, ConfigError, ProductionConfig};
use serde_json::json;

use crate::{
    classes::REGISTRY,
    exit::{Exit, Failure},
    out::{self, Out},
};

/// Options of `hie check`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  hie check production.yaml           every error with its line; exit code 3 if there is one
  hie check production.yaml --json    the same for a program")]
pub(crate) struct Check {
    /// The configuration file
    #[arg(value_name = "CONFIG")]
    config: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Check) -> Result<(), Failure> {
    let mut out = Out::new();
    match read(&args.config) {
        Ok(production) if args.json => {
            let items = production.items.len();
            out.json(
                &json!({ "ok": true, "production": production.name, "items": items, "errors": [] }),
            )?;
        }
        Ok(production) => {
            let items = out::count(production.items.len() as u64, "item");
            let rules = out::count(production.rules.len() as u64, "rule set");
            writeln!(out, "ok: {} with {items} and {rules}", production.name)?;
        }
        Err(errors) if args.json => {
            out.json(&json!({ "ok": false, "errors": errors }))?;
            out.flush()?;
            return Err(Failure::said(Exit::Config));
        }
        Err(errors) => return Err(rejected(&args.config, &errors)),
    }
    Ok(out.flush()?)
}

/// Reads a configuration that must be right to go on.
pub(crate) fn load(path: &Path) -> Result<ProductionConfig, Failure> {
    read(path).map_err(|errors| rejected(path, &errors))
}

/// Reads a configuration, in the environment of this process.
pub(crate) fn read(path: &Path) -> Result<ProductionConfig, Vec<ConfigError>> {
    config::load(path, &REGISTRY, &environment)
}

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Every error on stderr, with its line of the file.
fn rejected(path: &Path, errors: &[ConfigError]) -> Failure {
    let source = std::fs::read_to_string(path).ok();
    eprint!("{}", config::render(errors, source.as_deref()));
    Failure::said(Exit::Config)
}
