//! Many random numbers from the one that a command is given.
//!
//! SplitMix64 (Steele, Lea, Flood 2014): enough for draws that have to be fair and need not be secret.

use std::collections::HashSet;
use std::hash::Hash;

use super::Error;
use crate::resp::Reply;

/// A draw that takes at least one in so many goes through all there are; a smaller one tries its luck.
const LARGE_PART: usize = 4;

/// Elements that one draw may return where each may come several times, and bytes of its answer: such a draw is bounded
/// by nothing that is stored, and a few words from one client must not take all the memory there is.
const MOST_REPEATS: u64 = 1 << 20;
const MOST_BYTES: usize = 512 << 20;

/// How many elements a negative count asks for.
pub(super) fn repeats(count: i64) -> Result<usize, Error> {
    match count.unsigned_abs() {
        number @ ..=MOST_REPEATS => Ok(number as usize),
        _ => Err(Error::Text(
            "ERR value is out of range: a negative count may ask for 1048576 elements at most",
        )),
    }
}

/// Refuses an answer that has grown too long; `start` is where it begins.
pub(super) fn bounded(reply: &Reply<'_>, start: usize) -> Result<(), Error> {
    if reply.buf.len() - start > MOST_BYTES {
        return Err(Error::Text(
            "ERR the elements asked for are longer than 512 MiB together",
        ));
    }
    Ok(())
}

/// The generator.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// One that begins with the command's number (`Ctx::random`).
    pub fn new(random: u64) -> Chance {
        Chance(random)
    }

    /// 64 random bits.
    #[expect(
        clippy::should_implement_trait,
        reason = "it never ends, and yields no option"
    )]
    pub fn next(&mut self) -> u64 {
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
