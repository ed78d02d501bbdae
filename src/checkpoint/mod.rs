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

pub mod hold;
mod manifest;
pub mod recover;

use std::fmt;
use std::io;

pub use manifest::{LABEL, Manifest, Name, PartEntry};

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
    pub whole: Vec<Name>,
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
    let mut found = Found {
        whole: names.iter().filter_map(|n| Name::parse(n)).collect(),
        ..Found::default()
    };
    found.whole.sort_unstable_by_key(|&n| std::cmp::Reverse(n));
    found.highest = found.whole.first().map_or(0, |name| name.number);
    for name in names {
        if let Some((number, _, _)) = parse_segment_name(&name) {
            found.highest = found.highest.max(number);
            if found.whole.iter().all(|name| name.number != number) {
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
pub fn publish<D: Disk>(disk: &D, name: Name, manifest: &Sealed) -> io::Result<()> {
    let name = name.file();
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

/// Removes the files of one checkpoint, its manifest first: what is left then counts for nothing. A file that cannot
/// be removed is tried again with the next checkpoint.
pub fn remove<D: Disk>(disk: &D, number: u64) {
    for logged in [true, false] {
        let name = Name { number, logged }.file();
        let _ = disk.perform(&Work::Remove { name });
    }
    for entry in disk.list().unwrap_or_default() {
        if parse_segment_name(&entry.name).is_some_and(|(of, _, _)| of == number) {
            let _ = disk.perform(&Work::Remove { name: entry.name });
        }
    }
}

/// Removes every checkpoint, finished or not, with a number below this one.
pub fn remove_below<D: Disk>(disk: &D, number: u64) {
    let mut old: Vec<u64> = Vec::new();
    for entry in disk.list().unwrap_or_default() {
        let segment = parse_segment_name(&entry.name).map(|(of, _, _)| of);
        old.extend(
            segment
                .or(Name::parse(&entry.name).map(|name| name.number))
                .filter(|&of| of < number),
        );
    }
    old.sort_unstable();
    old.dedup();
    old.into_iter().for_each(|of| remove(disk, of));
}

#[cfg(test)]
mod tests;
