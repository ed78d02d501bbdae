//! Two databases that change places.
//!
//! Promise: it takes no longer for more keys, and whoever watches, waits for or keeps a copy of a key in either of the
//! two is told. A swap is no statement about keys: behind a log that has lost what came last before it, it still swaps
//! what is there.

use std::ops::Range;

use super::db::Db;
use super::effect::Effect;
use super::shard::Shard;
use super::value::Ms;

impl Shard {
    /// What database `a` holds is in `b` from now on, and the other way round.
    pub fn swap(&mut self, a: u16, b: u16, now: Ms) {
        if a == b {
            return;
        }
        for db in [a, b] {
            for (db, key) in self.signals.watches.of(Some(db)) {
                // A key that is in neither stays away.
                let lives = |db| self.contains(&self.key(db, &key), now);
                if [a, b].map(lives).contains(&true) {
                    self.signals.watches.touch(db, &key);
                }
            }
        }
        let slots = self.slots();
        self.exchange(a, b, &slots);
        for db in [a, b] {
            for (db, key) in self.signals.waited(Some(db)) {
                self.signals.wake(db, &key);
            }
        }
        // Copies are known by their names alone, and any of them may be of either.
        self.signals.tracking.flush();
        self.effects.push(&Effect::Swap { dbs: (a, b), slots });
    }

    /// Exchanges what two databases hold in these slots.
    pub(super) fn exchange(&mut self, a: u16, b: u16, slots: &Range<u16>) {
        let (low, high) = (usize::from(a.min(b)), usize::from(a.max(b)));
        if low == high {
            return;
        }
        self.agenda.swapped = true;
        self.pool.clear();
        if slots.start <= self.slots.start && slots.end >= self.slots.end {
            self.dbs.swap(low, high);
            self.walks.swap(a, b);
            return;
        }
        // Part of a shard, as after a start with fewer of them.
        let own = self.slots.clone();
        let (front, back) = self.dbs.split_at_mut(high);
        let make = |seat: &mut Option<Box<Db>>| {
            if seat.is_none() {
                *seat = Some(Box::new(Db::new(own.clone())));
            }
        };
        make(&mut front[low]);
        make(&mut back[0]);
        if let (Some(first), Some(second)) = (&mut front[low], &mut back[0]) {
            first.swap_slots(second, slots.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::Expire;
    use crate::slot;

    const START: Ms = 1_700_000_000_000;

    #[test]
    fn who_watches_waits_or_keeps_a_copy_is_told() {
        let mut shard = Shard::new(0, slot::Map::new(1), 7, 3);
        let (there, other) = (shard.key(0, b"there"), shard.key(1, b"there"));
        let (none, third) = (shard.key(0, b"none"), shard.key(2, b"there"));
        shard.set(&there, b"v", Expire::None, START);
        shard.set(&third, b"v", Expire::None, START);
        shard.set_tracked(true, false);
        shard.remember(&there, 5, 100);
        let versions = [there, other, none, third].map(|k| shard.watch(&k, START));
        shard.wait_for(&other);
        shard.wait_for(&third);
        shard.swap(0, 0, START);
        assert!(!shard.has_ready() && !shard.has_news());
        shard.swap(0, 1, START);
        let now = [there, other, none, third].map(|k| shard.version(&k, START));
        let changed: Vec<bool> = versions.iter().zip(now).map(|(a, b)| *a != b).collect();
        assert_eq!(changed, [true, true, false, false]);
        assert_eq!(shard.take_ready(), [(1, Box::from(&b"there"[..]))]);
        assert!(shard.take_changes().flushed);
        assert!(shard.contains(&other, START) && !shard.contains(&there, START));
        assert_eq!((shard.len(0), shard.len(1), shard.len(2)), (0, 1, 1));
    }
}
