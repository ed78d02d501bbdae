//! Sorted sets and places from outside, over TLS: with one shard and several the answers are the same, and what was
//! answered is there after a kill.

use crate::common::server::Home;
use crate::common::wire::Value;

fn texts(value: &Value) -> Vec<String> {
    value.items().iter().map(Value::text).collect()
}

fn sets(shards: usize) {
    let mut home = Home::new();
    home.shards(shards);
    home.fsync("always");
    let server = home.start();
    let mut wire = server.connect();
    for n in 0..500 {
        let line = format!("ZADD big {} member:{n:03}", (n * 37) % 500);
        assert_eq!(wire.say(&line), Value::Int(1));
    }
    assert_eq!(wire.say("ZADD small 1 a 2 b 3 c"), Value::Int(3));
    assert_eq!(wire.say("ZADD other 10 b 20 c 30 d"), Value::Int(3));
    assert_eq!(wire.say("OBJECT ENCODING big").text(), "skiplist");
    assert_eq!(wire.say("OBJECT ENCODING small").text(), "listpack");
    assert_eq!(wire.say("ZRANK big member:001"), Value::Int(37));
    assert_eq!(wire.say("ZCOUNT big (10 20"), Value::Int(10));
    assert_eq!(texts(&wire.say("ZRANGE small 0 -1 REV")), ["c", "b", "a"]);
    // Keys of several shards.
    assert_eq!(
        texts(&wire.say("ZUNION 2 small other WITHSCORES")),
        ["a", "1", "b", "12", "c", "23", "d", "30"]
    );
    assert_eq!(wire.say("ZINTERSTORE both 2 small other"), Value::Int(2));
    assert_eq!(wire.say("ZRANGESTORE part big 0 99"), Value::Int(100));
    assert_eq!(texts(&wire.say("ZPOPMIN small")), ["a", "1"]);
    assert_eq!(wire.say("ZREMRANGEBYRANK big 100 499"), Value::Int(400));
    assert_eq!(wire.say("ZINCRBY other 0.5 b").text(), "10.5");
    let popped = wire.say("ZMPOP 3 none small other MAX COUNT 2");
    assert_eq!(popped.items()[0].text(), "small");
    assert_eq!(
        wire.say("GEOADD places 13.361389 38.115556 Palermo 15.087269 37.502669 Catania"),
        Value::Int(2)
    );
    assert_eq!(
        wire.say("GEODIST places Palermo Catania").text(),
        "166274.1516"
    );
    assert_eq!(
        wire.say("GEOSEARCHSTORE near places FROMLONLAT 15 37 BYRADIUS 100 km STOREDIST"),
        Value::Int(1)
    );
    wire.say("HELLO 3");
    let scored = wire.say("ZRANGE other 0 0 WITHSCORES");
    assert_eq!(
        scored,
        Value::Array(vec![Value::Array(vec![
            Value::bulk("b"),
            Value::Double("10.5".into())
        ])])
    );
    server.kill9();
    let server = home.start();
    let mut wire = server.connect();
    assert_eq!(wire.say("EXISTS small"), Value::Int(0));
    assert_eq!(wire.say("ZCARD big"), Value::Int(100));
    assert_eq!(wire.say("ZRANGE big 0 -1"), wire.say("ZRANGE part 0 -1"));
    assert_eq!(
        texts(&wire.say("ZRANGE both 0 -1 WITHSCORES")),
        ["b", "12", "c", "23"]
    );
    assert_eq!(texts(&wire.say("ZRANGE other 0 -1")), ["b", "c", "d"]);
    assert_eq!(texts(&wire.say("ZRANGE near 0 -1")), ["Catania"]);
    assert_eq!(texts(&wire.say("GEOHASH places Palermo")), ["sqc8b49rny0"]);
}

#[test]
fn sorted_sets_with_one_shard() {
    sets(1);
}

#[test]
fn sorted_sets_with_three_shards() {
    sets(3);
}
