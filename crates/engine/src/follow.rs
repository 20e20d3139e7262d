//! What follows an outcome where the item's pattern waits: the message is done when all that it sent
//! is answered.
//!
//! Owns sending with callers, the wait, and what the message ends in. Taking messages and recording
//! ends is [`job`](crate::job)'s.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::future::join_all;
use hie_store::{ItemId, Live, State};

use crate::{
    broker::{Admission, Broker, Leg, Response},
    calls::{Intent, NoResponse, Waiting},
    hooks::{self, Around},
    host::{Message, Outcome, Verdict},
    job::{Job, Next},
};

/// The names of these items with arrows between them.
pub(crate) fn way(broker: &Broker, items: &[ItemId]) -> String {
    let names = items.iter().map(|item| broker.store.item_name(*item));
    names.collect::<Vec<_>>().join(" → ")
}

/// Why a wait that would never end is refused.
pub(crate) fn deadlock(broker: &Broker, round: &[ItemId]) -> String {
    format!(
        "deadlock: {}: each waits for the next, and no job is left to answer; raise PoolSize, or \
         send one of these requests asynchronously",
        way(broker, round)
    )
}

/// Why a wait ended without a response.
pub(crate) fn no_response(
    broker: &Broker,
    target: ItemId,
    timeout: Duration,
    why: &NoResponse,
) -> String {
    let name = broker.store.item_name(target);
    match why {
        NoResponse::Nobody => format!("{name} cannot answer any more: the engine is stopping"),
        NoResponse::TimedOut(chain) => {
            let last = chain.last().copied().unwrap_or(target);
            let waiting = broker.queue(last).len();
            let chain = match chain.len() {
                0 | 1 => String::new(),
                _ => format!(
                    "; it waits for {}",
                    way(broker, chain.get(1..).unwrap_or_default())
                ),
            };
            format!(
                "{name} did not answer within {timeout:?}{chain} ({waiting} messages are queued \
                 for {}); a response that comes later is kept in the trace",
                broker.store.item_name(last)
            )
        }
    }
}

/// What came of one request.
type Answered = Result<Response, NoResponse>;

impl Job {
    /// Whether the message only ends when all that the outcome sends is answered.
    pub(crate) fn waits(&self, outcome: &Outcome) -> bool {
        let conduct = self.ctx.conduct.as_ref();
        conduct.is_some_and(|conduct| conduct.manner.pattern.waits())
            && outcome.verdict == Verdict::Completed
            && !outcome.sends.is_empty()
    }

    /// Sends what the outcome asks for, waits for the responses, and ends the message.
    pub(crate) async fn end_answered(
        &self,
        live: &Live,
        body: &Bytes,
        mut outcome: Outcome,
        (legs, admission): (&[Leg], Admission),
        late: (&Around<'_>, &Message),
        tried: Instant,
    ) -> Next {
        let intents = match self.intents(legs) {
            Ok(intents) => intents,
            Err(reason) => {
                self.ctx.stats.deadlocks.fetch_add(1, Ordering::Relaxed);
                let refused = Outcome::failed(reason).with_note(outcome.note);
                let refused = late.0.decide(late.1, refused);
                let state = refused.verdict.end().unwrap_or(State::Error);
                return self.record(live, body, state, &refused, tried).await;
            }
        };
        // Queued, so that a crash while it waits does the message again, marked as possibly twice.
        let sent = self.finish(live, body, State::Queued, &outcome, legs, &[]);
        let sent = crate::broker::Finish {
            reply: None,
            ..sent
        };
        let waiting = match self.broker.call(&sent, intents, admission) {
            Ok(waiting) => waiting,
            Err(error) => return self.unrecorded(live, &error),
        };
        let speaker = self.speaker(&outcome, legs);
        let state = match self.answers(waiting).await {
            Gathered::All(answers) => {
                outcome.verdict = self.sum_up(&mut outcome, legs, answers, speaker);
                outcome = late.0.decide(late.1, outcome);
                outcome.verdict.end().unwrap_or(State::Error)
            }
            Gathered::Stopped(waiting) => {
                self.let_go(live, &mut outcome, waiting, speaker);
                State::Completed
            }
        };
        self.record(live, body, state, &outcome, tried).await
    }

    /// Whether the host deferred its response; one that then ends otherwise, or sends and answers
    /// after all, has not.
    pub(crate) fn defers(&self, live: &Live, outcome: &Outcome) -> bool {
        if !self.broker.deferrals.has(live.id) {
            return false;
        }
        let defers = outcome.verdict == Verdict::Completed
            && outcome.reply.is_none()
            && outcome.sends.is_empty();
        if !defers {
            self.broker.deferrals.forget(live.id);
        }
        defers
    }

    /// Records that the response comes later. Where one message is worked on at a time, the next
    /// begins only after that.
    pub(crate) async fn end_deferred(
        &self,
        live: &Live,
        body: &Bytes,
        mut outcome: Outcome,
        tried: Instant,
    ) -> Next {
        outcome.reason = "its response was deferred".into();
        let recorded = self.record(live, body, State::Deferred, &outcome, tried);
        if let Next::Stop = recorded.await {
            return Next::Stop;
        }
        match self.broker.deferrals.settle(live.id) {
            Ok(reply) => {
                outcome.reason.clear();
                let outcome = outcome.with_reply(reply);
                self.record(live, body, State::Completed, &outcome, tried)
                    .await
            }
            Err(ended) => {
                let conduct = self.ctx.conduct.as_ref();
                if conduct.is_some_and(|conduct| conduct.manner.pattern.is_strict()) {
                    tokio::select! {
                        () = self.ctx.stopping.cancelled() => {}
                        _ = ended => {}
                    }
                }
                Next::Go
            }
        }
    }

    fn intents(&self, legs: &[Leg]) -> Result<Vec<Intent>, String> {
        let Some(conduct) = &self.ctx.conduct else {
            return Ok(Vec::new());
        };
        let intend = |leg: &Leg| conduct.place.intend(leg.target);
        let intents: Result<_, _> = legs.iter().map(intend).collect();
        intents.map_err(|round: Vec<ItemId>| deadlock(&self.broker, &round))
    }

    /// Which leg's response is the message's own: the first in `response_from`, or the first of all
    /// unless the host gave a response itself.
    fn speaker(&self, outcome: &Outcome, legs: &[Leg]) -> Option<usize> {
        if outcome.response_from.is_empty() {
            return outcome.reply.is_none().then_some(0);
        }
        let named = |leg: &Leg| {
            let name = self.broker.store.item_name(leg.target);
            outcome.response_from.iter().any(|from| **from == *name)
        };
        legs.iter().position(named)
    }

    async fn answers(&self, mut waiting: Vec<Waiting>) -> Gathered {
        let timeout = self.timeout();
        let all = join_all(waiting.iter_mut().map(|one| one.within(Some(timeout))));
        tokio::select! {
            biased;
            answers = all => Gathered::All(answers),
            () = self.ctx.stopping.cancelled() => Gathered::Stopped(waiting),
        }
    }

    fn timeout(&self) -> Duration {
        let conduct = self.ctx.conduct.as_ref();
        conduct.map_or(Duration::ZERO, |conduct| conduct.manner.timeout)
    }

    /// The end of a message whose requests are answered or timed out.
    fn sum_up(
        &self,
        outcome: &mut Outcome,
        legs: &[Leg],
        mut answers: Vec<Answered>,
        speaker: Option<usize>,
    ) -> Verdict {
        let failed = |(leg, answer): (&Leg, &Answered)| match answer {
            Err(why) => {
                self.ctx.stats.timeouts.fetch_add(1, Ordering::Relaxed);
                Some(no_response(&self.broker, leg.target, self.timeout(), why))
            }
            Ok(response) => match response.state {
                State::Completed | State::Discarded => None,
                state => {
                    let name = self.broker.store.item_name(leg.target);
                    let passed_on = hooks::passed_on(&response.reason, &name);
                    Some(passed_on.unwrap_or_else(|| {
                        format!(
                            "{name} ended in state {}: {}",
                            state.name(),
                            response.reason
                        )
                    }))
                }
            },
        };
        let failures: Vec<String> = legs.iter().zip(&answers).filter_map(failed).collect();
        if let Some(speaker) = speaker.filter(|speaker| *speaker < answers.len())
            && let Ok(response) = answers.swap_remove(speaker)
        {
            outcome.reply = response.reply;
        }
        outcome.response_from.clear();
        if failures.is_empty() {
            return Verdict::Completed;
        }
        outcome.reason = failures.join("; ");
        Verdict::Failed
    }

    /// The item stops while the message waits. All that it sent is on its way by itself, so the
    /// message is done; whoever waits for it waits for the one that speaks for it.
    fn let_go(
        &self,
        live: &Live,
        outcome: &mut Outcome,
        waiting: Vec<Waiting>,
        speaker: Option<usize>,
    ) {
        let next = speaker.and_then(|speaker| waiting.get(speaker));
        let next = next.and_then(Waiting::request);
        waiting.into_iter().for_each(Waiting::forget);
        if let Some(next) = next {
            self.broker.calls.hand_on(live.id, &[next]);
        }
        outcome.response_from.clear();
        let gap = if outcome.note.is_empty() { "" } else { "; " };
        outcome.note += gap;
        outcome.note += "the item stopped before the responses came: what was sent goes on";
    }
}

enum Gathered {
    All(Vec<Answered>),
    Stopped(Vec<Waiting>),
}
