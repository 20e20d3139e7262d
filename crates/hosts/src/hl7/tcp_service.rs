//! `HL7TCPService`: receives HL7 v2 messages over MLLP and answers each.
//!
//! One task a connection (`connection`), answered as its acknowledgement mode says (`modes`). Owns
//! listening and who is let in; framing is `hie-mllp`'s, durability the broker's, the shape of
//! answers [`answer`](super::answer)'s.

mod connection;
mod modes;

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use async_trait::async_trait;
use hie_engine::{
    HostError, ServiceContext,
    class::{Build, Class},
    config::{Finding, ItemConfig, ProductionConfig},
    host::BusinessService,
    setting::{SettingDef, SettingType, Settings},
    stats::ItemStats,
};
use hie_mllp::{Stream, tls::ServerTls};
use tokio::{net::TcpStream, task::JoinSet};
use tracing::{info, warn};

use super::answer;
use crate::net::{self, Listener};
use connection::Connection;

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
         and MSH-16 of the message ask. Never: not at all. Where MessagingPattern is sync_reliable or concurrent_sync \
         and AckMode is not given, it is Application."),
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
    let settings = &item.settings;
    if modes::waits(settings)
        && settings.is_given("AckMode")
        && settings.text("AckMode") == Some("Immediate")
    {
        let pattern = settings.text("MessagingPattern").unwrap_or_default();
        findings.push(Finding {
            setting: Some("AckMode"),
            message: format!(
                "Immediate answers at once, and MessagingPattern {pattern} makes the sender wait for the response"
            ),
            help: Some("remove AckMode, or set MessagingPattern to async_reliable".into()),
        });
    }
    findings
}

fn make(item: &ItemConfig, _: &ProductionConfig) -> Result<Box<dyn BusinessService>, HostError> {
    Ok(Box::new(HL7TCPService {
        settings: Arc::new(item.settings.clone()),
        listener: None,
    }))
}

struct HL7TCPService {
    settings: Arc<Settings>,
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
            return Err(HostError::new(
                "not-started",
                "the service was run before it was started",
            ));
        };
        let one_by_one = !self.settings.bool("JobPerConnection");
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                () = ctx.stopping().cancelled() => break,
                // Ended connections leave first, so that they do not count against the limit.
                _ = connections.join_next(), if !connections.is_empty() => {}
                // With one connection at a time, the next waits in the listener's backlog.
                accepted = listener.accept(), if !one_by_one || connections.is_empty() => match accepted {
                    Ok((tcp, peer)) => self.admit(ctx, &listener, &mut connections, tcp, peer),
                    Err(error) => {
                        // Out of descriptors, as a rule: let connections end before trying again.
                        warn!(item = ctx.name(), "cannot take a connection: {error}");
                        ctx.stats().note_error(format!("cannot take a connection: {error}"));
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

impl HL7TCPService {
    /// Serves a connection, or closes it at once with a line that says why.
    fn admit(
        &self,
        ctx: &ServiceContext,
        listener: &Listener,
        connections: &mut JoinSet<()>,
        tcp: TcpStream,
        peer: SocketAddr,
    ) {
        let limit = self.settings.size("MaxConnections");
        let refused = if !listener.allowed.allows(peer.ip()) {
            "it is not in AllowedIPAddresses".into()
        } else if connections.len() >= limit {
            format!("{limit} connections (MaxConnections) are open")
        } else {
            let (ctx, settings) = (ctx.clone(), self.settings.clone());
            connections.spawn(serve(ctx, settings, tcp, listener.tls(), peer));
            return;
        };
        warn!(item = ctx.name(), %peer, "connection refused: {refused}");
        ctx.stats()
            .note_error(format!("connection from {peer} refused: {refused}"));
    }
}

/// An open connection in the item's figures, also when its task panics.
struct Counted<'a>(&'a ItemStats);

impl<'a> Counted<'a> {
    fn new(stats: &'a ItemStats) -> Self {
        stats.connections.fetch_add(1, Ordering::Relaxed);
        Self(stats)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Serves one connection; its end is a log line and harms nobody else.
async fn serve(
    ctx: ServiceContext,
    settings: Arc<Settings>,
    tcp: TcpStream,
    tls: Option<ServerTls>,
    peer: SocketAddr,
) {
    let _counted = Counted::new(ctx.stats());
    let shaking_hands = async {
        match tls {
            Some(tls) => tls.accept(tcp).await.map_err(|error| error.to_string()),
            None => Stream::plain(tcp).map_err(|error| error.to_string()),
        }
    };
    let stream = tokio::select! {
        biased;
        () = ctx.stopping().cancelled() => return,
        stream = shaking_hands => stream,
    };
    let ended = match stream {
        Ok(stream) => Connection::new(&ctx, &settings, stream, peer).run().await,
        Err(reason) => Err(reason),
    };
    if let Err(reason) = ended {
        warn!(item = ctx.name(), %peer, "connection closed: {reason}");
        ctx.stats()
            .note_error(format!("connection from {peer} closed: {reason}"));
    }
}
