//! SWAPDB, and the commands about what this server is not part of, beside a running Redis.

use super::redis::{Redis, compare};
use super::*;

fn request(rng: &mut Rng) -> Vec<Vec<u8>> {
    let key = rng.pick(&["a", "b", "{a}c", "h", "z"]);
    let db = rng.pick(&["0", "1", "2", "15"]);
    let other = rng.pick(&["0", "1", "2", "15", "16", "-1", "x", "99999999999"]);
    let n = rng.below(100);
    words(&match rng.below(14) {
        0 | 1 => format!("SET {key} {n}"),
        2 => format!("APPEND {key} {n}"),
        3 => format!("HSET h f{n} {n}"),
        4 => format!("ZADD z {n} m{n}"),
        5 => format!("DEL {key}"),
        6 => format!("GET {key}"),
        7 => format!("EXPIRE {key} 1000"),
        8 => format!("TTL {key}"),
        9 => format!("SELECT {db}"),
        10 => format!("SWAPDB {db} {other}"),
        11 => format!("SWAPDB {db} {}", rng.pick(&["0", "1", "2"])),
        12 => "DBSIZE".to_owned(),
        _ => format!("TYPE {}", rng.pick(&["h", "z", "a"])),
    })
}

#[test]
fn databases_change_places_as_in_redis_and_in_the_log() {
    let Some(mut redis) = Redis::start() else {
        return;
    };
    let mut rng = Rng(77);
    for _ in 0..6 {
        redis.ask(&[b"FLUSHALL"]);
        redis.ask(&[b"SELECT", b"0"]);
        let mut local = Local {
            keep_log: true,
            ..Local::new()
        };
        for _ in 0..600 {
            let args = request(&mut rng);
            // The tests' own SELECT takes good numbers only.
            if let Some(difference) = compare(&mut redis, &mut local, &args) {
                panic!("{difference}");
            }
        }
        let mut again = Local::new();
        for (id, log) in local.log.iter().enumerate() {
            again.ks.shard(id).apply_all(log, 1).unwrap();
        }
        for db in 0..DATABASES {
            for key in ["a", "b", "{a}c", "h", "z"] {
                (local.db, again.db) = (db, db);
                for ask in ["GET", "HGETALL", "EXPIRETIME"] {
                    let args: &[&[u8]] = &[ask.as_bytes(), key.as_bytes()];
                    assert_eq!(local.ask(args), again.ask(args), "{db} {ask} {key}");
                }
            }
        }
    }
}

/// Fields whose time comes go wherever their hash has come to be.
#[test]
fn fields_expire_where_their_hash_has_gone() {
    let start = 1_700_000_000_000;
    let mut local = Local {
        clock: Some(start),
        ..Local::new()
    };
    for line in [
        "HSET h f v g w",
        "HPEXPIRE h 1000 FIELDS 1 f",
        "SWAPDB 0 5",
        "HSET h other v g w",
        "HPEXPIRE h 1000 FIELDS 1 other",
        "SWAPDB 5 3",
    ] {
        local.ask(&words(line).iter().map(Vec::as_slice).collect::<Vec<_>>());
    }
    for shard in local.ks.present() {
        shard.effects.clear();
        shard.expire_fields(start + 2000, 100);
    }
    local.clock = Some(start + 500);
    for db in [0, 3] {
        local.db = db;
        assert_eq!(local.ask(&[b"HKEYS", b"h"]), b"*1\r\n$1\r\ng\r\n", "{db}");
    }
    for shard in local.ks.present() {
        assert!(!shard.has_timed_fields());
    }
}

#[test]
fn what_is_absent_is_absent_in_the_words_of_redis() {
    let Some(mut redis) = Redis::start() else {
        return;
    };
    let mut local = Local::new();
    let mut differences = String::new();
    for line in [
        "CLUSTER",
        "CLUSTER INFO",
        "CLUSTER HELP",
        "CLUSTER NODES",
        "CLUSTER KEYSLOT a",
        "CLUSTER KEYSLOT",
        "CLUSTER nothing",
        "CLUSTER ADDSLOTS 1 2",
        "CLUSTER MEET 127.0.0.1 1",
        "ASKING",
        "ASKING x",
        "READONLY",
        "READWRITE",
        "REPLICAOF a",
        "FAILOVER",
        "FAILOVER ABORT",
        "FAILOVER TO a",
        "FAILOVER TO a 1 FORCE TIMEOUT 5",
        "FAILOVER x",
        "MODULE LIST",
        "MODULE nothing",
        "MODULE UNLOAD",
        "PSYNC",
        "SYNC x",
    ] {
        differences += &compare(&mut redis, &mut local, &words(line)).unwrap_or_default();
    }
    assert!(differences.is_empty(), "{differences}");
}
