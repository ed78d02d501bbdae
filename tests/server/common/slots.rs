//! Hash slots as Redis Cluster defines them, and the shard that owns one: written again here, so that the tests do
//! not take the server's word for it.

/// Number of hash slots.
pub const SLOTS: usize = 16384;

/// CRC-16/XMODEM.
fn crc16(data: &[u8]) -> u16 {
    let mut crc = 0u16;
    for &byte in data {
        crc ^= u16::from(byte) << 8;
        for _ in 0..8 {
            crc = if crc & 0x8000 != 0 {
                (crc << 1) ^ 0x1021
            } else {
                crc << 1
            };
        }
    }
    crc
}

/// The slot of a key: of what stands between its first `{` and the next `}`, if that is not empty.
pub fn slot_of(key: &[u8]) -> usize {
    if let Some(open) = key.iter().position(|&b| b == b'{')
        && let Some(len) = key[open + 1..].iter().position(|&b| b == b'}')
        && len > 0
    {
        return usize::from(crc16(&key[open + 1..open + 1 + len])) % SLOTS;
    }
    usize::from(crc16(key)) % SLOTS
}

/// The shard of a key when `shards` of them share the slots in contiguous ranges.
pub fn shard_of(key: &[u8], shards: usize) -> usize {
    slot_of(key) * shards / SLOTS
}

/// A hash tag (without braces) for each shard.
pub fn tags(shards: usize) -> Vec<String> {
    (0..shards)
        .map(|shard| {
            (0..)
                .map(|i| format!("t{i}"))
                .find(|tag| shard_of(format!("{{{tag}}}").as_bytes(), shards) == shard)
                .expect("some tag lies in every shard")
        })
        .collect()
}

#[test]
fn slots_are_those_of_redis_cluster() {
    // From the Redis Cluster specification, appendix A, and CLUSTER KEYSLOT.
    assert_eq!(crc16(b"123456789"), 0x31c3);
    assert_eq!(slot_of(b"foo"), 12182);
    assert_eq!(slot_of(b"{user1000}.following"), slot_of(b"user1000"));
    assert_eq!(
        slot_of(b"foo{}{bar}"),
        usize::from(crc16(b"foo{}{bar}")) % SLOTS
    );
}
