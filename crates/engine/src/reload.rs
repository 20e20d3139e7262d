//! Change without stopping: another configuration for a running production.
//!
//! Owns the difference between two configurations, the order in which items stop and start, and
//! the way back when one does not start. Queues stay: an item that comes back finds its messages.
//! Reading the file, and everything that can be wrong with it, is [`config`](crate::config)'s.

mod plan;

use std::{collections::BTreeSet, sync::Arc};

use tracing::{error, info, warn};

use crate::{
    HostError, config::ProductionConfig, item::Item, production::Production, stats::ItemState,
};

pub use plan::{Change, Plan};

/// Why a configuration was not taken over.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// It changes what only a restart of the engine can change. Nothing was touched.
    #[error("{}", .0.join("; "))]
    Refused(Vec<String>),
    /// An item did not start with it. The configuration before it is in force again.
    #[error(
        "item {item} did not start: {error}; the whole change was taken back{}",
        not_restored.iter().map(|item| format!("; {item} did not start again either")).collect::<String>()
    )]
    RolledBack {
        /// The item.
        item: String,
        /// Why it did not start.
        error: HostError,
        /// Items that ran before and do not run now; their supervisors go on trying.
        not_restored: Vec<String>,
    },
    /// The engine is stopping.
    #[error("the engine is stopping")]
    Stopping,
}

impl ReloadError {
    /// A stable short name for logs and exit codes.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Refused(_) => "reload-refused",
            Self::RolledBack { .. } => "reload-rolled-back",
            Self::Stopping => "stopping",
        }
    }
}

/// Which configuration is in force, for the operator.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct InForce {
    /// 1 at the start; each change adds one.
    pub generation: u64,
    /// Since when, in milliseconds since 1970 (UTC).
    pub since_ms: u64,
    /// Who brought it: `start`, or who asked for the change.
    pub by: String,
    /// What it changed.
    pub changes: String,
    /// The last attempt to change it that failed, if none succeeded since.
    pub refused: Option<Refused>,
}

/// A change that did not happen.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Refused {
    /// When, in milliseconds since 1970 (UTC).
    pub at_ms: u64,
    /// Who asked for it.
    pub by: String,
    /// Why not.
    pub reason: String,
}

/// What ran before a change.
struct Before {
    config: Arc<ProductionConfig>,
    items: Vec<Arc<Item>>,
}

impl Production {
    /// What a configuration would change.
    ///
    /// # Errors
    /// Everything in it that cannot change while the engine runs.
    pub fn plan(&self, new: &ProductionConfig) -> Result<Plan, ReloadError> {
        Plan::between(&self.config(), new).map_err(ReloadError::Refused)
    }

    /// Which configuration is in force.
    pub fn in_force(&self) -> InForce {
        self.in_force.lock().clone()
    }

    /// Notes that a change was asked for and did not happen.
    pub fn note_refused(&self, by: &str, reason: &str) {
        self.in_force.lock().refused = Some(Refused {
            at_ms: self.broker.clock.now_ms(),
            by: by.to_owned(),
            reason: reason.to_owned(),
        });
    }

    /// Takes a configuration over: stops what it changes or removes (services, processes, then
    /// operations, each finishing what it has in hand within `ShutdownTimeout`), and starts what it
    /// changes or adds (operations, processes, then services). Everything else goes on untouched. If
    /// one of those does not start, all of it is taken back.
    ///
    /// # Errors
    /// See [`ReloadError`]; after each of them the old configuration is in force.
    pub async fn reload(&self, new: ProductionConfig, by: &str) -> Result<Plan, ReloadError> {
        let _one = self.change.lock().await;
        let done = self.change_to(new, by).await;
        match &done {
            Ok(plan) if plan.is_empty() => info!(by, "the configuration is the same"),
            Ok(plan) => info!(
                by,
                generation = self.in_force().generation,
                "the configuration was changed: {plan}"
            ),
            Err(why) => {
                self.note_refused(by, &why.to_string());
                error!(
                    by,
                    alert = "reload-failed",
                    code = why.code(),
                    "the configuration was not changed: {why}"
                );
            }
        }
        done
    }

    async fn change_to(&self, new: ProductionConfig, by: &str) -> Result<Plan, ReloadError> {
        if self.is_stopped() {
            return Err(ReloadError::Stopping);
        }
        let plan = self.plan(&new)?;
        let before = Before {
            config: self.config(),
            items: self.items(),
        };
        // An operator's stop holds; what was given up gets its chance.
        let resting: BTreeSet<&str> = before
            .items
            .iter()
            .filter(|item| item.stats.state() == ItemState::Stopped)
            .map(|item| item.config.name.as_str())
            .collect();
        let ailing: BTreeSet<&str> = before
            .items
            .iter()
            .filter(|item| matches!(item.stats.state(), ItemState::Error | ItemState::Failed))
            .map(|item| item.config.name.as_str())
            .collect();
        let going: Vec<Arc<Item>> = before
            .items
            .iter()
            .filter(|item| plan.stops(&item.config.name))
            .cloned()
            .collect();
        self.stop_in_order(&going).await;
        self.put_in_force(Arc::new(new), &before);
        let starts = |item: &&Arc<Item>| {
            let name = item.config.name.as_str();
            let wanted = match before.config.item(name) {
                Some(_) => !resting.contains(name),
                None => self.config().engine.auto_start_items,
            };
            plan.starts(name) && wanted
        };
        let coming: Vec<Arc<Item>> = self.items().iter().filter(starts).cloned().collect();
        let failed = self.start_together(&coming).await;
        let failed = failed
            .into_iter()
            .find(|(item, _)| !ailing.contains(item.as_str()));
        if let Some((item, error)) = failed {
            let not_restored = self.roll_back(&before, &coming, &going, &resting).await;
            return Err(ReloadError::RolledBack {
                item,
                error,
                not_restored,
            });
        }
        self.tell_of_orphans(&plan);
        if !plan.is_empty() {
            self.record(by, &plan);
        }
        Ok(plan)
    }

    fn put_in_force(&self, new: Arc<ProductionConfig>, before: &Before) {
        let old = |name: &str| before.items.iter().find(|item| item.config.name == name);
        let items = new.items.iter().map(|config| match old(&config.name) {
            Some(item) => {
                if item.config.enabled != config.enabled {
                    item.set_disabled(None); // the file says something new of it
                }
                Arc::new(item.with_config(config.clone()))
            }
            None => self.new_item(config),
        });
        *self.items.write() = items.collect();
        *self.config.write() = new;
        self.tell_targets();
    }

    /// Starts items in their order and waits for them; those that did not start.
    async fn start_together(&self, items: &[Arc<Item>]) -> Vec<(String, HostError)> {
        self.start_in_order(items).await;
        let settled = items.iter().map(|item| item.settled());
        let settled = futures_util::future::join_all(settled).await;
        let named = items.iter().zip(settled);
        named
            .filter_map(|(item, settled)| Some((item.config.name.clone(), settled.err()?)))
            .collect()
    }

    /// The configuration before the change, with everything that ran before it. Those that do not
    /// start again.
    async fn roll_back(
        &self,
        before: &Before,
        coming: &[Arc<Item>],
        going: &[Arc<Item>],
        resting: &BTreeSet<&str>,
    ) -> Vec<String> {
        self.stop_in_order(coming).await;
        *self.items.write() = before.items.clone();
        *self.config.write() = before.config.clone();
        self.tell_targets();
        let again = going
            .iter()
            .filter(|item| !resting.contains(item.config.name.as_str()));
        let again: Vec<Arc<Item>> = again.cloned().collect();
        let failed = self.start_together(&again).await;
        failed.into_iter().map(|(item, _)| item).collect()
    }

    fn tell_of_orphans(&self, plan: &Plan) {
        for name in &plan.removed {
            let queued = self.broker.queue(self.broker.store.item(name)).len();
            if queued > 0 {
                warn!(
                    item = name,
                    queued,
                    "the item was removed and messages wait for it; they go on when it comes back"
                );
            }
        }
    }

    fn record(&self, by: &str, plan: &Plan) {
        let mut in_force = self.in_force.lock();
        *in_force = InForce {
            generation: in_force.generation + 1,
            since_ms: self.broker.clock.now_ms(),
            by: by.to_owned(),
            changes: plan.to_string(),
            refused: None,
        };
    }
}
