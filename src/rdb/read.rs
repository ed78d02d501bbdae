//! The words of the format, read: bytes, lengths, strings.
//!
//! Promise: whatever the bytes, there is an error or what they say, no panic, and no more memory taken than a small
//! multiple of the bytes that are there.

use super::{Fault, lzf};
use crate::shard::Decimal;

/// Longest string (Redis's own limit).
pub(super) const LONGEST: u64 = 512 << 20;
/// How many bytes are taken from a source at a time, so that a length alone takes no memory.
const STEP: usize = 1 << 20;

/// Where bytes come from: a payload at hand, a file as it is opened part by part.
pub trait Source {
    /// Fills the whole of `into` with the next bytes.
    ///
    /// # Errors
    /// [`Fault::Short`] if there are not so many.
    fn fill(&mut self, into: &mut [u8]) -> Result<(), Fault>;
}

impl Source for &[u8] {
    fn fill(&mut self, into: &mut [u8]) -> Result<(), Fault> {
        let (now, later) = self.split_at_checked(into.len()).ok_or(Fault::Short)?;
        into.copy_from_slice(now);
        *self = later;
        Ok(())
    }
}

/// A length, or in its place the way a string is encoded.
enum Length {
    Plain(u64),
    Encoded(u8),
}

/// Reads what a source holds, one key after the other.
#[derive(Debug)]
pub struct Reader<S> {
    pub(super) source: S,
    pub(super) version: u16,
    /// How many bytes a value may take, and how many of them the one that is being read still may.
    allowed: u64,
    left: u64,
}

impl<S: Source> Reader<S> {
    /// One that has read nothing yet; `version` is the RDB version of the file or payload.
    pub fn new(source: S, version: u16) -> Reader<S> {
        Reader {
            source,
            version,
            allowed: u64::MAX,
            left: u64::MAX,
        }
    }

    /// The same, where the elements of a value may take so many bytes together: a compressed string may be ninety
    /// times as long as it looks, and who sends one is not to be believed that it is worth it.
    pub fn limit(self, allowed: u64) -> Reader<S> {
        Reader { allowed, ..self }
    }

    /// The source, with what is left of it.
    pub fn into_source(self) -> S {
        self.source
    }

    /// So many bytes of the value's allowance are used.
    pub(super) fn charge(&mut self, bytes: usize) -> Result<(), Fault> {
        let left = self.left.checked_sub(bytes as u64);
        self.left = left.ok_or(Fault::TooLarge)?;
        Ok(())
    }

    /// A value begins.
    pub(super) fn begin(&mut self) {
        self.left = self.allowed;
    }

    /// A number of bytes, known beforehand.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let mut bytes = [0; N];
        self.source.fill(&mut bytes)?;
        Ok(bytes)
    }

    /// A byte.
    pub fn byte(&mut self) -> Result<u8, Fault> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// A double, its 64 bits.
    pub fn double(&mut self) -> Result<f64, Fault> {
        self.array().map(f64::from_le_bytes)
    }

    /// A time in milliseconds; negative ones are damage.
    pub fn time(&mut self) -> Result<u64, Fault> {
        let at = self.array().map(i64::from_le_bytes)?;
        u64::try_from(at).map_err(|_| Fault::Damaged)
    }

    fn either(&mut self) -> Result<Length, Fault> {
        let first = self.byte()?;
        let low = u64::from(first & 0x3f);
        Ok(match first >> 6 {
            0 => Length::Plain(low),
            1 => Length::Plain(low << 8 | u64::from(self.byte()?)),
            3 => Length::Encoded(first & 0x3f),
            _ => match first {
                0x80 => Length::Plain(u64::from(u32::from_be_bytes(self.array()?))),
                0x81 => Length::Plain(u64::from_be_bytes(self.array()?)),
                _ => return Err(Fault::Damaged),
            },
        })
    }

    /// A length, or another number in the same form.
    pub fn length(&mut self) -> Result<u64, Fault> {
        match self.either()? {
            Length::Plain(n) => Ok(n),
            Length::Encoded(_) => Err(Fault::Damaged),
        }
    }

    /// So many bytes.
    fn bytes(&mut self, len: u64) -> Result<Vec<u8>, Fault> {
        let len = match usize::try_from(len) {
            Ok(len) if len as u64 <= LONGEST => len,
            _ => return Err(Fault::TooLarge),
        };
        let mut bytes = Vec::new();
        while bytes.len() < len {
            let start = bytes.len();
            let more = (len - start).min(STEP.max(start));
            bytes.reserve_exact(more);
            bytes.resize(start + more, 0);
            self.source.fill(&mut bytes[start..])?;
        }
        Ok(bytes)
    }

    /// How many bytes the string takes that comes next, of which the length is read, and nothing else.
    pub(super) fn string_bytes(&mut self) -> Result<u64, Fault> {
        Ok(match self.either()? {
            Length::Plain(bytes) => bytes,
            Length::Encoded(0) => 1,
            Length::Encoded(1) => 2,
            Length::Encoded(2) => 4,
            Length::Encoded(3) => {
                let (small, _) = (self.length()?, self.length()?);
                small
            }
            Length::Encoded(_) => return Err(Fault::Damaged),
        })
    }

    /// A string, in whichever encoding.
    pub fn string(&mut self) -> Result<Vec<u8>, Fault> {
        let number = match self.either()? {
            Length::Plain(len) => return self.bytes(len),
            Length::Encoded(0) => i64::from(i8::from_le_bytes(self.array()?)),
            Length::Encoded(1) => i64::from(i16::from_le_bytes(self.array()?)),
            Length::Encoded(2) => i64::from(i32::from_le_bytes(self.array()?)),
            Length::Encoded(3) => {
                let (small, large) = (self.length()?, self.length()?);
                if large > LONGEST {
                    return Err(Fault::TooLarge);
                }
                let small = self.bytes(small)?;
                return lzf::decompress(&small, large as usize).ok_or(Fault::Damaged);
            }
            Length::Encoded(_) => return Err(Fault::Damaged),
        };
        Ok(Decimal::new(number).as_bytes().to_vec())
    }
}
