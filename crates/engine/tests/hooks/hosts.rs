//! Hosts with hooks that do what the body of a message says.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use hie_engine::{
    HostContext, HostError, ServiceContext,
    broker::Accepted,
    class::{Build, Class},
    config::ItemConfig,
    hooks::{Before, ServiceHooks},
    host::{
        BusinessOperation, BusinessProcess, BusinessService, GiveUp, Message, Origin, Outcome,
        Verdict,
    },
};

use crate::support::*;

pub(crate) fn says(body: &[u8], word: &str) -> bool {
    String::from_utf8_lossy(body).split(' ').any(|w| w == word)
}

pub(crate) fn told(what: &str) -> HostError {
    HostError::new("told", format!("{what} as told"))
}

/// Does in each hook what the body's words say: `b:…` before, `m:…` itself, `e:…` on an error,
/// `a:…` after.
pub(crate) struct Hooked {
    targets: Vec<String>,
    /// Messages that this instance has had.
    had: usize,
}

impl Hooked {
    fn before(&self, message: &mut Message) -> Result<Before, HostError> {
        let body = message.body.0.clone();
        if says(&body, "b:change") {
            message.body.0 = [&body[..], b" changed"].concat().into();
        }
        if says(&body, "b:panic") {
            panic!("as told");
        }
        match () {
            () if says(&body, "b:tag") => Ok(Before::Tag("ward".into())),
            () if says(&body, "b:reject") => Ok(Before::Reject("not for us".into())),
            () if says(&body, "b:fail") => Err(told("before failed")),
            () => Ok(Before::Go),
        }
    }

    fn message(&mut self, ctx: &HostContext, message: &Message) -> Result<Outcome, HostError> {
        let body = &message.body;
        let text = String::from_utf8_lossy(body).into_owned();
        self.had += 1;
        let mut seen = SEEN.lock().unwrap();
        let all = seen.entry(ctx.name().into()).or_default();
        all.push(format!("{text} ({})", self.had));
        let tries = all.len();
        drop(seen);
        match () {
            () if says(body, "m:fail") => return Err(told("it failed")),
            () if says(body, "m:panic") => panic!("as told"),
            () if says(body, "m:thrice") && tries < 3 => {
                return Ok(Outcome::new(Verdict::Retry(GiveUp::Fail), "once more"));
            }
            () => {}
        }
        let targets = self.targets.iter().cloned();
        Ok(targets.fold(Outcome::completed().with_note("routed"), Outcome::and_send))
    }

    fn error(&self, message: &Message) -> Result<Option<Outcome>, HostError> {
        match () {
            () if says(&message.body, "e:recover") => {
                Ok(Some(Outcome::completed().with_reply(Bytes::from("NACK"))))
            }
            () if says(&message.body, "e:fail") => Err(told("recovery failed")),
            () if says(&message.body, "e:panic") => panic!("as told"),
            () => Ok(None),
        }
    }

    fn after(&self, message: &Message, outcome: &Outcome) -> Result<Option<Outcome>, HostError> {
        let body = &message.body;
        match () {
            () if says(body, "a:change") => Ok(Some(
                outcome.clone().with_reply(Bytes::from("from the hook")),
            )),
            () if says(body, "a:retry") => {
                Ok(Some(Outcome::new(Verdict::Retry(GiveUp::Fail), "no")))
            }
            () if says(body, "a:fail") => Err(told("after failed")),
            () if says(body, "a:panic") => panic!("as told"),
            () => Ok(None),
        }
    }
}

macro_rules! hooked_as {
    ($kind:ident) => {
        #[async_trait]
        impl $kind for Hooked {
            async fn on_init(&mut self, ctx: &HostContext) -> Result<(), HostError> {
                lived(ctx.name(), "init");
                Ok(())
            }
            async fn on_start(&mut self, ctx: &HostContext) -> Result<(), HostError> {
                lived(ctx.name(), "start");
                Ok(())
            }
            async fn on_stop(&mut self, ctx: &HostContext) {
                lived(ctx.name(), "stop");
            }
            async fn on_teardown(&mut self, ctx: &HostContext) {
                lived(ctx.name(), "teardown");
            }
            async fn on_before_process(
                &mut self,
                _: &HostContext,
                message: &mut Message,
            ) -> Result<Before, HostError> {
                tokio::task::yield_now().await;
                self.before(message)
            }
            async fn on_message(
                &mut self,
                ctx: &HostContext,
                message: &Message,
            ) -> Result<Outcome, HostError> {
                if says(&message.body, "m:ask") {
                    let target = self.targets[0].clone();
                    let wait = Duration::from_secs(20);
                    let response = ctx
                        .send_request_sync(
                            &target,
                            None,
                            Some(wait),
                            hie_store::Priority::Normal,
                            None,
                        )
                        .await?;
                    return Ok(Outcome::completed().with_reply(response.reply));
                }
                self.message(ctx, message)
            }
            async fn on_process_error(
                &mut self,
                _: &HostContext,
                message: &Message,
                _: &Outcome,
            ) -> Result<Option<Outcome>, HostError> {
                self.error(message)
            }
            async fn on_after_process(
                &mut self,
                _: &HostContext,
                message: &Message,
                outcome: &Outcome,
            ) -> Result<Option<Outcome>, HostError> {
                self.after(message, outcome)
            }
        }
    };
}

hooked_as!(BusinessProcess);
hooked_as!(BusinessOperation);

pub(crate) fn lived(item: &str, what: &str) {
    let mut seen = SEEN.lock().unwrap();
    seen.entry(format!("{item} lived"))
        .or_default()
        .push(what.into());
}

pub(crate) fn hooked(item: &ItemConfig) -> Hooked {
    Hooked {
        targets: item.settings.list("TargetConfigNames").to_vec(),
        had: 0,
    }
}

pub(crate) static PROCESS: Class = class(
    "Hooked",
    Build::Process(|item, _| Ok(Box::new(hooked(item)))),
);
pub(crate) static OPERATION: Class = class(
    "HookedOut",
    Build::Operation(|item, _| Ok(Box::new(hooked(item)))),
);

/// A door with hooks of its own, which do what the body says.
pub(crate) struct Guarded;

#[async_trait]
impl BusinessService for Guarded {
    fn hooks(&self) -> Option<Arc<dyn ServiceHooks>> {
        Some(Arc::new(Guard))
    }

    async fn on_start(&mut self, ctx: &ServiceContext) -> Result<(), HostError> {
        DOORS.lock().unwrap().insert(ctx.name().into(), ctx.clone());
        Ok(())
    }

    async fn run(&mut self, ctx: &ServiceContext) -> Result<(), HostError> {
        ctx.stopping().cancelled().await;
        Ok(())
    }

    async fn on_stop(&mut self, ctx: &ServiceContext) {
        lived(ctx.name(), "stop");
    }

    async fn on_teardown(&mut self, ctx: &ServiceContext) {
        lived(ctx.name(), "teardown");
    }
}

pub(crate) struct Guard;

#[async_trait]
impl ServiceHooks for Guard {
    async fn on_before_process(
        &self,
        _: &ServiceContext,
        _: Origin<'_>,
        body: &mut Bytes,
    ) -> Result<Before, HostError> {
        if says(body, "b:change") {
            *body = [&body[..], b" changed"].concat().into();
        }
        match () {
            () if says(body, "b:panic") => panic!("as told"),
            () if says(body, "b:fail") => Err(told("before failed")),
            () if says(body, "b:reject") => Ok(Before::Reject("not for us".into())),
            () => Ok(Before::Go),
        }
    }

    async fn on_after_process(
        &self,
        ctx: &ServiceContext,
        _: Origin<'_>,
        body: &Bytes,
        accepted: &Accepted,
    ) -> Result<(), HostError> {
        let id = accepted.first_id;
        lived(
            ctx.name(),
            &format!("{id} {}", String::from_utf8_lossy(body)),
        );
        if says(body, "a:panic") {
            panic!("as told");
        }
        Ok(())
    }

    async fn on_process_error(
        &self,
        _: &ServiceContext,
        _: Origin<'_>,
        body: &Bytes,
        _: &Outcome,
    ) -> Result<Option<Outcome>, HostError> {
        let discarded = Outcome::new(Verdict::Discarded, "of no use");
        Ok(says(body, "e:discard").then_some(discarded))
    }
}

pub(crate) static GUARDED: Class = class("Guarded", Build::Service(|_, _| Ok(Box::new(Guarded))));
