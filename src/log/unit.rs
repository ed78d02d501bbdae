//! What stands inside frames: units of effects, cross-shard transactions, and the payloads of the
//! opening and sealing frames.
//!
//! A *unit* is what one append gave the log: it is applied whole or not at all, however many
//! frames it spans. Its effects are opaque here.

use super::format::{Link, array_at, u16_at, u32_at, u64_at};
use crate::slot;

/// A unit's head, in bytes. It is never split over two frames.
pub const UNIT_HEAD_LEN: usize = 16;
/// The fixed part of a transaction's body.
pub const TX_HEAD_LEN: usize = 16;
/// One participant in a transaction's body.
pub const PARTICIPANT_LEN: usize = 24;
/// A mark of slots.
pub const MARK_LEN: usize = 16;
/// The fixed part of an opening frame.
pub const OPEN_HEAD_LEN: usize = 24;
/// One log's end in an opening frame.
pub const END_LEN: usize = 80;
/// The payload of a sealing frame.
pub const SEAL_LEN: usize = 16;

/// What a unit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum UnitKind {
    /// Effects of this core's shard.
    Effects = 1,
    /// A cross-shard transaction, whole: [`Tx`].
    Tx = 2,
    /// Marks of a checkpoint: [`Slots`], back to back.
    Slots = 3,
}

/// The head of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnitHead {
    /// What it is.
    pub kind: UnitKind,
    /// How many records (effects) it holds; for INFO and progress only.
    pub records: u32,
    /// Bytes that follow.
    pub len: u64,
}

impl UnitHead {
    /// The bytes of the head.
    pub fn encode(&self) -> [u8; UNIT_HEAD_LEN] {
        let mut b = [0; UNIT_HEAD_LEN];
        b[0] = self.kind as u8;
        b[4..8].copy_from_slice(&self.records.to_le_bytes());
        b[8..].copy_from_slice(&self.len.to_le_bytes());
        b
    }

    /// Reads a head; `None` if it is none.
    pub fn decode(b: &[u8]) -> Option<UnitHead> {
        if b.len() < UNIT_HEAD_LEN || b[1..4] != [0; 3] {
            return None;
        }
        let kind = match b[0] {
            1 => UnitKind::Effects,
            2 => UnitKind::Tx,
            3 => UnitKind::Slots,
            _ => return None,
        };
        Some(UnitHead {
            kind,
            records: u32_at(b, 4),
            len: u64_at(b, 8),
        })
    }
}

/// A transaction over several shards, as every participant logs it.
///
/// A part is applied at recovery even if its participant lost the units just before it, because a
/// crash came between; so the effects of a part have to be absolute (the value that is set, not
/// what is added to it).
#[derive(Clone, Copy, Debug)]
pub struct Tx<'a> {
    /// Names it in messages.
    pub id: u64,
    /// Each participant once, in ascending order of cores.
    pub parts: &'a [Part<'a>],
}

/// One participant's share of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    /// The core.
    pub core: u16,
    /// The LSN the transaction has in that core's log ([`super::Writer::next_lsn`] there).
    pub lsn: u64,
    /// How many records its effects are.
    pub records: u32,
    /// Its effects.
    pub effects: &'a [u8],
}

impl Tx<'_> {
    /// The bytes of its body.
    pub fn len(&self) -> u64 {
        let table = TX_HEAD_LEN + PARTICIPANT_LEN * self.parts.len();
        self.parts
            .iter()
            .map(|p| p.effects.len() as u64)
            .sum::<u64>()
            + table as u64
    }

    /// Whether it has no participants.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// The fixed part of its body.
    pub(super) fn head(&self) -> [u8; TX_HEAD_LEN] {
        let mut b = [0; TX_HEAD_LEN];
        b[..8].copy_from_slice(&self.id.to_le_bytes());
        b[8..10].copy_from_slice(&(self.parts.len() as u16).to_le_bytes());
        b
    }
}

impl Part<'_> {
    /// Its entry in the table of participants.
    pub(super) fn entry(&self) -> [u8; PARTICIPANT_LEN] {
        let mut b = [0; PARTICIPANT_LEN];
        b[..2].copy_from_slice(&self.core.to_le_bytes());
        b[4..8].copy_from_slice(&self.records.to_le_bytes());
        b[8..16].copy_from_slice(&self.lsn.to_le_bytes());
        b[16..24].copy_from_slice(&(self.effects.len() as u64).to_le_bytes());
        b
    }
}

/// Reads a transaction's body: its id and its parts. `None` if it is malformed.
pub fn decode_tx(body: &[u8]) -> Option<(u64, Vec<Part<'_>>)> {
    if body.len() < TX_HEAD_LEN || body[10..16] != [0; 6] {
        return None;
    }
    let count = usize::from(u16_at(body, 8));
    let mut at = TX_HEAD_LEN + PARTICIPANT_LEN * count;
    if body.len() < at {
        return None;
    }
    let mut parts: Vec<Part<'_>> = Vec::with_capacity(count);
    for i in 0..count {
        let entry = &body[TX_HEAD_LEN + PARTICIPANT_LEN * i..][..PARTICIPANT_LEN];
        let core = u16_at(entry, 0);
        let len = usize::try_from(u64_at(entry, 16)).ok()?;
        let end = at.checked_add(len).filter(|&end| end <= body.len())?;
        if u16_at(entry, 2) != 0 || parts.last().is_some_and(|p| p.core >= core) {
            return None;
        }
        let effects = &body[at..end];
        parts.push(Part {
            core,
            lsn: u64_at(entry, 8),
            records: u32_at(entry, 4),
            effects,
        });
        at = end;
    }
    (at == body.len()).then(|| (u64_at(body, 0), parts))
}

/// A mark in a checkpoint: of these slots it holds, in the units before, what all units of the core's
/// log below this LSN have made of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slots {
    /// The first slot.
    pub first: u16,
    /// The slot after the last.
    pub end: u16,
    /// An LSN of the core's log in the run the checkpoint was taken in.
    pub below: u64,
}

impl Slots {
    /// The bytes of the mark.
    pub(super) fn encode(&self) -> [u8; MARK_LEN] {
        let mut b = [0; MARK_LEN];
        b[..2].copy_from_slice(&self.first.to_le_bytes());
        b[2..4].copy_from_slice(&self.end.to_le_bytes());
        b[8..].copy_from_slice(&self.below.to_le_bytes());
        b
    }

    /// Reads marks, back to back; `None` if they are malformed.
    pub(super) fn decode_all(b: &[u8]) -> Option<Vec<Slots>> {
        let marks = b.chunks(MARK_LEN).map(|m| {
            if m.len() < MARK_LEN || m[4..8] != [0; 4] {
                return None;
            }
            let mark = Slots {
                first: u16_at(m, 0),
                end: u16_at(m, 2),
                below: u64_at(m, 8),
            };
            (mark.first < mark.end && mark.end <= slot::SLOTS).then_some(mark)
        });
        marks.collect()
    }
}

/// Where the log of one core ended in a run that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogEnd {
    /// The core.
    pub core: u16,
    /// Its last segment's sequence number.
    pub seq: u64,
    /// That segment, the bytes of it that count, and the tag of the last frame in them.
    pub link: Link,
    /// How many frames the log has.
    pub frames: u64,
    /// The LSN after its last complete unit.
    pub end_lsn: u64,
    /// The segment it begins with; those below were released.
    pub begin_seq: u64,
}

impl LogEnd {
    /// Its bytes.
    pub fn encode(&self) -> [u8; END_LEN] {
        let mut b = [0; END_LEN];
        b[..8].copy_from_slice(&u64::from(self.core).to_le_bytes());
        b[8..16].copy_from_slice(&self.seq.to_le_bytes());
        b[16..32].copy_from_slice(&self.link.id);
        b[32..40].copy_from_slice(&self.link.len.to_le_bytes());
        b[40..56].copy_from_slice(&self.link.tag);
        b[56..64].copy_from_slice(&self.frames.to_le_bytes());
        b[64..72].copy_from_slice(&self.end_lsn.to_le_bytes());
        b[72..].copy_from_slice(&self.begin_seq.to_le_bytes());
        b
    }

    /// Reads it from [`END_LEN`] bytes; `None` if it makes no sense.
    pub fn decode(e: &[u8]) -> Option<LogEnd> {
        if e.len() != END_LEN {
            return None;
        }
        Some(LogEnd {
            core: u16::try_from(u64_at(e, 0)).ok()?,
            seq: u64_at(e, 8),
            link: Link {
                id: array_at(e, 16),
                len: u64_at(e, 32),
                tag: array_at(e, 40),
            },
            frames: u64_at(e, 56),
            end_lsn: u64_at(e, 64),
            begin_seq: u64_at(e, 72),
        })
    }
}

/// The payload of the first frame of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// This run.
    pub run: u64,
    /// The run whose data this one stands on, 0 if there is none.
    pub prev_run: u64,
    /// Where the logs of `prev_run` ended; only in core 0's log, empty in the others.
    pub ends: Vec<LogEnd>,
}

impl Opening {
    /// The payload's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut b = Vec::with_capacity(OPEN_HEAD_LEN + END_LEN * self.ends.len());
        b.extend_from_slice(&self.run.to_le_bytes());
        b.extend_from_slice(&self.prev_run.to_le_bytes());
        b.extend_from_slice(&(self.ends.len() as u64).to_le_bytes());
        for end in &self.ends {
            b.extend_from_slice(&end.encode());
        }
        b
    }

    /// Reads the payload; `None` if it is malformed.
    pub fn decode(b: &[u8]) -> Option<Opening> {
        if b.len() < OPEN_HEAD_LEN {
            return None;
        }
        let count = usize::try_from(u64_at(b, 16)).ok()?;
        let table = &b[OPEN_HEAD_LEN..];
        if count.checked_mul(END_LEN)? != table.len() {
            return None;
        }
        let mut ends: Vec<LogEnd> = Vec::with_capacity(count);
        for e in table.chunks_exact(END_LEN) {
            let end = LogEnd::decode(e)?;
            if ends.last().is_some_and(|last| last.core >= end.core) {
                return None;
            }
            ends.push(end);
        }
        Some(Opening {
            run: u64_at(b, 0),
            prev_run: u64_at(b, 8),
            ends,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transactions_come_back_and_malformed_ones_do_not() {
        let parts = [
            Part {
                core: 1,
                lsn: 5,
                records: 1,
                effects: b"one",
            },
            Part {
                core: 4,
                lsn: 9,
                records: 2,
                effects: b"",
            },
            Part {
                core: 7,
                lsn: 2,
                records: 3,
                effects: b"three",
            },
        ];
        let tx = Tx {
            id: 77,
            parts: &parts,
        };
        let mut body = tx.head().to_vec();
        parts
            .iter()
            .for_each(|p| body.extend_from_slice(&p.entry()));
        parts.iter().for_each(|p| body.extend_from_slice(p.effects));
        assert_eq!(body.len() as u64, tx.len());
        assert_eq!(decode_tx(&body), Some((77, parts.to_vec())));
        for n in 0..body.len() {
            assert_eq!(decode_tx(&body[..n]), None, "cut to {n}");
        }
        body[TX_HEAD_LEN] = 4; // the first core no longer below the second
        assert_eq!(decode_tx(&body), None);
    }

    #[test]
    fn openings_come_back_and_cut_ones_do_not() {
        let end = |core| LogEnd {
            core,
            seq: 1,
            link: Link {
                id: [2; 16],
                len: 3,
                tag: [4; 16],
            },
            frames: 5,
            end_lsn: 6,
            begin_seq: 0,
        };
        let opening = Opening {
            run: 9,
            prev_run: 8,
            ends: vec![end(0), end(1)],
        };
        let bytes = opening.encode();
        assert_eq!(Opening::decode(&bytes), Some(opening));
        for n in 0..bytes.len() {
            assert_eq!(Opening::decode(&bytes[..n]), None, "cut to {n}");
        }
    }
}
