//! One slot: a table, or many tables once there are too many keys for one.
//!
//! Promise: whatever a slot holds, one key or a hundred million under one hash tag, no call does
//! more work at once than splitting or joining one table of `MAX_CELLS` cells (and copying an index
//! of four bytes for about every thousand keys).
//!
//! # The algorithm
//! Extendible hashing. A slot that outgrows one table keeps an index of `2^depth` seats, found by
//! the first `depth` bits of a key's hash; a table that covers more than one seat has fewer bits,
//! its own depth. A full table is split by its next bit; when it had as many bits as the index, the
//! index doubles. Emptied neighbours join again, and the index halves when no table needs its last
//! bit.
//!
//! Every table holds one contiguous range of hashes, so all tables in turn hold all entries in the
//! order of their hashes, however they are cut: the order that `browse` relies on.

use super::entry::Entry;
use super::hash::Hasher;
use super::prefetch;
use super::table::{MAX_CELLS, Table};
use super::value::Ms;

/// Bits of a hash that make a place in the order: what an index may use, and a tag.
pub(super) const PLACE_BITS: u32 = 38;
const TAG_BITS: u32 = 16;
const MAX_DEPTH: u8 = (PLACE_BITS - TAG_BITS) as u8;
/// Two tables join when they have no more cells' worth of entries than this together.
const JOIN: usize = MAX_CELLS / 3;

/// The entries of one slot. Half a cache line, as `Table` is.
#[derive(Debug)]
pub(super) enum Slot {
    /// All in one table of depth 0.
    Whole(Table),
    /// In several.
    Split(Box<Split>),
}

const _: () = assert!(size_of::<Slot>() == size_of::<Table>());

/// The tables of a large slot.
#[derive(Debug)]
pub(super) struct Split {
    depth: u8,
    /// How many tables have this depth.
    deepest: u32,
    index: Vec<u32>,
    tables: Vec<Table>,
    len: usize,
    cells: usize,
    due: u32,
}

/// Where an entry stands in its slot. Good until the slot's next change.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot {
    table: u32,
    cell: u32,
}

impl Slot {
    pub(super) fn new() -> Slot {
        Slot::Whole(Table::new(0, 0))
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        match self {
            Slot::Whole(table) => table.len(),
            Slot::Split(split) => split.len,
        }
    }

    /// Cells of all its tables.
    #[inline]
    pub(super) fn cells(&self) -> usize {
        match self {
            Slot::Whole(table) => table.cells(),
            Slot::Split(split) => split.cells,
        }
    }

    /// A lower bound of when an entry is due.
    #[inline]
    pub(super) fn due(&self) -> u32 {
        match self {
            Slot::Whole(table) => table.due(),
            Slot::Split(split) => split.due,
        }
    }

    #[inline]
    pub(super) fn find(&self, hash: u64, key: &[u8]) -> Option<Spot> {
        match self {
            Slot::Whole(table) => table.find(hash, key).map(|cell| Spot { table: 0, cell }),
            Slot::Split(split) => {
                let table = split.seat(hash);
                let cell = split.tables[table as usize].find(hash, key)?;
                Some(Spot { table, cell })
            }
        }
    }

    #[inline]
    pub(super) fn at(&self, spot: Spot) -> &Entry {
        self.tables()[spot.table as usize].at(spot.cell)
    }

    #[inline]
    pub(super) fn at_mut(&mut self, spot: Spot) -> &mut Entry {
        self.tables_mut()[spot.table as usize].at_mut(spot.cell)
    }

    /// The expiry of the entry at `spot` was changed; see `Table::note_expiry`.
    pub(super) fn note_expiry(&mut self, spot: Spot, before: bool, now: Option<Ms>) {
        self.tables_mut()[spot.table as usize].note_expiry(before, now);
        self.lower_due(spot.table);
    }

    fn lower_due(&mut self, table: u32) {
        if let Slot::Split(split) = self {
            split.due = split.due.min(split.tables[table as usize].due());
        }
    }

    pub(super) fn tables(&self) -> &[Table] {
        match self {
            Slot::Whole(table) => std::slice::from_ref(table),
            Slot::Split(split) => &split.tables,
        }
    }

    fn tables_mut(&mut self) -> &mut [Table] {
        match self {
            Slot::Whole(table) => std::slice::from_mut(table),
            Slot::Split(split) => &mut split.tables,
        }
    }

    /// Its tables, to be dropped one at a time.
    pub(super) fn into_tables(self) -> Vec<Table> {
        match self {
            Slot::Whole(table) => vec![table],
            Slot::Split(split) => split.tables,
        }
    }

    /// Adds an entry whose key is not there.
    #[inline]
    pub(super) fn insert(&mut self, hash: u64, mut entry: Entry, hasher: &Hasher) {
        if let Slot::Whole(table) = self
            && !table.is_full()
        {
            entry.set_tag(table.tag(hash));
            return table.insert(entry);
        }
        self.insert_split(hash, entry, hasher);
    }

    fn insert_split(&mut self, hash: u64, mut entry: Entry, hasher: &Hasher) {
        if let Slot::Whole(table) = self {
            let whole = std::mem::replace(table, Table::new(0, 0));
            *self = Slot::Split(Box::new(Split {
                depth: 0,
                deepest: 1,
                len: whole.len(),
                cells: whole.cells(),
                due: whole.due(),
                index: vec![0],
                tables: vec![whole],
            }));
        }
        let Slot::Split(split) = self else {
            unreachable!("it was made so above")
        };
        let mut table = split.seat(hash);
        while split.tables[table as usize].is_full()
            && split.tables[table as usize].depth() < MAX_DEPTH
        {
            split.part(table, hasher);
            table = split.seat(hash);
        }
        let seat = &mut split.tables[table as usize];
        entry.set_tag(seat.tag(hash));
        let before = seat.cells();
        seat.insert(entry);
        split.cells = split.cells - before + seat.cells();
        split.len += 1;
        self.lower_due(table);
    }

    /// Takes out the entry at `spot`.
    pub(super) fn remove(&mut self, spot: Spot) -> Entry {
        match self {
            Slot::Whole(table) => table.remove(spot.cell),
            Slot::Split(split) => {
                let table = &mut split.tables[spot.table as usize];
                let before = table.cells();
                let entry = table.remove(spot.cell);
                split.cells = split.cells - before + table.cells();
                split.len -= 1;
                split.join(spot.table);
                self.unsplit();
                entry
            }
        }
    }

    /// Goes back to one table when one is left.
    fn unsplit(&mut self) {
        if let Slot::Split(split) = self
            && split.depth == 0
            && let Some(table) = split.tables.pop()
        {
            *self = Slot::Whole(table);
        }
    }

    /// Removes entries whose time has come, at most `limit`, from table `from` on; calls `f` with
    /// each. Tells how many it looked at and removed, and the table to go on with when the limit
    /// ended it.
    pub(super) fn expire(
        &mut self,
        now: Ms,
        by: u32,
        limit: usize,
        from: u32,
        mut f: impl FnMut(&mut Entry),
    ) -> (usize, usize, Option<u32>) {
        let split = match self {
            Slot::Whole(table) => {
                let (looked, gone) = table.expire(now, limit, f);
                return (looked, gone, (table.due() <= by).then_some(0));
            }
            Slot::Split(split) => split,
        };
        let (mut looked, mut gone) = (0, 0);
        let mut at = from;
        while let Some(table) = split.tables.get_mut(at as usize) {
            if table.due() <= by {
                if looked + gone >= limit {
                    return (looked, gone, Some(at));
                }
                let before = table.cells();
                let (seen, removed) = table.expire(now, limit - gone, &mut f);
                split.cells = split.cells - before + table.cells();
                looked += seen;
                gone += removed;
                split.len -= removed;
                if table.due() <= by {
                    return (looked, gone, Some(at));
                }
                split.join(at); // what moves to `at`, or joins, is met next time
            }
            at += 1;
        }
        split.due = split
            .tables
            .iter()
            .map(Table::due)
            .min()
            .unwrap_or(u32::MAX);
        let next = (split.due <= by).then_some(0);
        self.unsplit();
        (looked, gone, next)
    }

    /// Calls `f` with the entries from a place in the order on, until `count` has run out and all
    /// entries of the same place are done. Tells the place to go on with, or `None` at the slot's
    /// end.
    pub(super) fn walk(
        &self,
        mut place: u64,
        count: &mut usize,
        mut f: impl FnMut(&Entry),
    ) -> Option<u64> {
        loop {
            let hash = place << (u64::BITS - PLACE_BITS);
            let table = match self {
                Slot::Whole(table) => table,
                Slot::Split(split) => &split.tables[split.seat(hash) as usize],
            };
            let (prefix, depth) = (u64::from(table.prefix()), u32::from(table.depth()));
            let mut last = None;
            for entry in table.from(table.tag(hash)) {
                if *count == 0 && last != Some(entry.tag()) {
                    let here = prefix << TAG_BITS | u64::from(entry.tag());
                    return Some(here << (PLACE_BITS - TAG_BITS - depth));
                }
                last = Some(entry.tag());
                *count = count.saturating_sub(1);
                f(entry);
            }
            place = (prefix + 1) << (PLACE_BITS - depth);
            if place >> PLACE_BITS != 0 {
                return None;
            }
        }
    }

    /// Asks for the cells where a hash would be.
    #[inline]
    pub(super) fn prefetch_cells(&self, hash: u64) {
        match self {
            Slot::Whole(table) => table.prefetch_cells(hash),
            Slot::Split(split) => split.tables[split.seat(hash) as usize].prefetch_cells(hash),
        }
    }

    /// Asks for the entry of a hash.
    #[inline]
    pub(super) fn prefetch_entry(&self, hash: u64) {
        match self {
            Slot::Whole(table) => table.prefetch_entry(hash),
            Slot::Split(split) => split.tables[split.seat(hash) as usize].prefetch_entry(hash),
        }
    }

    /// Asks for the header itself.
    #[inline]
    pub(super) fn prefetch(&self) {
        prefetch::line(self);
    }
}

#[cfg(test)]
impl Slot {
    /// Checks the counts, and that every seat of the index points at the table of its prefix.
    pub(super) fn verify(&self) {
        self.tables().iter().for_each(Table::verify);
        let Slot::Split(split) = self else {
            return;
        };
        let deepest = split
            .tables
            .iter()
            .filter(|table| table.depth() == split.depth)
            .count();
        assert_eq!(
            (split.deepest as usize, split.index.len()),
            (deepest, 1 << split.depth)
        );
        assert_eq!(
            split.len,
            split.tables.iter().map(Table::len).sum::<usize>()
        );
        assert_eq!(
            split.cells,
            split.tables.iter().map(Table::cells).sum::<usize>()
        );
        assert!(split.tables.iter().all(|table| split.due <= table.due()));
        for (seat, &at) in split.index.iter().enumerate() {
            let table = &split.tables[at as usize];
            assert_eq!(
                table.prefix() as usize,
                seat >> (split.depth - table.depth())
            );
        }
    }
}

impl Split {
    /// The table of a hash.
    #[inline]
    fn seat(&self, hash: u64) -> u32 {
        // depth is at least 1 whenever anyone asks, except while the first table is about to be
        // parted
        self.index[hash
            .checked_shr(u64::BITS - u32::from(self.depth))
            .unwrap_or(0) as usize]
    }

    /// Points the seats of a table at it.
    fn point(&mut self, at: u32) {
        let table = &self.tables[at as usize];
        let shift = self.depth - table.depth();
        let first = (table.prefix() as usize) << shift;
        self.index[first..first + (1 << shift)].fill(at);
    }

    /// Splits a table in two.
    fn part(&mut self, at: u32, hasher: &Hasher) {
        if self.tables[at as usize].depth() == self.depth {
            self.index = self
                .index
                .iter()
                .flat_map(|&table| [table, table])
                .collect();
            self.depth += 1;
            self.deepest = 0;
        }
        let full = std::mem::replace(&mut self.tables[at as usize], Table::new(0, 0));
        let before = full.cells();
        let [low, high] = full.split(hasher);
        self.cells = self.cells - before + low.cells() + high.cells();
        self.deepest += if low.depth() == self.depth { 2 } else { 0 };
        let added = self.tables.len() as u32;
        self.tables[at as usize] = low;
        self.tables.push(high);
        self.point(at);
        self.point(added);
    }

    /// Joins a table with its other half while both are small.
    fn join(&mut self, mut at: u32) {
        while let Some(joined) = self.join_once(at) {
            at = joined;
        }
    }

    fn join_once(&mut self, at: u32) -> Option<u32> {
        let table = &self.tables[at as usize];
        let depth = table.depth();
        if depth == 0 || table.len() > JOIN {
            return None;
        }
        let twin = self.index[((table.prefix() ^ 1) as usize) << (self.depth - depth)];
        let other = &self.tables[twin as usize];
        if other.depth() != depth || table.len() + other.len() > JOIN {
            return None;
        }
        let (keep, leave) = (at.min(twin), at.max(twin));
        let second = self.tables.swap_remove(leave as usize);
        let first = std::mem::replace(&mut self.tables[keep as usize], Table::new(0, 0));
        let (low, high) = if first.prefix() & 1 == 0 {
            (first, second)
        } else {
            (second, first)
        };
        let before = low.cells() + high.cells();
        let joined = Table::join(low, high);
        self.cells = self.cells - before + joined.cells();
        self.tables[keep as usize] = joined;
        self.point(keep);
        if (leave as usize) < self.tables.len() {
            self.point(leave);
        }
        if self.tables.len() < self.tables.capacity() / 4 {
            self.tables.shrink_to(self.tables.len() * 2);
        }
        if depth == self.depth {
            self.deepest -= 2;
        }
        while self.deepest == 0 && self.depth > 0 {
            self.index = self.index.iter().copied().step_by(2).collect();
            self.depth -= 1;
            let deepest = self
                .tables
                .iter()
                .filter(|table| table.depth() == self.depth);
            self.deepest = deepest.count() as u32;
        }
        Some(keep)
    }
}
