//! A set.
//!
//! Promise: its form follows Redis's thresholds: integers in order up to 512 of them, a pack up to 128 members of at
//! most 64 bytes, a table beyond. It only ever moves on to the next form.

use super::dict::{Dict, Place};
use super::pack::Pack;
use super::{Applied, Collection, seated};
use crate::resp::Reply;
use crate::shard::value::{Decimal, parse_int};
use crate::shard::wire::{Items, Reader, put_bytes, put_number};

mod ints;

use ints::Ints;

/// Most integers kept as such.
const INTS: usize = 512;
/// Most members of a pack.
const PACK: usize = 128;
/// Longest member of a pack, in bytes.
const SHORT: usize = 64;

/// A set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set(Form);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    Ints(Ints),
    Pack(Pack),
    Table(Box<Dict<Box<[u8]>>>),
}

const _: () = assert!(size_of::<Set>() <= 24);

/// A change of one.
#[derive(Clone, Copy, Debug)]
pub enum Op<'a> {
    /// These are members.
    Add(Items<'a>),
    /// These are not.
    Remove(Items<'a>),
}

const ADD: u8 = 1;
const REMOVE: u8 = 2;

/// A member where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Member<'a> {
    /// The decimal form of this number.
    Int(i64),
    /// These bytes.
    Bytes(&'a [u8]),
}

impl Member<'_> {
    /// Answers it.
    #[inline]
    pub fn answer(&self, reply: &mut Reply<'_>) {
        match self {
            Member::Int(n) => reply.bulk_int(*n),
            Member::Bytes(bytes) => reply.bulk(bytes),
        }
    }

    /// Its bytes; a number is written into `scratch`.
    #[inline]
    pub fn bytes<'s>(&'s self, scratch: &'s mut Decimal) -> &'s [u8] {
        match self {
            Member::Int(n) => {
                *scratch = Decimal::new(*n);
                scratch.as_bytes()
            }
            Member::Bytes(bytes) => bytes,
        }
    }
}

impl Set {
    /// Whether it has this member.
    #[inline]
    pub fn contains(&self, member: &[u8]) -> bool {
        match &self.0 {
            Form::Ints(ints) => parse_int(member).is_some_and(|n| ints.contains(n)),
            Form::Pack(pack) => pack.find(member, 0, 1).is_some(),
            Form::Table(table) => table.get(member).is_some(),
        }
    }

    /// All members; integers in order.
    pub fn iter(&self) -> Iter<'_> {
        match &self.0 {
            Form::Ints(ints) => Iter::Ints(ints, 0),
            Form::Pack(pack) => Iter::Pack(pack.iter()),
            Form::Table(table) => Iter::Table(Box::new(table.iter().map(|member| &**member))),
        }
    }

    /// Goes on from a place in the order of [`Set::iter`]; see [`Dict::each`]. A set that is not large is gone through at
    /// once.
    pub fn each(&self, place: &mut Place, count: usize, mut f: impl FnMut(Member<'_>)) -> bool {
        if let Form::Table(table) = &self.0 {
            return table.each(place, count, |member| f(Member::Bytes(member)));
        }
        self.iter().for_each(f);
        false
    }

    /// One step of a scan; see [`Dict::scan`]. A set that is not large is scanned in one step.
    pub fn scan(&self, cursor: u64, count: usize, mut f: impl FnMut(Member<'_>)) -> u64 {
        if let Form::Table(table) = &self.0 {
            return table.scan(cursor, count, |member| f(Member::Bytes(member)));
        }
        self.iter().for_each(f);
        0
    }

    /// A member, each with the same chance; `random` gives 64 random bits a call.
    pub fn choose(&self, mut random: impl FnMut() -> u64) -> Option<Member<'_>> {
        let mut any = |n: usize| ((u128::from(random()) * n as u128) >> 64) as usize;
        match &self.0 {
            Form::Ints(ints) => ints.get(any(ints.len())).map(Member::Int),
            Form::Pack(pack) => pack.get(any(pack.len())).map(Member::Bytes),
            Form::Table(table) => table.choose(random).map(|member| Member::Bytes(member)),
        }
    }

    /// Adds a member; tells whether it is new.
    pub fn add(&mut self, member: &[u8]) -> bool {
        match &mut self.0 {
            Form::Ints(ints) => {
                let Some(n) = parse_int(member) else {
                    return self.add_text(member);
                };
                let new = ints.insert(n);
                if ints.len() > INTS {
                    self.turn_table();
                }
                new
            }
            Form::Pack(pack) => {
                if pack.find(member, 0, 1).is_some() {
                    return false;
                }
                if pack.len() < PACK && member.len() <= SHORT {
                    pack.push(member);
                } else {
                    self.turn_table().insert(member.into());
                }
                true
            }
            Form::Table(table) => table.add_with(member, || member.into()),
        }
    }

    /// The first member that is no integer.
    fn add_text(&mut self, member: &[u8]) -> bool {
        if self.len() < PACK && member.len() <= SHORT {
            let mut pack = Pack::default();
            let mut scratch = Decimal::default();
            self.iter()
                .for_each(|each| pack.push(each.bytes(&mut scratch)));
            pack.push(member);
            self.0 = Form::Pack(pack);
        } else {
            self.turn_table().insert(member.into());
        }
        true
    }

    /// Removes a member; tells whether it was one.
    fn remove(&mut self, member: &[u8]) -> bool {
        match &mut self.0 {
            Form::Ints(ints) => parse_int(member).is_some_and(|n| ints.remove(n)),
            Form::Pack(pack) => {
                let at = pack.find(member, 0, 1);
                at.map(|at| pack.remove(at, 1)).is_some()
            }
            Form::Table(table) => table.remove(member).is_some(),
        }
    }

    /// Takes the form that Redis gives a set to which so many members are about to be added, of which `first` is one.
    fn expect(&mut self, first: &[u8], count: usize) {
        let fits = match &self.0 {
            Form::Ints(ints) if ints.is_empty() => {
                count <= PACK || (count <= INTS && parse_int(first).is_some())
            }
            Form::Ints(_) => count <= INTS,
            Form::Pack(_) => count <= PACK,
            Form::Table(_) => true,
        };
        if !fits {
            self.turn_table();
        }
    }

    fn turn_table(&mut self) -> &mut Dict<Box<[u8]>> {
        if !matches!(self.0, Form::Table(_)) {
            let mut table = Box::<Dict<Box<[u8]>>>::default();
            let mut scratch = Decimal::default();
            for member in self.iter() {
                table.insert(member.bytes(&mut scratch).into());
            }
            self.0 = Form::Table(table);
        }
        match &mut self.0 {
            Form::Table(table) => table,
            _ => unreachable!("it was made so above"),
        }
    }
}

impl Collection for Set {
    const TAG: u8 = b'S';
    const TYPE: &'static str = "set";
    type Op<'a> = Op<'a>;
    /// How many members are new, or gone.
    type Outcome = usize;

    fn empty() -> Set {
        Set(Form::Ints(Ints::default()))
    }

    fn apply(&mut self, op: &Op<'_>) -> Applied<usize> {
        let count = match op {
            Op::Add(members) => {
                if let Some(first) = members.iter().next() {
                    self.expect(first, members.len());
                }
                members.iter().filter(|member| self.add(member)).count()
            }
            Op::Remove(members) => members.iter().filter(|member| self.remove(member)).count(),
        };
        Applied::when(count > 0, count)
    }

    fn write_op(op: &Op<'_>, out: &mut Vec<u8>) {
        let (letter, members) = match op {
            Op::Add(members) => (ADD, members),
            Op::Remove(members) => (REMOVE, members),
        };
        out.push(letter);
        members.write(out);
    }

    fn read_op(bytes: &[u8]) -> Option<Op<'_>> {
        let mut from = Reader::new(bytes);
        let letter = from.byte()?;
        let members = Items::read(&mut from)?;
        from.done(match letter {
            ADD => Op::Add(members),
            REMOVE => Op::Remove(members),
            _ => return None,
        })
    }

    fn encoding(&self) -> &'static str {
        match self.0 {
            Form::Ints(_) => "intset",
            Form::Pack(_) => "listpack",
            Form::Table(_) => "hashtable",
        }
    }

    fn len(&self) -> usize {
        match &self.0 {
            Form::Ints(ints) => ints.len(),
            Form::Pack(pack) => pack.len(),
            Form::Table(table) => table.len(),
        }
    }

    fn heap_bytes(&self) -> usize {
        match &self.0 {
            Form::Ints(ints) => ints.heap_bytes(),
            Form::Pack(pack) => pack.heap_bytes(),
            Form::Table(table) => table.heap_bytes(),
        }
    }

    /// `i` and the integers as they are kept, `p` and the pack, or `t`, how many members there are, and the members.
    fn encode(&self, out: &mut Vec<u8>) {
        match &self.0 {
            Form::Ints(ints) => {
                out.push(b'i');
                ints.encode(out);
            }
            Form::Pack(pack) => {
                out.push(b'p');
                pack.encode(out);
            }
            Form::Table(table) => {
                out.push(b't');
                put_number(out, table.len() as u64);
                table.iter().for_each(|member| put_bytes(out, member));
            }
        }
    }

    fn decode(bytes: &[u8]) -> Option<Set> {
        let mut from = Reader::new(bytes);
        let form = match from.byte()? {
            b'i' => Form::Ints(Ints::decode(from.rest())?),
            b'p' => {
                let pack = Pack::decode(from.rest())?;
                // No member stands there twice.
                let mut all: Vec<&[u8]> = pack.iter().collect();
                all.sort_unstable();
                if all.windows(2).any(|two| two[0] == two[1]) {
                    return None;
                }
                Form::Pack(pack)
            }
            b't' => {
                let mut table = Box::<Dict<Box<[u8]>>>::default();
                for _ in 0..from.number()? {
                    if table.insert(from.bytes()?.into()).is_some() {
                        return None;
                    }
                }
                Form::Table(table)
            }
            _ => return None,
        };
        from.done(Set(form))
    }

    fn crumble(&mut self, budget: usize) -> bool {
        match &mut self.0 {
            Form::Table(table) => table.crumble(budget),
            _ => false,
        }
    }

    seated!(Set);
}

/// Members of a set.
pub enum Iter<'a> {
    /// Of integers.
    Ints(&'a Ints, usize),
    /// Of a pack.
    Pack(super::pack::Iter<'a>),
    /// Of a table.
    Table(Box<dyn Iterator<Item = &'a [u8]> + 'a>),
}

impl<'a> Iterator for Iter<'a> {
    type Item = Member<'a>;

    #[inline]
    fn next(&mut self) -> Option<Member<'a>> {
        match self {
            Iter::Ints(ints, at) => {
                *at += 1;
                ints.get(*at - 1).map(Member::Int)
            }
            Iter::Pack(pack) => pack.next().map(Member::Bytes),
            Iter::Table(table) => table.next().map(Member::Bytes),
        }
    }
}

#[cfg(test)]
mod tests;
