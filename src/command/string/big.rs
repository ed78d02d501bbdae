//! Whole numbers of any size, as far as reading and writing need them.

/// Words of 32 bits, the lowest first, the last one not 0.
pub(super) struct Big(Vec<u32>);

impl From<u128> for Big {
    fn from(n: u128) -> Big {
        Big((0..4).map(|i| (n >> (32 * i)) as u32).collect()).trim()
    }
}

impl Big {
    fn trim(mut self) -> Big {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
        self
    }

    /// `self * by + plus`
    fn mul_add(&mut self, by: u32, plus: u32) {
        let mut carry = plus as u64;
        for word in &mut self.0 {
            let n = *word as u64 * by as u64 + carry;
            *word = n as u32;
            carry = n >> 32;
        }
        if carry > 0 {
            self.0.push(carry as u32);
        }
    }

    /// The number these decimal digits (0 to 9) spell.
    pub(super) fn decimal(digits: &[u8]) -> Big {
        let mut n = Big(Vec::with_capacity(digits.len() / 9 + 1));
        for part in digits.chunks(9) {
            let value = part.iter().fold(0, |n, &d| n * 10 + d as u32);
            n.mul_add(10u32.pow(part.len() as u32), value);
        }
        n
    }

    pub(super) fn ten_to(mut exp: usize) -> Big {
        let mut n = Big(vec![1]);
        while exp > 0 {
            let step = exp.min(9);
            n.mul_add(10u32.pow(step as u32), 0);
            exp -= step;
        }
        n
    }

    /// Length in bits.
    pub(super) fn bits(&self) -> usize {
        match self.0.last() {
            Some(top) => self.0.len() * 32 - top.leading_zeros() as usize,
            None => 0,
        }
    }

    pub(super) fn shl(self, by: usize) -> Big {
        let mut words = vec![0; by / 32];
        words.extend_from_slice(&self.0);
        if !by.is_multiple_of(32) {
            let mut carry = 0;
            for word in &mut words[by / 32..] {
                let n = (*word as u64) << (by % 32) | carry;
                *word = n as u32;
                carry = n >> 32;
            }
            words.push(carry as u32);
        }
        Big(words).trim()
    }

    pub(super) fn mul(&self, other: &Big) -> Big {
        let mut words = vec![0u32; self.0.len() + other.0.len()];
        for (i, &a) in self.0.iter().enumerate() {
            let mut carry = 0;
            for (j, &b) in other.0.iter().enumerate() {
                let n = a as u64 * b as u64 + words[i + j] as u64 + carry;
                words[i + j] = n as u32;
                carry = n >> 32;
            }
            words[i + other.0.len()] = carry as u32;
        }
        Big(words).trim()
    }

    /// The uppermost 128 bits, whether others below them are set, and how many there are below.
    pub(super) fn top(&self) -> (u128, bool, usize) {
        let below = self.bits().saturating_sub(128);
        let (skip, shift) = (below / 32, below % 32);
        let mut bits = 0u128;
        for (i, &word) in self.0[skip..].iter().enumerate() {
            let at = 32 * i as i32 - shift as i32;
            bits |= match at {
                0.. => (word as u128) << at,
                _ => (word as u128) >> -at,
            };
        }
        let cut = self
            .0
            .get(skip)
            .is_some_and(|w| w & ((1 << shift) - 1) != 0);
        let more = cut || self.0[..skip].iter().any(|&w| w != 0);
        (bits, more, below)
    }

    fn at_least(&self, other: &Big) -> bool {
        let order = self.0.len().cmp(&other.0.len());
        order
            .then_with(|| self.0.iter().rev().cmp(other.0.iter().rev()))
            .is_ge()
    }

    /// Takes away a number that is not larger.
    fn sub(&mut self, other: &Big) {
        let mut borrow = 0;
        for (i, word) in self.0.iter_mut().enumerate() {
            let n = *word as i64 - other.0.get(i).copied().unwrap_or(0) as i64 + borrow;
            *word = n as u32;
            borrow = n >> 32;
        }
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }

    /// `self / divisor`, which must be below 2^70, and whether there is a rest.
    pub(super) fn quotient(self, divisor: Big) -> (u128, bool) {
        let divisor = divisor.shl(69);
        let (mut rest, mut bits) = (self, 0u128);
        for step in 0..70 {
            if step > 0 {
                rest = rest.shl(1);
            }
            bits <<= 1;
            if rest.at_least(&divisor) {
                rest.sub(&divisor);
                bits |= 1;
            }
        }
        (bits, !rest.0.is_empty())
    }

    pub(super) fn text(mut self) -> Vec<u8> {
        let mut parts = Vec::new();
        while !self.0.is_empty() {
            let mut rest = 0u64;
            for word in self.0.iter_mut().rev() {
                let n = rest << 32 | *word as u64;
                *word = (n / 1_000_000_000) as u32;
                rest = n % 1_000_000_000;
            }
            self = self.trim();
            parts.push(rest);
        }
        let mut text = parts.pop().unwrap_or(0).to_string();
        for part in parts.iter().rev() {
            text.push_str(&format!("{part:09}"));
        }
        text.into_bytes()
    }
}
