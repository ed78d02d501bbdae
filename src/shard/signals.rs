//! Who is told when a key changes.
//!
//! Promise: every change of a key, by whatever way (command, expiry, flush, eviction), passes [`Signals::touch`] in the
//! call that makes it; so nobody who waits for a change can miss it. A shard in which nobody waits pays one test for
//! each kind of listener.

use std::collections::HashMap;

use super::tracking::Tracking;
use super::value::Key;
use super::watch::Watches;
use super::{Shard, notice};

/// All that listens.
#[derive(Debug, Default)]
pub(super) struct Signals {
    /// WATCH.
    pub(super) watches: Watches,
    /// Clients that wait for elements (BLPOP and its like).
    waiters: Waiters,
    /// Keyspace events.
    pub(super) notices: notice::Notices,
    /// CLIENT TRACKING.
    pub(super) tracking: Tracking,
}

/// The keys that blocked clients wait for, and those of them that have changed since.
#[derive(Debug, Default)]
struct Waiters {
    keys: HashMap<(u16, Box<[u8]>), u32>,
    ready: Vec<(u16, Box<[u8]>)>,
}

impl Signals {
    /// The key has changed.
    #[inline]
    pub(super) fn touch(&mut self, db: u16, key: &[u8]) {
        self.watches.touch(db, key);
        self.tracking.touch(key);
        if !self.waiters.keys.is_empty() {
            self.waiters.touch(db, key);
        }
    }

    /// The waited-for keys of a database, or of all.
    pub(super) fn waited(&self, db: Option<u16>) -> Vec<(u16, Box<[u8]>)> {
        let here = |key: &&(u16, Box<[u8]>)| db.is_none_or(|db| db == key.0);
        self.waiters.keys.keys().filter(here).cloned().collect()
    }

    /// Clients that wait for the key are to look at it again.
    pub(super) fn wake(&mut self, db: u16, key: &[u8]) {
        self.waiters.touch(db, key);
    }

    /// The key was removed because its time had come.
    #[inline]
    pub(super) fn expired(&mut self, db: u16, key: &[u8]) {
        self.touch(db, key);
        self.notices.note(notice::EXPIRED, "expired", db, key);
    }
}

impl Waiters {
    #[cold]
    fn touch(&mut self, db: u16, key: &[u8]) {
        let waited = (db, key.into());
        if self.keys.contains_key(&waited) && !self.ready.contains(&waited) {
            self.ready.push(waited);
        }
    }
}

impl Shard {
    /// A client waits for the key: its changes are told by [`Shard::take_ready`]. Undone by one
    /// [`Shard::stop_waiting`].
    pub fn wait_for(&mut self, k: &Key<'_>) {
        let key = (k.db, k.bytes.into());
        *self.signals.waiters.keys.entry(key).or_default() += 1;
    }

    /// A client waits no more.
    pub fn stop_waiting(&mut self, k: &Key<'_>) {
        let key = (k.db, Box::from(k.bytes));
        if let Some(count) = self.signals.waiters.keys.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                self.signals.waiters.keys.remove(&key);
            }
        }
    }

    /// Whether keys have changed that clients wait for.
    #[inline]
    pub fn has_ready(&self) -> bool {
        !self.signals.waiters.ready.is_empty()
    }

    /// The waited-for keys that have changed since the last call, in the order of their first change.
    pub fn take_ready(&mut self) -> Vec<(u16, Box<[u8]>)> {
        std::mem::take(&mut self.signals.waiters.ready)
    }

    /// Notes a keyspace event, if its class is listened to.
    #[inline]
    pub fn note(&mut self, class: u32, event: &'static str, k: &Key<'_>) {
        self.signals.notices.note(class, event, k.db, k.bytes);
    }

    /// Which classes of keyspace events are listened to: a union of bits of [`notice`].
    pub fn set_noticed(&mut self, classes: u32) {
        self.signals.notices.classes = classes;
    }

    /// Whether anybody listens to events of this class.
    #[inline]
    pub fn notices(&self, class: u32) -> bool {
        self.signals.notices.classes & class != 0
    }

    /// The keyspace events since the last call, each with its place among those of all shards at hand.
    pub fn take_notices(&mut self) -> Vec<(u64, notice::Notice)> {
        std::mem::take(&mut self.signals.notices.list)
    }

    /// Whether there are any, or changes for [`Shard::take_changes`].
    #[inline]
    pub fn has_news(&self) -> bool {
        !self.signals.notices.list.is_empty() || self.signals.tracking.has_any()
    }
}
