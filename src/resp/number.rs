//! Decimal numbers as Redis reads and writes them.
//!
//! Reading is strict: the text has to be exactly what writing the number would give, so that a value
//! stored as a number can be handed back byte for byte.

/// Reads a signed 64-bit integer. No spaces, no `+`, no leading zeros, no `-0`.
pub fn parse_i64(s: &[u8]) -> Option<i64> {
    let (negative, digits) = match s {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, s),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [b'1'..=b'9', ..] if digits.len() <= 19 => {}
        _ => return None,
    }
    let mut n: u64 = 0;
    for &b in digits {
        let d = b.wrapping_sub(b'0');
        if d > 9 {
            return None;
        }
        n = n.checked_mul(10)?.checked_add(d as u64)?;
    }
    match negative {
        false => i64::try_from(n).ok(),
        true if n <= 1 << 63 => Some((n as i64).wrapping_neg()),
        true => None,
    }
}

/// Reads a floating point number: decimal, with or without exponent, or an infinity by its name; nothing before or
/// behind it. `None` for anything else, what is not a number included.
pub fn parse_f64(s: &[u8]) -> Option<f64> {
    let text = str::from_utf8(s).ok()?;
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let infinite = ["inf", "infinity"]
        .iter()
        .any(|name| digits.eq_ignore_ascii_case(name));
    let value: f64 = text.parse().ok()?;
    // A finite spelling of what is too large is no number, as C's `strtod` says by ERANGE.
    (!value.is_nan() && value.is_infinite() == infinite).then_some(value)
}

/// Appends `n` in decimal.
pub fn put_u64(out: &mut Vec<u8>, mut n: u64) {
    if n < 10 {
        out.push(b'0' + n as u8);
        return;
    }
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    while n > 0 {
        at -= 1;
        digits[at] = b'0' + (n % 10) as u8;
        n /= 10;
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends `n` in decimal.
pub fn put_i64(out: &mut Vec<u8>, n: i64) {
    if n < 0 {
        out.push(b'-');
    }
    put_u64(out, n.unsigned_abs());
}

/// The number of bytes [`put_i64`] would append.
pub fn i64_len(n: i64) -> usize {
    u64_len(n.unsigned_abs()) + (n < 0) as usize
}

/// The number of bytes [`put_u64`] would append.
pub fn u64_len(n: u64) -> usize {
    n.checked_ilog10().map_or(1, |log| log as usize + 1)
}

/// Appends the shortest text that reads back as `d`, in the layout Redis 7.2 uses for doubles: whole numbers of up to
/// about 4.6e18 in full, otherwise plain digits for moderate exponents, `d.ddde+x` beyond; `inf`, `-inf`, `nan`.
pub fn put_f64(out: &mut Vec<u8>, d: f64) {
    let whole = d as i64;
    if whole as f64 == d && whole != 0 && whole.unsigned_abs() <= i64::MAX as u64 / 2 {
        return put_i64(out, whole);
    }
    if d.is_nan() {
        return out.extend_from_slice(b"nan");
    }
    if d.is_sign_negative() {
        out.push(b'-');
    }
    if d.is_infinite() {
        return out.extend_from_slice(b"inf");
    }
    if d == 0.0 {
        return out.push(b'0');
    }
    // `{:e}` writes the shortest digits as d.ddde-x.
    let text = format!("{:e}", d.abs());
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let digits: Vec<u8> = mantissa.bytes().filter(|&b| b != b'.').collect();
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let count = digits.len() as i32;
    // The value is digits * 10^scale.
    let scale = exponent - count + 1;
    if scale >= 0 && exponent < count + 7 {
        out.extend_from_slice(&digits);
        out.extend(std::iter::repeat_n(b'0', scale as usize));
    } else if scale < 0 && (scale > -7 || exponent.abs() < 4) {
        let whole = count + scale;
        if whole <= 0 {
            out.extend_from_slice(b"0.");
            out.extend(std::iter::repeat_n(b'0', -whole as usize));
            out.extend_from_slice(&digits);
        } else {
            let (a, b) = digits.split_at(whole as usize);
            out.extend_from_slice(a);
            out.push(b'.');
            out.extend_from_slice(b);
        }
    } else {
        out.push(digits[0]);
        if count > 1 {
            out.push(b'.');
            out.extend_from_slice(&digits[1..]);
        }
        out.push(b'e');
        out.push(if exponent < 0 { b'-' } else { b'+' });
        put_u64(out, exponent.unsigned_abs() as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_the_canonical_text_is_a_number() {
        for (s, n) in [
            ("0", 0),
            ("7", 7),
            ("-1", -1),
            ("9223372036854775807", i64::MAX),
            ("-9223372036854775808", i64::MIN),
        ] {
            assert_eq!(parse_i64(s.as_bytes()), Some(n), "{s}");
        }
        for s in [
            "",
            "-",
            "-0",
            "00",
            "01",
            "+1",
            " 1",
            "1 ",
            "1a",
            "0x1",
            "9223372036854775808",
            "-9223372036854775809",
            "99999999999999999999",
            "1.0",
            "--1",
        ] {
            assert_eq!(parse_i64(s.as_bytes()), None, "{s}");
        }
    }

    proptest! {
        #[test]
        fn integers_come_back(n: i64) {
            let mut out = Vec::new();
            put_i64(&mut out, n);
            let text = n.to_string();
            prop_assert_eq!(&out[..], text.as_bytes());
            prop_assert_eq!(out.len(), i64_len(n));
            prop_assert_eq!(parse_i64(&out), Some(n));
        }

        #[test]
        fn doubles_come_back(d: f64) {
            let mut out = Vec::new();
            put_f64(&mut out, d);
            let text = String::from_utf8(out).unwrap();
            let back: f64 = text.parse().unwrap();
            prop_assert!(back == d || d.is_nan(), "{d} {text}");
        }
    }

    #[test]
    fn the_layout_of_doubles() {
        for (d, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-2.5, "-2.5"),
            (0.1, "0.1"),
            (1e-7, "1e-7"),
            (0.00123, "0.00123"),
            (1.0e10, "10000000000"),
            (-1.0e18, "-1000000000000000000"),
            (3.0e20, "3e+20"),
            (1234567890.0, "1234567890"),
            (1.5e300, "1.5e+300"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            let mut out = Vec::new();
            put_f64(&mut out, d);
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }
}
