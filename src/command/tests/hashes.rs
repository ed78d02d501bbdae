//! Sets and hashes: random requests beside a running Redis, what fields that expire answer, and the laws.

use super::redis::Redis;
use super::*;
use crate::shard::Dump;
use std::collections::BTreeMap;

/// A time, far from any that requests name.
const START: Ms = 1_700_000_000_000;

/// What a command takes: s a set's key, h a hash's, m a member, f a field, v a value, i an integer, d a float; capitals
/// for one to forty of the same.
const REQUESTS: &[(&str, &str)] = &[
    ("sadd", "sM"),
    ("sadd", "sM"),
    ("sadd", "sm"),
    ("sadd", "sI"),
    ("sadd", "s"),
    ("srem", "sM"),
    ("srem", "sI"),
    ("sismember", "sm"),
    ("smismember", "sM"),
    ("scard", "s"),
    ("smembers", "s"),
    ("smove", "ssm"),
    ("spop", "s"),
    ("spop", "sn"),
    ("srandmember", "sn"),
    ("srandmember", "snn"),
    ("sinter", "S"),
    ("sunion", "S"),
    ("sdiff", "S"),
    ("sinterstore", "sS"),
    ("sunionstore", "sS"),
    ("sdiffstore", "sS"),
    ("sinterstore", "hS"),
    ("sintercard", "cSl"),
    ("sscan", "s0p"),
    ("sscan", "s0pp"),
    ("sscan", "sm"),
    ("object", "es"),
    ("hset", "hP"),
    ("hset", "hfv"),
    ("hset", "hfvf"),
    ("hmset", "hP"),
    ("hsetnx", "hfv"),
    ("hget", "hf"),
    ("hmget", "hF"),
    ("hgetall", "h"),
    ("hkeys", "h"),
    ("hvals", "h"),
    ("hlen", "h"),
    ("hexists", "hf"),
    ("hstrlen", "hf"),
    ("hdel", "hF"),
    ("hincrby", "hfi"),
    ("hincrbyfloat", "hfd"),
    ("hrandfield", "hn"),
    ("hrandfield", "hnw"),
    ("hrandfield", "hnn"),
    ("hscan", "h0p"),
    ("hscan", "h0pp"),
    ("object", "eh"),
    ("type", "s"),
    ("type", "h"),
    ("rename", "ss"),
    ("rename", "hh"),
    ("rename", "sh"),
    ("copy", "ss"),
    ("del", "s"),
    ("del", "h"),
    ("exists", "sh"),
    ("set", "sv"),
    ("get", "h"),
    ("strlen", "s"),
];
const SETS: &[&str] = &["s1", "s2", "s3", "s4", "h1"];
const HASHES: &[&str] = &["h1", "h2", "h3", "s1"];
const WORDS: &[&str] = &[
    "",
    "a",
    "b",
    "c",
    "x y",
    "007",
    "-0",
    "1.5",
    "*",
    "\u{0}\r\n",
];
const INTEGERS: &[&str] = &[
    "0",
    "1",
    "-1",
    "5",
    "12",
    "x",
    "",
    "9223372036854775807",
    "-9223372036854775808",
];
const DOUBLES: &[&str] = &[
    "0", "1", "-1.5", "0.1", "1e10", "3.0e3", "1e17", "x", "", "inf", "-inf", "nan", "1e-20",
    "0x1p3",
];
const PATTERNS: &[&str] = &[
    "match", "count", "*", "a*", "10", "0", "x", "[0-9]*", "1000",
];

pub(super) fn request(rng: &mut Rng) -> Vec<Vec<u8>> {
    let (name, shape) = REQUESTS[rng.below(REQUESTS.len())];
    let mut args = vec![name.as_bytes().to_vec()];
    let number = |rng: &mut Rng| match rng.below(4) {
        0 => (rng.next() as i64 >> rng.below(64)).to_string(),
        _ => (rng.below(200) as i64 - 30).to_string(),
    };
    let word = |rng: &mut Rng| match rng.below(12) {
        0 => number(rng),
        1 => "z".repeat(60 + rng.below(8)),
        2..5 => rng.pick(WORDS).to_string(),
        _ => format!("w{}", rng.below(150)),
    };
    for c in shape.chars() {
        let many = if c.is_uppercase() {
            1 + rng.below(40)
        } else {
            1
        };
        let mut push = |s: String| args.push(s.into_bytes());
        for _ in 0..many.min(if c == 'S' { 3 } else { 40 }) {
            match c {
                's' | 'S' => push(rng.pick(SETS).into()),
                'h' => push(rng.pick(HASHES).into()),
                'm' | 'M' | 'f' | 'F' | 'v' => push(word(rng)),
                'P' => {
                    push(word(rng));
                    push(word(rng));
                }
                'I' => push(number(rng)),
                'i' => push(rng.pick(INTEGERS).into()),
                'd' => push(rng.pick(DOUBLES).into()),
                // All of them, in some order, or what is no number of them.
                'n' => push(
                    rng.pick(&["1000", "0", "1000", "x", "-9223372036854775808"])
                        .into(),
                ),
                'w' => push(rng.pick(&["withvalues", "WITHVALUES", "x"]).into()),
                'c' => push(rng.pick(&["1", "2", "3", "0", "x", "-1"]).into()),
                'l' if rng.below(2) == 0 => {
                    push("limit".into());
                    push(rng.pick(&["0", "1", "3", "-1", "x"]).into());
                }
                'l' => {}
                '0' => push("0".into()),
                'p' => push(rng.pick(PATTERNS).into()),
                _ => push("encoding".into()),
            }
        }
    }
    args
}

/// The parts of an array, set or map.
fn parts(reply: &[u8]) -> Option<Vec<&[u8]>> {
    if !matches!(reply.first()?, b'*' | b'~' | b'%') {
        return None;
    }
    let mut at = reply.windows(2).position(|two| two == b"\r\n")? + 2;
    let mut parts = Vec::new();
    while at < reply.len() {
        let end = reply_len(reply, at)?;
        parts.push(&reply[at..end]);
        at = end;
    }
    Some(parts)
}

/// Whether two replies are the same but for an order that is free.
fn same(args: &[Vec<u8>], proto: Proto, ours: &[u8], theirs: &[u8]) -> bool {
    let name = String::from_utf8_lossy(&args[0]).to_ascii_lowercase();
    let pairs = |reply: &[u8], width: usize| {
        let parts = parts(reply)?;
        let mut groups: Vec<Vec<u8>> = parts.chunks(width).map(|group| group.concat()).collect();
        groups.sort();
        Some((reply[0], groups))
    };
    if ours == theirs {
        return true;
    }
    match name.as_str() {
        "smembers" | "sinter" | "sunion" | "sdiff" | "srandmember" | "spop" | "hkeys" | "hvals" => {
            ours[0] == theirs[0] && pairs(ours, 1).is_some() && pairs(ours, 1) == pairs(theirs, 1)
        }
        "hgetall" => pairs(ours, 2).is_some() && pairs(ours, 2) == pairs(theirs, 2),
        "hrandfield" => {
            let width = if args.len() > 3 && proto == Proto::Resp2 {
                2
            } else {
                1
            };
            pairs(ours, width).is_some() && pairs(ours, width) == pairs(theirs, width)
        }
        "sscan" | "hscan" => {
            let width = if name == "hscan" { 2 } else { 1 };
            // Redis takes a large set or hash in steps; those are compared by `a_scan_...`.
            match (parts(ours), parts(theirs)) {
                (Some(ours), Some(theirs)) if ours.len() == 2 && theirs.len() == 2 => {
                    args[2] != b"0"
                        || ours[0] != b"$1\r\n0\r\n"
                        || theirs[0] != b"$1\r\n0\r\n"
                        || pairs(ours[1], width) == pairs(theirs[1], width)
                }
                _ => false,
            }
        }
        // Redis 7.0 does not know small sets of strings, and keeps what was a table one.
        "object" => [ours, theirs].iter().all(|reply| reply[0] == b'$'),
        // A later check of Redis 7.0's line.
        "hincrbyfloat" => ours.ends_with(b"NaN or Infinity\r\n") && theirs[0] == b'-',
        _ => false,
    }
}

#[test]
fn random_requests_on_sets_and_hashes_are_answered_as_redis_answers_them() {
    let Some(mut redis) = Redis::start() else {
        return;
    };
    let mut answered = BTreeMap::new();
    for seed in 1..=8u64 {
        let mut rng = Rng(seed);
        let mut local = Local::new();
        local.proto = if seed % 2 == 0 {
            Proto::Resp3
        } else {
            Proto::Resp2
        };
        redis.ask(&[b"HELLO", local.proto.number().to_string().as_bytes()]);
        redis.ask(&[b"FLUSHALL"]);
        let mut history: Vec<String> = Vec::new();
        for step in 0..4000 {
            let args = request(&mut rng);
            let refs: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
            let ours = local.ask(&refs);
            history.push(show(&args));
            // What was drawn here is taken from Redis's set too.
            let single =
                refs.len() == 2 && refs[0] == b"spop" && ours[0] == b'$' && ours[1] != b'-';
            let theirs = if single {
                let start = ours.iter().position(|&b| b == b'\n').unwrap() + 1;
                let member = &ours[start..ours.len() - 2];
                assert_eq!(redis.ask(&[b"SREM", refs[1], member]), b":1\r\n");
                ours.clone()
            } else {
                redis.ask(&refs)
            };
            if !same(&args, local.proto, &ours, &theirs) {
                let from = history.len().saturating_sub(12);
                panic!(
                    "seed {seed}, step {step}:\n{}\n  Redis:   {}\n  Ferrite: {}\nbefore it:\n{}",
                    show(&args),
                    theirs.escape_ascii(),
                    ours.escape_ascii(),
                    history[from..].join("\n")
                );
            }
            *answered.entry(args[0].clone()).or_insert(0) += (ours[0] != b'-') as u32;
        }
    }
    assert!(answered.values().all(|&n| n > 20), "{answered:?}");
}

/// Encodings change where Redis 7.2 changes them; those that 7.0 knows are compared with it.
#[test]
fn encodings_change_at_the_same_sizes() {
    let mut redis = Redis::start();
    let mut local = Local::new();
    let mut ask = |line: &str, expected: &str| {
        let args = words(line);
        let refs: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        let ours = local.ask(&refs);
        if let Some(redis) = &mut redis {
            let theirs = redis.ask(&refs);
            let small_set = expected == "listpack" && line.contains("ENCODING s");
            assert!(ours == theirs || small_set, "{line}");
        }
        if !expected.is_empty() {
            assert_eq!(
                String::from_utf8_lossy(&ours),
                format!("${}\r\n{expected}\r\n", expected.len()),
                "{line}"
            );
        }
    };
    for n in 0..512 {
        ask(&format!("SADD sints {n}"), "");
        ask(&format!("HSET hash f{n} v"), "");
        if n < 128 {
            ask(&format!("SADD swords m{n}"), "");
        }
    }
    ask("OBJECT ENCODING sints", "intset");
    ask("OBJECT ENCODING swords", "listpack");
    ask("OBJECT ENCODING hash", "listpack");
    ask("SADD sints 512", "");
    ask("SADD swords m128", "");
    ask("HSET hash f512 v", "");
    ask("OBJECT ENCODING sints", "hashtable");
    ask("OBJECT ENCODING swords", "hashtable");
    ask("OBJECT ENCODING hash", "hashtable");
    let long = "x".repeat(65);
    ask(&format!("SADD slong {long}"), "");
    ask(&format!("HSET hlong f {long}"), "");
    ask("OBJECT ENCODING slong", "hashtable");
    ask("OBJECT ENCODING hlong", "hashtable");
    ask("SUNIONSTORE sboth sints slong", "");
    ask("OBJECT ENCODING sboth", "hashtable");
    ask("SINTERSTORE sfew sints sints", "");
    ask("OBJECT ENCODING sfew", "hashtable");
}

/// What Redis 7.4 and 8.0 answer about fields that expire, at a clock that stands still but for `+`.
#[test]
fn fields_expire_as_written_down() {
    let mut local = Local::new();
    local.clock = Some(START);
    let script = include_str!("hashes.txt");
    let mut lines = script
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut requests = 0;
    while let Some(line) = lines.next() {
        if let Some(ms) = line.strip_prefix("+ ") {
            *local.clock.as_mut().unwrap() += ms.parse::<Ms>().unwrap();
            continue;
        }
        let args = words(line.strip_prefix("> ").unwrap());
        let refs: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        let ours = local.ask(&refs).escape_ascii().to_string();
        let written = lines
            .next()
            .and_then(|line| line.strip_prefix("< "))
            .unwrap();
        assert_eq!(ours, written, "{line}");
        requests += 1;
    }
    assert!(requests > 60, "{requests}");
}

fn logging() -> Local {
    Local {
        clock: Some(START),
        keep_log: true,
        ..Local::new()
    }
}

fn ask(local: &mut Local, args: &[Vec<u8>]) -> Vec<u8> {
    let refs: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
    local.ask(&refs)
}

/// All that lives.
fn content(local: &mut Local) -> Vec<(Vec<u8>, Dump)> {
    let now = local.clock.unwrap();
    let mut content = Vec::new();
    for shard in local.ks.present() {
        let mut names = Vec::new();
        shard.for_each_key(0, now, |name, _| names.push(name.to_vec()));
        for name in names {
            let k = shard.key(0, &name);
            let dump = shard.dump(&k, now).unwrap();
            content.push((name, dump));
        }
        shard.effects.clear();
    }
    content.sort_by(|a, b| a.0.cmp(&b.0));
    content
}

/// A request of the random run, or one about expiry.
fn any_request(rng: &mut Rng, now: Ms) -> Vec<Vec<u8>> {
    if rng.below(3) > 0 {
        return request(rng);
    }
    let field = format!("w{}", rng.below(150));
    let key = rng.pick(HASHES);
    let ms = rng.below(3000);
    words(&match rng.below(6) {
        0 | 1 => format!("HPEXPIRE {key} {ms} FIELDS 1 {field}"),
        2 => format!("HPEXPIREAT {key} {} FIELDS 2 {field} w1", now + ms as Ms),
        3 => format!("HSETEX {key} PX {} FIELDS 1 {field} v", ms + 1),
        4 => format!("HPERSIST {key} FIELDS 1 {field}"),
        _ => format!("HGETDEL {key} FIELDS 1 {field}"),
    })
}

#[test]
fn the_log_rebuilds_sets_and_hashes() {
    let mut elements = 0;
    for whole in [false, true] {
        for seed in 1..=8 {
            let mut rng = Rng(seed);
            let mut local = logging();
            local.ks.present().for_each(|shard| shard.whole = whole);
            for _ in 0..1500 {
                *local.clock.as_mut().unwrap() += rng.below(20) as Ms;
                let args = any_request(&mut rng, local.clock.unwrap());
                ask(&mut local, &args);
                let now = local.clock.unwrap();
                if rng.below(10) == 0 {
                    for id in 0..SHARDS {
                        let shard = local.ks.shard(id);
                        shard.expire_fields(now, 1 + rng.below(20));
                        local.log[id].extend_from_slice(&shard.effects.buf);
                        shard.effects.clear();
                    }
                }
            }
            let mut again = logging();
            again.clock = local.clock;
            for (id, log) in local.log.iter().enumerate() {
                again.ks.shard(id).apply_all(log, START).unwrap();
            }
            let here = content(&mut local);
            assert_eq!(here, content(&mut again), "seed {seed}, whole {whole}");
            elements += here.len();
            // Fields left with an expiry expire in both, to the last.
            for side in [&mut local, &mut again] {
                *side.clock.as_mut().unwrap() += 1_000_000;
                for shard in side.ks.present() {
                    while shard.expire_fields(START + 10_000_000, 7).more {}
                    assert!(!shard.has_timed_fields());
                }
            }
            assert_eq!(content(&mut local), content(&mut again));
        }
    }
    assert!(elements > 30, "{elements}");
}

#[test]
fn a_scan_of_a_large_set_or_hash_finds_everything() {
    let mut local = Local::new();
    for n in 0..3000 {
        let name = format!("m{n}");
        local.ask(&[b"SADD", b"s", name.as_bytes()]);
        local.ask(&[b"HSET", b"h", name.as_bytes(), b"v"]);
    }
    for (name, key, width) in [("SSCAN", "s", 1), ("HSCAN", "h", 2)] {
        let mut seen = std::collections::BTreeSet::new();
        let mut cursor = b"0".to_vec();
        let mut steps = 0;
        loop {
            let reply = local.ask(&[name.as_bytes(), key.as_bytes(), &cursor, b"COUNT", b"50"]);
            let both = parts(&reply).unwrap();
            let text = both[0].split(|&b| b == b'\n').nth(1).unwrap();
            cursor = text[..text.len() - 1].to_vec();
            let found = parts(both[1]).unwrap();
            assert!(found.len() <= 55 * width);
            found.chunks(width).for_each(|field| {
                seen.insert(field[0].to_vec());
            });
            steps += 1;
            // It grows meanwhile.
            let more = format!("more{steps}");
            local.ask(&[b"SADD", b"s", more.as_bytes()]);
            if cursor == b"0" {
                break;
            }
        }
        let missed = (0..3000).find(|n| {
            let name = format!("m{n}");
            !seen.contains(format!("${}\r\n{name}\r\n", name.len()).as_bytes())
        });
        assert_eq!(missed, None);
    }
}

/// A storm of fields that expire at once is taken in steps, and never seen meanwhile.
#[test]
fn a_storm_of_expiry_is_taken_in_steps() {
    let mut local = logging();
    for n in 0..20_000 {
        let name = format!("f{n}");
        local.ask(&[
            b"HSETEX",
            b"h",
            b"PX",
            b"1000",
            b"FIELDS",
            b"1",
            name.as_bytes(),
            b"v",
        ]);
    }
    local.clock = Some(START + 1000);
    assert_eq!(local.ask(&[b"HLEN", b"h"]), b":0\r\n");
    assert_eq!(local.ask(&[b"HGETALL", b"h"]), b"*0\r\n");
    assert_eq!(local.ask(&[b"HRANDFIELD", b"h"]), b"$-1\r\n");
    assert_eq!(local.ask(&[b"HGET", b"h", b"f7"]), b"$-1\r\n");
    // A write removes the field it is about, and only some of the others.
    assert_eq!(local.ask(&[b"HSETNX", b"h", b"f19999", b"w"]), b":1\r\n");
    assert_eq!(local.ask(&[b"HINCRBY", b"h", b"f19998", b"5"]), b":5\r\n");
    assert_eq!(local.ask(&[b"HLEN", b"h"]), b":2\r\n");
    let k = local.ks.key(0, b"h");
    let shard = local.ks.at(k.slot);
    let mut steps = 0;
    while shard.expire_fields(START + 1000, 100).more {
        steps += 1;
    }
    assert!((150..250).contains(&steps), "{steps}");
    assert_eq!(
        local.ask(&[b"HGETALL", b"h"]).len(),
        b"*4\r\n$6\r\nf19999\r\n$1\r\nw\r\n$6\r\nf19998\r\n$1\r\n5\r\n".len()
    );
}

/// Keys that come and go leave no more behind on the agenda than there are.
#[test]
fn the_agenda_forgets_what_has_gone() {
    let mut local = logging();
    local.keep_log = false;
    let k = local.ks.key(0, b"h");
    for n in 0..3000u32 {
        let ms = (1_000_000 + n).to_string();
        local.ask(&[
            b"HSETEX",
            b"h",
            b"PX",
            ms.as_bytes(),
            b"FIELDS",
            b"1",
            b"f",
            b"v",
        ]);
        local.ask(&[b"DEL", b"h"]);
    }
    local.ks.at(k.slot).expire_fields(START, 10);
    assert!(!local.ks.at(k.slot).has_timed_fields());
}

#[test]
fn events_are_those_of_redis() {
    let mut local = Local::new();
    local.clock = Some(START);
    local
        .ks
        .present()
        .for_each(|shard| shard.set_noticed(!crate::shard::notice::MISSED));
    let rows = [
        ("SADD s a b c", "new sadd"),
        ("SADD s a", ""),
        ("SREM s a x", "srem"),
        ("SREM s x", ""),
        ("SMOVE s t b", "srem new sadd"),
        ("SPOP s", "spop del"),
        ("SUNIONSTORE u t t", "sunionstore"),
        ("SINTERSTORE u t none", "del"),
        ("SDIFFSTORE u none", ""),
        ("SPOP t 5", "spop del"),
        ("HSET h a 1 b 2", "new hset"),
        ("HSETNX h a 1", ""),
        ("HINCRBY h a 1", "hincrby"),
        ("HINCRBYFLOAT h a 1", "hincrbyfloat"),
        ("HEXPIRE h 10 FIELDS 1 a", "hexpire"),
        ("HPERSIST h FIELDS 1 a", "hpersist"),
        ("HDEL h a", "hdel"),
        ("HEXPIRE h 0 FIELDS 1 b", "hdel del"),
        ("HSETEX h PX 5 FIELDS 1 a 1", "new hset hexpire"),
    ];
    let events = |local: &mut Local| {
        let mut names: Vec<&str> = Vec::new();
        for shard in local.ks.present() {
            names.extend(shard.take_notices().iter().map(|(_, notice)| notice.event));
        }
        names
    };
    for (request, expected) in rows {
        ask(&mut local, &words(request));
        let mut given = events(&mut local);
        let mut expected: Vec<&str> = expected.split_whitespace().collect();
        // Shards are asked in turn, whatever came first.
        given.sort_unstable();
        expected.sort_unstable();
        if request.contains("STORE u t t") {
            given.retain(|event| *event != "new");
        }
        assert_eq!(given, expected, "{request}");
    }
    local.clock = Some(START + 5);
    ask(&mut local, &words("HDEL h x"));
    assert_eq!(events(&mut local), ["hexpired", "del"]);
}

/// A few words must not make an answer that takes all memory.
#[test]
fn a_draw_with_repeats_has_its_bounds() {
    let mut local = Local::new();
    let long = "x".repeat(1 << 20);
    for line in [
        "SADD s a".to_owned(),
        "HSET h f v".to_owned(),
        "ZADD z 1 a".to_owned(),
        format!("SADD long {long}"),
        format!("HSET hlong f {long}"),
        format!("ZADD zlong 1 {long}"),
    ] {
        assert_eq!(local.ask(&split(&line)), b":1\r\n");
    }
    for (command, key, long) in [
        ("SRANDMEMBER", "s", "long"),
        ("HRANDFIELD", "h", "hlong"),
        ("ZRANDMEMBER", "z", "zlong"),
    ] {
        let mut ask = |line: String| local.ask(&split(&line));
        assert!(ask(format!("{command} {key} -1000")).starts_with(b"*1000\r\n"));
        for count in ["-1048577", "-4611686018427387903", "-9223372036854775807"] {
            let reply = ask(format!("{command} {key} {count}"));
            assert!(reply.starts_with(b"-ERR value is out of range"));
            assert_eq!(ask(format!("{command} none {count}")), b"*0\r\n");
        }
        let values = if command == "HRANDFIELD" {
            " WITHVALUES"
        } else {
            ""
        };
        let reply = ask(format!("{command} {long} -1000{values}"));
        assert!(
            reply.starts_with(b"-ERR the elements asked for are longer"),
            "{command}"
        );
        assert!(ask(format!("{command} {key} 9223372036854775807")).starts_with(b"*1\r\n"));
    }
}

fn split(line: &str) -> Vec<&[u8]> {
    line.split(' ').map(str::as_bytes).collect()
}
