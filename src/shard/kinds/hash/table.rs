//! A large hash: a dict of fields, and those of them that expire in the order of their times.
//!
//! The order holds a time and the hash of a name for each, not the name: what expires is found by its hash in the dict.
//! Two fields with the same hash and time share an entry.

use std::collections::BTreeSet;

use super::field::Field;
use super::{Entry, Scheduled, Time};
use crate::shard::Ms;
use crate::shard::kinds::dict::{Dict, Place, hash};

/// Bytes of an entry of the order, with what its tree adds to it, roughly.
const ORDERED: usize = 24;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Table {
    fields: Dict<Field>,
    order: BTreeSet<(Ms, u32)>,
    pub(super) scheduled: Scheduled,
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.fields.len()
    }

    pub(super) fn heap_bytes(&self) -> usize {
        size_of::<Table>() - size_of::<Dict<Field>>()
            + self.fields.heap_bytes()
            + self.order.len() * ORDERED
    }

    #[inline]
    pub(super) fn get(&self, name: &[u8]) -> Option<(&[u8], Option<Ms>)> {
        let (_, value, at) = self.fields.get(name)?.parts();
        Some((value, at))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Entry<'_>> {
        self.fields.iter().map(Field::parts)
    }

    pub(super) fn each(
        &self,
        place: &mut Place,
        count: usize,
        mut f: impl FnMut(Entry<'_>),
    ) -> bool {
        self.fields.each(place, count, |field| f(field.parts()))
    }

    pub(super) fn scan(&self, cursor: u64, count: usize, mut f: impl FnMut(Entry<'_>)) -> u64 {
        self.fields.scan(cursor, count, |field| f(field.parts()))
    }

    pub(super) fn choose(&self, random: impl FnMut() -> u64) -> Option<Entry<'_>> {
        self.fields.choose(random).map(Field::parts)
    }

    #[inline]
    pub(super) fn due(&self) -> Option<Ms> {
        self.order.first().map(|&(at, _)| at)
    }

    /// The names of fields past their time, in the order of their times.
    pub(super) fn expired(&self, now: Ms) -> impl Iterator<Item = &[u8]> {
        self.order
            .range(..=(now, u32::MAX))
            .flat_map(|&(at, hash)| {
                self.fields
                    .with_hash(hash)
                    .filter(move |field| field.expiry() == Some(at))
                    .map(|field| field.parts().0)
            })
    }

    /// The expiry of a field has changed.
    fn note(&mut self, name: &[u8], before: Option<Ms>, after: Option<Ms>) {
        if before == after {
            return;
        }
        let hash = hash(name);
        if let Some(at) = before
            && !self
                .fields
                .with_hash(hash)
                .any(|field| field.expiry() == Some(at))
        {
            self.order.remove(&(at, hash));
        }
        if let Some(at) = after {
            self.order.insert((at, hash));
        }
    }

    pub(super) fn put(&mut self, name: &[u8], value: &[u8], time: Time) -> bool {
        let after = time.after(None);
        if self
            .fields
            .add_with(name, || Field::new(name, value, after))
        {
            self.note(name, None, after);
            return true;
        }
        let change = |field: &mut Field| {
            let before = field.expiry();
            let after = time.after(before);
            field.set(value, after);
            (before, after)
        };
        if let Some((before, after)) = self.fields.update(name, change) {
            self.note(name, before, after);
        }
        false
    }

    pub(super) fn remove(&mut self, name: &[u8]) -> bool {
        let Some(field) = self.fields.remove(name) else {
            return false;
        };
        self.note(name, field.expiry(), None);
        true
    }

    pub(super) fn expire(&mut self, name: &[u8], at: Option<Ms>) -> bool {
        let change = |field: &mut Field| {
            let before = field.expiry();
            field.set_expiry(at);
            before
        };
        let Some(before) = self.fields.update(name, change) else {
            return false;
        };
        self.note(name, before, at);
        at.is_some() || before.is_some()
    }

    pub(super) fn crumble(&mut self, budget: usize) -> bool {
        for _ in 0..budget.min(self.order.len()) {
            self.order.pop_first();
        }
        self.fields.crumble(budget) || !self.order.is_empty()
    }
}
