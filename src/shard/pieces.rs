//! A long collection written out in pieces: effects that add to it what it holds, a few elements each.
//!
//! Promise: the pieces of a walk (`walk.rs`) make, where the key was not there before, the collection as it was when the
//! walk began. Streams and hashes with fields that expire are not cut; no string is.

use super::effect::Effect;
use super::kinds::Collection;
use super::kinds::hash::{self, Hash};
use super::kinds::list::{self, End, List};
use super::kinds::set::{self, Set};
use super::kinds::zset::{self, Scored, Zset};
use super::object::Object;
use super::value::Decimal;
use super::walk::{Step, is_long};
use super::wire::Items;
use crate::resp::Reply;

/// Whether an object is written out in pieces.
pub(super) fn has_pieces(object: &Object) -> bool {
    fn long<T: Collection>(this: &T) -> bool {
        is_long(this, this.len())
    }
    Set::of(object).is_some_and(long)
        || List::of(object).is_some_and(long)
        || Zset::of(object).is_some_and(long)
        || Hash::of(object).is_some_and(|hash| long(hash) && hash.due().is_none())
}

/// Byte strings that are gathered, and handed on as arguments are.
#[derive(Default)]
struct Gathered {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Gathered {
    fn push(&mut self, item: &[u8]) {
        self.bytes.extend_from_slice(item);
        self.ends.push(self.bytes.len());
    }

    fn items(&self) -> Vec<&[u8]> {
        let starts = std::iter::once(&0).chain(&self.ends);
        let spans = starts.zip(&self.ends);
        spans.map(|(&from, &to)| &self.bytes[from..to]).collect()
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }
}

/// Adds the operation on the key to what is written.
fn put<T: Collection>(db: u16, key: &[u8], op: &T::Op<'_>, reply: &mut Reply<'_>) {
    let mut bytes = Vec::new();
    T::write_op(op, &mut bytes);
    let alter = Effect::Alter {
        db,
        key,
        kind: T::TAG,
        op: &bytes,
    };
    alter.encode(reply.buf);
}

/// The step of a walk that writes the pieces of what a key holds, as effects and not as a reply.
pub(super) fn step(db: u16, key: &[u8], object: &Object) -> Step {
    let key = key.to_vec();
    let mut gathered = Gathered::default();
    if Set::of(object).is_some() {
        let mut place = Default::default();
        return Box::new(move |object, n, reply| {
            let Some(set) = Set::of(object) else {
                return false;
            };
            gathered.clear();
            let mut scratch = Decimal::new(0);
            let more = set.each(&mut place, n, |member| {
                gathered.push(member.bytes(&mut scratch));
            });
            let items = gathered.items();
            put::<Set>(db, &key, &set::Op::Add(Items::Args(&items)), reply);
            more
        });
    }
    if Hash::of(object).is_some() {
        let mut place = Default::default();
        return Box::new(move |object, n, reply| {
            let Some(hash) = Hash::of(object) else {
                return false;
            };
            gathered.clear();
            // No field has a time, so all of them live.
            let more = hash.each(&mut place, n, 0, |(name, value)| {
                gathered.push(name);
                gathered.push(value);
            });
            let items = gathered.items();
            put::<Hash>(db, &key, &hash::Op::Set(Items::Args(&items)), reply);
            more
        });
    }
    if let Some(list) = List::of(object) {
        let (mut place, mut left) = (list.place(0), list.len());
        return Box::new(move |object, n, reply| {
            let Some(list) = List::of(object) else {
                return false;
            };
            gathered.clear();
            let n = n.min(left);
            left -= n;
            list.each_from(&mut place, n, |item| gathered.push(item));
            let items = gathered.items();
            let op = list::Op::Push {
                end: End::Back,
                items: Items::Args(&items),
            };
            put::<List>(db, &key, &op, reply);
            left > 0
        });
    }
    let mut from = 0;
    Box::new(move |object, n, reply| {
        let Some(set) = Zset::of(object) else {
            return false;
        };
        let to = set.len().min(from + n);
        let list: Vec<(f64, &[u8])> = set
            .range(from, to, false)
            .map(|(member, score)| (score, member))
            .collect();
        put::<Zset>(db, &key, &zset::Op::Put(Scored::List(&list)), reply);
        from = to;
        from < set.len()
    })
}
