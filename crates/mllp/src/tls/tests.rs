//! TLS between two real sockets, with certificates made for each test.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::{FrameReader, FrameWriter, Framing, ReadError};

/// An authority that writes what it issues into a folder.
struct Authority {
    folder: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { folder, issuer }
    }

    fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    fn issue(&self, name: &str) -> Identity {
        let key = KeyPair::generate().unwrap();
        let cert = CertificateParams::new(vec![name.to_owned()])
            .unwrap()
            .signed_by(&key, &self.issuer)
            .unwrap();
        let cert_file = self.folder.path().join(format!("{name}.pem"));
        let key_file = self.folder.path().join(format!("{name}.key"));
        std::fs::write(&cert_file, cert.pem()).unwrap();
        std::fs::write(&key_file, key.serialize_pem()).unwrap();
        Identity {
            cert_file,
            key_file,
        }
    }

    fn server(&self) -> ServerFiles {
        ServerFiles {
            identity: self.issue("localhost"),
            client_ca_file: None,
            min_version: MinVersion::Tls12,
        }
    }

    fn client(&self) -> ClientFiles {
        ClientFiles {
            ca_file: self.ca_file(),
            identity: None,
            server_name: None,
            min_version: MinVersion::Tls12,
        }
    }
}

/// One message and its answer; what each side saw.
async fn exchange(
    server: &ServerFiles,
    client: &ClientFiles,
    host: &str,
) -> (Result<(), String>, Result<(), String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let server = ServerTls::from_files(server).unwrap();
    let serve = async {
        let (tcp, _) = listener.accept().await.unwrap();
        let stream = server
            .accept(tcp)
            .await
            .map_err(|error| error.to_string())?;
        assert!(stream.is_tls() && stream.tcp().nodelay().unwrap());
        let (read, write) = stream.split();
        let mut reader = FrameReader::new(read, Framing::MLLP);
        let message = reader
            .next()
            .await
            .map_err(|error| error.to_string())?
            .ok_or("closed")?;
        let mut writer = FrameWriter::new(write, Framing::MLLP);
        writer
            .send(&message)
            .await
            .map_err(|error| error.to_string())?;
        // The client has half-closed: the answer above still had to get through.
        assert!(
            reader
                .next()
                .await
                .map_err(|error| error.to_string())?
                .is_none()
        );
        writer.shutdown().await.map_err(|error| error.to_string())
    };
    let client = ClientTls::from_files(client).unwrap();
    let call = async {
        let tcp = TcpStream::connect(addr).await.unwrap();
        let stream = client
            .connect(tcp, host)
            .await
            .map_err(|error| error.to_string())?;
        let (read, write) = stream.split();
        let mut writer = FrameWriter::new(write, Framing::MLLP);
        let message = vec![b'm'; 100_000];
        writer
            .send(&message)
            .await
            .map_err(|error| error.to_string())?;
        writer.shutdown().await.map_err(|error| error.to_string())?;
        let answer = FrameReader::new(read, Framing::MLLP)
            .next()
            .await
            .map_err(|error| error.to_string())?;
        if answer.ok_or("closed")? == message {
            Ok(())
        } else {
            Err("changed".to_owned())
        }
    };
    tokio::join!(serve, call)
}

#[tokio::test]
async fn carries_messages_both_ways_in_both_versions() {
    let authority = Authority::new();
    for min_version in [MinVersion::Tls12, MinVersion::Tls13] {
        let client = ClientFiles {
            min_version,
            ..authority.client()
        };
        let (served, called) = exchange(&authority.server(), &client, "localhost").await;
        assert_eq!((served, called), (Ok(()), Ok(())));
    }
}

#[tokio::test]
async fn takes_a_client_with_the_right_certificate() {
    let authority = Authority::new();
    let server = ServerFiles {
        client_ca_file: Some(authority.ca_file()),
        ..authority.server()
    };
    let client = ClientFiles {
        identity: Some(authority.issue("lab.example")),
        ..authority.client()
    };
    let (served, called) = exchange(&server, &client, "localhost").await;
    assert_eq!((served, called), (Ok(()), Ok(())));
}

#[tokio::test]
async fn refuses_a_client_without_certificate_or_with_a_foreign_one() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let server = ServerFiles {
        client_ca_file: Some(authority.ca_file()),
        ..authority.server()
    };
    for identity in [None, Some(stranger.issue("lab.example"))] {
        let client = ClientFiles {
            identity,
            ..authority.client()
        };
        let (served, called) = exchange(&server, &client, "localhost").await;
        assert!(served.unwrap_err().starts_with("the TLS handshake failed"));
        assert!(called.is_err());
    }
}

#[tokio::test]
async fn refuses_a_server_of_another_authority_or_name() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let (_, called) = exchange(&stranger.server(), &authority.client(), "localhost").await;
    let refused = called.unwrap_err();
    assert!(refused.contains("invalid peer certificate"), "{refused}");
    let (_, called) = exchange(&authority.server(), &authority.client(), "127.0.0.1").await;
    let refused = called.unwrap_err();
    assert!(refused.contains("not valid for"), "{refused}");
    let renamed = ClientFiles {
        server_name: Some("localhost".into()),
        ..authority.client()
    };
    assert_eq!(
        exchange(&authority.server(), &renamed, "127.0.0.1").await.1,
        Ok(())
    );
}

#[tokio::test]
async fn a_peer_without_tls_or_without_haste_is_dropped() {
    let authority = Authority::new();
    let server = ServerTls::from_files(&authority.server()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let mut plain = TcpStream::connect(addr).await.unwrap();
    plain.write_all(b"\x0bMSH|^~\\&|\x1c\r").await.unwrap();
    let refused = server
        .accept(listener.accept().await.unwrap().0)
        .await
        .unwrap_err();
    assert_eq!(refused.code(), "tls.handshake_failed");

    let silent = TcpStream::connect(addr).await.unwrap();
    let server = server.with_handshake_timeout(Duration::from_millis(20));
    let refused = server
        .accept(listener.accept().await.unwrap().0)
        .await
        .unwrap_err();
    assert_eq!(refused.code(), "tls.handshake_timeout");
    drop(silent);
}

#[tokio::test]
async fn a_peer_that_vanishes_after_its_message_is_an_end_inside_it_an_error() {
    let authority = Authority::new();
    let server = ServerTls::from_files(&authority.server()).unwrap();
    let client = ClientTls::from_files(&authority.client()).unwrap();
    for (sent, whole) in [(&b"\x0bone\x1c"[..], true), (b"\x0bone", false)] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tcp = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (accepted, connected) = tokio::join!(
            async { server.accept(listener.accept().await.unwrap().0).await },
            client.connect(tcp, "localhost")
        );
        let (mut reader, mut peer) = (
            FrameReader::new(accepted.unwrap(), Framing::MLLP),
            connected.unwrap(),
        );
        peer.write_all(sent).await.unwrap();
        peer.flush().await.unwrap();
        // An end without close_notify.
        let Stream::Tls(tls) = &mut peer else {
            panic!("plain")
        };
        tls.get_mut().0.shutdown().await.unwrap();
        if whole {
            assert_eq!(reader.next().await.unwrap().unwrap(), "one");
            assert!(reader.next().await.unwrap().is_none());
        } else {
            assert!(matches!(
                reader.next().await,
                Err(ReadError::Truncated { received_bytes: 3 })
            ));
        }
    }
}

#[test]
fn errors_name_the_file() {
    let authority = Authority::new();
    let good = authority.server();
    let path = |name: &str| authority.folder.path().join(name);
    std::fs::write(path("text.pem"), "not PEM").unwrap();
    let with = |cert_file: PathBuf, key_file: PathBuf| ServerFiles {
        identity: Identity {
            cert_file,
            key_file,
        },
        ..good.clone()
    };
    let (cert, key) = (
        good.identity.cert_file.clone(),
        good.identity.key_file.clone(),
    );
    let other = authority.issue("other");
    let cases = [
        (with(path("absent.pem"), key.clone()), "absent.pem"),
        (
            with(path("text.pem"), key.clone()),
            "text.pem holds no certificate",
        ),
        (
            with(cert.clone(), cert.clone()),
            "localhost.pem holds no private key",
        ),
        (
            with(cert.clone(), other.key_file),
            "other.key cannot be used together",
        ),
        (
            ServerFiles {
                client_ca_file: Some(key),
                ..good.clone()
            },
            "localhost.key holds no certificate",
        ),
    ];
    for (files, expected) in cases {
        let error = ServerTls::from_files(&files).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let client = ClientFiles {
        server_name: Some("not a name".into()),
        ..authority.client()
    };
    assert!(
        ClientTls::from_files(&client)
            .unwrap_err()
            .to_string()
            .contains("\"not a name\"")
    );
}

#[tokio::test]
async fn plain_streams_go_the_same_way() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let tcp = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let mut ours = Stream::plain(tcp).unwrap();
    assert!(!ours.is_tls() && ours.tcp().nodelay().unwrap());
    let (mut peer, addr) = listener.accept().await.unwrap();
    assert_eq!(ours.tcp().local_addr().unwrap(), addr);
    ours.write_all(b"\x0bone\x1c\r").await.unwrap();
    ours.shutdown().await.unwrap();
    let mut seen = Vec::new();
    peer.read_to_end(&mut seen).await.unwrap();
    assert_eq!(seen, b"\x0bone\x1c\r");
}
