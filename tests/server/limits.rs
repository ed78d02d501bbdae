//! The limits of a connection: how many, how idle, how slow a reader, and what a slow reader costs the others.

use std::time::{Duration, Instant};

use crate::common::server::{Home, Server};
use crate::common::wire::{Value, Wire, command};
use crate::common::{PATIENCE, eventually};

/// Resident memory of a process in MiB.
fn rss(server: &Server<'_>) -> u64 {
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("a live process");
    let line = status
        .lines()
        .find(|l| l.starts_with("VmRSS:"))
        .expect("VmRSS");
    line.split_whitespace()
        .nth(1)
        .and_then(|n| n.parse::<u64>().ok())
        .expect("kB")
        / 1024
}

#[test]
fn above_maxclients_nobody_comes_in_until_somebody_leaves() {
    for shards in [1, 2] {
        let mut home = Home::new();
        home.shards(shards).set("server.maxclients", 5);
        let server = home.start();
        // The connection that asked whether the server is up may still be counted.
        let mut inside: Vec<Wire> = Vec::new();
        eventually("five clients are served", || {
            if let Ok(mut wire) = Wire::tls(home.port, home.client())
                && wire.try_call(&["PING"]).is_ok_and(|v| !v.is_error())
            {
                inside.push(wire);
            }
            (inside.len() == 5).then_some(())
        });
        for _ in 0..20 {
            let refused =
                Wire::tls(home.port, home.client()).and_then(|mut w| w.try_call(&["PING"]));
            if let Ok(value) = refused {
                assert_eq!(
                    value,
                    Value::Error("ERR max number of clients reached".into())
                );
            }
        }
        for wire in &mut inside {
            assert_eq!(
                wire.say("PING").text(),
                "PONG",
                "those inside are served on"
            );
        }
        inside.pop();
        eventually("a place that was left is given to the next", || {
            let mut wire = Wire::tls(home.port, home.client()).ok()?;
            wire.try_call(&["PING"]).ok().filter(|v| !v.is_error())
        });
        drop(server);
    }
}

#[test]
fn who_says_nothing_for_the_timeout_is_closed_and_who_talks_is_not() {
    let mut home = Home::new();
    home.text("server.timeout", "2s");
    let server = home.start();
    let mut silent = server.connect();
    let mut talker = server.connect();
    assert_eq!(silent.say("PING").text(), "PONG");
    silent.patience(Duration::from_millis(200));
    let began = Instant::now();
    loop {
        assert_eq!(talker.say("PING").text(), "PONG");
        match silent.fill() {
            Ok(0) => break,
            Ok(_) => panic!("something was said to a silent client"),
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
        assert!(began.elapsed() < PATIENCE, "not closed");
    }
    assert!(
        began.elapsed() >= Duration::from_secs(1),
        "closed before its time"
    );
    assert_eq!(talker.say("PING").text(), "PONG");
}

#[test]
fn a_client_over_its_output_limit_is_closed_and_the_others_notice_nothing() {
    for shards in [1, 2] {
        let mut home = Home::new();
        home.shards(shards)
            .text("server.client_output_buffer_limit", "normal 4MiB 0 0s");
        let mut server = home.start();
        let mut other = server.connect();
        other.call(&["SET", "big", &"x".repeat(1 << 20)]);
        let mut slow = server.connect();
        let get = command(&["GET", "big"]);
        // Not read: 400 MiB are asked for. When the server closes, sending fails.
        for _ in 0..400 {
            if slow.send(&get).is_err() {
                break;
            }
        }
        assert_eq!(other.say("PING").text(), "PONG");
        eventually("the slow reader is closed", || {
            let list = other.say("CLIENT LIST").text();
            (list.lines().count() == 1).then_some(())
        });
        assert!(rss(&server) < 600, "{} MiB resident", rss(&server));
        server.unharmed();
    }
}

#[test]
fn a_slow_reader_is_waited_for_and_gets_everything_in_order() {
    const REPLIES: usize = 1500;
    for shards in [1, 2] {
        let mut home = Home::new();
        home.shards(shards)
            .text("server.client_output_buffer_limit", "normal 0 0 0s");
        let mut server = home.start();
        let mut other = server.connect();
        let value = "x".repeat(1 << 20);
        other.call(&["SET", "big", &value]);
        let mut slow = server.connect();
        let mut bytes = Vec::new();
        for i in 0..REPLIES {
            bytes.extend(command(&["GET", "big"]));
            bytes.extend(command(&["ECHO", &i.to_string()]));
        }
        slow.send(&bytes).expect("a pipeline of this size is taken");
        // While 1.5 GB wait to be read, others are served and memory is not spent on what waits.
        for _ in 0..50 {
            assert_eq!(other.say("PING").text(), "PONG");
            assert!(!other.say("INCR n").is_error());
        }
        assert!(
            rss(&server) < 700,
            "{} MiB resident while a client does not read",
            rss(&server)
        );
        for i in 0..REPLIES {
            assert!(
                slow.reply().expect("a reply") == Value::bulk(&value),
                "reply {i}"
            );
            assert_eq!(slow.reply().expect("a reply").text(), i.to_string());
        }
        server.unharmed();
    }
}

#[test]
fn a_client_that_never_stops_sending_does_not_starve_the_others() {
    for shards in [1, 2] {
        let mut home = Home::new();
        home.shards(shards);
        let server = home.start();
        let mut flood = Vec::new();
        for i in 0..2000 {
            flood.extend(command(&["SET", &format!("k{i}"), &"v".repeat(500)]));
        }
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                let mut wire = server.connect();
                let (flood, stop) = (&flood, &stop);
                scope.spawn(move || {
                    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                        wire.send(flood).expect("the server reads");
                        for _ in 0..2000 {
                            assert_eq!(wire.reply().expect("a reply"), Value::ok());
                        }
                    }
                });
            }
            let mut wire = server.connect();
            for i in 0..200 {
                assert_eq!(wire.say("INCR calm"), Value::Int(i + 1));
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        });
    }
}

#[test]
fn clients_are_listed_named_and_killed() {
    for shards in [1, 2] {
        let mut home = Home::new();
        home.shards(shards);
        let server = home.start();
        let mut boss = server.connect();
        let mut others: Vec<Wire> = (0..6).map(|_| server.connect()).collect();
        let mut ids = Vec::new();
        for (i, wire) in others.iter_mut().enumerate() {
            assert_eq!(wire.say(&format!("CLIENT SETNAME worker{i}")), Value::ok());
            assert_eq!(
                wire.say("CLIENT GETNAME"),
                Value::bulk(format!("worker{i}"))
            );
            ids.push(wire.say("CLIENT ID").int());
        }
        let mut unique = ids.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), ids.len(), "an id is one client's");
        // A connection of the start may still be on its way out.
        eventually("the list holds everyone, of all shards", || {
            let list = boss.say("CLIENT LIST").text();
            (list.lines().count() == 7).then_some(())
        });
        let list = boss.say("CLIENT LIST").text();
        for (i, id) in ids.iter().enumerate() {
            let line = list
                .lines()
                .find(|l| l.contains(&format!("name=worker{i} ")))
                .expect("in the list");
            assert!(line.starts_with(&format!("id={id} ")), "{line}");
        }
        for (wire, id) in others.iter_mut().zip(&ids) {
            assert_eq!(boss.say(&format!("CLIENT KILL ID {id}")), Value::Int(1));
            wire.until_closed();
        }
        assert_eq!(
            boss.say(&format!("CLIENT KILL ID {}", ids[0])),
            Value::Int(0)
        );
    }
}

/// As many as Redis 7 takes, on whatever cores the keys are.
#[test]
fn a_command_may_have_more_than_a_million_arguments() {
    const MANY: usize = 1_100_000;
    for shards in [1, 2] {
        let mut home = Home::new();
        home.shards(shards);
        let server = home.start();
        let mut wire = server.connect();
        wire.say("SET k1000000 v");
        let keys: Vec<String> = (0..MANY).map(|i| format!("k{i}")).collect();
        let args: Vec<&str> = std::iter::once("EXISTS")
            .chain(keys.iter().map(String::as_str))
            .collect();
        assert_eq!(wire.call(&args), Value::Int(1));
        assert_eq!(wire.say("PING").text(), "PONG");
    }
}
