//! How far each file of a log counts, for whoever copies the files while the log is being written.
//!
//! Every frame up to the end that is named was there, whole and authentic, when it was read, and no block is written
//! twice in a segment's life: so a copy made afterwards, of exactly that many bytes, is what a crash at that moment
//! could have left. Recovery's own judgement of a tail (see [`super::replay`]) would be wrong here, for frames come while it
//! looks: a frame that is missed is looked for once more when something later says that it was durable.

use super::config::Chain;
use super::deks::Deks;
use super::error::{Fault, LogError, Proof};
use super::format::{HEADER_LEN, Link, SegmentId, segment_name};
use super::reader::{Known, SegmentReader, find_frame, read_header};
use super::scan::{LogPlan, scan};
use super::unit::LogEnd;
use super::{Begin, part};
use crate::disk::Disk;
use crate::seal::Backend;

/// A segment's file, as far as it counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Its name.
    pub file: String,
    /// The segment's id.
    pub id: SegmentId,
    /// Bytes from its beginning to the end of its last frame.
    pub len: u64,
}

/// The files of a log directory that recovery needs, and how far each counts. The logs of the newest run are read
/// to their ends together at last, so those ends are of one short moment.
///
/// # Errors
/// What recovery would refuse. If the log is being written, it may also be that something was missed: then another
/// look finds it.
pub fn survey<D: Disk>(
    disk: &D,
    deks: &dyn Deks,
    backend: Backend,
    begin: Option<&Begin>,
) -> Result<Vec<Extent>, LogError> {
    let plan = scan(disk, deks, backend, begin)?;
    let newest = plan.runs.len();
    let (mut extents, mut open) = (Vec::new(), Vec::new());
    for (i, run) in plan.runs.into_iter().enumerate() {
        for log in &run.logs {
            let mut walk = Walk::new(disk, log, deks, backend);
            walk.read_to_end(log)?;
            match i + 1 == newest {
                true => open.push(walk),
                false => extents.append(&mut walk.extents),
            }
        }
    }
    for walk in &mut open {
        walk.go(u64::MAX)?;
        extents.append(&mut walk.extents);
    }
    Ok(extents)
}

/// The files of one part of checkpoint `number`, which ends where its manifest says.
///
/// # Errors
/// What is not there as it should be.
pub fn survey_part<D: Disk>(
    disk: &D,
    number: u64,
    end: LogEnd,
    deks: &dyn Deks,
    backend: Backend,
) -> Result<Vec<Extent>, LogError> {
    let log = part(disk, number, end, deks, backend)?;
    let mut walk = Walk::new(disk, &log, deks, backend);
    walk.read_to_end(&log)?;
    Ok(walk.extents)
}

/// One chain, read frame by frame.
struct Walk<'a, D: Disk> {
    disk: &'a D,
    deks: &'a dyn Deks,
    backend: Backend,
    chain: Chain,
    run: u64,
    core: u16,
    /// The segment it is in, and where in it.
    seq: u64,
    offset: u64,
    /// The number of the next frame.
    number: u64,
    prev: Link,
    buf: Vec<u8>,
    extents: Vec<Extent>,
}

impl<'a, D: Disk> Walk<'a, D> {
    fn new(disk: &'a D, log: &LogPlan, deks: &'a dyn Deks, backend: Backend) -> Walk<'a, D> {
        let first = log.segments.first();
        // A log that begins in the middle (what was before is released) trusts its first header.
        let begins = first.and_then(|s| s.known.as_ref());
        Walk {
            disk,
            deks,
            backend,
            chain: log.chain,
            run: log.run,
            core: log.core,
            seq: first.map_or(0, |s| s.seq),
            offset: HEADER_LEN as u64,
            number: begins.map_or(0, |k| k.header.first_frame),
            prev: begins.map_or(Link::default(), |k| k.header.prev),
            buf: Vec::new(),
            extents: Vec::new(),
        }
    }

    fn name(&self, seq: u64) -> String {
        segment_name(self.run, self.core, seq)
    }

    fn header(&self, seq: u64) -> Result<Result<Known, Fault>, LogError> {
        let (name, place) = (self.name(seq), (self.run, self.core, seq));
        match read_header(self.disk, &name, self.chain, place, self.deks, self.backend) {
            Ok(known) => Ok(known.ok_or(Fault::NoHeader)),
            Err(LogError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                Ok(Err(Fault::NoFile))
            }
            Err(e) => Err(e),
        }
    }

    /// Reads on, to frame `stop` or as far as there are frames: then, what is in the place of the next.
    fn go(&mut self, stop: u64) -> Result<Option<Fault>, LogError> {
        loop {
            let known = match self.header(self.seq)? {
                Ok(known) => known,
                Err(fault) => return Ok(Some(fault)),
            };
            let begins = self.offset == HEADER_LEN as u64;
            let fits = match begins {
                true => known.header.prev == self.prev && known.header.first_frame == self.number,
                false => known.id == self.prev.id,
            };
            let file = self.name(self.seq);
            if !fits {
                return Err(LogError::Chain { file });
            }
            let before = self.number;
            let buf = std::mem::take(&mut self.buf);
            let mut reader = SegmentReader::open(self.disk, &file, self.offset, buf)?;
            let fault = loop {
                if self.number == stop {
                    break None;
                }
                match reader.next(&known.key, known.header.first_frame, self.number)? {
                    Err(fault) => break Some(fault),
                    Ok(frame) => {
                        self.number += 1;
                        self.offset = reader.offset();
                        self.prev = Link {
                            id: known.id,
                            len: self.offset,
                            tag: frame.tag,
                        };
                    }
                }
            };
            self.buf = reader.into_buf();
            if self.number > before {
                self.note(file);
            }
            let Some(fault) = fault else { return Ok(None) };
            match self.header(self.seq + 1)? {
                Ok(next) if next.header.prev == self.prev => {
                    self.seq += 1;
                    self.offset = HEADER_LEN as u64;
                }
                // Another segment was begun, and this one got its last frames, after it was read.
                Ok(_) if self.number > before => {}
                _ => return Ok(Some(fault)),
            }
        }
    }

    fn note(&mut self, file: String) {
        let (id, len) = (self.prev.id, self.prev.len);
        match self.extents.last_mut().filter(|last| last.id == id) {
            Some(last) => last.len = len,
            None => self.extents.push(Extent { file, id, len }),
        }
    }

    /// Reads to the recorded end; or, in the newest run, as far as the log goes now.
    fn read_to_end(&mut self, log: &LogPlan) -> Result<(), LogError> {
        let stop = log.end.map_or(u64::MAX, |end| end.frames);
        loop {
            let fault = self.go(stop)?;
            let proof = match (log.end, log.anchor) {
                (Some(end), _) => {
                    let here = (self.seq, self.prev, self.number);
                    if here == (end.seq, end.link, end.frames) {
                        return Ok(());
                    }
                    log.recorded_by()
                }
                (None, Some(anchor)) if self.number < anchor.durable => {
                    Proof::Anchor(anchor.durable)
                }
                _ => match self.claim()? {
                    None => return Ok(()),
                    Some(proof) => proof,
                },
            };
            // What proves that the frame was durable was read after the frame: has it come in between?
            let number = self.number;
            if log.end.is_none() && self.go(stop)?.is_some() && self.number > number {
                continue;
            }
            return Err(LogError::Frame {
                file: self.name(self.seq),
                offset: self.offset,
                frame: self.number,
                fault: fault.unwrap_or(Fault::End),
                proof,
            });
        }
    }

    /// What says, behind the place where the frames end, that the next one was durable.
    fn claim(&self) -> Result<Option<Proof>, LogError> {
        let mut seq = self.seq;
        while let Ok(known) = self.header(seq)? {
            let file = self.name(seq);
            if known.header.durable > self.number {
                return Ok(Some(Proof::Later { file, offset: 0 }));
            }
            let from = match seq == self.seq {
                true => self.offset,
                false => HEADER_LEN as u64,
            };
            let number = self.number;
            let claims = |h: &super::format::FrameHeader| h.number > number && h.durable > number;
            if let Some(offset) = find_frame(self.disk, &file, &known, from, claims)? {
                return Ok(Some(Proof::Later { file, offset }));
            }
            seq += 1;
        }
        Ok(None)
    }
}
