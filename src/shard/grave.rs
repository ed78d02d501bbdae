//! Where flushed memory waits to be freed.
//!
//! Promise: burying is O(1) in the number of keys, and freeing goes table by table, so neither ever
//! pauses the core.

use super::db::Db;
use super::slots::Slot;
use super::table::Table;

/// Slots and tables nobody can reach any more.
#[derive(Debug, Default)]
pub(super) struct Graveyard {
    slots: Vec<std::vec::IntoIter<Slot>>,
    tables: Vec<Table>,
}

impl Graveyard {
    /// Takes a whole database.
    pub(super) fn bury(&mut self, db: Db) {
        self.bury_slots(db.into_slots().into_vec());
    }

    /// Takes some slots.
    pub(super) fn bury_slots(&mut self, slots: Vec<Slot>) {
        self.slots.push(slots.into_iter());
    }

    /// Frees about `budget` entries; tells whether there are more.
    pub(super) fn sweep(&mut self, budget: usize) -> bool {
        let mut left = budget;
        while left > 0 {
            if let Some(table) = self.tables.pop() {
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
