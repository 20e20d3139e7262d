//! The outer layer at a job: the hooks of the configuration around one try of one message.
//!
//! Owns what they do to an outcome. An item without hooks passes through in a branch.

use bytes::Bytes;
use hie_hl7::ack::AckRequest;

use super::{
    Hooks,
    compiled::{Recovery, verdict_name},
    own::{failed, is_end, put_before, sends_these},
    remark,
};
use crate::{
    HostError,
    context::{Gate, HostContext},
    host::{Message, Outcome, Verdict},
};

/// The configured hooks of an item around one try.
pub(crate) struct Around<'a> {
    hooks: Option<&'a Hooks>,
    ctx: &'a HostContext,
    note: String,
    /// The bytes as the hooks before left them.
    body: Bytes,
    changed: bool,
}

impl<'a> Around<'a> {
    pub(crate) fn new(hooks: Option<&'a Hooks>, ctx: &'a HostContext) -> Self {
        Self {
            hooks,
            ctx,
            note: String::new(),
            body: Bytes::new(),
            changed: false,
        }
    }

    /// Before the message is processed: changes its body, or gives the outcome with which it ends
    /// unprocessed.
    pub(crate) fn before(&mut self, message: &mut Message) -> Option<Outcome> {
        let hooks = self.hooks?;
        let judged = hooks.before(&message.body.0, &message.source);
        self.note = judged.note;
        if let Some(body) = judged.body.filter(|_| judged.end.is_none()) {
            self.ctx.now_sends(&body);
            message.body.0 = body;
            self.changed = true;
        }
        self.body = message.body.0.clone();
        if let Some(reason) = judged.end {
            return Some(Outcome::failed(reason));
        }
        None
    }

    /// After it was processed, with the outcome as it would be recorded; gives the one that is.
    pub(crate) fn after(&self, message: &Message, outcome: Outcome) -> Outcome {
        self.decide(message, self.fill(outcome))
    }

    /// Puts into an outcome what the hooks before it did: their remarks, and the changed bytes into
    /// what it sends. Alone where the end is only decided once all that is sent is answered.
    pub(crate) fn fill(&self, mut outcome: Outcome) -> Outcome {
        if self.hooks.is_some() {
            put_before(&mut outcome, &self.note);
            if self.changed {
                sends_these(&mut outcome, &self.body);
            }
        }
        outcome
    }

    /// Asks the hooks after it about an outcome.
    pub(crate) fn decide(&self, message: &Message, mut outcome: Outcome) -> Outcome {
        let Some(hooks) = self.hooks else {
            return outcome;
        };
        if let Some(error) = self.unknown_target(&outcome) {
            outcome = Outcome::failed(error.message).with_note(outcome.note);
        }
        let (body, source) = (&self.body, &*message.source);
        let tries = message.live.attempts.saturating_add(1);
        let mut behind = String::new();
        if failed(&outcome)
            && let Some(recovery) = hooks.error(body, source, &outcome, tries, &mut behind)
        {
            recover(recovery, message, self.ctx, &mut outcome, &mut behind);
        }
        if is_end(outcome.verdict) {
            let after = hooks.after(body, source, &outcome, tries);
            remark(&mut behind, &after);
        }
        remark(&mut outcome.note, &behind);
        outcome
    }

    /// An outcome that sends to nobody is a failure, and the hooks are asked about that.
    fn unknown_target(&self, outcome: &Outcome) -> Option<HostError> {
        let Gate::Here(broker) = &self.ctx.gate else {
            return None;
        };
        let mut sends = outcome.sends.iter();
        sends.find_map(|send| broker.known(&send.target).err())
    }
}

/// Puts what a hook says in the place of what was. What it was stays in the note.
fn recover(
    recovery: Recovery,
    message: &Message,
    ctx: &HostContext,
    outcome: &mut Outcome,
    note: &mut String,
) {
    if let Some(verdict) = recovery.then {
        let (now, was) = (verdict_name(verdict), verdict_name(outcome.verdict));
        let text = format!(
            "on_process_error: {now} instead of {was}: {}",
            outcome.reason
        );
        remark(note, &text);
        outcome.verdict = verdict;
        if verdict == Verdict::Completed {
            outcome.reason = String::new();
        }
    } else if recovery.reason.is_some() {
        remark(
            note,
            &format!("on_process_error instead of: {}", outcome.reason),
        );
    }
    if let Some(reason) = recovery.reason {
        outcome.reason = reason;
    }
    if let Some(code) = recovery.reply
        && let Ok(request) = hie_hl7::Message::parse(&message.body)
    {
        let (time, id) = (ctx.clock().hl7_now(), message.live.id.to_string());
        let time = std::str::from_utf8(&time).unwrap_or_default();
        let mut reply = Vec::new();
        AckRequest::to(&request, code, time, &id)
            .text(&outcome.reason)
            .write(&mut reply);
        outcome.reply = Some(reply.into());
    }
}
