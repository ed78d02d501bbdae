//! RDB files and append-only files, in and out by `ferrite-cli`: what Redis and Valkey wrote arrives whole, what Ferrite
//! writes is loaded by Redis, what is sealed stays so, and damage is told and does no harm.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use ferrite_server::rdb::file::{FileReader, Item};

use crate::common::peer::Redis;
use crate::common::python;
use crate::common::random::Random;
use crate::common::server::{Home, Server, end_with_parent};
use crate::common::wire::{Value, Wire};
use crate::common::{contains, eventually};

const CLI: &str = env!("CARGO_BIN_EXE_ferrite-cli");
const DATABASES: [u32; 3] = [0, 5, 15];

fn stored(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/server/rdb");
    dir.join(name)
}

/// `ferrite-cli` for this server.
fn cli(server: &Server<'_>, args: &[&str]) -> Output {
    let mut command = Command::new(CLI);
    for name in ["FERRITE_CACERT", "FERRITECLI_AUTH", "REDISCLI_AUTH"] {
        command.env_remove(name);
    }
    command
        .args(["-p", &server.home.port.to_string(), "--cacert"])
        .arg(&server.home.certs.ca)
        .args(args);
    end_with_parent(&mut command);
    command.output().expect("ferrite-cli runs")
}

/// What it printed; it has to succeed.
#[track_caller]
fn fine(output: &Output) -> String {
    let (out, err) = said(output);
    assert!(output.status.success(), "{out}\n{err}");
    out
}

/// What it told as an error; it has to fail.
#[track_caller]
fn failed(output: &Output) -> String {
    let (out, err) = said(output);
    assert_eq!(output.status.code(), Some(1), "{out}\n{err}");
    err
}

fn said(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// A text of so many letters that is always the same.
fn letters(len: u64) -> String {
    let mut state = len;
    let mut next = || {
        state = (state * 1_103_515_245 + 12345) % (1 << 31);
        char::from(b'a' + ((state >> 16) % 26) as u8)
    };
    (0..len).map(|_| next()).collect()
}

/// The commands of commands.txt, as make.py reads them.
fn commands() -> Vec<Vec<String>> {
    let file = std::fs::read_to_string(stored("commands.txt")).expect("commands.txt");
    let mut out = Vec::new();
    for line in file
        .lines()
        .filter(|l| !l.is_empty() && !l.starts_with('#'))
    {
        let (times, line) = match line.strip_prefix('@').and_then(|l| l.split_once(' ')) {
            Some((times, line)) => (times.parse().expect("a number"), line),
            None => (1, line),
        };
        let (mut words, mut quoted) = (vec![String::new()], false);
        for letter in line.chars() {
            match letter {
                '"' => quoted = !quoted,
                ' ' if !quoted => words.push(String::new()),
                letter => words.last_mut().expect("a word").push(letter),
            }
        }
        for word in &mut words {
            *word = match (
                word.chars().next(),
                word.get(1..).and_then(|n| n.parse().ok()),
            ) {
                (Some('~'), Some(len)) => letters(len),
                (Some('='), Some(len)) => "=".repeat(len as usize),
                _ => word.replace("\\n", "\n"),
            };
        }
        for n in 1..=times {
            let n = n.to_string();
            out.push(words.iter().map(|word| word.replace('%', &n)).collect());
        }
    }
    out
}

fn fill(wire: &mut Wire) {
    for args in commands() {
        let reply = wire.call(&args);
        assert!(!reply.is_error(), "{args:?}: {reply:?}");
    }
}

fn say(wire: &mut Wire, args: &[&[u8]]) -> Value {
    let reply = wire.call(args);
    assert!(!reply.is_error(), "{}: {reply:?}", args[0].escape_ascii());
    reply
}

fn bytes(value: &Value) -> &[u8] {
    match value {
        Value::Bulk(bytes) => bytes,
        other => panic!("no string: {other:?}"),
    }
}

/// Everything a server holds, by database and key: expiry, encoding and content, as far as they do not depend on who
/// holds it; and its libraries.
fn content(wire: &mut Wire, databases: &[u32]) -> BTreeMap<(u32, String), String> {
    let mut all = BTreeMap::new();
    for &db in databases {
        say(wire, &[b"SELECT", db.to_string().as_bytes()]);
        for name in say(wire, &[b"KEYS", b"*"]).items() {
            let key = bytes(name);
            let at = say(wire, &[b"PEXPIRETIME", key]).int();
            let kind = say(wire, &[b"TYPE", key]).text();
            // Small lists and sets have other encodings since 7.2.
            let encoding = match kind.as_str() {
                "list" | "set" => String::new(),
                // A string that was changed in its place is a long one until it is loaded again.
                "string" if say(wire, &[b"STRLEN", key]).int() < 45 => String::new(),
                _ => say(wire, &[b"OBJECT", b"ENCODING", key]).text(),
            };
            let mut value = match kind.as_str() {
                "string" => vec![say(wire, &[b"GET", key])],
                "list" => vec![say(wire, &[b"LRANGE", key, b"0", b"-1"])],
                "zset" => {
                    let all = say(wire, &[b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"]);
                    let pairs = all.items().chunks(2).map(|pair| {
                        // Versions write the same number in more or fewer digits.
                        let score: f64 = pair[1].text().parse().expect("a score");
                        Value::bulk(format!("{:?} {score:?}", pair[0]))
                    });
                    pairs.collect()
                }
                "set" => say(wire, &[b"SMEMBERS", key]).items().to_vec(),
                "hash" => {
                    let pairs = say(wire, &[b"HGETALL", key]);
                    let pairs = pairs
                        .items()
                        .chunks(2)
                        .map(|pair| Value::Array(pair.to_vec()));
                    pairs.collect()
                }
                "stream" => {
                    let mut parts = vec![say(wire, &[b"XRANGE", key, b"-", b"+"])];
                    let info = say(wire, &[b"XINFO", b"STREAM", key]);
                    let figures = info.items().chunks(2).filter(|pair| {
                        let name = pair[0].text();
                        // How it lies in memory is nobody's business.
                        !name.starts_with("radix")
                    });
                    parts.extend(figures.map(|pair| Value::Array(pair.to_vec())));
                    for group in say(wire, &[b"XINFO", b"GROUPS", key]).items() {
                        let name = bytes(&group.items()[1]).to_vec();
                        let pending = [b"XPENDING", key, &name, b"-", b"+", b"100"];
                        for entry in say(wire, &pending).items() {
                            // Without the time since then.
                            let [id, who, _, count] = entry.items() else {
                                panic!("{entry:?}")
                            };
                            parts.extend([id.clone(), who.clone(), count.clone()]);
                        }
                        for who in say(wire, &[b"XINFO", b"CONSUMERS", key, &name]).items() {
                            parts.extend(who.items()[..4].to_vec());
                        }
                        parts.push(group.clone());
                    }
                    parts
                }
                other => panic!("a {other}"),
            };
            if matches!(kind.as_str(), "set" | "hash") {
                value.sort_by_key(|item| format!("{item:?}"));
            }
            let name = String::from_utf8(key.to_vec()).expect("a name in UTF-8");
            all.insert((db, name), format!("{kind} {encoding} {at} {value:?}"));
        }
    }
    say(wire, &[b"SELECT", b"0"]);
    let libraries = say(wire, &[b"FUNCTION", b"LIST", b"WITHCODE"]);
    all.insert((u32::MAX, "libraries".into()), format!("{libraries:?}"));
    all
}

#[track_caller]
fn same(a: &BTreeMap<(u32, String), String>, b: &BTreeMap<(u32, String), String>) {
    for key in a.keys().chain(b.keys()) {
        let short = |all: &BTreeMap<_, String>| {
            let shown = all
                .get(key)
                .map(|text| text.chars().take(400).collect::<String>());
            shown.unwrap_or_else(|| "nothing".into())
        };
        assert!(
            a.get(key) == b.get(key),
            "{key:?}:\n{}\n{}",
            short(a),
            short(b)
        );
    }
}

#[test]
fn a_data_set_goes_from_redis_to_ferrite_and_back() {
    let redis = Redis::start();
    let mut there = redis.connect();
    fill(&mut there);
    say(&mut there, &[b"SAVE"]);
    let digest = say(&mut there, &[b"DEBUG", b"DIGEST"]).text();
    let known = content(&mut there, &DATABASES);
    assert!(known.len() > 70, "{}", known.len());

    let mut home = Home::new();
    home.shards(3).fsync("always");
    let server = home.start();
    let told = fine(&cli(&server, &["import", text(&redis.file("dump.rdb"))]));
    let keys = known.len() - 1;
    assert_eq!(
        told,
        format!("{keys} keys into 3 databases, 1 library of functions\n")
    );
    same(&content(&mut server.connect(), &DATABASES), &known);
    let sum = say(
        &mut server.connect(),
        &[b"FCALL", b"moving_add", b"0", b"2", b"3"],
    );
    assert_eq!(sum, Value::Int(5));

    // It is in the log.
    server.kill9();
    let server = home.start();
    let mut here = server.connect();
    same(&content(&mut here, &DATABASES), &known);

    // Everything is in the way now, and stays.
    here.say("SET string:short other");
    let refused = cli(&server, &["import", text(&redis.file("dump.rdb"))]);
    let told = failed(&refused);
    // Which ones are listed is a matter of the order in Redis's file.
    assert!(told.contains("\" of database 0: BUSYKEY"), "{told}");
    assert!(told.contains("more failures are not listed"), "{told}");
    assert!(
        said(&refused)
            .0
            .ends_with(&format!("{} items NOT taken\n", keys + 1))
    );
    assert_eq!(here.say("GET string:short"), Value::bulk("other"));
    fine(&cli(
        &server,
        &["import", "--replace", text(&redis.file("dump.rdb"))],
    ));
    same(&content(&mut here, &DATABASES), &known);

    // And back.
    let plain = home.path().join("plain.rdb");
    let told = fine(&cli(&server, &["export", "--plain", text(&plain)]));
    assert!(told.contains(&format!(
        "keys: {keys}, databases: 3, libraries of functions: 1; in the clear"
    )));
    let back = Redis::start_from(&plain);
    let mut there = back.connect();
    same(&content(&mut there, &DATABASES), &known);
    assert_eq!(say(&mut there, &[b"DEBUG", b"DIGEST"]).text(), digest);
}

/// What fields of hashes that expire are.
fn timed() -> (u32, String) {
    (0, "hash:timed".into())
}

#[test]
fn files_of_other_servers_are_read() {
    let redis = Redis::start();
    let mut there = redis.connect();
    fill(&mut there);
    let known = content(&mut there, &DATABASES);
    let home = Home::new();
    let server = home.start();
    let mut here = server.connect();
    for (name, fields) in [
        ("redis-7.0.rdb", false),
        ("redis-8.2.rdb", true),
        ("valkey-8.0.rdb", false),
        ("valkey-9.1.rdb", true),
    ] {
        fine(&cli(&server, &["import", text(&stored(name))]));
        let mut read = content(&mut here, &DATABASES);
        if fields {
            let hash = read.remove(&timed()).expect("a hash");
            assert!(
                hash.contains("hash listpack") && hash.contains("-1"),
                "{hash}"
            );
            let times = here.say("HPEXPIRETIME hash:timed FIELDS 2 f g");
            assert_eq!(
                times,
                Value::Array(vec![Value::Int(4_102_444_800_000), Value::Int(-1)])
            );
            // Redis 7.0 has no such fields.
            let file = home.path().join(format!("timed-{name}"));
            let told = failed(&cli(&server, &["export", "--plain", text(&file)]));
            assert!(
                told.contains("key \"hash:timed\" of database 0")
                    && told.contains("--rdb-version 12"),
                "{told}"
            );
            assert!(!file.exists());
            fine(&cli(
                &server,
                &["export", "--plain", "--rdb-version", "12", text(&file)],
            ));
            here.say("FLUSHALL");
            here.say("FUNCTION FLUSH");
            fine(&cli(&server, &["import", text(&file)]));
            assert_eq!(here.say("HPEXPIRETIME hash:timed FIELDS 2 f g"), times);
        }
        same(&read, &known);
        here.say("FLUSHALL");
        here.say("FUNCTION FLUSH");
    }
}

#[test]
fn what_has_expired_stays_out_and_what_is_damaged_is_told() {
    let redis = Redis::start();
    let mut there = redis.connect();
    there.say("SET kept 1");
    there.say("SET gone 1 PX 400");
    there.say("RPUSH list a b c");
    say(&mut there, &[b"SAVE"]);
    std::thread::sleep(Duration::from_millis(450));
    let home = Home::new();
    let mut server = home.start();
    let mut here = server.connect();
    let dump = redis.file("dump.rdb");
    let told = fine(&cli(&server, &["import", text(&dump)]));
    assert_eq!(
        told,
        "2 keys into 1 database, 0 libraries of functions; 1 key had expired\n"
    );
    assert_eq!(here.say("DBSIZE"), Value::Int(2));

    let whole = std::fs::read(&dump).expect("the file");
    let damaged = home.path().join("damaged.rdb");
    let mut random = Random::announced("rdb_files damage");
    for n in 0..40 {
        let mut file = whole.clone();
        if n % 4 == 0 {
            file.truncate(random.below(file.len()));
        } else {
            let at = 9 + random.below(file.len() - 9);
            file[at] ^= 1 << random.below(8);
        }
        std::fs::write(&damaged, &file).expect("a file");
        let output = cli(&server, &["import", "--replace", text(&damaged)]);
        let told = failed(&output);
        assert!(told.contains("damaged.rdb"), "{told}");
        server.unharmed();
    }
    // A checksum of zero is none, so the server itself has to see the damage.
    let mut file = whole.clone();
    let end = file.len() - 8;
    file[end..].fill(0);
    let list = file
        .windows(5)
        .position(|w| w == b"\x04list")
        .expect("the key")
        + 5;
    for at in list..list + 24 {
        let mut file = file.clone();
        file[at] ^= 0x15;
        std::fs::write(&damaged, &file).expect("a file");
        let _ = cli(&server, &["import", "--replace", text(&damaged)]);
        server.unharmed();
    }
    let told = failed(&cli(
        &server,
        &["import", text(&home.path().join("nothing"))],
    ));
    assert!(told.contains("nothing: "), "{told}");
}

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir(to).expect("a directory");
    for entry in std::fs::read_dir(from).expect("the directory") {
        let entry = entry.expect("an entry");
        std::fs::copy(entry.path(), to.join(entry.file_name())).expect("a copy");
    }
}

#[test]
fn an_append_only_directory_is_played_as_redis_plays_it() {
    // What it has answered is in its file: otherwise it may put a write off while the disk is slow.
    let redis = Redis::with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let mut there = redis.connect();
    for line in [
        "SET sliding 1 PX 300",
        "SET gone 1 PX 300",
        "SET rewritten 1 PX 300",
        "RPUSH list a b",
        "XADD stream 1-1 f v",
    ] {
        assert!(!there.say(line).is_error(), "{line}");
    }
    say(&mut there, &[b"BGREWRITEAOF"]);
    eventually("the log is rewritten", || {
        (there.figure("persistence", "aof_rewrite_in_progress") == "0"
            && there.figure("persistence", "aof_rewrite_scheduled") == "0")
            .then_some(())
    });
    for line in [
        "PEXPIRE sliding 100000000",
        "PERSIST rewritten",
        "SET again 1 PX 200",
        "PEXPIRE again 100000000",
        "SET short 1 PX 200",
        "MULTI",
        "RPUSH list c",
        "INCR counter",
        "EXEC",
        "SELECT 5",
        "SET elsewhere x",
        "SADD set 1 2 3",
        "SPOP set",
        "XGROUP CREATE stream g 0 MKSTREAM",
    ] {
        assert!(!there.say(line).is_error(), "{line}");
    }
    let library = "#!lua name=l\nredis.register_function('f', function() return 7 end)";
    assert!(!there.call(&["FUNCTION", "LOAD", library]).is_error());
    // As it is before Redis itself notes what has expired.
    let home = Home::new();
    let dir = home.path().join("before");
    copy_dir(&redis.file("appendonlydir"), &dir);
    std::thread::sleep(Duration::from_millis(500));
    let known = content(&mut there, &DATABASES);
    assert_eq!(known.len(), 9 + 1, "{known:?}");

    let mut home = Home::new();
    home.shards(2);
    let server = home.start();
    let mut here = server.connect();
    let told = fine(&cli(&server, &["import", text(&dir)]));
    same(&content(&mut here, &DATABASES), &known);
    assert!(
        told.contains("; ") && told.contains("had expired"),
        "{told}"
    );
    // Once more it would change what is there.
    let told = failed(&cli(&server, &["import", text(&dir)]));
    assert!(
        told.contains("the server holds") && told.contains("--merge"),
        "{told}"
    );
    same(&content(&mut here, &DATABASES), &known);

    // A crash of Redis cuts the last file.
    here.say("FLUSHALL");
    here.say("FUNCTION FLUSH");
    let copy = home.path().join("aof");
    copy_dir(&dir, &copy);
    let names = std::fs::read_dir(&copy).expect("the directory");
    let names = names.map(|entry| entry.expect("an entry").path());
    let last = names.filter(|path| text(path).ends_with(".incr.aof")).max();
    let last = last.expect("a log");
    let mut log = std::fs::read(&last).expect("the log");
    let whole = log.len();
    log.extend_from_slice(b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$100\r\nyyy");
    std::fs::write(&last, log).expect("the log");
    let told = failed(&cli(&server, &["import", text(&copy)]));
    assert!(told.contains(&format!("begins at byte {whole}")), "{told}");
    here.say("FLUSHALL");
    here.say("FUNCTION FLUSH");
    let output = cli(&server, &["import", "--allow-truncated", text(&copy)]);
    fine(&output);
    assert!(said(&output).1.contains("is not whole and was left out"));
    same(&content(&mut here, &DATABASES), &known);
}

#[test]
fn an_export_is_sealed_unless_it_is_asked_for_in_the_clear() {
    let home = Home::new();
    let server = home.start();
    let mut here = server.connect();
    fill(&mut here);
    let secret = letters(50);
    here.call(&["SET", "secret", &secret]);
    // More than a chunk.
    for n in 0..20 {
        here.call(&["SET", &format!("random:{n}"), &letters(10_000 + n)]);
    }
    let known = content(&mut here, &DATABASES);
    let (file, plain) = (home.path().join("sealed"), home.path().join("plain.rdb"));

    let told = failed(&cli(&server, &["export", text(&file)]));
    assert!(
        told.contains("--key-file") && told.contains("--plain"),
        "{told}"
    );
    assert!(!file.exists());
    let kek = home.kek();
    fine(&cli(
        &server,
        &["export", "--key-file", text(&kek), text(&file)],
    ));
    fine(&cli(&server, &["export", "--plain", text(&plain)]));
    let (sealed, clear) = (
        std::fs::read(&file).unwrap(),
        std::fs::read(&plain).unwrap(),
    );
    assert!(clear.len() > 200_000, "{}", clear.len());
    assert!(contains(&clear, secret.as_bytes()));
    assert!(!contains(&sealed, &secret.as_bytes()[..12]) && !contains(&sealed, b"string:"));
    for path in [&file, &plain] {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    // An independent reader finds an RDB file inside, with the same keys.
    let opened = home.path().join("opened.rdb");
    let out = Command::new(python::python())
        .args([
            "-B",
            "tests/decrypt.py",
            "--export",
            text(&file),
            text(&kek),
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("Python runs");
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    std::fs::write(&opened, &out.stdout).unwrap();
    assert_eq!(keys_of(&opened), keys_of(&plain));

    here.say("FLUSHALL");
    here.say("FUNCTION FLUSH");
    let told = failed(&cli(&server, &["import", text(&file)]));
    assert!(told.contains("it is sealed"), "{told}");
    let other = home.path().join("other-kek");
    crate::common::certs::private(&other, &[9; 32]);
    let told = failed(&cli(
        &server,
        &["import", "--key-file", text(&other), text(&file)],
    ));
    assert!(told.contains("wrapped under Kek"), "{told}");
    let cut = home.path().join("cut");
    std::fs::write(&cut, &sealed[..sealed.len() - 1]).unwrap();
    let told = failed(&cli(
        &server,
        &["import", "--key-file", text(&kek), text(&cut)],
    ));
    assert!(told.contains("ends too early"), "{told}");
    here.say("FLUSHALL");
    here.say("FUNCTION FLUSH");
    let config = home.write_config();
    fine(&cli(
        &server,
        &["import", "--config", text(&config), text(&file)],
    ));
    same(&content(&mut here, &DATABASES), &known);
}

/// The names in a file by database, each as often as it stands there.
fn keys_of(path: &Path) -> BTreeMap<(u32, Vec<u8>), u64> {
    let bytes = std::fs::read(path).expect("the file");
    let mut file = FileReader::open(&bytes[..]).expect("an RDB file");
    let mut keys = BTreeMap::new();
    while let Some(item) = file.next().expect("a whole file") {
        if let Item::Key(key) = item {
            *keys.entry((key.db, key.name)).or_default() += 1;
        }
    }
    keys
}

#[test]
fn keys_that_stay_are_in_an_export_once_whatever_moves_meanwhile() {
    let mut home = Home::new();
    home.shards(2);
    let server = home.start();
    let mut here = server.connect();
    for n in 0..3000 {
        here.call(&["SET", &format!("stays:{n}"), "x"]);
    }
    let file = home.path().join("moving.rdb");
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let mover = scope.spawn(|| {
            let mut wire = server.connect();
            let mut n = 0u64;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                // The tables grow and shrink.
                for _ in 0..5000 {
                    n += 1;
                    wire.call(&["SET", &format!("moves:{n}"), "x"]);
                }
                for m in n - 4999..=n {
                    wire.call(&["DEL", &format!("moves:{m}")]);
                }
            }
            n
        });
        for _ in 0..3 {
            fine(&cli(&server, &["export", "--plain", text(&file)]));
            let keys = keys_of(&file);
            for n in 0..3000 {
                let name = format!("stays:{n}").into_bytes();
                assert_eq!(keys.get(&(0, name)), Some(&1), "stays:{n}");
            }
            assert!(keys.values().all(|times| *times == 1));
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(mover.join().expect("it moves") > 0);
    });
}

#[test]
fn a_server_starts_with_the_data_of_a_file_or_not_at_all() {
    let redis = Redis::start();
    let mut there = redis.connect();
    fill(&mut there);
    let known = content(&mut there, &DATABASES);
    let mut home = Home::new();
    home.shards(2).fsync("always");
    let import = |home: &Home, file: &Path| {
        let mut command = home.command();
        command.arg("--import").arg(file);
        command
    };
    let file = stored("redis-7.0.rdb");
    let server = home.try_start_as(import(&home, &file)).expect("it starts");
    same(&content(&mut server.connect(), &DATABASES), &known);
    let mut here = server.connect();
    assert_eq!(here.figure("replication", "role"), "master");
    assert_eq!(here.say("SET written yes PX 100"), Value::ok());
    std::thread::sleep(Duration::from_millis(150));
    assert_eq!(here.say("EXISTS written"), Value::Int(0));
    server.kill9();
    let (_, told) = home.refused_as(import(&home, &file));
    assert!(told.contains("holds data already"), "{told}");
    let server = home.start();
    same(&content(&mut server.connect(), &DATABASES), &known);
    let sealed = home.path().join("sealed");
    fine(&cli(
        &server,
        &["export", "--key-file", text(&home.kek()), text(&sealed)],
    ));
    drop(server);

    // A sealed export, under the server's own Kek.
    std::fs::remove_dir_all(home.data()).expect("the data");
    let server = home
        .try_start_as(import(&home, &sealed))
        .expect("it starts");
    same(&content(&mut server.connect(), &DATABASES), &known);
    drop(server);

    // What ends early makes no server, nor does what it left behind.
    std::fs::remove_dir_all(home.data()).expect("the data");
    let whole = std::fs::read(&file).expect("the file");
    let cut = home.path().join("cut.rdb");
    std::fs::write(&cut, &whole[..whole.len() - 9]).expect("a file");
    let (_, told) = home.refused_as(import(&home, &cut));
    assert!(
        told.contains("cut.rdb, at byte") && told.contains("of no use"),
        "{told}"
    );
    for command in [home.command(), import(&home, &file)] {
        let (_, told) = home.refused_as(command);
        assert!(
            told.contains("did not come to its end") && told.contains("cut.rdb"),
            "{told}"
        );
    }

    // A log is played to its end before anything in it expires.
    std::fs::remove_dir_all(home.data()).expect("the data");
    let log = home.path().join("log.aof");
    let mut bytes = Vec::new();
    for line in [
        "SELECT 3",
        "SET sliding 1 PXAT 1000",
        "PEXPIREAT sliding 4102444800000",
        "SET gone 1 PXAT 1000",
        "MULTI",
        "RPUSH list a b",
        "EXEC",
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        bytes.extend(crate::common::wire::command(&words));
    }
    std::fs::write(&log, bytes).expect("a file");
    let server = home.try_start_as(import(&home, &log)).expect("it starts");
    let mut here = server.connect();
    here.say("SELECT 3");
    assert_eq!(
        here.say("PEXPIRETIME sliding"),
        Value::Int(4_102_444_800_000)
    );
    assert_eq!(here.say("EXISTS gone"), Value::Int(0));
    assert_eq!(here.say("LLEN list"), Value::Int(2));
}
