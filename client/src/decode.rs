//! RESP2 and RESP3 replies out of a stream of bytes that may break anywhere.
//!
//! The decoder keeps the open arrays on a stack of its own, so a reply is read once whatever pieces it comes in, and
//! nesting costs no machine stack. A length that the server claims reserves nothing: memory follows the bytes that
//! have come. Format: the RESP specification in the Redis documentation.

use crate::Value;

/// What a reply may be at most; anything above is refused before it is taken in.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of one string.
    pub bulk: usize,
    /// Values in one reply, all levels together.
    pub values: usize,
    /// Levels of nesting.
    pub depth: usize,
    /// Bytes of one line: a status, an error, a number.
    pub line: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            bulk: 512 << 20,
            values: 64 << 20,
            depth: 64,
            line: 1 << 20,
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Array,
    Set,
    Push,
    Map,
    /// Out-of-band remarks before a value: read and dropped.
    Attribute,
}

struct Open {
    kind: Kind,
    missing: usize,
    items: Vec<Value>,
}

/// Takes bytes in, gives values out.
pub struct Decoder {
    limits: Limits,
    buf: Vec<u8>,
    pos: usize,
    /// How far the line at `pos` has been searched for its end.
    searched: usize,
    open: Vec<Open>,
    values: usize,
}

impl Default for Decoder {
    fn default() -> Self {
        Decoder::new(Limits::default())
    }
}

impl Decoder {
    /// A decoder at the start of a reply.
    pub fn new(limits: Limits) -> Decoder {
        Decoder {
            limits,
            buf: Vec::new(),
            pos: 0,
            searched: 0,
            open: Vec::new(),
            values: 0,
        }
    }

    /// Adds bytes that have come.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.pos > 0 && (self.pos == self.buf.len() || self.pos >= 64 << 10) {
            self.buf.drain(..self.pos);
            self.searched = self.searched.saturating_sub(self.pos);
            self.pos = 0;
        }
        self.buf.extend_from_slice(bytes);
    }

    /// The next whole reply; `None` when more bytes are needed. After an error the stream cannot be read on.
    pub fn take(&mut self) -> Result<Option<Value>, String> {
        while let Some(item) = self.item()? {
            if let Some(done) = self.close(item) {
                self.values = 0;
                return Ok(Some(done));
            }
        }
        Ok(None)
    }

    /// Puts a value into the innermost open array, and closes those that are full. A reply that is whole comes out.
    fn close(&mut self, item: Option<Value>) -> Option<Value> {
        // `None`: an array was opened or an attribute ended, and nothing is to be put anywhere.
        let mut value = item?;
        loop {
            let Some(top) = self.open.last_mut() else {
                return Some(value);
            };
            top.items.push(value);
            top.missing -= 1;
            if top.missing > 0 {
                return None;
            }
            let full = self.open.pop()?;
            value = match full.kind {
                Kind::Array => Value::Array(full.items),
                Kind::Set => Value::Set(full.items),
                Kind::Push => Value::Push(full.items),
                Kind::Map => Value::Map(pairs(full.items)),
                Kind::Attribute => return None,
            };
        }
    }

    /// One value, or the head of an array (`Some(None)`). `None`: more bytes are needed.
    fn item(&mut self) -> Result<Option<Option<Value>>, String> {
        let Some(end) = self.line_end()? else {
            return Ok(None);
        };
        let (tag, after) = (self.buf[self.pos], end + 2);
        let line = std::str::from_utf8(&self.buf[self.pos + 1..end]);
        let lossy = || String::from_utf8_lossy(&self.buf[self.pos + 1..end]).into_owned();
        let bad = |what: &str| format!("{what} `{}`", lossy().chars().take(40).collect::<String>());
        let number = || line.ok().and_then(|l| l.parse::<i64>().ok());
        let value = match tag {
            b'+' => Value::Simple(lossy()),
            b'-' => Value::Error(lossy()),
            b':' => Value::Int(number().ok_or_else(|| bad("bad integer"))?),
            b'_' => Value::Null,
            b'#' => match line {
                Ok("t") => Value::Bool(true),
                Ok("f") => Value::Bool(false),
                _ => return Err(bad("bad truth value")),
            },
            b',' => Value::Double(
                line.ok()
                    .and_then(|l| l.parse().ok())
                    .ok_or_else(|| bad("bad double"))?,
            ),
            b'(' => {
                let digits = lossy();
                let plain = digits.strip_prefix('-').unwrap_or(&digits);
                if plain.is_empty() || !plain.bytes().all(|b| b.is_ascii_digit()) {
                    return Err(bad("bad big number"));
                }
                Value::Big(digits)
            }
            b'$' | b'=' | b'!' => {
                let len = match number() {
                    Some(-1) if tag == b'$' => None,
                    Some(n) if n >= 0 => Some(n as usize),
                    _ => return Err(bad("bad string length")),
                };
                let Some(len) = len else {
                    return self.step(after, Some(Value::Null));
                };
                if len > self.limits.bulk {
                    return Err(format!(
                        "a string of {len} bytes, above the limit of {}",
                        self.limits.bulk
                    ));
                }
                if self.buf.len() < after + len + 2 {
                    return Ok(None);
                }
                let body = self.buf[after..after + len].to_vec();
                if &self.buf[after + len..after + len + 2] != b"\r\n" {
                    return Err("a string that is longer than its length".into());
                }
                let value = match tag {
                    b'$' => Value::Bulk(body),
                    b'!' => Value::Error(String::from_utf8_lossy(&body).into_owned()),
                    _ if body.get(3) == Some(&b':') => Value::Verbatim(
                        String::from_utf8_lossy(&body[..3]).into_owned(),
                        body[4..].to_vec(),
                    ),
                    _ => return Err("a verbatim string without a format".into()),
                };
                return self.step(after + len + 2, Some(value));
            }
            b'*' | b'~' | b'>' | b'%' | b'|' => {
                let kind = match tag {
                    b'*' => Kind::Array,
                    b'~' => Kind::Set,
                    b'>' => Kind::Push,
                    b'%' => Kind::Map,
                    _ => Kind::Attribute,
                };
                let n = match number() {
                    Some(-1) if kind == Kind::Array => return self.step(after, Some(Value::Null)),
                    Some(n) if n >= 0 => n as usize,
                    _ => return Err(bad("bad array length")),
                };
                let missing = n.saturating_mul(if matches!(kind, Kind::Map | Kind::Attribute) {
                    2
                } else {
                    1
                });
                if missing > self.limits.values - self.values.min(self.limits.values) {
                    return Err(format!(
                        "more than {} values in one reply",
                        self.limits.values
                    ));
                }
                if missing > 0 {
                    if self.open.len() >= self.limits.depth {
                        return Err(format!("nested deeper than {} levels", self.limits.depth));
                    }
                    self.open.push(Open {
                        kind,
                        missing,
                        items: Vec::new(),
                    });
                    return self.step(after, None);
                }
                match kind {
                    Kind::Array => Value::Array(Vec::new()),
                    Kind::Set => Value::Set(Vec::new()),
                    Kind::Push => Value::Push(Vec::new()),
                    Kind::Map => Value::Map(Vec::new()),
                    Kind::Attribute => return self.step(after, None),
                }
            }
            other => return Err(format!("a reply that begins with byte 0x{other:02x}")),
        };
        self.step(after, Some(value))
    }

    /// Moves past an item.
    fn step(&mut self, to: usize, value: Option<Value>) -> Result<Option<Option<Value>>, String> {
        self.pos = to;
        self.searched = to;
        self.values += 1;
        if self.values > self.limits.values {
            return Err(format!(
                "more than {} values in one reply",
                self.limits.values
            ));
        }
        Ok(Some(value))
    }

    /// Index of the CR that ends the line at `pos`.
    fn line_end(&mut self) -> Result<Option<usize>, String> {
        let from = self.searched.max(self.pos);
        match self.buf[from..]
            .iter()
            .position(|b| *b == b'\n')
            .map(|i| from + i)
        {
            Some(lf) if lf >= self.pos + 2 && self.buf[lf - 1] == b'\r' => {
                // Found again, cheaply, when the body of a string is still missing.
                self.searched = lf;
                Ok(Some(lf - 1))
            }
            Some(_) => Err("a line that does not end in CR LF".into()),
            None => {
                self.searched = self.buf.len();
                if self.buf.len() - self.pos > self.limits.line {
                    return Err(format!("a line longer than {} bytes", self.limits.line));
                }
                Ok(None)
            }
        }
    }
}

fn pairs(items: Vec<Value>) -> Vec<(Value, Value)> {
    let mut items = items.into_iter();
    let mut out = Vec::with_capacity(items.len() / 2);
    while let (Some(k), Some(v)) = (items.next(), items.next()) {
        out.push((k, v));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &[u8] = b"+OK\r\n-ERR no\r\n:-7\r\n$5\r\nhe\r\no\r\n$-1\r\n*-1\r\n*2\r\n$0\r\n\r\n*1\r\n:1\r\n_\r\n#t\r\n,1.5\r\n,inf\r\n(123456789012345678901\r\n\
        =7\r\ntxt:abc\r\n!6\r\nERR no\r\n%1\r\n+a\r\n~2\r\n:1\r\n:2\r\n>2\r\n+message\r\n+x\r\n*0\r\n%0\r\n|1\r\n+ttl\r\n:3\r\n+after\r\n";

    fn expected() -> Vec<Value> {
        let bulk = |s: &str| Value::Bulk(s.into());
        let simple = |s: &str| Value::Simple(s.into());
        vec![
            simple("OK"),
            Value::Error("ERR no".into()),
            Value::Int(-7),
            bulk("he\r\no"),
            Value::Null,
            Value::Null,
            Value::Array(vec![bulk(""), Value::Array(vec![Value::Int(1)])]),
            Value::Null,
            Value::Bool(true),
            Value::Double(1.5),
            Value::Double(f64::INFINITY),
            Value::Big("123456789012345678901".into()),
            Value::Verbatim("txt".into(), b"abc".to_vec()),
            Value::Error("ERR no".into()),
            Value::Map(vec![(
                simple("a"),
                Value::Set(vec![Value::Int(1), Value::Int(2)]),
            )]),
            Value::Push(vec![simple("message"), simple("x")]),
            Value::Array(vec![]),
            Value::Map(vec![]),
            simple("after"),
        ]
    }

    #[test]
    fn every_kind_is_read_in_pieces_of_every_size() {
        for size in 1..=ALL.len() {
            let mut d = Decoder::default();
            let mut got = Vec::new();
            for piece in ALL.chunks(size) {
                d.feed(piece);
                while let Some(v) = d.take().unwrap() {
                    got.push(v);
                }
            }
            assert_eq!(got, expected(), "pieces of {size}");
        }
    }

    #[test]
    fn what_is_not_resp_is_refused_by_name() {
        for (bytes, why) in [
            (&b"HTTP/1.1 400\r\n"[..], "begins with byte 0x48"),
            (b":12x\r\n", "bad integer `12x`"),
            (b"$-2\r\n", "bad string length"),
            (b"$2\r\nabcd", "longer than its length"),
            (b"*-2\r\n", "bad array length"),
            (b"$?\r\n", "bad string length"),
            (b"#x\r\n", "bad truth value"),
            (b",x\r\n", "bad double"),
            (b"(12-\r\n", "bad big number"),
            (b"=2\r\nab\r\n", "without a format"),
            (b"+OK\n", "CR LF"),
            (b"\n", "CR LF"),
        ] {
            let mut d = Decoder::default();
            d.feed(bytes);
            let said = d.take().unwrap_err();
            assert!(said.contains(why), "{said}");
        }
    }

    #[test]
    fn limits_hold_before_memory_is_taken() {
        let limits = Limits {
            bulk: 10,
            values: 5,
            depth: 2,
            line: 20,
        };
        for (bytes, why) in [
            (&b"$11\r\n"[..], "above the limit of 10"),
            (b"*6\r\n", "more than 5 values"),
            (b"*9223372036854775807\r\n", "more than 5 values"),
            (b"%9223372036854775807\r\n", "more than 5 values"),
            (b"*1\r\n*1\r\n*1\r\n", "deeper than 2"),
            (
                b"*2\r\n*2\r\n:1\r\n:1\r\n*2\r\n:1\r\n:1\r\n",
                "more than 5 values",
            ),
            (b"+aaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "longer than 20"),
        ] {
            let mut d = Decoder::new(limits);
            d.feed(bytes);
            let said = d.take().unwrap_err();
            assert!(said.contains(why), "{said}");
        }
    }
}
