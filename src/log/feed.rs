//! The threads of recovery: logs in, shards out, effects between them in large batches.
//!
//! Units are small and memory is slow: effects of many units are put together, so that a shard can
//! fetch ahead over all of them, and so that a router or a channel costs once per batch.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use super::base::Floors;
use super::config::Chain;
use super::error::LogError;
use super::parts::{Keeper, Kept};
use super::recover::{Router, Sink};
use super::replay::{Finished, ReadCounters, Replay};
use super::scan::LogPlan;
use super::unit::{Slots, UnitKind};
use crate::disk::Disk;

/// Bytes of effects that are handed on at a time.
const BATCH: usize = 256 << 10;
/// Batches that may wait for one shard.
const QUEUE: usize = 4;

/// What reading one log gave.
pub(super) struct Read {
    pub(super) core: u16,
    pub(super) finished: Finished,
    pub(super) kept: Vec<Kept>,
    pub(super) units: u64,
    pub(super) records: u64,
    pub(super) counters: ReadCounters,
    /// The marks in it, if it is a part of a checkpoint.
    pub(super) marks: Vec<Slots>,
}

/// What the threads of one run share.
pub(super) struct Shared {
    /// Per core, the LSN up to which its log was read, or is known to go.
    settled: Vec<AtomicU64>,
    stop: AtomicBool,
    error: Mutex<Option<LogError>>,
}

impl Shared {
    fn new(logs: &[LogPlan]) -> Shared {
        let end = |l: &LogPlan| AtomicU64::new(l.end.map_or(0, |e| e.end_lsn));
        Shared {
            settled: logs.iter().map(end).collect(),
            stop: AtomicBool::new(false),
            error: Mutex::new(None),
        }
    }

    /// All units of that core below this LSN are in its own log; `None` if the run has no such core.
    pub(super) fn settled(&self, core: u16) -> Option<u64> {
        self.settled
            .get(usize::from(core))
            .map(|lsn| lsn.load(Ordering::Relaxed))
    }

    fn fail(&self, e: LogError) {
        let mut slot = self.error.lock().unwrap_or_else(|p| p.into_inner());
        slot.get_or_insert(e);
        self.stop.store(true, Ordering::Relaxed);
    }

    fn outcome(self, reads: Vec<Read>) -> Result<Vec<Read>, LogError> {
        match self.error.into_inner().unwrap_or_else(|p| p.into_inner()) {
            Some(e) => Err(e),
            None => Ok(reads),
        }
    }
}

/// Log `i` into shard `i`, each on a thread of its own. `floors` are by log, or none.
pub(super) fn direct<D: Disk, S: Sink>(
    disk: &D,
    logs: Vec<LogPlan>,
    floors: &[Floors],
    sinks: &mut [S],
    router: &dyn Router,
) -> Result<Vec<Read>, LogError> {
    let shared = Shared::new(&logs);
    let shared_by_all = &shared;
    let read = |(log, sink): (LogPlan, &mut S)| {
        let floors = floors.get(usize::from(log.core()));
        read_log(disk, log, floors, router, shared_by_all, |effects, _, _| {
            sink.apply(effects)
        })
    };
    let pairs = logs.into_iter().zip(sinks);
    let reads = if shared_by_all.settled.len() == 1 {
        pairs.filter_map(read).collect()
    } else {
        thread::scope(|scope| {
            let threads: Vec<_> = pairs.map(|pair| scope.spawn(move || read(pair))).collect();
            threads.into_iter().filter_map(join).collect()
        })
    };
    shared.outcome(reads)
}

/// Effects on their way to a shard, from the log whose reader takes the buffer back.
struct Batch {
    effects: Vec<u8>,
    place: (String, u64),
    home: Sender<Vec<u8>>,
}

/// Every log into every shard, by slot: a thread for each log and one for each shard.
pub(super) fn routed<D: Disk, S: Sink>(
    disk: &D,
    logs: Vec<LogPlan>,
    floors: &[Floors],
    sinks: &mut [S],
    router: &dyn Router,
) -> Result<Vec<Read>, LogError> {
    let shared = Shared::new(&logs);
    let shared_by_all = &shared;
    let reads = thread::scope(|scope| {
        let mut doors = Vec::with_capacity(sinks.len());
        for sink in sinks.iter_mut() {
            let (door, batches) = sync_channel::<Batch>(QUEUE);
            doors.push(door);
            scope.spawn(move || apply_batches(sink, batches, shared_by_all));
        }
        let read = |log: LogPlan| {
            let doors = doors.clone();
            let floors = floors.get(usize::from(log.core()));
            scope.spawn(move || read_into(disk, log, floors, doors, router, shared_by_all))
        };
        let threads: Vec<_> = logs.into_iter().map(read).collect();
        drop(doors);
        threads.into_iter().filter_map(join).collect()
    });
    shared.outcome(reads)
}

fn join(t: thread::ScopedJoinHandle<'_, Option<Read>>) -> Option<Read> {
    t.join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn apply_batches<S: Sink>(sink: &mut S, batches: Receiver<Batch>, shared: &Shared) {
    for batch in batches {
        if let Err(reason) = sink.apply(&batch.effects) {
            let (file, offset) = batch.place;
            return shared.fail(LogError::Effects {
                file,
                offset,
                reason,
            });
        }
        let _ = batch.home.send(batch.effects); // its reader may be done: then nobody needs it
    }
}

fn read_into<D: Disk>(
    disk: &D,
    log: LogPlan,
    floors: Option<&Floors>,
    doors: Vec<SyncSender<Batch>>,
    router: &dyn Router,
    shared: &Shared,
) -> Option<Read> {
    let (home, returned) = channel::<Vec<u8>>();
    let mut out: Vec<Vec<u8>> = doors.iter().map(|_| Vec::with_capacity(BATCH)).collect();
    read_log(
        disk,
        log,
        floors,
        router,
        shared,
        |effects, file, offset| {
            router.route(effects, &mut out)?;
            for (buf, door) in out
                .iter_mut()
                .zip(&doors)
                .filter(|(buf, _)| !buf.is_empty())
            {
                let mut empty = returned
                    .try_recv()
                    .unwrap_or_else(|_| Vec::with_capacity(BATCH));
                empty.clear();
                let effects = std::mem::replace(buf, empty);
                let place = (file.to_string(), offset);
                // A shard that has hung up has said why.
                let _ = door.send(Batch {
                    effects,
                    place,
                    home: home.clone(),
                });
            }
            Ok(())
        },
    )
}

/// Reads one log to its end and hands its effects on, batch by batch, with the place where each
/// ends; `None` if something was refused, here or elsewhere.
fn read_log<D: Disk>(
    disk: &D,
    log: LogPlan,
    floors: Option<&Floors>,
    router: &dyn Router,
    shared: &Shared,
    mut apply: impl FnMut(&[u8], &str, u64) -> Result<(), String>,
) -> Option<Read> {
    let (core, chain) = (log.core(), log.chain);
    let mut replay = Replay::new(disk, log);
    let mut keeper = Keeper::new(core);
    let (mut units, mut records) = (0, 0);
    let (mut marks, mut picked) = (Vec::new(), Vec::new());
    let mut batch: Vec<u8> = Vec::with_capacity(BATCH);
    let mut place = (String::new(), 0);
    let refused = |(file, offset): (String, u64), reason| LogError::Effects {
        file,
        offset,
        reason,
    };
    let result = loop {
        if shared.stop.load(Ordering::Relaxed) {
            return None;
        }
        let unit = match replay.next_unit() {
            Ok(Some(unit)) => unit,
            Ok(None) if batch.is_empty() => break Ok(()),
            Ok(None) => {
                let applied = apply(&batch, &place.0, place.1);
                break applied.map_err(|reason| refused(place, reason));
            }
            Err(e) => break Err(e),
        };
        units += 1;
        records += u64::from(unit.records);
        if unit.offset != place.1 || unit.file != place.0 {
            place.0.clear();
            place.0.push_str(unit.file);
            place.1 = unit.offset;
        }
        let effects = match unit.kind {
            UnitKind::Effects => Ok(unit.body),
            UnitKind::Tx => keeper.take(unit.body, unit.lsn, shared),
            UnitKind::Slots => match (chain, Slots::decode_all(unit.body)) {
                (Chain::Checkpoint, Some(more)) => {
                    marks.extend(more);
                    Ok(&[][..])
                }
                _ => Err("marks of slots that do not belong there".to_string()),
            },
        };
        let lsn = unit.lsn;
        let effects = effects.and_then(|effects| match floors.filter(|f| f.concern(lsn)) {
            None => Ok(effects),
            Some(floors) => {
                picked.clear();
                router.pick(effects, &|slot| floors.lacks(slot, lsn), &mut picked)?;
                Ok(&picked[..])
            }
        });
        let applied = effects.and_then(|effects| {
            if batch.is_empty() && effects.len() >= BATCH {
                return apply(effects, &place.0, place.1);
            }
            batch.extend_from_slice(effects);
            if batch.len() < BATCH {
                return Ok(());
            }
            let applied = apply(&batch, &place.0, place.1);
            batch.clear();
            applied
        });
        let read = unit.lsn + 1;
        if let Some(settled) = shared.settled.get(usize::from(core)) {
            settled.fetch_max(read, Ordering::Relaxed);
        }
        if let Err(reason) = applied {
            break Err(refused(place, reason));
        }
    };
    if let Err(e) = result {
        shared.fail(e);
        return None;
    }
    let counters = replay.counters();
    let finished = replay.finish()?;
    Some(Read {
        core,
        finished,
        kept: keeper.into_kept(),
        units,
        records,
        counters,
        marks,
    })
}
