//! A sequence of byte strings in one allocation, with room at either end: what lists are made of.
//!
//! # The bytes
//! ```text
//! [count: 4] [start: 4] (room) (elements as in a pack) (room)
//! ```
//! The numbers are little-endian; `start` is where the elements begin. Adding and removing at either end moves nothing as
//! long as there is room, which grows with the strip. An empty strip has no allocation.

use super::pack::{self, Pack};

const HEAD: usize = 8;
/// Bytes of elements below which no room is kept in reserve: most lists are short, and stay so.
const EXACT: usize = 256;

/// The sequence.
#[derive(Clone, Debug, Default)]
pub struct Strip {
    bytes: Vec<u8>,
}

/// Either end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The head, or left.
    Front,
    /// The tail, or right.
    Back,
}

impl Strip {
    /// An empty one whose allocation takes `room` bytes of elements, all added at `end`.
    pub fn with_room(room: usize, end: End) -> Strip {
        let mut strip = Strip {
            bytes: Vec::with_capacity(HEAD + room),
        };
        strip.bytes.resize(HEAD, 0);
        if end == End::Front {
            strip.bytes.resize(HEAD + room, 0);
        }
        strip.set(0, strip.bytes.len());
        strip
    }

    fn word(&self, at: usize) -> usize {
        match self.bytes.get(at..).and_then(<[u8]>::first_chunk) {
            Some(word) => u32::from_le_bytes(*word) as usize,
            None => 0,
        }
    }

    fn set(&mut self, count: usize, start: usize) {
        self.bytes[..4].copy_from_slice(&(count as u32).to_le_bytes());
        self.bytes[4..HEAD].copy_from_slice(&(start as u32).to_le_bytes());
    }

    /// How many elements there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.word(0)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn start(&self) -> usize {
        self.word(4)
    }

    /// Bytes that its elements take.
    #[inline]
    pub fn size(&self) -> usize {
        self.bytes.len() - self.start()
    }

    /// Bytes of its allocation.
    #[inline]
    pub fn heap_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// All elements, from either end.
    #[inline]
    pub fn iter(&self) -> pack::Iter<'_> {
        pack::Iter::over(&self.bytes[self.start()..], self.len())
    }

    /// The elements from `index` on.
    pub fn iter_from(&self, index: usize) -> pack::Iter<'_> {
        let left = self.len().saturating_sub(index);
        pack::Iter::over(&self.bytes[self.offset(index)..], left)
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

    /// Where the element at `index` begins; the end for what lies beyond.
    fn offset(&self, index: usize) -> usize {
        let len = self.len();
        let mut iter = self.iter();
        if index >= len {
            self.bytes.len()
        } else if index <= len / 2 {
            for _ in 0..index {
                iter.next();
            }
            self.bytes.len() - iter.rest().len()
        } else {
            for _ in index..len {
                iter.next_back();
            }
            self.start() + iter.rest().len()
        }
    }

    /// Adds an element at an end.
    pub fn push(&mut self, end: End, item: &[u8]) {
        let cost = Pack::cost(item.len());
        self.make_room(end, cost);
        let (count, start) = (self.len(), self.start());
        match end {
            End::Back => {
                pack::put_element(&mut self.bytes, item);
                self.set(count + 1, start);
            }
            End::Front => {
                let start = start - cost;
                pack::write_element(&mut self.bytes[start..start + cost], item);
                self.set(count + 1, start);
            }
        }
    }

    /// Sees to it that `cost` bytes fit at an end.
    #[inline]
    fn make_room(&mut self, end: End, cost: usize) {
        if self.bytes.is_empty() {
            *self = Strip::with_room(cost, end);
            return;
        }
        let there = match end {
            End::Back => self.bytes.capacity() - self.bytes.len(),
            End::Front => self.start() - HEAD,
        };
        if there < cost {
            self.grow(end, cost);
        }
    }

    fn grow(&mut self, end: End, cost: usize) {
        let size = self.size();
        let spare = if size < EXACT { 0 } else { size / 2 };
        match end {
            End::Back => self.bytes.reserve_exact(cost + spare),
            End::Front => {
                let (count, start) = (self.len(), HEAD + cost + spare);
                let mut bytes = Vec::with_capacity(start + size);
                bytes.resize(start, 0);
                bytes.extend_from_slice(&self.bytes[self.start()..]);
                self.bytes = bytes;
                self.set(count, start);
            }
        }
    }

    /// Removes so many elements, or all, from an end.
    pub fn drop_at(&mut self, end: End, n: usize) {
        let count = self.len();
        if n >= count {
            self.bytes = Vec::new();
            return;
        }
        match end {
            End::Front => {
                let start = self.offset(n);
                self.set(count - n, start);
            }
            End::Back => {
                let to = self.offset(count - n);
                self.bytes.truncate(to);
                self.set(count - n, self.start());
            }
        }
        self.trim();
    }

    /// Gives memory back if most of it is room.
    fn trim(&mut self) {
        if self.bytes.capacity() > 4 * (HEAD + self.size()).max(EXACT / 4) {
            self.fit();
        }
    }

    /// Gives back all room.
    pub fn fit(&mut self) {
        let (count, size) = (self.len(), self.size());
        if count == 0 {
            self.bytes = Vec::new();
        } else if self.bytes.capacity() > HEAD + size {
            let mut bytes = Vec::with_capacity(HEAD + size);
            bytes.resize(HEAD, 0);
            bytes.extend_from_slice(&self.bytes[self.start()..]);
            self.bytes = bytes;
            self.set(count, HEAD);
        }
    }

    /// Puts `items` in the place of `remove` elements from `index` on (fewer, if there are fewer).
    pub fn splice<'i>(
        &mut self,
        index: usize,
        remove: usize,
        items: impl IntoIterator<Item = &'i [u8]>,
    ) {
        let count = self.len();
        let index = index.min(count);
        let remove = remove.min(count - index);
        let (from, to) = match count {
            0 => (0, 0),
            _ => (self.offset(index), self.offset(index + remove)),
        };
        let mut fresh = Vec::new();
        let mut added = 0;
        for item in items {
            pack::put_element(&mut fresh, item);
            added += 1;
        }
        if count + added == remove {
            self.bytes = Vec::new();
            return;
        }
        if count == 0 {
            *self = Strip::with_room(fresh.len(), End::Back);
            self.bytes.extend_from_slice(&fresh);
            self.set(added, HEAD);
            return;
        }
        let start = self.start();
        if fresh.len() > to - from {
            self.bytes.reserve_exact(fresh.len() - (to - from));
        }
        self.bytes.splice(from..to, fresh);
        self.set(count + added - remove, start);
        self.trim();
    }

    /// Cuts off what stands from `index` on.
    pub fn split_off(&mut self, index: usize) -> Strip {
        let count = self.len();
        let at = self.offset(index);
        let mut tail = Strip::with_room(self.bytes.len() - at, End::Back);
        tail.bytes.extend_from_slice(&self.bytes[at..]);
        tail.set(count.saturating_sub(index), HEAD);
        self.drop_at(End::Back, count.saturating_sub(index));
        tail.fit();
        self.fit();
        tail
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Step {
        Push(End, Vec<u8>),
        Drop(End, usize),
        Splice(usize, usize, Vec<Vec<u8>>),
        Split(usize),
        Fit,
    }

    fn item() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            6 => proptest::collection::vec(any::<u8>(), 0..20),
            1 => (100..300usize).prop_map(|n| vec![b'x'; n]),
            1 => (16_000..17_000usize).prop_map(|n| vec![b'y'; n]),
        ]
    }

    fn end() -> impl Strategy<Value = End> {
        prop_oneof![Just(End::Front), Just(End::Back)]
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            8 => (end(), item()).prop_map(|(end, item)| Step::Push(end, item)),
            3 => (end(), 0..6usize).prop_map(|(end, n)| Step::Drop(end, n)),
            2 => (0..30usize, 0..4usize, proptest::collection::vec(item(), 0..3))
                .prop_map(|(at, n, items)| Step::Splice(at, n, items)),
            1 => (0..30usize).prop_map(Step::Split),
            1 => Just(Step::Fit),
        ]
    }

    proptest! {
        /// A strip behaves as a vector does.
        #[test]
        fn a_strip_is_a_vector(steps in proptest::collection::vec(step(), 1..60)) {
            let mut strip = Strip::default();
            let mut model: Vec<Vec<u8>> = Vec::new();
            for step in steps {
                match step {
                    Step::Push(End::Front, item) => {
                        strip.push(End::Front, &item);
                        model.insert(0, item);
                    }
                    Step::Push(End::Back, item) => {
                        strip.push(End::Back, &item);
                        model.push(item);
                    }
                    Step::Drop(end, n) => {
                        strip.drop_at(end, n);
                        let n = n.min(model.len());
                        match end {
                            End::Front => drop(model.drain(..n)),
                            End::Back => model.truncate(model.len() - n),
                        }
                    }
                    Step::Splice(at, n, items) => {
                        strip.splice(at, n, items.iter().map(Vec::as_slice));
                        let at = at.min(model.len());
                        let n = n.min(model.len() - at);
                        model.splice(at..at + n, items);
                    }
                    Step::Split(at) => {
                        let tail = strip.split_off(at);
                        let at = at.min(model.len());
                        let rest = model.split_off(at);
                        prop_assert_eq!(tail.iter().collect::<Vec<_>>(), rest.iter().map(Vec::as_slice).collect::<Vec<_>>());
                    }
                    Step::Fit => strip.fit(),
                }
                let expected: Vec<&[u8]> = model.iter().map(Vec::as_slice).collect();
                prop_assert_eq!(strip.len(), model.len());
                prop_assert_eq!(strip.is_empty(), model.is_empty());
                prop_assert_eq!(strip.iter().collect::<Vec<_>>(), expected.clone());
                let mut backwards: Vec<_> = strip.iter().rev().collect();
                backwards.reverse();
                prop_assert_eq!(backwards, expected.clone());
                for i in 0..model.len() + 2 {
                    prop_assert_eq!(strip.get(i), expected.get(i).copied());
                    let rest = expected.get(i..).unwrap_or_default();
                    prop_assert_eq!(strip.iter_from(i).collect::<Vec<_>>(), rest);
                }
                prop_assert_eq!(strip.size(), model.iter().map(|m| Pack::cost(m.len())).sum::<usize>());
                prop_assert!(strip.heap_bytes() <= 4 * (HEAD + strip.size()) + 2 * EXACT + 40_000);
            }
        }
    }
}
