//! What a connection is made of: address, TLS, who logs in, limits of time.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::tls::{Identity, Trust};
use crate::{Client, Error, Limits, Result};

/// Version of the protocol asked for with `HELLO`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// No `HELLO` is sent; every server speaks it.
    Resp2,
    /// Maps, sets, doubles and push messages.
    Resp3,
}

/// Collects options, then connects. Made by [`Client::builder`].
#[derive(Clone)]
pub struct Builder {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) tls: Option<Trust>,
    pub(crate) identity: Option<Identity>,
    pub(crate) name: Option<String>,
    /// Cipher suites of TLS 1.2 and of TLS 1.3, where the caller chooses.
    pub(crate) suites: [Option<String>; 2],
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) database: u32,
    pub(crate) protocol: Protocol,
    pub(crate) connect_timeout: Duration,
    pub(crate) reply_timeout: Option<Duration>,
    pub(crate) limits: Limits,
    /// What is wrong with the options so far; told when connecting.
    wrong: Option<String>,
}

/// The password is not shown.
impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("address", &self.address())
            .field("tls", &self.tls)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

impl Builder {
    pub(crate) fn new(address: &str) -> Builder {
        let mut builder = Builder {
            host: String::new(),
            port: 6380,
            tls: Some(Trust::Default),
            identity: None,
            name: None,
            suites: [None, None],
            user: None,
            password: None,
            database: 0,
            protocol: Protocol::Resp3,
            connect_timeout: Duration::from_secs(10),
            reply_timeout: None,
            limits: Limits::default(),
            wrong: None,
        };
        let read = if address.contains("://") {
            builder.url(address)
        } else {
            builder.host_and_port(address)
        };
        builder.wrong = read.err();
        builder
    }

    /// `host`, `host:port`, `[v6]`, `[v6]:port`, or a bare IPv6 address.
    fn host_and_port(&mut self, text: &str) -> std::result::Result<(), String> {
        let bad = || format!("bad address `{text}`: write host:port");
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']').ok_or_else(bad)?;
                (
                    host,
                    if rest.is_empty() {
                        None
                    } else {
                        Some(rest.strip_prefix(':').ok_or_else(bad)?)
                    },
                )
            }
            None if text.matches(':').count() > 1 => (text, None),
            None => text
                .split_once(':')
                .map_or((text, None), |(h, p)| (h, Some(p))),
        };
        if host.is_empty() {
            return Err(bad());
        }
        if let Some(port) = port {
            self.port = port.parse().ok().filter(|p| *p > 0).ok_or_else(bad)?;
        }
        self.host = host.to_owned();
        Ok(())
    }

    /// `rediss://[[user]:password@]host[:port][/database]`, or `redis://` without TLS.
    fn url(&mut self, url: &str) -> std::result::Result<(), String> {
        let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
        match scheme {
            "rediss" | "ferrite" => {}
            "redis" => (self.tls, self.port) = (None, 6379),
            _ => {
                return Err(format!(
                    "address `{scheme}://...`: only rediss:// (TLS) and redis:// (plaintext) are known"
                ));
            }
        }
        let (rest, database) = rest.split_once('/').unwrap_or((rest, ""));
        if !database.is_empty() {
            self.database = database
                .parse()
                .map_err(|_| format!("bad database `{database}` in the address: write a number"))?;
        }
        let (login, host) = rest
            .rsplit_once('@')
            .map_or((None, rest), |(l, h)| (Some(l), h));
        if let Some(login) = login {
            let (user, password) = login.split_once(':').unwrap_or(("", login));
            let decode = |s: &str| percent(s).ok_or("bad %-escape in the login of the address");
            self.user = (!user.is_empty()).then(|| decode(user)).transpose()?;
            self.password = Some(decode(password)?);
        }
        self.host_and_port(if host.is_empty() { "127.0.0.1" } else { host })
    }

    /// Trusts the authorities of this PEM file, and no others. Default: the file that the environment variable
    /// `FERRITE_CACERT` names, else the system's authorities.
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.tls = Some(Trust::File(path.into()));
        self
    }
    /// Trusts these authorities, in PEM, and no others.
    pub fn ca_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.tls = Some(Trust::Pem(pem.into()));
        self
    }
    /// Trusts any server, so that anyone on the way can read and change everything. For trials only.
    pub fn insecure(mut self) -> Self {
        self.tls = Some(Trust::Anyone);
        self
    }
    /// Speaks without TLS: everything, passwords included, can be read on the way.
    pub fn plaintext(mut self) -> Self {
        self.tls = None;
        self
    }
    /// Shows this certificate chain, with its private key (PEM files), to a server that asks for one.
    pub fn client_cert(mut self, cert: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.identity = Some(Identity {
            cert: cert.into(),
            key: key.into(),
        });
        self
    }
    /// Name that the server's certificate must carry, when it is not the host connected to. Sent as SNI.
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }
    /// Offers these cipher suites of TLS 1.2 only, in this order: names as OpenSSL or the IANA write them, with colons
    /// between.
    pub fn tls12_ciphers(mut self, names: impl Into<String>) -> Self {
        self.suites[0] = Some(names.into());
        self
    }
    /// Offers these cipher suites of TLS 1.3 only, in this order, with colons between.
    pub fn tls13_ciphers(mut self, names: impl Into<String>) -> Self {
        self.suites[1] = Some(names.into());
        self
    }
    /// Logs in with this password.
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(password.into());
        self
    }
    /// Logs in as this user; default: `default`.
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.user = Some(user.into());
        self
    }
    /// Selects this database.
    pub fn database(mut self, database: u32) -> Self {
        self.database = database;
        self
    }
    /// Asks for this version of the protocol; default: RESP3.
    pub fn protocol(mut self, protocol: Protocol) -> Self {
        self.protocol = protocol;
        self
    }
    /// Longest time for connecting, TLS and login together; default: 10 seconds.
    pub fn connect_timeout(mut self, time: Duration) -> Self {
        self.connect_timeout = time;
        self
    }
    /// Longest time to wait for a reply; default: no limit, since commands may block.
    pub fn reply_timeout(mut self, time: Duration) -> Self {
        self.reply_timeout = Some(time);
        self
    }
    /// What a reply may be at most.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Connects, agrees on TLS, logs in.
    pub async fn connect(self) -> Result<Client> {
        if let Some(wrong) = self.wrong {
            return Err(Error::Config(wrong));
        }
        Client::open(self).await
    }

    /// Host and port, as messages show them.
    pub fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

fn percent(text: &str) -> Option<String> {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        if b != b'%' {
            out.push(b);
            continue;
        }
        let digit = |b: Option<u8>| (b? as char).to_digit(16);
        out.push((digit(bytes.next())? * 16 + digit(bytes.next())?) as u8);
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_urls_are_read() {
        for (text, address) in [
            ("localhost", "localhost:6380"),
            ("localhost:1", "localhost:1"),
            ("::1", "[::1]:6380"),
            ("[::1]:7", "[::1]:7"),
            ("rediss://h", "h:6380"),
            ("redis://h", "h:6379"),
            ("rediss://:p@[::1]:7/3", "[::1]:7"),
        ] {
            let b = Builder::new(text);
            assert_eq!((b.address().as_str(), &b.wrong), (address, &None));
        }
        let b = Builder::new("rediss://ann:p%40ss%3a@h:1/3");
        assert_eq!(
            (b.user.as_deref(), b.password.as_deref(), b.database),
            (Some("ann"), Some("p@ss:"), 3)
        );
        assert!(b.tls.is_some() && Builder::new("redis://h").tls.is_none());
        assert!(!format!("{b:?}").contains("p@ss"));
        for bad in [
            "",
            ":6380",
            "h:0",
            "h:x",
            "[::1",
            "http://h",
            "rediss://h/x",
            "rediss://%zz@h",
        ] {
            assert!(Builder::new(bad).wrong.is_some(), "{bad}");
        }
    }
}
