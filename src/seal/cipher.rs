//! One keyed AEAD, over either backend, in place with a detached tag.
//!
//! The trusted base is this file's two dozen lines of calls: everything that seals in Ferrite ends
//! here. `Algorithm::Off` passes through the same door, as a CRC-32C over nonce, associated data
//! and text, so that the code above has one path.

use aes_gcm::{AeadInOut, Aes256Gcm, KeyInit};
use aws_lc_rs::aead::{AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use chacha20poly1305::ChaCha20Poly1305;

use super::{Algorithm, Backend, NONCE_LEN, Secret32, TAG_LEN, Unauthentic};

/// One keyed AEAD. Building one costs more than sealing a short message, so it is built once per
/// secret and kept. Its round keys are wiped when it is dropped.
///
/// It seals under whatever nonce it is given: use [`super::FileKey`], which never gives one twice,
/// unless the key is derived for a single message.
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
                // Going on could write plaintext. This is a bug in the caller, not bad input: stop
                // here.
                panic!("sealing a message of {} bytes failed", buf.len());
            }
        }
    }

    /// Turns `buf` from ciphertext into plaintext if it, `aad`, `nonce` and `tag` are what was
    /// sealed; otherwise wipes `buf`, so that nothing unauthenticated can be read by accident.
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

#[cfg(test)]
mod tests {
    use super::super::testing::{unhex, unhex_array};
    use super::*;

    const REAL: [Algorithm; 2] = [Algorithm::Aes256Gcm, Algorithm::ChaCha20Poly1305];

    fn cipher(algorithm: Algorithm, backend: Backend, key: &str) -> Cipher {
        Cipher::new(algorithm, backend, &Secret32::take(&mut unhex_array(key)))
    }

    struct Vector {
        algorithm: Algorithm,
        key: &'static str,
        nonce: &'static str,
        aad: &'static str,
        plain: &'static str,
        sealed: &'static str,
        tag: &'static str,
    }

    const GCM_KEY: &str = "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308";
    const ZERO_KEY: &str = "0000000000000000000000000000000000000000000000000000000000000000";

    /// AES-256-GCM: test cases 13 to 16 of McGrew and Viega's submission of GCM to NIST.
    /// ChaCha20-Poly1305: RFC 8439 section 2.8.2 and appendix A.5.
    const VECTORS: [Vector; 6] = [
        Vector {
            algorithm: Algorithm::Aes256Gcm,
            key: ZERO_KEY,
            nonce: "000000000000000000000000",
            aad: "",
            plain: "",
            sealed: "",
            tag: "530f8afbc74536b9a963b4f1c4cb738b",
        },
        Vector {
            algorithm: Algorithm::Aes256Gcm,
            key: ZERO_KEY,
            nonce: "000000000000000000000000",
            aad: "",
            plain: "00000000000000000000000000000000",
            sealed: "cea7403d4d606b6e074ec5d3baf39d18",
            tag: "d0d1c8a799996bf0265b98b5d48ab919",
        },
        Vector {
            algorithm: Algorithm::Aes256Gcm,
            key: GCM_KEY,
            nonce: "cafebabefacedbaddecaf888",
            aad: "",
            plain: "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72
                    1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255",
            sealed: "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa
                     8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015ad",
            tag: "b094dac5d93471bdec1a502270e3cc6c",
        },
        Vector {
            algorithm: Algorithm::Aes256Gcm,
            key: GCM_KEY,
            nonce: "cafebabefacedbaddecaf888",
            aad: "feedfacedeadbeeffeedfacedeadbeefabaddad2",
            plain: "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72
                    1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
            sealed: "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa
                     8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662",
            tag: "76fc6ece0f4e1768cddf8853bb2d551b",
        },
        Vector {
            algorithm: Algorithm::ChaCha20Poly1305,
            key: "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f",
            nonce: "070000004041424344454647",
            aad: "50515253c0c1c2c3c4c5c6c7",
            plain: "4c616469657320616e642047656e746c656d656e206f662074686520636c6173
                    73206f66202739393a204966204920636f756c64206f6666657220796f75206f
                    6e6c79206f6e652074697020666f7220746865206675747572652c2073756e73
                    637265656e20776f756c642062652069742e",
            sealed: "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d6
                     3dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b36
                     92ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc
                     3ff4def08e4b7a9de576d26586cec64b6116",
            tag: "1ae10b594f09e26a7e902ecbd0600691",
        },
        Vector {
            algorithm: Algorithm::ChaCha20Poly1305,
            key: "1c9240a5eb55d38af333888604f6b5f0473917c1402b80099dca5cbc207075c0",
            nonce: "000000000102030405060708",
            aad: "f33388860000000000004e91",
            plain: "496e7465726e65742d4472616674732061726520647261667420646f63756d65
                    6e74732076616c696420666f722061206d6178696d756d206f6620736978206d
                    6f6e74687320616e64206d617920626520757064617465642c207265706c6163
                    65642c206f72206f62736f6c65746564206279206f7468657220646f63756d65
                    6e747320617420616e792074696d652e20497420697320696e617070726f7072
                    6961746520746f2075736520496e7465726e65742d4472616674732061732072
                    65666572656e6365206d6174657269616c206f7220746f206369746520746865
                    6d206f74686572207468616e206173202fe2809c776f726b20696e2070726f67
                    726573732e2fe2809d",
            sealed: "64a0861575861af460f062c79be643bd5e805cfd345cf389f108670ac76c8cb2
                     4c6cfc18755d43eea09ee94e382d26b0bdb7b73c321b0100d4f03b7f355894cf
                     332f830e710b97ce98c8a84abd0b948114ad176e008d33bd60f982b1ff37c855
                     9797a06ef4f0ef61c186324e2b3506383606907b6a7c02b0f9f6157b53c867e4
                     b9166c767b804d46a59b5216cde7a4e99040c5a40433225ee282a1b0a06c523e
                     af4534d7f83fa1155b0047718cbc546a0d072b04b3564eea1b422273f548271a
                     0bb2316053fa76991955ebd63159434ecebb4e466dae5a1073a6727627097a10
                     49e617d91d361094fa68f0ff77987130305beaba2eda04df997b714d6c6f2c29
                     a6ad5cb4022b02709b",
            tag: "eead9d67890cbb22392336fea1851f38",
        },
    ];

    /// Proves that both backends compute the standards' own examples, sealing and opening.
    #[test]
    fn standard_vectors() {
        for v in &VECTORS {
            for backend in Backend::ALL {
                let cipher = cipher(v.algorithm, backend, v.key);
                let (nonce, aad) = (unhex_array(v.nonce), unhex(v.aad));
                let mut buf = unhex(v.plain);
                let tag = cipher.seal(&nonce, &aad, &mut buf);
                assert_eq!(buf, unhex(v.sealed), "{backend} {}", v.algorithm);
                assert_eq!(tag[..], unhex(v.tag), "{backend} {}", v.algorithm);
                cipher
                    .open(&nonce, &aad, &mut buf, &tag)
                    .expect("it is authentic");
                assert_eq!(buf, unhex(v.plain));
            }
        }
    }

    /// Proves that the backends agree at every length around the block and vector sizes, and at a
    /// frame's.
    #[test]
    fn backends_give_the_same_bytes() {
        let lengths = (0..600).chain([4095, 4096, 4097, 65536]);
        for algorithm in Algorithm::ALL {
            let a = cipher(algorithm, Backend::AwsLc, GCM_KEY);
            let b = cipher(algorithm, Backend::RustCrypto, GCM_KEY);
            for len in lengths.clone() {
                let plain: Vec<u8> = (0..len).map(|i| (i * 31 % 251) as u8).collect();
                let aad = &plain[..len.min(77)];
                let nonce = [len as u8; NONCE_LEN];
                let (mut x, mut y) = (plain.clone(), plain.clone());
                let tag = a.seal(&nonce, aad, &mut x);
                assert_eq!(tag, b.seal(&nonce, aad, &mut y), "{algorithm} at {len}");
                assert_eq!(x, y, "{algorithm} at {len}");
                b.open(&nonce, aad, &mut x, &tag)
                    .expect("the other's bytes open");
                a.open(&nonce, aad, &mut y, &tag)
                    .expect("the other's bytes open");
                assert!(x == plain && y == plain);
            }
        }
    }

    /// Proves that each single flipped bit, of text, tag, associated data and nonce, is refused and
    /// leaves no plaintext.
    #[test]
    fn every_flipped_bit_is_refused() {
        for algorithm in Algorithm::ALL {
            for backend in Backend::ALL {
                let cipher = cipher(algorithm, backend, GCM_KEY);
                let nonce = [7; NONCE_LEN];
                let aad = *b"associated";
                let mut text = *b"some text that spans more than two blocks of the cipher";
                let tag = cipher.seal(&nonce, &aad, &mut text);
                let whole = [&nonce[..], &aad, &text, &tag].concat();
                for bit in 0..whole.len() * 8 {
                    let mut bad = whole.clone();
                    bad[bit / 8] ^= 1 << (bit % 8);
                    let (nonce, rest) = bad.split_at(NONCE_LEN);
                    let (aad, rest) = rest.split_at(aad.len());
                    let (text, tag) = rest.split_at(text.len());
                    let mut text = text.to_vec();
                    let opened = cipher.open(
                        nonce.try_into().expect("its length"),
                        aad,
                        &mut text,
                        tag.try_into().expect("its length"),
                    );
                    assert_eq!(opened, Err(Unauthentic), "{algorithm} {backend} bit {bit}");
                    assert!(
                        text.iter().all(|b| *b == 0),
                        "{algorithm} {backend} bit {bit}"
                    );
                }
            }
        }
    }

    /// Proves that the ciphertext is not the plaintext and depends on the key.
    #[test]
    fn sealing_hides_the_text() {
        for algorithm in REAL {
            let plain = [0x61; 256];
            let (mut x, mut y) = (plain, plain);
            cipher(algorithm, Backend::AwsLc, GCM_KEY).seal(&[0; NONCE_LEN], b"", &mut x);
            cipher(algorithm, Backend::AwsLc, ZERO_KEY).seal(&[0; NONCE_LEN], b"", &mut y);
            assert!(x != plain && y != plain && x != y);
            assert!(!x.windows(4).any(|w| w == &plain[..4]));
        }
    }

    /// Proves which CRC it is, by examples of RFC 3720 appendix B.4, and what it covers.
    #[test]
    fn off_is_crc_32c() {
        let mut text = *b"6789";
        let nonce = *b"000000000123";
        let tag = cipher(Algorithm::Off, Backend::AwsLc, ZERO_KEY).seal(&nonce, b"45", &mut text);
        assert_eq!(
            tag[..4],
            crc32c::crc32c(b"000000000123456789").to_be_bytes()
        );
        assert_eq!(crc32c::crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c::crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(tag[4..], [0; 12]);
    }
}
