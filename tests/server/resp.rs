//! The protocol as bytes: pipelines, inline commands, RESP3, and the errors that close a connection, held against
//! redis-server word for word.

use crate::common::peer::Redis;
use crate::common::random::Random;
use crate::common::server::Home;
use crate::common::wire::{Value, command};

#[test]
fn ten_thousand_commands_in_one_write_are_answered_in_order() {
    for shards in [1, 3] {
        let mut home = Home::new();
        home.shards(shards);
        let server = home.start();
        let mut wire = server.connect();
        let mut bytes = Vec::new();
        for i in 0..10_000 {
            let key = format!("k{}", i % 97);
            match i % 3 {
                0 => bytes.extend(command(&["SET", &key, &i.to_string()])),
                1 => bytes.extend(command(&["GET", &format!("k{}", (i - 1) % 97)])),
                _ => bytes.extend(command(&["ECHO", &i.to_string()])),
            }
        }
        wire.send(&bytes).expect("the server reads");
        for i in 0..10_000 {
            let reply = wire.reply().expect("a reply");
            match i % 3 {
                0 => assert_eq!(reply, Value::ok(), "command {i}"),
                1 => assert_eq!(reply.text(), (i - 1).to_string(), "command {i}"),
                _ => assert_eq!(reply.text(), i.to_string(), "command {i}"),
            }
        }
    }
}

#[test]
fn it_does_not_matter_where_the_bytes_are_cut() {
    let home = Home::new();
    let server = home.start();
    let mut bytes = Vec::new();
    bytes.extend(command(&["SET", "key", "a value\r\nwith a line end"]));
    bytes.extend(b"GET key\r\n");
    bytes.extend(b"\r\n");
    bytes.extend(b"set other 'two words'\r\n");
    bytes.extend(command(&["MGET", "key", "other", "none"]));
    let expected = [
        Value::ok(),
        Value::bulk("a value\r\nwith a line end"),
        Value::ok(),
        Value::Array(vec![
            Value::bulk("a value\r\nwith a line end"),
            Value::bulk("two words"),
            Value::Null,
        ]),
    ];
    let mut wire = server.connect();
    for cut in 0..=bytes.len() {
        wire.send(&bytes[..cut]).expect("the server reads");
        wire.send(&bytes[cut..]).expect("the server reads");
        for want in &expected {
            assert_eq!(&wire.reply().expect("a reply"), want, "cut at {cut}");
        }
    }
    for byte in &bytes {
        wire.send(&[*byte]).expect("the server reads");
    }
    for want in &expected {
        assert_eq!(&wire.reply().expect("a reply"), want, "byte by byte");
    }
}

#[test]
fn large_values_come_back_as_they_went() {
    let mut random = Random::announced("large values");
    for shards in [1, 2] {
        let mut home = Home::new();
        home.shards(shards);
        let value = random.bytes(20 << 20);
        {
            let server = home.start();
            let mut wire = server.connect();
            assert_eq!(
                wire.call(&[b"SET".as_slice(), b"large", &value]),
                Value::ok()
            );
            assert!(
                wire.call(&["GET", "large"]) == Value::Bulk(value.clone()),
                "changed on the way"
            );
            server.kill9();
        }
        // The reply of an everysec write may come before the disk's; a value of this size takes several frames and
        // is there whole or not at all.
        let server = home.start();
        let found = server.connect().call(&["GET", "large"]);
        assert!(
            found == Value::Null || found == Value::Bulk(value),
            "torn by the crash"
        );
    }
}

#[test]
fn resp3_after_hello_3_and_resp2_again_after_hello_2() {
    let home = Home::new();
    let server = home.start();
    let mut wire = server.connect();
    assert_eq!(wire.say("GET none"), Value::Null);
    let Value::Map(hello) = wire.say("HELLO 3") else {
        panic!("HELLO 3 answers with a map");
    };
    let field = |name: &str| {
        hello
            .iter()
            .find(|(k, _)| *k == Value::bulk(name))
            .map(|(_, v)| v.clone())
    };
    assert_eq!(field("proto"), Some(Value::Int(3)));
    assert_eq!(field("mode"), Some(Value::bulk("standalone")));
    assert_eq!(field("role"), Some(Value::bulk("master")));
    for name in ["server", "version", "id", "modules"] {
        assert!(field(name).is_some(), "HELLO has no {name}: {hello:?}");
    }
    assert_eq!(wire.raw(&["GET", "none"], 3), b"_\r\n");
    assert!(matches!(wire.say("CONFIG GET maxclients"), Value::Map(_)));
    assert!(matches!(wire.say("HELLO 4"), Value::Error(e) if e.starts_with("NOPROTO")));
    assert!(matches!(wire.say("HELLO 2"), Value::Array(_)));
    assert!(matches!(wire.say("CONFIG GET maxclients"), Value::Array(_)));
}

/// Bytes that break the protocol in all the ways that Redis has a text for.
fn breaches() -> Vec<(&'static str, Vec<u8>)> {
    let long = |head: &str, n: usize| [head.as_bytes(), "9".repeat(n).as_bytes()].concat();
    vec![
        ("letters for a count", b"*abc\r\n".to_vec()),
        ("a count out of range", b"*99999999999\r\n".to_vec()),
        (
            "a count with rubbish behind it",
            b"*3x\r\n$3\r\nSET\r\n".to_vec(),
        ),
        ("no dollar", b"*1\r\n+PING\r\n".to_vec()),
        ("letters for a length", b"*1\r\n$abc\r\n".to_vec()),
        ("a negative length", b"*1\r\n$-5\r\n".to_vec()),
        ("a length out of range", b"*1\r\n$99999999999\r\n".to_vec()),
        (
            "a length above 512 MB",
            b"*2\r\n$3\r\nGET\r\n$536870913\r\n".to_vec(),
        ),
        ("an empty length", b"*1\r\n$\r\n".to_vec()),
        ("quotes that do not close", b"SET a \"b\r\n".to_vec()),
        (
            "quotes with letters behind them",
            b"SET a \"b\"c\r\n".to_vec(),
        ),
        ("single quotes that do not close", b"SET a 'b\r\n".to_vec()),
        ("an inline request without end", vec![b'a'; 70_000]),
        ("a count without end", long("*", 70_000)),
        ("a length without end", long("*1\r\n$", 70_000)),
        (
            "after good commands",
            b"PING\r\n*1\r\n$4\r\nPING\r\n*1\r\n!\r\n".to_vec(),
        ),
    ]
}

#[test]
fn breaches_of_the_protocol_are_answered_as_redis_answers_them_and_closed() {
    let redis = Redis::start();
    let home = Home::new();
    let mut server = home.start();
    for (what, bytes) in breaches() {
        let mut theirs = redis.connect();
        let mut ours = server.connect();
        // Either may close before it has read everything.
        let _ = theirs.send(&bytes);
        let _ = ours.send(&bytes);
        let theirs = String::from_utf8_lossy(&theirs.until_closed()).into_owned();
        let ours = String::from_utf8_lossy(&ours.until_closed()).into_owned();
        assert!(
            theirs.contains("Protocol error"),
            "{what}: redis-server says {theirs:?}"
        );
        assert_eq!(ours, theirs, "{what}");
    }
    server.unharmed();
}

#[test]
fn what_is_odd_but_no_breach_is_taken_as_redis_takes_it() {
    let redis = Redis::start();
    let home = Home::new();
    let server = home.start();
    let cases: [&[u8]; 10] = [
        b"*0\r\n*-1\r\nPING\r\n",
        b"\r\n\n  \r\nPING\r\n",
        b"PING\n",
        b"  ping   'a b'  \r\n",
        b"ECHO \"\\x41\\n\\t\\\\\\\"\"\r\n",
        b"ECHO 'it\\'s'\r\n",
        b"ECHO \"\"\r\n",
        b"*2\r\n$4\r\nECHO\r\n$0\r\n\r\n",
        b"*1\r\n$0\r\n\r\n",
        b"nosuchcommand with args\r\n",
    ];
    for bytes in cases {
        // The last word tells when everything before it has been answered.
        let bytes = [bytes, b"*2\r\n$4\r\nECHO\r\n$3\r\nend\r\n"].concat();
        let mut answers = Vec::new();
        for mut wire in [redis.connect(), server.connect()] {
            wire.send(&bytes).expect("the server reads");
            let mut replies = Vec::new();
            while replies.last() != Some(&Value::bulk("end")) {
                replies.push(wire.reply().expect("a reply"));
            }
            answers.push(replies);
        }
        assert_eq!(
            answers[1],
            answers[0],
            "{:?}",
            String::from_utf8_lossy(&bytes)
        );
    }
}

#[test]
fn before_its_password_a_client_may_send_little() {
    let mut home = Home::new();
    home.text("auth.requirepass", "open sesame");
    let server = home.start();
    let mut wire = server.connect();
    assert!(matches!(wire.say("GET x"), Value::Error(e) if e == "NOAUTH Authentication required."));
    assert!(matches!(wire.say("AUTH wrong"), Value::Error(e) if e.starts_with("WRONGPASS")));
    for bytes in [&b"*11\r\n"[..], b"*2\r\n$3\r\nGET\r\n$16385\r\n"] {
        let mut wire = server.connect();
        wire.send(bytes).expect("the server reads");
        let said = String::from_utf8_lossy(&wire.until_closed()).into_owned();
        assert!(
            said.starts_with("-ERR Protocol error: unauthenticated"),
            "{said:?}"
        );
    }
    let mut wire = server.connect();
    assert_eq!(wire.call(&["AUTH", "open sesame"]), Value::ok());
    assert_eq!(wire.call(&["SET", "x", &"y".repeat(20_000)]), Value::ok());
    let mut wire = server.connect();
    assert!(matches!(
        wire.call(&["HELLO", "3", "AUTH", "default", "open sesame"]),
        Value::Map(_)
    ));
    drop(wire);
    let mut probe = server.connect();
    assert_eq!(probe.call(&["AUTH", "default", "open sesame"]), Value::ok());
    assert_eq!(probe.say("PING").text(), "PONG");
}

#[test]
fn random_bytes_never_harm_the_server() {
    let home = Home::new();
    let mut server = home.start();
    let mut random = Random::announced("random bytes");
    for _ in 0..200 {
        let mut wire = server.connect();
        let mut bytes = Vec::new();
        for _ in 0..1 + random.below(8) {
            match random.below(6) {
                0 => bytes.extend(command(&["SET", &random.word(5), &random.word(20)])),
                1 => bytes.extend(format!("*{}\r\n", random.below(6)).bytes()),
                2 => bytes.extend(format!("${}\r\n", random.below(30)).bytes()),
                3 => bytes.extend(b"\r\n"),
                _ => {
                    let n = random.below(40);
                    bytes.extend(random.bytes(n));
                }
            }
        }
        // The server may have closed already.
        let _ = wire.send(&bytes);
    }
    server.unharmed();
}
