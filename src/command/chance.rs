//! Many random numbers from the one that a command is given.
//!
//! SplitMix64 (Steele, Lea, Flood 2014): enough for draws that have to be fair and need not be secret.

/// The generator.
#[derive(Clone, Debug)]
pub(super) struct Chance(u64);

impl Chance {
    /// One that begins with the command's number (`Ctx::random`).
    pub(super) fn new(random: u64) -> Chance {
        Chance(random)
    }

    /// 64 random bits.
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `n`, which is not 0.
    pub(super) fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.next()) * n as u128) >> 64) as usize
    }
}
