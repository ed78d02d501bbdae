//! The writer of one core's log: a state machine without I/O, clock or thread.
//!
//! Effects go in ([`Writer::append`]), operations come out ([`Writer::poll`]), completions go in
//! ([`Writer::done`]), and [`Writer::durable`] moves. The worker carries the operations out on its
//! ring; tests carry them out on a simulated disk and crash it.
//!
//! A log's life: `Opening` (anchor file, first segment, opening frame: durable) -> `Opened` (all
//! cores wait for each other) -> `Anchoring` (the anchor names this run) -> `Running` -> `Closing`
//! (everything written, seal frame, synced, last anchor) -> `Closed`. No frame with data is handed
//! out before `Running`, so a run without a single anchor holds nothing, and can be ignored.
//!
//! Rejected: sealing when a frame is closed rather than when its turn comes. Sealed late, a frame
//! carries the newest claim of what is durable, and under `always` what arrives during one write
//! still joins the next frame.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use super::anchor::AnchorKey;
use super::compose::{Composer, Filling};
use super::config::{FileNo, LogConfig, LogCounters, OpId, Policy, Refusal, Start, Ticket};
use super::format::{FrameHeader, FrameKind, Link, SegmentId};
use super::unit::{LogEnd, Opening, Slots, Tx, UnitHead, UnitKind};
use crate::disk::Pool;
use crate::envelope::{Dek, DekId};
use crate::seal::FileKey;

/// Where the log is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Opening,
    Opened,
    Anchoring,
    Running,
    Closing,
    Closed,
}

/// A file that waits to become a segment.
pub(super) struct Blank {
    pub(super) file: FileNo,
    pub(super) seq: u64,
    pub(super) recycled: bool,
}

/// The segment that is being written.
pub(super) struct Segment {
    pub(super) file: FileNo,
    /// Bytes handed out so far.
    pub(super) len: u64,
    pub(super) key: FileKey,
    pub(super) id: SegmentId,
    /// The tag of the last frame.
    pub(super) tag: [u8; 16],
}

impl Segment {
    pub(super) fn link(&self) -> Link {
        Link {
            id: self.id,
            len: self.len,
            tag: self.tag,
        }
    }
}

/// A segment some of whose frames are not known durable; the youngest is the one being written.
pub(super) struct Loose {
    pub(super) file: FileNo,
    pub(super) seq: u64,
    pub(super) id: SegmentId,
    /// The number of its first frame.
    pub(super) first: u64,
    /// The number after its last frame, once it is sealed.
    pub(super) end: Option<u64>,
    /// All its frames below this number are durable.
    pub(super) synced: u64,
    pub(super) syncing: bool,
}

/// What an operation under way is for.
pub(super) enum Doing {
    AnchorFile,
    Blank(Blank),
    Frame {
        file: FileNo,
        number: u64,
        dsync: bool,
    },
    Sync {
        file: FileNo,
        covers: u64,
    },
    Anchor {
        durable: u64,
        last: bool,
    },
    Remove,
}

/// A frame that was handed out.
pub(super) struct Flight {
    pub(super) written: bool,
    /// Whether the write that carries it is a durable one.
    pub(super) dsync: bool,
    /// The LSN of the last unit that ends in it, 0 if none does.
    pub(super) complete: u64,
}

/// The writer of one core's log.
pub struct Writer {
    pub(super) config: LogConfig,
    pub(super) dek: Arc<Dek>,
    pub(super) start: Start,
    pub(super) phase: Phase,
    pub(super) failed: Option<String>,
    pub(super) now: u64,
    pub(super) composer: Composer,
    pub(super) counters: LogCounters,

    pub(super) segment: Option<Segment>,
    /// Where the segment before ended, while the next is not begun.
    pub(super) prev: Link,
    pub(super) next_frame: u64,
    pub(super) next_seq: u64,
    /// The segment that was sealed last.
    pub(super) sealed_seq: u64,
    pub(super) blanks: VecDeque<Blank>,
    pub(super) spares: VecDeque<String>,
    pub(super) loose: VecDeque<Loose>,
    /// The frames that are not known durable, by number from `durable_frames` on.
    pub(super) flights: VecDeque<Flight>,
    /// The open frame is not to wait for more.
    pub(super) hurried: bool,
    /// Somebody waits until this LSN is durable: it is synced as soon as it is written.
    pub(super) awaited: u64,
    /// The last LSN all of whose frames are written.
    pub(super) written_lsn: u64,
    /// All frames below are written.
    pub(super) written: u64,
    /// All frames below are durable.
    pub(super) durable_frames: u64,
    pub(super) durable_lsn: u64,
    pub(super) writes_under_way: usize,
    pub(super) last_sync: Option<u64>,
    pub(super) sealed_last: bool,

    /// Why no file could be made, while it cannot.
    pub(super) full: Option<String>,
    pub(super) retry_at: u64,
    pub(super) preparing: bool,
    /// A frame waits for a file.
    pub(super) blocked: bool,
    /// The segment that was begun by the last [`Writer::roll`].
    pub(super) rolled: Option<u64>,
    /// That is still to be begun.
    pub(super) rolling: bool,

    pub(super) anchor_key: Option<AnchorKey>,
    pub(super) anchor_ready: bool,
    pub(super) anchor_busy: bool,
    pub(super) anchor_forced: bool,
    pub(super) anchor_said: u64,
    pub(super) anchor_at: Option<u64>,
    pub(super) anchor_generation: u64,
    pub(super) anchor_seq: (u64, SegmentId),
    pub(super) anchor_pool: Pool,
    pub(super) begin_seq: u64,

    pub(super) under_way: Vec<(OpId, Doing)>,
    pub(super) next_op: u64,
    pub(super) files: u16,
    pub(super) to_close: Vec<FileNo>,
    /// Files that were released, before and while the anchor that says so is written.
    pub(super) to_release: Vec<String>,
    pub(super) releasing: Vec<String>,
}

impl Writer {
    /// A log that is not open yet: `poll` and `done` open it.
    pub fn new(config: LogConfig, dek: Arc<Dek>, start: Start) -> Writer {
        assert!(start.run > start.prev_run, "runs go up");
        let ends = if config.core == 0 {
            start.ends.clone()
        } else {
            Vec::new()
        };
        let opening = Opening {
            run: start.run,
            prev_run: start.prev_run,
            ends,
        }
        .encode();
        let mut config = config;
        config.frame_max = config.frame_max.max(FrameHeader::len_for(opening.len()));
        let config = config.sound();
        let spares: VecDeque<String> = start.spares.iter().cloned().collect();
        let keep = config.writes_in_flight.max(config.durable_writes_in_flight) + 4;
        let mut composer = Composer::new(config.frame_max, config.frame_target, keep);
        let mut frame = Filling::new(composer.pool.take(), FrameKind::Open, 1);
        frame.push(&opening);
        composer.ready.push_back(frame);
        Writer {
            dek,
            phase: Phase::Opening,
            failed: None,
            now: 0,
            composer,
            counters: LogCounters::default(),
            segment: None,
            prev: Link::default(),
            next_frame: 0,
            next_seq: 0,
            sealed_seq: 0,
            blanks: VecDeque::new(),
            spares,
            loose: VecDeque::new(),
            flights: VecDeque::new(),
            written_lsn: 0,
            hurried: false,
            awaited: 0,
            written: 0,
            durable_frames: 0,
            durable_lsn: 0,
            writes_under_way: 0,
            last_sync: None,
            sealed_last: false,
            full: None,
            retry_at: 0,
            preparing: false,
            blocked: false,
            rolled: None,
            rolling: false,
            anchor_key: None,
            anchor_ready: !config.chain.anchored(),
            anchor_busy: false,
            anchor_forced: false,
            anchor_said: 0,
            anchor_at: None,
            anchor_generation: start.anchor_generation,
            anchor_seq: (0, [0; 16]),
            anchor_pool: Pool::new(crate::disk::BLOCK, 1),
            begin_seq: 0,
            under_way: Vec::with_capacity(32),
            next_op: 0,
            files: 1,
            to_close: Vec::new(),
            to_release: Vec::new(),
            releasing: Vec::new(),
            config,
            start,
        }
    }

    /// Appends one tick's effects of this shard: at recovery all of them are there or none.
    ///
    /// The bytes are copied. They are not looked at; `records` is only counted. Call it only when
    /// [`Writer::accepts`] says so; a log that has failed swallows them, and no ticket of it is
    /// ever durable.
    pub fn append(&mut self, effects: &[u8], records: u32) -> Ticket {
        self.composer.begin(UnitHead {
            kind: UnitKind::Effects,
            records,
            len: effects.len() as u64,
        });
        self.composer.put(effects);
        self.appended(records, effects.len())
    }

    /// Appends marks of slots, of which a checkpoint has all effects up to an LSN ([`Slots`]).
    pub fn append_marks(&mut self, marks: &[Slots]) -> Ticket {
        let bytes: Vec<u8> = marks.iter().flat_map(Slots::encode).collect();
        self.composer.begin(UnitHead {
            kind: UnitKind::Slots,
            records: marks.len() as u32,
            len: bytes.len() as u64,
        });
        self.composer.put(&bytes);
        self.appended(0, 0)
    }

    /// Appends a cross-shard transaction, whole, as each of its participants has to.
    ///
    /// # Errors
    /// [`Refusal::Failed`], and this log with it, if this core's part is missing or was given
    /// another LSN than [`Writer::next_lsn`]: the transaction could not be recovered.
    pub fn append_tx(&mut self, tx: &Tx<'_>) -> Result<Ticket, Refusal> {
        let mine = tx.parts.iter().find(|p| p.core == self.config.core);
        let ordered = tx.parts.windows(2).all(|w| w[0].core < w[1].core);
        if mine.is_none_or(|p| p.lsn != self.next_lsn()) || !ordered {
            let why = format!("transaction {} was logged out of its place", tx.id);
            self.fail(&why);
            return Err(Refusal::Failed(why));
        }
        let records = tx
            .parts
            .iter()
            .fold(0u32, |n, p| n.saturating_add(p.records));
        self.composer.begin(UnitHead {
            kind: UnitKind::Tx,
            records,
            len: tx.len(),
        });
        self.composer.put(&tx.head());
        for part in tx.parts {
            self.composer.put(&part.entry());
        }
        for part in tx.parts {
            self.composer.put(part.effects);
        }
        Ok(self.appended(records, tx.len() as usize))
    }

    fn appended(&mut self, records: u32, bytes: usize) -> Ticket {
        self.counters.units += 1;
        self.counters.records += u64::from(records);
        self.counters.effect_bytes += bytes as u64;
        Ticket(self.composer.end())
    }

    /// The LSN the next unit will have.
    pub fn next_lsn(&self) -> u64 {
        self.composer.next_lsn
    }

    /// Whether write commands may run now.
    pub fn accepts(&self) -> Result<(), Refusal> {
        if let Some(why) = &self.failed {
            return Err(Refusal::Failed(why.clone()));
        }
        if matches!(self.phase, Phase::Closing | Phase::Closed) {
            return Err(Refusal::Closing);
        }
        match &self.full {
            Some(why) => Err(Refusal::DiskFull(why.clone())),
            None => Ok(()),
        }
    }

    /// Why no file can be made for another segment, while that is so.
    pub fn full(&self) -> Option<&str> {
        self.full.as_deref()
    }

    /// Every unit up to this one is durable: survives power failure.
    pub fn durable(&self) -> Ticket {
        Ticket(self.durable_lsn)
    }

    /// Somebody waits for what was appended: the frame it is in goes out with the next poll.
    pub fn hurry(&mut self) {
        self.hurried = true;
    }

    /// Somebody waits until what was appended is durable: it is written with the next poll, and synced
    /// without waiting for its time. Returns the ticket that will be durable then.
    pub fn await_durable(&mut self) -> Ticket {
        self.awaited = self.next_lsn() - 1;
        if self.awaited > self.written().0 {
            self.hurry();
        }
        Ticket(self.awaited)
    }

    /// Every unit up to this one was taken by the disk: it survives the process, though not yet a
    /// power failure.
    pub fn written(&self) -> Ticket {
        Ticket(self.written_lsn.max(self.durable_lsn))
    }

    /// Bytes of effects that were appended and not yet handed out for writing: what the worker
    /// holds intake back by.
    pub fn backlog(&self) -> usize {
        self.composer.waiting()
    }

    /// Bytes of frames that fit into the space that is reserved already.
    pub fn room(&self) -> u64 {
        // What is left of a segment that is about to end is of no use.
        let segment = self.segment.as_ref().filter(|_| !self.rolling);
        let here = segment.map_or(0, |s| self.config.segment_size - s.len);
        here + self.blanks.len() as u64 * self.config.segment_size
    }

    /// Whether the opening frame is durable; when it is on every core, call [`Writer::start`] on every core.
    pub fn opened(&self) -> bool {
        self.phase != Phase::Opening && self.failed.is_none()
    }

    /// The logs of all cores are open: data may be written. Clients may be let in at once.
    pub fn start(&mut self) {
        assert!(
            self.phase == Phase::Opened,
            "a log is started once, when it is opened"
        );
        if self.config.chain.anchored() {
            self.phase = Phase::Anchoring;
            self.anchor_forced = true;
        } else {
            self.phase = Phase::Running;
        }
    }

    /// Whether a new segment can be begun: there is a file for it. Else one is being made, or nothing is accepted.
    pub fn can_roll(&self) -> bool {
        self.accepts().is_ok() && !self.blanks.is_empty()
    }

    /// Begins a new segment, for which [`Writer::can_roll`] has said that there is a file, whose first unit is one without effects. Returns the LSN of that unit:
    /// it and all later ones lie in that segment and later ones, and no part of an earlier one does.
    pub fn roll(&mut self) -> u64 {
        let lsn = self.next_lsn();
        self.rolled = None;
        self.rolling = true;
        self.composer.roll();
        self.append(&[], 0);
        self.hurried = true;
        lsn
    }

    /// The segment that the last [`Writer::roll`] has begun, once it is begun.
    pub fn rolled(&self) -> Option<u64> {
        self.rolled
    }

    /// Where the chain ends, once it is closed.
    pub fn end(&self) -> Option<LogEnd> {
        (self.phase == Phase::Closed && self.failed.is_none()).then(|| LogEnd {
            core: self.config.core,
            seq: self.sealed_seq,
            link: self.prev,
            frames: self.next_frame,
            end_lsn: self.next_lsn(),
            begin_seq: self.begin_seq,
        })
    }

    /// Changes when a write counts as done, from the next operation on.
    pub fn set_policy(&mut self, policy: Policy) {
        self.config.policy = policy;
    }

    /// The policy in force.
    pub fn policy(&self) -> Policy {
        self.config.policy
    }

    /// Seals later segments under another Dek.
    pub fn set_dek(&mut self, dek: Arc<Dek>) {
        self.dek = dek;
        self.anchor_key = None;
        self.anchor_forced = true;
    }

    /// Hands over files that recovery needs no more (a checkpoint has their effects); they are
    /// recycled as segments. Earlier runs are released whole: `begin_run` is the oldest run still
    /// needed, and `begin_seq`, if it is not 0, says that no earlier run is, nor any segment of this one
    /// below it. `files` are those of this core that this concerns. The next anchor
    /// says so, and only when it is durable are the files touched.
    pub fn release(&mut self, begin_run: u64, begin_seq: u64, files: Vec<String>) {
        let least = if begin_seq > 0 {
            self.start.run
        } else {
            begin_run
        };
        self.start.begin_run = least.max(self.start.begin_run);
        self.begin_seq = begin_seq.max(self.begin_seq);
        // A directory may have been listed before all that was released earlier was recycled.
        let known: HashSet<&String> = self
            .spares
            .iter()
            .chain(&self.to_release)
            .chain(&self.releasing)
            .collect();
        let new: Vec<String> = files.into_iter().filter(|f| !known.contains(f)).collect();
        self.to_release.extend(new);
        self.anchor_forced = true;
    }

    /// Begins to close: what was appended is written, sealed off, synced, and the anchor says so.
    /// Poll until [`Writer::closed`].
    pub fn close(&mut self) {
        self.phase = match self.phase {
            Phase::Anchoring | Phase::Running => Phase::Closing,
            Phase::Opening | Phase::Opened => Phase::Closed,
            done => done,
        };
    }

    /// Whether nothing is under way and nothing will come: closed, or failed.
    pub fn closed(&self) -> bool {
        self.under_way.is_empty() && (self.phase == Phase::Closed || self.failed.is_some())
    }

    /// The Dek its segments are sealed under.
    pub fn dek(&self) -> &DekId {
        &self.dek.id
    }

    /// Ends it here: nothing more is handed out, and nothing of it is to be relied on.
    pub fn abandon(&mut self, why: &str) {
        self.fail(why);
    }

    /// Why this log is over, if it failed.
    pub fn failure(&self) -> Option<&str> {
        self.failed.as_deref()
    }

    /// What it has done so far.
    pub fn counters(&self) -> LogCounters {
        self.counters
    }

    /// Latches a failure: nothing is handed out any more, nothing becomes durable any more.
    pub(super) fn fail(&mut self, why: &str) {
        if self.failed.is_none() {
            self.failed = Some(why.to_string());
        }
    }
}
