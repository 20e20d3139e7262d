//! Hosts that do what a test tells them, and the engine they run in.
//!
//! `Door` lets in what the test gives it, `Actor` (a process) and `Player` (an operation) do what was
//! said with [`plays`] and note each of their hooks. All of a test's items have names of their own,
//! because the tests of this binary share a process.

use std::{
    collections::BTreeMap,
    future::Future,
    path::Path,
    pin::Pin,
    sync::{Arc, Condvar, Mutex},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::Bytes;
use hie_engine::{
    HostContext, HostError, Production, ServiceContext,
    class::{Build, Class, Registry},
    clock::Clock,
    config::{self, ItemConfig},
    hooks::Before,
    host::{BusinessOperation, BusinessProcess, BusinessService, Message, Origin, Outcome},
    production::StartError,
    setting::{SettingDef, SettingType},
    status::ItemStatus,
};
use hie_store::{Content, HeaderRow, Query, Reader};
use tokio::sync::Semaphore;

use crate::common::PATIENCE;

/// What a host does with a message.
pub(crate) type Acting<'a> = Pin<Box<dyn Future<Output = Result<Outcome, HostError>> + Send + 'a>>;

type Play = Arc<dyn for<'a> Fn(&'a HostContext, &'a Message) -> Acting<'a> + Send + Sync>;

static PLAYS: Mutex<BTreeMap<String, Play>> = Mutex::new(BTreeMap::new());
static DOORS: Mutex<BTreeMap<String, ServiceContext>> = Mutex::new(BTreeMap::new());
static NOTES: Mutex<Vec<(String, String)>> = Mutex::new(Vec::new());

/// Says what the item of this name does with its messages; without a word it completes them.
pub(crate) fn plays(
    item: &str,
    play: impl for<'a> Fn(&'a HostContext, &'a Message) -> Acting<'a> + Send + Sync + 'static,
) {
    PLAYS.lock().unwrap().insert(item.into(), Arc::new(play));
}

/// An operation that notes each message, and replies to it, once this gate is open.
pub(crate) fn notes_behind(item: &str, gate: &Gate) {
    let gate = gate.clone();
    plays(item, move |ctx, message| {
        let gate = gate.clone();
        Box::pin(async move {
            tokio::select! {
                () = gate.pass() => {}
                () = ctx.stopping().cancelled() => return Err(HostError::new("told", "stopped")),
            }
            note(ctx.name(), text(message));
            Ok(Outcome::completed().with_reply(Bytes::from(format!("reply to {}", text(message)))))
        })
    });
}

/// Writes down that something happened to this item.
pub(crate) fn note(item: &str, what: impl Into<String>) {
    NOTES.lock().unwrap().push((item.into(), what.into()));
}

/// What happened to these items, in order, as `(item, what)`.
pub(crate) fn notes(items: &[&str]) -> Vec<(String, String)> {
    let notes = NOTES.lock().unwrap();
    let ours = |(item, _): &&(String, String)| items.contains(&item.as_str());
    notes.iter().filter(ours).cloned().collect()
}

/// What happened to one item.
pub(crate) fn noted(item: &str) -> Vec<String> {
    notes(&[item]).into_iter().map(|(_, what)| what).collect()
}

pub(crate) fn text(message: &Message) -> String {
    String::from_utf8_lossy(&message.body).into_owned()
}

/// Shut until it is opened.
#[derive(Clone)]
pub(crate) struct Gate(Arc<Semaphore>);

impl Gate {
    pub(crate) fn shut() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }

    pub(crate) fn open(&self) {
        self.0.close();
    }

    pub(crate) async fn pass(&self) {
        let _ = self.0.acquire().await; // an error is the open gate
    }
}

/// Shut until it is opened, for code that blocks its thread.
#[derive(Clone, Default)]
pub(crate) struct Barrier(Arc<(Mutex<bool>, Condvar)>);

impl Barrier {
    pub(crate) fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    pub(crate) fn block(&self) {
        let open = self.0.0.lock().unwrap();
        drop(self.0.1.wait_while(open, |open| !*open).unwrap());
    }
}

struct Door;

#[async_trait]
impl BusinessService for Door {
    async fn on_start(&mut self, ctx: &ServiceContext) -> Result<(), HostError> {
        note(ctx.name(), "on_start");
        DOORS.lock().unwrap().insert(ctx.name().into(), ctx.clone());
        Ok(())
    }

    async fn run(&mut self, ctx: &ServiceContext) -> Result<(), HostError> {
        ctx.stopping().cancelled().await;
        Ok(())
    }

    async fn on_stop(&mut self, ctx: &ServiceContext) {
        note(ctx.name(), "on_stop");
    }
}

/// A service that ends by itself, at once.
struct Brief;

#[async_trait]
impl BusinessService for Brief {
    async fn on_start(&mut self, ctx: &ServiceContext) -> Result<(), HostError> {
        note(ctx.name(), "on_start");
        Ok(())
    }

    async fn run(&mut self, _: &ServiceContext) -> Result<(), HostError> {
        Ok(())
    }
}

/// A process and an operation alike.
struct Actor {
    play: Option<Play>,
}

fn says(message: &Message, word: &str) -> bool {
    text(message).split(' ').any(|said| said == word)
}

/// Hosts of items whose names begin with `Slow` take their time to start and stop.
async fn linger(ctx: &HostContext) {
    if ctx.name().starts_with("Slow") {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

macro_rules! actor_as {
    ($kind:ident) => {
        #[async_trait]
        impl $kind for Actor {
            async fn on_init(&mut self, ctx: &HostContext) -> Result<(), HostError> {
                note(ctx.name(), "on_init");
                Ok(())
            }

            async fn on_start(&mut self, ctx: &HostContext) -> Result<(), HostError> {
                linger(ctx).await;
                note(ctx.name(), "on_start");
                Ok(())
            }

            /// Marks what says `mark`.
            async fn on_before_process(
                &mut self,
                _: &HostContext,
                message: &mut Message,
            ) -> Result<Before, HostError> {
                if says(message, "mark") {
                    message.body.0 = format!("{} marked", text(message)).into();
                }
                Ok(Before::Go)
            }

            async fn on_message(
                &mut self,
                ctx: &HostContext,
                message: &Message,
            ) -> Result<Outcome, HostError> {
                match &self.play {
                    Some(play) => play(ctx, message).await,
                    None => Ok(Outcome::completed()),
                }
            }

            /// Puts another reply in the place of that of what says `swap`.
            async fn on_after_process(
                &mut self,
                _: &HostContext,
                message: &Message,
                outcome: &Outcome,
            ) -> Result<Option<Outcome>, HostError> {
                let other = || outcome.clone().with_reply(Bytes::from("swapped"));
                Ok(says(message, "swap").then(other))
            }

            /// Recovers what says `recover`; panics and fails as told.
            async fn on_process_error(
                &mut self,
                _: &HostContext,
                message: &Message,
                _: &Outcome,
            ) -> Result<Option<Outcome>, HostError> {
                assert!(!says(message, "hook-panics"), "as told");
                if says(message, "hook-fails") {
                    return Err(HostError::new("told", "the error hook failed as told"));
                }
                let nack = || Outcome::failed("recovered").with_reply(Bytes::from("NACK"));
                Ok(says(message, "recover").then(nack))
            }

            async fn on_stop(&mut self, ctx: &HostContext) {
                linger(ctx).await;
                note(ctx.name(), "on_stop");
            }

            async fn on_teardown(&mut self, ctx: &HostContext) {
                note(ctx.name(), "on_teardown");
            }
        }
    };
}

actor_as!(BusinessProcess);
actor_as!(BusinessOperation);

fn actor(item: &ItemConfig) -> Actor {
    let play = PLAYS.lock().unwrap().get(&item.name).cloned();
    Actor { play }
}

const TARGETS: &[SettingDef] = &[SettingDef::host(
    "TargetConfigNames",
    SettingType::Items,
    "",
    "Who gets what.",
)
.optional()];

const fn class(
    name: &'static str,
    settings: &'static [&'static [SettingDef]],
    build: Build,
) -> Class {
    Class {
        name,
        aliases: &[],
        summary: "For tests.",
        settings,
        build,
        check: |_, _| Vec::new(),
    }
}

static DOOR: Class = class(
    "Door",
    &[TARGETS, config::common::SERVICE],
    Build::Service(|_, _| Ok(Box::new(Door))),
);
static BRIEF: Class = class(
    "Brief",
    &[TARGETS, config::common::SERVICE],
    Build::Service(|_, _| Ok(Box::new(Brief))),
);
static ACTOR: Class = class(
    "Actor",
    &[TARGETS, config::common::PROCESS],
    Build::Process(|item, _| Ok(Box::new(actor(item)))),
);
static PLAYER: Class = class(
    "Player",
    &[TARGETS, config::common::OPERATION],
    Build::Operation(|item, _| Ok(Box::new(actor(item)))),
);

static REGISTRY: Registry = Registry::new(&[&DOOR, &BRIEF, &ACTOR, &PLAYER]);

/// Starts these items (the text under `items:`) on this folder.
pub(crate) async fn stage(folder: &Path, items: &str) -> Arc<Production> {
    let text = format!(
        "production: {{name: Stage, DataPath: {}, MetricsAddress: none, ShutdownTimeout: 5, \
         JournalSegmentSize: 1 MiB, JournalReserve: 1 MiB}}\nitems:\n{items}\n",
        folder.display()
    );
    let file = folder.join("stage.yaml");
    std::fs::write(&file, text).unwrap();
    let config = || config::load(&file, &REGISTRY, &|_| None);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let config = config().unwrap_or_else(|errors| panic!("{}", config::render(&errors, None)));
        match Production::start(config, Clock::system()).await {
            Ok(production) => return production,
            // A process that another test starts at this instant holds a copy of the lock of a
            // production that has stopped, until it has become the binary.
            Err(StartError::Store(error))
                if error.code() == "journal-locked" && Instant::now() < deadline =>
            {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

pub(crate) fn door(name: &str) -> ServiceContext {
    DOORS.lock().unwrap()[name].clone()
}

pub(crate) const ORIGIN: Origin<'static> = Origin {
    from: "test",
    content: Content::Plain,
};

/// Lets a message in through the door of this name.
pub(crate) async fn put(name: &str, body: &str) {
    let body = Bytes::from(body.to_owned());
    door(name).accept(ORIGIN, &body).await.unwrap();
}

/// Lets a message in and gives the reply to it; the reason where there is none.
pub(crate) async fn ask(name: &str, body: &str) -> String {
    let body = Bytes::from(body.to_owned());
    let asked = door(name).request(ORIGIN, &body, Some(PATIENCE)).await;
    let response = asked.unwrap().1.expect("a response");
    let reply = response.reply.map(|reply| reply.to_vec());
    reply.map_or(response.reason, |reply| {
        String::from_utf8_lossy(&reply).into_owned()
    })
}

/// Waits for what must happen.
pub(crate) async fn until(what: &str, so: impl Fn() -> bool) {
    let waiting = async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, waiting).await;
    assert!(waited.is_ok(), "this did not happen: {what}");
}

/// The status of one item.
pub(crate) fn status(production: &Production, name: &str) -> ItemStatus {
    let mut items = production.status().items;
    items.retain(|item| item.name == name);
    items.pop().expect("such an item")
}

/// What a stopped production left, oldest first, with the bodies.
pub(crate) fn left(folder: &Path) -> Vec<(HeaderRow, String)> {
    let (reader, _) = Reader::open_read_only(folder).unwrap();
    let query = Query {
        limit: 10_000,
        ..Query::default()
    };
    let mut rows = reader.search(&query).unwrap().rows;
    rows.sort_by_key(|row| row.id);
    let with_body = |row: HeaderRow| {
        let body = reader.body(row.body).unwrap();
        (row, String::from_utf8_lossy(&body).into_owned())
    };
    rows.into_iter().map(with_body).collect()
}
