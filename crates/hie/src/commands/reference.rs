//! `hie reference`: the pages of docs/reference that are made from the code.

use std::io::Write;

use clap::{Args, ValueEnum};
use hie_engine::config;

use crate::{
    classes::REGISTRY,
    exit::{self, Failure},
    out::Out,
};

/// Options of `hie reference`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  hie reference > docs/reference/configuration.md
  hie reference exit-codes > docs/reference/exit-codes.md")]
pub(crate) struct Reference {
    /// Which page
    #[arg(value_enum, default_value = "configuration")]
    page: Page,
}

#[derive(Clone, Copy, ValueEnum)]
enum Page {
    /// Every class and setting
    Configuration,
    /// Every exit code
    ExitCodes,
}

pub(crate) fn run(args: &Reference) -> Result<(), Failure> {
    let page = match args.page {
        Page::Configuration => config::reference(&REGISTRY),
        Page::ExitCodes => exit::reference(),
    };
    let mut out = Out::new();
    write!(out, "{page}")?;
    Ok(out.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_page_is_up_to_date() {
        let page = include_str!("../../../../docs/reference/configuration.md");
        let current = config::reference(&REGISTRY);
        assert!(
            page == current,
            "write it anew: hie reference > docs/reference/configuration.md"
        );
    }
}
