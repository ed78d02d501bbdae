//! Removals of much at once: what is taken out is freed in steps, what stays is right, and the log says the same.

use super::*;
use std::collections::BTreeSet;

const START: Ms = 1_700_000_000_000;
const MANY: usize = 60_000;

fn logging() -> Local {
    Local {
        clock: Some(START),
        keep_log: true,
        ..Local::new()
    }
}

fn say(local: &mut Local, line: &str) -> Vec<u8> {
    let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    local.ask(&args)
}

fn fill(local: &mut Local, head: &str, one: impl Fn(usize) -> String) {
    for first in (0..MANY).step_by(500) {
        let words: Vec<String> = (first..first + 500).map(&one).collect();
        say(local, &format!("{head} {}", words.join(" ")));
    }
}

/// A removal, its answer, and questions with their answers after it.
type Case = (
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
);

/// Whether a shard has something to free.
fn has_garbage(local: &mut Local) -> bool {
    local.ks.present().any(|shard| shard.has_garbage())
}

fn sweep(local: &mut Local) {
    for shard in local.ks.present() {
        while shard.sweep(1000) {}
    }
}

#[test]
fn what_is_removed_is_freed_in_steps_and_what_stays_is_right() {
    let mut local = logging();
    fill(&mut local, "RPUSH list", |i| format!("element:{i}"));
    fill(&mut local, "RPUSH ends", |i| format!("element:{i}"));
    fill(&mut local, "ZADD zset", |i| {
        format!("{} member:{i}", i % 97)
    });
    fill(&mut local, "ZADD all", |i| format!("{i} member:{i}"));
    for i in 0..MANY {
        say(
            &mut local,
            &format!("XADD stream {}-1 field value:{i}", i + 1),
        );
    }
    say(&mut local, "XGROUP CREATE stream group 0");
    for _ in 0..MANY / 10_000 {
        say(
            &mut local,
            "XREADGROUP GROUP group one COUNT 10000 STREAMS stream >",
        );
    }
    let ranked = say(&mut local, "ZRANGE zset 30 39 WITHSCORES");
    let cases: [Case; 6] = [
        (
            "LTRIM list 59990 -1",
            "+OK\r\n",
            &[
                ("LLEN list", ":10\r\n"),
                ("LINDEX list 0", "$13\r\nelement:59990\r\n"),
                ("LINDEX list -1", "$13\r\nelement:59999\r\n"),
            ],
        ),
        (
            "LTRIM ends 30000 30000",
            "+OK\r\n",
            &[("LRANGE ends 0 -1", "*1\r\n$13\r\nelement:30000\r\n")],
        ),
        (
            "ZREMRANGEBYRANK zset 40 -1",
            ":59960\r\n",
            &[("ZCARD zset", ":40\r\n"), ("ZCOUNT zset 0 0", ":40\r\n")],
        ),
        (
            "ZREMRANGEBYSCORE all 0 inf",
            ":60000\r\n",
            &[("EXISTS all", ":0\r\n")],
        ),
        (
            "XGROUP DESTROY stream group",
            ":1\r\n",
            &[("XINFO GROUPS stream", "*0\r\n")],
        ),
        (
            "XTRIM stream MAXLEN 7",
            ":59993\r\n",
            &[
                ("XLEN stream", ":7\r\n"),
                ("XRANGE stream - 59993-1", "*0\r\n"),
                (
                    "XRANGE stream - + COUNT 1",
                    "*1\r\n*2\r\n$7\r\n59994-1\r\n*2\r\n$5\r\nfield\r\n$11\r\nvalue:59993\r\n",
                ),
            ],
        ),
    ];
    sweep(&mut local);
    for (change, answer, questions) in cases {
        assert!(!has_garbage(&mut local), "{change}");
        assert_eq!(say(&mut local, change), answer.as_bytes(), "{change}");
        assert!(has_garbage(&mut local), "{change}");
        for (question, answer) in questions {
            let text = say(&mut local, question);
            assert_eq!(
                text.escape_ascii().to_string(),
                answer.as_bytes().escape_ascii().to_string()
            );
        }
        sweep(&mut local);
    }
    assert_eq!(say(&mut local, "ZRANGE zset 30 39 WITHSCORES"), ranked);
    assert_eq!(
        say(&mut local, "OBJECT ENCODING zset"),
        b"$8\r\nskiplist\r\n"
    );
    // What is left goes on as any other.
    say(&mut local, "ZADD zset 5 again -1 first");
    assert_eq!(say(&mut local, "ZRANK zset again"), b":41\r\n");
    say(&mut local, "RPUSH list more");
    assert_eq!(say(&mut local, "LLEN list"), b":11\r\n");
    say(&mut local, "XADD stream * field more");
    // The log says the same, and its reader frees what it buries.
    let mut again = logging();
    for (id, log) in local.log.iter().enumerate() {
        again.ks.shard(id).apply_all(log, START).unwrap();
    }
    for question in [
        "LRANGE list 0 -1",
        "LRANGE ends 0 -1",
        "ZRANGE zset 0 -1 WITHSCORES",
        "XRANGE stream - +",
        "XINFO GROUPS stream",
        "DBSIZE",
    ] {
        assert!(
            say(&mut local, question) == say(&mut again, question),
            "{question}"
        );
    }
    let bytes = |local: &mut Local| -> usize { local.ks.present().map(|s| s.bytes_used()).sum() };
    // Nothing of what went is counted any more: that is little more than three empty tables.
    assert!(bytes(&mut local) < 700_000, "{}", bytes(&mut local));
}

#[test]
fn a_scan_meets_what_stays_though_most_is_cut_off() {
    for taken in [1, 20, 57, 59] {
        let mut local = logging();
        fill(&mut local, "ZADD zset", |i| {
            format!("{} member:{i}", i * 7919 % MANY)
        });
        let mut cursor = "0".to_owned();
        let mut seen = BTreeSet::new();
        let mut steps = 0;
        loop {
            let reply = say(&mut local, &format!("ZSCAN zset {cursor} COUNT 1000"));
            let text = String::from_utf8(reply).unwrap();
            let mut words = text.split("\r\n").filter(|w| !w.starts_with(['*', '$']));
            cursor = words.next().unwrap().to_owned();
            seen.extend(words.filter(|w| w.starts_with('m')).map(str::to_owned));
            steps += 1;
            if steps == taken {
                say(&mut local, "ZREMRANGEBYRANK zset 0 -501");
            }
            if cursor == "0" {
                break;
            }
        }
        let rest = String::from_utf8(say(&mut local, "ZRANGE zset 0 -1")).unwrap();
        let rest: Vec<&str> = rest.split("\r\n").filter(|w| w.starts_with('m')).collect();
        assert_eq!(rest.len(), 500);
        assert!(
            rest.iter().all(|name| seen.contains(*name)),
            "after {taken} steps"
        );
    }
}
