//! The shard against a plain map that knows what should be there.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::slot;

const DATABASES: u16 = 3;
const START: Ms = 1_700_000_000_000;

/// What a keyspace should hold: by database and key, the string and its expiry.
type Model = BTreeMap<(u16, Vec<u8>), (Vec<u8>, Option<Ms>)>;

#[derive(Clone, Debug)]
enum Op {
    Set(u16, Vec<u8>, Vec<u8>, Option<u64>),
    SetKeeping(u16, Vec<u8>, Vec<u8>),
    Int(u16, Vec<u8>, i64),
    Append(u16, Vec<u8>, Vec<u8>),
    SetRange(u16, Vec<u8>, usize, Vec<u8>),
    Expire(u16, Vec<u8>, Option<u64>),
    Delete(u16, Vec<u8>),
    Rename(u16, Vec<u8>, u16, Vec<u8>),
    Copy(u16, Vec<u8>, u16, Vec<u8>),
    Fill(u16, bool, u32, u32, Option<u64>),
    Drain(u16, bool, u32, u32),
    Flush(Option<u16>),
    Wait(u64),
    Cycle(usize),
    Sweep(usize),
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => (0..40u32).prop_map(|n| format!("key:{n}").into_bytes()),
        2 => (0..40u32).prop_map(|n| format!("{{tag}}:{n}").into_bytes()),
        1 => (0..5usize).prop_map(|n| vec![b'k'; [0, 1, 127, 128, 300][n]]),
    ]
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => prop::collection::vec(any::<u8>(), 0..40),
        1 => any::<i64>().prop_map(|n| n.to_string().into_bytes()),
        1 => (100..3000usize).prop_map(|len| vec![b'v'; len]),
    ]
}

fn ttl() -> impl Strategy<Value = Option<u64>> {
    prop::option::of(prop_oneof![0..3000u64, Just(1_000_000)])
}

fn op() -> impl Strategy<Value = Op> {
    let db = || 0..DATABASES;
    prop_oneof![
        8 => (db(), key(), value(), ttl()).prop_map(|(d, k, v, t)| Op::Set(d, k, v, t)),
        3 => (db(), key(), value()).prop_map(|(d, k, v)| Op::SetKeeping(d, k, v)),
        3 => (db(), key(), any::<i64>()).prop_map(|(d, k, n)| Op::Int(d, k, n)),
        5 => (db(), key(), value()).prop_map(|(d, k, v)| Op::Append(d, k, v)),
        5 => (db(), key(), 0..2000usize, value()).prop_map(|(d, k, o, v)| Op::SetRange(d, k, o, v)),
        5 => (db(), key(), ttl()).prop_map(|(d, k, t)| Op::Expire(d, k, t)),
        5 => (db(), key()).prop_map(|(d, k)| Op::Delete(d, k)),
        2 => (db(), key(), db(), key()).prop_map(|(d, k, e, l)| Op::Rename(d, k, e, l)),
        2 => (db(), key(), db(), key()).prop_map(|(d, k, e, l)| Op::Copy(d, k, e, l)),
        2 => (db(), any::<bool>(), 0..6000u32, 0..3000u32, ttl())
            .prop_map(|(d, b, f, n, t)| Op::Fill(d, b, f, n, t)),
        2 => (db(), any::<bool>(), 0..6000u32, 0..6000u32).prop_map(|(d, b, f, n)| Op::Drain(d, b, f, n)),
        1 => prop::option::of(db()).prop_map(Op::Flush),
        3 => (0..2000u64).prop_map(Op::Wait),
        3 => (1..5000usize).prop_map(Op::Cycle),
        2 => (1..5000usize).prop_map(Op::Sweep),
    ]
}

fn bulk_key(tagged: bool, n: u32) -> Vec<u8> {
    if tagged {
        format!("{{tag}}:{n}")
    } else {
        format!("key:{n}")
    }
    .into_bytes()
}

/// A keyspace with all its shards, beside its model.
struct World {
    ks: Keyspace,
    model: Model,
    now: Ms,
}

impl World {
    fn new(shards: usize) -> World {
        let mut ks = Keyspace::new(slot::Map::new(shards), 42, DATABASES);
        for id in 0..shards {
            let shard = ks.make_shard(id);
            ks.put(shard);
        }
        World {
            ks,
            model: Model::new(),
            now: START,
        }
    }

    fn living(&self, db: u16, key: &[u8]) -> Option<&(Vec<u8>, Option<Ms>)> {
        let now = self.now;
        let held = self.model.get(&(db, key.to_vec()));
        held.filter(|(_, expire)| expire.is_none_or(|at| now <= at))
    }

    fn set(&mut self, db: u16, key: &[u8], value: &[u8], expire: Expire) {
        let k = self.ks.key(db, key);
        let existed = self.ks.at(k.slot).set(&k, value, expire, self.now);
        assert_eq!(existed, self.living(db, key).is_some());
        let expire = match expire {
            Expire::None => None,
            Expire::At(at) => Some(at),
            Expire::Keep => self.living(db, key).and_then(|held| held.1),
        };
        self.model
            .insert((db, key.to_vec()), (value.to_vec(), expire));
    }

    fn carry_out(&mut self, op: Op) {
        let now = self.now;
        let at = |ttl: Option<u64>| ttl.map_or(Expire::None, |ttl| Expire::At(now + ttl));
        match op {
            Op::Set(db, key, value, ttl) => self.set(db, &key, &value, at(ttl)),
            Op::SetKeeping(db, key, value) => self.set(db, &key, &value, Expire::Keep),
            Op::Int(db, key, n) => {
                let k = self.ks.key(db, &key);
                self.ks.at(k.slot).set_int(&k, n, Expire::None, now);
                self.model
                    .insert((db, key), (n.to_string().into_bytes(), None));
            }
            Op::Append(db, key, bytes) => {
                let (mut held, expire) = self.living(db, &key).cloned().unwrap_or_default();
                held.extend_from_slice(&bytes);
                let k = self.ks.key(db, &key);
                assert_eq!(self.ks.at(k.slot).append(&k, &bytes, now), held.len());
                self.model.insert((db, key), (held, expire));
            }
            Op::SetRange(db, key, offset, bytes) => {
                let held = self.living(db, &key).cloned();
                let k = self.ks.key(db, &key);
                let len = self.ks.at(k.slot).set_range(&k, offset, &bytes, now);
                if bytes.is_empty() {
                    assert_eq!(len, held.map_or(0, |held| held.0.len()));
                    return;
                }
                let (mut held, expire) = held.unwrap_or_default();
                held.resize(held.len().max(offset + bytes.len()), 0);
                held[offset..offset + bytes.len()].copy_from_slice(&bytes);
                assert_eq!(len, held.len());
                self.model.insert((db, key), (held, expire));
            }
            Op::Expire(db, key, ttl) => {
                let expire = ttl.map(|ttl| now + ttl);
                let k = self.ks.key(db, &key);
                let lives = self.living(db, &key).is_some();
                assert_eq!(self.ks.at(k.slot).expire_at(&k, expire, now), lives);
                if let (true, Some(held)) = (lives, self.model.get_mut(&(db, key))) {
                    held.1 = expire;
                }
            }
            Op::Delete(db, key) => {
                let k = self.ks.key(db, &key);
                assert_eq!(
                    self.ks.at(k.slot).delete(&k, now),
                    self.living(db, &key).is_some()
                );
                self.model.remove(&(db, key));
            }
            Op::Rename(db, key, to, target) => {
                let (k, l) = (self.ks.key(db, &key), self.ks.key(to, &target));
                let held = self.living(db, &key).cloned();
                let dump = self.ks.at(k.slot).take(&k, now);
                assert_eq!(dump.is_some(), held.is_some());
                if let (Some(dump), Some(held)) = (dump, held) {
                    self.ks.at(l.slot).restore(&l, dump, now);
                    self.model.remove(&(db, key));
                    self.model.insert((to, target), held);
                }
            }
            Op::Copy(db, key, to, target) => {
                let (k, l) = (self.ks.key(db, &key), self.ks.key(to, &target));
                if let Some(dump) = self.ks.at(k.slot).dump(&k, now) {
                    self.ks.at(l.slot).restore(&l, dump, now);
                    let held = self
                        .living(db, &key)
                        .cloned()
                        .expect("what is dumped is there");
                    self.model.insert((to, target), held);
                }
            }
            Op::Fill(db, tagged, from, count, ttl) => {
                for n in from..from + count {
                    self.set(db, &bulk_key(tagged, n), format!("{n}").as_bytes(), at(ttl));
                }
            }
            Op::Drain(db, tagged, from, count) => {
                for n in from..from + count {
                    self.carry_out(Op::Delete(db, bulk_key(tagged, n)));
                }
            }
            Op::Flush(db) => {
                self.ks.present().for_each(|shard| shard.flush(db, now));
                self.model.retain(|id, _| db.is_some_and(|db| db != id.0));
            }
            Op::Wait(ms) => self.now += ms,
            Op::Cycle(budget) => {
                for shard in self.ks.present() {
                    shard.expire_cycle(now, budget);
                }
            }
            Op::Sweep(budget) => {
                for shard in self.ks.present() {
                    shard.sweep(budget);
                }
            }
        }
    }

    /// Everything the keyspace holds, as a model would.
    fn contents(&mut self) -> Model {
        let now = self.now;
        let mut found = Vec::new();
        for db in 0..DATABASES {
            for shard in self.ks.present() {
                shard.for_each_key(db, now, |key, _| found.push((db, key.to_vec())));
            }
        }
        let ids: BTreeSet<_> = found.iter().cloned().collect();
        assert_eq!(ids.len(), found.len(), "a key was found twice");
        let mut contents = Model::new();
        for (db, key) in found {
            let k = self.ks.key(db, &key);
            let shard = self.ks.at(k.slot);
            let mut scratch = Decimal::default();
            let value = shard.get(&k, now).expect("what is listed is there");
            let bytes = value.bytes(&mut scratch).expect("all are strings").to_vec();
            let expire = shard.expiry(&k, now).expect("what is listed is there");
            contents.insert((db, key), (bytes, expire));
        }
        contents
    }

    fn check(&mut self) {
        let now = self.now;
        let mut model = self.model.clone();
        model.retain(|_, held| held.1.is_none_or(|at| now <= at));
        assert!(self.contents() == model, "contents differ from the model");
        for (db, key) in model.keys() {
            let k = self.ks.key(*db, key);
            assert!(self.ks.at(k.slot).contains(&k, now));
        }
        for shard in self.ks.present() {
            shard.dbs.iter().flatten().for_each(|db| db.verify());
        }
    }

    /// Runs the expiry cycle for one whole round: what expired more than a minute ago must be gone, and the counts
    /// must agree with the model.
    fn check_counts(&mut self) {
        self.now += 63_000;
        let now = self.now;
        for db in 0..DATABASES {
            let mut found = (0, 0);
            for shard in self.ks.present() {
                while shard.expire_cycle(now, 500).more {} // the end of a round under way
                while shard.expire_cycle(now, 500).more {}
                found = (found.0 + shard.len(db), found.1 + shard.expires(db));
            }
            let held = self
                .model
                .iter()
                .filter(|(id, _)| id.0 == db)
                .map(|(_, held)| held.1);
            let (mut living, mut volatile, mut late) = (0, 0, 0);
            for expire in held {
                match expire {
                    None => living += 1,
                    Some(at) if now <= at => volatile += 1,
                    Some(at) => late += u64::from(now - at < 63_500),
                }
            }
            assert_eq!(found.0 - found.1, living, "keys without expiry");
            assert!(
                found.1 >= volatile && found.1 <= volatile + late,
                "keys with expiry"
            );
        }
    }

    /// The same effects, applied to fresh shards of another number, give the same contents.
    fn check_replay(&mut self, shards: usize) {
        let mut other = World::new(shards);
        other.now = self.now;
        let map = other.ks.map();
        let mut parts = vec![Effects::default(); shards];
        let mut written = 0;
        for shard in self.ks.present() {
            written += shard.effects.records;
            split(&shard.effects.buf, &map, &mut parts).expect("effects are readable");
        }
        assert!(parts.iter().map(|part| part.records).sum::<u32>() >= written);
        for (id, part) in parts.iter().enumerate() {
            let applied = other.ks.shard(id).apply_all(&part.buf, self.now);
            assert_eq!(applied, Ok(u64::from(part.records)));
            assert!(other.ks.shard(id).effects.is_empty());
        }
        assert!(
            other.contents() == self.contents(),
            "replayed contents differ"
        );
    }

    /// Removes everything and checks that nothing is counted as held any more.
    fn check_emptied(&mut self) {
        for (db, key) in self.contents().into_keys() {
            self.carry_out(Op::Delete(db, key));
        }
        self.now += 10_000_000;
        let now = self.now;
        for shard in self.ks.present() {
            while shard.expire_cycle(now, 5000).more {}
            while shard.sweep(5000) {}
            assert!(shard.is_empty());
            for db in shard.dbs.iter().flatten() {
                db.verify();
                assert!(db.bytes() <= usize::from(shard.slots.end - shard.slots.start) * 48);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// Whatever is done, the shards hold what a plain map holds, expiry included; counts agree; the effects
    /// rebuild the same state under the same and another number of shards.
    #[test]
    fn a_keyspace_does_what_a_map_does(
        ops in prop::collection::vec(op(), 1..60),
        shards in 1..4usize,
        others in 1..6usize,
    ) {
        let mut world = World::new(shards);
        for op in ops {
            world.carry_out(op);
        }
        world.check();
        world.check_replay(others);
        world.check_counts();
        world.check_emptied();
    }

    /// A key that is there from a scan's first step to its last is returned, whatever happens to others.
    #[test]
    fn a_scan_returns_every_key_that_stays(
        stay in prop::collection::btree_set((any::<bool>(), 0..20_000u32), 1..3000),
        steps in prop::collection::vec((1..400usize, prop::option::of(op())), 1..40),
        shards in 1..4usize,
    ) {
        let mut world = World::new(shards);
        let stay: BTreeSet<Vec<u8>> =
            stay.into_iter().map(|(tagged, n)| [b"stay:".to_vec(), bulk_key(tagged, n)].concat()).collect();
        for key in &stay {
            world.set(0, key, b"v", Expire::None);
        }
        let (mut cursor, mut seen, mut rounds) = (0, BTreeSet::new(), 0);
        loop {
            let (count, op) = &steps[rounds % steps.len()];
            let now = world.now;
            let slot = scan_slot(cursor).expect("the cursor is the scan's own");
            cursor = world.ks.at(slot).scan(0, cursor, *count, now, |key, kind| {
                assert_eq!(kind, Kind::Str);
                seen.insert(key.to_vec());
            });
            rounds += 1;
            if cursor == 0 {
                break;
            }
            assert!(cursor < 1 << 53);
            match op {
                Some(Op::Flush(_)) | None => {}
                Some(_) if rounds > 400 => {} // no endless growth under the scan's feet
                Some(op) => world.carry_out(op.clone()),
            }
        }
        assert!(stay.is_subset(&seen), "{} keys were missed", stay.difference(&seen).count());
    }

    /// Garbage in place of effects is an error or other effects; it never panics, and what is read writes
    /// back to the same bytes.
    #[test]
    fn effects_are_read_strictly(buf in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut rest = &buf[..];
        while let Some((effect, len)) = Effect::decode(rest) {
            let mut again = Vec::new();
            effect.encode(&mut again);
            assert_eq!(again, &rest[..len]);
            rest = &rest[len..];
        }
        let _ = split(&buf, &slot::Map::new(3), &mut vec![Effects::default(); 3]);
        let mut world = World::new(1);
        let _ = world.ks.shard(0).apply_all(&buf, START);
        world.contents();
    }
}

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
    let changes: [(&str, bool, fn(&mut Shard, &Key<'_>, &mut Ms)); 12] = [
        ("set", true, |s, k, now| {
            _ = s.set(k, b"v", Expire::None, *now)
        }),
        ("get", false, |s, k, now| _ = s.touch(k, *now)),
        ("append", true, |s, k, now| _ = s.append(k, b"w", *now)),
        ("append nothing", false, |s, k, now| {
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
        (Kind::Object("probe"), "probe")
    );
    assert_eq!((meta.encoding, meta.value_len), ("probe", 3));
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
    assert_eq!(kinds, [(b"l".to_vec(), Kind::Object("probe"))]);
    let written = std::mem::take(&mut shard.effects);
    let mut other = solo();
    let replayed = other.ks.shard(0);
    replayed.apply_all(&written.buf, START).expect("it fits");
    assert_eq!(replayed.get(&l, START), Some(Value::Object(&object())));
    assert_eq!(replayed.expiry(&l, START), Some(Some(START + 99)));
    shard.set(&l, b"after", Expire::None, START);
    assert_eq!(shard.get(&l, START), Some(Value::Str(b"after")));
}

/// A slot of two hundred thousand keys: all are found, listed once, chosen evenly, and it shrinks again.
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
