//! Reading what is new, of several streams, and waiting for it: XREAD and XREADGROUP.
//!
//! A client that waits tries again, with what `$` meant when it began to wait, when one of its keys has changed; that
//! the key or the group is gone it learns the same way.

use super::{id, integer, no_group, show, show_entries, show_entry, visit};
use crate::command::wait::{Nil, Wait};
use crate::command::{Ctx, Error};
use crate::resp::{Proto, Reply};
use crate::shard::kinds::stream::{Claim, Claims, Group, Ids, Op, Stream, StreamId};
use crate::shard::{Key, Ms};

/// From where a stream is to be read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    /// Behind this id: of the stream, or of what is pending for the consumer.
    Id(StreamId),
    /// Behind what the group has got: `>`.
    Delivered,
}

/// What is asked for.
#[derive(Default)]
struct Request<'a> {
    /// In milliseconds, 0 for ever; `None` where there is no BLOCK.
    block: Option<u64>,
    /// 0 is all.
    count: usize,
    no_ack: bool,
    group: Option<(&'a [u8], &'a [u8])>,
    /// Where the keys begin, and how many there are.
    keys_at: usize,
    keys: usize,
}

fn request<'a>(args: &[&'a [u8]], of_group: bool) -> Result<Request<'a>, Error> {
    let mut request = Request::default();
    let mut i = 1;
    while i < args.len() {
        let (option, more) = (args[i], args.len() - 1 - i);
        if more > 0 && option.eq_ignore_ascii_case(b"block") {
            i += 1;
            request.block = Some(timeout(args[i])?);
        } else if more > 0 && option.eq_ignore_ascii_case(b"count") {
            i += 1;
            request.count = integer(args[i])?.max(0) as usize;
        } else if more > 0 && option.eq_ignore_ascii_case(b"streams") {
            request.keys_at = i + 1;
            if !more.is_multiple_of(2) {
                return Err(Error::Text(if of_group {
                    "ERR Unbalanced 'xreadgroup' list of streams: for each stream key an ID or '>' must be specified."
                } else {
                    "ERR Unbalanced 'xread' list of streams: for each stream key an ID or '$' must be specified."
                }));
            }
            request.keys = more / 2;
            break;
        } else if more > 1 && option.eq_ignore_ascii_case(b"group") {
            if !of_group {
                return Err(Error::Text(
                    "ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead.",
                ));
            }
            request.group = Some((args[i + 1], args[i + 2]));
            i += 2;
        } else if option.eq_ignore_ascii_case(b"noack") {
            if !of_group {
                return Err(Error::Text(
                    "ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.",
                ));
            }
            request.no_ack = true;
        } else {
            return Err(Error::Syntax);
        }
        i += 1;
    }
    if request.keys == 0 {
        return Err(Error::Syntax);
    }
    if of_group && request.group.is_none() {
        return Err(Error::Text("ERR Missing GROUP option for XREADGROUP"));
    }
    Ok(request)
}

/// A timeout in milliseconds.
fn timeout(arg: &[u8]) -> Result<u64, Error> {
    let wrong = Error::Text("ERR timeout is not an integer or out of range");
    let ms = integer(arg).map_err(|_| wrong)?;
    if ms > i64::MAX / 2 {
        return Err(Error::Text("ERR timeout is out of range"));
    }
    u64::try_from(ms).map_err(|_| Error::Text("ERR timeout is negative"))
}

/// Begins the reply: a map from keys to entries.
fn open(reply: &mut Reply<'_>, keys: usize) {
    match reply.proto {
        Proto::Resp2 => reply.array(keys),
        Proto::Resp3 => reply.map(keys),
    }
}

/// Begins what is said of a key.
fn open_key(reply: &mut Reply<'_>, key: &[u8]) {
    if reply.proto == Proto::Resp2 {
        reply.array(2);
    }
    reply.bulk(key);
}

/// Waits if that was asked for; otherwise there is nothing.
fn wait(ctx: &mut Ctx<'_>, args: &[&[u8]], request: &Request<'_>, after: &[After]) {
    let Some(block) = request.block else {
        ctx.reply.null_array();
        return;
    };
    let ids_at = request.keys_at + request.keys;
    let resolved = args[ids_at..].contains(&&b"$"[..]).then(|| {
        let mut resolved: Vec<Vec<u8>> = args.iter().map(|arg| arg.to_vec()).collect();
        for (arg, after) in resolved[ids_at..].iter_mut().zip(after) {
            if let (b"$", After::Id(id)) = (&arg[..], after) {
                arg.clear();
                id.show(arg);
            }
        }
        resolved
    });
    ctx.wait_for(Wait {
        timeout: Some(block).filter(|&ms| ms > 0),
        keys: (request.keys_at..ids_at).collect(),
        nil: Nil::Array,
        args: resolved,
    });
}

pub(super) fn xread(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let request = request(args, false)?;
    let keys = &args[request.keys_at..][..request.keys];
    let mut after = Vec::with_capacity(keys.len());
    let mut served = 0;
    for (key, text) in keys.iter().zip(&args[request.keys_at + request.keys..]) {
        let k = ctx.key(key);
        let stream = ctx.read::<Stream>(&k)?;
        let top = stream.and_then(Stream::last_entry);
        let from = match *text {
            b"$" => stream.map_or(StreamId::MIN, Stream::last),
            // The last entry, whatever it is.
            b"+" => top.and_then(StreamId::previous).unwrap_or_default(),
            b">" => {
                return Err(Error::Text(
                    "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.",
                ));
            }
            text => id(text)?,
        };
        served += usize::from(top.is_some_and(|top| top > from));
        after.push(After::Id(from));
    }
    if served == 0 {
        wait(ctx, args, &request, &after);
        return Ok(());
    }
    open(&mut ctx.reply, served);
    for (key, after) in keys.iter().zip(after) {
        let k = ctx.key(key);
        if let (After::Id(id), Some(stream)) = (after, ctx.ks.peek::<Stream>(&k, ctx.now)?)
            && stream.last_entry().is_some_and(|top| top > id)
            && let Some(from) = id.next()
        {
            open_key(&mut ctx.reply, key);
            let entries = stream.range(from, StreamId::MAX);
            show_entries(&mut ctx.reply, entries, request.count);
        }
    }
    Ok(())
}

pub(super) fn xreadgroup(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let request = request(args, true)?;
    let (name, consumer) = request.group.unwrap_or_default();
    let keys = &args[request.keys_at..][..request.keys];
    let mut after = Vec::with_capacity(keys.len());
    for (key, text) in keys.iter().zip(&args[request.keys_at + request.keys..]) {
        let k = ctx.key(key);
        let stream = ctx.read::<Stream>(&k)?;
        if stream.and_then(|stream| stream.group(name)).is_none() {
            let mut text = no_group(key, name).text().into_owned();
            text.extend_from_slice(b" in XREADGROUP with GROUP option");
            return Err(Error::message(text));
        }
        after.push(match *text {
            b"$" => {
                return Err(Error::Text(
                    "ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by specifying a proper ID, or use the > ID to get new messages. The $ ID would just return an empty result set.",
                ));
            }
            b"+" => {
                return Err(Error::Text(
                    "ERR The + ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by specifying a proper ID, or use the > ID to get new messages. The + ID would just return an empty result set.",
                ));
            }
            b">" => After::Delivered,
            // The largest id there is and `>` are one and the same to Redis.
            text => match id(text)? {
                StreamId::MAX => After::Delivered,
                id => After::Id(id),
            },
        });
    }
    let start = ctx.reply.buf.len();
    let mut served = 0;
    for (key, &after) in keys.iter().zip(&after) {
        let k = ctx.key(key);
        visit(ctx, &k, name, consumer)?;
        served += usize::from(match after {
            After::Id(id) => {
                recall(ctx, &k, (name, consumer), id, request.count)?;
                true
            }
            After::Delivered => deliver(ctx, &k, &request)?,
        });
    }
    if served == 0 {
        wait(ctx, args, &request, &after);
        return Ok(());
    }
    // How many keys there is something to say of comes out last, and is said first.
    let end = ctx.reply.buf.len();
    open(&mut ctx.reply, served);
    let head = ctx.reply.buf.len() - end;
    ctx.reply.buf[start..].rotate_right(head);
    Ok(())
}

/// Answers what is new for the group and makes it pending; tells whether there was anything.
fn deliver(ctx: &mut Ctx<'_>, k: &Key<'_>, request: &Request<'_>) -> Result<bool, Error> {
    let (name, consumer) = request.group.unwrap_or_default();
    let Some(stream) = ctx.ks.peek::<Stream>(k, ctx.now)? else {
        return Ok(false);
    };
    let Some(group) = stream.group(name) else {
        return Ok(false);
    };
    let (Some(top), Some(from)) = (stream.last_entry(), group.last.next()) else {
        return Ok(false);
    };
    if top < from {
        return Ok(false);
    }
    let reply = &mut ctx.reply;
    open_key(reply, k.bytes);
    let (mut ids, mut last, mut read) = (Vec::new(), group.last, group.read);
    let entries = stream.range(from, StreamId::MAX).inspect(|entry| {
        read = stream.read_with(read, entry.id);
        last = entry.id;
        if !request.no_ack {
            ids.push(entry.id);
        }
    });
    show_entries(reply, entries, request.count);
    let deliver = Op::Deliver {
        group: name,
        consumer,
        at: ctx.time(),
        ids: Ids::Slice(&ids),
        last,
        read,
    };
    ctx.alter::<Stream>(k, &deliver)?;
    Ok(true)
}

/// Answers what is pending for the consumer behind an id, which counts as delivered once more.
fn recall(
    ctx: &mut Ctx<'_>,
    k: &Key<'_>,
    (name, consumer): (&[u8], &[u8]),
    after: StreamId,
    count: usize,
) -> Result<(), Error> {
    let (now, time) = (ctx.now, ctx.time());
    let Some(stream) = ctx.ks.peek::<Stream>(k, now)? else {
        return Ok(());
    };
    let reply = &mut ctx.reply;
    open_key(reply, k.bytes);
    let open = reply.open_array();
    let (mut shown, mut claims) = (0, Vec::new());
    let group = stream.group(name);
    let pending = group.and_then(|group| group.consumer(consumer));
    let pending = pending.zip(after.next()).into_iter();
    for &id in pending.flat_map(|(consumer, from)| consumer.pending.range(from..)) {
        match stream.get(id) {
            Some(entry) => {
                show_entry(reply, &entry);
                claims.extend(group.and_then(|group| again(group, id, time)));
            }
            None => {
                reply.array(2);
                show(reply, id);
                reply.null_array();
            }
        }
        shown += 1;
        if shown == count {
            break;
        }
    }
    reply.close_array(open, shown);
    if !claims.is_empty() {
        let claim = Op::Claim {
            group: name,
            consumer,
            at: now,
            claims: Claims::Slice(&claims),
            dropped: Ids::Slice(&[]),
            last: None,
        };
        ctx.alter::<Stream>(k, &claim)?;
    }
    Ok(())
}

/// A pending entry, delivered once more.
fn again(group: &Group, id: StreamId, at: Ms) -> Option<Claim> {
    let count = group.pending(id)?.count.saturating_add(1);
    Some(Claim { id, at, count })
}
