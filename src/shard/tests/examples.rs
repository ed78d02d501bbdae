//! What a shard does, case by case.

use super::super::*;
use super::world::{Op, START, World, bulk_key};
use crate::slot;

fn solo() -> World {
    World::new(1)
}

#[test]
fn every_prefix_of_effects_is_complete_or_broken() {
    let mut effects = Effects::default();
    let all = [
        Effect::Set {
            db: 0,
            key: b"k",
            value: b"v",
            expire: None,
        },
        Effect::Set {
            db: 300,
            key: &[7; 200],
            value: &[8; 20_000],
            expire: Some(u64::MAX),
        },
        Effect::Del { db: 1, key: b"" },
        Effect::ExpireAt {
            db: 1,
            key: b"k",
            at: START,
        },
        Effect::ExpireAt {
            db: 1,
            key: b"k",
            at: 0,
        },
        Effect::Append {
            db: 1,
            key: b"k",
            value: b"more",
        },
        Effect::SetRange {
            db: 1,
            key: b"k",
            offset: 70_000,
            value: b"x",
        },
        Effect::Flush {
            db: None,
            slots: 0..16384,
        },
        Effect::Flush {
            db: Some(u16::MAX),
            slots: 5..5,
        },
        Effect::Restore {
            db: 2,
            key: b"o",
            object: b"Pxyz",
            expire: Some(9),
        },
        Effect::Library {
            name: b"lib",
            code: Some(b"#!lua name=lib"),
        },
        Effect::Library {
            name: b"lib",
            code: None,
        },
    ];
    let mut ends = vec![0];
    for effect in &all {
        effects.push(effect);
        ends.push(effects.buf.len());
    }
    assert_eq!(
        effects
            .iter()
            .collect::<Result<Vec<_>, _>>()
            .expect("all readable"),
        all
    );
    for cut in 0..effects.buf.len() {
        let whole = records(&effects.buf[..cut]).collect::<Result<Vec<_>, _>>();
        match ends.iter().position(|&end| end == cut) {
            Some(count) => assert_eq!(whole.expect("cut between records").len(), count),
            None => {
                let start = ends.iter().rev().find(|&&end| end < cut).expect("0 is one");
                assert_eq!(whole, Err(Broken { offset: *start }));
            }
        }
    }
}

#[test]
fn what_does_not_fit_the_shard_is_refused() {
    let mut ks = Keyspace::new(slot::Map::new(2), 1, 2);
    let mut shard = ks.make_shard(0);
    let set = |db, key| Effect::Set {
        db,
        key,
        value: b"v",
        expire: None,
    };
    assert_eq!(
        shard.apply(&set(2, b"bar"), START),
        Err(Misfit::Database(2))
    );
    assert_eq!(
        shard.apply(&set(0, b"foo"), START),
        Err(Misfit::Slot(12182))
    );
    assert_eq!(shard.apply(&set(0, b"bar"), START), Ok(()));
    let append = Effect::Append {
        db: 1,
        key: b"bar",
        value: b"v",
    };
    assert_eq!(shard.apply(&append, START), Err(Misfit::NoString));
    let restore = Effect::Restore {
        db: 1,
        key: b"bar",
        object: b"?",
        expire: None,
    };
    assert_eq!(shard.apply(&restore, START), Err(Misfit::Object));
    let flush = Effect::Flush {
        db: Some(2),
        slots: 0..16384,
    };
    assert_eq!(shard.apply(&flush, START), Err(Misfit::Database(2)));
    ks.put(shard);
    assert_eq!(ks.shard(0).len(0), 1);
}

#[test]
fn encodings_follow_redis() {
    let mut world = solo();
    let k = world.ks.key(0, b"k");
    let shard = world.ks.shard(0);
    let mut encoding = |value: &[u8]| {
        shard.set(&k, value, Expire::None, START);
        shard.meta(&k, START).map(|meta| meta.encoding)
    };
    assert_eq!(encoding(b"12"), Some("int"));
    assert_eq!(encoding(b"012"), Some("embstr"));
    assert_eq!(encoding(&[b'a'; 44]), Some("embstr"));
    assert_eq!(encoding(&[b'a'; 45]), Some("raw"));
    assert_eq!(encoding(b"5"), Some("int"));
    shard.append(&k, b"5", START);
    assert_eq!(shard.get(&k, START), Some(Value::Str(b"55")));
    assert_eq!(shard.meta(&k, START).map(|meta| meta.encoding), Some("raw"));
}

#[test]
fn reads_count_and_peeks_do_not() {
    let mut world = solo();
    let (k, absent) = (world.ks.key(0, b"k"), world.ks.key(0, b"absent"));
    let shard = world.ks.shard(0);
    shard.set(&k, b"v", Expire::At(START + 5000), START);
    let idle = |shard: &mut Shard, now| shard.meta(&k, now).map(|meta| meta.idle_secs);
    assert!(shard.look(&k, START + 2000).is_some());
    assert!(shard.peek(&k, START + 2000).is_some());
    assert_eq!(idle(shard, START + 3000), Some(3));
    assert!(shard.touch(&k, START + 4000));
    assert_eq!(idle(shard, START + 4000), Some(0));
    assert!(shard.get(&absent, START).is_none());
    assert_eq!(shard.expiry(&k, START + 5000), Some(Some(START + 5000)));
    assert_eq!(
        shard.expiry(&k, START + 5001),
        None,
        "it lives up to its last millisecond"
    );
    let counted = Stats {
        hits: 3,
        misses: 2,
        expired: 1,
        expired_by_cycle: 0,
        evicted: 0,
    };
    assert_eq!(shard.stats(), counted);
    shard.reset_stats();
    assert_eq!(shard.stats(), Stats::default());
}

#[test]
fn the_access_clock_goes_on_over_its_end() {
    let mut world = solo();
    let k = world.ks.key(0, b"k");
    let shard = world.ks.shard(0);
    let end = (1 << 24) * 1000; // the clock's last second is the one before
    shard.set(&k, b"v", Expire::None, end - 1000);
    assert_eq!(
        shard.meta(&k, end + 4000).map(|meta| meta.idle_secs),
        Some(5)
    );
}

#[test]
fn a_watched_key_changes_version_with_every_change_and_no_other() {
    let mut world = solo();
    let (k, other) = (world.ks.key(0, b"k"), world.ks.key(1, b"k"));
    let shard = world.ks.shard(0);
    let mut now = START;
    type Change = fn(&mut Shard, &Key<'_>, &mut Ms);
    let changes: [(&str, bool, Change); 12] = [
        ("set", true, |s, k, now| {
            _ = s.set(k, b"v", Expire::None, *now)
        }),
        ("get", false, |s, k, now| _ = s.touch(k, *now)),
        ("append", true, |s, k, now| _ = s.append(k, b"w", *now)),
        ("append nothing", true, |s, k, now| {
            _ = s.append(k, b"", *now)
        }),
        ("setrange", true, |s, k, now| {
            _ = s.set_range(k, 4, b"w", *now)
        }),
        ("expire", true, |s, k, now| {
            _ = s.expire_at(k, Some(*now + 100), *now)
        }),
        ("its time comes", true, |_, _, now| *now += 101),
        ("delete nothing", false, |s, k, now| _ = s.delete(k, *now)),
        ("flush without it", false, |s, _, now| s.flush(None, *now)),
        ("int", true, |s, k, now| {
            _ = s.set_int(k, 7, Expire::At(*now + 1000), *now)
        }),
        ("flush", true, |s, _, now| s.flush(Some(0), *now)),
        ("set again", true, |s, k, now| {
            _ = s.set(k, b"v", Expire::None, *now)
        }),
    ];
    for (name, changing, change) in changes {
        let before = shard.watch(&k, now);
        assert_eq!(shard.version(&k, now), before);
        shard.set(&other, b"x", Expire::None, now);
        change(shard, &k, &mut now);
        assert_eq!(shard.version(&k, now) != before, changing, "{name}");
        shard.unwatch(&k);
    }
    let first = shard.watch(&k, now);
    let second = shard.watch(&k, now);
    assert_eq!(first, second);
    shard.unwatch(&k);
    shard.delete(&k, now);
    assert_ne!(shard.version(&k, now), second, "one watcher is left");
    shard.unwatch(&k);
}

#[test]
fn objects_are_kept_moved_and_replayed_like_strings() {
    let mut world = solo();
    let (k, l) = (world.ks.key(0, b"k"), world.ks.key(1, b"l"));
    let shard = world.ks.shard(0);
    let object = || Box::new(Object::probe(b"abc"));
    let dump = Dump {
        value: Owned::Object(object()),
        expire: Some(START + 50),
    };
    shard.set(&k, b"before", Expire::None, START);
    shard.restore(&k, dump, START);
    assert_eq!(shard.get(&k, START), Some(Value::Object(&object())));
    let meta = shard.meta(&k, START).expect("it is there");
    assert_eq!(
        (meta.kind, meta.kind.name()),
        (Kind::Object("list"), "list")
    );
    assert_eq!((meta.encoding, meta.value_len), ("listpack", 3));
    assert!(shard.expire_at(&k, None, START) && shard.expire_at(&k, Some(START + 99), START));
    let moved = shard.take(&k, START).expect("it is there");
    shard.restore(&l, moved, START);
    assert!(shard.get(&k, START).is_none());
    let mut kinds = Vec::new();
    assert_eq!(
        shard.scan(1, 0, 10, START, |key, kind| kinds
            .push((key.to_vec(), kind))),
        0
    );
    assert_eq!(kinds, [(b"l".to_vec(), Kind::Object("list"))]);
    let written = std::mem::take(&mut shard.effects);
    let mut other = solo();
    let replayed = other.ks.shard(0);
    replayed.apply_all(&written.buf, START).expect("it fits");
    assert_eq!(replayed.get(&l, START), Some(Value::Object(&object())));
    assert_eq!(replayed.expiry(&l, START), Some(Some(START + 99)));
    shard.set(&l, b"after", Expire::None, START);
    assert_eq!(shard.get(&l, START), Some(Value::Str(b"after")));
}

/// A slot of two hundred thousand keys: all are found, listed once, chosen evenly, and it shrinks
/// again.
#[test]
fn a_slot_may_hold_any_number_of_keys() {
    let mut world = solo();
    let count = 200_000u32;
    for n in 0..count {
        world.ks.shard(0).effects.clear();
        world.set(0, &bulk_key(true, n), b"v", Expire::None);
    }
    let full = world.ks.shard(0).bytes_used();
    let listed = world.contents();
    assert_eq!(listed.len(), count as usize);

    let (mut state, mut quarters) = (1u64, [0u32; 4]);
    for _ in 0..4000 {
        let random = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            state ^ state >> 29
        };
        let key = world
            .ks
            .shard(0)
            .random_key(0, START, random)
            .expect("there are keys");
        let n: u32 = String::from_utf8_lossy(&key[6..])
            .parse()
            .expect("it ends in a number");
        quarters[(n / (count / 4)) as usize] += 1;
    }
    // 1000 each are expected, with a standard deviation of 27
    assert!(
        quarters.iter().all(|&hits| (800..1200).contains(&hits)),
        "{quarters:?}"
    );

    for n in 100..count {
        world.ks.shard(0).effects.clear();
        world.carry_out(Op::Delete(0, bulk_key(true, n)));
    }
    assert_eq!(world.contents().len(), 100);
    let left = world.ks.shard(0).bytes_used();
    assert!(
        left < 600_000 && full > 5_000_000,
        "{left} of {full} bytes are still in use"
    );
}

#[test]
fn few_expiring_keys_go_within_two_seconds_and_of_many_a_sixteenth_may_stay() {
    let mut world = solo();
    for n in 0..5000 {
        // one each second in a slot of their own, and many in one slot over a hundred seconds
        world.set(
            0,
            format!("k{n}").as_bytes(),
            b"v",
            Expire::At(START + u64::from(n) * 1000),
        );
        world.set(
            1,
            &bulk_key(true, n),
            b"v",
            Expire::At(START + u64::from(n) * 20),
        );
    }
    let shard = world.ks.shard(0);
    for second in 0..100 {
        let now = START + second * 1000;
        while shard.expire_cycle(now, 100).more {}
        let (few, many) = (5000 - shard.len(0), 5000 - shard.len(1));
        assert!(
            few <= second && few + 2 >= second,
            "{few} gone after {second} s"
        );
        let dead = second * 50;
        let stale = (5000 - dead) / 15 + 50 * 3;
        assert!(
            many <= dead && many + stale >= dead,
            "{many} of {dead} gone after {second} s"
        );
    }
    let cycle = shard.expire_cycle(START + 99_000, 100);
    assert_eq!(
        cycle,
        Cycle {
            work: 0,
            expired: 0,
            more: false
        },
        "nothing is due any more"
    );
}

#[test]
fn the_far_future_can_be_an_expiry_and_a_clock() {
    let mut world = solo();
    for n in 0..100 {
        let at = if n < 50 { u64::MAX - n } else { START + n };
        world.set(0, &bulk_key(true, n as u32), b"v", Expire::At(at));
    }
    let shard = world.ks.shard(0);
    while shard.expire_cycle(START + 10_000, 10).more {}
    assert_eq!(shard.len(0), 50);
    while shard.expire_cycle(u64::MAX, 10).more {} // ends, whatever the clock says
    let k = shard.key(0, b"{tag}:40");
    assert!(shard.get(&k, u64::MAX).is_none(), "who asks sees it expire");
}

#[test]
fn a_random_key_is_a_living_one() {
    let mut world = solo();
    for n in 0..1000 {
        let expire = if n == 500 {
            Expire::None
        } else {
            Expire::At(START + 1)
        };
        world.set(0, &bulk_key(false, n), b"v", expire);
    }
    let key = world.ks.shard(0).random_key(0, START + 2, || 12345);
    assert_eq!(key, Some(bulk_key(false, 500)));
    assert_eq!(world.ks.shard(0).random_key(1, START + 2, || 12345), None);
}

#[test]
#[should_panic(expected = "a string of more than")]
fn an_offset_beyond_all_memory_is_refused() {
    let mut world = solo();
    let k = world.ks.key(0, b"k");
    let shard = world.ks.shard(0);
    shard.set(&k, b"v", Expire::None, START);
    shard.set_range(&k, usize::MAX, b"xx", START);
}
