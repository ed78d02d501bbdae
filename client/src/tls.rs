//! How a client trusts and shows itself: authorities, its own certificate, TLS versions.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme, SupportedCipherSuite,
};
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

pub(crate) fn config(
    trust: &Trust,
    identity: Option<&Identity>,
    suites: &[Option<String>; 2],
) -> Result<Arc<ClientConfig>> {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites = chosen(&provider.cipher_suites, suites)?;
    let provider = Arc::new(provider);
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

/// Of the suites there are, those named for TLS 1.2 and for TLS 1.3, in the order of the names; all of a version for
/// which none are named.
fn chosen(
    there: &[SupportedCipherSuite],
    named: &[Option<String>; 2],
) -> Result<Vec<SupportedCipherSuite>> {
    let mut out = Vec::new();
    // TLS 1.3 first, as it is preferred.
    for (version, names) in [("1.3", &named[1]), ("1.2", &named[0])] {
        let of_version = |s: &&SupportedCipherSuite| (s.tls13().is_some()) == (version == "1.3");
        let Some(names) = names else {
            out.extend(there.iter().filter(of_version));
            continue;
        };
        for name in names.split(':').filter(|n| !n.is_empty()) {
            let same = |s: &&SupportedCipherSuite| {
                s.suite()
                    .as_str()
                    .is_some_and(|known| plain(known) == plain(name))
            };
            let suite = there.iter().filter(of_version).find(same).ok_or_else(|| {
                let known: Vec<_> = there.iter().filter(of_version).collect();
                let known: Vec<_> = known.iter().filter_map(|s| s.suite().as_str()).collect();
                Error::Config(format!(
                    "`{name}` is no cipher suite of TLS {version} here; there are {}",
                    known.join(", ")
                ))
            })?;
            out.push(*suite);
        }
    }
    Ok(out)
}

/// A suite's name without what the ways of writing it differ in.
fn plain(name: &str) -> String {
    let name = name.to_ascii_uppercase().replace('-', "_");
    let name = name.trim_start_matches("TLS13_").trim_start_matches("TLS_");
    name.replace("_WITH", "")
        .replace("AES128", "AES_128")
        .replace("AES256", "AES_256")
        .replace("POLY1305_SHA256", "POLY1305")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_are_known_by_either_name_and_keep_the_order_asked_for() {
        let all = aws_lc_rs::default_provider().cipher_suites;
        let names = |one: Option<&str>, three: Option<&str>| {
            let named = [one.map(str::to_owned), three.map(str::to_owned)];
            chosen(&all, &named).map(|s| {
                s.iter()
                    .filter_map(|s| Some(plain(s.suite().as_str()?)))
                    .collect::<Vec<_>>()
            })
        };
        assert_eq!(names(None, None).unwrap().len(), all.len());
        let picked = names(
            Some("ECDHE-RSA-CHACHA20-POLY1305:TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
            Some("TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256"),
        );
        let expected = [
            "CHACHA20_POLY1305",
            "AES_128_GCM_SHA256",
            "ECDHE_RSA_CHACHA20_POLY1305",
            "ECDHE_ECDSA_AES_128_GCM_SHA256",
        ];
        assert_eq!(picked.unwrap(), expected);
        assert!(names(Some("RC4-MD5"), None).is_err());
        // A suite of the other version is none of this one.
        assert!(names(Some("TLS_AES_128_GCM_SHA256"), None).is_err());
    }
}
