//! Bitmaps and HyperLogLogs beside a running Redis.

use super::redis::{Redis, compare};
use super::*;

const KEYS: &[&str] = &["a", "b", "{a}c", "n", "none"];
const OFFSETS: &[&str] = &[
    "0",
    "1",
    "7",
    "8",
    "9",
    "63",
    "64",
    "100",
    "1000",
    "-1",
    "x",
    "#1",
    "4294967295",
    "4294967296",
];
const BOUNDS: &[&str] = &["0", "1", "-1", "-2", "5", "17", "-100", "100", "x"];
const TYPES: &[&str] = &[
    "u1", "i1", "u8", "i8", "u16", "i33", "u63", "i64", "u64", "i65", "u0", "x", "i",
];
const NUMBERS: &[&str] = &[
    "0",
    "1",
    "-1",
    "100",
    "300",
    "-129",
    "65536",
    "9223372036854775807",
    "-9223372036854775808",
    "x",
];

fn request(rng: &mut Rng) -> Vec<Vec<u8>> {
    let key = rng.pick(KEYS).to_string();
    let mut text = match rng.below(12) {
        0..3 => format!(
            "setbit {key} {} {}",
            rng.pick(&OFFSETS[..10]),
            rng.pick(&["0", "1", "1", "2"])
        ),
        3 => format!("getbit {key} {}", rng.pick(OFFSETS)),
        4 | 5 => format!("bitcount {key}"),
        6 | 7 => format!("bitpos {key} {}", rng.pick(&["0", "1", "0", "1", "2"])),
        8 => {
            let mut text = format!(
                "bitop {} {}",
                rng.pick(&["and", "OR", "xor", "not", "nor"]),
                rng.pick(KEYS)
            );
            for _ in 0..1 + rng.below(3) {
                text += &format!(" {}", rng.pick(KEYS));
            }
            text
        }
        9 | 10 => {
            let mut text = format!("bitfield {key}");
            for _ in 0..rng.below(4) {
                let (kind, at) = (
                    rng.pick(TYPES),
                    rng.pick(&["0", "3", "8", "#1", "#2", "100", "-1", "x"]),
                );
                text += &match rng.below(5) {
                    0 => format!(" get {kind} {at}"),
                    1 => format!(" set {kind} {at} {}", rng.pick(NUMBERS)),
                    2 | 3 => format!(" INCRBY {kind} {at} {}", rng.pick(NUMBERS)),
                    _ => format!(" overflow {}", rng.pick(&["sat", "fail", "WRAP", "x"])),
                };
            }
            text
        }
        _ => match rng.below(6) {
            0 => format!("set {key} {}", rng.pick(NUMBERS)),
            1 => format!("del {key}"),
            2 => format!("bitfield_ro {key} get {} 3", rng.pick(TYPES)),
            3 => format!("bitfield_ro {key} set u8 0 1"),
            4 => format!("append {key} abc"),
            _ => format!("strlen {key}"),
        },
    };
    if text.starts_with("bitcount") || text.starts_with("bitpos") {
        for _ in 0..rng.below(3) {
            text += &format!(" {}", rng.pick(BOUNDS));
        }
        if rng.below(3) == 0 {
            // An empty range is answered by 7.0 before it looks at the unit.
            let units: &[&str] = match text.starts_with("bitcount") {
                true => &["BIT", "byte"],
                false => &["BIT", "byte", "x"],
            };
            text += &format!(" {}", rng.pick(units));
        }
    }
    words(&text)
}

#[test]
fn bitmaps_answer_as_redis_does() {
    let Some(mut redis) = Redis::start() else {
        return;
    };
    for seed in 1..=6 {
        let mut rng = Rng(seed);
        let mut local = Local::new();
        redis.ask(&[b"flushall"]);
        for key in &KEYS[..4] {
            let fill = words(&format!("set {key} 10{key}"));
            assert_eq!(compare(&mut redis, &mut local, &fill), None);
        }
        for n in 0..3000 {
            let args = request(&mut rng);
            // Of a key that is not there, Redis 7.2 looks at the arguments first, 7.0 does not.
            let refused = matches!(&args[0][..], b"bitcount" | b"bitpos")
                && local.ask(&[b"exists", &args[1]]) == b":0\r\n";
            if refused {
                continue;
            }
            if let Some(difference) = compare(&mut redis, &mut local, &args) {
                panic!("seed {seed}, request {n}: {difference}");
            }
        }
        for key in KEYS {
            let get = words(&format!("get {key}"));
            assert_eq!(compare(&mut redis, &mut local, &get), None, "seed {seed}");
        }
    }
}

#[test]
fn hyperloglogs_count_as_those_of_redis() {
    let Some(mut redis) = Redis::start() else {
        return;
    };
    let mut local = Local::new();
    let mut rng = Rng(5);
    let mut ask = |text: String, redis: &mut Redis| {
        assert_eq!(compare(redis, &mut local, &words(&text)), None);
    };
    ask("pfcount none".into(), &mut redis);
    ask("pfmerge made none".into(), &mut redis);
    ask("pfadd made".into(), &mut redis);
    ask("pfadd made2".into(), &mut redis);
    ask("set text abc".into(), &mut redis);
    ask("pfadd text x".into(), &mut redis);
    ask("pfcount made text".into(), &mut redis);
    ask("pfmerge text made".into(), &mut redis);
    for round in 0..400 {
        let key = rng.pick(&["h1", "h2", "h3"]).to_string();
        let base = rng.below(20_000);
        let n = if round < 100 { 3 } else { 60 };
        let elements: Vec<String> = (0..1 + rng.below(n))
            .map(|i| format!("e{}", base + i))
            .collect();
        ask(format!("pfadd {key} {}", elements.join(" ")), &mut redis);
        ask(format!("pfcount {key}"), &mut redis);
        if rng.below(10) == 0 {
            ask("pfcount h1 h2 h3 none".into(), &mut redis);
            ask("pfmerge all h1 h2".into(), &mut redis);
            ask("pfcount all".into(), &mut redis);
        }
    }
    // The string is Redis's own: it counts on it where ours is put.
    for key in ["h1", "all"] {
        let ours = local.ask(&[b"get", key.as_bytes()]);
        let start = ours.iter().position(|&b| b == b'\n').unwrap() + 1;
        let text = &ours[start..ours.len() - 2];
        redis.ask(&[b"set", b"theirs", text]);
        assert_eq!(
            redis.ask(&[b"pfcount", b"theirs"]),
            local.ask(&[b"pfcount", key.as_bytes()])
        );
    }
}
