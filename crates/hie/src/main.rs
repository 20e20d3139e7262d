//! The `hie` binary: parse, run, map errors to exit codes.
//!
//! Owns the wiring of a process (allocator, arguments, exit code). What the commands do stands in
//! [`commands`], one file each.

#![forbid(unsafe_code)]

mod classes;
mod cli;
mod commands;
mod control;
mod demo;
mod desk;
mod exit;
mod http;
mod logging;
mod metrics;
mod out;
mod query;
mod reconfigure;
mod signals;
mod times;

use std::process::ExitCode;

use clap::Parser;

/// Bodies are many and short-lived; the system's allocator keeps what it freed in bursts.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match commands::run(cli::Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
