//! Commands about the server as a whole answer for all cores, in the forms that Redis's clients read.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::common::eventually;
use crate::common::server::{Home, free_port};
use crate::common::wire::{Value, Wire};

/// Runs a test on one core and on two.
fn on_one_and_two_cores(test: impl Fn(&Home)) {
    for shards in [1, 2] {
        let mut home = Home::new();
        home.shards(shards);
        test(&home);
    }
}

fn error(reply: Value) -> String {
    match reply {
        Value::Error(text) => text,
        other => panic!("not an error: {other:?}"),
    }
}

fn clients(wire: &mut Wire, command: &str) -> Vec<String> {
    wire.say(command)
        .text()
        .lines()
        .map(str::to_owned)
        .collect()
}

fn field(line: &str, name: &str) -> String {
    let start = format!("{name}=");
    let found = line.split(' ').find_map(|f| f.strip_prefix(&start));
    found
        .unwrap_or_else(|| panic!("no {name} in {line}"))
        .to_owned()
}

#[test]
fn client_list_shows_every_cores_clients_by_number() {
    on_one_and_two_cores(|home| {
        let server = home.start();
        let mut others: Vec<Wire> = (0..8).map(|_| server.connect()).collect();
        for (n, other) in others.iter_mut().enumerate() {
            assert_eq!(other.say(&format!("CLIENT SETNAME other{n}")), Value::ok());
        }
        let mut wire = server.connect();
        let me = wire.say("CLIENT ID").int().to_string();
        let lines = eventually("nine clients", || {
            let lines = clients(&mut wire, "CLIENT LIST");
            (lines.len() == 9).then_some(lines)
        });
        let ids: Vec<u64> = lines
            .iter()
            .map(|l| field(l, "id").parse().expect("a number"))
            .collect();
        assert!(ids.is_sorted(), "{ids:?}");
        for n in 0..8 {
            assert!(
                lines
                    .iter()
                    .any(|l| field(l, "name") == format!("other{n}"))
            );
        }
        let mine = lines
            .iter()
            .find(|l| field(l, "id") == me)
            .expect("this client");
        assert_eq!(field(mine, "cmd"), "client|list");
        let only = clients(&mut wire, &format!("CLIENT LIST ID {me} 0"));
        assert_eq!(only.len(), 1);
        assert_eq!(field(&only[0], "addr"), field(mine, "addr"));
        assert_eq!(clients(&mut wire, "CLIENT LIST TYPE pubsub"), [""; 0]);
        let info = wire.say("CLIENT INFO").text();
        assert!(
            info.starts_with(&format!("id={me} ")) && info.ends_with('\n'),
            "{info}"
        );
    });
}

#[test]
fn client_kill_counts_and_closes_on_every_core() {
    on_one_and_two_cores(|home| {
        let server = home.start();
        let mut others: Vec<Wire> = (0..6).map(|_| server.connect()).collect();
        let addrs: Vec<String> = others
            .iter_mut()
            .map(|o| field(&o.say("CLIENT INFO").text(), "addr"))
            .collect();
        let mut wire = server.connect();
        // The connection that saw the server start may linger for a moment.
        eventually("seven clients", || {
            (clients(&mut wire, "CLIENT LIST").len() == 7).then_some(())
        });
        assert_eq!(wire.say(&format!("CLIENT KILL {}", addrs[0])), Value::ok());
        assert_eq!(
            error(wire.say(&format!("CLIENT KILL {}", addrs[0]))),
            "ERR No such client"
        );
        assert!(others[0].until_closed().is_empty());
        assert_eq!(
            wire.say(&format!("CLIENT KILL ADDR {}", addrs[1])),
            Value::Int(1)
        );
        assert_eq!(
            wire.say(&format!("CLIENT KILL ADDR {} TYPE pubsub", addrs[2])),
            Value::Int(0)
        );
        assert_eq!(wire.say("CLIENT KILL TYPE normal"), Value::Int(4));
        assert_eq!(wire.say("PING").text(), "PONG");
        // Whoever kills itself still hears the count.
        assert_eq!(wire.say("CLIENT KILL TYPE normal SKIPME no"), Value::Int(1));
        assert!(wire.until_closed().is_empty());
    });
}

#[test]
fn config_set_is_in_force_on_every_core_and_all_or_nothing() {
    on_one_and_two_cores(|home| {
        let server = home.start();
        let mut wires: Vec<Wire> = (0..6).map(|_| server.connect()).collect();
        assert_eq!(
            wires[0].say("CONFIG SET maxmemory 100mb slowlog-max-len 7"),
            Value::ok()
        );
        for wire in &mut wires {
            let got = wire.say("CONFIG GET maxmemory slowlog-max-l*");
            let text: Vec<String> = got.items().iter().map(Value::text).collect();
            assert_eq!(text, ["maxmemory", "104857600", "slowlog-max-len", "7"]);
        }
        for (line, said) in [
            ("CONFIG SET maxmemory 1 nonsense 2", "Unknown option"),
            ("CONFIG SET maxmemory 1 maxmemory 2", "duplicate parameter"),
            ("CONFIG SET maxmemory 1 maxclients x", "'maxclients'"),
            ("CONFIG SET tls.port 1", "can't set immutable config"),
            ("CONFIG SET maxmemory 1 maxclients", "syntax error"),
            ("CONFIG SET maxmemory-policy allkeys-lru5", "allkeys-lru"),
        ] {
            let error = error(wires[1].say(line));
            assert!(
                error.starts_with("ERR ") && error.contains(said),
                "{line}: {error}"
            );
        }
        let got = wires[2].say("CONFIG GET storage.maxmemory");
        assert_eq!(got.items()[1].text(), "100MiB");
        // The password itself is never shown, and applies to whoever comes from now on.
        assert_eq!(
            wires[3].say("CONFIG SET requirepass swordfish"),
            Value::ok()
        );
        assert_eq!(
            wires[4].say("CONFIG GET requirepass").items()[1].text(),
            "(hidden)"
        );
        for _ in 0..4 {
            assert!(error(server.connect().say("GET x")).starts_with("NOAUTH"));
        }
        assert!(!home.log().contains("swordfish"));
    });
}

#[test]
fn maxmemory_refuses_writes_and_lets_reads_go_on() {
    on_one_and_two_cores(|home| {
        let server = home.start();
        let mut wire = server.connect();
        wire.say("SET kept 1");
        assert_eq!(wire.say("CONFIG SET maxmemory 1mb"), Value::ok());
        assert!(error(wire.say("SET more 1")).starts_with("OOM "));
        assert_eq!(wire.say("GET kept").text(), "1");
        assert_eq!(wire.say("CONFIG SET maxmemory 0"), Value::ok());
        assert_eq!(wire.say("SET more 1"), Value::ok());
    });
}

#[test]
fn config_rewrite_changes_the_file_that_the_next_start_reads() {
    let home = Home::new();
    let server = home.start();
    let mut wire = server.connect();
    wire.say("CONFIG SET maxclients 123");
    assert_eq!(wire.say("CONFIG REWRITE"), Value::ok());
    let text = std::fs::read_to_string(home.path().join("ferrite.toml")).expect("the file");
    assert!(text.contains("maxclients = 123"), "{text}");
}

#[test]
fn info_adds_the_cores_up() {
    on_one_and_two_cores(|home| {
        let server = home.start();
        let mut wires: Vec<Wire> = (0..4).map(|_| server.connect()).collect();
        for n in 0..40 {
            let wire = &mut wires[n % 4];
            assert_eq!(wire.say(&format!("SET key{n} v EX 1000")), Value::ok());
            assert_eq!(wire.say(&format!("GET key{n}")).text(), "v");
        }
        wires[0].say("GET absent");
        wires[1].say("nonsense");
        let wire = &mut wires[2];
        assert!(
            wire.figure("keyspace", "db0")
                .starts_with("keys=40,expires=40,avg_ttl=")
        );
        assert_eq!(wire.figure("stats", "keyspace_hits"), "40");
        assert_eq!(wire.figure("stats", "keyspace_misses"), "1");
        assert!(
            wire.figure("commandstats", "cmdstat_set")
                .starts_with("calls=40,")
        );
        assert!(
            wire.figure("commandstats", "cmdstat_get")
                .starts_with("calls=41,")
        );
        assert_eq!(wire.figure("errorstats", "errorstat_ERR"), "count=1");
        assert!(
            wire.figure("latencystats", "latency_percentiles_usec_get")
                .starts_with("p50=")
        );
        assert_eq!(
            wire.figure("server", "process_id"),
            server.pid().to_string()
        );
        eventually("four clients", || {
            (wire.figure("clients", "connected_clients") == "4").then_some(())
        });
        assert_eq!(wire.figure("persistence", "aof_enabled"), "1");
        assert_eq!(
            wire.figure("persistence", "rdb_changes_since_last_save"),
            "40"
        );
        assert_eq!(wire.figure("tls", "tls_enabled"), "yes");
        let used: u64 = wire.figure("memory", "used_memory").parse().expect("bytes");
        let dataset: u64 = wire
            .figure("memory", "used_memory_dataset")
            .parse()
            .expect("bytes");
        assert!(dataset > 0 && dataset < used);
        let figure = |wire: &mut Wire, section, name| -> f64 {
            wire.figure(section, name).parse().expect("a number")
        };
        // Each of the 80 requests was waited for, so each was a read and a write of its own.
        assert!(figure(wire, "stats", "total_reads_processed") >= 82.0);
        assert!(figure(wire, "stats", "total_writes_processed") >= 82.0);
        let cores = figure(wire, "cpu", "used_cpu_user_main_thread")
            + figure(wire, "cpu", "used_cpu_sys_main_thread");
        let process = figure(wire, "cpu", "used_cpu_user") + figure(wire, "cpu", "used_cpu_sys");
        assert!(cores > 0.0 && cores <= process, "{cores} of {process}");
        assert_eq!(wire.say("CONFIG RESETSTAT"), Value::ok());
        assert_eq!(wire.figure("stats", "keyspace_hits"), "0");
        assert!(figure(wire, "stats", "total_reads_processed") <= 2.0);
        assert!(
            wire.info("commandstats")
                .iter()
                .all(|(name, _)| name != "cmdstat_set")
        );
    });
}

#[test]
fn info_encryption_and_encryption_status_tell_what_is_sealed_and_how() {
    on_one_and_two_cores(|home| {
        let server = home.start();
        let mut wire = server.connect();
        let shards = wire.figure("server", "shards");
        assert_eq!(wire.figure("encryption", "enabled"), "true");
        assert_eq!(wire.figure("encryption", "algorithm"), "aes256gcm");
        assert_eq!(wire.figure("encryption", "provider"), "file");
        // One for each core's log, one for its checkpoints.
        let deks = 2 * shards.parse::<usize>().expect("a number");
        assert_eq!(wire.figure("encryption", "active_deks"), deks.to_string());
        assert_eq!(wire.figure("encryption", "failures"), "0");
        let accelerated = wire.figure("encryption", "hardware_acceleration");
        for core in 0..shards.parse().expect("a number") {
            let line = wire.figure("encryption", &format!("core{core}"));
            for name in [
                "aes_ni=",
                ",vaes=",
                ",avx512=",
                ",pclmul=",
                ",backend=",
                ",gbps_256=",
                ",gbps_4096=",
                ",gbps_65536=",
            ] {
                assert!(line.contains(name), "{name} in {line}");
            }
        }
        let before: u64 = wire
            .figure("encryption", "sealed_bytes")
            .parse()
            .expect("bytes");
        wire.call(&["SET", "key", &"v".repeat(100_000)]);
        eventually("the value sealed", || {
            let after: u64 = wire
                .figure("encryption", "sealed_bytes")
                .parse()
                .expect("bytes");
            (after >= before + 100_000).then_some(())
        });
        let status = wire.say("ENCRYPTION STATUS").text();
        for line in [
            "enabled: true",
            &format!("active_deks: {deks}"),
            &format!("hardware_acceleration: {accelerated}"),
            "rotation_progress: 100%, keys_rotated: 0",
        ] {
            assert!(status.lines().any(|l| l == line), "{line} in {status}");
        }
    });
}

#[test]
fn what_recovery_opened_and_every_dek_has_sealed_is_told_after_a_restart() {
    on_one_and_two_cores(|home| {
        let mut server = home.start();
        let mut wire = server.connect();
        for n in 0..100 {
            wire.say(&format!("SET key{n} {}", "v".repeat(1000)));
        }
        server.stop();
        drop(wire);
        server = home.start();
        let mut wire = server.connect();
        let shards: usize = wire.figure("server", "shards").parse().expect("a number");
        for n in 0..shards {
            let core = wire.figure("encryption", &format!("core{n}"));
            let opened: u64 = field_of(&core, "opened_bytes").parse().expect("bytes");
            assert!(opened > 20_000, "{core}");
        }
        let deks = (0..2 * shards).map(|n| wire.figure("encryption", &format!("dek{n}")));
        let of_logs: Vec<String> = deks.filter(|dek| dek.contains("purpose=aof")).collect();
        assert_eq!(of_logs.len(), shards);
        for dek in of_logs {
            let sealed: u64 = field_of(&dek, "sealed_bytes").parse().expect("bytes");
            assert!(sealed > 20_000, "{dek}");
        }
    });
}

/// A field of a line of `name=value` with commas between.
fn field_of<'l>(line: &'l str, name: &str) -> &'l str {
    let mut fields = line.split(',').filter_map(|f| f.split_once('='));
    let found = fields.find(|(n, _)| *n == name);
    found.unwrap_or_else(|| panic!("no {name} in {line}")).1
}

#[test]
fn client_no_touch_leaves_the_time_of_access_as_it_is() {
    on_one_and_two_cores(|home| {
        let server = home.start();
        let mut wires: Vec<Wire> = (0..6).map(|_| server.connect()).collect();
        let mut wire = server.connect();
        for n in 0..6 {
            wire.say(&format!("SET key{n} v"));
        }
        eventually("keys that idle", || {
            let idle = wire.say("OBJECT IDLETIME key0").int();
            (idle >= 2).then_some(())
        });
        for wire in &mut wires {
            assert_eq!(wire.say("CLIENT NO-TOUCH ON"), Value::ok());
            for n in 0..6 {
                assert_eq!(wire.say(&format!("GET key{n}")), Value::bulk("v"));
            }
            assert_eq!(wire.say("MGET key1 key2 key3").items().len(), 3);
        }
        for n in 0..6 {
            let idle = wire.say(&format!("OBJECT IDLETIME key{n}")).int();
            assert!(idle >= 1, "key{n} idles for {idle}");
        }
        assert_eq!(wires[0].say("TOUCH key0"), Value::Int(1));
        assert_eq!(wire.say("OBJECT IDLETIME key0"), Value::Int(0));
        wires[1].say("CLIENT NO-TOUCH OFF");
        wires[1].say("GET key1");
        assert_eq!(wire.say("OBJECT IDLETIME key1"), Value::Int(0));
    });
}

#[test]
fn slowlog_merges_the_cores_newest_first() {
    on_one_and_two_cores(|home| {
        let server = home.start();
        let mut wire = server.connect();
        assert_eq!(
            wire.say("CONFIG SET slowlog-log-slower-than 0 slowlog-max-len 20"),
            Value::ok()
        );
        assert_eq!(wire.say("CLIENT SETNAME me"), Value::ok());
        for n in 0..30 {
            wire.say(&format!("SET key{n} v"));
        }
        assert_eq!(wire.say("SLOWLOG LEN"), Value::Int(20));
        let got = wire.say("SLOWLOG GET 13");
        // The question for the length was the last.
        let entries = &got.items()[1..];
        assert_eq!(entries.len(), 12);
        for (n, entry) in entries.iter().enumerate() {
            let entry = entry.items();
            assert_eq!(entry.len(), 6);
            assert_eq!(entry[3].items()[1].text(), format!("key{}", 29 - n));
            // Whichever core executed it, the client is known.
            assert!(entry[4].text().starts_with("127.0.0.1:"), "{entry:?}");
            assert_eq!(entry[5].text(), "me");
        }
        assert_eq!(wire.say("SLOWLOG GET -1").items().len(), 20);
        assert_eq!(wire.say("SLOWLOG RESET"), Value::ok());
        wire.say("CONFIG SET slowlog-log-slower-than -1");
        assert_eq!(wire.say("SLOWLOG RESET"), Value::ok());
        wire.say("SET key v");
        assert_eq!(wire.say("SLOWLOG LEN"), Value::Int(0));
    });
}

#[test]
fn latency_histograms_count_every_call() {
    on_one_and_two_cores(|home| {
        let server = home.start();
        let mut wire = server.connect();
        for n in 0..50 {
            wire.say(&format!("SET key{n} v"));
        }
        wire.say("HELLO 3");
        let Value::Map(all) = wire.say("LATENCY HISTOGRAM set nonsense") else {
            panic!("no map")
        };
        let [(name, Value::Map(set))] = all.as_slice() else {
            panic!("{all:?}")
        };
        assert_eq!(name.text(), "set");
        assert_eq!((set[0].0.text().as_str(), set[0].1.int()), ("calls", 50));
        let Value::Map(steps) = &set[1].1 else {
            panic!("no steps")
        };
        assert_eq!(steps.last().map(|(_, calls)| calls.int()), Some(50));
        assert!(steps.iter().map(|(us, _)| us.int()).is_sorted());
        assert_eq!(wire.say("LATENCY LATEST").items().len(), 0);
        assert_eq!(wire.say("LATENCY RESET"), Value::Int(0));
    });
}

#[test]
fn debug_sleep_lets_only_the_one_that_asks_wait() {
    let home = Home::new();
    let server = home.start();
    let (mut sleeper, mut other) = (server.connect(), server.connect());
    let began = Instant::now();
    sleeper.ask(&["DEBUG", "SLEEP", "0.5"]).expect("sent");
    sleeper.ask(&["PING"]).expect("sent");
    assert_eq!(other.say("PING").text(), "PONG");
    assert_eq!(sleeper.reply().expect("a reply"), Value::ok());
    assert!(began.elapsed() >= Duration::from_millis(490));
    assert_eq!(sleeper.reply().expect("a reply").text(), "PONG");
}

#[test]
fn debug_object_finds_the_key_on_whatever_core() {
    on_one_and_two_cores(|home| {
        let server = home.start();
        let mut wire = server.connect();
        for (key, value, encoding) in [
            ("a", "1", "int"),
            ("b", "short", "embstr"),
            ("c", &"x".repeat(100), "raw"),
        ] {
            wire.call(&["SET", key, value]);
            let said = wire.say(&format!("DEBUG OBJECT {key}")).text();
            assert!(
                said.contains(&format!(
                    "encoding:{encoding} serializedlength:{}",
                    value.len()
                )),
                "{said}"
            );
        }
        assert_eq!(error(wire.say("DEBUG OBJECT none")), "ERR no such key");
        wire.say("DEBUG SET-ACTIVE-EXPIRE 0");
        wire.say("SET gone v PX 1");
        wire.say("DEBUG SLEEP 0.3");
        assert_eq!(wire.say("DBSIZE"), Value::Int(4));
        assert_eq!(wire.say("GET gone"), Value::Null);
        wire.say("SET gone v PX 1");
        wire.say("DEBUG SET-ACTIVE-EXPIRE 1");
        eventually("the key removed", || {
            (wire.say("DBSIZE") == Value::Int(3)).then_some(())
        });
    });
}

#[test]
fn shutdown_ends_the_server_with_everything_on_the_disk() {
    on_one_and_two_cores(|home| {
        let mut server = home.start();
        let mut wire = server.connect();
        wire.say("SET key kept");
        assert_eq!(
            error(wire.say("SHUTDOWN ABORT")),
            "ERR No shutdown in progress."
        );
        assert_eq!(error(wire.say("SHUTDOWN nonsense")), "ERR syntax error");
        wire.ask(&["SHUTDOWN", "NOSAVE"]).expect("sent");
        assert!(wire.until_closed().is_empty());
        assert_eq!(server.wait().code(), Some(0), "{}", home.log());
        drop(server);
        assert_eq!(home.start().connect().say("GET key").text(), "kept");
    });
}

#[test]
fn what_asks_every_core_is_refused_in_a_transaction_and_the_rest_runs() {
    let home = Home::new();
    let server = home.start();
    let mut wire = server.connect();
    wire.say("MULTI");
    assert!(error(wire.say("INFO")).contains("concerns every core"));
    assert!(error(wire.say("EXEC")).starts_with("EXECABORT"));
    wire.say("MULTI");
    for line in ["CONFIG GET maxclients", "CLIENT INFO", "ROLE", "WAIT 0 0"] {
        assert_eq!(wire.say(line).text(), "QUEUED", "{line}");
    }
    assert_eq!(wire.say("EXEC").items().len(), 4);
}

#[test]
fn replies_that_come_late_are_silent_when_replies_are_off() {
    let mut home = Home::new();
    home.shards(2);
    let server = home.start();
    let mut wire = server.connect();
    wire.ask(&["CLIENT", "REPLY", "OFF"]).expect("sent");
    wire.ask(&["INFO"]).expect("sent");
    wire.ask(&["MSET", "a", "1", "b", "2", "c", "3", "d", "4"])
        .expect("sent");
    wire.ask(&["DEBUG", "SLEEP", "0.01"]).expect("sent");
    wire.ask(&["CLIENT", "REPLY", "ON"]).expect("sent");
    assert_eq!(wire.reply().expect("a reply"), Value::ok());
    wire.ask(&["CLIENT", "REPLY", "SKIP"]).expect("sent");
    wire.ask(&["SLOWLOG", "LEN"]).expect("sent");
    assert_eq!(wire.say("PING").text(), "PONG");
}

/// One request over a stream; the whole response, empty where the peer would not even listen.
fn get(mut stream: impl Read + Write, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    if stream.write_all(request.as_bytes()).is_err() {
        return String::new();
    }
    let mut response = Vec::new();
    // A peer that closes without a TLS good-bye has still said what it had to say.
    let _ = stream.read_to_end(&mut response);
    String::from_utf8(response).expect("text")
}

#[test]
fn the_metrics_page_tells_the_cores_figures_over_tls() {
    let mut home = Home::new();
    let port = free_port();
    home.shards(2).set("metrics.port", port);
    let server = home.start();
    let mut wire = server.connect();
    for n in 0..20 {
        wire.say(&format!("SET key{n} v"));
    }
    let socket = || std::net::TcpStream::connect(("127.0.0.1", port)).expect("connected");
    let tls = |path: &str| {
        let name = rustls::pki_types::ServerName::try_from("localhost").expect("a name");
        let session =
            rustls::ClientConnection::new(Arc::clone(home.client()), name).expect("a session");
        get(rustls::StreamOwned::new(session, socket()), path)
    };
    let page = tls("/metrics");
    assert!(page.starts_with("HTTP/1.1 200 "), "{page}");
    assert!(
        page.contains("content-type: text/plain; version=0.0.4"),
        "{page}"
    );
    for line in [
        "ferrite_commands_total{command=\"set\"} 20",
        "ferrite_keys{db=\"0\"} 20",
        "ferrite_encryption_enabled 1",
        "ferrite_deks{state=\"active\"} 4",
        "ferrite_log_writable 1",
    ] {
        assert!(page.lines().any(|l| l == line), "{line} in {page}");
    }
    assert!(tls("/").starts_with("HTTP/1.1 404 "));
    // In the clear there is no page.
    assert!(!get(socket(), "/metrics").contains("ferrite_"));
    drop(wire);
    server.stop();
}

#[test]
fn the_metrics_page_may_be_served_in_the_clear_on_loopback_and_a_taken_port_is_named() {
    let mut home = Home::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("an address").port();
    home.set("metrics.port", port).set("metrics.tls", false);
    let (status, said) = home.refused();
    assert_eq!(status.code(), Some(1));
    assert!(
        said.contains("metrics port") && said.contains(&port.to_string()),
        "{said}"
    );
    drop(taken);
    let port = free_port();
    home.set("metrics.port", port);
    let _server = home.start();
    let socket = std::net::TcpStream::connect(("127.0.0.1", port)).expect("connected");
    assert!(get(socket, "/metrics").contains("ferrite_build_info{"));
}
