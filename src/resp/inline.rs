//! Inline commands: one line, split into words as a small shell would.
//!
//! Words are parted by spaces. Double quotes know `\n \r \t \b \a \xHH` and `\c` for any other `c`;
//! single quotes know only `\'`. A closing quote has to be followed by a space or the end of the line.
//! A word is never longer than what it was written as, so it is unescaped in place and stays a range
//! of the input buffer like any other argument.

use super::Arg;

/// The line's quotes do not close, or a closing quote is glued to what follows.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unbalanced;

fn is_space(b: u8) -> bool {
    matches!(b, b' ' | b'\t'..=b'\r')
}

fn hex(b: u8) -> Option<u8> {
    (b as char).to_digit(16).map(|d| d as u8)
}

/// Splits `line` into words, unescaping them in place, and pushes them to `out`; positions count from
/// the start of `line` plus `base`. On an error `out` may hold words of the line already.
pub(super) fn split(line: &mut [u8], base: usize, out: &mut Vec<Arg>) -> Result<(), Unbalanced> {
    let mut i = 0;
    loop {
        while i < line.len() && is_space(line[i]) {
            i += 1;
        }
        if i == line.len() {
            return Ok(());
        }
        let start = i;
        let len = word(line, &mut i)?;
        out.push(Arg {
            start: (base + start) as u32,
            len: len as u32,
        });
    }
}

/// Reads one word at `*i`, leaves its plain bytes at the place where it began, and returns their number.
fn word(line: &mut [u8], i: &mut usize) -> Result<usize, Unbalanced> {
    let start = *i;
    let mut to = start;
    let mut quote = None;
    loop {
        let Some(&b) = line.get(*i) else {
            return if quote.is_none() {
                Ok(to - start)
            } else {
                Err(Unbalanced)
            };
        };
        let plain = match (quote, b) {
            (None, b' ' | b'\n' | b'\r' | b'\t') => return Ok(to - start),
            (None, b'"' | b'\'') => {
                quote = Some(b);
                *i += 1;
                continue;
            }
            (Some(q), _) if b == q => {
                *i += 1;
                return match line.get(*i) {
                    Some(&next) if !is_space(next) => Err(Unbalanced),
                    _ => Ok(to - start),
                };
            }
            (Some(b'"'), b'\\') if *i + 1 < line.len() => escape(line, i),
            (Some(b'\''), b'\\') if line.get(*i + 1) == Some(&b'\'') => {
                *i += 1;
                b'\''
            }
            _ => b,
        };
        *i += 1;
        line[to] = plain;
        to += 1;
    }
}

/// The byte that the escape at `*i` stands for; leaves `*i` on the escape's last byte.
fn escape(line: &[u8], i: &mut usize) -> u8 {
    if line[*i + 1] == b'x'
        && let (Some(&h), Some(&l)) = (line.get(*i + 2), line.get(*i + 3))
        && let (Some(h), Some(l)) = (hex(h), hex(l))
    {
        *i += 3;
        return h << 4 | l;
    }
    *i += 1;
    match line[*i] {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 8,
        b'a' => 7,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Result<Vec<Vec<u8>>, Unbalanced> {
        let mut line = line.as_bytes().to_vec();
        let mut out = Vec::new();
        split(&mut line, 0, &mut out)?;
        Ok(out.iter().map(|a| a.of(&line).to_vec()).collect())
    }

    #[test]
    fn words_quotes_and_escapes() {
        assert_eq!(words("set  a\tb ").unwrap(), [b"set", &b"a"[..], b"b"]);
        assert_eq!(words("").unwrap(), Vec::<Vec<u8>>::new());
        assert_eq!(words(" \x0b\x0c ").unwrap(), Vec::<Vec<u8>>::new());
        assert_eq!(words("\"\" ''").unwrap(), [b"", b""]);
        assert_eq!(
            words(r#"e "\x41\n\q\\ z""#).unwrap(),
            [&b"e"[..], b"A\nq\\ z"]
        );
        assert_eq!(words(r#""\x4" "\xzz""#).unwrap(), [&b"x4"[..], b"xzz"]);
        assert_eq!(words(r"'it\'s \n'").unwrap(), [&br"it's \n"[..]]);
        assert_eq!(words(r#"ab"cd" x'y z'"#).unwrap(), [&b"abcd"[..], b"xy z"]);
    }

    #[test]
    fn quotes_that_do_not_close() {
        for bad in [
            "\"a", "'a", "\"a\"b", "'a'b", "\"a\\\"", "'a\\'", "\"\\", "a\"b\"c",
        ] {
            assert_eq!(words(bad), Err(Unbalanced), "{bad}");
        }
    }
}
