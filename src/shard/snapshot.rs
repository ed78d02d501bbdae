//! Writing a shard out, slot by slot, as effects that make it again.
//!
//! Promise: between two calls that each end a slot, everything about that slot is written as it was
//! at the call that ended it, provided the caller writes out again what was changed since the slot was
//! begun ([`Shard::snapshot_key`]). No call does more than it is told, but for one
//! key's value, and long ones are left to be written in pieces.

use std::collections::VecDeque;

use super::effect::{Effect, Effects};
use super::entry::Entry;
use super::pieces::{has_pieces, step};
use super::shard::Shard;
use super::value::{Decimal, Key, Ms, Value};
use crate::resp::Proto;

/// A key in a database.
pub type LongKey = (u16, Box<[u8]>);

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

/// What became of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// The effect that makes it was added.
    Whole,
    /// It has expired: nothing was.
    Nothing,
    /// It is to be written in pieces ([`Shard::begin_pieces`]).
    Long,
}

/// Adds the effect that makes a key what this entry is, unless it has expired or is long.
fn write(db: u16, entry: &Entry, now: Ms, out: &mut Effects) -> Written {
    if entry.is_dead(now) {
        return Written::Nothing;
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
        Value::Object(object) if has_pieces(object) => return Written::Long,
        Value::Object(object) => out.push(&Effect::Restore {
            db,
            key,
            object: &object.encode(),
            expire,
        }),
    }
    Written::Whole
}

impl Shard {
    /// Writes out keys from `at` on, which it moves, until about `bytes` more bytes are written or the slot
    /// is at its end. Tells whether it is, and how many keys were written; `long` gets the keys that were not, because they
    /// are long.
    pub fn snapshot(
        &self,
        at: &mut SnapshotAt,
        bytes: usize,
        now: Ms,
        out: &mut Effects,
        long: &mut VecDeque<LongKey>,
    ) -> (bool, u64) {
        let (limit, mut keys) = (out.buf.len().saturating_add(bytes), 0);
        while let Some(tables) = self.dbs.get(usize::from(at.db)) {
            let next = tables.as_deref().and_then(|tables| {
                // The entries lie all over the memory: asked for together, they are waited for once.
                tables.walk_slot(at.slot, at.place, STRIDE, Entry::prefetch);
                tables.walk_slot(at.slot, at.place, STRIDE, |entry| {
                    match write(at.db, entry, now, out) {
                        Written::Whole => keys += 1,
                        Written::Long => long.push_back((at.db, entry.key().into())),
                        Written::Nothing => {}
                    }
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

    fn entry_at(&self, k: &Key<'_>) -> Option<&Entry> {
        let tables = self.dbs.get(usize::from(k.db)).and_then(Option::as_deref)?;
        tables.find(k).map(|place| tables.at(place))
    }

    /// Writes out what a key is now: its value, unless that is long, or that it is gone.
    pub fn snapshot_key(&self, k: &Key<'_>, now: Ms, out: &mut Effects) -> Written {
        let entry = self.entry_at(k);
        let written = entry.map_or(Written::Nothing, |entry| write(k.db, entry, now, out));
        if written == Written::Nothing {
            out.push(&Effect::Del {
                db: k.db,
                key: k.bytes,
            });
        }
        written
    }

    /// Begins to write out a long value in pieces: the number of the walk that writes them ([`Shard::walk`]), and
    /// when the key expires. If it is not long any more, or gone, that is written, and there is no walk.
    pub fn begin_pieces(
        &mut self,
        k: &Key<'_>,
        now: Ms,
        out: &mut Effects,
    ) -> Option<(u64, Option<Ms>)> {
        if self.snapshot_key(k, now, out) != Written::Long {
            return None;
        }
        let entry = self.entry_at(k)?;
        let Value::Object(object) = entry.value() else {
            return None;
        };
        let (expire, step) = (entry.expire(), step(k.db, k.bytes, object));
        let (db, key) = (k.db, k.bytes);
        // What was written of it before is not to be added to.
        out.push(&Effect::Del { db, key });
        Some((self.begin_walk(k, Proto::Resp2, step), expire))
    }
}
