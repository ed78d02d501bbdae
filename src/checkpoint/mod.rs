//! Checkpoints: the state of every shard, sealed, from which recovery starts instead of from the first
//! unit of the log.
//!
//! Laws:
//! - **No fork, no second copy.** Slot after slot is written out while commands run. A slot is noted with the LSN
//!   below which the log's units are in it ([`crate::log::Slots`]), so slots may be of different moments, and a slot
//!   that changes before or after its turn costs nothing.
//! - **The same bytes.** A part is a chain of segments as the log writes them, of the same effects: what
//!   reads, verifies and applies a log does so with a checkpoint.
//! - **It counts from one moment on**, when its manifest is renamed. Before that all its parts are durable, and all
//!   logs as far as its marks go.
//! - **What it replaces goes later**: the log before it is recycled when an anchor says that it is not needed.
//!
//! The bytes are specified in `FORMAT.md`.

mod manifest;

use std::fmt;
use std::io;

pub use manifest::{LABEL, Manifest, PartEntry, manifest_name, parse_manifest_name};

use crate::disk::{Disk, DiskFile, Sealed, Work};
use crate::log::format::parse_segment_name;

/// A checkpoint, or its manifest, that cannot be used as it is.
#[derive(Debug)]
pub enum Damage {
    /// The operating system failed to read.
    Io {
        /// The file.
        file: String,
        /// What it said.
        source: io::Error,
    },
    /// The manifest is damaged, or not this server's.
    Manifest {
        /// The file.
        file: String,
        /// What is wrong.
        what: &'static str,
    },
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Damage::Io { file, source } => write!(f, "checkpoint: {file}: {source}"),
            Damage::Manifest { file, what } => write!(f, "checkpoint: {file}: {what}"),
        }
    }
}

impl std::error::Error for Damage {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Damage::Io { source, .. } => Some(source),
            Damage::Manifest { .. } => None,
        }
    }
}

/// What a directory of checkpoints holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The checkpoints with a manifest, newest first.
    pub numbers: Vec<u64>,
    /// The highest number that any file has.
    pub highest: u64,
    /// Files of checkpoints that have no manifest: interrupted ones.
    pub unfinished: Vec<String>,
}

/// Looks at a directory of checkpoints.
///
/// # Errors
/// The directory could not be listed.
pub fn find<D: Disk>(disk: &D) -> io::Result<Found> {
    let names: Vec<String> = disk.list()?.into_iter().map(|e| e.name).collect();
    let mut found = Found::default();
    found.numbers = names.iter().filter_map(|n| parse_manifest_name(n)).collect();
    found.numbers.sort_unstable_by_key(|&n| std::cmp::Reverse(n));
    found.highest = found.numbers.first().copied().unwrap_or(0);
    for name in names {
        if let Some((number, _, _)) = parse_segment_name(&name) {
            found.highest = found.highest.max(number);
            if !found.numbers.contains(&number) {
                found.unfinished.push(name);
            }
        } else if name.ends_with(".manifest.tmp") {
            found.unfinished.push(name);
        }
    }
    Ok(found)
}

/// Makes a manifest count: from the return on, and not before.
///
/// # Errors
/// Nothing counts: the disk is full, or failed.
pub fn publish<D: Disk>(disk: &D, number: u64, manifest: &Sealed) -> io::Result<()> {
    let name = manifest_name(number);
    let from = format!("{name}.tmp");
    disk.perform(&Work::Remove { name: from.clone() })?;
    let made = disk.perform(&Work::Create {
        name: from.clone(),
        size: manifest.len() as u64,
        prefill: false,
    })?;
    let file = made.ok_or_else(|| io::Error::other("a file was made and not opened"))?;
    file.write_at(manifest, 0, true)?;
    disk.perform(&Work::Rename { from, name }).map(drop)
}
