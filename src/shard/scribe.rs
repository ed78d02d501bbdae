//! A shard written out while it changes: the effects that make it again, slot after slot.
//!
//! Promise: when a slot is at its end, what was written of it makes it as the shard has it at that moment, whatever has
//! happened to it since it was begun, provided everything that happens is told ([`Scribe::hear`]) before more is
//! written. What changes in a slot that is still to come, or that is at its end, costs nothing.

use std::collections::HashSet;
use std::ops::Range;
use std::time::{Duration, Instant};

use super::effect::{Effect, Effects, records};
use super::keyspace::Keyspace;
use super::shard::Shard;
use super::snapshot::SnapshotAt;
use super::value::Ms;

/// A shard that is being written out.
pub struct Scribe {
    /// The next slot, and how far it is written.
    slot: u16,
    end: u16,
    at: Option<SnapshotAt>,
    /// Keys of that slot that changed since it was begun.
    changed: HashSet<(u16, Box<[u8]>)>,
    keys: u64,
    /// What was made and not taken yet.
    pub made: Effects,
}

/// How much is written at a time.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Bytes made between two looks at the clock, but for one key's value.
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
                    self.at = Some(SnapshotAt::slot(slot));
                    let slots = slot..slot + 1;
                    self.made.push(&Effect::Flush { db: None, slots });
                }
            }
        }
    }

    /// Writes on at this pace. Returns the slots that came to their end.
    pub fn write(&mut self, ks: &mut Keyspace, core: usize, pace: Pace, now: Ms) -> Range<u16> {
        let began = Instant::now();
        let first = self.slot;
        let most = self.made.buf.len().saturating_add(pace.bytes);
        while self.slot < self.end {
            let at = self.at.get_or_insert(SnapshotAt::slot(self.slot));
            let (done, keys) = ks.shard(core).snapshot(at, pace.bite, now, &mut self.made);
            self.keys += keys;
            if done {
                for (db, key) in self.changed.drain() {
                    let k = ks.key(db, &key);
                    ks.shard(core).snapshot_key(&k, now, &mut self.made);
                }
                self.at = None;
                self.slot += 1;
            }
            if began.elapsed() >= pace.time || self.made.buf.len() >= most {
                break;
            }
        }
        first..self.slot
    }
}
