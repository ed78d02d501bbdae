//! The words of a shard's interface: keys, values, and what is told about them.

use super::Object;

/// Unix time in milliseconds.
pub type Ms = u64;

/// A key with what is computed from it once, on the core that parsed it.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    /// Database number.
    pub db: u16,
    /// Its slot, `slot::slot_of(bytes)`.
    pub slot: u16,
    /// Its hash under the process's seed.
    pub hash: u64,
    /// The key itself.
    pub bytes: &'a [u8],
}

/// A value where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// A string.
    Str(&'a [u8]),
    /// A string that is the decimal form of this number.
    Int(i64),
    /// Another type.
    Object(&'a Object),
}

/// What sort of value a key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A string, in either encoding.
    Str,
    /// Another type, by its name.
    Object(&'static str),
}

impl Kind {
    /// The word `TYPE` answers and `SCAN .. TYPE` takes.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Str => "string",
            Kind::Object(name) => name,
        }
    }
}

/// What a write does to the key's expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expire {
    /// There is none afterwards.
    None,
    /// Afterwards it is this time.
    At(Ms),
    /// It stays as it was.
    Keep,
}

/// What is known of a key beside its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// The type.
    pub kind: Kind,
    /// The word `OBJECT ENCODING` answers: `int`, `embstr`, `raw`, or the object's own.
    pub encoding: &'static str,
    /// When it expires.
    pub expire_at: Option<Ms>,
    /// Whole seconds since the last read or write, up to about 194 days.
    pub idle_secs: u64,
    /// How often it is used, where the eviction policy counts that: 0 to 255, logarithmic. Then `idle_secs` means nothing.
    pub frequency: Option<u8>,
    /// Length of the string in bytes, or elements of the object.
    pub value_len: usize,
    /// Bytes on the heap, estimated, key and bookkeeping included: what `MEMORY USAGE` answers.
    pub bytes: usize,
}

/// A value on its way from one key to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dump {
    /// The value.
    pub value: Owned,
    /// When it expires.
    pub expire: Option<Ms>,
}

/// A value that belongs to nobody's table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owned {
    /// A string.
    Str(Vec<u8>),
    /// A number's decimal form.
    Int(i64),
    /// Another type.
    Object(Box<Object>),
}

impl Value<'_> {
    /// Its type.
    pub fn kind(&self) -> Kind {
        match self {
            Value::Str(_) | Value::Int(_) => Kind::Str,
            Value::Object(object) => Kind::Object(object.type_name()),
        }
    }

    /// Length of the string in bytes, or elements of the object.
    pub fn len(&self) -> usize {
        match self {
            Value::Str(bytes) => bytes.len(),
            Value::Int(n) => Decimal::new(*n).as_bytes().len(),
            Value::Object(object) => object.len(),
        }
    }

    /// Whether `len` is 0.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The string's bytes. A number is written into `scratch`; an object has none.
    pub fn bytes<'s>(&'s self, scratch: &'s mut Decimal) -> Option<&'s [u8]> {
        match self {
            Value::Str(bytes) => Some(bytes),
            Value::Int(n) => {
                *scratch = Decimal::new(*n);
                Some(scratch.as_bytes())
            }
            Value::Object(_) => None,
        }
    }

    /// The number the string is the canonical decimal form of.
    pub fn integer(&self) -> Option<i64> {
        match self {
            Value::Int(n) => Some(*n),
            Value::Str(bytes) => parse_int(bytes),
            Value::Object(_) => None,
        }
    }
}

/// A number's decimal form, on the stack.
#[derive(Clone, Copy, Debug, Default)]
pub struct Decimal {
    digits: [u8; 20],
    start: u8,
}

impl Decimal {
    /// Writes it out.
    pub fn new(n: i64) -> Decimal {
        let mut digits = [0; 20];
        let mut start = digits.len();
        let mut rest = n.unsigned_abs();
        loop {
            start -= 1;
            digits[start] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        if n < 0 {
            start -= 1;
            digits[start] = b'-';
        }
        Decimal {
            digits,
            start: start as u8,
        }
    }

    /// The characters.
    pub fn as_bytes(&self) -> &[u8] {
        &self.digits[usize::from(self.start)..]
    }
}

/// The number whose canonical decimal form these bytes are: no sign but `-`, no leading zero, no
/// blank, within 64 bits. Writing the number out gives the same bytes again.
#[inline]
pub fn parse_int(bytes: &[u8]) -> Option<i64> {
    let (negative, digits) = match bytes {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [b'1'..=b'9', ..] if digits.len() <= 19 => {}
        _ => return None,
    }
    let mut value = 0u64;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value * 10 + u64::from(digit - b'0'); // 19 digits fit 64 bits
    }
    if negative {
        0i64.checked_sub_unsigned(value)
    } else {
        i64::try_from(value).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_numbers_are_numbers() {
        for n in [
            0,
            1,
            -1,
            9,
            10,
            -10,
            123_456,
            i64::MAX,
            i64::MIN,
            i64::MIN + 1,
        ] {
            let text = n.to_string();
            assert_eq!(parse_int(text.as_bytes()), Some(n));
            assert_eq!(Decimal::new(n).as_bytes(), text.as_bytes());
        }
    }

    #[test]
    fn everything_else_stays_a_string() {
        let odd: [&[u8]; 13] = [
            b"",
            b"-",
            b"-0",
            b"00",
            b"01",
            b"+1",
            b" 1",
            b"1 ",
            b"1a",
            b"0x1",
            b"9223372036854775808",
            b"-9223372036854775809",
            b"99999999999999999999",
        ];
        for text in odd {
            assert_eq!(parse_int(text), None, "{}", text.escape_ascii());
        }
    }
}
