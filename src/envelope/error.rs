//! What can go wrong with a keyring, in words that say what to do.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::format::Damage;
use super::store::StoreError;
use super::{DekId, KekInfo, ProviderError};
use crate::seal::{Algorithm, NoRandomness};

/// Why a keyring could not be opened or changed.
#[derive(Debug)]
pub enum KeyringError {
    /// The file system refused.
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was tried with it.
        action: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// There are log segments but no keyring to open them.
    Missing {
        /// Where the keyring should be.
        path: PathBuf,
        /// One of the segments.
        sealed: PathBuf,
    },
    /// The file is not what was written.
    Damaged {
        /// The keyring's file.
        path: PathBuf,
        /// In what way.
        damage: Damage,
    },
    /// The keyring was sealed under another Kek than the one configured.
    WrongKek {
        /// The keyring's file.
        path: PathBuf,
        /// The Kek it was sealed under.
        wanted: Box<KekInfo>,
        /// The Kek the provider holds.
        have: Box<KekInfo>,
    },
    /// The provider did not wrap or unwrap a secret.
    Provider {
        /// The keyring's file.
        path: PathBuf,
        /// The Dek it was about; `None` for the keyring's own secret.
        dek: Option<DekId>,
        /// The provider's reason.
        source: ProviderError,
    },
    /// The provider unwrapped a secret of the wrong length, in bytes.
    SecretLength {
        /// The keyring's file.
        path: PathBuf,
        /// The length it got.
        len: usize,
    },
    /// A Dek for this algorithm was asked of a keyring that does not deal in it: an encrypted one
    /// was asked for `off`, or the other way round.
    Algorithm(Algorithm),
    /// A tenant's name is longer than 255 bytes; holds its length.
    TenantName(usize),
    /// An earlier replacement of the file ended in doubt.
    Latched {
        /// The keyring's file.
        path: PathBuf,
    },
    /// No randomness for a secret, name or salt.
    NoRandomness(NoRandomness),
}

impl fmt::Display for KeyringError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyringError::Io {
                path,
                action,
                source,
            } => write!(f, "Keyring: cannot {action} {}: {source}", path.display()),
            KeyringError::Missing { path, sealed } => write!(
                f,
                "Keyring {} is missing, but segments of a log or a checkpoint exist ({}). Sealed ones cannot be read without it: \
                 put the keyring back, or move the segments away to start empty",
                path.display(),
                sealed.display()
            ),
            KeyringError::Damaged { path, damage } => write!(
                f,
                "Keyring {} is refused: {damage}. Restore it from a backup",
                path.display()
            ),
            KeyringError::WrongKek { path, wanted, have } => write!(
                f,
                "Keyring {} was sealed under Kek {wanted}, but the configured Kek is {have}. Configure the Kek it was sealed under",
                path.display()
            ),
            KeyringError::Provider { path, dek, source } => {
                write!(f, "Keyring {}: ", path.display())?;
                match dek {
                    Some(id) => write!(f, "Dek {id}: {source}"),
                    None => write!(f, "its own secret: {source}"),
                }
            }
            KeyringError::SecretLength { path, len } => write!(
                f,
                "Keyring {}: the provider unwrapped a secret of {len} bytes, 32 were expected",
                path.display()
            ),
            KeyringError::Algorithm(Algorithm::Off) => {
                f.write_str("Keyring: encryption is on, so there is no Dek for algorithm off")
            }
            KeyringError::Algorithm(other) => write!(
                f,
                "Keyring: encryption is off, so there is no Dek for algorithm {other}"
            ),
            KeyringError::TenantName(len) => write!(
                f,
                "Keyring: a tenant's name may be 255 bytes long, this one is {len}"
            ),
            KeyringError::Latched { path } => write!(
                f,
                "Keyring {}: an earlier write failed and left its state in doubt; no new Deks until a restart",
                path.display()
            ),
            KeyringError::NoRandomness(e) => write!(f, "Keyring: {e}"),
        }
    }
}

impl std::error::Error for KeyringError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            KeyringError::Io { source, .. } => Some(source),
            KeyringError::Provider { source, .. } => Some(source),
            KeyringError::NoRandomness(e) => Some(e),
            _ => None,
        }
    }
}

impl From<NoRandomness> for KeyringError {
    fn from(e: NoRandomness) -> KeyringError {
        KeyringError::NoRandomness(e)
    }
}

impl From<StoreError> for KeyringError {
    fn from(e: StoreError) -> KeyringError {
        KeyringError::Io {
            path: e.path,
            action: e.action,
            source: e.source,
        }
    }
}
