//! Scores and the ends of ranges as clients write them.
//!
//! What is a number is C's `strtod`'s to say in Redis, so it is here: decimal and hexadecimal text and infinities by name.
//! A score has to be that and nothing else, neither too large nor too small for a double. The end of a range is read more
//! kindly: blanks may stand before it, nothing at all is 0, and what is too large is an infinity.

use crate::command::Error;
use crate::shard::kinds::zset::Zset;

/// Reads a number, whatever its size; `None` for what is none, or NaN.
fn number(text: &[u8]) -> Option<f64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    // Most are small whole numbers.
    if (1..=15).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit) {
        let whole = digits
            .iter()
            .fold(0u64, |n, d| n * 10 + u64::from(d - b'0'));
        let value = whole as f64;
        return Some(if negative { -value } else { value });
    }
    if let [b'0', b'x' | b'X', rest @ ..] = digits {
        let value = hexadecimal(rest)?;
        return Some(if negative { -value } else { value });
    }
    let value: f64 = str::from_utf8(text).ok()?.parse().ok()?;
    (!value.is_nan()).then_some(value)
}

/// Reads what stands behind `0x`: digits, perhaps with a point, and perhaps a power of two.
fn hexadecimal(text: &[u8]) -> Option<f64> {
    let power = text.iter().position(|b| matches!(b, b'p' | b'P'));
    let (digits, power) = match power {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    let mut exponent = match power {
        Some(power) => {
            let unsigned = power.strip_prefix(b"+").unwrap_or(power);
            let bare = power.strip_prefix(b"-").unwrap_or(unsigned);
            if bare.is_empty() || !bare.iter().all(u8::is_ascii_digit) {
                return None;
            }
            let most = bare.iter().fold(0i64, |n, d| {
                (n * 10 + i64::from(d - b'0')).min(1_000_000_000)
            });
            if power[0] == b'-' { -most } else { most }
        }
        None => 0,
    };
    let (mut bits, mut seen, mut point) = (0u64, false, false);
    for &b in digits {
        if b == b'.' && !point {
            point = true;
            continue;
        }
        let digit = u64::from(char::from(b).to_digit(16)?);
        seen = true;
        if bits >> 58 == 0 {
            bits = bits << 4 | digit;
            exponent -= if point { 4 } else { 0 };
        } else {
            // Far below the last place of a double: whether anything is there is all that counts.
            bits |= u64::from(digit != 0);
            exponent += if point { 0 } else { 4 };
        }
    }
    if !seen {
        return None;
    }
    let mut value = bits as f64;
    let mut left = exponent.clamp(-3000, 3000) as i32;
    while left != 0 && value != 0.0 && value.is_finite() {
        let step = left.clamp(-900, 900);
        value *= 2f64.powi(step);
        left -= step;
    }
    Some(value)
}

/// Reads a score, a weight or a coordinate: all of the text, and within a double's range.
pub(in crate::command) fn parse(text: &[u8]) -> Option<f64> {
    let value = number(text)?;
    let spelled = match text {
        [b'+' | b'-', rest @ ..] => rest,
        _ => text,
    };
    let fits = if value.is_infinite() {
        matches!(spelled.first(), Some(b'i' | b'I'))
    } else if value == 0.0 {
        let (from, end): (usize, &[u8]) = match spelled {
            [b'0', b'x' | b'X', ..] => (2, b"pP"),
            _ => (0, b"eE"),
        };
        let digits = spelled[from..].iter().take_while(|&b| !end.contains(b));
        digits.into_iter().all(|b| matches!(b, b'0' | b'.'))
    } else {
        true
    };
    fits.then_some(value)
}

/// One end of a range of scores.
#[derive(Clone, Copy, Debug)]
struct End {
    score: f64,
    /// The end itself is not meant.
    open: bool,
}

fn end(text: &[u8]) -> Result<End, Error> {
    let (open, text) = match text {
        [b'(', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    let shown = crate::command::error::up_to_nul(text, usize::MAX);
    let blank = |b: &u8| matches!(b, b' ' | b'\t'..=b'\r');
    let start = shown.iter().position(|b| !blank(b)).unwrap_or(0);
    let score = match shown {
        [] => Some(0.0),
        _ => number(&shown[start..]),
    };
    let score = score.ok_or(Error::Text("ERR min or max is not a float"))?;
    Ok(End { score, open })
}

/// A range of scores.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scores {
    min: End,
    max: End,
}

impl Scores {
    /// Reads `min` and `max`; `(` before one leaves it out.
    pub(super) fn parse(min: &[u8], max: &[u8]) -> Result<Scores, Error> {
        Ok(Scores {
            min: end(min)?,
            max: end(max)?,
        })
    }

    /// The ranks it covers in a set.
    pub(super) fn ranks(&self, set: &Zset) -> (usize, usize) {
        let (min, max) = (self.min, self.max);
        let from = set.position(|s, _| s < min.score || (min.open && s == min.score));
        let to = set.position(|s, _| s < max.score || (!max.open && s == max.score));
        (from, to.max(from))
    }
}

/// One end of a range of members.
#[derive(Clone, Copy, Debug)]
enum Bound<'a> {
    /// `-`: before every member.
    Lowest,
    /// `+`: behind every member.
    Highest,
    /// `[`
    At(&'a [u8]),
    /// `(`
    Beside(&'a [u8]),
}

fn bound(text: &[u8]) -> Result<Bound<'_>, Error> {
    match text {
        [b'-'] => Ok(Bound::Lowest),
        [b'+'] => Ok(Bound::Highest),
        [b'[', member @ ..] => Ok(Bound::At(member)),
        [b'(', member @ ..] => Ok(Bound::Beside(member)),
        _ => Err(Error::Text("ERR min or max not valid string range item")),
    }
}

/// A range of members, for sets whose members all have the same score.
#[derive(Clone, Copy, Debug)]
pub(super) struct Names<'a> {
    min: Bound<'a>,
    max: Bound<'a>,
}

impl<'a> Names<'a> {
    /// Reads `min` and `max`.
    pub(super) fn parse(min: &'a [u8], max: &'a [u8]) -> Result<Names<'a>, Error> {
        Ok(Names {
            min: bound(min)?,
            max: bound(max)?,
        })
    }

    /// The ranks it covers in a set.
    pub(super) fn ranks(&self, set: &Zset) -> (usize, usize) {
        let before = |bound: Bound<'_>, at: bool, m: &[u8]| match bound {
            Bound::Lowest => false,
            Bound::Highest => true,
            Bound::At(name) => m < name || (at && m == name),
            Bound::Beside(name) => m < name || (!at && m == name),
        };
        let from = set.position(|_, m| before(self.min, false, m));
        let to = set.position(|_, m| before(self.max, true, m));
        (from, to.max(from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_what_strtod_reads_whole() {
        let rows: &[(&str, f64)] = &[
            ("0", 0.0),
            ("-0", -0.0),
            ("+7", 7.0),
            ("1.5", 1.5),
            (".5", 0.5),
            ("5.", 5.0),
            ("1e3", 1000.0),
            ("0x10", 16.0),
            ("0x.8p1", 1.0),
            ("-0xAp-1", -5.0),
            ("0x0p9", 0.0),
            ("0x1.fffffffffffff8p0", 2.0),
            ("0x1p-1074", f64::from_bits(1)),
            ("inf", f64::INFINITY),
            ("-Infinity", f64::NEG_INFINITY),
            ("123456789012345678", 123_456_789_012_345_680.0),
            ("0x123456789abcdef01234", 85968058283706963460096.0),
        ];
        for (text, value) in rows {
            let parsed = parse(text.as_bytes()).unwrap();
            assert_eq!(parsed.to_bits(), value.to_bits(), "{text}");
        }
        let none = [
            "",
            " 1",
            "1 ",
            "x",
            "nan",
            "1e400",
            "-1e400",
            "1e-400",
            "0x",
            "0x1p",
            "0xg",
            "0x1p9999",
            "0x1p-2000",
            "1e",
            "e5",
            ".",
            "--1",
            "1_0",
            "0x.p1",
        ];
        for text in none {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn ends_of_ranges_are_read_kindly() {
        let read = |text: &[u8]| end(text).map(|e| (e.score, e.open)).ok();
        assert_eq!(read(b""), Some((0.0, false)));
        assert_eq!(read(b"("), Some((0.0, true)));
        assert_eq!(read(b"( 1"), Some((1.0, true)));
        assert_eq!(read(b"\t-2"), Some((-2.0, false)));
        assert_eq!(read(b"1e400"), Some((f64::INFINITY, false)));
        assert_eq!(read(b"1\0x"), Some((1.0, false)));
        assert_eq!(read(b"(-inf"), Some((f64::NEG_INFINITY, true)));
        for bad in [&b" "[..], b"1 ", b"((1", b"nan", b"[1"] {
            assert_eq!(read(bad), None, "{}", bad.escape_ascii());
        }
    }
}
