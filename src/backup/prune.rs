//! Removing old backups, and the pieces that none needs any more.
//!
//! Manifests go first: a backup of which a piece is gone must not look whole. All that stay have to be readable, for only they
//! tell which pieces are needed.

use std::collections::BTreeSet;

use super::{BACKUPS, Manifest, PIECES, Vault, list, piece_file, told};

/// Which backups stay. The newest always does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// So many of the newest.
    pub newest: usize,
    /// Those begun at this time or later, in Unix milliseconds.
    pub since: u64,
}

/// What was removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Backups, by id.
    pub backups: Vec<String>,
    /// How many pieces.
    pub pieces: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// Removes the backups that need not stay, and what belongs to none.
///
/// # Errors
/// A manifest that cannot be read, and then nothing was removed; or what the place refuses.
pub fn prune(vault: &Vault<'_>, keep: Keep) -> Result<Pruned, String> {
    let store = vault.store;
    let at = |what: &str| {
        let what = what.to_owned();
        move |e: std::io::Error| told(store, &what, &e)
    };
    let _lock = store.lock(true).map_err(at("lock"))?;
    let mut all: Vec<Manifest> = Vec::new();
    for listed in list(vault)? {
        let manifest = listed.manifest.map_err(|why| {
            format!("nothing was removed, because it cannot be told what is needed: {why}")
        })?;
        all.push(manifest);
    }
    let newest = all.len().saturating_sub(keep.newest.max(1));
    let (mut pruned, mut needed) = (Pruned::default(), BTreeSet::new());
    for (i, manifest) in all.into_iter().enumerate() {
        if i < newest && manifest.begun < keep.since {
            pruned.backups.push(manifest.id);
        } else {
            needed.extend(manifest.files.into_iter().flat_map(|f| f.pieces));
        }
    }
    for id in &pruned.backups {
        let file = Manifest::file_of(id);
        store.remove(&file).map_err(at(&file))?;
    }
    let pieces = store.list(PIECES).map_err(at(PIECES))?;
    let unneeded = |(name, _): &&(String, u64)| !needed.contains(name);
    for (name, len) in pieces.iter().filter(unneeded) {
        let file = piece_file(name);
        store.remove(&file).map_err(at(&file))?;
        pruned.pieces += 1;
        pruned.bytes += len;
    }
    // What a crash has left of a manifest that was being written.
    for (name, _) in store.list(BACKUPS).map_err(at(BACKUPS))? {
        if name.ends_with(".tmp") {
            let file = format!("{BACKUPS}/{name}");
            store.remove(&file).map_err(at(&file))?;
        }
    }
    Ok(pruned)
}
