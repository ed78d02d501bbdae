//! Scripts and functions against the real binary: beside redis-server, reply for reply; on one shard and on several; ended
//! while they run; with what they wrote, and the libraries, after kill -9.

use std::time::{Duration, Instant};

use crate::common::peer::Redis;
use crate::common::server::{Home, Server};
use crate::common::wire::{Value, Wire};

/// The words of a line of `scripts.txt`.
fn words(line: &str) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut rest = line.as_bytes().iter().copied().peekable();
    while let Some(b) = rest.next() {
        let mut word = Vec::new();
        match b {
            b' ' => continue,
            b'"' => loop {
                match rest.next().expect("a closing quote") {
                    b'"' => break,
                    b'\\' => word.push(match rest.next().expect("an escape") {
                        b'n' => b'\n',
                        b'r' => b'\r',
                        b'x' => {
                            let digits = [rest.next(), rest.next()].map(|d| d.expect("a digit"));
                            let digits = std::str::from_utf8(&digits).expect("ASCII");
                            u8::from_str_radix(digits, 16).expect("hex digits")
                        }
                        plain => plain,
                    }),
                    b => word.push(b),
                }
            },
            b => {
                word.push(b);
                while let Some(b) = rest.next_if(|b| *b != b' ') {
                    word.push(b);
                }
            }
        }
        words.push(word);
    }
    words
}

#[test]
fn scripts_answer_as_in_redis() {
    let redis = Redis::start();
    for shards in [1, 3] {
        let mut home = Home::new();
        home.shards(shards);
        let server = home.start();
        let (mut here, mut there) = (server.connect(), redis.connect());
        let mut differences = Vec::new();
        let mut asked = 0;
        for proto in ["2", "3"] {
            for wire in [&mut here, &mut there] {
                wire.call(&["HELLO", proto]);
                wire.call(&["FLUSHALL"]);
                wire.call(&["SCRIPT", "FLUSH"]);
                wire.call(&["FUNCTION", "FLUSH"]);
            }
            for line in include_str!("scripts.txt").lines() {
                if line.is_empty() || line.starts_with('#') {
                    continue;
                }
                let request = words(line);
                let (ours, theirs) = (here.call(&request), there.call(&request));
                asked += 1;
                if ours != theirs {
                    differences.push(format!("{line}\n  {ours:?}\n  {theirs:?}"));
                }
            }
        }
        assert!(asked > 600, "{asked}");
        assert!(
            differences.is_empty(),
            "with {shards} shards, RESP2 and 3:\n{}",
            differences.join("\n")
        );
    }
}

fn eval(wire: &mut Wire, script: &str, keys: &[&str]) -> Value {
    let count = keys.len().to_string();
    let mut request = vec!["EVAL", script, &count];
    request.extend(keys);
    wire.call(&request)
}

/// Waits until an ordinary command is answered BUSY.
fn until_busy(wire: &mut Wire) {
    let began = Instant::now();
    loop {
        let said = wire.call(&["GET", "anything"]);
        if said.is_error() && said.text().starts_with("BUSY ") {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "{said:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn start_busy(server: &Server<'_>, request: &[&str]) -> Wire {
    let mut runs = server.connect();
    runs.patience(Duration::from_secs(60));
    runs.ask(request).expect("sent");
    runs
}

fn killed(shards: usize) {
    let mut home = Home::new();
    home.shards(shards);
    let server = home.start();
    let mut wire = server.connect();
    wire.call(&["CONFIG", "SET", "busy-reply-threshold", "100"]);
    assert!(wire.call(&["SCRIPT", "KILL"]).text().starts_with("NOTBUSY"));
    for script in [
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "while true do redis.pcall('GET', 'x') end",
        "local f = function() while true do end end while true do pcall(coroutine.wrap(f)) end",
    ] {
        let mut runs = start_busy(&server, &["EVAL", script, "0"]);
        until_busy(&mut wire);
        // Somebody who comes only now is served as well.
        let mut late = server.connect();
        assert!(late.call(&["PING"]).text().starts_with("BUSY"));
        assert!(late.call(&["FUNCTION", "KILL"]).is_error());
        assert_eq!(late.call(&["SCRIPT", "KILL"]), Value::ok());
        let said = runs.reply().expect("a reply");
        assert!(said.text().contains("Script killed by user"), "{said:?}");
        assert_eq!(wire.call(&["SET", "k", "v"]), Value::ok());
    }
    // In a transaction, and as a function.
    let mut runs = server.connect();
    runs.patience(Duration::from_secs(60));
    runs.call(&["MULTI"]);
    runs.call(&["EVAL", "while true do end", "0"]);
    runs.call(&["SET", "after", "1"]);
    runs.ask(&["EXEC"]).expect("sent");
    until_busy(&mut wire);
    assert_eq!(wire.call(&["SCRIPT", "KILL"]), Value::ok());
    let said = runs.reply().expect("a reply");
    assert!(
        said.items()[0].is_error() && said.items()[1] == Value::ok(),
        "{said:?}"
    );
    assert_eq!(wire.call(&["GET", "after"]).text(), "1");
    let code = "#!lua name=slow\nredis.register_function('slow', function() while true do end end)";
    assert_eq!(wire.call(&["FUNCTION", "LOAD", code]).text(), "slow");
    let mut runs = start_busy(&server, &["FCALL", "slow", "0"]);
    until_busy(&mut wire);
    assert!(wire.call(&["SCRIPT", "KILL"]).is_error());
    assert!(!wire.call(&["FUNCTION", "STATS"]).items().is_empty());
    assert_eq!(wire.call(&["FUNCTION", "KILL"]), Value::ok());
    assert!(runs.reply().expect("a reply").is_error());
}

#[test]
fn one_core_answers_who_ends_its_script() {
    killed(1);
}

#[test]
fn any_core_ends_a_script() {
    killed(3);
}

#[test]
fn a_script_that_wrote_is_not_ended_and_leaves_nothing_half_done() {
    for shards in [1, 3] {
        let mut home = Home::new();
        home.shards(shards).fsync("always");
        let server = home.start();
        let mut wire = server.connect();
        wire.call(&["CONFIG", "SET", "busy-reply-threshold", "100"]);
        let script = "for i = 1, 20 do redis.call('SET', 'k' .. i, 'x') end while true do end";
        let _runs = start_busy(&server, &["EVAL", script, "0"]);
        until_busy(&mut wire);
        let said = wire.call(&["SCRIPT", "KILL"]);
        assert!(said.text().starts_with("UNKILLABLE"), "{said:?}");
        server.kill9();
        let server = home.start();
        assert_eq!(server.connect().call(&["DBSIZE"]).int(), 0);
    }
}

#[test]
fn a_shutdown_without_saving_ends_a_script_that_wrote() {
    for shards in [1, 3] {
        let mut home = Home::new();
        home.shards(shards).fsync("always");
        let mut server = home.start();
        let mut wire = server.connect();
        wire.call(&["SET", "before", "1"]);
        wire.call(&["CONFIG", "SET", "busy-reply-threshold", "100"]);
        let script = "redis.call('SET', 'half', 'x') while true do end";
        let _runs = start_busy(&server, &["EVAL", script, "0"]);
        until_busy(&mut wire);
        assert!(wire.call(&["SHUTDOWN"]).text().starts_with("BUSY"));
        wire.ask(&["SHUTDOWN", "NOSAVE"]).expect("sent");
        server.wait();
        let server = home.start();
        let mut wire = server.connect();
        assert_eq!(wire.call(&["EXISTS", "before", "half"]).int(), 1);
    }
}

#[test]
fn what_a_script_does_on_many_shards_is_whole_and_durable() {
    let mut home = Home::new();
    home.shards(3).fsync("always");
    let server = home.start();
    let keys: Vec<String> = (0..12).map(|n| format!("key{n}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let adds = "for _, k in ipairs(KEYS) do redis.call('INCR', k) end return #KEYS";
    let reads = "local t = {} for i, k in ipairs(KEYS) do t[i] = redis.call('GET', k) end return t";
    let mut wire = server.connect();
    eval(&mut wire, adds, &keys);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            let (server, keys) = (&server, &keys);
            scope.spawn(move || {
                let mut wire = server.connect();
                for _ in 0..100 {
                    assert_eq!(eval(&mut wire, adds, keys).int(), 12);
                }
            });
        }
        // Nobody sees one half done.
        for _ in 0..100 {
            let seen = eval(&mut wire, reads, &keys);
            let seen = seen.items();
            assert!(seen.iter().all(|value| *value == seen[0]), "{seen:?}");
        }
    });
    server.kill9();
    let server = home.start();
    let mut wire = server.connect();
    for key in &keys {
        assert_eq!(wire.call(&["GET", key]).text(), "301");
    }
    // Keys that are not named are there too, whatever shard they live on.
    let other = |n: usize| format!("other{n}");
    let touch = "return redis.pcall('SET', ARGV[1], 'x')";
    for n in 0..12 {
        assert_eq!(
            wire.call(&["EVAL", touch, "1", "key0", &other(n)]),
            Value::ok()
        );
    }
    for n in 0..12 {
        assert_eq!(wire.call(&["EVAL", touch, "0", &other(n)]), Value::ok());
    }
}

#[test]
fn scripts_and_libraries_are_known_to_all_cores_and_libraries_survive() {
    let mut home = Home::new();
    home.shards(3).fsync("always");
    let server = home.start();
    let mut wires: Vec<Wire> = (0..12).map(|_| server.connect()).collect();
    let sha = wires[0].call(&["SCRIPT", "LOAD", "return 7"]).text();
    let code = "#!lua name=lib\nredis.register_function('f', function(k) return redis.call('GET', k[1]) end)";
    assert_eq!(wires[1].call(&["FUNCTION", "LOAD", code]).text(), "lib");
    wires[2].call(&["SET", "k", "v"]);
    for wire in &mut wires {
        assert_eq!(wire.call(&["EVALSHA", &sha, "0"]).int(), 7);
        assert_eq!(wire.call(&["FCALL", "f", "1", "k"]).text(), "v");
        assert_eq!(wire.call(&["FCALL", "f", "1", "k"]).text(), "v");
    }
    assert_eq!(wires[3].figure("memory", "number_of_cached_scripts"), "1");
    assert_eq!(wires[3].figure("memory", "number_of_libraries"), "1");
    let two = code.replace("lib", "two").replace("'f'", "'g'");
    wires[4].call(&["FUNCTION", "LOAD", &two]);
    wires[5].call(&["FUNCTION", "DELETE", "two"]);
    assert!(wires[6].call(&["FCALL", "g", "1", "k"]).is_error());
    let changed = code.replace("'GET', k[1]", "'ECHO', 'new'");
    wires[7].call(&["FUNCTION", "LOAD", "REPLACE", &changed]);
    for wire in &mut wires {
        assert_eq!(wire.call(&["FCALL", "f", "1", "k"]).text(), "new");
    }
    server.kill9();

    // With another number of shards, too.
    home.shards(2);
    let server = home.start();
    let mut wire = server.connect();
    assert_eq!(wire.call(&["FCALL", "f", "1", "k"]).text(), "new");
    assert!(wire.call(&["FCALL", "g", "1", "k"]).is_error());
    assert!(wire.call(&["EVALSHA", &sha, "0"]).is_error());
    assert_eq!(wire.figure("memory", "number_of_libraries"), "1");
}

#[test]
fn libraries_move_to_redis_and_back() {
    let home = Home::new();
    let server = home.start();
    let redis = Redis::start();
    let (mut here, mut there) = (server.connect(), redis.connect());
    let dump = |wire: &mut Wire| match wire.call(&["FUNCTION", "DUMP"]) {
        Value::Bulk(bytes) => bytes,
        other => panic!("{other:?}"),
    };
    let code = "#!lua name=lib\nredis.register_function('f', function() return 'a text that is long enough' end)";
    here.call(&["FUNCTION", "LOAD", code]);
    let ours = dump(&mut here);
    let request: [&[u8]; 3] = [b"FUNCTION", b"RESTORE", &ours];
    assert_eq!(there.call(&request), Value::ok());
    let theirs = dump(&mut there);
    let said = there.call(&["FCALL", "f", "0"]);
    let request: [&[u8]; 4] = [b"FUNCTION", b"RESTORE", &theirs, b"FLUSH"];
    assert_eq!(here.call(&request), Value::ok());
    assert_eq!(here.call(&["FCALL", "f", "0"]), said);
    let request: [&[u8]; 3] = [b"FUNCTION", b"RESTORE", &theirs];
    assert_eq!(here.call(&request), there.call(&request));
    let request: [&[u8]; 3] = [b"FUNCTION", b"RESTORE", b"nonsense-nonsense"];
    assert_eq!(here.call(&request), there.call(&request));
}

#[test]
fn users_may_do_in_scripts_what_they_may_do() {
    for shards in [1, 3] {
        let mut home = Home::new();
        home.shards(shards);
        let server = home.start();
        let mut wire = server.connect();
        wire.say("ACL SETUSER who on nopass ~mine* +eval +get +set");
        wire.say("AUTH who x");
        assert_eq!(
            eval(&mut wire, "return redis.call('SET', 'mine', 1)", &["mine"]),
            Value::ok()
        );
        for script in [
            "return redis.call('SET', 'yours', 1)",
            "return redis.call('DEL', 'mine')",
        ] {
            let said = eval(&mut wire, script, &["mine"]).text();
            assert!(said.starts_with("NOPERM ACL failure in script"), "{said}");
        }
        assert_eq!(
            eval(
                &mut wire,
                "return tostring(redis.acl_check_cmd('DEL', 'mine'))",
                &[]
            )
            .text(),
            "false"
        );
        let mut root = server.connect();
        let log = root.call(&["ACL", "LOG"]);
        assert_eq!(log.items()[0].items()[5].text(), "lua", "{log:?}");
    }
}

#[test]
fn monitor_shows_what_scripts_call() {
    let home = Home::new();
    let server = home.start();
    let (mut wire, mut monitor) = (server.connect(), server.connect());
    monitor.call(&["MONITOR"]);
    eval(&mut wire, "return redis.call('SET', KEYS[1], 'v')", &["k"]);
    let first = monitor.reply().expect("a line").text();
    let second = monitor.reply().expect("a line").text();
    assert!(first.contains("\"EVAL\""), "{first}");
    assert!(second.ends_with("[0 lua] \"SET\" \"k\" \"v\""), "{second}");
}
