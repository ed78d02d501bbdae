//! The registers of a HyperLogLog, their two forms as a string, and the estimate.
//!
//! Sources: P. Flajolet et al., "HyperLogLog: the analysis of a near-optimal cardinality estimation algorithm"; O. Ertl,
//! "New cardinality estimation algorithms for HyperLogLog sketches" (the estimate); the form of the string is Redis's:
//!
//! ```text
//! "HYLL" [form: 1, 0 dense, 1 sparse] [0: 3] [cached count: 8, little-endian; top bit: stale] registers
//! dense:  16384 registers of 6 bits, lowest bits first
//! sparse: 00nnnnnn            n + 1 registers that are 0
//!         01nnnnnn nnnnnnnn   the same, for many
//!         1vvvvvnn            n + 1 registers that are v + 1
//! ```

use std::f64::consts::LN_2;

const COUNT: usize = 1 << INDEX_BITS;
const INDEX_BITS: u32 = 14;
/// Bits of a hash in which the rank is looked for.
const RANK_BITS: u32 = 64 - INDEX_BITS;
const HEAD: usize = 16;
const DENSE: usize = HEAD + COUNT * 6 / 8;
/// A sparse form of more bytes turns dense (Redis: `hll-sparse-max-bytes`).
const SPARSE_MOST: usize = 3000;
/// The highest register that the sparse form can say.
const SPARSE_RANK: u8 = 32;
const SEED: u64 = 0xadc8_3b19;

/// The last byte of the cached count, and what says there that it is stale.
pub(super) const STALE_AT: usize = 15;
pub(super) const STALE: u8 = 0x80;

/// How registers are kept in a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Sparse,
    Dense,
}

/// Why a string holds no registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// It is something else.
    Magic,
    /// It is damaged.
    Content,
}

/// For each of 16384 parts of what was seen, the longest run of zeros in a hash, plus one.
pub(super) struct Registers(Box<[u8; COUNT]>);

/// The register of an element, and what it asks that to be at least.
pub(super) fn place_of(element: &[u8]) -> (usize, u8) {
    let hash = murmur64a(element);
    let index = (hash & (COUNT as u64 - 1)) as usize;
    let rest = hash >> INDEX_BITS | 1 << RANK_BITS;
    (index, rest.trailing_zeros() as u8 + 1)
}

/// MurmurHash64A (A. Appleby, public domain), on little-endian words.
fn murmur64a(bytes: &[u8]) -> u64 {
    const M: u64 = 0xc6a4_a793_5bd1_e995;
    let mut h = SEED ^ (bytes.len() as u64).wrapping_mul(M);
    let (words, tail) = bytes.as_chunks::<8>();
    for word in words {
        let mut k = u64::from_le_bytes(*word).wrapping_mul(M);
        k = (k ^ k >> 47).wrapping_mul(M);
        h = (h ^ k).wrapping_mul(M);
    }
    if !tail.is_empty() {
        let mut last = [0; 8];
        last[..tail.len()].copy_from_slice(tail);
        h = (h ^ u64::from_le_bytes(last)).wrapping_mul(M);
    }
    h = (h ^ h >> 47).wrapping_mul(M);
    h ^ h >> 47
}

impl Registers {
    pub(super) fn empty() -> Registers {
        Registers(Box::new([0; COUNT]))
    }

    /// Raises a register; tells whether it was lower.
    pub(super) fn raise(&mut self, (index, rank): (usize, u8)) -> bool {
        let lower = self.0[index] < rank;
        if lower {
            self.0[index] = rank;
        }
        lower
    }

    /// Takes in all that another has seen.
    pub(super) fn join(&mut self, other: &Registers) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0.iter()) {
            *mine = (*mine).max(*theirs);
        }
    }

    pub(super) fn read(bytes: &[u8]) -> Result<(Registers, Form), Wrong> {
        if bytes.len() < HEAD || !bytes.starts_with(b"HYLL") {
            return Err(Wrong::Magic);
        }
        match bytes[4] {
            0 if bytes.len() == DENSE => Ok((Registers::read_dense(&bytes[HEAD..]), Form::Dense)),
            1 => {
                let registers = Registers::read_sparse(&bytes[HEAD..]).ok_or(Wrong::Content)?;
                Ok((registers, Form::Sparse))
            }
            _ => Err(Wrong::Magic),
        }
    }

    fn read_dense(bytes: &[u8]) -> Registers {
        let mut registers = Registers::empty();
        // Four registers in three bytes.
        for (four, three) in registers.0.chunks_exact_mut(4).zip(bytes.chunks_exact(3)) {
            let word = u32::from_le_bytes([three[0], three[1], three[2], 0]);
            for (i, register) in four.iter_mut().enumerate() {
                *register = (word >> (6 * i) & 63) as u8;
            }
        }
        registers
    }

    fn read_sparse(mut bytes: &[u8]) -> Option<Registers> {
        let mut registers = Registers::empty();
        let mut at = 0;
        while let [first, rest @ ..] = bytes {
            bytes = rest;
            let (run, value) = match first {
                0x80.. => (usize::from(first & 3) + 1, (first >> 2 & 31) + 1),
                0x40.. => {
                    let (second, rest) = bytes.split_first()?;
                    bytes = rest;
                    ((usize::from(first & 63) << 8 | usize::from(*second)) + 1, 0)
                }
                _ => (usize::from(first & 63) + 1, 0),
            };
            registers.0.get_mut(at..at + run)?.fill(value);
            at += run;
        }
        (at == COUNT).then_some(registers)
    }

    /// The string, sparse if that is asked for and possible.
    pub(super) fn write(&self, form: Form) -> Vec<u8> {
        if form == Form::Sparse
            && let Some(bytes) = self.write_sparse()
        {
            return bytes;
        }
        let mut bytes = head(0, DENSE);
        for four in self.0.chunks_exact(4) {
            let word = four
                .iter()
                .rev()
                .fold(0u32, |word, register| word << 6 | u32::from(*register));
            bytes.extend_from_slice(&word.to_le_bytes()[..3]);
        }
        bytes
    }

    fn write_sparse(&self) -> Option<Vec<u8>> {
        let mut bytes = head(1, 64);
        for run in self.0.chunk_by(|a, b| a == b) {
            let (value, mut left) = (run[0], run.len());
            if value > SPARSE_RANK {
                return None;
            }
            while left > 0 {
                let n = match value {
                    0 if left > 64 => {
                        bytes.push(0x40 | ((left - 1) >> 8) as u8);
                        bytes.push((left - 1) as u8);
                        left
                    }
                    0 => {
                        bytes.push((left - 1) as u8);
                        left
                    }
                    _ => {
                        let n = left.min(4);
                        bytes.push(0x80 | (value - 1) << 2 | (n - 1) as u8);
                        n
                    }
                };
                left -= n;
            }
        }
        (bytes.len() <= HEAD + SPARSE_MOST).then_some(bytes)
    }

    /// The bytes of the dense form that hold a register, and where they stand in the string.
    pub(super) fn dense_bytes(&self, index: usize) -> (usize, [u8; 3]) {
        let first = index & !3;
        let word = self.0[first..first + 4]
            .iter()
            .rev()
            .fold(0u32, |word, register| word << 6 | u32::from(*register));
        let [a, b, c, _] = word.to_le_bytes();
        (HEAD + first / 4 * 3, [a, b, c])
    }

    /// How many different elements were seen.
    pub(super) fn estimate(&self) -> u64 {
        let mut counts = [0u32; 64];
        for register in self.0.iter() {
            counts[usize::from(register & 63)] += 1;
        }
        let m = COUNT as f64;
        let full = f64::from(counts[RANK_BITS as usize + 1]);
        let mut z = m * tau((m - full) / m);
        for count in counts[1..=RANK_BITS as usize].iter().rev() {
            z = 0.5 * (z + f64::from(*count));
        }
        z += m * sigma(f64::from(counts[0]) / m);
        let alpha = 0.5 / LN_2;
        (alpha * m * m / z).round() as u64
    }
}

fn head(form: u8, capacity: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(capacity);
    bytes.extend_from_slice(b"HYLL");
    bytes.extend_from_slice(&[form, 0, 0, 0]);
    bytes.extend_from_slice(&[0; 7]);
    bytes.push(STALE);
    bytes
}

/// Ertl, formula 15: what registers that are still 0 add.
fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z == before {
            return z;
        }
    }
}

/// Ertl, formula 22: what registers that are full take away.
fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x).powi(2) * y;
        if z == before {
            return z / 3.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(elements: std::ops::Range<u32>) -> Registers {
        let mut registers = Registers::empty();
        for n in elements {
            registers.raise(place_of(n.to_string().as_bytes()));
        }
        registers
    }

    #[test]
    fn both_forms_are_read_back() {
        for n in [0, 1, 10, 100, 700, 5000, 50_000] {
            let registers = of(0..n);
            for form in [Form::Sparse, Form::Dense] {
                let bytes = registers.write(form);
                let (again, as_form) = Registers::read(&bytes).unwrap();
                assert!(*again.0 == *registers.0, "{n} {form:?}");
                assert!(as_form == form || n >= 700);
                for cut in [0, 3, 15, bytes.len() - 1] {
                    assert!(Registers::read(&bytes[..cut]).is_err());
                }
            }
        }
        assert_eq!(of(0..1000).write(Form::Dense).len(), DENSE);
    }

    #[test]
    fn one_register_is_where_its_bytes_are_said_to_be() {
        let mut registers = of(0..20_000);
        let mut bytes = registers.write(Form::Dense);
        for index in [0, 1, 2, 3, 4, 777, 16383] {
            registers.raise((index, 50));
            let (at, three) = registers.dense_bytes(index);
            bytes[at..at + 3].copy_from_slice(&three);
        }
        assert!(bytes == registers.write(Form::Dense));
    }

    #[test]
    fn estimates_are_within_three_deviations() {
        for n in [0u32, 1, 5, 100, 10_000, 300_000] {
            let estimate = of(0..n).estimate() as f64;
            let off = (estimate - f64::from(n)).abs();
            assert!(off <= f64::from(n) * 0.0081 * 3.0 + 0.5, "{n}: {estimate}");
        }
    }
}
