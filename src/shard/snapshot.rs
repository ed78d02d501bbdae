//! Writing a shard out, slot by slot, as effects that make it again.
//!
//! Promise: between two calls that each end a slot, everything about that slot is written as it was
//! at the call that ended it, provided the caller writes out again what was changed since the slot was
//! begun ([`Shard::snapshot_key`]). No call does more than it is told, but for one key's value.

use super::effect::{Effect, Effects};
use super::entry::Entry;
use super::shard::Shard;
use super::value::{Decimal, Key, Ms, Value};

/// Keys looked at before the bytes are counted again.
const STRIDE: usize = 32;

/// How far a snapshot has come: a slot, a database, and a place in the order of its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotAt {
    slot: u16,
    db: u16,
    place: u64,
}

impl SnapshotAt {
    /// The beginning of a slot.
    pub fn slot(slot: u16) -> SnapshotAt {
        SnapshotAt {
            slot,
            db: 0,
            place: 0,
        }
    }
}

/// Adds the effect that makes a key what this entry is; nothing if it has expired. Tells whether it has not.
fn write(db: u16, entry: &Entry, now: Ms, out: &mut Effects) -> bool {
    if entry.is_dead(now) {
        return false;
    }
    let (key, expire) = (entry.key(), entry.expire());
    match entry.value() {
        Value::Str(value) => out.push(&Effect::Set {
            db,
            key,
            value,
            expire,
        }),
        Value::Int(n) => out.push(&Effect::Set {
            db,
            key,
            value: Decimal::new(n).as_bytes(),
            expire,
        }),
        Value::Object(object) => out.push(&Effect::Restore {
            db,
            key,
            object: &object.encode(),
            expire,
        }),
    }
    true
}

impl Shard {
    /// Writes out keys from `at` on, which it moves, until about `bytes` more bytes are written or the slot
    /// is at its end. Tells whether it is, and how many keys were written.
    pub fn snapshot(
        &self,
        at: &mut SnapshotAt,
        bytes: usize,
        now: Ms,
        out: &mut Effects,
    ) -> (bool, u64) {
        let (limit, mut keys) = (out.buf.len().saturating_add(bytes), 0);
        while let Some(tables) = self.dbs.get(usize::from(at.db)) {
            let next = tables.as_deref().and_then(|tables| {
                // The entries lie all over the memory: asked for together, they are waited for once.
                tables.walk_slot(at.slot, at.place, STRIDE, Entry::prefetch);
                tables.walk_slot(at.slot, at.place, STRIDE, |entry| {
                    keys += u64::from(write(at.db, entry, now, out));
                })
            });
            match next {
                Some(place) => at.place = place,
                None => (at.db, at.place) = (at.db + 1, 0),
            }
            if out.buf.len() >= limit {
                return (usize::from(at.db) >= self.dbs.len(), keys);
            }
        }
        (true, keys)
    }

    /// Writes out what a key is now: its value, or that it is gone.
    pub fn snapshot_key(&self, k: &Key<'_>, now: Ms, out: &mut Effects) {
        let tables = self.dbs.get(usize::from(k.db)).and_then(Option::as_deref);
        let entry = tables.and_then(|tables| tables.find(k).map(|place| tables.at(place)));
        let written = entry.is_some_and(|entry| write(k.db, entry, now, out));
        if !written {
            out.push(&Effect::Del {
                db: k.db,
                key: k.bytes,
            });
        }
    }
}
