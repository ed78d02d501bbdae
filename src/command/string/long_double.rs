//! Eighty-bit floating point, as INCRBYFLOAT needs it.
//!
//! Redis adds as `long double` and shows 17 digits behind the point. On x86-64 that is the extended
//! format: a 64-bit significand, rounded to nearest, ties to even. Clients see its digits (0.1 + 0.2 is
//! `0.3` there, and would not be with 64-bit floats), so it is done here in integers, exactly: reading
//! decimal and hexadecimal text, one addition, and writing. Infinities are refused where they arise.
//!
//! Rejected: exact decimal arithmetic, which is simpler and prettier, but answers other digits than
//! Redis once a sum needs more than 19 of them.

use big::Big;

/// Longest text that is read as a number.
const TEXT_MAX: usize = 5 * 1024 - 1;
/// The value of the significand's lowest bit at the smallest and the largest exponent.
const EXP_MIN: i32 = -16445;
const EXP_MAX: i32 = 16320;
/// Digits behind the point.
const PLACES: usize = 17;
const SCALE: u128 = 10u128.pow(PLACES as u32);

/// A number `significand * 2^exp`, with a full significand unless `exp` is the smallest, or infinity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LongDouble {
    negative: bool,
    infinite: bool,
    significand: u64,
    exp: i32,
}

impl LongDouble {
    pub(super) const ZERO: LongDouble = LongDouble {
        negative: false,
        infinite: false,
        significand: 0,
        exp: EXP_MIN,
    };

    /// Rounds `bits * 2^exp`, plus less than one unit of it if `more`. `bits` is at least 66 bits long
    /// if there is more.
    fn round(negative: bool, bits: u128, more: bool, exp: i32) -> LongDouble {
        if bits == 0 {
            return LongDouble::ZERO;
        }
        let len = 128 - bits.leading_zeros() as i32;
        let shift = (len - 64).max(EXP_MIN - exp);
        let (significand, exp) = if shift <= 0 {
            ((bits << -shift) as u64, exp + shift)
        } else if shift > 128 {
            (0, EXP_MIN)
        } else {
            let (kept, rest) = if shift == 128 {
                (0, bits)
            } else {
                (bits >> shift, bits & ((1 << shift) - 1))
            };
            let half = 1u128 << (shift - 1);
            let up = rest > half || (rest == half && (more || kept & 1 == 1));
            let kept = kept + up as u128;
            if kept >> 64 != 0 {
                ((kept >> 1) as u64, exp + shift + 1)
            } else {
                (kept as u64, exp + shift)
            }
        };
        LongDouble {
            negative,
            infinite: exp > EXP_MAX,
            significand,
            exp,
        }
    }

    /// Reads all of `text`: decimal or hexadecimal, with or without exponent, or `inf`; `None` for what
    /// is none of these, too large, or too small to tell from zero.
    pub(super) fn parse(text: &[u8]) -> Option<LongDouble> {
        if text.is_empty() || text.len() > TEXT_MAX {
            return None;
        }
        let (negative, digits) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            _ => (false, text),
        };
        if digits.eq_ignore_ascii_case(b"inf") || digits.eq_ignore_ascii_case(b"infinity") {
            return Some(LongDouble {
                negative,
                infinite: true,
                ..LongDouble::ZERO
            });
        }
        let n = match digits {
            [b'0', b'x' | b'X', rest @ ..] => hexadecimal(negative, rest),
            _ => decimal(negative, digits),
        }?;
        (!n.infinite).then_some(n)
    }

    /// The sum; `None` if it is infinite or no number.
    pub(super) fn add(self, other: LongDouble) -> Option<LongDouble> {
        if self.infinite || other.infinite {
            return None;
        }
        let (high, low) = if (self.exp, self.significand) >= (other.exp, other.significand) {
            (self, other)
        } else {
            (other, self)
        };
        let distance = (high.exp - low.exp) as u32;
        let lift = distance.min(62);
        let a = (high.significand as u128) << lift;
        let drop = distance - lift;
        let (b, more) = match drop {
            0 => (low.significand as u128, false),
            1..=63 => (
                (low.significand >> drop) as u128,
                low.significand & ((1 << drop) - 1) != 0,
            ),
            _ => (0, low.significand != 0),
        };
        let bits = if high.negative == low.negative {
            a + b
        } else {
            // What was cut off the smaller number is missing from the difference.
            a - b - more as u128
        };
        let sum = LongDouble::round(high.negative, bits, more, high.exp - lift as i32);
        (!sum.infinite).then_some(sum)
    }

    /// The decimal text with at most 17 digits behind the point, none of them idle.
    pub(super) fn text(self) -> Vec<u8> {
        let mut text = if self.exp >= 0 {
            Big::from(self.significand as u128)
                .shl(self.exp as usize)
                .text()
        } else {
            let fraction = self.exp.unsigned_abs();
            // Below 2^121: shifted further than that, less than half a unit is left.
            let scaled = self.significand as u128 * SCALE;
            let units = if fraction > 127 {
                0
            } else {
                let kept = scaled >> fraction;
                let rest = scaled & ((1 << fraction) - 1);
                let half = 1u128 << (fraction - 1);
                kept + (rest > half || (rest == half && kept & 1 == 1)) as u128
            };
            let digits = format!("{}.{:017}", units / SCALE, units % SCALE);
            let digits = digits.trim_end_matches('0').trim_end_matches('.');
            digits.as_bytes().to_vec()
        };
        if self.negative && text != b"0" {
            text.insert(0, b'-');
        }
        text
    }
}

/// The mantissa's digits without the point, how many stood behind it, and the exponent's text (behind
/// the letter `e`), if there is one.
type Parts<'a> = (Vec<u8>, i64, Option<&'a [u8]>);

/// Splits a number whose digits are in `radix`; `None` without any digit.
fn split(text: &[u8], radix: u32, e: u8) -> Option<Parts<'_>> {
    let mut digits = Vec::with_capacity(text.len());
    let (mut point, mut behind, mut any) = (false, 0, false);
    for (i, &b) in text.iter().enumerate() {
        if let Some(d) = (b as char).to_digit(radix) {
            any = true;
            behind += point as i64;
            if d != 0 || !digits.is_empty() {
                digits.push(d as u8);
            }
        } else if b == b'.' && !point {
            point = true;
        } else if b.eq_ignore_ascii_case(&e) && any {
            return Some((digits, behind, Some(&text[i + 1..])));
        } else {
            return None;
        }
    }
    any.then_some((digits, behind, None))
}

/// A signed exponent; one too large to matter is cut down to one just as large.
fn exponent(text: Option<&[u8]>) -> Option<i64> {
    let Some(text) = text else { return Some(0) };
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    if digits.is_empty() {
        return None;
    }
    let mut n = 0i64;
    for &b in digits {
        let d = (b as char).to_digit(10)?;
        n = (n * 10 + d as i64).min(1_000_000);
    }
    Some(if negative { -n } else { n })
}

fn hexadecimal(negative: bool, text: &[u8]) -> Option<LongDouble> {
    let (digits, behind, exp) = split(text, 16, b'p')?;
    let mut exp = exponent(exp)? - 4 * behind;
    let (mut bits, mut more) = (0u128, false);
    for &d in &digits {
        if bits >> 124 == 0 {
            bits = bits << 4 | d as u128;
        } else {
            more |= d != 0;
            exp += 4;
        }
    }
    let n = LongDouble::round(negative, bits, more, exp.clamp(-100_000, 100_000) as i32);
    (n.significand != 0 || digits.is_empty()).then_some(n)
}

fn decimal(negative: bool, text: &[u8]) -> Option<LongDouble> {
    let (digits, behind, exp) = split(text, 10, b'e')?;
    let exp = exponent(exp)? - behind;
    if digits.is_empty() {
        return Some(LongDouble::ZERO);
    }
    // Too large or too small whatever the digits are.
    if !(-4960..=4940).contains(&(digits.len() as i64 + exp)) {
        return None;
    }
    let n = Big::decimal(&digits);
    let power = Big::ten_to(exp.unsigned_abs() as usize);
    let n = if exp >= 0 {
        let (bits, more, shift) = n.mul(&power).top();
        LongDouble::round(negative, bits, more, shift as i32)
    } else {
        let shift = power.bits() as i64 - n.bits() as i64 + 67;
        let (n, power) = if shift >= 0 {
            (n.shl(shift as usize), power)
        } else {
            (n, power.shl(-shift as usize))
        };
        let (bits, more) = n.quotient(power);
        LongDouble::round(negative, bits, more, -shift as i32)
    };
    (n.significand != 0).then_some(n)
}

mod big {
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sum(a: &str, b: &str) -> Option<String> {
        let a = LongDouble::parse(a.as_bytes()).unwrap_or_else(|| panic!("{a}"));
        let b = LongDouble::parse(b.as_bytes()).unwrap_or_else(|| panic!("{b}"));
        Some(String::from_utf8(a.add(b)?.text()).unwrap())
    }

    #[test]
    fn sums_that_redis_gives() {
        for (a, b, text) in [
            ("0.1", "0.2", "0.3"),
            ("10.5", "0.1", "10.6"),
            ("5.0e3", "2.0e2", "5200"),
            ("3", "-3", "0"),
            ("-0.0", "0", "0"),
            ("1", "1e-18", "1"),
            ("1.23", "-1.24", "-0.01"),
            ("17179869184", "1.5", "17179869185.5"),
            ("0x10", "0x1p-1", "16.5"),
            ("1e20", "1", "100000000000000000000"),
            ("+.5", "5.", "5.5"),
            ("18446744073709551615", "1", "18446744073709551616"),
            ("18446744073709551616", "1", "18446744073709551616"),
            ("18446744073709551616", "3", "18446744073709551620"),
            ("1e4932", "-1e4932", "0"),
            ("1e-4940", "1e-4940", "0"),
        ] {
            assert_eq!(sum(a, b).as_deref(), Some(text), "{a} + {b}");
        }
        assert_eq!(sum("inf", "1"), None);
        assert_eq!(sum("-Infinity", "inf"), None);
        assert_eq!(sum("1e4932", "1e4932"), None);
        assert_eq!(sum("1e4000", "0").map(|t| t.len()), Some(4000));
    }

    #[test]
    fn what_is_no_number() {
        let long = "1".repeat(TEXT_MAX + 1);
        for text in [
            "", " 1", "1 ", "e5", "1e", "1e+", "--1", ".", "-", "nan", "0x", "0xg", "1.2.3", "1,5",
            "1e5000", "1e-5000", "infinit", "1e4933", "1\0", &long,
        ] {
            assert_eq!(LongDouble::parse(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        /// Where the significand has bits to spare behind the seventeenth digit, sums of decimals
        /// come out as on paper.
        #[test]
        fn small_decimals_add_exactly(a in -300_000i64..300_000, b in -300_000i64..300_000) {
            let show = |n: i64| {
                let text = format!("{}{}.{:04}", if n < 0 { "-" } else { "" }, n.abs() / 10_000, n.abs() % 10_000);
                let text = text.trim_end_matches('0').trim_end_matches('.').to_string();
                if text == "-0" { "0".to_string() } else { text }
            };
            prop_assert_eq!(sum(&show(a), &show(b)), Some(show(a + b)));
        }

        /// 64-bit floats are a part of the format.
        #[test]
        fn doubles_are_read_exactly(d in -1e15f64..1e15) {
            let exact = format!("{d:.80}");
            let a = LongDouble::parse(exact.as_bytes());
            let bits = d.to_bits();
            let mantissa = (bits & ((1 << 52) - 1)) | if d == 0.0 { 0 } else { 1 << 52 };
            let exp = (bits >> 52 & 0x7ff) as i32 - 1075;
            if (bits >> 52 & 0x7ff) > 800 {
                prop_assert_eq!(a, Some(LongDouble::round(d < 0.0, mantissa as u128, false, exp)));
            }
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[-+]?[0-9a-fx.]{0,40}([ep][-+]?[0-9]{0,6})?") {
            if let Some(n) = LongDouble::parse(text.as_bytes()) {
                prop_assert!(n.infinite || !n.text().is_empty());
            }
        }
    }
}
