//! What a file's key promises, tried.

use super::*;
use crate::seal::testing::{NonceMonitor, vectors};

const BOTH: [Algorithm; 2] = [Algorithm::Aes256Gcm, Algorithm::ChaCha20Poly1305];

fn dek(byte: u8) -> Secret32 {
    Secret32::take(&mut [byte; 32])
}

fn derive(dek: &Secret32, algorithm: Algorithm) -> FileKey {
    FileKey::derive(dek, algorithm, Backend::AwsLc, "test", &[3; 32], b"header")
}

/// Proves that a reader gets back what a writer sealed, in any order, under every algorithm,
/// whichever backend each of them uses.
#[test]
fn what_was_sealed_opens() {
    for algorithm in Algorithm::ALL {
        for (writing, reading) in [
            (Backend::AwsLc, Backend::RustCrypto),
            (Backend::RustCrypto, Backend::AwsLc),
        ] {
            let dek = dek(1);
            let (mut writer, salt) =
                FileKey::create(&dek, algorithm, writing, "test", b"header").expect("randomness");
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

/// Proves that a message opens only as itself: at its own place, with its own associated data,
/// under its own key.
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

/// Proves that the commitment alone tells another Dek, salt, label, header or algorithm, before
/// anything is opened.
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

/// Proves that no nonce comes back: not within a file, not in the files of later runs, not after
/// the salt of an existing file was read back (as from a restored copy of the disk). The last part
/// proves that the monitor would see it.
#[test]
fn no_nonce_is_used_twice() {
    let monitor = NonceMonitor::start();
    let dek = dek(7);
    for algorithm in BOTH {
        for _run in 0..50 {
            let (mut key, salt) =
                FileKey::create(&dek, algorithm, Backend::AwsLc, "test", b"").expect("randomness");
            for _ in 0..100 {
                key.seal(b"", &mut [0; 8]).expect("far from a limit");
            }
            let mut again = FileKey::reopen(&dek, algorithm, Backend::AwsLc, "test", &salt, b"");
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

/// Proves where the soft limits ask for a new file and the hard ones refuse, leaving the text
/// untouched.
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

/// Proves that `off` depends on salt and header (so stale blocks of a recycled file are noticed)
/// and on no secret.
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

/// Proves that the code computes what `FORMAT.md` says, by the vectors that stand there (they were
/// computed by an implementation of their own, from the text).
#[test]
fn the_formats_vectors() {
    let vectors = vectors(include_str!("../FORMAT.md"));
    let mut seen = 0;
    let common = &vectors[0];
    for own in &vectors[1..] {
        let algorithm = Algorithm::from_byte(own["algorithm"][0]).expect("a known algorithm");
        let dek = Secret32::copy_from(&common["dek"]).expect("32 bytes");
        let salt = common["salt"][..].try_into().expect("32 bytes");
        let label = std::str::from_utf8(&common["label"]).expect("ASCII");
        let counter = u64::from_be_bytes(common["counter"][..].try_into().expect("8 bytes"));
        for backend in Backend::ALL {
            let mut key = FileKey::derive(&dek, algorithm, backend, label, salt, &common["bound"]);
            assert_eq!(key.base[..], own["base nonce"]);
            assert_eq!(key.commitment[..], own["commitment"]);
            assert_eq!(key.nonce(counter)[..], own["nonce"]);
            key.next = counter;
            let mut text = common["plaintext"].clone();
            let (used, tag) = key
                .seal(&common["aad"], &mut text)
                .expect("far from a limit");
            assert_eq!(used, counter);
            assert_eq!(text, own["ciphertext"]);
            assert_eq!(tag[..], own["tag"]);
            key.open(counter, &common["aad"], &mut text, &tag)
                .expect("it is authentic");
            assert_eq!(text, common["plaintext"]);
            seen += 1;
        }
    }
    assert_eq!(seen, 6, "three algorithms, two backends");
}
