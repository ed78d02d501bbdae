//! REPLICAOF: a server follows a running Redis, has everything that it has, loses nothing on the way, and takes its place.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::common::certs::{self, Authority};
use crate::common::eventually;
use crate::common::peer::Redis;
use crate::common::random::Random;
use crate::common::server::Home;
use crate::common::wire::{Value, Wire};

const DATABASES: usize = 16;

/// A home that follows over TLS.
fn home(shards: usize) -> Home {
    let mut home = Home::new();
    home.shards(shards);
    home
}

fn follow(wire: &mut Wire, port: u16) {
    assert_eq!(
        wire.say(&format!("REPLICAOF localhost {port}")),
        Value::ok()
    );
}

/// A line of INFO replication.
fn told(wire: &mut Wire, name: &str) -> String {
    let text = wire.say("INFO replication").text();
    let line = text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key == name).then(|| value.to_owned())
    });
    line.unwrap_or_else(|| panic!("no {name} in {text}"))
}

fn is_up(wire: &mut Wire) -> Option<()> {
    (told(wire, "master_link_status") == "up").then_some(())
}

/// Waits until `here` has carried out everything that `source` has.
fn caught_up(source: &mut Wire, here: &mut Wire) {
    eventually("the follower has caught up", || {
        let there = told(source, "master_repl_offset");
        (told(here, "slave_repl_offset") == there && is_up(here).is_some()).then_some(())
    });
}

fn sorted(value: Value, pairs: bool) -> Vec<Vec<u8>> {
    let items: Vec<Vec<u8>> = value
        .items()
        .iter()
        .map(|v| v.text().into_bytes())
        .collect();
    let mut chunks: Vec<Vec<u8>> = match pairs {
        true => items.chunks(2).map(|two| two.join(&b"\0"[..])).collect(),
        false => items,
    };
    chunks.sort();
    chunks
}

/// Everything that a server holds: by database and key its type, expiry and content.
fn everything(wire: &mut Wire) -> BTreeMap<(usize, String), String> {
    let mut all = BTreeMap::new();
    for db in 0..DATABASES {
        wire.say(&format!("SELECT {db}"));
        let keys = wire.say("KEYS *");
        for key in keys.items().iter().map(Value::text) {
            let key = key.as_str();
            let kind = wire.call(&["TYPE", key]).text();
            let until = wire.call(&["PEXPIRETIME", key]).int();
            let content = match kind.as_str() {
                "string" => format!("{:?}", wire.call(&["GET", key])),
                "list" => format!("{:?}", wire.call(&["LRANGE", key, "0", "-1"])),
                "set" => format!("{:?}", sorted(wire.call(&["SMEMBERS", key]), false)),
                "hash" => format!("{:?}", sorted(wire.call(&["HGETALL", key]), true)),
                "zset" => format!("{:?}", wire.call(&["ZRANGE", key, "0", "-1", "WITHSCORES"])),
                "stream" => {
                    let entries = wire.call(&["XRANGE", key, "-", "+"]);
                    let groups = wire.call(&["XINFO", "GROUPS", key]);
                    // Name, consumers, pending, last-delivered-id: what a replica has as its master has it.
                    let groups: Vec<String> = groups
                        .items()
                        .iter()
                        .map(|group| format!("{:?}", &group.items()[..8]))
                        .collect();
                    let mut pending = Vec::new();
                    for group in wire.call(&["XINFO", "GROUPS", key]).items() {
                        let name = group.items()[1].text();
                        let list = wire.call(&["XPENDING", key, &name, "-", "+", "1000"]);
                        for entry in list.items() {
                            let entry = entry.items();
                            pending.push(format!("{:?} {:?} {:?}", entry[0], entry[1], entry[3]));
                        }
                    }
                    format!("{entries:?} {groups:?} {pending:?}")
                }
                other => panic!("{key} is a {other}"),
            };
            all.insert(
                (db, key.to_owned()),
                format!("{kind} until {until}: {content}"),
            );
        }
    }
    wire.say("SELECT 0");
    all
}

/// Both hold the same.
#[track_caller]
fn same(source: &mut Wire, here: &mut Wire) -> usize {
    let (there, here) = (everything(source), everything(here));
    for (key, value) in &there {
        match here.get(key) {
            Some(mine) => assert_eq!(mine, value, "{key:?}"),
            None => panic!("{key:?} is missing: {value}"),
        }
    }
    for key in here.keys() {
        assert!(there.contains_key(key), "{key:?} is too much");
    }
    there.len()
}

fn libraries(wire: &mut Wire) -> String {
    format!("{:?}", wire.say("FUNCTION LIST WITHCODE"))
}

/// Makes keys of every type and form.
fn populate(wire: &mut Wire) {
    let mut run = |words: &[&str]| {
        let reply = wire.call(words);
        assert!(!reply.is_error(), "{words:?}: {reply:?}");
    };
    for db in ["0", "3", "15"] {
        run(&["SELECT", db]);
        for i in 0..50 {
            run(&["SET", &format!("s:{i}"), &format!("value {i}")]);
            run(&["SET", &format!("n:{i}"), &i.to_string(), "EX", "5000"]);
        }
        let long = "x".repeat(100_000);
        run(&["SET", "long", &long]);
        for (key, n) in [("small", 5), ("large", 600)] {
            for i in 0..n {
                let (member, score) = (format!("m{i}"), format!("{}.5", n - i));
                run(&["RPUSH", &format!("list:{key}"), &member]);
                run(&["SADD", &format!("set:{key}"), &member]);
                run(&["SADD", &format!("ints:{key}"), &i.to_string()]);
                run(&["HSET", &format!("hash:{key}"), &member, &score]);
                run(&["ZADD", &format!("zset:{key}"), &score, &member]);
                run(&[
                    "XADD",
                    &format!("stream:{key}"),
                    &format!("{}-1", i + 1),
                    "f",
                    &member,
                ]);
            }
            let stream = format!("stream:{key}");
            run(&["XGROUP", "CREATE", &stream, "g", "0"]);
            run(&[
                "XREADGROUP",
                "GROUP",
                "g",
                "c",
                "COUNT",
                "3",
                "STREAMS",
                &stream,
                ">",
            ]);
            run(&["XDEL", &stream, "1-1"]);
            run(&["PFADD", &format!("hll:{key}"), "a", "b", "c"]);
        }
    }
    run(&["SELECT", "0"]);
    let code = "#!lua name=lib\nredis.register_function('f', function(keys, args) \
                return redis.call('INCRBY', keys[1], args[1]) end)";
    run(&["FUNCTION", "LOAD", code]);
}

/// Commands of every family, as clients send them while a server is followed.
const CHANGES: &[&str] = &[
    "SET a 1 EX 1000",
    "GETEX a PX 900000",
    "PERSIST a",
    "APPEND a bc",
    "SETRANGE a 2 zz",
    "GETDEL s:1",
    "INCRBYFLOAT f 1.5",
    "MSET m1 1 m2 2 m3 3",
    "MSETNX m4 4 m5 5",
    "SETBIT bits 100 1",
    "BITOP NOT stib bits",
    "BITFIELD bits SET u8 0 255",
    "EXPIRE s:2 1000",
    "PEXPIREAT s:3 99999999999999",
    "EXPIRE s:4 -1",
    "LPUSH list:small x y",
    "RPOPLPUSH list:small moved",
    "LMPOP 1 list:large LEFT COUNT 7",
    "LINSERT list:small BEFORE x w",
    "LREM list:small 0 m1",
    "LTRIM list:large 10 450",
    "SPOP set:large 5",
    "SMOVE set:small set:other m1",
    "SUNIONSTORE union set:small ints:small",
    "HINCRBYFLOAT hash:small m1 0.25",
    "HDEL hash:large m1 m2",
    "ZINCRBY zset:small 2.5 m1",
    "ZPOPMIN zset:large 3",
    "ZMPOP 1 zset:large MAX COUNT 2",
    "ZUNIONSTORE zu 2 zset:small set:small WEIGHTS 2 3",
    "ZRANGESTORE zr zset:large 0 10",
    "ZREMRANGEBYRANK zset:large 0 5",
    "GEOADD geo 13.361389 38.115556 Palermo 15.087269 37.502669 Catania",
    "GEOSEARCHSTORE near geo FROMLONLAT 15 37 BYRADIUS 200 km",
    "XADD stream:small * f v",
    "XADD stream:large MAXLEN ~ 1000 * f v",
    "XTRIM stream:large MAXLEN 500",
    "XREADGROUP GROUP g d COUNT 2 STREAMS stream:small >",
    "XACK stream:small g 2-1",
    "XCLAIM stream:small g e 0 3-1",
    "XAUTOCLAIM stream:small g e 0 0",
    "XGROUP CREATE fresh g $ MKSTREAM",
    "XGROUP CREATECONSUMER fresh g c",
    "XSETID fresh 99-1",
    "PFADD hll:small d e",
    "PFMERGE hll:both hll:small hll:large",
    "SORT ints:large LIMIT 0 10 STORE sorted",
    "COPY s:5 copied",
    "COPY s:5 elsewhere DB 7",
    "RENAME s:6 renamed",
    "MOVE s:7 9",
    "FCALL f 1 counted 42",
    "MULTI",
    "INCR tx",
    "SELECT 4",
    "RPUSH tx-list a b",
    "SELECT 0",
    "PEXPIRE tx 500000",
    "EXEC",
    "PUBLISH channel message",
    "SWAPDB 3 5",
    "UNLINK s:8 s:9",
    "DEL list:large",
];

#[test]
fn everything_is_taken_over_and_goes_on() {
    for (shards, diskless) in [(1, "yes"), (3, "no")] {
        let words = [
            "--repl-diskless-sync",
            diskless,
            "--repl-diskless-sync-delay",
            "0",
        ];
        let redis = Redis::with(&words);
        let mut source = redis.connect();
        populate(&mut source);
        let home = home(shards);
        let server = home.start();
        let mut here = server.connect();
        here.say("SET mine old");
        let old = "#!lua name=old\nredis.register_function('o', function() end)";
        assert_eq!(here.call(&["FUNCTION", "LOAD", old]).text(), "old");
        let mut blocked = server.connect();
        blocked.ask(&["BLPOP", "nothing", "0"]).expect("it is sent");
        eventually("the client waits", || {
            here.say("INFO clients")
                .text()
                .contains("blocked_clients:1")
                .then_some(())
        });
        follow(&mut here, redis.port());
        let unblocked = blocked.reply().expect("an answer").text();
        assert!(unblocked.starts_with("UNBLOCKED "), "{unblocked}");
        eventually("the link is up", || is_up(&mut here));
        caught_up(&mut source, &mut here);
        assert!(same(&mut source, &mut here) > 300);
        assert_eq!(libraries(&mut source), libraries(&mut here));

        for line in CHANGES {
            let reply = source.say(line);
            assert!(!reply.is_error(), "{line}: {reply:?}");
        }
        let Value::Bulk(payload) = source.say("DUMP s:10") else {
            panic!("s:10 is there");
        };
        let words: [&[u8]; 4] = [b"RESTORE", b"restored", b"1000000", &payload];
        assert_eq!(source.call(&words), Value::ok());
        let script = "redis.call('SET', KEYS[1], 'e'); return redis.call('INCR', KEYS[2])";
        assert_eq!(source.call(&["EVAL", script, "2", "e1", "e2"]).int(), 1);
        caught_up(&mut source, &mut here);
        same(&mut source, &mut here);
        assert_eq!(
            here.say("XINFO STREAM fresh").items()[7],
            source.say("XINFO STREAM fresh").items()[7]
        );

        // Time passes on both, and only the source removes.
        source.say("SET short-lived x PX 100");
        for wire in [&mut here, &mut source] {
            eventually("its time has come", || {
                (wire.say("GET short-lived") == Value::Null).then_some(())
            });
        }

        // What a replica says of itself, and refuses.
        let readonly = "READONLY You can't write against a read only replica.";
        assert_eq!(here.say("SET x y").text(), readonly);
        assert_eq!(here.say("FLUSHALL").text(), readonly);
        let script = here.call(&["EVAL", "return redis.call('SET', 'x', 'y')", "0"]);
        assert!(script.text().starts_with("READONLY "), "{script:?}");
        let role = here.say("ROLE");
        assert_eq!(role.items()[0].text(), "slave");
        assert_eq!(role.items()[3].text(), "connected");
        let clients = here.say("CLIENT LIST TYPE master").text();
        assert!(clients.contains("flags=M"), "{clients}");
        let slave = source.say("INFO replication").text();
        assert!(
            slave.contains(&format!("port={},state=online", home.port)),
            "{slave}"
        );
        assert_eq!(source.say("SET waited for"), Value::ok());
        assert_eq!(source.say("WAIT 1 5000").int(), 1);
        assert_eq!(here.say("GET waited").text(), "for");

        // The cut.
        caught_up(&mut source, &mut here);
        let began = Instant::now();
        assert_eq!(here.say("REPLICAOF NO ONE"), Value::ok());
        assert_eq!(here.say("SET after cut"), Value::ok());
        assert!(
            began.elapsed() < Duration::from_secs(1),
            "{:?}",
            began.elapsed()
        );
        assert_eq!(here.say("DEL after").int(), 1);
        same(&mut source, &mut here);
        assert_eq!(here.say("ROLE").items()[0].text(), "master");
        drop(here);
        server.kill9();

        let server = home.start();
        let mut here = server.connect();
        assert_eq!(here.say("ROLE").items()[0].text(), "master");
        // What had its place in time may have gone meanwhile, on both.
        same(&mut source, &mut here);
        assert_eq!(libraries(&mut source), libraries(&mut here));
        assert_eq!(here.say("SET still writes"), Value::ok());
        server.stop();
    }
}

/// Clients that write until they are told to stop; each counts what was acknowledged to it.
struct Writers {
    stop: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<()>>,
    acknowledged: Arc<AtomicU64>,
}

impl Writers {
    fn start(redis: &Redis, n: usize) -> Writers {
        let stop = Arc::new(AtomicBool::new(false));
        let acknowledged = Arc::new(AtomicU64::new(0));
        let threads = (0..n).map(|number| {
            let (stop, acknowledged) = (stop.clone(), acknowledged.clone());
            let mut wire = redis.connect();
            std::thread::spawn(move || {
                let mut random = Random::new(number as u64 + 1);
                while !stop.load(Ordering::Relaxed) {
                    write_some(&mut wire, &mut random, number);
                    acknowledged.fetch_add(1, Ordering::Relaxed);
                }
            })
        });
        Writers {
            threads: threads.collect(),
            stop,
            acknowledged,
        }
    }

    fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("a writer does not panic");
        }
        self.acknowledged.load(Ordering::Relaxed)
    }
}

/// One round of a writer: a counter, and something else.
fn write_some(wire: &mut Wire, random: &mut Random, number: usize) {
    let mut run = |words: &[&str]| {
        let reply = wire.call(words);
        assert!(!reply.is_error(), "{words:?}: {reply:?}");
        reply
    };
    run(&["INCR", &format!("count:{number}")]);
    let k = |kind: &str, n: usize| format!("{kind}:{n}");
    let at = random.below(500);
    let word = random.word(12);
    match random.below(14) {
        0 => run(&["SET", &k("s", at), &word]),
        1 => run(&["SET", &k("t", at), &word, "PX", "40"]),
        // Just before its time comes, or behind it.
        2 => run(&["PEXPIRE", &k("t", at), "900000"]),
        3 => run(&["PERSIST", &k("t", at)]),
        4 => run(&["LPUSH", &k("l", at), &word, "tail"]),
        5 => run(&["RPOP", &k("l", at)]),
        6 => run(&["HSET", &k("h", at), &word, "1", "f", &word]),
        7 => run(&["ZADD", &k("z", at), &at.to_string(), &word]),
        8 => run(&["SPOP", &k("p", at)]),
        9 => run(&["SADD", &k("p", at), &word, "b", "c"]),
        10 => run(&[
            "XADD",
            &k("x", at % 20),
            "MAXLEN",
            "~",
            "100",
            "*",
            "f",
            &word,
        ]),
        11 => {
            // From one account to another: the sum stays.
            let (from, to) = (
                k("account", random.below(50)),
                k("account", random.below(50)),
            );
            run(&["MULTI"]);
            run(&["DECRBY", &from, "7"]);
            run(&["INCRBY", &to, "7"]);
            run(&["EXEC"])
        }
        12 => {
            let script = "redis.call('INCR', KEYS[1]); redis.call('RPUSH', KEYS[2], ARGV[1]); \
                          return redis.call('EXPIRE', KEYS[2], 1000)";
            let (a, b) = (k("scripted", at), k("script-list", at));
            run(&["EVAL", script, "2", &a, &b, &word])
        }
        _ => run(&["DEL", &k("s", at), &k("h", at)]),
    };
}

/// Sums over the accounts, at one moment of the server's.
fn sum(wire: &mut Wire) -> i64 {
    let keys: Vec<String> = (0..50).map(|n| format!("account:{n}")).collect();
    let mut words = vec!["MGET"];
    words.extend(keys.iter().map(String::as_str));
    let values = wire.call(&words);
    let values = values.items().iter();
    values
        .map(|v| {
            if *v == Value::Null {
                0
            } else {
                v.text().parse().expect("a number")
            }
        })
        .sum()
}

#[test]
fn nothing_is_lost_under_writes_and_the_cut_takes_less_than_a_second() {
    let redis = Redis::with(&[
        "--repl-diskless-sync-delay",
        "0",
        "--repl-backlog-size",
        "64mb",
    ]);
    let mut source = redis.connect();
    populate(&mut source);
    let home = home(3);
    let server = home.start();
    let mut here = server.connect();
    let writers = Writers::start(&redis, 6);
    std::thread::sleep(Duration::from_millis(300));
    follow(&mut here, redis.port());
    eventually("the link is up", || is_up(&mut here));
    for _ in 0..5 {
        std::thread::sleep(Duration::from_millis(300));
        // Nobody sees half of a transaction.
        assert_eq!(sum(&mut here), 0);
        eventually("the link is cut", || {
            (source.say("CLIENT KILL TYPE replica").int() > 0).then_some(())
        });
        eventually("the link is up again", || is_up(&mut here));
    }
    let writes = writers.end();
    caught_up(&mut source, &mut here);
    let stats = source.say("INFO stats").text();
    assert!(stats.contains("sync_full:1\r\n"), "{stats}");
    assert!(!stats.contains("sync_partial_ok:0\r\n"), "{stats}");
    let began = Instant::now();
    assert_eq!(here.say("REPLICAOF NO ONE"), Value::ok());
    assert_eq!(here.say("SET after cut"), Value::ok());
    let cut = began.elapsed();
    assert_eq!(here.say("DEL after").int(), 1);
    println!("{writes} rounds of writes; cut over in {cut:?}");
    assert!(cut < Duration::from_secs(1), "{cut:?}");
    let counted = |wire: &mut Wire| -> Vec<String> {
        (0..6)
            .map(|n| wire.say(&format!("GET count:{n}")).text())
            .collect()
    };
    assert_eq!(counted(&mut source), counted(&mut here));
    // Whatever expires has gone on both by then.
    std::thread::sleep(Duration::from_millis(200));
    same(&mut source, &mut here);
    drop(here);
    server.kill9();
    let server = home.start();
    same(&mut source, &mut server.connect());
}

#[test]
fn a_source_that_comes_back_empty_is_followed_and_one_that_is_gone_is_waited_for() {
    let mut redis = Redis::with(&["--repl-diskless-sync-delay", "0"]);
    let home = home(2);
    let server = home.start();
    let mut here = server.connect();
    redis.connect().say("SET k v");
    follow(&mut here, redis.port());
    eventually("the link is up", || is_up(&mut here));
    assert_eq!(here.say("GET k").text(), "v");
    redis.end();
    eventually("the link is down", || {
        is_up(&mut here).is_none().then_some(())
    });
    assert_eq!(here.say("GET k").text(), "v", "stale, and served");
    assert_eq!(
        here.say("CONFIG SET replica-serve-stale-data no"),
        Value::ok()
    );
    let down = "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.";
    assert_eq!(here.say("GET k").text(), down);
    assert_eq!(here.say("PING").text(), down, "as in Redis");
    assert!(here.say("INFO replication").text().contains("role:slave"));
    redis.restart();
    redis.connect().say("SET other w");
    eventually("the link is up again", || is_up(&mut here));
    caught_up(&mut redis.connect(), &mut here);
    assert_eq!(here.say("GET other").text(), "w");
    assert_eq!(here.say("GET k"), Value::Null);
    // The source is gone for good: what is here is taken as it is.
    redis.end();
    eventually("the link is down", || {
        is_up(&mut here).is_none().then_some(())
    });
    assert_eq!(here.say("REPLICAOF NO ONE"), Value::ok());
    assert_eq!(here.say("GET other").text(), "w");
    assert_eq!(here.say("SET other mine"), Value::ok());
}

#[test]
fn passwords_and_certificates_have_to_fit_and_what_is_here_stays_until_they_do() {
    let redis = Redis::with(&["--requirepass", "secret", "--repl-diskless-sync-delay", "0"]);
    let mut home = home(1);
    let stranger = Authority::new("another authority");
    let elsewhere = home.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).expect("a directory");
    let identity = stranger.server();
    let files = certs::write(&elsewhere, &stranger, &identity);
    home.text("replication.ca_file", files.ca.to_str().expect("a path"));
    let server = home.start();
    let mut here = server.connect();
    here.say("SET mine stays");
    let trouble = |here: &mut Wire, words: &str| {
        eventually(words, || {
            told(here, "follow_trouble").contains(words).then_some(())
        });
        assert_eq!(here.say("GET mine").text(), "stays");
    };
    follow(&mut here, redis.port());
    trouble(&mut here, "certificate");
    assert_eq!(
        here.say("SET mine not").text().split(' ').next(),
        Some("READONLY")
    );
    assert_eq!(here.say("REPLICAOF NO ONE"), Value::ok());
    assert_eq!(here.say("GET mine").text(), "stays");
    drop(here);
    server.stop();

    home.text("replication.ca_file", "");
    let server = home.start();
    let mut here = server.connect();
    follow(&mut here, redis.port());
    trouble(&mut here, "asks for a password");
    here.say("CONFIG SET masterauth wrong");
    trouble(&mut here, "WRONGPASS");
    assert!(!home.log().contains("wrong\n"), "a password is not told");
    let shown = here.say("CONFIG GET masterauth");
    assert_eq!(shown.items()[1].text(), "(hidden)");
    let again = format!("REPLICAOF localhost {}", redis.port());
    assert_eq!(
        here.say(&again).text(),
        "OK Already connected to specified master"
    );
    // A user of its own, as one would make it for this.
    let mut source = redis.connect();
    source.say("AUTH secret");
    source.say("ACL SETUSER mover on >moving +psync +replconf +ping");
    source.say("SET theirs v");
    here.say("CONFIG SET masteruser mover masterauth moving");
    eventually("the link is up", || is_up(&mut here));
    assert_eq!(here.say("GET mine"), Value::Null);
    assert_eq!(here.say("GET theirs").text(), "v");
    // What is no Redis is not taken for one.
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for mut socket in listener.incoming().flatten() {
            let _ = socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    follow(&mut here, port);
    eventually("TLS fails", || {
        told(&mut here, "follow_trouble")
            .contains("TLS failed")
            .then_some(())
    });
    assert_eq!(here.say("GET theirs").text(), "v");
}

/// The least file there is.
const EMPTY_COPY: &[u8] = b"REDIS0010\xff\0\0\0\0\0\0\0\0";
const REPLID: &str = "0123456789abcdef0123456789abcdef01234567";

/// A master of the test's own, which says what it is told to.
struct Master {
    listener: TcpListener,
    port: u16,
}

impl Master {
    fn new() -> Master {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        Master { listener, port }
    }

    /// Takes a replica's connection up to its PSYNC; what that asks for.
    fn greet(&self) -> (TcpStream, Vec<String>) {
        let (socket, _) = self.listener.accept().expect("a replica comes");
        let mut lines = BufReader::new(socket.try_clone().expect("a socket")).lines();
        let mut line = move || lines.next().expect("a line").expect("a line");
        loop {
            let n: usize = line()[1..].parse().expect("a number of words");
            let words: Vec<String> = (0..n)
                .map(|_| {
                    line();
                    line()
                })
                .collect();
            match words[0].as_str() {
                "PSYNC" => return (socket, words),
                "PING" => (&socket).write_all(b"+PONG\r\n").expect("it is read"),
                _ => (&socket).write_all(b"+OK\r\n").expect("it is read"),
            }
        }
    }

    /// The same, and an empty copy.
    fn serve(&self) -> TcpStream {
        let (mut socket, _) = self.greet();
        let head = format!("+FULLRESYNC {REPLID} 0\r\n${}\r\n", EMPTY_COPY.len());
        socket.write_all(head.as_bytes()).expect("it is read");
        socket.write_all(EMPTY_COPY).expect("it is read");
        socket
    }
}

/// A home that follows in the clear, as it says.
fn plain_home(shards: usize) -> Home {
    let mut home = home(shards);
    home.set("replication.tls", false);
    home
}

fn follow_plain(wire: &mut Wire, master: &Master) {
    let line = format!("REPLICAOF 127.0.0.1 {}", master.port);
    assert_eq!(wire.say(&line), Value::ok());
}

fn send(socket: &mut TcpStream, lines: &[&str]) {
    let mut bytes = Vec::new();
    for line in lines {
        let words: Vec<&str> = line.split(' ').collect();
        bytes.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
        for word in words {
            bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
        }
    }
    socket.write_all(&bytes).expect("it is read");
}

#[test]
fn nothing_goes_before_the_copy_has_begun_to_come() {
    let master = Master::new();
    let home = plain_home(2);
    let server = home.start();
    let mut here = server.connect();
    here.say("SET mine stays");
    follow_plain(&mut here, &master);
    let mut says = |what: &[u8], trouble: &str| {
        let (mut socket, _) = master.greet();
        socket.write_all(what).expect("it is read");
        drop(socket);
        eventually(trouble, || {
            told(&mut here, "follow_trouble")
                .contains(trouble)
                .then_some(())
        });
        assert_eq!(here.say("GET mine").text(), "stays");
    };
    says(
        b"-NOMASTERLINK Can't SYNC while not connected\r\n",
        "NOMASTERLINK",
    );
    says(b"+CONTINUE\r\n", "not known");
    let head = format!("+FULLRESYNC {REPLID} 0\r\n");
    says(head.as_bytes(), "closed the connection");
    says(&[head.as_bytes(), b"-ERR no room\r\n"].concat(), "no room");
    says(
        &[head.as_bytes(), b"\n\n$100\r\nREDIS0010"].concat(),
        "its copy",
    );
    says(
        &[head.as_bytes(), b"$100\r\nno file at all"].concat(),
        "no RDB file",
    );
    assert_eq!(here.say("REPLICAOF NO ONE"), Value::ok());
    assert_eq!(here.say("SET mine still"), Value::ok());
}

#[test]
fn a_part_of_a_copy_is_never_served_not_even_after_a_kill() {
    let master = Master::new();
    let mut home = plain_home(2);
    home.fsync("always");
    let server = home.start();
    let mut here = server.connect();
    here.say("SET mine goes");
    follow_plain(&mut here, &master);
    let (mut socket, _) = master.greet();
    // Two keys come, and what is behind them does not.
    let part = b"REDIS0010\xfe\0\0\x01a\x01b\0\x01c\x01d";
    let head = format!("+FULLRESYNC {REPLID} 0\r\n$1000\r\n");
    socket.write_all(head.as_bytes()).expect("it is read");
    socket.write_all(part).expect("it is read");
    eventually("it is closed", || {
        here.say("GET mine").is_error().then_some(())
    });
    let loading = "LOADING Redis is loading the dataset in memory";
    assert_eq!(here.say("GET a").text(), loading);
    assert_eq!(here.say("SET a x").text(), loading);
    assert!(
        here.say("INFO replication")
            .text()
            .contains("master_sync_in_progress:1")
    );
    let refused = here.say("REPLICAOF NO ONE").text();
    assert!(
        refused.contains("is not complete") && refused.contains("FOLLOW"),
        "{refused}"
    );
    assert_eq!(
        told(&mut here, "master_sync_in_progress"),
        "1",
        "it goes on"
    );
    drop(here);
    server.kill9();
    drop(socket);
    drop(master);

    let server = home.launch();
    // Until it has recovered it says the same, of another kind of loading.
    let mut here = eventually("it follows again", || {
        let mut wire = Wire::tls(home.port, home.client()).ok()?;
        let role = wire.try_call(&["ROLE"]).ok()?;
        (!role.is_error()).then_some(wire)
    });
    assert_eq!(here.say("GET a").text(), loading);
    assert!(here.say("REPLICAOF NO ONE").is_error());
    // With a master that gives all of it, it is whole.
    let master = Master::new();
    follow_plain(&mut here, &master);
    let mut socket = master.serve();
    send(&mut socket, &["SELECT 0", "SET whole yes"]);
    eventually("it has it", || {
        (here.say("GET whole") == Value::bulk("yes")).then_some(())
    });
    assert_eq!(here.say("DBSIZE").int(), 1);
    assert_eq!(here.say("REPLICAOF NO ONE"), Value::ok());
    assert_eq!(here.say("SET now writes"), Value::ok());
    drop(here);
    server.kill9();
    let server = home.start();
    assert_eq!(server.connect().say("DBSIZE").int(), 2);
}

#[test]
fn who_follows_comes_back_as_a_follower() {
    let redis = Redis::with(&["--repl-diskless-sync-delay", "0"]);
    let mut source = redis.connect();
    populate(&mut source);
    let home = home(2);
    let server = home.start();
    let mut here = server.connect();
    follow(&mut here, redis.port());
    eventually("the link is up", || is_up(&mut here));
    drop(here);
    let writers = Writers::start(&redis, 2);
    std::thread::sleep(Duration::from_millis(300));
    server.kill9();
    std::thread::sleep(Duration::from_millis(200));
    let server = home.start();
    let mut here = server.connect();
    assert_eq!(here.say("ROLE").items()[0].text(), "slave");
    assert!(here.say("SET x y").text().starts_with("READONLY"));
    eventually("the link is up", || is_up(&mut here));
    writers.end();
    caught_up(&mut source, &mut here);
    std::thread::sleep(Duration::from_millis(100));
    same(&mut source, &mut here);
    // An end in good order changes nothing of it.
    drop(here);
    server.stop();
    let server = home.start();
    let mut here = server.connect();
    eventually("the link is up", || is_up(&mut here));
    assert_eq!(here.say("GET count:0"), source.say("GET count:0"));
    // What the file names is followed from the start, but not again once that was ended.
    assert_eq!(here.say("REPLICAOF NO ONE"), Value::ok());
    drop(here);
    server.stop();
    let mut home = home;
    let named = format!("localhost {}", redis.port());
    home.text("replication.replicaof", &named);
    let server = home.start();
    let mut here = server.connect();
    assert_eq!(here.say("ROLE").items()[0].text(), "master");
    assert!(home.log().contains("not followed again"), "{}", home.log());
    assert_eq!(here.say("SET x y"), Value::ok());
    server.stop();
    std::fs::remove_file(home.data().join("FOLLOW")).expect("the note");
    let server = home.start();
    let mut here = server.connect();
    eventually("the link is up", || is_up(&mut here));
    assert_eq!(here.say("GET x"), Value::Null);
    assert_eq!(here.say("CONFIG GET replicaof").items()[1].text(), named);
}

#[test]
fn the_master_decides_when_a_key_goes() {
    let master = Master::new();
    let home = plain_home(2);
    let server = home.start();
    let mut here = server.connect();
    follow_plain(&mut here, &master);
    let mut socket = master.serve();
    eventually("the link is up", || is_up(&mut here));
    // It is past its time here before the command comes that gives it more, as behind a slow network.
    send(
        &mut socket,
        &[
            "SELECT 0",
            "SET kept v PXAT 1000",
            "HSET h f 1 g 2",
            "HPEXPIREAT h 1000 FIELDS 1 f",
            "SET gone v PXAT 1000",
            "SET mark 1",
        ],
    );
    eventually("it has it", || {
        (here.say("GET mark") == Value::bulk("1")).then_some(())
    });
    std::thread::sleep(Duration::from_millis(300));
    for line in ["GET kept", "HGET h f", "GET gone", "TTL kept", "RANDOMKEY"] {
        here.say(line);
    }
    assert_eq!(here.say("GET kept"), Value::Null);
    assert_eq!(here.say("HGETALL h").items().len(), 2);
    assert_eq!(here.say("KEYS *").items().len(), 2);
    send(
        &mut socket,
        &[
            "PERSIST kept",
            "HPERSIST h FIELDS 1 f",
            "DEL gone",
            "SET mark 2",
        ],
    );
    eventually("it has it", || {
        (here.say("GET mark") == Value::bulk("2")).then_some(())
    });
    assert_eq!(here.say("GET kept").text(), "v");
    assert_eq!(here.say("HGETALL h").items().len(), 4);
    assert_eq!(here.say("DBSIZE").int(), 3);
    // From the cut on it decides itself.
    send(&mut socket, &["SET past v PXAT 1000", "SET mark 3"]);
    eventually("it has it", || {
        (here.say("GET mark") == Value::bulk("3")).then_some(())
    });
    assert_eq!(here.say("DBSIZE").int(), 4);
    assert_eq!(here.say("REPLICAOF NO ONE"), Value::ok());
    eventually("it is gone", || {
        (here.say("DBSIZE").int() == 3).then_some(())
    });
}

#[test]
fn what_cannot_be_carried_out_is_not_passed_over() {
    let master = Master::new();
    let home = plain_home(2);
    let server = home.start();
    let mut here = server.connect();
    follow_plain(&mut here, &master);
    let mut socket = master.serve();
    eventually("the link is up", || is_up(&mut here));
    send(&mut socket, &["SELECT 0", "SET a 1"]);
    eventually("it has it", || {
        (here.say("GET a") == Value::bulk("1")).then_some(())
    });
    send(&mut socket, &["VADD vectors VALUES 1 1 x", "SET a 2"]);
    eventually("it is closed", || {
        here.say("GET a").is_error().then_some(())
    });
    let trouble = eventually("why is told", || {
        Some(told(&mut here, "follow_trouble")).filter(|why| !why.is_empty())
    });
    assert!(
        trouble.contains("'vadd'") && trouble.contains("unknown command"),
        "{trouble}"
    );
    let refused = here.say("REPLICAOF NO ONE").text();
    assert!(refused.contains("is not complete: 'vadd'"), "{refused}");
    // A copy mends it.
    let mut socket = master.serve();
    eventually("the link is up", || is_up(&mut here));
    // Half of a transaction that breaks off leaves nothing; the place is the one before it.
    send(&mut socket, &["SELECT 0", "SET b 1", "MULTI", "SET b 2"]);
    eventually("it has it", || {
        (here.say("GET b") == Value::bulk("1")).then_some(())
    });
    drop(socket);
    let (_socket, psync) = master.greet();
    let behind = "*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*3\r\n$3\r\nSET\r\n$1\r\nb\r\n$1\r\n1\r\n".len();
    assert_eq!(psync, ["PSYNC", REPLID, &(behind + 1).to_string()]);
    assert_eq!(here.say("GET b").text(), "1");
}

#[test]
fn a_follower_needs_to_know_whom_to_believe() {
    let mut home = home(1);
    home.text("tls.ca_file", "");
    let server = home.start();
    let mut here = server.connect();
    let refused = here.say("REPLICAOF 127.0.0.1 6379").text();
    assert!(
        refused.contains("replication.ca_file") && refused.contains("replication.tls = false"),
        "{refused}"
    );
    assert_eq!(here.say("SET a b"), Value::ok());
    for (line, error) in [
        ("REPLICAOF a b", "ERR Invalid master port"),
        ("REPLICAOF a 70000", "ERR Invalid master port"),
        (
            "SLAVEOF a",
            "ERR wrong number of arguments for 'slaveof' command",
        ),
    ] {
        assert_eq!(here.say(line).text(), error);
    }
    assert_eq!(here.say("SLAVEOF no one"), Value::ok());
    let psync = here.say("PSYNC ? -1").text();
    assert!(psync.contains("not available"), "{psync}");
}
