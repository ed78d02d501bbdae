//! The checksum of RDB files and DUMP payloads: CRC-64 of Jones's polynomial, reflected, beginning at zero.
//!
//! Source: Mark Adler's tables of CRCs, "CRC-64/REDIS": the checksum of `123456789` is `e9c6d914c4b8d9ca`.

/// The polynomial `ad93d23594c935a9`, its bits reversed.
const POLYNOMIAL: u64 = 0x95ac_9329_ac4b_c9b5;

/// For each byte, the checksum of it with so many zero bytes behind it.
static STEP: [[u64; 256]; 8] = {
    let mut table = [[0u64; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u64;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 != 0 {
                (crc >> 1) ^ POLYNOMIAL
            } else {
                crc >> 1
            };
            bit += 1;
        }
        table[0][byte] = crc;
        byte += 1;
    }
    let mut zeros = 1;
    while zeros < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before = table[zeros - 1][byte];
            table[zeros][byte] = (before >> 8) ^ table[0][(before & 0xff) as usize];
            byte += 1;
        }
        zeros += 1;
    }
    table
};

/// A checksum that grows with the bytes it is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Crc64(u64);

impl Crc64 {
    /// Takes more bytes in.
    pub fn update(&mut self, bytes: &[u8]) {
        let mut crc = self.0;
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            let word = word
                .first_chunk()
                .map_or(0, |word| u64::from_le_bytes(*word));
            let mixed = (crc ^ word).to_le_bytes();
            crc = 0;
            for (table, byte) in STEP.iter().rev().zip(mixed) {
                crc ^= table[usize::from(byte)];
            }
        }
        for &byte in words.remainder() {
            crc = (crc >> 8) ^ STEP[0][usize::from(crc as u8 ^ byte)];
        }
        self.0 = crc;
    }

    /// The checksum of all bytes so far.
    pub fn sum(self) -> u64 {
        self.0
    }
}

/// The checksum of these bytes.
pub fn crc64(bytes: &[u8]) -> u64 {
    let mut crc = Crc64::default();
    crc.update(bytes);
    crc.sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn it_is_that_of_redis() {
        assert_eq!(crc64(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
        assert_eq!(crc64(b""), 0);
    }

    proptest! {
        #[test]
        fn parts_make_the_whole(bytes: Vec<u8>, at: proptest::sample::Index) {
            let (a, b) = bytes.split_at(at.index(bytes.len() + 1));
            let mut crc = Crc64::default();
            crc.update(a);
            crc.update(b);
            let slow = bytes.iter().fold(0u64, |crc, byte| (crc >> 8) ^ STEP[0][usize::from(crc as u8 ^ byte)]);
            prop_assert_eq!(crc.sum(), slow);
        }
    }
}
