//! From the command line, the environment and the file to settings that can be served.
//!
//! With a file, the file is the whole truth: what it does not say has its default, and what it says wrongly stops
//! the start with every mistake named. Without one the server is a *development* server: it makes itself an
//! authority, certificates and a Kek below its data directory and listens on loopback with TLS.

use std::fmt;
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::devcert::{DevError, DevFiles};
use crate::settings::{Complaint, FileError, Secret, Settings};

/// Environment: data directory of a server started without a file.
pub const ENV_DATA_DIR: &str = "FERRITE_DATA_DIR";

/// The server's command line.
#[derive(Clone, Debug, Default, clap::Parser)]
#[command(
    name = "ferrite",
    version,
    about = "Redis-compatible data server in which nothing leaves a core in the clear"
)]
pub struct Args {
    /// Configuration file (TOML). Without one: a development server on loopback, with certificates of its own making.
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Read and check the configuration, say what is wrong with it, and end.
    #[arg(long)]
    pub check_config: bool,
    /// Data directory, instead of the configured one.
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// TLS port, instead of the configured one.
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,
    /// Number of shards, instead of the configured one.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub shards: Option<u16>,
    /// Start though the log that was in use is gone, and give up what it held. For once: it is refused while there is a log.
    #[arg(long)]
    pub give_up_log: bool,
    /// Takes in the data of this file before anything is served: an RDB file, an append-only file or the directory of
    /// one, an export sealed under the configured Kek. Only into a data directory that holds no data.
    #[arg(long, value_name = "FILE", conflicts_with = "check_config")]
    pub import: Option<PathBuf>,
}

/// Settings with where they came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What to serve.
    pub settings: Settings,
    /// The file, if there is one: what `CONFIG REWRITE` writes.
    pub file: Option<PathBuf>,
    /// The development files, when there is no configuration file.
    pub development: Option<DevFiles>,
    /// Whether a log that was in use and is gone is given up.
    pub give_up_log: bool,
    /// What is to be taken in at the start.
    pub import: Option<PathBuf>,
}

/// Why a configuration cannot be served.
#[derive(Debug)]
pub enum ConfigError {
    /// A file could not be read or written.
    Io(PathBuf, io::Error),
    /// The file does not read.
    File(PathBuf, FileError),
    /// Its settings do not go together.
    Contradictions(Option<PathBuf>, Vec<Complaint>),
    /// The development files cannot be made.
    Development(DevError),
    /// `CONFIG REWRITE` without a file.
    NoFile,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::Io(path, e) => write!(f, "configuration: {}: {e}", path.display()),
            ConfigError::File(path, e) => {
                let lines: Vec<String> = e
                    .to_string()
                    .lines()
                    .map(|l| format!("{}: {l}", path.display()))
                    .collect();
                f.write_str(&lines.join("\n"))
            }
            ConfigError::Contradictions(path, all) => {
                let place = path
                    .as_ref()
                    .map_or_else(|| "configuration".into(), |p| p.display().to_string());
                let lines: Vec<String> = all.iter().map(|c| format!("{place}: {c}")).collect();
                f.write_str(&lines.join("\n"))
            }
            ConfigError::Development(e) => e.fmt(f),
            ConfigError::NoFile => f.write_str("The server is running without a config file"),
        }
    }
}

impl std::error::Error for ConfigError {}

/// Everything that the command line asks for, ready to be served. Makes the development files when there is no
/// configuration file and this is not only a check.
pub fn load(args: &Args) -> Result<Loaded, ConfigError> {
    let (mut settings, file) = match &args.config {
        Some(path) => (read(path)?, Some(path.clone())),
        None => (Settings::default(), None),
    };
    if file.is_none()
        && let Some(dir) = std::env::var_os(ENV_DATA_DIR).filter(|d| !d.is_empty())
    {
        settings.server.data_dir = dir.into();
    }
    if let Some(dir) = &args.data_dir {
        settings.server.data_dir = dir.clone();
    }
    if let Some(port) = args.port {
        settings.tls.port = port;
    }
    if let Some(shards) = args.shards {
        settings.server.shards = shards;
    }
    let mut development = None;
    if file.is_none() {
        let files = DevFiles::below(&settings.server.data_dir);
        if !args.check_config {
            files.make().map_err(ConfigError::Development)?;
        }
        settings.tls.cert_file = Some(files.server_cert.clone());
        settings.tls.key_file = Some(files.server_key.clone());
        settings.tls.ca_file = Some(files.ca_cert.clone());
        settings.encryption.key_file = Some(files.kek.clone());
        development = Some(files);
    }
    let mut wrong = settings.check();
    if file.is_some() {
        wrong.extend(missing_files(&settings));
    }
    if !wrong.is_empty() {
        return Err(ConfigError::Contradictions(file, wrong));
    }
    Ok(Loaded {
        settings,
        file,
        development,
        give_up_log: args.give_up_log,
        import: args.import.clone(),
    })
}

/// Reads one file, and the password file that it may name. Contradictions are not looked for.
pub fn read(path: &Path) -> Result<Settings, ConfigError> {
    let io = |e| ConfigError::Io(path.to_owned(), e);
    let text = std::fs::read_to_string(path).map_err(io)?;
    let mut settings =
        Settings::from_toml(&text).map_err(|e| ConfigError::File(path.to_owned(), e))?;
    let auth = &mut settings.auth;
    take_password(
        "auth.requirepass_file",
        auth.requirepass_file.as_deref(),
        &mut auth.requirepass,
        path,
    )?;
    let replication = &mut settings.replication;
    take_password(
        "replication.masterauth_file",
        replication.masterauth_file.as_deref(),
        &mut replication.masterauth,
        path,
    )?;
    Ok(settings)
}

/// Takes a password from the file that the setting names, if it names one.
fn take_password(
    setting: &'static str,
    secret: Option<&Path>,
    into: &mut Secret,
    config: &Path,
) -> Result<(), ConfigError> {
    let Some(secret) = secret else {
        return Ok(());
    };
    let refuse = |why: String| {
        let complaint = Complaint { setting, why };
        ConfigError::Contradictions(Some(config.to_owned()), vec![complaint])
    };
    if !into.is_empty() {
        let other = setting.trim_end_matches("_file");
        return Err(refuse(format!(
            "is set, and so is {other}: keep one of them"
        )));
    }
    let text = std::fs::read_to_string(secret)
        .map_err(|e| refuse(format!("cannot be read: {}: {e}", secret.display())))?;
    let text = zeroize::Zeroizing::new(text);
    let line = text
        .strip_suffix('\n')
        .map_or(text.as_str(), |t| t.strip_suffix('\r').unwrap_or(t));
    if line.is_empty() || line.len() > 512 {
        return Err(refuse(format!(
            "names {}, which must hold a password of 1 to 512 bytes",
            secret.display()
        )));
    }
    *into = Secret::new(line);
    Ok(())
}

/// Files that the settings name and that are not there, so that `--check-config` sees what the start would see.
fn missing_files(settings: &Settings) -> Vec<Complaint> {
    let mut out = Vec::new();
    let tls = &settings.tls;
    let serves_tls = tls.enabled || (settings.metrics.port != 0 && settings.metrics.tls);
    let link = &settings.replication;
    let follows = link.replicaof.is_some() && link.tls;
    let named = [
        ("tls.cert_file", &tls.cert_file, serves_tls),
        ("tls.key_file", &tls.key_file, serves_tls),
        ("tls.ca_file", &tls.ca_file, serves_tls),
        ("replication.ca_file", &link.ca_file, follows),
        ("replication.cert_file", &link.cert_file, follows),
        ("replication.key_file", &link.key_file, follows),
    ];
    for (setting, path, used) in named {
        if let Some(path) = path.as_ref().filter(|_| used)
            && let Err(e) = std::fs::File::open(path)
        {
            out.push(Complaint {
                setting,
                why: format!("cannot be read: {}: {e}", path.display()),
            });
        }
    }
    if settings.persistence.appendonly
        && settings.seals_log()
        && let Some(path) = settings.kek_file()
        && !path.exists()
    {
        out.push(Complaint {
            setting: "encryption.key_file",
            why: format!(
                "is wrong. Encryption key file not found: {}",
                path.display()
            ),
        });
    }
    out
}

/// What `--check-config` prints of a configuration that can be served: its warnings, then how it serves.
pub fn report(loaded: &Loaded) -> String {
    let s = &loaded.settings;
    let place = loaded.file.as_ref().map_or_else(
        || "no file (development)".into(),
        |f| f.display().to_string(),
    );
    let mut out: Vec<String> = s
        .warnings()
        .into_iter()
        .map(|w| format!("warning: {w}"))
        .collect();
    let on = |port: u16, addrs: &[IpAddr]| {
        addrs
            .iter()
            .map(|a| std::net::SocketAddr::new(*a, port).to_string())
            .collect::<Vec<_>>()
            .join(", ")
    };
    if s.tls.enabled {
        out.push(format!("tls: {}", on(s.tls.port, &s.server.bind)));
    }
    if s.server.port != 0 {
        out.push(format!("plaintext: {}", on(s.server.port, &s.server.bind)));
    }
    if s.metrics.port != 0 {
        out.push(format!("metrics: {}", on(s.metrics.port, &s.metrics.bind)));
    }
    out.push(format!("data: {}", s.server.data_dir.display()));
    out.push(format!("configuration: {place}: good\n"));
    out.join("\n")
}

/// `CONFIG REWRITE`: lays what differs into the file, which is replaced whole or not at all.
pub fn rewrite(file: Option<&Path>, settings: &Settings) -> Result<(), ConfigError> {
    let path = file.ok_or(ConfigError::NoFile)?;
    let io = |e| ConfigError::Io(path.to_owned(), e);
    let original = std::fs::read_to_string(path).map_err(io)?;
    let text = settings
        .rewrite(&original)
        .map_err(|e| ConfigError::File(path.to_owned(), e))?;
    if text == original {
        return Ok(());
    }
    let mode = std::fs::metadata(path).map_err(io)?.permissions();
    replace(path, text.as_bytes(), mode).map_err(|(at, e)| ConfigError::Io(at, e))
}

/// Replaces a file by `bytes`, durably, whole or not at all.
///
/// # Errors
/// Which file could not be written, and why.
pub fn replace(
    path: &Path,
    bytes: &[u8],
    mode: std::fs::Permissions,
) -> Result<(), (PathBuf, io::Error)> {
    // Through a link to the file itself, so that the link stays.
    let path = &std::fs::canonicalize(path).map_err(|e| (path.to_owned(), e))?;
    let dir = path.parent().unwrap_or(Path::new("."));
    let temporary = dir.join(format!(
        ".{}.{}.new",
        path.file_name().unwrap_or_default().to_string_lossy(),
        std::process::id()
    ));
    let result = (|| {
        let mut out = crate::devcert::create_private(&temporary)?;
        out.write_all(bytes)?;
        out.set_permissions(mode)?;
        out.sync_all()?;
        std::fs::rename(&temporary, path)?;
        std::fs::File::open(dir)?.sync_all()
    })();
    result.map_err(|e| {
        // The temporary is ours and may hold a password; if even this fails the error below says where to look.
        let _ = std::fs::remove_file(&temporary);
        (temporary.clone(), e)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(config: Option<PathBuf>, dir: &Path) -> Args {
        Args {
            config,
            data_dir: Some(dir.to_owned()),
            ..Args::default()
        }
    }

    fn write(dir: &Path, text: &str) -> PathBuf {
        let path = dir.join("ferrite.toml");
        std::fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn without_a_file_it_makes_its_own_and_finds_them_again() {
        let dir = tempfile::tempdir().unwrap();
        let a = load(&args(None, dir.path())).unwrap();
        let dev = a.development.unwrap();
        let ca = std::fs::read(&dev.ca_cert).unwrap();
        assert_eq!(a.settings.kek_file(), Some(dev.kek.as_path()));
        assert!(a.settings.warnings().is_empty());
        load(&args(None, dir.path())).unwrap();
        assert_eq!(std::fs::read(&dev.ca_cert).unwrap(), ca);
    }

    #[test]
    fn a_check_without_a_file_makes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("none");
        let loaded = load(&Args {
            check_config: true,
            ..args(None, &data)
        })
        .unwrap();
        assert!(report(&loaded).ends_with("good\n"));
        assert!(!data.exists());
    }

    #[test]
    fn a_missing_kek_is_named_in_these_words() {
        let dir = tempfile::tempdir().unwrap();
        let path = write(
            dir.path(),
            "[server]\nport = 7\n[tls]\nenabled = false\n[encryption]\nkey_file = \"/no/kek\"\n",
        );
        let said = load(&args(Some(path), dir.path())).unwrap_err().to_string();
        assert!(
            said.contains("Encryption key file not found: /no/kek"),
            "{said}"
        );
    }

    #[test]
    fn missing_certificates_are_named_with_their_setting() {
        let dir = tempfile::tempdir().unwrap();
        let path = write(
            dir.path(),
            "[tls]\ncert_file = \"/no/c\"\nkey_file = \"/no/k\"\n[encryption]\nenabled = false\n",
        );
        let said = load(&args(Some(path), dir.path())).unwrap_err().to_string();
        assert!(
            said.contains("tls.cert_file cannot be read: /no/c") && said.contains("tls.key_file"),
            "{said}"
        );
    }

    #[test]
    fn the_password_may_come_from_a_file_and_never_shows() {
        let dir = tempfile::tempdir().unwrap();
        let secret = dir.path().join("p");
        std::fs::write(&secret, "open sesame\n").unwrap();
        let path = write(
            dir.path(),
            &format!("[auth]\nrequirepass_file = {secret:?}\n"),
        );
        let settings = read(&path).unwrap();
        assert!(settings.auth.requirepass.matches(b"open sesame"));
        let path = write(
            dir.path(),
            &format!("[auth]\nrequirepass = \"x\"\nrequirepass_file = {secret:?}\n"),
        );
        assert!(read(&path).unwrap_err().to_string().contains("keep one"));
        let path = write(
            dir.path(),
            &format!("[replication]\nmasterauth_file = {secret:?}\n"),
        );
        let settings = read(&path).unwrap();
        assert!(settings.replication.masterauth.matches(b"open sesame"));
        let rewritten = settings.rewrite(&std::fs::read_to_string(&path).unwrap());
        assert!(
            !rewritten.unwrap().contains("sesame"),
            "it stays in its file"
        );
        std::fs::write(&secret, "").unwrap();
        let path = write(
            dir.path(),
            &format!("[auth]\nrequirepass_file = {secret:?}\n"),
        );
        assert!(read(&path).unwrap_err().to_string().contains("1 to 512"));
    }

    #[test]
    fn rewriting_replaces_the_file_and_keeps_its_mode() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = write(dir.path(), "# mine\n[server]\nmaxclients = 5\n");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let mut settings = read(&path).unwrap();
        settings.set("maxclients", "6").unwrap();
        rewrite(Some(&path), &settings).unwrap();
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "# mine\n[server]\nmaxclients = 6\n"
        );
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o640
        );
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(matches!(rewrite(None, &settings), Err(ConfigError::NoFile)));
    }
}
