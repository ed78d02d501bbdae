//! Replies, of both protocol versions, and their conversion into Rust types.

use std::collections::HashMap;
use std::hash::Hash;

use crate::{Error, Result};

/// One reply. See the RESP specification in the Redis documentation for what each stands for.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// No value: null, the null bulk string and the null array.
    Null,
    /// A status such as `OK`.
    Simple(String),
    /// Bytes.
    Bulk(Vec<u8>),
    /// A whole number.
    Int(i64),
    /// A floating-point number (RESP3).
    Double(f64),
    /// A truth value (RESP3).
    Bool(bool),
    /// A number of any length, in decimal (RESP3).
    Big(String),
    /// Text with a three-letter format, `txt` or `mkd` (RESP3).
    Verbatim(String, Vec<u8>),
    /// A list.
    Array(Vec<Value>),
    /// Pairs, in the server's order (RESP3).
    Map(Vec<(Value, Value)>),
    /// Members, in the server's order (RESP3).
    Set(Vec<Value>),
    /// A message that answers no command (RESP3).
    Push(Vec<Value>),
    /// An error inside a reply, such as of one command in a transaction.
    Error(String),
}

impl Value {
    /// What kind of reply it is, in words.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Null => "nil",
            Value::Simple(_) => "a status",
            Value::Bulk(_) | Value::Verbatim(..) => "a string",
            Value::Int(_) => "an integer",
            Value::Double(_) => "a double",
            Value::Bool(_) => "a truth value",
            Value::Big(_) => "a big number",
            Value::Array(_) => "an array",
            Value::Map(_) => "a map",
            Value::Set(_) => "a set",
            Value::Push(_) => "a push message",
            Value::Error(_) => "an error",
        }
    }

    fn not(&self, wanted: &'static str) -> Error {
        Error::Type {
            wanted,
            got: self.kind(),
        }
    }
}

/// What a reply can be turned into.
pub trait FromValue: Sized {
    /// Converts a reply, or says that it is of another type.
    fn from_value(value: Value) -> Result<Self>;
}

impl FromValue for Value {
    fn from_value(value: Value) -> Result<Self> {
        Ok(value)
    }
}

/// Any reply that is no error.
impl FromValue for () {
    fn from_value(_: Value) -> Result<Self> {
        Ok(())
    }
}

impl FromValue for Vec<u8> {
    fn from_value(value: Value) -> Result<Self> {
        match value {
            Value::Bulk(b) | Value::Verbatim(_, b) => Ok(b),
            Value::Simple(s) | Value::Big(s) => Ok(s.into_bytes()),
            Value::Int(n) => Ok(n.to_string().into_bytes()),
            Value::Double(d) => Ok(d.to_string().into_bytes()),
            other => Err(other.not("a string")),
        }
    }
}

impl FromValue for String {
    fn from_value(value: Value) -> Result<Self> {
        let bytes = Vec::<u8>::from_value(value)?;
        String::from_utf8(bytes).map_err(|_| Error::Type {
            wanted: "text in UTF-8",
            got: "a string of other bytes",
        })
    }
}

macro_rules! numbers {
    ($($T:ty => $wanted:literal),*) => { $(
        impl FromValue for $T {
            fn from_value(value: Value) -> Result<Self> {
                let kind = value.not($wanted);
                let text = match &value {
                    Value::Bool(b) => u8::from(*b).to_string(),
                    Value::Int(_) | Value::Double(_) | Value::Bulk(_) | Value::Simple(_) | Value::Big(_) => String::from_value(value)?,
                    _ => return Err(kind),
                };
                text.parse().map_err(|_| kind)
            }
        }
    )* };
}
numbers!(i64 => "an integer", u64 => "an integer of 0 or more", usize => "an integer of 0 or more", f64 => "a number");

impl FromValue for bool {
    fn from_value(value: Value) -> Result<Self> {
        match value {
            Value::Bool(b) => Ok(b),
            Value::Int(n @ (0 | 1)) => Ok(n == 1),
            Value::Simple(s) if s == "OK" => Ok(true),
            other => Err(other.not("a truth value")),
        }
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: Value) -> Result<Self> {
        if value == Value::Null {
            Ok(None)
        } else {
            T::from_value(value).map(Some)
        }
    }
}

// One by one, because `Vec<u8>` is a string and no list.
macro_rules! lists {
    ($($T:ty),*) => { $(
        impl FromValue for Vec<$T> {
            fn from_value(value: Value) -> Result<Self> {
                list(value)
            }
        }
    )* };
}
lists!(
    String,
    Vec<u8>,
    Value,
    i64,
    f64,
    bool,
    Option<String>,
    Option<Vec<u8>>
);

fn list<T: FromValue>(value: Value) -> Result<Vec<T>> {
    match value {
        Value::Array(items) | Value::Set(items) | Value::Push(items) => {
            items.into_iter().map(T::from_value).collect()
        }
        other => Err(other.not("a list")),
    }
}

/// A RESP3 map, or the flat array of names and values that RESP2 sends for one.
impl<K: FromValue + Eq + Hash, V: FromValue> FromValue for HashMap<K, V> {
    fn from_value(value: Value) -> Result<Self> {
        match value {
            Value::Map(pairs) => pairs
                .into_iter()
                .map(|(k, v)| Ok((K::from_value(k)?, V::from_value(v)?)))
                .collect(),
            Value::Array(items) if items.len() % 2 == 0 => {
                let mut items = items.into_iter();
                let mut out = HashMap::new();
                while let (Some(k), Some(v)) = (items.next(), items.next()) {
                    out.insert(K::from_value(k)?, V::from_value(v)?);
                }
                Ok(out)
            }
            other => Err(other.not("a map")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_become_what_is_asked_for() {
        let bulk = |s: &str| Value::Bulk(s.into());
        assert_eq!(String::from_value(bulk("x")).unwrap(), "x");
        assert_eq!(Option::<String>::from_value(Value::Null).unwrap(), None);
        assert_eq!(i64::from_value(bulk("-5")).unwrap(), -5);
        assert_eq!(f64::from_value(bulk("2.5")).unwrap(), 2.5);
        assert!(bool::from_value(Value::Int(1)).unwrap());
        assert_eq!(
            Vec::<i64>::from_value(Value::Set(vec![Value::Int(1), bulk("2")])).unwrap(),
            [1, 2]
        );
        let flat = Value::Array(vec![bulk("a"), Value::Int(1)]);
        let map = Value::Map(vec![(bulk("a"), Value::Int(1))]);
        for v in [flat, map] {
            assert_eq!(
                HashMap::<String, i64>::from_value(v).unwrap(),
                HashMap::from([("a".into(), 1)])
            );
        }
    }

    #[test]
    fn a_reply_of_another_type_is_named() {
        let said = |r: Result<String>| r.unwrap_err().to_string();
        assert_eq!(
            said(String::from_value(Value::Null)),
            "the reply is nil, not a string"
        );
        assert_eq!(
            said(String::from_value(Value::Bulk(vec![255]))),
            "the reply is a string of other bytes, not text in UTF-8"
        );
        assert_eq!(
            i64::from_value(Value::Bulk("x".into()))
                .unwrap_err()
                .to_string(),
            "the reply is a string, not an integer"
        );
        assert!(u64::from_value(Value::Int(-1)).is_err());
        assert!(HashMap::<String, String>::from_value(Value::Array(vec![Value::Null])).is_err());
    }
}
