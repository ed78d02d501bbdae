//! Frames being filled: effects are copied once, into the aligned buffer that is later sealed in
//! place and written.

use std::collections::VecDeque;

use super::format::{
    CONTINUES, FRAME_AAD_LEN, FRAME_HEADER_LEN, FrameHeader, FrameKind, HEADER_LEN, MORE,
};
use super::unit::{UNIT_HEAD_LEN, UnitHead};
use crate::disk::{AlignedBuf, Pool};
use crate::seal::{Exhausted, FileKey, TAG_LEN};

/// Where a frame begins in its buffer; before it is room for a segment header, so that a segment's
/// header and its first frame are one write.
pub(super) const FRAME_AT: usize = HEADER_LEN;
const PAYLOAD_AT: usize = FRAME_AT + FRAME_HEADER_LEN;

/// A frame whose payload is still plain and growing.
pub(super) struct Filling {
    pub(super) buf: AlignedBuf,
    /// Bytes of payload so far.
    pub(super) len: usize,
    pub(super) kind: FrameKind,
    pub(super) flags: u8,
    /// The LSN of the first unit that begins in it, or would.
    pub(super) first_lsn: u64,
    /// How many units begin in it.
    pub(super) units: u32,
    /// The LSN of the last unit that ends in it; 0 if none does.
    pub(super) complete: u64,
    /// It begins a segment.
    pub(super) rolls: bool,
    /// When it was first seen by `poll`, in microseconds.
    pub(super) since: Option<u64>,
}

impl Filling {
    pub(super) fn new(buf: AlignedBuf, kind: FrameKind, first_lsn: u64) -> Filling {
        Filling {
            buf,
            len: 0,
            kind,
            flags: 0,
            first_lsn,
            units: 0,
            complete: 0,
            rolls: false,
            since: None,
        }
    }

    /// The length of the frame it will be.
    pub(super) fn frame_len(&self) -> usize {
        FrameHeader::len_for(self.len)
    }

    /// Appends to the payload; the caller has checked that it fits.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let at = PAYLOAD_AT + self.len;
        self.buf[at..at + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    /// Seals the frame where it lies; from here on the buffer holds no plaintext. Returns the tag.
    pub(super) fn seal(
        &mut self,
        key: &mut FileKey,
        number: u64,
        durable: u64,
    ) -> Result<[u8; TAG_LEN], Exhausted> {
        let len = self.frame_len();
        self.buf[PAYLOAD_AT + self.len..FRAME_AT + len].fill(0);
        let header = FrameHeader {
            kind: self.kind,
            flags: self.flags,
            number,
            durable,
            first_lsn: self.first_lsn,
            len: len as u32,
            payload: self.len as u32,
            units: self.units,
        };
        let aad = header.encode();
        let (_, tag) = key.seal(&aad, &mut self.buf[PAYLOAD_AT..FRAME_AT + len])?;
        self.buf[FRAME_AT..FRAME_AT + FRAME_AAD_LEN].copy_from_slice(&aad);
        self.buf[FRAME_AT + FRAME_AAD_LEN..PAYLOAD_AT].copy_from_slice(&tag);
        Ok(tag)
    }
}

/// Turns units into frames.
pub(super) struct Composer {
    pub(super) pool: Pool,
    /// The frame that is being filled, if it holds anything.
    pub(super) open: Option<Filling>,
    /// Frames that are closed and wait for their turn, oldest first.
    pub(super) ready: VecDeque<Filling>,
    /// The LSN of the next unit.
    pub(super) next_lsn: u64,
    max_payload: usize,
    target: usize,
    /// The next frame begins a segment.
    roll: bool,
}

impl Composer {
    pub(super) fn new(frame_max: usize, frame_target: usize, keep: usize) -> Composer {
        Composer {
            pool: Pool::new(HEADER_LEN + frame_max, keep),
            open: None,
            ready: VecDeque::new(),
            next_lsn: 1,
            max_payload: frame_max - FRAME_HEADER_LEN,
            target: frame_target,
            roll: false,
        }
    }

    /// Begins a unit; `put` and `end` follow.
    pub(super) fn begin(&mut self, head: UnitHead) {
        if let Some(open) = &self.open
            && open.len + UNIT_HEAD_LEN > self.max_payload
        {
            self.close_open();
        }
        let lsn = self.next_lsn;
        let open = self.open_frame(0, lsn);
        open.units += 1;
        open.push(&head.encode());
    }

    /// Adds to the unit, over as many frames as it takes.
    pub(super) fn put(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let max = self.max_payload;
            let next = self.next_lsn + 1;
            let open = self.open_frame(CONTINUES, next);
            let n = bytes.len().min(max - open.len);
            let (now, later) = bytes.split_at(n);
            open.push(now);
            bytes = later;
            if !bytes.is_empty() {
                open.flags |= MORE;
                self.close_open();
            }
        }
    }

    /// Ends the unit and returns its LSN.
    pub(super) fn end(&mut self) -> u64 {
        let lsn = self.next_lsn;
        self.next_lsn += 1;
        if let Some(open) = &mut self.open {
            open.complete = lsn;
        }
        lsn
    }

    fn open_frame(&mut self, flags: u8, first_lsn: u64) -> &mut Filling {
        let (pool, roll) = (&mut self.pool, &mut self.roll);
        self.open.get_or_insert_with(|| {
            let mut f = Filling::new(pool.take(), FrameKind::Data, first_lsn);
            f.flags = flags;
            f.rolls = std::mem::take(roll);
            f
        })
    }

    /// Lets the next unit begin a frame, and that frame a segment.
    pub(super) fn roll(&mut self) {
        self.close_open();
        self.roll = true;
    }

    /// Puts the frame that is being filled into the queue.
    pub(super) fn close_open(&mut self) {
        if let Some(open) = self.open.take() {
            self.ready.push_back(open);
        }
    }

    /// Whether the frame that is being filled is as long as it should get.
    pub(super) fn target_reached(&self) -> bool {
        self.open
            .as_ref()
            .is_some_and(|f| f.len + FRAME_HEADER_LEN >= self.target)
    }

    /// Bytes of payload that wait here.
    pub(super) fn waiting(&self) -> usize {
        self.ready.iter().chain(&self.open).map(|f| f.len).sum()
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_none() && self.ready.is_empty()
    }
}
