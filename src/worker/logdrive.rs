//! The log of one core, driven: what its writer wants goes to the ring, what the ring completes
//! goes back to the writer.
//!
//! Errands that block (making a segment file) run on the executor's blocking thread; while one
//! runs, the loop yields to the executor at least every millisecond.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use super::gather::LogReport;
use super::message::TxRecord;
use super::shared::Shared;
use crate::disk::real::{RealDisk, RealFile};
use crate::disk::{Disk, DiskFile, Sealed};
use crate::envelope::Keyring;
use crate::log::{Done, FileNo, LogEnd, Op, OpId, Part, Policy, Refusal, Slots, Tx, Writer};
use crate::net::ring::{Kind, Ring, Token};

/// Results of errands, shared with the tasks that run them.
type Finished = Rc<RefCell<Vec<(OpId, Option<FileNo>, io::Result<Option<RealFile>>)>>>;

/// Bytes of reserved space that padding and the ends of segments may take at most, beside as many
/// again as what waits has.
const TIGHT: u64 = 64 << 10;

/// A core's log, or the absence of one; or its part of a checkpoint, which is written the same way.
pub struct LogDrive {
    log: Option<Running>,
    segment_size: u64,
}

/// A log that was opened, ready to be handed to its core.
pub struct OpenLog {
    /// Messages and bytes that recovery opened of this core's logs.
    pub opened: (u64, u64),
    reported: (u64, u64),
    writer: Writer,
    disk: Arc<RealDisk>,
    files: Files,
}

type Files = [Option<RealFile>; FileNo::COUNT];

struct Running {
    /// What its operations are called on the ring.
    kind: Kind,
    /// Whether it takes what is appended.
    started: bool,
    opened: (u64, u64),
    /// Bytes and messages sealed that the keyring was told of.
    reported: (u64, u64),
    writer: Writer,
    disk: Arc<RealDisk>,
    files: Files,
    pending: Vec<Option<Pending>>,
    free: Vec<u32>,
    ops: Vec<Op>,
    finished: Finished,
    errands: usize,
    last_ticket: u64,
    in_flight: u64,
    /// When some of the tickets were given that are not written yet, in monotonic microseconds.
    given: VecDeque<(u64, u64)>,
}

struct Pending {
    id: OpId,
    /// When it was handed to the ring, in monotonic microseconds.
    since_us: u64,
    what: Await,
}

enum Await {
    Write {
        file: FileNo,
        offset: u64,
        dsync: bool,
        buf: Sealed,
    },
    Sync {
        file: FileNo,
    },
}

impl Await {
    /// The latency event that it is.
    fn event(&self) -> &'static str {
        match self {
            Await::Write { dsync: true, .. } => "aof-fsync-always",
            Await::Write { .. } => "aof-write",
            Await::Sync { .. } => "aof-fsync",
        }
    }
}

impl OpenLog {
    /// Opens a log, blocking: its first frame is durable when this returns.
    ///
    /// # Errors
    /// The first error of the disk; nothing was promised to anybody yet.
    pub fn open(mut writer: Writer, disk: Arc<RealDisk>) -> io::Result<OpenLog> {
        let mut files = Files::default();
        let mut ops = Vec::new();
        let started = std::time::Instant::now();
        while !writer.opened() {
            let now = started.elapsed().as_micros() as u64;
            writer.poll(now, &mut ops);
            if ops.is_empty() {
                let why = match (writer.failure(), writer.accepts()) {
                    (Some(why), _) => why.to_owned(),
                    (None, Err(refusal)) => refusal.to_string(),
                    (None, Ok(())) => "nothing is left to do and it is not open".to_owned(),
                };
                return Err(io::Error::other(format!("the log cannot be opened: {why}")));
            }
            for op in ops.drain(..) {
                match op {
                    Op::Write {
                        id,
                        file,
                        offset,
                        buf,
                        dsync,
                    } => {
                        let result = file_of(&files, file)?.write_at(&buf, offset, dsync);
                        writer.done(id, result.map(|n| Done::Written(buf, n)), now);
                    }
                    Op::Sync { id, file } => {
                        let result = file_of(&files, file)?.sync();
                        writer.done(id, result.map(|()| Done::Synced), now);
                    }
                    Op::Perform { id, file, work } => {
                        let file_made = disk.perform(&work)?;
                        if let (Some(no), Some(made)) = (file, file_made) {
                            files[no.index()] = Some(made);
                        }
                        writer.done(id, Ok(Done::Performed), now);
                    }
                    Op::Close { file } => files[file.index()] = None,
                }
            }
        }
        Ok(OpenLog {
            opened: (0, 0),
            reported: (0, 0),
            writer,
            disk,
            files,
        })
    }

    /// Tells the keyring what was sealed to open it.
    pub fn note_usage(&mut self, keyring: &mut Keyring) {
        let counters = self.writer.counters();
        let (bytes, messages) = self.reported;
        self.reported = (counters.sealed_bytes, counters.sealed_messages);
        keyring.note_usage(
            self.writer.dek(),
            self.reported.0 - bytes,
            self.reported.1 - messages,
        );
    }
}

fn file_of(files: &Files, no: FileNo) -> io::Result<&RealFile> {
    files[no.index()]
        .as_ref()
        .ok_or_else(|| io::Error::other("a log file that is not open"))
}

impl LogDrive {
    /// The drive of an opened log; every other core's must be open too.
    pub fn new(open: Option<OpenLog>, segment_size: u64) -> LogDrive {
        let log = open.map(|open| {
            let OpenLog {
                opened,
                reported,
                mut writer,
                disk,
                files,
            } = open;
            writer.start();
            Running {
                started: true,
                opened,
                reported,
                files,
                ..Running::new(writer, disk, Kind::Log)
            }
        });
        LogDrive { log, segment_size }
    }

    /// The drive of a chain that is not open yet: it opens while it is driven.
    pub fn begin(writer: Writer, disk: Arc<RealDisk>, segment_size: u64, kind: Kind) -> LogDrive {
        LogDrive {
            log: Some(Running::new(writer, disk, kind)),
            segment_size,
        }
    }

    /// Whether it is open and takes what is appended.
    pub fn is_running(&self) -> bool {
        self.log.as_ref().is_some_and(|log| log.started)
    }

    /// Where the chain ends, once it is closed.
    pub fn end(&self) -> Option<LogEnd> {
        self.log.as_ref().and_then(|log| log.writer.end())
    }

    /// Appends marks of slots to a part of a checkpoint.
    pub fn append_marks(&mut self, marks: &[Slots]) {
        if let Some(log) = &mut self.log {
            log.writer.append_marks(marks);
        }
    }

    /// Whether a new segment can be begun now.
    pub fn can_roll(&self) -> bool {
        self.log.as_ref().is_none_or(|log| log.writer.can_roll())
    }

    /// Begins a new segment. Nobody's reply waits for that.
    pub fn roll(&mut self) {
        if let Some(log) = &mut self.log {
            log.writer.roll();
        }
    }

    /// The segment that [`LogDrive::roll`] has begun, once it is.
    pub fn rolled(&self) -> Option<u64> {
        self.log.as_ref().and_then(|log| log.writer.rolled())
    }

    /// Lets go of files; see [`Writer::release`].
    pub fn release(&mut self, begin_run: u64, begin_seq: u64, files: Vec<String>) {
        if let Some(log) = &mut self.log {
            log.writer.release(begin_run, begin_seq, files);
        }
    }

    /// Why no file can be made, while that is so.
    pub fn full(&self) -> Option<&str> {
        self.log.as_ref().and_then(|log| log.writer.full())
    }

    /// The directory it is in, if there is one.
    pub fn disk(&self) -> Option<Arc<RealDisk>> {
        self.log.as_ref().map(|log| log.disk.clone())
    }

    /// Hands out nothing more; what is under way ends.
    pub fn abandon(&mut self, why: &str) {
        if let Some(log) = &mut self.log {
            log.writer.abandon(why);
        }
    }

    /// Whether there is a log.
    pub fn is_on(&self) -> bool {
        self.log.is_some()
    }

    /// Whether a write may run now.
    pub fn accepts(&self) -> Result<(), Refusal> {
        self.log.as_ref().map_or(Ok(()), |log| log.writer.accepts())
    }

    /// Why the log is over, if it failed.
    pub fn failure(&self) -> Option<&str> {
        self.log.as_ref().and_then(|log| log.writer.failure())
    }

    /// The number the log gives next.
    pub fn next_lsn(&self) -> u64 {
        self.log.as_ref().map_or(0, |log| log.writer.next_lsn())
    }

    /// Appends one tick's effects.
    pub fn append(&mut self, effects: &[u8], records: u32, now_us: u64) {
        if let Some(log) = &mut self.log {
            log.last_ticket = log.writer.append(effects, records).0;
            log.note(now_us);
        }
    }

    /// Appends a transaction across shards.
    pub fn append_tx(&mut self, record: &Arc<TxRecord>, now_us: u64) {
        let Some(log) = &mut self.log else { return };
        let parts: Vec<Part<'_>> = record
            .parts
            .iter()
            .map(|part| Part {
                core: part.core,
                lsn: part.lsn,
                records: part.records,
                effects: &part.effects,
            })
            .collect();
        // A refusal has failed the writer, and the loop stops the server for that.
        if let Ok(ticket) = log.writer.append_tx(&Tx {
            id: record.id,
            parts: &parts,
        }) {
            log.last_ticket = ticket.0;
            log.note(now_us);
        }
    }

    /// The ticket of the last append.
    pub fn last_ticket(&self) -> u64 {
        self.log.as_ref().map_or(0, |log| log.last_ticket)
    }

    /// The last ticket that was kept as the policy promises: durable under `always`, else taken by
    /// the disk.
    pub fn kept(&self) -> u64 {
        self.log
            .as_ref()
            .map_or(u64::MAX, |log| match log.writer.policy() {
                Policy::Always => log.writer.durable().0,
                Policy::EverySec | Policy::No => log.writer.written().0,
            })
    }

    /// Whether everything that was appended is durable, which is never so without a log.
    pub fn is_durable(&self) -> bool {
        self.log
            .as_ref()
            .is_some_and(|log| log.writer.durable().0 >= log.last_ticket)
    }

    /// The last ticket that is durable.
    pub fn durable(&self) -> u64 {
        self.log.as_ref().map_or(0, |log| log.writer.durable().0)
    }

    /// Has what was appended made durable without waiting for the time of the next sync; the ticket of it.
    pub fn await_durable(&mut self) -> u64 {
        self.log
            .as_mut()
            .map_or(u64::MAX, |log| log.writer.await_durable().0)
    }

    /// Changes the policy.
    pub fn set_policy(&mut self, policy: Policy) {
        if let Some(log) = &mut self.log {
            log.writer.set_policy(policy);
        }
    }

    /// Starts what the writer wants; `bell` wakes the loop when an errand is done.
    pub fn drive(&mut self, now_us: u64, ring: &mut Ring, bell: &Rc<dyn Fn()>) {
        let Some(log) = &mut self.log else { return };
        let finished: Vec<_> = log.finished.borrow_mut().drain(..).collect();
        for (id, file, result) in finished {
            log.errands -= 1;
            let done = result.map(|made| {
                if let (Some(no), Some(made)) = (file, made) {
                    log.files[no.index()] = Some(made);
                }
                Done::Performed
            });
            if let Err(e) = &done {
                tracing::warn!("log: {e}");
            }
            log.writer.done(id, done, now_us);
        }
        if !log.started && log.writer.opened() {
            log.writer.start();
            log.started = true;
        }
        let mut ops = std::mem::take(&mut log.ops);
        log.writer.poll(now_us, &mut ops);
        let urgent = ops
            .iter()
            .any(|op| matches!(op, Op::Write { dsync: true, .. }));
        for op in ops.drain(..) {
            match op {
                Op::Write {
                    id,
                    file,
                    offset,
                    buf,
                    dsync,
                } => {
                    log.start(
                        id,
                        Await::Write {
                            file,
                            offset,
                            dsync,
                            buf,
                        },
                        now_us,
                        ring,
                    );
                }
                Op::Sync { id, file } => log.start(id, Await::Sync { file }, now_us, ring),
                Op::Perform { id, file, work } => {
                    log.errands += 1;
                    let (disk, finished) = (log.disk.clone(), log.finished.clone());
                    let bell = bell.clone();
                    glommio::spawn_local(async move {
                        let run = move || disk.perform(&work);
                        let result = glommio::executor().spawn_blocking(run).await;
                        finished.borrow_mut().push((id, file, result));
                        bell();
                    })
                    .detach();
                }
                Op::Close { file } => log.files[file.index()] = None,
            }
        }
        log.ops = ops;
        if urgent {
            ring.submit();
        }
    }

    /// An operation ended on the ring: which latency event it is, and how long it took in microseconds.
    pub fn completed(
        &mut self,
        index: u32,
        result: i32,
        now_us: u64,
        ring: &mut Ring,
    ) -> Option<(&'static str, u64)> {
        let log = self.log.as_mut()?;
        let pending = log.pending.get_mut(index as usize).and_then(Option::take)?;
        log.free.push(index);
        log.in_flight -= 1;
        let result = if result < 0 {
            Err(io::Error::from_raw_os_error(-result))
        } else {
            Ok(result as usize)
        };
        if let Err(e) = &result
            && matches!(e.raw_os_error(), Some(libc::EINTR | libc::EAGAIN))
        {
            // The kernel did not try; this is not a second attempt at a failed write.
            log.start(pending.id, pending.what, pending.since_us, ring);
            return None;
        }
        let took = (
            pending.what.event(),
            now_us.saturating_sub(pending.since_us),
        );
        let done = match pending.what {
            Await::Write { buf, .. } => result.map(|n| Done::Written(buf, n)),
            Await::Sync { .. } => result.map(|_| Done::Synced),
        };
        log.writer.done(pending.id, done, now_us);
        Some(took)
    }

    /// Whether an errand runs on the executor.
    pub fn has_errands(&self) -> bool {
        self.log.as_ref().is_some_and(|log| log.errands > 0)
    }

    /// When the writer must be polled again without other events, in monotonic microseconds.
    pub fn deadline(&self) -> Option<u64> {
        self.log.as_ref().and_then(|log| log.writer.deadline())
    }

    /// Bytes that were appended and not handed to the disk yet.
    pub fn backlog(&self) -> usize {
        self.log.as_ref().map_or(0, |log| log.writer.backlog())
    }

    /// For how long the oldest effects wait that the disk has not taken, in microseconds.
    pub fn lag(&mut self, now_us: u64) -> u64 {
        let Some(log) = &mut self.log else { return 0 };
        let written = log.writer.written().0;
        while log
            .given
            .front()
            .is_some_and(|(ticket, _)| *ticket <= written)
        {
            log.given.pop_front();
        }
        log.given
            .front()
            .map_or(0, |(_, at)| now_us.saturating_sub(*at))
    }

    /// Whether everything that was appended would be there after the process was killed; under
    /// `always`, after a power failure. If not, it is hurried on its way.
    pub fn settled(&mut self) -> bool {
        let kept = self.kept() >= self.last_ticket();
        if !kept && let Some(log) = &mut self.log {
            log.writer.hurry();
        }
        kept
    }

    /// Whether the space that is reserved gets short while more of it is being made. Commands then
    /// wait, so that what is acknowledged has its place on the disk; if none can be made, writes are
    /// refused instead.
    pub fn is_short(&self) -> bool {
        self.log.as_ref().is_some_and(|log| {
            // Twice what waits: a frame that does not fit leaves the end of a segment unused.
            let least = (self.segment_size / 2).min(4 << 20) + 2 * log.writer.backlog() as u64;
            log.writer.room() < least && log.writer.accepts().is_ok() && log.last_ticket > 0
        })
    }

    /// Whether what was appended may not have its place on the disk: its replies then wait until it is
    /// written, so that a disk that fills up at this moment takes nothing from anybody. Rare: it takes
    /// a tick that brings more than what [`LogDrive::is_short`] keeps free.
    pub fn is_tight(&self) -> bool {
        self.log.as_ref().is_some_and(|log| {
            let waiting = log.writer.backlog() as u64;
            waiting > 0 && log.writer.room() < 2 * waiting + TIGHT
        })
    }

    /// Starts closing: everything is written, sealed off and synced.
    pub fn close(&mut self) {
        if let Some(log) = &mut self.log {
            log.writer.close();
        }
    }

    /// Whether it is closed, or over.
    pub fn closed(&self) -> bool {
        self.log
            .as_ref()
            .is_none_or(|log| log.writer.closed() && log.errands == 0)
    }

    /// Tells the keyring what was sealed since it was last told.
    pub fn report_usage(&mut self, shared: &Shared) {
        let Some(log) = &mut self.log else { return };
        let counters = log.writer.counters();
        let (bytes, messages) = log.reported;
        let sealed = (counters.sealed_bytes, counters.sealed_messages);
        if sealed != log.reported
            && shared.note_usage(log.writer.dek(), sealed.0 - bytes, sealed.1 - messages)
        {
            log.reported = sealed;
        }
    }

    /// What INFO tells of it.
    pub fn report(&self) -> LogReport {
        let Some(log) = &self.log else {
            return LogReport::default();
        };
        let counters = log.writer.counters();
        LogReport {
            on: true,
            bytes: counters.written_bytes,
            appended: counters.effect_bytes,
            records: counters.records,
            frames: counters.frames,
            syncs: counters.syncs,
            pending: log.writer.backlog() as u64,
            in_flight: log.in_flight,
            refusal: log
                .writer
                .accepts()
                .err()
                .map(|refusal| refusal.to_string()),
            segments: counters.segments,
            sealed: (counters.sealed_messages, counters.sealed_bytes),
            opened: log.opened,
            open_failures: 0,
        }
    }
}

impl Running {
    fn new(writer: Writer, disk: Arc<RealDisk>, kind: Kind) -> Running {
        Running {
            kind,
            started: false,
            opened: (0, 0),
            reported: (0, 0),
            writer,
            disk,
            files: Files::default(),
            pending: Vec::new(),
            free: Vec::new(),
            ops: Vec::new(),
            finished: Finished::default(),
            errands: 0,
            last_ticket: 0,
            in_flight: 0,
            given: VecDeque::new(),
        }
    }

    /// Remembers when a ticket was given, to the millisecond.
    fn note(&mut self, now_us: u64) {
        if self.given.back().is_none_or(|(_, at)| now_us - at >= 1000) {
            self.given.push_back((self.last_ticket, now_us));
        }
    }

    fn start(&mut self, id: OpId, what: Await, since_us: u64, ring: &mut Ring) {
        let index = self.free.pop().unwrap_or_else(|| {
            self.pending.push(None);
            (self.pending.len() - 1) as u32
        });
        let token = Token::new(self.kind, 0, index);
        let file = match &what {
            Await::Write { file, .. } | Await::Sync { file } => *file,
        };
        let Some(file) = &self.files[file.index()] else {
            unreachable!("the writer names open files only");
        };
        let fd = file.raw_fd();
        match &what {
            Await::Write {
                offset, dsync, buf, ..
            } => {
                // SAFETY: the bytes are on the heap behind `buf`, which stays in `pending` until
                // this token's completion takes it out.
                unsafe { ring.write(fd, buf.bytes(), *offset, *dsync, token) };
            }
            Await::Sync { .. } => ring.sync(fd, token),
        }
        self.pending[index as usize] = Some(Pending { id, since_us, what });
        self.in_flight += 1;
    }
}
