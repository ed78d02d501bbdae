//! Numbers and byte strings as effects and encoded objects spell them.
//!
//! Promise: what [`Reader`] accepts has exactly one spelling, and nothing it is given makes it panic: a number is a
//! LEB128 varint in its shortest form, a byte string a varint length and that many bytes.

/// No key, value or element is longer (Redis's own limit on a string).
pub(super) const MAX_LEN: u64 = 512 << 20;

/// Appends a number.
#[inline]
pub fn put_number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a signed number: zigzag, so that small ones of either sign are short.
pub fn put_signed(out: &mut Vec<u8>, value: i64) {
    put_number(out, (value << 1 ^ value >> 63) as u64);
}

/// Appends a byte string.
#[inline]
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Reads from the front of a buffer. Every verb answers `None` for what is not there or not well spelled.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    pub(super) buf: &'a [u8],
    pub(super) pos: usize,
}

impl<'a> Reader<'a> {
    /// One that has read nothing yet.
    pub fn new(buf: &'a [u8]) -> Reader<'a> {
        Reader { buf, pos: 0 }
    }

    /// A byte.
    #[inline]
    pub fn byte(&mut self) -> Option<u8> {
        let byte = *self.buf.get(self.pos)?;
        self.pos += 1;
        Some(byte)
    }

    /// A number.
    #[inline]
    pub fn number(&mut self) -> Option<u64> {
        let first = self.byte()?;
        if first < 0x80 {
            return Some(u64::from(first));
        }
        let mut value = u64::from(first & 0x7f);
        for shift in (7..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            // The tenth byte has room for one bit; a last byte of zero is not the shortest form.
            if (shift == 63 && bits > 1) || byte == 0 {
                return None;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    /// A signed number.
    pub fn signed(&mut self) -> Option<i64> {
        let n = self.number()?;
        Some((n >> 1) as i64 ^ -((n & 1) as i64))
    }

    /// A floating point number, its 64 bits.
    pub fn double(&mut self) -> Option<f64> {
        let bytes = self.take(8)?;
        Some(f64::from_bits(u64::from_le_bytes(bytes.try_into().ok()?)))
    }

    /// A database number.
    #[inline]
    pub(super) fn db(&mut self) -> Option<u16> {
        u16::try_from(self.number()?).ok()
    }

    /// A length.
    #[inline]
    pub fn length(&mut self) -> Option<usize> {
        self.number()
            .filter(|&len| len <= MAX_LEN)
            .map(|len| len as usize)
    }

    /// The size of a collection or an operation, which may hold many long strings.
    #[inline]
    pub(super) fn size(&mut self) -> Option<usize> {
        usize::try_from(self.number()?).ok()
    }

    /// So many bytes.
    #[inline]
    pub fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let bytes = self.buf.get(self.pos..self.pos.checked_add(len)?)?;
        self.pos += len;
        Some(bytes)
    }

    /// A byte string.
    #[inline]
    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = self.length()?;
        self.take(len)
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        let rest = &self.buf[self.pos..];
        self.pos = self.buf.len();
        rest
    }

    /// How many bytes are left.
    #[inline]
    pub fn left(&self) -> usize {
        self.buf.len() - self.pos
    }

    /// Whether nothing is left.
    pub fn is_done(&self) -> bool {
        self.pos == self.buf.len()
    }

    /// The value, if nothing is left behind it.
    pub fn done<T>(&self, value: T) -> Option<T> {
        self.is_done().then_some(value)
    }
}

/// Byte strings that an operation carries: a command's own arguments when it is made, a stretch of the log when it
/// is read back.
#[derive(Clone, Copy, Debug)]
pub enum Items<'a> {
    /// A command's arguments.
    Args(&'a [&'a [u8]]),
    /// One behind the other, each with its length; checked by [`Items::read`].
    Packed {
        /// How many.
        count: usize,
        /// All of them.
        bytes: &'a [u8],
    },
}

impl<'a> Items<'a> {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Items::Args(args) => args.len(),
            Items::Packed { count, .. } => *count,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One after the other.
    pub fn iter(&self) -> ItemsIter<'a> {
        match *self {
            Items::Args(args) => ItemsIter::Args(args.iter()),
            Items::Packed { bytes, .. } => ItemsIter::Packed(Reader::new(bytes)),
        }
    }

    /// Two and two together; an odd one at the end is left out.
    pub fn pairs(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let mut items = self.iter();
        std::iter::from_fn(move || Some((items.next()?, items.next()?)))
    }

    /// Appends them with their number.
    pub fn write(&self, out: &mut Vec<u8>) {
        put_number(out, self.len() as u64);
        match self {
            Items::Args(args) => args.iter().for_each(|arg| put_bytes(out, arg)),
            Items::Packed { bytes, .. } => out.extend_from_slice(bytes),
        }
    }

    /// Reads what `write` wrote.
    pub fn read(from: &mut Reader<'a>) -> Option<Items<'a>> {
        let count = usize::try_from(from.number()?).ok()?;
        let start = from.pos;
        for _ in 0..count {
            from.bytes()?;
        }
        let bytes = &from.buf[start..from.pos];
        Some(Items::Packed { count, bytes })
    }
}

/// See [`Items::iter`].
#[derive(Clone, Debug)]
pub enum ItemsIter<'a> {
    /// Over arguments.
    Args(std::slice::Iter<'a, &'a [u8]>),
    /// Over a stretch of the log.
    Packed(Reader<'a>),
}

impl<'a> Iterator for ItemsIter<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        match self {
            ItemsIter::Args(args) => args.next().copied(),
            ItemsIter::Packed(reader) => reader.bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(n: u64, s: i64, items: Vec<Vec<u8>>) {
            let mut out = Vec::new();
            put_number(&mut out, n);
            put_signed(&mut out, s);
            let args: Vec<&[u8]> = items.iter().map(Vec::as_slice).collect();
            Items::Args(&args).write(&mut out);
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.number(), Some(n));
            prop_assert_eq!(reader.signed(), Some(s));
            let read = Items::read(&mut reader).unwrap();
            prop_assert_eq!(read.iter().collect::<Vec<_>>(), args);
            prop_assert_eq!(read.len(), items.len());
            prop_assert!(reader.is_done());
            let mut again = Vec::new();
            read.write(&mut again);
            prop_assert!(out.ends_with(&again));
        }

        #[test]
        fn garbage_does_no_harm(bytes: Vec<u8>) {
            let mut reader = Reader::new(&bytes);
            if let Some(items) = Items::read(&mut reader) {
                prop_assert_eq!(items.iter().count(), items.len());
            }
        }
    }
}
