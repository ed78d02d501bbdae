//! Proving that a backup can be restored: every piece has its digest, and everything opens.

use super::view::{View, piece, whole};
use super::{BACKEND, Manifest, Vault, keyring};
use crate::checkpoint::{self, recover};
use crate::envelope::FILE_NAME;
use crate::log::{Sink, Tail};
use crate::shard::{Effects, split};
use crate::slot;

/// What was found in a backup that is whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Its files.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Keys in its checkpoint.
    pub keys: u64,
    /// Records in the logs behind the checkpoint.
    pub records: u64,
    /// Logs that end without a clean shutdown, as those of a running server do.
    pub open_ends: usize,
}

/// Reads and opens all of a backup. Nothing is written anywhere.
///
/// # Errors
/// Everything that is wrong with it, a line each, with file and place.
pub fn verify(vault: &Vault<'_>, manifest: &Manifest) -> Result<Verified, Vec<String>> {
    vault.watch.total(manifest.bytes());
    let mut troubles = Vec::new();
    for file in &manifest.files {
        for (name, range) in file.ranges() {
            let len = range.end - range.start;
            if let Err(e) = piece(vault.store, name, len) {
                let (path, from, to) = (&file.path, range.start, range.end);
                troubles.push(format!("{path}: bytes {from} to {to}: {e}"));
            }
            vault.watch.done(len);
        }
    }
    match troubles.is_empty() {
        true => open(vault, manifest).map_err(|e| vec![e]),
        false => Err(troubles),
    }
}

/// Opens everything, as recovery does.
fn open(vault: &Vault<'_>, manifest: &Manifest) -> Result<Verified, String> {
    let whose = format!("backup {}", manifest.id);
    let file = manifest.file(FILE_NAME);
    let file = file.map(|file| whole(vault.store, file)).transpose();
    let file = file.map_err(|e| format!("{FILE_NAME}: {e}"))?;
    let keyring = keyring(file.as_deref(), vault.provider.as_ref(), &whose)?;
    let checkpoints = View::new(vault.store, manifest, "checkpoint/");
    let found = checkpoint::find(&checkpoints).map_err(|e| e.to_string())?;
    let from = recover::From {
        logs: &View::new(vault.store, manifest, "log/"),
        checkpoints: &checkpoints,
        keyring: &keyring,
        backend: BACKEND,
    };
    let restored = match found.whole.first() {
        Some(&name) => recover::with(&from, name, vec![Nothing], slot::Map::new(1))?,
        None => recover::without(&from, vec![Nothing], slot::Map::new(1))?,
    };
    let cut = |tail: &Tail| matches!(tail, Tail::Cut { .. });
    Ok(Verified {
        files: manifest.files.len(),
        bytes: manifest.bytes(),
        keys: manifest.keys,
        records: restored.logs.counters.records,
        open_ends: restored.logs.tails.iter().filter(|t| cut(&t.tail)).count(),
    })
}

/// A shard that keeps nothing, and refuses what is no effects.
struct Nothing;

impl Sink for Nothing {
    fn apply(&mut self, effects: &[u8]) -> Result<(), String> {
        let mut into = [Effects::default()];
        split(effects, &slot::Map::new(1), &mut into).map_err(|e| e.to_string())
    }
}
