//! Eighty-bit floating point, as INCRBYFLOAT needs it.
//!
//! Redis adds as `long double` and shows 17 digits behind the point. On x86-64 that is the extended
//! format: a 64-bit significand, rounded to nearest, ties to even. Clients see its digits (0.1 + 0.2 is
//! `0.3` there, and would not be with 64-bit floats), so it is done here in integers, exactly: reading
//! decimal and hexadecimal text, one addition, and writing. Infinities are refused where they arise.
//!
//! Rejected: exact decimal arithmetic, which is simpler and prettier, but answers other digits than
//! Redis once a sum needs more than 19 of them.

use super::big::Big;

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
pub(in crate::command) struct LongDouble {
    negative: bool,
    infinite: bool,
    significand: u64,
    exp: i32,
}

impl LongDouble {
    pub(in crate::command) const ZERO: LongDouble = LongDouble {
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
    pub(in crate::command) fn parse(text: &[u8]) -> Option<LongDouble> {
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
    pub(in crate::command) fn add(self, other: LongDouble) -> Option<LongDouble> {
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

    /// A thousand times this, rounded up to an integer; `None` above what 64 bits hold. Far below it is as far as that goes.
    pub(in crate::command) fn thousandfold(self) -> Option<i64> {
        let bits = u128::from(self.significand) * 1000;
        let n = LongDouble::round(self.negative, bits, false, self.exp);
        let size = match n.exp {
            _ if self.infinite || n.infinite => u64::MAX,
            1.. => u64::MAX,
            0 => n.significand,
            -63..0 => {
                let part = n.significand & ((1 << -n.exp) - 1) != 0;
                (n.significand >> -n.exp) + u64::from(part && !self.negative)
            }
            _ => u64::from(n.significand != 0 && !self.negative),
        };
        match (i64::try_from(size), self.negative) {
            (Ok(size), false) => Some(size),
            (Ok(size), true) => Some(-size),
            (Err(_), false) => None,
            (Err(_), true) => Some(i64::MIN),
        }
    }

    /// The decimal text with at most 17 digits behind the point, none of them idle.
    pub(in crate::command) fn text(self) -> Vec<u8> {
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
    if let Some(n) = short_decimal(negative, &digits, exp) {
        return Some(n);
    }
    long_decimal(negative, &digits, exp)
}

/// `digits * 10^exp` where 128 bits hold all that is met, as they do for nearly every number written by
/// a person.
fn short_decimal(negative: bool, digits: &[u8], exp: i64) -> Option<LongDouble> {
    if digits.len() > 38 || !(-19..=0).contains(&exp) {
        return None;
    }
    let n = digits.iter().fold(0u128, |n, &d| n * 10 + d as u128);
    let lift = n.leading_zeros();
    let n = n << lift;
    let power = 10u128.pow(exp.unsigned_abs() as u32);
    let (bits, rest) = (n / power, n % power);
    // The first division gives at least 64 bits, and `power` has at most 64: here are 32 more.
    let (bits, rest, shift) = if bits >> 90 == 0 {
        let rest = rest << 32;
        (
            (bits << 32) | (rest / power),
            rest % power,
            lift as i32 + 32,
        )
    } else {
        (bits, rest, lift as i32)
    };
    Some(LongDouble::round(negative, bits, rest != 0, -shift))
}

/// `digits * 10^exp`, whatever they are.
fn long_decimal(negative: bool, digits: &[u8], exp: i64) -> Option<LongDouble> {
    let n = Big::decimal(digits);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousandfold_is_rounded_up() {
        for (text, expected) in [
            ("0", Some(0)),
            ("-0", Some(0)),
            ("1", Some(1000)),
            ("0.01", Some(10)),
            ("0.0101", Some(11)),
            ("1e-10", Some(1)),
            ("1e-4900", Some(1)),
            ("-1e-4900", Some(0)),
            ("-0.0015", Some(-1)),
            ("-0.003", Some(-3)),
            // Not quite 2 as C sees it, and 2003 and a little more.
            ("-0.002", Some(-1)),
            ("2.003", Some(2004)),
            ("0x1p-3", Some(125)),
            ("0x.1P0", Some(63)),
            ("9223372036854775", Some(9_223_372_036_854_775_000)),
            ("9223372036854776", None),
            ("1e4000", None),
            ("-1e4000", Some(i64::MIN)),
            ("inf", None),
            ("-infinity", Some(i64::MIN)),
        ] {
            let n = LongDouble::parse(text.as_bytes()).unwrap();
            assert_eq!(n.thousandfold(), expected, "{text}");
        }
    }
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

        /// The short way comes to the same as the long one.
        #[test]
        fn short_and_long_agree(digits in "[1-9][0-9]{0,37}", exp in -19i64..=0) {
            let digits: Vec<u8> = digits.bytes().map(|b| b - b'0').collect();
            let short = short_decimal(false, &digits, exp);
            prop_assert!(short.is_some());
            prop_assert_eq!(short, long_decimal(false, &digits, exp));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[-+]?[0-9a-fx.]{0,40}([ep][-+]?[0-9]{0,6})?") {
            if let Some(n) = LongDouble::parse(text.as_bytes()) {
                prop_assert!(n.infinite || !n.text().is_empty());
            }
        }
    }
}
