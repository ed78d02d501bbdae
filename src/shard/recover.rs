//! Recovery: effects from the log back into memory.
//!
//! Promise: applying a shard's effects in order gives the state that wrote them. Nothing is logged
//! again, nothing expires while replaying, and an effect that does not fit is an error, not a guess.

use std::fmt;
use std::ops::Range;

use super::effect::{Broken, Effect, records};
use super::entry::New;
use super::object::Object;
use super::shard::{Shard, clock, compact};
use super::value::{Key, Ms, Value};
use crate::slot;

/// An effect that cannot be applied to this shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// Its bytes are not an effect.
    Broken(Broken),
    /// It names a database this server does not have.
    Database(u16),
    /// It belongs to another shard's slots.
    Slot(u16),
    /// It changes a part of a string that is not there.
    NoString,
    /// It holds an object that cannot be read.
    Object,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Misfit::Broken(broken) => broken.fmt(f),
            Misfit::Database(db) => {
                write!(f, "an effect names database {db}, which is not configured")
            }
            Misfit::Slot(slot) => write!(f, "an effect belongs to slot {slot} of another shard"),
            Misfit::NoString => {
                f.write_str("an effect changes part of a string that does not exist")
            }
            Misfit::Object => f.write_str("an effect holds an object that cannot be read"),
        }
    }
}

impl std::error::Error for Misfit {}

impl From<Broken> for Misfit {
    fn from(broken: Broken) -> Misfit {
        Misfit::Broken(broken)
    }
}

impl Shard {
    /// Applies a buffer of effects, all of which belong to this shard; tells how many there were. `now` is
    /// noted as the time of access, and has no other influence.
    pub fn apply_all(&mut self, buf: &[u8], now: Ms) -> Result<u64, Misfit> {
        let mut applied = 0;
        for effect in records(buf) {
            self.apply(&effect?, now)?;
            applied += 1;
        }
        Ok(applied)
    }

    /// Applies one effect; see [`Shard::apply_all`].
    pub fn apply(&mut self, effect: &Effect<'_>, now: Ms) -> Result<(), Misfit> {
        match *effect {
            Effect::Set {
                db,
                key,
                value,
                expire,
            } => {
                let k = self.replayed(db, key)?;
                self.replay_value(&k, compact(value), expire, now);
            }
            Effect::Restore {
                db,
                key,
                object,
                expire,
            } => {
                let k = self.replayed(db, key)?;
                let object = Object::decode(object).ok_or(Misfit::Object)?;
                self.replay_value(&k, New::Object(Box::new(object)), expire, now);
            }
            Effect::Del { db, key } => {
                let k = self.replayed(db, key)?;
                if let Some(place) = self.find(&k) {
                    self.db(&k).remove(place);
                }
            }
            Effect::ExpireAt { db, key, at } => {
                let k = self.replayed(db, key)?;
                let expire = Some(at).filter(|&at| at != 0);
                if let Some(place) = self.find(&k) {
                    self.db(&k).update(place, |entry| entry.set_expire(expire));
                }
            }
            Effect::Append { db, key, value } => {
                let k = self.replayed(db, key)?;
                self.replay_range(&k, None, value)?;
            }
            Effect::SetRange {
                db,
                key,
                offset,
                value,
            } => {
                let k = self.replayed(db, key)?;
                self.replay_range(&k, Some(offset as usize), value)?;
            }
            Effect::Flush { db, ref slots } => {
                if let Some(db) = db.filter(|&db| usize::from(db) >= self.dbs.len()) {
                    return Err(Misfit::Database(db));
                }
                if slots.start <= self.slots.start && slots.end >= self.slots.end {
                    self.bury(db);
                } else {
                    self.bury_slots(db, slots.clone());
                }
            }
        }
        Ok(())
    }

    fn replayed<'k>(&self, db: u16, bytes: &'k [u8]) -> Result<Key<'k>, Misfit> {
        if usize::from(db) >= self.dbs.len() {
            return Err(Misfit::Database(db));
        }
        let k = Key {
            db,
            slot: slot::slot_of(bytes),
            hash: self.hasher.hash(bytes),
            bytes,
        };
        if !self.slots.contains(&k.slot) {
            return Err(Misfit::Slot(k.slot));
        }
        Ok(k)
    }

    fn replay_value(&mut self, k: &Key<'_>, value: New<'_>, expire: Option<Ms>, now: Ms) {
        let place = self.find(k);
        self.store(k, place, value, expire, clock(now));
    }

    fn replay_range(
        &mut self,
        k: &Key<'_>,
        offset: Option<usize>,
        bytes: &[u8],
    ) -> Result<(), Misfit> {
        let place = self.find(k).ok_or(Misfit::NoString)?;
        self.db(k).update(place, |entry| match entry.value() {
            Value::Object(_) => Err(Misfit::NoString),
            value => {
                let offset = offset.unwrap_or(value.len());
                entry.set_range(offset, bytes);
                Ok(())
            }
        })
    }

    fn bury_slots(&mut self, db: Option<u16>, slots: Range<u16>) {
        for (number, tables) in self.dbs.iter_mut().enumerate() {
            if db.is_none_or(|db| usize::from(db) == number)
                && let Some(tables) = tables
            {
                self.graveyard.bury_slots(tables.take_slots(slots.clone()));
            }
        }
    }
}
