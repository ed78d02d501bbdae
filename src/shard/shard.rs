//! The verbs of a shard: reads, writes, removal, what is known of a key.
//!
//! Promise: every mutator appends its effect, moves the versions of watched keys and keeps the
//! counts, in the call that changes the key. Keys past their expiry are never seen: whichever verb
//! meets one removes it and logs that.

use std::collections::BTreeMap;
use std::ops::Range;

use super::agenda::Agenda;
use super::db::{Db, Place};
use super::effect::{Effect, Effects};
use super::entry::{Entry, New};
use super::evict::Pool;
use super::expiry::Position;
use super::grave::Graveyard;
use super::hash::Hasher;
use super::notice;
use super::signals::Signals;
use super::uses::{Frequency, Said, Uses};
use super::value::{Decimal, Dump, Expire, Key, Meta, Ms, Owned, Value, parse_int};
use super::walk::Walks;
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
    /// Keys removed to make room.
    pub evicted: u64,
}

/// One core's keys. `Send`: it moves between cores in its box when a transaction spans shards.
#[derive(Debug)]
pub struct Shard {
    /// Its number, `0..map.shards()`.
    pub id: usize,
    /// What it did since the owner last drained this.
    pub effects: Effects,
    /// Log what a key holds after a change instead of the change itself. Set while a transaction
    /// spans shards: after a crash its part may be applied to a log that lost what came before.
    pub whole: bool,
    /// Another server decides when a key is past its time: such keys are not seen, and stay until that server has them
    /// removed. It may yet give them longer, by a command that is still on its way.
    pub follows: bool,
    /// Reads leave access times as they are.
    pub(super) quiet: bool,
    /// Memory for the operation that is being logged.
    pub(super) scratch: Vec<u8>,
    pub(super) slots: Range<u16>,
    pub(super) hasher: Hasher,
    pub(super) dbs: Vec<Option<Box<Db>>>,
    pub(super) signals: Signals,
    pub(super) stats: Stats,
    pub(super) uses: Uses,
    pub(super) pool: Pool,
    pub(super) graveyard: Graveyard,
    pub(super) cycle: Position,
    pub(super) agenda: Agenda,
    pub(super) walks: Walks,
    /// The code of each library of functions, if slot 0 is one of this shard's.
    libraries: BTreeMap<Box<[u8]>, Box<[u8]>>,
}

/// How a read counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    /// As a use of the key: hit or miss, and its access time unless the client asked to leave it.
    Use,
    /// As a use of the key, whatever the client asked.
    Touch,
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
            whole: false,
            follows: false,
            quiet: false,
            scratch: Vec::new(),
            slots: map.range(id),
            hasher: Hasher::new(seed),
            dbs: (0..databases).map(|_| None).collect(),
            signals: Signals::default(),
            stats: Stats::default(),
            uses: Uses::new(seed),
            pool: Pool::default(),
            graveyard: Graveyard::default(),
            cycle: Position::default(),
            agenda: Agenda::default(),
            walks: Walks::default(),
            libraries: BTreeMap::new(),
        }
    }

    /// The slots it owns.
    pub fn slots(&self) -> Range<u16> {
        self.slots.clone()
    }

    /// A key with its slot and hash, as [`super::Keyspace::key`] makes it.
    #[inline]
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

    #[inline]
    fn read(&mut self, k: &Key<'_>, now: Ms, access: Access) -> Option<Value<'_>> {
        let found = self.live(k, now);
        if access != Access::Peek {
            match found {
                Some(_) => self.stats.hits += 1,
                None => {
                    self.stats.misses += 1;
                    self.note(notice::MISSED, "keymiss", k);
                }
            }
        }
        let place = found?;
        let entry = self.dbs[usize::from(k.db)].as_deref_mut()?.at_mut(place);
        if access == Access::Touch || (access == Access::Use && !self.quiet) {
            let note = self.uses.used(entry.clock(), now);
            entry.set_clock(note);
        }
        Some(entry.value())
    }

    /// Whether the key lives. Uncounted.
    pub fn contains(&mut self, k: &Key<'_>, now: Ms) -> bool {
        self.peek(k, now).is_some()
    }

    /// Marks an access, as TOUCH does; tells whether the key lives. Counts as hit or miss.
    pub fn touch(&mut self, k: &Key<'_>, now: Ms) -> bool {
        self.read(k, now, Access::Touch).is_some()
    }

    /// What is known of the key beside its value. Uncounted.
    pub fn meta(&mut self, k: &Key<'_>, now: Ms) -> Option<Meta> {
        let place = self.live(k, now)?;
        let entry = self.dbs[usize::from(k.db)].as_deref()?.at(place);
        let value = entry.value();
        Some(Meta {
            kind: value.kind(),
            encoding: entry.encoding(),
            expire_at: entry.expire(),
            idle_secs: self.uses.idle(entry.clock(), now),
            frequency: self.uses.frequency(entry.clock(), now),
            value_len: value.len(),
            bytes: entry.heap_bytes() + size_of::<Option<Entry>>(),
        })
    }

    /// When the key expires: `None` for no such key, `Some(None)` for never. Counts as hit or miss.
    pub fn expiry(&mut self, k: &Key<'_>, now: Ms) -> Option<Option<Ms>> {
        self.look(k, now)?;
        self.entry(k, now).map(Entry::expire)
    }

    // Writes.

    /// Makes the key hold this string, whatever it held; tells whether it existed. A string that is
    /// a canonical decimal number is kept as a number.
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
        let (existed, expire) = self.put(k, New::Int(n), expire, now);
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
        let Some(place) = self.live(k, now) else {
            self.set(k, bytes, Expire::None, now);
            return bytes.len();
        };
        let len = self.db(k).at(place).value().len();
        if bytes.is_empty() {
            // Redis counts it as a change all the same.
            self.signals.touch(k.db, k.bytes);
            return len;
        }
        if self.whole {
            let len = self.change(k, place, now, |entry| entry.set_range(len, bytes));
            self.log_whole(k, now);
            return len;
        }
        self.effects.push(&Effect::Append {
            db: k.db,
            key: k.bytes,
            value: bytes,
        });
        self.change(k, place, now, |entry| entry.set_range(len, bytes))
    }

    /// Overwrites the string from `offset` on, with zeros before it if it was shorter, or makes
    /// one; tells the new length. Writing no bytes changes nothing. Same conditions as
    /// [`Shard::append`].
    pub fn set_range(&mut self, k: &Key<'_>, offset: usize, bytes: &[u8], now: Ms) -> usize {
        let place = self.live(k, now);
        if bytes.is_empty() {
            return place.map_or(0, |place| self.db(k).at(place).value().len());
        }
        let Some(place) = place else {
            let mut value = vec![0; offset];
            value.extend_from_slice(bytes);
            self.set(k, &value, Expire::None, now);
            return value.len();
        };
        if self.whole {
            let len = self.change(k, place, now, |entry| entry.set_range(offset, bytes));
            self.log_whole(k, now);
            return len;
        }
        let at = offset as u64;
        self.effects.push(&Effect::SetRange {
            db: k.db,
            key: k.bytes,
            offset: at,
            value: bytes,
        });
        self.change(k, place, now, |entry| entry.set_range(offset, bytes))
    }

    /// Sets or removes the expiry of a living key; tells whether there is one. A time in the past
    /// is stored like any other: who wants the key gone deletes it.
    pub fn expire_at(&mut self, k: &Key<'_>, at: Option<Ms>, now: Ms) -> bool {
        let Some(place) = self.live(k, now) else {
            return false;
        };
        let at = at.map(|at| at.max(1));
        let db = self.db(k);
        if db.at(place).expire() != at {
            db.update(place, |entry| entry.set_expire(at));
            if self.whole {
                self.log_whole(k, now);
            } else {
                self.effects.push(&Effect::ExpireAt {
                    db: k.db,
                    key: k.bytes,
                    at: at.unwrap_or(0),
                });
            }
            self.signals.touch(k.db, k.bytes);
        }
        true
    }

    /// Logs what a key that was just changed holds now. A time of expiry in the past stays with it.
    pub(super) fn log_whole(&mut self, k: &Key<'_>, now: Ms) {
        let Some(dump) = self.copy_out(k, now) else {
            // It expired by the change, and the removal was logged as such.
            return;
        };
        let (db, key, expire) = (k.db, k.bytes, dump.expire);
        match &dump.value {
            Owned::Object(object) => {
                let object = &object.encode();
                self.effects.push(&Effect::Restore {
                    db,
                    key,
                    object,
                    expire,
                });
            }
            Owned::Str(value) => self.effects.push(&Effect::Set {
                db,
                key,
                value,
                expire,
            }),
            Owned::Int(n) => {
                let value = Decimal::new(*n);
                let value = value.as_bytes();
                self.effects.push(&Effect::Set {
                    db,
                    key,
                    value,
                    expire,
                });
            }
        }
    }

    /// Removes the key; tells whether it lived.
    pub fn delete(&mut self, k: &Key<'_>, now: Ms) -> bool {
        let place = self.live(k, now);
        place.map(|place| self.remove(k, place)).is_some()
    }

    /// A copy of the value and expiry, for COPY. Counts as hit or miss and as an access.
    pub fn dump(&mut self, k: &Key<'_>, now: Ms) -> Option<Dump> {
        self.get(k, now)?;
        self.copy_out(k, now)
    }

    /// The value and expiry out of the shard, for RENAME and MOVE; the key is gone. Uncounted.
    pub fn take(&mut self, k: &Key<'_>, now: Ms) -> Option<Dump> {
        let place = self.live(k, now)?;
        self.hurry(k);
        let mut entry = self.db(k).remove(place);
        let (object, expire) = (entry.take_object(), entry.expire());
        let value = match (object, entry.value()) {
            (Some(mut object), _) => {
                object.unschedule();
                Owned::Object(object)
            }
            (None, Value::Str(bytes)) => Owned::Str(bytes.to_vec()),
            (None, Value::Int(n)) => Owned::Int(n),
            (None, Value::Object(object)) => Owned::Object(Box::new(object.clone())),
        };
        self.effects.push(&Effect::Del {
            db: k.db,
            key: k.bytes,
        });
        self.signals.touch(k.db, k.bytes);
        Some(Dump { value, expire })
    }

    fn copy_out(&mut self, k: &Key<'_>, now: Ms) -> Option<Dump> {
        let entry = self.entry(k, now)?;
        let value = match entry.value() {
            Value::Str(bytes) => Owned::Str(bytes.to_vec()),
            Value::Int(n) => Owned::Int(n),
            Value::Object(object) => Owned::Object(Box::new(object.clone())),
        };
        Some(Dump {
            value,
            expire: entry.expire(),
        })
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
                let encoded = object.encode();
                let (_, expire) = self.put(k, New::Object(object), expire, now);
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

    /// Notes what is said of a key's use, where the eviction policy counts that. Like every access it is not logged.
    pub fn set_use(&mut self, k: &Key<'_>, said: Said, now: Ms) {
        if let Some(place) = self.live(k, now) {
            let before = self.db(k).at(place).clock();
            let note = self.uses.said(said, before, now);
            self.db(k).update(place, |entry| entry.set_clock(note));
        }
    }

    /// Removes every key of a database, or of all. Takes no longer for more keys: the memory is
    /// freed by [`Shard::sweep`].
    pub fn flush(&mut self, db: Option<u16>, now: Ms) {
        for (db, key) in self.signals.watches.of(db) {
            let k = self.key(db, &key);
            if self.contains(&k, now) {
                self.signals.touch(db, &key);
            }
        }
        for (db, key) in self.signals.waited(db) {
            self.signals.touch(db, &key);
        }
        self.bury(db);
        self.signals.tracking.flush();
        self.effects.push(&Effect::Flush {
            db,
            slots: self.slots(),
        });
    }

    /// Keeps the code of a library of functions, or forgets the library.
    pub fn set_library(&mut self, name: &[u8], code: Option<&[u8]>) {
        self.keep_library(name, code);
        self.effects.push(&Effect::Library { name, code });
    }

    pub(super) fn keep_library(&mut self, name: &[u8], code: Option<&[u8]>) {
        match code {
            Some(code) => self.libraries.insert(name.into(), code.into()),
            None => self.libraries.remove(name),
        };
    }

    /// The libraries of functions, by name, with their code.
    pub fn libraries(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let all = self.libraries.iter();
        all.map(|(name, code)| (&**name, &**code))
    }

    /// Frees memory of flushed databases, about `budget` keys of it; tells whether there is more. A
    /// few thousand take less than 100 us.
    pub fn sweep(&mut self, budget: usize) -> bool {
        self.graveyard.sweep(budget)
    }

    /// Whether [`Shard::sweep`] has something to free.
    #[inline]
    pub fn has_garbage(&self) -> bool {
        self.graveyard.holds_any()
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

    /// Bytes of what was deleted and is still to be freed, about.
    pub fn garbage_bytes(&self) -> usize {
        self.graveyard.bytes()
    }

    /// The counts.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// Sets the counts to zero, as CONFIG RESETSTAT does.
    pub fn reset_stats(&mut self) {
        self.stats = Stats::default();
    }

    /// The time of day, for changes that come without one (see [`Shard::follows`]): uses are not noted earlier than this.
    pub fn note_time(&mut self, now: Ms) {
        self.uses.floor = now;
    }

    /// From now on uses are noted as frequencies, or as times.
    pub fn set_frequency(&mut self, frequency: Option<Frequency>) {
        self.uses.frequency = frequency;
    }

    // Prefetch: see `Keyspace`.

    /// First stage: the slot's header.
    #[inline]
    pub fn prefetch_slot(&self, k: &Key<'_>) {
        if let Some(Some(db)) = self.dbs.get(usize::from(k.db)) {
            db.prefetch_slot(k);
        }
    }

    /// Second stage: the bucket.
    #[inline]
    pub fn prefetch_bucket(&self, k: &Key<'_>) {
        if let Some(Some(db)) = self.dbs.get(usize::from(k.db)) {
            db.prefetch_cells(k);
        }
    }

    /// Third stage: the entry.
    #[inline]
    pub fn prefetch_entry(&self, k: &Key<'_>) {
        if let Some(Some(db)) = self.dbs.get(usize::from(k.db)) {
            db.prefetch_entry(k);
        }
    }

    // The bones.

    /// The database of a key, made if need be.
    #[inline]
    pub(super) fn db(&mut self, k: &Key<'_>) -> &mut Db {
        let slots = &self.slots;
        self.dbs[usize::from(k.db)].get_or_insert_with(|| Box::new(Db::new(slots.clone())))
    }

    #[inline]
    pub(super) fn find(&self, k: &Key<'_>) -> Option<Place> {
        self.dbs[usize::from(k.db)].as_deref()?.find(k)
    }

    /// Where the key is, if it lives; if its time has come it is removed, unless that is for another server to decide.
    #[inline]
    pub(super) fn live(&mut self, k: &Key<'_>, now: Ms) -> Option<Place> {
        let db = self.dbs[usize::from(k.db)].as_deref()?;
        let place = db.find(k)?;
        if db.at(place).is_dead(now) {
            if !self.follows {
                self.bury_dead(k, place);
            }
            return None;
        }
        Some(place)
    }

    #[cold]
    fn bury_dead(&mut self, k: &Key<'_>, place: Place) {
        self.remove(k, place);
        self.signals.expired(k.db, k.bytes);
        self.stats.expired += 1;
    }

    fn entry(&mut self, k: &Key<'_>, now: Ms) -> Option<&Entry> {
        let place = self.live(k, now)?;
        Some(self.db(k).at(place))
    }

    /// Writes a value; tells whether the key existed, and the expiry it has now.
    #[inline]
    fn put(&mut self, k: &Key<'_>, value: New<'_>, expire: Expire, now: Ms) -> (bool, Option<Ms>) {
        let place = self.live(k, now);
        let expire = match (expire, place) {
            (Expire::At(at), _) => Some(at.max(1)),
            (Expire::Keep, Some(place)) => self.db(k).at(place).expire(),
            (Expire::Keep | Expire::None, _) => None,
        };
        let note = match place {
            Some(place) => {
                let before = self.db(k).at(place).clock();
                self.uses.used(before, now)
            }
            None => self.uses.fresh(now),
        };
        self.store(k, place, value, expire, note);
        self.signals.touch(k.db, k.bytes);
        if place.is_none() {
            self.note(notice::NEW, "new", k);
        }
        (place.is_some(), expire)
    }

    /// Puts a value where the key is, or adds the key.
    #[inline]
    pub(super) fn store(
        &mut self,
        k: &Key<'_>,
        place: Option<Place>,
        mut value: New<'_>,
        expire: Option<Ms>,
        clock: u32,
    ) {
        let due = match &mut value {
            New::Object(object) => object.schedule(),
            _ => None,
        };
        match place {
            Some(place) => {
                self.keep_replaced(k, place);
                let large = self.db(k).update(place, |entry| {
                    let large = entry.take_large();
                    entry.set_value(value, expire, clock);
                    large
                });
                self.graveyard.bury_object(large);
            }
            None => {
                self.db(k); // there from here on
                if let Some(Some(db)) = self.dbs.get_mut(usize::from(k.db)) {
                    db.insert(
                        k,
                        Entry::new(0, k.bytes, value, expire, clock),
                        &self.hasher,
                    );
                }
            }
        }
        if let Some(at) = due {
            self.enter(k, at);
        }
    }

    fn change<R>(
        &mut self,
        k: &Key<'_>,
        place: Place,
        now: Ms,
        f: impl FnOnce(&mut Entry) -> R,
    ) -> R {
        self.signals.touch(k.db, k.bytes);
        let before = self.db(k).at(place).clock();
        let note = self.uses.used(before, now);
        self.db(k).update(place, |entry| {
            entry.set_clock(note);
            f(entry)
        })
    }

    fn remove(&mut self, k: &Key<'_>, place: Place) {
        let mut entry = self.db(k).remove(place);
        self.walks.keep(k.db, &mut entry);
        let large = entry.take_large();
        self.graveyard.bury_object(large);
        self.effects.push(&Effect::Del {
            db: k.db,
            key: k.bytes,
        });
        self.signals.touch(k.db, k.bytes);
    }

    /// Hands the tables of a database, or of all, to the graveyard.
    pub(super) fn bury(&mut self, db: Option<u16>) {
        self.keep_walked(db);
        for (number, seat) in self.dbs.iter_mut().enumerate() {
            if db.is_none_or(|db| usize::from(db) == number)
                && let Some(db) = seat.take()
            {
                self.graveyard.bury(*db);
            }
        }
    }
}

/// A string as it is best kept.
#[inline]
pub(super) fn compact(bytes: &[u8]) -> New<'_> {
    parse_int(bytes).map_or(New::Text(bytes), New::Int)
}
