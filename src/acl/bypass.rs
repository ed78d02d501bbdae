//! Nobody gets to a key that the rules deny: requests made from every row's own syntax, run where the rules allow them.
//!
//! What is looked at is what happens, not what a row says of its keys: a row that names a key wrongly, or not at all,
//! shows here as a value that came out or a key that has changed.

use super::redis::Redis;
use super::*;
use crate::acl::{self, User, Users};
use crate::command::docs::syntax::{Argument, What, parse};
use crate::command::{Command, all, flag, lookup};
use crate::shard::Owned;

const START: Ms = 1_700_000_000_000;
/// Keys that may be read, written, both, neither; one of each type under each prefix.
const PREFIXES: &[&str] = &["r", "w", "b", "x"];
const KINDS: &[&str] = &["string", "list", "hash", "set", "zset", "stream", "none"];

/// What stands in a key's values, and nowhere else.
fn canary(prefix: &str) -> String {
    format!("canary-{prefix}-yellow")
}

fn fill(local: &mut Local) {
    local.ask(&[b"FLUSHALL"]);
    for prefix in PREFIXES {
        let value = canary(prefix);
        for line in [
            format!("SET {prefix}string {value}"),
            format!("RPUSH {prefix}list {value} {value}2"),
            format!("HSET {prefix}hash f1 {value} f2 {value}2"),
            format!("SADD {prefix}set {value} {value}2"),
            format!("ZADD {prefix}zset 1 {value} 2 {value}2"),
            format!("XADD {prefix}stream 5-1 f {value}"),
            format!("XGROUP CREATE {prefix}stream g 0"),
        ] {
            local.ask(&words(&line).iter().map(Vec::as_slice).collect::<Vec<_>>());
        }
    }
}

/// A request of a row, as its syntax has it.
struct Maker<'r> {
    rng: &'r mut Rng,
    /// How many keys or fields were announced.
    announced: Option<usize>,
    /// How many streams are read: as many ids follow.
    streams: Option<usize>,
    args: Vec<Vec<u8>>,
}

impl Maker<'_> {
    fn all(&mut self, arguments: &[Argument]) {
        for argument in arguments {
            if !argument.optional || self.rng.below(2) == 0 {
                self.one(argument);
            }
        }
    }

    fn one(&mut self, argument: &Argument) {
        let times = match argument.multiple {
            true => self.announced.take().unwrap_or(1 + self.rng.below(2)),
            false => 1,
        };
        let reads = self.args[0].starts_with(b"xread") && argument.multiple;
        let times = match (&argument.what, self.streams) {
            (What::Value("id"), Some(streams)) if reads => streams,
            _ => times,
        };
        if reads && argument.what == What::Value("key") {
            self.streams = Some(times);
        }
        for n in 0..times {
            if let Some(token) = argument.token
                && (n == 0 || argument.token_again)
            {
                self.args.push(token.into());
            }
            match &argument.what {
                What::Token => {}
                What::OneOf(choices) => {
                    let at = self.rng.below(choices.len());
                    self.one(&choices[at]);
                }
                What::Block(parts) => self.all(parts),
                What::Value(name) => {
                    let value = self.value(name);
                    self.args.push(value);
                }
            }
        }
    }

    fn key(&mut self) -> Vec<u8> {
        let (prefix, kind) = (self.rng.pick(PREFIXES), self.rng.pick(KINDS));
        format!("{prefix}{kind}").into()
    }

    fn value(&mut self, name: &str) -> Vec<u8> {
        let text = match name {
            "numkeys" | "numfields" => {
                let n = 1 + self.rng.below(2);
                self.announced = Some(n);
                return n.to_string().into();
            }
            "group" => "g",
            "consumer" => "c",
            "field" => self.rng.pick(&["f", "f1", "f2"]),
            "score" | "weight" | "radius" | "width" | "height" | "longitude" | "latitude" => "1",
            "min" | "start" | "offset" => self.rng.pick(&["0", "-", "-inf"]),
            "max" | "stop" | "end" => self.rng.pick(&["-1", "+", "+inf"]),
            "id" | "last-id" => self.rng.pick(&["5-1", "0", "9-1", "$", ">"]),
            "count" | "index" | "increment" | "decrement" | "limit" | "bit" | "rank" => "1",
            "cursor" | "threshold" | "timeout" | "min-idle-time" | "db" | "destination-db" => "0",
            "seconds" | "milliseconds" => "1000000",
            "unix-time-seconds" => "1800000000",
            "unix-time-milliseconds" => "1800000000000",
            "encoding" => "u8",
            "pattern" => self.rng.pick(&["*", "x*", "xlist"]),
            "element" | "value" | "pivot" | "member" if self.rng.below(3) == 0 => "new",
            // None that a request is looked through for.
            "member" | "element" | "pivot" => &*canary(self.rng.pick(&["r", "b"])),
            "min-match-len" => "1",
            _ => return self.key(),
        };
        text.into()
    }
}

fn request(row: &Command, rng: &mut Rng) -> Vec<Vec<u8>> {
    let mut maker = Maker {
        rng,
        announced: None,
        streams: None,
        args: row.name.split('|').map(Vec::from).collect(),
    };
    maker.all(&parse(row.syntax).unwrap());
    maker.args
}

fn user(rules: &str) -> (Users, User) {
    let mut users = Users::new();
    let rules: Vec<&[u8]> = rules.split(' ').map(str::as_bytes).collect();
    users.set(b"u", &rules).unwrap();
    let user = User::clone(users.get(b"u").unwrap());
    (users, user)
}

/// What the keys of a prefix hold.
fn held(local: &mut Local, prefix: &str) -> Vec<Option<(Vec<u8>, Option<Ms>)>> {
    let mut held = Vec::new();
    for kind in KINDS {
        let name = format!("{prefix}{kind}");
        let k = local.ks.key(0, name.as_bytes());
        let dump = local.ks.at(k.slot).dump(&k, START);
        held.push(dump.map(|dump| {
            let value = match dump.value {
                Owned::Object(object) => object.encode(),
                Owned::Str(bytes) => bytes,
                Owned::Int(n) => n.to_string().into_bytes(),
            };
            (value, dump.expire)
        }));
    }
    held
}

#[test]
fn what_is_denied_is_neither_read_nor_changed_by_any_command() {
    let (_, user) = user("on nopass +@all %R~r* %W~w* ~b*");
    // What is about whole databases is denied by its category.
    let whole = |row: &Command| row.keys.is_empty() && row.has(flag::WRITE);
    let rows: Vec<(&Command, u16)> = all()
        .zip(0..)
        .filter(|(row, _)| matches!(row.run, Run::Data(_)) && !whole(row))
        .collect();
    let mut rng = Rng(2024);
    let mut local = Local {
        clock: Some(START),
        ..Local::new()
    };
    fill(&mut local);
    let before: Vec<_> = ["r", "x"].map(|p| held(&mut local, p)).into();
    let (mut allowed, mut denied, mut done) = (0, 0, 0);
    let mut seen = std::collections::BTreeSet::new();
    for step in 0..60_000 {
        let (row, number) = rows[step % rows.len()];
        let args = request(row, &mut rng);
        let refs: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        let Ok((found, id)) = resolve(&refs) else {
            continue;
        };
        assert_eq!((found.name, id), (row.name, number));
        let may = acl::check(&user, row, id, &refs).is_ok()
            && acl::sort_refusal(&user, row, id, &refs).is_none();
        if !may {
            denied += 1;
            continue;
        }
        allowed += 1;
        let reply = local.ask(&refs);
        let told = String::from_utf8_lossy(&reply);
        for prefix in ["w", "x"] {
            let value = canary(prefix);
            assert!(!told.contains(&value), "{}: {told}", show(&args));
        }
        if !told.starts_with('-') {
            done += 1;
            seen.insert(row.name);
        }
        // To read for a group is to read, though the group notes it: so it is in Redis.
        let noted = row.name == "xreadgroup";
        for (prefix, before) in ["r", "x"].iter().zip(&before) {
            if noted && *prefix == "r" {
                continue;
            }
            assert_eq!(&held(&mut local, prefix), before, "{}", show(&args));
        }
        if noted || step % 50 == 0 {
            fill(&mut local);
        }
    }
    assert!(allowed > 5000 && denied > 5000, "{allowed} {denied}");
    // Most were carried out, so that the test looked at something.
    assert!(done > 3000, "{done}");
    let unseen: Vec<&str> = rows
        .iter()
        .map(|(row, _)| row.name)
        .filter(|name| !seen.contains(name) && lookup(name.as_bytes()).is_some())
        .collect();
    assert!(unseen.len() < 60, "never carried out: {unseen:?}");
}

/// Random rules and requests, on a Redis and here: who may do what is the same.
#[test]
fn dryrun_agrees_with_redis_for_every_command() {
    let Some(mut redis) = Redis::start() else {
        return;
    };
    let rules = [
        "+@all",
        "-@all",
        "~r*",
        "~b*",
        "%R~r*",
        "%W~w*",
        "%RW~b*",
        "%W~r*",
        "~*",
        "allkeys",
        "+@read",
        "-@read",
        "+@write",
        "-@write",
        "-@dangerous",
        "+@admin",
        "+@keyspace",
        "&r*",
        "&*",
        "+@stream",
        "-@stream",
        "+@sortedset",
        "+@list",
        "-@hash",
        "+@set",
        "+@string",
        "-@blocking",
        "+@geo",
        "+@bitmap",
        "+@slow",
        "-@fast",
        "(+@all %R~w*)",
        "(+@read ~x*)",
        "(-@write %W~x*)",
    ];
    let mut rng = Rng(99);
    let mut differ = String::new();
    let mut compared = 0;
    for _ in 0..60 {
        let mut line = vec!["ACL", "SETUSER", "u", "reset"];
        for _ in 0..1 + rng.below(6) {
            line.push(rng.pick(&rules));
        }
        let asked: Vec<&[u8]> = line.iter().map(|w| w.as_bytes()).collect();
        let said = redis.ask(&asked);
        let mut users = Users::new();
        let set = users.set(b"u", &asked[3..]);
        assert_eq!(said == b"+OK\r\n", set.is_ok(), "{line:?}");
        let Some(user) = users.get(b"u").cloned() else {
            continue;
        };
        for row in all().filter(|row| !row.name.contains('|') || row.keys.is_empty()) {
            let args = request(row, &mut rng);
            let refs: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
            let Ok((row, id)) = resolve(&refs) else {
                continue;
            };
            let mut dry: Vec<&[u8]> = vec![b"ACL", b"DRYRUN", b"u"];
            dry.extend(&refs);
            let theirs = String::from_utf8_lossy(&redis.ask(&dry)).into_owned();
            if theirs.contains("' not found") || theirs.starts_with("-ERR wrong number") {
                continue; // newer than this Redis
            }
            let ours = match acl::check(&user, row, id, &refs) {
                Ok(()) => "+OK\r\n".to_owned(),
                Err(why) => {
                    let text = String::from_utf8(why.verbose(&user, row, &refs)).unwrap();
                    let text = text.replace("User u", "This user");
                    format!("${}\r\n{text}\r\n", text.len())
                }
            };
            compared += 1;
            let other = DIFFERENT.contains(&row.name);
            if theirs != ours && !other {
                differ += &format!("{line:?}: {}\n  {theirs}  {ours}", show(&args));
            }
        }
    }
    assert!(compared > 10_000, "{compared}");
    assert!(differ.is_empty(), "{differ}");
}

/// Rows whose keys or categories are others in 7.0 than in 7.2, or whose requests a Redis cannot look through.
const DIFFERENT: &[&str] = &[
    // Without sources 7.0 looks at no key at all; here the destination is looked at.
    "pfmerge",
];
