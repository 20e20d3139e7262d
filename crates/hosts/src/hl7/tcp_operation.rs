//! `HL7TCPOperation`: sends HL7 v2 messages over MLLP and judges each reply.
//!
//! One connection a job, one message on it at a time; the reply that comes is the reply to what
//! was sent, because a connection on which a reply was late is closed. Owns the connection; what a
//! reply means is [`reply_codes`](super::reply_codes)'s, when to try again the engine's.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt;
use hie_engine::{
    HostContext, HostError,
    class::{Build, Class},
    config::{Finding, ItemConfig, ProductionConfig},
    host::{BusinessOperation, Message, Outcome, Verdict},
    setting::{SettingDef, SettingType, Settings},
};
use hie_mllp::{
    FrameReader, FrameWriter, Framing, Limits, ReadError, ReadHalf, Stream, Timeouts, WriteError,
    WriteHalf,
};
use tracing::{debug, warn};

use super::reply_codes::{self, Reply, ReplyCodeActions};
use crate::net::{self, Dialler};

/// The class.
pub static CLASS: Class = Class {
    name: "HL7TCPOperation",
    aliases: &[
        "EnsLib.HL7.Operation.TCPOperation",
        "li.hosts.hl7.HL7TCPOperation",
        "Engine.li.hosts.hl7.HL7TCPOperation",
    ],
    summary: "Sends HL7 v2 messages over MLLP and acts on the reply.",
    settings: &[net::OUTBOUND, net::FRAMING, SETTINGS],
    build: Build::Operation(make),
    check,
};

const SETTINGS: &[SettingDef] = &[
    SettingDef::host(
        "ReplyCodeActions",
        SettingType::Checked(reply_codes::check),
        reply_codes::DEFAULT,
        "What to do on which reply: a comma-separated list of code=actions in the grammar of IRIS. Codes: :AA, :?A, :?E, \
         :?R, :_, :*, :~, :I?, :T?, E, E*<text>, X. Actions: C completed, W warn, R retry then the next letter, \
         S suspend, D disable, F fail.",
    ),
    SettingDef::host(
        "GetReply",
        SettingType::Bool,
        "true",
        "Whether a reply is waited for. False: a message is done once it is sent, which proves nothing of its arrival.",
    ),
];

fn check(item: &ItemConfig, _: &ProductionConfig) -> Vec<Finding> {
    net::check_tls(item, "TLSCAFile")
}

fn make(item: &ItemConfig, _: &ProductionConfig) -> Result<Box<dyn BusinessOperation>, HostError> {
    let settings = &item.settings;
    let actions = ReplyCodeActions::parse(settings.text("ReplyCodeActions").unwrap_or_default());
    Ok(Box::new(HL7TCPOperation {
        dialler: Dialler::new(settings)?,
        actions: actions.map_err(|error| HostError::new("bad-setting", error))?,
        settings: settings.clone(),
        connection: None,
        failed_tries: 0,
    }))
}

struct Connection {
    reader: FrameReader<ReadHalf>,
    writer: FrameWriter<WriteHalf>,
}

struct HL7TCPOperation {
    dialler: Dialler,
    actions: ReplyCodeActions,
    settings: Settings,
    connection: Option<Connection>,
    /// Tries in a row that ended in a retry, for `ReconnectRetry`.
    failed_tries: usize,
}

#[async_trait]
impl BusinessOperation for HL7TCPOperation {
    async fn on_start(&mut self, ctx: &HostContext) -> Result<(), HostError> {
        ctx.stats().note_address(self.dialler.peer());
        Ok(())
    }

    async fn on_message(
        &mut self,
        ctx: &HostContext,
        message: &Message,
    ) -> Result<Outcome, HostError> {
        let exchanged = self.exchange(ctx, &message.body.0).await;
        let outcome = match &exchanged {
            Ok(Some(reply)) => self.judge(&message.body, reply).with_reply(reply.clone()),
            Ok(None) => Outcome::completed().with_note("sent; no reply was waited for (GetReply)"),
            Err(Failure::Unframeable(reason)) => Outcome::failed(reason.clone()),
            Err(Failure::Passing(reason)) => self.actions.judge(&Reply::Failure(reason)),
        };
        self.after(&outcome);
        Ok(outcome)
    }

    fn idle_limit(&self) -> Option<Duration> {
        self.settings.duration("StayConnected")
    }

    async fn on_idle(&mut self, ctx: &HostContext) {
        if self.connection.is_some() {
            debug!(item = ctx.name(), "idle for StayConnected: disconnecting");
            self.disconnect().await;
        }
    }

    async fn on_stop(&mut self, _ctx: &HostContext) {
        self.disconnect().await;
    }
}

/// Why there is no reply.
enum Failure {
    /// The message can never be sent as it is.
    Unframeable(String),
    /// Anything that may be better next time.
    Passing(String),
}

impl HL7TCPOperation {
    /// Says what a reply means. Where it is not clear that it is the reply to what was sent, the
    /// connection is made anew: the right one may still come, and must not meet the next message.
    fn judge(&mut self, sent: &[u8], reply: &[u8]) -> Outcome {
        let control_id = hie_hl7::Message::parse(sent)
            .map(|message| message.header().control_id)
            .unwrap_or_default();
        let Ok(ack) = hie_hl7::ack::read(reply) else {
            self.connection = None;
            return self.actions.judge(&Reply::NoMsa);
        };
        if ack.control_id != control_id {
            self.connection = None;
        }
        self.actions.judge(&Reply::Ack(ack, control_id))
    }

    async fn disconnect(&mut self) {
        if let Some(mut connection) = self.connection.take() {
            let _ = connection.writer.shutdown().await;
        }
    }

    /// Keeps or drops the connection as the settings say.
    fn after(&mut self, outcome: &Outcome) {
        let retry = matches!(outcome.verdict, Verdict::Retry(_));
        self.failed_tries = if retry { self.failed_tries + 1 } else { 0 };
        let patience = self.settings.size("ReconnectRetry");
        let close_each = self
            .settings
            .duration("StayConnected")
            .is_some_and(|stay| stay.is_zero());
        if close_each || (patience > 0 && self.failed_tries >= patience) {
            self.connection = None;
            self.failed_tries = 0;
        }
    }

    /// Sends the bytes and reads the reply. Any failure closes the connection: a reply that comes
    /// later must not be taken for the reply to the next message.
    async fn exchange(
        &mut self,
        ctx: &HostContext,
        body: &Bytes,
    ) -> Result<Option<Bytes>, Failure> {
        let get_reply = self.settings.bool("GetReply");
        let open = self
            .connection
            .take()
            .and_then(|connection| still_open(ctx, connection, get_reply));
        let mut connection = match open {
            Some(open) => open,
            None => self.connect().await.map_err(Failure::Passing)?,
        };
        connection
            .writer
            .send(body)
            .await
            .map_err(|error| match error {
                WriteError::Encode(error) => {
                    Failure::Unframeable(format!("the message cannot be framed: {error}"))
                }
                error => Failure::Passing(format!("{}: {error}", self.dialler.peer())),
            })?;
        if !get_reply {
            self.connection = Some(connection);
            return Ok(None);
        }
        let reply = connection.reader.next().await;
        match reply {
            Ok(Some(reply)) => {
                self.connection = Some(connection);
                Ok(Some(reply))
            }
            Ok(None) => Err(Failure::Passing(format!(
                "{} closed the connection without a reply",
                self.dialler.peer()
            ))),
            Err(ReadError::Idle { after }) => Err(Failure::Passing(format!(
                "{} sent no reply within {after:?} (ReplyTimeout)",
                self.dialler.peer()
            ))),
            Err(error) => Err(Failure::Passing(format!(
                "{}: while waiting for the reply: {error}",
                self.dialler.peer()
            ))),
        }
    }

    async fn connect(&self) -> Result<Connection, String> {
        let stream: Stream = self.dialler.connect().await?;
        let settings = &self.settings;
        let framing = settings
            .text("Framing")
            .and_then(|text| net::parse_framing(text).ok())
            .unwrap_or(Framing::MLLP);
        let limits = Limits {
            max_message_bytes: settings.size("MaxMessageSize"),
            ..Limits::default()
        };
        let reply = settings.duration("ReplyTimeout");
        let timeouts = Timeouts {
            first_byte: reply,
            idle: reply,
            read: settings.duration("ReadTimeout"),
            frame: None,
        };
        let (read, write) = stream.split();
        Ok(Connection {
            reader: FrameReader::with(read, framing, limits, timeouts),
            writer: FrameWriter::new(write, framing)
                .with_timeout(settings.duration("WriteTimeout")),
        })
    }
}

/// The connection, unless its peer has closed it while it was idle or, where replies are read,
/// said something unasked on it; finding that out before sending spares a repeated message.
fn still_open(
    ctx: &HostContext,
    mut connection: Connection,
    get_reply: bool,
) -> Option<Connection> {
    loop {
        match connection.reader.next().now_or_never() {
            None => return Some(connection),
            Some(Ok(Some(_))) if !get_reply => {}
            Some(Ok(Some(unasked))) => {
                let bytes = unasked.len();
                warn!(
                    item = ctx.name(),
                    bytes, "a reply came unasked; the connection is made anew"
                );
                return None;
            }
            Some(Ok(None) | Err(_)) => {
                debug!(item = ctx.name(), "the peer closed the idle connection");
                return None;
            }
        }
    }
}
