//! A data directory without its server: every file that holds data is opened and judged, and it is tried whether a
//! server would start from them.
//!
//! Laws: nothing is changed, and no running server's directory is read. A damaged file does not end the look at the
//! others. Whether a start would succeed is said by what the server itself recovers with; the effects are read and counted
//! here, and not applied.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::checkpoint::recover;
use crate::checkpoint::{self, Manifest, Name};
use crate::disk::Disk;
use crate::disk::real::RealDisk;
use crate::envelope::{DekId, FILE_NAME, Keyring, Provider};
use crate::log::format::parse_segment_name;
use crate::log::inspect::{self, Inspected, Stop};
use crate::log::{Anchor, Chain, LogEnd, Sink, Tail, parse_anchor_name};
use crate::seal::Backend;
use crate::server::in_use;
use crate::shard::records;
use crate::slot;

/// How a file stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// All of it opens.
    Ok,
    /// It was not closed, as a server that is killed leaves it. All that opens counts; what stands behind that was never
    /// durable, or is of the file's earlier life.
    Torn,
    /// It is made and not begun.
    Unused,
    /// It is of a checkpoint that never counted.
    Unfinished,
    /// Nobody needs it any more.
    NotNeeded,
    /// It is not what was written.
    Damaged,
    /// It is not there.
    Missing,
}

impl State {
    /// The word for people and programs.
    pub fn word(self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::Torn => "torn tail",
            State::Unused => "unused",
            State::Unfinished => "unfinished",
            State::NotNeeded => "not needed",
            State::Damaged => "damaged",
            State::Missing => "missing",
        }
    }

    /// Whether something is wrong with the file.
    pub fn is_bad(self) -> bool {
        matches!(self, State::Damaged | State::Missing)
    }
}

/// What is said of one file.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its name, from the data directory on.
    pub file: String,
    /// How it stands.
    pub state: State,
    /// The Dek it is sealed under.
    pub dek: Option<DekId>,
    /// What is in it: frames, units, and bytes up to the end of the last frame.
    pub frames: u64,
    /// See `frames`.
    pub units: u64,
    /// See `frames`.
    pub bytes: u64,
    /// Keys, as a manifest counts them.
    pub keys: Option<u64>,
    /// Where something is wrong, or where the file ends that was not closed.
    pub offset: Option<u64>,
    /// What there is to say.
    pub note: String,
}

/// What a server would start from.
#[derive(Clone, Copy, Debug)]
pub struct Outlook {
    /// The checkpoint, 0 if none.
    pub checkpoint: u64,
    /// The newest run of the log, 0 if none.
    pub run: u64,
    /// Effects that were read.
    pub records: u64,
}

/// What was found.
#[derive(Debug)]
pub struct Report {
    /// Every file, by name.
    pub rows: Vec<Row>,
    /// Whether a start would succeed; if not, why.
    pub start: Result<Outlook, String>,
}

/// Looks at a data directory. Without a provider it is one whose encryption is off.
///
/// # Errors
/// A server runs on it, it cannot be read, or the Kek does not open its keyring.
pub fn check(dir: &Path, provider: Option<Arc<dyn Provider>>) -> Result<Report, String> {
    let _lock = lock(dir)?;
    let (backend, mut rows) = (Backend::AwsLc, Vec::new());
    let keyring = match provider {
        None => Keyring::unencrypted(),
        Some(provider) => {
            let opened = Keyring::look_in(dir, provider).map_err(|e| e.to_string())?;
            let keyring = opened.ok_or(format!("{}: there is no keyring", dir.display()))?;
            let deks = keyring.list().len();
            let note = format!("{deks} Deks, generation {}", keyring.generation());
            rows.push(row(FILE_NAME.into(), State::Ok, note));
            keyring
        }
    };
    let look = |name: &str| -> io::Result<(Arc<RealDisk>, Vec<String>)> {
        let disk = RealDisk::for_reading(&dir.join(name));
        let mut names: Vec<String> = match disk.list() {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
            entries => entries?.into_iter().map(|e| e.name).collect(),
        };
        names.sort_unstable();
        Ok((Arc::new(disk), names))
    };
    let (logs, log_files) = look("log").map_err(|e| e.to_string())?;
    let (parts, part_files) = look("checkpoint").map_err(|e| e.to_string())?;
    let found = match part_files.is_empty() {
        true => checkpoint::Found::default(),
        false => checkpoint::find(&*parts).map_err(|e| e.to_string())?,
    };
    let eye = Eye {
        keyring: &keyring,
        backend,
    };
    let from = recover::From {
        logs: &*logs,
        checkpoints: &*parts,
        keyring: &keyring,
        backend,
    };
    let fresh = || vec![Count::default()];
    let attempt = in_use::check(dir, &keyring, false).and_then(|()| match log_files.is_empty() {
        true if found.whole.is_empty() => Ok(None),
        _ => recover::newest(&from, &found.whole, &fresh, slot::Map::new(1)).map(Some),
    });
    let mut unneeded: BTreeSet<String> = BTreeSet::new();
    let mut tails = BTreeMap::new();
    let start = attempt.map(|restored| {
        let Some(restored) = restored else {
            return Outlook {
                checkpoint: 0,
                run: 0,
                records: 0,
            };
        };
        unneeded.extend(restored.logs.unneeded().map(str::to_owned));
        for log in &restored.logs.tails {
            if let Tail::Cut { file, offset, .. } = &log.tail {
                tails.insert(file.clone(), *offset);
            }
        }
        Outlook {
            checkpoint: restored.base.as_ref().map_or(0, |(m, _)| m.number),
            run: restored.logs.run,
            records: restored.shards.iter().map(|s| s.0).sum(),
        }
    });
    rows.extend(eye.logs(&logs, &log_files, &unneeded, &tails));
    rows.extend(eye.checkpoints(&parts, &part_files, &found));
    // A file that only the attempt missed.
    if let Err(why) = &start {
        for (directory, name) in missing(why, &log_files, &part_files) {
            let file = format!("{directory}/{name}");
            if rows.iter().all(|r| r.file != file) {
                rows.push(row(file, State::Missing, "it is needed".into()));
            }
        }
    }
    rows.sort_by(|a, b| a.file.cmp(&b.file));
    Ok(Report { rows, start })
}

/// Holds the directory as long as the look takes.
fn lock(dir: &Path) -> Result<Option<File>, String> {
    let name = |e: &dyn std::fmt::Display| format!("data directory {}: {e}", dir.display());
    if !dir.is_dir() {
        return Err(name(&"there is no such directory"));
    }
    let file = match File::open(dir.join("LOCK")) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(|e| name(&e))?,
    };
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => {
            Err(name(&"a server is running on it; stop that one first"))
        }
        Err(TryLockError::Error(e)) => Err(name(&e)),
    }
}

/// Counts effects, every one of which it can read.
#[derive(Default)]
struct Count(u64);

impl Sink for Count {
    fn apply(&mut self, effects: &[u8]) -> Result<(), String> {
        for effect in records(effects) {
            effect.map_err(|e| e.to_string())?;
            self.0 += 1;
        }
        Ok(())
    }
}

fn row(file: String, state: State, note: String) -> Row {
    Row {
        file,
        state,
        dek: None,
        frames: 0,
        units: 0,
        bytes: 0,
        keys: None,
        offset: None,
        note,
    }
}

/// Names of files that the words of a refusal say are missing.
fn missing(why: &str, logs: &[String], parts: &[String]) -> Vec<(&'static str, String)> {
    let mut out = Vec::new();
    for piece in why.split("log: ").skip(1) {
        let Some((name, _)) = piece.split_once(" is missing") else {
            continue;
        };
        let known = parse_segment_name(name).is_some() || parse_anchor_name(name).is_some();
        let within = |names: &[String]| names.iter().any(|n| n == name);
        if known && !within(logs) && !within(parts) {
            let part = why.contains(&format!("checkpoint {}: log: {name}", number(name)));
            out.push((if part { "checkpoint" } else { "log" }, name.to_owned()));
        }
    }
    out
}

fn number(name: &str) -> u64 {
    parse_segment_name(name).map_or(0, |(run, _, _)| run)
}

/// Who opens files.
struct Eye<'a> {
    keyring: &'a Keyring,
    backend: Backend,
}

impl Eye<'_> {
    fn logs(
        &self,
        disk: &RealDisk,
        names: &[String],
        unneeded: &BTreeSet<String>,
        tails: &BTreeMap<String, u64>,
    ) -> Vec<Row> {
        let mut rows = Vec::new();
        let mut anchors: BTreeMap<u16, Anchor> = BTreeMap::new();
        for name in names {
            let Some(core) = parse_anchor_name(name) else {
                continue;
            };
            let file = format!("log/{name}");
            rows.push(
                match inspect::anchor(disk, core, self.keyring, self.backend) {
                    Err(e) => row(file, State::Damaged, e.to_string()),
                    Ok(slots) => match slots.first() {
                        None => row(file, State::Damaged, "neither of its slots opens".into()),
                        Some(newest) => {
                            anchors.insert(core, *newest);
                            let both = slots.len() > 1 || newest.generation <= 1;
                            let other = if both {
                                ""
                            } else {
                                "; the other slot does not open"
                            };
                            let note =
                                format!("run {}, durable {}{other}", newest.run, newest.durable);
                            row(file, State::Ok, note)
                        }
                    },
                },
            );
        }
        let mut opened: BTreeMap<(u64, u16, u64), (&String, Inspected)> = BTreeMap::new();
        for name in names {
            let Some(place) = parse_segment_name(name) else {
                continue;
            };
            match inspect::segment(disk, name, Chain::Log, self.keyring, self.backend) {
                Ok(found) => drop(opened.insert(place, (name, found))),
                Err(e) => rows.push(row(format!("log/{name}"), State::Damaged, e.to_string())),
            }
        }
        let mut ends: BTreeMap<(u64, u16), LogEnd> = BTreeMap::new();
        for opening in opened
            .values()
            .filter_map(|(_, found)| found.opening.as_ref())
        {
            for end in &opening.ends {
                ends.insert((opening.prev_run, end.core), *end);
            }
        }
        for (&(run, core, seq), (name, found)) in &opened {
            let mut row = described(format!("log/{name}"), found);
            let recorded = ends.get(&(run, core));
            if let Stop::Open {
                offset,
                frame,
                fault,
                proof,
            } = found.stop
            {
                let anchored = anchors.get(&core).filter(|a| a.run == run);
                let later = opened.range((run, core, seq + 1)..=(run, core, u64::MAX));
                let convicted = later.map(|(_, (_, f))| f.durable).max().unwrap_or(0) > frame;
                let wrong = match recorded {
                    Some(end) => seq < end.seq || (seq == end.seq && offset < end.link.len),
                    None => {
                        proof.is_some() || convicted || anchored.is_some_and(|a| frame < a.durable)
                    }
                };
                (row.state, row.offset) = match wrong {
                    true => (State::Damaged, Some(offset)),
                    false if recorded.is_some() => (State::Ok, None),
                    false => (State::Torn, Some(offset)),
                };
                if row.offset.is_some() {
                    row.note = format!("frame {frame}: {fault}");
                }
            }
            if found.stop == Stop::Unwritten && recorded.is_some_and(|end| seq <= end.seq) {
                row.state = State::Damaged;
                row.offset = Some(0);
                row.note = "its header is unwritten, and the next run recorded frames in it".into();
            }
            if let Some(&offset) = tails.get(*name)
                && row.state == State::Damaged
            {
                // Recovery, which knows more, takes it for a torn tail.
                (row.state, row.offset) = (State::Torn, Some(offset));
            }
            if unneeded.contains(*name) && row.state != State::Unused {
                row.state = State::NotNeeded;
            }
            rows.push(row);
        }
        rows
    }

    fn checkpoints(
        &self,
        disk: &RealDisk,
        names: &[String],
        found: &checkpoint::Found,
    ) -> Vec<Row> {
        let mut rows = Vec::new();
        let mut ends: BTreeMap<(u64, u16), LogEnd> = BTreeMap::new();
        for &name in &found.whole {
            rows.push(self.manifest(disk, name, &mut ends));
        }
        for (&(number, core), end) in &ends {
            for seq in 0..=end.seq {
                let name = crate::log::format::segment_name(number, core, seq);
                if !names.contains(&name) {
                    let note = "the manifest names it".into();
                    rows.push(row(format!("checkpoint/{name}"), State::Missing, note));
                }
            }
        }
        for name in names {
            let file = format!("checkpoint/{name}");
            if found.unfinished.contains(name) {
                let note = "its checkpoint was never completed; the next start removes it".into();
                rows.push(row(file, State::Unfinished, note));
                continue;
            }
            let Some((number, core, seq)) = parse_segment_name(name) else {
                continue;
            };
            let chain = Chain::Checkpoint;
            let found = match inspect::segment(disk, name, chain, self.keyring, self.backend) {
                Ok(found) => found,
                Err(e) => {
                    rows.push(row(file, State::Damaged, e.to_string()));
                    continue;
                }
            };
            let mut row = described(file, &found);
            let end = ends.get(&(number, core));
            let needed = end.is_none_or(|end| seq <= end.seq);
            match found.stop {
                Stop::Open {
                    offset,
                    frame,
                    fault,
                    ..
                } if needed => {
                    (row.state, row.offset) = (State::Damaged, Some(offset));
                    row.note = format!("frame {frame}: {fault}");
                }
                Stop::Unwritten if needed => {
                    (row.state, row.offset) = (State::Damaged, Some(0));
                    row.note = "its header is unwritten".into();
                }
                _ if !needed => row.state = State::NotNeeded,
                _ => {}
            }
            rows.push(row);
        }
        rows
    }

    fn manifest(
        &self,
        disk: &RealDisk,
        name: Name,
        ends: &mut BTreeMap<(u64, u16), LogEnd>,
    ) -> Row {
        let file = format!("checkpoint/{}", name.file());
        match Manifest::read(disk, name, self.keyring, self.backend) {
            Err(e) => row(file, State::Damaged, e.to_string()),
            Ok(manifest) => {
                for part in &manifest.parts {
                    ends.insert((manifest.number, part.end.core), part.end);
                }
                let note = match manifest.logged {
                    true => format!("of run {}", manifest.run),
                    false => "without a log".into(),
                };
                Row {
                    keys: Some(manifest.parts.iter().map(|p| p.keys).sum()),
                    ..row(file, State::Ok, note)
                }
            }
        }
    }
}

fn described(file: String, found: &Inspected) -> Row {
    let state = match found.stop {
        Stop::Unwritten => State::Unused,
        _ => State::Ok,
    };
    Row {
        dek: found.dek.map(DekId),
        frames: found.frames,
        units: found.units,
        bytes: found.bytes,
        ..row(file, state, String::new())
    }
}
