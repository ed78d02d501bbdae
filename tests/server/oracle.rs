//! What must be there after a crash: the writes that one connection sent to one shard, in order, with the moment
//! at which each was acknowledged.
//!
//! A connection's keys are its own, so the state that a crash leaves must be the state after some *prefix* of its
//! writes to that shard: nothing torn, nothing out of order, nothing invented. And that prefix must reach at least
//! as far as the acknowledgements bind the server.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::common::random::Random;
use crate::common::wire::{Value, Wire};

/// What a key holds, and whether it has an expiry (always far away, so that none comes true during a test).
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    pub value: Vec<u8>,
    pub expires: bool,
}

/// Keys and what they hold.
pub type State = BTreeMap<String, Held>;

/// One write as words of a command.
pub type Words = Vec<String>;

/// Applies one write of the kinds that [`random_write`] makes.
fn apply(state: &mut State, words: &Words) {
    let key = words[1].clone();
    let fresh = || Held {
        value: Vec::new(),
        expires: false,
    };
    match words[0].as_str() {
        "SET" => {
            let held = Held {
                value: words[2].clone().into_bytes(),
                expires: words.len() > 3,
            };
            state.insert(key, held);
        }
        "DEL" | "GETDEL" => {
            state.remove(&key);
        }
        "APPEND" => state
            .entry(key)
            .or_insert_with(fresh)
            .value
            .extend(words[2].bytes()),
        "SETRANGE" => {
            let at: usize = words[2].parse().expect("our own number");
            let held = state.entry(key).or_insert_with(fresh);
            let end = at + words[3].len();
            if held.value.len() < end {
                held.value.resize(end, 0);
            }
            held.value[at..end].copy_from_slice(words[3].as_bytes());
        }
        "INCRBY" => {
            let held = state.entry(key).or_insert_with(fresh);
            let old: i64 = match held.value.is_empty() {
                true => 0,
                false => String::from_utf8_lossy(&held.value)
                    .parse()
                    .expect("a counter"),
            };
            let by: i64 = words[2].parse().expect("our own number");
            held.value = (old + by).to_string().into_bytes();
        }
        "EXPIRE" => {
            if let Some(held) = state.get_mut(&key) {
                held.expires = true;
            }
        }
        "PERSIST" => {
            if let Some(held) = state.get_mut(&key) {
                held.expires = false;
            }
        }
        other => unreachable!("{other} is not one of our writes"),
    }
}

/// A write to one of the connection's keys below `prefix`; `unique` makes its value one of a kind.
pub fn random_write(random: &mut Random, prefix: &str, unique: &str) -> Words {
    let key = format!("{prefix}:{}", random.below(12));
    let counter = format!("{prefix}:n");
    let words: Vec<&str> = match random.below(12) {
        0..=3 => vec!["SET", &key, unique],
        4 => vec!["SET", &key, unique, "EX", "100000"],
        5 => vec!["DEL", &key],
        6 => vec!["APPEND", &key, unique],
        7 => vec!["SETRANGE", &key, "3", unique],
        8 => vec!["INCRBY", &counter, "7"],
        9 => vec!["EXPIRE", &key, "90000"],
        10 => vec!["PERSIST", &key],
        _ => vec!["GETDEL", &key],
    };
    let mut words: Words = words.into_iter().map(str::to_owned).collect();
    // Now and then a value that spans frames, and one that spans a segment's smaller parts.
    if words[0] == "SET" && words.len() == 3 {
        match random.below(200) {
            0 => words[2].push_str(&"L".repeat(120_000)),
            1..=8 => words[2].push_str(&"m".repeat(5_000)),
            _ => {}
        }
    }
    words
}

/// Acknowledged writes that a crash took.
#[derive(Default)]
pub struct Loss {
    pub writes: usize,
    /// When the oldest of them was acknowledged.
    pub oldest: Option<Instant>,
}

impl Loss {
    /// One more, acknowledged at this moment.
    pub fn note(&mut self, acknowledged: Instant) {
        self.writes += 1;
        self.oldest = Some(self.oldest.map_or(acknowledged, |o| o.min(acknowledged)));
    }
}

/// The writes of one connection to the keys below one prefix, which all live on one shard.
pub struct Journal {
    pub prefix: String,
    /// What was there before the first write.
    base: State,
    writes: Vec<Words>,
    /// When each of the first writes was acknowledged.
    acked: Vec<Instant>,
}

impl Journal {
    /// Nothing written, nothing there.
    pub fn new(prefix: String) -> Journal {
        Journal {
            prefix,
            base: State::new(),
            writes: Vec::new(),
            acked: Vec::new(),
        }
    }

    /// A write is about to be sent.
    pub fn sent(&mut self, words: Words) {
        self.writes.push(words);
    }

    /// The oldest write not yet acknowledged has been.
    pub fn acknowledged(&mut self, at: Instant) {
        self.acked.push(at);
    }

    /// How many writes were acknowledged by `then`: what must not be lost.
    pub fn due(&self, then: Instant) -> usize {
        self.acked.iter().take_while(|&&at| at <= then).count()
    }

    /// Every key that was ever written here.
    fn keys(&self) -> Vec<String> {
        let mut keys: Vec<_> = self.base.keys().cloned().collect();
        keys.extend(self.writes.iter().map(|w| w[1].clone()));
        keys.sort();
        keys.dedup();
        keys
    }

    /// The least and the most writes after which the state is `found`, if there is such a prefix.
    fn prefixes(&self, found: &State) -> Option<(usize, usize)> {
        let mut state = self.base.clone();
        let mut wrong = self
            .keys()
            .iter()
            .filter(|&k| state.get(k) != found.get(k))
            .count();
        let mut matches = (wrong == 0).then_some((0, 0));
        for (n, words) in self.writes.iter().enumerate() {
            let key = &words[1];
            let was = state.get(key) != found.get(key);
            apply(&mut state, words);
            let is = state.get(key) != found.get(key);
            wrong = wrong + usize::from(is) - usize::from(was);
            if wrong == 0 {
                let least = matches.map_or(n + 1, |(least, _)| least);
                matches = Some((least, n + 1));
            }
        }
        matches
    }

    /// Reads what is there now and holds it against the journal: it must be a prefix of at least `due` writes.
    /// Then what is there becomes the base of the next round. Notes which acknowledged writes were lost.
    #[track_caller]
    pub fn settle(&mut self, wire: &mut Wire, due: usize, loss: &mut Loss) {
        let found = read(wire, &self.keys());
        let Some((_, most)) = self.prefixes(&found) else {
            panic!(
                "{}: what is there is no prefix of what was written\n{}",
                self.prefix,
                self.explain(&found)
            );
        };
        assert!(
            most >= due,
            "{}: only {most} of {} writes are there, but {due} were acknowledged in time ({} in all)\nfirst lost: {:?}",
            self.prefix,
            self.writes.len(),
            self.acked.len(),
            short(&self.writes[most])
        );
        self.acked.iter().skip(most).for_each(|&at| loss.note(at));
        self.base = found;
        self.writes.clear();
        self.acked.clear();
    }

    /// The keys on which the state after all acknowledged writes differs from what was found.
    fn explain(&self, found: &State) -> String {
        let mut state = self.base.clone();
        for words in &self.writes[..self.acked.len()] {
            apply(&mut state, words);
        }
        let mut out = format!(
            "{} sent, {} acknowledged; found against expected after the acknowledged:\n",
            self.writes.len(),
            self.acked.len()
        );
        for key in self.keys() {
            if state.get(&key) != found.get(&key) {
                let show = |h: Option<&Held>| {
                    h.map_or("nothing".into(), |h| {
                        let text = String::from_utf8_lossy(&h.value);
                        let end = text.char_indices().nth(60).map_or(text.len(), |(i, _)| i);
                        format!(
                            "{:?} ({} B, expires {})",
                            &text[..end],
                            h.value.len(),
                            h.expires
                        )
                    })
                };
                out.push_str(&format!(
                    "  {key}: {} against {}\n",
                    show(found.get(&key)),
                    show(state.get(&key))
                ));
                for (n, w) in self.writes.iter().enumerate().filter(|(_, w)| w[1] == key) {
                    out.push_str(&format!("      write {n}: {:?}\n", short(w)));
                }
            }
        }
        out
    }
}

fn short(words: &Words) -> Vec<String> {
    words.iter().map(|w| w.chars().take(40).collect()).collect()
}

/// What the server holds under these keys.
#[track_caller]
pub fn read(wire: &mut Wire, keys: &[String]) -> State {
    let mut state = State::new();
    for chunk in keys.chunks(64) {
        let mut bytes = Vec::new();
        for key in chunk {
            bytes.extend(crate::common::wire::command(&["GET", key]));
            bytes.extend(crate::common::wire::command(&["PTTL", key]));
        }
        wire.send(&bytes).expect("the server takes it");
        for key in chunk {
            let value = wire.reply().expect("a reply");
            let ttl = wire.reply().expect("a reply").int();
            match value {
                Value::Null => assert_eq!(ttl, -2, "{key} is not there and has an expiry"),
                Value::Bulk(value) => {
                    assert_ne!(ttl, -2, "{key} is there and has no entry");
                    state.insert(
                        key.clone(),
                        Held {
                            value,
                            expires: ttl >= 0,
                        },
                    );
                }
                other => panic!("GET {key}: {other:?}"),
            }
        }
    }
    state
}

#[test]
fn the_oracle_itself_tells_a_prefix_from_anything_else() {
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Words>();
    let mut journal = Journal::new("p".into());
    for line in [
        "SET p:1 a",
        "SET p:2 b",
        "APPEND p:1 c",
        "DEL p:9",
        "INCRBY p:n 7",
        "INCRBY p:n 7",
    ] {
        journal.sent(words(line));
    }
    let after = |n: usize| {
        let mut state = State::new();
        journal.writes[..n]
            .iter()
            .for_each(|w| apply(&mut state, w));
        state
    };
    assert_eq!(journal.prefixes(&State::new()), Some((0, 0)));
    assert_eq!(
        journal.prefixes(&after(3)),
        Some((3, 4)),
        "the DEL changes nothing"
    );
    assert_eq!(journal.prefixes(&after(6)), Some((6, 6)));
    let mut torn = after(6);
    torn.insert(
        "p:2".into(),
        Held {
            value: b"x".to_vec(),
            expires: false,
        },
    );
    assert_eq!(journal.prefixes(&torn), None);
    let mut reordered = after(1);
    reordered.insert(
        "p:n".into(),
        Held {
            value: b"7".to_vec(),
            expires: false,
        },
    );
    assert_eq!(
        journal.prefixes(&reordered),
        None,
        "a later write without an earlier one"
    );
}
