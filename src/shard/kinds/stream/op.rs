//! The changes of a stream, and their bytes.

use super::group::{option, put_option};
use super::id::StreamId;
use crate::shard::Ms;
use crate::shard::wire::{Items, Reader, put_bytes, put_number};

/// A resolved change: ids are chosen, times are absolute.
#[derive(Clone, Copy, Debug)]
pub enum Op<'a> {
    /// An entry comes; one whose id is not larger than all before is ignored. Outcome: 1 if it came.
    Add {
        /// Its id.
        id: StreamId,
        /// Fields and values in turn.
        fields: Items<'a>,
    },
    /// Entries go. Outcome: how many.
    Delete {
        /// Their ids.
        ids: Ids<'a>,
    },
    /// Entries up to an id go, by trimming. Outcome: how many.
    Trim {
        /// The largest id that goes.
        through: StreamId,
    },
    /// What the stream says of its past is set.
    SetId {
        /// The id after which new ones come.
        last: StreamId,
        /// How many entries it ever had.
        added: Option<u64>,
        /// The largest id that was deleted.
        max_deleted: Option<StreamId>,
    },
    /// A group comes, unless there is one. Outcome: 1 if it came.
    CreateGroup {
        /// Its name.
        group: &'a [u8],
        /// What counts as delivered.
        last: StreamId,
        /// How many entries that is, if known.
        read: Option<u64>,
    },
    /// A group's position is set. Outcome: 1 if there is such a group.
    MoveGroup {
        /// Its name.
        group: &'a [u8],
        /// What counts as delivered.
        last: StreamId,
        /// How many entries that is, if known.
        read: Option<u64>,
    },
    /// A group goes. Outcome: 1 if it was there.
    DestroyGroup {
        /// Its name.
        group: &'a [u8],
    },
    /// A consumer asks for something, and is made if it is not known. Outcome: 1 if it was made. That it asked again is no
    /// change: like the time of a key's last access it is kept in memory, and in the log with the next change.
    Visit {
        /// The group.
        group: &'a [u8],
        /// The consumer.
        consumer: &'a [u8],
        /// When.
        at: Ms,
    },
    /// A consumer goes, with what is pending for it. Outcome: how many entries those are.
    DeleteConsumer {
        /// The group.
        group: &'a [u8],
        /// The consumer.
        consumer: &'a [u8],
    },
    /// New entries are delivered.
    Deliver {
        /// The group.
        group: &'a [u8],
        /// To whom.
        consumer: &'a [u8],
        /// When.
        at: Ms,
        /// Which become pending; none under NOACK.
        ids: Ids<'a>,
        /// The group's position afterwards.
        last: StreamId,
        /// How many entries that is, if known.
        read: Option<u64>,
    },
    /// Entries are acknowledged. Outcome: how many were pending.
    Ack {
        /// The group.
        group: &'a [u8],
        /// Their ids.
        ids: Ids<'a>,
    },
    /// Pending entries change hands, or are delivered again.
    Claim {
        /// The group.
        group: &'a [u8],
        /// To whom.
        consumer: &'a [u8],
        /// When.
        at: Ms,
        /// What is pending afterwards.
        claims: Claims<'a>,
        /// What is no longer pending, since the entry is gone.
        dropped: Ids<'a>,
        /// The group's position afterwards, where it changes.
        last: Option<StreamId>,
    },
}

/// Ids: a command's own, or a stretch of the log.
#[derive(Clone, Copy, Debug)]
pub enum Ids<'a> {
    /// A command's.
    Slice(&'a [StreamId]),
    /// So many, checked by [`Ids::read`].
    Packed(usize, &'a [u8]),
}

/// Entries that were claimed: a command's own, or a stretch of the log.
#[derive(Clone, Copy, Debug)]
pub enum Claims<'a> {
    /// A command's.
    Slice(&'a [Claim]),
    /// So many, checked by [`Claims::read`].
    Packed(usize, &'a [u8]),
}

/// A pending entry as it is after it was claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Its id.
    pub id: StreamId,
    /// When it counts as delivered.
    pub at: Ms,
    /// How often it was delivered.
    pub count: u64,
}

impl Claim {
    fn read(from: &mut Reader<'_>) -> Option<Claim> {
        Some(Claim {
            id: StreamId::read(from)?,
            at: from.number()?,
            count: from.number()?,
        })
    }
}

/// The bytes of a list, from behind its number, and the number; `each` reads one.
fn list<'a, T>(
    from: &mut Reader<'a>,
    each: impl Fn(&mut Reader<'a>) -> Option<T>,
) -> Option<(usize, &'a [u8])> {
    let count = usize::try_from(from.number()?).ok()?;
    let mut ahead = from.clone();
    for _ in 0..count {
        each(&mut ahead)?;
    }
    let bytes = from.take(from.left() - ahead.left())?;
    Some((count, bytes))
}

impl<'a> Ids<'a> {
    /// One after the other.
    pub fn each(&self, mut f: impl FnMut(StreamId)) {
        match *self {
            Ids::Slice(ids) => ids.iter().for_each(|id| f(*id)),
            Ids::Packed(count, bytes) => {
                let mut reader = Reader::new(bytes);
                (0..count)
                    .map_while(|_| StreamId::read(&mut reader))
                    .for_each(f);
            }
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        match *self {
            Ids::Slice(ids) => ids.is_empty(),
            Ids::Packed(count, _) => count == 0,
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match *self {
            Ids::Slice(ids) => {
                put_number(out, ids.len() as u64);
                ids.iter().for_each(|id| id.write(out));
            }
            Ids::Packed(count, bytes) => {
                put_number(out, count as u64);
                out.extend_from_slice(bytes);
            }
        }
    }

    fn read(from: &mut Reader<'a>) -> Option<Ids<'a>> {
        list(from, StreamId::read).map(|(count, bytes)| Ids::Packed(count, bytes))
    }
}

impl<'a> Claims<'a> {
    /// One after the other.
    pub fn each(&self, mut f: impl FnMut(Claim)) {
        match *self {
            Claims::Slice(claims) => claims.iter().for_each(|claim| f(*claim)),
            Claims::Packed(count, bytes) => {
                let mut reader = Reader::new(bytes);
                (0..count)
                    .map_while(|_| Claim::read(&mut reader))
                    .for_each(f);
            }
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        match *self {
            Claims::Slice(claims) => claims.is_empty(),
            Claims::Packed(count, _) => count == 0,
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match *self {
            Claims::Slice(claims) => {
                put_number(out, claims.len() as u64);
                for claim in claims {
                    claim.id.write(out);
                    put_number(out, claim.at);
                    put_number(out, claim.count);
                }
            }
            Claims::Packed(count, bytes) => {
                put_number(out, count as u64);
                out.extend_from_slice(bytes);
            }
        }
    }

    fn read(from: &mut Reader<'a>) -> Option<Claims<'a>> {
        list(from, Claim::read).map(|(count, bytes)| Claims::Packed(count, bytes))
    }
}

fn put_id(id: Option<StreamId>, out: &mut Vec<u8>) {
    out.push(u8::from(id.is_some()));
    if let Some(id) = id {
        id.write(out);
    }
}

fn id(from: &mut Reader<'_>) -> Option<Option<StreamId>> {
    match from.byte()? {
        0 => Some(None),
        1 => StreamId::read(from).map(Some),
        _ => None,
    }
}

/// The first byte of each; never changes its meaning.
mod code {
    pub(super) const ADD: u8 = 1;
    pub(super) const DELETE: u8 = 2;
    pub(super) const TRIM: u8 = 3;
    pub(super) const SET_ID: u8 = 4;
    pub(super) const CREATE_GROUP: u8 = 5;
    pub(super) const MOVE_GROUP: u8 = 6;
    pub(super) const DESTROY_GROUP: u8 = 7;
    pub(super) const VISIT: u8 = 8;
    pub(super) const DELETE_CONSUMER: u8 = 9;
    pub(super) const DELIVER: u8 = 10;
    pub(super) const ACK: u8 = 11;
    pub(super) const CLAIM: u8 = 12;
}

impl<'a> Op<'a> {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match *self {
            Op::Add { id, fields } => {
                out.push(code::ADD);
                id.write(out);
                fields.write(out);
            }
            Op::Delete { ids } => {
                out.push(code::DELETE);
                ids.write(out);
            }
            Op::Trim { through } => {
                out.push(code::TRIM);
                through.write(out);
            }
            Op::SetId {
                last,
                added,
                max_deleted,
            } => {
                out.push(code::SET_ID);
                last.write(out);
                put_option(added, out);
                put_id(max_deleted, out);
            }
            Op::CreateGroup { group, last, read } | Op::MoveGroup { group, last, read } => {
                out.push(match self {
                    Op::CreateGroup { .. } => code::CREATE_GROUP,
                    _ => code::MOVE_GROUP,
                });
                put_bytes(out, group);
                last.write(out);
                put_option(read, out);
            }
            Op::DestroyGroup { group } => {
                out.push(code::DESTROY_GROUP);
                put_bytes(out, group);
            }
            Op::Visit {
                group,
                consumer,
                at,
            } => {
                out.push(code::VISIT);
                put_bytes(out, group);
                put_bytes(out, consumer);
                put_number(out, at);
            }
            Op::DeleteConsumer { group, consumer } => {
                out.push(code::DELETE_CONSUMER);
                put_bytes(out, group);
                put_bytes(out, consumer);
            }
            Op::Deliver {
                group,
                consumer,
                at,
                ids,
                last,
                read,
            } => {
                out.push(code::DELIVER);
                put_bytes(out, group);
                put_bytes(out, consumer);
                put_number(out, at);
                ids.write(out);
                last.write(out);
                put_option(read, out);
            }
            Op::Ack { group, ids } => {
                out.push(code::ACK);
                put_bytes(out, group);
                ids.write(out);
            }
            Op::Claim {
                group,
                consumer,
                at,
                claims,
                dropped,
                last,
            } => {
                out.push(code::CLAIM);
                put_bytes(out, group);
                put_bytes(out, consumer);
                put_number(out, at);
                claims.write(out);
                dropped.write(out);
                put_id(last, out);
            }
        }
    }

    pub(super) fn read(bytes: &'a [u8]) -> Option<Op<'a>> {
        let from = &mut Reader::new(bytes);
        let op = match from.byte()? {
            code::ADD => Op::Add {
                id: StreamId::read(from)?,
                fields: Items::read(from)?,
            },
            code::DELETE => Op::Delete {
                ids: Ids::read(from)?,
            },
            code::TRIM => Op::Trim {
                through: StreamId::read(from)?,
            },
            code::SET_ID => Op::SetId {
                last: StreamId::read(from)?,
                added: option(from)?,
                max_deleted: id(from)?,
            },
            code::CREATE_GROUP => Op::CreateGroup {
                group: from.bytes()?,
                last: StreamId::read(from)?,
                read: option(from)?,
            },
            code::MOVE_GROUP => Op::MoveGroup {
                group: from.bytes()?,
                last: StreamId::read(from)?,
                read: option(from)?,
            },
            code::DESTROY_GROUP => Op::DestroyGroup {
                group: from.bytes()?,
            },
            code::VISIT => Op::Visit {
                group: from.bytes()?,
                consumer: from.bytes()?,
                at: from.number()?,
            },
            code::DELETE_CONSUMER => Op::DeleteConsumer {
                group: from.bytes()?,
                consumer: from.bytes()?,
            },
            code::DELIVER => Op::Deliver {
                group: from.bytes()?,
                consumer: from.bytes()?,
                at: from.number()?,
                ids: Ids::read(from)?,
                last: StreamId::read(from)?,
                read: option(from)?,
            },
            code::ACK => Op::Ack {
                group: from.bytes()?,
                ids: Ids::read(from)?,
            },
            code::CLAIM => Op::Claim {
                group: from.bytes()?,
                consumer: from.bytes()?,
                at: from.number()?,
                claims: Claims::read(from)?,
                dropped: Ids::read(from)?,
                last: id(from)?,
            },
            _ => return None,
        };
        from.done(op)
    }
}
