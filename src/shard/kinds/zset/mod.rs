//! A sorted set.
//!
//! Small ones are a pack of members and scores in order (`small`); a set of more than 128 entries, or with a member of
//! more than 64 bytes, is `large`: members under numbers (`members`), an index by member (`index`) and an order that
//! counts (`order`, of `node`s). `op` is what changes one, `range` goes through one.
//!
//! Entries are ordered by score, then by the member's bytes. A score is any double but NaN; `-0` and `0` are the same
//! place, and whichever came first stays (the small form knows only `0`).

mod index;
mod large;
mod members;
mod node;
mod op;
mod order;
mod range;
mod small;
#[cfg(test)]
mod tests;

use std::fmt;

pub use op::{Op, Scored};
pub use range::Range;

use super::pack::Pack;
use super::{Applied, Collection, seated};
use crate::shard::wire::{Reader, put_number};
use large::Large;

/// A sorted set.
#[derive(Clone)]
pub struct Zset(Form);

#[derive(Clone)]
enum Form {
    Small(Pack),
    Large(Box<Large>),
}

const _: () = assert!(size_of::<Zset>() <= 24);

/// Entries that are removed one by one at most where fewer would stay.
const MANY: usize = 4096;

/// The first byte of an encoded set.
const SMALL: u8 = 0;
const LARGE: u8 = 1;

/// What giving a member a score did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Put {
    Added,
    Updated,
    Same,
}

/// What a change did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Members that were not there before.
    pub added: usize,
    /// Members that have another score than before.
    pub updated: usize,
    /// Members that are gone.
    pub removed: usize,
}

impl Zset {
    /// The set of these entries. A set that is made at once takes the form that fits its entries.
    pub fn of_entries<'a>(entries: impl Iterator<Item = (f64, &'a [u8])> + Clone) -> Zset {
        let mut set = Zset::empty();
        let long = |(_, member): (f64, &[u8])| member.len() > small::MEMBER;
        if entries.clone().nth(small::ENTRIES).is_some() || entries.clone().any(long) {
            set.grow_large();
        }
        for (score, member) in entries {
            set.put(member, score);
        }
        set
    }

    /// A member's score.
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        match &self.0 {
            Form::Small(pack) => small::find(pack, member).map(|(_, score)| score),
            Form::Large(large) => large.score(member),
        }
    }

    /// A member's rank, from the lowest score, and its score.
    pub fn rank(&self, member: &[u8]) -> Option<(usize, f64)> {
        match &self.0 {
            Form::Small(pack) => small::find(pack, member),
            Form::Large(large) => {
                let score = large.score(member)?;
                let before = |s: f64, m: &[u8]| s < score || (s == score && m < member);
                Some((large.position(before), score))
            }
        }
    }

    /// How many entries come before, where those that do are the first ones in the order.
    pub fn position(&self, before: impl Fn(f64, &[u8]) -> bool) -> usize {
        match &self.0 {
            Form::Small(pack) => small::position(pack, before),
            Form::Large(large) => large.position(before),
        }
    }

    /// The entries of ranks `from..to`, from the lowest rank on or backwards from the highest; what does not exist is
    /// left out.
    pub fn range(&self, from: usize, to: usize, backwards: bool) -> Range<'_> {
        let to = to.min(self.len());
        Range::new(self, from.min(to), to, backwards)
    }

    /// All entries in order.
    pub fn iter(&self) -> Range<'_> {
        self.range(0, usize::MAX, false)
    }

    /// One of the entries: a different one for each number below the set's length, in no order.
    pub fn numbered(&self, number: usize) -> Option<(&[u8], f64)> {
        match &self.0 {
            _ if number >= self.len() => None,
            Form::Small(_) => self.range(number, number + 1, false).next(),
            Form::Large(large) => Some(large.numbered(number as u32)),
        }
    }

    /// Calls `f` with some entries, about `count` of them, and tells where to go on; 0 begins and ends. Whoever calls
    /// until then has met every entry that was there all the time.
    pub fn scan(&self, cursor: u64, count: usize, mut f: impl FnMut(&[u8], f64)) -> u64 {
        match &self.0 {
            Form::Small(_) => {
                self.iter().for_each(|(member, score)| f(member, score));
                0
            }
            // Downwards through the numbers: see `members`.
            Form::Large(large) => {
                let len = large.len() as u64;
                let end = if cursor == 0 { len } else { cursor.min(len) };
                let start = end.saturating_sub(count as u64);
                for id in (start..end).rev() {
                    let (member, score) = large.numbered(id as u32);
                    f(member, score);
                }
                start
            }
        }
    }

    fn put(&mut self, member: &[u8], score: f64) -> Put {
        if score.is_nan() {
            return Put::Same;
        }
        if let Form::Small(pack) = &mut self.0 {
            match small::put(pack, member, score) {
                Some(done) => return done,
                None => self.grow_large(),
            }
        }
        match &mut self.0 {
            Form::Large(large) => large.put(member, score),
            Form::Small(_) => Put::Same,
        }
    }

    fn grow_large(&mut self) {
        if let Form::Small(pack) = &self.0 {
            let mut large = Box::new(Large::new());
            for (member, score) in small::pairs(pack) {
                large.put(member, score);
            }
            self.0 = Form::Large(large);
        }
    }

    fn remove(&mut self, member: &[u8]) -> bool {
        match &mut self.0 {
            Form::Large(large) => large.remove(member),
            Form::Small(pack) => match small::find(pack, member) {
                Some((rank, _)) => {
                    pack.remove(rank * 2, 2);
                    true
                }
                None => false,
            },
        }
    }

    /// Removes the entries of ranks `from..to`; tells how many, and what is left to be freed. Takes as long as those that
    /// are removed or those that stay, whichever are fewer.
    fn cut(&mut self, from: usize, to: usize) -> (usize, Option<Zset>) {
        let count = to.saturating_sub(from);
        let mut debris = None;
        match &mut self.0 {
            Form::Large(large) if count > MANY && count > large.len() - count => {
                let rest = Box::new(large.without(from, to));
                debris = Some(Zset(Form::Large(std::mem::replace(large, rest))));
            }
            Form::Large(large) => large.cut(from, count),
            Form::Small(pack) => pack.remove(from * 2, count * 2),
        }
        (count, debris)
    }
}

impl Collection for Zset {
    const TAG: u8 = b'Z';
    const TYPE: &'static str = "zset";
    type Op<'a> = Op<'a>;
    type Outcome = Counts;

    fn empty() -> Zset {
        Zset(Form::Small(Pack::default()))
    }

    fn apply(&mut self, op: &Op<'_>) -> Applied<Counts> {
        let mut counts = Counts::default();
        let mut debris = None;
        match op {
            Op::Put(scored) => scored.for_each(|score, member| match self.put(member, score) {
                Put::Added => counts.added += 1,
                Put::Updated => counts.updated += 1,
                Put::Same => {}
            }),
            Op::Remove(members) => {
                for member in members.iter() {
                    counts.removed += usize::from(self.remove(member));
                }
            }
            Op::Cut { first, last } => {
                let from = self.position(|s, m| s < first.0 || (s == first.0 && m < first.1));
                let to = self.position(|s, m| s < last.0 || (s == last.0 && m <= last.1));
                (counts.removed, debris) = self.cut(from, to);
            }
        }
        Applied::when(counts != Counts::default(), counts).leaving(debris)
    }

    fn write_op(op: &Op<'_>, out: &mut Vec<u8>) {
        op.write(out);
    }

    fn read_op(bytes: &[u8]) -> Option<Op<'_>> {
        Op::read(bytes)
    }

    fn encoding(&self) -> &'static str {
        match self.0 {
            Form::Small(_) => "listpack",
            Form::Large(_) => "skiplist",
        }
    }

    fn len(&self) -> usize {
        match &self.0 {
            Form::Small(pack) => pack.len() / 2,
            Form::Large(large) => large.len(),
        }
    }

    fn heap_bytes(&self) -> usize {
        match &self.0 {
            Form::Small(pack) => pack.heap_bytes(),
            Form::Large(large) => large.heap_bytes(),
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match &self.0 {
            Form::Small(_) => out.push(SMALL),
            Form::Large(_) => out.push(LARGE),
        }
        put_number(out, self.len() as u64);
        for (member, score) in self.iter() {
            op::put_entry(out, score, member);
        }
    }

    fn decode(bytes: &[u8]) -> Option<Zset> {
        let mut from = Reader::new(bytes);
        let form = from.byte()?;
        let count = from.number()?;
        let mut set = Zset::empty();
        match form {
            SMALL if count <= small::ENTRIES as u64 => {}
            LARGE if count <= u64::from(u32::MAX) => set.grow_large(),
            _ => return None,
        }
        let mut before: Option<(f64, &[u8])> = None;
        for _ in 0..count {
            let (score, member) = op::entry(&mut from)?;
            let odd = form == SMALL && score == 0.0 && score.is_sign_negative();
            // In order, and none twice, whatever its score.
            if odd
                || before.is_some_and(|(s, m)| s > score || (s == score && m >= member))
                || set.put(member, score) != Put::Added
            {
                return None;
            }
            before = Some((score, member));
        }
        let as_written = matches!(
            (&set.0, form),
            (Form::Small(_), SMALL) | (Form::Large(_), LARGE)
        );
        from.done(set).filter(|_| as_written)
    }

    fn crumble(&mut self, budget: usize) -> bool {
        match &mut self.0 {
            Form::Small(_) => false,
            Form::Large(large) => large.crumble(budget),
        }
    }

    seated!(Zset);
}

impl fmt::Debug for Zset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.encoding())?;
        let entries = self.iter();
        let shown = entries.map(|(member, score)| (member.escape_ascii().to_string(), score));
        f.debug_list().entries(shown).finish()
    }
}

impl PartialEq for Zset {
    fn eq(&self, other: &Zset) -> bool {
        let mut both = self.iter().zip(other.iter());
        self.encoding() == other.encoding()
            && self.len() == other.len()
            && both.all(|((a, x), (b, y))| a == b && x.to_bits() == y.to_bits())
    }
}

impl Eq for Zset {}
