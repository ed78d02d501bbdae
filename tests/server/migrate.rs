//! DUMP, RESTORE and MIGRATE: keys go to another server over TLS and nowhere else, are in one place afterwards, and no
//! core waits for the network.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::common::certs::{self, Authority};
use crate::common::peer::Redis;
use crate::common::server::{Home, free_port};
use crate::common::slots::tags;
use crate::common::wire::{Value, Wire};

fn ask(wire: &mut Wire, words: &str) -> Value {
    let args: Vec<&str> = words
        .split(' ')
        .map(|word| if word == "''" { "" } else { word })
        .collect();
    wire.call(&args)
}

fn error(value: &Value) -> String {
    match value {
        Value::Error(text) => text.clone(),
        other => panic!("no error: {other:?}"),
    }
}

/// Commands that make a key of each type.
const MAKERS: [&str; 8] = [
    "SET {}:string value",
    "SET {}:int 12345",
    "RPUSH {}:list a b 3",
    "SADD {}:set a b 3",
    "SADD {}:ints 1 2 3",
    "HSET {}:hash f v g 7",
    "ZADD {}:zset 1.5 a 2 b",
    "XADD {}:stream 5-1 f v",
];

/// What a key holds, asked by its type.
fn content(wire: &mut Wire, key: &str) -> String {
    let kind = ask(wire, &format!("TYPE {key}")).text();
    let words = match kind.as_str() {
        "string" => format!("GET {key}"),
        "list" => format!("LRANGE {key} 0 -1"),
        "set" => format!("SORT {key} ALPHA"),
        "hash" => format!("HMGET {key} f g"),
        "zset" => format!("ZRANGE {key} 0 -1 WITHSCORES"),
        "stream" => format!("XRANGE {key} - +"),
        _ => return kind,
    };
    format!("{kind} {:?}", ask(wire, &words))
}

/// Makes a key of each type under each tag; their names.
fn make(wire: &mut Wire, tags: &[String]) -> Vec<String> {
    let mut keys = Vec::new();
    for tag in tags {
        for maker in MAKERS {
            let words = maker.replace("{}", &format!("{{{tag}}}"));
            assert!(!ask(wire, &words).is_error(), "{words}");
            keys.push(words.split(' ').nth(1).expect("a key").to_string());
        }
    }
    keys
}

fn contents(wire: &mut Wire, keys: &[String]) -> Vec<String> {
    keys.iter().map(|key| content(wire, key)).collect()
}

#[test]
fn keys_move_between_servers_and_survive_a_kill() {
    for shards in [1, 3] {
        let (mut here, mut there) = (Home::new(), Home::new());
        here.shards(shards).fsync("always");
        there.shards(4 - shards).fsync("always");
        let (from, to) = (here.start(), there.start());
        let (mut a, mut b) = (from.connect(), to.connect());
        let keys = make(&mut a, &tags(shards));
        let known = contents(&mut a, &keys);
        let port = there.port;
        let move_all = |options: &str| {
            let keys = keys.join(" ");
            format!("MIGRATE 127.0.0.1 {port} '' 0 5000 {options}KEYS none {keys} none")
        };
        assert_eq!(ask(&mut a, &move_all("COPY ")), Value::ok());
        assert_eq!(contents(&mut a, &keys), known);
        assert_eq!(contents(&mut b, &keys), known);
        // There they are in the way now.
        let busy = error(&ask(&mut a, &move_all("")));
        let text =
            "ERR Target instance replied with error: BUSYKEY Target key name already exists.";
        assert_eq!(busy, text);
        assert_eq!(contents(&mut a, &keys), known);
        ask(&mut a, &format!("PEXPIRE {} 100000", keys[0]));
        assert_eq!(ask(&mut a, &move_all("REPLACE ")), Value::ok());
        assert_eq!(ask(&mut a, "DBSIZE").int(), 0);
        assert_eq!(contents(&mut b, &keys), known);
        let ttl = ask(&mut b, &format!("PTTL {}", keys[0])).int();
        assert!((50_000..=100_000).contains(&ttl), "{ttl}");
        assert_eq!(ask(&mut a, &move_all("")), Value::Simple("NOKEY".into()));
        from.kill9();
        to.kill9();
        let (from, to) = (here.start(), there.start());
        let (mut a, mut b) = (from.connect(), to.connect());
        assert_eq!(ask(&mut a, "DBSIZE").int(), 0);
        assert_eq!(contents(&mut b, &keys), known);
        // And back, one by one, into another database.
        let port = here.port;
        for key in &keys {
            let words = format!("MIGRATE localhost {port} {key} 3 5000");
            assert_eq!(ask(&mut b, &words), Value::ok());
        }
        assert_eq!(ask(&mut b, "DBSIZE").int(), 0);
        ask(&mut a, "SELECT 3");
        assert_eq!(contents(&mut a, &keys), known);
    }
}

#[test]
fn what_was_restored_survives_a_kill() {
    let mut home = Home::new();
    home.shards(2).fsync("always");
    let server = home.start();
    let mut wire = server.connect();
    let keys = make(&mut wire, &tags(2));
    ask(&mut wire, "HSET timed f v g w");
    ask(&mut wire, "HEXPIRE timed 1000 FIELDS 1 f");
    let known = contents(&mut wire, &keys);
    for key in keys.iter().map(String::as_str).chain(["timed"]) {
        let payload = match wire.call(&["DUMP", key]) {
            Value::Bulk(payload) => payload,
            other => panic!("{other:?}"),
        };
        ask(&mut wire, &format!("DEL {key}"));
        let args: [&[u8]; 4] = [b"RESTORE", key.as_bytes(), b"1000000", &payload];
        assert_eq!(wire.call(&args), Value::ok());
        assert!(error(&wire.call(&args)).starts_with("BUSYKEY"));
    }
    assert_eq!(contents(&mut wire, &keys), known);
    server.kill9();
    let server = home.start();
    let mut wire = server.connect();
    assert_eq!(contents(&mut wire, &keys), known);
    for key in &keys {
        let ttl = ask(&mut wire, &format!("TTL {key}")).int();
        assert!((900..=1000).contains(&ttl), "{ttl}");
    }
    let ttl = ask(&mut wire, "HTTL timed FIELDS 2 f g");
    assert!((900..=1000).contains(&ttl.items()[0].int()), "{ttl:?}");
    assert_eq!(ttl.items()[1].int(), -1);
}

#[test]
fn keys_go_to_redis_and_come_back() {
    let redis = Redis::start();
    let mut home = Home::new();
    home.shards(2);
    let server = home.start();
    let (mut ours, mut theirs) = (server.connect(), redis.connect());
    let keys = make(&mut ours, &tags(2));
    let known = contents(&mut ours, &keys);
    let (all, port) = (keys.join(" "), redis.port());
    let words = format!("MIGRATE 127.0.0.1 {port} '' 2 5000 KEYS {all}");
    assert_eq!(ask(&mut ours, &words), Value::ok());
    assert_eq!(ask(&mut ours, "DBSIZE").int(), 0);
    ask(&mut theirs, "SELECT 2");
    assert_eq!(contents(&mut theirs, &keys), known);
    // In MIGRATE, too, Redis speaks TLS where it is told to for clusters.
    assert_eq!(ask(&mut theirs, "CONFIG SET tls-cluster yes"), Value::ok());
    let words = format!("MIGRATE 127.0.0.1 {} '' 0 5000 KEYS {all}", home.port);
    assert_eq!(ask(&mut theirs, &words), Value::ok());
    assert_eq!(ask(&mut theirs, "DBSIZE").int(), 0);
    assert_eq!(contents(&mut ours, &keys), known);
}

#[test]
fn nothing_leaves_in_the_clear_unless_a_setting_says_so() {
    let open_port = free_port();
    let mut there = Home::new();
    there.set("server.port", open_port);
    let to = there.start();
    let mut b = to.connect();
    let mut here = Home::new();
    let from = here.start();
    let mut a = from.connect();
    ask(&mut a, "SET k v");
    let words = format!("MIGRATE 127.0.0.1 {open_port} k 0 2000");
    let why = error(&ask(&mut a, &words));
    assert!(
        why.starts_with("IOERR ") && why.contains("server.allow_plaintext_migrate"),
        "{why}"
    );
    assert_eq!(ask(&mut a, "GET k").text(), "v");
    assert_eq!(ask(&mut b, "DBSIZE").int(), 0);
    from.stop();
    // Whom no authority of ours vouches for gets nothing either.
    let other = Authority::new("another authority");
    let strange = certs::write(there.path(), &other, &other.server());
    here.text("tls.ca_file", strange.ca.to_str().expect("UTF-8"));
    let from = here.start();
    let mut a = from.connect();
    let words_tls = format!("MIGRATE 127.0.0.1 {} k 0 2000", there.port);
    let why = error(&ask(&mut a, &words_tls));
    assert!(why.contains("certificate verify failed"), "{why}");
    from.stop();
    here.text("tls.ca_file", "");
    let from = here.start();
    let mut a = from.connect();
    let why = error(&ask(&mut a, &words_tls));
    assert!(why.starts_with("ERR MIGRATE needs tls.ca_file"), "{why}");
    from.stop();
    here.set("server.allow_plaintext_migrate", true);
    let from = here.start();
    let mut a = from.connect();
    assert_eq!(ask(&mut a, &words), Value::ok());
    assert_eq!(ask(&mut a, "EXISTS k").int(), 0);
    assert_eq!(ask(&mut b, "GET k").text(), "v");
    let log = here.log();
    assert!(log.contains("server.allow_plaintext_migrate"), "{log}");
}

#[test]
fn passwords_are_given_and_shown_to_nobody() {
    let mut there = Home::new();
    there.text("auth.requirepass", "sesame-there");
    let to = there.start();
    let mut b = to.connect();
    ask(&mut b, "AUTH sesame-there");
    ask(&mut b, "ACL SETUSER mover on >sesame-mover ~* +@all");
    let here = Home::new();
    let from = here.start();
    let mut a = from.connect();
    let mut monitor = from.connect();
    assert_eq!(ask(&mut monitor, "MONITOR"), Value::ok());
    ask(&mut a, "CONFIG SET slowlog-log-slower-than 0");
    ask(&mut a, "MSET k 1 l 2");
    let port = there.port;
    let words = |key: &str, tail: &str| format!("MIGRATE 127.0.0.1 {port} {key} 0 5000 {tail}");
    let plain = format!("MIGRATE 127.0.0.1 {port} k 0 5000");
    for (words, start) in [
        (plain, "ERR Target instance replied with error: NOAUTH"),
        (
            words("k", "AUTH sesame-wrong"),
            "ERR Target instance replied with error: WRONGPASS",
        ),
        (
            words("k", "AUTH2 mover sesame-wrong"),
            "ERR Target instance replied with error: WRONGPASS",
        ),
        (words("k", "sesame-lost"), "ERR syntax error"),
    ] {
        let why = error(&ask(&mut a, &words));
        assert!(why.starts_with(start), "{why}");
    }
    assert_eq!(ask(&mut a, &words("k", "AUTH sesame-there")), Value::ok());
    assert_eq!(
        ask(&mut a, &words("l", "COPY AUTH2 mover sesame-mover")),
        Value::ok()
    );
    assert_eq!(ask(&mut b, "MGET k l").items().len(), 2);
    assert_eq!(ask(&mut a, "ECHO end"), Value::bulk("end"));
    let mut shown = String::new();
    while !shown.contains("\"end\"") {
        shown.push_str(&monitor.reply().expect("a line").text());
        shown.push('\n');
    }
    assert!(
        shown.contains("MIGRATE") && shown.contains("(redacted)"),
        "{shown}"
    );
    let slow = format!("{:?}", ask(&mut a, "SLOWLOG GET 100"));
    for place in [&shown, &slow, &here.log(), &there.log()] {
        assert!(!place.contains("sesame"), "{place}");
    }
}

/// Reads until these bytes have come.
fn read_until(stream: &mut TcpStream, wanted: &str) {
    let (mut seen, mut chunk) = (Vec::new(), [0; 4096]);
    while !String::from_utf8_lossy(&seen).contains(wanted) {
        let n = stream.read(&mut chunk).expect("bytes");
        assert!(n > 0, "closed before {wanted}");
        seen.extend_from_slice(&chunk[..n]);
    }
}

/// A server that has taken everything but the answer to RESTORE.
fn hesitant(listener: &TcpListener) -> TcpStream {
    let (mut stream, _) = listener.accept().expect("a connection");
    read_until(&mut stream, "SELECT");
    stream.write_all(b"+OK\r\n").expect("an answer");
    read_until(&mut stream, "RESTORE");
    stream
}

#[test]
fn a_key_on_its_way_keeps_nobody_waiting_and_is_not_lost() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its address").port();
    let mut home = Home::new();
    home.set("server.allow_plaintext_migrate", true).shards(2);
    let server = home.start();
    let mut other = server.connect();
    let names = tags(2);
    let (x, y) = (format!("{{{}}}x", names[0]), format!("{{{}}}y", names[1]));
    let send = |wire: &mut Wire, timeout: u32| {
        let (port, timeout) = (port.to_string(), timeout.to_string());
        let words = [
            "MIGRATE",
            "127.0.0.1",
            &port,
            "",
            "0",
            &timeout,
            "KEYS",
            &x,
            &y,
        ];
        wire.ask(&words).expect("sent");
    };
    // One of two keys is changed meanwhile: it stays, and so does what it holds now.
    ask(&mut other, &format!("MSET {x} before {y} before"));
    let mut mover = server.connect();
    send(&mut mover, 20_000);
    let mut target = hesitant(&listener);
    assert_eq!(ask(&mut other, &format!("SET {x} after")), Value::ok());
    assert_eq!(ask(&mut other, &format!("GET {y}")).text(), "before");
    target.write_all(b"+OK\r\n+OK\r\n").expect("an answer");
    let why = error(&mover.reply().expect("a reply"));
    assert!(why.starts_with("ERR 1 of the keys were changed"), "{why}");
    assert_eq!(ask(&mut other, &format!("GET {x}")).text(), "after");
    assert_eq!(ask(&mut other, &format!("EXISTS {y}")).int(), 0);
    assert_eq!(ask(&mut mover, "PING"), Value::Simple("PONG".into()));
    // A client that leaves takes nothing back: what has arrived is removed.
    ask(&mut other, &format!("MSET {x} 1 {y} 2"));
    send(&mut mover, 20_000);
    let mut target = hesitant(&listener);
    drop(mover);
    target.write_all(b"+OK\r\n-ERR no\r\n").expect("an answer");
    let began = Instant::now();
    while ask(&mut other, &format!("EXISTS {x}")).int() == 1 {
        assert!(began.elapsed() < Duration::from_secs(20), "{x} stays");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(ask(&mut other, &format!("GET {y}")).text(), "2");
    // One that never answers: after the timeout everything is where it was.
    let mut mover = server.connect();
    send(&mut mover, 300);
    let target = hesitant(&listener);
    let why = error(&mover.reply().expect("a reply"));
    assert_eq!(why, "IOERR error or timeout reading to target instance");
    assert_eq!(ask(&mut other, &format!("GET {y}")).text(), "2");
    drop(target);
    drop(listener);
    send(&mut mover, 2000);
    let why = error(&mover.reply().expect("a reply"));
    assert!(
        why.starts_with("IOERR error or timeout connecting to the client"),
        "{why}"
    );
    ask(&mut mover, "MULTI");
    let why = error(&ask(
        &mut mover,
        &format!("MIGRATE 127.0.0.1 {port} {y} 0 100"),
    ));
    assert!(why.contains("not allowed inside a transaction"), "{why}");
}
