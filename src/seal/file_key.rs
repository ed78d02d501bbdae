//! A file's own key: derived from a Dek and the file's random salt, with a counter for its nonces.
//!
//! Each file (a log segment, a checkpoint, the keyring) gets a key of its own, so nonces may start
//! at zero in every one of them, and a crash, a restart or a restored copy of the disk cannot bring
//! a nonce back: the next file has another salt. Within a file the counter only advances.
//!
//! The derivation also gives a *commitment*, 32 bytes that stand in the file's header. Neither
//! AES-GCM nor ChaCha20-Poly1305 binds a ciphertext to one key; the commitment does, and it tells
//! "another Dek" from "damaged block" before the first block is opened.
//!
//! Nonces follow the deterministic construction of NIST SP 800-38D section 8.2.1: base XOR counter.
//! The limits: for sigma blocks of 16 bytes under one key an attacker's advantage over perfect
//! secrecy is at most about sigma^2 / 2^129. [`SOFT_BYTES`] keeps it at 2^-61, [`HARD_BYTES`] at
//! 2^-57 (RFC 8446 section 5.5 aims at 2^-57 for TLS); [`HARD_MESSAGES`] is the 2^32 of SP 800-38D
//! section 8.3.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::kdf::Prk;
use super::{
    Algorithm, Backend, COMMITMENT_LEN, Cipher, Counters, NONCE_LEN, NoRandomness, SALT_LEN,
    Secret32, TAG_LEN, Unauthentic, random,
};

/// Messages after which a file should be rolled.
pub const SOFT_MESSAGES: u64 = 1 << 31;
/// Messages after which sealing is refused.
pub const HARD_MESSAGES: u64 = 1 << 32;
/// Bytes (text and associated data) after which a file should be rolled: 256 GiB.
pub const SOFT_BYTES: u64 = 1 << 38;
/// Bytes (text and associated data) after which sealing is refused: 1 TiB.
pub const HARD_BYTES: u64 = 1 << 40;
/// The longest single message, in bytes: 1 GiB, far below the 64 GiB an AEAD could take.
pub const MAX_MESSAGE: usize = 1 << 30;

const _: () = assert!(SOFT_MESSAGES < HARD_MESSAGES && SOFT_BYTES < HARD_BYTES);
const _: () = assert!((MAX_MESSAGE as u64) < HARD_BYTES - SOFT_BYTES);

/// Why a [`FileKey`] refused to seal. The buffer was not touched and must not be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exhausted {
    /// [`HARD_MESSAGES`] were sealed; start a new file.
    Messages,
    /// [`HARD_BYTES`] were sealed; start a new file.
    Bytes,
    /// The message is longer than [`MAX_MESSAGE`]; split it.
    TooLong,
    /// The key was derived again from a file's salt, to read it. Sealing with it would repeat that
    /// file's nonces.
    ReadOnly,
}

impl fmt::Display for Exhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exhausted::Messages => write!(
                f,
                "this file's key has sealed its {HARD_MESSAGES} messages; a new file is needed"
            ),
            Exhausted::Bytes => write!(
                f,
                "this file's key has sealed its {HARD_BYTES} bytes; a new file is needed"
            ),
            Exhausted::TooLong => {
                write!(f, "a message may be at most {MAX_MESSAGE} bytes long")
            }
            Exhausted::ReadOnly => {
                f.write_str("this file's key was derived to read it; a new file is needed to write")
            }
        }
    }
}

impl std::error::Error for Exhausted {}

/// A file's own key, base nonce and commitment, and how far its counter has come.
pub struct FileKey {
    cipher: Cipher,
    base: [u8; NONCE_LEN],
    commitment: [u8; COMMITMENT_LEN],
    /// The next counter to seal under; also the number of messages sealed.
    next: u64,
    /// Text and associated data sealed, in bytes.
    spent: u64,
    sealed_bytes: u64,
    writable: bool,
    opened_messages: AtomicU64,
    opened_bytes: AtomicU64,
    open_failures: AtomicU64,
}

impl FileKey {
    /// The key of a *new* file, and the fresh random salt to put in its header. This is how writers
    /// get theirs.
    ///
    /// `label` names the kind of file (at most 255 bytes), `bound` its header's fields: a header
    /// that was altered gives another key, so it is noticed.
    pub fn create(
        dek: &Secret32,
        algorithm: Algorithm,
        backend: Backend,
        label: &str,
        bound: &[u8],
    ) -> Result<(FileKey, [u8; SALT_LEN]), NoRandomness> {
        let mut salt = [0; SALT_LEN];
        random(&mut salt)?;
        let key = FileKey::derive(dek, algorithm, backend, label, &salt, bound);
        Ok((key, salt))
    }

    /// The key of a file that exists, to read it: [`FileKey::seal`] refuses with
    /// [`Exhausted::ReadOnly`].
    pub fn reopen(
        dek: &Secret32,
        algorithm: Algorithm,
        backend: Backend,
        label: &str,
        salt: &[u8; SALT_LEN],
        bound: &[u8],
    ) -> FileKey {
        let mut key = FileKey::derive(dek, algorithm, backend, label, salt, bound);
        key.writable = false;
        key
    }

    /// The bare derivation, as `FORMAT.md` gives it. Whoever seals with the result vouches that
    /// `salt` was never used with this Dek, label and bound fields before; [`FileKey::create`] and
    /// [`FileKey::reopen`] see to that by themselves.
    ///
    /// With [`Algorithm::Off`] the Dek is taken as 32 zero bytes: base nonce and commitment then
    /// catch accidents (a stale block of a recycled file, a header from elsewhere), and protect
    /// nothing.
    ///
    /// # Panics If `label` is longer than 255 bytes or `bound` longer than 4 GiB.
    pub fn derive(
        dek: &Secret32,
        algorithm: Algorithm,
        backend: Backend,
        label: &str,
        salt: &[u8; SALT_LEN],
        bound: &[u8],
    ) -> FileKey {
        let nothing;
        let ikm = if algorithm.protects() {
            dek
        } else {
            nothing = Secret32::zero();
            &nothing
        };
        let Ok(label_len) = u8::try_from(label.len()) else {
            panic!(
                "the label of a file's key is {} bytes long, at most 255 will do",
                label.len()
            );
        };
        let Ok(bound_len) = u32::try_from(bound.len()) else {
            panic!("{} bytes cannot be bound to a file's key", bound.len());
        };
        let prk = Prk::extract(salt, ikm);
        let (label_len, alg) = ([label_len], [algorithm.byte()]);
        let bound_len = bound_len.to_be_bytes();
        let info = |part: &'static [u8]| {
            [
                DOMAIN,
                &label_len[..],
                label.as_bytes(),
                &alg[..],
                &bound_len[..],
                bound,
                part,
            ]
        };
        let key = prk.expand_secret(&info(PART_KEY));
        let mut base = [0; NONCE_LEN];
        prk.expand(&info(PART_NONCE), &mut base);
        let mut commitment = [0; COMMITMENT_LEN];
        prk.expand(&info(PART_COMMITMENT), &mut commitment);
        FileKey {
            cipher: Cipher::new(algorithm, backend, &key),
            base,
            commitment,
            next: 0,
            spent: 0,
            sealed_bytes: 0,
            writable: true,
            opened_messages: AtomicU64::new(0),
            opened_bytes: AtomicU64::new(0),
            open_failures: AtomicU64::new(0),
        }
    }

    /// What the file's header has to hold for this to be its key.
    pub fn commitment(&self) -> &[u8; COMMITMENT_LEN] {
        &self.commitment
    }

    /// Encrypts `buf` in place under the next counter and returns that counter and the tag. On
    /// refusal `buf` is untouched and still plaintext.
    pub fn seal(&mut self, aad: &[u8], buf: &mut [u8]) -> Result<(u64, [u8; TAG_LEN]), Exhausted> {
        if !self.writable {
            return Err(Exhausted::ReadOnly);
        }
        if buf.len() > MAX_MESSAGE || aad.len() > MAX_MESSAGE {
            return Err(Exhausted::TooLong);
        }
        if self.next >= HARD_MESSAGES {
            return Err(Exhausted::Messages);
        }
        let spent = self.spent + buf.len() as u64 + aad.len() as u64;
        if spent > HARD_BYTES {
            return Err(Exhausted::Bytes);
        }
        let counter = self.next;
        // Spent before it is used: even if sealing panicked, this nonce would not come back.
        self.next += 1;
        self.spent = spent;
        let nonce = self.nonce(counter);
        #[cfg(test)]
        super::testing::note(&self.commitment, &nonce);
        let tag = self.cipher.seal(&nonce, aad, buf);
        self.sealed_bytes += buf.len() as u64;
        Ok((counter, tag))
    }

    /// The counter the next [`FileKey::seal`] will use: what a header that is itself associated
    /// data has to name.
    pub fn seal_next_counter(&self) -> u64 {
        self.next
    }

    /// Decrypts `buf` in place if it is message `counter` of this file; otherwise wipes it.
    pub fn open(
        &self,
        counter: u64,
        aad: &[u8],
        buf: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), Unauthentic> {
        let opened = self.cipher.open(&self.nonce(counter), aad, buf, tag);
        match opened {
            Ok(()) => {
                self.opened_messages.fetch_add(1, Relaxed);
                self.opened_bytes.fetch_add(buf.len() as u64, Relaxed);
            }
            Err(Unauthentic) => {
                self.open_failures.fetch_add(1, Relaxed);
            }
        }
        opened
    }

    /// Whether a soft limit is passed, so that the file should be closed and a new one begun.
    pub fn wants_roll(&self) -> bool {
        self.next >= SOFT_MESSAGES || self.spent >= SOFT_BYTES
    }

    /// What was sealed and opened with this key.
    pub fn counters(&self) -> Counters {
        Counters {
            sealed_messages: self.next,
            sealed_bytes: self.sealed_bytes,
            opened_messages: self.opened_messages.load(Relaxed),
            opened_bytes: self.opened_bytes.load(Relaxed),
            open_failures: self.open_failures.load(Relaxed),
        }
    }

    /// Base XOR counter, the counter in the last eight bytes, big-endian.
    fn nonce(&self, counter: u64) -> [u8; NONCE_LEN] {
        let mut nonce = self.base;
        for (byte, count) in nonce[NONCE_LEN - 8..].iter_mut().zip(counter.to_be_bytes()) {
            *byte ^= count;
        }
        nonce
    }
}

impl fmt::Debug for FileKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileKey")
            .field("next", &self.next)
            .field("writable", &self.writable)
            .finish_non_exhaustive()
    }
}

const DOMAIN: &[u8] = b"ferrite v1\0";
const PART_KEY: &[u8] = &[1];
const PART_NONCE: &[u8] = &[2];
const PART_COMMITMENT: &[u8] = &[3];

#[cfg(test)]
mod tests;
