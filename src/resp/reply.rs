//! Replies: every byte a client gets is written through [`Reply`].
//!
//! A handler says what it means (a map, a double, a null); the writer knows how the client's protocol
//! spells it. In RESP2 a map is a flat array of twice its length, a double or a big number a bulk
//! string, a boolean an integer, a verbatim string a bulk string, and null one of two forms.

use super::Proto;
use super::number::{put_f64, put_i64, put_u64};

/// Appends replies to `buf` in protocol `proto`.
pub struct Reply<'a> {
    /// Where the bytes go.
    pub buf: &'a mut Vec<u8>,
    /// How they are spelled.
    pub proto: Proto,
}

impl Reply<'_> {
    /// `+OK`
    #[inline]
    pub fn ok(&mut self) {
        self.buf.extend_from_slice(b"+OK\r\n");
    }

    /// A simple string. `text` must not contain a line end.
    pub fn simple(&mut self, text: &str) {
        debug_assert!(!text.bytes().any(|b| b == b'\r' || b == b'\n'));
        self.buf.push(b'+');
        self.buf.extend_from_slice(text.as_bytes());
        self.buf.extend_from_slice(b"\r\n");
    }

    /// An error; `text` begins with its code (`ERR`, `WRONGTYPE`, ...), without the `-`. Line ends in it
    /// become spaces.
    pub fn error(&mut self, text: impl AsRef<[u8]>) {
        self.buf.push(b'-');
        let plain = |&b: &u8| if b == b'\r' || b == b'\n' { b' ' } else { b };
        self.buf.extend(text.as_ref().iter().map(plain));
        self.buf.extend_from_slice(b"\r\n");
    }

    /// An integer.
    #[inline]
    pub fn int(&mut self, n: i64) {
        self.buf.push(b':');
        put_i64(self.buf, n);
        self.buf.extend_from_slice(b"\r\n");
    }

    /// A bulk string.
    #[inline]
    pub fn bulk(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        self.buf.reserve(bytes.len() + 16);
        self.head(b'$', bytes.len());
        self.buf.extend_from_slice(bytes);
        self.buf.extend_from_slice(b"\r\n");
    }

    /// An integer as a bulk string.
    pub fn bulk_int(&mut self, n: i64) {
        self.head(b'$', super::number::i64_len(n));
        put_i64(self.buf, n);
        self.buf.extend_from_slice(b"\r\n");
    }

    /// Null: in RESP2 the null bulk string.
    #[inline]
    pub fn null(&mut self) {
        self.buf.extend_from_slice(match self.proto {
            Proto::Resp2 => b"$-1\r\n",
            Proto::Resp3 => b"_\r\n",
        });
    }

    /// Null where an array was due: in RESP2 the null array.
    pub fn null_array(&mut self) {
        self.buf.extend_from_slice(match self.proto {
            Proto::Resp2 => b"*-1\r\n",
            Proto::Resp3 => b"_\r\n",
        });
    }

    /// The head of an array; `n` replies have to follow.
    #[inline]
    pub fn array(&mut self, n: usize) {
        self.head(b'*', n);
    }

    /// The head of a map; `n` pairs of replies have to follow.
    pub fn map(&mut self, n: usize) {
        match self.proto {
            Proto::Resp2 => self.head(b'*', n * 2),
            Proto::Resp3 => self.head(b'%', n),
        }
    }

    /// The head of a set; `n` replies have to follow.
    pub fn set(&mut self, n: usize) {
        match self.proto {
            Proto::Resp2 => self.head(b'*', n),
            Proto::Resp3 => self.head(b'~', n),
        }
    }

    /// The head of an out-of-band message; `n` replies have to follow.
    pub fn push(&mut self, n: usize) {
        match self.proto {
            Proto::Resp2 => self.head(b'*', n),
            Proto::Resp3 => self.head(b'>', n),
        }
    }

    /// The head of an attribute of the reply that follows; `n` pairs of replies have to follow. Only
    /// RESP3 has a place for it, so in RESP2 this answers false and writes nothing, and neither must
    /// the caller.
    #[must_use]
    pub fn attribute(&mut self, n: usize) -> bool {
        if self.proto == Proto::Resp3 {
            self.head(b'|', n);
        }
        self.proto == Proto::Resp3
    }

    /// A double.
    pub fn double(&mut self, d: f64) {
        let mut text = Vec::with_capacity(24);
        put_f64(&mut text, d);
        self.number_text(b',', &text);
    }

    /// A big number; `digits` is its decimal text.
    pub fn big(&mut self, digits: &str) {
        self.number_text(b'(', digits.as_bytes());
    }

    /// A boolean.
    pub fn boolean(&mut self, b: bool) {
        self.buf.extend_from_slice(match (self.proto, b) {
            (Proto::Resp2, false) => b":0\r\n",
            (Proto::Resp2, true) => b":1\r\n",
            (Proto::Resp3, false) => b"#f\r\n",
            (Proto::Resp3, true) => b"#t\r\n",
        });
    }

    /// A string with a format of exactly three letters, `txt` or `mkd`.
    pub fn verbatim(&mut self, format: &str, text: impl AsRef<[u8]>) {
        debug_assert_eq!(format.len(), 3);
        let text = text.as_ref();
        match self.proto {
            Proto::Resp2 => self.bulk(text),
            Proto::Resp3 => {
                self.head(b'=', text.len() + 4);
                self.buf.extend_from_slice(format.as_bytes());
                self.buf.push(b':');
                self.buf.extend_from_slice(text);
                self.buf.extend_from_slice(b"\r\n");
            }
        }
    }

    /// The head of an array whose length comes out later: returns the place for [`Reply::close_array`].
    pub fn open_array(&mut self) -> usize {
        self.buf.len()
    }

    /// Puts the head of an array of `n` replies before all that was written since `open`.
    pub fn close_array(&mut self, open: usize, n: usize) {
        self.close(b'*', open, n);
    }

    /// Puts the head of a set (RESP2: of an array) of `n` replies before all written since `open`.
    pub fn close_set(&mut self, open: usize, n: usize) {
        match self.proto {
            Proto::Resp2 => self.close(b'*', open, n),
            Proto::Resp3 => self.close(b'~', open, n),
        }
    }

    fn close(&mut self, kind: u8, open: usize, n: usize) {
        let end = self.buf.len();
        self.head(kind, n);
        let head = self.buf.len() - end;
        self.buf[open..].rotate_right(head);
    }

    #[inline]
    fn head(&mut self, kind: u8, n: usize) {
        self.buf.push(kind);
        put_u64(self.buf, n as u64);
        self.buf.extend_from_slice(b"\r\n");
    }

    fn number_text(&mut self, kind: u8, text: &[u8]) {
        match self.proto {
            Proto::Resp2 => self.bulk(text),
            Proto::Resp3 => {
                self.buf.push(kind);
                self.buf.extend_from_slice(text);
                self.buf.extend_from_slice(b"\r\n");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(proto: Proto, f: impl Fn(&mut Reply<'_>)) -> String {
        let mut buf = Vec::new();
        f(&mut Reply {
            buf: &mut buf,
            proto,
        });
        String::from_utf8(buf).unwrap()
    }

    #[test]
    fn every_form_in_both_protocols() {
        type Row = (fn(&mut Reply<'_>), &'static str, &'static str);
        let rows: &[Row] = &[
            (|r| r.ok(), "+OK\r\n", "+OK\r\n"),
            (|r| r.simple("PONG"), "+PONG\r\n", "+PONG\r\n"),
            (|r| r.error("ERR a\r\nb"), "-ERR a  b\r\n", "-ERR a  b\r\n"),
            (|r| r.int(-42), ":-42\r\n", ":-42\r\n"),
            (|r| r.bulk(""), "$0\r\n\r\n", "$0\r\n\r\n"),
            (|r| r.bulk("a\r\nb"), "$4\r\na\r\nb\r\n", "$4\r\na\r\nb\r\n"),
            (|r| r.bulk_int(-10), "$3\r\n-10\r\n", "$3\r\n-10\r\n"),
            (|r| r.null(), "$-1\r\n", "_\r\n"),
            (|r| r.null_array(), "*-1\r\n", "_\r\n"),
            (|r| r.array(3), "*3\r\n", "*3\r\n"),
            (|r| r.map(3), "*6\r\n", "%3\r\n"),
            (|r| r.set(2), "*2\r\n", "~2\r\n"),
            (|r| r.push(2), "*2\r\n", ">2\r\n"),
            (
                |r| assert_eq!(r.attribute(1), r.proto == Proto::Resp3),
                "",
                "|1\r\n",
            ),
            (|r| r.double(1.5), "$3\r\n1.5\r\n", ",1.5\r\n"),
            (|r| r.big("123"), "$3\r\n123\r\n", "(123\r\n"),
            (|r| r.boolean(true), ":1\r\n", "#t\r\n"),
            (|r| r.boolean(false), ":0\r\n", "#f\r\n"),
            (
                |r| r.verbatim("txt", "hi"),
                "$2\r\nhi\r\n",
                "=6\r\ntxt:hi\r\n",
            ),
        ];
        for (f, resp2, resp3) in rows {
            assert_eq!(written(Proto::Resp2, f), *resp2);
            assert_eq!(written(Proto::Resp3, f), *resp3);
        }
    }

    #[test]
    fn an_array_may_be_counted_afterwards() {
        let text = written(Proto::Resp3, |r| {
            r.int(1);
            let open = r.open_array();
            r.int(2);
            r.int(3);
            r.close_array(open, 2);
        });
        assert_eq!(text, ":1\r\n*2\r\n:2\r\n:3\r\n");
    }
}
