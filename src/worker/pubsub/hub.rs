//! Who of a core's clients listens to what.
//!
//! Promise: what a client listens to stands here under each name, and with the client under each topic; both sides
//! change in the same call, and a client that leaves is gone from both. Names are kept once for each core, however
//! many listen.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::rc::Rc;

use crate::command::{Topic, glob_matches};

/// A name, and the clients (by index) that listen to it.
type Table = HashMap<Rc<[u8]>, BTreeSet<u32>>;

/// All that this core's clients listen to.
#[derive(Default)]
pub struct Hub {
    tables: [Table; 3],
    /// Subscriptions of all clients.
    count: u64,
}

/// What one client listens to.
#[derive(Default)]
pub struct Subscriptions {
    names: [HashSet<Rc<[u8]>>; 3],
}

fn at(topic: Topic) -> usize {
    match topic {
        Topic::Channel => 0,
        Topic::Pattern => 1,
        Topic::Shard => 2,
    }
}

impl Subscriptions {
    /// How many names of a topic.
    pub fn of(&self, topic: Topic) -> usize {
        self.names[at(topic)].len()
    }

    /// The number that a confirmation tells: channels and patterns are counted together.
    pub fn told(&self, topic: Topic) -> usize {
        match topic {
            Topic::Shard => self.of(Topic::Shard),
            Topic::Channel | Topic::Pattern => self.of(Topic::Channel) + self.of(Topic::Pattern),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.names.iter().all(HashSet::is_empty)
    }

    /// The names of a topic.
    pub fn names(&self, topic: Topic) -> Vec<Rc<[u8]>> {
        self.names[at(topic)].iter().cloned().collect()
    }

    /// Bytes of memory, names included.
    pub fn bytes(&self) -> usize {
        let names = self.names.iter().flatten();
        names.map(|name| name.len() + 64).sum()
    }
}

impl Hub {
    /// A client listens to a name from now on.
    pub fn subscribe(&mut self, index: u32, subs: &mut Subscriptions, topic: Topic, name: &[u8]) {
        let table = &mut self.tables[at(topic)];
        let name = match table.get_key_value(name) {
            Some((known, _)) => known.clone(),
            None => name.into(),
        };
        if subs.names[at(topic)].insert(name.clone()) {
            table.entry(name).or_default().insert(index);
            self.count += 1;
        }
    }

    /// A client listens to a name no more.
    pub fn unsubscribe(&mut self, index: u32, subs: &mut Subscriptions, topic: Topic, name: &[u8]) {
        if !subs.names[at(topic)].remove(name) {
            return;
        }
        self.count -= 1;
        let table = &mut self.tables[at(topic)];
        if let Some(listeners) = table.get_mut(name) {
            listeners.remove(&index);
            if listeners.is_empty() {
                table.remove(name);
            }
        }
    }

    /// A client listens to nothing any more.
    pub fn leave(&mut self, index: u32, mut subs: Subscriptions) {
        for topic in [Topic::Channel, Topic::Pattern, Topic::Shard] {
            for name in subs.names(topic) {
                self.unsubscribe(index, &mut subs, topic, &name);
            }
        }
    }

    /// Whether nobody listens to anything.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Subscriptions of all clients.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Who listens to a channel by its name.
    pub fn listeners(&self, topic: Topic, name: &[u8]) -> Option<&BTreeSet<u32>> {
        self.tables[at(topic)].get(name)
    }

    /// The patterns that a channel's name matches, each with who listens to it.
    pub fn matching<'h>(
        &'h self,
        channel: &'h [u8],
    ) -> impl Iterator<Item = (&'h [u8], &'h BTreeSet<u32>)> {
        self.tables[at(Topic::Pattern)]
            .iter()
            .filter(|(pattern, _)| glob_matches(pattern, channel, false))
            .map(|(pattern, listeners)| (&**pattern, listeners))
    }

    /// The names of a topic that match a pattern.
    pub fn names(&self, topic: Topic, pattern: Option<&[u8]>) -> Vec<Vec<u8>> {
        self.tables[at(topic)]
            .keys()
            .filter(|name| pattern.is_none_or(|pattern| glob_matches(pattern, name, false)))
            .map(|name| name.to_vec())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_agree_and_a_client_that_leaves_is_gone() {
        let mut hub = Hub::default();
        let (mut one, mut two) = (Subscriptions::default(), Subscriptions::default());
        hub.subscribe(1, &mut one, Topic::Channel, b"news");
        hub.subscribe(1, &mut one, Topic::Channel, b"news");
        hub.subscribe(1, &mut one, Topic::Pattern, b"n*");
        hub.subscribe(1, &mut one, Topic::Shard, b"news");
        hub.subscribe(2, &mut two, Topic::Channel, b"news");
        assert_eq!((hub.count(), one.told(Topic::Pattern)), (4, 2));
        assert_eq!(one.told(Topic::Shard), 1);
        let listeners = hub.listeners(Topic::Channel, b"news").unwrap();
        assert_eq!(listeners.iter().copied().collect::<Vec<_>>(), [1, 2]);
        assert_eq!(hub.matching(b"news").count(), 1);
        assert_eq!(hub.matching(b"olds").count(), 0);
        hub.unsubscribe(1, &mut one, Topic::Channel, b"never");
        hub.unsubscribe(1, &mut one, Topic::Channel, b"news");
        assert_eq!(hub.names(Topic::Channel, Some(b"n?ws")), [b"news"]);
        hub.leave(2, two);
        assert!(hub.listeners(Topic::Channel, b"news").is_none());
        hub.leave(1, one);
        assert!(hub.is_empty() && hub.tables.iter().all(HashMap::is_empty));
    }
}
