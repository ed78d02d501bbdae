//! Entries between two ids: XRANGE and XREVRANGE.

use super::{end, integer, show_entries, show_entry, start};
use crate::command::walk::is_long;
use crate::command::{Ctx, Error};
use crate::shard::kinds::Collection;
use crate::shard::kinds::stream::{Entry, Stream, StreamId};

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
    let (k, may_walk) = (ctx.key(args[1]), ctx.may_walk());
    let Some(stream) = ctx.ks.read::<Stream>(&k, ctx.now)? else {
        ctx.reply.array(0);
        return Ok(());
    };
    let most = stream.len().min(count.unwrap_or(usize::MAX));
    if may_walk && is_long(stream, most) {
        let mut left = stream.count(from, to).min(most);
        ctx.reply.array(left);
        let (mut from, mut to) = (Some(from), Some(to));
        return ctx.walk::<Stream>(&k, move |stream, n, reply| {
            let n = n.min(left);
            if let (Some(start), Some(end)) = (from, to) {
                let mut last = None;
                let each = |entry: Entry<'_>| {
                    show_entry(reply, &entry);
                    last = Some(entry.id);
                };
                if backwards {
                    stream.backwards(start, end).take(n).for_each(each);
                    to = last.and_then(StreamId::previous);
                } else {
                    stream.range(start, end).take(n).for_each(each);
                    from = last.and_then(StreamId::next);
                }
            }
            left -= n;
            left > 0
        });
    }
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
