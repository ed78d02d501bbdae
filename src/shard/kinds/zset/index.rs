//! From a member to its number: a hash table that never pauses to grow.
//!
//! Extendible hashing (Fagin et al., 1979): a directory leads by some bits of the hash to one of many small tables. A
//! table that is full splits in two; only the directory, four bytes a table, is ever doubled. So the longest piece of
//! work is moving the numbers of one table, whatever the size of the set.
//!
//! Only numbers are kept here: who asks says which bytes a number stands for.

use std::hash::{BuildHasher as _, Hasher as _};

use foldhash::quality::RandomState;
use hashbrown::HashTable;

use super::members::Members;

/// A table of more numbers than this is split: what fits 1024 buckets.
const FULL: usize = 896;

/// Hash bits from this one on choose the table; the table itself uses the lowest and the highest.
const SHIFT: u32 = 24;

/// No more bits than this choose: tables beyond that grow instead.
const DEEPEST: u32 = 24;

#[derive(Clone, Debug)]
struct Part {
    numbers: HashTable<u32>,
    /// How many bits the hashes of its members have in common.
    depth: u32,
}

/// The numbers of all members, found by the members' bytes.
#[derive(Clone, Debug)]
pub(super) struct Index {
    random: RandomState,
    depth: u32,
    directory: Vec<u32>,
    parts: Vec<Part>,
    /// Bytes of the tables.
    bytes: usize,
}

fn hash(random: &RandomState, member: &[u8]) -> u64 {
    let mut hasher = random.build_hasher();
    hasher.write(member);
    hasher.finish()
}

impl Index {
    pub(super) fn new() -> Index {
        let part = Part {
            numbers: HashTable::new(),
            depth: 0,
        };
        Index {
            random: RandomState::default(),
            depth: 0,
            directory: vec![0],
            parts: vec![part],
            bytes: 0,
        }
    }

    fn hash(&self, member: &[u8]) -> u64 {
        hash(&self.random, member)
    }

    fn place(&self, hash: u64) -> usize {
        let bits = (hash >> SHIFT) as usize & ((1 << self.depth) - 1);
        self.directory[bits] as usize
    }

    /// The number of a member.
    #[inline]
    pub(super) fn find(&self, member: &[u8], members: &Members) -> Option<u32> {
        let hash = self.hash(member);
        let part = &self.parts[self.place(hash)];
        let found = part.numbers.find(hash, |&id| members.bytes(id) == member);
        found.copied()
    }

    /// Notes a member that is not there yet.
    pub(super) fn insert(&mut self, id: u32, members: &Members) {
        let hash = self.hash(members.bytes(id));
        while self.parts[self.place(hash)].numbers.len() >= FULL {
            if !self.split(self.place(hash), hash, members) {
                break;
            }
        }
        let at = self.place(hash);
        let random = &self.random;
        let numbers = &mut self.parts[at].numbers;
        self.bytes -= numbers.allocation_size();
        numbers.insert_unique(hash, id, |&id| self::hash(random, members.bytes(id)));
        self.bytes += numbers.allocation_size();
    }

    /// Forgets a member.
    pub(super) fn remove(&mut self, id: u32, members: &Members) {
        let hash = self.hash(members.bytes(id));
        let at = self.place(hash);
        let part = &mut self.parts[at];
        self.bytes -= part.numbers.allocation_size();
        if let Ok(entry) = part.numbers.find_entry(hash, |&other| other == id) {
            entry.remove();
        }
        let (len, room) = (part.numbers.len(), part.numbers.capacity());
        if len * 4 < room && room > 16 {
            let random = &self.random;
            part.numbers
                .shrink_to(len * 2, |&id| self::hash(random, members.bytes(id)));
        }
        self.bytes += part.numbers.allocation_size();
    }

    /// The member under the number `from` has the number `to` from now on.
    pub(super) fn renumber(&mut self, from: u32, to: u32, members: &Members) {
        let hash = self.hash(members.bytes(from));
        let at = self.place(hash);
        let numbers = &mut self.parts[at].numbers;
        if let Some(number) = numbers.find_mut(hash, |&other| other == from) {
            *number = to;
        }
    }

    /// Divides a table by one more bit; refuses beyond [`DEEPEST`]. `hash` is one that leads to it.
    fn split(&mut self, at: usize, hash: u64, members: &Members) -> bool {
        let depth = self.parts[at].depth;
        if depth >= DEEPEST {
            return false;
        }
        if depth == self.depth {
            self.directory.extend_from_within(..);
            self.depth += 1;
        }
        let old = std::mem::take(&mut self.parts[at].numbers);
        self.bytes -= old.allocation_size();
        let (mut low, mut high) = (HashTable::new(), HashTable::new());
        for id in old {
            let hash = self.hash(members.bytes(id));
            let half = match hash >> (SHIFT + depth) & 1 {
                0 => &mut low,
                _ => &mut high,
            };
            half.insert_unique(hash, id, |&id| self.hash(members.bytes(id)));
        }
        self.bytes += low.allocation_size() + high.allocation_size();
        let fresh = self.parts.len() as u32;
        let (numbers, depth) = (high, depth + 1);
        self.parts[at].numbers = low;
        self.parts[at].depth = depth;
        self.parts.push(Part { numbers, depth });
        // Every place of the directory that agrees in the bits before and has the new one set.
        let common = (hash >> SHIFT) as usize & ((1 << (depth - 1)) - 1);
        let first = common | 1 << (depth - 1);
        for place in (first..self.directory.len()).step_by(1 << depth) {
            self.directory[place] = fresh;
        }
        true
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.bytes
            + self.directory.capacity() * size_of::<u32>()
            + self.parts.capacity() * size_of::<Part>()
    }

    /// Frees one table of an index that nobody asks any more; tells how many numbers it held.
    pub(super) fn crumble(&mut self) -> usize {
        self.parts.pop().map_or(0, |part| part.numbers.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_member_is_found_while_tables_split_and_shrink() {
        let (mut members, mut index) = (Members::default(), Index::new());
        let name = |n: u32| format!("member:{n}").into_bytes();
        for n in 0..40_000u32 {
            let id = members.push(&name(n), 0.0);
            index.insert(id, &members);
        }
        assert!(index.parts.len() > 40_000 / FULL && index.depth > 5);
        for n in 0..40_000u32 {
            assert_eq!(index.find(&name(n), &members), Some(n));
        }
        assert_eq!(index.find(b"member:", &members), None);
        let full = index.heap_bytes();
        for n in (500..40_000u32).rev() {
            index.remove(n, &members);
            members.swap_remove(n);
        }
        assert_eq!(index.find(&name(500), &members), None);
        assert!((0..500).all(|n| index.find(&name(n), &members) == Some(n)));
        assert!(index.heap_bytes() < full / 5);
        let tables: usize = index
            .parts
            .iter()
            .map(|p| p.numbers.allocation_size())
            .sum();
        assert_eq!(index.bytes, tables);
        index.renumber(3, 7000, &members);
        let hash = index.hash(&name(3));
        let part = &index.parts[index.place(hash)];
        assert!(part.numbers.find(hash, |&id| id == 7000).is_some());
    }
}
