//! A typed line into the words of a command, with the quotes and escapes of redis-cli.

/// How often a command is to run, and the command: a number before it says so.
pub fn counted(args: &[Vec<u8>]) -> (i64, &[Vec<u8>]) {
    let number = args
        .first()
        .and_then(|n| std::str::from_utf8(n).ok()?.parse().ok());
    match number {
        Some(times) if args.len() > 1 => (times, &args[1..]),
        _ => (1, args),
    }
}

/// Splits a line. In `"double quotes"` the escapes `\n \r \t \b \a \xHH \" \\` stand for bytes; in `'single'` only
/// `\'`. The error says what is not closed.
pub fn split(line: &[u8]) -> Result<Vec<Vec<u8>>, &'static str> {
    let mut words = Vec::new();
    let mut at = 0;
    loop {
        while line.get(at).is_some_and(u8::is_ascii_whitespace) {
            at += 1;
        }
        if at >= line.len() {
            return Ok(words);
        }
        let mut word = Vec::new();
        at = match line[at] {
            b'"' => double(line, at + 1, &mut word)?,
            b'\'' => single(line, at + 1, &mut word)?,
            _ => {
                let end = line[at..]
                    .iter()
                    .position(u8::is_ascii_whitespace)
                    .map_or(line.len(), |n| at + n);
                // A quote inside a word opens a quoted part, as in redis-cli.
                let quote = line[at..end].iter().position(|b| matches!(b, b'"' | b'\''));
                match quote.map(|n| at + n) {
                    None => {
                        word.extend_from_slice(&line[at..end]);
                        end
                    }
                    Some(q) => {
                        word.extend_from_slice(&line[at..q]);
                        if line[q] == b'"' {
                            double(line, q + 1, &mut word)?
                        } else {
                            single(line, q + 1, &mut word)?
                        }
                    }
                }
            }
        };
        words.push(word);
    }
}

/// The bytes of one quoted string, or of a bare word. `None` when a quote is not closed, or there are several words.
pub fn unquoted(word: &[u8]) -> Option<Vec<u8>> {
    match split(word).ok()?.as_slice() {
        [one] => Some(one.clone()),
        _ => None,
    }
}

const UNBALANCED: &str = "Invalid argument(s): a quote is not closed, or not followed by a space";

/// What follows a closing quote at `at`: nothing, or a space.
fn closed(line: &[u8], at: usize) -> Result<usize, &'static str> {
    if line.get(at).is_none_or(u8::is_ascii_whitespace) {
        Ok(at)
    } else {
        Err(UNBALANCED)
    }
}

fn double(line: &[u8], mut at: usize, word: &mut Vec<u8>) -> Result<usize, &'static str> {
    loop {
        match line.get(at).ok_or(UNBALANCED)? {
            b'"' => return closed(line, at + 1),
            b'\\' => {
                let hex = |i: usize| line.get(i).and_then(|b| (*b as char).to_digit(16));
                let next = *line.get(at + 1).ok_or(UNBALANCED)?;
                if let (b'x', Some(high), Some(low)) = (next, hex(at + 2), hex(at + 3)) {
                    word.push((high * 16 + low) as u8);
                    at += 4;
                    continue;
                }
                word.push(match next {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    other => other,
                });
                at += 2;
            }
            byte => {
                word.push(*byte);
                at += 1;
            }
        }
    }
}

fn single(line: &[u8], mut at: usize, word: &mut Vec<u8>) -> Result<usize, &'static str> {
    loop {
        match line.get(at).ok_or(UNBALANCED)? {
            b'\'' => return closed(line, at + 1),
            b'\\' if line.get(at + 1) == Some(&b'\'') => {
                word.push(b'\'');
                at += 2;
            }
            byte => {
                word.push(*byte);
                at += 1;
            }
        }
    }
}

/// Bytes as people can read them, not more than a line's worth.
pub fn escaped(bytes: &[u8]) -> String {
    const MOST: usize = 200;
    let end = bytes.len().min(MOST);
    let dots = if end < bytes.len() { "..." } else { "" };
    format!("\"{}\"{dots}", bytes[..end].escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_escapes_are_redis_cli_s() {
        let words = |line: &str| {
            split(line.as_bytes()).map(|w| {
                w.iter()
                    .map(|w| String::from_utf8_lossy(w).into_owned())
                    .collect::<Vec<_>>()
            })
        };
        assert_eq!(words("  set  k  v ").unwrap(), ["set", "k", "v"]);
        assert_eq!(
            words(r#"set k "a \"b\" \n\x41\\""#).unwrap(),
            ["set", "k", "a \"b\" \nA\\"]
        );
        assert_eq!(
            words(r#"set k 'a \n \' "'"#).unwrap(),
            ["set", "k", r#"a \n ' ""#]
        );
        assert_eq!(words(r#"get """#).unwrap(), ["get", ""]);
        assert_eq!(words(r#"x"y z" w"#).unwrap(), ["xy z", "w"]);
        assert!(words("").unwrap().is_empty());
        assert_eq!(unquoted(br#""a\x00 b""#).unwrap(), b"a\0 b");
        assert_eq!((unquoted(b"\"a"), unquoted(b"a b")), (None, None));
        for bad in ["get \"a", "get 'a", "get \"a\"b", "get \"a\\"] {
            assert!(words(bad).is_err(), "{bad}");
        }
    }
}
