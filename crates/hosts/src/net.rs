//! What the TCP classes share: their settings, listening, connecting, and who may connect.
//!
//! Owns the adapter tables of inbound and outbound TCP and turns them into sockets and streams.
//! Knows nothing of messages.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use hie_engine::{
    HostError,
    config::{Finding, ItemConfig},
    setting::{SettingDef, SettingType, Settings},
};
use hie_mllp::{
    Framing, Stream,
    tls::{ClientFiles, ClientTls, Identity, MinVersion, ServerFiles, ServerTls},
};
use tokio::net::{TcpListener, TcpStream};

/// A port number.
const PORT: SettingType = SettingType::Int { min: 0, max: 65_535 };
/// Seconds without an "unlimited".
const SECONDS: SettingType = SettingType::Seconds { min: 0.001, max: 86_400.0, unlimited: None };
/// Seconds where `-1` is for ever.
const SECONDS_OR_EVER: SettingType = SettingType::Seconds { min: 0.0, max: 86_400.0, unlimited: Some("for ever") };

/// Framing and size, for both directions.
pub const FRAMING: &[SettingDef] = &[
    SettingDef::adapter("Framing", SettingType::Checked(check_framing), "MLLP",
        "How messages are framed: `MLLP` (0B … 1C 0D), or `MLLP<start>/<end>` with other codes, decimal or \
         hexadecimal (`MLLP0x02/0x03`); a carriage return follows the end."),
    SettingDef::adapter("MaxMessageSize", SettingType::Bytes { min: 1024, max: 1 << 30 }, "16 MiB",
        "The longest message taken, in bytes (units KiB, MiB, kB, MB). A longer one is answered negatively."),
];

/// Settings of a TCP listener.
pub const INBOUND: &[SettingDef] = &[
    SettingDef::adapter("Port", PORT, "", "The port to listen on; 0 takes a free one, which `hie status` shows.").required(),
    SettingDef::adapter("IPAddress", SettingType::Checked(check_address), "0.0.0.0",
        "The address of this machine to listen on; 0.0.0.0 is every IPv4 address, :: every address.")
        .aliases(&["LocalInterface", "Host"]),
    SettingDef::adapter("AllowedIPAddresses", SettingType::Checked(check_allowed), "",
        "Who may connect: a comma-separated list of addresses and networks (`10.1.2.3, 10.2.0.0/16`). Empty: everybody."),
    SettingDef::adapter("JobPerConnection", SettingType::Bool, "true",
        "Whether connections are served side by side. False: one at a time, others wait until it closes."),
    SettingDef::adapter("MaxConnections", SettingType::Int { min: 1, max: 100_000 }, "1000",
        "The most connections served at once; further ones are closed at once."),
    SettingDef::adapter("StayConnected", SECONDS_OR_EVER, "-1",
        "How many seconds a connection may be idle before it is closed; 0 closes it after each message, -1 never."),
    SettingDef::adapter("ReadTimeout", SECONDS, "30",
        "How many seconds may pass between two reads inside a message. A slow sender that makes progress is not cut off by it."),
    SettingDef::adapter("FrameTimeout", SECONDS, "300",
        "How many seconds a whole message may take from its first byte to its last."),
    SettingDef::adapter("WriteTimeout", SECONDS, "30", "How many seconds a sender may take to read its answer."),
    SettingDef::adapter("TLSCertificateFile", SettingType::Path, "",
        "The certificate chain of this listener in PEM; with it, only TLS (1.2 and 1.3) is spoken.").optional(),
    SettingDef::adapter("TLSKeyFile", SettingType::Path, "", "The private key of the certificate, in PEM.").optional(),
    SettingDef::adapter("TLSClientCAFile", SettingType::Path, "",
        "Certificates (PEM) of whoever issues the clients' certificates; with it, each client must show one.").optional(),
];

/// Settings of a TCP client.
pub const OUTBOUND: &[SettingDef] = &[
    SettingDef::adapter("IPAddress", SettingType::Text, "127.0.0.1", "The name or address of the peer.").aliases(&["Host"]),
    SettingDef::adapter("Port", SettingType::Int { min: 1, max: 65_535 }, "", "The port of the peer.").required(),
    SettingDef::adapter("ConnectTimeout", SECONDS, "5", "How many seconds connecting may take."),
    SettingDef::adapter("StayConnected", SECONDS_OR_EVER, "-1",
        "How many seconds the connection stays open when nothing is sent; 0 closes it after each message, -1 never."),
    SettingDef::adapter("ReconnectRetry", SettingType::Int { min: 0, max: 1_000 }, "5",
        "After how many failed tries of a message the connection is made anew; 0 never. A lost or silent connection is always made anew."),
    SettingDef::adapter("ReplyTimeout", SECONDS_OR_EVER, "30",
        "How many seconds the reply may take to begin; after that the connection is closed, so that a late reply \
         cannot be taken for another's, and the message is tried again. -1 waits for ever.")
        .aliases(&["ResponseTimeout", "AckTimeout"]),
    SettingDef::adapter("ReadTimeout", SECONDS, "5", "How many seconds may pass between two reads inside the reply."),
    SettingDef::adapter("WriteTimeout", SECONDS, "30", "How many seconds the peer may take to accept a message."),
    SettingDef::adapter("TLSCAFile", SettingType::Path, "",
        "Certificates (PEM) of whoever may have issued the peer's certificate; with it, only TLS is spoken.").optional(),
    SettingDef::adapter("TLSServerName", SettingType::Text, "",
        "The name that the peer's certificate must carry, where it is not IPAddress.").optional(),
    SettingDef::adapter("TLSCertificateFile", SettingType::Path, "", "Our certificate chain (PEM) for a peer that asks for one.").optional(),
    SettingDef::adapter("TLSKeyFile", SettingType::Path, "", "The private key of our certificate, in PEM.").optional(),
];

/// Relations between the TLS settings that a table cannot say; `needs` is what TLS starts with.
pub fn check_tls(item: &ItemConfig, needs: &'static str) -> Vec<Finding> {
    let given = |name: &str| item.settings.text(name).is_some_and(|text| !text.is_empty());
    let mut findings = Vec::new();
    for (has, lacks) in [("TLSCertificateFile", "TLSKeyFile"), ("TLSKeyFile", "TLSCertificateFile")] {
        if given(has) && !given(lacks) {
            findings.push(Finding {
                setting: Some(has),
                message: format!("{has} is given without {lacks}"),
                help: Some(format!("a certificate and its key go together: give {lacks} too")),
            });
        }
    }
    for rest in ["TLSClientCAFile", "TLSServerName", "TLSCertificateFile"] {
        let declared = item.class.setting(rest, None).is_some();
        if declared && rest != needs && given(rest) && !given(needs) {
            findings.push(Finding {
                setting: Some(rest),
                message: format!("{rest} is given, but without {needs} the connection is not encrypted"),
                help: Some(format!("give {needs}, or leave {rest} out")),
            });
        }
    }
    findings
}

fn check_framing(text: &str) -> Result<(), String> {
    parse_framing(text).map(|_| ())
}

/// Reads `MLLP` or `MLLP<start>/<end>`.
pub fn parse_framing(text: &str) -> Result<Framing, String> {
    let allowed = || format!("{text:?} is no framing; allowed: MLLP, or MLLP<start>/<end> such as MLLP11/28 or MLLP0x02/0x03");
    if text.eq_ignore_ascii_case("MLLP") {
        return Ok(Framing::MLLP);
    }
    let codes = text.strip_prefix("MLLP").and_then(|rest| rest.split_once('/')).ok_or_else(allowed)?;
    let code = |code: &str| match code.strip_prefix("0x").or_else(|| code.strip_prefix('x')) {
        Some(hex) => u8::from_str_radix(hex, 16).ok(),
        None => code.parse().ok(),
    };
    let start = code(codes.0).ok_or_else(allowed)?;
    let end = code(codes.1).ok_or_else(allowed)?;
    Framing::new(start, end, Some(b'\r')).map_err(|error| error.to_string())
}

fn check_address(text: &str) -> Result<(), String> {
    text.parse::<IpAddr>().map(|_| ()).map_err(|_| format!("{text:?} is no IP address of this machine, such as 0.0.0.0 or 127.0.0.1"))
}

fn check_allowed(text: &str) -> Result<(), String> {
    AllowList::parse(text).map(|_| ())
}

/// Who may connect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowList(Vec<(IpAddr, u8)>);

impl AllowList {
    /// Reads a comma-separated list of addresses and networks; empty allows everybody.
    pub fn parse(text: &str) -> Result<Self, String> {
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        entries.map(Self::entry).collect::<Result<_, _>>().map(Self)
    }

    fn entry(text: &str) -> Result<(IpAddr, u8), String> {
        let wrong = || format!("{text:?} is no address or network; allowed: addresses such as 10.1.2.3 and networks such as 10.2.0.0/16");
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), |bits| bits.parse().map_err(|_| wrong()))?;
        if bits > most { Err(wrong()) } else { Ok((address, bits)) }
    }

    /// Whether this peer may connect.
    pub fn allows(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.0.is_empty() || self.0.iter().any(|(network, bits)| same_network(*network, peer, *bits))
    }
}

fn same_network(network: IpAddr, peer: IpAddr, bits: u8) -> bool {
    match (network, peer) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            let differ = u32::from(a) ^ u32::from(b);
            differ.checked_shr(32 - u32::from(bits)).unwrap_or(0) == 0
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            let differ = u128::from(a) ^ u128::from(b);
            differ.checked_shr(128 - u32::from(bits)).unwrap_or(0) == 0
        }
        _ => false,
    }
}

/// A listener with what its settings say of connections.
pub struct Listener {
    tcp: TcpListener,
    tls: Option<ServerTls>,
    /// Where it listens.
    pub address: SocketAddr,
    /// Who may connect.
    pub allowed: AllowList,
}

impl Listener {
    /// Binds the port. The errors name the remedy: a port in use, one that needs privileges, an
    /// address that is not this machine's.
    pub async fn bind(settings: &Settings) -> Result<Self, HostError> {
        let ip: IpAddr = settings.text("IPAddress").unwrap_or_default().parse().unwrap_or(IpAddr::from([0, 0, 0, 0]));
        let port = u16::try_from(settings.size("Port")).unwrap_or(0);
        let wanted = SocketAddr::new(ip, port);
        let tcp = TcpListener::bind(wanted).await.map_err(|error| bind_error(wanted, &error))?;
        let address = tcp.local_addr().unwrap_or(wanted);
        let allowed = AllowList::parse(settings.text("AllowedIPAddresses").unwrap_or_default());
        let allowed = allowed.map_err(|error| HostError::new("bad-setting", error))?;
        Ok(Self { tcp, tls: server_tls(settings)?, address, allowed })
    }

    /// The next connection, before any handshake.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.tcp.accept().await
    }

    /// How connections of this listener become streams.
    pub fn tls(&self) -> Option<ServerTls> {
        self.tls.clone()
    }
}

fn bind_error(wanted: SocketAddr, error: &io::Error) -> HostError {
    match error.kind() {
        io::ErrorKind::AddrInUse => HostError::new(
            "port-in-use",
            format!("port {} is in use by another program; stop that program or give the item another Port", wanted.port()),
        ),
        io::ErrorKind::PermissionDenied => HostError::new(
            "port-denied",
            format!("this user may not listen on port {}; take a Port above 1023 or grant CAP_NET_BIND_SERVICE", wanted.port()),
        ),
        io::ErrorKind::AddrNotAvailable => HostError::new(
            "address-unknown",
            format!("{} is no address of this machine; give an IPAddress that `ip address` shows, or 0.0.0.0", wanted.ip()),
        ),
        _ => HostError::new("cannot-listen", format!("cannot listen on {wanted}: {error}")),
    }
}

fn path(settings: &Settings, name: &str) -> Option<PathBuf> {
    settings.text(name).filter(|text| !text.is_empty()).map(PathBuf::from)
}

fn identity(settings: &Settings) -> Option<Identity> {
    Some(Identity { cert_file: path(settings, "TLSCertificateFile")?, key_file: path(settings, "TLSKeyFile")? })
}

fn server_tls(settings: &Settings) -> Result<Option<ServerTls>, HostError> {
    let Some(identity) = identity(settings) else { return Ok(None) };
    let files =
        ServerFiles { identity, client_ca_file: path(settings, "TLSClientCAFile"), min_version: MinVersion::default() };
    ServerTls::from_files(&files).map(Some).map_err(|error| HostError::new("tls", error.to_string()))
}

/// Makes connections to one peer.
pub struct Dialler {
    host: String,
    port: u16,
    timeout: Duration,
    tls: Option<ClientTls>,
}

impl Dialler {
    /// From the settings of an outbound adapter.
    pub fn new(settings: &Settings) -> Result<Self, HostError> {
        let tls = path(settings, "TLSCAFile").map(|ca_file| ClientFiles {
            ca_file,
            identity: identity(settings),
            server_name: settings.text("TLSServerName").filter(|name| !name.is_empty()).map(str::to_owned),
            min_version: MinVersion::default(),
        });
        let tls = tls.map(|files| ClientTls::from_files(&files)).transpose();
        Ok(Self {
            host: settings.text("IPAddress").unwrap_or_default().to_owned(),
            port: u16::try_from(settings.size("Port")).unwrap_or(0),
            timeout: settings.duration("ConnectTimeout").unwrap_or(Duration::from_secs(5)),
            tls: tls.map_err(|error| HostError::new("tls", error.to_string()))?,
        })
    }

    /// `host:port`, for the operator.
    pub fn peer(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Connects, with TLS where it is set.
    pub async fn connect(&self) -> Result<Stream, String> {
        let connecting = TcpStream::connect((self.host.as_str(), self.port));
        let tcp = match tokio::time::timeout(self.timeout, connecting).await {
            Ok(Ok(tcp)) => tcp,
            Ok(Err(error)) => return Err(format!("cannot connect to {}: {error}", self.peer())),
            Err(_) => return Err(format!("cannot connect to {} within {:?} (ConnectTimeout)", self.peer(), self.timeout)),
        };
        match &self.tls {
            Some(tls) => tls.connect(tcp, &self.host).await.map_err(|error| format!("TLS with {}: {error}", self.peer())),
            None => Stream::plain(tcp).map_err(|error| format!("cannot use the connection to {}: {error}", self.peer())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn framing_is_read_in_all_its_forms() {
        assert_eq!(parse_framing("MLLP"), Ok(Framing::MLLP));
        assert_eq!(parse_framing("MLLP11/28"), Ok(Framing::MLLP));
        assert_eq!(parse_framing("MLLP0x0B/x1C"), Ok(Framing::MLLP));
        for wrong in ["", "LLP", "MLLP11", "MLLP11/300", "MLLP28/28", "MLLP/"] {
            assert!(parse_framing(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_allow_list_knows_addresses_and_networks() {
        let list = AllowList::parse("10.1.2.3, 10.2.0.0/16,fd00::/8").unwrap();
        for (peer, allowed) in [
            ("10.1.2.3", true),
            ("10.1.2.4", false),
            ("10.2.200.1", true),
            ("10.3.0.1", false),
            ("::ffff:10.2.0.1", true),
            ("fd12::1", true),
            ("fe80::1", false),
        ] {
            assert_eq!(list.allows(peer.parse().unwrap()), allowed, "{peer}");
        }
        assert!(AllowList::parse("").unwrap().allows("8.8.8.8".parse().unwrap()));
        assert!(AllowList::parse("0.0.0.0/0").unwrap().allows("8.8.8.8".parse().unwrap()));
        for wrong in ["10.1.2", "10.0.0.0/33", "ward-pc", "!10.1.2.3"] {
            assert!(AllowList::parse(wrong).is_err(), "{wrong}");
        }
    }
}
