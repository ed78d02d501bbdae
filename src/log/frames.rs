//! Frames on their way out: whose turn it is, room in the segment, the seal, and what becomes durable.

use super::compose::{FRAME_AT, Filling};
use super::config::{FileNo, Op, Policy};
use super::format::{FRAME_HEADER_LEN, FrameHeader, FrameKind, HEADER_LEN, LAST, SegmentHeader};
use super::unit::SEAL_LEN;
use super::writer::{Blank, Doing, Flight, Loose, Phase, Segment, Writer};
use crate::disk::Sealed;

/// Every segment keeps room for its seal frame.
const SEAL_FRAME: u64 = FrameHeader::len_for(SEAL_LEN) as u64;

enum Room {
    /// There is room.
    Here,
    /// No file is ready yet.
    Later,
    /// The segment was sealed off; ask again.
    Sealed,
}

impl Writer {
    /// Hands out the frames whose turn it is.
    pub(super) fn write(&mut self, out: &mut Vec<Op>) {
        let window = self.config.batch_window.as_micros() as u64;
        if let Some(open) = &mut self.composer.open {
            let since = *open.since.get_or_insert(self.now);
            let waited =
                std::mem::take(&mut self.hurried) || self.now.saturating_sub(since) >= window;
            if self.config.policy != Policy::Always
                && (waited || self.composer.target_reached() || self.phase == Phase::Closing)
            {
                self.composer.close_open();
            }
        }
        while self.may_write() {
            if self.config.policy == Policy::Always
                && self.phase != Phase::Opening
                && self.composer.ready.is_empty()
            {
                self.composer.close_open();
            }
            let Some(first) = self.composer.ready.front() else {
                break;
            };
            let (len, lsn, rolls) = (first.frame_len() as u64, first.first_lsn, first.rolls);
            match self.make_room(len, lsn, rolls, out) {
                Room::Here => {}
                Room::Later => {
                    self.blocked = true;
                    return;
                }
                Room::Sealed => continue,
            }
            if let Some(frame) = self.composer.ready.pop_front() {
                self.issue(frame, out);
            }
            if self.failed.is_some() {
                return;
            }
        }
        if self.phase == Phase::Closing
            && self.composer.is_empty()
            && !self.sealed_last
            && self.may_write()
            && self.written == self.next_frame
            && self.segment.is_some()
        {
            self.sealed_last = true;
            self.seal_segment(LAST, out);
        }
    }

    pub(super) fn may_write(&self) -> bool {
        let most = match self.config.policy {
            Policy::Always => self.config.durable_writes_in_flight,
            _ => self.config.writes_in_flight,
        };
        self.failed.is_none()
            && self.writes_under_way < most
            && match self.phase {
                Phase::Opening => self.next_frame == 0 && self.anchor_ready,
                Phase::Running | Phase::Closing => {
                    self.anchor_said > 0 || !self.config.chain.anchored()
                }
                Phase::Opened | Phase::Anchoring | Phase::Closed => false,
            }
    }

    /// Sees to it that the segment that is being written has room for a frame of `len` bytes.
    fn make_room(&mut self, len: u64, lsn: u64, rolls: bool, out: &mut Vec<Op>) -> Room {
        if let Some(s) = &self.segment {
            let fits = s.len + len + SEAL_FRAME <= self.config.segment_size;
            if fits && !s.key.wants_roll() && !rolls {
                return Room::Here;
            }
            if self.blanks.is_empty() {
                return Room::Later;
            }
            self.seal_segment(0, out);
            return Room::Sealed;
        }
        let Some(blank) = self.blanks.pop_front() else {
            return Room::Later;
        };
        if rolls && let Some(first) = self.composer.ready.front_mut() {
            first.rolls = false;
            self.rolled = Some(blank.seq);
            self.rolling = false;
        }
        self.begin_segment(blank, lsn);
        Room::Here
    }

    /// Makes a blank file the segment that is being written. Its header goes out with its first frame.
    fn begin_segment(&mut self, blank: Blank, first_lsn: u64) {
        let header = self.header(blank.seq, first_lsn);
        match self.dek.file_key_for_writing(
            self.config.backend,
            self.config.chain.label(),
            &header.bound(),
        ) {
            Err(e) => self.fail(&e.to_string()),
            Ok((key, salt)) => {
                let mut id = [0; 16];
                id.copy_from_slice(&salt[..16]);
                if let Some(frame) = self.composer.ready.front_mut() {
                    header.encode(&salt, key.commitment(), &mut frame.buf[..HEADER_LEN]);
                }
                self.segment = Some(Segment {
                    file: blank.file,
                    len: 0,
                    key,
                    id,
                    tag: [0; 16],
                });
                self.loose.push_back(Loose {
                    file: blank.file,
                    seq: blank.seq,
                    id,
                    first: self.next_frame,
                    end: None,
                    synced: self.next_frame,
                    syncing: false,
                });
                self.counters.segments += 1;
            }
        }
    }

    fn header(&self, seq: u64, first_lsn: u64) -> SegmentHeader {
        SegmentHeader {
            algorithm: self.dek.algorithm,
            core: self.config.core,
            cores: self.config.cores,
            run: self.start.run,
            seq,
            first_frame: self.next_frame,
            first_lsn,
            durable: self.durable_frames,
            size: self.config.segment_size,
            dek: self.dek.id.0,
            node: self.config.node,
            prev: self.prev,
            tenant: self.config.tenant.clone(),
        }
    }

    /// Closes the segment that is being written with a seal frame, for which there is room.
    fn seal_segment(&mut self, flags: u8, out: &mut Vec<Op>) {
        let lsn = self
            .composer
            .ready
            .front()
            .map_or(self.composer.next_lsn, |f| f.first_lsn);
        let mut frame = Filling::new(self.composer.pool.take(), FrameKind::Seal, lsn);
        frame.flags = flags;
        frame.push(&(self.next_frame + 1).to_le_bytes());
        frame.push(&lsn.to_le_bytes());
        self.issue(frame, out);
        if let Some(s) = self.segment.take() {
            self.prev = s.link();
        }
        if let Some(s) = self.loose.back_mut() {
            s.end = Some(self.next_frame);
            self.sealed_seq = s.seq;
        }
    }

    /// Seals a frame and hands it out, with the segment's header before it if it is the first.
    fn issue(&mut self, mut frame: Filling, out: &mut Vec<Op>) {
        let Some(segment) = &mut self.segment else {
            return;
        };
        let number = self.next_frame;
        let len = frame.frame_len();
        match frame.seal(&mut segment.key, number, self.durable_frames) {
            Ok(tag) => segment.tag = tag,
            Err(e) => return self.fail(&e.to_string()),
        }
        let first = segment.len == 0;
        let (start, len) = if first {
            (0, HEADER_LEN + len)
        } else {
            (FRAME_AT, len)
        };
        let (file, offset) = (segment.file, segment.len);
        segment.len += len as u64;
        assert!(
            segment.len <= self.config.segment_size,
            "a frame was put past its segment's end"
        );
        let dsync = self.config.policy == Policy::Always || frame.kind == FrameKind::Open;
        self.next_frame += 1;
        self.flights.push_back(Flight {
            written: false,
            dsync,
            complete: frame.complete,
        });
        self.writes_under_way += 1;
        self.counters.frames += 1;
        self.counters.sealed_messages += 1;
        self.counters.sealed_bytes += (frame.frame_len() - FRAME_HEADER_LEN) as u64;
        self.counters.written_bytes += len as u64;
        let buf = Sealed::vouch(frame.buf, start, len);
        let id = self.begin_op(Doing::Frame {
            file,
            number,
            dsync,
        });
        out.push(Op::Write {
            id,
            file,
            offset,
            buf,
            dsync,
        });
    }

    pub(super) fn frame_written(&mut self, file: FileNo, number: u64, dsync: bool) {
        if let Some(f) = self
            .flights
            .get_mut((number - self.durable_frames) as usize)
        {
            f.written = true;
        }
        while let Some(f) = self
            .flights
            .get((self.written - self.durable_frames) as usize)
            && f.written
        {
            self.written += 1;
            self.written_lsn = self.written_lsn.max(f.complete);
        }
        if dsync {
            self.extend(file);
        }
        self.advance();
    }

    /// Counts the durable writes of a segment that have ended behind what is known durable of it. Those
    /// under way together end in any order; what is durable has no gap.
    pub(super) fn extend(&mut self, file: FileNo) {
        let Some(s) = self.loose.iter_mut().find(|s| s.file == file) else {
            return;
        };
        let end = s.end.unwrap_or(self.next_frame);
        let ahead = (s.synced.max(self.durable_frames) - self.durable_frames) as usize;
        let ended = self
            .flights
            .iter()
            .skip(ahead)
            .map(|f| f.written && f.dsync);
        let n = ended.take_while(|&durable| durable).count() as u64;
        s.synced = (s.synced + n).min(end);
    }

    /// Moves what is durable forward, as far as the segments allow it.
    pub(super) fn advance(&mut self) {
        if self.failed.is_some() {
            return;
        }
        let mut durable = self.durable_frames;
        while let Some(s) = self.loose.front() {
            durable = durable.max(s.synced);
            if s.synced > s.first.max(self.durable_frames) {
                self.anchor_forced |= self.anchor_seq.1 != s.id;
                self.anchor_seq = (s.seq, s.id);
            }
            if s.end != Some(s.synced) || s.syncing {
                break;
            }
            let file = s.file;
            self.loose.pop_front();
            self.close_file(file);
        }
        for _ in self.durable_frames..durable {
            if let Some(f) = self.flights.pop_front() {
                self.durable_lsn = self.durable_lsn.max(f.complete);
            }
        }
        self.durable_frames = durable;
        if self.phase == Phase::Opening && durable > 0 {
            self.phase = Phase::Opened;
        }
        let all = self.sealed_last && durable == self.next_frame;
        if self.phase == Phase::Closing && all && !self.config.chain.anchored() {
            self.finish();
        }
    }
}
