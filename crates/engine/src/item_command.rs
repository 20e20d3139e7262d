//! What an operator does to one item of a running production: start, stop, restart, enable,
//! disable, pause, resume.
//!
//! Owns what each verb means in each state and that it is recorded. None of them touches the
//! item's queue: it keeps what it has, goes on taking messages, and is worked off when the item runs
//! again. What is decided here holds until the engine starts again; `enabled: false` in the
//! configuration is the form that lasts.

use std::{sync::Arc, sync::atomic::Ordering, time::Duration};

use tracing::info;

use crate::{HostError, item::Item, production::Production, stats::ItemState};

/// What to do with an item.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verb {
    /// Start it, if it is stopped, failed or waits for its next start.
    Start,
    /// Finish what is in hand and take nothing more, until it is started.
    Stop,
    /// Stop and start: new hosts, new connections, restarts forgotten.
    Restart,
    /// Start it and count it as enabled, whatever the configuration says.
    Enable,
    /// Stop it and count it as disabled, as `enabled: false` would.
    Disable,
    /// Finish what is in hand and take nothing more; connections stay.
    Pause,
    /// Go on.
    Resume,
}

impl Verb {
    /// All of them with their names.
    pub const ALL: [(Self, &'static str); 7] = [
        (Self::Start, "start"),
        (Self::Stop, "stop"),
        (Self::Restart, "restart"),
        (Self::Enable, "enable"),
        (Self::Disable, "disable"),
        (Self::Pause, "pause"),
        (Self::Resume, "resume"),
    ];

    /// As it is written on the command line.
    pub fn name(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(verb, _)| *verb == self)
            .map_or("", |(_, name)| name)
    }
}

/// What became of a command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Done {
    /// The state the item is in now.
    pub state: ItemState,
    /// What is worth knowing beside it; may be empty.
    pub note: String,
}

/// How long a pause waits for what is in hand before it says how much is left.
const IN_HAND_PATIENCE: Duration = Duration::from_secs(5);

impl Production {
    /// Does it, and returns when it is done; `by` is who asked, for the log.
    ///
    /// # Errors
    /// `no-such-item`, `item-disabled`, `item-not-running`, `stopping`; or why the item did not
    /// start, with the code of its error.
    pub async fn command(&self, name: &str, verb: Verb, by: &str) -> Result<Done, HostError> {
        let _one = self.change.lock().await;
        self.refuse_when_stopped()?;
        let item = self.item(name).ok_or_else(|| self.no_such_item(name))?;
        let before = item.stats.state();
        let done = self.obey(&item, verb).await;
        let after = item.stats.state();
        let error = done.as_ref().err().map(|error| error.message.as_str());
        info!(
            item = name,
            verb = verb.name(),
            by,
            before = before.name(),
            after = after.name(),
            error,
            "an operator's command"
        );
        done
    }

    async fn obey(&self, item: &Arc<Item>, verb: Verb) -> Result<Done, HostError> {
        match verb {
            Verb::Start => self.start_one(item).await,
            Verb::Stop => self.stop_one(item).await,
            Verb::Restart => {
                refuse_disabled(item)?;
                self.begin(item).await
            }
            Verb::Enable => {
                item.set_disabled(Some(false));
                self.start_one(item).await
            }
            Verb::Disable => {
                item.set_disabled(Some(true));
                self.stop_one(item).await
            }
            Verb::Pause => pause(item).await,
            Verb::Resume => {
                let note = if item.is_paused() {
                    ""
                } else {
                    "it was not paused"
                };
                item.set_paused(false);
                Ok(done(item, note))
            }
        }
    }

    async fn start_one(&self, item: &Arc<Item>) -> Result<Done, HostError> {
        refuse_disabled(item)?;
        match item.stats.state() {
            ItemState::Starting | ItemState::Running | ItemState::Paused => {
                Ok(done(item, "it runs already"))
            }
            _ => self.begin(item).await,
        }
    }

    /// Starts it anew; what runs of it is stopped before.
    async fn begin(&self, item: &Arc<Item>) -> Result<Done, HostError> {
        self.stop_items(std::slice::from_ref(item)).await;
        item.start(&self.world());
        item.settled().await.map_err(|error| {
            let message = match item.stats.state() {
                ItemState::Failed => format!("it did not start and is given up: {error}"),
                _ => format!("it did not start, and is tried again: {error}"),
            };
            HostError::new(error.code, message)
        })?;
        Ok(done(item, ""))
    }

    async fn stop_one(&self, item: &Arc<Item>) -> Result<Done, HostError> {
        let in_time = self.stop_items(std::slice::from_ref(item)).await;
        let cut = "it did not stop within ShutdownTimeout and was cut off; what it had in hand is \
                   in its queue again";
        Ok(done(item, if in_time { "" } else { cut }))
    }

    pub(crate) fn refuse_when_stopped(&self) -> Result<(), HostError> {
        if self.is_stopped() {
            return Err(HostError::new("stopping", "the engine is stopping"));
        }
        Ok(())
    }

    fn no_such_item(&self, name: &str) -> HostError {
        let items = self.items();
        let near = items
            .iter()
            .map(|item| item.config.name.as_str())
            .max_by(|a, b| {
                let close = |other: &str| strsim::jaro_winkler(name, other);
                close(a).total_cmp(&close(b))
            })
            .filter(|near| strsim::jaro_winkler(name, near) > 0.7);
        let help = near.map_or(String::new(), |near| format!("; did you mean {near}?"));
        let message = format!("there is no item called {name} in this production{help}");
        HostError::new("no-such-item", message)
    }
}

fn done(item: &Item, note: impl Into<String>) -> Done {
    Done {
        state: item.stats.state(),
        note: note.into(),
    }
}

fn refuse_disabled(item: &Item) -> Result<(), HostError> {
    if item.is_disabled() {
        let message = format!("it is disabled; `hie item enable {}`", item.config.name);
        return Err(HostError::new("item-disabled", message));
    }
    Ok(())
}

/// Shuts the gate and waits a while for what is in hand.
async fn pause(item: &Item) -> Result<Done, HostError> {
    let state = item.stats.state();
    if !matches!(
        state,
        ItemState::Starting | ItemState::Running | ItemState::Error | ItemState::Paused
    ) {
        let message = format!("it is {}, so there is nothing to pause", state.name());
        return Err(HostError::new("item-not-running", message));
    }
    item.set_paused(true);
    let in_hand = || item.stats.in_hand.load(Ordering::Relaxed);
    let finished = async {
        while in_hand() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let _ = tokio::time::timeout(IN_HAND_PATIENCE, finished).await;
    let note = match in_hand() {
        0 => String::new(),
        left => format!("{left} still in hand, which it finishes"),
    };
    Ok(done(item, note))
}
