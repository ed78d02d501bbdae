//! What the command line says about the way to the server: address, TLS, login.

use std::ffi::OsStr;
use std::io::{BufRead, Write};
use std::path::Path;

use ferrite::{Builder, Client, Error, Limits, Protocol};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use super::args::Options;
use super::trust;

/// Everything that a connection needs but what changes while the program runs: database and protocol.
pub struct Way {
    builder: Builder,
    /// Host and port as people read them.
    pub place: String,
    /// The database that the command line or the URL names.
    pub database: u32,
    /// Whether the command line asks for RESP3.
    pub resp3: bool,
    password: Option<String>,
    /// How TLS is secured, in words.
    tls: String,
    verbose: bool,
}

impl Way {
    /// Reads the options, asking for a password where they say so.
    pub fn new(options: &Options) -> Result<Way, String> {
        let password = password(options)?;
        Way::to(options, None, password)
    }

    /// The way to the server of the command line, or to another.
    fn to(
        options: &Options,
        other: Option<(&str, u16)>,
        password: Option<String>,
    ) -> Result<Way, String> {
        let plain_url = options
            .uri
            .as_ref()
            .is_some_and(|u| u.starts_with("redis://"))
            && !options.tls;
        let plain = options.no_tls || plain_url;
        let (host, port) = other.unwrap_or((
            &options.host,
            options.port.unwrap_or(if plain { 6379 } else { 6380 }),
        ));
        let address = if host.contains(':') && !host.starts_with('[') {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        };
        let address = match (&options.uri, other) {
            (Some(url), None) => url.clone(),
            (Some(url), Some(_)) => at_other_host(url, &address),
            (None, _) => address,
        };
        let mut builder = Client::builder(&address);
        let place = builder.address();
        let tls;
        (builder, tls) = secured(builder, options, plain, &place)?;
        if let Some(user) = &options.user {
            builder = builder.user(user);
        }
        if let Some(password) = &password {
            builder = builder.password(password);
        }
        let json = options.json || options.quoted_json;
        Ok(Way {
            builder: if options.timeout.is_zero() {
                builder
                    // The system gives up long before.
                    .connect_timeout(std::time::Duration::from_secs(24 * 3600))
            } else {
                builder.connect_timeout(options.timeout)
            },
            place,
            database: options
                .uri
                .as_deref()
                .map_or(options.database, named_database),
            resp3: options.resp3 || (json && !options.resp2),
            password,
            tls,
            verbose: options.verbose,
        })
    }

    /// The way to another server, with all else as it is.
    pub fn elsewhere(&self, options: &Options, host: &str, port: u16) -> Result<Way, String> {
        Way::to(options, Some((host, port)), self.password.clone())
    }

    /// The same, where a reply may be a value of any size.
    pub fn for_large_replies(mut self) -> Way {
        let limits = Limits {
            bulk: usize::MAX,
            ..Limits::default()
        };
        self.builder = self.builder.limits(limits);
        self
    }

    /// Connects and logs in. The error is a line for people.
    pub async fn connect(&self, database: u32, resp3: bool) -> Result<Client, String> {
        let builder = self.builder.clone().database(database).protocol(if resp3 {
            Protocol::Resp3
        } else {
            Protocol::Resp2
        });
        let client = builder.connect().await.map_err(|e| self.refused(e))?;
        if self.verbose {
            let resp = if resp3 { 3 } else { 2 };
            eprintln!("Connected to {}, {}, RESP{resp}", self.place, self.tls);
        }
        Ok(client)
    }

    /// Why there is no connection, in a line.
    fn refused(&self, e: Error) -> String {
        let place = &self.place;
        match e {
            Error::Connect { source, .. } => {
                format!("Could not connect to Ferrite at {place}: {source}")
            }
            Error::Server(e) => format!("{place}: login failed: {}", e.text()),
            Error::Tls(why) if why.contains("(CA)") => {
                format!(
                    "Error: TLS handshake failed: {why}\nName the authority with --cacert FILE or FERRITE_CACERT."
                )
            }
            Error::Config(why) => why,
            other => format!("Error: {other}"),
        }
    }
}

/// An URL with its scheme and login, and another host and port.
fn at_other_host(url: &str, address: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("rediss", url));
    let before_path = rest.split('/').next().unwrap_or("");
    let login = before_path
        .rsplit_once('@')
        .map_or(String::new(), |(login, _)| format!("{login}@"));
    format!("{scheme}://{login}{address}")
}

/// The database of an URL; what is wrong with it is told when connecting.
fn named_database(url: &str) -> u32 {
    let path = url.split_once("://").map_or(url, |(_, rest)| rest);
    path.split_once('/')
        .and_then(|(_, db)| db.parse().ok())
        .unwrap_or(0)
}

/// Sets what TLS needs; says in words what secures it.
fn secured(
    mut builder: Builder,
    options: &Options,
    plain: bool,
    place: &str,
) -> Result<(Builder, String), String> {
    if plain {
        return Ok((builder.plaintext(), "without TLS".into()));
    }
    let mut words = String::from("TLS");
    if options.insecure {
        builder = builder.insecure();
        words.push_str(" with any server");
    } else if let Some(dir) = &options.cacertdir {
        builder = builder.ca_pem(authorities(options.cacert.as_deref(), dir)?);
        words.push_str(&format!(" with authorities of {}", dir.display()));
    } else if let Some(ca) = &options.cacert {
        builder = builder.ca_file(ca);
        words.push_str(&format!(" with the authority {}", ca.display()));
    } else {
        let host = place
            .rsplit_once(':')
            .map_or("", |(host, _)| host.trim_matches(['[', ']']));
        if let Some(ca) = trust::development_authority(host) {
            words.push_str(&format!(" with the authority {}", ca.display()));
            builder = builder.ca_file(ca);
        }
    }
    if let (Some(cert), Some(key)) = (&options.cert, &options.key) {
        builder = builder.client_cert(cert, key);
    }
    if let Some(name) = &options.sni {
        builder = builder.server_name(name);
    }
    if let Some(names) = &options.tls_ciphers {
        builder = builder.tls12_ciphers(names);
    }
    if let Some(names) = &options.tls_ciphersuites {
        builder = builder.tls13_ciphers(names);
    }
    Ok((builder, words))
}

/// All PEM files of a directory, and `more`, as one.
fn authorities(more: Option<&Path>, dir: &Path) -> Result<Vec<u8>, String> {
    let failed = |path: &Path, e: std::io::Error| format!("{}: {e}", path.display());
    let read = |path: &Path| std::fs::read(path).map_err(|e| failed(path, e));
    let mut all = more.map_or(Ok(Vec::new()), read)?;
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(|e| failed(dir, e))? {
        paths.push(entry.map_err(|e| failed(dir, e))?.path());
    }
    paths.sort();
    for path in paths.iter().filter(|p| p.is_file()) {
        let pem = read(path)?;
        // Such directories hold other files too.
        if pem.windows(11).any(|w| w == b"BEGIN CERTI") {
            all.push(b'\n');
            all.extend_from_slice(&pem);
        }
    }
    if all.is_empty() {
        return Err(format!(
            "{}: no file with a certificate in PEM",
            dir.display()
        ));
    }
    Ok(all)
}

fn password(options: &Options) -> Result<Option<String>, String> {
    let in_url = options.uri.as_ref().is_some_and(|u| u.contains('@'));
    if options.askpass {
        return ask().map(Some);
    }
    if (options.password.is_some() || in_url) && !options.no_auth_warning {
        eprintln!(
            "Warning: a password on the command line ('-a', '-u') can be read by other users of this machine."
        );
    }
    let from_environment = || {
        ["FERRITECLI_AUTH", "REDISCLI_AUTH"]
            .iter()
            .find_map(std::env::var_os)
            .map(|v| OsStr::to_str(&v).map(str::to_owned))
            .map(|v| v.ok_or("the password in the environment is no text in UTF-8"))
            .transpose()
    };
    match &options.password {
        Some(password) => Ok(Some(password.clone())),
        None if in_url => Ok(None),
        None => Ok(from_environment()?),
    }
}

/// Reads a line from the terminal without showing it.
fn ask() -> Result<String, String> {
    let tty = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/tty");
    let tty = tty.map_err(|e| format!("--askpass needs a terminal: {e}"))?;
    let before = tcgetattr(&tty)
        .map_err(|e| format!("--askpass: the terminal does not say how it is set: {e}"))?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&tty, OptionalActions::Now, &silent)
        .map_err(|e| format!("--askpass: the terminal cannot be silenced: {e}"))?;
    let mut line = String::new();
    let read = (&tty)
        .write_all(b"Please input password: ")
        .and_then(|()| std::io::BufReader::new(&tty).read_line(&mut line));
    // A failure leaves it silent, which `stty sane` mends.
    let _ = tcsetattr(&tty, OptionalActions::Now, &before);
    let _ = (&tty).write_all(b"\n");
    read.map_err(|e| format!("--askpass: {e}"))?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_of_authorities_is_read_as_one() {
        let dir = tempfile::tempdir().unwrap();
        let found = |more| authorities(more, dir.path());
        assert!(found(None).is_err());
        let pem = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";
        std::fs::write(dir.path().join("a.pem"), pem).unwrap();
        std::fs::write(dir.path().join("b.0"), pem).unwrap();
        std::fs::write(dir.path().join("readme"), "no certificate").unwrap();
        let all = String::from_utf8(found(None).unwrap()).unwrap();
        assert_eq!(all.matches("BEGIN CERTIFICATE").count(), 2);
        assert!(!all.contains("readme") && !all.contains("no certificate"));
        assert!(found(Some(Path::new("/nonexistent"))).is_err());
    }

    #[test]
    fn an_url_names_its_database_and_login() {
        for (url, database) in [
            ("rediss://h", 0),
            ("rediss://h/", 0),
            ("redis://u:p@h:1/7", 7),
        ] {
            assert_eq!(named_database(url), database);
        }
        assert_eq!(at_other_host("redis://u:p@h:1/7", "i:2"), "redis://u:p@i:2");
        assert_eq!(at_other_host("rediss://h", "[::1]:2"), "rediss://[::1]:2");
    }
}
