//! A Redis beside Ferrite: the same requests to both, and the replies compared byte for byte. Needs
//! `redis-server` (of version 7) on the PATH, or named by `FERRITE_REDIS_SERVER`; without one these
//! tests say so and end.
//!
//! Redis runs as a process of its own on a free loopback port, and ends with the test.

use super::*;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A Redis server that ends with the test.
pub(super) struct Redis {
    child: Child,
    conn: TcpStream,
    port: u16,
}

impl Redis {
    pub(super) fn start() -> Option<Redis> {
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
    pub(super) fn ask(&mut self, args: &[&[u8]]) -> Vec<u8> {
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
    pub(super) fn raw(&self, input: &[u8]) -> (Vec<u8>, bool) {
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
pub(super) fn connect(child: &mut Child, port: u16) -> Option<TcpStream> {
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

/// Sends one request to both. On a difference returns a description of it.
pub(super) fn compare(redis: &mut Redis, local: &mut Local, args: &[Vec<u8>]) -> Option<String> {
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

/// Rows that differ from those of Redis 7.0: the first two ask for one argument too many there, the others take an
/// option that came with 7.2.
const OTHER: &[&str] = &[
    "command|getkeys",
    "command|getkeysandflags",
    "zrank",
    "zrevrank",
];

/// A reply to COMMAND INFO without the notes in prose that some keys carry.
fn without_notes(reply: &[u8]) -> Vec<u8> {
    const NOTE: &[u8] = b"*8\r\n$5\r\nnotes\r\n";
    let mut out = Vec::new();
    let mut rest = reply;
    while let Some(at) = rest.windows(NOTE.len()).position(|w| w == NOTE) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(b"*6\r\n");
        rest = &rest[at + NOTE.len()..];
        let text = reply_len(rest, 0).unwrap();
        rest = &rest[text..];
    }
    out.extend_from_slice(rest);
    out
}

#[test]
fn rows_say_what_redis_says_of_its_commands() {
    let Some(mut redis) = Redis::start() else {
        return;
    };
    let mut local = Local::new();
    let mut differences = String::new();
    let mut compared = 0;
    for row in crate::command::all() {
        let args = words(&format!("COMMAND INFO {}", row.name));
        let refs: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        // Subcommands come in no particular order there; each is compared by itself.
        // 7.2 gave the tips of ACL's subcommands.
        let tipped = row.name.starts_with("acl|") && !row.tips.is_empty();
        if OTHER.contains(&row.name)
            || tipped
            || !row.subcommands.is_empty()
            || redis.ask(&refs) == b"*1\r\n$-1\r\n"
        {
            continue;
        }
        compared += 1;
        let (theirs, ours) = (without_notes(&redis.ask(&refs)), local.ask(&refs));
        if !agree(&args, &ours, &theirs) {
            let (theirs, ours) = (theirs.escape_ascii(), ours.escape_ascii());
            differences += &format!("{}\n  Redis:   {theirs}\n  Ferrite: {ours}\n", row.name);
        }
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
