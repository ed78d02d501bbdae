//! The stream family beside a running Redis, and the laws of its log.

use super::redis::Redis;
use super::*;
use crate::shard::records;

const KEYS: &[&str] = &["s", "s", "s", "t", "{s}u", "str"];
const GROUPS: &[&str] = &["g", "g", "h", "nope"];
const CONSUMERS: &[&str] = &["alice", "bob", "carol"];
const IDS: &[&str] = &[
    "0",
    "0-0",
    "0-1",
    "1",
    "1-1",
    "2",
    "2-3",
    "3-0",
    "5",
    "5-5",
    "7-1",
    "9",
    "12",
    "15-2",
    "20",
    "30",
    "1000",
    "18446744073709551615-18446744073709551615",
    "18446744073709551615",
    "x",
    "",
    "-",
    "+",
    "5-x",
    "1-*",
    "-1",
    " 5",
    "05-01",
];
const BOUNDS: &[&str] = &[
    "-", "-", "-", "+", "+", "+", "0", "1-1", "(1-1", "3", "(3", "5-5", "(5-5", "9", "(9", "(-",
    "(0-0", "(",
];
const COUNTS: &[&str] = &["0", "1", "2", "3", "5", "10", "100", "-1", "x"];
const IDLES: &[&str] = &["0", "0", "0", "0", "1000000", "-5", "x"];
const FIELDS: &[&str] = &["f", "f", "f", "name", "n", "", "value"];
const VALUES: &[&str] = &[
    "v",
    "1",
    "",
    "-7",
    "a longer value of an entry",
    "10000000000",
];

fn count_option(rng: &mut Rng, args: &mut Vec<String>) {
    if rng.below(2) == 0 {
        args.push(rng.pick(&["COUNT", "count"]).into());
        args.push(rng.pick(COUNTS).into());
    }
}

/// How a stream is to be trimmed, mostly well formed.
fn trim(rng: &mut Rng, args: &mut Vec<String>) {
    match rng.below(5) {
        0 => args.extend([
            rng.pick(&["MINID", "minid"]).into(),
            rng.pick(&["=", "~", "="]).into(),
            rng.pick(IDS).into(),
        ]),
        1 => args.extend(["MAXLEN".into(), rng.pick(COUNTS).into()]),
        2 => args.extend([
            "MAXLEN".into(),
            rng.pick(&["~", "="]).into(),
            rng.pick(COUNTS).into(),
        ]),
        3 => args.extend([
            rng.pick(&["MAXLEN", "MINID"]).into(),
            "~".into(),
            rng.pick(COUNTS).into(),
            "LIMIT".into(),
            rng.pick(&["0", "1", "100", "150", "-1", "x"]).into(),
        ]),
        _ => args.push(rng.pick(&["MAXLEN", "LIMIT", "~", "NOMKSTREAM"]).into()),
    }
}

/// A random request. `tick` is what ids count by.
fn request(rng: &mut Rng, tick: &mut u64) -> Vec<Vec<u8>> {
    let mut args: Vec<String> = Vec::new();
    let key = rng.pick(KEYS).to_string();
    match rng.below(100) {
        0..30 => {
            args.extend(["XADD".into(), key]);
            if rng.below(10) == 0 {
                args.push("NOMKSTREAM".into());
            }
            if rng.below(8) == 0 {
                trim(rng, &mut args);
            }
            if rng.below(12) == 0 {
                args.push(rng.pick(IDS).into());
            } else {
                *tick += rng.next() % 2;
                args.push(match rng.below(3) {
                    0 => format!("{tick}-*"),
                    1 => format!("{tick}"),
                    _ => format!("{tick}-{}", rng.below(4)),
                });
            }
            let pairs = match rng.below(10) {
                0 => rng.below(4),
                1 => 2,
                _ => 1,
            };
            for _ in 0..pairs {
                args.push(rng.pick(FIELDS).into());
                args.push(rng.pick(VALUES).into());
            }
            if rng.below(30) == 0 {
                args.push("odd".into());
            }
        }
        30..34 => args.extend(["XLEN".into(), key]),
        34..42 => {
            let name = rng.pick(&["XRANGE", "XREVRANGE"]).to_string();
            args.extend([name, key, rng.pick(BOUNDS).into(), rng.pick(BOUNDS).into()]);
            count_option(rng, &mut args);
        }
        42..46 => {
            args.extend(["XDEL".into(), key]);
            (0..=rng.below(3)).for_each(|_| {
                args.push(match rng.below(3) {
                    0 => rng.pick(IDS).into(),
                    _ => format!("{}-{}", rng.next() % (*tick + 1), rng.below(3)),
                });
            });
        }
        46..48 => {
            args.extend(["XTRIM".into(), key]);
            trim(rng, &mut args);
        }
        48..50 => {
            args.extend(["XSETID".into(), key, format!("{}", *tick + rng.next() % 3)]);
            if rng.below(3) == 0 {
                args.extend(["ENTRIESADDED".into(), rng.pick(COUNTS).into()]);
            }
            if rng.below(3) == 0 {
                args.extend(["MAXDELETEDID".into(), rng.pick(IDS).into()]);
            }
        }
        50..54 => {
            args.push("XREAD".into());
            count_option(rng, &mut args);
            args.push("STREAMS".into());
            let other = rng.pick(KEYS).to_string();
            args.extend([
                key,
                other,
                rng.pick(IDS).into(),
                rng.pick(&["0", "5", "$", ">"]).into(),
            ]);
            if rng.below(20) == 0 {
                args.pop();
            }
        }
        54..66 => {
            args.extend(["XREADGROUP".into(), "GROUP".into(), rng.pick(GROUPS).into()]);
            args.push(rng.pick(CONSUMERS).into());
            count_option(rng, &mut args);
            if rng.below(6) == 0 {
                args.push("NOACK".into());
            }
            args.extend(["STREAMS".into(), key]);
            args.push(match rng.below(10) {
                0..7 => ">".into(),
                7 => "0".into(),
                8 => rng.pick(IDS).into(),
                _ => "$".into(),
            });
        }
        66..72 => {
            args.extend(["XACK".into(), key, rng.pick(GROUPS).into()]);
            (0..=rng.below(3)).for_each(|_| {
                args.push(match rng.below(3) {
                    0 => rng.pick(IDS).into(),
                    _ => format!("{}-{}", rng.next() % (*tick + 1), rng.below(3)),
                });
            });
        }
        72..77 => {
            args.extend(["XPENDING".into(), key, rng.pick(GROUPS).into()]);
            if rng.below(3) > 0 {
                if rng.below(3) == 0 {
                    args.extend(["IDLE".into(), rng.pick(IDLES).into()]);
                }
                args.extend([
                    rng.pick(BOUNDS).into(),
                    rng.pick(BOUNDS).into(),
                    rng.pick(COUNTS).into(),
                ]);
                if rng.below(3) == 0 {
                    args.push(rng.pick(CONSUMERS).into());
                }
            }
        }
        77..82 => {
            args.extend([
                "XCLAIM".into(),
                key,
                rng.pick(GROUPS).into(),
                rng.pick(CONSUMERS).into(),
            ]);
            args.push(rng.pick(IDLES).into());
            (0..=rng.below(3)).for_each(|_| {
                args.push(match rng.below(4) {
                    0 => rng.pick(IDS).into(),
                    _ => format!("{}-{}", rng.next() % (*tick + 1), rng.below(3)),
                });
            });
            for _ in 0..rng.below(3) {
                match rng.below(8) {
                    0 => args.extend(["RETRYCOUNT".into(), rng.pick(COUNTS).into()]),
                    1 => args.extend(["IDLE".into(), rng.pick(&["0", "5000", "x", "-1"]).into()]),
                    2 => args.extend([
                        "TIME".into(),
                        rng.pick(&["5", "99999999999999", "-1"]).into(),
                    ]),
                    3 => args.extend(["LASTID".into(), rng.pick(IDS).into()]),
                    4 | 5 => args.push("FORCE".into()),
                    6 => args.push("JUSTID".into()),
                    _ => args.push("nope".into()),
                }
            }
        }
        82..86 => {
            args.extend([
                "XAUTOCLAIM".into(),
                key,
                rng.pick(GROUPS).into(),
                rng.pick(CONSUMERS).into(),
            ]);
            args.extend([rng.pick(IDLES).into(), rng.pick(BOUNDS).into()]);
            count_option(rng, &mut args);
            if rng.below(3) == 0 {
                args.push("JUSTID".into());
            }
        }
        86..92 => {
            let group = rng.pick(GROUPS).to_string();
            args.push("XGROUP".into());
            match rng.below(10) {
                0..5 => {
                    args.extend(["CREATE".into(), key, group]);
                    args.push(rng.pick(&["0", "$", "5", "x", "-"]).into());
                    if rng.below(2) == 0 {
                        args.push("MKSTREAM".into());
                    }
                    if rng.below(4) == 0 {
                        args.extend(["ENTRIESREAD".into(), rng.pick(COUNTS).into()]);
                    }
                }
                5 => args.extend([
                    "SETID".into(),
                    key,
                    group,
                    rng.pick(&["0", "$", "5", "+", "x"]).into(),
                ]),
                6 => args.extend(["DESTROY".into(), key, group]),
                7 => args.extend([
                    "CREATECONSUMER".into(),
                    key,
                    group,
                    rng.pick(CONSUMERS).into(),
                ]),
                8 => args.extend(["DELCONSUMER".into(), key, group, rng.pick(CONSUMERS).into()]),
                _ => args.extend([
                    "SETID".into(),
                    key,
                    group,
                    "3".into(),
                    "ENTRIESREAD".into(),
                    rng.pick(COUNTS).into(),
                ]),
            }
        }
        92..98 => {
            args.push("XINFO".into());
            match rng.below(6) {
                0 => args.extend(["STREAM".into(), key]),
                1 | 2 => {
                    args.extend(["STREAM".into(), key, "FULL".into()]);
                    count_option(rng, &mut args);
                }
                3 => args.extend(["CONSUMERS".into(), key, rng.pick(GROUPS).into()]),
                _ => args.extend(["GROUPS".into(), key]),
            }
        }
        98 => args.extend([rng.pick(&["DEL", "TYPE", "EXISTS", "OBJECT"]).into(), key]),
        _ if rng.below(4) == 0 => args.extend(["SET".into(), "str".into(), "x".into()]),
        _ => args.extend(["RENAME".into(), key, rng.pick(&["t", "s"]).into()]),
    }
    // Redis 7.4 knows the last entry by `+`; the one at hand does not.
    if args[0].starts_with("XREAD") {
        args.iter_mut()
            .filter(|arg| *arg == "+")
            .for_each(|arg| *arg = "6".into());
    }
    args.into_iter().map(String::into_bytes).collect()
}

/// A reply as text, with what may differ left out: times, what only Redis 7.2 says, and the nodes of Redis's own index.
fn plain(reply: &[u8]) -> String {
    let text: Vec<String> = reply
        .split(|&b| b == b'\n')
        .map(|line| line.trim_ascii_end().escape_ascii().to_string())
        .collect();
    let mut out = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let line = &text[at];
        let named = |names: &[&str]| names.contains(&line.as_str());
        if named(&["inactive", "active-time"]) {
            out.pop();
            at += 2;
            continue;
        }
        // The elements of a consumer are counted differently by 7.0 and 7.2.
        out.push(match line.as_str() {
            "*8" | "%4" if text.get(at + 2).is_some_and(|l| l == "name") => "consumer".into(),
            "*6" | "*10" | "%5" | "%3" if text.get(at + 2).is_some_and(|l| l == "name") => {
                "consumer".into()
            }
            other => other.to_string(),
        });
        at += 1;
        if named(&["idle", "seen-time", "radix-tree-nodes"]) {
            out.push("?".into());
            at += 1;
        }
    }
    // A time of delivery, or how long ago it was, is a number of its own kind.
    let time = |line: &str| {
        line.strip_prefix(':')
            .and_then(|n| n.parse::<i64>().ok())
            .is_some_and(|n| n > 1_000_000_000_000)
    };
    for line in &mut out {
        if time(line) {
            *line = "time".into();
        }
    }
    out.join("\n")
}

/// XPENDING's own list holds how long ago an entry was delivered: the third of four.
fn without_idle(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let mut out: Vec<&str> = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let third = at >= 5 && lines[at - 5] == "*4" && line.starts_with(':');
        out.push(if third { "idle" } else { line });
    }
    out.join("\n")
}

fn same(args: &[Vec<u8>], ours: &[u8], theirs: &[u8]) -> bool {
    if ours == theirs {
        return true;
    }
    // Worded differently since Redis 7.2.
    if theirs.starts_with(b"-ERR Unbalanced") && ours.starts_with(b"-ERR Unbalanced") {
        return true;
    }
    let (ours, theirs) = (plain(ours), plain(theirs));
    let pending = args[0] == b"XPENDING" && args.len() > 3;
    match pending {
        true => without_idle(&ours) == without_idle(&theirs),
        false => ours == theirs,
    }
}

/// Key, group and consumer of a request that names a consumer.
fn consumer<'a>(args: &[&'a [u8]]) -> Option<(&'a [u8], &'a [u8], &'a [u8])> {
    match *args.first()? {
        b"XCLAIM" | b"XAUTOCLAIM" => Some((args[1], args[2], args[3])),
        b"XREADGROUP" => Some((args[args.len() - 2], args[2], args[3])),
        _ => None,
    }
}

#[test]
fn random_requests_about_streams_are_answered_as_redis_answers_them() {
    let Some(mut redis) = Redis::start() else {
        return;
    };
    let seed = std::env::var("FERRITE_SEED")
        .ok()
        .and_then(|s| s.parse().ok());
    let seeds = seed.map_or(1..=12u64, |s| s..=s);
    for seed in seeds {
        let mut rng = Rng(seed);
        let mut local = Local::new();
        redis.ask(&[b"FLUSHALL"]);
        let proto = if seed % 3 == 0 {
            Proto::Resp3
        } else {
            Proto::Resp2
        };
        redis.ask(&[b"HELLO", proto.number().to_string().as_bytes()]);
        local.proto = proto;
        let mut history: Vec<String> = Vec::new();
        let mut tick = 1;
        for step in 0..4000 {
            let args = request(&mut rng, &mut tick);
            let refs: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
            // Since Redis 7.2 whoever asks is made a consumer, whether there is something for it or not.
            if let Some((key, group, consumer)) = consumer(&refs) {
                let made: [&[u8]; 5] = [b"XGROUP", b"CREATECONSUMER", key, group, consumer];
                assert_eq!(redis.ask(&made), local.ask(&made));
            }
            let (theirs, ours) = (redis.ask(&refs), local.ask(&refs));
            history.push(show(&args));
            // Refused only since Redis 7.2.
            if ours.ends_with(b"smaller than current max_deleted_entry_id\r\n") {
                let gone: [&[u8]; 2] = [b"DEL", refs[1]];
                assert_eq!(redis.ask(&gone), local.ask(&gone));
                continue;
            }
            assert!(
                same(&args, &ours, &theirs),
                "seed {seed}, step {step}: {}\n  Redis:   {}\n  Ferrite: {}\nbefore it:\n{}",
                show(&args),
                theirs.escape_ascii(),
                ours.escape_ascii(),
                history[history.len().saturating_sub(30)..].join("\n")
            );
        }
    }
}

/// A time at which no random id is near.
const START: Ms = 1_700_000_000_000;

fn ask(local: &mut Local, args: &[Vec<u8>]) -> Vec<u8> {
    let refs: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
    local.ask(&refs)
}

/// All that is known of the streams, but for when consumers asked last, which is no change.
fn content(local: &mut Local) -> String {
    let mut out = String::new();
    for key in ["s", "t", "{s}u"] {
        let reply = ask(local, &words(&format!("XINFO STREAM {key} FULL COUNT 0")));
        let mut lines = reply
            .split(|&b| b == b'\n')
            .map(|line| line.escape_ascii().to_string());
        while let Some(line) = lines.next() {
            if line.starts_with("seen-time") {
                lines.next();
            }
            out += &line;
            out.push('\n');
        }
    }
    out
}

fn logging(seed: u64) -> (Local, Rng) {
    let local = Local {
        clock: Some(START),
        keep_log: true,
        ..Local::new()
    };
    (local, Rng(seed))
}

#[test]
fn the_log_rebuilds_the_streams() {
    let mut known = 0;
    for seed in 1..=20 {
        let (mut local, mut rng) = logging(seed);
        let mut tick = 1;
        for step in 0..1500 {
            *local.clock.as_mut().unwrap() += rng.below(20) as Ms;
            let whole = seed % 4 == 0 && step % 3 == 0;
            for shard in local.ks.present() {
                shard.whole = whole;
            }
            ask(&mut local, &request(&mut rng, &mut tick));
        }
        let (mut again, _) = logging(seed);
        again.clock = local.clock;
        for (id, log) in local.log.iter().enumerate() {
            again.ks.shard(id).apply_all(log, START).unwrap();
        }
        let content_now = content(&mut local);
        assert_eq!(content_now, content(&mut again), "seed {seed}");
        known += content_now.matches("pel-count").count();
    }
    assert!(known > 50, "{known}");
}

#[test]
fn reads_and_refusals_log_nothing() {
    let (mut local, mut rng) = logging(5);
    let (mut tick, mut quiet) = (1, 0);
    for _ in 0..20_000 {
        let args = request(&mut rng, &mut tick);
        let reply = ask(&mut local, &args);
        let reads: [&[u8]; 6] = [
            b"XLEN",
            b"XRANGE",
            b"XREVRANGE",
            b"XREAD",
            b"XPENDING",
            b"XINFO",
        ];
        let silent = reply[0] == b'-' || reads.contains(&&args[0][..]);
        let logged: usize = local.log.iter().map(Vec::len).sum();
        assert!(!silent || logged == 0, "{}", show(&args));
        for log in &mut local.log {
            assert!(records(log).all(|effect| effect.is_ok()));
            log.clear();
        }
        quiet += u32::from(silent);
    }
    assert!(quiet > 5000, "{quiet}");
}

/// Polls an empty stream: the log stays as it is, and so do others who wait for the key.
#[test]
fn asking_in_vain_is_no_change() {
    let (mut local, _) = logging(1);
    ask(&mut local, &words("XGROUP CREATE s g $ MKSTREAM"));
    ask(&mut local, &words("XREADGROUP GROUP g me STREAMS s >"));
    local.log.iter_mut().for_each(Vec::clear);
    let k = local.ks.key(0, b"s");
    local.ks.at(k.slot).wait_for(&k);
    *local.clock.as_mut().unwrap() += 5000;
    let reply = ask(&mut local, &words("XREADGROUP GROUP g me STREAMS s >"));
    assert_eq!(reply, b"*-1\r\n");
    assert!(local.log.iter().all(Vec::is_empty));
    assert!(!local.ks.at(k.slot).has_ready());
    let reply = ask(&mut local, &words("XINFO CONSUMERS s g"));
    assert!(reply.ends_with(b"idle\r\n:0\r\n$8\r\ninactive\r\n:-1\r\n"));
    ask(&mut local, &words("XADD s 1-1 f v"));
    assert!(local.ks.at(k.slot).has_ready());
}

/// What a client that waits is remembered with: the keys, the time, and what `$` meant.
#[test]
fn a_client_waits_for_what_comes_after_now() {
    let mut local = Local::new();
    ask(&mut local, &words("XADD s 5-1 f v"));
    ask(&mut local, &words("XADD s 6-1 f v"));
    ask(&mut local, &words("XDEL s 6-1"));
    ask(&mut local, &words("XGROUP CREATE s g $"));
    let mut waits = |request: &str| {
        let args = words(request);
        let refs: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        let mut out = Vec::new();
        let (row, _) = resolve(&refs).unwrap();
        let Run::Data(f) = row.run else { panic!() };
        let mut ctx = Ctx {
            ks: &mut local.ks,
            db: 0,
            databases: DATABASES,
            now: START,
            now_us: START * 1000,
            random: 1,
            first: None,
            may_wait: true,
            wait: None,
            max_string: 1 << 20,
            reply: Reply {
                buf: &mut out,
                proto: Proto::Resp2,
            },
        };
        run(f, &mut ctx, &refs).unwrap();
        let wait = ctx.wait;
        (wait, out)
    };
    let (wait, out) = waits("XREAD BLOCK 0 STREAMS s none $ $");
    let wait = wait.unwrap();
    assert!(out.is_empty());
    assert_eq!((wait.timeout, &wait.keys[..]), (None, &[4, 5][..]));
    assert_eq!(
        wait.args,
        Some(words("XREAD BLOCK 0 STREAMS s none 6-1 0-0"))
    );
    let (wait, out) = waits("XREADGROUP GROUP g me BLOCK 250 STREAMS s >");
    let wait = wait.unwrap();
    assert!(out.is_empty());
    assert_eq!((wait.timeout, &wait.keys[..]), (Some(250), &[7][..]));
    assert_eq!(wait.args, None);
    let (wait, out) = waits("XREAD BLOCK 0 STREAMS s none 0 0");
    assert!(wait.is_none() && out.starts_with(b"*1\r\n*2\r\n$1\r\ns\r\n"));
    let (wait, out) = waits("XREAD STREAMS s +");
    assert!(wait.is_none() && out.ends_with(b"$3\r\n5-1\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n"));
}
