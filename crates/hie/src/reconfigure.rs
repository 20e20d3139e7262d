//! Change without stopping, the process's side: the configuration file read again, and handed to
//! the production.
//!
//! Owns where the new configuration comes from and who asks: a command, SIGHUP, a change of the
//! file. What changes, and in which order, is the engine's.

use std::{fs, os::unix::fs::MetadataExt, path::Path, sync::Arc, time::Duration};

use hie_engine::{
    Production,
    config::{self, ProductionConfig},
    reload::{Plan, ReloadError},
};

use crate::{commands::check, exit::Failure, out};

/// How often a watched file is looked at. Looking is cheap and works on every file system.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Reads the file again and takes it over; `dry_run` only says what it would change. After an error
/// everything is as it was.
pub(crate) async fn reload(
    production: &Arc<Production>,
    by: &str,
    dry_run: bool,
) -> Result<Plan, Failure> {
    let (file, data) = {
        let config = production.config();
        (config.file.clone(), config.engine.data_path.clone())
    };
    let read = tokio::task::spawn_blocking(move || read(&file, &data)).await;
    let read = read.unwrap_or_else(|_| Err(Failure::new("panic", "reading the file panicked")));
    let new = match read {
        Ok(new) => new,
        Err(failure) => {
            if !dry_run {
                let first = failure.message.lines().next().unwrap_or_default();
                production.note_refused(by, first);
                tracing::error!(
                    by,
                    alert = "reload-failed",
                    code = failure.code,
                    "{}",
                    failure.message
                );
            }
            return Err(failure);
        }
    };
    let done = if dry_run {
        production.plan(&new)
    } else {
        production.reload(new, by).await
    };
    done.map_err(|error| refused(&error))
}

fn refused(error: &ReloadError) -> Failure {
    Failure::new(error.code(), error.to_string())
}

/// The file as it is now; its data folder as `hie run` names it.
fn read(file: &Path, data: &Path) -> Result<ProductionConfig, Failure> {
    let mut new = check::read(file).map_err(|errors| {
        let source = fs::read_to_string(file).ok();
        let count = out::count(errors.len() as u64, "error");
        let listed = config::render(&errors, source.as_deref());
        let message = format!("the configuration has {count}, so nothing was changed\n{listed}");
        Failure::new("config", message.trim_end())
    })?;
    if fs::canonicalize(&new.engine.data_path).is_ok_and(|path| path == data) {
        new.engine.data_path = data.to_owned();
    }
    Ok(new)
}

/// Reloads when the file has changed, for as long as it runs: always, or while the configuration in
/// force says so (`WatchConfig`).
pub(crate) async fn watch(production: Arc<Production>, always: bool) {
    let file = production.config().file.clone();
    let (mut known, mut before) = (look(&file), None);
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let now = look(&file);
        let wanted = always || production.config().engine.watch_config;
        if !wanted {
            known = now;
            continue;
        }
        // Two looks that agree: whoever writes it has finished. A file that is away is being
        // replaced.
        let whole = now.is_some() && now == before;
        before.clone_from(&now);
        if whole && now != known {
            known = now;
            let _ = reload(&production, "a change of the file", false).await; // told in the log
        }
    }
}

/// What tells one version of a file from another.
#[derive(Clone, PartialEq)]
struct Look {
    /// Seconds and nanoseconds.
    modified: (i64, i64),
    len: u64,
    inode: u64,
}

fn look(file: &Path) -> Option<Look> {
    let found = fs::metadata(file).ok()?;
    Some(Look {
        modified: (found.mtime(), found.mtime_nsec()),
        len: found.len(),
        inode: found.ino(),
    })
}
