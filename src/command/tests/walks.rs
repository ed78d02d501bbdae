//! Long answers in steps: to the byte what one step would have answered, whatever happens to the key in between.

use super::*;

const START: Ms = 1_700_000_000_000;
const MANY: usize = 5000;

fn local() -> Local {
    Local {
        clock: Some(START),
        ..Local::new()
    }
}

fn say(local: &mut Local, line: &str) -> Vec<u8> {
    let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    local.ask(&args)
}

/// Large collections of every type, and one of few but long elements.
fn fill(local: &mut Local) {
    let each = |local: &mut Local, head: &str, one: &dyn Fn(usize) -> String| {
        for first in (0..MANY).step_by(500) {
            let words: Vec<String> = (first..first + 500).map(one).collect();
            say(local, &format!("{head} {}", words.join(" ")));
        }
    };
    each(local, "SADD set", &|i| format!("member:{i}"));
    each(local, "HSET hash", &|i| format!("field:{i} value:{i}"));
    each(local, "RPUSH list", &|i| format!("element:{i}"));
    each(local, "ZADD zset", &|i| format!("{} member:{i}", i % 97));
    for i in 0..MANY {
        say(local, &format!("XADD stream {}-1 field value:{i}", i + 1));
    }
    say(local, "XDEL stream 17-1 18-1 4000-1");
    let long = "x".repeat(40_000);
    for i in 0..20 {
        say(local, &format!("RPUSH long {i}:{long}"));
    }
    let fields: Vec<String> = (0..100).map(|i| format!("field:{i}")).collect();
    let line = format!("HPEXPIRE hash 1000 FIELDS 100 {}", fields.join(" "));
    say(local, &line);
}

const READS: &[&str] = &[
    "SMEMBERS set",
    "HGETALL hash",
    "HKEYS hash",
    "HVALS hash",
    "LRANGE list 0 -1",
    "LRANGE list 17 4000",
    "LRANGE list -4990 -3",
    "LRANGE long 0 -1",
    "ZRANGE zset 0 -1",
    "ZRANGE zset 10 -20 REV WITHSCORES",
    "ZREVRANGE zset 0 -1 WITHSCORES",
    "ZRANGEBYSCORE zset 3 (90 WITHSCORES LIMIT 7 4000",
    "ZREVRANGEBYSCORE zset +inf -inf",
    "XRANGE stream - +",
    "XRANGE stream 15 4500",
    "XRANGE stream 4001-1 + COUNT 4000",
    "XREVRANGE stream + - COUNT 4100",
    "XREVRANGE stream 4999 3",
];

/// The answer to a command that may be given in steps; `between` runs before each. The number of steps is told, 0 for an
/// answer that was given at once.
fn stepwise(
    local: &mut Local,
    line: &str,
    mut between: impl FnMut(&mut Local, usize),
) -> (Vec<u8>, usize) {
    let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    let mut out = Vec::new();
    let Ok((row, _)) = resolve(&args) else {
        panic!("{line}: no such command")
    };
    let Run::Data(f) = row.run else {
        panic!("{line}: no data command")
    };
    local.ks.may_walk = true;
    let now = local.clock.unwrap();
    let mut ctx = Ctx {
        ks: &mut local.ks,
        db: local.db,
        databases: DATABASES,
        now,
        now_us: now * 1000,
        random: 7,
        first: None,
        may_wait: true,
        wait: None,
        max_string: local.max_string,
        reply: Reply {
            buf: &mut out,
            proto: local.proto,
        },
    };
    let _: Result<(), Error> = run(f, &mut ctx, &args);
    local.ks.may_walk = false;
    let Some(number) = local.ks.walk.take() else {
        return (out, 0);
    };
    let slot = slot::slot_of(args[1]);
    for step in 1.. {
        between(local, step);
        if !local.ks.at(slot).walk(number, &mut out) {
            return (out, step);
        }
    }
    unreachable!("a walk ends")
}

#[test]
fn steps_answer_what_one_would() {
    for proto in [Proto::Resp2, Proto::Resp3] {
        let mut local = Local { proto, ..local() };
        fill(&mut local);
        for line in READS {
            let whole = say(&mut local, line);
            let (parts, steps) = stepwise(&mut local, line, |_, _| {});
            assert!(steps > 2, "{line}: {steps} steps");
            assert!(whole == parts, "{line}");
            assert!(reply_len(&parts, 0) == Some(parts.len()), "{line}");
        }
    }
}

#[test]
fn what_is_short_is_answered_at_once() {
    let mut local = local();
    fill(&mut local);
    say(&mut local, "SADD small a b c");
    for line in [
        "SMEMBERS small",
        "SMEMBERS none",
        "LRANGE list 0 9",
        "ZRANGE zset 5 90",
        "XRANGE stream - + COUNT 10",
        "XRANGE stream - + COUNT 0",
        "SMEMBERS list",
    ] {
        let whole = say(&mut local, line);
        assert_eq!(stepwise(&mut local, line, |_, _| {}), (whole, 0), "{line}");
    }
}

/// What may happen to the key that is read.
const CHANGES: &[&str] = &[
    "SADD KEY one more",
    "SREM KEY member:1 member:4999 member:2500",
    "SPOP KEY 4000",
    "SMOVE KEY other member:3",
    "HSET KEY field:1 other field:new value",
    "HDEL KEY field:4000 field:4001",
    "HPEXPIRE KEY 1 FIELDS 2 field:300 field:301",
    "LPUSH KEY first",
    "LTRIM KEY 5 6",
    "LSET KEY 4000 other",
    "LREM KEY 0 element:4999",
    "ZADD KEY 50 member:1 0 new",
    "ZREMRANGEBYRANK KEY 100 -100",
    "XADD KEY * field value",
    "XTRIM KEY MAXLEN 3",
    "XDEL KEY 2500-1",
    "DEL KEY",
    "UNLINK KEY",
    "SET KEY string",
    "RENAME KEY {KEY}",
    "COPY other KEY REPLACE",
    "PEXPIRE KEY 1",
    "PERSIST KEY",
    "MOVE KEY 3",
    "SUNIONSTORE KEY other",
    "SORT KEY ALPHA STORE KEY",
    "SWAPDB 0 5",
    "FLUSHDB",
    "FLUSHALL",
    "GET KEY",
];

#[test]
fn a_reader_sees_one_moment_whatever_happens() {
    let mut ended_at_once = 0;
    for (nth, read) in READS.iter().enumerate() {
        let key = read.split(' ').nth(1).unwrap();
        for (other, change) in CHANGES.iter().enumerate() {
            if (nth + other) % 3 != 0 {
                continue;
            }
            let change = change.replace("KEY", key);
            let mut local = local();
            fill(&mut local);
            say(&mut local, "SADD other x y z");
            let whole = say(&mut local, read);
            let when = 1 + (nth * 7 + other * 3) % 5;
            let (parts, steps) = stepwise(&mut local, read, |local, step| {
                if step == when {
                    say(local, &change);
                }
                // Times pass, and keys and fields that are past theirs are removed.
                *local.clock.as_mut().unwrap() += 700;
                let now = local.clock.unwrap();
                for shard in local.ks.present() {
                    shard.expire_cycle(now, 10_000);
                    shard.expire_fields(now, 10_000);
                    shard.sweep(100_000);
                    shard.effects.clear();
                }
            });
            assert!(whole == parts, "{read} beside {change}");
            ended_at_once += usize::from(steps == when);
        }
    }
    assert!(ended_at_once > 10, "{ended_at_once}");
}

#[test]
fn what_is_taken_from_a_reader_lives_as_long_as_it_reads() {
    let mut local = local();
    fill(&mut local);
    let slot = slot::slot_of(b"set");
    let begin = |local: &mut Local| {
        let k = local.ks.key(0, b"set");
        let step = Box::new(|_: &crate::shard::Object, _: usize, _: &mut Reply<'_>| true);
        local.ks.at(slot).begin_walk(&k, Proto::Resp2, step)
    };
    let (one, two) = (begin(&mut local), begin(&mut local));
    let is_held = |local: &mut Local| {
        let k = local.ks.key(0, b"set");
        local.ks.at(slot).is_held(&k)
    };
    assert!(is_held(&mut local));
    say(&mut local, "DEL set");
    assert!(!is_held(&mut local));
    let shard = local.ks.at(slot);
    assert!(!shard.has_garbage());
    let mut out = Vec::new();
    assert!(shard.walk(one, &mut out) && shard.walk(two, &mut out));
    shard.end_walk(one);
    assert!(!shard.has_garbage() && shard.walk(two, &mut out));
    shard.end_walk(two);
    assert!(shard.has_garbage());
    while shard.sweep(1000) {}
    assert!(!shard.walk(two, &mut out) && !shard.walk(99, &mut out));
    // A key of the same name that comes later is another.
    say(&mut local, "SADD set a");
    assert!(!is_held(&mut local));
}
