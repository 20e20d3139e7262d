//! Certificates for one test.

use std::{fs, path::PathBuf};

use hie_mllp::tls::{ClientFiles, Identity, MinVersion, ServerFiles};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

/// An authority that writes what it issues into a folder of its own.
pub(crate) struct Authority {
    folder: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { folder, issuer }
    }

    pub(crate) fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A certificate and its key for a name or address.
    pub(crate) fn issue(&self, name: &str) -> Identity {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        let [cert_file, key_file] =
            ["pem", "key"].map(|kind| self.folder.path().join(format!("{name}.{kind}")));
        fs::write(&cert_file, cert.pem()).unwrap();
        fs::write(&key_file, key.serialize_pem()).unwrap();
        Identity {
            cert_file,
            key_file,
        }
    }

    /// What a client that trusts this authority needs.
    pub(crate) fn client(&self, identity: Option<Identity>) -> ClientFiles {
        ClientFiles {
            ca_file: self.ca_file(),
            identity,
            server_name: None,
            min_version: MinVersion::default(),
        }
    }

    /// What a server on this machine needs.
    pub(crate) fn server(&self, client_ca_file: Option<PathBuf>) -> ServerFiles {
        ServerFiles {
            identity: self.issue("127.0.0.1"),
            client_ca_file,
            min_version: MinVersion::default(),
        }
    }
}

/// The settings of an adapter for a certificate and its key.
pub(crate) fn certificate(identity: &Identity) -> String {
    format!(
        "TLSCertificateFile: {}, TLSKeyFile: {}",
        identity.cert_file.display(),
        identity.key_file.display()
    )
}
