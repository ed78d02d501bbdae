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
        Prk::extract_bytes(salt, ikm.expose())
    }

    fn extract_bytes(salt: &[u8], ikm: &[u8]) -> Prk {
        let (mut prk, expander) = Hkdf::<Sha256>::extract(Some(salt), ikm);
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

#[cfg(test)]
mod tests {
    use super::super::testing::unhex;
    use super::*;

    /// RFC 5869 appendix A, the three cases for SHA-256: input, salt, info, output.
    #[test]
    fn rfc_5869_vectors() {
        let run = |from: u8, to: u8| (from..=to).collect::<Vec<u8>>();
        let cases = [
            (
                vec![0x0b; 22],
                run(0x00, 0x0c),
                run(0xf0, 0xf9),
                "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
            ),
            (
                run(0x00, 0x4f),
                run(0x60, 0xaf),
                run(0xb0, 0xff),
                "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c\
                 59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71\
                 cc30c58179ec3e87c14c01d5c1f3434f1d87",
            ),
            (
                vec![0x0b; 22],
                vec![],
                vec![],
                "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
            ),
        ];
        for (ikm, salt, info, okm) in cases {
            let okm = unhex(okm);
            let mut out = vec![0; okm.len()];
            let (head, tail) = info.split_at(info.len() / 2);
            Prk::extract_bytes(&salt, &ikm).expand(&[head, tail], &mut out);
            assert_eq!(out, okm);
        }
    }

    #[test]
    fn a_secret_is_expanded_as_bytes_are() {
        let prk = Prk::extract(b"salt", &Secret32::zero());
        let mut out = [0; 32];
        prk.expand(&[b"info"], &mut out);
        assert_eq!(prk.expand_secret(&[b"in", b"fo"]).expose(), &out);
        assert_ne!(prk.expand_secret(&[b"other"]).expose(), &out);
    }
}
