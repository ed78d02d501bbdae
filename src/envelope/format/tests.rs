//! What the keyring's bytes promise, tried without a disk.

use proptest::prelude::*;

use super::*;

fn record(id: u8) -> Record {
    Record {
        info: DekInfo {
            id: DekId([id; 16]),
            purpose: Purpose::Aof,
            core: u16::from(id),
            tenant: "tenant".to_owned(),
            algorithm: Algorithm::ChaCha20Poly1305,
            epoch: 3,
            state: DekState::Active,
            kek_id: "kek".to_owned(),
            kek_version: 4,
            created_ms: 5,
            bytes: u64::MAX,
            messages: 6,
        },
        wrapped: vec![id; 112],
    }
}

fn kek() -> KekInfo {
    KekInfo {
        provider: "file".to_owned(),
        id: "kek".to_owned(),
        version: 4,
    }
}

fn secret() -> Secret32 {
    Secret32::take(&mut [5; 32])
}

fn sealed(records: &[Record]) -> Vec<u8> {
    seal(9, &[8; 16], &kek(), 7, b"wrapped", &secret(), records).expect("randomness")
}

fn opened(file: &[u8]) -> Result<Vec<Record>, Damage> {
    Header::read(file)?.open(&secret())
}

#[test]
fn what_was_sealed_opens() {
    let destroyed = Record {
        info: DekInfo {
            state: DekState::Destroyed,
            ..record(3).info
        },
        wrapped: vec![],
    };
    for records in [
        vec![],
        vec![record(1)],
        vec![record(1), record(2), destroyed],
    ] {
        let file = sealed(&records);
        let header = Header::read(&file).expect("it is whole");
        assert_eq!((header.generation, header.node), (9, [8; 16]));
        assert_eq!((header.kek.clone(), header.kek_since_ms), (kek(), 7));
        assert_eq!(header.wrapped, b"wrapped");
        assert_eq!(header.open(&secret()), Ok(records));
    }
}

/// Proves that the commitment is checked by itself, not only as part of what the tag covers.
#[test]
fn another_commitment_is_refused() {
    let file = sealed(&[record(1)]);
    let mut header = Header::read(&file).expect("it is whole");
    header.commitment[0] ^= 1;
    assert_eq!(header.open(&secret()), Err(Damage::Forged));
    let header = Header::read(&file).expect("it is whole");
    assert_eq!(header.open(&Secret32::zero()), Err(Damage::Forged));
}

/// Proves that content which authenticates but contradicts itself is refused.
#[test]
fn contradictions_are_refused() {
    let but = |change: fn(&mut Record)| {
        let mut changed = record(2);
        change(&mut changed);
        changed
    };
    for bad in [
        but(|r| r.info.id = DekId([1; 16])),
        but(|r| r.info.core = 1),
        but(|r| r.info.state = DekState::Destroyed),
        but(|r| r.wrapped.clear()),
        but(|r| r.info.algorithm = Algorithm::Off),
    ] {
        let refused = opened(&sealed(&[record(1), bad]));
        assert!(matches!(refused, Err(Damage::Senseless(_))), "{refused:?}");
    }
}

/// Proves that a body cut short or too long is refused even where it authenticates.
#[test]
fn every_wrong_body_length_is_refused() {
    let mut body = 2u32.to_be_bytes().to_vec();
    encode(&mut body, &record(1));
    encode(&mut body, &record(2));
    let sealed = |body: &[u8]| {
        seal_body(9, &[8; 16], &kek(), 7, b"wrapped", &secret(), body.to_vec()).expect("randomness")
    };
    assert_eq!(opened(&sealed(&body)).map(|r| r.len()), Ok(2));
    for len in 0..body.len() {
        let refused = opened(&sealed(&body[..len]));
        assert!(
            matches!(refused, Err(Damage::Senseless(_))),
            "{len}: {refused:?}"
        );
    }
    body.push(0);
    assert_eq!(
        opened(&sealed(&body)),
        Err(Damage::Senseless("more bytes than Deks"))
    );
}

proptest! {
    /// Proves that no bytes make the readers panic or read past their end.
    #[test]
    fn garbage_is_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = decode_all(&bytes);
        prop_assert!(Header::read(&bytes).is_err());
        // As far in as garbage gets: magic, version, lengths and checksum all right.
        let len = bytes.len() as u32;
        let mut file = [&MAGIC[..], &VERSION.to_be_bytes()].concat();
        file.extend_from_slice(&(18 + len / 2).to_be_bytes());
        file.extend_from_slice(&(len - len / 2).to_be_bytes());
        file.append(&mut bytes);
        file.extend_from_slice(&[0; TAG_LEN]);
        let crc = crc32c::crc32c(&file);
        file.extend_from_slice(&crc.to_be_bytes());
        prop_assert!(opened(&file).is_err());
    }
}
