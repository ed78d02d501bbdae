//! A Ferrite of the test's own: its home directory, its configuration, its process.

use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use tempfile::TempDir;

use super::certs::{self, CertFiles};
use super::wire::{Value, Wire};
use super::{PATIENCE, random::Random};

/// The program under test.
pub const FERRITE: &str = env!("CARGO_BIN_EXE_ferrite");

/// A free loopback port below the range that outgoing connections take theirs from, so that no client of another
/// test takes it between two starts of a server.
pub fn free_port() -> u16 {
    static TURN: AtomicU32 = AtomicU32::new(0);
    let turn = u64::from(TURN.fetch_add(1, Ordering::Relaxed));
    let mut random = Random::new(u64::from(std::process::id()) << 20 | turn);
    loop {
        let port = 10_000 + random.below(22_000) as u16;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Sees to it that a process ends when the test that starts it does, even by force.
pub fn end_with_parent(command: &mut Command) {
    let ask = || {
        // SAFETY: prctl with PR_SET_PDEATHSIG takes plain integers and is async-signal-safe.
        match unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    // SAFETY: the closure calls only prctl and reads errno between fork and exec.
    unsafe { command.pre_exec(ask) };
}

/// A directory with a Kek, certificates, a configuration and the data: what outlives a process. The settings are
/// rows of section, name and TOML value; a later row replaces an earlier one.
pub struct Home {
    dir: TempDir,
    /// The TLS port.
    pub port: u16,
    /// The certificates on disk.
    pub certs: CertFiles,
    rows: Vec<(String, String, String)>,
    client: Arc<ClientConfig>,
}

fn loading(reply: &Value) -> bool {
    matches!(reply, Value::Error(text) if text.starts_with("LOADING"))
}

fn quoted(path: &Path) -> String {
    format!("{:?}", path.to_str().expect("a path in UTF-8"))
}

impl Home {
    /// A home for one server with defaults: TLS with the tests' shared authority, one shard, a sealed log.
    pub fn new() -> Home {
        let dir = tempfile::Builder::new()
            .prefix("ferrite-")
            .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
            .expect("a temporary directory");
        let (authority, identity, client) = certs::shared();
        let files = certs::write(dir.path(), authority, identity);
        let kek = dir.path().join("kek");
        certs::private(&kek, &Random::announced("Kek").bytes(32));
        let port = free_port();
        let mut home = Home {
            port,
            rows: Vec::new(),
            client: client.clone(),
            certs: CertFiles { ..files },
            dir,
        };
        let data = home.data();
        for (name, value) in [
            ("server.bind", "\"127.0.0.1\"".to_owned()),
            ("server.shards", "1".into()),
            ("server.data_dir", quoted(&data)),
            ("tls.enabled", "true".into()),
            ("tls.port", port.to_string()),
            ("tls.cert_file", quoted(&home.certs.cert)),
            ("tls.key_file", quoted(&home.certs.key)),
            ("tls.ca_file", quoted(&home.certs.ca)),
            ("persistence.appendonly", "true".into()),
            ("persistence.appendfsync", "\"everysec\"".into()),
            ("encryption.enabled", "true".into()),
            ("encryption.algorithm", "\"aes256gcm\"".into()),
            ("encryption.provider", "\"file\"".into()),
            ("encryption.file.key_file", quoted(&kek)),
        ] {
            home.set(name, value);
        }
        home
    }

    /// Sets one setting (`section.name`) to a TOML value.
    pub fn set(&mut self, dotted: &str, value: impl std::fmt::Display) -> &mut Home {
        let (section, name) = dotted.rsplit_once('.').expect("section.name");
        self.rows
            .retain(|(s, n, _)| (s.as_str(), n.as_str()) != (section, name));
        self.rows
            .push((section.into(), name.into(), value.to_string()));
        self
    }

    /// Sets one setting to a string.
    pub fn text(&mut self, dotted: &str, value: impl AsRef<str>) -> &mut Home {
        self.set(dotted, format!("{:?}", value.as_ref()))
    }

    /// Lets only clients in that have a certificate of the tests' authority. The tests' own clients have one from now
    /// on; the files of one for the client `name`.
    pub fn mutual(&mut self, name: &str) -> CertFiles {
        let authority = &certs::shared().0;
        let identity = authority.client(name);
        self.client = authority.trust(Some(&identity), rustls::DEFAULT_VERSIONS);
        self.set("tls.require_client_cert", true);
        let dir = self.dir.path().join(name);
        std::fs::create_dir(&dir).expect("a directory");
        certs::write(&dir, authority, &identity)
    }

    /// Number of shards.
    pub fn shards(&mut self, n: usize) -> &mut Home {
        self.set("server.shards", n)
    }

    /// `always`, `everysec` or `no`.
    pub fn fsync(&mut self, policy: &str) -> &mut Home {
        self.text("persistence.appendfsync", policy)
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// The Kek's file.
    pub fn kek(&self) -> PathBuf {
        self.dir.path().join("kek")
    }

    /// What the server has told its operator so far, all starts together.
    pub fn log(&self) -> String {
        let bytes = std::fs::read(self.dir.path().join("log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// What a client is configured with that trusts this server.
    pub fn client(&self) -> &Arc<ClientConfig> {
        &self.client
    }

    /// The configuration file as written for the next start.
    pub fn write_config(&self) -> PathBuf {
        let mut sections: Vec<&str> = self.rows.iter().map(|(s, _, _)| s.as_str()).collect();
        sections.sort_unstable();
        sections.dedup();
        let mut text = String::new();
        for section in sections {
            text.push_str(&format!("[{section}]\n"));
            for (_, name, value) in self.rows.iter().filter(|(s, _, _)| s == section) {
                text.push_str(&format!("{name} = {value}\n"));
            }
        }
        let path = self.dir.path().join("ferrite.toml");
        std::fs::write(&path, text).expect("ferrite.toml");
        path
    }

    /// The command that starts the server, for tests that change it.
    pub fn command(&self) -> Command {
        std::fs::create_dir_all(self.data()).expect("the data directory");
        let mut command = Command::new(FERRITE);
        command.arg("--config").arg(self.write_config());
        self.dress(&mut command);
        command
    }

    /// Sends the output to the home's log, and sees to it that the process ends when the test does.
    pub fn dress(&self, command: &mut Command) {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.dir.path().join("log"))
            .expect("the log");
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log"))
            .stderr(log);
        end_with_parent(command);
    }

    /// Starts the server and waits until it answers.
    #[track_caller]
    pub fn start(&self) -> Server<'_> {
        match self.try_start() {
            Ok(server) => server,
            Err(status) => panic!("the server ended at start ({status}):\n{}", self.log()),
        }
    }

    /// Starts the server; the status when it ends instead of answering.
    pub fn try_start(&self) -> Result<Server<'_>, ExitStatus> {
        self.try_start_as(self.command())
    }

    /// As [`Home::try_start`], with a changed command.
    pub fn try_start_as(&self, mut command: Command) -> Result<Server<'_>, ExitStatus> {
        let child = command.spawn().expect("ferrite runs");
        let mut server = Server { home: self, child };
        let began = Instant::now();
        loop {
            if let Some(status) = server.child.try_wait().expect("our own child") {
                return Err(status);
            }
            if let Ok(mut wire) = Wire::tls(self.port, &self.client)
                && wire.try_call(&["PING"]).is_ok_and(|v| !loading(&v))
            {
                return Ok(server);
            }
            assert!(
                began.elapsed() < PATIENCE,
                "the server does not answer; its log:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Starts the server and does not wait for it.
    pub fn launch(&self) -> Server<'_> {
        let child = self.command().spawn().expect("ferrite runs");
        Server { home: self, child }
    }

    /// Starts the server where it must refuse to: its exit status and what it said this time.
    #[track_caller]
    pub fn refused(&self) -> (ExitStatus, String) {
        self.refused_as(self.command())
    }

    /// As [`Home::refused`], with a changed command.
    #[track_caller]
    pub fn refused_as(&self, command: Command) -> (ExitStatus, String) {
        let before = self.log().len();
        match self.try_start_as(command) {
            Ok(_) => panic!("the server started; its log:\n{}", self.log()),
            Err(status) => (status, self.log()[before..].to_owned()),
        }
    }
}

/// A running server. Dropping it ends it, by force.
pub struct Server<'h> {
    /// Where it lives.
    pub home: &'h Home,
    child: Child,
}

impl Server<'_> {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A new TLS connection.
    #[track_caller]
    pub fn connect(&self) -> Wire {
        match Wire::tls(self.home.port, &self.home.client) {
            Ok(wire) => wire,
            Err(e) => panic!(
                "cannot connect: {e}; the server's log:\n{}",
                self.home.log()
            ),
        }
    }

    /// Fails unless the server still answers.
    #[track_caller]
    pub fn unharmed(&mut self) {
        if let Some(status) = self.child.try_wait().expect("our own child") {
            panic!("the server ended ({status}):\n{}", self.home.log());
        }
        assert_eq!(self.connect().say("PING").text(), "PONG");
    }

    /// Sends a signal.
    pub fn signal(&self, signal: i32) {
        let pid = i32::try_from(self.child.id()).expect("a process id");
        // SAFETY: kill takes plain integers; the process is our own child and not yet waited for.
        assert_eq!(
            unsafe { libc::kill(pid, signal) },
            0,
            "kill({pid}, {signal})"
        );
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("our own child") {
                return status;
            }
            assert!(
                began.elapsed() < PATIENCE,
                "the server does not end; its log:\n{}",
                self.home.log()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// kill -9.
    #[track_caller]
    pub fn kill9(mut self) {
        self.signal(libc::SIGKILL);
        let status = self.wait();
        assert_eq!(
            status.signal(),
            Some(libc::SIGKILL),
            "it ended before it was killed: {}",
            self.home.log()
        );
    }

    /// SIGTERM, and an end in good order.
    #[track_caller]
    pub fn stop(mut self) {
        self.signal(libc::SIGTERM);
        let status = self.wait();
        assert_eq!(
            status.code(),
            Some(0),
            "after SIGTERM: {status}\n{}",
            self.home.log()
        );
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        // Both fail when the process has been waited for: then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.home.log();
            let from = log.len().saturating_sub(4000);
            let from = (from..log.len())
                .find(|&i| log.is_char_boundary(i))
                .unwrap_or(log.len());
            eprintln!("--- the server's log ends:\n{}", &log[from..]);
        }
    }
}
