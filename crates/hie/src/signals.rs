//! Signals: which ones stop the engine, and which one has it read its configuration again.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Listens from its making on, so that no early signal is missed.
pub(crate) struct Signals {
    term: Signal,
    int: Signal,
    hup: Signal,
}

impl Signals {
    /// Takes the signals over; needs a runtime.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            hup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next SIGTERM or SIGINT and names it. A SIGHUP at such a time changes nothing:
    /// a closed terminal must not stop an engine.
    pub(crate) async fn stop(&mut self) -> &'static str {
        self.stop_or(|| tracing::info!("SIGHUP changes nothing while the engine starts or stops"))
            .await
    }

    /// The same; `hangup` is called for each SIGHUP until then.
    pub(crate) async fn stop_or(&mut self, mut hangup: impl FnMut()) -> &'static str {
        loop {
            tokio::select! {
                _ = self.term.recv() => return "SIGTERM",
                _ = self.int.recv() => return "SIGINT",
                _ = self.hup.recv() => hangup(),
            }
        }
    }
}
