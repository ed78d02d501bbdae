//! Putting a data directory back.
//!
//! It grows beside its name, in `NAME.restoring`, every file synced, and is renamed when it is whole. What an interrupted
//! restore has left there is removed by the next one, if it is that: its first file is named [`MARK`].

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::view::piece;
use super::{FileEntry, Manifest, Vault};
use crate::disk::real::sync_dir;
use crate::envelope::{Keyring, Provider};

/// Says that a directory is a restore that is under way, or was interrupted.
const MARK: &str = "RESTORING";

/// Restores a backup as the data directory `to`, which must not be there, or be empty. With `rewrap` its keyring is wrapped
/// under that Kek. `now` is in Unix milliseconds.
///
/// # Errors
/// What is wrong with the backup, the file and the place named, or what the file system refuses: nothing is then at `to`.
pub fn restore(
    vault: &Vault<'_>,
    manifest: &Manifest,
    to: &Path,
    rewrap: Option<Arc<dyn Provider>>,
    now: u64,
) -> Result<(), String> {
    let (to, beside) = place(to)?;
    let at = |path: &Path, e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
    clear(&beside).map_err(|e| at(&beside, &e))?;
    vault.watch.total(manifest.bytes());
    let made = make(vault, manifest, &beside).and_then(|()| match (rewrap, &vault.provider) {
        (None, _) => Ok(()),
        (Some(_), None) => Err("a backup that is not encrypted is under no Kek".to_owned()),
        (Some(new), Some(old)) => {
            let keyring = Keyring::open(&beside, old.clone(), now);
            let rewrapped = keyring.and_then(|mut keyring| keyring.rewrap(new, now));
            rewrapped.map_err(|e| e.to_string())
        }
    });
    let renamed = made.and_then(|()| fs::rename(&beside, &to).map_err(|e| at(&to, &e)));
    if renamed.is_err() {
        // As far as it goes: what is left is not at its name, and the next restore removes it.
        let _ = clear(&beside);
    }
    renamed?;
    // Nobody minds the mark: the directory is whole.
    let parent = to.parent().unwrap_or(Path::new("/"));
    let mark = to.join(MARK);
    let synced = sync_dir(parent).and_then(|()| fs::remove_file(&mark));
    synced.and_then(|()| sync_dir(&to)).map_err(|e| at(&to, &e))
}

/// The full path of the new directory, and the one beside it.
fn place(to: &Path) -> Result<(PathBuf, PathBuf), String> {
    let at = |e: &dyn std::fmt::Display| format!("{}: {e}", to.display());
    let full = std::path::absolute(to).map_err(|e| at(&e))?;
    let full: PathBuf = full.components().collect();
    match fs::symlink_metadata(&full) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(at(&e)),
        Ok(meta) if !meta.is_dir() => return Err(at(&"it is no directory")),
        Ok(_) => {
            if fs::read_dir(&full).map_err(|e| at(&e))?.next().is_some() {
                return Err(at(
                    &"it is not empty, and nothing is restored over other data",
                ));
            }
        }
    }
    let mut name = full.file_name().ok_or(at(&"it has no name"))?.to_owned();
    name.push(".restoring");
    let beside = full.with_file_name(name);
    Ok((full, beside))
}

/// Removes what an interrupted restore has left.
fn clear(beside: &Path) -> io::Result<()> {
    match fs::symlink_metadata(beside) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    let mut names = Vec::new();
    for entry in fs::read_dir(beside)? {
        names.push(entry?.file_name());
    }
    // One that is empty has lost its mark, or never had it.
    if !names.is_empty() && !names.iter().any(|name| name == MARK) {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "it is in the way, and it is not of a restore that was interrupted",
        ));
    }
    // The mark last, so that this, too, can be interrupted.
    for name in names.iter().filter(|name| *name != MARK) {
        let path = beside.join(name);
        match fs::symlink_metadata(&path)?.is_dir() {
            true => fs::remove_dir_all(&path)?,
            false => fs::remove_file(&path)?,
        }
    }
    if !names.is_empty() {
        fs::remove_file(beside.join(MARK))?;
    }
    fs::remove_dir(beside)
}

fn make(vault: &Vault<'_>, manifest: &Manifest, dir: &Path) -> Result<(), String> {
    let at = |path: &Path, e: io::Error| format!("{}: {e}", path.display());
    let mut builder = DirBuilder::new();
    builder.mode(0o700);
    let make = |path: &Path| builder.create(path).map_err(|e| at(path, e));
    make(dir)?;
    let mark = dir.join(MARK);
    file(&mark, |_| Ok(()))?;
    sync_dir(dir).map_err(|e| at(dir, e))?;
    let (log, checkpoint) = (dir.join("log"), dir.join("checkpoint"));
    make(&log)?;
    make(&checkpoint)?;
    for entry in &manifest.files {
        fill(vault, entry, &dir.join(&entry.path))?;
    }
    for dir in [&log, &checkpoint, dir] {
        sync_dir(dir).map_err(|e| at(dir, e))?;
    }
    Ok(())
}

fn fill(vault: &Vault<'_>, entry: &FileEntry, path: &Path) -> Result<(), String> {
    file(path, |out| {
        for (name, range) in entry.ranges() {
            let len = range.end - range.start;
            let bytes = piece(vault.store, name, len).map_err(|e| {
                let (path, from, to) = (&entry.path, range.start, range.end);
                format!("{path}: bytes {from} to {to}: {e}")
            })?;
            out.write_all(&bytes)
                .map_err(|e| format!("{}: {e}", path.display()))?;
            vault.watch.done(len);
        }
        Ok(())
    })
}

fn file(path: &Path, fill: impl FnOnce(&mut File) -> Result<(), String>) -> Result<(), String> {
    let at = |e: io::Error| format!("{}: {e}", path.display());
    let mut options = OpenOptions::new();
    let options = options.write(true).create_new(true).mode(0o600);
    let mut file = options.open(path).map_err(at)?;
    fill(&mut file)?;
    file.sync_all().map_err(at)
}
