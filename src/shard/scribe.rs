//! A shard written out while it changes: the effects that make it again, slot after slot.
//!
//! Promise: when a slot is at its end, what was written of it makes it as the shard has it at that moment, whatever has
//! happened to it since it was begun, provided everything that happens is told ([`Scribe::hear`]) before more is
//! written. What changes in a slot that is still to come, or that is at its end, costs nothing.

use std::collections::{HashSet, VecDeque};
use std::ops::Range;
use std::time::{Duration, Instant};

use super::effect::{Effect, Effects, records};
use super::keyspace::Keyspace;
use super::shard::Shard;
use super::snapshot::{LongKey, SnapshotAt, Written};
use super::value::Ms;

/// A shard that is being written out.
pub struct Scribe {
    /// The next slot, and how far it is written.
    slot: u16,
    end: u16,
    at: Option<SnapshotAt>,
    /// Keys of that slot that changed since it was begun.
    changed: HashSet<LongKey>,
    /// Keys of that slot whose values are written in pieces, and the one that is being written: its walk, key and expiry.
    long: VecDeque<LongKey>,
    walk: Option<(u64, LongKey, Option<Ms>)>,
    /// A walk that is not to go on.
    stale: Option<u64>,
    keys: u64,
    /// What was made and not taken yet.
    pub made: Effects,
}

/// How much is written at a time.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Bytes made between two looks at the clock, but for one key's value that is not written in pieces.
    pub bite: usize,
    /// Bytes made in all.
    pub bytes: usize,
    /// Time taken.
    pub time: Duration,
}

impl Scribe {
    /// Begins with the first slot of a shard.
    pub fn new(shard: &Shard) -> Scribe {
        let mut made = Effects::default();
        for (name, code) in shard.libraries() {
            let code = Some(code);
            made.push(&Effect::Library { name, code });
        }
        let Range { start, end } = shard.slots();
        Scribe {
            slot: start,
            end,
            at: None,
            changed: HashSet::new(),
            long: VecDeque::new(),
            walk: None,
            stale: None,
            keys: 0,
            made,
        }
    }

    /// Whether every slot is at its end.
    pub fn is_done(&self) -> bool {
        self.slot == self.end
    }

    /// Keys written so far.
    pub fn keys(&self) -> u64 {
        self.keys
    }

    /// Takes note of what has happened.
    pub fn hear(&mut self, effects: &[u8]) {
        if self.at.is_none() {
            return;
        }
        let slot = self.slot;
        for effect in records(effects).flatten() {
            if !effect.slots().contains(&slot) {
                continue;
            }
            match (effect.key(), &effect) {
                (Some((db, key)), _) => {
                    self.changed.insert((db, key.into()));
                }
                (None, Effect::Library { .. }) => self.made.push(&effect),
                // It changes keys that it does not name: the slot is begun again.
                (None, _) => {
                    self.changed.clear();
                    self.long.clear();
                    self.stale = self.walk.take().map(|(walk, ..)| walk).or(self.stale);
                    self.at = Some(SnapshotAt::slot(slot));
                    let slots = slot..slot + 1;
                    self.made.push(&Effect::Flush { db: None, slots });
                }
            }
        }
    }

    /// Whether it holds a key: who would change that in place waits, or has the rest of it written at once.
    pub fn holds(&self) -> bool {
        self.walk.is_some() || self.stale.is_some()
    }

    /// Lets go of the key that it holds.
    pub fn let_go(&mut self, shard: &mut Shard) {
        let walk = self.walk.take().map(|(walk, ..)| walk);
        for walk in walk.into_iter().chain(self.stale.take()) {
            shard.end_walk(walk);
        }
    }

    /// Goes on with long values; tells whether there are none left.
    fn write_long(&mut self, ks: &mut Keyspace, core: usize, now: Ms) -> bool {
        if let Some(walk) = self.stale.take() {
            ks.shard(core).end_walk(walk);
        }
        if let Some((walk, (db, key), expire)) = self.walk.take() {
            self.made.records += 1;
            if ks.shard(core).walk(walk, &mut self.made.buf) {
                self.walk = Some((walk, (db, key), expire));
                return false;
            }
            self.keys += 1;
            if let Some(at) = expire {
                let key = &key;
                self.made.push(&Effect::ExpireAt { db, key, at });
            }
        } else if let Some(long) = self.long.pop_front() {
            // It is written as it is now.
            self.changed.remove(&long);
            let k = ks.key(long.0, &long.1);
            let begun = ks.shard(core).begin_pieces(&k, now, &mut self.made);
            self.walk = begun.map(|(walk, expire)| (walk, long, expire));
        }
        self.walk.is_none() && self.long.is_empty()
    }

    /// Writes on at this pace. Returns the slots that came to their end.
    pub fn write(&mut self, ks: &mut Keyspace, core: usize, pace: Pace, now: Ms) -> Range<u16> {
        let began = Instant::now();
        let first = self.slot;
        let most = self.made.buf.len().saturating_add(pace.bytes);
        while self.slot < self.end {
            if self.write_long(ks, core, now) {
                self.write_short(ks, core, pace.bite, now);
            }
            if began.elapsed() >= pace.time || self.made.buf.len() >= most {
                break;
            }
        }
        first..self.slot
    }

    /// Goes on with the slot's keys, or with those that have changed since, or with the next slot.
    fn write_short(&mut self, ks: &mut Keyspace, core: usize, bite: usize, now: Ms) {
        let at = self.at.get_or_insert(SnapshotAt::slot(self.slot));
        let (made, long) = (&mut self.made, &mut self.long);
        let (done, keys) = ks.shard(core).snapshot(at, bite, now, made, long);
        self.keys += keys;
        if !done || !self.long.is_empty() {
            return;
        }
        for (db, key) in self.changed.drain() {
            let k = ks.key(db, &key);
            if ks.shard(core).snapshot_key(&k, now, &mut self.made) == Written::Long {
                self.long.push_back((db, key));
            }
        }
        if self.long.is_empty() {
            self.at = None;
            self.slot += 1;
        }
    }
}
