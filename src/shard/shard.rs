//! The verbs of a shard: reads, writes, removal, what is known of a key.
//!
//! Promise: every mutator appends its effect, moves the versions of watched keys and keeps the
//! counts, in the call that changes the key. Keys past their expiry are never seen: whichever verb
//! meets one removes it and logs that.

use std::ops::Range;

use super::db::Db;
use super::effect::{Effect, Effects};
use super::entry::{Entry, compact};
use super::hash::Hasher;
use super::value::{Decimal, Dump, Expire, Key, Meta, Ms, Owned, Value};
use super::watch::Watches;
use crate::slot;

/// Counts since the shard was made (or since [`Shard::reset_stats`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Reads that found their key.
    pub hits: u64,
    /// Reads that did not.
    pub misses: u64,
    /// Keys removed because their time had come.
    pub expired: u64,
    /// Of those, the ones found by the expiry cycle.
    pub expired_by_cycle: u64,
}

/// One core's keys. `Send`: it moves between cores in its box when a transaction spans shards.
#[derive(Debug)]
pub struct Shard {
    /// Its number, `0..map.shards()`.
    pub id: usize,
    /// What it did since the owner last drained this.
    pub effects: Effects,
    pub(super) slots: Range<u16>,
    pub(super) map: slot::Map,
    pub(super) hasher: Hasher,
    pub(super) dbs: Vec<Option<Box<Db>>>,
    pub(super) watches: Watches,
    pub(super) stats: Stats,
    pub(super) graveyard: Vec<Box<Db>>,
    pub(super) cycle: super::expiry::Position,
}

/// How a read counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    /// As a use of the key: hit or miss, and its access time.
    Use,
    /// As a look at it: hit or miss.
    Look,
    /// Not at all.
    Peek,
}

impl Shard {
    /// An empty shard of `map`. `seed` is the process's; `databases` how many numbers there are.
    pub fn new(id: usize, map: slot::Map, seed: u64, databases: u16) -> Shard {
        Shard {
            id,
            effects: Effects::default(),
            slots: map.range(id),
            map,
            hasher: Hasher::new(seed),
            dbs: (0..databases).map(|_| None).collect(),
            watches: Watches::default(),
            stats: Stats::default(),
            graveyard: Vec::new(),
            cycle: Default::default(),
        }
    }

    /// The slots it owns.
    pub fn slots(&self) -> Range<u16> {
        self.slots.clone()
    }

    /// A key with its slot and hash, as [`super::Keyspace::key`] makes it.
    pub fn key<'a>(&self, db: u16, bytes: &'a [u8]) -> Key<'a> {
        Key {
            db,
            slot: slot::slot_of(bytes),
            hash: self.hasher.hash(bytes),
            bytes,
        }
    }

    // Reads.

    /// The value, for a command that uses it: counts as hit or miss and as an access.
    pub fn get(&mut self, k: &Key<'_>, now: Ms) -> Option<Value<'_>> {
        self.read(k, now, Access::Use)
    }

    /// The value, for a command that only asks about the key (EXISTS, TYPE, TTL): counts as hit or
    /// miss, not as an access.
    pub fn look(&mut self, k: &Key<'_>, now: Ms) -> Option<Value<'_>> {
        self.read(k, now, Access::Look)
    }

    /// The value, uncounted: for writes that build on it, and for the server's own questions.
    pub fn peek(&mut self, k: &Key<'_>, now: Ms) -> Option<Value<'_>> {
        self.read(k, now, Access::Peek)
    }

    fn read(&mut self, k: &Key<'_>, now: Ms, access: Access) -> Option<Value<'_>> {
        self.drop_if_expired(k, now);
        let found = self.dbs[usize::from(k.db)]
            .as_deref_mut()
            .and_then(|db| db.find_mut(k));
        if access != Access::Peek {
            match found {
                Some(_) => self.stats.hits += 1,
                None => self.stats.misses += 1,
            }
        }
        let entry = found?;
        if access == Access::Use {
            entry.set_clock(clock(now));
        }
        Some(entry.value())
    }

    /// Whether the key lives. Uncounted.
    pub fn contains(&mut self, k: &Key<'_>, now: Ms) -> bool {
        self.peek(k, now).is_some()
    }

    /// Marks an access, as TOUCH does; tells whether the key lives. Counts as hit or miss.
    pub fn touch(&mut self, k: &Key<'_>, now: Ms) -> bool {
        self.get(k, now).is_some()
    }

    /// What is known of the key beside its value. Uncounted.
    pub fn meta(&mut self, k: &Key<'_>, now: Ms) -> Option<Meta> {
        self.drop_if_expired(k, now);
        let entry = self.dbs[usize::from(k.db)].as_deref()?.find(k)?;
        let value = entry.value();
        Some(Meta {
            kind: value.kind(),
            encoding: match value {
                Value::Int(_) => "int",
                Value::Str(bytes) if bytes.len() <= 44 && !entry.is_raw() => "embstr",
                Value::Str(_) => "raw",
                Value::Object(object) => object.encoding(),
            },
            expire_at: entry.expire(),
            idle_secs: u64::from(clock(now).wrapping_sub(entry.clock()) & CLOCK_MASK),
            value_len: value.len(),
            bytes: entry.heap_bytes(),
        })
    }

    /// When the key expires: `None` for no such key, `Some(None)` for never. Counts as hit or miss.
    pub fn expiry(&mut self, k: &Key<'_>, now: Ms) -> Option<Option<Ms>> {
        self.look(k, now)?;
        Some(self.dbs[usize::from(k.db)].as_deref()?.find(k)?.expire())
    }

    // Writes.

    /// Makes the key hold this string, whatever it held; tells whether it existed. A string that is a
    /// canonical decimal number is kept as a number.
    pub fn set(&mut self, k: &Key<'_>, value: &[u8], expire: Expire, now: Ms) -> bool {
        let (existed, expire) = self.put(k, compact(value), expire, now);
        self.effects.push(&Effect::Set {
            db: k.db,
            key: k.bytes,
            value,
            expire,
        });
        existed
    }

    /// Makes the key hold this number; tells whether it existed.
    pub fn set_int(&mut self, k: &Key<'_>, n: i64, expire: Expire, now: Ms) -> bool {
        let (existed, expire) = self.put(k, Owned::Int(n), expire, now);
        let text = Decimal::new(n);
        self.effects.push(&Effect::Set {
            db: k.db,
            key: k.bytes,
            value: text.as_bytes(),
            expire,
        });
        existed
    }

    /// Lengthens the string by these bytes, or makes the key hold them; tells the new length. The
    /// caller has checked that the key holds no other type and that the length stays within limits.
    pub fn append(&mut self, k: &Key<'_>, bytes: &[u8], now: Ms) -> usize {
        let Some(value) = self.peek(k, now) else {
            self.set(k, bytes, Expire::None, now);
            return bytes.len();
        };
        let len = value.len();
        if bytes.is_empty() {
            return len;
        }
        self.change(k, now, |entry| entry.set_range(len, bytes));
        self.effects.push(&Effect::Append {
            db: k.db,
            key: k.bytes,
            value: bytes,
        });
        len + bytes.len()
    }

    /// Overwrites the string from `offset` on, with zeros before it if it was shorter, or makes one;
    /// tells the new length. Writing no bytes changes nothing. Same conditions as [`Shard::append`].
    pub fn set_range(&mut self, k: &Key<'_>, offset: usize, bytes: &[u8], now: Ms) -> usize {
        let len = self.peek(k, now).map(|value| value.len());
        if bytes.is_empty() {
            return len.unwrap_or(0);
        }
        let Some(len) = len else {
            let mut value = vec![0; offset];
            value.extend_from_slice(bytes);
            self.set(k, &value, Expire::None, now);
            return value.len();
        };
        self.change(k, now, |entry| entry.set_range(offset, bytes));
        let offset = offset as u64;
        self.effects.push(&Effect::SetRange {
            db: k.db,
            key: k.bytes,
            offset,
            value: bytes,
        });
        len.max(offset as usize + bytes.len())
    }

    /// Sets or removes the expiry of a living key; tells whether there is one. A time in the past is
    /// stored like any other: who wants the key gone deletes it.
    pub fn expire_at(&mut self, k: &Key<'_>, at: Option<Ms>, now: Ms) -> bool {
        self.drop_if_expired(k, now);
        let at = at.map(|at| at.max(1));
        let changed = self.db(k).update(k, |entry| {
            let before = entry.expire();
            entry.set_expire(at);
            before != at
        });
        if changed == Some(true) {
            self.effects.push(&Effect::ExpireAt {
                db: k.db,
                key: k.bytes,
                at: at.unwrap_or(0),
            });
            self.watches.touch(k.db, k.bytes);
        }
        changed.is_some()
    }

    /// Removes the key; tells whether it lived.
    pub fn delete(&mut self, k: &Key<'_>, now: Ms) -> bool {
        self.drop_if_expired(k, now);
        self.remove(k).is_some()
    }

    /// A copy of the value and expiry, for COPY. Counts as a use.
    pub fn dump(&mut self, k: &Key<'_>, now: Ms) -> Option<Dump> {
        let value = match self.get(k, now)? {
            Value::Str(bytes) => Owned::Str(bytes.to_vec()),
            Value::Int(n) => Owned::Int(n),
            Value::Object(object) => Owned::Object(Box::new(object.clone())),
        };
        let expire = self.dbs[usize::from(k.db)].as_deref()?.find(k)?.expire();
        Some(Dump { value, expire })
    }

    /// The value and expiry out of the shard, for RENAME and MOVE; the key is gone.
    pub fn take(&mut self, k: &Key<'_>, now: Ms) -> Option<Dump> {
        let dump = self.dump(k, now)?;
        self.remove(k);
        Some(dump)
    }

    /// Makes the key hold what [`Shard::dump`] or [`Shard::take`] gave, whatever it held.
    pub fn restore(&mut self, k: &Key<'_>, dump: Dump, now: Ms) {
        let expire = dump.expire.map_or(Expire::None, Expire::At);
        match dump.value {
            Owned::Str(bytes) => {
                self.set(k, &bytes, expire, now);
            }
            Owned::Int(n) => {
                self.set_int(k, n, expire, now);
            }
            Owned::Object(object) => {
                let mut encoded = Vec::new();
                object.encode(&mut encoded);
                let (_, expire) = self.put(k, Owned::Object(object), expire, now);
                let (db, key) = (k.db, k.bytes);
                self.effects.push(&Effect::Restore {
                    db,
                    key,
                    object: &encoded,
                    expire,
                });
            }
        }
    }

    /// Removes every key of a database, or of all. Takes no longer for more keys: the memory is freed
    /// by [`Shard::sweep`].
    pub fn flush(&mut self, db: Option<u16>, now: Ms) {
        for (db, key) in self.watches.of(db) {
            let k = self.key(db, &key);
            if self.contains(&k, now) {
                self.watches.touch(db, &key);
            }
        }
        self.bury(db);
        self.effects.push(&Effect::Flush {
            db,
            slots: self.slots(),
        });
    }

    /// Drops tables without effect.
    pub(super) fn bury(&mut self, db: Option<u16>) {
        for (number, seat) in self.dbs.iter_mut().enumerate() {
            if db.is_none_or(|db| usize::from(db) == number) {
                self.graveyard.extend(seat.take());
            }
        }
    }

    /// Frees flushed memory, up to about `budget` keys; tells whether there is more.
    pub fn sweep(&mut self, budget: usize) -> bool {
        let _ = budget;
        self.graveyard.pop();
        !self.graveyard.is_empty()
    }

    // Counts.

    /// Living keys of a database, those past their expiry but not yet met included.
    pub fn len(&self, db: u16) -> u64 {
        self.dbs[usize::from(db)].as_deref().map_or(0, Db::len)
    }

    /// Whether no database holds a key.
    pub fn is_empty(&self) -> bool {
        self.dbs.iter().flatten().all(|db| db.len() == 0)
    }

    /// Keys of a database that have an expiry.
    pub fn expires(&self, db: u16) -> u64 {
        self.dbs[usize::from(db)].as_deref().map_or(0, Db::volatile)
    }

    /// Average time to live of a database's keys that have an expiry, in ms, estimated.
    pub fn average_ttl(&self, db: u16, now: Ms) -> u64 {
        self.dbs[usize::from(db)]
            .as_deref()
            .map_or(0, |db| db.average_ttl(now))
    }

    /// Bytes on the heap for keys, values and tables, estimated.
    pub fn bytes_used(&self) -> usize {
        self.dbs.iter().flatten().map(|db| db.bytes()).sum()
    }

    /// The counts.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// Sets the counts to zero, as CONFIG RESETSTAT does.
    pub fn reset_stats(&mut self) {
        self.stats = Stats::default();
    }

    // WATCH.

    /// Begins to watch a key; tells the version to compare with at EXEC. Every call is undone by one
    /// [`Shard::unwatch`].
    pub fn watch(&mut self, k: &Key<'_>, now: Ms) -> u64 {
        self.drop_if_expired(k, now);
        self.watches.add(k.db, k.bytes)
    }

    /// Ends one watch of the key.
    pub fn unwatch(&mut self, k: &Key<'_>) {
        self.watches.remove(k.db, k.bytes);
    }

    /// The version of a watched key. Equal to what [`Shard::watch`] told as long as nothing has
    /// changed the key; its expiry is a change.
    pub fn version(&mut self, k: &Key<'_>, now: Ms) -> u64 {
        self.drop_if_expired(k, now);
        self.watches.version(k.db, k.bytes)
    }

    // Prefetch: see `Keyspace`.

    /// First stage: the slot's header.
    #[inline]
    pub fn prefetch_slot(&self, _k: &Key<'_>) {}

    /// Second stage: the bucket.
    #[inline]
    pub fn prefetch_bucket(&self, _k: &Key<'_>) {}

    /// Third stage: the entry.
    #[inline]
    pub fn prefetch_entry(&self, _k: &Key<'_>) {}

    // The bones.

    pub(super) fn db(&mut self, k: &Key<'_>) -> &mut Db {
        self.dbs[usize::from(k.db)].get_or_insert_with(Default::default)
    }

    /// Writes a value; tells whether the key existed, and the expiry it has now.
    pub(super) fn put(
        &mut self,
        k: &Key<'_>,
        value: Owned,
        expire: Expire,
        now: Ms,
    ) -> (bool, Option<Ms>) {
        self.drop_if_expired(k, now);
        let clock = clock(now);
        let kept = self.db(k).find(k).map(|entry| entry.expire());
        let expire = match expire {
            Expire::None => None,
            Expire::At(at) => Some(at.max(1)),
            Expire::Keep => kept.flatten(),
        };
        if kept.is_some() {
            self.db(k).update(k, |entry| {
                entry.set_value(value, expire);
                entry.set_clock(clock);
            });
        } else {
            self.db(k)
                .insert(k, Entry::new(k.bytes, value, expire, clock));
        }
        self.watches.touch(k.db, k.bytes);
        (kept.is_some(), expire)
    }

    fn change<R>(&mut self, k: &Key<'_>, now: Ms, f: impl FnOnce(&mut Entry) -> R) -> Option<R> {
        let result = self.db(k).update(k, |entry| {
            entry.set_clock(clock(now));
            f(entry)
        });
        self.watches.touch(k.db, k.bytes);
        result
    }

    pub(super) fn remove(&mut self, k: &Key<'_>) -> Option<Entry> {
        let entry = self.dbs[usize::from(k.db)].as_deref_mut()?.remove(k)?;
        self.effects.push(&Effect::Del {
            db: k.db,
            key: k.bytes,
        });
        self.watches.touch(k.db, k.bytes);
        Some(entry)
    }

    pub(super) fn drop_if_expired(&mut self, k: &Key<'_>, now: Ms) -> bool {
        let entry = self.dbs[usize::from(k.db)]
            .as_deref()
            .and_then(|db| db.find(k));
        let gone = entry
            .and_then(|entry| entry.expire())
            .is_some_and(|at| now > at);
        if gone {
            self.remove(k);
            self.stats.expired += 1;
        }
        gone
    }
}

pub(super) const CLOCK_MASK: u32 = 0xff_ffff;

/// The access clock: unix seconds, the low 24 bits.
pub(super) fn clock(now: Ms) -> u32 {
    (now / 1000) as u32 & CLOCK_MASK
}
