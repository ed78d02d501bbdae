//! The end in good order, and the start after it: everything is there, with as many shards as one likes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::common::server::Home;
use crate::common::wire::{Value, command};

/// Writers run while the server is asked to end: what they were told was done must be done.
fn ends_under_load(
    policy: &str,
    shards: usize,
    how: impl Fn(&mut crate::common::server::Server<'_>),
) {
    let mut home = Home::new();
    home.shards(shards).fsync(policy);
    let mut server = home.start();
    let stop = AtomicBool::new(false);
    let acked: Vec<usize> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|w| {
                let mut wire = server.connect();
                let stop = &stop;
                scope.spawn(move || {
                    let mut acked = 0;
                    while !stop.load(Ordering::Relaxed) {
                        let mut bytes = Vec::new();
                        for i in 0..8 {
                            bytes.extend(command(&["SET", &format!("w{w}:{}", acked + i), "done"]));
                        }
                        if wire.send(&bytes).is_err() {
                            break;
                        }
                        for _ in 0..8 {
                            match wire.reply() {
                                Ok(Value::Simple(_)) => acked += 1,
                                Ok(other) => panic!("SET: {other:?}"),
                                Err(_) => return acked,
                            }
                        }
                    }
                    acked
                })
            })
            .collect();
        std::thread::sleep(Duration::from_millis(400));
        how(&mut server);
        let status = server.wait();
        stop.store(true, Ordering::Relaxed);
        assert_eq!(status.code(), Some(0), "{}", home.log());
        writers
            .into_iter()
            .map(|w| w.join().expect("a writer"))
            .collect()
    });
    drop(server);
    let server = home.start();
    let mut wire = server.connect();
    let mut total = 0;
    for (w, acked) in acked.iter().enumerate() {
        assert!(*acked > 0, "writer {w} did nothing");
        total += acked;
        for i in 0..*acked {
            wire.ask(&["EXISTS", &format!("w{w}:{i}")])
                .expect("the server reads");
            if i % 500 == 499 || i + 1 == *acked {
                for _ in 0..=i % 500 {
                    assert_eq!(
                        wire.reply().expect("a reply"),
                        Value::Int(1),
                        "a write of writer {w} is gone"
                    );
                }
            }
        }
    }
    let size = wire.say("DBSIZE").int() as usize;
    assert!(
        size >= total && size <= total + 4 * 8,
        "{size} keys, {total} acknowledged"
    );
}

#[test]
fn sigterm_drains_and_ends_with_status_0() {
    ends_under_load("everysec", 2, |server| server.signal(libc::SIGTERM));
}

#[test]
fn sigint_drains_and_ends_with_status_0() {
    ends_under_load("no", 1, |server| server.signal(libc::SIGINT));
}

#[test]
fn sigterm_under_always_drains_and_ends_with_status_0() {
    ends_under_load("always", 2, |server| server.signal(libc::SIGTERM));
}

#[test]
fn the_shutdown_command_drains_and_ends_with_status_0() {
    ends_under_load("everysec", 2, |server| {
        let mut wire = server.connect();
        wire.ask(&["SHUTDOWN"]).expect("the server reads");
        assert!(
            wire.until_closed().is_empty(),
            "SHUTDOWN has no reply when it works"
        );
    });
}

#[test]
fn a_restart_has_everything_with_any_number_of_shards() {
    let mut home = Home::new();
    const KEYS: usize = 20_000;
    let starts = [
        (1, false),
        (2, true),
        (4, false),
        (3, true),
        (1, false),
        (8, false),
        (2, false),
    ];
    for (turn, (shards, crash)) in starts.into_iter().enumerate() {
        home.shards(shards);
        let server = home.start();
        let mut wire = server.connect();
        if turn == 0 {
            for chunk in 0..KEYS / 500 {
                let mut bytes = Vec::new();
                for i in chunk * 500..(chunk + 1) * 500 {
                    bytes.extend(command(&[
                        "SET",
                        &format!("key:{i}"),
                        &format!("value {i}"),
                    ]));
                }
                wire.send(&bytes).expect("the server reads");
                for _ in 0..500 {
                    assert_eq!(wire.reply().expect("a reply"), Value::ok());
                }
            }
            assert_eq!(wire.say("SET temporary x EX 100000"), Value::ok());
            assert_eq!(wire.say("SELECT 9"), Value::ok());
            assert_eq!(wire.say("SET there 9"), Value::ok());
            assert_eq!(wire.say("SELECT 0"), Value::ok());
        }
        assert_eq!(
            wire.say("DBSIZE"),
            Value::Int((KEYS + 1 + turn) as i64),
            "with {shards} shards"
        );
        for i in (0..KEYS).step_by(37) {
            let expected = format!("value {i}");
            assert_eq!(
                wire.call(&["GET", &format!("key:{i}")]),
                Value::bulk(expected)
            );
        }
        let left = wire.say("TTL temporary").int();
        assert!(left > 90_000 && left <= 100_000, "{left}");
        assert_eq!(wire.say("SELECT 9"), Value::ok());
        assert_eq!(wire.say("GET there"), Value::bulk("9"));
        assert_eq!(wire.say("SELECT 0"), Value::ok());
        assert_eq!(
            wire.call(&["SET", &format!("turn:{turn}"), "x"]),
            Value::ok()
        );
        if crash {
            // Past the batch window by far, so that the last write counts as safe.
            std::thread::sleep(Duration::from_millis(700));
            server.kill9();
        } else {
            server.stop();
        }
    }
}

#[test]
fn flushes_and_expiries_outlive_a_restart_with_other_shards() {
    let mut home = Home::new();
    home.shards(2);
    {
        let server = home.start();
        let mut wire = server.connect();
        for i in 0..500 {
            wire.say(&format!("SET a{i} 1"));
        }
        assert_eq!(wire.say("FLUSHDB"), Value::ok());
        for i in 0..100 {
            wire.say(&format!("SET b{i} 1"));
        }
        assert_eq!(wire.say("SELECT 1"), Value::ok());
        wire.say("SET kept 1");
        assert_eq!(wire.say("SELECT 0"), Value::ok());
        assert_eq!(wire.say("SET brief 1 PX 300"), Value::ok());
        assert_eq!(wire.say("SET gone 1 PX 1"), Value::ok());
        assert_eq!(wire.say("SET unset 1 EX 1"), Value::ok());
        assert_eq!(wire.say("PERSIST unset"), Value::Int(1));
        server.stop();
    }
    std::thread::sleep(Duration::from_millis(1100));
    home.shards(3);
    let server = home.start();
    let mut wire = server.connect();
    assert_eq!(
        wire.say("GET brief"),
        Value::Null,
        "expired while nobody served"
    );
    assert_eq!(wire.say("GET gone"), Value::Null);
    assert_eq!(wire.say("TTL unset"), Value::Int(-1));
    assert_eq!(wire.say("DBSIZE"), Value::Int(101));
    assert_eq!(wire.say("EXISTS a0 a499"), Value::Int(0));
    assert_eq!(wire.say("SELECT 1"), Value::ok());
    assert_eq!(wire.say("GET kept"), Value::bulk("1"));
    assert_eq!(wire.say("FLUSHALL"), Value::ok());
    server.stop();
    home.shards(1);
    let server = home.start();
    let mut wire = server.connect();
    assert_eq!(wire.say("DBSIZE"), Value::Int(0));
    assert_eq!(wire.say("SELECT 1"), Value::ok());
    assert_eq!(wire.say("DBSIZE"), Value::Int(0));
}
