//! Who listens: closed when the rules take a channel away, and when it does not read what it is sent; and what it held is
//! given back.

use crate::common::eventually;
use crate::common::server::{Home, Server};
use crate::common::wire::{Value, Wire};

fn rss(server: &Server<'_>) -> u64 {
    let path = format!("/proc/{}/status", server.pid());
    let text = std::fs::read_to_string(path).expect("a running server");
    let line = text.lines().find(|l| l.starts_with("VmRSS:"));
    let kib = line.and_then(|l| l.split_whitespace().nth(1));
    kib.expect("a figure").parse::<u64>().expect("a number") / 1024
}

fn listener(server: &Server<'_>, user: &str, proto: &str, line: &str) -> Wire {
    let mut wire = server.connect();
    assert!(!wire.say(&format!("HELLO {proto} AUTH {user} x")).is_error());
    wire.ask(&line.split(' ').collect::<Vec<_>>())
        .expect("sent");
    for _ in 1..line.split(' ').count() {
        assert!(!wire.reply().expect("subscribed").is_error());
    }
    wire
}

fn clients(probe: &mut Wire) -> usize {
    probe.say("CLIENT LIST").text().lines().count()
}

/// Closed: nothing comes any more but the end.
fn closed(wire: &mut Wire) -> bool {
    wire.until_closed();
    true
}

#[test]
fn who_may_no_longer_listen_to_a_channel_is_closed_on_every_core() {
    for shards in [1, 3] {
        let mut home = Home::new();
        let file = home.path().join("users.acl");
        std::fs::write(&file, "user default on nopass ~* &* +@all\n").expect("a file");
        home.shards(shards)
            .text("auth.acl_file", file.to_string_lossy());
        let server = home.start();
        let mut probe = server.connect();
        let all = "reset on nopass ~* +@all";
        let changes = [
            // What is taken away, who is closed by it, and who is not.
            (
                "ACL SETUSER app resetchannels &a*",
                [false, true, true, true, false],
            ),
            (
                "ACL SETUSER app resetchannels &b &p* &s &a",
                [false, false, false, false, false],
            ),
            (
                "ACL SETUSER app resetchannels &a &b &p? &s",
                [false, false, true, false, false],
            ),
            (
                "ACL SETUSER app resetchannels &a &b &p*",
                [false, false, false, true, false],
            ),
            ("ACL DELUSER app", [true, true, true, true, true]),
            ("ACL LOAD", [true, true, true, true, true]),
        ];
        for (change, gone) in changes {
            assert_eq!(probe.say(&format!("ACL SETUSER app {all} &*")), Value::ok());
            let mut others = vec![listener(&server, "default", "2", "SUBSCRIBE a b")];
            let mut wires = Vec::new();
            for proto in ["2", "3", "2", "3"] {
                for line in [
                    "SUBSCRIBE a",
                    "SUBSCRIBE a b",
                    "PSUBSCRIBE p*",
                    "SSUBSCRIBE s",
                    "PING",
                ] {
                    wires.push((line, listener(&server, "app", proto, line)));
                    if line == "PING" {
                        let (_, wire) = wires.last_mut().expect("just pushed");
                        assert_eq!(wire.reply().expect("PONG").text(), "PONG");
                    }
                }
            }
            let reply = probe.say(change);
            assert!(!reply.is_error(), "{change}: {reply:?}");
            for (at, (line, wire)) in wires.iter_mut().enumerate() {
                if gone[at % 5] {
                    assert!(closed(wire), "{change}: {line}");
                } else {
                    wire.ask(&["PING"]).expect("sent");
                    assert!(!wire.reply().expect("alive").is_error(), "{change}: {line}");
                }
            }
            let kept = gone.iter().filter(|gone| !**gone).count() * 4;
            assert_eq!(clients(&mut probe), 2 + kept, "{change}");
            assert_eq!(probe.say("PUBLISH b x").int(), i64::from(!gone[1]) * 4 + 1);
            others[0].reply().expect("the message");
            drop((wires, others));
            eventually("they are gone", || (clients(&mut probe) == 1).then_some(()));
        }
        // Who takes a channel from himself hears of it first.
        probe.say(&format!("ACL SETUSER app {all} &*"));
        let mut wire = listener(&server, "app", "3", "SUBSCRIBE a");
        assert_eq!(wire.say("ACL SETUSER app resetchannels"), Value::ok());
        assert!(closed(&mut wire));
    }
}

#[test]
fn who_monitors_and_does_not_read_is_closed_and_gives_its_memory_back() {
    for shards in [1, 2] {
        let mut home = Home::new();
        home.shards(shards).text(
            "server.client_output_buffer_limit",
            "normal 8MiB 0 0s pubsub 8MiB 0 0s",
        );
        let mut server = home.start();
        let mut worker = server.connect();
        let value = "x".repeat(64 << 10);
        worker.call(&["SET", "k", &value]);
        let before = rss(&server);
        for line in ["MONITOR", "SUBSCRIBE c", "PSUBSCRIBE *"] {
            let mut slow: Vec<Wire> = (0..4).map(|_| server.connect()).collect();
            for wire in &mut slow {
                wire.ask(&line.split(' ').collect::<Vec<_>>())
                    .expect("sent");
                assert!(!wire.reply().expect("a reply").is_error());
            }
            // 64 MiB that none of them reads.
            for _ in 0..1024 {
                match line {
                    "MONITOR" => worker.call(&["SET", "k", &value]),
                    _ => worker.call(&["PUBLISH", "c", &value]),
                };
            }
            eventually("the slow ones are closed", || {
                (clients(&mut worker) == 1).then_some(())
            });
            drop(slow);
        }
        let closes = "client_output_buffer_limit_disconnections";
        assert_eq!(worker.figure("stats", closes), "12");
        assert_eq!(worker.say("MEMORY PURGE"), Value::ok());
        eventually("the memory is back", || {
            (rss(&server) < before + 64).then_some(())
        });
        server.unharmed();
    }
}
