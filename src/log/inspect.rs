//! One file of a log by itself: what can be opened of it, whatever became of the others.
//!
//! Recovery ends at the first refusal; whoever wants to know of every file looks here. Nothing is judged but the file: that
//! a chain ends where it has to is recovery's matter.

use super::anchor::{self, Anchor};
use super::config::Chain;
use super::deks::Deks;
use super::error::{Fault, LogError};
use super::format::{FrameKind, HEADER_LEN, LAST, parse_segment_name};
use super::reader::{SegmentReader, find_frame, read_header};
use super::unit::Opening;
use crate::disk::Disk;
use crate::seal::Backend;

/// Where the frames of a segment end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The segment is ready and not begun, or its header was never wholly written.
    Unwritten,
    /// With a seal; the last one of its chain says so.
    Sealed {
        /// Whether the chain ends here.
        last: bool,
    },
    /// Frame `frame` should begin at `offset`, and does not.
    Open {
        /// Where, in bytes from the beginning of the file.
        offset: u64,
        /// Its number.
        frame: u64,
        /// What is there.
        fault: Fault,
        /// Where behind it an authentic frame says that it was durable once.
        proof: Option<u64>,
    },
}

/// What a segment holds.
#[derive(Clone, Debug)]
pub struct Inspected {
    /// The Dek it is sealed under.
    pub dek: Option<[u8; 16]>,
    /// Frames that open, one after the other.
    pub frames: u64,
    /// Units that begin in them.
    pub units: u64,
    /// Bytes up to the end of the last of them.
    pub bytes: u64,
    /// Frames below this were durable once, as header and frames say.
    pub durable: u64,
    /// Where they end.
    pub stop: Stop,
    /// The opening of a run, in the first segment.
    pub opening: Option<Opening>,
}

/// Opens all frames of a segment.
///
/// # Errors
/// The file cannot be read, or its header is refused.
pub fn segment<D: Disk>(
    disk: &D,
    name: &str,
    chain: Chain,
    deks: &dyn Deks,
    backend: Backend,
) -> Result<Inspected, LogError> {
    let mut found = Inspected {
        dek: None,
        frames: 0,
        units: 0,
        bytes: 0,
        durable: 0,
        stop: Stop::Unwritten,
        opening: None,
    };
    let place = parse_segment_name(name).unwrap_or_default();
    let Some(known) = read_header(disk, name, chain, place, deks, backend)? else {
        return Ok(found);
    };
    found.dek = Some(known.header.dek);
    found.durable = known.header.durable;
    found.bytes = HEADER_LEN as u64;
    let mut reader = SegmentReader::open(disk, name, HEADER_LEN as u64, Vec::new())?;
    let first = known.header.first_frame;
    loop {
        let (offset, frame) = (reader.offset(), first + found.frames);
        match reader.next(&known.key, first, frame)? {
            Ok(opened) => {
                let header = opened.header;
                found.frames += 1;
                found.units += u64::from(header.units);
                found.bytes = reader.offset();
                found.durable = found.durable.max(header.durable);
                match header.kind {
                    FrameKind::Open => {
                        found.opening = Opening::decode(reader.bytes(opened.payload));
                    }
                    FrameKind::Data => {}
                    FrameKind::Seal => {
                        let last = header.flags & LAST != 0;
                        found.stop = Stop::Sealed { last };
                        return Ok(found);
                    }
                }
            }
            Err(fault) => {
                let proof = find_frame(disk, name, &known, offset, |h| {
                    h.number > frame && h.durable > frame
                })?;
                found.stop = Stop::Open {
                    offset,
                    frame,
                    fault,
                    proof,
                };
                return Ok(found);
            }
        }
    }
}

/// The slots of a core's anchor that open, newest first.
///
/// # Errors
/// The file cannot be read, or names a Dek that is not there.
pub fn anchor<D: Disk>(
    disk: &D,
    core: u16,
    deks: &dyn Deks,
    backend: Backend,
) -> Result<Vec<Anchor>, LogError> {
    anchor::read(disk, core, deks, backend)
}
