//! Recovery: effects from the log back into memory.
//!
//! Promise: applying a shard's effects in order gives the state that wrote them. Nothing is logged
//! again, nothing expires while replaying, and an effect that does not fit is an error, not a
//! guess.

use std::fmt;
use std::ops::Range;

use super::effect::{Broken, Effect, records};
use super::entry::New;
use super::object::Object;
use super::shard::{Shard, compact};
use super::value::{Key, Ms, Value};
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

/// Effects whose memory is asked for together, before the first of them is applied.
const BATCH: usize = 32;
/// Keys and elements that are freed behind a batch, if they wait for that.
const SWEPT: usize = 4096;

impl Shard {
    /// Applies a buffer of effects, all of which belong to this shard; tells how many there were.
    /// `now` is noted as the time of access, and has no other influence. After an error the shard
    /// is of no more use.
    pub fn apply_all(&mut self, buf: &[u8], now: Ms) -> Result<u64, Misfit> {
        let mut records = records(buf);
        let mut batch = Vec::with_capacity(BATCH);
        let mut applied = 0;
        loop {
            batch.clear();
            for effect in records.by_ref().take(BATCH) {
                let effect = effect?;
                let key = self.replayed(&effect)?;
                batch.push((effect, key));
            }
            if batch.is_empty() {
                return Ok(applied);
            }
            let keys = || batch.iter().filter_map(|(_, key)| key.as_ref());
            keys().for_each(|key| self.prefetch_slot(key));
            keys().for_each(|key| self.prefetch_bucket(key));
            keys().for_each(|key| self.prefetch_entry(key));
            for (effect, key) in &batch {
                self.replay(effect, key.as_ref(), now)?;
            }
            applied += batch.len() as u64;
            if self.has_garbage() {
                self.sweep(SWEPT);
            }
        }
    }

    /// Applies one effect; see [`Shard::apply_all`].
    pub fn apply(&mut self, effect: &Effect<'_>, now: Ms) -> Result<(), Misfit> {
        let key = self.replayed(effect)?;
        self.replay(effect, key.as_ref(), now)
    }

    /// The key of an effect, if it is one of this shard's.
    fn replayed<'k>(&self, effect: &Effect<'k>) -> Result<Option<Key<'k>>, Misfit> {
        let Some((db, bytes)) = effect.key() else {
            return Ok(None);
        };
        let k = self.key(db, bytes);
        if usize::from(db) >= self.dbs.len() {
            return Err(Misfit::Database(db));
        }
        if !self.slots.contains(&k.slot) {
            return Err(Misfit::Slot(k.slot));
        }
        Ok(Some(k))
    }

    fn replay(
        &mut self,
        effect: &Effect<'_>,
        key: Option<&Key<'_>>,
        now: Ms,
    ) -> Result<(), Misfit> {
        let Some(k) = key else {
            return self.replay_keyless(effect);
        };
        match *effect {
            Effect::Set { value, expire, .. } => self.replay_value(k, compact(value), expire, now),
            Effect::Restore { object, expire, .. } => {
                let object = Object::decode(object).ok_or(Misfit::Object)?;
                self.replay_value(k, New::Object(Box::new(object)), expire, now);
            }
            Effect::Del { .. } => {
                if let Some(place) = self.find(k) {
                    self.db(k).remove(place);
                }
            }
            Effect::ExpireAt { at, .. } => {
                let expire = Some(at).filter(|&at| at != 0);
                if let Some(place) = self.find(k) {
                    self.db(k).update(place, |entry| entry.set_expire(expire));
                }
            }
            Effect::Append { value, .. } => self.replay_range(k, None, value)?,
            Effect::SetRange { offset, value, .. } => {
                self.replay_range(k, Some(offset as usize), value)?;
            }
            Effect::Alter { kind, op, .. } => self.replay_alter(k, kind, op, now)?,
            Effect::Flush { .. } | Effect::Swap { .. } | Effect::Library { .. } => {}
        }
        Ok(())
    }

    fn replay_keyless(&mut self, effect: &Effect<'_>) -> Result<(), Misfit> {
        if let Effect::Library { name, code } = effect {
            self.keep_library(name, *code);
        }
        if let Effect::Swap { dbs: (a, b), slots } = effect {
            let most = *a.max(b);
            if usize::from(most) >= self.dbs.len() {
                return Err(Misfit::Database(most));
            }
            self.exchange(*a, *b, slots);
        }
        let Effect::Flush { db, slots } = effect else {
            return Ok(());
        };
        if let Some(db) = db.filter(|&db| usize::from(db) >= self.dbs.len()) {
            return Err(Misfit::Database(db));
        }
        if slots.start <= self.slots.start && slots.end >= self.slots.end {
            self.bury(*db);
        } else {
            self.bury_slots(*db, slots.clone());
        }
        Ok(())
    }

    fn replay_value(&mut self, k: &Key<'_>, value: New<'_>, expire: Option<Ms>, now: Ms) {
        let place = self.find(k);
        let note = self.uses.fresh(now);
        self.store(k, place, value, expire, note);
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
