//! Backups: sealed files of a data directory, copied as they are to another place, and back.
//!
//! Laws:
//! - **Nothing is opened that leaves, and nothing new is sealed but the manifest.** What is at rest is sealed already; a
//!   backup is those bytes, and a manifest that says which belong together.
//! - **What a crash would have left.** A backup holds the newest checkpoint, the anchors, and each log as far as its
//!   frames were whole when they were looked at, after the anchors: recovery opens it as it opens any data directory after a
//!   crash. Transactions are whole, for every participant's log holds all of one.
//! - **Read before it is copied.** Every frame of the log is authenticated first, so damage of the source is told when the
//!   backup is made, not when it is needed.
//! - **It counts when its manifest is there**, which is written last, whole or not at all. The manifest is sealed under a
//!   secret that the Kek wraps, and names the digest of every piece: one that was swapped, altered, dropped or put in
//!   from elsewhere is named, and never restored.
//! - **A piece is stored once**, under its digest. What an earlier or an interrupted backup has brought is not sent again.
//! - **A restored directory has its name when it is whole**, and not before.
//!
//! The bytes are specified in `FORMAT.md`. Read on in this order: `manifest`, `store` (places) and `s3`, `frozen` and `create`
//! (there), `view` (a backup as a disk), `verify`, `restore`, `prune`.

mod create;
mod frozen;
mod manifest;
mod prune;
mod restore;
mod s3;
mod store;
mod verify;
mod view;

pub use create::{Created, create};
pub use manifest::{FileEntry, Manifest, PIECE};
pub use prune::{Keep, Pruned, prune};
pub use restore::restore;
pub use s3::Bucket;
pub use store::{Directory, Store};
pub use verify::{Verified, verify};

use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::envelope::{Keyring, Provider};
use crate::seal::Backend;

/// Whose code opens and seals here.
const BACKEND: Backend = Backend::AwsLc;
/// Where pieces are, in a place of backups.
const PIECES: &str = "pieces";
/// Where manifests are.
const BACKUPS: &str = "backups";

/// Where backups are, and who opens what they hold.
pub struct Vault<'a> {
    /// The place.
    pub store: &'a dyn Store,
    /// The Kek's holder; `None` for data that is deliberately not encrypted.
    pub provider: Option<Arc<dyn Provider>>,
    /// Who hears how far it is.
    pub watch: &'a dyn Watch,
}

/// Hears how far something is.
pub trait Watch: Sync {
    /// So many bytes are to be done, all in all.
    fn total(&self, bytes: u64);
    /// So many more are done.
    fn done(&self, bytes: u64);
}

impl Watch for () {
    fn total(&self, _: u64) {}
    fn done(&self, _: u64) {}
}

/// A backup in a place: its id, and what its manifest says, or what is wrong with that.
pub struct Listed {
    /// Its id, as its manifest's name has it.
    pub id: String,
    /// What the manifest says.
    pub manifest: Result<Manifest, String>,
}

/// The backups in a place, oldest first.
///
/// # Errors
/// The place cannot be listed.
pub fn list(vault: &Vault<'_>) -> Result<Vec<Listed>, String> {
    let listed = ids(vault.store)?.into_iter().map(|id| Listed {
        manifest: read(vault, &id),
        id,
    });
    Ok(listed.collect())
}

/// The ids of the backups in a place, oldest first.
fn ids(store: &dyn Store) -> Result<Vec<String>, String> {
    let entries = store.list(BACKUPS).map_err(|e| told(store, BACKUPS, &e))?;
    let names = entries.iter().filter_map(|(name, _)| Manifest::id_of(name));
    let mut ids: Vec<String> = names.map(str::to_owned).collect();
    ids.sort_unstable();
    Ok(ids)
}

/// The manifest of one backup.
fn read(vault: &Vault<'_>, id: &str) -> Result<Manifest, String> {
    let name = Manifest::file_of(id);
    let bytes = match vault.store.read(&name) {
        Ok(bytes) => bytes,
        Err(e) => return Err(format!("backup {id}: {}", told(vault.store, &name, &e))),
    };
    let opened = Manifest::open(&bytes, id, vault.provider.as_deref());
    opened.map_err(|what| format!("backup {id}: its manifest {name}: {what}"))
}

/// The manifest of the backup with this id, or of the newest.
///
/// # Errors
/// There is none, or something is wrong with it.
pub fn find(vault: &Vault<'_>, id: Option<&str>) -> Result<Manifest, String> {
    match id {
        Some(id) => read(vault, id),
        None => match ids(vault.store)?.last() {
            Some(id) => read(vault, id),
            None => Err(format!("{} holds no backup", vault.store.place())),
        },
    }
}

/// The keyring whose file this is. Nothing of the directory it is from is touched.
fn keyring(
    bytes: Option<&[u8]>,
    provider: Option<&Arc<dyn Provider>>,
    whose: &str,
) -> Result<Keyring, String> {
    match (bytes, provider) {
        (Some(bytes), Some(provider)) => {
            let path = format!("{}, {whose}", crate::envelope::FILE_NAME).into();
            Keyring::read(path, provider.clone(), bytes).map_err(|e| e.to_string())
        }
        (None, None) => Ok(Keyring::unencrypted()),
        (Some(_), None) => Err(format!("{whose} is encrypted: its Kek is needed")),
        (None, Some(_)) => Err(format!(
            "{whose} has no keyring, so no Kek has anything to do with it"
        )),
    }
}

/// A piece's name: its digest in hexadecimal digits.
fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn piece_file(piece: &str) -> String {
    format!("{PIECES}/{piece}")
}

fn told(store: &dyn Store, what: &str, e: &std::io::Error) -> String {
    format!("{}: {what}: {e}", store.place())
}
