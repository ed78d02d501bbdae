//! WAITAOF and WAIT: when they answer, with what, and that it is true.

use std::time::{Duration, Instant};

use crate::common::eventually;
use crate::common::server::Home;
use crate::common::slots::tags;
use crate::common::wire::{Value, Wire};

fn home(shards: usize, policy: &str) -> Home {
    let mut home = Home::new();
    home.shards(shards).fsync(policy);
    home
}

fn acks(local: i64) -> Vec<Value> {
    vec![Value::Int(local), Value::Int(0)]
}

fn waitaof(wire: &mut Wire, line: &str) -> Vec<Value> {
    let reply = wire.say(line);
    assert!(!reply.is_error(), "{line}: {reply:?}");
    reply.items().to_vec()
}

/// What this connection wrote to any shard, by any way, is there after the process was killed once WAITAOF said so, and
/// it says so without waiting for the second to pass.
#[test]
fn what_waitaof_acknowledges_is_there_after_a_kill() {
    for shards in [1, 2, 4] {
        for policy in ["always", "everysec", "no"] {
            let home = home(shards, policy);
            let server = home.start();
            let tags = tags(shards);
            let mut wires: Vec<Wire> = (0..3).map(|_| server.connect()).collect();
            let began = Instant::now();
            for round in 0..15 {
                for (client, wire) in wires.iter_mut().enumerate() {
                    // In one pipeline: to each shard, then to all of them at once, then the wait.
                    let mut lines = String::new();
                    for tag in &tags {
                        lines += &format!("SET {{{tag}}}{client} {round}\r\n");
                        lines += &format!("RPUSH {{{tag}}}list{client} {round}\r\n");
                    }
                    let pairs: Vec<String> = tags
                        .iter()
                        .map(|tag| format!("{{{tag}}}many{client} {round}"))
                        .collect();
                    lines += &format!("MSET {}\r\n", pairs.join(" "));
                    lines += "WAITAOF 1 0 0\r\n";
                    wire.send(lines.as_bytes()).expect("sent");
                }
                for wire in &mut wires {
                    for _ in 0..tags.len() * 2 + 1 {
                        assert!(!wire.reply().expect("a reply").is_error());
                    }
                    let reply = wire.reply().expect("acknowledged");
                    assert_eq!(reply.items(), acks(1), "{shards} {policy}");
                }
            }
            // Fifteen rounds that wait for the second would take that many.
            let took = began.elapsed();
            assert!(took < Duration::from_secs(10), "{policy}: {took:?}");
            server.kill9();
            let server = home.start();
            let mut wire = server.connect();
            for tag in &tags {
                for client in 0..3 {
                    for key in ["", "many"] {
                        let line = format!("GET {{{tag}}}{key}{client}");
                        assert_eq!(wire.say(&line).text(), "14", "{policy}: {line}");
                    }
                    let line = format!("LLEN {{{tag}}}list{client}");
                    assert_eq!(wire.say(&line), Value::Int(15), "{policy}: {line}");
                }
            }
        }
    }
}

#[test]
fn waitaof_counts_what_there_is_and_waits_for_the_rest() {
    for shards in [1, 2] {
        let home = home(shards, "everysec");
        let server = home.start();
        let mut probe = server.connect();
        let mut wire = server.connect();
        for proto in ["2", "3"] {
            wire.say(&format!("HELLO {proto}"));
            wire.say("SET a 1");
            assert_eq!(waitaof(&mut wire, "WAITAOF 1 0 0"), acks(1));
            // Nobody waits, and nothing was written since.
            assert_eq!(waitaof(&mut wire, "WAITAOF 0 0 0"), acks(1));
            assert_eq!(waitaof(&mut wire, "WAITAOF 1 0 5000"), acks(1));
        }
        // No replica comes: the answer at the end still counts the log.
        let began = Instant::now();
        wire.say("SET a 2");
        assert_eq!(waitaof(&mut wire, "WAITAOF 1 1 300"), acks(1));
        assert_eq!(waitaof(&mut wire, "WAITAOF 0 7 100"), acks(1));
        assert!(began.elapsed() >= Duration::from_millis(400));
        // A client that waits for ever may be let go, or may go.
        let id = wire.say("CLIENT ID").int();
        for (how, error) in [("TIMEOUT", false), ("ERROR", true)] {
            wire.send(b"WAITAOF 0 1 0\r\n").expect("sent");
            eventually("it waits", || {
                (probe.figure("clients", "blocked_clients") == "1").then_some(())
            });
            let line = format!("CLIENT UNBLOCK {id} {how}");
            assert_eq!(probe.say(&line), Value::Int(1));
            let reply = wire.reply().expect("let go");
            assert_eq!(reply.is_error(), error, "{reply:?}");
        }
        wire.send(b"WAITAOF 0 1 0\r\n").expect("sent");
        eventually("it waits", || {
            (probe.figure("clients", "blocked_clients") == "1").then_some(())
        });
        drop(wire);
        eventually("nobody waits", || {
            (probe.figure("clients", "blocked_clients") == "0").then_some(())
        });
        // In a transaction nothing is waited for.
        probe.say("MULTI");
        probe.say("SET a 3");
        assert_eq!(probe.say("WAITAOF 1 1 0").text(), "QUEUED");
        assert_eq!(probe.say("WAIT 1 0").text(), "QUEUED");
        let reply = probe.say("EXEC");
        assert_eq!(reply.items()[1].items(), acks(0));
        assert_eq!(reply.items()[2], Value::Int(0));
        for (line, error) in [
            (
                "WAITAOF 2 0 0",
                "ERR value is out of range, value must between 0 and 1",
            ),
            (
                "WAITAOF 1 -1 0",
                "ERR value is out of range, must be positive",
            ),
            ("WAITAOF 1 0 -1", "ERR timeout is negative"),
            (
                "WAITAOF 1 0",
                "ERR wrong number of arguments for 'waitaof' command",
            ),
        ] {
            assert_eq!(probe.say(line).text(), error, "{line}");
        }
    }
}

#[test]
fn without_a_log_nothing_is_acknowledged() {
    let mut home = home(2, "everysec");
    home.set("persistence.appendonly", false);
    let server = home.start();
    let mut wire = server.connect();
    wire.say("SET a 1");
    assert_eq!(
        wire.say("WAITAOF 1 0 0").text(),
        "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled."
    );
    assert_eq!(waitaof(&mut wire, "WAITAOF 0 0 0"), acks(0));
    assert_eq!(waitaof(&mut wire, "WAITAOF 0 1 50"), acks(0));
}

#[test]
fn wait_answers_as_redis_without_replicas() {
    let home = home(2, "everysec");
    let server = home.start();
    let mut wire = server.connect();
    wire.say("SET a 1");
    for (line, reply) in [
        ("WAIT 0 0", Value::Int(0)),
        ("WAIT 0 10000000", Value::Int(0)),
        ("WAIT -1 0", Value::Int(0)),
        ("WAIT 2 50", Value::Int(0)),
    ] {
        assert_eq!(wire.say(line), reply, "{line}");
    }
    for (line, error) in [
        ("WAIT x 0", "ERR value is not an integer or out of range"),
        ("WAIT 1 x", "ERR timeout is not an integer or out of range"),
        ("WAIT 1 -1", "ERR timeout is negative"),
    ] {
        assert_eq!(wire.say(line).text(), error, "{line}");
    }
}
