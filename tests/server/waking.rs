//! Clients that wait for sorted sets and streams, and how else a wait may end: over TLS, with the keys on one shard and on
//! several, for the core's own clients and others'.

use crate::common::eventually;
use crate::common::server::{Home, Server};
use crate::common::slots::tags;
use crate::common::wire::{Value, Wire};

fn blocked(probe: &mut Wire) -> usize {
    let n = probe.figure("clients", "blocked_clients");
    n.parse().expect("a number")
}

/// A client that has sent a command which waits, known to wait when this returns.
fn waiter(server: &Server<'_>, probe: &mut Wire, line: &str) -> Wire {
    let before = blocked(probe);
    let mut wire = server.connect();
    wire.ask(&line.split_whitespace().collect::<Vec<_>>())
        .expect("sent");
    eventually("the client waits", || {
        (blocked(probe) > before).then_some(())
    });
    wire
}

/// All bulk strings and numbers of a reply, in order.
fn flat(value: &Value) -> Vec<String> {
    match value {
        Value::Array(items) | Value::Set(items) => items.iter().flat_map(flat).collect(),
        other => vec![other.text()],
    }
}

/// Runs with one shard and with several; `keys` is a key of each shard, in each shard's own place.
fn everywhere(test: impl Fn(&Server<'_>, &mut Wire, &[String])) {
    for shards in [1, 2, 3] {
        let mut home = Home::new();
        home.shards(shards);
        let server = home.start();
        let mut probe = server.connect();
        let keys: Vec<String> = tags(shards).iter().map(|t| format!("{{{t}}}k")).collect();
        test(&server, &mut probe, &keys);
    }
}

#[test]
fn sorted_sets_wake_in_the_order_of_the_waits() {
    everywhere(|server, probe, keys| {
        let all = keys.join(" ");
        for key in keys {
            let lines = [
                format!("BZPOPMIN {key} 0"),
                format!("BZMPOP 0 {} {all} MAX COUNT 2", keys.len()),
                format!("BZPOPMAX {all} 0"),
            ];
            let mut waits: Vec<Wire> = lines
                .iter()
                .map(|line| waiter(server, probe, line))
                .collect();
            // Neither a list nor too little wakes more than it can serve.
            probe.say(&format!("RPUSH {key} x"));
            probe.say(&format!("DEL {key}"));
            assert_eq!(blocked(probe), 3);
            probe.say(&format!("ZADD {key} 1 a 2 b 3 c 4 d"));
            assert_eq!(flat(&waits[0].reply().expect("a")), [key, "a", "1"]);
            assert_eq!(
                flat(&waits[1].reply().expect("d c")),
                [key, "d", "4", "c", "3"]
            );
            assert_eq!(flat(&waits[2].reply().expect("b")), [key, "b", "2"]);
            assert_eq!(probe.say(&format!("EXISTS {key}")), Value::Int(0));
            // What comes by other ways: a store, a rename, an increment.
            for line in [
                format!("ZUNIONSTORE {key} 1 {key}2"),
                format!("RENAME {key}2 {key}"),
                format!("ZADD {key} INCR 5 m"),
                format!("GEORADIUS {key}2 0 0 40000 km STORE {key}"),
            ] {
                if line.contains("GEORADIUS") {
                    probe.say(&format!("GEOADD {key}2 1 1 m"));
                } else {
                    probe.say(&format!("ZADD {key}2 5 m"));
                }
                let mut wait = waiter(server, probe, &format!("BZPOPMIN {all} 0"));
                assert!(!probe.say(&line).is_error(), "{line}");
                assert_eq!(flat(&wait.reply().expect("m"))[..2], [key, "m"], "{line}");
                probe.say(&format!("DEL {key} {key}2"));
            }
        }
        for line in [
            format!("BZPOPMIN {all} 0.1"),
            format!("BZMPOP 0.1 {} {all} MIN", keys.len()),
        ] {
            assert_eq!(probe.say(&line), Value::Null, "{line}");
        }
    });
}

#[test]
fn streams_wake_every_reader_and_one_of_a_group() {
    everywhere(|server, probe, keys| {
        let all = keys.join(" ");
        let ids = |id: &str| vec![id; keys.len()].join(" ");
        for key in keys {
            for other in keys {
                probe.say(&format!("XGROUP CREATE {other} g $ MKSTREAM"));
            }
            let mut readers: Vec<Wire> = (0..3)
                .map(|_| {
                    let line = format!("XREAD BLOCK 0 STREAMS {all} {}", ids("$"));
                    waiter(server, probe, &line)
                })
                .collect();
            let mut members: Vec<Wire> = (0..2)
                .map(|i| {
                    let line = format!(
                        "XREADGROUP GROUP g c{i} COUNT 1 BLOCK 0 STREAMS {all} {}",
                        ids(">")
                    );
                    waiter(server, probe, &line)
                })
                .collect();
            let id = probe.say(&format!("XADD {key} * f 1")).text();
            for reader in &mut readers {
                assert_eq!(flat(&reader.reply().expect("read")), [key, &id, "f", "1"]);
            }
            // One member has it, the other waits for the next: on one shard the first of them. On several a member may be
            // on its way to look, for a consumer that came, when the entry comes.
            eventually("one is served", || (blocked(probe) == 1).then_some(()));
            let second = probe.say(&format!("XADD {key} * f 2")).text();
            let mut told: Vec<Vec<String>> = members
                .iter_mut()
                .map(|member| flat(&member.reply().expect("read")))
                .collect();
            if keys.len() > 1 {
                told.sort();
            }
            assert_eq!(told[0], [key, &id, "f", "1"]);
            assert_eq!(told[1], [key, &second, "f", "2"]);
            probe.say("FLUSHALL");
        }
        for line in [
            format!("XREAD BLOCK 100 STREAMS {all} {}", ids("$")),
            format!("XREAD COUNT 1 BLOCK 100 STREAMS {all} {}", ids("5-5")),
        ] {
            assert_eq!(probe.say(&line), Value::Null, "{line}");
        }
    });
}

#[test]
fn a_group_that_goes_ends_the_waits_of_its_readers() {
    everywhere(|server, probe, keys| {
        for key in keys {
            let ends = [
                (format!("XGROUP DESTROY {key} g"), "NOGROUP"),
                (format!("DEL {key}"), "NOGROUP"),
                (format!("SET {key} x"), "WRONGTYPE"),
                (format!("RENAME {key} {key}2"), "NOGROUP"),
                ("FLUSHALL".to_owned(), "NOGROUP"),
                (format!("PEXPIRE {key} 1"), "NOGROUP"),
            ];
            for (line, code) in ends {
                probe.say("FLUSHALL");
                for other in keys {
                    probe.say(&format!("XGROUP CREATE {other} g $ MKSTREAM"));
                }
                let mut one = waiter(
                    server,
                    probe,
                    &format!("XREADGROUP GROUP g c BLOCK 0 STREAMS {key} >"),
                );
                let more = format!(
                    "XREADGROUP GROUP g c BLOCK 0 STREAMS {} {}",
                    keys.join(" "),
                    vec![">"; keys.len()].join(" ")
                );
                let mut several = waiter(server, probe, &more);
                assert!(!probe.say(&line).is_error(), "{line}");
                for wire in [&mut one, &mut several] {
                    let reply = wire.reply().expect("an end");
                    assert!(
                        reply.is_error() && reply.text().starts_with(code),
                        "{line}: {reply:?}"
                    );
                }
            }
        }
    });
}

#[test]
fn a_plain_reader_waits_on_when_its_key_goes_or_changes_its_type() {
    everywhere(|server, probe, keys| {
        let all = keys.join(" ");
        for key in keys {
            let zeros = vec!["$"; keys.len()].join(" ");
            for (line, feed) in [
                (
                    format!("XREAD BLOCK 0 STREAMS {all} {zeros}"),
                    format!("XADD {key} 99-1 f v"),
                ),
                (format!("BZPOPMIN {all} 0"), format!("ZADD {key} 1 v")),
                (format!("BLPOP {all} 0"), format!("RPUSH {key} v")),
                (
                    format!("BLMPOP 0 {} {all} LEFT", keys.len()),
                    format!("RPUSH {key} v"),
                ),
                (
                    format!("BLMOVE {key} {{x}}to LEFT RIGHT 0"),
                    format!("RPUSH {key} v"),
                ),
            ] {
                probe.say("FLUSHALL");
                let mut wait = waiter(server, probe, &line);
                for other in [
                    format!("SET {key} x"),
                    format!("DEL {key}"),
                    format!("HSET {key} f v"),
                    format!("DEL {key}"),
                    "FLUSHALL".to_owned(),
                ] {
                    assert!(!probe.say(&other).is_error());
                    assert_eq!(blocked(probe), 1, "{line}: {other}");
                }
                // Made and taken in one transaction: nothing was ever there.
                probe.say("MULTI");
                probe.say(&feed);
                probe.say(&format!("DEL {key}"));
                probe.say("EXEC");
                assert_eq!(blocked(probe), 1, "{line}");
                assert!(!probe.say(&feed).is_error());
                let told = flat(&wait.reply().expect("served"));
                assert!(told.contains(&"v".to_owned()), "{line}: {told:?}");
            }
        }
    });
}

#[test]
fn unblock_ends_every_kind_of_wait() {
    everywhere(|server, probe, keys| {
        let all = keys.join(" ");
        let n = keys.len();
        let dollars = vec!["$"; n].join(" ");
        for line in [
            format!("BZPOPMAX {all} 0"),
            format!("BZMPOP 0 {n} {all} MIN"),
            format!("BLMPOP 0 {n} {all} LEFT"),
            format!("BLMOVE {} {{x}}to LEFT RIGHT 0", keys[n - 1]),
            format!("BRPOPLPUSH {} {{x}}to 0", keys[n - 1]),
            format!("XREAD BLOCK 0 STREAMS {all} {dollars}"),
            "WAIT 1 0".to_owned(),
        ] {
            for (how, error) in [("", false), ("TIMEOUT", false), ("ERROR", true)] {
                let mut wire = server.connect();
                let id = wire.say("CLIENT ID").int();
                wire.send(format!("{line}\r\nPING\r\n").as_bytes())
                    .expect("sent");
                eventually("it waits", || (blocked(probe) == 1).then_some(()));
                let unblock = format!("CLIENT UNBLOCK {id} {how}");
                assert_eq!(probe.say(unblock.trim()), Value::Int(1), "{line}");
                let reply = wire.reply().expect("an end");
                assert_eq!(reply.is_error(), error, "{line}: {reply:?}");
                assert_eq!(wire.reply().expect("the next").text(), "PONG");
                assert_eq!(probe.say(unblock.trim()), Value::Int(0), "{line}");
            }
        }
    });
}

/// A wait whose rules have gone ends at once, and takes nothing; one that is still allowed goes on.
#[test]
fn a_wait_ends_when_its_user_may_not_any_more() {
    everywhere(|server, probe, keys| {
        let all = keys.join(" ");
        for (line, feed) in [
            (format!("BLPOP {all} 0"), "RPUSH"),
            (format!("BLPOP {} 0", keys[keys.len() - 1]), "RPUSH"),
            (
                format!("BLMOVE {} {{x}}to LEFT RIGHT 0", keys[keys.len() - 1]),
                "RPUSH",
            ),
        ] {
            probe.say("FLUSHALL");
            probe.say("ACL SETUSER app reset on nopass ~* +@all");
            probe.say("ACL SETUSER other reset on nopass ~* +@all");
            let mut waits: Vec<Wire> = ["app", "other"]
                .map(|user| {
                    let before = blocked(probe);
                    let mut wire = server.connect();
                    assert_eq!(wire.say(&format!("AUTH {user} x")), Value::ok());
                    wire.send(format!("{line}\r\n").as_bytes()).expect("sent");
                    eventually("it waits", || (blocked(probe) > before).then_some(()));
                    wire
                })
                .into();
            // Other rights change nothing.
            probe.say("ACL SETUSER app -@dangerous");
            assert_eq!(blocked(probe), 2, "{line}");
            let rule = match line.starts_with("BLMOVE") {
                true => "ACL SETUSER app resetkeys ~nothing*",
                false => "ACL SETUSER app -@blocking",
            };
            assert_eq!(probe.say(rule), Value::ok());
            let reply = waits[0].reply().expect("an end");
            assert!(
                reply.is_error() && reply.text().starts_with("NOPERM"),
                "{line}: {reply:?}"
            );
            let key = &keys[keys.len() - 1];
            probe.say(&format!("{feed} {key} v"));
            let told = flat(&waits[1].reply().expect("served"));
            assert!(told.contains(&"v".to_owned()), "{told:?}");
            assert_eq!(blocked(probe), 0);
        }
    });
}
