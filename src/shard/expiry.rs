//! Active expiry: removing keys nobody asks for any more.
//!
//! Promise: a step is bounded. Where fewer than sixteen keys of a table expire, each is removed
//! within about a second of its time (plus the time the steps take); elsewhere at most one in
//! sixteen is dead, and none for more than about a minute. The work is at most sixteen looks for a
//! removal, apart from that last rule.
//!
//! # The algorithm
//! Each table knows when it is worth a look, in steps of a second; each group of 128 slots knows it
//! of its tables. A round goes over the groups and slots that are due and looks only at their keys
//! that have an expiry (a bit in the word tells). With nothing due a round is one comparison for
//! every 128 slots.
//!
//! Rejected: Redis's random sampling (the effort goes on while nothing is due); a heap or wheel of
//! all expiries (16 bytes and more a key, and each EXPIRE moves in it).

use super::db;
use super::effect::Effect;
use super::shard::Shard;
use super::value::Ms;

/// Where the next step goes on.
#[derive(Debug, Default)]
pub(super) struct Position {
    db: usize,
    within: db::Position,
}

/// What one step did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cycle {
    /// Keys looked at or removed.
    pub work: usize,
    /// Keys removed.
    pub expired: usize,
    /// Whether keys that are due may be left: call again soon. Otherwise the round is complete, and
    /// the next is worth starting in a tenth of a second.
    pub more: bool,
}

impl Shard {
    /// One bounded step: looks at or removes up to about `budget` keys (and at most one table, of
    /// under two thousand keys, beyond it). A thousand take less than 100 us. Costs next to nothing
    /// when nothing is due, so it may be called often; when `more` is told it should be called
    /// again after some other work.
    pub fn expire_cycle(&mut self, now: Ms, budget: usize) -> Cycle {
        let mut left = budget.max(1);
        let mut expired = 0;
        while let Some(seat) = self.dbs.get_mut(self.cycle.db) {
            let number = self.cycle.db as u16;
            if let Some(tables) = seat {
                let (effects, signals) = (&mut self.effects, &mut self.signals);
                let (graveyard, walks) = (&mut self.graveyard, &mut self.walks);
                expired += tables.expire(now, &mut self.cycle.within, &mut left, |entry| {
                    effects.push(&Effect::Del {
                        db: number,
                        key: entry.key(),
                    });
                    signals.expired(number, entry.key());
                    walks.keep(number, entry);
                    graveyard.bury_object(entry.take_large());
                });
                if left == 0 {
                    break;
                }
            }
            self.cycle = Position {
                db: self.cycle.db + 1,
                within: db::Position::default(),
            };
        }
        let more = self.cycle.db < self.dbs.len();
        if !more {
            self.cycle = Position::default();
        }
        self.stats.expired += expired as u64;
        self.stats.expired_by_cycle += expired as u64;
        Cycle {
            work: budget.max(1) - left,
            expired,
            more,
        }
    }
}
