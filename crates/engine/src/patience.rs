//! Patience: how often and how long a message is tried, and what becomes of it in the end.
//!
//! One idea of its own, so that back-off and restart policies have a place to enter.

use std::time::Duration;

use crate::{
    class::Build,
    config::ItemConfig,
    host::{GiveUp, Outcome, Verdict},
    workers::PANICKED,
};

/// When to try again and when to give up.
pub(crate) struct Patience {
    pub(crate) interval: Duration,
    failure_timeout: Option<Duration>,
    pub(crate) max_attempts: u16,
}

impl Patience {
    pub(crate) fn of(config: &ItemConfig) -> Self {
        let settings = &config.settings;
        let operation = matches!(config.class.build, Build::Operation(_));
        Self {
            interval: operation
                .then(|| settings.duration("RetryInterval"))
                .flatten()
                .unwrap_or(Duration::from_secs(5)),
            failure_timeout: operation
                .then(|| settings.duration("FailureTimeout"))
                .flatten(),
            max_attempts: settings
                .int("MaxAttempts")
                .and_then(|n| u16::try_from(n).ok())
                .unwrap_or(3),
        }
    }
}

/// A message that made the host panic is tried again, but not for ever.
pub(crate) fn poison(falls: u16, max_attempts: u16, reason: &str) -> Outcome {
    if falls < max_attempts {
        return Outcome::new(Verdict::Retry(GiveUp::Suspend), reason);
    }
    let why = match reason {
        PANICKED => format!("poison: the host panicked on each of {falls} tries"),
        _ => {
            format!("poison: it brought the host down on each of {falls} tries; the last: {reason}")
        }
    };
    Outcome::new(Verdict::Suspended, why)
}

/// Turns a retry into its end when `FailureTimeout` is used up.
pub(crate) fn out_of_patience(
    mut outcome: Outcome,
    spent: Duration,
    patience: &Patience,
) -> Outcome {
    let (Verdict::Retry(give_up), Some(limit)) = (outcome.verdict, patience.failure_timeout) else {
        return outcome;
    };
    if spent < limit {
        return outcome;
    }
    outcome.reason = format!(
        "gave up after {} s (FailureTimeout): {}",
        limit.as_secs_f64(),
        outcome.reason
    );
    outcome.verdict = match give_up {
        GiveUp::Fail => Verdict::Failed,
        GiveUp::Suspend => Verdict::Suspended,
        GiveUp::Disable => Verdict::Disable,
        GiveUp::Complete => Verdict::Completed,
    };
    outcome
}
