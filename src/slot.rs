//! Which of the 16384 slots a key belongs to, and which shard owns a slot.
//!
//! Promise: the slot of a key is the one Redis Cluster gives it (CRC16/XMODEM of the key, or of its
//! hash tag), so a client that computes slots by itself agrees with us. Shards own contiguous
//! ranges of slots; every slot has exactly one owner.
//!
//! Source: Redis Cluster specification, "Key distribution model" and "Hash tags".

use std::ops::Range;

/// Number of slots of a keyspace. A slot number fits fourteen bits.
pub const SLOTS: u16 = 16384;

/// How many bytes are taken in one step.
const STRIDE: usize = 4;

/// The checksum of each byte followed by 0, 1, 2 or 3 zero bytes. The checksum is linear, so that
/// of several bytes is the XOR of theirs, each looked up without waiting for the one before.
const STEP: [[u16; 256]; STRIDE] = {
    let mut table = [[0u16; 256]; STRIDE];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 * STRIDE {
            crc = if crc & 0x8000 != 0 {
                (crc << 1) ^ 0x1021
            } else {
                crc << 1
            };
            bit += 1;
            if bit % 8 == 0 {
                table[bit / 8 - 1][byte] = crc;
            }
        }
        byte += 1;
    }
    table
};

/// CRC16/XMODEM: polynomial 0x1021, initial value 0, most significant bit first, no final XOR.
#[inline]
pub fn crc16(bytes: &[u8]) -> u16 {
    let mut crc = 0u16;
    let (steps, rest) = bytes.as_chunks::<STRIDE>();
    for &[a, b, c, d] in steps {
        let [high, low] = crc.to_be_bytes();
        crc = STEP[3][usize::from(a ^ high)]
            ^ STEP[2][usize::from(b ^ low)]
            ^ STEP[1][usize::from(c)]
            ^ STEP[0][usize::from(d)];
    }
    for &byte in rest {
        crc = (crc << 8) ^ STEP[0][usize::from((crc >> 8) as u8 ^ byte)];
    }
    crc
}

/// The part of a key that decides its slot: what stands between the first `{` and the next `}`
/// when that is not empty, else the whole key.
pub fn hashed_part(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|&b| b == b'{') else {
        return key;
    };
    let rest = &key[open + 1..];
    match rest.iter().position(|&b| b == b'}') {
        Some(close) if close > 0 => &rest[..close],
        _ => key,
    }
}

/// The slot of a key, `0..SLOTS`.
pub fn slot_of(key: &[u8]) -> u16 {
    crc16(hashed_part(key)) & (SLOTS - 1)
}

/// The division of all slots among a fixed number of shards, in contiguous ranges whose lengths
/// differ by at most one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Map {
    shards: u16,
}

impl Map {
    /// A map for `shards` shards. The number is brought into `1..=SLOTS`.
    pub fn new(shards: usize) -> Map {
        Map {
            shards: shards.clamp(1, usize::from(SLOTS)) as u16,
        }
    }

    /// How many shards share the slots.
    pub fn shards(&self) -> usize {
        usize::from(self.shards)
    }

    /// The shard that owns `slot`.
    #[inline]
    pub fn owner(&self, slot: u16) -> usize {
        debug_assert!(slot < SLOTS);
        usize::from(slot) * usize::from(self.shards) / usize::from(SLOTS)
    }

    /// The slots that `shard` owns; empty when there is no such shard.
    pub fn range(&self, shard: usize) -> Range<u16> {
        // owner(s) = floor(s * n / S) = shard  <=>  ceil(shard * S / n) <= s < ceil((shard + 1) * S
        // / n)
        let first = |shard: usize| {
            (shard.min(self.shards()) * usize::from(SLOTS)).div_ceil(self.shards()) as u16
        };
        first(shard)..first(shard.saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_one_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(crc16(b""), 0);
    }

    #[test]
    fn several_bytes_at_once_give_what_single_bits_give() {
        let plain = |bytes: &[u8]| {
            bytes.iter().fold(0u16, |crc, &byte| {
                (0..8).fold(crc ^ u16::from(byte) << 8, |crc, _| {
                    let carry = crc & 0x8000 != 0;
                    (crc << 1) ^ if carry { 0x1021 } else { 0 }
                })
            })
        };
        let bytes: Vec<u8> = (0..40u8).map(|n| n.wrapping_mul(37) ^ 0xa5).collect();
        for len in 0..bytes.len() {
            assert_eq!(crc16(&bytes[..len]), plain(&bytes[..len]), "{len} bytes");
        }
    }

    #[test]
    fn slots_agree_with_redis() {
        // CLUSTER KEYSLOT of Redis 7.0.15
        assert_eq!(slot_of(b"foo"), 12182);
        assert_eq!(slot_of(b"bar"), 5061);
        assert_eq!(slot_of(b"somekey"), 11058);
        assert_eq!(slot_of(b"foo{hash_tag}"), 2515);
    }

    #[test]
    fn only_a_closed_and_filled_tag_counts() {
        assert_eq!(hashed_part(b"{user1000}.following"), b"user1000");
        assert_eq!(hashed_part(b"foo{}{bar}"), b"foo{}{bar}");
        assert_eq!(hashed_part(b"foo{{bar}}zap"), b"{bar");
        assert_eq!(hashed_part(b"foo{bar}{zap}"), b"bar");
        assert_eq!(hashed_part(b"foo{bar"), b"foo{bar");
        assert_eq!(hashed_part(b"foo}bar{x}"), b"x");
        assert_eq!(hashed_part(b""), b"");
    }

    #[test]
    fn every_slot_has_one_owner_and_ranges_follow_each_other() {
        for shards in [1usize, 2, 3, 5, 7, 16, 100, 1000, 16383, 16384] {
            let map = Map::new(shards);
            let mut next = 0;
            for shard in 0..shards {
                let range = map.range(shard);
                assert_eq!(range.start, next);
                next = range.end;
                for slot in range {
                    assert_eq!(map.owner(slot), shard, "slot {slot} of {shards}");
                }
            }
            assert_eq!(next, SLOTS);
            assert!(map.range(shards).is_empty());
        }
        assert_eq!(Map::new(0).shards(), 1);
        assert_eq!(Map::new(1 << 20).shards(), 16384);
    }
}
