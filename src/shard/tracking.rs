//! Keys that clients keep copies of, for CLIENT TRACKING.
//!
//! Promise: once a read was remembered for a client, the next change of the key by whatever way (command, expiry,
//! flush, eviction) tells of that client, once; its next read is remembered anew. A shard that nobody reads so pays one
//! test a change. The table is bounded: a key more than it may hold drives the oldest one out, which is told as if it
//! had changed. Names are kept without their database, as Redis keeps them: a change in one database may cost a copy
//! from another.
//!
//! Clients are known by their numbers, which are never used again: those that are gone stay in the table until the
//! key changes, and are passed over then.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::shard::Shard;
use super::value::Key;

/// A key that has changed, and the clients that had read it.
pub type Invalid = (Arc<[u8]>, Vec<u64>);

/// The table, and what gathers for the worker to take.
#[derive(Debug, Default)]
pub(super) struct Tracking {
    /// Whether a change has to be looked at: the table is not empty, or all changes are wanted.
    wanted: bool,
    /// Whether all changes are wanted (BCAST).
    broadcast: bool,
    keys: HashMap<Arc<[u8]>, Vec<u64>>,
    /// The keys by the time they came in; some are gone from the table.
    order: VecDeque<Arc<[u8]>>,
    invalid: Vec<Invalid>,
    changed: Vec<Box<[u8]>>,
    flushed: bool,
}

impl Tracking {
    /// The key has changed.
    #[inline]
    pub(super) fn touch(&mut self, key: &[u8]) {
        if self.wanted {
            self.changed(key);
        }
    }

    #[cold]
    fn changed(&mut self, key: &[u8]) {
        if let Some(entry) = self.keys.remove_entry(key) {
            self.invalid.push(entry);
        }
        if self.broadcast {
            self.changed.push(key.into());
        }
        self.wanted = self.broadcast || !self.keys.is_empty();
    }

    /// Every key of a database, or of all, is gone. All copies are told to go, as in Redis.
    pub(super) fn flush(&mut self) {
        self.keys.clear();
        self.order.clear();
        self.wanted = self.broadcast;
        self.flushed = true;
    }

    fn remember(&mut self, key: &[u8], client: u64, most: usize) {
        match self.keys.get_mut(key) {
            Some(clients) => {
                if !clients.contains(&client) {
                    clients.push(client);
                }
            }
            None => {
                let key: Arc<[u8]> = key.into();
                self.order.push_back(key.clone());
                self.keys.insert(key, vec![client]);
                self.wanted = true;
            }
        }
        while self.keys.len() > most {
            let Some(oldest) = self.order.pop_front() else {
                break;
            };
            if let Some(entry) = self.keys.remove_entry(&oldest) {
                self.invalid.push(entry);
            }
        }
        // Names of keys that are gone make up at most half of the list.
        if self.order.len() > 2 * self.keys.len() + 1024 {
            let keys = &self.keys;
            self.order.retain(|key| {
                keys.get_key_value(key)
                    .is_some_and(|(known, _)| Arc::ptr_eq(known, key))
            });
        }
    }

    pub(super) fn has_any(&self) -> bool {
        !self.invalid.is_empty() || !self.changed.is_empty() || self.flushed
    }
}

/// What has changed that clients keep copies of.
#[derive(Debug, Default)]
pub struct Changes {
    /// Keys that were read, and by whom.
    pub invalid: Vec<Invalid>,
    /// All keys that have changed, if that is wanted.
    pub changed: Vec<Box<[u8]>>,
    /// Whether a database was emptied.
    pub flushed: bool,
}

impl Shard {
    /// Remembers that a client has read a key, whether or not it is there. The table holds at most `most` keys.
    pub fn remember(&mut self, k: &Key<'_>, client: u64, most: usize) {
        self.signals.tracking.remember(k.bytes, client, most);
    }

    /// Says whether any client keeps copies, and whether one wants to hear of all changes.
    #[inline]
    pub fn set_tracked(&mut self, any: bool, broadcast: bool) {
        let tracking = &mut self.signals.tracking;
        if tracking.broadcast != broadcast {
            tracking.broadcast = broadcast;
            tracking.wanted = broadcast || !tracking.keys.is_empty();
        }
        if !any && (tracking.wanted || tracking.has_any()) {
            *tracking = Tracking::default();
        }
    }

    /// What has changed since the last call.
    pub fn take_changes(&mut self) -> Changes {
        let tracking = &mut self.signals.tracking;
        Changes {
            invalid: std::mem::take(&mut tracking.invalid),
            changed: std::mem::take(&mut tracking.changed),
            flushed: std::mem::take(&mut tracking.flushed),
        }
    }

    /// Keys in the table, and how many reads of them are remembered.
    pub fn tracked(&self) -> (u64, u64) {
        let keys = &self.signals.tracking.keys;
        let reads: usize = keys.values().map(Vec::len).sum();
        (keys.len() as u64, reads as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(changes: &[Invalid]) -> Vec<(&[u8], &[u64])> {
        changes.iter().map(|(k, c)| (&**k, c.as_slice())).collect()
    }

    #[test]
    fn a_change_tells_each_reader_once() {
        let mut t = Tracking::default();
        t.remember(b"a", 1, 10);
        t.remember(b"a", 2, 10);
        t.remember(b"a", 1, 10);
        t.touch(b"b");
        t.touch(b"a");
        t.touch(b"a");
        assert_eq!(names(&t.invalid), [(&b"a"[..], &[1, 2][..])]);
        assert!(!t.wanted && t.changed.is_empty());
    }

    #[test]
    fn the_oldest_key_makes_room() {
        let mut t = Tracking::default();
        t.remember(b"a", 1, 2);
        t.remember(b"b", 1, 2);
        t.touch(b"a");
        t.invalid.clear();
        t.remember(b"a", 1, 2);
        t.remember(b"c", 1, 2);
        // "a" was the first to come in once, and is taken for that: it costs a copy and no more.
        assert_eq!(names(&t.invalid), [(&b"a"[..], &[1][..])]);
        assert_eq!(t.keys.len(), 2);
    }

    #[test]
    fn keys_that_come_and_go_do_not_fill_the_list() {
        let mut t = Tracking::default();
        for i in 0..100_000u32 {
            t.remember(&i.to_le_bytes(), 1, 1 << 20);
            t.touch(&i.to_le_bytes());
            t.invalid.clear();
        }
        assert!(t.order.len() <= 1025, "{}", t.order.len());
    }

    #[test]
    fn broadcast_tells_of_every_key() {
        let mut t = Tracking {
            broadcast: true,
            wanted: true,
            ..Tracking::default()
        };
        t.touch(b"a");
        t.touch(b"a");
        assert_eq!(t.changed.len(), 2);
        t.flush();
        assert!(t.wanted && t.flushed);
    }
}
