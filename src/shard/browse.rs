//! Going through keys: SCAN, KEYS, RANDOMKEY.
//!
//! Promise: a key that is there during a whole scan is returned by it, once, however the tables grow
//! or shrink meanwhile. A cursor is a place in the order (slot, hash), which no table's size moves:
//! the slot in bits 38 to 51, below it 38 bits of the hash. It fits the 53 bits that clients with
//! floating-point numbers can carry.

use super::db::pos;
use super::shard::Shard;
use super::value::{Key, Kind, Ms};
use crate::slot;

const POS_BITS: u32 = 38;

/// The slot at which a cursor goes on, which tells the shard to ask; `None` for a number that no scan
/// has ever answered.
pub fn scan_slot(cursor: u64) -> Option<u16> {
    u16::try_from(cursor >> POS_BITS)
        .ok()
        .filter(|&slot| slot < slot::SLOTS)
}

impl Shard {
    /// One step of a scan over the whole keyspace: calls `f` with the living keys from `cursor` on,
    /// about `count` of them and as many as share a cursor's place, and tells the next cursor, which may
    /// belong to the next shard; 0 is the end. `cursor` must belong to this shard.
    pub fn scan(
        &self,
        db: u16,
        cursor: u64,
        count: usize,
        now: Ms,
        mut f: impl FnMut(&[u8], Kind),
    ) -> u64 {
        let (slot, from) = ((cursor >> POS_BITS) as u16, cursor & ((1 << POS_BITS) - 1));
        if let Some(db) = self.dbs[usize::from(db)].as_deref() {
            let mut seen = 0;
            let mut last = None;
            for ((slot, pos, key), entry) in db.map.range((slot, from, Box::default())..) {
                if seen >= count && last != Some((*slot, *pos)) {
                    return u64::from(*slot) << POS_BITS | pos;
                }
                seen += 1;
                last = Some((*slot, *pos));
                if entry.expire().is_none_or(|at| now <= at) {
                    f(key, entry.value().kind());
                }
            }
        }
        if self.slots.end >= slot::SLOTS {
            0
        } else {
            u64::from(self.slots.end) << POS_BITS
        }
    }

    /// Calls `f` with every living key of a database.
    pub fn for_each_key(&self, db: u16, now: Ms, mut f: impl FnMut(&[u8], Kind)) {
        if let Some(db) = self.dbs[usize::from(db)].as_deref() {
            for ((_, _, key), entry) in &db.map {
                if entry.expire().is_none_or(|at| now <= at) {
                    f(key, entry.value().kind());
                }
            }
        }
    }

    /// A key of a database, each with the same chance. `random` gives 64 random bits a call.
    pub fn random_key(
        &mut self,
        db: u16,
        now: Ms,
        mut random: impl FnMut() -> u64,
    ) -> Option<Vec<u8>> {
        loop {
            let map = &self.dbs[usize::from(db)].as_deref()?.map;
            let nth = (random() % (map.len() as u64).max(1)) as usize;
            let ((slot, _, key), _) = map.iter().nth(nth)?;
            let key = key.to_vec();
            let k = Key {
                db,
                slot: *slot,
                hash: self.hasher.hash(&key),
                bytes: &key,
            };
            debug_assert_eq!(pos(k.hash), pos(self.hasher.hash(&key)));
            if !self.drop_if_expired(&k, now) {
                return Some(key);
            }
        }
    }
}
