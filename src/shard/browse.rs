//! Going through keys: SCAN, KEYS, RANDOMKEY.
//!
//! Promise: a key that is there during a whole scan is returned by it, however the tables grow or
//! shrink meanwhile; once, unless its slot's tables were joined while the scan was at them. A
//! cursor is a place in the order (slot, hash), which no table's size moves: the slot in bits 38 to
//! 51, below it 38 bits of the hash. It fits the 53 bits that clients with floating-point numbers
//! can carry.

use super::entry::Entry;
use super::shard::Shard;
use super::slots::PLACE_BITS;
use super::value::{Key, Kind, Ms};
use crate::slot;

/// Keys looked at in one go where all are wanted.
const STRIDE: usize = 1024;
/// How many dead keys RANDOMKEY removes before it looks for a living one in order.
const PATIENCE: usize = 128;

/// The slot at which a cursor goes on, which tells the shard to ask; `None` for a number that no
/// scan has ever answered.
pub fn scan_slot(cursor: u64) -> Option<u16> {
    u16::try_from(cursor >> PLACE_BITS)
        .ok()
        .filter(|&slot| slot < slot::SLOTS)
}

fn cursor(slot: u16, place: u64) -> u64 {
    u64::from(slot) << PLACE_BITS | place
}

impl Shard {
    /// One step of a scan over the whole keyspace: calls `f` with the living keys from `cursor` on,
    /// about `count` of them, and tells the next cursor, which may belong to the next shard; 0 is
    /// the end. `cursor` is 0 or what a scan has told, and belongs to this shard (see
    /// [`scan_slot`]); one of a shard before it is taken as this shard's beginning.
    pub fn scan(
        &self,
        db: u16,
        from: u64,
        count: usize,
        now: Ms,
        mut f: impl FnMut(&[u8], Kind),
    ) -> u64 {
        let (slot, place) = ((from >> PLACE_BITS) as u16, from & ((1 << PLACE_BITS) - 1));
        let visit = |entry: &Entry| {
            if !entry.is_dead(now) {
                f(entry.key(), entry.value().kind());
            }
        };
        let tables = self.dbs[usize::from(db)].as_deref();
        match tables.and_then(|tables| tables.walk(slot, place, count.max(1), visit)) {
            Some((slot, place)) => cursor(slot, place),
            None if self.slots.end < slot::SLOTS => cursor(self.slots.end, 0),
            None => 0,
        }
    }

    /// Calls `f` with every living key of a database.
    pub fn for_each_key(&self, db: u16, now: Ms, mut f: impl FnMut(&[u8], Kind)) {
        let Some(tables) = self.dbs[usize::from(db)].as_deref() else {
            return;
        };
        let mut at = Some((self.slots.start, 0));
        while let Some((slot, place)) = at {
            at = tables.walk(slot, place, STRIDE, |entry| {
                if !entry.is_dead(now) {
                    f(entry.key(), entry.value().kind());
                }
            });
        }
    }

    /// A living key of a database, each with the same chance. `random` gives 64 random bits a call.
    pub fn random_key(
        &mut self,
        db: u16,
        now: Ms,
        mut random: impl FnMut() -> u64,
    ) -> Option<Vec<u8>> {
        for _ in 0..PATIENCE {
            let entry = self.dbs[usize::from(db)].as_deref()?.choose(&mut random)?;
            let bytes = entry.key().to_vec();
            let hash = self.hasher.hash(&bytes);
            let k = Key {
                db,
                slot: slot::slot_of(&bytes),
                hash,
                bytes: &bytes,
            };
            if self.live(&k, now).is_some() {
                return Some(bytes);
            }
        }
        let mut found = None;
        self.for_each_key(db, now, |key, _| {
            found.get_or_insert_with(|| key.to_vec());
        });
        found
    }
}
