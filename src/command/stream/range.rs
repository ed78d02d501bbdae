//! Entries between two ids: XRANGE and XREVRANGE.

use super::{end, integer, show_entries, start};
use crate::command::{Ctx, Error};
use crate::shard::kinds::stream::Stream;

pub(super) fn xrange(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    range(ctx, args, false)
}

pub(super) fn xrevrange(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    range(ctx, args, true)
}

fn range(ctx: &mut Ctx<'_>, args: &[&[u8]], backwards: bool) -> Result<(), Error> {
    let (from, to) = if backwards {
        (args[3], args[2])
    } else {
        (args[2], args[3])
    };
    let (from, to) = (start(from)?, end(to)?);
    let mut count = None;
    for option in args[4..].chunks(2) {
        match option {
            [name, value] if name.eq_ignore_ascii_case(b"count") => {
                count = Some(integer(value)?.max(0) as usize);
            }
            _ => return Err(Error::Syntax),
        }
    }
    let k = ctx.key(args[1]);
    let Some(stream) = ctx.ks.read::<Stream>(&k, ctx.now)? else {
        ctx.reply.array(0);
        return Ok(());
    };
    let reply = &mut ctx.reply;
    match (count, backwards) {
        (Some(0), _) => reply.null_array(),
        (_, false) => drop(show_entries(
            reply,
            stream.range(from, to),
            count.unwrap_or(0),
        )),
        (_, true) => drop(show_entries(
            reply,
            stream.backwards(from, to),
            count.unwrap_or(0),
        )),
    }
    Ok(())
}
