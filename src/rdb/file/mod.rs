//! Whole RDB files: what stands around the values.
//!
//! A file is a magic word with a version, then items: fields about the file, libraries of functions, and for each database
//! its number, how many keys it holds, and the keys, each with what is known of its expiry and use; an end, and a checksum.
//!
//! Promise: [`FileReader`] takes any bytes from any [`std::io::Read`], one item at a time, and not one byte beyond the end
//! of the file; so it reads from a socket on which something else follows, and from a file of any size in little memory.
//! Lengths are not believed before the bytes are there. The value behind a key is left to the caller: read
//! ([`FileReader::value`]), taken as the payload of a RESTORE ([`FileReader::payload`]), or passed over. [`FileWriter`] writes
//! what Redis 7.0 loads.
//!
//! What belongs to modules is passed over and named; what is not known by its number ends the reading, since nobody can
//! say where it ends. The states of clusters (slots and their sizes, imports under way) mean nothing elsewhere and are
//! passed over.
//!
//! Source: Redis's description of the RDB format; the numbers of items up to Redis 8.2 and Valkey 9.1.

mod feed;
mod read;
mod skim;
#[cfg(test)]
mod tests;
mod write;

use std::fmt;
use std::io;

pub use read::FileReader;
pub use write::{FileWriter, body};

use super::Fault;
use crate::shard::{Ms, Said};

/// The numbers of what stands where the form of a value could stand.
mod opcode {
    /// Slots that come from another node of the cluster (Valkey 9).
    pub(super) const SLOT_IMPORT: u8 = 243;
    /// The size of a slot.
    pub(super) const SLOT_INFO: u8 = 244;
    pub(super) const LIBRARY: u8 = 245;
    /// Libraries of functions as they were before Redis 7.0's release.
    pub(super) const LIBRARY_OLD: u8 = 246;
    pub(super) const MODULE: u8 = 247;
    pub(super) const IDLE: u8 = 248;
    pub(super) const FREQUENCY: u8 = 249;
    pub(super) const AUX: u8 = 250;
    pub(super) const SIZES: u8 = 251;
    pub(super) const EXPIRE_MS: u8 = 252;
    pub(super) const EXPIRE: u8 = 253;
    pub(super) const DATABASE: u8 = 254;
    pub(super) const END: u8 = 255;
    /// Up to here forms of values are numbered, known or not.
    pub(super) const FORMS: u8 = 127;
}

/// The first version with a checksum at the end.
const SUMMED_SINCE: u16 = 5;

/// Something in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A field about the file: its name, what it says.
    Aux(Vec<u8>, Vec<u8>),
    /// How much the database that follows holds, as the writer saw it; nothing to rely on.
    Sizes {
        /// The database's number.
        db: u32,
        /// Its keys.
        keys: u64,
        /// Those of them that expire.
        expiring: u64,
    },
    /// The text of a library of functions.
    Library(Vec<u8>),
    /// Data of the module of this name, beside its keys; they were passed over.
    Module(String),
    /// A key. Its value is what the reader comes to next.
    Key(Key),
}

/// A key of a file, without its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The database's number.
    pub db: u32,
    /// Its name.
    pub name: Vec<u8>,
    /// When it expires, or did.
    pub expire: Option<Ms>,
    /// How it has been used.
    pub said: Option<Said>,
    /// The form of its value.
    pub kind: u8,
    /// Where in the file the value begins.
    pub at: u64,
}

/// Why a file was not read, and where.
#[derive(Debug)]
pub struct FileError {
    /// How many bytes were read until then.
    pub at: u64,
    /// What is wrong.
    pub why: Why,
}

/// What is wrong with a file.
#[derive(Debug)]
pub enum Why {
    /// It could not be read.
    Read(io::Error),
    /// It does not begin as an RDB file.
    Magic,
    /// A version that is not read; `valkey` if Valkey's counting is meant.
    Version {
        /// The number.
        version: u16,
        /// Whose.
        valkey: bool,
    },
    /// An item of this number is not known.
    Item(u8),
    /// Libraries of functions in the form of a release candidate of Redis 7.0.
    OldLibrary,
    /// Value of the module of this name.
    Module(String),
    /// The checksum at the end is another one.
    Checksum,
    /// Anything within an item.
    Fault(Fault),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Read(e) => e.fmt(f),
            Why::Magic => f.write_str("this is no RDB file"),
            Why::Version { version, valkey } => {
                let whose = if *valkey { "Valkey's" } else { "Redis's" };
                write!(f, "{whose} RDB version {version} is not known")
            }
            Why::Item(number) => write!(f, "items or values of form {number} are not known"),
            Why::OldLibrary => {
                f.write_str("it holds functions as only release candidates of Redis 7.0 wrote them")
            }
            Why::Module(name) => write!(f, "values of the module type {name} are not supported"),
            Why::Checksum => f.write_str("the checksum is wrong: the file is damaged"),
            Why::Fault(fault) => fault.fmt(f),
        }
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {}: {}", self.at, self.why)
    }
}

impl std::error::Error for FileError {}
