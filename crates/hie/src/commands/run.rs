//! `hie run`: a production from its start to its end.
//!
//! Owns the order of a process: configuration, data folder, metrics port, production, control
//! socket, and backwards at the stop.

use std::{
    fs::{self, DirBuilder},
    io::ErrorKind,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clap::Args;
use hie_engine::{Production, clock::Clock, config::ProductionConfig, production::Manner};
use hie_worker::ProcessWorkers;
use tokio::task::JoinHandle;

use super::{check, screen};
use crate::{
    classes::REGISTRY,
    control::server::{self, Server},
    desk::Desk,
    exit::{Exit, Failure},
    http,
    logging::{self, LogArgs},
    out::Out,
    reconfigure,
    signals::Signals,
};

/// Options of `hie run`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  hie run examples/nhs-acute-trust.yaml
  HIE_DATA=/var/lib/hie hie run production.yaml    where it says DataPath: ${HIE_DATA:-hie-data}
  hie run production.yaml --log hie_hosts=debug    see more

Ctrl-C or SIGTERM stops it: nothing more is accepted, what is in hand is finished or put back, the
journal is closed. A second signal stops at once, and is safe too. SIGHUP takes the changed
configuration file over, as `hie reload` does.

An item that cannot start does not keep the others from it: it is tried again, and `hie status` says
so. If no service at all can start, the engine ends (exit code 4).")]
pub(crate) struct Run {
    /// The configuration file
    #[arg(value_name = "CONFIG")]
    config: PathBuf,
    /// Take a change of the file over by itself, whatever its `WatchConfig` says
    #[arg(long)]
    watch: bool,
    /// End with exit code 4 if any item cannot start
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    log: LogArgs,
}

pub(crate) fn run(args: &Run) -> Result<(), Failure> {
    let config = check::load(&args.config)?;
    logging::start(&args.log).map_err(|error| Failure::new("usage", error))?;
    serve(config, args, |desk, production| {
        screen::print(&mut Out::new(), desk, production)
    })
}

/// Runs a production until a signal stops it; `started` is called when it stands.
fn serve(
    mut config: ProductionConfig,
    args: &Run,
    started: impl FnOnce(&Desk, &Production) -> std::io::Result<()>,
) -> Result<(), Failure> {
    config.engine.data_path = prepare_folder(&config.engine.data_path)?;
    server::check_path(&config.engine.data_path)?;
    let runtime = runtime()?;
    let until_signal = async |desk: &Desk, production: &Arc<Production>, signals: &mut Signals| {
        if let Err(error) = started(desk, production) {
            tracing::warn!(%error, "the screen could not be shown");
        }
        let watching = tokio::spawn(reconfigure::watch(production.clone(), args.watch));
        let signal = signals.stop_or(|| on_hangup(production)).await;
        tracing::info!(signal, "stopping");
        end(watching).await;
        Ok(())
    };
    let manner = Manner {
        strict: args.strict,
        ..Manner::default()
    };
    let ended = runtime.block_on(Box::pin(live(config, manner, until_signal)));
    // Nothing that is left may hold up the end: what matters is in the journal.
    runtime.shutdown_timeout(Duration::from_millis(200));
    ended
}

/// Reloads beside everything else: a stop must not wait to be heard.
fn on_hangup(production: &Arc<Production>) {
    let production = production.clone();
    tokio::spawn(async move {
        let _ = reconfigure::reload(&production, "SIGHUP", false).await; // told in the log
    });
}

/// The runtime of a process that runs a production.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("hie")
        .build()
        .map_err(|error| Failure::new("runtime", format!("cannot start the runtime: {error}")))
}

/// A production with its metrics page and control socket, running as long as `during` does. The
/// data folder is prepared.
pub(crate) async fn live<During>(
    config: ProductionConfig,
    manner: Manner,
    during: During,
) -> Result<(), Failure>
where
    During: AsyncFnOnce(&Desk, &Arc<Production>, &mut Signals) -> Result<(), Failure>,
{
    let mut signals = Signals::new()
        .map_err(|error| Failure::new("runtime", format!("cannot listen to signals: {error}")))?;
    let page = match config.engine.metrics_address {
        Some(address) => Some(http::bind(address).await?),
        None => None,
    };
    let address = page.as_ref().and_then(|page| page.local_addr().ok());
    let desk = Desk::new(config.engine.data_path.clone(), address);
    let page = page.map(|page| tokio::spawn(http::serve(page, desk.clone())));
    let manner = Manner {
        workers: Some(Arc::new(ProcessWorkers::of_this_program(REGISTRY))),
        ..manner
    };
    let starting = Production::start_in(config, Clock::system(), manner);
    let production = tokio::select! {
        production = starting => production?,
        // What a service that is up already has accepted is on the disk; nothing else is to be kept.
        signal = signals.stop() => return Err(Failure::new("stopped", format!("stopped by {signal} while starting")).exit(Exit::Cut)),
    };
    desk.open(&production);
    let control = match Server::bind(&desk.data) {
        Ok(server) => server,
        Err(failure) => {
            production.stop().await;
            return Err(failure);
        }
    };
    let control = tokio::spawn({
        let desk = desk.clone();
        async move { control.serve(desk).await }
    });
    tracing::info!(
        production = production.config().name,
        items = production.items().len(),
        "started"
    );
    let done = during(&desk, &production, &mut signals).await;
    desk.closing();
    let ended = stop(&production, &mut signals).await;
    end(control).await;
    if let Some(page) = page {
        end(page).await;
    }
    done.and(ended)
}

/// The graceful stop, cut short by a second signal.
async fn stop(production: &Arc<Production>, signals: &mut Signals) -> Result<(), Failure> {
    let cut = tokio::select! {
        () = production.stop() => None,
        signal = signals.stop() => Some(signal),
    };
    if let Some(signal) = cut {
        tracing::warn!(
            signal,
            "a second signal: stopping at once; what was in hand comes again at the next start"
        );
        production.close().await;
        return Err(Failure::said(Exit::Cut));
    }
    match production.broker.store.log_trouble() {
        Some(error) if error.code() == "journal-poisoned" => {
            Err(Failure::new(error.code(), error.to_string()))
        }
        _ => Ok(()),
    }
}

async fn end(task: JoinHandle<()>) {
    task.abort();
    let _ = task.await; // it was told to end
}

/// Makes the data folder, for its owner alone, and gives its absolute path.
pub(crate) fn prepare_folder(data: &Path) -> Result<PathBuf, Failure> {
    let refused = |doing: &str, error: &std::io::Error| {
        let message = format!("cannot {doing} the data folder {}: {error}", data.display());
        let failure = Failure::new("folder", message);
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                failure.help("free space on its disk")
            }
            _ => {
                failure.help("give this user the right to write there, or choose another DataPath")
            }
        }
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data)
        .map_err(|error| refused("make", &error))?;
    let data = fs::canonicalize(data).map_err(|error| refused("find", &error))?;
    let mode = fs::metadata(&data)
        .map_err(|error| refused("look at", &error))?
        .permissions()
        .mode();
    if mode & 0o077 != 0 {
        tracing::warn!(folder = %data.display(), mode = format!("{:o}", mode & 0o777), "other users can enter the data folder, which holds patients' data; chmod 700 it");
    }
    Ok(data)
}
