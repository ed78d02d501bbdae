//! `ferrite-cli check` beside a server's own judgement of the same directory: what is whole is called so, what is damaged is
//! named with its file, and what the command says of the next start comes true.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value as Json;

use crate::common::random::Random;
use crate::common::server::Home;
use crate::common::wire::{Value, Wire};

fn check(home: &Home, kek: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ferrite-cli"))
        .args(["check", "--json", "--key-file"])
        .arg(kek)
        .arg(home.data())
        .output()
        .expect("ferrite-cli runs")
}

/// The exit status, and the document.
fn report(home: &Home) -> (i32, Json) {
    let out = check(home, &home.kek());
    let text = String::from_utf8_lossy(&out.stdout);
    let error = String::from_utf8_lossy(&out.stderr);
    let document = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}{error}"));
    (out.status.code().expect("a status"), document)
}

/// The files in this state.
fn files<'j>(report: &'j Json, state: &str) -> Vec<&'j str> {
    let rows = report["files"].as_array().expect("rows").iter();
    let rows = rows.filter(|row| row["state"] == state);
    rows.map(|row| row["file"].as_str().expect("a name"))
        .collect()
}

fn write(wire: &mut Wire, tag: &str) {
    for i in 0..200 {
        let reply = wire.call(&[
            "SET",
            &format!("k{i}"),
            &format!("{tag}{}", "x".repeat(300)),
        ]);
        assert_eq!(reply, Value::ok());
    }
}

/// A directory with a checkpoint and a log behind it, and its keys' one right value.
fn written() -> Home {
    let mut home = Home::new();
    home.shards(2)
        .fsync("always")
        .text("persistence.aof_segment_size", "1MiB");
    let server = home.start();
    let mut wire = server.connect();
    write(&mut wire, "a");
    assert_eq!(wire.say("SAVE"), Value::ok());
    write(&mut wire, "b");
    server.stop();
    home
}

#[test]
fn a_healthy_directory_is_called_so_and_nothing_in_it_changes() {
    let home = written();
    let before = crate::common::files_below(&home.data());
    let (status, told) = report(&home);
    assert_eq!(status, 0, "{told}");
    assert_eq!(told["start"]["checkpoint"], 1, "{told}");
    assert!(files(&told, "damaged").is_empty() && files(&told, "missing").is_empty());
    let ok = files(&told, "ok");
    assert!(ok.contains(&"keyring") && ok.contains(&"checkpoint/0000000001.manifest"));
    assert!(before == crate::common::files_below(&home.data()));
    // One that was killed is as good.
    let server = home.start();
    write(&mut server.connect(), "c");
    server.kill9();
    let (status, told) = report(&home);
    assert_eq!(status, 0, "{told}");
    assert_eq!(files(&told, "torn tail").len(), 2, "{told}");
}

#[test]
fn a_running_server_and_a_wrong_kek_are_told_of() {
    let home = written();
    let wrong = home.path().join("wrong");
    crate::common::certs::private(&wrong, &[7; 32]);
    let out = check(&home, &wrong);
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(
        out.status.code() == Some(1) && said.contains("keyring"),
        "{said}"
    );
    let _server = home.start();
    let out = check(&home, &home.kek());
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(
        out.status.code() == Some(1) && said.contains("running"),
        "{said}"
    );
}

fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).expect("a file");
    bytes[at] ^= 1;
    std::fs::write(path, bytes).expect("written");
}

#[test]
fn a_flipped_bit_is_named_with_its_file_and_the_next_start_is_as_foretold() {
    let mut random = Random::announced("flips");
    let home = written();
    let (_, told) = report(&home);
    let rows = told["files"].as_array().expect("rows").clone();
    let mut kinds = [0; 3];
    for row in rows {
        let name = row["file"].as_str().expect("a name");
        let path = home.data().join(name);
        // What an open segment held before it was recycled, and spare ones, mean nothing.
        let (kind, len) = match (name.rsplit_once('.'), row["bytes"].as_u64()) {
            (Some((_, "manifest")), _) => (0, 4096),
            (Some((base, "seg")), Some(n)) if n > 0 && row["state"] == "ok" => {
                (1 + usize::from(base.starts_with("log")), n as usize)
            }
            _ => continue,
        };
        kinds[kind] += 1;
        let at = random.below(len as u64 as usize);
        flip(&path, at);
        let (status, told) = report(&home);
        assert_eq!(status, 1, "{name} at {at}: {told}");
        let row = told["files"].as_array().expect("rows").iter();
        let row = row
            .clone()
            .find(|row| row["file"] == name)
            .expect("the file");
        let bad = row["state"] == "damaged" || (at < 4096 && row["state"] == "unused");
        assert!(bad, "{name} at {at}: {row}");
        let succeeds = told["start"]["succeeds"] == true;
        assert!(!succeeds || kind < 2, "{name} at {at}: {told}");
        if !succeeds {
            let (_, said) = home.refused();
            let file = name.rsplit('/').next().expect("a name");
            assert!(said.contains(file), "{name} at {at}: {said}");
        }
        flip(&path, at);
        assert_eq!(report(&home).0, 0);
    }
    assert!(kinds.iter().all(|&n| n > 0), "{kinds:?}");
    let server = home.start();
    let value = server.connect().say("GET k7");
    assert_eq!(value.text(), format!("b{}", "x".repeat(300)));
}

#[test]
fn what_is_missing_is_named() {
    let home = written();
    let (_, told) = report(&home);
    let all = files(&told, "ok");
    for (directory, kind) in [
        ("log/", ".seg"),
        ("checkpoint/", ".seg"),
        ("checkpoint/", ".manifest"),
    ] {
        let fits = |name: &&&str| name.starts_with(directory) && name.ends_with(kind);
        let name = all.iter().rfind(fits).expect("one");
        let path = home.data().join(name);
        let aside: PathBuf = home.path().join("aside");
        std::fs::rename(&path, &aside).expect("moved");
        let (status, told) = report(&home);
        let missing = files(&told, "missing");
        match kind {
            // Without its manifest a checkpoint is none.
            ".manifest" => assert!(!files(&told, "unfinished").is_empty(), "{told}"),
            _ => assert!(status == 1 && missing == [*name], "{name}: {told}"),
        }
        std::fs::rename(&aside, &path).expect("moved back");
    }
    assert_eq!(report(&home).0, 0);
}
