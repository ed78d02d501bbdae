use super::*;

/// Settings that could be served.
fn good() -> Settings {
    Settings::from_toml(
        "[tls]\ncert_file = \"c\"\nkey_file = \"k\"\n[encryption]\nkey_file = \"kek\"\n",
    )
    .unwrap()
}

fn troubles(text: &str) -> String {
    Settings::from_toml(text).unwrap_err().to_string()
}

#[test]
fn every_default_reads_and_is_written_as_it_is_read() {
    let s = Settings::default();
    for row in ROWS {
        let mut t = s.clone();
        row.read(&mut t, &(row.ours)(&s)).unwrap();
        assert!(s == t, "{} does not come back in our form", row.path);
        row.read(&mut t, &(row.redis)(&s)).unwrap();
        assert!(s == t, "{} does not come back in Redis's form", row.path);
    }
}

#[test]
fn no_name_stands_twice() {
    let mut names: Vec<&str> = ROWS
        .iter()
        .map(|r| r.path)
        .chain(ROWS.iter().filter_map(|r| r.alias))
        .collect();
    names.extend(LATER.iter().map(|l| l.path));
    names.extend(FACTS.iter().map(|f| f.0));
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn an_unknown_name_is_refused_with_the_nearest() {
    let said = troubles("[persistence]\nappendfsnyc = \"always\"\n");
    assert_eq!(
        said,
        "line 2: persistence.appendfsnyc: there is no such setting; did you mean persistence.appendfsync?"
    );
    assert!(
        troubles("[server]\nappendonly = true\n").contains("did you mean persistence.appendonly?")
    );
    assert!(troubles("maxmemory = 5\n").contains("did you mean storage.maxmemory?"));
    assert_eq!(
        troubles("[srever]\nport = 1\n"),
        "line 1: srever: there is no such section; did you mean server?"
    );
    assert!(troubles("[server]\nzzzzqqqq = 1\n").ends_with("no such setting"));
}

#[test]
fn every_trouble_is_named_with_its_line() {
    let said = troubles(
        "[server]\nport = 99999\nbind = \"nowhere\"\ntimeout = 1.5\n[tls]\nenabled = \"perhaps\"\n",
    );
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 4, "{said}");
    for (line, start) in lines.iter().zip([
        "line 2: server.port must",
        "line 3: server.bind",
        "line 4: server.timeout",
        "line 6: tls.enabled",
    ]) {
        assert!(line.starts_with(start), "{line}");
    }
    assert!(troubles("[server\n").starts_with("line 1: not TOML"));
    assert!(troubles("[server]\nport = 1\nport = 2\n").contains("line 3"));
    assert!(troubles("server = 5\n").contains("write [server]"));
    assert!(troubles("[server.port]\nx = 1\n").contains("server.port must be a value"));
}

#[test]
fn later_features_can_be_switched_off_and_not_on() {
    for on in [
        "[tls]\nearly_data = true",
        "[tls]\ncrl_file = \"x\"",
        "[tls.acme]\ndomains = [\"a\"]",
        "[storage.warm]\nenabled = true",
        "[storage.cold]\npath = \"x\"",
        "[encryption]\nprovider = \"vault\"",
        "[encryption.vault]\naddress = \"x\"",
        "[encryption]\nencrypt_rdb = false",
        "[encryption]\nnew_key_file = \"x\"",
        "[encryption.rotation]\nrate = 1",
        "[[tenant]]\nname = \"x\"",
        "[audit]\nenabled = true",
        "[audit]\nenabled = \"false\"",
        "[cluster]\nenabled = true",
    ] {
        assert!(
            troubles(on).contains("not available in this version"),
            "{on}: {}",
            troubles(on)
        );
    }
    for off in [
        "[tls]\nearly_data = false\ncrl_file = \"\"\nclient_cert_user = \"off\"\n[tls.acme]",
        "[storage.warm]\nenabled = false\npath = \"x\"\n[storage.cold]\nenabled = false",
        "[encryption]\nencrypt_rdb = true\nencrypt_checkpoints = true\nnew_key_file = \"\"",
        "[audit]\nenabled = false\n[replication]\n[cluster]\nenabled = false",
    ] {
        assert_eq!(Settings::from_toml(off), Ok(Settings::default()), "{off}");
    }
}

#[test]
fn contradictions_are_named() {
    let with = |change: fn(&mut Settings)| {
        let mut s = good();
        assert_eq!(s.check(), []);
        change(&mut s);
        s.check().iter().map(|c| c.setting).collect::<Vec<_>>()
    };
    assert_eq!(
        with(|s| (s.server.port, s.server.bind) = (6379, vec!["10.0.0.1".parse().unwrap()])),
        ["server.port"]
    );
    assert_eq!(
        with(|s| {
            (s.server.port, s.server.bind) = (6379, vec!["10.0.0.1".parse().unwrap()]);
            s.server.allow_plaintext_on_network = true;
        }),
        [""; 0]
    );
    assert_eq!(with(|s| s.server.port = 6379), [""; 0]);
    assert_eq!(with(|s| s.server.port = 6380), ["tls.port"]);
    assert_eq!(with(|s| s.metrics.port = 6380), ["metrics.port"]);
    assert_eq!(
        with(|s| (s.metrics.port, s.metrics.tls, s.metrics.bind) =
            (9, false, vec!["::".parse().unwrap()])),
        ["metrics.tls"]
    );
    assert_eq!(with(|s| s.tls.enabled = false), ["tls.enabled"]);
    assert_eq!(with(|s| s.tls.cert_file = None), ["tls.cert_file"]);
    assert_eq!(with(|s| s.tls.key_file = None), ["tls.key_file"]);
    assert_eq!(with(|s| s.tls.require_client_cert = true), ["tls.ca_file"]);
    assert_eq!(
        with(|s| s.encryption.key_file = None),
        ["encryption.key_file"]
    );
    assert_eq!(
        with(|s| s.encryption_file.key_file = Some("other".into())),
        ["encryption.key_file"]
    );
    assert_eq!(
        with(|s| (s.server.shards, s.server.cpus) = (3, vec![0, 1])),
        ["server.shards"]
    );
    assert_eq!(
        with(|s| s.persistence.aof_segment_size += 1),
        ["persistence.aof_segment_size"]
    );
    assert_eq!(
        with(|s| s.server.client_output_buffer_limit.normal.hard = 1),
        ["server.client_output_buffer_limit"]
    );
}

#[test]
fn plaintext_anywhere_is_said_aloud() {
    assert_eq!(good().warnings(), [""; 0]);
    let mut s = good();
    s.encryption.encrypt_aof = false;
    s.server.port = 6379;
    let said = s.warnings().join("\n");
    assert!(
        said.contains("6379") && said.contains("encryption.encrypt_aof"),
        "{said}"
    );
}

#[test]
fn config_get_knows_both_names_and_hides_secrets() {
    let mut s = good();
    s.set("requirepass", "hunter2").unwrap();
    assert_eq!(
        s.get_matching("maxmemory"),
        [("maxmemory".into(), "0".into())]
    );
    assert_eq!(
        s.get_matching("APPENDONLY"),
        [("APPENDONLY".into(), "yes".into())]
    );
    assert_eq!(
        s.get_matching("persistence.appendonly"),
        [("persistence.appendonly".into(), "true".into())]
    );
    assert_eq!(s.get_matching("tls-*").len(), 8);
    assert_eq!(s.get_matching("encryption.*").len(), 7);
    assert_eq!(s.get_matching("save"), [("save".into(), "".into())]);
    assert_eq!(
        s.get_matching("requirepass"),
        [("requirepass".into(), "(hidden)".into())]
    );
    assert!(s.get_matching("nothing").is_empty());
    for pattern in ["*", "*.*"] {
        assert!(!format!("{:?}", s.get_matching(pattern)).contains("hunter2"));
        assert!(s.get_matching(pattern).len() >= 40);
    }
    assert!(!format!("{s:?}").contains("hunter2"));
}

#[test]
fn config_set_changes_all_or_nothing() {
    let mut s = good();
    s.set_all(&[
        ("maxmemory", "100mb"),
        ("persistence.appendfsync", "always"),
        ("save", ""),
    ])
    .unwrap();
    assert_eq!(
        (s.storage.maxmemory, s.persistence.appendfsync),
        (100 << 20, Fsync::Always)
    );
    let before = s.clone();
    for (pairs, said) in [
        (
            &[("maxclients", "5"), ("port", "1")][..],
            "can't set immutable config",
        ),
        (
            &[("maxclients", "5"), ("maxclients", "6")],
            "duplicate parameter",
        ),
        (
            &[("timeout", "1"), ("server.timeout", "6")],
            "duplicate parameter",
        ),
        (
            &[("maxclients", "5"), ("timeout", "soon")],
            "must be a duration",
        ),
        (
            &[("maxclients", "5"), ("maxcleints", "6")],
            "the nearest is 'server.maxclients'",
        ),
        (&[("maxclients", "0")], "from 1"),
        (&[("save", "60 1")], "only '' is available"),
        (
            &[("encryption.new_key_file", "x")],
            "not available in this version",
        ),
        (
            &[("client-output-buffer-limit", "normal 1mb 2mb 3")],
            "soft limit above",
        ),
    ] {
        let error = s.set_all(pairs).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
        assert!(s == before);
    }
    let unknown = s.set("zzzz", "1").unwrap_err().to_string();
    assert_eq!(
        unknown,
        "Unknown option or number of arguments for CONFIG SET - 'zzzz'"
    );
}

#[test]
fn rewrite_changes_what_differs_and_keeps_the_rest() {
    let original = "# mine\n[server]\nmaxclients = 5   # few\ntimeout = \"10s\"\n\n[tls]\ncert_file = 'c'\nkey_file='k'\n[encryption.file]\nkey_file = \"kek\"\n";
    let mut s = Settings::from_toml(original).unwrap();
    assert_eq!(s.rewrite(original).unwrap(), original);
    s.set("maxclients", "77").unwrap();
    s.set("requirepass", "pa\"ss").unwrap();
    s.set("slowlog-log-slower-than", "-1").unwrap();
    let text = s.rewrite(original).unwrap();
    assert!(
        text.contains("# mine\n[server]\nmaxclients = 77   # few\ntimeout = \"10s\"\n"),
        "{text}"
    );
    assert!(text.contains("cert_file = 'c'\nkey_file='k'"), "{text}");
    assert_eq!(Settings::from_toml(&text), Ok(s));
}

#[test]
fn rewrite_leaves_a_password_in_its_file() {
    let original = "[auth]\nrequirepass_file = \"p\"\n";
    let mut s = Settings::from_toml(original).unwrap();
    s.auth.requirepass = Secret::new("from the file");
    assert_eq!(s.rewrite(original).unwrap(), original);
}

#[test]
fn a_server_to_follow_is_a_host_and_a_port_and_its_password_is_told_to_nobody() {
    let text = "[replication]\nreplicaof = \"redis.example 6379\"\nmasterauth = \"hunter2\"\nca_file = \"ca\"\n";
    let s = Settings::from_toml(text).unwrap();
    let source = s.replication.replicaof.clone().unwrap();
    assert_eq!((source.host.as_str(), source.port), ("redis.example", 6379));
    let told = |name: &str| s.get_matching(name).remove(0).1;
    assert_eq!(told("replicaof"), "redis.example 6379");
    assert_eq!(told("masterauth"), "(hidden)");
    assert_eq!(told("repl-timeout"), "60");
    for bad in ["redis.example", "a 0", "a 70000", "a b", "a 1 2"] {
        let text = format!("[replication]\nreplicaof = \"{bad}\"\n");
        assert!(Settings::from_toml(&text).is_err(), "{bad}");
    }
    // Nothing verifies the other server, and nobody said that it need not be.
    let mut s = good();
    s.replication.replicaof = Some(source);
    let named = |s: &Settings| s.check().iter().map(|c| c.setting).collect::<Vec<_>>();
    assert_eq!(named(&s), ["replication.ca_file"]);
    s.replication.tls = false;
    assert_eq!(named(&s), [""; 0]);
    assert!(
        s.warnings()
            .iter()
            .any(|w| w.contains("PLAINTEXT") && w.contains("replication.tls"))
    );
    s.replication.key_file = Some("k".into());
    assert_eq!(named(&s), ["replication.cert_file"]);
}

#[test]
fn globs_are_redis_s() {
    for (pattern, text, hit) in [
        ("*", "", true),
        ("max*", "maxmemory", true),
        ("*max*y", "maxmemory-policy", true),
        ("m?xmemory", "maxmemory", true),
        ("m[a-c]x*", "maxclients", true),
        ("m[^a]x*", "maxclients", false),
        ("m\\ax*", "maxclients", true),
        ("max", "maxclients", false),
        ("a*b*c", "aXbXbXc", true),
        ("[", "[", true),
        ("[a", "a", false),
    ] {
        assert_eq!(glob(pattern, text), hit, "{pattern} {text}");
    }
}

#[test]
fn shards_follow_what_is_said_then_the_processors() {
    let mut s = good();
    assert_eq!(s.shard_count(4), 4);
    s.server.cpus = vec![0, 2];
    assert_eq!(s.shard_count(4), 2);
    s.server.shards = 1;
    assert_eq!(s.shard_count(4), 1);
}

#[test]
fn a_name_twice_is_refused_before_any_value_is_looked_at() {
    let mut s = good();
    for (pairs, text) in [
        (
            &[("maxmemory", "x"), ("storage.maxmemory", "0")],
            "'storage.maxmemory') - duplicate parameter",
        ),
        (
            &[("save", "x"), ("SAVE", "y")],
            "'SAVE') - duplicate parameter",
        ),
        (
            &[("port", "1"), ("port", "2")],
            "'port') - can't set immutable config",
        ),
        (
            &[("maxmemory", "x"), ("zzzz", "0")],
            "for CONFIG SET - 'zzzz'",
        ),
    ] {
        let said = s.set_all(pairs).unwrap_err().to_string();
        assert!(said.ends_with(text), "{said}");
    }
}
