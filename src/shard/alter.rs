//! Changing collections: one verb for all types, live and at recovery.
//!
//! Promise: a change is applied, logged, and told to who listens in one call; a collection left empty is gone with its
//! key, and its operation says so to recovery without a record of its own.

use super::effect::Effect;
use super::entry::New;
use super::kinds::hash::Hash;
use super::kinds::list::List;
use super::kinds::set::Set;
use super::kinds::stream::Stream;
use super::kinds::zset::Zset;
use super::kinds::{Applied, Collection};
use super::recover::Misfit;
use super::shard::Shard;
use super::value::{Key, Ms, Value};
use super::{Keyspace, notice};

/// A collection of up to so many bytes is logged whole where a shard's changes are (see [`Shard::whole`]); a larger one
/// by its operation, lest one element cost megabytes.
const WHOLE: usize = 16 << 10;

/// The key holds a value of another type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrongType;

/// What became of a key by a change.
enum After {
    Same,
    Changed,
    Gone,
}

impl Shard {
    /// Applies an operation to the collection at the key, which is made if there is none and goes if nothing is left in
    /// it. Where the operation changes nothing, nothing is logged and nobody is told.
    pub fn alter<T: Collection>(
        &mut self,
        k: &Key<'_>,
        op: &T::Op<'_>,
        now: Ms,
    ) -> Result<T::Outcome, WrongType> {
        self.live(k, now); // what has expired goes first, with a record of its own
        let (after, outcome) = self.carry_out::<T>(k, op, now)?;
        if matches!(after, After::Same) {
            return Ok(outcome);
        }
        let whole = self.whole
            && match self.peek(k, now) {
                Some(Value::Object(object)) => object.heap_bytes() <= WHOLE,
                _ => false,
            };
        if whole {
            self.log_whole(k, now);
        } else {
            let mut scratch = std::mem::take(&mut self.scratch);
            scratch.clear();
            T::write_op(op, &mut scratch);
            self.effects.push(&Effect::Alter {
                db: k.db,
                key: k.bytes,
                kind: T::TAG,
                op: &scratch,
            });
            self.scratch = scratch;
        }
        self.signals.touch(k.db, k.bytes);
        Ok(outcome)
    }

    fn carry_out<T: Collection>(
        &mut self,
        k: &Key<'_>,
        op: &T::Op<'_>,
        now: Ms,
    ) -> Result<(After, T::Outcome), WrongType> {
        let Some(place) = self.find(k) else {
            let mut made = T::empty();
            let Applied {
                changed, outcome, ..
            } = made.apply(op);
            if !changed || made.is_gone() {
                return Ok((After::Same, outcome));
            }
            let object = New::Object(Box::new(made.into_object()));
            let note = self.uses.fresh(now);
            self.store(k, None, object, None, note);
            self.signals.notices.note(notice::NEW, "new", k.db, k.bytes);
            return Ok((After::Changed, outcome));
        };
        self.hurry(k);
        let before = self.db(k).at(place).clock();
        let note = self.uses.used(before, now);
        let (applied, gone, due) = self.db(k).update(place, |entry| {
            let this = entry.object_mut().and_then(T::of_mut).ok_or(WrongType)?;
            let applied = this.apply(op);
            let gone = this.is_gone();
            let due = this.schedule();
            if applied.changed {
                entry.set_clock(note);
            }
            Ok((applied, gone, due))
        })?;
        let Applied {
            changed,
            outcome,
            debris,
        } = applied;
        self.graveyard.bury_object(debris);
        if gone {
            self.db(k).remove(place);
            return Ok((After::Gone, outcome));
        }
        if let Some(at) = due {
            self.enter(k, at);
        }
        let after = if changed { After::Changed } else { After::Same };
        Ok((after, outcome))
    }

    /// The value, if the key lives, for one who changes nothing, not even what has expired.
    fn view(&self, k: &Key<'_>, now: Ms) -> Option<Value<'_>> {
        let db = self.dbs.get(usize::from(k.db))?.as_deref()?;
        let entry = db.at(db.find(k)?);
        (!entry.is_dead(now)).then(|| entry.value())
    }

    /// Applies an operation from the log.
    pub(super) fn replay_alter(
        &mut self,
        k: &Key<'_>,
        kind: u8,
        op: &[u8],
        now: Ms,
    ) -> Result<(), Misfit> {
        match kind {
            List::TAG => self.replay_op::<List>(k, op, now),
            Hash::TAG => self.replay_op::<Hash>(k, op, now),
            Set::TAG => self.replay_op::<Set>(k, op, now),
            Zset::TAG => self.replay_op::<Zset>(k, op, now),
            Stream::TAG => self.replay_op::<Stream>(k, op, now),
            _ => Err(Misfit::Object),
        }
    }

    fn replay_op<T: Collection>(&mut self, k: &Key<'_>, op: &[u8], now: Ms) -> Result<(), Misfit> {
        let op = T::read_op(op).ok_or(Misfit::Object)?;
        self.carry_out::<T>(k, &op, now)
            .map(drop)
            .map_err(|WrongType| Misfit::Object)
    }
}

impl Keyspace {
    /// The collection at a key, for a command that uses it: counts as hit or miss and as an access.
    pub fn read<T: Collection>(&mut self, k: &Key<'_>, now: Ms) -> Result<Option<&T>, WrongType> {
        one(self.at(k.slot).get(k, now))
    }

    /// The same, uncounted: for writes that build on it.
    pub fn peek<T: Collection>(&mut self, k: &Key<'_>, now: Ms) -> Result<Option<&T>, WrongType> {
        one(self.at(k.slot).peek(k, now))
    }

    /// The same without a change of anything, so that several can be looked at together: for keys that were read before,
    /// which has removed what had expired. Its shard is present.
    pub fn view<T: Collection>(&self, k: &Key<'_>, now: Ms) -> Result<Option<&T>, WrongType> {
        one(self.present_at(k.slot).and_then(|shard| shard.view(k, now)))
    }
}

fn one<T: Collection>(value: Option<Value<'_>>) -> Result<Option<&T>, WrongType> {
    match value {
        None => Ok(None),
        Some(Value::Object(object)) => T::of(object).map(Some).ok_or(WrongType),
        Some(_) => Err(WrongType),
    }
}
