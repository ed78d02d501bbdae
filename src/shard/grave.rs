//! Where flushed memory waits to be freed.
//!
//! Promise: burying is O(1) in the number of keys, and freeing goes table by table, and large objects
//! piece by piece, so neither ever pauses the core.

use super::Object;
use super::db::Db;
use super::slots::Slot;
use super::table::Table;

/// Slots, tables and objects nobody can reach any more.
#[derive(Debug, Default)]
#[expect(
    clippy::vec_box,
    reason = "the boxes come from entries; an object is never moved"
)]
pub(super) struct Graveyard {
    slots: Vec<std::vec::IntoIter<Slot>>,
    tables: Vec<Table>,
    objects: Vec<Box<Object>>,
    /// Bytes that wait, about; never less than there are.
    bytes: usize,
}

impl Graveyard {
    /// Bytes that wait to be freed, about.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes a whole database.
    pub(super) fn bury(&mut self, db: Db) {
        self.bytes += db.bytes();
        self.bury_slots(db.into_slots().into_vec());
    }

    /// Takes some slots.
    pub(super) fn bury_slots(&mut self, slots: Vec<Slot>) {
        self.slots.push(slots.into_iter());
    }

    /// Takes a large object, if there is one.
    #[inline]
    pub(super) fn bury_object(&mut self, object: Option<Box<Object>>) {
        if let Some(object) = object {
            self.bytes += object.heap_bytes();
            self.objects.push(object);
        }
    }

    /// Whether something waits.
    #[inline]
    pub(super) fn holds_any(&self) -> bool {
        !(self.objects.is_empty() && self.tables.is_empty() && self.slots.is_empty())
    }

    /// Frees about `budget` entries or elements; tells whether there are more.
    pub(super) fn sweep(&mut self, budget: usize) -> bool {
        let mut left = budget;
        while left > 0 {
            if let Some(object) = self.objects.last_mut() {
                let before = object.heap_bytes();
                let more = object.crumble(left);
                let after = if more { object.heap_bytes() } else { 0 };
                self.bytes = self.bytes.saturating_sub(before.saturating_sub(after));
                if !more {
                    self.objects.pop();
                    left = left.saturating_sub(1);
                } else {
                    left = 0;
                }
            } else if let Some(mut table) = self.tables.pop() {
                table.take_large(&mut self.objects);
                left = left.saturating_sub(table.len() + 1);
            } else if let Some(slots) = self.slots.last_mut() {
                match slots.next() {
                    Some(slot) if slot.len() > 0 => self.tables.extend(slot.into_tables()),
                    Some(_) => {}
                    None => drop(self.slots.pop()),
                }
            } else {
                // give back what the lists themselves hold
                *self = Graveyard::default();
                return false;
            }
        }
        true
    }
}
