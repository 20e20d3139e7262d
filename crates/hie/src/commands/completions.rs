//! `hie completions`: what a shell needs to complete our options.

use std::io::Write;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::{cli::Cli, exit::Failure, out::Out};

/// Options of `hie completions`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  hie completions bash > ~/.local/share/bash-completion/completions/hie
  hie completions zsh > ~/.zfunc/_hie
  hie completions fish > ~/.config/fish/completions/hie.fish")]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn run(args: &Completions) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "hie", &mut script);
    let mut out = Out::new();
    out.write_all(&script)?;
    Ok(out.flush()?)
}
