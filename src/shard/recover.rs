//! Recovery: effects from the log back into memory.
//!
//! Promise: applying a shard's effects in order gives the state that wrote them. Nothing is logged
//! again, nothing expires while replaying, and an effect that does not fit is an error, not a guess.

use std::fmt;

use super::effect::{Broken, Effect, records};
use super::entry::{Entry, compact};
use super::object::Object;
use super::shard::Shard;
use super::value::{Expire, Key, Owned, Value};
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
    /// Applies a buffer of effects, all of which belong to this shard; tells how many there were.
    pub fn apply_all(&mut self, buf: &[u8]) -> Result<u64, Misfit> {
        let mut applied = 0;
        for effect in records(buf) {
            self.apply(&effect?)?;
            applied += 1;
        }
        Ok(applied)
    }

    /// Applies one effect.
    pub fn apply(&mut self, effect: &Effect<'_>) -> Result<(), Misfit> {
        match *effect {
            Effect::Set {
                db,
                key,
                value,
                expire,
            } => {
                let k = self.replayed(db, key)?;
                self.place(&k, compact(value), expire);
            }
            Effect::Restore {
                db,
                key,
                object,
                expire,
            } => {
                let k = self.replayed(db, key)?;
                let object = Object::decode(object).ok_or(Misfit::Object)?;
                self.place(&k, Owned::Object(Box::new(object)), expire);
            }
            Effect::Del { db, key } => {
                let k = self.replayed(db, key)?;
                self.db(&k).remove(&k);
            }
            Effect::ExpireAt { db, key, at } => {
                let k = self.replayed(db, key)?;
                self.db(&k)
                    .update(&k, |entry| entry.set_expire(Some(at).filter(|&at| at != 0)));
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

    fn place(&mut self, k: &Key<'_>, value: Owned, expire: Option<u64>) {
        self.db(k).remove(k);
        self.db(k).insert(k, Entry::new(k.bytes, value, expire, 0));
        let _ = Expire::None;
    }

    fn replay_range(
        &mut self,
        k: &Key<'_>,
        offset: Option<usize>,
        bytes: &[u8],
    ) -> Result<(), Misfit> {
        let done = self.db(k).update(k, |entry| match entry.value() {
            Value::Object(_) => false,
            value => {
                let offset = offset.unwrap_or(value.len());
                entry.set_range(offset, bytes);
                true
            }
        });
        if done == Some(true) {
            Ok(())
        } else {
            Err(Misfit::NoString)
        }
    }

    fn bury_slots(&mut self, db: Option<u16>, slots: std::ops::Range<u16>) {
        for (number, tables) in self.dbs.iter_mut().enumerate() {
            if db.is_none_or(|db| usize::from(db) == number)
                && let Some(tables) = tables
            {
                let dead: Vec<_> = tables
                    .map
                    .keys()
                    .filter(|p| slots.contains(&p.0))
                    .cloned()
                    .collect();
                for (slot, _, bytes) in dead {
                    let k = Key {
                        db: number as u16,
                        slot,
                        hash: self.hasher.hash(&bytes),
                        bytes: &bytes,
                    };
                    tables.remove(&k);
                }
            }
        }
    }
}
