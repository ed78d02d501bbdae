//! No (key, nonce) is ever used for two messages: copies of the data directory are taken at many moments, across
//! restarts, crashes, and two servers that go on from the same restored copy, and every sealed message in all of
//! them is compared.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::common::python;
use crate::common::random::Random;
use crate::common::server::{Home, Server};
use crate::common::wire::{Value, command};

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory");
    for entry in std::fs::read_dir(from).expect("a directory").flatten() {
        let target = to.join(entry.file_name());
        let kind = entry.file_type().expect("a kind");
        if kind.is_dir() {
            copy(&entry.path(), &target);
        } else if kind.is_file()
            && let Err(e) = std::fs::copy(entry.path(), &target)
            && e.kind() != std::io::ErrorKind::NotFound
        {
            panic!("{}: {e}", entry.path().display());
        }
    }
}

fn write(server: &Server<'_>, random: &mut Random, commands: usize) {
    let mut wire = server.connect();
    for _ in 0..commands / 50 {
        let mut bytes = Vec::new();
        for _ in 0..50 {
            // The same keys and values again and again: were a nonce used twice, nothing else would hide it.
            bytes.extend(command(&[
                "SET",
                &format!("k{}", random.below(20)),
                &random.word(30),
            ]));
        }
        wire.send(&bytes).expect("sent");
        for _ in 0..50 {
            assert!(!wire.reply().expect("a reply").is_error());
        }
    }
}

fn watched(policy: &str, shards: usize) {
    let mut random = Random::announced("nonces");
    let mut home = Home::new();
    home.fsync(policy)
        .shards(shards)
        .text("persistence.aof_segment_size", "1MiB");
    let mut copies: Vec<PathBuf> = Vec::new();
    let keep = |home: &Home, copies: &mut Vec<PathBuf>| {
        let to = home.path().join(format!("copy{}", copies.len()));
        copy(&home.data(), &to);
        copies.push(to);
    };
    // Runs that end in every way, with copies while they run and after.
    for round in 0..6 {
        let server = home.start();
        write(&server, &mut random, 2000);
        if policy != "always" {
            // Let the last window reach the disk, so that the copy has it.
            std::thread::sleep(Duration::from_millis(100));
        }
        keep(&home, &mut copies);
        // A checkpoint that is copied whole, and one that is copied, or interrupted, while it is written.
        let mut wire = server.connect();
        assert_eq!(wire.say("SAVE"), Value::ok());
        keep(&home, &mut copies);
        write(&server, &mut random, 500);
        assert!(!wire.say("BGSAVE").is_error());
        keep(&home, &mut copies);
        match round % 3 {
            0 => server.stop(),
            1 => server.kill9(),
            _ => {
                server.kill9();
                let server = home.launch();
                std::thread::sleep(Duration::from_millis(random.below(150) as u64));
                server.kill9();
            }
        }
        keep(&home, &mut copies);
    }
    // The disk is put back to an earlier state, twice, and both go on from there.
    let early = copies[7].clone();
    for _ in 0..2 {
        std::fs::remove_dir_all(home.data()).expect("removed");
        copy(&early, &home.data());
        let server = home.start();
        write(&server, &mut random, 1000);
        assert_eq!(server.connect().say("SAVE"), Value::ok());
        server.kill9();
        keep(&home, &mut copies);
        let server = home.start();
        write(&server, &mut random, 1000);
        server.stop();
        keep(&home, &mut copies);
    }
    let kek = home.kek();
    let mut args: Vec<&OsStr> = vec![OsStr::new("--nonces"), kek.as_os_str()];
    args.extend(copies.iter().map(|c| c.as_os_str()));
    let out = python::run("decrypt.py", &args);
    println!("{out}");
    let last = out.lines().last().expect("a summary");
    assert!(last.ends_with(" 0 nonces used twice"), "{last}");
    let messages: usize = last
        .split(' ')
        .next()
        .and_then(|n| n.parse().ok())
        .expect("a number");
    assert!(messages > 100, "only {messages} messages were seen");
}

#[test]
fn no_nonce_is_used_twice_under_everysec() {
    watched("everysec", 2);
}

#[test]
fn no_nonce_is_used_twice_under_always() {
    watched("always", 1);
}
