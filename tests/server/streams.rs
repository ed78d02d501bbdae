//! Streams over TLS: appended to, read by groups across shards, and there again after kill -9.

use crate::common::server::Home;
use crate::common::slots::tags;
use crate::common::wire::{Value, Wire};

fn ask(wire: &mut Wire, words: &str) -> Value {
    wire.call(&words.split(' ').collect::<Vec<_>>())
}

/// How many entries an answer of XREADGROUP holds for each key.
fn counts(reply: &Value) -> Vec<usize> {
    let keys = reply.items().iter();
    keys.map(|key| key.items()[1].items().len()).collect()
}

#[test]
fn groups_and_what_is_pending_survive_a_kill() {
    for shards in [1, 3] {
        let mut home = Home::new();
        home.shards(shards).fsync("always");
        let server = home.start();
        let mut wire = server.connect();
        let keys: Vec<String> = tags(shards)
            .iter()
            .map(|tag| format!("{{{tag}}}:s"))
            .collect();
        for key in &keys {
            assert_eq!(
                ask(&mut wire, &format!("XGROUP CREATE {key} g 0 MKSTREAM")),
                Value::ok()
            );
            for n in 1..=250 {
                let id = ask(&mut wire, &format!("XADD {key} {n}-1 field value:{n}"));
                assert_eq!(id.text(), format!("{n}-1"));
            }
            assert_eq!(ask(&mut wire, &format!("XDEL {key} 3-1 249-1")).int(), 2);
        }
        let (all, ids) = (keys.join(" "), vec![">"; keys.len()].join(" "));
        let reply = ask(
            &mut wire,
            &format!("XREADGROUP GROUP g alice COUNT 20 STREAMS {all} {ids}"),
        );
        assert_eq!(counts(&reply), vec![20; keys.len()]);
        for key in &keys {
            assert_eq!(ask(&mut wire, &format!("XACK {key} g 1-1 2-1")).int(), 2);
            let claimed = ask(&mut wire, &format!("XCLAIM {key} g bob 0 5-1 6-1 JUSTID"));
            assert_eq!(claimed.items().len(), 2);
            assert_eq!(ask(&mut wire, &format!("XTRIM {key} MAXLEN 200")).int(), 48);
        }
        let tell = |wire: &mut Wire| -> Vec<String> {
            let full = keys.iter().flat_map(|key| {
                [
                    "XINFO STREAM {} FULL COUNT 0",
                    "XRANGE {} - +",
                    "XPENDING {} g",
                ]
                .map(|ask| ask.replace("{}", key))
            });
            full.map(|words| format!("{:?}", ask(wire, &words)))
                .collect()
        };
        let before = tell(&mut wire);
        let owners = ask(&mut wire, &format!("XPENDING {} g", keys[0]));
        let owners = owners.items()[3].items().iter();
        let owned: Vec<_> = owners
            .map(|o| (o.items()[0].text(), o.items()[1].text()))
            .collect();
        assert_eq!(
            owned,
            [("alice", "16"), ("bob", "2")].map(|(a, n)| (a.into(), n.into()))
        );
        server.kill9();
        let server = home.start();
        let mut wire = server.connect();
        assert!(before == tell(&mut wire), "streams differ after a kill");
        let reply = ask(
            &mut wire,
            &format!("XREADGROUP GROUP g carol STREAMS {all} {ids}"),
        );
        assert_eq!(
            counts(&reply),
            vec![200; keys.len()],
            "all behind what was delivered"
        );
        let taken = ask(
            &mut wire,
            &format!("XAUTOCLAIM {} g dave 0 - COUNT 500 JUSTID", keys[0]),
        );
        assert_eq!(taken.items()[1].items().len(), 200);
        // What was trimmed away while it was pending is told, and pending no more.
        assert_eq!(taken.items()[2].items().len(), 18);
    }
}

#[test]
fn several_streams_are_read_at_once_in_either_protocol() {
    let mut home = Home::new();
    home.shards(3);
    let mut server = home.start();
    let mut wire = server.connect();
    let keys: Vec<String> = tags(3).iter().map(|tag| format!("{{{tag}}}:s")).collect();
    for key in &keys {
        ask(&mut wire, &format!("XADD {key} 1-1 f v"));
    }
    let request = format!("XREAD STREAMS {} nothing 0 0 2 0", keys.join(" "));
    assert_eq!(counts(&ask(&mut wire, &request)), [1, 1]);
    ask(&mut wire, "HELLO 3");
    let Value::Map(map) = ask(&mut wire, &request) else {
        panic!("a map is due");
    };
    let named: Vec<_> = map.iter().map(|(key, _)| key.text()).collect();
    assert_eq!(named, keys[..2]);
    let refused = ask(
        &mut wire,
        &format!("XREADGROUP GROUP g me STREAMS {} >", keys[0]),
    );
    assert!(
        matches!(&refused, Value::Error(text) if text.starts_with("NOGROUP ")),
        "{refused:?}"
    );
    server.unharmed();
}
