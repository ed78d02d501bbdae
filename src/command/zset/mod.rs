//! The sorted-set family.
//!
//! `score` reads what clients write; `add`, `look`, `range`, `pop` and `combine` hold the commands. What changes a set is
//! worked out first and then done by one operation.

pub(super) mod add;
pub(super) mod combine;
pub(super) mod look;
pub(super) mod pop;
pub(super) mod range;
pub(super) mod score;

use super::row::{Command, Group, KeySpec, ON_KEY, acl, flag, key};
use super::{Ctx, Error};
use crate::resp::number::parse_i64;
use crate::resp::{Proto, Reply};
use crate::shard::kinds::Collection;
use crate::shard::kinds::zset::Zset;
use crate::shard::{Dump, Key, Owned, notice};

/// The start of a row of this family.
const ZSET: Command = Command {
    acl: acl::SORTEDSET,
    group: Group::SortedSet,
    complexity: "O(log(N)), N being the number of members",
    ..ON_KEY
};

/// The start of a row that reads one set.
const READ: Command = Command {
    flags: flag::READONLY,
    keys: &[KeySpec::one(1, key::RO | key::ACCESS)],
    ..ZSET
};

const NOT_FLOAT: Error = Error::NotFloat;

/// Reads a score.
fn score(text: &[u8]) -> Result<f64, Error> {
    score::parse(text).ok_or(NOT_FLOAT)
}

fn integer(text: &[u8]) -> Result<i64, Error> {
    parse_i64(text).ok_or(Error::NotInteger)
}

/// Reads a number of at least `least`; anything else is refused with `error`.
fn at_least(text: &[u8], least: i64, error: &'static str) -> Result<usize, Error> {
    let n = parse_i64(text).filter(|&n| n >= least);
    n.map(|n| n as usize).ok_or(Error::Text(error))
}

/// The head of an array of `n` members with their scores: pairs in RESP3, one behind the other in RESP2.
fn pairs_head(reply: &mut Reply<'_>, n: usize) {
    match reply.proto {
        Proto::Resp2 => reply.array(n * 2),
        Proto::Resp3 => reply.array(n),
    }
}

/// A member and its score, of such an array.
fn pair(reply: &mut Reply<'_>, member: &[u8], score: f64) {
    if reply.proto == Proto::Resp3 {
        reply.array(2);
    }
    reply.bulk(member);
    reply.double(score);
}

/// Answers with the number of entries, having made the key hold them and nothing else; no key for none.
pub(super) fn store(ctx: &mut Ctx<'_>, to: &Key<'_>, set: Zset, event: &'static str) {
    let (now, len) = (ctx.now, set.len());
    if len == 0 {
        if ctx.shard(to).delete(to, now) {
            ctx.shard(to).note(notice::GENERIC, "del", to);
        }
    } else {
        let dump = Dump {
            value: Owned::Object(Box::new(set.into_object())),
            expire: None,
        };
        ctx.shard(to).restore(to, dump, now);
        ctx.notify(notice::ZSET, event, to);
    }
    ctx.reply.int(len as i64);
}
