//! The supervised life of a service: started, run until it is stopped, and started again when it
//! fails, as its [`supervisor`](crate::supervisor) says.

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures_util::FutureExt;
use tracing::error;

use crate::{
    HostError,
    class::Build,
    config::{ItemConfig, ProductionConfig},
    context::ServiceContext,
    host::BusinessService,
    supervisor::Post,
    workers::WorkerPool,
};

/// One service.
pub(crate) struct ServiceJob {
    pub(crate) production: Arc<ProductionConfig>,
    pub(crate) item: Arc<ItemConfig>,
    pub(crate) ctx: ServiceContext,
    /// Where it lives, if not in this process.
    pub(crate) workers: Option<Arc<dyn WorkerPool>>,
    pub(crate) post: Post,
}

impl ServiceJob {
    /// The whole life: started, run, and started again as the supervisor says.
    pub(crate) async fn live(self) {
        loop {
            let ended = match self.start().await {
                Ok(service) => self.run(service).await,
                Err(error) => Err(error),
            };
            let next = match ended {
                Ok(()) => self.post.ended(),
                Err(error) => self.post.failed(&error),
            };
            if !self.post.wait(next).await {
                return;
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
        let starting = async {
            let mut service = match &self.workers {
                Some(pool) => pool.service(),
                None => make(&self.item, &self.production)?,
            };
            match self.begin(&mut service).await {
                Ok(()) => Ok(service),
                Err(error) => {
                    let tidying = AssertUnwindSafe(service.on_teardown(&self.ctx));
                    let _ = tidying.catch_unwind().await;
                    Err(error)
                }
            }
        };
        let started = AssertUnwindSafe(starting).catch_unwind().await;
        let panicked = || HostError::new("panic", "the service panicked while it started");
        started.unwrap_or_else(|_| Err(panicked()))
    }

    async fn begin(&self, service: &mut Box<dyn BusinessService>) -> Result<(), HostError> {
        service.on_init(&self.ctx).await?;
        self.ctx.set_hooks(service.hooks());
        service.on_start(&self.ctx).await
    }

    /// Runs the service until it ends, by itself or because it is stopped.
    async fn run(&self, mut service: Box<dyn BusinessService>) -> Result<(), HostError> {
        self.post.up();
        let ended = AssertUnwindSafe(service.run(&self.ctx))
            .catch_unwind()
            .await;
        if ended.is_ok() {
            self.let_go(&mut service).await;
        }
        ended.unwrap_or_else(|_| Err(HostError::new("panic", "the service panicked")))
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
}
