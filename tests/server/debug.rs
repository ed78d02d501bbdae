//! DEBUG answers those whom the configuration lets use it, with the replies that client suites look for.

use crate::common::peer::Redis;
use crate::common::server::Home;
use crate::common::wire::{Value, command};

fn error(reply: Value) -> String {
    match reply {
        Value::Error(text) => text,
        other => panic!("not an error: {other:?}"),
    }
}

#[test]
fn debug_protocol_writes_every_type_byte_for_byte_as_redis_does() {
    let home = Home::new();
    let (server, redis) = (home.start(), Redis::start());
    for proto in ["2", "3"] {
        for kind in [
            "string", "integer", "double", "bignum", "null", "array", "set", "map", "attrib",
            "push", "verbatim", "true", "FALSE", "nonsense",
        ] {
            let answered = |mut wire: crate::common::wire::Wire| {
                assert!(!wire.call(&["HELLO", proto]).is_error());
                wire.send(&command(&["DEBUG", "PROTOCOL", kind]))
                    .expect("sent");
                wire.send(&command(&["QUIT"])).expect("sent");
                String::from_utf8_lossy(&wire.until_closed()).into_owned()
            };
            let (ours, theirs) = (answered(server.connect()), answered(redis.connect()));
            assert_eq!(ours, theirs, "RESP{proto}, {kind}");
        }
    }
}

#[test]
fn debug_error_and_what_only_redis_has() {
    let home = Home::new();
    let server = home.start();
    let mut wire = server.connect();
    assert_eq!(
        error(wire.call(&["DEBUG", "ERROR", "LATER not now"])),
        "LATER not now"
    );
    assert_eq!(wire.figure("errorstats", "errorstat_LATER"), "count=1");
    for line in ["DEBUG CHANGE-REPL-ID", "DEBUG LISTPACK k", "DEBUG RELOAD"] {
        assert!(error(wire.say(line)).starts_with("ERR "), "{line}");
    }
    for line in ["DEBUG JMAP", "DEBUG PROTOCOL", "DEBUG nonsense 1"] {
        let said = error(wire.say(line));
        assert!(said.contains("Try DEBUG HELP."), "{line}: {said}");
    }
}

#[test]
fn debug_is_for_whom_the_configuration_says() {
    for (who, allowed) in [("yes", true), ("local", true), ("no", false)] {
        let mut home = Home::new();
        home.text("server.enable_debug_command", who);
        let server = home.start();
        let mut wire = server.connect();
        let reply = wire.say("DEBUG PROTOCOL integer");
        if allowed {
            assert_eq!(reply, Value::Int(12345));
        } else {
            let said = error(reply);
            assert!(said.starts_with("ERR DEBUG command not allowed."), "{said}");
        }
        let got = wire.say("CONFIG GET enable-debug-command");
        assert!(
            format!("{got:?}").contains(&format!("{:?}", Value::bulk(who))),
            "{got:?}"
        );
        let said = error(wire.say("CONFIG SET enable-debug-command yes"));
        assert!(said.ends_with("can't set immutable config"), "{said}");
    }
}
