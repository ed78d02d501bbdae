//! Sets and hashes over TLS, on one shard and on three: what they hold, and when fields expire, survives kill -9.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::common::eventually;
use crate::common::server::Home;
use crate::common::wire::{Value, Wire};

fn members(wire: &mut Wire, line: &str) -> BTreeSet<String> {
    wire.say(line).items().iter().map(Value::text).collect()
}

fn numbers(wire: &mut Wire, line: &str) -> Vec<i64> {
    wire.say(line).items().iter().map(Value::int).collect()
}

fn survives(shards: usize) {
    let mut home = Home::new();
    home.shards(shards).fsync("always");
    let server = home.start();
    let mut wire = server.connect();
    for n in 0..600 {
        wire.say(&format!("SADD big member:{n}"));
        wire.say(&format!("SADD ints {n}"));
        wire.say(&format!("HSET table field:{n} {n}"));
        wire.say(&format!("HSET user:{n} name n{n} mail m{n} age {n}"));
    }
    assert_eq!(wire.say("SPOP ints 100").items().len(), 100);
    let ints = members(&mut wire, "SMEMBERS ints");
    assert_eq!(ints.len(), 500);
    // Across shards.
    assert_eq!(wire.say("SADD small 1 2 3 a b").int(), 5);
    assert_eq!(
        wire.say("SUNIONSTORE all big small ints").int(),
        1102 + 3
            - ints
                .iter()
                .filter(|n| ["1", "2", "3"].contains(&n.as_str()))
                .count() as i64
    );
    assert_eq!(wire.say("SMOVE small big a").int(), 1);
    assert_eq!(wire.say("SINTERCARD 2 all big").int(), 601);
    assert_eq!(wire.say("SDIFFSTORE none small small").int(), 0);
    // Fields that expire soon, late, and in a hash of their own.
    assert_eq!(
        numbers(&mut wire, "HEXPIRE table 1000 FIELDS 2 field:1 field:2"),
        [1, 1]
    );
    assert_eq!(
        numbers(&mut wire, "HPEXPIRE table 300 FIELDS 2 field:3 nope"),
        [1, -2]
    );
    assert_eq!(numbers(&mut wire, "HPEXPIRE user:1 300 FIELDS 1 mail"), [1]);
    assert_eq!(
        numbers(&mut wire, "HPEXPIRE user:2 300 FIELDS 3 name mail age"),
        [1, 1, 1]
    );
    assert_eq!(numbers(&mut wire, "HPERSIST table FIELDS 1 field:2"), [1]);
    assert_eq!(wire.say("HINCRBY table field:1 7").int(), 8);
    let late = numbers(&mut wire, "HPEXPIRETIME table FIELDS 2 field:1 field:2");
    let all = members(&mut wire, "SMEMBERS all");
    server.kill9();

    let server = home.start();
    let mut wire = server.connect();
    assert_eq!(members(&mut wire, "SMEMBERS ints"), ints);
    assert_eq!(members(&mut wire, "SMEMBERS all"), all);
    assert_eq!(
        members(&mut wire, "SMEMBERS small"),
        ["1", "2", "3", "b"].map(String::from).into()
    );
    assert_eq!(wire.say("SCARD big").int(), 601);
    assert_eq!(wire.say("EXISTS none").int(), 0);
    assert_eq!(wire.say("HGET table field:1"), Value::bulk("8"));
    assert_eq!(
        numbers(&mut wire, "HPEXPIRETIME table FIELDS 2 field:1 field:2"),
        late
    );
    assert_eq!(late[1], -1);
    for (key, encoding) in [
        ("ints", "hashtable"),
        ("small", "listpack"),
        ("big", "hashtable"),
        ("table", "hashtable"),
        ("user:9", "listpack"),
        ("user:1", "listpackex"),
    ] {
        assert_eq!(
            wire.say(&format!("OBJECT ENCODING {key}")),
            Value::bulk(encoding),
            "{key}"
        );
        assert!(wire.say(&format!("MEMORY USAGE {key}")).int() > 40);
    }
    // Their time comes, nobody asks for them, and they go.
    let since = Instant::now();
    eventually("the fields have expired", || {
        (wire.say("EXISTS user:2").int() == 0).then_some(())
    });
    assert!(since.elapsed() < Duration::from_secs(5));
    eventually("the field of a large hash has expired", || {
        (wire.say("HLEN table").int() == 599).then_some(())
    });
    assert_eq!(wire.say("HGET user:1 mail"), Value::Null);
    assert_eq!(wire.say("HLEN user:1").int(), 2);
    // What the cycle removed stays removed.
    server.kill9();
    let server = home.start();
    let mut wire = server.connect();
    assert_eq!(wire.say("EXISTS user:2").int(), 0);
    assert_eq!(wire.say("HLEN table").int(), 599);
    assert_eq!(wire.say("HLEN user:1").int(), 2);
    // Scans find everything, on whichever shard the key is.
    let mut seen = BTreeSet::new();
    let mut cursor = "0".to_owned();
    loop {
        let step = wire.say(&format!("SSCAN big {cursor} COUNT 50"));
        seen.extend(step.items()[1].items().iter().map(Value::text));
        cursor = step.items()[0].text();
        if cursor == "0" {
            break;
        }
    }
    assert_eq!(seen.len(), 601);
    server.stop();
}

#[test]
fn sets_and_hashes_survive_a_kill_on_one_shard() {
    survives(1);
}

#[test]
fn sets_and_hashes_survive_a_kill_on_three_shards() {
    survives(3);
}
