//! Sizes and durations as text. Sizes follow Redis: `k`, `m`, `g`, `t` are powers of 1000; with a `b` (`kb`) or as
//! `KiB` they are powers of 1024. Durations are whole numbers of `us`, `ms`, `s`, `m`, `h` or `d`.

use std::time::Duration;

/// The unit that a bare number stands for in a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// No Redis name gives it a unit: it must be written. Zero needs none.
    Written,
    /// Microseconds.
    Micros,
    /// Milliseconds.
    Millis,
    /// Seconds.
    Seconds,
}

const SIZES: [(&str, u64); 13] = [
    ("", 1),
    ("b", 1),
    ("k", 1000),
    ("m", 1_000_000),
    ("g", 1_000_000_000),
    ("t", 1_000_000_000_000),
    ("kb", 1 << 10),
    ("mb", 1 << 20),
    ("gb", 1 << 30),
    ("tb", 1 << 40),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
];

/// Splits `64mb` into its number and its unit in lower case.
fn number_and_unit(text: &str) -> Option<(u64, String)> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    Some((
        text[..digits].parse().ok()?,
        text[digits..].trim_start().to_ascii_lowercase(),
    ))
}

/// Reads a size; `None` when it is none, or does not fit 64 bits.
pub fn parse_size(text: &str) -> Option<u64> {
    let (n, unit) = number_and_unit(text)?;
    let unit = if unit == "tib" { "tb" } else { &unit };
    let (_, factor) = SIZES.iter().find(|(name, _)| *name == unit)?;
    n.checked_mul(*factor)
}

/// Writes a size in the largest unit that keeps it whole.
pub fn show_size(bytes: u64) -> String {
    for (unit, shift) in [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)] {
        if bytes > 0 && bytes.trailing_zeros() >= shift {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    bytes.to_string()
}

/// Reads a duration such as `5ms`, `1h` or `90d`; a bare number counts `unit`s.
pub fn parse_span(text: &str, unit: Unit) -> Result<Duration, String> {
    let bad = || String::from("must be a duration such as 50us, 5ms, 30s, 10m, 1h or 90d");
    let (n, word) = number_and_unit(text).ok_or_else(bad)?;
    let micros_each: u64 = match (word.as_str(), unit) {
        ("", Unit::Seconds) | ("s", _) => 1_000_000,
        ("", Unit::Micros) | ("us", _) => 1,
        ("", Unit::Written) if n == 0 => 1,
        ("", Unit::Written) => {
            return Err(format!(
                "must have a unit: write {n}ms or {n}s, for example"
            ));
        }
        ("", Unit::Millis) | ("ms", _) => 1_000,
        ("m" | "min", _) => 60_000_000,
        ("h", _) => 3_600_000_000,
        ("d", _) => 86_400_000_000,
        _ => return Err(bad()),
    };
    n.checked_mul(micros_each)
        .map(Duration::from_micros)
        .ok_or_else(bad)
}

/// Writes a duration in the largest unit that keeps it whole.
pub fn show_span(span: Duration) -> String {
    let micros = span.as_micros();
    if micros == 0 {
        return "0s".into();
    }
    for (unit, each) in [
        ("d", 86_400_000_000),
        ("h", 3_600_000_000),
        ("m", 60_000_000),
        ("s", 1_000_000),
        ("ms", 1000),
    ] {
        if micros.is_multiple_of(each) {
            return format!("{}{unit}", micros / each);
        }
    }
    format!("{micros}us")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_redis_reads_them_and_come_back() {
        for (text, bytes) in [
            ("64MiB", 64 << 20),
            ("64mb", 64 << 20),
            ("64m", 64_000_000),
            ("1 kb", 1024),
            ("7", 7),
            ("2TiB", 2 << 40),
            ("0", 0),
        ] {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
            assert_eq!(parse_size(&show_size(bytes)), Some(bytes), "{text}");
        }
        for bad in ["", "mb", "-1", "1.5gb", "64 miles", "99999999999tb", "1kbb"] {
            assert_eq!(parse_size(bad), None, "{bad}");
        }
    }

    #[test]
    fn durations_carry_their_unit_or_redis_s() {
        let ms = Duration::from_millis;
        for (text, span) in [
            ("5ms", ms(5)),
            ("1h", ms(3_600_000)),
            ("90d", ms(90 * 86_400_000)),
            ("50us", Duration::from_micros(50)),
        ] {
            assert_eq!(parse_span(text, Unit::Written), Ok(span), "{text}");
            assert_eq!(show_span(span), if text == "1h" { "1h" } else { text });
        }
        assert_eq!(parse_span("300", Unit::Seconds), Ok(ms(300_000)));
        assert_eq!(parse_span("10000", Unit::Micros), Ok(ms(10)));
        assert!(parse_span("5", Unit::Written).unwrap_err().contains("5ms"));
        assert_eq!(parse_span("0", Unit::Written), Ok(Duration::ZERO));
        for bad in ["", "ms", "-5ms", "5 fortnights", "999999999999999d"] {
            assert!(parse_span(bad, Unit::Seconds).is_err(), "{bad}");
        }
    }
}
