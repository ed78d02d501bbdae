//! The clients that people use, doing their normal work over TLS: redis-py, redis-rs, redis-cli, redis-benchmark.

use std::ffi::OsStr;
use std::io::Write;
use std::process::{Command, Output, Stdio};

use redis::{Commands, ConnectionAddr, IntoConnectionInfo};

use crate::common::python;
use crate::common::server::{Home, Server};

#[test]
fn redis_py_does_its_work() {
    for shards in [1, 2] {
        let mut home = Home::new();
        home.shards(shards);
        let server = home.start();
        let port = home.port.to_string();
        let out = python::run(
            "clients.py",
            &[OsStr::new(&port), home.certs.ca.as_os_str()],
        );
        assert!(out.ends_with("all good\n"), "{out}");
        drop(server);
    }
}

/// A redis-rs client that trusts the tests' authority.
fn redis_rs(home: &Home) -> redis::Client {
    let address = ConnectionAddr::TcpTls {
        host: "localhost".into(),
        port: home.port,
        insecure: false,
        tls_params: None,
    };
    let info = address.into_connection_info().expect("an address");
    let ca = std::fs::read(&home.certs.ca).expect("the authority");
    let certificates = redis::TlsCertificates {
        client_tls: None,
        root_cert: Some(ca),
    };
    redis::Client::build_with_tls(info, certificates).expect("a client")
}

#[test]
fn redis_rs_does_its_work() {
    for shards in [1, 2] {
        let mut home = Home::new();
        home.shards(shards);
        let server = home.start();
        let client = redis_rs(&home);
        let mut c = client.get_connection().expect("connects");
        let () = c.set("greeting", "hello").expect("SET");
        assert_eq!(c.get::<_, String>("greeting").expect("GET"), "hello");
        assert_eq!(c.get::<_, Option<String>>("nothing").expect("GET"), None);
        assert_eq!(c.incr::<_, _, i64>("n", 41).expect("INCRBY"), 41);
        assert_eq!(c.incr::<_, _, i64>("n", 1).expect("INCRBY"), 42);
        let () = c.set_ex("brief", 1, 1000).expect("SETEX");
        assert!(c.ttl::<_, i64>("brief").expect("TTL") > 900);
        let () = c
            .mset(&[("m1", "a"), ("m2", "b"), ("m3", "c")])
            .expect("MSET");
        assert_eq!(
            c.mget::<_, Vec<Option<String>>>(&["m1", "none", "m3"])
                .expect("MGET"),
            [Some("a".into()), None, Some("c".into())]
        );
        assert!(c.append::<_, _, i64>("greeting", " world").expect("APPEND") == 11);
        assert_eq!(
            c.getrange::<_, String>("greeting", 6, -1)
                .expect("GETRANGE"),
            "world"
        );

        let (a, b): (i64, String) = redis::pipe()
            .atomic()
            .incr("n", 1)
            .get("greeting")
            .query(&mut c)
            .expect("MULTI");
        assert_eq!((a, b.as_str()), (43, "hello world"));
        let mut pipe = redis::pipe();
        for i in 0..1000 {
            pipe.set(format!("p{i}"), i).ignore();
        }
        let () = pipe.query(&mut c).expect("a pipeline");
        let keys: Vec<String> = c
            .scan_match::<_, String>("p*")
            .expect("SCAN")
            .map(|k| k.expect("a key"))
            .collect();
        assert_eq!(
            keys.iter().collect::<std::collections::HashSet<_>>().len(),
            1000
        );

        // WATCH: the second try wins, the first is told that somebody came between.
        let mut other = client.get_connection().expect("connects");
        let mut tries = 0;
        let (total,): (i64,) = redis::transaction(&mut c, &["n"], |c, pipe| {
            tries += 1;
            let n: i64 = c.get("n")?;
            if tries == 1 {
                let () = other.set("n", 100)?;
            }
            pipe.set("n", n + 1).ignore().get("n").query(c)
        })
        .expect("a transaction");
        assert_eq!((total, tries), (101, 2));

        let why = c
            .incr::<_, _, i64>("greeting", 1)
            .expect_err("not a number");
        assert!(why.to_string().contains("not an integer"), "{why}");
        let () = redis::cmd("FLUSHALL").query(&mut c).expect("FLUSHALL");
        assert_eq!(
            redis::cmd("DBSIZE").query::<i64>(&mut c).expect("DBSIZE"),
            0
        );
        drop(server);
    }
}

/// Runs a program to its end.
fn run(program: &str, server: &Server<'_>, args: &[&str], input: &str) -> Output {
    let port = server.home.port.to_string();
    let mut child = Command::new(program)
        .args(["-h", "127.0.0.1", "-p", &port, "--tls", "--cacert"])
        .arg(&server.home.certs.ca)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{program} is needed (apt-get install redis-tools): {e}"));
    child
        .stdin
        .take()
        .expect("a pipe")
        .write_all(input.as_bytes())
        .expect("written");
    child.wait_with_output().expect("an end")
}

#[test]
fn redis_cli_does_its_work() {
    let mut home = Home::new();
    home.shards(2);
    let server = home.start();
    let said = |args: &[&str], input: &str| {
        let out = run("redis-cli", &server, args, input);
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        assert!(
            out.status.success(),
            "{args:?}: {text}{}",
            String::from_utf8_lossy(&out.stderr)
        );
        text
    };
    assert_eq!(said(&["SET", "k", "v"], ""), "OK\n");
    assert_eq!(said(&["GET", "k"], ""), "v\n");
    assert_eq!(
        said(&["-3", "--json", "CONFIG", "GET", "maxclients"], ""),
        "{\"maxclients\":\"10000\"}\n"
    );
    assert_eq!(
        said(&[], "SET a 1\nINCR a\nMULTI\nINCR a\nGET k\nEXEC\n"),
        "OK\n2\nOK\nQUEUED\nQUEUED\n3\nv\n"
    );
    assert!(said(&["INFO", "server"], "").contains("redis_version:"));
    assert!(said(&["--scan"], "").lines().count() == 2);
    let bulk: String = (0..5000)
        .map(|i| format!("*3\r\n$3\r\nSET\r\n$5\r\n{i:05}\r\n$1\r\nx\r\n"))
        .collect();
    assert!(said(&["--pipe"], &bulk).contains("errors: 0, replies: 5000"));
    assert_eq!(said(&["DBSIZE"], ""), "5002\n");
    assert!(said(&["--bigkeys"], "").contains("5002 keys"));
    assert!(said(&["-n", "3", "DBSIZE"], "").starts_with('0'));
}

#[test]
fn redis_benchmark_does_its_work() {
    for shards in [1, 2] {
        let mut home = Home::new();
        home.shards(shards);
        let mut server = home.start();
        for args in [
            &["-q", "-n", "5000", "-t", "ping,set,get,incr,mset"][..],
            &[
                "-q", "-n", "20000", "-P", "16", "-r", "1000", "-t", "set,get", "-d", "1024",
            ],
            &["-q", "-n", "3000", "-3", "-t", "set,get"],
            &["-q", "-n", "2000", "-k", "0", "-c", "20", "-t", "ping"],
            &[
                "-q",
                "-n",
                "3000",
                "--dbnum",
                "2",
                "-r",
                "100",
                "SETRANGE",
                "r:__rand_int__",
                "5",
                "hello",
            ],
        ] {
            let out = run("redis-benchmark", &server, args, "");
            let text = format!(
                "{}{}",
                String::from_utf8_lossy(&out.stdout),
                String::from_utf8_lossy(&out.stderr)
            );
            assert!(
                out.status.success()
                    && text.contains("requests per second")
                    && !text.contains("Error"),
                "{args:?}:\n{text}"
            );
        }
        server.unharmed();
    }
}
