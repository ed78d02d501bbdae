//! What `whole` leaves out beside redis-server 7.0: scans whose cursors are each server's own, and encodings of strings.

use crate::common::peer::Redis;
use crate::common::server::Home;
use crate::common::wire::Value;

#[test]
fn scans_find_what_redis_finds() {
    let redis = Redis::start();
    for shards in [1, 3] {
        let mut home = Home::new();
        home.shards(shards);
        let server = home.start();
        let (mut theirs, mut ours) = (redis.connect(), server.connect());
        for wire in [&mut theirs, &mut ours] {
            wire.say("FLUSHALL");
            for i in 0..700 {
                wire.say(&format!("SET scan:{i} {i}"));
            }
        }
        for options in [
            "",
            "MATCH scan:1*",
            "COUNT 7",
            "COUNT 1000 MATCH *9",
            "TYPE string",
            "TYPE list",
            "MATCH nothing",
        ] {
            let mut all = Vec::new();
            for wire in [&mut theirs, &mut ours] {
                let mut cursor = "0".to_owned();
                let mut found = Vec::new();
                for _ in 0..100_000 {
                    let page = wire.say(&format!("SCAN {cursor} {options}"));
                    cursor = page.items()[0].text();
                    found.extend(page.items()[1].items().iter().map(Value::text));
                    if cursor == "0" {
                        break;
                    }
                }
                assert_eq!(cursor, "0", "SCAN {options} ends");
                found.sort();
                found.dedup();
                all.push(found);
            }
            assert_eq!(all[1], all[0], "SCAN {options}");
        }
        for line in [
            "SCAN x",
            "SCAN 0 COUNT 0",
            "SCAN 0 COUNT x",
            "SCAN 0 MATCH",
            "SCAN 0 NONSENSE 1",
            "SCAN",
        ] {
            assert_eq!(ours.say(line), theirs.say(line), "{line}");
        }
    }
}

#[test]
fn encodings_are_those_of_redis() {
    let redis = Redis::start();
    let home = Home::new();
    let server = home.start();
    let (mut theirs, mut ours) = (redis.connect(), server.connect());
    let long = "x".repeat(45);
    for value in [
        "1",
        "-7",
        "9223372036854775807",
        "9223372036854775808",
        "01",
        "1.0",
        "abc",
        &long[1..],
        &long,
    ] {
        for wire in [&mut theirs, &mut ours] {
            wire.call(&["SET", "k", value]);
        }
        assert_eq!(
            ours.say("OBJECT ENCODING k"),
            theirs.say("OBJECT ENCODING k"),
            "{value}"
        );
        assert_eq!(ours.say("TYPE k"), theirs.say("TYPE k"));
    }
    for line in [
        "OBJECT ENCODING none",
        "OBJECT NONSENSE k",
        "OBJECT",
        "TYPE none",
    ] {
        assert_eq!(ours.say(line), theirs.say(line), "{line}");
    }
}
