//! `HL7TCPService`: receives HL7 v2 messages over MLLP and answers each.
//!
//! One task a connection: read a frame, let it in, answer, next. Owns the acknowledgement modes;
//! framing is `hie-mllp`'s, durability the broker's, the shape of answers [`answer`](super::answer)'s.

use std::{net::SocketAddr, sync::atomic::Ordering, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use hie_engine::{
    HostError, ServiceContext,
    class::{Build, Class},
    config::{Finding, ItemConfig, ProductionConfig},
    host::{BusinessService, Origin},
    setting::{SettingDef, SettingType, Settings},
};
use hie_hl7::{AckCode, Message};
use hie_mllp::{FrameReader, FrameWriter, Framing, Limits, ReadError, ReadHalf, Stream, Timeouts, WriteHalf, tls::ServerTls};
use hie_store::{Content, State, StoreError};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::answer::{self, Answerer, Fault};
use crate::net::{self, Listener};

/// The class.
pub static CLASS: Class = Class {
    name: "HL7TCPService",
    aliases: &[
        "EnsLib.HL7.Service.TCPService",
        "li.hosts.hl7.HL7TCPService",
        "Engine.li.hosts.hl7.HL7TCPService",
    ],
    summary: "Receives HL7 v2 messages over MLLP and acknowledges each once it is on disk.",
    settings: &[net::INBOUND, net::FRAMING, SETTINGS, answer::SETTINGS],
    build: Build::Service(make),
    check,
};

const SETTINGS: &[SettingDef] = &[
    SettingDef::host("TargetConfigNames", SettingType::Items, "", "The items that get each message, comma-separated.").required(),
    SettingDef::host("AckMode", SettingType::Choice(&[
        &["Immediate", "Immed"], &["Application", "App"], &["MSH-determined", "Msh"], &["Never", "None"],
    ]), "Immediate",
        "When the sender is answered. Immediate: once the message is on disk. Application: with the reply of the target \
         (of the items in its ResponseFrom, for a router), or negatively after ResponseTimeout. MSH-determined: as MSH-15 \
         and MSH-16 of the message ask. Never: not at all."),
    SettingDef::host("ResponseTimeout", SettingType::Seconds { min: 0.001, max: 86_400.0, unlimited: Some("for ever") }, "30",
        "How many seconds an application answer may take. The message itself is kept and goes on in any case."),
    SettingDef::host("BadMessageHandler", SettingType::Items, "",
        "The item that gets messages which cannot be read. Without it they are kept in state Error.").optional(),
    SettingDef::host("IgnoreInboundAck", SettingType::Bool, "true",
        "Whether an acknowledgement that arrives as a message is kept as Discarded and not answered, which would go on for ever."),
];

fn check(item: &ItemConfig, _: &ProductionConfig) -> Vec<Finding> {
    let mut findings = net::check_tls(item, "TLSCertificateFile");
    if item.settings.list("BadMessageHandler").len() > 1 {
        findings.push(Finding {
            setting: Some("BadMessageHandler"),
            message: "more than one item is named".into(),
            help: Some("name one item".into()),
        });
    }
    findings
}

fn make(item: &ItemConfig, _: &ProductionConfig) -> Result<Box<dyn BusinessService>, HostError> {
    Ok(Box::new(HL7TCPService { settings: item.settings.clone(), listener: None }))
}

/// When a sender is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum AckMode {
    Immediate,
    Application,
    MshDetermined,
    Never,
}

struct HL7TCPService {
    settings: Settings,
    listener: Option<Listener>,
}

#[async_trait]
impl BusinessService for HL7TCPService {
    async fn on_start(&mut self, ctx: &ServiceContext) -> Result<(), HostError> {
        let listener = Listener::bind(&self.settings).await?;
        ctx.stats().note_address(listener.address.to_string());
        info!(item = ctx.name(), address = %listener.address, tls = listener.tls().is_some(), "listening");
        self.listener = Some(listener);
        Ok(())
    }

    async fn run(&mut self, ctx: &ServiceContext) -> Result<(), HostError> {
        let Some(listener) = self.listener.take() else {
            return Err(HostError::new("not-started", "the service was run before it was started"));
        };
        let limit = if self.settings.bool("JobPerConnection") { self.settings.size("MaxConnections") } else { 1 };
        let one_by_one = !self.settings.bool("JobPerConnection");
        let mut connections = JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            tokio::select! {
                biased;
                () = ctx.stopping().cancelled() => break,
                // With one connection at a time, the next waits in the listener's backlog.
                _ = connections.join_next(), if one_by_one && connections.len() >= limit => {}
                accepted = listener.accept(), if !(one_by_one && connections.len() >= limit) => match accepted {
                    Ok((tcp, peer)) if !listener.allowed.allows(peer.ip()) => {
                        warn!(item = ctx.name(), %peer, "refused: not in AllowedIPAddresses");
                        drop(tcp);
                    }
                    Ok((tcp, peer)) if connections.len() >= limit => {
                        warn!(item = ctx.name(), %peer, limit, "refused: MaxConnections are open");
                        drop(tcp);
                    }
                    Ok((tcp, peer)) => {
                        connections.spawn(serve(ctx.clone(), self.settings.clone(), tcp, listener.tls(), peer));
                    }
                    Err(error) => {
                        // Out of descriptors, as a rule: let connections end before trying again.
                        warn!(item = ctx.name(), "cannot take a connection: {error}");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
            }
        }
        drop(listener);
        while connections.join_next().await.is_some() {}
        Ok(())
    }
}

/// Serves one connection; its end is a log line and harms nobody else.
async fn serve(
    ctx: ServiceContext,
    settings: Settings,
    tcp: tokio::net::TcpStream,
    tls: Option<ServerTls>,
    peer: SocketAddr,
) {
    ctx.stats().connections.fetch_add(1, Ordering::Relaxed);
    let stream = match tls {
        Some(tls) => tls.accept(tcp).await.map_err(|error| error.to_string()),
        None => Stream::plain(tcp).map_err(|error| error.to_string()),
    };
    match stream {
        Ok(stream) => {
            let ended = Connection::new(&ctx, &settings, stream, peer).run().await;
            if let Err(reason) = ended {
                warn!(item = ctx.name(), %peer, "connection closed: {reason}");
                ctx.stats().note_error(format!("connection from {peer}: {reason}"));
            }
        }
        Err(reason) => warn!(item = ctx.name(), %peer, "connection refused: {reason}"),
    }
    ctx.stats().connections.fetch_sub(1, Ordering::Relaxed);
}

/// Whether the connection goes on after a message.
#[derive(PartialEq, Eq)]
enum After {
    Read,
    Close,
}

struct Connection<'a> {
    ctx: &'a ServiceContext,
    settings: &'a Settings,
    reader: FrameReader<ReadHalf>,
    writer: FrameWriter<WriteHalf>,
    answerer: Answerer,
    mode: AckMode,
    origin: String,
    /// The answer that is being written; kept for its memory.
    answer: Vec<u8>,
}

impl<'a> Connection<'a> {
    fn new(ctx: &'a ServiceContext, settings: &'a Settings, stream: Stream, peer: SocketAddr) -> Self {
        let framing = settings.text("Framing").and_then(|text| net::parse_framing(text).ok()).unwrap_or(Framing::MLLP);
        let limits = Limits { max_message_bytes: settings.size("MaxMessageSize"), ..Limits::default() };
        let idle = settings.duration("StayConnected").filter(|idle| !idle.is_zero());
        let timeouts = Timeouts {
            first_byte: idle,
            idle,
            read: settings.duration("ReadTimeout"),
            frame: settings.duration("FrameTimeout"),
        };
        let (read, write) = stream.split();
        let mode = match settings.text("AckMode") {
            Some("Application") => AckMode::Application,
            Some("MSH-determined") => AckMode::MshDetermined,
            Some("Never") => AckMode::Never,
            _ => AckMode::Immediate,
        };
        Self {
            ctx,
            settings,
            reader: FrameReader::with(read, framing, limits, timeouts),
            writer: FrameWriter::new(write, framing).with_timeout(settings.duration("WriteTimeout")),
            answerer: Answerer::new(settings),
            mode,
            origin: peer.to_string(),
            answer: Vec::new(),
        }
    }

    /// Serves messages until the sender leaves or the service stops. The error is for the log.
    async fn run(mut self) -> Result<(), String> {
        let stopping: CancellationToken = self.ctx.stopping().clone();
        let close_each = self.settings.duration("StayConnected").is_some_and(|idle| idle.is_zero());
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
                Err(ReadError::TooLong { limit_bytes, head }) => self.too_long(limit_bytes, head.0).await?,
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

    fn origin(&self) -> Origin<'_> {
        Origin { from: &self.origin, content: Content::Hl7v2 }
    }

    async fn message(&mut self, body: Bytes) -> Result<After, String> {
        self.answer.clear();
        let after = match Message::parse(&body) {
            Ok(message) if self.is_stray_ack(&message) => {
                let reason = "an acknowledgement arrived as a message (IgnoreInboundAck)";
                self.keep(&body, State::Discarded, reason).await
            }
            Ok(message) => match self.mode {
                AckMode::Immediate => self.immediate(&body, &message).await,
                AckMode::Application => self.application(&body, &message, true).await,
                AckMode::MshDetermined => self.as_msh_asks(&body, &message).await?,
                AckMode::Never => self.silently(&body).await,
            },
            Err(error) => self.unreadable(&body, &error.to_string()).await,
        };
        self.send_answer().await?;
        Ok(after)
    }

    async fn send_answer(&mut self) -> Result<(), String> {
        if self.answer.is_empty() || self.mode == AckMode::Never {
            return Ok(());
        }
        self.writer.send(&self.answer).await.map_err(|error| error.to_string())
    }

    fn is_stray_ack(&self, message: &Message<'_>) -> bool {
        self.settings.bool("IgnoreInboundAck") && message.header().message_code == b"ACK"
    }

    async fn immediate(&mut self, body: &Bytes, message: &Message<'_>) -> After {
        let commit = self.answerer.uses_commit_codes(message);
        match self.ctx.accept(self.origin(), body).await {
            Ok(accepted) => {
                let id = accepted.first_id.0;
                self.answerer.accept(&accepted.durable, message, commit, id, self.ctx.clock(), &mut self.answer);
                After::Read
            }
            Err(error) => self.not_taken(Some(message), commit, &error),
        }
    }

    async fn silently(&mut self, body: &Bytes) -> After {
        match self.ctx.accept(self.origin(), body).await {
            Ok(_) => After::Read,
            // Without answers, closing is the only way to tell the sender.
            Err(error) => {
                self.not_taken(None, false, &error);
                After::Close
            }
        }
    }

    /// Passes the reply of the target on. `always`: also a positive one.
    async fn application(&mut self, body: &Bytes, message: &Message<'_>, always: bool) -> After {
        let timeout = self.settings.duration("ResponseTimeout");
        let (accepted, response) = match self.ctx.request(self.origin(), body, timeout).await {
            Ok(answered) => answered,
            Err(error) => return self.not_taken(Some(message), false, &error),
        };
        let id = accepted.first_id.0;
        match response {
            Some(response) if response.reply.is_some() => {
                let reply = response.reply.unwrap_or_default();
                let positive = hie_hl7::ack::read(&reply).is_ok_and(|ack| ack.code.is_some_and(AckCode::is_accept));
                if always || !positive {
                    self.answer.extend_from_slice(&reply);
                }
            }
            Some(response) if response.state == State::Completed => {
                if always {
                    self.answerer.accept(&accepted.durable, message, false, id, self.ctx.clock(), &mut self.answer);
                }
            }
            Some(response) => {
                let reason = format!("the target ended in state {}", response.state.name());
                self.refuse(Some(message), Fault::Content, false, &reason, id);
            }
            None => {
                let reason = "the target did not answer in time; the message is kept and goes on";
                self.refuse(Some(message), Fault::System, false, reason, id);
            }
        }
        After::Read
    }

    /// MSH-15 asks for the commit answer, MSH-16 for the application's (HL7 v2 chapter 2, enhanced
    /// mode). Both empty is original mode.
    async fn as_msh_asks(&mut self, body: &Bytes, message: &Message<'_>) -> Result<After, String> {
        let header = message.header();
        let (accept, application) = (header.accept_ack.trim_ascii(), header.application_ack.trim_ascii());
        if accept.is_empty() && application.is_empty() {
            return Ok(self.immediate(body, message).await);
        }
        if matches!(application, b"AL" | b"SU" | b"ER") {
            return self.both_answers(body, message, accept, application).await;
        }
        match self.ctx.accept(self.origin(), body).await {
            Ok(accepted) => {
                if matches!(accept, b"AL" | b"SU") {
                    let id = accepted.first_id.0;
                    self.answerer.accept(&accepted.durable, message, true, id, self.ctx.clock(), &mut self.answer);
                }
                Ok(After::Read)
            }
            Err(error) => {
                let after = self.not_taken(Some(message), true, &error);
                if !matches!(accept, b"AL" | b"ER") {
                    self.answer.clear();
                }
                Ok(after)
            }
        }
    }

    /// The commit answer at once if it is asked for, the application's when it comes.
    async fn both_answers(
        &mut self,
        body: &Bytes,
        message: &Message<'_>,
        accept: &[u8],
        application: &[u8],
    ) -> Result<After, String> {
        if !matches!(accept, b"AL" | b"SU") {
            return Ok(self.application(body, message, application != b"ER").await);
        }
        let (accepted, response) = match self.ctx.begin_request(self.origin(), body).await {
            Ok(begun) => begun,
            Err(error) => return Ok(self.not_taken(Some(message), true, &error)),
        };
        let id = accepted.first_id.0;
        self.answerer.accept(&accepted.durable, message, true, id, self.ctx.clock(), &mut self.answer);
        self.send_answer().await?;
        self.answer.clear();
        let timeout = self.settings.duration("ResponseTimeout").unwrap_or(Duration::MAX);
        let response = tokio::time::timeout(timeout, response).await.ok().flatten();
        if let Some(reply) = response.and_then(|response| response.reply) {
            let positive = hie_hl7::ack::read(&reply).is_ok_and(|ack| ack.code.is_some_and(AckCode::is_accept));
            let wanted = match application {
                b"AL" => true,
                b"SU" => positive,
                _ => !positive,
            };
            if wanted {
                self.answer.extend_from_slice(&reply);
            }
        }
        Ok(After::Read)
    }

    /// Keeps what cannot be read, with its bytes, and says so.
    async fn unreadable(&mut self, body: &Bytes, reason: &str) -> After {
        warn!(item = self.ctx.name(), peer = self.origin, bytes = body.len(), "unreadable message: {reason}");
        let handler = self.settings.list("BadMessageHandler").first().map(String::as_str);
        match self.ctx.accept_bad(self.origin(), body, reason, handler).await {
            Ok(accepted) => self.refuse(None, Fault::Content, false, reason, accepted.first_id.0),
            Err(error) => return self.not_taken(None, false, &error),
        }
        After::Read
    }

    /// Keeps the beginning of a message that passed `MaxMessageSize`, and refuses it.
    async fn too_long(&mut self, limit: usize, head: Bytes) -> Result<After, String> {
        self.answer.clear();
        let reason = format!("the message is longer than MaxMessageSize ({limit} bytes); only its beginning is kept");
        warn!(item = self.ctx.name(), peer = self.origin, "{reason}");
        let kept = self.ctx.accept_bad(self.origin(), &head, &reason, None).await;
        let after = match kept {
            Ok(accepted) => {
                let message = Message::parse(&head).ok();
                self.refuse(message.as_ref(), Fault::Content, false, &reason, accepted.first_id.0);
                After::Read
            }
            Err(error) => self.not_taken(None, false, &error),
        };
        self.send_answer().await?;
        Ok(after)
    }

    async fn keep(&mut self, body: &Bytes, state: State, reason: &str) -> After {
        match self.ctx.keep(self.origin(), body, state, reason).await {
            Ok(_) => After::Read,
            Err(error) => self.not_taken(None, false, &error),
        }
    }

    /// The engine cannot take the message: say so, or, when it is stopping, say nothing and close;
    /// a sender takes silence for "send again", and some take a refusal for "skip".
    fn not_taken(&mut self, message: Option<&Message<'_>>, commit: bool, error: &StoreError) -> After {
        if self.ctx.stopping().is_cancelled() {
            return After::Close;
        }
        self.ctx.stats().rejected.fetch_add(1, Ordering::Relaxed);
        self.ctx.stats().note_error(error.to_string());
        warn!(item = self.ctx.name(), peer = self.origin, code = error.code(), "message not taken: {error}");
        self.refuse(message, Fault::System, commit, "the engine cannot store messages now", 0);
        After::Read
    }

    fn refuse(&mut self, message: Option<&Message<'_>>, fault: Fault, commit: bool, reason: &str, id: u64) {
        self.answerer.refuse(message, fault, commit, reason, id, self.ctx.clock(), &mut self.answer);
    }
}
