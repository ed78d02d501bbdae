//! The members of a large sorted set in order: a B+ tree of arrays that also counts.
//!
//! Promise: finding the place of a score and member, the entry at a rank, and the rank of an entry take logarithmic
//! time, and so does any change; nothing moves more than one node's entries.
//!
//! # Shape
//! A leaf (`node`) holds up to [`LEAF`] scores and member numbers, each kind in an array. An inner node holds, for each child, how
//! many entries are below it and the first of them. The first child's is never looked at in a search and may be out of
//! date; every other is exact, so that a member's number stands in no node after the member is gone.
//!
//! Entries are ordered by score, then by the member's bytes, which [`Members`] keeps; `-0` and `0` are the same score.
//!
//! Rejected: a skip list (a pointer or two and an allocation a member, and a cache miss a step); links between leaves (a
//! walk finds the next leaf from the root, once in some forty entries).

use std::ops::Range;

use super::members::Members;
use super::node::{Before, Entry, FAN, First, Inner, Kid, LEAF, Leaf, Node, Sizes};

/// The tree.
#[derive(Clone, Debug)]
pub(super) struct Order {
    root: Node,
    sizes: Sizes,
}

/// What a node under change tells of its edges: whether nothing lies left or right of it in the whole tree. There,
/// ascending and descending insertions split off one entry instead of half, and leave full nodes behind.
#[derive(Clone, Copy)]
struct Edge {
    left: bool,
    right: bool,
}

impl Order {
    pub(super) fn new() -> Order {
        Order {
            root: Node::Leaf(Leaf::new()),
            sizes: Sizes {
                leaves: 1,
                inners: 0,
            },
        }
    }

    /// How many entries come before; those that do come first in the order.
    pub(super) fn position(&self, before: impl Before) -> usize {
        let (mut node, mut rank) = (&self.root, 0);
        loop {
            match node {
                Node::Leaf(leaf) => return rank + leaf.position(&before),
                Node::Inner(inner) => {
                    let at = inner.child(&before);
                    let passed = inner.kids[..at].iter().map(|kid| kid.count as usize);
                    rank += passed.sum::<usize>();
                    node = &inner.kids[at].node;
                }
            }
        }
    }

    /// The leaf with the entry at `rank`, which exists, that entry's place in it, and the entries of the leaf.
    pub(super) fn leaf_at(&self, mut rank: usize) -> (&Leaf, Range<usize>) {
        let mut node = &self.root;
        loop {
            match node {
                Node::Leaf(leaf) => return (leaf, rank..leaf.len()),
                Node::Inner(inner) => {
                    let (at, below) = inner.child_at(rank);
                    (node, rank) = (&inner.kids[at].node, below);
                }
            }
        }
    }

    /// Adds an entry that is not there yet.
    pub(super) fn insert(&mut self, entry: Entry, members: &Members) {
        let member = members.bytes(entry.1);
        let place = |score, id| is_before((score, id), entry.0, member, members);
        let edge = Edge {
            left: true,
            right: true,
        };
        let Some(right) = insert(&mut self.root, entry, &place, edge, &mut self.sizes) else {
            return;
        };
        let mut root = Inner::new();
        let left = std::mem::replace(&mut self.root, Node::Leaf(Leaf::new()));
        root.kids.push(Kid::new(right.first(), left));
        root.kids.push(right);
        self.sizes.inners += 1;
        self.root = Node::Inner(root);
    }

    /// Removes an entry.
    pub(super) fn remove(&mut self, entry: Entry, members: &Members) {
        let member = members.bytes(entry.1);
        let place = |score, id| is_upto((score, id), entry.0, member, members);
        remove(&mut self.root, &place, &mut self.sizes);
        while let Node::Inner(root) = &mut self.root
            && root.kids.len() <= 1
        {
            self.sizes.inners -= 1;
            self.root = match root.kids.pop() {
                Some(only) => only.node,
                None => {
                    self.sizes.leaves += 1;
                    Node::Leaf(Leaf::new())
                }
            };
        }
    }

    /// Gives an entry another score where its place stays the same; tells whether that was so.
    pub(super) fn rescore(&mut self, entry: Entry, score: f64, members: &Members) -> bool {
        let member = members.bytes(entry.1);
        let place = |score, id| is_upto((score, id), entry.0, member, members);
        let mut node = &mut self.root;
        loop {
            match node {
                Node::Inner(inner) => {
                    let at = inner.child(&place);
                    node = &mut inner.kids[at].node;
                }
                Node::Leaf(leaf) => {
                    let at = leaf.last(&place);
                    // The first of a leaf may stand in inner nodes, and what follows the last is not at hand.
                    if at == 0 || at + 1 >= leaf.len() {
                        return false;
                    }
                    let next = leaf.get(at + 1);
                    let fits = is_before(leaf.get(at - 1), score, member, members)
                        && is_before((score, entry.1), next.0, members.bytes(next.1), members);
                    if fits {
                        leaf.scores[at] = score;
                    }
                    return fits;
                }
            }
        }
    }

    /// The member of an entry has the number `to` from now on; its bytes still stand under the old one.
    pub(super) fn renumber(&mut self, entry: Entry, to: u32, members: &Members) {
        let member = members.bytes(entry.1);
        let place = |score, id| is_upto((score, id), entry.0, member, members);
        renumber(&mut self.root, &place, to);
    }

    pub(super) fn heap_bytes(&self) -> usize {
        let inner = size_of::<Inner>() + (FAN + 1) * size_of::<Kid>();
        self.sizes.leaves * size_of::<Leaf>() + self.sizes.inners * inner
    }

    /// Frees the last leaf of a tree that nobody asks any more; tells how many entries it held.
    pub(super) fn crumble(&mut self) -> usize {
        fn last(node: &mut Node) -> (usize, bool) {
            match node {
                Node::Leaf(leaf) => (std::mem::take(&mut leaf.len).into(), true),
                Node::Inner(inner) => {
                    let Some(kid) = inner.kids.last_mut() else {
                        return (0, true);
                    };
                    let (freed, empty) = last(&mut kid.node);
                    if empty {
                        inner.kids.pop();
                    }
                    (freed, inner.kids.is_empty())
                }
            }
        }
        last(&mut self.root).0
    }
}

/// Whether an entry comes before a score and member.
#[inline]
fn is_before(entry: Entry, score: f64, member: &[u8], members: &Members) -> bool {
    entry.0 < score || (entry.0 == score && members.bytes(entry.1) < member)
}

/// Whether an entry comes before a score and member, or is that entry: the way to one that is there.
#[inline]
fn is_upto(entry: Entry, score: f64, member: &[u8], members: &Members) -> bool {
    entry.0 < score || (entry.0 == score && members.bytes(entry.1) <= member)
}

/// Adds an entry below a node; if that had to be split, returns its right half.
fn insert(
    node: &mut Node,
    entry: Entry,
    place: &impl Before,
    edge: Edge,
    sizes: &mut Sizes,
) -> Option<Kid> {
    match node {
        Node::Leaf(leaf) => {
            let at = leaf.position(place);
            if leaf.len() < LEAF {
                leaf.insert(at, entry);
                return None;
            }
            let middle = match at {
                LEAF if edge.right => LEAF,
                0 if edge.left => 0,
                _ => LEAF / 2,
            };
            let mut right = leaf.split_off(middle);
            if at > middle || middle == LEAF {
                right.insert(at - middle, entry);
            } else {
                leaf.insert(at, entry);
            }
            sizes.leaves += 1;
            Some(Kid::new(right.get(0), Node::Leaf(right)))
        }
        Node::Inner(inner) => {
            let at = inner.child(place);
            let edge = Edge {
                left: edge.left && at == 0,
                right: edge.right && at + 1 == inner.kids.len(),
            };
            let kid = &mut inner.kids[at];
            kid.count += 1;
            let right = insert(&mut kid.node, entry, place, edge, sizes)?;
            kid.count -= right.count;
            inner.kids.insert(at + 1, right);
            if inner.kids.len() <= FAN {
                return None;
            }
            let middle = match (edge.left, edge.right) {
                (_, true) => FAN,
                (true, _) => 1,
                _ => FAN / 2,
            };
            let mut right = Inner::new();
            right.kids.extend(inner.kids.drain(middle..));
            sizes.inners += 1;
            Some(Kid::new(right.kids[0].first(), Node::Inner(right)))
        }
    }
}

/// Removes the entry at a place below a node, the last that `place` holds for.
fn remove(node: &mut Node, place: &impl Before, sizes: &mut Sizes) -> First {
    let inner = match node {
        Node::Leaf(leaf) => {
            let at = leaf.last(place);
            leaf.remove(at);
            return (at == 0 && leaf.len() > 0).then(|| leaf.get(0));
        }
        Node::Inner(inner) => inner,
    };
    let at = inner.child(place);
    let kid = &mut inner.kids[at];
    kid.count -= 1;
    let first = remove(&mut kid.node, place, sizes);
    if kid.count == 0 {
        sizes.forget(&kid.node);
        inner.kids.remove(at);
        return match at {
            0 => inner.kids.first().map(Kid::first),
            _ => None,
        };
    }
    let first = inner.note_first(at, first);
    inner.join(at, sizes);
    first
}

/// Gives the member of the entry at a place below a node another number.
fn renumber(node: &mut Node, place: &impl Before, to: u32) -> First {
    match node {
        Node::Leaf(leaf) => {
            let at = leaf.last(place);
            leaf.ids[at] = to;
            (at == 0).then(|| leaf.get(0))
        }
        Node::Inner(inner) => {
            let at = inner.child(place);
            let first = renumber(&mut inner.kids[at].node, place, to);
            inner.note_first(at, first)
        }
    }
}

#[cfg(test)]
impl Order {
    /// Checks every promise of the shape, and counts the entries.
    pub(super) fn verify(&self, members: &Members) -> usize {
        fn below(node: &Node, depth: usize, all: &mut Vec<Entry>) -> usize {
            match node {
                Node::Leaf(leaf) => {
                    all.extend((0..leaf.len()).map(|at| leaf.get(at)));
                    depth
                }
                Node::Inner(inner) => {
                    assert!((1..=FAN).contains(&inner.kids.len()));
                    let mut depths = Vec::new();
                    for (at, kid) in inner.kids.iter().enumerate() {
                        let start = all.len();
                        depths.push(below(&kid.node, depth + 1, all));
                        assert_eq!(all.len() - start, kid.count as usize);
                        assert!(kid.count > 0);
                        assert!(at == 0 || all[start] == kid.first());
                    }
                    depths.dedup();
                    assert_eq!(depths.len(), 1);
                    depths[0]
                }
            }
        }
        fn nodes(node: &Node) -> (usize, usize) {
            match node {
                Node::Leaf(_) => (1, 0),
                Node::Inner(inner) => inner.kids.iter().fold((0, 1), |(l, i), kid| {
                    let (leaves, inners) = nodes(&kid.node);
                    (l + leaves, i + inners)
                }),
            }
        }
        let mut all = Vec::new();
        below(&self.root, 0, &mut all);
        for pair in all.windows(2) {
            let (score, id) = pair[1];
            assert!(is_before(pair[0], score, members.bytes(id), members));
        }
        assert_eq!(nodes(&self.root), (self.sizes.leaves, self.sizes.inners));
        all.len()
    }
}
