//! Keeping within `maxmemory`: each core makes room in its own shard.
//!
//! Promise: a command that may use memory runs only while what is in use is within the limit, or while room is being
//! made; and no step of making room removes more than a bounded number of keys.
//!
//! The allocator is asked ten times a second, which is far too seldom at a gigabyte a second; in between every core counts
//! what its own data takes, and the sum of both is known to all by one relaxed store and a few loads.

use super::Worker;
use super::clock::ticks;
use crate::command::Chance;
use crate::settings::{MaxmemoryPolicy, Storage};
use crate::shard::{Eviction, Frequency, Ranking};

/// Keys removed before one command.
const PER_COMMAND: usize = 64;
/// Keys removed in one tick in which no command asks for room.
const PER_TICK: usize = 16;

/// What a policy means for a shard.
pub(super) fn eviction(storage: &Storage) -> Option<Eviction> {
    use MaxmemoryPolicy::*;
    let (ranking, volatile_only) = match storage.maxmemory_policy {
        NoEviction => return None,
        AllKeysLru => (Ranking::Idle, false),
        AllKeysLfu => (Ranking::Frequency, false),
        AllKeysRandom => (Ranking::Random, false),
        VolatileLru => (Ranking::Idle, true),
        VolatileLfu => (Ranking::Frequency, true),
        VolatileRandom => (Ranking::Random, true),
        VolatileTtl => (Ranking::Expiry, true),
    };
    Some(Eviction {
        ranking,
        volatile_only,
        samples: storage.maxmemory_samples as usize,
    })
}

/// How uses are counted under a policy.
pub(super) fn frequency(storage: &Storage) -> Option<Frequency> {
    use MaxmemoryPolicy::{AllKeysLfu, VolatileLfu};
    matches!(storage.maxmemory_policy, AllKeysLfu | VolatileLfu).then_some(Frequency {
        log_factor: storage.lfu_log_factor,
        decay_minutes: storage.lfu_decay_time,
    })
}

impl Worker {
    /// Sees to it that a command that may use memory may run; whether it may.
    pub(super) fn make_room(&mut self) -> bool {
        self.tell_data();
        if !self.is_over() {
            return true;
        }
        // Where this shard has nothing to give, another may be giving already.
        self.evict(PER_COMMAND) > 0 || (self.eviction.is_some() && self.shared.any_evictable())
    }

    /// Makes some room where no command asks for it, and tells the shard how uses are noted.
    pub(super) fn watch_memory(&mut self) {
        if self.ks.has(self.core) {
            self.ks.shard(self.core).set_frequency(self.frequency);
        }
        // Whom this server follows decides what has to go.
        if self.settings.storage.maxmemory > 0 && !self.follows {
            self.tell_data();
            if self.is_over() {
                self.evict(PER_TICK);
            }
        }
    }

    fn is_over(&self) -> bool {
        self.shared.memory_by_now() > self.settings.storage.maxmemory
    }

    fn tell_data(&mut self) {
        if self.ks.has(self.core) {
            let eviction = self.eviction;
            let shard = self.ks.shard(self.core);
            let evictable = eviction.is_some_and(|how| shard.can_evict(how));
            let bytes = shard.bytes_used() as u64;
            let garbage = shard.garbage_bytes() as u64;
            self.shared.note_data(self.core, bytes, garbage, evictable);
        }
    }

    /// Removes keys of this core until there is room, at most so many; how many it removed.
    fn evict(&mut self, most: usize) -> usize {
        let Some(how) = self.eviction else { return 0 };
        if !self.ks.has(self.core) || self.log.accepts().is_err() {
            return 0;
        }
        let now = self.clock.unix_ms;
        let started = ticks();
        let mut chance = Chance::new(self.random);
        let mut removed = 0;
        while removed < most && self.is_over() {
            let shard = self.ks.shard(self.core);
            let gone = shard.evict(how, now, || chance.next());
            if !gone {
                break;
            }
            removed += 1;
            self.tell_data();
        }
        self.random = chance.next();
        let ns = self.clock.ns(ticks().wrapping_sub(started));
        if ns >= self.event_ns {
            self.note_event("eviction-cycle", ns);
        }
        removed
    }
}
