//! `ferrite-cli` against a real Redis server and against Ferrite, over TLS, its output beside redis-cli's own; and at a
//! pseudo-terminal, as people have it before them.

mod ferrite;
mod modes;
mod same;
mod terminal;

use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use ferrite_server::devcert::DevFiles;

struct Redis {
    child: Child,
    data: tempfile::TempDir,
    files: DevFiles,
    tls: String,
    plain: String,
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Nothing of the environment of whoever runs the tests reaches the program.
fn forget_environment(command: &mut Command) {
    for name in [
        "FERRITE_CACERT",
        "FERRITECLI_AUTH",
        "REDISCLI_AUTH",
        "FERRITECLI_HISTFILE",
        "FERRITECLI_RCFILE",
        "NO_COLOR",
    ] {
        command.env_remove(name);
    }
}

/// redis-cli over TLS.
fn redis_cli(port: &str, ca: &Path) -> Command {
    let mut command = Command::new("redis-cli");
    command
        .env_remove("REDISCLI_AUTH")
        .args(["-p", port, "--tls", "--cacert", text(ca)]);
    command
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

impl Redis {
    fn start(more: &[&str]) -> Redis {
        let data = tempfile::tempdir().unwrap();
        let files = DevFiles::below(data.path());
        files.make().unwrap();
        for _ in 0..5 {
            let (tls, plain) = (free_port(), free_port());
            let mut command = Command::new("redis-server");
            command.args([
                "--save",
                "",
                "--bind",
                "127.0.0.1",
                "--dir",
                text(data.path()),
            ]);
            command.args(["--port", &plain.to_string(), "--tls-port", &tls.to_string()]);
            command.args([
                "--tls-cert-file",
                text(&files.server_cert),
                "--tls-key-file",
                text(&files.server_key),
            ]);
            command
                .args(["--tls-ca-cert-file", text(&files.ca_cert)])
                .args(more);
            let mut child = command
                .stdout(Stdio::null())
                .spawn()
                .expect("redis-server must be installed");
            let deadline = Instant::now() + Duration::from_secs(20);
            while child.try_wait().unwrap().is_none() {
                assert!(Instant::now() < deadline, "redis-server does not answer");
                if std::net::TcpStream::connect(("127.0.0.1", tls)).is_ok() {
                    return Redis {
                        child,
                        data,
                        files,
                        tls: tls.to_string(),
                        plain: plain.to_string(),
                    };
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        panic!("redis-server found no free port");
    }

    fn open_to_all() -> Redis {
        Redis::start(&["--tls-auth-clients", "no"])
    }

    /// The program, in an environment of which the test knows all that matters.
    fn cli(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ferrite-cli"));
        forget_environment(&mut command);
        command
            .env("FERRITE_DATA_DIR", self.data.path())
            .args(["-p", &self.tls]);
        command
    }

    /// redis-cli, on the same way.
    fn redis_cli(&self) -> Command {
        redis_cli(&self.tls, &self.files.ca_cert)
    }

    fn run(&self, args: &[&str]) -> Output {
        output(self.cli().args(args), b"")
    }

    fn said(&self, args: &[&str]) -> String {
        let out = self.run(args);
        assert!(out.status.success(), "{args:?}: {out:?}");
        String::from_utf8(out.stdout).unwrap()
    }
}

fn output(command: &mut Command, input: &[u8]) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        let _ = stdin.write_all(&input); // the program may end before it has read everything
    });
    let out = child.wait_with_output().unwrap();
    writer.join().unwrap();
    out
}

fn stderr(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

/// Commands whose replies are of every kind, a line each, as both programs read them from standard input.
const EVERY_KIND: &str = r#"
FLUSHALL
MSET a 1 quote "say \"hi\"\t\xc3\xa9"
HSET h f v g w
ZADD z 1.5 m 2 n
SADD s x
GET a
GET none
GET quote
INCR a
INCRBYFLOAT a 0.5
MGET a none quote
KEYS nothing*
HGETALL h
HGETALL none
ZRANGE z 0 -1 WITHSCORES
ZSCORE z m
SMEMBERS s
SMEMBERS none
LPUSH a 1
NOSUCH
EVAL "return {1, {2, {'x', false}, {}}, {err='ERR no'}, 'last'}" 0
EVAL "redis.setresp(3); return {map={k={double=3.5}}}" 0
EVAL "redis.setresp(3); return {set={x=true}}" 0
COMMAND INFO get set
DEBUG PROTOCOL true
DEBUG PROTOCOL null
DEBUG PROTOCOL verbatim
"#;

#[test]
fn replies_look_as_redis_cli_s_do() {
    let redis = Redis::open_to_all();
    for format in [
        &["--no-raw"][..],
        &["--raw"],
        &["--csv"],
        &["--no-raw", "-3"],
        &["--raw", "-3"],
        &["--csv", "-3"],
        &["--json"],
    ] {
        let ours = output(redis.cli().args(format), EVERY_KIND.as_bytes()).stdout;
        let mut theirs = redis.redis_cli();
        theirs.args(format);
        let theirs = output(&mut theirs, EVERY_KIND.as_bytes()).stdout;
        let (ours, theirs) = (
            String::from_utf8_lossy(&ours),
            String::from_utf8_lossy(&theirs),
        );
        assert!(ours.lines().count() > 25, "{ours}");
        for (ours, theirs) in ours.lines().zip(theirs.lines()) {
            if format == ["--json"] {
                // redis-cli writes errors as `error:"..."`, which is no JSON; ours is.
                let _: serde_json::Value =
                    serde_json::from_str(ours).unwrap_or_else(|e| panic!("{ours}: {e}"));
                assert_eq!(ours.replace("\"error:", "error:\""), theirs);
            } else {
                assert_eq!(ours, theirs, "{format:?}");
            }
        }
        assert_eq!(ours.lines().count(), theirs.lines().count(), "{format:?}");
    }
}

#[test]
fn options_do_what_they_do_in_redis_cli() {
    let redis = Redis::open_to_all();
    assert_eq!(redis.said(&["-n", "3", "SET", "k", "three"]), "OK\n");
    assert_eq!(redis.said(&["-n", "3", "GET", "k"]), "three\n");
    assert_eq!(redis.said(&["GET", "k"]), "\n");
    assert_eq!(
        redis.said(&["-r", "3", "-i", "0.01", "INCR", "n"]),
        "1\n2\n3\n"
    );
    let url = format!("rediss://localhost:{}/3", redis.tls);
    let with_url = |more: &[&str]| {
        let mut cli = Command::new(env!("CARGO_BIN_EXE_ferrite-cli"));
        cli.env("FERRITE_CACERT", &redis.files.ca_cert);
        output(cli.args(["-u", &url]).args(more), b"")
    };
    assert_eq!(with_url(&["GET", "k"]).stdout, b"three\n");
    let both = with_url(&["-p", "7", "GET", "k"]);
    assert_eq!(both.status.code(), Some(2), "{both:?}");
    let out = output(redis.cli().args(["-x", "SET", "bytes"]), b"a\0\xff\n");
    assert_eq!(out.stdout, b"OK\n");
    assert_eq!(redis.run(&["GET", "bytes"]).stdout, b"a\0\xff\n\n");
    assert!(redis.run(&["NOSUCH"]).status.success());
    assert_eq!(redis.run(&["-e", "NOSUCH"]).status.code(), Some(1));
    redis.said(&["MSET", "scan:1", "x", "scan:2", "x"]);
    let mut keys: Vec<String> = redis
        .said(&["--scan", "--pattern", "scan:*"])
        .lines()
        .map(String::from)
        .collect();
    keys.sort();
    assert_eq!(keys, ["scan:1", "scan:2"]);
}

#[test]
fn lines_of_standard_input_are_commands() {
    let redis = Redis::open_to_all();
    let out = output(
        &mut redis.cli(),
        b"SET k \"a b\"\n\nGET k\nGET \"open\nMULTI\nINCR n\nEXEC\nquit\nSET k never\n",
    );
    let said = String::from_utf8(out.stdout).unwrap();
    assert!(said.starts_with("OK\na b\nInvalid argument(s)"), "{said}");
    assert!(said.ends_with("OK\nQUEUED\n1\n"), "{said}");
    assert_eq!(redis.said(&["GET", "k"]), "a b\n");
}

#[test]
fn a_pipe_counts_its_replies() {
    let redis = Redis::open_to_all();
    let mut input = Vec::new();
    for i in 0..2500 {
        input.extend_from_slice(
            format!("*3\r\n$3\r\nSET\r\n$6\r\np:{i:04}\r\n$1\r\nx\r\n").as_bytes(),
        );
    }
    input.extend_from_slice(b"NOSUCH\nSET last 1\n");
    let out = output(redis.cli().arg("--pipe"), &input);
    assert_eq!(out.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&out.stdout).ends_with("errors: 1, replies: 2502\n"));
    assert_eq!(redis.said(&["DBSIZE"]), "2501\n");
}

#[test]
fn trust_and_login_are_refused_in_words() {
    let redis = Redis::start(&["--tls-auth-clients", "yes", "--requirepass", "secret"]);
    let own = [
        "--cert",
        text(&redis.files.client_cert),
        "--key",
        text(&redis.files.client_key),
    ];
    let said = |args: &[&str]| {
        let out = redis.run(args);
        assert_eq!(out.status.code(), Some(1), "{args:?}: {out:?}");
        stderr(&out)
    };
    let out = redis.run(&[&own[..], &["-a", "secret", "PING"]].concat());
    assert_eq!(
        (out.stdout.as_slice(), out.status.success()),
        (&b"PONG\n"[..], true)
    );
    assert!(stderr(&out).contains("Warning") && !stderr(&out).contains("secret"));
    let out = output(
        redis
            .cli()
            .args(own)
            .arg("PING")
            .env("REDISCLI_AUTH", "secret"),
        b"",
    );
    assert_eq!(
        (out.stdout.as_slice(), out.stderr.as_slice()),
        (&b"PONG\n"[..], &b""[..])
    );
    assert!(
        said(&[&own[..], &["-a", "wrong", "PING"]].concat()).contains("login failed: WRONGPASS")
    );
    assert_eq!(
        redis.said(&[&own[..], &["PING"]].concat()),
        "NOAUTH Authentication required.\n\n"
    );
    assert!(said(&["PING"]).contains("the server wants a client certificate"));
    let other = tempfile::tempdir().unwrap();
    let wrong = DevFiles::within(other.path());
    wrong.make().unwrap();
    let unknown = said(&[&own[..], &["--cacert", text(&wrong.ca_cert), "PING"]].concat());
    assert!(
        unknown.contains("certificate verify failed") && unknown.contains("FERRITE_CACERT"),
        "{unknown}"
    );
    let out = output(
        redis
            .cli()
            .args(own)
            .args(["-a", "secret", "PING"])
            .env("FERRITE_CACERT", &wrong.ca_cert),
        b"",
    );
    assert!(stderr(&out).contains("certificate verify failed"));
    assert_eq!(
        redis
            .run(
                &[
                    &own[..],
                    &["--insecure", "--no-auth-warning", "-a", "secret", "PING"]
                ]
                .concat()
            )
            .stdout,
        b"PONG\n"
    );
    let mut plain = Command::new(env!("CARGO_BIN_EXE_ferrite-cli"));
    let out = output(
        plain.args(["--no-tls", "-p", &redis.plain, "-a", "secret", "PING"]),
        b"",
    );
    assert_eq!(out.stdout, b"PONG\n");
    assert!(
        said(&["-t", "0.3", "-p", &redis.plain, "PING"])
            .contains("perhaps this port speaks no TLS")
    );
}

#[test]
fn nobody_at_the_address_is_said_so() {
    let mut cli = Command::new(env!("CARGO_BIN_EXE_ferrite-cli"));
    let port = free_port().to_string();
    let out = output(cli.args(["--insecure", "-p", &port, "PING"]), b"");
    assert_eq!(out.status.code(), Some(1));
    assert!(
        stderr(&out).starts_with(&format!(
            "Could not connect to Ferrite at 127.0.0.1:{port}: Connection refused"
        )),
        "{out:?}"
    );
}

#[test]
fn words_of_its_own_that_are_not_there_yet_are_refused() {
    let out = output(
        Command::new(env!("CARGO_BIN_EXE_ferrite-cli")).arg("audit"),
        b"",
    );
    assert_eq!(
        (out.status.code(), stderr(&out)),
        (
            Some(1),
            "`audit` is not available in this version\n".to_owned()
        )
    );
    let help = output(
        Command::new(env!("CARGO_BIN_EXE_ferrite-cli")).arg("--help"),
        b"",
    );
    assert!(help.status.success());
}

#[test]
fn certificates_can_be_made_for_other_names_and_are_never_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let cert = |more: &[&str]| {
        output(
            Command::new(env!("CARGO_BIN_EXE_ferrite-cli"))
                .args(["cert", text(dir.path())])
                .args(more),
            b"",
        )
    };
    assert!(cert(&["db.example.org", "10.1.2.3"]).status.success());
    let shown = Command::new("openssl")
        .args(["x509", "-noout", "-ext", "subjectAltName", "-in"])
        .arg(dir.path().join("server.crt"))
        .output()
        .unwrap();
    let names = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(
        names.contains("DNS:db.example.org")
            && names.contains("IP Address:10.1.2.3")
            && names.contains("DNS:localhost"),
        "{names}"
    );
    let again = cert(&["other.example.org"]);
    assert!(
        !again.status.success() && stderr(&again).contains("is there already"),
        "{again:?}"
    );
}
