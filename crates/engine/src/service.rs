//! The supervised life of a service: started once before the production counts as started, then
//! kept running; an error or a panic ends in another start after a growing pause.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
use tokio::sync::oneshot;
use tracing::error;

use crate::{
    HostError,
    class::Build,
    config::{ItemConfig, ProductionConfig},
    context::ServiceContext,
    host::BusinessService,
    stats::ItemState,
    workers::WorkerPool,
};

/// The longest pause between two starts.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// One service.
pub(crate) struct ServiceJob {
    pub(crate) production: Arc<ProductionConfig>,
    pub(crate) item: Arc<ItemConfig>,
    pub(crate) ctx: ServiceContext,
    /// Where it lives, if not in this process.
    pub(crate) workers: Option<Arc<dyn WorkerPool>>,
}

impl ServiceJob {
    /// The whole life: tells how the start went, and goes on where it went well.
    pub(crate) async fn live(self, told: oneshot::Sender<Result<(), HostError>>) {
        match self.start().await {
            Ok(service) => {
                let _ = told.send(Ok(())); // nobody listens when the start was given up
                self.run(service).await;
            }
            Err(error) => {
                let _ = told.send(Err(error));
            }
        }
    }

    /// Makes the service and lets it take its resources.
    async fn start(&self) -> Result<Box<dyn BusinessService>, HostError> {
        let Build::Service(make) = self.item.class.build else {
            return Err(HostError::new(
                "wrong-kind",
                "only a service can be started as one",
            ));
        };
        let mut service = match &self.workers {
            Some(pool) => pool.service(),
            None => make(&self.item, &self.production)?,
        };
        let started = AssertUnwindSafe(service.on_start(&self.ctx))
            .catch_unwind()
            .await;
        started.unwrap_or_else(|_| {
            Err(HostError::new(
                "panic",
                "the service panicked while it started",
            ))
        })?;
        self.ctx.stats.set_state(ItemState::Running);
        Ok(service)
    }

    /// Runs the service until the production stops, starting it again when it ends early.
    async fn run(self, service: Box<dyn BusinessService>) {
        let mut service = Some(service);
        let mut pause = Duration::from_secs(1);
        loop {
            if let Some(mut running) = service.take() {
                let ended = AssertUnwindSafe(running.run(&self.ctx))
                    .catch_unwind()
                    .await;
                if self.ctx.stopping.is_cancelled() {
                    return;
                }
                self.failed(match ended {
                    Ok(Ok(())) => HostError::new(
                        "service-ended",
                        "the service ended although it was not stopped",
                    ),
                    Ok(Err(error)) => error,
                    Err(_) => HostError::new("panic", "the service panicked"),
                });
            }
            tokio::select! {
                () = self.ctx.stopping.cancelled() => return,
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
            }
            match self.start().await {
                Ok(started) => {
                    service = Some(started);
                    pause = Duration::from_secs(1);
                }
                Err(error) => self.failed(error),
            }
        }
    }

    fn failed(&self, error: HostError) {
        error!(
            item = self.ctx.name(),
            code = error.code,
            "{}",
            error.message
        );
        self.ctx.stats.set_state(ItemState::Error);
        self.ctx.stats.note_error(error.message);
    }
}
