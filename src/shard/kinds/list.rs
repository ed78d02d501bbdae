//! A list: one strip while it is short, a deque of strips of up to 8 KiB when it is longer.
//!
//! Promise: adding and removing at either end takes constant time however long the list; finding a place costs a step
//! for each strip and a walk within one.
//!
//! The size at which a list turns long is Redis's `list-max-listpack-size -2`; a list turns short again at half of that,
//! so that one at the border does not turn back and forth.

use std::collections::VecDeque;

use super::super::wire::{Items, Reader, put_bytes, put_number};
use super::pack::Pack;
pub use super::strip::End;
use super::strip::Strip;
use super::{Applied, Collection, seated};

/// Bytes of elements in a strip of a long list, unless a single element is larger.
const STRIP: usize = 8 << 10;
/// Elements that are freed at once.
const MANY: usize = 8192;

/// A list.
#[derive(Clone, Debug)]
pub struct List {
    form: Form,
}

#[derive(Clone, Debug)]
enum Form {
    Short(Strip),
    Long(Box<Long>),
}

/// A long list. No strip is empty.
#[derive(Clone, Debug, Default)]
struct Long {
    strips: VecDeque<Strip>,
    len: usize,
    /// Bytes of the strips' allocations.
    heap: usize,
}

/// Where an element stands.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    strip: usize,
    within: usize,
}

/// A change of a list.
#[derive(Clone, Copy, Debug)]
pub enum Op<'a> {
    /// Adds elements at an end, one after the other.
    Push {
        /// Where.
        end: End,
        /// Which.
        items: Items<'a>,
    },
    /// Removes elements at the ends.
    Trim {
        /// How many at the front.
        front: u64,
        /// How many at the back.
        back: u64,
    },
    /// Replaces an element.
    Set {
        /// Its index.
        index: u64,
        /// What comes in its place.
        item: &'a [u8],
    },
    /// Adds an element somewhere.
    Insert {
        /// The index that it gets.
        index: u64,
        /// The element.
        item: &'a [u8],
    },
    /// Removes elements that are equal to one.
    Remove {
        /// At which end to begin.
        end: End,
        /// How many at most.
        most: u64,
        /// The one.
        item: &'a [u8],
    },
    /// Moves the element at one end to an end.
    Turn {
        /// Which element.
        from: End,
        /// Where to.
        to: End,
    },
}

impl Default for List {
    fn default() -> List {
        List {
            form: Form::Short(Strip::default()),
        }
    }
}

impl PartialEq for List {
    fn eq(&self, other: &List) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl Eq for List {}

impl List {
    fn slices(&self) -> (&[Strip], &[Strip]) {
        match &self.form {
            Form::Short(strip) => (std::slice::from_ref(strip), &[][..]),
            Form::Long(long) => long.strips.as_slices(),
        }
    }

    fn strips(&self) -> impl DoubleEndedIterator<Item = &Strip> {
        let (a, b) = self.slices();
        a.iter().chain(b)
    }

    /// All elements, from either end.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.strips().flat_map(Strip::iter)
    }

    /// The element at an end.
    pub fn at_end(&self, end: End) -> Option<&[u8]> {
        match end {
            End::Front => self.strips().next()?.iter().next(),
            End::Back => self.strips().next_back()?.iter().next_back(),
        }
    }

    /// The element at `index`.
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        match &self.form {
            Form::Short(strip) => strip.get(index),
            Form::Long(long) => {
                let (at, within) = long.find(index)?;
                long.strips[at].get(within)
            }
        }
    }

    /// Does something with each of `n` elements from `from` on.
    pub fn each(&self, from: usize, n: usize, f: impl FnMut(&[u8])) {
        self.each_from(&mut self.place(from), n, f);
    }

    /// Where the element at `index` stands. Good until the list changes.
    pub fn place(&self, index: usize) -> Place {
        let place = match &self.form {
            Form::Short(_) => Some((0, index)),
            Form::Long(long) => long.find(index),
        };
        let (strip, within) = place.unwrap_or((usize::MAX, 0));
        Place { strip, within }
    }

    /// Does something with each of `n` elements from a place on, to which it goes on.
    pub fn each_from(&self, place: &mut Place, n: usize, mut f: impl FnMut(&[u8])) {
        let mut left = n;
        let (a, b) = self.slices();
        for strip in a.iter().chain(b).skip(place.strip) {
            if left == 0 {
                break;
            }
            let here = left.min(strip.len().saturating_sub(place.within));
            strip.iter_from(place.within).take(here).for_each(&mut f);
            left -= here;
            place.within += here;
            if place.within >= strip.len() {
                *place = Place {
                    strip: place.strip + 1,
                    within: 0,
                };
            }
        }
    }

    /// Turns long if it is to take so many bytes more than a short one may hold.
    fn prepare(&mut self, more: usize) {
        if let Form::Short(strip) = &mut self.form
            && strip.size() + more > STRIP
        {
            let strip = std::mem::take(strip);
            let mut long = Long::default();
            if !strip.is_empty() {
                long.add(0, strip);
            }
            self.form = Form::Long(Box::new(long));
        }
    }

    /// Turns short if so little is left.
    fn tidy(&mut self) {
        if let Form::Long(long) = &mut self.form
            && long.strips.len() <= 1
            && long
                .strips
                .front()
                .is_none_or(|strip| strip.size() <= STRIP / 2)
        {
            let mut strip = long.strips.pop_front().unwrap_or_default();
            strip.fit();
            self.form = Form::Short(strip);
        }
    }

    fn push(&mut self, end: End, items: Items<'_>) {
        let more = items.iter().map(|item| Pack::cost(item.len())).sum();
        self.prepare(more);
        match &mut self.form {
            Form::Short(strip) => items.iter().for_each(|item| strip.push(end, item)),
            Form::Long(long) => items.iter().for_each(|item| long.push(end, item)),
        }
    }

    /// Removes elements at an end; tells what is left to be freed.
    fn drop_at(&mut self, end: End, n: usize) -> Option<List> {
        match &mut self.form {
            Form::Short(strip) if n > 0 => strip.drop_at(end, n),
            Form::Short(_) => {}
            Form::Long(long) => {
                let form = long
                    .drop_at(end, n)
                    .map(|debris| Form::Long(Box::new(debris)));
                return form.map(|form| List { form });
            }
        }
        None
    }

    /// Puts another list's strips behind its own, both of them long.
    fn append(&mut self, other: List) {
        if let (Form::Long(long), Form::Long(mut other)) = (&mut self.form, other.form) {
            long.len += other.len;
            long.heap += other.heap;
            long.strips.append(&mut other.strips);
        }
    }

    fn splice(&mut self, index: usize, remove: usize, item: &[u8]) {
        self.prepare(Pack::cost(item.len()));
        match &mut self.form {
            Form::Short(strip) => strip.splice(index, remove, [item]),
            Form::Long(long) => long.splice(index, remove, item),
        }
    }

    fn remove(&mut self, end: End, most: usize, item: &[u8]) -> usize {
        match &mut self.form {
            Form::Short(strip) => purge(strip, end, most, item),
            Form::Long(long) => long.remove(end, most, item),
        }
    }
}

/// Removes at most so many elements from a strip that are equal to `item`, beginning at an end; how many.
fn purge(strip: &mut Strip, end: End, most: usize, item: &[u8]) -> usize {
    let found = strip.iter().filter(|this| *this == item).count();
    let gone = found.min(most);
    if gone == 0 {
        return 0;
    }
    let spared = match end {
        End::Front => 0,
        End::Back => found - gone,
    };
    let mut rest = Strip::default();
    if strip.len() > gone {
        rest = Strip::with_room(strip.size(), End::Back);
        let mut seen = 0;
        for this in strip.iter() {
            if this == item {
                seen += 1;
                if seen > spared && seen <= spared + gone {
                    continue;
                }
            }
            rest.push(End::Back, this);
        }
        rest.fit();
    }
    *strip = rest;
    gone
}

impl Long {
    /// The strip that holds the element at `index`, and the index within.
    fn find(&self, index: usize) -> Option<(usize, usize)> {
        if index >= self.len {
            return None;
        }
        if index <= self.len / 2 {
            let mut left = index;
            for (at, strip) in self.strips.iter().enumerate() {
                let len = strip.len();
                if left < len {
                    return Some((at, left));
                }
                left -= len;
            }
        } else {
            let mut left = self.len - index;
            for (at, strip) in self.strips.iter().enumerate().rev() {
                let len = strip.len();
                if left <= len {
                    return Some((at, len - left));
                }
                left -= len;
            }
        }
        None
    }

    /// Puts a strip in at a place.
    fn add(&mut self, at: usize, strip: Strip) {
        self.len += strip.len();
        self.heap += strip.heap_bytes();
        self.strips.insert(at, strip);
    }

    /// Takes a strip out.
    fn take(&mut self, at: usize) -> Strip {
        let strip = self.strips.remove(at).unwrap_or_default();
        self.len -= strip.len();
        self.heap -= strip.heap_bytes();
        strip
    }

    /// Changes a strip, which goes if nothing is left of it; tells whether it is gone.
    fn change<R>(&mut self, at: usize, f: impl FnOnce(&mut Strip) -> R) -> (R, bool) {
        let strip = &mut self.strips[at];
        let (len, heap) = (strip.len(), strip.heap_bytes());
        let result = f(strip);
        let gone = strip.is_empty();
        self.len = self.len - len + strip.len();
        self.heap = self.heap - heap + strip.heap_bytes();
        if gone {
            self.take(at);
        }
        (result, gone)
    }

    fn push(&mut self, end: End, item: &[u8]) {
        let cost = Pack::cost(item.len());
        let last = self.strips.len().wrapping_sub(1);
        let at = if end == End::Front { 0 } else { last };
        match self.strips.get(at) {
            Some(strip) if strip.size() + cost <= STRIP => {
                self.change(at, |strip| strip.push(end, item));
            }
            _ => {
                let mut strip = Strip::with_room(cost.max(STRIP), end);
                strip.push(end, item);
                let at = if end == End::Front {
                    0
                } else {
                    self.strips.len()
                };
                self.add(at, strip);
            }
        }
    }

    fn drop_at(&mut self, end: End, mut n: usize) -> Option<Long> {
        let mut debris = Long::default();
        while n > 0 && !self.strips.is_empty() {
            let at = if end == End::Front {
                0
            } else {
                self.strips.len() - 1
            };
            let len = self.strips[at].len();
            if n < len {
                self.change(at, |strip| strip.drop_at(end, n));
                break;
            }
            let strip = self.take(at);
            n -= len;
            // A few are freed at once.
            if n > MANY || !debris.strips.is_empty() {
                debris.add(debris.strips.len(), strip);
            }
        }
        (!debris.strips.is_empty()).then_some(debris)
    }

    fn splice(&mut self, index: usize, remove: usize, item: &[u8]) {
        match self.find(index) {
            Some((at, within)) => {
                self.change(at, |strip| strip.splice(within, remove, [item]));
                self.divide(at);
            }
            None => self.push(End::Back, item),
        }
    }

    /// Divides a strip that has become too large.
    fn divide(&mut self, at: usize) {
        let mut at = at;
        let mut end = at + 1;
        while at < end {
            let strip = &self.strips[at];
            let len = strip.len();
            if strip.size() <= STRIP || len == 1 {
                at += 1;
                continue;
            }
            let mut strip = self.take(at);
            let tail = strip.split_off(len / 2);
            self.add(at, tail);
            self.add(at, strip);
            end += 1;
        }
    }

    fn remove(&mut self, end: End, most: usize, item: &[u8]) -> usize {
        let mut left = most;
        let mut at = if end == End::Front {
            0
        } else {
            self.strips.len()
        };
        while left > 0 {
            if end == End::Back {
                if at == 0 {
                    break;
                }
                at -= 1;
            } else if at == self.strips.len() {
                break;
            }
            let (removed, gone) = self.change(at, |strip| purge(strip, end, left, item));
            left -= removed;
            let joined = removed > 0 && !gone && self.join(at);
            if end == End::Front && !gone && !joined {
                at += 1;
            }
        }
        most - left
    }

    /// Joins a strip with the one before it, if both are nearly empty; tells whether it did.
    fn join(&mut self, at: usize) -> bool {
        let both = at > 0 && self.strips[at].size() + self.strips[at - 1].size() <= STRIP / 4;
        if both {
            let strip = self.take(at);
            self.change(at - 1, |before| {
                strip.iter().for_each(|item| before.push(End::Back, item));
            });
        }
        both
    }
}

const PUSH: [u8; 2] = [1, 2];
const TRIM: u8 = 3;
const SET: u8 = 4;
const INSERT: u8 = 5;
const REMOVE: [u8; 2] = [6, 7];
/// By the end from which, then by that to which.
const TURN: [[u8; 2]; 2] = [[8, 9], [10, 11]];

const ENDS: [End; 2] = [End::Front, End::Back];

impl Collection for List {
    const TAG: u8 = b'L';
    const TYPE: &'static str = "list";
    type Op<'a> = Op<'a>;
    /// The length after; of `Remove`, how many it removed.
    type Outcome = usize;

    fn empty() -> List {
        List::default()
    }

    fn apply(&mut self, op: &Op<'_>) -> Applied<usize> {
        let len = self.len();
        match *op {
            Op::Push { end, items } => {
                if items.is_empty() {
                    return Applied::nothing(len);
                }
                self.push(end, items);
            }
            _ if len == 0 => return Applied::nothing(0),
            Op::Trim { front, back } => {
                let most = len as u64;
                let first = self.drop_at(End::Front, front.min(most) as usize);
                let second = self.drop_at(End::Back, back.min(self.len() as u64) as usize);
                self.tidy();
                let debris = match (first, second) {
                    (Some(mut first), Some(second)) => {
                        first.append(second);
                        Some(first)
                    }
                    (first, second) => first.or(second),
                };
                return Applied::change(self.len()).leaving(debris);
            }
            Op::Set { index, item } => {
                if index >= len as u64 {
                    return Applied::nothing(len);
                }
                self.splice(index as usize, 1, item);
            }
            Op::Insert { index, item } => {
                self.splice(index.min(len as u64) as usize, 0, item);
            }
            Op::Remove { end, most, item } => {
                let most = usize::try_from(most).unwrap_or(usize::MAX);
                let removed = self.remove(end, most, item);
                self.tidy();
                return match removed {
                    0 => Applied::nothing(0),
                    n => Applied::change(n),
                };
            }
            Op::Turn { from, to } => {
                if from != to
                    && let Some(item) = self.at_end(from)
                {
                    let item = item.to_vec();
                    self.drop_at(from, 1);
                    self.push(to, Items::Args(&[&item]));
                }
            }
        }
        Applied::change(self.len())
    }

    fn write_op(op: &Op<'_>, out: &mut Vec<u8>) {
        match *op {
            Op::Push { end, items } => {
                out.push(PUSH[end as usize]);
                items.write(out);
            }
            Op::Trim { front, back } => {
                out.push(TRIM);
                put_number(out, front);
                put_number(out, back);
            }
            Op::Set { index, item } => {
                out.push(SET);
                put_number(out, index);
                out.extend_from_slice(item);
            }
            Op::Insert { index, item } => {
                out.push(INSERT);
                put_number(out, index);
                out.extend_from_slice(item);
            }
            Op::Remove { end, most, item } => {
                out.push(REMOVE[end as usize]);
                put_number(out, most);
                out.extend_from_slice(item);
            }
            Op::Turn { from, to } => out.push(TURN[from as usize][to as usize]),
        }
    }

    fn read_op(bytes: &[u8]) -> Option<Op<'_>> {
        let mut from = Reader::new(bytes);
        let tag = from.byte()?;
        let op = match tag {
            1 | 2 => Op::Push {
                end: ENDS[usize::from(tag - PUSH[0])],
                items: Items::read(&mut from)?,
            },
            TRIM => Op::Trim {
                front: from.number()?,
                back: from.number()?,
            },
            SET => Op::Set {
                index: from.number()?,
                item: from.rest(),
            },
            INSERT => Op::Insert {
                index: from.number()?,
                item: from.rest(),
            },
            6 | 7 => Op::Remove {
                end: ENDS[usize::from(tag - REMOVE[0])],
                most: from.number()?,
                item: from.rest(),
            },
            8..=11 => Op::Turn {
                from: ENDS[usize::from((tag - TURN[0][0]) / 2)],
                to: ENDS[usize::from((tag - TURN[0][0]) % 2)],
            },
            _ => return None,
        };
        from.done(op)
    }

    fn encoding(&self) -> &'static str {
        match &self.form {
            Form::Short(_) => "listpack",
            Form::Long(_) => "quicklist",
        }
    }

    fn len(&self) -> usize {
        match &self.form {
            Form::Short(strip) => strip.len(),
            Form::Long(long) => long.len,
        }
    }

    fn heap_bytes(&self) -> usize {
        match &self.form {
            Form::Short(strip) => strip.heap_bytes(),
            Form::Long(long) => {
                size_of::<Long>() + long.strips.capacity() * size_of::<Strip>() + long.heap
            }
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        put_number(out, self.len() as u64);
        self.iter().for_each(|item| put_bytes(out, item));
    }

    fn decode(bytes: &[u8]) -> Option<List> {
        let mut from = Reader::new(bytes);
        let items = Items::read(&mut from)?;
        let mut list = List::default();
        list.push(End::Back, items);
        from.done(list)
    }

    fn crumble(&mut self, budget: usize) -> bool {
        let Form::Long(long) = &mut self.form else {
            return false;
        };
        let mut freed = 0;
        while freed < budget && !long.strips.is_empty() {
            freed += long.take(long.strips.len() - 1).len();
        }
        !long.strips.is_empty()
    }

    seated!(List);
}

#[cfg(test)]
impl List {
    pub(crate) fn of_items(items: &[&[u8]]) -> List {
        let mut list = List::default();
        list.push(End::Back, Items::Args(items));
        list
    }
}

#[cfg(test)]
mod tests;
