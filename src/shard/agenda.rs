//! When to look at which hash, for fields whose time has come.
//!
//! Promise: a step is bounded; a field is removed within one round of steps of its time; what is removed is logged by
//! name, so that recovery needs no clock, and builds the agenda again by the same changes that built it.
//!
//! # The algorithm
//! An entry says: look at this key at this time. A hash remembers the time of its own entry and asks for another only
//! when a field is due earlier. When an entry's time has come its hash loses what is past its time and, if fields with an
//! expiry are left, is entered again. An entry whose hash has gone, or is entered at another time, is *stale*: it does
//! nothing when its time comes. So that stale entries are no burden until then, each new entry is paid for by a look at
//! two old ones, in turn, and each step looks at some more.
//!
//! Once databases have changed places, the number in an entry is where its hash was: the hash is looked for there first,
//! and then in the others.
//!
//! Rejected: to take entries out when their key goes (every way in which a key goes would have to know of it).

use std::collections::BTreeSet;
use std::ops::Bound::{Excluded, Unbounded};

use super::kinds::Collection;
use super::kinds::hash::{Hash, Op};
use super::shard::Shard;
use super::value::{Key, Ms, Value};
use super::wire::Items;
use super::{Cycle, notice};

/// Old entries looked at for each new one.
const TOLL: usize = 2;
/// Old entries looked at in each step.
const SWEPT: usize = 32;

/// A time, a database and a key.
type Entry = (Ms, u16, Box<[u8]>);

/// The entries.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    entries: BTreeSet<Entry>,
    /// The old entry that was looked at last.
    swept: Option<Entry>,
    /// Whether databases have changed places.
    pub(super) swapped: bool,
}

impl Shard {
    /// Whether a hash has, or had, a field that expires.
    #[inline]
    pub fn has_timed_fields(&self) -> bool {
        !self.agenda.entries.is_empty()
    }

    /// Enters a key.
    pub(super) fn enter(&mut self, k: &Key<'_>, at: Ms) {
        self.agenda.entries.insert((at, k.db, k.bytes.into()));
        self.look_at_old(TOLL);
    }

    /// Takes the next so many entries out if they are stale.
    fn look_at_old(&mut self, count: usize) {
        for _ in 0..count.min(self.agenda.entries.len()) {
            let entries = &self.agenda.entries;
            let next = match &self.agenda.swept {
                Some(swept) => entries.range((Excluded(swept), Unbounded)).next(),
                None => entries.first(),
            };
            let Some(entry) = next.cloned() else {
                self.agenda.swept = None;
                return;
            };
            if self.homes_of(&entry).is_empty() {
                self.agenda.entries.remove(&entry);
            }
            self.agenda.swept = Some(entry);
        }
    }

    /// The databases whose hash an entry is for; none if it is stale. After a swap it may stand for several, which have
    /// the same name and time.
    fn homes_of(&self, (at, db, key): &Entry) -> Vec<u16> {
        let is_home = |db: &u16| {
            let hash = self.find_hash(&self.key(*db, key));
            hash.is_some_and(|hash| hash.is_scheduled(*at))
        };
        match self.agenda.swapped {
            true => (0..self.dbs.len() as u16).filter(is_home).collect(),
            false => Some(*db).into_iter().filter(is_home).collect(),
        }
    }

    /// The hash at a key, expired or not.
    fn find_hash(&self, k: &Key<'_>) -> Option<&Hash> {
        let db = self.dbs.get(usize::from(k.db))?.as_deref()?;
        match db.at(db.find(k)?).value() {
            Value::Object(object) => Hash::of(object),
            _ => None,
        }
    }

    /// One bounded step: removes up to `budget` fields whose time has come, or looks at as many entries. A thousand take
    /// less than a millisecond. Costs next to nothing when nothing is due.
    pub fn expire_fields(&mut self, now: Ms, budget: usize) -> Cycle {
        let mut left = budget.max(1);
        let mut expired = 0;
        self.look_at_old(SWEPT);
        while left > 0
            && let Some(&(at, ..)) = self.agenda.entries.first()
            && at <= now
            && let Some(entry) = self.agenda.entries.pop_first()
        {
            left -= 1;
            for db in self.homes_of(&entry) {
                let k = self.key(db, &entry.2);
                let Some(place) = self.find(&k) else { continue };
                self.db(&k).update(place, |entry| {
                    let hash = entry.object_mut().and_then(Hash::of_mut);
                    hash.is_some_and(|hash| hash.unschedule_at(at))
                });
                let removed = self.expire_fields_of(&k, now, left.max(1));
                expired += removed;
                left = left.saturating_sub(removed);
                self.enter_again(&k);
            }
        }
        let next = self.agenda.entries.first();
        Cycle {
            work: budget.max(1) - left,
            expired,
            more: next.is_some_and(|&(at, ..)| at <= now),
        }
    }

    /// Enters a hash that is not entered, if it has fields that expire.
    fn enter_again(&mut self, k: &Key<'_>) {
        let Some(place) = self.find(k) else {
            return;
        };
        let due = self.db(k).update(place, |entry| {
            let hash = entry.object_mut().and_then(Hash::of_mut);
            hash.and_then(Hash::schedule)
        });
        if let Some(at) = due {
            self.enter(k, at);
        }
    }

    /// Removes up to `limit` fields of the hash at a key whose time has come; tells how many.
    pub fn expire_fields_of(&mut self, k: &Key<'_>, now: Ms, limit: usize) -> usize {
        let Some(Value::Object(object)) = self.peek(k, now) else {
            return 0;
        };
        let Some(hash) = Hash::of(object).filter(|hash| hash.due().is_some_and(|at| at <= now))
        else {
            return 0;
        };
        let names: Vec<Box<[u8]>> = hash.expired(now).take(limit).map(Box::from).collect();
        let names: Vec<&[u8]> = names.iter().map(|name| &**name).collect();
        self.expire_named(k, &names, now)
    }

    /// Removes these fields, whose time has come; tells how many.
    pub fn expire_named(&mut self, k: &Key<'_>, names: &[&[u8]], now: Ms) -> usize {
        let removed = self.alter::<Hash>(k, &Op::Remove(Items::Args(names)), now);
        let removed = removed.unwrap_or(0); // no other type has got fields
        if removed > 0 {
            self.note(notice::HASH, "hexpired", k);
            if self.find(k).is_none() {
                self.note(notice::GENERIC, "del", k);
            }
        }
        removed
    }
}
