//! The seat of the types that are not strings: lists, hashes, sets, sorted sets, streams.
//!
//! Promise: whatever is not a string lives behind one boxed `Object`, so that an entry, its word in
//! the table, expiry, scan and move treat all types alike. What a type is and does stands in
//! `kinds`; this file only says which there are.

use super::kinds::Collection;
use super::kinds::hash::Hash;
use super::kinds::list::List;
use super::kinds::set::Set;
use super::kinds::stream::Stream;
use super::kinds::zset::Zset;
use super::value::Ms;

/// A value that is not a string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    inner: Inner,
}

/// The types there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Inner {
    List(List),
    Hash(Hash),
    Set(Set),
    Zset(Zset),
    Stream(Stream),
}

/// A value that is not a string, by its type.
#[derive(Clone, Copy, Debug)]
pub enum View<'a> {
    /// A list.
    List(&'a List),
    /// A hash.
    Hash(&'a Hash),
    /// A set.
    Set(&'a Set),
    /// A sorted set.
    Zset(&'a Zset),
    /// A stream.
    Stream(&'a Stream),
}

// Every key of these types pays for it.
const _: () = assert!(size_of::<Object>() <= 32);

/// Does the same with whichever type it is.
macro_rules! each {
    ($inner:expr, $this:ident => $does:expr) => {
        match $inner {
            Inner::List($this) => $does,
            Inner::Hash($this) => $does,
            Inner::Set($this) => $does,
            Inner::Zset($this) => $does,
            Inner::Stream($this) => $does,
        }
    };
}

fn type_of<T: Collection>(_: &T) -> (u8, &'static str) {
    (T::TAG, T::TYPE)
}

impl Object {
    pub(super) fn new(inner: Inner) -> Object {
        Object { inner }
    }

    pub(super) fn inner(&self) -> &Inner {
        &self.inner
    }

    pub(super) fn inner_mut(&mut self) -> &mut Inner {
        &mut self.inner
    }

    /// It by its type, for who treats each in its own way.
    pub fn view(&self) -> View<'_> {
        match &self.inner {
            Inner::List(this) => View::List(this),
            Inner::Hash(this) => View::Hash(this),
            Inner::Set(this) => View::Set(this),
            Inner::Zset(this) => View::Zset(this),
            Inner::Stream(this) => View::Stream(this),
        }
    }

    /// The word `TYPE` and `SCAN .. TYPE` use.
    pub fn type_name(&self) -> &'static str {
        each!(&self.inner, this => type_of(this).1)
    }

    /// The word `OBJECT ENCODING` uses.
    pub fn encoding(&self) -> &'static str {
        each!(&self.inner, this => this.encoding())
    }

    /// Elements held: what LLEN, HLEN, SCARD and their like answer.
    pub fn len(&self) -> usize {
        each!(&self.inner, this => this.len())
    }

    /// Whether it holds no element. Only streams are left in a shard so.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether its key goes with it.
    pub fn is_gone(&self) -> bool {
        each!(&self.inner, this => this.is_gone())
    }

    /// Bytes on the heap, estimated, itself included. Takes constant time.
    pub fn heap_bytes(&self) -> usize {
        size_of::<Object>() + each!(&self.inner, this => this.heap_bytes())
    }

    /// When something in it is next due to expire, if nobody was told yet.
    #[inline]
    pub(super) fn schedule(&mut self) -> Option<Ms> {
        each!(&mut self.inner, this => this.schedule())
    }

    /// It leaves its key: whoever was told when to look at it will not find it there.
    pub(super) fn unschedule(&mut self) {
        each!(&mut self.inner, this => this.unschedule());
    }

    /// Frees about `budget` elements of one that nobody can reach any more; tells whether there are more.
    pub(super) fn crumble(&mut self, budget: usize) -> bool {
        each!(&mut self.inner, this => this.crumble(budget))
    }

    /// The form that effects carry. `decode` is its inverse.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        each!(&self.inner, this => {
            out.push(type_of(this).0);
            this.encode(&mut out);
        });
        out
    }

    /// Reads what `encode` wrote; `None` for anything else.
    pub fn decode(bytes: &[u8]) -> Option<Object> {
        let (&tag, rest) = bytes.split_first()?;
        fn read<T: Collection>(rest: &[u8]) -> Option<Object> {
            T::decode(rest).map(Collection::into_object)
        }
        match tag {
            List::TAG => read::<List>(rest),
            Hash::TAG => read::<Hash>(rest),
            Set::TAG => read::<Set>(rest),
            Zset::TAG => read::<Zset>(rest),
            Stream::TAG => read::<Stream>(rest),
            _ => None,
        }
    }

    /// An object for tests of what treats all types alike.
    #[cfg(test)]
    pub(crate) fn probe(bytes: &[u8]) -> Object {
        let items: Vec<&[u8]> = bytes.iter().map(std::slice::from_ref).collect();
        Object::new(Inner::List(List::of_items(&items)))
    }
}
