//! Consumer groups and their consumers: XGROUP.

use super::{id, id_or_end, integer, visit};
use crate::command::error::up_to_nul;
use crate::command::{Ctx, Error};
use crate::shard::kinds::stream::{Op, Stream, StreamId};
use crate::shard::{Key, notice};

/// There is no such group of this key.
pub(super) fn no_such_group(group: &[u8], key: &[u8]) -> Error {
    Error::message(
        [
            b"NOGROUP No such consumer group '",
            up_to_nul(group, usize::MAX),
            b"' for key name '",
            up_to_nul(key, usize::MAX),
            b"'",
        ]
        .concat(),
    )
}

/// What stands behind the id.
#[derive(Default)]
struct Options {
    make: bool,
    read: Option<u64>,
}

fn options(args: &[&[u8]], create: bool) -> Result<Options, Error> {
    let mut options = Options::default();
    let mut i = 5;
    while i < args.len() {
        if create && args[i].eq_ignore_ascii_case(b"mkstream") {
            options.make = true;
        } else if args[i].eq_ignore_ascii_case(b"entriesread") && i + 1 < args.len() {
            i += 1;
            options.read = match integer(args[i])? {
                -1 => None,
                n => Some(u64::try_from(n).map_err(|_| {
                    Error::Text("ERR value for ENTRIESREAD must be positive or -1")
                })?),
            };
        } else {
            return Err(Error::subcommand_syntax(args));
        }
        i += 1;
    }
    Ok(options)
}

/// The stream, which has to be there.
fn stream<'a>(ctx: &'a mut Ctx<'_>, k: &Key<'_>) -> Result<&'a Stream, Error> {
    ctx.peek::<Stream>(k)?.ok_or(Error::Text(
        "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to create an empty stream automatically.",
    ))
}

/// Refuses where the stream or its group are not there.
fn has_group(ctx: &mut Ctx<'_>, k: &Key<'_>, group: &[u8]) -> Result<(), Error> {
    match stream(ctx, k)?.group(group) {
        Some(_) => Ok(()),
        None => Err(no_such_group(group, k.bytes)),
    }
}

pub(super) fn create(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let Options { make, read } = options(args, true)?;
    let k = ctx.key(args[2]);
    if !make {
        stream(ctx, &k)?;
    }
    let last = ctx.peek::<Stream>(&k)?.map_or(StreamId::MIN, Stream::last);
    if args.len() > 8 {
        return Err(Error::subcommand_syntax(args));
    }
    let last = match args[4] {
        b"$" => last,
        text => id(text)?,
    };
    let group = args[3];
    if ctx.alter::<Stream>(&k, &Op::CreateGroup { group, last, read })? == 0 {
        return Err(Error::Text("BUSYGROUP Consumer Group name already exists"));
    }
    ctx.notify(notice::STREAM, "xgroup-create", &k);
    ctx.reply.ok();
    Ok(())
}

pub(super) fn setid(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let Options { read, .. } = options(args, false)?;
    let k = ctx.key(args[2]);
    has_group(ctx, &k, args[3])?;
    if args.len() != 5 && args.len() != 7 {
        return Err(Error::subcommand_syntax(args));
    }
    let last = match args[4] {
        b"$" => stream(ctx, &k)?.last(),
        text => id_or_end(text, 0)?,
    };
    let group = args[3];
    ctx.alter::<Stream>(&k, &Op::MoveGroup { group, last, read })?;
    ctx.notify(notice::STREAM, "xgroup-setid", &k);
    ctx.reply.ok();
    Ok(())
}

pub(super) fn destroy(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let k = ctx.key(args[2]);
    stream(ctx, &k)?;
    let gone = ctx.alter::<Stream>(&k, &Op::DestroyGroup { group: args[3] })?;
    if gone == 1 {
        ctx.notify(notice::STREAM, "xgroup-destroy", &k);
    }
    ctx.reply.int(gone as i64);
    Ok(())
}

pub(super) fn createconsumer(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let (group, consumer) = (args[3], args[4]);
    let k = ctx.key(args[2]);
    has_group(ctx, &k, group)?;
    let known = knows(ctx, &k, group, consumer)?;
    if !known {
        visit(ctx, &k, group, consumer)?;
    }
    ctx.reply.int(i64::from(!known));
    Ok(())
}

fn knows(ctx: &mut Ctx<'_>, k: &Key<'_>, group: &[u8], consumer: &[u8]) -> Result<bool, Error> {
    let group = stream(ctx, k)?.group(group);
    Ok(group.is_some_and(|group| group.consumer(consumer).is_some()))
}

pub(super) fn delconsumer(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let (group, consumer) = (args[3], args[4]);
    let k = ctx.key(args[2]);
    has_group(ctx, &k, group)?;
    let mut pending = 0;
    if knows(ctx, &k, group, consumer)? {
        pending = ctx.alter::<Stream>(&k, &Op::DeleteConsumer { group, consumer })?;
        ctx.notify(notice::STREAM, "xgroup-delconsumer", &k);
    }
    ctx.reply.int(pending as i64);
    Ok(())
}
