//! Where recovery finds the Deks that files name.

use std::sync::Arc;

use super::error::LogError;
use crate::envelope::{Dek, DekId, Keyring};
use crate::seal::Algorithm;

/// The keyring, as the log needs it.
pub trait Deks: Sync {
    /// The Dek of that name, if it is known and not destroyed.
    fn dek(&self, id: &DekId) -> Option<Arc<Dek>>;
    /// The data directory's own name; files of another are refused.
    fn node(&self) -> [u8; 16];
}

impl Deks for Keyring {
    fn dek(&self, id: &DekId) -> Option<Arc<Dek>> {
        Keyring::dek(self, id)
    }

    fn node(&self) -> [u8; 16] {
        Keyring::node(self)
    }
}

/// The Dek that a file's header names. The algorithm has to be the Dek's own: a header cannot
/// weaken it.
pub(super) fn find(
    deks: &dyn Deks,
    id: [u8; 16],
    algorithm: Algorithm,
    file: &str,
) -> Result<Arc<Dek>, LogError> {
    let file = file.to_string();
    match deks.dek(&DekId(id)) {
        Some(dek) if dek.algorithm == algorithm => Ok(dek),
        Some(_) => Err(LogError::WrongKey { file }),
        None if !algorithm.protects() => Err(LogError::Plain { file }),
        None => Err(LogError::UnknownDek { file, dek: id }),
    }
}
