//! Parts of transactions: kept while logs are read, and given to those whose logs lost them.

use std::collections::BTreeMap;

use super::error::LogError;
use super::feed::{Read, Shared};
use super::recover::{Router, Sink};
use super::unit::decode_tx;

/// Bytes of parts a log keeps for others before it looks which are settled.
const KEEP: usize = 16 << 20;

/// A part of a transaction, kept for a participant that may have lost it.
pub(super) struct Kept {
    core: u16,
    lsn: u64,
    effects: Vec<u8>,
}

/// Keeps the parts of transactions that their own logs may have lost.
pub(super) struct Keeper {
    core: u16,
    kept: Vec<Kept>,
    bytes: usize,
    look_at: usize,
}

impl Keeper {
    pub(super) fn new(core: u16) -> Keeper {
        Keeper {
            core,
            kept: Vec::new(),
            bytes: 0,
            look_at: KEEP,
        }
    }

    pub(super) fn into_kept(self) -> Vec<Kept> {
        self.kept
    }

    /// Reads a transaction, keeps what others may need, and returns this core's part.
    pub(super) fn take<'b>(
        &mut self,
        body: &'b [u8],
        lsn: u64,
        shared: &Shared,
    ) -> Result<&'b [u8], String> {
        let (id, parts) = decode_tx(body).ok_or("a malformed transaction")?;
        let mut mine = None;
        for p in parts {
            if p.core == self.core {
                mine = Some(p).filter(|p| p.lsn == lsn);
                continue;
            }
            let Some(settled) = shared.settled(p.core) else {
                return Err(format!(
                    "transaction {id} names core {}, which the run has not",
                    p.core
                ));
            };
            if p.lsn >= settled {
                self.bytes += p.effects.len() + size_of::<Kept>();
                self.kept.push(Kept {
                    core: p.core,
                    lsn: p.lsn,
                    effects: p.effects.to_vec(),
                });
            }
        }
        if self.bytes >= self.look_at {
            self.kept
                .retain(|k| shared.settled(k.core).is_some_and(|lsn| k.lsn >= lsn));
            self.bytes = self
                .kept
                .iter()
                .map(|k| k.effects.len() + size_of::<Kept>())
                .sum();
            self.look_at = KEEP.max(2 * self.bytes);
        }
        mine.map(|p| p.effects)
            .ok_or_else(|| format!("transaction {id} is not logged in the place it names"))
    }
}

/// Gives each participant the parts its own log lost; tells how many there were.
pub(super) fn hand_out<S: Sink>(
    reads: &[Read],
    direct: bool,
    sinks: &mut [S],
    router: &dyn Router,
) -> Result<u64, LogError> {
    let ends: BTreeMap<u16, u64> = reads
        .iter()
        .map(|r| (r.finished.end.core, r.finished.end.end_lsn))
        .collect();
    let mut lost: BTreeMap<(u16, u64), &[u8]> = BTreeMap::new();
    for kept in reads.iter().flat_map(|r| &r.kept) {
        if ends.get(&kept.core).is_some_and(|end| kept.lsn >= *end) {
            lost.insert((kept.core, kept.lsn), &kept.effects);
        }
    }
    let mut out: Vec<Vec<u8>> = sinks.iter().map(|_| Vec::new()).collect();
    for (&(core, lsn), &effects) in &lost {
        let applied = match direct {
            true => sinks[usize::from(core)].apply_part(effects),
            false => router.route(effects, &mut out).and_then(|()| {
                out.iter_mut()
                    .zip(sinks.iter_mut())
                    .filter(|(b, _)| !b.is_empty())
                    .try_for_each(|(buf, sink)| {
                        let applied = sink.apply_part(buf);
                        buf.clear();
                        applied
                    })
            }),
        };
        applied.map_err(|reason| LogError::Effects {
            file: format!("the part of core {core}, LSN {lsn}, of a transaction"),
            offset: 0,
            reason,
        })?;
    }
    Ok(lost.len() as u64)
}
