//! All entries of a stream: blocks in the order of their ids.
//!
//! Promise: an entry is added at the end in constant time but for the index, which is as deep as the logarithm of a
//! hundredth of the length; trimming frees whole blocks, and at most one is cut.

use std::collections::BTreeMap;
use std::collections::btree_map;

use super::block::{self, Block, Entry};
use super::id::StreamId;
use crate::shard::wire::{Items, Reader, put_number};

/// What a block costs beside its bytes: its seat in the index, which is about two thirds full.
const SEAT: usize = (size_of::<StreamId>() + size_of::<Block>()) * 3 / 2;

/// Blocks that are freed at once.
const MANY: usize = 128;

/// How much a trim may remove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// So many entries stay.
    Newest(u64),
    /// Those from this id on stay.
    From(StreamId),
}

/// The blocks.
#[derive(Clone, Debug, Default)]
pub(super) struct Entries {
    blocks: BTreeMap<StreamId, Block>,
    len: u64,
    bytes: usize,
}

impl Entries {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn blocks(&self) -> usize {
        self.blocks.len()
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.bytes
    }

    /// Adds an entry whose id is larger than any.
    pub(super) fn push(&mut self, id: StreamId, fields: &Items<'_>) {
        let size = fields.iter().map(<[u8]>::len).sum();
        self.len += 1;
        if let Some(mut entry) = self.blocks.last_entry() {
            let base = *entry.key();
            let block = entry.get_mut();
            let before = block.heap_bytes();
            let room = block.has_room(size);
            if room {
                block.push(base, id, fields);
            } else {
                block.seal();
            }
            self.bytes = self.bytes - before + block.heap_bytes();
            if room {
                return;
            }
        }
        let block = Block::new(id, fields);
        self.bytes += SEAT + block.heap_bytes();
        self.blocks.insert(id, block);
    }

    /// The smallest id.
    pub(super) fn first(&self) -> Option<StreamId> {
        let (base, block) = self.blocks.first_key_value()?;
        Some(block.first(*base))
    }

    /// The largest id.
    pub(super) fn last(&self) -> Option<StreamId> {
        self.blocks.last_key_value().map(|(_, block)| block.top)
    }

    pub(super) fn get(&self, id: StreamId) -> Option<Entry<'_>> {
        let (base, block) = self.blocks.range(..=id).next_back()?;
        block.find(*base, id)
    }

    /// Removes an entry; tells whether it was there.
    pub(super) fn remove(&mut self, id: StreamId) -> bool {
        let Some((&base, block)) = self.blocks.range_mut(..=id).next_back() else {
            return false;
        };
        if !block.remove(base, id) {
            return false;
        }
        self.len -= 1;
        if block.live == 0 {
            self.drop_block(base);
        }
        true
    }

    fn drop_block(&mut self, base: StreamId) {
        if let Some(block) = self.blocks.remove(&base) {
            self.bytes -= SEAT + block.heap_bytes();
        }
    }

    /// Removes what is not larger than `through`; tells how many entries that were, and what is left to be freed.
    pub(super) fn cut(&mut self, through: StreamId) -> (u64, Option<Entries>) {
        let before = self.len;
        let debris = self.split_off(through);
        while let Some(mut entry) = self.blocks.first_entry() {
            let base = *entry.key();
            let block = entry.get_mut();
            if block.top > through {
                self.len -= u64::from(block.cut(base, through));
                break;
            }
            self.len -= u64::from(block.live);
            self.drop_block(base);
        }
        (before - self.len, debris)
    }

    /// Takes out the blocks that end before `through`, where those are many. Costs a look at those that go or at those
    /// that stay.
    fn split_off(&mut self, through: StreamId) -> Option<Entries> {
        let (&last, _) = self.blocks.range(..=through).next_back()?;
        self.blocks.range(..last).nth(MANY)?;
        let rest = self.blocks.split_off(&last);
        let mut gone = Entries {
            blocks: std::mem::replace(&mut self.blocks, rest),
            ..Entries::default()
        };
        for block in gone.blocks.values() {
            gone.len += u64::from(block.live);
            gone.bytes += SEAT + block.heap_bytes();
        }
        self.len -= gone.len;
        self.bytes -= gone.bytes;
        Some(gone)
    }

    /// Up to which id a trim removes; `None` if nothing. `rough` is `~`: blocks go whole or not at all. A `limit` other
    /// than 0 says how many entries go at most; a block that would bring it to more stays.
    ///
    /// Source: Redis's `XTRIM`, whose nodes end where these blocks do.
    pub(super) fn trim(&self, keep: Keep, rough: bool, limit: u64) -> Option<StreamId> {
        let (mut left, mut gone, mut through) = (self.len, 0, None);
        for (&base, block) in &self.blocks {
            let entries = u64::from(block.live);
            if matches!(keep, Keep::Newest(most) if left <= most)
                || (limit > 0 && gone + entries > limit)
            {
                break;
            }
            let whole = match keep {
                Keep::Newest(most) => left - entries >= most,
                Keep::From(id) => block.last < id,
            };
            if whole {
                (left, gone) = (left - entries, gone + entries);
                through = Some(block.top);
                continue;
            }
            if rough {
                break;
            }
            let mut part = block.entries(base);
            let last = match keep {
                Keep::Newest(most) => part.nth((left - most) as usize - 1),
                Keep::From(id) => part.take_while(|entry| entry.id < id).last(),
            };
            through = last.map(|entry| entry.id).or(through);
            break;
        }
        through
    }

    /// The entries from one id to another, both included.
    pub(super) fn range(&self, from: StreamId, to: StreamId) -> Range<'_> {
        let blocks = if from <= to {
            let start = self.blocks.range(..=from).next_back();
            let start = start.map_or(from, |(base, _)| *base);
            self.blocks.range(start..=to)
        } else {
            btree_map::Range::default()
        };
        Range {
            blocks,
            front: None,
            from,
            to,
        }
    }

    /// How many those are.
    pub(super) fn count(&self, from: StreamId, to: StreamId) -> usize {
        if self.first().is_none_or(|first| from <= first)
            && self.last().is_none_or(|last| last <= to)
        {
            return self.len as usize;
        }
        let blocks = self.range(from, to).blocks;
        let counts = blocks.map(|(&base, block)| match from <= base && block.top <= to {
            true => block.live as usize,
            false => block
                .entries(base)
                .filter(|entry| from <= entry.id && entry.id <= to)
                .count(),
        });
        counts.sum()
    }

    /// The same, from the largest id on.
    pub(super) fn backwards(&self, from: StreamId, to: StreamId) -> Backwards<'_> {
        Backwards {
            blocks: self.range(from, to).blocks,
            back: Vec::new(),
            from,
            to,
        }
    }

    /// Frees about so many entries; tells whether there are more.
    pub(super) fn crumble(&mut self, budget: usize) -> bool {
        let mut left = budget;
        while left > 0 {
            let Some((_, block)) = self.blocks.pop_last() else {
                return false;
            };
            left = left.saturating_sub(block.live as usize);
        }
        !self.blocks.is_empty()
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put_number(out, self.blocks.len() as u64);
        for (base, block) in &self.blocks {
            block.encode(*base, out);
        }
    }

    pub(super) fn decode(from: &mut Reader<'_>) -> Option<Entries> {
        let mut all = Entries::default();
        for _ in 0..from.number()? {
            let (base, block) = Block::decode(from)?;
            if all
                .last()
                .is_some_and(|last| block.first(base) <= last || base <= last)
            {
                return None;
            }
            all.len += u64::from(block.live);
            all.bytes += SEAT + block.heap_bytes();
            all.blocks.insert(base, block);
        }
        Some(all)
    }

    #[cfg(test)]
    pub(super) fn verify(&self) {
        let (mut len, mut bytes, mut last) = (0, 0, None);
        for (&base, block) in &self.blocks {
            let ids: Vec<_> = block.entries(base).map(|entry| entry.id).collect();
            assert!(ids.is_sorted() && !ids.is_empty());
            assert!(last < ids.first().copied() && base <= ids[0]);
            assert_eq!(
                (ids.len(), ids.last()),
                (block.live as usize, Some(&block.top))
            );
            last = ids.last().copied();
            len += u64::from(block.live);
            bytes += SEAT + block.heap_bytes();
        }
        assert_eq!((self.len, self.bytes), (len, bytes));
    }
}

/// Entries in ascending order.
#[derive(Clone, Debug)]
pub struct Range<'a> {
    blocks: btree_map::Range<'a, StreamId, Block>,
    front: Option<block::Entries<'a>>,
    from: StreamId,
    to: StreamId,
}

impl<'a> Iterator for Range<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        loop {
            let Some(front) = &mut self.front else {
                let (base, block) = self.blocks.next()?;
                self.front = Some(block.entries(*base));
                continue;
            };
            match front.next() {
                None => self.front = None,
                Some(entry) if entry.id < self.from => {}
                Some(entry) => return (entry.id <= self.to).then_some(entry),
            }
        }
    }
}

/// Entries in descending order.
#[derive(Clone, Debug)]
pub struct Backwards<'a> {
    blocks: btree_map::Range<'a, StreamId, Block>,
    /// What is left of the block that is being gone through.
    back: Vec<Entry<'a>>,
    from: StreamId,
    to: StreamId,
}

impl<'a> Iterator for Backwards<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        loop {
            if let Some(entry) = self.back.pop() {
                return Some(entry);
            }
            let (base, block) = self.blocks.next_back()?;
            let all = block.entries(*base);
            let (from, to) = (self.from, self.to);
            self.back
                .extend(all.filter(|entry| entry.id >= from && entry.id <= to));
        }
    }
}
