//! One database of a shard (plain form).

use std::collections::BTreeMap;

use super::entry::Entry;
use super::value::{Key, Ms};

pub(super) type Place = (u16, u64, Box<[u8]>);

pub(super) fn pos(hash: u64) -> u64 {
    ((hash >> 26 & 0x3f_ffff) << 16) | hash >> 48
}

fn place(k: &Key<'_>) -> Place {
    (k.slot, pos(k.hash), k.bytes.into())
}

#[derive(Debug, Default)]
pub(super) struct Db {
    pub(super) map: BTreeMap<Place, Entry>,
    volatile: u64,
    bytes: usize,
}

impl Db {
    pub(super) fn len(&self) -> u64 {
        self.map.len() as u64
    }
    pub(super) fn volatile(&self) -> u64 {
        self.volatile
    }
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
    pub(super) fn find(&self, k: &Key<'_>) -> Option<&Entry> {
        self.map.get(&place(k))
    }
    pub(super) fn find_mut(&mut self, k: &Key<'_>) -> Option<&mut Entry> {
        self.map.get_mut(&place(k))
    }
    pub(super) fn update<R>(&mut self, k: &Key<'_>, f: impl FnOnce(&mut Entry) -> R) -> Option<R> {
        let e = self.map.get_mut(&place(k))?;
        let (vol, bytes) = (e.expire().is_some(), e.heap_bytes());
        let r = f(e);
        self.volatile = self.volatile + u64::from(e.expire().is_some()) - u64::from(vol);
        self.bytes = self.bytes + e.heap_bytes() - bytes;
        Some(r)
    }
    pub(super) fn insert(&mut self, k: &Key<'_>, e: Entry) {
        self.volatile += u64::from(e.expire().is_some());
        self.bytes += e.heap_bytes();
        let old = self.map.insert(place(k), e);
        debug_assert!(old.is_none());
    }
    pub(super) fn remove(&mut self, k: &Key<'_>) -> Option<Entry> {
        let e = self.map.remove(&place(k))?;
        self.volatile -= u64::from(e.expire().is_some());
        self.bytes -= e.heap_bytes();
        Some(e)
    }
    pub(super) fn average_ttl(&self, now: Ms) -> u64 {
        let ttls: Vec<u64> = self
            .map
            .values()
            .filter_map(|e| e.expire())
            .map(|at| at.saturating_sub(now))
            .take(100)
            .collect();
        ttls.iter().sum::<u64>() / ttls.len().max(1) as u64
    }
}
