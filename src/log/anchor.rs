//! The anchor: two sealed slots per core that say, alternately, how far its log is known durable.
//!
//! A write of one slot leaves the other alone, so one of them is always whole. Each run seals its
//! slots under a key of its own, derived with a fresh salt, and counts its nonces.

use super::deks::{self, Deks};
use super::error::LogError;
use super::format::{SegmentId, VERSION, array_at, parse_segment_name, u16_at, u32_at, u64_at};
use crate::disk::{AlignedBuf, BLOCK, Disk, DiskFile, Sealed};
use crate::envelope::Dek;
use crate::seal::{Algorithm, Backend, Exhausted, FileKey, NoRandomness, TAG_LEN};

/// The label under which anchor keys are derived.
pub const ANCHOR_LABEL: &str = "ferrite log anchor";
/// First bytes of a slot.
pub const ANCHOR_MAGIC: [u8; 8] = *b"FERRANC1";
/// An anchor's file: two slots of one block each.
pub const ANCHOR_LEN: u64 = 2 * BLOCK as u64;

const BOUND: usize = 64;
const SALT: usize = 64;
const COMMITMENT: usize = 96;
const COUNTER: usize = 128;
const AAD: usize = 144;
const TEXT: usize = AAD + TAG_LEN;
const FIELDS: usize = 80;

/// What an anchor says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Anchor {
    /// Goes up by one with every write; the slot is `generation % 2`.
    pub generation: u64,
    /// The run it speaks of.
    pub run: u64,
    /// The segment that holds the last durable frame.
    pub seq: u64,
    /// That segment's id.
    pub segment: SegmentId,
    /// Frames of this core's log of the run with a number below this are durable.
    pub durable: u64,
    /// The highest LSN whose unit is durable, 0 if there is none.
    pub lsn: u64,
    /// Runs below this are no longer needed for recovery (core 0's anchor decides).
    pub begin_run: u64,
    /// Segments of this run below this are no longer needed for recovery.
    pub begin_seq: u64,
    /// The log was closed cleanly.
    pub clean: bool,
}

impl Anchor {
    fn encode(&self) -> [u8; FIELDS] {
        let mut b = [0; FIELDS];
        b[..8].copy_from_slice(&self.generation.to_le_bytes());
        b[8..16].copy_from_slice(&self.run.to_le_bytes());
        b[16..24].copy_from_slice(&self.seq.to_le_bytes());
        b[24..40].copy_from_slice(&self.segment);
        b[40..48].copy_from_slice(&self.durable.to_le_bytes());
        b[48..56].copy_from_slice(&self.lsn.to_le_bytes());
        b[56..64].copy_from_slice(&self.begin_run.to_le_bytes());
        b[64..72].copy_from_slice(&self.begin_seq.to_le_bytes());
        b[72..76].copy_from_slice(&u32::from(self.clean).to_le_bytes());
        b
    }

    fn decode(b: &[u8]) -> Option<Anchor> {
        let sound = u32_at(b, 72) <= 1 && b[76..].iter().all(|&x| x == 0);
        sound.then(|| Anchor {
            generation: u64_at(b, 0),
            run: u64_at(b, 8),
            seq: u64_at(b, 16),
            segment: array_at(b, 24),
            durable: u64_at(b, 40),
            lsn: u64_at(b, 48),
            begin_run: u64_at(b, 56),
            begin_seq: u64_at(b, 64),
            clean: u32_at(b, 72) == 1,
        })
    }
}

/// The name of a core's anchor file.
pub fn anchor_name(core: u16) -> String {
    format!("{core:05}.anchor")
}

/// The core whose anchor a file name says it is.
pub fn parse_anchor_name(name: &str) -> Option<u16> {
    let core = name.strip_suffix(".anchor")?.parse().ok()?;
    (anchor_name(core) == name).then_some(core)
}

/// Whether a file of that name is an anchor's or a segment's.
pub fn is_log_file(name: &str) -> bool {
    parse_anchor_name(name).is_some() || parse_segment_name(name).is_some()
}

/// Seals the anchors of one run.
pub(super) struct AnchorKey {
    key: FileKey,
    bound: [u8; BOUND],
    salt: [u8; 32],
}

fn bound(algorithm: Algorithm, core: u16, dek: &[u8; 16], node: &[u8; 16]) -> [u8; BOUND] {
    let mut b = [0; BOUND];
    b[..8].copy_from_slice(&ANCHOR_MAGIC);
    b[8..10].copy_from_slice(&VERSION.to_le_bytes());
    b[10] = algorithm.byte();
    b[12..14].copy_from_slice(&core.to_le_bytes());
    b[16..32].copy_from_slice(dek);
    b[32..48].copy_from_slice(node);
    b
}

impl AnchorKey {
    pub(super) fn new(
        dek: &Dek,
        backend: Backend,
        core: u16,
        node: &[u8; 16],
    ) -> Result<AnchorKey, NoRandomness> {
        let bound = bound(dek.algorithm, core, &dek.id.0, node);
        let (key, salt) = dek.file_key_for_writing(backend, ANCHOR_LABEL, &bound)?;
        Ok(AnchorKey { key, bound, salt })
    }

    /// With a salt that is not random: for test vectors.
    #[cfg(test)]
    pub(super) fn fixed(dek: &Dek, core: u16, node: &[u8; 16], salt: [u8; 32]) -> AnchorKey {
        let bound = bound(dek.algorithm, core, &dek.id.0, node);
        let (backend, alg) = (Backend::AwsLc, dek.algorithm);
        let key = FileKey::derive(&dek.secret, alg, backend, ANCHOR_LABEL, &salt, &bound);
        AnchorKey { key, bound, salt }
    }

    /// The slot's block, and the offset it belongs to.
    pub(super) fn seal(
        &mut self,
        anchor: &Anchor,
        mut buf: AlignedBuf,
    ) -> Result<(Sealed, u64), Exhausted> {
        let block = &mut buf[..BLOCK];
        block.fill(0);
        block[..BOUND].copy_from_slice(&self.bound);
        block[SALT..SALT + 32].copy_from_slice(&self.salt);
        block[COMMITMENT..COMMITMENT + 32].copy_from_slice(self.key.commitment());
        block[COUNTER..COUNTER + 8].copy_from_slice(&self.key.seal_next_counter().to_le_bytes());
        block[TEXT..TEXT + FIELDS].copy_from_slice(&anchor.encode());
        let (aad, rest) = block.split_at_mut(AAD);
        let (tag, text) = rest.split_at_mut(TAG_LEN);
        let (_, sealed) = self.key.seal(aad, text)?;
        tag.copy_from_slice(&sealed);
        Ok((
            Sealed::vouch(buf, 0, BLOCK),
            anchor.generation % 2 * BLOCK as u64,
        ))
    }
}

/// Opens one slot: `None` if it is unwritten, torn or damaged, which cannot be told apart.
fn open_slot(
    block: &mut [u8],
    core: u16,
    deks: &dyn Deks,
    backend: Backend,
    file: &str,
) -> Result<Option<Anchor>, LogError> {
    if block[..8] != ANCHOR_MAGIC || u16_at(block, 8) != VERSION {
        return Ok(None);
    }
    let Some(algorithm) = Algorithm::from_byte(block[10]) else {
        return Ok(None);
    };
    let dek: [u8; 16] = array_at(block, 16);
    let expected = bound(algorithm, core, &dek, &deks.node());
    if block[..BOUND] != expected {
        return Ok(None);
    }
    let salt = array_at(block, SALT);
    let dek = deks::find(deks, dek, algorithm, file)?;
    let key = dek.file_key_for_reading(backend, ANCHOR_LABEL, &salt, &expected);
    if block[COMMITMENT..COMMITMENT + 32] != key.commitment()[..] {
        return Ok(None);
    }
    let (aad, rest) = block.split_at_mut(AAD);
    let (tag, text) = rest.split_at_mut(TAG_LEN);
    let tag = array_at(tag, 0);
    if key.open(u64_at(aad, COUNTER), aad, text, &tag).is_err() {
        return Ok(None);
    }
    let zeros = text[FIELDS..].iter().all(|&b| b == 0);
    Ok(Anchor::decode(&text[..FIELDS]).filter(|_| zeros))
}

/// Reads a core's anchor file: the slots that are whole, newest first.
pub(super) fn read<D: Disk>(
    disk: &D,
    core: u16,
    deks: &dyn Deks,
    backend: Backend,
) -> Result<Vec<Anchor>, LogError> {
    let file = anchor_name(core);
    let io = |e| LogError::io(&file, e);
    let mut bytes = vec![0; ANCHOR_LEN as usize];
    let got = disk
        .open(&file)
        .map_err(io)?
        .read_at(&mut bytes, 0)
        .map_err(io)?;
    bytes[got..].fill(0);
    let mut found = Vec::new();
    for (i, block) in bytes.chunks_mut(BLOCK).enumerate() {
        let anchor = open_slot(block, core, deks, backend, &file)?;
        found.extend(anchor.filter(|a| a.generation % 2 == i as u64));
    }
    found.sort_by_key(|a| std::cmp::Reverse(a.generation));
    Ok(found)
}
