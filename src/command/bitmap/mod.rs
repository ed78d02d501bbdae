//! Bitmaps: strings taken bit by bit, bit 0 being the highest of the first byte.
//!
//! Promise: a write logs the bytes it touches, never the whole string.

pub(super) mod field;
pub(super) mod many;
pub(super) mod single;

use super::row::{Command, Group, ON_KEY, acl};
use super::{Ctx, Error};
use crate::resp::number::parse_i64;
use crate::shard::{Decimal, Key, Value};

/// The start of a row of this family.
const BITMAP: Command = Command {
    acl: acl::BITMAP,
    group: Group::Bitmap,
    ..ON_KEY
};

/// A place in a string: the number of a bit within what a string may hold. With `width`, `#n` means the n-th field of
/// that many bits.
fn offset(ctx: &Ctx<'_>, arg: &[u8], width: Option<u32>) -> Result<u64, Error> {
    let wrong = || Error::Text("ERR bit offset is not an integer or out of range");
    let (text, factor) = match (arg, width) {
        ([b'#', rest @ ..], Some(width)) => (rest, i64::from(width)),
        _ => (arg, 1),
    };
    let n = parse_i64(text)
        .and_then(|n| n.checked_mul(factor))
        .ok_or_else(wrong)?;
    let n = u64::try_from(n).map_err(|_| wrong())?;
    if n >> 3 >= ctx.max_string as u64 {
        return Err(wrong());
    }
    Ok(n)
}

/// Calls `f` with the string at a key as bytes, empty for no key; tells whether there was one.
fn with_bytes<R>(value: Option<Value<'_>>, f: impl FnOnce(&[u8], bool) -> R) -> Result<R, Error> {
    let mut scratch = Decimal::default();
    match &value {
        None => Ok(f(b"", false)),
        Some(value) => value
            .bytes(&mut scratch)
            .map(|bytes| f(bytes, true))
            .ok_or(Error::WrongType),
    }
}

/// The length of the string at a key that is about to be changed, and whether there is one.
fn length(ctx: &mut Ctx<'_>, k: &Key<'_>) -> Result<Option<usize>, Error> {
    match ctx.ks.at(k.slot).peek(k, ctx.now) {
        None => Ok(None),
        Some(Value::Object(_)) => Err(Error::WrongType),
        Some(value) => Ok(Some(value.len())),
    }
}
