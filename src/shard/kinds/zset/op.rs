//! What can be done to a sorted set, resolved, and its bytes in the log.
//!
//! # Format
//! `[kind: u8] [fields]`: `P` count, then score and member of each; `R` members; `C` score and member of the first and of
//! the last entry that goes. Scores are the eight bytes of the double, never a NaN.

use crate::shard::wire::{Items, Reader, put_bytes, put_number};

const PUT: u8 = b'P';
const REMOVE: u8 = b'R';
const CUT: u8 = b'C';

/// A resolved change.
#[derive(Clone, Copy, Debug)]
pub enum Op<'a> {
    /// These members have these scores.
    Put(Scored<'a>),
    /// These members are gone.
    Remove(Items<'a>),
    /// The entries from one place of the order to another, both included, are gone.
    Cut {
        /// Score and member of the first.
        first: (f64, &'a [u8]),
        /// Score and member of the last.
        last: (f64, &'a [u8]),
    },
}

/// Members with scores: a command's own list when it is made, a stretch of the log when it is read back.
#[derive(Clone, Copy, Debug)]
pub enum Scored<'a> {
    /// A command's list.
    List(&'a [(f64, &'a [u8])]),
    /// One behind the other; checked when it was read.
    Packed {
        /// How many.
        count: usize,
        /// All of them.
        bytes: &'a [u8],
    },
}

impl<'a> Scored<'a> {
    /// Calls `f` with each in turn.
    pub fn for_each(&self, mut f: impl FnMut(f64, &'a [u8])) {
        match *self {
            Scored::List(list) => list.iter().for_each(|&(score, member)| f(score, member)),
            Scored::Packed { bytes, .. } => {
                let mut reader = Reader::new(bytes);
                while let Some((score, member)) = entry(&mut reader) {
                    f(score, member);
                }
            }
        }
    }
}

pub(super) fn put_entry(out: &mut Vec<u8>, score: f64, member: &[u8]) {
    out.extend_from_slice(&score.to_le_bytes());
    put_bytes(out, member);
}

pub(super) fn entry<'a>(from: &mut Reader<'a>) -> Option<(f64, &'a [u8])> {
    let score = from.double().filter(|score| !score.is_nan())?;
    Some((score, from.bytes()?))
}

impl<'a> Op<'a> {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Op::Put(scored) => {
                out.push(PUT);
                match *scored {
                    Scored::List(list) => {
                        put_number(out, list.len() as u64);
                        for (score, member) in list {
                            put_entry(out, *score, member);
                        }
                    }
                    Scored::Packed { count, bytes } => {
                        put_number(out, count as u64);
                        out.extend_from_slice(bytes);
                    }
                }
            }
            Op::Remove(members) => {
                out.push(REMOVE);
                members.write(out);
            }
            Op::Cut { first, last } => {
                out.push(CUT);
                put_entry(out, first.0, first.1);
                put_entry(out, last.0, last.1);
            }
        }
    }

    pub(super) fn read(bytes: &'a [u8]) -> Option<Op<'a>> {
        let mut from = Reader::new(bytes);
        let op = match from.byte()? {
            PUT => {
                let count = usize::try_from(from.number()?).ok()?;
                let bytes = from.clone().rest();
                for _ in 0..count {
                    entry(&mut from)?;
                }
                Op::Put(Scored::Packed { count, bytes })
            }
            REMOVE => Op::Remove(Items::read(&mut from)?),
            CUT => Op::Cut {
                first: entry(&mut from)?,
                last: entry(&mut from)?,
            },
            _ => return None,
        };
        from.done(op)
    }
}
