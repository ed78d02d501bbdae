//! Active expiry: removing keys nobody asks for any more.

use super::shard::Shard;
use super::value::{Key, Ms};

/// Where the next step goes on.
#[derive(Debug, Default)]
pub(super) struct Position;

/// What one step did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cycle {
    /// Keys looked at.
    pub examined: usize,
    /// Keys removed.
    pub expired: usize,
    /// Whether keys that are due are left: call again soon.
    pub more: bool,
}

impl Shard {
    /// One bounded step: looks at up to about `budget` keys that have an expiry and removes those whose
    /// time has come.
    pub fn expire_cycle(&mut self, now: Ms, budget: usize) -> Cycle {
        let mut cycle = Cycle::default();
        for db in 0..self.dbs.len() as u16 {
            let Some(tables) = self.dbs[usize::from(db)].as_deref() else {
                continue;
            };
            let due = |at: Ms| now > at;
            let dead: Vec<(u16, Box<[u8]>)> = tables
                .map
                .iter()
                .filter(|(_, entry)| entry.expire().is_some_and(due))
                .take(budget)
                .map(|((slot, _, key), _)| (*slot, key.clone()))
                .collect();
            cycle.examined += dead.len();
            for (slot, key) in dead {
                let k = Key {
                    db,
                    slot,
                    hash: self.hasher.hash(&key),
                    bytes: &key,
                };
                if self.drop_if_expired(&k, now) {
                    self.stats.expired_by_cycle += 1;
                    cycle.expired += 1;
                }
            }
        }
        cycle.more = cycle.expired >= budget;
        cycle
    }
}
