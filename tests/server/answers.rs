//! When two replies say the same: where Redis leaves an order free it is free here, a time is compared as a time, a
//! number by its value, and what only one of Redis 7.0 and 7.2 says is left out.

use crate::common::wire::{Value, Wire, command};
use crate::mixture::Words;

/// Seconds by which two servers may disagree about a time: they run the same commands one after the other.
const SLACK: u64 = 30;

fn sorted(mut values: Vec<Value>) -> Vec<Value> {
    values.sort_by_cached_key(|value| format!("{value:?}"));
    values
}

/// Elements in one order; of pairs when `pairs`, which RESP2 lays out flat.
fn unordered(value: &Value, pairs: bool) -> Value {
    match value {
        Value::Map(entries) => Value::Array(sorted(
            entries
                .iter()
                .map(|(k, v)| Value::Array(vec![k.clone(), v.clone()]))
                .collect(),
        )),
        Value::Array(items) if pairs && !items.iter().any(|i| matches!(i, Value::Array(_))) => {
            Value::Array(sorted(
                items
                    .chunks(2)
                    .map(|two| Value::Array(two.to_vec()))
                    .collect(),
            ))
        }
        Value::Array(items) | Value::Set(items) => Value::Array(sorted(items.clone())),
        other => other.clone(),
    }
}

/// Numbers in one spelling: Redis 7.0 prints a double with 17 digits, 7.2 with as few as tell it.
fn numbers(value: &Value) -> Value {
    let text = match value {
        Value::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::Double(text) => text.clone(),
        Value::Array(items) => return Value::Array(items.iter().map(numbers).collect()),
        Value::Set(items) => return Value::Set(items.iter().map(numbers).collect()),
        Value::Map(pairs) => {
            return Value::Map(
                pairs
                    .iter()
                    .map(|(k, v)| (numbers(k), numbers(v)))
                    .collect(),
            );
        }
        other => return other.clone(),
    };
    match text.parse::<f64>() {
        // A zero has no sign here: Redis keeps or loses it by the form of the set.
        Ok(number) => Value::Double(format!("{:?}", number + 0.0)),
        Err(_) => value.clone(),
    }
}

/// What a stream tells of itself, without times, the nodes of an index, and the elements of which a consumer's
/// entry has more in 7.2.
fn stream(value: &Value) -> Value {
    const MOMENTS: [&[u8]; 6] = [
        b"idle",
        b"inactive",
        b"seen-time",
        b"active-time",
        b"radix-tree-keys",
        b"radix-tree-nodes",
    ];
    let named = |value: &Value| matches!(value, Value::Bulk(name) if MOMENTS.contains(&&name[..]));
    match value {
        Value::Int(n) if *n > 1_000_000_000_000 => Value::Simple("time".into()),
        Value::Map(pairs) => Value::Map(
            pairs
                .iter()
                .filter(|(name, _)| !named(name))
                .map(|(k, v)| (k.clone(), stream(v)))
                .collect(),
        ),
        Value::Array(items) => {
            let mut out = Vec::new();
            let mut items = items.iter();
            while let Some(item) = items.next() {
                if named(item) {
                    items.next();
                } else {
                    out.push(stream(item));
                }
            }
            Value::Array(out)
        }
        other => other.clone(),
    }
}

/// XPENDING with a range: how long ago an entry was delivered is the third of four.
fn pending(value: &Value) -> Value {
    match value {
        Value::Array(rows) => Value::Array(
            rows.iter()
                .map(|row| match row {
                    Value::Array(parts) if parts.len() == 4 => {
                        let mut parts = parts.clone();
                        parts[2] = Value::Null;
                        Value::Array(parts)
                    }
                    other => other.clone(),
                })
                .collect(),
        ),
        other => other.clone(),
    }
}

/// One page of a scan: compared where both servers give all in one.
fn page(value: &Value, pairs: bool) -> Option<Value> {
    match value {
        Value::Array(parts) if parts.len() == 2 => {
            (parts[0] == Value::bulk("0")).then(|| numbers(&unordered(&parts[1], pairs)))
        }
        _ => None,
    }
}

/// Whether `ours` says what `theirs` says in answer to this command.
pub fn agree(words: &Words, theirs: &Value, ours: &Value) -> bool {
    if theirs == ours {
        return true;
    }
    let name = String::from_utf8_lossy(&words[0]).to_ascii_uppercase();
    match (name.as_str(), theirs, ours) {
        ("TTL" | "EXPIRETIME", Value::Int(a), Value::Int(b)) => {
            *a > 0 && *b > 0 && a.abs_diff(*b) <= SLACK
        }
        ("PTTL" | "PEXPIRETIME", Value::Int(a), Value::Int(b)) => {
            *a > 0 && *b > 0 && a.abs_diff(*b) <= SLACK * 1000
        }
        // Redis 7.0 knows no small sets of strings, nor small lists; sizes and forms are compared where each is tested.
        ("OBJECT", Value::Bulk(_), Value::Bulk(_)) => true,
        (
            "KEYS" | "SMEMBERS" | "SRANDMEMBER" | "SPOP" | "SINTER" | "SUNION" | "SDIFF" | "HKEYS"
            | "HVALS" | "ZRANDMEMBER",
            a,
            b,
        ) => unordered(a, false) == unordered(b, false),
        ("MGET", Value::Array(a), Value::Array(b)) => {
            let sketches = |a: &Value, b: &Value| match (a, b) {
                (Value::Bulk(a), Value::Bulk(b)) => {
                    a.starts_with(b"HYLL") && b.starts_with(b"HYLL")
                }
                _ => false,
            };
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a == b || sketches(a, b))
        }
        // Of a set, which it may have met, without an order: elements with what one pattern finds.
        ("SORT_RO", a, b) => unordered(a, true) == unordered(b, true),
        ("HGETALL", a, b) => unordered(a, true) == unordered(b, true),
        ("HRANDFIELD", a, b) => {
            let pairs = words.len() > 3;
            unordered(a, pairs) == unordered(b, pairs)
        }
        ("SSCAN" | "HSCAN" | "ZSCAN", a, b) => {
            let pairs = name != "SSCAN";
            match (page(a, pairs), page(b, pairs)) {
                (Some(a), Some(b)) => a == b,
                _ => matches!((a, b), (Value::Array(_), Value::Array(_))),
            }
        }
        ("XINFO" | "XCLAIM" | "XAUTOCLAIM", a, b) => stream(a) == stream(b),
        ("XPENDING", a, b) => pending(a) == pending(b),
        (n, a, b) if n.starts_with('Z') || n.starts_with("BZ") || n.starts_with("GEO") => {
            numbers(a) == numbers(b)
        }
        _ => false,
    }
}

/// A reply, cut.
pub fn clip(value: &Value) -> String {
    let text = format!("{value:?}");
    let end = text.char_indices().nth(600).map_or(text.len(), |(i, _)| i);
    text[..end].to_owned()
}

/// A command, its long words cut.
pub fn shown(words: &Words) -> String {
    let text: Vec<_> = words
        .iter()
        .map(|w| w[..w.len().min(30)].escape_ascii().to_string())
        .collect();
    text.join(" ")
}

/// Keys in order: name, type, content, and the second at which each expires.
pub type State = Vec<(String, String, Value, i64)>;

/// Sends commands in pipelines and reads the replies.
pub fn many(wire: &mut Wire, commands: &[Words]) -> Vec<Value> {
    let mut out = Vec::new();
    for chunk in commands.chunks(40) {
        let bytes: Vec<u8> = chunk.iter().flat_map(|words| command(words)).collect();
        wire.send(&bytes).expect("the server reads");
        out.extend(chunk.iter().map(|_| wire.reply().expect("a reply")));
    }
    out
}

/// What is there under the keys that match a pattern, in the database that the connection has chosen.
pub fn state(wire: &mut Wire, pattern: &str) -> State {
    let keys: Vec<Vec<u8>> = wire
        .say(&format!("KEYS {pattern}"))
        .items()
        .iter()
        .map(|key| match key {
            Value::Bulk(name) => name.clone(),
            other => panic!("KEYS: {other:?}"),
        })
        .collect();
    let ask = |name: &[&str]| -> Vec<Words> {
        keys.iter()
            .map(|key| {
                let mut words: Words = name.iter().map(|w| w.as_bytes().to_vec()).collect();
                words.push(key.clone());
                words
            })
            .collect()
    };
    let types = many(wire, &ask(&["TYPE"]));
    let times = many(wire, &ask(&["EXPIRETIME"]));
    let reads: Vec<Words> = keys
        .iter()
        .zip(&types)
        .map(|(key, kind)| {
            let text: &[&str] = match (kind.text().as_str(), key) {
                // How it is laid out is each server's own affair: what it counts is compared.
                ("string", key) if crate::common::contains(key, b"hll") => &["PFCOUNT", "KEY"],
                ("string", _) => &["GET", "KEY"],
                ("list", _) => &["LRANGE", "KEY", "0", "-1"],
                ("set", _) => &["SMEMBERS", "KEY"],
                ("hash", _) => &["HGETALL", "KEY"],
                ("zset", _) => &["ZRANGE", "KEY", "0", "-1", "WITHSCORES"],
                ("stream", _) => &["XINFO", "STREAM", "KEY", "FULL", "COUNT", "0"],
                (other, _) => panic!("a {other}"),
            };
            let words = text.iter().map(|word| match *word {
                "KEY" => key.clone(),
                word => word.as_bytes().to_vec(),
            });
            words.collect()
        })
        .collect();
    let values = many(wire, &reads);
    let mut out = State::new();
    for (n, key) in keys.iter().enumerate() {
        let kind = types[n].text();
        let value = values[n].clone();
        let value = if kind == "stream" {
            stream(&value)
        } else {
            value
        };
        out.push((key.escape_ascii().to_string(), kind, value, times[n].int()));
    }
    out.sort_by(|a, b| a.0.cmp(&b.0));
    out
}

/// The command whose answers are compared as the content of a type is.
fn reader(kind: &str) -> Words {
    let name: &[u8] = match kind {
        "set" => b"SMEMBERS",
        "hash" => b"HGETALL",
        "zset" => b"ZRANGE",
        _ => b"GET",
    };
    vec![name.to_vec()]
}

/// What differs between two states, in words; `None` if nothing does.
pub fn difference(theirs: &State, ours: &State) -> Option<String> {
    let names = |state: &State| -> Vec<String> { state.iter().map(|row| row.0.clone()).collect() };
    let (wanted, found) = (names(theirs), names(ours));
    if wanted != found {
        let only = |a: &[String], b: &[String]| -> Vec<String> {
            a.iter().filter(|key| !b.contains(key)).cloned().collect()
        };
        let (missing, more) = (only(&wanted, &found), only(&found, &wanted));
        return Some(format!("missing keys {missing:?}, invented keys {more:?}"));
    }
    theirs.iter().zip(ours).find_map(|(a, b)| {
        let expiry = a.3.min(0) == b.3.min(0) && a.3.abs_diff(b.3) <= SLACK;
        let same = a.1 == b.1 && expiry && agree(&reader(&a.1), &a.2, &b.2);
        (!same).then(|| {
            format!(
                "{}\nredis-server: {} until {}: {:?}\nferrite:      {} until {}: {:?}",
                a.0, a.1, a.3, a.2, b.1, b.3, b.2
            )
        })
    })
}
