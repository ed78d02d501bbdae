//! An independent reader in Python, made from the FORMAT.md pages alone, opens what Ferrite wrote: the pages are
//! true and complete, and what is in log and checkpoints is what was asked for.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::common::python;
use crate::common::random::Random;
use crate::common::server::Home;
use crate::common::slots;
use crate::common::wire::{Value, Wire};
use crate::oracle::random_write;

#[test]
fn the_reader_agrees_with_the_test_vectors_of_the_pages() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let out = python::run("decrypt.py", &[OsStr::new("--vectors"), src.as_os_str()]);
    assert_eq!(out, "all vectors agree\n");
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2)
        .map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).expect("hex"))
        .collect()
}

/// What the reader found: the checkpoint, its records, and (database, key) -> (value, expiry).
type Found = (u64, Vec<serde_json::Value>, State);

fn read(home: &Home) -> Found {
    let out = python::run(
        "decrypt.py",
        &[home.data().as_os_str(), home.kek().as_os_str()],
    );
    let (mut checkpoint, mut records, mut state) = (0, Vec::new(), BTreeMap::new());
    for line in out.lines() {
        let row: serde_json::Value = serde_json::from_str(line).expect("JSON");
        if let Some(number) = row.get("checkpoint") {
            checkpoint = number.as_u64().expect("a number");
        } else if row.get("effect").is_some() {
            records.push(row);
        } else {
            let field = |name: &str| unhex(row[name].as_str().expect("hex"));
            let number = |name: &str| row[name].as_u64().expect("a number");
            state.insert(
                (number("db"), field("key")),
                (field("value"), number("expire")),
            );
        }
    }
    (checkpoint, records, state)
}

/// The server's own word on the same.
fn served(wire: &mut Wire) -> State {
    let mut state = BTreeMap::new();
    for db in 0..2 {
        assert_eq!(wire.say(&format!("SELECT {db}")), Value::ok());
        for key in wire.say("KEYS *").items() {
            let Value::Bulk(key) = key else {
                panic!("KEYS: {key:?}")
            };
            let Value::Bulk(value) = wire.call(&[b"GET".as_slice(), key]) else {
                panic!("a key without a value")
            };
            let at = wire.call(&[b"PEXPIRETIME".as_slice(), key]).int().max(0);
            state.insert((db, key.clone()), (value, at as u64));
        }
    }
    assert_eq!(wire.say("SELECT 0"), Value::ok());
    state
}

fn opens(algorithm: &str, policy: &str, shards: &[usize]) {
    let mut random = Random::announced("decryptor");
    let mut home = Home::new();
    home.fsync(policy)
        .text("encryption.algorithm", algorithm)
        .text("persistence.aof_segment_size", "1MiB");
    let tags = slots::tags(4);
    let mut total = 0;
    for (round, &n) in shards.iter().enumerate() {
        home.shards(n);
        let server = home.start();
        let mut wire = server.connect();
        for i in 0..1500 {
            let tag = random.pick(&tags.iter().collect::<Vec<_>>()).clone();
            let words = random_write(
                &mut random,
                &format!("{{{tag}}}:w"),
                &format!("{round}.{i}"),
            );
            let reply = wire.call(&words);
            assert!(!reply.is_error(), "{words:?}: {reply:?}");
        }
        wire.call(&["SET", "binary", "x"]);
        wire.call(&[b"APPEND".as_slice(), b"binary", &random.bytes(3000)]);
        let mut mset = vec!["MSET".to_owned()];
        for tag in &tags {
            mset.extend([format!("{{{tag}}}:all"), round.to_string()]);
        }
        assert_eq!(wire.call(&mset), Value::ok());
        wire.say("MULTI");
        for tag in &tags {
            wire.say(&format!("INCRBY {{{tag}}}:sum {}", round + 1));
        }
        assert_eq!(wire.say("EXEC").items().len(), tags.len());
        wire.say("RENAME {t0}:old {t1}:new");
        wire.call(&["SET", "large", &random.word(700_000)]);
        wire.say("SELECT 1");
        wire.say(&format!("SET other {round}"));
        if round == 1 {
            wire.say("SET dropped 1");
            wire.say("FLUSHDB");
            wire.say("SET other again");
        }
        let expected = served(&mut wire);
        if round + 1 < shards.len() && round % 2 == 1 {
            std::thread::sleep(std::time::Duration::from_millis(700));
            server.kill9();
        } else {
            server.stop();
        }
        let (checkpoint, records, state) = read(&home);
        assert_eq!(checkpoint, 0);
        assert!(
            state == expected,
            "round {round}: {}",
            difference(&state, &expected)
        );
        assert!(
            records.len() > total + 1000,
            "{} records, {total} before",
            records.len()
        );
        let whole = records.iter().filter(|r| r["transaction"] == true).count();
        assert!(n == 1 || whole > 0, "no transaction was found");
        total = records.len();
    }
}

type State = BTreeMap<(u64, Vec<u8>), (Vec<u8>, u64)>;

fn difference(read: &State, served: &State) -> String {
    let mut out = String::new();
    for key in read.keys().chain(served.keys()) {
        if read.get(key) != served.get(key) {
            let show = |s: Option<&(Vec<u8>, u64)>| {
                s.map(|(v, at)| {
                    format!(
                        "{:?} until {at}",
                        String::from_utf8_lossy(&v[..v.len().min(60)])
                    )
                })
            };
            out.push_str(&format!(
                "\n  {} {:?}: read {:?}, served {:?}",
                key.0,
                String::from_utf8_lossy(&key.1),
                show(read.get(key)),
                show(served.get(key))
            ));
        }
    }
    out
}

#[test]
fn a_log_of_several_runs_and_shards_opens() {
    opens("aes256gcm", "everysec", &[1, 2, 4, 3]);
}

#[test]
fn a_log_written_under_always_opens() {
    opens("aes256gcm", "always", &[2, 2]);
}

#[test]
fn a_log_sealed_with_chacha20_opens() {
    opens("chacha20poly1305", "everysec", &[2, 1]);
}

/// Random writes, with checkpoints in between and while they go on.
fn checkpoints_open(algorithm: &str, policy: &str, shards: &[usize]) {
    let mut random = Random::announced("checkpoints");
    let mut home = Home::new();
    home.fsync(policy)
        .text("encryption.algorithm", algorithm)
        .text("persistence.aof_segment_size", "1MiB");
    let tags = slots::tags(4);
    let mut seen = 0;
    for (round, &n) in shards.iter().enumerate() {
        home.shards(n);
        let server = home.start();
        let mut wire = server.connect();
        if round == 0 {
            // Enough that slots are written while the others change.
            for i in 0..40 {
                let mut mset = vec!["MSET".to_owned()];
                for j in 0..100 {
                    mset.extend([format!("bulk:{i}.{j}"), random.word(200)]);
                }
                assert_eq!(wire.call(&mset), Value::ok());
            }
        }
        let done = AtomicBool::new(false);
        let mut saver = server.connect();
        let saves = std::thread::scope(|scope| {
            let saver = scope.spawn(|| {
                let mut saves = 0;
                while !done.load(Ordering::Relaxed) {
                    assert_eq!(saver.say("SAVE"), Value::ok());
                    saves += 1;
                }
                saves
            });
            for i in 0..1200 {
                let tag = random.pick(&tags.iter().collect::<Vec<_>>()).clone();
                let unique = format!("{round}.{i}");
                let words = random_write(&mut random, &format!("{{{tag}}}:w"), &unique);
                let reply = wire.call(&words);
                assert!(!reply.is_error(), "{words:?}: {reply:?}");
                let bulk = format!("bulk:{}.{}", random.below(40), random.below(100));
                match random.below(4) {
                    0 => wire.call(&["APPEND", &bulk, &unique]),
                    1 => wire.call(&["DEL", &bulk]),
                    _ => wire.call(&["SET", &bulk, &unique]),
                };
                if i % 40 == 0 {
                    let mut mset = vec!["MSET".to_owned()];
                    for tag in &tags {
                        mset.extend([format!("{{{tag}}}:all"), unique.clone()]);
                    }
                    assert_eq!(wire.call(&mset), Value::ok());
                    wire.say("SWAPDB 0 1");
                }
                if i == 600 {
                    wire.say("SELECT 1");
                    wire.say("FLUSHDB");
                    wire.say("SELECT 0");
                }
            }
            done.store(true, Ordering::Relaxed);
            saver.join().expect("the saves went on")
        });
        assert!(saves > 1, "hardly a checkpoint was taken");
        wire.say(&format!("SET last {round}"));
        let expected = served(&mut wire);
        assert!(expected.len() > 1000, "hardly anything is left");
        match round % 3 {
            0 => {
                std::thread::sleep(Duration::from_millis(700));
                server.kill9();
            }
            1 => server.stop(),
            // Killed while one more is being taken: it does not count, or holds the same.
            _ => {
                std::thread::sleep(Duration::from_millis(700));
                assert!(!wire.say("BGSAVE").is_error());
                server.kill9();
            }
        }
        let (checkpoint, records, state) = read(&home);
        assert!(
            state == expected,
            "round {round}, checkpoint {checkpoint}: {}",
            difference(&state, &expected)
        );
        assert!(checkpoint > seen, "checkpoint {checkpoint} after {seen}");
        let from_log = records.iter().filter(|r| r["run"] != 0).count();
        assert!(from_log > 0, "nothing was read from the log");
        seen = checkpoint;
    }
    // The server itself agrees.
    let (_, _, state) = read(&home);
    let server = home.start();
    let served = served(&mut server.connect());
    assert!(state == served, "{}", difference(&state, &served));
}

#[test]
fn checkpoints_and_the_logs_behind_them_open() {
    checkpoints_open("aes256gcm", "everysec", &[2, 3, 1, 2]);
}

#[test]
fn checkpoints_sealed_with_chacha20_open() {
    checkpoints_open("chacha20poly1305", "always", &[1, 2]);
}

#[test]
fn a_checkpoint_without_a_log_opens_and_so_does_a_log_begun_later() {
    let mut home = Home::new();
    home.shards(2).set("persistence.appendonly", false);
    let server = home.start();
    let mut wire = server.connect();
    for i in 0..500 {
        wire.say(&format!("SET k{i} {i}"));
    }
    assert_eq!(wire.say("SAVE"), Value::ok());
    let expected = served(&mut wire);
    server.kill9();
    let (checkpoint, _, state) = read(&home);
    assert!(checkpoint > 0 && state == expected, "{checkpoint}");
    home.shards(3).set("persistence.appendonly", true);
    let server = home.start();
    let mut wire = server.connect();
    for i in 400..600 {
        wire.say(&format!("SET k{i} again"));
    }
    let expected = served(&mut wire);
    server.stop();
    let (_, records, state) = read(&home);
    assert!(state == expected, "{}", difference(&state, &expected));
    assert!(records.iter().any(|r| r["run"] != 0));
}
