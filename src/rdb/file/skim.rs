//! Values passed over: where they end, and no more.
//!
//! Promise: whatever is passed over is read once, a small piece at a time; what a value says is not looked at. So a value
//! that is passed over may turn out as damaged when it is read.

use crate::rdb::{Fault, Reader, Source, VALKEY, kind};

/// Bytes that are passed over at a time.
const PIECE: usize = 8 << 10;

/// What stands between the parts of a module's value.
mod part {
    pub(super) const END: u64 = 0;
    pub(super) const SIGNED: u64 = 1;
    pub(super) const UNSIGNED: u64 = 2;
    pub(super) const FLOAT: u64 = 3;
    pub(super) const DOUBLE: u64 = 4;
    pub(super) const STRING: u64 = 5;
}

/// The name of a module's type, out of its id: nine letters of six bits, above ten bits of version.
pub(super) fn module_name(id: u64) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let letter = |place: u32| char::from(LETTERS[(id >> (10 + 6 * place)) as usize & 63]);
    (0..9).rev().map(letter).collect()
}

impl<S: Source> Reader<S> {
    /// Passes over so many bytes.
    fn pass(&mut self, bytes: u64) -> Result<(), Fault> {
        let mut piece = [0; PIECE];
        let mut left = bytes;
        while left > 0 {
            let now = left.min(PIECE as u64);
            self.source.fill(&mut piece[..now as usize])?;
            left -= now;
        }
        Ok(())
    }

    /// Passes over so many lengths.
    pub(super) fn pass_lengths(&mut self, count: usize) -> Result<(), Fault> {
        for _ in 0..count {
            self.length()?;
        }
        Ok(())
    }

    /// Passes over a string, whatever its encoding.
    pub(super) fn pass_string(&mut self) -> Result<(), Fault> {
        let bytes = self.string_bytes()?;
        self.pass(bytes)
    }

    /// Passes over as many of something as the length says that stands before them.
    fn pass_each(
        &mut self,
        mut f: impl FnMut(&mut Reader<S>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        for _ in 0..self.length()? {
            f(self)?;
        }
        Ok(())
    }

    /// Passes over the parts of a module's data, until their end.
    pub(super) fn pass_module(&mut self) -> Result<(), Fault> {
        loop {
            match self.length()? {
                part::END => return Ok(()),
                part::SIGNED | part::UNSIGNED => self.pass_lengths(1)?,
                part::FLOAT => self.pass(4)?,
                part::DOUBLE => self.pass(8)?,
                part::STRING => self.pass_string()?,
                _ => return Err(Fault::Damaged),
            }
        }
    }

    /// Passes over a value of the form `kind`.
    ///
    /// # Errors
    /// [`Fault::Short`], [`Fault::Damaged`] where lengths cannot be ones; [`Fault::Unknown`] for forms whose end is not
    /// known, and [`Fault::Module`] for values of modules of the form before Redis 4.0's release.
    pub(super) fn pass_value(&mut self, kind: u8) -> Result<(), Fault> {
        match kind {
            kind::STRING
            | kind::HASH_ZIPMAP
            | kind::LIST_ZIPLIST
            | kind::SET_INTSET
            | kind::ZSET_ZIPLIST
            | kind::HASH_ZIPLIST
            | kind::HASH_LISTPACK
            | kind::ZSET_LISTPACK
            | kind::SET_LISTPACK => self.pass_string(),
            kind::LIST | kind::SET | kind::LIST_QUICKLIST => self.pass_each(Reader::pass_string),
            kind::ZSET => self.pass_each(|r| {
                r.pass_string()?;
                match r.byte()? {
                    253.. => Ok(()),
                    len => r.pass(u64::from(len)),
                }
            }),
            kind::ZSET_2 => self.pass_each(|r| {
                r.pass_string()?;
                r.pass(8)
            }),
            kind::HASH => self.pass_each(|r| {
                r.pass_string()?;
                r.pass_string()
            }),
            kind::LIST_QUICKLIST_2 => self.pass_each(|r| {
                r.pass_lengths(1)?;
                r.pass_string()
            }),
            kind::STREAM | kind::STREAM_2 | kind::STREAM_3 => self.pass_stream(kind),
            kind::HASH_2 if self.version >= VALKEY => self.pass_each(|r| {
                r.pass_string()?;
                r.pass_string()?;
                r.pass(8)
            }),
            _ if self.version >= VALKEY && kind > kind::HASH_2 => Err(Fault::Unknown(kind)),
            kind::HASH_TIMED_OLD | kind::HASH_TIMED => {
                self.pass(if kind == kind::HASH_TIMED { 8 } else { 0 })?;
                self.pass_each(|r| {
                    r.pass_lengths(1)?;
                    r.pass_string()?;
                    r.pass_string()
                })
            }
            kind::HASH_TIMED_LISTPACK_OLD => self.pass_string(),
            kind::HASH_TIMED_LISTPACK => {
                self.pass(8)?;
                self.pass_string()
            }
            kind::MODULE_2 => {
                self.pass_lengths(1)?;
                self.pass_module()
            }
            kind::MODULE => Err(Fault::Module),
            _ => Err(Fault::Unknown(kind)),
        }
    }

    fn pass_stream(&mut self, kind: u8) -> Result<(), Fault> {
        self.pass_each(|r| {
            r.pass_string()?;
            r.pass_string()
        })?;
        // How many entries, and the last id; later the first, the greatest deleted one, and how many there ever were.
        self.pass_lengths(if kind == kind::STREAM { 3 } else { 8 })?;
        self.pass_each(|r| {
            r.pass_string()?;
            r.pass_lengths(if kind == kind::STREAM { 2 } else { 3 })?;
            r.pass_each(|r| {
                r.pass(16 + 8)?;
                r.pass_lengths(1)
            })?;
            r.pass_each(|r| {
                r.pass_string()?;
                r.pass(if kind == kind::STREAM_3 { 16 } else { 8 })?;
                r.pass_each(|r| r.pass(16))
            })
        })
    }
}
