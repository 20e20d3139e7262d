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
        let starting = async {
            service.on_init(&self.ctx).await?;
            self.ctx.hooks.set_own(service.hooks());
            service.on_start(&self.ctx).await
        };
        match AssertUnwindSafe(starting).catch_unwind().await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                let tidying = AssertUnwindSafe(service.on_teardown(&self.ctx));
                let _ = tidying.catch_unwind().await;
                return Err(error);
            }
            Err(_) => {
                let why = "the service panicked while it started";
                return Err(HostError::new("panic", why));
            }
        }
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
                if ended.is_ok() {
                    self.let_go(&mut running).await;
                }
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

    /// Lets a service that has ended by itself tidy up.
    async fn let_go(&self, service: &mut Box<dyn BusinessService>) {
        let stopping = async {
            service.on_stop(&self.ctx).await;
            service.on_teardown(&self.ctx).await;
        };
        if AssertUnwindSafe(stopping).catch_unwind().await.is_err() {
            error!(
                item = self.ctx.name(),
                "the service panicked while it stopped"
            );
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
