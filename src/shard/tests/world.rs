//! A keyspace beside a plain map that knows what should be in it.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::super::*;
use crate::slot;

pub(super) const DATABASES: u16 = 3;
pub(super) const START: Ms = 1_700_000_000_000;

/// What a keyspace should hold: by database and key, the string and its expiry.
pub(super) type Model = BTreeMap<(u16, Vec<u8>), (Vec<u8>, Option<Ms>)>;

#[derive(Clone, Debug)]
pub(super) enum Op {
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
    Swap(u16, u16),
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

pub(super) fn op() -> impl Strategy<Value = Op> {
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
        1 => (db(), db()).prop_map(|(a, b)| Op::Swap(a, b)),
        3 => (0..2000u64).prop_map(Op::Wait),
        3 => (1..5000usize).prop_map(Op::Cycle),
        2 => (1..5000usize).prop_map(Op::Sweep),
    ]
}

pub(super) fn bulk_key(tagged: bool, n: u32) -> Vec<u8> {
    if tagged {
        format!("{{tag}}:{n}")
    } else {
        format!("key:{n}")
    }
    .into_bytes()
}

/// A keyspace with all its shards, beside its model.
pub(super) struct World {
    pub(super) ks: Keyspace,
    pub(super) model: Model,
    pub(super) now: Ms,
}

impl World {
    pub(super) fn new(shards: usize) -> World {
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

    pub(super) fn living(&self, db: u16, key: &[u8]) -> Option<&(Vec<u8>, Option<Ms>)> {
        let now = self.now;
        let held = self.model.get(&(db, key.to_vec()));
        held.filter(|(_, expire)| expire.is_none_or(|at| now <= at))
    }

    pub(super) fn set(&mut self, db: u16, key: &[u8], value: &[u8], expire: Expire) {
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

    pub(super) fn carry_out(&mut self, op: Op) {
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
            Op::Swap(a, b) => {
                self.ks.present().for_each(|shard| shard.swap(a, b, now));
                let other = |db| match db {
                    db if db == a => b,
                    db if db == b => a,
                    db => db,
                };
                let model = std::mem::take(&mut self.model);
                let moved = model.into_iter();
                self.model = moved
                    .map(|((db, k), held)| ((other(db), k), held))
                    .collect();
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
    pub(super) fn contents(&mut self) -> Model {
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

    pub(super) fn check(&mut self) {
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

    /// Runs the expiry cycle for one whole round: what expired more than a minute ago must be gone,
    /// and the counts must agree with the model.
    pub(super) fn check_counts(&mut self) {
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
    pub(super) fn check_replay(&mut self, shards: usize) {
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
    pub(super) fn check_emptied(&mut self) {
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
