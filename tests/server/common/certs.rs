//! An authority of the tests' own, and the certificates it signs, right ones and wrong ones.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

/// An authority that signs certificates.
pub struct Authority {
    /// Its certificate, PEM.
    pub pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its private key, both PEM.
#[derive(Clone)]
pub struct Identity {
    pub cert: String,
    pub key: String,
}

fn key_pair() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key pair")
}

impl Authority {
    /// A new authority of this name.
    pub fn new(name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).expect("no names are good names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, name);
        let key = key_pair();
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Authority {
            pem,
            issuer: Issuer::new(params, key),
        }
    }

    fn sign(&self, name: &str, usage: ExtendedKeyUsagePurpose, expired: bool) -> Identity {
        let names = vec!["localhost".into(), "127.0.0.1".into()];
        let mut params = CertificateParams::new(names).expect("names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![usage];
        if expired {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 1, 1);
        }
        let key = key_pair();
        let cert = params.signed_by(&key, &self.issuer).expect("a certificate");
        Identity {
            cert: cert.pem(),
            key: key.serialize_pem(),
        }
    }

    /// A certificate for a server on loopback.
    pub fn server(&self) -> Identity {
        self.sign("server", ExtendedKeyUsagePurpose::ServerAuth, false)
    }

    /// One that ran out in 2021.
    pub fn expired_server(&self) -> Identity {
        self.sign("old server", ExtendedKeyUsagePurpose::ServerAuth, true)
    }

    /// A certificate for a client.
    pub fn client(&self, name: &str) -> Identity {
        self.sign(name, ExtendedKeyUsagePurpose::ClientAuth, false)
    }

    /// A client's certificate that ran out in 2021.
    pub fn expired_client(&self, name: &str) -> Identity {
        self.sign(name, ExtendedKeyUsagePurpose::ClientAuth, true)
    }

    /// What a client is configured with that trusts this authority.
    pub fn trust(
        &self,
        identity: Option<&Identity>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        let ca = CertificateDer::from_pem_slice(self.pem.as_bytes()).expect("our own PEM");
        roots.add(ca).expect("our own certificate");
        let builder =
            ClientConfig::builder_with_protocol_versions(versions).with_root_certificates(roots);
        Arc::new(match identity {
            None => builder.with_no_client_auth(),
            Some(id) => {
                let chain = CertificateDer::pem_slice_iter(id.cert.as_bytes())
                    .collect::<Result<_, _>>()
                    .expect("our own PEM");
                let key = PrivateKeyDer::from_pem_slice(id.key.as_bytes()).expect("our own PEM");
                builder
                    .with_client_auth_cert(chain, key)
                    .expect("a pair that matches")
            }
        })
    }
}

/// The authority that most tests share, and what a client of theirs is configured with.
pub fn shared() -> &'static (Authority, Identity, Arc<ClientConfig>) {
    static SHARED: OnceLock<(Authority, Identity, Arc<ClientConfig>)> = OnceLock::new();
    SHARED.get_or_init(|| {
        let authority = Authority::new("Ferrite test authority");
        let identity = authority.server();
        let config = authority.trust(None, rustls::DEFAULT_VERSIONS);
        (authority, identity, config)
    })
}

/// Where a test's certificates lie as files.
pub struct CertFiles {
    pub ca: PathBuf,
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// Writes an authority's certificate and an identity into `dir`.
pub fn write(dir: &Path, authority: &Authority, identity: &Identity) -> CertFiles {
    let files = CertFiles {
        ca: dir.join("ca.pem"),
        cert: dir.join("server.pem"),
        key: dir.join("server.key"),
    };
    std::fs::write(&files.ca, &authority.pem).expect("ca.pem");
    std::fs::write(&files.cert, &identity.cert).expect("server.pem");
    private(&files.key, identity.key.as_bytes());
    files
}

/// Writes a file that only its owner can read.
pub fn private(path: &Path, content: &[u8]) {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    file.write_all(content).expect("a private file");
}
