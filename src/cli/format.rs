//! Replies as text: for people, raw, CSV and JSON, each as redis-cli writes it.

use ferrite::Value;

use crate::resp::number::put_f64;

/// The form of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// With types, quotes and numbers before the items.
    People,
    /// The bytes as they are.
    Raw,
    /// Comma-separated values, one reply a line.
    Csv,
    /// JSON, one reply a line.
    Json,
    /// JSON whose strings are quoted as for people: ASCII, and no byte lost.
    QuotedJson,
}

/// How replies are written.
#[derive(Clone, Debug)]
pub struct Look {
    /// The form.
    pub style: Style,
    /// What stands between the items of a raw reply.
    pub between: Vec<u8>,
    /// What stands after a raw reply.
    pub after: Vec<u8>,
}

impl Look {
    /// One reply with its end.
    pub fn reply(&self, value: &Value) -> Vec<u8> {
        let mut out = Vec::new();
        match self.style {
            Style::People => people(value, "", &mut out),
            Style::Raw => raw(value, &self.between, &mut out),
            Style::Csv => csv(value, &mut out),
            Style::Json => json(value, false, &mut out),
            Style::QuotedJson => json(value, true, &mut out),
        }
        match self.style {
            Style::People => {}
            Style::Raw => out.extend_from_slice(&self.after),
            _ => out.push(b'\n'),
        }
        out
    }

    /// A message that answers no command. For people, keys that a cache must forget come as one line.
    pub fn push(&self, items: Vec<Value>) -> Vec<u8> {
        if let (Style::People, [Value::Bulk(kind), Value::Array(keys)]) =
            (self.style, items.as_slice())
            && kind == b"invalidate"
        {
            let keys: Vec<String> = keys.iter().map(quoted_key).collect();
            return format!("-> invalidate: {}\n", keys.join(", ")).into_bytes();
        }
        self.reply(&Value::Push(items))
    }

    /// A reply that is text for people, as it is; in CSV and JSON it is a reply like others.
    pub fn text(&self, value: &Value) -> Vec<u8> {
        match (self.style, value) {
            (Style::People | Style::Raw, Value::Bulk(text) | Value::Verbatim(_, text)) => {
                let mut out = text.clone();
                if out.last() != Some(&b'\n') {
                    out.push(b'\n');
                }
                out
            }
            _ => self.reply(value),
        }
    }
}

/// A key in single quotes; what does not print in it is escaped.
fn quoted_key(key: &Value) -> String {
    match key {
        Value::Bulk(key) => {
            let quoted = quoted(key);
            format!("'{}'", &quoted[1..quoted.len() - 1])
        }
        _ => "(nil)".into(),
    }
}

/// A double as servers write it.
fn double(d: f64) -> String {
    let mut out = Vec::new();
    put_f64(&mut out, d);
    String::from_utf8_lossy(&out).into_owned()
}

fn people(value: &Value, prefix: &str, out: &mut Vec<u8>) {
    let mut line = |text: &str| {
        out.extend_from_slice(text.as_bytes());
        out.push(b'\n');
    };
    match value {
        Value::Null => line("(nil)"),
        Value::Simple(s) => line(s),
        Value::Error(s) => line(&format!("(error) {s}")),
        Value::Int(n) => line(&format!("(integer) {n}")),
        Value::Double(d) => line(&format!("(double) {}", double(*d))),
        Value::Bool(b) => line(if *b { "(true)" } else { "(false)" }),
        Value::Big(s) => line(s),
        Value::Bulk(bytes) => line(&quoted(bytes)),
        Value::Verbatim(_, bytes) => {
            out.extend_from_slice(bytes);
            out.push(b'\n');
        }
        Value::Array(items) | Value::Push(items) => list(
            items.iter().map(|v| (None, v)),
            items.len(),
            ')',
            "(empty array)",
            prefix,
            out,
        ),
        Value::Set(items) => list(
            items.iter().map(|v| (None, v)),
            items.len(),
            '~',
            "(empty set)",
            prefix,
            out,
        ),
        Value::Map(pairs) => list(
            pairs.iter().map(|(k, v)| (Some(k), v)),
            pairs.len(),
            '#',
            "(empty hash)",
            prefix,
            out,
        ),
    }
}

/// Numbered items, those after the first behind `prefix`, nested ones behind a deeper one.
fn list<'a>(
    items: impl Iterator<Item = (Option<&'a Value>, &'a Value)>,
    len: usize,
    mark: char,
    empty: &str,
    prefix: &str,
    out: &mut Vec<u8>,
) {
    if len == 0 {
        out.extend_from_slice(empty.as_bytes());
        out.push(b'\n');
        return;
    }
    let width = len.to_string().len();
    let deeper = format!("{prefix}{}", " ".repeat(width + 2));
    for (i, (key, value)) in items.enumerate() {
        let before = if i == 0 { "" } else { prefix };
        out.extend_from_slice(format!("{before}{:>width$}{mark} ", i + 1).as_bytes());
        if let Some(key) = key {
            people(key, &deeper, out);
            out.pop(); // its line end
            out.extend_from_slice(b" => ");
            // A list of several items begins on a line of its own.
            if matches!(value, Value::Array(v) | Value::Set(v) if v.len() > 1)
                || matches!(value, Value::Map(v) if v.len() > 1)
            {
                out.push(b'\n');
                out.extend_from_slice(deeper.as_bytes());
            }
        }
        people(value, &deeper, out);
    }
}

/// Bytes in double quotes, with escapes for what does not print.
pub fn quoted(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for b in bytes {
        match b {
            b'\\' | b'"' => out.extend(['\\', *b as char]),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            7 => out.push_str("\\a"),
            8 => out.push_str("\\b"),
            b' '..=b'~' => out.push(*b as char),
            other => out.push_str(&format!("\\x{other:02x}")),
        }
    }
    out.push('"');
    out
}

fn raw(value: &Value, between: &[u8], out: &mut Vec<u8>) {
    match value {
        Value::Null => {}
        Value::Simple(s) | Value::Big(s) => out.extend_from_slice(s.as_bytes()),
        Value::Error(s) => {
            out.extend_from_slice(s.as_bytes());
            out.push(b'\n');
        }
        Value::Int(n) => out.extend_from_slice(n.to_string().as_bytes()),
        Value::Double(d) => out.extend_from_slice(double(*d).as_bytes()),
        Value::Bool(b) => out.extend_from_slice(if *b { b"(true)" } else { b"(false)" }),
        Value::Bulk(bytes) | Value::Verbatim(_, bytes) => out.extend_from_slice(bytes),
        Value::Array(items) | Value::Set(items) | Value::Push(items) => {
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.extend_from_slice(between);
                }
                raw(item, between, out);
            }
        }
        Value::Map(pairs) => {
            for (i, (key, value)) in pairs.iter().enumerate() {
                if i > 0 {
                    out.extend_from_slice(between);
                }
                raw(key, between, out);
                out.push(b' ');
                raw(value, between, out);
            }
        }
    }
}

fn csv(value: &Value, out: &mut Vec<u8>) {
    let mut add = |text: &str| out.extend_from_slice(text.as_bytes());
    match value {
        Value::Null => add("NULL"),
        Value::Simple(s) => add(&quoted(s.as_bytes())),
        Value::Error(s) => add(&format!("ERROR,{}", quoted(s.as_bytes()))),
        Value::Int(n) => add(&n.to_string()),
        Value::Double(d) => add(&double(*d)),
        Value::Big(s) => add(s),
        Value::Bool(b) => add(if *b { "true" } else { "false" }),
        Value::Bulk(bytes) | Value::Verbatim(_, bytes) => add(&quoted(bytes)),
        Value::Array(items) | Value::Set(items) | Value::Push(items) => commas(items.iter(), out),
        Value::Map(pairs) => commas(pairs.iter().flat_map(|(k, v)| [k, v]), out),
    }
}

fn commas<'a>(items: impl Iterator<Item = &'a Value>, out: &mut Vec<u8>) {
    for (i, item) in items.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        csv(item, out);
    }
}

fn json(value: &Value, quote: bool, out: &mut Vec<u8>) {
    let string = |bytes: &[u8], out: &mut Vec<u8>| {
        if quote {
            let quoted = quoted(bytes);
            json_string(&quoted.as_bytes()[1..quoted.len() - 1], out);
        } else {
            json_string(bytes, out);
        }
    };
    let mut add = |text: &str| out.extend_from_slice(text.as_bytes());
    match value {
        Value::Null => add("null"),
        Value::Simple(s) | Value::Big(s) => string(s.as_bytes(), out),
        Value::Error(s) => string(format!("error:{s}").as_bytes(), out),
        Value::Int(n) => add(&n.to_string()),
        // JSON has no word for these.
        Value::Double(d) if !d.is_finite() => string(double(*d).as_bytes(), out),
        Value::Double(d) => add(&double(*d)),
        Value::Bool(b) => add(if *b { "true" } else { "false" }),
        Value::Bulk(bytes) | Value::Verbatim(_, bytes) => string(bytes, out),
        Value::Array(items) | Value::Set(items) | Value::Push(items) => {
            out.push(b'[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                json(item, quote, out);
            }
            out.push(b']');
        }
        Value::Map(pairs) => {
            out.push(b'{');
            for (i, (key, value)) in pairs.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                match key {
                    Value::Simple(_) | Value::Bulk(_) | Value::Verbatim(..) => {
                        json(key, quote, out);
                    }
                    other => {
                        let mut name = Vec::new();
                        json(other, quote, &mut name);
                        json_string(&name, out);
                    }
                }
                out.push(b':');
                json(value, quote, out);
            }
            out.push(b'}');
        }
    }
}

/// A JSON string. Bytes that are no UTF-8 become U+FFFD, since JSON has no bytes.
fn json_string(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for c in String::from_utf8_lossy(bytes).chars() {
        let text = match c {
            '"' => "\\\"".into(),
            '\\' => "\\\\".into(),
            '\n' => "\\n".into(),
            '\r' => "\\r".into(),
            '\t' => "\\t".into(),
            '\u{8}' => "\\b".into(),
            '\u{c}' => "\\f".into(),
            c if (c as u32) < 0x20 => format!("\\u{:04x}", c as u32),
            c => c.to_string(),
        };
        out.extend_from_slice(text.as_bytes());
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &Value, style: Style) -> String {
        let look = Look {
            style,
            between: b"\n".to_vec(),
            after: b"\n".to_vec(),
        };
        String::from_utf8(look.reply(value)).unwrap()
    }
    fn bulk(s: &str) -> Value {
        Value::Bulk(s.into())
    }

    #[test]
    fn nested_lists_are_numbered_and_set_in() {
        let inner = Value::Array(vec![bulk("a"), Value::Null, Value::Int(3)]);
        let v = Value::Array(vec![
            inner,
            Value::Array(vec![]),
            Value::Error("ERR x".into()),
        ]);
        let expected =
            "1) 1) \"a\"\n   2) (nil)\n   3) (integer) 3\n2) (empty array)\n3) (error) ERR x\n";
        assert_eq!(text(&v, Style::People), expected);
        let ten = Value::Array((0..10).map(Value::Int).collect());
        assert!(text(&ten, Style::People).starts_with(" 1) (integer) 0\n 2) "));
        let map = Value::Map(vec![(
            bulk("k"),
            Value::Set(vec![Value::Bool(true), Value::Double(1.5)]),
        )]);
        assert_eq!(
            text(&map, Style::People),
            "1# \"k\" => \n   1~ (true)\n   2~ (double) 1.5\n"
        );
    }

    #[test]
    fn bytes_that_do_not_print_are_escaped() {
        assert_eq!(
            quoted(b"a\"\\\n\r\t\x07\x08\0\xff"),
            r#""a\"\\\n\r\t\a\b\x00\xff""#
        );
    }

    #[test]
    fn csv_and_json_quote_what_they_must() {
        let v = Value::Array(vec![bulk("a,\"b\""), Value::Int(1), Value::Null]);
        assert_eq!(text(&v, Style::Csv), "\"a,\\\"b\\\"\",1,NULL\n");
        let map = Value::Map(vec![
            (bulk("k\n"), v),
            (Value::Int(1), Value::Double(f64::INFINITY)),
        ]);
        let parsed: serde_json::Value = serde_json::from_str(&text(&map, Style::Json)).unwrap();
        assert_eq!(
            parsed,
            serde_json::json!({ "k\n": ["a,\"b\"", 1, null], "1": "inf" })
        );
    }

    #[test]
    fn quoted_json_is_ascii_and_loses_no_byte() {
        let v = Value::Bulk(b"a\xff\"\\\n".to_vec());
        let said = text(&v, Style::QuotedJson);
        let parsed: String = serde_json::from_str(&said).unwrap();
        assert!(said.is_ascii());
        assert_eq!(parsed, r#"a\xff\"\\\n"#);
    }

    #[test]
    fn delimiters_stand_where_they_are_asked_for() {
        let look = Look {
            style: Style::Raw,
            between: b"|".to_vec(),
            after: b";".to_vec(),
        };
        let v = Value::Array(vec![bulk("a"), bulk("b")]);
        assert_eq!(look.reply(&v), b"a|b;");
        assert_eq!(look.text(&bulk("a\n")), b"a\n");
        assert_eq!(look.text(&v), b"a|b;");
        let map = Value::Map(vec![(bulk("a"), Value::Int(1)), (bulk("b"), Value::Int(2))]);
        assert_eq!(look.reply(&map), b"a 1|b 2;");
    }

    #[test]
    fn keys_to_forget_are_one_line_for_people() {
        let message = || {
            vec![
                bulk("invalidate"),
                Value::Array(vec![bulk("a"), bulk("b\n")]),
            ]
        };
        let look = |style| Look {
            style,
            between: b"\n".to_vec(),
            after: b"\n".to_vec(),
        };
        assert_eq!(
            look(Style::People).push(message()),
            b"-> invalidate: 'a', 'b\\n'\n"
        );
        assert_eq!(look(Style::Raw).push(message()), b"invalidate\na\nb\n\n");
    }
}
