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
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use super::config::Start;
use super::error::LogError;
use super::replay::{Finished, ReadCounters, Replay, Tail};
use super::scan::{LogPlan, Plan, RunPlan};
use super::unit::{LogEnd, UnitKind, decode_tx};
use crate::disk::{Disk, DiskFile};

/// Bytes of effects that travel at a time.
const BATCH: usize = 256 << 10;
/// Batches that may wait for one shard.
const QUEUE: usize = 4;
/// Parts of transactions a log keeps for others before it looks which are settled, in bytes.
const KEEP: usize = 16 << 20;

/// Applies effects to one shard.
pub trait Sink: Send {
    /// Applies encoded effects in their order: one or more units, back to back.
    ///
    /// # Errors
    /// What is wrong with them, in words; recovery stops with [`LogError::Effects`].
    fn apply(&mut self, effects: &[u8]) -> Result<(), String>;
}

/// Splits encoded effects by the shard that owns their slots now.
pub trait Router: Sync {
    /// Appends each effect of `effects`, in order, to the buffer of its shard (of every shard
    /// it concerns).
    ///
    /// # Errors
    /// What is wrong with them, in words.
    fn route(&self, effects: &[u8], shards: &mut [Vec<u8>]) -> Result<(), String>;
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
            spares: self.garbage.iter().filter(|g| mine(g.0)).map(|g| g.1.clone()).collect(),
            anchor_generation: self.generations.get(&core).copied().unwrap_or(0),
            begin_run: self.begin_run,
        }
    }

    /// The number of the run that begins now.
    pub fn next_run(&self) -> u64 {
        self.next_run
    }

    /// Where the logs of the newest run end.
    pub fn ends(&self) -> &[LogEnd] {
        &self.ends
    }
}

/// A part of a transaction, kept for a participant that may have lost it.
struct Kept {
    core: u16,
    lsn: u64,
    effects: Vec<u8>,
}

/// What reading one log gave.
struct Read {
    finished: Finished,
    kept: Vec<Kept>,
    units: u64,
    records: u64,
    counters: ReadCounters,
}

/// What the threads of one run share.
struct Shared {
    /// Per core, the LSN up to which its log was read.
    progress: Vec<AtomicU64>,
    /// Per core, the end that is recorded, 0 if there is none.
    ends: Vec<u64>,
    stop: AtomicBool,
    error: Mutex<Option<LogError>>,
}

impl Shared {
    fn fail(&self, e: LogError) {
        let mut slot = self.error.lock().unwrap_or_else(|p| p.into_inner());
        slot.get_or_insert(e);
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Replays a plan into the shards: `sinks[i]` is shard `i` of as many as there are now.
///
/// What the newest run left is synced before it is read, so that what was recovered once stays.
///
/// # Errors
/// The first refusal; the sinks then hold a part of the data, which must not be served.
pub fn recover<D: Disk, S: Sink>(
    disk: &D,
    plan: Plan,
    sinks: &mut [S],
    router: &dyn Router,
) -> Result<Recovered, LogError> {
    let mut recovered = Recovered {
        run: 0,
        counters: RecoveryCounters::default(),
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
        let reads = replay_run(disk, run, sinks, router, &mut recovered.counters)?;
        recovered.run = number;
        recovered.counters.runs += 1;
        recovered.ends = reads.iter().map(|r| r.end).collect();
        if i + 1 == last {
            for r in reads {
                let (core, tail, unfinished) = (r.end.core, r.tail, r.unfinished);
                recovered.garbage.extend(r.leftover.into_iter().map(|name| (core, name)));
                recovered.tails.push(LogTail { run: number, core, tail, unfinished });
            }
        }
    }
    Ok(recovered)
}

/// A killed process may have left writes in the page cache or the device's; once they are served
/// and built upon, they must not vanish.
fn sync_all<D: Disk>(disk: &D, run: &RunPlan) -> Result<(), LogError> {
    for segment in run.logs.iter().flat_map(|l| &l.segments) {
        let io = |e| LogError::io(&segment.name, e);
        disk.open(&segment.name).map_err(io)?.sync().map_err(io)?;
    }
    Ok(())
}

fn replay_run<D: Disk, S: Sink>(
    disk: &D,
    run: RunPlan,
    sinks: &mut [S],
    router: &dyn Router,
    counters: &mut RecoveryCounters,
) -> Result<Vec<Finished>, LogError> {
    let shared = Shared {
        progress: run.logs.iter().map(|_| AtomicU64::new(0)).collect(),
        ends: run.logs.iter().map(|l| l.end.map_or(0, |e| e.end_lsn)).collect(),
        stop: AtomicBool::new(false),
        error: Mutex::new(None),
    };
    let direct = run.logs.len() == sinks.len();
    let reads = match direct {
        true => read_direct(disk, run.logs, sinks, &shared),
        false => read_routed(disk, run.logs, sinks, router, &shared),
    };
    if let Some(e) = shared.error.into_inner().unwrap_or_else(|p| p.into_inner()) {
        return Err(e);
    }
    for r in &reads {
        counters.units += r.units;
        counters.records += r.records;
        counters.frames += r.counters.frames;
        counters.bytes += r.counters.bytes;
    }
    counters.parts_taken += hand_out_parts(&reads, direct, sinks, router)?;
    Ok(reads.into_iter().map(|r| r.finished).collect())
}

/// Log `i` into shard `i`.
fn read_direct<D: Disk, S: Sink>(
    disk: &D,
    logs: Vec<LogPlan>,
    sinks: &mut [S],
    shared: &Shared,
) -> Vec<Read> {
    thread::scope(|scope| {
        let threads: Vec<_> = logs
            .into_iter()
            .zip(sinks)
            .map(|(log, sink)| {
                scope.spawn(move || read_log(disk, log, shared, |effects, _, _| sink.apply(effects)))
            })
            .collect();
        threads.into_iter().filter_map(|t| join(t, shared)).collect()
    })
}

/// Effects on their way to a shard, from the log whose reader takes the buffer back.
struct Batch {
    effects: Vec<u8>,
    place: (String, u64),
    home: Sender<Vec<u8>>,
}

/// Every log into every shard, by slot.
fn read_routed<D: Disk, S: Sink>(
    disk: &D,
    logs: Vec<LogPlan>,
    sinks: &mut [S],
    router: &dyn Router,
    shared: &Shared,
) -> Vec<Read> {
    thread::scope(|scope| {
        let mut doors = Vec::with_capacity(sinks.len());
        for sink in sinks.iter_mut() {
            let (door, batches) = sync_channel::<Batch>(QUEUE);
            doors.push(door);
            scope.spawn(move || apply_batches(sink, batches, shared));
        }
        let threads: Vec<_> = logs
            .into_iter()
            .map(|log| {
                let doors = doors.clone();
                scope.spawn(move || read_into(disk, log, doors, router, shared))
            })
            .collect();
        drop(doors);
        threads.into_iter().filter_map(|t| join(t, shared)).collect()
    })
}

fn join(t: thread::ScopedJoinHandle<'_, Option<Read>>, shared: &Shared) -> Option<Read> {
    match t.join() {
        Ok(read) => read,
        Err(panic) => {
            shared.stop.store(true, Ordering::Relaxed);
            std::panic::resume_unwind(panic)
        }
    }
}

fn apply_batches<S: Sink>(sink: &mut S, batches: Receiver<Batch>, shared: &Shared) {
    for batch in batches {
        if let Err(reason) = sink.apply(&batch.effects) {
            let (file, offset) = batch.place;
            return shared.fail(LogError::Effects { file, offset, reason });
        }
        let _ = batch.home.send(batch.effects); // its reader may be done: then nobody needs it
    }
}

fn read_into<D: Disk>(
    disk: &D,
    log: LogPlan,
    doors: Vec<SyncSender<Batch>>,
    router: &dyn Router,
    shared: &Shared,
) -> Option<Read> {
    let (home, returned) = channel::<Vec<u8>>();
    let mut out: Vec<Vec<u8>> = doors.iter().map(|_| Vec::with_capacity(BATCH + BATCH / 4)).collect();
    let send = |shard: usize, out: &mut Vec<u8>, place: (String, u64)| {
        let fresh = || Vec::with_capacity(BATCH + BATCH / 4);
        let mut empty = returned.try_recv().unwrap_or_else(|_| fresh());
        empty.clear();
        let batch = Batch { effects: std::mem::replace(out, empty), place, home: home.clone() };
        let _ = doors[shard].send(batch); // a shard that has hung up has said why
    };
    let mut last = (String::new(), 0);
    let read = read_log(disk, log, shared, |effects, file, offset| {
        router.route(effects, &mut out)?;
        for (shard, buf) in out.iter_mut().enumerate() {
            if buf.len() >= BATCH {
                last = (file.to_string(), offset);
                send(shard, buf, last.clone());
            }
        }
        Ok(())
    });
    for (shard, buf) in out.iter_mut().enumerate().filter(|(_, b)| !b.is_empty()) {
        send(shard, buf, last.clone());
    }
    read
}

/// Reads one log to its end; `None` if something was refused, here or elsewhere.
fn read_log<D: Disk>(
    disk: &D,
    log: LogPlan,
    shared: &Shared,
    mut apply: impl FnMut(&[u8], &str, u64) -> Result<(), String>,
) -> Option<Read> {
    let core = log.core();
    let mut replay = Replay::new(disk, log);
    let mut kept = Keeper { core, kept: Vec::new(), bytes: 0, look_at: KEEP };
    let (mut units, mut records) = (0, 0);
    let result = loop {
        if shared.stop.load(Ordering::Relaxed) {
            return None;
        }
        let unit = match replay.next_unit() {
            Ok(Some(unit)) => unit,
            Ok(None) => break Ok(()),
            Err(e) => break Err(e),
        };
        units += 1;
        records += u64::from(unit.records);
        let (lsn, file, offset) = (unit.lsn, unit.file, unit.offset);
        let applied = match unit.kind {
            UnitKind::Effects => apply(unit.body, file, offset),
            UnitKind::Tx => {
                let mine = kept.take(unit.body, lsn, shared);
                mine.and_then(|effects| apply(effects, file, offset))
            }
        };
        if let Some(p) = shared.progress.get(usize::from(core)) {
            p.store(lsn + 1, Ordering::Relaxed);
        }
        if let Err(reason) = applied {
            let file = file.to_string();
            break Err(LogError::Effects { file, offset, reason });
        }
    };
    if let Err(e) = result {
        shared.fail(e);
        return None;
    }
    let counters = replay.counters();
    let finished = replay.finish();
    Some(Read { finished: finished?, kept: kept.kept, units, records, counters })
}

/// Keeps the parts of transactions that their own logs may have lost.
struct Keeper {
    core: u16,
    kept: Vec<Kept>,
    bytes: usize,
    look_at: usize,
}

impl Keeper {
    /// Reads a transaction, keeps what others may need, and returns this core's part.
    fn take<'b>(&mut self, body: &'b [u8], lsn: u64, shared: &Shared) -> Result<&'b [u8], String> {
        let (id, parts) = decode_tx(body).ok_or("a malformed transaction")?;
        let mut mine = None;
        for p in parts {
            let at = usize::from(p.core);
            if p.core == self.core {
                mine = Some(p).filter(|p| p.lsn == lsn);
                continue;
            }
            let Some(end) = shared.ends.get(at) else {
                return Err(format!("transaction {id} names core {}, which the run has not", p.core));
            };
            let settled = (*end).max(shared.progress[at].load(Ordering::Relaxed));
            if p.lsn >= settled {
                self.bytes += p.effects.len() + size_of::<Kept>();
                self.kept.push(Kept { core: p.core, lsn: p.lsn, effects: p.effects.to_vec() });
            }
        }
        if self.bytes >= self.look_at {
            let open = |k: &Kept| k.lsn >= shared.progress[usize::from(k.core)].load(Ordering::Relaxed);
            self.kept.retain(open);
            self.bytes = self.kept.iter().map(|k| k.effects.len() + size_of::<Kept>()).sum();
            self.look_at = KEEP.max(2 * self.bytes);
        }
        mine.map(|p| p.effects)
            .ok_or_else(|| format!("transaction {id} is not logged in the place it names"))
    }
}

/// Gives each participant the parts its own log lost.
fn hand_out_parts<S: Sink>(
    reads: &[Read],
    direct: bool,
    sinks: &mut [S],
    router: &dyn Router,
) -> Result<u64, LogError> {
    let mut lost: BTreeMap<(u16, u64), &[u8]> = BTreeMap::new();
    for kept in reads.iter().flat_map(|r| &r.kept) {
        let end = reads.iter().find(|r| r.finished.end.core == kept.core).map(|r| r.finished.end.end_lsn);
        if end.is_some_and(|end| kept.lsn >= end) {
            lost.insert((kept.core, kept.lsn), &kept.effects);
        }
    }
    let mut out: Vec<Vec<u8>> = sinks.iter().map(|_| Vec::new()).collect();
    for (&(core, lsn), &effects) in &lost {
        let applied = if direct {
            sinks[usize::from(core)].apply(effects)
        } else {
            router.route(effects, &mut out).and_then(|()| {
                let parts = out.iter_mut().zip(sinks.iter_mut()).filter(|(b, _)| !b.is_empty());
                parts.into_iter().try_for_each(|(buf, sink)| {
                    let applied = sink.apply(buf);
                    buf.clear();
                    applied
                })
            })
        };
        applied.map_err(|reason| LogError::Effects {
            file: format!("the part of core {core}, LSN {lsn}, of a transaction"),
            offset: 0,
            reason,
        })?;
    }
    Ok(lost.len() as u64)
}
