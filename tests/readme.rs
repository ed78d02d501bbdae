//! Every command in the README is run here, in the README's order, in a directory that looks like the tree: what it
//! tells a user to type works.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

const TIME: Duration = Duration::from_secs(60);

/// A fenced block: its language and its text.
#[derive(Debug, PartialEq)]
struct Block {
    language: String,
    text: String,
}

fn blocks(markdown: &str) -> Vec<Block> {
    let mut out = Vec::new();
    let mut open: Option<Block> = None;
    for line in markdown.lines() {
        match (&mut open, line.trim_start().strip_prefix("```")) {
            (None, Some(language)) => {
                open = Some(Block {
                    language: language.trim().into(),
                    text: String::new(),
                })
            }
            (Some(_), Some(_)) => out.extend(open.take()),
            (Some(block), None) => block.text.push_str(&format!("{line}\n")),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a fence is not closed");
    out
}

/// The commands of a shell block, continued lines joined.
fn commands(text: &str) -> Vec<String> {
    let joined = text.replace("\\\n", " ");
    joined
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty() && !l.starts_with('#'))
        .map(String::from)
        .collect()
}

/// A server that a command of the README started, and that must end well.
struct Server {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Server {
    fn wait_for(&mut self, what: &str) {
        let deadline = Instant::now() + TIME;
        let mut seen = String::new();
        while !seen.contains(what) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => seen.push_str(&format!("{line}\n")),
                Err(e) => panic!("`{what}` does not come ({e}); this did:\n{seen}"),
            }
        }
    }

    /// Ends it as an operator would, and gives its exit status.
    fn end(mut self) -> Option<i32> {
        terminate(&self.child);
        let deadline = Instant::now() + TIME;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < deadline, "the server does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|s| s.is_none()) {
            // A failed test: the script's own trap ends the server below it.
            terminate(&self.child);
            std::thread::sleep(Duration::from_secs(1));
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Asks a child to end.
fn terminate(child: &Child) {
    // SAFETY: a signal to a child that has not been waited for yet, so the number is still its own.
    unsafe { libc::kill(child.id() as libc::pid_t, libc::SIGTERM) };
}

/// A directory in which the README's commands find what they name.
struct Desk {
    dir: tempfile::TempDir,
    port: String,
    server: Option<Server>,
}

impl Desk {
    fn new() -> Desk {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("target/release")).unwrap();
        for name in ["scripts", "config"] {
            symlink(root.join(name), dir.path().join(name)).unwrap();
        }
        for (name, binary) in [
            ("ferrite", env!("CARGO_BIN_EXE_ferrite")),
            ("ferrite-cli", env!("CARGO_BIN_EXE_ferrite-cli")),
        ] {
            symlink(binary, dir.path().join("target/release").join(name)).unwrap();
        }
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port()
            .to_string();
        Desk {
            dir,
            port,
            server: None,
        }
    }

    /// A command with this test's port instead of the usual one.
    fn here(&self, text: &str) -> String {
        let text = text.replace("6380", &self.port);
        let cli = "target/release/ferrite-cli ";
        if text.contains(" -p ") {
            text
        } else {
            text.replace(cli, &format!("{cli}-p {} ", self.port))
        }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.dir.path())
            .env("FERRITE_BIN_DIR", self.dir.path().join("target/release"));
        for name in [
            "FERRITE_CACERT",
            "FERRITE_DATA_DIR",
            "REDISCLI_AUTH",
            "FERRITECLI_AUTH",
        ] {
            command.env_remove(name);
        }
        // The Python that scripts/test makes has the packages; without it, the system's must.
        let made = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/venv/bin/python");
        let python = std::env::var_os("FERRITE_PYTHON").map_or(made, PathBuf::from);
        if python.exists() {
            let mut path = python.parent().unwrap().as_os_str().to_owned();
            path.push(":");
            path.push(std::env::var_os("PATH").unwrap_or_default());
            command.env("PATH", path);
        }
        command
    }

    fn run(&self, text: &str) {
        let out = self
            .command("bash")
            .args(["-euo", "pipefail", "-c", &self.here(text)])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(
            out.status.success(),
            "`{text}` fails with {}:\n{}{}",
            out.status,
            String::from_utf8_lossy(&out.stdout),
            String::from_utf8_lossy(&out.stderr)
        );
    }

    fn start(&mut self, text: &str) -> &mut Server {
        self.end_server();
        let text = format!("exec {}", self.here(text));
        let mut command = self.command("bash");
        command
            .args(["-c", &text])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (send, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    break;
                }
            }
        });
        self.server.insert(Server { child, lines })
    }

    fn end_server(&mut self) {
        if let Some(server) = self.server.take() {
            // 143: the script passes the signal on, waits for the server's good end, and says what ended it.
            let code = server.end();
            assert!(
                matches!(code, Some(0 | 143)),
                "the server ends with {code:?}"
            );
        }
    }
}

#[test]
fn every_command_of_the_readme_works() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let mut desk = Desk::new();
    let mut ran = 0;
    for block in blocks(&text) {
        match block.language.as_str() {
            "toml" => {
                if block.text.contains("redis-ca.crt") {
                    // What the owner of another server would have put there.
                    desk.run("cp certs/ca.crt certs/redis-ca.crt && echo secret > redis.password");
                }
                fs::write(desk.dir.path().join("ferrite.toml"), desk.here(&block.text)).unwrap()
            }
            "python" => {
                let mut python = desk.command("python3");
                let out = python
                    .args(["-c", &desk.here(&block.text)])
                    .output()
                    .unwrap();
                assert!(
                    out.status.success(),
                    "{}\n{}",
                    block.text,
                    String::from_utf8_lossy(&out.stderr)
                );
            }
            "sh" => {
                for command in commands(&block.text) {
                    ran += 1;
                    match command.as_str() {
                        "scripts/run" => {
                            let port = desk.port.clone();
                            desk.start(&format!("scripts/run --port {port}"))
                                .wait_for("Serving on");
                        }
                        // It cannot be run inside itself; when it runs this test, it is being run.
                        "scripts/test" if std::env::var_os("FERRITE_SCRIPTS_TEST").is_some() => {}
                        "scripts/test" => desk.run("bash -n scripts/test"),
                        server if server.starts_with("target/release/ferrite --config") => {
                            desk.start(server);
                            desk.run("for i in $(seq 300); do target/release/ferrite-cli --cacert certs/ca.crt -p 6380 PING >/dev/null 2>&1 && exit 0; sleep 0.1; done; exit 1");
                        }
                        other => desk.run(other),
                    }
                }
            }
            other => panic!("a block in `{other}`, which nothing here tries"),
        }
    }
    desk.end_server();
    assert!(ran >= 10, "only {ran} commands were found");
}

#[test]
fn the_show_ends_by_itself_and_leaves_nothing_running() {
    let desk = Desk::new();
    let out = desk
        .command("scripts/run")
        .args(["--once", "--port", &desk.port, "--data-dir", "data"])
        .output()
        .unwrap();
    let (said, complained) = (
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr),
    );
    assert!(out.status.success(), "{said}\n{complained}");
    for word in ["== Over TLS", "== On the disk", "== Killed", "== Done."] {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert!(
        std::net::TcpStream::connect(format!("127.0.0.1:{}", desk.port)).is_err(),
        "something still listens"
    );
    assert!(desk.dir.path().join("data/dev/ca.crt").exists());
}

#[test]
fn links_of_the_readme_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("README.md")).unwrap();
    let links: Vec<&str> = text
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .filter(|l| !l.contains("://"))
        .collect();
    assert!(links.len() >= 4);
    for link in links {
        assert!(root.join(link).exists(), "{link} is not there");
    }
}

#[test]
fn blocks_and_commands_are_seen() {
    let found = blocks("a\n```sh\nx \\\n  y\n# no\n\nz\n```\nb\n```toml\nk = 1\n```\n");
    assert_eq!(found.len(), 2);
    assert_eq!(
        (found[0].language.as_str(), commands(&found[0].text)),
        ("sh", vec!["x    y".to_string(), "z".into()])
    );
    assert_eq!(
        found[1],
        Block {
            language: "toml".into(),
            text: "k = 1\n".into()
        }
    );
}
