//! Whatever a client does last, its connection ends and costs nothing afterwards: commands that are finished by another
//! core, replies that are long, requests that are longer than what is read ahead.

use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use crate::common::eventually;
use crate::common::server::Home;
use crate::common::wire::{Value, Wire, command};

fn two(policy: &str) -> Home {
    let mut home = Home::new();
    home.shards(2).fsync(policy);
    home
}

#[test]
fn a_request_is_as_long_as_the_limit_allows() {
    let home = two("everysec");
    let server = home.start();
    let mut wire = server.connect();
    for mib in [63, 65, 130] {
        let value = vec![b'x'; mib << 20];
        assert_eq!(wire.call(&[&b"SET"[..], b"big", &value]), Value::ok());
        assert_eq!(wire.say("STRLEN big"), Value::Int(value.len() as i64));
    }
    let part = vec![b'y'; 40 << 20];
    let all = [&b"MSET"[..], b"a", &part, b"b", &part, b"c", &part];
    assert_eq!(wire.call(&all), Value::ok());
    assert_eq!(wire.say("STRLEN c"), Value::Int(part.len() as i64));
}

#[test]
fn clients_that_leave_after_a_command_on_several_cores_are_gone() {
    for policy in ["everysec", "always"] {
        let home = two(policy);
        let server = home.start();
        let last: Vec<Vec<u8>> = vec![
            command(&["MSET", "a", "1", "b", "2", "c", "3", "d", "4", "e", "5"]),
            b"MULTI\r\nSET a 1\r\nSET b 2\r\nSET c 3\r\nSET d 4\r\nEXEC\r\n".to_vec(),
            command(&["DEL", "a", "b", "c", "d", "e"]),
            command(&["FLUSHALL"]),
            command(&["DEBUG", "SLEEP", "0.01"]),
        ];
        for bytes in &last {
            for _ in 0..20 {
                // Everything is answered, and then the end comes.
                let mut wire = server.connect();
                wire.send(bytes).expect("sent");
                wire.socket().shutdown(Shutdown::Write).expect("shutdown");
                let said = wire.until_closed();
                assert!(!said.is_empty(), "no reply before the end");
                // And who leaves at once is not kept.
                let mut wire = server.connect();
                wire.send(bytes).expect("sent");
            }
        }
        let mut wire = server.connect();
        eventually("nobody is left but the one that asks", || {
            (wire.figure("clients", "connected_clients") == "1").then_some(())
        });
        server.stop();
    }
}

#[test]
fn the_policy_may_change_under_transactions_across_cores() {
    let home = two("everysec");
    let server = home.start();
    let mut wires: Vec<Wire> = (0..6).map(|_| server.connect()).collect();
    thread::scope(|scope| {
        for (n, wire) in wires.iter_mut().enumerate() {
            scope.spawn(move || {
                for i in 0..300 {
                    let keys: Vec<String> = (0..4).map(|k| format!("{n}:{i}:{k}")).collect();
                    let mut args = vec!["MSET"];
                    for key in &keys {
                        args.extend([key.as_str(), "v"]);
                    }
                    assert_eq!(wire.call(&args), Value::ok());
                }
            });
        }
        let mut other = server.connect();
        for i in 0..200 {
            let policy = ["always", "everysec"][i % 2];
            let reply = other.say(&format!("CONFIG SET appendfsync {policy}"));
            assert_eq!(reply, Value::ok());
        }
    });
    let mut wire = server.connect();
    assert_eq!(wire.say("DBSIZE"), Value::Int(6 * 300 * 4));
    server.stop();
}

#[test]
fn long_replies_from_another_core_come_at_the_clients_pace_and_leave_no_memory_behind() {
    let home = two("everysec");
    let server = home.start();
    let mut wire = server.connect();
    let before: u64 = wire.figure("memory", "used_memory").parse().expect("bytes");
    let value = vec![b'x'; 1 << 20];
    let limit = [
        "CONFIG",
        "SET",
        "client-output-buffer-limit",
        "normal 64mb 0 0",
    ];
    assert_eq!(wire.call(&limit), Value::ok());
    for n in 0..8 {
        let key = format!("key{n}");
        assert_eq!(
            wire.call(&[&b"SET"[..], key.as_bytes(), &value]),
            Value::ok()
        );
    }
    for n in 0..8 {
        let mut reader = server.connect();
        let ask = command(&["GET", &format!("key{n}")]).repeat(120);
        reader.send(&ask).expect("sent");
        for i in 0..120 {
            let reply = reader
                .reply()
                .unwrap_or_else(|e| panic!("key{n}: {i}: {e}"));
            assert_eq!(reply, Value::bulk(&value));
        }
    }
    assert_eq!(wire.say("FLUSHALL"), Value::ok());
    eventually("the memory is given back", || {
        let now: u64 = wire.figure("memory", "used_memory").parse().expect("bytes");
        (now < before + (32 << 20)).then_some(())
    });
}

#[test]
fn who_sends_slowly_is_not_idle() {
    let home = Home::new();
    let server = home.start();
    let mut wire = server.connect();
    assert_eq!(wire.say("CONFIG SET timeout 1"), Value::ok());
    wire.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\n")
        .expect("sent");
    for byte in b"value" {
        thread::sleep(Duration::from_millis(600));
        wire.send(&[*byte]).expect("sent");
    }
    wire.send(b"\r\n").expect("sent");
    assert_eq!(wire.reply().expect("a reply"), Value::ok());
}

#[test]
fn a_password_that_is_taken_away_is_asked_of_nobody() {
    let home = Home::new();
    let server = home.start();
    let mut admin = server.connect();
    assert_eq!(admin.say("CONFIG SET requirepass secret"), Value::ok());
    let mut late = server.connect();
    assert!(late.say("GET x").is_error());
    assert_eq!(
        admin.call(&["CONFIG", "SET", "requirepass", ""]),
        Value::ok()
    );
    assert_eq!(late.say("GET x"), Value::Null);
}

#[test]
fn a_wrong_exec_ends_the_transaction() {
    let home = Home::new();
    let server = home.start();
    let mut wire = server.connect();
    assert_eq!(wire.say("MULTI"), Value::ok());
    assert_eq!(
        wire.say("EXEC now"),
        Value::Error(
            "EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command".into()
        )
    );
    assert_eq!(
        wire.say("EXEC"),
        Value::Error("ERR EXEC without MULTI".into())
    );
}
