//! What the program does beside passing commands on: samples of the keys, figures, round trips, scripts, trust.

use std::io::Read;
use std::process::Stdio;

use super::ferrite::Ferrite;
use super::{Redis, output, stderr, text};

#[test]
fn samples_of_the_keys_are_redis_cli_s() {
    let redis = Redis::start(&[
        "--tls-auth-clients",
        "no",
        "--maxmemory-policy",
        "allkeys-lfu",
    ]);
    let mut keys =
        String::from("RPUSH l 1 2 3\nHSET h f v\nSADD s 1\nZADD z 1 a\nXADD x 1-1 f v\n");
    for i in 0..300 {
        keys.push_str(&format!("SET string:{i} {}\n", "x".repeat(i % 50)));
    }
    output(&mut redis.cli(), keys.as_bytes());
    for mode in [
        &["--bigkeys"][..],
        &["--bigkeys", "--pattern", "string:1*"],
        &["--memkeys"],
        &["--memkeys-samples", "0", "--count", "100", "-i", "0.001"],
    ] {
        let sorted = |out: std::process::Output| {
            assert!(out.status.success(), "{out:?}");
            let text = String::from_utf8(out.stdout).unwrap();
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        let ours = sorted(output(redis.cli().args(mode), b""));
        // redis-cli 7.0 has no --count.
        let without_count: Vec<&str> = mode
            .iter()
            .copied()
            .filter(|w| !["--count", "100"].contains(w))
            .collect();
        let theirs = sorted(output(redis.redis_cli().args(without_count), b""));
        let counted = mode.contains(&"--count");
        let summary = |lines: &[String]| -> Vec<String> {
            let progress = |l: &&String| !(counted && l.starts_with('['));
            lines.iter().filter(progress).cloned().collect()
        };
        assert_eq!(summary(&ours), summary(&theirs), "{mode:?}");
    }
    let hot = redis.said(&["--hotkeys"]);
    assert!(hot.contains("hot key found with counter: "), "{hot}");
    let without = Redis::open_to_all();
    without.said(&["SET", "a", "1"]);
    let refused = without.run(&["--hotkeys"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("LFU"), "{refused:?}");
}

#[test]
fn ferrite_s_keys_can_be_sampled() {
    let ferrite = Ferrite::start();
    output(&mut ferrite.cli(), b"SET a 12345\nRPUSH l 1 2\n");
    for mode in ["--bigkeys", "--memkeys"] {
        let out = output(ferrite.cli().arg(mode), b"");
        let said = String::from_utf8(out.stdout).unwrap();
        assert!(said.contains("Sampled 2 keys in the keyspace!"), "{said}");
        assert!(said.contains("Biggest string found '\"a\"' has "), "{said}");
    }
}

#[test]
fn figures_come_line_by_line() {
    let ferrite = Ferrite::start();
    let mut child = ferrite
        .cli()
        .args(["--stat", "-i", "0.05"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = Vec::new();
    let mut out = child.stdout.take().unwrap();
    // The heading has two lines of 79; three lines of figures follow.
    while said.iter().filter(|b| **b == b'\n').count() < 5 {
        let mut chunk = [0; 256];
        let n = out.read(&mut chunk).unwrap();
        assert!(n > 0, "it ended");
        said.extend_from_slice(&chunk[..n]);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let said = String::from_utf8(said).unwrap();
    assert!(said.starts_with("------- data ------ ---"), "{said}");
    let line: Vec<&str> = said.lines().nth(3).unwrap().split_whitespace().collect();
    assert_eq!(line[0], "0");
    assert!(line[1].ends_with(['B', 'K', 'M', 'G']), "{line:?}");
    assert!(line[5].starts_with("(+"), "{line:?}");
}

#[test]
fn round_trips_are_measured_for_a_while() {
    let ferrite = Ferrite::start();
    for (format, between) in [("--raw", " "), ("--csv", ",")] {
        let out = output(ferrite.cli().args(["--latency", "-i", "0.1", format]), b"");
        let said = String::from_utf8(out.stdout).unwrap();
        let fields: Vec<&str> = said.trim().split(between).collect();
        assert_eq!(fields.len(), 4, "{said}");
        assert!(fields[3].parse::<u32>().unwrap() >= 1);
    }
    let out = output(
        ferrite.cli().args(["--latency", "-i", "0.1", "--json"]),
        b"",
    );
    let said: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert!(said["avg"].as_f64().unwrap() > 0.0);
}

#[test]
fn a_script_gets_its_keys_and_arguments() {
    let redis = Redis::open_to_all();
    let path = redis.data.path().join("s.lua");
    std::fs::write(&path, "return {KEYS, ARGV}").unwrap();
    for words in [&["k1", "k2", ",", "a1"][..], &["k1"], &[",", "a"], &[]] {
        let run = |mut cli: std::process::Command| {
            cli.args(["--no-raw", "--eval", text(&path)]).args(words);
            String::from_utf8(output(&mut cli, b"").stdout).unwrap()
        };
        assert_eq!(run(redis.cli()), run(redis.redis_cli()), "{words:?}");
    }
}

#[test]
fn trust_is_told_where_and_how() {
    let ferrite = Ferrite::start();
    let dev = ferrite.data().join("dev");
    let run = |more: &[&str]| {
        let mut cli = ferrite.cli();
        cli.env("FERRITE_DATA_DIR", "/nonexistent").arg("--verbose");
        output(cli.args(more), b"")
    };
    let out = run(&["--cacertdir", text(&dev), "PING"]);
    assert_eq!(out.stdout, b"PONG\n", "{out:?}");
    assert!(stderr(&out).contains("Connected to 127.0.0.1:"), "{out:?}");
    let ca = dev.join("ca.crt");
    let with = |more: &[&str]| run(&[&["--cacert", text(&ca)], more, &["PING"]].concat());
    assert_eq!(
        with(&["--tls-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"]).stdout,
        b"PONG\n"
    );
    let out = with(&["--tls-ciphers", "NULL-MD5"]);
    assert_eq!(out.status.code(), Some(1));
    assert!(stderr(&out).contains("`NULL-MD5` is no cipher suite of TLS 1.2"));
    let out = run(&["--cacertdir", "/nonexistent", "PING"]);
    assert!(stderr(&out).contains("/nonexistent"), "{out:?}");
    // Absent options of redis-cli are refused before anything is done.
    for absent in [&["-s", "/tmp/x"][..], &["-c"], &["--cluster", "info"]] {
        let out = run(absent);
        assert_eq!(out.status.code(), Some(2), "{out:?}");
        assert!(stderr(&out).contains("is not here: "), "{out:?}");
    }
}

#[test]
fn messages_of_subscriptions_stream_to_a_pipe() {
    let ferrite = Ferrite::start();
    for protocol in ["-2", "-3"] {
        let mut child = ferrite
            .cli()
            .args([protocol, "SUBSCRIBE", "ch"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = child.stdout.take().unwrap();
        let mut said = String::new();
        let mut read_until = |wanted: &str| {
            while !said.contains(wanted) {
                let mut chunk = [0; 256];
                let n = out.read(&mut chunk).unwrap();
                assert!(n > 0, "it ended: {said}");
                said.push_str(std::str::from_utf8(&chunk[..n]).unwrap());
            }
        };
        read_until("subscribe\nch\n1\n");
        output(ferrite.cli().args(["PUBLISH", "ch", "hello"]), b"");
        read_until("message\nch\nhello\n");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
