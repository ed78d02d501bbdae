//! Keys that wrap keys: Deks seal data, a Kek held by a provider wraps Deks, the keyring keeps
//! them.
//!
//! Promises:
//! - A Dek is durable in the keyring file before anyone can seal with it.
//! - A keyring that is damaged, altered, cut short or sealed under another Kek is refused by name,
//!   never used in part and never replaced by a fresh one while sealed files exist.
//! - Secrets are [`Secret32`]; neither errors nor `Debug` nor the identifiers shown to users carry
//!   any of them.
//!
//! A *Kek* never leaves its provider: providers wrap and unwrap ([`Provider`]), nothing else. The
//! keyring file is specified byte by byte in `FORMAT.md`. This module imports `seal` only.

mod error;
mod format;
mod keyring;
pub mod provider;
mod store;

use std::fmt;

pub use error::KeyringError;
pub use format::Damage;
pub use keyring::{FILE_NAME, Keyring};
pub use provider::{KekInfo, Provider, ProviderError, Wrapped};

use crate::seal::{Algorithm, Backend, FileKey, NoRandomness, SALT_LEN, Secret32};

/// What a Dek's files are. The discriminant is the byte in the keyring file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Purpose {
    /// The log of one core.
    Aof = 1,
    /// Checkpoints.
    Checkpoint = 2,
    /// The memory-mapped tier.
    Warm = 3,
    /// The direct-I/O tier.
    Cold = 4,
    /// Backups and exports.
    Backup = 5,
    /// Replication streams kept on disk.
    Replication = 6,
}

impl Purpose {
    /// Every purpose.
    pub const ALL: [Purpose; 6] = [
        Purpose::Aof,
        Purpose::Checkpoint,
        Purpose::Warm,
        Purpose::Cold,
        Purpose::Backup,
        Purpose::Replication,
    ];

    /// The byte that names this purpose in files.
    pub const fn byte(self) -> u8 {
        self as u8
    }

    /// The purpose a file's byte names, or `None` if this build knows no such one.
    pub fn from_byte(byte: u8) -> Option<Purpose> {
        Purpose::ALL.into_iter().find(|p| p.byte() == byte)
    }

    /// The name shown to users.
    pub const fn name(self) -> &'static str {
        match self {
            Purpose::Aof => "aof",
            Purpose::Checkpoint => "checkpoint",
            Purpose::Warm => "warm",
            Purpose::Cold => "cold",
            Purpose::Backup => "backup",
            Purpose::Replication => "replication",
        }
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A Dek's random name: 16 bytes, shown as 32 hex digits. Says nothing about the secret.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DekId(pub [u8; 16]);

impl DekId {
    /// The name that stands in for a Dek where encryption is deliberately off: 13 zero bytes,
    /// purpose, core (big-endian). A random name looks like this with probability 2^-104.
    pub fn unencrypted(purpose: Purpose, core: u16) -> DekId {
        let mut id = [0; 16];
        id[13] = purpose.byte();
        id[14..].copy_from_slice(&core.to_be_bytes());
        DekId(id)
    }

    /// Purpose and core, if this is a name made by [`DekId::unencrypted`].
    pub fn as_unencrypted(&self) -> Option<(Purpose, u16)> {
        if self.0[..13] != [0; 13] {
            return None;
        }
        let purpose = Purpose::from_byte(self.0[13])?;
        Some((purpose, u16::from_be_bytes([self.0[14], self.0[15]])))
    }
}

impl fmt::Display for DekId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for DekId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DekId({self})")
    }
}

/// Where a Dek stands in its life. The discriminant is the byte in the keyring file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum DekState {
    /// New files are sealed under it. At most one for each purpose, core and tenant.
    Active = 1,
    /// Old files are still read with it; no new ones are sealed.
    Retiring = 2,
    /// Its secret is gone; the entry remains as a record.
    Destroyed = 3,
}

impl DekState {
    /// The byte that names this state in files.
    pub const fn byte(self) -> u8 {
        self as u8
    }

    /// The state a file's byte names, or `None` if this build knows no such one.
    pub const fn from_byte(byte: u8) -> Option<DekState> {
        match byte {
            1 => Some(DekState::Active),
            2 => Some(DekState::Retiring),
            3 => Some(DekState::Destroyed),
            _ => None,
        }
    }

    /// The name shown to users.
    pub const fn name(self) -> &'static str {
        match self {
            DekState::Active => "active",
            DekState::Retiring => "retiring",
            DekState::Destroyed => "destroyed",
        }
    }
}

/// All that is known of a Dek except its secret: for `INFO encryption`, `ENCRYPTION STATUS` and the
/// audit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DekInfo {
    /// Its name.
    pub id: DekId,
    /// What its files are.
    pub purpose: Purpose,
    /// The core that seals with it.
    pub core: u16,
    /// The tenant whose data it seals; empty for everybody else's.
    pub tenant: String,
    /// The algorithm it is used with, and no other.
    pub algorithm: Algorithm,
    /// 1 for the first Dek of its purpose, core and tenant, then counting up.
    pub epoch: u32,
    /// Where it stands in its life.
    pub state: DekState,
    /// The Kek it is wrapped under.
    pub kek_id: String,
    /// The version of that Kek.
    pub kek_version: u32,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: u64,
    /// Bytes sealed with it, as far as reported by [`Keyring::note_usage`].
    pub bytes: u64,
    /// Messages sealed with it, likewise.
    pub messages: u64,
}

/// A Dek, secret included. Held in an `Arc`, handed out by the [`Keyring`] alone.
pub struct Dek {
    /// Its name.
    pub id: DekId,
    /// What its files are.
    pub purpose: Purpose,
    /// The core that seals with it.
    pub core: u16,
    /// The tenant whose data it seals; empty for everybody else's.
    pub tenant: String,
    /// The algorithm it is used with, and no other.
    pub algorithm: Algorithm,
    /// 1 for the first Dek of its purpose, core and tenant, then counting up.
    pub epoch: u32,
    /// The Kek it is wrapped under.
    pub kek_id: String,
    /// The version of that Kek.
    pub kek_version: u32,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: u64,
    /// The secret.
    pub secret: Secret32,
}

impl Dek {
    /// The key and fresh salt of a new file under this Dek; see [`FileKey::create`].
    pub fn file_key_for_writing(
        &self,
        backend: Backend,
        label: &str,
        bound: &[u8],
    ) -> Result<(FileKey, [u8; SALT_LEN]), NoRandomness> {
        FileKey::create(&self.secret, self.algorithm, backend, label, bound)
    }

    /// The key of an existing file under this Dek; see [`FileKey::reopen`]. The algorithm is the
    /// Dek's own: what a file's header claims cannot weaken it.
    pub fn file_key_for_reading(
        &self,
        backend: Backend,
        label: &str,
        salt: &[u8; SALT_LEN],
        bound: &[u8],
    ) -> FileKey {
        FileKey::reopen(&self.secret, self.algorithm, backend, label, salt, bound)
    }

    /// What stands in for a Dek where encryption is deliberately off.
    pub fn unencrypted(purpose: Purpose, core: u16) -> Dek {
        Dek {
            id: DekId::unencrypted(purpose, core),
            purpose,
            core,
            tenant: String::new(),
            algorithm: Algorithm::Off,
            epoch: 0,
            kek_id: String::new(),
            kek_version: 0,
            created_ms: 0,
            secret: Secret32::zero(),
        }
    }

    fn from_info(info: &DekInfo, secret: Secret32) -> Dek {
        Dek {
            id: info.id,
            purpose: info.purpose,
            core: info.core,
            tenant: info.tenant.clone(),
            algorithm: info.algorithm,
            epoch: info.epoch,
            kek_id: info.kek_id.clone(),
            kek_version: info.kek_version,
            created_ms: info.created_ms,
            secret,
        }
    }
}

impl fmt::Debug for Dek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dek")
            .field("id", &self.id)
            .field("purpose", &self.purpose)
            .field("core", &self.core)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_in_files_are_fixed_and_unknown_ones_are_refused() {
        assert_eq!(Purpose::ALL.map(Purpose::byte), [1, 2, 3, 4, 5, 6]);
        for purpose in Purpose::ALL {
            assert_eq!(Purpose::from_byte(purpose.byte()), Some(purpose));
        }
        assert!(Purpose::from_byte(0).is_none() && Purpose::from_byte(7).is_none());
        for state in [DekState::Active, DekState::Retiring, DekState::Destroyed] {
            assert_eq!(DekState::from_byte(state.byte()), Some(state));
        }
        assert!(DekState::from_byte(0).is_none() && DekState::from_byte(4).is_none());
    }

    #[test]
    fn unencrypted_names_carry_purpose_and_core() {
        for purpose in Purpose::ALL {
            for core in [0, 1, 255, 256, u16::MAX] {
                let id = DekId::unencrypted(purpose, core);
                assert_eq!(id.as_unencrypted(), Some((purpose, core)));
            }
        }
        assert_eq!(DekId([0; 16]).as_unencrypted(), None);
        assert_eq!(DekId([1; 16]).as_unencrypted(), None);
    }

    /// Proves that what one file key of a Dek seals, the other opens, and that reading keys do not
    /// write.
    #[test]
    fn a_dek_gives_keys_to_write_and_to_read() {
        for algorithm in Algorithm::ALL {
            let mut dek = Dek::unencrypted(Purpose::Aof, 3);
            dek.algorithm = algorithm;
            dek.secret = Secret32::take(&mut [0xc5; 32]);
            let (mut writer, salt) = dek
                .file_key_for_writing(Backend::AwsLc, "log", b"header")
                .expect("randomness");
            let mut text = *b"text";
            let (counter, tag) = writer.seal(b"", &mut text).expect("far from a limit");
            let mut reader = dek.file_key_for_reading(Backend::AwsLc, "log", &salt, b"header");
            assert_eq!(reader.commitment(), writer.commitment());
            assert_eq!(reader.open(counter, b"", &mut text, &tag), Ok(()));
            assert_eq!(&text, b"text");
            assert!(reader.seal(b"", &mut text).is_err());
        }
    }

    #[test]
    fn debug_of_a_dek_shows_no_secret() {
        let mut dek = Dek::unencrypted(Purpose::Aof, 3);
        dek.secret = Secret32::take(&mut [0xc5; 32]);
        let shown = format!("{dek:?}");
        assert!(!shown.contains("c5") && !shown.contains("197"), "{shown}");
    }
}
