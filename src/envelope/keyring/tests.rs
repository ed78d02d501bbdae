//! What the keyring promises, tried: durable before used, refused when touched.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::envelope::provider::FileProvider;
use crate::envelope::{Damage, ProviderError};
use crate::seal::testing::vectors;

const AES: Algorithm = Algorithm::Aes256Gcm;
const CHACHA: Algorithm = Algorithm::ChaCha20Poly1305;

fn kek(byte: u8) -> Arc<dyn Provider> {
    Arc::new(FileProvider::new(Secret32::take(&mut [byte; 32])))
}

fn open(dir: &Path) -> Result<Keyring, KeyringError> {
    Keyring::open(dir, kek(1), 1000)
}

fn secret(keyring: &Keyring, id: &DekId) -> Option<[u8; 32]> {
    keyring.dek(id).map(|dek| *dek.secret.expose())
}

/// Makes the length and checksum right again after a test altered `file`, as a forger would.
fn forge(file: &mut [u8]) {
    let end = file.len() - 4;
    let crc = crc32c::crc32c(&file[..end]);
    file[end..].copy_from_slice(&crc.to_be_bytes());
}

/// Proves that a Dek is on disk by the time it is handed out, and is the same after any number of
/// restarts.
#[test]
fn a_dek_is_durable_before_it_is_used() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut keyring = open(dir.path()).expect("an empty directory gets a keyring");
    assert_eq!(keyring.generation(), 1);
    let mut deks = Vec::new();
    for (core, algorithm) in [(0, AES), (1, CHACHA), (2, AES)] {
        let dek = keyring
            .active(Purpose::Aof, core, algorithm, 5000)
            .expect("it can be written");
        let other = open(dir.path()).expect("it was written well");
        assert_eq!(secret(&other, &dek.id), Some(*dek.secret.expose()));
        assert_eq!(
            (dek.core, dek.algorithm, dek.epoch, dek.created_ms),
            (core, algorithm, 1, 5000)
        );
        deks.push(dek);
    }
    assert_eq!(keyring.generation(), 4);
    for _ in 0..3 {
        let mut again = open(dir.path()).expect("it opens again");
        assert_eq!(
            again.generation(),
            4,
            "asking for what is there writes nothing"
        );
        assert_eq!(again.node(), keyring.node());
        assert_eq!(again.kek_since_ms(), 1000);
        for dek in &deks {
            let active = again
                .active(Purpose::Aof, dek.core, dek.algorithm, 9999)
                .expect("it is there");
            assert_eq!(active.id, dek.id);
            assert_eq!(active.secret.expose(), dek.secret.expose());
        }
        assert_eq!(again.list(), keyring.list());
    }
}

/// Proves that Deks differ by purpose, core and tenant, and that a change of algorithm retires the
/// one before.
#[test]
fn one_active_dek_for_each_use() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut keyring = open(dir.path()).expect("an empty directory gets a keyring");
    let mut ids = Vec::new();
    for (purpose, core, tenant) in [
        (Purpose::Aof, 0, ""),
        (Purpose::Aof, 1, ""),
        (Purpose::Checkpoint, 0, ""),
        (Purpose::Aof, 0, "acme"),
    ] {
        let dek = keyring
            .active_for_tenant(purpose, core, tenant, AES, 1)
            .expect("it can be written");
        assert!(!ids.contains(&dek.id));
        ids.push(dek.id);
    }
    let next = keyring
        .active(Purpose::Aof, 0, CHACHA, 2)
        .expect("it can be written");
    assert_eq!((next.epoch, next.algorithm), (2, CHACHA));
    let again = open(dir.path()).expect("it opens again");
    let states: Vec<_> = again.list().iter().map(|d| (d.id, d.state)).collect();
    assert_eq!(states[0], (ids[0], DekState::Retiring));
    assert_eq!(states[4], (next.id, DekState::Active));
    assert!(
        states[1..4]
            .iter()
            .all(|(_, state)| *state == DekState::Active)
    );
    assert!(again.dek(&ids[0]).is_some(), "old files are still read");
    assert!(matches!(
        keyring.active_for_tenant(Purpose::Aof, 0, &"t".repeat(256), AES, 1),
        Err(KeyringError::TenantName(256))
    ));
}

#[test]
fn usage_is_added_up_and_kept() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut keyring = open(dir.path()).expect("an empty directory gets a keyring");
    let dek = keyring
        .active(Purpose::Aof, 0, AES, 1)
        .expect("it can be written");
    keyring.note_usage(&dek.id, 100, 2);
    keyring.note_usage(&dek.id, 11, 1);
    keyring.note_usage(&DekId([9; 16]), 5, 5);
    keyring.save_usage().expect("it can be written");
    let generation = keyring.generation();
    keyring.save_usage().expect("there is nothing to write");
    assert_eq!(keyring.generation(), generation);
    let info = &open(dir.path()).expect("it opens again").list()[0];
    assert_eq!((info.bytes, info.messages), (111, 3));
}

/// Proves that no flipped bit, anywhere in the file, gets past: as decay (the checksum tells) and
/// as a forgery whose checksum was made right again.
#[test]
fn every_flipped_bit_is_refused() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut keyring = open(dir.path()).expect("an empty directory gets a keyring");
    keyring
        .active(Purpose::Aof, 0, AES, 1)
        .expect("it can be written");
    let path = dir.path().join(FILE_NAME);
    let good = fs::read(&path).expect("it is there");
    let load = |file: &[u8]| Keyring::read(path.clone(), kek(1), file);
    assert!(load(&good).is_ok());
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let decayed = load(&bad).map(|_| ());
        assert!(
            matches!(decayed, Err(KeyringError::Damaged { .. })),
            "bit {bit}: {decayed:?}"
        );
        if bit / 8 < good.len() - 4 {
            forge(&mut bad);
            let forged = load(&bad).map(|_| ());
            assert!(
                matches!(
                    forged,
                    Err(KeyringError::Damaged { .. }
                        | KeyringError::WrongKek { .. }
                        | KeyringError::Provider {
                            source: ProviderError::Unauthentic,
                            ..
                        })
                ),
                "bit {bit}: {forged:?}"
            );
        }
    }
}

/// Proves that a keyring cut short anywhere, or with bytes after its end, is refused.
#[test]
fn every_wrong_length_is_refused() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut keyring = open(dir.path()).expect("an empty directory gets a keyring");
    keyring
        .active(Purpose::Aof, 0, AES, 1)
        .expect("it can be written");
    let path = dir.path().join(FILE_NAME);
    let good = fs::read(&path).expect("it is there");
    for len in 0..good.len() {
        fs::write(&path, &good[..len]).expect("it can be cut");
        let cut = open(dir.path()).map(|_| ());
        assert!(
            matches!(
                cut,
                Err(KeyringError::Damaged {
                    damage: Damage::NotAKeyring | Damage::Length(..),
                    ..
                })
            ),
            "{len} bytes: {cut:?}"
        );
    }
    for extra in [1, 4, 4096] {
        let mut long = good.clone();
        long.resize(good.len() + extra, 0);
        forge(&mut long);
        fs::write(&path, &long).expect("it can be written");
        assert!(matches!(
            open(dir.path()),
            Err(KeyringError::Damaged {
                damage: Damage::Length(..),
                ..
            })
        ));
    }
}

/// Proves that parts of two generations cannot be put together: neither an old body under the new
/// header nor the reverse.
#[test]
fn generations_cannot_be_mixed() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join(FILE_NAME);
    let mut keyring = open(dir.path()).expect("an empty directory gets a keyring");
    keyring
        .active(Purpose::Aof, 0, AES, 1)
        .expect("it can be written");
    let dek = keyring.list()[0].id;
    let old = fs::read(&path).expect("it is there");
    keyring.note_usage(&dek, 1, 1);
    keyring.save_usage().expect("it can be written");
    let new = fs::read(&path).expect("it is there");
    assert_eq!(old.len(), new.len(), "so that parts can be exchanged");
    let header = u32::from_be_bytes(new[10..14].try_into().expect("4 bytes")) as usize;
    let parts = [
        18..26,                   // the generation
        header - 64..header - 32, // the salt
        header - 64..header,      // salt and commitment
        header..new.len() - 20,   // the body
        header..new.len() - 4,    // the body and its tag
        header - 64..new.len() - 4,
    ];
    for part in parts {
        for (into, from) in [(&new, &old), (&old, &new)] {
            let mut mixed = into.clone();
            mixed[part.clone()].copy_from_slice(&from[part.clone()]);
            forge(&mut mixed);
            fs::write(&path, &mixed).expect("it can be written");
            let opened = open(dir.path()).map(|_| ());
            assert!(
                matches!(
                    opened,
                    Err(KeyringError::Damaged {
                        damage: Damage::Forged,
                        ..
                    })
                ),
                "{part:?}: {opened:?}"
            );
        }
    }
}

/// Proves that another Kek is named as such, both by id, and that the file is left as it was.
#[test]
fn another_kek_is_named() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    open(dir.path()).expect("an empty directory gets a keyring");
    let before = fs::read(dir.path().join(FILE_NAME)).expect("it is there");
    let refused = Keyring::open(dir.path(), kek(2), 1).map(|_| ());
    let Err(error @ KeyringError::WrongKek { .. }) = refused else {
        panic!("{refused:?}");
    };
    let text = error.to_string();
    for part in [kek(1).describe().id, kek(2).describe().id] {
        assert!(text.contains(&part), "{text}");
    }
    assert_eq!(
        fs::read(dir.path().join(FILE_NAME)).expect("it is there"),
        before
    );
}

/// Proves that a lost keyring is never quietly replaced while there are segments, however deep, and
/// is made anew when there are none.
#[test]
fn a_lost_keyring_is_not_replaced() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for name in ["log/3", "checkpoint"] {
        let deep = dir.path().join(name);
        fs::create_dir_all(&deep).expect("it can be made");
        open(dir.path()).expect("empty directories need no keyring");
        fs::remove_file(dir.path().join(FILE_NAME)).expect("it is there");
        let segment = deep.join("0001.seg");
        fs::write(&segment, b"").expect("it can be written");
        let refused = open(dir.path()).map(|_| ());
        let Err(error @ KeyringError::Missing { .. }) = refused else {
            panic!("{refused:?}");
        };
        assert!(
            error.to_string().contains(&segment.display().to_string()),
            "{error}"
        );
        assert!(!dir.path().join(FILE_NAME).exists());
        fs::remove_file(&segment).expect("it is there");
    }
    open(dir.path()).expect("now it may begin anew");
}

/// Proves that what a crash leaves of a replacement, at any step before the rename, does no harm
/// and is cleared away.
#[test]
fn an_unfinished_replacement_does_no_harm() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut keyring = open(dir.path()).expect("an empty directory gets a keyring");
    let dek = keyring
        .active(Purpose::Aof, 0, AES, 1)
        .expect("it can be written");
    let good = fs::read(dir.path().join(FILE_NAME)).expect("it is there");
    let temporary = dir.path().join("keyring.tmp");
    for len in [0, 1, good.len() / 2, good.len()] {
        fs::write(&temporary, &good[..len]).expect("it can be written");
        let again = open(dir.path()).expect("the file itself is whole");
        assert!(again.dek(&dek.id).is_some());
        assert!(!temporary.exists());
    }
    fs::remove_file(dir.path().join(FILE_NAME)).expect("it is there");
    fs::write(&temporary, &good).expect("it can be written");
    let fresh = open(dir.path()).expect("a temporary alone counts for nothing");
    assert!(fresh.list().is_empty());
}

/// Proves that a Dek that could not be written is not handed out, is not in the list, and can be
/// had once writing works.
#[test]
fn a_failed_write_gives_no_dek() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut keyring = open(dir.path()).expect("an empty directory gets a keyring");
    let first = keyring
        .active(Purpose::Aof, 0, AES, 1)
        .expect("it can be written");
    // A directory in the temporary's place, with something in it, can be neither removed nor opened
    // for writing.
    let blocker = dir.path().join("keyring.tmp");
    fs::create_dir(&blocker).expect("it can be made");
    let before = keyring.list();
    for algorithm in [AES, CHACHA] {
        let core = if algorithm == AES { 1 } else { 0 };
        let refused = keyring.active(Purpose::Aof, core, algorithm, 1).map(|_| ());
        assert!(
            matches!(refused, Err(KeyringError::Io { .. })),
            "{refused:?}"
        );
        assert_eq!(keyring.list(), before);
    }
    let still = keyring
        .active(Purpose::Aof, 0, AES, 1)
        .expect("what is there needs no write");
    assert_eq!(still.id, first.id);
    fs::remove_dir(&blocker).expect("it is empty");
    keyring
        .active(Purpose::Aof, 1, AES, 1)
        .expect("nothing was in doubt");
    assert_eq!(
        open(dir.path()).expect("it opens again").list(),
        keyring.list()
    );
}

/// Proves that a replacement that failed at the rename latches: Deks in use go on, new ones are
/// refused by name.
#[test]
fn a_replacement_in_doubt_latches() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join(FILE_NAME);
    let mut keyring = open(dir.path()).expect("an empty directory gets a keyring");
    let first = keyring
        .active(Purpose::Aof, 0, AES, 1)
        .expect("it can be written");
    let good = fs::read(&path).expect("it is there");
    fs::remove_file(&path).expect("it is there");
    fs::create_dir(&path).expect("it can be made");
    let refused = keyring.active(Purpose::Aof, 1, AES, 1).map(|_| ());
    assert!(
        matches!(refused, Err(KeyringError::Io { .. })),
        "{refused:?}"
    );
    fs::remove_dir(&path).expect("it is empty");
    fs::write(&path, &good).expect("it can be written");
    let refused = keyring.active(Purpose::Aof, 1, AES, 1).map(|_| ());
    assert!(
        matches!(refused, Err(KeyringError::Latched { .. })),
        "{refused:?}"
    );
    assert!(keyring.active(Purpose::Aof, 0, AES, 1).is_ok());
    assert!(keyring.dek(&first.id).is_some());
    let mut restarted = open(dir.path()).expect("the old file is whole");
    assert!(restarted.active(Purpose::Aof, 1, AES, 1).is_ok());
}

/// Proves that an encrypted keyring never deals in unencrypted Deks, and the other way round.
#[test]
fn encryption_is_never_downgraded() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut sealed = open(dir.path()).expect("an empty directory gets a keyring");
    let off = DekId::unencrypted(Purpose::Aof, 3);
    assert!(sealed.dek(&off).is_none());
    assert!(matches!(
        sealed.active(Purpose::Aof, 3, Algorithm::Off, 1),
        Err(KeyringError::Algorithm(Algorithm::Off))
    ));
    let mut plain = Keyring::unencrypted();
    assert!(!plain.encrypted() && sealed.encrypted());
    let dek = plain
        .active(Purpose::Aof, 3, Algorithm::Off, 1)
        .expect("no file is needed");
    assert_eq!((dek.id, dek.algorithm), (off, Algorithm::Off));
    let found = plain.dek(&off).expect("its name says all");
    assert_eq!((found.purpose, found.core), (Purpose::Aof, 3));
    assert!(plain.dek(&DekId([7; 16])).is_none());
    assert!(matches!(
        plain.active(Purpose::Aof, 3, AES, 1),
        Err(KeyringError::Algorithm(AES))
    ));
}

/// Proves that Deks wrapped under one keyring's name cannot be carried into another keyring, though
/// the Kek is the same.
#[test]
fn a_wrapped_dek_belongs_to_its_place() {
    let provider = kek(1);
    let info = |id: u8, core| DekInfo {
        id: DekId([id; 16]),
        purpose: Purpose::Aof,
        core,
        tenant: String::new(),
        algorithm: AES,
        epoch: 1,
        state: DekState::Active,
        kek_id: provider.describe().id,
        kek_version: 1,
        created_ms: 0,
        bytes: 0,
        messages: 0,
    };
    let here = format::dek_aad(&[1; 16], &info(5, 0));
    let wrapped = provider
        .wrap(&[7; 32], &here)
        .expect("the file provider wraps");
    assert!(provider.unwrap(&wrapped, &here).is_ok());
    for elsewhere in [
        format::dek_aad(&[2; 16], &info(5, 0)),
        format::dek_aad(&[1; 16], &info(6, 0)),
        format::dek_aad(&[1; 16], &info(5, 1)),
        format::keyring_aad(&[1; 16]),
    ] {
        assert!(matches!(
            provider.unwrap(&wrapped, &elsewhere),
            Err(ProviderError::Unauthentic)
        ));
    }
}

/// Proves that secrets are not in the file, and that errors and `Debug` show none.
#[test]
fn no_secret_shows() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut keyring = open(dir.path()).expect("an empty directory gets a keyring");
    let dek = keyring
        .active_for_tenant(Purpose::Aof, 0, "a-tenant-name", AES, 1)
        .expect("it can be written");
    let file = fs::read(dir.path().join(FILE_NAME)).expect("it is there");
    let shows = |what: &[u8]| file.windows(what.len()).any(|w| w == what);
    assert!(!shows(dek.secret.expose()) && !shows(&[1; 32]));
    assert!(!shows(b"a-tenant-name") && !shows(&dek.id.0));
    assert_eq!(
        format!("{keyring:?}"),
        "Keyring { generation: 2, deks: 1, .. }"
    );
}

/// Proves that the file is private to its owner.
#[test]
fn the_file_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().expect("a temporary directory");
    open(dir.path()).expect("an empty directory gets a keyring");
    let mode = fs::metadata(dir.path().join(FILE_NAME))
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

/// Proves that the code reads what `FORMAT.md` says, by the keyring that stands there (it was made
/// by an implementation of its own, from the text).
#[test]
fn the_formats_vector() {
    let vector = &vectors(include_str!("../FORMAT.md"))[0];
    let provider = FileProvider::new(Secret32::copy_from(&vector["kek"]).expect("32 bytes"));
    assert_eq!(provider.describe().id.as_bytes(), vector["kek id"]);
    let keyring = Keyring::read("keyring".into(), Arc::new(provider), &vector["file"])
        .expect("the page's keyring opens");
    assert_eq!((keyring.generation(), keyring.node()), (7, [0xee; 16]));
    assert_eq!(keyring.kek_since_ms(), 1_650_000_000_000);
    let list = keyring.list();
    let states: Vec<_> = list
        .iter()
        .map(|d| (d.id.0[0], d.state, d.tenant.as_str()))
        .collect();
    assert_eq!(
        states,
        [
            (0x11, DekState::Active, ""),
            (0x22, DekState::Retiring, "acme"),
            (0x33, DekState::Destroyed, ""),
        ]
    );
    assert_eq!(
        (list[0].bytes, list[0].messages, list[0].epoch),
        (123_456, 789, 2)
    );
    assert_eq!(
        (list[1].algorithm, list[1].purpose, list[1].core),
        (CHACHA, Purpose::Checkpoint, 1)
    );
    let shown = |id: u8| secret(&keyring, &DekId([id; 16])).map(|s| s.to_vec());
    assert_eq!(shown(0x11).as_ref(), vector.get("dek 11.. secret"));
    assert_eq!(shown(0x22).as_ref(), vector.get("dek 22.. secret"));
    assert_eq!(shown(0x33), None, "destroyed");
    assert_eq!(
        format::dek_aad(&keyring.node(), &list[0]),
        vector["wrap aad of dek 11.."]
    );
}
