//! Ten thousand connections at once, served ones and such as never finish their handshake.

use std::io::Write;

use crate::common::eventually;
use crate::common::server::Home;
use crate::common::wire::{Value, Wire, tcp};

const SERVED: usize = 10_000;
const HALF_OPEN: usize = 1_000;

/// Raises this process's own limit of open files (which the server inherits) as far as it may.
fn raise_files(needed: u64) {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: getrlimit and setrlimit read and write one struct that outlives the calls.
    let raised = unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) == 0 && {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &limit) == 0
        }
    };
    assert!(
        raised && limit.rlim_max >= needed,
        "{} open files are allowed, {needed} are needed: raise the hard limit (ulimit -Hn)",
        limit.rlim_max
    );
}

#[test]
fn ten_thousand_connections_and_a_thousand_half_open_ones() {
    raise_files((SERVED + HALF_OPEN + 1000) as u64);
    let mut home = Home::new();
    home.shards(2)
        .set("server.maxclients", SERVED + HALF_OPEN + 200)
        .text("tls.handshake_timeout", "600s");
    let mut server = home.start();

    let mut half: Vec<_> = (0..HALF_OPEN)
        .map(|_| tcp(home.port).expect("accepted"))
        .collect();
    for (i, tcp) in half.iter_mut().enumerate() {
        // Some say nothing, some begin a hello and leave it there.
        if i % 2 == 0 {
            tcp.write_all(&[22, 3, 1, 2, 0, 1, 0]).expect("sent");
        }
    }
    let mut wires: Vec<Wire> = std::thread::scope(|scope| {
        let makers: Vec<_> = (0..4)
            .map(|_| {
                let server = &server;
                scope.spawn(move || {
                    (0..SERVED / 4)
                        .map(|_| server.connect())
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        makers
            .into_iter()
            .flat_map(|m| m.join().expect("connections"))
            .collect()
    });
    assert_eq!(wires.len(), SERVED);
    server.unharmed();
    let mut probe = server.connect();
    let counted: usize = probe
        .figure("clients", "connected_clients")
        .parse()
        .expect("a number");
    assert!(counted > SERVED, "{counted} connected");

    // All of them ask at once; all are answered.
    for (i, wire) in wires.iter_mut().enumerate() {
        wire.ask(&["SET", &format!("k{i}"), "v"]).expect("sent");
    }
    for (i, wire) in wires.iter_mut().enumerate() {
        match wire.reply() {
            Ok(reply) => assert_eq!(reply, Value::ok()),
            Err(e) => {
                let stored = probe.say(&format!("EXISTS k{i}"));
                let waiting = probe.figure("clients", "connected_clients");
                panic!(
                    "connection {i} has no reply ({e}); its key is there: {stored:?}; {waiting} connected"
                )
            }
        }
    }
    assert_eq!(probe.say("DBSIZE"), Value::Int(SERVED as i64));

    // They go, without a word, and leave nothing behind.
    drop(wires);
    drop(half);
    eventually("the server has noticed that they are gone", || {
        let left: usize = probe
            .figure("clients", "connected_clients")
            .parse()
            .expect("a number");
        (left <= 2).then_some(())
    });
    let descriptors = std::fs::read_dir(format!("/proc/{}/fd", server.pid()))
        .expect("a live process")
        .count();
    assert!(descriptors < 200, "{descriptors} files are still open");
    server.unharmed();
    server.stop();
}

#[test]
fn connections_that_come_and_go_cost_nothing_lasting() {
    let home = Home::new();
    let server = home.start();
    let descriptors = || {
        std::fs::read_dir(format!("/proc/{}/fd", server.pid()))
            .expect("a live process")
            .count()
    };
    let before = descriptors();
    for round in 0..1500 {
        match round % 3 {
            0 => drop(server.connect()),
            1 => drop(tcp(home.port).expect("accepted")),
            _ => {
                let mut wire = server.connect();
                // Gone before the answer.
                wire.ask(&["SET", "k", "v"]).expect("sent");
            }
        }
    }
    eventually("all their files are closed", || {
        (descriptors() <= before + 5).then_some(())
    });
    let mut probe = server.connect();
    assert_eq!(probe.say("GET k"), Value::bulk("v"));
}
