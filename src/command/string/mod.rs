//! The string family.

pub(super) mod basic;
mod big;
pub(super) mod lcs;
pub(super) mod long_double;
pub(super) mod many;
pub(super) mod number;
pub(super) mod range;
pub(super) mod set;

use super::row::{Command, Group, ON_KEY, acl};
use super::{Ctx, Error};
use crate::resp::Reply;
use crate::shard::Value;

/// The start of a row of this family.
const STRING: Command = Command {
    acl: acl::STRING,
    group: Group::String,
    ..ON_KEY
};

/// Answers a string, or null for no key.
#[inline]
fn answer(reply: &mut Reply<'_>, value: Option<Value<'_>>) -> Result<(), Error> {
    match value {
        Some(Value::Str(bytes)) => reply.bulk(bytes),
        Some(Value::Int(n)) => reply.bulk_int(n),
        Some(Value::Object(_)) => return Err(Error::WrongType),
        None => reply.null(),
    }
    Ok(())
}

/// The length of a string, 0 for no key.
fn length(value: Option<Value<'_>>) -> Result<usize, Error> {
    match value {
        Some(Value::Object(_)) => Err(Error::WrongType),
        Some(value) => Ok(value.len()),
        None => Ok(0),
    }
}

/// Refuses a string of `len + more` bytes if that is beyond what a key may hold.
fn check_length(ctx: &Ctx<'_>, len: usize, more: usize) -> Result<(), Error> {
    match len.checked_add(more) {
        Some(total) if total <= ctx.max_string => Ok(()),
        _ => Err(Error::StringTooLong),
    }
}
