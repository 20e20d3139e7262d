//! One connection of the service: read a frame, let it in, answer, next.
//!
//! Owns the conversation and what is said of messages that cannot be taken. When a message that can
//! be read is answered is [`modes`](super::modes)'.

use std::{net::SocketAddr, sync::atomic::Ordering};

use bytes::Bytes;
use hie_engine::{ServiceContext, hooks::NotAccepted, host::Origin, setting::Settings};
use hie_hl7::Message;
use hie_mllp::{
    FrameReader, FrameWriter, Framing, Limits, ReadError, ReadHalf, Stream, Timeouts, WriteHalf,
};
use hie_store::{Content, State};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::modes::AckMode;
use crate::{
    hl7::answer::{Answerer, Fault},
    net,
};

/// Whether the connection goes on after a message.
#[derive(PartialEq, Eq)]
pub(super) enum After {
    Read,
    Close,
}

pub(super) struct Connection<'a> {
    pub(super) ctx: &'a ServiceContext,
    pub(super) settings: &'a Settings,
    reader: FrameReader<ReadHalf>,
    writer: FrameWriter<WriteHalf>,
    pub(super) answerer: Answerer,
    pub(super) mode: AckMode,
    origin: String,
    /// The answer that is being written; kept for its memory.
    pub(super) answer: Vec<u8>,
}

impl<'a> Connection<'a> {
    pub(super) fn new(
        ctx: &'a ServiceContext,
        settings: &'a Settings,
        stream: Stream,
        peer: SocketAddr,
    ) -> Self {
        let framing = settings
            .text("Framing")
            .and_then(|text| net::parse_framing(text).ok())
            .unwrap_or(Framing::MLLP);
        let limits = Limits {
            max_message_bytes: settings.size("MaxMessageSize"),
            ..Limits::default()
        };
        let idle = settings
            .duration("StayConnected")
            .filter(|idle| !idle.is_zero());
        let timeouts = Timeouts {
            first_byte: idle,
            idle,
            read: settings.duration("ReadTimeout"),
            frame: settings.duration("FrameTimeout"),
        };
        let (read, write) = stream.split();
        Self {
            ctx,
            settings,
            reader: FrameReader::with(read, framing, limits, timeouts),
            writer: FrameWriter::new(write, framing)
                .with_timeout(settings.duration("WriteTimeout")),
            answerer: Answerer::new(settings),
            mode: AckMode::of(settings),
            origin: peer.to_string(),
            answer: Vec::new(),
        }
    }

    /// Serves messages until the sender leaves or the service stops. The error is for the log.
    pub(super) async fn run(mut self) -> Result<(), String> {
        let stopping: CancellationToken = self.ctx.stopping().clone();
        let close_each = self
            .settings
            .duration("StayConnected")
            .is_some_and(|idle| idle.is_zero());
        loop {
            // Only waiting is cut short by a stop: a message in hand is answered first.
            let frame = tokio::select! {
                biased;
                () = stopping.cancelled() => break,
                frame = self.reader.next() => frame,
            };
            let after = match frame {
                Ok(None) => break,
                Ok(Some(body)) => self.message(body).await?,
                Err(ReadError::TooLong { limit_bytes, head }) => {
                    self.too_long(limit_bytes, head.0).await?
                }
                Err(ReadError::Idle { .. }) => break,
                Err(error) => return Err(error.to_string()),
            };
            if after == After::Close || close_each {
                break;
            }
        }
        let _ = self.writer.shutdown().await;
        Ok(())
    }

    pub(super) fn origin(&self) -> Origin<'_> {
        Origin {
            from: &self.origin,
            content: Content::Hl7v2,
        }
    }

    async fn message(&mut self, body: Bytes) -> Result<After, String> {
        self.answer.clear();
        let after = match Message::parse(&body) {
            Ok(message) if self.is_stray_ack(&message) => self.drop_ack(&body).await,
            Ok(message) => self.answer_in_time(&body, &message).await?,
            Err(error) => self.unreadable(&body, &error.to_string()).await,
        };
        self.send_answer().await?;
        Ok(after)
    }

    pub(super) async fn send_answer(&mut self) -> Result<(), String> {
        if self.answer.is_empty() || self.mode == AckMode::Never {
            return Ok(());
        }
        self.writer
            .send(&self.answer)
            .await
            .map_err(|error| error.to_string())
    }

    fn is_stray_ack(&self, message: &Message<'_>) -> bool {
        self.settings.bool("IgnoreInboundAck") && message.header().message_code == b"ACK"
    }

    /// Keeps what cannot be read, with its bytes, and says so.
    async fn unreadable(&mut self, body: &Bytes, reason: &str) -> After {
        warn!(
            item = self.ctx.name(),
            peer = self.origin,
            bytes = body.len(),
            "unreadable message: {reason}"
        );
        let handler = self
            .settings
            .list("BadMessageHandler")
            .first()
            .map(String::as_str);
        match self
            .ctx
            .accept_bad(self.origin(), body, reason, handler)
            .await
        {
            Ok(accepted) => self.refuse(None, Fault::Content, false, reason, accepted.first_id.0),
            Err(error) => return self.not_taken(None, false, error),
        }
        After::Read
    }

    /// Keeps the beginning of a message that passed `MaxMessageSize`, and refuses it.
    async fn too_long(&mut self, limit: usize, head: Bytes) -> Result<After, String> {
        self.answer.clear();
        let reason = format!(
            "the message is longer than MaxMessageSize ({limit} bytes); only its beginning is kept"
        );
        warn!(item = self.ctx.name(), peer = self.origin, "{reason}");
        let kept = self
            .ctx
            .accept_bad(self.origin(), &head, &reason, None)
            .await;
        let after = match kept {
            Ok(accepted) => {
                let (message, id) = (Message::parse(&head).ok(), accepted.first_id.0);
                let commit = message
                    .as_ref()
                    .is_some_and(|message| self.answerer.uses_commit_codes(message));
                self.refuse(message.as_ref(), Fault::Content, commit, &reason, id);
                After::Read
            }
            Err(error) => self.not_taken(None, false, error),
        };
        self.send_answer().await?;
        Ok(after)
    }

    /// Keeps an acknowledgement that came as a message, and says nothing: an answer to an answer
    /// would go on for ever.
    async fn drop_ack(&mut self, body: &Bytes) -> After {
        let reason = "an acknowledgement arrived as a message (IgnoreInboundAck)";
        let kept = self.ctx.keep(self.origin(), body, State::Discarded, reason);
        match kept.await {
            Ok(_) => After::Read,
            Err(error) => {
                self.not_taken(None, false, error);
                self.answer.clear();
                After::Close
            }
        }
    }

    /// The message is not taken. A hook rejected it: say why. The engine cannot take it: say so, or, when it is stopping, say nothing and close;
    /// a sender takes silence for "send again", and some take a refusal for "skip".
    pub(super) fn not_taken(
        &mut self,
        message: Option<&Message<'_>>,
        commit: bool,
        error: impl Into<NotAccepted>,
    ) -> After {
        let error = match error.into() {
            // It is kept, counted and logged: the sender learns why it went nowhere.
            NotAccepted::Rejected(rejected) => {
                let (reason, id) = (rejected.reason, rejected.id.0);
                self.refuse(message, Fault::Content, commit, &reason, id);
                return After::Read;
            }
            NotAccepted::Store(error) => error,
        };
        if self.ctx.stopping().is_cancelled() {
            return After::Close;
        }
        self.ctx.stats().rejected.fetch_add(1, Ordering::Relaxed);
        self.ctx.stats().note_error(error.to_string());
        warn!(
            item = self.ctx.name(),
            peer = self.origin,
            code = error.code(),
            "message not taken: {error}"
        );
        let why = match error.code() {
            "queue-full" => error.to_string(),
            _ => "the engine cannot store messages now".to_owned(),
        };
        self.refuse(message, Fault::System, commit, &why, 0);
        After::Read
    }

    pub(super) fn refuse(
        &mut self,
        message: Option<&Message<'_>>,
        fault: Fault,
        commit: bool,
        reason: &str,
        id: u64,
    ) {
        self.answerer.refuse(
            message,
            fault,
            commit,
            reason,
            id,
            self.ctx.clock(),
            &mut self.answer,
        );
    }
}
