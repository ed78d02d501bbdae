//! One database of a shard: its slots, and the counts over them.
//!
//! Promise: counts (keys, keys with an expiry, bytes) are exact after every call, and what looks
//! for occupied or due slots passes over 128 others at a time.

use std::ops::Range;

use super::entry::Entry;
use super::hash::Hasher;
use super::slots::{Slot, Spot};
use super::table::{due, due_by};
use super::value::{Key, Ms};

/// Slots counted together.
const GROUP: usize = 128;

/// Bytes of a table's cell.
const CELL: usize = size_of::<Option<Entry>>();
const _: () = assert!(CELL == 8);

/// Sums over `GROUP` neighbouring slots.
#[derive(Clone, Debug)]
struct Group {
    len: u64,
    /// A lower bound of when an entry is due; `u32::MAX` for never.
    due: u32,
}

/// A database.
#[derive(Debug)]
pub(super) struct Db {
    first: u16,
    slots: Box<[Slot]>,
    groups: Box<[Group]>,
    len: u64,
    volatile: u64,
    bytes: usize,
}

/// Where a key's entry stands. Good until the next change of its slot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    slot: usize,
    spot: Spot,
}

/// Where the expiry cycle goes on in a database.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Position {
    slot: usize,
    table: u32,
}

impl Db {
    /// An empty database over these slots.
    pub(super) fn new(range: Range<u16>) -> Db {
        let slots: Box<[Slot]> = range.clone().map(|_| Slot::new()).collect();
        let groups = vec![
            Group {
                len: 0,
                due: u32::MAX
            };
            slots.len().div_ceil(GROUP)
        ];
        let bytes = size_of_val(&*slots);
        Db {
            first: range.start,
            slots,
            groups: groups.into(),
            len: 0,
            volatile: 0,
            bytes,
        }
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn volatile(&self) -> u64 {
        self.volatile
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    #[inline]
    fn index(&self, k: &Key<'_>) -> usize {
        usize::from(k.slot - self.first)
    }

    #[inline]
    pub(super) fn find(&self, k: &Key<'_>) -> Option<Place> {
        let slot = self.index(k);
        Some(Place {
            slot,
            spot: self.slots[slot].find(k.hash, k.bytes)?,
        })
    }

    #[inline]
    pub(super) fn at(&self, place: Place) -> &Entry {
        self.slots[place.slot].at(place.spot)
    }

    /// The entry, to note an access. Whatever else changes goes through `update`.
    #[inline]
    pub(super) fn at_mut(&mut self, place: Place) -> &mut Entry {
        self.slots[place.slot].at_mut(place.spot)
    }

    /// Changes an entry and the counts with it.
    #[inline]
    pub(super) fn update<R>(&mut self, place: Place, f: impl FnOnce(&mut Entry) -> R) -> R {
        let slot = &mut self.slots[place.slot];
        let entry = slot.at_mut(place.spot);
        let (expire, bytes) = (entry.expire(), entry.heap_bytes());
        let result = f(entry);
        self.bytes = self.bytes - bytes + entry.heap_bytes();
        let now = entry.expire();
        if now != expire {
            slot.note_expiry(place.spot, expire.is_some(), now);
            self.volatile -= u64::from(expire.is_some());
            self.note_expiry(place.slot, now);
        }
        result
    }

    fn note_expiry(&mut self, slot: usize, expire: Option<Ms>) {
        if let Some(at) = expire {
            self.volatile += 1;
            let group = &mut self.groups[slot / GROUP];
            group.due = group.due.min(due(at));
        }
    }

    /// Adds an entry whose key is not there.
    pub(super) fn insert(&mut self, k: &Key<'_>, entry: Entry, hasher: &Hasher) {
        let slot = self.index(k);
        self.note_expiry(slot, entry.expire());
        self.bytes += entry.heap_bytes();
        self.len += 1;
        self.groups[slot / GROUP].len += 1;
        let before = self.slots[slot].cells();
        self.slots[slot].insert(k.hash, entry, hasher);
        self.bytes = self.bytes + CELL * self.slots[slot].cells() - CELL * before;
    }

    /// Takes an entry out.
    pub(super) fn remove(&mut self, place: Place) -> Entry {
        let before = self.slots[place.slot].cells();
        let entry = self.slots[place.slot].remove(place.spot);
        self.bytes = self.bytes + CELL * self.slots[place.slot].cells() - CELL * before;
        self.len -= 1;
        self.volatile -= u64::from(entry.is_volatile());
        self.groups[place.slot / GROUP].len -= 1;
        self.bytes -= entry.heap_bytes();
        entry
    }

    /// Removes entries whose time has come, from a position on and until it has looked at or
    /// removed about `budget` of them; calls `f` with each. The budget shrinks by the work done;
    /// what is left at the end says that nothing is due any more.
    pub(super) fn expire(
        &mut self,
        now: Ms,
        position: &mut Position,
        budget: &mut usize,
        mut f: impl FnMut(&mut Entry),
    ) -> usize {
        let by = due_by(now);
        let mut total = 0;
        while position.slot < self.slots.len() {
            let number = position.slot / GROUP;
            if self.groups[number].due > by {
                *position = Position {
                    slot: (number + 1) * GROUP,
                    table: 0,
                };
                continue;
            }
            if *budget == 0 {
                return total;
            }
            let slot = &mut self.slots[position.slot];
            let mut next = None;
            if slot.due() <= by {
                let before = slot.cells();
                let (looked, gone, more) = slot.expire(now, by, *budget, position.table, |entry| {
                    self.bytes -= entry.heap_bytes();
                    f(entry);
                });
                self.bytes = self.bytes + CELL * slot.cells() - CELL * before;
                self.len -= gone as u64;
                self.volatile -= gone as u64;
                self.groups[number].len -= gone as u64;
                total += gone;
                *budget = budget.saturating_sub(looked + gone);
                next = more;
            }
            match next {
                Some(table) => position.table = table,
                None => {
                    *position = Position {
                        slot: position.slot + 1,
                        table: 0,
                    };
                    if position.slot.is_multiple_of(GROUP) || position.slot == self.slots.len() {
                        self.refresh(number);
                    }
                }
            }
        }
        total
    }

    /// Finds out when a group is due next.
    fn refresh(&mut self, number: usize) {
        let slots = &self.slots[number * GROUP..];
        let due = slots.iter().take(GROUP).map(Slot::due).min();
        self.groups[number].due = due.unwrap_or(u32::MAX);
    }

    /// Calls `f` with the entries from a slot and a place in it on, in order, about `count` of
    /// them; tells where to go on, or `None` at the end.
    pub(super) fn walk(
        &self,
        slot: u16,
        mut place: u64,
        mut count: usize,
        mut f: impl FnMut(&Entry),
    ) -> Option<(u16, u64)> {
        let mut at = usize::from(slot.saturating_sub(self.first));
        while at < self.slots.len() {
            if at.is_multiple_of(GROUP) && self.groups[at / GROUP].len == 0 {
                at += GROUP;
                continue;
            }
            if self.slots[at].len() > 0
                && let Some(next) = self.slots[at].walk(place, &mut count, &mut f)
            {
                return Some((self.first + at as u16, next));
            }
            place = 0;
            at += 1;
        }
        None
    }

    /// The same for one slot: tells the place in it to go on with, or `None` at its end.
    pub(super) fn walk_slot(
        &self,
        slot: u16,
        place: u64,
        mut count: usize,
        f: impl FnMut(&Entry),
    ) -> Option<u64> {
        let at = usize::from(slot.checked_sub(self.first)?);
        let slot = self.slots.get(at).filter(|slot| slot.len() > 0)?;
        slot.walk(place, &mut count, f)
    }

    /// An entry, each with the same chance; `random` gives 64 random bits a call.
    pub(super) fn choose(&self, mut random: impl FnMut() -> u64) -> Option<&Entry> {
        if self.len == 0 {
            return None;
        }
        let mut nth = random() % self.len;
        let number = nth_of(self.groups.iter().map(|group| group.len), &mut nth)?;
        let slots = &self.slots[number * GROUP..];
        let slot = nth_of(slots.iter().map(|slot| slot.len() as u64), &mut nth)?;
        let tables = slots[slot].tables();
        let table = &tables[nth_of(tables.iter().map(|table| table.len() as u64), &mut nth)?];
        // At least a fifth of the cells is taken, unless an expiry step has just thinned them out.
        for _ in 0..64 {
            if let Some(entry) = table.cell((random() % table.cells() as u64) as usize) {
                return Some(entry);
            }
        }
        table.iter().nth(nth as usize)
    }

    /// Calls `f` with some entries that have an expiry, up to `count` of them, from a random place on.
    pub(super) fn choose_volatile(
        &self,
        count: usize,
        mut random: impl FnMut() -> u64,
        mut f: impl FnMut(&Entry),
    ) {
        if self.volatile == 0 {
            return;
        }
        let n = self.slots.len();
        let mut left = count;
        let mut at = (random() % n as u64) as usize;
        let mut passed = 0;
        while passed < n && left > 0 {
            if self.groups[at / GROUP].due == u32::MAX {
                let next = ((at / GROUP + 1) * GROUP).min(n);
                passed += next - at;
                at = next % n;
                continue;
            }
            let tables = self.slots[at].tables();
            let first = (random() % tables.len() as u64) as usize;
            for i in 0..tables.len() {
                let table = &tables[(first + i) % tables.len()];
                if table.volatile() == 0 {
                    continue;
                }
                let volatile = table.iter().filter(|entry| entry.is_volatile());
                let skip = random() as usize % table.volatile();
                for entry in volatile.skip(skip).take(left) {
                    f(entry);
                    left -= 1;
                }
            }
            passed += 1;
            at = (at + 1) % n;
        }
    }

    /// The average time to live, in ms, of some of the entries that have an expiry.
    pub(super) fn average_ttl(&self, now: Ms) -> u64 {
        let (mut sum, mut seen) = (0u128, 0u128);
        let due = self.slots.iter().filter(|slot| slot.due() != u32::MAX);
        for slot in due.take(64) {
            for entry in slot.tables()[0]
                .iter()
                .filter(|entry| entry.is_volatile())
                .take(4)
            {
                sum += u128::from(entry.expire().unwrap_or(now).saturating_sub(now));
                seen += 1;
            }
        }
        sum.checked_div(seen).unwrap_or(0) as u64
    }

    /// Gives up its slots, to be freed.
    pub(super) fn into_slots(self) -> Box<[Slot]> {
        self.slots
    }

    /// Gives up some of its slots, to be freed, and is left without their keys.
    pub(super) fn take_slots(&mut self, range: Range<u16>) -> Vec<Slot> {
        let mut taken = Vec::new();
        for number in range.start.max(self.first)..range.end {
            let at = usize::from(number - self.first);
            let Some(slot) = self.slots.get_mut(at) else {
                break;
            };
            let old = std::mem::replace(slot, Slot::new());
            self.len -= old.len() as u64;
            self.groups[at / GROUP].len -= old.len() as u64;
            self.bytes -= CELL * old.cells();
            for entry in old.tables().iter().flat_map(|table| table.iter()) {
                self.volatile -= u64::from(entry.is_volatile());
                self.bytes -= entry.heap_bytes();
            }
            taken.push(old);
        }
        taken
    }

    /// Has some slots change places with another database's.
    pub(super) fn swap_slots(&mut self, other: &mut Db, range: Range<u16>) {
        for number in range.start.max(self.first)..range.end {
            let at = usize::from(number - self.first);
            if at >= self.slots.len() {
                break;
            }
            let (mine, theirs) = (Load::of(&self.slots[at]), Load::of(&other.slots[at]));
            std::mem::swap(&mut self.slots[at], &mut other.slots[at]);
            self.reload(at, &mine, &theirs);
            other.reload(at, &theirs, &mine);
        }
    }

    /// Counts one slot's load instead of another's.
    fn reload(&mut self, slot: usize, before: &Load, now: &Load) {
        let group = &mut self.groups[slot / GROUP];
        group.len = group.len - before.len + now.len;
        group.due = group.due.min(now.due);
        self.len = self.len - before.len + now.len;
        self.volatile = self.volatile - before.volatile + now.volatile;
        self.bytes = self.bytes - before.bytes + now.bytes;
    }

    /// Checks every count and order against the entries themselves.
    #[cfg(test)]
    pub(super) fn verify(&self) {
        let (mut len, mut volatile, mut bytes) = (0, 0, size_of_val(&*self.slots));
        for (number, group) in self.groups.iter().enumerate() {
            let mut of_group = 0;
            for slot in self.slots[number * GROUP..].iter().take(GROUP) {
                slot.verify();
                assert!(group.due <= slot.due());
                of_group += slot.len() as u64;
                bytes += CELL * slot.cells();
                for entry in slot.tables().iter().flat_map(|table| table.iter()) {
                    volatile += u64::from(entry.is_volatile());
                    bytes += entry.heap_bytes();
                }
            }
            assert_eq!(group.len, of_group);
            len += of_group;
        }
        assert_eq!(
            (self.len, self.volatile, self.bytes),
            (len, volatile, bytes)
        );
    }

    /// Asks for a slot's header.
    #[inline]
    pub(super) fn prefetch_slot(&self, k: &Key<'_>) {
        self.slots[self.index(k)].prefetch();
    }

    /// Asks for the cells where a key would be.
    #[inline]
    pub(super) fn prefetch_cells(&self, k: &Key<'_>) {
        self.slots[self.index(k)].prefetch_cells(k.hash);
    }

    /// Asks for a key's entry.
    #[inline]
    pub(super) fn prefetch_entry(&self, k: &Key<'_>) {
        self.slots[self.index(k)].prefetch_entry(k.hash);
    }
}

/// What a slot adds to the counts.
struct Load {
    len: u64,
    volatile: u64,
    bytes: usize,
    due: u32,
}

impl Load {
    fn of(slot: &Slot) -> Load {
        let mut load = Load {
            len: slot.len() as u64,
            volatile: 0,
            bytes: CELL * slot.cells(),
            due: slot.due(),
        };
        for entry in slot.tables().iter().flat_map(|table| table.iter()) {
            load.volatile += u64::from(entry.is_volatile());
            load.bytes += entry.heap_bytes();
        }
        load
    }
}

/// Which of these holds the `nth` thing, and `nth` within it.
fn nth_of(lens: impl Iterator<Item = u64>, nth: &mut u64) -> Option<usize> {
    for (at, len) in lens.enumerate() {
        if *nth < len {
            return Some(at);
        }
        *nth -= len;
    }
    None
}
