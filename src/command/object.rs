//! What is known of a value beside its content: OBJECT and MEMORY USAGE.

use super::help::help;
use super::row::{Command, KeySpec, ON_KEY, Route, Run, acl, flag, key};
use super::{Ctx, Error, Group};
use crate::resp::number::parse_i64;
use crate::shard::Meta;

pub(super) const ROWS: &[Command] = &[Command {
    name: "object",
    arity: -2,
    since: "2.2.3",
    complexity: "That of the subcommand.",
    summary: "Commands about how a value is kept.",
    syntax: "subcommand [arg [arg ...]]",
    route: Route::Here,
    subcommands: OBJECT,
    ..ON_KEY
}];

const ABOUT: Command = Command {
    arity: 3,
    flags: flag::READONLY,
    keys: &[KeySpec::one(2, key::RO)],
    acl: acl::KEYSPACE,
    since: "2.2.3",
    route: Route::Keys,
    ..ON_KEY
};

const OBJECT: &[Command] = &[
    Command {
        name: "object|encoding",
        tips: &["nondeterministic_output"],
        summary: "Names the form a value is kept in.",
        run: Run::Data(encoding),
        ..ABOUT
    },
    Command {
        name: "object|freq",
        tips: &["nondeterministic_output"],
        since: "4.0.0",
        summary: "Tells how often a key is used, where the eviction policy counts it.",
        run: Run::Data(freq),
        ..ABOUT
    },
    Command {
        name: "object|idletime",
        tips: &["nondeterministic_output"],
        summary: "Tells for how many seconds a key has not been used.",
        run: Run::Data(idletime),
        ..ABOUT
    },
    Command {
        name: "object|refcount",
        tips: &["nondeterministic_output"],
        summary: "Tells how many references a value has: always one, since values are not shared.",
        run: Run::Data(refcount),
        ..ABOUT
    },
    Command {
        name: "object|help",
        arity: 2,
        flags: flag::LOADING | flag::STALE,
        acl: acl::KEYSPACE,
        since: "6.2.0",
        summary: "Lists the subcommands.",
        syntax: "",
        route: Route::Here,
        run: Run::Data(help),
        ..ON_KEY
    },
];

/// The row of MEMORY USAGE, which MEMORY lists.
pub(super) const MEMORY_USAGE: Command = Command {
    name: "memory|usage",
    arity: -3,
    flags: flag::READONLY,
    keys: &[KeySpec::one(2, key::RO)],
    group: Group::Server,
    since: "4.0.0",
    summary: "Estimates the bytes a key and its value take.",
    syntax: "key [SAMPLES count]",
    route: Route::Keys,
    run: Run::Data(memory_usage),
    ..ON_KEY
};

/// What is known of the key `args[2]`; answers null if it does not exist.
fn about(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Option<Meta> {
    let k = ctx.key(args[2]);
    let now = ctx.now;
    let meta = ctx.shard(&k).meta(&k, now);
    if meta.is_none() {
        ctx.reply.null();
    }
    meta
}

fn encoding(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    if let Some(meta) = about(ctx, args) {
        ctx.reply.bulk(meta.encoding);
    }
    Ok(())
}

fn freq(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let Some(meta) = about(ctx, args) else {
        return Ok(());
    };
    let frequency = meta.frequency.ok_or(Error::Text(
        "ERR An LFU maxmemory policy is not selected, access frequency not tracked. \
         Please note that when switching between policies at runtime LRU and LFU data \
         will take some time to adjust.",
    ))?;
    ctx.reply.int(i64::from(frequency));
    Ok(())
}

fn idletime(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    match about(ctx, args) {
        None => Ok(()),
        Some(meta) if meta.frequency.is_some() => Err(Error::Text(
            "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that \
             when switching between policies at runtime LRU and LFU data will take some time to \
             adjust.",
        )),
        Some(meta) => {
            ctx.reply.int(meta.idle_secs as i64);
            Ok(())
        }
    }
}

fn refcount(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    if about(ctx, args).is_some() {
        ctx.reply.int(1);
    }
    Ok(())
}

fn memory_usage(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    for option in args[3..].chunks(2) {
        match option {
            // Strings need no sampling; the number still has to be one.
            [name, samples] if name.eq_ignore_ascii_case(b"samples") => {
                if parse_i64(samples).ok_or(Error::NotInteger)? < 0 {
                    return Err(Error::Syntax);
                }
            }
            _ => return Err(Error::Syntax),
        }
    }
    if let Some(meta) = about(ctx, args) {
        ctx.reply.int(meta.bytes as i64);
    }
    Ok(())
}
