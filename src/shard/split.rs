//! Cutting effects by owner or by slot, for a start with another number of shards or from a checkpoint.
//!
//! Promise: no record is rewritten (but a flush or swap, which is narrowed) and none is allocated for by
//! itself.

use super::effect::{Broken, Effect, Effects};
use crate::slot;

/// Cuts a buffer by owner: each record is appended to `out[map.owner(its slot)]`, in order; a flush
/// or swap goes to every shard it touches, narrowed to that shard's slots. Runs of records of one owner are
/// copied at once. On error `out` holds what came before.
///
/// # Panics
/// When `out` has fewer than `map.shards()` elements.
pub fn split(buf: &[u8], map: &slot::Map, out: &mut [Effects]) -> Result<(), Broken> {
    let mut pos = 0;
    let mut run = (0, 0); // start, owner
    while pos < buf.len() {
        let Some((effect, len)) = Effect::decode(&buf[pos..]) else {
            out[run.1].buf.extend_from_slice(&buf[run.0..pos]);
            return Err(Broken { offset: pos });
        };
        let slots = effect.slots();
        let last = if slots.is_empty() {
            slots.start.min(slot::SLOTS - 1)
        } else {
            slots.end - 1
        };
        let (from, to) = (map.owner(slots.start.min(last)), map.owner(last));
        if from != run.1 || from != to {
            out[run.1].buf.extend_from_slice(&buf[run.0..pos]);
            run = (pos, from);
        }
        if from != to {
            for (owner, part) in out.iter_mut().enumerate().take(to + 1).skip(from) {
                let own = map.range(owner);
                let slots = slots.start.max(own.start)..slots.end.min(own.end);
                match effect {
                    Effect::Flush { db, .. } => part.push(&Effect::Flush { db, slots }),
                    Effect::Swap { dbs, .. } => part.push(&Effect::Swap { dbs, slots }),
                    _ => {} // of one slot, and so of one owner
                }
            }
            run = (pos + len, to);
        } else {
            out[from].records += 1;
        }
        pos += len;
    }
    out[run.1].buf.extend_from_slice(&buf[run.0..]);
    Ok(())
}

/// Appends to `into` those effects of a buffer, in order, that concern slots for which `lacks` says yes; a flush or
/// swap is cut to those slots. On error `into` holds what came before.
pub fn pick(buf: &[u8], lacks: &dyn Fn(u16) -> bool, into: &mut Vec<u8>) -> Result<(), Broken> {
    let mut pos = 0;
    while pos < buf.len() {
        let Some((effect, len)) = Effect::decode(&buf[pos..]) else {
            return Err(Broken { offset: pos });
        };
        match effect {
            Effect::Flush { ref slots, .. } | Effect::Swap { ref slots, .. } => {
                let mut slot = slots.start;
                while slot < slots.end {
                    let same = (slot..slots.end)
                        .take_while(|&s| lacks(s) == lacks(slot))
                        .count() as u16;
                    let slots = slot..slot + same;
                    match effect {
                        Effect::Flush { db, .. } if lacks(slot) => {
                            Effect::Flush { db, slots }.encode(into);
                        }
                        Effect::Swap { dbs, .. } if lacks(slot) => {
                            Effect::Swap { dbs, slots }.encode(into);
                        }
                        _ => {}
                    }
                    slot += same;
                }
            }
            _ if lacks(effect.slots().start) => into.extend_from_slice(&buf[pos..pos + len]),
            _ => {}
        }
        pos += len;
    }
    Ok(())
}
