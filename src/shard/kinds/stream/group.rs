//! A consumer group: what was delivered to whom, and is not acknowledged yet.
//!
//! Promise: a pending entry stands once in the group's list and once in its owner's, and nowhere else.

use std::collections::{BTreeMap, BTreeSet};

use super::id::StreamId;
use crate::shard::Ms;
use crate::shard::wire::{Reader, put_bytes, put_number};

/// What a pending entry costs: a seat in the group's list and one in its owner's, each about two thirds full.
const PENDING: usize = (2 * size_of::<StreamId>() + size_of::<Pending>()) * 3 / 2;
/// What a consumer costs beside its name, which is kept twice.
const CONSUMER: usize = size_of::<Option<Consumer>>() + 2 * (size_of::<Box<[u8]>>() + 4);

/// An entry that was delivered and not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// When it was delivered last.
    pub at: Ms,
    /// How often it was delivered.
    pub count: u64,
    owner: u32,
}

/// One who reads for the group.
#[derive(Clone, Debug)]
pub struct Consumer {
    /// Its name.
    pub name: Box<[u8]>,
    /// When it last asked for something.
    pub seen: Ms,
    /// When it last got something.
    pub active: Option<Ms>,
    /// What it has not acknowledged.
    pub pending: BTreeSet<StreamId>,
}

/// A consumer group.
#[derive(Clone, Debug, Default)]
pub struct Group {
    /// The largest id delivered to the group.
    pub last: StreamId,
    /// How many entries the stream ever had up to `last`, where that is known.
    pub read: Option<u64>,
    pending: BTreeMap<StreamId, Pending>,
    /// Consumers by number; a free seat is taken again.
    seats: Vec<Option<Consumer>>,
    numbers: BTreeMap<Box<[u8]>, u32>,
    /// Bytes of all names.
    named: usize,
}

impl Group {
    pub(super) fn new(last: StreamId, read: Option<u64>) -> Group {
        Group {
            last,
            read,
            ..Group::default()
        }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.pending.len() * PENDING + self.seats.len() * CONSUMER + 2 * self.named
    }

    /// How many entries are pending.
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// How many consumers it has.
    pub fn consumer_count(&self) -> usize {
        self.numbers.len()
    }

    /// Its consumers, by name.
    pub fn consumers(&self) -> impl Iterator<Item = &Consumer> {
        let numbers = self.numbers.values();
        numbers.filter_map(|&number| self.seats.get(number as usize)?.as_ref())
    }

    /// The consumer of this name.
    pub fn consumer(&self, name: &[u8]) -> Option<&Consumer> {
        self.seats.get(*self.numbers.get(name)? as usize)?.as_ref()
    }

    /// A pending entry.
    pub fn pending(&self, id: StreamId) -> Option<Pending> {
        self.pending.get(&id).copied()
    }

    /// The pending entries from one id to another, both included.
    pub fn range(
        &self,
        from: StreamId,
        to: StreamId,
    ) -> impl DoubleEndedIterator<Item = (StreamId, Pending)> {
        let range = (from <= to).then(|| self.pending.range(from..=to));
        range
            .into_iter()
            .flatten()
            .map(|(id, pending)| (*id, *pending))
    }

    /// The name of a pending entry's owner.
    pub fn owner(&self, pending: &Pending) -> &[u8] {
        match self.seats.get(pending.owner as usize) {
            Some(Some(consumer)) => &consumer.name,
            _ => b"",
        }
    }

    fn seat(&mut self, number: u32) -> Option<&mut Consumer> {
        self.seats.get_mut(number as usize)?.as_mut()
    }

    /// The number of the consumer of this name, which is made if there is none; and whether it was.
    pub(super) fn enter(&mut self, name: &[u8], at: Ms) -> (u32, bool) {
        if let Some(&number) = self.numbers.get(name) {
            return (number, false);
        }
        let consumer = Some(Consumer {
            name: name.into(),
            seen: at,
            active: None,
            pending: BTreeSet::new(),
        });
        let all_taken = self.seats.len() == self.numbers.len();
        let free = match all_taken {
            true => None,
            false => self.seats.iter().position(Option::is_none),
        };
        let number = free.unwrap_or(self.seats.len());
        match self.seats.get_mut(number) {
            Some(seat) => *seat = consumer,
            None => self.seats.push(consumer),
        }
        self.numbers.insert(name.into(), number as u32);
        self.named += name.len();
        (number as u32, true)
    }

    /// Notes that a consumer has asked, and if `active` that it got something.
    pub(super) fn note(&mut self, number: u32, at: Ms, active: bool) {
        if let Some(consumer) = self.seat(number) {
            consumer.seen = at;
            if active {
                consumer.active = Some(at);
            }
        }
    }

    /// Removes a consumer and what is pending for it; tells how many entries that were.
    pub(super) fn dismiss(&mut self, name: &[u8]) -> Option<usize> {
        let number = self.numbers.remove(name)?;
        let consumer = self.seats.get_mut(number as usize)?.take()?;
        while let Some(None) = self.seats.last() {
            self.seats.pop();
        }
        for id in &consumer.pending {
            self.pending.remove(id);
        }
        self.named -= name.len();
        Some(consumer.pending.len())
    }

    /// Makes an entry pending for a consumer, whoever had it.
    pub(super) fn assign(&mut self, id: StreamId, owner: u32, at: Ms, count: u64) {
        let pending = Pending { at, count, owner };
        if let Some(before) = self.pending.insert(id, pending)
            && before.owner != owner
            && let Some(consumer) = self.seat(before.owner)
        {
            consumer.pending.remove(&id);
        }
        if let Some(consumer) = self.seat(owner) {
            consumer.pending.insert(id);
        }
    }

    /// An entry is pending no more; tells whether it was.
    pub(super) fn settle(&mut self, id: StreamId) -> bool {
        let Some(pending) = self.pending.remove(&id) else {
            return false;
        };
        if let Some(consumer) = self.seat(pending.owner) {
            consumer.pending.remove(&id);
        }
        true
    }

    /// Frees about so many pending entries; tells whether there are more.
    pub(super) fn crumble(&mut self, budget: usize) -> bool {
        for _ in 0..budget {
            if self.pending.pop_last().is_none() {
                let Some(consumer) = self.seats.last_mut() else {
                    return false;
                };
                let empty = consumer
                    .as_mut()
                    .is_none_or(|consumer| consumer.pending.pop_last().is_none());
                if empty {
                    self.seats.pop();
                }
            }
        }
        true
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        self.last.write(out);
        put_option(self.read, out);
        put_number(out, self.numbers.len() as u64);
        for consumer in self.consumers() {
            put_bytes(out, &consumer.name);
            put_number(out, consumer.seen);
            put_option(consumer.active, out);
            put_number(out, consumer.pending.len() as u64);
            let mut base = StreamId::MIN;
            for &id in &consumer.pending {
                id.write_behind(base, out);
                base = id;
                if let Some(pending) = self.pending.get(&id) {
                    put_number(out, pending.at);
                    put_number(out, pending.count);
                }
            }
        }
    }

    pub(super) fn decode(from: &mut Reader<'_>) -> Option<Group> {
        let mut group = Group::new(StreamId::read(from)?, option(from)?);
        let mut last = None;
        for _ in 0..from.number()? {
            let (name, seen, active) = (from.bytes()?, from.number()?, option(from)?);
            if last.is_some_and(|last| name <= last) {
                return None;
            }
            last = Some(name);
            let (number, _) = group.enter(name, seen);
            group.seat(number)?.active = active;
            let mut base = StreamId::MIN;
            for at in 0..from.number()? {
                let id = StreamId::read_behind(base, from)?;
                if (at > 0 && id <= base) || group.pending(id).is_some() {
                    return None;
                }
                base = id;
                group.assign(id, number, from.number()?, from.number()?);
            }
        }
        Some(group)
    }

    #[cfg(test)]
    pub(super) fn verify(&self) {
        let owned: usize = self
            .consumers()
            .map(|consumer| consumer.pending.len())
            .sum();
        assert_eq!(owned, self.pending.len());
        for (id, pending) in &self.pending {
            let owner = self.consumer(self.owner(pending)).unwrap();
            assert!(owner.pending.contains(id));
        }
        let named: usize = self.numbers.keys().map(|name| name.len()).sum();
        assert_eq!(named, self.named);
        assert_eq!(self.seats.iter().flatten().count(), self.numbers.len());
        assert!(!matches!(self.seats.last(), Some(None)));
    }
}

/// Appends a number that may be missing.
pub(super) fn put_option(value: Option<u64>, out: &mut Vec<u8>) {
    out.push(u8::from(value.is_some()));
    if let Some(value) = value {
        put_number(out, value);
    }
}

/// Reads what `put_option` wrote.
pub(super) fn option(from: &mut Reader<'_>) -> Option<Option<u64>> {
    match from.byte()? {
        0 => Some(None),
        1 => from.number().map(Some),
        _ => None,
    }
}
