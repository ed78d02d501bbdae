//! The test vectors of `FORMAT.md`: made here from fixed salts, and compared with what stands there.

use sha2::{Digest, Sha256};

use super::rig::TestDeks;
use crate::disk::AlignedBuf;
use crate::disk::sim::SimDisk;
use crate::envelope::{Dek, DekId, Purpose};
use crate::log::anchor::{Anchor, AnchorKey};
use crate::log::compose::{FRAME_AT, Filling};
use crate::log::format::*;
use crate::log::unit::*;
use crate::log::*;
use crate::seal::{Algorithm, Backend, FileKey, Secret32};

const SPEC: &str = include_str!("../FORMAT.md");

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn counting(from: u8) -> [u8; 32] {
    std::array::from_fn(|i| from + i as u8)
}

fn dek(algorithm: Algorithm) -> Dek {
    let mut dek = Dek::unencrypted(Purpose::Aof, 0);
    dek.algorithm = algorithm;
    if algorithm.protects() {
        dek.id = DekId(std::array::from_fn(|i| 0xd0 + i as u8));
        dek.secret = Secret32::take(&mut counting(0));
    }
    dek
}

/// A segment of three frames: an opening, data (a unit, and the beginning of a transaction that
/// does not end), a seal.
fn segment(algorithm: Algorithm) -> (Vec<u8>, Vec<(&'static str, Vec<u8>)>) {
    let dek = dek(algorithm);
    let header = SegmentHeader {
        algorithm,
        core: 0,
        cores: 2,
        run: 3,
        seq: 0,
        first_frame: 0,
        first_lsn: 1,
        durable: 0,
        size: 65536,
        dek: dek.id.0,
        node: std::array::from_fn(|i| 0xa0 + i as u8),
        prev: Link::default(),
        tenant: String::new(),
    };
    let salt = counting(0x40);
    let bound = header.bound();
    let mut key = FileKey::derive(
        &dek.secret,
        algorithm,
        Backend::AwsLc,
        SEGMENT_LABEL,
        &salt,
        &bound,
    );
    let mut file = vec![0; HEADER_LEN];
    header.encode(&salt, key.commitment(), &mut file);
    let mut facts = vec![("commitment", key.commitment().to_vec())];
    let end = LogEnd {
        core: 0,
        seq: 1,
        link: Link {
            id: [0x11; 16],
            len: 12288,
            tag: [0x22; 16],
        },
        frames: 9,
        end_lsn: 5,
        begin_seq: 0,
    };
    let opening = Opening {
        run: 3,
        prev_run: 2,
        ends: vec![end],
    };
    let parts = [
        Part {
            core: 0,
            lsn: 2,
            records: 1,
            effects: b"left",
        },
        Part {
            core: 1,
            lsn: 7,
            records: 1,
            effects: b"right",
        },
    ];
    let tx = Tx {
        id: 99,
        parts: &parts,
    };
    let mut data = UnitHead {
        kind: UnitKind::Effects,
        records: 2,
        len: 5,
    }
    .encode()
    .to_vec();
    data.extend_from_slice(b"hello");
    data.extend_from_slice(
        &UnitHead {
            kind: UnitKind::Tx,
            records: 2,
            len: tx.len(),
        }
        .encode(),
    );
    data.extend_from_slice(&tx.head());
    parts
        .iter()
        .for_each(|p| data.extend_from_slice(&p.entry()));
    parts.iter().for_each(|p| data.extend_from_slice(p.effects));
    let mut seal = 3u64.to_le_bytes().to_vec();
    seal.extend_from_slice(&3u64.to_le_bytes());
    let frames = [
        (FrameKind::Open, 0, 1, 0, opening.encode()),
        (FrameKind::Data, 0, 1, 2, data),
        (FrameKind::Seal, LAST, 3, 0, seal),
    ];
    for (number, (kind, flags, first_lsn, units, payload)) in frames.into_iter().enumerate() {
        let mut f = Filling::new(AlignedBuf::new(3 * HEADER_LEN), kind, first_lsn);
        (f.flags, f.units) = (flags, units);
        f.push(&payload);
        let tag = f.seal(&mut key, number as u64, number as u64).unwrap();
        file.extend_from_slice(&f.buf[FRAME_AT..FRAME_AT + f.frame_len()]);
        facts.push(("tag", tag.to_vec()));
    }
    facts.push(("SHA-256", Sha256::digest(&file).to_vec()));
    (file, facts)
}

fn anchor(algorithm: Algorithm) -> (Vec<u8>, Vec<(&'static str, Vec<u8>)>) {
    let dek = dek(algorithm);
    let node = std::array::from_fn(|i| 0xa0 + i as u8);
    let mut key = AnchorKey::fixed(&dek, 0, &node, counting(0x80));
    let anchor = Anchor {
        generation: 6,
        run: 3,
        seq: 0,
        segment: std::array::from_fn(|i| 0x40 + i as u8),
        durable: 3,
        lsn: 2,
        begin_run: 0,
        begin_seq: 0,
        clean: true,
    };
    let (block, offset) = key.seal(&anchor, AlignedBuf::new(4096)).unwrap();
    assert_eq!(offset, 0);
    let bytes = block.bytes().to_vec();
    let facts = vec![
        ("commitment", bytes[96..128].to_vec()),
        ("tag", bytes[144..160].to_vec()),
        ("SHA-256", Sha256::digest(&bytes).to_vec()),
    ];
    (bytes, facts)
}

#[test]
fn the_vectors_of_the_specification_hold() {
    for algorithm in Algorithm::ALL {
        for (what, (_, facts)) in [
            ("segment", segment(algorithm)),
            ("anchor", anchor(algorithm)),
        ] {
            for (name, bytes) in facts {
                let value = hex(&bytes);
                println!("{algorithm} {what} {name} {value}");
                assert!(
                    SPEC.contains(&value),
                    "FORMAT.md lacks {algorithm} {what} {name} {value}"
                );
            }
        }
    }
}

#[test]
fn the_log_of_the_vectors_is_one_that_recovery_takes() {
    // Its opening names a run before, which is not there: exactly that is what recovery says.
    let disk = SimDisk::new();
    disk.put(&segment_name(3, 0, 0), segment(Algorithm::Off).0);
    let mut slots = anchor(Algorithm::Off).0;
    slots.resize(8192, 0);
    disk.put(&anchor_name(0), slots);
    struct Vectors(TestDeks);
    impl Deks for Vectors {
        fn dek(&self, id: &DekId) -> Option<std::sync::Arc<Dek>> {
            Deks::dek(&self.0, id)
        }
        fn node(&self) -> [u8; 16] {
            std::array::from_fn(|i| 0xa0 + i as u8)
        }
    }
    let deks = Vectors(TestDeks::new(Algorithm::Off));
    match scan(&disk, &deks, Backend::AwsLc, None) {
        Err(LogError::MissingLog { run: 3, core: 1 }) => {}
        other => panic!("{:?}", other.map(|p| p.is_empty())),
    }
}
