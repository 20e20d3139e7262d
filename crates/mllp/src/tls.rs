//! TLS by rustls with the ring provider, from PEM files. Owns certificates, keys and who is trusted;
//! nothing here relies on a process-wide provider, so that two users in one process cannot disturb
//! each other. Revocation lists are not read.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, PrivateKeyDer, ServerName};
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::stream::Stream;

/// A peer that has not finished its handshake by then is dropped.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// The oldest protocol version accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MinVersion {
    /// TLS 1.2 and 1.3.
    #[default]
    Tls12,
    /// TLS 1.3 only.
    Tls13,
}

/// A certificate chain and its private key, both PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Leaf first, then intermediates.
    pub cert_file: PathBuf,
    /// PKCS#8, PKCS#1 or SEC1, not encrypted.
    pub key_file: PathBuf,
}

/// What a server needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFiles {
    /// Who we are.
    pub identity: Identity,
    /// When given, each client must show a certificate issued by one of these.
    pub client_ca_file: Option<PathBuf>,
    /// The oldest protocol version accepted.
    pub min_version: MinVersion,
}

/// What a client needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientFiles {
    /// Who may have issued the server's certificate. There is no way to trust just anybody.
    pub ca_file: PathBuf,
    /// Who we are, for servers that ask.
    pub identity: Option<Identity>,
    /// The name that the server's certificate must carry; `None` takes the host that was dialled.
    pub server_name: Option<String>,
    /// The oldest protocol version accepted.
    pub min_version: MinVersion,
}

/// Why TLS cannot be had.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file cannot be read or holds no PEM.
    #[error("cannot read {what} from {}: {source}", path.display())]
    Read {
        /// Which of the files.
        what: &'static str,
        /// Its path.
        path: PathBuf,
        /// What the system or the PEM reader says.
        source: pem::Error,
    },
    /// A file holds nothing of what it is for.
    #[error("{} holds no {what} in PEM form{hint}", path.display())]
    Empty {
        /// Which of the files.
        what: &'static str,
        /// Its path.
        path: PathBuf,
        /// What may be wrong.
        hint: &'static str,
    },
    /// A certificate in a file is not usable.
    #[error("{what} in {} cannot be used: {source}", path.display())]
    Unusable {
        /// Which of the files.
        what: &'static str,
        /// Its path.
        path: PathBuf,
        /// What rustls says.
        source: rustls::Error,
    },
    /// Certificate and key do not belong together or are not supported.
    #[error("the certificate in {} and the key in {} cannot be used together: {source}", cert_file.display(), key_file.display())]
    Identity {
        /// The certificate chain.
        cert_file: PathBuf,
        /// The key.
        key_file: PathBuf,
        /// What rustls says.
        source: rustls::Error,
    },
    /// The CA bundle cannot verify clients.
    #[error("the client CA bundle {} cannot be used: {source}", path.display())]
    ClientCa {
        /// The bundle.
        path: PathBuf,
        /// What rustls says.
        source: VerifierBuilderError,
    },
    /// rustls refuses the protocol versions.
    #[error("TLS cannot be set up: {0}")]
    Setup(#[source] rustls::Error),
    /// The server name is neither a DNS name nor an IP address.
    #[error("{name:?} is not a server name that a certificate could carry")]
    ServerName {
        /// The name.
        name: String,
        /// What is wrong.
        source: InvalidDnsNameError,
    },
    /// The handshake failed: a certificate not trusted, none shown, no common version, no TLS at all.
    #[error("the TLS handshake failed: {0}")]
    Handshake(#[source] io::Error),
    /// The handshake did not end in time.
    #[error("the TLS handshake did not end within {after:?}")]
    HandshakeTimeout {
        /// The time it was given.
        after: Duration,
    },
}

impl TlsError {
    /// A stable code for logs and metrics.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            TlsError::Handshake(_) => "tls.handshake_failed",
            TlsError::HandshakeTimeout { .. } => "tls.handshake_timeout",
            TlsError::ServerName { .. } => "tls.server_name",
            _ => "tls.setup",
        }
    }
}

/// The server's side, ready to accept.
#[derive(Clone)]
pub struct ServerTls {
    acceptor: TlsAcceptor,
    handshake_timeout: Duration,
}

impl ServerTls {
    /// Reads and checks the files.
    ///
    /// # Errors
    /// Names the file that is at fault.
    pub fn from_files(files: &ServerFiles) -> Result<Self, TlsError> {
        let provider = provider();
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(versions(files.min_version))
            .map_err(TlsError::Setup)?;
        let builder = match &files.client_ca_file {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let roots = Arc::new(roots(path, "the client CA bundle")?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider)
                    .build()
                    .map_err(|source| TlsError::ClientCa {
                        path: path.clone(),
                        source,
                    })?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let (chain, key) = load(&files.identity)?;
        let config = builder
            .with_single_cert(chain, key)
            .map_err(|source| unfit(&files.identity, source))?;
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            handshake_timeout: HANDSHAKE_TIMEOUT,
        })
    }

    /// Another limit than [`HANDSHAKE_TIMEOUT`].
    #[must_use]
    pub fn with_handshake_timeout(mut self, timeout: Duration) -> Self {
        self.handshake_timeout = timeout;
        self
    }

    /// Shakes hands with a client that has connected.
    ///
    /// # Errors
    /// When the client speaks no TLS, shows no acceptable certificate, or is too slow.
    pub async fn accept(&self, tcp: TcpStream) -> Result<Stream, TlsError> {
        tcp.set_nodelay(true).map_err(TlsError::Handshake)?;
        let tls = in_time(self.handshake_timeout, self.acceptor.accept(tcp)).await?;
        Ok(Stream::Tls(Box::new(tls.into())))
    }
}

/// The client's side, ready to connect.
#[derive(Clone)]
pub struct ClientTls {
    connector: TlsConnector,
    server_name: Option<ServerName<'static>>,
    handshake_timeout: Duration,
}

impl ClientTls {
    /// Reads and checks the files.
    ///
    /// # Errors
    /// Names the file that is at fault.
    pub fn from_files(files: &ClientFiles) -> Result<Self, TlsError> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(versions(files.min_version))
            .map_err(TlsError::Setup)?
            .with_root_certificates(roots(&files.ca_file, "the CA bundle")?);
        let config = match &files.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let (chain, key) = load(identity)?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|source| unfit(identity, source))?
            }
        };
        Ok(Self {
            connector: TlsConnector::from(Arc::new(config)),
            server_name: files.server_name.as_deref().map(server_name).transpose()?,
            handshake_timeout: HANDSHAKE_TIMEOUT,
        })
    }

    /// Another limit than [`HANDSHAKE_TIMEOUT`].
    #[must_use]
    pub fn with_handshake_timeout(mut self, timeout: Duration) -> Self {
        self.handshake_timeout = timeout;
        self
    }

    /// Shakes hands with the server at the other end of `tcp`. `host` is what was dialled: a DNS name
    /// or an IP address, checked against the certificate unless the files named another.
    ///
    /// # Errors
    /// When the server is not who it should be, wants a certificate we do not have, or is too slow.
    /// With TLS 1.3 a server that refuses our certificate says so only at the first read.
    pub async fn connect(&self, tcp: TcpStream, host: &str) -> Result<Stream, TlsError> {
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => server_name(host)?,
        };
        tcp.set_nodelay(true).map_err(TlsError::Handshake)?;
        let tls = in_time(self.handshake_timeout, self.connector.connect(name, tcp)).await?;
        Ok(Stream::Tls(Box::new(tls.into())))
    }
}

impl std::fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerTls").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientTls")
            .field("server_name", &self.server_name)
            .finish_non_exhaustive()
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

static TLS13_ONLY: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];

fn versions(least: MinVersion) -> &'static [&'static SupportedProtocolVersion] {
    match least {
        MinVersion::Tls12 => rustls::ALL_VERSIONS,
        MinVersion::Tls13 => TLS13_ONLY,
    }
}

fn server_name(name: &str) -> Result<ServerName<'static>, TlsError> {
    ServerName::try_from(name.to_owned()).map_err(|source| TlsError::ServerName {
        name: name.to_owned(),
        source,
    })
}

fn roots(path: &Path, what: &'static str) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for cert in certs(path, what)? {
        roots.add(cert).map_err(|source| TlsError::Unusable {
            what,
            path: path.to_owned(),
            source,
        })?;
    }
    Ok(roots)
}

fn certs(path: &Path, what: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = |source| TlsError::Read {
        what,
        path: path.to_owned(),
        source,
    };
    let certs = CertificateDer::pem_file_iter(path)
        .map_err(read)?
        .collect::<Result<Vec<_>, _>>()
        .map_err(read)?;
    if certs.is_empty() {
        return Err(TlsError::Empty {
            what: "certificate",
            path: path.to_owned(),
            hint: "",
        });
    }
    Ok(certs)
}

fn load(
    identity: &Identity,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
    let chain = certs(&identity.cert_file, "the certificate chain")?;
    let key = PrivateKeyDer::from_pem_file(&identity.key_file).map_err(|source| match source {
        pem::Error::NoItemsFound => TlsError::Empty {
            what: "private key",
            path: identity.key_file.clone(),
            hint: " (a key protected by a passphrase must be stored without it)",
        },
        source => TlsError::Read {
            what: "the private key",
            path: identity.key_file.clone(),
            source,
        },
    })?;
    Ok((chain, key))
}

fn unfit(identity: &Identity, source: rustls::Error) -> TlsError {
    TlsError::Identity {
        cert_file: identity.cert_file.clone(),
        key_file: identity.key_file.clone(),
        source,
    }
}

async fn in_time<T>(
    after: Duration,
    handshake: impl Future<Output = io::Result<T>>,
) -> Result<T, TlsError> {
    match tokio::time::timeout(after, handshake).await {
        Ok(done) => done.map_err(TlsError::Handshake),
        Err(_) => Err(TlsError::HandshakeTimeout { after }),
    }
}

#[cfg(test)]
mod tests;
