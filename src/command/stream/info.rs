//! What is known of a stream, its groups and their consumers: XINFO.

use super::group::no_such_group;
use super::{integer, show, show_entries, show_entry};
use crate::command::{Ctx, Error};
use crate::resp::Reply;
use crate::shard::Ms;
use crate::shard::kinds::Collection;
use crate::shard::kinds::stream::{Consumer, Group, Stream, StreamId};

/// The stream, which has to be there.
fn found<'a>(ctx: &'a mut Ctx<'_>, key: &[u8]) -> Result<(&'a Stream, Reply<'a>), Error> {
    let k = ctx.key(key);
    let stream = ctx.ks.read::<Stream>(&k, ctx.now)?;
    let reply = Reply {
        proto: ctx.reply.proto,
        buf: ctx.reply.buf,
    };
    Ok((stream.ok_or(Error::NoSuchKey)?, reply))
}

/// How many entries FULL shows, 0 for all; `None` without FULL.
fn full(args: &[&[u8]]) -> Result<Option<usize>, Error> {
    let is = |arg: &[u8], word: &str| arg.eq_ignore_ascii_case(word.as_bytes());
    match args[3..] {
        [] => Ok(None),
        [word] if is(word, "full") => Ok(Some(10)),
        [word, count, n] if is(word, "full") && is(count, "count") => {
            Ok(Some(usize::try_from(integer(n)?).unwrap_or(10)))
        }
        _ => Err(Error::subcommand_syntax(args)),
    }
}

pub(super) fn stream(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let (stream, mut reply) = found(ctx, args[2])?;
    let full = full(args)?;
    reply.map(if full.is_some() { 9 } else { 10 });
    number(&mut reply, "length", stream.len());
    number(&mut reply, "radix-tree-keys", stream.blocks());
    number(&mut reply, "radix-tree-nodes", stream.blocks() + 1);
    id(&mut reply, "last-generated-id", stream.last());
    id(&mut reply, "max-deleted-entry-id", stream.max_deleted());
    number(&mut reply, "entries-added", stream.added() as usize);
    let first = stream.first_entry().unwrap_or_default();
    id(&mut reply, "recorded-first-entry-id", first);
    let all = || stream.range(StreamId::MIN, StreamId::MAX);
    match full {
        None => {
            number(&mut reply, "groups", stream.group_count());
            reply.bulk("first-entry");
            match all().next() {
                Some(entry) => show_entry(&mut reply, &entry),
                None => reply.null(),
            }
            reply.bulk("last-entry");
            match stream.backwards(StreamId::MIN, StreamId::MAX).next() {
                Some(entry) => show_entry(&mut reply, &entry),
                None => reply.null(),
            }
        }
        Some(count) => {
            reply.bulk("entries");
            show_entries(&mut reply, all(), count);
            reply.bulk("groups");
            reply.array(stream.group_count());
            for (name, group) in stream.groups() {
                whole_group(&mut reply, stream, name, group, count);
            }
        }
    }
    Ok(())
}

fn number(reply: &mut Reply<'_>, name: &str, n: usize) {
    reply.bulk(name);
    reply.int(n as i64);
}

fn id(reply: &mut Reply<'_>, name: &str, id: StreamId) {
    reply.bulk(name);
    show(reply, id);
}

/// A number, or null where it is not known.
fn maybe(reply: &mut Reply<'_>, name: &str, n: Option<i64>) {
    reply.bulk(name);
    match n {
        Some(n) => reply.int(n),
        None => reply.null(),
    }
}

/// A group as FULL shows it, with at most `count` pending entries.
fn whole_group(reply: &mut Reply<'_>, stream: &Stream, name: &[u8], group: &Group, count: usize) {
    reply.map(7);
    reply.bulk("name");
    reply.bulk(name);
    id(reply, "last-delivered-id", group.last);
    maybe(reply, "entries-read", group.read.map(|n| n as i64));
    maybe(reply, "lag", stream.lag(group));
    number(reply, "pel-count", group.len());
    reply.bulk("pending");
    reply.array(most(group.len(), count));
    let pending = group.range(StreamId::MIN, StreamId::MAX);
    for (id, pending) in pending.take(most(group.len(), count)) {
        reply.array(4);
        show(reply, id);
        reply.bulk(group.owner(&pending));
        reply.int(pending.at as i64);
        reply.int(pending.count as i64);
    }
    reply.bulk("consumers");
    reply.array(group.consumer_count());
    for consumer in group.consumers() {
        whole_consumer(reply, group, consumer, count);
    }
}

fn most(len: usize, count: usize) -> usize {
    if count == 0 { len } else { len.min(count) }
}

fn whole_consumer(reply: &mut Reply<'_>, group: &Group, consumer: &Consumer, count: usize) {
    reply.map(5);
    reply.bulk("name");
    reply.bulk(&consumer.name);
    number(reply, "seen-time", consumer.seen as usize);
    reply.bulk("active-time");
    reply.int(consumer.active.map_or(-1, |at| at as i64));
    let len = consumer.pending.len();
    number(reply, "pel-count", len);
    reply.bulk("pending");
    reply.array(most(len, count));
    for &id in consumer.pending.iter().take(most(len, count)) {
        reply.array(3);
        show(reply, id);
        let pending = group.pending(id);
        reply.int(pending.map_or(0, |pending| pending.at as i64));
        reply.int(pending.map_or(0, |pending| pending.count as i64));
    }
}

pub(super) fn groups(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let (stream, mut reply) = found(ctx, args[2])?;
    reply.array(stream.group_count());
    for (name, group) in stream.groups() {
        reply.map(6);
        reply.bulk("name");
        reply.bulk(name);
        number(&mut reply, "consumers", group.consumer_count());
        number(&mut reply, "pending", group.len());
        id(&mut reply, "last-delivered-id", group.last);
        maybe(&mut reply, "entries-read", group.read.map(|n| n as i64));
        maybe(&mut reply, "lag", stream.lag(group));
    }
    Ok(())
}

pub(super) fn consumers(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let now = ctx.now;
    let (stream, mut reply) = found(ctx, args[2])?;
    let group = stream
        .group(args[3])
        .ok_or_else(|| no_such_group(args[3], args[2]))?;
    reply.array(group.consumer_count());
    for consumer in group.consumers() {
        reply.map(4);
        reply.bulk("name");
        reply.bulk(&consumer.name);
        number(&mut reply, "pending", consumer.pending.len());
        let since = |at: Ms| now.saturating_sub(at) as i64;
        reply.bulk("idle");
        reply.int(since(consumer.seen));
        reply.bulk("inactive");
        reply.int(consumer.active.map_or(-1, since));
    }
    Ok(())
}
