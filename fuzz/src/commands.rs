//! The command layer: any stream of requests is answered, each with one well-formed reply, by a command that touches
//! only the shards its keys live on; reads and refusals change nothing; and the log makes the same keyspace again.
//!
//! The first byte sets the session: RESP3, and whether commands may wait. A
//! name of one byte that is no command's stands for the row of that number, so that a changed byte is another command.

use std::collections::BTreeMap;

use ferrite_server::command::{
    self, Command, Ctx, DataFn, Route, Run, SessionCmd, Wait, all, cursor_slot, flag, keys_of,
    keys_with_flags, makes_up_keys, resolve,
};
use ferrite_server::limits::Limits;
use ferrite_server::resp::{Parser, Proto, Reply, Step};
use ferrite_server::shard::kinds::Collection;
use ferrite_server::shard::kinds::hash::{self, Hash};
use ferrite_server::shard::{Dump, Effect, Effects, Keyspace, Ms, Object, Owned, records, split};
use ferrite_server::slot::Map;

const SHARDS: usize = 3;
const DATABASES: u16 = 4;
const START: Ms = 1_700_000_000_000;
/// More than this is not tried of one input: time is better spent on the next.
const REQUESTS: usize = 200;
const REPLIES: usize = 4 << 20;
/// Strings are kept short, since LCS takes the product of two of them.
const MAX_STRING: usize = 2 << 10;

/// All that lives: database and key, then value and expiry.
type Content = BTreeMap<(u16, Vec<u8>), (Living, Option<Ms>)>;

/// A value, to compare with another.
#[derive(Debug, PartialEq)]
enum Living {
    Value(Owned),
    /// A stream, as XINFO tells it, but for when its consumers asked last: that alone is not logged.
    Stream(String),
}

fn stream(ks: &mut Keyspace, db: u16, name: &[u8], now: Ms) -> Living {
    let args: [&[u8]; 6] = [b"XINFO", b"STREAM", name, b"FULL", b"COUNT", b"0"];
    let Ok((row, _)) = resolve(&args) else {
        panic!("XINFO is gone");
    };
    let Run::Data(f) = row.run else {
        panic!("XINFO is no data command");
    };
    let mut out = Vec::new();
    let mut ctx = Ctx {
        ks,
        db,
        databases: DATABASES,
        now,
        now_us: now * 1000,
        random: 0,
        first: None,
        may_wait: false,
        wait: None,
        max_string: MAX_STRING,
        reply: Reply {
            buf: &mut out,
            proto: Proto::Resp2,
        },
    };
    let _ = command::run(f, &mut ctx, &args);
    let mut lines = out.split(|&b| b == b'\n');
    let mut told = String::new();
    while let Some(line) = lines.next() {
        if line.starts_with(b"seen-time") {
            lines.next();
        }
        told += &format!("{}\n", line.escape_ascii());
    }
    Living::Stream(told)
}

fn keyspace(shards: usize) -> Keyspace {
    let mut ks = Keyspace::new(Map::new(shards), 7, DATABASES);
    for id in 0..shards {
        let shard = ks.make_shard(id);
        ks.put(shard);
    }
    ks
}

fn content(ks: &mut Keyspace, now: Ms) -> Content {
    let mut names = Vec::new();
    for shard in ks.present() {
        for db in 0..DATABASES {
            shard.for_each_key(db, now, |name, _| names.push((db, name.to_vec())));
        }
    }
    let mut content = Content::new();
    for (db, name) in names {
        let k = ks.key(db, &name);
        let dump = ks.at(k.slot).dump(&k, now);
        let Dump { value, expire } = dump.expect("a key that was listed");
        let mut living = None;
        if let Owned::Object(object) = &value {
            let again = Object::decode(&object.encode());
            assert_eq!(again.as_ref(), Some(&**object), "an object's written form");
            if object.type_name() == "stream" {
                living = Some(stream(ks, db, &name, now));
            }
        }
        let living = living.unwrap_or(Living::Value(value));
        content.insert((db, name), (living, expire));
    }
    content
}

/// Ferrite without sockets and cores: what a core does with data commands.
struct Desk {
    ks: Keyspace,
    db: u16,
    proto: Proto,
    may_wait: bool,
    now: Ms,
    asked: u64,
    log: [Vec<u8>; SHARDS],
}

impl Desk {
    /// The shards a command needs, as a core finds them.
    fn needs(&self, row: &Command, args: &[&[u8]]) -> Vec<usize> {
        let owner = |i: usize| self.ks.owner(self.ks.key(self.db, args[i]).slot);
        match row.route {
            Route::Here => Vec::new(),
            Route::Key => vec![owner(1)],
            Route::All | Route::Script | Route::Libraries => (0..SHARDS).collect(),
            Route::Cursor => {
                let cursor = args.get(1).copied().unwrap_or_default();
                vec![self.ks.owner(cursor_slot(cursor))]
            }
            Route::Made if makes_up_keys(args) => (0..SHARDS).collect(),
            Route::Keys | Route::Made => {
                let mut indexes = Vec::new();
                match keys_of(row, args, &mut indexes) {
                    Ok(()) => indexes.into_iter().map(owner).collect(),
                    Err(_) => (0..SHARDS).collect(),
                }
            }
        }
    }

    fn run(
        &mut self,
        row: &Command,
        f: DataFn,
        args: &[&[u8]],
        may_wait: bool,
        out: &mut Vec<u8>,
    ) -> Option<Wait> {
        let first = (row.route == Route::Key).then(|| self.ks.key(self.db, args[1]));
        let reply = Reply {
            buf: out,
            proto: self.proto,
        };
        let mut ctx = Ctx {
            ks: &mut self.ks,
            db: self.db,
            databases: DATABASES,
            now: self.now,
            now_us: self.now * 1000,
            random: self.asked.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            first,
            may_wait,
            wait: None,
            max_string: MAX_STRING,
            reply,
        };
        let result = command::run(f, &mut ctx, args);
        ctx.wait.filter(|_| result.is_ok())
    }

    /// Carries out one request; tells how long the reply was.
    fn ask(&mut self, args: &[&[u8]]) -> usize {
        self.asked += 1;
        self.now += 7;
        let mut out = Vec::new();
        let row = match resolve(args) {
            Ok((row, _)) => row,
            Err(e) => {
                e.write(&mut Reply {
                    buf: &mut out,
                    proto: self.proto,
                });
                assert_eq!(reply_len(&out, 0), Some(out.len()), "{}", show(args));
                return out.len();
            }
        };
        let mut keys = Vec::new();
        keys_with_flags(row, args, &mut keys);
        assert!(keys.iter().all(|(i, _)| *i < args.len()), "{}", show(args));
        let f = match row.run {
            Run::Data(f) => f,
            Run::Session(SessionCmd::Select) => {
                let db = command::database(args[1], DATABASES);
                self.db = db.unwrap_or(self.db);
                return 0;
            }
            _ => return 0,
        };

        // What a command does not name is lent to others while it runs.
        let needs = self.needs(row, args);
        let away: Vec<_> = (0..SHARDS)
            .filter(|id| !needs.contains(id))
            .filter_map(|id| self.ks.take(id))
            .collect();
        let wait = self.run(row, f, args, self.may_wait, &mut out);
        if let Some(wait) = wait {
            assert!(out.is_empty(), "{} waits and answers", show(args));
            assert!(!wait.keys.is_empty() && wait.keys.iter().all(|&i| i < args.len()));
            let later: Vec<&[u8]> = match &wait.args {
                Some(later) => later.iter().map(Vec::as_slice).collect(),
                None => args.to_vec(),
            };
            self.run(row, f, &later, false, &mut out);
        }
        assert_eq!(reply_len(&out, 0), Some(out.len()), "{}", show(args));
        away.into_iter().for_each(|shard| self.ks.put(shard));

        let still = row.has(flag::READONLY) || out[0] == b'-';
        for shard in self.ks.present() {
            for effect in records(&shard.effects.buf) {
                let effect = effect.expect("what was just written");
                let allowed = !still || is_removal(&effect);
                assert!(allowed, "{} logged {effect:?}", show(args));
            }
            self.log[shard.id].extend_from_slice(&shard.effects.buf);
            shard.effects.clear();
            shard.sweep(2);
        }
        out.len()
    }

    /// The keyspace that the log makes, on another number of shards.
    fn again(&self) -> Keyspace {
        let mut ks = keyspace(SHARDS - 1);
        let mut parts = vec![Effects::default(); SHARDS - 1];
        for log in &self.log {
            split(log, &ks.map(), &mut parts).expect("what was just written");
        }
        for (id, part) in parts.iter().enumerate() {
            let applied = ks.shard(id).apply_all(&part.buf, self.now);
            applied.expect("what was just written");
        }
        ks
    }
}

/// Whether an effect may be of what had expired, which anybody may find and remove: keys, and fields of hashes.
fn is_removal(effect: &Effect<'_>) -> bool {
    match *effect {
        Effect::Del { .. } => true,
        Effect::Alter { kind, op, .. } => {
            kind == Hash::TAG && matches!(Hash::read_op(op), Some(hash::Op::Remove(_)))
        }
        _ => false,
    }
}

/// Where the reply that starts at `at` ends; `None` if it is not all there.
fn reply_len(buf: &[u8], at: usize) -> Option<usize> {
    let line = buf.get(at..)?.windows(2).position(|w| w == b"\r\n")?;
    let mut next = at + line + 2;
    let text = std::str::from_utf8(&buf[at + 1..at + line]).ok();
    let n = || text?.parse::<i64>().ok();
    match buf[at] {
        b'$' | b'=' => match n()? {
            -1 => Some(next),
            n => {
                let end = next + usize::try_from(n).ok()?;
                (buf.get(end..end + 2)? == b"\r\n").then_some(end + 2)
            }
        },
        kind @ (b'*' | b'~' | b'>' | b'%') => {
            for _ in 0..n()?.max(0) * if kind == b'%' { 2 } else { 1 } {
                next = reply_len(buf, next)?;
            }
            Some(next)
        }
        b':' => n().map(|_| next),
        b'+' | b'-' | b'_' | b'#' | b',' | b'(' => Some(next),
        _ => None,
    }
}

fn show(args: &[&[u8]]) -> String {
    let words: Vec<String> = args.iter().map(|a| a.escape_ascii().to_string()).collect();
    words.join(" ")
}

/// Where a stream of requests leads to.
fn serve(first: u8, input: &[u8]) -> Desk {
    let mut desk = Desk {
        ks: keyspace(SHARDS),
        db: 0,
        proto: if first & 1 == 1 {
            Proto::Resp3
        } else {
            Proto::Resp2
        },
        may_wait: first & 2 == 2,
        now: START,
        asked: 0,
        log: Default::default(),
    };
    let mut parser = Parser::default();
    let (mut buf, mut pos) = (input.to_vec(), 0);
    let (mut requests, mut replies) = (0, 0);
    while requests < REQUESTS && replies < REPLIES {
        let mut args = Vec::new();
        match parser.step(&mut buf, &mut pos, &mut args, &Limits::default()) {
            Step::Command => {}
            Step::NeedMore | Step::Fault(_) => break,
        }
        let mut args: Vec<&[u8]> = args.iter().map(|arg| arg.of(&buf)).collect();
        if let [n] = args[0] {
            let row = all().nth(usize::from(*n) % all().len()).expect("a row");
            args.splice(0..1, row.name.split('|').map(str::as_bytes));
        }
        requests += 1;
        replies += desk.ask(&args);
    }
    desk
}

/// What all shards log of an input.
pub(super) fn log_of(data: &[u8]) -> Vec<u8> {
    match data {
        [first, input @ ..] => serve(*first, input).log.concat(),
        [] => Vec::new(),
    }
}

/// One input.
pub fn check(data: &[u8]) {
    let [first, input @ ..] = data else { return };
    let mut desk = serve(*first, input);
    let now = desk.now;
    let mut again = desk.again();
    assert_eq!(content(&mut desk.ks, now), content(&mut again, now));
}
