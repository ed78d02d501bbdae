//! Clients that wait for lists: in order, for a time, over several shards, and with what they took logged.

use std::time::{Duration, Instant};

use crate::common::eventually;
use crate::common::server::{Home, Server};
use crate::common::slots::tags;
use crate::common::wire::{Value, Wire};

fn bulk(text: &str) -> Value {
    Value::bulk(text)
}

fn pair(key: &str, item: &str) -> Vec<Value> {
    vec![bulk(key), bulk(item)]
}

/// A client that has sent a command which waits, known to wait when this returns.
fn waiter(server: &Server<'_>, probe: &mut Wire, line: &str) -> Wire {
    let before: usize = blocked(probe);
    let mut wire = server.connect();
    wire.ask(&line.split_whitespace().collect::<Vec<_>>())
        .expect("sent");
    eventually("the client waits", || {
        (blocked(probe) > before).then_some(())
    });
    wire
}

fn blocked(probe: &mut Wire) -> usize {
    probe
        .figure("clients", "blocked_clients")
        .parse()
        .expect("a number")
}

fn home(shards: usize) -> Home {
    let mut home = Home::new();
    home.shards(shards).set("server.databases", 16);
    home
}

#[test]
fn waiters_are_served_in_the_order_they_came() {
    for shards in [1, 2, 4] {
        let home = home(shards);
        let server = home.start();
        let mut probe = server.connect();
        for tag in tags(shards) {
            let key = format!("{{{tag}}}q");
            let mut waiters: Vec<Wire> = (0..6)
                .map(|i| {
                    let verb = if i % 2 == 0 { "BLPOP" } else { "BRPOP" };
                    waiter(&server, &mut probe, &format!("{verb} {key} 0"))
                })
                .collect();
            assert_eq!(probe.say(&format!("RPUSH {key} 1 2")), Value::Int(2));
            assert_eq!(waiters[0].reply().expect("1").items(), pair(&key, "1"));
            assert_eq!(waiters[1].reply().expect("2").items(), pair(&key, "2"));
            assert_eq!(probe.say(&format!("LLEN {key}")), Value::Int(0));
            // A transaction that pushes twice is seen when it is whole.
            probe.say("MULTI");
            probe.say(&format!("LPUSH {key} 3"));
            probe.say(&format!("LPUSH {key} 4"));
            probe.say(&format!("LLEN {key}"));
            assert_eq!(
                probe.say("EXEC").items(),
                [Value::Int(1), Value::Int(2), Value::Int(2)]
            );
            assert_eq!(waiters[2].reply().expect("4").items(), pair(&key, "4"));
            assert_eq!(waiters[3].reply().expect("3").items(), pair(&key, "3"));
            // Other ways in which a key comes to be, and a type that is not waited for.
            assert_eq!(probe.say(&format!("SET {key} x")), Value::ok());
            probe.say(&format!("DEL {key}"));
            probe.say(&format!("RPUSH {{{tag}}}other 5 6"));
            assert_eq!(
                probe.say(&format!("RENAME {{{tag}}}other {key}")),
                Value::ok()
            );
            assert_eq!(waiters[4].reply().expect("5").items(), pair(&key, "5"));
            assert_eq!(waiters[5].reply().expect("6").items(), pair(&key, "6"));
            assert_eq!(blocked(&mut probe), 0);
            assert_eq!(probe.say(&format!("EXISTS {key}")), Value::Int(0));
        }
    }
}

#[test]
fn a_wait_ends_with_its_time_or_by_another_client() {
    for shards in [1, 2] {
        let home = home(shards);
        let server = home.start();
        let mut probe = server.connect();
        let tags = tags(shards);
        let spread: Vec<String> = tags.iter().map(|tag| format!("{{{tag}}}q")).collect();
        let spread = spread.join(" ");
        for keys in [
            format!("{{{}}}q", tags[0]),
            format!("{{{}}}q", tags[shards - 1]),
            spread,
        ] {
            let began = Instant::now();
            let mut wire = server.connect();
            assert_eq!(wire.say(&format!("BLPOP {keys} 0.15")), Value::Null);
            let took = began.elapsed();
            assert!(took >= Duration::from_millis(150), "{took:?}");
            assert!(took < Duration::from_secs(10), "{took:?}");

            let id = wire.say("CLIENT ID").int();
            // What is sent behind a command that waits waits, too.
            wire.send(format!("BLPOP {keys} 0\r\nPING\r\n").as_bytes())
                .expect("sent");
            eventually("it waits", || (blocked(&mut probe) == 1).then_some(()));
            let list = probe.say("CLIENT LIST").text();
            let line = list.lines().find(|l| l.starts_with(&format!("id={id} ")));
            assert!(line.expect("listed").contains(" flags=b "), "{list}");
            assert_eq!(probe.say(&format!("CLIENT UNBLOCK {id}")), Value::Int(1));
            assert_eq!(wire.reply().expect("nothing"), Value::Null);
            assert_eq!(wire.reply().expect("PONG").text(), "PONG");
            assert_eq!(probe.say(&format!("CLIENT UNBLOCK {id}")), Value::Int(0));

            wire.send(format!("BLPOP {keys} 0\r\n").as_bytes())
                .expect("sent");
            eventually("it waits", || (blocked(&mut probe) == 1).then_some(()));
            assert_eq!(
                probe.say(&format!("CLIENT UNBLOCK {id} ERROR")),
                Value::Int(1)
            );
            let error = wire.reply().expect("an error");
            assert!(
                error.is_error() && error.text().starts_with("UNBLOCKED "),
                "{error:?}"
            );

            // One that leaves, and one that is killed, take nothing with them.
            drop(waiter(&server, &mut probe, &format!("BLPOP {keys} 0")));
            wire.send(format!("BLPOP {keys} 0\r\n").as_bytes())
                .expect("sent");
            eventually("it waits alone", || {
                (blocked(&mut probe) == 1).then_some(())
            });
            probe.say(&format!("CLIENT KILL ID {id}"));
            eventually("nobody waits", || (blocked(&mut probe) == 0).then_some(()));
            let first = keys.split(' ').next().expect("a key");
            assert_eq!(probe.say(&format!("RPUSH {first} x")), Value::Int(1));
            assert_eq!(probe.say(&format!("LPOP {first}")), bulk("x"));
        }
        for bad in ["BLPOP q x", "BLPOP q -1", "BLPOP q"] {
            assert!(probe.say(bad).is_error(), "{bad}");
        }
        probe.say("SET s x");
        assert!(probe.say("BLPOP s 0").text().starts_with("WRONGTYPE"));
        probe.say("MULTI");
        probe.say("BLPOP q 0");
        assert_eq!(probe.say("EXEC").items(), [Value::Null]);
    }
}

#[test]
fn keys_of_several_shards_are_waited_for_together() {
    for shards in [2, 4] {
        let home = home(shards);
        let server = home.start();
        let mut probe = server.connect();
        let keys: Vec<String> = tags(shards)
            .iter()
            .map(|tag| format!("{{{tag}}}q"))
            .collect();
        let all = keys.join(" ");
        for round in 0..20 {
            let key = &keys[round % shards];
            let mut first = waiter(&server, &mut probe, &format!("BLPOP {all} 0"));
            let mut second = waiter(&server, &mut probe, &format!("BLPOP {key} 0"));
            let mut third = waiter(&server, &mut probe, &format!("BRPOP {all} 0"));
            // The line stands still until the first, which needs all shards, has been served.
            probe.say(&format!("RPUSH {key} 1 2 3"));
            assert_eq!(first.reply().expect("1").items(), pair(key, "1"));
            assert_eq!(second.reply().expect("2").items(), pair(key, "2"));
            assert_eq!(third.reply().expect("3").items(), pair(key, "3"));
            // The first of the keys that is ready counts, in the order of the arguments.
            let mut one = waiter(
                &server,
                &mut probe,
                &format!("BLMPOP 0 {shards} {all} LEFT COUNT 2"),
            );
            probe.say("MULTI");
            for key in keys.iter().rev() {
                probe.say(&format!("RPUSH {key} a b c"));
            }
            probe.say("EXEC");
            let reply = one.reply().expect("two elements");
            assert_eq!(reply.items()[0], bulk(&keys[0]));
            assert_eq!(reply.items()[1].items(), [bulk("a"), bulk("b")]);
            probe.say("FLUSHALL");
            assert_eq!(blocked(&mut probe), 0);
        }
    }
}

#[test]
fn what_one_moves_serves_the_next() {
    for shards in [1, 2, 4] {
        let home = home(shards);
        let server = home.start();
        let mut probe = server.connect();
        let keys: Vec<String> = (0..5)
            .map(|i| format!("{{{}}}{i}", tags(shards)[i % shards]))
            .collect();
        let mut chain: Vec<Wire> = keys
            .windows(2)
            .map(|k| {
                let line = format!("BLMOVE {} {} LEFT RIGHT 0", k[0], k[1]);
                waiter(&server, &mut probe, &line)
            })
            .collect();
        let mut end = waiter(&server, &mut probe, &format!("BLPOP {} 0", keys[4]));
        assert_eq!(probe.say(&format!("RPUSH {} x", keys[0])), Value::Int(1));
        for wire in &mut chain {
            assert_eq!(wire.reply().expect("moved"), bulk("x"));
        }
        assert_eq!(end.reply().expect("popped").items(), pair(&keys[4], "x"));
        assert_eq!(probe.say("DBSIZE"), Value::Int(0));
        // One whose target does not do gets an error, and the element goes to the next.
        let mut wrong = waiter(
            &server,
            &mut probe,
            &format!("BLMOVE {} {} LEFT LEFT 0", keys[0], keys[1]),
        );
        let mut next = waiter(&server, &mut probe, &format!("BLPOP {} 0", keys[0]));
        probe.say(&format!("SET {} text", keys[1]));
        probe.say(&format!("RPUSH {} y", keys[0]));
        assert!(
            wrong
                .reply()
                .expect("an error")
                .text()
                .starts_with("WRONGTYPE")
        );
        assert_eq!(next.reply().expect("y").items(), pair(&keys[0], "y"));
    }
}

#[test]
fn many_workers_share_a_queue_and_nothing_is_lost() {
    const JOBS: usize = 600;
    for shards in [1, 2, 4] {
        let home = home(shards);
        let server = home.start();
        let keys: Vec<String> = tags(shards)
            .iter()
            .map(|tag| format!("{{{tag}}}q"))
            .collect();
        let mut done: Vec<String> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..6)
                .map(|w| {
                    let (server, keys) = (&server, &keys);
                    scope.spawn(move || {
                        let mut wire = server.connect();
                        // Half of them wait for all queues, the others for one each.
                        let keys = if w % 2 == 0 {
                            keys.join(" ")
                        } else {
                            keys[w % keys.len()].clone()
                        };
                        let mut done = Vec::new();
                        loop {
                            let reply = wire.say(&format!("BLPOP {keys} 3"));
                            if reply == Value::Null {
                                return done;
                            }
                            done.push(reply.items()[1].text());
                        }
                    })
                })
                .collect();
            let pushers: Vec<_> = (0..3)
                .map(|p| {
                    let (server, keys) = (&server, &keys);
                    scope.spawn(move || {
                        let mut wire = server.connect();
                        for job in (p..JOBS).step_by(3) {
                            let key = &keys[job % keys.len()];
                            wire.say(&format!("RPUSH {key} {job}"));
                        }
                    })
                })
                .collect();
            for pusher in pushers {
                pusher.join().expect("pushes");
            }
            workers
                .into_iter()
                .flat_map(|w| w.join().expect("works"))
                .collect()
        });
        let mut probe = server.connect();
        for key in &keys {
            // A queue that only those with all keys serve is empty, too.
            assert_eq!(probe.say(&format!("LLEN {key}")), Value::Int(0), "{shards}");
        }
        done.sort_by_key(|job| job.parse::<usize>().expect("a number"));
        let all: Vec<String> = (0..JOBS).map(|job| job.to_string()).collect();
        assert_eq!(done, all, "{shards}");
    }
}

#[test]
fn what_was_served_is_not_there_again_after_a_crash() {
    for shards in [1, 2] {
        let mut home = home(shards);
        home.fsync("always");
        let server = home.start();
        let mut probe = server.connect();
        let tags = tags(shards);
        let keys: Vec<String> = tags.iter().map(|tag| format!("{{{tag}}}q")).collect();
        for (i, key) in keys.iter().enumerate() {
            let mut near = waiter(&server, &mut probe, &format!("BLPOP {key} 0"));
            let mut far = waiter(&server, &mut probe, &format!("BLPOP {} 0", keys.join(" ")));
            let mut moves = waiter(
                &server,
                &mut probe,
                &format!("BLMOVE {key} {{{}}}done LEFT LEFT 0", tags[shards - 1 - i]),
            );
            probe.say(&format!("RPUSH {key} a b c"));
            assert_eq!(near.reply().expect("a").items(), pair(key, "a"));
            assert_eq!(far.reply().expect("b").items(), pair(key, "b"));
            assert_eq!(moves.reply().expect("c"), bulk("c"));
        }
        for key in &keys {
            probe.say(&format!("RPUSH {key} d"));
        }
        server.kill9();
        let server = home.start();
        let mut probe = server.connect();
        for (key, tag) in keys.iter().zip(&tags) {
            assert_eq!(
                probe.say(&format!("LRANGE {key} 0 -1")).items(),
                [bulk("d")]
            );
            assert_eq!(
                probe.say(&format!("LRANGE {{{tag}}}done 0 -1")).items(),
                [bulk("c")]
            );
        }
        // A server that stops lets go of those who wait.
        let mut waits = waiter(&server, &mut probe, "BLPOP none 0");
        server.stop();
        assert!(waits.reply().is_err());
    }
}

#[test]
fn wait_waits_for_replicas_that_never_come() {
    let home = home(2);
    let server = home.start();
    let mut wire = server.connect();
    assert_eq!(wire.say("WAIT 0 0"), Value::Int(0));
    let began = Instant::now();
    assert_eq!(wire.say("WAIT 1 120"), Value::Int(0));
    assert!(began.elapsed() >= Duration::from_millis(120));
    assert!(wire.say("WAIT 1 -1").is_error());
}
