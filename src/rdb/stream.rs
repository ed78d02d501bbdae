//! Streams, read and written.
//!
//! A stream is a row of listpacks, each with the id and the fields of its first entry and after it entries as distances
//! from that; then what the stream says of its past; then its groups: what is pending, then by consumer the ids of that.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::load::NOTE;
use super::packed::{Element, Elements, Listpack, Packer};
use super::write::{Sink, put_length, put_string};
use super::{Fault, Reader, Source, kind};
use crate::shard::kinds::Collection;
use crate::shard::kinds::stream::{Claim, Claims, Entry, Ids, Op, Stream, StreamId};
use crate::shard::wire::Items;
use crate::shard::{Decimal, Ms};

/// An entry that was deleted.
const DELETED: i64 = 1;
/// An entry whose fields are those of the listpack's first.
const SAME: i64 = 2;
/// Most entries of a listpack (`stream-node-max-entries`).
const ENTRIES: usize = 100;
/// Bytes after which a listpack takes no more entries (`stream-node-max-bytes`).
const NODE: usize = 4096;

/// How many entries a group has read, where that is not known.
const UNKNOWN: u64 = u64::MAX;

fn raw(id: StreamId) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&id.ms.to_be_bytes());
    bytes[8..].copy_from_slice(&id.seq.to_be_bytes());
    bytes
}

fn of_raw(bytes: [u8; 16]) -> StreamId {
    let both = u128::from_be_bytes(bytes);
    StreamId {
        ms: (both >> 64) as u64,
        seq: both as u64,
    }
}

/// A number that has to stand here.
fn int<'a>(from: &mut impl Elements<'a>) -> Result<i64, Fault> {
    from.need()?.int().ok_or(Fault::Damaged)
}

/// A number that counts something.
fn count<'a>(from: &mut impl Elements<'a>) -> Result<usize, Fault> {
    usize::try_from(int(from)?).map_err(|_| Fault::Damaged)
}

fn text<'a>(element: Element<'a>) -> Cow<'a, [u8]> {
    match element {
        Element::Text(bytes) => bytes.into(),
        Element::Int(n) => Decimal::new(n).as_bytes().to_vec().into(),
    }
}

fn strings<'a>(from: &mut impl Elements<'a>, n: usize) -> Result<Vec<Cow<'a, [u8]>>, Fault> {
    // No room is made beforehand: each of them has to be there first.
    let mut all = Vec::new();
    for _ in 0..n {
        all.push(text(from.need()?));
    }
    Ok(all)
}

impl<S: Source> Reader<S> {
    pub(super) fn stream(&mut self, form: u8) -> Result<Stream, Fault> {
        let mut stream = Stream::empty();
        for _ in 0..self.length()? {
            let first: [u8; 16] = self.string()?.try_into().map_err(|_| Fault::Damaged)?;
            let pack = self.string()?;
            self.entries(&mut stream, of_raw(first), &pack)?;
        }
        if self.length()? != stream.len() as u64 {
            return Err(Fault::Damaged);
        }
        let last = self.id()?;
        if stream.last_entry().is_some_and(|top| top > last) {
            return Err(Fault::Damaged);
        }
        let (mut max_deleted, mut added) = (StreamId::MIN, stream.len() as u64);
        if form != kind::STREAM {
            self.id()?; // the first entry's, which is known
            (max_deleted, added) = (self.id()?, self.length()?);
        }
        stream.apply(&Op::SetId {
            last,
            added: Some(added),
            max_deleted: Some(max_deleted),
        });
        for _ in 0..self.length()? {
            self.group(&mut stream, form)?;
        }
        Ok(stream)
    }

    fn id(&mut self) -> Result<StreamId, Fault> {
        Ok(StreamId {
            ms: self.length()?,
            seq: self.length()?,
        })
    }

    /// The entries of one listpack.
    fn entries(&mut self, stream: &mut Stream, first: StreamId, pack: &[u8]) -> Result<(), Fault> {
        let from = &mut Listpack::new(pack)?;
        let (mut live, mut deleted) = (count(from)?, count(from)?);
        let fields = count(from)?;
        let names = strings(from, fields)?;
        if int(from)? != 0 {
            return Err(Fault::Damaged);
        }
        while live + deleted > 0 {
            let flags = int(from)?;
            if flags & !(DELETED | SAME) != 0 {
                return Err(Fault::Damaged);
            }
            let (ms, seq) = (int(from)? as u64, int(from)? as u64);
            let id = StreamId {
                ms: first.ms.wrapping_add(ms),
                seq: first.seq.wrapping_add(seq),
            };
            let (pairs, elements) = match flags & SAME {
                0 => {
                    let pairs = count(from)?;
                    let elements = pairs.checked_mul(2).ok_or(Fault::Damaged)?;
                    (strings(from, elements)?, elements + 1)
                }
                _ => {
                    let values = strings(from, fields)?;
                    let pairs = names.iter().cloned().zip(values);
                    (pairs.flat_map(<[_; 2]>::from).collect(), fields)
                }
            };
            // Flags, two distances, and what came after them.
            if count(from)? != elements + 3 {
                return Err(Fault::Damaged);
            }
            let which = match flags & DELETED {
                0 => &mut live,
                _ => &mut deleted,
            };
            *which = which.checked_sub(1).ok_or(Fault::Damaged)?;
            if flags & DELETED != 0 {
                continue;
            }
            let args: Vec<&[u8]> = pairs.iter().map(|text| &**text).collect();
            self.charge(2 * NOTE + args.iter().map(|arg| NOTE + arg.len()).sum::<usize>())?;
            let fields = Items::Args(&args);
            // It is refused if it is not behind all before it, or has no fields.
            if stream.apply(&Op::Add { id, fields }).outcome != 1 {
                return Err(Fault::Damaged);
            }
        }
        match from.next()? {
            None => Ok(()),
            Some(_) => Err(Fault::Damaged),
        }
    }

    fn group(&mut self, stream: &mut Stream, form: u8) -> Result<(), Fault> {
        let group = self.element()?;
        let last = self.id()?;
        let read = match form {
            kind::STREAM => stream.position(last),
            _ => match self.length()? {
                UNKNOWN => None,
                read if i64::try_from(read).is_ok() => Some(read),
                _ => return Err(Fault::Damaged),
            },
        };
        let group = group.as_slice();
        let made = stream.apply(&Op::CreateGroup { group, last, read });
        if made.outcome != 1 {
            return Err(Fault::Damaged);
        }
        let mut pending = BTreeMap::new();
        for _ in 0..self.length()? {
            let id = of_raw(self.array()?);
            let (at, count) = (self.time()?, self.length()?);
            self.charge(4 * NOTE)?;
            if pending.insert(id, (at, count)).is_some() {
                return Err(Fault::Damaged);
            }
        }
        for _ in 0..self.length()? {
            self.consumer(stream, (group, last, read), &mut pending, form)?;
        }
        match pending.is_empty() {
            true => Ok(()),
            false => Err(Fault::Damaged), // pending for nobody
        }
    }

    fn consumer(
        &mut self,
        stream: &mut Stream,
        (group, last, read): (&[u8], StreamId, Option<u64>),
        pending: &mut BTreeMap<StreamId, (Ms, u64)>,
        form: u8,
    ) -> Result<(), Fault> {
        let consumer = self.element()?;
        let consumer = consumer.as_slice();
        self.charge(2 * NOTE)?;
        let seen = self.time()?;
        let active = match form {
            kind::STREAM_3 => match i64::from_le_bytes(self.array()?) {
                -1 => None,
                at => Some(u64::try_from(at).map_err(|_| Fault::Damaged)?),
            },
            // Earlier versions do not tell.
            _ => Some(seen),
        };
        let visit = Op::Visit {
            group,
            consumer,
            at: seen,
        };
        if stream.apply(&visit).outcome != 1 {
            return Err(Fault::Damaged); // known already
        }
        let mut claims = Vec::new();
        for _ in 0..self.length()? {
            let id = of_raw(self.array()?);
            let (at, count) = pending.remove(&id).ok_or(Fault::Damaged)?;
            claims.push(Claim { id, at, count });
        }
        // Who has something pending got it at some time.
        let active = active.or((!claims.is_empty()).then_some(seen));
        if let Some(at) = active {
            stream.apply(&Op::Deliver {
                group,
                consumer,
                at,
                ids: Ids::Slice(&[]),
                last,
                read,
            });
            stream.apply(&Op::Claim {
                group,
                consumer,
                at,
                claims: Claims::Slice(&claims),
                dropped: Ids::Slice(&[]),
                last: None,
            });
            stream.apply(&visit);
        }
        Ok(())
    }
}

/// A listpack of neighbouring entries.
fn node(entries: &[Entry<'_>], names: &[&[u8]]) -> Vec<u8> {
    let first = entries.first().map_or(StreamId::MIN, |entry| entry.id);
    let mut pack = Packer::default();
    pack.push_int(entries.len() as i64);
    pack.push_int(0);
    pack.push_int(names.len() as i64);
    names.iter().for_each(|name| pack.push(name));
    pack.push_int(0);
    for entry in entries {
        let start = pack.count();
        let own = entry.fields().map(|(name, _)| name);
        let same = own.eq(names.iter().copied());
        pack.push_int(if same { SAME } else { 0 });
        pack.push_int(entry.id.ms.wrapping_sub(first.ms) as i64);
        pack.push_int(entry.id.seq.wrapping_sub(first.seq) as i64);
        if !same {
            pack.push_int(entry.pairs as i64);
        }
        for (name, value) in entry.fields() {
            if !same {
                pack.push(name);
            }
            pack.push(value);
        }
        pack.push_int((pack.count() - start) as i64);
    }
    pack.finish()
}

/// Calls `f` with the entries of each listpack.
fn each_node<'a>(stream: &'a Stream, mut f: impl FnMut(&[Entry<'a>])) {
    let (mut entries, mut size) = (Vec::new(), 0);
    for entry in stream.range(StreamId::MIN, StreamId::MAX) {
        size += entry
            .fields()
            .map(|(name, value)| name.len() + value.len())
            .sum::<usize>();
        entries.push(entry);
        if entries.len() == ENTRIES || size >= NODE {
            f(&entries);
            entries.clear();
            size = 0;
        }
    }
    if !entries.is_empty() {
        f(&entries);
    }
}

fn put_id(out: &mut impl Sink, id: StreamId) {
    put_length(out, id.ms);
    put_length(out, id.seq);
}

/// Writes a stream, as version 10 does.
pub(super) fn write(stream: &Stream, out: &mut impl Sink) {
    let mut nodes = 0;
    each_node(stream, |_| nodes += 1);
    put_length(out, nodes);
    each_node(stream, |entries| {
        if let Some(first) = entries.first() {
            let names: Vec<&[u8]> = first.fields().map(|(name, _)| name).collect();
            put_string(out, &raw(first.id));
            put_string(out, &node(entries, &names));
        }
    });
    put_length(out, stream.len() as u64);
    put_id(out, stream.last());
    put_id(out, stream.first_entry().unwrap_or_default());
    put_id(out, stream.max_deleted());
    put_length(out, stream.added());
    put_length(out, stream.group_count() as u64);
    for (name, group) in stream.groups() {
        put_string(out, name);
        put_id(out, group.last);
        put_length(out, group.read.unwrap_or(UNKNOWN));
        put_length(out, group.len() as u64);
        for (id, pending) in group.range(StreamId::MIN, StreamId::MAX) {
            out.put(&raw(id));
            out.put(&pending.at.to_le_bytes());
            put_length(out, pending.count);
        }
        put_length(out, group.consumer_count() as u64);
        for consumer in group.consumers() {
            put_string(out, &consumer.name);
            out.put(&consumer.seen.to_le_bytes());
            put_length(out, consumer.pending.len() as u64);
            for &id in &consumer.pending {
                out.put(&raw(id));
            }
        }
    }
}
