//! Hosts made for the tests of the engine, and the means to play the outside world to them.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use hie_engine::{
    HostContext, HostError, Production, ServiceContext,
    class::{Build, Class},
    clock::Clock,
    config::{EngineConfig, ItemConfig, ProductionConfig},
    host::{
        BusinessOperation, BusinessProcess, BusinessService, GiveUp, Message, Origin, Outcome,
        Verdict,
    },
    setting::{Settings, Value},
};
use hie_store::{Content, Priority};

/// What the operations of a test have seen: (item, body), in order.
pub(crate) static SEEN: Mutex<BTreeMap<String, Vec<String>>> = Mutex::new(BTreeMap::new());
/// The contexts of services, by item name, so that a test can play the outside world.
pub(crate) static DOORS: Mutex<BTreeMap<String, ServiceContext>> = Mutex::new(BTreeMap::new());
/// How often a body was tried, by body.
pub(crate) static TRIES: Mutex<BTreeMap<String, usize>> = Mutex::new(BTreeMap::new());

pub(crate) struct Door;

#[async_trait]
impl BusinessService for Door {
    async fn on_start(&mut self, ctx: &ServiceContext) -> Result<(), HostError> {
        DOORS.lock().unwrap().insert(ctx.name().into(), ctx.clone());
        Ok(())
    }

    async fn run(&mut self, ctx: &ServiceContext) -> Result<(), HostError> {
        ctx.stopping().cancelled().await;
        Ok(())
    }
}

/// Does what the body says: `ok`, `panic`, `retry:N` (N times, then ok), `fail`, `suspend`,
/// `disable`, `hang`, `ask:ITEM` (a sync request).
pub(crate) struct Obedient;

#[async_trait]
impl BusinessOperation for Obedient {
    async fn on_message(
        &mut self,
        ctx: &HostContext,
        message: &Message,
    ) -> Result<Outcome, HostError> {
        let body = String::from_utf8_lossy(&message.body).into_owned();
        let tries = {
            let mut tries = TRIES.lock().unwrap();
            let tries = tries.entry(body.clone()).or_default();
            *tries += 1;
            *tries
        };
        let (verb, argument) = body
            .split_once(' ')
            .unwrap_or((&body, ""))
            .0
            .split_once(':')
            .unwrap_or((body.split(' ').next().unwrap_or_default(), ""));
        match verb {
            "panic" => panic!("as told"),
            "retry" if tries <= argument.parse().unwrap() => {
                return Ok(Outcome::new(Verdict::Retry(GiveUp::Fail), "as told"));
            }
            "always" => return Ok(Outcome::new(Verdict::Retry(GiveUp::Suspend), "as told")),
            "fail" => return Ok(Outcome::failed("as told")),
            "suspend" => return Ok(Outcome::new(Verdict::Suspended, "as told")),
            "disable" => return Ok(Outcome::new(Verdict::Disable, "as told")),
            "hang" => std::future::pending().await,
            _ => {}
        }
        SEEN.lock()
            .unwrap()
            .entry(ctx.name().into())
            .or_default()
            .push(body.clone());
        Ok(Outcome::completed().with_reply(Bytes::from(format!("reply to {body}"))))
    }
}

/// Sends on to its targets; `ask ITEM` asks that item first and sends its reply on instead.
pub(crate) struct Router {
    targets: Vec<String>,
    response_from: Vec<String>,
}

#[async_trait]
impl BusinessProcess for Router {
    async fn on_message(
        &mut self,
        ctx: &HostContext,
        message: &Message,
    ) -> Result<Outcome, HostError> {
        let body = String::from_utf8_lossy(&message.body).into_owned();
        let mut outcome = Outcome::completed();
        if let Some(item) = body.strip_prefix("ask ") {
            let response = ctx
                .send_request_sync(item, None, None, Priority::Normal, None)
                .await?;
            return Ok(outcome.with_reply(response.reply));
        }
        for target in &self.targets {
            outcome = outcome.and_send(target.clone());
        }
        outcome.response_from.clone_from(&self.response_from);
        Ok(outcome)
    }
}

pub(crate) const fn class(name: &'static str, build: Build) -> Class {
    Class {
        name,
        aliases: &[],
        summary: "for tests",
        settings: &[],
        build,
        check: |_, _| Vec::new(),
    }
}

pub(crate) static DOOR: Class = class("Door", Build::Service(|_, _| Ok(Box::new(Door))));
pub(crate) static OBEDIENT: Class =
    class("Obedient", Build::Operation(|_, _| Ok(Box::new(Obedient))));
pub(crate) static ROUTER: Class = class(
    "Router",
    Build::Process(|item, _| {
        Ok(Box::new(Router {
            targets: item.settings.list("TargetConfigNames").to_vec(),
            response_from: item.settings.list("ResponseFrom").to_vec(),
        }))
    }),
);

pub(crate) fn item(
    name: &str,
    class: &'static Class,
    settings: &[(&'static str, Value)],
) -> ItemConfig {
    let mut all = Settings::default();
    all.set(
        "RetryInterval",
        Value::Seconds(Some(Duration::from_millis(5))),
    );
    all.set("MaxAttempts", Value::Int(2));
    for (name, value) in settings {
        all.set(name, value.clone());
    }
    ItemConfig {
        name: name.into(),
        class,
        enabled: true,
        pool_size: 1,
        category: String::new(),
        comment: String::new(),
        settings: all,
        retention_age: None,
        retention_bytes: None,
        hooks: None,
        line: 1,
    }
}

pub(crate) fn targets(names: &[&str]) -> Value {
    Value::List(names.iter().map(|name| (*name).into()).collect())
}

pub(crate) async fn start(folder: &Path, items: Vec<ItemConfig>) -> Arc<Production> {
    let config = ProductionConfig {
        name: "Test".into(),
        description: String::new(),
        file: "test.yaml".into(),
        items: items.into_iter().map(std::sync::Arc::new).collect(),
        rules: BTreeMap::new(),
        python: hie_engine::config::PythonConfig::default(),
        source: hie_engine::config::Source::default(),
        engine: EngineConfig {
            data_path: folder.to_owned(),
            metrics_address: None,
            auto_start_items: true,
            watch_config: false,
            shutdown_timeout: Duration::from_millis(300),
            journal_segment_bytes: 1 << 20,
            journal_reserve_bytes: 1 << 20,
            retention_age: None,
            retention_bytes: None,
            body_cache_bytes: 64,
        },
    };
    Production::start(config, Clock::system())
        .await
        .expect("the production starts")
}

pub(crate) fn door(name: &str) -> ServiceContext {
    DOORS.lock().unwrap()[name].clone()
}

pub(crate) fn origin() -> Origin<'static> {
    Origin {
        from: "test",
        content: Content::Plain,
    }
}

pub(crate) async fn put(door: &ServiceContext, body: &str) {
    door.accept(origin(), &Bytes::from(body.to_owned()))
        .await
        .expect("accepted");
}

pub(crate) fn seen(item: &str) -> Vec<String> {
    SEEN.lock().unwrap().get(item).cloned().unwrap_or_default()
}

/// Waits for a condition that the engine must reach by itself.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(
            tokio::time::Instant::now() < deadline,
            "{what} did not happen"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
