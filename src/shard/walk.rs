//! Walks: long reads of one collection, answered in steps.
//!
//! Promise: the steps of a walk answer together what the collection held at the moment in which the walk began, to the
//! byte what one step would have answered; and no step takes longer for a longer collection.
//!
//! A walk *holds* its key. What would change the collection in place has the walk run to its end first, so that the rest
//! of its answer waits here until it is fetched: that is always right, and as slow as not to cut the read at all. So
//! whoever can wait asks [`Shard::is_held`] before. What only takes the key's value away (DEL, an expiry, eviction,
//! FLUSHALL, SET over it) waits for nobody: the object goes to the walks, which are then the only ones that can reach
//! it, and from them to the graveyard.
//!
//! A walk lives in its shard and moves with it, so it needs no protection from transactions of other cores.

use std::fmt;

use super::db::{self, Db};
use super::entry::Entry;
use super::hash::Hasher;
use super::kinds::Collection;
use super::object::Object;
use super::shard::Shard;
use super::value::{Key, Value};
use crate::resp::{Proto, Reply};
use crate::slot;

/// Elements that are answered at once.
const FEW: usize = 2048;
/// Bytes that are answered at once.
const SHORT: usize = 256 << 10;
/// Most elements, and about as many bytes, that one step answers.
const STRIDE: usize = 256;
const BYTES: usize = 32 << 10;

/// Answers up to so many elements of the object, from where it left off; tells whether there are more.
pub type Step = Box<dyn FnMut(&Object, usize, &mut Reply<'_>) -> bool + Send>;

/// Whether an answer of `n` elements of this collection is worth being cut.
#[inline]
pub fn is_long<T: Collection>(this: &T, n: usize) -> bool {
    n > FEW
        || (n > 1 && this.heap_bytes() > SHORT && this.heap_bytes() / this.len().max(1) * n > SHORT)
}

/// The walks through a shard's keys.
#[derive(Debug, Default)]
pub(super) struct Walks {
    list: Vec<Walk>,
    /// Objects whose keys are gone.
    orphans: Vec<(u64, Box<Object>)>,
    /// The last number given to a walk or an orphan.
    last: u64,
}

struct Walk {
    number: u64,
    db: u16,
    key: Box<[u8]>,
    step: Step,
    proto: Proto,
    stride: usize,
    place: Place,
    /// What it answered before a change.
    ahead: Vec<u8>,
}

/// What a walk goes through.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// What its key holds.
    Key,
    /// An object without a key, by its number.
    Orphan(u64),
    /// Nothing any more.
    End,
}

impl fmt::Debug for Walk {
    /// Says nothing of the key: it is the users' secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Walk({})", self.number)
    }
}

fn key<'k>(hasher: &Hasher, db: u16, bytes: &'k [u8]) -> Key<'k> {
    Key {
        db,
        slot: slot::slot_of(bytes),
        hash: hasher.hash(bytes),
        bytes,
    }
}

fn object_at<'d>(db: Option<&'d Db>, k: &Key<'_>) -> Option<&'d Object> {
    let db = db?;
    match db.at(db.find(k)?).value() {
        Value::Object(object) => Some(object),
        _ => None,
    }
}

impl Walks {
    #[inline]
    pub(super) fn any(&self) -> bool {
        !self.list.is_empty()
    }

    /// Whether a walk goes through what a key holds.
    fn at(&self, db: u16, key: &[u8]) -> bool {
        self.list
            .iter()
            .any(|walk| walk.place == Place::Key && walk.db == db && *walk.key == *key)
    }

    /// The value of a key goes away: if a walk goes through it, it is kept.
    #[inline]
    pub(super) fn keep(&mut self, db: u16, entry: &mut Entry) {
        if self.any() {
            self.keep_object(db, entry);
        }
    }

    #[cold]
    fn keep_object(&mut self, db: u16, entry: &mut Entry) {
        if !self.at(db, entry.key()) {
            return;
        }
        let Some(object) = entry.take_object() else {
            return;
        };
        self.last += 1;
        let place = Place::Orphan(self.last);
        for walk in &mut self.list {
            if walk.place == Place::Key && walk.db == db && *walk.key == *entry.key() {
                walk.place = place;
            }
        }
        self.orphans.push((self.last, object));
    }

    /// Two databases change places.
    pub(super) fn swap(&mut self, a: u16, b: u16) {
        for walk in &mut self.list {
            walk.db = match walk.db {
                db if db == a => b,
                db if db == b => a,
                db => db,
            };
        }
    }

    /// Ends a walk; gives back the object that nobody else goes through.
    fn end(&mut self, number: u64) -> Option<Box<Object>> {
        let at = self.list.iter().position(|walk| walk.number == number)?;
        let place = self.list.swap_remove(at).place;
        let Place::Orphan(orphan) = place else {
            return None;
        };
        if self.list.iter().any(|walk| walk.place == place) {
            return None;
        }
        let at = self
            .orphans
            .iter()
            .position(|(number, _)| *number == orphan)?;
        Some(self.orphans.swap_remove(at).1)
    }
}

impl Walk {
    /// Answers up to so many elements; tells whether there are more.
    fn go(&mut self, object: Option<&Object>, count: usize, out: &mut Vec<u8>) -> bool {
        let mut reply = Reply {
            buf: out,
            proto: self.proto,
        };
        object.is_some_and(|object| (self.step)(object, count, &mut reply))
    }
}

impl Shard {
    /// Begins to walk through the collection at a key, which is there; the number is the walk's name.
    pub fn begin_walk(&mut self, k: &Key<'_>, proto: Proto, step: Step) -> u64 {
        let size = object_at(self.dbs[usize::from(k.db)].as_deref(), k)
            .map_or(0, |object| object.heap_bytes() / object.len().max(1));
        self.walks.last += 1;
        self.walks.list.push(Walk {
            number: self.walks.last,
            db: k.db,
            key: k.bytes.into(),
            step,
            proto,
            stride: (BYTES / size.max(1)).clamp(1, STRIDE),
            place: Place::Key,
            ahead: Vec::new(),
        });
        self.walks.last
    }

    /// Goes on with a walk: appends what one step answers; tells whether there is more. A walk that is at its end is gone.
    pub fn walk(&mut self, number: u64, out: &mut Vec<u8>) -> bool {
        let walks = &mut self.walks;
        let Some(walk) = walks.list.iter_mut().find(|walk| walk.number == number) else {
            return false;
        };
        if !walk.ahead.is_empty() {
            if out.is_empty() {
                std::mem::swap(out, &mut walk.ahead);
            } else {
                out.append(&mut walk.ahead);
            }
        }
        let object = match walk.place {
            Place::Key => {
                let k = key(&self.hasher, walk.db, &walk.key);
                object_at(self.dbs[usize::from(walk.db)].as_deref(), &k)
            }
            Place::Orphan(at) => {
                let orphan = walks.orphans.iter().find(|(number, _)| *number == at);
                orphan.map(|(_, object)| &**object)
            }
            Place::End => None,
        };
        let more = walk.go(object, walk.stride, out);
        if !more {
            self.end_walk(number);
        }
        more
    }

    /// Ends a walk whose answer nobody wants any more.
    pub fn end_walk(&mut self, number: u64) {
        let object = self.walks.end(number);
        self.graveyard.bury_object(object);
    }

    /// Whether a walk goes through what a key holds: to change that now would take as long as the rest of the walk.
    pub fn is_held(&self, k: &Key<'_>) -> bool {
        self.walks.at(k.db, k.bytes)
    }

    /// What a key holds is about to change in place: walks through it come to their end first.
    #[inline]
    pub(super) fn hurry(&mut self, k: &Key<'_>) {
        if self.walks.any() {
            self.hurry_walks(k);
        }
    }

    /// All walks come to their end.
    pub fn hurry_all(&mut self) {
        for at in 0..self.walks.list.len() {
            let (db, bytes) = (self.walks.list[at].db, self.walks.list[at].key.clone());
            self.hurry_walks(&key(&self.hasher, db, &bytes));
        }
    }

    #[cold]
    fn hurry_walks(&mut self, k: &Key<'_>) {
        let object = object_at(self.dbs[usize::from(k.db)].as_deref(), k);
        for walk in &mut self.walks.list {
            if walk.place == Place::Key && walk.db == k.db && *walk.key == *k.bytes {
                let mut ahead = std::mem::take(&mut walk.ahead);
                while walk.go(object, STRIDE, &mut ahead) {}
                walk.ahead = ahead;
                walk.place = Place::End;
            }
        }
    }

    /// A value takes the place of another: what walks go through is kept.
    #[inline]
    pub(super) fn keep_replaced(&mut self, k: &Key<'_>, place: db::Place) {
        if self.walks.any() {
            let walks = &mut self.walks;
            if let Some(Some(db)) = self.dbs.get_mut(usize::from(k.db)) {
                db.update(place, |entry| walks.keep(k.db, entry));
            }
        }
    }

    /// A database, or all, is about to be buried: what walks go through is kept.
    pub(super) fn keep_walked(&mut self, db: Option<u16>) {
        for at in 0..self.walks.list.len() {
            let walk = &self.walks.list[at];
            if walk.place != Place::Key || db.is_some_and(|db| db != walk.db) {
                continue;
            }
            let (number, bytes) = (walk.db, walk.key.clone());
            let k = key(&self.hasher, number, &bytes);
            if let Some(db) = self.dbs[usize::from(number)].as_deref_mut()
                && let Some(place) = db.find(&k)
            {
                self.walks.keep(number, db.at_mut(place));
            }
        }
    }
}
