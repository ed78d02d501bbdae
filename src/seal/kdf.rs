//! HKDF-SHA256 (RFC 5869): from one secret to the secrets of files, wraps and fingerprints.

use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroize;

use super::Secret32;

/// A pseudo-random key, ready to be expanded.
pub struct Prk(Hkdf<Sha256>);

impl Prk {
    /// HKDF-Extract: `salt` need not be secret, `ikm` is.
    pub fn extract(salt: &[u8], ikm: &Secret32) -> Prk {
        let (mut prk, expander) = Hkdf::<Sha256>::extract(Some(salt), ikm.expose());
        prk.as_mut_slice().zeroize();
        Prk(expander)
    }

    /// HKDF-Expand into `out`; `info` is the concatenation of its parts.
    ///
    /// # Panics
    /// If `out` is longer than the 8160 bytes HKDF-SHA256 can give; all callers ask for 32 or less.
    pub fn expand(&self, info: &[&[u8]], out: &mut [u8]) {
        if self.0.expand_multi_info(info, out).is_err() {
            panic!(
                "HKDF-SHA256 gives at most 8160 bytes, {} were asked for",
                out.len()
            );
        }
    }

    /// HKDF-Expand straight into a guarded secret.
    pub fn expand_secret(&self, info: &[&[u8]]) -> Secret32 {
        let mut secret = Secret32::zero();
        self.expand(info, secret.bytes_mut());
        secret
    }
}
