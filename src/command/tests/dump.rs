//! DUMP and RESTORE: values of every type and size that go to a running Redis and come back from it, refusals as Redis
//! words them, and the log of what was restored.

use super::redis::{Redis, compare};
use super::*;
use crate::shard::{Dump, Owned, Said};

/// A time, far from any that requests name.
const START: Ms = 1_700_000_000_000;

/// Whoever answers requests.
trait Server {
    fn request(&mut self, args: &[&[u8]]) -> Vec<u8>;

    fn say(&mut self, line: &str) -> Vec<u8> {
        // A line of a script may not be as long as some are here.
        let args = match line.contains('"') {
            true => words(line),
            false => line.split(' ').map(Vec::from).collect(),
        };
        let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        self.request(&args)
    }

    fn dump(&mut self, key: &str) -> Vec<u8> {
        let reply = self.request(&[b"DUMP", key.as_bytes()]);
        strings(&reply).remove(0)
    }
}

impl Server for Redis {
    fn request(&mut self, args: &[&[u8]]) -> Vec<u8> {
        self.ask(args)
    }
}

impl Server for Local {
    fn request(&mut self, args: &[&[u8]]) -> Vec<u8> {
        self.ask(args)
    }
}

/// The strings and numbers of a reply, one after the other.
fn strings(reply: &[u8]) -> Vec<Vec<u8>> {
    let (mut all, mut at) = (Vec::new(), 0);
    while at < reply.len() {
        let line = reply[at..].windows(2).position(|w| w == b"\r\n").unwrap();
        let (kind, text) = (reply[at], &reply[at + 1..at + line]);
        at += line + 2;
        match kind {
            b'$' if text == b"-1" => all.push(b"(nil)".to_vec()),
            b'$' => {
                let len: usize = str::from_utf8(text).unwrap().parse().unwrap();
                all.push(reply[at..at + len].to_vec());
                at += len + 2;
            }
            b'*' => {}
            _ => all.push(text.to_vec()),
        }
    }
    all
}

/// What follows a name among the strings of a reply.
fn behind(all: &[Vec<u8>], name: &str) -> Vec<u8> {
    let at = all.iter().position(|s| s == name.as_bytes()).unwrap();
    all[at + 1].clone()
}

/// All that a key holds, in an order that does not depend on the server.
fn content(server: &mut dyn Server, key: &str) -> Vec<Vec<Vec<u8>>> {
    let kind = strings(&server.say(&format!("TYPE {key}"))).remove(0);
    let mut ask = |line: &str| strings(&server.say(line));
    match kind.as_slice() {
        b"string" => vec![ask(&format!("GET {key}"))],
        b"list" => vec![ask(&format!("LRANGE {key} 0 -1"))],
        b"set" => {
            let mut all = ask(&format!("SMEMBERS {key}"));
            all.sort();
            vec![all]
        }
        b"zset" => {
            let mut all = ask(&format!("ZRANGE {key} 0 -1 WITHSCORES"));
            // Redis 7.0 writes more digits than it takes.
            for score in all.iter_mut().skip(1).step_by(2) {
                let score_now = str::from_utf8(score).unwrap().parse::<f64>().unwrap();
                *score = score_now.to_le_bytes().to_vec();
            }
            vec![all]
        }
        b"hash" => {
            let all = ask(&format!("HGETALL {key}"));
            let mut pairs: Vec<_> = all.chunks(2).map(<[_]>::to_vec).collect();
            pairs.sort();
            pairs
        }
        b"stream" => {
            let mut all = vec![ask(&format!("XRANGE {key} - +"))];
            let info = ask(&format!("XINFO STREAM {key}"));
            for name in [
                "length",
                "last-generated-id",
                "max-deleted-entry-id",
                "entries-added",
                "recorded-first-entry-id",
            ] {
                all.push(vec![behind(&info, name)]);
            }
            let groups = ask(&format!("XINFO GROUPS {key}"));
            let names = groups.windows(2).filter(|two| two[0] == b"name");
            let names: Vec<String> = names
                .map(|two| String::from_utf8(two[1].clone()).unwrap())
                .collect();
            for group in names {
                let mut consumers = ask(&format!("XINFO CONSUMERS {key} {group}"));
                // How long they have been idle is another number for every question.
                for name in ["idle", "inactive"] {
                    while let Some(at) = consumers.iter().position(|s| s == name.as_bytes()) {
                        consumers.drain(at..at + 2);
                    }
                }
                let pending = ask(&format!("XPENDING {key} {group} - + 10000"));
                all.push(consumers);
                all.extend(
                    pending
                        .chunks(4)
                        .map(|p| vec![p[0].clone(), p[1].clone(), p[3].clone()]),
                );
            }
            all.push(groups);
            all
        }
        _ => panic!("{key} holds nothing"),
    }
}

fn encoding(server: &mut dyn Server, key: &str) -> String {
    let reply = server.say(&format!("OBJECT ENCODING {key}"));
    String::from_utf8(strings(&reply).remove(0)).unwrap()
}

/// Commands that make the key `k` hold a value of each type in each form, and at the borders between forms.
fn recipes() -> Vec<Vec<String>> {
    let mut all: Vec<Vec<String>> = Vec::new();
    let mut add = |lines: Vec<String>| all.push(lines);
    for text in [
        "",
        "x",
        "0",
        "-1",
        "127",
        "-129",
        "40000",
        "-40000",
        "2147483647",
        "2147483648",
    ] {
        add(vec![format!("SET k \"{text}\"")]);
    }
    for text in [
        "-9223372036854775808",
        "01",
        "+1",
        "1.5",
        "\\x00\\xff\\r\\n",
    ] {
        add(vec![format!("SET k \"{text}\"")]);
    }
    for len in [20, 21, 44, 45, 63, 64, 16383, 16384, 100_000] {
        add(vec![format!("SET k {}", "z".repeat(len))]);
        let mixed: String = (0..len)
            .map(|i| (b'a' + (i * i % 23) as u8) as char)
            .collect();
        add(vec![format!("SET k {mixed}")]);
    }
    let each = |n: usize, f: &dyn Fn(usize) -> String| (0..n).map(f).collect::<Vec<_>>().join(" ");
    let long = "l".repeat(65);
    let text = |i: usize| match i % 5 {
        0 => format!("{i}"),
        1 => format!("-{}", i * 1_000_003),
        2 => format!("text-{i}"),
        3 => format!("{}{i}", "w".repeat(i % 80)),
        _ => format!("{}", (i as i64) << (i % 50)),
    };
    for n in [1, 2, 10, 128, 129, 512, 513, 3000] {
        let short = |i: usize| format!("m{i}");
        add(vec![format!("RPUSH k {}", each(n, &short))]);
        add(vec![format!("RPUSH k {}", each(n, &text))]);
        add(vec![format!("SADD k {}", each(n, &short))]);
        add(vec![format!(
            "SADD k {}",
            each(n, &|i| format!("{}", i * 7))
        )]);
        add(vec![format!(
            "SADD k {} last",
            each(n, &|i| format!("{i}"))
        )]);
        add(vec![format!(
            "HSET k {}",
            each(n, &|i| format!("f{i} v{i}"))
        )]);
        add(vec![format!(
            "HSET k {}",
            each(n, &|i| format!("{i} {}", text(i)))
        )]);
        add(vec![format!(
            "ZADD k {}",
            each(n, &|i| format!("{} m{i}", i as f64 / 3.0))
        )]);
        add(vec![format!(
            "ZADD k {}",
            each(n, &|i| format!("{} {i}", i as i64 * 1_000_007 - 9))
        )]);
        add(vec![format!(
            "ZADD k inf a -inf b 1e300 c -1e-300 d 0 e {}",
            each(n, &|i| format!("5 s{i}"))
        )]);
    }
    for n in [63, 64, 65, 4095, 4096, 8100, 8192, 20_000, 70_000] {
        let item = "y".repeat(n);
        add(vec![format!("RPUSH k a {item} b {item}")]);
        add(vec![format!("SADD k a {item} 1")]);
        add(vec![format!("HSET k f {item}"), "HSET k g 1".into()]);
        add(vec![format!("HSET k {item} v")]);
        add(vec![format!("ZADD k 1 {item} 2 b")]);
    }
    for ints in [
        "1 -32768 32767",
        "1 -32769",
        "5 2147483647",
        "5 -2147483649 9223372036854775807",
    ] {
        add(vec![format!("SADD k {ints}")]);
    }
    // Large once, small since.
    add(vec![
        format!("RPUSH k {}", each(3000, &text)),
        "LTRIM k 0 2".into(),
    ]);
    add(vec![
        format!("SADD k {}", each(3, &|i| format!("{long}{i}"))),
        format!("SREM k {long}1"),
    ]);
    add(vec![format!("HSET k a {long} b c"), "HDEL k a".into()]);
    add(vec![
        format!("ZADD k 1 {long} 2 b"),
        format!("ZREM k {long}"),
    ]);
    // Streams.
    add(vec!["XADD k 1-1 f v".into()]);
    add(vec!["XADD k 1-1 f v".into(), "XDEL k 1-1".into()]);
    add(vec!["XGROUP CREATE k g $ MKSTREAM".into()]);
    for n in [2, 100, 101, 500] {
        let mut lines: Vec<String> = (1..=n)
            .map(|i| match i % 7 {
                0 => format!("XADD k {i}-{} other {i} fields {}", i % 3, text(i)),
                1 => format!("XADD k {i}-* f {} g h", "q".repeat(i)),
                _ => format!("XADD k {i}-{i} f {i} g {}", text(i)),
            })
            .collect();
        add(lines.clone());
        for i in (1..n).step_by(3) {
            lines.push(format!("XDEL k {i}-{i}"));
        }
        lines.push("XGROUP CREATE k g 0 ENTRIESREAD 0".into());
        lines.push("XGROUP CREATE k empty 2-1".into());
        lines.push("XGROUP CREATECONSUMER k empty nobody".into());
        lines.push("XREADGROUP GROUP g alice COUNT 10 STREAMS k >".into());
        lines.push("XREADGROUP GROUP g bob COUNT 5 STREAMS k >".into());
        lines.push("XCLAIM k g carol 0 2-2 3-3 RETRYCOUNT 70000".into());
        lines.push("XACK k g 5-5".into());
        add(lines.clone());
        lines.push(format!("XTRIM k MAXLEN {}", n / 3));
        lines.push("XSETID k 1000000-7 ENTRIESADDED 123456 MAXDELETEDID 17-1".into());
        add(lines);
    }
    all
}

/// Carries a value from one server to another, and back to a third key; what is there is the same everywhere.
fn carry(from: &mut dyn Server, to: &mut dyn Server, native: &str, name: &str) {
    let payload = from.dump("k");
    let restore: [&[u8]; 5] = [b"RESTORE", b"copy", b"0", &payload, b"REPLACE"];
    for reply in [from.request(&restore), to.request(&restore)] {
        assert_eq!(reply, b"+OK\r\n", "{name}: {}", payload.escape_ascii());
    }
    let there = content(to, "copy");
    assert_eq!(content(from, "k"), there, "{name}");
    assert_eq!(content(from, "copy"), there, "{name}");
    // The encoding is that of a value which was made there and then carried within the server.
    assert_eq!(encoding(to, "copy"), native, "{name}");
    let back = to.dump("copy");
    let reply = from.request(&[b"RESTORE", b"back", b"0", &back, b"REPLACE"]);
    assert_eq!(reply, b"+OK\r\n", "{name}: {}", back.escape_ascii());
    assert_eq!(content(from, "back"), there, "{name}");
}

/// The encoding that a server gives a value made by these commands once it has been dumped and restored there.
fn native(server: &mut dyn Server) -> String {
    let payload = server.dump("k");
    server.request(&[b"RESTORE", b"native", b"0", &payload, b"REPLACE"]);
    encoding(server, "native")
}

#[test]
fn values_go_to_redis_and_come_back() {
    let Some(mut redis) = Redis::start() else {
        return;
    };
    let mut local = Local::new();
    let recipes = recipes();
    assert!(recipes.len() > 150);
    for lines in &recipes {
        let name: String = lines[0].chars().take(60).collect();
        for line in ["DEL k".to_string()].iter().chain(lines) {
            let (ours, theirs) = (local.say(line), redis.say(line));
            assert_eq!(ours.first(), theirs.first(), "{line}");
            assert!(ours[0] != b'-', "{line}: {}", ours.escape_ascii());
        }
        let (ours, theirs) = (native(&mut local), native(&mut redis));
        carry(&mut local, &mut redis, &theirs, &name);
        carry(&mut redis, &mut local, &ours, &name);
    }
}

fn random_word(rng: &mut Rng) -> Vec<u8> {
    match rng.below(6) {
        0 => rng.below(200).to_string().into_bytes(),
        1 => ((rng.next() as i64) >> rng.below(64))
            .to_string()
            .into_bytes(),
        2 => vec![rng.next() as u8; rng.below(100)],
        3 if rng.below(12) == 0 => (0..rng.below(9000)).map(|_| rng.next() as u8 & 7).collect(),
        _ => (0..rng.below(20)).map(|_| rng.next() as u8).collect(),
    }
}

/// A command that adds random elements to `k`, of the type that the seed says.
fn random_change(rng: &mut Rng, kind: usize, step: usize) -> Vec<Vec<u8>> {
    let mut args: Vec<Vec<u8>> = Vec::new();
    let most = [5, 40, 300][rng.below(3)];
    let count = 1 + rng.below(most);
    let names = ["SET", "RPUSH", "SADD", "SADD", "HSET", "ZADD", "XADD"];
    args.extend([names[kind].into(), b"k".to_vec()]);
    match kind {
        0 => args.push(random_word(rng)),
        1 | 2 => args.extend((0..count).map(|_| random_word(rng))),
        3 => {
            let ints = (0..count).map(|_| (rng.next() as i64) >> (20 + rng.below(44)));
            args.extend(ints.map(|n| n.to_string().into_bytes()));
        }
        4 => args.extend((0..count * 2).map(|_| random_word(rng))),
        5 => {
            for _ in 0..count {
                let score = f64::from_bits(rng.next());
                let whole = rng.next() as i32 >> rng.below(32);
                let score = match rng.below(3) {
                    0 => f64::from(whole),
                    _ if score.is_nan() => 0.5,
                    _ => score,
                };
                args.push(format!("{score:e}").into_bytes());
                args.push(random_word(rng));
            }
        }
        _ => {
            args.push(format!("{}-{}", step / 3 + 1, step % 3 + 1).into_bytes());
            args.extend((0..2 + 2 * rng.below(3)).map(|_| random_word(rng)));
        }
    }
    args
}

#[test]
fn random_values_go_to_redis_and_come_back() {
    let Some(mut redis) = Redis::start() else {
        return;
    };
    let mut local = Local::new();
    for seed in 0..42 {
        let mut rng = Rng(seed);
        let kind = seed as usize % 7;
        for server in [&mut redis as &mut dyn Server, &mut local] {
            server.say("DEL k");
        }
        let steps = if kind == 6 {
            1 + rng.below(300)
        } else {
            1 + rng.below(4)
        };
        for step in 0..steps {
            let args = random_change(&mut rng, kind, step);
            let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
            let (ours, theirs) = (local.ask(&args), redis.ask(&args));
            assert_eq!(ours.first(), theirs.first(), "seed {seed}");
        }
        let (ours, theirs) = (native(&mut local), native(&mut redis));
        let name = format!("seed {seed}");
        carry(&mut local, &mut redis, &theirs, &name);
        carry(&mut redis, &mut local, &ours, &name);
    }
}

/// Who listens hears what Redis says: of what is made, and of what was gone before it was there.
#[test]
fn events_tell_of_what_was_restored() {
    use crate::shard::notice::{GENERIC, NEW};
    let mut local = logging();
    local.say("SET k v");
    let payload = local.dump("k");
    local.ks.present().for_each(|shard| {
        shard.set_noticed(GENERIC | NEW);
    });
    let mut ask = |args: &[&[u8]]| {
        local.request(args);
        let shards = local.ks.present();
        let mut heard: Vec<_> = shards.flat_map(|shard| shard.take_notices()).collect();
        heard.sort_by_key(|(at, _)| *at);
        let events = heard.into_iter().map(|(_, notice)| notice.event);
        events.collect::<Vec<_>>()
    };
    assert_eq!(ask(&[b"RESTORE", b"n", b"0", &payload]), ["new", "restore"]);
    assert_eq!(ask(&[b"RESTORE", b"n", b"0", &payload]), [""; 0]);
    let replace: [&[u8]; 5] = [b"RESTORE", b"n", b"0", &payload, b"REPLACE"];
    assert_eq!(ask(&replace), ["new", "restore"]);
    let gone: [&[u8]; 6] = [b"RESTORE", b"n", b"1", &payload, b"REPLACE", b"ABSTTL"];
    assert_eq!(ask(&gone), ["del"]);
    assert_eq!(ask(&gone), [""; 0]);
}

/// What Ferrite restores of its own has the encoding that it had.
#[test]
fn a_restored_value_keeps_its_encoding() {
    let mut local = Local::new();
    for lines in recipes() {
        local.say("DEL k");
        lines.iter().for_each(|line| {
            local.say(line);
        });
        let shrunk =
            lines.len() == 2 && lines[1].contains("REM") || lines[1..].concat().contains("HDEL");
        if !shrunk {
            assert_eq!(
                native(&mut local),
                encoding(&mut local, "k"),
                "{:.60}",
                lines[0]
            );
        }
    }
}

#[test]
fn refusals_are_those_of_redis() {
    let Some(mut redis) = Redis::start() else {
        return;
    };
    let mut local = Local::new();
    local.say("SET k value");
    redis.say("SET k value");
    let payload = redis.dump("k");
    let mut broken = payload.clone();
    broken[2] ^= 1;
    let newer = {
        let mut newer = payload.clone();
        let at = newer.len() - 10;
        newer[at..at + 2].copy_from_slice(&999u16.to_le_bytes());
        let sum = crate::rdb::crc64(&newer[..at + 2]);
        newer[at + 2..].copy_from_slice(&sum.to_le_bytes());
        newer
    };
    let garbage = {
        let mut garbage = vec![2, 1, 0xc4, 10, 0];
        let sum = crate::rdb::crc64(&garbage);
        garbage.extend_from_slice(&sum.to_le_bytes());
        garbage
    };
    let tails = [
        "",
        "REPLACE",
        "ABSTTL",
        "REPLACE ABSTTL",
        "IDLETIME",
        "IDLETIME 5",
        "IDLETIME -1",
        "IDLETIME x",
        "FREQ 5",
        "FREQ 256",
        "FREQ -1",
        "FREQ x",
        "FREQ 5 IDLETIME 5",
        "IDLETIME 5 FREQ 5",
        "REPLACE NOPE",
        "IDLETIME 5 REPLACE",
        "REPLACE IDLETIME 100 ABSTTL",
        "FREQ",
    ];
    let mut differences = String::new();
    let mut compared = 0;
    for key in ["k", "n"] {
        for ttl in ["0", "100000", "-1", "x", "1"] {
            for payload in [&payload[..], &broken, &newer, &garbage, b"", b"0123456789"] {
                for tail in tails {
                    let mut args: Vec<Vec<u8>> = vec![
                        b"RESTORE".to_vec(),
                        key.into(),
                        ttl.into(),
                        payload.to_vec(),
                    ];
                    args.extend(tail.split_whitespace().map(Vec::from));
                    differences.extend(compare(&mut redis, &mut local, &args));
                    for line in ["EXISTS n k", "TTL n"] {
                        // What expires within a millisecond has done so on one of them, perhaps.
                        if ttl != "1" {
                            differences.extend(compare(&mut redis, &mut local, &words(line)));
                        }
                    }
                    local.say("DEL n");
                    redis.say("DEL n");
                    compared += 1;
                }
            }
        }
    }
    for line in ["DUMP none", "DUMP", "RESTORE k 0", "RESTORE", "DUMP k k"] {
        differences.extend(compare(&mut redis, &mut local, &words(line)));
    }
    assert!(compared > 1000, "{compared}");
    assert!(differences.is_empty(), "{:.4000}", differences);
}

fn logging() -> Local {
    Local {
        clock: Some(START),
        keep_log: true,
        ..Local::new()
    }
}

fn dump_of(local: &mut Local, key: &str) -> Option<Dump> {
    let k = local.ks.key(0, key.as_bytes());
    local.ks.at(k.slot).dump(&k, START)
}

#[test]
fn the_log_rebuilds_what_was_restored() {
    let mut restored = 0;
    for lines in recipes() {
        let mut source = logging();
        lines.iter().for_each(|line| {
            source.say(line);
        });
        let payload = source.dump("k");
        let mut local = logging();
        local.say("SET k before EX 100");
        local.request(&[b"RESTORE", b"k", b"5000", &payload, b"REPLACE"]);
        local.request(&[b"RESTORE", b"l", b"1800000000000", &payload, b"ABSTTL"]);
        local.request(&[b"RESTORE", b"m", b"0", &payload]);
        local.request(&[b"RESTORE", b"m", b"1", &payload, b"ABSTTL", b"REPLACE"]); // gone at once
        let mut again = logging();
        for (id, log) in local.log.iter().enumerate() {
            again.ks.shard(id).apply_all(log, START).unwrap();
        }
        for (key, expire) in [("k", START + 5000), ("l", 1_800_000_000_000)] {
            let (ours, replayed) = (dump_of(&mut local, key), dump_of(&mut again, key));
            assert_eq!(ours, replayed, "{:.60}", lines[0]);
            assert_eq!(ours.unwrap().expire, Some(expire));
            restored += 1;
        }
        assert_eq!(dump_of(&mut local, "m"), None);
        assert_eq!(dump_of(&mut again, "m"), None);
    }
    assert!(restored > 300);
}

#[test]
fn fields_keep_their_expiry() {
    for n in [3, 600] {
        let mut local = logging();
        for i in 0..n {
            local.say(&format!("HSET k f{i} v{i}"));
        }
        local.say(&format!("HPEXPIREAT k {} FIELDS 2 f1 f2", START + 7000));
        local.say(&format!("HPEXPIREAT k {} FIELDS 1 f0", START + 9000));
        let payload = local.dump("k");
        assert_eq!(payload[payload.len() - 10..][..2], 12u16.to_le_bytes());
        local.request(&[b"RESTORE", b"copy", b"0", &payload]);
        let (a, b) = (dump_of(&mut local, "k"), dump_of(&mut local, "copy"));
        let fields = |dump: Option<Dump>| {
            let Some(Owned::Object(object)) = dump.map(|dump| dump.value) else {
                panic!("no hash");
            };
            let crate::shard::View::Hash(hash) = object.view() else {
                panic!("no hash");
            };
            let mut fields: Vec<_> = hash
                .fields()
                .map(|(name, value, at)| (name.to_vec(), value.to_vec(), at))
                .collect();
            fields.sort();
            (hash.due(), fields)
        };
        assert_eq!(fields(a), fields(b));
        assert_eq!(
            local.say("HPEXPIRETIME copy FIELDS 2 f0 f1"),
            format!("*2\r\n:{}\r\n:{}\r\n", START + 9000, START + 7000).as_bytes()
        );
        // Without the expiries any Redis may have it.
        local.say("HPERSIST k FIELDS 3 f0 f1 f2");
        let payload = local.dump("k");
        assert_eq!(payload[payload.len() - 10..][..2], 10u16.to_le_bytes());
    }
}

#[test]
fn what_is_said_of_a_keys_use_is_noted() {
    let mut local = logging();
    local.say("SET k v");
    let payload = local.dump("k");
    local.request(&[b"RESTORE", b"idle", b"0", &payload, b"IDLETIME", b"1000"]);
    assert_eq!(local.say("OBJECT IDLETIME idle"), b":1000\r\n");
    local.request(&[b"RESTORE", b"often", b"0", &payload, b"FREQ", b"77"]);
    assert_eq!(local.say("OBJECT IDLETIME often"), b":0\r\n");
    local.ks.present().for_each(|shard| {
        shard.set_frequency(Some(crate::shard::Frequency {
            log_factor: 10,
            decay_minutes: 1,
        }));
    });
    local.request(&[
        b"RESTORE", b"often", b"0", &payload, b"FREQ", b"77", b"REPLACE",
    ]);
    assert_eq!(local.say("OBJECT FREQ often"), b":77\r\n");
    let k = local.ks.key(0, b"none");
    local.ks.at(k.slot).set_use(&k, Said::Idle(1), START);
}
