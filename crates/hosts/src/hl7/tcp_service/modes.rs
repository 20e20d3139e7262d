//! When a sender is answered: `AckMode`.
//!
//! Owns which answers a message gets and when; their shape is [`answer`](crate::hl7::answer)'s.

use bytes::Bytes;
use hie_engine::{
    broker::{Accepted, Response},
    hooks::{self, NotAccepted},
    pattern::Pattern,
    setting::Settings,
};
use hie_hl7::{AckCode, Message};
use hie_store::State;

use super::connection::{After, Connection};
use crate::hl7::answer::Fault;

/// When a sender is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum AckMode {
    Immediate,
    Application,
    MshDetermined,
    Never,
}

impl AckMode {
    /// Where the item's pattern makes its senders wait, they wait for the application's answer,
    /// unless the item says otherwise.
    pub(super) fn of(settings: &Settings) -> Self {
        if !settings.is_given("AckMode") && waits(settings) {
            return Self::Application;
        }
        match settings.text("AckMode") {
            Some("Application") => Self::Application,
            Some("MSH-determined") => Self::MshDetermined,
            Some("Never") => Self::Never,
            _ => Self::Immediate,
        }
    }
}

/// Whether the pattern of the item makes its senders wait.
pub(super) fn waits(settings: &Settings) -> bool {
    let pattern = settings.text("MessagingPattern").and_then(Pattern::named);
    pattern.is_some_and(Pattern::waits)
}

/// Which answers of one kind a sender wants (HL7 table 0155).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wanted {
    Always,
    OnSuccess,
    OnError,
    Never,
}

impl Wanted {
    /// MSH-15 or MSH-16; empty in enhanced mode, and anything unknown, asks for nothing.
    fn read(field: &[u8]) -> Self {
        match field.trim_ascii() {
            b"AL" => Self::Always,
            b"SU" => Self::OnSuccess,
            b"ER" => Self::OnError,
            _ => Self::Never,
        }
    }

    fn takes(self, positive: bool) -> bool {
        match self {
            Self::Always => true,
            Self::OnSuccess => positive,
            Self::OnError => !positive,
            Self::Never => false,
        }
    }
}

impl Connection<'_> {
    /// Lets a message in and prepares what its sender is told.
    pub(super) async fn answer_in_time(
        &mut self,
        body: &Bytes,
        message: &Message<'_>,
    ) -> Result<After, String> {
        match self.mode {
            AckMode::Immediate => Ok(self.immediate(body, message).await),
            AckMode::Application => {
                self.enhanced(body, message, Wanted::Never, Wanted::Always)
                    .await
            }
            AckMode::MshDetermined => self.as_msh_asks(body, message).await,
            AckMode::Never => Ok(self.silently(body).await),
        }
    }

    async fn immediate(&mut self, body: &Bytes, message: &Message<'_>) -> After {
        let commit = self.answerer.uses_commit_codes(message);
        match self.ctx.accept(self.origin(), body).await {
            Ok(accepted) => {
                let id = accepted.first_id.0;
                self.answerer.accept(
                    &accepted.durable,
                    message,
                    commit,
                    id,
                    self.ctx.clock(),
                    &mut self.answer,
                );
                After::Read
            }
            Err(error) => self.not_taken(Some(message), commit, error),
        }
    }

    async fn silently(&mut self, body: &Bytes) -> After {
        match self.ctx.accept(self.origin(), body).await {
            Ok(_) | Err(NotAccepted::Rejected(_)) => After::Read,
            // Without answers, closing is the only way to tell the sender.
            Err(error) => {
                self.not_taken(None, false, error);
                After::Close
            }
        }
    }

    /// MSH-15 asks for the commit answer, MSH-16 for the application's (HL7 v2 chapter 2, enhanced
    /// mode). Both empty is original mode.
    async fn as_msh_asks(&mut self, body: &Bytes, message: &Message<'_>) -> Result<After, String> {
        let header = message.header();
        let (commit, application) = (header.accept_ack, header.application_ack);
        if commit.trim_ascii().is_empty() && application.trim_ascii().is_empty() {
            return Ok(self.immediate(body, message).await);
        }
        self.enhanced(
            body,
            message,
            Wanted::read(commit),
            Wanted::read(application),
        )
        .await
    }

    /// The commit answer once the message is on disk, the application's when it comes; each if it
    /// is wanted.
    async fn enhanced(
        &mut self,
        body: &Bytes,
        message: &Message<'_>,
        commit: Wanted,
        application: Wanted,
    ) -> Result<After, String> {
        let begun = if application == Wanted::Never {
            let accepted = self.ctx.accept(self.origin(), body).await;
            accepted.map(|accepted| (accepted, None))
        } else {
            let begun = self.ctx.begin_request(self.origin(), body).await;
            begun.map(|(accepted, response)| (accepted, Some(response)))
        };
        let (accepted, response) = match begun {
            Ok(begun) => begun,
            Err(error) => {
                let after = self.not_taken(Some(message), commit != Wanted::Never, error);
                if !commit.takes(false) && !application.takes(false) {
                    self.answer.clear();
                }
                return Ok(after);
            }
        };
        let id = accepted.first_id.0;
        if commit.takes(true) {
            let (clock, answer) = (self.ctx.clock(), &mut self.answer);
            self.answerer
                .accept(&accepted.durable, message, true, id, clock, answer);
        }
        let Some(response) = response else {
            return Ok(After::Read);
        };
        self.send_answer().await?;
        self.answer.clear();
        let response = match self.settings.duration("ResponseTimeout") {
            Some(timeout) => tokio::time::timeout(timeout, response).await.ok().flatten(),
            None => response.await,
        };
        let positive = self.write_application_answer(&accepted, message, response);
        if !application.takes(positive) {
            self.answer.clear();
        }
        Ok(After::Read)
    }

    /// The reply of the target as it is, or an answer made here where it gave none. True for a
    /// positive one.
    fn write_application_answer(
        &mut self,
        accepted: &Accepted,
        message: &Message<'_>,
        response: Option<Response>,
    ) -> bool {
        let id = accepted.first_id.0;
        let (fault, reason) = match response {
            Some(Response {
                reply: Some(reply), ..
            }) => {
                self.answer.extend_from_slice(&reply);
                let ack = hie_hl7::ack::read(&reply);
                return ack.is_ok_and(|ack| ack.code.is_some_and(AckCode::is_accept));
            }
            // What a rule dropped on purpose is done: its sender has nothing to repeat.
            Some(Response {
                state: State::Completed | State::Discarded,
                ..
            }) => {
                let (clock, answer) = (self.ctx.clock(), &mut self.answer);
                self.answerer
                    .accept(&accepted.durable, message, false, id, clock, answer);
                return true;
            }
            Some(response) => (
                Fault::Content,
                match hooks::rejection(&response.reason) {
                    Some(reason) => reason.to_owned(),
                    None => format!("the target ended in state {}", response.state.name()),
                },
            ),
            None => (
                Fault::System,
                "the target did not answer in time; the message is kept and goes on".into(),
            ),
        };
        self.refuse(Some(message), fault, false, &reason, id);
        false
    }
}
