//! Sockets from settings: the listener of a service, the dialler of an operation.
//!
//! Owns binding, connecting and TLS set-up, and says what to do when they fail. Knows nothing of
//! messages.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use hie_engine::{HostError, setting::Settings};
use hie_mllp::{
    Stream,
    tls::{ClientFiles, ClientTls, Identity, MinVersion, ServerFiles, ServerTls},
};
use tokio::net::{TcpListener, TcpStream};

use super::AllowList;

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
        let ip: IpAddr = settings
            .text("IPAddress")
            .unwrap_or_default()
            .parse()
            .unwrap_or(IpAddr::from([0, 0, 0, 0]));
        let port = u16::try_from(settings.size("Port")).unwrap_or(0);
        let wanted = SocketAddr::new(ip, port);
        let tcp = TcpListener::bind(wanted)
            .await
            .map_err(|error| bind_error(wanted, &error))?;
        let address = tcp.local_addr().unwrap_or(wanted);
        let allowed = AllowList::parse(settings.text("AllowedIPAddresses").unwrap_or_default());
        let allowed = allowed.map_err(|error| HostError::new("bad-setting", error))?;
        Ok(Self {
            tcp,
            tls: server_tls(settings)?,
            address,
            allowed,
        })
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
            format!(
                "port {} is in use by another program; stop that program or give the item another Port",
                wanted.port()
            ),
        ),
        io::ErrorKind::PermissionDenied => HostError::new(
            "port-denied",
            format!(
                "this user may not listen on port {}; take a Port above 1023 or grant CAP_NET_BIND_SERVICE",
                wanted.port()
            ),
        ),
        io::ErrorKind::AddrNotAvailable => HostError::new(
            "address-unknown",
            format!(
                "{} is no address of this machine; give an IPAddress that `ip address` shows, or 0.0.0.0",
                wanted.ip()
            ),
        ),
        _ => HostError::new(
            "cannot-listen",
            format!("cannot listen on {wanted}: {error}"),
        ),
    }
}

fn path(settings: &Settings, name: &str) -> Option<PathBuf> {
    settings
        .text(name)
        .filter(|text| !text.is_empty())
        .map(PathBuf::from)
}

fn identity(settings: &Settings) -> Option<Identity> {
    Some(Identity {
        cert_file: path(settings, "TLSCertificateFile")?,
        key_file: path(settings, "TLSKeyFile")?,
    })
}

fn server_tls(settings: &Settings) -> Result<Option<ServerTls>, HostError> {
    let Some(identity) = identity(settings) else {
        return Ok(None);
    };
    let files = ServerFiles {
        identity,
        client_ca_file: path(settings, "TLSClientCAFile"),
        min_version: MinVersion::default(),
    };
    ServerTls::from_files(&files)
        .map(Some)
        .map_err(|error| HostError::new("tls", error.to_string()))
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
            server_name: settings
                .text("TLSServerName")
                .filter(|name| !name.is_empty())
                .map(str::to_owned),
            min_version: MinVersion::default(),
        });
        let tls = tls.map(|files| ClientTls::from_files(&files)).transpose();
        Ok(Self {
            host: settings.text("IPAddress").unwrap_or_default().to_owned(),
            port: u16::try_from(settings.size("Port")).unwrap_or(0),
            timeout: settings
                .duration("ConnectTimeout")
                .unwrap_or(Duration::from_secs(5)),
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
            Err(_) => {
                return Err(format!(
                    "cannot connect to {} within {:?} (ConnectTimeout)",
                    self.peer(),
                    self.timeout
                ));
            }
        };
        match &self.tls {
            Some(tls) => tls
                .connect(tcp, &self.host)
                .await
                .map_err(|error| format!("TLS with {}: {error}", self.peer())),
            None => Stream::plain(tcp)
                .map_err(|error| format!("cannot use the connection to {}: {error}", self.peer())),
        }
    }
}
