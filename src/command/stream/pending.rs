//! What is delivered and not acknowledged: XACK and XPENDING.

use super::{end, ids, integer, no_group, show, start};
use crate::command::{Ctx, Error};
use crate::resp::Reply;
use crate::shard::Ms;
use crate::shard::kinds::stream::{Group, Ids, Op, Stream, StreamId};

pub(super) fn xack(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let k = ctx.key(args[1]);
    let group = args[2];
    let mut count = 0;
    let stream = ctx.read::<Stream>(&k)?;
    if stream.is_some_and(|stream| stream.group(group).is_some()) {
        let ids = ids(&args[3..])?;
        let ids = Ids::Slice(&ids);
        count = ctx.alter::<Stream>(&k, &Op::Ack { group, ids })?;
    }
    ctx.reply.int(count as i64);
    Ok(())
}

/// Which pending entries are asked for.
struct Part<'a> {
    idle: i64,
    from: StreamId,
    to: StreamId,
    count: usize,
    consumer: Option<&'a [u8]>,
}

fn part<'a>(args: &[&'a [u8]]) -> Result<Option<Part<'a>>, Error> {
    if args.len() == 3 {
        return Ok(None);
    }
    if args.len() < 6 || args.len() > 9 {
        return Err(Error::Syntax);
    }
    let (mut idle, mut at) = (0, 3);
    if args[3].eq_ignore_ascii_case(b"idle") {
        idle = integer(args[4])?;
        if args.len() < 8 {
            return Err(Error::Syntax);
        }
        at = 5;
    }
    let count = integer(args[at + 2])?.max(0) as usize;
    Ok(Some(Part {
        idle,
        from: start(args[at])?,
        to: end(args[at + 1])?,
        count,
        consumer: args.get(at + 3).copied(),
    }))
}

pub(super) fn xpending(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let part = part(args)?;
    let k = ctx.key(args[1]);
    let stream = ctx.ks.read::<Stream>(&k, ctx.now)?;
    let group = stream
        .and_then(|stream| stream.group(args[2]))
        .ok_or_else(|| no_group(args[1], args[2]))?;
    match part {
        None => summary(&mut ctx.reply, group),
        Some(part) => list(&mut ctx.reply, group, &part, ctx.now),
    }
    Ok(())
}

/// How many entries are pending, from where to where, and for whom.
fn summary(reply: &mut Reply<'_>, group: &Group) {
    reply.array(4);
    reply.int(group.len() as i64);
    let mut all = group.range(StreamId::MIN, StreamId::MAX);
    let Some((first, _)) = all.next() else {
        reply.null();
        reply.null();
        reply.null_array();
        return;
    };
    show(reply, first);
    show(reply, all.next_back().map_or(first, |(last, _)| last));
    let open = reply.open_array();
    let mut busy = 0;
    for consumer in group.consumers().filter(|c| !c.pending.is_empty()) {
        reply.array(2);
        reply.bulk(&consumer.name);
        reply.bulk_int(consumer.pending.len() as i64);
        busy += 1;
    }
    reply.close_array(open, busy);
}

/// Pending entries one by one: id, owner, how long ago it was delivered, how often.
fn list(reply: &mut Reply<'_>, group: &Group, part: &Part<'_>, now: Ms) {
    let open = reply.open_array();
    let mut shown = 0;
    let mut show_one = |id: StreamId| {
        let Some(pending) = group.pending(id) else {
            return true;
        };
        let idle = now as i64 - pending.at as i64;
        if part.idle != 0 && idle < part.idle {
            return true;
        }
        reply.array(4);
        show(reply, id);
        reply.bulk(group.owner(&pending));
        reply.int(idle.max(0));
        reply.int(pending.count as i64);
        shown += 1;
        shown < part.count
    };
    if part.count > 0 && part.from <= part.to {
        match part.consumer {
            None => {
                let mut ids = group.range(part.from, part.to).map(|(id, _)| id);
                while ids.next().is_some_and(&mut show_one) {}
            }
            Some(name) => {
                if let Some(consumer) = group.consumer(name) {
                    let mut ids = consumer.pending.range(part.from..=part.to).copied();
                    while ids.next().is_some_and(&mut show_one) {}
                }
            }
        }
    }
    reply.close_array(open, shown);
}
