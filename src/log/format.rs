//! The bytes of a segment: its header, and the headers of its frames. `FORMAT.md` is the
//! specification; this file is the only code that knows the offsets.
//!
//! All integers are little-endian. Decoding is strict: a field that has to be zero is checked, so
//! that no bit of a file is without meaning.

use crate::disk::{BLOCK, round_up};
use crate::seal::{Algorithm, TAG_LEN};

/// The label under which segment keys are derived.
pub const SEGMENT_LABEL: &str = "ferrite log segment";
/// The label under which the keys of a checkpoint's segments are derived.
pub const CHECKPOINT_LABEL: &str = "ferrite checkpoint segment";
/// First bytes of a segment.
pub const SEGMENT_MAGIC: [u8; 8] = *b"FERRSEG1";
/// First bytes of a frame.
pub const FRAME_MAGIC: [u8; 4] = *b"FRM1";
/// The version this build writes and reads.
pub const VERSION: u16 = 1;
/// A segment's header: one block.
pub const HEADER_LEN: usize = BLOCK;
/// A frame's header.
pub const FRAME_HEADER_LEN: usize = 64;
/// The longest frame anyone may write, in bytes.
pub const MAX_FRAME_LEN: usize = 1 << 20;
/// The longest tenant name, in bytes.
pub const MAX_TENANT: usize = 118;

/// How much of the segment header is bound into its key.
const BOUND: usize = 256;
const SALT: usize = 256;
const COMMITMENT: usize = 288;
const CRC: usize = HEADER_LEN - 4;
/// How much of the frame header is associated data; the tag follows.
pub const FRAME_AAD_LEN: usize = 48;

const _: () = assert!(FRAME_AAD_LEN + TAG_LEN == FRAME_HEADER_LEN);
const _: () = assert!(138 + MAX_TENANT == BOUND && SALT == BOUND && COMMITMENT == SALT + 32);
const _: () = assert!(MAX_FRAME_LEN.is_multiple_of(BLOCK) && MAX_FRAME_LEN < u32::MAX as usize);

/// Sixteen bytes that name a segment: the first half of its salt.
pub type SegmentId = [u8; 16];

/// Reads a little-endian integer; the range is the caller's promise.
pub(super) fn u64_at(b: &[u8], at: usize) -> u64 {
    let mut v = [0; 8];
    v.copy_from_slice(&b[at..at + 8]);
    u64::from_le_bytes(v)
}

pub(super) fn u32_at(b: &[u8], at: usize) -> u32 {
    let mut v = [0; 4];
    v.copy_from_slice(&b[at..at + 4]);
    u32::from_le_bytes(v)
}

pub(super) fn u16_at(b: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([b[at], b[at + 1]])
}

pub(super) fn array_at<const N: usize>(b: &[u8], at: usize) -> [u8; N] {
    let mut v = [0; N];
    v.copy_from_slice(&b[at..at + N]);
    v
}

/// The header of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// How its frames are sealed.
    pub algorithm: Algorithm,
    /// The core whose log this is.
    pub core: u16,
    /// How many cores, each with its log, the run has.
    pub cores: u16,
    /// The boot this belongs to, from 1.
    pub run: u64,
    /// Its place in this core's log of the run, from 0.
    pub seq: u64,
    /// The number of its first frame, counted from 0 through all segments of this log.
    pub first_frame: u64,
    /// The LSN of the first unit that begins in it.
    pub first_lsn: u64,
    /// Frames of this log with a number below this were durable when the segment was begun.
    pub durable: u64,
    /// Its size in bytes.
    pub size: u64,
    /// The Dek its key is derived from; zeros with [`Algorithm::Off`].
    pub dek: [u8; 16],
    /// The server's identity.
    pub node: [u8; 16],
    /// The segment before: zeros if `seq` is 0.
    pub prev: Link,
    /// The tenant whose data it holds; empty is the default one.
    pub tenant: String,
}

/// Where a segment ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Link {
    /// The segment.
    pub id: SegmentId,
    /// Bytes from its beginning to the end of its last frame.
    pub len: u64,
    /// The tag of that frame.
    pub tag: [u8; TAG_LEN],
}

/// What a block that should be a header turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoHeader {
    /// Nothing: zeros, or bytes that fail the checksum, as an unfinished write leaves them.
    Unwritten,
    /// A header of a version this build does not know.
    Version(u16),
    /// The checksum holds and a field makes no sense.
    Field(&'static str),
}

impl SegmentHeader {
    /// The bytes that are bound into the segment's key.
    pub fn bound(&self) -> [u8; BOUND] {
        assert!(
            self.tenant.len() <= MAX_TENANT,
            "a tenant's name fits the header"
        );
        let mut b = [0; BOUND];
        b[..8].copy_from_slice(&SEGMENT_MAGIC);
        b[8..10].copy_from_slice(&VERSION.to_le_bytes());
        b[10] = self.algorithm.byte();
        b[12..14].copy_from_slice(&self.core.to_le_bytes());
        b[14..16].copy_from_slice(&self.cores.to_le_bytes());
        b[16..24].copy_from_slice(&self.run.to_le_bytes());
        b[24..32].copy_from_slice(&self.seq.to_le_bytes());
        b[32..40].copy_from_slice(&self.first_frame.to_le_bytes());
        b[40..48].copy_from_slice(&self.first_lsn.to_le_bytes());
        b[48..56].copy_from_slice(&self.durable.to_le_bytes());
        b[56..64].copy_from_slice(&self.size.to_le_bytes());
        b[64..80].copy_from_slice(&self.dek);
        b[80..96].copy_from_slice(&self.node);
        b[96..112].copy_from_slice(&self.prev.id);
        b[112..120].copy_from_slice(&self.prev.len.to_le_bytes());
        b[120..136].copy_from_slice(&self.prev.tag);
        b[136..138].copy_from_slice(&(self.tenant.len() as u16).to_le_bytes());
        b[138..138 + self.tenant.len()].copy_from_slice(self.tenant.as_bytes());
        b
    }

    /// Writes the whole header block.
    pub fn encode(&self, salt: &[u8; 32], commitment: &[u8; 32], block: &mut [u8]) {
        assert!(block.len() == HEADER_LEN, "a header is one block");
        block.fill(0);
        block[..BOUND].copy_from_slice(&self.bound());
        block[SALT..SALT + 32].copy_from_slice(salt);
        block[COMMITMENT..COMMITMENT + 32].copy_from_slice(commitment);
        let crc = crc32c::crc32c(&block[..CRC]);
        block[CRC..].copy_from_slice(&crc.to_le_bytes());
    }

    /// Reads a header block: the header, its salt and its commitment. Nothing is authenticated yet.
    pub fn decode(block: &[u8]) -> Result<(SegmentHeader, [u8; 32], [u8; 32]), NoHeader> {
        assert!(block.len() == HEADER_LEN, "a header is one block");
        if block[..8] != SEGMENT_MAGIC || crc32c::crc32c(&block[..CRC]) != u32_at(block, CRC) {
            return Err(NoHeader::Unwritten);
        }
        let version = u16_at(block, 8);
        if version != VERSION {
            return Err(NoHeader::Version(version));
        }
        let algorithm = Algorithm::from_byte(block[10]).ok_or(NoHeader::Field("algorithm"))?;
        let tenant_len = usize::from(u16_at(block, 136));
        if tenant_len > MAX_TENANT {
            return Err(NoHeader::Field("tenant length"));
        }
        let tenant = std::str::from_utf8(&block[138..138 + tenant_len])
            .map_err(|_| NoHeader::Field("tenant"))?
            .to_string();
        let unused = block[11] == 0
            && block[138 + tenant_len..BOUND].iter().all(|&b| b == 0)
            && block[COMMITMENT + 32..CRC].iter().all(|&b| b == 0);
        if !unused {
            return Err(NoHeader::Field("unused bytes"));
        }
        let header = SegmentHeader {
            algorithm,
            core: u16_at(block, 12),
            cores: u16_at(block, 14),
            run: u64_at(block, 16),
            seq: u64_at(block, 24),
            first_frame: u64_at(block, 32),
            first_lsn: u64_at(block, 40),
            durable: u64_at(block, 48),
            size: u64_at(block, 56),
            dek: array_at(block, 64),
            node: array_at(block, 80),
            prev: Link {
                id: array_at(block, 96),
                len: u64_at(block, 112),
                tag: array_at(block, 120),
            },
            tenant,
        };
        if header.core >= header.cores || header.run == 0 {
            return Err(NoHeader::Field("core, cores or run"));
        }
        Ok((header, array_at(block, SALT), array_at(block, COMMITMENT)))
    }
}

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameKind {
    /// The first frame of a log: what this run follows.
    Open = 1,
    /// Units.
    Data = 2,
    /// The last frame of a segment.
    Seal = 3,
}

/// The unit at the end of this frame goes on in the next data frame.
pub const MORE: u8 = 1;
/// This frame begins with the rest of a unit.
pub const CONTINUES: u8 = 2;
/// On a seal frame: the log of this run ends here, by a clean shutdown.
pub const LAST: u8 = 4;

/// The header of a frame, without its tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// What it holds.
    pub kind: FrameKind,
    /// [`MORE`], [`CONTINUES`], [`LAST`].
    pub flags: u8,
    /// Its number in this log of this run, from 0.
    pub number: u64,
    /// Frames of this log with a number below this were durable when this one was sealed.
    pub durable: u64,
    /// The LSN of the first unit that begins here, or would.
    pub first_lsn: u64,
    /// Its length in bytes, header and padding included.
    pub len: u32,
    /// Bytes of payload; the rest up to `len` is zeros, sealed with it.
    pub payload: u32,
    /// How many units begin here.
    pub units: u32,
}

impl FrameHeader {
    /// The length in bytes of a frame that holds `payload` bytes.
    pub const fn len_for(payload: usize) -> usize {
        round_up(FRAME_HEADER_LEN + payload)
    }

    /// The header's associated data: all of it but the tag.
    pub fn encode(&self) -> [u8; FRAME_AAD_LEN] {
        let mut b = [0; FRAME_AAD_LEN];
        b[..4].copy_from_slice(&FRAME_MAGIC);
        b[4] = self.kind as u8;
        b[5] = self.flags;
        b[8..16].copy_from_slice(&self.number.to_le_bytes());
        b[16..24].copy_from_slice(&self.durable.to_le_bytes());
        b[24..32].copy_from_slice(&self.first_lsn.to_le_bytes());
        b[32..36].copy_from_slice(&self.len.to_le_bytes());
        b[36..40].copy_from_slice(&self.payload.to_le_bytes());
        b[40..44].copy_from_slice(&self.units.to_le_bytes());
        b
    }

    /// Reads a header and its tag; `None` if it cannot be one. Nothing is authenticated yet.
    pub fn decode(b: &[u8]) -> Option<(FrameHeader, [u8; TAG_LEN])> {
        if b.len() < FRAME_HEADER_LEN || b[..4] != FRAME_MAGIC {
            return None;
        }
        let kind = match b[4] {
            1 => FrameKind::Open,
            2 => FrameKind::Data,
            3 => FrameKind::Seal,
            _ => return None,
        };
        let allowed = match kind {
            FrameKind::Open => 0,
            FrameKind::Data => MORE | CONTINUES,
            FrameKind::Seal => LAST,
        };
        let h = FrameHeader {
            kind,
            flags: b[5],
            number: u64_at(b, 8),
            durable: u64_at(b, 16),
            first_lsn: u64_at(b, 24),
            len: u32_at(b, 32),
            payload: u32_at(b, 36),
            units: u32_at(b, 40),
        };
        let len = h.len as usize;
        let sound = h.flags & !allowed == 0
            && u16_at(b, 6) == 0
            && u32_at(b, 44) == 0
            && (BLOCK..=MAX_FRAME_LEN).contains(&len)
            && h.payload as usize <= MAX_FRAME_LEN
            && FrameHeader::len_for(h.payload as usize) == len;
        sound.then(|| (h, array_at(b, FRAME_AAD_LEN)))
    }
}

/// The name of a segment's file.
pub fn segment_name(run: u64, core: u16, seq: u64) -> String {
    format!("{run:010}-{core:05}-{seq:010}.seg")
}

/// What a segment's file name says: run, core, sequence number.
pub fn parse_segment_name(name: &str) -> Option<(u64, u16, u64)> {
    let mut parts = name.strip_suffix(".seg")?.split('-');
    let (run, core, seq) = (parts.next()?, parts.next()?, parts.next()?);
    let parsed = (run.parse().ok()?, core.parse().ok()?, seq.parse().ok()?);
    (segment_name(parsed.0, parsed.1, parsed.2) == name).then_some(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> SegmentHeader {
        SegmentHeader {
            algorithm: Algorithm::Aes256Gcm,
            core: 3,
            cores: 4,
            run: 5,
            seq: 6,
            first_frame: 7,
            first_lsn: 8,
            durable: 6,
            size: 1 << 20,
            dek: [1; 16],
            node: [2; 16],
            prev: Link {
                id: [3; 16],
                len: 9,
                tag: [4; 16],
            },
            tenant: "müller".into(),
        }
    }

    #[test]
    fn a_segment_header_comes_back_and_any_flipped_bit_unmakes_it() {
        let mut block = vec![0; HEADER_LEN];
        header().encode(&[5; 32], &[6; 32], &mut block);
        assert_eq!(
            SegmentHeader::decode(&block),
            Ok((header(), [5; 32], [6; 32]))
        );
        for bit in 0..HEADER_LEN * 8 {
            block[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                SegmentHeader::decode(&block),
                Err(NoHeader::Unwritten),
                "bit {bit}"
            );
            block[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn a_frame_header_comes_back_and_unsound_ones_do_not() {
        let h = FrameHeader {
            kind: FrameKind::Data,
            flags: MORE,
            number: 1,
            durable: 1,
            first_lsn: 2,
            len: 8192,
            payload: 4100,
            units: 3,
        };
        let mut b = [9; FRAME_HEADER_LEN];
        b[..FRAME_AAD_LEN].copy_from_slice(&h.encode());
        assert_eq!(FrameHeader::decode(&b), Some((h, [9; 16])));
        for (at, byte) in [
            (0, 0),
            (4, 0),
            (4, 4),
            (5, 4),
            (6, 1),
            (32, 1),
            (33, 0x10),
            (37, 0),
            (44, 1),
        ] {
            let mut bad = b;
            bad[at] = byte;
            assert_eq!(FrameHeader::decode(&bad), None, "byte {at} = {byte}");
        }
        assert_eq!(FrameHeader::decode(&b[..63]), None);
    }

    #[test]
    fn names_are_read_back_and_strange_ones_are_not() {
        let name = segment_name(12, 3, 4_000_000_000);
        assert_eq!(parse_segment_name(&name), Some((12, 3, 4_000_000_000)));
        for strange in [
            "x.seg",
            "1-2-3.seg",
            "0000000001-00002-0000000003.seg.tmp",
            ".seg",
            "",
        ] {
            assert_eq!(parse_segment_name(strange), None, "{strange}");
        }
    }
}
