//! A large table of named elements: what sets, hashes and the index of a sorted set are made of beyond a few hundred.
//!
//! Promise: whatever it holds, one element or a hundred million, no addition does more work at once than splitting one
//! segment of about `FULL` elements; a removal may halve the index, of four bytes for about every eighty elements; an element that is there
//! during a whole scan is returned by it, however the table grows or shrinks meanwhile; and a choice by chance takes
//! constant time.
//!
//! # The algorithm
//! Extendible hashing, as in `slots`. The first `depth` bits of an element's hash find a seat of the index, and that a
//! segment, which may cover several seats. A segment is a sorted array of hashes (32 bits each) beside the array of its
//! elements in the same order; hashes being spread evenly, the place of one is guessed to within a few elements. A full
//! segment splits by its next bit, without an element being read; two small ones that were split from one join again.
//!
//! All segments in turn hold all elements in the order of their hashes, however they are cut. So a cursor is a hash: the
//! place in that order where the scan goes on.
//!
//! The hash is foldhash's, under a seed that is random for each process: nobody outside can choose names that collide.
//!
//! Rejected: one open-addressed table (its growth pauses a core, and half of it is empty afterwards); such tables as
//! segments (a cursor has no place within one, so that a scan step answers hundreds of elements); chains (a pointer more
//! an element). What this costs is moving half a segment's pointers at an insertion, some twenty nanoseconds.
//!
//! # For whoever uses it
//! An [`Element`] says its name and its bytes on the heap; sixteen bytes are a good size. What changes an element goes
//! through [`Dict::update`], so that the bytes are counted. An owner boxes its dict, and drops it by [`Dict::crumble`].

use std::hash::Hasher as _;

use foldhash::SharedSeed;
use foldhash::quality::FoldHasher;

mod index;
mod pages;

use index::Index;
use pages::Pages;

/// Elements at which a segment splits.
const FULL: usize = 128;
/// Two segments join when they have no more than this together.
const JOIN: usize = FULL / 3;
/// Bits of a hash that an index may use. Segments that need more (a billion elements, or equal hashes) grow instead.
const MAX_DEPTH: u8 = 24;
/// How often a choice by chance may miss before it is made by counting.
const PATIENCE: usize = 64;

/// A place in the order of [`Dict::iter`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Place {
    segment: usize,
    at: usize,
}

/// What a dict holds.
pub trait Element {
    /// What it is found by; never changes.
    fn name(&self) -> &[u8];
    /// Bytes it has on the heap.
    fn heap_bytes(&self) -> usize;
}

/// A name alone.
impl Element for Box<[u8]> {
    fn name(&self) -> &[u8] {
        self
    }

    fn heap_bytes(&self) -> usize {
        self.len()
    }
}

/// The hash of a name: the same as long as the process lives, and no longer.
#[inline]
pub fn hash(name: &[u8]) -> u32 {
    let mut state = FoldHasher::with_seed(0x5851_f42d, SharedSeed::global_random());
    state.write(name);
    (state.finish() >> 32) as u32
}

/// The table.
#[derive(Clone, Debug)]
pub struct Dict<E> {
    index: Index,
    segments: Pages<Segment<E>>,
    len: usize,
    /// Bytes that segments and elements take.
    bytes: usize,
    /// How many segments have each depth.
    depths: [u32; MAX_DEPTH as usize + 1],
}

/// Some of the elements: those whose hash begins with the `depth` bits `prefix`.
#[derive(Clone, Debug)]
struct Segment<E> {
    /// In order.
    hashes: Vec<u32>,
    elements: Vec<E>,
    prefix: u32,
    depth: u8,
}

impl<E> Default for Dict<E> {
    fn default() -> Dict<E> {
        let mut depths = [0; MAX_DEPTH as usize + 1];
        depths[0] = 1;
        Dict {
            index: Index::default(),
            segments: Pages::of(Segment::new(0, 0)),
            len: 0,
            bytes: 0,
            depths,
        }
    }
}

impl<E: Element> Dict<E> {
    /// How many elements there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes on the heap, itself included (as it is boxed).
    pub fn heap_bytes(&self) -> usize {
        size_of::<Self>() + self.bytes + self.index.heap_bytes() + self.segments.heap_bytes()
    }

    /// The element of this name.
    #[inline]
    pub fn get(&self, name: &[u8]) -> Option<&E> {
        let hash = hash(name);
        let segment = self.segments.get(self.seat(hash))?;
        segment
            .find(hash, name)
            .ok()
            .map(|at| &segment.elements[at])
    }

    /// The elements of this hash.
    pub fn with_hash(&self, hash: u32) -> impl Iterator<Item = &E> {
        let segment = self.segments.get(self.seat(hash));
        segment.into_iter().flat_map(move |segment| {
            let start = segment.first(hash);
            let same = segment.hashes[start..]
                .iter()
                .take_while(move |&&h| h == hash);
            same.zip(&segment.elements[start..])
                .map(|(_, element)| element)
        })
    }

    /// Puts an element in; gives back the one of its name that it replaces.
    pub fn insert(&mut self, element: E) -> Option<E> {
        let hash = hash(element.name());
        let (seat, at) = self.place(hash, element.name());
        match at {
            Ok(at) => {
                let old = &mut self.segments[seat].elements[at];
                self.bytes = self.bytes + element.heap_bytes() - old.heap_bytes();
                Some(std::mem::replace(old, element))
            }
            Err(at) => {
                self.add(seat, at, hash, element);
                None
            }
        }
    }

    /// Adds the element that `make` gives, unless there is one of this name; tells whether it did.
    pub fn add_with(&mut self, name: &[u8], make: impl FnOnce() -> E) -> bool {
        let hash = hash(name);
        let (seat, at) = self.place(hash, name);
        at.map_err(|at| self.add(seat, at, hash, make())).is_err()
    }

    /// Changes the element of this name. Its name must stay.
    pub fn update<R>(&mut self, name: &[u8], change: impl FnOnce(&mut E) -> R) -> Option<R> {
        let (seat, at) = self.place(hash(name), name);
        let element = &mut self.segments[seat].elements[at.ok()?];
        let before = element.heap_bytes();
        let result = change(element);
        self.bytes = self.bytes + element.heap_bytes() - before;
        Some(result)
    }

    /// Takes the element of this name out.
    pub fn remove(&mut self, name: &[u8]) -> Option<E> {
        let (seat, at) = self.place(hash(name), name);
        let segment = &mut self.segments[seat];
        let before = segment.room();
        let element = segment.pull(at.ok()?);
        self.bytes = self.bytes + segment.room() - before - element.heap_bytes();
        self.len -= 1;
        self.join(seat);
        Some(element)
    }

    /// All elements, in the order of their hashes within a segment.
    pub fn iter(&self) -> impl Iterator<Item = &E> {
        self.segments.iter().flat_map(|segment| &segment.elements)
    }

    /// Goes on from a place in the order of [`Dict::iter`]: calls `f` with up to `count` elements; tells whether there are
    /// more. For one who goes through all of a dict in steps while nothing changes it.
    pub fn each(&self, place: &mut Place, count: usize, mut f: impl FnMut(&E)) -> bool {
        let mut left = count;
        while let Some(segment) = self.segments.get(place.segment) {
            let rest = segment.elements.get(place.at..).unwrap_or_default();
            let here = rest.len().min(left);
            rest[..here].iter().for_each(&mut f);
            if here < rest.len() {
                place.at += here;
                return true;
            }
            left -= here;
            *place = Place {
                segment: place.segment + 1,
                at: 0,
            };
        }
        false
    }

    /// One step of a scan: calls `f` with elements from `cursor` on, about `count` of them, and tells the next cursor;
    /// 0 begins and ends one. Any other number that no scan has told is taken as a place all the same.
    pub fn scan(&self, cursor: u64, count: usize, mut f: impl FnMut(&E)) -> u64 {
        let mut left = count.max(1);
        let Ok(mut from) = u32::try_from(cursor) else {
            return 0;
        };
        while let Some(segment) = self.segments.get(self.seat(from)) {
            let start = segment.first(from);
            let mut last = None;
            for (&hash, element) in segment.hashes[start..]
                .iter()
                .zip(&segment.elements[start..])
            {
                if left == 0 && last != Some(hash) {
                    return u64::from(hash);
                }
                last = Some(hash);
                left = left.saturating_sub(1);
                f(element);
            }
            let next = (u64::from(segment.prefix) + 1) << (32 - segment.depth);
            match u32::try_from(next) {
                Ok(next) if left > 0 => from = next,
                Ok(next) => return u64::from(next),
                Err(_) => return 0,
            }
        }
        0
    }

    /// An element, each with the same chance; `random` gives 64 random bits a call.
    pub fn choose(&self, mut random: impl FnMut() -> u64) -> Option<&E> {
        let tries = if self.segments.len() == 1 {
            0
        } else {
            PATIENCE
        };
        for _ in 0..tries {
            let bits = random();
            let segment = &self.segments[below(bits >> 32, self.segments.len())];
            let most = segment.elements.len().max(FULL);
            // The lower half decides alone: it is independent of the upper one.
            if let Some(element) = segment.elements.get(below(bits & 0xffff_ffff, most)) {
                return Some(element);
            }
        }
        let mut nth = (random() % (self.len as u64).max(1)) as usize;
        for segment in self.segments.iter() {
            match segment.elements.get(nth) {
                Some(element) => return Some(element),
                None => nth -= segment.elements.len(),
            }
        }
        None
    }

    /// Frees about `budget` elements of one that nobody can reach any more; tells whether there are more.
    pub fn crumble(&mut self, budget: usize) -> bool {
        let mut left = budget;
        while left > 0 {
            let Some(segment) = self.segments.pop() else {
                return false;
            };
            left = left.saturating_sub(segment.elements.len() + 1);
        }
        self.segments.len() > 0
    }

    /// The segment of a hash.
    #[inline]
    fn seat(&self, hash: u32) -> usize {
        self.index.seat(hash)
    }

    /// Where a name stands, or would.
    #[inline]
    fn place(&self, hash: u32, name: &[u8]) -> (usize, Result<usize, usize>) {
        let seat = self.seat(hash);
        (seat, self.segments[seat].find(hash, name))
    }

    fn add(&mut self, mut seat: usize, mut at: usize, hash: u32, element: E) {
        self.index.go_on();
        while self.segments[seat].elements.len() >= FULL
            && self.segments[seat].depth < MAX_DEPTH
            && self.part(seat)
        {
            seat = self.seat(hash);
            at = self.segments[seat].first(hash);
        }
        let segment = &mut self.segments[seat];
        let before = segment.room();
        self.bytes += element.heap_bytes();
        segment.put(at, hash, element);
        self.bytes = self.bytes + segment.room() - before;
        self.len += 1;
    }

    /// Points the seats of a segment at it.
    fn point(&mut self, at: usize) {
        let segment = &self.segments[at];
        self.index.point(segment.prefix, segment.depth, at);
    }

    /// Splits a segment in two, unless the index has not come so far.
    fn part(&mut self, at: usize) -> bool {
        let depth = self.segments[at].depth;
        if depth == self.index.depth() && !self.index.double() {
            return false;
        }
        self.depths[usize::from(depth)] -= 1;
        self.depths[usize::from(depth) + 1] += 2;
        let low = &mut self.segments[at];
        let before = low.room();
        let high = low.split();
        self.bytes = self.bytes + low.room() + high.room() - before;
        self.segments.push(high);
        self.point(at);
        self.point(self.segments.len() - 1);
        true
    }

    /// Joins a segment with its other half while both are small.
    fn join(&mut self, mut at: usize) {
        while let Some(joined) = self.join_once(at) {
            at = joined;
        }
    }

    fn join_once(&mut self, at: usize) -> Option<usize> {
        let segment = &self.segments[at];
        let depth = segment.depth;
        if depth == 0 || segment.elements.len() > JOIN {
            return None;
        }
        let twin = self.index.of_prefix(segment.prefix ^ 1, depth);
        let other = &self.segments[twin];
        if other.depth != depth || segment.elements.len() + other.elements.len() > JOIN {
            return None;
        }
        let (keep, leave) = (at.min(twin), at.max(twin));
        let second = self.segments.swap_remove(leave);
        let first = &mut self.segments[keep];
        self.bytes -= first.room() + second.room();
        first.join(second);
        self.bytes += first.room();
        self.point(keep);
        if leave < self.segments.len() {
            self.point(leave);
        }
        self.segments.tidy();
        self.depths[usize::from(depth)] -= 2;
        self.depths[usize::from(depth) - 1] += 1;
        while self.index.depth() > 0 && self.depths[usize::from(self.index.depth())] == 0 {
            self.index.halve();
        }
        Some(keep)
    }
}

impl<E> Segment<E> {
    fn new(prefix: u32, depth: u8) -> Segment<E> {
        Segment {
            hashes: Vec::new(),
            elements: Vec::new(),
            prefix,
            depth,
        }
    }

    /// Bytes allocated.
    fn room(&self) -> usize {
        self.hashes.capacity() * size_of::<u32>() + self.elements.capacity() * size_of::<E>()
    }

    /// Where the first hash stands that is no smaller.
    #[inline]
    fn first(&self, hash: u32) -> usize {
        let hashes = &self.hashes[..];
        // The part of the segment's range that lies before the hash, of 2^32.
        let part = u64::from(hash) << self.depth & 0xffff_ffff;
        let mut at = ((part * hashes.len() as u64) >> 32) as usize;
        while at > 0 && hashes[at - 1] >= hash {
            at -= 1;
        }
        while at < hashes.len() && hashes[at] < hash {
            at += 1;
        }
        at
    }

    fn put(&mut self, at: usize, hash: u32, element: E) {
        if self.elements.len() == self.elements.capacity() {
            // By a quarter at a time: what is free is an eighth on average.
            let more = (self.elements.len() / 4).max(2);
            self.hashes.reserve_exact(more);
            self.elements.reserve_exact(more);
        }
        self.hashes.insert(at, hash);
        self.elements.insert(at, element);
    }

    fn pull(&mut self, at: usize) -> E {
        self.hashes.remove(at);
        let element = self.elements.remove(at);
        let len = self.elements.len();
        if len < self.elements.capacity() / 2 {
            self.shrink(len + len / 4);
        }
        element
    }

    fn shrink(&mut self, to: usize) {
        self.hashes.shrink_to(to);
        self.elements.shrink_to(to);
    }

    /// Gives the upper half of its range away.
    fn split(&mut self) -> Segment<E> {
        self.depth += 1;
        self.prefix <<= 1;
        let bit = 1u32 << (32 - self.depth);
        let at = self.hashes.partition_point(|hash| hash & bit == 0);
        let high = Segment {
            hashes: self.hashes.split_off(at),
            elements: self.elements.split_off(at),
            prefix: self.prefix | 1,
            depth: self.depth,
        };
        self.shrink(0);
        high
    }

    /// Takes its other half back.
    fn join(&mut self, mut other: Segment<E>) {
        if self.prefix & 1 == 1 {
            std::mem::swap(self, &mut other);
        }
        self.hashes.reserve_exact(other.hashes.len());
        self.elements.reserve_exact(other.elements.len());
        self.hashes.append(&mut other.hashes);
        self.elements.append(&mut other.elements);
        self.depth -= 1;
        self.prefix >>= 1;
    }
}

impl<E: Element> Segment<E> {
    /// Where the name stands; otherwise where it would.
    #[inline]
    fn find(&self, hash: u32, name: &[u8]) -> Result<usize, usize> {
        let first = self.first(hash);
        let mut at = first;
        while self.hashes.get(at) == Some(&hash) {
            if self.elements[at].name() == name {
                return Ok(at);
            }
            at += 1;
        }
        Err(first)
    }
}

/// A number below `n` (of at most 32 bits) from 32 random bits.
fn below(bits: u64, n: usize) -> usize {
    ((bits * n as u64) >> 32) as usize
}

/// The same elements, wherever they stand.
impl<E: Element + PartialEq> PartialEq for Dict<E> {
    fn eq(&self, other: &Dict<E>) -> bool {
        self.len == other.len
            && self
                .iter()
                .all(|element| other.get(element.name()) == Some(element))
    }
}

impl<E: Element + Eq> Eq for Dict<E> {}

#[cfg(test)]
impl<E: Element> Dict<E> {
    /// Checks every count and order against the elements themselves.
    pub(crate) fn verify(&self) {
        let (mut len, mut bytes) = (0, 0);
        let mut depths = [0; MAX_DEPTH as usize + 1];
        for segment in self.segments.iter() {
            assert_eq!(segment.hashes.len(), segment.elements.len());
            assert!(segment.hashes.is_sorted());
            for (&h, element) in segment.hashes.iter().zip(&segment.elements) {
                assert_eq!(h, hash(element.name()));
                assert_eq!(
                    u64::from(h) >> (32 - segment.depth),
                    u64::from(segment.prefix)
                );
                bytes += element.heap_bytes();
            }
            bytes += segment.room();
            len += segment.elements.len();
            depths[usize::from(segment.depth)] += 1;
        }
        assert_eq!((self.len, self.bytes, self.depths), (len, bytes, depths));
        let depth = self.index.depth();
        let seats = if depth == 0 { 0 } else { 1 << depth };
        assert_eq!(self.index.seats().len(), seats);
        for (seat, &at) in self.index.seats().iter().enumerate() {
            let segment = &self.segments[at as usize];
            assert_eq!(segment.prefix as usize, seat >> (depth - segment.depth));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeSet, HashMap};

    fn name(n: u32) -> Box<[u8]> {
        format!("element:{n}").into_bytes().into()
    }

    fn filled(n: u32) -> Dict<Box<[u8]>> {
        let mut dict = Dict::default();
        (0..n).for_each(|n| assert_eq!(dict.insert(name(n)), None));
        dict
    }

    #[test]
    fn it_grows_and_shrinks_and_loses_nothing() {
        let mut dict = filled(20_000);
        dict.verify();
        assert!((0..20_000).all(|n| dict.get(&name(n)).is_some()));
        assert_eq!((dict.len(), dict.get(b"other")), (20_000, None));
        for n in 0..20_000 {
            assert_eq!(dict.remove(&name(n)), Some(name(n)));
            assert_eq!(dict.remove(&name(n)), None);
            if n % 1000 == 0 {
                dict.verify();
            }
        }
        assert!(dict.is_empty());
        assert_eq!((dict.index.depth(), dict.segments.len()), (0, 1));
        assert!(dict.heap_bytes() < 500, "{}", dict.heap_bytes());
    }

    #[test]
    fn a_scan_returns_what_was_there_all_the_time() {
        for grows in [true, false] {
            let mut dict = filled(5000);
            let mut seen = BTreeSet::new();
            let mut cursor = 0;
            let mut extra = 5000;
            loop {
                let mut step = 0;
                cursor = dict.scan(cursor, 10, |element| {
                    seen.insert(element.clone());
                    step += 1;
                });
                assert!(step <= 12, "{step} at once");
                if cursor == 0 {
                    break;
                }
                for _ in 0..20 {
                    if grows && extra < 40_000 {
                        dict.insert(name(extra));
                    } else if !grows && extra < 9000 {
                        // From 5000 elements to 1000.
                        dict.remove(&name(extra - 4000));
                    }
                    extra += 1;
                }
            }
            assert!((0..1000).all(|n| seen.contains(&name(n))));
            dict.verify();
        }
    }

    #[test]
    fn any_cursor_is_survived() {
        let dict = filled(1000);
        for cursor in [1, u64::from(u32::MAX), u64::from(u32::MAX) + 1, u64::MAX] {
            let mut next = cursor;
            for _ in 0..2000 {
                next = dict.scan(next, 1, |_| {});
                if next == 0 {
                    break;
                }
            }
            assert_eq!(next, 0);
        }
    }

    #[test]
    fn chance_is_fair() {
        let mut dict = filled(1000);
        (0..900).for_each(|n| drop(dict.remove(&name(n))));
        let mut counts = HashMap::new();
        let mut state = 1u64;
        for _ in 0..50_000 {
            let chosen = dict.choose(|| {
                state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
                let z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
                let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
                z ^ (z >> 31)
            });
            *counts.entry(chosen.unwrap().clone()).or_insert(0) += 1;
        }
        // 500 each, give or take six standard deviations.
        assert_eq!(counts.len(), 100);
        assert!(
            counts.values().all(|&n| (366..634).contains(&n)),
            "{counts:?}"
        );
        assert!(Dict::<Box<[u8]>>::default().choose(|| 7).is_none());
    }

    #[test]
    fn it_is_freed_in_steps() {
        let mut dict = filled(10_000);
        let mut steps = 0;
        while dict.crumble(500) {
            steps += 1;
        }
        assert!(steps > 10, "{steps}");
    }

    proptest! {
        #[test]
        fn it_is_a_map(steps in proptest::collection::vec((0u32..300, 0u8..4), 0..600)) {
            let mut dict = Dict::default();
            let mut model = BTreeSet::new();
            for (n, what) in steps {
                let bytes = name(n);
                match what {
                    0 | 1 => {
                        let had = dict.insert(bytes.clone()).is_some();
                        prop_assert_eq!(!had, model.insert(bytes));
                    }
                    2 => prop_assert_eq!(dict.add_with(&bytes, || bytes.clone()), model.insert(bytes.clone())),
                    _ => prop_assert_eq!(dict.remove(&bytes).is_some(), model.remove(&bytes)),
                }
                prop_assert_eq!(dict.len(), model.len());
            }
            dict.verify();
            let held: BTreeSet<_> = dict.iter().cloned().collect();
            prop_assert_eq!(&held, &model);
            let again = model.iter().rev().fold(Dict::default(), |mut dict, element| {
                dict.insert(element.clone());
                dict
            });
            prop_assert!(dict == again);
            if let Some(first) = model.first() {
                prop_assert!(dict.with_hash(hash(first)).any(|element| element == first));
            }
        }
    }
}
