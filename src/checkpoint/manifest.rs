//! The manifest of a checkpoint: what says that it is whole, and where each of its parts ends.
//!
//! It is written when every part is durable, beside its final name, synced and renamed. So a checkpoint
//! counts from one moment on, and an interrupted one never does.

use std::io;

use crate::disk::{AlignedBuf, BLOCK, Disk, DiskFile, Sealed, round_up};
use crate::envelope::{Dek, DekId};
use crate::log::{Begin, Deks, LogEnd};
use crate::seal::{Algorithm, Backend, Exhausted, FileKey, NoRandomness, TAG_LEN};

use super::Damage;

/// The label under which a manifest's key is derived.
pub const LABEL: &str = "ferrite checkpoint manifest";
/// First bytes of a manifest.
const MAGIC: [u8; 8] = *b"FERRCKP1";
/// The version this build writes and reads.
const VERSION: u16 = 1;
/// The longest manifest that is read, in bytes.
const LONGEST: u64 = 16 << 20;

const BOUND: usize = 64;
const SALT: usize = 64;
const COMMITMENT: usize = 96;
const AAD: usize = 128;
const TEXT: usize = AAD + TAG_LEN;
/// Bytes of the plaintext before the parts.
const HEAD: usize = 48;
/// Bytes of one part: where its log begins, its keys, and its end.
const PART: usize = 16 + crate::log::unit::END_LEN;

/// One core's part of a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartEntry {
    /// The segment of the core's log with the first unit that the part may not have.
    pub begin: u64,
    /// Keys in it.
    pub keys: u64,
    /// Where it ends.
    pub end: LogEnd,
}

/// What a manifest says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The checkpoint's number.
    pub number: u64,
    /// The run of the log it was taken in; without a log, the run that the next log will have at least.
    pub run: u64,
    /// Whether there was a log.
    pub logged: bool,
    /// When it was begun, in Unix milliseconds.
    pub begun: u64,
    /// When its last part was durable, in Unix milliseconds.
    pub ended: u64,
    /// Its parts, by core.
    pub parts: Vec<PartEntry>,
}

/// A checkpoint, as the name of its manifest tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    /// Its number.
    pub number: u64,
    /// Whether there was a log when it was taken. If not, nothing can make up for it.
    pub logged: bool,
}

impl Name {
    /// The file's name.
    pub fn file(&self) -> String {
        let kind = if self.logged {
            "manifest"
        } else {
            "alone.manifest"
        };
        format!("{:010}.{kind}", self.number)
    }

    /// The checkpoint whose manifest a file name says it is.
    pub fn parse(file: &str) -> Option<Name> {
        let stem = file.strip_suffix(".manifest")?;
        let (number, logged) = match stem.strip_suffix(".alone") {
            Some(number) => (number, false),
            None => (stem, true),
        };
        let name = Name {
            number: number.parse().ok()?,
            logged,
        };
        (name.file() == file).then_some(name)
    }
}

fn bound(algorithm: Algorithm, dek: &DekId, node: &[u8; 16], number: u64, len: u64) -> [u8; BOUND] {
    let mut b = [0; BOUND];
    b[..8].copy_from_slice(&MAGIC);
    b[8..10].copy_from_slice(&VERSION.to_le_bytes());
    b[10] = algorithm.byte();
    b[16..32].copy_from_slice(&dek.0);
    b[32..48].copy_from_slice(node);
    b[48..56].copy_from_slice(&number.to_le_bytes());
    b[56..].copy_from_slice(&len.to_le_bytes());
    b
}

/// Why a manifest could not be sealed.
#[derive(Debug)]
pub enum NotSealed {
    /// No random bytes were to be had.
    Random(NoRandomness),
    /// The key is spent; a fresh one never is.
    Spent(Exhausted),
}

impl std::fmt::Display for NotSealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            NotSealed::Random(e) => e.fmt(f),
            NotSealed::Spent(e) => e.fmt(f),
        }
    }
}

impl Manifest {
    /// Where the logs begin that go with it.
    pub fn begin(&self) -> Begin {
        Begin {
            run: self.run,
            logged: self.logged,
            segments: self.parts.iter().map(|p| p.begin).collect(),
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut b = vec![0; HEAD];
        b[..8].copy_from_slice(&self.number.to_le_bytes());
        b[8..16].copy_from_slice(&self.run.to_le_bytes());
        b[16..24].copy_from_slice(&self.begun.to_le_bytes());
        b[24..32].copy_from_slice(&self.ended.to_le_bytes());
        b[32..40].copy_from_slice(&(self.parts.len() as u64).to_le_bytes());
        b[40..48].copy_from_slice(&u64::from(self.logged).to_le_bytes());
        for part in &self.parts {
            b.extend_from_slice(&part.begin.to_le_bytes());
            b.extend_from_slice(&part.keys.to_le_bytes());
            b.extend_from_slice(&part.end.encode());
        }
        b
    }

    fn decode(b: &[u8]) -> Option<Manifest> {
        let number = |at: usize| {
            let bytes = b.get(at..at + 8)?;
            Some(u64::from_le_bytes(bytes.try_into().ok()?))
        };
        let count = usize::try_from(number(32)?).ok()?;
        let table = b.get(HEAD..HEAD.checked_add(count.checked_mul(PART)?)?)?;
        let rest = &b[HEAD + table.len()..];
        if number(40)? > 1 || rest.iter().any(|&b| b != 0) || count == 0 {
            return None;
        }
        let mut parts = Vec::with_capacity(count);
        for (core, p) in table.chunks_exact(PART).enumerate() {
            let (begin, keys) = (p[..8].try_into().ok()?, p[8..16].try_into().ok()?);
            let end = LogEnd::decode(&p[16..])?;
            if usize::from(end.core) != core {
                return None;
            }
            parts.push(PartEntry {
                begin: u64::from_le_bytes(begin),
                keys: u64::from_le_bytes(keys),
                end,
            });
        }
        Some(Manifest {
            number: number(0)?,
            run: number(8)?,
            logged: number(40)? == 1,
            begun: number(16)?,
            ended: number(24)?,
            parts,
        })
    }

    /// The manifest's file, sealed under a key of its own.
    ///
    /// # Errors
    /// No randomness.
    pub fn seal(&self, dek: &Dek, backend: Backend, node: &[u8; 16]) -> Result<Sealed, NotSealed> {
        let bound = self.bound(dek, node);
        let (key, salt) = dek
            .file_key_for_writing(backend, LABEL, &bound)
            .map_err(NotSealed::Random)?;
        self.seal_with(key, &salt, &bound)
    }

    /// What its key is bound to.
    pub(super) fn bound(&self, dek: &Dek, node: &[u8; 16]) -> [u8; BOUND] {
        let len = round_up(TEXT + HEAD + PART * self.parts.len());
        bound(dek.algorithm, &dek.id, node, self.number, len as u64)
    }

    pub(super) fn seal_with(
        &self,
        mut key: FileKey,
        salt: &[u8; 32],
        bound: &[u8; BOUND],
    ) -> Result<Sealed, NotSealed> {
        let text = self.encode();
        let len = round_up(TEXT + text.len());
        let mut buf = AlignedBuf::new(len);
        buf[..BOUND].copy_from_slice(bound);
        buf[SALT..SALT + 32].copy_from_slice(salt);
        buf[COMMITMENT..COMMITMENT + 32].copy_from_slice(key.commitment());
        buf[TEXT..TEXT + text.len()].copy_from_slice(&text);
        let (aad, rest) = buf.split_at_mut(AAD);
        let (tag, text) = rest.split_at_mut(TAG_LEN);
        let (_, sealed) = key.seal(aad, text).map_err(NotSealed::Spent)?;
        tag.copy_from_slice(&sealed);
        Ok(Sealed::vouch(buf, 0, len))
    }

    /// What its file is called.
    pub fn name(&self) -> Name {
        Name {
            number: self.number,
            logged: self.logged,
        }
    }

    /// Reads and opens the manifest of a checkpoint.
    ///
    /// # Errors
    /// What is wrong with it; [`Damage::Io`] if it could not be read.
    pub fn read<D: Disk>(
        disk: &D,
        name: Name,
        deks: &dyn Deks,
        backend: Backend,
    ) -> Result<Manifest, Damage> {
        let (number, file) = (name.number, name.file());
        let damaged = |what| Damage::Manifest {
            file: file.clone(),
            what,
        };
        let io = |source: io::Error| Damage::Io {
            file: file.clone(),
            source,
        };
        let opened = disk.open(&file).map_err(io)?;
        let len = opened.len().map_err(io)?;
        if len > LONGEST || len < BLOCK as u64 {
            return Err(damaged("its length is none that a manifest has"));
        }
        let mut bytes = vec![0; len as usize];
        if opened.read_at(&mut bytes, 0).map_err(io)? < bytes.len() {
            return Err(damaged("it is cut short"));
        }
        if bytes[..8] != MAGIC || bytes[8..10] != VERSION.to_le_bytes() {
            return Err(damaged(
                "it does not begin as a manifest of this version does",
            ));
        }
        let algorithm =
            Algorithm::from_byte(bytes[10]).ok_or(damaged("its algorithm is unknown"))?;
        let mut id = DekId([0; 16]);
        id.0.copy_from_slice(&bytes[16..32]);
        if bytes[..BOUND] != bound(algorithm, &id, &deks.node(), number, len) {
            return Err(damaged(
                "its header is of another server, another checkpoint, or altered",
            ));
        }
        let dek = deks
            .dek(&id)
            .ok_or(damaged("the keyring does not hold its Dek"))?;
        if dek.algorithm != algorithm {
            return Err(damaged("its Dek has another algorithm"));
        }
        let mut salt = [0; 32];
        salt.copy_from_slice(&bytes[SALT..SALT + 32]);
        let key: FileKey = dek.file_key_for_reading(backend, LABEL, &salt, &bytes[..BOUND]);
        if bytes[COMMITMENT..COMMITMENT + 32] != key.commitment()[..] {
            return Err(damaged(
                "it is sealed under another secret than the keyring's",
            ));
        }
        let (aad, rest) = bytes.split_at_mut(AAD);
        let (tag, text) = rest.split_at_mut(TAG_LEN);
        let mut expected = [0; TAG_LEN];
        expected.copy_from_slice(tag);
        key.open(0, aad, text, &expected)
            .map_err(|_| damaged("it does not authenticate"))?;
        Manifest::decode(text)
            .filter(|m| m.name() == name)
            .ok_or(damaged("it is authentic and makes no sense"))
    }
}
