//! The types that are not strings, and what they have in common.
//!
//! Promise: a collection changes only by [`Collection::apply`] with an operation, and the very bytes of that operation
//! are what the log keeps; so a live change and its replay run the same code, and one cannot drift from the other.
//!
//! An operation is *resolved*: it holds what was decided (the score that ZINCRBY arrived at, the id that XADD chose,
//! the member that SPOP drew), never what would have to be decided again. Applying one to a collection of its type never
//! fails and never panics, whatever the collection holds: after a power failure a log may have lost what came before.
//!
//! To add a type: a file with the collection and its operations, a variant of `Object`, a line in `Shard::replay_alter`.

pub mod dict;
pub mod hash;
pub mod list;
pub mod pack;
pub mod set;
pub mod stream;
pub mod strip;
pub mod zset;

use super::object::Object;
use super::value::Ms;

/// What applying an operation did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied<T> {
    /// Whether anything is other than before; if not, nothing is logged.
    pub changed: bool,
    /// What the command wants to know.
    pub outcome: T,
    /// What was taken out, where freeing it would take long.
    pub debris: Option<Box<Object>>,
}

impl<T> Applied<T> {
    /// Something has changed.
    pub fn change(outcome: T) -> Applied<T> {
        Applied::when(true, outcome)
    }

    /// Something has, if so.
    pub fn when(changed: bool, outcome: T) -> Applied<T> {
        Applied {
            changed,
            outcome,
            debris: None,
        }
    }

    /// The same, with something large left to be freed.
    pub fn leaving<C: Collection>(self, debris: Option<C>) -> Applied<T> {
        Applied {
            debris: debris.map(|debris| Box::new(debris.into_object())),
            ..self
        }
    }

    /// Nothing has.
    pub fn nothing(outcome: T) -> Applied<T> {
        Applied::when(false, outcome)
    }
}

/// A type of values.
pub trait Collection: Sized {
    /// Its letter in effects and encoded objects; never changes its meaning.
    const TAG: u8;
    /// The word `TYPE` answers.
    const TYPE: &'static str;
    /// A resolved change.
    type Op<'a>;
    /// What the command that made a change wants to know of it.
    type Outcome;

    /// One without elements.
    fn empty() -> Self;

    /// Carries a change out. Total: see the module's promise.
    fn apply(&mut self, op: &Self::Op<'_>) -> Applied<Self::Outcome>;

    /// Appends the operation's bytes.
    fn write_op(op: &Self::Op<'_>, out: &mut Vec<u8>);

    /// Reads exactly what `write_op` wrote; `None` for anything else.
    fn read_op(bytes: &[u8]) -> Option<Self::Op<'_>>;

    /// The word `OBJECT ENCODING` answers.
    fn encoding(&self) -> &'static str;

    /// Elements held.
    fn len(&self) -> usize;

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether its key goes with it: without elements, for all but streams.
    fn is_gone(&self) -> bool {
        self.is_empty()
    }

    /// Bytes on the heap, estimated, itself not included. Asked before and after every change: takes constant time.
    fn heap_bytes(&self) -> usize;

    /// Appends all it holds, behind the tag.
    fn encode(&self, out: &mut Vec<u8>);

    /// Reads exactly what `encode` wrote; `None` for anything else.
    fn decode(bytes: &[u8]) -> Option<Self>;

    /// Frees about `budget` elements of one that nobody can reach any more; tells whether there are more. A thousand
    /// take less than 100 us. What is small may be freed whole.
    fn crumble(&mut self, budget: usize) -> bool;

    /// When something in it is next due to expire, if nobody was told yet: it is looked at then (`shard/agenda.rs`).
    #[inline]
    fn schedule(&mut self) -> Option<Ms> {
        None
    }

    /// Nobody was told.
    fn unschedule(&mut self) {}

    /// It as an object.
    fn into_object(self) -> Object;

    /// The object as one of these, if it is.
    fn of(object: &Object) -> Option<&Self>;

    /// The same, for a change.
    fn of_mut(object: &mut Object) -> Option<&mut Self>;
}

/// Implements the way between an object and one of its variants.
macro_rules! seated {
    ($variant:ident) => {
        fn into_object(self) -> $crate::shard::Object {
            $crate::shard::Object::new($crate::shard::object::Inner::$variant(self))
        }

        fn of(object: &$crate::shard::Object) -> Option<&Self> {
            match object.inner() {
                $crate::shard::object::Inner::$variant(this) => Some(this),
                _ => None,
            }
        }

        fn of_mut(object: &mut $crate::shard::Object) -> Option<&mut Self> {
            match object.inner_mut() {
                $crate::shard::object::Inner::$variant(this) => Some(this),
                _ => None,
            }
        }
    };
}
use seated;
