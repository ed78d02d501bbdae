//! Lists: the same random requests to Redis and to Ferrite, and what the log makes of them.

use super::redis::{Redis, compare};
use super::*;

const KEYS: &[&str] = &["l1", "l2", "{x}3", "text", "none"];
const COUNTS: &[&str] = &[
    "0",
    "1",
    "2",
    "-1",
    "-2",
    "3",
    "100",
    "-100",
    "x",
    "",
    "9223372036",
    "-9223372036854775807",
    "01",
];
const ENDS: &[&str] = &["left", "RIGHT", "Left", "up"];
const WORDS: &[&str] = &["rank", "COUNT", "maxlen", "foo"];

fn item(rng: &mut Rng) -> Vec<u8> {
    match rng.below(12) {
        0 => vec![b'x'; 100 + rng.below(3000)],
        1 => Vec::new(),
        2 => rng.below(1000).to_string().into_bytes(),
        n => vec![b'a' + n as u8 % 3],
    }
}

/// A request about lists.
fn request(rng: &mut Rng) -> Vec<Vec<u8>> {
    // What each takes: k a key, v an element, n a number, e an end, o an option with its value, t a short time.
    const FORMS: &[&str] = &[
        "lpush kv",
        "lpush kvvv",
        "rpush kv",
        "rpush kvvvvvv",
        "rpush kvvv",
        "lpushx kv",
        "rpushx kvv",
        "lpop k",
        "rpop k",
        "lpop kn",
        "rpop kn",
        "lpop knn",
        "llen k",
        "lrange knn",
        "lrange knn",
        "lindex kn",
        "lset knv",
        "linsert kwvv",
        "lrem knv",
        "ltrim knn",
        "lpos kv",
        "lpos kvo",
        "lpos kvoo",
        "lmove kkee",
        "lmove kkee",
        "rpoplpush kk",
        "lmpop 1ke",
        "lmpop 2kke",
        "lmpop 2kkeo",
        "lmpop nke",
        "del k",
        "rename kk",
        "copy kk",
        "blpop kk1",
        "brpop k1",
        "blmove kkee1",
        "brpoplpush kk1",
        "blmpop 12kke",
        "blpop kn",
        "type k",
        "exists k",
    ];
    let form = rng.pick(FORMS);
    let (name, takes) = form.split_once(' ').unwrap();
    let mut args = vec![name.as_bytes().to_vec()];
    for what in takes.chars() {
        match what {
            'k' => args.push(rng.pick(KEYS).into()),
            'v' => args.push(item(rng)),
            'n' => args.push(rng.pick(COUNTS).into()),
            'e' => args.push(rng.pick(ENDS).into()),
            'w' => args.push(rng.pick(&["before", "AFTER", "at"]).into()),
            'o' => {
                args.push(rng.pick(WORDS).into());
                args.push(rng.pick(COUNTS).into());
            }
            digit => args.push(digit.to_string().into_bytes()),
        }
    }
    args
}

/// Whether Redis would wait, which this test has no time for.
fn would_wait(local: &mut Local, args: &[Vec<u8>]) -> bool {
    if args[0][0] != b'b' {
        return false;
    }
    let refs: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
    // Without leave to wait it answers with nothing where it finds nothing, and changes nothing.
    let reply = local.ask(&refs);
    reply == b"*-1\r\n" || reply == b"$-1\r\n"
}

#[test]
fn random_requests_are_answered_as_redis_answers_them() {
    let Some(mut redis) = Redis::start() else {
        return;
    };
    let mut differences = String::new();
    for seed in 1..=20 {
        let mut rng = Rng(seed);
        let mut local = Local::new();
        let mut waits = Local::new();
        redis.ask(&[b"FLUSHALL"]);
        for set in [&mut local, &mut waits] {
            set.ask(&[b"SET", b"text", b"x"]);
        }
        redis.ask(&[b"SET", b"text", b"x"]);
        for _ in 0..1500 {
            let args = request(&mut rng);
            // The second is always a step ahead, and tells whether to ask at all.
            if would_wait(&mut waits, &args) {
                continue;
            }
            differences.extend(compare(&mut redis, &mut local, &args));
            if args[0][0] != b'b' {
                let refs: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
                waits.ask(&refs);
            }
        }
        for key in KEYS {
            let args = [
                b"lrange".to_vec(),
                key.as_bytes().to_vec(),
                b"0".to_vec(),
                b"-1".to_vec(),
            ];
            differences.extend(compare(&mut redis, &mut local, &args));
        }
        assert!(differences.is_empty(), "seed {seed}\n{differences}");
    }
}

#[test]
fn the_log_rebuilds_lists() {
    const START: Ms = 1_700_000_000_000;
    let mut long = 0;
    for seed in 1..=20 {
        let mut rng = Rng(seed);
        let mut local = Local {
            clock: Some(START),
            keep_log: true,
            ..Local::new()
        };
        for _ in 0..600 {
            let args = request(&mut rng);
            let refs: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
            local.ask(&refs);
        }
        let mut again = Local {
            clock: Some(START),
            ..Local::new()
        };
        for (id, log) in local.log.iter().enumerate() {
            again.ks.shard(id).apply_all(log, START).unwrap();
        }
        for key in KEYS {
            for request in ["lrange K 0 -1", "object encoding K", "type K"] {
                let args = words(&request.replace('K', key));
                let refs: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
                let reply = local.ask(&refs);
                assert_eq!(reply, again.ask(&refs), "seed {seed}, {request} of {key}");
                long += usize::from(reply == b"$9\r\nquicklist\r\n");
            }
        }
    }
    assert!(long > 0, "no list was long");
}
