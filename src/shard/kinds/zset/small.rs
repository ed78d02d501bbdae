//! The form of a small sorted set: member, score, member, score in one [`Pack`], in order.
//!
//! A score that is a whole number of moderate size takes as few bytes as it has, any other its eight. So `-0` becomes `0`,
//! as in Redis's small form.

use super::Put;
use crate::shard::kinds::pack::Pack;

/// Most entries of this form (`zset-max-listpack-entries`).
pub(super) const ENTRIES: usize = 128;
/// Longest member of this form in bytes (`zset-max-listpack-value`).
pub(super) const MEMBER: usize = 64;

/// A score as it stands in the pack.
pub(super) struct Packed {
    bytes: [u8; 8],
    len: usize,
}

impl Packed {
    pub(super) fn new(score: f64) -> Packed {
        let whole = score as i64;
        let exact = whole as f64 == score;
        // Two's complement, without the bytes that only repeat the sign.
        let bits = 65 - (whole ^ whole >> 63).leading_zeros() as usize;
        let len = if whole == 0 { 0 } else { bits.div_ceil(8) };
        if exact && len < 8 {
            let bytes = whole.to_le_bytes();
            Packed { bytes, len }
        } else {
            let bytes = score.to_le_bytes();
            Packed { bytes, len: 8 }
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// The score that these bytes are; 0 for what `Packed` never makes.
#[inline]
pub(super) fn score(bytes: &[u8]) -> f64 {
    match bytes {
        [] => 0.0,
        _ if bytes.len() < 8 => {
            let negative = bytes[bytes.len() - 1] & 0x80 != 0;
            let mut full = if negative { [0xff; 8] } else { [0; 8] };
            full[..bytes.len()].copy_from_slice(bytes);
            i64::from_le_bytes(full) as f64
        }
        _ => bytes
            .first_chunk()
            .map_or(0.0, |bits| f64::from_le_bytes(*bits)),
    }
}

/// All entries in order.
pub(super) fn pairs(pack: &Pack) -> impl Iterator<Item = (&[u8], f64)> {
    let mut items = pack.iter();
    std::iter::from_fn(move || Some((items.next()?, score(items.next()?))))
}

/// A member's rank and score.
pub(super) fn find(pack: &Pack, member: &[u8]) -> Option<(usize, f64)> {
    let mut entries = pairs(pack).enumerate();
    entries.find_map(|(rank, (this, score))| (this == member).then_some((rank, score)))
}

/// How many entries come before.
pub(super) fn position(pack: &Pack, before: impl Fn(f64, &[u8]) -> bool) -> usize {
    pairs(pack)
        .take_while(|(member, score)| before(*score, member))
        .count()
}

/// Gives a member a score; `None` if the set has to become large for it.
pub(super) fn put(pack: &mut Pack, member: &[u8], score: f64) -> Option<Put> {
    let done = match find(pack, member) {
        Some((_, old)) if old == score => return Some(Put::Same),
        Some((rank, _)) => {
            pack.remove(rank * 2, 2);
            Put::Updated
        }
        None if pack.len() / 2 >= ENTRIES || member.len() > MEMBER => return None,
        None => Put::Added,
    };
    let rank = position(pack, |s, m| s < score || (s == score && m < member));
    pack.splice(rank * 2, 0, [member, Packed::new(score).bytes()]);
    Some(done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn scores_come_back(s in prop_oneof![any::<f64>().prop_filter("no score", |s| !s.is_nan()), any::<i64>().prop_map(|n| n as f64),
                                             any::<i16>().prop_map(f64::from)]) {
            let packed = Packed::new(s);
            prop_assert_eq!(score(packed.bytes()).to_bits(), (s + 0.0).to_bits());
        }
    }

    #[test]
    fn whole_scores_are_short() {
        let len = |s: f64| Packed::new(s).bytes().len();
        let rows = [
            (0.0, 0),
            (-0.0, 0),
            (1.0, 1),
            (-128.0, 1),
            (127.0, 1),
            (128.0, 2),
            (-129.0, 2),
            (0.5, 8),
            (1e15, 7),
            (1e300, 8),
            (f64::INFINITY, 8),
            (-9_223_372_036_854_775_808.0, 8),
            (9_223_372_036_854_775_808.0, 8),
        ];
        for (s, n) in rows {
            assert_eq!(len(s), n, "{s}");
            assert_eq!(score(Packed::new(s).bytes()).to_bits(), (s + 0.0).to_bits());
        }
    }
}
