//! Clients and frameworks that people use, each in a program that does with Ferrite what its users do with Redis:
//! `tests/frameworks/`, in Python, Node.js and Ruby.
//!
//! Each program meets two servers: one of one shard that takes whoever comes, and one of two shards that asks for a
//! client certificate (where the library has them), a user and a password. Where the server is, it reads in its environment; by a line `@restart` it
//! asks for the server to be stopped and started again. It has to end with status 0, in time, and after it the server
//! has to stop in good order.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::common::python;
use crate::common::server::{Home, end_with_parent};
use crate::common::wire::Value;

/// More than any program takes on a machine that has other things to do: passing it means that it hangs.
const TIME: Duration = Duration::from_secs(240);

/// Who comes in where the server asks for a certificate.
const USER: (&str, &str) = ("app", "correct-horse-battery");

/// The programs of `tests/frameworks/`.
fn programs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/frameworks")
}

/// A program's process and all that it started. Dropping it ends them, by force.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        let group = i32::try_from(self.0.id()).expect("a process id");
        // SAFETY: kill takes plain integers. The group was made for this child, which is waited for only below, so its
        // number cannot be somebody else's.
        unsafe { libc::kill(-group, libc::SIGKILL) };
        // It fails when it has been waited for.
        let _ = self.0.wait();
    }
}

/// Runs a program beside a server that lives in `home`. What it printed, when it failed, is shown.
#[track_caller]
fn beside(home: &Home, name: &str, mut program: Command) {
    let mut server = Some(home.start());
    let errors = home.path().join("errors");
    program
        .current_dir(home.path())
        .env("FERRITE_HOST", "localhost")
        .env("FERRITE_PORT", home.port.to_string())
        .env("FERRITE_CA", &home.certs.ca)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(std::fs::File::create(&errors).expect("a file"))
        .process_group(0);
    end_with_parent(&mut program);
    let mut group = Group(program.spawn().unwrap_or_else(|e| {
        panic!("{name} does not start (scripts/test installs what it needs): {e}")
    }));
    let mut answers = group.0.stdin.take().expect("a pipe");
    let lines = BufReader::new(group.0.stdout.take().expect("a pipe")).lines();
    let (tell, told) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        lines
            .map_while(Result::ok)
            .try_for_each(|line| tell.send(line))
    });

    let end = Instant::now() + TIME;
    let mut said = Vec::new();
    let status = loop {
        match told.recv_timeout(Duration::from_millis(50)) {
            Ok(line) if line == "@restart" => {
                server.take().expect("it runs").stop();
                server = Some(home.start());
                answers.write_all(b"started\n").expect("it listens");
            }
            Ok(line) => said.push(line),
            Err(_) => {
                if let Some(status) = group.0.try_wait().expect("our own child") {
                    break Some(status);
                }
                if Instant::now() > end {
                    break None;
                }
            }
        }
    };
    drop(group);
    // With every process of the group gone the pipe is closed.
    let _ = reader.join();
    said.extend(told.try_iter());
    assert!(
        status.is_some_and(|s| s.success()),
        "{name}: {}\n{}\n{}",
        status.map_or("it hangs".into(), |s| s.to_string()),
        said.join("\n"),
        String::from_utf8_lossy(&std::fs::read(&errors).unwrap_or_default())
    );
    assert!(!said.is_empty(), "{name} checked nothing");
    server.expect("it runs").stop();
}

/// Whether a client library can show a certificate of its own.
#[derive(Clone, Copy, PartialEq)]
enum Certificate {
    Shown,
    Unknown,
}

/// Runs the program `name` beside both servers.
#[track_caller]
fn meets_both(name: &str, certificate: Certificate, program: impl Fn(&Home) -> Command) {
    let home = Home::new();
    beside(&home, name, program(&home));

    let mut home = Home::new();
    home.shards(2);
    let identity = (certificate == Certificate::Shown).then(|| home.mutual("app"));
    let users = home.path().join("users.acl");
    let text = format!(
        "user default off\nuser {} on >{} ~* &* +@all\n",
        USER.0, USER.1
    );
    std::fs::write(&users, text).expect("the users");
    home.text("auth.acl_file", users.display().to_string());
    let mut command = program(&home);
    command
        .env("FERRITE_USER", USER.0)
        .env("FERRITE_PASSWORD", USER.1);
    if let Some(files) = &identity {
        command
            .env("FERRITE_CERT", &files.cert)
            .env("FERRITE_KEY", &files.key);
    }
    beside(&home, name, command);
}

#[track_caller]
fn in_python(script: &str) {
    meets_both(script, Certificate::Shown, |_| {
        let mut command = Command::new(python::python());
        command
            .arg("-B")
            .arg(programs().join("python").join(script));
        command
    });
}

/// The directory with Node.js and its packages: `FERRITE_NODE`, or the one below `target/`. Absent, it fails the test.
#[track_caller]
fn node() -> PathBuf {
    let below_target = || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/node");
    let path = std::env::var_os("FERRITE_NODE").map_or_else(below_target, PathBuf::from);
    assert!(
        path.join("node").exists(),
        "no Node.js with its packages: run scripts/test, which makes {}, or name one in FERRITE_NODE",
        path.display()
    );
    path
}

#[track_caller]
fn in_node(script: &str, certificate: Certificate) {
    meets_both(script, certificate, |home| {
        // Node looks for packages beside the program, and nothing is installed into the tree.
        let here = home.path().join("node");
        std::fs::create_dir(&here).expect("a directory");
        for file in [script, "surroundings.mjs"] {
            std::fs::copy(programs().join("node").join(file), here.join(file)).expect("a copy");
        }
        std::os::unix::fs::symlink(node().join("node_modules"), here.join("node_modules"))
            .expect("a link");
        let mut command = Command::new(node().join("node"));
        command.arg(here.join(script));
        command
    });
}

#[track_caller]
fn in_ruby(script: &str) {
    meets_both(script, Certificate::Shown, |_| {
        let mut command = Command::new("ruby");
        command.arg(programs().join("ruby").join(script));
        command
    });
}

#[test]
fn redis_py() {
    in_python("redis_py.py");
}

#[test]
fn django() {
    in_python("django_site.py");
}

#[test]
fn ioredis() {
    in_node("ioredis.mjs", Certificate::Shown);
}

#[test]
fn node_redis() {
    in_node("node-redis.mjs", Certificate::Shown);
}

#[test]
fn valkey_glide() {
    in_node("glide.mjs", Certificate::Unknown);
}

#[test]
fn express_sessions() {
    in_node("express.mjs", Certificate::Shown);
}

#[test]
fn bullmq() {
    in_node("bullmq.mjs", Certificate::Shown);
}

#[test]
fn rate_limiter_flexible() {
    in_node("limits.mjs", Certificate::Shown);
}

#[test]
fn celery() {
    in_python("celery_tasks.py");
}

#[test]
fn rq() {
    in_python("rq_jobs.py");
}

#[test]
fn dramatiq() {
    in_python("dramatiq_actors.py");
}

#[test]
fn flask_limiter() {
    in_python("flask_limits.py");
}

#[test]
fn sidekiq() {
    in_ruby("sidekiq_jobs.rb");
}

/// What frameworks' scripts rely on: a script finds, writes and removes keys that it makes up, wherever they live.
#[test]
fn scripts_touch_keys_that_they_do_not_name() {
    for shards in [1, 2] {
        let mut home = Home::new();
        home.shards(shards);
        let server = home.start();
        let mut wire = server.connect();
        let script = "local n = redis.call('INCR', KEYS[1]) \
            for i = 1, 50 do redis.call('SET', 'made:' .. n .. ':' .. i, i) end \
            local sum = 0 \
            for i = 1, 50 do sum = sum + redis.call('GET', 'made:' .. n .. ':' .. i) end \
            redis.call('DEL', 'made:1:1', 'made:1:2') \
            return {sum, redis.call('DBSIZE')}";
        let reply = wire.call(&["EVAL", script, "1", "count"]);
        let numbers: Vec<i64> = reply.items().iter().map(Value::int).collect();
        assert_eq!(numbers, [1275, 49], "{shards} shards");
        drop(wire);
        server.stop();

        // All of it, or none, is what a restart finds.
        let server = home.start();
        assert_eq!(server.connect().say("DBSIZE").int(), 49);
        server.stop();
    }
}
