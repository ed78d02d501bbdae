//! A hash, whose fields may expire.
//!
//! Promise: its form follows Redis's thresholds: a pack up to 512 fields with names and values of at most 64 bytes, a
//! table beyond; one that ever had a field with an expiry is a `listpackex` while it is a pack. It only ever moves on to
//! the next form. A field past its time is not seen by whoever asks with the time; it is removed by an operation that
//! names it, so that recovery needs no clock.
//!
//! A hash knows when its next field is due, in constant time; the shard's agenda (`shard/agenda.rs`) looks at it then.

use std::collections::HashSet;

use super::dict::Place;
use super::pack::Pack;
use super::{Applied, Collection, seated};
use crate::shard::Ms;
use crate::shard::wire::{Items, Reader, put_bytes, put_number};

mod field;
mod table;
mod timed;

use table::Table;
use timed::Timed;

/// Most fields of a pack.
const PACK: usize = 512;
/// Longest name or value in a pack, in bytes.
const SHORT: usize = 64;

/// A hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hash(Form);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    /// Names and values in turn.
    Pack(Pack),
    /// Names, values and times in turn.
    Timed(Box<Timed>),
    Table(Box<Table>),
}

const _: () = assert!(size_of::<Hash>() <= 24);

/// A change of one.
#[derive(Clone, Copy, Debug)]
pub enum Op<'a> {
    /// These fields have these values (name, value, name, value...) and no expiry.
    Set(Items<'a>),
    /// These fields have these values, and this expiry, or the one they had.
    Put(Option<Ms>, Items<'a>),
    /// These fields are gone.
    Remove(Items<'a>),
    /// These fields, if they are there, expire at this time, or never.
    Expire(Option<Ms>, Items<'a>),
}

const SET: u8 = 1;
const PUT: u8 = 2;
const REMOVE: u8 = 3;
const EXPIRE: u8 = 4;

/// What becomes of a field's expiry when it gets a value.
#[derive(Clone, Copy, Debug)]
enum Time {
    Clear,
    Keep,
    At(Ms),
}

impl Time {
    fn after(self, before: Option<Ms>) -> Option<Ms> {
        match self {
            Time::Clear => None,
            Time::Keep => before,
            Time::At(at) => Some(at),
        }
    }
}

/// When the agenda looks at a hash next. It belongs to the hash where it is, not to what it holds.
#[derive(Debug, Default)]
struct Scheduled(Option<Ms>);

impl Clone for Scheduled {
    fn clone(&self) -> Scheduled {
        Scheduled(None)
    }
}

impl PartialEq for Scheduled {
    fn eq(&self, _: &Scheduled) -> bool {
        true
    }
}

impl Eq for Scheduled {}

/// Whether a field with this expiry is still seen.
#[inline]
fn lives(at: Option<Ms>, now: Ms) -> bool {
    at.is_none_or(|at| at > now)
}

/// A field: its name, its value, its expiry.
type Entry<'a> = (&'a [u8], &'a [u8], Option<Ms>);

impl Hash {
    /// A field as it is kept, expired or not.
    #[inline]
    fn entry(&self, name: &[u8]) -> Option<(&[u8], Option<Ms>)> {
        match &self.0 {
            Form::Pack(pack) => {
                let mut items = pack.iter();
                while let (Some(field), Some(value)) = (items.next(), items.next()) {
                    if field == name {
                        return Some((value, None));
                    }
                }
                None
            }
            Form::Timed(timed) => timed.get(name),
            Form::Table(table) => table.get(name),
        }
    }

    /// The value of a field.
    #[inline]
    pub fn get(&self, name: &[u8], now: Ms) -> Option<&[u8]> {
        let (value, at) = self.entry(name)?;
        lives(at, now).then_some(value)
    }

    /// When a field expires: `None` for no such field, `Some(None)` for never.
    pub fn expiry(&self, name: &[u8], now: Ms) -> Option<Option<Ms>> {
        let (_, at) = self.entry(name)?;
        lives(at, now).then_some(at)
    }

    /// Whether a field is kept that is past its time.
    pub fn is_expired(&self, name: &[u8], now: Ms) -> bool {
        self.entry(name).is_some_and(|(_, at)| !lives(at, now))
    }

    /// All fields as they are kept, those past their time included: name, value, expiry.
    pub fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8], Option<Ms>)> {
        self.entries()
    }

    fn entries(&self) -> Entries<'_> {
        match &self.0 {
            Form::Pack(pack) => Entries::Pack(pack.iter()),
            Form::Timed(timed) => Entries::Timed(timed.iter()),
            Form::Table(table) => Entries::Table(Box::new(table.iter())),
        }
    }

    /// All fields with their values.
    pub fn iter(&self, now: Ms) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.entries()
            .filter(move |&(_, _, at)| lives(at, now))
            .map(|(name, value, _)| (name, value))
    }

    /// How many fields are not past their time.
    pub fn count(&self, now: Ms) -> usize {
        match self.due() {
            Some(at) if at <= now => self.len() - self.expired(now).count(),
            _ => self.len(),
        }
    }

    /// Goes on from a place in the order of [`Hash::iter`], at the time at which this began; see
    /// [`super::dict::Dict::each`]. A hash that is not large is gone through at once.
    pub fn each(
        &self,
        place: &mut Place,
        count: usize,
        now: Ms,
        mut f: impl FnMut((&[u8], &[u8])),
    ) -> bool {
        if let Form::Table(table) = &self.0 {
            return table.each(place, count, |(name, value, at)| {
                if lives(at, now) {
                    f((name, value));
                }
            });
        }
        self.iter(now).for_each(f);
        false
    }

    /// One step of a scan; see [`super::dict::Dict::scan`]. A hash that is not large is scanned in one step.
    pub fn scan(&self, cursor: u64, count: usize, now: Ms, mut f: impl FnMut(&[u8], &[u8])) -> u64 {
        if let Form::Table(table) = &self.0 {
            return table.scan(cursor, count, |(name, value, at)| {
                if lives(at, now) {
                    f(name, value);
                }
            });
        }
        self.iter(now).for_each(|(name, value)| f(name, value));
        0
    }

    /// A field with its value, each with the same chance; `random` gives 64 random bits a call.
    pub fn choose(&self, now: Ms, mut random: impl FnMut() -> u64) -> Option<(&[u8], &[u8])> {
        // Few are past their time: a draw that meets one is repeated.
        for _ in 0..64 {
            let (name, value, at) = match &self.0 {
                Form::Table(table) => table.choose(&mut random)?,
                _ => {
                    let nth = (u128::from(random()) * self.len() as u128) >> 64;
                    self.entries().nth(nth as usize)?
                }
            };
            if lives(at, now) {
                return Some((name, value));
            }
        }
        let count = self.count(now).max(1) as u128;
        self.iter(now)
            .nth(((u128::from(random()) * count) >> 64) as usize)
    }

    /// When the next field is due.
    #[inline]
    pub fn due(&self) -> Option<Ms> {
        match &self.0 {
            Form::Pack(_) => None,
            Form::Timed(timed) => timed.due(),
            Form::Table(table) => table.due(),
        }
    }

    /// The names of fields past their time.
    pub fn expired(&self, now: Ms) -> Box<dyn Iterator<Item = &[u8]> + '_> {
        match &self.0 {
            Form::Pack(_) => Box::new(std::iter::empty()),
            Form::Timed(timed) => Box::new(
                timed
                    .iter()
                    .filter(move |&(_, _, at)| !lives(at, now))
                    .map(|(name, _, _)| name),
            ),
            Form::Table(table) => Box::new(table.expired(now)),
        }
    }

    /// Whether the agenda looks at it at `at`; if so, it does so no more.
    pub(in crate::shard) fn unschedule_at(&mut self, at: Ms) -> bool {
        let own = self.is_scheduled(at);
        if own && let Some(scheduled) = self.scheduled() {
            scheduled.0 = None;
        }
        own
    }

    /// Whether the agenda looks at it at `at`.
    pub(in crate::shard) fn is_scheduled(&self, at: Ms) -> bool {
        match &self.0 {
            Form::Pack(_) => false,
            Form::Timed(timed) => timed.scheduled.0 == Some(at),
            Form::Table(table) => table.scheduled.0 == Some(at),
        }
    }

    fn scheduled(&mut self) -> Option<&mut Scheduled> {
        match &mut self.0 {
            Form::Pack(_) => None,
            Form::Timed(timed) => Some(&mut timed.scheduled),
            Form::Table(table) => Some(&mut table.scheduled),
        }
    }

    /// Gives fields values; tells how many are new.
    fn put(&mut self, pairs: &Items<'_>, time: Time) -> usize {
        let long = |item: &[u8]| item.len() > SHORT;
        if pairs.len() / 2 > PACK || pairs.iter().any(long) {
            self.turn_table();
        }
        if matches!(time, Time::At(_)) {
            self.turn_timed();
        }
        let mut new = 0;
        for (name, value) in pairs.pairs() {
            new += usize::from(match &mut self.0 {
                Form::Pack(pack) => match pack.find(name, 0, 2) {
                    Some(at) => {
                        pack.set(at + 1, value);
                        false
                    }
                    None => {
                        pack.push(name);
                        pack.push(value);
                        true
                    }
                },
                Form::Timed(timed) => timed.put(name, value, time),
                Form::Table(table) => table.put(name, value, time),
            });
            if self.len() > PACK {
                self.turn_table();
            }
        }
        if let Form::Timed(timed) = &mut self.0 {
            timed.settle();
        }
        new
    }

    fn remove(&mut self, names: &Items<'_>) -> usize {
        let count = names
            .iter()
            .filter(|name| match &mut self.0 {
                Form::Pack(pack) => {
                    let at = pack.find(name, 0, 2);
                    at.map(|at| pack.remove(at, 2)).is_some()
                }
                Form::Timed(timed) => timed.remove(name),
                Form::Table(table) => table.remove(name),
            })
            .count();
        if let Form::Timed(timed) = &mut self.0 {
            timed.settle();
        }
        count
    }

    /// Sets the expiry of the fields that are there; tells how many of them there are, or, where it is taken away, how
    /// many had one.
    fn expire(&mut self, at: Option<Ms>, names: &Items<'_>) -> usize {
        if at.is_some() && names.iter().any(|name| self.entry(name).is_some()) {
            self.turn_timed();
        }
        let count = names
            .iter()
            .filter(|name| match &mut self.0 {
                Form::Pack(_) => false,
                Form::Timed(timed) => timed.expire(name, at),
                Form::Table(table) => table.expire(name, at),
            })
            .count();
        if let Form::Timed(timed) = &mut self.0 {
            timed.settle();
        }
        count
    }

    fn turn_timed(&mut self) {
        if let Form::Pack(pack) = &self.0 {
            self.0 = Form::Timed(Box::new(Timed::of(pack)));
        }
    }

    fn turn_table(&mut self) {
        if matches!(self.0, Form::Table(_)) {
            return;
        }
        let mut table = Box::<Table>::default();
        for (name, value, at) in self.entries() {
            table.put(name, value, at.map_or(Time::Clear, Time::At));
        }
        if let Some(scheduled) = self.scheduled() {
            table.scheduled = std::mem::take(scheduled);
        }
        self.0 = Form::Table(table);
    }
}

impl Collection for Hash {
    const TAG: u8 = b'H';
    const TYPE: &'static str = "hash";
    type Op<'a> = Op<'a>;
    /// How many fields are new, gone, or have another expiry.
    type Outcome = usize;

    fn empty() -> Hash {
        Hash(Form::Pack(Pack::default()))
    }

    fn apply(&mut self, op: &Op<'_>) -> Applied<usize> {
        match op {
            Op::Set(pairs) => Applied::when(pairs.len() >= 2, self.put(pairs, Time::Clear)),
            Op::Put(at, pairs) => {
                let outcome = self.put(pairs, at.map_or(Time::Keep, Time::At));
                Applied::when(pairs.len() >= 2, outcome)
            }
            Op::Remove(names) => {
                let outcome = self.remove(names);
                Applied::when(outcome > 0, outcome)
            }
            Op::Expire(at, names) => {
                let outcome = self.expire(*at, names);
                Applied::when(outcome > 0, outcome)
            }
        }
    }

    fn write_op(op: &Op<'_>, out: &mut Vec<u8>) {
        let (letter, at, items) = match op {
            Op::Set(pairs) => (SET, None, pairs),
            Op::Put(at, pairs) => (PUT, Some(at), pairs),
            Op::Remove(names) => (REMOVE, None, names),
            Op::Expire(at, names) => (EXPIRE, Some(at), names),
        };
        out.push(letter);
        if let Some(at) = at {
            put_number(out, at.unwrap_or(0));
        }
        items.write(out);
    }

    fn read_op(bytes: &[u8]) -> Option<Op<'_>> {
        let mut from = Reader::new(bytes);
        let letter = from.byte()?;
        let at = match letter {
            PUT | EXPIRE => Some(from.number()?).filter(|&at| at != 0),
            _ => None,
        };
        let items = Items::read(&mut from)?;
        from.done(match letter {
            SET => Op::Set(items),
            PUT => Op::Put(at, items),
            REMOVE => Op::Remove(items),
            EXPIRE => Op::Expire(at, items),
            _ => return None,
        })
    }

    fn encoding(&self) -> &'static str {
        match self.0 {
            Form::Pack(_) => "listpack",
            Form::Timed(_) => "listpackex",
            Form::Table(_) => "hashtable",
        }
    }

    /// Fields past their time that are not yet removed included.
    fn len(&self) -> usize {
        match &self.0 {
            Form::Pack(pack) => pack.len() / 2,
            Form::Timed(timed) => timed.len(),
            Form::Table(table) => table.len(),
        }
    }

    fn heap_bytes(&self) -> usize {
        match &self.0 {
            Form::Pack(pack) => pack.heap_bytes(),
            Form::Timed(timed) => timed.heap_bytes(),
            Form::Table(table) => table.heap_bytes(),
        }
    }

    /// `p` and the pack, or `x` (a pack with times) or `t` (a table), how many fields there are, and for each its name,
    /// its value and its expiry, 0 for none.
    fn encode(&self, out: &mut Vec<u8>) {
        if let Form::Pack(pack) = &self.0 {
            out.push(b'p');
            return pack.encode(out);
        }
        out.push(match self.0 {
            Form::Timed(_) => b'x',
            _ => b't',
        });
        put_number(out, self.len() as u64);
        for (name, value, at) in self.entries() {
            put_bytes(out, name);
            put_bytes(out, value);
            put_number(out, at.unwrap_or(0));
        }
    }

    fn decode(bytes: &[u8]) -> Option<Hash> {
        let (&letter, rest) = bytes.split_first()?;
        if letter == b'p' {
            let pack = Pack::decode(rest)?;
            let names: HashSet<&[u8]> = pack.iter().step_by(2).collect();
            return (names.len() * 2 == pack.len()).then_some(Hash(Form::Pack(pack)));
        }
        let mut hash = Hash::empty();
        match letter {
            b'x' => hash.turn_timed(),
            b't' => hash.turn_table(),
            _ => return None,
        }
        let mut from = Reader::new(rest);
        let count = from.number()?;
        if letter == b'x' && count > PACK as u64 {
            return None;
        }
        for _ in 0..count {
            let (name, value) = (from.bytes()?, from.bytes()?);
            let time = match from.number()? {
                0 => Time::Clear,
                at => Time::At(at),
            };
            let new = match &mut hash.0 {
                Form::Timed(timed) => timed.put(name, value, time),
                Form::Table(table) => table.put(name, value, time),
                Form::Pack(_) => return None,
            };
            if !new {
                return None;
            }
        }
        if let Form::Timed(timed) = &mut hash.0 {
            timed.settle();
        }
        from.done(hash)
    }

    fn crumble(&mut self, budget: usize) -> bool {
        match &mut self.0 {
            Form::Table(table) => table.crumble(budget),
            _ => false,
        }
    }

    /// When the agenda should look at it, if that is earlier than it will.
    #[inline]
    fn schedule(&mut self) -> Option<Ms> {
        let due = self.due()?;
        let scheduled = self.scheduled()?;
        let earlier = scheduled.0.is_none_or(|at| due < at);
        earlier.then(|| {
            scheduled.0 = Some(due);
            due
        })
    }

    fn unschedule(&mut self) {
        if let Some(scheduled) = self.scheduled() {
            scheduled.0 = None;
        }
    }

    seated!(Hash);
}

/// Fields of a hash.
enum Entries<'a> {
    Pack(super::pack::Iter<'a>),
    Timed(timed::Iter<'a>),
    Table(Box<dyn Iterator<Item = Entry<'a>> + 'a>),
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    #[inline]
    fn next(&mut self) -> Option<Entry<'a>> {
        match self {
            Entries::Pack(items) => Some((items.next()?, items.next()?, None)),
            Entries::Timed(timed) => timed.next(),
            Entries::Table(table) => table.next(),
        }
    }
}

#[cfg(test)]
mod tests;
