//! TLS identities: the certificate, its key and the CA, read from files with errors that name the
//! file and the reason, and the rustls configuration each core builds from them.
//!
//! Protocols: TLS 1.3 (RFC 8446), and 1.2 (RFC 5246) where `tls.min_version` asks for it. The key
//! exchange prefers X25519MLKEM768, so that traffic recorded today stays closed to a later quantum
//! computer. There is no switch that turns verification of a required client certificate off.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig, version};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, X509Certificate};

/// What a listener needs to speak TLS, read and checked.
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    client_roots: Option<Arc<RootCertStore>>,
    options: Options,
    /// When the certificate ends, in seconds since 1970.
    pub not_after: i64,
}

/// How this server speaks to one that it connects to itself: whose certificate it believes, and what it shows of itself.
///
/// # Errors
/// A file that is missing or not PEM; a key that does not belong to the certificate.
pub fn client_config(
    authorities: &Path,
    identity: Option<(PathBuf, PathBuf)>,
) -> Result<Arc<ClientConfig>, TlsError> {
    const AUTHORITIES: &str = "TLS authorities";
    const OWN: &str = "TLS certificate";
    let mut roots = RootCertStore::empty();
    for cert in read_chain(AUTHORITIES, authorities)? {
        if let Err(e) = roots.add(cert) {
            let why = format!("not usable as a trust anchor: {e}");
            return refuse(AUTHORITIES, authorities, why);
        }
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(provider()))
        .with_safe_default_protocol_versions()
        .or_else(|e| refuse(AUTHORITIES, authorities, e))?
        .with_root_certificates(roots);
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => {
            let chain = read_chain(OWN, &cert)?;
            let secret = PrivateKeyDer::from_pem_file(&key)
                .or_else(|e| refuse("TLS private key", &key, pem_reason(&e, "private key")))?;
            builder
                .with_client_auth_cert(chain, secret)
                .or_else(|e| refuse(OWN, &cert, e))?
        }
    };
    Ok(Arc::new(config))
}

/// The files and choices of the `[tls]` section.
#[derive(Clone, Debug)]
pub struct Options {
    /// The certificate chain, PEM, leaf first.
    pub cert_file: PathBuf,
    /// The leaf's private key, PEM.
    pub key_file: PathBuf,
    /// The CA that client certificates must chain to.
    pub ca_file: Option<PathBuf>,
    /// Whether a client without a certificate is refused.
    pub require_client_cert: bool,
    /// Whether TLS 1.2 is spoken beside 1.3.
    pub allow_tls12: bool,
    /// Whether the server's order of cipher suites decides.
    pub prefer_server_ciphers: bool,
}

/// A TLS file that cannot be used: which, and why.
#[derive(Debug)]
pub struct TlsError {
    what: &'static str,
    path: PathBuf,
    reason: String,
}

impl std::fmt::Display for TlsError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}: {}", self.what, self.path.display(), self.reason)
    }
}

impl std::error::Error for TlsError {}

fn refuse<T>(what: &'static str, path: &Path, reason: impl ToString) -> Result<T, TlsError> {
    Err(TlsError {
        what,
        path: path.to_owned(),
        reason: reason.to_string(),
    })
}

const CERT: &str = "TLS certificate (tls.cert_file)";
const KEY: &str = "TLS private key (tls.key_file)";
const CA: &str = "TLS client CA (tls.ca_file)";

impl Identity {
    /// Reads and checks the files; `now` is in seconds since 1970.
    ///
    /// # Errors
    /// A file that is missing, unreadable or not PEM; a key that does not belong to the
    /// certificate; a certificate that is expired or not valid yet; a client CA that is missing
    /// although client certificates are required.
    pub fn load(options: Options, now: i64) -> Result<Identity, TlsError> {
        let chain = read_chain(CERT, &options.cert_file)?;
        let not_after = check_validity(&options.cert_file, &chain[0], now)?;
        let key = match PrivateKeyDer::from_pem_file(&options.key_file) {
            Ok(key) => key,
            Err(e) => return refuse(KEY, &options.key_file, pem_reason(&e, "private key")),
        };
        let client_roots = match (&options.ca_file, options.require_client_cert) {
            (Some(path), true) => {
                let mut roots = RootCertStore::empty();
                for cert in read_chain(CA, path)? {
                    if let Err(e) = roots.add(cert) {
                        return refuse(CA, path, format!("not usable as a trust anchor: {e}"));
                    }
                }
                Some(Arc::new(roots))
            }
            (None, true) => {
                return refuse(
                    CA,
                    Path::new("(not set)"),
                    "tls.require_client_cert = true needs the CA that signed the clients",
                );
            }
            // Without required client certificates the CA verifies nobody.
            (_, false) => None,
        };
        let identity = Identity {
            chain,
            key,
            client_roots,
            options,
            not_after,
        };
        identity.server_config()?;
        Ok(identity)
    }

    /// The configuration of one core. Each core has its own, so that no lock or counter of TLS is
    /// shared between cores.
    ///
    /// # Errors
    /// A key that does not belong to the certificate.
    pub fn server_config(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let provider = Arc::new(provider());
        let versions: &[_] = if self.options.allow_tls12 {
            &[&version::TLS13, &version::TLS12]
        } else {
            &[&version::TLS13]
        };
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(versions)
            .map_err(|e| self.cert_error(&e))?;
        let builder = match &self.client_roots {
            Some(roots) => {
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(roots.clone(), provider).build();
                match verifier {
                    Ok(verifier) => builder.with_client_cert_verifier(verifier),
                    Err(e) => {
                        let path = self.options.ca_file.clone().unwrap_or_default();
                        return refuse(CA, &path, e);
                    }
                }
            }
            None => builder.with_no_client_auth(),
        };
        let mut config = builder
            .with_single_cert(self.chain.clone(), self.key.clone_key())
            .map_err(|e| self.cert_error(&e))?;
        config.ignore_client_order = self.options.prefer_server_ciphers;
        Ok(Arc::new(config))
    }

    fn cert_error(&self, e: &rustls::Error) -> TlsError {
        let reason = match e {
            rustls::Error::InconsistentKeys(_) => format!(
                "does not belong to the certificate {}: the two are not a pair",
                self.options.cert_file.display()
            ),
            other => other.to_string(),
        };
        TlsError {
            what: KEY,
            path: self.options.key_file.clone(),
            reason,
        }
    }
}

/// The cryptography behind every TLS session: aws-lc-rs, hybrid post-quantum group first.
pub fn provider() -> CryptoProvider {
    rustls::crypto::aws_lc_rs::default_provider()
}

fn read_chain(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certs =
        CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match certs {
        Ok(certs) if certs.is_empty() => refuse(what, path, "holds no PEM certificate"),
        Ok(certs) => Ok(certs),
        Err(e) => refuse(what, path, pem_reason(&e, "certificate")),
    }
}

fn pem_reason(e: &rustls_pki_types::pem::Error, wanted: &str) -> String {
    match e {
        rustls_pki_types::pem::Error::Io(e) => e.to_string(),
        rustls_pki_types::pem::Error::NoItemsFound => format!("holds no PEM {wanted}"),
        other => format!("is not a PEM {wanted}: {other}"),
    }
}

fn check_validity(path: &Path, leaf: &CertificateDer<'_>, now: i64) -> Result<i64, TlsError> {
    let parsed = match X509Certificate::from_der(leaf) {
        Ok((_, parsed)) => parsed,
        Err(e) => return refuse(CERT, path, format!("is not an X.509 certificate: {e}")),
    };
    let validity = parsed.validity();
    if now > validity.not_after.timestamp() {
        return refuse(
            CERT,
            path,
            format!("expired on {}; renew it", validity.not_after),
        );
    }
    if now < validity.not_before.timestamp() {
        let reason = format!(
            "is not valid before {}; check the clock",
            validity.not_before
        );
        return refuse(CERT, path, reason);
    }
    Ok(validity.not_after.timestamp())
}
