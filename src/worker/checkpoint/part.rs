//! One core's part of a checkpoint, written slot by slot between ticks, while commands run.
//!
//! Laws: a part never takes a core longer than [`STEP`] a tick, but for a
//! value that is not cut (a stream, a string), and of a core that serves clients a
//! fourth of the time; it waits for the disk, not the disk for it.

use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::super::logdrive::LogDrive;
use super::super::shared::Shared;
use crate::disk::real::RealDisk;
use crate::envelope::Dek;
use crate::log::{LogConfig, LogEnd, Slots, Start, Writer};
use crate::net::ring::{Kind, Ring};
use crate::seal::Backend;
use crate::shard::{Keyspace, Ms, Pace, Scribe, Shard};

/// What a part may take of a tick of a core that has nothing else to do.
const STEP: Duration = Duration::from_micros(200);
/// What it takes of any other at least; else a third of what the tick has taken so far.
const LEAST_STEP: Duration = Duration::from_micros(30);
/// Bytes of effects made in one go; the clock is looked at in between.
const BITE: usize = 8 << 10;
/// Bytes of effects that wait for the disk above which no more are made.
const BACKLOG: usize = 4 << 20;
/// Bytes of a segment of a part: at least, and at most.
const SEGMENT: (u64, u64) = (1 << 20, 64 << 20);

/// What it takes to write parts.
pub struct Place {
    /// The directory.
    pub disk: Arc<RealDisk>,
    /// The Dek of this core's parts.
    pub dek: Arc<Dek>,
    /// The server's identity.
    pub node: [u8; 16],
    /// Whose code seals.
    pub backend: Backend,
}

/// A part that is being written.
pub(super) struct Part {
    drive: LogDrive,
    scribe: Scribe,
    closing: bool,
    failed: Option<String>,
}

/// How a part stands.
pub(super) enum Progress {
    /// It is being written.
    Going,
    /// It is written and durable: where it ends, how many keys it has, how many bytes.
    Written(LogEnd, u64, u64),
    /// It will not be written, for this reason, and the kernel works on none of it any more.
    Failed(String),
}

impl Part {
    /// Begins to write the part of checkpoint `number` of a shard of about `bytes` bytes.
    pub(super) fn begin(
        number: u64,
        place: &Place,
        (core, cores): (usize, usize),
        shard: &Shard,
    ) -> Part {
        let segment = (shard.bytes_used() as u64 / 8).clamp(SEGMENT.0, SEGMENT.1);
        let config = LogConfig::new(core as u16, cores as u16, place.node);
        let config = LogConfig {
            backend: place.backend,
            ..config.for_checkpoint(segment)
        };
        let start = Start {
            run: number,
            ..Start::default()
        };
        let writer = Writer::new(config, place.dek.clone(), start);
        Part {
            drive: LogDrive::begin(writer, place.disk.clone(), segment, Kind::Checkpoint),
            scribe: Scribe::new(shard),
            closing: false,
            failed: None,
        }
    }

    /// Takes note of what has happened and is being logged. Of the slot that is half written, it is written again; to slots
    /// that are written it belongs to what the log has beyond their marks, and slots to come will have it.
    pub(super) fn hear(&mut self, effects: &[u8]) {
        self.scribe.hear(effects);
    }

    /// Whether there is something to be done now.
    pub(super) fn is_busy(&self) -> bool {
        !self.closing
            && self.failed.is_none()
            && self.drive.is_running()
            && self.drive.backlog() < BACKLOG
    }

    /// Whether an errand of it runs on the executor.
    pub(super) fn has_errands(&self) -> bool {
        self.drive.has_errands()
    }

    /// When it has to be driven without other events, in monotonic microseconds.
    pub(super) fn deadline(&self) -> Option<u64> {
        self.drive.deadline()
    }

    /// An operation of it ended on the ring.
    pub(super) fn completed(&mut self, index: u32, result: i32, now_us: u64, ring: &mut Ring) {
        self.drive.completed(index, result, now_us, ring);
    }

    /// Keys written so far.
    pub(super) fn keys(&self) -> u64 {
        self.scribe.keys()
    }

    /// Writes slots out for a moment: until the time is up, or the disk lags behind, or all is written. Everything that
    /// has happened to the shard is in the log below the LSN `below`. `busy` is what the tick has taken so far, if it had
    /// anything to do.
    pub(super) fn write(
        &mut self,
        ks: &mut Keyspace,
        core: usize,
        now: Ms,
        below: u64,
        (now_us, busy): (u64, Option<Duration>),
    ) {
        let pace = Pace {
            bite: BITE,
            bytes: BACKLOG,
            time: busy.map_or(STEP, |busy| (busy / 3).clamp(LEAST_STEP, STEP)),
        };
        let Range { start, end } = self.scribe.write(ks, core, pace, now);
        let made = &mut self.scribe.made;
        if !made.is_empty() {
            self.drive.append(&made.buf, made.records, now_us);
            made.clear();
        }
        // Of a slot that is half written nothing is said yet.
        if start < end {
            let first = start;
            self.drive.append_marks(&[Slots { first, end, below }]);
        }
        if self.scribe.is_done() {
            self.closing = true;
            self.drive.close();
        }
    }

    /// Has the disk do its share.
    pub(super) fn drive(&mut self, now_us: u64, ring: &mut Ring, bell: &Rc<dyn Fn()>) -> Progress {
        self.drive.drive(now_us, ring, bell);
        if self.failed.is_none() && self.drive.end().is_none() {
            let why = self.drive.failure().or(self.drive.full());
            if let Some(why) = why.map(str::to_owned) {
                self.fail(&why);
            }
        }
        match &self.failed {
            _ if !self.drive.closed() => Progress::Going,
            Some(why) => Progress::Failed(why.clone()),
            None => match self.drive.end() {
                Some(end) => Progress::Written(end, self.scribe.keys(), self.drive.report().bytes),
                None => Progress::Going,
            },
        }
    }

    /// Whether nothing more of the shard will be written.
    pub(super) fn is_over(&self) -> bool {
        self.closing || self.failed.is_some()
    }

    /// Whether it holds a key of the shard.
    pub(super) fn holds(&self) -> bool {
        self.scribe.holds()
    }

    /// Lets go of the key that it holds.
    pub(super) fn let_go(&mut self, shard: &mut Shard) {
        self.scribe.let_go(shard);
    }

    /// Gives it up; what the kernel works on has to come back before the buffers may go.
    pub(super) fn fail(&mut self, why: &str) {
        if self.failed.is_none() {
            self.failed = Some(why.to_owned());
            self.drive.abandon(why);
        }
    }

    /// Tells the keyring what was sealed.
    pub(super) fn report_usage(&mut self, shared: &Shared) {
        self.drive.report_usage(shared);
    }
}
