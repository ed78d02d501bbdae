//! A block: neighbouring entries in one allocation.
//!
//! # The bytes
//! ```text
//! [names: varint] ([length][name])*  entry*
//! entry = [length of what follows][ms later than the base][seq][shape] values
//! ```
//! The names are the field names of the first entry. An entry with the same names in the same order has shape 0 and holds
//! only its values; any other has as shape the number of its pairs, and holds name and value of each. Times are distances
//! from the block's base, the id of the first entry it ever had, and so are sequence numbers within the base's time.
//!
//! A removed entry leaves the bytes at once: a block is small, and what Redis does (a mark, and the bytes stay) keeps
//! memory for nothing. But it goes on counting against the block's size, so that blocks end where Redis's nodes end and
//! `XTRIM ~` removes what it removes there.

use super::id::StreamId;
use crate::shard::wire::{Items, Reader, put_bytes, put_number};

/// A block takes no further entry that would bring it to so many bytes.
const BYTES: usize = 4096;
/// Nor one beyond so many entries, removed ones included.
const ENTRIES: u32 = 100;

/// Neighbouring entries. Never without any, but for a moment before it is removed.
#[derive(Clone, Debug)]
pub(super) struct Block {
    bytes: Vec<u8>,
    /// Where the entries begin.
    head: usize,
    /// Entries held.
    pub(super) live: u32,
    /// Entries ever held.
    taken: u32,
    /// The largest id held.
    pub(super) top: StreamId,
    /// The id that was added last, whether it is still there or not.
    pub(super) last: StreamId,
}

/// An entry where it lies.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    /// Its id.
    pub id: StreamId,
    /// How many pairs of field and value it has.
    pub pairs: usize,
    /// The field names, where they are those of the block.
    names: Option<Reader<'a>>,
    values: Reader<'a>,
}

impl<'a> Entry<'a> {
    /// Fields and values, in the order in which they were given.
    pub fn fields(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let (mut names, mut values) = (self.names.clone(), self.values.clone());
        (0..self.pairs).map_while(move |_| {
            let name = match &mut names {
                Some(names) => names.bytes()?,
                None => values.bytes()?,
            };
            Some((name, values.bytes()?))
        })
    }
}

impl Block {
    /// A block with its first entry, whose id is the base.
    pub(super) fn new(id: StreamId, fields: &Items<'_>) -> Block {
        let mut bytes = Vec::new();
        put_number(&mut bytes, (fields.len() / 2) as u64);
        for (name, _) in fields.pairs() {
            put_bytes(&mut bytes, name);
        }
        let mut block = Block {
            head: bytes.len(),
            bytes,
            live: 0,
            taken: 0,
            top: id,
            last: id,
        };
        block.push(id, id, fields);
        block
    }

    /// Whether it takes another entry of `size` bytes in fields and values.
    pub(super) fn has_room(&self, size: usize) -> bool {
        self.taken < ENTRIES && self.bytes.len() + size < BYTES
    }

    /// Adds an entry behind all others.
    pub(super) fn push(&mut self, base: StreamId, id: StreamId, fields: &Items<'_>) {
        let start = self.bytes.len();
        let same = self.has_names(fields);
        // Most entries are shorter than 128 bytes, so the length takes one.
        self.bytes.push(0);
        id.write_behind(base, &mut self.bytes);
        if same {
            self.bytes.push(0);
            for (_, value) in fields.pairs() {
                put_bytes(&mut self.bytes, value);
            }
        } else {
            put_number(&mut self.bytes, (fields.len() / 2) as u64);
            for (name, value) in fields.pairs() {
                put_bytes(&mut self.bytes, name);
                put_bytes(&mut self.bytes, value);
            }
        }
        let len = self.bytes.len() - start - 1;
        if len < 0x80 {
            self.bytes[start] = len as u8;
        } else {
            let mut wide = Vec::new();
            put_number(&mut wide, len as u64);
            self.bytes.splice(start..=start, wide);
        }
        self.live += 1;
        self.taken += 1;
        (self.top, self.last) = (id, id);
    }

    /// No more will be added: gives back what is reserved.
    pub(super) fn seal(&mut self) {
        self.bytes.shrink_to_fit();
    }

    fn has_names(&self, fields: &Items<'_>) -> bool {
        let mut names = Reader::new(&self.bytes[..self.head]);
        names.number() == Some((fields.len() / 2) as u64)
            && fields.pairs().all(|(name, _)| names.bytes() == Some(name))
    }

    /// Its entries in order.
    pub(super) fn entries(&self, base: StreamId) -> Entries<'_> {
        let mut names = Reader::new(&self.bytes[..self.head]);
        let shared = names.number().unwrap_or(0) as usize;
        Entries {
            base,
            shared,
            names,
            rest: Reader::new(&self.bytes[self.head..]),
        }
    }

    /// The smallest id held.
    pub(super) fn first(&self, base: StreamId) -> StreamId {
        self.entries(base).next().map_or(base, |entry| entry.id)
    }

    /// Whether it holds the id.
    pub(super) fn find(&self, base: StreamId, id: StreamId) -> Option<Entry<'_>> {
        self.entries(base)
            .take_while(|entry| entry.id <= id)
            .last()
            .filter(|entry| entry.id == id)
    }

    /// Removes an entry; tells whether it was there.
    pub(super) fn remove(&mut self, base: StreamId, id: StreamId) -> bool {
        let mut entries = self.entries(base);
        let (mut start, mut before) = (self.head, None);
        let end = loop {
            let entry = entries.next();
            let end = self.bytes.len() - entries.rest.left();
            match entry {
                Some(entry) if entry.id < id => (start, before) = (end, Some(entry.id)),
                Some(entry) if entry.id == id => break end,
                _ => return false,
            }
        };
        self.bytes.drain(start..end);
        self.live -= 1;
        if id == self.top {
            self.top = before.unwrap_or(base);
        }
        true
    }

    /// Removes what is not larger than `through`; tells how many entries that were.
    pub(super) fn cut(&mut self, base: StreamId, through: StreamId) -> u32 {
        let mut entries = self.entries(base);
        let (mut end, mut cut) = (self.head, 0);
        while let Some(entry) = entries.next() {
            if entry.id > through {
                break;
            }
            end = self.bytes.len() - entries.rest.left();
            cut += 1;
        }
        self.bytes.drain(self.head..end);
        self.live -= cut;
        cut
    }

    /// Bytes of its allocation.
    pub(super) fn heap_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    pub(super) fn encode(&self, base: StreamId, out: &mut Vec<u8>) {
        base.write(out);
        self.last.write(out);
        put_number(out, u64::from(self.taken));
        put_bytes(out, &self.bytes);
    }

    /// Reads what `encode` wrote: the base and the block. What else has to hold is checked entry by entry.
    pub(super) fn decode(from: &mut Reader<'_>) -> Option<(StreamId, Block)> {
        let (base, last) = (StreamId::read(from)?, StreamId::read(from)?);
        let taken = u32::try_from(from.number()?).ok()?;
        let len = usize::try_from(from.number()?).ok()?;
        let bytes = from.take(len)?.to_vec();
        let mut names = Reader::new(&bytes);
        let shared = names.number()?;
        for _ in 0..shared {
            names.bytes()?;
        }
        let mut block = Block {
            head: bytes.len() - names.left(),
            bytes,
            live: 0,
            taken,
            top: base,
            last,
        };
        let mut entries = block.entries(base);
        let (mut live, mut top) = (0, None);
        while !entries.rest.is_done() {
            let entry = entries.next()?;
            let mut values = entry.values.clone();
            let strings = match entry.names {
                Some(_) => entry.pairs,
                None => entry.pairs.checked_mul(2)?,
            };
            for _ in 0..strings {
                values.bytes()?;
            }
            if !values.is_done() || top.is_some_and(|top| entry.id <= top) {
                return None;
            }
            (live, top) = (live + 1, Some(entry.id));
        }
        (block.live, block.top) = (live, top?);
        (live <= taken && block.top <= last).then_some((base, block))
    }
}

/// The entries of a block.
#[derive(Clone, Debug)]
pub(super) struct Entries<'a> {
    base: StreamId,
    /// How many names the block has, and the names.
    shared: usize,
    names: Reader<'a>,
    rest: Reader<'a>,
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    #[inline]
    fn next(&mut self) -> Option<Entry<'a>> {
        let len = self.rest.number()?;
        let mut values = Reader::new(self.rest.take(usize::try_from(len).ok()?)?);
        let id = StreamId::read_behind(self.base, &mut values)?;
        let (pairs, names) = match values.number()? {
            0 => (self.shared, Some(self.names.clone())),
            pairs => (usize::try_from(pairs).ok()?, None),
        };
        Some(Entry {
            id,
            pairs,
            names,
            values,
        })
    }
}
