//! The manifest against `FORMAT.md`, and against whoever changes it.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::*;
use crate::disk::sim::SimDisk;
use crate::envelope::{Dek, DekId, Purpose};
use crate::log::format::Link;
use crate::log::{Deks, LogEnd};
use crate::seal::{Algorithm, Backend, FileKey, Secret32};

const SPEC: &str = include_str!("FORMAT.md");

fn counting<const N: usize>(from: u8) -> [u8; N] {
    std::array::from_fn(|i| from + i as u8)
}

/// The Dek of the vectors.
struct Vectors(Algorithm);

impl Vectors {
    fn own(&self) -> Dek {
        let mut dek = Dek::unencrypted(Purpose::Checkpoint, 0);
        dek.algorithm = self.0;
        if self.0.protects() {
            dek.id = DekId(counting(0xd0));
            dek.secret = Secret32::take(&mut counting(0));
        }
        dek
    }
}

impl Deks for Vectors {
    fn dek(&self, id: &DekId) -> Option<Arc<Dek>> {
        Some(Arc::new(self.own())).filter(|dek| dek.id == *id)
    }

    fn node(&self) -> [u8; 16] {
        counting(0xa0)
    }
}

fn manifest() -> Manifest {
    let part = |core, begin, keys, seq, (id, tag), len, frames, end_lsn| PartEntry {
        begin,
        keys,
        end: LogEnd {
            core,
            seq,
            link: Link {
                id: [id; 16],
                len,
                tag: [tag; 16],
            },
            frames,
            end_lsn,
            begin_seq: 0,
        },
    };
    Manifest {
        number: 5,
        run: 3,
        logged: true,
        begun: 1_700_000_000_000,
        ended: 1_700_000_001_500,
        parts: vec![
            part(0, 4, 10, 1, (0x11, 0x22), 12288, 9, 5),
            part(1, 6, 0, 0, (0x33, 0x44), 8192, 3, 2),
        ],
    }
}

fn sealed(algorithm: Algorithm) -> Vec<u8> {
    let (deks, manifest) = (Vectors(algorithm), manifest());
    let dek = deks.own();
    let (salt, bound) = (counting(0xc0), manifest.bound(&dek, &deks.node()));
    let key = FileKey::derive(&dek.secret, algorithm, Backend::AwsLc, LABEL, &salt, &bound);
    let sealed = manifest.seal_with(key, &salt, &bound).unwrap();
    sealed.bytes().to_vec()
}

fn read(algorithm: Algorithm, bytes: Vec<u8>) -> Result<Manifest, Damage> {
    let disk = SimDisk::new();
    let name = manifest().name();
    disk.put(&name.file(), bytes);
    Manifest::read(&disk, name, &Vectors(algorithm), Backend::AwsLc)
}

#[test]
fn the_vectors_of_the_specification_hold() {
    for algorithm in Algorithm::ALL {
        let bytes = sealed(algorithm);
        let digest = Sha256::digest(&bytes);
        for (name, value) in [
            ("commitment", &bytes[96..128]),
            ("tag", &bytes[128..144]),
            ("SHA-256", &digest[..]),
        ] {
            let hex: String = value.iter().map(|b| format!("{b:02x}")).collect();
            let row = format!("manifest {name} = {hex}\n");
            assert!(SPEC.contains(&row), "FORMAT.md lacks {algorithm} {row}");
        }
        assert_eq!(read(algorithm, bytes).unwrap(), manifest());
    }
}

#[test]
fn a_manifest_that_was_changed_anywhere_is_refused_by_name() {
    for algorithm in Algorithm::ALL {
        let bytes = sealed(algorithm);
        for at in 0..bytes.len() {
            let mut hurt = bytes.clone();
            hurt[at] ^= 1 << (at % 8);
            let Err(e) = read(algorithm, hurt) else {
                panic!("{algorithm}: a flipped bit at {at} was not noticed");
            };
            assert!(e.to_string().contains("0000000005.manifest"), "{e}");
        }
        for len in [0, 1, 143, 144, 4095] {
            assert!(read(algorithm, bytes[..len].to_vec()).is_err());
        }
        let longer = [&bytes[..], &[0; 4096]].concat();
        assert!(read(algorithm, longer).is_err());
    }
}
