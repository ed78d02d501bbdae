//! The keyring's file: read whole, replaced whole.
//!
//! A replacement is written beside the file, synced, renamed over it, and the directory synced. A
//! crash at any point leaves the old file or the new one, never a mixture; a leftover temporary is
//! never read.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The longest keyring that is read, in bytes. A thousand Deks take about a quarter of a MiB.
const LONGEST: u64 = 64 << 20;

/// The step that failed, and where.
pub(super) struct StoreError {
    pub path: PathBuf,
    pub action: &'static str,
    pub source: io::Error,
    /// Whether the file's content on disk is now in doubt.
    pub in_doubt: bool,
}

/// The file's bytes; `None` if there is no such file.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    let failed = |source| StoreError {
        path: path.to_owned(),
        action: "read",
        source,
        in_doubt: false,
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(failed(e)),
    };
    let mut bytes = Vec::new();
    file.take(LONGEST + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > LONGEST {
        return Err(failed(io::Error::other("it is larger than 64 MiB")));
    }
    Ok(Some(bytes))
}

/// Replaces `path` by `bytes`, durably.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let temporary = temporary(path);
    let failed = |at: &Path, action, in_doubt| {
        let path = at.to_owned();
        move |source| StoreError {
            path,
            action,
            source,
            in_doubt,
        }
    };
    discard_temporary(path)?;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)
        .map_err(failed(&temporary, "create", false))?;
    if let Err(e) = file.write_all(bytes) {
        drop(file);
        // The old keyring stands; the half-written new one is only in the way.
        let _ = fs::remove_file(&temporary);
        return Err(failed(&temporary, "write", false)(e));
    }
    file.sync_all().map_err(failed(&temporary, "sync", true))?;
    fs::rename(&temporary, path).map_err(failed(path, "replace", true))?;
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(failed(dir, "sync", true))
}

/// Removes what a crash during [`replace`] may have left.
pub(super) fn discard_temporary(path: &Path) -> Result<(), StoreError> {
    let temporary = temporary(path);
    match fs::remove_file(&temporary) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(StoreError {
            path: temporary,
            action: "remove",
            source,
            in_doubt: false,
        }),
    }
}

/// A log segment somewhere below `dir`, at most `depth` directories down.
pub(super) fn find_segment(dir: &Path, depth: usize) -> Result<Option<PathBuf>, StoreError> {
    let failed = |source| StoreError {
        path: dir.to_owned(),
        action: "list",
        source,
        in_doubt: false,
    };
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(failed(e)),
    };
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        if entry.file_type().map_err(failed)?.is_dir() {
            if depth > 0
                && let Some(found) = find_segment(&path, depth - 1)?
            {
                return Ok(Some(found));
            }
        } else if path.extension().is_some_and(|e| e == "seg") {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

fn temporary(path: &Path) -> PathBuf {
    path.with_extension("tmp")
}
