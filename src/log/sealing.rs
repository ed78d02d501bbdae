//! What a log is sealed under, and where recovery finds it again.

use crate::seal::{Algorithm, Backend, FileKey, NoRandomness, Secret32};

/// The Dek a log's files are sealed under, or the deliberate word that they are not.
#[derive(Debug)]
pub struct Sealing {
    algorithm: Algorithm,
    id: [u8; 16],
    secret: Secret32,
}

impl Sealing {
    /// No encryption: frames carry a checksum only.
    pub fn plain() -> Sealing {
        Sealing {
            algorithm: Algorithm::Off,
            id: [0; 16],
            secret: Secret32::zero(),
        }
    }

    /// Under a Dek: its id, its algorithm, its secret.
    pub fn new(id: [u8; 16], algorithm: Algorithm, secret: Secret32) -> Sealing {
        Sealing {
            algorithm,
            id,
            secret,
        }
    }

    /// The algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The Dek's id, zeros if there is none.
    pub fn dek_id(&self) -> [u8; 16] {
        self.id
    }

    /// What a file that names this algorithm and Dek is sealed under; `None` if `deks` does not know.
    pub(super) fn find(algorithm: Algorithm, id: &[u8; 16], deks: &dyn Deks) -> Option<Sealing> {
        if !algorithm.protects() {
            return (*id == [0; 16]).then(Sealing::plain);
        }
        deks.secret(id)
            .map(|secret| Sealing::new(*id, algorithm, secret))
    }

    /// The key of a new file, and its salt.
    pub(super) fn create(
        &self,
        backend: Backend,
        label: &str,
        bound: &[u8],
    ) -> Result<(FileKey, [u8; 32]), NoRandomness> {
        FileKey::create(&self.secret, self.algorithm, backend, label, bound)
    }

    /// The key of a file that exists, for reading.
    pub(super) fn reopen(
        &self,
        backend: Backend,
        label: &str,
        salt: &[u8; 32],
        bound: &[u8],
    ) -> FileKey {
        FileKey::reopen(&self.secret, self.algorithm, backend, label, salt, bound)
    }
}

/// Finds the secret of a Dek by its id: the keyring, for recovery.
pub trait Deks: Sync {
    /// A copy of the Dek's secret, `None` if it is not known or was destroyed.
    fn secret(&self, id: &[u8; 16]) -> Option<Secret32>;
}

/// Knows no Dek: for logs that are not encrypted.
pub struct NoDeks;

impl Deks for NoDeks {
    fn secret(&self, _: &[u8; 16]) -> Option<Secret32> {
        None
    }
}
