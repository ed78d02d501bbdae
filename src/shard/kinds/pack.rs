//! A short sequence of byte strings in one allocation: the form of every small collection.
//!
//! # The bytes
//! ```text
//! [count: 4, little-endian] ([length: varint][bytes][width: varint backwards])*
//! ```
//! The width is that of length and bytes together, so that the sequence can be walked from either end. An empty pack has
//! no allocation at all. Positions are found by walking: a pack is meant for a few hundred elements, beyond which its
//! owner turns to another form.
//!
//! Rejected: Redis's listpack itself, whose integer forms save a byte or two an element for a decoder of nine cases; a
//! capacity that doubles (a pack grows by exactly what it needs, and the allocator's size classes do the rest).

const HEAD: usize = 4;

/// The sequence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pack {
    bytes: Vec<u8>,
}

fn varint_len(n: usize) -> usize {
    (usize::BITS - (n | 1).leading_zeros()).div_ceil(7) as usize
}

fn put_varint(out: &mut Vec<u8>, mut n: usize) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// The same, to be read from its end towards its beginning.
fn put_varint_backwards(out: &mut Vec<u8>, n: usize) {
    let start = out.len();
    put_varint(out, n);
    out[start..].reverse();
}

pub(super) fn put_element(out: &mut Vec<u8>, item: &[u8]) {
    put_varint(out, item.len());
    out.extend_from_slice(item);
    put_varint_backwards(out, varint_len(item.len()) + item.len());
}

/// Writes an element to where it takes exactly all the bytes.
pub(super) fn write_element(to: &mut [u8], item: &[u8]) {
    let wide = varint_len(item.len());
    let (head, rest) = to.split_at_mut(wide);
    let (body, tail) = rest.split_at_mut(item.len());
    write_varint(head.iter_mut(), item.len());
    body.copy_from_slice(item);
    write_varint(tail.iter_mut().rev(), wide + item.len());
}

fn write_varint<'b>(to: impl Iterator<Item = &'b mut u8>, mut n: usize) {
    for byte in to {
        *byte = n as u8 & 0x7f;
        n >>= 7;
        *byte |= if n > 0 { 0x80 } else { 0 };
    }
}

impl Pack {
    /// Bytes that an element of `len` takes.
    pub fn cost(len: usize) -> usize {
        let width = varint_len(len) + len;
        width + varint_len(width)
    }

    /// How many elements there are.
    pub fn len(&self) -> usize {
        match self.bytes.first_chunk::<HEAD>() {
            Some(head) => u32::from_le_bytes(*head) as usize,
            None => 0,
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes of its allocation.
    pub fn heap_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// Bytes that its elements take.
    pub fn size(&self) -> usize {
        self.bytes.len().saturating_sub(HEAD)
    }

    /// All elements, from either end.
    pub fn iter(&self) -> Iter<'_> {
        Iter {
            bytes: self.bytes.get(HEAD..).unwrap_or_default(),
            left: self.len(),
        }
    }

    /// The element at `index`.
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        let len = self.len();
        if index >= len {
            None
        } else if index <= len / 2 {
            self.iter().nth(index)
        } else {
            self.iter().nth_back(len - 1 - index)
        }
    }

    /// The index of the first element equal to `item`, among those at `offset`, `offset + step` and so on.
    pub fn find(&self, item: &[u8], offset: usize, step: usize) -> Option<usize> {
        let mut at = offset;
        let mut items = self.iter();
        let mut candidate = items.nth(offset);
        while let Some(this) = candidate {
            if this == item {
                return Some(at);
            }
            candidate = items.nth(step - 1);
            at += step;
        }
        None
    }

    /// Where the element at `index` begins; the end for what lies beyond.
    fn offset(&self, index: usize) -> usize {
        let len = self.len();
        if index >= len {
            return self.bytes.len().max(HEAD);
        }
        let mut iter = self.iter();
        if index <= len / 2 {
            for _ in 0..index {
                iter.next();
            }
            self.bytes.len() - iter.bytes.len()
        } else {
            for _ in index..len {
                iter.next_back();
            }
            HEAD + iter.bytes.len()
        }
    }

    /// Puts `items` in the place of `remove` elements from `index` on (fewer, if there are fewer).
    pub fn splice<'i>(
        &mut self,
        index: usize,
        remove: usize,
        items: impl IntoIterator<Item = &'i [u8]>,
    ) {
        let len = self.len();
        let index = index.min(len);
        let remove = remove.min(len - index);
        let (from, to) = (self.offset(index), self.offset(index + remove));
        let mut fresh = Vec::new();
        let mut added = 0usize;
        for item in items {
            put_element(&mut fresh, item);
            added += 1;
        }
        let count = len - remove + added;
        if count == 0 {
            self.bytes = Vec::new();
            return;
        }
        let cut = to - from;
        if self.bytes.is_empty() {
            self.bytes.reserve_exact(HEAD + fresh.len());
            self.bytes.extend_from_slice(&[0; HEAD]);
        } else if fresh.len() > cut {
            self.bytes.reserve_exact(fresh.len() - cut);
        }
        self.bytes.splice(from..to, fresh);
        if self.bytes.len() < self.bytes.capacity() / 2 {
            self.bytes.shrink_to_fit();
        }
        self.bytes[..HEAD].copy_from_slice(&(count as u32).to_le_bytes());
    }

    /// Puts `item` in the place of the element at `index`, which is there; in place if it is as long.
    pub fn set(&mut self, index: usize, item: &[u8]) {
        let start = self.offset(index);
        match self.bytes.get(start..).and_then(read_varint) {
            Some((len, wide)) if len == item.len() => {
                self.bytes[start + wide..start + wide + len].copy_from_slice(item);
            }
            _ => self.splice(index, 1, [item]),
        }
    }

    /// Adds an element at the end.
    pub fn push(&mut self, item: &[u8]) {
        if self.bytes.is_empty() {
            self.bytes.reserve_exact(HEAD + Pack::cost(item.len()));
            self.bytes.extend_from_slice(&[0; HEAD]);
        } else {
            self.bytes.reserve_exact(Pack::cost(item.len()));
        }
        put_element(&mut self.bytes, item);
        let count = self.len() as u32 + 1;
        self.bytes[..HEAD].copy_from_slice(&count.to_le_bytes());
    }

    /// Removes `count` elements from `index` on.
    pub fn remove(&mut self, index: usize, count: usize) {
        self.splice(index, count, []);
    }

    /// Appends all elements as they are kept, for [`Pack::decode`].
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.bytes);
    }

    /// Reads exactly what `encode` wrote, however damaged it may be.
    pub fn decode(bytes: &[u8]) -> Option<Pack> {
        let pack = Pack {
            bytes: bytes.to_vec(),
        };
        if bytes.is_empty() {
            return Some(pack);
        }
        let count = u32::from_le_bytes(*bytes.first_chunk::<HEAD>()?);
        let mut at = HEAD;
        for _ in 0..count {
            let start = at;
            let (len, wide) = read_varint(bytes.get(at..)?)?;
            at = at.checked_add(wide)?.checked_add(len)?;
            let back = varint_len(at - start);
            let tail = bytes.get(at..at.checked_add(back)?)?;
            let mut expected = Vec::with_capacity(back);
            put_varint_backwards(&mut expected, at - start);
            if tail != expected {
                return None;
            }
            at += back;
        }
        (at == bytes.len() && count > 0).then_some(pack)
    }
}

/// A varint in its shortest form, and its width.
fn read_varint(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0usize;
    for (i, &byte) in bytes.iter().take(5).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            return (varint_len(value) == i + 1).then_some((value, i + 1));
        }
    }
    None
}

/// Elements of a pack, from either end.
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    bytes: &'a [u8],
    left: usize,
}

impl<'a> Iter<'a> {
    /// Over `left` elements as a pack keeps them.
    pub(super) fn over(bytes: &'a [u8], left: usize) -> Iter<'a> {
        Iter { bytes, left }
    }

    /// The bytes of the elements that are left.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.bytes
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        if self.left == 0 {
            return None;
        }
        let (len, wide) = read_varint(self.bytes)?;
        let end = wide + len;
        let item = &self.bytes[wide..end];
        self.bytes = &self.bytes[end + varint_len(end)..];
        self.left -= 1;
        Some(item)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Iter<'_> {}

impl DoubleEndedIterator for Iter<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        let mut width = 0usize;
        let mut back = 0;
        for &byte in self.bytes.iter().rev() {
            width |= usize::from(byte & 0x7f) << (7 * back);
            back += 1;
            if byte < 0x80 {
                break;
            }
        }
        let end = self.bytes.len() - back;
        let start = end - width;
        let (_, wide) = read_varint(&self.bytes[start..end])?;
        let item = &self.bytes[start + wide..end];
        self.bytes = &self.bytes[..start];
        self.left -= 1;
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn item() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            6 => proptest::collection::vec(any::<u8>(), 0..20),
            1 => (100..300usize).prop_map(|n| vec![b'x'; n]),
            1 => (16_000..17_000usize).prop_map(|n| vec![b'y'; n]),
        ]
    }

    proptest! {
        /// A pack behaves as a vector does.
        #[test]
        fn splices_are_those_of_a_vector(
            steps in proptest::collection::vec((0..30usize, 0..5usize, proptest::collection::vec(item(), 0..4)), 1..30),
        ) {
            let mut pack = Pack::default();
            let mut model: Vec<Vec<u8>> = Vec::new();
            for (at, remove, items) in steps {
                let at = at.min(model.len());
                let remove = remove.min(model.len() - at);
                pack.splice(at, remove, items.iter().map(Vec::as_slice));
                model.splice(at..at + remove, items);
                prop_assert_eq!(pack.len(), model.len());
                prop_assert_eq!(pack.iter().collect::<Vec<_>>(), model.iter().map(Vec::as_slice).collect::<Vec<_>>());
                let mut backwards: Vec<_> = pack.iter().rev().collect();
                backwards.reverse();
                prop_assert_eq!(backwards, model.iter().map(Vec::as_slice).collect::<Vec<_>>());
                for (i, item) in model.iter().enumerate() {
                    prop_assert_eq!(pack.get(i), Some(item.as_slice()));
                    let first = model.iter().position(|m| m == item);
                    prop_assert_eq!(pack.find(item, 0, 1), first);
                }
                prop_assert_eq!(pack.get(model.len()), None);
                prop_assert_eq!(pack.size(), model.iter().map(|m| Pack::cost(m.len())).sum::<usize>());
                let mut bytes = Vec::new();
                pack.encode(&mut bytes);
                prop_assert_eq!(Pack::decode(&bytes), Some(pack.clone()));
            }
        }

        #[test]
        fn garbage_is_no_pack(bytes: Vec<u8>) {
            if let Some(pack) = Pack::decode(&bytes) {
                prop_assert_eq!(pack.iter().count(), pack.len());
                prop_assert_eq!(pack.iter().rev().count(), pack.len());
            }
        }

        #[test]
        fn a_changed_byte_is_no_danger(items in proptest::collection::vec(item(), 1..8), at: proptest::sample::Index, bit in 0..8u8) {
            let mut pack = Pack::default();
            items.iter().for_each(|item| pack.push(item));
            let mut bytes = Vec::new();
            pack.encode(&mut bytes);
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            if let Some(pack) = Pack::decode(&bytes) {
                prop_assert_eq!(pack.iter().count(), pack.len());
                prop_assert_eq!(pack.iter().rev().count(), pack.len());
            }
        }
    }
}
