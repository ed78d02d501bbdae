//! Random requests, to Redis and to Ferrite.

use super::redis::{Redis, compare};
use super::*;

/// What a command of the random run takes: k a key, v a value, i an integer, f a float, o an option of
/// the words behind it (any number of them), t a time, g a pattern.
const RANDOM: &[(&str, &str, &[&str])] = &[
    ("get", "k", &[]),
    ("get", "k", &[]),
    ("set", "kv", &[]),
    ("set", "kvo", SET),
    ("set", "kvo", SET),
    ("set", "kvo", SET),
    ("setnx", "kv", &[]),
    ("setex", "ktv", &[]),
    ("psetex", "ktv", &[]),
    ("getset", "kv", &[]),
    ("getdel", "k", &[]),
    ("getex", "ko", SET),
    ("getex", "ko", SET),
    ("append", "kv", &[]),
    ("strlen", "k", &[]),
    ("getrange", "kii", &[]),
    ("substr", "kii", &[]),
    ("setrange", "kiv", &[]),
    ("incr", "k", &[]),
    ("decr", "k", &[]),
    ("incrby", "ki", &[]),
    ("decrby", "ki", &[]),
    ("incrbyfloat", "kf", &[]),
    ("incrbyfloat", "kf", &[]),
    ("mget", "kkk", &[]),
    ("mset", "kvkv", &[]),
    ("mset", "kvk", &[]),
    ("msetnx", "kvkv", &[]),
    ("lcs", "kko", LCS),
    ("del", "kk", &[]),
    ("unlink", "k", &[]),
    ("exists", "kkk", &[]),
    ("touch", "kk", &[]),
    ("type", "k", &[]),
    ("rename", "kk", &[]),
    ("renamenx", "kk", &[]),
    ("copy", "kko", COPY),
    ("move", "ki", &[]),
    ("expire", "kto", EXPIRE),
    ("pexpire", "kto", EXPIRE),
    ("expireat", "kto", EXPIRE),
    ("pexpireat", "kto", EXPIRE),
    ("ttl", "k", &[]),
    ("pttl", "k", &[]),
    ("expiretime", "k", &[]),
    ("pexpiretime", "k", &[]),
    ("persist", "k", &[]),
    ("keys", "g", &[]),
    ("echo", "v", &[]),
    ("ping", "v", &[]),
    ("get", "kk", &[]),
    ("incr", "", &[]),
];
pub(super) const SET: &[&str] = &[
    "NX",
    "xx",
    "GET",
    "KEEPTTL",
    "PERSIST",
    "EX",
    "PX",
    "EXAT",
    "PXAT",
    "100",
    "100000",
    "4000000000",
    "4000000000000",
    "0",
    "-1",
    "x",
];
pub(super) const LCS: &[&str] = &["LEN", "IDX", "MINMATCHLEN", "WITHMATCHLEN", "1", "2", "x"];
const COPY: &[&str] = &["DB", "REPLACE", "1", "0", "99", "x"];
pub(super) const EXPIRE: &[&str] = &["NX", "XX", "GT", "LT", "nope"];
pub(super) const KEYS: &[&str] = &["a", "b", "c", "{a}d", "e", ""];
pub(super) const VALUES: &[&str] = &[
    "",
    "0",
    "1",
    "-1",
    "007",
    "10.5",
    "3.0e3",
    "hello world",
    "ohmytext",
    "mynewtext",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    " 1",
    "1 ",
    "\u{0}\r\n",
    "0.1",
    "-0",
    "inf",
    "nan",
    "1e400",
    "1e5000",
    "3.14159265358979323846264338327950288",
];
pub(super) const INTS: &[&str] = &[
    "0",
    "1",
    "-1",
    "2",
    "5",
    "-5",
    "100",
    "-100",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "x",
    "",
    "1.5",
    "536870911",
];
pub(super) const FLOATS: &[&str] = &[
    "0",
    "1",
    "-1.5",
    "0.1",
    "1e10",
    "-1e-10",
    "3.0e3",
    "1e17",
    "123456789.123456789",
    "1e-20",
    "0x1.8p1",
    "0xA",
    "+4",
    "1e4000",
    "-inf",
    "inf",
    "nan",
    "1e4932",
    "x",
    "",
    " 1",
    "0.000000000000000005",
    "0.00000000000000000499999",
    "99999999999999999999",
    "-0",
];
pub(super) const TIMES: &[&str] = &[
    "100",
    "1000",
    "100000",
    "0",
    "-1",
    "4000000000",
    "4000000000000",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775",
    "x",
    "1",
];
pub(super) const PATTERNS: &[&str] = &[
    "*", "?", "[a-c]", "[^a]", "*d", "\\*", "{*", "**", "", "[", "*a*",
];

pub(super) fn request(rng: &mut Rng) -> Vec<Vec<u8>> {
    let (name, shape, options) = RANDOM[rng.below(RANDOM.len())];
    let mut args = vec![name.as_bytes().to_vec()];
    for c in shape.chars() {
        let mut push = |s: &str| args.push(s.as_bytes().to_vec());
        match c {
            'k' => push(rng.pick(KEYS)),
            'v' => push(rng.pick(VALUES)),
            'i' => push(rng.pick(INTS)),
            'f' => push(rng.pick(FLOATS)),
            't' => push(rng.pick(TIMES)),
            'g' => push(rng.pick(PATTERNS)),
            _ => (0..rng.below(5)).for_each(|_| push(rng.pick(options))),
        }
    }
    args
}

/// Requests whose outcome depends on the moment: keys that live a second or less.
fn too_brief(args: &[Vec<u8>]) -> bool {
    let name = args[0].as_slice();
    let brief = |a: &[u8]| matches!(a, b"1" | b"100" | b"1000");
    match name {
        b"pexpire" if brief(&args[2]) => true,
        b"setex" => args[2] == b"1",
        b"psetex" => brief(&args[2]),
        b"set" | b"getex" => args
            .windows(2)
            .any(|w| w[0].eq_ignore_ascii_case(b"px") && brief(&w[1])),
        // How the new time compares with the old depends on when either came.
        b"expire" | b"pexpire" => {
            args[2] == b"1" || args[3..].iter().any(|a| a == b"GT" || a == b"LT")
        }
        // A string of half a gigabyte takes its time.
        b"setrange" => args[2] == b"536870911",
        _ => false,
    }
}

#[test]
fn random_requests_are_answered_as_redis_answers_them() {
    let Some(mut redis) = Redis::start() else {
        return;
    };
    let seed = std::env::var("FERRITE_SEED")
        .ok()
        .and_then(|s| s.parse().ok());
    let seeds = seed.map_or(1..=8u64, |s| s..=s);
    for seed in seeds {
        let mut rng = Rng(seed);
        let mut local = Local::new();
        redis.ask(&[b"FLUSHALL"]);
        let mut history: Vec<String> = Vec::new();
        for step in 0..6000 {
            let args = request(&mut rng);
            if too_brief(&args) {
                continue;
            }
            let difference = compare(&mut redis, &mut local, &args);
            history.push(show(&args));
            if let Some(difference) = difference {
                let from = history.len().saturating_sub(25);
                panic!(
                    "seed {seed}, step {step}:\n{difference}\nbefore it:\n{}",
                    history[from..].join("\n")
                );
            }
        }
    }
}
