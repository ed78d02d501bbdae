//! Long reads in steps, over TLS, on one shard and on three: what a reader sees is one moment, whoever writes meanwhile;
//! its replies come in order; who goes away in the middle harms nobody; and what was written beside survives kill -9.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::common::eventually;
use crate::common::server::{Home, Server};
use crate::common::wire::{Value, Wire, command};

/// Members of the sets that are read.
const MANY: usize = 30_000;
/// Members that one SADD adds.
const BATCH: usize = 10;

/// Puts members `first..last` into a set.
fn add(wire: &mut Wire, key: &str, first: usize, last: usize) {
    for from in (first..last).step_by(1000) {
        let mut args = vec!["SADD".to_owned(), key.to_owned()];
        args.extend((from..last.min(from + 1000)).map(|i| format!("member:{i}")));
        assert!(!wire.call(&args).is_error());
    }
}

fn names(reply: &Value) -> Vec<String> {
    reply.items().iter().map(Value::text).collect()
}

/// Readers and writers of one key for a while: whatever a reader gets is the set between two commands of the writers.
fn one_moment(shards: usize) {
    let mut home = Home::new();
    home.shards(shards);
    let server = home.start();
    add(&mut server.connect(), "big", 0, MANY);
    let done = AtomicBool::new(false);
    let writer = |number: usize| {
        let mut wire = server.connect();
        let mut batches = 0;
        while !done.load(Ordering::Relaxed) {
            let mut args = vec!["SADD".to_owned(), "big".to_owned()];
            args.extend((0..BATCH).map(|i| format!("{number}:{batches}:{i}")));
            assert_eq!(wire.call(&args).int(), BATCH as i64);
            batches += 1;
        }
        batches
    };
    let reader = || {
        let mut wire = server.connect();
        let (mut reads, mut most) = (0, 0);
        while !done.load(Ordering::Relaxed) {
            let all = names(&wire.say("SMEMBERS big"));
            let mut batches = BTreeMap::new();
            let mut base = 0;
            for name in &all {
                match name.rsplit_once(':') {
                    Some(("member", _)) => base += 1,
                    Some((batch, _)) => *batches.entry(batch).or_insert(0) += 1,
                    None => panic!("{name}"),
                }
            }
            assert_eq!(base, MANY);
            assert!(batches.values().all(|&n| n == BATCH), "half a command");
            // Each writer's batches come one after the other.
            for number in 0..2 {
                let own = batches
                    .keys()
                    .filter_map(|batch| batch.split_once(':'))
                    .filter(|(writer, _)| *writer == number.to_string());
                let last = own
                    .clone()
                    .filter_map(|(_, n)| n.parse::<usize>().ok())
                    .max();
                assert_eq!(own.count(), last.map_or(0, |last| last + 1));
            }
            assert!(all.len() >= most, "an older state than before");
            most = all.len();
            reads += 1;
        }
        reads
    };
    let (written, reads) = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..2).map(|n| scope.spawn(move || writer(n))).collect();
        let readers: Vec<_> = (0..3).map(|_| scope.spawn(reader)).collect();
        std::thread::sleep(Duration::from_secs(3));
        done.store(true, Ordering::Relaxed);
        let written: usize = writers.into_iter().map(|w| w.join().unwrap()).sum();
        let reads: usize = readers.into_iter().map(|r| r.join().unwrap()).sum();
        (written, reads)
    });
    assert!(written > 4 && reads > 4, "{written} batches, {reads} reads");
    let mut wire = server.connect();
    let all = wire.say("SCARD big").int();
    assert_eq!(all as usize, MANY + written * BATCH);
    assert!(
        wire.figure("commandstats", "cmdstat_smembers")
            .contains("calls=")
    );
}

#[test]
fn a_reader_sees_one_moment_on_one_shard() {
    one_moment(1);
}

#[test]
fn a_reader_sees_one_moment_on_three_shards() {
    one_moment(3);
}

/// A client that sends reads and writes of one key without waiting gets its answers in order, each as of its turn.
fn in_order(shards: usize) {
    let mut home = Home::new();
    home.shards(shards);
    let server = home.start();
    // On whichever core the connection is: some keys live there, some elsewhere.
    let mut wire = server.connect();
    for key in ["big", "large", "long", "wide"] {
        add(&mut wire, key, 0, MANY);
        let mut bytes = Vec::new();
        for i in 0..5 {
            bytes.extend(command(&["SMEMBERS", key]));
            bytes.extend(command(&["SADD", key, &format!("new:{i}")]));
            bytes.extend(command(&["SCARD", key]));
            bytes.extend(command(&["ECHO", &format!("echo:{i}")]));
            bytes.extend(command(&["EXISTS", key, "other:1", "other:2", "other:3"]));
        }
        bytes.extend(command(&["DEL", key]));
        bytes.extend(command(&["SMEMBERS", key]));
        wire.send(&bytes).unwrap();
        for i in 0..5 {
            assert_eq!(wire.reply().unwrap().items().len(), MANY + i, "{key}");
            assert_eq!(wire.reply().unwrap().int(), 1);
            assert_eq!(wire.reply().unwrap().int() as usize, MANY + i + 1);
            assert_eq!(wire.reply().unwrap(), Value::bulk(format!("echo:{i}")));
            assert_eq!(wire.reply().unwrap().int(), 1);
        }
        assert_eq!(wire.reply().unwrap().int(), 1);
        assert_eq!(wire.reply().unwrap().items().len(), 0);
    }
    // In a transaction it is all done at once.
    add(&mut wire, "big", 0, MANY);
    assert_eq!(wire.say("MULTI"), Value::ok());
    wire.say("SMEMBERS big");
    wire.say("SADD big new");
    let both = wire.say("EXEC");
    assert_eq!(both.items()[0].items().len(), MANY);
    assert_eq!(both.items()[1].int(), 1);
}

#[test]
fn replies_come_in_order_on_one_shard() {
    in_order(1);
}

#[test]
fn replies_come_in_order_on_three_shards() {
    in_order(3);
}

fn leave_in_the_middle(server: &Server<'_>, keys: &[&str]) {
    for key in keys {
        let mut wire = server.connect();
        wire.ask(&["SMEMBERS", key]).unwrap();
        wire.ask(&["SADD", key, "never mind"]).unwrap();
        drop(wire);
    }
}

/// Readers leave, keys go away under those that stay, a transaction and a flush come in between; then the server is
/// killed, and what was acknowledged is there.
fn who_leaves(shards: usize) {
    let mut home = Home::new();
    home.shards(shards).fsync("always");
    let server = home.start();
    let mut wire = server.connect();
    let keys = ["big", "large", "long", "wide"];
    for key in keys {
        add(&mut wire, key, 0, MANY);
    }
    leave_in_the_middle(&server, &keys);
    // Who stays gets all of it, though the key is gone before the first part is read.
    for (key, way) in keys.iter().zip([
        "DEL big",
        "RENAME large other",
        "PEXPIRE long 1",
        "SET wide x",
    ]) {
        let mut reader = server.connect();
        reader.ask(&["SMEMBERS", key]).unwrap();
        assert!(reader.fill().unwrap() > 0);
        assert!(!wire.say(way).is_error());
        let all = reader.reply().unwrap().items().len();
        // The one who left may have added its member before.
        assert!((MANY..=MANY + 1).contains(&all), "{key}: {all}");
    }
    eventually("the key has expired", || {
        (wire.say("EXISTS long").int() == 0).then_some(())
    });
    let left = wire.say("SCARD other").int() as usize;
    assert!((MANY..=MANY + 1).contains(&left));
    add(&mut wire, "big", 0, MANY);
    let mut reader = server.connect();
    reader.ask(&["SMEMBERS", "big"]).unwrap();
    let mut second = server.connect();
    second.ask(&["SMEMBERS", "other"]).unwrap();
    // Across shards, and on the very keys that are read.
    let sum = wire.say("SUNIONSTORE sum big other").int() as usize;
    assert!((MANY..=MANY + 1).contains(&sum));
    assert_eq!(wire.say("SMOVE big other member:5").int(), 1);
    assert!((MANY - 1..=MANY + 1).contains(&reader.reply().unwrap().items().len()));
    assert!((MANY..=MANY + 1).contains(&second.reply().unwrap().items().len()));
    reader.ask(&["SMEMBERS", "big"]).unwrap();
    assert_eq!(wire.say("SADD big last").int(), 1);
    assert!((MANY - 1..=MANY + 1).contains(&reader.reply().unwrap().items().len()));
    let big = wire.say("SCARD big").int();
    reader.ask(&["SMEMBERS", "sum"]).unwrap();
    server.kill9();

    let mut server = home.start();
    let mut wire = server.connect();
    assert_eq!(wire.say("SCARD big").int(), big);
    assert_eq!(wire.say("SISMEMBER big last").int(), 1);
    assert_eq!(wire.say("SCARD sum").int() as usize, sum);
    let mut reader = server.connect();
    reader.ask(&["SMEMBERS", "big"]).unwrap();
    assert!(reader.fill().unwrap() > 0);
    assert_eq!(wire.say("FLUSHALL"), Value::ok());
    assert_eq!(wire.say("DBSIZE").int(), 0);
    assert_eq!(reader.reply().unwrap().items().len() as i64, big);
    // An end in the middle of a read: the reader has all of it first.
    add(&mut wire, "big", 0, MANY);
    reader.ask(&["SMEMBERS", "big"]).unwrap();
    assert!(reader.fill().unwrap() > 0);
    server.signal(libc::SIGTERM);
    assert_eq!(reader.reply().unwrap().items().len(), MANY);
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn who_leaves_harms_nobody_on_one_shard() {
    who_leaves(1);
}

#[test]
fn who_leaves_harms_nobody_on_three_shards() {
    who_leaves(3);
}

/// What a client hears while its long read is under way stands behind that.
#[test]
fn messages_stand_between_replies() {
    let mut home = Home::new();
    home.shards(1);
    let server = home.start();
    let mut wire = server.connect();
    add(&mut wire, "big", 0, 10 * MANY);
    let mut reader = server.connect();
    assert!(!reader.say("HELLO 3").is_error());
    assert!(!reader.say("SUBSCRIBE news").is_error());
    reader.ask(&["SMEMBERS", "big"]).unwrap();
    // The first part is there: the walk has begun.
    assert!(reader.fill().unwrap() > 0);
    for _ in 0..20 {
        assert_eq!(wire.say("PUBLISH news hello").int(), 1);
    }
    assert_eq!(reader.reply().unwrap().items().len(), 10 * MANY);
    for _ in 0..20 {
        assert_eq!(
            names(&reader.reply().unwrap()),
            ["message", "news", "hello"]
        );
    }
}

/// KEYS of a large keyspace names every key that stays, once, whatever comes and goes; and what a client did before it.
fn keys_are_listed(shards: usize) {
    let mut home = Home::new();
    home.shards(shards).fsync("always");
    let server = home.start();
    let mut wire = server.connect();
    for from in (0..MANY).step_by(1000) {
        let mut args = vec!["MSET".to_owned()];
        args.extend((from..from + 1000).flat_map(|i| [format!("key:{i}"), "x".to_owned()]));
        assert_eq!(wire.call(&args), Value::ok());
    }
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut wire = server.connect();
            for round in 0.. {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                wire.say(&format!("SET other:{round} x"));
                wire.say(&format!("DEL other:{}", round - 50));
            }
        });
        for round in 0..10 {
            let mut bytes = command(&["SET", &format!("mine:{round}"), "x"]);
            bytes.extend(command(&["DEL", &format!("mine:{}", round - 1)]));
            bytes.extend(command(&["KEYS", "[km]*"]));
            bytes.extend(command(&["SET", "mine:later", "x"]));
            bytes.extend(command(&["DEL", "mine:later"]));
            wire.send(&bytes).unwrap();
            assert_eq!(wire.reply().unwrap(), Value::ok());
            assert_eq!(wire.reply().unwrap().int(), i64::from(round > 0));
            let mut found = names(&wire.reply().unwrap());
            assert_eq!(wire.reply().unwrap(), Value::ok());
            assert_eq!(wire.reply().unwrap().int(), 1);
            let mut wanted: Vec<String> = (0..MANY).map(|i| format!("key:{i}")).collect();
            wanted.push(format!("mine:{round}"));
            found.sort_unstable();
            wanted.sort_unstable();
            assert!(found == wanted, "{} keys", found.len());
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(names(&wire.say("KEYS key:29999")), ["key:29999"]);
    assert_eq!(names(&wire.say("KEYS nothing*")).len(), 0);
    assert_eq!(wire.say("MULTI"), Value::ok());
    wire.say("KEYS key:*");
    assert_eq!(wire.say("EXEC").items()[0].items().len(), MANY);
    assert!(
        wire.figure("commandstats", "cmdstat_keys")
            .starts_with("calls=13,")
    );
}

#[test]
fn keys_are_listed_on_one_shard() {
    keys_are_listed(1);
}

#[test]
fn keys_are_listed_on_three_shards() {
    keys_are_listed(3);
}
