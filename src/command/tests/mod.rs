//! What the commands promise, tried through the same door as clients use: bytes or arguments in, bytes
//! out.
//!
//! `transcript` holds them to Redis's replies, written down; `redis` and `random` to a running Redis,
//! where there is one; `laws` to what has to hold for any request.

mod bits;
// It is acl's proof, which stands above this module, made with what the tests here have.
#[path = "../../acl/bypass.rs"]
mod bypass;
mod databases;
mod docs;
mod dump;
mod geo;
mod hashes;
mod keys;
mod laws;
mod list;
mod random;
mod redis;
mod removals;
mod sorting;
mod streams;
mod transcript;
mod walks;
mod written;
mod zset;

use super::{Ctx, Error, Route, Run, SessionCmd, resolve, run};
use crate::resp::{Arg, Limits, Parser, Proto, Reply, Step};
use crate::shard::{Keyspace, Ms};
use crate::slot;
use std::time::{SystemTime, UNIX_EPOCH};

/// Ferrite without its sockets: what the session does with data commands, and no more.
struct Local {
    ks: Keyspace,
    db: u16,
    proto: Proto,
    /// The time in Unix milliseconds, if it is not the real one.
    clock: Option<Ms>,
    max_string: usize,
    /// What each shard has logged, and whether that is kept.
    log: [Vec<u8>; SHARDS],
    keep_log: bool,
}

const DATABASES: u16 = 16;
const SHARDS: usize = 3;

impl Local {
    fn new() -> Local {
        let map = slot::Map::new(SHARDS);
        let mut ks = Keyspace::new(map, 7, DATABASES);
        for id in 0..SHARDS {
            let shard = ks.make_shard(id);
            ks.put(shard);
        }
        Local {
            ks,
            db: 0,
            proto: Proto::Resp2,
            clock: None,
            max_string: 512 << 20,
            log: Default::default(),
            keep_log: false,
        }
    }

    fn ask(&mut self, args: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        let now_us = match self.clock {
            Some(ms) => ms * 1000,
            None => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap()
                .as_micros() as u64,
        };
        let mut reply = Reply {
            buf: &mut out,
            proto: self.proto,
        };
        let row = match resolve(args) {
            Ok((row, _)) => row,
            Err(e) => {
                e.write(&mut reply);
                return out;
            }
        };
        let f = match row.run {
            Run::Data(f) => f,
            Run::Session(SessionCmd::Select) => {
                self.db = str::from_utf8(args[1]).unwrap().parse().unwrap();
                reply.ok();
                return out;
            }
            _ => panic!("{} is not for this test", row.name),
        };
        // As the session does, which needs the key before to find its shard.
        let first = (row.route == Route::Key).then(|| self.ks.key(self.db, args[1]));
        let mut ctx = Ctx {
            ks: &mut self.ks,
            db: self.db,
            databases: DATABASES,
            now: now_us / 1000,
            now_us,
            random: now_us,
            first,
            may_wait: false,
            wait: None,
            max_string: self.max_string,
            reply,
        };
        let _: Result<(), Error> = run(f, &mut ctx, args);
        for shard in self.ks.present() {
            if self.keep_log {
                self.log[shard.id].extend_from_slice(&shard.effects.buf);
            }
            shard.effects.clear();
        }
        out
    }

    fn raw(&mut self, input: &[u8]) -> (Vec<u8>, bool) {
        let mut buf = input.to_vec();
        let (mut pos, mut out) = (0, Vec::new());
        let mut parser = Parser::default();
        loop {
            let mut args: Vec<Arg> = Vec::new();
            match parser.step(&mut buf, &mut pos, &mut args, &Limits::default()) {
                Step::Command => {
                    let args: Vec<&[u8]> = args.iter().map(|a| a.of(&buf)).collect();
                    out.extend(self.ask(&args));
                }
                Step::NeedMore => return (out, false),
                Step::Fault(fault) => {
                    fault.write(&mut Reply {
                        buf: &mut out,
                        proto: self.proto,
                    });
                    return (out, true);
                }
            }
        }
    }
}

fn encode(args: &[&[u8]]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        out.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// Where the reply that starts at `at` ends; `None` if it is not all there.
fn reply_len(buf: &[u8], at: usize) -> Option<usize> {
    let line = buf.get(at..)?.windows(2).position(|w| w == b"\r\n")?;
    let mut next = at + line + 2;
    let text = str::from_utf8(&buf[at + 1..at + line]).ok();
    let n = text.and_then(|t| t.parse::<i64>().ok());
    match buf[at] {
        b'$' | b'=' => match n? {
            -1 => Some(next),
            n => (next + n as usize + 2 <= buf.len()).then_some(next + n as usize + 2),
        },
        kind @ (b'*' | b'~' | b'>' | b'%') => {
            let n = n?.max(0) * if kind == b'%' { 2 } else { 1 };
            for _ in 0..n {
                next = reply_len(buf, next)?;
            }
            Some(next)
        }
        _ => Some(next),
    }
}

/// The words of a script's line.
fn words(line: &str) -> Vec<Vec<u8>> {
    let mut buf = format!("{line}\r\n").into_bytes();
    let (mut pos, mut args) = (0, Vec::new());
    let step = Parser::default().step(&mut buf, &mut pos, &mut args, &Limits::default());
    assert_eq!(step, Step::Command, "{line}");
    args.iter().map(|a| a.of(&buf).to_vec()).collect()
}

/// Whether two replies are the same, but for what may differ: the order of KEYS, and the milliseconds
/// that pass between two clocks.
fn agree(args: &[Vec<u8>], ours: &[u8], theirs: &[u8]) -> bool {
    if ours == theirs {
        return true;
    }
    let int = |r: &[u8]| {
        let text = str::from_utf8(r).ok()?;
        text.strip_prefix(':')?.trim_end().parse::<i64>().ok()
    };
    match args[0].to_ascii_lowercase().as_slice() {
        b"ttl" | b"expiretime" => match (int(ours), int(theirs)) {
            (Some(a), Some(b)) => a > 0 && b > 0 && (a - b).abs() <= 1,
            _ => false,
        },
        b"pttl" | b"pexpiretime" => match (int(ours), int(theirs)) {
            (Some(a), Some(b)) => a > 0 && b > 0 && (a - b).abs() <= 1000,
            _ => false,
        },
        b"keys" => {
            let sorted = |r: &[u8]| {
                let mut items = Vec::new();
                let mut at = r.windows(2).position(|w| w == b"\r\n").unwrap() + 2;
                while let Some(end) = reply_len(r, at) {
                    items.push(r[at..end].to_vec());
                    at = end;
                }
                items.sort();
                items
            };
            ours.len() == theirs.len() && sorted(ours) == sorted(theirs)
        }
        _ => false,
    }
}

fn show(args: &[Vec<u8>]) -> String {
    let words: Vec<String> = args.iter().map(|a| a.escape_ascii().to_string()).collect();
    words.join(" ")
}

/// A small generator, so that a printed seed repeats a run (SplitMix64).
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}
