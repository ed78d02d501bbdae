//! What stops a start: each cause is named, with what to do, and ends the program with a status that is not zero.

use std::io;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::common::certs;
use crate::common::eventually;
use crate::common::server::{FERRITE, Home, free_port};
use crate::common::wire::{Value, Wire};

/// The server must refuse to start, and say all of `words`.
#[track_caller]
fn refuses(home: &Home, words: &[&str]) {
    check(home.refused(), words);
}

#[track_caller]
fn check((status, said): (std::process::ExitStatus, String), words: &[&str]) {
    assert!(status.code().is_some_and(|c| c != 0), "{status}: {said}");
    for word in words {
        assert!(said.contains(word), "the message lacks {word:?}:\n{said}");
    }
    assert!(!said.contains("panicked"), "a panic is no message:\n{said}");
}

#[test]
fn a_missing_kek_is_named() {
    let home = Home::new();
    std::fs::remove_file(home.kek()).expect("remove");
    refuses(
        &home,
        &[&format!(
            "Encryption key file not found: {}",
            home.kek().display()
        )],
    );
}

#[test]
fn what_stops_a_start_is_said_once_on_standard_error() {
    let mut home = Home::new();
    let _taken = TcpListener::bind(("127.0.0.1", home.port)).expect("free");
    let port = format!("127.0.0.1:{}: ", home.port);
    let (_, said) = launch_and_wait(&home, home.command());
    assert_eq!(said.matches(&port).count(), 1, "{said}");
    // With the log in a file, both places have it.
    let log = home.path().join("server.log");
    home.text("log.file", log.display().to_string());
    let (_, said) = launch_and_wait(&home, home.command());
    assert_eq!(said.matches(&port).count(), 1, "{said}");
    let logged = std::fs::read_to_string(log).expect("the log");
    assert_eq!(logged.matches(&port).count(), 1, "{logged}");
}

#[test]
fn a_kek_that_others_can_read_is_refused_with_the_way_out() {
    for mode in [0o644, 0o640, 0o604, 0o660] {
        let home = Home::new();
        std::fs::set_permissions(home.kek(), std::fs::Permissions::from_mode(mode)).expect("chmod");
        let kek = home.kek().display().to_string();
        refuses(&home, &[&kek, &format!("{mode:o}"), "chmod"]);
    }
}

#[test]
fn a_kek_that_is_none_is_refused() {
    let home = Home::new();
    let kek = home.kek().display().to_string();
    for content in [&b""[..], b"short", &[7; 31], &[7; 33], &[7; 5000]] {
        certs::private(&home.kek(), content);
        refuses(&home, &[&kek]);
    }
    std::fs::remove_file(home.kek()).expect("remove");
    std::fs::create_dir(home.kek()).expect("a directory");
    refuses(&home, &[&kek]);
}

#[test]
fn a_kek_may_be_raw_or_base64_or_hex() {
    let raw: Vec<u8> = (0..32).map(|i| i * 7 + 3).collect();
    let hex: String = raw.iter().map(|b| format!("{b:02x}")).collect();
    // The same 32 bytes, encoded by hand: the data written under one form opens under the others.
    let base64 = "AwoRGB8mLTQ7QklQV15lbHN6gYiPlp2kq7K5wMfO1dw=";
    let home = Home::new();
    for (n, content) in [
        raw.clone(),
        hex.clone().into_bytes(),
        format!("{hex}\n").into_bytes(),
        base64.into(),
        format!("{base64}\n").into_bytes(),
    ]
    .iter()
    .enumerate()
    {
        certs::private(&home.kek(), content);
        let server = home.start();
        let mut wire = server.connect();
        assert_eq!(
            wire.say("GET n"),
            if n == 0 {
                Value::Null
            } else {
                Value::bulk(n.to_string())
            }
        );
        assert_eq!(wire.say("INCR n").int(), n as i64 + 1);
        server.stop();
    }
}

#[test]
fn another_kek_opens_nothing_and_changes_nothing() {
    let home = Home::new();
    {
        let server = home.start();
        assert_eq!(server.connect().say("SET k v"), Value::ok());
        server.stop();
    }
    let right = std::fs::read(home.kek()).expect("the Kek");
    certs::private(&home.kek(), &[9; 32]);
    let before = crate::common::files_below(&home.data());
    let (status, said) = home.refused();
    assert!(status.code().is_some_and(|c| c != 0));
    assert!(
        said.to_lowercase().contains("kek") || said.contains("keyring"),
        "{said}"
    );
    let after = crate::common::files_below(&home.data());
    let changed: Vec<_> = before
        .iter()
        .chain(&after)
        .filter(|f| !(before.contains(f) && after.contains(f)))
        .map(|(path, _)| path)
        // Who holds the directory: every process that looks writes its own number.
        .filter(|path| !path.ends_with("LOCK"))
        .collect();
    assert!(changed.is_empty(), "a refused start changed {changed:?}");
    certs::private(&home.kek(), &right);
    let server = home.start();
    assert_eq!(server.connect().say("GET k"), Value::bulk("v"));
}

#[test]
fn a_lost_keyring_is_not_replaced_by_a_new_one() {
    let home = Home::new();
    {
        let server = home.start();
        assert_eq!(server.connect().say("SET k v"), Value::ok());
        server.stop();
    }
    let keyring = home.data().join("keyring");
    let kept = home.path().join("kept");
    std::fs::rename(&keyring, &kept).expect("the keyring is there");
    refuses(&home, &["keyring"]);
    assert!(!keyring.exists(), "a refused start made a keyring");
    std::fs::rename(&kept, &keyring).expect("back");
    let server = home.start();
    assert_eq!(server.connect().say("GET k"), Value::bulk("v"));
}

/// The log's directory is gone, or all it held; a restart that was killed at once missed it just as well.
#[test]
fn a_log_that_is_gone_is_not_replaced_by_an_empty_one() {
    let mut home = Home::new();
    home.shards(2);
    {
        let server = home.start();
        assert_eq!(server.connect().say("SET k v"), Value::ok());
        assert!(!server.connect().say("WAITAOF 1 0 0").is_error());
        server.kill9();
    }
    let (log, kept) = (home.data().join("log"), home.path().join("kept"));
    std::fs::rename(&log, &kept).expect("the log is there");
    let words = ["log", "missing or empty", "keyring", "backup", "by 2 cores"];
    refuses(&home, &words);
    assert!(!log.exists(), "a refused start made a log");
    std::fs::create_dir(&log).expect("made");
    // Another number of shards is no other data.
    home.shards(1);
    refuses(&home, &words);
    // One core's part of it.
    std::fs::remove_dir(&log).expect("still empty");
    std::fs::rename(&kept, &log).expect("back");
    for core in ["00000", "00001"] {
        let is_its = |name: &str| {
            name.starts_with(&format!("{core}."))
                || name.split('-').nth(1).is_some_and(|c| c == core)
        };
        let mut taken = Vec::new();
        for entry in std::fs::read_dir(&log).expect("it is there").flatten() {
            if is_its(&entry.file_name().to_string_lossy()) {
                taken.push((entry.path(), home.path().join(entry.file_name())));
            }
        }
        assert!(taken.len() > 1, "{core}: {taken:?}");
        for (from, to) in &taken {
            std::fs::rename(from, to).expect("moved");
        }
        refuses(&home, &["log of core", "is missing", "backup"]);
        for (from, to) in &taken {
            std::fs::rename(to, from).expect("moved back");
        }
    }
    {
        let server = home.start();
        assert_eq!(server.connect().say("GET k"), Value::bulk("v"));
        server.stop();
    }
    // Given up in the way that the refusal names.
    std::fs::remove_dir_all(&log).expect("removed");
    refuses(&home, &words[..4]);
    let give_up = || {
        let mut command = home.command();
        command.arg("--give-up-log");
        command
    };
    {
        let server = home.try_start_as(give_up()).expect("it starts");
        assert_eq!(server.connect().say("DBSIZE"), Value::Int(0));
        assert_eq!(server.connect().say("SET k w"), Value::ok());
        server.stop();
    }
    // That is no way to begin anew each time.
    check(
        home.refused_as(give_up()),
        &["log", "it is there", "without --give-up-log"],
    );
    assert_eq!(home.start().connect().say("GET k"), Value::bulk("w"));
}

/// Without encryption there is no keyring to tell, but a checkpoint that needs the log behind it.
#[test]
fn a_checkpoint_without_its_log_is_not_passed_over() {
    for encrypted in [true, false] {
        let mut home = Home::new();
        home.set("encryption.enabled", encrypted);
        {
            let server = home.start();
            assert_eq!(server.connect().say("SET k v"), Value::ok());
            assert_eq!(server.connect().say("SAVE"), Value::ok());
            server.stop();
        }
        let (log, kept) = (home.data().join("log"), home.path().join("kept"));
        std::fs::rename(&log, &kept).expect("the log is there");
        if !encrypted {
            refuses(&home, &["log", "missing", "backup"]);
        }
        let mut command = home.command();
        command.arg("--give-up-log");
        check(home.refused_as(command), &["log", "missing", "backup"]);
        let _ = std::fs::remove_dir_all(&log);
        std::fs::rename(&kept, &log).expect("back");
        assert_eq!(home.start().connect().say("GET k"), Value::bulk("v"));
    }
}

#[test]
fn a_port_in_use_is_named_and_never_shared() {
    let home = Home::new();
    {
        let _taken = TcpListener::bind(("127.0.0.1", home.port)).expect("free");
        check(
            launch_and_wait(&home, home.command()),
            &[&home.port.to_string()],
        );
    }
    // Another Ferrite on the port, too: it would let others share it.
    let mut server = home.start();
    let mut second = Home::new();
    second.set("tls.port", home.port);
    check(
        launch_and_wait(&second, second.command()),
        &[&home.port.to_string()],
    );
    server.unharmed();
}

/// For servers whose port another process answers on: waits for the end instead of an answer.
fn launch_and_wait(home: &Home, mut command: Command) -> (std::process::ExitStatus, String) {
    let before = home.log().len();
    let mut child = command.spawn().expect("ferrite runs");
    let status = eventually("the server ends", || {
        child.try_wait().expect("our own child")
    });
    (status, home.log()[before..].to_owned())
}

#[test]
fn a_data_directory_belongs_to_one_process() {
    let home = Home::new();
    let mut server = home.start();
    let mut second = Home::new();
    second.text("server.data_dir", home.data().to_str().expect("UTF-8"));
    // The second has a Kek of its own, too: the lock comes first.
    refuses(&second, &[home.data().to_str().expect("UTF-8")]);
    server.unharmed();
    assert_eq!(server.connect().say("SET k v"), Value::ok());
    server.kill9();
    // The lock went with its process.
    home.start().stop();
}

#[test]
fn a_data_directory_that_cannot_be_is_named() {
    let mut home = Home::new();
    let file = home.path().join("a file");
    std::fs::write(&file, "").expect("write");
    home.text("server.data_dir", file.to_str().expect("UTF-8"));
    refuses(&home, &["a file"]);
}

#[test]
fn unknown_names_in_the_configuration_are_refused_with_the_nearest_known() {
    for (wrong, hint) in [
        ("server.maxclient", "maxclients"),
        ("persistence.apendonly", "appendonly"),
        ("tls.certfile", "cert_file"),
        ("encryption.algoritm", "algorithm"),
        ("persistance.appendonly", "persistence"),
    ] {
        let mut home = Home::new();
        home.set(wrong, 1);
        let name = wrong.rsplit('.').next().expect("a name");
        let shown = if wrong.starts_with("persistance") {
            "persistance"
        } else {
            name
        };
        refuses(&home, &["ferrite.toml", shown, hint]);
    }
}

#[test]
fn values_that_cannot_be_are_refused_with_what_can() {
    for (name, value, hint) in [
        ("persistence.appendfsync", "\"sometimes\"", "everysec"),
        ("persistence.batch_window", "\"soon\"", "batch_window"),
        (
            "persistence.aof_segment_size",
            "\"12 bananas\"",
            "aof_segment_size",
        ),
        ("server.shards", "-1", "shards"),
        ("server.shards", "\"two\"", "shards"),
        ("tls.port", "70000", "port"),
        ("encryption.algorithm", "\"rot13\"", "aes256gcm"),
        ("encryption.provider", "\"envelope\"", "file"),
        ("tls.min_version", "\"1.0\"", "1.2"),
        ("server.bind", "\"not an address\"", "bind"),
    ] {
        let mut home = Home::new();
        home.set(name, value);
        refuses(&home, &["ferrite.toml", hint]);
    }
}

#[test]
fn a_configuration_that_is_not_there_or_not_toml_is_named() {
    let home = Home::new();
    let mut command = Command::new(FERRITE);
    command.args(["--config", "/nowhere/ferrite.toml"]);
    home.dress(&mut command);
    check(home.refused_as(command), &["/nowhere/ferrite.toml"]);

    let path = home.path().join("broken.toml");
    std::fs::write(&path, "[server]\nbind = \n").expect("write");
    let mut command = Command::new(FERRITE);
    command.arg("--config").arg(&path);
    home.dress(&mut command);
    check(home.refused_as(command), &["broken.toml", "2"]);
}

#[test]
fn checking_a_configuration_tells_good_from_bad_and_starts_nothing() {
    let home = Home::new();
    let run = |home: &Home| {
        let output = home
            .command()
            .arg("--check-config")
            .stdout(std::process::Stdio::piped())
            .output()
            .expect("ferrite runs");
        (
            output.status,
            String::from_utf8_lossy(&output.stdout).into_owned(),
        )
    };
    let (status, said) = run(&home);
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(said.contains("good"), "{said}");
    assert!(!home.data().join("keyring").exists(), "a check made files");
    std::fs::remove_file(home.kek()).expect("remove");
    assert!(run(&home).0.code().is_some_and(|c| c != 0));
}

#[test]
fn a_plaintext_port_beyond_loopback_needs_the_word_for_it() {
    let mut home = Home::new();
    home.set("server.port", free_port())
        .text("server.bind", "0.0.0.0");
    refuses(&home, &["allow_plaintext_on_network"]);
    home.set("server.allow_plaintext_on_network", true);
    let server = home.start();
    assert_eq!(server.connect().say("PING").text(), "PONG");
}

#[test]
fn a_plaintext_port_on_loopback_serves_what_the_tls_port_serves() {
    let mut home = Home::new();
    let port = free_port();
    home.set("server.port", port).shards(2);
    let server = home.start();
    assert_eq!(server.connect().say("SET k v"), Value::ok());
    assert_eq!(
        Wire::plain(port).expect("open").say("GET k"),
        Value::bulk("v")
    );
}

#[test]
fn no_plaintext_port_unless_asked_for() {
    let home = Home::new();
    let server = home.start();
    let mut ports = listening(server.pid());
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports, [home.port], "ports that the server listens on");
}

/// TCP ports on which a process listens, from its sockets and the kernel's table.
fn listening(pid: u32) -> Vec<u16> {
    let inodes: Vec<String> = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .expect("a live process")
        .flatten()
        .filter_map(|e| std::fs::read_link(e.path()).ok())
        .filter_map(|l| {
            l.to_str()?
                .strip_prefix("socket:[")?
                .strip_suffix(']')
                .map(str::to_owned)
        })
        .collect();
    let mut ports = Vec::new();
    for table in ["tcp", "tcp6"] {
        let text = std::fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
        for line in text.lines().skip(1) {
            let words: Vec<&str> = line.split_whitespace().collect();
            // State 0A is LISTEN.
            if words[3] == "0A" && inodes.iter().any(|i| i == words[9]) {
                let port = words[1].rsplit(':').next().expect("an address");
                ports.push(u16::from_str_radix(port, 16).expect("hex"));
            }
        }
    }
    ports
}

#[test]
fn too_little_lockable_memory_is_named_with_the_limit_to_raise() {
    let home = Home::new();
    let mut command = home.command();
    let lower = || {
        let limit = libc::rlimit {
            rlim_cur: 65536,
            rlim_max: 65536,
        };
        // SAFETY: setrlimit reads one struct that outlives the call; it is async-signal-safe.
        match unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &limit) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    // SAFETY: the closure makes one system call between fork and exec.
    unsafe { command.pre_exec(lower) };
    let (status, said) = home.refused_as(command);
    assert!(status.code().is_some_and(|c| c != 0), "{status}");
    let lower = said.to_lowercase();
    assert!(lower.contains("memlock") && said.contains("512"), "{said}");
    assert!(!said.contains("panicked"), "{said}");
}

#[test]
fn io_uring_that_is_forbidden_is_named() {
    let home = Home::new();
    let mut command = home.command();
    // SAFETY: the closure makes system calls only, between fork and exec.
    unsafe { command.pre_exec(forbid_io_uring) };
    let (status, said) = home.refused_as(command);
    assert!(status.code().is_some_and(|c| c != 0), "{status}");
    assert!(said.contains("io_uring"), "{said}");
    assert!(!said.contains("panicked"), "{said}");
}

/// A seccomp filter that answers EPERM to io_uring_setup, as container runtimes do.
fn forbid_io_uring() -> io::Result<()> {
    let statement = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    let filter = [
        // The system call's number is the first word of seccomp_data.
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        statement(
            libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
            0,
            1,
            libc::SYS_io_uring_setup as u32,
        ),
        statement(
            libc::BPF_RET | libc::BPF_K,
            0,
            0,
            libc::SECCOMP_RET_ERRNO | libc::EPERM as u32,
        ),
        statement(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_ptr().cast_mut(),
    };
    // SAFETY: plain integers, and a program that outlives the call.
    let refused = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
            || libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program) != 0
    };
    if refused {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

#[test]
fn encryption_that_is_off_is_shouted() {
    let mut home = Home::new();
    home.set("encryption.enabled", false);
    let server = home.start();
    let log = home.log();
    let shout = log
        .lines()
        .find(|l| l.contains("WARN") && l.to_lowercase().contains("encrypt"));
    assert!(shout.is_some(), "{log}");
    drop(server);
}

#[test]
fn with_no_configuration_it_makes_its_own_and_listens_on_loopback_only() {
    let home = Home::new();
    let data = home.path().join("fresh");
    let mut command = Command::new(FERRITE);
    command
        .arg("--data-dir")
        .arg(&data)
        .args(["--port", &home.port.to_string(), "--shards", "1"]);
    home.dress(&mut command);
    let mut child = command.spawn().expect("ferrite runs");
    let ca = data.join("dev/ca.crt");
    let mut wire = eventually("a development server answers", || {
        if let Some(status) = child.try_wait().expect("our own child") {
            panic!("ended ({status}):\n{}", home.log());
        }
        let pem = std::fs::read(&ca).ok()?;
        let mut roots = rustls::RootCertStore::empty();
        use rustls::pki_types::pem::PemObject;
        roots
            .add(rustls::pki_types::CertificateDer::from_pem_slice(&pem).ok()?)
            .ok()?;
        let config = rustls::ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Wire::tls(home.port, &std::sync::Arc::new(config)).ok()
    });
    assert_eq!(wire.say("SET k v"), Value::ok());
    for (path, content) in crate::common::files_below(&data) {
        let mode = std::fs::metadata(&path)
            .expect("a file")
            .permissions()
            .mode();
        let secret = path.extension().is_some_and(|e| e == "key") || path.ends_with("kek");
        assert!(
            !secret || mode & 0o077 == 0,
            "{} has mode {mode:o}",
            path.display()
        );
        assert!(
            secret || !String::from_utf8_lossy(&content).contains("PRIVATE KEY"),
            "{}",
            path.display()
        );
    }
    let text =
        std::fs::read_to_string(format!("/proc/{}/net/tcp", child.id())).expect("a live process");
    let port = format!(":{:04X}", home.port);
    let ours: Vec<&str> = text
        .lines()
        .filter(|l| {
            l.split_whitespace()
                .nth(1)
                .is_some_and(|a| a.ends_with(&port))
                && l.contains(" 0A ")
        })
        .collect();
    assert!(
        !ours.is_empty() && ours.iter().all(|l| l.contains("0100007F:")),
        "{ours:?}"
    );
    child.kill().expect("our own child");
    child.wait().expect("our own child");
}
