//! SWAPDB on the running server: on all shards at once, for those who watch and wait, and after a crash.

use crate::common::eventually;
use crate::common::server::Home;
use crate::common::slots::tags;
use crate::common::wire::{Value, Wire};

fn all(wire: &mut Wire, tags: &[String], value: &str) {
    let pairs: Vec<String> = tags.iter().map(|t| format!("{{{t}}}k {value}")).collect();
    assert_eq!(wire.say(&format!("MSET {}", pairs.join(" "))), Value::ok());
}

fn values(wire: &mut Wire, tags: &[String]) -> Vec<String> {
    let keys: Vec<String> = tags.iter().map(|t| format!("{{{t}}}k")).collect();
    let reply = wire.say(&format!("MGET {}", keys.join(" ")));
    reply.items().iter().map(Value::text).collect()
}

fn blocked(probe: &mut Wire, n: usize) {
    eventually("they wait", || {
        (probe.figure("clients", "blocked_clients") == n.to_string()).then_some(())
    });
}

#[test]
fn two_databases_change_places_on_every_shard_at_once() {
    for shards in [1, 2, 4] {
        let mut home = Home::new();
        home.shards(shards).set("server.databases", 8);
        let server = home.start();
        let tags = tags(shards);
        let mut wire = server.connect();
        all(&mut wire, &tags, "zero");
        wire.say("SELECT 1");
        all(&mut wire, &tags, "one");

        // Whoever watches a key of either is told; a key of neither stays as it is.
        let mut watcher = server.connect();
        for (line, changed) in [("{x}none", false), (&*format!("{{{}}}k", tags[0]), true)] {
            watcher.say(&format!("WATCH {line}"));
            wire.say("SWAPDB 0 1");
            watcher.say("MULTI");
            watcher.say("PING");
            assert_eq!(watcher.say("EXEC") == Value::Null, changed, "{line}");
        }
        // Twice there and back; a reader in between sees one or the other, never both.
        assert_eq!(values(&mut wire, &tags), vec!["one"; tags.len()]);
        std::thread::scope(|scope| {
            let (tags, server) = (&tags, &server);
            let swapper = scope.spawn(move || {
                let mut wire = server.connect();
                for _ in 0..200 {
                    assert_eq!(wire.say("SWAPDB 1 0"), Value::ok());
                }
            });
            let mut seen = std::collections::BTreeSet::new();
            while !swapper.is_finished() {
                let mut now = values(&mut wire, tags);
                now.dedup();
                assert_eq!(now.len(), 1, "{now:?}");
                seen.extend(now);
            }
            assert!(seen.iter().all(|value| value == "one" || value == "zero"));
        });
        // Who waits is served by what comes with the swap, on whichever shard.
        wire.say("SELECT 5");
        for tag in &tags {
            wire.say(&format!("RPUSH {{{tag}}}list x"));
        }
        let mut waiters: Vec<Wire> = tags
            .iter()
            .map(|tag| {
                let mut waiter = server.connect();
                waiter.say("SELECT 6");
                let key = format!("{{{tag}}}list");
                waiter.ask(&["BLPOP", &key, "0"]).expect("sent");
                waiter
            })
            .collect();
        blocked(&mut wire, tags.len());
        assert_eq!(wire.say("SWAPDB 6 5"), Value::ok());
        for waiter in &mut waiters {
            assert_eq!(waiter.reply().expect("served").items()[1].text(), "x");
        }
        // In a transaction, and in a pipeline with what is written around it.
        wire.say("SELECT 2");
        all(&mut wire, &tags, "two");
        wire.say("MULTI");
        wire.say("SWAPDB 2 3");
        wire.say("DBSIZE");
        wire.say("SWAPDB 3 99");
        let reply = wire.say("EXEC");
        assert_eq!(reply.items()[1], Value::Int(0));
        assert_eq!(reply.items()[2].text(), "ERR DB index is out of range");
        wire.say("SELECT 3");
        assert_eq!(values(&mut wire, &tags), vec!["two"; tags.len()]);
        wire.say("SET {x}more 1");
        wire.say("SWAPDB 3 4");
        wire.say("SET {x}after 1");
        assert_eq!(wire.say("WAITAOF 1 0 0").items()[0], Value::Int(1));
        server.kill9();

        // The same number of shards, then fewer or more: a swap is cut where the shards are.
        for again in [shards, 3, 1, 5] {
            home.shards(again);
            let server = home.start();
            let mut wire = server.connect();
            wire.say("SELECT 4");
            assert_eq!(values(&mut wire, &tags), vec!["two"; tags.len()]);
            assert_eq!(wire.say("DBSIZE"), Value::Int(tags.len() as i64 + 1));
            wire.say("SELECT 3");
            assert_eq!(wire.say("DBSIZE"), Value::Int(1));
            wire.say("SELECT 1");
            assert_eq!(values(&mut wire, &tags), vec!["one"; tags.len()]);
            server.stop();
        }
    }
}
