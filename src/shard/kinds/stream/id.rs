//! The id of an entry: a time and a number within it, in that order.

use crate::resp::number::{put_u64, u64_len};
use crate::shard::wire::{Reader, put_number};

/// An entry's id, shown as `ms-seq`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamId {
    /// Milliseconds, of the Unix clock unless a client chose otherwise.
    pub ms: u64,
    /// The number among those of the same time.
    pub seq: u64,
}

impl StreamId {
    /// The smallest; no entry has it.
    pub const MIN: StreamId = StreamId { ms: 0, seq: 0 };
    /// The largest.
    pub const MAX: StreamId = StreamId {
        ms: u64::MAX,
        seq: u64::MAX,
    };

    /// The next larger one.
    pub fn next(self) -> Option<StreamId> {
        match self.seq.checked_add(1) {
            Some(seq) => Some(StreamId { ms: self.ms, seq }),
            None => Some(StreamId {
                ms: self.ms.checked_add(1)?,
                seq: 0,
            }),
        }
    }

    /// The next smaller one.
    pub fn previous(self) -> Option<StreamId> {
        match self.seq.checked_sub(1) {
            Some(seq) => Some(StreamId { ms: self.ms, seq }),
            None => Some(StreamId {
                ms: self.ms.checked_sub(1)?,
                seq: u64::MAX,
            }),
        }
    }

    /// Appends it as clients see it.
    pub fn show(self, out: &mut Vec<u8>) {
        put_u64(out, self.ms);
        out.push(b'-');
        put_u64(out, self.seq);
    }

    /// How many bytes [`StreamId::show`] appends.
    pub fn shown_len(self) -> usize {
        u64_len(self.ms) + 1 + u64_len(self.seq)
    }

    pub(super) fn write(self, out: &mut Vec<u8>) {
        put_number(out, self.ms);
        put_number(out, self.seq);
    }

    pub(super) fn read(from: &mut Reader<'_>) -> Option<StreamId> {
        Some(StreamId {
            ms: from.number()?,
            seq: from.number()?,
        })
    }

    /// Appends it as a distance from one that is not larger.
    #[inline]
    pub(super) fn write_behind(self, base: StreamId, out: &mut Vec<u8>) {
        let later = self.ms - base.ms;
        put_number(out, later);
        put_number(
            out,
            if later == 0 {
                self.seq - base.seq
            } else {
                self.seq
            },
        );
    }

    /// Reads what [`StreamId::write_behind`] wrote.
    #[inline]
    pub(super) fn read_behind(base: StreamId, from: &mut Reader<'_>) -> Option<StreamId> {
        let (later, seq) = (from.number()?, from.number()?);
        Some(StreamId {
            ms: base.ms.checked_add(later)?,
            seq: if later == 0 {
                base.seq.checked_add(seq)?
            } else {
                seq
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(ms: u64, seq: u64) -> StreamId {
        StreamId { ms, seq }
    }

    #[test]
    fn neighbours_meet_at_the_edges() {
        assert_eq!(id(5, u64::MAX).next(), Some(id(6, 0)));
        assert_eq!(id(6, 0).previous(), Some(id(5, u64::MAX)));
        assert_eq!(StreamId::MAX.next(), None);
        assert_eq!(StreamId::MIN.previous(), None);
    }

    proptest! {
        #[test]
        fn ids_come_back(a: (u64, u64), b: (u64, u64)) {
            let (a, b) = (id(a.0, a.1), id(b.0, b.1));
            let (low, high) = (a.min(b), a.max(b));
            let mut out = Vec::new();
            low.write(&mut out);
            high.write_behind(low, &mut out);
            let mut reader = Reader::new(&out);
            prop_assert_eq!(StreamId::read(&mut reader), Some(low));
            prop_assert_eq!(StreamId::read_behind(low, &mut reader), Some(high));
            prop_assert!(reader.is_done());
            let mut text = Vec::new();
            high.show(&mut text);
            prop_assert_eq!(text.len(), high.shown_len());
            prop_assert_eq!(text, format!("{}-{}", high.ms, high.seq).into_bytes());
        }
    }
}
