//! The form of a large sorted set: members with their scores, an index by member, and an order by score and member.
//!
//! Promise: the three always speak of the same members; each member's bytes are kept once.

use super::Put;
use super::index::Index;
use super::members::Members;
use super::order::Order;

/// A member costs about 60 bytes if it has at most 22 of its own: 32 in `members`, some 17 in `order`, 8 in `index`.
#[derive(Clone, Debug)]
pub(super) struct Large {
    members: Members,
    index: Index,
    order: Order,
}

impl Large {
    pub(super) fn new() -> Large {
        Large {
            members: Members::default(),
            index: Index::new(),
            order: Order::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    pub(super) fn score(&self, member: &[u8]) -> Option<f64> {
        let id = self.index.find(member, &self.members)?;
        Some(self.members.score(id))
    }

    /// How many entries come before, as scores and members tell.
    pub(super) fn position(&self, before: impl Fn(f64, &[u8]) -> bool) -> usize {
        self.order
            .position(|score, id| before(score, self.members.bytes(id)))
    }

    pub(super) fn order(&self) -> &Order {
        &self.order
    }

    /// The member and score under a number below `len`, in no order.
    pub(super) fn numbered(&self, id: u32) -> (&[u8], f64) {
        (self.members.bytes(id), self.members.score(id))
    }

    pub(super) fn put(&mut self, member: &[u8], score: f64) -> Put {
        if let Some(id) = self.index.find(member, &self.members) {
            let old = self.members.score(id);
            if old == score {
                return Put::Same;
            }
            let in_place = self.order.rescore((old, id), score, &self.members);
            if !in_place {
                self.order.remove((old, id), &self.members);
                self.order.insert((score, id), &self.members);
            }
            self.members.set_score(id, score);
            return Put::Updated;
        }
        if self.len() >= u32::MAX as usize {
            // Redis's own limit on members; their numbers go no further.
            return Put::Same;
        }
        let id = self.members.push(member, score);
        self.index.insert(id, &self.members);
        self.order.insert((score, id), &self.members);
        Put::Added
    }

    pub(super) fn remove(&mut self, member: &[u8]) -> bool {
        let found = self.index.find(member, &self.members);
        found.map(|id| self.forget(id)).is_some()
    }

    /// Removes `count` entries from a rank on; they are there.
    pub(super) fn cut(&mut self, rank: usize, count: usize) {
        for _ in 0..count {
            let (leaf, places) = self.order.leaf_at(rank);
            let (_, id) = leaf.get(places.start);
            self.forget(id);
        }
    }

    /// The set without the entries of ranks `from..to`. Its members are numbered in the order of their numbers here, so
    /// that none gets a larger one, which whoever goes downwards through the numbers relies on.
    pub(super) fn without(&self, from: usize, to: usize) -> Large {
        let mut ids: Vec<u32> = Vec::with_capacity(self.len() - (to - from));
        for mut ranks in [0..from, to..self.len()] {
            while !ranks.is_empty() {
                let (leaf, places) = self.order.leaf_at(ranks.start);
                let here = places.len().min(ranks.len());
                ids.extend(places.take(here).map(|at| leaf.get(at).1));
                ranks.start += here.max(1);
            }
        }
        ids.sort_unstable();
        let mut rest = Large::new();
        for id in ids {
            rest.put(self.members.bytes(id), self.members.score(id));
        }
        rest
    }

    fn forget(&mut self, id: u32) {
        let members = &self.members;
        self.order.remove((members.score(id), id), members);
        self.index.remove(id, members);
        let last = members.len() as u32 - 1;
        if id != last {
            self.order
                .renumber((members.score(last), last), id, members);
            self.index.renumber(last, id, members);
        }
        self.members.swap_remove(id);
    }

    pub(super) fn heap_bytes(&self) -> usize {
        size_of::<Large>()
            + self.members.heap_bytes()
            + self.index.heap_bytes()
            + self.order.heap_bytes()
    }

    /// Frees about `budget` members of one that nobody asks any more; tells whether there are more.
    pub(super) fn crumble(&mut self, budget: usize) -> bool {
        let mut freed = 0;
        while freed < budget {
            // Any two of the three may be freed already: whichever is left counts.
            let (records, numbers, entries) = (
                self.members.crumble(),
                self.index.crumble(),
                self.order.crumble(),
            );
            match records.max(numbers).max(entries) {
                0 => return false,
                some => freed += some,
            }
        }
        true
    }
}

#[cfg(test)]
impl Large {
    pub(super) fn verify(&self) {
        assert_eq!(self.order.verify(&self.members), self.len());
        for id in 0..self.len() as u32 {
            let found = self.index.find(self.members.bytes(id), &self.members);
            assert_eq!(found, Some(id));
        }
    }
}
