//! What a log stands on: a checkpoint, which holds all that earlier units did.
//!
//! A checkpoint's parts are chains like logs, in a directory of their own. Each is a run of effects
//! that make slots what they were, with marks in between: slots, and the LSN below which the units of
//! the core's log are in what precedes the mark. Slots have different marks, for the part is written
//! while the log goes on. So recovery applies the parts, and of the logs of the checkpoint's
//! run only what is not below the mark of its slot.

use super::config::Chain;
use super::deks::Deks;
use super::error::LogError;
use super::feed;
use super::format::segment_name;
use super::reader::read_header;
use super::recover::{Router, Sink};
use super::scan::{LogPlan, SegmentPlan};
use super::unit::{LogEnd, Slots};
use crate::disk::Disk;
use crate::seal::Backend;
use crate::slot;

/// Where the logs begin that a checkpoint was taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begin {
    /// The run. Without a log, the run that the first log after the checkpoint has at least.
    pub run: u64,
    /// Whether there was a log: if so, its run has to be there.
    pub logged: bool,
    /// By core, the segment that holds the first unit that the checkpoint may not have.
    pub segments: Vec<u64>,
}

impl Begin {
    /// The segment the log of a core in a run begins with, as far as this says so.
    pub(super) fn of(&self, run: u64, core: u16) -> u64 {
        match self.segments.get(usize::from(core)) {
            Some(&seq) if run == self.run => seq,
            _ => 0,
        }
    }
}

/// By slot, the LSN below which one core's units are in the checkpoint.
#[derive(Clone, Debug)]
pub struct Floors {
    below: Vec<u64>,
    most: u64,
}

impl Floors {
    /// The floors of core `core` of `cores`, from its marks: every slot of the core, each once.
    fn new(marks: &[Slots], core: u16, cores: usize) -> Option<Floors> {
        let own = slot::Map::new(cores).range(usize::from(core));
        let mut below = vec![0; usize::from(slot::SLOTS)];
        for mark in marks {
            for slot in mark.first..mark.end {
                let floor = &mut below[usize::from(slot)];
                if *floor > 0 || mark.below == 0 || !own.contains(&slot) {
                    return None;
                }
                *floor = mark.below;
            }
        }
        let whole = own.clone().all(|slot| below[usize::from(slot)] > 0);
        let most = below.iter().copied().max().unwrap_or(0);
        whole.then_some(Floors { below, most })
    }

    /// The highest of them.
    pub(super) fn most(&self) -> u64 {
        self.most
    }

    /// Whether some effects of a unit with this LSN may be in the checkpoint.
    pub(super) fn concern(&self, lsn: u64) -> bool {
        lsn < self.most
    }

    /// Whether the checkpoint lacks what the unit with this LSN did to this slot.
    pub(super) fn lacks(&self, slot: u16, lsn: u64) -> bool {
        self.below
            .get(usize::from(slot))
            .is_none_or(|&below| lsn >= below)
    }
}

/// A checkpoint that was loaded: what the logs stand on.
#[derive(Clone, Debug)]
pub struct Base {
    /// Where the logs begin.
    pub begin: Begin,
    /// By core of that run.
    pub(super) floors: Vec<Floors>,
    /// Frames and bytes opened, units and records applied.
    pub frames: u64,
    /// See `frames`.
    pub bytes: u64,
    /// See `frames`.
    pub records: u64,
}

/// A part of checkpoint `number`, which ends where its manifest says.
///
/// # Errors
/// A segment that is not there, or whose header is not what it should be.
pub fn part<D: Disk>(
    disk: &D,
    number: u64,
    end: LogEnd,
    deks: &dyn Deks,
    backend: Backend,
) -> Result<LogPlan, LogError> {
    let mut segments = Vec::new();
    for seq in 0..=end.seq {
        let name = segment_name(number, end.core, seq);
        let place = (number, end.core, seq);
        let known = match read_header(disk, &name, Chain::Checkpoint, place, deks, backend) {
            Err(LogError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                return Err(LogError::MissingSegment { file: name });
            }
            other => other?,
        };
        segments.push(SegmentPlan { seq, name, known });
    }
    Ok(LogPlan {
        chain: Chain::Checkpoint,
        run: number,
        core: end.core,
        segments,
        end: Some(end),
        next_run: 0,
        anchor: None,
    })
}

/// Applies a checkpoint's parts, one for each core of its run.
///
/// # Errors
/// The first refusal; the sinks then hold a part of the data, which must not be served.
pub fn load<D: Disk, S: Sink>(
    disk: &D,
    parts: Vec<LogPlan>,
    begin: Begin,
    sinks: &mut [S],
    router: &dyn Router,
) -> Result<Base, LogError> {
    let cores = parts.len();
    let names: Vec<String> = parts
        .iter()
        .map(|p| p.segments.first().map_or(String::new(), |s| s.name.clone()))
        .collect();
    let reads = match cores == sinks.len() {
        true => feed::direct(disk, parts, &[], sinks, router)?,
        false => feed::routed(disk, parts, &[], sinks, router)?,
    };
    let mut base = Base {
        begin,
        floors: Vec::with_capacity(cores),
        frames: 0,
        bytes: 0,
        records: 0,
    };
    for read in &reads {
        let file = names
            .get(usize::from(read.core))
            .cloned()
            .unwrap_or_default();
        let floors = Floors::new(&read.marks, read.core, cores).ok_or(LogError::Content {
            file,
            offset: 0,
            what: "marks that do not name every slot of the core once",
        })?;
        base.floors.push(floors);
        base.frames += read.counters.frames;
        base.bytes += read.counters.bytes;
        base.records += read.records;
    }
    Ok(base)
}
