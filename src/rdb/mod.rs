//! The form in which Redis writes values: in RDB files, and in what DUMP answers and RESTORE takes.
//!
//! Promise: pure, and for bytes from anywhere. Reading ends with a value or with a [`Fault`], never with a panic, with
//! more memory than the bytes at hand warrant, or with a value that the bytes do not say. Writing chooses for each value
//! the form that Redis 7.0 would choose, so that what is read there has the encoding it would have there.
//!
//! A value is read from a [`Source`] and written to a [`Sink`] element by element, and a [`Reader`] goes on behind a
//! value with the next; so a file of many keys passes through without being held as a whole. What stands between values in
//! a file (versions, databases, expiries) is the matter of [`mod@file`].
//!
//! Versions: all that Redis wrote up to RDB version 12 (7.4, 8.0) is read, and what Valkey 9 writes as version 80. What
//! is written is version 10 (Redis 7.0) but for hashes with fields that expire, which need 12. Version 10 has no place
//! for the time at which a consumer of a stream last got something; who reads it takes the time at which it last asked.
//! Values of modules are refused by name.
//!
//! Source: Redis's documentation of DUMP and RESTORE, and the descriptions of the RDB, ziplist, listpack and LZF formats.
//!
//! Reading order: `read` and `write` (lengths and strings), `lzf`, `crc`, `packed` (listpack and its elders), `load` and
//! `save` (values), `stream` (both ways), `file` (whole files).

mod crc;
pub mod file;
mod load;
mod lzf;
mod packed;
mod read;
mod save;
mod stream;
#[cfg(test)]
mod tests;
mod write;

use std::fmt;

pub use crc::{Crc64, crc64};
pub use read::{Reader, Source};
pub use save::{Form, form, write_value};
pub use write::{Sink, put_length, put_string};

use crate::shard::{Owned, Value};

/// The newest version that Redis wrote whose values are all known.
pub const NEWEST: u16 = 12;
/// The version of Valkey 9, which went its own way from there.
pub const VALKEY: u16 = 80;

/// The numbers of the forms of values.
mod kind {
    pub(super) const STRING: u8 = 0;
    pub(super) const LIST: u8 = 1;
    pub(super) const SET: u8 = 2;
    pub(super) const ZSET: u8 = 3;
    pub(super) const HASH: u8 = 4;
    pub(super) const ZSET_2: u8 = 5;
    pub(super) const MODULE: u8 = 6;
    pub(super) const MODULE_2: u8 = 7;
    pub(super) const HASH_ZIPMAP: u8 = 9;
    pub(super) const LIST_ZIPLIST: u8 = 10;
    pub(super) const SET_INTSET: u8 = 11;
    pub(super) const ZSET_ZIPLIST: u8 = 12;
    pub(super) const HASH_ZIPLIST: u8 = 13;
    pub(super) const LIST_QUICKLIST: u8 = 14;
    pub(super) const STREAM: u8 = 15;
    pub(super) const HASH_LISTPACK: u8 = 16;
    pub(super) const ZSET_LISTPACK: u8 = 17;
    pub(super) const LIST_QUICKLIST_2: u8 = 18;
    pub(super) const STREAM_2: u8 = 19;
    pub(super) const SET_LISTPACK: u8 = 20;
    pub(super) const STREAM_3: u8 = 21;
    /// Of Valkey 9; Redis has another form under this number.
    pub(super) const HASH_2: u8 = 22;
    /// Redis 7.4 before its release.
    pub(super) const HASH_TIMED_OLD: u8 = 22;
    pub(super) const HASH_TIMED_LISTPACK_OLD: u8 = 23;
    pub(super) const HASH_TIMED: u8 = 24;
    pub(super) const HASH_TIMED_LISTPACK: u8 = 25;
}

/// Why bytes are no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// They end too early.
    Short,
    /// They contradict themselves.
    Damaged,
    /// A form that is not known.
    Unknown(u8),
    /// A value of a module.
    Module,
    /// A string of more than 512 MiB, or a value of more than is allowed.
    TooLarge,
    /// The version is not one that is read, or the checksum is wrong.
    Payload,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Short => f.write_str("the data end too early"),
            Fault::Damaged => f.write_str("the data contradict themselves"),
            Fault::Unknown(kind) => write!(f, "values of form {kind} are not known"),
            Fault::Module => f.write_str("values of modules are not supported"),
            Fault::TooLarge => f.write_str("it is too large"),
            Fault::Payload => f.write_str("version or checksum are wrong"),
        }
    }
}

impl std::error::Error for Fault {}

/// The version that brought libraries of functions (Redis 7.0).
const LIBRARIES_SINCE: u16 = 10;

/// Bytes behind the value in a payload: its version and its checksum.
const FOOTER: usize = 2 + 8;
/// Most bytes that the elements of a payload's value may take: as many as the arguments of one request may.
const LARGEST: u64 = 1 << 30;

/// What DUMP answers for a value.
pub fn dump(value: &Value<'_>) -> Vec<u8> {
    let form = form(value);
    let mut out = vec![form.kind];
    write_value(value, &mut out);
    close(&mut out, form.version);
    out
}

/// Appends the footer of a payload.
fn close(out: &mut Vec<u8>, version: u16) {
    out.extend_from_slice(&version.to_le_bytes());
    let sum = crc64(out);
    out.extend_from_slice(&sum.to_le_bytes());
}

/// What stands before the text of each library of functions.
const LIBRARY: u8 = 245;

/// What FUNCTION DUMP answers for libraries of these texts.
pub fn dump_libraries<'t>(texts: impl Iterator<Item = &'t [u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    for text in texts {
        out.push(LIBRARY);
        put_string(&mut out, text);
    }
    close(&mut out, LIBRARIES_SINCE);
    out
}

/// The texts of the libraries in a payload.
///
/// # Errors
/// As [`undump`]; [`Fault::Unknown`] for what is no library.
pub fn undump_libraries(payload: &[u8]) -> Result<Vec<Vec<u8>>, Fault> {
    let (body, version) = open(payload)?;
    let mut reader = Reader::new(body, version).limit(LARGEST);
    let mut texts = Vec::new();
    loop {
        match reader.byte() {
            Ok(LIBRARY) => texts.push(reader.string()?),
            Ok(other) => return Err(Fault::Unknown(other)),
            Err(Fault::Short) => return Ok(texts),
            Err(fault) => return Err(fault),
        }
    }
}

/// The value of a payload.
///
/// # Errors
/// [`Fault::Payload`] before anything of the value is looked at, then any other.
pub fn undump(payload: &[u8]) -> Result<Owned, Fault> {
    let (body, version) = open(payload)?;
    let mut reader = Reader::new(body, version).limit(LARGEST);
    let kind = reader.byte()?;
    let value = reader.value(kind)?;
    match reader.into_source() {
        [] => Ok(value),
        _ => Err(Fault::Damaged),
    }
}

/// What a payload holds, and the version it is in.
fn open(payload: &[u8]) -> Result<(&[u8], u16), Fault> {
    let (body, footer) = payload
        .len()
        .checked_sub(FOOTER)
        .and_then(|at| payload.split_at_checked(at))
        .ok_or(Fault::Payload)?;
    let (version, sum) = match *footer {
        [a, b, ref sum @ ..] => (u16::from_le_bytes([a, b]), sum),
        _ => return Err(Fault::Payload),
    };
    let known = version <= NEWEST || version == VALKEY;
    if !known || crc64(&payload[..payload.len() - sum.len()]).to_le_bytes() != sum {
        return Err(Fault::Payload);
    }
    Ok((body, version))
}
