//! Recovery: the newest checkpoint that is whole, and the logs from there on, into fresh shards.
//!
//! Laws: what cannot be read is named, and never left out silently. A checkpoint that is damaged is passed over only if
//! an older one, or the logs from their beginning, give everything all the same; else the start is refused. To one that was
//! taken without a log there is nothing else.

use super::{Manifest, Name};
use crate::disk::Disk;
use crate::envelope::Keyring;
use crate::log::{self, Base, Begin, LogError, Recovered, Router, Sink};
use crate::seal::Backend;
use crate::shard::{Effects, Ms, Shard, pick, split};
use crate::slot;

/// Where it is recovered from.
pub struct From<'a, D: Disk> {
    /// The directory of the logs.
    pub logs: &'a D,
    /// The directory of the checkpoints.
    pub checkpoints: &'a D,
    /// Who knows the Deks.
    pub keyring: &'a Keyring,
    /// Whose code opens.
    pub backend: Backend,
}

/// What was recovered.
pub struct Restored<S> {
    /// The shards, by core.
    pub shards: Vec<S>,
    /// The checkpoint it began with.
    pub base: Option<(Manifest, Base)>,
    /// What the logs gave, and where they take up.
    pub logs: Recovered,
}

/// Recovers from the first of these checkpoints that will do, newest first, or from the logs alone. `fresh` makes the
/// shards, which `map` assigns the slots to.
///
/// # Errors
/// Everything that is wrong, in words.
pub fn newest<D: Disk, S: Sink>(
    from: &From<'_, D>,
    checkpoints: &[Name],
    fresh: &dyn Fn() -> Vec<S>,
    map: slot::Map,
) -> Result<Restored<S>, String> {
    let mut troubles = Vec::new();
    for &name in checkpoints {
        match with(from, name, fresh(), map) {
            Ok(restored) => {
                for trouble in &troubles {
                    tracing::error!("{trouble}; an older checkpoint and the log made up for it");
                }
                return Ok(restored);
            }
            Err(trouble) if !name.logged => return Err(trouble),
            Err(trouble) => troubles.push(trouble),
        }
    }
    match without(from, fresh(), map) {
        // An empty directory reaches back to nothing.
        Ok(restored) if restored.logs.run == 0 && !troubles.is_empty() => {
            Err(troubles.join("; and then "))
        }
        Ok(restored) => {
            for trouble in &troubles {
                tracing::error!("{trouble}; the log from its beginning made up for it");
            }
            Ok(restored)
        }
        Err(trouble) if troubles.is_empty() => Err(trouble),
        Err(trouble) => Err(format!(
            "{}; without it: {trouble}",
            troubles.join("; and then ")
        )),
    }
}

/// Recovers from this checkpoint and the logs.
///
/// # Errors
/// Everything that is wrong, in words.
pub fn with<D: Disk, S: Sink>(
    from: &From<'_, D>,
    name: Name,
    mut shards: Vec<S>,
    map: slot::Map,
) -> Result<Restored<S>, String> {
    let (disk, backend) = (from.checkpoints, from.backend);
    let number = name.number;
    let manifest = Manifest::read(disk, name, from.keyring, backend).map_err(|e| e.to_string())?;
    let begin = manifest.begin();
    let in_checkpoint = |e: LogError| format!("checkpoint {number}: {e}");
    // Ahead of the parts: whether the logs go with it costs little to find out.
    let plan = log::scan(from.logs, from.keyring, backend, Some(&begin)).map_err(in_log)?;
    let ends = manifest.parts.iter().map(|part| part.end);
    let parts = ends
        .map(|end| log::part(disk, number, end, from.keyring, backend))
        .collect::<Result<Vec<_>, _>>()
        .map_err(in_checkpoint)?;
    let router = BySlot(map);
    let base = log::load(disk, parts, begin, &mut shards, &router).map_err(in_checkpoint)?;
    let logs = log::recover(from.logs, plan, Some(&base), &mut shards, &router).map_err(in_log)?;
    Ok(Restored {
        shards,
        base: Some((manifest, base)),
        logs,
    })
}

/// Recovers from the logs alone.
///
/// # Errors
/// Everything that is wrong, in words.
pub fn without<D: Disk, S: Sink>(
    from: &From<'_, D>,
    mut shards: Vec<S>,
    map: slot::Map,
) -> Result<Restored<S>, String> {
    let none: Option<&Begin> = None;
    let plan = log::scan(from.logs, from.keyring, from.backend, none).map_err(in_log)?;
    let logs = log::recover(from.logs, plan, None, &mut shards, &BySlot(map)).map_err(in_log)?;
    Ok(Restored {
        shards,
        base: None,
        logs,
    })
}

fn in_log(e: LogError) -> String {
    format!("log: {e}")
}

/// One shard, which recovered effects go into.
pub struct Loaded {
    /// The shard.
    pub shard: Box<Shard>,
    /// Unix milliseconds.
    pub now: Ms,
}

impl Sink for Loaded {
    fn apply(&mut self, effects: &[u8]) -> Result<(), String> {
        self.shard
            .apply_all(effects, self.now)
            .map(drop)
            .map_err(|e| e.to_string())
    }
}

/// Splits effects among the shards there are now.
struct BySlot(slot::Map);

impl Router for BySlot {
    fn route(&self, effects: &[u8], shards: &mut [Vec<u8>]) -> Result<(), String> {
        let mut into: Vec<Effects> = shards
            .iter_mut()
            .map(|buf| Effects {
                buf: std::mem::take(buf),
                ..Effects::default()
            })
            .collect();
        let result = split(effects, &self.0, &mut into);
        for (buf, effects) in shards.iter_mut().zip(into) {
            *buf = effects.buf;
        }
        result.map_err(|e| e.to_string())
    }

    fn pick(
        &self,
        effects: &[u8],
        lacks: &dyn Fn(u16) -> bool,
        into: &mut Vec<u8>,
    ) -> Result<(), String> {
        pick(effects, lacks, into).map_err(|e| e.to_string())
    }
}
