//! Replies as text: for people, raw, CSV and JSON, each as redis-cli writes it.

use ferrite::Value;

/// How replies are written.
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
}

/// One reply with its line end.
pub fn reply(value: &Value, style: Style) -> Vec<u8> {
    let mut out = Vec::new();
    match style {
        Style::People => people(value, "", &mut out),
        Style::Raw => {
            raw(value, &mut out);
            out.push(b'\n');
        }
        Style::Csv => {
            csv(value, &mut out);
            out.push(b'\n');
        }
        Style::Json => {
            json(value, &mut out);
            out.push(b'\n');
        }
    }
    out
}

/// `name: value` lines out of a map, or out of the flat array that RESP2 sends for one. `None` for anything else.
pub fn name_and_value_lines(value: &Value) -> Option<Vec<u8>> {
    let flat: Vec<&Value> = match value {
        Value::Map(pairs) => pairs.iter().flat_map(|(k, v)| [k, v]).collect(),
        Value::Array(items) if items.len() % 2 == 0 && !items.is_empty() => items.iter().collect(),
        _ => return None,
    };
    let mut out = Vec::new();
    for pair in flat.chunks(2) {
        raw(pair[0], &mut out);
        out.extend_from_slice(b": ");
        raw(pair[1], &mut out);
        out.push(b'\n');
    }
    Some(out)
}

/// A double as Redis writes it.
fn double(d: f64) -> String {
    if d.is_nan() {
        "nan".into()
    } else if d.is_infinite() {
        if d > 0.0 { "inf" } else { "-inf" }.into()
    } else {
        d.to_string()
    }
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
fn quoted(bytes: &[u8]) -> String {
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

fn raw(value: &Value, out: &mut Vec<u8>) {
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
                    out.push(b'\n');
                }
                raw(item, out);
            }
        }
        Value::Map(pairs) => {
            for (i, (key, value)) in pairs.iter().enumerate() {
                if i > 0 {
                    out.push(b'\n');
                }
                raw(key, out);
                out.push(b' ');
                raw(value, out);
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

fn json(value: &Value, out: &mut Vec<u8>) {
    let mut add = |text: &str| out.extend_from_slice(text.as_bytes());
    match value {
        Value::Null => add("null"),
        Value::Simple(s) | Value::Big(s) => json_string(s.as_bytes(), out),
        Value::Error(s) => json_string(format!("error:{s}").as_bytes(), out),
        Value::Int(n) => add(&n.to_string()),
        // JSON has no word for these.
        Value::Double(d) if !d.is_finite() => json_string(double(*d).as_bytes(), out),
        Value::Double(d) => add(&double(*d)),
        Value::Bool(b) => add(if *b { "true" } else { "false" }),
        Value::Bulk(bytes) | Value::Verbatim(_, bytes) => json_string(bytes, out),
        Value::Array(items) | Value::Set(items) | Value::Push(items) => {
            out.push(b'[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                json(item, out);
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
                    Value::Simple(_) | Value::Bulk(_) | Value::Verbatim(..) => json(key, out),
                    other => {
                        let mut name = Vec::new();
                        json(other, &mut name);
                        json_string(&name, out);
                    }
                }
                out.push(b':');
                json(value, out);
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
            c if (c as u32) < 0x20 || c == '\u{7f}' => format!("\\u{:04x}", c as u32),
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
        String::from_utf8(reply(value, style)).unwrap()
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
    fn pairs_become_lines() {
        let flat = Value::Array(vec![
            bulk("enabled"),
            bulk("yes"),
            bulk("keys"),
            Value::Int(4),
        ]);
        assert_eq!(
            name_and_value_lines(&flat).unwrap(),
            b"enabled: yes\nkeys: 4\n"
        );
        assert_eq!(name_and_value_lines(&Value::Array(vec![bulk("odd")])), None);
        assert_eq!(name_and_value_lines(&bulk("text")), None);
    }
}
