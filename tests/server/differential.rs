//! The same random commands to redis-server 7.0 and to Ferrite, over TLS, reply for reply, with a restart of both in
//! the middle. Commands whose answers are free (order of KEYS, cursors) are brought into one form first; answers
//! that hold the time are compared as times.

use crate::common::peer::Redis;
use crate::common::random::Random;
use crate::common::server::Home;
use crate::common::wire::{Value, Wire, command};

type Words = Vec<Vec<u8>>;

/// How two replies are compared.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Match {
    Exact,
    /// Arrays in any order.
    AnyOrder,
    /// Integers that hold a time: equal when negative, else no further apart than this.
    Near(i64),
}

const KEYS: [&str; 14] = [
    "a",
    "b",
    "c",
    "dd",
    "key:1",
    "key:2",
    "key:3",
    "{x}1",
    "{x}2",
    "{y}1",
    "",
    "with space",
    "\u{1}bin\r\n",
    "longer-name-of-a-key",
];

struct Maker {
    random: Random,
    now: u64,
}

impl Maker {
    fn key(&mut self) -> Vec<u8> {
        KEYS[self.random.below(KEYS.len())].as_bytes().to_vec()
    }

    fn value(&mut self) -> Vec<u8> {
        match self.random.below(14) {
            0 => b"".to_vec(),
            1 => self.random.below(100).to_string().into_bytes(),
            2 => b"9223372036854775807".to_vec(),
            3 => b"-9223372036854775808".to_vec(),
            4 => b"9223372036854775808".to_vec(),
            5 => b"3.5".to_vec(),
            6 => b" 12".to_vec(),
            7 => b"012".to_vec(),
            8 => b"+5".to_vec(),
            9 => {
                let n = self.random.below(300);
                self.random.bytes(n)
            }
            10 => vec![b'z'; 10_000],
            _ => {
                let n = 1 + self.random.below(12);
                self.random.word(n).into_bytes()
            }
        }
    }

    fn number(&mut self) -> Vec<u8> {
        let words: [&str; 12] = [
            "0",
            "1",
            "-1",
            "7",
            "-3",
            "100",
            "9223372036854775807",
            "-9223372036854775808",
            "x",
            "1.5",
            "",
            "12345678901234567890",
        ];
        self.random.pick(&words).as_bytes().to_vec()
    }

    fn index(&mut self) -> Vec<u8> {
        let words: [&str; 10] = ["0", "1", "3", "-1", "-4", "100", "-100", "5", "2", "x"];
        self.random.pick(&words).as_bytes().to_vec()
    }

    /// A time to live that does not run out during the test, or one that has run out.
    fn ttl(&mut self, unit: &str) -> Vec<u8> {
        let millis = unit.to_ascii_uppercase().starts_with('P');
        let absolute = unit.to_ascii_uppercase().ends_with("AT");
        let mut seconds = 5_000 + self.random.below(5) as u64 * 1_000;
        if absolute {
            seconds += self.now;
        }
        let good = if millis { seconds * 1000 } else { seconds };
        match self.random.below(12) {
            0 => b"0".to_vec(),
            1 => b"-1".to_vec(),
            2 => b"abc".to_vec(),
            3 => b"9223372036854775807".to_vec(),
            4 if absolute => b"1".to_vec(),
            _ => good.to_string().into_bytes(),
        }
    }

    /// One command and how its reply is to be compared.
    fn command(&mut self) -> (Words, Match) {
        let mut exact = |words: Words| (words, Match::Exact);
        let w = |text: &str| text.as_bytes().to_vec();
        let pick = self.random.below(60);
        match pick {
            0..=7 => {
                let mut words = vec![w("SET"), self.key(), self.value()];
                for _ in 0..self.random.below(3) {
                    match self.random.below(10) {
                        0 => words.push(w("NX")),
                        1 => words.push(w("XX")),
                        2 => words.push(w("GET")),
                        3 => words.push(w("KEEPTTL")),
                        4 => words.push(w("nonsense")),
                        _ => {
                            let unit = self.random.pick(&["EX", "px", "EXAT", "PXAT"]).to_owned();
                            let ttl = self.ttl(&unit);
                            words.extend([w(&unit), ttl]);
                        }
                    }
                }
                exact(words)
            }
            8..=11 => exact(vec![w("GET"), self.key()]),
            12 => exact(vec![w("GETSET"), self.key(), self.value()]),
            13 => exact(vec![w("GETDEL"), self.key()]),
            14 => {
                let mut words = vec![w("GETEX"), self.key()];
                match self.random.below(4) {
                    0 => words.push(w("PERSIST")),
                    1 => words.push(w("EX")),
                    2 => {}
                    _ => {
                        let unit = self.random.pick(&["EX", "PX", "EXAT", "PXAT"]).to_owned();
                        let ttl = self.ttl(&unit);
                        words.extend([w(&unit), ttl]);
                    }
                }
                exact(words)
            }
            15 => exact(vec![w("SETNX"), self.key(), self.value()]),
            16 => exact(vec![w("SETEX"), self.key(), self.ttl("EX"), self.value()]),
            17 => exact(vec![w("PSETEX"), self.key(), self.ttl("PX"), self.value()]),
            18 | 19 => {
                let mut words = vec![w(self.random.pick(&["MSET", "MSETNX"]))];
                for _ in 0..1 + self.random.below(4) {
                    words.extend([self.key(), self.value()]);
                }
                if self.random.below(10) == 0 {
                    words.pop();
                }
                exact(words)
            }
            20 | 21 => {
                let n = 1 + self.random.below(6);
                let words = std::iter::once(w("MGET"))
                    .chain((0..n).map(|_| self.key()))
                    .collect();
                exact(words)
            }
            22 | 23 => exact(vec![w("APPEND"), self.key(), self.value()]),
            24 => exact(vec![w("STRLEN"), self.key()]),
            25 => exact(vec![w("SETRANGE"), self.key(), self.index(), self.value()]),
            26 => exact(vec![
                w(self.random.pick(&["GETRANGE", "SUBSTR"])),
                self.key(),
                self.index(),
                self.index(),
            ]),
            27 | 28 => exact(vec![w(self.random.pick(&["INCR", "DECR"])), self.key()]),
            29 | 30 => exact(vec![
                w(self.random.pick(&["INCRBY", "DECRBY"])),
                self.key(),
                self.number(),
            ]),
            31 => {
                let by = w(self.random.pick(&[
                    "0.1", "-0.25", "1e3", "3", "x", "nan", "inf", "1.5e-5", "100.125",
                ]));
                exact(vec![w("INCRBYFLOAT"), self.key(), by])
            }
            32 => {
                let mut words = vec![w("LCS"), self.key(), self.key()];
                for _ in 0..self.random.below(3) {
                    let word = self
                        .random
                        .pick(&["LEN", "IDX", "WITHMATCHLEN", "MINMATCHLEN"])
                        .to_owned();
                    words.push(w(&word));
                    if word == "MINMATCHLEN" {
                        words.push(self.index());
                    }
                }
                exact(words)
            }
            33 | 34 => {
                let name = w(self.random.pick(&["DEL", "UNLINK", "EXISTS", "TOUCH"]));
                let n = 1 + self.random.below(4);
                let words = std::iter::once(name)
                    .chain((0..n).map(|_| self.key()))
                    .collect();
                exact(words)
            }
            35 => exact(vec![w("TYPE"), self.key()]),
            36 | 37 => exact(vec![
                w(self.random.pick(&["RENAME", "RENAMENX"])),
                self.key(),
                self.key(),
            ]),
            38 | 39 => {
                let mut words = vec![w("COPY"), self.key(), self.key()];
                for _ in 0..self.random.below(3) {
                    match self.random.below(4) {
                        0 | 1 => words.push(w("REPLACE")),
                        2 => words
                            .extend([w("DB"), w(self.random.pick(&["0", "1", "2", "99", "x"]))]),
                        _ => words.push(w("DB")),
                    }
                }
                exact(words)
            }
            40..=43 => {
                let name = self
                    .random
                    .pick(&["EXPIRE", "PEXPIRE", "EXPIREAT", "PEXPIREAT"])
                    .to_owned();
                let ttl = self.ttl(&name.replace("EXPIRE", "X"));
                let mut words = vec![w(&name), self.key(), ttl];
                for _ in 0..self.random.below(3) {
                    words.push(w(self.random.pick(&["NX", "XX", "GT", "LT", "gt", "zz"])));
                }
                exact(words)
            }
            44 => (vec![w("TTL"), self.key()], Match::Near(10)),
            45 => (vec![w("PTTL"), self.key()], Match::Near(10_000)),
            46 => (vec![w("EXPIRETIME"), self.key()], Match::Near(10)),
            47 => (vec![w("PEXPIRETIME"), self.key()], Match::Near(10_000)),
            48 => exact(vec![w("PERSIST"), self.key()]),
            49 => {
                let pattern = self
                    .random
                    .pick(&[
                        "*", "key:*", "?", "[a-c]", "{x}?", "nothing*", "*[^1]", "k\\ey:?",
                    ])
                    .to_owned();
                (vec![w("KEYS"), w(&pattern)], Match::AnyOrder)
            }
            50 => exact(vec![w("DBSIZE")]),
            51 => exact(vec![
                w("SELECT"),
                w(self.random.pick(&["0", "1", "2", "0", "16", "-1", "x"])),
            ]),
            52 => exact(vec![w("ECHO"), self.value()]),
            53 => match self.random.below(6) {
                0 => exact(vec![w("FLUSHDB")]),
                1 => exact(vec![
                    w("FLUSHALL"),
                    w(self.random.pick(&["ASYNC", "SYNC", "maybe"])),
                ]),
                2 => exact(vec![w("PING"), self.value()]),
                3 => exact(vec![w("OBJECT"), w("FREQ"), self.key()]),
                4 => exact(vec![w("NOSUCH"), self.value()]),
                _ => exact(vec![w("CLIENT"), w("GETNAME")]),
            },
            54 => {
                // Too few or too many words of something.
                let names: [&str; 16] = [
                    "SET", "GET", "MSET", "INCR", "EXPIRE", "RENAME", "DEL", "COPY", "SETRANGE",
                    "PING", "SELECT", "TTL", "LCS", "GETEX", "STRLEN", "PERSIST",
                ];
                let mut words = vec![w(self.random.pick(&names))];
                for _ in 0..self.random.below(6) {
                    words.push(self.value());
                }
                exact(words)
            }
            55 | 56 => exact(vec![w("MULTI")]),
            57 => exact(vec![w(self.random.pick(&["DISCARD", "EXEC", "UNWATCH"]))]),
            58 => exact(vec![w("EXEC")]),
            _ => exact(vec![w("WATCH"), self.key(), self.key()]),
        }
    }
}

/// A client's connection to both servers, and whether it is inside MULTI (as the replies tell).
struct Pair {
    theirs: Wire,
    ours: Wire,
    queued: Option<Vec<Match>>,
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Array(items) => {
            let mut items = items.clone();
            items.sort_by_key(|i| format!("{i:?}"));
            Value::Array(items)
        }
        other => other.clone(),
    }
}

fn agree(theirs: &Value, ours: &Value, how: Match) -> bool {
    match (how, theirs, ours) {
        (Match::Near(slack), Value::Int(a), Value::Int(b)) if *a >= 0 && *b >= 0 => {
            a.abs_diff(*b) <= slack as u64
        }
        (Match::AnyOrder, a, b) => sorted(a) == sorted(b),
        (_, a, b) => a == b,
    }
}

fn shown(words: &Words) -> String {
    let text: Vec<_> = words
        .iter()
        .map(|w| String::from_utf8_lossy(&w[..w.len().min(40)]).into_owned())
        .collect();
    format!("{text:?}")
}

impl Pair {
    /// Runs a batch of commands on both, pipelined, and compares.
    fn run(&mut self, batch: &[(Words, Match)], history: &mut Vec<String>) {
        let bytes: Vec<u8> = batch.iter().flat_map(|(words, _)| command(words)).collect();
        self.theirs.send(&bytes).expect("redis-server reads");
        self.ours.send(&bytes).expect("ferrite reads");
        for (words, how) in batch {
            let theirs = self.theirs.reply().expect("redis-server answers");
            let ours = match self.ours.reply() {
                Ok(value) => value,
                Err(e) => panic!("{}: {e}; redis-server says {theirs:?}", shown(words)),
            };
            history.push(format!("{} -> {}", shown(words), clip(&theirs)));
            let name = words[0].to_ascii_uppercase();
            let same = match (&self.queued, &name[..], &theirs, &ours) {
                (Some(hows), b"EXEC", Value::Array(a), Value::Array(b)) => {
                    a.len() == b.len()
                        && a.len() == hows.len()
                        && a.iter()
                            .zip(b)
                            .zip(hows)
                            .all(|((a, b), how)| agree(a, b, *how))
                }
                _ => agree(&theirs, &ours, *how),
            };
            if !same {
                let from = history.len().saturating_sub(25);
                panic!(
                    "after\n  {}\nredis-server says {}\nferrite says      {}",
                    history[from..].join("\n  "),
                    clip(&theirs),
                    clip(&ours)
                );
            }
            match (&name[..], &theirs) {
                (b"MULTI", Value::Simple(_)) => self.queued = Some(Vec::new()),
                (b"EXEC" | b"DISCARD", reply) if !matches!(reply, Value::Error(e) if e.contains("without MULTI") || e.contains("wrong number")) => {
                    self.queued = None
                }
                (_, Value::Simple(s)) if s == "QUEUED" => {
                    if let Some(hows) = &mut self.queued {
                        hows.push(*how);
                    }
                }
                _ => {}
            }
        }
    }
}

fn clip(value: &Value) -> String {
    let text = format!("{value:?}");
    let end = text.char_indices().nth(300).map_or(text.len(), |(i, _)| i);
    text[..end].to_owned()
}

fn pairs(redis: &Redis, server: &crate::common::server::Server<'_>) -> Vec<Pair> {
    let mut out: Vec<Pair> = (0..3)
        .map(|_| Pair {
            theirs: redis.connect(),
            ours: server.connect(),
            queued: None,
        })
        .collect();
    // One of them speaks RESP3. HELLO itself differs by name and version.
    assert!(matches!(out[2].theirs.say("HELLO 3"), Value::Map(_)));
    assert!(matches!(out[2].ours.say("HELLO 3"), Value::Map(_)));
    out
}

/// Everything there is, in all databases used.
fn whole_state(wire: &mut Wire) -> Vec<String> {
    let mut out = Vec::new();
    for db in 0..3 {
        assert_eq!(wire.say(&format!("SELECT {db}")), Value::ok());
        let mut keys: Vec<Vec<u8>> = wire
            .say("KEYS *")
            .items()
            .iter()
            .map(|k| match k {
                Value::Bulk(b) => b.clone(),
                other => panic!("KEYS: {other:?}"),
            })
            .collect();
        keys.sort();
        for key in keys {
            let value = wire.call(&[b"GET".as_slice(), &key]);
            // Absolute times are equal but for the moment at which each server took a relative one.
            let at = wire.call(&[b"EXPIRETIME".as_slice(), &key]).int();
            out.push(format!(
                "{db} {:?} = {value:?} until {}",
                String::from_utf8_lossy(&key),
                at / 60
            ));
        }
    }
    out
}

fn compare(shards: usize, crash: bool) {
    let mut random = Random::announced("differential");
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("after 1970")
        .as_secs();
    let mut maker = Maker {
        random: Random::new(random.next()),
        now,
    };
    let mut redis = Redis::start();
    let mut home = Home::new();
    home.shards(shards);
    let mut history = Vec::new();
    for part in 0..3 {
        let server = home.start();
        let mut pairs = pairs(&redis, &server);
        for _ in 0..120 {
            let n = 1 + random.below(40);
            let batch: Vec<_> = (0..n).map(|_| maker.command()).collect();
            let at = random.below(pairs.len());
            pairs[at].run(&batch, &mut history);
        }
        let mut end = (redis.connect(), server.connect());
        let (theirs, ours) = (whole_state(&mut end.0), whole_state(&mut end.1));
        assert_eq!(ours.len(), theirs.len(), "before restart {part}");
        drop(end);
        drop(pairs);
        redis.restart();
        if crash {
            // Past the window of everysec by far.
            std::thread::sleep(std::time::Duration::from_millis(800));
            server.kill9();
        } else {
            server.stop();
        }
        history.push(format!("--- restart {part} ---"));
    }
    let server = home.start();
    let theirs = near(whole_state(&mut redis.connect()));
    let ours = near(whole_state(&mut server.connect()));
    assert_eq!(ours, theirs, "the state at the end");
}

/// Drops the minute of expiry, which may differ by one; that both have one or neither was said by the replies.
fn near(state: Vec<String>) -> Vec<String> {
    state
        .into_iter()
        .map(|line| {
            let (rest, until) = line.rsplit_once(" until ").expect("our own form");
            format!(
                "{rest} {}",
                if until == "0" {
                    "forever"
                } else {
                    "for a time"
                }
            )
        })
        .collect()
}

#[test]
fn random_commands_with_one_shard() {
    compare(1, false);
}

#[test]
fn random_commands_with_two_shards() {
    compare(2, true);
}

#[test]
fn random_commands_with_four_shards() {
    compare(4, false);
}

#[test]
fn scans_find_what_redis_finds() {
    let redis = Redis::start();
    for shards in [1, 3] {
        let mut home = Home::new();
        home.shards(shards);
        let server = home.start();
        let (mut theirs, mut ours) = (redis.connect(), server.connect());
        for wire in [&mut theirs, &mut ours] {
            wire.say("FLUSHALL");
            for i in 0..700 {
                wire.say(&format!("SET scan:{i} {i}"));
            }
        }
        for options in [
            "",
            "MATCH scan:1*",
            "COUNT 7",
            "COUNT 1000 MATCH *9",
            "TYPE string",
            "TYPE list",
            "MATCH nothing",
        ] {
            let mut all = Vec::new();
            for wire in [&mut theirs, &mut ours] {
                let mut cursor = "0".to_owned();
                let mut found = Vec::new();
                for _ in 0..100_000 {
                    let page = wire.say(&format!("SCAN {cursor} {options}"));
                    cursor = page.items()[0].text();
                    found.extend(page.items()[1].items().iter().map(Value::text));
                    if cursor == "0" {
                        break;
                    }
                }
                assert_eq!(cursor, "0", "SCAN {options} ends");
                found.sort();
                found.dedup();
                all.push(found);
            }
            assert_eq!(all[1], all[0], "SCAN {options}");
        }
        for line in [
            "SCAN x",
            "SCAN 0 COUNT 0",
            "SCAN 0 COUNT x",
            "SCAN 0 MATCH",
            "SCAN 0 NONSENSE 1",
            "SCAN",
        ] {
            assert_eq!(ours.say(line), theirs.say(line), "{line}");
        }
    }
}

#[test]
fn encodings_are_those_of_redis() {
    let redis = Redis::start();
    let home = Home::new();
    let server = home.start();
    let (mut theirs, mut ours) = (redis.connect(), server.connect());
    let long = "x".repeat(45);
    for value in [
        "1",
        "-7",
        "9223372036854775807",
        "9223372036854775808",
        "01",
        "1.0",
        "abc",
        &long[1..],
        &long,
    ] {
        for wire in [&mut theirs, &mut ours] {
            wire.call(&["SET", "k", value]);
        }
        assert_eq!(
            ours.say("OBJECT ENCODING k"),
            theirs.say("OBJECT ENCODING k"),
            "{value}"
        );
        assert_eq!(ours.say("TYPE k"), theirs.say("TYPE k"));
    }
    for line in [
        "OBJECT ENCODING none",
        "OBJECT NONSENSE k",
        "OBJECT",
        "TYPE none",
    ] {
        assert_eq!(ours.say(line), theirs.say(line), "{line}");
    }
}
