//! SORT over TLS, on one shard and on three: patterns lead to keys on other shards, in transactions too, and what is
//! stored survives kill -9.

use crate::common::server::Home;
use crate::common::wire::{Value, Wire};

fn texts(wire: &mut Wire, line: &str) -> Vec<String> {
    wire.say(line).items().iter().map(Value::text).collect()
}

fn sorts(shards: usize) {
    let mut home = Home::new();
    home.shards(shards).fsync("always");
    let server = home.start();
    let mut wire = server.connect();
    // Enough of them that each shard has some.
    let count = 60;
    for n in 0..count {
        wire.say(&format!("RPUSH source {n}"));
        wire.say(&format!("SET weight_{n} {}", count - n));
        wire.say(&format!("HSET object_{n} name n{n}"));
    }
    let named = |from: usize, n: usize| -> Vec<String> {
        let numbers = (0..count).rev().skip(from).take(n);
        numbers.map(|n| format!("n{n}")).collect()
    };
    assert_eq!(
        texts(&mut wire, "SORT source BY weight_* GET object_*->name"),
        named(0, count)
    );
    assert_eq!(
        texts(
            &mut wire,
            "SORT_RO source BY weight_* LIMIT 5 10 GET object_*->name"
        ),
        named(5, 10)
    );
    assert_eq!(texts(&mut wire, "SORT source DESC LIMIT 0 2"), ["59", "58"]);
    assert_eq!(
        wire.say("SORT source BY weight_* GET object_*->name STORE sorted")
            .int(),
        count as i64
    );
    wire.say("MULTI");
    wire.say("SORT source BY weight_* GET object_*->name LIMIT 0 3");
    wire.say("SORT source ALPHA LIMIT 0 2 STORE first");
    let done = wire.say("EXEC");
    let done: Vec<Value> = done.items().to_vec();
    let names: Vec<String> = done[0].items().iter().map(Value::text).collect();
    assert_eq!((names, done[1].int()), (named(0, 3), 2));
    server.kill9();

    let server = home.start();
    let mut wire = server.connect();
    assert_eq!(texts(&mut wire, "LRANGE sorted 0 -1"), named(0, count));
    assert_eq!(texts(&mut wire, "LRANGE first 0 -1"), ["0", "1"]);
}

#[test]
fn patterns_lead_to_keys_on_any_shard() {
    sorts(1);
    sorts(3);
}
