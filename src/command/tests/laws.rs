//! What has to hold for any request.

use super::random::{EXPIRE, FLOATS, INTS, KEYS, LCS, PATTERNS, SET, TIMES, VALUES, request};
use super::*;
use crate::command::{flag, lookup};
use crate::shard::{Dump, Effect, Object, Owned, records};
use std::collections::BTreeMap;

/// A time, and so far from the times that random requests name that none of them is near it.
const START: Ms = 1_700_000_000_000;

/// Ferrite at a time of its own, with a small limit to strings and a log.
fn logging() -> Local {
    Local {
        clock: Some(START),
        max_string: 1 << 20,
        keep_log: true,
        ..Local::new()
    }
}

fn ask(local: &mut Local, args: &[Vec<u8>]) -> Vec<u8> {
    let refs: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
    local.ask(&refs)
}

/// All that lives: database and key, then value and expiry.
type Content = BTreeMap<(u16, Vec<u8>), (Vec<u8>, Option<Ms>)>;

fn content(local: &mut Local) -> Content {
    let now = local.clock.unwrap();
    let mut content = Content::new();
    for shard in local.ks.present() {
        for db in 0..DATABASES {
            let mut names = Vec::new();
            shard.for_each_key(db, now, |name, _| names.push(name.to_vec()));
            for name in names {
                let k = shard.key(db, &name);
                let mut scratch = Default::default();
                let value = shard.peek(&k, now).unwrap();
                let value = value.bytes(&mut scratch).unwrap().to_vec();
                let expire = shard.expiry(&k, now).unwrap();
                content.insert((db, name), (value, expire));
            }
        }
        shard.effects.clear();
    }
    content
}

#[test]
fn the_log_rebuilds_the_keyspace() {
    let mut keys = 0;
    for seed in 1..=30 {
        let mut rng = Rng(seed);
        let mut local = logging();
        for _ in 0..800 {
            *local.clock.as_mut().unwrap() += match rng.below(50) {
                0 => 150_000,
                _ => rng.below(20) as Ms,
            };
            match rng.below(200) {
                0 => ask(&mut local, &words("FLUSHDB")),
                1 => ask(&mut local, &words("FLUSHALL")),
                2 => ask(&mut local, &words("SELECT 1")),
                3 => ask(&mut local, &words("SELECT 0")),
                _ => ask(&mut local, &request(&mut rng)),
            };
        }
        let mut again = logging();
        again.clock = local.clock;
        for (id, log) in local.log.iter().enumerate() {
            again.ks.shard(id).apply_all(log, START).unwrap();
        }
        let content_now = content(&mut local);
        assert_eq!(content_now, content(&mut again), "seed {seed}");
        keys += content_now.len();
    }
    assert!(keys > 60, "{keys}");
}

#[test]
fn reads_and_refusals_change_nothing() {
    let mut rng = Rng(11);
    let mut local = logging();
    let (mut reads, mut refusals) = (0, 0);
    for _ in 0..20_000 {
        let args = request(&mut rng);
        let reply = ask(&mut local, &args);
        let read = lookup(&args[0]).is_some_and(|(row, _)| row.has(flag::READONLY));
        let refused = reply[0] == b'-';
        for log in &mut local.log {
            if read || refused {
                for effect in records(log) {
                    // What had expired may be found and removed by anybody.
                    let effect = effect.unwrap();
                    assert!(matches!(effect, Effect::Del { .. }), "{}", show(&args));
                }
            }
            log.clear();
        }
        reads += read as u32;
        refusals += refused as u32;
    }
    assert!(reads > 1000 && refusals > 1000);
}

/// Whatever the arguments, there is exactly one reply, and it is well formed.
#[test]
fn any_arguments_get_one_reply() {
    let pool = [
        KEYS, VALUES, INTS, FLOATS, TIMES, PATTERNS, SET, EXPIRE, LCS,
    ]
    .concat();
    let rows: Vec<_> = crate::command::all()
        .filter(|row| matches!(row.run, Run::Data(_)))
        .collect();
    assert!(rows.len() > 60);
    for proto in [Proto::Resp2, Proto::Resp3] {
        let mut local = logging();
        local.proto = proto;
        local.keep_log = false;
        let mut rng = Rng(5);
        for step in 0..20_000 {
            let row = rows[step % rows.len()];
            let mut args: Vec<Vec<u8>> = row.name.split('|').map(Vec::from).collect();
            let fewest = row.arity.unsigned_abs() as usize;
            let most = fewest + if row.arity < 0 { rng.below(7) } else { 0 };
            while args.len() < most {
                args.push(match rng.below(8) {
                    0 => (0..rng.below(40)).map(|_| rng.next() as u8).collect(),
                    1 => rows[rng.below(rows.len())].name.into(),
                    _ => rng.pick(&pool).into(),
                });
            }
            let reply = ask(&mut local, &args);
            assert_eq!(reply_len(&reply, 0), Some(reply.len()), "{}", show(&args));
        }
    }
}

/// A key that holds another type: string commands refuse it and leave it, the others treat it like any.
#[test]
fn another_type_is_refused_or_moved() {
    let wrong = "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n";
    let rows = [
        ("GET o", wrong),
        ("GETSET o v", wrong),
        ("GETDEL o", wrong),
        ("GETEX o PERSIST", wrong),
        ("GETEX o EX 0", wrong),
        ("SET o v GET", wrong),
        ("SET o v NX GET", wrong),
        ("SET o v NX", "$-1\r\n"),
        ("SETNX o v", ":0\r\n"),
        ("MSETNX a 1 o v", ":0\r\n"),
        ("STRLEN o", wrong),
        ("APPEND o v", wrong),
        ("GETRANGE o 0 -1", wrong),
        (
            "GETRANGE o x -1",
            "-ERR value is not an integer or out of range\r\n",
        ),
        ("SETRANGE o 0 v", wrong),
        ("SETRANGE o 0 \"\"", wrong),
        ("SETRANGE o -1 v", "-ERR offset is out of range\r\n"),
        ("INCR o", wrong),
        (
            "INCRBY o x",
            "-ERR value is not an integer or out of range\r\n",
        ),
        ("INCRBYFLOAT o x", wrong),
        ("MGET o", "*1\r\n$-1\r\n"),
        (
            "LCS o a",
            "-ERR The specified keys must contain string values\r\n",
        ),
        ("TYPE o", "+list\r\n"),
        ("OBJECT ENCODING o", "$8\r\nlistpack\r\n"),
        ("EXPIRE o 100", ":1\r\n"),
        ("TTL o", ":100\r\n"),
        ("COPY o p", ":1\r\n"),
        ("RENAME p q", "+OK\r\n"),
        ("MOVE q 1", ":1\r\n"),
        ("EXISTS o p q", ":1\r\n"),
        ("SET o v XX", "+OK\r\n"),
        ("TYPE o", "+string\r\n"),
        ("TTL o", ":-1\r\n"),
    ];
    let mut local = logging();
    let k = local.ks.key(0, b"o");
    let dump = Dump {
        value: Owned::Object(Box::new(Object::probe(b"xyz"))),
        expire: None,
    };
    local.ks.at(k.slot).restore(&k, dump, START);
    for (request, reply) in rows {
        let given = ask(&mut local, &words(request));
        assert_eq!(String::from_utf8_lossy(&given), reply, "{request}");
    }
}

/// HELP of a container names every subcommand, and is the same in any case.
#[test]
fn help_names_the_subcommands() {
    let mut local = Local::new();
    // CLUSTER HELP is refused like all of CLUSTER.
    let helpful = |row: &&crate::command::Command| row.name != "cluster";
    let containers = crate::command::all().filter(|row| !row.subcommands.is_empty());
    for row in containers.filter(helpful) {
        let text = ask(
            &mut local,
            &words(&format!("{} help", row.name.to_uppercase())),
        );
        let text = String::from_utf8(text).unwrap();
        for sub in row.subcommands {
            let own = sub.own_name().to_uppercase();
            assert!(text.contains(&format!("\r\n+{own}")), "{}", sub.name);
        }
        assert_eq!(reply_len(text.as_bytes(), 0), Some(text.len()));
    }
}

#[test]
fn a_random_key_is_any_key() {
    let mut local = Local::new();
    let mut seen = BTreeMap::new();
    for i in 0..10 {
        local.ask(&[b"SET", format!("key:{i}").as_bytes(), b"v"]);
    }
    local.ask(&[b"SET", b"gone", b"v", b"PXAT", b"1"]);
    for step in 0..2000 {
        // The clock is what there is of chance here.
        local.clock = Some(START + step);
        *seen.entry(local.ask(&[b"RANDOMKEY"])).or_insert(0) += 1;
    }
    assert_eq!(seen.len(), 10);
    assert!(seen.values().all(|&n| n > 100), "{seen:?}");
}

#[test]
fn a_scan_finds_every_key_once() {
    let mut local = Local::new();
    for i in 0..1000 {
        local.ask(&[b"SET", format!("key:{i}").as_bytes(), b"v"]);
    }
    let mut seen = std::collections::BTreeSet::new();
    let mut cursor = b"0".to_vec();
    for _ in 0..100_000 {
        let reply = local.ask(&[b"SCAN", &cursor, b"COUNT", b"7", b"MATCH", b"key:*"]);
        let text = String::from_utf8(reply).unwrap();
        let lines: Vec<&str> = text.split("\r\n").collect();
        // *2 $n cursor *m ($n key)*
        cursor = lines[2].as_bytes().to_vec();
        for key in lines[4..]
            .chunks(2)
            .filter(|c| c.len() == 2 && c[0].starts_with('$'))
        {
            assert!(seen.insert(key[1].to_string()), "{} twice", key[1]);
        }
        if cursor == b"0" {
            break;
        }
    }
    assert_eq!(seen.len(), 1000);
}
