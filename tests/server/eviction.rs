//! Keeping within `maxmemory`, over TLS: what goes, what stays, and what is refused.

use crate::common::server::Home;
use crate::common::wire::{Value, Wire};

fn info(wire: &mut Wire, field: &str) -> u64 {
    let text = wire.say("INFO").text();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(&format!("{field}:")));
    line.and_then(|n| n.parse().ok())
        .unwrap_or_else(|| panic!("INFO has {field}"))
}

/// What counts against the limit: memory in use but that on its way to the disk.
fn counted(wire: &mut Wire) -> u64 {
    info(wire, "used_memory") - info(wire, "mem_not_counted_for_evict")
}

/// Sets the limit so far above what is used now.
fn limit(wire: &mut Wire, room: u64, policy: &str) -> u64 {
    let limit = counted(wire) + room;
    assert_eq!(
        wire.say(&format!(
            "CONFIG SET maxmemory {limit} maxmemory-policy {policy}"
        )),
        Value::ok()
    );
    limit
}

fn fill(wire: &mut Wire, from: usize, to: usize, options: &str) -> Vec<Value> {
    let value = "v".repeat(4000);
    (from..to)
        .map(|i| wire.say(&format!("SET key:{i} {value}{options}")))
        .collect()
}

#[test]
fn memory_stays_within_the_limit_and_the_newest_keys_stay() {
    for shards in [1, 3] {
        let mut home = Home::new();
        home.shards(shards);
        let server = home.start();
        let mut wire = server.connect();
        let limit = limit(&mut wire, 8 << 20, "allkeys-lru");
        let replies = fill(&mut wire, 0, 6000, "");
        assert!(replies.iter().all(|reply| *reply == Value::ok()));
        let used = counted(&mut wire);
        assert!(used < limit + (2 << 20), "{used} of {limit}");
        let kept = wire.say("DBSIZE").int();
        assert!((500..3000).contains(&kept), "{kept}");
        assert!(info(&mut wire, "evicted_keys") as i64 >= 6000 - kept);
        let recent = (5800..6000)
            .filter(|i| wire.say(&format!("EXISTS key:{i}")).int() == 1)
            .count();
        assert!(recent > 150, "{recent}");
        // What was removed is removed in the log as well; nothing more goes from here on.
        assert_eq!(wire.say("CONFIG SET maxmemory 0"), Value::ok());
        let kept = wire.say("DBSIZE").int();
        server.stop();
        let server = home.start();
        assert_eq!(server.connect().say("DBSIZE").int(), kept);
    }
}

#[test]
fn volatile_policies_refuse_when_nothing_expires() {
    let home = Home::new();
    let server = home.start();
    let mut wire = server.connect();
    limit(&mut wire, 4 << 20, "volatile-ttl");
    let replies = fill(&mut wire, 0, 500, " EX 1000");
    assert!(replies.iter().all(|reply| *reply == Value::ok()));
    // These push the others out, and then there is nothing left that may go.
    let replies = fill(&mut wire, 500, 3000, "");
    let refused = replies
        .iter()
        .filter(|reply| matches!(reply, Value::Error(e) if e.starts_with("OOM")))
        .count();
    assert!(refused > 500, "{refused}");
    assert_eq!(wire.say("EXISTS key:500").int(), 1);
    assert_eq!(
        (0..500)
            .filter(|i| wire.say(&format!("EXISTS key:{i}")).int() == 1)
            .count(),
        0
    );
    // Reads and deletions go on, and make room again.
    for i in 500..1500 {
        wire.say(&format!("DEL key:{i}"));
    }
    assert_eq!(fill(&mut wire, 1, 2, ""), [Value::ok()]);
}

#[test]
fn without_eviction_writes_are_refused() {
    let home = Home::new();
    let server = home.start();
    let mut wire = server.connect();
    limit(&mut wire, 1 << 20, "noeviction");
    let replies = fill(&mut wire, 0, 1000, "");
    assert!(matches!(replies.last(), Some(Value::Error(e)) if e.starts_with("OOM")));
    assert_eq!(wire.say("EXISTS key:0").int(), 1);
    assert_eq!(info(&mut wire, "evicted_keys"), 0);
    assert_eq!(wire.say("CONFIG SET maxmemory 0"), Value::ok());
    assert_eq!(fill(&mut wire, 1000, 1001, ""), [Value::ok()]);
}

#[test]
fn under_lfu_frequencies_are_told_and_times_are_not() {
    let home = Home::new();
    let server = home.start();
    let mut wire = server.connect();
    assert!(matches!(wire.say("OBJECT FREQ none"), Value::Null));
    assert_eq!(
        wire.say("CONFIG SET maxmemory-policy allkeys-lfu"),
        Value::ok()
    );
    assert_eq!(wire.say("SET k v"), Value::ok());
    for _ in 0..300 {
        wire.say("GET k");
    }
    let told = wire.say("OBJECT FREQ k").int();
    assert!((6..100).contains(&told), "{told}");
    assert!(matches!(wire.say("OBJECT IDLETIME k"), Value::Error(_)));
    assert_eq!(
        wire.say("CONFIG SET maxmemory-policy allkeys-lru"),
        Value::ok()
    );
    assert!(matches!(wire.say("OBJECT FREQ k"), Value::Error(_)));
}

#[test]
fn what_was_deleted_does_not_count_while_it_is_being_freed() {
    for shards in [1, 2] {
        let mut home = Home::new();
        home.shards(shards);
        let server = home.start();
        let mut wire = server.connect();
        limit(&mut wire, 12 << 20, "noeviction");
        let value = "v".repeat(10_000);
        for round in 0..3 {
            for i in 0..1000 {
                let reply = wire.say(&format!("SET {round}:{i} {value}"));
                assert_eq!(reply, Value::ok(), "round {round}, key {i}");
            }
            assert_eq!(wire.say("FLUSHALL"), Value::ok());
        }
    }
}
