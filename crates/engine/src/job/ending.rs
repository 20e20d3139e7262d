//! How a message ends: one record, its legs, and what the operator is told.

use super::*;

impl Job {
    /// Lets the operator see what is retried; recorded at the first try and then ever more rarely,
    /// so that a receiver that is down for a night does not fill the journal.
    pub(super) fn note_retry(&self, live: &Live, outcome: &Outcome) {
        self.broker.deferrals.forget(live.id);
        self.ctx.stats.note_trying(Some(format!(
            "message {} (try {}): {}",
            live.id, live.attempts, outcome.reason
        )));
        if !live.attempts.is_power_of_two() {
            return;
        }
        info!(
            item = self.name(),
            message = live.id.0,
            tries = live.attempts,
            "will be tried again: {}",
            outcome.reason
        );
        let _ =
            self.broker
                .finish(&self.finish(live, &Bytes::new(), State::Queued, outcome, &[], &[]));
    }

    /// Records how the message ended. A job of an operation waits until that is on disk.
    pub(super) async fn end(
        &self,
        live: &Live,
        body: &Bytes,
        outcome: Outcome,
        late: Option<(&Around<'_>, &Message)>,
        tried: Instant,
    ) -> Next {
        let legs = match self.legs(&outcome) {
            Ok(legs) => legs,
            Err(error) => {
                return self
                    .end_refused(live, body, outcome, &error.message, late, tried)
                    .await;
            }
        };
        if self.defers(live, &outcome) {
            return self.end_deferred(live, body, outcome, tried).await;
        }
        let admission = match self.admit(live, &legs).await {
            Ok(admission) => admission,
            Err(AcceptError::Full(full)) => {
                let reason = format!("{full} and takes no more (OverflowStrategy reject)");
                return self
                    .end_refused(live, body, outcome, &reason, late, tried)
                    .await;
            }
            // A stop ended the wait for room: the message is handled again after the next start.
            Err(AcceptError::Stopping | AcceptError::Store(_)) => return self.park(*live),
        };
        if let Some(late) = late.filter(|_| self.waits(&outcome)) {
            let sending = (&legs[..], admission);
            let ended = self.end_answered(live, body, outcome, sending, late, tried);
            return ended.await;
        }
        let state = outcome.verdict.end().unwrap_or(State::Error);
        let sending = (&legs[..], admission);
        self.record_sending(live, body, state, &outcome, sending, tried)
            .await
    }

    /// Ends a message that cannot be sent on; the hook on errors has its say.
    pub(super) async fn end_refused(
        &self,
        live: &Live,
        body: &Bytes,
        outcome: Outcome,
        reason: &str,
        late: Option<(&Around<'_>, &Message)>,
        tried: Instant,
    ) -> Next {
        let mut refused = Outcome::failed(reason).with_note(outcome.note);
        if let Some((around, message)) = late {
            refused = around.decide(message, refused);
        }
        let state = refused.verdict.end().unwrap_or(State::Error);
        self.record(live, body, state, &refused, tried).await
    }

    /// Places in the queues of the targets; waits for room where they want that.
    pub(super) async fn admit(&self, live: &Live, legs: &[Leg]) -> Result<Admission, AcceptError> {
        if legs.is_empty() {
            return Ok(Admission::default());
        }
        let from = Sender {
            item: live.target,
            message: Some(live.id),
        };
        let targets: Vec<ItemId> = legs.iter().map(|leg| leg.target).collect();
        self.broker
            .admit(from, &targets, Some(&self.ctx.stopping))
            .await
    }

    pub(crate) async fn record(
        &self,
        live: &Live,
        body: &Bytes,
        state: State,
        outcome: &Outcome,
        tried: Instant,
    ) -> Next {
        let nothing = (&[][..], Admission::default());
        self.record_sending(live, body, state, outcome, nothing, tried)
            .await
    }

    pub(super) async fn record_sending(
        &self,
        live: &Live,
        body: &Bytes,
        state: State,
        outcome: &Outcome,
        (legs, admission): (&[Leg], Admission),
        tried: Instant,
    ) -> Next {
        self.ctx.stats.count(state, tried.elapsed());
        match state {
            State::Completed => {}
            // Dropped by decision: the trace and the counter tell of it.
            State::Discarded | State::Deferred => {
                debug!(
                    item = self.name(),
                    message = live.id.0,
                    state = state.name(),
                    "{}",
                    outcome.reason
                );
            }
            _ => {
                self.ctx.stats.note_error(outcome.reason.clone());
                warn!(
                    item = self.name(),
                    message = live.id.0,
                    state = state.name(),
                    "{}",
                    outcome.reason
                );
            }
        }
        let response_from: Vec<ItemId> = outcome
            .response_from
            .iter()
            .map(|name| self.broker.store.item(name))
            .collect();
        let finish = self.finish(live, body, state, outcome, legs, &response_from);
        let recorded = self.broker.finish_admitted(&finish, admission);
        self.in_hand.let_go();
        let recorded = match recorded {
            // A discarded message left nothing outside: doing it again after a crash harms nobody.
            Ok(appended) if self.delivers() && state != State::Discarded => appended
                .ticket
                .durable()
                .await
                .map(|_| ())
                .map_err(StoreError::from),
            other => other.map(|_| ()),
        };
        match recorded {
            Ok(()) => {
                self.queue.done(live);
                Next::Go
            }
            Err(error) => self.unrecorded(live, &error),
        }
    }

    /// The journal refused: the message stays unfinished in the log and comes again after a restart.
    pub(crate) fn unrecorded(&self, live: &Live, error: &StoreError) -> Next {
        error!(
            item = self.name(),
            message = live.id.0,
            code = error.code(),
            "cannot record what became of it: {error}"
        );
        self.post
            .lost(&HostError::new(error.code(), error.to_string()));
        Next::Stop
    }

    /// Whether the host leaves something outside that a crash could make it leave again.
    pub(super) fn delivers(&self) -> bool {
        matches!(self.item.class.build, Build::Operation(_))
    }

    /// The hops that an outcome asks for, or the first target that does not exist.
    pub(super) fn legs(&self, outcome: &Outcome) -> Result<Vec<Leg>, HostError> {
        let leg = |send: &Send| {
            Ok(Leg {
                target: self.broker.known(&send.target)?,
                body: send.body.clone(),
                priority: send.priority,
            })
        };
        outcome.sends.iter().map(leg).collect()
    }

    pub(crate) fn finish<'a>(
        &self,
        live: &'a Live,
        body: &'a Bytes,
        state: State,
        outcome: &'a Outcome,
        legs: &'a [Leg],
        response_from: &'a [ItemId],
    ) -> Finish<'a> {
        Finish {
            live,
            state,
            attempts: live.attempts,
            reason: &outcome.reason,
            note: &outcome.note,
            reply: outcome.reply.as_ref(),
            body,
            legs,
            response_from,
        }
    }
}
