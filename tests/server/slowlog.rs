//! What SLOWLOG keeps of commands of the session and of administrators, and what INFO counts of commands that came to
//! nothing.

use crate::common::server::Home;
use crate::common::wire::{Value, Wire};

/// The commands in the slow log, newest first.
fn kept(wire: &mut Wire) -> Vec<String> {
    let told = wire.say("SLOWLOG GET -1");
    let entries = told.items().iter().map(|entry| {
        let args = entry.items()[3].items().iter().map(Value::text);
        args.collect::<Vec<_>>().join(" ")
    });
    entries.collect()
}

#[test]
fn every_slow_command_is_kept_and_no_secret_of_it() {
    for shards in [1, 2] {
        let mut home = Home::new();
        home.shards(shards)
            .text("latency.slowlog_log_slower_than", "0us");
        let server = home.start();
        let mut wire = server.connect();
        wire.say("GET before");
        assert_eq!(wire.say("SLOWLOG RESET"), Value::ok());
        assert_eq!(kept(&mut wire), ["SLOWLOG RESET"]);
        for line in [
            "ACL SETUSER bob on >sesame ~* &* +@all",
            "AUTH bob sesame",
            "AUTH bob wrong-sesame",
            "HELLO 2 AUTH bob sesame SETNAME me",
            "CONFIG SET requirepass sesame timeout 0",
            "CONFIG SET requirepass sesame masterauth sesame",
            "CONFIG SET requirepass \"\"",
            "MIGRATE 127.0.0.1 1 nokey 0 1 AUTH sesame",
            "CONFIG GET timeout",
            "SELECT 1",
            "SUBSCRIBE c",
            "UNSUBSCRIBE c",
            "MULTI",
            "PING",
            "CLIENT ID",
            "EXEC",
            "WAIT 0 1",
        ] {
            wire.send(format!("{line}\r\n").as_bytes()).expect("sent");
            wire.reply().expect("a reply");
        }
        let mut kept = kept(&mut wire);
        kept.reverse();
        assert_eq!(
            kept,
            [
                "SLOWLOG RESET",
                "SLOWLOG GET -1",
                "ACL SETUSER (redacted) (redacted) (redacted) (redacted) (redacted) (redacted)",
                "AUTH (redacted) (redacted)",
                "AUTH (redacted) (redacted)",
                "HELLO 2 AUTH (redacted) (redacted) SETNAME me",
                "CONFIG SET requirepass (redacted) timeout 0",
                "CONFIG SET requirepass (redacted) masterauth (redacted)",
                "CONFIG SET requirepass (redacted)",
                "MIGRATE 127.0.0.1 1 nokey 0 1 AUTH (redacted)",
                "CONFIG GET timeout",
                "SELECT 1",
                "SUBSCRIBE c",
                "UNSUBSCRIBE c",
                "MULTI",
                "PING",
                "CLIENT ID",
            ]
        );
    }
}

/// DEBUG SLEEP takes as long as it says, though only its own client waits.
#[test]
fn a_sleep_is_slow_for_as_long_as_it_says() {
    let home = Home::new();
    let server = home.start();
    let mut wire = server.connect();
    assert_eq!(wire.say("DEBUG SLEEP 0.05"), Value::ok());
    assert_eq!(wire.say("CONFIG GET SlowLog-Max-Len").items().len(), 2);
    let told = wire.say("SLOWLOG GET");
    let [entry] = told.items() else {
        panic!("{told:?}");
    };
    let us = entry.items()[2].int();
    assert!((49_000..60_000_000).contains(&us), "{us}");
}

#[test]
fn refused_and_failed_commands_are_counted_by_name() {
    for shards in [1, 2] {
        let mut home = Home::new();
        home.shards(shards);
        let server = home.start();
        let mut wire = server.connect();
        for line in [
            "SET s v",
            "GET",
            "GET a b",
            "LPUSH s 1",
            "INCR s",
            "CONFIG GET",
            "CONFIG SET maxmemory x",
            "AUTH a b",
            "MULTI",
            "SET",
            "EXEC",
            "MULTI",
            "SELECT 77",
            "SELECT 1",
            "INCR s",
            "EXEC",
        ] {
            wire.say(line);
        }
        let stats = wire.info("commandstats");
        let counted = |name: &str| {
            let (_, line) = stats
                .iter()
                .find(|(row, _)| row == &format!("cmdstat_{name}"))
                .unwrap_or_else(|| panic!("{name} in {stats:?}"));
            let of = |field: &str| {
                let mut fields = line.split(',').filter_map(|f| f.split_once('='));
                let (_, n) = fields.find(|(f, _)| *f == field).expect("counted");
                n.parse::<u64>().expect("a number")
            };
            (of("calls"), of("rejected_calls"), of("failed_calls"))
        };
        for (name, expected) in [
            ("set", (1, 1, 0)),
            ("get", (0, 2, 0)),
            ("lpush", (1, 0, 1)),
            ("incr", (2, 0, 1)),
            ("config|get", (0, 1, 0)),
            ("config|set", (1, 0, 1)),
            ("auth", (1, 0, 1)),
            ("select", (2, 0, 1)),
        ] {
            assert_eq!(counted(name), expected, "{name}, {shards} shards");
        }
    }
}

/// Names as they were asked for, words as they were set, Redis's older names.
#[test]
fn configuration_is_told_in_redis_words() {
    let home = Home::new();
    let server = home.start();
    let mut wire = server.connect();
    let mut pair = |line: &str| match wire.say(line) {
        Value::Array(items) => items.iter().map(Value::text).collect(),
        other => vec![other.text()],
    };
    assert_eq!(
        pair("CONFIG GET SlowLog-Max-Len"),
        ["SlowLog-Max-Len", "128"]
    );
    assert_eq!(
        pair("CONFIG GET SlowLog-Max-Le*"),
        ["slowlog-max-len", "128"]
    );
    assert_eq!(
        pair("CONFIG GET Timeout TIMEOUT time[o]ut"),
        ["Timeout", "0"]
    );
    assert_eq!(
        pair("CONFIG GET hash-max-ziplist-entries zset-max-ziplist-value list-max-ziplist-size")
            .len(),
        6
    );
    for level in ["debug", "verbose", "notice", "warning"] {
        pair(&format!("CONFIG SET loglevel {level}"));
        assert_eq!(pair("CONFIG GET loglevel"), ["loglevel", level]);
    }
    assert!(wire.say("CONFIG SET loglevel loud").is_error());
    assert!(
        wire.say("LOLWUT VERSION 5 1 2")
            .text()
            .ends_with("\nRedis ver. 7.2.0\n")
    );
    assert!(wire.say("LOLWUT VERSION x").is_error());
}
