//! The writer's motion: what to start now, and what follows from what was finished.

use std::io;

use super::anchor::{ANCHOR_LEN, Anchor, AnchorKey, anchor_name};
use super::compose::{FRAME_AT, Filling};
use super::config::{Done, FileNo, Op, OpId, Policy};
use super::format::{
    FRAME_HEADER_LEN, FrameHeader, FrameKind, HEADER_LEN, LAST, SEGMENT_LABEL, SegmentHeader, segment_name,
};
use super::writer::{Blank, Doing, Flight, Loose, Phase, Segment, Writer};
use crate::disk::{Sealed, Work, is_full};

/// How long until space is asked for again, in microseconds.
const RETRY: u64 = 1_000_000;
/// Segment files that are made ready at most.
const MOST_BLANKS: u64 = 4;
/// Old files that are kept to become segments.
const MOST_SPARES: usize = 4;
/// Every segment keeps room for its seal frame.
const SEAL_FRAME: u64 = FrameHeader::len_for(super::unit::SEAL_LEN) as u64;

impl Writer {
    /// The operations to start now. `now` is a monotonic clock in microseconds.
    ///
    /// Call it after appending, after completions, and when [`Writer::deadline`] has come.
    pub fn poll(&mut self, now: u64, out: &mut Vec<Op>) {
        self.now = now;
        if self.failed.is_none() && self.phase != Phase::Closed {
            self.prepare(out);
            self.write(out);
            self.sync(out);
            self.anchor(out);
        }
        out.extend(self.to_close.drain(..).map(|file| Op::Close { file }));
    }

    /// When `poll` has to be called at the latest, by the clock that is given to it, if nothing is
    /// appended and nothing completes. `Some(0)` is: now.
    pub fn deadline(&self) -> Option<u64> {
        if self.failed.is_some() || self.phase == Phase::Closed {
            return None;
        }
        let mut at: Option<u64> = None;
        let mut by = |t: u64| at = Some(at.map_or(t, |a| a.min(t)));
        if let (Phase::Running, Some(open)) = (self.phase, &self.composer.open) {
            let window = self.config.batch_window.as_micros() as u64;
            match (self.config.policy, open.since) {
                (Policy::Always, _) if self.writes_under_way > 0 || self.blocked => {}
                (Policy::Always, _) | (_, None) => by(0),
                (_, Some(since)) => by(since + window),
            }
        }
        if self.full.is_some() && !self.preparing {
            by(self.retry_at);
        }
        if let Some(t) = self.sync_due() {
            by(t);
        }
        if let Some(t) = self.anchor_due() {
            by(t);
        }
        at
    }

    /// Takes in what came of the operation `id`.
    pub fn done(&mut self, id: OpId, result: io::Result<Done>, now: u64) {
        self.now = now;
        let Some(at) = self.under_way.iter().position(|(i, _)| *i == id) else {
            self.fail("an operation was answered that nobody started");
            return;
        };
        let (_, doing) = self.under_way.swap_remove(at);
        match (doing, result) {
            (Doing::Frame { file, number, dsync }, Ok(Done::Written(buf, n))) => {
                self.writes_under_way -= 1;
                let whole = n == buf.len();
                self.composer.pool.give(buf.into_buf());
                if whole {
                    self.frame_written(file, number, dsync);
                } else {
                    self.fail(&format!("a write of frame {number} wrote only {n} bytes"));
                }
            }
            (Doing::Frame { number, .. }, Err(e)) => {
                self.writes_under_way -= 1;
                self.fail(&format!("writing frame {number} failed: {e}"));
            }
            (Doing::Sync { file, covers }, Ok(Done::Synced)) => {
                self.counters.syncs += 1;
                if let Some(s) = self.loose.iter_mut().find(|s| s.file == file) {
                    s.syncing = false;
                    s.synced = s.synced.max(covers);
                }
                self.advance();
            }
            (Doing::Sync { .. }, Err(e)) => self.fail(&format!("fdatasync failed: {e}")),
            (Doing::Anchor { durable, last }, Ok(Done::Written(buf, n))) => {
                self.anchor_busy = false;
                if n != buf.len() {
                    return self.fail(&format!("writing the anchor wrote only {n} bytes"));
                }
                self.anchor_pool.give(buf.into_buf());
                self.anchor_written(durable, last);
            }
            (Doing::Anchor { .. }, Err(e)) => self.fail(&format!("writing the anchor failed: {e}")),
            (Doing::AnchorFile, Ok(Done::Performed)) => {
                self.preparing = false;
                self.full = None;
                self.anchor_ready = true;
            }
            (Doing::AnchorFile, Err(e)) => self.no_file(&e),
            (Doing::Blank(blank), Ok(Done::Performed)) => {
                self.preparing = false;
                self.full = None;
                if blank.recycled {
                    self.counters.recycled += 1;
                    self.spares.pop_front();
                }
                self.next_seq = blank.seq + 1;
                self.blocked = false;
                self.blanks.push_back(blank);
            }
            (Doing::Blank(blank), Err(e)) => {
                self.files &= !(1 << blank.file.0);
                if blank.recycled && !is_full(&e) {
                    // A spare that is not what it was said to be: do without it.
                    self.spares.pop_front();
                    self.preparing = false;
                } else {
                    self.no_file(&e);
                }
            }
            (Doing::Remove, _) => self.preparing = false, // a leftover costs space, nothing else
            (_, Ok(_)) => self.fail("an operation was answered with another one's result"),
        }
    }

    fn no_file(&mut self, e: &io::Error) {
        self.preparing = false;
        self.full = Some(e.to_string());
        self.retry_at = self.now + RETRY;
    }

    pub(super) fn begin_op(&mut self, doing: Doing) -> OpId {
        let id = OpId(self.next_op);
        self.next_op += 1;
        self.under_way.push((id, doing));
        id
    }

    // ---- files ------------------------------------------------------------------------------

    /// Has the files made that will be needed: the anchor's, and one segment ahead, more if
    /// the backlog is long.
    fn prepare(&mut self, out: &mut Vec<Op>) {
        if self.preparing || (self.full.is_some() && self.now < self.retry_at) {
            return;
        }
        if !self.anchor_ready {
            self.preparing = true;
            let work = Work::Obtain { name: anchor_name(self.config.core), size: ANCHOR_LEN };
            let id = self.begin_op(Doing::AnchorFile);
            out.push(Op::Perform { id, file: Some(FileNo::ANCHOR), work });
            return;
        }
        if self.spares.len() > MOST_SPARES
            && let Some(name) = self.spares.pop_back()
        {
            self.preparing = true;
            let id = self.begin_op(Doing::Remove);
            out.push(Op::Perform { id, file: None, work: Work::Remove { name } });
            return;
        }
        let size = self.config.segment_size;
        let wanted = (1 + self.composer.waiting() as u64 / size).min(MOST_BLANKS);
        if self.sealed_last || self.blanks.len() as u64 >= wanted {
            return;
        }
        let Some(file) = self.free_file() else { return };
        self.preparing = true;
        let name = segment_name(self.start.run, self.config.core, self.next_seq);
        let prefill = self.config.policy == Policy::Always;
        let spare = self.spares.front().cloned();
        let blank = Blank { file, seq: self.next_seq, recycled: spare.is_some() };
        let work = match spare {
            Some(from) => Work::Recycle { from, name, size, prefill },
            None => Work::Create { name, size, prefill },
        };
        let id = self.begin_op(Doing::Blank(blank));
        out.push(Op::Perform { id, file: Some(file), work });
    }

    fn free_file(&mut self) -> Option<FileNo> {
        let n = (!self.files).trailing_zeros();
        (n < FileNo::COUNT as u32).then(|| {
            self.files |= 1 << n;
            FileNo(n as u8)
        })
    }

    fn close_file(&mut self, file: FileNo) {
        self.files &= !(1 << file.0);
        self.to_close.push(file);
    }

    // ---- frames -----------------------------------------------------------------------------

    /// Hands out the frames whose turn it is.
    fn write(&mut self, out: &mut Vec<Op>) {
        let window = self.config.batch_window.as_micros() as u64;
        if let Some(open) = &mut self.composer.open {
            let since = *open.since.get_or_insert(self.now);
            let waited = self.now.saturating_sub(since) >= window;
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
            let Some(first) = self.composer.ready.front() else { break };
            let (len, lsn) = (first.frame_len() as u64, first.first_lsn);
            match self.make_room(len, lsn, out) {
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

    fn may_write(&self) -> bool {
        let most = match self.config.policy {
            Policy::Always => 1,
            _ => self.config.writes_in_flight,
        };
        self.failed.is_none()
            && self.writes_under_way < most
            && match self.phase {
                Phase::Opening => self.next_frame == 0 && self.anchor_ready,
                Phase::Running | Phase::Closing => self.anchor_said > 0,
                Phase::Opened | Phase::Anchoring | Phase::Closed => false,
            }
    }

    /// Sees to it that the segment that is being written has room for a frame of `len` bytes.
    fn make_room(&mut self, len: u64, lsn: u64, out: &mut Vec<Op>) -> Room {
        if let Some(s) = &self.segment {
            if s.len + len + SEAL_FRAME <= self.config.segment_size && !s.key.wants_roll() {
                return Room::Here;
            }
            if self.blanks.is_empty() {
                return Room::Later;
            }
            self.seal_segment(0, out);
            return Room::Sealed;
        }
        let Some(blank) = self.blanks.pop_front() else { return Room::Later };
        self.begin_segment(blank, lsn);
        Room::Here
    }

    /// Makes a blank file the segment that is being written. Its header goes out with its first frame.
    fn begin_segment(&mut self, blank: Blank, first_lsn: u64) {
        let header = self.header(blank.seq, first_lsn);
        match self.dek.file_key_for_writing(self.config.backend, SEGMENT_LABEL, &header.bound()) {
            Err(e) => self.fail(&e.to_string()),
            Ok((key, salt)) => {
                let mut id = [0; 16];
                id.copy_from_slice(&salt[..16]);
                if let Some(frame) = self.composer.ready.front_mut() {
                    header.encode(&salt, key.commitment(), &mut frame.buf[..HEADER_LEN]);
                }
                self.segment = Some(Segment { file: blank.file, len: 0, key, id, tag: [0; 16] });
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
        let lsn = self.composer.ready.front().map_or(self.composer.next_lsn, |f| f.first_lsn);
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
        }
    }

    /// Seals a frame and hands it out, with the segment's header before it if it is the first.
    fn issue(&mut self, mut frame: Filling, out: &mut Vec<Op>) {
        let Some(segment) = &mut self.segment else { return };
        let number = self.next_frame;
        let len = frame.frame_len();
        match frame.seal(&mut segment.key, number, self.durable_frames) {
            Ok(tag) => segment.tag = tag,
            Err(e) => return self.fail(&e.to_string()),
        }
        let first = segment.len == 0;
        let (start, len) = if first { (0, HEADER_LEN + len) } else { (FRAME_AT, len) };
        let (file, offset) = (segment.file, segment.len);
        segment.len += len as u64;
        assert!(segment.len <= self.config.segment_size, "a frame was put past its segment's end");
        let dsync = self.config.policy == Policy::Always || frame.kind == FrameKind::Open;
        self.next_frame += 1;
        self.flights.push_back(Flight { written: false, complete: frame.complete });
        self.writes_under_way += 1;
        self.counters.frames += 1;
        self.counters.sealed_messages += 1;
        self.counters.sealed_bytes += (frame.frame_len() - FRAME_HEADER_LEN) as u64;
        self.counters.written_bytes += len as u64;
        let buf = Sealed::vouch(frame.buf, start, len);
        let id = self.begin_op(Doing::Frame { file, number, dsync });
        out.push(Op::Write { id, file, offset, buf, dsync });
    }

    fn frame_written(&mut self, file: FileNo, number: u64, dsync: bool) {
        if let Some(f) = self.flights.get_mut((number - self.durable_frames) as usize) {
            f.written = true;
        }
        while let Some(f) = self.flights.get((self.written - self.durable_frames) as usize)
            && f.written
        {
            self.written += 1;
        }
        if dsync
            && let Some(s) = self.loose.iter_mut().find(|s| s.file == file)
            && s.synced == number
        {
            s.synced = number + 1;
        }
        self.advance();
    }

    /// Moves what is durable forward, as far as the segments allow it.
    fn advance(&mut self) {
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
            if s.end != Some(s.synced) {
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
    }

    // ---- syncs ------------------------------------------------------------------------------

    /// Syncs the segments that need it: those that are full, and the one being written if its time has come.
    fn sync(&mut self, out: &mut Vec<Op>) {
        let current = self.sync_due().is_some_and(|t| t <= self.now);
        for i in 0..self.loose.len() {
            let s = &mut self.loose[i];
            let covers = s.end.unwrap_or(u64::MAX).min(self.written);
            let full = s.end == Some(covers);
            if s.syncing || covers <= s.synced || !(full || current) {
                continue;
            }
            s.syncing = true;
            let file = s.file;
            if current {
                self.last_sync = Some(self.now);
            }
            let id = self.begin_op(Doing::Sync { file, covers });
            out.push(Op::Sync { id, file });
        }
    }

    /// When the segment that is being written has to be synced, if it has to be.
    fn sync_due(&self) -> Option<u64> {
        let s = self.loose.back()?;
        let covers = s.end.unwrap_or(u64::MAX).min(self.written);
        if covers <= s.synced || s.syncing {
            return None;
        }
        match self.config.policy {
            _ if self.phase == Phase::Closing => Some(0),
            // Frames of before the policy was changed; with `dsync` nothing is left to sync.
            Policy::Always => Some(0),
            Policy::EverySec => {
                let every = self.config.sync_interval.as_micros() as u64;
                Some(self.last_sync.map_or(0, |t| t + every))
            }
            Policy::No => None,
        }
    }

    // ---- the anchor -------------------------------------------------------------------------

    fn anchor_due(&self) -> Option<u64> {
        let waits = match self.phase {
            Phase::Anchoring => true,
            Phase::Running => self.durable_frames > self.anchor_said || self.anchor_forced,
            Phase::Closing => {
                self.anchor_said == 0
                    || (self.sealed_last && self.durable_frames == self.next_frame)
            }
            _ => false,
        };
        if !waits || self.anchor_busy {
            return None;
        }
        let every = self.config.anchor_interval.as_micros() as u64;
        match (self.anchor_forced || self.phase != Phase::Running, self.anchor_at) {
            (false, Some(t)) => Some(t + every),
            _ => Some(0),
        }
    }

    fn anchor(&mut self, out: &mut Vec<Op>) {
        if self.anchor_due().is_none_or(|t| t > self.now) {
            return;
        }
        if self.anchor_key.is_none() {
            let c = &self.config;
            match AnchorKey::new(&self.dek, c.backend, c.core, &c.node) {
                Ok(key) => self.anchor_key = Some(key),
                Err(e) => return self.fail(&e.to_string()),
            }
        }
        let last = self.sealed_last && self.durable_frames == self.next_frame;
        let anchor = Anchor {
            generation: self.anchor_generation + 1,
            run: self.start.run,
            seq: self.anchor_seq.0,
            segment: self.anchor_seq.1,
            durable: self.durable_frames,
            lsn: self.durable_lsn,
            begin_run: self.start.begin_run,
            begin_seq: self.begin_seq,
            clean: last,
        };
        let buf = self.anchor_pool.take();
        let sealed = match &mut self.anchor_key {
            Some(key) => key.seal(&anchor, buf),
            None => return,
        };
        match sealed {
            Err(e) => self.fail(&e.to_string()),
            Ok((buf, offset)) => {
                self.anchor_generation += 1;
                self.releasing.append(&mut self.to_release);
                self.anchor_busy = true;
                self.anchor_forced = false;
                self.anchor_at = Some(self.now);
                self.counters.anchors += 1;
                self.counters.sealed_messages += 1;
                self.counters.sealed_bytes += buf.len() as u64;
                let id = self.begin_op(Doing::Anchor { durable: anchor.durable, last });
                out.push(Op::Write { id, file: FileNo::ANCHOR, offset, buf, dsync: true });
            }
        }
    }

    fn anchor_written(&mut self, durable: u64, last: bool) {
        self.anchor_said = durable;
        if self.phase == Phase::Anchoring {
            self.phase = Phase::Running;
        }
        self.spares.extend(self.releasing.drain(..));
        if last {
            self.phase = Phase::Closed;
            self.close_file(FileNo::ANCHOR);
            while let Some(blank) = self.blanks.pop_front() {
                self.close_file(blank.file);
            }
        }
    }
}

enum Room {
    /// There is room.
    Here,
    /// No file is ready yet.
    Later,
    /// The segment was sealed off; ask again.
    Sealed,
}

