//! Places: random requests to Redis and to Ferrite.

use super::redis::{Redis, compare};
use super::*;

/// k a key, m a member, p longitude and latitude, d a distance with its unit, b two and a unit, u a unit, o options.
const RANDOM: &[(&str, &str, &[&str])] = &[
    ("geoadd", "kpm", &[]),
    ("geoadd", "kpmpmpm", &[]),
    ("geoadd", "kopm", ADD),
    ("geopos", "kmm", &[]),
    ("geodist", "kmm", &[]),
    ("geodist", "kmmu", &[]),
    ("geohash", "kmm", &[]),
    ("geosearch", "kfso", SEARCH),
    ("geosearch", "kfso", SEARCH),
    ("geosearch", "kfso", SEARCH),
    ("geosearchstore", "Skfso", SEARCH),
    ("georadius", "kpdo", RADIUS),
    ("georadius_ro", "kpdo", RADIUS),
    ("georadiusbymember", "kmdo", RADIUS),
    ("georadiusbymember_ro", "kmdo", RADIUS),
    // Scores that are distances print with 17 digits in 7.0, and as short as they can be in 7.2.
    ("zrange S 0 -1", "", &[]),
    ("zrem", "km", &[]),
    ("del", "k", &[]),
];
const ADD: &[&str] = &["NX", "XX", "ch", "x"];
const SEARCH: &[&str] = &[
    "ASC",
    "DESC",
    "WITHCOORD",
    "WITHDIST",
    "withhash",
    "COUNT 3",
    "COUNT 1",
    "COUNT 2 ANY",
    "ANY",
    "COUNT 0",
    "STOREDIST",
    "x",
    "FROMMEMBER b",
    "BYRADIUS 5 km",
];
const RADIUS: &[&str] = &[
    "ASC",
    "DESC",
    "WITHCOORD",
    "WITHDIST",
    "withhash",
    "COUNT 3",
    "COUNT 2 ANY",
    "ANY",
    "COUNT x",
    "STORE S",
    "STOREDIST S",
    "x",
    "STORE",
];
const KEYS: &[&str] = &["a", "b", "a", "b", "c", "none", "text"];
const MEMBERS: &[&str] = &["a", "b", "c", "d", "e", "f", "g", "h", "i", "none"];
const UNITS: &[&str] = &["m", "km", "MI", "ft", "x"];
const FIGURES: &[&str] = &[
    "0", "100", "200", "1000", "5000", "0.5", "200000", "5000", "50", "-1", "x",
];

pub(super) fn request(rng: &mut Rng) -> Vec<Vec<u8>> {
    let (name, shape, options) = RANDOM[rng.below(RANDOM.len())];
    let mut text = name.to_string();
    for c in shape.chars() {
        let place = |rng: &mut Rng| match rng.below(12) {
            0 => [
                "180 85.05112878",
                "-180 -85",
                "181 0",
                "0 90",
                "x 1",
                "179.99 0.1",
            ][rng.below(6)]
            .to_string(),
            // Many close to each other, some anywhere.
            1..=7 => format!(
                "{} {}",
                13.0 + rng.below(3000) as f64 / 1000.0,
                37.0 + rng.below(2000) as f64 / 1000.0
            ),
            _ => format!(
                "{} {}",
                rng.below(360) as f64 - 180.0,
                rng.below(169) as f64 - 84.0
            ),
        };
        let word = match c {
            'k' => rng.pick(KEYS).to_string(),
            'S' => "S".to_string(),
            'm' => rng.pick(MEMBERS).to_string(),
            'p' => place(rng),
            'u' => rng.pick(UNITS).to_string(),
            'd' => format!("{} {}", rng.pick(FIGURES), rng.pick(&UNITS[..4])),
            'f' if rng.below(3) == 0 => format!("FROMMEMBER {}", rng.pick(MEMBERS)),
            'f' => format!("fromlonlat {}", place(rng)),
            's' if rng.below(2) == 0 => {
                format!("BYRADIUS {} {}", rng.pick(FIGURES), rng.pick(&UNITS[..4]))
            }
            's' => format!(
                "bybox {} {} {}",
                rng.pick(FIGURES),
                rng.pick(FIGURES),
                rng.pick(&UNITS[..4])
            ),
            _ => (0..rng.below(4))
                .map(|_| rng.pick(options))
                .collect::<Vec<_>>()
                .join(" "),
        };
        text = format!("{text} {word}");
    }
    text.split_whitespace().map(Vec::from).collect()
}

fn run(proto: Proto, seeds: std::ops::RangeInclusive<u64>) {
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
        let steps: Vec<_> = (0..3000).map(|_| request(&mut rng)).collect();
        for args in std::iter::once(words("SET text hello")).chain(steps) {
            let difference = compare(&mut redis, &mut local, &args);
            history.push(show(&args));
            if let Some(difference) = difference {
                let adds = history
                    .iter()
                    .filter(|line| line.starts_with("geoadd"))
                    .count();
                let from = history.len().saturating_sub(20);
                panic!(
                    "seed {seed} ({adds} additions):\n{difference}\nbefore it:\n{}",
                    history[from..].join("\n")
                );
            }
        }
    }
}

#[test]
fn random_searches_find_what_redis_finds() {
    let seed = std::env::var("FERRITE_SEED")
        .ok()
        .and_then(|s| s.parse().ok());
    run(Proto::Resp2, seed.map_or(1..=6, |s| s..=s));
    run(Proto::Resp3, seed.map_or(50..=52, |s| s..=s));
}
