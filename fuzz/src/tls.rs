//! A TLS session on the server's side: whatever a client sends, in whatever pieces, it is answered or refused.

use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use ferrite_server::devcert::DevFiles;
use ferrite_server::net::outbuf::OutBuf;
use ferrite_server::net::session::Session;
use ferrite_server::net::tls::{Identity, Options};

fn config() -> &'static Arc<rustls::ServerConfig> {
    static CONFIG: OnceLock<Arc<rustls::ServerConfig>> = OnceLock::new();
    CONFIG.get_or_init(|| {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let files = DevFiles::within(dir.path());
        files.make().expect("certificates");
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("after 1970");
        let options = Options {
            cert_file: files.server_cert.clone(),
            key_file: files.server_key.clone(),
            ca_file: None,
            require_client_cert: false,
            allow_tls12: true,
            prefer_server_ciphers: true,
        };
        let identity = Identity::load(options, now.as_secs() as i64).expect("an identity");
        identity.server_config().expect("a configuration")
    })
}

/// One input.
pub fn check(data: &[u8]) {
    let [piece, input @ ..] = data else { return };
    let mut session = Session::new(config().clone()).expect("a session");
    let (mut plain, mut out) = (Vec::new(), OutBuf::default());
    for part in input.chunks(usize::from(*piece).max(1)) {
        if session
            .receive(&mut part.to_vec(), &mut plain, &mut out)
            .is_err()
        {
            break;
        }
    }
    assert!(plain.is_empty(), "application data without a handshake");
    session.close(&mut out);
}
