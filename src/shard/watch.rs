//! Watched keys and their versions, for WATCH.
//!
//! Promise: the version of a watched key changes whenever the key does, by whatever way: command,
//! expiry, flush. A shard nobody watches pays one test for emptiness.

use std::collections::HashMap;

use super::shard::Shard;
use super::value::{Key, Ms};

/// The keys that some client watches, by database.
#[derive(Debug, Default)]
pub(super) struct Watches {
    dbs: HashMap<u16, HashMap<Box<[u8]>, Watched>>,
    clock: u64,
}

#[derive(Debug)]
struct Watched {
    version: u64,
    watchers: u32,
}

impl Watches {
    fn add(&mut self, db: u16, key: &[u8]) -> u64 {
        let fresh = Watched {
            version: self.clock,
            watchers: 0,
        };
        let watched = self
            .dbs
            .entry(db)
            .or_default()
            .entry(key.into())
            .or_insert(fresh);
        watched.watchers += 1;
        watched.version
    }

    fn remove(&mut self, db: u16, key: &[u8]) {
        let Some(keys) = self.dbs.get_mut(&db) else {
            return;
        };
        if let Some(watched) = keys.get_mut(key) {
            watched.watchers -= 1;
            if watched.watchers == 0 {
                keys.remove(key);
            }
        }
        if keys.is_empty() {
            self.dbs.remove(&db);
        }
    }

    /// The version now. A key that nobody watches has none to compare with: it gets a new one.
    fn version(&self, db: u16, key: &[u8]) -> u64 {
        let watched = self.dbs.get(&db).and_then(|keys| keys.get(key));
        watched.map_or(self.clock + 1, |watched| watched.version)
    }

    /// The key has changed.
    #[inline]
    pub(super) fn touch(&mut self, db: u16, key: &[u8]) {
        if !self.dbs.is_empty() {
            self.touch_watched(db, key);
        }
    }

    #[cold]
    fn touch_watched(&mut self, db: u16, key: &[u8]) {
        if let Some(watched) = self.dbs.get_mut(&db).and_then(|keys| keys.get_mut(key)) {
            self.clock += 1;
            watched.version = self.clock;
        }
    }

    /// The keys watched in a database, or in all.
    pub(super) fn of(&self, db: Option<u16>) -> Vec<(u16, Box<[u8]>)> {
        let wanted = self
            .dbs
            .iter()
            .filter(|(number, _)| db.is_none_or(|db| db == **number));
        wanted
            .flat_map(|(db, keys)| keys.keys().map(|key| (*db, key.clone())))
            .collect()
    }
}

impl Shard {
    /// Begins to watch a key; tells the version to compare with at EXEC. Every call is undone by
    /// one [`Shard::unwatch`].
    pub fn watch(&mut self, k: &Key<'_>, now: Ms) -> u64 {
        self.live(k, now);
        self.signals.watches.add(k.db, k.bytes)
    }

    /// Ends one watch of the key.
    pub fn unwatch(&mut self, k: &Key<'_>) {
        self.signals.watches.remove(k.db, k.bytes);
    }

    /// The version of a watched key. Equal to what [`Shard::watch`] told as long as nothing has
    /// changed the key; its expiry is a change.
    pub fn version(&mut self, k: &Key<'_>, now: Ms) -> u64 {
        self.live(k, now);
        self.signals.watches.version(k.db, k.bytes)
    }
}
