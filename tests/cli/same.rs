//! The same command line, the same server, the same output as redis-cli's.

use super::ferrite::Ferrite;
use super::{EVERY_KIND, output};

/// In --quoted-json redis-cli does not escape a quote enough for JSON, so there is none here.
const BOTH: &[&[&str]] = &[
    &["-d", "|", "LRANGE", "l", "0", "-1"],
    &["-D", "|", "-r", "2", "LRANGE", "l", "0", "-1"],
    &["-D", "", "GET", "a"],
    &["-3", "-d", "|", "-D", "#", "HGETALL", "h"],
    &["--no-raw", "-d", "|", "-D", "#", "LRANGE", "l", "0", "-1"],
    &["--csv", "-D", "#", "LRANGE", "l", "0", "-1"],
    &["--quoted-input", "GET", "\"a\""],
    &["--quoted-input", "SET", "'q'", "\"\\x00\\xff\""],
    &["--no-raw", "GET", "q"],
    &["--json", "HGETALL", "h"],
    &["--json", "-2", "HGETALL", "h"],
    &["--json", "GET", "odd"],
    &["--quoted-json", "GET", "odd"],
    &["--quoted-json", "GET", "q"],
    &["-n", "5", "SET", "five", "5"],
    &["-n", "5", "GET", "five"],
    &["-e", "GET", "a"],
    &["NOSUCH"],
    &["GET"],
    &["--no-raw", "NOSUCH"],
    &["-r", "3", "-i", "0.01", "INCR", "n"],
    &["--scan", "--pattern", "a"],
    &["--scan", "--quoted-pattern", "\"\\x61\""],
    &["--no-raw", "--scan", "--pattern", "a"],
    &["CLIENT", "SETNAME", "x"],
    &["--no-raw", "-3", "CLIENT", "TRACKINGINFO"],
    &["-x", "SET", "x"],
    &["-X", "TAG", "SET", "y", "TAG"],
    &["--no-raw", "MGET", "x", "y"],
    &["--no-raw", "UNSUBSCRIBE"],
    &["MULTI"],
    &["--no-raw", "COMMAND", "INFO", "get", "nosuch"],
    &["--no-raw", "-3", "COMMAND", "INFO", "get", "nosuch"],
    &["--no-raw", "-3", "XINFO", "STREAM", "st"],
    &["--no-raw", "-3", "ZRANGE", "z", "0", "-1", "WITHSCORES"],
    &["--no-raw", "-3", "CONFIG", "GET", "maxmemory*"],
    &["-2", "CONFIG", "GET", "maxmemory*"],
];

const SOME_KEYS: &str = r#"
FLUSHALL
MSET a 1 odd "\b\x0c\x7f\xc3\xa9\\\x01\n"
RPUSH l 1 2 3
HSET h f v
XADD st 1-1 f v
ZADD z 1 a 2.5 b 1e300 c
"#;

#[test]
fn command_lines_do_what_they_do_in_redis_cli() {
    let ferrite = Ferrite::start();
    let mut said = Vec::new();
    for ours in [true, false] {
        let cli = || {
            if ours {
                ferrite.cli()
            } else {
                ferrite.redis_cli()
            }
        };
        output(&mut cli(), SOME_KEYS.as_bytes());
        let all: Vec<_> = BOTH
            .iter()
            .map(|line| output(cli().args(*line), b"from \0 stdin"))
            .map(|out| (out.status.code(), String::from_utf8(out.stdout).unwrap()))
            .collect();
        said.push(all);
    }
    for (line, (ours, theirs)) in BOTH.iter().zip(said[0].iter().zip(&said[1])) {
        assert_eq!(ours, theirs, "{line:?}");
        assert!(!ours.1.is_empty(), "{line:?} shows nothing");
    }
}

#[test]
fn ferrite_s_replies_look_as_in_redis_cli() {
    let ferrite = Ferrite::start();
    for format in [
        &["--no-raw"][..],
        &["--raw"],
        &["--csv"],
        &["--no-raw", "-3"],
        &["--raw", "-3"],
        &["--csv", "-3"],
    ] {
        let ours = output(ferrite.cli().args(format), EVERY_KIND.as_bytes()).stdout;
        let theirs = output(ferrite.redis_cli().args(format), EVERY_KIND.as_bytes()).stdout;
        let ours = String::from_utf8(ours).unwrap();
        assert!(ours.lines().count() > 25, "{ours}");
        let theirs = String::from_utf8(theirs).unwrap();
        assert_eq!(ours, theirs, "{format:?}");
    }
}

#[test]
fn an_error_goes_to_standard_error_when_it_is_the_status() {
    let ferrite = Ferrite::start();
    for mut cli in [ferrite.cli(), ferrite.redis_cli()] {
        let out = output(cli.args(["-e", "-r", "3", "NOSUCH"]), b"");
        assert_eq!(
            (out.status.code(), out.stdout.as_slice()),
            (Some(1), &b""[..])
        );
        let said = String::from_utf8(out.stderr).unwrap();
        assert_eq!(said.matches("ERR unknown command").count(), 1, "{said}");
    }
}

#[test]
fn a_number_repeats_the_command_behind_it_in_lines_too() {
    let ferrite = Ferrite::start();
    let lines = b"SET n 0\n3 INCR n\nGET n\n2 NOSUCH\n";
    let ours = output(&mut ferrite.cli(), lines).stdout;
    let theirs = output(&mut ferrite.redis_cli(), lines).stdout;
    assert_eq!(
        String::from_utf8_lossy(&ours),
        String::from_utf8_lossy(&theirs)
    );
    assert!(String::from_utf8_lossy(&ours).contains("3\n"));
}
