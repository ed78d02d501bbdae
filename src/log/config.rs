//! What a log is told when it is opened, and the words it is driven with.

use std::fmt;
use std::time::Duration;

use super::format::{
    CHECKPOINT_LABEL, FrameHeader, HEADER_LEN, MAX_FRAME_LEN, MAX_TENANT, SEGMENT_LABEL,
};
use super::unit::LogEnd;
use crate::disk::{BLOCK, Sealed, Work, round_up};
use crate::seal::Backend;

/// When a write counts as done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// When it is durable. One durable write at a time; all that is appended meanwhile goes into
    /// the next one.
    Always,
    /// At once; durable within the second.
    EverySec,
    /// At once; durable when the device sees fit, and at the end of each segment.
    No,
}

/// What a chain of segments is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chain {
    /// A log: it grows while the run lasts, and an anchor says how far it is durable.
    Log,
    /// One core's part of a checkpoint: it is written once, and a manifest says where it ends.
    Checkpoint,
}

impl Chain {
    /// The label under which its segments' keys are derived.
    pub(super) fn label(self) -> &'static str {
        match self {
            Chain::Log => SEGMENT_LABEL,
            Chain::Checkpoint => CHECKPOINT_LABEL,
        }
    }

    /// Whether it has an anchor.
    pub(super) fn anchored(self) -> bool {
        self == Chain::Log
    }
}

/// The settings of one core's log.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// What is written.
    pub chain: Chain,
    /// This core, below `cores`.
    pub core: u16,
    /// How many cores, each with its log, this run has.
    pub cores: u16,
    /// The server's identity; files of another are refused.
    pub node: [u8; 16],
    /// Whose data it is; empty for the default tenant. At most [`MAX_TENANT`] bytes.
    pub tenant: String,
    /// When a write counts as done.
    pub policy: Policy,
    /// How long a frame may wait for more under `everysec` and `no`.
    pub batch_window: Duration,
    /// How often `everysec` syncs.
    pub sync_interval: Duration,
    /// How often the anchor is written at most, but for the end of a segment or of the run.
    pub anchor_interval: Duration,
    /// Bytes of a segment file; rounded up to blocks, and to room for three of the longest frames.
    pub segment_size: u64,
    /// Bytes at which a frame is closed under `everysec` and `no`.
    pub frame_target: usize,
    /// Bytes a frame has at most; rounded up to blocks, at most [`MAX_FRAME_LEN`].
    pub frame_max: usize,
    /// Writes under way at a time under `everysec` and `no`.
    pub writes_in_flight: usize,
    /// Writes under way at a time under `always`: enough that the disk is not idle while the core
    /// learns that one has ended, few enough that what arrives meanwhile is written together.
    pub durable_writes_in_flight: usize,
    /// Whose code seals.
    pub backend: Backend,
}

impl LogConfig {
    /// The same for the core's part of a checkpoint, in segments of `segment_size` bytes.
    pub fn for_checkpoint(self, segment_size: u64) -> LogConfig {
        LogConfig {
            chain: Chain::Checkpoint,
            policy: Policy::No,
            segment_size,
            frame_target: 256 << 10,
            ..self
        }
    }

    /// The defaults for core `core` of `cores`.
    pub fn new(core: u16, cores: u16, node: [u8; 16]) -> LogConfig {
        LogConfig {
            chain: Chain::Log,
            core,
            cores,
            node,
            tenant: String::new(),
            policy: Policy::EverySec,
            batch_window: Duration::from_millis(5),
            sync_interval: Duration::from_secs(1),
            anchor_interval: Duration::from_secs(1),
            segment_size: 64 << 20,
            frame_target: 64 << 10,
            frame_max: 256 << 10,
            writes_in_flight: 8,
            durable_writes_in_flight: 4,
            backend: Backend::AwsLc,
        }
    }

    /// The same with every bound kept.
    pub(super) fn sound(mut self) -> LogConfig {
        assert!(self.core < self.cores, "a core is one of the run's cores");
        assert!(
            self.tenant.len() <= MAX_TENANT,
            "a tenant's name fits the header"
        );
        self.frame_max = round_up(self.frame_max.clamp(BLOCK, MAX_FRAME_LEN));
        self.frame_target = self.frame_target.clamp(1, self.frame_max);
        let room = HEADER_LEN + 3 * self.frame_max + FrameHeader::len_for(0);
        self.segment_size = self
            .segment_size
            .max(room as u64)
            .next_multiple_of(BLOCK as u64);
        self.writes_in_flight = self.writes_in_flight.max(1);
        self.durable_writes_in_flight = self.durable_writes_in_flight.max(1);
        self
    }
}

/// Where a core's log takes up: what recovery found ([`super::Recovered::start`]).
#[derive(Clone, Debug, Default)]
pub struct Start {
    /// This run's number, above every earlier one.
    pub run: u64,
    /// The run before that counts, 0 if there is none.
    pub prev_run: u64,
    /// Where its logs ended (all of them, on every core; only core 0 writes them down).
    pub ends: Vec<LogEnd>,
    /// Files of this core nobody needs any more: they are recycled as segments.
    pub spares: Vec<String>,
    /// The newest generation in this core's anchor file.
    pub anchor_generation: u64,
    /// The oldest run that recovery still needs.
    pub begin_run: u64,
}

/// Names one operation under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OpId(pub u64);

/// A small number that stands for an open file: an index below [`FileNo::COUNT`], as into a ring's table of
/// fixed files. It is given out again after its [`Op::Close`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileNo(pub u8);

impl FileNo {
    /// One more than the highest number there is.
    pub const COUNT: usize = 16;
    /// The anchor file, always.
    pub const ANCHOR: FileNo = FileNo(0);

    /// As an index.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// An operation to start now. Each but `Close` is answered with [`super::Writer::done`].
#[derive(Debug)]
pub enum Op {
    /// Write `buf` at `offset`; with `dsync` as RWF_DSYNC. Answer [`Done::Written`].
    Write {
        /// Its name.
        id: OpId,
        /// The file.
        file: FileNo,
        /// Where, in bytes; a multiple of a block.
        offset: u64,
        /// What; it has to stay alive until the answer, which gives it back.
        buf: Sealed,
        /// Whether it has to be durable when it is answered.
        dsync: bool,
    },
    /// fdatasync. Answer [`Done::Synced`].
    Sync {
        /// Its name.
        id: OpId,
        /// The file.
        file: FileNo,
    },
    /// Run an errand with [`crate::disk::Disk::perform`], where blocking hurts nobody; then keep the file
    /// it gives (if it gives one) under the number `file`. Answer [`Done::Performed`].
    Perform {
        /// Its name.
        id: OpId,
        /// The number the file goes by from the answer on; `None` if the errand gives none.
        file: Option<FileNo>,
        /// The errand.
        work: Work,
    },
    /// Close the file: nothing is under way on it, nothing more will come. No answer.
    Close {
        /// The file.
        file: FileNo,
    },
}

/// What came of an operation.
#[derive(Debug)]
pub enum Done {
    /// The buffer, and how many of its bytes were written.
    Written(Sealed, usize),
    /// The file is synced.
    Synced,
    /// The errand is done, and the file is open under its number.
    Performed,
}

/// Names a unit in one core's log of one run: its LSN. Tickets are counted from 1; 0 stands for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Ticket(pub u64);

/// Why a write command must not run now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No space could be reserved; it is tried again every second.
    DiskFull(String),
    /// A durable write or a sync failed: this log is over, and so is the core.
    Failed(String),
    /// The log is closing.
    Closing,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::DiskFull(why) => write!(
                f,
                "MISCONF Errors writing to the AOF file: {why}. Writes are refused until there is space again"
            ),
            Refusal::Failed(why) => {
                write!(
                    f,
                    "MISCONF Errors writing to the AOF file: {why}. This core accepts no more writes"
                )
            }
            Refusal::Closing => write!(f, "MISCONF The server is shutting down"),
        }
    }
}

impl std::error::Error for Refusal {}

/// What a log has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogCounters {
    /// Units appended.
    pub units: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes of their effects.
    pub effect_bytes: u64,
    /// Frames sealed and handed out for writing.
    pub frames: u64,
    /// Bytes handed out for writing.
    pub written_bytes: u64,
    /// Syncs done.
    pub syncs: u64,
    /// Anchors written.
    pub anchors: u64,
    /// Segments begun.
    pub segments: u64,
    /// How many of them took an old file.
    pub recycled: u64,
    /// Messages sealed, frames and anchors.
    pub sealed_messages: u64,
    /// Bytes sealed.
    pub sealed_bytes: u64,
}
