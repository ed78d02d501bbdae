//! Effects: what a shard did, in the form that the log keeps and recovery applies.
//!
//! Promise: an effect is complete by itself (absolute expiry, no clock, no chance), its bytes are
//! read back strictly (garbage gives `Broken`, never a panic and never an effect that was not
//! written), and a buffer of effects can be cut by owner shard without being rewritten.
//!
//! # Format
//! A buffer is a run of records, each `[op: u8] [fields]`. A number is a LEB128 varint in its
//! shortest form; `bytes` is a varint length and that many bytes.
//!
//! | op | effect     | fields                                                            |
//! |----|------------|-------------------------------------------------------------------|
//! | 1  | `Set`      | db, key length, value length, key, value                          |
//! | 2  | `Set`      | the same, with the expiry (varint, ms) before the key's bytes     |
//! | 3  | `Del`      | db, key: bytes                                                    |
//! | 4  | `ExpireAt` | db, at (varint, ms; 0 = persist), key: bytes                      |
//! | 5  | `Append`   | db, key length, value length, key, value                          |
//! | 6  | `SetRange` | db, key length, value length, offset (varint), key, value         |
//! | 7  | `Flush`    | db + 1, or 0 for all; first slot, end slot (exclusive)            |
//! | 8  | `Restore`  | db, key length, object length, expiry (varint, 0 = none), key, object |
//! | 9  | `Alter`    | db, type's letter, key length, operation length, key, operation    |
//! | 10 | `Swap`     | db, db; first slot, end slot (exclusive)                          |
//! | 11 | `Library`  | name length, code length (0 = gone), name, code                    |
//!
//! `Append` and `SetRange` are relative: they are written for keys that live, which recovery finds
//! in the state the effects before have made. `Alter` is relative too; where the key is not there it
//! begins with an empty collection, and one that it leaves empty is gone with its key (see `kinds`).
//! A `Library` has no key; it belongs to the shard that owns slot 0.

use std::fmt;
use std::ops::Range;

use super::Ms;
use super::wire::{MAX_LEN, Reader};
use crate::slot;

const SET: u8 = 1;
const SET_AT: u8 = 2;
const DEL: u8 = 3;
const EXPIRE_AT: u8 = 4;
const APPEND: u8 = 5;
const SET_RANGE: u8 = 6;
const FLUSH: u8 = 7;
const RESTORE: u8 = 8;
const ALTER: u8 = 9;
const SWAP: u8 = 10;
const LIBRARY: u8 = 11;

/// A buffer of more bytes than this is given back once it is drained.
const UNUSUAL: usize = 4 << 20;

/// One change of a keyspace. Times are unix milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect<'a> {
    /// The key holds this string; its expiry is this or none.
    Set {
        /// Database number.
        db: u16,
        /// The key.
        key: &'a [u8],
        /// The whole string.
        value: &'a [u8],
        /// When it expires; never 0.
        expire: Option<Ms>,
    },
    /// The key is gone.
    Del {
        /// Database number.
        db: u16,
        /// The key.
        key: &'a [u8],
    },
    /// The key expires at `at`; 0 means it no longer expires.
    ExpireAt {
        /// Database number.
        db: u16,
        /// The key.
        key: &'a [u8],
        /// Unix milliseconds, or 0.
        at: Ms,
    },
    /// The string at the key, which exists, has grown by these bytes.
    Append {
        /// Database number.
        db: u16,
        /// The key.
        key: &'a [u8],
        /// What was added.
        value: &'a [u8],
    },
    /// The string at the key, which exists, holds these bytes from `offset` on; a gap before them
    /// is filled with zeros.
    SetRange {
        /// Database number.
        db: u16,
        /// The key.
        key: &'a [u8],
        /// Bytes from the start of the value.
        offset: u64,
        /// What was written there.
        value: &'a [u8],
    },
    /// Every key of these slots is gone.
    Flush {
        /// Database number, or all of them.
        db: Option<u16>,
        /// The slots.
        slots: Range<u16>,
    },
    /// What the two databases hold in these slots has changed places.
    Swap {
        /// The numbers of the databases.
        dbs: (u16, u16),
        /// The slots.
        slots: Range<u16>,
    },
    /// The key holds this object (`Object::encode`).
    Restore {
        /// Database number.
        db: u16,
        /// The key.
        key: &'a [u8],
        /// The encoded object.
        object: &'a [u8],
        /// When it expires; never 0.
        expire: Option<Ms>,
    },
    /// The collection at the key has changed by this operation (`kinds::Collection::write_op`).
    Alter {
        /// Database number.
        db: u16,
        /// The key.
        key: &'a [u8],
        /// The letter of the collection's type.
        kind: u8,
        /// The operation.
        op: &'a [u8],
    },
    /// The library of functions has this code, or is gone.
    Library {
        /// Its name.
        name: &'a [u8],
        /// Its code, never empty; none if it is gone.
        code: Option<&'a [u8]>,
    },
}

/// The bytes at `offset` of an effects buffer are not an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Where the record that cannot be read begins, in bytes from the start of the buffer.
    pub offset: usize,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the effect at byte {} of its buffer cannot be read",
            self.offset
        )
    }
}

impl std::error::Error for Broken {}

/// Encoded effects, in the order in which they happened.
#[derive(Clone, Debug, Default)]
pub struct Effects {
    /// The records, one after the other.
    pub buf: Vec<u8>,
    /// How many there are.
    pub records: u32,
}

impl Effects {
    /// Nothing has happened.
    pub fn is_empty(&self) -> bool {
        self.buf.is_empty()
    }

    /// Forgets all. The buffer's memory is kept unless it has become unusually large.
    pub fn clear(&mut self) {
        if self.buf.capacity() > UNUSUAL {
            self.buf = Vec::new();
        }
        self.buf.clear();
        self.records = 0;
    }

    /// Reads them back.
    pub fn iter(&self) -> Records<'_> {
        records(&self.buf)
    }

    /// Adds one.
    pub fn push(&mut self, effect: &Effect<'_>) {
        effect.encode(&mut self.buf);
        self.records += 1;
    }
}

impl<'a> Effect<'a> {
    /// The database and key it changes; `None` for a flush, a swap and a library.
    #[inline]
    pub fn key(&self) -> Option<(u16, &'a [u8])> {
        match *self {
            Effect::Set { db, key, .. }
            | Effect::Del { db, key }
            | Effect::ExpireAt { db, key, .. }
            | Effect::Append { db, key, .. }
            | Effect::SetRange { db, key, .. }
            | Effect::Restore { db, key, .. }
            | Effect::Alter { db, key, .. } => Some((db, key)),
            Effect::Flush { .. } | Effect::Swap { .. } | Effect::Library { .. } => None,
        }
    }

    /// The slots it touches: one for a key's effect, a range for a flush or swap, the first for a library.
    #[inline]
    pub fn slots(&self) -> Range<u16> {
        match self {
            Effect::Flush { slots, .. } | Effect::Swap { slots, .. } => slots.clone(),
            _ => {
                let slot = self.key().map_or(0, |(_, key)| slot::slot_of(key));
                slot..slot + 1
            }
        }
    }

    /// Appends the record.
    #[inline]
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Effect::Set {
                db,
                key,
                value,
                expire,
            } => {
                let mut head = Head::new(if expire.is_some() { SET_AT } else { SET }, *db);
                head.number(key.len() as u64).number(value.len() as u64);
                if let Some(at) = expire {
                    head.number(*at);
                }
                head.write(out, &[key, value]);
            }
            Effect::Del { db, key } => {
                Head::new(DEL, *db)
                    .number(key.len() as u64)
                    .write(out, &[key]);
            }
            Effect::ExpireAt { db, key, at } => {
                Head::new(EXPIRE_AT, *db)
                    .number(*at)
                    .number(key.len() as u64)
                    .write(out, &[key]);
            }
            Effect::Append { db, key, value } => {
                let mut head = Head::new(APPEND, *db);
                head.number(key.len() as u64)
                    .number(value.len() as u64)
                    .write(out, &[key, value]);
            }
            Effect::SetRange {
                db,
                key,
                offset,
                value,
            } => {
                let mut head = Head::new(SET_RANGE, *db);
                head.number(key.len() as u64)
                    .number(value.len() as u64)
                    .number(*offset);
                head.write(out, &[key, value]);
            }
            Effect::Flush { db, slots } => {
                let mut head = Head::new(FLUSH, 0);
                head.len = 1;
                head.number(db.map_or(0, |db| u64::from(db) + 1));
                head.number(u64::from(slots.start))
                    .number(u64::from(slots.end));
                head.write(out, &[]);
            }
            Effect::Swap { dbs, slots } => {
                let mut head = Head::new(SWAP, dbs.0);
                head.number(u64::from(dbs.1))
                    .number(u64::from(slots.start))
                    .number(u64::from(slots.end));
                head.write(out, &[]);
            }
            Effect::Restore {
                db,
                key,
                object,
                expire,
            } => {
                let mut head = Head::new(RESTORE, *db);
                head.number(key.len() as u64).number(object.len() as u64);
                head.number(expire.unwrap_or(0)).write(out, &[key, object]);
            }
            Effect::Alter { db, key, kind, op } => {
                let mut head = Head::new(ALTER, *db);
                head.number(u64::from(*kind))
                    .number(key.len() as u64)
                    .number(op.len() as u64)
                    .write(out, &[key, op]);
            }
            Effect::Library { name, code } => {
                let code = code.unwrap_or_default();
                let mut head = Head::new(LIBRARY, 0);
                head.len = 1;
                head.number(name.len() as u64).number(code.len() as u64);
                head.write(out, &[name, code]);
            }
        }
    }

    /// Reads the record at the start of `buf` and tells its length; `None` when there is none.
    #[inline]
    pub fn decode(buf: &'a [u8]) -> Option<(Effect<'a>, usize)> {
        let mut at = Reader::new(buf);
        let op = at.byte()?;
        let effect = match op {
            SET => {
                let (db, klen, vlen) = (at.db()?, at.length()?, at.length()?);
                Effect::Set {
                    db,
                    key: at.take(klen)?,
                    value: at.take(vlen)?,
                    expire: None,
                }
            }
            SET_AT => {
                let (db, klen, vlen, expire) = (at.db()?, at.length()?, at.length()?, at.number()?);
                let expire = Some(expire).filter(|&at| at != 0)?;
                Effect::Set {
                    db,
                    key: at.take(klen)?,
                    value: at.take(vlen)?,
                    expire: Some(expire),
                }
            }
            DEL => {
                let (db, klen) = (at.db()?, at.length()?);
                Effect::Del {
                    db,
                    key: at.take(klen)?,
                }
            }
            EXPIRE_AT => {
                let (db, when, klen) = (at.db()?, at.number()?, at.length()?);
                Effect::ExpireAt {
                    db,
                    key: at.take(klen)?,
                    at: when,
                }
            }
            APPEND => {
                let (db, klen, vlen) = (at.db()?, at.length()?, at.length()?);
                Effect::Append {
                    db,
                    key: at.take(klen)?,
                    value: at.take(vlen)?,
                }
            }
            SET_RANGE => {
                let (db, klen, vlen, offset) = (at.db()?, at.length()?, at.length()?, at.number()?);
                if offset.checked_add(vlen as u64)? > MAX_LEN {
                    return None;
                }
                Effect::SetRange {
                    db,
                    key: at.take(klen)?,
                    value: at.take(vlen)?,
                    offset,
                }
            }
            FLUSH => {
                let db = match at.number()? {
                    0 => None,
                    db => Some(u16::try_from(db - 1).ok()?),
                };
                let slots = range(&mut at)?;
                Effect::Flush { db, slots }
            }
            SWAP => {
                let (a, b) = (at.db()?, at.db()?);
                let slots = range(&mut at)?;
                Effect::Swap { dbs: (a, b), slots }
            }
            RESTORE => {
                let (db, klen, olen, expire) = (at.db()?, at.length()?, at.size()?, at.number()?);
                let expire = Some(expire).filter(|&at| at != 0);
                Effect::Restore {
                    db,
                    key: at.take(klen)?,
                    object: at.take(olen)?,
                    expire,
                }
            }
            ALTER => {
                let (db, kind) = (at.db()?, u8::try_from(at.number()?).ok()?);
                let (klen, olen) = (at.length()?, at.size()?);
                Effect::Alter {
                    db,
                    key: at.take(klen)?,
                    kind,
                    op: at.take(olen)?,
                }
            }
            LIBRARY => {
                let (nlen, clen) = (at.length()?, at.length()?);
                let name = at.take(nlen)?;
                let code = Some(at.take(clen)?).filter(|code| !code.is_empty());
                Effect::Library { name, code }
            }
            _ => return None,
        };
        Some((effect, at.pos))
    }
}

/// A range of slots.
fn range(at: &mut Reader<'_>) -> Option<Range<u16>> {
    let (start, end) = (at.number()?, at.number()?);
    (start <= end && end <= u64::from(slot::SLOTS)).then_some(start as u16..end as u16)
}

/// The front of a record while it is put together: at most an op and five numbers.
struct Head {
    bytes: [u8; 51],
    len: usize,
}

impl Head {
    #[inline]
    fn new(op: u8, db: u16) -> Head {
        let mut head = Head {
            bytes: [0; 51],
            len: 1,
        };
        head.bytes[0] = op;
        head.number(u64::from(db));
        head
    }

    #[inline]
    fn number(&mut self, mut value: u64) -> &mut Head {
        while value >= 0x80 {
            self.bytes[self.len] = value as u8 | 0x80;
            self.len += 1;
            value >>= 7;
        }
        self.bytes[self.len] = value as u8;
        self.len += 1;
        self
    }

    #[inline]
    fn write(&mut self, out: &mut Vec<u8>, parts: &[&[u8]]) {
        out.reserve(self.len + parts.iter().map(|part| part.len()).sum::<usize>());
        out.extend_from_slice(&self.bytes[..self.len]);
        for part in parts {
            out.extend_from_slice(part);
        }
    }
}

/// Reads the effects of a buffer in order. After an error it ends.
pub fn records(buf: &[u8]) -> Records<'_> {
    Records { buf, pos: 0 }
}

/// See [`records`].
pub struct Records<'a> {
    buf: &'a [u8],
    pos: usize,
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Effect<'a>, Broken>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let rest = &self.buf[self.pos..];
        if rest.is_empty() {
            return None;
        }
        match Effect::decode(rest) {
            Some((effect, len)) => {
                self.pos += len;
                Some(Ok(effect))
            }
            None => {
                let offset = std::mem::replace(&mut self.pos, self.buf.len());
                Some(Err(Broken { offset }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A collection, and an operation, may hold many strings of up to 512 MiB each.
    #[test]
    fn an_object_may_be_larger_than_any_string() {
        const LEN: usize = 600 << 20;
        for (kind, head) in [(RESTORE, vec![0]), (ALTER, vec![b'L'])] {
            let mut start = vec![kind, 0];
            if kind == ALTER {
                start.extend(&head);
            }
            start.push(1);
            crate::shard::wire::put_number(&mut start, LEN as u64);
            if kind == RESTORE {
                start.extend(&head);
            }
            start.push(b'k');
            // Pages of zeros that nobody writes to cost nothing.
            let mut buf = vec![0; start.len() + LEN];
            buf[..start.len()].copy_from_slice(&start);
            let (effect, len) = Effect::decode(&buf).unwrap();
            assert_eq!(len, buf.len());
            match effect {
                Effect::Restore { object, .. } => assert_eq!(object.len(), LEN),
                Effect::Alter { op, .. } => assert_eq!(op.len(), LEN),
                other => panic!("{other:?}"),
            }
            assert!(Effect::decode(&buf[..buf.len() - 1]).is_none());
        }
    }
}
