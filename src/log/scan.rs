//! The first look at a log directory: which files are what, which runs count, and what each log
//! has to reach.
//!
//! A run counts if an anchor names it or a later one: anchors are written when the opening frames
//! of all its logs are durable, and no data before that. A run above them that holds data all the
//! same lost its anchor, and is refused; one without data is void.

use std::collections::BTreeMap;

use super::anchor::{self, Anchor, anchor_name, parse_anchor_name};
use super::base::Begin;
use super::config::Chain;
use super::deks::Deks;
use super::error::{Fault, LogError, Proof};
use super::format::{FrameKind, HEADER_LEN, parse_segment_name, segment_name};
use super::reader::{Known, SegmentReader, find_frame, read_header};
use super::unit::{LogEnd, Opening};
use crate::disk::Disk;
use crate::seal::Backend;

/// What there is to recover.
pub struct Plan {
    pub(super) runs: Vec<RunPlan>,
    pub(super) next_run: u64,
    pub(super) begin_run: u64,
    pub(super) anchor_generations: BTreeMap<u16, u64>,
    /// Files nobody needs, with the core that wrote them.
    pub(super) garbage: Vec<(u16, String)>,
}

/// One run that counts.
pub struct RunPlan {
    /// Its number.
    pub run: u64,
    /// Its logs, one per core.
    pub logs: Vec<LogPlan>,
}

/// One core's log in one run, or its part of a checkpoint.
pub struct LogPlan {
    pub(super) chain: Chain,
    pub(super) run: u64,
    pub(super) core: u16,
    pub(super) segments: Vec<SegmentPlan>,
    /// Where it ended, if a later run wrote that down.
    pub(super) end: Option<LogEnd>,
    pub(super) next_run: u64,
    /// Its anchor, if that is of this run.
    pub(super) anchor: Option<Anchor>,
}

pub(super) struct SegmentPlan {
    pub(super) seq: u64,
    pub(super) name: String,
    /// `None`: unwritten, or torn when it was begun.
    pub(super) known: Option<Known>,
}

impl Plan {
    /// The runs, oldest first.
    pub fn runs(&self) -> impl Iterator<Item = &RunPlan> {
        self.runs.iter()
    }

    /// Whether there is nothing to recover.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }
}

impl LogPlan {
    /// The core.
    pub fn core(&self) -> u16 {
        self.core
    }

    /// What recorded its end.
    pub(super) fn recorded_by(&self) -> Proof {
        match self.chain {
            Chain::Log => Proof::NextRun(self.next_run),
            Chain::Checkpoint => Proof::Manifest,
        }
    }

    /// The first segment that was not released, as the log's own records say.
    fn begins(&self) -> u64 {
        let released = self.end.map(|e| e.begin_seq);
        released.or(self.anchor.map(|a| a.begin_seq)).unwrap_or(0)
    }

    /// How many segment files it has.
    pub fn segments(&self) -> usize {
        self.segments.len()
    }
}

type Logs = BTreeMap<(u64, u16), BTreeMap<u64, SegmentPlan>>;

/// Looks at the directory and reads headers, anchors and opening frames; no data yet. `backend` is
/// whose code opens, here and in the replay. `begin` says where a checkpoint ends that what is planned
/// will be applied to; what lies before is not needed.
///
/// # Errors
/// Every refusal of [`LogError`] that can be told from these.
pub fn scan<D: Disk>(
    disk: &D,
    deks: &dyn Deks,
    backend: Backend,
    begin: Option<&Begin>,
) -> Result<Plan, LogError> {
    let entries = disk
        .list()
        .map_err(|e| LogError::io("the log directory", e))?;
    let mut anchors: BTreeMap<u16, Vec<Anchor>> = BTreeMap::new();
    let mut logs: Logs = BTreeMap::new();
    for entry in &entries {
        if let Some(core) = parse_anchor_name(&entry.name) {
            anchors.insert(core, anchor::read(disk, core, deks, backend)?);
        } else if let Some((run, core, seq)) = parse_segment_name(&entry.name) {
            let known = read_header(
                disk,
                &entry.name,
                Chain::Log,
                (run, core, seq),
                deks,
                backend,
            )?;
            let plan = SegmentPlan {
                seq,
                name: entry.name.clone(),
                known,
            };
            logs.entry((run, core)).or_default().insert(seq, plan);
        }
    }
    let newest = |core: u16| anchors.get(&core).and_then(|a| a.first());
    let counted = anchors.values().flatten().map(|a| a.run).max().unwrap_or(0);
    let seen = logs.keys().map(|(run, _)| *run).max().unwrap_or(0);
    let mut plan = Plan {
        runs: Vec::new(),
        // Of a checkpoint without a log, no earlier run may be continued.
        next_run: (counted.max(seen) + 1).max(begin.map_or(0, |b| b.run)),
        begin_run: newest(0)
            .map_or(0, |a| a.begin_run)
            .max(begin.map_or(0, |b| b.run)),
        anchor_generations: anchors
            .iter()
            .filter_map(|(core, a)| a.first().map(|a| (*core, a.generation)))
            .collect(),
        garbage: Vec::new(),
    };
    for (&(run, core), segments) in logs.range((counted + 1, 0)..) {
        refuse_data(disk, run, core, segments, anchors.contains_key(&core))?;
    }
    let mut ends: Option<(u64, Vec<LogEnd>)> = None;
    let mut run = counted;
    while run > 0 && run >= plan.begin_run {
        let recorded = ends
            .as_ref()
            .map(|(_, ends)| ends.iter().find(|e| e.core == 0));
        let first = match recorded {
            Some(end) => end.map_or(0, |e| e.begin_seq),
            None => of_run(&anchors, 0, run).map_or(0, |a| a.begin_seq),
        };
        let first = first.max(begin.map_or(0, |b| b.of(run, 0)));
        let cores = cores_of(&logs, run, first)?;
        let (mut planned, opening) = (Vec::new(), open_of(disk, &logs, run, first)?);
        for core in 0..cores {
            let anchor = of_run(&anchors, core, run);
            let segments = logs
                .remove(&(run, core))
                .ok_or(LogError::MissingLog { run, core })?;
            let end = ends.as_ref().map(|(_, ends)| {
                ends.iter()
                    .find(|e| e.core == core)
                    .copied()
                    .ok_or(LogError::MissingLog { run, core })
            });
            let mut log = LogPlan {
                chain: Chain::Log,
                run,
                core,
                segments: Vec::new(),
                end: end.transpose()?,
                next_run: ends.as_ref().map_or(0, |(next, _)| *next),
                anchor: anchor.filter(|_| run == counted),
            };
            let covered = begin.map_or(0, |b| b.of(run, core));
            take_segments(&mut log, segments, covered, &mut plan.garbage)?;
            planned.push(log);
        }
        plan.runs.push(RunPlan { run, logs: planned });
        let Some(opening) = opening else { break };
        if opening.run != run || opening.prev_run >= run {
            let file = segment_name(run, 0, 0);
            let offset = HEADER_LEN as u64;
            return Err(LogError::Content {
                file,
                offset,
                what: "an opening of another run",
            });
        }
        ends = Some((run, opening.ends));
        run = opening.prev_run;
    }
    plan.runs.reverse();
    no_gap(&plan, &anchors, begin)?;
    // What is left is of void runs, or older than anything needed.
    for ((_, core), segments) in logs {
        plan.garbage
            .extend(segments.into_values().map(|s| (core, s.name)));
    }
    Ok(plan)
}

/// Refuses a log that begins later than what it is to be applied to ends.
fn no_gap(
    plan: &Plan,
    anchors: &BTreeMap<u16, Vec<Anchor>>,
    begin: Option<&Begin>,
) -> Result<(), LogError> {
    let base = begin.map_or(0, |b| b.run);
    let told = anchors.get(&0).and_then(|a| a.first());
    if let Some(run) = told.map(|a| a.begin_run).filter(|&run| run > base) {
        let (core, seq) = (0, 0);
        return Err(LogError::Gap { run, core, seq });
    }
    let logged = begin.is_some_and(|b| b.logged);
    let Some(oldest) = plan.runs.first() else {
        return match logged {
            false => Ok(()),
            true => Err(LogError::MissingRun { run: base }),
        };
    };
    if logged && oldest.run != base {
        return Err(LogError::MissingRun { run: base });
    }
    for log in &oldest.logs {
        let (run, core, seq) = (oldest.run, log.core, log.begins());
        if seq > begin.map_or(0, |b| b.of(run, core)) {
            return Err(LogError::Gap { run, core, seq });
        }
    }
    Ok(())
}

/// A core's newest anchor of one run.
fn of_run(anchors: &BTreeMap<u16, Vec<Anchor>>, core: u16, run: u64) -> Option<Anchor> {
    anchors.get(&core)?.iter().find(|a| a.run == run).copied()
}

/// Refuses a log of a run no anchor knows, if it holds more than its opening.
fn refuse_data<D: Disk>(
    disk: &D,
    run: u64,
    core: u16,
    segments: &BTreeMap<u64, SegmentPlan>,
    anchor_there: bool,
) -> Result<(), LogError> {
    for s in segments.values() {
        let Some(known) = &s.known else { continue };
        let data = s.seq > 0
            || find_frame(disk, &s.name, known, HEADER_LEN as u64, |h| {
                h.kind != FrameKind::Open
            })?
            .is_some();
        if data {
            let file = anchor_name(core);
            return Err(match anchor_there {
                true => LogError::Anchor { file, run },
                false => LogError::MissingAnchor { file, run },
            });
        }
    }
    Ok(())
}

/// How many cores a run has, as its core 0 says.
fn cores_of(logs: &Logs, run: u64, begin: u64) -> Result<u16, LogError> {
    let Some(log) = logs.get(&(run, 0)) else {
        return Err(match logs.range((run, 0)..(run + 1, 0)).next() {
            Some(_) => LogError::MissingLog { run, core: 0 },
            None => LogError::MissingRun { run },
        });
    };
    let first = log.get(&begin);
    let file = segment_name(run, 0, begin);
    let Some(first) = first else {
        return Err(LogError::MissingSegment { file });
    };
    match &first.known {
        Some(known) => Ok(known.header.cores),
        None => Err(no_header(file)),
    }
}

fn no_header(file: String) -> LogError {
    let (fault, proof) = (Fault::NoHeader, Proof::Anchor(1));
    LogError::Frame {
        file,
        offset: 0,
        frame: 0,
        fault,
        proof,
    }
}

/// The opening of a run, from core 0's log; `None` if that segment was released.
fn open_of<D: Disk>(
    disk: &D,
    logs: &Logs,
    run: u64,
    begin: u64,
) -> Result<Option<Opening>, LogError> {
    let segment = logs.get(&(run, 0)).and_then(|l| l.get(&0));
    let (Some(segment), 0) = (segment, begin) else {
        return Ok(None);
    };
    let Some(known) = &segment.known else {
        return Err(no_header(segment.name.clone()));
    };
    let offset = HEADER_LEN as u64;
    let mut reader = SegmentReader::open(disk, &segment.name, offset, Vec::new())?;
    let file = segment.name.clone();
    match reader.next(&known.key, known.header.first_frame, 0)? {
        Ok(frame) => match Opening::decode(reader.bytes(frame.payload)) {
            Some(opening) if frame.header.kind == FrameKind::Open => Ok(Some(opening)),
            _ => Err(LogError::Content {
                file,
                offset,
                what: "no opening",
            }),
        },
        Err(fault) => Err(LogError::Frame {
            file,
            offset,
            frame: 0,
            fault,
            proof: Proof::Anchor(1),
        }),
    }
}

/// Gives a log its segments, all of those it needs; the rest is garbage. A checkpoint covers those below
/// `covered`.
fn take_segments(
    log: &mut LogPlan,
    segments: BTreeMap<u64, SegmentPlan>,
    covered: u64,
    garbage: &mut Vec<(u16, String)>,
) -> Result<(), LogError> {
    let begin = log.begins().max(covered);
    let needed = log
        .end
        .map(|e| e.seq)
        .or(log.anchor.map(|a| a.seq))
        .unwrap_or(begin);
    for (seq, segment) in segments {
        if seq < begin || log.end.is_some_and(|e| seq > e.seq) {
            garbage.push((log.core, segment.name));
        } else {
            log.segments.push(segment);
        }
    }
    for seq in begin..=needed {
        let place = usize::try_from(seq - begin).ok();
        if place
            .and_then(|i| log.segments.get(i))
            .is_none_or(|s| s.seq != seq)
        {
            return Err(LogError::MissingSegment {
                file: segment_name(log.run, log.core, seq),
            });
        }
    }
    Ok(())
}
