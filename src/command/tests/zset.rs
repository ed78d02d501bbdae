//! Sorted sets: random requests to Redis and to Ferrite, and what Redis 7.2 has beyond 7.0.

use super::redis::{Redis, compare};
use super::*;

/// What a command takes: k a key of sorted sets, K one that may hold anything, m a member, s a score, i an integer,
/// r an end of a range of scores, l one of members, c a count, o options of its own (any number of them).
const RANDOM: &[(&str, &str, &[&str])] = &[
    ("zadd", "ksm", &[]),
    ("zadd", "ksmsm", &[]),
    ("zadd", "ksmsmsmsmsmsm", &[]),
    ("zadd", "kosm", ADD),
    ("zadd", "kosm", ADD),
    ("zadd", "kosmsmsm", ADD),
    ("zadd", "ksms", &[]),
    ("zincrby", "ksm", &[]),
    ("zincrby", "ksm", &[]),
    ("zrem", "km", &[]),
    ("zrem", "kmmm", &[]),
    ("zcard", "K", &[]),
    ("zscore", "Km", &[]),
    ("zmscore", "Kmmm", &[]),
    ("zrank", "Km", &[]),
    ("zrevrank", "Km", &[]),
    ("zcount", "Krr", &[]),
    ("zlexcount", "lll", &[]),
    ("zrange", "Kii", &[]),
    ("zrange", "Kiio", RANGE),
    ("zrange", "Krro", BYSCORE),
    ("zrange", "Lllo", BYLEX),
    ("zrangestore", "kKii", &[]),
    ("zrangestore", "kKrro", BYSCORE),
    ("zrangestore", "kLllo", BYLEX),
    ("zrevrange", "Kiio", RANGE),
    ("zrangebyscore", "Krro", LIMIT),
    ("zrevrangebyscore", "Krro", LIMIT),
    ("zrangebylex", "Lllo", LIMIT),
    ("zrevrangebylex", "Lllo", LIMIT),
    ("zremrangebyrank", "kii", &[]),
    ("zremrangebyscore", "krr", &[]),
    ("zremrangebylex", "Lll", &[]),
    ("zpopmin", "k", &[]),
    ("zpopmax", "k", &[]),
    ("zpopmin", "Kc", &[]),
    ("zpopmax", "Kc", &[]),
    ("zmpop", "nko", POP),
    ("zmpop", "nkko", POP),
    ("bzpopmin", "kt", &[]),
    ("bzpopmax", "kkt", &[]),
    ("bzmpop", "tnkko", POP),
    ("zrandmember", "Kq", &[]),
    ("zunion", "nKKo", COMBINE),
    ("zunion", "nKKKo", COMBINE),
    ("zinter", "nKKo", COMBINE),
    ("zinter", "nKKKo", COMBINE),
    ("zdiff", "nKKo", COMBINE),
    ("zdiff", "nKKK", &[]),
    ("zunionstore", "knKKo", COMBINE),
    ("zinterstore", "knKKo", COMBINE),
    ("zdiffstore", "knKK", &[]),
    ("zintercard", "nKKo", CARD),
    ("zscan", "K0o", SCAN),
    ("zadd", "L0m", &[]),
    ("zadd", "L0m0m0m0m", &[]),
    ("object encoding", "K", &[]),
    ("type", "K", &[]),
    ("del", "k", &[]),
    ("copy", "kk", &[]),
    ("rename", "kk", &[]),
    ("exists", "k", &[]),
];

const ADD: &[&str] = &["NX", "xx", "GT", "lt", "CH", "INCR", "ch", "1"];
const RANGE: &[&str] = &["WITHSCORES", "REV", "withscores", "LIMIT", "0", "BYSCORE"];
const BYSCORE: &[&str] = &[
    "BYSCORE",
    "BYSCORE",
    "REV",
    "WITHSCORES",
    "LIMIT 0 2",
    "LIMIT 1 -1",
    "LIMIT -1 2",
    "LIMIT 1 x",
    "LIMIT",
];
const BYLEX: &[&str] = &[
    "BYLEX",
    "BYLEX",
    "REV",
    "LIMIT 0 3",
    "LIMIT 2 2",
    "WITHSCORES",
];
const LIMIT: &[&str] = &[
    "WITHSCORES",
    "LIMIT 0 2",
    "LIMIT 1 -1",
    "LIMIT 9 9",
    "LIMIT 1",
    "REV",
];
const POP: &[&str] = &[
    "MIN", "MAX", "max", "COUNT 2", "COUNT 1", "COUNT 0", "COUNT x", "NOPE",
];
const COMBINE: &[&str] = &[
    "WEIGHTS 2 3",
    "WEIGHTS 1 0",
    "WEIGHTS -1 inf 2",
    "WEIGHTS x 1",
    "AGGREGATE MIN",
    "AGGREGATE max",
    "aggregate sum",
    "AGGREGATE x",
    "WITHSCORES",
    "WEIGHTS",
];
const CARD: &[&str] = &[
    "LIMIT 0",
    "LIMIT 1",
    "LIMIT 2",
    "LIMIT -1",
    "LIMIT x",
    "LIMIT",
    "WITHSCORES",
];
const SCAN: &[&str] = &[
    "MATCH a*",
    "COUNT 1",
    "COUNT 100",
    "COUNT 0",
    "MATCH *",
    "COUNT",
    "x",
];

const KEYS: &[&str] = &["a", "b", "c", "{a}d"];
const OTHERS: &[&str] = &[
    "a", "b", "c", "a", "b", "plain", "ints", "text", "lex", "none",
];
const MEMBERS: &[&str] = &[
    "a",
    "b",
    "c",
    "d",
    "aa",
    "ab",
    "",
    "1",
    "2",
    "3",
    "x y",
    "zz",
    "\u{0}",
    "a-member-of-more-than-twenty-two-bytes",
    "a-member-that-is-longer-than-the-sixty-four-bytes-that-a-small-set-may-hold",
];
const SCORES: &[&str] = &[
    "0",
    "1",
    "2",
    "3",
    "-1",
    "1.5",
    "-2.25",
    "100",
    "inf",
    "-inf",
    "+inf",
    "0x10",
    "1e3",
    "0.5",
    "-0",
    "nan",
    "x",
    "",
    " 1",
    "1e400",
    "1e-400",
    "123456789",
    "3",
    "4",
    "5",
    "4503599627370496",
];
const INTS: &[&str] = &[
    "0",
    "1",
    "-1",
    "2",
    "-2",
    "5",
    "-5",
    "100",
    "-100",
    "9223372036854775807",
    "-9223372036854775808",
    "x",
    "1.5",
    "",
];
const ENDS: &[&str] = &[
    "-inf", "+inf", "inf", "0", "1", "(1", "2", "(3", "-1", "1.5", "(-inf", "(inf", "100", "", "(",
    "x", "nan", "1e400",
];
const LEX: &[&str] = &[
    "-", "+", "[a", "(a", "[b", "(c", "[", "(", "[zz", "a", "", "+x", "[ab",
];
const COUNTS: &[&str] = &["0", "1", "2", "3", "10", "-1", "x"];

pub(super) fn request(rng: &mut Rng) -> Vec<Vec<u8>> {
    let (name, shape, options) = RANDOM[rng.below(RANDOM.len())];
    let mut args: Vec<Vec<u8>> = name.split(' ').map(Vec::from).collect();
    // The number of keys is that of the letters behind it, most of the time.
    let keys = shape
        .chars()
        .skip_while(|c| *c != 'n')
        .filter(|c| matches!(c, 'k' | 'K'));
    let keys = keys.count().to_string();
    for c in shape.chars() {
        let word = match c {
            'k' => rng.pick(KEYS),
            'K' => rng.pick(OTHERS),
            'm' => rng.pick(MEMBERS),
            's' if rng.below(3) == 0 => rng.pick(SCORES),
            's' => rng.pick(&SCORES[..9]),
            'i' if rng.below(3) == 0 => rng.pick(INTS),
            'i' => rng.pick(&INTS[..8]),
            'r' => rng.pick(ENDS),
            'l' if args.len() == 1 => "lex",
            'L' => "lex",
            'l' => rng.pick(LEX),
            'c' => rng.pick(COUNTS),
            'q' => rng.pick(&["1000", "0", "x", "1.5", ""]),
            't' => rng.pick(&["1", "0.5", "0", "-1", "x"]),
            'n' if rng.below(20) == 0 => rng.pick(INTS),
            'n' => &keys,
            '0' => "0",
            _ => {
                for _ in 0..rng.below(4) {
                    args.extend(rng.pick(options).split(' ').map(Vec::from));
                }
                continue;
            }
        };
        args.push(word.as_bytes().to_vec());
    }
    args
}

/// Answers whose order is that of a table.
fn free(local: &mut Local, args: &[Vec<u8>]) -> bool {
    let mut encoding = |key: &[u8]| local.ask(&[b"OBJECT", b"ENCODING", key]);
    args[0] == b"zscan" && encoding(&args[1]).ends_with(b"skiplist\r\n")
}

/// Asks both inside a transaction, so that nobody waits.
fn compare_in_multi(redis: &mut Redis, local: &mut Local, args: &[Vec<u8>]) -> Option<String> {
    let refs: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
    redis.ask(&[b"MULTI"]);
    let queued = redis.ask(&refs);
    if queued.first() == Some(&b'-') {
        redis.ask(&[b"DISCARD"]);
        let ours = local.ask(&refs);
        return (ours != queued).then(|| {
            format!(
                "{}\n  {}\n  {}",
                show(args),
                queued.escape_ascii(),
                ours.escape_ascii()
            )
        });
    }
    let theirs = redis.ask(&[b"EXEC"]);
    let ours = [b"*1\r\n".to_vec(), local.ask(&refs)].concat();
    (ours != theirs).then(|| {
        format!(
            "{}\n  Redis:   {}\n  Ferrite: {}",
            show(args),
            theirs.escape_ascii(),
            ours.escape_ascii()
        )
    })
}

/// Whether two replies differ by the sign of a zero alone: Redis keeps or loses it by the form of the set.
fn is_signed_zero(difference: &str) -> bool {
    let plain = |name: &str| {
        let line = difference
            .lines()
            .find_map(|line| line.trim().strip_prefix(name));
        let line = line.unwrap_or_default().trim();
        line.replace(",-0\\r", ",0\\r")
            .replace("$2\\r\\n-0\\r", "$1\\r\\n0\\r")
    };
    difference.contains("-0\\r") && plain("Redis:") == plain("Ferrite:")
}

fn run(proto: Proto, seeds: std::ops::RangeInclusive<u64>, steps: usize) {
    let Some(mut redis) = Redis::start() else {
        return;
    };
    redis.ask(&[b"HELLO", proto.number().to_string().as_bytes()]);
    for seed in seeds {
        let mut rng = Rng(seed);
        let mut local = Local::new();
        local.proto = proto;
        redis.ask(&[b"FLUSHALL"]);
        let mut history: Vec<String> = Vec::new();
        let mut prepared = vec![words("SET text hello")];
        // Every other run has large sets.
        if seed % 2 == 0 {
            for n in 0..150 {
                prepared.push(words(&format!("ZADD a {} many:{n}", n % 13)));
                prepared.push(words(&format!("ZADD lex 0 many:{n}")));
            }
        }
        let steps = (0..steps).map(|_| request(&mut rng));
        let all: Vec<_> = prepared.into_iter().chain(steps).collect();
        for args in all {
            if free(&mut local, &args) {
                continue;
            }
            let difference = match args[0].starts_with(b"bz") {
                true => compare_in_multi(&mut redis, &mut local, &args),
                false => compare(&mut redis, &mut local, &args),
            };
            let difference = difference.filter(|difference| !is_signed_zero(difference));
            history.push(show(&args));
            if let Some(difference) = difference {
                let from = history.len().saturating_sub(25);
                panic!(
                    "seed {seed}:\n{difference}\nbefore it:\n{}",
                    history[from..].join("\n")
                );
            }
        }
    }
}

#[test]
fn random_requests_are_answered_as_redis_answers_them() {
    let seed = std::env::var("FERRITE_SEED")
        .ok()
        .and_then(|s| s.parse().ok());
    run(Proto::Resp2, seed.map_or(1..=8, |s| s..=s), 5000);
}

#[test]
fn random_requests_are_answered_as_redis_answers_them_in_resp3() {
    let seed = std::env::var("FERRITE_SEED")
        .ok()
        .and_then(|s| s.parse().ok());
    run(Proto::Resp3, seed.map_or(101..=104, |s| s..=s), 5000);
}

/// What each shard has logged makes the same sets again, whatever was asked; and reads and refusals log nothing.
#[test]
fn the_log_rebuilds_the_sets() {
    const NOW: Ms = 1_700_000_000_000;
    let mut kept = 0;
    for seed in 1..=20 {
        let mut rng = Rng(seed);
        let mut local = Local::new();
        (local.clock, local.keep_log) = (Some(NOW), true);
        for n in 0..150 {
            local.ask(&[b"ZADD", b"a", b"1", format!("many:{n}").as_bytes()]);
        }
        for step in 0..600 {
            let args = match step % 4 {
                0 => super::geo::request(&mut rng),
                _ => request(&mut rng),
            };
            let refs: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
            let before: usize = local.log.iter().map(Vec::len).sum();
            let reply = local.ask(&refs);
            let after: usize = local.log.iter().map(Vec::len).sum();
            let reads = crate::command::lookup(&args[0])
                .is_some_and(|(row, _)| row.has(crate::command::flag::READONLY));
            assert!(
                before == after || !(reads || reply[0] == b'-'),
                "{}",
                show(&args)
            );
        }
        let mut again = Local::new();
        for (id, log) in local.log.iter().enumerate() {
            again.ks.shard(id).apply_all(log, NOW).unwrap();
        }
        for name in ["a", "b", "c", "{a}d", "lex", "S"] {
            let k = local.ks.key(0, name.as_bytes());
            let dump = local.ks.at(k.slot).dump(&k, NOW);
            kept += u32::from(dump.is_some());
            assert_eq!(
                dump,
                again.ks.at(k.slot).dump(&k, NOW),
                "{name}, seed {seed}"
            );
        }
    }
    assert!(kept > 40, "{kept}");
}

/// What 7.2 has beyond the Redis that tests compare with.
#[test]
fn a_rank_may_be_asked_for_with_its_score() {
    let mut local = Local::new();
    let rows = [
        ("ZADD z 1 a 2.5 b 10000000000 c", ":3\r\n"),
        ("ZRANK z b WITHSCORE", "*2\r\n:1\r\n$3\r\n2.5\r\n"),
        (
            "ZREVRANK z c withscore",
            "*2\r\n:0\r\n$11\r\n10000000000\r\n",
        ),
        ("ZRANK z x WITHSCORE", "*-1\r\n"),
        ("ZRANK none x WITHSCORE", "*-1\r\n"),
        ("ZRANK z b NOPE", "-ERR syntax error\r\n"),
        (
            "ZRANK z b a b",
            "-ERR wrong number of arguments for 'zrank' command\r\n",
        ),
    ];
    for (request, reply) in rows {
        let args = words(request);
        let refs: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        assert_eq!(
            String::from_utf8(local.ask(&refs)).unwrap(),
            reply,
            "{request}"
        );
    }
}

/// Each member is drawn about as often as any other, and none twice where that is not wanted.
#[test]
fn draws_are_fair() {
    let mut local = Local::new();
    for n in 0..200 {
        local.ask(&[b"ZADD", b"z", b"1", format!("m{n:03}").as_bytes()]);
    }
    let mut seen = std::collections::BTreeMap::new();
    for step in 0..400 {
        local.clock = Some(1_700_000_000_000 + step);
        let reply = local.ask(&[b"ZRANDMEMBER", b"z", b"50"]);
        let reply = String::from_utf8(reply).unwrap();
        let names: Vec<&str> = reply.split("\r\n").filter(|l| l.starts_with('m')).collect();
        let distinct: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!((names.len(), distinct.len()), (50, 50));
        names
            .iter()
            .for_each(|name| *seen.entry(name.to_string()).or_insert(0) += 1);
    }
    assert_eq!(seen.len(), 200);
    assert!(seen.values().all(|n| (50..160).contains(n)), "{seen:?}");
}
