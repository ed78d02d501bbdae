//! Many random numbers from the one that a command is given.
//!
//! SplitMix64 (Steele, Lea, Flood 2014): enough for draws that have to be fair and need not be secret.

use std::collections::HashSet;
use std::hash::Hash;

/// A draw that takes at least one in so many goes through all there are; a smaller one tries its luck.
const LARGE_PART: usize = 4;

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

    /// `count` of the `len` elements of `all`, or all of them if there are no more; each choice with the same chance.
    /// `choose` gives one of them by the random numbers it is given.
    pub(super) fn draw<T: Copy + Eq + Hash>(
        &mut self,
        count: usize,
        len: usize,
        all: impl Iterator<Item = T>,
        choose: impl Fn(&mut dyn FnMut() -> u64) -> Option<T>,
    ) -> Vec<T> {
        let mut drawn = Vec::with_capacity(count.min(len));
        if count < len / LARGE_PART {
            let mut seen = HashSet::with_capacity(count);
            while drawn.len() < count
                && let Some(element) = choose(&mut || self.next())
            {
                if seen.insert(element) {
                    drawn.push(element);
                }
            }
            return drawn;
        }
        // Each is taken with the chance (still wanted) / (still to come): Knuth's selection sampling, TAOCP 3.4.2 S.
        for (passed, element) in all.enumerate().take(len) {
            let wanted = count.min(len) - drawn.len();
            if self.below(len - passed) < wanted {
                drawn.push(element);
            }
        }
        drawn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_draw_is_as_likely_as_any_other() {
        let all: Vec<usize> = (0..40).collect();
        for count in [3, 30, 40, 50] {
            let mut chance = Chance::new(1);
            let mut times = [0; 40];
            for _ in 0..4000 {
                let choose = |random: &mut dyn FnMut() -> u64| Some((random() % 40) as usize);
                let drawn = chance.draw(count, 40, all.iter().copied(), choose);
                let distinct: HashSet<_> = drawn.iter().collect();
                assert_eq!(
                    (drawn.len(), distinct.len()),
                    (count.min(40), count.min(40))
                );
                drawn.iter().for_each(|&n| times[n] += 1);
            }
            let expected = 100 * count.min(40) as i32;
            let near = |n: i32| (n - expected).abs() <= 6 * (expected as f64).sqrt() as i32;
            assert!(times.iter().all(|&n| near(n)), "{count}: {times:?}");
        }
    }
}
