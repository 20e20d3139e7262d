//! The restart settings of an item, and the pauses that follow from them.

use std::{hash::BuildHasher, time::Duration};

use crate::setting::{Settings, Value};

/// The longest pause between two starts, unless `RestartDelay` is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The second pause where `RestartDelay` is 0: a host that dies at once must not take a processor.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);

/// When a host is started again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RestartPolicy {
    /// Never: the first failure gives the item up.
    Never,
    /// After a failure.
    OnFailure,
    /// After a failure, and when a service ends by itself.
    Always,
}

/// The restart settings of an item.
#[derive(Clone, Debug)]
pub struct Terms {
    /// When a host is started again.
    pub policy: RestartPolicy,
    /// How often one host is started again within `window`; none: without a limit.
    pub max_restarts: Option<u32>,
    /// The first pause.
    pub delay: Duration,
    /// How long a host must have run for a restart to be forgotten.
    pub window: Duration,
}

impl Terms {
    /// What the settings of an item say.
    pub fn of(settings: &Settings) -> Self {
        let seconds = |name, default| match settings.get(name) {
            Some(Value::Seconds(Some(given))) => *given,
            _ => Duration::from_secs(default),
        };
        Self {
            policy: match settings.text("RestartPolicy") {
                Some("never") => RestartPolicy::Never,
                Some("always") => RestartPolicy::Always,
                _ => RestartPolicy::OnFailure,
            },
            max_restarts: settings
                .int("MaxRestarts")
                .and_then(|most| u32::try_from(most).ok()),
            delay: seconds("RestartDelay", 5),
            window: seconds("RestartWindow", 300),
        }
    }

    /// The pause before the restart of this number (from 1; 0 is none): doubled each time, never longer than
    /// the cap, and up to a quarter shorter, so that what failed together does not return together.
    pub(super) fn pause(&self, nth: usize) -> Duration {
        if nth == 0 || (self.delay.is_zero() && nth == 1) {
            return Duration::ZERO;
        }
        let cap = self.delay.max(LONGEST_PAUSE);
        let doublings = u32::try_from(nth.saturating_sub(1)).unwrap_or(u32::MAX);
        let first = match self.delay.is_zero() {
            true => SHORTEST_PAUSE,
            false => self.delay,
        };
        let grown = first.saturating_mul(2u32.saturating_pow(doublings));
        let chance = std::hash::RandomState::new().hash_one(nth) % 256;
        grown.min(cap).mul_f64(1.0 - chance as f64 / 1024.0)
    }
}
