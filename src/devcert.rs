//! Development certificates and Kek: what a server without a configuration file, the tests and
//! `scripts/generate-certs` serve with. An authority of one's own, a server certificate for this machine's
//! loopback names, a client certificate, all ECDSA P-256, and 32 random bytes as Kek.
//!
//! Making is idempotent: what is there is kept, so that clients which trust the authority go on trusting it. A
//! half-made set (the power went) is never mixed with new parts: the authority's certificate is written last and
//! vouches for the rest. The Kek is made on its own and never replaced, since data may be sealed under it.
//! Secrets are created readable by their owner only; none of this is meant for production.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use zeroize::Zeroizing;

/// Days that development certificates are good for.
const DAYS: i64 = 825;

/// Where the development files lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DevFiles {
    /// Directory of them all.
    pub dir: PathBuf,
    /// Certificate of the authority: what clients trust.
    pub ca_cert: PathBuf,
    /// Private key of the authority.
    pub ca_key: PathBuf,
    /// Certificate of the server, for localhost, 127.0.0.1 and ::1.
    pub server_cert: PathBuf,
    /// Private key of the server.
    pub server_key: PathBuf,
    /// Certificate of a client, for `tls.require_client_cert`.
    pub client_cert: PathBuf,
    /// Private key of the client.
    pub client_key: PathBuf,
    /// The Kek: 32 bytes in base64.
    pub kek: PathBuf,
}

/// Why the development files cannot be made.
#[derive(Debug)]
pub enum DevError {
    /// A file or directory could not be made.
    Io(PathBuf, io::Error),
    /// A certificate could not be made.
    Certificate(String),
}

impl fmt::Display for DevError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DevError::Io(path, e) => write!(f, "development files: {}: {e}", path.display()),
            DevError::Certificate(e) => write!(f, "development files: certificate: {e}"),
        }
    }
}

impl std::error::Error for DevError {}

impl DevFiles {
    /// The development files of a data directory: below `dev/` in it.
    pub fn below(data_dir: &Path) -> DevFiles {
        DevFiles::within(&data_dir.join("dev"))
    }

    /// The development files in `dir` itself.
    pub fn within(dir: &Path) -> DevFiles {
        DevFiles {
            dir: dir.to_owned(),
            ca_cert: dir.join("ca.crt"),
            ca_key: dir.join("ca.key"),
            server_cert: dir.join("server.crt"),
            server_key: dir.join("server.key"),
            client_cert: dir.join("client.crt"),
            client_key: dir.join("client.key"),
            kek: dir.join("kek"),
        }
    }

    /// Makes what is missing.
    pub fn make(&self) -> Result<(), DevError> {
        self.make_for(&[])
    }

    /// Makes what is missing; a new server certificate also names `hosts` (DNS names or IP addresses).
    pub fn make_for(&self, hosts: &[String]) -> Result<(), DevError> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.dir)
            .map_err(|e| DevError::Io(self.dir.clone(), e))?;
        if !self.kek.exists() {
            self.make_kek()?;
        }
        if !self.ca_cert.exists() {
            self.make_certificates(hosts)?;
        }
        Ok(())
    }

    fn make_kek(&self) -> Result<(), DevError> {
        let mut secret = Zeroizing::new([0u8; 32]);
        getrandom::fill(&mut *secret)
            .map_err(|e| DevError::Io(self.kek.clone(), io::Error::other(e.to_string())))?;
        let line = Zeroizing::new(BASE64.encode(*secret) + "\n");
        place(&self.kek, line.as_bytes(), 0o600)
    }

    fn make_certificates(&self, hosts: &[String]) -> Result<(), DevError> {
        let wrong = |e: rcgen::Error| DevError::Certificate(e.to_string());
        // Each has a name of its own, so that a client that trusts another one is told so, not "bad signature".
        let mut mark = [0u8; 4];
        getrandom::fill(&mut mark).map_err(|e| DevError::Certificate(e.to_string()))?;
        let name = format!(
            "Ferrite development authority {:08x}",
            u32::from_be_bytes(mark)
        );
        let mut params = named(&name, Vec::new()).map_err(wrong)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(wrong)?;
        let ca = params.self_signed(&key).map_err(wrong)?;
        place(
            &self.ca_key,
            Zeroizing::new(key.serialize_pem()).as_bytes(),
            0o600,
        )?;
        let issuer = Issuer::new(params, key);

        let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(String::from).into();
        names.extend(
            hosts
                .iter()
                .filter(|h| !["localhost", "127.0.0.1", "::1"].contains(&h.as_str()))
                .cloned(),
        );
        let (cert, key) = leaf(
            "ferrite",
            names,
            ExtendedKeyUsagePurpose::ServerAuth,
            &issuer,
        )
        .map_err(wrong)?;
        place(
            &self.server_key,
            Zeroizing::new(key.serialize_pem()).as_bytes(),
            0o600,
        )?;
        place(&self.server_cert, cert.pem().as_bytes(), 0o644)?;

        let (cert, key) = leaf(
            "ferrite-client",
            Vec::new(),
            ExtendedKeyUsagePurpose::ClientAuth,
            &issuer,
        )
        .map_err(wrong)?;
        place(
            &self.client_key,
            Zeroizing::new(key.serialize_pem()).as_bytes(),
            0o600,
        )?;
        place(&self.client_cert, cert.pem().as_bytes(), 0o644)?;

        place(&self.ca_cert, ca.pem().as_bytes(), 0o644)
    }
}

fn named(name: &str, hosts: Vec<String>) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(hosts)?;
    params.distinguished_name.push(DnType::CommonName, name);
    let now = time::OffsetDateTime::now_utc();
    // A day of grace for clocks that are behind ours.
    params.not_before = now - time::Duration::days(1);
    params.not_after = now + time::Duration::days(DAYS);
    Ok(params)
}

fn leaf(
    name: &str,
    hosts: Vec<String>,
    purpose: ExtendedKeyUsagePurpose,
    issuer: &Issuer<'_, KeyPair>,
) -> Result<(Certificate, KeyPair), rcgen::Error> {
    let mut params = named(name, hosts)?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![purpose];
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    Ok((params.signed_by(&key, issuer)?, key))
}

/// Creates a file that only its owner may read, which must not exist yet.
pub(crate) fn create_private(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

/// Writes a file whole: beside its place first, synced, then renamed into it.
fn place(path: &Path, content: &[u8], mode: u32) -> Result<(), DevError> {
    use std::os::unix::fs::PermissionsExt;
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.new", std::process::id()));
    let temporary = PathBuf::from(temporary);
    let result = (|| {
        let mut file = create_private(&temporary)?;
        file.write_all(content)?;
        file.set_permissions(std::fs::Permissions::from_mode(mode))?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)?;
        path.parent()
            .map_or(Ok(()), |dir| File::open(dir)?.sync_all())
    })();
    result.map_err(|e| {
        let _ = std::fs::remove_file(&temporary); // it may hold a secret, and is of no use
        DevError::Io(path.to_owned(), e)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn secrets_are_their_owners_alone_and_the_kek_is_32_random_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let a = DevFiles::below(dir.path());
        a.make().unwrap();
        assert_eq!(mode(&a.dir), 0o700);
        for secret in [&a.ca_key, &a.server_key, &a.client_key, &a.kek] {
            assert_eq!(mode(secret), 0o600, "{}", secret.display());
        }
        let kek = |f: &DevFiles| {
            BASE64
                .decode(std::fs::read_to_string(&f.kek).unwrap().trim_end())
                .unwrap()
        };
        assert_eq!(kek(&a).len(), 32);
        let b = DevFiles::within(&dir.path().join("other"));
        b.make().unwrap();
        assert_ne!(kek(&a), kek(&b));
        assert_eq!(std::fs::read_dir(&a.dir).unwrap().count(), 7);
    }

    #[test]
    fn making_again_keeps_everything_and_mends_a_half_made_set() {
        let dir = tempfile::tempdir().unwrap();
        let f = DevFiles::within(dir.path());
        f.make().unwrap();
        let all = || {
            [&f.ca_cert, &f.server_cert, &f.server_key, &f.kek].map(|p| std::fs::read(p).unwrap())
        };
        let before = all();
        f.make().unwrap();
        assert_eq!(all(), before);
        std::fs::remove_file(&f.ca_cert).unwrap();
        f.make().unwrap();
        let after = all();
        assert_ne!(after[1], before[1]);
        assert_eq!(after[3], before[3], "a Kek is never replaced");
    }

    #[test]
    fn rustls_takes_the_chain_for_each_loopback_name() {
        use rustls::pki_types::pem::PemObject;
        use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
        let dir = tempfile::tempdir().unwrap();
        let f = DevFiles::within(dir.path());
        f.make_for(&["db.example.org".into(), "127.0.0.1".into()])
            .unwrap();
        let cert = |p: &Path| CertificateDer::from_pem_file(p).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(cert(&f.ca_cert)).unwrap();
        let roots = std::sync::Arc::new(roots);
        let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = rustls::client::WebPkiServerVerifier::builder_with_provider(
            roots.clone(),
            provider.clone(),
        )
        .build()
        .unwrap();
        let check = |name: &str| {
            use rustls::client::danger::ServerCertVerifier;
            let name = ServerName::try_from(name.to_owned()).unwrap();
            verifier
                .verify_server_cert(&cert(&f.server_cert), &[], &name, &[], UnixTime::now())
                .is_ok()
        };
        for name in ["localhost", "127.0.0.1", "::1", "db.example.org"] {
            assert!(check(name), "{name}");
        }
        assert!(!check("example.org"));
        let clients =
            rustls::server::WebPkiClientVerifier::builder_with_provider(roots, provider.clone())
                .build()
                .unwrap();
        let verify = |p: &Path| {
            clients
                .verify_client_cert(&cert(p), &[], UnixTime::now())
                .is_ok()
        };
        assert!(verify(&f.client_cert));
        assert!(
            !verify(&f.server_cert),
            "a server certificate is no client's"
        );
        let key = PrivateKeyDer::from_pem_file(&f.server_key).unwrap();
        rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert(&f.server_cert)], key)
            .unwrap();
    }
}
