//! An open-addressing table of entries, kept in the order of their hashes.
//!
//! Promise: a lookup touches one or two cache lines of the table and, by the tag, almost never an
//! entry of another key. No `unsafe`: a cell is an `Option<Entry>`, which is the entry's word or 0.
//!
//! # The algorithm
//! Ordered linear probing without wrap-around. An entry's tag, 16 bits of its hash, decides its
//! home cell, `tag * span / 65536`; entries stand at their home or after it, without an empty cell
//! between, sorted by tag: a sorted array with gaps, in effect. So
//! - a lookup ends at the first empty cell or larger tag, found or not;
//! - insertion shifts the rest of a cluster by one, removal shifts it back: no tombstones;
//! - another capacity is one sequential pass, for homes follow from tags alone: no entry is read.
//!   So capacities can be fine-grained (four to a doubling, jemalloc's classes), and load stays
//!   high;
//! - walking the cells is walking the hashes in order, whatever the capacity: see `browse`.
//!
//! The tag is taken from the hash below the `depth` bits that all keys of the table have in common:
//! see `slots`, where a table that is full at `MAX_CELLS` is split in two. Splitting is the one
//! thing that reads entries, at most a table's worth of them at a time.
//!
//! Rejected: SwissTable groups (their control bytes are another cache miss, and rehashing reads
//! every key); chains (a pointer more); one large table with incremental rehash (two tables to look
//! into, and a cursor that must survive both).

use super::Object;
use super::entry::Entry;
use super::hash::Hasher;
use super::prefetch;
use super::value::Ms;

/// A table of this many cells is split rather than enlarged: the longest piece of work there is.
pub(super) const MAX_CELLS: usize = 2048;
/// Tables up to this size are plain sorted arrays: two cache lines at most.
const SORTED: usize = 16;
/// How far ahead of a walk over cold entries to prefetch.
const AHEAD: usize = 12;

/// A table with many expiring keys is looked through when one in so many has died: no more than
/// that many are looked at for one removed, and no greater part of them is dead.
const WORTHWHILE: usize = 16;
/// But no key waits for the others for longer than this, in the unit of `due`: a minute.
const PATIENCE: u32 = 60;

/// Never: no entry has an expiry.
const NEVER: u32 = u32::MAX;
/// Later than any clock will tell: the year 2109.
const DISTANT: u32 = NEVER - PATIENCE - 1;

/// When a key that expires at `at` is due, in units of 1024 ms, rounded up: whoever looks then
/// finds it dead.
#[inline]
pub(super) fn due(at: Ms) -> u32 {
    u32::try_from((at >> 10) + 1)
        .unwrap_or(DISTANT)
        .min(DISTANT)
}

/// What is due at `now`: everything up to this. Times beyond the year 2109 are never due; whoever
/// asks for such a key still sees it expire.
#[inline]
pub(super) fn due_by(now: Ms) -> u32 {
    u32::try_from(now >> 10).unwrap_or(DISTANT).min(DISTANT - 1)
}

/// Some of a slot's entries: those whose hash begins with the `depth` bits `prefix`. Half a cache
/// line, and never across two.
#[derive(Debug)]
#[repr(align(32))]
pub(super) struct Table {
    cells: Box<[Option<Entry>]>,
    len: u32,
    volatile: u32,
    due: u32,
    /// `prefix << 8 | depth`
    place: u32,
}

const _: () = assert!(size_of::<Table>() == 32);

impl Table {
    /// An empty table; it has no cells yet.
    pub(super) fn new(prefix: u32, depth: u8) -> Table {
        let place = prefix << 8 | u32::from(depth);
        Table {
            cells: Box::default(),
            len: 0,
            volatile: 0,
            due: NEVER,
            place,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len as usize
    }

    pub(super) fn cells(&self) -> usize {
        self.cells.len()
    }

    /// When it is worth looking for entries whose time has come; `u32::MAX` when none has an
    /// expiry.
    #[inline]
    pub(super) fn due(&self) -> u32 {
        self.due
    }

    pub(super) fn depth(&self) -> u8 {
        self.place as u8
    }

    pub(super) fn prefix(&self) -> u32 {
        self.place >> 8
    }

    /// The tag of a hash in this table.
    #[inline]
    pub(super) fn tag(&self, hash: u64) -> u16 {
        (hash << (self.place as u8) >> 48) as u16
    }

    /// Where an entry stands.
    #[inline]
    pub(super) fn find(&self, hash: u64, key: &[u8]) -> Option<u32> {
        let tag = self.tag(hash);
        let mut at = home(tag, self.cells.len());
        while let Some(Some(entry)) = self.cells.get(at) {
            if entry.tag() >= tag {
                if entry.tag() > tag {
                    return None;
                }
                if entry.key() == key {
                    return Some(at as u32);
                }
            }
            at += 1;
        }
        None
    }

    /// The entry at a place that `find` told.
    #[inline]
    pub(super) fn at(&self, cell: u32) -> &Entry {
        match &self.cells[cell as usize] {
            Some(entry) => entry,
            None => unreachable!("a place outlived its entry"),
        }
    }

    /// The entry at a place that `find` told. Its expiry changes by `set_expiry_counts` only.
    #[inline]
    pub(super) fn at_mut(&mut self, cell: u32) -> &mut Entry {
        match &mut self.cells[cell as usize] {
            Some(entry) => entry,
            None => unreachable!("a place outlived its entry"),
        }
    }

    /// An entry's expiry was changed: it was (not) volatile before and now expires at `now`.
    #[inline]
    pub(super) fn note_expiry(&mut self, before: bool, now: Option<Ms>) {
        self.volatile -= u32::from(before);
        if let Some(at) = now {
            self.volatile += 1;
            self.due = self.due.min(due(at));
        }
        if self.volatile == 0 {
            self.due = NEVER;
        }
    }

    /// Whether one more entry asks for more than `MAX_CELLS`.
    pub(super) fn is_full(&self) -> bool {
        self.len() >= limit(MAX_CELLS)
    }

    /// Adds an entry whose key is not there; its tag must be this table's.
    pub(super) fn insert(&mut self, entry: Entry) {
        self.note_expiry(false, entry.expire());
        self.len += 1;
        if self.len() > limit(self.cells.len()) {
            self.resize(larger(self.cells.len()));
        }
        let mut entry = Some(entry);
        while let Some(homeless) = entry.take() {
            entry = self.seat(homeless);
            if entry.is_some() {
                self.resize(larger(self.cells.len()));
            }
        }
    }

    /// Puts an entry into its order; gives it back when the cells after it are all taken.
    fn seat(&mut self, entry: Entry) -> Option<Entry> {
        let tag = entry.tag();
        let mut at = home(tag, self.cells.len());
        while matches!(self.cells.get(at), Some(Some(other)) if other.tag() <= tag) {
            at += 1;
        }
        let Some(gap) = self
            .cells
            .get(at..)
            .and_then(|rest| rest.iter().position(Option::is_none))
        else {
            return Some(entry);
        };
        self.cells[at..=at + gap].rotate_right(1);
        self.cells[at] = Some(entry);
        None
    }

    /// Takes out the entry at a place that `find` told.
    pub(super) fn remove(&mut self, cell: u32) -> Entry {
        let entry = self.pull(cell as usize);
        if self.len() < limit(self.cells.len()) / 4 {
            self.resize(fitting(self.len() + self.len() / 2));
        }
        entry
    }

    /// Takes out an entry, keeps the capacity.
    fn pull(&mut self, at: usize) -> Entry {
        let Some(entry) = self.cells[at].take() else {
            unreachable!("a place outlived its entry")
        };
        let cells = self.cells.len();
        let stays = |(n, cell): (usize, &Option<Entry>)| {
            cell.as_ref()
                .is_none_or(|entry| home(entry.tag(), cells) > at + n)
        };
        let rest = &mut self.cells[at..];
        let end = rest[1..]
            .iter()
            .enumerate()
            .position(stays)
            .unwrap_or(rest.len() - 1);
        rest[..=end].rotate_left(1);
        self.len -= 1;
        self.note_expiry(entry.is_volatile(), None);
        entry
    }

    /// Moves all entries into `cells` cells, or as many more as they need.
    fn resize(&mut self, mut cells: usize) {
        while !self.fits(cells) {
            cells = larger(cells);
        }
        let mut new: Box<[Option<Entry>]> = (0..cells).map(|_| None).collect();
        let mut next = 0;
        for entry in std::mem::take(&mut self.cells).into_iter().flatten() {
            let at = home(entry.tag(), cells).max(next);
            new[at] = Some(entry);
            next = at + 1;
        }
        self.cells = new;
    }

    fn fits(&self, cells: usize) -> bool {
        let mut next = 0;
        for entry in self.cells.iter().flatten() {
            next = home(entry.tag(), cells).max(next) + 1;
        }
        next <= cells && self.len() <= cells
    }

    /// Splits into the entries whose next bit of hash is 0 and those whose is 1.
    pub(super) fn split(self, hasher: &Hasher) -> [Table; 2] {
        let (prefix, depth) = (self.prefix(), self.depth() + 1);
        let mut halves = [
            Table::new(prefix << 1, depth),
            Table::new(prefix << 1 | 1, depth),
        ];
        let ones = self
            .cells
            .iter()
            .flatten()
            .filter(|entry| entry.tag() >> 15 != 0)
            .count();
        halves[0].resize(fitting(self.len() - ones));
        halves[1].resize(fitting(ones));
        let hints: Vec<_> = self.iter().map(Entry::hint).collect();
        hints
            .iter()
            .take(AHEAD)
            .for_each(|hint| prefetch::line(*hint));
        for (n, mut entry) in self.into_entries().enumerate() {
            hints
                .get(n + AHEAD)
                .into_iter()
                .for_each(|hint| prefetch::line(*hint));
            let half = usize::from(entry.tag() >> 15);
            let tag = halves[half].tag(hasher.hash(entry.key()));
            entry.set_tag(tag);
            halves[half].insert(entry);
        }
        halves
    }

    /// Joins two halves again: the opposite of `split`. No entry is read, unless it has an expiry.
    pub(super) fn join(low: Table, high: Table) -> Table {
        let mut whole = Table::new(low.prefix() >> 1, low.depth() - 1);
        whole.resize(fitting(low.len() + high.len()));
        for (half, bit) in [(low, 0), (high, 1 << 15)] {
            for mut entry in half.into_entries() {
                entry.set_tag(entry.tag() >> 1 | bit);
                whole.insert(entry);
            }
        }
        whole
    }

    fn into_entries(mut self) -> impl Iterator<Item = Entry> {
        std::mem::take(&mut self.cells).into_iter().flatten()
    }

    /// Entries that have an expiry.
    #[inline]
    pub(super) fn volatile(&self) -> usize {
        self.volatile as usize
    }

    /// All entries, in the order of their hashes.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.cells.iter().flatten()
    }

    /// Takes the objects out that take long to free, of a table that nobody can reach any more.
    #[expect(
        clippy::vec_box,
        reason = "the boxes come from entries; an object is never moved"
    )]
    pub(super) fn take_large(&mut self, into: &mut Vec<Box<Object>>) {
        into.extend(
            self.cells
                .iter_mut()
                .flatten()
                .filter_map(Entry::take_large),
        );
    }

    /// The entries from a tag on, in order.
    pub(super) fn from(&self, tag: u16) -> impl Iterator<Item = &Entry> {
        let start = home(tag, self.cells.len()).min(self.cells.len());
        self.cells[start..]
            .iter()
            .flatten()
            .skip_while(move |entry| entry.tag() < tag)
    }

    /// The entry of a cell, if there is one: for choosing by chance.
    pub(super) fn cell(&self, cell: usize) -> Option<&Entry> {
        self.cells.get(cell)?.as_ref()
    }

    /// Removes entries whose time has come, at most `limit` of them, and calls `f` with each. Tells
    /// how many had to be looked at and how many are gone. Short of the limit, the table is due
    /// again when one in `WORTHWHILE` of those left is dead, but at most `PATIENCE` later than the
    /// first.
    pub(super) fn expire(
        &mut self,
        now: Ms,
        limit: usize,
        mut f: impl FnMut(&mut Entry),
    ) -> (usize, usize) {
        for entry in self.iter().filter(|entry| entry.is_volatile()) {
            prefetch::line(entry.hint());
        }
        let mut left = Vec::with_capacity(self.volatile as usize);
        let (mut looked, mut gone, mut at) = (0, 0, 0);
        while let Some(cell) = self.cells.get(at) {
            if let Some(when) = cell.as_ref().and_then(Entry::expire) {
                looked += 1;
                if now > when {
                    if gone == limit {
                        return (looked, gone);
                    }
                    f(&mut self.pull(at));
                    gone += 1;
                    continue; // what followed may stand here now
                }
                left.push(due(when));
            }
            at += 1;
        }
        if let Some(first) = left.iter().copied().min() {
            let nth = left.len() / WORTHWHILE;
            let (_, worthwhile, _) = left.select_nth_unstable(nth);
            self.due = (*worthwhile).min(first + PATIENCE);
        }
        if self.len() < self::limit(self.cells.len()) / 4 {
            self.resize(fitting(self.len() + self.len() / 2));
        }
        (looked, gone)
    }

    /// Asks for the cells where a hash would be.
    #[inline]
    pub(super) fn prefetch_cells(&self, hash: u64) {
        let start = self
            .cells
            .as_ptr()
            .wrapping_add(home(self.tag(hash), self.cells.len()));
        prefetch::line(start);
        prefetch::line(start.wrapping_add(4));
    }

    /// Asks for the entry of a hash, if its tag is there.
    #[inline]
    pub(super) fn prefetch_entry(&self, hash: u64) {
        let tag = self.tag(hash);
        let start = home(tag, self.cells.len());
        for cell in self.cells.iter().skip(start) {
            match cell {
                Some(entry) if entry.tag() < tag => {}
                Some(entry) if entry.tag() == tag => {
                    entry.prefetch();
                    return;
                }
                _ => return,
            }
        }
    }
}

#[cfg(test)]
impl Table {
    /// Checks the counts, the order, and that every entry is reached from its home.
    pub(super) fn verify(&self) {
        let (mut len, mut volatile, mut last) = (0, 0, 0);
        for (at, cell) in self.cells.iter().enumerate() {
            let Some(entry) = cell else { continue };
            let home = home(entry.tag(), self.cells.len());
            assert!(home <= at && self.cells[home..at].iter().all(Option::is_some));
            assert!(entry.tag() >= last);
            assert!(
                entry
                    .expire()
                    .is_none_or(|at| self.due <= due(at).saturating_add(PATIENCE))
            );
            last = entry.tag();
            len += 1;
            volatile += u32::from(entry.is_volatile());
        }
        assert_eq!((self.len, self.volatile), (len, volatile));
        assert!(self.volatile > 0 || self.due == NEVER);
    }
}

impl Drop for Table {
    /// Frees the entries; each must be read for its size, so they are fetched ahead.
    fn drop(&mut self) {
        for at in 0..self.cells.len() {
            if let Some(Some(entry)) = self.cells.get(at + AHEAD) {
                prefetch::line(entry.hint());
            }
            self.cells[at] = None;
        }
    }
}

/// The home of a tag among so many cells.
#[inline]
fn home(tag: u16, cells: usize) -> usize {
    (usize::from(tag) * span(cells)) >> 16
}

/// How many cells are homes; the rest take what a cluster at the end pushes over.
#[inline]
fn span(cells: usize) -> usize {
    if cells <= SORTED {
        1
    } else {
        cells - 8 - (cells >> 6)
    }
}

/// How many entries are allowed in so many cells.
fn limit(cells: usize) -> usize {
    if cells <= SORTED {
        cells
    } else {
        span(cells) * 27 / 32
    }
}

/// The capacity after `cells`: 2, 4, 6, 8, 10 .. 16, then four to a doubling.
fn larger(cells: usize) -> usize {
    if cells < SORTED {
        cells + 2
    } else {
        cells + (1 << (cells.ilog2() - 2))
    }
}

/// The capacity for so many entries; 0 for none.
fn fitting(len: usize) -> usize {
    let mut cells = 0;
    while limit(cells) < len {
        cells = larger(cells);
    }
    cells
}
