//! Ferrite's data commands beside Redis's: the same requests to both, and the replies compared byte for
//! byte. Needs `redis-server` (of version 7) on the PATH, or named by `FERRITE_REDIS_SERVER`; without
//! one these tests say so and end.
//!
//! Redis runs as a process of its own on a free loopback port; Ferrite's side is the parser, the table
//! and the handlers over an in-memory keyspace of three shards, without sockets.

use super::{Ctx, Error, Run, resolve, run};
use crate::resp::{Arg, Limits, Parser, Proto, Reply, Step};
use crate::shard::Keyspace;
use crate::slot;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A Redis server that ends with the test.
struct Redis {
    child: Child,
    conn: TcpStream,
    port: u16,
}

impl Redis {
    fn start() -> Option<Redis> {
        let program =
            std::env::var("FERRITE_REDIS_SERVER").unwrap_or_else(|_| "redis-server".to_string());
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0")
                .ok()?
                .local_addr()
                .ok()?
                .port();
            let child = Command::new(&program)
                .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
                .args(["--save", "", "--appendonly", "no", "--daemonize", "no"])
                .current_dir(std::env::temp_dir())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn();
            let Ok(mut child) = child else {
                eprintln!("no redis-server to compare with: nothing compared");
                return None;
            };
            if let Some(conn) = connect(&mut child, port) {
                return Some(Redis { child, conn, port });
            }
            // Another program took the port meanwhile.
            let _ = child.kill();
            let _ = child.wait();
        }
        panic!("redis-server does not start");
    }

    /// One request, one reply.
    fn ask(&mut self, args: &[&[u8]]) -> Vec<u8> {
        self.conn.write_all(&encode(args)).unwrap();
        let mut reply = Vec::new();
        let mut chunk = [0; 65536];
        while reply_len(&reply, 0) != Some(reply.len()) {
            let n = self.conn.read(&mut chunk).unwrap();
            assert!(n > 0, "Redis closed the connection");
            reply.extend_from_slice(&chunk[..n]);
        }
        reply
    }

    /// What it answers to raw bytes on a connection of their own, until it closes or falls silent.
    fn raw(&self, input: &[u8]) -> (Vec<u8>, bool) {
        let mut conn = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        conn.set_read_timeout(Some(Duration::from_millis(300)))
            .unwrap();
        let _ = conn.write_all(input);
        let mut out = Vec::new();
        let mut chunk = [0; 65536];
        loop {
            match conn.read(&mut chunk) {
                Ok(0) => return (out, true),
                Ok(n) => out.extend_from_slice(&chunk[..n]),
                Err(e) if e.kind() == ErrorKind::WouldBlock || e.kind() == ErrorKind::TimedOut => {
                    return (out, false);
                }
                Err(_) => return (out, true),
            }
        }
    }
}

/// A connection to the server once it serves; `None` if it ends instead.
fn connect(child: &mut Child, port: u16) -> Option<TcpStream> {
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline {
        if child.try_wait().ok()?.is_some() {
            return None;
        }
        if let Ok(conn) = TcpStream::connect(("127.0.0.1", port)) {
            conn.set_nodelay(true).ok()?;
            conn.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
            return Some(conn);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    None
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Ferrite without its sockets: what the session does with data commands, and no more.
struct Local {
    ks: Keyspace,
    db: u16,
    proto: Proto,
}

const DATABASES: u16 = 16;

impl Local {
    fn new() -> Local {
        let map = slot::Map::new(3);
        let mut ks = Keyspace::new(map, 7, DATABASES);
        for id in 0..3 {
            let shard = ks.make_shard(id);
            ks.put(shard);
        }
        Local {
            ks,
            db: 0,
            proto: Proto::Resp2,
        }
    }

    fn ask(&mut self, args: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        let now_us = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_micros() as u64;
        let mut reply = Reply {
            buf: &mut out,
            proto: self.proto,
        };
        let row = match resolve(args) {
            Ok((row, _)) => row,
            Err(e) => {
                e.write(&mut reply);
                return out;
            }
        };
        let f = match row.run {
            Run::Data(f) => f,
            Run::Session(super::SessionCmd::Select) => {
                self.db = str::from_utf8(args[1]).unwrap().parse().unwrap();
                reply.ok();
                return out;
            }
            _ => panic!("{} is not for this test", row.name),
        };
        let mut ctx = Ctx {
            ks: &mut self.ks,
            db: self.db,
            databases: DATABASES,
            now: now_us / 1000,
            now_us,
            random: now_us,
            first: None,
            max_string: 512 << 20,
            reply,
        };
        let _: Result<(), Error> = run(f, &mut ctx, args);
        for shard in self.ks.present() {
            shard.effects.clear();
        }
        out
    }

    fn raw(&mut self, input: &[u8]) -> (Vec<u8>, bool) {
        let mut buf = input.to_vec();
        let (mut pos, mut out) = (0, Vec::new());
        let mut parser = Parser::default();
        loop {
            let mut args: Vec<Arg> = Vec::new();
            match parser.step(&mut buf, &mut pos, &mut args, &Limits::default()) {
                Step::Command => {
                    let args: Vec<&[u8]> = args.iter().map(|a| a.of(&buf)).collect();
                    out.extend(self.ask(&args));
                }
                Step::NeedMore => return (out, false),
                Step::Fault(fault) => {
                    fault.write(&mut Reply {
                        buf: &mut out,
                        proto: self.proto,
                    });
                    return (out, true);
                }
            }
        }
    }
}

fn encode(args: &[&[u8]]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        out.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// Where the reply that starts at `at` ends; `None` if it is not all there.
fn reply_len(buf: &[u8], at: usize) -> Option<usize> {
    let line = buf.get(at..)?.windows(2).position(|w| w == b"\r\n")?;
    let mut next = at + line + 2;
    let text = str::from_utf8(&buf[at + 1..at + line]).ok();
    let n = text.and_then(|t| t.parse::<i64>().ok());
    match buf[at] {
        b'$' | b'=' => match n? {
            -1 => Some(next),
            n => (next + n as usize + 2 <= buf.len()).then_some(next + n as usize + 2),
        },
        kind @ (b'*' | b'~' | b'>' | b'%') => {
            let n = n?.max(0) * if kind == b'%' { 2 } else { 1 };
            for _ in 0..n {
                next = reply_len(buf, next)?;
            }
            Some(next)
        }
        _ => Some(next),
    }
}

/// The words of a script's line.
fn words(line: &str) -> Vec<Vec<u8>> {
    let mut buf = format!("{line}\r\n").into_bytes();
    let (mut pos, mut args) = (0, Vec::new());
    let step = Parser::default().step(&mut buf, &mut pos, &mut args, &Limits::default());
    assert_eq!(step, Step::Command, "{line}");
    args.iter().map(|a| a.of(&buf).to_vec()).collect()
}

/// Whether two replies are the same, but for what may differ: the order of KEYS, and the milliseconds
/// that pass between two clocks.
fn agree(args: &[Vec<u8>], ours: &[u8], theirs: &[u8]) -> bool {
    if ours == theirs {
        return true;
    }
    let int = |r: &[u8]| {
        let text = str::from_utf8(r).ok()?;
        text.strip_prefix(':')?.trim_end().parse::<i64>().ok()
    };
    match args[0].to_ascii_lowercase().as_slice() {
        b"ttl" | b"expiretime" => match (int(ours), int(theirs)) {
            (Some(a), Some(b)) => a > 0 && b > 0 && (a - b).abs() <= 1,
            _ => false,
        },
        b"pttl" | b"pexpiretime" => match (int(ours), int(theirs)) {
            (Some(a), Some(b)) => a > 0 && b > 0 && (a - b).abs() <= 1000,
            _ => false,
        },
        b"keys" => {
            let sorted = |r: &[u8]| {
                let mut items = Vec::new();
                let mut at = r.windows(2).position(|w| w == b"\r\n").unwrap() + 2;
                while let Some(end) = reply_len(r, at) {
                    items.push(r[at..end].to_vec());
                    at = end;
                }
                items.sort();
                items
            };
            ours.len() == theirs.len() && sorted(ours) == sorted(theirs)
        }
        _ => false,
    }
}

fn show(args: &[Vec<u8>]) -> String {
    let words: Vec<String> = args.iter().map(|a| a.escape_ascii().to_string()).collect();
    words.join(" ")
}

/// Sends one request to both. On a difference returns a description of it.
fn compare(redis: &mut Redis, local: &mut Local, args: &[Vec<u8>]) -> Option<String> {
    let refs: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
    let theirs = redis.ask(&refs);
    let ours = local.ask(&refs);
    if agree(args, &ours, &theirs) {
        return None;
    }
    let cut = |r: &[u8]| r[..r.len().min(400)].escape_ascii().to_string();
    Some(format!(
        "{}\n  Redis:   {}\n  Ferrite: {}\n",
        show(args),
        cut(&theirs),
        cut(&ours)
    ))
}

/// What Redis answered when it was asked: a line `> request` in inline form, then `< reply`, escaped.
/// `= RESP3` changes the protocol; `#` begins a remark.
const TRANSCRIPT: &str = include_str!("transcript.txt");

/// Goes through the transcript with `ask`, which is told of a change of protocol by an empty request,
/// and returns where its replies differ from those written down.
fn replay(mut ask: impl FnMut(&[&[u8]], Option<Proto>) -> Vec<u8>) -> String {
    let mut differences = String::new();
    let mut lines = TRANSCRIPT.lines();
    while let Some(line) = lines.next() {
        if let Some(version) = line.strip_prefix("= RESP") {
            let proto = if version == "3" {
                Proto::Resp3
            } else {
                Proto::Resp2
            };
            ask(&[], Some(proto));
        } else if let Some(request) = line.strip_prefix("> ") {
            let args = words(request);
            let refs: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
            let theirs = unescape(lines.next().and_then(|l| l.strip_prefix("< ")).unwrap());
            let ours = ask(&refs, None);
            if !agree(&args, &ours, &theirs) {
                let (ours, theirs) = (ours.escape_ascii(), theirs.escape_ascii());
                differences += &format!("{request}\n  written: {theirs}\n  given:   {ours}\n");
            }
        }
    }
    differences
}

/// Takes back what `escape_ascii` did.
fn unescape(line: &str) -> Vec<u8> {
    let mut quoted = line.to_string();
    quoted.insert_str(0, "x \"");
    // Inside double quotes an inline command knows all escapes there are here.
    quoted.push('"');
    words(&quoted.replace("\\'", "'")).pop().unwrap()
}

#[test]
fn requests_are_answered_as_written_down() {
    let mut local = Local::new();
    let differences = replay(|args, proto| match proto {
        Some(proto) => {
            local.proto = proto;
            Vec::new()
        }
        None => local.ask(args),
    });
    assert!(differences.is_empty(), "{differences}");
}

/// The transcript is what Redis answers. With `FERRITE_RECORD=file` the answers are written to that
/// file, as a transcript.
#[test]
fn redis_answers_as_written_down() {
    let Some(mut redis) = Redis::start() else {
        return;
    };
    if let Ok(file) = std::env::var("FERRITE_RECORD") {
        let mut out = String::new();
        for line in TRANSCRIPT.lines() {
            if line.starts_with("< ") {
                continue;
            }
            out += &format!("{line}\n");
            if let Some(version) = line.strip_prefix("= RESP") {
                redis.ask(&[b"HELLO", version.as_bytes()]);
            } else if let Some(request) = line.strip_prefix("> ") {
                let args = words(request);
                let refs: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
                out += &format!("< {}\n", redis.ask(&refs).escape_ascii());
            }
        }
        std::fs::write(file, out).unwrap();
        return;
    }
    let differences = replay(|args, proto| match proto {
        Some(proto) => redis.ask(&[b"HELLO", proto.number().to_string().as_bytes()]),
        None => redis.ask(args),
    });
    assert!(differences.is_empty(), "{differences}");
}

/// Rows that differ from those of Redis 7.0: the first two ask for one argument too many there, the
/// others carry a note in prose.
const OTHER: &[&str] = &["command|getkeys", "command|getkeysandflags", "set", "getex"];

#[test]
fn rows_say_what_redis_says_of_its_commands() {
    let Some(mut redis) = Redis::start() else {
        return;
    };
    let mut local = Local::new();
    let mut differences = String::new();
    let mut compared = 0;
    for row in super::all() {
        let args = words(&format!("COMMAND INFO {}", row.name));
        let refs: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        // Subcommands come in no particular order there; each is compared by itself.
        if OTHER.contains(&row.name)
            || !row.subcommands.is_empty()
            || redis.ask(&refs) == b"*1\r\n$-1\r\n"
        {
            continue;
        }
        compared += 1;
        differences.extend(compare(&mut redis, &mut local, &args));
    }
    assert!(compared > 100, "{compared}");
    assert!(differences.is_empty(), "{differences}");
}

#[test]
fn raw_bytes_are_answered_as_redis_answers_them() {
    let Some(redis) = Redis::start() else { return };
    let mut local = Local::new();
    let long = |head: &[u8]| [head, &[b'1'; 100_000]].concat();
    let many = |n: usize| format!("*{n}\r\n").into_bytes();
    let cases: Vec<Vec<u8>> = vec![
        b"PING\r\n".to_vec(),
        b"PING\n".to_vec(),
        b"\r\n\n  \r\nPING\r\n".to_vec(),
        b"echo \"a\\x41\\n\\t\\\"b\"\r\n".to_vec(),
        b"echo 'it\\'s'\r\n".to_vec(),
        b"echo a\"b c\"\r\n".to_vec(),
        b"echo \"a\"b\r\n".to_vec(),
        b"echo 'a\r\nPING\r\n".to_vec(),
        b"echo \"\\\r\n".to_vec(),
        b"echo a\x0bb\r\n".to_vec(),
        b"echo \x0b\x0ca\r\n".to_vec(),
        b"*0\r\nPING\r\n".to_vec(),
        b"*-1\r\nPING\r\n".to_vec(),
        b"*-9999\r\nPING\r\n".to_vec(),
        b"*1\r\n$4\r\nPING\r\n".to_vec(),
        b"*1\r\n$4\r\nPINGxx*1\r\n$4\r\nPING\r\n".to_vec(),
        b"*1\r\n$0\r\n\r\n".to_vec(),
        b"*\r\n".to_vec(),
        b"*x\r\n".to_vec(),
        b"*01\r\n".to_vec(),
        b"*+1\r\n".to_vec(),
        b"* 1\r\n".to_vec(),
        b"*1 \r\n".to_vec(),
        b"*-0\r\n".to_vec(),
        b"*99999999999999999999\r\n".to_vec(),
        b"*1\r\nx\r\n".to_vec(),
        b"*1\r\n\r\n".to_vec(),
        b"*1\r\n:4\r\n".to_vec(),
        b"*1\r\n\xff1\r\n".to_vec(),
        b"*1\r\n$\r\n".to_vec(),
        b"*1\r\n$-1\r\n".to_vec(),
        b"*1\r\n$04\r\nPING\r\n".to_vec(),
        b"*1\r\n$536870913\r\n".to_vec(),
        b"*1\r\n$4x\r\n".to_vec(),
        b"PING\r\n*1\r\n$x\r\nPING\r\n".to_vec(),
        b"*1\rX$4\rYPING\r\n".to_vec(),
        b"*2\r\n$4\r\nECHO\r\n$5\r\na\r\nb\x00\r\n".to_vec(),
        b"nope a b\r\n".to_vec(),
        b"get\r\n".to_vec(),
        many(3),
        long(b"*"),
        long(b"*1\r\n$"),
        long(b""),
        long(b"*1\r\n$4\r\nPING\r\n*2\r\n$"),
    ];
    let mut differences = String::new();
    for case in &cases {
        let theirs = redis.raw(case);
        let ours = local.raw(case);
        if ours != theirs {
            let head = &case[..case.len().min(60)];
            differences.push_str(&format!(
                "{}\n  Redis:   {} {}\n  Ferrite: {} {}\n",
                head.escape_ascii(),
                theirs.0.escape_ascii(),
                theirs.1,
                ours.0.escape_ascii(),
                ours.1
            ));
        }
    }
    assert!(differences.is_empty(), "{differences}");
}

/// A small generator, so that a printed seed repeats a run (SplitMix64).
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

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
const SET: &[&str] = &[
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
const LCS: &[&str] = &["LEN", "IDX", "MINMATCHLEN", "WITHMATCHLEN", "1", "2", "x"];
const COPY: &[&str] = &["DB", "REPLACE", "1", "0", "99", "x"];
const EXPIRE: &[&str] = &["NX", "XX", "GT", "LT", "nope"];
const KEYS: &[&str] = &["a", "b", "c", "{a}d", "e", ""];
const VALUES: &[&str] = &[
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
const INTS: &[&str] = &[
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
const FLOATS: &[&str] = &[
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
const TIMES: &[&str] = &[
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
const PATTERNS: &[&str] = &[
    "*", "?", "[a-c]", "[^a]", "*d", "\\*", "{*", "**", "", "[", "*a*",
];

fn request(rng: &mut Rng) -> Vec<Vec<u8>> {
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

#[test]
fn a_scan_finds_every_key_once() {
    let mut local = Local::new();
    for i in 0..1000 {
        local.ask(&[b"SET", format!("key:{i}").as_bytes(), b"v"]);
    }
    let mut seen = std::collections::BTreeSet::new();
    let mut cursor = b"0".to_vec();
    for _ in 0..100_000 {
        let reply = local.ask(&[b"SCAN", &cursor, b"COUNT", b"7", b"MATCH", b"key:*"]);
        let text = String::from_utf8(reply).unwrap();
        let lines: Vec<&str> = text.split("\r\n").collect();
        // *2 $n cursor *m ($n key)*
        cursor = lines[2].as_bytes().to_vec();
        for key in lines[4..]
            .chunks(2)
            .filter(|c| c.len() == 2 && c[0].starts_with('$'))
        {
            assert!(seen.insert(key[1].to_string()), "{} twice", key[1]);
        }
        if cursor == b"0" {
            break;
        }
    }
    assert_eq!(seen.len(), 1000);
}
