//! The packed forms of small collections: listpack, and what earlier versions had: ziplist and zipmap.
//!
//! Promise: a form is gone through once, from the front, and every length, every way back and every count that it holds
//! is checked on the way; what does not fit is [`Fault::Damaged`].

use super::Fault;
use crate::shard::{Decimal, parse_int};

/// An element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element<'a> {
    /// The decimal form of this number.
    Int(i64),
    /// These bytes.
    Text(&'a [u8]),
}

impl<'a> Element<'a> {
    /// Its bytes; a number is written into `scratch`.
    pub(super) fn bytes<'s>(&self, scratch: &'s mut Decimal) -> &'s [u8]
    where
        'a: 's,
    {
        match *self {
            Element::Text(bytes) => bytes,
            Element::Int(n) => {
                *scratch = Decimal::new(n);
                scratch.as_bytes()
            }
        }
    }

    /// The number it is.
    pub(super) fn int(&self) -> Option<i64> {
        match *self {
            Element::Int(n) => Some(n),
            Element::Text(bytes) => parse_int(bytes),
        }
    }
}

/// Elements one after the other.
pub(super) trait Elements<'a> {
    /// The next; `None` behind the last, when all that was to be checked has been.
    fn next(&mut self) -> Result<Option<Element<'a>>, Fault>;

    /// One that has to be there.
    fn need(&mut self) -> Result<Element<'a>, Fault> {
        self.next()?.ok_or(Fault::Damaged)
    }
}

/// The front of a buffer.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], Fault> {
        let (now, later) = self.0.split_at_checked(len).ok_or(Fault::Damaged)?;
        self.0 = later;
        Ok(now)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let bytes = self.take(N)?;
        bytes.first_chunk().copied().ok_or(Fault::Damaged)
    }

    fn byte(&mut self) -> Result<u8, Fault> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn text(&mut self, len: usize) -> Result<Element<'a>, Fault> {
        self.take(len).map(Element::Text)
    }

    fn i24(&mut self) -> Result<i64, Fault> {
        let [a, b, c] = self.array()?;
        Ok(i64::from(i32::from_le_bytes([0, a, b, c]) >> 8))
    }
}

/// The last byte of every form.
const END: u8 = 0xff;
/// What a count that does not fit 16 bits is written as.
const MANY: u16 = u16::MAX;

/// How many were met, beside how many there should be.
struct Count {
    seen: usize,
    told: usize,
}

impl Count {
    fn new(told: u16) -> Count {
        Count {
            seen: 0,
            told: usize::from(told),
        }
    }

    /// Whether nothing is left, and the count was right.
    fn end(&self, rest: &[u8]) -> Result<(), Fault> {
        let unknown = self.told == usize::from(MANY);
        match rest.is_empty() && (unknown || self.seen == self.told) {
            true => Ok(()),
            false => Err(Fault::Damaged),
        }
    }
}

/// A listpack: its length, the number of elements, elements of `[encoding, content, length of both from behind]`.
pub(super) struct Listpack<'a> {
    rest: Bytes<'a>,
    count: Count,
}

/// Bytes of a listpack's way back over an element of so many bytes.
fn back_len(len: usize) -> usize {
    match len {
        0..=127 => 1,
        128..16_383 => 2,
        16_383..2_097_151 => 3,
        2_097_151..268_435_455 => 4,
        _ => 5,
    }
}

/// The way back over an element of so many bytes; the first byte of it is the last that is read.
fn way_back(len: usize) -> ([u8; 5], usize) {
    let wide = back_len(len);
    let mut back = [0; 5];
    for (at, byte) in back[..wide].iter_mut().enumerate() {
        let more = if at > 0 { 0x80 } else { 0 };
        *byte = (len >> (7 * (wide - 1 - at)) & 0x7f) as u8 | more;
    }
    (back, wide)
}

impl<'a> Listpack<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Result<Listpack<'a>, Fault> {
        let mut rest = Bytes(bytes);
        let total = u32::from_le_bytes(rest.array()?);
        let count = Count::new(u16::from_le_bytes(rest.array()?));
        if total as usize != bytes.len() {
            return Err(Fault::Damaged);
        }
        Ok(Listpack { rest, count })
    }

    fn element(&mut self, first: u8) -> Result<Element<'a>, Fault> {
        let rest = &mut self.rest;
        let low = usize::from(first);
        Ok(match first {
            0x00..=0x7f => Element::Int(i64::from(first)),
            0x80..=0xbf => rest.text(low & 0x3f)?,
            0xc0..=0xdf => {
                let n = i64::from(first & 0x1f) << 8 | i64::from(rest.byte()?);
                Element::Int(n << 51 >> 51)
            }
            0xe0..=0xef => {
                let len = (low & 0x0f) << 8 | usize::from(rest.byte()?);
                rest.text(len)?
            }
            0xf0 => {
                let len = u32::from_le_bytes(rest.array()?) as usize;
                rest.text(len)?
            }
            0xf1 => Element::Int(i64::from(i16::from_le_bytes(rest.array()?))),
            0xf2 => Element::Int(rest.i24()?),
            0xf3 => Element::Int(i64::from(i32::from_le_bytes(rest.array()?))),
            0xf4 => Element::Int(i64::from_le_bytes(rest.array()?)),
            _ => return Err(Fault::Damaged),
        })
    }
}

impl<'a> Elements<'a> for Listpack<'a> {
    fn next(&mut self) -> Result<Option<Element<'a>>, Fault> {
        let before = self.rest.0.len();
        let first = self.rest.byte()?;
        if first == END {
            self.count.end(self.rest.0)?;
            self.rest = Bytes(&[END]); // whoever asks again is told the same
            self.count.told = usize::from(MANY);
            return Ok(None);
        }
        let element = self.element(first)?;
        let len = before - self.rest.0.len();
        let (back, wide) = way_back(len);
        if self.rest.take(wide)? != &back[..wide] {
            return Err(Fault::Damaged);
        }
        self.count.seen += 1;
        Ok(Some(element))
    }
}

/// Makes a listpack.
#[derive(Default)]
pub(super) struct Packer {
    bytes: Vec<u8>,
    count: usize,
}

/// Bytes of a listpack before its first element.
const HEAD: usize = 6;

impl Packer {
    /// How many bytes it takes so far.
    pub(super) fn len(&self) -> usize {
        self.bytes.len().max(HEAD)
    }

    /// How many elements it has.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    fn begin(&mut self) -> usize {
        if self.bytes.is_empty() {
            self.bytes.extend_from_slice(&[0; HEAD]);
        }
        self.count += 1;
        self.bytes.len()
    }

    fn end(&mut self, start: usize) {
        let (back, wide) = way_back(self.bytes.len() - start);
        self.bytes.extend_from_slice(&back[..wide]);
    }

    /// Adds a string; a number's decimal form is kept as the number.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if let Some(n) = parse_int(bytes) {
            return self.push_int(n);
        }
        let start = self.begin();
        let out = &mut self.bytes;
        match bytes.len() {
            len @ 0..64 => out.push(0x80 | len as u8),
            len @ 64..4096 => out.extend_from_slice(&[0xe0 | (len >> 8) as u8, len as u8]),
            len => {
                out.push(0xf0);
                out.extend_from_slice(&(len as u32).to_le_bytes());
            }
        }
        out.extend_from_slice(bytes);
        self.end(start);
    }

    /// Adds a number.
    pub(super) fn push_int(&mut self, n: i64) {
        let start = self.begin();
        let out = &mut self.bytes;
        let bytes = n.to_le_bytes();
        match n {
            0..=127 => out.push(n as u8),
            -4096..=4095 => out.extend_from_slice(&[0xc0 | (n >> 8) as u8 & 0x1f, n as u8]),
            -0x8000..=0x7fff => {
                out.push(0xf1);
                out.extend_from_slice(&bytes[..2]);
            }
            -0x80_0000..=0x7f_ffff => {
                out.push(0xf2);
                out.extend_from_slice(&bytes[..3]);
            }
            -0x8000_0000..=0x7fff_ffff => {
                out.push(0xf3);
                out.extend_from_slice(&bytes[..4]);
            }
            _ => {
                out.push(0xf4);
                out.extend_from_slice(&bytes);
            }
        }
        self.end(start);
    }

    /// The listpack.
    pub(super) fn finish(mut self) -> Vec<u8> {
        if self.bytes.is_empty() {
            self.bytes.extend_from_slice(&[0; HEAD]);
        }
        self.bytes.push(END);
        let total = self.bytes.len() as u32;
        let count = u16::try_from(self.count).unwrap_or(MANY);
        self.bytes[..4].copy_from_slice(&total.to_le_bytes());
        self.bytes[4..HEAD].copy_from_slice(&count.to_le_bytes());
        self.bytes
    }
}

/// A ziplist: its length, where the last element begins, the number of elements, elements of `[length of the one before,
/// encoding, content]`.
pub(super) struct Ziplist<'a> {
    rest: Bytes<'a>,
    len: usize,
    tail: usize,
    /// Bytes of the element before.
    before: usize,
    count: Count,
}

impl<'a> Ziplist<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Result<Ziplist<'a>, Fault> {
        let mut rest = Bytes(bytes);
        let total = u32::from_le_bytes(rest.array()?);
        let tail = u32::from_le_bytes(rest.array()?) as usize;
        let count = Count::new(u16::from_le_bytes(rest.array()?));
        if total as usize != bytes.len() {
            return Err(Fault::Damaged);
        }
        let len = bytes.len();
        Ok(Ziplist {
            rest,
            len,
            tail,
            before: 0,
            count,
        })
    }

    fn element(&mut self) -> Result<Element<'a>, Fault> {
        let rest = &mut self.rest;
        let first = rest.byte()?;
        let low = usize::from(first & 0x3f);
        Ok(match first {
            0x00..=0x3f => rest.text(low)?,
            0x40..=0x7f => {
                let len = low << 8 | usize::from(rest.byte()?);
                rest.text(len)?
            }
            0x80 => {
                let len = u32::from_be_bytes(rest.array()?) as usize;
                rest.text(len)?
            }
            0xc0 => Element::Int(i64::from(i16::from_le_bytes(rest.array()?))),
            0xd0 => Element::Int(i64::from(i32::from_le_bytes(rest.array()?))),
            0xe0 => Element::Int(i64::from_le_bytes(rest.array()?)),
            0xf0 => Element::Int(rest.i24()?),
            0xfe => Element::Int(i64::from(i8::from_le_bytes(rest.array()?))),
            0xf1..=0xfd => Element::Int(i64::from(first & 0x0f) - 1),
            _ => return Err(Fault::Damaged),
        })
    }
}

impl<'a> Elements<'a> for Ziplist<'a> {
    fn next(&mut self) -> Result<Option<Element<'a>>, Fault> {
        let start = self.len - self.rest.0.len();
        let before = match self.rest.byte()? {
            END => {
                self.count.end(self.rest.0)?;
                // The last element begins where the front says.
                if start - self.before != self.tail {
                    return Err(Fault::Damaged);
                }
                self.rest = Bytes(&[END]);
                (self.len, self.before, self.tail) = (1, 0, 0);
                self.count.told = usize::from(MANY);
                return Ok(None);
            }
            0xfe => u32::from_le_bytes(self.rest.array()?) as usize,
            short => usize::from(short),
        };
        if before != self.before {
            return Err(Fault::Damaged);
        }
        let element = self.element()?;
        self.before = self.len - self.rest.0.len() - start;
        self.count.seen += 1;
        Ok(Some(element))
    }
}

/// A zipmap: the number of pairs (254: unknown), then of each the name with its length, and the value with its length and
/// the number of bytes that are free behind it.
pub(super) struct Zipmap<'a> {
    rest: Bytes<'a>,
    count: Count,
    /// Whether a value comes next.
    value: bool,
}

impl<'a> Zipmap<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Result<Zipmap<'a>, Fault> {
        let mut rest = Bytes(bytes);
        let count = match rest.byte()? {
            254.. => MANY,
            pairs => u16::from(pairs) * 2,
        };
        Ok(Zipmap {
            rest,
            count: Count::new(count),
            value: false,
        })
    }
}

impl<'a> Elements<'a> for Zipmap<'a> {
    fn next(&mut self) -> Result<Option<Element<'a>>, Fault> {
        let len = match self.rest.byte()? {
            END if self.value => return Err(Fault::Damaged),
            END => {
                self.count.end(self.rest.0)?;
                self.rest = Bytes(&[END]);
                self.count.told = usize::from(MANY);
                return Ok(None);
            }
            0xfe => u32::from_le_bytes(self.rest.array()?) as usize,
            short => usize::from(short),
        };
        let free = match self.value {
            true => usize::from(self.rest.byte()?),
            false => 0,
        };
        let element = self.rest.text(len)?;
        self.rest.take(free)?;
        self.value = !self.value;
        self.count.seen += 1;
        Ok(Some(element))
    }
}

/// An intset: the width of the integers, how many there are, the integers in order.
pub(super) fn intset(bytes: &[u8]) -> Result<impl Iterator<Item = i64>, Fault> {
    let mut rest = Bytes(bytes);
    let width = u32::from_le_bytes(rest.array()?) as usize;
    let count = u32::from_le_bytes(rest.array()?) as usize;
    let fits = count.checked_mul(width) == Some(rest.0.len());
    if !matches!(width, 2 | 4 | 8) || !fits {
        return Err(Fault::Damaged);
    }
    let ints = rest.0.chunks_exact(width).map(move |bytes| {
        let negative = bytes[width - 1] & 0x80 != 0;
        let mut full = if negative { [0xff; 8] } else { [0; 8] };
        full[..width].copy_from_slice(bytes);
        i64::from_le_bytes(full)
    });
    let mut before = None;
    for n in ints.clone() {
        if before.is_some_and(|before| n <= before) {
            return Err(Fault::Damaged);
        }
        before = Some(n);
    }
    Ok(ints)
}

/// Makes an intset of integers that are in order, each as wide as the widest needs.
pub(super) fn make_intset(ints: impl Iterator<Item = i64> + Clone) -> Vec<u8> {
    let width = ints.clone().fold(2, |width: u32, n| {
        let own = match n {
            -0x8000..=0x7fff => 2,
            -0x8000_0000..=0x7fff_ffff => 4,
            _ => 8,
        };
        width.max(own)
    });
    let mut out = width.to_le_bytes().to_vec();
    out.extend_from_slice(&[0; 4]);
    let mut count = 0u32;
    for n in ints {
        out.extend_from_slice(&n.to_le_bytes()[..width as usize]);
        count += 1;
    }
    out[4..8].copy_from_slice(&count.to_le_bytes());
    out
}

#[cfg(test)]
pub(super) mod tests;
