//! Checkpoints as users meet them: the commands and what INFO says, the log that stays short, a server without a log.
//! kill -9 in the middle of them is tried in `crash_types`, a full disk in `diskfull`.

use crate::common::server::{Home, Server};
use crate::common::wire::{Value, Wire, command};
use crate::common::{eventually, files_below};

fn persistence(wire: &mut Wire, name: &str) -> u64 {
    let text = wire.figure("persistence", name);
    text.parse().unwrap_or_else(|_| panic!("{name}: {text}"))
}

/// Waits until no checkpoint is under way.
fn idle(wire: &mut Wire) {
    eventually("the checkpoint's end", || {
        let going = ["rdb_bgsave_in_progress", "aof_rewrite_in_progress"];
        let going = going.map(|name| persistence(wire, name));
        (going == [0, 0]).then_some(())
    });
}

fn error(reply: &Value) -> &str {
    match reply {
        Value::Error(text) => text,
        other => panic!("no error: {other:?}"),
    }
}

/// The names of the files in a directory below the data directory, sorted.
fn names(home: &Home, dir: &str) -> Vec<String> {
    let files = files_below(&home.data().join(dir)).into_iter();
    let name =
        |path: std::path::PathBuf| path.file_name().expect("a name").to_string_lossy().into();
    let mut names: Vec<String> = files.map(|(path, _)| name(path)).collect();
    names.sort_unstable();
    names
}

#[test]
fn the_commands_answer_as_redis_does_and_info_tells() {
    for shards in [1, 2] {
        let mut home = Home::new();
        home.shards(shards);
        let server = home.start();
        let mut wire = server.connect();
        let started = wire.say("LASTSAVE").int();
        wire.say("MSET a 1 b 2 c 3");
        wire.say("RPUSH list x y z");
        assert_eq!(persistence(&mut wire, "rdb_changes_since_last_save"), 4);
        assert_eq!(wire.say("SAVE"), Value::ok());
        assert!(wire.say("LASTSAVE").int() >= started);
        assert_eq!(persistence(&mut wire, "rdb_changes_since_last_save"), 0);
        assert_eq!(persistence(&mut wire, "rdb_saves"), 1);
        assert_eq!(wire.figure("persistence", "rdb_last_bgsave_status"), "ok");
        assert!(persistence(&mut wire, "aof_base_size") > 0);

        assert_eq!(wire.say("BGSAVE").text(), "Background saving started");
        idle(&mut wire);
        let rewriting = "Background append only file rewriting started";
        assert_eq!(wire.say("BGREWRITEAOF").text(), rewriting);
        idle(&mut wire);
        assert_eq!(persistence(&mut wire, "rdb_saves"), 2);
        assert_eq!(persistence(&mut wire, "aof_rewrites"), 1);

        for line in ["BGSAVE now", "BGSAVE SCHEDULE x"] {
            assert_eq!(error(&wire.say(line)), "ERR syntax error", "{line}");
        }
        // While one is under way there is no second one, but perhaps a next one.
        let mut other = server.connect();
        let (mut refused, mut scheduled) = (false, false);
        eventually("a request while another is carried out", || {
            wire.ask(&["SAVE"]).expect("sent");
            let answer = other.say("BGSAVE");
            if let Value::Error(text) = &answer {
                assert_eq!(text, "ERR Background save already in progress");
                refused = true;
            }
            let answer = other.say("BGSAVE SCHEDULE").text();
            scheduled |= answer == "Background saving scheduled";
            wire.reply().expect("an answer");
            idle(&mut wire);
            (refused && scheduled).then_some(())
        });

        assert_eq!(wire.say("MULTI"), Value::ok());
        assert!(wire.say("SAVE").is_error());
        assert!(wire.say("EXEC").is_error());
        server.stop();
        let server = home.start();
        let mut wire = server.connect();
        assert_eq!(wire.say("MGET a b c").items().len(), 3);
        assert_eq!(wire.say("LRANGE list 0 -1").items().len(), 3);
        assert!(persistence(&mut wire, "recovery_checkpoint") >= 3);
        assert_eq!(persistence(&mut wire, "rdb_last_load_keys_loaded"), 4);
    }
}

#[test]
fn the_log_stays_short_while_the_same_keys_are_written_again_and_again() {
    let mut home = Home::new();
    home.shards(2)
        .text("persistence.aof_segment_size", "1MiB")
        .text("persistence.auto_aof_rewrite_min_size", "1MiB");
    let server = home.start();
    let mut wire = server.connect();
    let value = "v".repeat(10_000);
    let mut most = 0;
    for round in 0..40 {
        for key in 0..100 {
            assert_eq!(wire.call(&["SET", &format!("k{key}"), &value]), Value::ok());
        }
        let files = files_below(&home.data());
        most = most.max(files.iter().map(|(_, bytes)| bytes.len()).sum());
        if round % 10 == 9 {
            idle(&mut wire);
        }
    }
    assert!(persistence(&mut wire, "aof_rewrites") >= 3);
    // A megabyte lives. 40 were written, into a log, two checkpoints at a time, and files that wait to be used again.
    assert!(most < 25 << 20, "{most} bytes at a time");
    server.kill9();
    let server = home.start();
    assert_eq!(server.connect().say("DBSIZE"), Value::Int(100));
}

#[test]
fn a_server_without_a_log_ends_with_a_checkpoint_unless_it_is_told_not_to() {
    let mut home = Home::new();
    home.shards(2).set("persistence.appendonly", false);
    let mut server = home.start();
    server.connect().say("MSET a 1 b 1 c 1");
    server.stop();
    for (words, kept) in [("NOSAVE", "1"), ("SAVE", "2"), ("NOW", "3")] {
        server = home.start();
        let mut wire = server.connect();
        wire.say("INCR a");
        // One that is under way is no reason to refuse.
        wire.ask(&["BGSAVE"]).expect("sent");
        wire.say("INCR b");
        wire.send(&command(&["SHUTDOWN", words])).expect("sent");
        assert_eq!(server.wait().code(), Some(0), "{words}: {}", home.log());
        drop(server);
        server = home.start();
        let found = get(&server, "a");
        if words == "NOSAVE" {
            server.kill9();
            home.set("persistence.checkpoint_interval", "\"0\"");
            server = home.start();
            server.connect().say("SET a 1");
            assert_eq!(server.connect().say("SAVE"), Value::ok());
            server.connect().say("SET a lost");
            server.stop();
            home.set("persistence.checkpoint_interval", "\"1h\"");
            server = home.start();
            assert_eq!(get(&server, "a"), "1");
        } else {
            assert_eq!(found, kept, "{words}");
        }
        server.kill9();
    }
}

fn get(server: &Server<'_>, key: &str) -> String {
    match server.connect().say(&format!("GET {key}")) {
        Value::Null => "nothing".to_owned(),
        value => value.text(),
    }
}

#[test]
fn without_a_log_what_was_saved_is_there_and_a_log_goes_on_from_it() {
    let mut home = Home::new();
    home.shards(2).set("persistence.appendonly", false);
    let server = home.start();
    let mut wire = server.connect();
    wire.say("SET saved yes");
    assert_eq!(wire.say("SAVE"), Value::ok());
    wire.say("SET unsaved yes");
    server.kill9();
    assert_eq!(
        names(&home, "checkpoint").last().expect("a file"),
        "0000000001.alone.manifest"
    );

    let mut server = home.start();
    assert_eq!(
        [get(&server, "saved"), get(&server, "unsaved")],
        ["yes", "nothing"]
    );
    let mut wire = server.connect();
    wire.say("SET second yes");
    wire.send(b"*2\r\n$8\r\nSHUTDOWN\r\n$4\r\nSAVE\r\n")
        .expect("sent");
    assert_eq!(server.wait().code(), Some(0));
    drop(server);

    // With a log, from the checkpoint on.
    home.set("persistence.appendonly", true).shards(3);
    let server = home.start();
    assert_eq!(get(&server, "second"), "yes");
    server.connect().say("SET logged yes");
    server.stop();
    let server = home.start();
    assert_eq!(
        [get(&server, "second"), get(&server, "logged")],
        ["yes", "yes"]
    );
    server.stop();

    // Without it again: the log still counts, until a checkpoint has what it had.
    home.set("persistence.appendonly", false).shards(1);
    let server = home.start();
    assert_eq!(
        [get(&server, "second"), get(&server, "logged")],
        ["yes", "yes"]
    );
    assert!(
        names(&home, "log")
            .iter()
            .any(|name| name.ends_with(".seg"))
    );
    server.connect().say("SET third yes");
    assert_eq!(server.connect().say("SAVE"), Value::ok());
    eventually("the old logs removed", || {
        (!names(&home, "log")
            .iter()
            .any(|name| name.ends_with(".seg")))
        .then_some(())
    });
    server.kill9();
    home.set("persistence.appendonly", true);
    for _ in 0..2 {
        let server = home.start();
        assert_eq!(
            [get(&server, "logged"), get(&server, "third")],
            ["yes", "yes"]
        );
        server.stop();
    }

    // There is no substitute for a checkpoint without a log.
    home.set("persistence.appendonly", false);
    let server = home.start();
    assert_eq!(server.connect().say("SAVE"), Value::ok());
    server.stop();
    let manifest = names(&home, "checkpoint").pop().expect("a manifest");
    assert!(manifest.ends_with(".alone.manifest"), "{manifest}");
    let path = home.data().join("checkpoint").join(&manifest);
    let mut bytes = std::fs::read(&path).expect("the manifest");
    bytes[200] ^= 1;
    std::fs::write(&path, bytes).expect("written");
    for appendonly in [false, true] {
        home.set("persistence.appendonly", appendonly);
        let (_, said) = home.refused();
        assert!(
            said.contains(&manifest) && said.contains("authenticate"),
            "{said}"
        );
    }
}

#[test]
fn clients_that_come_while_data_is_loaded_are_told_so() {
    let mut home = Home::new();
    home.shards(1).text("auth.requirepass", "secret");
    let server = home.start();
    let mut wire = server.connect();
    wire.say("AUTH secret");
    let mut bytes = Vec::new();
    for n in 0..2500 {
        let keys = (0..200).flat_map(|i| [format!("key:{n}:{i}"), "v".repeat(60)]);
        let words: Vec<String> = std::iter::once("MSET".to_owned()).chain(keys).collect();
        bytes.extend(command(&words));
    }
    wire.send(&bytes).expect("sent");
    for _ in 0..2500 {
        assert_eq!(wire.reply().expect("a reply"), Value::ok());
    }
    server.stop();
    // Whoever asks it to stop while it loads has it stop at once, or when it has loaded.
    let mut server = home.launch();
    eventually("the port is open", || {
        Wire::tls(home.port, home.client()).ok()
    });
    server.signal(libc::SIGTERM);
    assert_eq!(server.wait().code(), Some(0), "{}", home.log());
    let server = home.launch();
    // How long it takes is the machine's affair: whoever comes is told that it lasts, or served.
    let mut wire = eventually("the port is open", || {
        Wire::tls(home.port, home.client()).ok()
    });
    let first = wire.try_call(&["GET", "key:0:0"]);
    if let Ok(reply) = first {
        assert_eq!(error(&reply), "NOAUTH Authentication required.");
    }
    if wire.try_call(&["AUTH", "secret"]).is_ok()
        && let Ok(Value::Error(text)) = wire.try_call(&["GET", "key:0:0"])
    {
        assert_eq!(text, "LOADING Redis is loading the dataset in memory");
        if let Ok(info) = wire.try_call(&["INFO", "persistence"]) {
            assert!(info.text().contains("loading:1\r\n"), "{}", info.text());
        }
    }
    // That ends with the connection, and the next one is served.
    let mut wire = eventually("the data", || {
        let mut wire = Wire::tls(home.port, home.client()).ok()?;
        wire.try_call(&["AUTH", "secret"]).ok()?;
        (wire.try_call(&["DBSIZE"]).ok()? == Value::Int(500_000)).then_some(wire)
    });
    assert_eq!(persistence(&mut wire, "loading"), 0);
    server.stop();
}
