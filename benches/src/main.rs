//! `hie-bench`: every figure of `docs/benchmarks.md` in one run, each with the baselines of the same
//! run, medians of three.
//!
//! Engine, senders, receivers and baselines are processes of their own; this one only asks and
//! writes down. A figure is a ratio wherever the machine would be most of it. A message that was
//! acknowledged and is missing voids its row.
//!
//! Beside this module: [`figure`] (the table and its bounds), [`rows`] (the measurements),
//! [`engine`] and [`child`] (processes), [`peer`] (this binary as a peer), [`page`] (what is written).
#![allow(clippy::print_stdout)] // the table is what this program is for

mod child;
mod counted;
mod engine;
mod figure;
mod machine;
mod matrix;
mod page;
mod peer;
mod probe;
mod procfs;
mod production;
mod rows;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::Parser;

use figure::{Figure, ROWS, Row, Sample};
use machine::Machine;

/// What went wrong, for the one who started it.
type Fault = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, Parser)]
#[command(
    version,
    about = "Measures the engine end to end and holds it against its goals",
    max_term_width = 100
)]
struct Cli {
    /// Runs of each row; the median counts
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Length of each measurement in seconds
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Only these rows, or those that begin so: ack, route, single, p99, parse, rss, start, disk, allocations, cpu
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// One short run of each row, to see that all works; its figures say little
    #[arg(long)]
    quick: bool,
    /// Messages that lie in the store of the row start-stored
    #[arg(long, default_value_t = 10_000_000)]
    stored: u64,
    /// Messages that wait in the row rss-queued
    #[arg(long, default_value_t = 1_000_000)]
    queued: u64,
    /// Jobs of the routing engine in the rows with a route
    #[arg(long, default_value_t = 1)]
    router_pool: usize,
    /// Jobs, and so connections to the receiver, of the operation there
    #[arg(long, default_value_t = 64)]
    operation_pool: usize,
    /// Measure this binary [default: build the release binary and take it]
    #[arg(long)]
    engine: Option<PathBuf>,
    /// Where the stores lie; on the disk that is to be measured [default: target/bench]
    #[arg(long)]
    data: Option<PathBuf>,
    /// Keep the stores and logs of the engine
    #[arg(long)]
    keep: bool,
    /// Write the page of figures to this file
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Modes times patterns, and what modes and queues cost
    Matrix(matrix::Matrix),
    /// This binary as the other end of a measurement
    #[command(hide = true)]
    Peer {
        #[command(subcommand)]
        role: peer::Role,
    },
}

/// What the measurements share.
struct Bench {
    engine: PathBuf,
    work: PathBuf,
    keep: bool,
    seconds: Duration,
    warmup: Duration,
    idle: Duration,
    /// How long nothing may move before a run is given up.
    patience: Duration,
    stored: u64,
    queued: u64,
    counted: u64,
    on_disk: u64,
    router_pool: usize,
    operation_pool: usize,
    stored_site: Option<rows::Stored>,
    folders: std::cell::Cell<u32>,
}

impl Bench {
    fn new(cli: &Cli, root: &Path) -> Result<Self, Fault> {
        let seconds = if cli.quick {
            cli.seconds.min(2.0)
        } else {
            cli.seconds
        };
        let data = cli
            .data
            .clone()
            .unwrap_or_else(|| root.join("target/bench"));
        let work = std::path::absolute(data)?.join(format!("run-{}", std::process::id()));
        std::fs::create_dir_all(&work)?;
        let engine = match &cli.engine {
            Some(engine) => std::path::absolute(engine)?,
            None => engine::build(root)?,
        };
        let short = |full: u64, quick: u64| if cli.quick { full.min(quick) } else { full };
        Ok(Self {
            engine,
            work,
            keep: cli.keep,
            seconds: Duration::try_from_secs_f64(seconds)?,
            warmup: Duration::from_secs(if cli.quick { 1 } else { 2 }),
            idle: Duration::from_secs(if cli.quick { 5 } else { 20 }),
            patience: Duration::from_secs(60),
            stored: short(cli.stored, 20_000),
            queued: short(cli.queued, 20_000),
            counted: short(100_000, 10_000),
            on_disk: short(200_000, 20_000),
            router_pool: cli.router_pool,
            operation_pool: cli.operation_pool,
            stored_site: None,
            folders: std::cell::Cell::new(0),
        })
    }

    /// A name for a folder or file of its own.
    fn folder(&self, name: &str) -> PathBuf {
        self.folders.set(self.folders.get() + 1);
        self.work.join(format!("{name}-{}", self.folders.get()))
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match &cli.command {
        Some(Command::Peer { role }) => peer::play(role),
        Some(Command::Matrix(args)) => concurrency(&cli, args),
        None => measure(&cli),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hie-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn concurrency(cli: &Cli, args: &matrix::Matrix) -> Result<(), Fault> {
    let root = root();
    let bench = Bench::new(cli, &root)?;
    let done = matrix::run(&bench, &root, args);
    if !bench.keep {
        let _ = std::fs::remove_dir_all(&bench.work); // what is left lies under target/
    }
    done
}

/// The root of the tree that this was built from.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

fn measure(cli: &Cli) -> Result<(), Fault> {
    let (root, rows) = (root(), chosen(&cli.only)?);
    if cli.runs == 0 {
        return Err("--runs must be 1 or more".into());
    }
    let mut bench = Bench::new(cli, &root)?;
    let machine = Machine::here(&root, &bench.work);
    if machine.load_before > 0.5 {
        eprintln!(
            "note: the machine is not quiet (load {}), the figures will not be either",
            machine.load_before
        );
    }
    let runs = if cli.quick { 1 } else { cli.runs };
    let mut figures = Vec::new();
    for row in rows {
        figures.push(Figure::of(row, repeat(&mut bench, row, runs)));
    }
    drop(bench.stored_site.take());
    if !bench.keep {
        let _ = std::fs::remove_dir_all(&bench.work); // what is left lies under target/
    }
    println!("{}", page::table(&figures));
    let json = page::save(&root, &machine, &figures)?;
    println!("written to {}", json.display());
    if let Some(path) = &cli.write {
        page::write(&root, path, &machine, &command(), &figures)?;
        println!("written to {}", path.display());
    }
    Ok(())
}

/// The runs of one row; one that fails voids it and says why, and the other rows go on.
fn repeat(bench: &mut Bench, row: &Row, runs: usize) -> Vec<Sample> {
    let mut samples = Vec::new();
    for run in 1..=runs {
        eprintln!("{} ({run} of {runs})", row.title);
        let sample = rows::run(bench, row)
            .unwrap_or_else(|error| Sample::new(f64::NAN).void_if(Some(error.to_string())));
        let void = sample
            .void
            .as_ref()
            .map(|reason| format!("  VOID: {reason}"))
            .unwrap_or_default();
        eprintln!(
            "  {}  ({}){void}",
            row.unit.show(sample.value),
            sample.line()
        );
        samples.push(sample);
    }
    samples
}

/// The rows that were asked for, in the order of the table.
fn chosen(only: &[String]) -> Result<Vec<&'static Row>, Fault> {
    let known = |name: &String| ROWS.iter().any(|row| row.id.starts_with(name.as_str()));
    if let Some(unknown) = only.iter().find(|name| !known(name)) {
        let ids: Vec<_> = ROWS.iter().map(|row| row.id).collect();
        return Err(format!("there is no row {unknown}; rows are {}", ids.join(", ")).into());
    }
    let wanted =
        |row: &&Row| only.is_empty() || only.iter().any(|name| row.id.starts_with(name.as_str()));
    Ok(ROWS.iter().filter(wanted).collect())
}

/// The command that repeats this run.
fn command() -> String {
    let mut words = vec!["cargo run --release -p hie-bench --".to_owned()];
    words.extend(std::env::args().skip(1));
    words.join(" ").trim_end_matches(" --").to_owned()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn rows_are_chosen_by_the_beginning_of_their_names() {
        let ids = |only: &[&str]| -> Vec<&str> {
            let only: Vec<String> = only.iter().map(|&name| name.to_owned()).collect();
            chosen(&only).unwrap().iter().map(|row| row.id).collect()
        };
        assert_eq!(ids(&["parse", "ack"]), ["ack", "parse-adt", "parse-oru"]);
        assert_eq!(ids(&[]).len(), ROWS.len());
        assert!(chosen(&["akc".to_owned()]).is_err());
    }
}
