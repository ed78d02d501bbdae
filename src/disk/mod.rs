//! The disk, as the log sees it: a directory of files, addressed in whole blocks.
//!
//! Laws of this floor:
//! - **Only sealed bytes go down.** Every verb that writes takes a [`Sealed`], which nothing
//!   outside this crate's sealing code can make; there is no way to hand the disk a plaintext.
//! - **Blocks are [`BLOCK`] bytes.** Offsets and lengths of writes are multiples of it, and so is
//!   the address of every buffer ([`AlignedBuf`]), as O_DIRECT asks.
//! - **Nothing is retried.** An error goes up as it came; what it means is decided above.
//!
//! [`real`] is a Linux directory; [`sim`] is the same thing in memory, with crashes: lost, torn
//! and reordered writes, EIO and ENOSPC, all drawn from a seed.

mod buf;
pub mod real;
pub mod sim;

use std::io;

pub use buf::{AlignedBuf, Pool, held};
pub use real::bytes_read;

/// The unit of everything that is written, in bytes: offsets, lengths and addresses are multiples.
pub const BLOCK: usize = 4096;

/// Rounds `bytes` up to whole blocks.
pub const fn round_up(bytes: usize) -> usize {
    bytes.div_ceil(BLOCK) * BLOCK
}

/// Whole blocks that sealing code vouches for: ciphertext, or a header that holds no secret.
///
/// This is the only thing the writing verbs take.
#[derive(Debug)]
pub struct Sealed {
    buf: AlignedBuf,
    start: usize,
    len: usize,
}

impl Sealed {
    /// Wraps `len` bytes of `buf` from `start`, which the caller has just sealed.
    ///
    /// Kept inside the crate: whoever calls it promises that no plaintext is in the range.
    pub(crate) fn vouch(buf: AlignedBuf, start: usize, len: usize) -> Sealed {
        assert!(start.is_multiple_of(BLOCK) && len.is_multiple_of(BLOCK) && len > 0);
        assert!(start + len <= buf.len());
        Sealed { buf, start, len }
    }

    /// The bytes to be written.
    pub fn bytes(&self) -> &[u8] {
        &self.buf[self.start..self.start + self.len]
    }

    /// Their first address, a multiple of [`BLOCK`]; it stays put while this value lives, moved or not.
    pub fn as_ptr(&self) -> *const u8 {
        self.bytes().as_ptr()
    }

    /// Their number.
    #[allow(clippy::len_without_is_empty)] // never empty
    pub fn len(&self) -> usize {
        self.len
    }

    /// Gives the buffer back, for its pool.
    pub(crate) fn into_buf(self) -> AlignedBuf {
        self.buf
    }
}

/// A file of the directory, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name, without the directory.
    pub name: String,
    /// Its length in bytes.
    pub len: u64,
}

/// The slow errands of a log, which make or unmake files: they block, so they are run off the
/// hot path, by [`Disk::perform`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// Make the file `name` of `size` bytes, all of them reserved; with `prefill` also written
    /// once (zeros), so that later writes change no metadata. Fails if the name is taken.
    Create {
        /// Name in the directory.
        name: String,
        /// Length in bytes, a multiple of [`BLOCK`].
        size: u64,
        /// Write every block, not only reserve it.
        prefill: bool,
    },
    /// Turn the file `from`, whose content nobody needs, into a fresh file `name`: its first block
    /// is overwritten with zeros and synced before the name changes, its length made `size`.
    Recycle {
        /// The file that is given up.
        from: String,
        /// Its new name.
        name: String,
        /// Length in bytes, a multiple of [`BLOCK`].
        size: u64,
        /// Write what has to be added, rather than only reserve it.
        prefill: bool,
    },
    /// Open the file `name` if it is there with that size, else make it (as `Create`, prefilled).
    Obtain {
        /// Name in the directory.
        name: String,
        /// Length in bytes, a multiple of [`BLOCK`].
        size: u64,
    },
    /// Give the file `from`, whose content is durable, the name `name`.
    Rename {
        /// The file.
        from: String,
        /// Its name from now on; a file of that name is replaced.
        name: String,
    },
    /// Remove the file; fine if it is not there.
    Remove {
        /// Name in the directory.
        name: String,
    },
}

impl Work {
    /// The file this is about, under its final name.
    pub fn name(&self) -> &str {
        match self {
            Work::Create { name, .. }
            | Work::Recycle { name, .. }
            | Work::Obtain { name, .. }
            | Work::Rename { name, .. }
            | Work::Remove { name } => name,
        }
    }
}

/// A directory of files. All errors are those of the operating system, with the name added.
pub trait Disk: Send + Sync {
    /// A file of this directory, open.
    type File: DiskFile;
    /// The regular files in it, in no particular order.
    fn list(&self) -> io::Result<Vec<Entry>>;
    /// Opens a file for reading.
    fn open(&self, name: &str) -> io::Result<Self::File>;
    /// Runs an errand to its end: when it returns `Ok`, names and reserved space survive a power
    /// failure. Returns the file, ready for writing (`None` for `Remove`).
    fn perform(&self, work: &Work) -> io::Result<Option<Self::File>>;
}

/// An open file.
pub trait DiskFile: Send + Sync {
    /// Its length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Reads up to `buf.len()` bytes from `offset`; fewer only at the end of the file.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes the blocks at `offset`; with `dsync` they are durable when this returns.
    fn write_at(&self, data: &Sealed, offset: u64, dsync: bool) -> io::Result<usize>;
    /// Makes everything written so far durable (fdatasync).
    fn sync(&self) -> io::Result<()>;
    /// Whether it has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// Adds what was attempted, and on what, to an error; the kind and the OS number stay readable.
pub(crate) fn context(e: io::Error, what: &str, name: &str) -> io::Error {
    io::Error::new(
        e.kind(),
        Context {
            what: what.to_string(),
            name: name.to_string(),
            source: e,
        },
    )
}

/// Whether an error says that the disk (or the quota) is full.
pub fn is_full(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

#[derive(Debug)]
struct Context {
    what: String,
    name: String,
    source: io::Error,
}

impl std::fmt::Display for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cannot {} {}: {}", self.what, self.name, self.source)
    }
}

impl std::error::Error for Context {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}
