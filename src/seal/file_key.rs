//! A file's own key: derived from a Dek and the file's random salt, with a counter for its nonces.
//!
//! Each file (a log segment, a checkpoint, the keyring) gets a key of its own, so nonces may start at
//! zero in every one of them, and a crash, a restart or a restored copy of the disk cannot bring a nonce back:
//! the next file has another salt. Within a file the counter only advances.
//!
//! The derivation also gives a *commitment*, 32 bytes that stand in the file's header. Neither AES-GCM nor
//! ChaCha20-Poly1305 binds a ciphertext to one key; the commitment does, and it tells "another Dek" from "damaged block"
//! before the first block is opened.
//!
//! Nonces follow the deterministic construction of NIST SP 800-38D section 8.2.1: base XOR counter. The limits:
//! for sigma blocks of 16 bytes under one key an attacker's advantage over perfect secrecy is at most about
//! sigma^2 / 2^129. [`SOFT_BYTES`] keeps it at 2^-61, [`HARD_BYTES`] at 2^-57 (RFC 8446 section 5.5 aims at 2^-57
//! for TLS); [`HARD_MESSAGES`] is the 2^32 of SP 800-38D section 8.3.

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
    /// The key was derived again from a file's salt, to read it. Sealing with it would repeat that file's nonces.
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
    /// The key of a *new* file, and the fresh random salt to put in its header. This is how writers get theirs.
    ///
    /// `label` names the kind of file (at most 255 bytes), `bound` its header's fields: a header that was altered
    /// gives another key, so it is noticed.
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

    /// The key of a file that exists, to read it: [`FileKey::seal`] refuses with [`Exhausted::ReadOnly`].
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

    /// The bare derivation, as `FORMAT.md` gives it. Whoever seals with the result vouches that `salt` was never
    /// used with this Dek, label and bound fields before; [`FileKey::create`] and [`FileKey::reopen`] see to that by themselves.
    ///
    /// With [`Algorithm::Off`] the Dek is taken as 32 zero bytes: base nonce and commitment then catch accidents
    /// (a stale block of a recycled file, a header from elsewhere), and protect nothing.
    ///
    /// # Panics
    /// If `label` is longer than 255 bytes or `bound` longer than 4 GiB.
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

    /// Encrypts `buf` in place under the next counter and returns that counter and the tag. On refusal `buf` is
    /// untouched and still plaintext.
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

    /// The counter the next [`FileKey::seal`] will use: what a header that is itself associated data has to name.
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
mod tests {
    use super::super::testing::NonceMonitor;
    use super::*;

    const BOTH: [Algorithm; 2] = [Algorithm::Aes256Gcm, Algorithm::ChaCha20Poly1305];

    fn dek(byte: u8) -> Secret32 {
        Secret32::take(&mut [byte; 32])
    }

    fn derive(dek: &Secret32, algorithm: Algorithm) -> FileKey {
        FileKey::derive(dek, algorithm, Backend::AwsLc, "test", &[3; 32], b"header")
    }

    /// Proves that a reader gets back what a writer sealed, in any order, under every algorithm, whichever
    /// backend each of them uses.
    #[test]
    fn what_was_sealed_opens() {
        for algorithm in Algorithm::ALL {
            for (writing, reading) in [
                (Backend::AwsLc, Backend::RustCrypto),
                (Backend::RustCrypto, Backend::AwsLc),
            ] {
                let dek = dek(1);
                let (mut writer, salt) =
                    FileKey::create(&dek, algorithm, writing, "test", b"header")
                        .expect("randomness");
                let mut sealed = Vec::new();
                for i in 0..20usize {
                    let mut text = vec![i as u8; i * 37];
                    assert_eq!(writer.seal_next_counter(), i as u64);
                    let (counter, tag) = writer
                        .seal(&[i as u8], &mut text)
                        .expect("far from a limit");
                    assert_eq!(counter, i as u64);
                    sealed.push((text, tag));
                }
                let reader = FileKey::reopen(&dek, algorithm, reading, "test", &salt, b"header");
                assert_eq!(reader.commitment(), writer.commitment());
                for (i, (mut text, tag)) in sealed.into_iter().enumerate().rev() {
                    reader
                        .open(i as u64, &[i as u8], &mut text, &tag)
                        .expect("it is authentic");
                    assert_eq!(text, vec![i as u8; i * 37]);
                }
                assert_eq!(writer.counters().sealed_messages, 20);
                assert_eq!(writer.counters().sealed_bytes, 190 * 37);
                assert_eq!(reader.counters().opened_messages, 20);
                assert_eq!(reader.counters().opened_bytes, 190 * 37);
                assert_eq!(reader.counters().open_failures, 0);
            }
        }
    }

    /// Proves that a message opens only as itself: at its own place, with its own associated data, under its own key.
    #[test]
    fn a_message_opens_nowhere_else() {
        for algorithm in Algorithm::ALL {
            let mut writer = derive(&dek(1), algorithm);
            let mut text = *b"the same text at two places";
            let mut other = text;
            let (_, tag) = writer.seal(b"a", &mut text).expect("far from a limit");
            let (_, other_tag) = writer.seal(b"a", &mut other).expect("far from a limit");
            assert_ne!(tag, other_tag);
            let refused = |key: &FileKey, counter, aad: &[u8], tag| {
                let mut copy = text;
                let refused = key.open(counter, aad, &mut copy, tag) == Err(Unauthentic);
                assert!(
                    !refused || copy == [0; 27],
                    "a refused message has to be wiped"
                );
                refused
            };
            assert!(!refused(&writer, 0, b"a", &tag));
            assert!(refused(&writer, 1, b"a", &tag), "another place");
            assert!(refused(&writer, 0, b"b", &tag), "other associated data");
            assert!(refused(&writer, 0, b"a", &other_tag), "another's tag");
            let bound = FileKey::derive(
                &dek(1),
                algorithm,
                Backend::AwsLc,
                "test",
                &[3; 32],
                b"headed",
            );
            assert!(refused(&bound, 0, b"a", &tag), "another header");
            let salt = FileKey::derive(
                &dek(1),
                algorithm,
                Backend::AwsLc,
                "test",
                &[4; 32],
                b"header",
            );
            assert!(refused(&salt, 0, b"a", &tag), "another file");
            let label = FileKey::derive(
                &dek(1),
                algorithm,
                Backend::AwsLc,
                "tests",
                &[3; 32],
                b"header",
            );
            assert!(refused(&label, 0, b"a", &tag), "another kind of file");
            if algorithm.protects() {
                assert!(
                    refused(&derive(&dek(2), algorithm), 0, b"a", &tag),
                    "another Dek"
                );
            }
            assert_eq!(writer.counters().open_failures, 3);
        }
    }

    /// Proves that the commitment alone tells another Dek, salt, label, header or algorithm, before anything is opened.
    #[test]
    fn the_commitment_names_the_key() {
        let make = |dek_byte, algorithm, label, salt, bound| {
            *FileKey::derive(
                &dek(dek_byte),
                algorithm,
                Backend::AwsLc,
                label,
                &[salt; 32],
                bound,
            )
            .commitment()
        };
        let [aes, chacha] = BOTH;
        let commitments = [
            make(1, aes, "log", 1, b"header"),
            make(2, aes, "log", 1, b"header"),
            make(1, chacha, "log", 1, b"header"),
            make(1, aes, "logh", 1, b"eader"),
            make(1, aes, "lo", 1, b"gheader"),
            make(1, aes, "log", 2, b"header"),
            make(1, aes, "log", 1, b"header\0"),
            make(1, aes, "log", 1, b""),
        ];
        for (i, a) in commitments.iter().enumerate() {
            for b in &commitments[i + 1..] {
                assert_ne!(a, b);
            }
        }
        assert_eq!(commitments[0], make(1, aes, "log", 1, b"header"));
    }

    /// Proves that no nonce comes back: not within a file, not in the files of later runs, not after the salt of an
    /// existing file was read back (as from a restored copy of the disk). The last part proves that the monitor would see it.
    #[test]
    fn no_nonce_is_used_twice() {
        let monitor = NonceMonitor::start();
        let dek = dek(7);
        for algorithm in BOTH {
            for _run in 0..50 {
                let (mut key, salt) = FileKey::create(&dek, algorithm, Backend::AwsLc, "test", b"")
                    .expect("randomness");
                for _ in 0..100 {
                    key.seal(b"", &mut [0; 8]).expect("far from a limit");
                }
                let mut again =
                    FileKey::reopen(&dek, algorithm, Backend::AwsLc, "test", &salt, b"");
                let mut text = *b"plain";
                assert_eq!(again.seal(b"", &mut text), Err(Exhausted::ReadOnly));
                assert_eq!(&text, b"plain");
            }
        }
        assert_eq!(monitor.seen(), 2 * 50 * 100);
        let repeated = std::panic::catch_unwind(|| {
            for _ in 0..2 {
                let _ = derive(&Secret32::zero(), Algorithm::Aes256Gcm).seal(b"", &mut [0; 8]);
            }
        });
        assert!(repeated.is_err(), "the monitor has to notice");
    }

    /// Proves where the soft limits ask for a new file and the hard ones refuse, leaving the text untouched.
    #[test]
    fn limits_ask_first_and_refuse_later() {
        let mut key = derive(&dek(1), Algorithm::Aes256Gcm);
        key.next = SOFT_MESSAGES - 1;
        assert!(!key.wants_roll());
        key.seal(b"", &mut [0; 4]).expect("below the soft limit");
        assert!(key.wants_roll());
        key.next = HARD_MESSAGES - 1;
        assert_eq!(
            key.seal(b"", &mut [0; 4]).map(|(n, _)| n),
            Ok(HARD_MESSAGES - 1)
        );
        let mut text = *b"plain";
        assert_eq!(key.seal(b"", &mut text), Err(Exhausted::Messages));
        assert_eq!(&text, b"plain");

        let mut key = derive(&dek(1), Algorithm::Aes256Gcm);
        key.spent = SOFT_BYTES - 5;
        assert!(!key.wants_roll());
        key.seal(b"a", &mut [0; 4]).expect("below the hard limit");
        assert!(key.wants_roll());
        key.spent = HARD_BYTES - 5;
        assert_eq!(key.seal(b"a", &mut [0; 5]), Err(Exhausted::Bytes));
        assert!(key.seal(b"a", &mut [0; 4]).is_ok(), "the last that fits");
        assert_eq!(key.seal(b"", &mut [0; 1]), Err(Exhausted::Bytes));
    }

    /// Proves the nonce's form: the counter, big-endian, over the last eight bytes of the base.
    #[test]
    fn nonce_is_base_xor_counter() {
        let mut key = derive(&dek(1), Algorithm::Aes256Gcm);
        key.base = [0xff; NONCE_LEN];
        assert_eq!(key.nonce(0), [0xff; NONCE_LEN]);
        assert_eq!(
            key.nonce(0x0102_0304_0506_0708),
            [255, 255, 255, 255, 254, 253, 252, 251, 250, 249, 248, 247]
        );
    }

    /// Proves that `off` depends on salt and header (so stale blocks of a recycled file are noticed) and on no secret.
    #[test]
    fn off_binds_the_file_but_no_secret() {
        let one = derive(&dek(1), Algorithm::Off);
        let two = derive(&dek(2), Algorithm::Off);
        assert_eq!(one.commitment(), two.commitment());
        let mut sealed = FileKey::derive(
            &dek(1),
            Algorithm::Off,
            Backend::AwsLc,
            "test",
            &[9; 32],
            b"header",
        );
        let mut text = *b"stale";
        let (counter, tag) = sealed.seal(b"", &mut text).expect("far from a limit");
        assert_eq!(&text, b"stale", "off does not encrypt");
        assert_eq!(tag[4..], [0; 12]);
        assert_eq!(two.open(counter, b"", &mut text, &tag), Err(Unauthentic));
    }

    #[test]
    fn debug_shows_no_key() {
        let shown = format!("{:?}", derive(&dek(1), Algorithm::Aes256Gcm));
        assert_eq!(shown, "FileKey { next: 0, writable: true, .. }");
    }
}
