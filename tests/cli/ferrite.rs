//! A Ferrite of the test's own, as it starts without a configuration file.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{forget_environment, free_port, redis_cli};

/// A data directory and a port; the server may end and start again.
pub struct Ferrite {
    dir: tempfile::TempDir,
    pub port: String,
    child: Option<Child>,
}

impl Drop for Ferrite {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Ferrite {
    pub fn start() -> Ferrite {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let mut ferrite = Ferrite {
            dir,
            port: free_port().to_string(),
            child: None,
        };
        ferrite.start_again();
        ferrite
    }

    /// Starts the server and waits until it answers.
    pub fn start_again(&mut self) {
        let log = std::fs::File::create(self.dir.path().join("log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_ferrite"));
        command
            .arg("--data-dir")
            .arg(self.data())
            .args(["--port", &self.port, "--shards", "1"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        self.child = Some(command.spawn().unwrap());
        let began = Instant::now();
        let answers = |ferrite: &Ferrite| {
            let said = ferrite.cli().arg("PING").output().unwrap();
            said.stdout == b"PONG\n"
        };
        while !answers(self) {
            assert!(
                began.elapsed() < Duration::from_secs(60),
                "the server does not answer"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// ferrite-cli on the way to it.
    pub fn cli(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ferrite-cli"));
        forget_environment(&mut command);
        command
            .env("FERRITE_DATA_DIR", self.data())
            .args(["-p", &self.port]);
        command
    }

    /// redis-cli on the same way.
    pub fn redis_cli(&self) -> Command {
        redis_cli(&self.port, &self.data().join("dev/ca.crt"))
    }
}
