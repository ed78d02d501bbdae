//! SORT: the same random requests to Redis and to Ferrite, and what the log makes of what is stored.

use super::redis::{Redis, compare};
use super::*;

const SOURCES: &[&str] = &[
    "nums", "words", "ints", "scored", "hash", "text", "none", "out",
];
const PATTERNS: &[&str] = &[
    "w_*", "{t}w_*", "o_*->f", "o_*->no", "o_*->", "w_*x", "#", "nosort", "*", "out", "w_*->f", "",
];
const NUMBERS: &[&str] = &[
    "0",
    "1",
    "3",
    "-1",
    "100",
    "-5",
    "x",
    "9223372036854775807",
    "",
];
const WEIGHTS: &[&str] = &["1", "-2.5", " 7", "1e3", "0x1F", "", "inf", "-0", "3"];

fn setup() -> Vec<Vec<Vec<u8>>> {
    let mut lines: Vec<String> = [
        "rpush nums 3 1 2 10 -5 1.5 1e2 3 0 0x10",
        "rpush words banana apple Cherry apple date 10 9",
        "sadd ints 5 3 9 1 -7 22",
        "zadd scored 3 a 1 b 2 c 2 7 9 3",
        "hset hash f v",
        "set text x",
    ]
    .map(String::from)
    .to_vec();
    let names = "3 1 2 10 -5 1.5 banana apple Cherry date 9 5 22 a b c";
    for (i, name) in names.split(' ').enumerate() {
        // Every other one has a weight, and no two the same.
        if i % 2 == 0 {
            lines.push(format!("set w_{name} {}", (i * 7) % 17));
        }
        if i % 3 == 0 {
            lines.push(format!("set {{t}}w_{name} v{}", (i * 5) % 19));
        }
        if i % 4 != 0 {
            lines.push(format!("hset o_{name} f {} g x", (i * 3) % 11));
        }
    }
    lines.iter().map(|line| words(line)).collect()
}

fn request(rng: &mut Rng) -> Vec<Vec<u8>> {
    if rng.below(12) == 0 {
        let name = ["3", "apple", "5", "a", "c"][rng.below(5)];
        return words(&format!("set w_{name} \"{}\"", rng.pick(WEIGHTS)));
    }
    if rng.below(12) == 0 {
        return words(rng.pick(&["lrange out 0 -1", "type out", "del out", "exists out"]));
    }
    let command = rng.pick(&["sort", "SORT", "sort", "sort_ro"]);
    let source = rng.pick(SOURCES);
    let mut args = vec![command.as_bytes().to_vec(), source.as_bytes().to_vec()];
    let (mut by, mut limit, mut alpha) = (None, false, false);
    for _ in 0..rng.below(5) {
        let mut say = |words: &[&str]| args.extend(words.iter().map(|w| w.as_bytes().to_vec()));
        match rng.below(16) {
            0..=2 => say(&[rng.pick(&["asc", "DESC", "desc"])]),
            3..=5 => {
                alpha = true;
                say(&["alpha"]);
            }
            6 | 7 => {
                limit = true;
                let (offset, count) = (rng.pick(NUMBERS), rng.pick(NUMBERS));
                say(&["limit", offset, count]);
            }
            8 | 9 => {
                let pattern = rng.pick(PATTERNS);
                by = by.or(Some(pattern));
                say(&["by", pattern]);
            }
            10..=12 => say(&["get", rng.pick(PATTERNS)]),
            13 | 14 => say(&[
                "store",
                rng.pick(&["out", "out", "text", "{t}out", "nums2"]),
            ]),
            _ => say(&[rng.pick(&["by", "get", "limit", "store", "foo", "limit 1"])]),
        }
    }
    // Where the weights of ALPHA are equal, Redis leaves the order to its hash tables, or to a partial sort.
    if alpha && by.is_some() && (limit || !matches!(source, "nums" | "words")) {
        args.retain(|arg| !arg.eq_ignore_ascii_case(b"alpha"));
    }
    args
}

#[test]
fn random_requests_are_answered_as_redis_answers_them() {
    let Some(mut redis) = Redis::start() else {
        return;
    };
    let mut differences = String::new();
    for proto in [Proto::Resp2, Proto::Resp3] {
        redis.ask(&[b"HELLO", if proto == Proto::Resp2 { b"2" } else { b"3" }]);
        for seed in 1..=10 {
            let mut rng = Rng(seed);
            let mut local = Local {
                proto,
                ..Local::new()
            };
            redis.ask(&[b"FLUSHALL"]);
            for args in setup() {
                assert_eq!(compare(&mut redis, &mut local, &args), None);
            }
            for _ in 0..1500 {
                let args = request(&mut rng);
                differences.extend(compare(&mut redis, &mut local, &args));
            }
            assert!(differences.is_empty(), "seed {seed}\n{differences}");
        }
    }
}

#[test]
fn large_sources_are_sorted_as_in_redis() {
    let Some(mut redis) = Redis::start() else {
        return;
    };
    let mut local = Local::new();
    let mut rng = Rng(3);
    for _ in 0..40 {
        for key in ["l", "s", "z"] {
            let mut args = words(match key {
                "l" => "rpush l",
                "s" => "sadd s",
                _ => "zadd z",
            });
            for _ in 0..50 {
                let n = rng.below(5000);
                if key == "z" {
                    args.push((n % 100).to_string().into());
                }
                args.push(format!("{n}.5").into());
            }
            assert_eq!(compare(&mut redis, &mut local, &args), None);
        }
    }
    for key in ["l", "s", "z"] {
        for how in [
            "",
            "desc",
            "alpha",
            "alpha desc limit 10 7",
            "limit 100 5",
            "store d",
        ] {
            let args = words(&format!("sort {key} {how}"));
            assert_eq!(compare(&mut redis, &mut local, &args), None);
        }
        assert_eq!(
            compare(&mut redis, &mut local, &words("lrange d 0 -1")),
            None
        );
    }
    for how in ["limit 3 9", "desc limit 3 9", "desc", "limit 1990 50"] {
        for key in ["l", "z"] {
            let args = words(&format!("sort {key} by nosort {how}"));
            assert_eq!(compare(&mut redis, &mut local, &args), None);
        }
    }
}

#[test]
fn what_is_stored_is_logged() {
    const START: Ms = 1_700_000_000_000;
    let mut local = Local {
        clock: Some(START),
        keep_log: true,
        ..Local::new()
    };
    let ask = |local: &mut Local, line: &str| {
        let args = words(line);
        let refs: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        local.ask(&refs)
    };
    for args in setup() {
        let refs: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        local.ask(&refs);
    }
    for line in [
        "sort nums desc store d1",
        "sort words alpha get # get w_* store d2",
        "sort nums store d3",
        "sort none store d3",
        "sort ints by nosort store nums",
    ] {
        assert_eq!(ask(&mut local, line)[0], b':', "{line}");
    }
    let mut again = Local {
        clock: Some(START),
        ..Local::new()
    };
    for (id, log) in local.log.iter().enumerate() {
        again.ks.shard(id).apply_all(log, START).unwrap();
    }
    for key in ["d1", "d2", "d3", "nums"] {
        let line = format!("lrange {key} 0 -1");
        let reply = ask(&mut local, &line);
        assert_eq!(reply, ask(&mut again, &line));
        assert_eq!(reply == b"*0\r\n", key == "d3");
    }
}
