//! A redis-server over TLS, for comparison.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::PATIENCE;
use super::certs;
use super::server::{end_with_parent, free_port};
use super::wire::Wire;

/// A running redis-server that keeps nothing. Dropping it ends it.
pub struct Redis {
    dir: TempDir,
    port: u16,
    child: Child,
    more: Vec<String>,
}

impl Redis {
    /// Starts one, with TLS only and the tests' shared authority.
    pub fn start() -> Redis {
        Redis::with(&[])
    }

    /// Starts one with the data of an RDB file.
    pub fn start_from(rdb: &Path) -> Redis {
        let dir = Self::dir();
        std::fs::copy(rdb, dir.path().join("dump.rdb")).expect("a copy of the file");
        Self::start_in(dir, &[])
    }

    /// Starts one with more words on its command line.
    pub fn with(more: &[&str]) -> Redis {
        Self::start_in(Self::dir(), more)
    }

    fn dir() -> TempDir {
        let dir = tempfile::Builder::new()
            .prefix("redis-")
            .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
            .expect("a temporary directory");
        let (authority, identity, _) = certs::shared();
        certs::write(dir.path(), authority, identity);
        dir
    }

    fn start_in(dir: TempDir, more: &[&str]) -> Redis {
        let port = free_port();
        let more: Vec<String> = more.iter().map(|word| (*word).into()).collect();
        let child = Self::spawn(&dir, port, &more);
        let mut redis = Redis {
            dir,
            port,
            child,
            more,
        };
        redis.ready();
        redis
    }

    /// Ends it by force, and starts it anew on the same port: with what it had saved, which is nothing unless it was told
    /// to.
    pub fn restart(&mut self) {
        self.end();
        self.child = Self::spawn(&self.dir, self.port, &self.more);
        self.ready();
    }

    /// Ends it by force.
    pub fn end(&mut self) {
        // Both fail when the process has been waited for: then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn spawn(dir: &TempDir, port: u16, more: &[String]) -> Child {
        let log = std::fs::File::create(dir.path().join("log")).expect("the log");
        let port = port.to_string();
        let words = [
            "--port",
            "0",
            "--tls-port",
            &port,
            "--bind",
            "127.0.0.1",
            "--tls-auth-clients",
            "no",
            "--tls-cert-file",
            "server.pem",
            "--tls-key-file",
            "server.key",
            "--tls-ca-cert-file",
            "ca.pem",
            "--save",
            "",
            "--enable-debug-command",
            "local",
            "--dir",
            ".",
        ];
        let mut command = Command::new("redis-server");
        command
            .args(words)
            .args(more)
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(Stdio::null());
        end_with_parent(&mut command);
        command
            .spawn()
            .expect("redis-server is installed (apt-get install redis-server)")
    }

    fn ready(&mut self) {
        let began = Instant::now();
        loop {
            if let Ok(mut wire) = Wire::tls(self.port, &certs::shared().2)
                && let Ok(reply) = wire.try_call(&["PING"])
                && (!reply.is_error() || reply.text().starts_with("NOAUTH"))
            {
                return;
            }
            let log = std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            if let Some(status) = self.child.try_wait().expect("our own child") {
                panic!("redis-server ended at start ({status}):\n{log}");
            }
            assert!(
                began.elapsed() < PATIENCE,
                "redis-server does not answer:\n{log}"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// A file of its directory.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Its TLS port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A new connection.
    pub fn connect(&self) -> Wire {
        Wire::tls(self.port, &certs::shared().2).expect("redis-server answers")
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.end();
    }
}
