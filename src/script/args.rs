//! Arguments of library functions, taken and refused as Lua's own library does.

use mlua::{MultiValue, Value};

use super::convert::number;
use super::raw::Fail;
use crate::resp::number::parse_f64;

/// The name of a value's type, in Lua's words.
pub fn type_name(value: Option<&Value>) -> &'static str {
    match value {
        None => "no value",
        Some(Value::Integer(_)) => "number",
        Some(Value::LightUserData(_) | Value::UserData(_) | Value::Error(_)) => "userdata",
        Some(value) => value.type_name(),
    }
}

/// What is wrong with the argument of number `n`, from 1.
pub fn bad(n: usize, function: &str, why: &str) -> Fail {
    Fail::At(format!("bad argument #{n} to '{function}' ({why})"))
}

fn expected(args: &MultiValue, n: usize, function: &str, what: &str) -> Fail {
    let got = type_name(args.get(n - 1));
    bad(n, function, &format!("{what} expected, got {got}"))
}

/// A number as `%.14g` writes it, which is how Lua turns numbers into text.
pub fn put_number(out: &mut Vec<u8>, n: f64) {
    put_g(out, n, 14);
}

/// A number as `%.<precision>g` writes it.
pub fn put_g(out: &mut Vec<u8>, n: f64, precision: usize) {
    if n.is_nan() {
        out.extend_from_slice(if n.is_sign_negative() {
            b"-nan"
        } else {
            b"nan"
        });
        return;
    }
    if n.is_infinite() {
        out.extend_from_slice(if n < 0.0 { b"-inf" } else { b"inf" });
        return;
    }
    let precision = precision.max(1);
    let scientific = format!("{:.*e}", precision - 1, n);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trim = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    let text = if exponent < -4 || exponent >= precision as i32 {
        let sign = if exponent < 0 { '-' } else { '+' };
        format!("{}e{sign}{:02}", trim(mantissa), exponent.unsigned_abs())
    } else {
        let decimals = (precision as i32 - 1 - exponent).max(0) as usize;
        trim(&format!("{n:.decimals$}"))
    };
    out.extend_from_slice(text.as_bytes());
}

/// The argument of number `n`, from 1, as a string; a number is one, too.
pub fn text(args: &MultiValue, n: usize, function: &str) -> Result<Vec<u8>, Fail> {
    match args.get(n - 1) {
        Some(Value::String(text)) => Ok(text.as_bytes().to_vec()),
        Some(value) if number(value).is_some() => {
            let mut text = Vec::new();
            put_number(&mut text, number(value).unwrap_or_default());
            Ok(text)
        }
        _ => Err(expected(args, n, function, "string")),
    }
}

/// The argument of number `n`, from 1, as a number; a string that spells one is one, too.
pub fn num(args: &MultiValue, n: usize, function: &str) -> Result<f64, Fail> {
    match args.get(n - 1) {
        Some(Value::String(text)) => {
            let parsed = parse_f64(text.as_bytes().trim_ascii());
            parsed.ok_or_else(|| expected(args, n, function, "number"))
        }
        Some(value) => number(value).ok_or_else(|| expected(args, n, function, "number")),
        None => Err(expected(args, n, function, "number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_c_writes_them() {
        for (n, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (0.1, "0.1"),
            (1e14, "1e+14"),
            (99_999_999_999_999.0, "99999999999999"),
            (123_456_789_012_345.0, "1.2345678901234e+14"),
            (1e-5, "1e-05"),
            (0.0001, "0.0001"),
            (1.5e300, "1.5e+300"),
            (-2.5, "-2.5"),
            (f64::INFINITY, "inf"),
        ] {
            let mut out = Vec::new();
            put_number(&mut out, n);
            assert_eq!(String::from_utf8_lossy(&out), text);
        }
    }
}
