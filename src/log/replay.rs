//! Reading one log, unit by unit, and judging where it ends.
//!
//! **Torn or tampered?** At the first frame `n` that is not there as it should be, the log ends if
//! a crash explains it: `n` is not below the anchor, and nothing authentic that lies behind claims
//! that `n` was durable. Frames behind a hole are dropped with it; under `everysec` a device may
//! have kept a later write and lost an earlier one. Anything else is a refusal. The log of a run
//! that is over has to reach exactly the end that the next run wrote down.

use super::error::{Fault, LogError, Proof};
use super::format::{
    CONTINUES, FrameHeader, FrameKind, HEADER_LEN, LAST, Link, MORE, segment_name, u64_at,
};
use super::reader::{Opened, SegmentReader, find_frame};
use super::scan::{LogPlan, SegmentPlan};
use super::unit::{LogEnd, SEAL_LEN, UNIT_HEAD_LEN, UnitHead, UnitKind};
use crate::disk::Disk;

/// A unit, whole. It borrows the reader's buffers.
#[derive(Debug)]
pub struct Unit<'a> {
    /// Its LSN in this core's log of this run.
    pub lsn: u64,
    /// What it is.
    pub kind: UnitKind,
    /// How many records it holds, as its writer counted.
    pub records: u32,
    /// Its effects, or the body of a transaction ([`super::unit::decode_tx`]).
    pub body: &'a [u8],
    /// The segment it ends in.
    pub file: &'a str,
    /// The offset there of the frame it ends in.
    pub offset: u64,
}

/// How a log ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tail {
    /// By a clean shutdown, or as the next run recorded.
    Clean,
    /// By a crash: from here on nothing counts. What stood here was not durable, or is nothing at all.
    Cut {
        /// The segment.
        file: String,
        /// Where the first frame is that does not count.
        offset: u64,
        /// Its number.
        frame: u64,
        /// What is there instead of it.
        fault: Fault,
    },
}

/// What was read of a log.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Where it ended, for the next run's opening.
    pub end: LogEnd,
    /// How it ended.
    pub tail: Tail,
    /// Whether a unit was begun and not finished; it was dropped.
    pub unfinished: bool,
    /// Segment files behind the end, which hold nothing that counts.
    pub leftover: Vec<String>,
}

/// Frames and bytes read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadCounters {
    /// Frames opened.
    pub frames: u64,
    /// Bytes of them.
    pub bytes: u64,
}

/// Reads one log.
pub struct Replay<'a, D: Disk> {
    disk: &'a D,
    log: LogPlan,
    /// Index of the segment being read.
    at: usize,
    reader: Option<SegmentReader<D::File>>,
    buf: Vec<u8>,
    /// The number of the next frame.
    number: u64,
    /// The LSN of the next unit that begins.
    lsn: u64,
    prev: Link,
    sealed: bool,
    /// What is left of the current frame's payload, in the reader's buffer.
    payload: (usize, usize),
    current: Option<Opened>,
    begun: u32,
    /// The unit that spans frames, and what there is of its body.
    partial: Option<UnitHead>,
    body: Vec<u8>,
    /// Whether `body` was handed out and has to be cleared.
    spent: bool,
    counters: ReadCounters,
    finished: Option<Finished>,
}

enum Step {
    Unit(UnitHead, Option<(usize, usize)>),
    Frame,
}

impl<'a, D: Disk> Replay<'a, D> {
    /// Begins to read a log.
    pub fn new(disk: &'a D, log: LogPlan) -> Replay<'a, D> {
        let first = log.segments.first().and_then(|s| s.known.as_ref());
        // A log that begins in the middle (what was before is released) trusts its first header.
        let begins = first.filter(|k| k.header.seq > 0);
        Replay {
            number: begins.map_or(0, |k| k.header.first_frame),
            lsn: begins.map_or(1, |k| k.header.first_lsn),
            prev: begins.map_or(Link::default(), |k| k.header.prev),
            disk,
            log,
            at: 0,
            reader: None,
            buf: Vec::new(),
            sealed: false,
            payload: (0, 0),
            current: None,
            begun: 0,
            partial: None,
            body: Vec::new(),
            spent: false,
            counters: ReadCounters::default(),
            finished: None,
        }
    }

    /// The next unit, `None` at the log's end.
    ///
    /// # Errors
    /// A refusal; the replay is over then.
    pub fn next_unit(&mut self) -> Result<Option<Unit<'_>>, LogError> {
        if self.spent {
            self.body.clear();
            self.spent = false;
        }
        loop {
            if self.finished.is_some() {
                return Ok(None);
            }
            match self.step()? {
                Some(Step::Frame) | None => {
                    if !self.next_frame()? {
                        return Ok(None);
                    }
                }
                Some(Step::Unit(head, range)) => {
                    let lsn = self.lsn;
                    self.lsn += 1;
                    let body = match (range, &self.reader) {
                        (Some(range), Some(reader)) => reader.bytes(range),
                        _ => {
                            self.spent = true;
                            &self.body[..]
                        }
                    };
                    let file = self.log.segments.get(self.at).map_or("", |s| &s.name);
                    let offset = self.current.map_or(0, |f| f.offset);
                    let (kind, records) = (head.kind, head.records);
                    return Ok(Some(Unit {
                        lsn,
                        kind,
                        records,
                        body,
                        file,
                        offset,
                    }));
                }
            }
        }
    }

    /// The LSN of the next unit: all below it were handed out.
    pub fn lsn(&self) -> u64 {
        self.lsn
    }

    /// Frames and bytes read so far.
    pub fn counters(&self) -> ReadCounters {
        self.counters
    }

    /// Where and how the log ended, once [`Replay::next_unit`] has given `None`.
    pub fn finish(self) -> Option<Finished> {
        self.finished
    }

    /// Takes the next piece of the current frame.
    fn step(&mut self) -> Result<Option<Step>, LogError> {
        let (Some(reader), Some(frame)) = (&self.reader, &self.current) else {
            return Ok(None);
        };
        let header = frame.header;
        if header.kind != FrameKind::Data {
            return Ok(None);
        }
        let rest = reader.bytes(self.payload);
        if let Some(head) = self.partial {
            let missing = head.len - self.body.len() as u64;
            let n = missing.min(rest.len() as u64) as usize;
            self.body.extend_from_slice(&rest[..n]);
            self.payload.0 += n;
            if n as u64 == missing {
                self.partial = None;
                return Ok(Some(Step::Unit(head, None)));
            }
            return match header.flags & MORE {
                0 => Err(self.content("a unit that ends too early")),
                _ => Ok(Some(Step::Frame)),
            };
        }
        if rest.is_empty() {
            if header.flags & MORE != 0 {
                return Err(self.content("a unit said to go on that does not"));
            }
            if self.begun != header.units {
                return Err(self.content("another number of units than it says"));
            }
            return Ok(Some(Step::Frame));
        }
        let Some(head) = UnitHead::decode(rest) else {
            return Err(self.content("no unit"));
        };
        self.begun += 1;
        let from = self.payload.0 + UNIT_HEAD_LEN;
        let here = rest.len() - UNIT_HEAD_LEN;
        if head.len <= here as u64 {
            let range = (from, from + head.len as usize);
            self.payload.0 = range.1;
            return Ok(Some(Step::Unit(head, Some(range))));
        }
        // Not reserved ahead: the length is the writer's word, the bytes are what there is.
        self.partial = Some(head);
        self.payload.0 = from;
        self.step()
    }

    fn content(&self, what: &'static str) -> LogError {
        let file = self
            .log
            .segments
            .get(self.at)
            .map_or(String::new(), |s| s.name.clone());
        let offset = self.current.map_or(0, |f| f.offset);
        LogError::Content { file, offset, what }
    }

    /// Moves on to the next frame; false at the log's end.
    fn next_frame(&mut self) -> Result<bool, LogError> {
        if self.current.take().is_some() && self.at_recorded_end()? {
            return Ok(false);
        }
        if self.sealed {
            // The segment is over; the log goes on in the next.
            self.sealed = false;
            self.at += 1;
            self.buf = self
                .reader
                .take()
                .map_or(Vec::new(), SegmentReader::into_buf);
        }
        if self.reader.is_none() {
            match self.open_segment()? {
                None => {}
                Some(fault) => return self.judge(0, fault),
            }
        }
        let (Some(reader), Some(known)) = (
            &mut self.reader,
            self.log
                .segments
                .get(self.at)
                .and_then(|s| s.known.as_ref()),
        ) else {
            return Ok(false);
        };
        let offset = reader.offset();
        match reader.next(&known.key, known.header.first_frame, self.number)? {
            Err(fault) => self.judge(offset, fault),
            Ok(frame) => self.take(frame),
        }
    }

    /// Opens segment `self.at`; what is wrong if it is not there or has no header.
    fn open_segment(&mut self) -> Result<Option<Fault>, LogError> {
        let seq = self.log.segments.first().map_or(0, |s| s.seq) + self.at as u64;
        let Some(segment) = self.log.segments.get(self.at).filter(|s| s.seq == seq) else {
            return Ok(Some(Fault::NoFile));
        };
        let Some(known) = &segment.known else {
            return Ok(Some(Fault::NoHeader));
        };
        let h = &known.header;
        if h.prev != self.prev || h.first_frame != self.number || h.first_lsn != self.next_lsn() {
            return Err(LogError::Chain {
                file: segment.name.clone(),
            });
        }
        let buf = std::mem::take(&mut self.buf);
        self.reader = Some(SegmentReader::open(
            self.disk,
            &segment.name,
            HEADER_LEN as u64,
            buf,
        )?);
        Ok(None)
    }

    /// The LSN that the next frame has to name first.
    fn next_lsn(&self) -> u64 {
        self.lsn + u64::from(self.partial.is_some())
    }

    fn take(&mut self, frame: Opened) -> Result<bool, LogError> {
        let h: FrameHeader = frame.header;
        self.current = Some(frame);
        self.payload = frame.payload;
        self.begun = 0;
        self.number += 1;
        self.counters.frames += 1;
        self.counters.bytes += u64::from(h.len);
        if let (Some(s), Some(r)) = (self.log.segments.get(self.at), &self.reader)
            && let Some(known) = &s.known
        {
            self.prev = Link {
                id: known.id,
                len: r.offset(),
                tag: frame.tag,
            };
        }
        if h.first_lsn != self.next_lsn() {
            return Err(self.content("units out of order"));
        }
        match h.kind {
            FrameKind::Open if h.number > 0 => Err(self.content("an opening in the middle")),
            FrameKind::Open => Ok(true),
            FrameKind::Data => {
                if (h.flags & CONTINUES != 0) != self.partial.is_some() {
                    return Err(self.content("a unit that does not go on from the frame before"));
                }
                if self.log.end.is_none() && self.log.anchor.is_none() {
                    let (file, run) = (super::anchor_name(self.log.core), self.log.run);
                    return Err(LogError::Anchor { file, run });
                }
                Ok(true)
            }
            FrameKind::Seal => {
                let payload = self
                    .reader
                    .as_ref()
                    .map_or(&[][..], |r| r.bytes(frame.payload));
                let sound = payload.len() == SEAL_LEN
                    && u64_at(payload, 0) == self.number
                    && u64_at(payload, 8) == self.next_lsn();
                if !sound {
                    return Err(self.content("a seal that does not count right"));
                }
                if h.flags & LAST != 0 && self.log.end.is_none() {
                    self.end(Tail::Clean);
                    return Ok(false);
                }
                self.sealed = true;
                Ok(true)
            }
        }
    }

    /// Whether the frame just read is the last one, as the next run recorded.
    fn at_recorded_end(&mut self) -> Result<bool, LogError> {
        let Some(end) = self.log.end else {
            return Ok(false);
        };
        if self.number < end.frames {
            return Ok(false);
        }
        let (seq, name) = match self.log.segments.get(self.at) {
            Some(s) => (s.seq, s.name.clone()),
            None => (0, String::new()),
        };
        if (seq, self.prev, self.lsn) != (end.seq, end.link, end.end_lsn) {
            let (frame, offset) = (self.number, self.prev.len);
            let (fault, proof) = (Fault::End, self.log.recorded_by());
            return Err(LogError::Frame {
                file: name,
                offset,
                frame,
                fault,
                proof,
            });
        }
        self.end(Tail::Clean);
        Ok(true)
    }

    fn end(&mut self, tail: Tail) {
        let seq = |s: &SegmentPlan| s.known.as_ref().is_some_and(|k| k.id == self.prev.id);
        let last = self
            .log
            .segments
            .iter()
            .find(|s| seq(s))
            .map_or(0, |s| s.seq);
        self.finished = Some(Finished {
            end: LogEnd {
                core: self.log.core,
                seq: last,
                link: self.prev,
                frames: self.number,
                end_lsn: self.lsn,
                begin_seq: self.log.segments.first().map_or(0, |s| s.seq),
            },
            tail,
            unfinished: self.partial.is_some(),
            leftover: self
                .log
                .segments
                .iter()
                .filter(|s| s.seq > last)
                .map(|s| s.name.clone())
                .collect(),
        });
    }

    /// Frame `self.number` should begin at `offset` of segment `self.at`, and does not: torn tail
    /// or refusal.
    fn judge(&mut self, offset: u64, fault: Fault) -> Result<bool, LogError> {
        let n = self.number;
        let first = self.log.segments.first().map_or(0, |s| s.seq);
        let file = segment_name(self.log.run, self.log.core, first + self.at as u64);
        let recorded = self.log.recorded_by();
        let refuse = |proof| match fault {
            Fault::NoFile => Err(LogError::MissingSegment { file: file.clone() }),
            _ => Err(LogError::Frame {
                file: file.clone(),
                offset,
                frame: n,
                fault,
                proof,
            }),
        };
        if let Some(end) = self.log.end {
            debug_assert!(n < end.frames);
            return refuse(recorded);
        }
        // Every opening of a run that counts was durable before any anchor of that run.
        let anchored = self.log.anchor.map_or(1, |a| a.durable);
        if n < anchored {
            return refuse(Proof::Anchor(anchored));
        }
        for s in self
            .log
            .segments
            .iter()
            .filter(|s| s.seq >= first + self.at as u64)
        {
            let Some(known) = &s.known else { continue };
            let later = |file: &str, offset| Proof::Later {
                file: file.to_string(),
                offset,
            };
            if known.header.durable > n {
                return refuse(later(&s.name, 0));
            }
            let from = if s.name == file {
                offset
            } else {
                HEADER_LEN as u64
            };
            let claims = |h: &FrameHeader| h.number > n && h.durable > n;
            if let Some(at) = find_frame(self.disk, &s.name, known, from, claims)? {
                return refuse(later(&s.name, at));
            }
        }
        self.end(Tail::Cut {
            file,
            offset,
            frame: n,
            fault,
        });
        Ok(false)
    }
}
