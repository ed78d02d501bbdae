//! The same random commands to redis-server 7.0 and to Ferrite, over TLS, reply for reply, with a restart of both in
//! the middle. Commands whose answers are free (order of KEYS, cursors) are brought into one form first; answers
//! that hold the time are compared as times.

use crate::common::peer::Redis;
use crate::common::random::Random;
use crate::common::server::Home;
use crate::common::wire::{Value, Wire, command};
use crate::stream::{Maker, Match, Words};

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
    let mut maker = Maker::new(Random::new(random.next()), now);
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
