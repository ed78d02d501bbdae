//! One keyed AEAD, over either backend, in place with a detached tag.
//!
//! The trusted base is this file's two dozen lines of calls: everything that seals in Ferrite ends here.
//! `Algorithm::Off` passes through the same door, as a CRC-32C over nonce, associated data and text, so that
//! the code above has one path.

use aes_gcm::{AeadInOut, Aes256Gcm, KeyInit};
use aws_lc_rs::aead::{AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use chacha20poly1305::ChaCha20Poly1305;

use super::{Algorithm, Backend, NONCE_LEN, Secret32, TAG_LEN, Unauthentic};

/// One keyed AEAD. Building one costs more than sealing a short message, so it is built once per secret
/// and kept. Its round keys are wiped when it is dropped.
///
/// It seals under whatever nonce it is given: use [`super::FileKey`], which never gives one twice, unless the key is
/// derived for a single message.
pub struct Cipher(Kind);

enum Kind {
    Crc,
    AwsLc(LessSafeKey),
    // Boxed: the key schedules are large and should not be copied about by moves.
    Aes(Box<Aes256Gcm>),
    ChaCha(Box<ChaCha20Poly1305>),
}

impl Cipher {
    /// Keys `algorithm` with `key`. With [`Algorithm::Off`] neither backend nor key matters.
    ///
    /// # Panics
    /// If AWS-LC cannot allocate its few hundred bytes.
    pub fn new(algorithm: Algorithm, backend: Backend, key: &Secret32) -> Cipher {
        let aws = |algorithm| match UnboundKey::new(algorithm, key.expose()) {
            Ok(key) => Kind::AwsLc(LessSafeKey::new(key)),
            Err(_) => panic!("AWS-LC refused to set up a 32-byte key: out of memory"),
        };
        Cipher(match (algorithm, backend) {
            (Algorithm::Off, _) => Kind::Crc,
            (Algorithm::Aes256Gcm, Backend::AwsLc) => aws(&AES_256_GCM),
            (Algorithm::ChaCha20Poly1305, Backend::AwsLc) => aws(&CHACHA20_POLY1305),
            (Algorithm::Aes256Gcm, Backend::RustCrypto) => {
                Kind::Aes(Box::new(Aes256Gcm::new(key.expose().into())))
            }
            (Algorithm::ChaCha20Poly1305, Backend::RustCrypto) => {
                Kind::ChaCha(Box::new(ChaCha20Poly1305::new(key.expose().into())))
            }
        })
    }

    /// Turns `buf` from plaintext into ciphertext of the same length and returns its tag. `aad` is
    /// authenticated, not encrypted.
    ///
    /// # Panics
    /// If `buf` is longer than an AEAD can take in one message (64 GiB).
    pub fn seal(&self, nonce: &[u8; NONCE_LEN], aad: &[u8], buf: &mut [u8]) -> [u8; TAG_LEN] {
        let sealed: Option<[u8; TAG_LEN]> = match &self.0 {
            Kind::Crc => Some(crc_tag(nonce, aad, buf)),
            Kind::AwsLc(key) => key
                .seal_in_place_separate_tag(
                    Nonce::assume_unique_for_key(*nonce),
                    Aad::from(aad),
                    buf,
                )
                .ok()
                .and_then(|tag| tag.as_ref().try_into().ok()),
            Kind::Aes(key) => key
                .encrypt_inout_detached(nonce.into(), aad, buf.into())
                .ok()
                .map(Into::into),
            Kind::ChaCha(key) => key
                .encrypt_inout_detached(nonce.into(), aad, buf.into())
                .ok()
                .map(Into::into),
        };
        match sealed {
            Some(tag) => tag,
            None => {
                // Going on could write plaintext. This is a bug in the caller, not bad input: stop here.
                panic!("sealing a message of {} bytes failed", buf.len());
            }
        }
    }

    /// Turns `buf` from ciphertext into plaintext if it, `aad`, `nonce` and `tag` are what was sealed;
    /// otherwise wipes `buf`, so that nothing unauthenticated can be read by accident.
    pub fn open(
        &self,
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        buf: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), Unauthentic> {
        let authentic = match &self.0 {
            Kind::Crc => crc_tag(nonce, aad, buf) == *tag,
            Kind::AwsLc(key) => key
                .open_in_place_separate_tag(
                    Nonce::assume_unique_for_key(*nonce),
                    Aad::from(aad),
                    tag,
                    buf,
                )
                .is_ok(),
            Kind::Aes(key) => key
                .decrypt_inout_detached(nonce.into(), aad, buf.into(), tag.into())
                .is_ok(),
            Kind::ChaCha(key) => key
                .decrypt_inout_detached(nonce.into(), aad, buf.into(), tag.into())
                .is_ok(),
        };
        if authentic {
            Ok(())
        } else {
            buf.fill(0);
            Err(Unauthentic)
        }
    }
}

/// CRC-32C of nonce, associated data and text: four bytes, big-endian, then twelve zeros.
fn crc_tag(nonce: &[u8; NONCE_LEN], aad: &[u8], text: &[u8]) -> [u8; TAG_LEN] {
    let crc = crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(nonce), aad), text);
    let mut tag = [0; TAG_LEN];
    tag[..4].copy_from_slice(&crc.to_be_bytes());
    tag
}
