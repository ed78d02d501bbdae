//! Who waits for which key, in the order they came.
//!
//! Promise: for each key its waiters are met in the order in which they joined, and one that was passed over keeps its
//! place. Pure bookkeeping: what a waiter is, and what serving it means, is the caller's.
//!
//! A line can be *held*: one of its waiters was asked for an answer, and nobody behind it is met until that came.

use std::collections::{BTreeMap, HashMap};

/// A wait: the core of the client that waits, and that core's number for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WaitId {
    /// The client's core.
    pub core: usize,
    /// Unique on that core in a run, and never 0.
    pub number: u64,
}

/// A database and a key of it.
pub type Name = (u16, Box<[u8]>);

/// The lines of one shard, with what is known of each waiter.
pub struct Lines<W> {
    lines: HashMap<Name, Line>,
    waiters: HashMap<WaitId, Member<W>>,
    next: u64,
    due: Vec<(Name, u64)>,
}

#[derive(Default)]
struct Line {
    order: BTreeMap<u64, WaitId>,
    /// Members that want to hear of a key that is gone, too.
    curious: usize,
    held: Option<WaitId>,
    /// Whether the key has changed since the line is held.
    again: bool,
}

struct Member<W> {
    order: u64,
    names: Vec<Name>,
    curious: bool,
    what: W,
}

impl<W> Default for Lines<W> {
    fn default() -> Self {
        Lines {
            lines: HashMap::new(),
            waiters: HashMap::new(),
            next: 0,
            due: Vec::new(),
        }
    }
}

impl<W> Lines<W> {
    /// Puts a waiter at the end of its keys' lines. `curious`: it is met also when the key is gone. Names must differ.
    pub fn join(&mut self, id: WaitId, names: Vec<Name>, curious: bool, what: W) {
        self.next += 1;
        let order = self.next;
        for name in &names {
            let line = self.lines.entry(name.clone()).or_default();
            line.order.insert(order, id);
            line.curious += usize::from(curious);
        }
        let member = Member {
            order,
            names,
            curious,
            what,
        };
        self.waiters.insert(id, member);
    }

    /// Takes a waiter out of all its lines; those that it held are due.
    pub fn leave(&mut self, id: WaitId) -> Option<(Vec<Name>, W)> {
        self.release(id);
        let member = self.waiters.remove(&id)?;
        for name in &member.names {
            if let Some(line) = self.lines.get_mut(name) {
                line.order.remove(&member.order);
                line.curious -= usize::from(member.curious);
                if line.order.is_empty() {
                    self.lines.remove(name);
                }
            }
        }
        Some((member.names, member.what))
    }

    /// What is known of a waiter.
    pub fn get(&mut self, id: WaitId) -> Option<&mut W> {
        self.waiters.get_mut(&id).map(|member| &mut member.what)
    }

    /// The first waiter of a line whose place is `from` or behind, and the place behind it; nobody while the line is
    /// held. `there` says whether the key exists.
    pub fn next(&mut self, name: &Name, from: u64, there: bool) -> Option<(WaitId, u64)> {
        let line = self.lines.get_mut(name)?;
        if line.held.is_some() {
            line.again |= from == 0;
            return None;
        }
        if !there && line.curious == 0 {
            return None;
        }
        let (order, id) = line.order.range(from..).next()?;
        Some((*id, order + 1))
    }

    /// Holds a line until the waiter has answered.
    pub fn hold(&mut self, name: &Name, id: WaitId) {
        if let Some(line) = self.lines.get_mut(name) {
            line.held = Some(id);
            line.again = false;
        }
    }

    /// The waiter has answered: every line that it held is due, from the start if the key has changed meanwhile, else
    /// from behind it.
    pub fn release(&mut self, id: WaitId) {
        let Some(member) = self.waiters.get(&id) else {
            return;
        };
        for name in &member.names {
            if let Some(line) = self.lines.get_mut(name)
                && line.held == Some(id)
            {
                line.held = None;
                let from = if line.again { 0 } else { member.order + 1 };
                self.due.push((name.clone(), from));
            }
        }
    }

    /// The lines to go through, and from which place on.
    pub fn take_due(&mut self) -> Vec<(Name, u64)> {
        std::mem::take(&mut self.due)
    }

    /// Whether there are any.
    pub fn has_due(&self) -> bool {
        !self.due.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> WaitId {
        WaitId { core: 0, number }
    }

    fn name(key: &str) -> Name {
        (0, key.as_bytes().into())
    }

    /// All whom a walk through a line meets.
    fn walk(lines: &mut Lines<&'static str>, key: &str, mut from: u64) -> Vec<u64> {
        let mut met = Vec::new();
        while let Some((id, next)) = lines.next(&name(key), from, true) {
            met.push(id.number);
            from = next;
        }
        met
    }

    #[test]
    fn waiters_are_met_in_the_order_they_came() {
        let mut lines = Lines::default();
        lines.join(id(5), vec![name("a"), name("b")], false, "first");
        lines.join(id(3), vec![name("b")], false, "second");
        lines.join(id(4), vec![name("b"), name("a")], true, "third");
        assert_eq!(walk(&mut lines, "a", 0), [5, 4]);
        assert_eq!(walk(&mut lines, "b", 0), [5, 3, 4]);
        assert_eq!(walk(&mut lines, "c", 0), [0u64; 0]);
        let (names, what) = lines.leave(id(3)).unwrap();
        assert_eq!((names, what), (vec![name("b")], "second"));
        assert_eq!(walk(&mut lines, "b", 0), [5, 4]);
        assert!(lines.next(&name("a"), 0, false).is_some(), "one is curious");
        lines.leave(id(4));
        assert!(lines.next(&name("a"), 0, false).is_none());
        lines.leave(id(5));
        assert!(lines.lines.is_empty() && lines.waiters.is_empty() && lines.leave(id(5)).is_none());
    }

    #[test]
    fn nobody_is_met_behind_one_that_was_asked() {
        let mut lines = Lines::default();
        for n in 1..=3 {
            lines.join(id(n), vec![name("a")], false, "");
        }
        let (first, behind) = lines.next(&name("a"), 0, true).unwrap();
        lines.hold(&name("a"), first);
        assert!(lines.next(&name("a"), behind, true).is_none());
        // It answers that it waits on, and nothing has happened since: those behind it are next.
        lines.release(first);
        let due = lines.take_due();
        assert_eq!(due.len(), 1);
        assert_eq!(walk(&mut lines, "a", due[0].1), [2, 3]);
        // The key changes while one is asked: all are met again.
        lines.hold(&name("a"), first);
        assert!(lines.next(&name("a"), 0, true).is_none());
        lines.release(first);
        let due = lines.take_due();
        assert_eq!(walk(&mut lines, "a", due[0].1), [1, 2, 3]);
        // It leaves instead of answering.
        lines.hold(&name("a"), first);
        lines.leave(first);
        let due = lines.take_due();
        assert_eq!(walk(&mut lines, "a", due[0].1), [2, 3]);
        assert!(!lines.has_due());
    }
}
