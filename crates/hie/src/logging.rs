//! Logs: for a person on a terminal, as JSON lines elsewhere, always on stderr.
//!
//! Owns the set-up of `tracing` and the panic hook. What is logged carries no message content;
//! a panic is logged by its place alone, because its text may quote what was being worked on.

use std::{
    io::{self, IsTerminal},
    sync::Arc,
};

use clap::{Args, ValueEnum};
use tracing::{Level, Metadata};
use tracing_subscriber::{
    EnvFilter,
    fmt::{self, MakeWriter},
};

/// How logs look.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Format {
    /// Human on a terminal, JSON elsewhere
    Auto,
    /// Lines for people
    Human,
    /// One JSON object a line
    Json,
}

/// The options about logs of commands that keep running.
#[derive(Args, Clone, Debug)]
pub(crate) struct LogArgs {
    /// How logs look (on stderr)
    #[arg(long, value_enum, default_value = "auto", env = "HIE_LOG_FORMAT")]
    log_format: Format,
    /// What is logged: a level, or a list such as `info,hie_hosts=debug`
    #[arg(long, value_name = "FILTER", default_value = "info", env = "HIE_LOG")]
    log: String,
}

/// Starts logging for the life of the process.
pub(crate) fn start(args: &LogArgs) -> Result<(), String> {
    let filter = EnvFilter::try_new(&args.log).map_err(|error| {
        format!(
            "`{}` is no log filter ({error}); write a level such as info, or target=level pairs",
            args.log
        )
    })?;
    let on_terminal = io::stderr().is_terminal();
    let human = match args.log_format {
        Format::Auto => on_terminal,
        Format::Human => true,
        Format::Json => false,
    };
    let lines = fmt::fmt().with_env_filter(filter).with_writer(io::stderr);
    let started = if human {
        lines.with_ansi(on_terminal).with_target(false).try_init()
    } else {
        lines.json().flatten_event(true).try_init()
    };
    started.map_err(|error| error.to_string())?;
    log_panics();
    Ok(())
}

/// Logs panics by their place alone.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or("unnamed");
        tracing::error!(
            code = "panic",
            place,
            thread,
            "a panic; its text is not logged because it may quote a message"
        );
    }));
}

/// Starts logging in a worker process: each line goes to `line` with its level, for the engine's
/// log, which adds time and item.
pub(crate) fn start_in_worker(
    level: &str,
    line: impl Fn(&'static str, &str) + Send + Sync + 'static,
) {
    let writer = EngineLog(Arc::new(line));
    let lines = fmt::fmt()
        .with_env_filter(EnvFilter::new(level))
        .with_writer(writer)
        .without_time()
        .with_level(false)
        .with_target(false)
        .with_ansi(false);
    let _ = lines.try_init(); // set already: those lines go there
    log_panics();
}

/// Where the lines of a worker go.
type Line = Arc<dyn Fn(&'static str, &str) + Send + Sync>;

struct EngineLog(Line);

/// One line while it is written.
struct EngineLine {
    level: &'static str,
    text: Vec<u8>,
    line: Line,
}

impl<'a> MakeWriter<'a> for EngineLog {
    type Writer = EngineLine;

    fn make_writer(&'a self) -> EngineLine {
        EngineLine {
            level: "info",
            text: Vec::new(),
            line: self.0.clone(),
        }
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> EngineLine {
        let mut line = self.make_writer();
        line.level = match *meta.level() {
            Level::ERROR => "error",
            Level::WARN => "warn",
            Level::INFO => "info",
            _ => "debug",
        };
        line
    }
}

impl io::Write for EngineLine {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for EngineLine {
    fn drop(&mut self) {
        (self.line)(self.level, &String::from_utf8_lossy(&self.text));
    }
}
