//! Making room: which key goes when memory is short.
//!
//! Promise: one call removes at most one key, after a look at a few of each database: the best of what was seen lately
//! goes, which comes close to the best there is at a small part of the cost of knowing it.
//!
//! The algorithm is Redis's: a few keys are drawn at random, and the best candidates of this and earlier draws are kept in
//! a pool of sixteen. The idea rejected: a list in the order of use, which is sixteen bytes a key and two cache misses a
//! read.

use super::entry::Entry;
use super::notice;
use super::shard::Shard;
use super::value::{Key, Ms};
use crate::slot;

/// Candidates kept from one draw to the next.
const POOL: usize = 16;

/// What makes a key go before others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ranking {
    /// It was not used for longer.
    Idle,
    /// It is used less often.
    Frequency,
    /// It expires sooner.
    Expiry,
    /// Nothing.
    Random,
}

/// Which keys may go, and in which order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Eviction {
    /// The order.
    pub ranking: Ranking,
    /// Only keys that have an expiry.
    pub volatile_only: bool,
    /// Keys drawn from each database.
    pub samples: usize,
}

/// A key that may go.
#[derive(Debug)]
struct Candidate {
    /// The higher, the sooner it goes.
    score: u64,
    db: u16,
    key: Box<[u8]>,
}

/// The best candidates seen, the best last.
#[derive(Debug, Default)]
pub(super) struct Pool(Vec<Candidate>);

impl Pool {
    /// The databases have changed: who was a candidate is none any more.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    fn offer(&mut self, score: u64, db: u16, key: &[u8]) {
        if self.0.iter().any(|c| c.db == db && *c.key == *key) {
            return;
        }
        let mut at = self.0.partition_point(|c| c.score < score);
        if self.0.len() == POOL {
            if at == 0 {
                return;
            }
            self.0.remove(0);
            at -= 1;
        }
        let key = key.into();
        self.0.insert(at, Candidate { score, db, key });
    }
}

impl Shard {
    /// Removes the key that should go first, of those that may; tells whether there was one. `random` gives 64 random bits
    /// a call.
    pub fn evict(&mut self, how: Eviction, now: Ms, mut random: impl FnMut() -> u64) -> bool {
        // A candidate may be gone, or may not go any more: then the next has its turn.
        for _ in 0..2 {
            self.fill_pool(how, now, &mut random);
            while let Some(Candidate { db, key, .. }) = self.pool.0.pop() {
                let k = Key {
                    db,
                    slot: slot::slot_of(&key),
                    hash: self.hasher.hash(&key),
                    bytes: &key,
                };
                let stays = |entry: &Entry| how.volatile_only && !entry.is_volatile();
                let Some(place) = self.live(&k, now) else {
                    continue;
                };
                if stays(self.db(&k).at(place)) {
                    continue;
                }
                self.delete(&k, now);
                self.stats.evicted += 1;
                self.note(notice::EVICTED, "evicted", &k);
                return true;
            }
        }
        false
    }

    fn fill_pool(&mut self, how: Eviction, now: Ms, random: &mut impl FnMut() -> u64) {
        if how.ranking == Ranking::Random {
            // Yesterday's draw is as good as today's, but for another policy it was not made.
            self.pool.0.clear();
        }
        for (number, db) in self.dbs.iter().enumerate() {
            let Some(db) = db else { continue };
            let (uses, pool) = (&self.uses, &mut self.pool);
            let mut offer = |entry: &Entry, dice: u64| {
                let score = match how.ranking {
                    Ranking::Idle => uses.idle(entry.clock(), now),
                    Ranking::Frequency => {
                        255 - u64::from(uses.frequency(entry.clock(), now).unwrap_or(0))
                    }
                    Ranking::Expiry => u64::MAX - entry.expire().unwrap_or(u64::MAX),
                    Ranking::Random => dice,
                };
                pool.offer(score, number as u16, entry.key());
            };
            if how.volatile_only {
                db.choose_volatile(how.samples, &mut *random, |entry| offer(entry, 0));
            } else {
                for _ in 0..how.samples {
                    let dice = random();
                    if let Some(entry) = db.choose(&mut *random) {
                        offer(entry, dice);
                    }
                }
            }
        }
    }

    /// Whether any key may go.
    pub fn can_evict(&self, how: Eviction) -> bool {
        let mut dbs = self.dbs.iter().flatten();
        match how.volatile_only {
            true => dbs.any(|db| db.volatile() > 0),
            false => dbs.any(|db| db.len() > 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::{Effect, Expire, Frequency};

    const START: Ms = 1_700_000_000_000;

    fn shard() -> Shard {
        Shard::new(0, slot::Map::new(1), 7, 2)
    }

    fn fill(shard: &mut Shard, n: u32, mut each: impl FnMut(u32) -> (Expire, Ms)) {
        for i in 0..n {
            let name = i.to_string();
            let k = shard.key((i % 2) as u16, name.as_bytes());
            let (expire, at) = each(i);
            shard.set(&k, b"value", expire, at);
        }
    }

    fn left(shard: &mut Shard, now: Ms) -> Vec<u32> {
        let mut names = Vec::new();
        for db in 0..2 {
            shard.for_each_key(db, now, |name, _| {
                names.push(str::from_utf8(name).unwrap().parse().unwrap());
            });
        }
        names.sort_unstable();
        names
    }

    fn evict(shard: &mut Shard, ranking: Ranking, volatile_only: bool, n: u32) -> u32 {
        let how = Eviction {
            ranking,
            volatile_only,
            samples: 5,
        };
        let mut state = 1u64;
        let mut random = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1);
            state ^ state >> 33
        };
        let now = START + 1_000_000;
        (0..n)
            .map(|_| u32::from(shard.evict(how, now, &mut random)))
            .sum()
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let mut shard = shard();
        fill(&mut shard, 1000, |i| {
            (Expire::None, START + Ms::from(i) * 1000)
        });
        assert_eq!(evict(&mut shard, Ranking::Idle, false, 500), 500);
        let left = left(&mut shard, START + 1_000_000);
        let young = left.iter().filter(|&&i| i >= 500).count();
        assert!(left.len() == 500 && young > 425, "{young}");
        assert_eq!(shard.stats().evicted, 500);
    }

    #[test]
    fn what_is_used_least_goes_first() {
        let mut shard = shard();
        shard.set_frequency(Some(Frequency {
            log_factor: 1,
            decay_minutes: 0,
        }));
        fill(&mut shard, 1000, |_| (Expire::None, START));
        for i in 0..1000u32 {
            let name = i.to_string();
            let k = shard.key((i % 2) as u16, name.as_bytes());
            for _ in 0..i / 5 {
                shard.get(&k, START);
            }
        }
        evict(&mut shard, Ranking::Frequency, false, 500);
        let left = left(&mut shard, START);
        let often = left.iter().filter(|&&i| i >= 500).count();
        assert!(left.len() == 500 && often > 400, "{often}");
    }

    #[test]
    fn volatile_policies_leave_what_does_not_expire() {
        for ranking in [Ranking::Idle, Ranking::Random, Ranking::Expiry] {
            let mut shard = shard();
            fill(&mut shard, 1000, |i| {
                let expires = Expire::At(START + 10_000_000 + Ms::from(i) * 1000);
                (if i % 10 == 3 { expires } else { Expire::None }, START)
            });
            shard.effects.clear();
            assert_eq!(evict(&mut shard, ranking, true, 60), 60);
            let some = left(&mut shard, START);
            assert_eq!(some.iter().filter(|&&i| i % 10 != 3).count(), 900);
            let late = some.iter().filter(|&&i| i % 10 == 3 && i >= 600).count();
            assert!(ranking != Ranking::Expiry || late > 30, "{late}");
            let dels = shard
                .effects
                .iter()
                .all(|e| matches!(e, Ok(Effect::Del { .. })));
            assert!(dels && shard.effects.records == 60);
            assert_eq!(evict(&mut shard, ranking, true, 100), 40);
            assert_eq!(evict(&mut shard, ranking, true, 1), 0);
        }
    }
}
