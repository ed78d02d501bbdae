//! The index of a dict: which segment has the hashes that begin with some bits.
//!
//! Promise: a large index doubles in steps, some seats at each insertion; until it has, it answers with the bits it had,
//! and a segment that would split by one bit more waits and grows a little instead.

/// An index of up to so many bits doubles at once.
const AT_ONCE: u8 = 14;
/// Seats doubled in one step.
const STRIDE: usize = 256;

/// Seats of segments, found by the first `depth` bits of a hash.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    /// `2^depth` of them; none at depth 0.
    seats: Vec<u32>,
    /// The same with one bit more, as far as it has come.
    next: Vec<u32>,
    depth: u8,
}

impl Index {
    pub(super) fn depth(&self) -> u8 {
        self.depth
    }

    /// Bytes allocated.
    pub(super) fn heap_bytes(&self) -> usize {
        (self.seats.capacity() + self.next.capacity()) * size_of::<u32>()
    }

    /// The segment of a hash.
    #[inline]
    pub(super) fn seat(&self, hash: u32) -> usize {
        match self.depth {
            0 => 0,
            depth => self.seats[(hash >> (32 - depth)) as usize] as usize,
        }
    }

    /// The segment of the hashes that begin with the `depth` bits `prefix`, of which there are no more than it uses.
    pub(super) fn of_prefix(&self, prefix: u32, depth: u8) -> usize {
        self.seats[(prefix as usize) << (self.depth - depth)] as usize
    }

    /// Points the seats of the hashes that begin with the `depth` bits `prefix` at a segment.
    pub(super) fn point(&mut self, prefix: u32, depth: u8, at: usize) {
        if self.depth == 0 {
            return;
        }
        let shift = self.depth - depth;
        let (first, end) = ((prefix as usize) << shift, (prefix as usize + 1) << shift);
        self.seats[first..end].fill(at as u32);
        // What is not there yet will be copied from what was just written.
        let known = self.next.len();
        self.next[(2 * first).min(known)..(2 * end).min(known)].fill(at as u32);
    }

    /// Doubles it, or begins to; tells whether it is done.
    pub(super) fn double(&mut self) -> bool {
        if self.depth == 0 {
            self.seats = vec![0, 0];
            self.depth = 1;
            return true;
        }
        if self.next.capacity() == 0 {
            self.next = Vec::with_capacity(self.seats.len() * 2);
        }
        if self.depth > AT_ONCE {
            return false;
        }
        while self.next.capacity() > 0 {
            self.go_on();
        }
        true
    }

    /// Doubles some more seats, if it is doubling.
    #[inline]
    pub(super) fn go_on(&mut self) {
        if self.next.capacity() == 0 {
            return;
        }
        let from = self.next.len() / 2;
        let to = (from + STRIDE).min(self.seats.len());
        for &seat in &self.seats[from..to] {
            self.next.extend([seat, seat]);
        }
        if to == self.seats.len() {
            self.seats = std::mem::take(&mut self.next);
            self.depth += 1;
        }
    }

    /// Halves it: no segment needs its last bit.
    pub(super) fn halve(&mut self) {
        self.depth -= 1;
        self.next = Vec::new();
        self.seats = match self.depth {
            0 => Vec::new(),
            _ => self.seats.iter().copied().step_by(2).collect(),
        };
    }

    /// All seats.
    #[cfg(test)]
    pub(super) fn seats(&self) -> &[u32] {
        &self.seats
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_one_doubles_in_steps_and_misses_no_change() {
        let mut index = Index::default();
        while index.depth() <= AT_ONCE {
            assert!(index.double());
        }
        let depth = index.depth();
        for seat in 0..1 << depth {
            index.point(seat, depth, seat as usize);
        }
        assert!(!index.double());
        let mut steps = 0;
        while index.depth() == depth {
            assert!(!index.double());
            index.go_on();
            steps += 1;
            // Segments move meanwhile, before and behind what is copied.
            let moved = steps * 131 % (1 << depth);
            index.point(moved, depth, 1_000_000 + moved as usize);
            assert_eq!(index.of_prefix(moved, depth), 1_000_000 + moved as usize);
        }
        assert_eq!(steps as usize, (1 << depth) / STRIDE);
        assert_eq!(index.depth(), depth + 1);
        for step in 1..steps {
            let moved = step * 131 % (1 << depth);
            for low in 0..2 {
                let seat = index.of_prefix(moved << 1 | low, depth + 1);
                assert_eq!(seat, 1_000_000 + moved as usize);
            }
        }
        index.halve();
        assert_eq!((index.depth(), index.seats().len()), (depth, 1 << depth));
    }
}
