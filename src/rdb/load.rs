//! Values, read.
//!
//! Promise: a collection is built by the operations that commands and recovery use, so it has the form that Ferrite gives
//! one with these elements; elements that stand twice, collections without any, and scores that are no numbers are damage.

use super::packed::{Element, Elements, Listpack, Ziplist, Zipmap, intset};
use super::{Fault, Reader, Source, VALKEY, kind};
use crate::resp::number::parse_f64;
use crate::shard::kinds::Collection;
use crate::shard::kinds::hash::{self, Hash};
use crate::shard::kinds::list::{self, End, List};
use crate::shard::kinds::set::Set;
use crate::shard::kinds::zset::{self, Scored, Zset};
use crate::shard::wire::Items;
use crate::shard::{Decimal, Ms, Owned};

/// What an element costs in the log beside its bytes.
pub(super) const NOTE: usize = 16;
/// Latest time at which a field of a hash may expire (Redis keeps 48 bits).
const LATEST: u64 = (1 << 48) - 1;
/// Entries after which a sorted set is large in any case.
const MANY: usize = 256;

/// A sorted set that is being read: its first entries are held back, since their number decides its form.
#[derive(Default)]
struct Entries {
    first: Vec<(f64, Vec<u8>)>,
    set: Option<Zset>,
    count: usize,
}

fn zset_of(entries: &[(f64, Vec<u8>)]) -> Zset {
    let entries = entries.iter();
    Zset::of_entries(entries.map(|(score, member)| (*score, member.as_slice())))
}

impl Entries {
    fn push(&mut self, score: f64, member: &[u8]) -> Result<(), Fault> {
        if score.is_nan() {
            return Err(Fault::Damaged);
        }
        self.count += 1;
        match &mut self.set {
            Some(set) => {
                let one = [(score, member)];
                let put = set.apply(&zset::Op::Put(Scored::List(&one)));
                if put.outcome.added != 1 {
                    return Err(Fault::Damaged);
                }
            }
            None => {
                self.first.push((score, member.to_vec()));
                if self.first.len() == MANY {
                    self.set = Some(zset_of(&std::mem::take(&mut self.first)));
                }
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<Zset, Fault> {
        let set = self.set.unwrap_or_else(|| zset_of(&self.first));
        match set.len() == self.count {
            true => Ok(set),
            false => Err(Fault::Damaged),
        }
    }
}

fn add_field(hash: &mut Hash, name: &[u8], value: &[u8], at: Option<Ms>) -> Result<(), Fault> {
    let pair = [name, value];
    let op = match at {
        None => hash::Op::Set(Items::Args(&pair)),
        Some(at) if at <= LATEST => hash::Op::Put(Some(at), Items::Args(&pair)),
        Some(_) => return Err(Fault::Damaged),
    };
    match hash.apply(&op).outcome {
        1 => Ok(()),
        _ => Err(Fault::Damaged), // it was there before
    }
}

fn add_member(set: &mut Set, member: &[u8]) -> Result<(), Fault> {
    match set.add(member) {
        true => Ok(()),
        false => Err(Fault::Damaged),
    }
}

fn append(list: &mut List, item: &[u8]) {
    list.apply(&list::Op::Push {
        end: End::Back,
        items: Items::Args(&[item]),
    });
}

/// What is read of a time that stands as a distance from the earliest one, or as 0 for none.
fn after(earliest: u64, distance: u64) -> Result<Option<Ms>, Fault> {
    match distance.checked_sub(1) {
        None => Ok(None),
        Some(later) => earliest.checked_add(later).map(Some).ok_or(Fault::Damaged),
    }
}

fn owned<T: Collection>(collection: T) -> Result<Owned, Fault> {
    if collection.is_gone() {
        return Err(Fault::Damaged);
    }
    Ok(Owned::Object(Box::new(collection.into_object())))
}

impl<S: Source> Reader<S> {
    /// Reads a value of the form `kind`, the byte that stands before the key in a file and before the value in a payload.
    ///
    /// # Errors
    /// Any [`Fault`] but [`Fault::Payload`].
    pub fn value(&mut self, kind: u8) -> Result<Owned, Fault> {
        self.begin();
        match kind {
            kind::STRING => self.string().map(Owned::Str),
            kind::LIST => {
                let mut list = List::empty();
                for _ in 0..self.length()? {
                    let item = self.element()?;
                    append(&mut list, &item);
                }
                owned(list)
            }
            kind::SET => {
                let mut set = Set::empty();
                for _ in 0..self.length()? {
                    let member = self.element()?;
                    add_member(&mut set, &member)?;
                }
                owned(set)
            }
            kind::ZSET | kind::ZSET_2 => {
                let mut entries = Entries::default();
                for _ in 0..self.length()? {
                    let member = self.element()?;
                    let score = match kind {
                        kind::ZSET_2 => self.double()?,
                        _ => self.written_double()?,
                    };
                    entries.push(score, &member)?;
                }
                owned(entries.finish()?)
            }
            kind::HASH => {
                let mut hash = Hash::empty();
                for _ in 0..self.length()? {
                    let (name, value) = (self.element()?, self.element()?);
                    add_field(&mut hash, &name, &value, None)?;
                }
                owned(hash)
            }
            kind::HASH_ZIPMAP => {
                let blob = self.string()?;
                self.hash(Zipmap::new(&blob)?)
            }
            kind::HASH_ZIPLIST => {
                let blob = self.string()?;
                self.hash(Ziplist::new(&blob)?)
            }
            kind::HASH_LISTPACK => {
                let blob = self.string()?;
                self.hash(Listpack::new(&blob)?)
            }
            kind::LIST_ZIPLIST => {
                let blob = self.string()?;
                let mut list = List::empty();
                self.list(Ziplist::new(&blob)?, &mut list)?;
                owned(list)
            }
            kind::LIST_QUICKLIST => {
                let mut list = List::empty();
                for _ in 0..self.length()? {
                    let blob = self.string()?;
                    self.list(Ziplist::new(&blob)?, &mut list)?;
                }
                owned(list)
            }
            kind::LIST_QUICKLIST_2 => self.quicklist(),
            kind::SET_INTSET => {
                let blob = self.string()?;
                let mut set = Set::empty();
                for n in intset(&blob)? {
                    self.charge(NOTE)?;
                    add_member(&mut set, Decimal::new(n).as_bytes())?;
                }
                owned(set)
            }
            kind::SET_LISTPACK => {
                let blob = self.string()?;
                let (mut set, mut scratch) = (Set::empty(), Decimal::default());
                let mut members = Listpack::new(&blob)?;
                while let Some(member) = members.next()? {
                    let member = member.bytes(&mut scratch);
                    self.charge(NOTE + member.len())?;
                    add_member(&mut set, member)?;
                }
                owned(set)
            }
            kind::ZSET_ZIPLIST => {
                let blob = self.string()?;
                self.zset(Ziplist::new(&blob)?)
            }
            kind::ZSET_LISTPACK => {
                let blob = self.string()?;
                self.zset(Listpack::new(&blob)?)
            }
            kind::STREAM | kind::STREAM_2 | kind::STREAM_3 => owned(self.stream(kind)?),
            kind::HASH_2 if self.version >= VALKEY => {
                let mut hash = Hash::empty();
                for _ in 0..self.length()? {
                    let (name, value) = (self.element()?, self.element()?);
                    let at = match i64::from_le_bytes(self.array()?) {
                        -1 => None,
                        at => Some(u64::try_from(at).map_err(|_| Fault::Damaged)?),
                    };
                    add_field(&mut hash, &name, &value, at)?;
                }
                owned(hash)
            }
            _ if self.version >= VALKEY && kind > kind::HASH_2 => Err(Fault::Unknown(kind)),
            kind::HASH_TIMED_OLD | kind::HASH_TIMED => {
                let earliest = match kind {
                    kind::HASH_TIMED => Some(self.time()?),
                    _ => None,
                };
                let mut hash = Hash::empty();
                for _ in 0..self.length()? {
                    let told = self.length()?;
                    let at = match earliest {
                        Some(earliest) => after(earliest, told)?,
                        None => Some(told).filter(|&at| at != 0),
                    };
                    let (name, value) = (self.element()?, self.element()?);
                    add_field(&mut hash, &name, &value, at)?;
                }
                owned(hash)
            }
            kind::HASH_TIMED_LISTPACK_OLD | kind::HASH_TIMED_LISTPACK => {
                if kind == kind::HASH_TIMED_LISTPACK {
                    self.time()?; // the earliest, which the fields say themselves
                }
                let blob = self.string()?;
                self.timed_hash(Listpack::new(&blob)?)
            }
            kind::MODULE | kind::MODULE_2 => Err(Fault::Module),
            _ => Err(Fault::Unknown(kind)),
        }
    }

    /// A string that is part of a collection.
    pub(super) fn element(&mut self) -> Result<Vec<u8>, Fault> {
        let bytes = self.string()?;
        self.charge(NOTE + bytes.len())?;
        Ok(bytes)
    }

    /// A double as text, in front of it its length or a word for what is no number.
    fn written_double(&mut self) -> Result<f64, Fault> {
        match self.byte()? {
            253 => Err(Fault::Damaged),
            254 => Ok(f64::INFINITY),
            255 => Ok(f64::NEG_INFINITY),
            len => {
                let mut text = [0; 252];
                let text = &mut text[..usize::from(len)];
                self.source.fill(text)?;
                parse_f64(text).ok_or(Fault::Damaged)
            }
        }
    }

    fn list<'a>(&mut self, mut items: impl Elements<'a>, list: &mut List) -> Result<(), Fault> {
        let mut scratch = Decimal::default();
        while let Some(item) = items.next()? {
            let item = item.bytes(&mut scratch);
            self.charge(NOTE + item.len())?;
            append(list, item);
        }
        Ok(())
    }

    fn quicklist(&mut self) -> Result<Owned, Fault> {
        const PLAIN: u64 = 1;
        const PACKED: u64 = 2;
        let mut list = List::empty();
        for _ in 0..self.length()? {
            let container = self.length()?;
            let blob = self.string()?;
            match container {
                PLAIN => {
                    self.charge(NOTE + blob.len())?;
                    append(&mut list, &blob);
                }
                PACKED => self.list(Listpack::new(&blob)?, &mut list)?,
                _ => return Err(Fault::Damaged),
            }
        }
        owned(list)
    }

    fn hash<'a>(&mut self, mut items: impl Elements<'a>) -> Result<Owned, Fault> {
        let (mut a, mut b) = (Decimal::default(), Decimal::default());
        let mut hash = Hash::empty();
        while let Some(name) = items.next()? {
            let (name, value) = (name.bytes(&mut a), items.need()?);
            let value = value.bytes(&mut b);
            self.charge(2 * NOTE + name.len() + value.len())?;
            add_field(&mut hash, name, value, None)?;
        }
        owned(hash)
    }

    fn timed_hash<'a>(&mut self, mut items: impl Elements<'a>) -> Result<Owned, Fault> {
        let (mut a, mut b) = (Decimal::default(), Decimal::default());
        let mut hash = Hash::empty();
        while let Some(name) = items.next()? {
            let (name, value) = (name.bytes(&mut a), items.need()?);
            let value = value.bytes(&mut b);
            let at = items.need()?.int().and_then(|at| u64::try_from(at).ok());
            let at = at.ok_or(Fault::Damaged)?;
            self.charge(2 * NOTE + name.len() + value.len())?;
            add_field(&mut hash, name, value, Some(at).filter(|&at| at != 0))?;
        }
        owned(hash)
    }

    fn zset<'a>(&mut self, mut items: impl Elements<'a>) -> Result<Owned, Fault> {
        let mut scratch = Decimal::default();
        let mut entries = Entries::default();
        while let Some(member) = items.next()? {
            let member = member.bytes(&mut scratch);
            let score = match items.need()? {
                Element::Int(n) => n as f64,
                Element::Text(text) => parse_f64(text).ok_or(Fault::Damaged)?,
            };
            self.charge(NOTE + member.len())?;
            entries.push(score, member)?;
        }
        owned(entries.finish()?)
    }
}
