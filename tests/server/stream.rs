//! A stream of random commands on strings and keys: right ones and wrong ones, with values at the edges of numbers,
//! such as have the same answer from every server that is right. Expiries lie in the past or far away, so that no
//! answer depends on the moment.

use crate::common::random::Random;

/// A command's words.
pub type Words = Vec<Vec<u8>>;

/// How two replies are compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Match {
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

/// Makes random commands over a few keys.
pub struct Maker {
    random: Random,
    now: u64,
}

impl Maker {
    /// A maker for a time (seconds since 1970) from which absolute expiries are counted.
    pub fn new(random: Random, now: u64) -> Maker {
        Maker { random, now }
    }

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
    pub fn command(&mut self) -> (Words, Match) {
        let exact = |words: Words| (words, Match::Exact);
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
                    // Relative times are compared with what another millisecond made of the same
                    // words, on each server another; absolute ones are the same on both.
                    let conditions: &[&str] = match name.ends_with("AT") {
                        true => &["NX", "XX", "GT", "LT", "gt", "zz"],
                        false => &["NX", "XX", "zz"],
                    };
                    words.push(w(self.random.pick(conditions)));
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
            // DBSIZE counts keys whose time has come until they are met, which each server does in
            // its own time; KEYS does not.
            50 => (vec![w("KEYS"), w("*")], Match::AnyOrder),
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
