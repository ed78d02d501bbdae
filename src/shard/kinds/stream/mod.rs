//! A stream: entries that only ever come at the end, and the groups that read them.
//!
//! Promise: ids grow. An entry's id is larger than every id the stream has seen, `last` is never below the largest id
//! held, and what a group knows of an entry is its id alone; so entries and groups change without looking at each other.
//!
//! Reading order: `id`, `block` (neighbouring entries), `entries` (all of them), `group`, `op` (the changes).
//!
//! The whole is boxed: a stream is one word in an object, since no stream is small enough to care.
//!
//! Rejected: a ring of blocks instead of the ordered index, which would be quicker by a few nanoseconds an append, and
//! would move thousands of blocks at once when it grows or one is deleted in its middle.

mod block;
mod entries;
mod group;
mod id;
mod op;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use block::Entry;
pub use entries::{Backwards, Keep, Range};
pub use group::{Consumer, Group, Pending};
pub use id::StreamId;
pub use op::{Claim, Claims, Ids, Op};

use super::{Applied, Collection, seated};
use crate::shard::wire::{Reader, put_bytes, put_number};
use entries::Entries;

/// A stream.
#[derive(Clone, Debug, Default)]
pub struct Stream(Box<Body>);

#[derive(Clone, Debug, Default)]
struct Body {
    entries: Entries,
    last: StreamId,
    max_deleted: StreamId,
    added: u64,
    groups: BTreeMap<Box<[u8]>, Group>,
    /// What the groups cost.
    group_bytes: usize,
}

/// Bytes of a group that are freed at once.
const LARGE_GROUP: usize = 64 << 10;
/// What a group costs beside what is in it.
const GROUP: usize = (size_of::<Box<[u8]>>() + size_of::<Group>()) * 3 / 2;

/// Two streams are the same if they are written the same way: how consumers are seated does not count.
impl PartialEq for Stream {
    fn eq(&self, other: &Stream) -> bool {
        let written = |stream: &Stream| {
            let mut out = Vec::new();
            stream.encode(&mut out);
            out
        };
        written(self) == written(other)
    }
}

impl Eq for Stream {}

impl Stream {
    /// The id after which new ones come.
    pub fn last(&self) -> StreamId {
        self.0.last
    }

    /// The largest id that was deleted one by one; the smallest there is if none was.
    pub fn max_deleted(&self) -> StreamId {
        self.0.max_deleted
    }

    /// How many entries it ever had.
    pub fn added(&self) -> u64 {
        self.0.added
    }

    /// How many blocks hold its entries.
    pub fn blocks(&self) -> usize {
        self.0.entries.blocks()
    }

    /// The smallest id held.
    pub fn first_entry(&self) -> Option<StreamId> {
        self.0.entries.first()
    }

    /// The largest id held.
    pub fn last_entry(&self) -> Option<StreamId> {
        self.0.entries.last()
    }

    /// The entry of this id.
    pub fn get(&self, id: StreamId) -> Option<Entry<'_>> {
        self.0.entries.get(id)
    }

    /// The entries from one id to another, both included.
    pub fn range(&self, from: StreamId, to: StreamId) -> Range<'_> {
        self.0.entries.range(from, to)
    }

    /// How many those are. Takes no time where they are all, and otherwise a look at each block between the two.
    pub fn count(&self, from: StreamId, to: StreamId) -> usize {
        self.0.entries.count(from, to)
    }

    /// The same, from the largest id on.
    pub fn backwards(&self, from: StreamId, to: StreamId) -> Backwards<'_> {
        self.0.entries.backwards(from, to)
    }

    /// Up to which id a trim removes, for [`Op::Trim`]; `None` if nothing. `rough` is `~`, a `limit` of 0 is none.
    pub fn trim(&self, keep: Keep, rough: bool, limit: u64) -> Option<StreamId> {
        self.0.entries.trim(keep, rough, limit)
    }

    /// How many groups read it.
    pub fn group_count(&self) -> usize {
        self.0.groups.len()
    }

    /// Its groups, by name.
    pub fn groups(&self) -> impl Iterator<Item = (&[u8], &Group)> {
        self.0.groups.iter().map(|(name, group)| (&**name, group))
    }

    /// The group of this name.
    pub fn group(&self, name: &[u8]) -> Option<&Group> {
        self.0.groups.get(name)
    }

    /// Whether an entry behind `from`, or at it, was deleted from among those held, so that counting on from a known
    /// position is no good.
    ///
    /// Source: Redis, as are the next three: clients compare what they answer.
    fn has_gaps(&self, from: StreamId) -> bool {
        let deleted = self.max_deleted();
        let among = self.first_entry().is_some_and(|first| first <= deleted);
        among && from <= deleted
    }

    /// How many entries it ever had up to this id, where that follows from its ends.
    pub fn position(&self, id: StreamId) -> Option<u64> {
        if self.added() == 0 {
            return Some(0);
        }
        let Some(first) = self.first_entry() else {
            return (id <= self.last()).then(|| self.added());
        };
        if id >= self.last() {
            return (id == self.last()).then(|| self.added());
        }
        let before = self.added().saturating_sub(self.len() as u64);
        let whole = self.max_deleted() == StreamId::MIN || self.max_deleted() < first;
        match id.cmp(&first) {
            std::cmp::Ordering::Less if whole => Some(before),
            std::cmp::Ordering::Equal if whole => Some(before + 1),
            _ => None,
        }
    }

    /// How many entries a group that has read `read` of them, up to `last`, has read when `id` is delivered to it.
    pub fn read_with(&self, read: Option<u64>, id: StreamId) -> Option<u64> {
        match read {
            Some(read) if !self.has_gaps(id) => Some(read.saturating_add(1)),
            read if self.added() == 0 => read,
            _ => self.position(id),
        }
    }

    /// How many entries have not been delivered to the group, where that is known.
    pub fn lag(&self, group: &Group) -> Option<i64> {
        if self.added() == 0 {
            return Some(0);
        }
        let read = group.read.filter(|_| !self.has_gaps(group.last));
        let read = read.or_else(|| self.position(group.last))?;
        Some((self.added() as i64).wrapping_sub(read as i64))
    }

    /// Changes a group and what it costs; 0 if there is no such group.
    fn with_group(
        &mut self,
        name: &[u8],
        change: impl FnOnce(&mut Group) -> Applied<u64>,
    ) -> Applied<u64> {
        let body = &mut *self.0;
        let Some(group) = body.groups.get_mut(name) else {
            return Applied::nothing(0);
        };
        let before = group.heap_bytes();
        let applied = change(group);
        body.group_bytes = body.group_bytes - before + group.heap_bytes();
        applied
    }

    fn insert_group(&mut self, name: &[u8], group: Group) {
        self.0.group_bytes += GROUP + name.len() + group.heap_bytes();
        self.0.groups.insert(name.into(), group);
    }
}

/// A change if the number of things changed is not 0.
fn counted(count: u64) -> Applied<u64> {
    match count {
        0 => Applied::nothing(0),
        _ => Applied::change(count),
    }
}

impl Collection for Stream {
    const TAG: u8 = b'X';
    const TYPE: &'static str = "stream";
    type Op<'a> = Op<'a>;
    type Outcome = u64;

    fn empty() -> Stream {
        Stream::default()
    }

    fn apply(&mut self, op: &Op<'_>) -> Applied<u64> {
        let body = &mut *self.0;
        match *op {
            Op::Add { id, fields } => {
                if id <= body.last || fields.len() < 2 {
                    return Applied::nothing(0);
                }
                body.entries.push(id, &fields);
                body.last = id;
                body.added = body.added.saturating_add(1);
                Applied::change(1)
            }
            Op::Delete { ids } => {
                let mut count = 0;
                ids.each(|id| {
                    if body.entries.remove(id) {
                        count += 1;
                        body.max_deleted = body.max_deleted.max(id);
                    }
                });
                counted(count)
            }
            Op::Trim { through } => {
                let (count, debris) = body.entries.cut(through);
                let debris = debris.map(|entries| {
                    Stream(Box::new(Body {
                        entries,
                        ..Body::default()
                    }))
                });
                counted(count).leaving(debris)
            }
            Op::SetId {
                last,
                added,
                max_deleted,
            } => {
                body.last = last.max(body.entries.last().unwrap_or_default());
                body.added = added.unwrap_or(body.added);
                body.max_deleted = max_deleted.unwrap_or(body.max_deleted);
                Applied::change(0)
            }
            Op::CreateGroup { group, last, read } => {
                if body.groups.contains_key(group) {
                    return Applied::nothing(0);
                }
                self.insert_group(group, Group::new(last, read));
                Applied::change(1)
            }
            Op::MoveGroup { group, last, read } => self.with_group(group, |group| {
                (group.last, group.read) = (last, read);
                Applied::change(1)
            }),
            Op::DestroyGroup { group: name } => {
                let Some((name, group)) = body.groups.remove_entry(name) else {
                    return Applied::nothing(0);
                };
                body.group_bytes -= GROUP + name.len() + group.heap_bytes();
                let debris = (group.heap_bytes() > LARGE_GROUP).then(|| {
                    Stream(Box::new(Body {
                        groups: BTreeMap::from([(name, group)]),
                        ..Body::default()
                    }))
                });
                Applied::change(1).leaving(debris)
            }
            Op::Visit {
                group,
                consumer,
                at,
            } => self.with_group(group, |group| {
                let (number, made) = group.enter(consumer, at);
                group.note(number, at, false);
                counted(u64::from(made))
            }),
            Op::DeleteConsumer { group, consumer } => {
                self.with_group(group, |group| match group.dismiss(consumer) {
                    Some(pending) => Applied::change(pending as u64),
                    None => Applied::nothing(0),
                })
            }
            Op::Deliver {
                group,
                consumer,
                at,
                ids,
                last,
                read,
            } => self.with_group(group, |group| {
                let (number, _) = group.enter(consumer, at);
                group.note(number, at, true);
                ids.each(|id| group.assign(id, number, at, 1));
                (group.last, group.read) = (last, read);
                Applied::change(0)
            }),
            Op::Ack { group, ids } => self.with_group(group, |group| {
                let mut count = 0;
                ids.each(|id| count += u64::from(group.settle(id)));
                counted(count)
            }),
            Op::Claim {
                group,
                consumer,
                at,
                claims,
                dropped,
                last,
            } => self.with_group(group, |group| {
                let (number, _) = group.enter(consumer, at);
                group.note(number, at, !claims.is_empty());
                claims.each(|claim| group.assign(claim.id, number, claim.at, claim.count));
                dropped.each(|id| {
                    group.settle(id);
                });
                group.last = last.unwrap_or(group.last);
                Applied::change(0)
            }),
        }
    }

    fn write_op(op: &Op<'_>, out: &mut Vec<u8>) {
        op.write(out);
    }

    fn read_op(bytes: &[u8]) -> Option<Op<'_>> {
        Op::read(bytes)
    }

    fn encoding(&self) -> &'static str {
        "stream"
    }

    fn len(&self) -> usize {
        self.0.entries.len() as usize
    }

    /// A stream stays when its last entry is gone: its groups and its last id are worth something.
    fn is_gone(&self) -> bool {
        false
    }

    fn heap_bytes(&self) -> usize {
        size_of::<Body>() + self.0.entries.heap_bytes() + self.0.group_bytes
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let body = &*self.0;
        body.last.write(out);
        body.max_deleted.write(out);
        put_number(out, body.added);
        body.entries.encode(out);
        put_number(out, body.groups.len() as u64);
        for (name, group) in &body.groups {
            put_bytes(out, name);
            group.encode(out);
        }
    }

    fn decode(bytes: &[u8]) -> Option<Stream> {
        let from = &mut Reader::new(bytes);
        let mut stream = Stream::default();
        let body = &mut *stream.0;
        body.last = StreamId::read(from)?;
        body.max_deleted = StreamId::read(from)?;
        body.added = from.number()?;
        body.entries = Entries::decode(from)?;
        if body.entries.last().is_some_and(|top| top > body.last) {
            return None;
        }
        let mut before: Option<&[u8]> = None;
        for _ in 0..from.number()? {
            let name = from.bytes()?;
            if before.is_some_and(|before| name <= before) {
                return None;
            }
            before = Some(name);
            stream.insert_group(name, Group::decode(from)?);
        }
        from.done(stream)
    }

    fn crumble(&mut self, budget: usize) -> bool {
        let body = &mut *self.0;
        if let Some(mut group) = body.groups.first_entry() {
            if !group.get_mut().crumble(budget) {
                group.remove();
            }
            return true;
        }
        body.entries.crumble(budget)
    }

    seated!(Stream);
}
