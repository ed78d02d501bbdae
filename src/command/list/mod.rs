//! The list family.
//!
//! Source: the Redis command pages of each command.

pub(super) mod blocking;
pub(super) mod ends;
pub(super) mod inner;

use super::row::{Command, Group, ON_KEY, acl};
use super::{Ctx, Error};
use crate::resp::number::parse_i64;
use crate::shard::kinds::list::{End, List, Op};
use crate::shard::{Key, notice};

/// The start of a row of this family.
const LIST: Command = Command {
    acl: acl::LIST,
    group: Group::List,
    ..ON_KEY
};

/// An index or count.
fn integer(arg: &[u8]) -> Result<i64, Error> {
    parse_i64(arg).ok_or(Error::NotInteger)
}

/// A number that is at least `least`, or the error.
fn at_least(arg: &[u8], least: i64, error: &'static str) -> Result<i64, Error> {
    parse_i64(arg)
        .filter(|n| *n >= least)
        .ok_or(Error::Text(error))
}

/// LEFT or RIGHT.
fn end(arg: &[u8]) -> Result<End, Error> {
    if arg.eq_ignore_ascii_case(b"left") {
        Ok(End::Front)
    } else if arg.eq_ignore_ascii_case(b"right") {
        Ok(End::Back)
    } else {
        Err(Error::Syntax)
    }
}

const fn pushed(end: End) -> &'static str {
    match end {
        End::Front => "lpush",
        End::Back => "rpush",
    }
}

const fn popped(end: End) -> &'static str {
    match end {
        End::Front => "lpop",
        End::Back => "rpop",
    }
}

/// Removes `n` elements at an end, which were answered already.
fn cut(ctx: &mut Ctx<'_>, k: &Key<'_>, end: End, n: usize) -> Result<(), Error> {
    let n = n as u64;
    let (front, back) = match end {
        End::Front => (n, 0),
        End::Back => (0, n),
    };
    ctx.alter::<List>(k, &Op::Trim { front, back })?;
    ctx.notify(notice::LIST, popped(end), k);
    Ok(())
}

/// Answers `n` elements from an end, in the order in which they are popped.
fn answer_from(reply: &mut crate::resp::Reply<'_>, list: &List, end: End, n: usize) {
    reply.array(n);
    match end {
        End::Front => list.each(0, n, |item| reply.bulk(item)),
        End::Back => list.iter().rev().take(n).for_each(|item| reply.bulk(item)),
    }
}
