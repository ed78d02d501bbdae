//! Canaries: random keys and values that the server is made to handle in every way, and that then must not be
//! found anywhere in the clear: not in the data directory, not in the logs, not on the wire, and the Kek not in
//! what a core dump would hold. Each search is also made where the canaries must be found, so that a blind search
//! cannot pass.

use std::collections::{BTreeSet, HashMap};
use std::io::{Read, Seek, SeekFrom};
use std::time::Duration;

use crate::common::proxy::Proxy;
use crate::common::random::Random;
use crate::common::server::{Home, Server};
use crate::common::wire::{Value, Wire};
use crate::common::{contains, eventually, files_below};

/// Letters of a canary.
const LENGTH: usize = 24;

/// Runs canaries through every path that handles what users send. Returns them.
fn sing(wire: &mut Wire, random: &mut Random) -> Vec<String> {
    let mut canaries = Vec::new();
    let mut canary = || {
        let word = random.word(LENGTH);
        canaries.push(word.clone());
        word
    };
    let (key, value) = (canary(), canary());
    assert_eq!(wire.call(&["SET", &key, &value]), Value::ok());
    assert_eq!(wire.call(&["GET", &key]), Value::bulk(&value));
    wire.call(&["APPEND", &key, &canary()]);
    wire.call(&["SETRANGE", &key, "100", &canary()]);
    wire.call(&["MSET", &canary(), &canary(), &canary(), &canary()]);
    wire.call(&["SET", &canary(), &canary(), "EX", "1000"]);
    wire.call(&["SET", &canary(), &canary(), "PX", "1"]);
    wire.call(&["GETSET", &key, &canary()]);
    wire.call(&["RENAME", &key, &canary()]);
    wire.call(&["DEL", &canary()]);
    // A value that is compressible and long, one that spans frames.
    wire.call(&["SET", &canary(), &canary().repeat(20)]);
    wire.call(&["SET", &canary(), &canary().repeat(20_000)]);
    // Transactions, also such as fail.
    wire.call(&["MULTI"]);
    wire.call(&["SET", &canary(), &canary()]);
    wire.call(&["SET", &canary(), &canary()]);
    wire.call(&["EXEC"]);
    wire.call(&["WATCH", &canary()]);
    wire.call(&["UNWATCH"]);
    // Errors quote what they do not understand, to the client and to nobody else.
    wire.call(&[&canary(), &canary()]);
    wire.call(&["CONFIG", "SET", &canary(), &canary()]);
    wire.call(&["AUTH", &canary(), &canary()]);
    wire.call(&["INCR", &key]);
    wire.call(&["SET", &canary(), &canary(), &canary()]);
    wire.call(&["CLIENT", "SETNAME", &canary()]);
    wire.call(&["SELECT", &canary()]);
    wire.call(&["KEYS", &canary()]);
    canaries
}

/// The canaries that stand in `hay`, as they are or in hex.
///
/// Canaries are letters and digits, [`LENGTH`] of them at least: so the search leaps over every other byte, and is
/// quick where there is ciphertext.
fn found(hay: &[u8], canaries: &[String]) -> Vec<String> {
    let mut by_start: HashMap<[u8; 8], Vec<(Vec<u8>, &String)>> = HashMap::new();
    for canary in canaries {
        for form in [canary.clone().into_bytes(), hex(canary).into_bytes()] {
            let start = form[..8].try_into().expect("eight bytes");
            by_start.entry(start).or_default().push((form, canary));
        }
    }
    let mut out = BTreeSet::new();
    let mut at = 0;
    while at + LENGTH <= hay.len() {
        let window = &hay[at..at + LENGTH];
        if let Some(other) = window.iter().rposition(|b| !b.is_ascii_alphanumeric()) {
            at += other + 1;
            continue;
        }
        if let Some(forms) = by_start.get(&window[..8]) {
            for (form, canary) in forms {
                if hay[at..].starts_with(form) {
                    out.insert((*canary).clone());
                }
            }
        }
        at += 1;
    }
    out.into_iter().collect()
}

fn hex(text: &str) -> String {
    text.bytes().map(|b| format!("{b:02x}")).collect()
}

/// All files of the home but the certificates and the Kek, which hold no canaries in any case.
fn sweep(home: &Home, canaries: &[String]) {
    for (path, content) in files_below(&home.data()) {
        let found = found(&content, canaries);
        assert!(
            found.is_empty(),
            "{} holds {found:?} in the clear",
            path.display()
        );
        for canary in canaries {
            assert!(
                !path.to_string_lossy().contains(canary.as_str()),
                "a file name holds a canary"
            );
        }
    }
    let found = found(home.log().as_bytes(), canaries);
    assert!(found.is_empty(), "the log holds {found:?}");
}

#[test]
fn nothing_of_keys_and_values_is_on_disk_in_logs_or_on_the_wire() {
    for (shards, policy, algorithm) in [
        (1, "everysec", "aes256gcm"),
        (2, "always", "chacha20poly1305"),
    ] {
        let mut random = Random::announced("canaries");
        let mut home = Home::new();
        home.shards(shards)
            .fsync(policy)
            .text("encryption.algorithm", algorithm)
            .text("log.level", "trace")
            // Small segments: the zeros of large ones would only be searched in vain.
            .text("persistence.aof_segment_size", "1MiB")
            .text("latency.slowlog_log_slower_than", "0us");
        let mut canaries = Vec::new();
        let server = home.start();
        let proxy = Proxy::start(home.port);
        let mut wire = Wire::tls(proxy.port, home.client()).expect("through the proxy");
        for _ in 0..20 {
            canaries.extend(sing(&mut wire, &mut random));
            assert_eq!(wire.say("SAVE"), Value::ok());
        }
        assert!(
            files_below(&home.data().join("checkpoint")).len() > shards,
            "no checkpoint was taken"
        );
        // The search finds what is there: the same proxy shows the handshake's server name in the clear.
        let captured = proxy.captured();
        assert!(
            captured.len() > 1 << 20 && contains(&captured, b"localhost"),
            "the capture is blind"
        );
        let on_wire = found(&captured, &canaries);
        assert!(on_wire.is_empty(), "the wire shows {on_wire:?}");
        sweep(&home, &canaries);
        server.kill9();
        sweep(&home, &canaries);
        let server = home.start();
        sweep(&home, &canaries);
        server.stop();
        sweep(&home, &canaries);
        let bytes: usize = files_below(&home.data()).iter().map(|(_, c)| c.len()).sum();
        assert!(bytes > 1 << 20, "hardly anything was written");
    }
}

#[test]
fn with_encryption_off_the_same_search_finds_them() {
    let mut random = Random::announced("canaries");
    let mut home = Home::new();
    home.set("encryption.enabled", false);
    let server = home.start();
    let mut wire = server.connect();
    let canaries = sing(&mut wire, &mut random);
    assert_eq!(wire.say("SAVE"), Value::ok());
    server.stop();
    for (directory, least) in [("log", 10), ("checkpoint", 8)] {
        let all: Vec<u8> = files_below(&home.data().join(directory))
            .into_iter()
            .flat_map(|(_, c)| c)
            .collect();
        // Of those that were stored; errors and names are not.
        let seen = found(&all, &canaries).len();
        assert!(seen > least, "the search of {directory} is blind: {seen}");
    }
    assert!(
        found(home.log().as_bytes(), &canaries).is_empty(),
        "the log holds canaries"
    );
}

#[test]
fn a_sealed_log_does_not_show_that_values_repeat() {
    let home = Home::new();
    let server = home.start();
    let mut wire = server.connect();
    for i in 0..3000 {
        wire.call(&["SET", &format!("{i:08}"), &"A".repeat(64)]);
    }
    assert_eq!(wire.say("SAVE"), Value::ok());
    server.stop();
    let both = ["log", "checkpoint"].map(|name| files_below(&home.data().join(name)));
    assert!(both[1].len() > 1, "no checkpoint was taken");
    for (path, content) in both.into_iter().flatten() {
        // Past the header, 32 equal bytes at two aligned places would be a pattern showing through; zeros are the
        // part of a segment that was never written.
        let mut seen = std::collections::HashSet::new();
        for block in content
            .chunks(32)
            .skip(128)
            .filter(|b| b.iter().any(|&x| x != 0))
        {
            assert!(
                seen.insert(block),
                "{}: a block of 32 bytes stands there twice",
                path.display()
            );
        }
    }
}

/// One mapping of a process that can be read.
struct Mapping {
    range: std::ops::Range<u64>,
    dumped: bool,
}

fn mappings(pid: u32) -> Vec<Mapping> {
    let text =
        std::fs::read_to_string(format!("/proc/{pid}/smaps")).expect("a live process of our own");
    let mut out: Vec<Mapping> = Vec::new();
    let mut readable = false;
    for line in text.lines() {
        let first = line.split_whitespace().next().unwrap_or_default();
        if let Some((from, to)) = first.split_once('-')
            && let (Ok(from), Ok(to)) = (u64::from_str_radix(from, 16), u64::from_str_radix(to, 16))
        {
            readable = line
                .split_whitespace()
                .nth(1)
                .is_some_and(|p| p.starts_with('r'));
            let special =
                line.contains("[vvar") || line.contains("[vsyscall") || line.contains("io_uring");
            if readable && !special {
                out.push(Mapping {
                    range: from..to,
                    dumped: true,
                });
            }
            readable &= !special;
        } else if let Some(flags) = line.strip_prefix("VmFlags:")
            && readable
            && let Some(last) = out.last_mut()
        {
            last.dumped = !flags.split_whitespace().any(|f| f == "dd");
        }
    }
    out
}

/// Where the needles stand in a process's memory: in mappings that a core dump holds, and in those it leaves out.
fn in_memory(server: &Server<'_>, needles: &[&[u8]]) -> (usize, usize) {
    let mut memory =
        std::fs::File::open(format!("/proc/{}/mem", server.pid())).expect("a process of our own");
    let (mut dumped, mut kept) = (0, 0);
    for mapping in mappings(server.pid()) {
        let mut content = Vec::new();
        let size = mapping.range.end - mapping.range.start;
        let got = memory
            .seek(SeekFrom::Start(mapping.range.start))
            .and_then(|_| (&mut memory).take(size).read_to_end(&mut content));
        // Parts that are not backed (guard pages, device memory) do not read, and are not dumped either.
        let _ = got;
        for needle in needles {
            if contains(&content, needle) {
                *(if mapping.dumped {
                    &mut dumped
                } else {
                    &mut kept
                }) += 1;
            }
        }
    }
    (dumped, kept)
}

#[test]
fn the_kek_is_in_nothing_that_a_core_dump_holds() {
    let mut random = Random::announced("core");
    let home = Home::new();
    let kek = std::fs::read(home.kek()).expect("the Kek");
    let hex: String = kek.iter().map(|b| format!("{b:02x}")).collect();
    // In hex, so that a buffer that held the file and was not wiped would show, too.
    crate::common::certs::private(&home.kek(), hex.as_bytes());
    let server = home.start();
    let canary = random.word(40);
    let mut wire = server.connect();
    assert_eq!(wire.call(&["SET", "canary", &canary]), Value::ok());
    assert_eq!(wire.say("PING").text(), "PONG");
    // A value is memory like any other, so the search must see it, if the process can be looked into at all.
    let (seen, _) = in_memory(&server, &[canary.as_bytes()]);
    assert!(seen > 0, "the search is blind");
    let (dumped, kept) = in_memory(&server, &[&kek, hex.as_bytes()]);
    println!("the Kek stands in {kept} mappings that are left out of dumps");
    assert_eq!(dumped, 0, "the Kek stands in memory that a core dump holds");
}

#[test]
fn the_password_is_shown_to_nobody() {
    let mut random = Random::announced("password");
    let mut home = Home::new();
    let password = random.word(32);
    home.text("auth.requirepass", &password)
        .text("log.level", "trace")
        .text("latency.slowlog_log_slower_than", "0us");
    let server = home.start();
    let mut wire = server.connect();
    assert_eq!(wire.call(&["AUTH", &password]), Value::ok());
    for line in [
        "CONFIG GET *",
        "SLOWLOG GET 100",
        "CLIENT LIST",
        "INFO everything",
        "COMMAND COUNT",
    ] {
        let mut raw = Vec::new();
        wire.call(&["ECHO", "start"]);
        raw.extend(format!("{:?}", wire.say(line)).bytes());
        assert!(
            !contains(&raw, password.as_bytes()),
            "{line} shows the password"
        );
    }
    eventually("the log has been written", || {
        (!home.log().is_empty()).then_some(())
    });
    std::thread::sleep(Duration::from_millis(100));
    assert!(
        !home.log().contains(&password),
        "the log shows the password"
    );
    for (path, content) in files_below(&home.data()) {
        assert!(
            !contains(&content, password.as_bytes()),
            "{} shows the password",
            path.display()
        );
    }
}
