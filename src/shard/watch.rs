//! Watched keys and their versions, for WATCH.
//!
//! Promise: the version of a watched key changes whenever the key does, by whatever way: command,
//! expiry, flush. A shard nobody watches pays one test for emptiness.

use std::collections::HashMap;

use super::shard::Shard;
use super::value::{Key, Ms};

/// The keys that some client watches.
#[derive(Debug, Default)]
pub(super) struct Watches {
    keys: HashMap<(u16, Box<[u8]>), Watched>,
    clock: u64,
}

#[derive(Debug)]
struct Watched {
    version: u64,
    watchers: u32,
}

impl Watches {
    /// One more watcher of a key; tells the version to compare with later.
    pub(super) fn add(&mut self, db: u16, key: &[u8]) -> u64 {
        let clock = self.clock;
        let watched = self.keys.entry((db, key.into())).or_insert(Watched {
            version: clock,
            watchers: 0,
        });
        watched.watchers += 1;
        watched.version
    }

    /// One watcher fewer.
    pub(super) fn remove(&mut self, db: u16, key: &[u8]) {
        let id = (db, key.into());
        if let Some(watched) = self.keys.get_mut(&id) {
            watched.watchers -= 1;
            if watched.watchers == 0 {
                self.keys.remove(&id);
            }
        }
    }

    /// The version now. A key that nobody watches has none to compare with: it gets a new one.
    pub(super) fn version(&self, db: u16, key: &[u8]) -> u64 {
        self.keys
            .get(&(db, key.into()))
            .map_or(self.clock + 1, |watched| watched.version)
    }

    /// The key has changed.
    #[inline]
    pub(super) fn touch(&mut self, db: u16, key: &[u8]) {
        if !self.keys.is_empty() {
            self.touch_watched(db, key);
        }
    }

    #[cold]
    fn touch_watched(&mut self, db: u16, key: &[u8]) {
        if let Some(watched) = self.keys.get_mut(&(db, key.into())) {
            self.clock += 1;
            watched.version = self.clock;
        }
    }

    /// The keys watched in a database, or in all.
    pub(super) fn of(&self, db: Option<u16>) -> Vec<(u16, Box<[u8]>)> {
        let wanted = |id: &&(u16, Box<[u8]>)| db.is_none_or(|db| id.0 == db);
        self.keys.keys().filter(wanted).cloned().collect()
    }
}

impl Shard {
    /// Begins to watch a key; tells the version to compare with at EXEC. Every call is undone by one
    /// [`Shard::unwatch`].
    pub fn watch(&mut self, k: &Key<'_>, now: Ms) -> u64 {
        self.live(k, now);
        self.watches.add(k.db, k.bytes)
    }

    /// Ends one watch of the key.
    pub fn unwatch(&mut self, k: &Key<'_>) {
        self.watches.remove(k.db, k.bytes);
    }

    /// The version of a watched key. Equal to what [`Shard::watch`] told as long as nothing has
    /// changed the key; its expiry is a change.
    pub fn version(&mut self, k: &Key<'_>, now: Ms) -> u64 {
        self.live(k, now);
        self.watches.version(k.db, k.bytes)
    }
}
