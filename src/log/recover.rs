//! Recovery: every log of every run, in order of runs, in parallel inside a run.
//!
//! The logs of one run touch disjoint slots, so each is read, opened and applied on a thread of
//! its own; between runs is a barrier. If a run had as many logs as there are shards now, log `i`
//! goes straight to shard `i`, on one thread, without a copy. Otherwise the caller's router splits
//! the effects by slot into one buffer per shard, and full buffers travel to one thread per shard;
//! the buffers come back, so nothing is allocated per record.
//!
//! Transactions: every participant's log holds the whole of it. At the end of a run, a participant
//! whose log lost it takes its part from any log that has it, in the order of its LSNs.

use std::collections::BTreeMap;

use super::base::{Base, Floors};
use super::config::Start;
use super::error::LogError;
use super::feed;
use super::format::segment_name;
use super::parts;
use super::replay::{Finished, Tail};
use super::scan::{Plan, RunPlan};
use super::unit::LogEnd;
use crate::disk::{Disk, DiskFile};

/// Applies effects to one shard.
pub trait Sink: Send {
    /// Applies encoded effects in their order: one or more units, back to back.
    ///
    /// # Errors
    /// What is wrong with them, in words; recovery stops with [`LogError::Effects`].
    fn apply(&mut self, effects: &[u8]) -> Result<(), String>;

    /// Applies this shard's part of a transaction that its own log lost, and with it perhaps the
    /// units just before: an effect may find less than it found when it was made.
    ///
    /// # Errors
    /// As [`Sink::apply`], which this is unless it is told otherwise.
    fn apply_part(&mut self, effects: &[u8]) -> Result<(), String> {
        self.apply(effects)
    }
}

/// Splits encoded effects by the shard that owns their slots now.
pub trait Router: Sync {
    /// Appends each effect of `effects`, in order, to the buffer of its shard (of every shard
    /// it concerns).
    ///
    /// # Errors
    /// What is wrong with them, in words.
    fn route(&self, effects: &[u8], shards: &mut [Vec<u8>]) -> Result<(), String>;

    /// Appends those of `effects`, in order, that concern slots for which `lacks` says yes; one of
    /// several slots is narrowed to those.
    ///
    /// # Errors
    /// What is wrong with them, in words.
    fn pick(
        &self,
        effects: &[u8],
        lacks: &dyn Fn(u16) -> bool,
        into: &mut Vec<u8>,
    ) -> Result<(), String>;
}

/// How one log of the newest run ended.
#[derive(Clone, Debug)]
pub struct LogTail {
    /// The run.
    pub run: u64,
    /// The core.
    pub core: u16,
    /// How it ended.
    pub tail: Tail,
    /// Whether a unit was begun and not finished; it was dropped.
    pub unfinished: bool,
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecoveryCounters {
    /// Runs read.
    pub runs: u64,
    /// Frames opened.
    pub frames: u64,
    /// Bytes of frames.
    pub bytes: u64,
    /// Units applied.
    pub units: u64,
    /// Records in them, as their writer counted.
    pub records: u64,
    /// Parts of transactions that were taken from another participant's log.
    pub parts_taken: u64,
}

/// What recovery found, and where the logs take up.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// The newest run that counts, 0 if there was none.
    pub run: u64,
    /// What was done.
    pub counters: RecoveryCounters,
    /// Frames opened and their bytes, by the core that had written them.
    pub opened: BTreeMap<u16, (u64, u64)>,
    /// How the logs of the newest run ended, for the server's log.
    pub tails: Vec<LogTail>,
    next_run: u64,
    begin_run: u64,
    ends: Vec<LogEnd>,
    generations: BTreeMap<u16, u64>,
    garbage: Vec<(u16, String)>,
}

impl Recovered {
    /// Where core `core` of `cores` takes up.
    pub fn start(&self, core: u16, cores: u16) -> Start {
        let mine = |c: u16| c % cores == core;
        Start {
            run: self.next_run,
            prev_run: self.run,
            ends: self.ends.clone(),
            spares: self
                .garbage
                .iter()
                .filter(|g| mine(g.0))
                .map(|g| g.1.clone())
                .collect(),
            anchor_generation: self.generations.get(&core).copied().unwrap_or(0),
            begin_run: self.begin_run,
        }
    }

    /// The number of the run that begins now.
    pub fn next_run(&self) -> u64 {
        self.next_run
    }

    /// Files that nobody needs.
    pub fn unneeded(&self) -> impl Iterator<Item = &str> {
        self.garbage.iter().map(|(_, name)| name.as_str())
    }

    /// Where the logs of the newest run end.
    pub fn ends(&self) -> &[LogEnd] {
        &self.ends
    }
}

/// Replays a plan into the shards: `sinks[i]` is shard `i` of as many as there are now. They hold what
/// `base` says, if there is one; of its run only what it lacks is applied.
///
/// What the newest run left is synced before it is read, so that what was recovered once stays.
///
/// # Errors
/// The first refusal; the sinks then hold a part of the data, which must not be served.
pub fn recover<D: Disk, S: Sink>(
    disk: &D,
    plan: Plan,
    base: Option<&Base>,
    sinks: &mut [S],
    router: &dyn Router,
) -> Result<Recovered, LogError> {
    let mut recovered = Recovered {
        run: 0,
        counters: RecoveryCounters::default(),
        opened: BTreeMap::new(),
        tails: Vec::new(),
        next_run: plan.next_run,
        begin_run: plan.begin_run,
        ends: Vec::new(),
        generations: plan.anchor_generations,
        garbage: plan.garbage,
    };
    let last = plan.runs.len();
    for (i, run) in plan.runs.into_iter().enumerate() {
        if i + 1 == last {
            sync_all(disk, &run)?;
        }
        let number = run.run;
        let floors = base.filter(|b| b.begin.run == number);
        let floors = floors.map_or(&[][..], |b| &b.floors);
        let reads = replay_run(disk, run, floors, sinks, router, &mut recovered)?;
        recovered.run = number;
        recovered.counters.runs += 1;
        recovered.ends = reads.iter().map(|r| r.end).collect();
        if i + 1 == last {
            for r in reads {
                let (core, tail, unfinished) = (r.end.core, r.tail, r.unfinished);
                recovered
                    .garbage
                    .extend(r.leftover.into_iter().map(|name| (core, name)));
                recovered.tails.push(LogTail {
                    run: number,
                    core,
                    tail,
                    unfinished,
                });
            }
        }
    }
    Ok(recovered)
}

/// A killed process may have left writes in the page cache or the device's; once they are served
/// and built upon, they must not vanish. Segments before the one the anchor names are durable.
fn sync_all<D: Disk>(disk: &D, run: &RunPlan) -> Result<(), LogError> {
    for log in &run.logs {
        let anchored = log.anchor.map_or(0, |a| a.seq);
        for segment in log.segments.iter().filter(|s| s.seq >= anchored) {
            let io = |e| LogError::io(&segment.name, e);
            disk.open(&segment.name).map_err(io)?.sync().map_err(io)?;
        }
    }
    Ok(())
}

fn replay_run<D: Disk, S: Sink>(
    disk: &D,
    run: RunPlan,
    floors: &[Floors],
    sinks: &mut [S],
    router: &dyn Router,
    recovered: &mut Recovered,
) -> Result<Vec<Finished>, LogError> {
    let (number, direct) = (run.run, run.logs.len() == sinks.len());
    let reads = match direct {
        true => feed::direct(disk, run.logs, floors, sinks, router)?,
        false => feed::routed(disk, run.logs, floors, sinks, router)?,
    };
    for r in &reads {
        // The checkpoint counted only when the log was durable as far as its marks go.
        let most = floors.get(usize::from(r.core)).map_or(0, Floors::most);
        if r.finished.end.end_lsn < most {
            return Err(LogError::Content {
                file: segment_name(number, r.core, r.finished.end.seq),
                offset: r.finished.end.link.len,
                what: "an end below what the checkpoint has of it",
            });
        }
    }
    let counters = &mut recovered.counters;
    for r in &reads {
        let opened = recovered.opened.entry(r.core).or_default();
        opened.0 += r.counters.frames;
        opened.1 += r.counters.bytes;
        counters.units += r.units;
        counters.records += r.records;
        counters.frames += r.counters.frames;
        counters.bytes += r.counters.bytes;
    }
    counters.parts_taken += parts::hand_out(&reads, direct, sinks, router)?;
    Ok(reads.into_iter().map(|r| r.finished).collect())
}
