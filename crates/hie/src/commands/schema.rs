//! `hie schema`: the JSON schema of the configuration.

use std::io::Write;

use clap::Args;
use hie_engine::config;

use crate::{classes::REGISTRY, exit::Failure, out::Out};

/// Options of `hie schema`.
#[derive(Args)]
#[command(after_help = "\
Example:
  hie schema > hie.schema.json
  # then, on the first line of a configuration, for editors with a YAML language server:
  # yaml-language-server: $schema=hie.schema.json")]
pub(crate) struct Schema {}

pub(crate) fn run(_: &Schema) -> Result<(), Failure> {
    let mut out = Out::new();
    let schema = serde_json::to_string_pretty(&config::schema(&REGISTRY));
    let schema = schema.map_err(|error| Failure::new("schema", error.to_string()))?;
    writeln!(out, "{schema}")?;
    Ok(out.flush()?)
}
