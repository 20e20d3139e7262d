//! One host instance as its job has it: of this process or of another, process or operation.
//!
//! Owns which of the host's methods is called for what. When, and what becomes of the result, is
//! the [`job`](crate::job)'s.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;

use crate::{
    HostContext, HostError,
    class::Build,
    config::{ItemConfig, ProductionConfig},
    hooks::{self, Handled, Own},
    host::{BusinessOperation, BusinessProcess, Message},
    workers::{FarHost, Gone},
};

/// One host instance, whatever its kind.
pub(crate) enum Host {
    Process(Box<dyn BusinessProcess>),
    Operation(Box<dyn BusinessOperation>),
    /// It lives in a worker process, which does what the other two are asked for.
    Far(Box<dyn FarHost>),
}

impl Host {
    pub(crate) fn make(
        config: &ItemConfig,
        production: &ProductionConfig,
    ) -> Result<Self, HostError> {
        match config.class.build {
            Build::Process(make) => make(config, production).map(Self::Process),
            Build::Operation(make) => make(config, production).map(Self::Operation),
            Build::Service(_) => Err(HostError::new(
                "wrong-kind",
                "a service has no queue to work off",
            )),
        }
    }

    pub(crate) async fn on_start(&mut self, ctx: &HostContext) -> Result<(), HostError> {
        match self {
            Self::Process(host) => {
                host.on_init(ctx).await?;
                host.on_start(ctx).await
            }
            Self::Operation(host) => {
                host.on_init(ctx).await?;
                host.on_start(ctx).await
            }
            Self::Far(host) => host.on_start(ctx).await,
        }
    }

    /// One try of a message, with the hooks of the class.
    pub(crate) async fn handle(&mut self, ctx: &HostContext, message: &mut Message) -> Handled {
        let own = match self {
            Self::Process(host) => Own::Process(&mut **host),
            Self::Operation(host) => Own::Operation(&mut **host),
            Self::Far(host) => {
                let handled = AssertUnwindSafe(host.on_message(ctx, message));
                let handled = handled.catch_unwind().await;
                return Handled::of(handled.unwrap_or_else(|_| Err(Gone::panicked())));
            }
        };
        hooks::handle(own, ctx, message).await
    }

    pub(crate) async fn on_stop(&mut self, ctx: &HostContext) {
        match self {
            Self::Process(host) => host.on_stop(ctx).await,
            Self::Operation(host) => host.on_stop(ctx).await,
            Self::Far(host) => host.on_stop(ctx).await,
        }
        self.on_teardown(ctx).await;
    }

    pub(crate) async fn on_teardown(&mut self, ctx: &HostContext) {
        match self {
            Self::Process(host) => host.on_teardown(ctx).await,
            Self::Operation(host) => host.on_teardown(ctx).await,
            Self::Far(_) => {} // its worker does it
        }
    }
}
