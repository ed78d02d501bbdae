//! Shards written out slot by slot while commands run, and made again from that and the log: nothing is lost, nothing
//! is done twice.

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::shard::{Object, Owned, Pace, Scribe, pick};

const START: Ms = 1_700_000_000_000;

/// Crowded slots: more keys in each than are written in one go.
const TAGS: [&str; 4] = ["{a}", "{b}", "{c}", "{user1000}"];

/// One shard's log, by unit.
#[derive(Default)]
struct Log {
    units: Vec<Vec<u8>>,
}

/// A part of a checkpoint: its effects, and by slot the unit from which on the log is needed.
struct Part {
    scribe: Scribe,
    made: Vec<u8>,
    below: Vec<Option<usize>>,
}

impl Part {
    fn new(local: &mut Local, id: usize) -> Part {
        Part {
            scribe: Scribe::new(local.ks.shard(id)),
            made: Vec::new(),
            below: vec![None; usize::from(slot::SLOTS)],
        }
    }

    fn write(&mut self, local: &mut Local, id: usize, bytes: usize, logged: usize) {
        let pace = Pace {
            bite: 1,
            bytes,
            time: Duration::from_secs(60),
        };
        let now = local.clock.unwrap();
        let ended = self.scribe.write(&mut local.ks, id, pace, now);
        self.made.append(&mut self.scribe.made.buf);
        self.scribe.made.clear();
        for slot in ended {
            assert_eq!(self.below[usize::from(slot)].replace(logged), None);
        }
    }
}

fn command(rng: &mut Rng) -> String {
    let key = format!("{}{}", TAGS[rng.below(TAGS.len())], rng.below(120));
    let (n, m) = (rng.below(1000), rng.below(20));
    match rng.below(24) {
        0..=3 => format!("SET s:{key} value:{n}"),
        4 => format!("SET s:{key} {n} PX {}", 1 + rng.below(4000)),
        5 => format!("INCRBY n:{key} {n}"),
        6 => format!("APPEND s:{key} +{n}"),
        7 => format!("SETRANGE s:{key} {m} {n}"),
        8 => format!("RPUSH l:{key} {n} {m}"),
        9 => format!("LPOP l:{key}"),
        10 => format!("HINCRBY h:{key} f{m} {n}"),
        11 => format!("HDEL h:{key} f{m}"),
        12 => format!("SADD e:{key} {n}"),
        13 => format!("SPOP e:{key}"),
        14 => format!("ZINCRBY z:{key} {n} m{m}"),
        15 => format!("ZPOPMIN z:{key}"),
        16 => format!("XADD x:{key} * f {n}"),
        17 => format!("DEL s:{key} l:{key} h:{key}"),
        18 => format!("PEXPIRE h:{key} {}", 1 + rng.below(8000)),
        19 => format!("RENAME s:{key} s:{}", rng.below(40)),
        20 => format!("PFADD p:{key} {n}"),
        21 => format!("SELECT {}", rng.below(3)),
        22 if n < 15 => "FLUSHDB".to_owned(),
        22 if n < 18 => "FLUSHALL".to_owned(),
        22 => format!("SETBIT b:{key} {n} 1"),
        _ => format!("GET s:{key}"),
    }
}

/// Long values, and small changes to them.
fn long(rng: &mut Rng) -> String {
    let key = format!("{}{}", TAGS[rng.below(TAGS.len())], rng.below(3));
    let head = ["SADD S:", "RPUSH L:", "ZADD Z:", "HSET H:", "PFADD P:"][rng.below(5)];
    let many = if rng.below(4) == 0 {
        3000
    } else {
        1 + rng.below(4)
    };
    let mut line = format!("{head}{key}");
    for _ in 0..many {
        let n = rng.below(1 << 20);
        line += &match head {
            "ZADD Z:" | "HSET H:" => format!(" {} m{n}", n % 1000),
            _ => format!(" member:{n}"),
        };
    }
    match rng.below(16) {
        0 => format!("DEL S:{key} L:{key}"),
        1 => format!("PEXPIRE Z:{key} {}", 1 + rng.below(4000)),
        2 => format!("RENAME H:{key} H:{key}"),
        3 => format!("LTRIM L:{key} 5 -7"),
        4 => format!("SPOP S:{key} 3"),
        5 => format!("HPEXPIRE H:{key} 500 FIELDS 1 1"),
        _ => line,
    }
}

fn step(local: &mut Local, rng: &mut Rng) {
    *local.clock.as_mut().unwrap() += rng.below(10) as Ms;
    if rng.below(60) == 0 {
        let (a, b) = (rng.below(3) as u16, rng.below(3) as u16);
        let now = local.clock.unwrap();
        for id in 0..SHARDS {
            let shard = local.ks.shard(id);
            shard.swap(a, b, now);
            local.log[id].append(&mut shard.effects.buf);
            shard.effects.clear();
        }
    } else if rng.below(50) == 0 {
        let name = format!("lib{}", rng.below(3));
        let code = format!("code {}", rng.below(100));
        let code = (rng.below(3) > 0).then_some(code.as_bytes());
        let shard = local.ks.shard(0);
        shard.set_library(name.as_bytes(), code);
        local.log[0].append(&mut shard.effects.buf);
        shard.effects.clear();
    } else {
        let line = match rng.below(3) {
            0 => long(rng),
            _ => command(rng),
        };
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        local.ask(&args);
    }
}

/// What a key is: an effect that makes it; of an object, which may lie in memory in several ways, the object itself.
type State = BTreeMap<Vec<u8>, (Vec<u8>, Option<Object>)>;

/// All there is of a shard.
fn all(ks: &mut Keyspace, id: usize, now: Ms) -> State {
    let mut scribe = Scribe::new(ks.shard(id));
    let pace = Pace {
        bite: usize::MAX,
        bytes: usize::MAX,
        time: Duration::MAX,
    };
    while !scribe.is_done() {
        scribe.write(ks, id, pace, now);
    }
    let mut again = Local::new();
    again.ks.shard(id).apply_all(&scribe.made.buf, now).unwrap();
    let mut state = State::new();
    for (name, code) in again.ks.shard(id).libraries() {
        state.insert([b"library:", name].concat(), (code.to_vec(), None));
    }
    for db in 0..DATABASES {
        let mut names = Vec::new();
        let shard = again.ks.shard(id);
        shard.for_each_key(db, now, |name, _| names.push(name.to_vec()));
        for name in names {
            let k = shard.key(db, &name);
            let dump = shard.dump(&k, now).unwrap();
            let (value, object) = match dump.value {
                Owned::Object(object) => (Vec::new(), Some(*object)),
                other => (format!("{other:?}").into_bytes(), None),
            };
            let value = [&value[..], format!(" {:?}", dump.expire).as_bytes()].concat();
            state.insert([&db.to_le_bytes()[..], &name].concat(), (value, object));
        }
    }
    state
}

#[test]
fn what_is_written_while_it_changes_and_the_log_after_it_are_the_shard() {
    let (mut overtaken, mut keys) = (0, 0);
    for seed in 1..=8 {
        let mut rng = Rng(seed);
        let mut local = Local {
            clock: Some(START),
            keep_log: true,
            ..Local::new()
        };
        let mut logs: [Log; SHARDS] = Default::default();
        let mut parts: Vec<Part> = Vec::new();
        for turn in 0..3000 {
            step(&mut local, &mut rng);
            for (id, log) in logs.iter_mut().enumerate() {
                let unit = std::mem::take(&mut local.log[id]);
                if let Some(part) = parts.get_mut(id) {
                    part.scribe.hear(&unit);
                }
                log.units.push(unit);
            }
            if turn == 1000 {
                parts = (0..SHARDS).map(|id| Part::new(&mut local, id)).collect();
            }
            for (id, part) in parts.iter_mut().enumerate() {
                if rng.below(6) == 0 && !part.scribe.is_done() {
                    part.write(&mut local, id, 1 + rng.below(100), logs[id].units.len());
                }
            }
        }
        let mut again = Local::new();
        let now = local.clock.unwrap();
        for (id, part) in parts.iter_mut().enumerate() {
            let logged = logs[id].units.len();
            while !part.scribe.is_done() {
                part.write(&mut local, id, usize::MAX, logged);
            }
            let shard = again.ks.shard(id);
            shard.apply_all(&part.made, START).unwrap();
            for (n, unit) in logs[id].units.iter().enumerate() {
                let lacks =
                    |slot: u16| part.below[usize::from(slot)].is_none_or(|below| n >= below);
                let mut rest = Vec::new();
                pick(unit, &lacks, &mut rest).unwrap();
                overtaken += usize::from(n > 1000 && rest.len() < unit.len());
                shard.apply_all(&rest, START).unwrap();
            }
            let (was, is) = (all(&mut local.ks, id, now), all(&mut again.ks, id, now));
            assert!(
                was == is,
                "seed {seed}, shard {id}: {:?}",
                was.keys()
                    .filter(|k| was.get(*k) != is.get(*k))
                    .map(|k| String::from_utf8_lossy(k))
                    .collect::<Vec<_>>()
            );
            keys += was.len();
        }
    }
    assert!(overtaken > 300 && keys > 2000, "{overtaken} {keys}");
}
