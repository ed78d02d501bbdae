//! How a client trusts and shows itself: authorities, its own certificate, TLS versions.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use crate::{Error, Result};

/// Where the authorities of a Linux system lie: Debian, Fedora, openSUSE, Alpine.
const SYSTEM_BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Which servers are trusted.
#[derive(Clone, Debug)]
pub(crate) enum Trust {
    /// The file of `FERRITE_CACERT`, else the system's authorities.
    Default,
    /// Authorities of a PEM file.
    File(PathBuf),
    /// Authorities in PEM.
    Pem(Vec<u8>),
    /// Any server at all.
    Anyone,
}

/// A certificate chain and its private key, as PEM files.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

pub(crate) fn config(trust: &Trust, identity: Option<&Identity>) -> Result<Arc<ClientConfig>> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let wrong = |e: rustls::Error| Error::Config(format!("TLS: {e}"));
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(wrong)?;
    let builder = match trust {
        Trust::Anyone => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(NoQuestions(provider))),
        other => builder.with_root_certificates(roots(other)?),
    };
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some(Identity { cert, key }) => {
            let chain = certificates(cert, CertificateDer::pem_file_iter(cert))?;
            let secret =
                PrivateKeyDer::from_pem_file(key).map_err(|e| in_file("private key", key, e))?;
            builder.with_client_auth_cert(chain, secret).map_err(|e| {
                Error::Config(format!(
                    "certificate {} and private key {}: {e}",
                    cert.display(),
                    key.display()
                ))
            })?
        }
    };
    Ok(Arc::new(config))
}

fn roots(trust: &Trust) -> Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    let from_file = |store: &mut RootCertStore, path: &Path| -> Result<()> {
        for cert in certificates(path, CertificateDer::pem_file_iter(path))? {
            store.add(cert).map_err(|e| in_file("authority", path, e))?;
        }
        Ok(())
    };
    match trust {
        Trust::File(path) => from_file(&mut store, path)?,
        Trust::Pem(pem) => {
            let place = Path::new("given in memory");
            for cert in certificates(place, Ok(CertificateDer::pem_slice_iter(pem)))? {
                store
                    .add(cert)
                    .map_err(|e| in_file("authority", place, e))?;
            }
        }
        Trust::Default => match std::env::var_os("FERRITE_CACERT").filter(|p| !p.is_empty()) {
            Some(path) => from_file(&mut store, Path::new(&path))?,
            None => {
                let bundle = SYSTEM_BUNDLES.iter().map(Path::new).find(|p| p.exists());
                let bundle = bundle.ok_or_else(|| {
                    Error::Config(
                        "no authorities to trust: name a CA file (ca_file, or FERRITE_CACERT)"
                            .into(),
                    )
                })?;
                // A bundle may hold old certificates that webpki does not read: those are left out.
                store.add_parsable_certificates(certificates(
                    bundle,
                    CertificateDer::pem_file_iter(bundle),
                )?);
            }
        },
        Trust::Anyone => {}
    }
    Ok(store)
}

fn in_file(what: &str, path: &Path, e: impl std::fmt::Display) -> Error {
    Error::Config(format!("{what} {}: {e}", path.display()))
}

type Found = std::result::Result<CertificateDer<'static>, rustls_pki_types::pem::Error>;

fn certificates<I>(
    path: &Path,
    found: std::result::Result<I, rustls_pki_types::pem::Error>,
) -> Result<Vec<CertificateDer<'static>>>
where
    I: Iterator<Item = Found>,
{
    let all: std::result::Result<Vec<_>, _> = found.and_then(Iterator::collect);
    let all = all.map_err(|e| in_file("certificate", path, e))?;
    if all.is_empty() {
        Err(in_file("certificate", path, "holds no certificate in PEM"))
    } else {
        Ok(all)
    }
}

/// The verifier of `Builder::insecure`: signatures are checked, who made them is not.
#[derive(Debug)]
struct NoQuestions(Arc<CryptoProvider>);

impl ServerCertVerifier for NoQuestions {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
