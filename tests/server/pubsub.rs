//! What the server sends unasked: messages, keyspace events, lines of MONITOR, word of changed keys; and the pause that
//! keeps it from answering. Over TLS, with one shard and with several.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::time::{Duration, Instant};

use crate::common::peer::Redis;
use crate::common::python;
use crate::common::server::{Home, Server};
use crate::common::wire::{Value, Wire, command};
use crate::common::{PATIENCE, eventually};

const SHARDS: [usize; 3] = [1, 2, 4];

/// Says something and takes this many replies.
fn replies(wire: &mut Wire, line: &str, n: usize) -> Vec<Value> {
    let words: Vec<&str> = line.split(' ').collect();
    wire.ask(&words).expect("sent");
    next(wire, n)
}

fn next(wire: &mut Wire, n: usize) -> Vec<Value> {
    (0..n).map(|_| wire.reply().expect("a reply")).collect()
}

/// Strings and numbers of an array, as text.
fn texts(value: &Value) -> Vec<String> {
    value
        .items()
        .iter()
        .map(|item| match item {
            Value::Null => "(nil)".into(),
            Value::Array(keys) => keys.iter().map(Value::text).collect::<Vec<_>>().join(","),
            item => item.text(),
        })
        .collect()
}

/// Nothing is on its way to this client: the next thing it gets is the answer to what it asks now.
fn nothing_more(wire: &mut Wire) {
    let got = wire.call(&["PING", "nothing more"]);
    let text = match &got {
        Value::Array(items) => items[1].text(),
        other => other.text(),
    };
    assert_eq!(text, "nothing more");
}

#[test]
fn messages_arrive_in_order_everywhere_and_are_counted() {
    for shards in SHARDS {
        let mut home = Home::new();
        home.shards(shards);
        let server = home.start();
        let mut listeners: Vec<Wire> = (0..8).map(|_| server.connect()).collect();
        for (i, wire) in listeners.iter_mut().enumerate() {
            if i % 2 == 1 {
                wire.say("HELLO 3");
            }
            let got = replies(wire, "SUBSCRIBE news other", 2);
            assert_eq!(texts(&got[1]), ["subscribe", "other", "2"]);
            assert_eq!(matches!(got[0], Value::Push(_)), i % 2 == 1);
            if i < 3 {
                let got = replies(wire, "PSUBSCRIBE n?w*", 1);
                assert_eq!(texts(&got[0]), ["psubscribe", "n?w*", "3"]);
            }
        }
        let mut publishers: Vec<Wire> = (0..3).map(|_| server.connect()).collect();
        const EACH: usize = 300;
        for (p, wire) in publishers.iter_mut().enumerate() {
            let mut all = Vec::new();
            for n in 0..EACH {
                all.extend(command(&["PUBLISH", "news", &format!("{p} {n}")]));
            }
            wire.send(&all).expect("sent");
        }
        for wire in &mut publishers {
            for reply in next(wire, EACH) {
                assert_eq!(reply, Value::Int(8 + 3), "{shards} shards");
            }
            assert_eq!(wire.say("PUBLISH nobody x"), Value::Int(0));
        }
        for (i, wire) in listeners.iter_mut().enumerate() {
            let mut seen = BTreeMap::new();
            let copies = if i < 3 { 2 } else { 1 };
            for _ in 0..3 * EACH * copies {
                let got = texts(&wire.reply().expect("a message"));
                let kind = got[0].clone();
                let payload = got.last().expect("a payload");
                let (p, n) = payload.split_once(' ').expect("two words");
                let expected = seen.entry((kind, p.to_owned())).or_insert(0);
                assert_eq!(n.parse::<usize>().expect("a number"), *expected);
                *expected += 1;
            }
            nothing_more(wire);
        }
        let mut asker = server.connect();
        assert_eq!(
            texts(&asker.say("PUBSUB NUMSUB news none")),
            ["news", "8", "none", "0"]
        );
        assert_eq!(texts(&asker.say("PUBSUB CHANNELS")), ["news", "other"]);
        assert_eq!(texts(&asker.say("PUBSUB CHANNELS n*")), ["news"]);
        assert_eq!(asker.say("PUBSUB NUMPAT"), Value::Int(1));
        assert_eq!(asker.figure("stats", "pubsub_channels"), "2");
        assert_eq!(asker.figure("stats", "pubsub_patterns"), "1");
        assert_eq!(asker.figure("clients", "pubsub_clients"), "8");
        let list = asker.say("CLIENT LIST TYPE pubsub").text();
        assert_eq!(list.lines().count(), 8);
        assert!(list.contains(" flags=P ") && list.contains(" sub=2 psub=1 "));
        drop(listeners);
        eventually("those who left are not counted", || {
            (asker.say("PUBLISH news x") == Value::Int(0)).then_some(())
        });
        assert_eq!(asker.figure("stats", "pubsub_channels"), "0");
    }
}

#[test]
fn sharded_channels_are_a_world_of_their_own() {
    for shards in SHARDS {
        let mut home = Home::new();
        home.shards(shards);
        let server = home.start();
        let (mut one, mut two) = (server.connect(), server.connect());
        replies(&mut one, "SSUBSCRIBE c", 1);
        replies(&mut two, "SUBSCRIBE c", 1);
        let mut publisher = server.connect();
        assert_eq!(publisher.say("SPUBLISH c sharded"), Value::Int(1));
        assert_eq!(publisher.say("PUBLISH c plain"), Value::Int(1));
        assert_eq!(texts(&next(&mut one, 1)[0]), ["smessage", "c", "sharded"]);
        assert_eq!(texts(&next(&mut two, 1)[0]), ["message", "c", "plain"]);
        assert_eq!(texts(&publisher.say("PUBSUB SHARDCHANNELS")), ["c"]);
        assert_eq!(texts(&publisher.say("PUBSUB SHARDNUMSUB c")), ["c", "1"]);
        let got = replies(&mut one, "SUNSUBSCRIBE", 1);
        assert_eq!(texts(&got[0]), ["sunsubscribe", "c", "0"]);
        assert_eq!(one.say("GET k"), Value::Null);
    }
}

#[test]
fn a_publication_inside_a_transaction_is_counted_in_its_place() {
    for shards in SHARDS {
        let mut home = Home::new();
        home.shards(shards);
        let server = home.start();
        let mut listeners: Vec<Wire> = (0..6).map(|_| server.connect()).collect();
        for wire in &mut listeners {
            replies(wire, "SUBSCRIBE c", 1);
        }
        let mut publisher = server.connect();
        for line in [
            "MULTI",
            "SET a 1",
            "PUBLISH c first",
            "SET b 2",
            "PUBLISH c second",
            "GET b",
            "SET c 3",
        ] {
            publisher.ask(&line.split(' ').collect::<Vec<_>>()).unwrap();
        }
        publisher.ask(&["EXEC"]).unwrap();
        publisher.ask(&["GET", "a"]).unwrap();
        let got = next(&mut publisher, 9);
        let ok = Value::ok();
        assert_eq!(
            got[7],
            Value::Array(vec![
                ok.clone(),
                Value::Int(6),
                ok.clone(),
                Value::Int(6),
                Value::bulk("2"),
                ok
            ])
        );
        assert_eq!(got[8], Value::bulk("1"));
        for wire in &mut listeners {
            assert_eq!(texts(&next(wire, 1)[0])[2], "first");
            assert_eq!(texts(&next(wire, 1)[0])[2], "second");
        }
    }
}

/// Who hears a message finds done what its publisher asked for before.
#[test]
fn a_message_does_not_overtake_the_write_before_it() {
    for shards in SHARDS {
        let mut home = Home::new();
        home.shards(shards);
        let server = home.start();
        let (mut listener, mut reader) = (server.connect(), server.connect());
        replies(&mut listener, "SUBSCRIBE c", 1);
        let mut writer = server.connect();
        for i in 0..300 {
            let key = format!("key{i}");
            let mut both = command(&["SET", &key, "there"]);
            both.extend(command(&["PUBLISH", "c", &key]));
            writer.send(&both).expect("sent");
            assert_eq!(texts(&next(&mut listener, 1)[0])[2], key);
            assert_eq!(reader.call(&["GET", &key]), Value::bulk("there"), "{i}");
            assert_eq!(next(&mut writer, 2)[1], Value::Int(1));
        }
    }
}

#[test]
fn in_resp2_a_listener_may_do_nothing_else() {
    let mut home = Home::new();
    home.shards(2);
    let server = home.start();
    let mut wire = server.connect();
    let got = replies(&mut wire, "SUBSCRIBE a b a", 3);
    assert_eq!(texts(&got[2]), ["subscribe", "a", "2"]);
    for name in ["get x", "multi", "client|id", "publish c x"] {
        let line = name.replace('|', " ");
        let said = wire.say(&line).text();
        let name = name.split(' ').next().expect("a word");
        let start = format!("ERR Can't execute '{name}': only (P|S)SUBSCRIBE");
        assert!(said.starts_with(&start), "{said}");
    }
    assert_eq!(texts(&wire.say("PING")), ["pong", ""]);
    assert_eq!(texts(&wire.say("PING x")), ["pong", "x"]);
    let got = replies(&mut wire, "UNSUBSCRIBE x", 1);
    assert_eq!(texts(&got[0]), ["unsubscribe", "x", "2"]);
    assert_eq!(wire.say("RESET").text(), "RESET");
    assert_eq!(wire.say("PUBLISH a x"), Value::Int(0));
    let got = replies(&mut wire, "PUNSUBSCRIBE", 1);
    assert_eq!(texts(&got[0]), ["punsubscribe", "(nil)", "0"]);
    // In RESP3 it may, and what it publishes itself comes behind the reply.
    wire.say("HELLO 3");
    replies(&mut wire, "SUBSCRIBE me", 1);
    assert_eq!(wire.say("SET k v"), Value::ok());
    let got = replies(&mut wire, "PUBLISH me hello", 2);
    assert_eq!(got[0], Value::Int(1));
    assert_eq!(texts(&got[1]), ["message", "me", "hello"]);
    // No reply is wanted, messages and confirmations are.
    wire.ask(&["CLIENT", "REPLY", "OFF"]).unwrap();
    wire.ask(&["SET", "k", "v2"]).unwrap();
    let got = replies(&mut wire, "SUBSCRIBE more", 1);
    assert_eq!(texts(&got[0]), ["subscribe", "more", "2"]);
    let got = replies(&mut wire, "PUBLISH me again", 1);
    assert_eq!(texts(&got[0]), ["message", "me", "again"]);
}

#[test]
fn a_slow_listener_is_cut_off_and_the_others_hear_everything() {
    for shards in [1, 2] {
        let mut home = Home::new();
        home.shards(shards).text(
            "server.client_output_buffer_limit",
            "normal 0 0 0s pubsub 4MiB 0 0s",
        );
        let mut server = home.start();
        let (mut slow, mut quick) = (server.connect(), server.connect());
        replies(&mut slow, "SUBSCRIBE c", 1);
        replies(&mut quick, "SUBSCRIBE c", 1);
        let mut publisher = server.connect();
        let big = "x".repeat(1 << 20);
        let mut told = Vec::new();
        for _ in 0..40 {
            told.push(publisher.call(&["PUBLISH", "c", &big]).int());
            assert_eq!(texts(&next(&mut quick, 1)[0])[2].len(), big.len());
        }
        assert_eq!((told[0], told[39]), (2, 1), "{shards} shards: {told:?}");
        let closes = "client_output_buffer_limit_disconnections";
        assert_eq!(publisher.figure("stats", closes), "1");
        nothing_more(&mut quick);
        server.unharmed();
    }
}

/// What a client hears of these commands: channel and message, in order. Ends with a message of its own.
fn events(commander: &mut Wire, listener: &mut Wire, commands: &[&str]) -> Vec<(String, String)> {
    commander.say("FLUSHALL");
    replies(listener, "PSUBSCRIBE __key*", 1);
    for line in commands {
        match line.strip_prefix("wait ") {
            Some(ms) => std::thread::sleep(Duration::from_millis(ms.parse().expect("a number"))),
            None => {
                commander.say(line);
            }
        }
    }
    commander.say("PUBLISH __keyend__ end");
    let mut heard = Vec::new();
    loop {
        let got = texts(&listener.reply().expect("an event"));
        if got[3] == "end" {
            return heard;
        }
        heard.push((got[2].clone(), got[3].clone()));
    }
}

const COMMANDS: &[&str] = &[
    "SET a 1",
    "SET a 2 EX 100",
    "SET a 3 NX",
    "SET b 1 PX 100000 NX",
    "SETNX c 1",
    "SETNX c 1",
    "SETEX d 100 x",
    "PSETEX e 100000 x",
    "MSET m1 1 m2 2",
    "MSETNX m1 1 m3 1",
    "MSETNX m4 1 m5 1",
    "GETSET a 5",
    "GETSET fresh 5",
    "GETDEL fresh",
    "GETDEL fresh",
    "APPEND a xyz",
    "APPEND ap xyz",
    "SETRANGE ap 2 hello",
    "SETRANGE sr 2 hello",
    "SETRANGE sr2 0 ",
    "INCR n",
    "DECRBY n 4",
    "INCRBYFLOAT n 1.5",
    "GET nothing",
    "STRLEN nothing",
    "GETRANGE nothing 0 1",
    "MGET nothing a",
    "EXISTS nothing a",
    "TTL nothing",
    "TYPE nothing",
    "SET nothing2 x XX",
    "SET nothing2 x XX GET",
    "GETEX a EX 100",
    "GETEX a PERSIST",
    "GETEX a PERSIST",
    "GETEX a EXAT 1",
    "EXPIRE b 100",
    "EXPIRE b 100 NX",
    "PEXPIRE b 100000",
    "PERSIST b",
    "PERSIST b",
    "EXPIRE b -1",
    "EXPIREAT c 1",
    "DEL m1 nothing m2",
    "UNLINK m3 m4",
    "RENAME m5 r1",
    "RENAME r1 r1",
    "RENAMENX r1 r2",
    "SET r3 x",
    "RENAME r2 r3",
    "RENAMENX d r3",
    "COPY r3 r4",
    "COPY r3 r4",
    "COPY r3 r4 REPLACE",
    "MOVE r3 1",
    "MOVE nothing 1",
    "SET late x PX 30",
    "wait 60",
    "GET late",
    "MULTI",
    "SET t1 x",
    "SET t2 x",
    "DEL t1",
    "EXEC",
    "FLUSHDB",
];

#[test]
fn keyspace_events_are_those_of_redis_in_the_same_order() {
    let redis = Redis::start();
    let classes = "KEA$gxnm";
    let mut theirs = redis.connect();
    theirs.call(&["CONFIG", "SET", "notify-keyspace-events", classes]);
    let theirs = events(&mut theirs, &mut redis.connect(), COMMANDS);
    assert!(theirs.len() > 100, "{} events", theirs.len());
    for shards in SHARDS {
        let mut home = Home::new();
        home.shards(shards)
            .text("server.notify_keyspace_events", classes);
        let server = home.start();
        let ours = events(&mut server.connect(), &mut server.connect(), COMMANDS);
        for (n, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
            assert_eq!(ours, theirs, "event {n} with {shards} shards");
        }
        assert_eq!(ours.len(), theirs.len());
        let mut wire = server.connect();
        wire.say("CONFIG SET notify-keyspace-events Ex");
        assert_eq!(
            texts_of_map(&wire.say("CONFIG GET notify-keyspace-events"))[1],
            "xE"
        );
        // Expired by nobody asking for it: heard all the same, and nothing else.
        let mut listener = server.connect();
        let heard = events(&mut wire, &mut listener, &["SET x 1 PX 20", "wait 1500"]);
        assert_eq!(heard, [("__keyevent@0__:expired".into(), "x".into())]);
    }
}

fn texts_of_map(value: &Value) -> Vec<String> {
    texts(value)
}

/// The words of MONITOR's lines between two markers, without time and address.
fn monitored(monitor: &mut Wire) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        let line = monitor.reply().expect("a line").text();
        let (time, rest) = line.split_once(' ').expect("a time");
        assert!(time.parse::<f64>().is_ok_and(|t| t > 1e9), "{line}");
        let (db, rest) = rest.split_once(' ').expect("a database");
        let (addr, words) = rest.split_once("] ").expect("an address");
        assert!(addr.starts_with("127.0.0.1:"), "{line}");
        if words.contains("the end") {
            return lines;
        }
        lines.push(format!("{db} {words}"));
    }
}

#[test]
fn monitor_shows_what_runs_on_every_core_and_no_secret() {
    for shards in SHARDS {
        let mut home = Home::new();
        home.shards(shards).text("auth.requirepass", "sesame");
        let server = home.start();
        let enter = |server: &Server<'_>| {
            let mut wire = server.connect();
            wire.say("AUTH sesame");
            wire
        };
        let mut monitors: Vec<Wire> = (0..4).map(|_| enter(&server)).collect();
        for wire in &mut monitors {
            assert_eq!(wire.say("MONITOR"), Value::ok());
        }
        let mut wire = server.connect();
        wire.say("HELLO 3 AUTH default sesame SETNAME me");
        wire.say("AUTH sesame");
        wire.say("SELECT 2");
        wire.say("SET key value");
        wire.call(&["SET", "odd", "\"\\\n\u{1}"]);
        wire.say("CONFIG GET maxmemory");
        wire.say("NOSUCH command");
        for line in ["MULTI", "SET a 1", "SET b 2", "SET c 3", "EXEC"] {
            wire.say(line);
        }
        wire.call(&["ECHO", "the end"]);
        for monitor in &mut monitors {
            assert_eq!(
                monitored(monitor),
                [
                    r#"[0 "HELLO" "3" "AUTH" "(redacted)" "(redacted)" "SETNAME" "me""#,
                    r#"[0 "AUTH" "(redacted)""#,
                    r#"[2 "SELECT" "2""#,
                    r#"[2 "SET" "key" "value""#,
                    r#"[2 "SET" "odd" "\"\\\n\x01""#,
                    r#"[2 "MULTI""#,
                    r#"[2 "SET" "a" "1""#,
                    r#"[2 "SET" "b" "2""#,
                    r#"[2 "SET" "c" "3""#,
                    if shards == 1 {
                        r#"[2 "EXEC""#
                    } else {
                        r#"[2 "exec""#
                    },
                ]
                .map(str::to_owned),
                "{shards} shards"
            );
        }
        let said = monitors[0].say("GET k").text();
        assert_eq!(said, "ERR Replica can't interact with the keyspace");
        assert_eq!(monitors[0].say("RESET").text(), "RESET");
        wire.call(&["ECHO", "the end"]);
        monitors[0].say("AUTH sesame");
        nothing_more(&mut monitors[0]);
    }
}

#[test]
fn who_keeps_copies_hears_of_every_change_behind_the_read() {
    for shards in SHARDS {
        let mut home = Home::new();
        home.shards(shards);
        let server = home.start();
        let mut keeper = server.connect();
        keeper.say("HELLO 3");
        assert_eq!(keeper.say("CLIENT TRACKING ON"), Value::ok());
        let mut writer = server.connect();
        for i in 0..50 {
            let key = format!("key{i}");
            writer.call(&["SET", &key, "1"]);
            keeper.call(&["GET", &key]);
            writer.call(&["SET", &key, "2"]);
            writer.call(&["SET", &key, "3"]);
            let got = next(&mut keeper, 1);
            assert_eq!(texts(&got[0]), ["invalidate", &key]);
        }
        nothing_more(&mut keeper);
        // Several keys, a key that is not there, one that expires, one of its own.
        keeper.call(&["MGET", "key1", "key2", "none"]);
        writer.say("DEL key2");
        assert_eq!(texts(&next(&mut keeper, 1)[0]), ["invalidate", "key2"]);
        writer.say("SET none 1 PX 50");
        assert_eq!(texts(&next(&mut keeper, 1)[0]), ["invalidate", "none"]);
        keeper.say("GET none");
        assert_eq!(texts(&next(&mut keeper, 1)[0]), ["invalidate", "none"]);
        let got = replies(&mut keeper, "SET key1 mine", 2);
        assert_eq!(
            (&got[0], texts(&got[1])[1].as_str()),
            (&Value::ok(), "key1")
        );
        keeper.say("GET key1");
        assert_eq!(keeper.figure("clients", "tracking_clients"), "1");
        assert_eq!(keeper.figure("stats", "tracking_total_keys"), "1");
        writer.say("FLUSHALL");
        assert_eq!(texts(&next(&mut keeper, 1)[0]), ["invalidate", "(nil)"]);
        assert_eq!(keeper.figure("stats", "tracking_total_keys"), "0");

        // Not its own, if it likes.
        keeper.say("CLIENT TRACKING OFF");
        keeper.say("CLIENT TRACKING ON NOLOOP");
        keeper.say("GET a");
        keeper.say("SET a 1");
        keeper.say("GET a");
        writer.say("SET a 2");
        assert_eq!(texts(&next(&mut keeper, 1)[0]), ["invalidate", "a"]);
        nothing_more(&mut keeper);
        keeper.say("CLIENT TRACKING OFF");
        writer.say("SET a 3");
        nothing_more(&mut keeper);
    }
}

#[test]
fn copies_may_be_kept_by_choice() {
    for shards in [1, 2] {
        let mut home = Home::new();
        home.shards(shards);
        let server = home.start();
        let (mut keeper, mut writer) = (server.connect(), server.connect());
        keeper.say("HELLO 3");
        keeper.say("CLIENT TRACKING ON OPTIN");
        keeper.say("GET a");
        keeper.say("CLIENT CACHING YES");
        keeper.say("GET b");
        keeper.say("GET c");
        writer.say("MSET a 1 b 1 c 1");
        assert_eq!(texts(&next(&mut keeper, 1)[0]), ["invalidate", "b"]);
        nothing_more(&mut keeper);
        keeper.say("CLIENT TRACKING OFF");
        keeper.say("CLIENT TRACKING ON OPTOUT");
        keeper.say("GET a");
        keeper.say("CLIENT CACHING NO");
        keeper.say("GET b");
        writer.say("SET a 2");
        writer.say("SET b 2");
        assert_eq!(texts(&next(&mut keeper, 1)[0]), ["invalidate", "a"]);
        nothing_more(&mut keeper);
    }
}

#[test]
fn all_changes_under_a_prefix_may_be_heard() {
    for shards in SHARDS {
        let mut home = Home::new();
        home.shards(shards);
        let server = home.start();
        let mut keepers: Vec<Wire> = (0..4).map(|_| server.connect()).collect();
        for wire in &mut keepers {
            wire.say("HELLO 3");
            let on = wire.say("CLIENT TRACKING ON BCAST PREFIX user: PREFIX obj: NOLOOP");
            assert_eq!(on, Value::ok());
        }
        let mut writer = server.connect();
        writer.say("SET user:1 x");
        for wire in &mut keepers {
            assert_eq!(texts(&next(wire, 1)[0]), ["invalidate", "user:1"]);
        }
        writer.say("SET other x");
        assert_eq!(keepers[0].say("SET obj:1 mine"), Value::ok());
        for wire in &mut keepers[1..] {
            assert_eq!(texts(&next(wire, 1)[0]), ["invalidate", "obj:1"]);
        }
        writer.say("MSET user:1 y user:2 y obj:3 y");
        for wire in &mut keepers {
            let mut heard = Vec::new();
            while heard.len() < 3 {
                let got = texts(&next(wire, 1)[0]);
                heard.extend(got[1].split(',').map(str::to_owned));
            }
            heard.sort();
            assert_eq!(heard, ["obj:3", "user:1", "user:2"]);
            nothing_more(wire);
        }
    }
}

#[test]
fn another_connection_may_hear_of_changes() {
    for shards in SHARDS {
        let mut home = Home::new();
        home.shards(shards);
        let server = home.start();
        let mut writer = server.connect();
        // Several, so that the two are on one core in some cases and on two in others.
        for _ in 0..6 {
            let (mut ear, mut keeper) = (server.connect(), server.connect());
            let id = ear.say("CLIENT ID").int();
            replies(&mut ear, "SUBSCRIBE __redis__:invalidate", 1);
            let on = keeper.say(&format!("CLIENT TRACKING ON REDIRECT {id}"));
            assert_eq!(on, Value::ok());
            assert_eq!(keeper.say("CLIENT GETREDIR"), Value::Int(id));
            keeper.say("GET a");
            writer.say("SET a 1");
            let channel = "__redis__:invalidate";
            assert_eq!(texts(&next(&mut ear, 1)[0]), ["message", channel, "a"]);
            writer.say("FLUSHDB");
            assert_eq!(texts(&next(&mut ear, 1)[0]), ["message", channel, "(nil)"]);
            // In RESP3 the one that keeps copies is told when the other is gone.
            keeper.say("HELLO 3");
            drop(ear);
            keeper.say("GET b");
            eventually("the listener is gone", || {
                let list = writer.say("CLIENT LIST").text();
                (!list.contains(&format!("id={id} "))).then_some(())
            });
            writer.say("SET b 1");
            let got = texts(&next(&mut keeper, 1)[0]);
            assert_eq!(got, ["tracking-redir-broken", &id.to_string()]);
        }
        let said = writer.say("CLIENT TRACKING ON REDIRECT 999999").text();
        assert_eq!(
            said,
            "ERR The client ID you want redirect to does not exist"
        );
    }
}

#[test]
fn the_table_of_reads_is_bounded() {
    let mut home = Home::new();
    home.shards(2).set("server.tracking_table_max_keys", 100);
    let server = home.start();
    let mut keeper = server.connect();
    keeper.say("HELLO 3");
    keeper.say("CLIENT TRACKING ON");
    let mut pushes = 0;
    for i in 0..1000 {
        keeper.ask(&["GET", &format!("key{i}")]).unwrap();
    }
    let mut answers = 0;
    while answers < 1000 {
        match keeper.reply().expect("a reply") {
            Value::Push(_) => pushes += 1,
            _ => answers += 1,
        }
    }
    keeper.ask(&["INFO", "stats"]).unwrap();
    let text = loop {
        match keeper.reply().expect("a reply") {
            Value::Push(_) => pushes += 1,
            other => break other.text(),
        }
    };
    assert!(text.contains("tracking_total_keys:100\r\n"), "{text}");
    assert_eq!(pushes, 900);
}

#[test]
fn a_pause_holds_all_cores() {
    for shards in SHARDS {
        let mut home = Home::new();
        home.shards(shards);
        let server = home.start();
        let mut operator = server.connect();
        let mut clients: Vec<Wire> = (0..6).map(|_| server.connect()).collect();
        assert_eq!(operator.say("CLIENT PAUSE 100000 WRITE"), Value::ok());
        for (i, wire) in clients.iter_mut().enumerate() {
            assert_eq!(wire.say("GET k"), Value::Null);
            wire.ask(&["SET", &format!("key{i}"), "x"]).unwrap();
        }
        eventually("all wait", || {
            (operator.figure("clients", "blocked_clients") == "6").then_some(())
        });
        assert_eq!(operator.say("DBSIZE"), Value::Int(0));
        assert_eq!(operator.say("CLIENT UNPAUSE"), Value::ok());
        for wire in &mut clients {
            assert_eq!(next(wire, 1)[0], Value::ok());
        }
        assert_eq!(operator.say("DBSIZE"), Value::Int(6));
        // All commands, and it ends of its own.
        let began = Instant::now();
        assert_eq!(operator.say("CLIENT PAUSE 300"), Value::ok());
        for wire in &mut clients {
            wire.ask(&["PING"]).unwrap();
        }
        for wire in &mut clients {
            assert_eq!(next(wire, 1)[0].text(), "PONG");
        }
        let took = began.elapsed();
        assert!(
            took >= Duration::from_millis(290) && took < PATIENCE,
            "{took:?}"
        );
    }
}

#[test]
fn redis_py_listens_and_keeps_copies() {
    for shards in [1, 2] {
        let mut home = Home::new();
        home.shards(shards);
        let server = home.start();
        let port = home.port.to_string();
        let out = python::run("pubsub.py", &[OsStr::new(&port), home.certs.ca.as_os_str()]);
        assert!(out.ends_with("all good\n"), "{out}");
        drop(server);
    }
}
