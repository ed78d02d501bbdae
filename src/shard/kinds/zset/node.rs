//! The nodes of the order: leaves of entries, inner nodes of children, and what is done within one of them.
//!
//! What they promise together stands in [`super::order`].

/// Entries of a leaf: with its length it fills 760 of an allocation of 768 bytes.
pub(super) const LEAF: usize = 63;
/// Children of an inner node.
pub(super) const FAN: usize = 48;

/// A score, and the number of the member that has it.
pub(super) type Entry = (f64, u32);

#[derive(Clone, Debug)]
pub(super) struct Leaf {
    pub(super) scores: [f64; LEAF],
    pub(super) ids: [u32; LEAF],
    pub(super) len: u16,
}

#[derive(Clone, Debug)]
pub(super) struct Inner {
    pub(super) kids: Vec<Kid>,
}

#[derive(Clone, Debug)]
pub(super) struct Kid {
    /// Score and member of the first entry below: see the module's text.
    pub(super) score: f64,
    pub(super) id: u32,
    /// Entries below.
    pub(super) count: u32,
    pub(super) node: Node,
}

#[derive(Clone, Debug)]
pub(super) enum Node {
    Leaf(Box<Leaf>),
    Inner(Box<Inner>),
}

/// Nodes there are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub(super) leaves: usize,
    pub(super) inners: usize,
}

/// Whether an entry comes before the place that is looked for.
pub(super) trait Before: Fn(f64, u32) -> bool {}
impl<F: Fn(f64, u32) -> bool> Before for F {}

/// The first entry below a node, if a change has made it another.
pub(super) type First = Option<Entry>;

impl Leaf {
    pub(super) fn new() -> Box<Leaf> {
        Box::new(Leaf {
            scores: [0.0; LEAF],
            ids: [0; LEAF],
            len: 0,
        })
    }

    pub(super) fn len(&self) -> usize {
        usize::from(self.len)
    }

    #[inline]
    pub(super) fn get(&self, at: usize) -> Entry {
        (self.scores[at], self.ids[at])
    }

    /// How many entries come before.
    pub(super) fn position(&self, before: &impl Before) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = (low + high) / 2;
            if before(self.scores[middle], self.ids[middle]) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// The last entry that comes before; there is one.
    pub(super) fn last(&self, before: &impl Before) -> usize {
        self.position(before) - 1
    }

    pub(super) fn insert(&mut self, at: usize, (score, id): Entry) {
        let len = self.len();
        self.scores.copy_within(at..len, at + 1);
        self.ids.copy_within(at..len, at + 1);
        (self.scores[at], self.ids[at]) = (score, id);
        self.len += 1;
    }

    pub(super) fn remove(&mut self, at: usize) {
        let len = self.len();
        self.scores.copy_within(at + 1..len, at);
        self.ids.copy_within(at + 1..len, at);
        self.len -= 1;
    }

    /// Appends another's entries, which fit.
    pub(super) fn append(&mut self, other: &Leaf) {
        let (len, more) = (self.len(), other.len());
        self.scores[len..len + more].copy_from_slice(&other.scores[..more]);
        self.ids[len..len + more].copy_from_slice(&other.ids[..more]);
        self.len += other.len;
    }

    /// Takes the entries from `at` on into a leaf of their own.
    pub(super) fn split_off(&mut self, at: usize) -> Box<Leaf> {
        let (len, mut rest) = (self.len(), Leaf::new());
        rest.scores[..len - at].copy_from_slice(&self.scores[at..len]);
        rest.ids[..len - at].copy_from_slice(&self.ids[at..len]);
        rest.len = (len - at) as u16;
        self.len = at as u16;
        rest
    }
}

impl Kid {
    pub(super) fn new(first: Entry, node: Node) -> Kid {
        let count = match &node {
            Node::Leaf(leaf) => u32::from(leaf.len),
            Node::Inner(inner) => inner.kids.iter().map(|kid| kid.count).sum(),
        };
        let (score, id) = first;
        Kid {
            score,
            id,
            count,
            node,
        }
    }

    pub(super) fn first(&self) -> Entry {
        (self.score, self.id)
    }

    /// Whether it is worth looking whether a neighbour has room for it.
    pub(super) fn is_small(&self) -> bool {
        match &self.node {
            Node::Leaf(_) => (self.count as usize) < LEAF / 2,
            Node::Inner(inner) => inner.kids.len() < FAN / 4,
        }
    }

    /// Whether it and its neighbour make one node that is not full.
    pub(super) fn fits(&self, next: &Kid) -> bool {
        match (&self.node, &next.node) {
            (Node::Inner(a), Node::Inner(b)) => a.kids.len() + b.kids.len() <= FAN * 3 / 4,
            _ => (self.count + next.count) as usize <= LEAF * 3 / 4,
        }
    }
}

impl Sizes {
    pub(super) fn forget(&mut self, node: &Node) {
        match node {
            Node::Leaf(_) => self.leaves -= 1,
            Node::Inner(_) => self.inners -= 1,
        }
    }
}

impl Inner {
    pub(super) fn new() -> Box<Inner> {
        Box::new(Inner {
            kids: Vec::with_capacity(FAN + 1),
        })
    }

    /// The child in which the place lies that is looked for.
    pub(super) fn child(&self, before: &impl Before) -> usize {
        let later = &self.kids[1..];
        later.partition_point(|kid| before(kid.score, kid.id))
    }

    /// Notes that the first entry below a child is another; returns it if it is the first below this node as well.
    pub(super) fn note_first(&mut self, at: usize, first: First) -> First {
        let entry = first?;
        if at == 0 {
            return first;
        }
        let kid = &mut self.kids[at];
        (kid.score, kid.id) = entry;
        None
    }

    /// Joins a child that has become small with a neighbour, where both together leave room to grow.
    pub(super) fn join(&mut self, at: usize, sizes: &mut Sizes) {
        let kids = &self.kids;
        let fits = |left: usize| match (kids.get(left), kids.get(left + 1)) {
            (Some(left), Some(right)) => left.fits(right),
            _ => false,
        };
        if !self.kids[at].is_small() {
            return;
        }
        let left = match (fits(at), at.checked_sub(1)) {
            (true, _) => at,
            (false, Some(before)) if fits(before) => before,
            _ => return,
        };
        let right = self.kids.remove(left + 1);
        sizes.forget(&right.node);
        let first = right.first();
        let left = &mut self.kids[left];
        left.count += right.count;
        match (&mut left.node, right.node) {
            (Node::Leaf(left), Node::Leaf(right)) => left.append(&right),
            (Node::Inner(left), Node::Inner(mut right)) => {
                // Its first child is a first child no more: what is known of it has to be exact.
                (right.kids[0].score, right.kids[0].id) = first;
                left.kids.append(&mut right.kids);
            }
            _ => unreachable!("all leaves are equally deep"),
        }
    }

    /// The child in which the entry at `rank` is, and its rank there.
    pub(super) fn child_at(&self, mut rank: usize) -> (usize, usize) {
        let last = self.kids.len() - 1;
        for (at, kid) in self.kids[..last].iter().enumerate() {
            if rank < kid.count as usize {
                return (at, rank);
            }
            rank -= kid.count as usize;
        }
        (last, rank)
    }
}
