//! Sealing: the only way from plaintext to bytes that may touch a disk, and back.
//!
//! Promises:
//! - Nothing is opened that does not authenticate; on refusal the buffer is wiped, never handed on.
//! - A [`FileKey`] cannot use a nonce twice: its counter only advances, a soft limit asks for a new
//!   file ([`FileKey::wants_roll`]), a hard limit refuses ([`Exhausted`]).
//! - Both [`Backend`]s give the same bytes, so a file sealed on one machine opens on any other.
//! - Secrets live in [`Secret32`]: wiped on drop, locked in memory where the system permits it,
//!   left out of core dumps, never printed. The round keys that the backends work out from them lie
//!   on the ordinary heap: wiped on drop, kept out of core files by [`harden`], but not locked, so
//!   a host that must never write them to swap has to run without swap or with an encrypted one.
//! - No call on the hot path ([`FileKey::seal`], [`FileKey::open`]) allocates.
//!
//! Derivation, nonces and tags are specified byte by byte in `FORMAT.md`, with test vectors. This
//! module imports nothing else of the crate.

pub mod accel;
mod arena;
mod cipher;
mod file_key;
mod harden;
pub mod kdf;
mod secret;
#[cfg(test)]
pub(crate) mod testing;

use std::fmt;
use std::ops::AddAssign;

pub use arena::{Protection, protection};
pub use cipher::Cipher;
pub use file_key::{
    Exhausted, FileKey, HARD_BYTES, HARD_MESSAGES, MAX_MESSAGE, SOFT_BYTES, SOFT_MESSAGES,
};
pub use harden::{Hardening, harden};
pub use secret::Secret32;

/// Length of an authentication tag, in bytes. All algorithms use all 128 bits of it.
pub const TAG_LEN: usize = 16;
/// Length of a nonce, in bytes (96 bits: SP 800-38D section 8.2.1, RFC 8439 section 2.8).
pub const NONCE_LEN: usize = 12;
/// Length of the random salt that gives each file its own key, in bytes.
pub const SALT_LEN: usize = 32;
/// Length of a key commitment, in bytes.
pub const COMMITMENT_LEN: usize = 32;

/// How bytes are protected. The discriminant is the byte written to files.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Algorithm {
    /// No encryption: a CRC-32C finds accidents, not attackers. Only ever chosen by a deliberate
    /// word in the configuration.
    Off = 0,
    /// AES-256 in Galois/Counter Mode (NIST SP 800-38D).
    Aes256Gcm = 1,
    /// ChaCha20 with Poly1305 (RFC 8439).
    ChaCha20Poly1305 = 2,
}

impl Algorithm {
    /// Every algorithm, in the order of its wire byte.
    pub const ALL: [Algorithm; 3] = [
        Algorithm::Off,
        Algorithm::Aes256Gcm,
        Algorithm::ChaCha20Poly1305,
    ];

    /// The byte that names this algorithm in files.
    pub const fn byte(self) -> u8 {
        self as u8
    }

    /// The algorithm a file's byte names, or `None` if this build knows no such one.
    pub const fn from_byte(byte: u8) -> Option<Algorithm> {
        match byte {
            0 => Some(Algorithm::Off),
            1 => Some(Algorithm::Aes256Gcm),
            2 => Some(Algorithm::ChaCha20Poly1305),
            _ => None,
        }
    }

    /// The name used in the configuration and in `INFO encryption`.
    pub const fn name(self) -> &'static str {
        match self {
            Algorithm::Off => "off",
            Algorithm::Aes256Gcm => "aes256gcm",
            Algorithm::ChaCha20Poly1305 => "chacha20poly1305",
        }
    }

    /// Whether bytes under this algorithm are unreadable and unforgeable without the secret.
    pub const fn protects(self) -> bool {
        !matches!(self, Algorithm::Off)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whose code does the arithmetic. A matter of speed only: the bytes are the same.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Backend {
    /// AWS-LC, through `aws-lc-rs`.
    AwsLc,
    /// The RustCrypto crates `aes-gcm` and `chacha20poly1305`.
    RustCrypto,
}

impl Backend {
    /// Both backends.
    pub const ALL: [Backend; 2] = [Backend::AwsLc, Backend::RustCrypto];

    /// The name shown in `INFO encryption`.
    pub const fn name(self) -> &'static str {
        match self {
            Backend::AwsLc => "aws-lc-rs",
            Backend::RustCrypto => "rustcrypto",
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The bytes are not what was sealed: altered, moved, or sealed under another secret. Which of
/// these cannot be told, so the error does not try; the caller adds file and offset.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unauthentic;

impl fmt::Display for Unauthentic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the block does not authenticate: it was altered, moved, or sealed under another secret")
    }
}

impl std::error::Error for Unauthentic {}

/// The operating system gave no randomness; nothing that needs a fresh secret or salt may proceed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoRandomness {
    /// The system's error number, if it gave one.
    pub os_error: Option<i32>,
}

impl fmt::Display for NoRandomness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the operating system's random generator failed")?;
        match self.os_error {
            Some(code) => write!(
                f,
                " (os error {code}); check that getrandom(2) is permitted"
            ),
            None => write!(f, "; check that getrandom(2) is permitted"),
        }
    }
}

impl std::error::Error for NoRandomness {}

/// Fills `buf` with randomness from the operating system (`getrandom(2)`).
pub fn random(buf: &mut [u8]) -> Result<(), NoRandomness> {
    getrandom::fill(buf).map_err(|e| NoRandomness {
        os_error: e.raw_os_error(),
    })
}

/// What was sealed and opened: plain sums, kept by whoever owns the keys and added up by the core.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counters {
    /// Messages sealed.
    pub sealed_messages: u64,
    /// Plaintext bytes sealed, associated data not counted.
    pub sealed_bytes: u64,
    /// Messages opened that authenticated.
    pub opened_messages: u64,
    /// Plaintext bytes of those.
    pub opened_bytes: u64,
    /// Messages that did not authenticate.
    pub open_failures: u64,
}

impl AddAssign for Counters {
    fn add_assign(&mut self, more: Counters) {
        self.sealed_messages += more.sealed_messages;
        self.sealed_bytes += more.sealed_bytes;
        self.opened_messages += more.opened_messages;
        self.opened_bytes += more.opened_bytes;
        self.open_failures += more.open_failures;
    }
}

/// Keys and ciphers can be handed to the core that uses them.
const _: fn() = || {
    fn can_move<T: Send>() {}
    can_move::<Cipher>();
    can_move::<FileKey>();
    can_move::<Secret32>();
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn algorithm_bytes_are_fixed_and_unknown_ones_are_refused() {
        for alg in Algorithm::ALL {
            assert_eq!(Algorithm::from_byte(alg.byte()), Some(alg));
        }
        assert_eq!(
            Algorithm::ALL.map(Algorithm::byte),
            [0, 1, 2],
            "these bytes are in files"
        );
        assert!((3..=255).all(|b| Algorithm::from_byte(b).is_none()));
    }

    #[test]
    fn counters_add_field_by_field() {
        let one = Counters {
            sealed_messages: 1,
            sealed_bytes: 2,
            opened_messages: 3,
            opened_bytes: 4,
            open_failures: 5,
        };
        let mut sum = one;
        sum += one;
        assert_eq!(sum.sealed_messages, 2);
        assert_eq!(sum.sealed_bytes, 4);
        assert_eq!(sum.opened_messages, 6);
        assert_eq!(sum.opened_bytes, 8);
        assert_eq!(sum.open_failures, 10);
    }
}
