//! Who may come in over TLS, who is refused and how, and that no refusal harms the server.

use std::io::{Read, Write};

use rustls::{NamedGroup, ProtocolVersion};

use crate::common::certs::{self, Authority};
use crate::common::random::Random;
use crate::common::server::Home;
use crate::common::wire::{Wire, tcp};

/// What a connection says and whether a command got through it.
fn tries(home: &Home, config: &std::sync::Arc<rustls::ClientConfig>) -> Result<String, String> {
    let mut wire = Wire::tls(home.port, config).map_err(|e| e.to_string())?;
    // In TLS 1.3 a client learns of the refusal of its certificate only when it reads.
    let reply = wire.try_call(&["PING"]).map_err(|e| e.to_string())?;
    Ok(reply.text())
}

#[test]
fn tls_1_3_with_a_post_quantum_exchange_is_what_clients_get() {
    let home = Home::new();
    let server = home.start();
    let mut wire = server.connect();
    assert_eq!(wire.say("PING").text(), "PONG");
    let session = wire.session().expect("a TLS session");
    assert_eq!(session.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    let group = session
        .negotiated_key_exchange_group()
        .expect("a group")
        .name();
    assert_eq!(group, NamedGroup::X25519MLKEM768);
}

#[test]
fn tls_1_2_only_on_request() {
    let mut home = Home::new();
    let old = certs::shared().0.trust(None, &[&rustls::version::TLS12]);
    {
        let mut server = home.start();
        let why = tries(&home, &old).expect_err("1.2 is refused by default");
        assert!(why.contains("ProtocolVersion"), "{why}");
        server.unharmed();
    }
    home.text("tls.min_version", "1.2");
    let mut server = home.start();
    assert_eq!(tries(&home, &old).as_deref(), Ok("PONG"));
    server.unharmed();
}

/// A ClientHello without extensions, for a version that has none to offer.
fn old_hello(version: [u8; 2]) -> Vec<u8> {
    let mut body = version.to_vec();
    body.extend([7; 32]); // random
    body.push(0); // no session
    body.extend([0, 6, 0xc0, 0x13, 0x00, 0x2f, 0x00, 0x35]); // suites of that time
    body.extend([1, 0]); // no compression
    let mut handshake = vec![1, 0, 0, body.len() as u8];
    handshake.extend(body);
    let mut record = vec![22, 3, 1, 0, handshake.len() as u8];
    record.extend(handshake);
    record
}

/// Sends bytes to the port and reads until it closes.
fn throw(port: u16, bytes: &[u8]) -> Vec<u8> {
    let mut tcp = tcp(port).expect("the port is open");
    // The server may close before it has read everything.
    let _ = tcp.write_all(bytes);
    let mut said = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match tcp.read(&mut buffer) {
            Ok(0) => return said,
            Ok(n) => said.extend(&buffer[..n]),
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {
                panic!("not closed after {} bytes", bytes.len())
            }
            Err(_) => return said,
        }
    }
}

#[test]
fn tls_1_0_and_1_1_are_refused_with_an_alert() {
    let mut home = Home::new();
    home.text("tls.min_version", "1.2");
    let mut server = home.start();
    for version in [[3, 1], [3, 2]] {
        let said = throw(home.port, &old_hello(version));
        // A fatal alert (21, level 2): protocol_version (70), or handshake_failure (40) when the missing extensions
        // are noticed first.
        assert!(
            said.len() >= 7 && said[0] == 21 && said[5] == 2 && [40, 70].contains(&said[6]),
            "{version:?}: {said:?}"
        );
        server.unharmed();
    }
}

#[test]
fn plaintext_on_the_tls_port_gets_no_answer_in_the_clear() {
    let home = Home::new();
    let mut server = home.start();
    for text in [
        "PING\r\n",
        "*1\r\n$4\r\nPING\r\n",
        "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    ] {
        let said = throw(home.port, text.as_bytes());
        assert!(
            said.is_empty() || said[0] == 21,
            "{text:?} was answered {:?}",
            String::from_utf8_lossy(&said)
        );
    }
    assert_eq!(server.connect().say("EXISTS k").int(), 0);
    server.unharmed();
}

#[test]
fn garbage_instead_of_a_hello_is_closed() {
    let mut home = Home::new();
    home.text("tls.handshake_timeout", "1s");
    let mut server = home.start();
    let mut random = Random::announced("garbage");
    for round in 0..60 {
        let n = 1 + random.below(2000);
        let mut bytes = random.bytes(n);
        match round % 4 {
            // A record header that is right, over a handshake that is not.
            0 => bytes
                .splice(0..0, [22, 3, 1, (n >> 8) as u8, n as u8])
                .for_each(drop),
            // A hello that was right until something hit it.
            1 => {
                let mut hello = old_hello([3, 3]);
                let at = random.below(hello.len());
                hello[at] ^= 1 << random.below(8);
                bytes = hello;
            }
            // A record longer than any may be.
            2 => bytes.splice(0..0, [22, 3, 3, 0xff, 0xff]).for_each(drop),
            _ => {}
        }
        let said = throw(home.port, &bytes);
        assert!(
            said.is_empty() || said[0] == 21 || said[0] == 22,
            "answered {said:?}"
        );
    }
    server.unharmed();
}

#[test]
fn a_handshake_that_never_ends_is_ended() {
    let mut home = Home::new();
    home.text("tls.handshake_timeout", "1s");
    let mut server = home.start();
    for start in [&b""[..], &[22, 3, 1][..], &old_hello([3, 3])[..20]] {
        throw(home.port, start);
    }
    server.unharmed();
}

#[test]
fn a_client_that_trusts_another_authority_goes_away_and_nobody_minds() {
    let home = Home::new();
    let mut server = home.start();
    let stranger = Authority::new("another authority").trust(None, rustls::DEFAULT_VERSIONS);
    for _ in 0..10 {
        let why = tries(&home, &stranger).expect_err("the client must not trust it");
        assert!(
            why.contains("UnknownIssuer") || why.contains("BadSignature"),
            "{why}"
        );
    }
    server.unharmed();
}

#[test]
fn an_expired_server_certificate_does_not_pass_with_clients() {
    let home = Home::new();
    let (authority, _, trusting) = certs::shared();
    certs::write(home.path(), authority, &authority.expired_server());
    // Whether a server starts with it is its affair (a clock may be wrong): if so, no client may accept it.
    let mut command = home.command();
    let mut child = command.spawn().expect("ferrite runs");
    let why = crate::common::eventually("a refusal", || {
        if child.try_wait().expect("our own child").is_some() {
            return Some(home.log());
        }
        Wire::tls(home.port, trusting)
            .err()
            .map(|e| e.to_string())
            .filter(|e| !e.contains("refused"))
    });
    // Both fail when it has ended.
    let _ = child.kill();
    let _ = child.wait();
    assert!(why.to_lowercase().contains("expired"), "{why}");
}

#[test]
fn client_certificates_when_they_are_asked_for() {
    let mut home = Home::new();
    home.set("tls.require_client_cert", true);
    let authority = &certs::shared().0;
    let versions = rustls::DEFAULT_VERSIONS;
    let good = authority.trust(Some(&authority.client("alice")), versions);

    let child = home.launch();
    crate::common::eventually("a client with its certificate is served", || {
        tries(&home, &good).ok().filter(|r| r == "PONG")
    });
    let none = tries(&home, &certs::shared().2);
    let why = none.expect_err("a client without a certificate is refused");
    assert!(why.contains("CertificateRequired"), "{why}");

    let strange = Authority::new("another authority").client("mallory");
    let why = tries(&home, &authority.trust(Some(&strange), versions))
        .expect_err("a stranger is refused");
    assert!(
        why.contains("UnknownCA") || why.contains("DecryptError") || why.contains("Certificate"),
        "{why}"
    );

    let old = authority.expired_client("bob");
    let why = tries(&home, &authority.trust(Some(&old), versions))
        .expect_err("an expired certificate is refused");
    assert!(why.contains("CertificateExpired"), "{why}");

    // A server's certificate is not a client's.
    let wrong_use = authority.server();
    tries(&home, &authority.trust(Some(&wrong_use), versions))
        .expect_err("a server certificate is refused");

    assert_eq!(tries(&home, &good).as_deref(), Ok("PONG"));
    drop(child);
}

#[test]
fn certificate_files_that_are_wrong_stop_the_start_and_are_named() {
    let authority = &certs::shared().0;
    let stranger = authority.server();
    type Spoil = Box<dyn Fn(&Home)>;
    let cases: Vec<(&str, &str, Spoil)> = vec![
        (
            "the key of another certificate",
            "server.key",
            Box::new(move |h| certs::private(&h.certs.key, stranger.key.as_bytes())),
        ),
        (
            "no certificate file",
            "server.pem",
            Box::new(|h| std::fs::remove_file(&h.certs.cert).expect("remove")),
        ),
        (
            "no key file",
            "server.key",
            Box::new(|h| std::fs::remove_file(&h.certs.key).expect("remove")),
        ),
        (
            "no authority file",
            "ca.pem",
            Box::new(|h| std::fs::remove_file(&h.certs.ca).expect("remove")),
        ),
        (
            "a certificate that is none",
            "server.pem",
            Box::new(|h| std::fs::write(&h.certs.cert, "hello").expect("write")),
        ),
        (
            "a key that is none",
            "server.key",
            Box::new(|h| certs::private(&h.certs.key, b"hello")),
        ),
        (
            "an authority that is none",
            "ca.pem",
            Box::new(|h| std::fs::write(&h.certs.ca, "hello").expect("write")),
        ),
        (
            "an empty certificate",
            "server.pem",
            Box::new(|h| std::fs::write(&h.certs.cert, "").expect("write")),
        ),
    ];
    for (what, file, spoil) in cases {
        let mut home = Home::new();
        home.set("tls.require_client_cert", true);
        spoil(&home);
        let (status, said) = home.refused();
        assert!(status.code().is_some_and(|c| c != 0), "{what}: {status}");
        assert!(
            said.contains(file),
            "{what}: the message does not name {file}:\n{said}"
        );
        assert!(
            !said.contains("PRIVATE KEY"),
            "{what}: the message shows key material"
        );
        assert!(!said.contains("panicked"), "{what}: {said}");
    }
}
