//! The shards at hand on one core.
//!
//! Promise: a command sees one keyspace, whichever shards its keys live on. Normally that is the
//! core's own shard; while a transaction spans shards their owners lend theirs, as boxes that move
//! from core to core, and get them back afterwards.

use super::{Hasher, Key, Shard};
use crate::slot;

/// The present shards, found by slot.
#[derive(Debug)]
pub struct Keyspace {
    map: slot::Map,
    hasher: Hasher,
    seed: u64,
    databases: u16,
    shards: Vec<Option<Box<Shard>>>,
    /// Whether the command that runs leaves access times as they are (CLIENT NO-TOUCH).
    pub quiet: bool,
    /// Whether it may answer in steps.
    pub may_walk: bool,
    /// The walk that the command began which ran, in this core's shard.
    pub walk: Option<u64>,
}

impl Keyspace {
    /// A keyspace with no shard present. `seed` is random for each process and the same on all of
    /// its cores; `databases` is how many numbers SELECT takes.
    pub fn new(map: slot::Map, seed: u64, databases: u16) -> Keyspace {
        let shards = (0..map.shards()).map(|_| None).collect();
        Keyspace {
            map,
            hasher: Hasher::new(seed),
            seed,
            databases,
            shards,
            quiet: false,
            may_walk: false,
            walk: None,
        }
    }

    /// An empty shard of this keyspace, not yet put anywhere.
    pub fn make_shard(&self, id: usize) -> Box<Shard> {
        Box::new(Shard::new(id, self.map, self.seed, self.databases))
    }

    /// How the slots are divided.
    pub fn map(&self) -> slot::Map {
        self.map
    }

    /// How many databases there are.
    pub fn databases(&self) -> u16 {
        self.databases
    }

    /// A key with its slot and hash.
    #[inline]
    pub fn key<'a>(&self, db: u16, bytes: &'a [u8]) -> Key<'a> {
        Key {
            db,
            slot: slot::slot_of(bytes),
            hash: self.hasher.hash(bytes),
            bytes,
        }
    }

    /// The shard that owns a slot, present or not.
    #[inline]
    pub fn owner(&self, slot: u16) -> usize {
        self.map.owner(slot)
    }

    /// Makes a shard present.
    pub fn put(&mut self, shard: Box<Shard>) {
        let seat = &mut self.shards[shard.id];
        debug_assert!(seat.is_none(), "shard {} is here twice", shard.id);
        *seat = Some(shard);
    }

    /// Takes a shard away, to lend it or to give it back.
    pub fn take(&mut self, id: usize) -> Option<Box<Shard>> {
        self.shards.get_mut(id)?.take()
    }

    /// Whether a shard is present.
    pub fn has(&self, id: usize) -> bool {
        self.shards.get(id).is_some_and(Option::is_some)
    }

    /// A present shard.
    ///
    /// # Panics
    /// When it is not present: commands run only where all their shards are.
    #[inline]
    pub fn shard(&mut self, id: usize) -> &mut Shard {
        match self.shards.get_mut(id) {
            Some(Some(shard)) => shard,
            _ => panic!("shard {id} is not on this core"),
        }
    }

    /// The present shard that owns a slot.
    ///
    /// # Panics
    /// When it is not present.
    #[inline]
    pub fn at(&mut self, slot: u16) -> &mut Shard {
        let (id, quiet) = (self.map.owner(slot), self.quiet);
        let shard = self.shard(id);
        shard.quiet = quiet;
        shard
    }

    /// The shard that owns a slot, if it is present, for looking only.
    pub(super) fn present_at(&self, slot: u16) -> Option<&Shard> {
        self.shards.get(self.map.owner(slot))?.as_deref()
    }

    /// All present shards, in order of id.
    pub fn present(&mut self) -> impl Iterator<Item = &mut Shard> {
        self.shards.iter_mut().flatten().map(|shard| &mut **shard)
    }

    /// First stage of a lookup to come: asks the memory for the slot's header. Each stage reads
    /// only what the one before it has fetched; between them other work, or other keys, should
    /// pass. A shard that is not present is passed over.
    #[inline]
    pub fn prefetch_slot(&self, key: &Key<'_>) {
        if let Some(Some(shard)) = self.shards.get(self.map.owner(key.slot)) {
            shard.prefetch_slot(key);
        }
    }

    /// Second stage: the bucket in the slot's table.
    #[inline]
    pub fn prefetch_bucket(&self, key: &Key<'_>) {
        if let Some(Some(shard)) = self.shards.get(self.map.owner(key.slot)) {
            shard.prefetch_bucket(key);
        }
    }

    /// Third stage: the entry.
    #[inline]
    pub fn prefetch_entry(&self, key: &Key<'_>) {
        if let Some(Some(shard)) = self.shards.get(self.map.owner(key.slot)) {
            shard.prefetch_entry(key);
        }
    }
}
